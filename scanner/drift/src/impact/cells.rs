//! Which cells a changed baseline newly allows: exact arithmetic over sets, and what a run knows of
//! them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::observation::CellState;
use mimawari_targets::{AddrRange, AddrSet, Cell, Port, PortSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::rules::RuleRef;
use super::sums::{AllowingRule, sum_impact};
use crate::baseline::{BaselineRule, RuleBook, RuleExpect};

/// Cells (address × protocol × port), divided by what the run knows of them. The parts add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CellSets {
    /// All of them. In JSON no more than 2^53 − 1, the greatest whole number that every reader keeps
    /// (RFC 8259, section 6).
    #[serde(serialize_with = "serialize_bounded")]
    #[schemars(with = "u64")]
    pub cells: u128,
    /// Seen open.
    pub open: u64,
    /// Covered, and refused by RST.
    pub closed: u64,
    /// Covered, and refused by ICMP.
    pub prohibited: u64,
    /// Covered, and no answer to any attempt.
    pub silent: u64,
    /// Not of the plan, or not covered by the run. In JSON bounded as `cells` is.
    #[serde(serialize_with = "serialize_bounded")]
    #[schemars(with = "u64")]
    pub never_observed: u128,
}

// Serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn serialize_bounded<S: Serializer>(n: &u128, s: S) -> Result<S::Ok, S::Error> {
    const MAX: u64 = (1 << 53) - 1;
    s.serialize_u64(u64::try_from(*n).map_or(MAX, |n| n.min(MAX)))
}

impl CellSets {
    fn saw(&mut self, state: CellState) {
        match state {
            CellState::Open => self.open += 1,
            CellState::Closed => self.closed += 1,
            CellState::Prohibited => self.prohibited += 1,
            CellState::Silent => self.silent += 1,
            CellState::NotProbed => return,
        }
        self.never_observed = self.never_observed.saturating_sub(1);
    }

    fn add(&mut self, n: u128) {
        self.cells = self.cells.saturating_add(n);
        self.never_observed = self.never_observed.saturating_add(n);
    }
}

/// What one rule newly allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleCells {
    /// The rule, as head has it.
    pub rule: RuleRef,
    /// Cells that it allows and no rule of base did.
    pub cells: CellSets,
}

/// The cells that head allows and base does not, at one instant and from one vantage point.
#[derive(Debug, Clone)]
pub struct NewlyAllowed {
    /// What base allows.
    base: AllowingRule,
    /// What the rules of head allow that are not the same in base.
    head: AllowingRule,
    total: CellSets,
    rules: Vec<RuleCells>,
}

impl NewlyAllowed {
    /// Finds them. A rule that is the same in base and head allows nothing new.
    #[must_use]
    pub fn between(base: &RuleBook, head: &RuleBook, vantage: &str, now: Timestamp) -> Self {
        let allows = |r: &&BaselineRule| {
            r.expect != RuleExpect::Never && r.head.is_live(now) && r.head.is_for(vantage)
        };
        let base: Vec<&BaselineRule> = base.rules().iter().filter(allows).collect();
        let known: BTreeMap<&str, &BaselineRule> =
            base.iter().map(|r| (r.head.id.as_str(), *r)).collect();
        let same = |r: &&BaselineRule| {
            known
                .get(r.head.id.as_str())
                .is_some_and(|b| b.head.addrs == r.head.addrs && b.tcp == r.tcp && b.udp == r.udp)
        };
        let head: Vec<&BaselineRule> =
            head.rules().iter().filter(allows).filter(|r| !same(r)).collect();
        let (base_rules, head_rules) = (AllowingRule::of(&base), AllowingRule::of(&head));
        let sums = sum_impact(&base_rules, &head_rules, None);
        let mut total = CellSets::default();
        total.add(sums.total);
        let rules = head.iter().zip(sums.each).map(|(r, n)| {
            let mut cells = CellSets::default();
            cells.add(n);
            RuleCells { rule: RuleRef::of(&r.head), cells }
        });
        let rules = rules.collect();
        Self { base: base_rules, head: head_rules, total, rules }
    }

