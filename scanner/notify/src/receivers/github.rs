//! Issues of a repository: read, compared with what they should be, written.
//!
//! <https://docs.github.com/en/rest/issues/issues>. Issues are found again by the label `mimawari`,
//! which only people with a say in the repository can give, and by a mark in their bodies.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::verdict::Verdict;
use mimawari_report::notify::ChangeSelection;
use mimawari_report::notify::github::{ExistingIssue, IssueAction, is_due, plan_issue_actions};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use toml::Spanned;

use crate::LIST_LIMIT;
use crate::client::{HttpSender, NotifyRequest, NotifyResponse, SendError};
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::table::TableReader;

/// The label by which issues are found again.
const LABEL: &str = "mimawari";
/// Issues on a page, and pages that are read of each state.
const PAGE: usize = 50;
const PAGES: usize = 20;

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "github",
    keys: &[
        NotifierKey { name: "repo", kind: "text", default: "required", meaning: "`owner/name`." },
        NotifierKey {
            name: "token_env",
            kind: "text",
            default: "required",
            meaning: "The environment variable with the token.",
        },
        NotifierKey {
            name: "api_url",
            kind: "text",
            default: "`https://api.github.com`",
            meaning: "Another API than GitHub's own.",
        },
        NotifierKey {
            name: "labels",
            kind: "list of texts",
            default: "–",
            meaning: "Labels of new issues.",
        },
        NotifierKey {
            name: "max_new",
            kind: "number",
            default: "10",
            meaning: "New issues of one run at most, 1 to 50.",
        },
    ],
    delivery: DeliverySemantics {
        knows_ids: true,
        merges: true,
        is_figure: false,
        when_in_doubt: "the issues are read again and brought in line; a second issue of one group is closed",
    },
    read: |table| read(table),
};

#[derive(Debug)]
struct GithubSettings {
    repo: String,
    token_env: String,
    api_url: String,
    labels: Vec<String>,
    max_new: usize,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let (repo, token_env) = (table.needed_text("repo"), table.variable("token_env"));
    let repo = repo.and_then(|repo| check_repo(table, repo));
    let api_url = table.url("api_url").unwrap_or_else(|| "https://api.github.com".to_owned());
    let max_new = usize::try_from(table.number("max_new", 1..=50, 10)).unwrap_or(10);
    let labels = table.texts("labels");
    Some(Arc::new(GithubSettings { repo: repo?, token_env: token_env?, api_url, labels, max_new }))
}

fn check_repo(table: &mut TableReader<'_>, repo: Spanned<String>) -> Option<String> {
    let part = |p: &str| {
        !p.is_empty()
            && p != "."
            && p != ".."
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if !repo.get_ref().split_once('/').is_some_and(|(a, b)| part(a) && part(b)) {
        let title = format!("`{}` is no repository", repo.get_ref().escape_debug());
        table.error(repo.span(), title, "write `owner/name`");
        return None;
    }
    Some(repo.into_inner())
}

impl NotifierSettings for GithubSettings {
    fn variables(&self) -> Vec<&str> {
        vec![&self.token_env]
    }

    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        let (api, repo) = (self.api_url.clone(), self.repo.clone());
        Ok(Box::new(GithubNotifier {
            token: secrets.secret(&self.token_env)?,
            client: secrets.client(&api)?,
            turn: secrets.turn(&format!("{api} {repo}")),
            api,
            repo,
            labels: self.labels.clone(),
            max_new: self.max_new,
        }))
    }
}

/// A repository.
#[derive(Debug)]
struct GithubNotifier {
    /// Base URL of the API, without a slash at its end.
    api: String,
    /// `owner/name`
    repo: String,
    /// Bearer token.
    token: SecretText,
    /// Labels besides our own.
    labels: Vec<String>,
    /// Most new issues of a run.
    max_new: usize,
    client: reqwest::Client,
    /// Notifiers of one repository read and write one after the other: two at once would both find that
    /// an issue is not there, and make it.
    turn: Arc<Mutex<()>>,
}

impl Notifier for GithubNotifier {
    fn is_due(&self, v: &Verdict, selection: &ChangeSelection) -> bool {
        is_due(v, selection)
    }

    /// Nothing of its own: issues are made of the newest verdict and of what is there.
    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        Ok(vec![MessagePart::new(n.event, Value::Null)])
    }

    fn render_test(&self, _at: Timestamp) -> Option<MessagePart> {
        Some(MessagePart::new("test", Value::Null))
    }

    fn deliver<'a>(
        &'a self,
        _part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            let to = context.http(&self.client, LIST_LIMIT);
            match context.current {
                Some(v) => self.bring_in_line(&to, v, context.selection).await,
                None => self.test(&to).await,
            }
        })
    }
}

