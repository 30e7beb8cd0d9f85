//! What a finished frame does, read back from its bytes before it leaves: whom does it reach, or for
//! whom does it ask?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a frame does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameReach {
    /// It is an IP packet to this address.
    Host(IpAddr),
    /// It asks the link for the Ethernet address of this one (ARP, neighbour solicitation).
    Neighbour(IpAddr),
}

/// What a finished frame does; `None` when that cannot be read, and the frame must not leave.
/// `ethernet`: whether an Ethernet header stands before it.
#[must_use]
#[inline]
pub fn reach(frame: &[u8], ethernet: bool) -> Option<FrameReach> {
    let (kind, packet) = if ethernet {
        let (header, packet) = frame.split_at_checked(14)?;
        (Some(u16::from_be_bytes([header[12], header[13]])), packet)
    } else {
        (None, frame)
    };
    match (kind, packet.first()? >> 4) {
        // EtherTypes of IPv4, IPv6 and ARP (RFC 894, RFC 2464, RFC 826).
        (None | Some(0x0800), 4) => Some(FrameReach::Host(
            Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?).into(),
        )),
        (None | Some(0x86dd), 6) => {
            let to = Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?);
            if ethernet && to.is_multicast() {
                parse_solicited_target(packet, to)
            } else {
                Some(FrameReach::Host(to.into()))
            }
        }
        // The target protocol address: who is asked for.
        (Some(0x0806), _) => Some(FrameReach::Neighbour(
            Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(24..28)?).ok()?).into(),
        )),
        _ => None,
    }
}

/// Whom a neighbour solicitation asks for (RFC 4861, section 4.3): its IP destination is the group of
/// the address (RFC 4291, section 2.7.1), the address itself stands in the message.
fn parse_solicited_target(packet: &[u8], group: Ipv6Addr) -> Option<FrameReach> {
    if *packet.get(6)? != 58 || *packet.get(40)? != 135 {
        return None;
    }
    let asked = Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(48..64)?).ok()?);
    let mut of_asked = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    of_asked[13..].copy_from_slice(&asked.octets()[13..]);
    (group.octets() == of_asked).then_some(FrameReach::Neighbour(asked.into()))
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
        let v4_host = Some(FrameReach::Host(IpAddr::from([198, 18, 3, 4])));
        assert_eq!(reach(&v4, false), v4_host);
        assert_eq!(reach(&ethernet(0x0800, &v4), true), v4_host);
        let mut v6 = [0u8; 60];
        v6[0] = 0x60;
        v6[24..28].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        let v6_host = Some(FrameReach::Host("2001:db8::".parse().unwrap()));
        assert_eq!(reach(&v6, false), v6_host);
        assert_eq!(reach(&ethernet(0x86dd, &v6), true), v6_host);
        let mut arp = [0u8; 28];
        arp[24..28].copy_from_slice(&[198, 18, 0, 9]);
        let asked = Some(FrameReach::Neighbour([198, 18, 0, 9].into()));
        assert_eq!(reach(&ethernet(0x0806, &arp), true), asked);
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let mut v4 = [0u8; 40];
        v4[0] = 0x45;
        // The EtherType and the version disagree; the packet is cut; there is nothing.
        assert_eq!(reach(&ethernet(0x86dd, &v4), true), None);
        assert_eq!(reach(&v4[..19], false), None);
        assert_eq!(reach(&[], false), None);
        assert_eq!(reach(&[0; 14], true), None);
        assert_eq!(reach(&ethernet(0x8100, &v4), true), None);
    }

    /// A neighbour solicitation for fe80::1 as it has to be.
    fn solicitation() -> [u8; 72] {
        let mut ns = [0u8; 72];
        ns[0] = 0x60;
        ns[6] = 58;
        ns[24..40].copy_from_slice(&"ff02::1:ff00:1".parse::<Ipv6Addr>().unwrap().octets());
        ns[40] = 135;
        ns[48..64].copy_from_slice(&"fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        ns
    }

    #[test]
    fn a_solicitation_names_whom_it_asks_for() {
        let ns = solicitation();
        let asked = Some(FrameReach::Neighbour("fe80::1".parse().unwrap()));
        assert_eq!(reach(&ethernet(0x86dd, &ns), true), asked);
        for n in 0..ns.len().min(64) {
            assert_eq!(reach(&ethernet(0x86dd, &ns[..n]), true), None, "{n} bytes");
        }
        let mut advertisement = ns;
        advertisement[40] = 136;
        assert_eq!(reach(&ethernet(0x86dd, &advertisement), true), None);
        // To the group of another address, and to all nodes.
        for group in ["ff02::1:ff00:2", "ff02::1"] {
            let mut astray = ns;
            astray[24..40].copy_from_slice(&group.parse::<Ipv6Addr>().unwrap().octets());
            assert_eq!(reach(&ethernet(0x86dd, &astray), true), None, "{group}");
        }
    }
}
