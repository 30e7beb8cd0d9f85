//! Which rules hold an address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mimawari_targets::AddrSet;

/// Which rules hold an address: the address space cut at every rule's ends, a list for each piece.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    v4: Pieces,
    v6: Pieces,
}

#[derive(Debug, Clone, Default)]
struct Pieces {
    starts: Vec<u128>,
    lists: Vec<Vec<u32>>,
}

impl Pieces {
    fn new(ranges: &[(u128, u128, u32)]) -> Self {
        // Opened at its first address, closed behind its last one.
        let mut events: Vec<(u128, bool, u32)> = Vec::with_capacity(ranges.len() * 2);
        for (a, b, i) in ranges {
            events.push((*a, true, *i));
            if let Some(behind) = b.checked_add(1) {
                events.push((behind, false, *i));
            }
        }
        events.sort_unstable();
        let mut out = Self::default();
        let mut live: BTreeMap<u32, u32> = BTreeMap::new();
        let mut at = 0;
        while at < events.len() {
            let start = events[at].0;
            while at < events.len() && events[at].0 == start {
                let (_, opens, i) = events[at];
                let n = live.entry(i).or_default();
                if opens {
                    *n += 1;
                } else {
                    *n = n.saturating_sub(1);
                    if *n == 0 {
                        live.remove(&i);
                    }
                }
                at += 1;
            }
            out.starts.push(start);
            out.lists.push(live.keys().copied().collect());
        }
        out
    }

    fn at(&self, x: u128) -> &[u32] {
        let i = self.starts.partition_point(|s| *s <= x);
        i.checked_sub(1).and_then(|i| self.lists.get(i)).map_or(&[], Vec::as_slice)
    }

    /// The pieces below the one that holds `x`, nearest first, each with its last address.
    fn below(&self, x: u128) -> impl Iterator<Item = (u128, &[u32])> {
        let i = self.starts.partition_point(|s| *s <= x);
        let ends = self.starts[..i].iter().rev().map(|start| start.saturating_sub(1));
        ends.zip(self.lists[..i.saturating_sub(1)].iter().rev().map(Vec::as_slice))
    }

    /// The pieces above the one that holds `x`, nearest first, each with its first address.
    fn above(&self, x: u128) -> impl Iterator<Item = (u128, &[u32])> {
        let i = self.starts.partition_point(|s| *s <= x);
        self.starts[i..].iter().copied().zip(self.lists[i..].iter().map(Vec::as_slice))
    }
}

impl Index {
    pub(super) fn new<'a>(sets: impl Iterator<Item = &'a AddrSet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (i, set) in (0u32..).zip(sets) {
            for r in set.ranges() {
                match (r.first(), r.last()) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        v4.push((u128::from(a.to_bits()), u128::from(b.to_bits()), i));
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => v6.push((a.to_bits(), b.to_bits(), i)),
                    _ => {}
                }
            }
        }
        Self { v4: Pieces::new(&v4), v6: Pieces::new(&v6) }
    }

    pub(super) fn at(&self, ip: IpAddr) -> &[u32] {
        match ip {
            IpAddr::V4(a) => self.v4.at(u128::from(a.to_bits())),
            IpAddr::V6(a) => self.v6.at(a.to_bits()),
        }
    }

    /// The rules of the neighbouring pieces on one side of an address, nearest first, each with its
    /// distance in addresses.
    pub(super) fn beside(&self, ip: IpAddr, above: bool) -> impl Iterator<Item = (u128, &[u32])> {
        let (pieces, x) = match ip {
            IpAddr::V4(a) => (&self.v4, u128::from(a.to_bits())),
            IpAddr::V6(a) => (&self.v6, a.to_bits()),
        };
        let up = above.then(|| pieces.above(x).map(move |(first, list)| (first - x, list)));
        let down = (!above).then(|| pieces.below(x).map(move |(last, list)| (x - last, list)));
        up.into_iter().flatten().chain(down.into_iter().flatten())
    }
}
