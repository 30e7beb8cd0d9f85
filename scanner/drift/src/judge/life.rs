//! The life of a finding. [`Life::apply`] is the only writer of its state and of what is counted for
//! it: what a run saw, what the baseline says and how far the run is believed go in, and the
//! finding moves along this table.
//!
//! What must not be there (a port, a content, a fact of a server, a whole host):
//!
//! | finding | run saw | baseline | becomes |
//! |---|---|---|---|
//! | none, or any | it is there | no live rule allows it | `open`; `unconfirmed` if no second look confirmed it |
//! | `resolved` | it is there | no live rule allows it | `open`, same id and first_seen, `reopened` + 1 |
//! | drift, `out_of_scope` | anything | a live rule allows it | `allowed` |
//! | an end that is not yet notified | it is there | a live rule allows it | `allowed` |
//! | `allowed` | nothing (the rule went) | no live rule allows it | `unverified`, same id |
//! | drift | nothing | | `unverified` |
//! | drift | gone | | `resolved` |
//! | drift | silent, or the whole host refused | | `resolving`; in the second such run `resolved` |
//! | drift | gone or silent, not believed | | `unverified` |
//! | drift | its part of the plan is fresh, or another run saw it since | | as it was |
//! | drift, or an end that is not yet notified | its address left the scope | | `out_of_scope` |
//! | `resolved` | gone or silent | | `resolved`; one more covered run is counted |
//!
//! What must be there (a cell of a `must` rule, or so many addresses of a pool with `at_least`):
//!
//! | finding | run saw | baseline | becomes |
//! |---|---|---|---|
//! | none, or settled | not open | required | `missing_pending`, "to be decided" |
//! | `missing_pending` | not open | required | `missing` |
//! | any, and it comes and goes | not open | required | `missing` at once |
//! | `missing_pending`, `missing`, `missing_unverified`, `out_of_scope` | open | required | `resolved` |
//! | `missing` | nothing, or not believed | required | `missing_unverified` |
//! | `missing`, `missing_unverified` | not open, or nothing | its rule expired | as it was, cause `expired` |
//! | `missing`, `missing_unverified`, `out_of_scope` | anything | nothing requires it | `not_required` |
//! | `missing_pending` that nobody was notified of | anything | nothing requires it | forgotten |
//! | `missing`, `missing_unverified` | its address left the scope | | `out_of_scope` |
//! | any | too little of a pool open, and the rest covered | required | as a cell that is not open |
//! | any | too little of a pool open, and too little covered | required | as a cell that was not covered |
//!
//! Over both lies `flapping`: three changes within ten covered runs of the subject, until five covered
//! runs without one. A change that begins after ten quiet ones begins a new series and is not counted.
//!
//! A run that is judged again is no further evidence: it counts nothing and resolves nothing.
//!
//! Each row is a test of the suite `verdict::table`, which reads these tables.

use jiff::Timestamp;
use mimawari_probes::observation::Severity;

use crate::baseline::RuleHead;
use crate::state::{NotifiedState, TrackedFinding};
use crate::subject::Subject;
use crate::verdict::{Finding, FindingCause, FindingKind, FindingPool, FindingState};

/// Covered runs in which a silent subject must be silent before it is resolved, and a required cell
/// not open before it is missing.
const RUNS_TO_SETTLE: u32 = 2;
/// This many changes within [`FLAP_WINDOW`] covered runs are flapping.
const FLAP_CHANGES: usize = 3;
const FLAP_WINDOW: u64 = 10;
/// Covered runs without a change after which flapping has ended.
pub(super) const FLAP_QUIET: u64 = 5;

