//! Which cells a changed baseline newly allows: exact arithmetic over sets, and what a run knows of
//! them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::observation::CellState;
use mimawari_targets::{AddrRange, AddrSet, Port, PortSet, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::rules::RuleRef;
use crate::baseline::{Baseline, Expect, Rule};

/// Cells (address × protocol × port), divided by what the run knows of them. The parts add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cells {
    /// All of them. In JSON no more than 2^53 − 1, the greatest whole number that every reader keeps
    /// (RFC 8259, section 6).
    #[serde(serialize_with = "bounded")]
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
    #[serde(serialize_with = "bounded")]
    #[schemars(with = "u64")]
    pub never_observed: u128,
}

// Serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn bounded<S: Serializer>(n: &u128, s: S) -> Result<S::Ok, S::Error> {
    const MAX: u64 = (1 << 53) - 1;
    s.serialize_u64(u64::try_from(*n).map_or(MAX, |n| n.min(MAX)))
}

impl Cells {
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
    pub cells: Cells,
}

/// Addresses with the same new ports of one protocol.
#[derive(Debug, Clone)]
struct Piece {
    range: AddrRange,
    proto: Protocol,
    /// What all rules newly allow together.
    all: PortSet,
    /// What each rule does, by its place in `rules`.
    each: Vec<(usize, PortSet)>,
}

/// The cells that head allows and base does not, at one instant.
#[derive(Debug, Clone)]
pub struct Newly {
    /// Sorted by protocol, then by address.
    pieces: Vec<Piece>,
    total: Cells,
    rules: Vec<RuleCells>,
}

impl Newly {
    /// Finds them. A rule that is the same in base and head allows nothing new.
    #[must_use]
    pub fn between(base: &Baseline, head: &Baseline, now: Timestamp) -> Self {
        let allows = |r: &&Rule| r.expect != Expect::Never && r.head.is_live(now);
        let base: Vec<&Rule> = base.rules().iter().filter(allows).collect();
        let known: BTreeMap<&str, &Rule> = base.iter().map(|r| (r.head.id.as_str(), *r)).collect();
        let same = |r: &&Rule| {
            known
                .get(r.head.id.as_str())
                .is_some_and(|b| b.head.addrs == r.head.addrs && b.tcp == r.tcp && b.udp == r.udp)
        };
        let head: Vec<&Rule> = head.rules().iter().filter(allows).filter(|r| !same(r)).collect();
        let mut pieces = Vec::new();
        for v6 in [false, true] {
            sweep(&base, &head, v6, &mut pieces);
        }
        pieces.sort_by_key(|p| (p.proto, p.range.first()));
        let mut total = Cells::default();
        let mut each = vec![Cells::default(); head.len()];
        for p in &pieces {
            let n = size(p.range);
            total.add(n.saturating_mul(p.all.len().into()));
            for (i, ports) in &p.each {
                each[*i].add(n.saturating_mul(ports.len().into()));
            }
        }
        let rules = head.iter().zip(each);
        let rules =
            rules.map(|(r, cells)| RuleCells { rule: RuleRef::of(&r.head), cells }).collect();
        Self { pieces, total, rules }
    }

    /// How many of them a plan of TCP cells has.
    #[must_use]
    pub fn planned(&self, addrs: &AddrSet, ports: &PortSet) -> u128 {
        self.in_plan(addrs, ports).fold(0, |n, (addrs, ports)| {
            n.saturating_add(addrs.len().saturating_mul(ports.len().into()))
        })
    }

