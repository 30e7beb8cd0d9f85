//! Against other people's programs: web and TLS servers, S3 as moto plays it, browsers, container engines.
//!
//! Most cases need packages. Without `MIMAWARI_LAB=full` those are left out and counted as ignored; with it, all run
//! in namespaces with no way out, and fail where a package is missing.

mod aws;
mod image;
mod monitoring;
mod page;
mod pipeline;
mod real;
mod rounds;
mod security_hub;
mod tls;

use std::process::ExitCode;

use mimawari_tests::suite::{LabMode, Suite, run_suites};

fn main() -> ExitCode {
    let mode = LabMode::from_env();
    let all = [
        tls::trials,
        rounds::trials,
        aws::trials,
        security_hub::trials,
        monitoring::trials,
        real::trials,
        page::trials,
        image::trials,
        pipeline::trials,
    ];
    run_suites(&all.map(|trials| Suite { trials, threads: None }), mode, mode.is_full())
}
