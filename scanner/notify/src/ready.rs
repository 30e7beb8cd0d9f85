//! Notifiers with their secrets, ready to send.

use mimawari_base::failure::Failure;
use mimawari_report::notify::ChangeSelection;

use crate::client::{ClientContext, RetryPolicy};
use crate::notifier::{Notifier, NotifierConfig};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::vault;

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
        let held = vault::resolve_environment(notifiers, variable, &world).await?;
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
        let mut reader = SecretReader::new(&environment);
        let mut all = Vec::new();
        for n in notifiers {
            reader.begin(&n.name);
            let sender = n.settings.prepare(&mut reader)?;
            let (name, kind, selection) = (n.name.clone(), n.kind, n.selection.clone());
            all.push(ReadyNotifier { name, kind, selection, sender });
        }
        let secrets = reader.into_known();
        Ok(Self { all, policy: RetryPolicy::default(), world, secrets })
    }
}
