//! The generic webhook: the changes with their findings as JSON, in parts of bounded length.

use mimawari_drift::verdict::Verdict;
use serde_json::{Value, json};

use super::{ChangeSelection, doubt_to_tell, event_id};

/// Changes in one part.
pub const PART: usize = 500;

/// One POST: the id that the receiver knows it by, and its body.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookPost {
    /// The same whenever the same is told.
    pub id: String,
    /// The body.
    pub body: Value,
}

/// The bodies; none on a quiet run.
#[must_use]
pub fn posts(v: &Verdict, selection: &ChangeSelection) -> Vec<WebhookPost> {
    let told = selection.told(v);
    let services = selection.services(v);
    if told.is_empty() && services.is_empty() && doubt_to_tell(v).is_none() && !v.digest_due {
        return Vec::new();
    }
    let event = event_id(v);
    let parts = told.len().div_ceil(PART).max(1);
    (0..parts)
        .map(|n| {
            let id = format!("{event}-{}", n + 1);
            let changes: Vec<Value> = told
                .iter()
                .skip(n * PART)
                .take(PART)
                .map(|t| json!({"key": t.change.key, "what": t.change.what, "finding": t.finding}))
                .collect();
            let mut body = json!({
                "version": 1,
                "type": "mimawari.changes",
                "id": id,
                "part": n + 1,
                "parts": parts,
                "run": run(v, selection),
                "changes": changes,
            });
            if n == 0 && !services.is_empty() {
                body["service_changes"] = json!(services.iter().take(PART).collect::<Vec<_>>());
                body["service_changes_total"] = services.len().into();
            }
            WebhookPost { id, body }
        })
        .collect()
}

/// A POST that says it is none.
#[must_use]
pub fn test(id: &str) -> WebhookPost {
    let body = json!({"version": 1, "type": "mimawari.test", "id": id});
    WebhookPost { id: id.to_owned(), body }
}

fn run(v: &Verdict, selection: &ChangeSelection) -> Value {
    json!({
        "id": v.run_id,
        "judged_at": v.judged_at,
        "exit": v.exit,
        "incomplete": v.incomplete,
        "suspect": v.suspect,
        "incomplete_because": v.incomplete_because,
        "digest_due": v.digest_due,
        "cells_planned": v.coverage.cells_planned,
        "cells_covered": v.coverage.cells_covered,
        "recall_estimate": v.coverage.recall_estimate,
        "counts": v.counts,
        "report_url": selection.report(v),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{five_causes, hostile, three};
    use super::*;
    use crate::samples;

    #[test]
    fn three_findings() {
        let posts = posts(&three(), &ChangeSelection::default());
        assert_eq!(posts.len(), 1);
        insta::assert_snapshot!(serde_json::to_string_pretty(&posts[0].body).unwrap());
    }

    #[test]
    fn many_changes_go_in_parts_and_each_goes_once() {
        let v = five_causes();
        let posts = posts(&v, &ChangeSelection::default());
        assert_eq!(posts.len(), 6);
        let mut keys: Vec<&str> = posts
            .iter()
            .flat_map(|p| p.body["changes"].as_array().unwrap())
            .map(|c| c["key"].as_str().unwrap())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 3_000);
    }

    #[test]
    fn another_service_is_notified_alone_and_not_to_who_selects_by_severity() {
        let mut v = samples::clean();
        v.service_changes = vec![samples::another_service()];
        let all = posts(&v, &ChangeSelection::default());
        assert_eq!((all.len(), &all[0].body["service_changes"][0]["now"]), (1, &json!("ssh")));
        let severe = ChangeSelection {
            min_severity: Some(mimawari_probes::observation::Severity::High),
            ..ChangeSelection::default()
        };
        assert!(posts(&v, &severe).is_empty());
        v.service_changes = vec![samples::another_service(); 2 * PART];
        let all = posts(&v, &ChangeSelection::default());
        assert_eq!(all[0].body["service_changes"].as_array().map(Vec::len), Some(PART));
        assert_eq!(all[0].body["service_changes_total"], 2 * PART);
    }

    #[test]
    fn quiet_runs_are_quiet_and_hostile_ones_are_json() {
        assert!(posts(&samples::drift(), &ChangeSelection::default()).is_empty());
        let all = posts(&hostile(), &ChangeSelection::default());
        assert!(all[0].id.bytes().all(|b| b.is_ascii_graphic() && b != b'.'));
    }
}
