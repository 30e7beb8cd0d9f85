//! The judge: observations, coverage, baseline, previous state and the clock in; verdict and new
//! state out.
//!
//! What is not covered is never resolved. A run that is not to be believed (nothing answered, the
//! canaries are silent, too much is gone at once) resolves nothing at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::observation::{
    CellState, HttpObservation, Observation, Outcome, Severity, TcpObservation,
};
use mimawari_targets::{Port, PortSet, Protocol, Scope};
use sha2::{Digest, Sha256};

use crate::baseline::{Baseline, Head, Match};
use crate::freshness::{self, Freshness, Turn};
use crate::state::{Allowed, State, Tracked};
use crate::verdict::{
    Cause, Counts, Coverage, Finding, FindingKind, FindingState, RunFacts, VERSION, Verdict,
};

/// Covered runs in which a silent cell must be silent before its finding is resolved, and a required
/// cell not open before it is missing.
const RUNS_TO_SETTLE: u32 = 2;
/// A host that is open on more than half of its probed ports answers on everything; with fewer
/// probed ports than this, half of them is no proof.
const MIN_PORTS_FOR_SUSPECT: u32 = 10;
/// Known-open cells below which their being gone together proves nothing.
const MIN_KNOWN_FOR_GUARD: usize = 5;
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
    pub suspect_because: Vec<String>,
    /// Why the run is not whole.
    pub incomplete_because: Vec<String>,
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
    let mut j = Judge::new(run, baseline, previous, now);
    j.guards();
    j.ages();
    j.suspect_hosts();
    j.open_cells();
    j.contents();
    j.allowed_before();
    j.required();
    j.the_rest();
    j.finish()
}

/// What identifies a finding.
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
    fn id(&self) -> String {
        let port = self.port.map_or_else(|| "*".to_owned(), |p| p.to_string());
        let ip = self.ip.to_string();
        let mut parts = vec![self.kind.as_str(), self.vantage, &ip, "tcp", &port];
        if let Some(path) = self.path {
            parts.push(self.host.unwrap_or("-"));
            parts.push(path);
        }
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}

struct Judge<'a> {
    run: &'a RunInput<'a>,
    baseline: &'a Baseline,
    previous: &'a State,
    now: Timestamp,
    next: State,
    /// Open cells that this run saw.
    open: BTreeMap<(IpAddr, Port), &'a TcpObservation>,
    /// Outcomes of content checks; one for each target and path.
    http: BTreeMap<(IpAddr, Port, Option<&'a str>, &'a str), &'a HttpObservation>,
    suspect_because: Vec<String>,
    suspect_hosts: BTreeSet<IpAddr>,
    /// Findings that this run has already dealt with.
    done: BTreeSet<String>,
    /// Findings whose state this run changed to one that is settled; they are reported this once.
    settled: BTreeSet<String>,
    fresh: BTreeSet<String>,
    allowed_seen: BTreeSet<String>,
    unconfirmed: u64,
    allowed_count: u64,
    notes: Vec<String>,
    freshness: Option<Freshness>,
}

impl<'a> Judge<'a> {
    fn new(
        run: &'a RunInput<'a>,
        baseline: &'a Baseline,
        previous: &'a State,
        now: Timestamp,
    ) -> Self {
        let (mut open, mut http) = (BTreeMap::new(), BTreeMap::new());
        for o in run.observations {
            match o {
                Observation::Tcp(t) if t.state == CellState::Open => {
                    open.insert((t.ip, t.port), t);
                }
                Observation::Tcp(_) => {}
                Observation::Http(h) => {
                    http.insert((h.ip, h.port, h.host.as_deref(), h.path.as_str()), h);
                }
            }
        }
        Self {
            run,
            baseline,
            previous,
            now,
            next: previous.clone(),
            open,
            http,
            suspect_because: run.suspect_because.clone(),
            suspect_hosts: BTreeSet::new(),
            done: BTreeSet::new(),
            settled: BTreeSet::new(),
            fresh: BTreeSet::new(),
            allowed_seen: BTreeSet::new(),
            unconfirmed: 0,
            allowed_count: 0,
            notes: Vec::new(),
            freshness: None,
        }
    }

    fn suspect(&self) -> bool {
        !self.suspect_because.is_empty()
    }

