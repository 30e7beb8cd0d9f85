//! GitHub's issues: who may, what a label finds, how fast it may go.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use mimawari_drift::verdict::{ChangeKind, FindingChange, FindingState, Verdict};
use mimawari_notify::{DeliveryEnd, Notifiers};
use mimawari_tests::fake::{CannedReply, Received, Receiver};
use serde_json::{Value, json};

use super::{Desk, TOKEN, fault, finding, notifiers, three, verdict};

#[derive(Default)]
struct Repository {
    issues: Vec<Value>,
    /// Answers that come before anything else.
    first: Vec<CannedReply>,
}

/// The part of the REST API that issues need.
fn answer(repo: &mut Repository, r: &Received) -> CannedReply {
    if r.header("authorization") != format!("Bearer {TOKEN}") {
        return CannedReply::status(401, "{\"message\":\"Bad credentials\"}");
    }
    let known = r.header("user-agent").starts_with("mimawari/")
        && r.header("x-github-api-version") == "2022-11-28"
        && r.header("accept") == "application/vnd.github+json";
    if !known {
        return CannedReply::status(400, "headers");
    }
    if !repo.first.is_empty() {
        return repo.first.remove(0);
    }
    let (path, query) = r.target.split_once('?').unwrap_or((&r.target, ""));
    let Some(rest) = path.strip_prefix("/repos/corp/exposure/issues") else {
        return CannedReply::status(404, "{\"message\":\"Not Found\"}");
    };
    let body = r.json();
    let too_long = body["body"].as_str().is_some_and(|b| b.chars().count() > 65_536)
        || body["title"].as_str().is_some_and(|t| t.is_empty() || t.chars().count() > 256);
    if too_long {
        return CannedReply::status(422, "{\"message\":\"Validation Failed\"}");
    }
    let get = |name: &str| {
        query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    match r.method.as_str() {
        "GET" => {
            let label = Value::from(get("labels"));
            let per_page: usize = get("per_page").parse().unwrap_or(30);
            let page: usize = get("page").parse().unwrap_or(1);
            let found: Vec<&Value> = repo
                .issues
                .iter()
                .filter(|i| i["labels"].as_array().is_some_and(|l| l.contains(&label)))
                .filter(|i| get("state") == "all" || i["state"] == get("state"))
                .skip((page - 1) * per_page)
                .take(per_page.min(100))
                .collect();
            CannedReply::status(200, &json!(found).to_string())
        }
        "POST" => {
            let mut issue = body;
            issue["number"] = json!(repo.issues.len() + 1);
            issue["state"] = json!("open");
            repo.issues.push(issue.clone());
            CannedReply::status(201, &issue.to_string())
        }
        "PATCH" => {
            let number: usize = rest.trim_start_matches('/').parse().unwrap_or(0);
            let Some(issue) = number.checked_sub(1).and_then(|n| repo.issues.get_mut(n)) else {
                return CannedReply::status(404, "");
            };
            for (k, v) in body.as_object().into_iter().flatten() {
                issue[k] = v.clone();
            }
            CannedReply::status(200, &issue.to_string())
        }
        _ => CannedReply::status(405, ""),
    }
}

struct Hub {
    server: Receiver,
    repo: Arc<Mutex<Repository>>,
    desk: Desk,
}

impl Hub {
    fn new() -> Self {
        let repo = Arc::new(Mutex::new(Repository::default()));
        let own = Arc::clone(&repo);
        let server = Receiver::start(move |r| answer(&mut own.lock().expect("it"), r));
        Self { server: server.expect("a receiver"), repo, desk: Desk::new() }
    }

    fn notifiers(&self, token: &str) -> Notifiers {
        let table = format!(
            "[[notify]]\nkind = \"github\"\nrepo = \"corp/exposure\"\ntoken_env = \"T\"\napi_url = \"http://{}\"\nlabels = [\"security\"]\n",
            self.server.address()
        );
        notifiers(&table, &[("T", token.to_owned())])
    }

    async fn run(&self, v: &Verdict) -> DeliveryEnd {
        self.desk.deliver(&self.notifiers(TOKEN), v).await.remove(0).end
    }

    fn states(&self) -> Vec<String> {
        let repo = self.repo.lock().expect("it");
        repo.issues.iter().map(|i| i["state"].as_str().expect("a state").to_owned()).collect()
    }
}

/// The verdict of another run, in which everything is in this state and notified.
fn next(v: &Verdict, n: u32, state: FindingState, what: ChangeKind) -> Verdict {
    let mut v = v.clone();
    v.run_id = format!("run-{n}");
    for f in &mut v.findings {
        f.state = state;
    }
    v.changes = v
        .findings
        .iter()
        .map(|f| FindingChange { key: format!("{}-{n}", f.id), finding: f.id.clone(), what })
        .collect();
    v
}

#[tokio::test]
async fn the_life_of_an_issue() {
    let hub = Hub::new();
    let v = three();
    assert_eq!(hub.run(&v).await, DeliveryEnd::Sent);
    assert_eq!(hub.states(), ["open"]);
    {
        let repo = hub.repo.lock().expect("it");
        assert_eq!(repo.issues[0]["labels"], json!(["mimawari", "security"]));
        assert_eq!(
            repo.issues[0]["title"],
            "[high] tcp/6379 at 198.51.100.1 and 2 more (＠corp/a)"
        );
    }
    // The same again: read, and nothing written.
    let before = hub.server.seen().len();
    assert_eq!(
        hub.run(&next(&v, 2, FindingState::Open, ChangeKind::Reminder)).await,
        DeliveryEnd::Sent
    );
    assert!(hub.server.seen()[before..].iter().all(|r| r.method == "GET"));
    hub.run(&next(&v, 3, FindingState::Unverified, ChangeKind::Reminder)).await;
    assert_eq!(hub.states(), ["open"]);
    hub.run(&next(&v, 4, FindingState::Resolved, ChangeKind::Resolved)).await;
    assert_eq!(hub.states(), ["closed"]);
    hub.run(&next(&v, 5, FindingState::Open, ChangeKind::Reopened)).await;
    assert_eq!(hub.states(), ["open"]);
}

#[tokio::test]
async fn at_most_ten_new_ones_a_run_and_the_rest_in_one() {
    let hub = Hub::new();
    let all = (0..40).map(|n| {
        let mut f = finding(n, &format!("198.51.{n}.7"), 1_000 + n as u16);
        f["owner"] = json!(format!("@corp/{n}"));
        f
    });
    let v = verdict(all.collect());
    let mut sizes = Vec::new();
    for n in 0..6 {
        hub.run(&next(&v, n, FindingState::Open, ChangeKind::Reminder)).await;
        sizes.push(hub.repo.lock().expect("it").issues.len());
    }
    assert_eq!(sizes, [11, 21, 31, 41, 41, 41]);
    assert_eq!(hub.states().iter().filter(|s| *s == "closed").count(), 1, "the one for the rest");
}

#[tokio::test]
async fn limits_are_heard() {
    let hub = Hub::new();
    let reset = Timestamp::now().as_second() + 2;
    hub.repo.lock().expect("it").first = vec![
        CannedReply::status(403, "{\"message\":\"API rate limit exceeded\"}")
            .with("x-ratelimit-remaining", 0)
            .with("x-ratelimit-reset", reset),
        CannedReply::status(403, "{\"message\":\"You have exceeded a secondary rate limit\"}")
            .with("retry-after", 1),
    ];
    assert_eq!(hub.run(&three()).await, DeliveryEnd::Sent);
    let seen = hub.server.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(500), "the reset is waited for");
    assert!(seen[2].at - seen[1].at >= Duration::from_millis(990), "Retry-After is waited for");
    // A refusal without a limit is a refusal.
    let hub = Hub::new();
    hub.repo.lock().expect("it").first =
        vec![CannedReply::status(403, "{\"message\":\"Resource not accessible\"}")];
    assert!(matches!(hub.run(&three()).await, DeliveryEnd::Failed(_)));
    assert_eq!(hub.server.seen().len(), 1);
}

