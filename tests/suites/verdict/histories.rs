//! Thousands of random histories: lost answers, kills, narrowed scopes, flaps, edits of the baseline,
//! clocks that jump, runs that are judged again.

use mimawari_drift::baseline::Match;
use mimawari_drift::verdict::{Acknowledgement, ChangeKind};

use super::*;

struct Rng(u64);

impl Rng {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// A run over a few hosts and ports in which anything may be open, closed, silent or not covered.
fn random_run(r: &mut Rng, truth: &mut BTreeMap<(IpAddr, Port), bool>) -> Run {
    let mut run = Run::new();
    for (cell, open) in truth.iter_mut() {
        if r.next(6) == 0 {
            *open = !*open;
        }
        let state = match (r.next(10), *open) {
            (0, _) => NotProbed,
            (1, _) => Silent,
            (_, true) => Open,
            (2, false) => Prohibited,
            (_, false) => Closed,
        };
        if r.next(8) == 0 {
            continue;
        }
        run.cells.insert(*cell, state);
        if r.next(12) == 0 {
            run.unconfirmed.insert(*cell);
        }
    }
    if r.next(2) == 0 {
        random_web(r, &mut run);
    }
    match r.next(12) {
        0 => run.canaries = (0, 1),
        1 => run.scope = scope("192.0.2.0/31"),
        2 => run.incomplete = vec!["Stopped.".to_owned()],
        _ => {}
    }
    run
}

/// Looks at web servers and their contents: anything may be there, gone, legacy, mute or left out.
fn random_web(r: &mut Rng, run: &mut Run) {
    for host in ["192.0.2.0", HOST] {
        for name in [None, Some("a.example"), Some("b.example")] {
            if r.next(3) == 0 {
                continue;
            }
            run.web.push(WebObservation {
                ip: ip(host),
                port: port(22),
                scheme: if r.next(20) == 0 { Scheme::Http } else { Scheme::Https },
                host: name.map(str::to_owned),
                at: Timestamp::UNIX_EPOCH,
                status: (r.next(5) > 0).then_some(200),
                server: None,
                title: Some(format!("{}", r.next(3))),
                location: None,
                favicon_sha256: None,
                tls: (r.next(4) > 0).then(|| TlsFacts {
                    version: "TLSv1.0".to_owned(),
                    legacy: r.next(4) == 0,
                    ..TlsFacts::default()
                }),
                dns: None,
            });
            use Outcome::*;
            let outcomes =
                [Exposed, Absent, Protected, CatchAll, Unstable, Malformed, Error, Skipped];
            run.http.push(HttpObservation {
                title: None,
                remedy: None,
                ip: ip(host),
                port: port(22),
                scheme: Scheme::Https,
                host: name.map(str::to_owned),
                path: "/x".to_owned(),
                check: if r.next(2) == 0 { "a" } else { "b" }.to_owned(),
                outcome: outcomes[r.next(8) as usize],
                severity: [Severity::Info, Severity::Medium, Severity::High, Severity::High]
                    [r.next(4) as usize],
                at: Timestamp::UNIX_EPOCH,
                evidence: None,
                reason: None,
            });
        }
    }
}

const RULES: &[&str] = &[
    "",
    RULE,
    MUST,
    NEVER,
    "[[allow]]\nid = \"w\"\nhosts = [\"192.0.2.0/24\"]\nports = [\"tcp/22\"]\nreason = \"x\"\nexpires = 2026-11-01\n",
    "[[allow_http]]\nid = \"l\"\nhosts = [\"192.0.2.0/24\"]\nchecks = [\"legacy-tls\", \"a\"]\nreason = \"x\"\n",
];

/// A hundred thousand where everything runs in full.
fn histories() -> u64 {
    if std::env::var("MIMAWARI_LAB").is_ok_and(|p| p == "full") { 100_000 } else { 10_000 }
}

#[test]
fn no_history_loses_an_alarm_or_resolves_what_it_did_not_see() {
    let histories = histories();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let shown = std::thread::scope(|s| {
        let part = |t: u64| move || (t..histories).step_by(threads as usize).map(history).collect();
        let all: Vec<_> = (0..threads).map(|t| s.spawn(part(t))).collect();
        all.into_iter()
            .flat_map(|t| {
                let shown: Vec<Shown> = t.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
                shown
            })
            .fold(Shown::default(), Shown::and)
    });
    // Histories in which nothing happens would show nothing.
    for kind in [UnexpectedOpen, MissingRequired, LegacyTls, ExposedContent] {
        let n = shown.resolved.get(&kind).copied().unwrap_or(0);
        assert!(n > histories / 100, "only {n} {kind:?} were resolved");
    }
    use ChangeKind::*;
    for what in [Opened, Reopened, Worse, Reminder, Flapping, Resolved, Allowed, OutOfScope] {
        let n = shown.told.get(&what).copied().unwrap_or(0);
        assert!(n > histories / 200, "only {n} {what:?} were told");
    }
    assert!(shown.site_changes > histories / 4, "only {} changes of sites", shown.site_changes);
}

/// What happened in histories.
#[derive(Default)]
struct Shown {
    resolved: BTreeMap<FindingKind, u64>,
    told: BTreeMap<ChangeKind, u64>,
    site_changes: u64,
}

impl Shown {
    fn and(mut self, other: Self) -> Self {
        for (kind, n) in other.resolved {
            *self.resolved.entry(kind).or_default() += n;
        }
        for (what, n) in other.told {
            *self.told.entry(what).or_default() += n;
        }
        self.site_changes += other.site_changes;
        self
    }
}

fn history(seed: u64) -> Shown {
    thread_local! {
        static BASELINES: Vec<Baseline> = RULES.iter().map(|r| baseline(r)).collect();
    }
    BASELINES.with(|baselines| History::new(seed).live(baselines))
}

/// Kind, address, port, host, path.
type Place = (FindingKind, IpAddr, Option<Port>, Option<String>, Option<String>);

struct History {
    seed: u64,
    r: Rng,
    truth: BTreeMap<(IpAddr, Port), bool>,
    state: State,
    now: Timestamp,
    ids: BTreeMap<Place, String>,
    keys: BTreeSet<String>,
    /// What the person who is told believes: whether a finding is drift.
    believed: BTreeMap<String, bool>,
    shown: Shown,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut r = Rng(seed);
        let mut truth = BTreeMap::new();
        for host in ["192.0.2.0", "192.0.2.1", HOST] {
            for p in [22, 6379] {
                truth.insert((ip(host), port(p)), r.next(2) == 0);
            }
        }
        Self {
            seed,
            r,
            truth,
            state: State::default(),
            now: "2026-11-01T20:00:00Z".parse().expect("an instant"),
            ids: BTreeMap::new(),
            keys: BTreeSet::new(),
            believed: BTreeMap::new(),
            shown: Shown::default(),
        }
    }

