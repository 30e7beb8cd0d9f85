//! Secrets: read from the environment alone, and shown to nobody.

use std::fmt;

/// A secret. It has no way onto a screen or into a log.
#[derive(Clone)]
pub struct SecretText(String);

impl SecretText {
    /// Takes a text for a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A foreign text without the secret: a server may say it back.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        // What is shorter could be any word, and hiding it would show what it is.
        if self.0.len() < 6 { text.to_owned() } else { text.replace(&self.0, "[secret]") }
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
