//! Damage, and objects that somebody else wrote.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::desk::Desk;

/// The objects of shard 1, with a part of their name.
fn of_shard(desk: &Desk, id: &str, what: &str) -> Vec<String> {
    let fits = |n: &String| n.starts_with("shards/00001/") && n.contains(what);
    desk.objects(id).into_iter().filter(fits).collect()
}

pub fn damaged(desk: &Desk) {
    let _server = desk.server(7, 0);
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    desk.scan_all("r", 1..=2, 2);
    let expect_missing = |why: &str| {
        let said = desk.round("reduce", "r", &[]);
        assert!(matches!(said.status, Some(1 | 3)), "{why}: {said:?}");
        let result = desk.json("r", "result.json");
        assert_eq!(result["missing_shards"], json!(["1/2"]), "{why}");
        assert_eq!(result["damaged_shards"], json!(["1/2"]), "{why}");
        let gaps = result["coverage"]["not_covered"].to_string();
        assert!(gaps.contains("damaged") || gaps.contains("missing"), "{why}: {gaps}");
        assert!(gaps.contains(why), "{why}: {gaps}");
        assert!(!gaps.contains("\\u001b"), "{why}: {gaps}");
    };
    for what in ["coverage-", "run-"] {
        let names = of_shard(desk, "r", what);
        let name = names.last().expect("a piece");
        let good: Vec<Vec<u8>> = names.iter().map(|n| desk.object("r", n)).collect();
        for n in &names {
            let mut bad = desk.object("r", n);
            let at = bad.len() / 2;
            bad[at] ^= 0x20;
            desk.put("r", n, &bad);
        }
        expect_missing(what);
        // Cut off, too long, empty.
        for bad in [&good[0][..good[0].len() - 1], &[&good[0][..], b"x"].concat(), b""] {
            for n in &names {
                desk.put("r", n, bad);
            }
            expect_missing(what);
        }
        for (n, good) in names.iter().zip(&good) {
            desk.put("r", n, good);
        }
        // Mended, it is taken in.
        desk.round("reduce", "r", &[]).expect(1);
        assert_eq!(desk.json("r", "result.json")["missing_shards"], json!([]), "{name}");
    }
    let saves = of_shard(desk, "r", "/save-");
    let good: Vec<Vec<u8>> = saves.iter().map(|n| desk.object("r", n)).collect();
    for s in &saves {
        desk.put("r", s, b"{\"version\":1,\x1b[2J");
    }
    expect_missing("save-");
    for (s, good) in saves.iter().zip(&good) {
        desk.put("r", s, good);
    }
    let done = desk.object("r", "shards/00001/done.json");
    desk.put("r", "shards/00001/done.json", b"\x1b[2J");
    let said = desk.round("reduce", "r", &[]).expect(1);
    assert!(said.out.contains("done.json is damaged"), "{}", said.out);
    let said = desk.round("scan", "r", &["--shard", "1/2"]).expect(2);
    assert!(said.err.contains("cannot be handed in") && said.err.contains("help:"), "{}", said.err);
    desk.round("show", "r", &[]).expect(0);
    desk.put("r", "shards/00001/done.json", &done);
    desk.round("reduce", "r", &[]).expect(1);
    assert_eq!(desk.json("r", "result.json")["damaged_shards"], Value::Null);
}

pub fn scope(desk: &Desk) {
    let server = desk.server(7, 0);
    desk.round("plan", "r", &[]).expect(0);
    let config = desk.read("patrol.toml");
    let plan = desk.json("r", "plan.json");
    // One who is not in the scope any more.
    let narrower = config.replace(".0/24\"]", ".0/24\"]\ndeny = [\"127.86.250.1\"]");
    let other = config.replace("TEST-1", "TEST-2");
    for changed in [narrower, other] {
        assert_ne!(changed, config);
        desk.write("patrol.toml", &changed);
        let said = desk.round("scan", "r", &[]).expect(2);
        assert!(
            said.err.contains("under another scope; nothing is sent or judged"),
            "{}",
            said.err
        );
    }
    desk.write("patrol.toml", &config.replace("version = 1\n", "version = 1\nvantage = \"x\"\n"));
    assert!(desk.round("scan", "r", &[]).expect(2).err.contains("from another vantage"));
    desk.write("patrol.toml", &config);
    // A plan that somebody wrote, with the right digest.
    for (addresses, why) in [
        (json!(["127.99.0.0/24"]), "outside the scope"),
        (json!(["127.86.0.0/16"]), "outside the scope"),
    ] {
        let mut bad = plan.clone();
        let set: mimawari_targets::AddrSet =
            serde_json::from_value(addresses.clone()).expect("a set");
        bad["plan"]["cells"] = json!(set.len() * 8);
        bad["plan"]["addresses"] = addresses;
        desk.put("r", "plan.json", &serde_json::to_vec(&bad).expect("JSON"));
        let said = desk.round("scan", "r", &[]).expect(2);
        assert!(said.err.contains(why), "{}", said.err);
    }
    assert_eq!(server.visits.load(Ordering::Relaxed), 0, "a packet was sent");
    assert!(!desk.objects("r").iter().any(|n| n.starts_with("shards/")), "something was written");
    // Targets outside the scope begin nothing.
    let said = desk.round("plan", "s", &["--targets", "127.99.0.0/24"]).expect(2);
    assert!(said.err.contains("127.99.0.0/24"), "{}", said.err);
    assert!(desk.objects("s").is_empty());
}

