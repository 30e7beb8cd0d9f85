//! How much was missed, measured from the answers themselves.
//!
//! # The model
//!
//! A cell that would answer is asked in rounds (attempts) and taken out as soon as it has answered.
//! That is the *removal* design of capture–recapture: Lincoln and Petersen's estimator, and
//! Chapman's correction of it (D. G. Chapman, "Some properties of the hypergeometric distribution
//! with applications to zoological sample censuses", 1951), need marked animals to be caught again;
//! a cell that answered is never asked again, so what is compared instead is one round's catch with
//! the next one's (P. A. P. Moran, "A mathematical theory of animal trapping", Biometrika 38, 1951;
//! C. Zippin, "An evaluation of the removal method of estimating animal populations", Biometrics
//! 12, 1956; G. A. F. Seber and E. D. Le Cren, "Estimating population parameters from catches large
//! relative to the population", Journal of Animal Ecology 36, 1967).
//!
//! Let each attempt be lost (probe or answer) with probability q, and let n₁, n₂, … cells give
//! their *first* answer to attempt 1, 2, …. Of N answering cells n₁ ≈ N(1−q), n₂ ≈ Nq(1−q), and so
//! on: each catch is q times the one before. With A = n₁ + … + nₖ₋₁ and B = n₂ + … + nₖ
//!
//! ```text
//! q = B / A        found = N (1 − qᵏ)        recall = 1 − qᵏ
//! ```
//!
//! For two rounds this is Seber and Le Cren's n₂/n₁. Given A + B, B is binomial with p = q/(1+q),
//! so an interval for p gives one for q = p/(1−p). The interval is Wilson's (E. B. Wilson,
//! "Probable inference, the law of succession, and statistical inference", Journal of the American
//! Statistical Association 22, 1927), which stays sensible at B = 0.
//!
//! Only cells that answered count. A cell that is silent by policy is in no catch, so it can
//! neither raise nor lower the estimate. ICMP errors are left out too: routers limit their rate
//! (RFC 1812, section 4.3.2.8; RFC 4443, section 2.4 (f)), which is policy and not loss.
//!
//! # Which answers
//!
//! RSTs are many and SYN-ACKs few, so loss is measured on both together as long as they agree. Where
//! their 95 % intervals do not meet (hosts that limit their RSTs, full accept queues), the
//! SYN-ACKs alone decide: the promise is about open cells.
//!
//! # When a chunk has had enough attempts
//!
//! After attempt k, once the answers have had their time, a chunk is done when it has no silent
//! cell left, or when k is at least two and the configured minimum, and both of these hold:
//!
//! 1. qᵏ ≤ 1 − promise, with q at its one-sided 95 % upper bound. As long as *no* answer was
//!    missed, q is never taken to be more than [`ASSUMED_LOSS`], however few the answers are: with
//!    few or no answers the bound tells of ignorance and not of loss, and going on to the maximum
//!    over an empty range would cost much and show nothing.
//! 2. The last catch agrees. Cells differ in their loss, and the lossiest ones are left at the end;
//!    then catches shrink more slowly than q says. With r the greater of q and the lower 95 %
//!    bound of nₖ/nₖ₋₁, about nₖ·r/(1−r) cells are still to come, and their share must be at most
//!    1 − promise, too.
//!
//! An attempt begins with a sample, one in 2 to 16 of the silent cells spread evenly over the chunk,
//! unless the loss is known to be too high for that or too few cells answered. Then:
//!
//! 3. With c cells of the sample caught and the rate of catching at its one-sided 95 % upper bound
//!    (Wilson), that many of all silent cells would have answered. If their share is at most
//!    1 − promise, the chunk ends with the attempts before. This rests on nothing but the sample, so it
//!    also holds when cells differ in their loss, and an outage shows in whichever part of the
//!    chunk it fell.
//!
//! At the maximum of attempts the chunk ends anyway and the promise counts as broken.
//!
//! # When the rate was too high
//!
//! The rate is lowered while first attempts are being sent (see `rate.rs`), and again when repetitions
//! are lost, so these attempts lost more than the later ones. Their catches are then left out of q,
//! and k counts the attempts after them, of which there are two at least. A chunk that ends with fewer,
//! at the maximum of attempts, is judged by all of its attempts.
//!
//! # Limits
//!
//! q is an average. Loss that strikes the same cell at every attempt (a path that is down, a host
//! that bans the scanner) looks like silence to every estimator of this kind. It is looked for by
//! another way: see [`outage`](crate::outage).