    /// Those that a plan of TCP cells has, each once.
    pub fn planned_cells<'a>(
        &'a self,
        addrs: &'a AddrSet,
        ports: &'a PortSet,
    ) -> impl Iterator<Item = (IpAddr, Port)> + 'a {
        self.in_plan(addrs, ports).flat_map(|(addrs, ports)| {
            let ports: Vec<Port> = ports.iter().collect();
            let ips: Vec<AddrRange> = addrs.ranges().collect();
            let ips =
                ips.into_iter().flat_map(|r| AddrIter { next: Some(r.first()), last: r.last() });
            ips.flat_map(move |ip| ports.clone().into_iter().map(move |p| (ip, p)))
        })
    }

    fn in_plan<'a>(
        &'a self,
        addrs: &'a AddrSet,
        ports: &'a PortSet,
    ) -> impl Iterator<Item = (AddrSet, PortSet)> + 'a {
        self.pieces
            .iter()
            .filter(|p| p.proto == Protocol::Tcp)
            .map(|p| (addrs.intersect(&AddrSet::from_ranges([p.range])), meet(&p.all, ports)))
    }

    /// Takes note of what the run knows of a TCP cell. To be called once for each; one that is not
    /// newly allowed is passed over.
    pub fn saw(&mut self, ip: IpAddr, port: Port, state: CellState) {
        let i = self.pieces.partition_point(|p| p.proto == Protocol::Tcp && p.range.first() <= ip);
        let Some(piece) = i.checked_sub(1).and_then(|i| self.pieces.get(i)) else { return };
        if !piece.range.contains(ip) || !piece.all.contains(port) {
            return;
        }
        self.total.saw(state);
        for (i, _) in piece.each.iter().filter(|(_, ports)| ports.contains(port)) {
            self.rules[*i].cells.saw(state);
        }
    }

    /// All of them together; a cell that two rules newly allow counts once.
    #[must_use]
    pub const fn total(&self) -> Cells {
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
        self.next = if ip == self.last { None } else { Some(address(bits(ip) + 1, ip.is_ipv6())) };
        Some(ip)
    }
}

/// Cuts one family at every rule's ends and keeps the pieces in which head allows more than base.
fn sweep(base: &[&Rule], head: &[&Rule], v6: bool, out: &mut Vec<Piece>) {
    let all = || base.iter().chain(head).enumerate();
    // Opened at its first address, closed behind its last one.
    let mut events: Vec<(u128, bool, usize)> = Vec::new();
    for (i, rule) in all() {
        for r in rule.head.addrs.ranges().filter(|r| r.first().is_ipv6() == v6) {
            events.push((bits(r.first()), true, i));
            if let Some(behind) = bits(r.last()).checked_add(1) {
                events.push((behind, false, i));
            }
        }
    }
    events.sort_unstable();
    let top = if v6 { u128::MAX } else { u32::MAX.into() };
    // How many ranges of each rule are open; those of head stand apart.
    let mut open: [BTreeMap<usize, u32>; 2] = Default::default();
    let mut at = 0;
    while at < events.len() {
        let start = events[at].0;
        while at < events.len() && events[at].0 == start {
            let (_, opens, i) = events[at];
            let side = &mut open[usize::from(i >= base.len())];
            let n = side.entry(i).or_default();
            *n = if opens { *n + 1 } else { n.saturating_sub(1) };
            if *n == 0 {
                side.remove(&i);
            }
            at += 1;
        }
        if open[1].is_empty() {
            continue;
        }
        let last = events.get(at).map_or(top, |next| next.0 - 1);
        let Some(range) = AddrRange::new(address(start, v6), address(last, v6)) else { continue };
        for proto in [Protocol::Tcp, Protocol::Udp] {
            let before: PortSet = PortSet::from_ranges(
                open[0].keys().flat_map(|i| base[*i].ports(proto).ranges().iter().copied()),
            );
            let each: Vec<(usize, PortSet)> = open[1]
                .keys()
                .map(|i| i - base.len())
                .map(|i| (i, minus(head[i].ports(proto), &before)))
                .filter(|(_, ports)| !ports.is_empty())
                .collect();
            if !each.is_empty() {
                let all = each.iter().flat_map(|(_, ports)| ports.ranges().iter().copied());
                out.push(Piece { range, proto, all: PortSet::from_ranges(all), each });
            }
        }
    }
}

const fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(a) => a.to_bits() as u128,
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn address(bits: u128, v6: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(low) if !v6 => IpAddr::V4(low.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

/// Number of addresses, saturating.
fn size(range: AddrRange) -> u128 {
    (bits(range.last()) - bits(range.first())).saturating_add(1)
}

/// The ports of `a` that are not in `b`.
pub(super) fn minus(a: &PortSet, b: &PortSet) -> PortSet {
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
fn meet(a: &PortSet, b: &PortSet) -> PortSet {
    let mut out = Vec::new();
    for (first, last) in a.ranges() {
        let next = b.ranges().partition_point(|(_, end)| end < first);
        let shared = b.ranges()[next..].iter().take_while(|(x, _)| x <= last);
        out.extend(shared.map(|(x, y)| (*x.max(first), *y.min(last))));
    }
    PortSet::from_ranges(out)
}
