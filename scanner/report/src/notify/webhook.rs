//! The generic webhook: the changes with their findings as JSON, in parts of bounded length.

use mimawari_drift::verdict::Verdict;
use serde_json::{Value, json};

use super::{ChangeSelection, NoticeDelay, select_run_doubt};

/// Changes in one part.
pub const PART: usize = 500;

/// One POST: the id that the receiver knows it by, and its body.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookPost {
    /// The same whenever the same is sent.
    pub id: String,
    /// The body.
    pub body: Value,
}

/// The bodies; none on a quiet run.
#[must_use]
pub fn build_posts(
    event: &str,
    v: &Verdict,
    selection: &ChangeSelection,
    delay: Option<&NoticeDelay>,
) -> Vec<WebhookPost> {
    let all = selection.changes(v);
    let services = selection.services(v);
    if all.is_empty() && services.is_empty() && select_run_doubt(v).is_none() && !v.digest_due {
        return Vec::new();
    }
    let parts = all.len().div_ceil(PART).max(1);
    (0..parts)
        .map(|n| {
            let id = format!("{event}-{}", n + 1);
            let changes: Vec<Value> = all
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
            if let Some(delay) = delay {
                body["delayed_seconds"] = delay.age.as_secs().into();
            }
            if n == 0 && !services.is_empty() {
                body["service_changes"] = json!(services.iter().take(PART).collect::<Vec<_>>());
                body["service_changes_total"] = services.len().into();
            }
            WebhookPost { id, body }
        })
        .collect()
}

/// A POST that says that it is a test.
#[must_use]
pub fn build_test_post(id: &str) -> WebhookPost {
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
        let posts = build_posts("e", &three(), &ChangeSelection::default(), None);
        assert_eq!(posts.len(), 1);
        insta::assert_snapshot!(serde_json::to_string_pretty(&posts[0].body).unwrap());
    }

    #[test]
    fn many_changes_go_in_parts_and_each_goes_once() {
        let v = five_causes();
        let posts = build_posts("e", &v, &ChangeSelection::default(), None);
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
        let all = build_posts("e", &v, &ChangeSelection::default(), None);
        assert_eq!((all.len(), &all[0].body["service_changes"][0]["now"]), (1, &json!("ssh")));
        let severe = ChangeSelection {
            min_severity: Some(mimawari_probes::observation::Severity::High),
            ..ChangeSelection::default()
        };
        assert!(build_posts("e", &v, &severe, None).is_empty());
        v.service_changes = vec![samples::another_service(); 2 * PART];
        let all = build_posts("e", &v, &ChangeSelection::default(), None);
        assert_eq!(all[0].body["service_changes"].as_array().map(Vec::len), Some(PART));
        assert_eq!(all[0].body["service_changes_total"], 2 * PART);
    }

    #[test]
    fn quiet_runs_are_quiet_and_hostile_ones_are_json() {
        assert!(build_posts("e", &samples::drift(), &ChangeSelection::default(), None).is_empty());
        let all = build_posts("e", &hostile(), &ChangeSelection::default(), None);
        assert_eq!(all[0].id, "e-1");
    }
}
