//! Ports that must be open.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::gap::Gap;
use mimawari_probes::observation::{CellState, Severity};
use mimawari_targets::Port;

use super::{Identity, Judge, RUNS_TO_SETTLE};
use crate::baseline::Head;
use crate::verdict::{Cause, Finding, FindingKind, FindingState};

impl Judge<'_> {
    /// Cells of `must` rules.
    pub(super) fn required(&mut self) {
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
            let id = identity.id().to_string();
            if !self.run.coverage.in_scope(ip) {
                continue;
            }
            let state = self.cell(ip, port);
            let was = self.next.findings.get(&id).map(|t| t.finding.state);
            match state {
                // A run that is not to be believed settles nothing, not even for the better.
                CellState::Open if self.suspect() => {}
                // Another run missed it after this one saw it.
                CellState::Open if self.missed_since(&id, ip, port) => {}
                CellState::Open => self.required_is_there(&id, was),
                CellState::NotProbed => {
                    let seen = self.next.findings.get(&id).map(|t| t.finding.last_seen);
                    if !self.fresh_elsewhere(ip, port, seen.unwrap_or(Timestamp::MIN)) {
                        unplanned += 1;
                    }
                    self.required_not_covered(&id, was, head);
                }
                // Another run saw it open after this one began.
                _ if self.seen_allowed_since(ip, port) => {}
                _ if self.suspect() => self.required_not_covered(&id, was, head),
                _ => self.required_is_gone(&identity, &id, head),
            }
            self.done.insert(id);
        }
        if unplanned > 0 {
            self.notes.push(Gap::RequiredNotCovered { cells: unplanned });
        }
    }

    pub(super) fn required_is_there(&mut self, id: &str, was: Option<FindingState>) {
        let Some(t) = self.next.findings.get_mut(id) else { return };
        t.missed_runs = 0;
        t.covered_runs += u64::from(!self.again);
        match was {
            Some(FindingState::MissingPending) => self.not_missing_after_all(id),
            Some(
                FindingState::Missing | FindingState::MissingUnverified | FindingState::OutOfScope,
            ) => {
                t.changes.push(t.covered_runs);
                t.finding.state = FindingState::Resolved;
                t.finding.new = false;
                t.finding.why = "it was seen open again".to_owned();
                self.settled.insert(id.to_owned());
            }
            _ => {}
        }
    }

    pub(super) fn required_not_covered(
        &mut self,
        id: &str,
        was: Option<FindingState>,
        head: &Head,
    ) {
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

    pub(super) fn required_is_gone(&mut self, identity: &Identity<'_>, id: &str, head: &Head) {
        let port = identity.port;
        let fresh =
            self.next.findings.get(id).is_none_or(|t| t.finding.state == FindingState::Resolved);
        let at = self.run.facts.ended_at.or(self.run.facts.started_at).unwrap_or(self.now);
        let shown = port.map_or_else(String::new, |p| format!("tcp/{p}"));
        let ip = identity.ip;
        let (pending, cause) = (FindingState::MissingPending, Cause::Required);
        let begun = || identity.begun(pending, cause, Severity::High, at, at);
        let t = self.next.findings.entry(id.to_owned()).or_insert_with(begun);
        if !self.again || t.missed_runs == 0 {
            t.covered_runs += 1;
            t.missed_runs += 1;
        }
        let f = &mut t.finding;
        if f.state == FindingState::Resolved {
            f.reopened += 1;
            t.changes.push(t.covered_runs);
        }
        // What was missed before it was settled is no witness of this time.
        if matches!(
            f.state,
            FindingState::Resolved | FindingState::Allowed | FindingState::OutOfScope
        ) {
            t.missed_runs = 1;
            f.state = FindingState::MissingPending;
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

    /// It was missed once and not twice. What was never told is forgotten; anything else keeps its
    /// history, and with it the count that makes the keys of its changes differ.
    fn not_missing_after_all(&mut self, id: &str) {
        if !self.is_told(id) {
            self.next.findings.remove(id);
            return;
        }
        if let Some(t) = self.next.findings.get_mut(id).filter(|_| !self.again) {
            t.changes.push(t.covered_runs);
        }
        self.set(id, FindingState::Resolved, "it was seen open again".to_owned());
    }

    /// Whether another run missed the cell after this one saw it open.
    fn missed_since(&self, id: &str, ip: IpAddr, port: Port) -> bool {
        let seen = self.open.binary_search_by_key(&(ip, port), |t| (t.ip, t.port));
        let seen = seen.ok().and_then(|i| self.open.get(i)).map(|t| t.at);
        self.next.findings.get(id).map(|t| &t.finding).is_some_and(|f| {
            let settled = matches!(f.state, FindingState::Resolved | FindingState::Allowed);
            !settled && seen.is_some_and(|at| at < f.last_seen && f.last_seen <= self.now)
        })
    }

    fn seen_allowed_since(&self, ip: IpAddr, port: Port) -> bool {
        let vantage = self.run.vantage;
        let kind = FindingKind::UnexpectedOpen;
        let id = Identity { kind, vantage, ip, port: Some(port), host: None, path: None }.id();
        let seen = self.next.allowed.get(&id).map(|a| a.last_seen);
        seen.is_some_and(|at| self.seen_since(at))
    }

    fn is_told(&self, id: &str) -> bool {
        self.next.findings.get(id).is_some_and(|t| t.told.is_some())
    }

    pub(super) fn no_longer_required(&mut self, id: &str, f: &Finding) {
        if !self.run.coverage.in_scope(f.ip) {
            self.left_the_scope(id, "its address left the scope");
        } else if f.state == FindingState::MissingPending && !self.is_told(id) {
            self.next.findings.remove(id);
        } else {
            self.set(id, FindingState::Allowed, "no live rule requires it any more".to_owned());
            if let Some(t) = self.next.findings.get_mut(id) {
                t.comes_to_rest();
            }
            self.settled.insert(id.to_owned());
        }
    }
}
