//! The run folder of an import.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_engine::SweepSummary;
use mimawari_probes::gap::{CoverageGap, Gap, GapEffect, LeftOutReason, NamedSample};
use mimawari_probes::observation::{CellState, Observation, TcpObservation};
use mimawari_targets::{CellPlan, PlanOrder, PlanShard, Port, PortSet};

use super::ImportJob;
use super::cells::ImportCells;
use super::seen::{CellSink, ImportedFacts, SeenCells};
use crate::meta::{
    CanaryFacts, HttpTotals, MINOR, PlanFacts, RunMeta, ScopeFacts, VERSION, run_id,
};
use crate::{RunFolder, RunStatus};

/// Records that are written at once.
const RECORDS: usize = 1024;
/// Addresses outside the plan that are named; the others are counted.
const NAMED: usize = 5;

/// What the run is of.
pub(super) struct ImportFacts<'a> {
    pub(super) job: &'a ImportJob<'a>,
    pub(super) plan: CellPlan,
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
    /// The last part of the run's id.
    pub(super) tail: u16,
    pub(super) file: String,
}

/// Things that were left out: how many, and of which addresses.
#[derive(Debug, Default)]
struct LeftOut {
    count: u64,
    named: BTreeSet<IpAddr>,
}

impl LeftOut {
    fn add(&mut self, ip: IpAddr, n: u64) {
        self.count += n;
        if self.named.len() < NAMED {
            self.named.insert(ip);
        }
    }

    fn gap(&self, reason: LeftOutReason) -> Option<CoverageGap> {
        let first: Vec<String> = self.named.iter().map(ToString::to_string).collect();
        let named = NamedSample { more: first.len() == NAMED, first };
        (self.count > 0).then(|| Gap::PortsLeftOut { ports: self.count, reason, named }.noted())
    }
}

/// Writes a run folder.
pub(super) struct RunImporter {
    folder: RunFolder,
    dir: PathBuf,
    meta: RunMeta,
    scope: mimawari_targets::Scope,
    walk: PlanOrder,
    cells: ImportCells,
    batch: Vec<Observation>,
    canaries: BTreeMap<(IpAddr, u16), CellState>,
    ended: Timestamp,
    outside: LeftOut,
    unplanned: LeftOut,
    opens: u64,
    single: u64,
}