#[derive(Deserialize)]
struct GithubIssue {
    number: u64,
    title: String,
    body: Option<String>,
    state: String,
    pull_request: Option<Value>,
}

impl GithubNotifier {
    /// Brings the issues in line with a verdict.
    ///
    /// # Errors
    /// A [`SendError`]; what was written until then stays, and the next time goes on from there.
    async fn bring_in_line(
        &self,
        to: &HttpSender<'_>,
        v: &Verdict,
        selection: &ChangeSelection,
    ) -> Result<(), SendError> {
        let mut existing = Vec::new();
        for state in ["open", "closed"] {
            self.list(to, state, &mut existing).await?;
        }
        for (n, action) in
            plan_issue_actions(v, selection, self.max_new, &existing).into_iter().enumerate()
        {
            if n > 0 {
                tokio::time::sleep(to.policy.pause).await;
            }
            match action {
                IssueAction::Create { title, body } => {
                    self.create(to, &title, &body).await?;
                }
                IssueAction::Update { number, title, body, open } => {
                    let mut change = json!({"title": title, "body": body});
                    match open {
                        Some(true) => change["state"] = "open".into(),
                        Some(false) => {
                            change["state"] = "closed".into();
                            change["state_reason"] = "completed".into();
                        }
                        None => {}
                    }
                    self.write(to, Method::PATCH, &format!("/{number}"), &change).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes an issue that says it is none, and closes it.
    ///
    /// # Errors
    /// A [`SendError`].
    async fn test(&self, to: &HttpSender<'_>) -> Result<(), SendError> {
        let text = "Nothing was scanned and nothing found. This issue may be deleted.";
        let answer = self.create(to, "Test message of mimawari", text).await?;
        let number = serde_json::from_slice::<Value>(&answer.body)
            .ok()
            .and_then(|v| v["number"].as_u64())
            .ok_or_else(|| SendError::certain("the answer names no issue"))?;
        tokio::time::sleep(to.policy.pause).await;
        let change = json!({"state": "closed", "state_reason": "not_planned"});
        self.write(to, Method::PATCH, &format!("/{number}"), &change).await.map(drop)
    }

    async fn create(
        &self,
        to: &HttpSender<'_>,
        title: &str,
        body: &str,
    ) -> Result<NotifyResponse, SendError> {
        let labels: Vec<&str> =
            [LABEL].into_iter().chain(self.labels.iter().map(String::as_str)).collect();
        let issue = json!({"title": title, "body": body, "labels": labels});
        self.write(to, Method::POST, "", &issue).await
    }

    async fn list(
        &self,
        to: &HttpSender<'_>,
        state: &str,
        into: &mut Vec<ExistingIssue>,
    ) -> Result<(), SendError> {
        for page in 1..=PAGES {
            let query = format!(
                "?labels={LABEL}&state={state}&sort=updated&direction=desc&per_page={PAGE}&page={page}"
            );
            let answer = to.send(true, || self.request(Method::GET, &query, Bytes::new())).await?;
            let issues: Vec<GithubIssue> = serde_json::from_slice(&answer.body)
                .map_err(|_| SendError::certain("the list of issues cannot be understood"))?;
            let n = issues.len();
            into.extend(issues.into_iter().filter(|i| i.pull_request.is_none()).map(|i| {
                ExistingIssue {
                    number: i.number,
                    open: i.state == "open",
                    title: i.title,
                    body: i.body.unwrap_or_default(),
                }
            }));
            if n < PAGE {
                return Ok(());
            }
        }
        match state {
            // Without all of them a group would get a second issue.
            "open" => Err(SendError::certain(format!("more than {} open issues", PAGE * PAGES))),
            _ => Ok(()),
        }
    }

    async fn write(
        &self,
        to: &HttpSender<'_>,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<NotifyResponse, SendError> {
        let bytes = Bytes::from(body.to_string());
        // An update may be repeated; a new issue would be there twice.
        let harmless = method == Method::PATCH;
        to.send(harmless, || self.request(method.clone(), path, bytes.clone())).await
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<NotifyRequest, SendError> {
        let bearer = format!("Bearer {}", self.token.reveal());
        let mut bearer = HeaderValue::from_str(&bearer)
            .map_err(|_| SendError::certain("the token cannot stand in a header"))?;
        bearer.set_sensitive(true);
        Ok(NotifyRequest {
            method,
            url: SecretText::new(format!("{}/repos/{}/issues{path}", self.api, self.repo)),
            headers: vec![
                (header::AUTHORIZATION, bearer),
                (header::ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
                (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (
                    HeaderName::from_static("x-github-api-version"),
                    HeaderValue::from_static("2022-11-28"),
                ),
            ],
            body,
        })
    }
}
