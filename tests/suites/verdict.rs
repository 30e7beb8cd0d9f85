//! The life of a finding: each row of the table of states, the guards of a run, and thousands of
//! random histories.

#[path = "verdict/content.rs"]
mod content;
#[path = "verdict/golden.rs"]
mod golden;
#[path = "verdict/histories.rs"]
mod histories;
#[path = "verdict/identity.rs"]
mod identity;
#[path = "verdict/life.rs"]
mod life;
#[path = "verdict/listing.rs"]
mod listing;
#[path = "verdict/notified.rs"]
mod notified;
#[path = "verdict/order.rs"]
mod order;
#[path = "verdict/pool.rs"]
mod pool;
#[path = "verdict/sites.rs"]
mod sites;
#[path = "verdict/table.rs"]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp, ToSpan};
use mimawari_drift::baseline::Baseline;
use mimawari_drift::freshness::RotationPart;
use mimawari_drift::judge::{CoverageView, RunInput, judge};
use mimawari_drift::state::State;
use mimawari_drift::verdict::{
    Finding, FindingCause, FindingKind, FindingState, RunFacts, Verdict, VerdictCoverage,
};
use mimawari_probes::gap::{CoverageGap, Gap};
use mimawari_probes::observation::{
    CellState, ContentOutcome, HostObservation, HttpObservation, Observation, SecondLook,
    ServiceFacts, Severity, TcpObservation, TlsFacts, UrlScheme, WebObservation,
};
use mimawari_targets::{AddrRange, AddrSet, Port, PortSet, Scope};

const HOST: &str = "192.0.2.70";
const RULE: &str =
    "[[allow]]\nid = \"r\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/6379\"]\nreason = \"x\"\n";
const MUST: &str = "[[allow]]\nid = \"m\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/22\"]\nexpect = \"must\"\nreason = \"x\"\n";
const NEVER: &str = "[[allow]]\nid = \"n\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/6379\"]\nexpect = \"never\"\nreason = \"x\"\n";

fn ip(s: &str) -> IpAddr {
    s.parse().expect("an address")
}

fn port(n: u16) -> Port {
    Port::new(n).expect("a port")
}

fn baseline(rules: &str) -> Baseline {
    let text = format!("version = 1\nowner = \"@t/t\"\n{rules}");
    Baseline::parse(&[("b.toml".to_owned(), text)]).unwrap_or_else(|e| panic!("{e}")).0
}

/// One run: what it covered and saw.
#[derive(Clone)]
struct Run {
    vantage: &'static str,
    cells: BTreeMap<(IpAddr, Port), CellState>,
    /// How the second look at a cell ended; accepted where nothing stands here.
    second: BTreeMap<(IpAddr, Port), SecondLook>,
    services: BTreeMap<(IpAddr, Port), &'static str>,
    http: Vec<HttpObservation>,
    web: Vec<WebObservation>,
    /// Hosts asked on four random ports, and how many accepted.
    random: BTreeMap<IpAddr, u32>,
    scope: Scope,
    canaries: (u32, u32),
    incomplete: Vec<CoverageGap>,
    ports: PortSet,
    /// Part of a plan of two, whether it was covered, the age allowed.
    turn: Option<(u32, bool, Option<SignedDuration>)>,
}

impl CoverageView for Run {
    fn cell(&self, ip: IpAddr, port: Port) -> CellState {
        self.cells.get(&(ip, port)).copied().unwrap_or(CellState::NotProbed)
    }

    fn in_scope(&self, ip: IpAddr) -> bool {
        self.scope.allows(ip)
    }

    /// Redis is in part 1, everything else in part 2.
    fn part_of(&self, _ip: IpAddr, port: Port) -> Option<u32> {
        Some(if port.get() == 6379 { 1 } else { 2 })
    }
}

fn scope(range: &str) -> Scope {
    let set = AddrSet::from_ranges([range.parse::<AddrRange>().expect("a range")]);
    Scope::new(set, AddrSet::default(), "TEST-1")
}

