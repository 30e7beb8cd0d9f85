//! How many frames leave back to back.
//!
//! A policer counts tokens, and its bucket may hold a few packets only: of a batch that leaves back to
//! back it drops most, whatever the average rate. So the burst is the first thing to be made smaller
//! when answers are lost, and it grows again only while nothing is.

use std::time::Duration;

use crate::types::SweepConfig;

/// The spacing of frames that a driver keeps within a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSpacing {
    /// Frames per second. A little more than the rate of the sweep, so that a driver that was late
    /// once can make up for it.
    pub rate: u32,
    /// Frames that may leave back to back.
    pub burst: u32,
}

impl FrameSpacing {
    /// For a sweep at this rate.
    #[must_use]
    pub(crate) fn of(rate: u32, burst: u32) -> Self {
        Self { rate: rate.saturating_add(rate / 32).max(1), burst }
    }
}

/// What nearly every bucket holds, and a batch that still costs little.
const FEW: u32 = 4;
/// A burst grows by this factor.
const GROWTH: u32 = 4;
/// Quiet windows before a larger burst is tried.
const QUIET: u32 = 10;
/// Losses within so many windows after the burst grew are the burst's.
const TRIAL: u32 = 6;
/// How long a burst that did harm is not tried again, at first.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest burst that does no harm on the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BurstControl {
    /// Frames back to back; `u32::MAX`: as many as suit the rate.
    now: u32,
    /// Windows since the burst grew, and what it was before; `None`: it did not, or has proved
    /// harmless.
    trial: Option<(u32, u32)>,
    /// No larger burst is tried before this.
    retry: Duration,
    patience: Duration,
}

impl BurstControl {
    /// Single frames: what is lost to the very first burst would be taken for usual.
    pub(crate) const fn new() -> Self {
        Self { now: 1, trial: None, retry: Duration::ZERO, patience: PATIENCE }
    }

    pub(crate) const fn get(&self) -> u32 {
        self.now
    }

    /// Whether the burst has just grown, and it is not known yet whether that does harm.
    pub(crate) const fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The path has shown nothing against large bursts so far.
    pub(crate) const fn release(&mut self) {
        self.now = u32::MAX;
    }

    /// Answers were lost. Whether the burst is smaller now; otherwise it is the rate that was too high.
    pub(crate) fn shrink(&mut self, now: Duration) -> BurstChange {
        if let Some((_, before)) = self.trial.take() {
            self.now = before;
            self.retry = now.saturating_add(self.patience);
            self.patience = self.patience.saturating_mul(2);
            return BurstChange::Reverted;
        }
        if self.now > FEW {
            self.now = FEW;
            self.retry = now.saturating_add(PATIENCE / 6);
            return BurstChange::Shrunk;
        }
        BurstChange::Kept
    }

    /// Lowering the rate did not help: frames leave one at a time.
    pub(crate) fn separate(&mut self, now: Duration) -> BurstChange {
        if self.now == 1 {
            return BurstChange::Kept;
        }
        self.now = 1;
        self.trial = None;
        self.retry = now.saturating_add(PATIENCE);
        BurstChange::Shrunk
    }

    /// A window in which nothing was lost, the `quiet`-th in a row. Whether the burst is larger now.
    pub(crate) fn grow(&mut self, now: Duration, rate: u32, quiet: u32) -> bool {
        if let Some((windows, _)) = &mut self.trial {
            *windows += 1;
            if *windows < TRIAL {
                return false;
            }
            self.trial = None;
        }
        if self.now == u32::MAX || quiet < QUIET || now < self.retry {
            return false;
        }
        let before = self.now;
        let larger = before.saturating_mul(GROWTH);
        self.now = if larger >= SweepConfig::burst_for(rate) { u32::MAX } else { larger };
        self.trial = Some((0, before));
        true
    }
}

/// What became of the burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BurstChange {
    /// It is as small as it was.
    Kept,
    /// It is smaller; the capacity that was measured with it is only a lower bound.
    Shrunk,
    /// It had just grown, and is what it was before.
    Reverted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_that_does_harm_is_not_tried_again_at_once() {
        let second = Duration::from_secs;
        let mut burst = BurstControl::new();
        burst.release();
        assert_eq!(burst.shrink(second(1)), BurstChange::Shrunk);
        assert_eq!((burst.get(), burst.shrink(second(1))), (4, BurstChange::Kept));
        assert!(!burst.grow(second(2), 50_000, 100), "too soon");
        assert!(burst.grow(second(10), 50_000, QUIET));
        assert_eq!(burst.get(), 16);
        assert_eq!(burst.shrink(second(11)), BurstChange::Reverted);
        assert_eq!(burst.get(), 4);
        assert!(!burst.grow(second(30), 50_000, 100));
        assert!(burst.grow(second(41), 50_000, 100));
        for _ in 0..TRIAL {
            burst.grow(second(42), 50_000, 1);
        }
        assert!(burst.grow(second(50), 50_000, QUIET));
        assert_eq!(burst.get(), u32::MAX, "64 is more than a millisecond's worth of 50,000");
    }

    #[test]
    fn single_frames_are_the_last_resort() {
        let mut burst = BurstControl::new();
        burst.release();
        burst.shrink(Duration::ZERO);
        assert_eq!(burst.separate(Duration::ZERO), BurstChange::Shrunk);
        assert_eq!(burst.get(), 1);
        assert_eq!(burst.separate(Duration::ZERO), BurstChange::Kept);
    }
}
