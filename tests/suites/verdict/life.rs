//! Rows of the table of `judge::life` that the first version had wrong, and what follows from them.

use mimawari_drift::state::NotifiedState;
use mimawari_drift::verdict::{Acknowledgement, ChangeKind};

use super::*;
use ChangeKind::{
    Allowed, Flapping, NotRequired, Opened, OutOfScope, Reminder, Reopened, Resolved,
};

fn notified(v: &Verdict) -> Vec<ChangeKind> {
    v.changes.iter().map(|c| c.what).collect()
}

/// Ten web servers each of two pools, of which one is up; a bastion; something else that answers.
fn pools(blue: bool, bastion: CellState, down: CellState) -> Run {
    let mut run = Run::new().ssh(bastion).cell("192.0.2.9", 6379, Open);
    for n in 10..20 {
        let (a, b) = if blue { (Open, down) } else { (down, Open) };
        run = run.cell(&format!("192.0.2.{n}"), 6379, a);
        run = run.cell(&format!("192.0.2.{}", n + 20), 6379, b);
    }
    run
}

// The guard.

#[test]
fn two_pools_that_take_turns_do_not_hold_the_guard_for_ever() {
    let web = "[[allow]]\nid = \"w\"\nhosts = [\"192.0.2.0/26\"]\nports = [\"tcp/6379\"]\nreason = \"x\"\n";
    for down in [Closed, Silent] {
        let mut s = Story::new(&format!("{web}{MUST}"));
        let mut missing = None;
        for hour in 0..12 {
            let bastion = if hour < 3 { Open } else { Closed };
            let v = s.run(pools(hour % 2 == 0, bastion, down));
            assert!(!v.suspect, "hour {hour}: {:?}", v.coverage.gaps);
            if v.findings.iter().any(|f| f.state == FindingState::Missing) {
                missing = missing.or(Some(hour));
            }
        }
        assert_eq!(missing, Some(4), "two covered runs without the bastion");
    }
}

#[test]
fn what_the_run_before_missed_is_settled_whatever_else_goes() {
    let fleet = |gone: std::ops::RangeInclusive<u8>| {
        (1..=40).fold(Run::new(), |r, n| {
            let state = if gone.contains(&n) { Silent } else { Open };
            r.cell(&format!("192.0.2.{n}"), 6379, state)
        })
    };
    let mut s = Story::new(&MUST.replace(HOST, "192.0.2.1").replace("tcp/22", "tcp/6379"));
    s.run(fleet(99..=99));
    // More and more goes in each run, so that the guard never finds peace.
    let v = s.run(fleet(1..=10));
    assert!(v.suspect && v.counts.resolving == 0 && v.counts.undecided == 0, "{:?}", v.counts);
    let v = s.run(fleet(1..=20));
    assert!(v.suspect, "ten more are gone");
    assert_eq!((v.counts.resolving, v.counts.undecided), (9, 1), "what was missed before");
    let v = s.run(fleet(1..=30));
    assert!(v.suspect, "ten more again");
    assert_eq!((v.counts.resolved, v.counts.missing), (9, 1));
}

#[test]
fn one_host_that_is_switched_off_is_no_reason_to_disbelieve_a_run() {
    let estate = |off: bool| {
        let mut run = Run::new().cell("192.0.2.5", 22, Open);
        for p in [22, 80, 443, 6379] {
            run = run.cell(HOST, p, if off { Silent } else { Open });
        }
        run
    };
    let mut s = Story::new("");
    s.run(estate(false));
    let v = s.run(estate(true));
    assert_eq!((v.suspect, v.counts.resolving), (false, 4));
    assert_eq!(s.run(estate(true)).counts.resolved, 4);
}

#[test]
fn a_firewall_that_refuses_everything_is_not_believed_at_once() {
    let all =
        |state| (1..=10).fold(Run::new(), |r, n| r.cell(&format!("192.0.2.{n}"), 6379, state));
    let mut s = Story::new("");
    s.run(all(Open));
    let v = s.run(all(Closed));
    assert_eq!((v.suspect, v.counts.resolved), (true, 0));
    let v = s.run(all(Closed));
    assert_eq!((v.suspect, v.counts.resolved), (false, 10), "the run after it settles it");
}