impl Run {
    /// A run in which something far away answered, so that it is believed.
    fn new() -> Self {
        Self {
            vantage: "default",
            cells: BTreeMap::from([((ip("192.0.2.200"), port(1)), CellState::Closed)]),
            second: BTreeMap::new(),
            services: BTreeMap::new(),
            http: Vec::new(),
            web: Vec::new(),
            random: BTreeMap::new(),
            scope: scope("192.0.2.0/24"),
            canaries: (0, 0),
            incomplete: Vec::new(),
            ports: "22,6379".parse().expect("ports"),
            turn: None,
        }
    }

    fn cell(mut self, host: &str, p: u16, state: CellState) -> Self {
        self.cells.insert((ip(host), port(p)), state);
        self
    }

    fn from(mut self, vantage: &'static str) -> Self {
        self.vantage = vantage;
        self
    }

    fn part(mut self, part: u32, complete: bool, max_age: Option<SignedDuration>) -> Self {
        self.turn = Some((part, complete, max_age));
        self
    }

    fn redis(self, state: CellState) -> Self {
        self.cell(HOST, 6379, state)
    }

    /// Asked on four random ports, of which so many accept.
    fn random(mut self, accepted: u32) -> Self {
        self.random.insert(ip(HOST), accepted);
        self
    }

    fn ssh(self, state: CellState) -> Self {
        self.cell(HOST, 22, state)
    }

    /// How the second look at redis ended.
    fn second(mut self, end: SecondLook) -> Self {
        self.second.insert((ip(HOST), port(6379)), end);
        self
    }

    fn second_look(&self, ip: IpAddr, port: Port) -> SecondLook {
        self.second.get(&(ip, port)).copied().unwrap_or(SecondLook::Confirmed)
    }

    /// The service at redis' port.
    fn service(mut self, name: &'static str) -> Self {
        self.services.insert((ip(HOST), port(6379)), name);
        self
    }

    fn content(self, outcome: ContentOutcome) -> Self {
        self.http(outcome, |_| ())
    }

    /// A content check on port 80, changed as wanted.
    fn http(mut self, outcome: ContentOutcome, change: impl FnOnce(&mut HttpObservation)) -> Self {
        let mut h = HttpObservation {
            title: None,
            remedy: None,
            ip: ip(HOST),
            port: port(80),
            scheme: UrlScheme::Http,
            host: Some("shop.example.jp".to_owned()),
            path: "/password.php".to_owned(),
            check: "php-source".to_owned(),
            outcome,
            severity: Severity::Critical,
            at: Timestamp::UNIX_EPOCH,
            evidence: None,
            reason: None,
        };
        change(&mut h);
        self = self.cell(HOST, h.port.get(), CellState::Open);
        self.http.push(h);
        self
    }

    /// A look at `shop.example.jp` on port 443, changed as wanted.
    fn web(mut self, change: impl FnOnce(&mut WebObservation)) -> Self {
        let mut w = WebObservation {
            ip: ip(HOST),
            port: port(443),
            scheme: UrlScheme::Https,
            host: Some("shop.example.jp".to_owned()),
            at: Timestamp::UNIX_EPOCH,
            status: Some(200),
            server: Some("nginx".to_owned()),
            title: Some("Shop".to_owned()),
            location: None,
            favicon_sha256: None,
            tls: Some(TlsFacts { version: "TLSv1.3".to_owned(), ..TlsFacts::default() }),
            dns: None,
        };
        change(&mut w);
        self = self.cell(HOST, w.port.get(), CellState::Open);
        self.web.push(w);
        self
    }
}

/// A team's months: runs one after the other over one state.
struct Story {
    state: State,
    rules: String,
    now: Timestamp,
}

