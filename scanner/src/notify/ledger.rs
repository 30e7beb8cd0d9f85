//! At most once: who has told what.
//!
//! Before a message is sent its event is claimed, and of all runs that try one succeeds. A claim without
//! an end is a process that died between the two; nobody knows whether the message was sent, so it is
//! not sent again, and the next run says so.

use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

/// A claim is without an end, and not merely under way, after this time.
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(5);
/// Claims are kept so long.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Where claims are kept. The folder of the state, or an object store.
pub trait Ledger: Send + Sync {
    /// Claims an event for a notifier; `false` if it was claimed before.
    fn claim(
        &self,
        notifier: &str,
        event: &str,
        at: Timestamp,
    ) -> impl Future<Output = io::Result<bool>> + Send;

    /// Tells the end of a claim, in a word.
    fn end(
        &self,
        notifier: &str,
        event: &str,
        how: &str,
        at: Timestamp,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// The events whose claims have no end, and gives them one: each is told once.
    fn unfinished(
        &self,
        notifier: &str,
        at: Timestamp,
    ) -> impl Future<Output = io::Result<Vec<String>>> + Send;
}

/// A folder with two small files an event: `EVENT.claim` and `EVENT.end`.
#[derive(Debug, Clone)]
pub struct FolderLedger {
    dir: PathBuf,
}

impl FolderLedger {
    /// In `notified/` of this folder, which need not be there yet.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { dir: state.join("notified") }
    }

    fn create(path: &Path, text: &str) -> io::Result<bool> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Ledger for FolderLedger {
    async fn claim(&self, notifier: &str, event: &str, at: Timestamp) -> io::Result<bool> {
        let path = self.dir.join(notifier).join(format!("{event}.claim"));
        Self::create(&path, &format!("{at}\n"))
    }

    async fn end(&self, notifier: &str, event: &str, how: &str, at: Timestamp) -> io::Result<()> {
        let path = self.dir.join(notifier).join(format!("{event}.end"));
        Self::create(&path, &format!("{how} {at}\n")).map(drop)
    }

    async fn unfinished(&self, notifier: &str, at: Timestamp) -> io::Result<Vec<String>> {
        let dir = self.dir.join(notifier);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut out = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "claim") {
                continue;
            }
            let Some(event) = path.file_stem().and_then(|s| s.to_str()) else { continue };
            // A claim that was cut short by a full disk has no time, and no end either.
            let text = fs::read_to_string(&path).unwrap_or_default();
            let claimed = text.trim().parse().unwrap_or(Timestamp::MIN);
            let end = path.with_extension("end");
            let age = at.duration_since(claimed);
            if end.exists() {
                if age > KEPT && claimed != Timestamp::MIN {
                    // What is left of a pair is dealt with by the next run.
                    let _ = fs::remove_file(&path).and_then(|()| fs::remove_file(&end));
                }
            } else if age > UNDER_WAY {
                out.push(event.to_owned());
                self.end(notifier, event, "unknown", at).await?;
            }
        }
        out.sort();
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + minute * 60).unwrap()
    }

    #[tokio::test]
    async fn an_event_is_claimed_once_and_a_lost_one_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let l = FolderLedger::new(dir.path());
        assert!(l.unfinished("slack", at(0)).await.unwrap().is_empty());
        assert!(l.claim("slack", "a", at(0)).await.unwrap());
        assert!(!l.claim("slack", "a", at(1)).await.unwrap());
        assert!(l.claim("other", "a", at(0)).await.unwrap());
        assert!(l.claim("slack", "b", at(0)).await.unwrap());
        l.end("slack", "b", "sent", at(0)).await.unwrap();
        assert!(l.unfinished("slack", at(2)).await.unwrap().is_empty(), "under way");
        assert_eq!(l.unfinished("slack", at(10)).await.unwrap(), ["a"]);
        assert!(l.unfinished("slack", at(20)).await.unwrap().is_empty());
        // After a season both are gone; what is told then is another event.
        l.unfinished("slack", at(60 * 24 * 100)).await.unwrap();
        assert_eq!(fs::read_dir(dir.path().join("notified/slack")).unwrap().count(), 0);
    }
}
