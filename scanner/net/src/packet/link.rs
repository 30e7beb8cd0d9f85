//! One interface, ready to send and to receive.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use mimawari_engine::{FrameSpacing, SynProbe};
use mimawari_probes::wire::{self, LinkHeader, SynTemplate};
use mimawari_rawio::filter;
use mimawari_rawio::{InterfaceFacts, LinkKind, ReceiveRing};

use super::PacketConfig;
use super::error::PacketError;
use super::frame::FrameReach;
use super::sending::{FRAME_BATCHES, FrameBatch};
use super::source::{OwnAddress, SourcePorts, select_device_address};
use super::transmit::{CheckedBatch, Gate, NotPushed, Transmitter};

/// The sending half.
pub(super) struct PacketLink {
    pub(super) device: InterfaceFacts,
    /// For questions to neighbours.
    asking: Transmitter,
    /// One a sending thread; they go to their threads for as long as the run takes.
    pub(super) lanes: Vec<Transmitter>,
    /// Our Ethernet address; `None`: frames begin with the IP header.
    mac: Option<[u8; 6]>,
    /// Being filled.
    filling: Option<FrameBatch>,
    /// Ready to be filled.
    free: Vec<FrameBatch>,
    /// With the sending threads.
    out: usize,
    /// How frames are spaced; then one thread sends them all, since two would send at the same time.
    spacing: Option<FrameSpacing>,
    question: CheckedBatch,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// The receiving half; goes to a thread of its own while the sweep runs.
pub(super) struct ReceiveSetup {
    /// Index of the link.
    pub(super) link: usize,
    pub(super) name: String,
    pub(super) kind: wire::LinkKind,
    pub(super) ring: ReceiveRing,
}

/// One way out: an interface, a source address and whom to hand the frames to.
pub(super) struct LinkPath {
    /// Index of the link.
    pub(super) link: usize,
    pub(super) source: IpAddr,
    pub(super) next: NextFrame,
    pub(super) template: SynTemplate,
}

/// Whom frames of a path are handed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextFrame {
    /// Nobody in particular: there is no Ethernet header.
    Direct,
    /// A router with this Ethernet address.
    Gateway([u8; 6]),
    /// The interface's own Ethernet address: nobody is asked for on it.
    Own([u8; 6]),
    /// The destination itself.
    OnLink,
}

impl PacketLink {
    /// Opens both halves of link number `index`, with so many receivers and lanes. `own`: the addresses
    /// of this machine.
    pub(super) fn open(
        index: usize,
        device: InterfaceFacts,
        gate: &Arc<Gate>,
        own: &[OwnAddress],
        ports: &SourcePorts,
        config: &PacketConfig,
    ) -> Result<(Self, Vec<ReceiveSetup>), PacketError> {
        let name = device.name.clone();
        let open = || {
            Transmitter::open(&device)
                .map_err(|e| PacketError::io(format!("opening a socket to send on {name}"), e))
        };
        let asking = open()?;
        let lanes = (0..config.senders.max(1)).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        let mac = match (device.loopback, device.kind) {
            (false, LinkKind::Ethernet) => Some(device.mac.unwrap_or_default()),
            _ => None,
        };
        let kind = match device.kind {
            LinkKind::Ethernet => wire::LinkKind::Ethernet,
            LinkKind::None => wire::LinkKind::None,
        };
        let program = filter::build_reply_filter(device.kind, ports.first(), ports.last());
        let rings = ReceiveRing::open_group(&device, &program, config.ring, config.receivers)
            .map_err(|e| PacketError::io(format!("opening a receive ring on {name}"), e))?;
        let address = |v4| select_device_address(device.index, v4, own);
        let (v4, v6) = (address(true), address(false));
        let link = Self {
            v4: v4.and_then(|a| if let IpAddr::V4(a) = a { Some(a) } else { None }),
            v6: v6.and_then(|a| if let IpAddr::V6(a) = a { Some(a) } else { None }),
            device,
            asking,
            mac,
            filling: None,
            // The lanes take turns.
            free: (0..FRAME_BATCHES)
                .flat_map(|_| 0..lanes.len())
                .map(|lane| FrameBatch::new(lane, CheckedBatch::new(gate.clone(), mac.is_some())))
                .collect(),
            out: 0,
            spacing: None,
            lanes,
            question: CheckedBatch::new(gate.clone(), mac.is_some()),
        };
        let receiving = rings
            .into_iter()
            .map(|ring| ReceiveSetup { link: index, name: name.clone(), kind, ring })
            .collect();
        Ok((link, receiving))
    }

