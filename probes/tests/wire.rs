//! Frames as others read them: pnet is the oracle for what we emit, and hostile bytes for what we
//! read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mimawari_probes::cookie::Cookie;
use mimawari_probes::wire::{
    LinkHeader, LinkKind, ParsedFrame, SynTemplate, TcpFlags, WireReply, build_arp_request,
    build_neighbour_solicitation, classify, parse,
};
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::tcp::{TcpPacket, ipv4_checksum, ipv6_checksum};
use pnet::packet::{Packet, icmpv6};
use proptest::prelude::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FIRST: u16 = 61_000;

fn ethernet() -> LinkHeader {
    LinkHeader::Ethernet { source: MAC, destination: [2, 0, 0, 0, 0, 2] }
}

/// What a host answers to a frame: addresses and ports swapped.
fn answer(frame: &[u8], ethernet: bool, flags: u8, ack: u32) -> Vec<u8> {
    let ip = if ethernet { 14 } else { 0 };
    let mut f = frame.to_vec();
    let (addresses, length, tcp) =
        if f[ip] >> 4 == 4 { (ip + 12, 4, ip + 20) } else { (ip + 8, 16, ip + 40) };
    for i in 0..length {
        f.swap(addresses + i, addresses + length + i);
    }
    f.swap(tcp, tcp + 2);
    f.swap(tcp + 1, tcp + 3);
    f[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
    f[tcp + 13] = flags;
    f
}

proptest! {
    #[test]
    fn v4_frames_are_what_pnet_reads(s: [u8; 4], d: [u8; 4], sport: u16, dport: u16, seq: u32, again: [u8; 4]) {
        let (s, d) = (Ipv4Addr::from(s), Ipv4Addr::from(d));
        let mut t = SynTemplate::new(ethernet(), s.into());
        // A frame before must leave nothing behind.
        let _ = t.frame(Ipv4Addr::from(again).into(), None, dport, sport, !seq);
        let f = t.frame(d.into(), Some([9; 6]), sport, dport, seq).to_vec();
        prop_assert_eq!(&f[..6], &[9; 6]);
        let ip = Ipv4Packet::new(&f[14..]).unwrap();
        prop_assert_eq!((ip.get_source(), ip.get_destination()), (s, d));
        prop_assert_eq!(usize::from(ip.get_total_length()), f.len() - 14);
        prop_assert_eq!(ip.get_checksum(), pnet::packet::ipv4::checksum(&ip));
        let tcp = TcpPacket::new(ip.payload()).unwrap();
        prop_assert_eq!((tcp.get_source(), tcp.get_destination(), tcp.get_sequence()), (sport, dport, seq));
        prop_assert_eq!(tcp.get_flags(), TcpFlags::SYN);
        prop_assert_eq!(tcp.get_options_raw(), &[2, 4, 5, 180]);
        prop_assert_eq!(tcp.get_checksum(), ipv4_checksum(&tcp, &s, &d));
    }

    #[test]
    fn v6_frames_are_what_pnet_reads(s: [u8; 16], d: [u8; 16], sport: u16, dport: u16, seq: u32) {
        let (s, d) = (Ipv6Addr::from(s), Ipv6Addr::from(d));
        let mut t = SynTemplate::new(LinkHeader::None, s.into());
        let f = t.frame(d.into(), None, sport, dport, seq).to_vec();
        let ip = Ipv6Packet::new(&f).unwrap();
        prop_assert_eq!((ip.get_source(), ip.get_destination()), (s, d));
        let tcp = TcpPacket::new(ip.payload()).unwrap();
        prop_assert_eq!((tcp.get_source(), tcp.get_destination(), tcp.get_sequence()), (sport, dport, seq));
        prop_assert_eq!(tcp.get_checksum(), ipv6_checksum(&tcp, &s, &d));
    }

    #[test]
    fn answers_are_known_and_forgeries_are_not(v6: bool, s: [u8; 16], d: [u8; 16], attempt in 1u8..=8, dport in 1u16.., key: [u8; 16], off in 1u32..) {
        let ip = |b: [u8; 16]| -> IpAddr {
            if v6 { Ipv6Addr::from(b).into() } else { Ipv4Addr::new(b[0], b[1], b[2], b[3]).into() }
        };
        let (s, d) = (ip(s), ip(d));
        let cookie = Cookie::new(key);
        let sport = FIRST + u16::from(attempt) - 1;
        let seq = cookie.sequence(s, sport, d, dport);
        let mut t = SynTemplate::new(ethernet(), s);
        let f = t.frame(d, None, sport, dport, seq).to_vec();
        for (flags, reply) in [
            (TcpFlags::SYN | TcpFlags::ACK, WireReply::SynAck),
            (TcpFlags::RST | TcpFlags::ACK, WireReply::Rst),
        ] {
            let a = parse(LinkKind::Ethernet, &answer(&f, true, flags, seq.wrapping_add(1))).unwrap();
            let c = classify(&cookie, &a, FIRST, 8).unwrap();
            prop_assert_eq!((c.ip, c.port, c.attempt, c.reply), (d, dport, attempt, reply));
            let forged = parse(LinkKind::Ethernet, &answer(&f, true, flags, seq.wrapping_add(1).wrapping_add(off))).unwrap();
            prop_assert!(classify(&cookie, &forged, FIRST, 8).is_none());
            // Attempts that were never made have no port.
            prop_assert!(classify(&cookie, &a, FIRST, attempt - 1).is_none());
            prop_assert!(classify(&Cookie::new(key.map(|b| !b)), &a, FIRST, 8).is_none());
        }
        // A challenge ACK (RFC 5961, section 4.2) tells of another connection, even with the right number.
        for ack in [seq, seq.wrapping_add(1)] {
            let challenge = parse(LinkKind::Ethernet, &answer(&f, true, TcpFlags::ACK, ack)).unwrap();
            prop_assert!(classify(&cookie, &challenge, FIRST, 8).is_none());
        }
        // A RST that acknowledges nothing could be anybody's.
        let bare = parse(LinkKind::Ethernet, &answer(&f, true, TcpFlags::RST, 0)).unwrap();
        prop_assert!(classify(&cookie, &bare, FIRST, 8).is_none());
    }

    #[test]
    fn icmp_errors_are_known_by_the_quoted_cookie(code in 0u8..16, full: bool, key: [u8; 16], dport in 1u16..) {
        let (s, d) = (Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 19, 3, 4));
        let cookie = Cookie::new(key);
        let seq = cookie.sequence(s.into(), FIRST + 1, d.into(), dport);
        let mut t = SynTemplate::new(LinkHeader::None, s.into());
        let quoted = t.frame(d.into(), None, FIRST + 1, dport, seq).to_vec();
        let quoted = if full { &quoted[..] } else { &quoted[..28] };
        let mut f = vec![0x45, 0];
        f.extend((28 + quoted.len() as u16).to_be_bytes());
        f.extend([0, 0, 0, 0, 60, 1, 0, 0, 198, 18, 0, 9, 198, 18, 0, 1, 3, code, 0, 0, 0, 0, 0, 0]);
        f.extend(quoted);
        let p = parse(LinkKind::None, &f).unwrap();
        let c = classify(&cookie, &p, FIRST, 8);
        if [9, 10, 13].contains(&code) {
            let c = c.unwrap();
            prop_assert_eq!((c.ip, c.port, c.attempt, c.reply, c.ttl), (d.into(), dport, 2, WireReply::Prohibited, None));
        } else {
            prop_assert!(c.is_none());
        }
        let at = f.len() - quoted.len() + 24;
        f[at] ^= 1;
        let p = parse(LinkKind::None, &f).unwrap();
        prop_assert!(classify(&cookie, &p, FIRST, 8).is_none());
    }

    #[test]
    fn hostile_bytes_never_panic(mut f in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..6, cut in 0usize..200) {
        // Steered towards the formats, so that more than the first test is reached.
        let head: &[u8] = match kind {
            0 => &[8, 0, 0x45],
            1 => &[0x86, 0xdd, 0x60],
            2 => &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2],
            3 => &[8, 0, 0x4f],
            _ => &[],
        };
        for (i, b) in head.iter().enumerate() {
            if let Some(x) = f.get_mut(12 + i) { *x = *b; }
        }
        let protocol = match kind { 0 => (23, [6, 1][usize::from(f.first().copied().unwrap_or(0) & 1)]), 1 => (20, [6, 58][usize::from(f.first().copied().unwrap_or(0) & 1)]), _ => (0, 0) };
        if protocol.1 != 0 && let Some(x) = f.get_mut(protocol.0) { *x = protocol.1; }
        f.truncate(cut);
        let cookie = Cookie::new([7; 16]);
        for link in [LinkKind::Ethernet, LinkKind::None] {
            if let Some(p) = parse(link, &f) {
                prop_assert!(classify(&cookie, &p, 0, u8::MAX).is_none());
            }
        }
    }
}

