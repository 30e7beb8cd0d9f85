//! Tasks that are stopped, killed, or taken for dead.

use std::fs;

use mimawari_runs::checkpoint::SavedCheckpoint;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::desk::{Desk, Said, lines, signal};

/// So slow that a shard takes several seconds, and is saved in between.
const SLOW: u32 = 250;

fn cells(shards: u64) -> u64 {
    2048 / shards
}

/// Probes that were sent by the moment of a save, from its checkpoint.
fn sent(desk: &Desk, save: &str) -> u64 {
    let listed = desk.json("r", save);
    let files = listed["files"].as_array().expect("files");
    let file = files.iter().find(|f| f["name"] == "checkpoint.bin").expect("a checkpoint");
    let object = file["pieces"][0]["object"].as_str().expect("a name");
    let folder = save.rsplit_once('/').expect("a folder").0;
    let point =
        SavedCheckpoint::decode(&desk.object("r", &format!("{folder}/{object}"))).expect("whole");
    serde_json::to_value(&point.sweep).expect("JSON")["sent"].as_u64().expect("a number")
}

/// The `run.json` of the shard that was handed in.
fn handed_in(desk: &Desk, shard: u32) -> Value {
    let done = desk.json("r", &format!("shards/{shard:05}/done.json"));
    let attempt = done["attempt"].as_str().expect("an attempt");
    let sequence = done["sequence"].as_u64().expect("a number");
    desk.json("r", &format!("shards/{shard:05}/{attempt}/run-{sequence:08}"))
}

/// Starts shard 1 of 2 and waits until something of it is saved.
fn begun(desk: &Desk) -> (std::process::Child, String) {
    desk.configure(SLOW, "");
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    let child = desk.start(&["round", "scan", "--round", "r", "--shard", "1/2"]);
    let save = desk.saved("r", 1);
    (child, save)
}

/// All of it is there, and as one patrol sees it.
fn equals_the_whole(desk: &Desk) {
    desk.round("scan", "r", &["--shard", "2/2"]).expect(0);
    desk.round("reduce", "r", &[]).expect(1);
    let result = desk.json("r", "result.json");
    assert_eq!((&result["missing_shards"], &result["incomplete"]), (&json!([]), &json!(false)));
    assert_eq!(result["coverage"]["cells_covered"], 2048);
    assert_eq!(result["counts"]["open"], 8);
    let verdict = desk.json("r", "run/verdict.json");
    fs::remove_dir_all(desk.path("state")).expect("a state");
    desk.configure(20_000, "");
    desk.run(&["patrol", "--out", "single"]).expect(1);
    let single: Value = serde_json::from_str(&desk.read("single/verdict.json")).expect("JSON");
    assert_eq!(Desk::findings(&verdict), Desk::findings(&single));
    assert_eq!(verdict["counts"], single["counts"]);
}

fn gone_on_with(desk: &Desk, how: Signal) {
    let _servers: Vec<_> = (0..8u8).map(|n| desk.server(7 + 30 * n, u16::from(n))).collect();
    let (child, save) = begun(desk);
    signal(&child, how);
    let said = Said::of(child.wait_with_output().expect("its output"));
    let expected = if how == Signal::SIGKILL { None } else { Some(3) };
    assert_eq!(said.status, expected, "{said:?}");
    assert!(!desk.objects("r").iter().any(|n| n.ends_with("done.json")));
    if how == Signal::SIGTERM {
        assert!(said.out.contains("and saved: the same command goes on"), "{}", said.out);
        // What was seen counts when nobody comes back: the shard is named and judged as it is.
        let said = desk.round("reduce", "r", &[]);
        assert!(matches!(said.status, Some(1 | 3)), "{said:?}");
        let result = desk.json("r", "result.json");
        assert_eq!(result["missing_shards"], json!(["1/2", "2/2"]));
        let covered = result["coverage"]["cells_covered"].as_u64().expect("a number");
        assert!(covered > 0 && covered < cells(2), "{covered}");
        fs::remove_dir_all(desk.path("state")).expect("a state");
    }
    // The last one that it made, which may be a later one than we saw.
    let last = desk.saved("r", 1);
    assert!(last >= save);
    let before = sent(desk, &last);
    assert!(before > 0 && before < cells(2), "{before}");
    let said = desk.round("scan", "r", &["--shard", "1/2"]).expect(0);
    assert!(said.err.contains("going on with what another task saved"), "{}", said.err);
    let run = handed_in(desk, 1);
    assert_eq!(run["status"], "complete");
    assert_eq!(run["resumed_at"].as_array().map(Vec::len), Some(1), "{run}");
    // The second process probed what the first had not; a second of probes may be doubled.
    let total = run["sweep"]["sent"].as_u64().expect("a number");
    let anew = cells(2);
    assert!(total - before < anew, "{before} before, {total} in all: nothing was spared");
    assert!(total <= anew + u64::from(SLOW), "{total}");
    equals_the_whole(desk);
}

