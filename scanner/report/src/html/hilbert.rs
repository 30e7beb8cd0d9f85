//! The Hilbert curve: a line through all cells of a square that keeps neighbours together.
//!
//! Addresses that share a prefix share a square, so a block that is open shows as a block (Munroe, "Map of
//! the Internet", 2006). D. Hilbert, Über die stetige Abbildung einer Linie auf ein Flächenstück, 1891.

/// Where the curve through a square of `side` × `side` cells is at `index`: column and row, from the
/// upper left. `side` is a power of two and `index` under its square.
pub(crate) const fn compute_curve_position(side: u32, index: u32) -> (u32, u32) {
    let (mut x, mut y) = (0, 0);
    let mut rest = index;
    let mut s = 1;
    // From the smallest square to the whole: each pair of bits says in which quarter the square so far
    // lies, and the curve is turned so that it leaves one quarter where it enters the next.
    while s < side {
        let (right, lower) = match rest % 4 {
            0 => (false, false),
            1 => (false, true),
            2 => (true, true),
            _ => (true, false),
        };
        if !lower {
            if right {
                (x, y) = (s - 1 - x, s - 1 - y);
            }
            (x, y) = (y, x);
        }
        if right {
            x += s;
        }
        if lower {
            y += s;
        }
        rest /= 4;
        s *= 2;
    }
    (x, y)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cell_is_met_once_and_neighbours_touch() {
        for side in [1, 2, 4, 8, 16, 32, 64] {
            let n = side * side;
            let all: Vec<(u32, u32)> = (0..n).map(|i| compute_curve_position(side, i)).collect();
            assert!(all.iter().all(|(x, y)| *x < side && *y < side));
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), n as usize);
            for w in all.windows(2) {
                assert_eq!(w[0].0.abs_diff(w[1].0) + w[0].1.abs_diff(w[1].1), 1, "{w:?}");
            }
            assert_eq!(all[0], (0, 0));
        }
    }

    /// What makes it a map of prefixes: an aligned power of four of cells is a square.
    #[test]
    fn a_prefix_is_a_square() {
        for block in 0..256 {
            let cells = (0..16).map(|i| compute_curve_position(64, block * 16 + i));
            let squares: BTreeSet<_> = cells.map(|(x, y)| (x / 4, y / 4)).collect();
            assert_eq!(squares.len(), 1);
        }
    }
}
