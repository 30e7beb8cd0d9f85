//! The arithmetic of `scan --plan`: pure, from the size of a plan to packets, time and price.
//!
//! # The model
//!
//! The first pass goes to all cells, each later one to the cells that have not answered yet. With
//! the loss q of an attempt, the share s of cells that never answer and N cells, pass j + 1 has
//!
//! ```text
//! N (s + (1 − s) qʲ)
//! ```
//!
//! packets. There are as many passes as the promised recall takes at that loss: the smallest k of
//! at least the engine's minimum with qᵏ ≤ 1 − recall. The engine measures both s and q and goes by
//! what it finds; here they are assumed, and printed with the result.

use mimawari_engine::SweepConfig;
use serde::Serialize;

use super::price::{MIN_BILLED_SECONDS, TaskPrice, TaskSize};

/// What is assumed of the network and the machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EstimateInputs {
    /// Share of attempts whose probe or answer is lost, 0 to below 1.
    pub loss: f64,
    /// Share of cells that never answer, 0 to 1.
    pub silent: f64,
}

/// Two of a hundred lost is more than a healthy path loses; four of five cells silent is a hosting
/// range behind packet filters. Both err on the dear side.
impl Default for EstimateInputs {
    fn default() -> Self {
        Self { loss: 0.02, silent: 0.8 }
    }
}

/// The question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EstimateInput {
    /// IPv4 addresses.
    pub v4: u64,
    /// IPv6 addresses.
    pub v6: u64,
    /// Ports.
    pub ports: u32,
    /// Packets per second of each shard.
    pub rate: u32,
    /// Packets per second that the targets bear, of all shards together; `u32::MAX`: any number.
    pub ceiling: u32,
    /// The promised recall.
    pub recall: f64,
    /// In how many runs the plan is walked; 1 when each run covers all of it.
    pub parts: u32,
    /// What is assumed.
    pub assumed: EstimateInputs,
    /// Time that a run may take, in seconds: shards are added until it fits.
    pub window: f64,
    /// The prices.
    pub price: TaskPrice,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanEstimate {
    /// IPv4 addresses.
    pub addresses_v4: u64,
    /// IPv6 addresses.
    pub addresses_v6: u64,
    /// Ports.
    pub ports: u32,
    /// Cells of the whole plan.
    pub cells: u64,
    /// Runs that the plan is walked in.
    pub parts: u32,
    /// Cells of one run.
    pub cells_per_run: u64,
    /// What is assumed.
    pub assumed: EstimateInputs,
    /// The promised recall.
    pub recall: f64,
    /// Passes that the promise takes at the assumed loss.
    pub attempts: u8,
    /// Whether the engine's maximum of attempts keeps the promise at the assumed loss.
    pub promise_possible: bool,
    /// Packets that one run sends, all shards together.
    pub packets: u64,
    /// Answers that one run gets.
    pub answers: u64,
    /// Bytes of Ethernet frames sent in one run.
    pub bytes_out: u64,
    /// Bytes of Ethernet frames received in one run.
    pub bytes_in: u64,
    /// Packets per second of each shard.
    pub rate: u32,
    /// Time that a run may take, in seconds.
    pub window_seconds: f64,
    /// The prices.
    pub price: TaskPrice,
    /// One row a shard count: 1, 2, 4, …
    pub shards: Vec<EstimateRow>,
    /// The first shard count in `shards` whose time fits the window.
    pub fits_with: Option<u32>,
}

/// A run on so many shards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EstimateRow {
    /// How many shards.
    pub shards: u32,
    /// Cells of the largest shard.
    pub cells: u64,
    /// Seconds that the longest one takes.
    pub seconds: f64,
    /// Peak memory of one process, in bytes.
    pub memory: u64,
    /// The task size; absent when Fargate has none so large.
    pub task: Option<TaskSize>,
    /// US dollars for one run, all tasks together.
    pub usd: Option<f64>,
}

/// An Ethernet frame with a SYN that carries an MSS option, without preamble and check sequence.
const SYN_V4: u64 = 14 + 20 + 24;
const SYN_V6: u64 = 14 + 40 + 24;
/// A RST or an ICMP-free answer without options: most answers. Short IPv4 frames are padded to 60.
const ANSWER_V4: u64 = 60;
const ANSWER_V6: u64 = 14 + 40 + 20;