use serde::{Deserialize, Serialize};

use crate::types::MAX_ATTEMPTS;

/// The loss that is assumed while no answer has been missed and too few came to bound it lower.
pub const ASSUMED_LOSS: f64 = 0.03;

/// 97.5 % point of the normal distribution: two-sided 95 %.
const Z_TWO_SIDED: f64 = 1.959_963_985;
/// 95 % point: one-sided 95 %.
const Z_ONE_SIDED: f64 = 1.644_853_627;
/// An attempt that misses less than this was not made at a rate that the path does not carry.
const HARMLESS: f64 = 0.02;
/// Attempts at a lower rate before a chunk may end: the second shows what the first has lost.
const VERIFIED: usize = 2;
/// Catches that do not shrink have no finite estimate; this stands for "nearly everything is lost".
const MAX_LOSS: f64 = 0.99;

const ROUNDS: usize = MAX_ATTEMPTS as usize;

/// Wilson's score interval for `successes` of `trials` at the normal quantile `z`; (0, 1) when
/// there was no trial.
#[must_use]
pub fn compute_wilson_interval(successes: u64, trials: u64, z: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let n = trials as f64;
    let p = successes as f64 / n;
    let z2 = z * z;
    let centre = p + z2 / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

/// A measured loss per attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossEstimate {
    /// The estimate, 0 to below 1.
    pub estimate: f64,
    /// 95 % confidence interval, two-sided.
    pub interval: (f64, f64),
    /// 95 % upper bound, one-sided.
    pub bound: f64,
    /// Whether any answer was missed at all.
    pub seen: bool,
}

impl LossEstimate {
    /// From the catches of all rounds but the last (`before`) and of all but the first (`after`);
    /// `None` when both are 0.
    #[must_use]
    pub fn from_catches(before: u64, after: u64) -> Option<Self> {
        let trials = before + after;
        if trials == 0 {
            return None;
        }
        let loss = |p: f64| {
            if p >= 0.5 { MAX_LOSS } else { (p / (1.0 - p)).min(MAX_LOSS) }
        };
        let (low, high) = compute_wilson_interval(after, trials, Z_TWO_SIDED);
        Some(Self {
            estimate: loss(after as f64 / trials as f64),
            interval: (loss(low), loss(high)),
            bound: loss(compute_wilson_interval(after, trials, Z_ONE_SIDED).1),
            seen: after > 0,
        })
    }

    /// The loss on which decisions are made; see the rule above.
    #[must_use]
    pub fn prudent(self) -> f64 {
        if self.seen { self.bound } else { self.bound.min(ASSUMED_LOSS) }
    }

    fn meets(self, other: Self) -> bool {
        self.interval.0 <= other.interval.1 && other.interval.0 <= self.interval.1
    }
}

/// First answers by attempt (index 0 is attempt 1).
pub(crate) type AttemptCatches = [u64; ROUNDS];

/// The catches of one chunk.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct AttemptTally {
    /// First answers of any kind.
    pub any: AttemptCatches,
    /// First answers by TCP.
    pub tcp: AttemptCatches,
    /// First SYN-ACKs.
    pub open: AttemptCatches,
    /// The first attempts that were made at a rate which the path did not carry, and which has been
    /// lowered since: their losses say nothing of the attempts after them.
    #[serde(default)]
    pub spoiled: u8,
}

