//! Asking for Ethernet addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::{finish, sum_bytes};
use super::{ETHERTYPE_ARP, ETHERTYPE_IPV6, ICMPV6};

/// An ARP request, broadcast (RFC 826).
#[must_use]
pub fn build_arp_request(mac: [u8; 6], own: Ipv4Addr, wanted: Ipv4Addr) -> [u8; 42] {
    let mut f = [0u8; 42];
    f[..6].fill(0xff);
    f[6..12].copy_from_slice(&mac);
    f[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
    // Ethernet, IPv4, address lengths, request.
    f[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    f[22..28].copy_from_slice(&mac);
    f[28..32].copy_from_slice(&own.octets());
    f[38..42].copy_from_slice(&wanted.octets());
    f
}

/// A neighbour solicitation to the solicited-node group (RFC 4861, section 4.3; RFC 4291, section
/// 2.7.1), with our link-layer address in it.
#[must_use]
pub fn build_neighbour_solicitation(mac: [u8; 6], own: Ipv6Addr, wanted: Ipv6Addr) -> [u8; 86] {
    let w = wanted.octets();
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&w[13..]);
    let mut f = [0u8; 86];
    // 33:33 and the group's last four bytes (RFC 2464, section 7).
    f[..6].copy_from_slice(&[0x33, 0x33, group[12], group[13], group[14], group[15]]);
    f[6..12].copy_from_slice(&mac);
    f[12..14].copy_from_slice(&ETHERTYPE_IPV6.to_be_bytes());
    f[14] = 0x60;
    f[18..20].copy_from_slice(&32u16.to_be_bytes());
    f[20] = ICMPV6;
    f[21] = 255;
    f[22..38].copy_from_slice(&own.octets());
    f[38..54].copy_from_slice(&group);
    f[54] = 135;
    f[62..78].copy_from_slice(&w);
    // Source link-layer address: type 1, one unit of eight bytes.
    f[78..80].copy_from_slice(&[1, 1]);
    f[80..86].copy_from_slice(&mac);
    let c = finish(sum_bytes(&f[22..86]) + 32 + u32::from(ICMPV6));
    f[56..58].copy_from_slice(&c.to_be_bytes());
    f
}
