//! The judge: observations, coverage, baseline, previous state and the clock in; verdict and new
//! state out.
//!
//! What is not covered is never resolved. A run that is not to be believed (nothing answered, the
//! canaries are silent, too much is gone at once) resolves nothing at all.

mod absent;
mod content;
mod guard;
mod host;
mod legacy;
mod map;
mod port;
mod required;
mod rules;
mod sites;
mod telling;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_probes::gap::{CoverageGap, Gap, GapEffect};
use mimawari_probes::observation::{
    CellState, HttpObservation, Observation, Scheme, Severity, TcpObservation, WebObservation,
};
use mimawari_targets::{AddrSet, Port, PortSet, Protocol, Scope};
use sha2::{Digest, Sha256};

use self::host::RandomPorts;
use crate::baseline::{Baseline, Head, Match};
use crate::freshness::{self, Freshness, Turn};
use crate::id::FindingId;
use crate::sites::{SiteChange, SiteCounts, SiteNotice};
use crate::state::{Allowed, Standing, State, Tracked};
use crate::verdict::{
    Cause, Counts, Coverage, Finding, FindingKind, FindingState, MAX_TIMELINE, MINOR, RunFacts,
    RunSummary, VERSION, Verdict,
};

/// Covered runs in which a silent cell must be silent before its finding is resolved, and a required
/// cell not open before it is missing.
const RUNS_TO_SETTLE: u32 = 2;
/// This many changes within [`FLAP_WINDOW`] covered runs are flapping.
const FLAP_CHANGES: usize = 3;
const FLAP_WINDOW: u64 = 10;
/// Covered runs without a change after which flapping has ended.
const FLAP_QUIET: u64 = 5;

/// What a run knows of a cell that it did not observe open.
pub trait CoverageView {
    /// The final state; [`CellState::NotProbed`] for whatever is not of the plan.
    fn cell(&self, ip: IpAddr, port: Port) -> CellState;
    /// Whether the address is in the scope as it is now.
    fn in_scope(&self, ip: IpAddr) -> bool;
    /// The part of the plan that a cell is in, counted from 1; `None` if it is not of the plan.
    fn part_of(&self, _ip: IpAddr, _port: Port) -> Option<u32> {
        None
    }
}

/// One run, or the shards of one plan, to be judged.
pub struct RunInput<'a> {
    /// Id of the run.
    pub run_id: &'a str,
    /// From where it was seen.
    pub vantage: &'a str,
    /// The scope as it is now.
    pub scope: &'a Scope,
    /// The latest record of each cell and content.
    pub observations: &'a [Observation],
    /// Everything that is not an observation.
    pub coverage: &'a dyn CoverageView,
    /// Totals, passed through.
    pub totals: Coverage,
    /// Facts, passed through.
    pub facts: RunFacts,
    /// Reasons from outside not to believe the run.
    pub suspect_because: Vec<Gap>,
    /// What the run did not cover, what is doubtful, and what it notes.
    pub gaps: Vec<CoverageGap>,
    /// The addresses of the plan.
    pub addresses: &'a AddrSet,
    /// The ports of the plan.
    pub ports: &'a PortSet,
    /// What the run was of its plan; `None` keeps no account of ages.
    pub turn: Option<Turn<'a>>,
}

/// Judges a run.
#[must_use]
pub fn judge(
    run: &RunInput<'_>,
    baseline: &Baseline,
    previous: &State,
    now: Timestamp,
) -> (Verdict, State) {
    judge_onto(run, baseline, previous.clone(), now)
}

/// As [`judge`], for a state that nobody needs any more: a state of a million cells is then held once.
#[must_use]
pub fn judge_onto(
    run: &RunInput<'_>,
    baseline: &Baseline,
    previous: State,
    now: Timestamp,
) -> (Verdict, State) {
    let mut j = Judge::new(run, baseline, previous, now);
    j.match_open();
    j.guards();
    j.ages();
    j.suspect_hosts();
    j.open_cells();
    j.contents();
    j.legacy_tls();
    // Before what was not seen, which is held against what is known of the sites.
    j.sites();
    j.allowed_before();
    j.required();
    j.the_rest();
    j.finish()
}

