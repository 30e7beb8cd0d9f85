//! What is sent: made of a verdict, or read out of a dead letter.

use mimawari_drift::verdict::Verdict;
use mimawari_report::notify::webhook::Post;
use mimawari_report::notify::{events, github, metrics, security_hub, slack, webhook};
use serde_json::{Value, json};

use super::client::Fault;
use super::{How, Ready};

/// A message of a notifier.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// One JSON body.
    Body(Value),
    /// Bodies with ids.
    Posts(Vec<Post>),
    /// Bodies of a service that knows findings by their ids.
    Batches(Vec<Value>),
    /// Lines.
    Text(String),
    /// Nothing of its own: issues are made of the verdict and of what is there.
    Issues,
}

impl Message {
    /// What a notifier tells of a verdict; `None` on a quiet run.
    ///
    /// # Errors
    /// A finding that the receiver would refuse.
    pub(super) fn of(n: &Ready, v: &Verdict, failures: u64) -> Result<Option<Self>, Fault> {
        let s = &n.selection;
        Ok(match &n.how {
            How::Slack { .. } => slack::message(v, s).map(Self::Body),
            How::Webhook { .. } => {
                Some(webhook::posts(v, s)).filter(|p| !p.is_empty()).map(Self::Posts)
            }
            How::Github(_) => github::is_due(v, s).then_some(Self::Issues),
            How::SecurityHub(hub) => {
                let batches = security_hub::batches(v, s, &hub.account).map_err(Fault::certain)?;
                Some(batches).filter(|b| !b.is_empty()).map(Self::Batches)
            }
            How::Events { .. } => Some(Self::Text(events::lines(v, s))),
            How::Emf { namespace, .. } => Some(Self::Text(metrics::emf(v, namespace, failures))),
            How::Prometheus { .. } => Some(Self::Text(metrics::prometheus(v, failures))),
        })
    }

    /// One that says it is none; `None` where it would be taken for a figure.
    pub(super) fn test(n: &Ready, at: jiff::Timestamp) -> Option<Self> {
        Some(match &n.how {
            How::Slack { .. } => Self::Body(slack::test()),
            How::Webhook { .. } => {
                Self::Posts(vec![webhook::test(&format!("test-{}", at.as_millisecond()))])
            }
            How::Github(_) => Self::Issues,
            How::SecurityHub(hub) => Self::Batches(vec![security_hub::test(&hub.account, at)]),
            How::Events { .. } => Self::Text(events::test(at)),
            How::Emf { .. } | How::Prometheus { .. } => return None,
        })
    }

    /// As it stands in a dead letter.
    #[must_use]
    pub fn payload(&self) -> Value {
        match self {
            Self::Body(v) => v.clone(),
            Self::Posts(posts) => {
                posts.iter().map(|p| json!({"id": p.id, "body": p.body})).collect()
            }
            Self::Batches(b) => b.clone().into(),
            Self::Text(t) => t.clone().into(),
            Self::Issues => Value::Null,
        }
    }

    /// Out of a dead letter of this notifier; `None` if it is no payload of its kind.
    pub(super) fn from_payload(n: &Ready, payload: Value) -> Option<Self> {
        Some(match (&n.how, payload) {
            (How::Slack { .. }, v @ Value::Object(_)) => Self::Body(v),
            (How::Webhook { .. }, Value::Array(all)) => {
                let post = |mut v: Value| {
                    let id = v["id"].as_str()?.to_owned();
                    Some(Post { id, body: v["body"].take() })
                };
                Self::Posts(all.into_iter().map(post).collect::<Option<_>>()?)
            }
            (How::Github(_), Value::Null) => Self::Issues,
            (How::SecurityHub(_), Value::Array(b)) => Self::Batches(b),
            (How::Events { .. } | How::Emf { .. } | How::Prometheus { .. }, Value::String(t)) => {
                Self::Text(t)
            }
            _ => return None,
        })
    }
}
