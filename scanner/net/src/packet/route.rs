//! Which way a frame for an address goes: longest-prefix match over a routing table, pure.
//!
//! The walk's addresses are cut wherever a route begins or ends, so that everything between two
//! cuts goes one way. The kernel's own answer for one address of each piece may then replace the
//! match (policy routing and multipath are its business), and equal neighbours are joined again.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mimawari_targets::AddrRange;

/// The kernel's table of own addresses (`RT_TABLE_LOCAL`, rtnetlink(7)).
pub const TABLE_LOCAL: u32 = 255;
/// The table that `ip route` shows (`RT_TABLE_MAIN`).
pub const TABLE_MAIN: u32 = 254;
/// The table after it (`RT_TABLE_DEFAULT`).
pub const TABLE_DEFAULT: u32 = 253;

/// The order in which the kernel asks the tables as long as nobody made policy rules.
const TABLES: [u32; 3] = [TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT];

/// What a route does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// Sends it to a next hop.
    Unicast,
    /// Takes it in: the address is this machine's own.
    Local,
    /// Refuses it: blackhole, unreachable, prohibit, multicast.
    Refused,
    /// Says that this table has nothing for it.
    Throw,
}

/// One way out of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedHop {
    /// Interface index.
    pub device: u32,
    /// The router to hand the packet to; `None` when the destination itself is on the link.
    pub gateway: Option<IpAddr>,
}

/// A route as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketRoute {
    /// First address of the prefix.
    pub network: IpAddr,
    /// Prefix length, at most 32 or 128.
    pub prefix: u8,
    /// Table number.
    pub table: u32,
    /// Of two routes with the same prefix the one with the lower metric is used.
    pub metric: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Ways out, the dead ones left out; empty for [`RouteKind::Refused`] and [`RouteKind::Throw`].
    pub hops: Vec<ResolvedHop>,
    /// Source address to use, where the route names one.
    pub source: Option<IpAddr>,
}

impl PacketRoute {
    /// The addresses of the prefix; `None` when the prefix length does not fit the family.
    #[must_use]
    pub fn range(&self) -> Option<AddrRange> {
        let (_, width) = to_address_bits(self.network);
        let host = width.checked_sub(u32::from(self.prefix))?;
        let first = apply_prefix_mask(self.network, self.prefix)?;
        let (first_bits, _) = to_address_bits(first);
        let last = first_bits | build_host_mask(host);
        AddrRange::new(first, from_address_bits(last, first))
    }
}

/// Where frames for a piece of the targets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Interface index. For own addresses the one that has the address; frames go by `lo`.
    pub device: u32,
    /// The router; `None` when the destination itself is on the link.
    pub gateway: Option<IpAddr>,
    /// The source address that the route or the kernel names.
    pub source: Option<IpAddr>,
    /// Whether the destination is an own address of this machine.
    pub local: bool,
}

/// A piece of the targets that goes one way, or none (`hop` is `None`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteSegment {
    /// The addresses.
    pub range: AddrRange,
    /// The way.
    pub hop: Option<NextHop>,
}

/// Cuts the targets (sorted and disjoint, as [`AddrSet::ranges`](mimawari_targets::AddrSet::ranges)
/// gives them) wherever a route of any table begins or ends and matches each piece. With `device`,
/// only ways out by that interface count. Routes outside local, main and default cut and never
/// match: only the kernel knows which packets policy rules send to them.
#[must_use]
pub fn split_into_segments(
    targets: &[AddrRange],
    routes: &[PacketRoute],
    device: Option<u32>,
) -> Vec<RouteSegment> {
    let table = RouteTable::new(routes, device);
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for range in routes.iter().filter_map(PacketRoute::range) {
        let cuts = if range.first().is_ipv4() { &mut v4 } else { &mut v6 };
        let ((first, _), (last, _)) =
            (to_address_bits(range.first()), to_address_bits(range.last()));
        cuts.push(first);
        cuts.extend(last.checked_add(1));
    }
    for cuts in [&mut v4, &mut v6] {
        cuts.sort_unstable();
        cuts.dedup();
    }
    let mut out = Vec::new();
    for target in targets {
        let cuts = if target.first().is_ipv4() { &v4 } else { &v6 };
        let (mut first, _) = to_address_bits(target.first());
        let (last, _) = to_address_bits(target.last());
        let mut i = cuts.partition_point(|c| *c <= first);
        loop {
            let cut = cuts.get(i).copied().filter(|c| *c <= last);
            let end = cut.map_or(last, |c| c - 1);
            let from = from_address_bits(first, target.first());
            if let Some(range) = AddrRange::new(from, from_address_bits(end, target.first())) {
                out.push(RouteSegment { range, hop: table.find(from) });
            }
            let Some(cut) = cut else { break };
            first = cut;
            i += 1;
        }
    }
    out
}

