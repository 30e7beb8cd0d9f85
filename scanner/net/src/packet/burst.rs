//! A burst of SYN packets to a few endpoints that are known to be open, to measure the way there.
//!
//! A sweep asks a cell a few times at most, so it cannot tell what a rate loses on the way to a single
//! endpoint. A burst asks again and again, each time from another source port, so that every SYN is a
//! connection of its own and every answer tells which SYN it answers. Ways, templates, cookie and
//! gate are the sweep's.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mimawari_probes::wire::{self, ParsedFrame, TcpFlags};
use mimawari_rawio::{LinkKind, ReceiveRing, RingConfig, filter};
use mimawari_targets::Endpoint;

use super::asking::ask_all;
use super::frame::FrameReach;
use super::link::NextFrame;
use super::transmit::{CheckedBatch, NotPushed};
use super::{PacketError, PacketSweep, route};

/// The source ports of bursts: below those that Linux gives out (ip(7)), above well-known services.
const FIRST_PORT: u16 = 10_000;
const LAST_PORT: u16 = 32_767;
/// Frames sent before answers are looked at again.
const A_TURN: u32 = 128;
/// How long a neighbour may take to answer ARP; four tries, as a sweep makes them.
const NEIGHBOUR: Duration = Duration::from_secs(4);

/// SYN packets that may go to one endpoint before a source port would come again. A host that has not
/// heard our RST still holds the port's last connection, and would not answer it anew.
#[must_use]
pub const fn count_burst_ports() -> u32 {
    (LAST_PORT - FIRST_PORT) as u32 + 1
}

/// What to send.
#[derive(Debug, Clone)]
pub struct CanaryBurst {
    /// To whom, in turn.
    pub endpoints: Vec<Endpoint>,
    /// Packets per second.
    pub rate: u32,
    /// Packets in all.
    pub packets: u32,
    /// Number of the first one, counted over all bursts of one [`PacketSweep`]: it chooses the port.
    pub from: u32,
    /// How long answers are waited for after the last packet.
    pub patience: Duration,
}

/// What became of the packets to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BurstTally {
    /// SYN packets that left.
    pub sent: u32,
    /// SYNs that were answered by SYN-ACK.
    pub open: u32,
    /// SYNs that were answered by RST.
    pub closed: u32,
    /// Time to live or hop limit of the last answer.
    pub ttl: Option<u8>,
    /// From which address of ours, by which interface; `None` without a way.
    pub by: Option<(IpAddr, String)>,
}

/// What became of a burst.
#[derive(Debug, Clone, PartialEq)]
pub struct BurstOutcome {
    /// One an endpoint, in the order asked for.
    pub tallies: Vec<BurstTally>,
    /// Packets that the system refused to send.
    pub failed: u32,
    /// Frames that the receive rings lost.
    pub ring_drops: u64,
    /// Frames that were not sent because the address in them is not in the scope; anything but 0 is a
    /// defect.
    pub refused_by_scope: u32,
    /// How long sending took.
    pub seconds: f64,
}

impl BurstOutcome {
    /// SYN packets that left.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.tallies.iter().map(|t| t.sent).sum()
    }

    /// SYN packets that were answered by SYN-ACK.
    #[must_use]
    pub fn answered(&self) -> u32 {
        self.tallies.iter().map(|t| t.open).sum()
    }
}

/// Where the packets to an endpoint go.
struct BurstTarget {
    endpoint: Endpoint,
    path: usize,
    mac: Option<[u8; 6]>,
}