/// Memory of a process before its first cell: program, runtime, sockets and receive ring.
const BASE_MEMORY: u64 = 96 << 20;
/// 2 bytes a cell for up to 4 chunks in work, 1 byte for the 8 reported last (see the engine).
const MEMORY_PER_CHUNK_CELL: u64 = 2 * 4 + 8;
/// Headroom of a task over the estimate: log buffers, bursts of open ports.
const MEMORY_HEADROOM: u64 = 2;

/// CPU seconds of sending a packet and reading its answer, kernel time included.
const CPU_PER_PACKET: f64 = 8e-6;
/// A task is not to run at the edge of its CPU quota: a throttled sweep is late, and late is loss.
const CPU_HEADROOM: f64 = 1.5;

/// More shards than this are not listed.
const MAX_SHARDS: u32 = 1024;
/// So many are listed at least, if there are cells for them.
const MIN_ROWS_TO: u32 = 8;

/// Estimates a plan. Values outside their range are moved to the nearest one inside.
#[must_use]
pub fn estimate(ask: &EstimateInput) -> PlanEstimate {
    let engine = SweepConfig {
        rate: ask.rate.min(ask.ceiling),
        recall: ask.recall,
        ..SweepConfig::default()
    };
    let engine = engine.clamped();
    let loss = clamp(ask.assumed.loss, 0.99);
    let silent = clamp(ask.assumed.silent, 1.0);
    let parts = ask.parts.max(1);
    let addresses = ask.v4.saturating_add(ask.v6);
    let cells = addresses.saturating_mul(u64::from(ask.ports));
    let per_run = cells.div_ceil(u64::from(parts));
    let (attempts, promise_possible) =
        compute_attempts(loss, engine.recall, engine.min_attempts, engine.max_attempts);
    let per_cell: f64 =
        (0..i32::from(attempts)).map(|j| silent + (1.0 - silent) * loss.powi(j)).sum();
    let packets = per_run as f64 * per_cell;
    let answers = per_run as f64 * (1.0 - silent) * (1.0 - loss.powi(i32::from(attempts)));
    let v6_share = if addresses == 0 { 0.0 } else { ask.v6 as f64 / addresses as f64 };
    let bytes = |n: f64, v4: u64, v6: u64| {
        (n * (v4 as f64 * (1.0 - v6_share) + v6 as f64 * v6_share)).round() as u64
    };
    let waits = f64::from(attempts) * engine.spacing.as_secs_f64();
    let row = |shards: u32| {
        let cells = per_run.div_ceil(u64::from(shards));
        // Where the targets set the pace, more shards are no faster.
        let sending = (cells as f64 * per_cell / f64::from(engine.rate))
            .max(packets / f64::from(ask.ceiling.max(1)));
        let seconds = sending + waits;
        let memory = BASE_MEMORY + MEMORY_PER_CHUNK_CELL * cells.min(u64::from(engine.chunk_cells));
        let vcpu = f64::from(engine.rate) * CPU_PER_PACKET * CPU_HEADROOM;
        let task = TaskSize::holding(vcpu, memory * MEMORY_HEADROOM);
        let usd = task.map(|t| {
            t.hourly(ask.price) / 3600.0 * seconds.max(MIN_BILLED_SECONDS) * f64::from(shards)
        });
        EstimateRow { shards, cells, seconds, memory, task, usd }
    };
    let mut shards = Vec::new();
    let mut fits_with = None;
    let mut n = 1;
    while n <= MAX_SHARDS && (n == 1 || u64::from(n) <= per_run) {
        let row = row(n);
        if fits_with.is_none() && row.seconds <= ask.window {
            fits_with = Some(n);
        }
        shards.push(row);
        if fits_with.is_some() && n >= MIN_ROWS_TO {
            break;
        }
        n *= 2;
    }
    PlanEstimate {
        addresses_v4: ask.v4,
        addresses_v6: ask.v6,
        ports: ask.ports,
        cells,
        parts,
        cells_per_run: per_run,
        assumed: EstimateInputs { loss, silent },
        recall: engine.recall,
        attempts,
        promise_possible,
        packets: packets.round() as u64,
        answers: answers.round() as u64,
        bytes_out: bytes(packets, SYN_V4, SYN_V6),
        bytes_in: bytes(answers, ANSWER_V4, ANSWER_V6),
        rate: engine.rate,
        window_seconds: ask.window,
        price: ask.price,
        shards,
        fits_with,
    }
}

