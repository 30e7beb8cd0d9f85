//! `deploy/grafana` and the metrics: every metric that a rule or a panel names is written, and promtool
//! takes the file, the rules and their tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use mimawari_tests::suite::Selection;

const BINARY: &str = env!("CARGO_BIN_EXE_mimawari-under-test");

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let full = selection.mode.is_full();
    let trial = |name: &str, case: fn(), ready: bool| {
        Trial::test(format!("monitoring::{name}"), move || {
            case();
            Ok(())
        })
        .with_ignored_flag(!ready)
    };
    vec![
        trial("rules_and_panels_name_metrics_that_are_written", names, true),
        trial("promtool_takes_the_metrics_the_rules_and_their_tests", promtool, full),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana")
}

/// The metrics of a run that the program made.
fn written() -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let open = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = open.local_addr().expect("it").port();
    let text = format!(
        "version = 1\n[scope]\nallow = [\"127.0.0.1\"]\nauthorised_by = \"T\"\n[scan]\nports = \"{port}\"\nmethod = \"connect\"\n\
         [http]\nenabled = false\n[[notify]]\nkind = \"prometheus\"\nfile = \"m.prom\"\n"
    );
    fs::write(dir.path().join("patrol.toml"), text).expect("configuration");
    fs::create_dir(dir.path().join("baseline")).expect("a baseline");
    fs::write(dir.path().join("baseline/a.toml"), "version = 1\nowner = \"@t/t\"\n").expect("it");
    let out = Command::new(BINARY)
        .current_dir(dir.path())
        .env_clear()
        .args(["patrol", "--out", "run"])
        .output()
        .expect("the program");
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
    fs::read_to_string(dir.path().join("m.prom")).expect("the metrics")
}

fn metric_names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|w| w.starts_with("mimawari_"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn names() {
    let written = metric_names(&written());
    let mut used = 0;
    for file in ["mimawari.rules.yml", "mimawari.dashboard.json"] {
        let text = fs::read_to_string(folder().join(file)).expect(file);
        for name in metric_names(&text) {
            used += 1;
            assert!(
                written.contains(&name),
                "{file} names {name}, which no run writes: {written:?}"
            );
        }
    }
    assert!(used > 15, "only {used} metrics were found");
    let text = fs::read_to_string(folder().join("mimawari.dashboard.json")).expect("it");
    let board: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(board["panels"].as_array().expect("panels").len() > 8);
}

fn run_promtool(args: &[&str], input: &str) {
    use std::io::Write as _;
    let mut child = Command::new("promtool")
        .current_dir(folder())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of the package prometheus");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the input");
    let out = child.wait_with_output().expect("promtool");
    let text = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&text));
}

fn promtool() {
    run_promtool(&["check", "metrics"], &written());
    run_promtool(&["check", "rules", "mimawari.rules.yml"], "");
    run_promtool(&["test", "rules", "mimawari.rules.test.yml"], "");
}
