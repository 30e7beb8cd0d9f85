//! The judge: observations, coverage, baseline, previous state and the clock in; verdict and new
//! state out.
//!
//! What is not covered is never resolved. A run that is not to be believed (nothing answered, the
//! canaries are silent, too much is gone at once) resolves nothing at all.

mod absent;
mod area;
mod content;
mod guard;
mod host;
mod legacy;
mod life;
mod listing;
mod map;
mod memory;
mod notification;
mod pool;
mod port;
mod required;
mod retire;
mod rules;
mod service;
mod sites;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_probes::gap::{CoverageGap, Gap, GapEffect};
use mimawari_probes::observation::{
    CellState, HttpObservation, Observation, Severity, TcpObservation, UrlScheme, WebObservation,
};
use mimawari_targets::{AddrSet, Cell, Port, PortSet, Scope};

use self::area::LookedAt;
use self::host::RandomPorts;
use self::life::{DriftReason, Life, LifeDecision, Sighting, Transition, Trust};
use crate::baseline::{Baseline, RuleHead, RuleMatch};
use crate::freshness::{self, PartFreshness, RotationPart};
use crate::same_file::collect_same_files;
use crate::sites::{SiteChange, SiteCounts, SiteNotice};
use crate::state::{State, TrackedFinding};
use crate::subject::Subject;
use crate::verdict::{
    FindingCause, FindingCounts, FindingKind, FindingState, MAX_TIMELINE, MINOR, RunFacts,
    RunSummary, ServiceChange, VERSION, Verdict, VerdictCoverage,
};

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
    pub totals: VerdictCoverage,
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
    pub turn: Option<RotationPart<'a>>,
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
    let mut j = RunJudge::new(run, baseline, previous, now);
    j.match_open();
    j.guards();
    j.ages();
    j.look_around();
    j.suspect_hosts();
    j.open_cells();
    j.contents();
    j.legacy_tls();
    // Before what was not seen, which is compared with what is known of the sites.
    j.sites();
    j.allowed_before();
    j.required();
    j.required_pools();
    j.the_rest();
    j.finish()
}

/// A site of one run: where, by which scheme, and its virtual host.
type WebKey<'a> = (Cell, UrlScheme, Option<&'a str>);
/// A content of one run: where, of which virtual host, and its path.
type ContentKey<'a> = (Cell, Option<&'a str>, &'a str);

struct RunJudge<'a> {
    run: &'a RunInput<'a>,
    baseline: &'a Baseline,
    now: Timestamp,
    /// The state before, and with each step more of the state after.
    next: State,
    /// Whether this run was judged before: then it is no further evidence, and nothing is counted twice.
    again: bool,
    /// By rule, as the baseline numbers them: when something that it allows was seen.
    rule_seen: Vec<Option<Timestamp>>,
    /// Cells that there was ever a finding at.
    with_findings: HashSet<Cell>,
    /// The ids of rules, each held once.
    rules: HashMap<String, Arc<str>>,
    /// Open cells that this run saw, sorted by address and port.
    open: Vec<&'a TcpObservation>,
    /// What the baseline says of each of them.
    found: Vec<RuleMatch<'a>>,
    /// Outcomes of content checks; one for each target and path.
    http: BTreeMap<ContentKey<'a>, &'a HttpObservation>,
    /// What sites show of themselves.
    web: BTreeMap<WebKey<'a>, &'a WebObservation>,
    /// What hosts do on random ports.
    hosts: BTreeMap<IpAddr, RandomPorts>,
    suspect_because: Vec<Gap>,
    /// Whether nothing else speaks against the run than that too much is gone at once.
    gone_alone: bool,
    /// Cells that the run before missed, and this one misses again: believed whatever else is gone.
    missed_again: HashSet<Cell>,
    /// Hosts all of whose open ports refused at once: a ban looks like that.
    refused_hosts: HashSet<IpAddr>,
    suspect_hosts: BTreeSet<IpAddr>,
    /// Where runs from this vantage looked before.
    looked_at: LookedAt,
    /// The rules' heads by id.
    heads: HashMap<&'a str, &'a RuleHead>,
    service_changes: Vec<ServiceChange>,
    /// Required cells that this run missed for the first time.
    undecided: u64,
    /// Findings that this run has already dealt with.
    done: BTreeSet<String>,
    /// Findings whose state this run changed to one that is settled; they are reported this once.
    settled: BTreeSet<String>,
    fresh: BTreeSet<String>,
    unconfirmed: u64,
    allowed_count: u64,
    notes: Vec<Gap>,
    /// What is required and was not covered enough to say anything of it.
    uncovered: Vec<Gap>,
    freshness: Option<PartFreshness>,
    /// Endpoints of which the inventory says that they speak legacy TLS.
    legacy_sites: BTreeSet<Cell>,
    sites: SiteCounts,
    site_changes: Vec<SiteChange>,
    site_notices: Vec<SiteNotice>,
}

