//! How many cells head allows and base does not: one sweep over the addresses.
//!
//! What base and head allow at an address is kept in a tree over the ports, changed where rules begin and
//! end. The cells of one rule are added up only where something of base changes at its ports. So the work
//! and the memory grow with the ranges as they are written, not with rules × pieces of the address space.

use std::collections::BTreeSet;
use std::sync::Arc;

use mimawari_targets::{AddrSet, Cell, PortSet, Protocol};

use super::cells::{meet, to_address_bits};
use super::cover::PortCover;
use crate::baseline::index::{IndexedRule, KnownRanges, RuleIndex};
use crate::baseline::{BaselineRule, encode_point, join};

/// What some rules allow.
#[derive(Debug, Clone)]
pub(super) struct AllowingRule {
    /// Addresses, TCP and UDP ports.
    pub rules: Vec<(Arc<AddrSet>, PortSet, PortSet)>,
    index: RuleIndex,
}

impl AllowingRule {
    pub fn of(rules: &[&BaselineRule]) -> Self {
        let index = RuleIndex::new(rules.iter().map(|r| IndexedRule {
            addrs: &r.head.addrs,
            id: &r.head.id,
            ports: r.each_ports(),
            things: Vec::new(),
        }));
        let rules = rules
            .iter()
            .map(|r| (Arc::clone(&r.head.addrs), r.tcp.clone(), r.udp.clone()))
            .collect();
        Self { rules, index }
    }

    /// The rules that allow a cell.
    pub fn at(&self, cell: Cell) -> impl Iterator<Item = usize> + use<> {
        let mut all = Vec::new();
        for class in self.index.at(cell.ip) {
            class.at_port(cell.proto, cell.port, &mut |i| all.push(i as usize));
        }
        all.into_iter()
    }
}

/// Numbers of cells.
#[derive(Debug, Default)]
pub(super) struct ImpactSums {
    /// Of all rules together, each cell once.
    pub total: u128,
    /// Of each rule of head.
    pub each: Vec<u128>,
}

type CellStrips = Vec<(u32, u32)>;

/// Rules of both sides for the same addresses.
#[derive(Default)]
struct SumClass {
    /// Ports that base allows.
    base: CellStrips,
    /// Ports that head allows.
    head: CellStrips,
    /// The rules of head.
    rules: Vec<usize>,
}

/// A rule of head.
#[derive(Default)]
struct CellCount {
    strips: CellStrips,
    /// Cells so far.
    cells: u128,
    /// From where on they are still to be added, and how many they are at each address.
    since: u128,
    ports: u32,
}

impl CellCount {
    /// Adds what lies before an address.
    fn settle(&mut self, at: u128) {
        let n = (at - self.since).saturating_mul(self.ports.into());
        self.cells = self.cells.saturating_add(n);
        self.since = at;
    }

    fn look(&mut self, cover: &PortCover) {
        self.ports = self.strips.iter().map(|(a, b)| cover.without_base(*a, *b)).sum();
    }

    fn touches(&self, (first, last): (u32, u32)) -> bool {
        self.strips.iter().any(|(a, b)| *a <= last && first <= *b)
    }
}

