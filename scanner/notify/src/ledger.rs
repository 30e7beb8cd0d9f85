//! What is on record of deliveries: one small object a receiver, `notified/NAME/queue.json`, beside the
//! state, in a folder or on S3.
//!
//! The record has two uses. It is a lease: one process at a time sends to a receiver, so that order is
//! kept. And it says which notices were delivered, which are on their way, and what failed. It is
//! replaced only on the condition that nobody else replaced it, so a process whose lease ended cannot
//! write over what another one noted.

use std::future::Future;
use std::io;

use jiff::{SignedDuration, Timestamp};
use mimawari_probes::format::{VersionedFormat, read_document};
use mimawari_store::{ObjectFolder, SeenObjects, StoreLocation, WriteOutcome};
use serde::{Deserialize, Serialize};

/// Major version of the record. Its minor version is 0, which is not written.
const VERSION: u32 = 1;
/// A lease ends so long after it was last renewed. A sender needs less for one message.
pub const LEASE: SignedDuration = SignedDuration::from_secs(150);
/// Delivered events that are remembered. They have to outlive their notice in the state, which leaves
/// with the next generation, and a state that is rolled back.
const REMEMBERED: usize = 300;
/// Messages that were set aside and are named.
const NAMED: usize = 50;

/// What is on record of one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Format version.
    pub version: u32,
    /// Who sends just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<QueueLease>,
    /// The events of the message that is on its way, or that last failed, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sending: Vec<String>,
    /// The parts of that message that arrived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrived: Vec<String>,
    /// Attempts of that message that failed.
    #[serde(default)]
    pub failures: u32,
    /// Those of them after which it may have arrived all the same.
    #[serde(default)]
    pub doubtful: u32,
    /// Those of them in which the receiver refused the message itself.
    #[serde(default)]
    pub refusals: u32,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// No attempt before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When something was last delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// The events that were delivered or set aside, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivered: Vec<String>,
    /// Messages that the receiver refused, and that are kept in `notified/NAME/refused/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<String>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLease {
    /// Drawn by the process that holds it.
    pub holder: String,
    /// When it ends.
    pub until: Timestamp,
}

impl Default for QueueRecord {
    fn default() -> Self {
        Self {
            version: VERSION,
            lease: None,
            sending: Vec::new(),
            arrived: Vec::new(),
            failures: 0,
            doubtful: 0,
            refusals: 0,
            why: None,
            failed_at: None,
            not_before: None,
            delivered_at: None,
            delivered: Vec::new(),
            set_aside: Vec::new(),
        }
    }
}

impl VersionedFormat for QueueRecord {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

impl QueueRecord {
    /// Whether an event was delivered, or set aside.
    #[must_use]
    pub fn is_delivered(&self, event: &str) -> bool {
        self.delivered.iter().rev().any(|e| e == event)
    }

    /// Whether somebody sends just now.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|l| l.until > now && l.until <= now + LEASE * 2)
    }

    /// Notes that the message that was on its way has arrived, or was set aside.
    pub(crate) fn note_end(&mut self) {
        self.delivered.append(&mut self.sending);
        let old = self.delivered.len().saturating_sub(REMEMBERED);
        self.delivered.drain(..old);
        self.arrived.clear();
        (self.failures, self.doubtful, self.refusals) = (0, 0, 0);
        (self.why, self.failed_at, self.not_before) = (None, None, None);
    }

    /// Notes that nobody is to get these events, and says how many of them were not delivered.
    pub fn give_up<'a>(&mut self, events: impl Iterator<Item = &'a str>) -> usize {
        let open: Vec<String> =
            events.filter(|e| !self.is_delivered(e)).map(str::to_owned).collect();
        let dropped = open.len();
        self.sending = open;
        self.lease = None;
        self.note_end();
        dropped
    }

    pub(crate) fn note_set_aside(&mut self, event: &str) {
        self.set_aside.push(event.to_owned());
        let old = self.set_aside.len().saturating_sub(NAMED);
        self.set_aside.drain(..old);
    }
}

/// How a record was when it was read.
#[derive(Debug, Clone, Default)]
pub struct SeenRecord(Option<SeenObjects>);

/// Where records are kept.
pub trait DeliveryLog: Send + Sync {
    /// The record of a receiver.
    fn read(
        &self,
        receiver: &str,
    ) -> impl Future<Output = io::Result<(QueueRecord, SeenRecord)>> + Send;

    /// Replaces a record that still is as it was seen; `None` if it is not.
    fn replace(
        &self,
        receiver: &str,
        record: &QueueRecord,
        seen: SeenRecord,
    ) -> impl Future<Output = io::Result<Option<SeenRecord>>> + Send;

    /// Keeps a message that the receiver refused.
    fn keep_refused(
        &self,
        receiver: &str,
        event: &str,
        message: Vec<u8>,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

/// Records beside the state.
#[derive(Debug, Clone)]
pub struct StateLedger {
    objects: ObjectFolder,
}

impl StateLedger {
    /// In `notified/` of where the state is.
    ///
    /// # Errors
    /// A [`mimawari_base::failure::Failure`] when it cannot be reached.
    pub fn open(state: &StoreLocation) -> anyhow::Result<Self> {
        Ok(Self { objects: ObjectFolder::open(state)? })
    }

    /// As [`Self::open`], to read alone: a folder that is not there is not made.
    ///
    /// # Errors
    /// A [`mimawari_base::failure::Failure`] when it cannot be reached.
    pub fn look(state: &StoreLocation) -> anyhow::Result<Self> {
        Ok(Self { objects: ObjectFolder::look(state)? })
    }
}

fn encode_file_name(receiver: &str) -> String {
    format!("notified/{receiver}/queue.json")
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn to_io_error(e: anyhow::Error) -> io::Error {
    io::Error::other(mimawari_base::failure::render_line(&e))
}

impl DeliveryLog for StateLedger {
    async fn read(&self, receiver: &str) -> io::Result<(QueueRecord, SeenRecord)> {
        let name = encode_file_name(receiver);
        let Some((text, seen)) = self.objects.get(&name).await.map_err(to_io_error)? else {
            return Ok((QueueRecord::default(), SeenRecord::default()));
        };
        let record = read_document(&text)
            .map_err(|fault| io::Error::other(format!("{} {fault}", self.objects.shown(&name))))?;
        Ok((record, SeenRecord(Some(seen))))
    }

    async fn replace(
        &self,
        receiver: &str,
        record: &QueueRecord,
        seen: SeenRecord,
    ) -> io::Result<Option<SeenRecord>> {
        let name = encode_file_name(receiver);
        let text = serde_json::to_vec(record)?;
        let written = self.objects.replace_seen(&name, text.into(), seen.0).await;
        match written.map_err(to_io_error)? {
            (WriteOutcome::Done, seen) => Ok(Some(SeenRecord(seen))),
            (WriteOutcome::Conflict, _) => Ok(None),
        }
    }

    async fn keep_refused(&self, receiver: &str, event: &str, message: Vec<u8>) -> io::Result<()> {
        let name = format!("notified/{receiver}/refused/{event}.json");
        self.objects.overwrite(&name, message.into()).await.map_err(to_io_error)
    }
}
