//! Judging: run folders, baseline and state in, verdict out. Reads files; sends nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use mimawari_base::failure::Failure;
use mimawari_drift::baseline::Baseline;
use mimawari_drift::freshness::RotationPart;
use mimawari_drift::judge::{CoverageView, RunInput, judge};
use mimawari_drift::state::State;
use mimawari_drift::verdict::{RunFacts, Verdict, VerdictCoverage};
use mimawari_probes::gap::{CoverageGap, Gap};
use mimawari_probes::observation::{CellState, Observation};
use mimawari_report::describe_verdict;
use mimawari_targets::{CellPlan, PlanShard, Port, Scope};

use crate::{LoadedRun, RunStatus, read_meta};

/// The runs that are judged together: one, or the shards of one plan.
#[derive(Debug)]
pub struct Runs {
    runs: Vec<LoadedRun>,
    scope: Scope,
    /// The plan that the runs are of, to tell which part a cell is in.
    plan: CellPlan,
    max_age: Option<SignedDuration>,
}

impl CoverageView for Runs {
    fn cell(&self, ip: IpAddr, port: Port) -> CellState {
        self.runs.iter().map(|r| r.cell(ip, port)).max().unwrap_or(CellState::NotProbed)
    }

    fn in_scope(&self, ip: IpAddr) -> bool {
        self.scope.allows(ip)
    }

    fn part_of(&self, ip: IpAddr, port: Port) -> Option<u32> {
        self.plan.part_of(ip, port, self.part().count())
    }
}

impl Runs {
    /// Reads the run folders, for a judgement upon `previous`: of content checks that found
    /// nothing only those are kept that it has something to say about.
    ///
    /// # Errors
    /// A [`Failure`] naming the folder, or when the runs are not of one plan.
    pub fn open(dirs: &[PathBuf], scope: &Scope, previous: &State) -> Result<Self> {
        let known = previous.known_contents();
        let open = |d: &PathBuf| LoadedRun::open_for(d, |h| known.needs(h));
        let runs = dirs.iter().map(open).collect::<Result<Vec<_>>>()?;
        let Some(first) = runs.first() else {
            return Err(Failure::new("no run is named").help("name one with --run DIR").into());
        };
        let mut shards = BTreeSet::new();
        for (run, dir) in runs.iter().zip(dirs) {
            let same = run.meta.plan == first.meta.plan
                && run.meta.part == first.meta.part
                && run.meta.shard.count() == first.meta.shard.count()
                && run.meta.vantage == first.meta.vantage
                && run.meta.scope.digest == first.meta.scope.digest;
            if !same {
                return Err(Failure::new(format!(
                    "{} and {} are not shards of one plan",
                    dirs[0].display(),
                    dir.display()
                ))
                .help("judge each on its own")
                .into());
            }
            if !shards.insert(run.meta.shard.index()) {
                return Err(Failure::new(format!(
                    "shard {} is named twice: {}",
                    run.meta.shard,
                    dir.display()
                ))
                .help("name each shard once")
                .into());
            }
        }
        let plan = first.walk().plan().clone();
        Ok(Self { runs, scope: scope.clone(), plan, max_age: None })
    }

