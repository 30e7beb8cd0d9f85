//! The classic BPF program in front of a ring: only what can be an answer reaches us.

use crate::device::LinkKind;

/// One instruction of classic BPF (`linux/filter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpfInstruction {
    /// Operation.
    pub code: u16,
    /// How far to jump if true.
    pub jt: u8,
    /// How far to jump if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

// Operations, from `linux/bpf_common.h`.
const LD_B_ABS: u16 = 0x30;
const LD_H_ABS: u16 = 0x28;
const LD_B_IND: u16 = 0x50;
const LD_H_IND: u16 = 0x48;
/// X = 4 × (the low four bits of a byte): the length of an IPv4 header.
const LDX_MSH: u16 = 0xb1;
const AND: u16 = 0x54;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const JSET: u16 = 0x45;
const RET: u16 = 0x06;

/// Where the kernel keeps what is not in the frame (`SKF_AD_OFF` and what is added to it, from
/// `linux/filter.h`): whether a VLAN tag was taken off, and the tag.
const VLAN_PRESENT: u32 = (-0x1000i32 + 48) as u32;
const VLAN_TAG: u32 = (-0x1000i32 + 44) as u32;
/// The tag's VLAN; the rest is priority (IEEE 802.1Q).
const VLAN_ID: u32 = 0x0fff;
/// "More fragments" and the fragment's offset (RFC 791, section 3.1).
const FRAGMENT: u32 = 0x3fff;

/// Bytes of a frame that are handed over: more than any head we read.
const SNAPLEN: u32 = 512;

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JumpTarget {
    Next,
    Untagged,
    V4,
    V4Tcp,
    V4Icmp,
    V6,
    V6Tcp,
    V6Icmp,
    Arp,
    Accept,
    Drop,
}

#[derive(Default)]
struct FilterAssembler {
    code: Vec<(u16, u32, JumpTarget, JumpTarget)>,
    places: Vec<(JumpTarget, usize)>,
}

impl FilterAssembler {
    fn at(&mut self, place: JumpTarget) {
        self.places.push((place, self.code.len()));
    }

    fn op(&mut self, code: u16, k: u32) {
        self.code.push((code, k, JumpTarget::Next, JumpTarget::Next));
    }

    fn jump(&mut self, code: u16, k: u32, yes: JumpTarget, no: JumpTarget) {
        self.code.push((code, k, yes, no));
    }

    fn finish(self) -> Vec<BpfInstruction> {
        let distance = |from: usize, to: JumpTarget| -> u8 {
            let there = match to {
                JumpTarget::Next => from + 1,
                to => self.places.iter().find(|(p, _)| *p == to).map_or(from + 1, |(_, i)| *i),
            };
            // The program is far shorter than a jump can reach.
            (there - from - 1) as u8
        };
        self.code
            .iter()
            .enumerate()
            .map(|(i, (code, k, yes, no))| BpfInstruction {
                code: *code,
                jt: distance(i, *yes),
                jf: distance(i, *no),
                k: *k,
            })
            .collect()
    }
}

