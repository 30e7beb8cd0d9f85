//! Which few causes explain many findings.
//!
//! Three thousand open ports are rarely three thousand decisions: somebody changed a template, opened a
//! subnet or started one machine. Findings are covered greedily by groups of one of three forms, the
//! one that explains most first (Chvátal 1979, a greedy heuristic for the set-covering problem).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use mimawari_drift::verdict::{Finding, FindingKind};
use mimawari_probes::observation::Severity;
use mimawari_targets::AddrRange;

/// Findings that were first seen closer together than this came at once: within one run.
const AT_ONCE: SignedDuration = SignedDuration::from_mins(30);

/// Findings of different sorts that share nothing but their network are explained by it only when they
/// are many: a /24 has many hosts, and some of them always have something.
const MIN_NETWORK: usize = 10;

/// Findings with one explanation.
#[derive(Debug, Clone)]
pub struct FindingGroup<'a> {
    /// What they have in common.
    pub by: SharedTrait,
    /// The smallest CIDR that holds all their addresses.
    pub prefix: AddrRange,
    /// Number of addresses.
    pub addresses: usize,
    /// What is open or readable, most frequent first: `tcp/6379`, `php-source`, and how often.
    pub what: Vec<(String, usize)>,
    /// Who answers for them, most frequent first; those without an owner are not counted.
    pub owners: Vec<(String, usize)>,
    /// The worst of them.
    pub severity: Severity,
    /// When the first of them was first seen.
    pub first_seen: Timestamp,
    /// The findings, worst first, then by address.
    pub findings: Vec<&'a Finding>,
}

/// What the findings of a group have in common, besides when they were first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SharedTrait {
    /// One port or one check, of one owner, on several addresses.
    What,
    /// One address.
    Host,
    /// One /24 or /64.
    Network,
}

/// A port as `tcp/443`, a content by its check, everything else by its kind.
#[must_use]
pub fn format_finding_label(f: &Finding) -> String {
    match (&f.check, f.port, f.kind) {
        (Some(check), ..) => check.clone(),
        (None, _, FindingKind::LegacyTls | FindingKind::SuspectHost) | (None, None, _) => {
            f.kind.as_str().to_owned()
        }
        (None, Some(port), _) => format!("{}/{port}", f.proto),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum GroupKey {
    What(FindingKind, String, Option<String>, u32),
    Host(IpAddr, u32),
    Network(IpAddr, u32),
}

impl GroupKey {
    const fn common(&self) -> SharedTrait {
        match self {
            Self::What(..) => SharedTrait::What,
            Self::Host(..) => SharedTrait::Host,
            Self::Network(..) => SharedTrait::Network,
        }
    }

    /// What a group is worth: one port on many hosts explains more than one network with many ports.
    const fn worth(&self, n: usize) -> usize {
        match self {
            Self::What(..) => n * 10,
            Self::Host(..) => n * 9,
            Self::Network(..) => n * 5,
        }
    }
}

/// Groups of the findings, those that explain most first. Every finding is in exactly one.
#[must_use]
pub fn group_findings<'a>(
    findings: impl IntoIterator<Item = &'a Finding>,
) -> Vec<FindingGroup<'a>> {
    let all: Vec<&Finding> = findings.into_iter().collect();
    let times = assign_moments(&all);
    let mut buckets: BTreeMap<GroupKey, Vec<usize>> = BTreeMap::new();
    for (i, f) in all.iter().enumerate() {
        let time = times[i];
        for key in [
            GroupKey::What(f.kind, format_finding_label(f), f.owner.clone(), time),
            GroupKey::Host(f.ip, time),
            GroupKey::Network(mask_to_network(f.ip), time),
        ] {
            buckets.entry(key).or_default().push(i);
        }
    }
    let buckets: Vec<(GroupKey, Vec<usize>)> = buckets.into_iter().collect();
    // What a bucket is worth only falls, so the one on top is the best if it is worth what it says.
    let mut heap: BinaryHeap<(usize, Reverse<usize>)> = buckets
        .iter()
        .enumerate()
        .map(|(b, (key, members))| (key.worth(members.len()), Reverse(b)))
        .collect();
    let mut taken = vec![false; all.len()];
    let mut out = Vec::new();
    while let Some((said, Reverse(b))) = heap.pop() {
        let (key, members) = &buckets[b];
        let left: Vec<usize> = members.iter().copied().filter(|i| !taken[*i]).collect();
        let few = key.common() == SharedTrait::Network && left.len() < MIN_NETWORK;
        if left.is_empty() || few {
            continue;
        }
        let worth = key.worth(left.len());
        if worth < said {
            heap.push((worth, Reverse(b)));
            continue;
        }
        for i in &left {
            taken[*i] = true;
        }
        out.push(group(key.common(), left.into_iter().map(|i| all[i]).collect()));
    }
    out.sort_by(|a, b| {
        b.findings.len().cmp(&a.findings.len()).then(b.severity.cmp(&a.severity)).then_with(|| {
            let first = |g: &FindingGroup<'_>| g.findings.first().map(|f| f.id.clone());
            first(a).cmp(&first(b))
        })
    });
    out
}

