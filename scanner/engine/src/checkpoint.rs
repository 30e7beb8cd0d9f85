//! A sweep set down, to be taken up again by another process.

use std::time::Duration;

use mimawari_targets::PlanOrder;
use serde::{Deserialize, Serialize};

use crate::estimate::{AttemptTally, LossPool};

/// Answers to what was sent this short a time before a checkpoint may be under way when it is made.
/// They are lost with the process, so these attempts count as not made.
pub(crate) const IN_FLIGHT: Duration = Duration::from_millis(400);

/// Everything that a sweep needs to go on, but for the walk and the configuration.
///
/// A sweep that is resumed uses another key, so answers to probes of the former process are lost.
/// Attempts of the last 0.4 s before the checkpoint are therefore made again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepCheckpoint {
    pub(crate) cells: u64,
    pub(crate) next_step: u64,
    pub(crate) finished: u64,
    /// Silent cells and others of the chunks that were reported, by state.
    pub(crate) states: [u64; 5],
    pub(crate) sent: u64,
    pub(crate) send_failures: u64,
    pub(crate) receive_lost: u64,
    pub(crate) attempts: u8,
    pub(crate) broken: u64,
    pub(crate) pool: LossPool,
    /// The chunks in work.
    pub chunks: Vec<ChunkPoint>,
}

/// A chunk in work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChunkPoint {
    pub(crate) first: u64,
    pub(crate) pass: u8,
    pub(crate) tally: AttemptTally,
    /// Number of cells.
    pub length: u32,
    /// One byte a cell: bits 0–2 state, 3–6 attempts, 7 given up. Left out of the serialised form,
    /// since it is large and compresses well: whoever stores a checkpoint stores it apart.
    #[serde(skip)]
    pub cells: Vec<u8>,
}

/// Why a checkpoint cannot be gone on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointError {
    /// It is of a walk of another length.
    OtherWalk,
    /// It contradicts itself.
    Damaged,
}

impl std::fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OtherWalk => "the checkpoint belongs to another plan or shard",
            Self::Damaged => "the checkpoint contradicts itself",
        })
    }
}

impl std::error::Error for CheckpointError {}

impl SweepCheckpoint {
    /// Cells that need no more probes.
    #[must_use]
    pub const fn finished(&self) -> u64 {
        self.finished
    }

    /// Cells that need no more probes, those of the chunks in work included.
    #[must_use]
    pub fn settled(&self) -> u64 {
        // A state, or given up.
        let is_settled = |c: &&u8| **c & 0b1000_0111 != 0;
        let in_work = self.chunks.iter().flat_map(|c| &c.cells).filter(is_settled).count();
        self.finished + in_work as u64
    }

    pub(crate) fn check(&self, walk: &PlanOrder) -> Result<(), CheckpointError> {
        if self.cells != walk.len() {
            return Err(CheckpointError::OtherWalk);
        }
        // Chunks in work lie one behind the other, before what was never begun.
        let mut at = 0;
        for chunk in &self.chunks {
            if chunk.first < at || chunk.cells.len() != chunk.length as usize {
                return Err(CheckpointError::Damaged);
            }
            let end = chunk.first.checked_add(u64::from(chunk.length));
            at = end.ok_or(CheckpointError::Damaged)?;
        }
        let in_work: u64 = self.chunks.iter().map(|c| u64::from(c.length)).sum();
        let begun = self.finished.checked_add(in_work);
        if at > self.next_step || self.next_step > self.cells || begun != Some(self.next_step) {
            return Err(CheckpointError::Damaged);
        }
        Ok(())
    }
}
