//! A run judged upon the newest state, its reports written, the state saved, and everybody notified: what
//! `patrol`, `judge` and `round reduce` have in common.

use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_base::files::write_atomically;
use mimawari_drift::state::State;
use mimawari_drift::verdict::Verdict;
use mimawari_notify::client::ClientContext;
use mimawari_notify::{Notifiers, StateLedger};
use mimawari_runs::Runs;
use mimawari_store::{
    ChainLink, GenerationMeta, GenerationOrigin, RandomSource, StateGeneration, StateStore,
    published,
};

use crate::config::Config;
use crate::context::Context;

/// Judges one run upon the newest state, writes its reports into its folder, and saves the state;
/// `written` is called between the two.
///
/// # Errors
/// As [`settle`]; a report that cannot be written.
pub(crate) async fn settle_run(
    store: &StateStore,
    config: &Config,
    context: &Context,
    agreed: &published::PublishedBaseline,
    dir: &PathBuf,
    mut written: impl FnMut() -> Result<()>,
) -> Result<Verdict> {
    let (verdict, saved) = settle(store, |previous| {
        let runs = Runs::open(std::slice::from_ref(dir), &config.scope, &previous.state)?
            .with_max_age(config.scan.max_age);
        let mut judged = runs.judge(&agreed.baseline, &previous.state, (context.now)());
        agreed.note(&mut judged.0);
        mimawari_report::describe_verdict(&mut judged.0);
        // The state goes last: if a report could not be written, the next run finds everything new
        // again, which is better than a finding that nobody was notified of.
        write_reports(&judged.0, dir)?;
        written()?;
        Ok(judged)
    })
    .await?;
    let folder = dir.display();
    tracing::info!(run = verdict.run_id, %folder, generation = saved.number, "reports written");
    Ok(verdict)
}

/// Judges by `judge` upon the newest state and saves what follows; again, if another run saved its
/// own in between. The verdict is that of the judgement that was saved.
///
/// # Errors
/// Whatever `judge` says; a state that cannot be read or written.
pub async fn settle(
    store: &StateStore,
    mut judge: impl FnMut(&StateGeneration) -> Result<(Verdict, State)>,
) -> Result<(Verdict, ChainLink)> {
    let attempt = |previous: &StateGeneration| {
        let (verdict, state) = judge(previous)?;
        let run = Some(verdict.run_id.clone());
        let meta = GenerationMeta {
            at: verdict.judged_at,
            run,
            origin: GenerationOrigin::Judged,
            by: None,
        };
        Ok((verdict, state, meta))
    };
    store.settle(&mut RandomSource::draw()?, attempt).await
}

/// The notifiers, with their secrets.
pub(crate) async fn notifiers(config: &Config, context: &Context) -> Result<Notifiers> {
    Ok(Notifiers::from_environment(&config.notify, ClientContext::of(context.now)).await?)
}

/// Sends what the verdict has to say. The state is saved; nothing here changes the exit status.
pub(crate) async fn notify(notifiers: &Notifiers, config: &Config, verdict: &Verdict, run: &Path) {
    match StateLedger::open(&config.state) {
        Ok(ledger) => drop(notifiers.deliver(verdict, run, &ledger).await),
        Err(e) => {
            tracing::error!("the notifications are not sent: {}", mimawari_base::failure::line(&e));
        }
    }
}

/// Writes the verdict and its reports into a run folder.
///
/// # Errors
/// A [`Failure`] naming the file.
pub fn write_reports(verdict: &Verdict, dir: &Path) -> Result<()> {
    let files = [
        ("verdict.json", mimawari_report::json(verdict)),
        ("report.md", mimawari_report::markdown(verdict)),
        ("report.html", mimawari_report::html(verdict)),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        write_atomically(&path, text.as_bytes()).map_err(|e| {
            Failure::new(format!("cannot write {}", path.display()))
                .help("the run is kept: judge it again with `mimawari judge --run` when there is room")
                .source(e)
        })?;
    }
    Ok(())
}