/// What identifies a finding.
#[derive(Clone, Copy)]
struct Identity<'a> {
    kind: FindingKind,
    vantage: &'a str,
    ip: IpAddr,
    port: Option<Port>,
    host: Option<&'a str>,
    path: Option<&'a str>,
}

impl Identity<'_> {
    /// First 16 hex digits of the SHA-256 of `kind|vantage|ip|proto|port[|host|path]`, each part
    /// preceded by its length, so that no two identities share a text.
    fn id(&self) -> FindingId {
        use std::io::Write as _;
        let mut text = Vec::with_capacity(128);
        let mut part = |write: &dyn Fn(&mut Vec<u8>)| {
            let at = text.len();
            text.extend([0; 8]);
            write(&mut text);
            let length = (text.len() - at - 8) as u64;
            text[at..at + 8].copy_from_slice(&length.to_le_bytes());
        };
        part(&|out| out.extend(self.kind.as_str().bytes()));
        part(&|out| out.extend(self.vantage.bytes()));
        // Writing into memory cannot fail.
        part(&|out| drop(write!(out, "{}", self.ip)));
        part(&|out| out.extend(b"tcp"));
        part(&|out| {
            drop(match self.port {
                Some(port) => write!(out, "{port}"),
                None => write!(out, "*"),
            });
        });
        if let Some(path) = self.path {
            part(&|out| out.extend(self.host.unwrap_or("-").bytes()));
            part(&|out| out.extend(path.bytes()));
        }
        FindingId::of(&Sha256::digest(&text))
    }

    /// A finding of this identity with nothing known of its history.
    fn begun(
        &self,
        state: FindingState,
        cause: Cause,
        severity: Severity,
        first_seen: Timestamp,
        last_seen: Timestamp,
    ) -> Tracked {
        let finding = Finding {
            id: self.id().to_string(),
            kind: self.kind,
            vantage: self.vantage.to_owned(),
            proto: Protocol::Tcp,
            ip: self.ip,
            port: self.port,
            host: self.host.map(str::to_owned),
            path: self.path.map(str::to_owned),
            scheme: None,
            check: None,
            title: None,
            remedy: None,
            state,
            cause,
            severity,
            first_seen,
            last_seen,
            new: true,
            reopened: 0,
            flapping: false,
            owner: None,
            allowed_by: None,
            nearest: None,
            acknowledged: None,
            why: String::new(),
            service: None,
            evidence: None,
        };
        Tracked {
            finding,
            silent_runs: 0,
            missed_runs: 0,
            covered_runs: 0,
            changes: Vec::new(),
            gone: false,
            by_silence: false,
            resolved_by: None,
            missed: false,
            ports: None,
            told: None,
        }
    }
}

/// A site of one run: address, port, scheme, virtual host.
type WebKey<'a> = (IpAddr, Port, Scheme, Option<&'a str>);

struct Judge<'a> {
    run: &'a RunInput<'a>,
    baseline: &'a Baseline,
    now: Timestamp,
    /// The state before, and with each step more of the state after.
    next: State,
    /// Whether this run was judged before: then it is no further evidence, and nothing is counted twice.
    again: bool,
    /// By rule, as the baseline numbers them: when something that it allows was seen.
    rule_seen: Vec<Option<Timestamp>>,
    /// Ports that there was ever a finding at.
    with_findings: HashSet<(IpAddr, Port)>,
    /// The ids of rules, each held once.
    rules: HashMap<String, Arc<str>>,
    /// Open cells that this run saw, sorted by address and port.
    open: Vec<&'a TcpObservation>,
    /// What the baseline says of each of them.
    found: Vec<Match<'a>>,
    /// Outcomes of content checks; one for each target and path.
    http: BTreeMap<(IpAddr, Port, Option<&'a str>, &'a str), &'a HttpObservation>,
    /// What sites show of themselves.
    web: BTreeMap<WebKey<'a>, &'a WebObservation>,
    /// What hosts do on random ports.
    hosts: BTreeMap<IpAddr, RandomPorts>,
    suspect_because: Vec<Gap>,
    suspect_hosts: BTreeSet<IpAddr>,
    /// Findings that this run has already dealt with.
    done: BTreeSet<String>,
    /// Findings whose state this run changed to one that is settled; they are reported this once.
    settled: BTreeSet<String>,
    fresh: BTreeSet<String>,
    unconfirmed: u64,
    allowed_count: u64,
    notes: Vec<Gap>,
    freshness: Option<Freshness>,
    /// Endpoints of which the inventory says that they speak legacy TLS.
    legacy_sites: BTreeSet<(IpAddr, Port)>,
    sites: SiteCounts,
    site_changes: Vec<SiteChange>,
    site_notices: Vec<SiteNotice>,
}