/// Joins adjacent segments that go the same way.
#[must_use]
pub fn join(segments: Vec<RouteSegment>) -> Vec<RouteSegment> {
    let mut out: Vec<RouteSegment> = Vec::with_capacity(segments.len());
    for s in segments {
        if let Some(last) = out.last_mut()
            && last.hop == s.hop
            && last.range.first().is_ipv4() == s.range.first().is_ipv4()
            && to_address_bits(last.range.last()).0.checked_add(1)
                == Some(to_address_bits(s.range.first()).0)
            && let Some(range) = AddrRange::new(last.range.first(), s.range.last())
        {
            last.range = range;
        } else {
            out.push(s);
        }
    }
    out
}

/// The segment that holds an address, of sorted and disjoint segments.
#[must_use]
#[inline]
pub fn find_segment(segments: &[RouteSegment], ip: IpAddr) -> Option<usize> {
    let i = segments.partition_point(|s| s.range.first() <= ip).checked_sub(1)?;
    segments[i].range.contains(ip).then_some(i)
}

/// Routes by table and prefix length. Every length that occurs is tried, the longest first.
struct RouteTable<'a> {
    tables: [BTreeMap<u8, HashMap<IpAddr, &'a PacketRoute>>; TABLES.len()],
    device: Option<u32>,
}

