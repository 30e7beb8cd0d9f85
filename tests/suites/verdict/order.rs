//! Runs that are judged out of order, from two places and upon each other, with rules that come and go.

use mimawari_drift::verdict::{Acknowledgement, ChangeKind};

use super::*;
use ChangeKind::{
    Allowed, Flapping, NotRequired, Opened, OutOfScope, Reminder, Reopened, Resolved, Worse,
};

/// The changes that a run notifies.
fn notified(v: &Verdict) -> Vec<ChangeKind> {
    v.changes.iter().map(|c| c.what).collect()
}

impl Story {
    /// A run that began at another time than the one at which it is judged, which is now.
    fn late(&mut self, run: &Run, began: Timestamp) -> Verdict {
        let (v, next) = judged_at(run, &baseline(&self.rules), &self.state, began, self.now);
        self.state = next;
        v
    }

    fn tracked(&self, kind: FindingKind) -> Option<&mimawari_drift::state::TrackedFinding> {
        self.state.findings.values().find(|t| t.finding.kind == kind)
    }

    #[track_caller]
    fn stands(&self, kind: FindingKind) -> FindingState {
        self.tracked(kind).expect("a finding").finding.state
    }
}

/// Ten hosts of which the first so many are closed.
fn ten(gone: u8) -> Run {
    (1..=10).fold(Run::new(), |r, n| {
        r.cell(&format!("192.0.2.{n}"), 6379, if n <= gone { Closed } else { Open })
    })
}

fn narrow() -> Run {
    let mut run = Run::new();
    run.scope = scope("192.0.2.192/26");
    run
}

// Two vantages.

#[test]
fn what_one_vantage_sees_closed_is_still_open_from_the_other() {
    let mut s = Story::new("");
    assert_eq!(notified(&s.run(Run::new().redis(Open).from("inside"))), [Opened]);
    for look in [Closed, Silent, Silent, NotProbed] {
        let before = s.state.findings.clone();
        let v = s.run(Run::new().redis(look).from("outside"));
        assert_eq!(
            (v.exit, notified(&v), v.counts.resolved),
            (1, vec![], 0),
            "still drift, and notified"
        );
        assert!(v.findings.iter().all(|f| !f.new), "nothing of it is new to this run");
        let mut after = s.state.findings.clone();
        for (id, t) in &mut after {
            t.finding.new = before[id].finding.new;
        }
        assert_eq!(after, before);
    }
    assert_eq!(notified(&s.run(Run::new().redis(Closed).from("inside"))), [Resolved]);
}

#[test]
fn what_is_allowed_from_one_vantage_is_not_judged_from_the_other() {
    let mut s = Story::new(RULE);
    s.run(Run::new().redis(Open).from("inside"));
    let known = s.state.allowed.clone();
    for look in [Closed, NotProbed] {
        s.run(Run::new().redis(look).from("outside"));
        assert_eq!(s.state.allowed, known);
    }
    s.rules("");
    let v = s.run(Run::new().redis(Closed).from("outside"));
    assert!(v.findings.is_empty(), "nobody saw it open from there: {:?}", v.findings);
    assert_eq!(s.state.allowed, known);
    let v = s.run(Run::new().from("inside"));
    assert_eq!(one(&v, UnexpectedOpen).cause, FindingCause::Removed);
    assert_eq!(one(&v, UnexpectedOpen).vantage, "inside");
}

#[test]
fn what_only_the_inside_sees_does_not_make_the_outside_suspect() {
    let mut s = Story::new("");
    for _ in 0..3 {
        assert!(!s.run(ten(0).from("inside")).suspect);
        let v = s.run(ten(10).from("outside"));
        assert!(!v.suspect, "{:?}", v.coverage.gaps);
        assert!(s.state.findings.values().all(|t| !t.missed));
    }
    let mut s = Story::new(&RULE.replace(HOST, "192.0.2.0/24"));
    for _ in 0..3 {
        assert!(!s.run(ten(0).from("inside")).suspect);
        assert!(!s.run(ten(10).from("outside")).suspect);
        assert!(s.state.allowed.values().all(|a| !a.missed));
    }
}

