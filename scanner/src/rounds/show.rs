//! `mimawari round show`: what there is of a round, and what is missing.

use std::fmt::Write as _;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::ExitStatus;
use mimawari_probes::http::to_printable;
use mimawari_targets::PlanShard;
use serde::Serialize;

use super::plan::{self, PlannedRound};
use super::result::RoundResult;
use super::{RoundStore, reduce, restore};
use crate::cli::round::RoundShowArgs;
use crate::context::Context;
use crate::output::print;

/// How far a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ShardState {
    Missing,
    Saved,
    Done,
    Damaged,
}

#[derive(Debug, Serialize)]
struct RoundRow {
    shard: String,
    state: ShardState,
    cells: u64,
    finished: u64,
    at: Option<Timestamp>,
    attempt: Option<String>,
    damage: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownRound {
    version: u32,
    round: String,
    claim: String,
    planned_at: Timestamp,
    cells: u64,
    shards: Vec<RoundRow>,
    missing_shards: Vec<String>,
    result: Option<RoundResult>,
}

/// `mimawari round show`
pub(super) async fn run_show_command(
    args: &RoundShowArgs,
    context: &Context,
) -> Result<ExitStatus> {
    let round = RoundStore::open(&args.which, None)?;
    let planned = plan::must_read(&round).await?;
    let p = &planned.plan;
    let mut shards = Vec::new();
    for shard in (1..=p.shards).filter_map(|i| PlanShard::new(i, p.shards)) {
        shards.push(read_shard_row(&round, &planned, shard).await?);
    }
    let missing = shards.iter().filter(|r| r.state != ShardState::Done);
    let result = match reduce::read_result(&round).await? {
        Some(Err(why)) => {
            tracing::warn!("{} {why}", round.shown("result.json"));
            None
        }
        other => other.and_then(Result::ok),
    };
    let shown = ShownRound {
        version: 1,
        round: round.id.to_string(),
        claim: p.claim.clone(),
        planned_at: p.planned_at,
        cells: p.cells(),
        missing_shards: missing.map(|r| r.shard.clone()).collect(),
        shards,
        result,
    };
    if args.json {
        let mut text = serde_json::to_string_pretty(&shown)?;
        text.push('\n');
        print(&text)?;
    } else {
        print(&render_table(&shown, (context.now)()))?;
    }
    Ok(ExitStatus::Clean)
}

async fn read_shard_row(
    round: &RoundStore,
    planned: &PlannedRound,
    shard: PlanShard,
) -> Result<RoundRow> {
    let mut row = RoundRow {
        shard: shard.to_string(),
        state: ShardState::Missing,
        cells: planned.plan.walk(shard).map_or(0, |w| w.len()),
        finished: 0,
        at: None,
        attempt: None,
        damage: Vec::new(),
    };
    match restore::read_done(round, planned, shard).await? {
        Some(Ok(done)) => {
            row.state = ShardState::Done;
            row.finished = done.finished;
            row.at = Some(done.at);
            row.attempt = Some(done.attempt.to_string());
            return Ok(row);
        }
        Some(Err(why)) => row.damage.push(why),
        None => {}
    }
    let (saves, wrong) = restore::list_saves(round, planned, shard).await?;
    row.damage.extend(wrong);
    if let Some(save) = saves.first() {
        row.state = ShardState::Saved;
        row.finished = save.finished;
        row.at = Some(save.saved_at);
        row.attempt = Some(save.attempt.to_string());
    } else if !row.damage.is_empty() {
        row.state = ShardState::Damaged;
    }
    Ok(row)
}

fn render_table(s: &ShownRound, now: Timestamp) -> String {
    let ago = |at: Timestamp| {
        mimawari_base::duration::format_duration(at.duration_until(now).as_secs_f64().max(0.0))
    };
    let clean = |text: &str| to_printable(text.as_bytes(), 400);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "round {}: planned {} ago by {}; {} cells",
        s.round,
        ago(s.planned_at),
        clean(&s.claim),
        s.cells
    );
    for r in &s.shards {
        let state = match r.state {
            ShardState::Missing => "missing",
            ShardState::Saved => "saved",
            ShardState::Done => "done",
            ShardState::Damaged => "damaged",
        };
        let _ = write!(out, "{:>11}  {state:<8}", r.shard);
        if let (Some(at), Some(attempt)) = (r.at, &r.attempt) {
            let _ =
                write!(out, "{} of {} cells, {} ago, by {attempt}", r.finished, r.cells, ago(at));
        } else {
            let _ = write!(out, "{} cells", r.cells);
        }
        out.push('\n');
        for d in &r.damage {
            let _ = writeln!(out, "{:>11}  {}", "", clean(d));
        }
    }
    match &s.result {
        None => out.push_str("not reduced yet\n"),
        Some(r) => {
            let _ = writeln!(out, "{}\n{}", clean(&r.headline), clean(&r.report));
        }
    }
    out
}
