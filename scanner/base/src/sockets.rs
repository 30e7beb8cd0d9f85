//! What this machine's own system has to do with a connection: which errors are our own, and how
//! many sockets there may be at once.
//!
//! An error of ours says nothing about the other side. It is waited out where waiting helps, and
//! what it prevented is not covered.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Whether the error came from this machine and not from the other side or the way to it: a limit
/// that was reached, an address or a route that is missing, our own packet filter.
#[must_use]
pub fn is_local_error(error: &io::Error) -> bool {
    is_exhaustion(error)
        || matches!(
            to_errno(error),
            Some(
                Errno::ENETUNREACH
                    | Errno::ENETDOWN
                    | Errno::ENODEV
                    | Errno::ENXIO
                    | Errno::EPERM
                    | Errno::EACCES
                    | Errno::EINVAL
                    | Errno::EAFNOSUPPORT
                    | Errno::EPROTONOSUPPORT
            )
        )
}

/// Whether this machine is out of something that others give back: file descriptors, memory,
/// ports. Worth another try.
#[must_use]
pub fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        to_errno(error),
        Some(
            Errno::EMFILE
                | Errno::ENFILE
                | Errno::ENOBUFS
                | Errno::ENOMEM
                | Errno::EADDRNOTAVAIL
                | Errno::EADDRINUSE
                | Errno::EAGAIN
        )
    )
}

fn to_errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// How long to wait for what this machine is out of. Pure: it counts the pauses that it gives.
#[derive(Debug, Clone, Copy)]
pub struct SocketRetry {
    left: Duration,
    next: Duration,
}

impl SocketRetry {
    /// The first pause, and the longest.
    const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

    /// Patience for `all` pauses together.
    #[must_use]
    pub const fn new(all: Duration) -> Self {
        Self { left: all, next: Self::PAUSES.0 }
    }

    /// The pause before another try after this error; `None`: there is to be none.
    pub fn pause(&mut self, error: &io::Error) -> Option<Duration> {
        if !is_exhaustion(error) {
            return None;
        }
        self.left = self.left.checked_sub(self.next)?;
        let pause = self.next;
        self.next = (pause * 2).min(Self::PAUSES.1);
        Some(pause)
    }
}

/// The most sockets that are of use at once.
const MOST: u64 = 16_384;

/// How many more sockets this process may open, less a reserve for files. Raises the soft limit to
/// the hard one first.
#[must_use]
pub fn determine_socket_budget() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 256 };
    let wanted = hard.min(MOST * 2);
    let limit = if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
        wanted
    } else {
        soft
    };
    // The folder itself is among them. A system without /proc gets a guess.
    let in_use = std::fs::read_dir("/proc/self/fd").map_or(32, |all| all.count() as u64);
    compute_budget(limit, in_use)
}

/// The part of a limit that is for sockets.
fn compute_budget(limit: u64, in_use: u64) -> usize {
    let reserve = (limit / 8).clamp(4, 128);
    let left = limit.saturating_sub(in_use).saturating_sub(reserve);
    usize::try_from(left.clamp(1, MOST)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_errors_say_nothing_about_the_other_side() {
        for (code, exhaustion) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::ENOBUFS, true),
            (Errno::ENOMEM, true),
            (Errno::EADDRNOTAVAIL, true),
            (Errno::EAGAIN, true),
            (Errno::ENETUNREACH, false),
            (Errno::EPERM, false),
        ] {
            let error = io::Error::from(code);
            assert_eq!(
                (is_local_error(&error), is_exhaustion(&error)),
                (true, exhaustion),
                "{code}"
            );
        }
        for code in [Errno::ECONNREFUSED, Errno::ETIMEDOUT, Errno::EHOSTUNREACH, Errno::ECONNRESET]
        {
            assert!(!is_local_error(&io::Error::from(code)), "{code}");
        }
    }

    #[test]
    fn the_budget_stays_below_the_limit() {
        for limit in [16, 40, 64, 256, 1024, 1 << 20] {
            for in_use in [3, 12, 30] {
                let budget = compute_budget(limit, in_use) as u64;
                assert!((1..=MOST).contains(&budget), "{limit} {in_use}");
                assert!(budget == 1 || budget + in_use < limit, "{limit} {in_use}: {budget}");
            }
        }
        assert!(compute_budget(1024, 20) > 800);
    }

    #[test]
    fn what_others_give_back_is_waited_for_and_not_for_ever() {
        let mut patience = SocketRetry::new(Duration::from_secs(10));
        assert_eq!(patience.pause(&io::Error::from(Errno::ECONNREFUSED)), None);
        let mut all = Duration::ZERO;
        let mut pauses = Vec::new();
        while let Some(pause) = patience.pause(&io::Error::from(Errno::EMFILE)) {
            all += pause;
            pauses.push(pause);
        }
        assert!(pauses[0] < Duration::from_millis(50) && pauses.len() < 40, "{pauses:?}");
        assert!((9.0..=10.0).contains(&all.as_secs_f64()), "{all:?}");
    }
}