/// Passes TCP whose destination port is one of ours, ICMP errors (type 3 of IPv4, type 1 of IPv6),
/// ARP replies and neighbour advertisements.
///
/// Fragments and IPv6 extension headers are dropped: no answer to a SYN needs them. So are frames of
/// a VLAN: the kernel takes their tag off before a packet socket sees them, and on the interface
/// below they would pass for its own; the VLAN's own interface shows them without a tag. A range whose
/// first port is above its last holds no port.
#[must_use]
pub fn build_reply_filter(link: LinkKind, first_port: u16, last_port: u16) -> Vec<BpfInstruction> {
    let mut a = FilterAssembler::default();
    let l = match link {
        LinkKind::Ethernet => {
            // Asked first whether there is a tag: some kernels leave an old one where there is none.
            a.op(LD_B_ABS, VLAN_PRESENT);
            a.jump(JEQ, 0, JumpTarget::Untagged, JumpTarget::Next);
            a.op(LD_H_ABS, VLAN_TAG);
            a.jump(JSET, VLAN_ID, JumpTarget::Drop, JumpTarget::Next);
            a.at(JumpTarget::Untagged);
            a.op(LD_H_ABS, 12);
            a.jump(JEQ, 0x0800, JumpTarget::V4, JumpTarget::Next);
            a.jump(JEQ, 0x86dd, JumpTarget::V6, JumpTarget::Next);
            a.jump(JEQ, 0x0806, JumpTarget::Arp, JumpTarget::Drop);
            14
        }
        LinkKind::None => {
            a.op(LD_B_ABS, 0);
            a.op(AND, 0xf0);
            a.jump(JEQ, 0x40, JumpTarget::V4, JumpTarget::Next);
            a.jump(JEQ, 0x60, JumpTarget::V6, JumpTarget::Drop);
            0
        }
    };
    let (first, last) = (u32::from(first_port), u32::from(last_port));
    a.at(JumpTarget::V4);
    a.op(LD_H_ABS, l + 6);
    a.jump(JSET, FRAGMENT, JumpTarget::Drop, JumpTarget::Next);
    a.op(LDX_MSH, l);
    a.op(LD_B_ABS, l + 9);
    a.jump(JEQ, 6, JumpTarget::V4Tcp, JumpTarget::Next);
    a.jump(JEQ, 1, JumpTarget::V4Icmp, JumpTarget::Drop);
    a.at(JumpTarget::V4Tcp);
    a.op(LD_H_IND, l + 2);
    a.jump(JGE, first, JumpTarget::Next, JumpTarget::Drop);
    a.jump(JGT, last, JumpTarget::Drop, JumpTarget::Accept);
    a.at(JumpTarget::V4Icmp);
    a.op(LD_B_IND, l);
    a.jump(JEQ, 3, JumpTarget::Accept, JumpTarget::Drop);
    a.at(JumpTarget::V6);
    a.op(LD_B_ABS, l + 6);
    a.jump(JEQ, 6, JumpTarget::V6Tcp, JumpTarget::Next);
    a.jump(JEQ, 58, JumpTarget::V6Icmp, JumpTarget::Drop);
    a.at(JumpTarget::V6Tcp);
    a.op(LD_H_ABS, l + 42);
    a.jump(JGE, first, JumpTarget::Next, JumpTarget::Drop);
    a.jump(JGT, last, JumpTarget::Drop, JumpTarget::Accept);
    a.at(JumpTarget::V6Icmp);
    a.op(LD_B_ABS, l + 40);
    a.jump(JEQ, 1, JumpTarget::Accept, JumpTarget::Next);
    a.jump(JEQ, 136, JumpTarget::Accept, JumpTarget::Drop);
    a.at(JumpTarget::Arp);
    a.op(LD_H_ABS, 20);
    a.jump(JEQ, 2, JumpTarget::Accept, JumpTarget::Drop);
    a.at(JumpTarget::Accept);
    a.op(RET, SNAPLEN);
    a.at(JumpTarget::Drop);
    a.op(RET, 0);
    a.finish()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::net::UnixDatagram;

    use proptest::prelude::*;
    use socket2::{SockFilter, Socket};

    use super::*;

    const FIRST: u16 = 61_000;
    const LAST: u16 = 61_007;
    const KINDS: [LinkKind; 2] = [LinkKind::Ethernet, LinkKind::None];

    /// An interpreter of what the program uses. Reading outside the frame drops it.
    fn run(program: &[BpfInstruction], f: &[u8], tag: Option<u16>) -> bool {
        fn steps(program: &[BpfInstruction], f: &[u8], tag: Option<u16>) -> Option<bool> {
            let (mut a, mut x, mut pc) = (0u32, 0u32, 0usize);
            let byte = |i: u32| f.get(i as usize).map(|b| u32::from(*b));
            let half = |i: u32| Some(byte(i)? << 8 | byte(i + 1)?);
            loop {
                let i = program[pc];
                pc += 1;
                let jump = |c: bool| usize::from(if c { i.jt } else { i.jf });
                match i.code {
                    LD_B_ABS if i.k == VLAN_PRESENT => a = u32::from(tag.is_some()),
                    LD_H_ABS if i.k == VLAN_TAG => a = u32::from(tag.unwrap_or(0)),
                    LD_B_ABS => a = byte(i.k)?,
                    LD_H_ABS => a = half(i.k)?,
                    LD_B_IND => a = byte(x + i.k)?,
                    LD_H_IND => a = half(x + i.k)?,
                    LDX_MSH => x = 4 * (byte(i.k)? & 0xf),
                    AND => a &= i.k,
                    JEQ => pc += jump(a == i.k),
                    JGT => pc += jump(a > i.k),
                    JGE => pc += jump(a >= i.k),
                    JSET => pc += jump(a & i.k != 0),
                    RET => return Some(i.k > 0),
                    code => panic!("{code:#x}"),
                }
            }
        }
        steps(program, f, tag).unwrap_or(false)
    }

    /// What the program is to do, written as a reader of formats instead of a machine.
    fn oracle(kind: LinkKind, frame: &[u8]) -> bool {
        let number = |b: &[u8]| b.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        let ours = |port: Option<&[u8]>| {
            port.is_some_and(|p| (usize::from(FIRST)..=usize::from(LAST)).contains(&number(p)))
        };
        let (v4, v6, packet) = match kind {
            LinkKind::Ethernet => {
                let Some((header, packet)) = frame.split_at_checked(14) else { return false };
                match header[12..] {
                    [0x08, 0x06] => return packet.get(6..8) == Some(&[0, 2]),
                    [0x08, 0x00] => (true, false, packet),
                    [0x86, 0xdd] => (false, true, packet),
                    _ => return false,
                }
            }
            LinkKind::None => {
                let version = frame.first().map(|b| b >> 4);
                (version == Some(4), version == Some(6), frame)
            }
        };
        if v4 {
            let Some(header) = packet.get(..10) else { return false };
            let whole = header[6] & 0b0011_1111 == 0 && header[7] == 0;
            let body = packet.get(usize::from(header[0] % 16) * 4..).unwrap_or_default();
            return whole
                && match header[9] {
                    6 => ours(body.get(2..4)),
                    1 => body.first() == Some(&3),
                    _ => false,
                };
        }
        if v6 {
            let body = packet.get(40..).unwrap_or_default();
            return match packet.get(6) {
                Some(6) => ours(body.get(2..4)),
                Some(58) => matches!(body.first(), Some(1 | 136)),
                _ => false,
            };
        }
        false
    }

    /// The kernel itself, without privilege: datagrams of a Unix socket go through its filter whole.
    struct Kernel {
        to: UnixDatagram,
        from: UnixDatagram,
    }

    impl Kernel {
        fn new(program: &[BpfInstruction]) -> Self {
            let (to, from) = UnixDatagram::pair().unwrap();
            let program: Vec<SockFilter> =
                program.iter().map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k)).collect();
            let from = Socket::from(std::os::fd::OwnedFd::from(from));
            from.attach_filter(&program).expect("the kernel takes the program");
            from.set_nonblocking(true).unwrap();
            Self { to, from: std::os::fd::OwnedFd::from(from).into() }
        }

        fn passes(&self, frame: &[u8]) -> bool {
            self.to.send(frame).unwrap();
            match self.from.recv(&mut [0; 2048]) {
                Ok(n) => {
                    assert_eq!(n, frame.len().min(SNAPLEN as usize));
                    true
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => false,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Frames that come far into the program: right in most places, anything in the rest.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let mostly = |right: &'static [u8]| prop_oneof![6 => proptest::sample::select(right), 1 => any::<u8>()];
        let port = prop_oneof![4 => FIRST - 2..=LAST + 2, 1 => any::<u16>()];
        let ethertype = prop_oneof![
            8 => proptest::sample::select(&[0x0800u16, 0x86dd, 0x0806, 0x8100, 0x88a8][..]),
            1 => any::<u16>()
        ];
        let fragment =
            prop_oneof![4 => Just(0x4000u16), 1 => Just(0), 1 => Just(0x2000), 1 => any::<u16>()];
        (
            (any::<bool>(), ethertype, mostly(&[0x45, 0x46, 0x4f, 0x40, 0x60, 0x65]), fragment),
            (mostly(&[6, 1, 58, 44, 17]), port, mostly(&[1, 3, 2, 136, 135]), any::<bool>()),
            (proptest::collection::vec(any::<u8>(), 100), 0usize..=140),
        )
            .prop_map(|((ethernet, ethertype, version, fragment), rest, (noise, cut))| {
                let (protocol, port, kind, is_icmp) = rest;
                let mut f = Vec::new();
                if ethernet {
                    f.extend(&noise[..12]);
                    f.extend(ethertype.to_be_bytes());
                }
                let ip = f.len();
                f.extend(&noise);
                f[ip] = version;
                f[ip + 6..ip + 8].copy_from_slice(&fragment.to_be_bytes());
                f[ip + 9] = protocol;
                let mut body = usize::from(version & 0xf) * 4;
                if ethertype == 0x0806 && ethernet {
                    f[ip..ip + 8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, kind]);
                } else if (ethernet && ethertype == 0x86dd) || (!ethernet && version >> 4 == 6) {
                    f[ip + 6] = protocol;
                    body = 40;
                }
                f[ip + body] = if is_icmp { kind } else { noise[7] };
                f[ip + body + 2..ip + body + 4].copy_from_slice(&port.to_be_bytes());
                f.truncate(cut.max(1));
                f
            })
    }

    fn tcp_v4(options: usize, dport: u16, fragment: u16, ethernet: bool) -> Vec<u8> {
        let mut f = if ethernet { vec![0; 12] } else { vec![] };
        if ethernet {
            f.extend([8, 0]);
        }
        f.extend([0x45 + options as u8, 0, 0, 0, 0, 0]);
        f.extend(fragment.to_be_bytes());
        f.extend([64, 6, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
        f.extend(vec![0; options * 4]);
        f.extend([0, 80]);
        f.extend(dport.to_be_bytes());
        f.extend([0; 16]);
        f
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn frames_are_decided_as_the_oracle_and_the_kernel_decide(f in frames(), kind in proptest::sample::select(&KINDS[..])) {
            let program = build_reply_filter(kind, FIRST, LAST);
            let passes = run(&program, &f, None);
            prop_assert_eq!(passes, oracle(kind, &f));
            prop_assert_eq!(passes, Kernel::new(&program).passes(&f));
        }

        #[test]
        fn any_bytes_are_decided_as_the_oracle_decides(f in proptest::collection::vec(any::<u8>(), 1..120)) {
            for kind in KINDS {
                prop_assert_eq!(run(&build_reply_filter(kind, FIRST, LAST), &f, None), oracle(kind, &f));
            }
        }
    }

    proptest! {
        #[test]
        fn tcp_passes_by_its_destination_port(options in 0usize..=10, dport: u16, fragment: u16, ethernet: bool) {
            let kind = if ethernet { LinkKind::Ethernet } else { LinkKind::None };
            let program = build_reply_filter(kind, FIRST, LAST);
            let f = tcp_v4(options, dport, fragment, ethernet);
            let ours = (FIRST..=LAST).contains(&dport) && fragment & 0x3fff == 0;
            prop_assert_eq!(run(&program, &f, None), ours);
            let whole = tcp_v4(options, FIRST + dport % 8, 0x4000, ethernet);
            prop_assert!(run(&program, &whole, None));
        }

        #[test]
        fn any_range_of_ports_is_kept_to(first: u16, last: u16, dport: u16) {
            for kind in KINDS {
                let program = build_reply_filter(kind, first, last);
                for dport in [dport, first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                    let f = tcp_v4(0, dport, 0, kind == LinkKind::Ethernet);
                    prop_assert_eq!(run(&program, &f, None), (first..=last).contains(&dport));
                }
            }
        }
    }

    #[test]
    fn another_vlan_is_another_network() {
        let program = build_reply_filter(LinkKind::Ethernet, FIRST, LAST);
        let f = tcp_v4(0, FIRST, 0, true);
        for (tag, passes) in
            [(None, true), (Some(10), false), (Some(0xe000), true), (Some(0xefff), false)]
        {
            assert_eq!(run(&program, &f, tag), passes, "{tag:?}");
        }
        // A tag that is still in the frame is the inner one of two.
        let mut inner = f;
        inner.splice(12..12, [0x81, 0, 0, 10]);
        assert!(!run(&program, &inner, None));
    }

    #[test]
    fn the_rest_passes_by_its_type() {
        let program = build_reply_filter(LinkKind::Ethernet, FIRST, LAST);
        let passes = |f: &[u8]| run(&program, f, None);
        let mut icmp = tcp_v4(0, 0, 0, true);
        icmp[23] = 1;
        for kind in 0..=255 {
            icmp[34] = kind;
            assert_eq!(passes(&icmp), kind == 3, "ICMP {kind}");
        }
        let mut v6 = vec![0u8; 74];
        v6[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
        v6[20] = 58;
        for kind in 0..=255 {
            v6[54] = kind;
            assert_eq!(passes(&v6), kind == 1 || kind == 136, "ICMPv6 {kind}");
        }
        v6[56..58].copy_from_slice(&61_003u16.to_be_bytes());
        // Hop-by-hop, routing, fragment, authentication, destination options (RFC 8200).
        for (next, pass) in
            [(6, true), (0, false), (43, false), (44, false), (51, false), (60, false)]
        {
            v6[20] = next;
            assert_eq!(passes(&v6), pass, "next header {next}");
        }
        let mut arp = vec![0u8; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        for operation in 0..4 {
            arp[21] = operation;
            assert_eq!(passes(&arp), operation == 2);
        }
    }
}
