//! Walking a block of a TPACKET_V3 ring.
//!
//! Offsets are those of `tpacket_block_desc` and `tpacket3_hdr` in `linux/if_packet.h`. The kernel
//! wrote the block, and is believed no more than the network: every offset and length is checked.

/// `hdr.bh1.num_pkts` and `hdr.bh1.offset_to_first_pkt`.
const NUM_PACKETS: usize = 12;
const FIRST: usize = 16;
/// Of a packet's head: `tp_next_offset`, `tp_snaplen`, `tp_mac`.
const NEXT: usize = 0;
const SNAPLEN: usize = 12;
const MAC: usize = 24;

/// Calls `f` for each frame of a block, from its link header on; returns their number. Ends at the
/// first thing that does not fit.
pub(crate) fn walk(block: &[u8], f: &mut dyn FnMut(&[u8])) -> usize {
    let u32_at = |i: usize| -> Option<usize> {
        let b = block.get(i..i.checked_add(4)?)?;
        usize::try_from(u32::from_ne_bytes(b.try_into().ok()?)).ok()
    };
    let u16_at = |i: usize| -> Option<usize> {
        let b = block.get(i..i.checked_add(2)?)?;
        Some(usize::from(u16::from_ne_bytes(b.try_into().ok()?)))
    };
    let (Some(packets), Some(mut at)) = (u32_at(NUM_PACKETS), u32_at(FIRST)) else { return 0 };
    let mut seen = 0;
    while seen < packets {
        let frame = (|| {
            let start = at.checked_add(u16_at(at.checked_add(MAC)?)?)?;
            block.get(start..start.checked_add(u32_at(at.checked_add(SNAPLEN)?)?)?)
        })();
        let Some(frame) = frame else { break };
        f(frame);
        seen += 1;
        // 0 marks the last packet; anything else leads forward, so the walk ends.
        match u32_at(at + NEXT) {
            Some(next) if next > 0 => match at.checked_add(next) {
                Some(next) => at = next,
                None => break,
            },
            _ => break,
        }
    }
    seen
}

/// A block as the kernel would write it, its status left alone.
#[cfg(test)]
pub(crate) fn build(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut b = vec![0u8; 48];
    b[NUM_PACKETS..NUM_PACKETS + 4].copy_from_slice(&(frames.len() as u32).to_ne_bytes());
    b[FIRST..FIRST + 4].copy_from_slice(&48u32.to_ne_bytes());
    for (i, frame) in frames.iter().enumerate() {
        let at = b.len();
        let size = (64 + frame.len()).next_multiple_of(16);
        b.resize(at + size, 0);
        let next = if i + 1 == frames.len() { 0 } else { size as u32 };
        b[at..at + 4].copy_from_slice(&next.to_ne_bytes());
        b[at + SNAPLEN..at + SNAPLEN + 4].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        b[at + MAC..at + MAC + 2].copy_from_slice(&64u16.to_ne_bytes());
        b[at + 64..at + 64 + frame.len()].copy_from_slice(frame);
    }
    b
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;

    /// The same walk as arithmetic on ranges, without limits of a machine's integers.
    fn oracle(block: &[u8]) -> Vec<Range<usize>> {
        let number = |at: u128, bytes: u128| -> Option<u128> {
            if at + bytes > block.len() as u128 {
                return None;
            }
            let b = &block[at as usize..(at + bytes) as usize];
            let digits = |n: u128, b: &u8| n << 8 | u128::from(*b);
            Some(if cfg!(target_endian = "little") {
                b.iter().rev().fold(0, digits)
            } else {
                b.iter().fold(0, digits)
            })
        };
        let mut all = Vec::new();
        let (Some(packets), Some(mut at)) = (number(12, 4), number(16, 4)) else { return all };
        for _ in 0..packets {
            let (Some(mac), Some(length)) = (number(at + 24, 2), number(at + 12, 4)) else { break };
            let start = at + mac;
            if start + length > block.len() as u128 {
                break;
            }
            all.push(start as usize..(start + length) as usize);
            match number(at, 4) {
                None | Some(0) => break,
                Some(next) => at += next,
            }
        }
        all
    }

    fn agrees(block: &[u8]) -> Result<(), TestCaseError> {
        let base = block.as_ptr() as usize;
        let mut seen = Vec::new();
        let n = walk(block, &mut |f| {
            let start = f.as_ptr() as usize - base;
            seen.push(start..start + f.len());
        });
        prop_assert_eq!(n, seen.len());
        prop_assert_eq!(seen, oracle(block));
        Ok(())
    }

    #[test]
    fn offsets_are_those_of_the_kernel() {
        use libc::{tpacket_hdr_v1, tpacket3_hdr};
        // `tpacket_block_desc` is a version, an offset and then the header.
        assert_eq!(NUM_PACKETS, 8 + offset_of!(tpacket_hdr_v1, num_pkts));
        assert_eq!(FIRST, 8 + offset_of!(tpacket_hdr_v1, offset_to_first_pkt));
        assert_eq!(NEXT, offset_of!(tpacket3_hdr, tp_next_offset));
        assert_eq!(SNAPLEN, offset_of!(tpacket3_hdr, tp_snaplen));
        assert_eq!(MAC, offset_of!(tpacket3_hdr, tp_mac));
    }

    proptest! {
        #[test]
        fn finds_every_frame(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..20)) {
            let block = build(&frames);
            let mut seen = Vec::new();
            let n = walk(&block, &mut |f| seen.push(f.to_vec()));
            prop_assert_eq!(n, frames.len());
            prop_assert_eq!(seen, frames);
            agrees(&block)?;
        }

        #[test]
        fn damage_never_reads_outside_and_always_ends(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 1..6),
            damage in proptest::collection::vec((0usize..1000, any::<u8>()), 0..40),
            cut in 0usize..1000,
        ) {
            let mut b = build(&frames);
            for (i, x) in damage {
                let n = b.len();
                b[i % n] = x;
            }
            b.truncate(cut);
            agrees(&b)?;
        }

        /// Heads whose every field is hostile, laid so that the walk reaches them.
        #[test]
        fn hostile_heads_agree_with_the_oracle(
            size in 0usize..600,
            packets in prop_oneof![0u32..40, Just(u32::MAX)],
            first in prop_oneof![0u32..700, (u32::MAX - 30)..=u32::MAX],
            heads in proptest::collection::vec((
                0usize..600,
                prop_oneof![0u32..200, Just(1), (u32::MAX - 700)..=u32::MAX],
                prop_oneof![0u32..700, (u32::MAX - 700)..=u32::MAX],
                any::<u16>().prop_map(|m| if m & 1 == 0 { m % 700 } else { m }),
            ), 0..12),
        ) {
            let mut b = vec![0u8; size];
            let mut put = |at: usize, bytes: &[u8]| {
                if let Some(to) = b.get_mut(at..at + bytes.len()) {
                    to.copy_from_slice(bytes);
                }
            };
            let mut at = first as usize;
            for (elsewhere, next, length, mac) in heads {
                for at in [at, elsewhere] {
                    if at > 1 << 20 {
                        continue;
                    }
                    put(at + NEXT, &next.to_ne_bytes());
                    put(at + SNAPLEN, &length.to_ne_bytes());
                    put(at + MAC, &mac.to_ne_bytes());
                }
                at = at.wrapping_add(next as usize);
            }
            put(NUM_PACKETS, &packets.to_ne_bytes());
            put(FIRST, &first.to_ne_bytes());
            agrees(&b)?;
        }
    }
}
