//! What must hold in every run, checked from outside by independent books.

use std::collections::HashSet;
use std::time::Duration;

use mimawari_engine::{ProbeAnswer, SweepConfig, SweepEngine, SweepEvent, SweepSummary, SynProbe};
use mimawari_probes::gap::Gap;
use mimawari_probes::observation::CellState;
use mimawari_targets::{Endpoint, PlanOrder};

use super::Network;

/// Chunks that the sweep remembers for late answers, as its documentation says.
const REMEMBERED: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Attempts that truly left, one bit each.
    sent: u16,
    last: Duration,
    before: Duration,
    /// The best answer that was delivered in time.
    best: CellState,
    /// Which of the reported chunks it was in, counted from 1.
    chunk: usize,
    state: CellState,
    reported_open: bool,
    failed: u32,
}

impl Cell {
    const fn attempts(&self) -> u8 {
        self.sent.count_ones() as u8
    }

    fn has_sent(&self, attempt: u8) -> bool {
        (1..16).contains(&attempt) && self.sent & 1 << attempt != 0
    }
}

/// The books of a run. Panics as soon as something is wrong.
#[derive(Debug)]
pub(super) struct Books {
    walk: PlanOrder,
    config: SweepConfig,
    cells: Vec<Cell>,
    chunks: usize,
    sent: u64,
    failures: u64,
    /// Virtual scheduling: when the next packet would be due at exactly the ceiling, in
    /// nanoseconds × rate.
    due: u128,
    stopped: bool,
    known_open: HashSet<Endpoint>,
}

impl Books {
    pub(super) fn new(walk: PlanOrder, config: SweepConfig) -> Self {
        let cell = Cell {
            sent: 0,
            last: Duration::ZERO,
            before: Duration::ZERO,
            best: CellState::NotProbed,
            chunk: 0,
            state: CellState::NotProbed,
            reported_open: false,
            failed: 0,
        };
        let len = usize::try_from(walk.len()).expect("a small world");
        Self {
            walk,
            config: config.clamped(),
            cells: vec![cell; len],
            chunks: 0,
            sent: 0,
            failures: 0,
            due: 0,
            stopped: false,
            known_open: HashSet::new(),
        }
    }

    fn cell(&mut self, step: u64) -> &mut Cell {
        &mut self.cells[usize::try_from(step).expect("a small world")]
    }

    pub(super) fn handed(&mut self, now: Duration, probe: SynProbe) {
        assert!(!self.stopped, "sent after the stop");
        assert_eq!(self.walk.endpoint(probe.step), Some(probe.endpoint), "outside the walk");
        let (spacing, most) = (self.config.spacing, self.config.max_attempts);
        let cell = self.cell(probe.step);
        assert_eq!(probe.attempt, cell.attempts() + 1, "an attempt left out or doubled: {probe:?}");
        assert!(probe.attempt <= most);
        assert_eq!(cell.best, CellState::NotProbed, "already answered: {probe:?}");
        assert!(cell.sent == 0 || now >= cell.last + spacing, "too soon: {probe:?} {now:?}");
        cell.sent |= 1 << probe.attempt;
        cell.before = cell.last;
        cell.last = now;
        self.sent += 1;
        // The ceiling: a virtual-scheduling check (ITU-T I.371, GCRA) with the burst and a half packet
        // as tolerance.
        let cost = 1_000_000_000u128;
        let at = now.as_nanos() * u128::from(self.config.rate);
        let tolerance = cost * u128::from(self.config.burst.saturating_sub(1)) + cost / 2;
        assert!(at + tolerance >= self.due, "above the ceiling at {now:?}");
        self.due = self.due.max(at) + cost;
    }

    pub(super) fn failed(&mut self, probe: SynProbe) {
        let cell = self.cell(probe.step);
        assert!(cell.has_sent(probe.attempt));
        cell.sent &= !(1 << probe.attempt);
        cell.failed += 1;
        // What never left needs no distance from the next try; that is measured from the attempt
        // before.
        cell.last = cell.before;
        self.sent -= 1;
        self.failures += 1;
    }

    pub(super) fn delivered(&mut self, answer: ProbeAnswer) {
        let chunks = self.chunks;
        let Some(step) = self.walk.step_of(answer.ip, answer.port) else {
            return;
        };
        let cell = self.cell(step);
        let forgotten = cell.chunk > 0 && chunks - cell.chunk >= REMEMBERED;
        if cell.has_sent(answer.attempt) && !forgotten {
            cell.best = cell.best.max(answer.reply.state());
        }
    }

