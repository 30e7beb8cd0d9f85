//! The rate below the ceiling: what the path carries, measured while sending.

use std::collections::VecDeque;
use std::time::Duration;

use crate::spacing::{BurstChange, BurstControl, FrameSpacing};
use crate::types::SweepConfig;

/// A window of first attempts is at least this long.
const WINDOW: Duration = Duration::from_millis(200);
/// And at most this long, where few answer.
const LONGEST_WINDOW: Duration = Duration::from_secs(5);
/// Answers that a window should have for its share to mean something.
const ANSWERS: u64 = 1500;
/// How long after its end a window's answers are counted. Later ones count in no window alike.
const PATIENCE: Duration = Duration::from_millis(400);
/// Where a sweep begins, if its ceiling allows it: slow enough for nearly any path, since what the
/// first windows lose is taken for usual.
const START: u32 = 5_000;
/// How long each step of the slow start takes.
const STARTING: Duration = Duration::from_millis(100);
/// A drop of the answers counts when it is this many standard errors and this share of the whole.
const SIGNIFICANT: f64 = 3.5;
const RELEVANT: f64 = 0.03;
/// What is sent of the capacity that was measured.
const BELOW_CAPACITY: f64 = 0.97;
/// Probes that the reference remembers: older ones fade.
const REMEMBERED: f64 = 2_000_000.0;
/// So often burst and rate are lowered before something else is held to be the reason of a drop: a full
/// bucket lets more through than its rate at first, so that the first measure may be too high.
const TRIES: u32 = 2;
/// How often local losses may lower the rate.
const STEP: Duration = Duration::from_secs(1);
/// Quiet windows below the capacity before more is tried: at first, and where that proved to be in
/// vain again and again.
const CRUISE: (u32, u32) = (10, 60);
/// How much more is tried first; twice as much with every further quiet window, up to the second.
const MORE: (f64, f64) = (0.02, 0.5);
/// By how much the rate grows with every quiet window while the capacity is not known.
const SEARCH: f64 = 1.5;
/// What is sent of the rate while only repetitions are sent, whose answers say little of it.
const BLIND: f64 = 0.95;
/// Of the answers to one repetition, the share that the next one still brings when the path loses too
/// much; and how many make it certain.
const LOSSY: (f64, u64) = (0.2, 20);

/// Finds the rate that the path carries.
///
/// The order of the probes is a random permutation, so any stretch of first attempts is a random
/// sample of the cells, and the share of them that is answered is the same in every stretch but for
/// chance. If it falls while the rate rises, the difference is loss that the rate makes, and is known
/// half a second later, without a single repetition: a path that lets C packets a second through
/// answers C/rate of what it otherwise would. Loss that does not depend on the rate is in every
/// window alike and changes nothing.
///
/// * The first windows double the rate up to the ceiling (slow start).
/// * A significant drop makes the burst small first, since a policer with a small bucket drops what comes
///   back to back at any rate, and sets the rate just below the capacity that the drop shows. That is
///   the delivery rate, as BBR measures it; with the old burst it is a lower bound, and the rate is
///   raised quickly until the next drop shows the capacity for single frames.
/// * Then it stays a little below, and tries more from time to time: a fiftieth at first, then
///   faster and faster, as long as nothing is lost.
/// * If the answers stay as few after burst and rate were lowered, it was neither: the former ones
///   come back and the new share is the reference from then on (hosts went away, or somebody
///   shuts us out).
/// * While only repetitions are sent, whose answers say little of the path, a little more
///   is left to spare, and what they do say counts.
/// * Frames lost on this machine lower the rate to 7/10, at most once a second.
#[derive(Debug, Clone)]
pub(crate) struct RateControl {
    floor: u32,
    ceiling: u32,
    /// The ceiling is a bound, not a wish: the rate is raised only on evidence.
    careful: bool,
    now: u32,
    windows: VecDeque<RateWindow>,
    /// The share that is answered when the rate does no harm: probes and answers.
    reference: (f64, f64),
    /// Windows that began before this say nothing of the rate now.
    changed: Duration,
    /// What the last drop was, until the next window tells whether lowering the rate helped.
    trial: Option<RateTrial>,
    /// Whether the rate was ever lowered.
    cut: bool,
    burst: BurstControl,
    /// The capacity is not known yet for the burst of now.
    searching: bool,
    /// Windows without a drop, one after another.
    quiet: u32,
    /// Quiet windows before more than now is tried.
    cruise: u32,
    /// The rate before more was tried.
    cruised: u32,
    /// Probes and answers since the rate was changed.
    tried: (f64, f64),
    lowered: Option<Duration>,
    /// When rate or burst were made smaller last, for any reason.
    slowed: Option<Duration>,
    /// The rate for first attempts, while only repetitions are sent.
    blind: Option<u32>,
    /// Nothing is to be decided before this.
    next: Duration,
    /// Packets of all attempts so far.
    total: u64,
    pub(crate) facts: RateFacts,
}

