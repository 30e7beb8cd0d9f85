//! `at_least`: a service that moves within a pool of addresses.

use mimawari_drift::subject::Subject;
use mimawari_probes::gap::GapEffect;

use super::*;

fn rule(id: &str, at_least: u32) -> String {
    format!(
        "[[allow]]\nid = \"{id}\"\nhosts = [\"192.0.2.10-192.0.2.15\"]\nports = [\"tcp/22\"]\nexpect = \"must\"\nat_least = {at_least}\nreason = \"x\"\n"
    )
}

/// Six addresses, and one elsewhere that answers.
fn pool(states: [CellState; 6]) -> Run {
    let hosts = (10..16).map(|n| format!("192.0.2.{n}"));
    hosts.zip(states).fold(Run::new(), |run, (host, state)| run.cell(&host, 22, state))
}

const NONE: [CellState; 6] = [Closed; 6];

fn at(n: usize) -> [CellState; 6] {
    let mut states = NONE;
    states[n] = Open;
    states
}

fn undecided(v: &Verdict) -> Vec<(GapEffect, u64, u64)> {
    v.coverage
        .gaps
        .iter()
        .filter_map(|g| match g.gap {
            Gap::PoolUndecided { open, unknown, .. } => Some((g.effect, open, unknown)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_service_that_moves_within_its_pool_is_no_news() {
    let mut s = Story::new(&rule("p", 1));
    for n in [0, 1, 2, 3, 4, 5, 0, 3, 3, 1] {
        let v = s.run(pool(at(n)));
        assert_eq!((v.exit, v.findings.len(), v.changes.len()), (0, 0, 0), "at {n}");
        assert_eq!(undecided(&v), []);
    }
    // Every one of them is allowed, wherever the service is.
    let mut states = NONE;
    states[..3].fill(Open);
    assert_eq!(s.run(pool(states)).counts.allowed, 3);
}

#[test]
fn what_is_missing_says_how_much_of_the_pool_was_open() {
    let mut s = Story::new(&rule("p", 2));
    s.run(pool(at(0)));
    let v = s.run(pool(at(0)));
    let f = one(&v, MissingRequired);
    assert_eq!(
        (f.state, f.rule.as_deref(), f.port),
        (FindingState::Missing, Some("p"), Some(port(22)))
    );
    let pool_of = f.pool.as_ref().expect("a pool");
    assert_eq!((pool_of.at_least, pool_of.open, pool_of.unknown), (2, 1, 0));
    assert_eq!(pool_of.addresses.len(), 6);
    assert!(
        f.why.contains("at least 2 of 6 addresses") && f.why.contains("open on 1 "),
        "{}",
        f.why
    );
    assert!(matches!(f.subject(), Subject::Pool(_)));
    assert_eq!(f.subject().id_as(f.kind, &f.vantage).as_str(), f.id);
    // As JSON, and back.
    let text = serde_json::to_string(&s.state).expect("JSON");
    assert_eq!(State::parse(&text).expect("its own text"), s.state);
    let text = f.subject().to_string();
    assert_eq!(text.parse::<Subject>().as_ref(), Ok(&f.subject()), "{text}");
    // Owners may know of it by its id.
    assert_eq!(s.state.find_drift(&f.id).map(|f| f.id.clone()).as_ref(), Ok(&f.id));
}

#[test]
fn an_address_that_was_not_covered_may_be_the_one_and_is_never_missing() {
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(at(0)));
    let mut states = NONE;
    states[5] = NotProbed;
    for _ in 0..4 {
        let v = s.run(pool(states));
        assert!(v.findings.is_empty(), "{:#?}", v.findings);
        assert_eq!((v.exit, undecided(&v)), (3, vec![(GapEffect::NotCovered, 0, 1)]));
    }
    // With one that is open, what was not covered does not matter.
    states[2] = Open;
    let v = s.run(pool(states));
    assert_eq!((v.exit, undecided(&v)), (0, vec![]));
    // Three are required, one is open, one is not known: two are too few whatever that one is.
    let mut s = Story::new(&rule("p", 3));
    s.run(pool(states));
    let v = s.run(pool(states));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Missing);
    assert_eq!(one(&v, MissingRequired).pool.as_ref().map(|p| p.unknown), Some(1));
}

#[test]
fn an_address_outside_the_scope_may_be_the_one_and_is_named() {
    let mut run = pool(NONE);
    run.scope = Scope::new(
        AddrSet::from_ranges(["192.0.2.0/24".parse().expect("a range")]),
        AddrSet::from_ranges(["192.0.2.15".parse().expect("a range")]),
        "TEST-1",
    );
    let mut s = Story::new(&rule("p", 1));
    for _ in 0..3 {
        let v = s.run(run.clone());
        assert_eq!((v.findings.len(), undecided(&v)), (0, vec![(GapEffect::NotCovered, 0, 1)]));
    }
    // A pool that left the scope as a whole is settled.
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(NONE));
    s.run(pool(NONE));
    let v = s.run(Run { scope: scope("192.0.2.192/26"), ..Run::new() });
    assert_eq!((one(&v, MissingRequired).state, v.exit), (FindingState::OutOfScope, 0));
}

#[test]
fn two_runs_that_are_not_of_one_time_prove_nothing_together() {
    // Redis is in part 1 of the plan and everything else in part 2: the service is looked at in part 2.
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(at(0)).part(2, true, None));
    let v = s.run(Run::new().part(1, true, None));
    assert_eq!((v.exit, undecided(&v)), (0, vec![]), "it was open one run ago");
    let v = s.run(pool(NONE).part(2, true, None));
    assert_eq!(one(&v, MissingRequired).state, FindingState::MissingPending);
    let v = s.run(Run::new().part(1, true, None));
    assert_eq!(undecided(&v), [(GapEffect::NotCovered, 0, 6)], "nothing is known in this part");
    assert_eq!(one(&v, MissingRequired).state, FindingState::MissingPending);
    let v = s.run(pool(NONE).part(2, true, None));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Missing);
}