impl Story {
    fn new(rules: &str) -> Self {
        Self {
            state: State::default(),
            rules: rules.to_owned(),
            now: "2026-11-01T00:00:00Z".parse().expect("an instant"),
        }
    }

    /// One hour later.
    fn run(&mut self, run: Run) -> Verdict {
        self.now = self.now.checked_add(1.hour()).expect("time goes on");
        let (verdict, state) = judged(&run, &baseline(&self.rules), &self.state, self.now);
        self.state = state;
        verdict
    }

    fn rules(&mut self, rules: &str) {
        rules.clone_into(&mut self.rules);
    }
}

fn judged(run: &Run, baseline: &Baseline, previous: &State, now: Timestamp) -> (Verdict, State) {
    judged_at(run, baseline, previous, now, now)
}

/// A run that began and ended at one time and is judged at another.
fn judged_at(
    run: &Run,
    baseline: &Baseline,
    previous: &State,
    at: Timestamp,
    judged_at: Timestamp,
) -> (Verdict, State) {
    let now = at;
    let mut observations: Vec<Observation> = run
        .cells
        .iter()
        .filter(|(_, s)| **s == CellState::Open)
        .map(|((ip, port), _)| {
            Observation::Tcp(TcpObservation {
                ip: *ip,
                port: *port,
                state: CellState::Open,
                at: now,
                attempt: 1,
                ttl: None,
                confirmed: run.second_look(*ip, *port) == SecondLook::Confirmed,
                second_look: Some(run.second_look(*ip, *port)),
                service: run.services.get(&(*ip, *port)).map(|name| {
                    let name = (*name).to_owned();
                    Box::new(ServiceFacts { name, ..ServiceFacts::default() })
                }),
            })
        })
        .collect();
    observations.extend(
        run.http
            .iter()
            .map(|h| Observation::Http(Box::new(HttpObservation { at: now, ..h.clone() }))),
    );
    observations.extend(
        run.web.iter().map(|w| Observation::Web(Box::new(WebObservation { at: now, ..w.clone() }))),
    );
    observations.extend(run.random.iter().map(|(ip, accepted)| {
        let (ip, accepted) = (*ip, *accepted);
        Observation::Host(HostObservation { ip, at: now, asked: 4, accepted, signs: Vec::new() })
    }));
    let count = |s: CellState| run.cells.values().filter(|c| **c == s).count() as u64;
    let covered = run.cells.values().filter(|c| c.is_covered()).count() as u64;
    let run_id = format!("{now}");
    let addresses = run.scope.permitted().clone();
    let input = RunInput {
        run_id: &run_id,
        vantage: run.vantage,
        scope: &run.scope,
        observations: &observations,
        coverage: run,
        totals: VerdictCoverage {
            cells_planned: run.cells.len() as u64,
            cells_covered: covered,
            open: count(CellState::Open),
            closed: count(CellState::Closed),
            prohibited: count(CellState::Prohibited),
            silent: count(CellState::Silent),
            ..VerdictCoverage::default()
        },
        facts: RunFacts {
            canaries_answered: run.canaries.0,
            canaries_total: run.canaries.1,
            started_at: Some(now),
            ended_at: Some(now),
            ..RunFacts::default()
        },
        suspect_because: Vec::new(),
        gaps: run.incomplete.clone(),
        addresses: &addresses,
        ports: &run.ports,
        turn: run.turn.map(|(part, complete, max_age)| RotationPart {
            plan: "plan",
            part,
            parts: 2,
            began: now,
            complete,
            max_age,
        }),
    };
    judge(&input, baseline, previous, judged_at)
}

/// The only finding of a kind.
#[track_caller]
fn one(v: &Verdict, kind: FindingKind) -> &Finding {
    let all: Vec<_> = v.findings.iter().filter(|f| f.kind == kind).collect();
    assert_eq!(all.len(), 1, "{:#?}", v.findings);
    all[0]
}

#[track_caller]
fn state(v: &Verdict) -> FindingState {
    one(v, FindingKind::UnexpectedOpen).state
}

