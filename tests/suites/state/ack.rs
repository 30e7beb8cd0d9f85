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
