//! `mimawari scan`, and `mimawari merge`, which prints the same of a run.

use std::io;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_probes::gap::GapEffect;

use crate::cli::{MergeArgs, ScanArgs};
use crate::config::Config;
use crate::context::Context;
use crate::output::{print, print_result};
use crate::plan;
use crate::scan::{self, FolderChoice, RandomSeeds, ScanOutcome};

/// `mimawari scan`
///
/// # Errors
/// Whatever stops the scan; see [`scan::scan`].
pub async fn scan(args: &ScanArgs, context: &Context) -> Result<ExitStatus> {
    let mut config = Config::read(&args.selection.from.config)?;
    config.apply(&args.selection, Some(&args.tuning))?;
    config.apply_http_args(&args.looking);
    config.log_warnings();
    if args.plan.plan {
        let prepared = scan::prepare(&config).await?;
        prepared.log_refused();
        // What is wrong with the list is reported here as a run would.
        scan::read_sites(&config)?;
        let ask = plan::ask(&args.plan, &config, prepared.walk.plan())?;
        let estimate = plan::estimate::estimate(&ask);
        print(&if args.plan.json {
            plan::render::render_json(&estimate)?
        } else {
            plan::render::render_text(&estimate)
        })?;
        return Ok(ExitStatus::Clean);
    }
    if args.dry_run {
        let prepared = scan::prepare(&config).await?;
        prepared.log_refused();
        scan::read_sites(&config)?;
        return match scan::dry_run(&prepared.walk, &mut io::stdout().lock()) {
            Ok(()) => Ok(ExitStatus::Clean),
            // `| head` closes the pipe; that is no error.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExitStatus::Clean),
            Err(e) => Err(Failure::new("cannot write to stdout").source(e).into()),
        };
    }
    context.stop.stop_on_signals()?;
    let scanned =
        scan::scan(&config, context, RandomSeeds::draw()?, FolderChoice::of(&args.selection))
            .await?;
    print_result(&scan_summary(&scanned), &context.stop)?;
    Ok(if scanned.complete { ExitStatus::Clean } else { ExitStatus::Incomplete })
}

/// What a scan prints: the run folder, what is open, what was not covered.
fn scan_summary(s: &ScanOutcome) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let m = &s.meta;
    if let Some(sweep) = &m.sweep {
        let _ = writeln!(
            out,
            "{} cells: {} open, {} closed, {} prohibited, {} silent, {} not probed",
            sweep.cells, sweep.open, sweep.closed, sweep.prohibited, sweep.silent, sweep.not_probed
        );
        let _ = match (sweep.recall_estimate, sweep.recall_interval) {
            (Some(r), Some((lo, hi))) => {
                writeln!(
                    out,
                    "recall {r:.5} (95 %: {lo:.5} to {hi:.5}), promised {}",
                    m.recall_promised
                )
            }
            _ => writeln!(out, "recall unknown: nothing answered"),
        };
    }
    if m.http.checks_planned > 0 {
        let _ = writeln!(
            out,
            "{} of {} content checks on {} web endpoints",
            m.http.checks_covered, m.http.checks_planned, m.http.targets
        );
    }
    for gap in m.gaps.iter().filter(|g| g.effect != GapEffect::Noted) {
        let _ = writeln!(out, "not covered: {}", mimawari_report::describe_gap(gap));
    }
    let _ = writeln!(out, "{}", s.dir.display());
    out
}

/// `mimawari merge`
///
/// # Errors
/// A [`Failure`] when the runs do not belong together; see [`mimawari_runs::merge::merge`].
pub fn merge(args: &MergeArgs) -> Result<ExitStatus> {
    let meta = mimawari_runs::merge::merge(&args.runs, &args.out)?;
    let complete = meta.is_whole();
    let merged = ScanOutcome { dir: args.out.clone(), meta, complete };
    print(&scan_summary(&merged))?;
    Ok(if complete { ExitStatus::Clean } else { ExitStatus::Incomplete })
}
