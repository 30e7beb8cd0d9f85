//! Rules that share cells: overlaps across files, rules that others cover. Contradictions are found when
//! the files are read, since a patrol refuses them.
//!
//! A sweep over the addresses: a rule is live from the first to the last address of each of its
//! ranges. Where one begins, the live rules are walked once in the order of their ports. That meets
//! every pair that shares a cell, without comparing each rule with each.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_targets::{AddrSet, PortSet};

use super::policy::format_rule_name;
use super::sanitise_excerpt;
use crate::baseline::{DocumentFile, LineStarts, PortList, ReadErrors, RuleEntry, RuleExpect};
use crate::lint_rules::upkeep as rule;

/// Comparisons that are made; ten thousand ordinary rules take a hundredth of it.
const MOST_STEPS: u64 = 30_000_000;

/// Reports rules that share cells. Only those that hold at `now` count.
pub(super) fn report_shared_cells(
    lints: &mut ReadErrors,
    files: &[DocumentFile],
    starts: &LineStarts,
    entries: &[RuleEntry],
    now: Timestamp,
) {
    let units: Vec<PortRule<'_>> =
        entries.iter().enumerate().filter_map(|(i, e)| PortRule::of(i, e, now)).collect();
    let mut sweep = CellSweep { units: &units, steps: 0, found: OverlapFinding::default() };
    let whole = sweep.family(true) && sweep.family(false) && sweep.steps <= MOST_STEPS;
    let found = sweep.found;
    let place = |e: &RuleEntry| {
        let name = files[e.file].source.name();
        format!("{}:{}", sanitise_excerpt(name), starts.line(e.file, e.span.start))
    };
    for (a, b) in found.overlaps {
        let (first, second) = (&units[a as usize], &units[b as usize]);
        let (o, e) = (first.entry, second.entry);
        let title = format!(
            "{} allows cells that {} at {} allows, too",
            format_rule_name(e),
            format_rule_name(o),
            place(o)
        );
        let help =
            "agree on one owner for them: the alarm after the end of one rule is lost in the other";
        lints.report(&rule::OVERLAP, e.file, e.addrs_span(), e.id(), title, help);
    }
    for (a, b) in found.shadowed {
        let (e, by) = (units[a as usize].entry, units[b as usize].entry);
        let says = match units[a as usize].ports.expect {
            RuleExpect::May => "allows",
            RuleExpect::Must => "requires",
            RuleExpect::Never => "forbids",
        };
        let title = format!(
            "{} {says} nothing that {} at {} does not",
            format_rule_name(e),
            format_rule_name(by),
            place(by)
        );
        let help = "remove it, or narrow the other one: as long as the other one stands, this one's end changes nothing";
        lints.report(&rule::SHADOWED, e.file, e.span.clone(), e.id(), title, help);
    }
    if !whole {
        let title = "the rules overlap too much to compare them all; overlaps and covered rules are reported in part";
        let help = "use groups and CIDR blocks instead of single addresses, and fewer rules for one address";
        lints.report(&rule::NOT_COMPARED, 0, 0..0, None, title, help);
    }
}

/// A rule about ports, with what is asked of it often.
struct PortRule<'a> {
    index: usize,
    entry: &'a RuleEntry,
    addrs: &'a AddrSet,
    ports: &'a PortList,
    live: bool,
    cells: (u128, u32),
    /// Protocol, first and last port.
    strips: Vec<(u8, u16, u16)>,
}

impl<'a> PortRule<'a> {
    fn of(index: usize, entry: &'a RuleEntry, now: Timestamp) -> Option<Self> {
        let (ports, addrs) = (entry.ports()?, entry.addrs.as_deref()?);
        let of = |set: &PortSet, proto: u8| -> Vec<_> {
            set.ranges().iter().map(|(a, b)| (proto, *a, *b)).collect()
        };
        let strips = [of(&ports.tcp, 0), of(&ports.udp, 1)].concat();
        let cells = (addrs.len(), ports.tcp.len() + ports.udp.len());
        (!strips.is_empty() && !addrs.is_empty()).then(|| Self {
            index,
            entry,
            addrs,
            ports,
            live: entry.is_live(now),
            cells,
            strips,
        })
    }