impl<'a> RouteTable<'a> {
    fn new(routes: &'a [PacketRoute], device: Option<u32>) -> Self {
        let mut tables: [BTreeMap<u8, HashMap<IpAddr, &'a PacketRoute>>; TABLES.len()] =
            std::array::from_fn(|_| BTreeMap::new());
        for route in routes {
            let Some(place) = TABLES.iter().position(|t| *t == route.table) else { continue };
            let Some(network) = apply_prefix_mask(route.network, route.prefix) else { continue };
            let sends = matches!(route.kind, RouteKind::Unicast | RouteKind::Local);
            if sends && pick(route, device).is_none() {
                continue;
            }
            let slot = tables[place].entry(route.prefix).or_default().entry(network);
            slot.and_modify(|r| {
                if route.metric < r.metric {
                    *r = route;
                }
            })
            .or_insert(route);
        }
        Self { tables, device }
    }

    fn find(&self, ip: IpAddr) -> Option<NextHop> {
        for table in &self.tables {
            let best = table
                .iter()
                .rev()
                .find_map(|(prefix, routes)| routes.get(&apply_prefix_mask(ip, *prefix)?).copied());
            let Some(route) = best else { continue };
            match route.kind {
                RouteKind::Throw => {}
                RouteKind::Refused => return None,
                RouteKind::Unicast | RouteKind::Local => {
                    let hop = pick(route, self.device)?;
                    return Some(NextHop {
                        device: hop.device,
                        gateway: hop.gateway,
                        source: route.source,
                        local: route.kind == RouteKind::Local,
                    });
                }
            }
        }
        None
    }
}

fn pick(route: &PacketRoute, device: Option<u32>) -> Option<ResolvedHop> {
    route.hops.iter().copied().find(|h| device.is_none_or(|d| d == h.device))
}

/// The address as a number, and the width of its family.
const fn to_address_bits(ip: IpAddr) -> (u128, u32) {
    match ip {
        IpAddr::V4(a) => (a.to_bits() as u128, 32),
        IpAddr::V6(a) => (a.to_bits(), 128),
    }
}

/// The address with this number in the family of `like`.
fn from_address_bits(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

const fn build_host_mask(host_bits: u32) -> u128 {
    if host_bits >= 128 { u128::MAX } else { (1u128 << host_bits) - 1 }
}

fn apply_prefix_mask(ip: IpAddr, prefix: u8) -> Option<IpAddr> {
    let (n, width) = to_address_bits(ip);
    let host = width.checked_sub(u32::from(prefix))?;
    Some(from_address_bits(n & !build_host_mask(host), ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(s: &str) -> AddrRange {
        s.parse().unwrap()
    }

    fn route(prefix: &str, table: u32, device: u32, gateway: Option<&str>) -> PacketRoute {
        let (net, len) = prefix.split_once('/').unwrap();
        PacketRoute {
            network: net.parse().unwrap(),
            prefix: len.parse().unwrap(),
            table,
            metric: 0,
            kind: RouteKind::Unicast,
            hops: vec![ResolvedHop { device, gateway: gateway.map(|g| g.parse().unwrap()) }],
            source: None,
        }
    }

    fn refused(prefix: &str) -> PacketRoute {
        PacketRoute {
            kind: RouteKind::Refused,
            hops: Vec::new(),
            ..route(prefix, TABLE_MAIN, 0, None)
        }
    }

    fn local(prefix: &str, device: u32) -> PacketRoute {
        PacketRoute { kind: RouteKind::Local, ..route(prefix, TABLE_LOCAL, device, None) }
    }

    fn show(segments: &[RouteSegment]) -> String {
        let mut out = String::new();
        for s in segments {
            out.push_str(&s.range.to_string());
            match s.hop {
                None => out.push_str(" none\n"),
                Some(h) => {
                    let gateway = h.gateway.map_or_else(|| "link".to_owned(), |g| g.to_string());
                    let local = if h.local { " local" } else { "" };
                    out.push_str(&format!(" dev {} {gateway}{local}\n", h.device));
                }
            }
        }
        out
    }

    #[test]
    fn the_longest_prefix_wins_and_pieces_are_joined() {
        let routes = [
            route("0.0.0.0/0", TABLE_MAIN, 2, Some("192.0.2.1")),
            route("198.18.0.0/16", TABLE_MAIN, 3, None),
            route("198.18.7.0/24", TABLE_MAIN, 2, Some("192.0.2.9")),
            refused("198.18.9.0/24"),
            local("198.18.0.1/32", 3),
        ];
        let out = join(split_into_segments(&[range("198.17.255.0-198.18.9.255")], &routes, None));
        insta::assert_snapshot!(show(&out), @r"
        198.17.255.0/24 dev 2 192.0.2.1
        198.18.0.0 dev 3 link
        198.18.0.1 dev 3 link local
        198.18.0.2-198.18.6.255 dev 3 link
        198.18.7.0/24 dev 2 192.0.2.9
        198.18.8.0/24 dev 3 link
        198.18.9.0/24 none
        ");
    }

    #[test]
    fn without_a_default_route_there_is_none() {
        let routes = [route("2001:db8:1::/64", TABLE_MAIN, 3, Some("fe80::1"))];
        let targets = [range("192.0.2.0/24"), range("2001:db8:1::/120"), range("2001:db8:2::/120")];
        insta::assert_snapshot!(show(&join(split_into_segments(&targets, &routes, None))), @r"
        192.0.2.0/24 none
        2001:db8:1::/120 dev 3 fe80::1
        2001:db8:2::/120 none
        ");
    }

    #[test]
    fn an_interface_restricts_to_its_routes() {
        let routes = [
            route("0.0.0.0/0", TABLE_MAIN, 2, Some("192.0.2.1")),
            route("198.18.0.0/16", TABLE_MAIN, 3, None),
            route("198.18.4.0/24", TABLE_MAIN, 4, None),
        ];
        let target = [range("198.18.4.0/24")];
        let device =
            |d| join(split_into_segments(&target, &routes, Some(d)))[0].hop.map(|h| h.gateway);
        assert_eq!(device(2), Some(Some("192.0.2.1".parse().unwrap())));
        assert_eq!(device(3), Some(None));
        assert_eq!(device(4), Some(None));
        assert_eq!(device(5), None);
    }

    #[test]
    fn tables_come_in_order_and_throw_goes_on() {
        let throw = PacketRoute {
            kind: RouteKind::Throw,
            hops: Vec::new(),
            ..route("198.18.1.0/24", TABLE_MAIN, 0, None)
        };
        let routes = [
            route("198.18.0.0/16", TABLE_MAIN, 2, None),
            throw,
            route("198.18.0.0/15", TABLE_DEFAULT, 9, None),
            // A more specific route of a later table does not win over an earlier table.
            route("198.18.2.0/24", TABLE_DEFAULT, 9, None),
            // A table behind policy rules cuts and does not match.
            route("198.18.3.0/24", 100, 7, None),
        ];
        let device = |ip: &str| {
            let target = [range(ip)];
            split_into_segments(&target, &routes, None)[0].hop.map(|h| h.device)
        };
        assert_eq!(device("198.18.1.5"), Some(9));
        assert_eq!(device("198.18.2.5"), Some(2));
        assert_eq!(device("198.18.3.5"), Some(2));
        assert_eq!(device("198.19.0.5"), Some(9));
        assert_eq!(split_into_segments(&[range("198.18.2.0/23")], &routes, None).len(), 2);
    }

    #[test]
    fn of_two_equal_prefixes_the_lower_metric_wins() {
        let mut slow = route("198.18.0.0/16", TABLE_MAIN, 2, None);
        slow.metric = 600;
        let mut fast = route("198.18.0.0/16", TABLE_MAIN, 3, None);
        fast.metric = 100;
        for routes in [[slow.clone(), fast.clone()], [fast, slow]] {
            let out = split_into_segments(&[range("198.18.0.1")], &routes, None);
            assert_eq!(out[0].hop.map(|h| h.device), Some(3));
        }
    }

    #[test]
    fn the_ends_of_the_address_space_are_no_trap() {
        let routes = [route("0.0.0.0/0", TABLE_MAIN, 2, None), route("::/0", TABLE_MAIN, 2, None)];
        let targets =
            [range("255.255.255.255"), range("ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")];
        let out = join(split_into_segments(&targets, &routes, None));
        assert_eq!(out.len(), 2);
        assert!(out.iter().all(|s| s.hop.is_some()));
        let wrong = PacketRoute { prefix: 33, ..route("192.0.2.0/24", TABLE_MAIN, 2, None) };
        assert_eq!(wrong.range(), None);
        assert_eq!(split_into_segments(&[range("192.0.2.1")], &[wrong], None)[0].hop, None);
    }

    #[test]
    fn position_finds_the_segment() {
        let routes = [route("198.18.1.0/24", TABLE_MAIN, 2, None)];
        let out = join(split_into_segments(
            &[range("198.18.0.0/23"), range("198.18.4.7")],
            &routes,
            None,
        ));
        let at = |ip: &str| find_segment(&out, ip.parse().unwrap());
        assert_eq!(at("198.18.0.0"), Some(0));
        assert_eq!(at("198.18.1.255"), Some(1));
        assert_eq!(at("198.18.2.0"), None);
        assert_eq!(at("198.18.4.7"), Some(2));
        assert_eq!(at("198.17.0.0"), None);
        assert_eq!(at("::1"), None);
    }

    /// SplitMix64: the tests' own source of variety, the same at every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: u32) -> u32 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (((z ^ (z >> 31)) >> 32) as u32) % n
        }

        fn route(&mut self) -> PacketRoute {
            let network = IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 + self.below(1024)));
            let prefix = u8::try_from(20 + self.below(13)).unwrap();
            let device = 1 + self.below(3);
            PacketRoute {
                network: apply_prefix_mask(network, prefix).unwrap(),
                prefix,
                table: TABLES[self.below(3) as usize],
                metric: device,
                kind: match self.below(6) {
                    0 => RouteKind::Refused,
                    1 => RouteKind::Throw,
                    2 => RouteKind::Local,
                    _ => RouteKind::Unicast,
                },
                hops: vec![ResolvedHop { device, gateway: None }],
                source: None,
            }
        }
    }

    /// The definition, address by address.
    fn plainly(ip: IpAddr, routes: &[PacketRoute]) -> Option<(u32, bool)> {
        for table in TABLES {
            let best = routes
                .iter()
                .filter(|r| r.table == table && r.range().unwrap().contains(ip))
                .max_by_key(|r| (r.prefix, std::cmp::Reverse(r.metric)));
            match best.map(|r| (r.kind, r.hops[0].device)) {
                None | Some((RouteKind::Throw, _)) => {}
                Some((RouteKind::Refused, _)) => return None,
                Some((kind, device)) => return Some((device, kind == RouteKind::Local)),
            }
        }
        None
    }

    #[test]
    fn segments_agree_with_the_definition() {
        let mut numbers = Numbers(7);
        for _ in 0..64 {
            let count = numbers.below(24);
            let mut routes: Vec<PacketRoute> = (0..count).map(|_| numbers.route()).collect();
            // Which of two routes equal in everything is used is the kernel's choice; leave one.
            let mut seen = std::collections::HashSet::new();
            routes.retain(|r| seen.insert((r.network, r.prefix, r.table, r.metric)));
            let pieces = split_into_segments(&[range("198.18.0.0/22")], &routes, None);
            let joined = join(pieces.clone());
            assert!(joined.len() <= pieces.len());
            for n in 0..1024u32 {
                let ip = IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 + n));
                for list in [&pieces, &joined] {
                    let s = list[find_segment(list, ip).unwrap()];
                    let found = s.hop.map(|h| (h.device, h.local));
                    assert_eq!(found, plainly(ip, &routes), "{ip} in {routes:#?}");
                }
            }
        }
    }
}
