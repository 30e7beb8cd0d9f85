//! The cells of one chunk while they are in work, and after.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use mimawari_probes::observation::CellState;

use crate::checkpoint::{ChunkPoint, IN_FLIGHT};
use crate::estimate::{AttemptTally, CellClass, LossPool};
use crate::outage::{
    AnswerShare, DISBELIEVED, OutageReplies, SilentStretch, find_silent_stretches,
};
use crate::types::ProbeReply;

/// Sends of one cell that may fail before the cell is given up.
pub(crate) const MAX_SEND_TRIES: u16 = 10;

/// The longest wait for answers to a stretch that is asked again is this power of two.
const LONGEST_PATIENCE: u8 = 4;

/// One cell in two bytes: bits 0–2 its state (0: unanswered), 3–6 attempts sent, 7–10 failed
/// sends, 11 whether an attempt could not be made and the cell was given up, 12 whether its next
/// attempt waits for its host's ceiling.
#[derive(Debug, Clone, Copy, Default)]
struct CellSlot(u16);

impl CellSlot {
    const GIVEN_UP: u16 = 1 << 11;
    const PARKED: u16 = 1 << 12;

    #[inline]
    const fn state(self) -> u16 {
        self.0 & 0b111
    }

    #[inline]
    const fn attempts(self) -> u8 {
        ((self.0 >> 3) & 0b1111) as u8
    }

    const fn tries(self) -> u16 {
        (self.0 >> 7) & 0b1111
    }

    #[inline]
    const fn is_given_up(self) -> bool {
        self.0 & Self::GIVEN_UP != 0
    }

    const fn is_answered(self) -> bool {
        self.state() != 0
    }

    /// Whether attempt number `pass` is still to be made.
    #[inline]
    const fn wants(self, pass: u8) -> bool {
        self.0 & (Self::GIVEN_UP | Self::PARKED | 0b111) == 0 && self.attempts() < pass
    }

    fn set_state(&mut self, state: CellState) {
        self.0 = self.0 & !0b111 | state as u16;
    }

    /// What it says about an outage. ICMP errors are limited by policy and say nothing; nor do RSTs
    /// where they were lost at another rate than the SYN-ACKs.
    const fn heard(self, class: CellClass) -> OutageReplies {
        match CellState::from_u8(self.state() as u8) {
            _ if self.is_given_up() => OutageReplies::Aside,
            Some(CellState::Open) => OutageReplies::Answered,
            Some(CellState::Closed) if matches!(class, CellClass::Tcp) => OutageReplies::Answered,
            Some(CellState::Closed | CellState::Prohibited) => OutageReplies::Aside,
            _ => OutageReplies::Silent,
        }
    }

    /// The state to be reported when `rounds` attempts make silence believable.
    const fn verdict(self, rounds: u8) -> CellState {
        match CellState::from_u8(self.state() as u8) {
            Some(s) if self.is_answered() => s,
            _ if !self.is_given_up() && rounds > 0 && self.attempts() >= rounds => {
                CellState::Silent
            }
            _ => CellState::NotProbed,
        }
    }
}

/// A change that an answer made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellChange {
    pub from: CellState,
    pub to: CellState,
}

/// Counts an answer to a cell that had `before`; `None` when it says nothing new. States only
/// rise: open > closed > prohibited > unanswered. A SYN-ACK after an RST still means that
/// something accepts connections (a load balancer's other half), an RST after a SYN-ACK only
/// that it closed again.
fn count(
    tally: &mut AttemptTally,
    before: CellState,
    attempt: u8,
    reply: ProbeReply,
) -> Option<CellChange> {
    let to = reply.state();
    if to <= before {
        return None;
    }
    let round = usize::from(attempt.saturating_sub(1));
    let add = |catches: &mut [u64]| {
        if let Some(n) = catches.get_mut(round) {
            *n += 1;
        }
    };
    if before < CellState::Prohibited {
        add(&mut tally.any);
    }
    if to >= CellState::Closed && before < CellState::Closed {
        add(&mut tally.tcp);
    }
    if to == CellState::Open {
        add(&mut tally.open);
    }
    Some(CellChange { from: before, to })
}

