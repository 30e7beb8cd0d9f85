//! The pipeline for real: AWS Batch and S3 as moto's server plays them, with a Docker engine that
//! runs every job, against servers on a private network with no way out. Submitted by what users
//! submit with: `deploy/batch/`.
//!
//! Needs what the suite `image` needs, and moto's server and the AWS CLI, which `.ci/python/install` installs.
//! Left out and counted as ignored unless `MIMAWARI_LAB=full`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use mimawari_tests::engine::{Engine, Image, said};
use mimawari_tests::suite::Selection;
use serde_json::Value;

#[path = "pipeline/cloud.rs"]
mod cloud;
#[path = "pipeline/rounds.rs"]
mod rounds;

use super::image::{build, site};
use cloud::Cloud;

/// One case, since the second half goes on from the first.
const CASE: &str = "pipeline::four_shards_are_one_run_and_a_killed_one_is_named";

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let trial = Trial::test(CASE, || {
        rounds::whole_then_killed(&Cloud::new());
        Ok(())
    });
    vec![trial.with_ignored_flag(!selection.mode.is_full())]
}
