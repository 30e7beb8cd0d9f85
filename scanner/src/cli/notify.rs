//! Arguments of `notify`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::ConfigFile;

/// Arguments of `notify`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["test", "retry"])),
    after_help = "\
`patrol` and `judge --save-state` send notifications themselves. What they could not send is in
RUN_DIR/undelivered; a file is removed when it was sent. Exit status 2 if something was not sent.

Examples:
  mimawari notify --test -c patrol.toml
  mimawari notify --retry runs/20261123T060000Z-7f3a -c patrol.toml"
)]
pub struct NotifyArgs {
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// Send one message, marked as a test, to each notifier.
    #[arg(long)]
    pub test: bool,
    /// Send the undelivered messages of this run again.
    #[arg(long, value_name = "RUN_DIR")]
    pub retry: Option<PathBuf>,
    /// With --retry: also messages that may have arrived, since the response was lost.
    #[arg(long, requires = "retry")]
    pub doubtful: bool,
}
