//! What is notified, and how often.

use mimawari_drift::verdict::{Acknowledgement, ChangeKind};

use super::*;

/// The changes that a run notifies.
fn notified(v: &Verdict) -> Vec<ChangeKind> {
    v.changes.iter().map(|c| c.what).collect()
}

use ChangeKind::{Allowed, Opened, OutOfScope, Reminder, Reopened, Resolved, Worse};

#[test]
fn a_finding_is_notified_once_and_then_once_a_day() {
    let mut s = Story::new("");
    let mut all = Vec::new();
    for hour in 1..=50 {
        all.extend(notified(&s.run(Run::new().redis(Open))).into_iter().map(|c| (hour, c)));
    }
    assert_eq!(all, [(1, Opened), (25, Reminder), (49, Reminder)]);
}

#[test]
fn what_is_not_covered_is_neither_notified_again_nor_notified_as_resolved() {
    let mut s = Story::new("");
    assert_eq!(notified(&s.run(Run::new().redis(Open))), [Opened]);
    assert_eq!(notified(&s.run(Run::new())), []);
    assert_eq!(notified(&s.run(Run::new().redis(Open))), []);
}

#[test]
fn a_refusal_is_notified_at_once_and_what_comes_back_too() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    assert_eq!(notified(&s.run(Run::new().redis(Closed))), [Resolved]);
    assert_eq!(notified(&s.run(Run::new().redis(Closed))), []);
    assert_eq!(notified(&s.run(Run::new().redis(Open))), [Reopened]);
}

#[test]
fn silence_must_last_before_it_is_notified() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    let mut silent = 0;
    loop {
        let v = s.run(Run::new().redis(Silent));
        silent += 1;
        assert_eq!(
            state_of(&s),
            if silent < 2 { FindingState::Resolving } else { FindingState::Resolved }
        );
        if notified(&v) == [Resolved] {
            break;
        }
        assert_eq!(notified(&v), []);
        assert!(silent < 10, "never notified");
    }
    assert_eq!(silent, 6, "one that made the change and five that held");
}

fn state_of(s: &Story) -> FindingState {
    s.state.findings.values().next().expect("a finding").finding.state
}

#[test]
fn twenty_runs_half_of_them_silent_are_two_notices() {
    for pattern in ["os", "oss", "ooss", "oooss", "ossoos", "oosos", "osssooo", "ooooosssss"] {
        let mut s = Story::new("");
        let mut notices = Vec::new();
        for c in pattern.chars().cycle().take(20) {
            let v = s.run(Run::new().redis(if c == 'o' { Open } else { Silent }));
            notices.extend(notified(&v));
        }
        assert!(notices.len() <= 2, "{pattern}: {notices:?}");
        assert_eq!(notices[0], Opened, "{pattern}");
    }
}

#[test]
fn what_flapped_is_notified_again_when_it_is_stable() {
    let mut s = Story::new("");
    let mut all = Vec::new();
    for c in [Open, Closed, Open, Closed] {
        all.extend(notified(&s.run(Run::new().redis(c))));
    }
    assert_eq!(all, [Opened, Resolved, Reopened, ChangeKind::Flapping]);
    for (end, last) in [(Open, vec![Reopened]), (Closed, vec![])] {
        let mut s = Story { state: s.state.clone(), rules: String::new(), now: s.now };
        let mut all = Vec::new();
        let mut still = 0;
        while s.state.findings.values().any(|t| t.finding.flapping) {
            all.extend(notified(&s.run(Run::new().redis(end))));
            still += 1;
            assert!(still < 10, "never quiet");
        }
        // It was notified as flapping while it was closed.
        assert_eq!(all, last);
        assert!((5..=6).contains(&still), "{still}");
    }
}

#[test]
fn a_rule_is_notified_as_allowed_and_a_smaller_scope_as_out_of_scope() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    s.rules(RULE);
    assert_eq!(notified(&s.run(Run::new())), [Allowed], "at once, without a packet");
    s.rules("");
    assert_eq!(notified(&s.run(Run::new().redis(Open))), [Reopened]);
    let mut narrow = Run::new();
    narrow.scope = scope("192.0.2.192/26");
    assert_eq!(notified(&s.run(narrow.clone())), [OutOfScope]);
    assert_eq!(notified(&s.run(narrow)), []);
}

#[test]
fn a_worse_finding_is_notified_again() {
    let mut s = Story::new("");
    s.run(Run::new().cell(HOST, 8080, Open));
    s.rules(&NEVER.replace("6379", "8080"));
    let v = s.run(Run::new().cell(HOST, 8080, Open));
    assert_eq!(notified(&v), [Worse], "medium to high: {:?}", v.findings);
}

#[test]
fn who_acknowledges_is_left_alone_until_the_end() {
    let mut s = Story::new("");
    let v = s.run(Run::new().redis(Open));
    let id = v.findings[0].id.clone();
    let until = s.now.checked_add(60.hours()).expect("a time");
    let (by, reason) = ("alice".to_owned(), "SEC-7".to_owned());
    s.state.acknowledged.insert(id, Acknowledgement { until, at: s.now, by, reason });
    let mut all = Vec::new();
    for hour in 2..=70 {
        let v = s.run(Run::new().redis(Open));
        assert_eq!(v.exit, 1, "it is drift all the same");
        assert_eq!(v.counts.acknowledged, u64::from(hour < 61));
        all.extend(notified(&v).into_iter().map(|c| (hour, c)));
    }
    assert_eq!(all, [(61, Reminder)]);
    assert!(s.state.acknowledged.is_empty());
}

