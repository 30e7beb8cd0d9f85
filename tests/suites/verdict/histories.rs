//! Thousands of random histories: lost answers, kills, narrowed scopes, flaps, edits of the baseline,
//! clocks that jump, runs that are judged again.

use mimawari_drift::baseline::{DecisionFacts, RuleMatch};
use mimawari_drift::id::FindingId;
use mimawari_drift::state::TrackedFinding;
use mimawari_drift::subject::{ServerFact, Subject};
use mimawari_drift::verdict::{Acknowledgement, ChangeKind};
use mimawari_targets::Cell;

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
fn random_run(r: &mut Rng, truth: &mut BTreeMap<(IpAddr, Port), bool>, stopped: bool) -> Run {
    let mut run = Run::new();
    // The service of all hosts is stopped, and each of them says so.
    if stopped {
        for ((_, p), open) in truth.iter_mut() {
            *open &= p.get() != 22;
        }
        let states = truth.iter().map(|(cell, open)| (*cell, if *open { Open } else { Closed }));
        run.cells.extend(states);
        return run;
    }
    // Two pools take turns.
    if r.next(8) == 0 {
        truth.values_mut().for_each(|open| *open = !*open);
    }
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
            use SecondLook::*;
            run.second.insert(*cell, [Refused, TimedOut, OwnError, NotMade][r.next(4) as usize]);
        }
    }
    // A host bans the scanner: all of its ports refuse, whatever is open.
    if r.next(10) == 0 {
        let host = ip(["192.0.2.0", "192.0.2.1", HOST][r.next(3) as usize]);
        for ((at, _), state) in &mut run.cells {
            if *at == host {
                *state = Closed;
            }
        }
    } else if r.next(2) == 0 {
        random_web(r, &mut run);
    }
    match r.next(12) {
        0 => run.canaries = (0, 1),
        1 => run.scope = scope("192.0.2.0/31"),
        // Another profile, or a part of the plan.
        3 => run = run.only(22),
        4 => run = run.only(6379),
        5 => run = run.only(22).part(2, true, None),
        6 => run = run.only(6379).part(1, r.next(2) == 0, None),
        2 => run.incomplete = vec![Gap::Stopped.not_covered()],
        _ => {}
    }
    run
}

/// Where the web is looked at, in a calm time.
fn web_places() -> impl Iterator<Item = (&'static str, Option<&'static str>, UrlScheme)> {
    ["192.0.2.0", HOST].into_iter().flat_map(|host| {
        [None, Some("a.example"), Some("b.example")].into_iter().flat_map(move |name| {
            [UrlScheme::Http, UrlScheme::Https].into_iter().map(move |scheme| (host, name, scheme))
        })
    })
}

fn web(host: &str, name: Option<&str>, scheme: UrlScheme, legacy: bool) -> WebObservation {
    WebObservation {
        ip: ip(host),
        port: port(22),
        scheme,
        host: name.map(str::to_owned),
        at: Timestamp::UNIX_EPOCH,
        status: Some(200),
        server: None,
        title: None,
        location: None,
        favicon_sha256: None,
        tls: Some(TlsFacts { version: "TLSv1.3".to_owned(), legacy, ..TlsFacts::default() }),
        dns: None,
    }
}

fn http(host: &str, name: Option<&str>, outcome: ContentOutcome) -> HttpObservation {
    HttpObservation {
        title: None,
        remedy: None,
        ip: ip(host),
        port: port(22),
        scheme: UrlScheme::Https,
        host: name.map(str::to_owned),
        path: "/x".to_owned(),
        check: "a".to_owned(),
        outcome,
        severity: Severity::High,
        at: Timestamp::UNIX_EPOCH,
        evidence: None,
        reason: None,
    }
}

