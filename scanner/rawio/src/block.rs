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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut b = vec![0u8; 48];
        b[NUM_PACKETS..NUM_PACKETS + 4].copy_from_slice(&(frames.len() as u32).to_ne_bytes());
        b[FIRST..FIRST + 4].copy_from_slice(&48u32.to_ne_bytes());
        for (i, frame) in frames.iter().enumerate() {
            let at = b.len();
            let mut size = 64 + frame.len();
            size += (16 - size % 16) % 16;
            b.resize(at + size, 0);
            let next = if i + 1 == frames.len() { 0 } else { size as u32 };
            b[at..at + 4].copy_from_slice(&next.to_ne_bytes());
            b[at + SNAPLEN..at + SNAPLEN + 4].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
            b[at + MAC..at + MAC + 2].copy_from_slice(&64u16.to_ne_bytes());
            b[at + 64..at + 64 + frame.len()].copy_from_slice(frame);
        }
        b
    }

    proptest! {
        #[test]
        fn finds_every_frame(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..20)) {
            let mut seen = Vec::new();
            let n = walk(&build(&frames), &mut |f| seen.push(f.to_vec()));
            prop_assert_eq!(n, frames.len());
            prop_assert_eq!(seen, frames);
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
            let mut total = 0;
            let n = walk(&b, &mut |f| total += f.len());
            // Each step leads forward by at least one byte.
            prop_assert!(n <= b.len().max(1));
        }
    }
}
