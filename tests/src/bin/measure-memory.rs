//! Runs a program and writes what its memory came to: `measure-memory FILE PROGRAM [ARGUMENT]...` writes the largest
//! resident set (KiB) to the file, and ends as the program did. The system knows it only for all children that a
//! process has waited for, so this one has a single child.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let usage = "usage: measure-memory FILE PROGRAM [ARGUMENT]...";
    let file = arguments.next().context(usage)?;
    let program = arguments.next().context(usage)?;
    let status = Command::new(program).args(arguments).status()?;
    std::fs::write(file, getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss().to_string())?;
    if let Some(signal) = status.signal() {
        anyhow::bail!("ended by signal {signal}");
    }
    Ok(ExitCode::from(status.code().map_or(1, |code| code as u8)))
}
