//! How many live rules hold each port.

/// Ports of both protocols: TCP from 0, UDP from 65,536.
const POINTS: usize = 1 << 17;

/// A count for each port of each protocol, added to by ranges; a tree in an array.
#[derive(Debug, Clone)]
pub(crate) struct PortCount {
    /// What was added to the whole of a node's part.
    added: Vec<u32>,
    /// The largest count within a node's part, `added` of its parents apart.
    most: Vec<u32>,
}

impl PortCount {
    pub(crate) fn new() -> Self {
        Self { added: vec![0; 2 * POINTS], most: vec![0; 2 * POINTS] }
    }

    /// Adds one to each point of a range, or takes it away again.
    pub(crate) fn add(&mut self, first: u32, last: u32, one_more: bool) {
        self.change(1, (0, POINTS as u32 - 1), (first, last), one_more);
    }

    fn change(&mut self, node: usize, (a, b): (u32, u32), range: (u32, u32), one_more: bool) {
        if b < range.0 || range.1 < a {
            return;
        }
        if range.0 <= a && b <= range.1 {
            for n in [&mut self.added[node], &mut self.most[node]] {
                *n = if one_more { *n + 1 } else { n.saturating_sub(1) };
            }
            return;
        }
        let middle = a + (b - a) / 2;
        self.change(2 * node, (a, middle), range, one_more);
        self.change(2 * node + 1, (middle + 1, b), range, one_more);
        self.most[node] = self.added[node] + self.most[2 * node].max(self.most[2 * node + 1]);
    }

    /// Whether a point of the range is held at all.
    pub(crate) fn holds_any(&self, first: u32, last: u32) -> bool {
        self.any(1, (0, POINTS as u32 - 1), (first, last))
    }

    fn any(&self, node: usize, (a, b): (u32, u32), range: (u32, u32)) -> bool {
        if b < range.0 || range.1 < a || self.most[node] == 0 {
            return false;
        }
        if self.added[node] > 0 || (range.0 <= a && b <= range.1) {
            return true;
        }
        let middle = a + (b - a) / 2;
        self.any(2 * node, (a, middle), range) || self.any(2 * node + 1, (middle + 1, b), range)
    }
}
