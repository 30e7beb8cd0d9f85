//! What goes into a sweep and what comes out of it.

use std::net::IpAddr;
use std::time::Duration;

use mimawari_probes::gap::Gap;
use mimawari_probes::observation::CellState;
use mimawari_probes::wire::SynAckSigns;
use mimawari_targets::{Endpoint, Port};
use serde::{Deserialize, Serialize};

/// How a sweep is to be made. [`SweepEngine::new`](crate::SweepEngine::new) moves values outside their range to
/// the nearest one inside.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepConfig {
    /// Ceiling of the sending rate in packets per second, at least 1.
    pub rate: u32,
    /// Whether the ceiling is a bound only: the sweep then begins slowly and raises its rate as long
    /// as the path carries it.
    pub auto: bool,
    /// Ceiling for a single address, packets per second; 0: none.
    pub per_host: u32,
    /// Ceiling for a /24 (IPv4) or a /64 (IPv6), packets per second; 0: none.
    pub per_network: u32,
    /// The promise: the share of the open cells that the sweep finds, 0 to below 1. The sweep
    /// decides how many attempts that takes.
    pub recall: f64,
    /// Attempts that a silent cell gets at least, 1 to 15. A single one is enough only where a sample
    /// of the silent cells, asked once more, shows that it keeps the promise.
    pub min_attempts: u8,
    /// Attempts that a cell gets at most, `min_attempts` to 15.
    pub max_attempts: u8,
    /// Least time between two attempts to one cell, and how long answers to the last attempt are
    /// waited for. At least one second.
    pub spacing: Duration,
    /// Cells in work at once, 1 to 2^22. Memory is bounded by a small multiple of it.
    pub chunk_cells: u32,
    /// Packets that may leave at once after a pause; 0 = chosen from `rate`
    /// ([`SweepConfig::burst_for`]).
    pub burst: u32,
}

impl SweepConfig {
    /// The burst that suits a rate: 1 ms worth of packets, at least 1 and at most 256 (one batch).
    #[must_use]
    pub const fn burst_for(rate: u32) -> u32 {
        match rate / 1000 {
            0 => 1,
            n if n > 256 => 256,
            n => n,
        }
    }

    /// The configuration with every value inside its range.
    #[must_use]
    pub fn clamped(mut self) -> Self {
        self.rate = self.rate.max(1);
        self.recall = if self.recall.is_nan() { 0.0 } else { self.recall.clamp(0.0, MAX_RECALL) };
        self.min_attempts = self.min_attempts.clamp(1, MAX_ATTEMPTS);
        self.max_attempts = self.max_attempts.clamp(self.min_attempts, MAX_ATTEMPTS);
        self.spacing = self.spacing.max(Duration::from_secs(1));
        self.chunk_cells = self.chunk_cells.clamp(1, 1 << 22);
        if self.burst == 0 {
            self.burst = Self::burst_for(self.rate);
        }
        self
    }
}

/// No number of lossy attempts makes certain.
const MAX_RECALL: f64 = 1.0 - 1e-9;

/// What four bits hold.
pub(crate) const MAX_ATTEMPTS: u8 = 15;

impl Default for SweepConfig {
    fn default() -> Self {
        Self {
            rate: 20_000,
            auto: false,
            per_host: 0,
            per_network: 0,
            recall: 0.9999,
            min_attempts: 1,
            max_attempts: 8,
            spacing: Duration::from_secs(1),
            chunk_cells: 1 << 20,
            burst: 0,
        }
    }
}

/// One attempt to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SynProbe {
    /// Step of the walk.
    pub step: u64,
    /// Where to.
    pub endpoint: Endpoint,
    /// Counted from 1; goes into the source port.
    pub attempt: u8,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeReply {
    /// The port accepts connections.
    SynAck,
    /// Nobody listens.
    Rst,
    /// An ICMP error says that policy forbids it.
    Prohibited,
}

impl ProbeReply {
    /// The state that a cell has after this reply alone.
    #[must_use]
    pub const fn state(self) -> CellState {
        match self {
            Self::SynAck => CellState::Open,
            Self::Rst => CellState::Closed,
            Self::Prohibited => CellState::Prohibited,
        }
    }
}

