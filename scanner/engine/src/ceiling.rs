//! Ceilings for single hosts and small networks, so that no target is hammered.

use std::net::IpAddr;
use std::time::Duration;

/// Slots of a table. Addresses that share a slot share its ceiling, which makes them slower and
/// never faster; with this many slots that is felt only at rates no host would be asked at.
const SLOTS: usize = 1 << 16;
/// How much of a ceiling may come at once: 50 ms worth, and one packet at least.
const BURST_NS: u64 = 50_000_000;
/// How late a probe may leave in the place that it has: one interval, and this at least. The lateness
/// adds to the burst, for the next one may be on time.
const LATE_NS: u64 = 10_000_000;

/// When a probe may leave for the sake of its host and of its network.
///
/// The generic cell rate algorithm (ITU-T Recommendation I.371, annex A): each slot keeps the time
/// at which its next packet would be due if all came evenly.
#[derive(Debug, Clone)]
pub struct HostCeilings {
    host: Option<CeilingTable>,
    network: Option<CeilingTable>,
}

#[derive(Debug, Clone)]
struct CeilingTable {
    interval: u64,
    tolerance: u64,
    due: Box<[u64]>,
}

impl HostCeilings {
    /// Packets a second for one address, and for a /24 (IPv4) or a /64 (IPv6); 0: no ceiling.
    #[must_use]
    pub fn new(host: u32, network: u32) -> Self {
        Self { host: CeilingTable::new(host), network: CeilingTable::new(network) }
    }

    /// Takes the next place for a probe to `ip` and returns its time, `now` or later.
    #[inline]
    pub fn reserve(&mut self, now: Duration, ip: IpAddr) -> Duration {
        if self.host.is_none() && self.network.is_none() {
            return now;
        }
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let (host, network) = match ip {
            IpAddr::V4(ip) => (u64::from(ip.to_bits()), u64::from(ip.to_bits() >> 8) | 1 << 63),
            IpAddr::V6(ip) => {
                let high = (ip.to_bits() >> 64) as u64;
                (high.rotate_left(23) ^ ip.to_bits() as u64, high)
            }
        };
        let host = self.host.as_mut().map(|t| t.slot(host));
        let network = self.network.as_mut().map(|t| t.slot(network));
        let at = [&host, &network].into_iter().flatten().map(|s| s.earliest(now_ns)).max();
        let at = at.unwrap_or(now_ns).max(now_ns);
        for slot in [host, network].into_iter().flatten() {
            slot.take(at);
        }
        if at == now_ns { now } else { Duration::from_nanos(at) }
    }

    /// Whether a probe whose place was `at` is too late for it at `now`. Places that were missed do not
    /// add up: what waited for the rate of the whole sweep would otherwise leave for one host at once.
    #[inline]
    pub fn is_missed(&self, at: Duration, now: Duration) -> bool {
        let late = now.saturating_sub(at).as_nanos();
        let shortest = self.host.iter().chain(&self.network).map(|table| table.interval).min();
        shortest.is_some_and(|interval| late > u128::from(interval.max(LATE_NS)))
    }
}

impl CeilingTable {
    fn new(rate: u32) -> Option<Self> {
        let interval = 1_000_000_000u64.checked_div(u64::from(rate))?;
        let tolerance = BURST_NS.saturating_sub(interval);
        Some(Self { interval, tolerance, due: vec![0; SLOTS].into_boxed_slice() })
    }

    #[inline]
    fn slot(&mut self, key: u64) -> CeilingSlot<'_> {
        // The top bits of a multiplication spread neighbouring addresses evenly (Knuth, The Art of
        // Computer Programming, volume 3, section 6.4).
        let index = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % SLOTS;
        CeilingSlot {
            due: &mut self.due[index],
            interval: self.interval,
            tolerance: self.tolerance,
        }
    }
}

struct CeilingSlot<'a> {
    due: &'a mut u64,
    interval: u64,
    tolerance: u64,
}

impl CeilingSlot<'_> {
    fn earliest(&self, now: u64) -> u64 {
        now.max(self.due.saturating_sub(self.tolerance))
    }

    fn take(self, at: u64) {
        *self.due = (*self.due).max(at).saturating_add(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_ceilings_every_time_is_now() {
        let mut c = HostCeilings::new(0, 0);
        for _ in 0..10_000 {
            assert_eq!(c.reserve(Duration::from_secs(3), [192, 0, 2, 1].into()).as_secs(), 3);
        }
    }

    #[test]
    fn a_network_binds_its_hosts_together() {
        let mut c = HostCeilings::new(1000, 100);
        let mut last = Duration::ZERO;
        for i in 0..1000u32 {
            let ip = IpAddr::from([192, 0, 2, (i % 256) as u8]);
            last = last.max(c.reserve(Duration::ZERO, ip));
        }
        assert!((9.8..10.1).contains(&last.as_secs_f64()), "{last:?}");
    }

    #[test]
    fn a_place_is_missed_by_the_faster_ceiling() {
        let ms = Duration::from_millis;
        let missed = |host, network, late: u64| {
            HostCeilings::new(host, network).is_missed(ms(1000), ms(1000 + late))
        };
        // A host that gets one a second may get it late; a hundred such hosts in one network may not.
        assert!(!missed(1, 0, 900) && missed(1, 0, 1100));
        assert!(missed(1, 100, 50) && missed(0, 100, 50) && !missed(1, 100, 10));
        assert!(!missed(5000, 5000, 9), "a system wakes late by milliseconds");
        assert!(!missed(0, 0, 10_000), "no ceiling");
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_ceiling_and_its_burst(
            rate in 1u32..5000,
            steps in prop::collection::vec(0u64..20_000_000, 1..300),
        ) {
            let mut c = HostCeilings::new(rate, 0);
            let mut now = 0;
            let mut at: Vec<u64> = steps.iter().map(|s| {
                now += s;
                let t = c.reserve(Duration::from_nanos(now), "2001:db8::1".parse().unwrap());
                assert!(t >= Duration::from_nanos(now));
                t.as_nanos() as u64
            }).collect();
            at.sort_unstable();
            for (i, from) in at.iter().enumerate() {
                for (j, to) in at.iter().enumerate().skip(i) {
                    let most = u128::from(to - from + BURST_NS) * u128::from(rate) / 1_000_000_000 + 2;
                    prop_assert!((j - i + 1) as u128 <= most);
                }
            }
        }
    }
}
