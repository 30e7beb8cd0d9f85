//! The shards of one plan, merged into one run.
//!
//! Shard i of n has every n-th position of the plan, so merging is arithmetic: position p of the
//! plan is step p / n of shard p mod n. States are interleaved block by block; memory does not grow
//! with the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_engine::{ChunkResult, SweepSummary};
use mimawari_probes::gap::{CoverageGap, Gap};
use mimawari_probes::observation::CellState;
use mimawari_targets::PlanShard;

use crate::meta::{CanaryFacts, HttpTotals, MergedRun, RunMeta, RunStatus};
use crate::{LoadedRun, RunFolder};

/// Cells that are interleaved at once.
const BLOCK: u64 = 1 << 20;
/// Records that are written at once.
const RECORDS: usize = 1024;

/// Merges run folders into a new one.
///
/// # Errors
/// A [`Failure`] when the runs are not shards of one plan under one scope, when a shard comes twice,
/// or when a folder cannot be read or written.
pub fn merge(dirs: &[PathBuf], out: &Path) -> Result<RunMeta> {
    merge_as(dirs, out, |_| {})
}

/// The same, with `amend` to say more of the whole in its `run.json`.
///
/// # Errors
/// As [`merge`].
pub fn merge_as(dirs: &[PathBuf], out: &Path, amend: impl FnOnce(&mut RunMeta)) -> Result<RunMeta> {
    let shards = open(dirs)?;
    let Some((_, first)) = shards.first_key_value() else {
        return Err(Failure::new("there is nothing to merge").help("name the run folders").into());
    };
    let first = &first.1;
    let count = first.meta.shard.count();
    let missing: Vec<u32> = (1..=count).filter(|i| !shards.contains_key(i)).collect();
    let runs: Vec<&LoadedRun> = shards.values().map(|(_, run)| run).collect();
    let mut meta = describe(first, &runs, &missing);
    amend(&mut meta);
    let end = std::mem::replace(&mut meta.status, RunStatus::Running);
    let mut folder = RunFolder::create(out, &meta)?;
    // Positions are those of the part that the runs walked.
    let cells = count_all_cells(&first.meta);
    for begin in (0..cells).step_by(BLOCK as usize) {
        let states = merge_cell_states(&shards, count, begin, BLOCK.min(cells - begin))?;
        folder.cover(&ChunkResult { first_step: begin, states })?;
    }
    for run in &runs {
        for records in run.observations.chunks(RECORDS) {
            folder.observe(records)?;
        }
    }
    // Last of all: a merge that was cut off must not look like a whole one.
    meta.status = end;
    folder.finish(&meta)?;
    Ok(meta)
}

type ShardSet = BTreeMap<u32, (PathBuf, LoadedRun)>;

/// Opens the runs and holds them against each other.
fn open(dirs: &[PathBuf]) -> Result<ShardSet> {
    let mut shards = ShardSet::new();
    for dir in dirs {
        let run = LoadedRun::open(dir)?;
        if let Some((other, reference)) = shards.values().next() {
            let differs = describe_difference(&reference.meta, &run.meta);
            if let Some(what) = differs {
                return Err(Failure::new(format!(
                    "{} and {} are not shards of one job: {what}",
                    other.display(),
                    dir.display()
                ))
                .help("merge runs of one scope, one plan and one vantage only; judge others apart")
                .into());
            }
        }
        let index = run.meta.shard.index();
        if let Some((other, _)) = shards.get(&index) {
            return Err(Failure::new(format!(
                "{} and {} are both shard {}",
                other.display(),
                dir.display(),
                run.meta.shard
            ))
            .help("leave one of them out: the one that came further, if one was interrupted")
            .into());
        }
        shards.insert(index, (dir.clone(), run));
    }
    Ok(shards)
}

