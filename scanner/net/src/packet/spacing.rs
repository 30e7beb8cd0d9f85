//! Frames spaced by the clock, for paths that drop what comes back to back.
//!
//! The thread that drives the engine hands over a millisecond of frames at a time: waking more often
//! would cost more than sending does. A path that polices with a bucket of a few packets drops most
//! of such a batch whatever the average rate is. So the sending thread may be asked to let a few frames
//! at a time leave, at the times at which they are due.

use std::time::{Duration, Instant};

use mimawari_engine::{FrameSpacing, PacketPacer};

/// The longest time that is waited for by reading the clock again and again: a sleep that short would
/// take longer.
const SPIN: Duration = Duration::from_micros(15);
/// How late the system wakes a thread at first, until it is known.
const LATENESS: Duration = Duration::from_micros(20);
/// A waking later than this is the doing of something else that runs here.
const LATEST: Duration = Duration::from_micros(200);

/// Lets frames leave when they are due.
#[derive(Debug)]
pub(super) struct FrameClock {
    begun: Instant,
    pacer: PacketPacer,
    spacing: Option<FrameSpacing>,
    /// How late a sleeping thread is woken, on average.
    lateness: Duration,
}

impl FrameClock {
    /// A clock of the calling thread, which is woken on time from now on: the usual slack of 50 µs is
    /// longer than the distance of two frames.
    pub(super) fn new() -> Self {
        if let Err(e) = nix::sys::prctl::set_timerslack(1) {
            tracing::debug!(error = %e, "the sending thread is woken late");
        }
        Self {
            begun: Instant::now(),
            pacer: PacketPacer::new(1, 1),
            spacing: None,
            lateness: LATENESS,
        }
    }

    /// Waits until a frame may leave, and returns how many may leave at once, up to `most`.
    pub(super) fn admit(&mut self, spacing: FrameSpacing, most: usize) -> usize {
        let now = self.begun.elapsed();
        if self.spacing != Some(spacing) {
            self.pacer.set_rate(now, spacing.rate);
            self.pacer.set_burst(now, spacing.burst);
            self.spacing = Some(spacing);
        }
        loop {
            let now = self.begun.elapsed();
            let mut admitted = 0;
            while admitted < most && self.pacer.take(now) {
                admitted += 1;
            }
            if admitted > 0 {
                return admitted;
            }
            self.wait(now, self.pacer.next());
        }
    }

    fn wait(&mut self, now: Duration, until: Duration) {
        let sleep = until.saturating_sub(now).saturating_sub(self.lateness);
        if sleep > SPIN {
            std::thread::sleep(sleep);
            let late = self.begun.elapsed().saturating_sub(now + sleep).min(LATEST);
            self.lateness = (self.lateness * 7 + late) / 8;
        }
        while self.begun.elapsed() < until {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_leave_than_the_spacing_allows() {
        let mut clock = FrameClock::new();
        let spacing = FrameSpacing { rate: 20_000, burst: 4 };
        let begun = Instant::now();
        let mut sent = 0;
        while sent < 1000 {
            let n = clock.admit(spacing, 256);
            assert!((1..=4).contains(&n), "{n} at once");
            sent += n;
        }
        // 1000 frames at 20,000 a second take 50 ms: a burst may have been saved up at the beginning.
        assert!(begun.elapsed() >= Duration::from_micros(49_500), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_change_of_the_spacing_counts_at_once() {
        let mut clock = FrameClock::new();
        clock.admit(FrameSpacing { rate: 1_000_000, burst: 64 }, 256);
        for _ in 0..20 {
            assert_eq!(clock.admit(FrameSpacing { rate: 50_000, burst: 1 }, 256), 1);
        }
    }
}
