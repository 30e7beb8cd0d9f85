//! File formats: what each former version wrote is read, fields of newer minor versions are ignored, and a
//! newer major version is called newer. `tests/golden/` has a set of files for each version that was
//! released; `docs/formats.md` says what may change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mimawari_probes::http::manifest::Manifest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What went wrong is said in these words, and in no other.
const NEWER: &str = "written by a newer mimawari";

/// The sets, oldest first.
fn sets() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let entries = fs::read_dir(&golden).expect("tests/golden");
    let mut sets: Vec<PathBuf> =
        entries.map(|e| e.expect("an entry").path()).filter(|p| p.join("run2").is_dir()).collect();
    sets.sort();
    assert!(sets.iter().any(|s| s.ends_with("v1.0")), "{sets:?}");
    sets
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let (path, target) = (entry.expect("an entry").path(), to.to_owned());
        let target = target.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file");
        }
    }
}

/// A set in a folder of its own.
fn copied(set: &Path) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    copy(set, dir.path());
    dir
}

#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(dir: &Path, args: &[&str]) -> Ran {
    let out = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"))
        .current_dir(dir)
        .env_clear()
        // Nobody listens: what is sent comes back as a letter.
        .env("HOOK", "http://127.0.0.1:9/no-receiver")
        .args(["-q"])
        .args(args)
        .output()
        .expect("starting the program");
    Ran {
        status: out.status.code(),
        stdout: String::from_utf8(out.stdout).expect("UTF-8"),
        stderr: String::from_utf8(out.stderr).expect("UTF-8"),
    }
}

/// Runs a command that must not end by an error.
#[track_caller]
fn works(dir: &Path, args: &[&str]) -> String {
    let ran = run(dir, args);
    assert!(matches!(ran.status, Some(0 | 1 | 3)), "{args:?}: {ran:?}");
    ran.stdout
}

fn read(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn write(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_vec_pretty(value).expect("JSON")).expect("a file");
}

/// What a verdict says of its findings.
fn findings(verdict: &Value) -> BTreeSet<String> {
    let all = verdict["findings"].as_array().expect("findings");
    all.iter().map(|f| format!("{} {} {}", f["id"], f["kind"], f["state"])).collect()
}

/// Whether a set holds a notification as a file of its own, as versions before 1.3 wrote it.
fn has_letters(set: &Path) -> bool {
    let letters = set.join("run/undelivered").is_dir();
    let former = set.file_name().is_some_and(|name| name == "v1.0" || name == "v1.1");
    assert!(letters || !former, "{}: no letter", set.display());
    letters
}

/// Every file of the set, read by the command that reads it.
#[track_caller]
fn is_read(dir: &Path) {
    let before = read(&dir.join("run2/verdict.json"));
    let now = before["judged_at"].as_str().expect("an instant");
    // The run, the state and the baseline. A run that is judged again says the same.
    let text = works(dir, &["judge", "--run", "run2", "--now", now]);
    let again: Value = serde_json::from_str(&text).expect("a verdict");
    assert_eq!(findings(&again), findings(&before));
    assert_eq!(again["coverage"]["open"], before["coverage"]["open"]);
    assert_eq!(again["coverage"]["closed"], before["coverage"]["closed"]);
    for format in ["text", "json", "markdown", "html", "csv"] {
        works(dir, &["report", "--verdict", "run2/verdict.json", "--format", format]);
    }
    works(dir, &["merge", "run", "--out", "merged"]);
    works(dir, &["export", "run", "--format", "nmap-xml"]);
    // The state and its chain.
    let shown = works(dir, &["state", "show", "--json"]);
    assert!(shown.contains("\"generation\": 4"), "{shown}");
    works(dir, &["state", "history"]);
    // The round.
    let shown: Value =
        serde_json::from_str(&works(dir, &["round", "show", "--round", "r-1", "--json"]))
            .expect("");
    assert_eq!(shown["missing_shards"], json!(["2/2"]), "{shown}");
    assert!(shown["result"].is_object(), "{shown}");
    works(dir, &["round", "reduce", "--round", "r-1"]);
    // The published baseline.
    let text = fs::read_to_string(dir.join("patrol.toml")).expect("patrol.toml");
    let text = text.replace("dir = \"baseline\"", "url = \"published\"");
    fs::write(dir.join("published.toml"), text).expect("a file");
    works(dir, &["judge", "-c", "published.toml", "--run", "run2", "--now", now]);
    // What nobody took is read, and nobody takes it again: a letter, or since 1.3 the outbox of the state.
    let again: &[&str] =
        if has_letters(dir) { &["notify", "--retry", "run"] } else { &["notify", "send"] };
    let ran = run(dir, again);
    assert!(ran.status == Some(2) && !ran.stderr.contains("cannot read"), "{ran:?}");
    let manifest = fs::read(dir.join("manifest.ndjson")).expect("a manifest");
    assert!(Manifest::read("manifest.ndjson", &manifest[..]).expect("a manifest").files() > 0);
    // The checkpoint, last: the run is gone on with. On loopback, and bounded.
    let plan = ["--ports", "1-400", "--rate", "20000"];
    let resumed = [&["scan", "--resume", "killed"][..], &plan].concat();
    works(dir, &resumed);
    assert_eq!(read(&dir.join("killed/run.json"))["status"], "complete");
}

