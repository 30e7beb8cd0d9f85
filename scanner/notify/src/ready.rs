//! Notifiers with their secrets, ready to send.

use std::collections::HashMap;
use std::sync::Arc;

use mimawari_base::failure::{Failure, FailureKind};
use tokio::sync::Mutex;

use crate::client::{self, ClientContext, RetryPolicy, check_url, is_loopback};
use crate::notifier::{Notifier, NotifierConfig};
use crate::secret::SecretText;
use crate::vault;
use mimawari_report::notify::ChangeSelection;

/// The notifiers of a configuration, with their secrets, ready to send.
#[derive(Debug)]
pub struct Notifiers {
    pub(crate) all: Vec<ReadyNotifier>,
    /// How patient sending is.
    pub policy: RetryPolicy,
    pub(crate) world: ClientContext,
    /// Of all notifiers: no text that any of them shows may hold one.
    pub(crate) secrets: Vec<SecretText>,
}

/// A notifier with what it needs.
#[derive(Debug)]
pub(crate) struct ReadyNotifier {
    pub(crate) name: String,
    pub(crate) kind: &'static crate::NotifierKind,
    pub(crate) selection: ChangeSelection,
    pub(crate) sender: Box<dyn Notifier>,
}

/// Hands out secrets, and remembers them, so that no text shows one.
pub struct SecretReader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    name: String,
    known: Vec<SecretText>,
    clients: [Option<reqwest::Client>; 2],
    turns: HashMap<String, Arc<Mutex<()>>>,
}

impl SecretReader<'_> {
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
        self.known.extend(parts(&url));
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
        Ok(slot.insert(client::client(loopback)?).clone())
    }

    /// What notifiers of one target take turns by.
    pub fn turn(&mut self, target: &str) -> Arc<Mutex<()>> {
        Arc::clone(self.turns.entry(target.to_owned()).or_default())
    }
}

impl Notifiers {
    /// Makes ready what the configuration names, by the environment of this process. A variable may
    /// name a secret of AWS Secrets Manager instead of holding it.
    ///
    /// # Errors
    /// As [`Self::ready`]; a secret that cannot be had.
    pub async fn from_environment(
        notifiers: &[NotifierConfig],
        world: ClientContext,
    ) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        let held = vault::environment(notifiers, variable, &world).await?;
        Self::ready(notifiers, |name| held.get(name).cloned(), world)
    }

    /// Makes ready what the configuration names. Nothing is sent yet.
    ///
    /// # Errors
    /// A [`Failure`] that names the variable that is missing or holds no URL or key, never what it
    /// holds.
    pub fn ready(
        notifiers: &[NotifierConfig],
        environment: impl Fn(&str) -> Option<String>,
        world: ClientContext,
    ) -> Result<Self, Failure> {
        let mut reader = SecretReader {
            environment: &environment,
            name: String::new(),
            known: Vec::new(),
            clients: [None, None],
            turns: HashMap::new(),
        };
        let mut all = Vec::new();
        for n in notifiers {
            reader.name.clone_from(&n.name);
            let sender = n.settings.prepare(&mut reader)?;
            let (name, kind, selection) = (n.name.clone(), n.kind, n.selection.clone());
            all.push(ReadyNotifier { name, kind, selection, sender });
        }
        let mut secrets = reader.known;
        // The longest first: a part of a URL must not break the whole of it.
        secrets.sort_by_key(|s| std::cmp::Reverse(s.reveal().len()));
        Ok(Self { all, policy: RetryPolicy::default(), world, secrets })
    }
}

/// Those parts of a secret URL that are enough to use it.
fn parts(url: &SecretText) -> Vec<SecretText> {
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
