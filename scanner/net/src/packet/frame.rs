//! The last look at a finished frame before it leaves: where does it really go?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a finished frame goes, read back from its bytes; `None` when that cannot be told, and the
/// frame must not leave. `ethernet`: whether an Ethernet header stands before it.
#[must_use]
#[inline]
pub fn destination(frame: &[u8], ethernet: bool) -> Option<IpAddr> {
    let (kind, packet) = if ethernet {
        let (header, packet) = frame.split_at_checked(14)?;
        (Some(u16::from_be_bytes([header[12], header[13]])), packet)
    } else {
        (None, frame)
    };
    match (kind, packet.first()? >> 4) {
        // EtherTypes of IPv4, IPv6 and ARP (RFC 894, RFC 2464, RFC 826).
        (None | Some(0x0800), 4) => {
            Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?)))
        }
        (None | Some(0x86dd), 6) => {
            Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?)))
        }
        // The target protocol address: who is asked for.
        (Some(0x0806), _) => {
            Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(24..28)?).ok()?)))
        }
        _ => None,
    }
}

/// Whom a neighbour solicitation on Ethernet asks for (RFC 4861, section 4.3): its IP destination is
/// a multicast group, the address stands in the message.
#[must_use]
pub fn solicited(frame: &[u8]) -> Option<IpAddr> {
    let packet = frame.get(14..)?;
    let solicitation =
        packet.first()? >> 4 == 6 && *packet.get(6)? == 58 && *packet.get(40)? == 135;
    if !solicitation {
        return None;
    }
    Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(48..64)?).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
        let mut f = vec![0; 12];
        f.extend(kind.to_be_bytes());
        f.extend(packet);
        f
    }

    #[test]
    fn destinations_are_read_from_the_bytes() {
        let mut v4 = [0u8; 40];
        v4[0] = 0x45;
        v4[16..20].copy_from_slice(&[198, 18, 3, 4]);
        let v4_ip = Some(IpAddr::from([198, 18, 3, 4]));
        assert_eq!(destination(&v4, false), v4_ip);
        assert_eq!(destination(&ethernet(0x0800, &v4), true), v4_ip);
        let mut v6 = [0u8; 60];
        v6[0] = 0x60;
        v6[24..28].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        let v6_ip: Option<IpAddr> = "2001:db8::".parse().ok();
        assert_eq!(destination(&v6, false), v6_ip);
        assert_eq!(destination(&ethernet(0x86dd, &v6), true), v6_ip);
        let mut arp = [0u8; 28];
        arp[24..28].copy_from_slice(&[198, 18, 0, 9]);
        assert_eq!(destination(&ethernet(0x0806, &arp), true), Some([198, 18, 0, 9].into()));
    }

    #[test]
    fn what_cannot_be_told_is_nothing() {
        let mut v4 = [0u8; 40];
        v4[0] = 0x45;
        // The EtherType and the version disagree; the packet is cut; there is nothing.
        assert_eq!(destination(&ethernet(0x86dd, &v4), true), None);
        assert_eq!(destination(&v4[..19], false), None);
        assert_eq!(destination(&[], false), None);
        assert_eq!(destination(&[0; 14], true), None);
        assert_eq!(destination(&ethernet(0x8100, &v4), true), None);
        for n in 0..86 {
            assert_eq!(solicited(&vec![0x60; n]), None);
        }
    }

    #[test]
    fn a_solicitation_names_whom_it_asks_for() {
        let mut ns = [0u8; 72];
        ns[0] = 0x60;
        ns[6] = 58;
        ns[40] = 135;
        ns[48] = 0xfe;
        ns[49] = 0x80;
        ns[63] = 1;
        assert_eq!(solicited(&ethernet(0x86dd, &ns)), "fe80::1".parse().ok());
        ns[40] = 136;
        assert_eq!(solicited(&ethernet(0x86dd, &ns)), None);
    }
}