impl<'a> Judge<'a> {
    fn new(run: &'a RunInput<'a>, baseline: &'a Baseline, previous: State, now: Timestamp) -> Self {
        let (mut open, mut http, mut web) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut hosts: BTreeMap<IpAddr, RandomPorts> = BTreeMap::new();
        for o in run.observations {
            match o {
                Observation::Tcp(t) if t.state == CellState::Open => {
                    open.push(t);
                }
                Observation::Tcp(_) => {}
                Observation::Http(h) => {
                    let key = (h.ip, h.port, h.host.as_deref(), h.path.as_str());
                    let known: &mut &HttpObservation = http.entry(key).or_insert(h);
                    // Of two schemes on one port the worse news counts.
                    if known.scheme == h.scheme || content::weight(known) < content::weight(h) {
                        *known = h;
                    }
                }
                Observation::Host(h) => hosts.entry(h.ip).or_default().add(h),
                Observation::Web(w) => {
                    web.insert((w.ip, w.port, w.scheme, w.host.as_deref()), &**w);
                }
            }
        }
        // Of several records of a cell the latest counts.
        open.sort_by_key(|t: &&TcpObservation| (t.ip, t.port));
        open.reverse();
        open.dedup_by_key(|t| (t.ip, t.port));
        open.reverse();
        Self {
            run,
            baseline,
            now,
            again: was_judged(run, &previous),
            with_findings: previous
                .findings
                .values()
                .filter_map(|t| Some((t.finding.ip, t.finding.port?)))
                .collect(),
            next: previous,
            rules: HashMap::new(),
            rule_seen: vec![None; baseline.len()],
            open,
            found: Vec::new(),
            http,
            web,
            hosts,
            suspect_because: run.suspect_because.clone(),
            suspect_hosts: BTreeSet::new(),
            done: BTreeSet::new(),
            settled: BTreeSet::new(),
            fresh: BTreeSet::new(),
            unconfirmed: 0,
            allowed_count: 0,
            notes: Vec::new(),
            freshness: None,
            legacy_sites: BTreeSet::new(),
            sites: SiteCounts::default(),
            site_changes: Vec::new(),
            site_notices: Vec::new(),
        }
    }

    fn suspect(&self) -> bool {
        !self.suspect_because.is_empty()
    }

    /// The state of a cell; one that was observed open is open, whatever the coverage could still
    /// write down.
    fn cell(&self, ip: IpAddr, port: Port) -> CellState {
        if self.open.binary_search_by_key(&(ip, port), |t| (t.ip, t.port)).is_ok() {
            CellState::Open
        } else {
            match self.run.coverage.cell(ip, port) {
                // Open without a record: the record was lost, so nothing is known.
                CellState::Open => CellState::NotProbed,
                state => state,
            }
        }
    }

    /// Writes down what the run covered of its plan, and how old the rest is.
    fn ages(&mut self) {
        let Some(turn) = &self.run.turn else { return };
        let rotates = turn.parts > 1;
        if rotates && !self.next.plans.contains_key(turn.plan) {
            self.notes.push(Gap::PlanNew);
        }
        let believed = !self.suspect();
        if let Some(ages) = self.next.plans.get_mut(turn.plan) {
            ages.forget_after(self.now.max(turn.began));
        }
        freshness::record(&mut self.next.plans, turn, believed);
        if rotates || turn.max_age.is_some() {
            self.freshness =
                Some(freshness::summary(self.next.plans.get(turn.plan), turn, self.now));
        }
    }

    /// Whether a cell belongs to another part of the plan than the one that this run walked, and was
    /// covered lately enough to stay as it is.
    fn fresh_elsewhere(&self, ip: IpAddr, port: Port, seen: Timestamp) -> bool {
        let Some(turn) = self.run.turn.as_ref().filter(|t| t.parts > 1) else { return false };
        let Some(part) = self.run.coverage.part_of(ip, port) else { return false };
        let ages = self.next.plans.get(turn.plan);
        part != turn.part && freshness::is_fresh(ages, part, seen, turn, self.now)
    }

