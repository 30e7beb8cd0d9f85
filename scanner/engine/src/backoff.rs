//! What a failed send does to the sends after it.

use std::time::Duration;

/// The first pause after a failure: time for a transmit queue to drain.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);
/// After this long without one successful send there is no use in going on.
const HOPELESS: Duration = Duration::from_secs(30);

/// Pauses after failed sends.
///
/// A failure is reported after the fact and maybe in a bunch, so sends are judged in *episodes*:
/// from one failure to the end of the pause that it caused. An episode in which something got
/// through puts the pause back to its shortest. One in which every fresh send failed doubles it.
/// One that only tried known failures again says nothing about the interface and leaves the pause
/// as it is, since a destination without a route must not slow down all the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttemptBackoff {
    pause: Duration,
    until: Duration,
    failing_since: Option<Duration>,
    handed: u64,
    fresh: u64,
    failed: u64,
}

impl AttemptBackoff {
    /// A probe was given to the driver; `fresh` unless its cell has failed before.
    pub(crate) fn handed(&mut self, fresh: bool) {
        self.handed += 1;
        self.fresh += u64::from(fresh);
    }

    /// A send failed.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.failed += 1;
        if now >= self.until {
            self.until = now.saturating_add(self.pause.max(SHORTEST));
        }
        self.failing_since.get_or_insert(now);
    }

    /// No send before this time.
    pub(crate) const fn until(&self) -> Duration {
        self.until
    }

    /// Looks back at an episode whose pause is over. `true`: give up.
    pub(crate) fn hopeless(&mut self, now: Duration) -> bool {
        if self.failed == 0 || now < self.until {
            return false;
        }
        let (handed, fresh, failed) = (self.handed, self.fresh, self.failed);
        (self.handed, self.fresh, self.failed) = (0, 0, 0);
        if failed < handed {
            self.pause = SHORTEST;
            self.failing_since = None;
        } else if fresh > 0 {
            self.pause = (self.pause.max(SHORTEST) * 2).min(LONGEST);
            return self.failing_since.is_some_and(|since| now.saturating_sub(since) >= HOPELESS);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_takes_nothing_is_given_up_after_half_a_minute() {
        let mut backoff = AttemptBackoff::default();
        let (mut now, mut rounds) = (Duration::ZERO, 0);
        while !backoff.hopeless(now) {
            backoff.handed(true);
            backoff.failed(now);
            now = backoff.until();
            rounds += 1;
            assert!(rounds < 100, "no end");
        }
        assert!((30..35).contains(&now.as_secs()), "{now:?}");
    }

    #[test]
    fn one_send_that_gets_through_forgives() {
        let mut backoff = AttemptBackoff::default();
        let mut now = Duration::ZERO;
        for _ in 0..1000 {
            backoff.handed(true);
            backoff.handed(true);
            backoff.failed(now);
            assert_eq!(backoff.until() - now, SHORTEST);
            now = backoff.until();
            assert!(!backoff.hopeless(now));
        }
    }

    #[test]
    fn known_failures_do_not_end_the_sweep() {
        let mut backoff = AttemptBackoff::default();
        let mut now = Duration::ZERO;
        for _ in 0..100_000 {
            backoff.handed(false);
            backoff.failed(now);
            now = backoff.until();
            assert!(!backoff.hopeless(now));
        }
    }
}
