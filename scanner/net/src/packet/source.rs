//! Where our packets say they come from: source address and source ports.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use socket2::{Domain, Protocol, Socket, Type};

use super::error::PacketError;

/// An address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// Interface index.
    pub device: u32,
    /// The address.
    pub ip: IpAddr,
    /// Prefix length of its network.
    pub prefix: u8,
    /// False while duplicate address detection runs or after it failed (RFC 4862, section 5.4).
    pub usable: bool,
    /// False for deprecated and secondary addresses.
    pub preferred: bool,
}

/// The source address for a destination by a device, for when neither the route nor the kernel
/// names one. A short form of RFC 6724, section 5: same family, usable, of the device; then the same
/// scope, not deprecated, and the longest common prefix.
#[must_use]
pub fn select_source_address(
    destination: IpAddr,
    device: u32,
    own: &[OwnAddress],
) -> Option<IpAddr> {
    own.iter()
        .filter(|a| a.device == device && a.usable && a.ip.is_ipv4() == destination.is_ipv4())
        .filter(|a| may_come_from(a.ip, destination))
        .max_by_key(|a| {
            (
                link_local(a.ip) == link_local(destination),
                a.preferred,
                count_common_bits(a.ip, destination),
            )
        })
        .map(|a| a.ip)
}

/// Whether a router may forward what comes from this address (RFC 4291, section 2.5.6): from a
/// link-local address nothing leaves its link.
#[must_use]
pub const fn may_come_from(source: IpAddr, destination: IpAddr) -> bool {
    !link_local(source) || link_local(destination) || source.is_ipv4()
}

/// The address with which to ask for neighbours on a device: as for the destination, or any that
/// the device has.
#[must_use]
pub fn select_device_address(device: u32, v4: bool, own: &[OwnAddress]) -> Option<IpAddr> {
    own.iter()
        .filter(|a| a.device == device && a.usable && a.ip.is_ipv4() == v4)
        // Link-local first: the one that every IPv6 neighbour can answer (RFC 4861, section 7.2.2).
        .max_by_key(|a| (!v4 && link_local(a.ip), a.preferred))
        .map(|a| a.ip)
}

const fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

const fn count_common_bits(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}

/// A block of source ports, one an attempt. While it lives, no other program of this machine gets
/// one of them: each is held by a bound socket that neither listens nor connects, so that the
/// kernel answers a SYN-ACK to it with RST.
pub struct SourcePorts {
    first: u16,
    /// Empty for IPv6 on machines without it.
    held: Vec<Socket>,
    width: u8,
}

impl std::fmt::Debug for SourcePorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourcePorts({}-{})", self.first(), self.last())
    }
}

/// How often another block is tried.
const TRIES: u64 = 64;
/// Below this port lie well-known services; some filters treat them in a way of their own.
const LOWEST: u16 = 10_000;

impl SourcePorts {
    /// Reserves `width` ports: from `first` if given, else from a random place (by `seed`) outside
    /// the ranges that the kernel gives out.
    ///
    /// # Errors
    /// [`PacketError::PortInUse`] when an explicit block is not free; an I/O error when no block is.
    pub fn reserve(first: Option<u16>, width: u8, seed: u64) -> Result<Self, PacketError> {
        let width = width.max(1);
        if let Some(first) = first {
            let Some(last) = first.checked_add(u16::from(width) - 1).filter(|_| first > 0) else {
                return Err(PacketError::PortRange { first, width });
            };
            return match Self::hold(first, width) {
                Ok(ports) => Ok(ports),
                Err((port, e)) if e.kind() == io::ErrorKind::AddrInUse => {
                    Err(PacketError::PortInUse { port, first, last })
                }
                // Not `PacketError::io`: what may be missing here is another capability.
                Err((port, e)) => Err(PacketError::Io {
                    operation: format!("reserving source port {port}"),
                    source: e,
                }),
            };
        }
        let ephemeral = read_range("/proc/sys/net/ipv4/ip_local_port_range");
        let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports")
            .map(|s| parse_reserved(&s))
            .unwrap_or_default();
        let mut last = None;
        for first in list_candidate_ports(ephemeral, &reserved, width, seed) {
            match Self::hold(first, width) {
                Ok(ports) => return Ok(ports),
                Err(e) => last = Some(e),
            }
        }
        let (port, e) = last.unwrap_or_else(|| (0, io::ErrorKind::AddrInUse.into()));
        Err(PacketError::Io {
            operation: format!("reserving {width} source ports (last tried: {port})"),
            source: e,
        })
    }

