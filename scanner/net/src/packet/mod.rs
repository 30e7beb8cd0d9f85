//! The SYN method: the engine's sweep on raw packets.
//!
//! ```text
//!  open: routes ─▶ segments ─▶ links (sender + ring) ─▶ gateways' Ethernet addresses ─▶ source ports
//!  run:  engine ─▶ frames ─▶ gate ─▶ batches (the caller's thread) ─▶ wire (sending threads)
//!        engine ◀─ channel ◀─ answers ◀─ cookie ◀─ rings ◀─ wire (one thread a link)
//! ```
//!
//! * CAP_NET_RAW is needed by [`PacketSweep::open`] alone. Nothing of the system's configuration is
//!   read that needs more or changed at all: no address, route, neighbour or filter rule.
//! * The kernel knows nothing of the connections that a SYN of ours opens. When the SYN-ACK comes, it
//!   finds neither listener nor connection at the source port and answers with RST (RFC 9293, section
//!   3.10.7.1), which closes what was opened. Only a local firewall that drops outgoing RST packets
//!   would leave half-open connections with the probed hosts until they time out.
//! * Which way an address goes is settled when the sweep is opened ([`route`]); addresses of this
//!   machine itself go by `lo`, devices without Ethernet headers (tun, WireGuard) get bare IP packets.
//! * A failed send is handed back to the engine, which slows down and asks for it again; it is never
//!   counted as sent.

mod allowance;
mod asking;
mod burst;
pub mod clock;
mod driver;
pub mod error;
pub mod frame;
mod link;
pub mod neighbour;
pub mod netlink;
mod opener;
mod prepare;
pub mod privilege;
mod receiver;
pub mod route;
mod sending;
pub mod source;
mod spacing;
mod transmit;

use std::net::IpAddr;
use std::sync::Arc;

use mimawari_engine::SynProbe;
use mimawari_probes::cookie::Cookie;
use mimawari_probes::gap::Gap;
use mimawari_rawio::RingConfig;
use mimawari_targets::AddrSet;

pub use burst::{BurstOutcome, BurstTally, CanaryBurst, count_burst_ports};
pub use error::PacketError;
pub use opener::SocketOpener;
pub use privilege::{MissingCapability, drop_all, have_net_raw};
pub use receiver::select_receiver_count;
pub use sending::select_sender_count;

use crate::budget::PacketBudget;
use link::{PacketLink, ReceiveSetup};
use neighbour::NeighbourTable;
use route::RouteSegment;
use source::SourcePorts;

/// How to open a packet sweep.
#[derive(Debug, Clone)]
pub struct PacketConfig {
    /// Restricts sending to this interface; `None`: whatever the routes say.
    pub interface: Option<String>,
    /// Addresses of this machine to send from, at most one a family; a family without one: as the
    /// routes say.
    pub sources: Vec<IpAddr>,
    /// First of the source ports, one an attempt; `None`: a random free block outside the range that
    /// the kernel gives out.
    pub first_source_port: Option<u16>,
    /// The most attempts that the engine makes.
    pub attempts: u8,
    /// Key of the cookie; new and random for every run.
    pub key: [u8; 16],
    /// Chooses the block of source ports; new and random for every run.
    pub seed: u64,
    /// The receive ring of each link.
    pub ring: RingConfig,
    /// ARP requests and neighbour solicitations a second, at most.
    pub solicitations: u32,
    /// Receiving threads of each link; see [`select_receiver_count`].
    pub receivers: usize,
    /// Sending threads of each link; see [`select_sender_count`].
    pub senders: usize,
}

impl Default for PacketConfig {
    fn default() -> Self {
        Self {
            interface: None,
            sources: Vec::new(),
            first_source_port: None,
            attempts: mimawari_engine::SweepConfig::default().max_attempts,
            key: [0; 16],
            seed: 0,
            ring: RingConfig::default(),
            solicitations: neighbour::RATE,
            receivers: 1,
            senders: 1,
        }
    }
}

/// What the driver counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PacketStatistics {
    /// SYN packets that left.
    pub packets_sent: u64,
    /// SYN packets that the system refused to send.
    pub send_failures: u64,
    /// Probes that have no way out, each time they were asked for.
    pub unrouted: u64,
    /// ARP requests and neighbour solicitations that left.
    pub solicitations: u64,
    /// Probes for neighbours that do not answer ARP or neighbour solicitations.
    pub unreachable: u64,
    /// Frames that the receive rings lost.
    pub ring_drops: u64,
    /// Frames that were not sent because the address in them is not in the scope or not in the plan;
    /// anything but 0 is a defect.
    pub frames_refused_by_scope: u64,
    /// How long it took.
    pub seconds: f64,
    /// Things to know, as plain sentences.
    pub gaps: Vec<Gap>,
}

/// A packet sweep with everything open that it needs.
pub struct PacketSweep {
    cookie: Cookie,
    ports: SourcePorts,
    /// Where each piece of the targets goes: index into `paths`.
    segments: Vec<RouteSegment>,
    path_of: Vec<Option<usize>>,
    paths: Vec<link::LinkPath>,
    links: Vec<PacketLink>,
    receiving: Vec<ReceiveSetup>,
    neighbours: NeighbourTable<QueuedProbe>,
    gateways: Gateways,
    gaps: Vec<Gap>,
    /// What leaves beside the sweep.
    beside: Arc<PacketBudget>,
}

/// Paths by a router, and who the router is.
type Gateways = Vec<(usize, neighbour::NeighbourKey)>;

/// A probe that waits for a neighbour, and the path that it takes.
type QueuedProbe = (SynProbe, usize);

impl std::fmt::Debug for PacketSweep {
    /// Without the key of the cookie.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketSweep")
            .field("ports", &self.ports)
            .field("segments", &self.segments)
            .field("gaps", &self.gaps)
            .finish_non_exhaustive()
    }
}

impl PacketSweep {
    /// Counts what leaves by this budget toward the rate of the sweep.
    pub fn share_budget(&mut self, budget: Arc<PacketBudget>) {
        self.beside = budget;
    }

    /// The source ports in use, first and last.
    #[must_use]
    pub const fn source_ports(&self) -> (u16, u16) {
        (self.ports.first(), self.ports.last())
    }

    /// Which way each piece of the targets goes; pieces without a way are not probed.
    #[must_use]
    pub fn segments(&self) -> &[RouteSegment] {
        &self.segments
    }

    /// The addresses of the walk to which no packet can leave.
    fn unrouted(&self) -> AddrSet {
        let without = self.segments.iter().zip(&self.path_of).filter(|(_, path)| path.is_none());
        AddrSet::from_ranges(without.map(|(segment, _)| segment.range))
    }

    /// Things to know before the run, as plain sentences.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }
}