use CellState::{Closed, NotProbed, Open, Prohibited, Silent};
use FindingKind::{
    ExposedContent, ForbiddenOpen, LegacyTls, MissingRequired, SuspectHost, UnexpectedOpen,
};

// Each row of the table.

#[test]
fn open_and_unmatched_and_confirmed_is_open() {
    let v = Story::new("").run(Run::new().redis(Open));
    let f = one(&v, UnexpectedOpen);
    assert_eq!(
        (f.state, f.cause, f.new, v.exit),
        (FindingState::Open, FindingCause::Unmatched, true, 1)
    );
}

#[test]
fn open_and_refused_by_the_second_look_is_dropped_and_counted() {
    let v = Story::new("").run(Run::new().redis(Open).second(SecondLook::Refused));
    assert!(v.findings.is_empty());
    assert_eq!((v.counts.unconfirmed, v.exit), (1, 0));
}

#[test]
fn open_and_not_confirmed_for_any_other_reason_is_open_and_unconfirmed() {
    use SecondLook::*;
    for end in [TimedOut, Unreachable, OwnError, NotMade, Other] {
        let mut s = Story::new("");
        let v = s.run(Run::new().redis(Open).second(end));
        let f = one(&v, UnexpectedOpen);
        assert_eq!((f.state, f.unconfirmed, v.exit), (FindingState::Open, true, 1), "{end:?}");
        assert!(f.why.contains(end.words()), "{}", f.why);
        // A later run confirms it, and no later failure takes that back.
        let v = s.run(Run::new().redis(Open));
        assert!(!one(&v, UnexpectedOpen).unconfirmed);
        let v = s.run(Run::new().redis(Open).second(end));
        assert!(!one(&v, UnexpectedOpen).unconfirmed);
        // What was drift stays drift, even if a second look is refused once.
        let v = s.run(Run::new().redis(Open).second(Refused));
        assert_eq!(state(&v), FindingState::Open);
    }
}

#[test]
fn open_and_matched_is_allowed() {
    let v = Story::new(RULE).run(Run::new().redis(Open));
    assert!(v.findings.is_empty());
    assert_eq!((v.counts.allowed, v.exit), (1, 0));
}

#[test]
fn allowed_whose_rule_expired_is_open_with_the_cause() {
    let mut s = Story::new(&format!("{RULE}expires = 2026-11-01\n"));
    assert_eq!(s.run(Run::new().redis(Open)).exit, 0);
    let first = s.now;
    // Through 23:59:59 UTC of its last day.
    s.now = "2026-11-01T22:59:59Z".parse().expect("an instant");
    assert_eq!(s.run(Run::new().redis(Open)).exit, 0, "one second before midnight");
    s.now = "2026-11-01T23:00:00Z".parse().expect("an instant");
    let v = s.run(Run::new().redis(Open));
    let f = one(&v, UnexpectedOpen);
    assert_eq!(
        (f.state, f.cause, f.first_seen),
        (FindingState::Open, FindingCause::Expired, first)
    );
}

#[test]
fn allowed_whose_rule_was_removed_is_open_with_the_same_id() {
    let mut s = Story::new("");
    let id = one(&s.run(Run::new().redis(Open)), UnexpectedOpen).id.clone();
    s.rules(RULE);
    assert_eq!(state(&s.run(Run::new().redis(Open))), FindingState::Allowed);
    assert_eq!(s.run(Run::new().redis(Open)).exit, 0);
    s.rules("");
    let v = s.run(Run::new().redis(Open));
    let f = one(&v, UnexpectedOpen);
    assert_eq!((f.state, f.cause, &f.id), (FindingState::Open, FindingCause::Removed, &id));
}

