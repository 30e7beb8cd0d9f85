//! The classic BPF program in front of a ring: only what can be an answer reaches us.

use crate::device::LinkKind;

/// One instruction of classic BPF (`linux/filter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
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

/// Bytes of a frame that are handed over: more than any head we read.
const SNAPLEN: u32 = 512;

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
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
struct Assembler {
    code: Vec<(u16, u32, To, To)>,
    places: Vec<(To, usize)>,
}

impl Assembler {
    fn at(&mut self, place: To) {
        self.places.push((place, self.code.len()));
    }

    fn op(&mut self, code: u16, k: u32) {
        self.code.push((code, k, To::Next, To::Next));
    }

    fn jump(&mut self, code: u16, k: u32, yes: To, no: To) {
        self.code.push((code, k, yes, no));
    }

    fn finish(self) -> Vec<Instruction> {
        let distance = |from: usize, to: To| -> u8 {
            let there = match to {
                To::Next => from + 1,
                to => self.places.iter().find(|(p, _)| *p == to).map_or(from + 1, |(_, i)| *i),
            };
            // The program is far shorter than a jump can reach.
            (there - from - 1) as u8
        };
        self.code
            .iter()
            .enumerate()
            .map(|(i, (code, k, yes, no))| Instruction {
                code: *code,
                jt: distance(i, *yes),
                jf: distance(i, *no),
                k: *k,
            })
            .collect()
    }
}

/// Passes TCP whose destination port is one of ours, ICMP errors (type 3 of IPv4, type 1 of IPv6),
/// ARP replies and neighbour advertisements. Later fragments and IPv6 extension headers are dropped:
/// no answer to a SYN needs them.
#[must_use]
pub fn replies(link: LinkKind, first_port: u16, last_port: u16) -> Vec<Instruction> {
    let mut a = Assembler::default();
    let l = match link {
        LinkKind::Ethernet => {
            a.op(LD_H_ABS, 12);
            a.jump(JEQ, 0x0800, To::V4, To::Next);
            a.jump(JEQ, 0x86dd, To::V6, To::Next);
            a.jump(JEQ, 0x0806, To::Arp, To::Drop);
            14
        }
        LinkKind::None => {
            a.op(LD_B_ABS, 0);
            a.op(AND, 0xf0);
            a.jump(JEQ, 0x40, To::V4, To::Next);
            a.jump(JEQ, 0x60, To::V6, To::Drop);
            0
        }
    };
    let (first, last) = (u32::from(first_port), u32::from(last_port));
    a.at(To::V4);
    a.op(LD_H_ABS, l + 6);
    a.jump(JSET, 0x1fff, To::Drop, To::Next);
    a.op(LDX_MSH, l);
    a.op(LD_B_ABS, l + 9);
    a.jump(JEQ, 6, To::V4Tcp, To::Next);
    a.jump(JEQ, 1, To::V4Icmp, To::Drop);
    a.at(To::V4Tcp);
    a.op(LD_H_IND, l + 2);
    a.jump(JGE, first, To::Next, To::Drop);
    a.jump(JGT, last, To::Drop, To::Accept);
    a.at(To::V4Icmp);
    a.op(LD_B_IND, l);
    a.jump(JEQ, 3, To::Accept, To::Drop);
    a.at(To::V6);
    a.op(LD_B_ABS, l + 6);
    a.jump(JEQ, 6, To::V6Tcp, To::Next);
    a.jump(JEQ, 58, To::V6Icmp, To::Drop);
    a.at(To::V6Tcp);
    a.op(LD_H_ABS, l + 42);
    a.jump(JGE, first, To::Next, To::Drop);
    a.jump(JGT, last, To::Drop, To::Accept);
    a.at(To::V6Icmp);
    a.op(LD_B_ABS, l + 40);
    a.jump(JEQ, 1, To::Accept, To::Next);
    a.jump(JEQ, 136, To::Accept, To::Drop);
    a.at(To::Arp);
    a.op(LD_H_ABS, 20);
    a.jump(JEQ, 2, To::Accept, To::Drop);
    a.at(To::Accept);
    a.op(RET, SNAPLEN);
    a.at(To::Drop);
    a.op(RET, 0);
    a.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An interpreter of what the program uses; `None`: read outside the frame, which drops it.
    fn run(program: &[Instruction], f: &[u8]) -> Option<bool> {
        let (mut a, mut x, mut pc) = (0u32, 0u32, 0usize);
        let byte = |i: u32| f.get(i as usize).map(|b| u32::from(*b));
        let half = |i: u32| Some(byte(i)? << 8 | byte(i + 1)?);
        loop {
            let i = program[pc];
            pc += 1;
            let jump = |c: bool| usize::from(if c { i.jt } else { i.jf });
            match i.code {
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
        #[test]
        fn tcp_passes_by_its_destination_port(options in 0usize..=10, dport: u16, fragment: u16, ethernet: bool) {
            let kind = if ethernet { LinkKind::Ethernet } else { LinkKind::None };
            let program = replies(kind, 61_000, 61_007);
            let f = tcp_v4(options, dport, fragment, ethernet);
            let ours = (61_000..=61_007).contains(&dport) && fragment & 0x1fff == 0;
            prop_assert_eq!(run(&program, &f), Some(ours));
            let whole = tcp_v4(options, 61_000 + dport % 8, 0x4000, ethernet);
            prop_assert_eq!(run(&program, &whole), Some(true));
        }

        #[test]
        fn any_bytes_are_decided(f in proptest::collection::vec(any::<u8>(), 0..120)) {
            for kind in [LinkKind::Ethernet, LinkKind::None] {
                let _ = run(&replies(kind, 1, u16::MAX), &f);
            }
        }
    }

    #[test]
    fn the_rest_passes_by_its_type() {
        let program = replies(LinkKind::Ethernet, 61_000, 61_007);
        let mut icmp = tcp_v4(0, 0, 0, true);
        icmp[23] = 1;
        for kind in 0..=255 {
            icmp[34] = kind;
            assert_eq!(run(&program, &icmp), Some(kind == 3), "ICMP {kind}");
        }
        let mut v6 = vec![0u8; 74];
        v6[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
        v6[20] = 58;
        for kind in 0..=255 {
            v6[54] = kind;
            assert_eq!(run(&program, &v6), Some(kind == 1 || kind == 136), "ICMPv6 {kind}");
        }
        v6[20] = 6;
        v6[56..58].copy_from_slice(&61_003u16.to_be_bytes());
        assert_eq!(run(&program, &v6), Some(true));
        v6[20] = 44;
        assert_eq!(run(&program, &v6), Some(false), "a fragment header");
        let mut arp = vec![0u8; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        for operation in 0..4 {
            arp[21] = operation;
            assert_eq!(run(&program, &arp), Some(operation == 2));
        }
    }
}