impl PacketSweep {
    /// Sends a burst and waits for its answers. The endpoints must be of the walk that this was opened
    /// with. Takes `packets / rate` seconds, the patience, and some seconds more where neighbours on
    /// the link do not answer.
    ///
    /// # Errors
    /// [`PacketError`] when no ring can be had, or receiving fails.
    pub fn burst(
        &mut self,
        burst: &CanaryBurst,
        stop: &AtomicBool,
    ) -> Result<BurstOutcome, PacketError> {
        let failed = |e| PacketError::io("receiving answers", e);
        let mut rings = self.burst_rings()?;
        let targets = self.burst_targets(&burst.endpoints).map_err(failed)?;
        let mut run = BurstRun::new(self, burst, targets);
        let begun = Instant::now();
        let room = count_burst_ports()
            .saturating_mul(u32::try_from(burst.endpoints.len()).unwrap_or(0))
            .saturating_sub(burst.from);
        let packets = burst.packets.min(room);
        let rate = f64::from(burst.rate.max(1));
        let mut next = 0;
        while next < packets && !stop.load(Ordering::Relaxed) {
            let due = (begun.elapsed().as_secs_f64() * rate) as u32;
            let due = due.saturating_add(1).min(packets).min(next.saturating_add(A_TURN));
            for n in next..due {
                run.push(self, n);
            }
            next = next.max(due);
            run.send(self);
            let at = Duration::from_secs_f64(f64::from(next) / rate);
            let wait = at.saturating_sub(begun.elapsed()).min(Duration::from_millis(2));
            run.receive(self, &mut rings, wait).map_err(failed)?;
        }
        run.outcome.seconds = begun.elapsed().as_secs_f64();
        let end = Instant::now() + burst.patience;
        while run.is_waiting() && !stop.load(Ordering::Relaxed) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            run.receive(self, &mut rings, left.min(Duration::from_millis(10))).map_err(failed)?;
        }
        for (_, ring) in &mut rings {
            run.outcome.ring_drops += ring.statistics().map_or(0, |s| s.drops);
        }
        Ok(run.outcome)
    }

    /// A ring on each link, for all ports of bursts.
    fn burst_rings(&self) -> Result<Vec<(wire::LinkKind, ReceiveRing)>, PacketError> {
        let open = |link: &super::link::PacketLink| {
            let device = &link.device;
            let program = filter::build_reply_filter(device.kind, FIRST_PORT, LAST_PORT);
            let kind = match device.kind {
                LinkKind::Ethernet => wire::LinkKind::Ethernet,
                LinkKind::None => wire::LinkKind::None,
            };
            ReceiveRing::open(device, &program, RingConfig::default())
                .map(|ring| (kind, ring))
                .map_err(|e| {
                    PacketError::io(format!("opening a receive ring on {}", device.name), e)
                })
        };
        self.links.iter().map(open).collect()
    }

    /// The ways; `None` for an endpoint without one. Neighbours on the link are asked for.
    fn burst_targets(
        &mut self,
        endpoints: &[Endpoint],
    ) -> std::io::Result<Vec<Option<BurstTarget>>> {
        let way = |parts: &Self, endpoint: Endpoint| {
            let segment = route::find_segment(&parts.segments, endpoint.ip())?;
            parts.path_of[segment]
        };
        for endpoint in endpoints {
            if let Some(path) = way(self, *endpoint)
                && self.paths[path].next == NextFrame::OnLink
            {
                let key = (self.paths[path].link, endpoint.ip());
                if self.neighbours.known(key).is_none() {
                    self.neighbours.ask(key, None);
                }
            }
        }
        ask_all(&mut self.neighbours, &mut self.links, &mut self.receiving, NEIGHBOUR)?;
        let target = |endpoint: &Endpoint| {
            let path = way(self, *endpoint)?;
            let mac = match self.paths[path].next {
                NextFrame::Direct => None,
                NextFrame::Gateway(mac) | NextFrame::Own(mac) => Some(mac),
                NextFrame::OnLink => {
                    Some(self.neighbours.known((self.paths[path].link, endpoint.ip()))?)
                }
            };
            Some(BurstTarget { endpoint: *endpoint, path, mac })
        };
        Ok(endpoints.iter().map(target).collect())
    }
}

/// One burst under way.
struct BurstRun {
    targets: Vec<Option<BurstTarget>>,
    index_of: HashMap<SocketAddr, usize>,
    from: u32,
    /// By number of the packet: sent, answered.
    packets: Vec<(bool, bool)>,
    /// What is to leave, by link: frames and the numbers of their packets.
    batches: BTreeMap<usize, (CheckedBatch, Vec<u32>)>,
    outcome: BurstOutcome,
}

impl BurstRun {
    fn new(parts: &PacketSweep, burst: &CanaryBurst, targets: Vec<Option<BurstTarget>>) -> Self {
        let tally = |t: &Option<BurstTarget>| {
            let by = t.as_ref().map(|t| {
                let path = &parts.paths[t.path];
                (path.source, parts.links[path.link].device.name.clone())
            });
            BurstTally { sent: 0, open: 0, closed: 0, ttl: None, by }
        };
        let tallies = targets.iter().map(tally).collect();
        let index = burst.endpoints.iter().enumerate().map(|(i, e)| (e.socket_addr(), i));
        Self {
            index_of: index.collect(),
            targets,
            from: burst.from,
            packets: Vec::new(),
            batches: BTreeMap::new(),
            outcome: BurstOutcome {
                tallies,
                failed: 0,
                ring_drops: 0,
                refused_by_scope: 0,
                seconds: 0.0,
            },
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.targets.len()).unwrap_or(u32::MAX).max(1)
    }

