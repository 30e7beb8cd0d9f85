//! Properties of sets, orders, plans and texts, each against a naive oracle.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions, too

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mimawari_targets::diagnostic::{Diagnostic, TextSource};
use mimawari_targets::list::{self, HostName};
use mimawari_targets::{AddrRange, AddrSet, CellPlan, PlanShard, Port, PortSet, ProbeOrder, Scope};
use proptest::prelude::*;

/// Failures print their smallest input; no file is written beside the sources.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

// ---------------------------------------------------------------------------------------------
// A small space in both families, at places where arithmetic may break: the bottom of each family,
// its top, and both sides of the IPv4-mapped block.

/// The n-th address of the small space, in ascending order; 6 windows of 32 addresses.
fn place(n: u8) -> IpAddr {
    let offset = u32::from(n % 32);
    let v6 = |base: u128| IpAddr::V6(Ipv6Addr::from_bits(base + u128::from(offset)));
    match n / 32 {
        0 => IpAddr::V4(Ipv4Addr::from_bits(offset)),
        1 => IpAddr::V4(Ipv4Addr::from_bits(u32::MAX - 31 + offset)),
        2 => v6(0),
        // Half of this window lies in the mapped block, and is in no set.
        3 => v6(0xffff_0000_0000 - 16),
        4 => v6(0xffff_ffff_ffff - 15),
        _ => v6(u128::MAX - 31),
    }
}

const PLACES: u8 = 6 * 32;

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// Ranges inside one window each, so that an oracle can list every address.
fn ranges() -> impl Strategy<Value = Vec<(u8, u8)>> {
    let range =
        (0..6u8, 0..32u8, 0..32u8).prop_map(|(w, a, b)| (w * 32 + a.min(b), w * 32 + a.max(b)));
    prop::collection::vec(range, 0..12)
}

fn set(ranges: &[(u8, u8)]) -> AddrSet {
    AddrSet::from_ranges(ranges.iter().map(|(a, b)| AddrRange::new(place(*a), place(*b)).unwrap()))
}

fn oracle(ranges: &[(u8, u8)]) -> BTreeSet<IpAddr> {
    ranges.iter().flat_map(|(a, b)| (*a..=*b).map(place)).filter(|ip| !is_mapped(*ip)).collect()
}

