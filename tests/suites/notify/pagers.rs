//! PagerDuty, Opsgenie and Teams: each receiver enforces what its documentation demands.

use mimawari_drift::verdict::{ChangeKind, FindingState, Verdict};
use mimawari_notify::DeliveryEnd;
use mimawari_tests::fake::{CannedReply, Received, Receiver};
use serde_json::Value;

use super::{Desk, fault, notifiers, three};

const KEY: &str = "not-a-real-routing-key-0123456789";

fn resolved() -> Verdict {
    let mut v = three();
    v.run_id = "20260801T020000Z-7f3a".to_owned();
    for f in &mut v.findings {
        f.state = FindingState::Resolved;
    }
    for c in &mut v.changes {
        c.key = format!("{}-2", c.finding);
        c.what = ChangeKind::Resolved;
    }
    v
}

/// Events API v2: the fields that are required, their lengths and words.
fn judge_event(r: &Received) -> CannedReply {
    let bad = |why: &str| {
        let body = format!(
            "{{\"status\":\"invalid event\",\"message\":\"Event object is invalid\",\"errors\":[\"{why}\"]}}"
        );
        CannedReply::status(400, &body)
    };
    if r.method != "POST" || r.target != "/v2/enqueue" {
        return CannedReply::status(404, "");
    }
    let e = r.json();
    let text = |v: &Value, most: usize| v.as_str().is_some_and(|s| (1..=most).contains(&s.len()));
    if e["routing_key"] != KEY {
        return bad("routing_key");
    }
    if !text(&e["dedup_key"], 255) {
        return bad("dedup_key");
    }
    match e["event_action"].as_str() {
        Some("resolve" | "acknowledge") => {}
        Some("trigger") => {
            let p = &e["payload"];
            let severity = ["critical", "error", "warning", "info"];
            if !text(&p["summary"], 1024) || !text(&p["source"], 1024) {
                return bad("payload");
            }
            if !p["severity"].as_str().is_some_and(|s| severity.contains(&s)) {
                return bad("severity");
            }
        }
        _ => return bad("event_action"),
    }
    if r.body.len() > 512 * 1024 {
        return CannedReply::status(413, "");
    }
    CannedReply::status(202, "{\"status\":\"success\",\"message\":\"Event processed\"}")
}

#[tokio::test]
async fn pagerduty_opens_and_resolves_one_alert_a_finding() {
    let mut first = vec![CannedReply::Hangup];
    let receiver = Receiver::start(move |r| first.pop().unwrap_or_else(|| judge_event(r)))
        .expect("a receiver");
    let table = format!(
        "[[notify]]\nkind = \"pagerduty\"\nrouting_key_env = \"K\"\nendpoint = \"http://{}\"\n",
        receiver.address()
    );
    let (desk, n) = (Desk::new(), notifiers(&table, &[("K", KEY.to_owned())]));
    assert!(!format!("{n:?}").contains(KEY));
    // The first answer is lost: the same event comes again under the same key.
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    assert_eq!(desk.deliver(&n, &resolved()).await[0].end, DeliveryEnd::Sent(1));
    let seen: Vec<(String, String)> = receiver
        .seen()
        .iter()
        .map(|r| {
            let e = r.json();
            let text = |name: &str| e[name].as_str().unwrap_or_default().to_owned();
            (text("event_action"), text("dedup_key"))
        })
        .collect();
    assert_eq!(seen.len(), 7);
    assert_eq!(seen[0], seen[1]);
    let (opened, closed) = (&seen[1..4], &seen[4..]);
    for (o, c) in opened.iter().zip(closed) {
        assert_eq!((o.0.as_str(), c.0.as_str()), ("trigger", "resolve"));
        assert_eq!(o.1, c.1);
    }
    assert_eq!(receiver.seen()[1].json()["payload"]["severity"], "error");
    // Another key is a refusal of the message: it is shown without the key.
    let n = notifiers(&table, &[("K", "another-key-that-is-wrong".to_owned())]);
    let (why, _) = fault(&Desk::new().deliver(&n, &three()).await);
    assert!(why.contains("400") && !why.contains("another-key"), "{why}");
}

fn judge_alert(r: &Received) -> CannedReply {
    if r.header("authorization") != format!("GenieKey {KEY}") {
        return CannedReply::status(401, "{\"message\":\"Could not authenticate\"}");
    }
    let a = r.json();
    let within = |name: &str, most: usize| {
        a[name].is_null() || a[name].as_str().is_some_and(|s| s.chars().count() <= most)
    };
    let accepted = "{\"result\":\"Request will be processed\",\"took\":0.1,\"requestId\":\"x\"}";
    if let Some(rest) = r.target.strip_prefix("/v2/alerts/") {
        let fine = rest.ends_with("/close?identifierType=alias") && within("note", 25_000);
        return CannedReply::status(if fine { 202 } else { 422 }, accepted);
    }
    let lengths = [("message", 130), ("alias", 512), ("description", 15_000), ("entity", 512)];
    let fine = r.target == "/v2/alerts"
        && a["message"].as_str().is_some_and(|m| !m.is_empty())
        && lengths.iter().all(|(name, most)| within(name, *most))
        && ["P1", "P2", "P3", "P4", "P5"].contains(&a["priority"].as_str().unwrap_or_default());
    CannedReply::status(if fine { 202 } else { 422 }, accepted)
}

#[tokio::test]
async fn opsgenie_creates_and_closes_one_alert_a_finding() {
    let receiver = Receiver::start(judge_alert).expect("a receiver");
    let table = format!(
        "[[notify]]\nkind = \"opsgenie\"\nkey_env = \"K\"\nendpoint = \"http://{}\"\ntags = [\"exposure\"]\n",
        receiver.address()
    );
    let (desk, n) = (Desk::new(), notifiers(&table, &[("K", KEY.to_owned())]));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    assert_eq!(desk.deliver(&n, &resolved()).await[0].end, DeliveryEnd::Sent(1));
    let seen = receiver.seen();
    assert_eq!(seen.len(), 6);
    for (o, c) in seen[..3].iter().zip(&seen[3..]) {
        let alias = o.json()["alias"].as_str().expect("an alias").to_owned();
        assert_eq!(c.target, format!("/v2/alerts/{alias}/close?identifierType=alias"));
    }
    let n = notifiers(&table, &[("K", "wrong-key-of-nobody".to_owned())]);
    let (why, _) = fault(&Desk::new().deliver(&n, &three()).await);
    assert!(why.contains("401"), "{why}");
}

#[tokio::test]
async fn teams_takes_an_adaptive_card() {
    let receiver = Receiver::start(|r| {
        let m = r.json();
        let a = &m["attachments"][0];
        let card = &a["content"];
        let elements = card["body"].as_array().cloned().unwrap_or_default();
        let fine = r.body.len() <= 28 * 1024
            && m["type"] == "message"
            && a["contentType"] == "application/vnd.microsoft.card.adaptive"
            && card["type"] == "AdaptiveCard"
            && card["version"] == "1.4"
            && !elements.is_empty()
            && elements.iter().all(|e| e["type"] == "TextBlock" && e["text"].is_string());
        CannedReply::status(if fine { 202 } else { 400 }, "")
    })
    .expect("a receiver");
    let env = [("U", format!("http://{}/workflows/not-a-real-slack-secret", receiver.address()))];
    let (desk, n) =
        (Desk::new(), notifiers("[[notify]]\nkind = \"teams\"\nwebhook_env = \"U\"\n", &env));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    let card = receiver.seen()[0].json();
    assert_eq!(card["attachments"][0]["content"]["body"][0]["text"], "mimawari: 3 new");
}
