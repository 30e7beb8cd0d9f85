//! The rate below the ceiling: what the path carries, measured while sending.

use std::collections::VecDeque;
use std::time::Duration;

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
const BELOW_CAPACITY: f64 = 0.95;
/// Probes that the reference remembers: older ones fade.
const REMEMBERED: f64 = 2_000_000.0;
/// How often local losses may lower the rate.
const STEP: Duration = Duration::from_secs(1);

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
/// * A significant drop sets the rate just below the capacity that it shows.
/// * Quiet windows raise it again: by a hundredth at first, then faster and faster.
/// * If the answers stay as few after the rate was lowered, it was not the rate: the former rate
///   comes back and the new share is the reference from then on (hosts went away, or somebody
///   shuts us out).
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
    quiet: u32,
    lowered: Option<Duration>,
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
            quiet: 0,
            lowered: None,
            next: STARTING,
            total: 0,
            facts: RateFacts::default(),
        }
    }

    pub(crate) const fn get(&self) -> u32 {
        self.now
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
        self.quiet = 0;
        let lower = u32::try_from(u64::from(self.now) * 7 / 10).unwrap_or(self.floor);
        self.set(now, lower)
    }

    /// Time passes. Returns the new rate if it changed.
    #[inline]
    pub(crate) fn tick(&mut self, now: Duration, total: u64) -> Option<u32> {
        if now < self.next { None } else { self.decide(now, total) }
    }

    fn decide(&mut self, now: Duration, total: u64) -> Option<u32> {
        self.next = now.saturating_add(WINDOW / 8);
        self.total = total;
        let before = self.now;
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
        (self.now != before).then_some(self.now)
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
            if drop > error {
                self.quiet = 0;
                return;
            }
            return self.good(now, probes, answers);
        }
        if let Some(trial) = self.trial.take() {
            let error = (usual * (1.0 / probes + 1.0 / trial.probes)).sqrt();
            if share < trial.share + (SIGNIFICANT * error).max(RELEVANT * usual) {
                // Slower, and no better: the rate was not the reason.
                self.facts.shifted += 1;
                let left = share / usual;
                self.facts.worst_shift =
                    Some(self.facts.worst_shift.map_or(left, |worst| worst.min(left)));
                self.reference = (probes, answers);
                self.set(now, trial.rate);
                return;
            }
        }
        let seconds = ended.saturating_sub(w.began).as_secs_f64().max(0.001);
        let reached = w.sent.1.saturating_sub(w.sent.0) as f64 / seconds;
        let capacity = reached * (share / usual);
        self.facts.congested += 1;
        let measured = capacity.round().min(f64::from(u32::MAX)) as u32;
        self.facts.capacity = Some(self.facts.capacity.map_or(measured, |c| c.min(measured)));
        self.trial = Some(RateTrial { rate: self.now, share, probes });
        self.cut = true;
        self.quiet = 0;
        // One window is not to be believed more than that.
        let lowest = self.now / 16;
        let lower = (capacity * BELOW_CAPACITY) as u32;
        self.set(now, lower.max(lowest).min(self.now));
    }

    fn good(&mut self, now: Duration, probes: f64, answers: f64) {
        let (n, a) = self.reference;
        let fade = (REMEMBERED / (n + probes)).min(1.0);
        self.reference = ((n + probes) * fade, (a + answers) * fade);
        self.quiet += 1;
        if self.now >= self.ceiling {
            return;
        }
        if !self.cut {
            if self.careful {
                self.set(now, self.now.saturating_mul(2));
            }
            return;
        }
        // A hundredth, then half as much again with every quiet window, up to a tenth.
        let step = (0.01 * 1.5f64.powi(self.quiet.min(20) as i32 - 1)).min(0.1);
        let more = (f64::from(self.now) * step).max(1.0);
        self.set(now, self.now.saturating_add(more as u32));
    }

    fn set(&mut self, now: Duration, rate: u32) -> Option<u32> {
        let rate = rate.clamp(self.floor, self.ceiling);
        if rate == self.now {
            return None;
        }
        self.now = rate;
        self.changed = now;
        // What is being sent now was begun at the old rate.
        if let Some(w) = self.windows.back_mut()
            && w.ended.is_none()
        {
            w.ended = Some(now);
            w.sent.1 = self.total;
        }
        Some(rate)
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
            rate.tick(now, total);
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
                rate.tick(now, total);
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
