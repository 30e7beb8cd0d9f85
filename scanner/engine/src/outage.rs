//! Stretches of a sweep in which far fewer cells answered than in the others.
//!
//! The order of the cells is a random permutation, so the cells that answer are spread evenly over
//! it, but for chance. Attempts to one cell are about a second apart; an outage of some seconds, a
//! ban or a full table swallows all of them, and no estimate that takes losses for independent sees
//! it. It shows in the order: a stretch of consecutive cells with hardly an answer.
//!
//! The stretch is found by Page's cumulative sum (E. S. Page, "Continuous inspection schemes",
//! Biometrika 41, 1954) of the log-likelihood ratio of "a quarter of the usual share answers here"
//! to "the usual share". The ratio is a martingale where nothing is amiss, so that of n cells the sum
//! exceeds ln n + x anywhere with a probability of at most e⁻ˣ.

use std::ops::Range;

/// What a cell says about an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutageReplies {
    /// It answered.
    Answered,
    /// It did not.
    Silent,
    /// Nothing: it was not asked, or its answer is limited by policy.
    Aside,
}

/// A stretch of consecutive cells with too few answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SilentStretch {
    pub cells: Range<usize>,
    /// By how much the sum exceeds ln n.
    pub excess: f64,
    /// How many cells would have answered there, and did not.
    pub missing: f64,
}

/// The share of the usual answers that is taken for an outage.
const LEFT: f64 = 0.25;
/// Stretches of one chunk that are told apart; the worst come first.
const MOST: usize = 8;
/// From here on a stretch is asked again: by chance once in twenty chunks.
pub(crate) const DOUBTED: f64 = 3.0;
/// From here on its silence is not believed: by chance once in a million chunks.
pub(crate) const DISBELIEVED: f64 = 14.0;
/// With fewer answers nothing is usual.
const FEWEST: f64 = 10.0;

/// How many cells answered of those that say something.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct AnswerShare {
    pub answered: f64,
    pub cells: f64,
}

impl AnswerShare {
    pub(crate) fn add(&mut self, heard: OutageReplies) {
        match heard {
            OutageReplies::Answered => {
                (self.answered, self.cells) = (self.answered + 1.0, self.cells + 1.0)
            }
            OutageReplies::Silent => self.cells += 1.0,
            OutageReplies::Aside => {}
        }
    }

    /// The share, where enough answered for one to be usual.
    fn usual(self) -> Option<f64> {
        // At a share of 1 a single silent cell would prove an outage.
        (self.answered >= FEWEST).then(|| (self.answered / self.cells).clamp(1e-9, 0.98))
    }
}

/// The stretches of a chunk in which fewer answered than is usual, the worst first. `before`: what
/// other chunks of the sweep answered.
pub(crate) fn find_silent_stretches(
    chunk: &[OutageReplies],
    before: AnswerShare,
) -> Vec<SilentStretch> {
    let mut found = find_stretches_by_sum(chunk, before);
    if before.answered == 0.0
        && let Some(gap) = find_widest_gap(chunk)
        && found.iter().all(|s| s.excess < gap.excess)
    {
        found.insert(0, gap);
    }
    found
}

/// The widest gap between answers, if it is too wide for so many answers. Given how many answered,
/// their places are uniform, so that of k answers among n cells a gap of L is anywhere with a
/// probability of at most (k + 1)(1 − L/n)ᵏ. This sees what the sum does not: an outage that begins
/// before enough has answered for anything to be usual.
fn find_widest_gap(chunk: &[OutageReplies]) -> Option<SilentStretch> {
    let mut all = AnswerShare::default();
    chunk.iter().for_each(|h| all.add(*h));
    let (mut gap, mut silent, mut from) = ((0.0, 0..0), 0.0, 0);
    for (n, heard) in chunk.iter().enumerate() {
        match heard {
            OutageReplies::Answered => (silent, from) = (0.0, n + 1),
            OutageReplies::Silent => silent += 1.0,
            OutageReplies::Aside => {}
        }
        if silent > gap.0 {
            gap = (silent, from..n + 1);
        }
    }
    let (length, cells) = gap;
    if all.answered == 0.0 || length == 0.0 {
        return None;
    }
    let outside = all.cells - length;
    let chance = (all.answered + 1.0).ln() + all.answered * (outside / all.cells).ln();
    let missing = length * all.answered / outside;
    (-chance >= DOUBTED).then_some(SilentStretch { cells, excess: -chance, missing })
}

