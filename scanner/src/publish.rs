//! `mimawari baseline publish`.

use std::path::Path;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_store::baseline::{parse_baseline, read_baseline_files};
use mimawari_store::published::{PublishOutcome, PublishRequest, git, publish};
use mimawari_store::{ObjectFolder, RandomSource, StoreLocation};

use crate::cli::publish::PublishArgs;
use crate::context::Context;
use crate::output::print;

/// `mimawari baseline publish`
///
/// # Errors
/// Diagnostics of the baseline; a [`Failure`] when it may not or cannot be published.
pub async fn run(args: &PublishArgs, context: &Context) -> Result<ExitStatus> {
    let place = StoreLocation::parse(
        &args.to,
        args.region.as_deref(),
        args.endpoint.as_deref(),
        Path::new(""),
    )
    .map_err(|e| {
        Failure::new(format!("--to: {e}")).help("write --to s3://bucket/prefix, or a folder")
    })?;
    let files = read_baseline_files(&args.dir.as_path().into())?;
    // Before anything is opened or made: what is wrong is never published.
    parse_baseline(&files)?;
    let commit = git::commit(&args.dir);
    if commit.as_ref().is_some_and(|c| c.dirty) {
        tracing::warn!("{} holds changes that are not committed", args.dir.display());
    }
    let objects = ObjectFolder::open(&place)?;
    let mut random = RandomSource::draw()?;
    let order = |this: &str, other: &str| git::compare_commits(&args.dir, this, other);
    let now = (context.now)();
    let ask = PublishRequest { files: &files, commit, now, force_back: args.force_back };
    let outcome = publish(&objects, &ask, order, &mut random).await?;
    print(&match outcome {
        PublishOutcome::Published(p) if p.back => {
            format!("went back: {} of {place}, digest {}\n", p.words(), p.digest)
        }
        PublishOutcome::Published(p) => {
            format!("published {} to {place}, digest {}\n", p.words(), p.digest)
        }
        PublishOutcome::Unchanged(p) => {
            format!("nothing to do: {} at {place} is the same, digest {}\n", p.words(), p.digest)
        }
    })?;
    Ok(ExitStatus::Clean)
}