    fn live(mut self, baselines: &[Baseline]) -> Shown {
        let seed = self.seed;
        for _ in 0..8 {
            let later = match self.r.next(20) {
                0 | 1 => self.now.checked_sub(3.hours()),
                2 => self.now.checked_add(30.hours()),
                _ => self.now.checked_add(1.hour()),
            };
            self.now = later.expect("a time");
            self.acknowledge();
            let run = random_run(&mut self.r, &mut self.truth);
            let rules = &baselines[self.r.next(RULES.len() as u64) as usize];
            self.step(&run, rules);
            if self.r.next(4) == 0 {
                // Judged again, perhaps under another baseline: no second witness.
                let rules = &baselines[self.r.next(RULES.len() as u64) as usize];
                let before = self.state.clone();
                self.step(&run, rules);
                for (id, t) in &before.findings {
                    let Some(later) = self.state.findings.get(id) else { continue };
                    assert!(later.silent_runs <= t.silent_runs.max(1), "seed {seed}");
                    let silent = t.finding.state == FindingState::Resolving;
                    let resolved = later.finding.state == FindingState::Resolved;
                    assert!(!(silent && resolved), "seed {seed}: one run was two witnesses: {t:?}");
                }
            }
        }
        self.shown
    }

    /// Now and then somebody says that he knows of a finding.
    fn acknowledge(&mut self) {
        if self.r.next(3) > 0 {
            return;
        }
        let Some(id) = self.state.findings.keys().next().cloned() else { return };
        let until = self.now.checked_add(40.hours()).expect("a time");
        let (by, reason) = ("a".to_owned(), "b".to_owned());
        self.state.acknowledged.insert(id, Acknowledgement { until, at: self.now, by, reason });
    }

