//! The sweep itself: chunks, passes and answers.

mod summary;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use mimawari_probes::observation::CellState;
use mimawari_targets::{AddrSet, Endpoint, PlanOrder};

use crate::backoff::AttemptBackoff;
use crate::ceiling::HostCeilings;
use crate::checkpoint::{CheckpointError, SweepCheckpoint};
use crate::chunk::{CellChange, ChunkWork, MarkStorage, ReportedCells, ResumeFailure};
use crate::estimate::{CellClass, LossPool};
use crate::outage::{AnswerShare, DISBELIEVED, SilentStretch};
use crate::pacing::PacketPacer;
use crate::rate::RateControl;
use crate::spacing::FrameSpacing;
use crate::types::{
    ChunkResult, ProbeAnswer, ProbeReply, SweepConfig, SweepEvent, SweepProgress, SynProbe,
};

/// Chunks in work at once: while one waits for answers, the next ones are being sent.
const IN_WORK: usize = 4;
/// Attempts that wait for the ceilings of their hosts, at most.
const PARKED: usize = 4096;
/// How often a chunk is looked at whose answers may not have been told yet.
const UNHEARD: Duration = Duration::from_millis(10);
/// How often a stretch with too few answers is asked again: for about a minute; and after an outage
/// that did not end within that.
const ASKED_AGAIN: (u8, u8) = (6, 2);
/// Reported chunks that late answers can still amend.
const REMEMBERED: usize = 8;

/// While frames are spaced, as at the beginning and on a path that polices, a sweep has about so many
/// chunks at least, so that first attempts are left to judge the rate by nearly until its end; but none
/// takes less than so many seconds to send, since answers are waited for about a second, or is smaller
/// than this.
const CHUNKS: u64 = 8;
const CHUNK_SECONDS: u64 = 2;
const SMALL_CHUNK: u64 = 1 << 16;
/// After so many repetitions a first attempt is sent, where there is one.
const FIRST_AMONG: u8 = 7;

/// What a look for the next cell came to.
enum NextCell {
    Probe(SynProbe),
    /// Something changed: look again.
    Again,
    /// No chunk in work has a cell to send.
    Exhausted,
}

/// One walk being swept.
///
/// The walk is cut into chunks of consecutive steps. A chunk is sent in passes: the first to all
/// of its cells, each further one to those still silent, at least `spacing` after the last send of
/// the pass before. After the last pass answers are waited for one more `spacing`, then the
/// chunk's states are reported. How many passes a chunk gets is decided from the loss that the
/// answers show; see [`estimate`](crate::estimate). While a chunk waits, the next one is sent;
/// retransmissions go before new cells.
///
/// Memory: 2 bytes a cell for up to 4 chunks in work, 1 byte for the 8 reported last. An answer
/// that comes after that many further chunks have been reported is ignored.
#[derive(Debug)]
pub struct SweepEngine {
    walk: PlanOrder,
    cells: u64,
    config: SweepConfig,
    pacer: PacketPacer,
    /// The burst is chosen from the rate, and follows it.
    own_burst: bool,
    /// The driver spaces the frames of a batch.
    spaced_by_driver: bool,
    /// Probes since one was taken from the newest chunk.
    repeated: u8,
    rate: RateControl,
    ceilings: HostCeilings,
    /// Attempts that wait for the ceilings of their hosts: when, step, attempt.
    parked: BinaryHeap<Reverse<(Duration, u64, u8)>>,
    backoff: AttemptBackoff,
    clock: Duration,
    work: VecDeque<ChunkWork>,
    reported: VecDeque<ReportedCells>,
    spare: Vec<MarkStorage>,
    /// The first step that is in no chunk yet.
    next_step: u64,
    events: VecDeque<SweepEvent>,
    /// The loss seen in chunks that are no longer remembered.
    forgotten: LossPool,
    /// Cells by [`CellState`]. Answered cells count at once, silent ones when reported.
    states: [u64; 5],
    finished: u64,
    sent: u64,
    send_failures: u64,
    receive_lost: u64,
    attempts: u8,
    /// Chunks that had the most attempts and still may miss too much.
    broken: u64,
    /// Addresses that must not be asked, and their cells so far.
    without: AddrSet,
    excluded: u64,
    /// Addresses to which no packet of ours can leave.
    unrouted: AddrSet,
    /// What answered in the chunks that are reported, outside of outages.
    usual: [AnswerShare; 2],
    /// Stretches whose silence was not believed, and the silent cells in them.
    outages: (u64, u64),
    /// Everything that arrived before this time has been told; `None`: the driver does not say.
    heard: Option<Duration>,
    /// When a stopped sweep ends.
    stop_at: Option<Duration>,
    /// A stopped sweep has ended; what was never begun is reported as the events are read.
    closed: bool,
    gave_up: bool,
}

