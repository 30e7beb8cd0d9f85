use std::fs;
use std::path::Path;
use std::time::Duration;

use mimawari_probes::observation::{CellState, Observation, TcpObservation};
use mimawari_runs::meta::{PlanFacts, RunMeta, RunStatus, ScopeFacts};
use mimawari_runs::{RunFolder, read_meta};
use mimawari_targets::{CellPlan, PlanShard, Port};

use super::attempt::{ShardAttempt, format_shard_folder};
use super::plan::PlannedRound;
use super::save::ShardSaver;
use super::*;

const CONFIG: &str = "version = 1\n[scope]\nallow = [\"192.0.2.0/28\"]\nauthorised_by = \"T-1\"\n\
                      [rounds]\nurl = \"store\"\n";

struct Bench {
    _dir: TempDir,
    run: PathBuf,
    round: RoundStore,
    planned: PlannedRound,
    folder: RunFolder,
    saver: ShardSaver,
}

/// A run of shard 1/2 that has begun.
fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::parse("t", CONFIG, dir.path()).unwrap();
    let rounds = config.rounds.clone().unwrap();
    let objects = ObjectFolder::open(&rounds.url).unwrap();
    let plan = CellPlan::new(config.scope.whole(), "1-5".parse().unwrap(), 9).unwrap();
    let shard = PlanShard::new(1, 2).unwrap();
    let meta = RunMeta::blank(&config.scope, &plan, shard);
    let run = dir.path().join("run");
    let made = RunFolder::create(&run, &meta).unwrap();
    let planned = PlannedRound {
        plan: RoundPlan {
            version: 1,
            minor: 1,
            round: "r".to_owned(),
            claim: "c".to_owned(),
            planned_at: jiff::Timestamp::UNIX_EPOCH,
            program: String::new(),
            vantage: config.vantage.clone(),
            scope: ScopeFacts::of(&config.scope).digest,
            plan: PlanFacts::of(&plan),
            part: None,
            shards: 2,
            rate: 1,
            rate_auto: false,
            recall: 0.9999,
            tier: 1,
            gaps: Vec::new(),
        },
        digest: "d".repeat(64),
    };
    let round = RoundStore { config, rounds, id: "r".parse().unwrap(), objects, work: None };
    let attempt = ShardAttempt::draw(jiff::Timestamp::UNIX_EPOCH).unwrap();
    let saver = ShardSaver {
        objects: round.objects.clone(),
        prefix: round.name(&format!("{}/{attempt}", format_shard_folder(shard))),
        dir: run.clone(),
        round: "r".to_owned(),
        plan: planned.digest.clone(),
        shard,
        cells: 40,
        attempt,
        sequence: 0,
        pieces: [Vec::new(), Vec::new()],
    };
    Bench { _dir: dir, run, round, planned, folder: made, saver }
}

fn seen(n: u8) -> Observation {
    Observation::Tcp(TcpObservation {
        ip: [192, 0, 2, n].into(),
        port: Port::new(1).unwrap(),
        state: CellState::Open,
        at: jiff::Timestamp::UNIX_EPOCH,
        attempt: 1,
        ttl: None,
        confirmed: false,
        second_look: None,
        service: None,
    })
}

fn same(a: &Path, b: &Path) -> bool {
    ["run.json", "observations.ndjson", "coverage.bin"]
        .iter()
        .all(|f| fs::read(a.join(f)).unwrap() == fs::read(b.join(f)).unwrap())
}

async fn saved_and_fetched(b: &mut Bench, n: u32) {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let save = b.saver.save(now).await.unwrap().unwrap();
    let to = b.run.with_file_name(format!("back-{n}"));
    restore::fetch(&b.round, &b.planned, &save, &to).await.unwrap().unwrap();
    assert!(same(&b.run, &to), "save {n}");
}

#[tokio::test]
async fn what_is_fetched_is_what_was_there_and_only_what_was_appended_is_sent() {
    let mut b = bench();
    saved_and_fetched(&mut b, 0).await;
    for n in 1..6u8 {
        b.folder.observe(&[seen(n)]).unwrap();
        let states = vec![CellState::Closed; 3];
        let chunk = mimawari_engine::ChunkResult { first_step: u64::from(n) * 3, states };
        b.folder.cover(&chunk).unwrap();
        saved_and_fetched(&mut b, n.into()).await;
    }
    let lengths: Vec<u64> = b.saver.pieces[0].iter().map(|p| p.length).collect();
    assert_eq!(lengths.len(), 5);
    assert!(lengths.iter().all(|n| *n == lengths[0]), "{lengths:?}");
    // What a full disk took back, and what was written instead.
    let path = b.run.join("observations.ndjson");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - lengths[0] as usize]).unwrap();
    saved_and_fetched(&mut b, 7).await;
    fs::write(
        &path,
        [&whole[..whole.len() - lengths[0] as usize], &whole[..lengths[0] as usize]].concat(),
    )
    .unwrap();
    saved_and_fetched(&mut b, 8).await;
}

#[tokio::test]
async fn what_was_taken_back_between_two_saves_and_written_anew_is_saved_as_it_is() {
    let mut b = bench();
    for n in 1..6u8 {
        b.folder.observe(&[seen(n)]).unwrap();
        saved_and_fetched(&mut b, n.into()).await;
    }
    // Two records less, three others more: longer than what was saved, and never seen shorter.
    let path = b.run.join("observations.ndjson");
    let whole = fs::read(&path).unwrap();
    let line = b.saver.pieces[0][0].length as usize;
    let kept = &whole[..3 * line];
    fs::write(&path, [kept, &whole[..line], &whole[..2 * line]].concat()).unwrap();
    saved_and_fetched(&mut b, 6).await;
    assert_eq!(&b.saver.pieces[0][..3].iter().map(|p| p.length).sum::<u64>(), &(3 * line as u64));
}

