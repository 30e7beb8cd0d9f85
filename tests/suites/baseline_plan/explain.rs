//! `baseline explain`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::kit::{self, Fixture, NOW, Ran};

const BASELINE: &str = r#"version = 1
owner = "@corp/hosting"

[[allow]]
id = "edge"
hosts = ["198.51.100.0/28"]
ports = ["tcp/80", "tcp/443", "udp/53"]
reason = "Public edge"

[[allow]]
id = "caches"
hosts = ["198.51.100.8-198.51.100.17"]
ports = ["tcp/6379"]
reason = "Caches"
expires = 2027-02-28

[[allow]]
id = "bastion"
hosts = ["198.51.100.40"]
ports = ["tcp/22"]
reason = "Bastion"
expires = 2026-10-31

[[allow]]
id = "mail"
hosts = ["198.51.100.52", "198.51.100.54"]
ports = ["tcp/443"]
expect = "must"
reason = "Webmail"

[[allow]]
id = "no-redis"
hosts = ["198.51.100.60-198.51.100.61"]
ports = ["tcp/6379"]
expect = "never"
reason = "Has held customers' data"

[[allow_http]]
id = "status"
hosts = ["198.51.100.3"]
checks = ["server-status"]
paths = ["/healthz"]
reason = "Seen by the monitoring alone"
"#;

fn fixture() -> Fixture {
    let f = kit::small();
    f.baseline("baseline", BASELINE);
    f
}

fn explain(f: &Fixture, what: &str, more: &[&str]) -> Ran {
    f.run(&[&["baseline", "explain", what, "--now", NOW], more].concat())
}

#[test]
fn each_verdict() {
    let f = fixture();
    let mut said = String::new();
    for what in [
        "198.51.100.9:6379",
        "198.51.100.21:6379",
        "198.51.100.40:22",
        "198.51.100.52:443",
        "198.51.100.54:443",
        "198.51.100.60:6379",
        "198.51.100.61:6379",
        "198.51.100.10:6379",
        "198.51.100.4:53",
        "198.51.100.4:53/udp",
        "198.51.100.30:22",
        "198.51.100.30:8080",
        "[2001:db8:10::1]:6379",
        "203.0.113.1:22",
        "http://shop.example.jp/server-status",
        "http://shop.example.jp/.env",
        "http://198.51.100.3/healthz",
        "https://elsewhere.example.jp/x",
    ] {
        let ran = explain(&f, what, &[]);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{what}");
        said.push_str(&format!("$ mimawari baseline explain {what}\n{}\n", ran.stdout));
    }
    insta::assert_snapshot!("explain", said);
}

#[test]
fn a_finding_by_its_id_and_as_json() {
    let f = fixture();
    let json = explain(&f, "198.51.100.21:6379", &["--json"]).stdout;
    insta::assert_snapshot!("explain_json", json);
    let v: serde_json::Value = serde_json::from_str(&json).unwrap();
    let id = v["answers"][0]["finding"]["id"].as_str().unwrap();
    let by_id: serde_json::Value =
        serde_json::from_str(&explain(&f, id, &["--json"]).stdout).unwrap();
    assert_eq!(by_id["answers"], v["answers"]);
}

