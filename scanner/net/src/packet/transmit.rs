//! The only way out. A [`Transmitter`] owns the socket and sends nothing but a [`CheckedBatch`], and a
//! frame comes into one only through a [`Gate`], which reads from the finished bytes whom the frame
//! reaches. So no caller can forget the look: a frame for an address outside the scope or the plan has
//! no type that could be sent.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use mimawari_rawio::{FrameSender, InterfaceFacts, SendBatch, SendOutcome};
use mimawari_targets::{PlanOrder, Scope};

use super::frame::{FrameReach, reach};

/// Whom frames may reach: the addresses that both the scope and the plan hold. Their next hops may be
/// asked for by ARP and neighbour solicitation, and for nothing else.
#[derive(Debug)]
pub(super) struct Gate {
    scope: Arc<Scope>,
    walk: PlanOrder,
    gateways: BTreeSet<IpAddr>,
}

impl Gate {
    /// The gate of a walk, whose targets are behind `gateways`.
    pub(super) fn new(
        walk: &PlanOrder,
        scope: Arc<Scope>,
        gateways: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self { scope, walk: walk.clone(), gateways: gateways.into_iter().collect() }
    }

    fn is_target(&self, ip: IpAddr) -> bool {
        self.walk.allows(&self.scope, ip)
    }

    fn permits(&self, reach: FrameReach) -> bool {
        match reach {
            FrameReach::Host(ip) => self.is_target(ip),
            FrameReach::Neighbour(ip) => self.is_target(ip) || self.gateways.contains(&ip),
        }
    }
}

/// Why a frame is not in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotPushed {
    /// The batch is full.
    Full,
    /// The frame may not leave: it reaches something else than was meant, or what the scope or the
    /// plan does not hold.
    Refused,
}

/// Frames that have passed the gate.
#[derive(Debug)]
pub(super) struct CheckedBatch {
    gate: Arc<Gate>,
    /// Whether the frames begin with an Ethernet header.
    ethernet: bool,
    batch: SendBatch,
}

impl CheckedBatch {
    /// An empty batch.
    pub(super) fn new(gate: Arc<Gate>, ethernet: bool) -> Self {
        Self { gate, ethernet, batch: SendBatch::new() }
    }

    /// Another empty one, behind the same gate.
    pub(super) fn another(&self) -> Self {
        Self::new(self.gate.clone(), self.ethernet)
    }

    /// Adds a frame that is meant to do `meant`, if that is what it does and it may.
    #[inline]
    pub(super) fn push(&mut self, frame: &[u8], meant: FrameReach) -> Result<(), NotPushed> {
        if reach(frame, self.ethernet) != Some(meant) || !self.gate.permits(meant) {
            return Err(NotPushed::Refused);
        }
        if self.batch.push(frame) { Ok(()) } else { Err(NotPushed::Full) }
    }

    /// Forgets all frames.
    pub(super) fn clear(&mut self) {
        self.batch.clear();
    }
}

/// A socket that sends, and what may leave by it.
#[derive(Debug)]
pub(super) struct Transmitter {
    sender: FrameSender,
}

impl Transmitter {
    /// Opens a socket that sends on a device.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW; any other error of the system.
    pub(super) fn open(device: &InterfaceFacts) -> io::Result<Self> {
        let sender = if device.loopback {
            // From a packet socket the kernel takes 127.0.0.0/8 for martians; a raw IP socket
            // is routed as everything else.
            FrameSender::raw_ip()?
        } else {
            FrameSender::packet(device)?
        };
        Ok(Self { sender })
    }

    /// Sends a batch, in order, up to the first frame that the system refuses.
    pub(super) fn send(&mut self, batch: &CheckedBatch) -> SendOutcome {
        self.send_some(batch, 0, usize::MAX)
    }

    /// The same from frame number `first` on, and no more than `most` frames; `sent` counts from
    /// `first`.
    pub(super) fn send_some(
        &mut self,
        batch: &CheckedBatch,
        first: usize,
        most: usize,
    ) -> SendOutcome {
        self.sender.send_some(&batch.batch, first, most)
    }
}

