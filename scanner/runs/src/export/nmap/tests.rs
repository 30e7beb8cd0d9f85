use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mimawari_drift::state::State;
use mimawari_engine::ChunkResult;
use mimawari_probes::observation::{HttpFacts, Observation};
use mimawari_targets::{AddrSet, CellPlan, PlanShard, Scope};

use super::*;
use crate::{RunFolder, RunMeta, RunStatus};

const HOSTILE: &str = "a\"><script>alert(1)</script>\u{1b}[31m\0\u{202e}]]>&";

/// A run of two addresses and forty ports: the first host has few silent and many closed ports, the
/// second was never probed but for one port.
fn run(dir: &Path, shard: PlanShard) -> PathBuf {
    let allow = ["192.0.2.0/31", "2001:db8::1"].map(|r| r.parse().unwrap());
    let scope = Scope::new(AddrSet::from_ranges(allow), AddrSet::default(), "T-1");
    let plan = CellPlan::new(scope.whole(), "1-40".parse().unwrap(), 9).unwrap();
    let meta = RunMeta { status: RunStatus::Complete, ..RunMeta::blank(&scope, &plan, shard) };
    let out = dir.join(format!("s{}", shard.index()));
    let mut folder = RunFolder::create(&out, &meta).unwrap();
    let walk = plan.walk(shard);
    let state = |ip: &str, port: u16| match (ip, port) {
        ("192.0.2.0", 1 | 2) => CellState::Open,
        ("192.0.2.0", 3) => CellState::Silent,
        ("192.0.2.0", 4) => CellState::Prohibited,
        ("192.0.2.0", 5) => CellState::NotProbed,
        ("192.0.2.0", _) => CellState::Closed,
        ("2001:db8::1", 6..=10) => CellState::Prohibited,
        ("2001:db8::1", _) => CellState::Silent,
        ("192.0.2.1", _) => CellState::NotProbed,
        other => panic!("{other:?}"),
    };
    let states: Vec<CellState> =
        walk.iter().map(|e| state(&e.ip().to_string(), e.port().get())).collect();
    for e in walk.iter().filter(|e| state(&e.ip().to_string(), e.port().get()) == CellState::Open) {
        folder
            .observe(&[Observation::Tcp(TcpObservation {
                ip: e.ip(),
                port: e.port(),
                state: CellState::Open,
                at: Timestamp::UNIX_EPOCH,
                attempt: 1,
                ttl: Some(57),
                confirmed: e.port().get() == 1,
                second_look: None,
                service: (e.port().get() == 1).then(|| {
                    Box::new(ServiceFacts {
                        name: "https".to_owned(),
                        banner: Some(HOSTILE.to_owned()),
                        tls: None,
                        http: Some(HttpFacts {
                            status: 200,
                            server: Some("nginx".to_owned()),
                            title: Some("T".to_owned()),
                        }),
                    })
                }),
            })])
            .unwrap();
    }
    folder.cover(&ChunkResult { first_step: 0, states }).unwrap();
    folder.finish(&meta).unwrap();
    out
}

fn text(dirs: &[PathBuf]) -> String {
    let scope = crate::read_meta(&dirs[0]).unwrap().scope.to_scope();
    let runs = Runs::open(dirs, &scope, &State::default()).unwrap();
    let mut out = Vec::new();
    write(&runs, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_run_is_written_cell_by_cell() {
    let dir = tempfile::tempdir().unwrap();
    let whole = run(dir.path(), PlanShard::WHOLE);
    let text = text(&[whole]);
    insta::assert_snapshot!("a_run", text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    assert!(!text.contains("192.0.2.1\""), "a host that nobody probed");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn shards_together_are_the_whole_and_one_alone_says_that_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let ports = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|l| l.contains("<port ") || l.contains("<extra"));
        lines.map(str::to_owned).collect()
    };
    let whole = text(&[run(&dir.path().join("w"), PlanShard::WHOLE)]);
    let shards: Vec<PathBuf> =
        (1..=3).map(|i| run(dir.path(), PlanShard::new(i, 3).unwrap())).collect();
    assert_eq!(ports(&text(&shards)), ports(&whole));
    let one = text(&shards[..1]);
    assert!(one.contains("exit=\"error\"") && one.contains("shard 2/3"), "{one}");
}

#[test]
fn a_window_of_any_size_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let out = run(dir.path(), PlanShard::WHOLE);
    let scope = crate::read_meta(&out).unwrap().scope.to_scope();
    let runs = Runs::open(&[out], &scope, &State::default()).unwrap();
    let all = |window: u64| {
        let mut hosts: BTreeMap<String, Vec<CellState>> = BTreeMap::new();
        visit_hosts(&runs, Some(window), |h| {
            hosts.insert(h.ip.to_string(), h.states.to_vec());
            Ok(())
        })
        .unwrap();
        hosts
    };
    let one = all(1);
    assert_eq!(one.len(), 2);
    for window in [1, 40, 79, 80, 1 << 20] {
        assert_eq!(all(window), one, "{window}");
    }
}