#[test]
fn a_required_cell_is_missing_from_where_it_is_missing() {
    let mut s = Story::new(MUST);
    for _ in 0..2 {
        s.run(Run::new().ssh(Closed).from("outside"));
        s.run(Run::new().ssh(Open).from("inside"));
    }
    assert_eq!(s.stands(MissingRequired), FindingState::Missing);
    assert_eq!(s.tracked(MissingRequired).map(|t| t.finding.vantage.as_str()), Some("outside"));
    // The rule is gone: that is no observation, and settled by the next run from anywhere.
    s.rules("");
    s.run(Run::new().ssh(Open).from("inside"));
    assert_eq!(s.stands(MissingRequired), FindingState::NotRequired);
}

// Rules that come and go.

#[test]
fn a_never_rule_for_what_was_allowed_is_one_alarm() {
    let mut s = Story::new(RULE);
    s.run(Run::new().redis(Open));
    s.rules(NEVER);
    let v = s.run(Run::new().redis(Open));
    assert_eq!(notified(&v), [Opened], "{:#?}", v.findings);
    assert_eq!(v.findings.len(), 1);
    let first = s.now;
    for _ in 0..3 {
        s.run(Run::new());
        assert_eq!(s.state.findings.len(), 1);
    }
    assert!(one(&v, ForbiddenOpen).first_seen < first, "it was there before");
}

#[test]
fn a_never_rule_while_nobody_looks_is_one_alarm_too() {
    let mut s = Story::new(RULE);
    s.run(Run::new().redis(Open));
    s.rules(NEVER);
    assert_eq!(notified(&s.run(Run::new())), [Opened]);
    assert_eq!(notified(&s.run(Run::new().redis(Open))), []);
    assert_eq!(s.state.findings.len(), 1);
}

#[test]
fn what_flapped_settles_when_another_finding_takes_its_place() {
    let mut s = Story::new("");
    for c in [Open, Closed, Open, Closed] {
        s.run(Run::new().redis(c));
    }
    assert!(s.tracked(UnexpectedOpen).is_some_and(|t| t.finding.flapping));
    s.rules(NEVER);
    assert!(notified(&s.run(Run::new().redis(Open))).contains(&Opened));
    let t = s.tracked(UnexpectedOpen).expect("a finding");
    assert!(!t.finding.flapping, "{t:?}");
    // Out of the scope and back it is still one.
    s.run(narrow());
    let v = s.run(Run::new());
    assert_eq!((notified(&v), v.counts.unverified), (vec![Reopened], 1));
}

#[test]
fn what_was_forbidden_and_is_allowed_unseen_is_not_forgotten_with_its_rule() {
    let mut s = Story::new(NEVER);
    s.run(Run::new().redis(Open));
    s.rules(RULE);
    assert_eq!(notified(&s.run(Run::new())), [Allowed]);
    s.rules("");
    let v = s.run(Run::new());
    assert_eq!((v.exit, v.counts.unverified), (1, 1), "{:?}", v.findings);
    s.rules(RULE);
    s.run(Run::new().redis(Open));
    s.run(Run::new().redis(Closed));
    assert!(s.state.allowed.is_empty(), "{:?}", s.state.allowed);
}

#[test]
fn what_was_not_yet_notified_as_resolved_is_notified_as_allowed() {
    // Silence resolved it, and that had not lasted long enough to be notified.
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    s.run(Run::new().redis(Silent));
    s.run(Run::new().redis(Silent));
    assert_eq!(s.stands(UnexpectedOpen), FindingState::Resolved);
    s.rules(RULE);
    assert_eq!(notified(&s.run(Run::new().redis(Open))), [Allowed]);
    assert_eq!(notified(&s.run(Run::new().redis(Open))), []);
    // As it came and went.
    let mut s = Story::new("");
    for c in [Open, Closed, Open, Closed] {
        s.run(Run::new().redis(c));
    }
    s.rules(RULE);
    for _ in 0..8 {
        s.run(Run::new().redis(Open));
    }
    let t = s.tracked(UnexpectedOpen).expect("a finding");
    assert!(!t.finding.flapping && t.finding.state == FindingState::Allowed, "{t:?}");
    // The rule ends: that is an alarm like any other.
    s.rules("");
    assert_eq!(notified(&s.run(Run::new().redis(Open))), [Reopened]);
}