    /// Coverage older than this makes the verdict incomplete.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Option<Duration>) -> Self {
        self.max_age = max_age.map(|d| SignedDuration::try_from(d).unwrap_or(SignedDuration::MAX));
        self
    }

    /// The runs: one, or shards of one plan.
    #[must_use]
    pub fn each(&self) -> &[LoadedRun] {
        &self.runs
    }

    /// The runs.
    pub(crate) fn loaded(&self) -> &[LoadedRun] {
        &self.runs
    }

    /// The plan that they are of.
    pub(crate) const fn plan(&self) -> &CellPlan {
        &self.plan
    }

    /// The part of the plan that the runs walked.
    fn part(&self) -> PlanShard {
        self.runs.first().and_then(|r| r.meta.part).unwrap_or(PlanShard::WHOLE)
    }

    /// Whether every cell of the part was covered, and the recall kept.
    fn is_covered(&self) -> bool {
        let shards = self.runs.first().map_or(0, |r| r.meta.shard.count());
        u32::try_from(self.runs.len()) == Ok(shards)
            && self.runs.iter().all(|r| {
                r.meta.status == RunStatus::Complete
                    && r.damage.is_empty()
                    && r.counts[0] == 0
                    && r.meta.sweep.as_ref().is_some_and(|s| s.promise_kept)
            })
    }

    /// The judgement.
    #[must_use]
    pub fn judge(&self, baseline: &Baseline, previous: &State, now: Timestamp) -> (Verdict, State) {
        let joined: Vec<Observation>;
        let observations: &[Observation] = match &self.runs[..] {
            [one] => &one.observations,
            several => {
                joined = several.iter().flat_map(|r| r.observations.iter().cloned()).collect();
                &joined
            }
        };
        let run_id = self.runs.iter().map(|r| r.meta.run_id.as_str()).collect::<Vec<_>>().join("+");
        let Some(first) = self.runs.first() else {
            unreachable!("`open` refuses an empty list");
        };
        let digest = first.meta.plan.digest(self.part().count(), &first.meta.vantage);
        let turn = RotationPart {
            plan: &digest,
            part: self.part().index(),
            parts: self.part().count(),
            // A cell is as old as the first packet of its run, to be on the safe side.
            began: self.runs.iter().map(|r| r.meta.started_at).min().unwrap_or(now),
            complete: self.is_covered(),
            max_age: self.max_age,
        };
        let input = RunInput {
            run_id: &run_id,
            vantage: &first.meta.vantage,
            scope: &self.scope,
            observations,
            coverage: self,
            totals: self.totals(),
            facts: self.facts(),
            suspect_because: Vec::new(),
            gaps: self.gaps(),
            addresses: &first.meta.plan.addresses,
            ports: &first.meta.plan.ports,
            turn: Some(turn),
        };
        let (mut verdict, state) = judge(&input, baseline, previous, now);
        describe_verdict(&mut verdict);
        (verdict, state)
    }

    /// Why the runs are not whole, what of the plan they do not cover, and what they note.
    pub(crate) fn gaps(&self) -> Vec<CoverageGap> {
        let mut gaps = Vec::new();
        for run in &self.runs {
            let mut own: Vec<CoverageGap> = Vec::new();
            own.extend(match run.meta.status {
                RunStatus::Running => Some(Gap::RunUnfinished.doubted()),
                RunStatus::Failed => Some(Gap::RunFailed.doubted()),
                RunStatus::Stopped | RunStatus::Complete => None,
            });
            own.extend(run.damage.iter().cloned().map(Gap::doubted));
            own.extend(run.meta.gaps.iter().cloned());
            if run.meta.sweep.is_none() && run.counts[0] > 0 {
                let (cells, of) = (run.counts[0], run.walk().len());
                own.push(Gap::CellsNotProbed { cells, of }.not_covered());
            }
            let several = self.runs.len() > 1;
            gaps.extend(own.into_iter().map(
                |g| {
                    if several { g.of_shard(run.meta.shard) } else { g }
                },
            ));
        }
        if let Some(first) = self.runs.first() {
            let have: BTreeSet<u32> = self.runs.iter().map(|r| r.meta.shard.index()).collect();
            let n = first.meta.shard.count();
            let missing = (1..=n).filter(|i| !have.contains(i));
            let shards: Vec<PlanShard> = missing.filter_map(|i| PlanShard::new(i, n)).collect();
            if !shards.is_empty() {
                gaps.push(Gap::ShardsNotJudged { shards }.not_covered());
            }
        }
        gaps
    }

    fn totals(&self) -> VerdictCoverage {
        let mut c = VerdictCoverage::default();
        for run in &self.runs {
            let [not_probed, silent, prohibited, closed, open] = run.counts;
            c.not_probed += not_probed;
            c.silent += silent;
            c.prohibited += prohibited;
            c.closed += closed;
            c.open += open;
            c.checks_planned += run.meta.http.checks_planned;
            c.checks_covered += run.meta.http.checks_covered;
        }
        c.cells_covered = c.silent + c.prohibited + c.closed + c.open;
        c.cells_planned = c.cells_covered + c.not_probed;
        if let Some(first) = self.runs.first() {
            // What was planned is the whole part, also when only some of its shards are here.
            let part = self.plan.clone().walk_part(self.part(), PlanShard::WHOLE).len();
            c.cells_planned = c.cells_planned.max(part);
            c.not_probed = c.cells_planned - c.cells_covered;
            c.recall_promised = first.meta.recall_promised;
        }
        // Of several shards the least sure one speaks for all.
        let worst = self
            .runs
            .iter()
            .filter_map(|r| r.meta.sweep.as_ref())
            .filter_map(|s| Some((s.recall_estimate?, s.recall_interval)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((estimate, interval)) = worst {
            c.recall_estimate = Some(estimate);
            c.recall_interval = interval;
        }
        c
    }

    fn facts(&self) -> RunFacts {
        let mut f = RunFacts::default();
        for run in &self.runs {
            let m = &run.meta;
            f.started_at = Some(f.started_at.map_or(m.started_at, |t| t.min(m.started_at)));
            f.ended_at = f.ended_at.max(m.ended_at);
            f.method.clone_from(&m.method);
            f.rate_asked = f.rate_asked.saturating_add(m.rate_asked);
            f.rate_reached += m.rate_reached;
            if let Some(s) = &m.sweep {
                f.packets_sent += s.sent;
                f.send_failures += s.send_failures;
                f.receive_drops += s.receive_lost;
            }
            f.canaries_total += m.canaries.len() as u32;
            f.canaries_answered += m.canaries.iter().filter(|c| c.answered).count() as u32;
        }
        if let Some(first) = self.runs.first() {
            let m = &first.meta;
            f.targets = m.plan.addresses.ranges().map(|r| r.to_string()).collect();
            f.ports = m.plan.ports.to_string();
            f.addresses = u64::try_from(m.plan.addresses.len()).unwrap_or(u64::MAX);
            f.authorised_by.clone_from(&m.scope.authorised_by);
            f.scope_digest.clone_from(&m.scope.digest);
            f.vantage.clone_from(&m.vantage);
        }
        f
    }
}

/// The run folders that a command line names: as they are, or the newest for `latest`.
///
/// # Errors
/// A [`Failure`] when there is none.
pub fn resolve_run_folders(named: &[PathBuf], runs: &Path) -> Result<Vec<PathBuf>> {
    if named.iter().all(|n| n != Path::new("latest")) {
        return Ok(named.to_vec());
    }
    if named.len() > 1 {
        return Err(Failure::new("--run latest stands alone")
            .help("name every run, or only `latest`; a folder of that name is ./latest")
            .into());
    }
    let latest = find_latest_run(runs)?;
    tracing::info!(run = %latest.display(), "judging the newest complete run");
    Ok(vec![latest])
}

/// The newest complete run below a folder, by its start. A shard alone is no complete run.
///
/// # Errors
/// A [`Failure`] when there is none.
pub fn find_latest_run(runs: &Path) -> Result<PathBuf> {
    let shown = runs.display();
    let entries = std::fs::read_dir(runs).map_err(|e| {
        Failure::new(format!("cannot read the folder of runs {shown}"))
            .help("name the folder as `dir` under [output], or the run itself with --run DIR")
            .source(e)
    })?;
    let (mut newest, mut others) = (None, 0);
    for entry in entries.flatten() {
        let dir = entry.path();
        if !dir.join("run.json").is_file() {
            continue;
        }
        match read_meta(&dir) {
            Ok(m) if m.status == RunStatus::Complete && m.shard.count() == 1 => {
                newest = newest.max(Some((m.started_at, m.run_id, dir)));
            }
            Ok(_) => others += 1,
            Err(e) => {
                tracing::warn!("{}", mimawari_base::failure::render_line(&e));
                others += 1;
            }
        }
    }
    newest.map(|(_, _, dir)| dir).ok_or_else(|| {
        let text = match others {
            0 => format!("there is no run in {shown}"),
            n => format!("no run in {shown} is complete, of {n}"),
        };
        Failure::new(text)
            .help("run `mimawari scan` or `patrol`, merge shards with `mimawari merge`, or name a run with --run DIR")
            .into()
    })
}