    fn is_never(&self) -> bool {
        self.ports.expect == RuleExpect::Never
    }

    fn ends(&self) -> Timestamp {
        self.entry.expires.as_ref().map_or(Timestamp::MAX, |e| e.get_ref().at)
    }

    /// Whether this rule does all that the other one does, for as long, as far as can be said
    /// without comparing sets. Of two that are the same, the second one is the one too many.
    fn may_cover(&self, other: &Self) -> bool {
        // What differs most often comes first: this is asked of every two rules of one address.
        if self.cells.0 < other.cells.0 || self.cells.1 < other.cells.1 {
            return false;
        }
        let (proto, a, b) = other.strips[0];
        let of = if proto == 0 { &self.ports.tcp } else { &self.ports.udp };
        if !holds(of, a, b) || self.ends() < other.ends() {
            return false;
        }
        let same = self.cells == other.cells
            && self.ends() == other.ends()
            && self.ports.expect == other.ports.expect
            && self.required() == other.required();
        self.expects_as_much(other) && (!same || self.index < other.index)
    }

    /// How many addresses must be open at each port.
    fn required(&self) -> u128 {
        match (self.ports.expect, self.ports.at_least) {
            (RuleExpect::Must, Some(n)) => u128::from(n).min(self.cells.0),
            (RuleExpect::Must, None) => self.cells.0,
            _ => 0,
        }
    }

    /// Whether what the other one expects follows from what this one expects. So many of a larger pool
    /// say nothing of a part of it, unless it is all of them.
    fn expects_as_much(&self, other: &Self) -> bool {
        match (self.ports.expect, other.ports.expect) {
            (RuleExpect::Must, RuleExpect::Must) => {
                let each = self.required() == self.cells.0;
                each || self.cells.0 == other.cells.0 && self.required() >= other.required()
            }
            (RuleExpect::Must, RuleExpect::May) => true,
            (a, b) => a == b,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        other.strips.iter().all(|(proto, a, b)| {
            holds(if *proto == 0 { &self.ports.tcp } else { &self.ports.udp }, *a, *b)
        }) && (std::ptr::eq(self.addrs, other.addrs) || other.addrs.subtract(self.addrs).is_empty())
    }
}

/// Whether a set holds a whole range.
fn holds(set: &PortSet, a: u16, b: u16) -> bool {
    let ranges = set.ranges();
    let i = ranges.partition_point(|(_, end)| *end < a);
    ranges.get(i).is_some_and(|(x, y)| *x <= a && b <= *y)
}

/// Pairs of numbers of units, in the order in which they were met.
#[derive(Default)]
struct OverlapFinding {
    /// Of two files, in their order.
    overlaps: Vec<(u32, u32)>,
    /// The one that is too many, and the one that covers it.
    shadowed: Vec<(u32, u32)>,
    seen: HashSet<(u32, u32)>,
    /// Units of which an overlap was reported as the later of the two: one is enough.
    overlapped: HashSet<u32>,
}

struct CellSweep<'a> {
    units: &'a [PortRule<'a>],
    steps: u64,
    found: OverlapFinding,
}

/// The live strip that reaches furthest: its last port, its unit.
type ReachStrip = Option<(u16, u32)>;

fn extend_reach(top: &mut ReachStrip, end: u16, unit: u32) {
    if top.is_none_or(|(e, _)| e < end) {
        *top = Some((end, unit));
    }
}

