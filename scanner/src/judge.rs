//! `mimawari judge`: runs, baseline and state in, verdict out. Reads files; sends nothing.

use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_runs::Runs;
use mimawari_runs::judge::resolve_run_folders;
use mimawari_store::{StateGeneration, StateStore, published};

use crate::cli::JudgeArgs;
use crate::config::Config;
use crate::context::Context;
use crate::output::{compute_exit_status, print, render_summary, write_out};
use crate::settle::{SettleContext, build_notifiers, notify, settle};

/// `mimawari judge`
///
/// # Errors
/// Unreadable runs, baseline or state.
pub async fn judge(args: &JudgeArgs, context: &Context) -> Result<ExitStatus> {
    let config = Config::read(&args.from.config)?;
    let now = match &args.now {
        None => (context.now)(),
        Some(text) => text.parse::<Timestamp>().map_err(|e| {
            Failure::new(format!("--now: `{text}` is not an instant"))
                .help("write RFC 3339, such as 2027-01-01T00:00:00Z")
                .source(e)
        })?,
    };
    let agreed = match &args.baseline {
        Some(dir) => published::agreed(None, &dir.into()).await?,
        None => published::agreed(config.baseline_url.as_ref(), &config.baseline_dir).await?,
    };
    let dirs = resolve_run_folders(&args.run, &config.runs_dir)?;
    let judged = |previous: &StateGeneration| {
        let runs = Runs::open(&dirs, &config.scope, &previous.state)?;
        let runs = runs.with_max_age(config.scan.max_age);
        let mut judged = runs.judge(&agreed.baseline, &previous.state, now);
        agreed.note(&mut judged.0);
        mimawari_report::describe_verdict(&mut judged.0);
        anyhow::Ok(judged)
    };
    // What went to stdout cannot be taken back, so it waits until the state is saved.
    let to_stdout = args.out == Path::new("-");
    let lines_on_stdout =
        args.save_state && config.notify.iter().any(|n| n.settings.writes_stdout());
    let verdict = if args.save_state {
        let notifiers = build_notifiers(&config, context).await?;
        if to_stdout && lines_on_stdout {
            return Err(Failure::new("the verdict and a notifier's lines would both go to stdout")
                .help("name a file for the verdict with --out FILE")
                .into());
        }
        let store = StateStore::open(&config.state)?;
        let place =
            SettleContext { store: &store, config: &config, context, notifiers: &notifiers };
        let settled = settle(place, |previous| {
            let judged = judged(previous)?;
            if !to_stdout {
                write_out(&args.out, &mimawari_report::render_json(&judged.0))?;
            }
            Ok(judged)
        });
        let settled = settled.await?;
        notify(&notifiers, &config, &settled).await;
        settled.verdict
    } else {
        let (verdict, _) = judged(&StateStore::look(&config.state)?.latest().await?)?;
        if !to_stdout {
            write_out(&args.out, &mimawari_report::render_json(&verdict))?;
        }
        verdict
    };
    if to_stdout {
        write_out(&args.out, &mimawari_report::render_json(&verdict))?;
    } else if !lines_on_stdout {
        print(&render_summary(&verdict))?;
    }
    Ok(compute_exit_status(&verdict, args.failing.fail_on))
}