#[test]
fn what_every_former_version_wrote_is_read() {
    for set in sets() {
        is_read(copied(&set).path());
    }
}

/// The JSON documents of a set that stand alone in a file, but for those that are named by a digest.
fn documents(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = [
        "run/run.json",
        "run2/run.json",
        "killed/run.json",
        "run2/verdict.json",
        "rounds/r-1/result.json",
        "rounds/r-1/shards/00001/done.json",
        "published/current.json",
    ]
    .iter()
    .map(|name| dir.join(name))
    .collect();
    let letters = has_letters(dir).then(|| dir.join("run/undelivered"));
    for folder in letters.into_iter().chain([dir.join("published/baselines")]) {
        for entry in fs::read_dir(folder).expect("a folder") {
            all.push(entry.expect("an entry").path());
        }
    }
    for attempt in fs::read_dir(dir.join("rounds/r-1/shards/00001")).expect("a folder") {
        let attempt = attempt.expect("an entry").path();
        for entry in fs::read_dir(attempt).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|e| e == "json") {
                all.push(path);
            }
        }
    }
    assert!(all.len() >= 9 + usize::from(has_letters(dir)), "{all:?}");
    all
}

/// The newest generation: its header and its state.
fn generation(dir: &Path) -> (PathBuf, Value, Value) {
    let entries = fs::read_dir(dir.join("state/generations")).expect("generations");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    let path = paths.pop().expect("a generation");
    let text = fs::read_to_string(&path).expect("a generation");
    let (header, state) = text.split_once('\n').expect("two lines");
    let parsed = |text: &str| serde_json::from_str(text).expect("JSON");
    (path.clone(), parsed(header), parsed(state.trim_end()))
}

fn write_generation(path: &Path, mut header: Value, state: &Value) {
    let content = serde_json::to_vec(state).expect("JSON");
    header["length"] = json!(content.len());
    let digest: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    header["content"] = json!(digest);
    let content = String::from_utf8(content).expect("UTF-8");
    fs::write(path, format!("{header}\n{content}\n")).expect("a file");
}

/// What a later minor version may have added.
fn with_more(value: &mut Value) {
    value["minor"] = json!(99);
    value["added_later"] = json!({"a": [1, {"b": null}], "kind": "of a later version"});
}

