//! `mimawari ack`: who knows of a finding is left alone, and everybody sees that.

use super::desk::{self, Desk};
use super::*;

/// A desk whose state knows one finding, and that finding's id.
fn one_finding() -> (Desk, String) {
    desk::runs();
    let desk = Desk::new();
    assert_eq!(desk.judge(0).wait().expect("its end").code(), Some(1));
    let (_, state) = generation(&desk, 1);
    let ids: Vec<String> =
        state["findings"].as_object().expect("findings").keys().cloned().collect();
    assert_eq!(ids.len(), 1);
    (desk, ids[0].clone())
}

fn in_days(n: i64) -> String {
    let day = jiff::Zoned::now().checked_add(jiff::ToSpan::days(n)).expect("a day");
    day.with_time_zone(jiff::tz::TimeZone::UTC).date().to_string()
}

#[test]
fn an_acknowledged_finding_stays_drift_and_says_who_knows() {
    let (desk, id) = one_finding();
    let until = in_days(7);
    let ack = ["ack", &id[..8], "--until", &until, "--reason", "SEC-77", "--by", "alice"];
    let (status, out, err) = desk.run(&ack);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with(&format!("{id} (unexpected-open at ")), "{out}");
    // The run is judged again: the finding is drift as before, and the verdict says who knows.
    assert_eq!(desk.judge(0).wait().expect("its end").code(), Some(1));
    let (header, state) = generation(&desk, 3);
    assert_eq!(header["parent"]["number"], 2);
    let finding = &state["findings"][&id]["finding"];
    assert_eq!(finding["state"], "open");
    assert_eq!(finding["acknowledged"]["by"], "alice");
    assert_eq!(finding["acknowledged"]["reason"], "SEC-77");
    let (_, history, _) = desk.run(&["state", "history"]);
    assert!(history.contains("(a finding was acknowledged by alice)"), "{history}");
    let place = finding["ip"].as_str().expect("an address").to_owned();
    let place = format!("{place}:{}", finding["port"]);
    let (status, out, err) = desk.run(&["ack", &place, "--end"]);
    assert_eq!((status, out.ends_with("is notified again\n")), (Some(0), true), "{out}{err}");
    let (status, _, err) = desk.run(&["ack", &place, "--end"]);
    assert_eq!(status, Some(2));
    assert!(err.contains("is not acknowledged"), "{err}");
}

#[test]
fn what_cannot_be_acknowledged_is_said_and_changes_nothing() {
    let (desk, id) = one_finding();
    let week = in_days(7);
    let far = in_days(400);
    let mut all = String::new();
    for (finding, until, reason) in [
        ("0123456789abcdef", week.as_str(), "x"),
        (&id[..5], &week, "x"),
        ("192.0.2.1:443", &week, "x"),
        (&id, "2020-01-01", "x"),
        (&id, "tomorrow\u{1b}[31m", "x"),
        (&id, &far, "x"),
        (&id, &week, " "),
    ] {
        let args = ["ack", finding, "--until", until, "--reason", reason];
        let (status, out, err) = desk.run(&args);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{args:?}");
        assert!(!err.contains('\u{1b}'), "{err:?}");
        let known = err.replace(&id[..5], "[ID]").replace(&far, "[DAY]");
        all.push_str(&known);
        all.push('\n');
    }
    let names = fs::read_dir(desk.path("state/generations")).expect("the folder").count();
    assert_eq!(names, 1, "a refused one was saved");
    insta::assert_snapshot!("ack_refused", all);
}

#[test]
fn planned_work_at_a_rule_acknowledges_what_is_there_and_what_comes() {
    desk::runs();
    let desk = Desk::new();
    let until = in_days(7);
    let ack = ["ack", "--rule", "old", "--until", &until, "--reason", "SEC-78", "--by", "bob"];
    // A rule of which no run knows may be a slip of the pen.
    let (status, out, err) = desk.run(&ack);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.contains("no rule `old` is known to the state"), "{err}");
    // A rule that has expired: what it allowed is drift because of it.
    let rule = "[[allow]]\nid = \"old\"\nhosts = [\"127.83.7.0/24\"]\nports = [\"tcp/1-65535\"]\nbroad = true\nreason = \"an old agreement\"\nexpires = 2020-01-01\n";
    desk.write("baseline/b.toml", &format!("version = 1\nowner = \"@test/team\"\n{rule}"));
    assert_eq!(desk.judge(0).wait().expect("its end").code(), Some(1));
    let (status, out, err) = desk.run(&ack);
    assert_eq!(status, Some(0), "{err}");
    assert!(
        out.contains("the rule old") && out.contains("1 findings now, and those to come"),
        "{out}"
    );
    // Another run finds another one: it is acknowledged from the start, and drift all the same.
    assert_eq!(desk.judge(1).wait().expect("its end").code(), Some(1));
    let (_, state) = generation(&desk, 3);
    for (id, tracked) in state["findings"].as_object().expect("findings") {
        let finding = &tracked["finding"];
        assert_eq!(
            (&finding["rule"], &finding["acknowledged"]["by"]),
            (&"old".into(), &"bob".into())
        );
        assert_eq!(finding["acknowledged"]["reason"], "SEC-78", "{id}");
    }
    let (_, history, _) = desk.run(&["state", "history"]);
    assert!(history.contains("(a finding was acknowledged by bob)"), "{history}");
    let (status, out, _) = desk.run(&["ack", "--rule", "old", "--end"]);
    assert_eq!((status, out.contains("is notified again")), (Some(0), true), "{out}");
    let (status, _, err) = desk.run(&["ack", "--rule", "old", "--end"]);
    assert_eq!(
        (status, err.contains("the rule `old` is not acknowledged")),
        (Some(2), true),
        "{err}"
    );
    let (_, state) = generation(&desk, 4);
    assert!(state.get("acknowledged_rules").is_none(), "{state}");
}

