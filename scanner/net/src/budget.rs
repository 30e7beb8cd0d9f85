//! What may leave a second, for the packets that are not the sweep's own.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mimawari_base::uplink::PacketGate;
use mimawari_engine::HostCeilings;

/// How far packets may be ahead of their time.
const AHEAD: Duration = Duration::from_millis(50);

/// The ceilings of the run for second looks and requests. They are held to the rate by themselves, and
/// what they take is charged to the sweep, so that both together keep it.
#[derive(Debug)]
pub struct PacketBudget {
    begun: Instant,
    /// The time that one packet takes at the rate; zero: no ceiling.
    interval: Duration,
    dues: Mutex<PacketDues>,
    /// Packets that the sweep has not been charged with.
    uncharged: AtomicU64,
    /// The sweep is to stand still.
    held: AtomicBool,
}

#[derive(Debug)]
struct PacketDues {
    /// When the next packet would leave if all left evenly.
    next: Duration,
    ceilings: HostCeilings,
}

impl Default for PacketBudget {
    fn default() -> Self {
        Self::new(0, 0, 0)
    }
}

impl PacketBudget {
    /// Packets a second in all, to one address, and to a /24 or /64; 0: no ceiling.
    #[must_use]
    pub fn new(rate: u32, per_host: u32, per_network: u32) -> Self {
        Self {
            begun: Instant::now(),
            interval: Duration::from_secs(1).checked_div(rate).unwrap_or_default(),
            dues: Mutex::new(PacketDues {
                next: Duration::ZERO,
                ceilings: HostCeilings::new(per_host, per_network),
            }),
            uncharged: AtomicU64::new(0),
            held: AtomicBool::new(false),
        }
    }

    /// The packets since the last call.
    pub fn take(&self) -> u64 {
        self.uncharged.swap(0, Ordering::Relaxed)
    }

    /// Lets the sweep stand still, or go on: what it finds comes faster than it can be looked at.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Whether the sweep is to stand still.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    fn reserve_at(&self, now: Duration, ip: IpAddr, packets: u32) -> Duration {
        let mut dues = self.dues.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = dues.next.max(now);
        dues.next = at + self.interval * packets;
        at = at.saturating_sub(AHEAD).max(now);
        for _ in 0..packets {
            at = at.max(dues.ceilings.reserve(now, ip));
        }
        self.uncharged.fetch_add(u64::from(packets), Ordering::Relaxed);
        at - now
    }
}

impl PacketGate for PacketBudget {
    fn reserve(&self, ip: IpAddr, packets: u32) -> Duration {
        self.reserve_at(self.begun.elapsed(), ip, packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn connections_keep_to_the_rate_and_are_charged() {
        let budget = PacketBudget::new(20, 0, 0);
        let mut last = Duration::ZERO;
        for n in 0..100 {
            last = budget.reserve_at(Duration::ZERO, host(n), 4);
        }
        // 396 packets before the last connection, at 20 a second.
        assert!((19.5..20.0).contains(&last.as_secs_f64()), "{last:?}");
        assert_eq!((budget.take(), budget.take()), (400, 0));
    }

    #[test]
    fn one_host_has_its_own_ceiling() {
        let budget = PacketBudget::new(0, 40, 0);
        let mut last = Duration::ZERO;
        for _ in 0..50 {
            last = budget.reserve_at(Duration::ZERO, host(1), 4);
        }
        assert!((4.5..5.1).contains(&last.as_secs_f64()), "{last:?}");
        assert!(budget.reserve_at(Duration::ZERO, host(2), 4) < Duration::from_millis(200));
    }

    #[test]
    fn without_ceilings_nobody_waits() {
        let budget = PacketBudget::default();
        assert!((0..1000).all(|_| budget.reserve(host(1), 4).is_zero()));
    }
}
