//! The pipeline for real: AWS Batch and S3 as moto's server plays them, with a Docker engine that
//! runs every job, against servers on a private network with no way out. Submitted by what users
//! submit with: `deploy/batch/`.
//!
//! Needs what the suite `image` needs, moto's server with the client for Docker in `target/moto`, and
//! the AWS CLI in `target/tools/aws`. Left out and counted as ignored unless `MIMAWARI_LAB=full`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use mimawari_tests::engine::{Container, Engine, Image, said};
use mimawari_tests::lab::{Namespace, enter};
use serde_json::Value;

#[path = "image/build.rs"]
#[allow(dead_code, reason = "the suite `image` uses the rest")]
mod build;
#[path = "pipeline/cloud.rs"]
mod cloud;
#[path = "pipeline/rounds.rs"]
mod rounds;
#[path = "image/site.rs"]
#[allow(dead_code, reason = "the suite `image` uses the rest")]
mod site;

use cloud::Cloud;

/// One case, since the second half goes on from the first.
const CASE: &str = "pipeline::four_shards_are_one_run_and_a_killed_one_is_named";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let full = std::env::var("MIMAWARI_LAB").is_ok_and(|p| p == "full");
    let trial = Trial::test(CASE, || {
        rounds::whole_then_killed(&Cloud::new());
        Ok(())
    });
    let trials = vec![trial.with_ignored_flag(!full)];
    if full && !arguments.list {
        if let Err(e) = enter() {
            eprintln!("the lab cannot be built: {e}");
            return ExitCode::FAILURE;
        }
        // Threads and processes that are started in here stay in here.
        return Namespace::new().run(|| libtest_mimic::run(&arguments, trials).exit_code());
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
