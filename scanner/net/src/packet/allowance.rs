//! What a cloud lets through: the allowance counters of AWS's ENA driver.
//!
//! Beyond an instance's or task's allowance packets are dropped or delayed outside of the machine,
//! without a word but for these counters ("Monitor network performance for ENA settings", Amazon EC2
//! User Guide). Other drivers have none of them, and then there is nothing to watch.

use std::io;
use std::time::{Duration, Instant};

use mimawari_probes::gap::Gap;
use mimawari_rawio::InterfaceFacts;

/// The counters that rise when an allowance is exceeded.
const ALLOWANCES: [&str; 5] = [
    "bw_in_allowance_exceeded",
    "bw_out_allowance_exceeded",
    "pps_allowance_exceeded",
    "conntrack_allowance_exceeded",
    "linklocal_allowance_exceeded",
];
/// How often the driver is asked.
const EVERY: Duration = Duration::from_secs(1);

/// A reading of the counters, in the order of [`ALLOWANCES`].
type AllowanceReading = [Option<u64>; ALLOWANCES.len()];

/// Watches the allowances of one interface.
#[derive(Debug)]
pub(super) struct AllowanceWatch {
    device: InterfaceFacts,
    first: AllowanceReading,
    last: AllowanceReading,
    next: Instant,
}

impl AllowanceWatch {
    /// `None` where the driver has no such counter.
    pub(super) fn new(device: &InterfaceFacts, now: Instant) -> Option<Self> {
        let first = read(&device.counters().ok()?);
        first.iter().any(Option::is_some).then(|| Self {
            device: device.clone(),
            first,
            last: first,
            next: now + EVERY,
        })
    }

    /// Packets that were dropped or held back since the last call that looked; at most one look a
    /// second.
    pub(super) fn look(&mut self, now: Instant) -> io::Result<u64> {
        if now < self.next {
            return Ok(0);
        }
        self.next = now + EVERY;
        let reading = read(&self.device.counters()?);
        let more = list_increased_counters(&self.last, &reading).map(|(_, n)| n).sum();
        self.last = reading;
        Ok(more)
    }

    /// What was exceeded since the beginning.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let gap = |(counter, packets): (&str, u64)| Gap::AllowanceExceeded {
            interface: self.device.name.clone(),
            packets,
            allowance: counter.to_owned(),
        };
        list_increased_counters(&self.first, &self.last).map(gap).collect()
    }
}

fn read(counters: &[(String, u64)]) -> AllowanceReading {
    ALLOWANCES.map(|name| counters.iter().find(|(n, _)| n == name).map(|(_, value)| *value))
}

/// What rose from one reading to another. A counter that is missing or went back (the driver was
/// reset) tells nothing.
fn list_increased_counters<'a>(
    before: &'a AllowanceReading,
    after: &'a AllowanceReading,
) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    ALLOWANCES.iter().zip(before.iter().zip(after)).filter_map(|(name, (before, after))| {
        let more = after.as_ref()?.checked_sub((*before)?)?;
        (more > 0).then_some((*name, more))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(values: &[(&str, u64)]) -> AllowanceReading {
        let named: Vec<_> = values.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        read(&named)
    }

    #[test]
    fn only_what_rose_is_told() {
        let before = reading(&[
            ("tx_timeout", 1),
            ("pps_allowance_exceeded", 10),
            ("conntrack_allowance_exceeded", 7),
            ("bw_in_allowance_exceeded", 3),
        ]);
        let after = reading(&[
            ("tx_timeout", 9),
            ("pps_allowance_exceeded", 15),
            ("conntrack_allowance_exceeded", 2),
            ("bw_in_allowance_exceeded", 3),
            ("linklocal_allowance_exceeded", 8),
        ]);
        let told: Vec<_> = list_increased_counters(&before, &after).collect();
        assert_eq!(told, [("pps_allowance_exceeded", 5)]);
    }

    #[test]
    fn an_interface_without_allowances_is_not_watched() {
        let lo = InterfaceFacts::by_name("lo").unwrap();
        assert!(AllowanceWatch::new(&lo, Instant::now()).is_none());
    }
}