/// Adds up. With a plan, only its addresses and TCP ports count.
pub(super) fn sum_impact(
    base: &AllowingRule,
    head: &AllowingRule,
    plan: Option<(&AddrSet, &PortSet)>,
) -> ImpactSums {
    if head.rules.is_empty() {
        return ImpactSums::default();
    }
    let mut known = KnownRanges::default();
    let mut classes: Vec<SumClass> = Vec::new();
    let mut class_of = |set: &Arc<AddrSet>, classes: &mut Vec<SumClass>| {
        let class = known.class_of(set);
        if class == classes.len() {
            classes.push(SumClass::default());
        }
        class
    };
    for (set, tcp, udp) in &base.rules {
        let class = class_of(set, &mut classes);
        classes[class].base.extend(list_cell_strips(tcp, udp, plan));
    }
    let mut counts: Vec<CellCount> = Vec::with_capacity(head.rules.len());
    for (set, tcp, udp) in &head.rules {
        let class = class_of(set, &mut classes);
        let strips = list_cell_strips(tcp, udp, plan);
        classes[class].head.extend(&strips);
        classes[class].rules.push(counts.len());
        counts.push(CellCount { strips, ..CellCount::default() });
    }
    for class in &mut classes {
        join(&mut class.base);
        join(&mut class.head);
    }
    let mut total = 0u128;
    for v6 in [false, true] {
        let mut events: Vec<(u128, bool, u32)> = Vec::new();
        for (class, set) in (0u32..).zip(&known.sets) {
            let of = &classes[class as usize];
            if of.base.is_empty() && of.head.is_empty() {
                continue;
            }
            let planned = plan.map(|(addrs, _)| set.intersect(addrs));
            let set = planned.as_ref().unwrap_or(set);
            for r in set.ranges().filter(|r| r.first().is_ipv6() == v6) {
                events.push((to_address_bits(r.first()), true, class));
                if let Some(behind) = to_address_bits(r.last()).checked_add(1) {
                    events.push((behind, false, class));
                }
            }
        }
        total = total.saturating_add(sweep(events, &classes, &mut counts));
    }
    ImpactSums { total, each: counts.into_iter().map(|c| c.cells).collect() }
}

fn sweep(
    mut events: Vec<(u128, bool, u32)>,
    classes: &[SumClass],
    counts: &mut [CellCount],
) -> u128 {
    if events.is_empty() {
        return 0;
    }
    events.sort_unstable();
    let mut cover = PortCover::new();
    let mut live: BTreeSet<u32> = BTreeSet::new();
    let (mut total, mut before) = (0u128, 0u128);
    for group in events.chunk_by(|a, b| a.0 == b.0) {
        let at = group[0].0;
        total = total.saturating_add((at - before).saturating_mul(cover.head_alone().into()));
        before = at;
        // Rules of head at whose ports something of base begins or ends.
        let mut changed: BTreeSet<usize> = BTreeSet::new();
        for (_, begins, class) in group {
            let of = &classes[*class as usize];
            for strip in &of.base {
                for live in &live {
                    let rules = classes[*live as usize].rules.iter();
                    changed.extend(rules.filter(|i| counts[**i].touches(*strip)));
                }
                cover.change_base(*strip, *begins);
            }
            for strip in &of.head {
                cover.change_head(*strip, *begins);
            }
        }
        for (_, begins, class) in group {
            if *begins {
                live.insert(*class);
            } else {
                live.remove(class);
                for i in &classes[*class as usize].rules {
                    counts[*i].settle(at);
                    counts[*i].ports = 0;
                    changed.remove(i);
                }
            }
        }
        for (_, _, class) in group.iter().filter(|(_, begins, _)| *begins) {
            for i in &classes[*class as usize].rules {
                counts[*i].since = at;
                counts[*i].ports = 0;
                changed.insert(*i);
            }
        }
        for i in changed {
            counts[i].settle(at);
            counts[i].look(&cover);
        }
    }
    // Only what reaches to the last address of IPv6 is live still.
    let left = (u128::MAX - before).saturating_add(1);
    if !live.is_empty() {
        total = total.saturating_add(left.saturating_mul(cover.head_alone().into()));
        for i in live.iter().flat_map(|c| &classes[*c as usize].rules) {
            let n = left.saturating_mul(counts[*i].ports.into());
            counts[*i].cells = counts[*i].cells.saturating_add(n);
            counts[*i].ports = 0;
        }
    }
    for count in counts {
        count.since = 0;
    }
    total
}

fn list_cell_strips(
    tcp: &PortSet,
    udp: &PortSet,
    plan: Option<(&AddrSet, &PortSet)>,
) -> CellStrips {
    let planned = plan.map(|(_, ports)| [meet(tcp, ports), PortSet::default()]);
    let sets = planned.as_ref().map_or([tcp, udp], |[tcp, udp]| [tcp, udp]);
    let of = |(proto, set): (Protocol, &PortSet)| -> CellStrips {
        let ranges = set.ranges().iter();
        ranges.map(|(a, b)| (encode_point(proto, *a), encode_point(proto, *b))).collect()
    };
    Protocol::ALL.into_iter().zip(sets).flat_map(of).collect()
}
