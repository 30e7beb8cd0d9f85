//! Going on with a run that did not come to its end.

use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_engine::SweepCheckpoint;
use mimawari_probes::gap::{CoverageGap, Gap};
use mimawari_probes::observation::TcpObservation;
use mimawari_probes::wire::SynAckSigns;
use mimawari_runs::meta::{PlanFacts, RunMeta, RunStatus, ScopeFacts};
use mimawari_runs::read_meta;
use mimawari_targets::{AddrSet, PlanOrder, PlanShard};

use super::confirm::OpenedPort;
use crate::config::Config;

/// The part of the plan that a run walked: it is gone on with whosever turn it would be now.
///
/// # Errors
/// A [`Failure`] when there is no run.
pub(super) fn read_shard(dir: &Path) -> Result<Option<PlanShard>> {
    Ok(read_meta(dir)?.part)
}

/// A run that is to be gone on with.
pub(super) struct EarlierRun {
    /// Its `run.json`.
    pub meta: RunMeta,
    /// Its walk, where the scope has shrunk since: the cells keep their numbers.
    pub walk: Option<PlanOrder>,
    /// The addresses that left the scope since.
    pub left: AddrSet,
}

/// The run that is to be gone on with. A scope that only shrank is no other job: what left it is not
/// probed any more, and the rest goes on.
///
/// # Errors
/// A [`Failure`] when there is none, when it is complete, or when it was another job: what was seen
/// of one plan says nothing of another.
pub(super) fn read(dir: &Path, config: &Config, walk: &PlanOrder) -> Result<EarlierRun> {
    let before = read_meta(dir)?;
    if before.status == RunStatus::Complete {
        return Err(Failure::new(format!("the run {} is complete", dir.display()))
            .help("judge it, or begin a new run without --resume")
            .into());
    }
    if let Some(left) = find_left_scope(&before, config, walk) {
        let now = RunMeta {
            plan: PlanFacts::of(walk.plan()),
            scope: ScopeFacts::of(&config.scope),
            ..before.clone()
        };
        if list_differences(&now, config, walk).is_empty() {
            let walk = before.walk().map_err(|e| {
                Failure::new(format!("the plan of the run {} cannot be read: {e}", dir.display()))
                    .help("begin a new run without --resume")
            })?;
            return Ok(EarlierRun { meta: before, walk: Some(walk), left });
        }
    }
    let differences = list_differences(&before, config, walk);
    if differences.is_empty() {
        return Ok(EarlierRun { meta: before, walk: None, left: AddrSet::default() });
    }
    Err(Failure::new(format!(
        "the run {} was another job: {}",
        dir.display(),
        differences.join("; ")
    ))
    .help("use the configuration and the flags that the run was begun with, or begin a new run")
    .into())
}

/// What left the scope since the run was begun, if that is all that changed about its addresses.
fn find_left_scope(before: &RunMeta, config: &Config, walk: &PlanOrder) -> Option<AddrSet> {
    let permitted = config.scope.permitted();
    let was = before.scope.to_scope();
    let grew = !permitted.subtract(was.permitted()).is_empty();
    let left = before.plan.addresses.subtract(permitted);
    let rest = before.plan.addresses.intersect(permitted);
    let same = rest == *walk.plan().addrs().addrs() && before.plan.ports == *walk.plan().ports();
    (!grew && same && !left.is_empty()).then_some(left)
}

fn list_differences(before: &RunMeta, config: &Config, walk: &PlanOrder) -> Vec<String> {
    let now = PlanFacts::of(walk.plan());
    let mut all = Vec::new();
    let mut compare = |what: &str, before: String, now: String| {
        if before != now {
            all.push(format!("its {what} {before}, now {now}"));
        }
    };
    let listed = |set: &AddrSet| set.ranges().map(|r| r.to_string()).collect::<Vec<_>>().join(", ");
    let (old_scope, scope) = (&before.scope, ScopeFacts::of(&config.scope));
    compare("addresses were", listed(&before.plan.addresses), listed(&now.addresses));
    compare("ports were", before.plan.ports.to_string(), now.ports.to_string());
    compare("shard was", before.shard.to_string(), walk.shard().to_string());
    let part = |part: Option<PlanShard>| part.unwrap_or(PlanShard::WHOLE).to_string();
    compare("part was", part(before.part), walk.part().to_string());
    compare("vantage was", before.vantage.clone(), config.vantage.clone());
    compare("order was", before.plan.seed.to_string(), now.seed.to_string());
    compare("scope allowed", listed(&old_scope.allow), listed(&scope.allow));
    compare("scope denied", listed(&old_scope.deny), listed(&scope.deny));
    compare("authorisation was", old_scope.authorised_by.clone(), scope.authorised_by);
    all.into_iter().map(shorten).collect()
}

/// A list of a thousand ranges helps nobody.
fn shorten(text: String) -> String {
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// From where the run was gone on with.
pub(super) fn build_resume_gap(
    point: Option<&SweepCheckpoint>,
    cells: u64,
    at: Timestamp,
) -> CoverageGap {
    let in_work = point.map_or(0, |p| p.chunks.iter().map(|c| u64::from(c.length)).sum());
    let finished = point.map(SweepCheckpoint::finished);
    Gap::Resumed { at: format!("{at:.0}"), cells, finished, in_work }.noted()
}

/// An open cell that was seen before; `None` if it is not in the scope.
pub(super) fn read_opened_port(config: &Config, t: &TcpObservation) -> Option<OpenedPort> {
    let endpoint = config.scope.endpoint(t.ip, t.port).ok()?;
    Some(OpenedPort {
        endpoint,
        attempt: t.attempt,
        ttl: t.ttl,
        signs: SynAckSigns::default(),
        at: t.at,
    })
}
