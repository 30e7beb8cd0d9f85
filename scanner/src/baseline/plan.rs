//! `mimawari baseline plan`

use std::collections::HashSet;
use std::net::IpAddr;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_drift::impact::{ImpactSide, NewlyAllowed, compare};
use mimawari_probes::observation::{CellState, Observation};
use mimawari_runs::LoadedRun;
use mimawari_runs::Runs;
use mimawari_store::StateStore;
use mimawari_store::baseline::read_baseline;
use mimawari_targets::Port;

use super::resolve_now;
use crate::cli::baseline_plan::{BaselinePlanArgs, PlanFormat};
use crate::config::Config;
use crate::context::Context;
use crate::output::{detect_terminal_width, write_out};

/// Cells that are looked up at a time, in the order in which they lie in the coverage.
const AT_ONCE: usize = 1 << 18;
/// If more than one cell in so many is asked for, the coverage is read from end to end instead.
const SPARSE: u128 = 64;
/// States that are read at a time.
const STATES: usize = 1 << 16;

/// `mimawari baseline plan`
///
/// # Errors
/// Unreadable runs, baselines or state; an unwritable output.
pub async fn run(args: &BaselinePlanArgs, context: &Context) -> Result<ExitStatus> {
    let config = Config::read(&args.from.config)?;
    let now = resolve_now(args.now.as_deref(), context)?;
    let base = read_baseline(&args.base.as_path().into())?;
    let head = read_baseline(&args.head.as_path().into())?;
    let previous = StateStore::look(&config.state)?.latest().await?.state;
    let runs = Runs::open(&args.run, &config.scope, &previous)?.with_max_age(config.scan.max_age);
    let (base_verdict, base_state) = runs.judge(&base, &previous, now);
    let (head_verdict, head_state) = runs.judge(&head, &previous, now);
    let vantage = runs.each().first().map_or(config.vantage.as_str(), |r| &r.meta.vantage);
    let mut newly = NewlyAllowed::between(&base, &head, vantage, now);
    add_known_states(&runs, &mut newly)?;
    let impact = compare(
        ImpactSide { baseline: &base, verdict: &base_verdict, state: &base_state },
        ImpactSide { baseline: &head, verdict: &head_verdict, state: &head_state },
        newly,
        vantage,
    );
    let text = match args.format {
        PlanFormat::Text => mimawari_report::plan::render_text(&impact, detect_terminal_width()),
        PlanFormat::Json => mimawari_report::plan::render_json(&impact),
        PlanFormat::Markdown => mimawari_report::plan::render_markdown(&impact),
    };
    write_out(&args.out, &text)?;
    let fails = args.fail_on_silenced.is_some_and(|s| impact.silences(s.into()));
    Ok(if fails { ExitStatus::Drift } else { ExitStatus::Clean })
}

/// Adds what the runs know of the cells that are newly allowed.
fn add_known_states(runs: &Runs, newly: &mut NewlyAllowed) -> Result<()> {
    for run in runs.each() {
        let plan = &run.meta.plan;
        let open: HashSet<(IpAddr, Port)> = run
            .observations
            .iter()
            .filter_map(|o| match o {
                Observation::Tcp(t) if t.state == CellState::Open => Some((t.ip, t.port)),
                _ => None,
            })
            .collect();
        let mut add = |newly: &mut NewlyAllowed, ip, port, state| {
            // As in the judge: what was observed open is open; open without a record is not known.
            let state = match state {
                _ if open.contains(&(ip, port)) => CellState::Open,
                CellState::Open => CellState::NotProbed,
                state => state,
            };
            newly.saw(ip, port, state);
        };
        let asked = newly.planned(&plan.addresses, &plan.ports);
        if asked > u128::from(run.walk().len()) / SPARSE && asked > AT_ONCE as u128 {
            add_whole_coverage(run, newly, &mut add)?;
        } else {
            let mut cells = Vec::new();
            for (ip, port) in newly.planned_cells(&plan.addresses, &plan.ports) {
                // A cell of another shard or part has no step here.
                if let Some(step) = run.walk().step_of(ip, port) {
                    cells.push((step, ip, port));
                }
            }
            // In the coverage's own order, so that no frame of it is unpacked twice.
            cells.sort_unstable_by_key(|(step, ..)| *step);
            for (_, ip, port) in cells {
                add(newly, ip, port, run.cell(ip, port));
            }
        }
    }
    Ok(())
}

/// Reads the coverage from end to end.
fn add_whole_coverage(
    run: &LoadedRun,
    newly: &mut NewlyAllowed,
    add: &mut impl FnMut(&mut NewlyAllowed, IpAddr, Port, CellState),
) -> Result<()> {
    let len = run.walk().len();
    let mut first = 0;
    while first < len {
        let n = usize::try_from(len - first).map_or(STATES, |n| n.min(STATES));
        let mut states = vec![CellState::NotProbed; n];
        run.states(first, &mut states).map_err(|e| {
            Failure::new(format!("cannot read the coverage of the run {}", run.meta.run_id))
                .help("the run is damaged; name another one with --run")
                .source(e)
        })?;
        for (step, state) in (first..).zip(states) {
            if let Some(e) = run.walk().endpoint(step) {
                add(newly, e.ip(), e.port(), state);
            }
        }
        first += n as u64;
    }
    Ok(())
}
