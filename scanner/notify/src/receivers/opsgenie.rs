//! Opsgenie's Alert API: one alert a finding, created and closed under one alias
//! (<https://docs.opsgenie.com/docs/alert-api>).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, header};
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::verdict::Verdict;
use mimawari_probes::observation::Severity;
use mimawari_report::notify::{
    ChangeSelection, NotifiedChanges, RunDoubt, encode_url_segment, has_run_recovered, plain,
    select_run_doubt,
};
use serde_json::{Value, json};

use crate::ANSWER_LIMIT;
use crate::client::{NotifyRequest, SendError, build_post};
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::table::TableReader;

/// Where alerts are sent; accounts of the EU have another.
const ENDPOINT: &str = "https://api.opsgenie.com";

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "opsgenie",
    keys: &[
        NotifierKey {
            name: "key_env",
            kind: "text",
            default: "required",
            meaning: "The environment variable with the key of an API integration.",
        },
        NotifierKey {
            name: "endpoint",
            kind: "text",
            default: "`https://api.opsgenie.com`",
            meaning: "Another endpoint, such as `https://api.eu.opsgenie.com`.",
        },
        NotifierKey {
            name: "tags",
            kind: "list of texts",
            default: "–",
            meaning: "Tags of new alerts.",
        },
    ],
    delivery: DeliverySemantics {
        knows_ids: true,
        merges: false,
        is_figure: false,
        when_in_doubt: "it is sent again under the same alias, which only raises the count of the alert",
    },
    read: |table| read(table),
};

#[derive(Debug)]
struct OpsgenieSettings {
    key_env: String,
    endpoint: String,
    tags: Vec<String>,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let endpoint = table.url("endpoint").unwrap_or_else(|| ENDPOINT.to_owned());
    let tags = table.texts("tags");
    Some(Arc::new(OpsgenieSettings { key_env: table.variable("key_env")?, endpoint, tags }))
}

impl NotifierSettings for OpsgenieSettings {
    fn variables(&self) -> Vec<&str> {
        vec![&self.key_env]
    }

    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        Ok(Box::new(OpsgenieNotifier {
            key: secrets.secret(&self.key_env)?,
            client: secrets.client(&self.endpoint)?,
            endpoint: self.endpoint.clone(),
            tags: self.tags.iter().take(20).map(|t| plain::to_single_line(t, 50)).collect(),
        }))
    }
}

#[derive(Debug)]
struct OpsgenieNotifier {
    key: SecretText,
    endpoint: String,
    tags: Vec<String>,
    client: reqwest::Client,
}

impl Notifier for OpsgenieNotifier {
    fn is_due(&self, v: &Verdict, selection: &ChangeSelection) -> bool {
        !selection.changes(v).is_empty() || select_run_doubt(v).is_some() || has_run_recovered(v)
    }

    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let mut all: Vec<MessagePart> = n
            .selection
            .changes(n.verdict)
            .iter()
            .map(|c| MessagePart::new(c.change.key.clone(), self.change(n, c)))
            .collect();
        all.extend(self.doubt(n).map(|body| MessagePart::new(format!("{}-run", n.event), body)));
        Ok(all)
    }

    fn render_test(&self, _at: Timestamp) -> Option<MessagePart> {
        // It closes what was never opened, and wakes nobody.
        Some(MessagePart::new(
            "test",
            json!({"close": "mimawari-test", "body": {"source": "mimawari"}}),
        ))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let to = context.http(&self.client, ANSWER_LIMIT);
            to.send(true, || self.request(&part.body)).await.map(drop)
        })
    }
}

impl OpsgenieNotifier {
    fn change(&self, n: &Notice<'_>, c: &NotifiedChanges<'_>) -> Value {
        let f = c.finding;
        let alias = format!("mimawari-{}", plain::to_single_line(&f.id, 64));
        if !c.change.what.is_alarm() {
            let note = plain::to_single_line(&plain::format_change(c), 1_000);
            return json!({"close": alias, "body": {"source": "mimawari", "note": note}});
        }
        let priority = match f.severity {
            Severity::Critical => "P1",
            Severity::High => "P2",
            Severity::Medium => "P3",
            Severity::Low => "P4",
            Severity::Info => "P5",
        };
        let line = plain::format_change(c);
        let late = n.delay.map_or_else(String::new, |d| format!("\n{}", d.sentence()));
        let mut details = serde_json::Map::new();
        let mut add = |key: &str, text: Option<&str>| {
            if let Some(text) = text {
                details.insert(key.to_owned(), plain::to_single_line(text, 300).into());
            }
        };
        add("owner", f.owner.as_deref());
        add("service", f.service.as_deref());
        add("vantage", Some(&f.vantage));
        add("run", Some(&n.verdict.run_id));
        add("nearest rule", f.nearest.as_ref().map(|r| r.id.as_str()));
        add("report", n.selection.report(n.verdict).as_deref());
        json!({"create": alias, "body": {
            // The API takes 130 characters.
            "message": plain::to_single_line(&line, 125),
            "alias": alias,
            "description": format!("{}\n{}{late}", plain::to_single_line(&line, 1_000), plain::to_single_line(&f.why, 1_000)),
            "tags": self.tags,
            "details": details,
            "entity": plain::to_single_line(&f.subject().to_string(), 500),
            "source": "mimawari",
            "priority": priority,
        }})
    }

    fn doubt(&self, n: &Notice<'_>) -> Option<Value> {
        let v = n.verdict;
        let vantage = plain::to_single_line(&v.run.vantage, 100);
        let alias = format!("mimawari-run-{vantage}");
        if has_run_recovered(v) {
            return Some(json!({"close": alias, "body": {"source": "mimawari"}}));
        }
        let what = match select_run_doubt(v)? {
            RunDoubt::Suspect => "is suspect",
            _ => "is incomplete",
        };
        let because: Vec<String> =
            v.incomplete_because.iter().take(5).map(|s| plain::to_single_line(s, 500)).collect();
        Some(json!({"create": alias, "body": {
            "message": plain::to_single_line(&format!("The run from {vantage} {what}"), 125),
            "alias": alias,
            "description": because.join("\n"),
            "tags": self.tags,
            "source": "mimawari",
            "priority": "P3",
        }}))
    }

    fn request(&self, message: &Value) -> Result<NotifyRequest, SendError> {
        let path = match message["close"].as_str() {
            Some(alias) => {
                format!("/v2/alerts/{}/close?identifierType=alias", encode_url_segment(alias))
            }
            None => "/v2/alerts".to_owned(),
        };
        let url = SecretText::new(format!("{}{path}", self.endpoint));
        let mut request = build_post(&url, Bytes::from(message["body"].to_string()));
        let mut key = HeaderValue::from_str(&format!("GenieKey {}", self.key.reveal()))
            .map_err(|_| SendError::certain("the key cannot stand in a header"))?;
        key.set_sensitive(true);
        request.headers.push((header::AUTHORIZATION, key));
        Ok(request)
    }
}
