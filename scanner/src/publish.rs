//! `mimawari baseline publish`.

use std::path::Path;

use anyhow::Result;
use mimawari_base::failure::{Failure, Status};
use mimawari_store::baseline::{baseline_files, parse_baseline};
use mimawari_store::published::{Ask, Outcome, git, publish};
use mimawari_store::{Location, Objects, Random};

use crate::cli::publish::PublishArgs;
use crate::context::Context;
use crate::output::print;

/// `mimawari baseline publish`
///
/// # Errors
/// Diagnostics of the baseline; a [`Failure`] when it may not or cannot be published.
pub async fn run(args: &PublishArgs, context: &Context) -> Result<Status> {
    let place =
        Location::parse(&args.to, args.region.as_deref(), args.endpoint.as_deref(), Path::new(""))
            .map_err(|e| {
                Failure::new(format!("--to: {e}"))
                    .help("write --to s3://bucket/prefix, or a folder")
            })?;
    let files = baseline_files(&args.dir)?;
    // Before anything is opened or made: what is wrong is never published.
    parse_baseline(&files)?;
    let commit = git::commit(&args.dir);
    if commit.as_ref().is_some_and(|c| c.dirty) {
        tracing::warn!("{} holds changes that are not committed", args.dir.display());
    }
    let objects = Objects::open(&place)?;
    let mut random = Random::draw()?;
    let order = |this: &str, other: &str| git::order(&args.dir, this, other);
    let now = (context.now)();
    let ask = Ask { files: &files, commit, now, force_back: args.force_back };
    let outcome = publish(&objects, &ask, order, &mut random).await?;
    print(&match outcome {
        Outcome::Published(p) if p.back => {
            format!("went back: {} of {place}, digest {}\n", p.words(), p.digest)
        }
        Outcome::Published(p) => {
            format!("published {} to {place}, digest {}\n", p.words(), p.digest)
        }
        Outcome::Unchanged(p) => {
            format!("nothing to do: {} at {place} is the same, digest {}\n", p.words(), p.digest)
        }
    })?;
    Ok(Status::Clean)
}
