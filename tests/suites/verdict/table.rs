//! The tables of `judge::life`, row by row. A row without a test here fails, and so does a test whose row
//! is not in the tables.

use mimawari_drift::verdict::ChangeKind;

use super::*;

const LIFE: &str = include_str!("../../../scanner/drift/src/judge/life.rs");

/// Defines a test for each row: its finding, what the run saw, and what the baseline says.
macro_rules! rows {
    ($($name:ident: $row:literal => $body:block)*) => {
        $(#[test] fn $name() $body)*

        const ROWS: &[&str] = &[$($row),*];
    };
}

#[test]
fn each_row_of_the_tables_is_a_test_here_and_each_test_is_a_row() {
    let lines = LIFE.lines().filter_map(|l| l.strip_prefix("//! | ")).map(|l| l.replace('`', ""));
    let rows: Vec<String> = lines
        .map(|l| l.split('|').take(3).map(str::trim).collect::<Vec<_>>().join(" | "))
        .filter(|row| !row.starts_with("finding |"))
        .collect();
    assert_eq!(rows, ROWS, "the rows of judge::life, and the tests of this file, in one order");
}

fn changes(v: &Verdict) -> Vec<ChangeKind> {
    v.changes.iter().map(|c| c.what).collect()
}

/// The state of the only finding, listed or not.
#[track_caller]
fn stored(s: &Story) -> FindingState {
    let all: Vec<_> = s.state.findings.values().collect();
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].finding.state
}

/// A story with one open port.
fn opened() -> Story {
    let mut s = Story::new("");
    assert_eq!(state(&s.run(Run::new().redis(Open))), FindingState::Open);
    s
}

/// A story in which a required port is in this state.
fn required(wanted: FindingState) -> Story {
    let mut s = Story::new(MUST);
    s.run(Run::new().ssh(Open));
    s.run(Run::new().ssh(Closed));
    if wanted != FindingState::MissingPending {
        s.run(Run::new().ssh(Closed));
    }
    if wanted == FindingState::MissingUnverified {
        s.run(Run::new());
    }
    if wanted == FindingState::OutOfScope {
        s.run(left());
    }
    assert_eq!(stored(&s), wanted);
    s
}

/// A run whose scope no longer holds the host.
fn left() -> Run {
    Run { scope: scope("192.0.2.192/26"), ..Run::new() }
}

/// Something that an unbelievable run saw: its canary is silent.
fn unbelievable(run: Run) -> Run {
    Run { canaries: (0, 1), ..run }
}

/// Four addresses, of which one must serve.
const POOL: &str = "[[allow]]\nid = \"p\"\nhosts = [\"192.0.2.10-192.0.2.13\"]\nports = [\"tcp/22\"]\nexpect = \"must\"\nat_least = 1\nreason = \"x\"\n";

fn pool(states: [CellState; 4]) -> Run {
    let hosts = (10..14).map(|n| format!("192.0.2.{n}"));
    hosts.zip(states).fold(Run::new(), |run, (host, state)| run.cell(&host, 22, state))
}

