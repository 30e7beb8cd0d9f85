//! `mimawari patrol`: scan, judge, report.

use std::path::PathBuf;

use anyhow::Result;
use mimawari_base::failure::ExitStatus;
use mimawari_drift::verdict::Verdict;
use mimawari_store::{StateStore, published};

use crate::cli::PatrolArgs;
use crate::config::Config;
use crate::context::Context;
use crate::output::{compute_exit_status, print_result, render_summary};
use crate::scan::{self, FolderChoice, RandomSeeds};
use crate::settle::{SettleContext, build_notifiers, notify, settle_run};

/// `mimawari patrol`
///
/// # Errors
/// Whatever stops the scan or the judgement.
pub async fn run_patrol_command(args: &PatrolArgs, context: &Context) -> Result<ExitStatus> {
    let mut config = Config::read(&args.selection.from.config)?;
    config.apply(&args.selection, Some(&args.tuning))?;
    config.apply_http_args(&args.looking);
    config.log_warnings();
    context.stop.stop_on_signals()?;
    let (verdict, _) = run_patrol(&config, context, FolderChoice::of(&args.selection)).await?;
    if !config.notify.iter().any(|n| n.settings.writes_stdout()) {
        print_result(&render_summary(&verdict), &context.stop)?;
    }
    Ok(compute_exit_status(&verdict, args.failing.fail_on))
}

/// The round itself: scan, judge, report into the run folder.
///
/// # Errors
/// Whatever stops the scan or the judgement.
pub async fn run_patrol(
    config: &Config,
    context: &Context,
    folder: FolderChoice<'_>,
) -> Result<(Verdict, PathBuf)> {
    // What would stop the judgement, or the sending, is found before a packet is sent.
    let notifiers = build_notifiers(config, context).await?;
    let agreed = published::agreed(config.baseline_url.as_ref(), &config.baseline_dir).await?;
    let store = StateStore::open(&config.state)?;
    store.check().await?;
    let scanned = scan::scan(config, context, RandomSeeds::draw()?, folder).await?;
    let place = SettleContext { store: &store, config, context, notifiers: &notifiers };
    let settled = settle_run(place, &agreed, &scanned.dir, || Ok(())).await?;
    notify(&notifiers, config, &settled).await;
    Ok((settled.verdict, scanned.dir))
}
