//! The newest generations by their first lines.

use anyhow::Result;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{GenerationHeader, StateStore, generation, object};

/// So many objects are read at once.
const PARALLEL: usize = 8;

/// A generation in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its number.
    pub number: u64,
    /// What it says of itself; none when its first line is damaged.
    pub header: Option<GenerationHeader>,
    /// What is wrong with it, in words; the content is looked at of the newest alone.
    pub wrong: Option<String>,
}

impl StateStore {
    /// The `count` newest generations, the newest first, and what is wrong with them.
    ///
    /// # Errors
    /// A [`mimawari_base::failure::Failure`] when they cannot be read; one that is damaged is no error here.
    pub async fn history(&self, count: usize) -> Result<Vec<HistoryEntry>> {
        let (highest, hint) = self.highest(self.hint().await?).await?;
        let mut entries = Vec::new();
        if let Some(hint) = hint.filter(|h| highest.is_none_or(|n| n < *h)) {
            entries.push(HistoryEntry {
                number: hint,
                header: None,
                wrong: Some("missing: `latest` names it, and it is not there".to_owned()),
            });
        }
        let Some(highest) = highest else { return Ok(entries) };
        // One more than asked for, to hold the last one against its parent.
        let wanted = count.saturating_add(1);
        let after = highest.saturating_sub(wanted as u64);
        let mut numbers = self.numbers((after > 0).then_some(after)).await?;
        if numbers.len() < wanted && after > 0 {
            numbers = self.numbers(None).await?;
        }
        let newest: Vec<u64> = numbers.into_iter().rev().take(wanted).collect();
        let read: Vec<(u64, Bytes)> = stream::iter(newest)
            .map(|n| async move { Ok::<_, anyhow::Error>((n, self.beginning(n).await?)) })
            .buffered(PARALLEL)
            .try_filter_map(|(n, text)| async move { Ok(text.map(|t| (n, t))) })
            .try_collect()
            .await?;
        for (i, (number, text)) in read.iter().take(count).enumerate() {
            let header = generation::parse_header(*number, text);
            let before = read.get(i + 1).map(|(n, text)| (*n, text));
            // The content is looked at only of the one that the next run goes on from.
            let content = if i == 0 { self.content(*number).await? } else { None };
            let wrong = content.or_else(|| match &header {
                Err(e) => Some(format!("damaged: {e}")),
                Ok(header) => match (&header.parent, before) {
                    (Some(p), Some((n, text))) if p.number == n => {
                        let differs = generation::hash_beginning(text) != p.digest;
                        differs.then(|| format!("out of the chain: generation {n} is not the one it was made from"))
                    }
                    // What lies further back may have been pruned.
                    (Some(p), Some(_)) if i < 900 => {
                        Some(format!("generation {} before it is missing", p.number))
                    }
                    _ => None,
                },
            });
            entries.push(HistoryEntry { number: *number, header: header.ok(), wrong });
        }
        Ok(entries)
    }
    /// What is wrong with a generation's content.
    async fn content(&self, number: u64) -> Result<Option<String>> {
        let text = self.objects.get(&object(number)).await?;
        let read = text.map(|(text, _)| generation::decode(number, &text));
        Ok(read.and_then(Result::err).map(|e| format!("damaged: {e}")))
    }
}
