//! PagerDuty's Events API v2: one alert a finding, triggered and resolved under one `dedup_key`
//! (<https://developer.pagerduty.com/docs/events-api-v2-overview>).

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::verdict::Verdict;
use mimawari_probes::observation::Severity;
use mimawari_report::notify::{
    ChangeSelection, NotifiedChanges, RunDoubt, has_run_recovered, plain, select_run_doubt,
};
use serde_json::{Value, json};

use crate::ANSWER_LIMIT;
use crate::client::{SendError, build_post};
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::table::TableReader;

/// Where events are sent; accounts of the EU have another.
const ENDPOINT: &str = "https://events.pagerduty.com";

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "pagerduty",
    keys: &[
        NotifierKey {
            name: "routing_key_env",
            kind: "text",
            default: "required",
            meaning: "The environment variable with the integration key of the service.",
        },
        NotifierKey {
            name: "endpoint",
            kind: "text",
            default: "`https://events.pagerduty.com`",
            meaning: "Another endpoint, such as `https://events.eu.pagerduty.com`.",
        },
    ],
    delivery: DeliverySemantics {
        knows_ids: true,
        merges: false,
        is_figure: false,
        when_in_doubt: "it is sent again under the same `dedup_key`, which adds to the same alert",
    },
    read: |table| read(table),
};

#[derive(Debug)]
struct PagerdutySettings {
    routing_key_env: String,
    endpoint: String,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let endpoint = table.url("endpoint").unwrap_or_else(|| ENDPOINT.to_owned());
    let routing_key_env = table.variable("routing_key_env")?;
    Some(Arc::new(PagerdutySettings { routing_key_env, endpoint }))
}

impl NotifierSettings for PagerdutySettings {
    fn variables(&self) -> Vec<&str> {
        vec![&self.routing_key_env]
    }

    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        Ok(Box::new(PagerdutyNotifier {
            key: secrets.secret(&self.routing_key_env)?,
            client: secrets.client(&self.endpoint)?,
            url: SecretText::new(format!("{}/v2/enqueue", self.endpoint)),
        }))
    }
}

#[derive(Debug)]
struct PagerdutyNotifier {
    key: SecretText,
    url: SecretText,
    client: reqwest::Client,
}

impl Notifier for PagerdutyNotifier {
    fn is_due(&self, v: &Verdict, selection: &ChangeSelection) -> bool {
        !selection.changes(v).is_empty() || select_run_doubt(v).is_some() || has_run_recovered(v)
    }

    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let mut all: Vec<MessagePart> = n
            .selection
            .changes(n.verdict)
            .iter()
            .map(|c| MessagePart::new(c.change.key.clone(), build_change_event(n, c)))
            .collect();
        all.extend(
            build_run_event(n).map(|body| MessagePart::new(format!("{}-run", n.event), body)),
        );
        Ok(all)
    }

    fn render_test(&self, at: Timestamp) -> Option<MessagePart> {
        // It resolves what was never triggered, and wakes nobody.
        let body =
            json!({"event_action": "resolve", "dedup_key": format!("mimawari/test/{at:.0}")});
        Some(MessagePart::new("test", body))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let mut body = part.body.clone();
            // The key is in the body; it is added here, so that no rendered message holds it.
            body["routing_key"] = self.key.reveal().into();
            let bytes = Bytes::from(body.to_string());
            let to = context.http(&self.client, ANSWER_LIMIT);
            to.send(true, || Ok(build_post(&self.url, bytes.clone()))).await.map(drop)
        })
    }
}

/// The event of a change.
fn build_change_event(n: &Notice<'_>, c: &NotifiedChanges<'_>) -> Value {
    let f = c.finding;
    let dedup_key = format!("mimawari/{}", plain::to_single_line(&f.id, 64));
    if !c.change.what.is_alarm() {
        return json!({"event_action": "resolve", "dedup_key": dedup_key});
    }
    let severity = match f.severity {
        Severity::Info | Severity::Low => "info",
        Severity::Medium => "warning",
        Severity::High => "error",
        Severity::Critical => "critical",
    };
    let text = |s: &Option<String>| s.as_ref().map(|s| plain::to_single_line(s, 300));
    let mut body = json!({
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "client": "mimawari",
        "payload": {
            "summary": plain::to_single_line(&plain::format_change(c), 1_000),
            "source": plain::to_single_line(&f.ip.to_string(), 255),
            "severity": severity,
            "timestamp": n.verdict.judged_at,
            "component": plain::to_single_line(&f.subject().to_string(), 255),
            "group": text(&f.owner),
            "class": f.kind.as_str(),
            "custom_details": {
                "why": plain::to_single_line(&f.why, 500),
                "owner": text(&f.owner),
                "service": text(&f.service),
                "remedy": text(&f.remedy),
                "nearest_rule": f.nearest.as_ref().map(|r| plain::to_single_line(&format!("{} {}", r.id, r.place), 300)),
                "vantage": plain::to_single_line(&f.vantage, 100),
                "run": plain::to_single_line(&n.verdict.run_id, 200),
                "first_seen": f.first_seen,
                "late": n.delay.map(mimawari_report::notify::NoticeDelay::sentence),
            },
        },
    });
    if let Some(url) = n.selection.report(n.verdict) {
        body["links"] = json!([{"href": url, "text": "Report of the run"}]);
    }
    body
}

/// The event of a run that is incomplete or suspect, and the end of that.
fn build_run_event(n: &Notice<'_>) -> Option<Value> {
    let v = n.verdict;
    let vantage = plain::to_single_line(&v.run.vantage, 100);
    let dedup_key = format!("mimawari/run/{vantage}");
    if has_run_recovered(v) {
        return Some(json!({"event_action": "resolve", "dedup_key": dedup_key}));
    }
    let what = match select_run_doubt(v)? {
        RunDoubt::Suspect => "is suspect: it is not to be believed",
        _ => "is incomplete: nothing is known of what it did not cover",
    };
    Some(json!({
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "client": "mimawari",
        "payload": {
            "summary": format!("The run from {vantage} {what}"),
            "source": "mimawari",
            "severity": "warning",
            "timestamp": v.judged_at,
            "class": "run",
            "custom_details": {
                "run": plain::to_single_line(&v.run_id, 200),
                "because": v.incomplete_because.iter().take(5).map(|s| plain::to_single_line(s, 500)).collect::<Vec<_>>(),
            },
        },
    }))
}
