//! What a round must bear beside damage and kills: shards that see less than others, a look that is
//! stopped, two reductions at once, and what somebody else wrote.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use mimawari_tests::fake::{Answer, FakeDns, FakeServer, FakeSite, Zone};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::desk::{Desk, PORT, Said, signal};

/// Changes the configuration that the desk wrote.
fn change(desk: &Desk, from: &str, to: &str) {
    let text = desk.read("patrol.toml");
    assert!(text.contains(from), "{from}: {text}");
    desk.write("patrol.toml", &text.replace(from, to));
}

const OFF: &str = "enabled = false";

/// Sites that publish what they should not, on the first of the ports.
fn sites(desk: &Desk) -> Vec<FakeServer> {
    (0..6u8)
        .map(|n| {
            let site = FakeSite::new()
                .route("/.git/HEAD", Answer::ok("ref: refs/heads/main\n"))
                .route("/", Answer::ok("<!doctype html><title>Shop</title>"));
            let at = SocketAddr::new(desk.address(30 + 7 * n), PORT + u16::from(n % 3));
            site.start_on(at).expect("a site")
        })
        .collect()
}

/// Findings with what was found where, and their number.
fn contents(verdict: &Value) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for f in verdict["findings"].as_array().into_iter().flatten() {
        let key = format!("{} {} {} {}", f["kind"], f["ip"], f["port"], f["path"]);
        *all.entry(key).or_default() += 1;
    }
    all
}

fn patrol(desk: &Desk) -> Value {
    let said = desk.run(&["patrol", "--out", "single"]);
    assert!(matches!(said.status, Some(0 | 1)), "{said:?}");
    std::fs::remove_dir_all(desk.path("state")).expect("a state");
    serde_json::from_str(&desk.read("single/verdict.json")).expect("JSON")
}

pub fn looked(desk: &Desk) {
    let _sites = sites(desk);
    for n in [30, 37] {
        desk.write(&format!("docroot-{n}/x{n}.php"), "<?php\n$visibly = 'fake';\nfake();\n");
        let ip = desk.address(n).to_string();
        let out = format!("m{n}.ndjson");
        desk.run(&["manifest", &format!("docroot-{n}"), "--ip", &ip, "--out", &out]).expect(0);
    }
    change(desk, OFF, "manifests = [\"m30.ndjson\", \"m37.ndjson\"]");
    let single = patrol(desk);
    assert!(contents(&single).keys().any(|k| k.contains("/.git/")), "{single}");
    desk.round("plan", "r", &["--shards", "4"]).expect(0);
    desk.scan_all("r", 1..=4, 4);
    desk.round("reduce", "r", &[]).expect(1);
    let verdict = desk.json("r", "run/verdict.json");
    assert_eq!(contents(&verdict), contents(&single));
    for key in ["checks_planned", "checks_covered", "not_covered", "cells_covered"] {
        assert_eq!(verdict["coverage"][key], single["coverage"][key], "{key}");
    }
    assert_eq!(verdict["incomplete"], single["incomplete"]);
    assert_eq!(verdict["incomplete"], false, "{}", verdict["coverage"]);
}

