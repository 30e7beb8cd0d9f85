//! From what the shards handed in to one verdict.

use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure, render_line};
use mimawari_drift::verdict::Verdict;
use mimawari_probes::gap::{Gap, GapEffect};
use mimawari_probes::http::to_printable;
use mimawari_runs::merge::merge_as;
use mimawari_runs::meta::{HttpTotals, MINOR, RunMeta, ScopeFacts, VERSION};
use mimawari_runs::{RunFolder, RunStatus};
use mimawari_store::published;
use mimawari_store::{FetchedObject, StateStore, WriteOutcome};
use mimawari_targets::{PlanShard, hex};
use sha2::{Digest, Sha256};

use super::plan::{self, PlannedRound};
use super::result::{self, RESULT, RoundResult};
use super::{RoundStore, read_json, restore, to_json};
use crate::context::Context;
use crate::output::{print, render_summary};
use crate::settle::{SettleContext, build_notifiers, notify, notify_pending, settle_run};

/// The files of the merged run that are kept, in the order of their sending.
const EVIDENCE: [&str; 3] = ["observations.ndjson", "coverage.bin", "run.json"];
const REPORTS: [&str; 3] = ["report.md", "report.html", "verdict.json"];
const VERDICTS: [&str; 1] = ["verdict.json"];
const ALL: [&str; 6] =
    ["observations.ndjson", "coverage.bin", "run.json", "report.md", "report.html", "verdict.json"];
/// Bytes of the fields of a gap that a shard handed in.
const GAP: usize = 16 << 10;
/// How often the files beside the result are sent again because another reduction wrote over them.
const TRIES: usize = 5;
/// Bytes of a verdict that is read back, at most.
const VERDICT: u64 = 1 << 30;

/// What there is of a shard.
#[derive(Debug)]
struct ShardPart {
    shard: PlanShard,
    /// Its run folder, if something of it can be judged.
    dir: Option<PathBuf>,
    /// Whether that is all of it.
    whole: bool,
    /// What is damaged, one sentence each.
    wrong: Vec<String>,
}

/// What became of the files of a reduction in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReductionEnd {
    /// They belong together.
    Kept,
    /// Another reduction took in more shards meanwhile, and its result stays. Files of this one may have
    /// been written over its files.
    Outdone,
}

/// `mimawari round reduce`
pub(super) async fn reduce(round: &RoundStore, context: &Context) -> Result<ExitStatus> {
    let (mut status, mut end) = reduce_once(round, context).await?;
    for _ in 1..TRIES {
        if end == ReductionEnd::Kept || context.stop.is_stopped() {
            break;
        }
        // With all that there is now, so that what lies in the store belongs together again.
        tracing::info!(
            "another reduction took in more shards meanwhile: the round is reduced again"
        );
        (status, end) = reduce_once(round, context).await?;
    }
    if end == ReductionEnd::Outdone {
        tracing::warn!(
            "another reduction took in more shards: {} may hold files of both; reduce the round again",
            round.shown("run")
        );
    }
    Ok(status)
}

