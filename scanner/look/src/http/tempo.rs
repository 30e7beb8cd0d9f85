//! How fast one site, one address and one network may be asked. Time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tokio::time::Instant;

/// Longest pause that a server may ask for with `Retry-After`.
pub(super) const PAUSE_LIMIT: Duration = Duration::from_secs(60);

/// After so many failing answers in a row the site is asked more slowly.
const PATIENCE: u32 = 3;

/// First pause of a site that fails; doubled with each failure from there on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How fast one site can take requests.
#[derive(Debug)]
pub(super) struct SiteRate {
    /// Longest pause before a site that fails.
    longest: Duration,
    failing: u32,
    rest_until: Option<Instant>,
    asks_too_much: bool,
}

impl SiteRate {
    pub(super) const fn new(longest: Duration) -> Self {
        Self { longest, failing: 0, rest_until: None, asks_too_much: false }
    }

    /// An answer came. `retry_after` is the value of that field (RFC 9110, section 10.2.3).
    pub(super) fn answered(
        &mut self,
        status: u16,
        retry_after: Option<&str>,
        now: Instant,
        clock: Timestamp,
    ) {
        self.asks_too_much = false;
        match status {
            429 | 503 => {
                self.failing += 1;
                let asked = retry_after.and_then(|v| pause(v, clock)).unwrap_or(self.growing());
                // Longer than a run may wait: what follows is up to the answers themselves.
                self.asks_too_much = asked > PAUSE_LIMIT;
                let pause = if self.asks_too_much { self.growing() } else { asked };
                self.rest_until = Some(now + pause);
            }
            500.. => {
                self.failing += 1;
                if self.failing >= PATIENCE {
                    self.rest_until = Some(now + self.growing());
                }
            }
            _ => {
                self.failing = 0;
                self.rest_until = None;
            }
        }
    }

    /// Until when the site is to be left alone.
    pub(super) fn rest_until(&self) -> Option<Instant> {
        self.rest_until
    }

    /// Whether the last answer asked for a longer pause than a run has.
    pub(super) const fn asks_too_much(&self) -> bool {
        self.asks_too_much
    }

    /// Failing answers in a row.
    pub(super) const fn failing(&self) -> u32 {
        self.failing
    }

    fn growing(&self) -> Duration {
        let doublings = self.failing.saturating_sub(PATIENCE).min(10);
        (FIRST_PAUSE * 2u32.pow(doublings)).min(self.longest)
    }
}

/// Seconds, or a date.
fn pause(value: &str, clock: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(value).ok()?.timestamp();
    Some(at.duration_since(clock).try_into().unwrap_or(Duration::ZERO))
}

/// Ceilings for addresses and networks (/24, /64): the generic cell rate algorithm, with a tenth of
/// a second's worth at once.
#[derive(Debug)]
pub(super) struct RequestCeiling {
    interval: Option<Duration>,
    due: HashMap<IpAddr, Instant>,
}

/// How much may be ahead of its time.
const BURST: Duration = Duration::from_millis(100);

/// After so many addresses, those that owe nothing are forgotten.
const SWEEP: usize = 16 * 1024;

impl RequestCeiling {
    /// At most so many requests a second for each; 0 for no ceiling.
    pub(super) fn new(rate: u32) -> Self {
        Self { interval: (rate > 0).then(|| Duration::from_secs(1) / rate), due: HashMap::new() }
    }

    /// Takes a place; when the request may leave, if that is not now.
    pub(super) fn take(&mut self, of: IpAddr, now: Instant) -> Option<Instant> {
        let interval = self.interval?;
        if self.due.len() >= SWEEP {
            self.due.retain(|_, due| *due > now);
        }
        let due = self.due.entry(of).or_insert(now);
        let mine = (*due).max(now);
        *due = mine + interval;
        (mine > now + BURST).then(|| mine - BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST_PAUSE: Duration = Duration::from_millis(500);

    fn clock() -> Timestamp {
        "2026-11-24T08:00:00Z".parse().unwrap()
    }

    #[test]
    fn retry_after() {
        assert_eq!(pause("7", clock()), Some(Duration::from_secs(7)));
        assert_eq!(pause("Tue, 24 Nov 2026 08:00:30 GMT", clock()), Some(Duration::from_secs(30)));
        // A date that has passed, and nonsense.
        assert_eq!(pause("Mon, 23 Nov 2026 08:00:30 GMT", clock()), Some(Duration::ZERO));
        assert_eq!(pause("soon", clock()), None);
        assert_eq!(pause("-1", clock()), None);
    }

    #[test]
    fn a_site_that_fails_is_left_alone_for_longer_and_longer() {
        let now = Instant::now();
        let mut tempo = SiteRate::new(LONGEST_PAUSE);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            tempo.answered(500, None, now, clock());
            pauses.push(tempo.rest_until().map_or(Duration::ZERO, |t| t - now));
        }
        assert_eq!(pauses[..4], [0, 0, 50, 100].map(Duration::from_millis));
        assert_eq!(pauses[11], LONGEST_PAUSE);
        tempo.answered(404, None, now, clock());
        assert_eq!((tempo.rest_until(), tempo.failing()), (None, 0));
        tempo.answered(429, Some("60"), now, clock());
        assert_eq!((tempo.rest_until(), tempo.asks_too_much()), (Some(now + PAUSE_LIMIT), false));
        tempo.answered(429, Some("100000"), now, clock());
        assert_eq!((tempo.rest_until(), tempo.asks_too_much()), (Some(now + FIRST_PAUSE), true));
    }

    #[test]
    fn no_second_holds_more_than_the_ceiling_and_its_burst() {
        let start = Instant::now();
        let mut ceiling = RequestCeiling::new(100);
        let (a, b) = ("198.51.100.7".parse().unwrap(), "198.51.100.8".parse().unwrap());
        let mut now = start;
        for _ in 0..1000 {
            if let Some(due) = ceiling.take(a, now) {
                now = due;
            }
        }
        let took = now - start;
        assert!(
            took >= Duration::from_millis(9_880) && took <= Duration::from_secs(10),
            "{took:?}"
        );
        assert_eq!(ceiling.take(b, now), None, "another address owes nothing");
        assert_eq!(RequestCeiling::new(0).take(a, now), None);
    }
}