#[test]
fn what_was_not_yet_notified_as_resolved_is_notified_as_out_of_scope() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    s.run(Run::new().redis(Silent));
    s.run(Run::new().redis(Silent));
    assert_eq!(notified(&s.run(narrow())), [OutOfScope]);
    assert_eq!(notified(&s.run(narrow())), []);
    assert_eq!(notified(&s.run(Run::new().redis(Open))), [Reopened]);
}

#[test]
fn flapping_does_not_outlive_a_rule_that_allows() {
    let mut s = Story::new("");
    let mut all = Vec::new();
    for c in [Open, Closed, Open, Closed, Open] {
        all.extend(notified(&s.run(Run::new().redis(c))));
    }
    assert_eq!(all, [Opened, Resolved, Reopened, Flapping]);
    s.rules(RULE);
    assert_eq!(notified(&s.run(Run::new().redis(Open))), [Allowed]);
    s.rules("");
    assert_eq!(notified(&s.run(Run::new().redis(Open))), [Reopened]);
}

#[test]
fn a_second_disappearance_of_a_required_cell_has_a_key_of_its_own() {
    let mut s = Story::new(MUST);
    let mut keys = BTreeSet::new();
    let mut run = |s: &mut Story, state| {
        let v = s.run(Run::new().ssh(state));
        for c in &v.changes {
            assert!(keys.insert(c.key.clone()), "{} is notified twice", c.key);
        }
        notified(&v)
    };
    let mut all = Vec::new();
    for c in [Open, Closed, Closed, Open, Closed, Open, Closed, Closed] {
        all.extend(run(&mut s, c));
    }
    assert_eq!(s.stands(MissingRequired), FindingState::Missing);
    assert_eq!(all[..2], [Opened, Resolved]);
    assert!(matches!(all[2..], [Reopened | Flapping]), "{all:?}");
    // And when the rule goes while it is pending, the history stays.
    run(&mut s, Open);
    run(&mut s, Closed);
    s.rules("");
    run(&mut s, Closed);
    s.rules(MUST);
    run(&mut s, Closed);
    run(&mut s, Closed);
}

#[test]
fn a_rule_that_requires_again_counts_anew() {
    let mut s = Story::new(MUST);
    s.run(Run::new().ssh(Closed));
    s.run(Run::new().ssh(Closed));
    s.rules("");
    assert_eq!(notified(&s.run(Run::new().ssh(Closed))), [NotRequired]);
    s.rules(MUST);
    let v = s.run(Run::new().ssh(Closed));
    assert_eq!((s.stands(MissingRequired), notified(&v)), (FindingState::MissingPending, vec![]));
    assert_eq!(notified(&s.run(Run::new().ssh(Closed))), [Reopened]);
}

#[test]
fn a_required_cell_that_comes_back_into_the_scope_is_looked_at_again() {
    let mut s = Story::new(MUST);
    s.run(Run::new().ssh(Closed));
    s.run(Run::new().ssh(Closed));
    assert_eq!(notified(&s.run(narrow())), [OutOfScope]);
    let v = s.run(Run::new().ssh(Open));
    assert_eq!((s.stands(MissingRequired), notified(&v)), (FindingState::Resolved, vec![Resolved]));
}

#[test]
fn a_required_cell_that_came_and_went_is_settled_with_its_rule() {
    let mut s = Story::new(MUST);
    for c in [Closed, Closed, Open, Closed, Closed, Open, Closed, Closed, Open] {
        s.run(Run::new().ssh(c));
    }
    assert_eq!(s.stands(MissingRequired), FindingState::Resolved);
    s.rules("");
    for _ in 0..10 {
        s.run(Run::new().ssh(Open));
    }
    let t = s.tracked(MissingRequired).expect("a finding");
    assert!(!t.finding.flapping, "{t:?}");
    assert!(
        t.notified.is_some_and(|t| t.what != mimawari_drift::state::NotifiedState::Drift),
        "{t:?}"
    );
}

#[test]
fn what_was_missing_outside_the_scope_is_no_open_port_when_it_is_back() {
    for look in [Open, Closed, NotProbed] {
        let mut s = Story::new(MUST);
        s.run(Run::new().ssh(Closed));
        s.run(Run::new().ssh(Closed));
        s.run(narrow());
        s.rules("");
        let v = s.run(Run::new().ssh(look));
        assert_eq!(s.stands(MissingRequired), FindingState::NotRequired);
        assert_eq!(notified(&v).iter().filter(|c| **c == NotRequired).count(), 1);
        assert_eq!(v.exit, u8::from(look == Open), "only what is open is drift");
    }
}

