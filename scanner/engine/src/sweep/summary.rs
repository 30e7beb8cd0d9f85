//! What a sweep amounted to: its counts, its estimates, and what is not covered or doubted.

use mimawari_probes::gap::Gap;
use mimawari_probes::observation::CellState;

use super::SweepEngine;
use crate::estimate::{ASSUMED_LOSS, CellClass};
use crate::types::SweepSummary;

/// Variation of the answers, in units of chance, from which on losses are said to come in bursts.
const BURSTY: f64 = 3.0;

impl SweepEngine {
    /// What it amounted to so far.
    #[must_use]
    pub fn summary(&self) -> SweepSummary {
        let count = |s: CellState| self.states[s as usize];
        let (open, closed) = (count(CellState::Open), count(CellState::Closed));
        let (prohibited, silent) = (count(CellState::Prohibited), count(CellState::Silent));
        let not_probed = self.cells - open - closed - prohibited - silent;
        let answered = self.answered();
        let pool = self.pool();
        let (class, loss) = pool.loss();
        let recall = pool.recall();
        let attempts = if self.sent == 0 { 0 } else { self.attempts };

        let mut gaps = Vec::new();
        if let Some(loss) = loss {
            gaps.push(Gap::EstimateMethod { open_only: class == CellClass::Open });
            if !loss.seen && loss.bound > ASSUMED_LOSS {
                gaps.push(Gap::LossAssumed { answered, loss: ASSUMED_LOSS });
            }
        }
        let mut promise_kept = true;
        let mut broken = |gap: Gap| {
            promise_kept = false;
            gaps.push(gap);
        };
        if answered == 0 && silent > 0 {
            broken(Gap::NoEstimate);
        }
        if self.broken > 0 {
            broken(Gap::ChunksBelowRecall {
                recall: self.config.recall,
                chunks: self.broken,
                attempts: self.attempts,
            });
        }
        if self.gave_up {
            broken(Gap::SweepGaveUp);
        } else if self.stop_at.is_some() {
            broken(Gap::SweepStopped);
        }
        if not_probed > self.excluded {
            broken(Gap::CellsLeft { cells: not_probed - self.excluded });
        }
        if self.outages.0 > 0 {
            let (stretches, cells) = self.outages;
            gaps.push(Gap::StretchesUnanswered { stretches, cells });
        }
        if self.receive_lost > 0 {
            gaps.push(Gap::FramesLost { frames: self.receive_lost });
        }
        let facts = self.rate.facts;
        let capacity = facts.capacity.or(facts.in_bursts);
        if let Some(capacity) = capacity {
            gaps.push(Gap::PathCapacity {
                packets_per_second: capacity,
                times: u64::from(facts.congested),
            });
        }
        if let Some(left) = facts.worst_shift {
            gaps.push(Gap::AnswersFewer { share_left: left });
        }
        let dispersion = facts.dispersion();
        if let Some(d) = dispersion.filter(|d| *d > BURSTY) {
            gaps.push(Gap::LossInBursts { dispersion: d });
        }
        SweepSummary {
            cells: self.cells,
            open,
            closed,
            prohibited,
            silent,
            not_probed,
            excluded: self.excluded.min(not_probed),
            sent: self.sent,
            send_failures: self.send_failures,
            receive_lost: self.receive_lost,
            rate: self.rate.get(),
            path_capacity: capacity,
            dispersion,
            attempts,
            answers_by_attempt: pool.any()[..usize::from(attempts)].to_vec(),
            loss_estimate: loss.map(|l| l.estimate),
            recall_estimate: recall.map(|r| r.0),
            recall_interval: recall.map(|r| r.1),
            promise_kept,
            notes: Vec::new(),
            gaps,
        }
    }
}
