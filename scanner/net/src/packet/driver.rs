//! The loop: what the engine wants sent goes out, what comes back goes to the engine.
//!
//! The caller's thread drives the engine and builds frames; threads of their own send and receive.
//! The driving thread sleeps on the one channel by which they all report until the next deadline; it
//! never spins.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use mimawari_engine::{SweepEngine, SweepEvent, SynProbe};
use mimawari_probes::gap::Gap;

use super::allowance::AllowanceWatch;
use super::clock::EngineClock;
use super::link::{NextFrame, PacketLink, SolicitedNeighbour};
use super::neighbour::{NeighbourKey, NeighbourState, NeighbourStep};
use super::receiver::{self, PacketReceiver, ReceiverMessage};
use super::sending::{self, FrameBatch, SentBatch};
use super::transmit::NotPushed;
use super::{PacketError, PacketStatistics, PacketSweep, route};

/// Time between two ticks.
const TICK: Duration = Duration::from_millis(250);
/// The longest sleep: how late the stop flag may be seen.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// Probes handed out before answers are looked at again.
const PROBES_A_TURN: usize = 1024;
/// Messages taken in before probes are handed out again.
const MESSAGES_A_TURN: usize = 2 * receiver::CHANNEL;
/// After this long without a successful send, and failures only, the sweep is stopped.
const HOPELESS: Duration = Duration::from_secs(10);
/// How often the routers are asked for their Ethernet addresses again: after a failover another one
/// answers for the same address.
const ROUTERS: Duration = Duration::from_secs(1);
/// How long a sweep stands still before it looks whether it may go on.
const HELD: Duration = Duration::from_millis(10);
/// When the engine has nothing to send for longer than this, it waits for answers, not for its rate.
const IDLE: Duration = Duration::from_millis(100);

impl PacketSweep {
    /// Runs the sweep to its end. `stop`, or a `Break` from `on_event`, ends it early: nothing more is
    /// sent, late answers are waited for, every cell is still reported. `on_tick` is called about four
    /// times a second, when all events have been read.
    ///
    /// # Errors
    /// When a receiving thread cannot be started. What goes wrong on the way does not end the run: it
    /// is counted, noted, and shows in the states of the cells.
    pub fn run(
        &mut self,
        sweep: &mut SweepEngine,
        stop: &AtomicBool,
        on_event: &mut dyn FnMut(SweepEvent) -> ControlFlow<()>,
        on_tick: &mut dyn FnMut(&SweepEngine),
    ) -> Result<PacketStatistics, PacketError> {
        sweep.leave_unrouted(self.unrouted());
        sweep.space_by_driver();
        let (out, messages) = mpsc::sync_channel(receiver::CHANNEL);
        let done = AtomicBool::new(false);
        let begun = Instant::now();
        // Rings and sockets go to their threads for as long as the run takes.
        let mut receiving = std::mem::take(&mut self.receiving);
        let mut lanes: Vec<_> =
            self.links.iter_mut().map(|link| std::mem::take(&mut link.lanes)).collect();
        let cookie = self.cookie.clone();
        let (first_port, ports) = (self.ports.first(), self.ports.width());
        let result = std::thread::scope(|scope| {
            // Also when a callback panics: the scope waits for its threads.
            let _end = SetOnDrop(&done);
            let failed = |e| PacketError::io("starting a thread of the sweep", e);
            let receivers = receiving.len();
            for (number, receiving) in receiving.iter_mut().enumerate() {
                let receiver = PacketReceiver {
                    number,
                    link: receiving.link,
                    receiving,
                    cookie: &cookie,
                    first_port,
                    ports,
                    out: out.clone(),
                    done: &done,
                    begun,
                };
                std::thread::Builder::new()
                    .name(format!("receive-{number}"))
                    .spawn_scoped(scope, move || receiver.run())
                    .map_err(failed)?;
            }
            let mut to_send = Vec::new();
            for (link, lanes) in lanes.iter_mut().enumerate() {
                let mut queues = Vec::new();
                for (lane, sender) in lanes.iter_mut().enumerate() {
                    let (queue, filled_batches) = mpsc::sync_channel(sending::FRAME_BATCHES);
                    let out = out.clone();
                    std::thread::Builder::new()
                        .name(format!("send-{link}-{lane}"))
                        .spawn_scoped(scope, move || {
                            sending::run(link, sender, &filled_batches, &out)
                        })
                        .map_err(failed)?;
                    queues.push(queue);
                }
                to_send.push(queues);
            }
            drop(out);
            let mut run = SweepRun {
                begun,
                clock: EngineClock::default(),
                statistics: PacketStatistics::default(),
                failures: BTreeMap::new(),
                failing_since: None,
                stopped: false,
                to_send,
                ask_routers: ROUTERS,
                late: VecDeque::new(),
                heard: vec![Duration::ZERO; receivers],
                allowances: self
                    .links
                    .iter()
                    .filter_map(|link| AllowanceWatch::new(&link.device, begun))
                    .collect(),
                parts: self,
                sweep,
            };
            run.go(stop, &messages, on_event, on_tick);
            done.store(true, Ordering::Release);
            // The sending threads end with their queues.
            run.to_send.clear();
            // The threads' last words; then they have all hung up.
            while let Ok(message) = messages.recv() {
                match message {
                    ReceiverMessage::Lost(n) => run.lost(n),
                    ReceiverMessage::Sent(sent) => run.sent(sent),
                    _ => {}
                }
            }
            Ok(run.finish())
        });
        self.receiving = receiving;
        for (link, lanes) in self.links.iter_mut().zip(lanes) {
            link.lanes = lanes;
        }
        result
    }
}