/// What became of the report of a failed send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResumeFailure {
    /// No such probe is out.
    Unknown,
    /// Noted; the cell is tried again, or given up.
    Noted,
    /// Noted, and a claim of silence had to be taken back.
    Retracted,
}

/// A chunk in work.
#[derive(Debug)]
pub(crate) struct ChunkWork {
    first: u64,
    cells: Vec<CellSlot>,
    /// The attempt now being made, from 1.
    pass: u8,
    cursor: usize,
    /// Whether sends of this pass failed behind the cursor.
    deferred: bool,
    /// The cursor has come to the end of the pass.
    exhausted: bool,
    /// Only every so-manieth cell is asked in this pass, to see whether the others need be; 0: all
    /// are. Spread over all of the time in which the chunk was sent, so that an outage in any part
    /// of it shows.
    sampling: usize,
    /// What `sampling` was before doubted stretches were asked again.
    sampled: usize,
    /// Set once stretches with too few answers are asked again.
    doubt: Option<CellDoubt>,
    /// Cells whose attempt of this pass waits for their host's ceiling.
    parked: u32,
    last_send: Duration,
    /// When the pass before this one began and ended, if it was a repetition.
    pass_before: (Option<Duration>, Duration),
    marks: CellMarks,
    tally: AttemptTally,
    /// Cells not answered and not given up.
    remaining: u64,
}

/// Stretches of a chunk with too few answers that are asked again.
#[derive(Debug, Clone)]
struct CellDoubt {
    /// The attempts that every cell of the chunk has had.
    rounds: u8,
    /// The cells that are asked again.
    cells: Range<usize>,
    /// How often they were.
    times: u8,
    /// They answer by now, and are asked once more: their attempts before fell into the outage.
    healed: bool,
}

/// Where the cursor stood when, for the last moments: what was sent then may still be answered.
#[derive(Debug, Clone, Default)]
struct CellMarks {
    marks: VecDeque<(Duration, usize)>,
    /// Attempts were made out of turn: nothing is known of when.
    unknown: bool,
}

impl CellMarks {
    const EVERY: Duration = Duration::from_millis(50);
    /// More than [`IN_FLIGHT`] needs.
    const MOST: usize = 16;

    #[inline]
    fn note(&mut self, now: Duration, cursor: usize) {
        let due = self.marks.back().is_none_or(|(at, _)| now >= at.saturating_add(Self::EVERY));
        if due {
            if self.marks.len() >= Self::MOST {
                self.marks.pop_front();
            }
            self.marks.push_back((now, cursor));
        }
    }

    fn forget(&mut self) {
        self.marks.clear();
        self.unknown = true;
    }

    /// The cell from which on attempts were made after `then`.
    fn at(&self, then: Duration) -> usize {
        if self.unknown {
            return 0;
        }
        // The mark was set at the first send behind it, so all before it are older.
        self.marks.iter().rev().find(|(at, _)| *at <= then).map_or(0, |(_, cursor)| *cursor)
    }
}

/// The storage of a chunk, to be used again.
#[derive(Debug, Default)]
pub(crate) struct MarkStorage(Vec<CellSlot>);

impl ChunkWork {
    pub(crate) fn new(first: u64, len: u32, storage: MarkStorage, now: Duration) -> Self {
        let mut cells = storage.0;
        cells.clear();
        cells.resize(len as usize, CellSlot::default());
        Self {
            first,
            cells,
            pass: 1,
            cursor: 0,
            deferred: false,
            exhausted: false,
            sampling: 0,
            sampled: 0,
            doubt: None,
            parked: 0,
            last_send: now,
            pass_before: (None, now),
            marks: CellMarks::default(),
            tally: AttemptTally::default(),
            remaining: u64::from(len),
        }
    }

    #[inline]
    fn index(&self, step: u64) -> Option<usize> {
        let index = usize::try_from(step.checked_sub(self.first)?).ok()?;
        (index < self.cells.len()).then_some(index)
    }

    #[inline]
    pub(crate) fn holds(&self, step: u64) -> bool {
        self.index(step).is_some()
    }

    pub(crate) const fn pass(&self) -> u8 {
        self.pass
    }