#[test]
fn allowed_whose_rule_was_removed_is_not_forgotten_because_nobody_looked() {
    let mut s = Story::new(RULE);
    s.run(Run::new().redis(Open));
    s.rules("");
    let v = s.run(Run::new());
    assert_eq!(
        (state(&v), one(&v, UnexpectedOpen).cause, v.exit),
        (FindingState::Unverified, FindingCause::Removed, 1)
    );
}

#[test]
fn open_and_not_covered_is_unverified_and_still_counts() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    for run in [Run::new(), Run::new().redis(NotProbed)] {
        let v = s.run(run);
        assert_eq!((state(&v), v.exit), (FindingState::Unverified, 1));
    }
}

#[test]
fn covered_and_closed_is_resolved() {
    for uncovered_between in [false, true] {
        let mut s = Story::new("");
        s.run(Run::new().redis(Open));
        if uncovered_between {
            s.run(Run::new());
        }
        let v = s.run(Run::new().redis(Closed));
        assert_eq!((state(&v), v.exit), (FindingState::Resolved, 0));
        assert!(s.run(Run::new().redis(Closed)).findings.is_empty(), "notified once");
    }
}

#[test]
fn covered_and_silent_is_resolving_and_then_resolved() {
    for quiet in [Silent, Prohibited] {
        let mut s = Story::new("");
        s.run(Run::new().redis(Open));
        let v = s.run(Run::new().redis(quiet));
        assert_eq!((state(&v), v.exit), (FindingState::Resolving, 1));
        let v = s.run(Run::new());
        assert_eq!(state(&v), FindingState::Unverified, "an uncovered run decides nothing");
        let v = s.run(Run::new().redis(quiet));
        assert_eq!((state(&v), v.exit), (FindingState::Resolved, 0));
    }
}

#[test]
fn a_silent_run_between_open_ones_counts_for_nothing() {
    let mut s = Story::new("");
    for _ in 0..3 {
        s.run(Run::new().redis(Open));
        assert_eq!(state(&s.run(Run::new().redis(Silent))), FindingState::Resolving);
    }
}

#[test]
fn a_merged_rule_allows_and_does_not_resolve() {
    for look in [Run::new().redis(Open), Run::new()] {
        let mut s = Story::new("");
        s.run(Run::new().redis(Open));
        s.rules(RULE);
        let v = s.run(look);
        let f = one(&v, UnexpectedOpen);
        assert_eq!(
            (f.state, f.allowed_by.as_deref(), v.exit),
            (FindingState::Allowed, Some("r"), 0)
        );
    }
}

#[test]
fn what_left_the_scope_is_reported_and_not_resolved() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    let mut narrowed = Run::new();
    narrowed.scope = scope("192.0.2.128/25");
    let v = s.run(narrowed);
    assert_eq!(
        (state(&v), v.counts.out_of_scope, v.counts.resolved),
        (FindingState::OutOfScope, 1, 0)
    );
    // Back in the scope it is looked at again.
    assert_eq!(state(&s.run(Run::new().redis(Open))), FindingState::Open);
}

#[test]
fn resolved_and_open_again_is_the_same_finding() {
    let mut s = Story::new("");
    let v = s.run(Run::new().redis(Open));
    let first = one(&v, UnexpectedOpen).clone();
    s.run(Run::new().redis(Closed));
    let v = s.run(Run::new().redis(Open));
    let f = one(&v, UnexpectedOpen);
    assert_eq!(
        (&f.id, f.first_seen, f.reopened, f.state),
        (&first.id, first.first_seen, 1, FindingState::Open)
    );
}

#[test]
fn three_changes_in_ten_covered_runs_are_flapping_until_five_stable_ones() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    s.run(Run::new().redis(Closed));
    let v = s.run(Run::new().redis(Open));
    assert!(!one(&v, UnexpectedOpen).flapping);
    let v = s.run(Run::new().redis(Closed));
    assert!(one(&v, UnexpectedOpen).flapping);
    let v = s.run(Run::new().redis(Open));
    assert!(one(&v, UnexpectedOpen).flapping);
    let mut stable = 0;
    while one(&s.run(Run::new().redis(Open)), UnexpectedOpen).flapping {
        stable += 1;
        assert!(stable < 20, "never quiet again");
    }
    assert!(stable >= 4, "quiet after {stable} stable runs");
}

