//! Rounds of which everything, or something, comes.

use std::process::Child;

use serde_json::{Value, json};

use super::desk::{Desk, Said, Server};

/// Open ports in every shard, whatever the number of shards.
fn centre(desk: &Desk) -> Vec<Server> {
    (0..12u8).map(|n| desk.server(20 + 17 * n, u16::from(n % 8))).collect()
}

fn verdict_of_patrol(desk: &Desk, out: &str) -> Value {
    let said = desk.run(&["patrol", "--out", out]);
    assert!(matches!(said.status, Some(0 | 1)), "{said:?}");
    serde_json::from_str(&desk.read(&format!("{out}/verdict.json"))).expect("JSON")
}

/// Another state, so that both verdicts are of the first run.
fn forget(desk: &Desk) {
    std::fs::remove_dir_all(desk.path("state")).expect("a state");
}

pub fn merged(desk: &Desk) {
    let _servers = centre(desk);
    let single = verdict_of_patrol(desk, "single");
    assert_eq!(Desk::findings(&single).len(), 12);
    for n in [1u32, 2, 4, 7] {
        forget(desk);
        let (id, count) = (format!("of-{n}"), n.to_string());
        desk.round("plan", &id, &["--shards", &count]).expect(0);
        let names = desk.json(&id, "shards.json");
        assert_eq!(names["shards"].as_array().map(Vec::len), Some(n as usize));
        assert_eq!((&names["cells"], &names["version"]), (&json!(2048), &json!(1)));
        desk.scan_all(&id, 1..=n, n);
        let said = desk.round("reduce", &id, &[]).expect(1);
        let verdict = desk.json(&id, "run/verdict.json");
        assert_eq!(Desk::findings(&verdict), Desk::findings(&single), "{n} shards");
        assert_eq!(verdict["counts"], single["counts"], "{n} shards");
        for key in ["cells_planned", "cells_covered", "open", "closed", "silent", "not_probed"] {
            assert_eq!(verdict["coverage"][key], single["coverage"][key], "{n} shards: {key}");
        }
        assert_eq!(verdict["incomplete"], false, "{verdict}");
        let result = desk.json(&id, "result.json");
        assert_eq!(result["headline"], said.out.lines().next().expect("a headline"));
        assert_eq!((&result["exit"], &result["missing_shards"]), (&json!(1), &json!([])));
        assert_eq!(result["counts"], verdict["counts"]);
        let shown = desk.round("show", &id, &["--json"]).expect(0);
        let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
        assert_eq!(shown["missing_shards"], json!([]));
        assert!(shown["shards"][0]["finished"].as_u64() > Some(0), "{shown}");
    }
    let work = std::fs::read_dir(desk.path("work")).expect("the scratch folder").count();
    assert_eq!(work, 0, "something is left behind");
}

/// The shard of each of the open ports, in a plan of three.
fn shard_of(desk: &Desk, id: &str, server: &Server) -> u64 {
    let plan = desk.json(id, "plan.json");
    let facts: mimawari_runs::meta::PlanFacts =
        serde_json::from_value(plan["plan"].clone()).expect("a plan");
    let walk = facts.walk(mimawari_targets::PlanShard::WHOLE).expect("a walk");
    let port = mimawari_targets::Port::new(server.at.port()).expect("a port");
    walk.step_of(server.at.ip(), port).expect("planned") % 3 + 1
}