    /// All of the pass is sent; answers are waited for.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.exhausted && self.parked == 0
    }

    /// Whether the pass has cells that were neither sent nor parked.
    pub(crate) const fn has_next(&self) -> bool {
        !self.exhausted
    }

    /// When the pass before this one began; `None` if that was the first.
    pub(crate) const fn pass_before_began(&self) -> Option<Duration> {
        self.pass_before.0
    }

    pub(crate) const fn last_send(&self) -> Duration {
        self.last_send
    }

    /// Attempts that every remaining cell has had.
    pub(crate) const fn complete_passes(&self) -> u8 {
        if let Some(doubt) = &self.doubt {
            return doubt.rounds;
        }
        if self.is_waiting() && self.sampling == 0 { self.pass } else { self.pass - 1 }
    }

    pub(crate) const fn tally(&self) -> &AttemptTally {
        &self.tally
    }

    /// The first `attempts` were made at a rate that has been lowered since.
    pub(crate) fn spoil(&mut self, attempts: u8) {
        self.tally.spoiled = self.tally.spoiled.max(attempts);
    }

    /// Cells not answered and not given up.
    pub(crate) const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Begins the next pass. `sample`: with every so-manieth of the silent cells; 0: with all.
    pub(crate) fn begin_next_pass(&mut self, sample: usize) {
        let (_, ended) = self.pass_before;
        self.pass_before = ((self.pass > 1).then_some(ended), self.last_send);
        self.pass += 1;
        self.cursor = 0;
        self.exhausted = false;
        self.sampling = sample;
        self.marks = CellMarks::default();
    }

    /// The attempts that every cell has had, once the chunk is complete but for stretches that are
    /// asked again.
    pub(crate) fn doubted(&self) -> Option<u8> {
        self.doubt.as_ref().map(|d| d.rounds)
    }

    /// How many times the usual wait answers to this pass are waited for: longer each time that a
    /// stretch is asked again, since an outage takes its time.
    pub(crate) fn patience(&self) -> u32 {
        self.doubt.as_ref().map_or(1, |d| 1 << d.times.min(LONGEST_PATIENCE))
    }

    /// Stretches with too few answers, the worst first. `before`: the share of the chunks before.
    pub(crate) fn stretches(&self, class: CellClass, before: AnswerShare) -> Vec<SilentStretch> {
        if self.remaining == 0 {
            return Vec::new();
        }
        let heard: Vec<OutageReplies> = self.cells.iter().map(|c| c.heard(class)).collect();
        find_silent_stretches(&heard, before)
    }

    /// How many cells answered outside of the stretches.
    pub(crate) fn share(&self, class: CellClass, without: &[SilentStretch]) -> AnswerShare {
        let mut share = AnswerShare::default();
        for (n, cell) in self.cells.iter().enumerate() {
            if !without.iter().any(|s| s.cells.contains(&n)) {
                share.add(cell.heard(class));
            }
        }
        share
    }

    /// Asks the silent cells of doubted stretches again, after all cells have had `rounds` attempts;
    /// none: once more those that were asked before. `most`: how often at most. Whether it does.
    pub(crate) fn ask_again(&mut self, rounds: u8, stretches: &[SilentStretch], most: u8) -> bool {
        let from = stretches.iter().map(|s| s.cells.start).min();
        let to = stretches.iter().map(|s| s.cells.end).max();
        let doubt = match (self.doubt.take(), from.zip(to)) {
            (None, None) => return false,
            (None, Some((from, to))) => {
                // An edge is known about as well as the stretch is long.
                let margin = (to - from) / 8;
                let cells = from.saturating_sub(margin)..(to + margin).min(self.cells.len());
                CellDoubt { rounds, cells, times: 1, healed: false }
            }
            (Some(d), None) if d.healed || d.times >= most => {
                self.doubt = Some(d);
                return false;
            }
            (Some(d), None) => CellDoubt { healed: true, times: 1, ..d },
            (Some(d), Some((from, to))) => {
                // All cells of a pass have had the same attempts, so the range only shrinks.
                let cells = from.max(d.cells.start)..to.min(d.cells.end);
                if d.times >= most || cells.is_empty() {
                    self.doubt = Some(d);
                    return false;
                }
                CellDoubt { cells, times: d.times + 1, healed: false, ..d }
            }
        };
        if self.sampling > 0 {
            // The pass of the sample goes on with them.
            self.sampled = self.sampling;
            self.ask_the_others();
        } else {
            self.begin_next_pass(0);
        }
        self.cursor = doubt.cells.start;
        self.doubt = Some(doubt);
        true
    }

    /// Of how many silent cells this pass has asked one; 0: it asks all.
    pub(crate) const fn sampling(&self) -> usize {
        self.sampling
    }

    /// Goes on with the cells that are not of the sample.
    pub(crate) fn ask_the_others(&mut self) {
        self.sampling = 0;
        self.cursor = 0;
        self.exhausted = false;
        self.marks.forget();
    }

    /// The next step to be sent in this pass; `None` at the end of the pass.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<u64> {
        while !self.exhausted {
            let stride = self.sampling;
            let found = if stride > 0 {
                let from = self.cursor.next_multiple_of(stride);
                let rest = self.cells.get(from..).unwrap_or_default();
                let n = rest.iter().step_by(stride).position(|c| c.wants(self.pass));
                n.map(|n| from + n * stride)
            } else {
                let end = self.doubt.as_ref().map_or(self.cells.len(), |d| d.cells.end);
                let rest = self.cells.get(self.cursor..end).unwrap_or_default();
                rest.iter().position(|c| c.wants(self.pass)).map(|n| self.cursor + n)
            };
            if let Some(index) = found {
                self.cursor = index;
                return Some(self.first + index as u64);
            }
            self.cursor = self.doubt.as_ref().map_or(0, |d| d.cells.start);
            // Sends that failed are made up for within their pass, so that the distance between
            // the attempts is kept by the passes alone.
            self.exhausted = !std::mem::take(&mut self.deferred);
            if !self.exhausted {
                self.marks.forget();
            }
        }
        None
    }

    /// Marks what [`Self::next`] returned as sent. Returns the attempt, and whether no send of the
    /// cell has failed so far.
    #[inline]
    pub(crate) fn sent(&mut self, now: Duration) -> (u8, bool) {
        let fresh = self.count_attempt(self.cursor, now);
        self.marks.note(now, self.cursor);
        self.cursor += 1;
        (self.pass, fresh)
    }

    #[inline]
    fn count_attempt(&mut self, index: usize, now: Duration) -> bool {
        let cell = &mut self.cells[index];
        cell.0 += 1 << 3;
        self.last_send = now;
        cell.tries() == 0
    }

    /// Gives up what [`Self::next`] returned: it must not be asked.
    pub(crate) fn exclude(&mut self) {
        self.cells[self.cursor].0 |= CellSlot::GIVEN_UP;
        self.remaining -= 1;
        self.cursor += 1;
    }

    /// Puts what [`Self::next`] returned aside until its host's ceiling lets it pass. Returns the
    /// attempt.
    pub(crate) fn park(&mut self) -> u8 {
        self.cells[self.cursor].0 |= CellSlot::PARKED;
        self.parked += 1;
        self.cursor += 1;
        self.pass
    }

    /// The time of a parked attempt has come: marks it as sent, if it is still to be made. Returns
    /// whether no send of the cell has failed so far.
    pub(crate) fn unpark(&mut self, step: u64, attempt: u8, now: Duration) -> Option<bool> {
        let index = self.index(step)?;
        let cell = &mut self.cells[index];
        if cell.0 & CellSlot::PARKED == 0 || attempt != self.pass {
            return None;
        }
        cell.0 &= !CellSlot::PARKED;
        self.parked -= 1;
        cell.wants(attempt).then(|| {
            // It was sent out of turn, so the cursor does not tell when.
            self.marks.forget();
            self.count_attempt(index, now)
        })
    }

    pub(crate) fn send_failed(&mut self, step: u64, attempt: u8) -> ResumeFailure {
        let Some(index) = self.index(step) else {
            return ResumeFailure::Unknown;
        };
        let cell = &mut self.cells[index];
        if attempt == 0 || cell.attempts() < attempt {
            return ResumeFailure::Unknown;
        }
        if cell.is_given_up() {
            return ResumeFailure::Noted;
        }
        let mut give_up = true;
        if attempt == self.pass {
            cell.0 -= 1 << 3;
            cell.0 += 1 << 7;
            give_up = cell.tries() >= MAX_SEND_TRIES;
        }
        // A report about an attempt before the last comes too late to be made up for in time.
        if cell.is_answered() {
            return ResumeFailure::Noted;
        }
        if give_up {
            cell.0 |= CellSlot::GIVEN_UP;
            self.remaining -= 1;
        } else {
            self.deferred = true;
            self.exhausted = false;
        }
        ResumeFailure::Noted
    }

    #[inline]
    pub(crate) fn answer(
        &mut self,
        step: u64,
        attempt: u8,
        reply: ProbeReply,
    ) -> Option<CellChange> {
        let index = self.index(step)?;
        let cell = self.cells[index];
        // An answer to what was never sent answers nothing.
        if attempt == 0 || attempt > cell.attempts() {
            return None;
        }
        let before = if cell.is_answered() { cell.verdict(0) } else { CellState::NotProbed };
        let change = count(&mut self.tally, before, attempt, reply)?;
        if !cell.is_answered() && !cell.is_given_up() {
            self.remaining -= 1;
        }
        self.cells[index].set_state(change.to);
        Some(change)
    }

    /// What is needed to go on with this chunk later. Attempts of the last moments whose answers may
    /// be under way count as not made.
    pub(crate) fn checkpoint(&self, now: Duration) -> ChunkPoint {
        // What was sent long ago has had its answers.
        let from = match now.checked_sub(IN_FLIGHT) {
            Some(then) if self.last_send <= then => self.cells.len(),
            Some(then) => self.marks.at(then),
            None => 0,
        };
        let cells = self.cells.iter().enumerate().map(|(index, cell)| {
            let mut cell = *cell;
            if index >= from && !cell.is_answered() && cell.attempts() == self.pass {
                cell.0 -= 1 << 3;
            }
            cell.state() as u8 | cell.attempts() << 3 | u8::from(cell.is_given_up()) << 7
        });
        ChunkPoint {
            first: self.first,
            pass: self.pass,
            tally: self.tally,
            length: self.cells.len() as u32,
            cells: cells.collect(),
        }
    }

    /// The chunk of a checkpoint; `None` for one that cannot be.
    pub(crate) fn resume(point: &ChunkPoint) -> Option<Self> {
        let mut cells = Vec::with_capacity(point.cells.len());
        for byte in &point.cells {
            let (state, attempts) = (byte & 0b111, byte >> 3 & 0b1111);
            CellState::from_u8(state)?;
            // Nothing is answered before it was asked, and nothing asked before its pass.
            if attempts > point.pass || state != 0 && attempts == 0 {
                return None;
            }
            let given_up = if byte >> 7 == 1 { CellSlot::GIVEN_UP } else { 0 };
            cells.push(CellSlot(u16::from(state) | u16::from(attempts) << 3 | given_up));
        }
        let open = cells.iter().filter(|c| !c.is_answered() && !c.is_given_up()).count();
        (cells.len() == point.length as usize && point.pass > 0).then(|| {
            Self {
                first: point.first,
                pass: point.pass,
                tally: point.tally,
                remaining: open as u64,
                ..Self::new(point.first, 0, MarkStorage(Vec::new()), Duration::ZERO)
            }
            .with(cells)
        })
    }

    fn with(mut self, cells: Vec<CellSlot>) -> Self {
        self.cells = cells;
        self
    }

    /// Ends the chunk. Cells with at least `rounds` attempts and no answer are silent, others
    /// without an answer are not probed; nor are silent cells in stretches whose silence cannot be
    /// believed.
    pub(crate) fn finish(
        self,
        rounds: u8,
        claimed: bool,
        pool: &LossPool,
        stretches: &[SilentStretch],
    ) -> (ReportedCells, MarkStorage) {
        let tail = pool.tail(&self.tally, rounds, self.remaining);
        let (out, doubted): (Vec<_>, Vec<_>) =
            stretches.iter().partition(|s| s.excess >= DISBELIEVED);
        let doubted = doubted.iter().map(|s| s.missing).sum();
        let believed = |n: usize, state| match state {
            CellState::Silent if out.iter().any(|s| s.cells.contains(&n)) => CellState::NotProbed,
            state => state,
        };
        let cells = self
            .cells
            .iter()
            .enumerate()
            .map(|(n, c)| believed(n, c.verdict(rounds)) as u8 | c.attempts() << 3)
            .collect::<Box<[u8]>>();
        let silent = cells.iter().filter(|c| *c & 0b111 == CellState::Silent as u8).count() as u64;
        let complete = if claimed { rounds } else { self.complete_passes() };
        let sampled = if claimed { self.sampling.max(self.sampled) } else { 0 };
        let reported = ReportedCells {
            sampled,
            first: self.first,
            cells,
            tally: self.tally,
            rounds: complete,
            claimed,
            silent,
            tail,
            doubted,
        };
        (reported, MarkStorage(self.cells))
    }
}

