//! Scanning one shard of a round, saving it as it goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure, render_line};
use mimawari_base::signals::StopSignal;
use mimawari_runs::RunStatus;
use mimawari_store::WriteOutcome;
use mimawari_targets::PlanShard;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::attempt::{ShardAttempt, ShardDone, ShardSave, VERSION, format_shard_folder};
use super::plan::{self, PlannedRound};
use super::save::ShardSaver;
use super::{RoundId, RoundStore, restore, to_json};
use crate::cli::round::RoundScanArgs;
use crate::config::shard::{COUNT, from_environment};
use crate::context::Context;
use crate::output::print;
use crate::scan::{self, FolderChoice, RandomSeeds};

/// For how long the last save of a shard is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardRetryLimit {
    /// When the shard came to its end.
    pub ended: Duration,
    /// After the signal to stop: less than the 120 s that Fargate gives.
    pub stopped: Duration,
}

const PATIENCE: ShardRetryLimit =
    ShardRetryLimit { ended: Duration::from_secs(600), stopped: Duration::from_secs(90) };

/// How a task's work on a shard ended.
#[derive(Debug)]
pub(super) enum ShardEnd {
    /// This task handed it in.
    Here(ShardDone),
    /// Another one had.
    Elsewhere(ShardDone),
    /// The task was stopped by a signal, and what it saw is saved.
    Stopped(ShardSave),
}

impl ShardEnd {
    pub(super) const fn is_handed_in(&self) -> bool {
        !matches!(self, Self::Stopped(_))
    }

    /// A line for stdout.
    pub(super) fn words(&self, id: &RoundId, shard: PlanShard) -> String {
        match self {
            Self::Here(d) => {
                format!("shard {shard} of {id}: handed in, {} of {} cells\n", d.finished, d.cells)
            }
            Self::Elsewhere(d) => {
                format!("shard {shard} of {id}: was handed in at {:.0} by {}\n", d.at, d.attempt)
            }
            Self::Stopped(s) => format!(
                "shard {shard} of {id}: stopped at {} of {} cells, and saved: the same command goes on\n",
                s.finished, s.cells
            ),
        }
    }
}

/// `mimawari round scan`
pub(super) async fn run_scan_command(
    args: &RoundScanArgs,
    context: &Context,
) -> Result<ExitStatus> {
    let round = RoundStore::open(&args.which, args.work.work.clone())?;
    let planned = plan::must_read(&round).await?;
    let shard = find_shard(args.shard.as_deref(), planned.plan.shards)?;
    context.stop.stop_on_signals()?;
    let end = scan_planned(&round, &planned, shard, context).await?;
    print(&end.words(&round.id, shard))?;
    Ok(if end.is_handed_in() { ExitStatus::Clean } else { ExitStatus::Interrupted })
}

/// Which shard this task is: the one of the flag, else the one that the orchestrator sets. The plan
/// says how many there are.
fn find_shard(flag: Option<&str>, count: u32) -> Result<PlanShard> {
    let shard = match flag.filter(|t| !t.is_empty()) {
        Some(text) => Some(
            text.parse()
                .map_err(|e: mimawari_targets::ShardError| Failure::new(format!("--shard: {e}")))?,
        ),
        None => {
            let planned = count.to_string();
            // An array job knows its own size, which then has to be the plan's.
            let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
            let sized = variable("AWS_BATCH_JOB_ARRAY_SIZE").is_some();
            from_environment(|name| {
                variable(name).or_else(|| (name == COUNT && !sized).then(|| planned.clone()))
            })?
        }
    };
    match shard {
        None if count == 1 => Ok(PlanShard::WHOLE),
        None => Err(Failure::new(format!("the round has {count} shards, and nothing says which"))
            .help("name one with --shard i/n or MIMAWARI_SHARD")
            .into()),
        Some(shard) if shard.count() == count => Ok(shard),
        Some(shard) => Err(Failure::new(format!(
            "shard {shard} of a round that is planned for {count} shards"
        ))
        .help("start as many tasks as the plan has shards, see shards.json")
        .into()),
    }
}

/// Scans a shard of a round that is planned.
pub(super) async fn scan(
    round: &RoundStore,
    shard: PlanShard,
    context: &Context,
) -> Result<ShardEnd> {
    let planned = plan::must_read(round).await?;
    scan_planned(round, &planned, shard, context).await
}

