//! Which ports base and head allow at one address.

/// Ports of both protocols.
const POINTS: u32 = 1 << 17;

#[derive(Debug, Clone, Copy, Default)]
struct CoverNode {
    /// Ranges of base that were put on this whole part, and not on a larger one.
    base: u32,
    /// The same of head.
    head: u32,
    /// Points of the part that ranges of base hold which were put on it or on its parts.
    based: u32,
    /// Points that such ranges of head hold, and none of base.
    alone: u32,
}

/// A tree over the ports.
#[derive(Debug)]
pub(super) struct PortCover(Vec<CoverNode>);

impl PortCover {
    pub fn new() -> Self {
        Self(vec![CoverNode::default(); 2 * POINTS as usize])
    }

    /// A range of base begins or ends.
    pub fn change_base(&mut self, range: (u32, u32), begins: bool) {
        self.change(1, (0, POINTS - 1), range, &|n| n.base = find_next_step(n.base, begins));
    }

    /// A range of head begins or ends.
    pub fn change_head(&mut self, range: (u32, u32), begins: bool) {
        self.change(1, (0, POINTS - 1), range, &|n| n.head = find_next_step(n.head, begins));
    }

    fn change(
        &mut self,
        node: usize,
        (a, b): (u32, u32),
        range: (u32, u32),
        to: &impl Fn(&mut CoverNode),
    ) {
        if b < range.0 || range.1 < a {
            return;
        }
        if range.0 <= a && b <= range.1 {
            to(&mut self.0[node]);
        } else {
            let middle = a + (b - a) / 2;
            self.change(2 * node, (a, middle), range, to);
            self.change(2 * node + 1, (middle + 1, b), range, to);
        }
        let size = b - a + 1;
        let parts = |f: &dyn Fn(&CoverNode) -> u32| match a == b {
            true => 0,
            false => f(&self.0[2 * node]) + f(&self.0[2 * node + 1]),
        };
        let own = self.0[node];
        let based = if own.base > 0 { size } else { parts(&|n| n.based) };
        let alone = match (own.base > 0, own.head > 0) {
            (true, _) => 0,
            (false, true) => size - based,
            (false, false) => parts(&|n| n.alone),
        };
        (self.0[node].based, self.0[node].alone) = (based, alone);
    }

    /// Points that head holds and base does not.
    pub fn head_alone(&self) -> u32 {
        self.0[1].alone
    }

    /// Points of a range that base does not hold.
    pub fn without_base(&self, first: u32, last: u32) -> u32 {
        self.free(1, (0, POINTS - 1), (first, last))
    }

    fn free(&self, node: usize, (a, b): (u32, u32), range: (u32, u32)) -> u32 {
        if b < range.0 || range.1 < a || self.0[node].base > 0 {
            return 0;
        }
        if range.0 <= a && b <= range.1 {
            return b - a + 1 - self.0[node].based;
        }
        let middle = a + (b - a) / 2;
        self.free(2 * node, (a, middle), range) + self.free(2 * node + 1, (middle + 1, b), range)
    }
}

fn find_next_step(n: u32, begins: bool) -> u32 {
    if begins { n + 1 } else { n.saturating_sub(1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_as_looking_at_each_port_does(
            changes in prop::collection::vec((any::<bool>(), 0u32..60, 0u32..40, any::<bool>()), 1..40)
        ) {
            let mut cover = PortCover::new();
            let mut plain = [[0u32; 100]; 2];
            let mut live: Vec<(bool, (u32, u32))> = Vec::new();
            for (of_base, first, more, ends) in changes {
                let (of_base, range, begins) = match live.pop() {
                    Some((of_base, range)) if ends => (of_base, range, false),
                    other => {
                        live.extend(other);
                        live.push((of_base, (first, first + more)));
                        (of_base, (first, first + more), true)
                    }
                };
                if of_base {
                    cover.change_base(range, begins);
                } else {
                    cover.change_head(range, begins);
                }
                for p in range.0..=range.1 {
                    let n = &mut plain[usize::from(of_base)][p as usize];
                    *n = find_next_step(*n, begins);
                }
                let alone = (0..100).filter(|p| plain[0][*p] > 0 && plain[1][*p] == 0).count();
                prop_assert_eq!(cover.head_alone() as usize, alone);
                let free = (first..=first + more).filter(|p| plain[1][*p as usize] == 0).count();
                prop_assert_eq!(cover.without_base(first, first + more) as usize, free);
            }
        }
    }
}