    /// Judges a run and holds everything that is promised against it.
    fn step(&mut self, run: &Run, rules: &Baseline) {
        let (seed, now) = (self.seed, self.now);
        let (v, next) = judged(run, rules, &self.state, now);
        let again = judged(run, rules, &self.state, now);
        assert_eq!(
            serde_json::to_string(&v).ok(),
            serde_json::to_string(&again.0).ok(),
            "seed {seed}"
        );
        for f in &v.findings {
            let key = (f.kind, f.ip, f.port, f.host.clone(), f.path.clone());
            let id = self.ids.entry(key).or_insert_with(|| f.id.clone());
            assert_eq!(*id, f.id, "seed {seed}: an identity changed");
            let before = self.state.findings.get(&f.id).map(|t| t.finding.state);
            if f.state == FindingState::Resolved && before != Some(FindingState::Resolved) {
                *self.shown.resolved.entry(f.kind).or_insert(0u64) += 1;
                resolved_by_proof(run, &v, f, seed);
            }
        }
        // An alarm: seen open, confirmed, in the scope, and no live rule allows it.
        let mut alarm = false;
        for ((ip, port), s) in &run.cells {
            let confirmed = !run.unconfirmed.contains(&(*ip, *port));
            if *s == Open && confirmed && run.scope.allows(*ip) {
                let found = rules.port(*ip, mimawari_targets::Protocol::Tcp, *port, now);
                alarm |= !matches!(found, Match::Allowed(_));
            }
        }
        alarm |= web_alarm(run, rules, now);
        assert!(!alarm || v.exit == 1, "seed {seed}: an alarm was lost");
        self.shown.site_changes += v.site_changes.len() as u64;
        sites_are_true(run, &v, &self.state, &next, seed);
        for (id, t) in &self.state.findings {
            let Some(later) = next.findings.get(id) else {
                let pending = t.finding.state == FindingState::MissingPending;
                assert!(pending, "seed {seed}: {id} is gone");
                continue;
            };
            assert_eq!(later.finding.first_seen, t.finding.first_seen, "seed {seed}");
            assert!(later.finding.last_seen >= t.finding.last_seen, "seed {seed}");
        }
        let text = serde_json::to_string(&next).expect("JSON");
        assert_eq!(State::parse(&text).expect("its own text"), next, "seed {seed}");
        self.told(&v, &next);
        self.state = next;
    }

    /// Nothing is told twice, and whoever hears all of it knows what is drift.
    fn told(&mut self, v: &Verdict, next: &State) {
        let seed = self.seed;
        for c in &v.changes {
            assert!(self.keys.insert(c.key.clone()), "seed {seed}: told twice: {c:?}");
            *self.shown.told.entry(c.what).or_default() += 1;
            let f = v.findings.iter().find(|f| f.id == c.finding);
            let f = f.unwrap_or_else(|| panic!("seed {seed}: told, and not listed: {c:?}"));
            let drift = f.state.is_drift();
            let was = self.believed.insert(f.id.clone(), drift);
            match c.what {
                ChangeKind::Opened => assert!(drift && was.is_none(), "seed {seed}: {f:?}"),
                ChangeKind::Reopened => assert!(drift && was == Some(false), "seed {seed}: {f:?}"),
                ChangeKind::Worse | ChangeKind::Reminder => {
                    assert!(drift && was == Some(true), "seed {seed}: {f:?}");
                    let quiet = f.acknowledged.is_some() && c.what == ChangeKind::Reminder;
                    assert!(!quiet, "seed {seed}: acknowledged, and told again");
                }
                ChangeKind::Flapping => assert!(f.flapping && was.is_some(), "seed {seed}"),
                ChangeKind::Resolved | ChangeKind::Allowed | ChangeKind::OutOfScope => {
                    assert!(!drift && was.is_some(), "seed {seed}: {f:?}");
                }
            }
        }
        for t in next.findings.values() {
            let f = &t.finding;
            let drift = f.state.is_drift();
            if drift && !f.flapping {
                assert_eq!(
                    self.believed.get(&f.id),
                    Some(&true),
                    "seed {seed}: nobody knows {f:?}"
                );
            }
            if matches!(f.state, FindingState::Allowed | FindingState::OutOfScope) {
                assert_ne!(
                    self.believed.get(&f.id),
                    Some(&true),
                    "seed {seed}: still thought open"
                );
            }
        }
    }
}

