//! Notifiers against receivers on loopback that enforce what the real ones document: at most once,
//! tried again, given up, kept, sent later; and no secret anywhere.

#[path = "notify/github.rs"]
mod github;
#[path = "notify/program.rs"]
mod program;
#[path = "notify/slack.rs"]
mod slack;
#[path = "notify/webhook.rs"]
mod webhook;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mimawari::config::Config;
use mimawari_drift::verdict::Verdict;
use mimawari_notify::client::{ClientContext, RetryPolicy};
use mimawari_notify::{DeliveryEnd, Notifiers, NotifyOutcome, StateLedger};
use serde_json::{Value, json};

/// Planted secrets, visibly false. No output may hold any of them.
const SLACK_PATH: &str = "/services/TFAKE/BFAKE/not-a-real-slack-secret";
const TOKEN: &str = "ghp_not-a-real-github-token";
const KEY: &str = "whsec_bm90LWEtcmVhbC13ZWJob29rLWtleQ==";

const SECRETS: [&str; 4] =
    ["not-a-real-slack-secret", TOKEN, "bm90LWEtcmVhbC13ZWJob29rLWtleQ", "not-a-real-webhook-key"];

#[track_caller]
fn holds_no_secret(text: &str) {
    for s in SECRETS {
        assert!(!text.contains(s), "{s} in {text}");
    }
}

/// A finding as in `verdict.json`.
fn finding(n: u64, ip: &str, port: u16) -> Value {
    json!({
        "id": format!("{n:016x}"), "kind": "unexpected-open", "vantage": "outside", "proto": "tcp",
        "ip": ip, "port": port, "host": null, "path": null, "check": null, "state": "open",
        "cause": "unmatched", "severity": "high", "first_seen": "2026-07-20T01:00:00Z",
        "last_seen": "2026-08-01T01:00:41Z", "new": true, "reopened": 0, "flapping": false,
        "owner": "@corp/a", "allowed_by": null, "why": "No rule allows it.", "service": null,
        "evidence": null,
    })
}

/// A verdict in which all of these were opened.
fn verdict(findings: Vec<Value>) -> Verdict {
    let changes: Vec<Value> = findings
        .iter()
        .map(|f| {
            let id = f["id"].as_str().expect("an id");
            json!({"key": format!("{id}-1"), "finding": id, "what": "opened"})
        })
        .collect();
    serde_json::from_value(json!({
        "version": 1, "run_id": "20260801T010000Z-7f3a", "judged_at": "2026-08-01T01:01:12Z",
        "exit": 1, "incomplete": false, "incomplete_because": [], "suspect": false,
        "coverage": {"cells_planned": 100, "cells_covered": 100, "open": 3, "closed": 97,
            "prohibited": 0, "silent": 0, "not_probed": 0, "recall_estimate": 0.99999,
            "recall_interval": null, "recall_promised": 0.9999, "checks_planned": 0,
            "checks_covered": 0, "not_covered": []},
        "counts": {"open": findings.len(), "unverified": 0, "resolving": 0, "resolved": 0,
            "allowed": 0, "missing": 0, "out_of_scope": 0, "unconfirmed": 0, "new": 3},
        "run": {"started_at": null, "ended_at": null, "method": "syn", "targets": [], "ports": "1",
            "addresses": 1, "authorised_by": "T", "scope_digest": "", "vantage": "outside",
            "rate_asked": 1, "rate_reached": 1.0, "packets_sent": 1, "send_failures": 0,
            "receive_drops": 0, "canaries_answered": 0, "canaries_total": 0, "notes": []},
        "baseline_digest": "", "findings": findings, "changes": changes,
    }))
    .expect("a verdict")
}

fn three() -> Verdict {
    verdict((1..=3).map(|n| finding(n, &format!("198.51.100.{n}"), 6379)).collect())
}