async fn scan_planned(
    round: &RoundStore,
    planned: &PlannedRound,
    shard: PlanShard,
    context: &Context,
) -> Result<ShardEnd> {
    let mut config = round.config.clone();
    planned.plan.apply(&mut config, shard)?;
    match restore::read_done(round, planned, shard).await? {
        Some(Ok(done)) => return Ok(ShardEnd::Elsewhere(done)),
        Some(Err(why)) => return Err(cannot_hand_in(round, shard, &why)),
        None => {}
    }
    let scratch = round.scratch(&format!("shard-{}", shard.index()))?;
    let attempt = ShardAttempt::draw((context.now)())?;
    let (before, wrong) =
        restore::fetch_latest_save(round, planned, shard, &scratch.path().join("before")).await?;
    for why in wrong {
        tracing::warn!("shard {shard}: {why}; it is left out");
    }
    let dir = scratch.path().join("run");
    let folder_of_run = match &before {
        None => FolderChoice::New(Some(&dir)),
        Some(b) => {
            std::fs::rename(&b.dir, &dir)
                .map_err(|e| Failure::new(format!("cannot write {}", dir.display())).source(e))?;
            let (finished, cells, from) = (b.save.finished, b.save.cells, &b.save.attempt);
            tracing::info!(%shard, finished, cells, %from, "going on with what another task saved");
            FolderChoice::Resume(&dir)
        }
    };
    let is_complete = before.as_ref().is_some_and(|b| b.meta.status == RunStatus::Complete);
    let saver = ShardSaver {
        objects: round.objects.clone(),
        prefix: round.name(&format!("{}/{attempt}", format_shard_folder(shard))),
        dir: dir.clone(),
        round: round.id.to_string(),
        plan: planned.digest.clone(),
        shard,
        cells: planned.plan.walk(shard).map_or(0, |w| w.len()),
        attempt,
        sequence: 0,
        pieces: [Vec::new(), Vec::new()],
    };
    let task = ShardTask { round, planned, shard, context };
    // A task that was killed between its last save and handing in has left nothing to scan.
    let (saver, stopped) = if is_complete {
        (saver, false)
    } else {
        let (saver, scanned) = task.scan(&config, saver, folder_of_run).await;
        match scanned {
            Ok(EndedShard::Overtaken(done)) => return Ok(ShardEnd::Elsewhere(done)),
            Ok(EndedShard::Stopped) => (saver, true),
            Ok(EndedShard::Through) => (saver, false),
            Err(e) => {
                if dir.join("run.json").exists() {
                    task.save_what_is_left(saver, scratch).await;
                }
                return Err(e);
            }
        }
    };
    let saved = save_for_sure(saver, context, PATIENCE).await;
    let save = match saved {
        Ok(save) => save,
        Err(e) => return Err(keep(scratch, &dir, &e)),
    };
    if stopped {
        return Ok(ShardEnd::Stopped(save));
    }
    task.hand_in(&save).await.map_err(|e| keep(scratch, &dir, &e))
}

/// What could not be saved stays where it is, and is named.
fn keep(scratch: tempfile::TempDir, dir: &Path, e: &anyhow::Error) -> anyhow::Error {
    let _: PathBuf = scratch.keep();
    Failure::new(format!("the shard is not saved: {}", render_line(e)))
        .help(format!(
            "what was seen is in {}; when the store can be written again, the same command begins \
             from the last save",
            dir.display()
        ))
        .into()
}

fn cannot_hand_in(round: &RoundStore, shard: PlanShard, why: &str) -> anyhow::Error {
    let name = round.shown(&format!("{}/done.json", format_shard_folder(shard)));
    Failure::new(format!("the shard {shard} cannot be handed in: {why} ({name})"))
        .help("see who wrote it, and remove it; or begin a round of another id")
        .into()
}

/// How a scan ended that did not fail.
enum EndedShard {
    /// At its end, or at its deadline.
    Through,
    /// The process was stopped by a signal.
    Stopped,
    /// Another attempt has handed the shard in.
    Overtaken(ShardDone),
}

struct ShardTask<'a> {
    round: &'a RoundStore,
    planned: &'a PlannedRound,
    shard: PlanShard,
    context: &'a Context,
}

