//! What the kernel knows: links, own addresses, routes and neighbours, read by rtnetlink(7).
//!
//! Reading needs no privilege.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use mimawari_targets::AddrRange;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteType, RouteVia,
};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use super::route::{NextHop, PacketRoute, ResolvedHop, RouteKind};
use super::source::OwnAddress;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInterface {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is a loopback.
    pub loopback: bool,
    /// Whether neighbours are not asked for on it: frames go to its own Ethernet address, as the
    /// kernel's do (ipvlan in L3 mode, `ip link set arp off`).
    pub without_arp: bool,
}

/// An entry of the kernel's neighbour table with a usable Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelNeighbour {
    /// Interface index.
    pub device: u32,
    /// Whose.
    pub ip: IpAddr,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Whether the kernel holds it for true at present, not just for the last that was known.
    pub fresh: bool,
}

/// All of it at one moment.
#[derive(Debug, Clone, Default)]
pub struct KernelRoutes {
    /// Interfaces.
    pub interfaces: Vec<NetworkInterface>,
    /// Own addresses.
    pub addresses: Vec<OwnAddress>,
    /// Routes of all tables that touch the targets.
    pub routes: Vec<PacketRoute>,
    /// Neighbours.
    pub neighbours: Vec<KernelNeighbour>,
}

