//! Ports that must be open.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::gap::Gap;
use mimawari_probes::observation::CellState;
use mimawari_targets::{Cell, Port};

use super::rules::EndedRequirement;
use super::{LifeDecision, RunJudge, Sighting};
use crate::baseline::RuleHead;
use crate::subject::Subject;
use crate::verdict::{Finding, FindingKind, FindingState};

pub(super) const KIND: FindingKind = FindingKind::MissingRequired;

impl RunJudge<'_> {
    /// Cells of `must` rules.
    pub(super) fn required(&mut self) {
        let mut unplanned = 0u64;
        let mut cells: BTreeMap<Cell, &RuleHead> = BTreeMap::new();
        let rules = self.baseline.required(self.run.vantage, self.now);
        for rule in rules.filter(|r| r.requires_each_cell()) {
            for ip in rule.head.addrs.iter() {
                for port in rule.tcp.iter() {
                    cells.entry(Cell::tcp(ip, port)).or_insert(&rule.head);
                }
            }
        }
        for (cell, head) in cells {
            if !self.run.coverage.in_scope(cell.ip) {
                continue;
            }
            let subject = Subject::Port(cell);
            let id = subject.id_as(KIND, self.run.vantage).to_string();
            let state = self.cell(cell.ip, cell.port);
            if state == CellState::NotProbed {
                let seen = self.next.findings.get(&id).map(|t| t.finding.last_seen);
                let seen = seen.unwrap_or(Timestamp::MIN);
                unplanned += u64::from(!self.fresh_elsewhere(cell.ip, cell.port, seen));
            }
            let sighting = self.sight_required(&id, cell, state);
            match sighting {
                Sighting::Gone(_) if !self.next.findings.contains_key(&id) => {
                    let missed = self.gone_alone && self.missed_again.contains(&cell);
                    let believed = !self.suspect() || missed;
                    let at = self.ended_at();
                    // A run that is not believed begins nothing.
                    if believed {
                        let decision = LifeDecision::Required(head, None);
                        self.apply_or_begin(&subject, KIND, at, sighting, &decision);
                    }
                }
                sighting => self.apply(&id, sighting, &LifeDecision::Required(head, None)),
            }
            self.done.insert(id);
        }
        if unplanned > 0 {
            self.notes.push(Gap::RequiredNotCovered { cells: unplanned });
        }
    }

    /// What this run saw of a required cell.
    fn sight_required(&self, id: &str, cell: Cell, state: CellState) -> Sighting {
        let seen = self.next.findings.get(id).map(|t| t.finding.last_seen);
        match state {
            // A run that is not to be believed settles nothing, not even for the better.
            CellState::Open if self.suspect() => Sighting::Elsewhere,
            // Another run missed it after this one saw it.
            CellState::Open if self.missed_since(id, cell.ip, cell.port) => Sighting::Elsewhere,
            CellState::Open => Sighting::There { at: self.now, confirmed: true, service: None },
            CellState::NotProbed
                if seen.is_some_and(|at| self.fresh_elsewhere(cell.ip, cell.port, at)) =>
            {
                Sighting::Elsewhere
            }
            CellState::NotProbed => Sighting::Unknown("this run did not cover it"),
            // Another run saw it open after this one began.
            _ if self.seen_allowed_since(cell) => Sighting::Elsewhere,
            _ => Sighting::Gone("it was covered and not open"),
        }
    }

    /// A required cell's finding that no live rule requires any more.
    pub(super) fn no_longer_required(&mut self, id: &str, f: &Finding) {
        let here = f.vantage == self.run.vantage;
        // The scope of one configuration does not speak for another vantage that is in use.
        if here && !self.is_in_scope(f) {
            let why = "its address left the scope, and it was not seen open again";
            return self.apply(id, Sighting::OutOfScope(why), &LifeDecision::None);
        }
        let missing = matches!(f.state, FindingState::Missing | FindingState::MissingUnverified);
        let sighting = match self.expired_requirement(&f.subject()) {
            Some(_) if !here => return,
            Some(ended) if missing => Some((self.sight_ended(id, f, &ended), ended.head)),
            _ => None,
        };
        match sighting {
            Some((sighting, head)) => {
                self.apply(id, sighting, &LifeDecision::RequirementExpired(head));
            }
            None => self.apply(id, Sighting::Elsewhere, &LifeDecision::NotRequired),
        }
    }

    /// What this run saw of what an expired rule required.
    fn sight_ended(&self, id: &str, f: &Finding, ended: &EndedRequirement<'_>) -> Sighting {
        match (f.cell(), &ended.pool) {
            (Some(cell), _) => self.sight_required(id, cell, self.cell(cell.ip, cell.port)),
            (None, Some(pool)) => self.sight_pool(id, pool).0,
            (None, None) => Sighting::Unknown("this run did not cover it"),
        }
    }

    /// When the run ended, or the best that is known of it.
    pub(super) fn ended_at(&self) -> Timestamp {
        let facts = &self.run.facts;
        facts.ended_at.or(facts.started_at).unwrap_or(self.now)
    }

    /// Whether another run missed the cell after this one saw it open.
    fn missed_since(&self, id: &str, ip: IpAddr, port: Port) -> bool {
        self.opened_at(ip, port).is_some_and(|at| self.is_missed_after(id, at))
    }

    /// When this run saw a cell open.
    pub(super) fn opened_at(&self, ip: IpAddr, port: Port) -> Option<Timestamp> {
        let seen = self.open.binary_search_by_key(&(ip, port), |t| (t.ip, t.port));
        seen.ok().and_then(|i| self.open.get(i)).map(|t| t.at)
    }

    /// Whether another run missed what is required after this instant.
    pub(super) fn is_missed_after(&self, id: &str, at: Timestamp) -> bool {
        self.next.findings.get(id).map(|t| &t.finding).is_some_and(|f| {
            let settled = matches!(
                f.state,
                FindingState::Resolved | FindingState::Allowed | FindingState::NotRequired
            );
            !settled && at < f.last_seen && f.last_seen <= self.now
        })
    }

    pub(super) fn seen_allowed_since(&self, cell: Cell) -> bool {
        let id = Subject::Port(cell).id(self.run.vantage);
        let seen = self.next.allowed.get(&id).map(|a| a.last_seen);
        seen.is_some_and(|at| self.seen_since(at))
    }
}
