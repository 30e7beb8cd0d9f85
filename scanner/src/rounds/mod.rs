//! One round over one or many tasks that know of each other only by what is in a
//! bucket or a folder.
//!
//! ```text
//! ID/plan.json                          what the round covers; created once: the lock of the round
//! ID/shards.json                        the shards' names, for whoever starts a task for each
//! ID/shards/00002/ATTEMPT/              what one task saved of shard 2; everything is created once
//!     coverage-OFFSET-DIGEST            a segment: what was appended since the save before
//!     observations-OFFSET-DIGEST
//!     run-SEQUENCE, checkpoint-SEQUENCE whole files
//!     save-SEQUENCE.json                names the above with lengths and digests: last of a save
//! ID/shards/00002/done.json             which save is the shard's end; created once
//! ID/run/                               the merged run folder and its reports
//! ID/result.json                        the outcome in brief; last of all
//! ```
//!
//! **Nothing is changed that another task may read.** A save counts from the moment its
//! `save-SEQUENCE.json` is there, so a task may be killed at any moment of it. Each task has an
//! ATTEMPT of its own, drawn at random: one that was taken for dead and its successor never mix.
//! Who creates `done.json` has handed the shard in; who finds it discards its own.
//!
//! **Nothing that is read is trusted.** Sizes are bounded, digests are checked, names cannot lead
//! out of their folder, and every shard checks the plan against the scope of its own configuration.
//! What is damaged is reported, and counts as not there.

mod attempt;
mod id;
mod plan;
mod reduce;
mod restore;
mod result;
mod save;
mod shard;
mod show;
#[cfg(test)]
mod tests;

pub use id::RoundId;
pub use plan::RoundPlan;
pub use result::RoundResult;

use std::path::PathBuf;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_probes::format::{FormatFault, VersionedFormat, read_document};
use mimawari_store::{FetchedObject, ObjectFolder};
use tempfile::TempDir;

use crate::cli::round::{RoundCommand, RoundRunArgs, RoundSelector};
use crate::config::Config;
use crate::config::rounds::RoundsConfig;
use crate::context::Context;
use crate::output::print;

/// `mimawari round`
///
/// # Errors
/// Whatever stops the step.
pub async fn round(command: &RoundCommand, context: &Context) -> Result<ExitStatus> {
    match command {
        RoundCommand::Plan(args) => plan::run_plan_command(args, context).await,
        RoundCommand::Scan(args) => shard::run_scan_command(args, context).await,
        RoundCommand::Reduce(args) => {
            let round = RoundStore::open(&args.which, args.work.work.clone())?;
            // As PID 1 a process without handlers ignores the signals; elsewhere one would end it
            // between the state and the notifications.
            context.stop.stop_on_signals()?;
            reduce::reduce(&round, context).await
        }
        RoundCommand::Run(args) => run(args, context).await,
        RoundCommand::Show(args) => show::run_show_command(args, context).await,
    }
}

/// `mimawari round run`
async fn run(args: &RoundRunArgs, context: &Context) -> Result<ExitStatus> {
    let mut round = RoundStore::open(&args.which, args.work.work.clone())?;
    context.stop.stop_on_signals()?;
    let read = round.config.clone();
    let planned = plan::plan(&mut round, &args.asking, 1, context).await?;
    if planned.plan.shards != 1 {
        return Err(Failure::new(format!(
            "the round {} is planned for {} tasks",
            round.id, planned.plan.shards
        ))
        .help("use `mimawari round scan` for each shard and `mimawari round reduce` after them")
        .into());
    }
    round.config = read;
    let end = shard::scan(&round, mimawari_targets::PlanShard::WHOLE, context).await?;
    if !end.is_handed_in() {
        print(&end.words(&round.id, mimawari_targets::PlanShard::WHOLE))?;
        return Ok(ExitStatus::Interrupted);
    }
    reduce::reduce(&round, context).await
}

/// One round: what it goes by, and where it is.
#[derive(Debug)]
pub(crate) struct RoundStore {
    pub config: Config,
    pub rounds: RoundsConfig,
    pub id: RoundId,
    pub objects: ObjectFolder,
    work: Option<PathBuf>,
}

impl RoundStore {
    /// Opens the place that the configuration names.
    fn open(which: &RoundSelector, work: Option<PathBuf>) -> Result<Self> {
        let id: RoundId = which.round.parse()?;
        let config = Config::read(&which.from.config)?;
        config.log_warnings();
        let Some(rounds) = config.rounds.clone() else {
            return Err(Failure::new(format!(
                "{} says nothing of where rounds are kept",
                which.from.config.display()
            ))
            .help("add a [rounds] with `url = \"s3://bucket/rounds\"`, or with a folder as `url`")
            .into());
        };
        let objects = ObjectFolder::open(&rounds.url)?;
        let work = work.filter(|w| !w.as_os_str().is_empty());
        Ok(Self { config, rounds, id, objects, work })
    }

    /// The name of an object of this round.
    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.id)
    }

    /// Where an object of this round is, for people.
    fn shown(&self, rest: &str) -> String {
        self.objects.shown(&self.name(rest))
    }

    /// A folder of this process's own, removed when it is dropped.
    fn scratch(&self, what: &str) -> Result<TempDir> {
        let base = self.work.clone().unwrap_or_else(std::env::temp_dir);
        let make = || {
            std::fs::create_dir_all(&base)?;
            tempfile::Builder::new().prefix(&format!("{}-{what}-", self.id)).tempdir_in(&base)
        };
        make().map_err(|e| {
            Failure::new(format!("cannot make a folder to work in, in {}", base.display()))
                .help("name a writable one with --work DIR or MIMAWARI_WORK")
                .source(e)
                .into()
        })
    }
}

/// A small JSON object; an error of the inner kind says what is wrong with it, as half a sentence.
async fn read_json<T: VersionedFormat>(
    objects: &ObjectFolder,
    name: &str,
    most: u64,
) -> Result<Option<Result<T, String>>> {
    Ok(match objects.get_within(name, most).await? {
        FetchedObject::Absent => None,
        FetchedObject::TooLarge(n) => {
            Some(Err(FormatFault::Damaged(format!("it has {n} bytes")).to_string()))
        }
        FetchedObject::Is(bytes) => Some(read_document(&bytes).map_err(|fault| fault.to_string())),
    })
}

/// A JSON object's bytes, for people and programs.
fn to_json<T: serde::Serialize>(value: &T) -> Result<bytes::Bytes> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text.into())
}
