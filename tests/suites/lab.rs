//! Sweeps of a data centre in namespaces.
//!
//! Each case gets a lab of its own. Everything that reaches the data centre's end of the link is
//! captured, and a single frame to an address outside the scope fails the case.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use mimawari_targets::{AddrRange, AddrSet, Scope};
use mimawari_tests::lab::{Behaviour, Capture, Lab, Output, Program, Server, nft};
use mimawari_tests::suite::{LabMode, Selection};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

#[path = "lab/baseline.rs"]
mod baseline;
#[path = "lab/full.rs"]
mod full;
#[path = "lab/interrupted.rs"]
mod interrupted;
#[path = "lab/odd.rs"]
mod odd;
#[path = "lab/path.rs"]
mod path;
#[path = "lab/refused.rs"]
mod refused;
#[path = "lab/second_look.rs"]
mod second_look;
#[path = "lab/sharded.rs"]
mod sharded;
#[path = "lab/streams.rs"]
mod streams;
#[path = "lab/sweep.rs"]
mod sweep;

const BINARY: &str = env!("CARGO_BIN_EXE_mimawari-under-test");
const ALLOW: [&str; 2] = ["198.19.0.0/16", "2001:db8:19::/112"];
const DENY: [&str; 1] = ["198.19.0.200/29"];

/// A case and its name.
type Named = (&'static str, fn(&Case));
/// The cases of one file.
type Cases = &'static [Named];

/// Cases that measure time, memory or rates, the longest first.
pub fn measured_trials(selection: &Selection) -> Vec<Trial> {
    let mode = selection.mode;
    let full = full::CASES.iter().map(|case| (*case, !mode.is_full()));
    let sweep = sweep::CASES.iter().map(|case| (*case, mode == LabMode::Skip));
    full.chain(sweep).map(make_trial).collect()
}

/// The other cases.
pub fn trials(selection: &Selection) -> Vec<Trial> {
    let files = [
        baseline::CASES,
        interrupted::CASES,
        odd::CASES,
        path::CASES,
        refused::CASES,
        second_look::CASES,
        sharded::CASES,
        streams::CASES,
    ];
    let skipped = selection.mode == LabMode::Skip;
    files.into_iter().flatten().map(|case| make_trial((*case, skipped))).collect()
}

fn make_trial(((name, f), ignored): (Named, bool)) -> Trial {
    let trial = Trial::test(format!("lab::{name}"), move || {
        run(f);
        Ok(())
    });
    trial.with_ignored_flag(ignored)
}

/// Runs a case under capture.
fn run(f: fn(&Case)) {
    let case = Case { lab: Lab::new(), dir: tempfile::tempdir().expect("a folder") };
    let capture = Capture::start(&case.lab);
    f(&case);
    let seen = capture.stop();
    assert_eq!(seen.lost, 0, "the capture lost frames, so it proves nothing");
    let scope = scope();
    let outside: Vec<_> = seen
        .destinations
        .iter()
        .filter(|(ip, _)| !scope.allows(**ip) && !is_link_upkeep(**ip))
        .collect();
    assert!(outside.is_empty(), "frames left for addresses outside the scope: {outside:?}");
}

/// What a kernel sends on its own to keep a link going: multicast on the link and neighbour
/// discovery with the gateway.
fn is_link_upkeep(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast(),
        IpAddr::V6(ip) => {
            ip.is_multicast() || ip.is_unicast_link_local() || ip == mimawari_tests::lab::CENTRE_V6
        }
    }
}

fn scope() -> Scope {
    let set = |items: &[&str]| {
        AddrSet::from_ranges(items.iter().map(|i| i.parse::<AddrRange>().expect("a range")))
    };
    Scope::new(set(&ALLOW), set(&DENY), "test")
}

/// A lab and a folder for one case.
struct Case {
    lab: Lab,
    dir: TempDir,
}

impl Case {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a configuration with the lab's scope and these tables' lines.
    fn config(&self, scan: &str, rest: &str) {
        let list =
            |items: &[&str]| items.iter().map(|i| format!("{i:?}")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "version = 1\n[scope]\nallow = [{}]\ndeny = [{}]\nauthorised_by = \"TEST-1\"\n[scan]\n{scan}\n{rest}\n",
            list(&ALLOW),
            list(&DENY)
        );
        fs::write(self.path("patrol.toml"), text).expect("writing the configuration");
    }

    /// Writes the baseline's only file.
    fn baseline(&self, rules: &str) {
        fs::create_dir_all(self.path("baseline")).expect("the baseline's folder");
        let text = format!("version = 1\nowner = \"@test/team\"\n{rules}\n");
        fs::write(self.path("baseline/test.toml"), text).expect("writing the baseline");
    }

    fn mimawari(&self, command: &str) -> Program<'_> {
        self.lab.program(BINARY).dir(self.dir.path()).arg(command)
    }

    /// `patrol` into the folder `out`.
    fn patrol(&self, out: &str, args: &[&str]) -> Output {
        self.mimawari("patrol").args(["--out", out]).args(args).run()
    }

    fn json(&self, name: &str) -> Value {
        read_json(&self.path(name))
    }

    /// The records of a run; every line must be one.
    fn observations(&self, run: &str) -> Vec<Value> {
        fs::read_to_string(self.path(run).join("observations.ndjson"))
            .expect("observations")
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
            .collect()
    }

    /// `ip:port` of the cells that a run saw open and confirmed, sorted.
    fn confirmed(&self, run: &str) -> Vec<String> {
        let mut open: Vec<String> = self
            .observations(run)
            .iter()
            .filter(|o| o["kind"] == "tcp" && o["state"] == "open" && o["confirmed"] == true)
            .map(|o| format!("{} {}", o["ip"].as_str().expect("ip"), o["port"]))
            .collect();
        open.sort();
        open.dedup();
        open
    }
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The states of the findings of a verdict, `kind ip port path → state`.
fn findings(verdict: &Value) -> Vec<String> {
    let mut all: Vec<String> = verdict["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|f| {
            format!(
                "{} {}:{}{} {}",
                f["kind"].as_str().unwrap_or_default(),
                f["ip"].as_str().unwrap_or_default(),
                f["port"],
                f["path"].as_str().unwrap_or_default(),
                f["state"].as_str().unwrap_or_default()
            )
        })
        .collect();
    all.sort();
    all
}