/// An answer whose cookie the driver has verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// The probed address (for an ICMP error: the quoted destination, not the router).
    pub ip: IpAddr,
    /// The probed port.
    pub port: Port,
    /// Which attempt it answers, counted from 1.
    pub attempt: u8,
    /// What it says.
    pub reply: ProbeReply,
    /// IP time-to-live or hop limit of the answer.
    pub ttl: Option<u8>,
    /// What is odd about a SYN-ACK.
    pub signs: SynAckSigns,
}

/// What a sweep has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepEvent {
    /// A cell is open. At most once a cell.
    Open {
        /// Which.
        endpoint: Endpoint,
        /// The attempt that was answered.
        attempt: u8,
        /// TTL of the answer.
        ttl: Option<u8>,
        /// What is odd about it.
        signs: SynAckSigns,
    },
    /// Policy forbids a cell. At most once a cell; [`SweepEvent::Open`] may still follow.
    Prohibited {
        /// Which.
        endpoint: Endpoint,
        /// The attempt that was answered.
        attempt: u8,
        /// TTL of the answer.
        ttl: Option<u8>,
    },
    /// A run of steps has its states. Every step of the walk is in exactly one chunk.
    Chunk(ChunkResult),
    /// The state of a step whose chunk had been reported has changed: a late answer raised it, or
    /// a late report of a failed send took the claim of silence back.
    Amended {
        /// Step of the walk.
        step: u64,
        /// Its state from now on.
        state: CellState,
    },
}

/// The states of consecutive steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkResult {
    /// Step of the first state.
    pub first_step: u64,
    /// One state a step.
    pub states: Vec<CellState>,
}

/// How far a sweep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepProgress {
    /// Cells of the walk.
    pub cells: u64,
    /// Cells that have their final state.
    pub finished: u64,
    /// Attempts sent.
    pub sent: u64,
    /// Cells that answered.
    pub answered: u64,
    /// Open cells.
    pub open: u64,
    /// The attempt now being made of the oldest chunk in work; 0 before the first.
    pub attempt: u8,
    /// Packets per second now allowed, at most the ceiling.
    pub rate: u32,
    /// Frames that were lost on receiving.
    pub lost: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What a sweep amounted to. `open + closed + prohibited + silent + not_probed == cells` once the
/// sweep is done; before that, cells without a final state count as `not_probed`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepSummary {
    /// Cells of the walk.
    pub cells: u64,
    /// Cells that answered SYN-ACK.
    pub open: u64,
    /// Cells that answered RST.
    pub closed: u64,
    /// Cells that policy forbids, by an ICMP error.
    pub prohibited: u64,
    /// Cells that got all attempts and answered none.
    pub silent: u64,
    /// Cells of which nothing is known.
    pub not_probed: u64,
    /// Of these, the cells that were taken out before they were probed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub excluded: u64,
    /// Attempts sent; failed sends are not in it.
    pub sent: u64,
    /// Sends that failed, each to be tried again.
    pub send_failures: u64,
    /// Frames that the receiving side lost, as the driver reported them.
    pub receive_lost: u64,
    /// Packets per second at the end of the sweep: what the path was found to carry, or the ceiling.
    #[serde(default)]
    pub rate: u32,
    /// The lowest capacity of the path that the answers showed, packets per second; absent when the
    /// rate was never too high for it. Where only bursts were lost, what got through of them: single
    /// frames may get through at a higher rate.
    #[serde(default)]
    pub path_capacity: Option<u32>,
    /// How much the share of answers varied from moment to moment, in units of what chance alone
    /// makes (about 1); absent for short sweeps. Well above 1, losses come in bursts.
    #[serde(default)]
    pub dispersion: Option<f64>,
    /// The most attempts that any cell got.
    pub attempts: u8,
    /// How many cells gave their first answer to attempt 1, 2, …
    pub answers_by_attempt: Vec<u64>,
    /// Estimated share of attempts whose probe or answer is lost, 0 to 1; absent when too little
    /// answered to tell.
    pub loss_estimate: Option<f64>,
    /// Estimated share of the open cells that were found, among the covered cells; absent when
    /// nothing answered.
    pub recall_estimate: Option<f64>,
    /// 95 % confidence interval of the expected recall.
    pub recall_interval: Option<(f64, f64)>,
    /// Whether every cell was covered and the recall asked for was reached with confidence.
    pub promise_kept: bool,
    /// Empty. Up to version 1.0 of `run.json` it held sentences, and those readers need the field.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The method of the estimate, and why a promise was not kept. The run's own list has them.
    #[serde(skip)]
    pub gaps: Vec<Gap>,
}
