//! OpenTelemetry over HTTP in JSON: changes as log records, and figures as gauges, to a collector or to a
//! service that takes OTLP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::verdict::Verdict;
use mimawari_probes::observation::Severity;
use mimawari_report::notify::{ChangeSelection, events, metrics};
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

/// Log records of one request.
const MOST_RECORDS: usize = 500;

const KEYS: &[NotifierKey] = &[
    NotifierKey {
        name: "endpoint",
        kind: "text",
        default: "required",
        meaning: "The base URL, such as `https://otlp.example.jp:4318`; the path of the signal is added.",
    },
    NotifierKey {
        name: "headers_env",
        kind: "text",
        default: "–",
        meaning: "The environment variable with headers, as in `OTEL_EXPORTER_OTLP_HEADERS`: `key=value,key=value`.",
    },
];

/// The row of the log records.
pub static LOGS: NotifierKind = NotifierKind {
    word: "otlp-logs",
    keys: KEYS,
    delivery: DeliverySemantics {
        knows_ids: false,
        merges: false,
        is_figure: false,
        when_in_doubt: "its records are sent again; each has a `mimawari.key` that no other change has",
    },
    read: |table| read(table, OtlpSignal::Logs),
};

/// The row of the metrics.
pub static METRICS: NotifierKind = NotifierKind {
    word: "otlp-metrics",
    keys: KEYS,
    delivery: DeliverySemantics {
        knows_ids: true,
        merges: false,
        is_figure: true,
        when_in_doubt: "the next run writes newer figures",
    },
    read: |table| read(table, OtlpSignal::Metrics),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OtlpSignal {
    Logs,
    Metrics,
}

#[derive(Debug)]
struct OtlpSettings {
    endpoint: String,
    headers_env: Option<String>,
    signal: OtlpSignal,
}

fn read(table: &mut TableReader<'_>, signal: OtlpSignal) -> Option<Arc<dyn NotifierSettings>> {
    let headers_env = table.optional_variable("headers_env");
    let endpoint = table.url("endpoint");
    let endpoint = table.needed("endpoint", endpoint)?;
    Some(Arc::new(OtlpSettings { endpoint, headers_env, signal }))
}

impl NotifierSettings for OtlpSettings {
    fn variables(&self) -> Vec<&str> {
        self.headers_env.as_deref().into_iter().collect()
    }

    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        let mut headers = Vec::new();
        if let Some(variable) = &self.headers_env {
            let text = secrets.secret(variable)?;
            headers = parse_headers(text.reveal()).ok_or_else(|| {
                Failure::new(format!("the environment variable {variable} holds no headers"))
                    .help("write key=value, several separated by commas")
            })?;
            for (_, value) in &headers {
                secrets.remember(value.clone());
            }
        }
        let path = match self.signal {
            OtlpSignal::Logs => "v1/logs",
            OtlpSignal::Metrics => "v1/metrics",
        };
        Ok(Box::new(OtlpNotifier {
            client: secrets.client(&self.endpoint)?,
            url: SecretText::new(format!("{}/{path}", self.endpoint)),
            headers,
            signal: self.signal,
        }))
    }
}

fn parse_headers(text: &str) -> Option<Vec<(HeaderName, SecretText)>> {
    text.split(',')
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().parse().ok()?, SecretText::new(value.trim())))
        })
        .collect()
}

#[derive(Debug)]
struct OtlpNotifier {
    url: SecretText,
    headers: Vec<(HeaderName, SecretText)>,
    signal: OtlpSignal,
    client: reqwest::Client,
}

impl Notifier for OtlpNotifier {
    /// The record of the run is there on quiet runs, too.
    fn is_due(&self, _v: &Verdict, _selection: &ChangeSelection) -> bool {
        true
    }

    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        if self.signal == OtlpSignal::Metrics {
            return Ok(vec![MessagePart::new(n.event, build_gauges(n))]);
        }
        let lines = events::render_lines(n.verdict, n.selection, n.delay);
        let records: Vec<Value> = lines
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
            .map(|event| build_log_record(&event))
            .collect();
        let part = |(i, records): (usize, &[Value])| {
            MessagePart::new(format!("{}-{}", n.event, i + 1), build_logs(n.verdict, records))
        };
        Ok(records.chunks(MOST_RECORDS).enumerate().map(part).collect())
    }

    fn render_test(&self, at: Timestamp) -> Option<MessagePart> {
        let event: Value = serde_json::from_str(&events::build_test_event(at)).ok()?;
        let body = json!({"resourceLogs": [{
            "resource": {"attributes": [build_attribute("service.name", &"mimawari".into())]},
            "scopeLogs": [{"scope": build_scope(), "logRecords": [build_log_record(&event)]}],
        }]});
        (self.signal == OtlpSignal::Logs).then(|| MessagePart::new("test", body))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let bytes = Bytes::from(part.body.to_string());
            let to = context.http(&self.client, ANSWER_LIMIT);
            let answer = to.send(false, || self.request(&bytes)).await?;
            judge_answer(&answer.body)
        })
    }
}