    pub(super) fn event(&mut self, event: &SweepEvent) {
        match event {
            SweepEvent::Open { endpoint, attempt, .. } => {
                assert!(self.known_open.insert(*endpoint), "reported twice: {endpoint}");
                let step = self.walk.step_of(endpoint.ip(), endpoint.port()).expect("of the walk");
                let cell = self.cell(step);
                assert_eq!(cell.best, CellState::Open, "open without a SYN-ACK");
                assert!(cell.has_sent(*attempt));
                cell.reported_open = true;
            }
            SweepEvent::Prohibited { endpoint, .. } => {
                let step = self.walk.step_of(endpoint.ip(), endpoint.port()).expect("of the walk");
                assert!(self.cell(step).best >= CellState::Prohibited);
            }
            SweepEvent::Chunk(chunk) => {
                assert!(chunk.states.len() <= self.config.chunk_cells as usize);
                self.chunks += 1;
                let number = self.chunks;
                for (step, state) in (chunk.first_step..).zip(&chunk.states) {
                    let cell = self.cell(step);
                    assert_eq!(cell.chunk, 0, "step {step} reported twice");
                    cell.chunk = number;
                    cell.state = *state;
                }
            }
            SweepEvent::Amended { step, state } => {
                let cell = self.cell(*step);
                assert!(cell.chunk > 0, "amended before it was reported");
                assert!(*state > cell.state || *state == CellState::NotProbed);
                cell.state = *state;
            }
        }
    }

    pub(super) fn stopped(&mut self) {
        self.stopped = true;
    }

    pub(super) fn close(self, sweep: &SweepEngine, network: &Network, time: Duration) -> Report {
        let world = network.world();
        let summary = sweep.summary();
        let least = self.config.min_attempts;
        // In an outage that did not end, silence is not believed.
        let early = self.stopped
            || summary
                .gaps
                .iter()
                .any(|g| matches!(g, Gap::SweepGaveUp | Gap::StretchesUnanswered { .. }));
        let mut count = [0u64; 5];
        let (mut open_there, mut open_found, mut false_open) = (0, 0, 0);
        let mut open_not_probed = 0;
        for (step, cell) in (0..).zip(&self.cells) {
            assert!(cell.chunk > 0, "step {step} was never reported");
            count[cell.state as usize] += 1;
            match cell.best {
                CellState::NotProbed => {
                    assert!(cell.state <= CellState::Silent, "{cell:?} answered nothing");
                }
                best => assert_eq!(cell.state, best, "step {step}: {cell:?}"),
            }
            match cell.state {
                CellState::Silent => assert!(cell.attempts() >= least, "{cell:?}"),
                CellState::NotProbed => {
                    assert!(early || cell.failed > 0, "left out: {step} {cell:?}");
                }
                _ => {}
            }
            assert_eq!(cell.reported_open, cell.state == CellState::Open);
            let endpoint = self.walk.endpoint(step).expect("of the walk");
            let truth = world.truth(endpoint);
            open_there += u64::from(truth == CellState::Open);
            open_not_probed +=
                u64::from(truth == CellState::Open && cell.state == CellState::NotProbed);
            open_found += u64::from(truth == CellState::Open && cell.state == CellState::Open);
            false_open += u64::from(truth != CellState::Open && cell.state == CellState::Open);
        }
        let SweepSummary { cells, open, closed, prohibited, silent, not_probed, .. } = summary;
        assert_eq!([not_probed, silent, prohibited, closed, open], count, "{summary:?}");
        assert_eq!(open + closed + prohibited + silent + not_probed, cells);
        assert_eq!(cells, self.walk.len());
        assert_eq!((summary.sent, summary.send_failures), (self.sent, self.failures));
        let progress = sweep.progress();
        assert_eq!((progress.finished, progress.cells), (cells, cells));
        assert_eq!(progress.open, open);
        assert!(sweep.poll_timeout().is_none(), "done, and yet waiting");
        let first: u64 = summary.answers_by_attempt.iter().sum();
        assert!(first >= open + closed + prohibited, "{summary:?}");
        if let (Some(recall), Some((low, high))) =
            (summary.recall_estimate, summary.recall_interval)
        {
            assert!(0.0 <= low && low <= recall && recall <= high && high <= 1.0, "{summary:?}");
        }
        Report {
            summary,
            time,
            policed: network.policed_probes(),
            others: network.others_packets(),
            open_there,
            open_found,
            open_not_probed,
            false_open,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The sweep's own summary.
    pub summary: SweepSummary,
    /// Virtual time that the sweep took.
    pub time: Duration,
    /// Probes that a policer dropped.
    pub policed: u64,
    /// Packets of others that it let through.
    pub others: u64,
    /// Cells that are truly open.
    pub open_there: u64,
    /// Of these, found.
    pub open_found: u64,
    /// Of these, reported as not probed.
    pub open_not_probed: u64,
    /// Reported as open, and not.
    pub false_open: u64,
}

impl Report {
    /// Share of the truly open cells that were found; 1 when there are none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        if self.open_there == 0 { 1.0 } else { self.open_found as f64 / self.open_there as f64 }
    }

    /// The same among the cells that the sweep calls covered.
    #[must_use]
    pub fn recall_of_covered(&self) -> f64 {
        let covered = self.open_there - self.open_not_probed;
        if covered == 0 { 1.0 } else { self.open_found as f64 / covered as f64 }
    }
}
