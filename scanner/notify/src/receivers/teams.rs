//! Microsoft Teams: an adaptive card to the URL of a workflow "Post to a channel when a webhook request is
//! received" (<https://learn.microsoft.com/en-us/connectors/teams/>,
//! <https://adaptivecards.io/explorer/AdaptiveCard.html>). Teams takes messages of 28 KB.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_report::notify::plain;
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

/// Bytes of the blocks of a card: with what is around them a card stays below 28 KB.
const MOST_BYTES: usize = 24_000;

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "teams",
    keys: &[NotifierKey {
        name: "webhook_env",
        kind: "text",
        default: "required",
        meaning: "The environment variable with the URL of the workflow.",
    }],
    delivery: DeliverySemantics {
        knows_ids: false,
        merges: true,
        is_figure: false,
        when_in_doubt: "it is sent again, marked as a repetition, at most once an hour and then ever more rarely",
    },
    read: |table| read(table),
};

#[derive(Debug)]
struct TeamsSettings {
    webhook_env: String,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    Some(Arc::new(TeamsSettings { webhook_env: table.variable("webhook_env")? }))
}

impl NotifierSettings for TeamsSettings {
    fn variables(&self) -> Vec<&str> {
        vec![&self.webhook_env]
    }

    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        let url = secrets.url(&self.webhook_env)?;
        let client = secrets.client(url.reveal())?;
        Ok(Box::new(TeamsNotifier { url, client }))
    }
}

#[derive(Debug)]
struct TeamsNotifier {
    url: SecretText,
    client: reqwest::Client,
}

impl Notifier for TeamsNotifier {
    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let text = plain::render_text(n.verdict, n.selection, n.delay);
        let report = n.selection.report(n.verdict);
        Ok(vec![MessagePart::new(n.event, build_adaptive_card(&text, report.as_deref()))])
    }

    fn render_test(&self, _at: Timestamp) -> Option<MessagePart> {
        let text = "Test message of mimawari\n\nNothing was scanned and nothing found.";
        Some(MessagePart::new("test", build_adaptive_card(text, None)))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let bytes = Bytes::from(part.body.to_string());
            let to = context.http(&self.client, ANSWER_LIMIT);
            to.send(false, || Ok(build_post(&self.url, bytes.clone()))).await.map(drop)
        })
    }
}

/// The first line as a heading, and the rest line by line. A `TextBlock` reads a part of Markdown, in
/// which foreign text could link, so what Markdown is made of is escaped.
fn build_adaptive_card(text: &str, report: Option<&str>) -> Value {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let mut left = MOST_BYTES;
    let mut body = vec![
        json!({"type": "TextBlock", "size": "Large", "weight": "Bolder", "wrap": true, "text": escape(heading)}),
    ];
    for line in lines.filter(|l| !l.trim().is_empty()) {
        let block =
            json!({"type": "TextBlock", "wrap": true, "spacing": "Small", "text": escape(line)});
        let Some(rest) = left.checked_sub(block.to_string().len() + 1) else {
            body.push(
                json!({"type": "TextBlock", "wrap": true, "text": "The rest is in the report."}),
            );
            break;
        };
        left = rest;
        body.push(block);
    }
    let actions: Vec<Value> = report
        .filter(|url| url.starts_with("https://"))
        .map(|url| json!({"type": "Action.OpenUrl", "title": "Report of the run", "url": url}))
        .into_iter()
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions,
            },
        }],
    })
}

fn escape(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 8);
    for c in line.trim_end().chars() {
        if matches!(c, '\\' | '*' | '_' | '[' | ']' | '(' | ')' | '`' | '#' | '<' | '>' | '|' | '~')
        {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_bounded_and_its_text_is_inert() {
        let text = format!(
            "mimawari: 1 new\n\n- [click](https://evil.example) {}\n",
            "長い\n".repeat(20_000)
        );
        let card = build_adaptive_card(&text, Some("https://reports.example.jp/r"));
        assert!(card.to_string().len() < 28 * 1024, "{}", card.to_string().len());
        let content = &card["attachments"][0]["content"];
        assert_eq!(content["body"][0]["text"], "mimawari: 1 new");
        assert_eq!(content["body"][1]["text"], "- \\[click\\]\\(https://evil.example\\) 長い");
        assert_eq!(content["actions"][0]["url"], "https://reports.example.jp/r");
    }
}