/// Tells the receiving threads to end.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One run.
struct SweepRun<'a> {
    begun: Instant,
    clock: EngineClock,
    statistics: PacketStatistics,
    /// Failures of sends by interface and reason.
    failures: BTreeMap<(String, String), u64>,
    failing_since: Option<Duration>,
    stopped: bool,
    /// The queues of the sending threads, by link and lane.
    to_send: Vec<Vec<SyncSender<FrameBatch>>>,
    /// When the routers are asked again, in real time.
    ask_routers: Duration,
    /// Probes whose neighbour has answered, and for which no batch was free.
    late: VecDeque<(SynProbe, usize, [u8; 6])>,
    /// Up to when each receiving thread has told everything.
    heard: Vec<Duration>,
    /// Allowances of the interfaces that have any.
    allowances: Vec<AllowanceWatch>,
    parts: &'a mut PacketSweep,
    sweep: &'a mut SweepEngine,
}

impl SweepRun<'_> {
    fn go(
        &mut self,
        stop: &AtomicBool,
        messages: &mpsc::Receiver<ReceiverMessage>,
        on_event: &mut dyn FnMut(SweepEvent) -> ControlFlow<()>,
        on_tick: &mut dyn FnMut(&SweepEngine),
    ) {
        let mut next_tick = TICK;
        loop {
            if stop.load(Ordering::Relaxed) {
                self.stop();
            }
            for _ in 0..MESSAGES_A_TURN {
                match messages.try_recv() {
                    Ok(message) => self.take(message),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.ask_neighbours();
            self.ask_routers();
            self.count_beside();
            let more = self.transmit();
            while let Some(event) = self.sweep.poll_event() {
                if on_event(event).is_break() {
                    self.stop();
                }
            }
            if self.sweep.is_done() {
                break;
            }
            let real = self.begun.elapsed();
            if real >= next_tick {
                next_tick = real + TICK;
                self.look_at_allowances();
                on_tick(self.sweep);
            }
            // Second looks are behind: nothing is sent before they have caught up.
            let held = self.is_held();
            if more || !self.late.is_empty() && self.has_room() {
                continue;
            }
            let mut wake = next_tick.min(real + LONGEST_SLEEP);
            let deadline = self.deadline(real);
            // Without a free batch nothing can be sent before one comes back, which is a message.
            if held {
                wake = wake.min(real + HELD);
            } else if self.has_room() {
                wake = wake.min(deadline);
            }
            match messages.recv_timeout(wake.saturating_sub(self.begun.elapsed())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                // All receiving threads have ended, which they do not by themselves; without the
                // channel there is nothing to sleep on.
                Err(RecvTimeoutError::Disconnected) => {
                    self.note(Gap::ReceivingEnded);
                    self.stop();
                    std::thread::sleep(wake.saturating_sub(self.begun.elapsed()));
                }
            }
        }
        on_tick(self.sweep);
    }

    /// The engine's time.
    fn now(&self) -> Duration {
        self.clock.now(self.begun.elapsed())
    }

    /// When something is to be done next, in real time.
    fn deadline(&mut self, real: Duration) -> Duration {
        let full = self.parts.neighbours.is_full();
        let engine = self.sweep.poll_timeout();
        let now = self.clock.now(real);
        // Nothing to send for a while, and some of what was handed out has not left: the engine must
        // not take its silence for an answer.
        let idle = engine.is_none_or(|at| at.saturating_sub(now) > IDLE);
        let outstanding = self.parts.neighbours.waiting() > 0
            || !self.late.is_empty()
            || self.parts.links.iter().any(PacketLink::is_sending);
        let still = outstanding && (full || idle);
        self.clock.stand(real, still);
        let engine = engine.and_then(|at| self.clock.real(at));
        let neighbours = self.parts.neighbours.poll_timeout();
        match (engine, neighbours) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or(Duration::MAX),
        }
    }

    fn take(&mut self, message: ReceiverMessage) {
        match message {
            ReceiverMessage::Answers(answers) => {
                let now = self.now();
                for answer in answers {
                    self.sweep.handle(now, answer);
                }
            }
            ReceiverMessage::Neighbour { link, ip, mac } => {
                self.follow_router((link, ip), mac);
                for (probe, path) in self.parts.neighbours.learn((link, ip), mac) {
                    self.late.push_back((probe, path, mac));
                }
            }
            ReceiverMessage::Heard { number, until } => {
                self.heard[number] = until;
                if let Some(until) = self.heard.iter().min() {
                    self.sweep.heard(self.clock.now(*until));
                }
            }
            ReceiverMessage::Sent(sent) => self.sent(sent),
            ReceiverMessage::Lost(n) => self.lost(n),
            ReceiverMessage::Trouble { link, error } => {
                let name = &self.parts.links[link].device.name;
                let (interface, reason) = (name.clone(), error.to_string());
                self.note(Gap::ReceivingFailed { interface, reason });
            }
        }
    }

    /// What the cloud held back is lost on the way out or in.
    fn look_at_allowances(&mut self) {
        let now = Instant::now();
        let held: u64 = self.allowances.iter_mut().map(|w| w.look(now).unwrap_or(0)).sum();
        if held > 0 {
            self.sweep.path_lost(self.now());
        }
    }

    fn lost(&mut self, n: u64) {
        self.statistics.ring_drops += n;
        self.sweep.receive_lost(self.now(), n);
    }

    /// Hands out probes and sends them. `true`: there may be more to send at once.
    fn transmit(&mut self) -> bool {
        let now = self.now();
        let spacing = self.sweep.spacing();
        for link in &mut self.parts.links {
            link.set_spacing(spacing);
        }
        let mut more = true;
        let mut unrouted = Vec::new();
        while self.has_room()
            && let Some((probe, path, mac)) = self.late.pop_front()
        {
            self.frame(probe, path, Some(mac));
        }
        for _ in 0..PROBES_A_TURN {
            // Without a free batch there is nothing to do before a sending thread reports.
            if self.parts.neighbours.is_full() || !self.has_room() || self.is_held() {
                more = false;
                break;
            }
            let Some(probe) = self.sweep.poll_transmit(now) else {
                more = false;
                break;
            };
            if let Some(probe) = self.place(now, probe) {
                unrouted.push(probe);
            }
        }
        // All at once: the engine pauses after a failure, and one pause is enough.
        self.statistics.unrouted += unrouted.len() as u64;
        for probe in unrouted {
            self.sweep.send_failed(now, probe);
        }
        for link in 0..self.parts.links.len() {
            if let Some(filled) = self.parts.links[link].take() {
                self.hand_over(link, filled);
            }
        }
        more
    }

    /// Whether nothing new is to be asked: second looks are behind. A sweep that is stopped ends all the
    /// same.
    fn is_held(&self) -> bool {
        self.parts.beside.is_held() && !self.stopped
    }

    /// Whether a frame finds room whatever its link.
    fn has_room(&self) -> bool {
        self.parts.links.iter().all(PacketLink::has_room)
    }

    /// Finds a probe's way; gives it back if it has none.
    fn place(&mut self, now: Duration, probe: SynProbe) -> Option<SynProbe> {
        let ip = probe.endpoint.ip();
        let path =
            route::find_segment(&self.parts.segments, ip).and_then(|s| self.parts.path_of[s]);
        let Some(path) = path else { return Some(probe) };
        let mac = match self.parts.paths[path].next {
            NextFrame::Direct => None,
            NextFrame::Gateway(mac) | NextFrame::Own(mac) => Some(mac),
            NextFrame::OnLink => {
                let key = (self.parts.paths[path].link, ip);
                let real = self.begun.elapsed();
                match self.parts.neighbours.find(real, key, (probe, path)) {
                    NeighbourState::Mac(mac) => Some(mac),
                    NeighbourState::Waits => return None,
                    NeighbourState::Absent => {
                        self.statistics.unreachable += 1;
                        self.sweep.unreachable(now, probe);
                        return None;
                    }
                }
            }
        };
        self.frame(probe, path, mac);
        None
    }

    /// Builds a probe's frame and puts it into a batch, past the gate.
    fn frame(&mut self, probe: SynProbe, path: usize, mac: Option<[u8; 6]>) {
        let parts = &mut *self.parts;
        let path = &mut parts.paths[path];
        let (ip, port) = (probe.endpoint.ip(), probe.endpoint.port().get());
        let Some(source_port) = parts.ports.of_attempt(probe.attempt) else {
            // More attempts than ports were reserved for: a defect of the caller.
            self.statistics.send_failures += 1;
            self.sweep.send_failed(self.clock.now(self.begun.elapsed()), probe);
            return;
        };
        let sequence = parts.cookie.sequence(path.source, source_port, ip, port);
        let frame = path.template.frame(ip, mac, source_port, port, sequence);
        let index = path.link;
        let link = &mut parts.links[index];
        match link.push(frame, probe) {
            Ok(None) => return,
            Ok(Some(full)) => return self.hand_over(index, full),
            Err(NotPushed::Refused) => self.statistics.frames_refused_by_scope += 1,
            // Whoever calls has looked for room; a probe without it is not lost, only late.
            Err(NotPushed::Full) => self.statistics.send_failures += 1,
        }
        self.sweep.send_failed(self.clock.now(self.begun.elapsed()), probe);
    }

    /// Gives a batch to its sending thread. Never waits: a queue holds all batches of its lane.
    fn hand_over(&mut self, link: usize, filled: FrameBatch) {
        let queue = self.to_send.get(link).and_then(|lanes| lanes.get(filled.lane));
        let refused = match queue {
            Some(queue) => queue.send(filled).err().map(|e| e.0),
            None => Some(filled),
        };
        if let Some(filled) = refused {
            let error = Some(std::io::Error::other("the sending thread has ended"));
            self.sent(SentBatch { link, filled, sent: 0, error });
        }
    }

    /// A batch is back.
    fn sent(&mut self, sent: SentBatch) {
        let SentBatch { link, mut filled, sent, error } = sent;
        self.statistics.packets_sent += sent;
        self.statistics.send_failures += filled.probes.len() as u64;
        if sent > 0 {
            self.failing_since = None;
        }
        if !filled.probes.is_empty() {
            let why = error.map_or_else(|| "nothing was sent".to_owned(), |e| e.to_string());
            self.failed(link, &why, filled.probes.drain(..));
        }
        filled.batch.clear();
        self.parts.links[link].back(filled);
    }

    /// Hands back what could not be sent, and ends a sweep that can send nothing any more.
    fn failed(&mut self, link: usize, why: &str, probes: impl Iterator<Item = SynProbe>) {
        let real = self.begun.elapsed();
        let now = self.clock.now(real);
        let mut n = 0;
        for probe in probes {
            n += 1;
            self.sweep.send_failed(now, probe);
        }
        let name = self.parts.links[link].device.name.clone();
        let since = *self.failing_since.get_or_insert(real);
        if real.saturating_sub(since) >= HOPELESS && !self.stopped {
            let (interface, reason) = (name.clone(), why.to_string());
            self.note(Gap::SendingHopeless { interface, reason, seconds: HOPELESS.as_secs() });
            self.stop();
        }
        *self.failures.entry((name, why.to_owned())).or_default() += n;
    }

    /// Solicits neighbours and gives up those that do not answer.
    fn ask_neighbours(&mut self) {
        while let Some(step) = self.parts.neighbours.poll(self.begun.elapsed()) {
            match step {
                NeighbourStep::Solicit((link, ip)) => self.solicit(link, ip),
                NeighbourStep::Unreachable(_, waiting) => {
                    let now = self.now();
                    self.statistics.unreachable += waiting.len() as u64;
                    for (probe, _) in waiting {
                        self.sweep.unreachable(now, probe);
                    }
                }
                NeighbourStep::Fallback(_, mac, waiting) => {
                    self.late.extend(waiting.into_iter().map(|(probe, path)| (probe, path, mac)));
                }
            }
        }
    }

    /// Second looks leave beside the sweep, and count toward its rate.
    fn count_beside(&mut self) {
        let packets = self.parts.beside.take();
        if packets > 0 {
            let now = self.now();
            self.sweep.sent_beside(now, packets);
        }
    }

    /// Asks the routers who they are now.
    fn ask_routers(&mut self) {
        let real = self.begun.elapsed();
        if real < self.ask_routers || self.stopped {
            return;
        }
        self.ask_routers = real + ROUTERS;
        let mut routers: Vec<_> = self.parts.gateways.iter().map(|(_, key)| *key).collect();
        routers.sort_unstable();
        routers.dedup();
        for (link, ip) in routers {
            // A router is on the link, and what is asked is who it is.
            if matches!(self.parts.links[link].solicit(ip), Ok(SolicitedNeighbour::Sent)) {
                self.statistics.solicitations += 1;
                let now = self.now();
                self.sweep.sent_beside(now, 1);
            }
        }
    }

    /// Somebody says which Ethernet address is a router's, asked or not: the kernel believes it, too.
    fn follow_router(&mut self, key: NeighbourKey, mac: [u8; 6]) {
        if mac[0] & 1 == 1 || mac == [0; 6] {
            return;
        }
        let mut changed = false;
        for (path, router) in &self.parts.gateways {
            let next = &mut self.parts.paths[*path].next;
            if *router == key && *next != NextFrame::Gateway(mac) {
                *next = NextFrame::Gateway(mac);
                changed = true;
            }
        }
        if changed {
            self.note(Gap::RouterChanged { router: key.1.to_string() });
        }
    }

    /// Sends a solicitation. A neighbour that could not be asked is not taken for absent: what waits
    /// for it has failed.
    fn solicit(&mut self, link: usize, ip: IpAddr) {
        let why = match self.parts.links[link].solicit(ip) {
            Ok(SolicitedNeighbour::Sent) => {
                self.statistics.solicitations += 1;
                self.failing_since = None;
                let now = self.now();
                self.sweep.sent_beside(now, 1);
                return;
            }
            Ok(SolicitedNeighbour::Refused) => {
                self.statistics.frames_refused_by_scope += 1;
                "not in the scope".to_owned()
            }
            Ok(SolicitedNeighbour::NoAddress) => "no address to ask for neighbours from".to_owned(),
            Err(e) => e.to_string(),
        };
        let waiting = self.parts.neighbours.withdraw((link, ip));
        self.statistics.send_failures += waiting.len() as u64;
        self.failed(link, &why, waiting.into_iter().map(|(probe, _)| probe));
    }

    fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        let now = self.now();
        for (probe, _) in self.parts.neighbours.give_up() {
            self.sweep.send_failed(now, probe);
        }
        for (probe, ..) in self.late.drain(..) {
            self.sweep.send_failed(now, probe);
        }
        self.sweep.stop(now);
    }

    fn note(&mut self, gap: Gap) {
        if !self.statistics.gaps.contains(&gap) {
            self.statistics.gaps.push(gap);
        }
    }

    fn finish(mut self) -> PacketStatistics {
        self.statistics.seconds = self.begun.elapsed().as_secs_f64();
        let failures = std::mem::take(&mut self.failures);
        for ((interface, why), n) in failures {
            self.note(Gap::SendsFailed { interface, sends: n, reason: why });
        }
        if self.statistics.frames_refused_by_scope > 0 {
            self.note(Gap::FramesRefused { frames: self.statistics.frames_refused_by_scope });
        }
        for watch in &self.allowances {
            self.statistics.gaps.extend(watch.gaps());
        }
        let mut gaps = self.parts.gaps.clone();
        gaps.append(&mut self.statistics.gaps);
        self.statistics.gaps = gaps;
        self.statistics
    }
}