    /// Our Ethernet address.
    pub(super) const fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    /// The link header of frames from here.
    pub(super) fn header(&self) -> LinkHeader {
        match self.mac {
            Some(source) => LinkHeader::Ethernet { source, destination: [0; 6] },
            None => LinkHeader::None,
        }
    }

    /// An empty batch for frames from here, behind the gate of the sweep.
    pub(super) fn batch(&self) -> CheckedBatch {
        self.question.another()
    }

    /// Whether a frame finds room.
    pub(super) fn has_room(&self) -> bool {
        self.filling.is_some() || self.next_free().is_some()
    }

    /// How frames are spaced from now on.
    pub(super) const fn set_spacing(&mut self, spacing: Option<FrameSpacing>) {
        self.spacing = spacing;
    }

    /// The batch to be filled next.
    fn next_free(&self) -> Option<usize> {
        self.free.iter().position(|filled| self.spacing.is_none() || filled.lane == 0)
    }

    /// Adds a probe's frame to the batch being filled. Returns a batch that is full and to be sent
    /// first; the frame is then in the next one. `Err`: no batch is free, or the frame may not leave.
    pub(super) fn push(
        &mut self,
        frame: &[u8],
        probe: SynProbe,
    ) -> Result<Option<FrameBatch>, NotPushed> {
        let mut full = None;
        if let Some(filled) = &mut self.filling {
            match filled.push(frame, probe) {
                Ok(()) => return Ok(None),
                Err(NotPushed::Full) if self.next_free().is_some() => full = self.take(),
                Err(e) => return Err(e),
            }
        }
        let Some(free) = self.next_free() else { return Err(NotPushed::Full) };
        let mut next = self.free.remove(free);
        // An empty batch takes any SYN.
        let pushed = next.push(frame, probe);
        self.filling = Some(next);
        pushed.map(|()| full)
    }

    /// The batch being filled, to be sent.
    pub(super) fn take(&mut self) -> Option<FrameBatch> {
        let mut filled = self.filling.take()?;
        filled.spacing = self.spacing;
        self.out += 1;
        Some(filled)
    }

    /// A batch has come back from its thread.
    pub(super) fn back(&mut self, filled: FrameBatch) {
        self.out -= 1;
        self.free.push(filled);
    }

    /// Whether a batch is with a sending thread.
    pub(super) const fn is_sending(&self) -> bool {
        self.out > 0
    }

    /// Asks who has an address (ARP request, neighbour solicitation).
    pub(super) fn solicit(&mut self, ip: IpAddr) -> io::Result<SolicitedNeighbour> {
        let Some(mac) = self.mac else { return Ok(SolicitedNeighbour::NoAddress) };
        let frame = match (ip, self.v4, self.v6) {
            (IpAddr::V4(ip), Some(own), _) => wire::build_arp_request(mac, own, ip).to_vec(),
            (IpAddr::V6(ip), _, Some(own)) => {
                wire::build_neighbour_solicitation(mac, own, ip).to_vec()
            }
            _ => return Ok(SolicitedNeighbour::NoAddress),
        };
        self.question.clear();
        if self.question.push(&frame, FrameReach::Neighbour(ip)).is_err() {
            return Ok(SolicitedNeighbour::Refused);
        }
        let outcome = self.asking.send(&self.question);
        match outcome.error {
            Some(e) if outcome.sent == 0 => Err(e),
            _ => Ok(SolicitedNeighbour::Sent),
        }
    }
}

/// What became of a solicitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SolicitedNeighbour {
    /// It left.
    Sent,
    /// It asks for an address that nobody may ask for.
    Refused,
    /// The interface has no address to ask from.
    NoAddress,
}