// Runs out of order.

#[test]
fn an_older_run_does_not_bring_back_contents_that_a_newer_one_saw_gone() {
    let mut s = Story::new("");
    s.run(Run::new().content(ContentOutcome::Exposed));
    let early = s.now.checked_add(30.minutes()).expect("a time");
    assert_eq!(notified(&s.run(Run::new().content(ContentOutcome::Absent))), [Resolved,]);
    let v = s.late(&Run::new().content(ContentOutcome::Exposed), early);
    assert_eq!(notified(&v), []);
    assert_eq!(s.stands(ExposedContent), FindingState::Resolved);

    let legacy = |legacy| {
        Run::new().web(|w| {
            w.tls = Some(TlsFacts { version: "TLSv1.0".to_owned(), legacy, ..TlsFacts::default() });
        })
    };
    let mut s = Story::new(
        "[[allow]]\nid = \"r\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/443\"]\nreason = \"x\"\n",
    );
    s.run(legacy(true));
    let early = s.now.checked_add(30.minutes()).expect("a time");
    s.run(legacy(false));
    assert_eq!(s.stands(LegacyTls), FindingState::Resolved);
    s.late(&legacy(true), early);
    assert_eq!(s.stands(LegacyTls), FindingState::Resolved);

    let mut s = Story::new("");
    s.run(twenty(Open));
    let early = s.now.checked_add(30.minutes()).expect("a time");
    s.run(twenty(Closed));
    assert_eq!(s.stands(SuspectHost), FindingState::Resolved);
    s.late(&twenty(Open), early);
    assert_eq!(s.stands(SuspectHost), FindingState::Resolved);
}

#[test]
fn the_newest_look_counts_not_the_one_that_resolved() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    s.run(Run::new().redis(Closed));
    let early = s.now.checked_add(30.minutes()).expect("a time");
    s.run(Run::new().redis(Closed));
    assert_eq!(notified(&s.late(&Run::new().redis(Open), early)), []);
    assert_eq!(s.stands(UnexpectedOpen), FindingState::Resolved);
}

#[test]
fn an_older_run_does_not_find_what_a_newer_one_misses() {
    let mut s = Story::new(MUST);
    s.run(Run::new().ssh(Open));
    let early = s.now.checked_add(30.minutes()).expect("a time");
    s.run(Run::new().ssh(Closed));
    s.run(Run::new().ssh(Closed));
    assert_eq!(s.stands(MissingRequired), FindingState::Missing);
    let v = s.late(&Run::new().ssh(Open), early);
    assert_eq!((s.stands(MissingRequired), notified(&v)), (FindingState::Missing, vec![]));
}

#[test]
fn what_came_after_a_run_began_does_not_make_it_suspect() {
    let mut s = Story::new("");
    s.run(Run::new());
    let early = s.now.checked_add(30.minutes()).expect("a time");
    s.run(ten(0));
    let v = s.late(&ten(10), early);
    assert!(!v.suspect, "{:?}", v.coverage.gaps);
    assert!(s.state.findings.values().all(|t| !t.missed && t.finding.state == FindingState::Open));
    // A path that fails for the first time is not believed for that.
    assert!(s.run(ten(10)).suspect);
}

#[test]
fn a_run_that_is_judged_again_does_not_make_a_finding_flap() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    let (open, first) = (Run::new().redis(Open), s.now);
    let silent = Run::new().redis(Silent);
    s.run(silent.clone());
    let second = s.now;
    for _ in 0..4 {
        s.late(&open, first);
        s.late(&silent, second);
    }
    let t = s.tracked(UnexpectedOpen).expect("a finding");
    assert!(!t.finding.flapping, "{t:?}");
    assert_eq!(t.finding.state, FindingState::Resolving);
}

#[test]
fn an_older_run_changes_no_site() {
    let mut s = Story::new(&RULE.replace("6379", "443"));
    let titled = |title: &str| Run::new().web(|w| w.title = Some(title.to_owned()));
    s.run(titled("a"));
    let early = s.now.checked_add(30.minutes()).expect("a time");
    assert_eq!(s.run(titled("b")).site_changes.len(), 1);
    assert!(s.late(&titled("a"), early).site_changes.is_empty());
    assert!(s.run(titled("b")).site_changes.is_empty());
}

