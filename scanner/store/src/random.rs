//! Random numbers for waiting times and to distinguish writers; nothing that must be secret.

use anyhow::Result;
use mimawari_base::failure::Failure;

/// A source of random numbers: SplitMix64 (Steele, Lea, Flood 2014) from a seed.
#[derive(Debug, Clone)]
pub struct RandomSource(u64);

impl RandomSource {
    /// Seeded by the system.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn draw() -> Result<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|e| Failure::new(format!("no randomness: {e}")))?;
        Ok(Self(u64::from_le_bytes(seed)))
    }

    /// Seeded by the caller.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn draw_one(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
