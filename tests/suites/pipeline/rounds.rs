//! A round of four shards, one task that does it all, and a round that loses a shard.

use super::cloud::{IMAGE, OPEN, QUEUE, SERVERS, deploy};
use super::*;

/// Submits a round of four shards; the ids of its jobs: plan, scan, reduce.
fn submit(cloud: &Cloud, round: &str) -> [String; 3] {
    let mut command = cloud.command(deploy("round"));
    let out = said(command.args([QUEUE, round, "4"])).expect(0).stdout;
    let ids: Vec<String> = out.lines().map(str::to_owned).collect();
    ids.try_into().expect("three jobs")
}

/// What a round is worth: findings with their states, counts and coverage, without times.
fn worth(verdict: &Value) -> (BTreeMap<String, String>, Value, Value) {
    let findings = verdict["findings"].as_array().expect("findings").iter().map(|f| {
        let text = |k: &str| f[k].as_str().unwrap_or_default().to_owned();
        (format!("{} {} {}:{}", text("id"), text("kind"), text("ip"), f["port"]), text("state"))
    });
    let mut counts = verdict["counts"].clone();
    // What was known before is not the same in both states.
    counts["new"] = Value::Null;
    let c = &verdict["coverage"];
    let keys = ["cells_planned", "cells_covered", "open", "closed", "silent", "not_probed"];
    (findings.collect(), counts, keys.map(|k| c[k].clone()).to_vec().into())
}

pub fn whole_then_killed(cloud: &Cloud) {
    let [plan, scan, reduce] = submit(cloud, "whole-2026-11-24T15:00:00Z");
    assert_eq!(cloud.end(&plan), "SUCCEEDED", "{}", cloud.logs());
    for i in 0..4 {
        assert_eq!(cloud.end(&format!("{scan}:{i}")), "SUCCEEDED", "{}", cloud.logs());
    }
    assert_eq!(cloud.end(&scan), "SUCCEEDED", "{}", cloud.logs());
    assert_eq!(cloud.end(&reduce), "SUCCEEDED", "{}", cloud.logs());
    let rounds = "sharded/rounds/whole-2026-11-24T15-00-00Z";
    let result = cloud.object(&format!("{rounds}/result.json")).expect("a result");
    assert_eq!(result["missing_shards"], serde_json::json!([]));
    assert_eq!((&result["incomplete"], &result["exit"]), (&false.into(), &1.into()), "{result}");
    let whole = cloud.object(&format!("{rounds}/run/verdict.json")).expect("a verdict");

    // One task, with a state of its own, knows nothing of them and sees the same.
    let run = ["run", "--rm", "--read-only", "--network", "lab", IMAGE, "round", "run"];
    let which = ["-c", "/etc/mimawari/single.toml", "--round", "single", "--rate", "400"];
    let out = cloud.engine.docker(run.iter().chain(&which)).expect(1);
    let single = cloud.object("single/rounds/single/run/verdict.json").expect("a verdict");
    assert_eq!(worth(&whole), worth(&single), "{}", out.all());
    let (known, ..) = worth(&single);
    // One of them is agreed.
    assert_eq!(known.len(), SERVERS.len() * OPEN.len() - 1, "{known:?}");
    assert!(known.values().all(|s| s == "open"), "{known:?}");

    // The next round loses its third shard as soon as that runs.
    let [_, scan, reduce] = submit(cloud, "killed");
    let third = format!("{scan}:2");
    let end = Instant::now() + Duration::from_secs(120);
    let running = || {
        let name = format!("name={}", third.replace(':', "-"));
        !cloud.engine.ask(["ps", "--quiet", "--filter", &name]).is_empty()
    };
    while !running() {
        assert!(Instant::now() < end, "{}: {}", cloud.status(&third), cloud.logs());
        let _ = cloud.status(&scan);
    }
    cloud.aws(&["batch", "terminate-job", "--job-id", &third, "--reason", "the suite kills it"]);
    assert_eq!(cloud.end(&third), "FAILED");
    for i in [0, 1, 3] {
        assert_eq!(cloud.end(&format!("{scan}:{i}")), "SUCCEEDED", "{}", cloud.logs());
    }
    // moto leaves an array with a failed shard as it was submitted, and what depends on it waits for
    // ever. Batch fails both, and starts the second as little: that is what the rule is for.
    assert_ne!(cloud.status(&scan), "SUCCEEDED");
    assert!(["SUBMITTED", "PENDING"].contains(&cloud.status(&reduce).as_str()));
    assert_eq!(cloud.object("sharded/rounds/killed/result.json"), None);
    let report = by_rule(cloud, &scan);
    assert_eq!(cloud.end(&report), "SUCCEEDED", "{}", cloud.logs());

    let result = cloud.object("sharded/rounds/killed/result.json").expect("a result");
    assert_eq!(result["missing_shards"], serde_json::json!(["3/4"]));
    assert_eq!((&result["incomplete"], &result["exit"]), (&true.into(), &1.into()), "{result}");
    let (counts, all) = (&result["counts"], known.len());
    assert_eq!(counts["resolved"], 0, "{counts}");
    assert_eq!(
        counts["open"].as_u64().zip(counts["unverified"].as_u64()).map(|(a, b)| a + b),
        Some(all as u64)
    );
    // Nothing of what is known was lost, and what the three others saw is as it was.
    let partial = cloud.object("sharded/rounds/killed/run/verdict.json").expect("a verdict");
    let (now, ..) = worth(&partial);
    assert!(now.keys().eq(known.keys()), "{now:?}");
    assert!(now.values().all(|s| s == "open" || s == "unverified"), "{now:?}");
}

/// Does what EventBridge does when the array's event matches the rule, and returns the job: moto keeps
/// rules and starts nothing.
fn by_rule(cloud: &Cloud, scan: &str) -> String {
    let name = "mimawari-shard-failed";
    let pattern =
        cloud.aws(&["events", "describe-rule", "--name", name, "--query", "EventPattern"]);
    let pattern: Value = serde_json::from_str(&pattern).expect("a pattern");
    let job = cloud.aws(&["batch", "describe-jobs", "--jobs", scan, "--query", "jobs[0].jobName"]);
    let prefix = pattern["detail"]["jobName"][0]["prefix"].as_str().expect("a prefix");
    assert!(job.starts_with(prefix), "the rule does not match {job}");
    let target = |query: &str| {
        cloud.aws(&["events", "list-targets-by-rule", "--rule", name, "--query", query])
    };
    let paths = target("Targets[0].InputTransformer.InputPathsMap.round");
    assert_eq!(paths, "$.detail.parameters.round");
    let round = ["batch", "describe-jobs", "--jobs", scan, "--query", "jobs[0].parameters.round"];
    let round = format!("round={}", cloud.aws(&round));
    let template = target("Targets[0].InputTransformer.InputTemplate");
    assert_eq!(template, "{\"Parameters\": {\"round\": <round>}}");
    let definition = target("Targets[0].BatchParameters.JobDefinition");
    let name = target("Targets[0].BatchParameters.JobName");
    cloud.aws(&[
        "batch",
        "submit-job",
        "--job-queue",
        QUEUE,
        "--job-name",
        &name,
        "--job-definition",
        &definition,
        "--parameters",
        &round,
        "--query",
        "jobId",
    ])
}
