//! The probing order: a keyed bijection of 0..N.

/// A keyed permutation of `0..len`.
///
/// An unbalanced Feistel network over the smallest power of two that holds `len`, with cycle
/// walking for what falls outside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
/// 2002, section 3). The domain is less than twice `len`, so a walk takes under two steps on
/// average. The round function is a keyed 64-bit mixer: the order needs to be spread evenly and
/// be reproducible, not to resist cryptanalysis.
#[derive(Debug, Clone)]
pub struct ProbeOrder {
    len: u64,
    /// Bits of the left and of the right half before the first round.
    left: u32,
    right: u32,
    keys: [u64; ROUNDS],
}

/// Even, so that the halves' widths are back in place at the end.
const ROUNDS: usize = 6;

impl ProbeOrder {
    /// The permutation of `0..len` that belongs to `seed`.
    #[must_use]
    pub fn new(len: u64, seed: u64) -> Self {
        let bits = (64 - len.saturating_sub(1).leading_zeros()).max(2);
        let left = bits / 2;
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            scramble_bits(state)
        });
        Self { len, left, right: bits - left, keys }
    }

    /// How many elements.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What stands at `position`.
    ///
    /// # Panics
    /// If `position` is not below [`len`](Self::len).
    #[must_use]
    #[inline]
    pub fn at(&self, position: u64) -> u64 {
        assert!(position < self.len, "position {position} of {}", self.len);
        let mut x = position;
        loop {
            x = self.forward(x);
            if x < self.len {
                return x;
            }
        }
    }

    /// Where `element` stands: the inverse of [`at`](Self::at).
    ///
    /// # Panics
    /// If `element` is not below [`len`](Self::len).
    #[must_use]
    #[inline]
    pub fn position_of(&self, element: u64) -> u64 {
        assert!(element < self.len, "element {element} of {}", self.len);
        let mut x = element;
        loop {
            x = self.backward(x);
            if x < self.len {
                return x;
            }
        }
    }

    #[inline]
    fn forward(&self, x: u64) -> u64 {
        let (mut lw, mut rw) = (self.left, self.right);
        let (mut l, mut r) = (x >> rw, x & build_mask(rw));
        for key in &self.keys {
            let f = scramble_bits(r ^ key) & build_mask(lw);
            (l, r) = (r, l ^ f);
            (lw, rw) = (rw, lw);
        }
        l << rw | r
    }

    #[inline]
    fn backward(&self, x: u64) -> u64 {
        let (mut lw, mut rw) = (self.left, self.right);
        let (mut l, mut r) = (x >> rw, x & build_mask(rw));
        for key in self.keys.iter().rev() {
            // Undo (l, r) -> (r, l ^ f(r)): the old right half is the new left one.
            (lw, rw) = (rw, lw);
            let f = scramble_bits(l ^ key) & build_mask(lw);
            (l, r) = (r ^ f, l);
        }
        l << rw | r
    }
}

#[inline]
const fn build_mask(bits: u32) -> u64 {
    (1u64 << bits) - 1
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
#[inline]
const fn scramble_bits(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