    /// How many of them a plan of TCP cells has.
    #[must_use]
    pub fn planned(&self, addrs: &AddrSet, ports: &PortSet) -> u128 {
        sum_impact(&self.base, &self.head, Some((addrs, ports))).total
    }

    /// Those that a plan of TCP cells has, each once.
    pub fn planned_cells<'a>(
        &'a self,
        addrs: &'a AddrSet,
        ports: &'a PortSet,
    ) -> impl Iterator<Item = (IpAddr, Port)> + 'a {
        self.head.rules.iter().enumerate().flat_map(move |(i, (set, tcp, _))| {
            let ports: Vec<Port> = meet(tcp, ports).iter().collect();
            let addrs = if ports.is_empty() { AddrSet::default() } else { set.intersect(addrs) };
            let ips: Vec<AddrRange> = addrs.ranges().collect();
            let ips =
                ips.into_iter().flat_map(|r| AddrIter { next: Some(r.first()), last: r.last() });
            let cells = ips.flat_map(move |ip| ports.clone().into_iter().map(move |p| (ip, p)));
            // The first rule that newly allows a cell names it.
            cells.filter(move |(ip, p)| {
                let cell = Cell::tcp(*ip, *p);
                self.head.at(cell).min() == Some(i) && self.base.at(cell).next().is_none()
            })
        })
    }

    /// Takes note of what the run knows of a TCP cell. To be called once for each; one that is not
    /// newly allowed is passed over.
    pub fn saw(&mut self, ip: IpAddr, port: Port, state: CellState) {
        let cell = Cell::tcp(ip, port);
        let mut of = self.head.at(cell).peekable();
        if of.peek().is_none() || self.base.at(cell).next().is_some() {
            return;
        }
        self.total.saw(state);
        for i in of {
            self.rules[i].cells.saw(state);
        }
    }

    /// All of them together; a cell that two rules newly allow counts once.
    #[must_use]
    pub const fn total(&self) -> CellSets {
        self.total
    }

    /// The rules that newly allow something, those with the most cells first.
    #[must_use]
    pub fn into_rules(self) -> Vec<RuleCells> {
        let mut rules: Vec<_> = self.rules.into_iter().filter(|r| r.cells.cells > 0).collect();
        rules.sort_by(|a, b| {
            b.cells.cells.cmp(&a.cells.cells).then_with(|| a.rule.id.cmp(&b.rule.id))
        });
        rules
    }
}

/// The addresses of a range, in order.
struct AddrIter {
    next: Option<IpAddr>,
    last: IpAddr,
}

impl Iterator for AddrIter {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        let ip = self.next?;
        self.next = if ip == self.last {
            None
        } else {
            Some(from_address_bits(to_address_bits(ip) + 1, ip.is_ipv6()))
        };
        Some(ip)
    }
}

pub(super) const fn to_address_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(a) => a.to_bits() as u128,
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn from_address_bits(bits: u128, v6: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(low) if !v6 => IpAddr::V4(low.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

/// The ports of `a` that are not in `b`.
pub(super) fn subtract_ports(a: &PortSet, b: &PortSet) -> PortSet {
    let mut out = Vec::new();
    for (first, last) in a.ranges() {
        let mut from = u32::from(*first);
        let next = b.ranges().partition_point(|(_, end)| end < first);
        for (x, y) in b.ranges()[next..].iter().take_while(|(x, _)| x <= last) {
            if u32::from(*x) > from {
                out.push((from as u16, x - 1));
            }
            from = u32::from(*y) + 1;
        }
        if from <= u32::from(*last) {
            out.push((from as u16, *last));
        }
    }
    PortSet::from_ranges(out)
}

/// The ports that are in both.
pub(super) fn meet(a: &PortSet, b: &PortSet) -> PortSet {
    let mut out = Vec::new();
    for (first, last) in a.ranges() {
        let next = b.ranges().partition_point(|(_, end)| end < first);
        let shared = b.ranges()[next..].iter().take_while(|(x, _)| x <= last);
        out.extend(shared.map(|(x, y)| (*x.max(first), *y.min(last))));
    }
    PortSet::from_ranges(out)
}
