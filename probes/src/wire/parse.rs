//! Frames from the network. Total: any bytes give a fact or `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP, ICMPV6, IPV4, IPV6, TCP,
};

/// What stands before the IP header of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// Ethernet II.
    Ethernet,
    /// Nothing.
    None,
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParsedFrame {
    /// A TCP segment.
    Tcp(TcpReply),
    /// An ICMP error that quotes a TCP segment of ours.
    IcmpError(IcmpError),
    /// An ARP reply.
    Arp(ArpReply),
    /// A neighbour advertisement.
    Neighbour(NeighbourAdvertisement),
}

/// The flags of a TCP header (RFC 9293, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;

    /// Whether all of these are set.
    #[must_use]
    pub const fn has(self, flags: u8) -> bool {
        self.0 & flags == flags
    }
}

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpReply {
    /// From.
    pub source: IpAddr,
    /// To.
    pub destination: IpAddr,
    /// From.
    pub source_port: u16,
    /// To.
    pub destination_port: u16,
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Window, unscaled.
    pub window: u16,
    /// Time to live or hop limit on arrival.
    pub ttl: u8,
    /// Bytes of options.
    pub options_len: u8,
}

/// An ICMP destination unreachable and the segment that it quotes (RFC 792; RFC 4443, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Who says so.
    pub from: IpAddr,
    /// Time to live or hop limit on arrival.
    pub ttl: u8,
    /// The code.
    pub code: u8,
    /// Whether the code says that policy forbids it: 9, 10, 13 of IPv4 (RFC 1812, section 5.2.7.1);
    /// 1, 5, 6 of IPv6.
    pub prohibited: bool,
    /// Of the quoted segment.
    pub source: IpAddr,
    /// Of the quoted segment.
    pub destination: IpAddr,
    /// Of the quoted segment.
    pub source_port: u16,
    /// Of the quoted segment.
    pub destination_port: u16,
    /// Of the quoted segment.
    pub sequence: u32,
}

/// Who has an IPv4 address (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpReply {
    /// The address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: [u8; 6],
}

/// Who has an IPv6 address (RFC 4861, section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourAdvertisement {
    /// The address.
    pub ip: Ipv6Addr,
    /// Its Ethernet address.
    pub mac: [u8; 6],
}

fn read_u16(b: &[u8], i: usize) -> Option<u16> {
    Some(u16::from_be_bytes(b.get(i..i + 2)?.try_into().ok()?))
}

fn read_u32(b: &[u8], i: usize) -> Option<u32> {
    Some(u32::from_be_bytes(b.get(i..i + 4)?.try_into().ok()?))
}

fn read_ipv4(b: &[u8], i: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(b.get(i..i + 4)?).ok()?))
}

fn read_ipv6(b: &[u8], i: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(b.get(i..i + 16)?).ok()?))
}

/// Reads a frame. Checksums are not looked at: virtual links and offloading leave them unfinished,
/// and what must not be forged is covered by the cookie.
#[must_use]
pub fn parse(link: LinkKind, frame: &[u8]) -> Option<ParsedFrame> {
    match link {
        LinkKind::Ethernet => {
            let packet = frame.get(ETHERNET..)?;
            match read_u16(frame, 12)? {
                ETHERTYPE_IPV4 => parse_ipv4(packet),
                ETHERTYPE_IPV6 => parse_ipv6(packet),
                ETHERTYPE_ARP => parse_arp(packet),
                _ => None,
            }
        }
        LinkKind::None => match frame.first()? >> 4 {
            4 => parse_ipv4(frame),
            6 => parse_ipv6(frame),
            _ => None,
        },
    }
}

fn parse_ipv4(p: &[u8]) -> Option<ParsedFrame> {
    if p.first()? >> 4 != 4 {
        return None;
    }
    let header = usize::from(p[0] & 0xf) * 4;
    let total = usize::from(read_u16(p, 2)?);
    // Later fragments have no TCP header where one is looked for, and no answer to a SYN or quoted SYN
    // is so long that it comes in parts: the first ones ("more fragments") are not taken either.
    if header < IPV4 || total < header || read_u16(p, 6)? & 0x3fff != 0 {
        return None;
    }
    // Short frames are padded to the Ethernet minimum; what is behind the packet is not its own.
    let body = p.get(header..total.min(p.len()))?;
    let (ttl, protocol) = (*p.get(8)?, *p.get(9)?);
    let (source, destination) = (read_ipv4(p, 12)?.into(), read_ipv4(p, 16)?.into());
    match protocol {
        TCP => parse_tcp(source, destination, ttl, body),
        ICMP => parse_icmp(source, ttl, body),
        _ => None,
    }
}

