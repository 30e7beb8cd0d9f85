//! Issues of a repository: read, compared with what they should be, written.
//!
//! <https://docs.github.com/en/rest/issues/issues>. Issues are found again by the label `mimawari`,
//! which only people with a say in the repository can give, and by a mark in their bodies.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use mimawari_drift::verdict::Verdict;
use mimawari_report::notify::ChangeSelection;
use mimawari_report::notify::github::{ExistingIssue, IssueAction, actions};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{HttpSender, NotifyRequest, NotifyResponse, SendError};
use super::secret::SecretText;

/// The label by which issues are found again.
const LABEL: &str = "mimawari";
/// Issues on a page, and pages that are read of each state.
const PAGE: usize = 50;
const PAGES: usize = 20;

/// A repository.
#[derive(Debug)]
pub struct GithubNotifier {
    /// Base URL of the API, without a slash at its end.
    pub api: String,
    /// `owner/name`
    pub repo: String,
    /// Bearer token.
    pub token: SecretText,
    /// Labels besides our own.
    pub labels: Vec<String>,
    /// Most new issues of a run.
    pub max_new: usize,
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
    /// A [`Fault`]; what was written until then stays, and the next time goes on from there.
    pub async fn bring_in_line(
        &self,
        to: &HttpSender<'_>,
        v: &Verdict,
        selection: &ChangeSelection,
    ) -> Result<(), SendError> {
        let mut existing = Vec::new();
        for state in ["open", "closed"] {
            self.list(to, state, &mut existing).await?;
        }
        for (n, action) in actions(v, selection, self.max_new, &existing).into_iter().enumerate() {
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
    /// A [`Fault`].
    pub async fn test(&self, to: &HttpSender<'_>) -> Result<(), SendError> {
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