/// What a run saw of a subject.
pub(super) enum Sighting {
    /// It is there, or open.
    There {
        /// When.
        at: Timestamp,
        /// Whether a second look in the same run confirmed it.
        confirmed: bool,
        /// What speaks there.
        service: Option<String>,
    },
    /// It was there when last seen, and this run did not look.
    Remembered(Timestamp),
    /// Covered, and proven gone; why, as half a sentence.
    Gone(&'static str),
    /// Covered, and no answer; what did not answer, as half a sentence.
    Silent(&'static str),
    /// Not covered, or nothing can be said; why, as half a sentence.
    Unknown(&'static str),
    /// Covered lately by another run, or seen by one that began later.
    Elsewhere,
    /// Its address is not in the scope any more.
    OutOfScope(&'static str),
    /// Another finding about the same subject takes its place.
    Replaced,
}

/// What the baseline says of a subject.
pub(super) enum LifeDecision<'b> {
    /// A live rule allows it.
    Allowed(&'b RuleHead),
    /// It is drift, for a reason.
    Drift(DriftReason),
    /// Nothing is said of it.
    None,
    /// A live rule requires it: a cell, or so much of a pool.
    Required(&'b RuleHead, Option<PoolCount>),
    /// The rule that required it has expired.
    RequirementExpired(&'b RuleHead),
    /// No rule requires it.
    NotRequired,
}

/// What is known of a pool of addresses at one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolCount {
    /// On how many of them it must be open.
    pub at_least: u64,
    /// On how many of them it is open.
    pub open: u64,
    /// Of how many of them nothing is known.
    pub unknown: u64,
    /// How many there are.
    pub of: u64,
}

/// Why something is drift.
pub(super) struct DriftReason {
    pub cause: FindingCause,
    pub severity: Severity,
    pub owner: Option<String>,
    /// The rule that forbids it, or allowed it before.
    pub rule: Option<String>,
    /// A sentence for people.
    pub why: String,
}

/// How far a run is believed about a subject.
#[derive(Clone, Copy)]
pub(super) struct Trust {
    /// Why not, as half a sentence; `None` believes it.
    pub doubt: Option<&'static str>,
    /// Whether the run was judged before.
    pub again: bool,
    /// When the run began.
    pub began: Option<Timestamp>,
    /// When it ended, or the best that is known of it.
    pub ended: Timestamp,
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Transition {
    /// It is drift for the first time.
    pub new: bool,
    /// It came to a state that is settled, and is listed this once.
    pub settled: bool,
    /// It is to be forgotten: nobody was ever notified of it.
    pub forgotten: bool,
    /// The next covered run decides.
    pub undecided: bool,
}

impl Transition {
    const NONE: Self = Self { new: false, settled: false, forgotten: false, undecided: false };
    const SETTLED: Self = Self { settled: true, ..Self::NONE };
    const FORGOTTEN: Self = Self { forgotten: true, ..Self::NONE };
}

/// A finding about a subject with nothing known of its history.
pub(super) fn begin_finding(
    subject: &Subject,
    kind: FindingKind,
    vantage: &str,
    first_seen: Timestamp,
) -> TrackedFinding {
    let required = kind.is_requirement();
    let finding = Finding {
        id: subject.id_as(kind, vantage).to_string(),
        kind,
        vantage: vantage.to_owned(),
        proto: subject.proto(),
        ip: subject.ip(),
        port: subject.port(),
        pool: subject.pool().map(|place| {
            let addresses = place.addresses();
            Box::new(FindingPool { addresses, at_least: 0, open: 0, unknown: 0 })
        }),
        host: subject.host().map(str::to_owned),
        path: subject.path().map(str::to_owned),
        scheme: None,
        check: None,
        title: None,
        remedy: None,
        state: if required { FindingState::MissingPending } else { FindingState::Open },
        cause: if required { FindingCause::Required } else { FindingCause::Unmatched },
        severity: Severity::High,
        first_seen,
        last_seen: first_seen,
        new: true,
        reopened: 0,
        flapping: false,
        unconfirmed: false,
        owner: None,
        allowed_by: None,
        rule: None,
        nearest: None,
        acknowledged: None,
        why: String::new(),
        service: None,
        evidence: None,
    };
    TrackedFinding {
        finding,
        silent_runs: 0,
        missed_runs: 0,
        covered_runs: 0,
        changes: Vec::new(),
        gone: false,
        by_silence: false,
        resolved_by: None,
        missed: false,
        ports: None,
        notified: None,
    }
}

impl TrackedFinding {
    /// Whether it stands for something that is there as far as is known, or nobody looks any more.
    pub(super) const fn is_active(&self) -> bool {
        self.finding.state.is_drift() || matches!(self.finding.state, FindingState::OutOfScope)
    }

    /// Whether it is settled, and whoever was notified of it does not know yet.
    pub(super) fn is_restless(&self) -> bool {
        let known = self.notified.is_none_or(|notified| notified.what == NotifiedState::Resolved);
        self.finding.state == FindingState::Resolved && (self.finding.flapping || !known)
    }
}

/// The writer of one finding's life.
pub(super) struct Life<'t> {
    t: &'t mut TrackedFinding,
    /// Whether the finding is made by this run.
    fresh: bool,
    trust: Trust,
}

impl<'t> Life<'t> {
    pub(super) const fn new(t: &'t mut TrackedFinding, fresh: bool, trust: Trust) -> Self {
        Self { t, fresh, trust }
    }

    /// Moves the finding along the table above.
    pub(super) fn apply(mut self, sighting: Sighting, decision: &LifeDecision<'_>) -> Transition {
        if self.t.finding.kind.is_requirement() {
            self.require(&sighting, decision)
        } else {
            self.expose(sighting, decision)
        }
    }

    fn expose(&mut self, sighting: Sighting, decision: &LifeDecision<'_>) -> Transition {
        use Sighting as S;
        let state = self.t.finding.state;
        match (sighting, decision) {
            (S::Replaced, _) => {
                self.rest();
                self.t.by_silence = false;
                Transition::NONE
            }
            (S::OutOfScope(why), _) => self.leave_scope(why),
            (_, LifeDecision::Allowed(head)) => self.allow(head),
            (S::There { at, confirmed, service }, LifeDecision::Drift(reason)) => {
                self.open(reason, at);
                let f = &mut self.t.finding;
                f.unconfirmed = !confirmed && (self.fresh || !state.is_drift() || f.unconfirmed);
                if service.is_some() {
                    f.service = service;
                }
                self.count_covered();
                if std::mem::take(&mut self.t.gone) {
                    self.count_change(true);
                }
                Transition { new: self.fresh, ..Transition::NONE }
            }
            (S::Remembered(at), LifeDecision::Drift(reason)) => {
                self.open(reason, at);
                if std::mem::take(&mut self.t.gone) {
                    self.count_change(true);
                }
                self.stand(FindingState::Unverified);
                Transition { new: self.fresh, ..Transition::NONE }
            }
            // A settled one stays settled, and is counted by the runs that cover it.
            (S::Gone(_) | S::Silent(_), _) if state == FindingState::Resolved => {
                if !self.trust.again && self.trust.doubt.is_none() {
                    self.t.resolved_by = self.t.resolved_by.max(self.trust.began);
                    self.is_gone();
                }
                Transition::NONE
            }
            _ if matches!(state, FindingState::Resolved | FindingState::Allowed) => {
                self.t.finding.new = false;
                Transition::NONE
            }
            (S::Gone(why), _) => match self.trust.doubt {
                Some(doubt) => self.unverified(doubt),
                // One run is no second proof, even if it says more now than when it was first judged.
                None if self.trust.again && state == FindingState::Resolving => Transition::NONE,
                None => self.resolve(why.to_owned(), false),
            },
            (S::Silent(what), _) => match self.trust.doubt {
                Some(doubt) => self.unverified(doubt),
                None => self.silent(what),
            },
            (S::Unknown(why), _) => self.unverified(why),
            (S::Elsewhere | S::There { .. } | S::Remembered(_), _) => {
                self.t.finding.new = false;
                Transition::NONE
            }
        }
    }

    fn require(&mut self, sighting: &Sighting, decision: &LifeDecision<'_>) -> Transition {
        use Sighting as S;
        let state = self.t.finding.state;
        match (sighting, decision) {
            (S::OutOfScope(why), _) => self.leave_scope(why),
            (_, LifeDecision::NotRequired) => self.end_requirement(),
            (S::Elsewhere, _) => {
                self.t.finding.new = false;
                Transition::NONE
            }
            (S::There { .. }, _) => self.is_open_again(),
            (S::Gone(_) | S::Silent(_), LifeDecision::Required(head, pool))
                if self.trust.doubt.is_none() =>
            {
                self.count_pool(*pool);
                self.miss(head, *pool)
            }
            (_, LifeDecision::RequirementExpired(head)) => {
                let missing =
                    matches!(state, FindingState::Missing | FindingState::MissingUnverified);
                if !missing {
                    return self.end_requirement();
                }
                let f = &mut self.t.finding;
                f.new = false;
                f.cause = FindingCause::Expired;
                f.why = format!(
                    "the rule `{}` at {} required it and has expired, and it was not open when last \
                     looked at; renew the rule, or remove it if it is no longer required",
                    head.id, head.place
                );
                Transition::NONE
            }
            (_, LifeDecision::Required(head, pool)) => {
                self.t.finding.new = false;
                if matches!(state, FindingState::Missing | FindingState::MissingUnverified) {
                    self.count_pool(*pool);
                    self.stand(FindingState::MissingUnverified);
                    let known = pool.map_or_else(String::new, |p| {
                        format!(
                            ": open on {}, and nothing is known of {} of {}",
                            p.open, p.unknown, p.of
                        )
                    });
                    self.t.finding.why = format!(
                        "required by `{}` at {}; missing when last looked at, and this run could not \
                         say whether it is{known}",
                        head.id, head.place
                    );
                }
                Transition::NONE
            }
            _ => {
                self.t.finding.new = false;
                Transition::NONE
            }
        }
    }

    /// The only place where a finding gets a state.
    const fn stand(&mut self, state: FindingState) {
        self.t.finding.state = state;
    }

    fn settle(&mut self, state: FindingState, why: String) -> Transition {
        let before = self.t.finding.state;
        self.stand(state);
        self.t.finding.new = false;
        self.t.finding.why = why;
        Transition { settled: before as u8 != state as u8, ..Transition::NONE }
    }

    fn open(&mut self, reason: &DriftReason, at: Timestamp) {
        let t = &mut *self.t;
        t.silent_runs = 0;
        t.missed = false;
        let f = &mut t.finding;
        if f.state == FindingState::Resolved {
            f.reopened += 1;
        }
        f.cause = reason.cause;
        f.severity = reason.severity;
        f.new = self.fresh;
        // A clock that went back does not make it seen less lately.
        f.last_seen = f.last_seen.max(at);
        f.owner.clone_from(&reason.owner);
        f.rule.clone_from(&reason.rule);
        f.allowed_by = None;
        f.why.clone_from(&reason.why);
        self.stand(FindingState::Open);
    }

    fn allow(&mut self, head: &RuleHead) -> Transition {
        if !self.t.is_active() && !self.t.is_restless() {
            self.t.finding.new = false;
            return Transition::NONE;
        }
        self.rest();
        self.t.silent_runs = 0;
        let f = &mut self.t.finding;
        f.allowed_by = Some(head.id.clone());
        f.owner = Some(head.owner.clone());
        let why = format!("the rule `{}` at {} allows it: {}", head.id, head.place, head.reason);
        self.settle(FindingState::Allowed, why);
        Transition::SETTLED
    }

    fn leave_scope(&mut self, why: &str) -> Transition {
        let f = &mut self.t.finding;
        f.new = false;
        if f.state == FindingState::MissingPending && self.t.notified.is_none() {
            return Transition::FORGOTTEN;
        }
        let decided = matches!(
            self.t.finding.state,
            FindingState::Resolved | FindingState::Allowed | FindingState::NotRequired
        );
        if decided && !self.t.is_restless() {
            return Transition::NONE;
        }
        self.rest();
        self.settle(FindingState::OutOfScope, why.to_owned())
    }

    fn unverified(&mut self, why: &str) -> Transition {
        self.settle(FindingState::Unverified, why.to_owned());
        Transition::NONE
    }

    fn resolve(&mut self, why: String, by_silence: bool) -> Transition {
        self.is_gone();
        self.t.silent_runs = 0;
        self.t.missed = false;
        self.t.by_silence = by_silence;
        self.t.resolved_by = self.trust.began;
        self.settle(FindingState::Resolved, why);
        Transition::SETTLED
    }

    fn silent(&mut self, what: &str) -> Transition {
        if !self.trust.again {
            self.t.silent_runs += 1;
        }
        if self.t.silent_runs.max(1) >= RUNS_TO_SETTLE {
            return self.resolve(format!("{what} in two covered runs"), true);
        }
        self.is_gone();
        let why = format!("{what} in this run; one more covered run decides");
        self.settle(FindingState::Resolving, why);
        Transition::NONE
    }

    /// A required cell is open.
    fn is_open_again(&mut self) -> Transition {
        self.t.missed_runs = 0;
        self.count_covered();
        self.t.finding.new = false;
        let why = "it was seen open again".to_owned();
        match self.t.finding.state {
            FindingState::MissingPending => {
                self.count_change(false);
                self.settle(FindingState::Resolved, why);
                // What nobody was notified of is no news.
                Transition::NONE
            }
            FindingState::Missing | FindingState::MissingUnverified | FindingState::OutOfScope => {
                self.count_change(false);
                self.t.by_silence = false;
                self.settle(FindingState::Resolved, why);
                Transition::SETTLED
            }
            _ => Transition::NONE,
        }
    }

    /// Notes what a run knows of a pool.
    fn count_pool(&mut self, count: Option<PoolCount>) {
        if let (Some(known), Some(count)) = (&mut self.t.finding.pool, count) {
            known.at_least = count.at_least;
            known.open = count.open;
            known.unknown = count.unknown;
        }
    }

    /// A required cell was covered and is not open, or too little of a pool is.
    fn miss(&mut self, head: &RuleHead, pool: Option<PoolCount>) -> Transition {
        let settled = matches!(
            self.t.finding.state,
            FindingState::Resolved
                | FindingState::Allowed
                | FindingState::NotRequired
                | FindingState::OutOfScope
        );
        let fresh = self.fresh || self.t.finding.state == FindingState::Resolved;
        if !self.trust.again || self.t.missed_runs == 0 {
            self.t.covered_runs += 1;
            self.t.missed_runs += 1;
        }
        if self.t.finding.state == FindingState::Resolved {
            self.t.finding.reopened += u32::from(self.t.notified.is_some());
            self.count_change(true);
        }
        // What was missed before it was settled is no evidence of this time.
        if settled {
            self.t.missed_runs = 1;
            self.stand(FindingState::MissingPending);
        }
        let t = &mut *self.t;
        let f = &mut t.finding;
        f.last_seen = f.last_seen.max(self.trust.ended);
        f.owner = Some(head.owner.clone());
        f.rule = Some(head.id.clone());
        f.cause = FindingCause::Required;
        f.severity = Severity::High;
        let was_missing =
            matches!(f.state, FindingState::Missing | FindingState::MissingUnverified);
        let shown = f.port.map_or_else(String::new, |p| format!("{}/{p}", f.proto));
        let must = match pool {
            None => format!(
                "{shown} on {} must be open by the rule `{}` at {}, and was not",
                f.ip, head.id, head.place
            ),
            Some(p) => format!(
                "{shown} must be open on at least {} of {} addresses by the rule `{}` at {}, and was \
                 open on {}",
                p.at_least, p.of, head.id, head.place, p.open
            ),
        };
        if t.missed_runs >= RUNS_TO_SETTLE || f.flapping {
            let n = t.missed_runs;
            f.new = !was_missing;
            f.why = if n >= RUNS_TO_SETTLE {
                format!("{must} in {n} covered runs")
            } else {
                format!("{must} in this run; it comes and goes")
            };
            let new = f.new;
            self.stand(FindingState::Missing);
            return Transition { new, ..Transition::NONE };
        }
        f.new = fresh;
        f.why = format!("{must} in this run; one more covered run decides");
        self.stand(FindingState::MissingPending);
        Transition { undecided: true, ..Transition::NONE }
    }

    /// No live rule requires it any more.
    fn end_requirement(&mut self) -> Transition {
        self.t.finding.new = false;
        let pending = self.t.finding.state == FindingState::MissingPending;
        if pending && self.t.notified.is_none() {
            return Transition::FORGOTTEN;
        }
        let quiet = matches!(
            self.t.finding.state,
            FindingState::Resolved | FindingState::Allowed | FindingState::NotRequired
        );
        if quiet && !self.t.is_restless() {
            return Transition::NONE;
        }
        self.rest();
        let why = "no live rule requires it any more; it was not seen open again";
        let why = if quiet { "no live rule requires it any more" } else { why };
        self.settle(FindingState::NotRequired, why.to_owned());
        Transition::SETTLED
    }

    /// It is settled by other than being seen: what it did before must not make it flap later.
    fn rest(&mut self) {
        self.t.changes.clear();
        self.t.gone = false;
        self.t.missed = false;
        self.t.finding.flapping = false;
    }

    fn count_covered(&mut self) {
        self.t.covered_runs += u64::from(!self.trust.again);
    }

    /// Counts a covered run that did not find it.
    fn is_gone(&mut self) {
        self.count_covered();
        if !std::mem::replace(&mut self.t.gone, true) {
            self.count_change(false);
        }
    }

    /// Counts a change between there and gone. One that begins drift after a quiet time begins a new
    /// series, as the first sight of a finding does.
    fn count_change(&mut self, begins: bool) {
        let n = self.t.covered_runs;
        self.t.changes.retain(|c| c + FLAP_WINDOW > n);
        let first_of_series = begins && self.t.changes.is_empty();
        if !self.trust.again && !first_of_series {
            self.t.changes.push(n);
        }
    }
}

/// Whether a finding comes and goes, after all that a run saw was applied.
pub(super) fn watch_flapping(t: &mut TrackedFinding) {
    let n = t.covered_runs;
    t.changes.retain(|c| c + FLAP_WINDOW > n);
    let last = t.changes.last().copied().unwrap_or(0);
    if last + FLAP_QUIET <= n {
        // It holds still. What it did before must not make it flapping again.
        if std::mem::take(&mut t.finding.flapping) {
            t.changes.clear();
        }
    } else if t.changes.len() >= FLAP_CHANGES {
        t.finding.flapping = true;
    }
}
