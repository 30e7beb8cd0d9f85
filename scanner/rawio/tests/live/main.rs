//! Real frames through a real kernel, in a network namespace with no way out: over `lo`, and over
//! TUN and TAP devices whose other end is held by the test.
//!
//! `MIMAWARI_LAB=skip` leaves them out and counts every case as ignored.

// A test that cannot go on must stop.
#![allow(clippy::unwrap_used)]

mod cases;
mod frames;
mod namespace;
mod tap;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let skip = std::env::var("MIMAWARI_LAB").is_ok_and(|profile| profile == "skip");
    if !skip && !arguments.list {
        if let Err(e) = namespace::enter() {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
        tap::set_up("lo", true);
    }
    let trials = cases::CASES
        .iter()
        .map(|(name, case)| {
            Trial::test(*name, || {
                case();
                Ok(())
            })
            .with_ignored_flag(skip)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
