//! `mimawari demo`: the whole round on a small data centre inside this process.
//!
//! Real listeners on loopback addresses, the real sweep, prober, judge and reports. Two rounds are
//! walked: yesterday's, after which one service is taken down and one rule's last day passes, and
//! today's. The demonstration checks its own result and fails if it is not what was staged.

mod centre;
mod stage;

use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::{Timestamp, ToSpan};
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_drift::verdict::{FindingKind, FindingState, Verdict};

use crate::cli::DemoArgs;
use crate::config::Config;
use crate::context::Context;
use crate::output::{print, render_summary};
use crate::scan::{FolderChoice, RandomSeeds};
use crate::settle::{SettleContext, build_notifiers, settle, write_reports};
use centre::DemoCentre;

/// A file that marks a folder as this command's own, which it may replace.
const MARKER: &str = ".mimawari-demo";

/// Runs the demonstration.
///
/// # Errors
/// When it could not be staged, or showed something else than was staged.
pub async fn run(args: &DemoArgs, context: &Context) -> Result<ExitStatus> {
    context.stop.stop_on_signals()?;
    let out = claim(&args.out)?;
    let mut centre = DemoCentre::open(RandomSeeds::draw()?.salt).await?;
    let today = (context.now)();
    let yesterday = today
        .checked_sub(24.hours())
        .map_err(|e| Failure::new("the system clock is out of range").source(e))?;
    stage::write(&out, &centre, yesterday, args.method)?;
    let mut config = Config::read(&out.join("patrol.toml"))?;
    config.scan.method = args.method;

    print(&stage::render_introduction(&centre))?;
    let first = round(&config, context, yesterday, &out.join("yesterday")).await?;
    print(&format!(
        "Yesterday's round: {} findings. Since then {} was taken down, and the rule `partner-vpn` has expired.\n\n",
        first.counts.open,
        centre.describe_take_down()
    ))?;
    centre.take_down().await;
    let second = round(&config, context, today, &out.join("today")).await?;
    print(&render_summary(&second))?;
    let report = out.join("today").join("report.html");
    print(&format!("\nThe page:     {}\nAll files:    {}\n", report.display(), out.display()))?;
    if context.stop.is_stopped() {
        return Ok(ExitStatus::Incomplete);
    }
    let wrong = stage::compare(&second, &centre);
    if wrong.is_empty() {
        print(
            "The demonstration worked: every staged finding was found, and nothing else.\n\
             (A patrol that sees this exits with status 1; the demonstration exits with 0.)\n",
        )?;
        Ok(ExitStatus::Clean)
    } else {
        Err(Failure::new(format!(
            "the demonstration saw something else than was staged: {}",
            wrong.join("; ")
        ))
        .help(format!(
            "look at {}; another program on these loopback addresses could be the reason",
            report.display()
        ))
        .into())
    }
}

/// One patrol, judged as of `now`.
async fn round(config: &Config, context: &Context, now: Timestamp, out: &Path) -> Result<Verdict> {
    let baseline = mimawari_store::baseline::read_baseline(&config.baseline_dir)?;
    let store = mimawari_store::StateStore::open(&config.state)?;
    let scanned =
        crate::scan::scan(config, context, RandomSeeds::draw()?, FolderChoice::New(Some(out)))
            .await?;
    // The configuration has no notifier.
    let notifiers = build_notifiers(config, context).await?;
    let place = SettleContext { store: &store, config, context, notifiers: &notifiers };
    let settled = settle(place, |previous| {
        let dirs = std::slice::from_ref(&scanned.dir);
        let runs = mimawari_runs::Runs::open(dirs, &config.scope, &previous.state)?;
        let judged = runs.judge(&baseline, &previous.state, now);
        write_reports(&judged.0, out)?;
        Ok(judged)
    });
    Ok(settled.await?.verdict)
}

/// Makes the output folder, replacing only what an earlier demonstration left.
fn claim(dir: &Path) -> Result<PathBuf> {
    let failed = |e: std::io::Error| {
        Failure::new(format!("cannot write the demonstration to {}", dir.display()))
            .help("choose another folder with --out DIR")
            .source(e)
    };
    if dir.exists() {
        let empty = std::fs::read_dir(dir).map_err(failed)?.next().is_none();
        if !empty && !dir.join(MARKER).exists() {
            return Err(Failure::new(format!(
                "{} exists and was not written by a demonstration",
                dir.display()
            ))
            .help("choose another folder with --out DIR")
            .into());
        }
        std::fs::remove_dir_all(dir).map_err(failed)?;
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(dir.join(MARKER), "").map_err(failed)?;
    dir.canonicalize().map_err(|e| failed(e).into())
}

/// Findings of a kind that are drift.
fn filter_drift(
    verdict: &Verdict,
    kind: FindingKind,
) -> impl Iterator<Item = &mimawari_drift::verdict::Finding> {
    verdict.findings.iter().filter(move |f| f.kind == kind && f.state != FindingState::Allowed)
}