impl SweepEngine {
    /// A sweep of `walk`. Values of `config` outside their range are moved to the nearest inside.
    #[must_use]
    pub fn new(walk: PlanOrder, config: SweepConfig) -> Self {
        let own_burst = config.burst == 0;
        let config = config.clamped();
        let rate = RateControl::new(config.rate, config.auto);
        Self {
            cells: walk.len(),
            walk,
            pacer: PacketPacer::new(
                rate.get(),
                if own_burst { rate.burst() } else { config.burst },
            ),
            own_burst,
            spaced_by_driver: false,
            repeated: 0,
            rate,
            ceilings: HostCeilings::new(config.per_host, config.per_network),
            parked: BinaryHeap::new(),
            config,
            backoff: AttemptBackoff::default(),
            clock: Duration::ZERO,
            work: VecDeque::new(),
            reported: VecDeque::new(),
            spare: Vec::new(),
            next_step: 0,
            events: VecDeque::new(),
            forgotten: LossPool::default(),
            states: [0; 5],
            finished: 0,
            sent: 0,
            send_failures: 0,
            receive_lost: 0,
            attempts: 0,
            broken: 0,
            without: AddrSet::default(),
            excluded: 0,
            unrouted: AddrSet::default(),
            usual: [AnswerShare::default(); 2],
            outages: (0, 0),
            heard: None,
            stop_at: None,
            closed: false,
            gave_up: false,
        }
    }

    /// A sweep that goes on where another one was when it made its [`checkpoint`](Self::checkpoint).
    ///
    /// # Errors
    /// [`CheckpointError`] when the checkpoint is not of this walk, or contradicts itself.
    pub fn resume(
        walk: PlanOrder,
        config: SweepConfig,
        point: &SweepCheckpoint,
    ) -> Result<Self, CheckpointError> {
        point.check(&walk)?;
        let mut sweep = Self::new(walk, config);
        for chunk in &point.chunks {
            sweep.work.push_back(ChunkWork::resume(chunk).ok_or(CheckpointError::Damaged)?);
        }
        sweep.next_step = point.next_step;
        sweep.finished = point.finished;
        sweep.states = point.states;
        sweep.sent = point.sent;
        sweep.send_failures = point.send_failures;
        sweep.receive_lost = point.receive_lost;
        sweep.attempts = point.attempts;
        sweep.broken = point.broken;
        sweep.forgotten = point.pool;
        Ok(sweep)
    }

    /// What another process needs to go on from here; `None` once the sweep has ended. Events must
    /// have been read before: what they told is not in it.
    #[must_use]
    pub fn checkpoint(&self) -> Option<SweepCheckpoint> {
        if self.closed || self.is_finished() || !self.events.is_empty() {
            return None;
        }
        let mut pool = self.forgotten;
        for reported in &self.reported {
            reported.add_to(&mut pool);
        }
        Some(SweepCheckpoint {
            cells: self.cells,
            next_step: self.next_step,
            finished: self.finished,
            states: self.states,
            sent: self.sent,
            send_failures: self.send_failures,
            receive_lost: self.receive_lost,
            attempts: self.attempts,
            broken: self.broken,
            pool,
            chunks: self.work.iter().map(|w| w.checkpoint(self.clock)).collect(),
        })
    }

    /// Takes addresses out of the walk: nothing is sent to them from now on, and their cells that are
    /// not decided yet end as not probed.
    pub fn exclude(&mut self, addresses: AddrSet) {
        self.without = addresses;
    }

    /// Leaves out addresses to which no packet can leave: their cells end as not probed, and the others
    /// are not slowed by sends that fail.
    pub fn leave_unrouted(&mut self, addresses: AddrSet) {
        self.unrouted = addresses;
    }