pub fn stopped_in_the_look(desk: &Desk) {
    let sites = sites(desk);
    change(desk, OFF, "concurrency = 8");
    let single = patrol(desk);
    change(desk, "concurrency = 8", "rate_per_site = 2");
    desk.round("plan", "r", &[]).expect(0);
    let before: Vec<usize> = sites.iter().map(|s| s.requests().len()).collect();
    let child = desk.start(&["round", "scan", "--round", "r"]);
    // Past what confirming and reading the service ask.
    assert!(sites[0].wait_for_requests(before[0] + 6, Duration::from_secs(60)));
    let stopped = Instant::now();
    signal(&child, Signal::SIGTERM);
    let said = Said::of(child.wait_with_output().expect("its output")).expect(3);
    assert!(stopped.elapsed() < Duration::from_secs(30), "{:?}", stopped.elapsed());
    assert!(said.out.contains("stopped at"), "{said:?}");
    assert!(!desk.objects("r").iter().any(|n| n.ends_with("done.json")));
    // What there is of it is judged, and is incomplete.
    desk.round("reduce", "r", &[]).expect(1);
    assert_eq!(desk.json("r", "result.json")["missing_shards"], json!(["1/1"]));
    change(desk, "rate_per_site = 2", "concurrency = 8");
    desk.round("scan", "r", &[]).expect(0);
    desk.round("reduce", "r", &[]).expect(1);
    let verdict = desk.json("r", "run/verdict.json");
    assert_eq!(contents(&verdict), contents(&single));
    for key in ["checks_planned", "checks_covered", "not_covered", "cells_covered"] {
        assert_eq!(verdict["coverage"][key], single["coverage"][key], "{key}");
    }
    assert_eq!(verdict["incomplete"], false, "{}", verdict["coverage"]);
}

/// A canary outside the plan, which every shard asks beside its sweep.
fn with_canary(desk: &Desk) -> SocketAddr {
    let at = SocketAddr::new(desk.address(250), PORT + 100);
    change(desk, "[scan]\n", &format!("[scan]\ncanaries = [\"{at}\"]\n"));
    at
}

pub fn deaf_shard(desk: &Desk) {
    let servers: Vec<_> = (1..=40).map(|n| desk.server(n, 5)).collect();
    with_canary(desk);
    let canary = desk.server(250, 100);
    desk.run(&["patrol", "--out", "before"]).expect(1);
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    // Four ports are gone, which is not many.
    let gone: Vec<String> = servers[..4].iter().map(|s| s.at.to_string()).collect();
    drop(servers.into_iter().take(4).collect::<Vec<_>>());
    let _others: Vec<_> = (5..=40).map(|n| desk.server(n, 5)).collect();
    desk.scan_all("r", [1], 2);
    drop(canary);
    desk.scan_all("r", [2], 2);
    desk.round("reduce", "r", &[]).expect(1);
    let result = desk.json("r", "result.json");
    assert_eq!((&result["suspect"], &result["incomplete"]), (&json!(true), &json!(true)));
    let all = Desk::findings(&desk.json("r", "run/verdict.json"));
    for place in gone {
        let state = all.iter().find(|(k, _)| k.ends_with(&format!(" {place}"))).map(|(_, s)| s);
        assert!(state.is_some_and(|s| s != "resolved"), "{place}: {state:?}");
    }
}

pub fn deadline(desk: &Desk) {
    desk.configure(300, "");
    let _server = desk.server(7, 3);
    with_canary(desk);
    let _canary = desk.server(250, 100);
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    let first = desk.start(&["round", "scan", "--round", "r", "--shard", "1/2"]);
    desk.saved("r", 1);
    change(desk, "[scan]\n", "[scan]\ndeadline = \"1s\"\n");
    let said = desk.round("scan", "r", &["--shard", "2/2"]).expect(0);
    assert!(said.out.contains("handed in"), "{said:?}");
    Said::of(first.wait_with_output().expect("its output")).expect(0);
    let said = desk.round("reduce", "r", &[]);
    assert!(matches!(said.status, Some(1 | 3)), "{said:?}");
    let result = desk.json("r", "result.json");
    assert_eq!((&result["incomplete"], &result["suspect"]), (&json!(true), &json!(false)));
    assert_eq!(result["missing_shards"], json!([]));
    let gaps = result["coverage"]["not_covered"].to_string();
    assert!(gaps.contains("Shard 2/2: The deadline of 1 s"), "{gaps}");
}