    /// The state of a cell; one that was observed open is open, whatever the coverage could still
    /// write down.
    fn cell(&self, ip: IpAddr, port: Port) -> CellState {
        if self.open.contains_key(&(ip, port)) {
            CellState::Open
        } else {
            match self.run.coverage.cell(ip, port) {
                // Open without a record: the record was lost, so nothing is known.
                CellState::Open => CellState::NotProbed,
                state => state,
            }
        }
    }

    fn guards(&mut self) {
        let t = &self.run.totals;
        if t.cells_covered > 0 && self.open.is_empty() && t.open + t.closed + t.prohibited == 0 {
            self.suspect_because.push("Nothing answered at all.".to_owned());
        }
        let f = &self.run.facts;
        if f.canaries_answered < f.canaries_total {
            self.suspect_because.push(format!(
                "{} of {} canaries, known to be open, did not answer.",
                f.canaries_total - f.canaries_answered,
                f.canaries_total
            ));
        }
        let known: BTreeSet<(IpAddr, Port)> = self
            .previous
            .allowed
            .values()
            .filter(|a| a.path.is_none())
            .map(|a| (a.ip, a.port))
            .chain(self.previous.findings.values().filter_map(|t| {
                let open = matches!(t.finding.state, FindingState::Open | FindingState::Unverified);
                let port_kind = matches!(
                    t.finding.kind,
                    FindingKind::UnexpectedOpen | FindingKind::ForbiddenOpen
                );
                (open && port_kind).then_some((t.finding.ip, t.finding.port?))
            }))
            .collect();
        let covered: Vec<CellState> =
            known.iter().map(|(ip, p)| self.cell(*ip, *p)).filter(|s| s.is_covered()).collect();
        let gone = covered.iter().filter(|s| **s != CellState::Open).count();
        if covered.len() >= MIN_KNOWN_FOR_GUARD && gone * 5 > covered.len() {
            self.suspect_because.push(format!(
                "{gone} of {} cells that were open before are gone at once.",
                covered.len()
            ));
        }
    }