pub fn killed(desk: &Desk) {
    gone_on_with(desk, Signal::SIGKILL);
}

pub fn stopped(desk: &Desk) {
    gone_on_with(desk, Signal::SIGTERM);
}

pub fn zombie(desk: &Desk) {
    let _servers: Vec<_> = (0..8u8).map(|n| desk.server(7 + 30 * n, u16::from(n))).collect();
    let (child, _) = begun(desk);
    signal(&child, Signal::SIGSTOP);
    // Its host is taken for dead, and another takes over.
    let successor = desk.round("scan", "r", &["--shard", "1/2"]).expect(0);
    assert!(successor.out.contains("handed in, 1024 of 1024"), "{}", successor.out);
    let done = desk.object("r", "shards/00001/done.json");
    signal(&child, Signal::SIGCONT);
    let said = Said::of(child.wait_with_output().expect("its output")).expect(0);
    assert!(said.out.contains("was handed in at"), "{said:?}");
    assert_eq!(desk.object("r", "shards/00001/done.json"), done);
    let attempts: std::collections::BTreeSet<String> = desk
        .objects("r")
        .iter()
        .filter_map(|n| Some(n.strip_prefix("shards/00001/")?.split_once('/')?.0.to_owned()))
        .collect();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    equals_the_whole(desk);
}

pub fn run(desk: &Desk) {
    let _server = desk.server(7, 3);
    desk.configure(SLOW * 2, "");
    let args = ["round", "run", "--round", "r"];
    // That drift is no failure does not make an interruption an end.
    let mut command = desk.command(&args);
    let child = command.env("MIMAWARI_EXIT_ZERO", "true").spawn().expect("starting the program");
    desk.saved("r", 1);
    signal(&child, Signal::SIGTERM);
    let said = Said::of(child.wait_with_output().expect("its output")).expect(3);
    assert!(said.out.contains("shard 1/1 of r: stopped at"), "{said:?}");
    let first = desk.run(&args).expect(1);
    assert!(first.out.starts_with("DRIFT: 1 finding ("), "{}", first.out);
    let run = handed_in(desk, 1);
    assert_eq!(run["resumed_at"].as_array().map(Vec::len), Some(1));
    let again = desk.run(&args).expect(1);
    assert!(again.err.contains("the round was reduced at"), "{}", again.err);
    assert_eq!(first.out, again.out);
    // Another round under this id is refused.
    desk.run(&["round", "run", "--round", "r", "--ports", "18081"]).expect(2);
}

pub fn store_away(desk: &Desk) {
    desk.configure(SLOW, "");
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    let mut child = desk.start(&["round", "scan", "--round", "r", "--shard", "1/2"]);
    let said = lines(&mut child);
    desk.saved("r", 1);
    let (store, away) = (desk.path("store"), desk.path("away"));
    fs::rename(&store, &away).expect("away");
    fs::write(&store, "not a folder").expect("a file in its place");
    let wait = || said.recv_timeout(std::time::Duration::from_secs(60)).expect("a line");
    while !wait().contains("is not saved, and tried again in 1 s") {}
    fs::remove_file(&store).expect("the file");
    fs::rename(&away, &store).expect("back");
    let said = Said::of(child.wait_with_output().expect("its output")).expect(0);
    assert!(said.out.contains("handed in, 1024 of 1024"), "{said:?}");
    // Nothing of it is missing: what was not saved then was saved later.
    desk.round("reduce", "r", &[]).expect(3);
    let result = desk.json("r", "result.json");
    assert_eq!(result["missing_shards"], json!(["2/2"]));
    assert_eq!(result["coverage"]["cells_covered"], 1024);
}
