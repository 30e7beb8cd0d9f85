//! Publishing a baseline: its files under their digest, then the pointer.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use mimawari_base::failure::Failure;

use super::git::{CommitOrder, GitCommit};
use super::{BaselineBundle, BaselinePointer, POINTER, PublishedFile, VERSION, object, pointer};
use crate::baseline::parse_baseline;
use crate::{ObjectFolder, RandomSource, WriteOutcome};

/// How often a moved pointer is looked at again.
const TRIES: u32 = 10;

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The pointer names it now.
    Published(BaselinePointer),
    /// The pointer named it already.
    Unchanged(BaselinePointer),
}

/// What is to be published.
#[derive(Debug)]
pub struct PublishRequest<'a> {
    /// The files, by name and text.
    pub files: &'a [(String, String)],
    /// The commit that they are at.
    pub commit: Option<GitCommit>,
    /// The clock.
    pub now: Timestamp,
    /// Whether a step back is meant.
    pub force_back: bool,
}

/// Publishes files: writes them under their digest, then moves the pointer.
///
/// # Errors
/// A [`Failure`] when they would move the pointer back, or it cannot be written.
pub async fn publish(
    objects: &ObjectFolder,
    ask: &PublishRequest<'_>,
    order: impl Fn(&str, &str) -> CommitOrder,
    random: &mut RandomSource,
) -> Result<PublishOutcome> {
    let baseline = parse_baseline(ask.files)?;
    let digest = baseline.digest();
    for tries in 0..TRIES {
        let current = pointer(objects).await?;
        let back = match &current {
            Some((p, _)) if p.digest == digest => {
                // What the pointer names may have been lost or changed since.
                write(objects, digest, baseline.len(), ask.files).await?;
                return Ok(PublishOutcome::Unchanged(p.clone()));
            }
            Some((p, _)) => {
                let why = explain_rollback(p, ask.commit.as_ref(), &order);
                if let Some(why) = why.as_ref().filter(|_| !ask.force_back) {
                    return Err(describe_refusal(p, why));
                }
                why.is_some()
            }
            None => false,
        };
        write(objects, digest, baseline.len(), ask.files).await?;
        let (before, seen) = current.unzip();
        let next = BaselinePointer {
            version: VERSION,
            digest: digest.to_owned(),
            sequence: before.as_ref().map_or(0, |p| p.sequence).saturating_add(1),
            published_at: ask.now,
            commit: ask.commit.as_ref().map(|c| c.id.clone()),
            commit_time: ask.commit.as_ref().map(|c| c.time),
            dirty: ask.commit.as_ref().is_some_and(|c| c.dirty),
            back,
            replaced: before.map(|p| p.digest),
        };
        let mut text = serde_json::to_vec_pretty(&next)?;
        text.push(b'\n');
        match objects.replace(POINTER, text.into(), seen).await? {
            WriteOutcome::Done => return Ok(PublishOutcome::Published(next)),
            // Somebody else published; whether this still goes forward is asked again.
            WriteOutcome::Conflict => {
                let wait = random.draw_one() % (20 << tries.min(5));
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
        }
    }
    Err(Failure::new(format!("others moved {} again and again", objects.shown(POINTER)))
        .help("publish again when they are done")
        .into())
}

/// Why a commit does not come after the published one; `None` if it does.
fn explain_rollback(
    published: &BaselinePointer,
    commit: Option<&GitCommit>,
    order: &impl Fn(&str, &str) -> CommitOrder,
) -> Option<String> {
    // Published from outside git: there is nothing to hold it against.
    let (was, was_at) = (published.commit.as_ref()?, published.commit_time?);
    let Some(commit) = commit else {
        return Some(
            "the folder is in no git repository, so nobody can say whether it is newer".to_owned(),
        );
    };
    if commit.id == *was {
        return None;
    }
    match order(&commit.id, was) {
        CommitOrder::Before => {
            Some(format!("commit {} is an ancestor of it", abbreviate_commit(&commit.id)))
        }
        CommitOrder::After => None,
        CommitOrder::Unknown => (commit.time < was_at).then(|| {
            format!(
                "commit {} is older: {:.0} and {was_at:.0}",
                abbreviate_commit(&commit.id),
                commit.time
            )
        }),
    }
}

fn abbreviate_commit(commit: &str) -> &str {
    &commit[..commit.len().min(12)]
}

fn describe_refusal(published: &BaselinePointer, why: &str) -> anyhow::Error {
    Failure::new(format!("{} is published, and {why}", published.words()))
        .help("publish the newest commit; if you mean to go back, say so with --force-back")
        .into()
}

/// Writes the files under their digest. What is there already must be the same.
async fn write(
    objects: &ObjectFolder,
    digest: &str,
    rules: usize,
    files: &[(String, String)],
) -> Result<()> {
    let mut files: Vec<PublishedFile> = files
        .iter()
        .map(|(name, text)| PublishedFile { name: name.clone(), text: text.clone() })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let bundle = BaselineBundle { version: VERSION, digest: digest.to_owned(), rules, files };
    let mut text = serde_json::to_vec_pretty(&bundle)?;
    text.push(b'\n');
    let text = Bytes::from(text);
    let name = object(digest);
    if objects.create(&name, text.clone()).await? == WriteOutcome::Conflict {
        let there = objects.get(&name).await?;
        if there.is_none_or(|(there, _)| there != text) {
            return Err(Failure::new(format!(
                "{} is there already, and is something else than its digest says",
                objects.shown(&name)
            ))
            .help("remove it and publish again; see who can write there")
            .into());
        }
    }
    Ok(())
}