#[test]
fn fields_of_a_later_minor_version_are_ignored() {
    for set in sets() {
        let dir = copied(&set);
        let dir = dir.path();
        for path in documents(dir) {
            let mut value = read(&path);
            with_more(&mut value);
            // Inside as well.
            for inside in ["plan", "scope", "coverage", "run", "sweep"] {
                if let Some(value) = value.get_mut(inside).filter(|v| v.is_object()) {
                    with_more(value);
                }
            }
            for list in ["findings", "gaps", "files", "canaries", "timeline"] {
                for item in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
                {
                    with_more(item);
                }
            }
            write(&path, &value);
        }
        let (path, mut header, mut state) = generation(dir);
        with_more(&mut header);
        with_more(&mut state);
        for tracked in state["findings"].as_object_mut().expect("findings").values_mut() {
            with_more(tracked);
            with_more(&mut tracked["finding"]);
        }
        write_generation(&path, header, &state);
        for name in ["run/observations.ndjson", "run2/observations.ndjson", "manifest.ndjson"] {
            let path = dir.join(name);
            let text = fs::read_to_string(&path).expect("lines");
            let more = |line: &str| {
                let mut value: Value = serde_json::from_str(line).expect("JSON");
                with_more(&mut value);
                format!("{value}\n")
            };
            fs::write(&path, text.lines().map(more).collect::<String>()).expect("a file");
        }
        is_read(dir);
    }
}

#[test]
fn a_record_of_a_later_kind_makes_the_run_incomplete_and_not_unreadable() {
    let set = sets().pop().expect("a set");
    let dir = copied(&set);
    let path = dir.path().join("run2/observations.ndjson");
    let mut text = fs::read_to_string(&path).expect("lines");
    text.push_str("{\"v\":1,\"kind\":\"udp\",\"ip\":\"127.81.7.3\",\"port\":53}\n");
    fs::write(&path, text).expect("a file");
    let verdict: Value =
        serde_json::from_str(&works(dir.path(), &["judge", "--run", "run2"])).expect("");
    assert_eq!(verdict["incomplete"], true);
    let gaps = verdict["coverage"]["gaps"].as_array().expect("gaps");
    assert!(gaps.iter().any(|g| g["kind"] == "records_unknown" && g["records"] == 1), "{gaps:?}");
    // A known kind that is damaged stays damage.
    let text =
        fs::read_to_string(&path).expect("lines").replace("\"kind\":\"udp\"", "\"kind\":\"tcp\"");
    fs::write(&path, text).expect("a file");
    let ran = run(dir.path(), &["judge", "--run", "run2"]);
    assert!(ran.status == Some(2) && ran.stderr.contains("is damaged"), "{ran:?}");
}

/// Runs a command on a set in which one file is of a newer major version.
#[track_caller]
fn is_called_newer(set: &Path, change: impl Fn(&Path), args: &[&str]) {
    let dir = copied(set);
    change(dir.path());
    let ran = run(dir.path(), args);
    assert_eq!(ran.status, Some(2), "{args:?}: {ran:?}");
    assert!(ran.stderr.contains(NEWER) && !ran.stderr.contains("damaged"), "{args:?}: {ran:?}");
}

#[test]
fn a_newer_major_version_is_called_newer_and_never_damaged() {
    let newer = |name: &'static str| {
        move |dir: &Path| write(&dir.join(name), &json!({"version": 2, "other": ["shape"]}))
    };
    let begins = |name: &'static str, with: &'static [u8]| {
        move |dir: &Path| fs::write(dir.join(name), with).expect("a file")
    };
    let judge: &[&str] = &["judge", "--run", "run2"];
    let resume: &[&str] = &["scan", "--resume", "killed", "--ports", "1-400", "--rate", "20000"];
    for set in sets() {
        is_called_newer(&set, newer("run2/run.json"), judge);
        is_called_newer(&set, begins("run2/coverage.bin", b"MMWCOV2\nxxxxxxxx"), judge);
        is_called_newer(
            &set,
            begins("run2/observations.ndjson", b"{\"v\":2,\"z\":1}\n{\"v\":2}\n"),
            judge,
        );
        is_called_newer(&set, begins("killed/checkpoint.bin", b"MMWCKP2\nxxxxxxxx"), resume);
        is_called_newer(
            &set,
            newer("run2/verdict.json"),
            &["report", "--verdict", "run2/verdict.json", "--format", "text"],
        );
        is_called_newer(&set, newer("rounds/r-1/plan.json"), &["round", "show", "--round", "r-1"]);
        // A newer state, in a header of this version and in one of a newer version.
        for (header_version, state_version) in [(1, 2), (2, 2)] {
            let change = |dir: &Path| {
                let (path, mut header, mut state) = generation(dir);
                header["version"] = json!(header_version);
                state["version"] = json!(state_version);
                state["other"] = json!("shape");
                write_generation(&path, header, &state);
            };
            is_called_newer(&set, change, judge);
            is_called_newer(&set, change, &["state", "show"]);
        }
        let published = |dir: &Path| {
            let text = fs::read_to_string(dir.join("patrol.toml")).expect("patrol.toml");
            let text = text.replace("dir = \"baseline\"", "url = \"published\"");
            fs::write(dir.join("patrol.toml"), text).expect("a file");
            write(&dir.join("published/current.json"), &json!({"version": 2}));
        };
        is_called_newer(&set, published, judge);
        let letter = |dir: &Path| {
            let folder = dir.join("run/undelivered");
            let entry = fs::read_dir(folder).expect("letters").next().expect("a letter");
            write(&entry.expect("an entry").path(), &json!({"version": 2}));
        };
        if has_letters(&set) {
            is_called_newer(&set, letter, &["notify", "--retry", "run"]);
        }
        let text = b"{\"v\":2,\"kind\":\"manifest\"}\n";
        let fault = Manifest::read("m", &text[..]).expect_err("a newer manifest").to_string();
        assert!(fault.contains(NEWER), "{fault}");
    }
}

