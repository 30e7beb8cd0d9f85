//! The ceiling of the sending rate.

use std::time::Duration;

/// Credit that one packet costs: nanoseconds × packets per second in one second.
const PACKET: u64 = 1_000_000_000;

/// What the bucket holds beyond its burst: half a packet. At one packet a burst, each late waking would
/// otherwise lose what was earned meanwhile, and a rate of one packet a millisecond would miss its
/// mark by as many percent as the system wakes late.
const SLACK: u64 = PACKET / 2;

/// Bursts from which on batches are large by themselves.
const LARGE: u32 = 128;

/// A token bucket in exact arithmetic.
///
/// The credit grows by `rate` units a nanosecond and a packet costs 10⁹ units, so no rate from 1
/// to 2³²−1 packets per second rounds. The bucket holds `burst` packets and a half: whatever window
/// of length T one looks at, at most `burst + ½ + rate × T` packets leave in it, and a caller that
/// comes late by seconds finds `burst` packets waiting and not more.
#[derive(Debug, Clone)]
pub struct PacketPacer {
    rate: u32,
    burst: u32,
    /// At most `burst × PACKET + SLACK`.
    credit: u64,
    /// What was sent beside and is still to be paid for, before there is credit again.
    owed: u64,
    /// When `credit` was true.
    at: Duration,
    /// Whether packets are leaving: from the moment that there is credit for [`Self::begin`] of them
    /// until there is none for a single one.
    flowing: bool,
}