/// The number of passes, and whether they keep the promise.
fn compute_attempts(loss: f64, recall: f64, min: u8, max: u8) -> (u8, bool) {
    // 0.01² is a hair above 1 − 0.9999 in binary; a relative hair is no broken promise.
    let enough = |k: u8| loss.powi(i32::from(k)) <= (1.0 - recall) * (1.0 + 1e-9);
    (min..=max).find(|k| enough(*k)).map_or((max, false), |k| (k, true))
}

fn clamp(share: f64, max: f64) -> f64 {
    if share.is_nan() { 0.0 } else { share.clamp(0.0, max) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::price;
    use super::*;

    fn ask() -> EstimateInput {
        EstimateInput {
            v4: 65_536,
            v6: 0,
            ports: 100,
            rate: 20_000,
            ceiling: u32::MAX,
            recall: 0.9999,
            parts: 1,
            assumed: EstimateInputs { loss: 0.01, silent: 0.2 },
            window: 3_600.0,
            price: price::X86,
        }
    }

    #[test]
    fn a_slash_16_with_100_ports_by_hand() {
        let e = estimate(&ask());
        assert_eq!((e.cells, e.attempts, e.promise_possible), (6_553_600, 2, true));
        // 6,553,600 + 0.2 × 6,553,600 + 0.8 × 0.01 × 6,553,600
        assert_eq!(e.packets, 7_916_749);
        assert_eq!(e.bytes_out, (7_916_748.8_f64 * 58.0).round() as u64);
        assert!((e.shards[0].seconds - (395.837 + 2.0)).abs() < 0.01);
        assert_eq!(e.fits_with, Some(1));
        assert_eq!(e.shards.iter().map(|r| r.shards).collect::<Vec<_>>(), [1, 2, 4, 8]);
    }

    #[test]
    fn more_loss_takes_more_attempts_until_the_engine_has_no_more() {
        assert_eq!(compute_attempts(0.0, 0.9999, 2, 8), (2, true));
        assert_eq!(compute_attempts(0.01, 0.9999, 2, 8), (2, true));
        assert_eq!(compute_attempts(0.02, 0.9999, 2, 8), (3, true));
        assert_eq!(compute_attempts(0.1, 0.9999, 2, 8), (4, true));
        assert_eq!(compute_attempts(0.5, 0.9999, 2, 8), (8, false));
    }

    #[test]
    fn shards_are_added_until_the_window_is_met() {
        let e = estimate(&EstimateInput { ports: 65_535, ..ask() });
        let n = e.fits_with.expect("some number of shards fits");
        assert!(n > 8 && e.shards.last().expect("a row").shards == n);
        assert!(e.shards.iter().rev().skip(1).all(|r| r.seconds > 3_600.0));
        assert!(e.shards[0].memory < 256 << 20);
    }

    #[test]
    fn where_the_targets_set_the_pace_more_shards_are_no_faster() {
        let e = estimate(&EstimateInput { ceiling: 1_000, ..ask() });
        assert_eq!(e.rate, 1_000);
        assert!(e.shards.iter().all(|r| (r.seconds - (7_916.749 + 2.0)).abs() < 0.01));
        assert_eq!(e.fits_with, None);
    }

    proptest! {
        #[test]
        fn nothing_overflows_and_more_shards_are_never_slower(
            v4 in any::<u32>(), v6 in any::<u64>(), ports in 1u32..=65_535, rate in any::<u32>(),
            parts in any::<u32>(), ceiling in any::<u32>(), loss in any::<f64>(), silent in any::<f64>(), window in any::<f64>(),
        ) {
            let assumed = EstimateInputs { loss, silent };
            let e = estimate(&EstimateInput {
                v4: u64::from(v4), v6, ports, rate, ceiling, parts, assumed, window, ..ask()
            });
            prop_assert!(!e.shards.is_empty());
            prop_assert!(e.shards.windows(2).all(|w| w[1].seconds <= w[0].seconds));
            prop_assert!(e.shards.iter().all(|r| r.seconds.is_finite()));
            prop_assert!(e.packets >= e.cells_per_run || e.packets > u64::MAX >> 1);
        }
    }
}