#[test]
fn a_run_that_is_judged_again_counts_once_and_notifies_nothing_twice() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    let run = Run::new().redis(Silent);
    s.run(run.clone());
    let now = s.now;
    for _ in 0..3 {
        let (v, next) = judged(&run, &baseline(""), &s.state, now);
        assert_eq!((state(&v), notified(&v)), (FindingState::Resolving, vec![]));
        s.state = next;
    }
    assert_eq!(s.state.timeline.len(), 2);
    assert_eq!(state(&s.run(Run::new().redis(Silent))), FindingState::Resolved);
}

#[test]
fn an_older_run_that_is_judged_late_closes_nothing_and_brings_nothing_back() {
    let mut s = Story::new("");
    s.run(Run::new());
    let early = s.now;
    let v = s.run(Run::new().redis(Open));
    assert_eq!(v.exit, 1);
    // Its run id and start are those of the first hour.
    let late = early.checked_add(1.minute()).expect("a time");
    let old = |run: &Run, state: &State, now| judged_at(run, &baseline(""), state, late, now);
    let (v, next) = old(&Run::new().redis(Closed), &s.state, s.now);
    assert_eq!(state(&v), FindingState::Open, "another run saw it open since");
    s.state = next;
    s.run(Run::new().redis(Closed));
    assert_eq!(state_of(&s), FindingState::Resolved);
    let (v, _) = old(&Run::new().redis(Open), &s.state, s.now);
    assert_eq!((v.exit, notified(&v)), (0, vec![]), "another run saw it closed since");
}

#[test]
fn a_rack_that_was_taken_out_is_believed_when_the_next_run_finds_the_same() {
    let many = |gone: u8| {
        (1..=10).fold(Run::new(), |r, n| {
            r.cell(&format!("192.0.2.{n}"), 6379, if n <= gone { Silent } else { Open })
        })
    };
    let mut s = Story::new("");
    s.run(many(0));
    let v = s.run(many(5));
    assert_eq!((v.suspect, v.counts.resolving), (true, 0));
    let (again, _) = judged(&many(5), &baseline(""), &s.state, s.now);
    assert!(again.suspect, "the same run is no further evidence");
    let v = s.run(many(5));
    assert_eq!((v.suspect, v.counts.resolving), (false, 5));
    // And one that loses others again is not.
    assert!(s.run(many(8)).suspect);
}

#[test]
fn rules_that_nothing_backs_are_known_and_a_run_that_could_not_see_says_nothing_of_them() {
    let both = "[[allow]]\nid = \"a\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/22\"]\nreason = \"x\"\n\
                [[allow]]\nid = \"b\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/6379\"]\nreason = \"x\"\n";
    let mut s = Story::new(both);
    for _ in 0..3 {
        s.run(Run::new().ssh(Open).redis(Closed));
    }
    let mut run = Run::new().ssh(Closed);
    run.incomplete = vec![Gap::Stopped.not_covered()];
    s.run(run);
    let used = |s: &Story, id: &str| {
        let u = &s.state.rules[id];
        (u.last_seen.is_some(), u.unseen_runs)
    };
    assert_eq!((used(&s, "a"), used(&s, "b")), ((true, 0), (false, 3)));
    s.rules(RULE);
    s.run(Run::new().redis(Open));
    assert_eq!(s.state.rules.keys().collect::<Vec<_>>(), ["r"]);
    // An overlapping rule is needed as well, though another one is named as what allows it.
    s.rules(&format!(
        "{RULE}{}",
        RULE.replace("\"r\"", "\"wide\"").replace("192.0.2.70", "192.0.2.0/24")
    ));
    s.run(Run::new().redis(Open));
    assert!(used(&s, "wide").0 && used(&s, "r").0);
}

#[test]
fn a_week_makes_a_summary_due_and_the_first_run_does_not() {
    let mut s = Story::new("");
    let due: Vec<usize> = (0..24 * 15).filter(|_| s.run(Run::new()).digest_due).collect();
    assert_eq!(due.len(), 2, "{due:?}");
    assert!(due[0] >= 24 * 7 - 1 && due[0] <= 24 * 7, "{due:?}");
}

#[test]
fn a_host_that_answers_on_everything_may_be_allowed_as_a_whole() {
    let whole = "[[allow]]\nid = \"pot\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/1-65535\"]\nbroad = true\nreason = \"a honeypot\"\n";
    let mut s = Story::new("");
    let v = s.run(twenty(Open).random(4));
    assert_eq!((one(&v, SuspectHost).state, v.exit), (FindingState::Open, 1));
    s.rules(whole);
    let v = s.run(twenty(Open).random(4));
    assert_eq!(
        (one(&v, SuspectHost).state, notified(&v), v.exit),
        (FindingState::Allowed, vec![Allowed], 0)
    );
    s.rules("");
    let v = s.run(twenty(Open).random(4));
    assert_eq!((one(&v, SuspectHost).state, notified(&v)), (FindingState::Open, vec![Reopened]));
}

#[test]
fn the_timeline_and_the_map_show_what_was_seen() {
    let mut s = Story::new(RULE);
    s.run(Run::new().redis(Open).cell(HOST, 23, Open));
    let v = s.run(Run::new().redis(Open));
    assert_eq!(v.timeline.iter().map(|r| r.exit).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(v.maps.len(), 1);
    assert_eq!((v.maps[0].range.as_str(), v.maps[0].cells), ("192.0.2.0/24", 256));
    let marks: Vec<_> =
        v.maps[0].marks.iter().map(|m| (m.index, m.allowed, m.unexpected, m.unverified)).collect();
    assert_eq!(marks, [(70, 1, 0, 1)]);
    let f = one(&v, UnexpectedOpen);
    assert_eq!(f.nearest.as_ref().map(|n| n.id.as_str()), Some("r"));
}
