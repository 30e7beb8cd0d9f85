//! Whether a run is to be believed.

use std::net::IpAddr;

use mimawari_probes::observation::CellState;
use mimawari_targets::Port;

use super::Judge;
use crate::verdict::{FindingKind, FindingState};

/// Known-open cells below which their being gone together proves nothing.
const MIN_KNOWN: usize = 5;
/// A run that finds more than one in so many of the known-open cells gone at once is not believed.
const GONE_SHARE: usize = 5;

impl Judge<'_> {
    pub(super) fn guards(&mut self) {
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
        self.gone_at_once();
    }

    /// More than a fifth of what was open is gone: rather the path than the hosts. If the next run that
    /// nothing else speaks against finds the same gone, it is believed: a rack that was taken out
    /// does not come back, and the round must go on.
    fn gone_at_once(&mut self) {
        let known = self.known_open();
        let covered: Vec<_> = known
            .into_iter()
            .map(|((ip, port), missed)| ((ip, port), missed, self.cell(ip, port)))
            .filter(|(.., state)| state.is_covered())
            .collect();
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
        self.suspect_because.push(format!(
            "{} of {} cells that were open before are gone at once.",
            gone(true),
            covered.len()
        ));
        if nothing_else {
            let gone: Vec<(IpAddr, Port)> = covered
                .into_iter()
                .filter(|(.., s)| *s != CellState::Open)
                .map(|(cell, ..)| cell)
                .collect();
            self.remember_missed(&gone);
        }
    }

    /// Cells that were open when last seen, and whether the last run missed them.
    fn known_open(&self) -> Vec<((IpAddr, Port), bool)> {
        let allowed = self.next.allowed.values();
        let mut known: Vec<((IpAddr, Port), bool)> =
            allowed.filter(|a| a.path().is_none()).map(|a| ((a.ip, a.port), a.missed)).collect();
        known.extend(self.next.findings.values().filter_map(|t| {
            let open = matches!(t.finding.state, FindingState::Open | FindingState::Unverified);
            let port_kind =
                matches!(t.finding.kind, FindingKind::UnexpectedOpen | FindingKind::ForbiddenOpen);
            (open && port_kind).then_some(((t.finding.ip, t.finding.port?), t.missed))
        }));
        // What both know of once.
        known.sort_unstable();
        known.dedup_by_key(|(cell, _)| *cell);
        known
    }

    fn remember_missed(&mut self, gone: &[(IpAddr, Port)]) {
        let is_gone = |ip, port| gone.binary_search(&(ip, port)).is_ok();
        for a in self.next.allowed.values_mut().filter(|a| a.path().is_none()) {
            a.missed |= is_gone(a.ip, a.port);
        }
        for t in self.next.findings.values_mut() {
            if let Some(port) = t.finding.port {
                t.missed |= is_gone(t.finding.ip, port);
            }
        }
    }
}
