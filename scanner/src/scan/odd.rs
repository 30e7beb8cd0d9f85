//! Hosts that answer on everything.
//!
//! SYN proxies, tarpits and load balancers in front of nothing answer for ports on which nobody
//! listens. Many open ports alone do not prove one: a container host may have as many. So a host that
//! looks odd is asked for full connections on a few random high ports that nobody planned. What
//! accepts those accepts anything.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use mimawari_base::uplink::Uplink;
use mimawari_look::http::stream::dial;
use mimawari_probes::observation::{HostObservation, HostSign};
use mimawari_probes::wire::SynAckSigns;
use mimawari_targets::{Endpoint, Port, PortSet};
use sha2::{Digest, Sha256};

/// How many random ports are asked.
pub(super) const ASKED: usize = 4;
/// Where they are drawn from: dynamic ports that no service is assigned to (RFC 6335, section 6), and
/// above what Linux gives to its own outgoing connections first.
const FIRST: u16 = 49152;
/// So many ports must look odd in the same way before it counts as the host's way.
const ENOUGH: u32 = 3;
/// After so many second looks at a host of which none brought a byte, the others are not made.
const FIRST_LOOKS: u32 = 8;
/// So many open ports must be most of the planned ones: with fewer, every web server with SSH would be
/// asked.
const MANY: u32 = 5;
/// For each connection: one repeated SYN of the kernel's, and time for its answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What a run has seen of a host's open ports.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OddFacts {
    pub open: u32,
    /// Second looks that were made.
    pub looked: u32,
    pub zero_window: bool,
    pub no_options: bool,
    pub refused: u32,
    pub mute: u32,
}

impl OddFacts {
    pub(super) const fn open(&mut self, signs: SynAckSigns) {
        self.open += 1;
        self.zero_window |= signs.zero_window;
        self.no_options |= signs.no_options;
    }

    /// A second look ended: by a refusal, without a byte, or otherwise.
    pub(super) const fn look(&mut self, refused: bool, mute: bool) {
        self.looked += 1;
        self.refused += refused as u32;
        self.mute += mute as u32;
    }

    /// Whether more second looks would show nothing new: none of the first few brought a byte.
    pub(super) const fn answers_nothing(&self) -> bool {
        self.looked >= FIRST_LOOKS && self.refused + self.mute >= self.looked
    }

    /// What is odd about it. `share`: how many of a host's ports this run was to probe.
    pub(super) fn signs(&self, share: u32) -> Vec<HostSign> {
        let mut signs = Vec::new();
        let mut add = |sign, is: bool| {
            if is {
                signs.push(sign);
            }
        };
        add(HostSign::MostPortsOpen, self.open >= MANY && self.open > share / 2);
        add(HostSign::ZeroWindow, self.zero_window);
        add(HostSign::NoOptions, self.no_options);
        add(HostSign::RefusedAfterSynAck, self.refused >= ENOUGH && self.refused > self.looked / 2);
        add(HostSign::Mute, self.mute >= ENOUGH && self.mute > self.looked / 2);
        signs
    }
}

/// Random ports that are not of the plan, fewer than [`ASKED`] when the plan leaves no more. New in
/// every run, so that nobody can listen on them in advance.
pub(super) fn select_random_ports(salt: u64, ip: IpAddr, planned: &PortSet) -> Vec<Port> {
    let mut ports = Vec::with_capacity(ASKED);
    for draw in 0..64u32 {
        let mut hash = Sha256::new();
        hash.update(salt.to_le_bytes());
        hash.update(ip.to_string());
        hash.update(draw.to_le_bytes());
        let bytes: [u8; 32] = hash.finalize().into();
        let n = FIRST + u16::from_le_bytes([bytes[0], bytes[1]]) % (u16::MAX - FIRST);
        if let Some(port) = Port::new(n)
            && !planned.contains(port)
            && !ports.contains(&port)
        {
            ports.push(port);
        }
        if ports.len() == ASKED {
            break;
        }
    }
    ports
}

/// Asks a host for connections on these endpoints, all at once. Sends no data.
pub(super) async fn ask(
    endpoints: Vec<Endpoint>,
    ip: IpAddr,
    signs: Vec<HostSign>,
    uplink: &Uplink,
    now: fn() -> Timestamp,
) -> HostObservation {
    let asked = endpoints.len() as u32;
    let mut tasks = tokio::task::JoinSet::new();
    for endpoint in endpoints {
        let uplink = uplink.clone();
        tasks.spawn(async move { dial(endpoint, TIMEOUT, &uplink).await.is_ok() });
    }
    let accepted = tasks.join_all().await.into_iter().filter(|ok| *ok).count() as u32;
    HostObservation { ip, at: now(), asked, accepted, signs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ports_are_outside_the_plan_and_new_in_every_run() {
        let ip = "198.51.100.7".parse().unwrap();
        let planned: PortSet = "1-1024,50000-65000".parse().unwrap();
        let a = select_random_ports(1, ip, &planned);
        assert_eq!(a.len(), ASKED);
        assert!(a.iter().all(|p| !planned.contains(*p) && p.get() >= FIRST), "{a:?}");
        assert_ne!(a, select_random_ports(2, ip, &planned));
        assert_eq!(a, select_random_ports(1, ip, &planned));
        assert!(select_random_ports(1, ip, &"all".parse().unwrap()).is_empty());
    }

    #[test]
    fn an_ordinary_web_server_is_not_odd() {
        let mut f = OddFacts::default();
        for _ in 0..4 {
            f.open(SynAckSigns::default());
        }
        assert_eq!(f.signs(4), []);
        for _ in 0..2 {
            f.look(false, true);
            f.look(false, false);
        }
        assert_eq!(f.signs(4), []);
    }

    #[test]
    fn each_sign_has_its_threshold() {
        let mut f = OddFacts::default();
        for _ in 0..5 {
            f.open(SynAckSigns { zero_window: true, no_options: true });
        }
        (f.looked, f.refused, f.mute) = (5, 3, 2);
        let all = [
            HostSign::MostPortsOpen,
            HostSign::ZeroWindow,
            HostSign::NoOptions,
            HostSign::RefusedAfterSynAck,
        ];
        assert_eq!(f.signs(9), all);
        assert!(!f.answers_nothing(), "five are too few to say so");
        f.mute = 3;
        assert_eq!(f.signs(10).last(), Some(&HostSign::Mute));
        assert_eq!(f.signs(10).first(), Some(&HostSign::ZeroWindow), "5 of 10 are not most");
    }
}
