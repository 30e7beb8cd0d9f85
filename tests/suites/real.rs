//! Against real servers from the distribution's packages, with nmap as a second opinion.
//!
//! Needs nginx, Apache httpd, lighttpd, PHP, Python, OpenSSH, Redis and nmap; they run inside a
//! network namespace. Left out and counted as ignored unless `MIMAWARI_LAB=full`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use mimawari_targets::AddrRange;
use mimawari_tests::lab::{Capture, Lab};
use mimawari_tests::suite::Selection;
use serde_json::Value;

#[path = "real/daemon.rs"]
mod daemon;
#[path = "real/many_names.rs"]
mod many_names;
#[path = "real/nmap.rs"]
mod nmap;
#[path = "real/old_tls.rs"]
mod old_tls;
#[path = "real/planted.rs"]
mod planted;
#[path = "real/servers.rs"]
mod servers;

use daemon::{Daemon, conf, start};

const BINARY: &str = env!("CARGO_BIN_EXE_mimawari-under-test");

/// A case, its name, and whether the program can do it already.
type Case = (&'static str, fn(), bool);

const CASES: &[Case] = &[
    ("real::nmap_and_mimawari_see_the_same_and_planted_files_are_found", nmap::same_as_nmap, true),
    ("real::each_web_server_gives_away_just_what_it_gives_away", servers::each, true),
    ("real::each_of_many_names_is_requested", many_names::each_is_requested, true),
    ("real::old_tls_is_reached_as_the_new_is", old_tls::both, true),
];

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let trial = |(name, case, ready): &Case| {
        let case = *case;
        let run = move || {
            case();
            Ok(())
        };
        Trial::test(*name, run).with_ignored_flag(!selection.mode.is_full() || !ready)
    };
    CASES.iter().map(trial).collect()
}

/// A run that was made in a folder.
struct Run {
    records: Vec<Value>,
    /// What it printed.
    printed: String,
}

/// Patrols a block with the configuration's other lines, and checks that no frame left it.
///
/// Logs are at their most talkative: they must not hold a secret either.
fn patrol(lab: &Lab, d: &Path, block: &str, scan: &str) -> Run {
    fs::write(
        d.join("patrol.toml"),
        format!("version = 1\n[scope]\nallow = [\"{block}\"]\nauthorised_by = \"TEST-1\"\n[scan]\nmethod = \"syn\"\n{scan}\n[http]\ntier = 3\n"),
    )
    .expect("configuration");
    fs::create_dir_all(d.join("baseline")).expect("a folder");
    fs::write(d.join("baseline/b.toml"), "version = 1\nowner = \"@test/team\"\n")
        .expect("baseline");
    let capture = Capture::start(lab);
    let out = lab
        .program(BINARY)
        .dir(d)
        .env("MIMAWARI_LOG", "trace")
        .args(["patrol", "--out", "run"])
        .run();
    let seen = capture.stop();
    assert_eq!(seen.lost, 0, "the capture lost frames, so it proves nothing");
    let range: AddrRange = block.parse().expect("a block");
    for ip in seen.destinations.keys().filter(|ip| ip.is_ipv4() && !ip.is_multicast()) {
        assert!(range.contains(*ip), "a frame left for {ip}");
    }
    let printed = format!("{}{}", out.stdout, out.stderr);
    out.expect(1);
    let records = fs::read_to_string(d.join("run/observations.ndjson"))
        .expect("observations")
        .lines()
        .map(|l| serde_json::from_str(l).expect("a record"))
        .collect();
    Run { records, printed }
}

impl Run {
    /// Address, port and path of the checks that ended so. What is only noted, such as that a
    /// script is there and runs, is no finding.
    fn ended(&self, outcome: &str) -> BTreeSet<Place> {
        let http =
            |o: &&Value| o["kind"] == "http" && o["outcome"] == outcome && o["severity"] != "info";
        let place = |o: &Value| {
            let text = |k: &str| o[k].as_str().unwrap_or_default().to_owned();
            (text("ip"), o["port"].as_u64().unwrap_or_default(), text("path"))
        };
        self.records.iter().filter(http).map(place).collect()
    }

    /// Looks for the planted secrets in everything that was printed and written, and in every form
    /// of the report.
    fn leaks_nothing(&self, lab: &Lab, d: &Path) {
        let mut outputs = vec![("the terminal".to_owned(), self.printed.clone().into_bytes())];
        files(&d.join("run"), &mut outputs);
        for format in ["text", "json", "markdown", "html", "csv"] {
            let out = lab
                .program(BINARY)
                .dir(d)
                .env("MIMAWARI_LOG", "trace")
                .args(["report", "--verdict", "run/verdict.json", "--format", format])
                .run();
            let printed = format!("{}{}", out.stdout, out.stderr);
            assert!(printed.contains("198.19."), "an empty {format} report proves nothing");
            outputs.push((format!("report --format {format}"), printed.into_bytes()));
        }
        for (name, bytes) in outputs {
            let text = String::from_utf8_lossy(&bytes);
            for secret in planted::SECRETS {
                assert!(!text.contains(secret), "{secret} stands in {name}");
            }
        }
    }
}

/// An address, a port and a path.
type Place = (String, u64, String);

/// All files below a folder.
fn files(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            let bytes = fs::read(&path).expect("a file");
            into.push((path.display().to_string(), bytes));
        }
    }
}

/// A folder that servers of other users can read.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    dir
}