impl AttemptTally {
    /// The attempts of one class that count for nothing, of `rounds`. Where an attempt of it is not certain
    /// to have missed more than [`HARMLESS`], the rate did it no harm (hosts that limit their RSTs
    /// answer SYNs as ever).
    fn spoiled(&self, class: CellClass, rounds: usize) -> usize {
        let catches = self.of(class);
        let rounds = rounds.min(ROUNDS);
        let harmless = |j: usize| {
            compute_wilson_interval(catches[j], catches[j] + catches[j - 1], Z_TWO_SIDED).0
                <= HARMLESS
        };
        let mut spoiled = usize::from(self.spoiled).min(rounds);
        // What the last attempt missed is not known yet: the one before it says what to think of it.
        if spoiled == rounds && (rounds < 2 || !harmless(rounds - 1)) {
            return rounds;
        }
        while spoiled > 0 && (spoiled == rounds || harmless(spoiled)) {
            spoiled -= 1;
        }
        spoiled
    }

    pub(crate) fn of(&self, class: CellClass) -> &AttemptCatches {
        match class {
            CellClass::Tcp => &self.tcp,
            CellClass::Open => &self.open,
        }
    }
}

/// Which answers an estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellClass {
    /// SYN-ACKs and RSTs.
    Tcp,
    /// SYN-ACKs alone.
    Open,
}

/// Catches of one class, pooled over chunks.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct ClassPool {
    before: u64,
    after: u64,
    /// The same with the attempts that were spoiled.
    #[serde(default)]
    all: (u64, u64),
    /// `ratio[j]`: catches of attempt j and of attempt j + 1, of the chunks that made both. Attempts are
    /// counted from the first that was not spoiled.
    ratio: [(u64, u64); ROUNDS],
    /// Cells found, by how many attempts their finished chunk made that were not spoiled.
    found: [u64; ROUNDS + 1],
}

impl ClassPool {
    fn add(&mut self, catches: &AttemptCatches, rounds: usize, spoiled: usize, finished: bool) {
        let rounds = rounds.min(ROUNDS);
        for pair in catches[..rounds].windows(2) {
            self.all.0 += pair[0];
            self.all.1 += pair[1];
        }
        // A chunk that ended before the rate was right has no other evidence than its spoiled attempts.
        let spoiled = if finished && rounds < spoiled + VERIFIED { 0 } else { spoiled };
        let counted = catches.get(spoiled..rounds).unwrap_or_default();
        for (ratio, pair) in self.ratio.iter_mut().zip(counted.windows(2)) {
            self.before += pair[0];
            self.after += pair[1];
            ratio.0 += pair[0];
            ratio.1 += pair[1];
        }
        if finished && rounds > 0 {
            self.found[counted.len().max(1)] += catches.iter().sum::<u64>();
        }
    }

    /// (found, expected to be missed) over the finished chunks, if the loss is `q`.
    fn missed(&self, q: f64) -> (f64, f64) {
        // No attempt, nothing asked, nothing missed.
        self.found.iter().zip(0i32..).skip(1).fold((0.0, 0.0), |(found, missed), (n, k)| {
            let lost = q.powi(k);
            let n = *n as f64;
            (found + n, missed + n * lost / (1.0 - lost))
        })
    }
}

/// What is known of the loss, pooled over chunks.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct LossPool {
    tcp: ClassPool,
    open: ClassPool,
    any: AttemptCatches,
    /// Silent cells of finished chunks: no more than these can have been missed.
    silent: u64,
    /// Cells that finished chunks are expected to have missed, from their last catches.
    tail: f64,
    /// Cells that may have been missed in stretches with few answers that could not be told from
    /// chance; see [`outage`](crate::outage).
    #[serde(default)]
    doubted: f64,
}