impl Run {
    /// Of the ports, only this one.
    fn only(mut self, p: u16) -> Self {
        self.cells.retain(|(_, at), _| at.get() == p || at.get() == 1);
        self.http.retain(|h| h.port.get() == p);
        self.web.retain(|w| w.port.get() == p);
        self.ports = p.to_string().parse().expect("ports");
        self
    }
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
                scheme: if r.next(20) == 0 { UrlScheme::Http } else { UrlScheme::Https },
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
            use ContentOutcome::*;
            let outcomes =
                [Exposed, Absent, Protected, CatchAll, Unstable, Malformed, Error, Skipped];
            run.http.push(HttpObservation {
                title: None,
                remedy: None,
                ip: ip(host),
                port: port(22),
                scheme: UrlScheme::Https,
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
    "[[allow]]\nid = \"p\"\nhosts = [\"192.0.2.0\", \"192.0.2.1\", \"192.0.2.70\"]\nports = [\"tcp/22\"]\nexpect = \"must\"\nat_least = 1\nreason = \"x\"\n",
];

/// The hosts of every history, which are the pool of the last rule as well.
const HOSTS: [&str; 3] = ["192.0.2.0", "192.0.2.1", HOST];

/// `MIMAWARI_HISTORIES=100000` for those who have a quarter of an hour, as `.ci/full` does.
fn histories() -> u64 {
    let asked = std::env::var("MIMAWARI_HISTORIES").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(4_000)
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
        assert!(n > histories / 200, "only {n} {kind:?} were resolved");
    }
    use ChangeKind::*;
    for what in
        [Opened, Reopened, Worse, Reminder, Flapping, Resolved, Allowed, OutOfScope, NotRequired]
    {
        let n = shown.notified.get(&what).copied().unwrap_or(0);
        assert!(n > histories / 200, "only {n} {what:?} were notified");
    }
    let rows = [shown.retired, shown.banned, shown.unconfirmed, shown.first_looks, shown.pools];
    let names = ["retired", "banned", "unconfirmed", "first looks", "missing pools"];
    for (row, n) in names.into_iter().zip(rows) {
        assert!(n > histories / 100, "only {n} {row}");
    }
    assert!(shown.site_changes > histories / 4, "only {} changes of sites", shown.site_changes);
}

/// What happened in histories.
#[derive(Default)]
struct Shown {
    resolved: BTreeMap<FindingKind, u64>,
    notified: BTreeMap<ChangeKind, u64>,
    site_changes: u64,
    retired: u64,
    banned: u64,
    unconfirmed: u64,
    first_looks: u64,
    /// Pools that became missing.
    pools: u64,
}

impl Shown {
    fn and(mut self, other: Self) -> Self {
        for (kind, n) in other.resolved {
            *self.resolved.entry(kind).or_default() += n;
        }
        for (what, n) in other.notified {
            *self.notified.entry(what).or_default() += n;
        }
        self.site_changes += other.site_changes;
        self.retired += other.retired;
        self.banned += other.banned;
        self.unconfirmed += other.unconfirmed;
        self.first_looks += other.first_looks;
        self.pools += other.pools;
        self
    }
}

fn history(seed: u64) -> Shown {
    thread_local! {
        static BASELINES: Vec<Baseline> = RULES.iter().map(|r| baseline(r)).collect();
    }
    BASELINES.with(|baselines| History::new(seed).live(baselines))
}

/// Vantage, kind, address, port, host, path.
type Place = (String, FindingKind, IpAddr, Option<Port>, Option<String>, Option<String>);

struct History {
    seed: u64,
    r: Rng,
    truth: BTreeMap<(IpAddr, Port), bool>,
    state: State,
    now: Timestamp,
    ids: BTreeMap<Place, String>,
    keys: BTreeSet<String>,
    /// From where what is allowed was seen.
    allowed_from: BTreeMap<FindingId, &'static str>,
    /// What somebody who reads every notification believes: whether a finding is drift.
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
            allowed_from: BTreeMap::new(),
            believed: BTreeMap::new(),
            shown: Shown::default(),
        }
    }

    fn live(mut self, baselines: &[Baseline]) -> Shown {
        let seed = self.seed;
        let vantages = 1 + seed % 2;
        // Some edit the baseline all the time, others now and then.
        let settled = self.r.next(2) == 0;
        let mut rules = &baselines[self.r.next(RULES.len() as u64) as usize];
        // Runs for which a stopped service stays so.
        let mut stopped = 0u64;
        for n in 0..8 + self.r.next(8) as i64 {
            let later = match self.r.next(20) {
                0 | 1 => self.now.checked_sub(3.hours()),
                2 => self.now.checked_add(30.hours()),
                _ => self.now.checked_add(1.hour()),
            };
            // No two runs begin at the same time, or they would be one.
            self.now = later.expect("a time").checked_add((n + 1).milliseconds()).expect("a time");
            self.acknowledge();
            self.retire();
            stopped =
                if stopped == 0 && self.r.next(20) == 0 { 4 } else { stopped.saturating_sub(1) };
            let mut run = random_run(&mut self.r, &mut self.truth, stopped > 0);
            run.vantage = ["default", "outside"][self.r.next(vantages) as usize];
            if !settled || self.r.next(4) == 0 {
                rules = &baselines[self.r.next(RULES.len() as u64) as usize];
            }
            if self.r.next(8) == 0 {
                // It began before the last ones, and is committed after them.
                let hours = 1 + self.r.next(3) as i64;
                let began = self.now.checked_sub(hours.hours()).expect("a time");
                let began = began.checked_sub(500.microseconds()).expect("a time");
                self.step_at(&run, rules, began);
                continue;
            }
            self.step(&run, rules);
            if self.r.next(4) == 0 {
                // Judged again, perhaps with another baseline: it is no second run.
                let rules = &baselines[self.r.next(RULES.len() as u64) as usize];
                let before = self.state.clone();
                self.step(&run, rules);
                for (id, t) in &before.findings {
                    let Some(later) = self.state.findings.get(id) else { continue };
                    assert!(later.silent_runs <= t.silent_runs.max(1), "seed {seed}");
                    let silent = t.finding.state == FindingState::Resolving;
                    let resolved = later.finding.state == FindingState::Resolved;
                    assert!(!(silent && resolved), "seed {seed}: one run counted twice: {t:?}");
                }
            }
        }
        self.calm(&baselines[0], vantages);
        self.shown
    }

    /// Nothing changes, everything is probed, and no rule allows anything: then the notifications agree
    /// with what is there, and nothing is left over.
    fn calm(&mut self, none: &Baseline, vantages: u64) {
        let seed = self.seed;
        let mut run = Run::new();
        for (cell, open) in &self.truth {
            run.cells.insert(*cell, if *open { Open } else { Closed });
        }
        for (host, name, scheme) in web_places() {
            if self.truth.get(&(ip(host), port(22))) == Some(&true) {
                run.web.push(web(host, name, scheme, false));
                run.http.push(http(host, name, ContentOutcome::Absent));
            }
        }
        for _ in 0..16 {
            for vantage in ["default", "outside"].into_iter().take(vantages as usize) {
                self.now = self.now.checked_add(1.hour()).expect("a time");
                run.vantage = vantage;
                self.step(&run, none);
            }
        }
        for t in self.state.findings.values() {
            let f = &t.finding;
            let port_kind = matches!(f.kind, UnexpectedOpen | ForbiddenOpen);
            let there = f.port.is_some_and(|p| self.truth.get(&(f.ip, p)) == Some(&true));
            let settled = matches!(
                f.state,
                FindingState::Resolved | FindingState::Allowed | FindingState::NotRequired
            );
            let open = f.state == FindingState::Open && port_kind && there;
            assert!(open || settled, "seed {seed}: stuck: {t:#?}");
            assert!(!f.flapping, "seed {seed}: flaps for ever: {t:#?}");
            let believed = self.believed.get(&f.id).copied().unwrap_or(false);
            assert_eq!(believed, f.state.is_drift(), "seed {seed}: never notified: {t:#?}");
            assert!(!t.missed, "seed {seed}: {t:#?}");
        }
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

    /// Now and then a vantage is retired: its findings are out of scope, and none is called closed.
    fn retire(&mut self) {
        let vantage = ["default", "outside"][self.r.next(2) as usize];
        if self.r.next(30) > 0 {
            return;
        }
        let before = self.state.findings.clone();
        if self.state.retire_vantage(vantage).is_none() {
            return;
        }
        self.shown.retired += 1;
        for (id, t) in before {
            let Some(after) = self.state.findings.get(&id) else {
                assert_eq!(t.finding.state, FindingState::MissingPending, "seed {}", self.seed);
                continue;
            };
            if t.finding.vantage != vantage {
                assert_eq!(*after, t, "seed {}", self.seed);
                continue;
            }
            assert!(!after.finding.state.is_drift(), "seed {}: {after:?}", self.seed);
            let resolved = after.finding.state == FindingState::Resolved;
            assert!(!resolved || t.finding.state == FindingState::Resolved, "seed {}", self.seed);
        }
    }

    fn step(&mut self, run: &Run, rules: &Baseline) {
        self.step_at(run, rules, self.now);
    }

    /// Judges a run and holds everything that is promised against it.
    fn step_at(&mut self, run: &Run, rules: &Baseline, began: Timestamp) {
        let (seed, now) = (self.seed, self.now);
        let (v, next) = judged_at(run, rules, &self.state, began, now);
        let again = judged_at(run, rules, &self.state, began, now);
        self.elsewhere(run, rules, &next);
        assert_eq!(
            serde_json::to_string(&v).ok(),
            serde_json::to_string(&again.0).ok(),
            "seed {seed}"
        );
        self.bans(run, &v, began);
        for f in &v.findings {
            self.shown.unconfirmed += u64::from(f.new && f.unconfirmed);
            self.shown.first_looks += u64::from(f.new && f.cause == FindingCause::FirstLook);
            // A pool has no host, and its addresses are what it is.
            let pool = f.pool.as_ref().map(|_| f.subject().to_string());
            let host = pool.or(f.host.clone());
            let key = (f.vantage.clone(), f.kind, f.ip, f.port, host, f.path.clone());
            let id = self.ids.entry(key).or_insert_with(|| f.id.clone());
            assert_eq!(*id, f.id, "seed {seed}: an identity changed");
            self.pools(run, f);
            let before = self.state.findings.get(&f.id).map(|t| &t.finding);
            if f.state == FindingState::Resolved
                && before.is_none_or(|b| b.state != FindingState::Resolved)
            {
                assert_eq!(f.vantage, run.vantage, "seed {seed}: resolved from elsewhere: {f:?}");
                let seen = before.map(|b| b.last_seen);
                let newer = seen.is_some_and(|at| at > began && at <= now);
                assert!(!newer, "seed {seed}: resolved by a run that is older: {f:?}");
                *self.shown.resolved.entry(f.kind).or_insert(0u64) += 1;
                resolved_by_proof(run, &v, f, &self.state, seed);
            }
        }
        // An alarm: seen open, confirmed, in the scope, and no live rule allows it.
        let mut alarm = false;
        for ((ip, port), s) in &run.cells {
            let refuted = run.second_look(*ip, *port) == SecondLook::Refused;
            if *s == Open && !refuted && run.scope.allows(*ip) {
                let facts = DecisionFacts { check: "", vantage: run.vantage, now };
                let found = rules.decide(&Subject::tcp(*ip, *port), &facts).says;
                alarm |= !matches!(found, RuleMatch::Allowed(_));
            }
        }
        alarm |= web_alarm(run, rules, now);
        // An older run may be outdone by a newer one.
        assert!(!alarm || v.exit == 1 || began < now, "seed {seed}: an alarm was lost");
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
        self.check_notifications(&v, &next);
        self.state = next;
    }

    /// A pool becomes missing only by a run that covered every address of it and saw none open.
    fn pools(&mut self, run: &Run, f: &Finding) {
        use FindingState::{Missing, MissingPending};
        let before = self.state.findings.get(&f.id).map(|t| t.finding.state);
        let became = |state| f.state == state && before != Some(state);
        if f.pool.is_none() || !(became(Missing) || became(MissingPending)) {
            return;
        }
        self.shown.pools += u64::from(f.state == Missing);
        for host in HOSTS {
            let cell = CoverageView::cell(run, ip(host), port(22));
            let looked = run.scope.allows(ip(host)) && cell.is_covered() && cell != Open;
            assert!(looked, "seed {}: {host} may be the one: {f:#?}", self.seed);
        }
    }

    /// A host all of whose known open ports refuse at once, two or more, is not seen to be closed.
    fn bans(&mut self, run: &Run, v: &Verdict, began: Timestamp) {
        for host in ["192.0.2.0", "192.0.2.1", HOST] {
            let open = |t: &&TrackedFinding| {
                let f = &t.finding;
                f.vantage == run.vantage
                    && f.ip == ip(host)
                    && matches!(f.kind, UnexpectedOpen | ForbiddenOpen)
                    && matches!(f.state, FindingState::Open | FindingState::Unverified)
                    && f.last_seen < began
                    // One silent run may lie before it, and this is the second.
                    && t.silent_runs == 0
            };
            let known: Vec<&Finding> =
                self.state.findings.values().filter(open).map(|t| &t.finding).collect();
            let refused =
                |f: &&&Finding| f.port.is_some_and(|p| CoverageView::cell(run, f.ip, p) == Closed);
            let any_open = run.cells.iter().any(|((at, _), s)| *at == ip(host) && *s == Open);
            if known.len() < 2 || any_open || known.iter().filter(refused).count() < known.len() {
                continue;
            }
            self.shown.banned += 1;
            for f in known {
                let now = v.findings.iter().find(|n| n.id == f.id);
                let resolved = now.is_some_and(|n| n.state == FindingState::Resolved);
                assert!(!resolved, "seed {}: a ban is no end: {f:?}", self.seed);
            }
        }
    }

    /// What another vantage knows stays as it is, and no port is drift twice.
    fn elsewhere(&mut self, run: &Run, rules: &Baseline, next: &State) {
        let seed = self.seed;
        for (id, t) in &self.state.findings {
            if t.finding.vantage == run.vantage {
                continue;
            }
            let Some(later) = next.findings.get(id) else {
                let pending = t.finding.state == FindingState::MissingPending;
                assert!(pending && t.notified.is_none(), "seed {seed}: {t:?} is gone");
                continue;
            };
            let (a, b) = (&t.finding, &later.finding);
            // A merged rule is no observation: it settles what any vantage saw.
            let by_rule = match b.state {
                FindingState::Allowed => is_allowed(rules, a, self.now),
                FindingState::NotRequired => a.kind == MissingRequired,
                _ => false,
            };
            if by_rule && a.state != b.state {
                let live =
                    matches!(a.state, FindingState::OutOfScope | FindingState::MissingPending);
                assert!(a.state.is_drift() || live, "seed {seed}: {a:?}");
                continue;
            }
            assert_eq!(
                (a.state, a.last_seen, a.cause, a.flapping, &t.changes, t.gone, t.missed),
                (
                    b.state,
                    b.last_seen,
                    b.cause,
                    b.flapping,
                    &later.changes,
                    later.gone,
                    later.missed
                ),
                "seed {seed}: judged from elsewhere: {t:#?}"
            );
        }
        for (id, a) in next.allowed.iter() {
            if !self.state.allowed.contains_key(id) {
                let here = a.subject.id(run.vantage) == *id;
                let other = ["default", "outside"].into_iter().find(|v| *v != run.vantage);
                let from = if here { Some(run.vantage) } else { other };
                self.allowed_from.insert(*id, from.expect("two vantages"));
            } else if self.allowed_from.get(id) != Some(&run.vantage) {
                assert_eq!(Some(a), self.state.allowed.get(id), "seed {seed}");
            }
        }
        for id in self.state.allowed.keys().filter(|id| !next.allowed.contains_key(id)) {
            assert_eq!(self.allowed_from.get(id), Some(&run.vantage), "seed {seed}: forgotten");
        }
        let mut drift = BTreeSet::new();
        for f in next.findings.values().map(|t| &t.finding) {
            if matches!(f.kind, UnexpectedOpen | ForbiddenOpen) && f.state.is_drift() {
                let place = (&f.vantage, f.ip, f.port);
                assert!(drift.insert(place), "seed {seed}: one port is two alarms: {f:?}");
            }
        }
    }

    /// Nothing is notified twice, and somebody who reads every notification knows what is drift.
    fn check_notifications(&mut self, v: &Verdict, next: &State) {
        let seed = self.seed;
        for c in &v.changes {
            assert!(self.keys.insert(c.key.clone()), "seed {seed}: notified twice: {c:?}");
            *self.shown.notified.entry(c.what).or_default() += 1;
            let f = v.findings.iter().find(|f| f.id == c.finding);
            let f = f.unwrap_or_else(|| panic!("seed {seed}: notified, and not listed: {c:?}"));
            let drift = f.state.is_drift();
            let was = self.believed.insert(f.id.clone(), drift);
            match c.what {
                ChangeKind::Opened => assert!(drift && was.is_none(), "seed {seed}: {f:?}"),
                ChangeKind::Reopened => assert!(drift && was == Some(false), "seed {seed}: {f:?}"),
                ChangeKind::Worse | ChangeKind::Reminder => {
                    assert!(drift && was == Some(true), "seed {seed}: {f:?}");
                    let quiet = f.acknowledged.is_some() && c.what == ChangeKind::Reminder;
                    assert!(!quiet, "seed {seed}: acknowledged, and notified again");
                }
                ChangeKind::Flapping => {
                    let first = f.kind == MissingRequired;
                    assert!(f.flapping && (was.is_some() || first), "seed {seed}");
                }
                ChangeKind::Resolved
                | ChangeKind::Allowed
                | ChangeKind::OutOfScope
                | ChangeKind::NotRequired => {
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
            if matches!(
                f.state,
                FindingState::Allowed | FindingState::OutOfScope | FindingState::NotRequired
            ) {
                assert_ne!(
                    self.believed.get(&f.id),
                    Some(&true),
                    "seed {seed}: still thought open"
                );
            }
        }
    }
}

fn is_allowed(rules: &Baseline, f: &Finding, now: Timestamp) -> bool {
    let check = f.check.as_deref().unwrap_or_default();
    let facts = DecisionFacts { check, vantage: &f.vantage, now };
    let found = rules.decide(&f.subject(), &facts).says;
    matches!(found, RuleMatch::Allowed(_))
}

/// Resolved by a run that covered it, that is believed about it, and that saw it gone.
fn resolved_by_proof(run: &Run, v: &Verdict, f: &Finding, before: &State, seed: u64) {
    // What the run before missed is settled, even if too much is gone at once: itself, or the port that it is at.
    let at_port = |t: &&TrackedFinding| {
        t.missed && t.finding.cell() == f.cell() && t.finding.vantage == f.vantage
    };
    let plain_id = f.cell().map(|cell| Subject::Port(cell).id(&f.vantage));
    let missed = before.findings.get(&f.id).is_some_and(|t| t.missed || t.silent_runs > 0)
        || before.findings.values().any(|t| at_port(&t))
        || plain_id.and_then(|id| before.allowed.get(&id)).is_some_and(|a| a.missed);
    let quiet = v.run.canaries_answered < v.run.canaries_total;
    assert!(!v.suspect || missed && !quiet, "seed {seed}: by a run that is not believed: {f:?}");
    if f.kind == LegacyTls || f.kind == ExposedContent {
        return web_is_gone(run, f, seed);
    }
    if f.pool.is_some() {
        let open = |h: &&str| CoverageView::cell(run, ip(h), port(22)) == Open;
        assert!(HOSTS.iter().any(open), "seed {seed}: resolved, and none is open: {f:?}");
        return;
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
                ContentOutcome::Absent | ContentOutcome::Protected => true,
                ContentOutcome::Exposed => h.severity == Severity::Info,
                _ => false,
            }
        })
    };
    assert!(gone || !is_open, "seed {seed}: resolved without proof: {f:?}");
}

