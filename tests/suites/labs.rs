//! The real program against a real kernel, in network namespaces with no way out. What measures has the machine to
//! itself: a lab that has to share its processors loses what it is to measure. The others mostly wait, two at a time.
//!
//! `MIMAWARI_LAB=full` adds the whole lab of 65,536 addresses; `MIMAWARI_LAB=skip` leaves the labs out and counts
//! every case as ignored.

mod lab;
mod selfcheck;

use std::process::ExitCode;

use mimawari_tests::suite::{LabMode, Suite, run_suites};

fn main() -> ExitCode {
    let mode = LabMode::from_env();
    let suites = [
        Suite { trials: lab::measured_trials, threads: Some(1) },
        Suite { trials: lab::trials, threads: Some(2) },
        Suite { trials: selfcheck::trials, threads: Some(1) },
    ];
    run_suites(&suites, mode, mode != LabMode::Skip)
}
