//! `baseline plan` and `baseline explain`: every message that they can give, on prepared runs; and that
//! their figures add up, whatever the baselines are.

#[path = "baseline_plan/arithmetic.rs"]
mod arithmetic;
#[path = "baseline_plan/explain.rs"]
mod explain;
#[path = "baseline_plan/kit.rs"]
mod kit;
#[path = "baseline_plan/many.rs"]
mod many;

use std::fs;

use kit::{Fixture, small};

const BASE: &str = r#"version = 1
owner = "@corp/hosting"

[[allow]]
id = "edge"
hosts = ["198.51.100.0/28"]
ports = ["tcp/80"]
reason = "Public edge"

[[allow]]
id = "legacy"
hosts = ["198.51.100.40"]
ports = ["tcp/22", "tcp/443"]
reason = "Moves out in spring"

[[allow]]
id = "bastion"
hosts = ["198.51.100.50"]
ports = ["tcp/22"]
reason = "Bastion"
expires = 2026-12-31

[[allow]]
id = "mail"
hosts = ["198.51.100.52"]
ports = ["tcp/443"]
reason = "Webmail"
"#;

const HEAD: &str = r#"version = 1
owner = "@corp/hosting"

[[allow]]
id = "edge"
hosts = ["198.51.100.0/27"]
ports = ["tcp/80", "tcp/443", "udp/443"]
reason = "Public edge, with HTTP/3"

[[allow]]
id = "cache"
hosts = ["198.51.100.8/29", "2001:db8:10::/64"]
ports = ["tcp/6379"]
reason = "Caches"
expires = 2027-02-28

[[allow]]
id = "bastion"
hosts = ["198.51.100.50"]
ports = ["tcp/22"]
reason = "Bastion"
expires = 2027-03-31

[[allow]]
id = "mail"
hosts = ["198.51.100.52"]
ports = ["tcp/443"]
expect = "must"
reason = "Webmail"

[[allow]]
id = "no-redis"
hosts = ["198.51.100.60"]
ports = ["tcp/6379"]
expect = "never"
reason = "Has held customers' data"

[[allow]]
id = "probe"
hosts = ["198.51.100.53"]
ports = ["tcp/443"]
expect = "must"
reason = "Monitoring"

[[allow_http]]
id = "status"
hosts = ["198.51.100.0/28"]
checks = ["server-status"]
paths = ["/healthz"]
reason = "Seen by the monitoring alone"
"#;

fn changed() -> Fixture {
    let f = small();
    f.baseline("base", BASE);
    f.baseline("head", HEAD);
    f
}

#[test]
fn help() {
    let f = Fixture::new(kit::CONFIG);
    for command in ["plan", "explain"] {
        let ran = f.run(&["baseline", command, "--help"]);
        assert_eq!(ran.status, Some(0));
        insta::assert_snapshot!(format!("help_baseline_{command}"), ran.stdout);
    }
}

