//! A test message, and another try for what could not be sent.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_drift::verdict::Verdict;
use mimawari_probes::format::{NEWER_HELP, read_document};
use serde_json::Value;

use tokio::time::Instant;

use super::Notifiers;
use super::client::SendError;
use super::letter::{self, UndeliveredMessage};

impl Notifiers {
    /// Sends a message that says it is none to each. A line for each, and [`ExitStatus::Error`] if one was
    /// not sent.
    pub async fn test(&self) -> (String, ExitStatus) {
        let mut out = String::new();
        let mut status = ExitStatus::Clean;
        for n in &self.all {
            let line = match n.sender.render_test((self.world.now)()) {
                None => "not tested: it writes figures alone".to_owned(),
                Some(part) => {
                    let deadline = Instant::now() + self.policy.total;
                    match self.send_part(n, &part, None, deadline).await {
                        Ok(()) => "sent".to_owned(),
                        Err(fault) => {
                            status = ExitStatus::Error;
                            format!("NOT sent: {fault}")
                        }
                    }
                }
            };
            let _ = writeln!(out, "{} {}: {line}", n.kind.word, n.name);
        }
        if self.all.is_empty() {
            out.push_str("no notifier is configured\n");
        }
        (out, status)
    }

    /// Sends the letters of a run. A line for each, and [`ExitStatus::Error`] if one is left.
    ///
    /// # Errors
    /// A [`Failure`] for what cannot be read.
    pub async fn retry(&self, run: &Path, doubtful: bool) -> Result<(String, ExitStatus)> {
        let letters = letter::read_all(run)?;
        let mut out = String::new();
        let mut status = ExitStatus::Clean;
        for (path, letter) in &letters {
            let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into());
            let line = match self.again(run, path, letter, doubtful).await? {
                Ok(()) => "sent".to_owned(),
                Err(why) => {
                    status = ExitStatus::Error;
                    format!("NOT sent: {why}")
                }
            };
            let _ = writeln!(out, "{name}: {line}");
        }
        if letters.is_empty() {
            let _ = writeln!(out, "{}: nothing is left to send", run.display());
        }
        Ok((out, status))
    }

    async fn again(
        &self,
        run: &Path,
        path: &Path,
        letter: &UndeliveredMessage,
        doubtful: bool,
    ) -> Result<Result<(), String>> {
        let Some(n) =
            self.all.iter().find(|n| n.name == letter.notifier && n.kind.word == letter.kind)
        else {
            return Ok(Err("the configuration has no such notifier any more".to_owned()));
        };
        if letter.doubtful && !doubtful {
            return Ok(Err(
                "it may have arrived; look, and add --doubtful to send it all the same".to_owned(),
            ));
        }
        let verdict = if letter.payload.is_null() { Some(read_verdict(run)?) } else { None };
        // Of two who try, one finds the file.
        let taken = path.with_extension("sending");
        if let Err(e) = fs::rename(path, &taken) {
            return Ok(Err(format!("it cannot be taken: {e}")));
        }
        let mut parts = letter.parts();
        let deadline = Instant::now() + self.policy.total;
        let sent = async {
            while let Some(part) = parts.first() {
                self.send_part(n, part, verdict.as_ref(), deadline).await?;
                parts.remove(0);
            }
            Ok(())
        };
        let Err(fault): Result<(), SendError> = sent.await else {
            let _ = fs::remove_file(&taken);
            return Ok(Ok(()));
        };
        let payload = match letter.payload {
            Value::Null => Value::Null,
            _ => UndeliveredMessage::payload_of(&parts),
        };
        let (kind, at) = (n.kind.word, (self.world.now)());
        let next = UndeliveredMessage::new(kind, &n.name, &letter.event, at, &fault, payload);
        let why = match next.write(run) {
            Ok(_) => fs::remove_file(&taken).map_or_else(|e| e.to_string(), |()| String::new()),
            Err(e) => format!("; it stays as {}: {e}", taken.display()),
        };
        Ok(Err(format!("{fault}{why}")))
    }
}

fn read_verdict(run: &Path) -> Result<Verdict> {
    let path = run.join("verdict.json");
    let failed = || {
        Failure::new(format!("cannot read {}", path.display())).help(
            "issues are made of the run's verdict.json; judge the run again with `mimawari judge`",
        )
    };
    let text = fs::read_to_string(&path).map_err(|e| failed().source(e))?;
    Ok(read_document(text.as_bytes()).map_err(|fault| {
        let newer = fault.is_newer();
        let failure = failed().source(fault);
        if newer { failure.help(NEWER_HELP) } else { failure }
    })?)
}
