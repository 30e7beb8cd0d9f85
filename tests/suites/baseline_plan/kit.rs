//! Prepared runs.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use mimawari::config::Config;
use mimawari_engine::ChunkResult;
use mimawari_probes::observation::{
    CellState, ContentOutcome, HttpObservation, Observation, Severity, TcpObservation, UrlScheme,
};
use mimawari_runs::RunFolder;
use mimawari_runs::meta::{MINOR, PlanFacts, RunMeta, RunStatus, ScopeFacts, VERSION};
use mimawari_targets::{CellPlan, PlanShard, Port};
use tempfile::TempDir;

/// For when everything is judged; the runs are of four hours before.
pub const NOW: &str = "2026-11-24T12:00:00Z";

pub const CONFIG: &str = r#"version = 1

[scope]
allow = ["198.51.100.0/26", "2001:db8:10::/126"]
authorised_by = "SEC-1042"

[scan]
ports = "22,80,443,6379"
"#;

pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub struct Fixture {
    dir: TempDir,
}

impl Fixture {
    pub fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("patrol.toml"), config).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn baseline(&self, dir: &str, text: &str) {
        fs::create_dir_all(self.path(dir)).unwrap();
        fs::write(self.path(dir).join("hosting.toml"), text).unwrap();
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, None)
    }

    /// The same, with programs from this search path.
    pub fn run_with(&self, args: &[&str], path: Option<&Path>) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"));
        command.current_dir(self.dir.path()).env_clear().args(args);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let out = command.output().unwrap();
        Ran {
            status: out.status.code(),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        }
    }

    /// `baseline plan` from `base` to `head`.
    pub fn plan(&self, more: &[&str]) -> Ran {
        let args = [
            "baseline", "plan", "--base", "base", "--head", "head", "--run", "runs/r1", "--now",
            NOW,
        ];
        self.run(&[&args, more].concat())
    }

    pub fn plan_json(&self, base: &str, head: &str) -> serde_json::Value {
        let ran = self.run(&[
            "baseline", "plan", "--base", base, "--head", head, "--run", "runs/r1", "--now", NOW,
            "--format", "json",
        ]);
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

/// How much a run covers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Covered {
    /// Everything.
    All,
    /// The first half of its steps.
    Half,
}

pub fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

pub fn port(n: u16) -> Port {
    Port::new(n).unwrap()
}

pub fn at() -> Timestamp {
    "2026-11-24T08:00:00Z".parse().unwrap()
}

/// A small data centre: its edge, two caches of which one is new, a host with SSH, a status page.
pub fn small() -> Fixture {
    let f = Fixture::new(CONFIG);
    run(&f, "runs/r1", Covered::All);
    f
}

const OPEN: &[(&str, u16)] = &[
    ("198.51.100.2", 80),
    ("198.51.100.2", 443),
    ("198.51.100.3", 443),
    ("198.51.100.9", 6379),
    ("198.51.100.20", 80),
    ("198.51.100.21", 6379),
    ("198.51.100.40", 22),
    ("198.51.100.40", 443),
    ("198.51.100.50", 22),
    ("198.51.100.52", 443),
    ("198.51.100.60", 6379),
    ("2001:db8:10::1", 6379),
];

/// A run of the small data centre.
pub fn run(f: &Fixture, dir: &str, covered: Covered) {
    let mut observations: Vec<Observation> = OPEN.iter().map(|(h, p)| open(h, *p)).collect();
    observations.push(Observation::Http(Box::new(HttpObservation {
        title: Some("Status page of Apache".to_owned()),
        remedy: None,
        ip: ip("198.51.100.2"),
        port: port(80),
        scheme: UrlScheme::Http,
        host: Some("shop.example.jp".to_owned()),
        path: "/server-status".to_owned(),
        check: "server-status".to_owned(),
        outcome: ContentOutcome::Exposed,
        severity: Severity::Medium,
        at: at(),
        evidence: None,
        reason: None,
    })));
    write(f, dir, &observations, covered, |ip, port| {
        if OPEN.iter().any(|(h, p)| h.parse::<IpAddr>().unwrap() == ip && *p == port.get()) {
            CellState::Open
        } else if port.get() == 6379 {
            CellState::Silent
        } else {
            CellState::Closed
        }
    });
}

pub fn open(host: &str, p: u16) -> Observation {
    Observation::Tcp(TcpObservation {
        ip: ip(host),
        port: port(p),
        state: CellState::Open,
        at: at(),
        attempt: 1,
        ttl: Some(57),
        confirmed: true,
        second_look: None,
        service: None,
    })
}

/// Writes a run of the whole scope.
pub fn write(
    f: &Fixture,
    dir: &str,
    observations: &[Observation],
    covered: Covered,
    state: impl Fn(IpAddr, Port) -> CellState,
) {
    let config = Config::read(&f.path("patrol.toml")).unwrap();
    let plan = CellPlan::new(config.scope.whole(), config.scan.ports.clone(), 9).unwrap();
    let meta = RunMeta {
        version: VERSION,
        minor: MINOR,
        run_id: Path::new(dir).file_name().unwrap().to_string_lossy().into_owned(),
        status: if covered == Covered::All { RunStatus::Complete } else { RunStatus::Stopped },
        started_at: at(),
        ended_at: Some(at()),
        resumed_at: Vec::new(),
        program: String::new(),
        vantage: "default".to_owned(),
        scope: ScopeFacts::of(&config.scope),
        plan: PlanFacts::of(&plan),
        shard: PlanShard::WHOLE,
        part: None,
        method: "syn".to_owned(),
        rate_asked: 1,
        rate_reached: 0.0,
        recall_promised: 0.9999,
        frames_refused: 0,
        sweep: None,
        canaries: Vec::new(),
        http: Default::default(),
        merged: Vec::new(),
        gaps: Vec::new(),
    };
    let mut folder = RunFolder::create(&f.path(dir), &meta).unwrap();
    folder.observe(observations).unwrap();
    let walk = meta.walk().unwrap();
    let n = if covered == Covered::All { walk.len() } else { walk.len() / 2 };
    let states: Vec<CellState> =
        (0..n).filter_map(|s| walk.endpoint(s)).map(|e| state(e.ip(), e.port())).collect();
    for (i, part) in states.chunks(1000).enumerate() {
        folder.cover(&ChunkResult { first_step: i as u64 * 1000, states: part.to_vec() }).unwrap();
    }
    folder.finish(&meta).unwrap();
}
