//! The generic webhook: a receiver that verifies the signature as the documentation says.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use mimawari_notify::DeliveryEnd;
use mimawari_tests::fake::{CannedReply, Received, Receiver};
use ring::hmac;

use super::{Desk, KEY, fault, finding, notifiers, three, verdict};

const TABLE: &str =
    "[[notify]]\nkind = \"webhook\"\nname = \"hook\"\nurl_env = \"U\"\nsecret_env = \"K\"\n";

/// As a receiver would verify it: from the headers and the body alone.
fn verified(r: &Received) -> bool {
    let bytes = STANDARD.decode(KEY.trim_start_matches("whsec_")).expect("a key");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let (id, at) = (r.header("webhook-id"), r.header("webhook-timestamp"));
    let age = Timestamp::now().as_second() - at.parse::<i64>().unwrap_or(0);
    let mut signed = format!("{id}.{at}.").into_bytes();
    signed.extend_from_slice(&r.body);
    age.abs() <= 300
        && r.header("webhook-signature").split(' ').any(|s| {
            let tag = s.strip_prefix("v1,").and_then(|s| STANDARD.decode(s).ok());
            tag.is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
        })
}

fn env(r: &Receiver) -> [(&'static str, String); 2] {
    [("U", format!("http://{}/hook", r.address())), ("K", KEY.to_owned())]
}

#[tokio::test]
async fn signed_bodies_that_a_receiver_can_verify() {
    let receiver = Receiver::start(|r| match verified(r) {
        true => CannedReply::status(204, ""),
        false => CannedReply::status(401, "bad signature"),
    })
    .expect("a receiver");
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env(&receiver)));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent);
    let body = receiver.seen()[0].json();
    assert_eq!(body["changes"].as_array().expect("changes").len(), 3);
    assert_eq!(body["id"], receiver.seen()[0].header("webhook-id"));
    // Another key, and the receiver does not believe it.
    let mut other = env(&receiver);
    other[1].1 = "another key of good length".to_owned();
    let n = notifiers(TABLE, &other);
    let out = Desk::new().deliver(&n, &three()).await;
    assert!(fault(&out).0.contains("401"), "{out:?}");
}

#[tokio::test]
async fn what_may_have_arrived_comes_again_under_the_same_id() {
    let mut first = true;
    let receiver = Receiver::start(move |_| match std::mem::take(&mut first) {
        true => CannedReply::Hangup,
        false => CannedReply::status(200, ""),
    })
    .expect("a receiver");
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env(&receiver)));
    assert_eq!(desk.deliver(&n, &three()).await[0].end, DeliveryEnd::Sent);
    let ids: HashSet<String> =
        receiver.seen().iter().map(|r| r.header("webhook-id").to_owned()).collect();
    assert_eq!((receiver.seen().len(), ids.len()), (2, 1));
}

#[tokio::test]
async fn of_several_parts_only_the_rest_is_kept() {
    let mut parts = 0;
    let receiver = Receiver::start(move |_| {
        parts += 1;
        CannedReply::status(if parts == 2 { 400 } else { 200 }, "")
    })
    .expect("a receiver");
    let (desk, n) = (Desk::new(), notifiers(TABLE, &env(&receiver)));
    let all = (0..1_200).map(|n| finding(n, "198.51.100.7", 1 + n as u16)).collect();
    fault(&desk.deliver(&n, &verdict(all)).await);
    let left = desk.letters()[0]["payload"].as_array().expect("posts").clone();
    assert_eq!(left.len(), 2);
    assert_eq!(left[0]["id"], receiver.seen()[1].header("webhook-id"));
    // The rest is sent later, under the same ids.
    let (text, _) = n.retry(desk.dir.path(), false).await.expect("letters");
    assert_eq!(text, "webhook-hook.json: sent\n");
    assert!(desk.letters().is_empty());
    let changes: usize = receiver
        .seen()
        .iter()
        .filter(|r| r.header("webhook-id") != left[0]["id"] || r.at > receiver.seen()[1].at)
        .map(|r| r.json()["changes"].as_array().expect("changes").len())
        .sum();
    assert_eq!(changes, 1_200, "every change was taken once");
}