impl<'a> RunJudge<'a> {
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
                    let key = (Cell::tcp(h.ip, h.port), h.host.as_deref(), h.path.as_str());
                    let known: &mut &HttpObservation = http.entry(key).or_insert(h);
                    // Of two schemes on one port the worse news counts.
                    if known.scheme == h.scheme
                        || content::rank_observation(known) < content::rank_observation(h)
                    {
                        *known = h;
                    }
                }
                Observation::Host(h) => hosts.entry(h.ip).or_default().add(h),
                Observation::Web(w) => {
                    web.insert((Cell::tcp(w.ip, w.port), w.scheme, w.host.as_deref()), &**w);
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
            again: is_already_judged(run, &previous),
            with_findings: previous.findings.values().filter_map(|t| t.finding.cell()).collect(),
            next: previous,
            rules: HashMap::new(),
            rule_seen: vec![None; baseline.len()],
            open,
            found: Vec::new(),
            http,
            web,
            hosts,
            suspect_because: run.suspect_because.clone(),
            gone_alone: false,
            missed_again: HashSet::new(),
            refused_hosts: HashSet::new(),
            suspect_hosts: BTreeSet::new(),
            looked_at: LookedAt::default(),
            heads: baseline.heads(),
            service_changes: Vec::new(),
            undecided: 0,
            done: BTreeSet::new(),
            settled: BTreeSet::new(),
            fresh: BTreeSet::new(),
            unconfirmed: 0,
            allowed_count: 0,
            notes: Vec::new(),
            uncovered: Vec::new(),
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

    /// The state of a cell, for what depends on it: where all open ports of a host refused at once, a
    /// refusal proves no more than silence.
    fn cell(&self, ip: IpAddr, port: Port) -> CellState {
        match self.answer(ip, port) {
            CellState::Closed if self.refused_hosts.contains(&ip) => CellState::Silent,
            state => state,
        }
    }

    /// What a cell answered. One that was observed open is open, whatever the coverage could still
    /// write down.
    fn answer(&self, ip: IpAddr, port: Port) -> CellState {
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
        freshness::record_part(&mut self.next.plans, turn, believed);
        if rotates || turn.max_age.is_some() {
            self.freshness =
                Some(freshness::compute_freshness(self.next.plans.get(turn.plan), turn, self.now));
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

    /// Why something that no live rule allows is drift.
    fn reason(
        &self,
        subject: &Subject,
        what: &str,
        severity: Severity,
        found: RuleMatch<'_>,
    ) -> DriftReason {
        let ip = subject.ip();
        let nearest = self.baseline.nearest(ip);
        let owner = nearest.map(|r| r.head.owner.clone());
        if let RuleMatch::Forbidden(head) | RuleMatch::Expired(head) = found {
            let (cause, why) = match found {
                RuleMatch::Forbidden(_) => (FindingCause::Forbidden, "forbids it"),
                _ => (FindingCause::Expired, "that allowed it has expired"),
            };
            return DriftReason {
                cause,
                severity: if cause == FindingCause::Forbidden { Severity::High } else { severity },
                owner: Some(head.owner.clone()),
                rule: Some(head.id.clone()),
                why: format!("{what}, and the rule `{}` at {} {why}", head.id, head.place),
            };
        }
        let id = subject.id(self.run.vantage);
        if let Some(before) = self.next.allowed.get(&id) {
            let rule = &before.rule;
            // Who agreed to it answers for it still, as long as anything of the rule is there.
            let head = self.heads.get(rule.as_ref());
            return DriftReason {
                cause: FindingCause::Removed,
                severity,
                owner: head.map(|h| h.owner.clone()).or(owner),
                rule: Some(rule.as_ref().to_owned()),
                why: format!("{what}, and the rule `{rule}` that allowed it no longer does"),
            };
        }
        // A finding that is open keeps the cause it was opened with.
        let known = self.next.findings.get(id.as_str()).map(|t| &t.finding);
        let drift = known.filter(|f| f.state.is_drift() && f.cause != FindingCause::Forbidden);
        let first_look = known.is_none() && self.is_first_look(subject);
        let (cause, rule, owner) = match drift {
            Some(f) => (f.cause, f.rule.clone(), owner.or_else(|| f.owner.clone())),
            None if first_look => (FindingCause::FirstLook, None, owner),
            None => (FindingCause::Unmatched, None, owner),
        };
        let first = if cause == FindingCause::FirstLook {
            "; it is looked at for the first time"
        } else {
            ""
        };
        let near = nearest.map_or_else(String::new, |r| {
            format!("; the nearest rule is `{}` at {}", r.head.id, r.head.place)
        });
        let why = format!("{what}, and no rule of the baseline allows it{first}{near}");
        DriftReason { cause, severity, owner, rule, why }
    }

    /// How far the run is believed about a finding.
    fn trust(&self, t: &TrackedFinding) -> Trust {
        let f = &t.finding;
        let cell = f.cell();
        // What the run before missed is settled, whatever else is gone.
        let seen_missing = self.gone_alone
            && !self.again
            && (t.silent_runs > 0
                || t.missed_runs > 0
                || cell.is_some_and(|c| self.missed_again.contains(&c)));
        // The addresses of a pool are doubted one by one.
        let doubt = if self.suspect() && !seen_missing && f.pool.is_none() {
            Some("it was not seen, and this run is not to be believed")
        } else if self.suspect_hosts.contains(&f.ip) && !f.kind.is_requirement() {
            Some("its host answers on everything, so that nothing is known of it")
        } else {
            None
        };
        let began = self.run.facts.started_at;
        let ended = self.run.facts.ended_at.or(began).unwrap_or(self.now);
        Trust { doubt, again: self.again, began, ended }
    }

    /// Applies what was seen to a finding that exists; nothing happens to one that does not.
    fn apply(&mut self, id: &str, sighting: Sighting, decision: &LifeDecision<'_>) {
        let Some(trust) = self.next.findings.get(id).map(|t| self.trust(t)) else { return };
        let Some(t) = self.next.findings.get_mut(id) else { return };
        let transition = Life::new(t, false, trust).apply(sighting, decision);
        self.take(id, transition);
    }

    /// Applies what was seen to a finding, which is begun if it does not exist.
    fn apply_or_begin(
        &mut self,
        subject: &Subject,
        kind: FindingKind,
        first_seen: Timestamp,
        sighting: Sighting,
        decision: &LifeDecision<'_>,
    ) -> String {
        let vantage = self.run.vantage;
        let id = subject.id_as(kind, vantage).to_string();
        if self.next.findings.contains_key(&id) {
            self.apply(&id, sighting, decision);
            return id;
        }
        let mut t = life::begin_finding(subject, kind, vantage, first_seen);
        let trust = self.trust(&t);
        let transition = Life::new(&mut t, true, trust).apply(sighting, decision);
        self.next.findings.insert(id.clone(), t);
        self.take(&id, transition);
        id
    }

    /// Writes down what became of a finding.
    fn take(&mut self, id: &str, transition: Transition) {
        if transition.forgotten {
            self.next.findings.remove(id);
        }
        if transition.new {
            self.fresh.insert(id.to_owned());
        }
        if transition.settled {
            self.settled.insert(id.to_owned());
        }
        self.undecided += u64::from(transition.undecided);
        self.done.insert(id.to_owned());
    }

    /// Something that must not be there was seen. Returns the finding's id.
    fn seen(
        &mut self,
        subject: &Subject,
        kind: FindingKind,
        reason: DriftReason,
        sighting: Sighting,
    ) -> String {
        // What a `never` rule forbids may have been allowed before, as a plain port.
        let allowed = subject.id(self.run.vantage);
        let at = match &sighting {
            Sighting::There { at, .. } | Sighting::Remembered(at) => *at,
            _ => self.now,
        };
        let first = self.next.allowed.get(&allowed).map_or(at, |a| a.first_seen.min(at));
        let id = self.apply_or_begin(subject, kind, first, sighting, &LifeDecision::Drift(reason));
        self.next.allowed.remove(&allowed);
        id
    }

    /// Whether another run saw it gone after this was seen. An older run that is judged late brings
    /// nothing back that a newer one saw gone.
    fn gone_since(&self, id: &str, at: Timestamp) -> bool {
        self.next.findings.get(id).is_some_and(|t| {
            let later = t.resolved_by.is_some_and(|r| r > at && r <= self.now);
            t.finding.state == FindingState::Resolved && later
        })
    }

    /// Whether something was seen by another run after this one began, so that this run cannot say
    /// whether it is still there. A time in the future is a clock that was wrong, and proves nothing.
    fn seen_since(&self, at: Timestamp) -> bool {
        self.run.facts.started_at.is_some_and(|began| at > began && at <= self.now)
    }

    /// What the run was, for the timeline.
    fn summary(&self, exit: u8, incomplete: bool, counts: &FindingCounts) -> RunSummary {
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
        self.next.findings.values_mut().for_each(life::watch_flapping);
        let ended = self.acknowledged();
        self.nearest();
        self.rules_used();
        let changes = self.notify(&ended);
        let digest_due = self.digest_due();
        let mut counts = FindingCounts {
            allowed: self.allowed_count,
            unconfirmed: self.unconfirmed,
            undecided: self.undecided,
            new: self.fresh.len() as u64,
            ..FindingCounts::default()
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
                FindingState::OutOfScope if settled => counts.out_of_scope += 1,
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
                || f.state == FindingState::MissingPending;
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
        let stale = self.freshness.as_ref().and_then(PartFreshness::gap);
        gaps.extend(stale.map(Gap::doubted));
        gaps.extend(self.uncovered.drain(..).map(Gap::not_covered));
        gaps.extend(self.notes.drain(..).map(Gap::noted));
        let incomplete = gaps.iter().any(|g| g.effect != GapEffect::Noted);
        let drift = findings.iter().any(|f| f.state.is_drift());
        let exit = match (drift, incomplete) {
            (true, _) => 1,
            (false, true) => 3,
            // Something required is missing for the first time: neither drift nor clean.
            (false, false) if self.undecided > 0 => 3,
            (false, false) => 0,
        };
        let changes = findings.iter().filter_map(|f| changes.get(&f.id).cloned()).collect();
        let summary = self.summary(exit, incomplete, &counts);
        self.remember_area();
        let timeline = &mut self.next.timeline;
        timeline.retain(|r| r.run_id != summary.run_id);
        timeline.push(summary);
        timeline.sort_by(|a, b| (a.at, &a.run_id).cmp(&(b.at, &b.run_id)));
        let old = timeline.len().saturating_sub(MAX_TIMELINE);
        timeline.drain(..old);
        let same_files = collect_same_files(&findings);
        self.service_changes.sort_by_key(|c| (c.ip, c.proto, c.port));
        let (allowed, allowed_counts) = self.list_allowed();
        let verdict = Verdict {
            version: VERSION,
            minor: MINOR,
            run_id: self.run.run_id.to_owned(),
            judged_at: self.now,
            exit,
            incomplete,
            incomplete_because: Vec::new(),
            suspect,
            coverage: VerdictCoverage {
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
            service_changes: self.service_changes,
            allowed,
            allowed_counts,
            sites: self.sites,
            site_changes: self.site_changes,
            site_notices: self.site_notices,
            same_files,
        };
        // A newer program's fields are not kept, so that its number would not be true.
        self.next.minor = crate::state::MINOR;
        self.next.updated_at = Some(self.next.updated_at.map_or(self.now, |t| t.max(self.now)));
        self.next.last_run = Some(self.run.run_id.to_owned());
        (verdict, self.next)
    }
}

/// Whether every run that is judged here was judged before, alone or with others.
fn is_already_judged(run: &RunInput<'_>, previous: &State) -> bool {
    let from_here = previous.timeline.iter().filter(|r| r.vantage == run.vantage);
    let known: HashSet<&str> = from_here.flat_map(|r| r.run_id.split('+')).collect();
    run.run_id.split('+').all(|id| known.contains(id))
}