/// Notifiers of a configuration, in a hurry.
fn notifiers(tables: &str, environment: &[(&str, String)]) -> Notifiers {
    let text = format!(
        "version = 1\n[scope]\nallow = [\"198.51.100.0/24\"]\nauthorised_by = \"T\"\n{tables}"
    );
    let config =
        Config::parse("patrol.toml", &text, Path::new("/nowhere")).expect("a configuration");
    let get = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
    let world = ClientContext { now: Timestamp::now, random: Arc::new(|| 1 << 62) };
    let mut all = Notifiers::ready(&config.notify, get, world).expect("ready");
    all.policy = RetryPolicy {
        attempts: 4,
        base: Duration::from_millis(2),
        longest_wait: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
        total: Duration::from_secs(30),
        pause: Duration::ZERO,
    };
    all
}

/// A state folder and a run folder.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn ledger(&self) -> StateLedger {
        StateLedger::open(&mimawari_store::StoreLocation::Folder(self.dir.path().to_owned()))
            .expect("a ledger")
    }

    fn letters(&self) -> Vec<Value> {
        let Ok(dir) = std::fs::read_dir(self.dir.path().join("undelivered")) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        for entry in dir {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a letter");
            holds_no_secret(&text);
            out.push(serde_json::from_str(&text).expect("JSON"));
        }
        out
    }

    async fn deliver(&self, n: &Notifiers, v: &Verdict) -> Vec<NotifyOutcome> {
        let out = n.deliver(v, self.dir.path(), &self.ledger()).await;
        holds_no_secret(&format!("{out:?}{n:?}"));
        out
    }
}

#[track_caller]
fn fault(out: &[NotifyOutcome]) -> (String, bool) {
    match &out[0].end {
        DeliveryEnd::Failed(f) => (f.why.clone(), f.doubtful),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn events_and_metrics_go_to_files_and_count_what_failed() {
    let desk = Desk::new();
    let path = |name: &str| desk.dir.path().join(name).display().to_string();
    // Nobody listens there: the port was had and given back.
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it");
    let n = notifiers(
        &format!(
            "[[notify]]\nkind = \"slack\"\nwebhook_env = \"S\"\n[[notify]]\nkind = \"events\"\nfile = {:?}\n\
             [[notify]]\nkind = \"emf\"\nfile = {:?}\n[[notify]]\nkind = \"prometheus\"\nfile = {:?}\n",
            path("events"),
            path("emf"),
            path("m.prom")
        ),
        &[("S", format!("http://{closed}{SLACK_PATH}"))],
    );
    let out = desk.deliver(&n, &three()).await;
    assert!(fault(&out).0.starts_with("no connection"), "{out:?}");
    assert!(!fault(&out).1, "it cannot have arrived");
    assert!(out[1..].iter().all(|o| o.end == DeliveryEnd::Sent), "{out:?}");
    let read = |name: &str| std::fs::read_to_string(desk.dir.path().join(name)).expect(name);
    assert_eq!(read("events").lines().count(), 4);
    assert!(read("m.prom").contains("mimawari_delivery_failures{vantage=\"outside\"} 1"));
    let emf: Value = serde_json::from_str(&read("emf")).expect("JSON");
    assert_eq!(emf["DeliveryFailures"], 1);
    assert_eq!(desk.letters().len(), 1);
    // Sent again: events are not doubled, figures are replaced.
    desk.deliver(&n, &three()).await;
    assert_eq!(read("events").lines().count(), 4);
}

#[tokio::test]
async fn a_pipe_without_a_reader_holds_nothing_up() {
    let desk = Desk::new();
    let pipe = desk.dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let n = notifiers(&format!("[[notify]]\nkind = \"events\"\nfile = {pipe:?}\n"), &[]);
    let out = desk.deliver(&n, &three()).await;
    assert!(fault(&out).0.starts_with("cannot be written"), "{out:?}");
    assert_eq!(desk.letters().len(), 1);
}