fn parse_ipv6(p: &[u8]) -> Option<ParsedFrame> {
    if p.first()? >> 4 != 6 {
        return None;
    }
    let length = usize::from(read_u16(p, 4)?);
    let body = p.get(IPV6..(IPV6 + length).min(p.len()))?;
    let (next, ttl) = (*p.get(6)?, *p.get(7)?);
    let (source, destination) = (read_ipv6(p, 8)?, read_ipv6(p, 24)?);
    match next {
        TCP => parse_tcp(source.into(), destination.into(), ttl, body),
        ICMPV6 => parse_icmpv6(source, ttl, body),
        _ => None,
    }
}

fn parse_tcp(source: IpAddr, destination: IpAddr, ttl: u8, t: &[u8]) -> Option<ParsedFrame> {
    let offset = *t.get(12)? >> 4;
    // A header that is shorter than the least or longer than the segment is none.
    if offset < 5 || t.len() < usize::from(offset) * 4 {
        return None;
    }
    Some(ParsedFrame::Tcp(TcpReply {
        source,
        destination,
        source_port: read_u16(t, 0)?,
        destination_port: read_u16(t, 2)?,
        sequence: read_u32(t, 4)?,
        acknowledgement: read_u32(t, 8)?,
        flags: TcpFlags(*t.get(13)?),
        window: read_u16(t, 14)?,
        ttl,
        options_len: (offset - 5) * 4,
    }))
}

/// The quoted packet behind the eight bytes of an ICMP header. Only the first eight bytes of the
/// TCP header are promised (RFC 792): ports and sequence number.
fn parse_icmp(from: IpAddr, ttl: u8, b: &[u8]) -> Option<ParsedFrame> {
    let (kind, code) = (*b.first()?, *b.get(1)?);
    if kind != 3 {
        return None;
    }
    let q = b.get(8..)?;
    let header = usize::from(q.first()? & 0xf) * 4;
    if q[0] >> 4 != 4 || header < IPV4 || *q.get(9)? != TCP || read_u16(q, 6)? & 0x1fff != 0 {
        return None;
    }
    let t = q.get(header..)?;
    Some(ParsedFrame::IcmpError(IcmpError {
        from,
        ttl,
        code,
        prohibited: matches!(code, 9 | 10 | 13),
        source: read_ipv4(q, 12)?.into(),
        destination: read_ipv4(q, 16)?.into(),
        source_port: read_u16(t, 0)?,
        destination_port: read_u16(t, 2)?,
        sequence: read_u32(t, 4)?,
    }))
}

fn parse_icmpv6(from: Ipv6Addr, ttl: u8, b: &[u8]) -> Option<ParsedFrame> {
    let (kind, code) = (*b.first()?, *b.get(1)?);
    match kind {
        1 => {
            let q = b.get(8..)?;
            if q.first()? >> 4 != 6 || *q.get(6)? != TCP {
                return None;
            }
            let t = q.get(IPV6..)?;
            Some(ParsedFrame::IcmpError(IcmpError {
                from: from.into(),
                ttl,
                code,
                prohibited: matches!(code, 1 | 5 | 6),
                source: read_ipv6(q, 8)?.into(),
                destination: read_ipv6(q, 24)?.into(),
                source_port: read_u16(t, 0)?,
                destination_port: read_u16(t, 2)?,
                sequence: read_u32(t, 4)?,
            }))
        }
        // A hop limit of 255 proves that no router passed it on (RFC 4861, section 7.1.2).
        136 if ttl == 255 && code == 0 => {
            let ip = read_ipv6(b, 8)?;
            Some(ParsedFrame::Neighbour(NeighbourAdvertisement {
                ip,
                mac: find_target_link_layer(b.get(24..)?)?,
            }))
        }
        _ => None,
    }
}

/// The target link-layer address among the options of an advertisement (type 2).
fn find_target_link_layer(mut options: &[u8]) -> Option<[u8; 6]> {
    loop {
        let (kind, length) = (*options.first()?, usize::from(*options.get(1)?) * 8);
        if length == 0 {
            return None;
        }
        if kind == 2 {
            return options.get(2..8)?.try_into().ok();
        }
        options = options.get(length..)?;
    }
}

fn parse_arp(p: &[u8]) -> Option<ParsedFrame> {
    // Ethernet and IPv4, reply.
    if p.get(..8)? != [0, 1, 8, 0, 6, 4, 0, 2] {
        return None;
    }
    Some(ParsedFrame::Arp(ArpReply { mac: p.get(8..14)?.try_into().ok()?, ip: read_ipv4(p, 14)? }))
}