// A ban.

#[test]
fn a_host_that_refuses_all_its_open_ports_at_once_is_silent_and_not_closed() {
    let host = |state| Run::new().redis(state).ssh(state).cell("192.0.2.9", 22, Open);
    let mut s = Story::new("");
    s.run(host(Open));
    let v = s.run(host(Closed));
    assert_eq!((v.counts.resolved, v.counts.resolving, v.exit), (0, 2, 1));
    assert_eq!(notified(&v), []);
    // The ban ends: nothing was lost, and nothing is news.
    let v = s.run(host(Open));
    assert_eq!((v.counts.open, notified(&v)), (3, vec![]));
    s.run(host(Closed));
    assert_eq!(s.run(host(Closed)).counts.resolved, 2, "two covered runs are believed");
    // One port of several that refuses is closed.
    let mut s = Story::new("");
    s.run(host(Open));
    assert_eq!(s.run(Run::new().redis(Closed).ssh(Open)).counts.resolved, 1);
}

#[test]
fn a_ban_does_not_forget_what_is_allowed() {
    let rules = format!("{RULE}{}", RULE.replace("\"r\"", "\"s\"").replace("6379", "22"));
    let mut s = Story::new(&rules);
    let host = |state| Run::new().redis(state).ssh(state);
    s.run(host(Open));
    s.run(host(Closed));
    assert_eq!(s.state.allowed.len(), 2);
    s.rules("");
    let v = s.run(host(Open));
    assert!(v.findings.iter().all(|f| f.cause == FindingCause::Removed), "{:#?}", v.findings);
    // Two runs that find it refused are no ban.
    let mut s = Story::new(&rules);
    s.run(host(Open));
    s.run(host(Closed));
    s.run(host(Closed));
    assert!(s.state.allowed.is_empty());
}

// Flapping.

#[test]
fn flapping_is_counted_in_covered_runs_of_the_subject() {
    let mut s = Story::new("");
    let mut all = Vec::new();
    let days = [vec![Open], vec![Closed; 29], vec![Open, Closed, Closed, Closed, Open, Open]];
    for (day, state) in days.concat().into_iter().enumerate() {
        all.extend(notified(&s.run(Run::new().redis(state))).into_iter().map(|c| (day, c)));
    }
    let expected = [(0, Opened), (1, Resolved), (30, Reopened), (31, Resolved), (34, Reopened)];
    assert_eq!(all, expected, "a month of quiet lies between");
    // Runs that did not cover it are no quiet time.
    let mut s = Story::new("");
    for state in [Open, Closed, Open] {
        s.run(Run::new().redis(state));
        for _ in 0..20 {
            s.run(Run::new());
        }
    }
    assert_eq!(notified(&s.run(Run::new().redis(Closed))), [Flapping]);
}

#[test]
fn a_flapping_exposure_is_reminded_of_once_a_day() {
    let mut s = Story::new("");
    let mut days = std::collections::BTreeMap::new();
    for hour in 0..24 * 10 {
        let v = s.run(Run::new().redis(if hour % 2 == 0 { Open } else { Closed }));
        *days.entry(hour / 24).or_insert(0) += v.changes.len();
    }
    assert!(days.values().skip(1).all(|n| *n == 1), "{days:?}");
}

// Required services.

#[test]
fn a_required_service_that_alternates_is_reported() {
    let mut s = Story::new(MUST);
    let mut all = Vec::new();
    for run in 0..20 {
        let v = s.run(Run::new().ssh(if run % 2 == 0 { Open } else { Closed }));
        all.extend(notified(&v));
        if run >= 6 {
            assert_eq!(v.exit, if run % 2 == 0 { 0 } else { 1 }, "run {run}");
        }
    }
    assert_eq!(all, [Flapping]);
    // It holds still: whoever was notified hears the end.
    let mut end = Vec::new();
    for _ in 0..8 {
        end.extend(notified(&s.run(Run::new().ssh(Open))));
    }
    assert!(s.state.findings.values().all(|t| !t.finding.flapping));
    assert_eq!(end, []);
}

