//! Reading back what tasks saved. Whoever can write to the store can write anything there, so an object
//! is trusted only if its length and digest prove it, and no name leads out of its folder.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::{Failure, render_line};
use mimawari_engine::{SweepConfig, SweepEngine};
use mimawari_probes::format::FormatFault;
use mimawari_runs::checkpoint::SavedCheckpoint;
use mimawari_runs::{LoadedRun, RunMeta, RunStatus};
use mimawari_store::FetchedObject;
use mimawari_targets::{PlanShard, hex};
use sha2::{Digest, Sha256};

use super::attempt::{
    LIST, SMALL, ShardAttempt, ShardDone, ShardSave, VERSION, format_shard_folder,
};
use super::plan::PlannedRound;
use super::{RoundStore, read_json};

/// Attempts of a shard that are read, the newest: a shard with more retries has another problem.
const ATTEMPTS: usize = 20;
/// Saves of one attempt that are read, the newest: each is whole unless somebody damaged it.
const SAVES: usize = 5;
/// Saves of one attempt that are tried.
const TRIED: usize = 2;

/// The `done.json` of a shard: `None` if there is none, an inner error if it cannot be trusted.
pub(super) async fn read_done(
    round: &RoundStore,
    planned: &PlannedRound,
    shard: PlanShard,
) -> Result<Option<Result<ShardDone, String>>> {
    let name = round.name(&format!("{}/done.json", format_shard_folder(shard)));
    let read = read_json::<ShardDone>(&round.objects, &name, SMALL).await?;
    Ok(read.map(|read| {
        let done = read.map_err(|e| format!("done.json {e}"))?;
        if done.version != VERSION || done.shard != shard || done.plan != planned.digest {
            return Err("done.json is of another plan, shard or version".to_owned());
        }
        Ok(done)
    }))
}

/// One save of an attempt; an inner error says why it cannot be trusted.
pub(super) async fn save(
    round: &RoundStore,
    planned: &PlannedRound,
    shard: PlanShard,
    attempt: &ShardAttempt,
    sequence: u64,
) -> Result<Result<ShardSave, String>> {
    let object = ShardSave::object(sequence);
    let name = round.name(&format!("{}/{attempt}/{object}", format_shard_folder(shard)));
    let Some(read) = read_json::<ShardSave>(&round.objects, &name, LIST).await? else {
        return Ok(Err(format!("{object} of the attempt {attempt} is missing")));
    };
    let checked = read.and_then(|s| {
        let checked = s.check(&planned.digest, shard, attempt, sequence);
        checked.map(|()| s).map_err(|why| FormatFault::Damaged(why).to_string())
    });
    Ok(checked.map_err(|e| format!("{object} of the attempt {attempt} {e}")))
}

/// The newest saves of every attempt, the latest first, and what is wrong with others.
pub(super) async fn list_saves(
    round: &RoundStore,
    planned: &PlannedRound,
    shard: PlanShard,
) -> Result<(Vec<ShardSave>, Vec<String>)> {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    let folder = round.name(&format_shard_folder(shard));
    let names = round.objects.folders(&folder).await?;
    let attempts: Vec<ShardAttempt> = names.iter().filter_map(|n| ShardAttempt::parse(n)).collect();
    for attempt in attempts.iter().rev().take(ATTEMPTS) {
        // Their names come after all others in the folder.
        let found = round.objects.list(&format!("{folder}/{attempt}"), Some("save-")).await?;
        let mut sequences: Vec<u64> =
            found.iter().filter_map(|(name, _)| ShardSave::sequence(name)).collect();
        sequences.sort_unstable();
        let mut good = 0;
        for sequence in sequences.iter().rev().take(SAVES) {
            match save(round, planned, shard, attempt, *sequence).await? {
                Ok(save) => {
                    all.push(save);
                    good += 1;
                }
                Err(why) => wrong.push(why),
            }
            if good == TRIED {
                break;
            }
        }
    }
    all.sort_by_key(|s| std::cmp::Reverse(s.reach()));
    Ok((all, wrong))
}