    /// Writes down what the run covered of its plan, and how old the rest is.
    fn ages(&mut self) {
        let Some(turn) = &self.run.turn else { return };
        let rotates = turn.parts > 1;
        if rotates && !self.previous.plans.contains_key(turn.plan) {
            self.notes.push(
                "This plan has not been run before: the ages of its parts start anew.".to_owned(),
            );
        }
        let believed = !self.suspect();
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

    /// Ports of a host that this run covered.
    fn covered_ports(&self, ip: IpAddr) -> u32 {
        self.run.ports.iter().filter(|p| self.cell(ip, *p).is_covered()).count() as u32
    }

    /// Hosts that answer on everything.
    fn suspect_hosts(&mut self) {
        // A part of the plan holds about its share of each host's ports.
        let planned = self.run.ports.len().div_ceil(self.parts());
        if planned < MIN_PORTS_FOR_SUSPECT {
            return;
        }
        let mut per_host: BTreeMap<IpAddr, (u32, Timestamp)> = BTreeMap::new();
        for ((ip, _), o) in &self.open {
            let e = per_host.entry(*ip).or_insert((0, o.at));
            *e = (e.0 + 1, e.1.max(o.at));
        }
        for (ip, (n, at)) in per_host {
            if n <= planned / 2 {
                continue;
            }
            let planned = if self.parts() > 1 { self.covered_ports(ip) } else { planned };
            if planned < MIN_PORTS_FOR_SUSPECT || n <= planned / 2 {
                continue;
            }
            self.suspect_hosts.insert(ip);
            let identity = Identity {
                kind: FindingKind::SuspectHost,
                vantage: self.run.vantage,
                ip,
                port: None,
                host: None,
                path: None,
            };
            let why = format!(
                "{ip} answers as open on {n} of {planned} probed ports: a middlebox or a tarpit, whose \
                 single ports say nothing"
            );
            self.seen(&identity, Cause::Unmatched, Severity::Medium, at, why, None);
        }
    }

    fn open_cells(&mut self) {
        let cells: Vec<_> = self.open.iter().map(|(k, o)| (*k, *o)).collect();
        for ((ip, port), o) in cells {
            if self.suspect_hosts.contains(&ip) || !self.run.coverage.in_scope(ip) {
                continue;
            }
            self.open_cell(ip, port, o);
        }
    }

    fn open_cell(&mut self, ip: IpAddr, port: Port, o: &TcpObservation) {
        let vantage = self.run.vantage;
        let identity =
            |kind| Identity { kind, vantage, ip, port: Some(port), host: None, path: None };
        let plain = identity(FindingKind::UnexpectedOpen);
        let id = plain.id();
        let forbidden = identity(FindingKind::ForbiddenOpen);
        let forbidden_id = forbidden.id();
        let active = |s: &Self, id: &str| {
            s.next.findings.get(id).is_some_and(|t| {
                matches!(
                    t.finding.state,
                    FindingState::Open
                        | FindingState::Unverified
                        | FindingState::Resolving
                        | FindingState::OutOfScope
                )
            })
        };
        let verdict = self.baseline.port(ip, Protocol::Tcp, port, self.now);
        if let Match::Allowed(head) = verdict {
            self.allowed_count += 1;
            self.allow(&id, head, ip, port, None, o.at);
            for id in [&id, &forbidden_id] {
                if active(self, id) {
                    self.now_allowed(id, head);
                }
            }
            return;
        }
        // An open finding keeps its identity when a `never` rule comes or goes: one alarm, not two.
        let known = active(self, &id) || active(self, &forbidden_id);
        if !o.confirmed && !known && !self.previous.allowed.contains_key(&id) {
            self.unconfirmed += 1;
            return;
        }
        let (cause, severity, why) = match verdict {
            Match::Forbidden(head) => (
                Cause::Forbidden,
                Severity::High,
                format!(
                    "tcp/{port} on {ip} is open, and the rule `{}` at {} forbids it",
                    head.id, head.place
                ),
            ),
            _ => {
                let (cause, why) =
                    self.unmatched(&id, &format!("tcp/{port} on {ip} is open"), ip, verdict);
                (cause, port_severity(port), why)
            }
        };
        let which =
            if active(self, &id) || (cause != Cause::Forbidden && !active(self, &forbidden_id)) {
                plain
            } else {
                forbidden
            };
        self.seen(&which, cause, severity, o.at, why, service_of(o));
    }

    /// Cause and sentence for something that no live rule allows.
    fn unmatched(&self, id: &str, what: &str, ip: IpAddr, found: Match<'_>) -> (Cause, String) {
        if let Match::Expired(head) = found {
            return (
                Cause::Expired,
                format!(
                    "{what}, and the rule `{}` at {} that allowed it has expired",
                    head.id, head.place
                ),
            );
        }
        if let Some(before) = self.previous.allowed.get(id) {
            return (
                Cause::Removed,
                format!("{what}, and the rule `{}` that allowed it no longer does", before.rule),
            );
        }
        // A finding that is open keeps the cause it was opened with.
        let cause = self
            .previous
            .findings
            .get(id)
            .filter(|t| t.finding.state.is_drift())
            .map_or(Cause::Unmatched, |t| t.finding.cause);
        let cause = if cause == Cause::Forbidden { Cause::Unmatched } else { cause };
        let near = self.baseline.nearest(ip).map_or_else(String::new, |r| {
            format!("; the nearest rule is `{}` at {}", r.head.id, r.head.place)
        });
        (cause, format!("{what}, and no rule of the baseline allows it{near}"))
    }

    fn contents(&mut self) {
        let exposed: Vec<&HttpObservation> =
            self.http.values().copied().filter(|h| h.outcome == Outcome::Exposed).collect();
        for h in exposed {
            if !self.run.coverage.in_scope(h.ip) {
                continue;
            }
            let identity = Identity {
                kind: FindingKind::ExposedContent,
                vantage: self.run.vantage,
                ip: h.ip,
                port: Some(h.port),
                host: h.host.as_deref(),
                path: Some(&h.path),
            };
            let id = identity.id();
            let found = self.baseline.content(h.ip, &h.check, &h.path, self.now);
            if let Match::Allowed(head) = found {
                self.allowed_count += 1;
                self.allow(&id, head, h.ip, h.port, Some(h), h.at);
                if self.next.findings.get(&id).is_some_and(|t| t.finding.state.is_drift()) {
                    self.now_allowed(&id, head);
                }
                continue;
            }
            let host = h.host.clone().unwrap_or_else(|| h.ip.to_string());
            let what = format!(
                "{}://{host}{}{} is readable by everyone ({})",
                h.scheme.as_str(),
                if h.port.get() == h.scheme.default_port() {
                    String::new()
                } else {
                    format!(":{}", h.port)
                },
                h.path,
                h.check
            );
            let (cause, why) = self.unmatched(&id, &what, h.ip, found);
            self.seen(&identity, cause, h.severity, h.at, why, None);
            if let Some(t) = self.next.findings.get_mut(&id) {
                t.finding.check = Some(h.check.clone());
                t.finding.evidence.clone_from(&h.evidence);
            }
        }
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
        let id = identity.id();
        let first = self.previous.allowed.get(&id).map_or(at, |a| a.first_seen.min(at));
        let owner = self.baseline.nearest(identity.ip).map(|r| r.head.owner.clone());
        let fresh = !self.next.findings.contains_key(&id);
        let t = self.next.findings.entry(id.clone()).or_insert_with(|| Tracked {
            finding: Finding {
                id: id.clone(),
                kind: identity.kind,
                vantage: identity.vantage.to_owned(),
                proto: Protocol::Tcp,
                ip: identity.ip,
                port: identity.port,
                host: identity.host.map(str::to_owned),
                path: identity.path.map(str::to_owned),
                check: None,
                state: FindingState::Open,
                cause,
                severity,
                first_seen: first,
                last_seen: at,
                new: true,
                reopened: 0,
                flapping: false,
                owner: None,
                allowed_by: None,
                why: String::new(),
                service: None,
                evidence: None,
            },
            silent_runs: 0,
            missed_runs: 0,
            covered_runs: 0,
            changes: Vec::new(),
        });
        t.covered_runs += 1;
        t.silent_runs = 0;
        let f = &mut t.finding;
        if f.state == FindingState::Resolved {
            f.reopened += 1;
            t.changes.push(t.covered_runs);
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
        self.next.allowed.remove(&id);
        self.done.insert(id);
    }

    /// Remembers what is there and allowed.
    fn allow(
        &mut self,
        id: &str,
        head: &Head,
        ip: IpAddr,
        port: Port,
        content: Option<&HttpObservation>,
        at: Timestamp,
    ) {
        self.allowed_seen.insert(id.to_owned());
        let known = self
            .previous
            .findings
            .get(id)
            .map(|t| t.finding.first_seen)
            .into_iter()
            .chain([at])
            .min()
            .unwrap_or(at);
        let a = self.next.allowed.entry(id.to_owned()).or_insert_with(|| Allowed {
            ip,
            port,
            host: content.and_then(|h| h.host.clone()),
            path: content.map(|h| h.path.clone()),
            check: content.map(|h| h.check.clone()),
            severity: content.map(|h| h.severity),
            rule: String::new(),
            first_seen: known,
            last_seen: at,
        });
        a.rule.clone_from(&head.id);
        a.last_seen = a.last_seen.max(at);
    }

    /// A finding that a live rule allows now.
    fn now_allowed(&mut self, id: &str, head: &Head) {
        let now = self.now;
        if let Some(t) = self.next.findings.get_mut(id) {
            t.silent_runs = 0;
            let f = &mut t.finding;
            f.state = FindingState::Allowed;
            f.allowed_by = Some(head.id.clone());
            f.owner = Some(head.owner.clone());
            f.new = false;
            f.why = format!("the rule `{}` at {} allows it: {}", head.id, head.place, head.reason);
            let _ = now;
            self.settled.insert(id.to_owned());
            self.done.insert(id.to_owned());
        }
    }

    /// What was allowed before and was not seen in this run: if its rule is gone, that is not
    /// forgotten only because nobody looked.
    fn allowed_before(&mut self) {
        let before: Vec<(String, Allowed)> = self
            .previous
            .allowed
            .iter()
            .filter(|(id, _)| !self.allowed_seen.contains(*id) && !self.done.contains(*id))
            .map(|(id, a)| (id.clone(), a.clone()))
            .collect();
        for (id, a) in before {
            let state = self.cell(a.ip, a.port);
            let gone = match (&a.path, state) {
                _ if self.suspect() || self.suspect_hosts.contains(&a.ip) => false,
                (None, s) => s.is_covered() && s != CellState::Open,
                (Some(path), CellState::Open) => self
                    .http
                    .get(&(a.ip, a.port, a.host.as_deref(), path.as_str()))
                    .is_some_and(|h| matches!(h.outcome, Outcome::Absent | Outcome::Protected)),
                (Some(_), s) => s == CellState::Closed,
            };
            if gone || !self.run.coverage.in_scope(a.ip) {
                self.next.allowed.remove(&id);
                continue;
            }
            let found = match &a.path {
                None => self.baseline.port(a.ip, Protocol::Tcp, a.port, self.now),
                Some(path) => self.baseline.content(
                    a.ip,
                    a.check.as_deref().unwrap_or_default(),
                    path,
                    self.now,
                ),
            };
            if let Match::Allowed(head) = found {
                if let Some(entry) = self.next.allowed.get_mut(&id) {
                    entry.rule.clone_from(&head.id);
                }
                continue;
            }
            let identity = Identity {
                kind: if a.path.is_some() {
                    FindingKind::ExposedContent
                } else {
                    FindingKind::UnexpectedOpen
                },
                vantage: self.run.vantage,
                ip: a.ip,
                port: Some(a.port),
                host: a.host.as_deref(),
                path: a.path.as_deref(),
            };
            let what = format!("tcp/{} on {} was open when last seen", a.port, a.ip);
            let (cause, severity, why) = match found {
                Match::Forbidden(head) => (
                    Cause::Forbidden,
                    Severity::High,
                    format!("{what}, and the rule `{}` at {} forbids it", head.id, head.place),
                ),
                _ => {
                    let (cause, why) = self.unmatched(&id, &what, a.ip, found);
                    (cause, a.severity.unwrap_or_else(|| port_severity(a.port)), why)
                }
            };
            self.seen(&identity, cause, severity, a.last_seen, why, None);
            if let Some(t) = self.next.findings.get_mut(&id) {
                // Nobody looked: it is drift, and not seen with own eyes.
                t.covered_runs = t.covered_runs.saturating_sub(1);
                t.finding.state = FindingState::Unverified;
                t.finding.check = a.check;
                t.finding.why.push_str("; this run did not cover it");
            }
        }
    }

    /// Cells of `must` rules.
    fn required(&mut self) {
        let mut unplanned = 0u64;
        let mut cells: BTreeMap<(IpAddr, Port), &Head> = BTreeMap::new();
        for rule in self.baseline.required(self.now) {
            for ip in rule.head.addrs.iter() {
                for port in rule.tcp.iter() {
                    cells.entry((ip, port)).or_insert(&rule.head);
                }
            }
        }
        for ((ip, port), head) in cells {
            let identity = Identity {
                kind: FindingKind::MissingRequired,
                vantage: self.run.vantage,
                ip,
                port: Some(port),
                host: None,
                path: None,
            };
            let id = identity.id();
            if !self.run.coverage.in_scope(ip) {
                continue;
            }
            let state = self.cell(ip, port);
            let was = self.next.findings.get(&id).map(|t| t.finding.state);
            match state {
                // A run that is not to be believed settles nothing, not even for the better.
                CellState::Open if self.suspect() => {}
                CellState::Open => self.required_is_there(&id, was),
                CellState::NotProbed => {
                    let seen = self.next.findings.get(&id).map(|t| t.finding.last_seen);
                    if !self.fresh_elsewhere(ip, port, seen.unwrap_or(Timestamp::MIN)) {
                        unplanned += 1;
                    }
                    self.required_not_covered(&id, was, head);
                }
                _ if self.suspect() => self.required_not_covered(&id, was, head),
                _ => self.required_is_gone(&identity, &id, head),
            }
            self.done.insert(id);
        }
        if unplanned > 0 {
            self.notes.push(format!(
                "{unplanned} cells that must be open were not covered by this run, and nothing is said of them."
            ));
        }
    }

    fn required_is_there(&mut self, id: &str, was: Option<FindingState>) {
        let Some(t) = self.next.findings.get_mut(id) else { return };
        t.missed_runs = 0;
        t.covered_runs += 1;
        match was {
            Some(FindingState::MissingPending) => {
                self.next.findings.remove(id);
            }
            Some(FindingState::Missing | FindingState::MissingUnverified) => {
                t.changes.push(t.covered_runs);
                t.finding.state = FindingState::Resolved;
                t.finding.new = false;
                t.finding.why = "it was seen open again".to_owned();
                self.settled.insert(id.to_owned());
            }
            _ => {}
        }
    }

    fn required_not_covered(&mut self, id: &str, was: Option<FindingState>, head: &Head) {
        let elsewhere =
            self.next.findings.get(id).map(|t| &t.finding).is_some_and(|f| {
                f.port.is_some_and(|p| self.fresh_elsewhere(f.ip, p, f.last_seen))
            });
        if let (Some(t), Some(FindingState::Missing | FindingState::MissingUnverified)) =
            (self.next.findings.get_mut(id), was)
        {
            t.finding.new = false;
            if elsewhere {
                return;
            }
            t.finding.state = FindingState::MissingUnverified;
            t.finding.why = format!(
                "required by `{}` at {}; missing when last looked at, and this run could not tell",
                head.id, head.place
            );
        }
    }

    fn required_is_gone(&mut self, identity: &Identity<'_>, id: &str, head: &Head) {
        let port = identity.port;
        let fresh =
            self.next.findings.get(id).is_none_or(|t| t.finding.state == FindingState::Resolved);
        let at = self.run.facts.ended_at.or(self.run.facts.started_at).unwrap_or(self.now);
        let shown = port.map_or_else(String::new, |p| format!("tcp/{p}"));
        let ip = identity.ip;
        let t = self.next.findings.entry(id.to_owned()).or_insert_with(|| Tracked {
            finding: Finding {
                id: id.to_owned(),
                kind: FindingKind::MissingRequired,
                vantage: identity.vantage.to_owned(),
                proto: Protocol::Tcp,
                ip,
                port,
                host: None,
                path: None,
                check: None,
                state: FindingState::MissingPending,
                cause: Cause::Required,
                severity: Severity::High,
                first_seen: at,
                last_seen: at,
                new: true,
                reopened: 0,
                flapping: false,
                owner: None,
                allowed_by: None,
                why: String::new(),
                service: None,
                evidence: None,
            },
            silent_runs: 0,
            missed_runs: 0,
            covered_runs: 0,
            changes: Vec::new(),
        });
        t.covered_runs += 1;
        t.missed_runs += 1;
        let f = &mut t.finding;
        if f.state == FindingState::Resolved {
            f.reopened += 1;
            t.changes.push(t.covered_runs);
            t.missed_runs = 1;
        }
        f.last_seen = f.last_seen.max(at);
        f.owner = Some(head.owner.clone());
        f.cause = Cause::Required;
        let was_missing =
            matches!(f.state, FindingState::Missing | FindingState::MissingUnverified);
        if t.missed_runs >= RUNS_TO_SETTLE {
            f.new = !was_missing;
            f.state = FindingState::Missing;
            f.why = format!(
                "{shown} on {ip} must be open by the rule `{}` at {}, and was not in {} covered runs",
                head.id, head.place, t.missed_runs
            );
            if f.new {
                self.fresh.insert(id.to_owned());
            }
        } else {
            f.new = fresh;
            f.state = FindingState::MissingPending;
            f.why = format!(
                "{shown} on {ip} must be open by the rule `{}` at {}, and was not in this run; one more \
                 covered run decides",
                head.id, head.place
            );
        }
    }

    /// Every finding that nothing above has dealt with.
    fn the_rest(&mut self) {
        let ids: Vec<String> =
            self.next.findings.keys().filter(|id| !self.done.contains(*id)).cloned().collect();
        for id in ids {
            let Some(f) = self.next.findings.get(&id).map(|t| t.finding.clone()) else { continue };
            match f.state {
                FindingState::Resolved => {}
                FindingState::Allowed => self.was_allowed(&id, &f),
                FindingState::MissingPending
                | FindingState::Missing
                | FindingState::MissingUnverified => {
                    self.no_longer_required(&id, &f);
                }
                _ if !self.run.coverage.in_scope(f.ip) => {
                    let fresh = f.state != FindingState::OutOfScope;
                    self.set(&id, FindingState::OutOfScope, "its address left the scope; nobody looks at it any more, and it was not seen to be closed".to_owned());
                    if fresh {
                        self.settled.insert(id.clone());
                    }
                }
                _ => self.not_seen(&id, &f),
            }
        }
    }

    /// An allowed finding is settled; what it was found for is in the memory of allowed things.
    fn was_allowed(&mut self, id: &str, _f: &Finding) {
        if let Some(t) = self.next.findings.get_mut(id) {
            t.finding.new = false;
        }
    }

    fn no_longer_required(&mut self, id: &str, f: &Finding) {
        if !self.run.coverage.in_scope(f.ip) {
            self.set(id, FindingState::OutOfScope, "its address left the scope".to_owned());
        } else if f.state == FindingState::MissingPending {
            self.next.findings.remove(id);
        } else {
            self.set(id, FindingState::Allowed, "no live rule requires it any more".to_owned());
            self.settled.insert(id.to_owned());
        }
    }

    /// An open finding that was not seen in this run.
    fn not_seen(&mut self, id: &str, f: &Finding) {
        // A rule that was merged settles it, looked at or not.
        let found = match (f.kind, f.port, &f.path) {
            (FindingKind::ExposedContent, _, Some(path)) => {
                self.baseline.content(f.ip, f.check.as_deref().unwrap_or_default(), path, self.now)
            }
            (FindingKind::SuspectHost, ..) | (_, None, _) => Match::None,
            (_, Some(port), _) => self.baseline.port(f.ip, Protocol::Tcp, port, self.now),
        };
        if let Match::Allowed(head) = found {
            let head = head.clone();
            self.now_allowed(id, &head);
            if let Some(port) = f.port {
                self.next.allowed.insert(
                    id.to_owned(),
                    Allowed {
                        ip: f.ip,
                        port,
                        host: f.host.clone(),
                        path: f.path.clone(),
                        check: f.check.clone(),
                        severity: f.path.is_some().then_some(f.severity),
                        rule: head.id.clone(),
                        first_seen: f.first_seen,
                        last_seen: f.last_seen,
                    },
                );
            }
            return;
        }
        let evidence = self.what_is_known(f);
        let believed = !self.suspect() && !self.suspect_hosts.contains(&f.ip);
        match evidence {
            Evidence::Gone(why) if believed => self.resolve(id, why),
            Evidence::Silent if believed => self.silent(id),
            Evidence::Gone(_) | Evidence::Silent => {
                let why = if self.suspect() {
                    "it was not seen, and this run is not to be believed"
                } else {
                    "its host answers on everything, so that nothing is known of it"
                };
                self.set(id, FindingState::Unverified, why.to_owned());
            }
            Evidence::Unknown(why) => self.set(id, FindingState::Unverified, why.to_owned()),
            // As it stands: another run's part, covered lately enough.
            Evidence::Elsewhere => {
                if let Some(t) = self.next.findings.get_mut(id) {
                    t.finding.new = false;
                }
            }
        }
    }

    fn what_is_known(&self, f: &Finding) -> Evidence {
        let Some(port) = f.port else {
            // A host that no longer answers on everything: settled when most of it was looked at.
            let ports = self.run.ports.len().div_ceil(self.parts());
            let covered = self.covered_ports(f.ip);
            return if covered >= MIN_PORTS_FOR_SUSPECT && u64::from(covered) * 2 > u64::from(ports)
            {
                Evidence::Gone("it no longer answers on most of its ports")
            } else if self.parts() > 1 && self.freshness.as_ref().is_some_and(|f| f.stale == 0) {
                Evidence::Elsewhere
            } else {
                Evidence::Unknown("this run did not cover enough of the host")
            };
        };
        let cell = self.cell(f.ip, port);
        if let Some(path) = &f.path {
            let outcome =
                self.http.get(&(f.ip, port, f.host.as_deref(), path.as_str())).map(|h| h.outcome);
            match outcome {
                Some(Outcome::Absent) => return Evidence::Gone("the path no longer shows it"),
                Some(Outcome::Protected) => return Evidence::Gone("the path is protected now"),
                // The site says the same to everything: the file may be behind that, or not.
                Some(Outcome::CatchAll) => {
                    return Evidence::Unknown("the site now answers everything alike");
                }
                Some(_) => return Evidence::Unknown("the check got no usable answer"),
                None => {}
            }
            if cell == CellState::Open {
                return Evidence::Unknown("this run did not look at the path");
            }
        }
        match cell {
            CellState::Closed => Evidence::Gone("the port was seen closed"),
            CellState::Silent | CellState::Prohibited => Evidence::Silent,
            CellState::Open => Evidence::Unknown("the port was open, and not confirmed"),
            CellState::NotProbed if self.fresh_elsewhere(f.ip, port, f.last_seen) => {
                Evidence::Elsewhere
            }
            CellState::NotProbed => Evidence::Unknown("this run did not cover it"),
        }
    }

    fn silent(&mut self, id: &str) {
        let Some(t) = self.next.findings.get_mut(id) else { return };
        t.silent_runs += 1;
        t.covered_runs += 1;
        let n = t.silent_runs;
        if n >= RUNS_TO_SETTLE {
            t.covered_runs -= 1;
            self.resolve(id, "the port was silent in two covered runs");
        } else {
            self.set(
                id,
                FindingState::Resolving,
                "the port was silent in this run; one more covered run decides".to_owned(),
            );
        }
    }

    fn resolve(&mut self, id: &str, why: &str) {
        if let Some(t) = self.next.findings.get_mut(id) {
            t.covered_runs += 1;
            t.changes.push(t.covered_runs);
            t.silent_runs = 0;
        }
        self.set(id, FindingState::Resolved, why.to_owned());
        self.settled.insert(id.to_owned());
    }

    fn set(&mut self, id: &str, state: FindingState, why: String) {
        if let Some(t) = self.next.findings.get_mut(id) {
            t.finding.state = state;
            t.finding.new = false;
            t.finding.why = why;
        }
    }

    fn finish(mut self) -> (Verdict, State) {
        for t in self.next.findings.values_mut() {
            let n = t.covered_runs;
            t.changes.retain(|c| c + FLAP_WINDOW > n);
            let last = t.changes.last().copied().unwrap_or(0);
            if t.changes.len() >= FLAP_CHANGES {
                t.finding.flapping = true;
            } else if last + FLAP_QUIET <= n {
                t.finding.flapping = false;
            }
        }
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
            let listed = f.state.is_drift()
                || settled
                || matches!(f.state, FindingState::MissingPending | FindingState::OutOfScope);
            if listed {
                findings.push(f.clone());
            }
        }
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        let suspect = self.suspect();
        let mut incomplete_because = self.suspect_because.clone();
        incomplete_because.extend(self.run.incomplete_because.iter().cloned());
        incomplete_because.extend(self.freshness.as_ref().and_then(Freshness::complaint));
        let incomplete = !incomplete_because.is_empty();
        let drift = findings.iter().any(|f| f.state.is_drift());
        let exit = match (drift, incomplete) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        };
        let mut facts = self.run.facts.clone();
        facts.notes.append(&mut self.notes);
        let verdict = Verdict {
            version: VERSION,
            run_id: self.run.run_id.to_owned(),
            judged_at: self.now,
            exit,
            incomplete,
            incomplete_because,
            suspect,
            coverage: Coverage { freshness: self.freshness.take(), ..self.run.totals.clone() },
            counts,
            run: facts,
            baseline_digest: self.baseline.digest().to_owned(),
            findings,
        };
        self.next.updated_at = Some(self.next.updated_at.map_or(self.now, |t| t.max(self.now)));
        self.next.last_run = Some(self.run.run_id.to_owned());
        (verdict, self.next)
    }
}