    fn hold(first: u16, width: u8) -> Result<Self, (u16, io::Error)> {
        let mut held = Vec::with_capacity(usize::from(width) * 2);
        for port in (first..).take(usize::from(width)) {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            held.push(bind(Domain::IPV4, v4).map_err(|e| (port, e))?);
            match bind(Domain::IPV6, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
                Ok(socket) => held.push(socket),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err((port, e)),
                // No IPv6 here: nobody else has the port there either.
                Err(_) => {}
            }
        }
        Ok(Self { first, held, width })
    }

    /// The first port, of attempt 1.
    #[must_use]
    pub const fn first(&self) -> u16 {
        self.first
    }

    /// The last port.
    #[must_use]
    pub const fn last(&self) -> u16 {
        self.first + (self.width as u16 - 1)
    }

    /// How many ports.
    #[must_use]
    pub const fn width(&self) -> u8 {
        self.width
    }

    /// The port of an attempt, counted from 1; `None` beyond the block.
    #[must_use]
    pub fn of_attempt(&self, attempt: u8) -> Option<u16> {
        (attempt >= 1 && attempt <= self.width).then(|| self.first + u16::from(attempt) - 1)
    }

    /// How many sockets hold the block.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.held.len()
    }
}

fn bind(domain: Domain, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        // Otherwise the wildcard takes the IPv4 port as well, which is held already.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn read_range(path: &str) -> RangeInclusive<u16> {
    std::fs::read_to_string(path)
        .ok()
        .and_then(|s| {
            let mut ends = s.split_whitespace().map(str::parse::<u16>);
            Some(ends.next()?.ok()?..=ends.next()?.ok()?)
        })
        // The kernel's default (ip(7)).
        .unwrap_or(32_768..=60_999)
}

/// `8080,9148-9150` as ranges.
fn parse_reserved(s: &str) -> Vec<RangeInclusive<u16>> {
    s.trim()
        .split(',')
        .filter_map(|item| match item.split_once('-') {
            Some((a, b)) => Some(a.parse().ok()?..=b.parse().ok()?),
            None => item.parse().ok().map(|p| p..=p),
        })
        .collect()
}

/// First ports of blocks to try, in random order, outside the ephemeral and reserved ranges. When
/// the ephemeral range leaves no room, blocks inside it: they are held by sockets all the same.
fn list_candidate_ports(
    ephemeral: RangeInclusive<u16>,
    reserved: &[RangeInclusive<u16>],
    width: u8,
    seed: u64,
) -> Vec<u16> {
    let last_of = |first: u16| first.checked_add(u16::from(width) - 1);
    let apart = |first: u16, other: &RangeInclusive<u16>| {
        last_of(first).is_some_and(|last| last < *other.start() || first > *other.end())
    };
    let all = (LOWEST..=u16::MAX)
        .filter(|f| last_of(*f).is_some() && reserved.iter().all(|r| apart(*f, r)));
    let mut outside: Vec<u16> = all.clone().filter(|f| apart(*f, &ephemeral)).collect();
    if outside.is_empty() {
        outside = all.collect();
    }
    if outside.is_empty() {
        return outside;
    }
    (0..TRIES).map(|i| outside[pick(seed.wrapping_add(i), outside.len())]).collect()
}