async fn reduce_once(round: &RoundStore, context: &Context) -> Result<(ExitStatus, ReductionEnd)> {
    let planned = plan::must_read(round).await?;
    let config = &round.config;
    // As every shard does: no verdict on a plan that nobody would have scanned.
    planned.plan.apply(&mut config.clone(), PlanShard::WHOLE)?;
    // What would stop the judgement or the notifications is found before anything is fetched.
    let notifiers = build_notifiers(config, context).await?;
    let agreed = published::agreed(config.baseline_url.as_ref(), &config.baseline_dir).await?;
    let store = StateStore::open(&config.state)?;
    store.check().await?;
    let scratch = round.scratch("reduce")?;
    let found = read_result(round).await?.and_then(Result::ok);
    let (mut parts, mut of) = (Vec::new(), Sha256::new());
    of.update(&planned.digest);
    for index in 1..=planned.plan.shards {
        if context.stop.is_stopped() {
            print(&format!(
                "reduction of {}: stopped before it was judged or notified\n",
                round.id
            ))?;
            return Ok((ExitStatus::Interrupted, ReductionEnd::Kept));
        }
        let Some(shard) = PlanShard::new(index, planned.plan.shards) else { continue };
        let dir = scratch.path().join(index.to_string());
        parts.push(gather(round, &planned, shard, &dir, &mut of).await?);
    }
    let of = hex::encode(&of.finalize());
    if let Some((before, verdict)) = find_same_result(round, &of).await? {
        let at = before.judged_at;
        tracing::info!("the round was reduced at {at:.0}, and nothing was handed in since");
        // Whoever judged it may have been killed before everybody was notified.
        notify_pending(&notifiers, config, Some(&verdict)).await?;
        print_summary(round, &verdict)?;
        return Ok((ExitStatus::from_verdict(before.exit), ReductionEnd::Kept));
    }
    let out = scratch.path().join("run");
    merge(round, &planned, &parts, &out)?;
    let missing = parts.iter().filter(|p| !p.whole).count();
    if !knows_more(round, &of, missing, found.as_ref()).await? {
        send(round, &out, &EVIDENCE).await?;
    }
    // Before the state, so that what it notifies of can be looked up.
    let runtime = tokio::runtime::Handle::current();
    let first = || tokio::task::block_in_place(|| runtime.block_on(send(round, &out, &VERDICTS)));
    let place = SettleContext { store: &store, config, context, notifiers: &notifiers };
    let settled = settle_run(place, &agreed, &out, first).await?;
    let verdict = &settled.verdict;
    // The state is saved: from here on everybody is notified, whatever else fails.
    let kept = keep(round, &parts, verdict, &out, of, found.as_ref()).await;
    notify(&notifiers, config, &settled).await;
    let end = kept?;
    if end == ReductionEnd::Kept {
        print_summary(round, verdict)?;
    }
    Ok((ExitStatus::from_verdict(verdict.exit), end))
}

/// The summary, unless a notifier has stdout for itself.
fn print_summary(round: &RoundStore, verdict: &Verdict) -> Result<()> {
    if round.config.notify.iter().any(|n| n.settings.writes_stdout()) {
        return Ok(());
    }
    print(&format!("{}{}\n", render_summary(verdict), round.shown("run/report.html")))
}

/// Fetches what there is of a shard: what was handed in, else the latest save.
async fn gather(
    round: &RoundStore,
    planned: &PlannedRound,
    shard: PlanShard,
    dir: &Path,
    of: &mut Sha256,
) -> Result<ShardPart> {
    let mut wrong = Vec::new();
    match restore::read_done(round, planned, shard).await? {
        Some(Ok(done)) => {
            let (attempt, sequence) = (&done.attempt, done.sequence);
            let fetched = match restore::save(round, planned, shard, attempt, sequence).await? {
                Ok(save) => {
                    restore::fetch(round, planned, &save, &dir.join("done")).await?.map(drop)
                }
                Err(why) => Err(why),
            };
            match fetched {
                Ok(()) => {
                    of.update(format!("{shard} {attempt} {sequence}\n"));
                    return Ok(ShardPart {
                        shard,
                        dir: Some(dir.join("done")),
                        whole: true,
                        wrong,
                    });
                }
                Err(why) => wrong.push(why),
            }
        }
        Some(Err(why)) => wrong.push(why),
        None => {}
    }
    let (restored, more) = restore::fetch_latest_save(round, planned, shard, dir).await?;
    wrong.extend(more);
    let Some(r) = restored else { return Ok(ShardPart { shard, dir: None, whole: false, wrong }) };
    of.update(format!("{shard} {} {}\n", r.save.attempt, r.save.sequence));
    // A task that was killed between its last save and handing in has left all of it.
    let whole = r.meta.status == RunStatus::Complete;
    Ok(ShardPart { shard, dir: Some(r.dir), whole, wrong })
}

/// The result and the verdict of a reduction of just this, if there was one.
async fn find_same_result(round: &RoundStore, of: &str) -> Result<Option<(RoundResult, Verdict)>> {
    let Some(Ok(before)) = read_result(round).await? else { return Ok(None) };
    // What was damaged may have been repaired.
    if before.of != of || !before.damaged_shards.is_empty() {
        return Ok(None);
    }
    let name = round.name("run/verdict.json");
    let FetchedObject::Is(bytes) = round.objects.get_within(&name, VERDICT).await? else {
        return Ok(None);
    };
    let verdict: Option<Verdict> = serde_json::from_slice(&bytes).ok();
    let is_its = |v: &Verdict| v.run_id == before.run_id && v.judged_at == before.judged_at;
    Ok(verdict.filter(is_its).map(|v| (before, v)))
}