pub fn two_reductions(desk: &Desk) {
    let _servers: Vec<_> = (0..6u8).map(|n| desk.server(20 + 9 * n, u16::from(n))).collect();
    desk.round("plan", "r", &["--shards", "4"]).expect(0);
    desk.scan_all("r", 1..=4, 4);
    let late = desk.path("store/r/shards/00004");
    let away = desk.path("away");
    let reduce = || -> Child { desk.start(&["round", "reduce", "--round", "r"]) };
    for n in 0..12u64 {
        let _ = std::fs::remove_file(desk.path("store/r/result.json"));
        std::fs::rename(&late, &away).expect("away");
        let poorer = reduce();
        std::thread::sleep(Duration::from_millis(20 * n));
        std::fs::rename(&away, &late).expect("back");
        let richer = reduce();
        for child in [poorer, richer] {
            let said = Said::of(child.wait_with_output().expect("its output"));
            assert!(matches!(said.status, Some(1 | 3)), "{said:?}");
        }
        let result = desk.json("r", "result.json");
        let run = desk.json("r", "run/run.json");
        let missing = result["missing_shards"].as_array().map_or(0, Vec::len);
        assert_eq!(run["merged"].as_array().map(Vec::len), Some(4 - missing), "{n}");
        let verdict = desk.json("r", "run/verdict.json");
        assert_eq!(verdict["judged_at"], result["judged_at"], "{n}");
        assert_eq!(verdict["counts"], result["counts"], "{n}");
    }
    desk.round("reduce", "r", &[]).expect(1);
    assert_eq!(desk.json("r", "result.json")["missing_shards"], json!([]));
}

/// Killed after the state was saved and before the notifications: the next reduction sends them.
pub fn killed_before_notifying(desk: &Desk) {
    let _servers: Vec<_> = (0..6u8).map(|n| desk.server(20 + 9 * n, u16::from(n))).collect();
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    desk.scan_all("r", 1..=2, 2);
    // No notifier is configured yet, and the result is not written: as a kill leaves it.
    desk.round("reduce", "r", &[]).expect(1);
    std::fs::remove_file(desk.path("store/r/result.json")).expect("a result");
    desk.configure(20_000, "[[notify]]\nkind = \"events\"\nfile = \"events.ndjson\"\n");
    let opened = || desk.read("events.ndjson").matches("\"change\":\"opened\"").count();
    desk.round("reduce", "r", &[]).expect(1);
    assert_eq!(opened(), 6, "{}", desk.read("events.ndjson"));
    for _ in 0..2 {
        std::fs::remove_file(desk.path("store/r/result.json")).expect("a result");
        desk.round("reduce", "r", &[]).expect(1);
        assert_eq!(opened(), 6, "notified twice: {}", desk.read("events.ndjson"));
    }
}

/// Writes `run.json` of a shard that was handed in anew, with what belongs to it.
fn forge(desk: &Desk, shard: u32, forge: impl Fn(&mut Value)) {
    let folder = format!("shards/{shard:05}");
    let done = desk.json("r", &format!("{folder}/done.json"));
    let attempt = done["attempt"].as_str().expect("a name");
    let name = format!("{folder}/{attempt}/save-{:08}.json", done["sequence"].as_u64().expect("n"));
    let mut save = desk.json("r", &name);
    for file in save["files"].as_array_mut().expect("files") {
        if file["name"] == "run.json" {
            let piece = &mut file["pieces"][0];
            let object = format!("{folder}/{attempt}/{}", piece["object"].as_str().expect("one"));
            let mut run = desk.json("r", &object);
            forge(&mut run);
            let bytes = serde_json::to_vec(&run).expect("JSON");
            piece["length"] = json!(bytes.len());
            let digest = Sha256::digest(&bytes);
            piece["sha256"] = json!(digest.iter().map(|b| format!("{b:02x}")).collect::<String>());
            desk.put("r", &object, &bytes);
        }
    }
    desk.put("r", &name, &serde_json::to_vec(&save).expect("JSON"));
}