impl CellSweep<'_> {
    /// Goes over the addresses of one family; `false` if it stopped because of the effort.
    fn family(&mut self, v4: bool) -> bool {
        // (address, whether it opens, unit)
        let mut events: Vec<(u128, bool, u32)> = Vec::new();
        for (unit, u) in (0u32..).zip(self.units) {
            for r in u.addrs.ranges() {
                self.steps += 1 + u.strips.len() as u64;
                let (a, b) = match (r.first(), r.last()) {
                    (IpAddr::V4(a), IpAddr::V4(b)) if v4 => {
                        (u128::from(a.to_bits()), u128::from(b.to_bits()))
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) if !v4 => (a.to_bits(), b.to_bits()),
                    _ => continue,
                };
                if self.steps > MOST_STEPS {
                    return false;
                }
                events.push((a, true, unit));
                if let Some(behind) = b.checked_add(1) {
                    events.push((behind, false, unit));
                }
            }
        }
        events.sort_unstable();
        let mut begun: HashSet<u32> = HashSet::new();
        let mut strips: BTreeSet<(u8, u16, u16, u32)> = BTreeSet::new();
        let mut live: BTreeSet<u32> = BTreeSet::new();
        for group in events.chunk_by(|a, b| a.0 == b.0) {
            let mut first_time = Vec::new();
            for (_, opens, unit) in group {
                for (proto, a, b) in &self.units[*unit as usize].strips {
                    let strip = (*proto, *a, *b, *unit);
                    if *opens {
                        strips.insert(strip)
                    } else {
                        strips.remove(&strip)
                    };
                }
                if !*opens {
                    live.remove(unit);
                    continue;
                }
                live.insert(*unit);
                // A rule with addresses of both families begins with those of IPv4.
                let begins = begun.insert(*unit)
                    && (v4 || self.units[*unit as usize].addrs.nth(0).is_some_and(|a| a.is_ipv6()));
                if begins {
                    first_time.push(*unit);
                }
            }
            if group.iter().any(|(_, opens, _)| *opens) {
                self.steps += strips.len() as u64 + first_time.len() as u64 * live.len() as u64;
                if self.steps > MOST_STEPS {
                    return false;
                }
                self.walk(&strips);
                for unit in first_time {
                    self.covered(unit, &live);
                }
            }
        }
        true
    }

    /// Pairs that share a port, among the rules that are live at one address. Of all pairs of a
    /// rule and earlier ones, the one that reaches furthest is met.
    fn walk(&mut self, strips: &BTreeSet<(u8, u16, u16, u32)>) {
        // Of what allows and holds: the furthest one, and the furthest one of another file.
        let (mut top, mut next): (ReachStrip, ReachStrip) = (None, None);
        let mut at = 0;
        for (proto, start, end, unit) in strips {
            if *proto != at {
                at = *proto;
                (top, next) = (None, None);
            }
            let u = &self.units[*unit as usize];
            let meets = |t: ReachStrip| t.filter(|(e, _)| e >= start).map(|(_, unit)| unit);
            if u.is_never() || !u.live {
                continue;
            }
            let file = |t: ReachStrip| t.map(|(_, i)| self.units[i as usize].entry.file);
            let foreign = if file(top) == Some(u.entry.file) { next } else { top };
            if let Some(o) = meets(foreign) {
                self.found.overlap(*unit, o);
            }
            if file(top) == Some(u.entry.file) {
                extend_reach(&mut top, *end, *unit);
            } else if top.is_none_or(|(e, _)| e < *end) {
                next = top;
                top = Some((*end, *unit));
            } else {
                extend_reach(&mut next, *end, *unit);
            }
        }
    }

    /// The first rule that does all that this one does.
    fn covered(&mut self, unit: u32, live: &BTreeSet<u32>) {
        let u = &self.units[unit as usize];
        if !u.live {
            return;
        }
        for by in live.iter().filter(|by| **by != unit) {
            let b = &self.units[*by as usize];
            if self.steps > MOST_STEPS {
                return;
            }
            if !b.may_cover(u) {
                continue;
            }
            self.steps += (b.addrs.ranges().count() + u.addrs.ranges().count()) as u64;
            if b.covers(u) {
                self.found.shadowed.push((unit, *by));
                return;
            }
        }
    }
}