#[tokio::test]
async fn a_checkpoint_that_nobody_can_go_on_from_is_damage() {
    let mut b = bench();
    let plan = b.planned.plan.plan.to_plan().unwrap();
    let sweep = || {
        let config = mimawari_engine::SweepConfig::default();
        let mut sweep = mimawari_engine::SweepEngine::new(plan.clone().walk(b.saver.shard), config);
        sweep.poll_transmit(Duration::ZERO);
        sweep.checkpoint().unwrap()
    };
    let there = fs::metadata(b.run.join("coverage.bin")).unwrap().len();
    let fits = mimawari_runs::checkpoint::SavedCheckpoint { coverage: there, sweep: sweep() };
    let long = mimawari_runs::checkpoint::SavedCheckpoint { coverage: there + 1, sweep: sweep() };
    let other = mimawari_engine::SweepEngine::new(
        plan.walk(PlanShard::WHOLE),
        mimawari_engine::SweepConfig::default(),
    );
    let other = mimawari_runs::checkpoint::SavedCheckpoint {
        coverage: there,
        sweep: other.checkpoint().unwrap(),
    };
    for (n, (point, good)) in [(fits, true), (long, false), (other, false)].iter().enumerate() {
        fs::write(b.run.join("checkpoint.bin"), point.encode().unwrap()).unwrap();
        let save = b.saver.save(jiff::Timestamp::UNIX_EPOCH).await.unwrap().unwrap();
        let to = b.run.with_file_name(format!("point-{n}"));
        let read = restore::fetch(&b.round, &b.planned, &save, &to).await.unwrap();
        assert_eq!(read.is_ok(), *good, "{n}: {read:?}");
        if let Err(why) = read {
            assert!(why.contains("its checkpoint cannot be used"), "{why}");
        }
    }
}

#[test]
fn a_plan_of_absurd_numbers_is_refused() {
    let b = bench();
    let good = serde_json::to_value(&b.planned.plan).unwrap();
    let check = |key: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        bad[key] = value;
        // As it is in the bucket.
        let bad = bad.to_string();
        serde_json::from_str::<RoundPlan>(&bad).map_err(|e| e.to_string())?.check("r")
    };
    assert_eq!(check("shards", 2.into()), Ok(()));
    for (key, value) in [
        ("part", "1/4294967295".into()),
        ("part", "2147483648/2147483648".into()),
        ("part", "0/0".into()),
        ("shards", 4_294_967_295_u32.into()),
        ("shards", 0.into()),
        ("rate", 0.into()),
        ("rate", 4_294_967_295_u32.into()),
        ("recall", (-1.0).into()),
        ("recall", 1.0.into()),
        ("recall", serde_json::Value::Null),
        ("tier", 255.into()),
        ("version", 2.into()),
        ("round", "other".into()),
    ] {
        assert!(check(key, value.clone()).is_err(), "{key} = {value}");
    }
}

#[tokio::test]
async fn a_save_that_fails_or_is_dropped_leaves_the_one_before_and_the_next_one_is_whole() {
    let mut b = bench();
    saved_and_fetched(&mut b, 0).await;
    let store = b.run.with_file_name("store");
    let away = b.run.with_file_name("away");
    b.folder.observe(&[seen(1)]).unwrap();
    fs::rename(&store, &away).unwrap();
    fs::write(&store, "no folder").unwrap();
    assert!(b.saver.save(jiff::Timestamp::UNIX_EPOCH).await.is_err());
    let patience = shard::ShardRetryLimit {
        ended: Duration::from_millis(50),
        stopped: Duration::from_millis(50),
    };
    let context = Context {
        opener: mimawari_net::packet::SocketOpener::default(),
        stop: mimawari_base::signals::StopSignal::new(),
        now: || jiff::Timestamp::UNIX_EPOCH,
        log_format: crate::cli::LogFormat::Text,
        quiet: true,
    };
    // It comes to an end with what is wrong, and the folder is still here.
    let saver = std::mem::replace(&mut b.saver, bench().saver);
    let e = shard::save_for_sure(saver, &context, patience).await.unwrap_err();
    assert!(e.to_string().contains("store"), "{e}");
    assert_eq!(read_meta(&b.run).unwrap().status, RunStatus::Running);
    fs::remove_file(&store).unwrap();
    fs::rename(&away, &store).unwrap();
    let dir = b.run.with_file_name("furthest");
    let shard = PlanShard::new(1, 2).unwrap();
    let (found, wrong) =
        restore::fetch_latest_save(&b.round, &b.planned, shard, &dir).await.unwrap();
    assert_eq!((found.unwrap().save.sequence, wrong.len()), (1, 0));
}

#[test]
fn what_the_targets_bear_is_divided_among_the_tasks() {
    let b = bench();
    let tasks = 4;
    let mut config = b.round.config.clone();
    (config.scan.rate_per_host, config.scan.rate_per_network) = (tasks * 500, 0);
    (config.http.rate_per_address, config.http.rate_per_network) = (1, tasks * 7);
    config.http.rate_per_site = 9;
    plan::divide_ceilings(&mut config, tasks);
    // No ceiling stays none, and no task is forbidden to ask at all.
    assert_eq!((config.scan.rate_per_host, config.scan.rate_per_network), (500, 0));
    assert_eq!((config.http.rate_per_address, config.http.rate_per_network), (1, 7));
    assert_eq!(config.http.rate_per_site, 9);
}