rows! {
    what_is_there_and_not_allowed_is_open:
    "none, or any | it is there | no live rule allows it" => {
        let mut s = opened();
        let v = s.run(Run::new().redis(Open).second(SecondLook::TimedOut));
        assert!(!one(&v, UnexpectedOpen).unconfirmed, "an earlier look confirmed it");
        s.run(Run::new());
        assert_eq!(stored(&s), FindingState::Unverified);
        assert_eq!(state(&s.run(Run::new().redis(Open))), FindingState::Open);
        let v = Story::new("").run(Run::new().redis(Open).second(SecondLook::TimedOut));
        assert!(one(&v, UnexpectedOpen).unconfirmed);
    }

    what_is_there_again_is_open_with_its_id_and_history:
    "resolved | it is there | no live rule allows it" => {
        let mut s = opened();
        let before = s.state.findings.values().next().expect("one").finding.clone();
        s.run(Run::new().redis(Closed));
        assert_eq!(stored(&s), FindingState::Resolved);
        let v = s.run(Run::new().redis(Open));
        let f = one(&v, UnexpectedOpen);
        assert_eq!((&f.id, f.first_seen, f.reopened), (&before.id, before.first_seen, 1));
    }

    what_a_live_rule_allows_is_allowed_whatever_was_seen:
    "drift, out_of_scope | anything | a live rule allows it" => {
        for look in [Open, Closed, Silent, NotProbed] {
            let mut s = opened();
            s.rules(RULE);
            s.run(Run::new().redis(look));
            assert_eq!(stored(&s), FindingState::Allowed, "{look:?}");
        }
        let mut s = opened();
        s.run(left());
        assert_eq!(stored(&s), FindingState::OutOfScope);
        s.rules(RULE);
        s.run(Run::new().redis(Open));
        assert_eq!(stored(&s), FindingState::Allowed);
    }

    an_end_that_is_not_notified_gives_way_to_a_rule:
    "an end that is not yet notified | it is there | a live rule allows it" => {
        // Resolved by silence, which is notified only when it holds.
        let mut s = opened();
        s.run(Run::new().redis(Silent));
        s.run(Run::new().redis(Silent));
        assert_eq!(stored(&s), FindingState::Resolved);
        s.rules(RULE);
        assert_eq!(changes(&s.run(Run::new().redis(Open))), [ChangeKind::Allowed]);
    }

    what_was_allowed_and_not_seen_since_is_unverified:
    "allowed | nothing (the rule went) | no live rule allows it" => {
        let mut s = opened();
        let id = s.state.findings.keys().next().cloned();
        s.rules(RULE);
        s.run(Run::new().redis(Open));
        s.rules("");
        s.run(Run::new());
        assert_eq!((stored(&s), s.state.findings.keys().next().cloned()), (FindingState::Unverified, id));
    }

    drift_that_is_not_covered_is_unverified:
    "drift | nothing | " => {
        let mut s = opened();
        s.run(Run::new());
        assert_eq!(stored(&s), FindingState::Unverified);
    }

    drift_that_is_gone_is_resolved:
    "drift | gone | " => {
        for before in [Open, NotProbed, Silent] {
            let mut s = opened();
            s.run(Run::new().redis(before));
            s.run(Run::new().redis(Closed));
            assert_eq!(stored(&s), FindingState::Resolved, "{before:?}");
        }
    }

    drift_that_is_silent_needs_two_covered_runs:
    "drift | silent, or the whole host refused | " => {
        let mut s = opened();
        s.run(Run::new().redis(Silent));
        assert_eq!(stored(&s), FindingState::Resolving);
        s.run(Run::new());
        assert_eq!(stored(&s), FindingState::Unverified, "not covered between the two");
        s.run(Run::new().redis(Silent));
        assert_eq!(stored(&s), FindingState::Resolved);
        // A host that refuses all its open ports at once bans the scanner.
        let mut s = Story::new("");
        s.run(Run::new().redis(Open).ssh(Open));
        let v = s.run(Run::new().redis(Closed).ssh(Closed));
        assert_eq!((v.counts.resolving, v.counts.resolved), (2, 0));
    }

    what_an_unbelievable_run_saw_gone_is_unverified:
    "drift | gone or silent, not believed | " => {
        for look in [Closed, Silent] {
            let mut s = opened();
            s.run(unbelievable(Run::new().redis(look)));
            assert_eq!(stored(&s), FindingState::Unverified, "{look:?}");
        }
    }

    what_another_run_speaks_of_stays_as_it_was:
    "drift | its part of the plan is fresh, or another run saw it since | " => {
        let mut s = Story::new("");
        s.run(Run::new().redis(Open).part(1, true, None));
        s.run(Run::new().part(2, true, None));
        assert_eq!(stored(&s), FindingState::Open, "its part was covered one run ago");
        let mut s = opened();
        let began = s.now.checked_sub(1.hour()).expect("a time");
        let run = Run::new().redis(Closed);
        s.state = judged_at(&run, &baseline(""), &s.state, began, s.now).1;
        assert_eq!(stored(&s), FindingState::Open, "that run is the older one");
    }

    what_left_the_scope_is_out_of_scope:
    "drift, or an end that is not yet notified | its address left the scope | " => {
        let mut s = opened();
        assert_eq!(changes(&s.run(left())), [ChangeKind::OutOfScope]);
        let mut s = opened();
        s.run(Run::new().redis(Silent));
        s.run(Run::new().redis(Silent));
        assert_eq!(changes(&s.run(left())), [ChangeKind::OutOfScope]);
    }

    what_is_resolved_and_still_gone_counts_one_more_covered_run:
    "resolved | gone or silent | " => {
        for look in [Closed, Silent] {
            let mut s = opened();
            s.run(Run::new().redis(Closed));
            let covered = |s: &Story| s.state.findings.values().next().map(|t| t.covered_runs);
            let before = covered(&s);
            s.run(Run::new().redis(look));
            assert_eq!((stored(&s), covered(&s)), (FindingState::Resolved, before.map(|n| n + 1)));
        }
    }

    the_first_miss_is_to_be_decided:
    "none, or settled | not open | required" => {
        for look in [Closed, Silent, Prohibited] {
            let mut s = Story::new(MUST);
            let v = s.run(Run::new().ssh(look));
            assert_eq!((stored(&s), v.exit), (FindingState::MissingPending, 3), "{look:?}");
        }
        let mut s = required(FindingState::Missing);
        s.run(Run::new().ssh(Open));
        assert_eq!(stored(&s), FindingState::Resolved);
        s.run(Run::new().ssh(Closed));
        assert_eq!(stored(&s), FindingState::MissingPending);
    }

    the_second_miss_is_missing:
    "missing_pending | not open | required" => {
        let mut s = required(FindingState::MissingPending);
        let v = s.run(Run::new().ssh(Silent));
        assert_eq!((stored(&s), v.exit), (FindingState::Missing, 1));
    }

    what_comes_and_goes_is_missing_at_once:
    "any, and it comes and goes | not open | required" => {
        let mut s = Story::new(MUST);
        for _ in 0..4 {
            s.run(Run::new().ssh(Open));
            s.run(Run::new().ssh(Closed));
        }
        s.run(Run::new().ssh(Open));
        s.run(Run::new().ssh(Closed));
        assert_eq!(stored(&s), FindingState::Missing);
    }

    what_is_open_again_is_resolved:
    "missing_pending, missing, missing_unverified, out_of_scope | open | required" => {
        use FindingState::{Missing, MissingPending, MissingUnverified, OutOfScope};
        for from in [MissingPending, Missing, MissingUnverified, OutOfScope] {
            let mut s = required(from);
            s.run(Run::new().ssh(Open));
            assert_eq!(stored(&s), FindingState::Resolved, "{from:?}");
        }
    }

    what_is_missing_and_not_covered_is_missing_unverified:
    "missing | nothing, or not believed | required" => {
        for run in [Run::new(), unbelievable(Run::new().ssh(Closed))] {
            let mut s = required(FindingState::Missing);
            s.run(run);
            assert_eq!(stored(&s), FindingState::MissingUnverified);
        }
    }

    the_end_of_its_rule_leaves_it_missing:
    "missing, missing_unverified | not open, or nothing | its rule expired" => {
        for from in [FindingState::Missing, FindingState::MissingUnverified] {
            for look in [Closed, NotProbed] {
                let mut s = required(from);
                s.rules(&format!("{MUST}expires = 2026-11-01\n"));
                s.now = "2026-11-03T00:00:00Z".parse().expect("an instant");
                s.run(Run::new().ssh(look));
                let f = &s.state.findings.values().next().expect("one").finding;
                assert_eq!((f.state, f.cause), (from, FindingCause::Expired), "{look:?}");
            }
        }
    }

    what_nothing_requires_any_more_is_not_required:
    "missing, missing_unverified, out_of_scope | anything | nothing requires it" => {
        use FindingState::{Missing, MissingUnverified, NotRequired, OutOfScope};
        for from in [Missing, MissingUnverified, OutOfScope] {
            for look in [Open, Closed, NotProbed] {
                let mut s = required(from);
                s.rules("");
                s.run(Run::new().ssh(look));
                let f = s.state.findings.values().find(|t| t.finding.kind == MissingRequired);
                assert_eq!(f.map(|t| t.finding.state), Some(NotRequired), "{from:?} {look:?}");
            }
        }
    }

    a_miss_that_nobody_was_notified_of_is_forgotten_with_its_rule:
    "missing_pending that nobody was notified of | anything | nothing requires it" => {
        for look in [Closed, NotProbed] {
            let mut s = required(FindingState::MissingPending);
            s.rules("");
            s.run(Run::new().ssh(look));
            assert!(s.state.findings.is_empty(), "{look:?}");
        }
    }

    what_is_missing_and_left_the_scope_is_out_of_scope:
    "missing, missing_unverified | its address left the scope | " => {
        for from in [FindingState::Missing, FindingState::MissingUnverified] {
            let mut s = required(from);
            s.run(left());
            assert_eq!(stored(&s), FindingState::OutOfScope);
        }
    }

    a_pool_that_is_proven_gone_is_missing:
    "any | too little of a pool open, and the rest covered | required" => {
        let mut s = Story::new(POOL);
        s.run(pool([Closed, Open, Silent, Closed]));
        assert!(s.state.findings.is_empty());
        let v = s.run(pool([Closed, Silent, Silent, Closed]));
        assert_eq!((stored(&s), v.exit), (FindingState::MissingPending, 3));
        let v = s.run(pool([Closed, Closed, Silent, Closed]));
        assert_eq!((stored(&s), v.exit), (FindingState::Missing, 1));
        s.run(pool([Closed, Closed, Silent, Open]));
        assert_eq!(stored(&s), FindingState::Resolved);
    }

    a_pool_of_which_too_little_is_known_is_not_missing:
    "any | too little of a pool open, and too little covered | required" => {
        let mut s = Story::new(POOL);
        for _ in 0..3 {
            let v = s.run(pool([Closed, Closed, NotProbed, Closed]));
            assert!(s.state.findings.is_empty());
            assert_eq!(v.exit, 3, "it is said that nothing is known of it");
        }
        s.run(pool([Closed; 4]));
        s.run(pool([Closed; 4]));
        assert_eq!(stored(&s), FindingState::Missing);
        s.run(pool([Closed, Closed, NotProbed, Closed]));
        assert_eq!(stored(&s), FindingState::MissingUnverified);
    }
}
