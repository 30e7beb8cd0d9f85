//! A webhook of one's own, signed in the manner of Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! To verify: take the headers `webhook-id`, `webhook-timestamp` and `webhook-signature` and the body
//! as it came. Refuse a timestamp (seconds of Unix time) more than five minutes away. Compute
//! HMAC-SHA256 over `id.timestamp.body` with the key, encode it in base64, and compare it in constant
//! time with each of the space-separated signatures, without its `v1,`. Remember ids for a day: one
//! that comes twice is the same message, tried again.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_report::notify::webhook;
use ring::hmac;

use crate::ANSWER_LIMIT;
use crate::client::{NotifyRequest, SendError, build_post};
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::table::TableReader;

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "webhook",
    keys: &[
        NotifierKey {
            name: "url_env",
            kind: "text",
            default: "required",
            meaning: "The environment variable with the URL.",
        },
        NotifierKey {
            name: "secret_env",
            kind: "text",
            default: "required",
            meaning: "The environment variable with the key of the signature.",
        },
    ],
    delivery: DeliverySemantics {
        knows_ids: true,
        merges: false,
        is_figure: false,
        when_in_doubt: "it is sent again under the same `webhook-id`, which the receiver drops",
    },
    read: |table| read(table),
};

#[derive(Debug)]
struct WebhookSettings {
    url_env: String,
    secret_env: String,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let (url, secret) = (table.variable("url_env"), table.variable("secret_env"));
    Some(Arc::new(WebhookSettings { url_env: url?, secret_env: secret? }))
}

impl NotifierSettings for WebhookSettings {
    fn variables(&self) -> Vec<&str> {
        vec![&self.url_env, &self.secret_env]
    }

    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        let variable = &self.secret_env;
        let (url, secret) = (secrets.url(&self.url_env)?, secrets.secret(variable)?);
        let key = parse_signing_key(&secret).map_err(|e| {
            Failure::new(format!("the environment variable {variable} holds no key: {e}")).help(
                "use 24 random bytes or more, such as of `openssl rand -base64 32` after `whsec_`",
            )
        })?;
        // Also without `whsec_`, in case somebody shows it so.
        secrets.remember(SecretText::new(secret.reveal().trim_start_matches("whsec_")));
        let client = secrets.client(url.reveal())?;
        Ok(Box::new(WebhookNotifier { url, key, client }))
    }
}

#[derive(Debug)]
struct WebhookNotifier {
    url: SecretText,
    key: hmac::Key,
    client: reqwest::Client,
}

impl Notifier for WebhookNotifier {
    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let posts = webhook::build_posts(n.event, n.verdict, n.selection, n.delay);
        Ok(posts.into_iter().map(|p| MessagePart::new(p.id, p.body)).collect())
    }

    fn render_test(&self, at: Timestamp) -> Option<MessagePart> {
        let test = webhook::build_test_post(&format!("test-{}", at.as_millisecond()));
        Some(MessagePart::new(test.id, test.body))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let bytes = Bytes::from(part.body.to_string());
            let make = || self.request(&part.id, &bytes, (context.world.now)());
            // The receiver knows a message by its id, so it may come twice.
            context.http(&self.client, ANSWER_LIMIT).send(true, make).await.map(drop)
        })
    }
}

impl WebhookNotifier {
    fn request(&self, id: &str, bytes: &Bytes, at: Timestamp) -> Result<NotifyRequest, SendError> {
        let mut request = build_post(&self.url, bytes.clone());
        let values = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at.as_second().to_string()),
            ("webhook-signature", sign(&self.key, id, at, bytes)),
        ];
        for (name, value) in values {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| SendError::certain("its id cannot stand in a header"))?;
            request.headers.push((HeaderName::from_static(name), value));
        }
        Ok(request)
    }
}

/// Shortest key, bytes.
const SHORTEST: usize = 16;

/// The key out of its text: base64 after `whsec_`, otherwise the text itself.
///
/// # Errors
/// What is wrong, without the key.
pub fn parse_signing_key(secret: &SecretText) -> Result<hmac::Key, &'static str> {
    let bytes = match secret.reveal().strip_prefix("whsec_") {
        Some(text) => STANDARD.decode(text).map_err(|_| "after `whsec_` it is not base64")?,
        None => secret.reveal().as_bytes().to_vec(),
    };
    if bytes.len() < SHORTEST {
        return Err("it is shorter than 16 bytes");
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The value of `webhook-signature`.
#[must_use]
pub fn sign(key: &hmac::Key, id: &str, at: Timestamp, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{}.", at.as_second()).as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        // The vector that the reference libraries share.
        let key =
            parse_signing_key(&SecretText::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn short_keys_are_refused() {
        assert!(parse_signing_key(&SecretText::new("short")).is_err());
        assert!(parse_signing_key(&SecretText::new("whsec_!!!!")).is_err());
        assert_eq!(format!("{:?}", SecretText::new("not-a-real-secret")), "[secret]");
    }
}