/// What a run knows of something that it did not see.
enum Evidence {
    /// Covered, and not there.
    Gone(&'static str),
    /// Covered, and no answer.
    Silent,
    /// Not covered.
    Unknown(&'static str),
    /// In another part of the plan, and fresh.
    Elsewhere,
}

/// How bad an unexpected open port is: data and administration ports first.
fn port_severity(port: Port) -> Severity {
    const HIGH: &[u16] = &[
        22, 23, 111, 135, 139, 389, 445, 512, 513, 514, 623, 873, 1433, 1521, 2049, 2375, 2376,
        2379, 2380, 3306, 3389, 5432, 5601, 5672, 5900, 5984, 5985, 5986, 6379, 6443, 8006, 8086,
        9042, 9092, 9200, 9300, 10000, 10250, 11211, 15672, 27017, 50000,
    ];
    if HIGH.contains(&port.get()) { Severity::High } else { Severity::Medium }
}

fn service_of(o: &TcpObservation) -> Option<String> {
    let s = o.service.as_ref()?;
    let more = s
        .banner
        .clone()
        .or_else(|| s.http.as_ref().and_then(|h| h.title.clone().or_else(|| h.server.clone())));
    Some(match more {
        Some(more) => format!("{}: {more}", s.name),
        None => s.name.clone(),
    })
}
