//! How far the content probing is, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that the prober's thread raises and others read.
#[derive(Debug, Default)]
pub struct ProbeProgress {
    planned: AtomicU64,
    sites: AtomicU64,
    requests: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    /// Sites that will be probed: one for each name on each port.
    pub planned: u64,
    /// Sites that are done.
    pub sites: u64,
    /// Requests that were made.
    pub requests: u64,
}

impl ProbeProgress {
    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> ProbeCounts {
        ProbeCounts {
            planned: self.planned.load(Ordering::Relaxed),
            sites: self.sites.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    pub(super) fn plan(&self, sites: u64) {
        self.planned.fetch_add(sites, Ordering::Relaxed);
    }

    pub(super) fn finish_site(&self) {
        self.sites.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}