    /// The driver spaces the frames of a batch by itself, as [`Self::spacing`] says; the batches that it
    /// is given are a millisecond's worth all the same.
    pub fn space_by_driver(&mut self) {
        self.spaced_by_driver = true;
        let burst = self.pacer_burst();
        self.pacer.set_burst(self.clock, burst);
    }

    /// How frames are to be spaced within a batch; `None`: not at all.
    #[must_use]
    pub fn spacing(&self) -> Option<FrameSpacing> {
        if self.own_burst { self.rate.spacing() } else { None }
    }

    fn pacer_burst(&self) -> u32 {
        if !self.own_burst {
            self.config.burst
        } else if self.spaced_by_driver {
            SweepConfig::burst_for(self.rate.get())
        } else {
            self.rate.burst()
        }
    }

    /// The walk.
    #[must_use]
    pub const fn walk(&self) -> &PlanOrder {
        &self.walk
    }

    /// The next probe to send, or `None` when none may leave now. A returned probe counts as sent
    /// at `now` unless [`Self::send_failed`] says otherwise.
    ///
    /// Also moves everything on that waits for time to pass, so it is to be called whenever
    /// [`Self::poll_timeout`] is reached.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<SynProbe> {
        let now = self.tick(now);
        if self.closed {
            return None;
        }
        if let Some(end) = self.stop_at {
            if now >= end {
                self.close();
            }
            return None;
        }
        loop {
            self.settle(now);
            if now < self.backoff.until() || !self.pacer.ready(now) {
                return None;
            }
            if self.backoff.hopeless(now) {
                self.gave_up = true;
                self.stop(now);
                return None;
            }
            if let Some(Reverse((at, step, attempt))) = self.parked.peek().copied()
                && at <= now
            {
                self.parked.pop();
                if self.ceilings.is_missed(at, now)
                    && let Some(endpoint) = self.walk.endpoint(step)
                {
                    let again = self.ceilings.reserve(now, endpoint.ip());
                    if again > now {
                        self.parked.push(Reverse((again, step, attempt)));
                        continue;
                    }
                }
                if let Some(probe) = self.unpark(now, step, attempt) {
                    return Some(probe);
                }
                continue;
            }
            if self.parked.len() >= PARKED {
                return None;
            }
            match self.take_next(now)? {
                NextCell::Probe(probe) => return Some(probe),
                NextCell::Again => {}
                NextCell::Exhausted => {
                    if !self.open_chunk(now) {
                        return None;
                    }
                }
            }
        }
    }

    /// Looks for the next cell of the chunks in work. `None`: a step is not of the walk, which
    /// cannot be, and nothing may be sent for it.
    fn take_next(&mut self, now: Duration) -> Option<NextCell> {
        let mut pass_ended = false;
        // First attempts are what the rate is judged by: while others are repeated, there are some.
        let wants_first = self.repeated >= FIRST_AMONG && self.prepare_first(now);
        for work in &mut self.work {
            if !work.has_next() || wants_first && work.pass() > 1 {
                continue;
            }
            let Some(step) = work.next() else {
                pass_ended |= work.is_waiting();
                continue;
            };
            let endpoint = self.walk.endpoint(step)?;
            if !self.without.is_empty() && self.without.contains(endpoint.ip()) {
                work.exclude();
                self.excluded += 1;
                return Some(NextCell::Again);
            }
            if !self.unrouted.is_empty() && self.unrouted.contains(endpoint.ip()) {
                work.exclude();
                return Some(NextCell::Again);
            }
            let at = self.ceilings.reserve(now, endpoint.ip());
            if at > now {
                self.parked.push(Reverse((at, step, work.park())));
                return Some(NextCell::Again);
            }
            let (attempt, fresh) = work.sent(now);
            self.repeated = if attempt == 1 { 0 } else { self.repeated.saturating_add(1) };
            self.count_sent(now, step, attempt, fresh);
            return Some(NextCell::Probe(SynProbe { step, endpoint, attempt }));
        }
        // A pass without a single send has nothing to wait for: settle again at once.
        Some(if pass_ended { NextCell::Again } else { NextCell::Exhausted })
    }

    /// Makes sure that there is a chunk whose first attempts are not all sent. Whether there is one.
    fn prepare_first(&mut self, now: Duration) -> bool {
        self.work.iter().any(|w| w.pass() == 1 && w.has_next()) || self.open_chunk(now)
    }

    fn unpark(&mut self, now: Duration, step: u64, attempt: u8) -> Option<SynProbe> {
        let work = self.work.iter_mut().find(|w| w.holds(step))?;
        let fresh = work.unpark(step, attempt, now)?;
        let endpoint = self.walk.endpoint(step)?;
        self.count_sent(now, step, attempt, fresh);
        Some(SynProbe { step, endpoint, attempt })
    }

    #[inline]
    fn count_sent(&mut self, now: Duration, step: u64, attempt: u8, fresh: bool) {
        self.pacer.take(now);
        self.backoff.handed(fresh);
        if attempt == 1 {
            self.rate.sent_first(now, step, self.sent);
        }
        self.sent += 1;
        self.attempts = self.attempts.max(attempt);
    }

    /// Packets have left beside the sweep, such as a question to a neighbour or a second look: they
    /// count toward the rate.
    pub fn sent_beside(&mut self, now: Duration, packets: u64) {
        let now = self.tick(now);
        self.pacer.charge(now, packets);
    }

    /// The driver could not send this probe. It is tried again, after a pause that grows while
    /// nothing gets through; a cell whose sends fail 10 times ends as not probed. When no send at
    /// all succeeds for half a minute, the sweep stops by itself.
    pub fn send_failed(&mut self, now: Duration, probe: SynProbe) {
        let now = self.tick(now);
        let failure = self.with_chunk(
            probe.step,
            |work| work.send_failed(probe.step, probe.attempt),
            |reported| reported.send_failed(probe.step, probe.attempt),
        );
        match failure {
            None | Some(ResumeFailure::Unknown) => return,
            Some(ResumeFailure::Noted) => {}
            Some(ResumeFailure::Retracted) => {
                self.states[CellState::Silent as usize] -= 1;
                let state = CellState::NotProbed;
                self.events.push_back(SweepEvent::Amended { step: probe.step, state });
            }
        }
        self.backoff.failed(now);
        self.send_failures += 1;
        self.sent = self.sent.saturating_sub(1);
    }

    /// The driver knows that nobody has this address on the link: the neighbour did not answer
    /// ARP (RFC 826) or neighbour solicitations (RFC 4861). The probe counts as sent and
    /// unanswered, which is what a router in the way would have made of it.
    pub fn unreachable(&mut self, now: Duration, probe: SynProbe) {
        // It counted as sent when it was handed out.
        self.tick(now);
        debug_assert!(probe.step < self.next_step);
    }

    /// An answer came. Answers to what was never sent, to cells outside the walk, and answers that
    /// say nothing new are ignored.
    pub fn handle(&mut self, now: Duration, answer: ProbeAnswer) {
        self.tick(now);
        let ProbeAnswer { ip, port, attempt, reply, .. } = answer;
        let Some(step) = self.walk.step_of(ip, port) else {
            return;
        };
        let mut late = false;
        let change = self.with_chunk(
            step,
            |work| work.answer(step, attempt, reply),
            |reported| {
                late = true;
                reported.answer(step, attempt, reply)
            },
        );
        let Some(Some(CellChange { from, to })) = change else {
            return;
        };
        // Cells that are not yet answered count nowhere before their chunk is reported.
        if from != CellState::NotProbed {
            self.states[from as usize] -= 1;
        }
        self.states[to as usize] += 1;
        if attempt == 1 && from < CellState::Prohibited {
            self.rate.answered_first(step);
        }
        if let Some(endpoint) = self.walk.endpoint(step) {
            self.report_reply(endpoint, answer);
        }
        if late {
            self.events.push_back(SweepEvent::Amended { step, state: to });
        }
    }

    fn report_reply(&mut self, endpoint: Endpoint, answer: ProbeAnswer) {
        let ProbeAnswer { attempt, reply, ttl, signs, .. } = answer;
        self.events.push_back(match reply {
            ProbeReply::SynAck => SweepEvent::Open { endpoint, attempt, ttl, signs },
            ProbeReply::Prohibited => SweepEvent::Prohibited { endpoint, attempt, ttl },
            ProbeReply::Rst => return,
        });
    }

    /// When [`Self::poll_transmit`] is to be called next: it may be past, which means now. `None`
    /// when there is nothing to wait for; then only events remain to be read.
    ///
    /// After `poll_transmit` returned `None`, this is later than the `now` given to it, so a driver
    /// that sleeps until then does not spin.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.closed {
            return None;
        }
        if self.stop_at.is_some() {
            return self.stop_at;
        }
        let parked = self.parked.peek().map(|Reverse((at, ..))| *at);
        let sending = self.parked.len() < PARKED
            && (self.can_open_chunk() || self.work.iter().any(ChunkWork::has_next));
        let due = if sending { Some(Duration::ZERO) } else { parked };
        let send = due.map(|at| at.max(self.pacer.next()).max(self.backoff.until()));
        // A chunk that waits to be heard is looked at again when it is, or a little later.
        let settle = self.work.iter().filter(|w| w.is_waiting()).map(|w| {
            let at = self.settled_at(w);
            if at > self.clock { at } else { self.clock.saturating_add(UNHEARD) }
        });
        let settle = settle.min();
        match (send, settle) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// What there is to report, oldest first. To be drained after every other call.
    pub fn poll_event(&mut self) -> Option<SweepEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if !self.closed || self.next_step >= self.cells {
            return None;
        }
        // A walk may have 2^48 cells: what was never begun is told chunk by chunk.
        let len = self.next_len();
        let first_step = self.next_step;
        self.next_step += u64::from(len);
        self.finished += u64::from(len);
        let states = vec![CellState::NotProbed; len as usize];
        Some(SweepEvent::Chunk(ChunkResult { first_step, states }))
    }

    /// Ends the sweep early: nothing more is sent, answers are taken for one more `spacing`. Cells
    /// without an answer that did not get all their attempts end as not probed. Every step is
    /// still reported. A second call changes nothing.
    pub fn stop(&mut self, now: Duration) {
        let now = self.tick(now);
        if self.stop_at.is_none() && !self.is_finished() {
            let wait = if self.work.is_empty() { Duration::ZERO } else { self.config.spacing };
            self.stop_at = Some(now.saturating_add(wait));
        }
    }

    /// The receiving side lost `n` frames (a full ring). The rate goes down for a while.
    pub fn receive_lost(&mut self, now: Duration, n: u64) {
        let now = self.tick(now);
        if n > 0 {
            self.receive_lost = self.receive_lost.saturating_add(n);
            if let Some(rate) = self.rate.lost(now) {
                self.set_rate(now, rate);
            }
        }
    }

    /// The way out lost packets, as counters of the interface or the network say. The rate goes down
    /// for a while.
    pub fn path_lost(&mut self, now: Duration) {
        let now = self.tick(now);
        if let Some(rate) = self.rate.lost(now) {
            self.set_rate(now, rate);
        }
    }

    /// The driver has reported everything that arrived before `at`. A driver that reads answers in a
    /// thread of its own must say so from time to time: when that thread gets no processor, the
    /// answers are there and have not been told, and no cell may be called silent meanwhile.
    pub fn heard(&mut self, at: Duration) {
        self.heard = self.heard.max(Some(at));
    }

    /// Whether every step has been reported and every event read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_finished() && self.events.is_empty()
    }

    fn is_finished(&self) -> bool {
        self.work.is_empty() && self.next_step >= self.cells
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> SweepProgress {
        let in_work: u64 = self.work.iter().map(|w| w.tally().any.iter().sum::<u64>()).sum();
        SweepProgress {
            cells: self.cells,
            finished: self.finished + in_work,
            sent: self.sent,
            answered: self.answered(),
            open: self.states[CellState::Open as usize],
            attempt: self.work.front().map_or(0, ChunkWork::pass),
            rate: self.rate.get(),
            lost: self.receive_lost,
        }
    }

    fn answered(&self) -> u64 {
        [CellState::Open, CellState::Closed, CellState::Prohibited]
            .iter()
            .map(|s| self.states[*s as usize])
            .sum()
    }

    fn set_rate(&mut self, now: Duration, rate: u32) {
        self.pacer.set_rate(now, rate);
        // A burst that suited the ceiling would overrun a slower path's queue at every pass in the
        // same place.
        let burst = self.pacer_burst();
        self.pacer.set_burst(now, burst);
    }

    /// Takes the time. A clock that steps back stands still.
    fn tick(&mut self, now: Duration) -> Duration {
        self.clock = self.clock.max(now);
        if self.rate.is_due(self.clock) {
            let changed = self.rate.tick(self.clock, self.sent, !self.has_first_attempts());
            if let Some(rate) = changed {
                self.set_rate(self.clock, rate);
            }
        }
        self.clock
    }

    #[inline]
    fn with_chunk<T>(
        &mut self,
        step: u64,
        in_work: impl FnOnce(&mut ChunkWork) -> T,
        reported: impl FnOnce(&mut ReportedCells) -> T,
    ) -> Option<T> {
        if let Some(work) = self.work.iter_mut().find(|w| w.holds(step)) {
            return Some(in_work(work));
        }
        self.reported.iter_mut().find(|r| r.holds(step)).map(reported)
    }

    fn settled_at(&self, work: &ChunkWork) -> Duration {
        work.last_send().saturating_add(self.config.spacing * work.patience())
    }

    /// Whether the answers to everything sent of a waiting chunk have had their time.
    fn is_settled(&self, work: &ChunkWork, now: Duration) -> bool {
        let at = self.settled_at(work);
        now >= at && self.heard.is_none_or(|heard| heard >= at)
    }

    /// Decides about chunks whose answers have had their time.
    fn settle(&mut self, now: Duration) {
        let mut i = 0;
        while let Some(work) = self.work.get(i) {
            if !work.is_waiting() || !self.is_settled(work, now) {
                i += 1;
                continue;
            }
            if let Some(rounds) = work.doubted() {
                i += usize::from(!self.conclude(i, rounds));
                continue;
            }
            if work.sampling() > 0 {
                let rounds = work.pass() - 1;
                let (tally, silent, stride) = (work.tally(), work.remaining(), work.sampling());
                let promise = self.config.recall;
                if self.pool().sample_suffices(tally, rounds, silent, stride, promise) {
                    i += usize::from(!self.conclude(i, rounds));
                } else {
                    self.work[i].ask_the_others();
                    i += 1;
                }
                continue;
            }
            self.note_spoiled(i, now);
            let Some(work) = self.work.get(i) else { return };
            let enough = self.enough(work);
            let rounds = work.pass();
            if enough || rounds >= self.config.max_attempts {
                self.broken += u64::from(!enough);
                i += usize::from(!self.conclude(i, rounds));
            } else {
                let sample = if rounds >= self.config.min_attempts {
                    self.pool().sample(work.tally(), rounds, self.config.recall)
                } else {
                    0
                };
                self.work[i].begin_next_pass(sample);
                i += 1;
            }
        }
    }

    /// Takes note of the attempts of a settled chunk that were lost to a rate which the path does not
    /// carry, and lowers the rate if its last repetition shows that it is still too high.
    fn note_spoiled(&mut self, i: usize, now: Duration) {
        let Some(work) = self.work.get_mut(i) else { return };
        let rounds = work.pass();
        // Without it, loss that a repetition shows is of the path's own, and each attempt counts.
        let congested = self.rate.facts.congested > 0;
        if congested {
            work.spoil(1);
        }
        let caught = |pass: u8| {
            let index = usize::from(pass).checked_sub(1);
            index.and_then(|n| work.tally().tcp.get(n)).copied().unwrap_or(0)
        };
        let (before, last) = (caught(rounds.saturating_sub(1)), caught(rounds));
        let Some(since) = work.pass_before_began() else { return };
        // What this pass brought was lost by the one before.
        if congested && self.rate.was_lowered_since(since) && RateControl::is_lossy(before, last) {
            work.spoil(rounds - 1);
        }
        if let Some(rate) = self.rate.repeated(now, since, before, last) {
            if congested {
                work.spoil(rounds);
            }
            self.set_rate(now, rate);
        }
    }

    /// Reports a chunk that has had enough attempts, unless a stretch of it is to be asked again.
    /// Whether it is reported.
    fn conclude(&mut self, i: usize, rounds: u8) -> bool {
        let class = self.pool().loss().0;
        let before = self.usual[class as usize];
        let times = if self.outages.0 > 0 { ASKED_AGAIN.1 } else { ASKED_AGAIN.0 };
        if let Some(work) = self.work.get_mut(i)
            && (work.sampling() > 0 || work.pass() < self.config.max_attempts)
        {
            let stretches = work.stretches(class, before);
            if work.ask_again(rounds, &stretches, times) {
                return false;
            }
        }
        self.report(i, rounds, true);
        true
    }

    fn enough(&self, work: &ChunkWork) -> bool {
        let rounds = work.complete_passes();
        work.remaining() == 0
            || rounds >= self.config.min_attempts.max(2)
                && self.pool().enough(work.tally(), rounds, work.remaining(), self.config.recall)
    }

    /// All that is known of the loss: complete passes only, since the answers to a pass under way
    /// are still to come.
    fn pool(&self) -> LossPool {
        let mut pool = self.forgotten;
        for reported in &self.reported {
            reported.add_to(&mut pool);
        }
        for work in &self.work {
            let settled = if work.is_waiting() && !self.is_settled(work, self.clock) {
                work.complete_passes().min(work.pass() - 1)
            } else {
                work.complete_passes()
            };
            pool.add(work.tally(), settled);
        }
        pool
    }

    fn report(&mut self, i: usize, rounds: u8, claimed: bool) {
        let pool = self.pool();
        let Some(work) = self.work.remove(i) else {
            return;
        };
        let mut stretches: Vec<SilentStretch> = Vec::new();
        if claimed {
            let class = pool.loss().0;
            stretches = work.stretches(class, self.usual[class as usize]);
            for class in [CellClass::Tcp, CellClass::Open] {
                let share = work.share(class, &stretches);
                let usual = &mut self.usual[class as usize];
                usual.answered += share.answered;
                usual.cells += share.cells;
            }
        }
        let silent_before = work.remaining();
        let (reported, storage) = work.finish(rounds, claimed, &pool, &stretches);
        self.spare.push(storage);
        let states: Vec<_> = reported.states().collect();
        let outages = stretches.iter().filter(|s| s.excess >= DISBELIEVED).count() as u64;
        if outages > 0 {
            let still = states.iter().filter(|s| **s == CellState::Silent).count() as u64;
            self.outages.0 += outages;
            self.outages.1 += silent_before.saturating_sub(still);
        }
        let silent = states.iter().filter(|s| **s == CellState::Silent).count() as u64;
        self.states[CellState::Silent as usize] += silent;
        self.finished += reported.len();
        self.events
            .push_back(SweepEvent::Chunk(ChunkResult { first_step: reported.first(), states }));
        self.reported.push_back(reported);
        if self.reported.len() > REMEMBERED
            && let Some(oldest) = self.reported.pop_front()
        {
            oldest.add_to(&mut self.forgotten);
        }
    }

    /// Ends a stopped sweep.
    fn close(&mut self) {
        while let Some(work) = self.work.front() {
            let complete = work.complete_passes();
            if complete > 0 && self.enough(work) {
                self.report(0, complete, true);
            } else {
                // Whoever had the most attempts that there are is silent; nobody else is.
                self.report(0, self.config.max_attempts, false);
            }
        }
        self.closed = true;
    }

    /// Whether there are cells that were never asked.
    fn has_first_attempts(&self) -> bool {
        self.next_step < self.cells || self.work.iter().any(|w| w.pass() == 1 && w.has_next())
    }

    fn next_len(&self) -> u32 {
        let most = u64::from(self.config.chunk_cells);
        // A large chunk proves by a sample of its silent cells that nothing was lost; a small one has too
        // few answers for that, and asks all of them again. So they are small only while frames are spaced.
        let some = if self.rate.spacing().is_some() {
            let seconds = u64::from(self.rate.get()) * CHUNK_SECONDS;
            (self.cells / CHUNKS).max(seconds).max(SMALL_CHUNK).min(most)
        } else {
            most
        };
        let left = (self.cells - self.next_step).min(some);
        u32::try_from(left).unwrap_or(self.config.chunk_cells)
    }

    fn can_open_chunk(&self) -> bool {
        self.next_step < self.cells && self.work.len() < IN_WORK
    }

    fn open_chunk(&mut self, now: Duration) -> bool {
        if !self.can_open_chunk() {
            return false;
        }
        let len = self.next_len();
        let storage = self.spare.pop().unwrap_or_default();
        self.work.push_back(ChunkWork::new(self.next_step, len, storage, now));
        self.next_step += u64::from(len);
        true
    }
}