#[test]
fn a_change_in_each_form() {
    let f = changed();
    for format in ["text", "markdown", "json"] {
        let ran = f.plan(&["--format", format]);
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        insta::assert_snapshot!(format!("plan_{format}"), ran.stdout);
    }
    // The same inputs give the same bytes, and a file holds what stdout does.
    let out = f.plan(&["--format", "markdown"]).stdout;
    assert!(out.starts_with("<!-- mimawari-plan -->\n"));
    let ran = f.plan(&["--format", "markdown", "--out", "comment.md"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(f.path("comment.md")).unwrap(), out);
}

#[test]
fn the_other_way_round_everything_is_turned_about() {
    let f = changed();
    let there = f.plan_json("base", "head");
    let back = f.plan_json("head", "base");
    let places = |v: &serde_json::Value, list: &str| {
        let mut all: Vec<String> = v[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| {
                format!("{}:{}{}", x["finding"]["ip"], x["finding"]["port"], x["finding"]["path"])
            })
            .collect();
        all.sort();
        all
    };
    assert!(!places(&there, "silenced").is_empty() && !places(&there, "reopened").is_empty());
    assert_eq!(places(&there, "silenced"), places(&back, "reopened"));
    assert_eq!(places(&there, "reopened"), places(&back, "silenced"));
    assert_eq!(there["left"].as_array().unwrap().len(), back["left"].as_array().unwrap().len());
    // The verdict of a patrol under each of the two says the same.
    for (side, other) in [("base", &there), ("head", &back)] {
        f.run(&[
            "judge",
            "--run",
            "runs/r1",
            "--baseline",
            side,
            "--now",
            kit::NOW,
            "--out",
            "v.json",
        ]);
        let verdict: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(f.path("v.json")).unwrap()).unwrap();
        let drift = verdict["findings"].as_array().unwrap().iter();
        let drift = drift
            .filter(|f| ["open", "unverified", "missing"].contains(&f["state"].as_str().unwrap()));
        let n =
            other["silenced"].as_array().unwrap().len() + other["left"].as_array().unwrap().len();
        assert_eq!(drift.count(), n, "{side}");
    }
}

#[test]
fn no_change_is_said_to_be_none() {
    let f = changed();
    f.baseline("same", BASE);
    let ran = f.run(&[
        "baseline",
        "plan",
        "--base",
        "base",
        "--head",
        "same",
        "--run",
        "runs/r1",
        "--now",
        kit::NOW,
    ]);
    insta::assert_snapshot!("plan_nothing", ran.stdout);
}

#[test]
fn a_run_that_is_not_whole_is_named_as_such() {
    let f = changed();
    kit::run(&f, "runs/half", kit::Covered::Half);
    let at = [
        "baseline",
        "plan",
        "--base",
        "base",
        "--head",
        "head",
        "--run",
        "runs/half",
        "--now",
        kit::NOW,
    ];
    insta::assert_snapshot!("plan_incomplete", f.run(&at).stdout);
    let markdown = f.run(&[&at[..], &["--format", "markdown"]].concat());
    insta::assert_snapshot!("plan_incomplete_markdown", markdown.stdout);
}

#[test]
fn the_status_shows_what_would_be_silenced() {
    let f = changed();
    for (severity, status) in [("info", 1), ("medium", 1), ("high", 1), ("critical", 0)] {
        let ran = f.plan(&["--fail-on-silenced", severity]);
        assert_eq!(ran.status, Some(status), "{severity}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn mistakes() {
    let f = changed();
    f.baseline("broken", "version = 1\nowner = \"@a/b\"\n[[allow]]\nid = \"x\"\n");
    let all: [&[&str]; 8] = [
        &["plan"],
        &["plan", "--base", "base", "--head", "none", "--run", "runs/r1"],
        &["plan", "--base", "broken", "--head", "head", "--run", "runs/r1"],
        &["plan", "--base", "base", "--head", "head", "--run", "runs/none"],
        &["plan", "--base", "base", "--head", "head", "--run", "runs/r1", "--now", "soon"],
        &["plan", "--base", "base", "--head", "head", "--run", "runs/r1", "--out", "none/x.md"],
        &["plan", "--base", "base", "--head", "head", "--run", "runs/r1", "--format", "pdf"],
        &[
            "plan",
            "--base",
            "base",
            "--head",
            "head",
            "--run",
            "runs/r1",
            "--fail-on-silenced",
            "bad",
        ],
    ];
    let mut said = String::new();
    for args in all {
        let ran = f.run(&[&["baseline"], args].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        // The name of a temporary file is another one each time.
        let stderr: Vec<&str> =
            ran.stderr.lines().map(|l| l.split(" at path ").next().unwrap()).collect();
        said.push_str(&format!(
            "$ mimawari baseline {}\n{}\n\n",
            args.join(" "),
            stderr.join("\n")
        ));
    }
    insta::assert_snapshot!("plan_mistakes", said);
}
