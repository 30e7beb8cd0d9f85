//! The signature of a webhook, in the manner of Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! To verify: take the headers `webhook-id`, `webhook-timestamp` and `webhook-signature` and the body
//! as it came. Refuse a timestamp (seconds of Unix time) more than five minutes away. Compute
//! HMAC-SHA256 over `id.timestamp.body` with the key, encode it in base64, and compare it in constant
//! time with each of the space-separated signatures, without its `v1,`. Remember ids for a day: one
//! that comes twice is the same message, tried again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::hmac;

use super::secret::SecretText;

/// Shortest key, bytes.
const SHORTEST: usize = 16;

/// The key out of its text: base64 after `whsec_`, otherwise the text itself.
///
/// # Errors
/// What is wrong, without the key.
pub fn key(secret: &SecretText) -> Result<hmac::Key, &'static str> {
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
        let key = key(&SecretText::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn short_keys_are_refused() {
        assert!(key(&SecretText::new("short")).is_err());
        assert!(key(&SecretText::new("whsec_!!!!")).is_err());
        assert_eq!(format!("{:?}", SecretText::new("not-a-real-secret")), "[secret]");
    }
}
