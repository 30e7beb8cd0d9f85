//! Whether a run is to be believed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use mimawari_probes::gap::Gap;
use mimawari_probes::observation::CellState;
use mimawari_targets::Cell;

use super::RunJudge;
use crate::id::FindingId;
use crate::subject::Subject;
use crate::verdict::FindingState;

/// Known-open cells below which their being gone together proves nothing.
const MIN_KNOWN: usize = 5;
/// A run that loses more than one in so many of the known-open cells at once is not believed.
const GONE_SHARE: usize = 5;
/// Open ports of one host that refuse at once before it looks like a ban.
const MIN_REFUSED: usize = 2;

/// A cell that was open when last seen, and that this run covered.
struct KnownCell {
    cell: Cell,
    /// Whether the run before missed it in vain.
    missed: bool,
    now: CellState,
}

impl RunJudge<'_> {
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
        let known = self.known_open();
        self.refused_at_once(&known);
        self.gone_at_once(&known);
    }

    /// More than a fifth of what was open is gone: rather the path than the hosts. What newly answers
    /// elsewhere and what refuses prove that the path works, and one host alone is no path. If the
    /// next run that nothing else speaks against misses the same, it is believed about that, whatever
    /// else it misses: a rack that was taken out does not come back, and the round must go on.
    fn gone_at_once(&mut self, known: &[KnownCell]) {
        let again = self.again;
        let gone = |k: &&KnownCell| k.now != CellState::Open;
        if !again {
            let missed = known.iter().filter(gone).filter(|k| k.missed);
            self.missed_again = missed.map(|k| k.cell).collect();
        }
        // The same run again is no further evidence.
        let fresh = |k: &&KnownCell| gone(k) && (again || !k.missed);
        let refused = |k: &&KnownCell| k.now == CellState::Closed;
        let lost: Vec<&KnownCell> = known.iter().filter(fresh).filter(|k| !refused(k)).collect();
        let hosts: BTreeSet<IpAddr> = known.iter().filter(fresh).map(|k| k.cell.ip).collect();
        if known.len() < MIN_KNOWN || hosts.len() < 2 {
            return;
        }
        let known_cells: HashSet<Cell> = known.iter().map(|k| k.cell).collect();
        let opened = self.open.iter().filter(|o| !known_cells.contains(&Cell::tcp(o.ip, o.port)));
        let unexplained = lost.len().saturating_sub(opened.count());
        // Where nothing at all is open any more, something that refuses may stand before all of it.
        let all_refused = self.open.is_empty() && known.iter().filter(fresh).any(|k| refused(&k));
        let all = known.iter().filter(fresh).count();
        let too_many = |n: usize| n * GONE_SHARE > known.len();
        let suspicious = too_many(unexplained) || all_refused && too_many(all);
        if !suspicious {
            return;
        }
        self.gone_alone = self.suspect_because.is_empty();
        self.suspect_because.push(Gap::GoneAtOnce {
            gone: known.iter().filter(gone).count() as u64,
            of: known.len() as u64,
        });
        if self.gone_alone {
            let gone: HashSet<Cell> = known.iter().filter(gone).map(|k| k.cell).collect();
            self.remember_missed(&gone);
        }
    }

    /// Hosts all of whose known open ports refused in this run: one that bans a scanner by RST does
    /// that, so that a refusal proves no more than silence there.
    fn refused_at_once(&mut self, known: &[KnownCell]) {
        let open: HashSet<IpAddr> = self.open.iter().map(|o| o.ip).collect();
        let mut hosts: BTreeMap<IpAddr, Option<usize>> = BTreeMap::new();
        for k in known {
            let host = hosts.entry(k.cell.ip).or_insert(Some(0));
            *host = host.filter(|_| k.now == CellState::Closed).map(|n| n + 1);
        }
        let refused = |(ip, n): (IpAddr, Option<usize>)| {
            (n.is_some_and(|n| n >= MIN_REFUSED) && !open.contains(&ip)).then_some(ip)
        };
        self.refused_hosts = hosts.into_iter().filter_map(refused).collect();
    }

    /// The covered ones of the cells that were open when last seen from here before this run, whether
    /// the last run missed them, and what they answered now. In order.
    fn known_open(&self) -> Vec<KnownCell> {
        let here = self.next.findings.values().filter(|t| {
            t.finding.vantage == self.run.vantage && !self.seen_since(t.finding.last_seen)
        });
        let found: HashMap<Cell, bool> = here
            .filter_map(|t| {
                let f = &t.finding;
                let open = matches!(f.state, FindingState::Open | FindingState::Unverified);
                (open && f.kind.is_port()).then_some((f.cell()?, t.missed))
            })
            .collect();
        let allowed = self.next.allowed.values();
        let mut known: Vec<Cell> = allowed
            .filter(|a| !self.seen_since(a.last_seen))
            .filter_map(|a| match a.subject {
                Subject::Port(cell) => Some(cell),
                _ => None,
            })
            .collect();
        known.extend(found.keys());
        // In order, since there may be a million: neighbours are looked up close to each other.
        known.sort_unstable();
        known.dedup();
        known.into_iter().filter_map(|cell| self.known_cell(cell, &found)).collect()
    }

    fn known_cell(&self, cell: Cell, found: &HashMap<Cell, bool>) -> Option<KnownCell> {
        let now = self.answer(cell.ip, cell.port);
        if !now.is_covered() {
            return None;
        }
        // Nearly all are open still, and then it does not matter from where they were seen.
        if now == CellState::Open {
            return Some(KnownCell { cell, missed: false, now });
        }
        let missed = found.get(&cell).copied().or_else(|| {
            let id = Subject::Port(cell).id(self.run.vantage);
            let a = self.next.allowed.get(&id).filter(|a| !self.seen_since(a.last_seen))?;
            Some(a.missed)
        });
        Some(KnownCell { cell, missed: missed?, now })
    }

    fn remember_missed(&mut self, gone: &HashSet<Cell>) {
        let is_gone = |a: &crate::state::AllowedPort| match a.subject {
            Subject::Port(cell) | Subject::Server(cell, _) => gone.contains(&cell),
            _ => false,
        };
        let allowed = self.next.allowed.iter();
        let missed: Vec<FindingId> = allowed
            .filter(|(id, a)| is_gone(a) && self.is_seen_from_here(id, a))
            .map(|(id, _)| *id)
            .collect();
        for id in missed {
            if let Some(a) = self.next.allowed.get_mut(&id) {
                a.missed = true;
            }
        }
        let vantage = self.run.vantage;
        for t in self.next.findings.values_mut().filter(|t| t.finding.vantage == vantage) {
            if let Some(cell) = t.finding.cell().filter(|_| t.finding.state.is_drift()) {
                t.missed |= gone.contains(&cell);
            }
        }
    }
}
