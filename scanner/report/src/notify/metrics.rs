//! Metrics of a run: a Prometheus text file for the node exporter's textfile collector, and a line in
//! the CloudWatch Embedded Metric Format. Never a label for an address: cardinality is bounded.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mimawari_drift::verdict::{Finding, FindingState, Verdict};
use mimawari_probes::observation::Severity;
use serde_json::{Map, Value, json};

use super::{ChangeSelection, DeliveryFigures, count_by_kind};
use crate::clean::clean;
use crate::words;

/// Owners with a label of their own; the findings of all others are counted under `other`.
pub const MAX_OWNERS: usize = 50;

/// What is counted, from a verdict.
struct MetricFigures {
    /// Findings by state and owner, both sorted.
    findings: BTreeMap<(&'static str, String), u64>,
    coverage: Option<f64>,
    recall: Option<f64>,
    oldest_unverified: i64,
    last_success: Option<i64>,
    changes: Vec<(&'static str, usize)>,
    /// Findings that count, by severity.
    severities: [(Severity, u64); 5],
}

impl MetricFigures {
    fn of(v: &Verdict) -> Self {
        let mut owners: BTreeMap<&str, u64> = BTreeMap::new();
        for o in v.findings.iter().filter_map(|f| f.owner.as_deref()) {
            *owners.entry(o).or_default() += 1;
        }
        let mut owners: Vec<_> = owners.into_iter().collect();
        owners.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        owners.truncate(MAX_OWNERS);
        let mut findings = BTreeMap::new();
        for state in words::STATES {
            findings.insert((state.as_str(), "none".to_owned()), 0);
        }
        for f in &v.findings {
            let owner = match f.owner.as_deref() {
                None => "none".to_owned(),
                Some(o) if owners.iter().any(|(name, _)| *name == o) => clean(o, 100),
                Some(_) => "other".to_owned(),
            };
            *findings.entry((f.state.as_str(), owner)).or_default() += 1;
        }
        let c = &v.coverage;
        let unverified =
            |s| matches!(s, FindingState::Unverified | FindingState::MissingUnverified);
        let oldest = v.findings.iter().filter(|f| unverified(f.state)).map(|f| f.last_seen).min();
        let this = (!v.incomplete && !v.suspect).then(|| v.judged_at.as_second());
        let before = v
            .timeline
            .iter()
            .rev()
            .filter(|r| r.run_id != v.run_id)
            .find(|r| !r.suspect && r.exit != 3 && r.cells_covered >= r.cells_planned)
            .map(|r| r.at.as_second());
        let changes = ChangeSelection::default().changes(v);
        Self {
            findings,
            coverage: (c.cells_planned > 0)
                .then(|| c.cells_covered as f64 / c.cells_planned as f64),
            recall: c.recall_estimate.filter(|r| r.is_finite()),
            oldest_unverified: oldest
                .map_or(0, |at| (v.judged_at.as_second() - at.as_second()).max(0)),
            last_success: this.or(before),
            changes: count_by_kind(&changes).into_iter().map(|(k, n)| (k.as_str(), n)).collect(),
            severities: Severity::ALL.map(|s| {
                let is_it = |f: &&Finding| f.state.is_drift() && f.severity == s;
                (s, v.findings.iter().filter(is_it).count() as u64)
            }),
        }
    }
}

/// A metric with its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    /// Its name without `mimawari_`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Labels besides the vantage, and the value.
    pub samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// Every metric of a run.
#[must_use]
pub fn build_metric_families(v: &Verdict, delivery: &DeliveryFigures) -> Vec<MetricFamily> {
    let f = MetricFigures::of(v);
    let mut all = Vec::new();
    let mut family = |name, help, samples: Vec<(Vec<(&'static str, String)>, f64)>| {
        if !samples.is_empty() {
            all.push(MetricFamily { name, help, samples });
        }
    };
    let one = |value: f64| vec![(Vec::new(), value)];
    let maybe = |value: Option<f64>| value.map_or_else(Vec::new, one);
    let findings = f.findings.iter().map(|((state, owner), n)| {
        (vec![("state", (*state).to_owned()), ("owner", owner.clone())], *n as f64)
    });
    family("findings", "Findings by state and owner.", findings.collect());
    let severities =
        f.severities.iter().map(|(s, n)| (vec![("severity", s.as_str().to_owned())], *n as f64));
    family("findings_by_severity", "Findings that count, by severity.", severities.collect());
    family("coverage_ratio", "Cells covered by the last run, of those planned.", maybe(f.coverage));
    family(
        "recall_ratio",
        "Estimated share of the open ports that the last run found.",
        maybe(f.recall),
    );
    family(
        "recall_promised_ratio",
        "The recall that was asked for.",
        one(v.coverage.recall_promised),
    );
    family(
        "oldest_unverified_seconds",
        "Time since the finding was seen that has gone longest without being covered; 0 without one.",
        one(f.oldest_unverified as f64),
    );
    family(
        "last_run_timestamp_seconds",
        "When the last run was judged.",
        one(v.judged_at.as_second() as f64),
    );
    family(
        "last_success_timestamp_seconds",
        "When a run was last complete and believed.",
        maybe(f.last_success.map(|t| t as f64)),
    );
    let suspect = f64::from(u8::from(v.suspect));
    family("run_suspect", "1 if the last run is not to be believed.", one(suspect));
    let changes =
        f.changes.iter().map(|(kind, n)| (vec![("change", (*kind).to_owned())], *n as f64));
    family("changes_told", "Changes that the last run notified.", changes.collect());
    family(
        "delivery_failures",
        "Notifiers that the last run could not reach.",
        one(delivery.failures as f64),
    );
    family(
        "notifications_pending",
        "Notifications that wait because their receiver did not take them.",
        one(delivery.pending as f64),
    );
    family(
        "notifications_oldest_pending_seconds",
        "Time that the oldest of them has waited; 0 without one.",
        one(delivery.oldest_seconds as f64),
    );
    family(
        "notifications_set_aside",
        "Messages that a receiver refused, and that the last run set aside.",
        one(delivery.set_aside as f64),
    );
    all
}

/// The text file.
#[must_use]
pub fn render_prometheus(v: &Verdict, delivery: &DeliveryFigures) -> String {
    let vantage = escape_label(&v.run.vantage);
    let mut out = String::new();
    for MetricFamily { name, help, samples } in build_metric_families(v, delivery) {
        let _ = writeln!(out, "# HELP mimawari_{name} {help}\n# TYPE mimawari_{name} gauge");
        for (labels, value) in samples {
            let labels: String =
                labels.iter().map(|(k, v)| format!(",{k}=\"{}\"", escape_label(v))).collect();
            let _ = writeln!(out, "mimawari_{name}{{vantage=\"{vantage}\"{labels}}} {value}");
        }
    }
    out
}

/// The line for a CloudWatch log, ended by a line feed.
#[must_use]
pub fn render_emf(v: &Verdict, namespace: &str, delivery: &DeliveryFigures) -> String {
    let f = MetricFigures::of(v);
    let mut values: Map<String, Value> = Map::new();
    let mut metrics = Vec::new();
    let mut metric = |name: &str, unit: &str, value: Value| {
        metrics.push(json!({"Name": name, "Unit": unit}));
        values.insert(name.to_owned(), value);
    };
    let state = |s: FindingState| -> u64 {
        f.findings.iter().filter(|((n, _), _)| *n == s.as_str()).map(|(_, n)| n).sum()
    };
    metric("FindingsOpen", "Count", state(FindingState::Open).into());
    metric("FindingsUnverified", "Count", state(FindingState::Unverified).into());
    metric("FindingsResolving", "Count", state(FindingState::Resolving).into());
    metric("FindingsMissing", "Count", state(FindingState::Missing).into());
    let acknowledged = v.findings.iter().filter(|x| x.acknowledged.is_some()).count();
    metric("FindingsAcknowledged", "Count", acknowledged.into());
    metric("FindingsNew", "Count", v.counts.new.into());
    for (severity, n) in f.severities {
        let name = match severity {
            Severity::Info => "FindingsInfo",
            Severity::Low => "FindingsLow",
            Severity::Medium => "FindingsMedium",
            Severity::High => "FindingsHigh",
            Severity::Critical => "FindingsCritical",
        };
        metric(name, "Count", n.into());
    }
    let changes: usize = f.changes.iter().map(|(_, n)| n).sum();
    metric("ChangesTold", "Count", changes.into());
    metric("OldestUnverified", "Seconds", f.oldest_unverified.into());
    metric("Suspect", "Count", u8::from(v.suspect).into());
    metric("Incomplete", "Count", u8::from(v.incomplete).into());
    metric("Success", "Count", u8::from(!v.incomplete && !v.suspect).into());
    metric("DeliveryFailures", "Count", delivery.failures.into());
    metric("NotificationsPending", "Count", delivery.pending.into());
    metric("OldestNotification", "Seconds", delivery.oldest_seconds.into());
    metric("NotificationsSetAside", "Count", delivery.set_aside.into());
    if let Some(c) = f.coverage {
        metric("Coverage", "Percent", json!(c * 100.0));
    }
    if let Some(r) = f.recall {
        metric("Recall", "Percent", json!(r * 100.0));
    }
    // Owners are a property to search for, not a dimension: each would be a metric to pay for.
    let mut owners: Map<String, Value> = Map::new();
    for ((state, owner), n) in &f.findings {
        if *n > 0 && *state == "open" {
            owners.insert(owner.clone(), (*n).into());
        }
    }
    let mut line = json!({
        "_aws": {
            "Timestamp": v.judged_at.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": clean(namespace, 255),
                "Dimensions": [["Vantage"]],
                "Metrics": metrics,
            }],
        },
        "Vantage": to_dimension_value(&clean(&v.run.vantage, 250)),
        "RunId": clean(&v.run_id, 200),
        "OpenByOwner": owners,
    });
    if let Value::Object(map) = &mut line {
        map.extend(values);
    }
    format!("{line}\n")
}

/// A dimension's value must not be empty.
fn to_dimension_value(s: &str) -> &str {
    if s.is_empty() { "default" } else { s }
}

/// The value of a label between its quotes.
fn escape_label(s: &str) -> String {
    clean(s, 100).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{five_causes, hostile};
    use super::*;
    use crate::samples;

    fn delivery() -> DeliveryFigures {
        DeliveryFigures { failures: 1, pending: 3, oldest_seconds: 7_260, set_aside: 0 }
    }

    #[test]
    fn a_text_file() {
        insta::assert_snapshot!(render_prometheus(&samples::drift(), &delivery()));
    }

    #[test]
    fn a_line() {
        let line = render_emf(&samples::drift(), "mimawari", &delivery());
        let value: Value = serde_json::from_str(&line).unwrap();
        // The format takes 100 metrics in a directive, and each must be there.
        let metrics = value["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert!(metrics.len() <= 100);
        for m in metrics {
            assert!(value[m["Name"].as_str().unwrap()].is_number(), "{m}");
        }
        insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn labels_are_bounded_and_escaped() {
        let mut v = five_causes();
        for (n, f) in v.findings.iter_mut().enumerate() {
            f.owner = Some(format!("@corp/team-{}", n % 500));
        }
        let text = render_prometheus(&v, &delivery());
        assert!(text.lines().count() < 150, "{}", text.lines().count());
        assert!(text.contains("owner=\"other\""));
        let text = render_prometheus(&hostile(), &delivery());
        for l in text.lines().filter(|l| !l.starts_with('#')) {
            let (name, rest) = l.split_once('{').unwrap();
            assert!(name.starts_with("mimawari_"), "{l}");
            let (_, value) = rest.rsplit_once("} ").unwrap();
            assert!(value.parse::<f64>().is_ok(), "{l}");
        }
        assert!(!text.contains("198.51.100."), "an address in a label");
    }

    #[test]
    fn the_last_success_is_remembered_over_bad_runs() {
        let mut v = samples::incomplete();
        assert!(!render_prometheus(&v, &delivery()).contains("last_success"));
        v.timeline.push(mimawari_drift::verdict::RunSummary {
            run_id: "before".to_owned(),
            vantage: "outside".to_owned(),
            at: "2026-07-31T01:00:00Z".parse().unwrap(),
            exit: 1,
            suspect: false,
            incomplete: false,
            cells_planned: 5,
            cells_covered: 5,
            recall_estimate: None,
            counts: mimawari_drift::verdict::FindingCounts::default(),
        });
        assert!(
            render_prometheus(&v, &delivery()).contains(
                "mimawari_last_success_timestamp_seconds{vantage=\"outside\"} 1785459600"
            )
        );
    }
}
