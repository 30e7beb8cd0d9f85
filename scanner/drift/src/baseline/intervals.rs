//! Intervals, and which of them hold a point.

/// Closed intervals with a number each, sorted by their first point. Memory is bounded by the number of
/// intervals, however many of them overlap.
///
/// The array is read as a balanced tree: the middle of a part is its root. `reach` has, at each root, the
/// last point that any interval of its part holds, so that parts that end too early are passed over.
#[derive(Debug, Clone)]
pub(super) struct IntervalSet<K> {
    all: Vec<(K, K, u32)>,
    reach: Vec<K>,
}

impl<K> Default for IntervalSet<K> {
    fn default() -> Self {
        Self { all: Vec::new(), reach: Vec::new() }
    }
}

impl<K: Ord + Copy> IntervalSet<K> {
    pub(super) fn new(mut all: Vec<(K, K, u32)>) -> Self {
        all.sort_unstable();
        all.shrink_to_fit();
        let mut reach: Vec<K> = all.iter().map(|i| i.1).collect();
        Self::fill(&all, &mut reach);
        Self { all, reach }
    }

    fn fill(all: &[(K, K, u32)], reach: &mut [K]) -> Option<K> {
        let middle = all.len() / 2;
        let own = all.get(middle)?.1;
        let (left, right) = reach.split_at_mut(middle);
        let (root, right) = right.split_first_mut()?;
        let below = Self::fill(&all[..middle], left);
        let above = Self::fill(&all[middle + 1..], right);
        *root = [below, above].into_iter().flatten().fold(own, K::max);
        Some(*root)
    }

    /// Calls `each` with the number of every interval that holds `x`.
    pub(super) fn at(&self, x: K, each: &mut impl FnMut(u32)) {
        Self::visit(&self.all, &self.reach, x, each);
    }

    fn visit(all: &[(K, K, u32)], reach: &[K], x: K, each: &mut impl FnMut(u32)) {
        let middle = all.len() / 2;
        let Some((first, last, number)) = all.get(middle) else { return };
        if reach[middle] < x {
            return;
        }
        Self::visit(&all[..middle], &reach[..middle], x, each);
        if *first <= x {
            if x <= *last {
                each(*number);
            }
            Self::visit(&all[middle + 1..], &reach[middle + 1..], x, each);
        }
    }

    /// All of them, by their first point.
    pub(super) fn all(&self) -> &[(K, K, u32)] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_point_is_in_the_intervals_that_hold_it(
            all in prop::collection::vec((0u32..60, 0u32..20), 0..40), x in 0u32..90
        ) {
            let all: Vec<_> = all.into_iter().zip(0..).map(|((a, n), i)| (a, a + n, i)).collect();
            let held = |i: &&(u32, u32, u32)| i.0 <= x && x <= i.1;
            let mut expected: Vec<u32> = all.iter().filter(held).map(|i| i.2).collect();
            let mut found = Vec::new();
            IntervalSet::new(all).at(x, &mut |i| found.push(i));
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
