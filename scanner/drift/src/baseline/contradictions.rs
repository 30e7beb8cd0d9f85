//! `never` against `may` or `must` on one cell.
//!
//! A sweep over the addresses. Where a rule begins, its ports are looked up in a count of the ports that
//! live rules of the other kind hold there; so every pair that shares a cell is met, and no rule is
//! compared with each other one.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use mimawari_targets::{PortSet, Protocol};

use super::RuleExpect;
use super::document::{DocumentFile, PortList, RuleEntry};
use super::index::{KnownRanges, encode_point, join};
use super::mistakes::{ReadErrors, sanitise_excerpt};
use super::place::LineStarts;
use super::port_count::PortCount;
use crate::lint_rules::policy as rule;

/// Pairs that are reported; each takes one look at every rule.
const MOST: usize = 1000;

/// Reports, for each rule that meets an opposite one, the first such pair.
pub(super) fn report(mistakes: &mut ReadErrors, files: &[DocumentFile], entries: &[RuleEntry]) {
    let rules: Vec<(&RuleEntry, &PortList)> = entries
        .iter()
        .filter(|e| e.addrs.as_ref().is_some_and(|a| !a.is_empty()))
        .filter_map(|e| Some((e, e.ports()?)))
        .collect();
    let is_never = |p: &PortList| p.expect == RuleExpect::Never;
    if !rules.iter().any(|(_, p)| is_never(p)) || rules.iter().all(|(_, p)| is_never(p)) {
        return;
    }
    let meeting = find_clashing_rules(&rules);
    if meeting.is_empty() {
        return;
    }
    let starts = LineStarts::of(files);
    let mut reported = HashSet::new();
    for met in meeting.into_iter().take(MOST) {
        let (e, p) = rules[met];
        let other = rules.iter().position(|(o, q)| {
            is_never(p) != is_never(q) && share_port(p, q) && share_address(e, o)
        });
        let Some(other) = other else { continue };
        let (never, allows) = if is_never(p) { (met, other) } else { (other, met) };
        if !reported.insert((never, allows)) {
            continue;
        }
        let (n, o) = (rules[never].0, rules[allows].0);
        let named = |e: &RuleEntry| {
            e.id().map_or_else(|| "the rule".to_owned(), |i| format!("`{}`", sanitise_excerpt(i)))
        };
        let name = files[o.file].source.name();
        let line = starts.line(o.file, o.span.start);
        let title = format!(
            "{} forbids what {} at {}:{line} allows",
            named(n),
            named(o),
            sanitise_excerpt(name)
        );
        let help = "remove one of the two, or take the shared cells out of one";
        mistakes.report(&rule::CONTRADICTION, n.file, n.span.clone(), n.id(), title, help);
    }
}

/// Rules for the same addresses, by whether they forbid, and all their ports together.
#[derive(Default)]
struct ClashClass {
    rules: [Vec<usize>; 2],
    strips: [Vec<(u32, u32)>; 2],
}

/// The rules that begin where a rule of the other kind holds one of their ports.
fn find_clashing_rules(rules: &[(&RuleEntry, &PortList)]) -> BTreeSet<usize> {
    let mut known = KnownRanges::default();
    let mut classes: Vec<ClashClass> = Vec::new();
    for (i, (e, p)) in rules.iter().enumerate() {
        let Some(addrs) = &e.addrs else { continue };
        let class = known.class_of(addrs);
        if class == classes.len() {
            classes.push(ClashClass::default());
        }
        let kind = usize::from(p.expect == RuleExpect::Never);
        classes[class].rules[kind].push(i);
        classes[class].strips[kind].extend(list_port_strips(p));
    }
    for strips in classes.iter_mut().flat_map(|c| &mut c.strips) {
        join(strips);
    }
    let mut found = BTreeSet::new();
    for v6 in [false, true] {
        // What ends goes before what begins.
        let mut events: Vec<(u128, bool, u32)> = Vec::new();
        for (class, set) in (0u32..).zip(&known.sets) {
            for r in set.ranges().filter(|r| r.first().is_ipv6() == v6) {
                events.push((to_address_bits(r.first()), true, class));
                if let Some(behind) = to_address_bits(r.last()).checked_add(1) {
                    events.push((behind, false, class));
                }
            }
        }
        events.sort_unstable();
        let mut live = [PortCount::new(), PortCount::new()];
        for group in events.chunk_by(|a, b| a.0 == b.0) {
            for (_, begins, class) in group {
                for kind in [0, 1] {
                    for (first, last) in &classes[*class as usize].strips[kind] {
                        live[kind].add(*first, *last, *begins);
                    }
                }
            }
            for (_, _, class) in group.iter().filter(|(_, begins, _)| *begins) {
                for kind in [0, 1] {
                    let (class, others) = (&classes[*class as usize], &live[1 - kind]);
                    if !class.strips[kind].iter().any(|(a, b)| others.holds_any(*a, *b)) {
                        continue;
                    }
                    let meets = |i: &&usize| {
                        list_port_strips(rules[**i].1).any(|(a, b)| others.holds_any(a, b))
                    };
                    found.extend(class.rules[kind].iter().filter(meets));
                }
            }
        }
    }
    found
}

const fn to_address_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(a) => a.to_bits() as u128,
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// Ranges of ports of both protocols, as points of one line.
fn list_port_strips(p: &PortList) -> impl Iterator<Item = (u32, u32)> {
    let of = |(proto, set): (Protocol, &PortSet)| {
        let ranges = set.ranges().iter();
        ranges.map(|(a, b)| (encode_point(proto, *a), encode_point(proto, *b))).collect::<Vec<_>>()
    };
    Protocol::ALL.into_iter().zip([&p.tcp, &p.udp]).flat_map(of)
}

fn share_port(a: &PortList, b: &PortList) -> bool {
    list_port_strips(a)
        .any(|(x, y)| list_port_strips(b).any(|(first, last)| x <= last && first <= y))
}

fn share_address(a: &RuleEntry, b: &RuleEntry) -> bool {
    match (&a.addrs, &b.addrs) {
        (Some(a), Some(b)) => std::sync::Arc::ptr_eq(a, b) || !a.intersect(b).is_empty(),
        _ => false,
    }
}
