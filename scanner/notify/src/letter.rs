//! Letters: messages in a file. Versions before the outbox left what they could not send beside the run,
//! and a message that its receiver refuses is kept in the same form beside the state.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_base::files::write_atomically;
use mimawari_probes::format::{NEWER_HELP, VersionedFormat, read_document};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::SendError;
use super::notifier::MessagePart;

/// Major version of the file. Its minor version is 0, which is not written.
const VERSION: u32 = 1;

/// A message that was not sent. It holds no secret: URLs and keys are in the environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndeliveredMessage {
    /// Format version.
    pub version: u32,
    /// Kind of the notifier.
    pub kind: String,
    /// Its name.
    pub notifier: String,
    /// The event that was claimed for it.
    pub event: String,
    /// When it was given up.
    pub at: Timestamp,
    /// Why.
    pub why: String,
    /// Whether it may have arrived all the same.
    pub doubtful: bool,
    /// What was to be sent: a list of parts `{"id", "body"}`. Former letters hold one body, or a list of
    /// bodies; those for GitHub hold nothing, since issues are made of the verdict.
    pub payload: Value,
}

impl VersionedFormat for UndeliveredMessage {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

impl UndeliveredMessage {
    /// A letter.
    #[must_use]
    pub fn new(
        kind: &str,
        notifier: &str,
        event: &str,
        at: Timestamp,
        fault: &SendError,
        payload: Value,
    ) -> Self {
        Self {
            version: VERSION,
            kind: kind.to_owned(),
            notifier: notifier.to_owned(),
            event: event.to_owned(),
            at,
            why: fault.why.clone(),
            doubtful: fault.doubtful,
            payload,
        }
    }

    /// Parts as the payload of a letter.
    #[must_use]
    pub fn payload_of(parts: &[MessagePart]) -> Value {
        parts.iter().map(|p| serde_json::json!({"id": p.id, "body": p.body})).collect()
    }

    /// The parts of its payload, in whatever form that is.
    #[must_use]
    pub fn parts(&self) -> Vec<MessagePart> {
        let bodies = match &self.payload {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        let part = |(n, body): (usize, Value)| match (&body["id"], body.get("body")) {
            (Value::String(id), Some(own)) => MessagePart::new(id.clone(), own.clone()),
            _ => MessagePart::new(format!("{}-{}", self.event, n + 1), body),
        };
        bodies.into_iter().enumerate().map(part).collect()
    }

    /// Writes it into `undelivered/` of a run folder.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn write(&self, run: &Path) -> std::io::Result<PathBuf> {
        let dir = run.join("undelivered");
        fs::create_dir_all(&dir)?;
        // The same run judged twice may leave two letters for one notifier.
        let mut path = dir.join(format!("{}-{}.json", self.kind, self.notifier));
        if path.exists() {
            path = dir.join(format!("{}-{}-{}.json", self.kind, self.notifier, self.event));
        }
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        write_atomically(&path, &text)?;
        Ok(path)
    }
}

/// The letters of a run, by file name.
///
/// # Errors
/// A [`Failure`] for a folder or a file that cannot be read.
pub fn read_all(run: &Path) -> Result<Vec<(PathBuf, UndeliveredMessage)>> {
    let dir = run.join("undelivered");
    let failed = |path: &Path| {
        Failure::new(format!("cannot read {}", path.display()))
            .help("name a run folder in which a notifier left what it could not send")
    };
    if !run.is_dir() {
        return Err(failed(run).into());
    }
    let mut out = Vec::new();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(out),
        Err(e) => return Err(failed(&dir).source(e).into()),
    };
    for entry in entries {
        let path = entry.map_err(|e| failed(&dir).source(e))?.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|e| failed(&path).source(e))?;
        let letter: UndeliveredMessage = read_document(text.as_bytes()).map_err(|fault| {
            let help = fault.is_newer().then_some(NEWER_HELP);
            let failure = failed(&path).source(fault);
            match help {
                Some(help) => failure.help(help),
                None => failure,
            }
        })?;
        out.push((path, letter));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}