#[tokio::test]
async fn a_wrong_token_is_reported_and_the_undelivered_message_makes_the_issue_later() {
    let hub = Hub::new();
    let v = three();
    let out = hub.desk.deliver(&hub.notifiers("ghp_wrong-and-not-real"), &v).await;
    let (why, _) = fault(&out);
    assert!(why.contains("401") && !why.contains("ghp_wrong"), "{why}");
    assert_eq!(hub.desk.letters()[0]["payload"], Value::Null);
    let text = serde_json::to_string(&v).expect("JSON");
    std::fs::write(hub.desk.dir.path().join("verdict.json"), text).expect("a verdict");
    let good = hub.notifiers(TOKEN);
    let (text, _) = good.retry(hub.desk.dir.path(), false).await.expect("letters");
    assert_eq!(text, "github-github.json: sent\n");
    assert_eq!(hub.states(), ["open"]);
}

#[tokio::test]
async fn a_new_issue_whose_answer_was_lost_is_not_made_twice() {
    let hub = Hub::new();
    // Two lists, and then the creation's answer is lost.
    hub.repo.lock().expect("it").first =
        vec![CannedReply::status(200, "[]"), CannedReply::status(200, "[]"), CannedReply::Hangup];
    let DeliveryEnd::Failed(fault) = hub.run(&three()).await else { panic!("it was lost") };
    assert!(fault.doubtful);
    let posts = hub.server.seen().iter().filter(|r| r.method == "POST").count();
    assert_eq!(posts, 1);
}