impl ShardTask<'_> {
    /// Scans, and saves every now and then beside it.
    async fn scan(
        &self,
        config: &crate::config::Config,
        saver: ShardSaver,
        folder: FolderChoice<'_>,
    ) -> (ShardSaver, Result<EndedShard>) {
        // A flag of the scan's own: a deadline, or another attempt's end, stops the scan and not us.
        let own = StopSignal::new();
        let (mut stopped, stop) = (self.context.stop.watch(), own.clone());
        let forward = tokio::spawn(async move {
            if stopped.wait_for(|stopped| *stopped).await.is_ok() {
                stop.stop();
            }
        });
        let (end, ending) = oneshot::channel();
        let beside = self.save_beside(saver, own.clone(), ending);
        let scanning = async {
            let context = Context { stop: own, ..self.context.clone() };
            let scanned = match RandomSeeds::draw() {
                Ok(seeds) => scan::scan(config, &context, seeds, folder).await,
                Err(e) => Err(e),
            };
            let _ = end.send(());
            scanned
        };
        let (scanned, (saver, overtaken)) = tokio::join!(scanning, beside);
        forward.abort();
        let ended = scanned.map(|scanned| match overtaken {
            Some(done) => EndedShard::Overtaken(done),
            None if self.context.stop.is_stopped() && scanned.meta.status == RunStatus::Stopped => {
                EndedShard::Stopped
            }
            None => EndedShard::Through,
        });
        (saver, ended)
    }

    /// Saves every now and then until `ending`; then whatever is being sent is left as it is.
    async fn save_beside(
        &self,
        mut saver: ShardSaver,
        stop: StopSignal,
        mut ending: oneshot::Receiver<()>,
    ) -> (ShardSaver, Option<ShardDone>) {
        let every = self.round.rounds.save_every;
        let mut tick = interval_at(Instant::now() + every, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = &mut ending => return (saver, None),
                _ = tick.tick() => {}
            }
            let saving = async {
                let saved = saver.save((self.context.now)()).await?;
                let done = restore::read_done(self.round, self.planned, self.shard).await?;
                anyhow::Ok((saved, done))
            };
            let saved = tokio::select! {
                biased;
                _ = &mut ending => return (saver, None),
                saved = saving => saved,
            };
            match saved {
                Ok((_, Some(Ok(done)))) => {
                    tracing::warn!(shard = %self.shard, by = %done.attempt,
                        "another task has handed the shard in: stopping");
                    stop.stop();
                    let _ = ending.await;
                    return (saver, Some(done));
                }
                Ok((Some(s), _)) => {
                    tracing::info!(shard = %self.shard, finished = s.finished, cells = s.cells, "saved");
                }
                Ok((None, _)) => {}
                Err(e) => tracing::warn!(
                    "the shard {} is not saved, and tried again in {}: {}",
                    self.shard,
                    mimawari_base::duration::format_duration(every.as_secs_f64()),
                    render_line(&e)
                ),
            }
        }
    }

    /// After a scan that failed: its end is saved if that can be done, and kept here if not.
    async fn save_what_is_left(&self, saver: ShardSaver, scratch: tempfile::TempDir) {
        let dir = saver.dir.clone();
        let patience = ShardRetryLimit { ended: PATIENCE.stopped, ..PATIENCE };
        if let Err(e) = save_for_sure(saver, self.context, patience).await {
            tracing::error!("{}", render_line(&keep(scratch, &dir, &e)));
        }
    }

    /// Says that this save is the shard's end, unless another attempt was first.
    async fn hand_in(&self, save: &ShardSave) -> Result<ShardEnd> {
        let done = ShardDone {
            version: VERSION,
            round: self.round.id.to_string(),
            plan: self.planned.digest.clone(),
            shard: self.shard,
            attempt: save.attempt.clone(),
            sequence: save.sequence,
            at: (self.context.now)(),
            cells: save.cells,
            finished: save.finished,
        };
        let name = self.round.name(&format!("{}/done.json", format_shard_folder(self.shard)));
        let created = self.round.objects.create(&name, to_json(&done)?).await;
        if matches!(created, Ok(WriteOutcome::Done)) {
            return Ok(ShardEnd::Here(done));
        }
        match (restore::read_done(self.round, self.planned, self.shard).await?, created) {
            // An answer may be lost after the object was made.
            (Some(Ok(there)), _) if there.attempt == done.attempt => Ok(ShardEnd::Here(there)),
            (Some(Ok(there)), _) => {
                tracing::warn!(shard = %self.shard, by = %there.attempt,
                    "another task has handed the shard in before: what this one saw is left out");
                Ok(ShardEnd::Elsewhere(there))
            }
            (Some(Err(why)), _) => Err(cannot_hand_in(self.round, self.shard, &why)),
            (None, Err(e)) => Err(e),
            (None, Ok(_)) => Err(cannot_hand_in(self.round, self.shard, "it comes and goes")),
        }
    }
}

/// Saves, again and again if need be, for as long as is sensible.
pub(super) async fn save_for_sure(
    mut saver: ShardSaver,
    context: &Context,
    patience: ShardRetryLimit,
) -> Result<ShardSave> {
    let mut last = None;
    let mut signal = context.stop.watch();
    let limit = async {
        let stopped = async {
            if signal.wait_for(|stopped| *stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(patience.stopped).await;
        };
        tokio::select! {
            () = tokio::time::sleep(patience.ended) => {}
            () = stopped => {}
        }
    };
    let trying = async {
        let mut wait = Duration::from_millis(500);
        loop {
            match saver.save((context.now)()).await {
                Ok(Some(save)) => return save,
                Ok(None) => last = Some(Failure::new("there is no run").into()),
                Err(e) => {
                    tracing::warn!("the last save failed, and is tried again: {}", render_line(&e));
                    last = Some(e);
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(10));
        }
    };
    let saved = tokio::select! {
        biased;
        save = trying => Some(save),
        () = limit => None,
    };
    saved.ok_or_else(|| {
        last.unwrap_or_else(|| Failure::new("the store did not answer in time").into())
    })
}
