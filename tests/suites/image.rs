//! The container image, built by the documented command and run by a real Docker engine the way a
//! task of Fargate runs it, against real servers in containers, on a network with no way out.
//!
//! Needs root, docker.io, setcap, nginx and Redis. Left out and counted as ignored unless
//! `MIMAWARI_LAB=full`. `BINARY` names a static release binary that is there already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use mimawari_tests::engine::{Container, Engine, Image, said};
use mimawari_tests::suite::Selection;
use serde_json::Value;

#[path = "image/build.rs"]
pub mod build;
#[path = "image/run.rs"]
mod run;
#[path = "image/site.rs"]
pub mod site;

use site::Site;

/// A case and its name.
type Case = (&'static str, fn(&Site));

const CASES: &[Case] = &[
    ("image::it_is_small_capable_and_holds_nothing_else", build::as_documented),
    ("image::what_would_lose_the_capability_is_refused", build::refused),
    ("image::a_patrol_sees_what_is_there_by_syn", run::patrol),
    ("image::it_runs_with_net_raw_alone_and_stops_when_asked", run::stopped),
    ("image::process_1_ends_when_asked_whatever_it_does", run::short_command),
    ("image::without_the_capability_it_says_what_to_do", run::incapable),
    ("image::it_verifies_servers_by_the_roots_it_holds", run::verified),
];

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let full = selection.mode.is_full();
    // A panic here would end the suite, and no case would be named.
    let make = || std::panic::catch_unwind(Site::new).map(Arc::new);
    let make = || make().map_err(|_| "the engine, the image or its site could not be made");
    let site = (full && CASES.iter().any(|(name, _)| selection.runs(name))).then(make);
    let trial = |(name, case): &Case| {
        let (case, site) = (*case, site.clone());
        let run = move || {
            case(&*site.ok_or("there is no engine")??);
            Ok(())
        };
        Trial::test(*name, run).with_ignored_flag(!full)
    };
    CASES.iter().map(trial).collect()
}