#[test]
fn a_run_that_is_not_believed_neither_misses_a_pool_nor_finds_it() {
    let quiet = |run: Run| Run { canaries: (0, 1), ..run };
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(at(0)));
    for _ in 0..3 {
        let v = s.run(quiet(pool(NONE)));
        assert!(v.findings.is_empty() && v.suspect);
    }
    s.run(pool(NONE));
    s.run(pool(NONE));
    let v = s.run(quiet(pool(at(1))));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Missing, "not even for the better");
    let v = s.run(pool(at(1)));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Resolved);
}

#[test]
fn one_run_judged_twice_is_one_miss() {
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(at(0)));
    s.run(pool(NONE));
    let (v, state) = judged(&pool(NONE), &baseline(&s.rules), &s.state, s.now);
    assert_eq!(one(&v, MissingRequired).state, FindingState::MissingPending);
    s.state = state;
    let v = s.run(pool(NONE));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Missing);
}

#[test]
fn an_older_run_that_is_judged_late_does_not_undo_a_newer_one() {
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(NONE));
    s.run(pool(NONE));
    let began = s.now.checked_sub(30.minutes()).expect("a time");
    let (v, _) = judged_at(&pool(at(2)), &baseline(&s.rules), &s.state, began, s.now);
    assert_eq!(one(&v, MissingRequired).state, FindingState::Missing);
    // And what a newer one saw open is not missed by an older one.
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(at(2)));
    let began = s.now.checked_sub(30.minutes()).expect("a time");
    let (v, _) = judged_at(&pool(NONE), &baseline(&s.rules), &s.state, began, s.now);
    assert!(v.findings.iter().all(|f| f.kind != MissingRequired), "{:#?}", v.findings);
}

#[test]
fn of_two_rules_about_one_pool_the_stricter_one_is_asked() {
    let both = format!("{}{}", rule("one", 1), rule("two", 2));
    let mut s = Story::new(&both);
    s.run(pool(at(0)));
    let v = s.run(pool(at(0)));
    let f = one(&v, MissingRequired);
    assert_eq!((f.state, f.rule.as_deref()), (FindingState::Missing, Some("two")));
    // Another number is no other pool: the finding stays what it is.
    let id = f.id.clone();
    s.rules(&rule("one", 1));
    let v = s.run(pool(NONE));
    let f = one(&v, MissingRequired);
    assert_eq!((f.state, f.id == id), (FindingState::Missing, true));
    let v = s.run(pool(at(0)));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Resolved);
}

#[test]
fn as_many_as_there_are_is_each_of_them() {
    let mut s = Story::new(&rule("p", 6));
    s.run(pool(at(0)));
    let v = s.run(pool(at(0)));
    assert_eq!((v.counts.missing, v.findings.len()), (5, 5), "one finding for each address");
    assert!(v.findings.iter().all(|f| f.pool.is_none()));
}

#[test]
fn the_end_and_the_change_of_its_rule_are_those_of_any_requirement() {
    let mut s = Story::new(&format!("{}expires = 2026-11-01\n", rule("p", 1)));
    s.run(pool(NONE));
    s.run(pool(NONE));
    s.now = "2026-11-03T00:00:00Z".parse().expect("an instant");
    let v = s.run(pool(NONE));
    let f = one(&v, MissingRequired);
    assert_eq!((f.state, f.cause), (FindingState::Missing, FindingCause::Expired));
    s.rules("");
    let v = s.run(pool(NONE));
    assert_eq!(one(&v, MissingRequired).state, FindingState::NotRequired);
    // A larger pool is another one: the old requirement ends, the new one is looked at anew.
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(NONE));
    s.run(pool(NONE));
    s.rules(&rule("p", 1).replace("192.0.2.15", "192.0.2.16"));
    let v = s.run(pool(NONE).cell("192.0.2.16", 22, Open));
    assert_eq!(one(&v, MissingRequired).state, FindingState::NotRequired);
}

#[test]
fn a_requirement_for_one_vantage_is_none_for_another() {
    let office = rule("p", 1).replace("reason", "vantages = [\"office\"]\nreason");
    let mut s = Story::new(&office);
    for _ in 0..3 {
        assert!(s.run(pool(NONE)).findings.is_empty());
    }
    s.run(pool(NONE).from("office"));
    let v = s.run(pool(NONE).from("office"));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Missing);
    // The other one looks at the same addresses, and says nothing of it.
    let v = s.run(pool(at(0)));
    assert_eq!(one(&v, MissingRequired).state, FindingState::Missing);
}

#[test]
fn planned_work_on_a_pool_is_acknowledged_by_its_rule() {
    let mut s = Story::new(&rule("p", 1));
    s.run(pool(at(0)));
    let until = s.now.checked_add(9.hours()).expect("a time");
    let ack = mimawari_drift::verdict::Acknowledgement {
        until,
        at: s.now,
        by: "alice".to_owned(),
        reason: "SEC-7".to_owned(),
    };
    s.state.acknowledged_rules.insert("p".to_owned(), ack);
    s.run(pool(NONE));
    let v = s.run(pool(NONE));
    assert_eq!(
        one(&v, MissingRequired).acknowledged.as_ref().map(|a| a.by.as_str()),
        Some("alice")
    );
}
