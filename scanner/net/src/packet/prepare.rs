//! Everything before the first packet of the sweep: routes, interfaces, sockets, gateways.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mimawari_probes::cookie::Cookie;
use mimawari_probes::gap::Gap;
use mimawari_probes::wire::SynTemplate;
use mimawari_rawio::InterfaceFacts;
use mimawari_targets::{AddrRange, PlanOrder, Scope};

use super::asking::ask_all;
use super::link::{LinkPath, NextFrame, PacketLink, ReceiveSetup};
use super::neighbour::{NeighbourKey, NeighbourTable};
use super::netlink::{self, KernelRoutes};
use super::route::{self, NextHop, RouteSegment};
use super::source::{SourcePorts, may_come_from, select_source_address};
use super::transmit::Gate;
use super::{Gateways, PacketConfig, PacketError, PacketSweep, privilege};

/// How long duplicate address detection may take until an IPv6 address can be used.
const DETECTION: Duration = Duration::from_secs(4);
/// No more ranges than this are named in a message.
const NAMED: usize = 8;
/// Up to this many on-link targets have their neighbours asked for before their first probe.
const ASK_AHEAD: u128 = 1 << 16;

/// A reason for which a segment has no way after all.
type MissingPart = BTreeMap<String, Vec<AddrRange>>;

impl PacketSweep {
    /// Settles the way of every target of the walk, opens the sockets, reserves the source ports and
    /// asks for the gateways' Ethernet addresses (up to three seconds, when one does not answer).
    /// Capabilities may be dropped afterwards.
    ///
    /// Targets without a way are left for the run to report as not probed, as long as there are
    /// others.
    ///
    /// # Errors
    /// [`PacketError`], each with its remedy.
    pub fn open(
        walk: &PlanOrder,
        scope: Arc<Scope>,
        config: &PacketConfig,
    ) -> Result<Self, PacketError> {
        let targets: Vec<AddrRange> = walk.plan().addrs().addrs().ranges().collect();
        let kernel = read_settled_routes(&targets)?;
        let interface = config.interface.as_deref();
        let device = interface.map(|name| find_interface(&kernel, name)).transpose()?;
        check_sources(&kernel, &config.sources)?;
        let mut segments = resolve_route_segments(&targets, &kernel, device, &config.sources)?;
        if segments.iter().all(|s| s.hop.is_none()) {
            return Err(PacketError::NoRoute {
                ranges: list(segments.iter().map(|s| s.range)),
                interface: interface.map(str::to_owned),
            });
        }
        let mut gaps = Vec::new();
        let unrouted: Vec<AddrRange> =
            segments.iter().filter(|s| s.hop.is_none()).map(|s| s.range).collect();
        if !unrouted.is_empty() {
            gaps.push(Gap::NoRoute { ranges: list(unrouted) });
        }
        // Without it the first socket says so.
        privilege::raise_net_raw();
        let ports = SourcePorts::reserve(config.first_source_port, config.attempts, config.seed)?;
        let gateways = segments.iter().filter_map(|s| s.hop?.gateway);
        let gate = Arc::new(Gate::new(walk, scope, gateways));
        let mut builder = SetupBuilder {
            gate: &gate,
            kernel: &kernel,
            config,
            ports: &ports,
            links: Vec::new(),
            receiving: Vec::new(),
            link_of: HashMap::new(),
            paths: Vec::new(),
            path_by_hop: HashMap::new(),
        };
        let mut path_of = Vec::with_capacity(segments.len());
        let mut without = MissingPart::new();
        let mut first_error = None;
        for segment in &segments {
            let path = match segment.hop.map(|hop| builder.path(hop, segment.range)) {
                None => None,
                Some(Ok(path)) => Some(path),
                // These concern single interfaces; others may do.
                Some(Err(
                    e @ (PacketError::Interface { .. }
                    | PacketError::InterfaceDown { .. }
                    | PacketError::NoSource { .. }),
                )) => {
                    without
                        .entry(uppercase_first_letter(&e.to_string()))
                        .or_default()
                        .push(segment.range);
                    first_error.get_or_insert(e);
                    None
                }
                Some(Err(e)) => return Err(e),
            };
            path_of.push(path);
        }
        let SetupBuilder { mut links, mut receiving, mut paths, .. } = builder;
        for r in receiving.iter().filter(|r| !r.ring.is_mapped()) {
            gaps.push(Gap::NoMappedRing { interface: r.name.clone() });
        }
        let mut neighbours = NeighbourTable::new(config.solicitations);
        let (silent, gateways) = resolve_gateways(
            &segments,
            &path_of,
            &mut paths,
            &mut links,
            &mut receiving,
            &kernel,
            config.solicitations,
        )
        .map_err(|e| PacketError::io("asking for the gateways' Ethernet addresses", e))?;
        for (segment, path) in segments.iter().zip(&mut path_of) {
            let Some(p) = *path else { continue };
            let gateway = segment.hop.and_then(|h| h.gateway);
            if let Some(gateway) = gateway.filter(|g| silent.contains(&(paths[p].link, *g))) {
                let interface = links[paths[p].link].device.name.clone();
                let e = PacketError::GatewaySilent { gateway, interface };
                without
                    .entry(uppercase_first_letter(&e.to_string()))
                    .or_default()
                    .push(segment.range);
                first_error.get_or_insert(e);
                *path = None;
            }
        }
        if path_of.iter().all(Option::is_none)
            && let Some(e) = first_error
        {
            return Err(e);
        }
        for (why, ranges) in without {
            gaps.push(Gap::PathUnusable { reason: why, ranges: list(ranges) });
        }
        for (segment, path) in segments.iter_mut().zip(&path_of) {
            if path.is_none() {
                segment.hop = None;
            }
        }
        for neighbour in kernel.neighbours.iter().filter(|n| n.fresh) {
            if let Some(link) = links.iter().position(|l| l.device.index == neighbour.device) {
                neighbours.insert((link, neighbour.ip), neighbour.mac);
            }
        }
        ask_ahead(&segments, &path_of, &paths, &mut neighbours);
        Ok(Self {
            cookie: Cookie::new(config.key),
            ports,
            segments,
            path_of,
            paths,
            links,
            receiving,
            neighbours,
            gateways,
            gaps,
            beside: Arc::default(),
        })
    }
}

