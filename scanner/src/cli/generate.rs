//! Arguments of `completions` and `man`.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::Args;

/// What `--version` says: the version, and the commit if the build knew it. `-V` is the
/// version alone.
pub(super) static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("MIMAWARI_REVISION").map(str::trim).filter(|r| !r.is_empty()) {
        Some(revision) => format!("{version} (commit {revision})"),
        None => version.to_owned(),
    }
});

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(mimawari completions bash)
  mimawari completions zsh > \"${fpath[1]}/_mimawari\"
  mimawari completions fish > ~/.config/fish/completions/mimawari.fish")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mimawari man --out /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The folder that the pages are written into; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