// What is notified.

#[test]
fn a_clock_that_was_wrong_once_does_not_silence_reminders() {
    let mut s = Story::new("");
    let right = s.now;
    s.now = "2036-11-01T00:00:00Z".parse().expect("an instant");
    s.run(Run::new().redis(Open));
    s.now = right;
    let mut n = 0;
    for _ in 0..50 {
        n += notified(&s.run(Run::new().redis(Open))).len();
    }
    assert!(n >= 2, "notified {n} times in two days");
}

#[test]
fn what_flapped_and_is_no_longer_probed_is_notified_once_a_day() {
    let mut s = Story::new("");
    for c in [Open, Closed, Open, Closed, Open] {
        s.run(Run::new().redis(c));
    }
    let mut all = Vec::new();
    for _ in 0..49 {
        all.extend(notified(&s.run(Run::new())));
    }
    assert!(
        matches!(all[..], [Reminder | Reopened, Reminder]),
        "it counts, and nobody would hear of it: {all:?}"
    );
}

#[test]
fn what_becomes_worse_is_notified_though_it_flaps_or_is_acknowledged() {
    let mut s = Story::new("");
    let medium = |o| Run::new().http(o, |h| h.severity = Severity::Medium);
    let mut id = None;
    for o in [
        ContentOutcome::Exposed,
        ContentOutcome::Absent,
        ContentOutcome::Exposed,
        ContentOutcome::Absent,
        ContentOutcome::Exposed,
    ] {
        let v = s.run(medium(o));
        id = id.or_else(|| Some(one(&v, ExposedContent).id.clone()));
    }
    assert!(s.tracked(ExposedContent).is_some_and(|t| t.finding.flapping));
    let until = s.now.checked_add(60.hours()).expect("a time");
    let (by, reason) = ("alice".to_owned(), "SEC-7".to_owned());
    let ack = Acknowledgement { until, at: s.now, by, reason };
    s.state.acknowledged.insert(id.expect("an id"), ack);
    let v = s.run(Run::new().content(ContentOutcome::Exposed));
    assert!(matches!(notified(&v)[..], [Worse | Reopened]), "{:?}", v.changes);
    assert_eq!(notified(&s.run(Run::new().content(ContentOutcome::Exposed))), []);
}

#[test]
fn a_clock_that_was_wrong_once_does_not_keep_a_part_fresh_for_ever() {
    let mut s = Story::new("");
    s.run(Run::new().part(2, true, None).ssh(Closed));
    s.run(Run::new().part(1, true, None).redis(Open));
    let right = s.now;
    s.now = "2036-11-01T00:00:00Z".parse().expect("an instant");
    s.run(Run::new().part(1, true, None).redis(Open));
    s.now = right;
    let seen = |s: &mut Story| state(&s.run(Run::new().part(2, true, None).ssh(Closed)));
    let states: Vec<_> = (0..4).map(|_| seen(&mut s)).collect();
    assert_eq!(states.last(), Some(&FindingState::Unverified), "{states:?}");
}

// Profiles over one state.

#[test]
fn a_run_with_other_ports_says_nothing_of_a_host_that_answers_on_everything() {
    let mut s = Story::new("");
    s.run(twenty(Open));
    let mut other = (200..220).fold(Run::new(), |r, p| r.cell(HOST, p, Closed));
    other.ports = "200-219".parse().expect("ports");
    let v = s.run(other);
    assert_eq!((s.stands(SuspectHost), v.counts.resolved), (FindingState::Unverified, 0));
    let v = s.run(twenty(Closed));
    assert_eq!((s.stands(SuspectHost), v.counts.resolved), (FindingState::Resolved, 1));
}

#[test]
fn a_finding_outside_the_ports_of_a_run_waits_for_the_one_that_looks() {
    let mut s = Story::new("");
    let mut all = Vec::new();
    for _ in 0..4 {
        all.extend(notified(&s.run(Run::new().redis(Open))));
        let mut other = Run::new().ssh(Closed);
        other.ports = "22".parse().expect("ports");
        let v = s.run(other);
        assert_eq!((state(&v), v.exit), (FindingState::Unverified, 1));
        all.extend(notified(&v));
    }
    assert_eq!(all, [Opened]);
}