fn group(by: SharedTrait, mut findings: Vec<&Finding>) -> FindingGroup<'_> {
    findings.sort_by(|a, b| {
        (b.severity.cmp(&a.severity))
            .then_with(|| (a.ip, a.port, &a.id).cmp(&(b.ip, b.port, &b.id)))
    });
    let count = |names: &mut dyn Iterator<Item = String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        names.for_each(|n| *counts.entry(n).or_default() += 1);
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counts
    };
    let mut ips: Vec<IpAddr> = findings.iter().map(|f| f.ip).collect();
    ips.sort_unstable();
    ips.dedup();
    FindingGroup {
        by,
        prefix: compute_common_prefix(&ips),
        addresses: ips.len(),
        what: count(&mut findings.iter().map(|f| format_finding_label(f))),
        owners: count(&mut findings.iter().filter_map(|f| f.owner.clone())),
        severity: findings.iter().map(|f| f.severity).max().unwrap_or(Severity::Info),
        first_seen: findings.iter().map(|f| f.first_seen).min().unwrap_or(Timestamp::MIN),
        findings,
    }
}

/// For each finding which of the moments it was first seen at, as a number.
fn assign_moments(all: &[&Finding]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|i| all[*i].first_seen);
    let mut out = vec![0; all.len()];
    let (mut moment, mut last) = (0, None);
    for i in order {
        let at = all[i].first_seen;
        if last.is_some_and(|l| at.duration_since(l) > AT_ONCE) {
            moment += 1;
        }
        out[i] = moment;
        last = Some(at);
    }
    out
}

/// The /24 or /64 of an address.
fn mask_to_network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(a) => IpAddr::V4((a.to_bits() & !0xff).into()),
        IpAddr::V6(a) => IpAddr::V6((a.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// The smallest CIDR that holds all addresses, which are sorted; of two families that of the first.
fn compute_common_prefix(ips: &[IpAddr]) -> AddrRange {
    let (first, last) = match (ips.first(), ips.last()) {
        (Some(a), Some(b)) => (*a, *b),
        _ => (IpAddr::from([0, 0, 0, 0]), IpAddr::from([0, 0, 0, 0])),
    };
    let (low, high) = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let host = u32::MAX.checked_shr((a.to_bits() ^ b.to_bits()).leading_zeros());
            let host = host.unwrap_or(0);
            let low = a.to_bits() & !host;
            (IpAddr::V4(low.into()), IpAddr::V4((low | host).into()))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let host = u128::MAX.checked_shr((a.to_bits() ^ b.to_bits()).leading_zeros());
            let host = host.unwrap_or(0);
            let low = a.to_bits() & !host;
            (IpAddr::V6(low.into()), IpAddr::V6((low | host).into()))
        }
        _ => (first, first),
    };
    AddrRange::new(low, high).unwrap_or_else(|| AddrRange::from(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + minute * 60).unwrap()
    }

    #[test]
    fn five_causes_explain_three_thousand_findings() {
        let mut all = Vec::new();
        let mut add = |ip: String, port: u16, owner: &str, minute: i64| {
            let mut f = samples::port(&ip, port);
            f.owner = Some(owner.to_owned());
            f.first_seen = at(minute);
            all.push(f);
        };
        for n in 0..600u32 {
            // Two templates, a subnet, one machine, a service on another day; and noise among them.
            add(format!("198.18.{}.{}", n / 250, n % 250), 6379, "@corp/a", i64::from(n % 7));
            add(format!("198.18.{}.{}", n / 250, n % 250), 9200, "@corp/a", 3);
            add(format!("198.18.90.{}", n % 250), (2000 + n % 40) as u16, "@corp/b", 5);
            add("198.18.200.9".to_owned(), (20_000 + n) as u16, "@corp/c", 4);
            add(format!("198.19.{}.{}", n / 250, n % 250), 6379, "@corp/a", 900);
        }
        for n in 0..100u32 {
            add(format!("198.19.{n}.7"), (30_000 + n) as u16, "@corp/z", i64::from(n) * 100);
        }
        let groups = group_findings(&all);
        assert_eq!(groups.iter().map(|g| g.findings.len()).sum::<usize>(), 3_100);
        let five: usize = groups.iter().take(5).map(|g| g.findings.len()).sum();
        assert!(five >= 2_990, "{five}");
        let shown: Vec<_> = groups
            .iter()
            .take(5)
            .map(|g| (g.by, g.prefix.to_string(), g.what[0].0.clone(), g.findings.len()))
            .collect();
        let has =
            |by, prefix: &str, n| shown.iter().any(|s| s.0 == by && s.1 == prefix && s.3 >= n);
        assert!(has(SharedTrait::Host, "198.18.200.9", 600), "{shown:?}");
        assert!(has(SharedTrait::Network, "198.18.90.0/24", 590), "{shown:?}");
        assert!(has(SharedTrait::What, "198.18.0.0/22", 600), "{shown:?}");
        assert!(has(SharedTrait::What, "198.19.0.0/22", 600), "{shown:?}");
    }

    #[test]
    fn every_finding_is_in_one_group_and_one_alone_is_a_group() {
        assert!(group_findings([]).is_empty());
        let f = samples::port("2001:db8::1", 22);
        let g = group_findings([&f]);
        assert_eq!((g.len(), g[0].prefix.to_string().as_str()), (1, "2001:db8::1"));
        assert_eq!(g[0].what, [("tcp/22".to_owned(), 1)]);
    }

    #[test]
    fn a_hundred_thousand_are_grouped_whole() {
        let all: Vec<Finding> = (0..100_000u32)
            .map(|n| {
                samples::port(
                    &format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255),
                    (n % 977) as u16 + 1,
                )
            })
            .collect();
        let n: usize = group_findings(&all).iter().map(|g| g.findings.len()).sum();
        assert_eq!(n, all.len());
    }
}
