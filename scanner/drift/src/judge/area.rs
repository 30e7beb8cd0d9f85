//! Where runs looked before, so that what is looked at for the first time can say so.

use mimawari_targets::{AddrRange, AddrSet, PortSet};

use super::RunJudge;
use crate::state::{LookedArea, VantageRecord};
use crate::subject::Subject;

/// Areas that are remembered of one vantage.
const MAX_AREAS: usize = 32;

/// What was looked at before from one vantage.
#[derive(Default)]
pub(super) struct LookedAt(Vec<(AddrSet, PortSet)>);

impl LookedAt {
    fn read(record: &VantageRecord) -> Self {
        let area = |a: &LookedArea| {
            let ranges: Result<Vec<AddrRange>, _> = a.addresses.iter().map(|r| r.parse()).collect();
            Some((AddrSet::from_ranges(ranges.ok()?), a.ports.parse().ok()?))
        };
        Self(record.looked_at.iter().filter_map(area).collect())
    }

    fn holds(&self, subject: &Subject) -> bool {
        let Some(cell) = subject.cell() else { return true };
        self.0.iter().any(|(addrs, ports)| addrs.contains(cell.ip) && ports.contains(cell.port))
    }
}

impl RunJudge<'_> {
    /// Learns where runs from this vantage looked before.
    pub(super) fn look_around(&mut self) {
        if let Some(record) = self.next.vantages.get(self.run.vantage) {
            self.looked_at = LookedAt::read(record);
        }
    }

    /// Whether no run before this one looked at a port. The first run of a state looks at everything
    /// for the first time, and says nothing of it.
    pub(super) fn is_first_look(&self, subject: &Subject) -> bool {
        if self.looked_at.0.is_empty() || self.looked_at.holds(subject) {
            return false;
        }
        let (Some(cell), Some(turn)) = (subject.cell(), &self.run.turn) else { return true };
        // A plan that is walked in parts is remembered as a whole when all of them were covered.
        let part = self.run.coverage.part_of(cell.ip, cell.port);
        let ages = self.next.plans.get(turn.plan);
        let covered = part.and_then(|p| ages?.parts.get(&p)?.covered);
        covered.is_none_or(|at| at >= turn.began)
    }

    /// Remembers that this run was, and where it looked if it covered all of its plan.
    pub(super) fn remember_area(&mut self) {
        let began = self.run.facts.started_at.unwrap_or(self.now);
        let covered = !self.suspect() && self.is_plan_covered();
        let record = self
            .next
            .vantages
            .entry(self.run.vantage.to_owned())
            .or_insert_with(|| VantageRecord { last_run: began, looked_at: Vec::new() });
        record.last_run =
            if record.last_run > self.now { began } else { record.last_run.max(began) };
        if !covered {
            return;
        }
        let (addresses, ports) = (self.run.addresses, self.run.ports);
        let within = |a: &AddrSet, p: &PortSet, b: &AddrSet, q: &PortSet| {
            a.subtract(b).is_empty() && super::rules::is_within(p, q)
        };
        let mut areas = LookedAt::read(record).0;
        if areas.iter().any(|(a, p)| within(addresses, ports, a, p)) {
            return;
        }
        areas.retain(|(a, p)| !within(a, p, addresses, ports));
        areas.push((addresses.clone(), ports.clone()));
        let more = areas.len().saturating_sub(MAX_AREAS);
        record.looked_at = areas
            .into_iter()
            .skip(more)
            .map(|(a, p)| LookedArea {
                addresses: a.ranges().map(|r| r.to_string()).collect(),
                ports: p.to_string(),
            })
            .collect();
    }

    fn is_plan_covered(&self) -> bool {
        let Some(turn) = &self.run.turn else { return true };
        let ages = self.next.plans.get(turn.plan);
        let covered = ages.map_or(0, |a| a.parts.values().filter(|p| p.covered.is_some()).count());
        if turn.parts > 1 { covered >= turn.parts as usize } else { turn.complete }
    }
}
