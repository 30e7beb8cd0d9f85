//! Raw sockets, and what the kernel offers them.

use std::io;

use mimawari_rawio::{InterfaceFacts, KernelFeatures, RingConfig};
use socket2::{Domain, Protocol, Socket, Type};

use super::line::CheckFinding;

/// What opening each kind of socket came to.
#[derive(Debug)]
pub struct SocketFacts {
    /// AF_PACKET, SOCK_RAW.
    pub packet: io::Result<()>,
    /// AF_INET, SOCK_RAW, IPPROTO_RAW.
    pub raw_ip: io::Result<()>,
}

/// Tries.
#[must_use]
pub fn look() -> SocketFacts {
    // 255 is IPPROTO_RAW (raw(7)): such a socket sends and receives nothing.
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)));
    SocketFacts {
        packet: Socket::new(Domain::PACKET, Type::RAW, None).map(drop),
        raw_ip: raw.map(drop),
    }
}

/// Judges. `capable`: the process has NET_RAW. `needed`: the method is `syn`.
#[must_use]
pub fn judge(s: &SocketFacts, capable: bool, needed: bool) -> CheckFinding {
    let errors: Vec<(&str, &io::Error)> = [("AF_PACKET", &s.packet), ("raw IP", &s.raw_ip)]
        .into_iter()
        .filter_map(|(name, r)| r.as_ref().err().map(|e| (name, e)))
        .collect();
    let Some((_, first)) = errors.first() else {
        return CheckFinding::ok("AF_PACKET and raw IP sockets can be opened");
    };
    if !capable && errors.iter().all(|(_, e)| e.kind() == io::ErrorKind::PermissionDenied) {
        return CheckFinding::skip("raw sockets need NET_RAW");
    }
    let what = errors.iter().map(|(n, e)| format!("{n}: {e}")).collect::<Vec<_>>().join("; ");
    let remedy = match first.kind() {
        io::ErrorKind::PermissionDenied => {
            "NET_RAW is there and refused: allow socket(AF_PACKET) in the seccomp or AppArmor profile, \
             and give the task the network of its own user namespace"
        }
        _ => {
            "this kernel knows no such sockets (a sandbox such as gVisor): run on another runtime, or \
             set `method = \"connect\"` under [scan]"
        }
    };
    if needed { CheckFinding::fail(what, remedy) } else { CheckFinding::warn(what, remedy) }
}

/// What the kernel offers on an interface.
///
/// # Errors
/// When the interface cannot be used, or no packet socket can be had.
pub fn look_at_ring(interface: &str) -> io::Result<KernelFeatures> {
    mimawari_rawio::probe_features(&InterfaceFacts::by_name(interface)?, RingConfig::default())
}

/// Judges the ring.
#[must_use]
pub fn judge_ring(interface: &str, features: &io::Result<KernelFeatures>) -> CheckFinding {
    let f = match features {
        Ok(f) => f,
        Err(e) => {
            return CheckFinding::fail(
                format!("no packet socket on {interface}: {e}"),
                "see the lines above; `method = \"connect\"` under [scan] needs no such socket",
            );
        }
    };
    let yes = |ok: bool, what: &str| if ok { what.to_owned() } else { format!("no {what}") };
    let rest = [
        yes(f.fanout, "fanout"),
        yes(f.ignore_outgoing.is_ok(), "PACKET_IGNORE_OUTGOING"),
        yes(f.qdisc_bypass.is_ok(), "qdisc bypass"),
    ]
    .join(", ");
    match &f.ring {
        Ok(size) => CheckFinding::ok(format!(
            "TPACKET_V3 on {interface}, {}, {rest}",
            super::limits::format_bytes(*size)
        )),
        Err(e) => CheckFinding::warn(
            format!(
                "no TPACKET_V3 ring on {interface}: {e}; packets are received one by one; {rest}"
            ),
            "keep the rate low, so that none is lost: the ramp says what works; more memory may help",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    fn refused(kind: io::ErrorKind) -> io::Result<()> {
        Err(kind.into())
    }

    #[test]
    fn a_refusal_without_the_capability_is_reported_there() {
        let s = SocketFacts {
            packet: refused(io::ErrorKind::PermissionDenied),
            raw_ip: refused(io::ErrorKind::PermissionDenied),
        };
        assert_eq!(judge(&s, false, true).mark, LineMark::Skip);
        let filtered = judge(&s, true, true);
        assert_eq!(filtered.mark, LineMark::Fail);
        assert!(filtered.remedy.unwrap().contains("seccomp"));
        let unknown = SocketFacts { packet: refused(io::ErrorKind::Unsupported), raw_ip: Ok(()) };
        let unknown = judge(&unknown, true, false);
        assert_eq!(unknown.mark, LineMark::Warn);
        assert!(unknown.remedy.unwrap().contains("gVisor"));
        assert_eq!(
            judge(&SocketFacts { packet: Ok(()), raw_ip: Ok(()) }, true, true).mark,
            LineMark::Ok
        );
    }

    #[test]
    fn a_missing_ring_is_a_warning_and_a_missing_socket_a_failure() {
        let features = |ring| KernelFeatures {
            ring,
            fanout: false,
            ignore_outgoing: Err(io::ErrorKind::Unsupported.into()),
            qdisc_bypass: Ok(()),
        };
        let ok = judge_ring("eth0", &Ok(features(Ok(8 << 20))));
        assert_eq!(
            ok.what,
            "TPACKET_V3 on eth0, 8 MiB, no fanout, no PACKET_IGNORE_OUTGOING, qdisc bypass"
        );
        let none = judge_ring("eth0", &Ok(features(Err(io::ErrorKind::OutOfMemory.into()))));
        assert_eq!(none.mark, LineMark::Warn);
        let e = judge_ring("eth0", &Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(e.mark, LineMark::Fail);
    }
}