#[cfg(test)]
mod tests {
    use mimawari_probes::wire::{self, LinkHeader, SynTemplate};
    use mimawari_targets::{AddrRange, AddrSet, CellPlan, PlanShard};

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn set(ranges: &[&str]) -> AddrSet {
        AddrSet::from_ranges(ranges.iter().map(|r| r.parse::<AddrRange>().unwrap()))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The scope holds more than the plan, and the deny list cuts a hole into the plan's range.
    fn gate() -> Arc<Gate> {
        let allow = set(&["192.0.2.0/24", "2001:db8::/120"]);
        let scope = Scope::new(allow, set(&["192.0.2.9"]), "T-1");
        let addrs = scope.narrow(&set(&["192.0.2.0/28", "2001:db8::/126"])).unwrap();
        let walk = CellPlan::new(addrs, "80".parse().unwrap(), 1).unwrap().walk(PlanShard::WHOLE);
        Arc::new(Gate::new(&walk, Arc::new(scope), [ip("198.51.100.1"), ip("fe80::1")]))
    }

    fn syn(header: LinkHeader, to: IpAddr) -> Vec<u8> {
        let own = if to.is_ipv4() { ip("198.51.100.7") } else { ip("2001:db8:f::7") };
        let mac = matches!(header, LinkHeader::Ethernet { .. }).then_some(MAC);
        SynTemplate::new(header, own).frame(to, mac, 40_000, 80, 1).to_vec()
    }

    fn neighbour(to: IpAddr) -> Vec<u8> {
        match to {
            IpAddr::V4(to) => wire::build_arp_request(MAC, [198, 51, 100, 7].into(), to).to_vec(),
            IpAddr::V6(to) => {
                wire::build_neighbour_solicitation(MAC, "fe80::7".parse().unwrap(), to).to_vec()
            }
        }
    }

    const INSIDE: [&str; 4] = ["192.0.2.0", "192.0.2.15", "2001:db8::", "2001:db8::3"];
    /// Denied; in the scope and not in the plan; a gateway; outside of both.
    const OUTSIDE: [&str; 8] = [
        "192.0.2.9",
        "192.0.2.16",
        "2001:db8::4",
        "198.51.100.1",
        "fe80::1",
        "203.0.113.1",
        "127.0.0.1",
        "::1",
    ];

    #[test]
    fn a_frame_passes_only_to_an_address_of_both_scope_and_plan() {
        let ethernet = LinkHeader::Ethernet { source: MAC, destination: [0; 6] };
        for (header, is_ethernet) in [(ethernet, true), (LinkHeader::None, false)] {
            let mut batch = CheckedBatch::new(gate(), is_ethernet);
            for to in INSIDE.map(ip) {
                assert_eq!(batch.push(&syn(header, to), FrameReach::Host(to)), Ok(()), "{to}");
            }
            for to in OUTSIDE.map(ip) {
                let pushed = batch.push(&syn(header, to), FrameReach::Host(to));
                assert_eq!(pushed, Err(NotPushed::Refused), "{to}");
            }
            assert_eq!(batch.batch.len(), INSIDE.len());
        }
    }

    #[test]
    fn a_frame_that_does_something_else_than_was_meant_does_not_pass() {
        let header = LinkHeader::Ethernet { source: MAC, destination: [0; 6] };
        let mut batch = CheckedBatch::new(gate(), true);
        let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for (frame, meant) in [
            (syn(header, a), FrameReach::Host(b)),
            (syn(header, a), FrameReach::Neighbour(a)),
            (neighbour(a), FrameReach::Host(a)),
            (neighbour(a), FrameReach::Neighbour(b)),
            // Without the header that the link has.
            (syn(LinkHeader::None, a), FrameReach::Host(a)),
            (syn(header, a)[..30].to_vec(), FrameReach::Host(a)),
            (Vec::new(), FrameReach::Host(a)),
        ] {
            assert_eq!(batch.push(&frame, meant), Err(NotPushed::Refused), "{meant:?}");
        }
        assert!(batch.batch.is_empty());
    }

    #[test]
    fn gateways_may_be_asked_for_and_not_probed() {
        let mut batch = CheckedBatch::new(gate(), true);
        for asked in ["198.51.100.1", "fe80::1", "192.0.2.3", "2001:db8::2"].map(ip) {
            assert_eq!(
                batch.push(&neighbour(asked), FrameReach::Neighbour(asked)),
                Ok(()),
                "{asked}"
            );
        }
        for asked in ["198.51.100.2", "192.0.2.9", "192.0.2.200", "fe80::2"].map(ip) {
            let pushed = batch.push(&neighbour(asked), FrameReach::Neighbour(asked));
            assert_eq!(pushed, Err(NotPushed::Refused), "{asked}");
        }
    }

    #[test]
    fn a_full_batch_says_so() {
        let mut batch = CheckedBatch::new(gate(), false);
        let to = ip("192.0.2.1");
        let frame = syn(LinkHeader::None, to);
        let room =
            (0..100_000).take_while(|_| batch.push(&frame, FrameReach::Host(to)).is_ok()).count();
        assert!((1..100_000).contains(&room), "{room}");
        assert_eq!(batch.push(&frame, FrameReach::Host(to)), Err(NotPushed::Full));
        batch.clear();
        assert_eq!(batch.push(&frame, FrameReach::Host(to)), Ok(()));
    }
}