/// A well-mixed number below `n` (SplitMix64).
fn pick(seed: u64, n: usize) -> usize {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) % (n.max(1) as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(device: u32, ip: &str, prefix: u8) -> OwnAddress {
        OwnAddress { device, ip: ip.parse().unwrap(), prefix, usable: true, preferred: true }
    }

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    #[test]
    fn the_source_is_of_the_device_and_near() {
        let mut addresses = vec![
            own(2, "192.0.2.2", 24),
            own(3, "198.18.0.1", 16),
            own(3, "203.0.113.9", 24),
            own(3, "fe80::1", 64),
            own(3, "2001:db8::1", 64),
        ];
        let of = |d: &str, own: &[OwnAddress]| select_source_address(ip(d), 3, own);
        assert_eq!(of("198.18.7.7", &addresses), Some(ip("198.18.0.1")));
        assert_eq!(of("203.0.113.1", &addresses), Some(ip("203.0.113.9")));
        assert_eq!(of("2001:db8:5::1", &addresses), Some(ip("2001:db8::1")));
        assert_eq!(of("fe80::9", &addresses), Some(ip("fe80::1")));
        assert_eq!(select_source_address(ip("198.18.7.7"), 4, &addresses), None);
        assert_eq!(select_device_address(3, false, &addresses), Some(ip("fe80::1")));
        assert_eq!(select_device_address(2, true, &addresses), Some(ip("192.0.2.2")));
        addresses[1].usable = false;
        assert_eq!(of("198.18.7.7", &addresses), Some(ip("203.0.113.9")));
    }

    #[test]
    fn blocks_keep_out_of_the_ephemeral_range() {
        let reserved = parse_reserved("61000-62000,65000\n");
        assert_eq!(reserved, [61_000..=62_000, 65_000..=65_000]);
        assert!(parse_reserved("\n").is_empty());
        for seed in 0..50 {
            let list = list_candidate_ports(32_768..=60_999, &reserved, 8, seed);
            assert_eq!(list.len() as u64, TRIES);
            for first in list {
                let last = first + 7;
                assert!(first >= LOWEST);
                assert!(last < 32_768 || first > 60_999, "{first}");
                assert!(last < 61_000 || first > 62_000, "{first}");
                assert!(last < 65_000 || first > 65_000, "{first}");
            }
        }
        assert_ne!(
            list_candidate_ports(32_768..=60_999, &[], 8, 1)[0],
            list_candidate_ports(32_768..=60_999, &[], 8, 2)[0],
            "the block moves from run to run"
        );
    }

    #[test]
    fn a_machine_that_gives_out_all_ports_still_gets_a_block() {
        assert!(!list_candidate_ports(1024..=65_535, &[], 8, 3).is_empty());
        let everything = [1..=u16::MAX];
        assert!(list_candidate_ports(1024..=65_535, &everything, 8, 3).is_empty());
    }

    #[test]
    fn a_held_port_is_nobody_elses() {
        let ports = SourcePorts::reserve(None, 4, 11).unwrap();
        assert_eq!(ports.last() - ports.first(), 3);
        assert_eq!(ports.of_attempt(1), Some(ports.first()));
        assert_eq!(ports.of_attempt(4), Some(ports.last()));
        assert_eq!(ports.of_attempt(0), None);
        assert_eq!(ports.of_attempt(5), None);
        let second = std::net::TcpListener::bind(("127.0.0.1", ports.first() + 1));
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // The same seed finds the same block taken and goes on to another.
        let other = SourcePorts::reserve(None, 4, 11).unwrap();
        assert!(other.first() > ports.last() || other.last() < ports.first());
        let e = SourcePorts::reserve(Some(ports.first()), 4, 0).unwrap_err();
        assert!(matches!(e, PacketError::PortInUse { port, .. } if port == ports.first()));
        assert!(!e.help().is_empty());
    }

    #[test]
    fn a_block_beyond_the_last_port_is_refused() {
        let e = SourcePorts::reserve(Some(65_530), 8, 0).unwrap_err();
        assert!(matches!(e, PacketError::PortRange { .. }));
        assert!(matches!(SourcePorts::reserve(Some(0), 8, 0), Err(PacketError::PortRange { .. })));
    }
}