fn find_interface(kernel: &KernelRoutes, name: &str) -> Result<u32, PacketError> {
    let found = kernel.interfaces.iter().find(|i| i.name == name);
    match found {
        Some(i) if i.up => Ok(i.index),
        Some(_) => Err(PacketError::InterfaceDown { name: name.to_owned() }),
        None => Err(PacketError::NoInterface {
            name: name.to_owned(),
            existing: kernel.interfaces.iter().map(|i| i.name.clone()).collect(),
        }),
    }
}

/// Refuses to send from what is no address of this machine: nobody's answer would come back.
fn check_sources(kernel: &KernelRoutes, sources: &[IpAddr]) -> Result<(), PacketError> {
    match sources.iter().find(|s| !kernel.addresses.iter().any(|own| own.ip == **s)) {
        None => Ok(()),
        Some(missing) => Err(PacketError::ForeignSource { source_address: *missing }),
    }
}

/// What the kernel knows, once its IPv6 addresses have proved to be unique, where IPv6 is scanned.
fn read_settled_routes(targets: &[AddrRange]) -> Result<KernelRoutes, PacketError> {
    let begun = Instant::now();
    let v6 = targets.iter().any(|t| t.first().is_ipv6());
    loop {
        let kernel = netlink::read(targets)
            .map_err(|e| PacketError::netlink("reading routes and interfaces by netlink", e))?;
        let waits = v6 && kernel.addresses.iter().any(|a| a.ip.is_ipv6() && !a.usable);
        if !waits || begun.elapsed() >= DETECTION {
            return Ok(kernel);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The way of every piece of the targets: matched here, then confirmed by the kernel, which knows
/// policy rules, multipath and its preferred source addresses.
fn resolve_route_segments(
    targets: &[AddrRange],
    kernel: &KernelRoutes,
    device: Option<u32>,
    sources: &[IpAddr],
) -> Result<Vec<RouteSegment>, PacketError> {
    let mut segments = route::split_into_segments(targets, &kernel.routes, device);
    let addresses = segments.iter().map(|s| s.range.first()).collect();
    let answers = netlink::look_up(addresses, device, sources)
        .map_err(|e| PacketError::netlink("asking the kernel for routes by netlink", e))?;
    for (segment, answer) in segments.iter_mut().zip(answers) {
        segment.hop = answer;
    }
    Ok(route::join(segments))
}

/// Opens links and lays paths as segments need them.
struct SetupBuilder<'a> {
    gate: &'a Arc<Gate>,
    kernel: &'a KernelRoutes,
    config: &'a PacketConfig,
    ports: &'a SourcePorts,
    links: Vec<PacketLink>,
    receiving: Vec<ReceiveSetup>,
    link_of: HashMap<u32, usize>,
    paths: Vec<LinkPath>,
    path_by_hop: HashMap<(usize, IpAddr, Option<IpAddr>), usize>,
}

impl SetupBuilder<'_> {
    fn path(&mut self, hop: NextHop, range: AddrRange) -> Result<usize, PacketError> {
        let device = if hop.local {
            let lo = self.kernel.interfaces.iter().find(|i| i.loopback);
            lo.map_or(hop.device, |lo| lo.index)
        } else {
            hop.device
        };
        let link = self.link(device)?;
        let own = &self.kernel.addresses;
        let asked = self.config.sources.iter().find(|s| s.is_ipv4() == range.first().is_ipv4());
        let source = asked
            .copied()
            .or(hop.source)
            .filter(|s| !s.is_unspecified() && s.is_ipv4() == range.first().is_ipv4())
            .filter(|s| may_come_from(*s, range.first()))
            .or_else(|| select_source_address(range.first(), device, own))
            // To itself a machine may speak from the very address it speaks to.
            .or_else(|| hop.local.then_some(range.first()))
            .ok_or_else(|| PacketError::NoSource {
                interface: self.links[link].device.name.clone(),
                v4: range.first().is_ipv4(),
            })?;
        if let Some(path) = self.path_by_hop.get(&(link, source, hop.gateway)) {
            return Ok(*path);
        }
        let without_arp = self.kernel.interfaces.iter().any(|i| i.index == device && i.without_arp);
        let next = match (self.links[link].mac(), hop.gateway) {
            (None, _) => NextFrame::Direct,
            (Some(mac), _) if without_arp => NextFrame::Own(mac),
            // Known later; until then nothing is sent here.
            (Some(_), Some(_)) => NextFrame::Gateway([0; 6]),
            (Some(_), None) => NextFrame::OnLink,
        };
        let template = SynTemplate::new(self.links[link].header(), source);
        self.paths.push(LinkPath { link, source, next, template });
        let path = self.paths.len() - 1;
        self.path_by_hop.insert((link, source, hop.gateway), path);
        Ok(path)
    }

    fn name(&self, index: u32) -> String {
        let found = self.kernel.interfaces.iter().find(|i| i.index == index);
        found.map_or_else(|| format!("number {index}"), |i| i.name.clone())
    }

    fn link(&mut self, index: u32) -> Result<usize, PacketError> {
        if let Some(link) = self.link_of.get(&index) {
            return Ok(*link);
        }
        let device = InterfaceFacts::by_index(index)
            .map_err(|source| PacketError::Interface { name: self.name(index), source })?;
        if !device.up {
            return Err(PacketError::InterfaceDown { name: device.name });
        }
        let own = &self.kernel.addresses;
        let (link, receiving) =
            PacketLink::open(self.links.len(), device, self.gate, own, self.ports, self.config)?;
        self.links.push(link);
        self.receiving.extend(receiving);
        self.link_of.insert(index, self.links.len() - 1);
        Ok(self.links.len() - 1)
    }
}

/// Finds the gateways' Ethernet addresses and writes them into the paths. Returns the gateways that
/// do not answer, and all of them with their paths.
fn resolve_gateways(
    segments: &[RouteSegment],
    path_of: &[Option<usize>],
    paths: &mut [LinkPath],
    links: &mut [PacketLink],
    receiving: &mut [ReceiveSetup],
    kernel: &KernelRoutes,
    rate: u32,
) -> std::io::Result<(Vec<NeighbourKey>, Gateways)> {
    let mut gateways: Gateways = Vec::new();
    for (segment, path) in segments.iter().zip(path_of) {
        if let (Some(gateway), Some(path)) = (segment.hop.and_then(|h| h.gateway), *path)
            && matches!(paths[path].next, NextFrame::Gateway(_))
        {
            gateways.push((path, (paths[path].link, gateway)));
        }
    }
    gateways.sort_unstable();
    gateways.dedup();
    let mut table: NeighbourTable<()> = NeighbourTable::new(rate);
    for (_, key) in &gateways {
        let device = links[key.0].device.index;
        let known = kernel.neighbours.iter().find(|n| n.device == device && n.ip == key.1);
        match known {
            Some(n) if n.fresh => table.insert(*key, n.mac),
            _ => table.ask(*key, known.map(|n| n.mac)),
        }
    }
    let silent = ask_all(&mut table, links, receiving, Duration::MAX)?;
    for (path, key) in &gateways {
        if let Some(mac) = table.known(*key) {
            paths[*path].next = NextFrame::Gateway(mac);
        }
    }
    gateways.retain(|(_, key)| !silent.contains(key));
    Ok((silent, gateways))
}

/// Begins to ask for the neighbours of on-link targets, so that few probes have to wait.
fn ask_ahead<T>(
    segments: &[RouteSegment],
    path_of: &[Option<usize>],
    paths: &[LinkPath],
    neighbours: &mut NeighbourTable<T>,
) {
    let on_link = || {
        segments.iter().zip(path_of).filter_map(|(segment, path)| {
            let path = &paths[(*path)?];
            (path.next == NextFrame::OnLink).then_some((path.link, segment.range))
        })
    };
    let mut all = 0u128;
    for (_, range) in on_link() {
        all = all.saturating_add(count_addresses(range));
    }
    if all > ASK_AHEAD {
        return;
    }
    for (link, range) in on_link() {
        for ip in list_addresses(range) {
            neighbours.ask((link, ip), None);
        }
    }
}

fn count_addresses(range: AddrRange) -> u128 {
    match (range.first(), range.last()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(b.to_bits() - a.to_bits()) + 1,
        (IpAddr::V6(a), IpAddr::V6(b)) => (b.to_bits() - a.to_bits()).saturating_add(1),
        _ => 0,
    }
}

fn list_addresses(range: AddrRange) -> Box<dyn Iterator<Item = IpAddr>> {
    match (range.first(), range.last()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            Box::new((a.to_bits()..=b.to_bits()).map(|n| IpAddr::V4(n.into())))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            Box::new((a.to_bits()..=b.to_bits()).map(|n| IpAddr::V6(n.into())))
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// Ranges for a message.
pub(super) fn list(ranges: impl IntoIterator<Item = AddrRange>) -> String {
    let all: Vec<AddrRange> = ranges.into_iter().collect();
    let mut s = all.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if all.len() > NAMED {
        s.push_str(&format!(" and {} more", all.len() - NAMED));
    }
    s
}

fn uppercase_first_letter(s: &str) -> String {
    let mut chars = s.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_ranges_are_cut_short() {
        let range = |n: u8| AddrRange::from(IpAddr::from([192, 0, 2, n]));
        assert_eq!(list([range(1)]), "192.0.2.1");
        assert!(list((0..10).map(range)).ends_with("192.0.2.7 and 2 more"));
    }

    #[test]
    fn an_interface_is_found_or_the_others_are_named() {
        let kernel = KernelRoutes {
            interfaces: vec![
                netlink::NetworkInterface {
                    index: 1,
                    name: "lo".into(),
                    up: true,
                    loopback: true,
                    without_arp: false,
                },
                netlink::NetworkInterface {
                    index: 2,
                    name: "eth0".into(),
                    up: false,
                    loopback: false,
                    without_arp: false,
                },
            ],
            ..KernelRoutes::default()
        };
        assert_eq!(find_interface(&kernel, "lo").ok(), Some(1));
        let down = find_interface(&kernel, "eth0").unwrap_err();
        assert_eq!(down.to_string(), "interface eth0 is down");
        let missing = find_interface(&kernel, "eth9").unwrap_err();
        assert!(missing.help().ends_with("lo, eth0"), "{}", missing.help());
    }

    #[test]
    fn sizes_and_addresses_agree() {
        for s in ["192.0.2.0/28", "255.255.255.255", "2001:db8::/124", "::1"] {
            let range: AddrRange = s.parse().unwrap();
            assert_eq!(list_addresses(range).count() as u128, count_addresses(range), "{s}");
        }
        assert_eq!(count_addresses("::/0".parse().unwrap()), u128::MAX);
    }
}
