//! Slack's incoming webhook: its limits, its refusals, its manners.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
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
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Quiet);
    let all = (0..3_000)
        .map(|n| finding(n + 10, &format!("198.51.{}.{}", n / 250, n % 250), 6379 + (n % 5) as u16))
        .collect();
    assert_eq!(desk.deliver(&n, &verdict(all)).await[0].end, DeliveryEnd::Sent(1));
    assert_eq!(slack.seen().len(), 2);
    assert!(desk.refused("slack").is_empty());
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
            ends.contains(&&DeliveryEnd::Sent(1)) && ends.contains(&&DeliveryEnd::Quiet),
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
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
    let seen = slack.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen[3].at - seen[2].at >= Duration::from_millis(990), "Retry-After is respected");
    assert!(seen.iter().all(|r| r.body == seen[0].body));
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_again_by_the_next_run_and_says_so() {
    for lost in [CannedReply::Hangup, CannedReply::status(502, ""), CannedReply::status(504, "")] {
        let (slack, env) = slack(vec![lost.clone(), lost.clone()]);
        let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
        let (why, doubtful) = fault(&desk.deliver(&n, &three()).await);
        assert!(doubtful, "{lost:?}: {why}");
        assert_eq!(slack.seen().len(), 1, "once in one run");
        // The next run repeats it at once, and after a second lost answer not before an hour is over.
        fault(&desk.deliver(&n, &three()).await);
        assert_eq!(slack.seen().len(), 2);
        let text = slack.seen()[1].json()["blocks"][1].to_string();
        assert!(text.contains("may have arrived before"), "{text}");
        let (why, _) = fault(&desk.deliver(&n, &three()).await);
        assert!(why.starts_with("not before"), "{why}");
        assert_eq!(slack.seen().len(), 2);
        assert_eq!(desk.record("slack").await.doubtful, 2);
    }
}

#[tokio::test]
async fn a_refusal_is_kept_with_its_reason_and_holds_up_nothing_for_ever() {
    // A server that says everything back.
    let said = format!("invalid_blocks {SLACK_PATH}\u{1b}[31m");
    let (slack, env) = slack(vec![CannedReply::status(400, &said); 3]);
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
    let (why, doubtful) = fault(&desk.deliver(&n, &three()).await);
    assert!(why.contains("400: invalid_blocks") && !why.contains('\u{1b}'), "{why}");
    assert!(!why.contains("not-a-real-slack-secret"), "{why}");
    assert!(!doubtful);
    assert_eq!(slack.seen().len(), 1);
    fault(&desk.deliver(&n, &three()).await);
    // Refused for the third time it is set aside, and what comes after it is sent.
    let next = verdict(vec![finding(9, "198.51.100.9", 22)]);
    assert_eq!(desk.deliver(&n, &next).await[0].end, DeliveryEnd::Sent(1));
    let letters = desk.refused("slack");
    assert_eq!((letters.len(), &letters[0]["kind"]), (1, &Value::from("slack")));
    assert_eq!(letters[0]["payload"][0]["body"]["text"], slack.seen()[0].json()["text"]);
    assert_eq!(desk.record("slack").await.set_aside.len(), 1);
}

/// A receiver that is away for a while: everything arrives, in order, and once.
#[tokio::test]
async fn what_waited_arrives_in_order_and_an_end_never_without_its_beginning() {
    let (slack, env) = slack(vec![CannedReply::status(404, "no_service"); 2]);
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
    let opened = three();
    let mut resolved = three();
    resolved.run_id = "20260801T020000Z-7f3a".to_owned();
    for f in &mut resolved.findings {
        f.state = mimawari_drift::verdict::FindingState::Resolved;
    }
    for c in &mut resolved.changes {
        c.key = format!("{}-2", c.finding);
        c.what = mimawari_drift::verdict::ChangeKind::Resolved;
    }
    let ago = Timestamp::now() - jiff::SignedDuration::from_hours(3);
    fault(&desk.deliver_at(&n, &opened, ago).await);
    fault(&desk.deliver(&n, &resolved).await);
    assert_eq!(slack.seen().len(), 2, "the order is kept: nothing overtakes");
    let mut quiet = three();
    quiet.run_id = "20260801T030000Z-7f3a".to_owned();
    quiet.changes.clear();
    let out = desk.deliver(&n, &quiet).await;
    assert_eq!((&out[0].end, out[0].left), (&DeliveryEnd::Sent(2), 0));
    let texts: Vec<String> = slack.seen()[2..]
        .iter()
        .map(|r| r.json()["text"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(texts, ["mimawari: 3 new", "mimawari: 3 resolved"]);
    let late = slack.seen()[2].json()["blocks"][1].to_string();
    assert!(late.contains("3 hours ago"), "{late}");
    assert!(late.contains("could not be delivered before"), "{late}");
}

#[tokio::test]
async fn more_than_three_that_waited_are_one_message() {
    let (slack, env) = slack(vec![CannedReply::status(404, "no_service"); 5]);
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env));
    for round in 0..6u64 {
        let mut v = verdict(vec![finding(round, "198.51.100.9", 22 + round as u16)]);
        v.run_id = format!("2026080{round}T010000Z-7f3a");
        let out = desk.deliver(&n, &v).await;
        assert_eq!(out[0].left, if round < 5 { round as usize + 1 } else { 0 });
    }
    assert_eq!(slack.seen().len(), 6);
    let last = slack.seen()[5].json();
    assert_eq!(last["text"], "mimawari: 6 new");
    let late = last["blocks"][1].to_string();
    assert!(late.contains("6 runs since") && late.contains("in one message"), "{late}");
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
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent(1));
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