/// What the control did, for the books.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RateFacts {
    /// Times the path lost probes because of the rate.
    pub congested: u32,
    /// The lowest capacity that was measured.
    pub capacity: Option<u32>,
    /// The least that got through of large bursts: the path may carry more in single frames.
    pub in_bursts: Option<u32>,
    /// Times the answers became fewer for another reason.
    pub shifted: u32,
    /// The smallest share of the expected answers after such a shift.
    pub worst_shift: Option<f64>,
    /// Sum of (observed − expected)²/variance over ordinary windows, and their number.
    dispersion: (f64, u32),
}

impl RateFacts {
    /// Variance of the answers from window to window in units of what chance alone makes; `None`
    /// for too few windows.
    pub(crate) fn dispersion(&self) -> Option<f64> {
        let (sum, n) = self.dispersion;
        (n >= 10).then(|| sum / f64::from(n))
    }
}

#[derive(Debug, Clone, Copy)]
struct RateTrial {
    rate: u32,
    share: f64,
    probes: f64,
    /// The burst before.
    burst: BurstControl,
    /// How often rate or burst were lowered since.
    tries: u32,
}

/// First attempts sent one after another at one rate.
#[derive(Debug, Clone, Copy)]
struct RateWindow {
    first: u64,
    /// One past the last step so far.
    end: u64,
    probes: u64,
    answers: u64,
    began: Duration,
    ended: Option<Duration>,
    /// Packets of all attempts when it began and when it ended.
    sent: (u64, u64),
}

impl RateControl {
    pub(crate) fn new(ceiling: u32, auto: bool) -> Self {
        let ceiling = ceiling.max(1);
        Self {
            floor: (ceiling / 64).clamp(1, 1000),
            ceiling,
            careful: auto,
            now: START.min(ceiling),
            windows: VecDeque::new(),
            reference: (0.0, 0.0),
            changed: Duration::ZERO,
            trial: None,
            cut: false,
            burst: BurstControl::new(),
            searching: false,
            quiet: 0,
            cruise: CRUISE.0,
            cruised: ceiling,
            tried: (0.0, 0.0),
            lowered: None,
            slowed: None,
            blind: None,
            next: STARTING,
            total: 0,
            facts: RateFacts::default(),
        }
    }

    pub(crate) const fn get(&self) -> u32 {
        self.now
    }

    /// How many frames may leave back to back.
    pub(crate) fn burst(&self) -> u32 {
        self.burst.get().min(SweepConfig::burst_for(self.now))
    }

    /// The spacing that a driver has to keep within a millisecond of frames; `None`: none.
    pub(crate) fn spacing(&self) -> Option<FrameSpacing> {
        let burst = self.burst.get();
        (burst < SweepConfig::burst_for(self.now)).then(|| FrameSpacing::of(self.now, burst))
    }

    /// A first attempt is sent. `total`: packets of all attempts before it.
    #[inline]
    pub(crate) fn sent_first(&mut self, now: Duration, step: u64, total: u64) {
        match self.windows.back_mut() {
            Some(w) if w.ended.is_none() => {
                w.end = step + 1;
                w.probes += 1;
            }
            _ => self.windows.push_back(RateWindow {
                first: step,
                end: step + 1,
                probes: 1,
                answers: 0,
                began: now,
                ended: None,
                sent: (total, total),
            }),
        }
    }