impl RunImporter {
    pub(super) fn create(out: &Path, facts: ImportFacts<'_>, told: &ImportedFacts) -> Result<Self> {
        let job = facts.job;
        let meta = RunMeta {
            version: VERSION,
            minor: MINOR,
            run_id: run_id(facts.started, facts.tail),
            status: RunStatus::Running,
            started_at: facts.started,
            ended_at: Some(facts.ended),
            resumed_at: Vec::new(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            vantage: job.vantage.to_owned(),
            scope: ScopeFacts::of(job.scope),
            plan: PlanFacts::of(&facts.plan),
            shard: PlanShard::WHOLE,
            part: None,
            method: told.method.clone(),
            rate_asked: 0,
            rate_reached: 0.0,
            recall_promised: job.recall,
            frames_refused: 0,
            sweep: None,
            canaries: Vec::new(),
            http: HttpTotals::default(),
            merged: Vec::new(),
            gaps: vec![
                Gap::Imported {
                    file: mimawari_probes::http::to_printable(facts.file.as_bytes(), 200),
                    method: told.method.clone(),
                }
                .noted(),
            ],
        };
        Ok(Self {
            folder: RunFolder::create(out, &meta)?,
            dir: out.to_owned(),
            meta,
            scope: job.scope.clone(),
            walk: facts.plan.walk(PlanShard::WHOLE),
            cells: ImportCells::new(),
            batch: Vec::with_capacity(RECORDS),
            canaries: job
                .canaries
                .iter()
                .map(|c| ((c.ip().to_canonical(), c.port()), CellState::NotProbed))
                .collect(),
            ended: facts.ended,
            outside: LeftOut::default(),
            unplanned: LeftOut::default(),
            opens: 0,
            single: 0,
        })
    }

    /// Writes a cell down, if it is of the plan.
    fn cell(&mut self, ip: IpAddr, port: Port, state: CellState) -> Result<bool> {
        let Some(step) = self.walk.step_of(ip, port) else {
            if self.scope.allows(ip) {
                self.unplanned.add(ip, 1);
            } else {
                self.outside.add(ip, 1);
            }
            return Ok(false);
        };
        if let Some(canary) = self.canaries.get_mut(&(ip, port.get())) {
            *canary = (*canary).max(state);
        }
        self.cells.add(step, state, &self.dir).map_err(|e| {
            Failure::new(format!("cannot write into the run folder {}", self.dir.display()))
                .help("choose another folder with --out DIR")
                .source(e)
        })?;
        Ok(true)
    }

    fn write_batch(&mut self) -> Result<()> {
        self.folder.observe(&self.batch)?;
        self.batch.clear();
        Ok(())
    }

    /// Writes what is left, and what the run is to be believed for.
    pub(super) fn finish(mut self, told: ImportedFacts) -> Result<RunMeta> {
        self.write_batch()?;
        let Self { mut folder, mut meta, cells, .. } = self;
        let [_, silent, prohibited, closed, open] = cells.finish(|piece| folder.cover(&piece))?;
        let total = self.walk.len();
        let covered = silent + prohibited + closed + open;
        let not_probed = total.saturating_sub(covered);
        // No recall is known of a scan that somebody else made, so none is promised.
        meta.sweep = Some(SweepSummary {
            cells: total,
            open,
            closed,
            prohibited,
            silent,
            not_probed,
            promise_kept: false,
            ..SweepSummary::default()
        });
        meta.canaries = self
            .canaries
            .iter()
            // Of one that the file does not tell nothing is known.
            .filter(|(_, state)| state.is_covered())
            .map(|((ip, port), state)| CanaryFacts {
                endpoint: SocketAddr::new(*ip, *port).to_string(),
                answered: *state == CellState::Open,
            })
            .collect();
        meta.gaps.extend(told.gaps.into_iter().map(Gap::noted));
        meta.gaps.extend(self.outside.gap(LeftOutReason::OutsideScope));
        meta.gaps.extend(self.unplanned.gap(LeftOutReason::NotPlanned));
        if self.single > 0 {
            meta.gaps.push(Gap::SingleAnswers { ports: self.single, of: self.opens }.noted());
        }
        if not_probed > 0 {
            let scanner = told.lists_answers_only.map(str::to_owned);
            let (cells, of) = (not_probed, total);
            meta.gaps.push(Gap::ImportNotCovered { cells, of, scanner }.not_covered());
        }
        meta.status = if told.cut_off.is_some() { RunStatus::Stopped } else { RunStatus::Complete };
        meta.gaps.extend(told.cut_off.map(Gap::not_covered));
        folder.finish(&meta)?;
        Ok(meta)
    }
}

impl CellSink for RunImporter {
    fn port(&mut self, s: SeenCells) -> Result<()> {
        if !self.cell(s.ip, s.port, s.state)? {
            return Ok(());
        }
        if s.state == CellState::Open {
            self.opens += 1;
            self.single += u64::from(!s.connected);
        }
        if !matches!(s.state, CellState::Open | CellState::Prohibited) {
            return Ok(());
        }
        self.batch.push(Observation::Tcp(TcpObservation {
            ip: s.ip,
            port: s.port,
            state: s.state,
            // A scanner's clock may be ahead of ours; nothing is seen in the future.
            at: s.at.unwrap_or(self.ended).min(self.ended),
            attempt: 1,
            ttl: s.ttl,
            // The judge drops what is not confirmed, because our own scan asks every open cell a second
            // time: "not confirmed" then means that it was asked and did not accept. Here nobody asked.
            // To drop the answer would be to make a silence of it, so it is told, and the run's notes
            // say how many of its ports rest on a single answer.
            confirmed: s.state == CellState::Open,
            second_look: None,
            service: s.service.map(Box::new),
        }));
        if self.batch.len() >= RECORDS {
            self.write_batch()?;
        }
        Ok(())
    }

    fn ports(&mut self, ip: IpAddr, ports: &PortSet, state: CellState) -> Result<()> {
        if !self.scope.allows(ip) {
            self.outside.add(ip, u64::from(ports.len()));
            return Ok(());
        }
        for port in ports.iter() {
            self.cell(ip, port, state)?;
        }
        Ok(())
    }
}

/// What the command prints.
#[must_use]
pub fn render_summary(meta: &RunMeta, dir: &Path) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    if let Some(s) = &meta.sweep {
        let _ = writeln!(
            out,
            "{} cells: {} open, {} closed, {} prohibited, {} silent, {} not probed",
            s.cells, s.open, s.closed, s.prohibited, s.silent, s.not_probed
        );
    }
    for gap in &meta.gaps {
        let what = if gap.effect == GapEffect::Noted { "note" } else { "not covered" };
        let _ = writeln!(out, "{what}: {}", mimawari_report::describe_gap(gap));
    }
    let _ = writeln!(out, "{}", dir.display());
    out
}