/// The stretches that the sum shows.
fn find_stretches_by_sum(chunk: &[OutageReplies], before: AnswerShare) -> Vec<SilentStretch> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut out: Vec<SilentStretch> = Vec::new();
    // What is outside of the stretches found so far is what is usual.
    for _ in 0..MOST {
        let mut share = before;
        for (n, heard) in chunk.iter().enumerate() {
            if !found.iter().any(|r| r.contains(&n)) {
                share.add(*heard);
            }
        }
        let Some(usual) = share.usual() else { break };
        let allowance = ((before.cells + chunk.len() as f64).max(2.0)).ln();
        out = found.iter().map(|r| measure_stretch(chunk, r.clone(), usual, allowance)).collect();
        let mut worst: Option<(Range<usize>, f64)> = None;
        let mut from = 0;
        let mut edges: Vec<Range<usize>> = found.clone();
        edges.sort_by_key(|r| r.start);
        edges.push(chunk.len()..chunk.len());
        for taken in edges {
            if let Some((range, sum)) = find_steepest_range(chunk, from..taken.start, usual)
                && worst.as_ref().is_none_or(|(_, s)| sum > *s)
            {
                worst = Some((range, sum));
            }
            from = taken.end;
        }
        match worst {
            Some((range, sum)) if sum - allowance >= DOUBTED => {
                out.push(measure_stretch(chunk, range.clone(), usual, allowance));
                found.push(range);
            }
            _ => break,
        }
    }
    out.retain(|s| s.excess >= DOUBTED);
    out.sort_by(|a, b| b.excess.total_cmp(&a.excess));
    out
}

/// What an answered and a silent cell add to the sum.
fn compute_sum_steps(usual: f64) -> (f64, f64) {
    (LEFT.ln(), ((1.0 - usual * LEFT) / (1.0 - usual)).ln())
}

fn measure_stretch(
    chunk: &[OutageReplies],
    cells: Range<usize>,
    usual: f64,
    allowance: f64,
) -> SilentStretch {
    let mut share = AnswerShare::default();
    chunk[cells.clone()].iter().for_each(|h| share.add(*h));
    let (answered, silent) = compute_sum_steps(usual);
    let sum = share.answered * answered + (share.cells - share.answered) * silent;
    SilentStretch { cells, excess: sum - allowance, missing: share.cells * usual - share.answered }
}