/// Fetches what a save names into a folder, which is then a run folder as SIGKILL could have left it.
/// An inner error says what is damaged.
///
/// # Errors
/// A [`Failure`] when the store cannot be read or the folder cannot be written.
pub(super) async fn fetch(
    round: &RoundStore,
    planned: &PlannedRound,
    save: &ShardSave,
    dir: &Path,
) -> Result<Result<RunMeta, String>> {
    std::fs::create_dir_all(dir).map_err(|e| cannot_write(dir, e))?;
    let prefix = round.name(&format!("{}/{}", format_shard_folder(save.shard), save.attempt));
    for file in &save.files {
        let path = dir.join(&file.name);
        let mut out = File::create(&path).map_err(|e| cannot_write(&path, e))?;
        for piece in &file.pieces {
            let what = || format!("{} of the attempt {}", piece.object, save.attempt);
            let name = format!("{prefix}/{}", piece.object);
            let bytes = match round.objects.get_within(&name, piece.length).await? {
                FetchedObject::Absent => return Ok(Err(format!("{} is missing", what()))),
                FetchedObject::TooLarge(_) => return Ok(Err(format!("{} is damaged", what()))),
                FetchedObject::Is(bytes) => bytes,
            };
            if bytes.len() as u64 != piece.length
                || hex::encode(&Sha256::digest(&bytes)) != piece.sha256
            {
                return Ok(Err(format!("{} is damaged", what())));
            }
            out.write_all(&bytes).map_err(|e| cannot_write(&path, e))?;
        }
        out.sync_data().map_err(|e| cannot_write(&path, e))?;
    }
    let (dir, plan) = (dir.to_owned(), planned.plan.clone());
    let shard = save.shard;
    let belongs = tokio::task::spawn_blocking(move || belongs(&dir, &plan, shard)).await?;
    Ok(belongs.map_err(|e| format!("the attempt {} saved no run of this shard: {e}", save.attempt)))
}

/// Whether a folder holds a run of this shard of the plan that can be read, and gone on with unless
/// it is complete.
fn belongs(dir: &Path, plan: &super::RoundPlan, shard: PlanShard) -> Result<RunMeta, String> {
    let run = LoadedRun::open(dir).map_err(|e| render_line(&e))?;
    let meta = run.meta;
    let same = meta.plan == plan.plan
        && meta.shard == shard
        && meta.part == plan.part
        && meta.vantage == plan.vantage
        && meta.scope.digest == plan.scope;
    if !same {
        return Err("it is of another plan or shard".to_owned());
    }
    if meta.status != RunStatus::Complete {
        let unfit = |e: &dyn std::fmt::Display| format!("its checkpoint cannot be used: {e}");
        let saved = SavedCheckpoint::read(dir).map_err(|e| unfit(&e))?;
        if let Some(saved) = saved {
            // Who went on from it would be refused, and so would everybody after.
            let length = dir.join("coverage.bin").metadata().map_err(|e| unfit(&e))?.len();
            if !(8..=length).contains(&saved.coverage) {
                return Err(unfit(&"it speaks of coverage that is not there"));
            }
            let walk = meta.walk().map_err(|e| unfit(&e))?;
            SweepEngine::resume(walk, SweepConfig::default(), &saved.sweep)
                .map_err(|e| unfit(&e))?;
        }
    }
    Ok(meta)
}

/// The latest saved run of a shard that is not damaged, in a folder below `dir`.
#[derive(Debug)]
pub(super) struct RestoredRun {
    pub dir: PathBuf,
    pub save: ShardSave,
    pub meta: RunMeta,
}

/// Fetches the latest save that can be trusted, and reports those that could not.
///
/// # Errors
/// As [`fetch`].
pub(super) async fn fetch_latest_save(
    round: &RoundStore,
    planned: &PlannedRound,
    shard: PlanShard,
    dir: &Path,
) -> Result<(Option<RestoredRun>, Vec<String>)> {
    let (saves, mut wrong) = list_saves(round, planned, shard).await?;
    for (i, save) in saves.into_iter().enumerate() {
        let dir = dir.join(i.to_string());
        match fetch(round, planned, &save, &dir).await? {
            Ok(meta) => return Ok((Some(RestoredRun { dir, save, meta }), wrong)),
            Err(why) => {
                wrong.push(why);
                // Room for the next one.
                let _ = std::fs::remove_dir_all(&dir);
            }
        }
    }
    Ok((None, wrong))
}

fn cannot_write(path: &Path, e: std::io::Error) -> anyhow::Error {
    Failure::new(format!("cannot write {}", path.display()))
        .help("make room, or name another folder with --work DIR or MIMAWARI_WORK")
        .source(e)
        .into()
}