impl LossPool {
    /// Adds a chunk that has completed `rounds` attempts, answers waited for.
    pub(crate) fn add(&mut self, tally: &AttemptTally, rounds: u8) {
        self.add_catches(tally, rounds, false);
    }

    /// Adds what a sample of a chunk's silent cells showed after `rounds` attempts: of the cells that
    /// answered before, the sample's share is compared with what it caught.
    pub(crate) fn add_sample(&mut self, tally: &AttemptTally, rounds: u8, stride: usize) {
        let last = usize::from(rounds);
        for class in [CellClass::Tcp, CellClass::Open] {
            let catches = tally.of(class);
            if let (Some(before), Some(after)) =
                (catches.get(last.wrapping_sub(1)), catches.get(last))
                && let Some(ratio) = last.checked_sub(1 + tally.spoiled(class, last))
            {
                let pool = match class {
                    CellClass::Tcp => &mut self.tcp,
                    CellClass::Open => &mut self.open,
                };
                let before = before / stride as u64;
                pool.before += before;
                pool.after += after;
                pool.all.0 += before;
                pool.all.1 += after;
                pool.ratio[ratio].0 += before;
                pool.ratio[ratio].1 += after;
            }
        }
    }

    /// Adds a chunk whose silent cells are claimed to be silent, after `rounds` attempts.
    pub(crate) fn add_finished(
        &mut self,
        tally: &AttemptTally,
        rounds: u8,
        silent: u64,
        tail: f64,
    ) {
        self.add_catches(tally, rounds, true);
        self.silent += silent;
        self.tail += tail;
    }

    fn add_catches(&mut self, tally: &AttemptTally, rounds: u8, finished: bool) {
        let rounds = usize::from(rounds);
        let spoiled = |class| tally.spoiled(class, rounds);
        self.tcp.add(&tally.tcp, rounds, spoiled(CellClass::Tcp), finished);
        self.open.add(&tally.open, rounds, spoiled(CellClass::Open), finished);
        for (a, b) in self.any.iter_mut().zip(tally.any) {
            *a += b;
        }
    }

    /// So many cells may have been missed in stretches with few answers.
    pub(crate) const fn doubt(&mut self, cells: f64) {
        self.doubted += cells;
    }

    /// First answers by attempt.
    pub(crate) const fn any(&self) -> &AttemptCatches {
        &self.any
    }

    /// Which answers to believe, and the loss they show.
    pub(crate) fn loss(&self) -> (CellClass, Option<LossEstimate>) {
        let of = |(before, after)| LossEstimate::from_catches(before, after);
        // A rate that is too high loses of both alike, so that attempts which were spoiled count here.
        let class = match (of(self.tcp.all), of(self.open.all)) {
            (Some(all), Some(open)) if !all.meets(open) => CellClass::Open,
            _ => CellClass::Tcp,
        };
        let pool = self.class(class);
        (class, of((pool.before, pool.after)))
    }

    fn class(&self, class: CellClass) -> &ClassPool {
        match class {
            CellClass::Tcp => &self.tcp,
            CellClass::Open => &self.open,
        }
    }

    /// How many cells a chunk is expected to have missed by the look of its last catch.
    pub(crate) fn tail(&self, tally: &AttemptTally, rounds: u8, silent: u64) -> f64 {
        let (class, loss) = self.loss();
        let k = usize::from(rounds);
        if !(2..=ROUNDS).contains(&k) {
            return 0.0;
        }
        let last = tally.of(class)[k - 1] as f64;
        let catches = tally.of(class);
        let ratio = k.checked_sub(VERIFIED + tally.spoiled(class, k));
        let (a, b) = ratio.map_or((catches[k - 2], catches[k - 1]), |j| self.class(class).ratio[j]);
        // Late catches are small numbers and their ratio is mostly noise: it counts as far as it
        // is significantly above the average.
        let ratio = LossEstimate::from_catches(a, b).map_or(0.0, |l| l.interval.0);
        let r = ratio.max(loss.map_or(0.0, |l| l.estimate)).min(MAX_LOSS);
        (last * r / (1.0 - r)).min(silent as f64)
    }