    /// How many parts the plan is walked in.
    fn parts(&self) -> u32 {
        self.run.turn.as_ref().map_or(1, |t| t.parts.max(1))
    }

    /// Cause and sentence for something that no live rule allows.
    fn unmatched(
        &self,
        id: FindingId,
        what: &str,
        ip: IpAddr,
        found: Match<'_>,
    ) -> (Cause, String) {
        if let Match::Expired(head) = found {
            return (
                Cause::Expired,
                format!(
                    "{what}, and the rule `{}` at {} that allowed it has expired",
                    head.id, head.place
                ),
            );
        }
        if let Some(before) = self.next.allowed.get(&id) {
            return (
                Cause::Removed,
                format!("{what}, and the rule `{}` that allowed it no longer does", before.rule),
            );
        }
        // A finding that is open keeps the cause it was opened with.
        let cause = self
            .next
            .findings
            .get(id.as_str())
            .filter(|t| t.finding.state.is_drift())
            .map_or(Cause::Unmatched, |t| t.finding.cause);
        let cause = if cause == Cause::Forbidden { Cause::Unmatched } else { cause };
        let near = self.baseline.nearest(ip).map_or_else(String::new, |r| {
            format!("; the nearest rule is `{}` at {}", r.head.id, r.head.place)
        });
        (cause, format!("{what}, and no rule of the baseline allows it{near}"))
    }