/// Reads all; of the routes those that touch `targets` (sorted, disjoint), since a router's table
/// may hold a million others.
///
/// # Errors
/// When netlink fails.
pub fn read(targets: &[AddrRange]) -> io::Result<KernelRoutes> {
    let targets = targets.to_vec();
    run_on_own_thread(move |handle| async move {
        let mut kernel = KernelRoutes::default();
        let mut links = handle.link().get().execute();
        while let Some(link) = links.try_next().await.map_err(to_io_error)? {
            let name = link.attributes.iter().find_map(|a| match a {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            kernel.interfaces.push(NetworkInterface {
                index: link.header.index,
                name: name.unwrap_or_default(),
                up: link.header.flags.contains(LinkFlags::Up),
                loopback: link.header.flags.contains(LinkFlags::Loopback),
                without_arp: link.header.flags.contains(LinkFlags::Noarp),
            });
        }
        let mut addresses = handle.address().get().execute();
        while let Some(message) = addresses.try_next().await.map_err(to_io_error)? {
            kernel.addresses.extend(parse_own_address(&message));
        }
        for query in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let mut routes = handle.route().get(query).execute();
            while let Some(message) = routes.try_next().await.map_err(to_io_error)? {
                kernel.routes.extend(parse_route(&message).filter(|r| touches(r, &targets)));
            }
        }
        for version in [IpVersion::V4, IpVersion::V6] {
            let mut rules = handle.rule().get(version).execute();
            // A kernel without policy routing refuses the question, and has no rules.
            while let Ok(Some(message)) = rules.try_next().await {
                kernel.routes.extend(cut_of(&message).filter(|r| touches(r, &targets)));
            }
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut list = handle.neighbours().get().set_address_family(family).execute();
            while let Some(message) = list.try_next().await.map_err(to_io_error)? {
                kernel.neighbours.extend(parse_neighbour(&message));
            }
        }
        Ok(kernel)
    })
}

/// Asks the kernel which way it would send to each address, by `device` and from the one of `sources`
/// that is of its family, if given. `Ok(None)` for an address: it has no way.
///
/// # Errors
/// When netlink itself fails.
pub fn look_up(
    addresses: Vec<IpAddr>,
    device: Option<u32>,
    sources: &[IpAddr],
) -> io::Result<Vec<Option<NextHop>>> {
    let sources = sources.to_vec();
    run_on_own_thread(move |handle| async move {
        let mut out = Vec::with_capacity(addresses.len());
        for ip in addresses {
            let width = if ip.is_ipv4() { 32 } else { 128 };
            let mut query = RouteMessage::default();
            query.header.address_family =
                if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            query.header.destination_prefix_length = width;
            query.attributes.push(RouteAttribute::Destination(ip.into()));
            if let Some(source) = sources.iter().find(|s| s.is_ipv4() == ip.is_ipv4()) {
                query.header.source_prefix_length = width;
                query.attributes.push(RouteAttribute::Source((*source).into()));
            }
            query.attributes.extend(device.map(RouteAttribute::Oif));
            // The answer then names the table that the way is from.
            query.header.flags |= RouteFlags::LookupTable;
            let mut answers = handle.route().get(query).execute();
            let way = match answers.try_next().await {
                Ok(Some(message)) => parse_route(&message).and_then(|r| {
                    let local = r.kind == RouteKind::Local;
                    (local || r.kind == RouteKind::Unicast).then_some(())?;
                    // Restricted to a device, an IPv4 kernel takes everything without a route for
                    // on-link, and names no table.
                    (local || device.is_none() || r.table != 0).then_some(())?;
                    let hop = r.hops.first()?;
                    Some(NextHop {
                        device: hop.device,
                        gateway: hop.gateway,
                        source: r.source,
                        local,
                    })
                }),
                Ok(None) => None,
                // Unreachable, prohibited, invalid: the answer is that there is no way.
                Err(rtnetlink::Error::NetlinkError(_)) => None,
                Err(e) => return Err(to_io_error(e)),
            };
            out.push(way);
        }
        Ok(out)
    })
}

/// Runs a conversation with the kernel on a thread of its own: the caller may be inside another
/// runtime, which must not be blocked on from within. The thread is in the caller's network
/// namespace, as every new thread.
fn run_on_own_thread<T, F>(f: impl FnOnce(Handle) -> F + Send + 'static) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>>,
{
    let thread = std::thread::Builder::new().name("netlink".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            let conversation = tokio::spawn(connection);
            let result = f(handle).await;
            conversation.abort();
            result
        })
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the netlink thread panicked")))
}

fn to_io_error(e: rtnetlink::Error) -> io::Error {
    io::Error::other(e)
}

fn touches(route: &PacketRoute, targets: &[AddrRange]) -> bool {
    route.range().is_some_and(|r| {
        let i = targets.partition_point(|t| t.last() < r.first());
        targets.get(i).is_some_and(|t| t.first() <= r.last())
    })
}

fn parse_own_address(message: &AddressMessage) -> Option<OwnAddress> {
    // On point-to-point links `Address` is the peer's and `Local` one's own; else they are equal
    // or only `Address` is there.
    let mut address = None;
    let mut local = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            _ => {}
        }
    }
    let flags = message.header.flags;
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    Some(OwnAddress {
        device: message.header.index,
        ip: local.or(address)?,
        prefix: message.header.prefix_len,
        usable: !flags.intersects(unusable),
        preferred: !flags
            .intersects(AddressHeaderFlags::Deprecated | AddressHeaderFlags::Secondary),
    })
}

/// The destination of a policy rule as a route that cuts the targets and matches nothing: which way
/// it sends them only the kernel knows.
fn cut_of(rule: &RuleMessage) -> Option<PacketRoute> {
    let network = rule.attributes.iter().find_map(|a| match a {
        RuleAttribute::Destination(ip) => Some(*ip),
        _ => None,
    })?;
    Some(PacketRoute {
        network,
        prefix: rule.header.dst_len,
        table: 0,
        metric: 0,
        kind: RouteKind::Throw,
        hops: Vec::new(),
        source: None,
    })
}