impl PacketPacer {
    /// A pacer of `rate` packets per second with `burst` packets at once, both at least 1. It
    /// begins with credit for one packet at time 0.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Self {
        Self {
            rate: rate.max(1),
            burst: burst.max(1),
            credit: PACKET,
            owed: 0,
            at: Duration::ZERO,
            flowing: true,
        }
    }

    /// Packets per second.
    #[must_use]
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// Changes the rate from `now` on.
    pub fn set_rate(&mut self, now: Duration, rate: u32) {
        self.refill(now);
        self.rate = rate.max(1);
    }

    /// Changes how many packets may leave at once from `now` on.
    pub fn set_burst(&mut self, now: Duration, burst: u32) {
        self.refill(now);
        self.burst = burst.max(1);
        self.credit = self.credit.min(self.full());
    }

    /// Whether a packet may leave at `now`.
    #[inline]
    pub fn ready(&mut self, now: Duration) -> bool {
        self.refill(now);
        // Whoever wakes for another reason and finds credit for two packets must not send two: so
        // small batches cost several times the work.
        self.flowing =
            if self.flowing { self.credit >= PACKET } else { self.credit >= self.begin() };
        self.flowing
    }

    /// Pays for one packet at `now`; `false` when none may leave.
    #[inline]
    pub fn take(&mut self, now: Duration) -> bool {
        let ready = self.ready(now);
        if ready {
            self.credit -= PACKET;
        }
        ready
    }

    /// Pays for packets that left without asking: later ones wait for them.
    pub fn charge(&mut self, now: Duration, packets: u64) {
        self.refill(now);
        let price = packets.saturating_mul(PACKET);
        let paid = self.credit.min(price);
        self.credit -= paid;
        self.owed = self.owed.saturating_add(price - paid);
    }

    /// When it is worth coming back: as soon as three quarters of a burst (of a large one, half; at
    /// least one packet) may leave. The rest of the bucket is for the lateness of the caller's own
    /// waking.
    #[must_use]
    pub fn next(&self) -> Duration {
        let wanted = if self.flowing { PACKET } else { self.begin().max(self.full() / 2) };
        let missing = wanted.saturating_sub(self.credit).saturating_add(self.owed);
        // Rounded up: a nanosecond too early would find nothing and ask again.
        self.at.saturating_add(Duration::from_nanos(missing.div_ceil(u64::from(self.rate))))
    }

    /// The credit with which a batch begins. At rates whose burst fills a call of the system with half
    /// of it, any credit will do: there the lateness counts, not the calls.
    #[inline]
    const fn begin(&self) -> u64 {
        let packets = if self.burst < LARGE { self.burst - self.burst / 4 } else { 1 };
        packets as u64 * PACKET
    }

    #[inline]
    const fn full(&self) -> u64 {
        self.burst as u64 * PACKET + SLACK
    }

    #[inline]
    fn refill(&mut self, now: Duration) {
        // A clock that stands or steps back gives nothing.
        let Some(elapsed) = now.checked_sub(self.at).filter(|e| !e.is_zero()) else {
            return;
        };
        let full = self.full();
        let earned = elapsed.as_nanos().saturating_mul(u128::from(self.rate));
        let repaid = earned.min(u128::from(self.owed));
        self.owed -= u64::try_from(repaid).unwrap_or(self.owed);
        let earned = earned - repaid;
        self.credit = u64::try_from(u128::from(self.credit).saturating_add(earned))
            .unwrap_or(u64::MAX)
            .min(full);
        self.at = now;
        debug_assert!(self.credit <= full);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_left_beside_is_paid_for() {
        let mut pacer = PacketPacer::new(1000, 1);
        let (mut sent, mut beside) = (0, 0);
        for ms in 0..2000u64 {
            let now = Duration::from_millis(ms);
            // Half of the packets leave without asking, in the first second alone.
            if ms < 1000 && ms % 2 == 0 {
                pacer.charge(now, 1);
                beside += 1;
            }
            sent += u32::from(pacer.take(now));
        }
        assert_eq!(beside, 500);
        assert!((1495..=1502).contains(&sent), "{sent}");
    }

    use proptest::prelude::*;

    use super::*;

    /// Sends whenever the pacer lets it, woken at the given times; returns the times of sending.
    fn run(pacer: &mut PacketPacer, wakes: impl IntoIterator<Item = Duration>) -> Vec<Duration> {
        let mut sent = Vec::new();
        for now in wakes {
            while pacer.take(now) {
                sent.push(now);
            }
        }
        sent
    }

    /// Sleeps exactly until `next` up to `end`.
    fn by_the_book(pacer: &mut PacketPacer, end: Duration) -> Vec<Duration> {
        let mut sent = Vec::new();
        let mut now = Duration::ZERO;
        while now < end {
            while pacer.take(now) {
                sent.push(now);
            }
            let next = pacer.next();
            assert!(next > now, "no progress at {now:?}");
            now = next;
        }
        sent
    }

    #[test]
    fn one_packet_a_second_is_exactly_that() {
        let sent = by_the_book(&mut PacketPacer::new(1, 1), Duration::from_secs(100));
        let expected: Vec<_> = (0..100).map(Duration::from_secs).collect();
        assert_eq!(sent, expected);
    }

    #[test]
    fn tens_of_millions_a_second_hold_within_a_percent() {
        for rate in [3, 7, 999, 20_000, 1_000_003, 10_000_000, 40_000_000] {
            let burst = crate::SweepConfig::burst_for(rate);
            let seconds = if rate < 1000 { 300 } else { 1 };
            let sent =
                by_the_book(&mut PacketPacer::new(rate, burst), Duration::from_secs(seconds));
            let expected = f64::from(rate) * seconds as f64;
            let error = (sent.len() as f64 - expected).abs() / expected;
            assert!(error < 0.01, "{rate} pps: {} instead of {expected}", sent.len());
        }
    }

    #[test]
    fn a_system_that_wakes_late_loses_no_rate() {
        for rate in [100, 1_000, 10_000, 100_000] {
            let mut pacer = PacketPacer::new(rate, crate::SweepConfig::burst_for(rate));
            let (mut now, mut sent) = (Duration::ZERO, Vec::new());
            while now < Duration::from_secs(10) {
                while pacer.take(now) {
                    sent.push(now);
                }
                now = pacer.next() + Duration::from_micros(80);
            }
            let error = (sent.len() as f64 / (f64::from(rate) * 10.0) - 1.0).abs();
            assert!(error < 0.01, "{rate} pps: off by {error}");
            // And no millisecond holds more than twice what it should, or one packet.
            let most = (rate / 500).max(1) as usize;
            let worst = sent.iter().enumerate().map(|(i, from)| {
                sent[i..].iter().take_while(|t| **t < *from + Duration::from_millis(1)).count()
            });
            assert!(worst.max().unwrap() <= most, "{rate} pps");
        }
    }

    #[test]
    fn a_starved_caller_gets_one_burst_and_no_more() {
        let mut pacer = PacketPacer::new(20_000, 100);
        run(&mut pacer, [Duration::from_secs(1)]);
        let sent = run(&mut pacer, [Duration::from_secs(31)]);
        assert_eq!(sent.len(), 100);
    }

    #[test]
    fn a_lower_rate_counts_from_the_moment_it_is_set() {
        let mut pacer = PacketPacer::new(1000, 10);
        run(&mut pacer, [Duration::from_secs(1)]);
        pacer.set_rate(Duration::from_secs(1), 1);
        pacer.set_burst(Duration::from_secs(1), 1);
        let sent = run(&mut pacer, (1000..11_000).map(Duration::from_millis));
        assert_eq!(sent.len(), 10, "one a second from 1.5 s to 10.5 s: half a packet was saved");
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_burst_and_the_rate_allow(
            rate in prop_oneof![1u32..100, 100u32..1_000_000],
            burst in 1u32..300,
            steps in prop::collection::vec(
                prop_oneof![4 => 0u64..2_000_000, 1 => 0u64..3_000_000_000], 1..60),
        ) {
            let wakes: Vec<_> = steps.iter().scan(0u64, |t, s| {
                *t += s;
                Some(Duration::from_nanos(*t))
            }).collect();
            let sent = run(&mut PacketPacer::new(rate, burst), wakes);
            for (i, from) in sent.iter().enumerate() {
                // The worst window for a given first packet ends at some later packet.
                for (j, to) in sent.iter().enumerate().skip(i).step_by(7) {
                    let held = u128::from(burst) * u128::from(PACKET) + u128::from(SLACK);
                    let earned = (*to - *from).as_nanos() * u128::from(rate);
                    let allowed = (held + earned) / u128::from(PACKET);
                    prop_assert!((j - i + 1) as u128 <= allowed);
                }
            }
        }

        #[test]
        fn waking_at_next_always_finds_a_packet(
            rate in 1u32..50_000_000, burst in 1u32..300, start in 0u64..10_000_000_000,
        ) {
            let mut pacer = PacketPacer::new(rate, burst);
            let now = Duration::from_nanos(start);
            while pacer.take(now) {}
            let next = pacer.next();
            prop_assert!(next > now);
            prop_assert!(pacer.take(next));
        }
    }
}