#[test]
fn one_miss_that_nobody_was_notified_of_is_undecided_and_then_no_news() {
    let mut s = Story::new(MUST);
    s.run(Run::new().ssh(Open));
    let v = s.run(Run::new().ssh(Closed));
    assert_eq!((v.exit, v.counts.undecided, notified(&v)), (3, 1, vec![]));
    // A run that did not look decides nothing, and nothing is to be decided by it.
    let v = s.run(Run::new());
    assert_eq!((one(&v, MissingRequired).state, v.exit), (FindingState::MissingPending, 0));
    let v = s.run(Run::new().ssh(Open));
    assert_eq!((v.exit, notified(&v), v.findings.len()), (0, vec![], 0));
}

#[test]
fn a_must_rule_that_expires_while_its_service_is_missing_allows_nothing() {
    let mut s = Story::new(&format!("{MUST}expires = 2026-11-01\n"));
    s.run(Run::new().ssh(Open));
    s.run(Run::new().ssh(Closed));
    assert_eq!(notified(&s.run(Run::new().ssh(Closed))), [Opened]);
    s.now = "2026-11-03T00:00:00Z".parse().expect("an instant");
    for look in [Closed, NotProbed] {
        let v = s.run(Run::new().ssh(look));
        let f = one(&v, MissingRequired);
        assert_eq!((f.state, f.cause, v.exit), (FindingState::Missing, FindingCause::Expired, 1));
        assert!(f.why.contains("has expired"), "{}", f.why);
    }
    // Whoever removes the rule says that it is not required: reported as that, not as allowed.
    s.rules("");
    let v = s.run(Run::new().ssh(Closed));
    assert_eq!(
        (one(&v, MissingRequired).state, notified(&v), v.exit),
        (FindingState::NotRequired, vec![NotRequired], 0)
    );
    assert!(s.run(Run::new().ssh(Closed)).findings.is_empty(), "listed once");
    // And one that comes back although its rule has expired is resolved.
    let mut s = Story::new(&format!("{MUST}expires = 2026-11-01\n"));
    s.run(Run::new().ssh(Closed));
    s.run(Run::new().ssh(Closed));
    s.now = "2026-11-03T00:00:00Z".parse().expect("an instant");
    let v = s.run(Run::new().ssh(Open).redis(Closed));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Resolved);
}

// Whole hosts.

#[test]
fn a_whole_host_that_was_allowed_says_so_when_its_rule_is_removed() {
    let whole = "[[allow]]\nid = \"pot\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/1-65535\"]\nbroad = true\nreason = \"a honeypot\"\n";
    let mut s = Story::new(whole);
    let v = s.run(twenty(Open).random(4));
    assert_eq!((v.findings.len(), v.exit), (0, 0));
    s.rules("");
    for look in [twenty(NotProbed), twenty(Open).random(4)] {
        let v = s.run(look);
        let f = one(&v, SuspectHost);
        assert_eq!((f.cause, f.rule.as_deref()), (FindingCause::Removed, Some("pot")));
    }
    // What it wrote is read again.
    s.rules(whole);
    s.run(twenty(Open).random(4));
    let text = serde_json::to_string(&s.state).expect("JSON");
    assert_eq!(State::parse(&text).expect("its own text"), s.state);
}

// Vantages.

#[test]
fn a_merged_rule_settles_what_any_vantage_saw() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open).from("old"));
    s.run(Run::new().redis(Closed));
    assert_eq!(state_of(&s), FindingState::Open);
    s.rules(RULE);
    assert_eq!(notified(&s.run(Run::new().redis(Closed))), [Allowed]);
    s.rules("");
    let v = s.run(Run::new().redis(Closed));
    assert_eq!((v.exit, notified(&v)), (0, vec![]), "nobody looks from there");
}