fn parse_route(message: &RouteMessage) -> Option<PacketRoute> {
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = PacketRoute {
        network: any,
        prefix: message.header.destination_prefix_length,
        table: message.header.table.into(),
        metric: 0,
        kind: match message.header.kind {
            RouteType::Unicast | RouteType::Anycast => RouteKind::Unicast,
            RouteType::Local => RouteKind::Local,
            RouteType::Throw => RouteKind::Throw,
            // To TCP, a broadcast address is one more address of the link at which nobody answers.
            RouteType::Broadcast => return None,
            _ => RouteKind::Refused,
        },
        hops: Vec::new(),
        source: None,
    };
    let (mut device, mut gateway) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(a) => route.network = to_ip_addr(a)?,
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::Gateway(a) => gateway = to_ip_addr(a),
            RouteAttribute::Via(v) => gateway = to_gateway_ip(v),
            RouteAttribute::PrefSource(a) => route.source = to_ip_addr(a),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::MultiPath(hops) => {
                for hop in hops.iter().filter(|h| !h.flags.contains(RouteNextHopFlags::Dead)) {
                    let gateway = hop.attributes.iter().find_map(|a| match a {
                        RouteAttribute::Gateway(a) => to_ip_addr(a),
                        RouteAttribute::Via(v) => to_gateway_ip(v),
                        _ => None,
                    });
                    route.hops.push(ResolvedHop { device: hop.interface_index, gateway });
                }
            }
            _ => {}
        }
    }
    if let Some(device) = device {
        route.hops.insert(0, ResolvedHop { device, gateway });
    }
    // The kernel says fe80::/64-like on-link routes without a gateway, some drivers with `::`.
    for hop in &mut route.hops {
        hop.gateway = hop.gateway.filter(|g| !g.is_unspecified());
    }
    Some(route)
}

fn to_ip_addr(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}

fn to_gateway_ip(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(a) => Some(IpAddr::V4(*a)),
        RouteVia::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}

fn parse_neighbour(message: &NeighbourMessage) -> Option<KernelNeighbour> {
    let fresh = match message.header.state {
        NeighbourState::Reachable | NeighbourState::Permanent => true,
        NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe => false,
        _ => return None,
    };
    let (mut at, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => at = Some((*a).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => at = Some((*a).into()),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok();
            }
            _ => {}
        }
    }
    Some(KernelNeighbour { device: message.header.ifindex, ip: at?, mac: mac?, fresh })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(s: &str) -> AddrRange {
        s.parse().unwrap()
    }

    #[test]
    fn loopback_is_known_to_every_kernel() {
        let kernel = read(&[target("127.0.0.1")]).unwrap();
        let lo = kernel.interfaces.iter().find(|i| i.loopback).unwrap();
        assert_eq!(lo.name, "lo");
    }

    #[test]
    fn only_routes_that_touch_the_targets_stay() {
        let route = |network: &str, prefix| PacketRoute {
            network: network.parse().unwrap(),
            prefix,
            table: 254,
            metric: 0,
            kind: RouteKind::Unicast,
            hops: Vec::new(),
            source: None,
        };
        let targets = [target("192.0.2.0/26"), target("192.0.2.128/26"), target("2001:db8::/120")];
        assert!(touches(&route("0.0.0.0", 0), &targets));
        assert!(touches(&route("192.0.2.63", 32), &targets));
        assert!(!touches(&route("192.0.2.64", 26), &targets));
        assert!(touches(&route("192.0.2.128", 26), &targets));
        assert!(!touches(&route("192.0.2.192", 26), &targets));
        assert!(touches(&route("::", 0), &targets));
        assert!(!touches(&route("fe80::", 64), &targets));
    }

    #[test]
    fn a_message_becomes_a_route() {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 24;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::new(192, 0, 2, 0))),
            RouteAttribute::Table(1000),
            RouteAttribute::Oif(4),
            RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(198, 51, 100, 1))),
        ];
        let r = parse_route(&message).unwrap();
        assert_eq!((r.table, r.prefix), (1000, 24));
        assert_eq!(
            r.hops,
            [ResolvedHop { device: 4, gateway: Some("198.51.100.1".parse().unwrap()) }]
        );
        message.header.kind = RouteType::BlackHole;
        assert_eq!(parse_route(&message).unwrap().kind, RouteKind::Refused);
        message.header.kind = RouteType::Broadcast;
        assert_eq!(parse_route(&message), None);
        message.header.address_family = AddressFamily::Mpls;
        assert_eq!(parse_route(&message), None);
    }
}
