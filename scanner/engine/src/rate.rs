//! The rate below the ceiling.

use std::time::Duration;

/// How often the rate may change.
const STEP: Duration = Duration::from_secs(1);

/// Lowers the rate when the receiving side cannot keep up, and raises it again when it can:
/// additive increase, multiplicative decrease (D.-M. Chiu and R. Jain, "Analysis of the increase
/// and decrease algorithms for congestion avoidance in computer networks", 1989).
///
/// At most once a second down to 7/10, not under a sixteenth of the ceiling; up by a twentieth of
/// the ceiling after each second without a loss.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    ceiling: u32,
    now: u32,
    lowered: Option<Duration>,
    next_raise: Duration,
}

impl Rate {
    pub(crate) const fn new(ceiling: u32) -> Self {
        Self { ceiling, now: ceiling, lowered: None, next_raise: Duration::ZERO }
    }

    pub(crate) const fn get(&self) -> u32 {
        self.now
    }

    /// Answers were lost on this machine. Returns the new rate if it changed.
    pub(crate) fn lost(&mut self, now: Duration) -> Option<u32> {
        self.next_raise = now.saturating_add(STEP);
        if self.lowered.is_some_and(|at| now < at.saturating_add(STEP)) {
            return None;
        }
        self.lowered = Some(now);
        let lowest = (self.ceiling / 16).max(1);
        self.set(u32::try_from(u64::from(self.now) * 7 / 10).unwrap_or(lowest).max(lowest))
    }

    /// Time passes. Returns the new rate if it changed.
    pub(crate) fn tick(&mut self, now: Duration) -> Option<u32> {
        if self.now >= self.ceiling || now < self.next_raise {
            return None;
        }
        self.next_raise = now.saturating_add(STEP);
        self.set(self.now.saturating_add((self.ceiling / 20).max(1)).min(self.ceiling))
    }

    fn set(&mut self, rate: u32) -> Option<u32> {
        let changed = rate != self.now;
        self.now = rate;
        changed.then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_lower_it_and_quiet_seconds_raise_it_to_the_ceiling() {
        let mut rate = Rate::new(10_000);
        assert_eq!(rate.tick(Duration::from_secs(1)), None);
        assert_eq!(rate.lost(Duration::from_secs(2)), Some(7000));
        assert_eq!(rate.lost(Duration::from_millis(2500)), None, "once a second");
        for second in 3..60 {
            rate.lost(Duration::from_secs(second));
        }
        assert_eq!(rate.get(), 625, "a sixteenth at least");
        for second in 61..200 {
            rate.tick(Duration::from_secs(second));
            assert!(rate.get() <= 10_000);
        }
        assert_eq!(rate.get(), 10_000);
    }

    #[test]
    fn one_packet_a_second_stays_one() {
        let mut rate = Rate::new(1);
        assert_eq!(rate.lost(Duration::from_secs(1)), None);
        assert_eq!(rate.get(), 1);
    }
}