/// Numbers of a document above 2^53.
fn large_numbers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(n) if n.as_u64().is_some_and(|n| n > 1 << 53) => {
            found.push(format!("{at}: {n}"))
        }
        Value::Array(all) => all.iter().for_each(|v| large_numbers(v, at, found)),
        Value::Object(all) => {
            all.iter().for_each(|(key, v)| large_numbers(v, &format!("{at}.{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn no_document_of_this_version_holds_a_number_above_two_to_the_53() {
    let set = sets().pop().expect("a set");
    let mut found = Vec::new();
    for path in documents(&set).into_iter().chain([set.join("rounds/r-1/plan.json")]) {
        large_numbers(&read(&path), &path.display().to_string(), &mut found);
    }
    assert!(found.is_empty(), "{found:?}");
    let seed = &read(&set.join("run/run.json"))["plan"]["seed"];
    assert!(seed.as_str().and_then(|s| s.parse::<u64>().ok()).is_some(), "{seed}");
}

/// As a program does that has doubles for numbers, such as jq 1.6 and everything in JavaScript: it shows a
/// large number by 17 digits, and zeros behind them.
fn with_rounded_numbers(path: &Path) {
    let mut value = read(path);
    let seed = &mut value["plan"]["seed"];
    if let Some(n) = seed.as_u64() {
        let text = n.to_string();
        let (digits, rest) = text.split_at(17.min(text.len()));
        let shown = format!("{digits}{}", "0".repeat(rest.len()));
        let rounded: u64 = shown.parse().expect("a number");
        assert_ne!(rounded, n);
        *seed = json!(rounded);
    }
    write(path, &value);
}

#[test]
fn a_run_that_does_not_fit_its_coverage_is_refused_and_nothing_is_judged() {
    for set in sets() {
        let dir = copied(&set);
        let path = dir.path().join("run2/run.json");
        let before = fs::read(&path).expect("run.json");
        with_rounded_numbers(&path);
        let ran = run(dir.path(), &["judge", "--run", "run2"]);
        if set.ends_with("v1.0") {
            assert_eq!(ran.status, Some(2), "{ran:?}");
            assert!(ran.stderr.contains("are not of one plan"), "{ran:?}");
        } else {
            assert_ne!(ran.status, Some(2), "text is not rounded: {ran:?}");
            // By another seed, ports or shard the same bytes would speak of other cells.
            for (key, other) in [("seed", json!("7")), ("ports", json!("2201,8081,8083"))] {
                let mut value: Value = serde_json::from_slice(&before).expect("JSON");
                value["plan"][key] = other;
                write(&path, &value);
                let ran = run(dir.path(), &["judge", "--run", "run2"]);
                assert_eq!(ran.status, Some(2), "{key}: {ran:?}");
                assert!(ran.stderr.contains("are not of one plan"), "{ran:?}");
            }
        }
        assert!(!ran.stdout.contains("\"state\": \"resolved\""), "{ran:?}");
    }
}
