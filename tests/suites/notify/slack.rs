//! Slack's incoming webhook: its limits, its refusals, its manners.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mimawari_notify::DeliveryEnd;
use mimawari_tests::fake::{CannedReply, Received, Receiver};
use serde_json::Value;

use super::{Desk, SLACK_PATH, fault, finding, notifiers, three, verdict};

const TABLE: &str = "[[notify]]\nkind = \"slack\"\nwebhook_env = \"S\"\n";

/// What Slack says of a message, by its documented limits.
fn judged(r: &Received) -> CannedReply {
    if r.method != "POST" || r.target != SLACK_PATH {
        return CannedReply::status(404, "no_service");
    }
    if !r.header("content-type").starts_with("application/json") {
        return CannedReply::status(400, "invalid_payload");
    }
    let m = r.json();
    let Some(blocks) = m["blocks"].as_array() else { return CannedReply::status(400, "no_text") };
    let text = |v: &Value, most: usize| {
        v.as_str().is_some_and(|s| (1..=most).contains(&s.chars().count()))
    };
    let fine = |b: &Value| match b["type"].as_str() {
        Some("header") => b["text"]["type"] == "plain_text" && text(&b["text"]["text"], 150),
        Some("section") => b["text"]["type"] == "mrkdwn" && text(&b["text"]["text"], 3_000),
        Some("context") => b["elements"].as_array().is_some_and(|e| {
            (1..=10).contains(&e.len()) && e.iter().all(|e| text(&e["text"], 3_000))
        }),
        _ => false,
    };
    if blocks.is_empty() || blocks.len() > 50 || !blocks.iter().all(fine) {
        return CannedReply::status(400, "invalid_blocks");
    }
    CannedReply::status(200, "ok")
}

/// A Slack that gives these answers first.
fn slack(mut first: Vec<CannedReply>) -> (Receiver, [(&'static str, String); 1]) {
    first.reverse();
    let receiver =
        Receiver::start(move |r| first.pop().unwrap_or_else(|| judged(r))).expect("a receiver");
    let url = format!("http://{}{SLACK_PATH}", receiver.address());
    (receiver, [("S", url)])
}

#[tokio::test]
async fn one_message_and_only_one() {
    let (slack, env) = slack(Vec::new());
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent);
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::ToldBefore);
    let all = (0..3_000)
        .map(|n| finding(n + 10, &format!("198.51.{}.{}", n / 250, n % 250), 6379 + (n % 5) as u16))
        .collect();
    assert_eq!(desk.deliver(&n, &verdict(all)).await[0].end, DeliveryEnd::Sent);
    assert_eq!(slack.seen().len(), 2);
    assert!(desk.letters().is_empty());
}

#[tokio::test]
async fn a_quiet_run_sends_nothing() {
    let (slack, env) = slack(Vec::new());
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
    let mut v = three();
    v.changes.clear();
    assert_eq!(desk.deliver(&n, &v).await[0].end, DeliveryEnd::Quiet);
    assert!(slack.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_at_once_one_sends_a_hundred_times() {
    let (slack, env) = slack(Vec::new());
    let (a, b) = (notifiers(TABLE, &env), notifiers(TABLE, &env));
    let desk = Desk::new();
    for round in 0..100u64 {
        let v = verdict(vec![finding(round, "198.51.100.9", 22)]);
        let (x, y) = tokio::join!(desk.deliver(&a, &v), desk.deliver(&b, &v));
        let ends = [&x[0].end, &y[0].end];
        assert!(
            ends.contains(&&DeliveryEnd::Sent) && ends.contains(&&DeliveryEnd::ToldBefore),
            "{ends:?}"
        );
    }
    assert_eq!(slack.seen().len(), 100);
}

#[tokio::test]
async fn what_was_certainly_not_taken_is_tried_again() {
    let answers = vec![
        CannedReply::status(500, "rollup_error"),
        CannedReply::status(503, ""),
        CannedReply::status(429, "rate_limited").with("retry-after", 1),
    ];
    let (slack, env) = slack(answers);
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent);
    let seen = slack.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen[3].at - seen[2].at >= Duration::from_millis(990), "Retry-After is heard");
    assert!(seen.iter().all(|r| r.body == seen[0].body));
}

