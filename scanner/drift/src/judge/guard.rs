//! Whether a run is to be believed.

use std::collections::HashMap;
use std::net::IpAddr;

use mimawari_probes::gap::Gap;
use mimawari_probes::observation::CellState;
use mimawari_targets::Port;

use super::{Identity, Judge};
use crate::id::FindingId;
use crate::verdict::{FindingKind, FindingState};

/// Known-open cells below which their being gone together proves nothing.
const MIN_KNOWN: usize = 5;
/// A run that finds more than one in so many of the known-open cells gone at once is not believed.
const GONE_SHARE: usize = 5;

impl Judge<'_> {
    pub(super) fn guards(&mut self) {
        let t = &self.run.totals;
        if t.cells_covered > 0 && self.open.is_empty() && t.open + t.closed + t.prohibited == 0 {
            self.suspect_because.push(Gap::NothingAnswered);
        }
        let f = &self.run.facts;
        if f.canaries_answered < f.canaries_total {
            self.suspect_because.push(Gap::CanariesSilent {
                silent: f.canaries_total - f.canaries_answered,
                of: f.canaries_total,
            });
        }
        self.gone_at_once();
    }

    /// More than a fifth of what was open is gone: rather the path than the hosts. If the next run that
    /// nothing else speaks against finds the same gone, it is believed: a rack that was taken out
    /// does not come back, and the round must go on.
    fn gone_at_once(&mut self) {
        let covered = self.known_open();
        let gone = |missed_too: bool| {
            covered
                .iter()
                .filter(|(_, missed, s)| *s != CellState::Open && (missed_too || !missed))
                .count()
        };
        // The same run again is no second witness.
        let fresh = gone(self.again);
        if covered.len() < MIN_KNOWN || fresh * GONE_SHARE <= covered.len() {
            return;
        }
        let nothing_else = self.suspect_because.is_empty();
        self.suspect_because
            .push(Gap::GoneAtOnce { gone: gone(true) as u64, of: covered.len() as u64 });
        if nothing_else {
            let gone: Vec<(IpAddr, Port)> = covered
                .into_iter()
                .filter(|(.., s)| *s != CellState::Open)
                .map(|(cell, ..)| cell)
                .collect();
            self.remember_missed(&gone);
        }
    }

    /// The covered ones of the cells that were open when last seen from here before this run, whether
    /// the last run missed them, and what they are now. In order.
    fn known_open(&self) -> Vec<((IpAddr, Port), bool, CellState)> {
        let here = self.next.findings.values().filter(|t| {
            t.finding.vantage == self.run.vantage && !self.seen_since(t.finding.last_seen)
        });
        let found: HashMap<(IpAddr, Port), bool> = here
            .filter_map(|t| {
                let f = &t.finding;
                let open = matches!(f.state, FindingState::Open | FindingState::Unverified);
                let port_kind =
                    matches!(f.kind, FindingKind::UnexpectedOpen | FindingKind::ForbiddenOpen);
                (open && port_kind).then_some(((f.ip, f.port?), t.missed))
            })
            .collect();
        let allowed = self.next.allowed.values();
        let mut known: Vec<(IpAddr, Port)> = allowed
            .filter(|a| a.path().is_none() && !self.seen_since(a.last_seen))
            .map(|a| (a.ip, a.port))
            .collect();
        known.extend(found.keys());
        // In order, since there may be a million: neighbours are looked up close to each other.
        known.sort_unstable();
        known.dedup();
        known.into_iter().filter_map(|cell| self.known_cell(cell, &found)).collect()
    }

    fn known_cell(
        &self,
        (ip, port): (IpAddr, Port),
        found: &HashMap<(IpAddr, Port), bool>,
    ) -> Option<((IpAddr, Port), bool, CellState)> {
        let state = self.cell(ip, port);
        if !state.is_covered() {
            return None;
        }
        // Nearly all are open still, and then it does not matter from where they were seen.
        if state == CellState::Open {
            return Some(((ip, port), false, state));
        }
        let missed = found.get(&(ip, port)).copied().or_else(|| {
            let (kind, vantage) = (FindingKind::UnexpectedOpen, self.run.vantage);
            let here = Identity { kind, vantage, ip, port: Some(port), host: None, path: None };
            let a = self.next.allowed.get(&here.id()).filter(|a| !self.seen_since(a.last_seen))?;
            Some(a.missed)
        });
        Some(((ip, port), missed?, state))
    }

    fn remember_missed(&mut self, gone: &[(IpAddr, Port)]) {
        let is_gone = |ip, port| gone.binary_search(&(ip, port)).is_ok();
        let allowed = self.next.allowed.iter();
        let missed: Vec<FindingId> = allowed
            .filter(|(_, a)| a.path().is_none() && is_gone(a.ip, a.port))
            .filter(|(id, a)| self.is_seen_from_here(id, a))
            .map(|(id, _)| *id)
            .collect();
        for id in missed {
            if let Some(a) = self.next.allowed.get_mut(&id) {
                a.missed = true;
            }
        }
        let vantage = self.run.vantage;
        for t in self.next.findings.values_mut().filter(|t| t.finding.vantage == vantage) {
            if let Some(port) = t.finding.port.filter(|_| t.finding.state.is_drift()) {
                t.missed |= is_gone(t.finding.ip, port);
            }
        }
    }
}
