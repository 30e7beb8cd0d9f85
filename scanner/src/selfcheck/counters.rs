//! What interfaces count of packets that are lost.

use super::line::CheckFinding;

/// The counters of one interface.
#[derive(Debug)]
pub struct DropCounters {
    /// Its name.
    pub interface: String,
    /// Frames received and dropped; sent and dropped (`/proc/net/dev`).
    pub dropped: Option<(u64, u64)>,
    /// The driver's own, by name.
    pub driver: std::io::Result<Vec<(String, u64)>>,
}

/// Looks.
#[must_use]
pub fn look(interface: &str) -> DropCounters {
    let dev = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    DropCounters {
        interface: interface.to_owned(),
        dropped: parse(&dev, interface),
        driver: mimawari_rawio::InterfaceFacts::by_name(interface).and_then(|d| d.counters()),
    }
}

/// The drops of an interface in a `/proc/net/dev`.
#[must_use]
pub fn parse(dev: &str, interface: &str) -> Option<(u64, u64)> {
    let line =
        dev.lines().find_map(|l| l.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
    let mut fields = line.split_whitespace();
    // Receive: bytes packets errs drop fifo frame compressed multicast; transmit: the same order.
    let received = fields.nth(3)?.parse().ok()?;
    Some((received, fields.nth(7)?.parse().ok()?))
}

/// Judges.
#[must_use]
pub fn judge(all: &[DropCounters]) -> CheckFinding {
    if all.is_empty() {
        return CheckFinding::skip("no interface leads to the targets");
    }
    let mut parts = Vec::new();
    let (mut exceeded, mut readable) = (Vec::new(), true);
    for c in all {
        let kernel = c.dropped.map_or_else(
            || "the kernel's drops cannot be read".to_owned(),
            |(rx, tx)| format!("dropped {rx} in, {tx} out"),
        );
        readable &= c.dropped.is_some();
        let driver = match &c.driver {
            Err(e) => {
                readable = false;
                format!("the driver's counters cannot be read ({e})")
            }
            Ok(counters) => {
                let allowances: Vec<_> =
                    counters.iter().filter(|(n, _)| n.ends_with("_allowance_exceeded")).collect();
                exceeded.extend(
                    allowances.iter().filter(|(_, v)| *v > 0).map(|(n, v)| format!("{n} {v}")),
                );
                match allowances.len() {
                    0 => "no allowance counters of a cloud".to_owned(),
                    n => format!("{n} allowance counters of the cloud"),
                }
            }
        };
        parts.push(format!("{}: {kernel}, {driver}", c.interface));
    }
    let what = parts.join("; ");
    if !exceeded.is_empty() {
        return CheckFinding::warn(
            format!("{what}; exceeded since boot: {}", exceeded.join(", ")),
            "the network was asked for more than its allowance: if these numbers rise while you scan, \
             lower `rate` or take more tasks; for conntrack open the security group both ways",
        );
    }
    if readable {
        return CheckFinding::ok(what);
    }
    CheckFinding::warn(what, "losses there will not be seen: rely on canaries and the ramp")
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n    \
         lo:     100       2    0    0    0     0          0         0      100       2    0    0\n  \
         eth0: 9 8 7 6 5 4 3 2 19 18 17 16 15 14 13 12\n eth01:1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n";

    #[test]
    fn drops_are_read_of_the_right_interface() {
        assert_eq!(parse(DEV, "eth0"), Some((6, 16)));
        assert_eq!(parse(DEV, "lo"), Some((0, 0)));
        assert_eq!(parse(DEV, "eth"), None);
        assert_eq!(parse("eth0: 1 2", "eth0"), None);
    }

    #[test]
    fn an_allowance_that_was_exceeded_is_named() {
        let counters =
            |driver| DropCounters { interface: "eth0".into(), dropped: Some((0, 0)), driver };
        assert_eq!(judge(&[counters(Ok(Vec::new()))]).mark, LineMark::Ok);
        let over = vec![("conntrack_allowance_exceeded".to_owned(), 7)];
        let found = judge(&[counters(Ok(over))]);
        assert_eq!(found.mark, LineMark::Warn);
        assert!(found.what.contains("conntrack_allowance_exceeded 7"), "{}", found.what);
        let e = std::io::ErrorKind::PermissionDenied.into();
        assert_eq!(judge(&[counters(Err(e))]).mark, LineMark::Warn);
        assert_eq!(judge(&[]).mark, LineMark::Skip);
    }
}
