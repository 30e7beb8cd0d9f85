//! SYN frames.

use std::net::IpAddr;

use super::checksum::{finish, sum_bytes, sum_halves};
use super::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4, IPV6, TCP};

/// Length of a TCP header with an MSS option (RFC 9293, sections 3.1 and 3.7.1).
const TCP_LEN: usize = 24;
const TTL: u8 = 64;
/// What common systems announce in a SYN.
const WINDOW: u16 = 64_240;
/// 1500 less the headers (RFC 6691).
const MSS_V4: u16 = 1460;
const MSS_V6: u16 = 1440;

/// What stands before the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkHeader {
    /// Ethernet II.
    Ethernet {
        /// Our address.
        source: [u8; 6],
        /// The next hop's, unless a frame names another.
        destination: [u8; 6],
    },
    /// Nothing: tun, WireGuard, raw IP sockets.
    None,
}

/// A SYN frame of which only the destination, the ports and the sequence number are filled in for
/// each probe. The sums of everything constant are kept, so a checksum costs a handful of additions
/// (RFC 1624).
#[derive(Debug, Clone)]
pub struct SynTemplate {
    frame: Vec<u8>,
    source: IpAddr,
    /// Where the IP header begins.
    ip: usize,
    ip_sum: u32,
    tcp_sum: u32,
}

impl SynTemplate {
    /// A template for SYNs from `source`.
    #[must_use]
    pub fn new(link: LinkHeader, source: IpAddr) -> Self {
        let mut frame = Vec::with_capacity(ETHERNET + IPV6 + TCP_LEN);
        if let LinkHeader::Ethernet { source: from, destination } = link {
            frame.extend(destination);
            frame.extend(from);
            let kind = if source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
            frame.extend(kind.to_be_bytes());
        }
        let ip = frame.len();
        let mss = match source {
            IpAddr::V4(source) => {
                let total = (IPV4 + TCP_LEN) as u16;
                frame.extend([0x45, 0]);
                frame.extend(total.to_be_bytes());
                // Identification, filled in; then "don't fragment".
                frame.extend([0, 0, 0x40, 0, TTL, TCP, 0, 0]);
                frame.extend(source.octets());
                frame.extend([0; 4]);
                MSS_V4
            }
            IpAddr::V6(source) => {
                frame.extend([0x60, 0, 0, 0]);
                frame.extend((TCP_LEN as u16).to_be_bytes());
                frame.extend([TCP, TTL]);
                frame.extend(source.octets());
                frame.extend([0; 16]);
                MSS_V6
            }
        };
        let tcp = frame.len();
        // Ports, sequence and acknowledgement; data offset 6 words; SYN; window; checksum; urgent.
        frame.extend([0; 12]);
        frame.extend([0x60, 0x02]);
        frame.extend(WINDOW.to_be_bytes());
        frame.extend([0; 4]);
        // Option kind 2, length 4.
        frame.extend([2, 4]);
        frame.extend(mss.to_be_bytes());
        let ip_sum = sum_bytes(&frame[ip..tcp]);
        // The pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1).
        let source_sum = match source {
            IpAddr::V4(s) => sum_bytes(&s.octets()),
            IpAddr::V6(s) => sum_bytes(&s.octets()),
        };
        let tcp_sum = sum_bytes(&frame[tcp..]) + source_sum + u32::from(TCP) + TCP_LEN as u32;
        Self { frame, source, ip, ip_sum, tcp_sum }
    }

    /// The address that the SYNs come from.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// The frame of one probe; empty when `destination` is not of the source's family, so that no
    /// stale frame can be sent in its place.
    #[must_use]
    #[inline]
    pub fn frame(
        &mut self,
        destination: IpAddr,
        destination_mac: Option<[u8; 6]>,
        source_port: u16,
        destination_port: u16,
        sequence: u32,
    ) -> &[u8] {
        if let (Some(mac), true) = (destination_mac, self.ip == ETHERNET) {
            self.frame[..6].copy_from_slice(&mac);
        }
        let (header, destination_sum) = match (self.source, destination) {
            (IpAddr::V4(_), IpAddr::V4(d)) => {
                let id = (sequence >> 8) as u16;
                let d = d.octets();
                let to = sum_bytes(&d);
                let h = &mut self.frame[self.ip..self.ip + IPV4];
                h[4..6].copy_from_slice(&id.to_be_bytes());
                h[16..20].copy_from_slice(&d);
                let c = finish(self.ip_sum + u32::from(id) + to);
                h[10..12].copy_from_slice(&c.to_be_bytes());
                (IPV4, to)
            }
            (IpAddr::V6(_), IpAddr::V6(d)) => {
                let d = d.octets();
                self.frame[self.ip + 24..self.ip + IPV6].copy_from_slice(&d);
                (IPV6, sum_bytes(&d))
            }
            _ => return &[],
        };
        let t = &mut self.frame[self.ip + header..];
        t[0..2].copy_from_slice(&source_port.to_be_bytes());
        t[2..4].copy_from_slice(&destination_port.to_be_bytes());
        t[4..8].copy_from_slice(&sequence.to_be_bytes());
        let c = finish(
            self.tcp_sum
                + destination_sum
                + u32::from(source_port)
                + u32::from(destination_port)
                + sum_halves(sequence),
        );
        t[16..18].copy_from_slice(&c.to_be_bytes());
        &self.frame
    }
}