/// The result that there is.
pub(super) async fn read_result(round: &RoundStore) -> Result<Option<Result<RoundResult, String>>> {
    let name = round.name(RESULT);
    let read = read_json::<RoundResult>(&round.objects, &name, result::LARGEST).await?;
    Ok(read.map(|read| {
        let fits = |r: &RoundResult| r.version == result::VERSION && r.round == round.id.as_str();
        read.and_then(|r| if fits(&r) { Ok(r) } else { Err("is of another round".to_owned()) })
    }))
}

/// Merges what there is into one run, which says what there is not.
fn merge(
    round: &RoundStore,
    planned: &PlannedRound,
    parts: &[ShardPart],
    out: &Path,
) -> Result<()> {
    let dirs: Vec<PathBuf> = parts.iter().filter_map(|p| p.dir.clone()).collect();
    let amend = |meta: &mut RunMeta| {
        // The same whenever the round is reduced: it is one run.
        meta.run_id = format!("{}-{}", round.id, &planned.digest[..8]);
        if planned.plan.shards == 1 {
            // The one shard is the whole.
            for gap in &mut meta.gaps {
                gap.shard = None;
            }
        }
        meta.gaps.splice(0..0, planned.plan.gaps.iter().cloned());
        for part in parts {
            // What is made up for by another save is no gap.
            let effect = if part.whole { GapEffect::Noted } else { GapEffect::NotCovered };
            meta.gaps.extend(part.wrong.iter().map(|why| {
                Gap::ShardDamaged { reason: why.clone() }.with(effect).of_shard(part.shard)
            }));
        }
    };
    // What shards say comes from other machines.
    let amend = |meta: &mut RunMeta| {
        amend(meta);
        let texts = [&mut meta.program, &mut meta.method]
            .into_iter()
            .chain(meta.canaries.iter_mut().map(|c| &mut c.endpoint))
            .chain(meta.merged.iter_mut().map(|m| &mut m.run_id));
        for text in texts {
            *text = to_printable(text.as_bytes(), 200);
        }
        for gap in &mut meta.gaps {
            gap.map_text(|text| to_printable(text.as_bytes(), 2000));
            gap.limit_fields(GAP);
        }
    };
    if !dirs.is_empty() {
        return merge_as(&dirs, out, amend).map(drop);
    }
    let mut meta = make_empty_meta(round, planned);
    amend(&mut meta);
    let mut folder =
        RunFolder::create(out, &RunMeta { status: RunStatus::Running, ..meta.clone() })?;
    folder.finish(&meta)
}

