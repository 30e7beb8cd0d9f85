//! Frames to send and to receive, built by the book and by nothing of what is tested.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a SYN says.
#[derive(Clone, Copy)]
pub struct Tcp {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: u16,
    pub destination_port: u16,
    pub sequence: u32,
}

/// A packet in the benchmark network's range; only ports and sequence are of interest.
pub fn v4(destination_port: u16, sequence: u32) -> Tcp {
    Tcp {
        source: Ipv4Addr::new(198, 18, 0, 2).into(),
        destination: Ipv4Addr::new(198, 18, 0, 1).into(),
        source_port: 80,
        destination_port,
        sequence,
    }
}

/// The same for IPv6.
pub fn v6(destination_port: u16, sequence: u32) -> Tcp {
    Tcp {
        source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into(),
        destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        source_port: 80,
        destination_port,
        sequence,
    }
}

impl Tcp {
    /// An IP packet with a SYN.
    pub fn packet(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.source_port.to_be_bytes());
        tcp.extend(self.destination_port.to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0]);
        let mut pseudo = match (self.source, self.destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => [s.octets(), d.octets()].concat(),
            (IpAddr::V6(s), IpAddr::V6(d)) => [s.octets(), d.octets()].concat(),
            _ => panic!("two families"),
        };
        let addresses = pseudo.clone();
        pseudo.extend([0, 6, 0, tcp.len() as u8]);
        pseudo.extend(&tcp);
        tcp[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
        let mut ip = if self.source.is_ipv4() {
            vec![0x45, 0, 0, 20 + tcp.len() as u8, 0, 1, 0x40, 0, 64, 6, 0, 0]
        } else {
            vec![0x60, 0, 0, 0, 0, tcp.len() as u8, 6, 64]
        };
        ip.extend(addresses);
        if self.source.is_ipv4() {
            let c = checksum(&ip);
            ip[10..12].copy_from_slice(&c.to_be_bytes());
        }
        ip.extend(tcp);
        ip
    }

    /// The packet in an Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        let kind: u16 = if self.source.is_ipv4() { 0x0800 } else { 0x86dd };
        ethernet(kind, &self.packet())
    }
}

/// An Ethernet frame for anybody.
pub fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut f = vec![0xff; 6];
    f.extend([2, 0, 0, 0, 0, 2]);
    f.extend(kind.to_be_bytes());
    f.extend(body);
    f
}

/// Puts a VLAN tag into a frame.
pub fn tagged(mut frame: Vec<u8>, tag: u16) -> Vec<u8> {
    let [a, b] = tag.to_be_bytes();
    frame.splice(12..12, [0x81, 0, a, b]);
    frame
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|p| u32::from(u16::from_be_bytes([p[0], p.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}