#[test]
fn a_required_cell_is_missing_after_two_covered_runs() {
    let mut s = Story::new(MUST);
    assert_eq!(s.run(Run::new().ssh(Open)).exit, 0);
    let v = s.run(Run::new().ssh(Closed));
    assert_eq!(
        (one(&v, MissingRequired).state, v.exit, v.counts.undecided, v.incomplete),
        (FindingState::MissingPending, 3, 1, false),
        "neither drift nor clean"
    );
    let v = s.run(Run::new().ssh(Silent));
    assert_eq!(
        (one(&v, MissingRequired).state, v.exit, v.counts.missing),
        (FindingState::Missing, 1, 1)
    );
    let v = s.run(Run::new());
    assert_eq!((one(&v, MissingRequired).state, v.exit), (FindingState::MissingUnverified, 1));
    let v = s.run(Run::new().ssh(Open));
    assert_eq!((one(&v, MissingRequired).state, v.exit), (FindingState::Resolved, 0));
}

#[test]
fn a_required_cell_that_nobody_looked_at_is_not_missing() {
    let mut s = Story::new(MUST);
    for _ in 0..3 {
        let v = s.run(Run::new());
        assert!(v.findings.is_empty() && v.exit == 0);
    }
}

#[test]
fn a_never_rule_forbids() {
    let v = Story::new(NEVER).run(Run::new().redis(Open));
    assert_eq!((one(&v, ForbiddenOpen).cause, v.exit), (FindingCause::Forbidden, 1));
}

// Guards of a run.

#[test]
fn a_run_in_which_nothing_answered_resolves_nothing() {
    let mut s = Story::new(MUST);
    s.run(Run::new().redis(Open).ssh(Open));
    let mut dark = Run::new().redis(Silent).ssh(Silent);
    dark.cells.retain(|_, s| *s == Silent);
    for _ in 0..3 {
        let v = s.run(dark.clone());
        assert!(v.suspect && v.incomplete);
        assert_eq!((state(&v), v.counts.missing), (FindingState::Unverified, 0));
    }
}

#[test]
fn a_run_whose_canaries_are_silent_resolves_nothing() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    let mut run = Run::new().redis(Closed);
    run.canaries = (1, 2);
    let v = s.run(run);
    assert_eq!((state(&v), v.suspect), (FindingState::Unverified, true));
    let mut clean = Run::new();
    clean.canaries = (0, 1);
    assert_eq!(Story::new("").run(clean).exit, 3);
}

#[test]
fn a_fifth_of_what_was_open_gone_at_once_is_not_believed() {
    let many = |gone: u8| {
        (1..=10).fold(Run::new(), |r, n| {
            r.cell(&format!("192.0.2.{n}"), 6379, if n <= gone { Silent } else { Open })
        })
    };
    for (gone, suspect) in [(2, false), (3, true)] {
        let mut s = Story::new("");
        s.run(many(0));
        let v = s.run(many(gone));
        assert_eq!(v.suspect, suspect, "{gone} of 10");
        assert_eq!(v.counts.resolving, if suspect { 0 } else { u64::from(gone) });
    }
}

/// A run in which all of twenty ports of a host are so.
fn twenty(state: CellState) -> Run {
    let mut r = (100..120).fold(Run::new(), |r, p| r.cell(HOST, p, state));
    r.ports = "100-119".parse().expect("ports");
    r
}

#[test]
fn a_host_that_answers_on_everything_is_one_finding() {
    let mut s = Story::new("");
    let v = s.run(twenty(Open));
    assert_eq!((one(&v, SuspectHost).state, v.findings.len(), v.exit), (FindingState::Open, 1, 1));
    assert_eq!(one(&s.run(twenty(Closed)), SuspectHost).state, FindingState::Resolved);
}