/// The run of a round of which nothing was handed in.
fn make_empty_meta(round: &RoundStore, planned: &PlannedRound) -> RunMeta {
    let p = &planned.plan;
    let missing = (1..=p.shards).filter_map(|i| PlanShard::new(i, p.shards)).map(|shard| {
        let cells = p.walk(shard).map_or(0, |w| w.len());
        Gap::ShardMissing { missing: shard, cells }.not_covered()
    });
    RunMeta {
        version: VERSION,
        minor: MINOR,
        run_id: String::new(),
        status: RunStatus::Stopped,
        started_at: p.planned_at,
        ended_at: None,
        resumed_at: Vec::new(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        vantage: p.vantage.clone(),
        scope: ScopeFacts { digest: p.scope.clone(), ..ScopeFacts::of(&round.config.scope) },
        plan: p.plan.clone(),
        shard: PlanShard::WHOLE,
        part: p.part,
        method: "none".to_owned(),
        rate_asked: p.rate,
        rate_reached: 0.0,
        recall_promised: p.recall,
        frames_refused: 0,
        sweep: None,
        canaries: Vec::new(),
        http: HttpTotals { tier: p.tier, ..HttpTotals::default() },
        merged: Vec::new(),
        gaps: missing.collect(),
    }
}

/// Sends files of the merged run.
async fn send(round: &RoundStore, out: &Path, files: &[&str]) -> Result<()> {
    for file in files {
        let name = round.name(&format!("run/{file}"));
        round.objects.overwrite_from(&name, &out.join(file)).await?;
    }
    Ok(())
}

/// Sends the reports, and the result last of all. `found`: the result as this reduction began.
async fn keep(
    round: &RoundStore,
    parts: &[ShardPart],
    verdict: &Verdict,
    out: &Path,
    of: String,
    found: Option<&RoundResult>,
) -> Result<ReductionEnd> {
    let named = |keep: &dyn Fn(&&ShardPart) -> bool| -> Vec<String> {
        parts.iter().filter(keep).map(|p| p.shard.to_string()).collect()
    };
    let result = RoundResult {
        version: result::VERSION,
        minor: result::MINOR,
        round: round.id.to_string(),
        run_id: verdict.run_id.clone(),
        judged_at: verdict.judged_at,
        exit: verdict.exit,
        incomplete: verdict.incomplete,
        suspect: verdict.suspect,
        headline: result::extract_headline(verdict),
        counts: verdict.counts.clone(),
        coverage: result::shorten_coverage(&verdict.coverage),
        shards: parts.len() as u32,
        missing_shards: named(&|p| !p.whole),
        damaged_shards: named(&|p| !p.wrong.is_empty()),
        report: round.shown("run/report.html"),
        verdict: round.shown("run/verdict.json"),
        of,
    };
    agree(round, &result, out, found).await.map_err(|e| {
        Failure::new(format!("the state is saved, and the result is not: {}", render_line(&e)))
            .help("reduce again; nothing is notified twice")
            .into()
    })
}

/// Whether another reduction, that was not there when this one began, took in more shards.
async fn knows_more(
    round: &RoundStore,
    of: &str,
    missing: usize,
    found: Option<&RoundResult>,
) -> Result<bool> {
    let now = read_result(round).await?.and_then(Result::ok);
    let is_it =
        |r: &RoundResult| Some(r) != found && r.of != of && r.missing_shards.len() < missing;
    Ok(now.as_ref().is_some_and(is_it))
}

/// Writes the result and sees that what lies beside it is of the same reduction. Two at once write over
/// each other's files: whoever finds another's beside its own result sends its own again, and one
/// that knows of fewer shards leaves the other's.
async fn agree(
    round: &RoundStore,
    result: &RoundResult,
    out: &Path,
    found: Option<&RoundResult>,
) -> Result<ReductionEnd> {
    let mine = bytes::Bytes::from(std::fs::read(out.join("run.json"))?);
    for n in 0..TRIES {
        let read = async |name: &str| round.objects.get_within(&round.name(name), VERDICT).await;
        let seen = round.objects.get(&round.name(RESULT)).await?.map(|(_, seen)| seen);
        let is_mine = read("run/run.json").await? == FetchedObject::Is(mine.clone());
        let missing = result.missing_shards.len();
        if !is_mine && knows_more(round, &result.of, missing, found).await? {
            return Ok(ReductionEnd::Outdone);
        }
        send(round, out, if n == 0 { &REPORTS } else { &ALL }).await?;
        let written = round.objects.replace(&round.name(RESULT), to_json(result)?, seen).await?;
        if written == WriteOutcome::Conflict {
            continue;
        }
        let verdict = match read("run/verdict.json").await? {
            FetchedObject::Is(bytes) => serde_json::from_slice::<Verdict>(&bytes).ok(),
            _ => None,
        };
        let is_mine = verdict.is_some_and(|v| v.judged_at == result.judged_at)
            && read("run/run.json").await? == FetchedObject::Is(mine.clone());
        let last = read_result(round).await?.and_then(Result::ok);
        // Whoever wrote another one looks after it.
        if is_mine || last.is_some_and(|r| r != *result) {
            return Ok(ReductionEnd::Kept);
        }
    }
    tracing::warn!(
        "others reduce this round again and again: {} may be of another reduction",
        round.shown("run")
    );
    Ok(ReductionEnd::Kept)
}