/// Whether something was seen on the web that no live rule allows.
fn web_alarm(run: &Run, rules: &Baseline, now: Timestamp) -> bool {
    let content = run.http.iter().any(|h| {
        h.outcome == ContentOutcome::Exposed
            && h.severity > Severity::Info
            && run.scope.allows(h.ip)
            && {
                let cell = Cell::tcp(h.ip, h.port);
                let subject = Subject::content(cell, h.host.as_deref(), &h.path);
                let facts = DecisionFacts { check: &h.check, vantage: run.vantage, now };
                !matches!(rules.decide(&subject, &facts).says, RuleMatch::Allowed(_))
            }
    });
    content
        || run.web.iter().any(|w| {
            w.tls.as_ref().is_some_and(|t| t.legacy) && run.scope.allows(w.ip) && {
                let cell = Cell::tcp(w.ip, w.port);
                let subject = Subject::Server(cell, ServerFact::LegacyTls);
                let facts = DecisionFacts { check: "", vantage: run.vantage, now };
                !matches!(rules.decide(&subject, &facts).says, RuleMatch::Allowed(_))
            }
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
        let here = s.key.vantage == run.vantage;
        assert!(seen && here || later == s, "seed {seed}: changed unseen");
        assert_eq!(later.first_seen, s.first_seen, "seed {seed}");
    }
    assert!(after.sites.is_sorted_by(|a, b| a.key < b.key), "seed {seed}: not sorted");
}