fn describe_difference(a: &RunMeta, b: &RunMeta) -> Option<String> {
    if a.scope.digest != b.scope.digest {
        return Some("their scopes differ".to_owned());
    }
    if a.plan.addresses != b.plan.addresses {
        return Some("their addresses differ".to_owned());
    }
    if a.plan != b.plan {
        return Some(format!(
            "ports {} and {}, seeds {} and {}",
            a.plan.ports, b.plan.ports, a.plan.seed, b.plan.seed
        ));
    }
    if a.part != b.part {
        let shown = |part: Option<PlanShard>| part.unwrap_or(PlanShard::WHOLE);
        return Some(format!("parts {} and {}", shown(a.part), shown(b.part)));
    }
    if a.shard.count() != b.shard.count() {
        return Some(format!("shards {} and {}", a.shard, b.shard));
    }
    (a.vantage != b.vantage).then(|| format!("vantages {} and {}", a.vantage, b.vantage))
}

/// Cells of all shards of a run's part of the plan.
fn count_all_cells(meta: &RunMeta) -> u64 {
    let all = RunMeta { shard: PlanShard::WHOLE, ..meta.clone() };
    all.walk().map_or(0, |walk| walk.len())
}

/// The states of `length` positions of the plan from `begin` on.
fn merge_cell_states(
    shards: &ShardSet,
    count: u32,
    begin: u64,
    length: u64,
) -> Result<Vec<CellState>> {
    let n = u64::from(count);
    let mut states = vec![CellState::NotProbed; usize::try_from(length)?];
    let mut part = Vec::new();
    for (index, (dir, run)) in shards {
        // The first position of this shard that is not before `begin`.
        let own = u64::from(*index) - 1;
        let offset = (own + n - begin % n) % n;
        if offset >= length {
            continue;
        }
        let steps = (length - offset).div_ceil(n);
        part.clear();
        part.resize(usize::try_from(steps)?, CellState::NotProbed);
        run.states((begin + offset) / n, &mut part).map_err(|e| {
            Failure::new(format!("the coverage of {} cannot be read", dir.display()))
                .help("merge without it; its shard is then named as missing")
                .source(e)
        })?;
        let places = states.iter_mut().skip(usize::try_from(offset)?).step_by(count as usize);
        for (place, state) in places.zip(&part) {
            *place = *state;
        }
    }
    Ok(states)
}

fn describe(first: &LoadedRun, runs: &[&LoadedRun], missing: &[u32]) -> RunMeta {
    let m = &first.meta;
    let all = || runs.iter().map(|r| &r.meta);
    let complete = missing.is_empty() && all().all(|m| m.status == RunStatus::Complete);
    let mut gaps = Vec::new();
    for i in missing {
        let shard = PlanShard::new(*i, m.shard.count()).unwrap_or(PlanShard::WHOLE);
        let cells = RunMeta { shard, ..m.clone() }.walk().map_or(0, |w| w.len());
        gaps.push(Gap::ShardMissing { missing: shard, cells }.not_covered());
    }
    for run in runs {
        let shard = run.meta.shard;
        gaps.extend(run.damage.iter().map(|gap| gap.clone().noted().of_shard(shard)));
        if run.meta.status == RunStatus::Running {
            gaps.push(Gap::ShardUnfinished { unfinished: shard }.not_covered());
        }
        let of_all = |g: &&CoverageGap| {
            // Another shard may have the open web port that this one has not.
            !matches!(g.gap, Gap::ManifestNotAsked { .. })
                || runs.iter().all(|r| r.meta.gaps.iter().any(|other| other.gap == g.gap))
        };
        gaps.extend(run.meta.gaps.iter().filter(of_all).map(|g| g.clone().of_shard(shard)));
    }
    let methods: BTreeSet<&str> = all().map(|m| m.method.as_str()).collect();
    if methods.len() > 1 {
        gaps.push(Gap::MethodsDiffer.noted());
    }
    let mut http = HttpTotals { tier: m.http.tier, ..HttpTotals::default() };
    for m in all() {
        http.targets = http.targets.saturating_add(m.http.targets);
        http.checks_planned = http.checks_planned.saturating_add(m.http.checks_planned);
        http.checks_covered = http.checks_covered.saturating_add(m.http.checks_covered);
    }
    RunMeta {
        run_id: format!("{}-merged", m.run_id),
        status: if complete { RunStatus::Complete } else { RunStatus::Stopped },
        started_at: all().map(|m| m.started_at).min().unwrap_or(m.started_at),
        ended_at: all().filter_map(|m| m.ended_at).max(),
        resumed_at: Vec::new(),
        shard: PlanShard::WHOLE,
        method: methods.into_iter().collect::<Vec<_>>().join(" and "),
        rate_asked: all().fold(0, |n, m| n.saturating_add(m.rate_asked)),
        // JSON has no infinity: it would be read back as nothing.
        rate_reached: all().map(|m| m.rate_reached).sum::<f64>().clamp(0.0, f64::MAX),
        frames_refused: all().fold(0, |n, m| n.saturating_add(m.frames_refused)),
        sweep: Some(combine(runs, count_all_cells(m), missing.is_empty())),
        canaries: merge_canaries(runs),
        http,
        merged: all().map(|m| MergedRun { run_id: m.run_id.clone(), shard: m.shard }).collect(),
        gaps,
        ..m.clone()
    }
}

