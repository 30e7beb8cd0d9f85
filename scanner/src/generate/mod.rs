//! `mimawari completions` and `mimawari man`: made from the command line's own definition, so that
//! they never lag behind it.

mod roff;

use std::fs;
use std::path::Path;

use anyhow::Result;
use clap::{Command, CommandFactory as _};
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_base::files::write_atomically;

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::output::print;

const NAME: &str = "mimawari";

/// `mimawari completions`
///
/// # Errors
/// An unwritable stdout.
pub fn run_completions_command(args: &CompletionsArgs) -> Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Clean)
}

/// `mimawari man`: a page of the program, and one of each of its commands.
///
/// # Errors
/// A folder that cannot be written.
pub fn run_man_command(args: &ManArgs) -> Result<ExitStatus> {
    let cannot = |path: &Path, e: std::io::Error| {
        Failure::new(format!("cannot write {}", path.display()))
            .help("name a folder that can be written with --out DIR")
            .source(e)
    };
    fs::create_dir_all(&args.out).map_err(|e| cannot(&args.out, e))?;
    for (name, text) in render_man_pages()? {
        let path = args.out.join(name);
        write_atomically(&path, text.as_bytes()).map_err(|e| cannot(&path, e))?;
    }
    Ok(ExitStatus::Clean)
}

/// The pages by their file names, such as `mimawari-baseline-check.1`.
///
/// # Errors
/// Never in practice: they are written into memory.
pub fn render_man_pages() -> Result<Vec<(String, String)>> {
    let mut whole = Cli::command();
    whole.build();
    let mut found = Vec::new();
    add(&whole, NAME, NAME, &mut found)?;
    Ok(found)
}

fn add(
    command: &Command,
    name: &str,
    typed: &str,
    found: &mut Vec<(String, String)>,
) -> Result<()> {
    found.push((format!("{name}.1"), roff::render_page(command, name, typed)?));
    for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
        let own = sub.get_name();
        add(sub, &format!("{name}-{own}"), &format!("{typed} {own}"), found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_command_has_a_page_and_the_page_has_its_sections() {
        let pages = render_man_pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["mimawari.1", "mimawari-patrol.1", "mimawari-baseline-check.1"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(!names.iter().any(|n| n.contains("schema")), "{names:?}");
        for (name, text) in &pages {
            for section in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
                assert!(text.contains(section), "{name} has no {section}");
            }
        }
        let whole = &pages[0].1;
        assert!(
            whole.contains(".SH \"EXIT STATUS\"\n.nf\n") && whole.contains(".SH EXAMPLES\n.nf\n")
        );
        assert!(whole.contains("3  incomplete: something planned was not covered"), "{whole}");
    }
}