fn same(set: &AddrSet, expected: &BTreeSet<IpAddr>) -> Result<(), TestCaseError> {
    let listed: Vec<IpAddr> = set.iter().collect();
    prop_assert_eq!(&listed, &expected.iter().copied().collect::<Vec<_>>());
    prop_assert_eq!(set.len(), expected.len() as u128);
    prop_assert_eq!(set.is_empty(), expected.is_empty());
    prop_assert_eq!(set.len_v6(), expected.iter().filter(|ip| ip.is_ipv6()).count() as u128);
    for ip in (0..PLACES).map(place) {
        prop_assert_eq!(set.contains(ip), expected.contains(&ip), "{}", ip);
        let index = listed.iter().position(|x| *x == ip).map(|i| i as u128);
        prop_assert_eq!(set.index_of(ip), index, "{}", ip);
    }
    for (n, ip) in listed.iter().enumerate() {
        prop_assert_eq!(set.nth(n as u128), Some(*ip));
    }
    prop_assert_eq!(set.nth(set.len()), None);
    // Disjoint, ascending, not adjacent: the one canonical form, on which equality rests.
    let ranges: Vec<AddrRange> = set.ranges().collect();
    for pair in ranges.windows(2) {
        prop_assert!(pair[0].last() < pair[1].first());
        let next = match pair[0].last() {
            IpAddr::V4(a) => a.to_bits().checked_add(1).map(|b| IpAddr::V4(Ipv4Addr::from_bits(b))),
            IpAddr::V6(a) => a.to_bits().checked_add(1).map(|b| IpAddr::V6(Ipv6Addr::from_bits(b))),
        };
        prop_assert!(next != Some(pair[1].first()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn sets_are_what_the_oracle_says(a in ranges(), b in ranges()) {
        let (x, y) = (set(&a), set(&b));
        let (ox, oy) = (oracle(&a), oracle(&b));
        same(&x, &ox)?;
        same(&x.subtract(&y), &ox.difference(&oy).copied().collect())?;
        same(&x.intersect(&y), &ox.intersection(&oy).copied().collect())?;
        same(&x.union(&y), &ox.union(&oy).copied().collect())?;
        prop_assert_eq!(x == y, ox == oy);
    }

    #[test]
    fn huge_sets_count_right(bits in prop::collection::vec((any::<u128>(), any::<u128>()), 1..20), pick in any::<u128>()) {
        let set = AddrSet::from_ranges(bits.iter().map(|(a, b)| {
            let v6 = |x: u128| IpAddr::V6(Ipv6Addr::from_bits(x));
            AddrRange::new(v6(*a.min(b)), v6(*a.max(b))).unwrap()
        }));
        prop_assert!(!set.is_empty());
        for n in [0, set.len() - 1, pick % set.len()] {
            let ip = set.nth(n).unwrap();
            prop_assert_eq!(set.index_of(ip), Some(n));
            prop_assert!(bits.iter().any(|(a, b)| matches!(ip, IpAddr::V6(v6) if *a.min(b) <= v6.to_bits() && v6.to_bits() <= *a.max(b))));
        }
        // De Morgan, over the whole of IPv6.
        let all: AddrSet = AddrSet::from_ranges(["::/0".parse::<AddrRange>().unwrap()]);
        let rest = all.subtract(&set);
        prop_assert_eq!(rest.len() + set.len(), all.len());
        prop_assert_eq!(all.subtract(&rest), set.clone());
        prop_assert!(rest.intersect(&set).is_empty());
    }

    #[test]
    fn ranges_and_sets_survive_their_texts(a in ranges(), bits in any::<(u128, u128)>(), small in any::<(u32, u32)>()) {
        let whole = set(&a);
        for range in whole.ranges() {
            prop_assert_eq!(range.to_string().parse::<AddrRange>(), Ok(range));
        }
        let json = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<AddrSet>(&json).unwrap(), whole);
        let v4 = |x: u32| IpAddr::V4(Ipv4Addr::from_bits(x));
        let range = AddrRange::new(v4(small.0.min(small.1)), v4(small.0.max(small.1))).unwrap();
        prop_assert_eq!(range.to_string().parse::<AddrRange>(), Ok(range));
        let v6 = |x: u128| IpAddr::V6(Ipv6Addr::from_bits(x));
        let (low, high) = (v6(bits.0.min(bits.1)), v6(bits.0.max(bits.1)));
        prop_assume!(!is_mapped(low) && !is_mapped(high));
        let range = AddrRange::new(low, high).unwrap();
        prop_assert_eq!(range.to_string().parse::<AddrRange>(), Ok(range));
    }

    #[test]
    fn blocks_survive_their_texts(ip in any::<u128>(), len in 0..=128u32, v4 in any::<u32>(), len4 in 0..=32u32) {
        let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
        let ip = Ipv6Addr::from_bits(ip & mask);
        if ip.to_ipv4_mapped().is_none() {
            let text = format!("{ip}/{len}");
            let range: AddrRange = text.parse().unwrap();
            prop_assert_eq!(range.last(), IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() | !mask)));
            prop_assert_eq!(range.to_string(), if len == 128 { ip.to_string() } else { text });
        }
        let mask = u32::MAX.checked_shl(32 - len4).unwrap_or(0);
        let text = format!("{}/{len4}", Ipv4Addr::from_bits(v4 & mask));
        let range: AddrRange = text.parse().unwrap();
        prop_assert_eq!(range.last(), IpAddr::V4(Ipv4Addr::from_bits((v4 & mask) | !mask)));
        if v4 & !mask != 0 {
            let with_host_bits = format!("{}/{len4}", Ipv4Addr::from_bits(v4));
            let error = with_host_bits.parse::<AddrRange>().unwrap_err();
            let proposed = format!("`{text}`");
            prop_assert!(error.help().contains(&proposed), "{}", error.help());
        }
    }

    #[test]
    fn port_sets_are_what_the_oracle_says(r in prop::collection::vec(any::<(u16, u16)>(), 0..20)) {
        let r: Vec<(u16, u16)> = r.iter().map(|(a, b)| (*a.min(b), *a.max(b))).collect();
        let set = PortSet::from_ranges(r.iter().copied());
        let expected: BTreeSet<u16> = r.iter().flat_map(|(a, b)| *a..=*b).filter(|p| *p > 0).collect();
        prop_assert!(set.iter().map(Port::get).eq(expected.iter().copied()));
        prop_assert_eq!(set.len() as usize, expected.len());
        for (n, p) in expected.iter().enumerate().step_by(97) {
            let (n, port) = (u32::try_from(n).unwrap(), Port::new(*p).unwrap());
            prop_assert_eq!(set.nth(n), Some(port));
            prop_assert_eq!(set.index_of(port), Some(n));
        }
        prop_assert_eq!(set.nth(set.len()), None);
        for p in [1, 2, 80, 443, u16::MAX] {
            prop_assert_eq!(set.contains(Port::new(p).unwrap()), expected.contains(&p));
        }
        if !set.is_empty() {
            prop_assert_eq!(set.to_string().parse::<PortSet>(), Ok(set.clone()));
            let json = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(serde_json::from_str::<PortSet>(&json).unwrap(), set);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The order.

#[test]
fn order_is_a_bijection_for_every_small_length() {
    for len in 0..2000u64 {
        let order = ProbeOrder::new(len, len.wrapping_mul(0x2545_f491_4f6c_dd1d));
        assert_eq!((order.len(), order.is_empty()), (len, len == 0));
        let mut seen = vec![false; usize::try_from(len).unwrap()];
        for position in 0..len {
            let element = order.at(position);
            assert!(element < len, "{element} of {len}");
            let seen = &mut seen[usize::try_from(element).unwrap()];
            assert!(!*seen, "{element} twice in {len}");
            *seen = true;
            assert_eq!(order.position_of(element), position, "len {len}");
        }
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn order_inverts_at_every_size(bits in 1..=48u32, delta in -2i64..=2, seed in any::<u64>(), picks in prop::collection::vec(any::<u64>(), 1..50)) {
        // Lengths next to powers of two, where the width of the network changes.
        let len = (1u64 << bits).saturating_add_signed(delta).clamp(1, 1 << 48);
        let order = ProbeOrder::new(len, seed);
        for x in picks.iter().map(|p| p % len).chain([0, len - 1]) {
            let there = order.at(x);
            prop_assert!(there < len);
            prop_assert_eq!(order.position_of(there), x);
            prop_assert_eq!(order.at(order.position_of(x)), x);
        }
    }

    #[test]
    fn order_inverts_over_all_of_u64(len in 1u64.., seed in any::<u64>(), x in any::<u64>()) {
        let order = ProbeOrder::new(len, seed);
        prop_assert_eq!(order.position_of(order.at(x % len)), x % len);
    }
}

#[test]
fn orders_of_different_seeds_differ() {
    let at = |seed| {
        let order = ProbeOrder::new(10_000, seed);
        (0..100).map(move |p| order.at(p)).collect::<Vec<_>>()
    };
    let distinct: BTreeSet<Vec<u64>> = (0..1000).map(at).collect();
    assert_eq!(distinct.len(), 1000);
}

/// The largest number of probes for one host among any `window` consecutive ones.
fn busiest(order: &ProbeOrder, ports: u64, window: usize) -> usize {
    let hosts: Vec<u64> = (0..order.len()).map(|p| order.at(p) / ports).collect();
    let mut count: HashMap<u64, usize> = HashMap::new();
    let mut most = 0;
    for (i, host) in hosts.iter().enumerate() {
        let c = count.entry(*host).or_default();
        *c += 1;
        most = most.max(*c);
        if i + 1 >= window {
            *count.get_mut(&hosts[i + 1 - window]).unwrap() -= 1;
        }
    }
    most
}

#[test]
fn consecutive_probes_do_not_hammer_one_host() {
    // 256 hosts × 100 ports. In a random order, the busiest host among 256 consecutive probes has a
    // Poisson count of mean 1: 14 or more has a chance of 1/(e·14!) = 4·10^-12, times at most 6.5
    // million (window, host) pairs = 3·10^-5 for each seed.
    let most: Vec<usize> =
        (0..50).map(|seed| busiest(&ProbeOrder::new(25_600, seed), 100, 256)).collect();
    assert!(most.iter().all(|m| *m <= 13), "{most:?}");
    let mean = most.iter().sum::<usize>() as f64 / most.len() as f64;
    assert!(mean < 9.0, "{mean}");
}

#[test]
fn every_stretch_of_the_order_covers_the_hosts_evenly() {
    // Chi-squared over 256 hosts of the first 1/16 of the order. The statistic has 255 degrees of
    // freedom: mean 255, standard deviation 22.6; a sample without replacement varies less.
    let (hosts, ports) = (256u64, 160u64);
    let mut total = 0.0;
    for seed in 0..50 {
        let order = ProbeOrder::new(hosts * ports, seed);
        let mut count = [0u32; 256];
        let stretch = hosts * ports / 16;
        for p in 0..stretch {
            count[usize::try_from(order.at(p) / ports).unwrap()] += 1;
        }
        let mean = stretch as f64 / hosts as f64;
        let chi: f64 = count.iter().map(|c| (f64::from(*c) - mean).powi(2) / mean).sum();
        assert!(chi < 255.0 + 6.0 * 22.6, "seed {seed}: {chi}");
        total += chi;
    }
    // Neither clustered nor marching in step.
    let average = total / 50.0;
    assert!((200.0..280.0).contains(&average), "{average}");
}

#[test]
fn neighbours_in_the_order_are_not_neighbours_in_the_plan() {
    // The step between consecutive elements: a low entropy shows as a repeated difference.
    for (len, seed) in [(65_536u64 * 10, 1u64), (1 << 20, 2), ((1 << 20) + 1, 3), (999_983, 4)] {
        let order = ProbeOrder::new(len, seed);
        let mut steps: HashMap<i64, u32> = HashMap::new();
        for p in 0..100_000u64 {
            let step = order.at(p + 1).cast_signed() - order.at(p).cast_signed();
            *steps.entry(step).or_default() += 1;
        }
        // 10^5 differences over some 2·10^6 values: Poisson with a mean of at most 0.1.
        let most = steps.values().max().unwrap();
        assert!(*most <= 8, "len {len}: a step occurs {most} times");
    }
}

// ---------------------------------------------------------------------------------------------
// The plan.

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn every_cell_exactly_once_over_any_number_of_shards(
        allow in ranges(), deny in ranges(), wanted in ranges(),
        ports in prop::collection::vec((1..200u16, 0..5u16), 1..5),
        shards in 1..12u32, seed in any::<u64>(),
    ) {
        let scope = Scope::new(set(&allow), set(&deny), "test");
        let inside: BTreeSet<IpAddr> = oracle(&allow).difference(&oracle(&deny)).copied().collect();
        for ip in (0..PLACES).map(place) {
            prop_assert_eq!(scope.allows(ip), inside.contains(&ip));
            let endpoint = scope.endpoint(ip, Port::new(80).unwrap());
            prop_assert_eq!(endpoint.is_ok(), inside.contains(&ip));
        }
        let targets = set(&wanted).intersect(scope.allow());
        let hosts: BTreeSet<IpAddr> = oracle(&wanted).intersection(&inside).copied().collect();
        let Ok(addrs) = scope.narrow(&targets) else {
            prop_assert!(hosts.is_empty());
            return Ok(());
        };
        let ports = PortSet::from_ranges(ports.iter().map(|(a, n)| (*a, a + n)));
        let plan = CellPlan::new(addrs, ports.clone(), seed).unwrap();
        prop_assert_eq!(plan.cells(), hosts.len() as u64 * u64::from(ports.len()));

        let mut seen = BTreeSet::new();
        let mut steps = 0;
        for i in 1..=shards {
            let walk = plan.clone().walk(PlanShard::new(i, shards).unwrap());
            steps += walk.len();
            prop_assert_eq!(walk.iter().count() as u64, walk.len());
            prop_assert_eq!(walk.is_empty(), walk.iter().next().is_none());
            prop_assert_eq!(walk.endpoint(walk.len()), None);
            prop_assert_eq!(walk.endpoint(u64::MAX), None);
            for (step, endpoint) in walk.iter().enumerate() {
                let (ip, port) = (endpoint.ip(), endpoint.port());
                prop_assert!(scope.allows(ip) && walk.allows(&scope, ip));
                prop_assert!(seen.insert((ip, port)), "{} twice", endpoint);
                prop_assert_eq!(walk.step_of(ip, port), Some(step as u64));
                // No other shard claims it.
                for j in (1..=shards).filter(|j| *j != i) {
                    let other = plan.clone().walk(PlanShard::new(j, shards).unwrap());
                    prop_assert_eq!(other.step_of(ip, port), None);
                }
            }
            for ip in (0..PLACES).map(place).filter(|ip| !hosts.contains(ip)) {
                prop_assert_eq!(walk.step_of(ip, ports.nth(0).unwrap()), None);
                prop_assert!(!walk.allows(&scope, ip));
            }
        }
        prop_assert_eq!(steps, plan.cells());
        let expected: BTreeSet<(IpAddr, Port)> =
            hosts.iter().flat_map(|ip| ports.iter().map(move |p| (*ip, p))).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn targets_may_only_narrow(allow in ranges(), deny in ranges(), wanted in ranges()) {
        let scope = Scope::new(set(&allow), set(&deny), "test");
        let outside: BTreeSet<IpAddr> = oracle(&wanted).difference(&oracle(&allow)).copied().collect();
        match scope.narrow(&set(&wanted)) {
            Ok(inside) => {
                prop_assert!(outside.is_empty());
                prop_assert!(inside.addrs().iter().all(|ip| scope.allows(ip)));
            }
            Err(e) if !outside.is_empty() => {
                let named: BTreeSet<IpAddr> = AddrSet::from_ranges(e.ranges).iter().collect();
                prop_assert_eq!(named, outside);
            }
            // Denied, all of it, or nothing was wanted.
            Err(_) => prop_assert!(oracle(&wanted).iter().all(|ip| scope.deny().contains(*ip))),
        }
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn every_cell_exactly_once_over_parts_and_their_shards(
        hosts in 1..40u32, ports in 1..9u16, parts in 1..30u32, shards in 1..9u32, seed in any::<u64>(),
    ) {
        let first = Ipv4Addr::from_bits(0xc000_0200);
        let last = Ipv4Addr::from_bits(0xc000_0200 + hosts - 1);
        let range: AddrRange = format!("{first}-{last}").parse().unwrap();
        let scope = Scope::new(AddrSet::from_ranges([range]), AddrSet::default(), "test");
        let plan = CellPlan::new(scope.whole(), PortSet::from_ranges([(1, ports)]), seed).unwrap();
        let mut seen = BTreeSet::new();
        for k in 1..=parts {
            let part = PlanShard::new(k, parts).unwrap();
            let whole = plan.clone().walk_part(part, PlanShard::WHOLE);
            prop_assert_eq!(whole.iter().count() as u64, whole.len());
            let mut of_part = BTreeSet::new();
            for i in 1..=shards {
                let walk = plan.clone().walk_part(part, PlanShard::new(i, shards).unwrap());
                prop_assert_eq!(walk.iter().count() as u64, walk.len());
                for (step, e) in walk.iter().enumerate() {
                    prop_assert!(seen.insert((e.ip(), e.port())), "{} twice", e);
                    of_part.insert((e.ip(), e.port()));
                    prop_assert_eq!(walk.step_of(e.ip(), e.port()), Some(step as u64));
                    prop_assert_eq!(plan.part_of(e.ip(), e.port(), parts), Some(k));
                }
            }
            let expected: BTreeSet<_> = whole.iter().map(|e| (e.ip(), e.port())).collect();
            prop_assert_eq!(of_part, expected, "the shards of a part are the part");
        }
        prop_assert_eq!(seen.len() as u64, plan.cells());
    }
}

#[test]
fn the_largest_plan_walks_at_both_ends() {
    let range: AddrRange = "2001:db8::/96".parse().unwrap();
    let scope = Scope::new(AddrSet::from_ranges([range]), AddrSet::default(), "test");
    let plan = CellPlan::new(scope.whole(), PortSet::all(), 7).unwrap();
    assert_eq!(plan.cells(), 65_535 << 32);
    let walk = plan.walk(PlanShard::new(u32::MAX, u32::MAX).unwrap());
    for step in [0, 1, walk.len() - 1] {
        let e = walk.endpoint(step).unwrap();
        assert_eq!(walk.step_of(e.ip(), e.port()), Some(step));
    }
    assert_eq!(walk.endpoint(walk.len()), None);
    let last = PlanShard::new(u32::MAX, u32::MAX).unwrap();
    assert!(walk.plan().clone().walk_part(last, last).is_empty(), "more parts of parts than cells");

    let both: Vec<AddrRange> = ["0.0.0.0/0", "2001:db8::/96"].map(|r| r.parse().unwrap()).into();
    let scope = Scope::new(AddrSet::from_ranges(both), AddrSet::default(), "test");
    let error = CellPlan::new(scope.whole(), PortSet::all(), 7).unwrap_err();
    assert!(error.to_string().contains("8589934592 addresses × 65535 ports"), "{error}");
    let everything: Vec<AddrRange> = ["0.0.0.0/0", "::/0"].map(|r| r.parse().unwrap()).into();
    let scope = Scope::new(AddrSet::from_ranges(everything), AddrSet::default(), "test");
    assert_eq!(scope.permitted().len(), u128::MAX);
    assert!(CellPlan::new(scope.whole(), PortSet::all(), 7).is_err());
}

#[test]
fn an_ipv6_range_shorter_than_96_is_refused_and_addresses_out_of_it_are_not() {
    let wide: AddrRange = "2001:db8:10::/64".parse().unwrap();
    let scope = Scope::new(AddrSet::from_ranges([wide]), AddrSet::default(), "test");
    let port = PortSet::from_ranges([(443, 443)]);
    let error = CellPlan::new(scope.whole(), port.clone(), 7).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2001:db8:10::/64 holds 18446744073709551616 IPv6 addresses, too many to be swept in full"
    );
    assert_eq!(error.seconds_at(1 << 20), Some((1u64 << 44) as f64));
    let plan = |targets: &[&str]| {
        let targets: Vec<AddrRange> = targets.iter().map(|t| t.parse().unwrap()).collect();
        let inside = scope.narrow(&AddrSet::from_ranges(targets)).unwrap();
        CellPlan::new(inside, port.clone(), 7).map(|p| p.cells())
    };
    assert_eq!(plan(&["2001:db8:10::1", "2001:db8:10::8000:0/112"]), Ok(65_537));
    assert_eq!(plan(&["2001:db8:10::/96"]), Ok(1 << 32));
    assert!(plan(&["2001:db8:10::/95"]).is_err());
}

#[test]
fn an_empty_plan_is_refused() {
    let scope = Scope::new(AddrSet::default(), AddrSet::default(), "test");
    assert!(CellPlan::new(scope.whole(), PortSet::all(), 0).is_err());
    let scope = Scope::new(
        AddrSet::from_ranges(["192.0.2.1".parse().unwrap()]),
        AddrSet::default(),
        "test",
    );
    assert!(CellPlan::new(scope.whole(), PortSet::default(), 0).is_err());
    let error = scope.narrow(&AddrSet::default()).unwrap_err();
    assert_eq!(error.to_string(), "there is no target");
}

#[test]
fn no_set_holds_an_ipv4_mapped_address() {
    let all = AddrSet::from_ranges(["::/0".parse().unwrap()]);
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    assert!(!all.contains(mapped));
    assert_eq!(all.len(), u128::MAX - u128::from(u32::MAX));
    let scope = Scope::new(all, AddrSet::default(), "test");
    assert!(!scope.allows(mapped));
    assert!(scope.endpoint(mapped, Port::new(1).unwrap()).is_err());
    assert!(scope.allows("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()));
}

#[test]
fn shards_are_written_in_one_way() {
    for good in ["1/1", "7/7", "1/4294967295"] {
        assert_eq!(good.parse::<PlanShard>().unwrap().to_string(), good);
    }
    for bad in
        ["", "/", "0/1", "2/1", "1/0", "01/7", "+1/7", "1/7 ", "1/2/3", "-1/2", "1/4294967296"]
    {
        assert!(bad.parse::<PlanShard>().is_err(), "{bad}");
    }
}

#[test]
fn a_million_ranges_are_subtracted_in_linear_time() {
    // Quadratic code needs 10^12 steps here and does not come back.
    let every_fourth = |start: u32| {
        AddrSet::from_ranges((0..1_000_000u32).map(move |i| {
            let ip = |x: u32| IpAddr::V4(Ipv4Addr::from_bits(x));
            AddrRange::new(ip(start + 4 * i), ip(start + 4 * i + 1)).unwrap()
        }))
    };
    let (a, b) = (every_fourth(0), every_fourth(1));
    let difference = a.subtract(&b);
    assert_eq!(difference.len(), 1_000_000);
    assert_eq!(a.intersect(&b).len(), 1_000_000);
    assert_eq!(a.union(&b).len(), 3_000_000);
    assert_eq!(difference.union(&a.intersect(&b)), a);
}

// ---------------------------------------------------------------------------------------------
// Hostile texts.

/// Texts near the grammar, and far from it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9a-f:./%*\\[\\]-]{0,60}",
        "[0-9.,\r\n #/-]{0,120}",
        "[a-zA-Z0-9._-]{0,300}",
        "(198\\.51\\.100\\.[0-9]{1,3}(/[0-9]{1,3})?[\r\n ,-]{0,3}){0,20}",
    ]
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn no_text_makes_a_parser_panic_or_print_a_control_character(s in text()) {
        let mut messages = Vec::new();
        if let Err(e) = s.parse::<AddrRange>() {
            messages.extend([e.to_string(), e.help()]);
        }
        if let Err(e) = s.parse::<HostName>() {
            messages.extend([e.to_string(), e.help().to_owned()]);
        }
        if let Err(e) = s.parse::<PortSet>() {
            messages.push(e.to_string());
        }
        if let Err(e) = s.parse::<PlanShard>() {
            messages.push(e.to_string());
        }
        for m in &messages {
            prop_assert!(!m.chars().any(char::is_control), "{m:?}");
            prop_assert!(m.chars().count() < 400, "{m:?}");
        }
        let source = TextSource::new("x", s.as_str());
        let errors = [
            list::parse_text(&s, &s).err(),
            list::parse_items("--targets", std::slice::from_ref(&s)).err(),
            list::parse_spanned(&source, &[(0..s.len(), s.clone())]).err(),
        ];
        for e in errors.into_iter().flatten() {
            prop_assert!(!e.0.is_empty());
            let m = e.to_string();
            prop_assert!(!m.chars().any(|c| c.is_control() && c != '\n'), "{m:?}");
        }
    }

    #[test]
    fn what_a_list_accepts_it_reads_again(s in text()) {
        if let Ok(targets) = list::parse_text("x", &s) {
            let again = targets.addrs().ranges().map(|r| r.to_string())
                .chain(targets.names().iter().map(ToString::to_string))
                .collect::<Vec<_>>().join("\r\n");
            prop_assert_eq!(list::parse_text("x", &again).unwrap(), targets);
        }
    }

    #[test]
    fn any_span_of_any_text_can_be_shown(s in any::<String>(), a in 0..200usize, b in 0..200usize) {
        let source = TextSource::new("x", s.as_str());
        #[allow(clippy::reversed_empty_ranges)]
        for span in [a..b, b..a, 0..usize::MAX] {
            let d = Diagnostic::error(s.as_str(), &source, span).label(s.as_str()).help(s.as_str());
            for colour in [false, true] {
                prop_assert!(!d.render(colour).is_empty());
            }
            prop_assert!(!d.render(false).chars().any(|c| c.is_control() && c != '\n'));
            prop_assert!(d.line() >= 1);
        }
    }

    #[test]
    fn any_bytes_are_a_source_or_a_message(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        match TextSource::from_bytes("x", bytes.clone()) {
            Ok(source) => prop_assert_eq!(source.text().as_bytes(), bytes.as_slice()),
            Err(e) => prop_assert!(e.to_string().contains("UTF-8")),
        }
    }
}
