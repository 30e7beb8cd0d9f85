//! The runs until now, as bars with a table that says the same.
//!
//! Bars and not lines: between two runs nothing was seen, so nothing is drawn. Each run has a slot; where
//! the runs paused there is an empty one, so that a gap is a gap.

use jiff::SignedDuration;
use mimawari_drift::verdict::{RunSummary, Verdict};

use crate::clean::clean;
use crate::words::{self, NAME, group_digits};

/// Least number of slots: few runs are not drawn as broad blocks.
const MIN_SLOTS: usize = 24;
/// Height of the bars of coverage and of findings, in pixels.
const COVERAGE: u64 = 44;
const FINDINGS: u64 = 88;

/// The section of the timeline.
pub(crate) struct RunTimeline {
    pub(crate) slots: Vec<TimeSlot>,
    pub(crate) rows: Vec<TimeRow>,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Findings at the upper edge.
    pub(crate) top: String,
    pub(crate) summary: String,
    /// Width of a bar and of a slot, in percent.
    pub(crate) width: String,
    pub(crate) slot: String,
    pub(crate) has_gap: bool,
}

/// A run in the drawing, or the gap before one.
pub(crate) struct TimeSlot {
    /// Left edge, in percent.
    pub(crate) x: String,
    /// What a pointer shows.
    pub(crate) title: String,
    /// `None` for a gap.
    pub(crate) bars: Option<TimelineBars>,
}

/// Bars of a run: tops and heights in pixels.
pub(crate) struct TimelineBars {
    /// `good`, `partial` or `suspect`.
    pub(crate) tone: &'static str,
    pub(crate) covered: (u64, u64),
    pub(crate) uncovered: u64,
    /// Class, top and height.
    pub(crate) stack: Vec<(&'static str, u64, u64)>,
}

/// A run in the table, or the gap before one.
pub(crate) struct TimeRow {
    pub(crate) at: String,
    pub(crate) gap: bool,
    pub(crate) said: &'static str,
    pub(crate) cells: Vec<String>,
}

impl RunTimeline {
    /// `None` for less than two runs: there is nothing to compare.
    pub(crate) fn new(v: &Verdict) -> Option<Self> {
        let mut runs: Vec<&RunSummary> = v.timeline.iter().collect();
        runs.sort_by_key(|r| r.at);
        if runs.len() < 2 {
            return None;
        }
        let usual = compute_gap_threshold(&runs);
        let top = runs.iter().map(|r| sum_findings(r)).max().unwrap_or(0).max(1);
        let (mut slots, mut rows) = (Vec::new(), Vec::new());
        for (i, run) in runs.iter().enumerate() {
            let pause = i.checked_sub(1).map(|p| run.at.duration_since(runs[p].at));
            if let Some(pause) = pause.filter(|p| *p > usual) {
                let title = format!("No run for {}", format_duration(pause));
                rows.push(TimeRow { at: title.clone(), gap: true, said: "", cells: vec![] });
                slots.push(TimeSlot { x: String::new(), title, bars: None });
            }
            slots.push(TimeSlot {
                x: String::new(),
                title: format_title(run),
                bars: Some(build_bars(run, top)),
            });
            rows.push(build_row(run));
        }
        let count = slots.len().max(MIN_SLOTS);
        let place = |n: usize| format!("{:.3}%", n as f64 * 100.0 / count as f64);
        let first = count - slots.len();
        for (n, s) in slots.iter_mut().enumerate() {
            s.x = place(first + n);
        }
        rows.reverse();
        let doubtful = runs.iter().filter(|r| select_tone(r) != "good").count();
        Some(Self {
            from: words::format_minute(runs[0].at),
            to: words::format_minute(runs[runs.len() - 1].at),
            top: group_digits(top),
            summary: match doubtful {
                0 => format!("{} runs, all of them complete", runs.len()),
                n => format!("{} runs; {n} of them incomplete or suspect", runs.len()),
            },
            width: format!("{:.3}%", 78.0 / count as f64),
            slot: format!("{:.3}%", 100.0 / count as f64),
            has_gap: rows.iter().any(|r| r.gap),
            slots,
            rows,
        })
    }
}

/// The longest pause that is no gap: two and a half times the usual one.
fn compute_gap_threshold(runs: &[&RunSummary]) -> SignedDuration {
    let mut pauses: Vec<SignedDuration> =
        runs.windows(2).map(|w| w[1].at.duration_since(w[0].at)).collect();
    pauses.sort_unstable();
    let middle = pauses.get(pauses.len() / 2).copied().unwrap_or_default();
    middle.saturating_mul(5) / 2
}

fn sum_findings(r: &RunSummary) -> u64 {
    let c = &r.counts;
    [c.open, c.missing, c.resolving, c.unverified].iter().fold(0, |a, b| a.saturating_add(*b))
}

fn select_tone(r: &RunSummary) -> &'static str {
    match r {
        r if r.suspect => "suspect",
        r if r.exit == 3 || r.cells_covered < r.cells_planned => "partial",
        _ => "good",
    }
}

