//! What a notifier needs to be prepared: its secrets, its client, and its turn.

use std::collections::HashMap;
use std::sync::Arc;

use mimawari_base::failure::{Failure, FailureKind};
use tokio::sync::Mutex;

use crate::client::{self, check_url, is_loopback};
use crate::secret::SecretText;

/// Hands out secrets, and remembers them, so that no text shows one.
pub struct SecretReader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    name: String,
    known: Vec<SecretText>,
    clients: [Option<reqwest::Client>; 2],
    turns: HashMap<String, Arc<Mutex<()>>>,
}

impl<'a> SecretReader<'a> {
    /// Reads from an environment.
    pub(crate) fn new(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            environment,
            name: String::new(),
            known: Vec::new(),
            clients: [None, None],
            turns: HashMap::new(),
        }
    }

    /// Goes on with another notifier.
    pub(crate) fn begin(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Every secret that was handed out, the longest first: a part of a URL must not break the whole of
    /// it.
    pub(crate) fn into_known(self) -> Vec<SecretText> {
        let mut secrets = self.known;
        secrets.sort_by_key(|s| std::cmp::Reverse(s.reveal().len()));
        secrets
    }

    /// The name of the notifier that is made ready.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret in an environment variable.
    ///
    /// # Errors
    /// A [`Failure`] where it is not set.
    pub fn secret(&mut self, variable: &str) -> Result<SecretText, Failure> {
        let text = (self.environment)(variable).filter(|t| !t.trim().is_empty());
        let secret = text.map(|t| SecretText::new(t.trim())).ok_or_else(|| {
            Failure::new(format!(
                "the environment variable {variable} of the notifier `{}` is not set",
                self.name
            ))
            .kind(FailureKind::SecretMissing)
            .help("set it where mimawari runs, or take the [[notify]] out; nothing was sent")
        })?;
        self.known.push(secret.clone());
        Ok(secret)
    }

    /// The secret URL in an environment variable.
    ///
    /// # Errors
    /// A [`Failure`] where it is not set, or is no URL that may be sent to.
    pub fn url(&mut self, variable: &str) -> Result<SecretText, Failure> {
        let url = self.secret(variable)?;
        check_url(url.reveal()).map_err(|e| {
            Failure::new(format!("the environment variable {variable}: {e}"))
                .help("set it to the https URL of the webhook")
        })?;
        self.known.extend(collect_secret_parts(&url));
        Ok(url)
    }

    /// A plain text of the environment, which is a secret, too.
    pub fn optional(&mut self, variable: &str) -> Option<SecretText> {
        let secret = (self.environment)(variable).map(SecretText::new)?;
        self.known.push(secret.clone());
        Some(secret)
    }

    /// Remembers one more secret.
    pub fn remember(&mut self, secret: SecretText) {
        self.known.push(secret);
    }

    /// The client for a URL; one for a loopback address never uses a proxy.
    ///
    /// # Errors
    /// A [`Failure`] where the system has no root certificates.
    pub fn client(&mut self, url: &str) -> Result<reqwest::Client, Failure> {
        let loopback = is_loopback(url);
        let slot = &mut self.clients[usize::from(loopback)];
        if let Some(client) = slot {
            return Ok(client.clone());
        }
        Ok(slot.insert(client::build_client(loopback)?).clone())
    }

    /// What notifiers of one target take turns by.
    pub fn turn(&mut self, target: &str) -> Arc<Mutex<()>> {
        Arc::clone(self.turns.entry(target.to_owned()).or_default())
    }
}

/// Those parts of a secret URL that are enough to use it.
fn collect_secret_parts(url: &SecretText) -> Vec<SecretText> {
    let mut all = Vec::new();
    if let Ok(parsed) = url.reveal().parse::<reqwest::Url>() {
        all.push(SecretText::new(parsed.path()));
        all.extend(parsed.query().map(SecretText::new));
        // A word such as `hook` is none.
        let long = |s: &&str| s.len() >= 12;
        all.extend(parsed.path().split('/').filter(long).map(SecretText::new));
    }
    all
}
