//! Pools of addresses on some of which a port must be open: a service that moves among them.
//!
//! An address that the run did not cover may be the one where the service is. So too little of a pool is
//! open only if even the addresses of which nothing is known could not make up for it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::gap::Gap;
use mimawari_probes::observation::CellState;
use mimawari_targets::{Cell, Port};

use super::life::PoolCount;
use super::required::KIND;
use super::{LifeDecision, RunJudge, Sighting};
use crate::baseline::RequiredPool;
use crate::subject::Subject;
use crate::verdict::Finding;

/// What a run knows of one address of a pool.
enum PoolMember {
    /// This run saw it open.
    Open(Timestamp),
    /// Another run did, lately or after this one began.
    OpenElsewhere,
    /// Covered, and not open.
    NotOpen,
    /// Not covered, or not believed. `planned`: whether it is of this run's plan.
    Unknown { planned: bool },
}

impl RunJudge<'_> {
    /// Pools of `must` rules with `at_least`.
    pub(super) fn required_pools(&mut self) {
        let baseline = self.baseline;
        let mut pools: BTreeMap<Subject, RequiredPool<'_>> = BTreeMap::new();
        for rule in baseline.required(self.run.vantage, self.now) {
            for (subject, pool) in rule.required_pools() {
                // Of several rules about one pool the one that requires the most.
                let known = pools.entry(subject).or_insert(pool);
                if known.at_least < pool.at_least {
                    *known = pool;
                }
            }
        }
        for (subject, pool) in pools {
            let id = subject.id_as(KIND, self.run.vantage).to_string();
            let (sighting, count, planned) = self.sight_pool(&id, &pool);
            if matches!(sighting, Sighting::OutOfScope(_)) {
                // The rule may be for another configuration: what was missing is settled with the rest.
                continue;
            }
            if matches!(sighting, Sighting::Unknown(_)) {
                let rule = pool.head.id.clone();
                let PoolCount { at_least, open, unknown, of } = count;
                let port = pool.port.get();
                let gap = Gap::PoolUndecided { rule, port, at_least, open, unknown, of };
                // What another plan looks at is no gap of this one.
                match planned {
                    true => self.uncovered.push(gap),
                    false => self.notes.push(gap),
                }
            }
            let decision = LifeDecision::Required(pool.head, Some(count));
            match sighting {
                Sighting::Gone(_) if !self.next.findings.contains_key(&id) => {
                    let at = self.ended_at();
                    self.apply_or_begin(&subject, KIND, at, sighting, &decision);
                }
                sighting => self.apply(&id, sighting, &decision),
            }
            self.done.insert(id);
        }
    }

    /// What this run saw of a pool, the numbers, and whether all addresses that it does not know are of
    /// its plan.
    pub(super) fn sight_pool(
        &self,
        id: &str,
        pool: &RequiredPool<'_>,
    ) -> (Sighting, PoolCount, bool) {
        let (mut seen, mut elsewhere, mut unknown, mut planned) = (Vec::new(), 0u64, 0u64, true);
        let mut of = 0u64;
        for ip in pool.head.addrs.iter() {
            of += 1;
            match self.sight_member(ip, pool.port) {
                PoolMember::Open(at) => seen.push(at),
                PoolMember::OpenElsewhere => elsewhere += 1,
                PoolMember::NotOpen => {}
                PoolMember::Unknown { planned: is_planned } => {
                    unknown += 1;
                    planned &= is_planned;
                }
            }
        }
        let open = seen.len() as u64 + elsewhere;
        let count = PoolCount { at_least: pool.at_least, open, unknown, of };
        // The instant at which so many were open.
        seen.sort_unstable();
        let most = usize::try_from(pool.at_least).unwrap_or(usize::MAX);
        let at = seen.len().checked_sub(most).and_then(|i| seen.get(i)).copied();
        let in_scope = || pool.head.addrs.ranges().any(|r| self.is_range_in_scope(r));
        let sighting = match at {
            // A run that is not to be believed settles nothing, not even for the better.
            Some(at) if !self.suspect() && !self.is_missed_after(id, at) => {
                Sighting::There { at, confirmed: true, service: None }
            }
            _ if open >= pool.at_least => Sighting::Elsewhere,
            _ if open + unknown < pool.at_least => {
                Sighting::Gone("too few of its addresses are open")
            }
            _ if unknown == of && !in_scope() => {
                Sighting::OutOfScope("its addresses left the scope")
            }
            _ => Sighting::Unknown("this run did not cover enough of its addresses"),
        };
        (sighting, count, planned)
    }

    fn sight_member(&self, ip: IpAddr, port: Port) -> PoolMember {
        if !self.run.coverage.in_scope(ip) {
            return PoolMember::Unknown { planned: true };
        }
        let state = self.cell(ip, port);
        if state == CellState::Open {
            return match self.opened_at(ip, port) {
                Some(at) => PoolMember::Open(at),
                None => PoolMember::Unknown { planned: true },
            };
        }
        let cell = Cell::tcp(ip, port);
        let id = Subject::Port(cell).id(self.run.vantage);
        let known = self.next.allowed.get(&id).map(|a| a.last_seen);
        if known.is_some_and(|at| self.seen_since(at)) {
            return PoolMember::OpenElsewhere;
        }
        if state == CellState::NotProbed {
            // Looks at other parts of the plan are not of one time: a service that moved between them
            // was seen by none. What was open lately may be counted, and what was not open may not.
            let fresh = known.is_some_and(|at| self.fresh_elsewhere(ip, port, at));
            let planned = self.run.coverage.part_of(ip, port).is_some();
            return if fresh { PoolMember::OpenElsewhere } else { PoolMember::Unknown { planned } };
        }
        // In a run that is not to be believed since too much is gone, what the run before missed is
        // believed, and so is a refusal where nothing was known.
        let believed = !self.suspect()
            || self.gone_alone
                && (self.missed_again.contains(&cell)
                    || state == CellState::Closed && known.is_none());
        if believed { PoolMember::NotOpen } else { PoolMember::Unknown { planned: true } }
    }

    /// Whether the scope, as it is now, holds the address of a finding; of a pool any of its addresses.
    pub(super) fn is_in_scope(&self, f: &Finding) -> bool {
        match &f.pool {
            None => self.run.coverage.in_scope(f.ip),
            Some(pool) => pool.addresses.ranges().any(|r| self.is_range_in_scope(r)),
        }
    }

    fn is_range_in_scope(&self, range: mimawari_targets::AddrRange) -> bool {
        let set = mimawari_targets::AddrSet::from_ranges([range]);
        !set.intersect(self.run.scope.permitted()).is_empty()
    }
}