#[test]
fn several_are_acknowledged_together_or_not_at_all() {
    desk::runs();
    let desk = Desk::new();
    for n in 0..3 {
        assert_eq!(desk.judge(n).wait().expect("its end").code(), Some(1));
    }
    let (_, state) = generation(&desk, 3);
    let id = |n: usize| -> String {
        let findings = state["findings"].as_object().expect("findings");
        let is = |f: &&Value| f["finding"]["ip"] == address(n);
        let found = findings.values().find(is).expect("its finding");
        found["finding"]["id"].as_str().expect("an id").to_owned()
    };
    let until = in_days(3);
    let all_of = |names: &[&str]| {
        let end = ["--until", until.as_str(), "--reason", "SEC-79", "--by", "carol"];
        desk.run(&[&["ack", "--all-of"], names, &end[..]].concat())
    };
    // One of them is none: nothing is written.
    let (status, out, err) = all_of(&[&id(0), "192.0.2.1"]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.contains("`192.0.2.1`"), "{err}");
    assert_eq!(fs::read_dir(desk.path("state/generations")).expect("the folder").count(), 3);
    // By id, by the address of a host, and one of them twice.
    let (status, out, err) = all_of(&[&id(0), &address(1), &id(0)[..8]]);
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(out.matches("is acknowledged until").count(), 2, "{out}");
    let (_, state) = generation(&desk, 4);
    let known: Vec<&String> =
        state["acknowledged"].as_object().expect("acknowledged").keys().collect();
    let mut expected = [id(0), id(1)];
    expected.sort();
    assert_eq!(known, expected.iter().collect::<Vec<_>>());
    // Taken back: all of them or none.
    let (status, _, err) = desk.run(&["ack", "--all-of", &id(0), &id(2), "--end"]);
    assert_eq!((status, err.contains("is not acknowledged")), (Some(2), true), "{err}");
    let (status, out, _) = desk.run(&["ack", "--all-of", &id(0), &address(1), "--end"]);
    assert_eq!((status, out.matches("is notified again").count()), (Some(0), 2), "{out}");
}

#[test]
fn a_vantage_that_is_retired_is_looked_from_no_more() {
    let (desk, id) = one_finding();
    // Nobody retires by mistake what the configuration looks from.
    let retire = ["state", "retire-vantage", "default", "--by", "dora"];
    let (status, out, err) = desk.run(&retire);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.contains("`default` is the vantage of this configuration"), "{err}");
    let config = desk.read("patrol.toml");
    desk.write("patrol.toml", &config.replacen('\n', "\nvantage = \"office\"\n", 1));
    let (status, _, err) = desk.run(&["state", "retire-vantage", "nowhere"]);
    assert_eq!(status, Some(2));
    assert!(
        err.contains("nothing is known from a vantage `nowhere`") && err.contains("default"),
        "{err}"
    );
    let (status, out, err) = desk.run(&retire);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("1 findings are no longer"), "{out}");
    assert!(out.contains("none was seen to be closed"), "{out}");
    let (_, state) = generation(&desk, 2);
    let finding = &state["findings"][&id]["finding"];
    assert_eq!(finding["state"], "out_of_scope");
    assert!(finding["why"].as_str().expect("why").contains("retired"), "{finding}");
    let (_, history, _) = desk.run(&["state", "history"]);
    assert!(history.contains("(a vantage was retired by dora)"), "{history}");
    // Once is enough.
    let (status, _, err) = desk.run(&["state", "retire-vantage", "elsewhere"]);
    assert_eq!((status, err.contains("nothing is known")), (Some(2), true), "{err}");
}
