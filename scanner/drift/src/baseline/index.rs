//! Which rules hold an address.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use mimawari_targets::{AddrSet, Port, PortSet, Protocol};

use super::intervals::IntervalSet;

/// Rules for the same addresses, by the number of addresses and then by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleClass {
    /// Numbers of the rules, sorted by id.
    pub rules: Vec<u32>,
    /// Which of them hold a port.
    ports: IntervalSet<u32>,
    /// Which of them hold a check or a path, sorted. A path begins with `/` and a check does not.
    things: Vec<(Box<str>, u32)>,
}

/// What the index has to know of a rule.
pub(crate) struct IndexedRule<'a> {
    pub addrs: &'a Arc<AddrSet>,
    pub id: &'a str,
    pub ports: Vec<(Protocol, &'a PortSet)>,
    pub things: Vec<&'a str>,
}

/// Strips of ports sorted, and those that touch as one.
pub(crate) fn join(strips: &mut Vec<(u32, u32)>) {
    strips.sort_unstable();
    strips.dedup_by(|next, kept| {
        let touches = next.0 <= kept.1 + 1;
        if touches {
            kept.1 = kept.1.max(next.1);
        }
        touches
    });
}

/// A port of a protocol as one number: TCP from 0, UDP from 65,536.
pub(crate) const fn encode_point(proto: Protocol, port: u16) -> u32 {
    let proto = match proto {
        Protocol::Tcp => 0,
        Protocol::Udp => 1 << 16,
    };
    proto | port as u32
}

impl RuleClass {
    /// Calls `each` with every rule that holds a port, in no order. Ranges of one rule do not overlap,
    /// so that each is met once.
    pub fn at_port(&self, proto: Protocol, port: Port, each: &mut impl FnMut(u32)) {
        self.ports.at(encode_point(proto, port.get()), each);
    }

    /// The rules that hold a check or a path.
    pub fn of_thing(&self, thing: &str) -> impl Iterator<Item = u32> {
        let begin = self.things.partition_point(|(t, _)| &**t < thing);
        self.things[begin..].iter().take_while(move |(t, _)| &**t == thing).map(|(_, rule)| *rule)
    }
}

/// Which rules hold an address. Rules for the same addresses (of one group, mostly) are one class, so
/// that the memory is that of the ranges as they are written, and never rules × pieces of the address
/// space.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleIndex {
    classes: Vec<RuleClass>,
    v4: Family,
    v6: Family,
}

#[derive(Debug, Clone, Default)]
struct Family {
    ranges: IntervalSet<u128>,
    /// Last addresses with their classes, sorted.
    ends: Vec<(u128, u32)>,
}

impl Family {
    fn new(ranges: Vec<(u128, u128, u32)>) -> Self {
        let mut ends: Vec<_> = ranges.iter().map(|(_, last, class)| (*last, *class)).collect();
        ends.sort_unstable();
        Self { ranges: IntervalSet::new(ranges), ends }
    }
}

impl RuleIndex {
    /// Of rules in the order of their numbers.
    pub fn new<'a>(rules: impl Iterator<Item = IndexedRule<'a>>) -> Self {
        let mut known = KnownRanges::default();
        let mut ids: Vec<Vec<(&str, u32)>> = Vec::new();
        let mut ports: Vec<Vec<(u32, u32, u32)>> = Vec::new();
        let mut things: Vec<Vec<(Box<str>, u32)>> = Vec::new();
        for (number, rule) in (0u32..).zip(rules) {
            let class = known.class_of(rule.addrs);
            if class == ids.len() {
                ids.push(Vec::new());
                ports.push(Vec::new());
                things.push(Vec::new());
            }
            ids[class].push((rule.id, number));
            for (proto, set) in rule.ports {
                let ranges = set.ranges().iter();
                ports[class].extend(
                    ranges.map(|(a, b)| (encode_point(proto, *a), encode_point(proto, *b), number)),
                );
            }
            things[class].extend(rule.things.into_iter().map(|t| (t.into(), number)));
        }
        let classes = ids
            .into_iter()
            .zip(ports)
            .zip(things)
            .map(|((mut ids, ports), mut things)| {
                ids.sort_unstable();
                things.sort_unstable();
                // An item that is written twice is one.
                things.dedup();
                things.shrink_to_fit();
                let rules = ids.into_iter().map(|(_, number)| number).collect();
                RuleClass { rules, ports: IntervalSet::new(ports), things }
            })
            .collect();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (class, set) in (0u32..).zip(known.sets) {
            for r in set.ranges() {
                match (r.first(), r.last()) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        v4.push((u128::from(a.to_bits()), u128::from(b.to_bits()), class));
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => v6.push((a.to_bits(), b.to_bits(), class)),
                    _ => {}
                }
            }
        }
        Self { classes, v4: Family::new(v4), v6: Family::new(v6) }
    }

    /// The classes that hold an address, in no order.
    pub fn at(&self, ip: IpAddr) -> Vec<&RuleClass> {
        let mut out = Vec::new();
        let (family, x) = self.family(ip);
        family.ranges.at(x, &mut |class| out.extend(self.classes.get(class as usize)));
        out
    }

    /// The classes that end below an address, or begin above it, nearest first, each with the distance.
    pub fn beside(&self, ip: IpAddr, above: bool) -> impl Iterator<Item = (u128, &RuleClass)> {
        let (family, x) = self.family(ip);
        let starts = family.ranges.all();
        let begin = starts.partition_point(|(first, ..)| *first <= x);
        let up = above.then(|| starts[begin..].iter().map(move |(first, _, c)| (first - x, *c)));
        let end = family.ends.partition_point(|(last, _)| *last < x);
        let down =
            (!above).then(|| family.ends[..end].iter().rev().map(move |(last, c)| (x - last, *c)));
        let both = up.into_iter().flatten().chain(down.into_iter().flatten());
        both.filter_map(|(distance, class)| Some((distance, self.classes.get(class as usize)?)))
    }

    fn family(&self, ip: IpAddr) -> (&Family, u128) {
        match ip {
            IpAddr::V4(a) => (&self.v4, u128::from(a.to_bits())),
            IpAddr::V6(a) => (&self.v6, a.to_bits()),
        }
    }
}

/// Sets of addresses, each once.
#[derive(Default)]
pub(crate) struct KnownRanges {
    pub sets: Vec<Arc<AddrSet>>,
    /// Of one group all rules have the same set.
    by_place: HashMap<*const AddrSet, usize>,
    by_hash: HashMap<u64, Vec<usize>>,
}

impl KnownRanges {
    /// The number of a set; a new one gets the next.
    pub fn class_of(&mut self, set: &Arc<AddrSet>) -> usize {
        if let Some(class) = self.by_place.get(&Arc::as_ptr(set)) {
            return *class;
        }
        let mut hasher = DefaultHasher::new();
        set.ranges().for_each(|r| r.hash(&mut hasher));
        let alike = self.by_hash.entry(hasher.finish()).or_default();
        let class = match alike.iter().find(|c| self.sets[**c] == *set) {
            Some(class) => *class,
            None => {
                alike.push(self.sets.len());
                self.sets.push(Arc::clone(set));
                self.sets.len() - 1
            }
        };
        self.by_place.insert(Arc::as_ptr(set), class);
        class
    }
}