    /// Whether a chunk may end after `rounds` attempts; rules 1 and 2 above.
    pub(crate) fn enough(
        &self,
        tally: &AttemptTally,
        rounds: u8,
        silent: u64,
        promise: f64,
    ) -> bool {
        let (class, loss) = self.loss();
        let q = loss.map_or(ASSUMED_LOSS, LossEstimate::prudent);
        let k = usize::from(rounds);
        let spoiled = tally.spoiled(class, k);
        // That the lower rate is right shows only in what a second attempt at it still brings.
        if spoiled > 0 && k < spoiled + VERIFIED {
            return false;
        }
        if q.powi((k - spoiled) as i32) > 1.0 - promise {
            return false;
        }
        let missed = self.tail(tally, rounds, silent);
        let found: u64 = tally.of(class).iter().sum();
        missed <= (1.0 - promise) * (found as f64 + missed)
    }

    /// Whether a chunk may end because a sample of its silent cells caught so little in attempt
    /// `rounds` + 1; rule 3 above.
    pub(crate) fn sample_suffices(
        &self,
        tally: &AttemptTally,
        rounds: u8,
        silent: u64,
        stride: usize,
        promise: f64,
    ) -> bool {
        let (class, loss) = self.loss();
        let catches = tally.of(class);
        let caught = catches.get(usize::from(rounds)).copied().unwrap_or(u64::MAX);
        let asked = (silent + caught) / (stride as u64).max(1);
        let missing = compute_wilson_interval(caught, asked.max(caught), Z_ONE_SIDED).1
            * (silent + caught) as f64;
        // The attempt that would find them loses some as well.
        let missed = missing / (1.0 - loss.map_or(ASSUMED_LOSS, LossEstimate::prudent));
        let found: u64 = catches.iter().sum();
        missed <= (1.0 - promise) * (found as f64 + missed)
    }

    /// With which sample the next attempt should begin: one in this many silent cells, so that
    /// catching none of them would be enough. 0: with all, because the loss is known to be too high
    /// for that after `rounds`, or too little answered.
    pub(crate) fn sample(&self, tally: &AttemptTally, rounds: u8, promise: f64) -> usize {
        /// Three is the upper bound of a rate of which nothing was seen; a little more for the loss.
        const UNSEEN: f64 = 4.0;
        const WIDEST: f64 = 16.0;
        let (class, loss) = self.loss();
        let q = loss.map_or(0.0, |l| l.estimate);
        if q.powi(i32::from(rounds)) > 1.0 - promise {
            return 0;
        }
        let found: u64 = tally.of(class).iter().sum();
        let stride = (found as f64 * (1.0 - promise) / UNSEEN).min(WIDEST) as usize;
        if stride < 2 { 0 } else { stride }
    }

