//! One flat JSON object a line for each change and each port with another service, and one for the run: what Fluent Bit, Kafka or Wazuh
//! read. The rules for Wazuh are in `deploy/wazuh/`.

use mimawari_drift::verdict::{Finding, ServiceChange, Verdict};
use serde_json::{Value, json};

use super::{ChangeSelection, NoticeDelay, NotifiedChanges};
use crate::clean::clean;
use crate::words::{self, NAME, SENTENCE};

/// The lines, each ended by a line feed. The last is the run's own and is there on quiet runs, too:
/// a pipeline that gets nothing must be able to distinguish silence from a clean run.
#[must_use]
pub fn render_lines(
    v: &Verdict,
    selection: &ChangeSelection,
    delay: Option<&NoticeDelay>,
) -> String {
    let mut out = String::new();
    let mut add = |mut value: Value| {
        if let Some(delay) = delay {
            value["delayed_seconds"] = delay.age.as_secs().into();
            value["may_be_repeated"] = delay.may_have_arrived.into();
        }
        push_line(&mut out, &value);
    };
    for t in selection.changes(v) {
        add(build_change_event(v, selection, t));
    }
    for c in selection.services(v) {
        add(build_service_event(v, c));
    }
    add(run(v, selection));
    out
}

/// A line that says that it is a test, at this instant.
#[must_use]
pub fn build_test_event(at: jiff::Timestamp) -> String {
    let mut out = String::new();
    push_line(&mut out, &json!({"timestamp": at, "product": "mimawari", "event": "test"}));
    out
}

fn push_line(out: &mut String, value: &Value) {
    out.push_str(&value.to_string());
    out.push('\n');
}

fn build_change_event(v: &Verdict, selection: &ChangeSelection, t: NotifiedChanges<'_>) -> Value {
    let f: &Finding = t.finding;
    let text = |s: &Option<String>| s.as_ref().map(|s| clean(s, NAME));
    let mut value = json!({
        "timestamp": v.judged_at,
        "product": "mimawari",
        "event": "change",
        "change": t.change.what.as_str(),
        "alarm": t.change.what.is_alarm(),
        "key": clean(&t.change.key, NAME),
        "run_id": clean(&v.run_id, NAME),
        "finding": clean(&f.id, NAME),
        "kind": f.kind.as_str(),
        "severity": f.severity.as_str(),
        "state": f.state.as_str(),
        "cause": f.cause,
        "vantage": clean(&f.vantage, NAME),
        "proto": f.proto.to_string(),
        "ip": f.ip.to_string(),
        "port": f.port.map(|p| p.get()),
        "pool": f.pool.as_ref().map(|p| words::format_pool_ranges(p)),
        "host": text(&f.host),
        "path": text(&f.path),
        "check": text(&f.check),
        "title": text(&f.title),
        "owner": text(&f.owner),
        "service": text(&f.service),
        "first_seen": f.first_seen,
        "last_seen": f.last_seen,
        "reopened": f.reopened,
        "flapping": f.flapping,
        "why": clean(&f.why, SENTENCE),
        "nearest_rule": f.nearest.as_ref().map(|n| clean(&n.id, NAME)),
        "nearest_place": f.nearest.as_ref().map(|n| clean(&n.place, NAME)),
        "nearest_missed": f.nearest.as_ref().map(|n| clean(&n.missed, SENTENCE)),
        "acknowledged_until": f.acknowledged.as_ref().map(|a| a.until),
        "report_url": selection.report(v),
    });
    remove_nulls(&mut value);
    value
}

/// A port at which another service answers than before.
fn build_service_event(v: &Verdict, c: &ServiceChange) -> Value {
    let mut value = json!({
        "timestamp": v.judged_at,
        "product": "mimawari",
        "event": "service_change",
        "run_id": clean(&v.run_id, NAME),
        "vantage": clean(&v.run.vantage, NAME),
        "proto": c.proto.to_string(),
        "ip": c.ip.to_string(),
        "port": c.port.get(),
        "was": clean(&c.was, NAME),
        "service": clean(&c.now, NAME),
        "since": c.since,
        "seen_at": c.at,
        "allowed_by": c.allowed_by.as_deref().map(|r| clean(r, NAME)),
    });
    remove_nulls(&mut value);
    value
}

fn run(v: &Verdict, selection: &ChangeSelection) -> Value {
    let c = &v.counts;
    let because: Vec<String> =
        v.incomplete_because.iter().take(5).map(|s| clean(s, SENTENCE)).collect();
    let mut value = json!({
        "timestamp": v.judged_at,
        "product": "mimawari",
        "event": "run",
        "run_id": clean(&v.run_id, NAME),
        "exit": v.exit,
        "incomplete": v.incomplete,
        "suspect": v.suspect,
        "because": (!because.is_empty()).then(|| because.join(" ")),
        "cells_planned": v.coverage.cells_planned,
        "cells_covered": v.coverage.cells_covered,
        "recall_estimate": v.coverage.recall_estimate.filter(|r| r.is_finite()),
        "changes": v.changes.len(),
        "findings_open": c.open,
        "findings_unverified": c.unverified,
        "findings_resolving": c.resolving,
        "findings_resolved": c.resolved,
        "findings_missing": c.missing,
        "findings_acknowledged": c.acknowledged,
        "findings_flapping": c.flapping,
        "findings_new": c.new,
        "allowed": c.allowed,
        "vantage": clean(&v.run.vantage, NAME),
        "report_url": selection.report(v),
    });
    remove_nulls(&mut value);
    value
}

fn remove_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, v| !v.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hostile, three};
    use super::*;
    use crate::samples;

    #[test]
    fn three_findings() {
        insta::assert_snapshot!(render_lines(&three(), &ChangeSelection::default(), None));
    }

    #[test]
    fn a_quiet_run_says_that_it_was() {
        insta::assert_snapshot!(render_lines(&samples::clean(), &ChangeSelection::default(), None));
    }

    #[test]
    fn another_service_is_a_line_of_its_own() {
        let mut v = samples::clean();
        v.service_changes = vec![samples::another_service()];
        let text = render_lines(&v, &ChangeSelection::default(), None);
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.starts_with("{\"allowed_by\":\"edge-web\",\"event\":\"service_change\""),
            "{text}"
        );
    }

    #[test]
    fn each_line_is_a_flat_object() {
        let text = render_lines(&hostile(), &ChangeSelection::default(), None);
        assert!(text.lines().count() > 5);
        for l in text.lines() {
            let Value::Object(map) = serde_json::from_str(l).unwrap() else { panic!("{l}") };
            assert!(map.values().all(|v| !v.is_object() && !v.is_array()), "{l}");
            assert!(!l.chars().any(crate::clean::is_hostile), "{l}");
        }
    }
}