/// What is resolved, acknowledged, removed or not covered is known from the state.
#[test]
fn from_the_state() {
    let f = fixture();
    let judge = |baseline: &str, run: &str| {
        let args = [
            "judge",
            "--run",
            run,
            "--baseline",
            baseline,
            "--now",
            NOW,
            "--save-state",
            "--out",
            "v.json",
        ];
        let ran = f.run(&args);
        assert_ne!(ran.status, Some(2), "{}", ran.stderr);
    };
    f.baseline("before", &BASELINE.replace("id = \"caches\"", "id = \"old-caches\""));
    judge("before", "runs/r1");
    let newest = fs::read_to_string(f.path("state/generations/00000000000001.json")).unwrap();
    let state = newest.lines().nth(1).expect("a state behind the header");
    let mut json: serde_json::Value = serde_json::from_str(state).unwrap();
    let id = json["findings"]
        .as_object()
        .unwrap()
        .values()
        .find(|t| t["finding"]["ip"] == "198.51.100.21")
        .unwrap()["finding"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    json["acknowledged"] = serde_json::json!({ &id: {
        "until": "2026-12-01T00:00:00Z", "at": "2026-11-24T09:00:00Z", "by": "m.sato", "reason": "OPS-77" } });
    // In the form of a single file, which is still read.
    fs::remove_dir_all(f.path("state")).unwrap();
    fs::create_dir(f.path("state")).unwrap();
    fs::write(f.path("state/state.json"), serde_json::to_string(&json).unwrap()).unwrap();
    fs::remove_dir_all(f.path("runs")).unwrap();
    let mut said = String::new();
    for what in ["198.51.100.21:6379", "198.51.100.9:6379"] {
        let ran = explain(&f, what, &[]);
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        said.push_str(&format!("{}\n", ran.stdout));
    }
    // A run of which the half is known.
    kit::run(&f, "runs/r2", kit::Covered::Half);
    for what in ["198.51.100.0:22", "198.51.100.1:22", "198.51.100.2:22", "198.51.100.3:22"] {
        said.push_str(&format!("{}\n", explain(&f, what, &["--run", "runs/r2"]).stdout));
    }
    fs::write(f.path("runs/r2/coverage.bin"), "not a coverage file").unwrap();
    said.push_str(&explain(&f, "198.51.100.21:6379", &[]).stdout);
    insta::assert_snapshot!("explain_state", said);
}

#[test]
fn mistakes() {
    let f = fixture();
    let mut said = String::new();
    for args in [
        &["198.51.100.1"][..],
        &["http://"],
        &["0123456789abcdef"],
        &["198.51.100.1:22", "none"],
        &["198.51.100.1:22", "--run", "runs/none"],
        &["198.51.100.1:22", "--now", "soon"],
        &[],
    ] {
        let ran = f.run(&[&["baseline", "explain"], args].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        said.push_str(&format!("$ mimawari baseline explain {}\n{}\n", args.join(" "), ran.stderr));
    }
    insta::assert_snapshot!("explain_mistakes", said);
}

/// The search path of this process, in which git has to be.
fn path() -> PathBuf {
    PathBuf::from(std::env::var_os("PATH").expect("a search path"))
}

fn git(dir: &Path, args: &[&str]) {
    let out = Command::new("git")
        .current_dir(dir)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .envs([
            ("GIT_AUTHOR_NAME", "M. Sato"),
            ("GIT_AUTHOR_EMAIL", "sato@example.jp"),
            ("GIT_AUTHOR_DATE", "2026-11-02T09:00:00Z"),
            ("GIT_COMMITTER_NAME", "M. Sato"),
            ("GIT_COMMITTER_EMAIL", "sato@example.jp"),
            ("GIT_COMMITTER_DATE", "2026-11-02T09:00:00Z"),
        ])
        .output()
        .expect("git is needed for this test");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn the_commit_that_brought_the_rule() {
    let f = fixture();
    let ask = ["baseline", "explain", "198.51.100.9:6379", "--now", NOW, "--json"];
    let commit = |path: Option<&Path>| {
        let ran = f.run_with(&ask, path);
        let v: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let rule = &v["answers"][0]["rule"];
        (rule["commit"].clone(), rule["commit_unknown"].clone())
    };
    let path = path();
    assert_eq!(commit(Some(Path::new("/nowhere"))).1, "there is no git");
    assert_eq!(commit(Some(&path)).1, "the baseline is in no git repository");
    let dir = f.path("");
    git(&dir, &["init", "-q"]);
    assert_eq!(commit(Some(&path)).1, "the file is not committed");
    git(&dir, &["add", "baseline"]);
    git(&dir, &["commit", "-q", "-m", "Allow the caches\n\nAs agreed."]);
    let (known, none) = commit(Some(&path));
    assert_eq!(none, serde_json::Value::Null);
    assert_eq!(known["author"], "M. Sato");
    assert_eq!(known["summary"], "Allow the caches");
    assert_eq!(known["at"], "2026-11-02T09:00:00Z");
    assert_eq!(known["id"].as_str().unwrap().len(), 40);
    let text = f.run_with(&ask[..5], Some(&path)).stdout;
    let id = &known["id"].as_str().unwrap()[..12];
    assert!(
        text.contains(&format!("  commit        {id} by M. Sato, 2026-11-02: Allow the caches\n")),
        "{text}"
    );
    f.baseline("baseline", &format!("# new\n{}", BASELINE.replace("[[allow]]", "[[ allow ]]")));
    assert_eq!(commit(Some(&path)).0["summary"], "not committed yet");
}
