//! At most once: who has told what.
//!
//! Before a message is sent its event is claimed, and of all runs that try one succeeds. A claim without
//! an end is a process that died between the two; nobody knows whether the message was sent, so it is
//! not sent again, and the next run says so.

use std::collections::HashSet;
use std::future::Future;
use std::io;

use jiff::{SignedDuration, Timestamp};
use mimawari_store::{ObjectFolder, StoreLocation, WriteOutcome};

/// A claim is without an end, and not merely under way, after this time.
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(5);
/// Claims are kept so long.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Where claims are kept.
pub trait NotifyLog: Send + Sync {
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

/// Beside the state, in a folder or on S3: two small objects an event, `EVENT.claim` and `EVENT.end`,
/// that are created and never changed.
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

    async fn create(&self, name: &str, text: String) -> io::Result<bool> {
        match self.objects.create(name, text.into()).await {
            Ok(written) => Ok(matches!(written, WriteOutcome::Done)),
            Err(e) => Err(io::Error::other(mimawari_base::failure::line(&e))),
        }
    }
}

fn folder(notifier: &str) -> String {
    format!("notified/{notifier}")
}

impl NotifyLog for StateLedger {
    async fn claim(&self, notifier: &str, event: &str, at: Timestamp) -> io::Result<bool> {
        self.create(&format!("{}/{event}.claim", folder(notifier)), format!("{at}\n")).await
    }

    async fn end(&self, notifier: &str, event: &str, how: &str, at: Timestamp) -> io::Result<()> {
        let name = format!("{}/{event}.end", folder(notifier));
        self.create(&name, format!("{how} {at}\n")).await.map(drop)
    }

    async fn unfinished(&self, notifier: &str, at: Timestamp) -> io::Result<Vec<String>> {
        let failed = |e: anyhow::Error| io::Error::other(mimawari_base::failure::line(&e));
        let folder = folder(notifier);
        let listed = self.objects.list(&folder, None).await.map_err(failed)?;
        let ended: HashSet<&str> =
            listed.iter().filter_map(|(name, _)| name.strip_suffix(".end")).collect();
        let mut out = Vec::new();
        for (name, written) in &listed {
            let Some(event) = name.strip_suffix(".claim") else { continue };
            let whole = format!("{folder}/{name}");
            if ended.contains(event) {
                // Its own time tells how old it is: the store's clock may be another. It is looked at
                // only when the store's says that it may be old.
                if at.duration_since(*written) > KEPT {
                    let end = format!("{folder}/{event}.end");
                    // What is left of a pair is dealt with by the next run.
                    if self.objects.delete(&whole).await.is_ok() {
                        let _ = self.objects.delete(&end).await;
                    }
                }
                continue;
            }
            // A claim that was cut short by a full disk has no time, and no end either.
            let text = self.objects.beginning(&whole, 64).await.map_err(failed)?;
            let text = text.unwrap_or_default();
            let claimed = std::str::from_utf8(&text).ok().and_then(|t| t.trim().parse().ok());
            if at.duration_since(claimed.unwrap_or(Timestamp::MIN)) > UNDER_WAY {
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
        let l = StateLedger::open(&StoreLocation::Folder(dir.path().to_owned())).unwrap();
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
        let now = Timestamp::now().checked_add(SignedDuration::from_hours(24 * 100)).unwrap();
        l.unfinished("slack", now).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("notified/slack")).unwrap().count(), 0);
    }
}
