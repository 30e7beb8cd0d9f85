//! Known-open endpoints, asked by a connection and by raw SYNs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mimawari_base::uplink::Uplink;
use mimawari_net::packet::BurstTally;

use super::line::CheckFinding;

/// SYNs to each.
pub const SYNS: u32 = 3;
/// Canaries that are asked.
pub const MOST: usize = 16;
/// How often, and how long each time, a connection is tried.
const TRIES: usize = 2;
const PATIENCE: Duration = Duration::from_secs(3);

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryOutcome {
    /// Accepted, from this address of ours.
    Accepted(Option<IpAddr>),
    /// Refused by RST.
    Refused,
    /// No answer.
    Silent,
    /// Our own system said this.
    Failed(String),
}

/// Connects by the way of the sweep. The address has been checked against the scope.
pub async fn connect(to: mimawari_targets::Endpoint, uplink: &Uplink) -> CanaryOutcome {
    let mut last = CanaryOutcome::Silent;
    for _ in 0..TRIES {
        let connecting = async {
            let address = to.socket_addr();
            uplink.socket_to(address)?.connect(address).await
        };
        last = match tokio::time::timeout(PATIENCE, connecting).await {
            Err(_) => CanaryOutcome::Silent,
            Ok(Ok(stream)) => {
                return CanaryOutcome::Accepted(stream.local_addr().ok().map(|a| a.ip()));
            }
            Ok(Err(e)) => match e.kind() {
                std::io::ErrorKind::ConnectionRefused => return CanaryOutcome::Refused,
                std::io::ErrorKind::TimedOut | std::io::ErrorKind::HostUnreachable => {
                    CanaryOutcome::Silent
                }
                _ => CanaryOutcome::Failed(e.to_string()),
            },
        };
    }
    last
}

/// Judges one. `syns`: what became of raw SYNs, where they were sent.
#[must_use]
pub fn judge(
    at: SocketAddr,
    connection: &CanaryOutcome,
    syns: Option<&BurstTally>,
) -> CheckFinding {
    const SERVICE: &str =
        "see that the service runs, or name another known-open port of your own as canary";
    const WAY: &str = "see the way there: routes, security group and network ACL both ways, a firewall before \
                       the host, and whether this outgoing port is blocked";
    let syn = syns.map(|t| match &t.by {
        None => "no way for raw SYNs".to_owned(),
        Some((source, interface)) => {
            let ttl = t.ttl.map_or(String::new(), |n| format!(", TTL {n}"));
            let closed = if t.closed > 0 { format!(", {} RST", t.closed) } else { String::new() };
            format!(
                "{} of {} SYNs from {source} by {interface} answered{closed}{ttl}",
                t.open, t.sent
            )
        }
    });
    let syn = syn.map_or(String::new(), |s| format!("; {s}"));
    let open = syns.is_none_or(|t| t.open > 0);
    match connection {
        CanaryOutcome::Accepted(from) => {
            let from = from.map_or(String::new(), |ip| format!(" from {ip}"));
            let what = format!("{at} accepts connections{from}{syn}");
            if open {
                CheckFinding::ok(what)
            } else {
                CheckFinding::fail(
                    what,
                    "raw packets are lost where connections are not: look for a firewall or NAT that \
                     tracks connections, or whether another interface is the way; `method = \
                     \"connect\"` works meanwhile",
                )
            }
        }
        CanaryOutcome::Refused => {
            CheckFinding::fail(format!("{at} is closed: it answered RST{syn}"), SERVICE)
        }
        CanaryOutcome::Silent if syns.is_some_and(|t| t.open > 0) => CheckFinding::fail(
            format!("{at} answers SYNs and finishes no connection{syn}"),
            "something answers in its place (a SYN proxy), or the service is overloaded",
        ),
        CanaryOutcome::Silent => CheckFinding::fail(format!("{at} does not answer{syn}"), WAY),
        CanaryOutcome::Failed(e) => CheckFinding::fail(format!("{at}: {e}{syn}"), WAY),
    }
}

/// Said where there is none.
#[must_use]
pub fn warn_without_canaries() -> CheckFinding {
    CheckFinding::warn(
        "no canaries are configured: a scan that hears nothing looks like a network that is closed",
        "name known-open ports of your own under [scan]: `canaries = [\"198.51.100.10:443\"]`",
    )
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    fn tally(open: u32, closed: u32) -> BurstTally {
        BurstTally {
            sent: 3,
            open,
            closed,
            ttl: Some(63),
            by: Some(("192.0.2.7".parse().unwrap(), "eth0".into())),
        }
    }

    #[test]
    fn every_pair_of_answers_has_its_own_words() {
        let at = "198.51.100.10:443".parse().unwrap();
        let accepted = CanaryOutcome::Accepted("192.0.2.7".parse().ok());
        let well = judge(at, &accepted, Some(&tally(3, 0)));
        assert_eq!(well.mark, LineMark::Ok);
        assert_eq!(
            well.what,
            "198.51.100.10:443 accepts connections from 192.0.2.7; 3 of 3 SYNs from 192.0.2.7 by eth0 \
             answered, TTL 63"
        );
        assert_eq!(judge(at, &accepted, None).mark, LineMark::Ok);
        let raw = judge(at, &accepted, Some(&tally(0, 0)));
        assert_eq!(raw.mark, LineMark::Fail);
        assert!(raw.remedy.unwrap().contains("tracks connections"));
        let closed = judge(at, &CanaryOutcome::Refused, Some(&tally(0, 3)));
        assert!(closed.what.contains("closed"), "{}", closed.what);
        let silent = judge(at, &CanaryOutcome::Silent, None);
        assert!(silent.remedy.unwrap().contains("security group"));
        let proxy = judge(at, &CanaryOutcome::Silent, Some(&tally(3, 0)));
        assert!(proxy.remedy.unwrap().contains("SYN proxy"));
        let failed = CanaryOutcome::Failed("Network is unreachable".into());
        assert_eq!(judge(at, &failed, None).mark, LineMark::Fail);
    }
}