    /// The recall among the cells of finished chunks: estimate and 95 % interval.
    pub(crate) fn recall(&self) -> Option<(f64, (f64, f64))> {
        let (_, loss) = self.loss();
        // The share is that of the open cells where there are any, else of what answered.
        let pool = if self.open.missed(0.0).0 > 0.0 { &self.open } else { &self.tcp };
        let (found, _) = pool.missed(0.0);
        if found == 0.0 {
            return None;
        }
        if self.silent == 0 {
            return Some((1.0, (1.0, 1.0)));
        }
        let loss = loss?;
        let all = self.tcp.missed(0.0).0.max(found);
        let recall = |q: f64, tail: f64, doubted: f64| {
            let (found, missed) = pool.missed(q);
            let missed = (missed.max(tail) + doubted).min(self.silent as f64);
            found / (found + missed)
        };
        // The tail was counted in cells of either class.
        let tail = self.tail * found / all;
        let estimate = recall(loss.estimate, tail, 0.0);
        let low = recall(loss.interval.1, tail, self.doubted * found / all).min(estimate);
        let high = recall(loss.interval.0, 0.0, 0.0).max(estimate);
        Some((estimate, (low, high)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometric(n: f64, q: f64, rounds: usize) -> AttemptCatches {
        std::array::from_fn(|j| {
            if j < rounds { (n * q.powi(j as i32) * (1.0 - q)).round() as u64 } else { 0 }
        })
    }

    fn tally(open: AttemptCatches, closed: AttemptCatches) -> AttemptTally {
        let tcp: AttemptCatches = std::array::from_fn(|j| open[j] + closed[j]);
        AttemptTally { any: tcp, tcp, open, spoiled: 0 }
    }

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
        for (x, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (l, h) = compute_wilson_interval(x, n, Z_TWO_SIDED);
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{x}/{n}: {l} {h}");
        }
        assert_eq!(compute_wilson_interval(0, 0, Z_TWO_SIDED), (0.0, 1.0));
    }

    #[test]
    fn an_exact_geometric_catch_gives_back_its_loss() {
        for q in [0.001, 0.01, 0.05, 0.1, 0.4] {
            for rounds in [2, 3, 8] {
                let mut pool = LossPool::default();
                pool.add(&tally(geometric(1e6, q, rounds), [0; ROUNDS]), rounds as u8);
                let loss = pool.loss().1.unwrap();
                assert!((loss.estimate - q).abs() < 1e-4, "{q} {rounds}: {loss:?}");
                assert!(loss.interval.0 <= q && q <= loss.interval.1);
            }
        }
    }

    #[test]
    fn one_percent_loss_takes_three_attempts_for_four_nines() {
        let attempts = |q: f64, n: f64, promise: f64| {
            (2..=15u8).find(|k| {
                let tally = tally(geometric(n, q, usize::from(*k)), [0; ROUNDS]);
                let mut pool = LossPool::default();
                pool.add(&tally, *k);
                pool.enough(&tally, *k, 1000, promise)
            })
        };
        assert_eq!(attempts(0.0, 1000.0, 0.9999), Some(2));
        assert_eq!(attempts(0.01, 10_000.0, 0.9999), Some(3));
        assert_eq!(attempts(0.01, 10_000.0, 0.99), Some(2));
        assert_eq!(attempts(0.1, 10_000.0, 0.9999), Some(5));
        assert_eq!(attempts(0.5, 100_000.0, 0.9999), Some(14));
        // Few answers and none missed: the assumption decides, not the ignorance.
        assert_eq!(attempts(0.0, 5.0, 0.9999), Some(3));
        assert_eq!(attempts(0.0, 0.0, 0.9999), Some(3));
    }

    #[test]
    fn a_lossy_minority_keeps_the_chunk_going() {
        // 5 % of the cells lose every second attempt, the others none: the average is 2.6 %, which
        // alone would end after three attempts with 0.6 % of the cells missing.
        let bad = geometric(5000.0, 0.5, 3);
        let good = geometric(95_000.0, 0.0, 3);
        let tally = tally(std::array::from_fn(|j| bad[j] + good[j]), [0; ROUNDS]);
        let mut pool = LossPool::default();
        pool.add(&tally, 3);
        let (_, loss) = pool.loss();
        assert!(loss.unwrap().prudent().powi(3) < 1e-4);
        assert!(!pool.enough(&tally, 3, 100_000, 0.9999));
        // Half of 625 are truly missing, and the tail says about that.
        let tail = pool.tail(&tally, 3, 100_000);
        assert!((400.0..=700.0).contains(&tail), "{tail}");
    }

    /// Four attempts at a rate that lost half and more of the answers, and then `later`.
    fn spoiled_tally(spoiled: u8, later: &[u64]) -> AttemptTally {
        let mut open = [0; ROUNDS];
        open[..4].copy_from_slice(&[4000, 3000, 2500, 2000]);
        open[4..4 + later.len()].copy_from_slice(later);
        AttemptTally { spoiled, ..tally(open, [0; ROUNDS]) }
    }

    #[test]
    fn attempts_at_a_rate_that_was_lowered_count_for_nothing() {
        // What was lost by the fourth is found by the fifth, and nothing after it.
        let judge = |spoiled| {
            let tally = spoiled_tally(spoiled, &[1500, 0, 0, 0]);
            let mut pool = LossPool::default();
            pool.add_finished(&tally, 8, 4000, 0.0);
            (pool.enough(&tally, 8, 4000, 0.9999), pool.recall().unwrap().0)
        };
        let ((with, recall), (without, low)) = (judge(4), judge(0));
        assert!(with && recall > 0.9999, "{recall}");
        assert!(!without && low < 0.9999, "{low}");
    }

    #[test]
    fn one_attempt_at_a_lower_rate_proves_nothing() {
        // Other chunks have lost nothing, so that a single attempt of one in ten thousand would do.
        let mut pool = LossPool::default();
        pool.add_finished(&tally(geometric(1e7, 0.0, 2), [0; ROUNDS]), 2, 0, 0.0);
        let one = spoiled_tally(4, &[1500]);
        assert!(!pool.enough(&one, 5, 4000, 0.9999));
        assert!(pool.enough(&spoiled_tally(4, &[1500, 0]), 6, 4000, 0.9999));
        // Nor does one that brings little, after others that found nearly all.
        let mut open = [0; ROUNDS];
        open[..4].copy_from_slice(&[1_000_000, 100_000, 10_000, 300]);
        let little = AttemptTally { spoiled: 3, ..tally(open, [0; ROUNDS]) };
        assert!(!pool.enough(&little, 4, 4000, 0.9999) && pool.enough(&little, 5, 4000, 0.9999));
        // At the maximum of attempts it ends like that, and is no better than what it has lost.
        for spoiled in [4, 5] {
            let mut pool = LossPool::default();
            let tally = spoiled_tally(spoiled, &[1500]);
            let tail = pool.tail(&tally, 5, 4000);
            pool.add_finished(&tally, 5, 4000, tail);
            assert!(pool.recall().unwrap().0 < 0.9, "{spoiled}: {:?}", pool.recall());
        }
    }

    #[test]
    fn limited_resets_do_not_count_as_loss_of_open_cells() {
        let open = geometric(4000.0, 0.0, 2);
        let closed = geometric(50_000.0, 0.5, 2);
        let mut pool = LossPool::default();
        pool.add(&tally(open, closed), 2);
        let (class, loss) = pool.loss();
        assert_eq!(class, CellClass::Open);
        assert!(loss.unwrap().estimate < 1e-9);
    }

    #[test]
    fn recall_is_unknown_without_answers_and_certain_without_silence() {
        let mut pool = LossPool::default();
        pool.add_finished(&AttemptTally::default(), 3, 1000, 0.0);
        assert_eq!(pool.recall(), None);
        let mut pool = LossPool::default();
        pool.add_finished(&tally(geometric(10.0, 0.0, 1), [0; ROUNDS]), 1, 0, 0.0);
        assert_eq!(pool.recall(), Some((1.0, (1.0, 1.0))));
    }

    #[test]
    fn catches_that_grow_are_no_division_by_zero() {
        for (a, b) in [(0, 0), (0, 1), (1, 1), (1, 1000), (u64::MAX / 4, 7)] {
            if let Some(loss) = LossEstimate::from_catches(a, b) {
                assert!((0.0..1.0).contains(&loss.estimate), "{loss:?}");
                assert!(loss.interval.0 <= loss.interval.1 && loss.interval.1 < 1.0);
            }
        }
    }
}
