//! A Slack incoming webhook (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_report::notify::slack;

use crate::ANSWER_LIMIT;
use crate::client::{SendError, build_post};
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::table::TableReader;

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "slack",
    keys: &[NotifierKey {
        name: "webhook_env",
        kind: "text",
        default: "required",
        meaning: "The environment variable with the URL of the incoming webhook.",
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
struct SlackSettings {
    webhook_env: String,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    Some(Arc::new(SlackSettings { webhook_env: table.variable("webhook_env")? }))
}

impl NotifierSettings for SlackSettings {
    fn variables(&self) -> Vec<&str> {
        vec![&self.webhook_env]
    }

    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        let url = secrets.url(&self.webhook_env)?;
        let client = secrets.client(url.reveal())?;
        Ok(Box::new(SlackNotifier { url, client }))
    }
}

#[derive(Debug)]
struct SlackNotifier {
    url: SecretText,
    client: reqwest::Client,
}

impl Notifier for SlackNotifier {
    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let message = slack::build_message(n.verdict, n.selection, n.delay);
        Ok(message.map(|body| MessagePart::new(n.event, body)).into_iter().collect())
    }

    fn render_test(&self, _at: Timestamp) -> Option<MessagePart> {
        Some(MessagePart::new("test", slack::build_test_message()))
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