#[test]
fn fragments_hold_no_header() {
    let mut t = SynTemplate::new(LinkHeader::None, Ipv4Addr::LOCALHOST.into());
    let mut f = t.frame(Ipv4Addr::LOCALHOST.into(), None, 1, 2, 3).to_vec();
    assert!(parse(LinkKind::None, &f).is_some());
    f[7] = 1;
    assert_eq!(parse(LinkKind::None, &f), None);
}

#[test]
fn neighbours_are_asked_and_understood() {
    let f = build_arp_request(MAC, Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 2));
    let a = pnet::packet::arp::ArpPacket::new(&f[14..]).unwrap();
    assert_eq!(a.get_operation(), pnet::packet::arp::ArpOperations::Request);
    assert_eq!(a.get_target_proto_addr(), Ipv4Addr::new(198, 18, 0, 2));
    assert_eq!(parse(LinkKind::Ethernet, &f), None, "a request is no reply");
    let mut reply = f;
    reply[21] = 2;
    let Some(ParsedFrame::Arp(r)) = parse(LinkKind::Ethernet, &reply) else { panic!("no reply") };
    assert_eq!((r.ip, r.mac), (Ipv4Addr::new(198, 18, 0, 1), MAC));

    let (own, wanted): (Ipv6Addr, Ipv6Addr) =
        ("fe80::1".parse().unwrap(), "2001:db8::12:3456".parse().unwrap());
    let f = build_neighbour_solicitation(MAC, own, wanted);
    assert_eq!(f[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    let ip = Ipv6Packet::new(&f[14..]).unwrap();
    assert_eq!(ip.get_destination(), "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
    let icmp = icmpv6::Icmpv6Packet::new(ip.payload()).unwrap();
    assert_eq!(icmp.get_checksum(), icmpv6::checksum(&icmp, &own, &ip.get_destination()));

    // The answer: type 136, the target, its link-layer address behind an unknown option.
    let mut na = f.to_vec();
    na[54] = 136;
    na[78] = 14;
    na.extend([2, 1, 2, 0, 0, 0, 0, 9]);
    na[19] = 40;
    let Some(ParsedFrame::Neighbour(n)) = parse(LinkKind::Ethernet, &na) else {
        panic!("no advertisement")
    };
    assert_eq!((n.ip, n.mac), (wanted, [2, 0, 0, 0, 0, 9]));
    // From beyond a router, or with an option of length 0, it is none.
    na[21] = 254;
    assert_eq!(parse(LinkKind::Ethernet, &na), None);
    na[21] = 255;
    na[79] = 0;
    assert_eq!(parse(LinkKind::Ethernet, &na), None);
}

#[test]
fn odd_syn_acks_are_noticed() {
    let (s, d) = (Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 19, 3, 4));
    let cookie = Cookie::new([7; 16]);
    let seq = cookie.sequence(s.into(), FIRST, d.into(), 80);
    let mut t = SynTemplate::new(LinkHeader::None, s.into());
    let f = t.frame(d.into(), None, FIRST, 80, seq).to_vec();
    let syn_ack = answer(&f, false, TcpFlags::SYN | TcpFlags::ACK, seq.wrapping_add(1));
    let signs = |f: &[u8]| {
        let parsed = parse(LinkKind::None, f).unwrap();
        classify(&cookie, &parsed, FIRST, 8).unwrap().signs
    };
    assert!(!signs(&syn_ack).any(), "{:?}", signs(&syn_ack));
    let mut odd = syn_ack.clone();
    odd[34..36].copy_from_slice(&[0, 0]);
    assert!(signs(&odd).zero_window && !signs(&odd).no_options);
    // Without its four bytes of options.
    odd.truncate(40);
    odd[3] = 40;
    odd[32] = 5 << 4;
    assert!(signs(&odd).zero_window && signs(&odd).no_options);
    // A RST has neither window nor options, and there is nothing odd about that.
    odd[33] = TcpFlags::RST | TcpFlags::ACK;
    assert!(!signs(&odd).any());
}
