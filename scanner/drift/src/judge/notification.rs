//! What is notified, once: the difference between the state of a finding and what was last notified of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::RunJudge;
use super::life::FLAP_QUIET;
use crate::baseline::DecisionFacts;
use crate::state::{NotifiedRecord, NotifiedState, TrackedFinding};
use crate::verdict::{Acknowledgement, ChangeKind, Finding, FindingChange, FindingState};

/// Drift that nobody acknowledges is notified again after a day; less a little, so that a daily run that
/// starts some minutes early does not leave a day out.
const REMIND_AFTER: SignedDuration = SignedDuration::from_mins(23 * 60 + 30);
/// Between two weekly summaries; less a little for the same reason.
const DIGEST_AFTER: SignedDuration = SignedDuration::from_mins((7 * 24 - 1) * 60);

impl RunJudge<'_> {
    /// Shows who knows of what, and forgets acknowledgements whose time is over. Returns the findings
    /// whose acknowledgement ended since the last run.
    pub(super) fn acknowledged(&mut self) -> BTreeSet<String> {
        let now = self.now;
        let live = |a: &Acknowledgement| a.until > now;
        self.next.acknowledged.retain(|_, a| live(a));
        self.next.acknowledged_rules.retain(|_, a| live(a));
        let mut ended = BTreeSet::new();
        for (id, t) in &mut self.next.findings {
            let f = &mut t.finding;
            let by_rule = f.rule.as_ref().and_then(|r| self.next.acknowledged_rules.get(r));
            let known = self.next.acknowledged.get(id).or(by_rule).filter(|_| f.state.is_drift());
            let before = std::mem::replace(&mut f.acknowledged, known.cloned());
            if f.acknowledged.is_none() && before.is_some_and(|a| !live(&a)) {
                ended.insert(id.clone());
            }
        }
        ended
    }

    /// Which rule comes nearest to allowing an open port, for the person who has to decide.
    pub(super) fn nearest(&mut self) {
        let (baseline, now) = (self.baseline, self.now);
        for t in self.next.findings.values_mut() {
            let f = &mut t.finding;
            let kind = f.kind.is_port();
            f.nearest = None;
            if kind && f.state.is_drift() && f.port.is_some() {
                let facts = DecisionFacts { check: "", vantage: &f.vantage, now };
                f.nearest = baseline.nearest_to(&f.subject(), &facts, 1).pop();
            }
        }
    }

    /// The changes of this run, by finding, and writes down that they are notified.
    pub(super) fn notify(&mut self, ended: &BTreeSet<String>) -> BTreeMap<String, FindingChange> {
        let mut changes = BTreeMap::new();
        for (id, t) in &mut self.next.findings {
            let Some(standing) = to_notified_state(&t.finding) else { continue };
            let what = determine_change(t, standing, self.now, ended.contains(id));
            if let Some(what) = what {
                let count = t.notified.map_or(0, |notified| notified.count) + 1;
                t.notified = Some(NotifiedRecord {
                    what: standing,
                    at: self.now,
                    severity: t.finding.severity,
                    // Something else that is notified while it flaps does not make that news again.
                    flapping: what == ChangeKind::Flapping
                        || t.finding.flapping
                            && t.notified.is_some_and(|notified| notified.flapping),
                    count,
                });
                let change =
                    FindingChange { key: format!("{id}.{count}"), finding: id.clone(), what };
                changes.insert(id.clone(), change);
            }
        }
        changes
    }

    /// Whether a week went by since the last summary, and writes down that one is due. The first is due
    /// a week after the first run.
    pub(super) fn digest_due(&mut self) -> bool {
        let last = self.next.digest_at.get_or_insert(self.now);
        let due = self.now.duration_since(*last) >= DIGEST_AFTER;
        if due || *last > self.now {
            *last = self.now;
        }
        due
    }
}

/// `None` while it is not decided.
const fn to_notified_state(f: &Finding) -> Option<NotifiedState> {
    match f.state {
        FindingState::Open
        | FindingState::Unverified
        | FindingState::Resolving
        | FindingState::Missing
        | FindingState::MissingUnverified => Some(NotifiedState::Drift),
        FindingState::Resolved => Some(NotifiedState::Resolved),
        FindingState::Allowed => Some(NotifiedState::Allowed),
        FindingState::OutOfScope => Some(NotifiedState::OutOfScope),
        FindingState::NotRequired => Some(NotifiedState::NotRequired),
        FindingState::MissingPending => None,
    }
}

/// What is to be notified of a finding, if anything. `ended` says that its acknowledgement just ended.
fn determine_change(
    t: &TrackedFinding,
    standing: NotifiedState,
    now: Timestamp,
    ended: bool,
) -> Option<ChangeKind> {
    use ChangeKind as C;
    let drift = standing == NotifiedState::Drift;
    let shows_flapping = t.finding.flapping && (drift || standing == NotifiedState::Resolved);
    let Some(notified) = t.notified else {
        // Settled before anybody was notified of it; a service that comes and goes is news even then.
        return match (drift, shows_flapping) {
            (true, false) => Some(C::Opened),
            (_, true) => Some(C::Flapping),
            (false, false) => None,
        };
    };
    // A time far in the future is of a clock that was wrong.
    let due = ended || now.duration_since(notified.at).abs() >= REMIND_AFTER;
    let quiet = t.finding.acknowledged.is_some();
    let worse = t.finding.severity > notified.severity;
    if shows_flapping {
        if !(notified.flapping || drift && worse) {
            return Some(C::Flapping);
        }
        // It is there, comes and goes as it may: whoever has to close it is reminded once a day.
        return match notified.what {
            _ if !(drift && (worse || due && !quiet)) => None,
            NotifiedState::Drift if worse => Some(C::Worse),
            NotifiedState::Drift => Some(C::Reminder),
            _ => Some(C::Reopened),
        };
    }
    match (notified.what, standing) {
        (NotifiedState::Drift, NotifiedState::Drift) => {
            if worse {
                return Some(C::Worse);
            }
            let steady = notified.flapping;
            ((due || steady) && !quiet).then_some(C::Reminder)
        }
        (_, NotifiedState::Drift) => Some(C::Reopened),
        (NotifiedState::Resolved, NotifiedState::Resolved) => None,
        (_, NotifiedState::Resolved) => is_steady(t).then_some(C::Resolved),
        (NotifiedState::Allowed, NotifiedState::Allowed)
        | (NotifiedState::OutOfScope, NotifiedState::OutOfScope)
        | (NotifiedState::NotRequired, NotifiedState::NotRequired) => None,
        // It was there again, and nothing requires it any more: no news.
        (
            NotifiedState::Resolved | NotifiedState::Allowed,
            NotifiedState::Allowed | NotifiedState::NotRequired,
        ) if t.finding.kind.is_requirement() => None,
        (_, NotifiedState::Allowed) => Some(C::Allowed),
        (_, NotifiedState::OutOfScope) => Some(C::OutOfScope),
        (_, NotifiedState::NotRequired) => Some(C::NotRequired),
    }
}

/// Whether a resolution is notified already. A refusal is proof, and is notified at once. Silence must
/// hold for a while: a host that answers every other hour would else be reported twice a day.
fn is_steady(t: &TrackedFinding) -> bool {
    let last = t.changes.last().copied().unwrap_or(0);
    !t.by_silence || last + FLAP_QUIET <= t.covered_runs
}
