//! A run judged upon the newest state, its reports written, the state saved, and everybody notified: what
//! `patrol`, `judge` and `round reduce` have in common.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_base::files::write_atomically;
use mimawari_drift::pending::PendingView;
use mimawari_drift::state::{OUTBOX_MINOR, State};
use mimawari_drift::verdict::Verdict;
use mimawari_notify::client::ClientContext;
use mimawari_notify::ledger::{DeliveryLog as _, QueueRecord};
use mimawari_notify::{DeliveryOrder, Notifiers, NotifyOutcome, StateLedger};
use mimawari_runs::Runs;
use mimawari_store::{
    ChainLink, GenerationMeta, GenerationOrigin, RandomSource, StateGeneration, StateStore,
    published,
};

use crate::config::Config;
use crate::context::Context;

/// A judgement that was saved.
pub(crate) struct SettledRun {
    /// The verdict.
    pub verdict: Verdict,
    /// The generation of the state that holds it.
    pub saved: ChainLink,
    /// What is to be delivered now.
    pub order: DeliveryOrder,
}

/// What a judgement needs besides the run.
#[derive(Clone, Copy)]
pub(crate) struct SettleContext<'a> {
    /// The state.
    pub store: &'a StateStore,
    /// The configuration.
    pub config: &'a Config,
    /// The clock.
    pub context: &'a Context,
    /// The notifiers.
    pub notifiers: &'a Notifiers,
}

/// Judges one run upon the newest state, writes its reports into its folder, and saves the state;
/// `written` is called between the two.
///
/// # Errors
/// As [`settle`]; a report that cannot be written.
pub(crate) async fn settle_run(
    place: SettleContext<'_>,
    agreed: &published::PublishedBaseline,
    dir: &PathBuf,
    mut written: impl FnMut() -> Result<()>,
) -> Result<SettledRun> {
    let (config, context) = (place.config, place.context);
    let settled = settle(place, |previous| {
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
    let (folder, run) = (dir.display(), &settled.verdict.run_id);
    tracing::info!(run, %folder, generation = settled.saved.number, "reports written");
    Ok(settled)
}

/// Judges by `judge` upon the newest state and saves what follows, with what is to be notified of it;
/// again, if another run saved its own in between. The verdict is that of the judgement that was saved.
///
/// # Errors
/// Whatever `judge` says; a state that cannot be read or written.
pub(crate) async fn settle(
    place: SettleContext<'_>,
    mut judge: impl FnMut(&StateGeneration) -> Result<(Verdict, State)>,
) -> Result<SettledRun> {
    let delivered = Delivered::read(place).await;
    let mut random = RandomSource::draw()?;
    let holder = format!("{:016x}", random.draw_one());
    let attempt = |previous: &StateGeneration| {
        let (verdict, mut state) = judge(previous)?;
        let order = update_outbox(place, &delivered, previous, &verdict, &mut state, &holder);
        let run = Some(verdict.run_id.clone());
        let meta = GenerationMeta {
            at: verdict.judged_at,
            run,
            origin: GenerationOrigin::Judged,
            by: None,
        };
        Ok(((verdict, order), state, meta))
    };
    let ((verdict, order), saved) = place.store.settle(&mut random, attempt).await?;
    Ok(SettledRun { verdict, saved, order })
}

/// What is on record as delivered, by receiver.
struct Delivered(HashMap<String, QueueRecord>);

impl Delivered {
    /// Reads the records. One that cannot be read counts as empty: what was delivered then stays in the
    /// outbox for one more run, and is not sent again.
    async fn read(place: SettleContext<'_>) -> Self {
        let mut all = HashMap::new();
        if let Ok(log) = StateLedger::look(&place.config.state) {
            for name in place.notifiers.receivers() {
                match log.read(name).await {
                    Ok((record, _)) => drop(all.insert(name.to_owned(), record)),
                    Err(e) => tracing::warn!(notifier = name, "deliveries cannot be read: {e}"),
                }
            }
        }
        Self(all)
    }

    fn has(&self, receiver: &str, event: &str) -> bool {
        self.0.get(receiver).is_some_and(|r| r.is_delivered(event))
    }
}

/// Brings the outbox of a new state up to date.
fn update_outbox(
    place: SettleContext<'_>,
    delivered: &Delivered,
    previous: &StateGeneration,
    verdict: &Verdict,
    state: &mut State,
    holder: &str,
) -> DeliveryOrder {
    let before = &previous.state.findings;
    let mut outbox = std::mem::take(&mut state.outbox);
    outbox.remove_delivered(|receiver, event| delivered.has(receiver, event));
    outbox.keep_findings(|id| {
        let gone = !state.findings.contains_key(id);
        before.get(id).filter(|_| gone).map(|t| t.finding.clone())
    });
    let event = place.notifiers.queue_notices(verdict, (place.context.now)(), &mut outbox);
    state.outbox = outbox;
    if !state.outbox.is_empty() {
        state.minor = state.minor.max(OUTBOX_MINOR);
    }
    let view = PendingView::of(state, false);
    DeliveryOrder { view, fresh: vec![event], holder: holder.to_owned() }
}

/// The notifiers, with their secrets.
pub(crate) async fn build_notifiers(config: &Config, context: &Context) -> Result<Notifiers> {
    Ok(Notifiers::from_environment(&config.notify, ClientContext::of(context.now)).await?)
}

/// Sends what a judgement has to say, and what waited before. The state is saved; nothing here changes
/// the exit status.
pub(crate) async fn notify(notifiers: &Notifiers, config: &Config, settled: &SettledRun) {
    deliver(notifiers, config, &settled.order, Some(&settled.verdict)).await;
}

/// Sends what waits in the newest state, without a judgement.
///
/// # Errors
/// A state that cannot be read.
pub(crate) async fn notify_pending(
    notifiers: &Notifiers,
    config: &Config,
    current: Option<&Verdict>,
) -> Result<Vec<NotifyOutcome>> {
    let latest = StateStore::look(&config.state)?.latest().await?;
    if latest.state.outbox.is_empty() {
        return Ok(Vec::new());
    }
    let view = PendingView::of(&latest.state, current.is_none());
    let holder = format!("{:016x}", RandomSource::draw()?.draw_one());
    let order = DeliveryOrder { view, fresh: Vec::new(), holder };
    Ok(deliver(notifiers, config, &order, current).await)
}

async fn deliver(
    notifiers: &Notifiers,
    config: &Config,
    order: &DeliveryOrder,
    current: Option<&Verdict>,
) -> Vec<NotifyOutcome> {
    match StateLedger::open(&config.state) {
        Ok(log) => notifiers.deliver(order, current, &log).await,
        Err(e) => {
            let why = mimawari_base::failure::render_line(&e);
            tracing::error!("the notifications wait in the outbox: {why}");
            Vec::new()
        }
    }
}

/// Writes the verdict and its reports into a run folder.
///
/// # Errors
/// A [`Failure`] naming the file.
pub fn write_reports(verdict: &Verdict, dir: &Path) -> Result<()> {
    let files = [
        ("verdict.json", mimawari_report::render_json(verdict)),
        ("report.md", mimawari_report::render_markdown(verdict)),
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