pub fn missing(desk: &Desk) {
    let servers = centre(desk);
    // What stays: of a run in which much is gone at once nothing is believed.
    let _others: Vec<_> = (1..=80).map(|n| desk.server(n, 5)).collect();
    desk.configure(20_000, "[[notify]]\nkind = \"events\"\nfile = \"events.ndjson\"\n");
    verdict_of_patrol(desk, "before");
    desk.round("plan", "r", &["--shards", "3"]).expect(0);
    let shards: Vec<u64> = servers.iter().map(|s| shard_of(desk, "r", s)).collect();
    assert!((1..=3).all(|i| shards.contains(&i)), "{shards:?}");
    let places: Vec<String> = servers.iter().map(|s| s.at.to_string()).collect();
    drop(servers);
    desk.scan_all("r", [1, 3], 3);
    let said = desk.round("reduce", "r", &[]).expect(1);
    assert!(said.out.contains("Shard 2/3 is missing"), "{}", said.out);
    let result = desk.json("r", "result.json");
    assert_eq!(result["missing_shards"], json!(["2/3"]));
    assert_eq!(result["incomplete"], true);
    let states = |verdict: &Value| -> Vec<String> {
        let all = Desk::findings(verdict);
        let of = |p: &String| all.iter().find(|(k, _)| k.ends_with(&format!(" {p}")));
        places.iter().map(|p| of(p).map_or("gone", |(_, s)| s).to_owned()).collect()
    };
    for (state, shard) in states(&desk.json("r", "run/verdict.json")).iter().zip(&shards) {
        let expected = if *shard == 2 { "unverified" } else { "resolved" };
        assert_eq!(state, expected, "in shard {shard}");
    }
    let resolved =
        |desk: &Desk| desk.read("events.ndjson").matches("\"change\":\"resolved\"").count();
    let first = resolved(desk);
    assert!(first > 0);
    // It comes late, and is taken in.
    desk.scan_all("r", [2], 3);
    desk.round("reduce", "r", &[]).expect(1);
    let result = desk.json("r", "result.json");
    assert_eq!(result["missing_shards"], json!([]));
    assert_eq!((&result["incomplete"], &result["counts"]["open"]), (&json!(false), &json!(80)));
    assert!(!states(&desk.json("r", "run/verdict.json")).contains(&"unverified".to_owned()));
    let late = shards.iter().filter(|s| **s == 2).count();
    assert_eq!(resolved(desk) - first, late, "{}", desk.read("events.ndjson"));
}

pub fn nothing(desk: &Desk) {
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    let said = desk.round("reduce", "r", &[]).expect(3);
    assert!(said.out.starts_with("INCOMPLETE"), "{}", said.out);
    let result = desk.json("r", "result.json");
    assert_eq!(result["missing_shards"], json!(["1/2", "2/2"]));
    assert_eq!((&result["exit"], &result["incomplete"]), (&json!(3), &json!(true)));
    let verdict = desk.json("r", "run/verdict.json");
    assert_eq!(verdict["coverage"]["not_probed"], 2048);
    // With something known to be open, that is not resolved by it.
    let server = desk.server(9, 0);
    verdict_of_patrol(desk, "before");
    drop(server);
    desk.round("plan", "s", &["--shards", "2"]).expect(0);
    desk.round("reduce", "s", &[]).expect(1);
    let all = Desk::findings(&desk.json("s", "run/verdict.json"));
    assert_eq!(all.values().collect::<Vec<_>>(), ["unverified"]);
}

pub fn again(desk: &Desk) {
    let _servers = centre(desk);
    desk.configure(20_000, "[[notify]]\nkind = \"events\"\nfile = \"events.ndjson\"\n");
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    desk.scan_all("r", 1..=2, 2);
    let first = desk.round("reduce", "r", &[]).expect(1);
    let (result, events) = (desk.object("r", "result.json"), desk.read("events.ndjson"));
    let second = desk.round("reduce", "r", &[]).expect(1);
    assert_eq!(first.out, second.out);
    assert_eq!(desk.object("r", "result.json"), result);
    assert_eq!(desk.read("events.ndjson"), events);
    // Also when the result was lost, so that it is judged again.
    desk.put("r", "result.json", b"{}");
    desk.round("reduce", "r", &[]).expect(1);
    let opened = |text: &str| text.matches("\"change\":\"opened\"").count();
    assert_eq!((opened(&desk.read("events.ndjson")), opened(&events)), (12, 12));
    let verdict = desk.json("r", "run/verdict.json");
    assert_eq!(verdict["timeline"].as_array().map(Vec::len), Some(1), "one round is one run");
    // Shards that were handed in are not scanned again.
    let said = desk.round("scan", "r", &["--shard", "1/2"]).expect(0);
    assert!(said.out.contains("was handed in"), "{}", said.out);
}