#[test]
fn a_scope_that_shrank_settles_what_a_former_vantage_saw() {
    let mut narrow = Run::new();
    narrow.scope = scope("192.0.2.192/26");
    let mut s = Story::new("");
    s.run(Run::new().redis(Open).from("old"));
    // Another configuration may have another scope, as long as its vantage is in use.
    let v = s.run(narrow.clone());
    assert_eq!((state_of(&s), v.exit), (FindingState::Open, 1));
    s.now = s.now.checked_add((24 * 8).hours()).expect("a time");
    let v = s.run(narrow.clone());
    assert_eq!(
        (state_of(&s), notified(&v), v.exit),
        (FindingState::OutOfScope, vec![OutOfScope], 0)
    );
    // It does not stay in each report for ever.
    let v = s.run(narrow);
    assert_eq!((v.findings.len(), v.counts.out_of_scope), (0, 0));
}

#[test]
fn a_requirement_of_another_vantage_is_ended_by_its_rule_and_not_by_the_scope_of_this_one() {
    let mut s = Story::new(MUST);
    s.run(Run::new().ssh(Closed).from("outside"));
    s.run(Run::new().ssh(Closed).from("outside"));
    let mut narrow = Run::new();
    narrow.scope = scope("192.0.2.192/26");
    s.run(narrow.clone());
    assert_eq!(state_of(&s), FindingState::Missing, "its own configuration looks there");
    s.rules("");
    s.run(narrow);
    assert_eq!(state_of(&s), FindingState::NotRequired);
}

#[test]
fn a_retired_vantage_is_notified_as_that_and_comes_back_as_new_looks() {
    let mut s = Story::new(RULE);
    s.run(Run::new().redis(Open).ssh(Open).from("old"));
    s.run(Run::new().redis(Closed).ssh(Closed));
    assert_eq!(s.state.retire_vantage("nowhere"), None);
    let retired = s.state.retire_vantage("old").expect("it is known");
    assert_eq!((retired.findings, retired.allowed), (1, 1));
    let v = s.run(Run::new().redis(Closed).ssh(Closed));
    assert_eq!((notified(&v), v.exit), (vec![OutOfScope], 0));
    assert!(v.findings[0].why.contains("retired"), "{}", v.findings[0].why);
    assert!(s.run(Run::new()).findings.is_empty());
    let v = s.run(Run::new().ssh(Open).from("old"));
    assert_eq!(notified(&v), [Reopened]);
}

fn state_of(s: &Story) -> FindingState {
    s.state.findings.values().next().expect("a finding").finding.state
}

// First looks and services.

#[test]
fn a_port_that_is_looked_at_for_the_first_time_says_so() {
    let only = |run: Run, ports: &str| Run { ports: ports.parse().expect("ports"), ..run };
    let mut s = Story::new("");
    let v = s.run(only(Run::new().ssh(Open), "22"));
    assert_eq!(one(&v, UnexpectedOpen).cause, FindingCause::Unmatched, "the first run of all");
    // A wider list of ports: what it finds may have been there for years.
    let v = s.run(only(Run::new().ssh(Open).redis(Open).cell("192.0.2.9", 22, Open), "22,6379"));
    let causes: BTreeMap<(IpAddr, u16), FindingCause> =
        v.findings.iter().map(|f| ((f.ip, f.port.expect("a port").get()), f.cause)).collect();
    assert_eq!(causes[&(ip(HOST), 6379)], FindingCause::FirstLook);
    assert_eq!(causes[&(ip("192.0.2.9"), 22)], FindingCause::Unmatched, "that port was looked at");
    // From now on both are known, and it keeps the cause that it was opened with.
    let v = s.run(only(Run::new().redis(Open).cell("192.0.2.9", 6379, Open), "22,6379"));
    let cause = |host: &str| {
        v.findings.iter().find(|f| f.ip == ip(host) && f.port == Some(port(6379))).map(|f| f.cause)
    };
    assert_eq!(cause(HOST), Some(FindingCause::FirstLook));
    assert_eq!(cause("192.0.2.9"), Some(FindingCause::Unmatched));
    // Another vantage looks for the first time as a whole.
    let v = s.run(only(Run::new().redis(Open).from("office"), "22,6379"));
    assert!(
        v.findings
            .iter()
            .filter(|f| f.vantage == "office")
            .all(|f| f.cause == FindingCause::Unmatched)
    );
}