    /// A first attempt has its first answer.
    #[inline]
    pub(crate) fn answered_first(&mut self, step: u64) {
        let window = self.windows.iter_mut().rev().find(|w| w.first <= step && step < w.end);
        if let Some(w) = window {
            w.answers += 1;
        }
    }

    /// Answers were lost on this machine. Returns the new rate if it changed.
    pub(crate) fn lost(&mut self, now: Duration) -> Option<u32> {
        if self.lowered.is_some_and(|at| now < at.saturating_add(STEP)) {
            return None;
        }
        self.lowered = Some(now);
        self.cut = true;
        // What was lost here says nothing of the path: more is tried at once.
        self.quiet = self.cruise;
        let lower = u32::try_from(u64::from(self.now) * 7 / 10).unwrap_or(self.floor);
        self.set(now, lower)
    }

    /// Only repetitions are left to send, or first attempts again.
    fn repeat_only(&mut self, now: Duration, only: bool) {
        let known = self.cut && self.facts.capacity.is_some();
        if !known || self.blind.is_some() == only {
            return;
        }
        match self.blind.take() {
            Some(rate) => self.set(now, rate),
            None => {
                self.blind = Some(self.now);
                self.set(now, (f64::from(self.now) * BLIND) as u32)
            }
        };
    }

    /// A repetition brought `last` answers, the one before it `before`, which began at `since`: where loss
    /// strikes at random and seldom, each brings a small share of what the one before did. What it
    /// brings was lost by the one before, so that a rate that was changed since then is not judged.
    /// Returns the new rate if it changed.
    pub(crate) fn repeated(
        &mut self,
        now: Duration,
        since: Duration,
        before: u64,
        last: u64,
    ) -> Option<u32> {
        if self.changed > since || !Self::is_lossy(before, last) {
            return None;
        }
        let share = last as f64 / before.max(1) as f64;
        let lower = f64::from(self.now) * (1.0 - share).clamp(0.25, 0.9);
        self.cut = true;
        self.quiet = 0;
        let lower = self.set(now, lower as u32);
        // What was lost by repetitions would have been lost by first attempts.
        self.blind = self.blind.map(|rate| rate.min(self.now));
        lower
    }

    /// Whether a repetition brought so much of what the one before did that the path loses too much.
    pub(crate) fn is_lossy(before: u64, last: u64) -> bool {
        last >= LOSSY.1 && last as f64 / before.max(1) as f64 >= LOSSY.0
    }

    /// Whether rate or burst were made smaller after `then`.
    pub(crate) fn was_lowered_since(&self, then: Duration) -> bool {
        self.slowed.is_some_and(|at| at > then)
    }

