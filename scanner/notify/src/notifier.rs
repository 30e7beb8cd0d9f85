//! What a notifier is: a row with its keys, the settings that are read from the configuration, and the
//! sender that is made of them with its secrets.
//!
//! A new receiver is one file in `receivers/` and one row in [`crate::KINDS`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::verdict::Verdict;
use mimawari_report::notify::{ChangeSelection, DeliveryFigures, NoticeDelay, select_run_doubt};
use serde_json::Value;
use tokio::time::Instant;

use crate::client::{ClientContext, HttpSender, RetryPolicy, SendError};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::table::TableReader;

/// A kind of notifier: its row.
#[derive(Debug)]
pub struct NotifierKind {
    /// The word as it is configured.
    pub word: &'static str,
    /// Its keys, besides those that all kinds have.
    pub keys: &'static [NotifierKey],
    /// How messages reach it.
    pub delivery: DeliverySemantics,
    /// Reads its keys. `None` after an error.
    pub read: fn(&mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>>,
}

/// A key of a `[[notify]]` table.
#[derive(Debug, Clone, Copy)]
pub struct NotifierKey {
    /// Its name.
    pub name: &'static str,
    /// Its type: `text`, `number`, `list of texts` or `true or false`.
    pub kind: &'static str,
    /// What stands where it is left out: `required`, `–`, or the value.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// How messages reach a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverySemantics {
    /// The receiver knows a message by its id, or is brought in line, so a second copy changes nothing.
    pub knows_ids: bool,
    /// Several notices that waited are sent as one message: a person reads it.
    pub merges: bool,
    /// A figure of the newest run. It never waits, since the next run writes a newer one.
    pub is_figure: bool,
    /// What happens when an answer is lost, for the documentation and `notify status`.
    pub when_in_doubt: &'static str,
}

/// A notifier of the configuration.
#[derive(Debug, Clone)]
pub struct NotifierConfig {
    /// Its name, unique: letters, digits, `-` and `_`. It names its queue.
    pub name: String,
    /// Its row.
    pub kind: &'static NotifierKind,
    /// Which changes it gets.
    pub selection: ChangeSelection,
    /// What the table says besides.
    pub settings: Arc<dyn NotifierSettings>,
}

/// What a `[[notify]]` table says. Secrets are named by the environment variable that holds them.
pub trait NotifierSettings: fmt::Debug + Send + Sync {
    /// The environment variables that hold its secrets.
    fn variables(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Whether stdout is for its lines.
    fn writes_stdout(&self) -> bool {
        false
    }

    /// Whether it verifies certificates.
    fn uses_tls(&self) -> bool {
        true
    }

    /// Makes the sender. Nothing is sent yet.
    ///
    /// # Errors
    /// A [`Failure`] that names the variable that is missing or does not fit, never what it holds.
    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure>;
}

/// Work that ends later.
pub type SendFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What renders notices for a receiver and sends them.
pub trait Notifier: fmt::Debug + Send + Sync {
    /// Whether it has something to say of a verdict.
    fn is_due(&self, v: &Verdict, selection: &ChangeSelection) -> bool {
        !selection.changes(v).is_empty()
            || select_run_doubt(v).is_some()
            || v.digest_due
            || !v.service_changes.is_empty()
    }

    /// The message of a notice, in parts that are sent in order. The same notice has the same ids.
    ///
    /// # Errors
    /// A [`SendError`] for what the receiver would refuse.
    fn render(&self, notice: &Notice<'_>) -> Result<Vec<MessagePart>, SendError>;

    /// A message that says that it is a test; `None` where it would be taken for a figure.
    fn render_test(&self, at: Timestamp) -> Option<MessagePart>;

    /// Sends one part.
    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>>;
}

/// What is to be said, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// The id of the event.
    pub event: &'a str,
    /// The verdict that it is about.
    pub verdict: &'a Verdict,
    /// Which changes of it.
    pub selection: &'a ChangeSelection,
    /// Set if it is late.
    pub delay: Option<&'a NoticeDelay>,
    /// What became of the notifications; known to figures alone, which are written last.
    pub figures: DeliveryFigures,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagePart {
    /// Its id; the same whenever the same is sent.
    pub id: String,
    /// Its content, in the form that its kind sends.
    pub body: Value,
}

impl MessagePart {
    /// A part.
    #[must_use]
    pub fn new(id: impl Into<String>, body: impl Into<Value>) -> Self {
        Self { id: id.into(), body: body.into() }
    }
}

/// What a sender needs besides the message.
#[derive(Debug)]
pub struct DeliveryContext<'a> {
    /// How patient.
    pub policy: RetryPolicy,
    /// Clock and chance.
    pub world: &'a ClientContext,
    /// No attempt goes on beyond it.
    pub deadline: Instant,
    /// What no text may show.
    pub secrets: &'a [SecretText],
    /// The newest verdict, for receivers that are brought in line with all of it; none in a test.
    pub current: Option<&'a Verdict>,
    /// Which changes.
    pub selection: &'a ChangeSelection,
}

impl DeliveryContext<'_> {
    /// Sends HTTP requests; `limit`: most bytes of an answer.
    #[must_use]
    pub fn http<'a>(&'a self, client: &'a reqwest::Client, limit: usize) -> HttpSender<'a> {
        HttpSender {
            client,
            policy: self.policy,
            world: self.world,
            deadline: self.deadline,
            secrets: self.secrets,
            limit,
        }
    }
}