#[test]
fn a_port_at_which_another_service_answers_is_reported() {
    for rules in ["", RULE] {
        let mut s = Story::new(rules);
        assert!(s.run(Run::new().redis(Open).service("http")).service_changes.is_empty());
        assert!(s.run(Run::new().redis(Open).service("http")).service_changes.is_empty());
        // Less was learnt, or nothing: no change.
        assert!(s.run(Run::new().redis(Open)).service_changes.is_empty());
        assert!(s.run(Run::new().redis(Open).service("unknown")).service_changes.is_empty());
        let v = s.run(Run::new().redis(Open).service("ssh"));
        let c = &v.service_changes[0];
        assert_eq!((c.was.as_str(), c.now.as_str(), c.port), ("http", "ssh", port(6379)));
        assert_eq!(c.allowed_by.as_deref(), (!rules.is_empty()).then_some("r"));
        assert!(s.run(Run::new().redis(Open).service("ssh")).service_changes.is_empty(), "once");
    }
}

// Acknowledgements.

fn acknowledgement(s: &Story, hours: i64) -> Acknowledgement {
    let until = s.now.checked_add(hours.hours()).expect("a time");
    Acknowledgement { until, at: s.now, by: "alice".to_owned(), reason: "SEC-7".to_owned() }
}

#[test]
fn the_end_of_an_acknowledgement_is_notified_at_its_end() {
    let mut s = Story::new("");
    let id = s.run(Run::new().redis(Open)).findings[0].id.clone();
    let ack = acknowledgement(&s, 5);
    s.state.acknowledged.insert(id, ack);
    let all: Vec<_> = (2..=12)
        .flat_map(|hour| {
            notified(&s.run(Run::new().redis(Open))).into_iter().map(move |c| (hour, c))
        })
        .collect();
    assert_eq!(all, [(6, Reminder)], "and not when the day is over");
    // What was resolved meanwhile has no end to be notified of.
    let mut s = Story::new("");
    let id = s.run(Run::new().redis(Open)).findings[0].id.clone();
    let ack = acknowledgement(&s, 2);
    s.state.acknowledged.insert(id, ack);
    assert_eq!(notified(&s.run(Run::new().redis(Closed))), [Resolved]);
    assert_eq!(notified(&s.run(Run::new().redis(Closed))), []);
    assert_eq!(notified(&s.run(Run::new().redis(Closed))), []);
}

#[test]
fn planned_work_is_acknowledged_by_rule_before_anything_is_missing() {
    let mut s = Story::new(MUST);
    s.run(Run::new().ssh(Open));
    let ack = acknowledgement(&s, 30);
    s.state.acknowledged_rules.insert("m".to_owned(), ack);
    s.run(Run::new().ssh(Closed));
    let mut all = Vec::new();
    for hour in 3..=33 {
        let v = s.run(Run::new().ssh(Closed).redis(Closed));
        assert_eq!(v.exit, 1, "it is drift all the same");
        let by = one(&v, MissingRequired).acknowledged.as_ref().map(|a| a.by.as_str());
        assert_eq!(by, (hour < 31).then_some("alice"), "hour {hour}");
        all.extend(notified(&v).into_iter().map(|c| (hour, c)));
    }
    assert_eq!(all, [(3, Opened), (31, Reminder)]);
    assert!(s.state.acknowledged_rules.is_empty());
    let standing = s.state.findings.values().next().and_then(|t| t.notified).map(|t| t.what);
    assert_eq!(standing, Some(NotifiedState::Drift));
}

#[test]
fn all_of_a_host_are_found_at_once() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open).ssh(Open).cell("192.0.2.9", 22, Open));
    for (text, n) in [(HOST, 2), ("192.0.2.9:22", 1), ("192.0.2.9:23", 0), ("192.0.2", 0)] {
        assert_eq!(s.state.find_all_drift(text).len(), n, "{text}");
    }
}