/// The part of `within` with the greatest sum.
fn find_steepest_range(
    chunk: &[OutageReplies],
    within: Range<usize>,
    usual: f64,
) -> Option<(Range<usize>, f64)> {
    let (answered, silent) = compute_sum_steps(usual);
    let (mut sum, mut from) = (0.0, within.start);
    let mut best: Option<(Range<usize>, f64)> = None;
    for n in within {
        sum += match chunk[n] {
            OutageReplies::Answered => answered,
            OutageReplies::Silent => silent,
            OutageReplies::Aside => 0.0,
        };
        if sum <= 0.0 {
            (sum, from) = (0.0, n + 1);
        } else if best.as_ref().is_none_or(|(_, s)| sum > *s) {
            best = Some((from..n + 1, sum));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    fn chance(state: &mut u64, p: f64) -> bool {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 <= p
    }

    fn chunk(seed: u64, n: usize, p: f64, out: Range<usize>, left: f64) -> Vec<OutageReplies> {
        let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
        (0..n)
            .map(|i| {
                let there = chance(&mut state, p);
                let heard = !out.contains(&i) || chance(&mut state, left);
                if there && heard { OutageReplies::Answered } else { OutageReplies::Silent }
            })
            .collect()
    }

    #[test]
    fn chance_alone_is_rarely_doubted_and_never_disbelieved() {
        for p in [0.01, 0.1, 0.5, 0.9, 1.0] {
            let (mut doubted, mut disbelieved) = (0, 0);
            for seed in 0..1000 {
                let cells = chunk(seed, 2000, p, 0..0, 1.0);
                let found = find_silent_stretches(&cells, AnswerShare::default());
                doubted += u32::from(!found.is_empty());
                disbelieved += u32::from(found.iter().any(|s| s.excess >= DISBELIEVED));
            }
            assert!(doubted <= 50, "{p}: {doubted} of 1000");
            assert_eq!(disbelieved, 0, "{p}");
        }
    }

    #[test]
    fn an_outage_is_found_where_it_was_and_about_as_large_as_it_was() {
        for p in [0.1, 0.5, 0.9, 1.0] {
            for left in [0.0, 0.05] {
                for seed in 0..50 {
                    let cells = chunk(seed, 5000, p, 4000..4700, left);
                    let found = find_silent_stretches(&cells, AnswerShare::default());
                    let worst = &found[0];
                    assert!(worst.excess >= DISBELIEVED, "{p} {left} {seed}: {worst:?}");
                    // An edge is known as closely as answers are dense.
                    let margin = 100 + (20.0 / p) as usize;
                    assert!(worst.cells.start.abs_diff(4000) < margin, "{worst:?}");
                    assert!(worst.cells.end.abs_diff(4700) < margin, "{worst:?}");
                    let truth = 700.0 * p * (1.0 - left);
                    // A quarter, and what chance does to so few.
                    let room = 0.25 * truth + 2.0 * truth.sqrt();
                    assert!((worst.missing - truth).abs() < room, "{p}: {worst:?}");
                }
            }
        }
    }

    #[test]
    fn a_chunk_without_any_answer_is_one_after_chunks_with_some() {
        let silent = vec![OutageReplies::Silent; 3000];
        assert!(find_silent_stretches(&silent, AnswerShare::default()).is_empty());
        let before = AnswerShare { answered: 300.0, cells: 3000.0 };
        let found = find_silent_stretches(&silent, before);
        assert_eq!(found[0].cells, 0..3000);
        assert!(found[0].excess >= DISBELIEVED && (found[0].missing - 300.0).abs() < 1.0);
    }

    #[test]
    fn an_outage_that_begins_with_the_sweep_is_seen_by_the_gap() {
        let mut cells = vec![OutageReplies::Silent; 4000];
        assert!(
            find_silent_stretches(&cells, AnswerShare::default()).is_empty(),
            "nothing is usual"
        );
        for n in [0, 1, 3, 4, 7] {
            cells[n] = OutageReplies::Answered;
        }
        let found = find_silent_stretches(&cells, AnswerShare::default());
        assert_eq!(found[0].cells, 8..4000);
        assert!(found[0].excess >= DISBELIEVED, "{found:?}");
        // As few answers, spread out, are no outage.
        let mut cells = vec![OutageReplies::Silent; 4000];
        for n in [300, 900, 1800, 2500, 3600] {
            cells[n] = OutageReplies::Answered;
        }
        assert!(find_silent_stretches(&cells, AnswerShare::default()).is_empty());
    }

    #[test]
    fn two_outages_are_two_stretches() {
        let mut cells = chunk(3, 8000, 0.5, 1000..1400, 0.0);
        cells[6000..6300].fill(OutageReplies::Silent);
        let found = find_silent_stretches(&cells, AnswerShare::default());
        assert_eq!(found.iter().filter(|s| s.excess >= DISBELIEVED).count(), 2, "{found:?}");
    }
}
