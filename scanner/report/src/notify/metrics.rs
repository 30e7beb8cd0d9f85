//! Metrics of a run: a Prometheus text file for the node exporter's textfile collector, and a line in
//! the CloudWatch Embedded Metric Format. Never a label for an address: cardinality is bounded.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mimawari_drift::verdict::{FindingState, Verdict};
use serde_json::{Map, Value, json};

use super::ChangeSelection;
use super::counted;
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
    told: Vec<(&'static str, usize)>,
    delivery_failures: u64,
}

impl MetricFigures {
    fn of(v: &Verdict, delivery_failures: u64) -> Self {
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
        let told = ChangeSelection::default().told(v);
        Self {
            findings,
            coverage: (c.cells_planned > 0)
                .then(|| c.cells_covered as f64 / c.cells_planned as f64),
            recall: c.recall_estimate.filter(|r| r.is_finite()),
            oldest_unverified: oldest
                .map_or(0, |at| (v.judged_at.as_second() - at.as_second()).max(0)),
            last_success: this.or(before),
            told: counted(&told).into_iter().map(|(k, n)| (k.as_str(), n)).collect(),
            delivery_failures,
        }
    }
}

/// The text file.
#[must_use]
pub fn prometheus(v: &Verdict, delivery_failures: u64) -> String {
    let f = MetricFigures::of(v, delivery_failures);
    let vantage = label(&v.run.vantage);
    let mut out = String::new();
    let mut family = |name: &str, help: &str, samples: &[(String, String)]| {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(out, "# HELP mimawari_{name} {help}\n# TYPE mimawari_{name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(out, "mimawari_{name}{{vantage=\"{vantage}\"{labels}}} {value}");
        }
    };
    let one = |value: String| vec![(String::new(), value)];
    let findings: Vec<_> = f
        .findings
        .iter()
        .map(|((state, owner), n)| {
            (format!(",state=\"{state}\",owner=\"{}\"", label(owner)), n.to_string())
        })
        .collect();
    family("findings", "Findings by state and owner.", &findings);
    family(
        "coverage_ratio",
        "Cells covered by the last run, of those planned.",
        &f.coverage.map_or_else(Vec::new, |c| one(c.to_string())),
    );
    family(
        "recall_ratio",
        "Estimated share of the open ports that the last run found.",
        &f.recall.map_or_else(Vec::new, |r| one(r.to_string())),
    );
    family(
        "recall_promised_ratio",
        "The recall that was asked for.",
        &one(v.coverage.recall_promised.to_string()),
    );
    family(
        "oldest_unverified_seconds",
        "Time since the finding was seen that has gone longest without being covered; 0 without one.",
        &one(f.oldest_unverified.to_string()),
    );
    family(
        "last_run_timestamp_seconds",
        "When the last run was judged.",
        &one(v.judged_at.as_second().to_string()),
    );
    family(
        "last_success_timestamp_seconds",
        "When a run was last complete and believed.",
        &f.last_success.map_or_else(Vec::new, |t| one(t.to_string())),
    );
    family(
        "run_suspect",
        "1 if the last run is not to be believed.",
        &one(u8::from(v.suspect).to_string()),
    );
    let told: Vec<_> =
        f.told.iter().map(|(kind, n)| (format!(",change=\"{kind}\""), n.to_string())).collect();
    family("changes_told", "Changes that the last run told.", &told);
    family(
        "delivery_failures",
        "Notifiers that the last run could not reach.",
        &one(f.delivery_failures.to_string()),
    );
    out
}

/// The line for a CloudWatch log, ended by a line feed.
#[must_use]
pub fn emf(v: &Verdict, namespace: &str, delivery_failures: u64) -> String {
    let f = MetricFigures::of(v, delivery_failures);
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
    let told: usize = f.told.iter().map(|(_, n)| n).sum();
    metric("ChangesTold", "Count", told.into());
    metric("OldestUnverified", "Seconds", f.oldest_unverified.into());
    metric("Suspect", "Count", u8::from(v.suspect).into());
    metric("Incomplete", "Count", u8::from(v.incomplete).into());
    metric("Success", "Count", u8::from(!v.incomplete && !v.suspect).into());
    metric("DeliveryFailures", "Count", f.delivery_failures.into());
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
        "Vantage": nonempty(&clean(&v.run.vantage, 250)),
        "RunId": clean(&v.run_id, 200),
        "OpenByOwner": owners,
    });
    if let Value::Object(map) = &mut line {
        map.extend(values);
    }
    format!("{line}\n")
}

/// A dimension's value must not be empty.
fn nonempty(s: &str) -> &str {
    if s.is_empty() { "default" } else { s }
}

/// The value of a label between its quotes.
fn label(s: &str) -> String {
    clean(s, 100).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{five_causes, hostile};
    use super::*;
    use crate::samples;

    #[test]
    fn a_text_file() {
        insta::assert_snapshot!(prometheus(&samples::drift(), 1));
    }

    #[test]
    fn a_line() {
        let line = emf(&samples::drift(), "mimawari", 0);
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
        let text = prometheus(&v, 0);
        assert!(text.lines().count() < 150, "{}", text.lines().count());
        assert!(text.contains("owner=\"other\""));
        let text = prometheus(&hostile(), 0);
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
        assert!(!prometheus(&v, 0).contains("last_success"));
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
            prometheus(&v, 0).contains(
                "mimawari_last_success_timestamp_seconds{vantage=\"outside\"} 1785459600"
            )
        );
    }
}