#[test]
fn a_suspect_host_that_went_silent_is_not_resolved_at_once() {
    for quiet in [Silent, Prohibited] {
        let mut s = Story::new("");
        s.run(twenty(Open));
        let v = s.run(twenty(quiet));
        assert_eq!((one(&v, SuspectHost).state, v.exit), (FindingState::Resolving, 1));
        assert_eq!(one(&s.run(twenty(quiet)), SuspectHost).state, FindingState::Resolved);
    }
    let mut s = Story::new("");
    s.run(twenty(Open));
    assert_eq!(one(&s.run(Run::new()), SuspectHost).state, FindingState::Unverified);
}

#[test]
fn random_ports_that_accept_prove_a_suspect_host_with_few_planned_ports() {
    let both = || Run::new().redis(Open).ssh(Open);
    for (accepted, hosts, ports) in [(0, 0, 2), (1, 0, 2), (2, 1, 0), (4, 1, 0)] {
        let v = Story::new("").run(both().random(accepted));
        let of = |kind| v.findings.iter().filter(|f| f.kind == kind).count();
        assert_eq!((of(SuspectHost), of(UnexpectedOpen)), (hosts, ports), "{accepted} of 4");
    }
    // Its end is proven in the same way: one that still accepts, or nobody asked, proves nothing.
    let mut s = Story::new("");
    let v = s.run(both().random(4));
    assert!(one(&v, SuspectHost).why.contains("of 4 random ports outside the plan 4 accepted"));
    assert_eq!(one(&s.run(both().random(1)), SuspectHost).state, FindingState::Unverified);
    assert_eq!(one(&s.run(both()), SuspectHost).state, FindingState::Unverified);
    let v = s.run(both().random(0));
    assert_eq!(one(&v, SuspectHost).state, FindingState::Resolved);
    assert_eq!(v.counts.open, 2, "its single ports speak again");
}

#[test]
fn ports_that_are_meant_to_be_open_make_no_host_suspect() {
    let rule = |ports: &str| {
        format!(
            "[[allow]]\nid = \"r\"\nhosts = [\"{HOST}\"]\nports = [\"tcp/{ports}\"]\nreason = \"x\"\n"
        )
    };
    let v = Story::new(&rule("100-119")).run(twenty(Open));
    assert_eq!((v.findings.len(), v.counts.allowed, v.exit), (0, 20, 0));
    // Beside them, the others count on their own.
    let v = Story::new(&rule("100-104")).run(twenty(Open));
    assert_eq!((one(&v, SuspectHost).state, v.counts.allowed), (FindingState::Open, 5));
    // And what accepts random ports is suspect, whatever is allowed.
    let v = Story::new(&rule("100-119")).run(twenty(Open).random(4));
    assert_eq!((one(&v, SuspectHost).state, v.findings.len()), (FindingState::Open, 1));
}

#[test]
fn a_port_on_a_host_that_answers_on_everything_is_unverified() {
    let mut s = Story::new("");
    s.run(twenty(Closed).cell(HOST, 105, Open));
    let v = s.run(twenty(Open));
    assert_eq!(state(&v), FindingState::Unverified);
    assert!(one(&v, UnexpectedOpen).why.contains("answers on everything"));
}

#[test]
fn drift_comes_before_incomplete_and_incomplete_before_clean() {
    let mut run = Run::new();
    run.incomplete = vec![Gap::Stopped.not_covered()];
    assert_eq!(Story::new("").run(run.clone()).exit, 3);
    assert_eq!(Story::new("").run(run.redis(Open)).exit, 1);
    assert_eq!(Story::new("").run(Run::new()).exit, 0);
}

