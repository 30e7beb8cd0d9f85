//! What the scope allows and the scan profiles cover.

use std::collections::BTreeMap;
use std::ops::Range;

use mimawari_targets::{AddrRange, AddrSet, PortSet, Scope};

use super::policy::format_rule_name;
use super::{LintContext, LintProfile, sanitise_excerpt};
use crate::baseline::{DocumentFile, ReadErrors, RuleEntry, RuleExpect};
use crate::lint_rules::policy as rule;

/// Addresses outside the scope: in groups, once, and in the rules' own lists. What `deny` cuts out
/// of an allowed range is not held against a rule, unless nothing else is left of it.
pub(super) fn check_scope(
    lints: &mut ReadErrors,
    files: &[DocumentFile],
    entries: &[RuleEntry],
    context: &LintContext<'_>,
) {
    let Some(scope) = context.scope else { return };
    for (number, file) in files.iter().enumerate() {
        // Sorted, so that the order is that of the names.
        let groups: BTreeMap<_, _> = file.groups.iter().collect();
        for (_, group) in groups {
            check_items_in_scope(lints, number, None, &group.items, scope);
        }
    }
    for e in entries {
        check_items_in_scope(lints, e.file, e.id(), &e.hosts, scope);
    }
}

fn check_items_in_scope(
    lints: &mut ReadErrors,
    file: usize,
    id: Option<&str>,
    items: &[(Range<usize>, AddrRange)],
    scope: &Scope,
) {
    for (span, range) in items {
        let set = AddrSet::from_ranges([*range]);
        let outside = set.subtract(scope.allow());
        let title = if !outside.is_empty() {
            format!("{} is not in the scope", format_ranges(&outside))
        } else if set.intersect(scope.permitted()).is_empty() {
            format!("{range} is denied by the scope")
        } else {
            continue;
        };
        let help = "nothing outside [scope] is ever scanned, so a rule for it has no effect: mend the address, or move the rule to the baseline of another scope";
        lints.report(&rule::OUTSIDE_SCOPE, file, span.clone(), id, title, help);
    }
}

/// The first ranges of a set.
fn format_ranges(set: &AddrSet) -> String {
    const MOST: usize = 4;
    let mut out: Vec<String> = set.ranges().take(MOST).map(|r| r.to_string()).collect();
    let more = set.ranges().count().saturating_sub(MOST);
    if more > 0 {
        out.push(format!("{more} more"));
    }
    out.join(", ")
}

/// Ports that must never be open, and that nobody looks at.
pub(super) fn check_forbidden_ports(lints: &mut ReadErrors, entries: &[RuleEntry]) {
    for e in entries {
        let Some(p) = e.ports().filter(|p| p.expect == RuleExpect::Never && !p.udp.is_empty())
        else {
            continue;
        };
        let udp = sanitise_excerpt(&p.udp.to_string());
        let title = format!("{} forbids udp/{udp}, and nothing scans UDP", format_rule_name(e));
        let help = "forbid TCP ports alone: of UDP no alarm would ever come";
        lints.report(&rule::NEVER_NOT_SCANNED, e.file, p.span.clone(), e.id(), title, help);
    }
}

/// Cells that must be open, and that nobody looks at.
pub(super) fn check_required_cells(
    lints: &mut ReadErrors,
    entries: &[RuleEntry],
    context: &LintContext<'_>,
) {
    if context.profiles.is_empty() {
        return;
    }
    let musts = entries.iter().filter_map(|e| {
        let ports = e.ports().filter(|p| p.expect == RuleExpect::Must)?;
        Some((e, ports, e.addrs.as_ref()?))
    });
    for (e, p, addrs) in musts.filter(|(e, ..)| e.is_live(context.now)) {
        if !p.udp.is_empty() {
            let title = format!(
                "{} requires udp/{}, and nothing scans UDP",
                format_rule_name(e),
                sanitise_excerpt(&p.udp.to_string())
            );
            let help = "require TCP ports alone; a UDP port may stand in a rule of `may`";
            lints.report(&rule::MUST_NOT_SCANNED, e.file, p.span.clone(), e.id(), title, help);
        }
        if let Some((ports, left)) =
            find_uncovered_ports(addrs, p.tcp.ranges().to_vec(), context.profiles)
        {
            let ports = PortSet::from_ranges(ports);
            let title = format!(
                "{} requires tcp/{} on {}, which no scan profile covers",
                format_rule_name(e),
                sanitise_excerpt(&ports.to_string()),
                format_ranges(&left)
            );
            let help = "add the port to [scan] `ports` and the address to `targets` of a profile, or drop the rule: what nobody looks at is never missed";
            lints.report(&rule::MUST_NOT_SCANNED, e.file, p.span.clone(), e.id(), title, help);
        }
    }
}

type ScannedPorts = Vec<(u16, u16)>;

/// The first ports, with their addresses, that no profile covers.
fn find_uncovered_ports(
    addrs: &AddrSet,
    ports: ScannedPorts,
    profiles: &[LintProfile],
) -> Option<(ScannedPorts, AddrSet)> {
    if addrs.is_empty() || ports.is_empty() {
        return None;
    }
    let Some((first, others)) = profiles.split_first() else {
        return Some((ports, addrs.clone()));
    };
    let (scanned, not) = cut(&ports, first.ports.ranges());
    // Each port goes one way alone, so the work is bounded by pieces of ports × profiles.
    find_uncovered_ports(&addrs.subtract(&first.targets), scanned, others)
        .or_else(|| find_uncovered_ports(addrs, not, others))
}

/// Sorted ranges, divided into what other sorted ranges hold and what they do not.
fn cut(ports: &[(u16, u16)], by: &[(u16, u16)]) -> (ScannedPorts, ScannedPorts) {
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for (a, b) in ports {
        let mut at = u32::from(*a);
        let end = u32::from(*b);
        for (x, y) in &by[by.partition_point(|(_, y)| y < a)..] {
            if *x > *b {
                break;
            }
            if u32::from(*x) > at {
                outside.push((u16::try_from(at).unwrap_or(u16::MAX), *x - 1));
            }
            let from = u16::try_from(at).unwrap_or(u16::MAX).max(*x);
            inside.push((from, (*y).min(*b)));
            at = u32::from(*y) + 1;
            if at > end {
                break;
            }
        }
        if at <= end {
            outside.push((u16::try_from(at).unwrap_or(u16::MAX), *b));
        }
    }
    (inside, outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_as_sets() {
        let sets = [
            vec![],
            vec![(1, 65535)],
            vec![(22, 22)],
            vec![(20, 30), (40, 50), (65535, 65535)],
            vec![(1, 21), (25, 45)],
            vec![(30, 30), (32, 39), (41, 41), (51, 60)],
        ];
        for a in &sets {
            for b in &sets {
                let (inside, outside) = cut(a, b);
                let (x, y) = (
                    PortSet::from_ranges(a.iter().copied()),
                    PortSet::from_ranges(b.iter().copied()),
                );
                let (i, o) = (PortSet::from_ranges(inside), PortSet::from_ranges(outside));
                for p in x.iter() {
                    assert_eq!((i.contains(p), o.contains(p)), (y.contains(p), !y.contains(p)));
                }
                assert_eq!(i.len() + o.len(), x.len(), "{a:?} {b:?}");
            }
        }
    }
}
