//! One plan in several processes, and its runs merged into one.

use super::*;

pub const CASES: Cases = &[
    ("sharded::merged_shards_are_the_whole_run", whole),
    ("sharded::a_missing_shard_is_named_and_nothing_of_it_is_resolved", missing),
    ("sharded::runs_that_do_not_belong_together_are_refused", mixed),
];

/// Hosts with SSH on all addresses, Redis on one.
fn centre(c: &Case) -> Vec<Server> {
    c.config("targets = [\"198.19.0.0/24\"]\nports = \"22,23,6379\"\nmethod = \"syn\"", "");
    c.baseline("[[allow]]\nid = \"ssh\"\nhosts = [\"198.19.0.0/25\"]\nports = [\"tcp/22\"]\nreason = \"Shell access of the lab\"\nexpires = 2099-01-01");
    vec![
        Server::banner(&c.lab, "0.0.0.0:22", b"SSH-2.0-OpenSSH_9.2\r\n"),
        Server::banner(&c.lab, "198.19.0.77:6379", b"-DENIED\r\n"),
    ]
}

/// Runs three shards, named by the variables of an orchestrator.
fn three(c: &Case) {
    for i in 0..3 {
        let index = i.to_string();
        c.mimawari("scan")
            .args(["--out", &format!("s{i}")])
            .env("JOB_COMPLETION_INDEX", &index)
            .env("MIMAWARI_SHARDS", "3")
            .run()
            .expect(0);
        assert_eq!(c.json(&format!("s{i}/run.json"))["shard"], format!("{}/3", i + 1));
    }
}

/// Findings of a judgement of some runs.
fn judged(c: &Case, runs: &[&str], status: i32) -> Vec<String> {
    let args = runs.iter().flat_map(|r| ["--run", r]);
    c.mimawari("judge").args(args).args(["--out", "v.json"]).run().expect(status);
    findings(&c.json("v.json"))
}

fn whole(c: &Case) {
    let _servers = centre(c);
    three(c);
    c.mimawari("merge").args(["s2", "s0", "s1", "--out", "m"]).run().expect(0);
    c.mimawari("scan").args(["--out", "u"]).run().expect(0);
    let (merged, single) = (c.json("m/run.json"), c.json("u/run.json"));
    for key in ["cells", "open", "closed", "silent", "not_probed"] {
        assert_eq!(merged["sweep"][key], single["sweep"][key], "{key}");
    }
    assert_eq!(merged["merged"].as_array().map(Vec::len), Some(3));
    assert_eq!(c.confirmed("m"), c.confirmed("u"));
    let load = |name: &str| mimawari_runs::LoadedRun::open(&c.path(name)).expect("the run");
    let (merged, single) = (load("m"), load("u"));
    for step in 0..single.walk().len() {
        let e = single.walk().endpoint(step).expect("a step");
        assert_eq!(merged.cell(e.ip(), e.port()), single.cell(e.ip(), e.port()), "{e}");
    }
    // However it is put together, the verdict is the same.
    let expected = judged(c, &["u"], 1);
    assert!(expected.contains(&"unexpected-open 198.19.0.77:6379 open".to_owned()));
    assert_eq!(judged(c, &["m"], 1), expected);
    assert_eq!(judged(c, &["s0", "s1", "s2"], 1), expected);
    let again = c.mimawari("merge").args(["s0", "s1", "s2", "--out", "m"]).run().expect(2);
    assert!(again.stderr.contains("already holds a run"), "{}", again.stderr);
}

fn missing(c: &Case) {
    let servers = centre(c);
    let databases: Vec<Server> = (100..124)
        .map(|i| Server::banner(&c.lab, &format!("198.19.0.{i}:6379"), b"-DENIED\r\n"))
        .collect();
    c.patrol("before", &[]).expect(1);
    drop(databases);
    three(c);
    drop(servers);
    let out = c.mimawari("merge").args(["s0", "s2", "--out", "m"]).run().expect(3);
    let named = "Shard 2/3 is missing: its 248 cells were not probed.";
    assert!(out.stdout.contains(named), "{}", out.stdout);
    let sweep = &c.json("m/run.json")["sweep"];
    assert_eq!((&sweep["cells"], &sweep["not_probed"]), (&744.into(), &248.into()));
    let all = judged(c, &["m"], 1);
    // What the two shards saw closed is resolved; what nobody looked at is still alarming.
    let plan = mimawari_runs::LoadedRun::open(&c.path("m")).expect("the run");
    let redis = mimawari_targets::Port::new(6379).expect("a port");
    let mut seen = [0, 0];
    for i in 100..124u8 {
        let ip = IpAddr::from([198, 19, 0, i]);
        let step = plan.walk().step_of(ip, redis).expect("in the plan");
        let state = if step % 3 == 1 { "unverified" } else { "resolved" };
        seen[usize::from(step % 3 == 1)] += 1;
        assert!(
            all.contains(&format!("unexpected-open {ip}:6379 {state}")),
            "{ip} {state}\n{all:?}"
        );
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

fn mixed(c: &Case) {
    let _servers = centre(c);
    let scan = |out: &str, args: &[&str]| {
        c.mimawari("scan").args(["--out", out]).args(args).run().expect(0);
    };
    scan("a", &["--shard", "1/2"]);
    scan("b", &["--shard", "2/2", "--ports", "22,23"]);
    scan("c", &["--shard", "2/3"]);
    scan("d", &["--shard", "1/2"]);
    for (other, what) in [
        ("b", "ports 22-23,6379 and 22-23"),
        ("c", "shards 1/2 and 2/3"),
        ("d", "are both shard 1/2"),
    ] {
        let out = c.mimawari("merge").args(["a", other, "--out", "m"]).run().expect(2);
        assert!(out.stderr.contains(what) && out.stderr.contains("help:"), "{}", out.stderr);
        assert!(!c.path("m").exists());
    }
    let half = c.mimawari("scan").env("JOB_COMPLETION_INDEX", "1").run().expect(2);
    assert!(half.stderr.contains("MIMAWARI_SHARDS"), "{}", half.stderr);
}