#[tokio::test]
async fn what_may_have_arrived_is_not_tried_again() {
    for lost in [CannedReply::Hangup, CannedReply::status(502, ""), CannedReply::status(504, "")] {
        let (slack, env) = slack(vec![lost.clone()]);
        let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
        let (why, doubtful) = fault(&desk.deliver(&n, &three()).await);
        assert!(doubtful, "{lost:?}: {why}");
        assert_eq!(slack.seen().len(), 1);
        assert_eq!(desk.letters()[0]["doubtful"], true);
        // Nor by the next run.
        assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::ToldBefore);
    }
}

#[tokio::test]
async fn a_refusal_is_kept_with_its_reason_and_without_the_secret() {
    // A server that says everything back.
    let said = format!("invalid_blocks {SLACK_PATH}\u{1b}[31m");
    let (slack, env) = slack(vec![CannedReply::status(400, &said)]);
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
    let (why, doubtful) = fault(&desk.deliver(&n, &three()).await);
    assert!(why.contains("400: invalid_blocks") && !why.contains('\u{1b}'), "{why}");
    assert!(!why.contains("not-a-real-slack-secret"), "{why}");
    assert!(!doubtful);
    assert_eq!(slack.seen().len(), 1);
    let letters = desk.letters();
    assert_eq!((letters.len(), &letters[0]["kind"]), (1, &Value::from("slack")));
    assert_eq!(letters[0]["payload"], slack.seen()[0].json());
}

#[tokio::test]
async fn silence_endless_answers_long_waits_and_redirects_end() {
    let elsewhere = Receiver::start(|_| CannedReply::status(200, "ok")).expect("a receiver");
    let to = format!("http://{}/", elsewhere.address());
    for (reply, word) in [
        (CannedReply::Silence, "no answer in time"),
        (CannedReply::status(429, "").with("retry-after", 3_600), "3600 s is too long"),
        (CannedReply::status(302, "").with("location", to), "the answer was 302"),
    ] {
        let (slack, env) = slack(vec![reply]);
        let (desk, mut n) = (Desk::new(), notifiers(TABLE, &env));
        n.policy.timeout = Duration::from_millis(300);
        let (why, _) = fault(&desk.deliver(&n, &three()).await);
        assert!(why.contains(word), "{why}");
        assert_eq!(slack.seen().len(), 1);
    }
    assert!(elsewhere.seen().is_empty(), "a redirect was followed");
    // The status has come: it was taken, however much is said after it.
    let (_slack, env) = slack(vec![CannedReply::Endless]);
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent);
}

#[tokio::test]
async fn tries_are_spaced_by_doubling_waits() {
    let waits = Arc::new(Mutex::new(0));
    let count = Arc::clone(&waits);
    let receiver = Receiver::start(move |_| {
        *count.lock().expect("it") += 1;
        CannedReply::status(503, "")
    })
    .expect("a receiver");
    let env = [("S", format!("http://{}{SLACK_PATH}", receiver.address()))];
    let (desk, mut n) = (Desk::new(), notifiers(TABLE, &env));
    n.policy.base = Duration::from_millis(40);
    let (_, doubtful) = fault(&desk.deliver(&n, &three()).await);
    assert!(!doubtful);
    assert_eq!(*waits.lock().expect("it"), 4, "four tries and no more");
    let at: Vec<_> = receiver.seen().iter().map(|r| r.at).collect();
    // Half of 40, 80, 160 ms at least.
    for (pair, least) in at.windows(2).zip([20, 40, 80]) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(least), "{at:?}");
    }
}