/// A canary was swept by the shard that has its cell, and asked by the others beside their sweep,
/// each from its own place: one that did not hear it may have heard nothing else either, so that a
/// silence in its cells proves nothing. All must have heard it.
fn merge_canaries(runs: &[&LoadedRun]) -> Vec<CanaryFacts> {
    let mut all: BTreeMap<&str, bool> = BTreeMap::new();
    for run in runs {
        for c in &run.meta.canaries {
            *all.entry(c.endpoint.as_str()).or_insert(true) &= c.answered;
        }
    }
    all.into_iter()
        .map(|(endpoint, answered)| CanaryFacts { endpoint: endpoint.to_owned(), answered })
        .collect()
}

/// The account of the whole. A shard that found f open cells with a recall of r has missed about
/// f/r − f, so the recall of all is the sum of what was found over the sum of what there was; the
/// ends of the interval are taken alike, which makes it wider than it need be.
fn combine(runs: &[&LoadedRun], cells: u64, none_missing: bool) -> SweepSummary {
    let mut s = SweepSummary { cells, promise_kept: none_missing, ..SweepSummary::default() };
    let mut weights = Vec::new();
    let mut losses = Vec::new();
    let mut counted = 0;
    for run in runs {
        let [_, silent, prohibited, closed, open] = run.counts;
        s.open += open;
        s.closed += closed;
        s.prohibited += prohibited;
        s.silent += silent;
        counted += open + closed + prohibited + silent;
        let Some(own) = &run.meta.sweep else {
            s.promise_kept = false;
            continue;
        };
        s.sent = s.sent.saturating_add(own.sent);
        s.send_failures = s.send_failures.saturating_add(own.send_failures);
        s.receive_lost = s.receive_lost.saturating_add(own.receive_lost);
        s.rate = s.rate.saturating_add(own.rate);
        s.path_capacity = match (s.path_capacity, own.path_capacity) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        s.dispersion = match (s.dispersion, own.dispersion) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        s.attempts = s.attempts.max(own.attempts);
        s.promise_kept &= own.promise_kept;
        for (i, n) in own.answers_by_attempt.iter().enumerate() {
            if s.answers_by_attempt.len() <= i {
                s.answers_by_attempt.push(0);
            }
            s.answers_by_attempt[i] = s.answers_by_attempt[i].saturating_add(*n);
        }
        let answered = own.open as f64 + own.closed as f64;
        losses.extend(own.loss_estimate.map(|l| (answered, l)));
        if let (Some(r), Some((low, high))) = (own.recall_estimate, own.recall_interval) {
            weights.push((own.open as f64, answered, [r, low, high]));
        }
    }
    s.not_probed = cells.saturating_sub(counted);
    s.promise_kept &= s.not_probed == 0;
    let total: f64 = losses.iter().map(|l| l.0).sum();
    if total > 0.0 {
        s.loss_estimate = Some(losses.iter().map(|(n, l)| n * l).sum::<f64>() / total);
    }
    let any_open = weights.iter().any(|w| w.0 > 0.0);
    let recall = |i: usize| {
        let (mut found, mut there) = (0.0, 0.0);
        for (open, answered, r) in &weights {
            let n = if any_open { *open } else { *answered };
            found += n;
            there += n / r[i].max(1e-9);
        }
        (found > 0.0).then(|| found / there)
    };
    s.recall_estimate = recall(0);
    s.recall_interval = recall(1).zip(recall(2));
    s
}