/// Resolved by a run that covered it, that is believed, and that saw it gone.
fn resolved_by_proof(run: &Run, v: &Verdict, f: &Finding, seed: u64) {
    assert!(!v.suspect, "seed {seed}: resolved by a run that is not believed");
    if f.kind == LegacyTls || f.kind == ExposedContent {
        return web_is_gone(run, f, seed);
    }
    let cell = CoverageView::cell(run, f.ip, f.port.expect("a port"));
    assert!(cell.is_covered(), "seed {seed}: resolved without being covered: {f:?}");
    if f.kind != MissingRequired {
        assert_ne!(cell, Open, "seed {seed}: resolved though open");
    }
}

/// What resolves a content or legacy TLS: an answer that says so, or its port closed or silent.
fn web_is_gone(run: &Run, f: &Finding, seed: u64) {
    let p = f.port.expect("a port");
    let cell = CoverageView::cell(run, f.ip, p);
    let is_open = cell == Open || !cell.is_covered();
    let gone = if f.kind == LegacyTls {
        let mut tls =
            run.web.iter().filter(|w| (w.ip, w.port) == (f.ip, p)).filter_map(|w| w.tls.as_ref());
        let first = tls.next();
        first.is_some_and(|t| !t.legacy) && tls.all(|t| !t.legacy)
    } else {
        run.http.iter().find(|h| (h.ip, h.port, &h.host) == (f.ip, p, &f.host)).is_some_and(|h| {
            match h.outcome {
                Outcome::Absent | Outcome::Protected => true,
                Outcome::Exposed => h.severity == Severity::Info,
                _ => false,
            }
        })
    };
    assert!(gone || !is_open, "seed {seed}: resolved without proof: {f:?}");
}

/// Whether something was seen on the web that no live rule allows.
fn web_alarm(run: &Run, rules: &Baseline, now: Timestamp) -> bool {
    let content = run.http.iter().any(|h| {
        h.outcome == Outcome::Exposed
            && h.severity > Severity::Info
            && run.scope.allows(h.ip)
            && !matches!(rules.content(h.ip, &h.check, &h.path, now), Match::Allowed(_))
    });
    content
        || run.web.iter().any(|w| {
            w.tls.as_ref().is_some_and(|t| t.legacy)
                && run.scope.allows(w.ip)
                && !matches!(rules.check(w.ip, "legacy-tls", now), Match::Allowed(_))
        })
}

/// Only what was seen changes, a run that is not believed changes nothing, and no site is forgotten.
fn sites_are_true(run: &Run, v: &Verdict, before: &State, after: &State, seed: u64) {
    for c in &v.site_changes {
        let seen = run.web.iter().any(|w| {
            (w.ip, w.port, w.scheme, &w.host) == (c.ip, c.port, c.scheme, &c.host)
                && w.status.is_some()
        });
        assert!(seen && run.scope.allows(c.ip), "seed {seed}: changed unseen: {c:?}");
        assert_ne!(c.was, c.now, "seed {seed}");
        let known = before.sites.iter().any(|s| s.key.ip == c.ip && s.key.host == c.host);
        assert!(known, "seed {seed}: a first sighting is no change: {c:?}");
    }
    if v.suspect {
        assert_eq!(before.sites, after.sites, "seed {seed}: a run that is not believed");
        assert!(v.site_changes.is_empty() && v.site_notices.is_empty());
    }
    for s in &before.sites {
        let later = after.sites.iter().find(|l| l.key == s.key);
        let later = later.unwrap_or_else(|| panic!("seed {seed}: {s:?} is forgotten"));
        let seen = run.web.iter().any(|w| {
            (w.ip, w.port, w.scheme, &w.host) == (s.key.ip, s.key.port, s.key.scheme, &s.key.host)
        });
        assert!(seen || later == s, "seed {seed}: changed unseen");
        assert_eq!(later.first_seen, s.first_seen, "seed {seed}");
    }
    assert!(after.sites.is_sorted_by(|a, b| a.key < b.key), "seed {seed}: not sorted");
}
