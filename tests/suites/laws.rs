//! The laws of the workspace, and that what is generated or described is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mimawari::cli::SchemaFormat;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn manifest(dir: &str) -> toml::Table {
    let path = root().join(dir).join("Cargo.toml");
    fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .parse()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a package uses of the workspace, tests of its own included.
fn uses(dir: &str) -> BTreeSet<String> {
    let m = manifest(dir);
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|k| m.get(*k)?.as_table())
        .flat_map(|t| t.keys())
        .filter(|k| k.starts_with("mimawari"))
        .cloned()
        .collect()
}

#[track_caller]
fn may_use(dir: &str, allowed: &[&str]) {
    let allowed: BTreeSet<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
    let used = uses(dir);
    assert!(used.is_subset(&allowed), "{dir} uses {used:?}, and may use {allowed:?}");
}

#[test]
fn crates_use_only_what_the_design_allows() {
    may_use("targets", &[]);
    may_use("probes", &["mimawari-targets"]);
    may_use("scanner/rawio", &[]);
    may_use("scanner/engine", &["mimawari-probes", "mimawari-targets"]);
    may_use("scanner/drift", &["mimawari-probes", "mimawari-targets"]);
    may_use("scanner/report", &["mimawari-drift", "mimawari-probes", "mimawari-targets"]);
}

#[test]
fn the_pure_crates_use_nothing_that_does_io() {
    let io =
        ["tokio", "socket2", "libc", "nix", "hyper", "getrandom", "rtnetlink", "caps", "tempfile"];
    for dir in ["probes", "scanner/engine", "scanner/drift", "scanner/report"] {
        let m = manifest(dir);
        let used = m["dependencies"].as_table().expect("dependencies");
        for name in io {
            assert!(!used.contains_key(name), "{dir} uses {name}");
        }
    }
}

#[test]
fn only_rawio_may_hold_unsafe_code() {
    let workspace = manifest("");
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for dir in [
        "targets",
        "probes",
        "scanner",
        "scanner/engine",
        "scanner/drift",
        "scanner/report",
        "benches",
    ] {
        assert_eq!(manifest(dir)["lints"]["workspace"].as_bool(), Some(true), "{dir}");
    }
    assert_eq!(manifest("tests")["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn the_engine_and_the_judge_know_no_clock() {
    for dir in [
        "scanner/engine/src",
        "scanner/drift/src",
        "scanner/report/src",
        "probes/src",
        "targets/src",
    ] {
        for file in rust_files(&root().join(dir)) {
            let text = fs::read_to_string(&file).expect("a source file");
            for word in ["Instant::now", "SystemTime::now", "Timestamp::now", "thread::sleep"] {
                assert!(!text.contains(word), "{} has {word}", file.display());
            }
        }
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
    all
}

#[test]
fn the_top_level_is_as_agreed() {
    for name in ["Cargo.toml", "scanner", "probes", "targets", "benches", "deploy", "tests"] {
        assert!(root().join(name).exists(), "{name}");
    }
}

#[test]
fn every_path_that_architecture_names_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut named = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let tops = ["targets/", "probes/", "scanner/", "benches/", "deploy/", "tests/", ".ci/"];
        if tops.iter().any(|t| word.starts_with(t)) && !word.contains([' ', '*', '<']) {
            named += 1;
            assert!(root().join(word).exists(), "ARCHITECTURE.md names {word}, which is not there");
        }
    }
    assert!(named >= 10, "only {named} paths were found; the test looks at the wrong thing");
}

#[test]
fn committed_schemas_are_the_generated_ones() {
    // To renew: MIMAWARI_BLESS=1 cargo test -p mimawari-tests --test laws
    let bless = std::env::var_os("MIMAWARI_BLESS").is_some();
    for (format, name) in [
        (SchemaFormat::Verdict, "verdict.v1.json"),
        (SchemaFormat::Observation, "observation.v1.json"),
        (SchemaFormat::Baseline, "baseline.v1.json"),
        (SchemaFormat::Run, "run.v1.json"),
        (SchemaFormat::Manifest, "manifest.v1.json"),
    ] {
        let path = root().join("deploy/schemas").join(name);
        let generated = mimawari::commands::schema_text(format).expect("a schema");
        if bless {
            fs::write(&path, &generated).expect("writing the schema");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "{name} is stale: MIMAWARI_BLESS=1 cargo test -p mimawari-tests --test laws"
        );
    }
}