fn describe_outcome(r: &RunSummary) -> &'static str {
    match (select_tone(r), r.exit) {
        ("suspect", _) => "suspect",
        ("partial", 1) => "drift, incomplete",
        ("partial", _) => "incomplete",
        (_, 1) => "drift",
        _ => "clean",
    }
}

fn build_bars(r: &RunSummary, top: u64) -> TimelineBars {
    let share = |part: u64, whole: u64, height: u64| {
        let n = u128::from(part.min(whole)) * u128::from(height) / u128::from(whole.max(1));
        u64::try_from(n).unwrap_or(height)
    };
    // A plan without cells covered nothing. A gap of one cell among millions is still seen.
    let mut covered = share(r.cells_covered, r.cells_planned, COVERAGE);
    if r.cells_covered < r.cells_planned {
        covered = covered.min(COVERAGE - 3);
    }
    let c = &r.counts;
    let mut at = FINDINGS;
    let mut stack = Vec::new();
    for (class, n) in [
        ("open", c.open),
        ("missing", c.missing),
        ("resolving", c.resolving),
        ("unverified", c.unverified),
    ] {
        if n > 0 {
            // Few among many stay visible; the room above is enough for four of them.
            let height = share(n, top, FINDINGS - 12).max(3);
            at = at.saturating_sub(height);
            stack.push((class, at, height));
        }
    }
    TimelineBars {
        tone: select_tone(r),
        covered: (COVERAGE - covered, covered),
        uncovered: COVERAGE - covered,
        stack,
    }
}

fn format_title(r: &RunSummary) -> String {
    format!(
        "{}: {}; covered {}; {} open, {} missing, {} unverified, {} resolving",
        words::format_minute(r.at),
        describe_outcome(r),
        words::format_percent(r.cells_covered, r.cells_planned),
        group_digits(r.counts.open),
        group_digits(r.counts.missing),
        group_digits(r.counts.unverified),
        group_digits(r.counts.resolving),
    )
}

fn build_row(r: &RunSummary) -> TimeRow {
    let c = &r.counts;
    let recall = r.recall_estimate.filter(|x| x.is_finite());
    let mut cells = vec![
        words::format_percent(r.cells_covered, r.cells_planned),
        recall.map_or_else(|| "–".to_owned(), |x| words::round_down(x, 5)),
    ];
    cells.extend(
        [c.new, c.open, c.missing, c.unverified, c.resolving, c.resolved].map(group_digits),
    );
    cells.push(clean(&r.run_id, NAME));
    TimeRow { at: words::format_minute(r.at), gap: false, said: describe_outcome(r), cells }
}

fn format_duration(d: SignedDuration) -> String {
    let minutes = d.as_mins().max(0);
    let (d, h, m) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (d, h) {
        (0, 0) => format!("{m} min"),
        (0, _) => format!("{h} h {m} min"),
        _ => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_gap_has_a_slot_of_its_own_and_doubt_is_said() {
        let v = samples::with_history(samples::drift(), 60);
        let t = RunTimeline::new(&v).expect("a timeline");
        let gaps = t.slots.iter().filter(|s| s.bars.is_none()).count();
        assert_eq!((t.slots.len(), gaps), (61, 1));
        assert!(t.has_gap);
        assert_eq!(t.rows.iter().filter(|r| r.gap).count(), 1);
        for word in ["suspect", "incomplete", "drift", "clean"] {
            assert!(t.rows.iter().any(|r| r.said == word), "{word}");
        }
        for b in t.slots.iter().filter_map(|s| s.bars.as_ref()) {
            assert_eq!(b.covered.1 + b.uncovered, COVERAGE);
            assert!(b.stack.iter().all(|(_, y, h)| y + h <= FINDINGS));
        }
    }

    #[test]
    fn a_run_that_is_not_whole_never_looks_whole() {
        let v = samples::with_history(samples::drift(), 2);
        let mut r = v.timeline[0].clone();
        (r.cells_planned, r.cells_covered) = (u64::MAX, u64::MAX - 1);
        assert!(build_bars(&r, 1).uncovered >= 3);
        (r.cells_planned, r.cells_covered) = (0, 0);
        assert_eq!(build_bars(&r, 1).uncovered, COVERAGE);
    }

    #[test]
    fn one_run_is_no_timeline() {
        let mut v = samples::with_history(samples::drift(), 1);
        assert!(RunTimeline::new(&v).is_none());
        v.timeline.clear();
        assert!(RunTimeline::new(&v).is_none());
    }
}
