//! What is sent: made of a verdict, or read out of a dead letter.

use mimawari_drift::verdict::Verdict;
use mimawari_report::notify::webhook::WebhookPost;
use mimawari_report::notify::{events, github, metrics, security_hub, slack, webhook};
use serde_json::{Value, json};

use super::client::SendError;
use super::{DeliveryMode, ReadyNotifier};

/// A message of a notifier.
#[derive(Debug, Clone, PartialEq)]
pub enum OutgoingMessage {
    /// One JSON body.
    Body(Value),
    /// Bodies with ids.
    Posts(Vec<WebhookPost>),
    /// Bodies of a service that knows findings by their ids.
    Batches(Vec<Value>),
    /// Lines.
    Text(String),
    /// Nothing of its own: issues are made of the verdict and of what is there.
    Issues,
}

impl OutgoingMessage {
    /// What a notifier tells of a verdict; `None` on a quiet run.
    ///
    /// # Errors
    /// A finding that the receiver would refuse.
    pub(super) fn of(
        n: &ReadyNotifier,
        v: &Verdict,
        failures: u64,
    ) -> Result<Option<Self>, SendError> {
        let s = &n.selection;
        Ok(match &n.how {
            DeliveryMode::Slack { .. } => slack::message(v, s).map(Self::Body),
            DeliveryMode::Webhook { .. } => {
                Some(webhook::posts(v, s)).filter(|p| !p.is_empty()).map(Self::Posts)
            }
            DeliveryMode::Github(_) => github::is_due(v, s).then_some(Self::Issues),
            DeliveryMode::SecurityHub(hub) => {
                let batches =
                    security_hub::batches(v, s, &hub.account).map_err(SendError::certain)?;
                Some(batches).filter(|b| !b.is_empty()).map(Self::Batches)
            }
            DeliveryMode::Events { .. } => Some(Self::Text(events::lines(v, s))),
            DeliveryMode::Emf { namespace, .. } => {
                Some(Self::Text(metrics::emf(v, namespace, failures)))
            }
            DeliveryMode::Prometheus { .. } => Some(Self::Text(metrics::prometheus(v, failures))),
        })
    }

    /// One that says it is none; `None` where it would be taken for a figure.
    pub(super) fn test(n: &ReadyNotifier, at: jiff::Timestamp) -> Option<Self> {
        Some(match &n.how {
            DeliveryMode::Slack { .. } => Self::Body(slack::test()),
            DeliveryMode::Webhook { .. } => {
                Self::Posts(vec![webhook::test(&format!("test-{}", at.as_millisecond()))])
            }
            DeliveryMode::Github(_) => Self::Issues,
            DeliveryMode::SecurityHub(hub) => {
                Self::Batches(vec![security_hub::test(&hub.account, at)])
            }
            DeliveryMode::Events { .. } => Self::Text(events::test(at)),
            DeliveryMode::Emf { .. } | DeliveryMode::Prometheus { .. } => return None,
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
    pub(super) fn from_payload(n: &ReadyNotifier, payload: Value) -> Option<Self> {
        Some(match (&n.how, payload) {
            (DeliveryMode::Slack { .. }, v @ Value::Object(_)) => Self::Body(v),
            (DeliveryMode::Webhook { .. }, Value::Array(all)) => {
                let post = |mut v: Value| {
                    let id = v["id"].as_str()?.to_owned();
                    Some(WebhookPost { id, body: v["body"].take() })
                };
                Self::Posts(all.into_iter().map(post).collect::<Option<_>>()?)
            }
            (DeliveryMode::Github(_), Value::Null) => Self::Issues,
            (DeliveryMode::SecurityHub(_), Value::Array(b)) => Self::Batches(b),
            (
                DeliveryMode::Events { .. }
                | DeliveryMode::Emf { .. }
                | DeliveryMode::Prometheus { .. },
                Value::String(t),
            ) => Self::Text(t),
            _ => return None,
        })
    }
}