/// A chunk whose states have been reported, kept a while for late answers.
#[derive(Debug)]
pub(crate) struct ReportedCells {
    first: u64,
    /// Bits 0–2 state, 3–6 attempts.
    cells: Box<[u8]>,
    tally: AttemptTally,
    rounds: u8,
    /// Whether silence was claimed, so that the recall speaks of this chunk.
    claimed: bool,
    /// One in so many silent cells was asked once more after the last round; 0: none was.
    sampled: usize,
    silent: u64,
    tail: f64,
    /// Cells that may have been missed in stretches that could not be told from chance.
    doubted: f64,
}

impl ReportedCells {
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    pub(crate) const fn len(&self) -> u64 {
        self.cells.len() as u64
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = CellState> + '_ {
        self.cells.iter().map(|c| CellState::from_u8(c & 0b111).unwrap_or(CellState::NotProbed))
    }

    /// Adds what this chunk knows of the loss.
    pub(crate) fn add_to(&self, pool: &mut LossPool) {
        if self.sampled > 0 {
            pool.add_sample(&self.tally, self.rounds, self.sampled);
        }
        if self.claimed {
            pool.add_finished(&self.tally, self.rounds, self.silent, self.tail);
            pool.doubt(self.doubted);
        } else {
            pool.add(&self.tally, self.rounds);
        }
    }