impl OverlapFinding {
    fn overlap(&mut self, a: u32, b: u32) {
        let pair = (a.min(b), a.max(b));
        if !self.overlapped.contains(&a) && self.seen.insert(pair) {
            self.overlapped.insert(a);
            self.overlaps.push(pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::{LintContext, lint};
    use super::*;

    /// Rules of two files, by a small generator of its own, held against each pair by hand.
    #[test]
    fn the_sweep_meets_what_comparing_each_with_each_meets() {
        let mut seed = 7u64;
        let mut next = move |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % n
        };
        for _ in 0..400 {
            let (mut texts, mut rules) = ([String::new(), String::new()], Vec::new());
            for (f, text) in texts.iter_mut().enumerate() {
                *text = "version = 1\nowner = \"@a/b\"\n".to_owned();
                for i in 0..3 {
                    let v6 = next(4) == 0;
                    let a = next(12);
                    let b = a + next(4);
                    let c = next(8) + 1;
                    let d = c + next(3);
                    let expect = ["may", "must", "never"][next(3) as usize];
                    let net = if v6 { "2001:db8::" } else { "192.0.2." };
                    let proto = if next(4) == 0 { "udp" } else { "tcp" };
                    let _ = writeln!(
                        text,
                        "[[allow]]\nid=\"r{f}{i}\"\nhosts=[\"{net}{a}-{net}{b}\"]\nports=[\"{proto}/{c}-{d}\"]\nexpect=\"{expect}\"\nreason=\"a long reason for it\""
                    );
                    // In hexadecimal a one-digit part is the same number; longer ones are not.
                    let n = |x: u64| {
                        if v6 { u64::from_str_radix(&x.to_string(), 16).unwrap_or(0) } else { x }
                    };
                    rules.push((f, format!("r{f}{i}"), v6, n(a), n(b), proto, c, d, expect));
                }
            }
            let files: Vec<_> =
                texts.iter().enumerate().map(|(i, t)| (format!("{i}.toml"), t.clone())).collect();
            let found = lint(&files, &LintContext::at(Timestamp::UNIX_EPOCH));
            let has = |id: &str| found.iter().any(|l| l.rule.id == id);
            let meet =
                |x: &&(usize, String, bool, u64, u64, &str, u64, u64, &str),
                 y: &&(usize, String, bool, u64, u64, &str, u64, u64, &str)| {
                    x.2 == y.2 && x.5 == y.5 && x.3 <= y.4 && y.3 <= x.4 && x.6 <= y.7 && y.6 <= x.7
                };
            let pairs = || rules.iter().flat_map(|x| rules.iter().map(move |y| (x, y)));
            let clash = pairs().any(|(x, y)| meet(&x, &y) && x.8 == "never" && y.8 != "never");
            let overlap = pairs()
                .any(|(x, y)| meet(&x, &y) && x.0 != y.0 && x.8 != "never" && y.8 != "never");
            assert_eq!(has("contradiction"), clash, "{texts:?}");
            assert_eq!(has("overlap"), overlap, "{texts:?}");
            // Every rule that another one covers is reported, or the covering one is the same.
            for (x, y) in pairs().filter(|(x, y)| x.1 != y.1) {
                let within = meet(&x, &y) && y.3 <= x.3 && x.4 <= y.4 && y.6 <= x.6 && x.7 <= y.7;
                let kinds = x.8 == y.8 || (x.8 == "may" && y.8 == "must");
                let same = (x.3, x.4, x.6, x.7, x.8) == (y.3, y.4, y.6, y.7, y.8);
                if within && kinds && (!same || y.1 < x.1) {
                    let reported = found.iter().any(|l| {
                        l.rule.id == "shadowed" && l.rule_id.as_deref() == Some(x.1.as_str())
                    });
                    assert!(reported, "{x:?} in {y:?}: {texts:?}");
                }
            }
        }
    }
}
