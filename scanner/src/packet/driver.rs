//! The loop: what the engine wants sent goes out, what comes back goes to the engine.
//!
//! One thread sends and drives the engine (the caller's), one thread a link receives. The sending
//! thread sleeps on the channel of answers until the next deadline; it never spins.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use mimawari_engine::{Event, Probe, Progress, Sweep};

use super::clock::EngineClock;
use super::link::{Next, Solicited};
use super::neighbour::{Found, Step};
use super::receiver::{self, Message, Receiver};
use super::{PacketError, PacketStatistics, PacketSweep, frame, route};

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
/// When the engine has nothing to send for longer than this, it waits for answers, not for its rate.
const IDLE: Duration = Duration::from_millis(100);

impl PacketSweep {
    /// Runs the sweep to its end. `stop`, or a `Break` from `on_event`, ends it early: nothing more is
    /// sent, late answers are waited for, every cell is still reported. `on_tick` is called about four
    /// times a second.
    ///
    /// # Errors
    /// When a receiving thread cannot be started. What goes wrong on the way does not end the run: it
    /// is counted, noted, and shows in the states of the cells.
    pub fn run(
        &mut self,
        sweep: &mut Sweep,
        stop: &AtomicBool,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
        on_tick: &mut dyn FnMut(&Progress),
    ) -> Result<PacketStatistics, PacketError> {
        let (out, messages) = mpsc::sync_channel(receiver::CHANNEL);
        let done = AtomicBool::new(false);
        // The rings go to their threads for as long as the run takes.
        let mut receiving = std::mem::take(&mut self.receiving);
        let cookie = self.cookie.clone();
        let (first_port, ports) = (self.ports.first(), self.ports.width());
        let result = std::thread::scope(|scope| {
            // Also when a callback panics: the scope waits for its threads.
            let _end = SetOnDrop(&done);
            for (link, receiving) in receiving.iter_mut().enumerate() {
                let receiver = Receiver {
                    link,
                    receiving,
                    cookie: &cookie,
                    first_port,
                    ports,
                    out: out.clone(),
                    done: &done,
                };
                let started = std::thread::Builder::new()
                    .name(format!("receive-{link}"))
                    .spawn_scoped(scope, move || receiver.run());
                if let Err(e) = started {
                    return Err(PacketError::io("starting a receiving thread", e));
                }
            }
            drop(out);
            let mut run = Run {
                begun: Instant::now(),
                clock: EngineClock::default(),
                statistics: PacketStatistics::default(),
                failures: BTreeMap::new(),
                failing_since: None,
                stopped: false,
                parts: self,
                sweep,
            };
            run.go(stop, &messages, on_event, on_tick);
            done.store(true, Ordering::Release);
            // The threads' last counts; then they have all hung up.
            while let Ok(message) = messages.recv() {
                if let Message::Lost(n) = message {
                    run.lost(n);
                }
            }
            Ok(run.finish())
        });
        self.receiving = receiving;
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
struct Run<'a> {
    begun: Instant,
    clock: EngineClock,
    statistics: PacketStatistics,
    /// Failures of sends by interface and reason.
    failures: BTreeMap<(String, String), u64>,
    failing_since: Option<Duration>,
    stopped: bool,
    parts: &'a mut PacketSweep,
    sweep: &'a mut Sweep,
}

impl Run<'_> {
    fn go(
        &mut self,
        stop: &AtomicBool,
        messages: &mpsc::Receiver<Message>,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
        on_tick: &mut dyn FnMut(&Progress),
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
                on_tick(&self.sweep.progress());
            }
            if more {
                continue;
            }
            let wake = self.deadline(real).min(next_tick).min(real + LONGEST_SLEEP);
            match messages.recv_timeout(wake.saturating_sub(self.begun.elapsed())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                // All receiving threads have ended, which they do not by themselves; without the
                // channel there is nothing to sleep on.
                Err(RecvTimeoutError::Disconnected) => {
                    self.note("Receiving ended before its time.");
                    self.stop();
                    std::thread::sleep(wake.saturating_sub(self.begun.elapsed()));
                }
            }
        }
        on_tick(&self.sweep.progress());
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
        let still = self.parts.neighbours.waiting() > 0 && (full || idle);
        self.clock.stand(real, still);
        let engine = engine.and_then(|at| self.clock.real(at));
        let neighbours = self.parts.neighbours.poll_timeout();
        match (engine, neighbours) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or(Duration::MAX),
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Answers(answers) => {
                let now = self.now();
                for answer in answers {
                    self.sweep.handle(now, answer);
                }
            }
            Message::Neighbour { link, ip, mac } => {
                for (probe, path) in self.parts.neighbours.learn((link, ip), mac) {
                    self.frame(probe, path, Some(mac));
                }
            }
            Message::Lost(n) => self.lost(n),
            Message::Trouble { link, error } => {
                let name = &self.parts.links[link].device.name;
                self.note(&format!("Receiving on {name} failed for a time: {error}."));
            }
        }
    }

    fn lost(&mut self, n: u64) {
        self.statistics.ring_drops += n;
        self.sweep.receive_lost(self.now(), n);
    }

    /// Hands out probes and sends them. `true`: there may be more to send at once.
    fn transmit(&mut self) -> bool {
        let now = self.now();
        let mut more = true;
        let mut unrouted = Vec::new();
        for _ in 0..PROBES_A_TURN {
            if self.parts.neighbours.is_full() {
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
            self.flush(link);
        }
        more
    }

    /// Finds a probe's way; gives it back if it has none.
    fn place(&mut self, now: Duration, probe: Probe) -> Option<Probe> {
        let ip = probe.endpoint.ip();
        let path = route::position(&self.parts.segments, ip).and_then(|s| self.parts.path_of[s]);
        let Some(path) = path else { return Some(probe) };
        let mac = match self.parts.paths[path].next {
            Next::Direct => None,
            Next::Gateway(mac) => Some(mac),
            Next::OnLink => {
                let key = (self.parts.paths[path].link, ip);
                let real = self.begun.elapsed();
                match self.parts.neighbours.find(real, key, (probe, path)) {
                    Found::Mac(mac) => Some(mac),
                    Found::Waits => return None,
                    Found::Absent => {
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

    /// Builds a probe's frame, looks once more where it goes, and puts it into the batch.
    fn frame(&mut self, probe: Probe, path: usize, mac: Option<[u8; 6]>) {
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
        let link = &mut parts.links[path.link];
        let permitted = frame::destination(frame, link.is_ethernet())
            .is_some_and(|to| to == ip && self.sweep.walk().allows(&parts.scope, to));
        if !permitted {
            self.statistics.frames_refused_by_scope += 1;
            self.sweep.send_failed(self.clock.now(self.begun.elapsed()), probe);
            return;
        }
        if link.push(frame, probe) {
            return;
        }
        // Full: send what there is, and then this.
        let again = frame.to_vec();
        let index = path.link;
        self.flush(index);
        if !self.parts.links[index].push(&again, probe) {
            // Longer than a batch takes, which no SYN is.
            self.statistics.send_failures += 1;
            self.sweep.send_failed(self.now(), probe);
        }
    }

    fn flush(&mut self, index: usize) {
        let link = &mut self.parts.links[index];
        if link.is_empty() {
            return;
        }
        let flushed = link.flush();
        self.statistics.packets_sent += flushed.sent;
        self.statistics.send_failures += flushed.failed.len() as u64;
        if flushed.sent > 0 {
            self.failing_since = None;
        }
        if !flushed.failed.is_empty() {
            let why =
                flushed.error.map_or_else(|| "nothing was sent".to_owned(), |e| e.to_string());
            self.failed(index, &why, flushed.failed.into_iter());
        }
    }

    /// Hands back what could not be sent, and ends a sweep that can send nothing any more.
    fn failed(&mut self, link: usize, why: &str, probes: impl Iterator<Item = Probe>) {
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
            self.note(&format!(
                "Nothing could be sent for {} seconds (interface {name}: {why}); the sweep was \
                 stopped, and the cells left were not probed.",
                HOPELESS.as_secs()
            ));
            self.stop();
        }
        *self.failures.entry((name, why.to_owned())).or_default() += n;
    }

    /// Solicits neighbours and gives up those that do not answer.
    fn ask_neighbours(&mut self) {
        while let Some(step) = self.parts.neighbours.poll(self.begun.elapsed()) {
            match step {
                Step::Solicit((link, ip)) => self.solicit(link, ip),
                Step::Unreachable(_, waiting) => {
                    let now = self.now();
                    self.statistics.unreachable += waiting.len() as u64;
                    for (probe, _) in waiting {
                        self.sweep.unreachable(now, probe);
                    }
                }
                Step::Fallback(_, mac, waiting) => {
                    for (probe, path) in waiting {
                        self.frame(probe, path, Some(mac));
                    }
                }
            }
        }
    }

    /// Sends a solicitation. A neighbour that could not be asked is not taken for absent: what waits
    /// for it has failed.
    fn solicit(&mut self, link: usize, ip: IpAddr) {
        let parts = &mut *self.parts;
        let walk = self.sweep.walk();
        let permitted = |asked| asked == ip && walk.allows(&parts.scope, asked);
        let why = match parts.links[link].solicit(ip, permitted) {
            Ok(Solicited::Sent) => {
                self.statistics.solicitations += 1;
                self.failing_since = None;
                return;
            }
            Ok(Solicited::Refused) => {
                self.statistics.frames_refused_by_scope += 1;
                "not in the scope".to_owned()
            }
            Ok(Solicited::NoAddress) => "no address to ask for neighbours from".to_owned(),
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
        self.sweep.stop(now);
    }

    fn note(&mut self, note: &str) {
        if !self.statistics.notes.iter().any(|n| n == note) {
            self.statistics.notes.push(note.to_owned());
        }
    }

    fn finish(mut self) -> PacketStatistics {
        self.statistics.seconds = self.begun.elapsed().as_secs_f64();
        let failures = std::mem::take(&mut self.failures);
        for ((interface, why), n) in failures {
            self.note(&format!("{n} sends on {interface} failed: {why}."));
        }
        if self.statistics.frames_refused_by_scope > 0 {
            self.note(&format!(
                "{} frames for addresses outside the scope were held back: this is a defect, please \
                 report it.",
                self.statistics.frames_refused_by_scope
            ));
        }
        let mut notes = self.parts.notes.clone();
        notes.append(&mut self.statistics.notes);
        self.statistics.notes = notes;
        self.statistics
    }
}