    /// The place of what is allowed, as a finding.
    fn identity_of<'b>(&self, a: &'b Allowed) -> Identity<'b>
    where
        'a: 'b,
    {
        Identity {
            kind: a.kind(),
            vantage: self.run.vantage,
            ip: a.ip,
            port: Some(a.port),
            host: a.host(),
            path: a.path(),
        }
    }

    /// Whether what is allowed under this id was seen from the vantage of this run, which knows nothing
    /// of what is seen from another one.
    fn is_seen_from_here(&self, id: &FindingId, a: &Allowed) -> bool {
        self.identity_of(a).id() == *id
    }

    /// Whether another run saw it gone after this was seen. An older run that is judged late brings
    /// nothing back that a newer one saw gone.
    fn gone_since(&self, id: &str, at: Timestamp) -> bool {
        self.next.findings.get(id).is_some_and(|t| {
            let later = t.resolved_by.is_some_and(|r| r > at && r <= self.now);
            t.finding.state == FindingState::Resolved && later
        })
    }

    /// Whether a finding is settled, and whoever was told of it does not know yet.
    fn is_restless(&self, id: &str) -> bool {
        self.next.findings.get(id).is_some_and(|t| {
            let told_so = t.told.is_none_or(|told| told.what == Standing::Resolved);
            t.finding.state == FindingState::Resolved && (t.finding.flapping || !told_so)
        })
    }

    /// Whether a rule that allows it is news for a finding.
    fn is_to_be_allowed(&self, id: &str) -> bool {
        let drift = |t: &Tracked| t.finding.state.is_drift();
        self.next.findings.get(id).is_some_and(drift) || self.is_restless(id)
    }

    /// Something that must not be there was seen.
    fn seen(
        &mut self,
        identity: &Identity<'_>,
        cause: Cause,
        severity: Severity,
        at: Timestamp,
        why: String,
        service: Option<String>,
    ) {
        let id = identity.id().to_string();
        // What a `never` rule forbids may have been allowed before, as a plain port.
        let allowed_id = match identity.kind {
            FindingKind::ForbiddenOpen => {
                Identity { kind: FindingKind::UnexpectedOpen, ..*identity }.id()
            }
            _ => identity.id(),
        };
        let first = self.next.allowed.get(&allowed_id).map_or(at, |a| a.first_seen.min(at));
        let owner = self.baseline.nearest(identity.ip).map(|r| r.head.owner.clone());
        let fresh = !self.next.findings.contains_key(&id);
        let begun = || identity.begun(FindingState::Open, cause, severity, first, at);
        let t = self.next.findings.entry(id.clone()).or_insert_with(begun);
        if !self.again {
            t.covered_runs += 1;
        }
        t.silent_runs = 0;
        t.missed = false;
        if std::mem::take(&mut t.gone) && !self.again {
            t.changes.push(t.covered_runs);
        }
        let f = &mut t.finding;
        if f.state == FindingState::Resolved {
            f.reopened += 1;
        }
        f.state = FindingState::Open;
        f.cause = cause;
        f.severity = severity;
        f.new = fresh;
        // A clock that went back does not make it seen less lately.
        f.last_seen = f.last_seen.max(at);
        f.owner = owner;
        f.allowed_by = None;
        f.why = why;
        if service.is_some() {
            f.service = service;
        }
        if fresh {
            self.fresh.insert(id.clone());
        }
        self.next.allowed.remove(&allowed_id);
        self.done.insert(id);
    }

    /// Remembers what is there and allowed.
    fn allow(&mut self, id: FindingId, head: &Head, mut thing: Allowed) {
        let at = thing.last_seen;
        if self.with_findings.contains(&(thing.ip, thing.port))
            && let Some(before) = self.next.findings.get(id.as_str())
        {
            thing.first_seen = at.min(before.finding.first_seen);
        }
        let rule = self.rule(&head.id);
        let a = self.next.allowed.entry(id).or_insert(thing);
        a.rule = rule;
        a.last_seen = a.last_seen.max(at);
        a.missed = false;
        a.seen = true;
    }

    /// A rule's id, shared by all that it allows.
    fn rule(&mut self, id: &str) -> Arc<str> {
        if let Some(known) = self.rules.get(id) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = id.into();
        self.rules.insert(id.to_owned(), Arc::clone(&shared));
        shared
    }

    /// A finding that a live rule allows now.
    fn now_allowed(&mut self, id: &str, head: &Head) {
        if let Some(t) = self.next.findings.get_mut(id) {
            t.silent_runs = 0;
            t.comes_to_rest();
            let f = &mut t.finding;
            f.state = FindingState::Allowed;
            f.allowed_by = Some(head.id.clone());
            f.owner = Some(head.owner.clone());
            f.new = false;
            f.why = format!("the rule `{}` at {} allows it: {}", head.id, head.place, head.reason);
            self.settled.insert(id.to_owned());
            self.done.insert(id.to_owned());
        }
    }

    fn set(&mut self, id: &str, state: FindingState, why: String) {
        if let Some(t) = self.next.findings.get_mut(id) {
            t.finding.state = state;
            t.finding.new = false;
            t.finding.why = why;
        }
    }

    /// Whether something was seen by another run after this one began, so that this run cannot tell
    /// whether it is still there. A time in the future is a clock that was wrong, and proves nothing.
    fn seen_since(&self, at: Timestamp) -> bool {
        self.run.facts.started_at.is_some_and(|began| at > began && at <= self.now)
    }

    /// Its address left the scope: nobody looks any more.
    fn left_the_scope(&mut self, id: &str, why: &str) {
        self.set(id, FindingState::OutOfScope, why.to_owned());
        if let Some(t) = self.next.findings.get_mut(id) {
            t.comes_to_rest();
        }
    }

    fn flapping(&mut self) {
        for t in self.next.findings.values_mut() {
            let n = t.covered_runs;
            t.changes.retain(|c| c + FLAP_WINDOW > n);
            let last = t.changes.last().copied().unwrap_or(0);
            if last + FLAP_QUIET <= n {
                // It holds still. What it did before must not make it flapping again.
                if std::mem::take(&mut t.finding.flapping) {
                    t.changes.clear();
                }
            } else if t.changes.len() >= FLAP_CHANGES {
                t.finding.flapping = true;
            }
        }
    }

    /// What the run was, for the timeline.
    fn summary(&self, exit: u8, incomplete: bool, counts: &Counts) -> RunSummary {
        RunSummary {
            run_id: self.run.run_id.to_owned(),
            vantage: self.run.vantage.to_owned(),
            at: self.run.facts.started_at.unwrap_or(self.now),
            exit,
            suspect: self.suspect(),
            incomplete,
            cells_planned: self.run.totals.cells_planned,
            cells_covered: self.run.totals.cells_covered,
            recall_estimate: self.run.totals.recall_estimate,
            counts: counts.clone(),
        }
    }

    fn finish(mut self) -> (Verdict, State) {
        self.flapping();
        self.acknowledged();
        self.nearest();
        self.rules_used();
        let changes = self.tell();
        let digest_due = self.digest_due();
        let mut counts = Counts {
            allowed: self.allowed_count,
            unconfirmed: self.unconfirmed,
            new: self.fresh.len() as u64,
            ..Counts::default()
        };
        let mut findings = Vec::new();
        for (id, t) in &self.next.findings {
            let f = &t.finding;
            let settled = self.settled.contains(id);
            match f.state {
                FindingState::Open => counts.open += 1,
                FindingState::Unverified => counts.unverified += 1,
                FindingState::Resolving => counts.resolving += 1,
                FindingState::Missing | FindingState::MissingUnverified => counts.missing += 1,
                FindingState::OutOfScope => counts.out_of_scope += 1,
                FindingState::Resolved if settled => counts.resolved += 1,
                _ => {}
            }
            if f.state.is_drift() {
                counts.acknowledged += u64::from(f.acknowledged.is_some());
                counts.flapping += u64::from(f.flapping);
            }
            let listed = f.state.is_drift()
                || settled
                || changes.contains_key(id)
                || matches!(f.state, FindingState::MissingPending | FindingState::OutOfScope);
            if listed {
                findings.push(f.clone());
            }
        }
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        let suspect = self.suspect();
        let maps = self.maps();
        let mut gaps: Vec<CoverageGap> =
            self.suspect_because.iter().cloned().map(Gap::doubted).collect();
        gaps.extend(self.run.gaps.iter().cloned());
        let stale = self.freshness.as_ref().and_then(Freshness::gap);
        gaps.extend(stale.map(Gap::doubted));
        gaps.extend(self.notes.drain(..).map(Gap::noted));
        let incomplete = gaps.iter().any(|g| g.effect != GapEffect::Noted);
        let drift = findings.iter().any(|f| f.state.is_drift());
        let exit = match (drift, incomplete) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        };
        let changes = findings.iter().filter_map(|f| changes.get(&f.id).cloned()).collect();
        let summary = self.summary(exit, incomplete, &counts);
        let timeline = &mut self.next.timeline;
        timeline.retain(|r| r.run_id != summary.run_id);
        timeline.push(summary);
        timeline.sort_by(|a, b| (a.at, &a.run_id).cmp(&(b.at, &b.run_id)));
        let old = timeline.len().saturating_sub(MAX_TIMELINE);
        timeline.drain(..old);
        let verdict = Verdict {
            version: VERSION,
            minor: MINOR,
            run_id: self.run.run_id.to_owned(),
            judged_at: self.now,
            exit,
            incomplete,
            incomplete_because: Vec::new(),
            suspect,
            coverage: Coverage {
                freshness: self.freshness.take(),
                gaps,
                ..self.run.totals.clone()
            },
            counts,
            run: self.run.facts.clone(),
            baseline_digest: self.baseline.digest().to_owned(),
            findings,
            changes,
            digest_due,
            timeline: self.next.timeline.clone(),
            maps,
            sites: self.sites,
            site_changes: self.site_changes,
            site_notices: self.site_notices,
        };
        self.next.updated_at = Some(self.next.updated_at.map_or(self.now, |t| t.max(self.now)));
        self.next.last_run = Some(self.run.run_id.to_owned());
        (verdict, self.next)
    }
}

/// Whether every run that is judged here was judged before, alone or with others.
fn was_judged(run: &RunInput<'_>, previous: &State) -> bool {
    let from_here = previous.timeline.iter().filter(|r| r.vantage == run.vantage);
    let known: HashSet<&str> = from_here.flat_map(|r| r.run_id.split('+')).collect();
    run.run_id.split('+').all(|id| known.contains(id))
}

/// What a run knows of something that it did not see.
enum Evidence {
    /// Covered, and not there.
    Gone(&'static str),
    /// Covered, and no answer.
    Silent,
    /// Not covered.
    Unknown(&'static str),
    /// In another part of the plan, and fresh; or seen by another run after this one began.
    Elsewhere,
}