#[test]
fn a_clock_that_goes_back_makes_nothing_seen_less_lately() {
    let mut s = Story::new("");
    let v = s.run(Run::new().redis(Open));
    let seen = one(&v, UnexpectedOpen).last_seen;
    s.now = "2020-01-01T00:00:00Z".parse().expect("an instant");
    let v = s.run(Run::new().redis(Open));
    assert_eq!(one(&v, UnexpectedOpen).last_seen, seen);
}

#[test]
fn in_a_rotation_a_finding_stays_open_while_its_part_is_fresh() {
    let mut story = Story::new("");
    let v = story.run(Run::new().part(1, true, None).redis(CellState::Open));
    assert_eq!(state(&v), FindingState::Open);
    assert!(v.coverage.gaps.contains(&Gap::PlanNew.noted()), "{:?}", v.coverage.gaps);
    // The other part's turn, and once again, because it failed: no part is overdue yet.
    for complete in [false, true] {
        let v = story.run(Run::new().part(2, complete, None).ssh(CellState::Closed));
        assert_eq!(state(&v), FindingState::Open);
        assert_eq!((v.exit, v.findings[0].new), (1, false));
        assert!(!v.coverage.gaps.contains(&Gap::PlanNew.noted()));
    }
    // Its own turn has been left out: more than one rotation.
    let v = story.run(Run::new().part(2, true, None).ssh(CellState::Closed));
    assert_eq!(state(&v), FindingState::Unverified);
    // Its own part, and not covered: unverified at once, as without a rotation.
    let v = story.run(Run::new().part(1, true, None).redis(CellState::Open));
    assert_eq!(state(&v), FindingState::Open);
    let v = story.run(Run::new().part(1, false, None));
    assert_eq!(state(&v), FindingState::Unverified);
    let v = story.run(Run::new().part(1, true, None).redis(CellState::Closed));
    assert_eq!(state(&v), FindingState::Resolved);
}

#[test]
fn an_age_makes_findings_unverified_and_the_run_incomplete() {
    let age = Some(SignedDuration::from_mins(90));
    let mut story = Story::new("");
    let v = story.run(Run::new().part(1, true, age).ssh(CellState::Closed));
    assert_eq!(v.exit, 3, "part 2 was never covered");
    let stale = |stale, never, oldest_seconds| Gap::PartsStale {
        stale,
        of: 2,
        never,
        max_age_seconds: 90 * 60,
        oldest_seconds,
    };
    assert_eq!(v.coverage.gaps[0], stale(1, 1, Some(0)).doubted());
    let v = story.run(Run::new().part(2, true, age).ssh(CellState::Closed));
    assert_eq!((v.exit, v.coverage.freshness.map(|f| f.stale)), (0, Some(0)));
    let v = story.run(Run::new().part(2, true, age).ssh(CellState::Closed));
    assert_eq!(v.exit, 3);
    assert_eq!(v.coverage.gaps, [stale(1, 0, Some(2 * 3_600)).doubted()]);
    // An open one in the stale part.
    let v = story.run(Run::new().part(1, true, age).redis(CellState::Open));
    assert_eq!((v.exit, state(&v)), (1, FindingState::Open));
    let v = story.run(Run::new().part(2, true, age).ssh(CellState::Closed));
    assert_eq!(state(&v), FindingState::Open);
    let v = story.run(Run::new().part(2, true, age).ssh(CellState::Closed));
    assert_eq!((v.exit, state(&v)), (1, FindingState::Unverified));
    assert!(v.incomplete);
}

#[test]
fn a_state_from_before_rotations_is_read() {
    let text = r#"{"version":1,"updated_at":null,"last_run":null,"findings":{},"allowed":{}}"#;
    assert_eq!(State::parse(text).expect("an old state"), State::default());
    let mut story = Story::new("");
    story.run(Run::new().part(1, true, None));
    let text = serde_json::to_string(&story.state).expect("JSON");
    assert_eq!(State::parse(&text).expect("a new state"), story.state);
}
