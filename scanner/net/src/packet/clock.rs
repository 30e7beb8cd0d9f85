//! The engine's time: the real one less what the sweep had to stand still.
//!
//! A probe that waits for its neighbour's Ethernet address has been handed out and has not left.
//! While nothing but such probes is outstanding, the engine's clock stands: it would count attempts
//! that were never sent as unanswered.

use std::time::Duration;

/// A clock that can stand still. Takes the real time (since any fixed moment) with every call.
#[derive(Debug, Clone, Default)]
pub struct EngineClock {
    lost: Duration,
    stopped_at: Option<Duration>,
}

impl EngineClock {
    /// The engine's time at a real time.
    #[must_use]
    pub fn now(&self, real: Duration) -> Duration {
        self.stopped_at.unwrap_or(real).saturating_sub(self.lost)
    }

    /// The real time at which the engine's clock will show `at`; `None` while it stands.
    #[must_use]
    pub fn real(&self, at: Duration) -> Option<Duration> {
        self.stopped_at.is_none().then(|| at.saturating_add(self.lost))
    }

    /// Lets the clock stand or go on.
    pub fn stand(&mut self, real: Duration, still: bool) {
        match (self.stopped_at, still) {
            (None, true) => self.stopped_at = Some(real),
            (Some(since), false) => {
                self.lost += real.saturating_sub(since);
                self.stopped_at = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_stood_still_is_left_out() {
        let s = Duration::from_secs;
        let mut clock = EngineClock::default();
        assert_eq!(clock.now(s(3)), s(3));
        assert_eq!(clock.real(s(4)), Some(s(4)));
        clock.stand(s(5), true);
        clock.stand(s(6), true);
        assert_eq!(clock.now(s(9)), s(5));
        assert_eq!(clock.real(s(6)), None);
        clock.stand(s(9), false);
        clock.stand(s(9), false);
        assert_eq!(clock.now(s(9)), s(5));
        assert_eq!(clock.now(s(10)), s(6));
        assert_eq!(clock.real(s(6)), Some(s(10)));
        clock.stand(s(10), true);
        clock.stand(s(11), false);
        assert_eq!(clock.now(s(11)), s(6));
    }
}