pub fn ids(desk: &Desk) {
    let long = "a".repeat(81);
    for id in ["", ".", "..", "../x", "a/b", "/etc", "a\u{1b}[2J", "a b", "ä", ".git", &long] {
        for step in ["plan", "scan", "reduce", "run", "show"] {
            let said = desk.round(step, id, &[]).expect(2);
            assert!(said.err.contains("help:") && !said.err.contains('\u{1b}'), "{}", said.err);
        }
    }
    assert!(!desk.path("store").exists(), "something was made");
}

fn handed_in(desk: &Desk) -> (String, Value) {
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    desk.scan_all("r", [1], 2);
    let done = desk.json("r", "shards/00001/done.json");
    let (attempt, sequence) = (done["attempt"].as_str().expect("one"), &done["sequence"]);
    let name = format!("shards/00001/{attempt}/save-{:08}.json", sequence.as_u64().expect("n"));
    let save = desk.json("r", &name);
    (name, save)
}

pub fn objects(desk: &Desk) {
    let (name, save) = handed_in(desk);
    let others: Vec<String> =
        of_shard(desk, "r", "/save-").into_iter().filter(|n| *n != name).collect();
    for other in others {
        desk.put("r", &other, b"");
    }
    let bad = |change: &dyn Fn(&mut Value)| {
        let mut bad = save.clone();
        change(&mut bad);
        desk.put("r", &name, &serde_json::to_vec(&bad).expect("JSON"));
        let said = desk.round("reduce", "r", &[]).expect(3);
        assert!(!said.err.contains("panicked"), "{}", said.err);
        let missing = desk.json("r", "result.json")["missing_shards"].clone();
        assert_eq!(missing, json!(["1/2", "2/2"]), "{bad}");
    };
    bad(&|s| s["files"][1]["pieces"][0]["object"] = json!("../../../plan.json"));
    bad(&|s| s["files"][1]["pieces"][0]["object"] = json!("a/b"));
    bad(&|s| s["files"][0]["name"] = json!("../../../../etc/passwd"));
    bad(&|s| s["files"][0]["name"] = json!("run.json"));
    bad(&|s| s["files"][1]["pieces"][0]["length"] = json!(u64::MAX));
    bad(&|s| s["files"][1]["pieces"][0]["sha256"] = json!("x"));
    bad(&|s| s["files"] = json!([]));
    bad(&|s| s["shard"] = json!("2/2"));
    bad(&|s| s["plan"] = json!("00"));
    bad(&|s| s["version"] = json!(2));
    bad(&|s| s["attempt"] = json!("../x"));
    assert!(!desk.path("work/passwd").exists());
    desk.put("r", &name, &serde_json::to_vec(&save).expect("JSON"));
    desk.round("reduce", "r", &[]).expect(3);
    assert_eq!(desk.json("r", "result.json")["missing_shards"], json!(["2/2"]));
    // A plan that cannot be one.
    let plan = desk.json("r", "plan.json");
    for (key, value) in [
        ("shards", json!(0)),
        ("shards", json!(4_000_000_000u32)),
        ("rate", json!(0)),
        ("recall", json!(2)),
        ("tier", json!(9)),
        ("version", json!(0)),
        ("round", json!("other")),
    ] {
        let mut bad = plan.clone();
        bad[key] = value;
        desk.put("r", "plan.json", &serde_json::to_vec(&bad).expect("JSON"));
        for step in ["scan", "reduce", "show"] {
            let said = desk.round(step, "r", &[]).expect(2);
            assert!(said.err.contains("plan.json is damaged"), "{key}: {}", said.err);
        }
    }
    // One of a newer version is whole, and not for this one to go by.
    let mut newer = plan.clone();
    newer["version"] = json!(7);
    desk.put("r", "plan.json", &serde_json::to_vec(&newer).expect("JSON"));
    for step in ["scan", "reduce", "show"] {
        let said = desk.round(step, "r", &[]).expect(2);
        assert!(said.err.contains("plan.json was written by a newer mimawari"), "{}", said.err);
    }
}

pub fn mistakes(desk: &Desk) {
    let config = desk.read("patrol.toml");
    let mut messages = Vec::new();
    let mut add = |said: super::desk::Said| messages.push(said.expect(2).err);
    add(desk.round("scan", "r", &[]));
    add(desk.round("plan", "r", &["--shards", "x"]));
    add(desk.round("plan", "r", &["--tier", "7"]));
    add(desk.round("plan", "r", &["--recall", "2"]));
    desk.round("plan", "r", &["--shards", "2"]).expect(0);
    add(desk.round("scan", "r", &["--shard", "1/3"]));
    add(desk.round("run", "r", &["--claim", "somebody"]));
    let cut = config.split("[rounds]").next().expect("the beginning");
    desk.write("patrol.toml", cut);
    add(desk.round("run", "r", &[]));
    desk.write("patrol.toml", &format!("{cut}[rounds]\nshards = 2\n"));
    add(desk.round("run", "r", &[]));
    desk.write(
        "patrol.toml",
        &format!("{cut}[rounds]\nurl = \"x\"\nshards = 0\nsave_every = \"2h\"\n"),
    );
    add(desk.round("run", "r", &[]));
    // The instants differ.
    let messages = messages.join("\n");
    let mut clean = String::new();
    for line in messages.lines() {
        let line = match line.split_once("planned at ") {
            Some((before, after)) => {
                format!("{before}planned at TIME{}", &after[after.find('Z').map_or(0, |i| i + 1)..])
            }
            None => line.to_owned(),
        };
        let line = match line.split_once("another claim, asked-") {
            Some((before, _)) => format!("{before}another claim, asked-DIGEST"),
            None => line,
        };
        clean.push_str(&line);
        clean.push('\n');
    }
    insta::assert_snapshot!("rounds_mistakes", clean);
}