#[cfg(test)]
mod tests {
    use mimawari_targets::{AddrSet, Scope};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_position_belongs_to_one_step_of_one_shard() {
        // What `interleave` does for its indices, against the walk's own arithmetic.
        for (count, cells) in [(1u64, 10u64), (3, 100), (7, 1000), (200, 50)] {
            for begin in (0..cells).step_by(16) {
                let length = 16.min(cells - begin);
                let mut seen = vec![0; length as usize];
                for own in 0..count {
                    let offset = (own + count - begin % count) % count;
                    if offset >= length {
                        continue;
                    }
                    let first = (begin + offset) / count;
                    for k in 0..(length - offset).div_ceil(count) {
                        let position = (first + k) * count + own;
                        assert_eq!(position, begin + offset + k * count);
                        seen[(position - begin) as usize] += 1;
                    }
                }
                assert!(seen.iter().all(|n| *n == 1), "{count} shards, from {begin}: {seen:?}");
            }
        }
    }

    fn run_of(dir: &Path, shard: PlanShard, states: &[CellState], amended: &[(u64, CellState)]) {
        let allow = AddrSet::from_ranges(["192.0.2.0/28".parse().unwrap()]);
        let scope = Scope::new(allow, AddrSet::default(), "T-1");
        let plan =
            mimawari_targets::CellPlan::new(scope.whole(), "1-5".parse().unwrap(), 9).unwrap();
        let meta = RunMeta { status: RunStatus::Complete, ..RunMeta::blank(&scope, &plan, shard) };
        let mut folder = RunFolder::create(dir, &meta).unwrap();
        for (i, part) in states.chunks(3).enumerate() {
            folder.cover(&ChunkResult { first_step: i as u64 * 3, states: part.to_vec() }).unwrap();
        }
        for (step, state) in amended {
            folder.amend(*step, *state).unwrap();
        }
        folder.finish(&meta).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn each_cell_of_the_whole_is_that_of_its_shard(
            count in 1u32..8,
            missing in proptest::option::of(0u32..8),
            raw in proptest::collection::vec(0u8..5, 80),
            late in proptest::collection::vec((0u64..80, 0u8..5), 0..4),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut dirs = Vec::new();
            for i in 1..=count {
                if missing == Some(i - 1) && count > 1 {
                    continue;
                }
                let own: Vec<CellState> = (u64::from(i - 1)..80)
                    .step_by(count as usize)
                    .map(|p| CellState::from_u8(raw[p as usize]).unwrap())
                    .collect();
                let amended: Vec<_> = late
                    .iter()
                    .filter(|(p, _)| p % u64::from(count) == u64::from(i - 1))
                    .map(|(p, s)| (p / u64::from(count), CellState::from_u8(*s).unwrap()))
                    .collect();
                let path = dir.path().join(format!("s{i}"));
                run_of(&path, PlanShard::new(i, count).unwrap(), &own, &amended);
                dirs.push(path);
            }
            let out = dir.path().join("whole");
            let meta = merge(&dirs, &out).unwrap();
            let whole = LoadedRun::open(&out).unwrap();
            prop_assert_eq!(whole.walk().len(), 80);
            let mut expected: Vec<CellState> =
                raw.iter().map(|s| CellState::from_u8(*s).unwrap()).collect();
            for (p, s) in &late {
                expected[*p as usize] = CellState::from_u8(*s).unwrap();
            }
            let absent = missing.filter(|m| *m < count && count > 1);
            for (p, state) in expected.iter().enumerate() {
                let there = absent != Some(p as u32 % count);
                let e = whole.walk().endpoint(p as u64).unwrap();
                let expected = if there { *state } else { CellState::NotProbed };
                prop_assert_eq!(whole.cell(e.ip(), e.port()), expected);
            }
            prop_assert_eq!(meta.status == RunStatus::Complete, absent.is_none());
            prop_assert_eq!(meta.gaps.iter().any(|g| matches!(g.gap, Gap::ShardMissing { .. })), absent.is_some());
        }
    }
}