    /// Which endpoint and which source port packet `n` of this burst has.
    fn place(&self, n: u32) -> (usize, u16) {
        let slot = self.from.saturating_add(n);
        let port = FIRST_PORT + ((slot / self.count()) % count_burst_ports()) as u16;
        ((slot % self.count()) as usize, port)
    }

    /// The packet to an endpoint from a source port, if it is of this burst.
    fn packet(&self, index: usize, port: u16) -> Option<usize> {
        let offset = u32::from(port.checked_sub(FIRST_PORT).filter(|_| port <= LAST_PORT)?);
        let slot = offset.checked_mul(self.count())?.checked_add(u32::try_from(index).ok()?)?;
        usize::try_from(slot.checked_sub(self.from)?).ok()
    }

    /// Builds packet `n` and puts it with those that are to leave, past the gate.
    fn push(&mut self, parts: &mut PacketSweep, n: u32) {
        self.packets.push((false, false));
        let (index, source_port) = self.place(n);
        let Some(Some(target)) = self.targets.get(index) else { return };
        let (ip, port) = (target.endpoint.ip(), target.endpoint.port().get());
        let path = &mut parts.paths[target.path];
        let sequence = parts.cookie.sequence(path.source, source_port, ip, port);
        let finished = path.template.frame(ip, target.mac, source_port, port, sequence);
        let link = &parts.links[path.link];
        let (batch, numbers) =
            self.batches.entry(path.link).or_insert_with(|| (link.batch(), Vec::new()));
        match batch.push(finished, FrameReach::Host(ip)) {
            Ok(()) => numbers.push(n),
            Err(NotPushed::Refused) => self.outcome.refused_by_scope += 1,
            Err(NotPushed::Full) => self.outcome.failed += 1,
        }
    }

    fn send(&mut self, parts: &mut PacketSweep) {
        let mut batches = std::mem::take(&mut self.batches);
        for (link, (batch, numbers)) in &mut batches {
            let sent = match parts.links[*link].lanes.first_mut() {
                Some(lane) => lane.send(batch).sent,
                None => 0,
            };
            for (i, n) in numbers.iter().enumerate() {
                if i >= sent {
                    self.outcome.failed += 1;
                    continue;
                }
                let (index, _) = self.place(*n);
                self.outcome.tallies[index].sent += 1;
                if let Some(packet) = self.packets.get_mut(*n as usize) {
                    packet.0 = true;
                }
            }
            batch.clear();
            numbers.clear();
        }
        self.batches = batches;
    }

    fn receive(
        &mut self,
        parts: &PacketSweep,
        rings: &mut [(wire::LinkKind, ReceiveRing)],
        wait: Duration,
    ) -> std::io::Result<()> {
        let wait = wait / u32::try_from(rings.len()).unwrap_or(1).max(1);
        for (kind, ring) in rings {
            let kind = *kind;
            ring.receive(wait, &mut |frame| self.answer(parts, kind, frame))?;
        }
        Ok(())
    }

    /// Takes a frame; what is no answer to a packet of this burst is nothing.
    fn answer(&mut self, parts: &PacketSweep, kind: wire::LinkKind, frame: &[u8]) {
        let Some(ParsedFrame::Tcp(t)) = wire::parse(kind, frame) else { return };
        let from = SocketAddr::new(t.source, t.source_port);
        let Some(index) = self.index_of.get(&from).copied() else { return };
        let Some(n) = self.packet(index, t.destination_port) else { return };
        let Some((true, answered @ false)) = self.packets.get_mut(n) else { return };
        let Some(Some(target)) = self.targets.get(index) else { return };
        let source = parts.paths[target.path].source;
        let sequence = parts.cookie.sequence(source, t.destination_port, t.source, t.source_port);
        let ours = t.flags.has(TcpFlags::ACK)
            && t.destination == source
            && t.acknowledgement == sequence.wrapping_add(1);
        if !ours {
            return;
        }
        let tally = &mut self.outcome.tallies[index];
        if t.flags.has(TcpFlags::RST) {
            tally.closed += 1;
        } else if t.flags.has(TcpFlags::SYN) {
            tally.open += 1;
        } else {
            return;
        }
        tally.ttl = Some(t.ttl);
        *answered = true;
    }

    fn is_waiting(&self) -> bool {
        self.packets.iter().any(|(sent, answered)| *sent && !answered)
    }
}