impl OtlpNotifier {
    fn request(&self, bytes: &Bytes) -> Result<NotifyRequest, SendError> {
        let mut request = build_post(&self.url, bytes.clone());
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(value.reveal())
                .map_err(|_| SendError::certain("a header cannot stand in a request"))?;
            value.set_sensitive(true);
            request.headers.push((name.clone(), value));
        }
        Ok(request)
    }
}

/// What a collector rejected of a request that it took: it must not be sent again as it is.
fn judge_answer(body: &[u8]) -> Result<(), SendError> {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
    let partial = &answer["partialSuccess"];
    let count = |name: &str| match &partial[name] {
        Value::String(n) => n.parse().unwrap_or(0),
        n => n.as_u64().unwrap_or(0),
    };
    match count("rejectedLogRecords") + count("rejectedDataPoints") {
        0 => Ok(()),
        n => {
            let why = partial["errorMessage"].as_str().unwrap_or_default();
            Err(SendError::refused(format!("{n} records were rejected: {why}")))
        }
    }
}

fn build_scope() -> Value {
    json!({"name": "mimawari", "version": env!("CARGO_PKG_VERSION")})
}

/// An attribute; `null` has none.
fn build_attribute(key: &str, value: &Value) -> Value {
    let value = match value {
        Value::Bool(b) => json!({"boolValue": b}),
        Value::Number(n) if n.is_i64() || n.is_u64() => json!({"intValue": n.to_string()}),
        Value::Number(n) => json!({"doubleValue": n}),
        Value::String(s) => json!({"stringValue": s}),
        other => json!({"stringValue": other.to_string()}),
    };
    json!({"key": key, "value": value})
}

fn build_resource(v: &Verdict) -> Value {
    json!({"attributes": [
        build_attribute("service.name", &"mimawari".into()),
        build_attribute("service.version", &env!("CARGO_PKG_VERSION").into()),
        build_attribute("mimawari.vantage", &v.run.vantage.as_str().into()),
    ]})
}

fn format_nanos(at: Timestamp) -> String {
    at.as_nanosecond().max(0).to_string()
}

/// An event as a log record.
fn build_log_record(event: &Value) -> Value {
    let at: Timestamp =
        event["timestamp"].as_str().and_then(|t| t.parse().ok()).unwrap_or_default();
    let severity = event["severity"].as_str().and_then(Severity::parse);
    let is_alarm = event["alarm"].as_bool().unwrap_or(false);
    // The numbers of the data model: INFO 9, WARN 13, ERROR 17, FATAL 21.
    let (number, text) = match severity.filter(|_| is_alarm) {
        None | Some(Severity::Info) => (9, "INFO"),
        Some(Severity::Low) => (11, "INFO"),
        Some(Severity::Medium) => (13, "WARN"),
        Some(Severity::High) => (17, "ERROR"),
        Some(Severity::Critical) => (21, "FATAL"),
    };
    let name = event["event"].as_str().unwrap_or_default();
    let body = match event["why"].as_str() {
        Some(why) => format!("{}: {why}", event["change"].as_str().unwrap_or_default()),
        None => name.to_owned(),
    };
    let attributes: Vec<Value> = event
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| !value.is_null() && !matches!(key.as_str(), "timestamp" | "product"))
        .map(|(key, value)| build_attribute(&format!("mimawari.{key}"), value))
        .collect();
    json!({
        "timeUnixNano": format_nanos(at),
        "observedTimeUnixNano": format_nanos(at),
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("mimawari.{name}"),
        "body": {"stringValue": body},
        "attributes": attributes,
    })
}

fn build_logs(v: &Verdict, records: &[Value]) -> Value {
    json!({"resourceLogs": [{
        "resource": build_resource(v),
        "scopeLogs": [{"scope": build_scope(), "logRecords": records}],
    }]})
}

fn build_gauges(n: &Notice<'_>) -> Value {
    let at = format_nanos(n.verdict.judged_at);
    let metrics: Vec<Value> = metrics::build_metric_families(n.verdict, &n.figures)
        .into_iter()
        .map(|family| {
            let points: Vec<Value> = family
                .samples
                .into_iter()
                .map(|(labels, value)| {
                    let attributes: Vec<Value> = labels
                        .iter()
                        .map(|(k, v)| build_attribute(k, &v.as_str().into()))
                        .collect();
                    json!({"timeUnixNano": at, "asDouble": value, "attributes": attributes})
                })
                .collect();
            json!({
                "name": format!("mimawari.{}", family.name),
                "description": family.help,
                "gauge": {"dataPoints": points},
            })
        })
        .collect();
    json!({"resourceMetrics": [{
        "resource": build_resource(n.verdict),
        "scopeMetrics": [{"scope": build_scope(), "metrics": metrics}],
    }]})
}