pub fn two_plans(desk: &Desk) {
    let plan = |id: &str, claim: &str| -> Child {
        desk.start(&["round", "plan", "--round", id, "--claim", claim, "--shards", "3"])
    };
    let mut wins = [0, 0];
    for n in 0..40 {
        let id = format!("r{n}");
        let both = [plan(&id, "alice"), plan(&id, "bob")];
        let said = both.map(|c| Said::of(c.wait_with_output().expect("its output")));
        let won = said.iter().position(|s| s.status == Some(0)).expect("one wins");
        let (winner, loser) = (["alice", "bob"][won], &said[1 - won]);
        wins[won] += 1;
        assert_eq!(loser.status, Some(2), "{said:?}");
        assert!(loser.err.contains(&format!("by another claim, {winner}")), "{loser:?}");
        assert_eq!(desk.json(&id, "plan.json")["claim"], winner);
        assert_eq!(desk.json(&id, "shards.json")["claim"], winner);
        // Whoever has it may say so again.
        if n == 0 {
            desk.round("plan", &id, &["--claim", winner, "--shards", "3"]).expect(0);
        }
    }
    assert_eq!(wins[0] + wins[1], 40);
    // Without a claim the same command may be repeated, and another may not.
    desk.round("plan", "x", &["--shards", "3"]).expect(0);
    desk.round("plan", "x", &["--shards", "3"]).expect(0);
    desk.round("plan", "x", &["--shards", "4"]).expect(2);
}

pub fn orchestrators(desk: &Desk) {
    desk.round("plan", "k", &["--shards", "2", "--targets", "", "--ports", "18080"]).expect(0);
    let scan = |env: &[(&str, &str)]| {
        let mut command = desk.command(&["round", "scan"]);
        command.env("MIMAWARI_ROUND", "k").envs(env.iter().copied());
        // A state machine hands over what is not set as an empty text.
        command.env("MIMAWARI_SHARD", "").env("MIMAWARI_SHARDS", "");
        Said::of(command.output().expect("its output"))
    };
    let said = scan(&[]).expect(2);
    assert!(said.err.contains("nothing says which"), "{}", said.err);
    let batch = [("AWS_BATCH_JOB_ARRAY_INDEX", "0"), ("AWS_BATCH_JOB_ARRAY_SIZE", "3")];
    assert!(scan(&batch).expect(2).err.contains("planned for 2 shards"));
    let kubernetes = [("JOB_COMPLETION_INDEX", "2")];
    scan(&kubernetes).expect(2);
    let batch = [("AWS_BATCH_JOB_ARRAY_INDEX", "0"), ("AWS_BATCH_JOB_ARRAY_SIZE", "2")];
    assert!(scan(&batch).expect(0).out.starts_with("shard 1/2 of k: handed in"));
    let kubernetes = [("JOB_COMPLETION_INDEX", "1")];
    assert!(scan(&kubernetes).expect(0).out.starts_with("shard 2/2 of k: handed in"));
    let mut plan = desk.command(&["round", "plan", "--round", "hourly-2026-11-24T15:00:00Z"]);
    for name in ["TARGETS", "PORTS", "RATE", "TIER", "RECALL", "CLAIM", "SHARDS"] {
        plan.env(format!("MIMAWARI_{name}"), "");
    }
    Said::of(plan.output().expect("its output")).expect(0);
    assert_eq!(desk.json("hourly-2026-11-24T15-00-00Z", "plan.json")["plan"]["cells"], 2048);
    // More shards than cells: some have nothing to do.
    let one = desk.address(3).to_string();
    desk.round("plan", "few", &["--shards", "3", "--targets", &one, "--ports", "18080,18081"])
        .expect(0);
    desk.scan_all("few", 1..=3, 3);
    desk.round("reduce", "few", &[]).expect(0);
}