pub fn forged(desk: &Desk) {
    let _server = desk.server(7, 0);
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    desk.scan_all("r", 1..=2, 2);
    let ill = "\u{1b}[2J\u{9b}31m\u{202e}x\r\n<script>alert(1)</script>";
    for shard in [1, 2] {
        forge(desk, shard, |run| {
            for key in ["run_id", "program", "method"] {
                run[key] = json!(format!("{ill}{key}"));
            }
            run["notes"] = json!([ill]);
            run["not_covered"] = json!([ill]);
            run["gaps"] = json!([
                {"kind": "sweep_failed", "effect": "not_covered", "reason": ill, "text": ill},
                {"kind": ill, "effect": ill, "text": ill, ill: {ill: [ill, "x".repeat(1 << 20)]}},
                {"kind": "cells_not_probed", "effect": "noted", "cells": ill, "of": -1},
            ]);
            run["canaries"] = json!([{"endpoint": ill, "answered": false}]);
            run["http"] = json!({"tier": 9, "targets": u64::MAX, "checks_planned": u64::MAX,
                "checks_covered": u64::MAX});
            for key in ["sent", "send_failures", "receive_lost", "open", "not_probed"] {
                run["sweep"][key] = json!(u64::MAX);
            }
            run["frames_refused"] = json!(u64::MAX);
            run["rate_asked"] = json!(u32::MAX);
            run["rate_reached"] = json!(f64::MAX);
            run["recall_promised"] = json!(-1e300);
            run["sweep"]["recall_estimate"] = json!(-1e300);
            run["sweep"]["recall_interval"] = json!([1e300, -1e300]);
            run["sweep"]["loss_estimate"] = json!(1e300);
            run["sweep"]["answers_by_attempt"] = json!([u64::MAX, u64::MAX]);
            run["started_at"] = json!("9999-12-30T22:00:00Z");
            run["ended_at"] = json!("-009999-01-02T01:59:59Z");
        });
    }
    let said = desk.round("reduce", "r", &[]);
    assert!(matches!(said.status, Some(1 | 3)), "{said:?}");
    assert!(!said.err.contains("panicked"), "{}", said.err);
    let clean = |what: &str, text: &str| {
        for c in ['\u{1b}', '\u{9b}', '\u{202e}', '\r'] {
            assert!(!text.contains(c), "{what}: {}", text.escape_debug());
        }
    };
    clean("stdout", &said.out);
    clean("stderr", &said.err);
    clean("show", &desk.round("show", "r", &[]).expect(0).out);
    let text = |name: &str| String::from_utf8(desk.object("r", name)).expect("UTF-8");
    clean("report.md", &text("run/report.md"));
    clean("report.html", &text("run/report.html"));
    assert!(!text("run/report.html").contains("<script>alert"), "a script");
    clean("result.json", &text("result.json"));
    clean("run.json", &text("run/run.json"));
    clean("verdict.json", &text("run/verdict.json"));
    assert!(text("result.json").len() < 100_000, "a state machine passes on 256 KB");
    // One that would be gone on with.
    desk.put("r", "shards/00001/done.json", b"{}");
    let said = desk.round("show", "r", &[]).expect(0);
    assert!(!said.err.contains("panicked"), "{}", said.err);
}

