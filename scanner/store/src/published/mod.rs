//! The baseline as it is delivered to the task that judges by it.
//!
//! ```text
//! baselines/<digest>.json   every file's name and text; written once, never changed
//! current.json              the pointer: which of them holds; moved on a condition, forward only
//! ```
//!
//! The digest is the baseline's own ([`Baseline::digest`]), so what is read is held against its name,
//! and a verdict's `baseline_digest` names the object that it was judged by.

pub mod git;
mod publish;
#[cfg(test)]
mod tests;

pub use git::GitCommit;
pub use publish::{PublishOutcome, PublishRequest, publish};

use mimawari_base::source_path::SourcePath;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::baseline::Baseline;
use mimawari_drift::verdict::Verdict;
use mimawari_probes::format::{FormatFault, NEWER_HELP, VersionedFormat, read_document};
use mimawari_probes::gap::Gap;
use mimawari_targets::hex::is_hex;
use serde::{Deserialize, Serialize};

use crate::baseline::{parse_baseline, read_baseline};
use crate::{ObjectFolder, SeenObjects, StoreLocation};

/// Major version of both forms. Their minor version is 0, which is not written.
const VERSION: u32 = 1;

const POINTER: &str = "current.json";

/// The pointer, `current.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselinePointer {
    /// Version of the form, 1.
    pub version: u32,
    /// The digest of the published baseline, hex.
    pub digest: String,
    /// Number of the publication, from 1.
    pub sequence: u64,
    /// When it was published.
    pub published_at: Timestamp,
    /// The git commit of the folder.
    pub commit: Option<String>,
    /// When that was committed.
    pub commit_time: Option<Timestamp>,
    /// Whether the folder held changes that were not committed.
    pub dirty: bool,
    /// Whether it was forced back to an older commit.
    pub back: bool,
    /// The digest of the publication before.
    pub replaced: Option<String>,
}

/// The files of a baseline, `baselines/<digest>.json`.
#[derive(Debug, Serialize, Deserialize)]
struct BaselineBundle {
    version: u32,
    digest: String,
    rules: usize,
    files: Vec<PublishedFile>,
}

impl VersionedFormat for BaselinePointer {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

impl VersionedFormat for BaselineBundle {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct PublishedFile {
    name: String,
    text: String,
}

/// The baseline of a run, and where it comes from.
#[derive(Debug)]
pub struct PublishedBaseline {
    /// The baseline.
    pub baseline: Baseline,
    /// The publication; none when it was read from a folder of files.
    pub pointer: Option<BaselinePointer>,
}

/// The baseline that is published at `url`, or without one that of the folder `dir`. A published one
/// is read once, so that one run is judged by one baseline, whatever is published meanwhile.
///
/// # Errors
/// A [`Failure`] when it cannot be read or is not what its digest says; diagnostics of its files.
pub async fn agreed(url: Option<&StoreLocation>, dir: &SourcePath) -> Result<PublishedBaseline> {
    match url {
        Some(url) => read(&ObjectFolder::look(url)?).await,
        None => Ok(PublishedBaseline { baseline: read_baseline(dir)?, pointer: None }),
    }
}

impl PublishedBaseline {
    /// Notes in a verdict which publication it was judged by.
    pub fn note(&self, verdict: &mut Verdict) {
        if let Some(p) = &self.pointer {
            let (sequence, commit) = (p.sequence, p.commit.clone());
            verdict.coverage.gaps.push(Gap::BaselinePublication { sequence, commit }.noted());
        }
    }
}

impl BaselinePointer {
    /// Which publication it is, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = format!("publication {} of the baseline", self.sequence);
        if let Some(commit) = &self.commit {
            text.push_str(&format!(" (commit {})", &commit[..commit.len().min(12)]));
        }
        text
    }

    fn check(self, shown: &str) -> Result<Self> {
        let is_commit = |c: &String| matches!(c.len(), 40 | 64) && is_hex(c);
        if self.digest.len() != 64
            || !is_hex(&self.digest)
            || !self.commit.as_ref().is_none_or(is_commit)
        {
            return Err(damaged(shown));
        }
        Ok(self)
    }
}

fn damaged(shown: &str) -> anyhow::Error {
    Failure::new(format!("the pointer {shown} is damaged"))
        .help("restore its former version, or remove it and publish again with `mimawari baseline publish`")
        .into()
}

/// The pointer, and how it was; `None` where nothing is published.
///
/// # Errors
/// A [`Failure`].
pub async fn pointer(objects: &ObjectFolder) -> Result<Option<(BaselinePointer, SeenObjects)>> {
    let Some((text, seen)) = objects.get(POINTER).await? else { return Ok(None) };
    let shown = objects.shown(POINTER);
    let pointer: BaselinePointer = read_document(&text).map_err(|fault| match fault {
        FormatFault::Newer { .. } => {
            anyhow::Error::from(Failure::new(format!("{shown} {fault}")).help(NEWER_HELP))
        }
        FormatFault::Damaged(_) => damaged(&shown),
    })?;
    Ok(Some((pointer.check(&shown)?, seen)))
}

fn object(digest: &str) -> String {
    format!("baselines/{digest}.json")
}

/// The published baseline.
///
/// # Errors
/// A [`Failure`] when nothing is published, or it cannot be read, or is not what its digest says.
pub async fn read(objects: &ObjectFolder) -> Result<PublishedBaseline> {
    let Some((pointer, _)) = pointer(objects).await? else {
        return Err(Failure::new(format!("no baseline is published at {}", objects.shown("")))
            .help("publish one with `mimawari baseline publish --to URL`; a baseline that is not there is never taken for an empty one")
            .into());
    };
    let name = object(&pointer.digest);
    let shown = objects.shown(&name);
    let Some((text, _)) = objects.get(&name).await? else {
        return Err(Failure::new(format!("the published baseline {shown} is missing"))
            .help("publish it again with `mimawari baseline publish`")
            .into());
    };
    let wrong = || {
        Failure::new(format!("the published baseline {shown} is not what its digest says")).help(
            "remove it and publish again with `mimawari baseline publish`; see who can write there",
        )
    };
    let bundle: BaselineBundle = read_document(&text).map_err(|fault| {
        if fault.is_newer() {
            Failure::new(format!("the published baseline {shown} {fault}")).help(NEWER_HELP)
        } else {
            wrong()
        }
    })?;
    let files: Vec<(String, String)> = bundle.files.into_iter().map(|f| (f.name, f.text)).collect();
    // The digest first: what somebody else put there is not even parsed for its mistakes.
    let is_odd = |(name, _): &(String, String)| name.chars().any(char::is_control);
    if Baseline::digest_of(&files) != pointer.digest || files.iter().any(is_odd) {
        return Err(wrong().into());
    }
    let baseline = parse_baseline(&files)?;
    tracing::info!(
        digest = pointer.digest,
        sequence = pointer.sequence,
        commit = pointer.commit.as_deref().unwrap_or("none"),
        "baseline read"
    );
    Ok(PublishedBaseline { baseline, pointer: Some(pointer) })
}