    /// Whether something is to be decided.
    #[inline]
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        now >= self.next
    }

    /// Time passes. `total`: packets of all attempts so far; `blind`: only repetitions are left. Returns
    /// the rate if it or the burst changed.
    pub(crate) fn tick(&mut self, now: Duration, total: u64, blind: bool) -> Option<u32> {
        if !self.is_due(now) {
            return None;
        }
        let before = (self.now, self.burst.get());
        self.decide(now, total);
        self.repeat_only(now, blind);
        ((self.now, self.burst.get()) != before).then_some(self.now)
    }

    fn decide(&mut self, now: Duration, total: u64) {
        self.next = now.saturating_add(WINDOW / 8);
        self.total = total;
        let answered_share = self.share();
        if let Some(w) = self.windows.back_mut()
            && w.ended.is_none()
        {
            let age = now.saturating_sub(w.began);
            let expected = w.probes as f64 * answered_share.unwrap_or(0.0);
            let starting = !self.cut && !self.careful && self.now < self.ceiling;
            let enough = starting || expected >= ANSWERS as f64 || w.answers >= ANSWERS;
            let least = if starting { STARTING } else { WINDOW };
            if age >= least && enough || age >= LONGEST_WINDOW {
                w.ended = Some(now);
                w.sent.1 = total;
                if starting {
                    self.burst.release();
                    self.set(now, self.now.saturating_mul(2));
                    // The windows of the slow start are compared with each other.
                    self.changed = Duration::ZERO;
                }
            }
        }
        while let Some(w) = self.windows.front().copied()
            && let Some(ended) = w.ended
            && now >= ended.saturating_add(PATIENCE)
        {
            self.windows.pop_front();
            if w.began >= self.changed {
                self.judge(now, w, ended);
            }
        }
    }

    fn share(&self) -> Option<f64> {
        let (probes, answers) = self.reference;
        (answers > 0.0).then(|| answers / probes)
    }

    fn judge(&mut self, now: Duration, w: RateWindow, ended: Duration) {
        let (probes, answers) = (w.probes as f64, w.answers as f64);
        let share = answers / probes.max(1.0);
        let Some(usual) = self.share() else {
            return self.good(now, probes, answers);
        };
        let error =
            (usual * (1.0 - usual).max(0.01) * (1.0 / probes + 1.0 / self.reference.0)).sqrt();
        let drop = usual - share;
        let significant = drop.abs() > SIGNIFICANT * error && drop.abs() > RELEVANT * usual;
        if significant && drop < 0.0 {
            // The reference was made while something was amiss.
            self.reference = (probes, answers);
            return self.good(now, 0.0, 0.0);
        }
        if !significant {
            let deviation = (answers - usual * probes).powi(2);
            self.facts.dispersion.0 += deviation / (probes * usual * (1.0 - usual).max(0.01));
            self.facts.dispersion.1 += 1;
            self.trial = None;
            // What may be the beginning of a drop must not become usual by and by, and is no reason
            // to go faster.
            if self.is_above_capacity(usual, probes, answers) {
                self.cruise = (self.cruise * 2).min(CRUISE.1);
                self.quiet = 0;
                self.set(now, self.cruised);
                return;
            }
            if drop > error {
                return;
            }
            return self.good(now, probes, answers);
        }
        let trial = self.trial.take();
        let error = |t: RateTrial| (usual * (1.0 / probes + 1.0 / t.probes)).sqrt();
        let helped =
            |t: RateTrial| share >= t.share + (SIGNIFICANT * error(t)).max(RELEVANT * usual);
        let in_vain = trial.is_some_and(|t| !helped(t));
        if let Some(trial) = trial
            && in_vain
            && trial.tries >= TRIES
        {
            // Slower and slower, in single frames, and no better: the rate was not the reason.
            self.facts.shifted += 1;
            let left = share / usual;
            self.facts.worst_shift =
                Some(self.facts.worst_shift.map_or(left, |worst| worst.min(left)));
            self.reference = (probes, answers);
            self.burst = trial.burst;
            self.set(now, trial.rate);
            self.restart(now);
            return;
        }
        let seconds = ended.saturating_sub(w.began).as_secs_f64().max(0.001);
        let reached = w.sent.1.saturating_sub(w.sent.0) as f64 / seconds;
        let before = RateTrial { rate: self.now, share, probes, burst: self.burst, tries: 0 };
        // What was before the first of several changes is what they are compared with.
        let compared = trial.filter(|_| in_vain).unwrap_or(before);
        let next = RateTrial { tries: compared.tries + 1, ..compared };
        self.congested(now, reached * (share / usual), next, trial.is_some());
    }

    /// The path lost probes because of their rate or their burst, and let `capacity` a second through.
    /// `again`: it still does after one of them was lowered.
    fn congested(&mut self, now: Duration, capacity: f64, trial: RateTrial, again: bool) {
        let change = match self.burst.shrink(now) {
            // Spaced and below what was measured, and still not free of loss: the bucket is smaller yet.
            BurstChange::Kept if again => self.burst.separate(now),
            change => change,
        };
        self.trial = Some(trial);
        if change == BurstChange::Reverted {
            self.quiet = 0;
            return self.restart(now);
        }
        let measured = capacity.round().min(f64::from(u32::MAX)) as u32;
        if change == BurstChange::Shrunk {
            self.facts.in_bursts = Some(self.facts.in_bursts.map_or(measured, |c| c.min(measured)));
        }
        if change == BurstChange::Kept {
            // With a burst of a millisecond it would be the burst's, and not the path's.
            self.facts.capacity = Some(self.facts.capacity.map_or(measured, |c| c.min(measured)));
            let tried = self.quiet > self.cruise;
            let in_vain = tried && f64::from(measured) < f64::from(self.cruised) * 1.15;
            self.cruise = if in_vain { (self.cruise * 2).min(CRUISE.1) } else { CRUISE.0 };
        }
        self.slowed = Some(now);
        self.facts.congested += 1;
        self.searching = change == BurstChange::Shrunk;
        self.cut = true;
        self.quiet = 0;
        // One window is not to be believed more than that.
        let lowest = self.now / 16;
        let lower = (capacity * BELOW_CAPACITY) as u32;
        self.set(now, lower.max(lowest).min(self.now));
        self.restart(now);
    }

    /// Whether the windows since more was tried lack answers when they are taken together, though none
    /// does alone.
    fn is_above_capacity(&mut self, usual: f64, probes: f64, answers: f64) -> bool {
        self.tried.0 += probes;
        self.tried.1 += answers;
        let (probes, answers) = self.tried;
        let drop = usual - answers / probes;
        let error =
            (usual * (1.0 - usual).max(0.01) * (1.0 / probes + 1.0 / self.reference.0)).sqrt();
        let tried = self.cut && !self.searching && self.now > self.cruised;
        tried && drop > SIGNIFICANT * error && drop > RELEVANT / 3.0 * usual
    }

    fn good(&mut self, now: Duration, probes: f64, answers: f64) {
        let (n, a) = self.reference;
        let fade = (REMEMBERED / (n + probes)).min(1.0);
        self.reference = ((n + probes) * fade, (a + answers) * fade);
        self.quiet += 1;
        if self.burst.grow(now, self.now, self.quiet) {
            self.quiet = 0;
            return self.restart(now);
        }
        if self.now >= self.ceiling || self.burst.is_on_trial() {
            return;
        }
        if !self.cut {
            if self.careful {
                self.burst.release();
                self.set(now, self.now.saturating_mul(2));
            }
            return;
        }
        if self.searching {
            self.set(now, (f64::from(self.now) * SEARCH) as u32 + 1);
            return;
        }
        let Some(tried) = self.quiet.checked_sub(self.cruise).filter(|n| *n > 0) else {
            self.cruised = self.now;
            return;
        };
        let step = (MORE.0 * f64::from(1u32 << (tried - 1).min(16))).min(MORE.1);
        let more = (f64::from(self.now) * step).max(1.0);
        self.set(now, self.now.saturating_add(more as u32));
    }

    fn set(&mut self, now: Duration, rate: u32) -> Option<u32> {
        let rate = rate.clamp(self.floor, self.ceiling);
        if rate == self.now {
            return None;
        }
        if rate < self.now {
            self.slowed = Some(now);
        }
        self.now = rate;
        self.restart(now);
        Some(rate)
    }

    /// What is sent from now on is sent in another way: it is judged by itself.
    fn restart(&mut self, now: Duration) {
        self.changed = now;
        self.tried = (0.0, 0.0);
        // What is being sent now was begun at the old rate.
        if let Some(w) = self.windows.back_mut()
            && w.ended.is_none()
        {
            w.ended = Some(now);
            w.sent.1 = self.total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that lets `capacity` packets a second through to cells of which `share` answer;
    /// answers come at once. Returns the rates over time, one a tenth of a second.
    fn sweep(
        rate: &mut RateControl,
        seconds: u32,
        capacity: impl Fn(f64) -> f64,
        share: f64,
    ) -> Vec<u32> {
        let (mut step, mut owed, mut total) = (0u64, 0.0, 0u64);
        let mut rates = Vec::new();
        for tick in 0..seconds * 100 {
            let now = Duration::from_millis(u64::from(tick) * 10);
            let at = f64::from(tick) / 100.0;
            let n = rate.get() / 100;
            let through = (capacity(at) / f64::from(rate.get())).min(1.0) * share;
            for _ in 0..n {
                rate.sent_first(now, step, total);
                total += 1;
                owed += through;
                if owed >= 1.0 {
                    owed -= 1.0;
                    rate.answered_first(step);
                }
                step += 1;
            }
            rate.tick(now, total, false);
            if tick % 10 == 0 {
                rates.push(rate.get());
            }
        }
        rates
    }

    #[test]
    fn a_path_that_carries_all_is_used_within_a_second() {
        let mut rate = RateControl::new(400_000, false);
        let rates = sweep(&mut rate, 5, |_| 1e9, 0.8);
        assert_eq!(rates[0], START);
        assert!(rates[10] == 400_000 && rates[49] == 400_000, "{rates:?}");
        assert_eq!(rate.facts.congested, 0);
    }

    #[test]
    fn a_policer_is_found_and_kept_below() {
        for share in [0.8, 0.05] {
            let mut rate = RateControl::new(500_000, false);
            let rates = sweep(&mut rate, 40, |_| 50_000.0, share);
            let late = &rates[100..];
            let mean = late.iter().map(|r| f64::from(*r)).sum::<f64>() / late.len() as f64;
            assert!((40_000.0..56_000.0).contains(&mean), "{mean} {rates:?}");
            assert!(late.iter().all(|r| *r < 70_000), "{late:?}");
        }
    }

    #[test]
    fn auto_finds_the_capacity_from_below() {
        let mut rate = RateControl::new(10_000_000, true);
        let rates = sweep(&mut rate, 30, |_| 150_000.0, 0.5);
        assert_eq!(rates[0], START);
        assert!(rates.iter().max().is_some_and(|r| *r <= 320_000), "{rates:?}");
        assert!(rates[150..].iter().all(|r| (100_000..200_000).contains(r)), "{rates:?}");
    }

    #[test]
    fn a_path_that_recovers_is_used_again() {
        let mut rate = RateControl::new(100_000, false);
        let capacity = |at: f64| if (5.0..10.0).contains(&at) { 20_000.0 } else { 1e9 };
        let rates = sweep(&mut rate, 40, capacity, 0.8);
        assert!(rates[95] < 30_000, "{rates:?}");
        assert_eq!(rates[399], 100_000, "{rates:?}");
    }

    #[test]
    fn hosts_that_go_away_do_not_slow_the_rest() {
        let mut rate = RateControl::new(50_000, false);
        sweep(&mut rate, 3, |_| 1e9, 0.8);
        // From here on half of them are gone, whatever the rate.
        let rates = {
            let (mut step, mut total) = (1u64 << 40, 1u64 << 40);
            let mut rates = Vec::new();
            for tick in 300..2000u64 {
                let now = Duration::from_millis(tick * 10);
                for i in 0..rate.get() / 100 {
                    rate.sent_first(now, step, total);
                    if i % 5 < 2 {
                        rate.answered_first(step);
                    }
                    step += 1;
                    total += 1;
                }
                rate.tick(now, total, false);
                rates.push(rate.get());
            }
            rates
        };
        assert_eq!(rates.last(), Some(&50_000));
        assert_eq!(rate.facts.shifted, 1);
        assert!(rate.facts.worst_shift.is_some_and(|s| (0.45..0.55).contains(&s)));
    }

    #[test]
    fn without_answers_the_ceiling_decides() {
        let mut rate = RateControl::new(20_000, false);
        let rates = sweep(&mut rate, 30, |_| 1e9, 0.0);
        assert_eq!(rates.last(), Some(&20_000));
    }

    #[test]
    fn frames_lost_here_lower_it_once_a_second() {
        let mut rate = RateControl::new(4_000, false);
        assert_eq!(rate.get(), 4000);
        assert_eq!(rate.lost(Duration::from_secs(2)), Some(2800));
        assert_eq!(rate.lost(Duration::from_millis(2500)), None, "once a second");
        for second in 3..60 {
            rate.lost(Duration::from_secs(second));
        }
        assert_eq!(rate.get(), 62, "a sixty-fourth at least");
        let mut one = RateControl::new(1, false);
        assert_eq!(one.lost(Duration::from_secs(1)), None);
        assert_eq!(one.get(), 1);
    }
}