pub fn reduced_elsewhere(desk: &Desk) {
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    desk.scan_all("r", 1..=2, 2);
    let config = desk.read("patrol.toml");
    for (from, to, why) in [
        ("TEST-1", "TEST-2", "under another scope"),
        ("version = 1\n", "version = 1\nvantage = \"x\"\n", "from another vantage"),
    ] {
        change(desk, from, to);
        let said = desk.round("reduce", "r", &[]).expect(2);
        assert!(said.err.contains(why) && said.err.contains("help:"), "{}", said.err);
        desk.write("patrol.toml", &config);
    }
    // Cells by the thousand million that nobody would have scanned.
    let plan = desk.json("r", "plan.json");
    let mut bad = plan.clone();
    bad["plan"]["addresses"] = json!(["0.0.0.0/0"]);
    bad["plan"]["ports"] = json!("1-65535");
    bad["plan"]["cells"] = json!((1u64 << 32) * 65_535);
    desk.put("r", "plan.json", &serde_json::to_vec(&bad).expect("JSON"));
    let said = desk.round("reduce", "r", &[]).expect(2);
    assert!(said.err.contains("outside the scope"), "{}", said.err);
    assert!(!desk.objects("r").iter().any(|n| n.starts_with("run/")), "something was written");
    desk.put("r", "plan.json", &serde_json::to_vec(&plan).expect("JSON"));
    desk.run(&["round", "show", "--round", "r"]).expect(0);
}

pub fn odd_plans(desk: &Desk) {
    let _server = desk.server(7, 0);
    // Names of which one cannot be resolved.
    let dns = FakeDns::start([
        ("here.example.test", Zone::Addresses(vec![desk.address(7)])),
        ("outside.example.test", Zone::Addresses(vec!["127.99.0.1".parse().expect("an address")])),
        ("broken.example.test", Zone::Code(2)),
    ])
    .expect("a name server");
    let config = desk.read("patrol.toml");
    change(desk, "[scan]\n", &format!("[scan]\nnameservers = [\"{}\"]\n", dns.address()));
    let names = "here.example.test,outside.example.test,broken.example.test";
    let said = desk.round("plan", "n", &["--shards", "3", "--targets", names]).expect(0);
    assert!(said.out.contains("not covered: broken.example.test"), "{}", said.out);
    desk.scan_all("n", 1..=3, 3);
    desk.round("reduce", "n", &[]).expect(1);
    let result = desk.json("n", "result.json");
    assert_eq!(result["incomplete"], true);
    for name in ["outside.example.test", "broken.example.test"] {
        let gaps = result["coverage"]["not_covered"].to_string();
        assert_eq!(gaps.matches(name).count(), 1, "{gaps}");
    }
    desk.write("patrol.toml", &config);
    // Nothing at all is not everything.
    desk.write("empty.txt", "# nobody\n\n");
    for targets in ["@empty.txt", " ", "@absent.txt"] {
        let said = desk.round("plan", "e", &["--targets", targets]).expect(2);
        assert!(said.err.contains("error:"), "{}", said.err);
        assert!(desk.objects("e").is_empty(), "{targets:?}");
    }
    // A folder to work in that is none.
    desk.round("plan", "w", &[]).expect(0);
    for step in ["scan", "reduce"] {
        let mut command = desk.command(&["round", step, "--round", "w"]);
        let output = command.env("MIMAWARI_WORK", desk.path("patrol.toml")).output();
        let said = Said::of(output.expect("its output")).expect(2);
        assert!(said.err.contains("MIMAWARI_WORK"), "{}", said.err);
        assert!(!desk.objects("w").iter().any(|n| !n.ends_with("s.json") && n != "plan.json"));
    }
    // A part of the plan, in shards: the next round has the next part.
    change(desk, "[scan]\n", "[scan]\nrotate = \"1/4\"\n");
    let mut parts = Vec::new();
    for id in ["p1", "p2"] {
        let said = desk.round("plan", id, &["--shards", "3"]).expect(0);
        assert!(said.out.contains("512 cells for 3 tasks, part "), "{}", said.out);
        desk.scan_all(id, 1..=3, 3);
        let said = desk.round("reduce", id, &[]);
        assert!(matches!(said.status, Some(0 | 1)), "{said:?}");
        let result = desk.json(id, "result.json");
        assert_eq!(result["coverage"]["cells_covered"], 512, "{result}");
        parts.push(desk.json(id, "plan.json")["part"].clone());
    }
    assert_eq!(parts, [json!("1/4"), json!("2/4")]);
}