    fn cell(&mut self, step: u64) -> Option<&mut u8> {
        self.cells.get_mut(usize::try_from(step.checked_sub(self.first)?).ok()?)
    }

    pub(crate) fn holds(&self, step: u64) -> bool {
        step.checked_sub(self.first).is_some_and(|i| i < self.len())
    }

    pub(crate) fn answer(
        &mut self,
        step: u64,
        attempt: u8,
        reply: ProbeReply,
    ) -> Option<CellChange> {
        let cell = *self.cell(step)?;
        if attempt == 0 || attempt > cell >> 3 {
            return None;
        }
        let before = CellState::from_u8(cell & 0b111)?;
        let change = count(&mut self.tally, before, attempt, reply)?;
        if before == CellState::Silent {
            self.silent -= 1;
        }
        *self.cell(step)? = cell & !0b111 | change.to as u8;
        Some(change)
    }

    pub(crate) fn send_failed(&mut self, step: u64, attempt: u8) -> ResumeFailure {
        let Some(cell) = self.cell(step) else {
            return ResumeFailure::Unknown;
        };
        if attempt == 0 || attempt > *cell >> 3 {
            return ResumeFailure::Unknown;
        }
        if *cell & 0b111 != CellState::Silent as u8 {
            return ResumeFailure::Noted;
        }
        *cell = *cell & !0b111 | CellState::NotProbed as u8;
        self.silent -= 1;
        ResumeFailure::Retracted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(len: u32) -> ChunkWork {
        ChunkWork::new(100, len, MarkStorage::default(), Duration::ZERO)
    }

    fn send_all(work: &mut ChunkWork) -> Vec<(u64, u8)> {
        let mut sent = Vec::new();
        while let Some(step) = work.next() {
            sent.push((step, work.sent(Duration::ZERO).0));
        }
        sent
    }

    #[test]
    fn a_pass_goes_to_unanswered_cells_only() {
        let mut w = work(4);
        assert_eq!(send_all(&mut w), [(100, 1), (101, 1), (102, 1), (103, 1)]);
        w.answer(101, 1, ProbeReply::Rst).unwrap();
        w.answer(103, 1, ProbeReply::Prohibited).unwrap();
        w.begin_next_pass(0);
        assert_eq!(send_all(&mut w), [(100, 2), (102, 2)]);
        assert_eq!(w.remaining(), 2);
    }

    #[test]
    fn states_only_rise_and_each_answer_counts_once() {
        use CellState::{Closed, NotProbed, Open, Prohibited};
        let mut w = work(1);
        send_all(&mut w);
        let mut got = Vec::new();
        for reply in [
            ProbeReply::Prohibited,
            ProbeReply::Prohibited,
            ProbeReply::Rst,
            ProbeReply::Prohibited,
            ProbeReply::SynAck,
            ProbeReply::SynAck,
            ProbeReply::Rst,
        ] {
            got.extend(w.answer(100, 1, reply).map(|c| (c.from, c.to)));
        }
        assert_eq!(got, [(NotProbed, Prohibited), (Prohibited, Closed), (Closed, Open)]);
        assert_eq!((w.tally.any[0], w.tally.tcp[0], w.tally.open[0]), (1, 1, 1));
    }

    #[test]
    fn what_was_not_sent_cannot_be_answered() {
        let mut w = work(2);
        w.next();
        w.sent(Duration::ZERO);
        assert_eq!(w.answer(101, 1, ProbeReply::SynAck), None, "not yet sent");
        assert_eq!(w.answer(100, 0, ProbeReply::SynAck), None);
        assert_eq!(w.answer(100, 2, ProbeReply::SynAck), None, "attempt 2 is yet to come");
        assert_eq!(w.answer(99, 1, ProbeReply::SynAck), None);
        assert_eq!(w.answer(102, 1, ProbeReply::SynAck), None);
        assert_eq!(w.answer(u64::MAX, 255, ProbeReply::SynAck), None);
        assert!(w.answer(100, 1, ProbeReply::SynAck).is_some());
    }

    #[test]
    fn a_failed_send_is_made_up_for_within_its_pass() {
        let mut w = work(3);
        w.next();
        w.sent(Duration::ZERO);
        assert_eq!(w.send_failed(100, 1), ResumeFailure::Noted);
        assert_eq!(w.send_failed(100, 1), ResumeFailure::Unknown, "reported twice");
        assert_eq!(send_all(&mut w), [(101, 1), (102, 1), (100, 1)]);
        // Even when the report comes after the end of the pass.
        assert_eq!(w.send_failed(102, 1), ResumeFailure::Noted);
        assert!(!w.is_waiting());
        assert_eq!(send_all(&mut w), [(102, 1)]);
    }

    #[test]
    fn a_cell_that_can_never_be_sent_ends_not_probed() {
        let mut w = work(2);
        let mut tries = 0;
        while let Some(step) = w.next() {
            w.sent(Duration::ZERO);
            if step == 100 {
                tries += 1;
                w.send_failed(100, 1);
            }
        }
        assert_eq!(tries, MAX_SEND_TRIES);
        let (reported, _) = w.finish(1, true, &LossPool::default(), &[]);
        let states: Vec<_> = reported.states().collect();
        assert_eq!(states, [CellState::NotProbed, CellState::Silent]);
    }

    #[test]
    fn a_report_about_an_earlier_attempt_gives_the_cell_up() {
        let mut w = work(2);
        send_all(&mut w);
        w.begin_next_pass(0);
        assert_eq!(w.send_failed(101, 1), ResumeFailure::Noted);
        assert_eq!(send_all(&mut w), [(100, 2)]);
        let (mut reported, _) = w.finish(2, true, &LossPool::default(), &[]);
        assert_eq!(reported.states().last(), Some(CellState::NotProbed));
        // And after the report the claim of silence is taken back.
        assert_eq!(reported.send_failed(100, 2), ResumeFailure::Retracted);
        assert_eq!(reported.states().next(), Some(CellState::NotProbed));
    }
}
