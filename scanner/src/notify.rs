//! `mimawari notify`: what waits in the outbox, a test message, and what former versions left.

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_notify::client::ClientContext;
use mimawari_notify::ledger::{DeliveryLog as _, StateLedger};
use mimawari_notify::{DeliveryEnd, Notifiers, status};
use mimawari_probes::http::to_printable;
use mimawari_store::StateStore;
use serde_json::json;

use crate::cli::NotifyArgs;
use crate::cli::notify::{NotifyCommand, NotifyDropArgs, NotifySendArgs, NotifyStatusArgs};
use crate::config::Config;
use crate::context::Context;
use crate::output::print;
use crate::settle::{build_notifiers, notify_pending};

/// `mimawari notify`
///
/// # Errors
/// A configuration, a state or a letter that cannot be read; a missing environment variable.
pub async fn notify(args: &NotifyArgs, context: &Context) -> Result<ExitStatus> {
    match &args.command {
        Some(NotifyCommand::Status(args)) => return show_status(args, context).await,
        Some(NotifyCommand::Send(args)) => return send(args, context).await,
        Some(NotifyCommand::Drop(args)) => return drop_pending(args).await,
        None => {}
    }
    let config = Config::read(&args.from.config)?;
    let world = ClientContext::of(context.now);
    let notifiers = Notifiers::from_environment(&config.notify, world).await?;
    let (text, status) = match &args.retry {
        Some(run) => notifiers.retry(run, args.doubtful).await?,
        None => notifiers.test().await,
    };
    print(&text)?;
    Ok(status)
}

async fn show_status(args: &NotifyStatusArgs, context: &Context) -> Result<ExitStatus> {
    let config = Config::read(&args.from.config)?;
    let latest = StateStore::look(&config.state)?.latest().await?;
    let log = StateLedger::look(&config.state)?;
    let now = (context.now)();
    let all = status::read_status(&config.notify, &latest.state.outbox, &log, now).await?;
    print(&if args.json {
        let oldest = all.iter().filter_map(|s| s.oldest_seconds).max();
        let pending: usize = all.iter().map(|s| s.pending).sum();
        let value = json!({
            "version": 1,
            "at": now,
            "pending": pending,
            "oldest_seconds": oldest,
            "receivers": all,
        });
        format!("{}\n", serde_json::to_string_pretty(&value)?)
    } else {
        status::render_status(&all)
    })?;
    let waits = all.iter().any(|s| s.pending > 0);
    Ok(if waits { ExitStatus::Drift } else { ExitStatus::Clean })
}

async fn send(args: &NotifySendArgs, context: &Context) -> Result<ExitStatus> {
    let config = Config::read(&args.from.config)?;
    let notifiers = build_notifiers(&config, context).await?;
    let mut text = String::new();
    let mut status = ExitStatus::Clean;
    for o in notify_pending(&notifiers, &config, None).await? {
        let line = match o.end {
            DeliveryEnd::Quiet => continue,
            DeliveryEnd::Sent(n) => format!("{n} sent"),
            DeliveryEnd::Failed(fault) => {
                status = ExitStatus::Error;
                format!("NOT sent, {} wait: {fault}", o.left)
            }
        };
        text.push_str(&format!("{} {}: {line}\n", o.kind, o.name));
    }
    if text.is_empty() {
        text.push_str("nothing waits\n");
    }
    print(&text)?;
    Ok(status)
}

async fn drop_pending(args: &NotifyDropArgs) -> Result<ExitStatus> {
    let config = Config::read(&args.from.config)?;
    let latest = StateStore::look(&config.state)?.latest().await?;
    let waiting = latest.state.outbox.pending(&args.receiver);
    let log = StateLedger::open(&config.state)?;
    let name = to_printable(args.receiver.as_bytes(), 60);
    if waiting.is_empty() {
        let known: Vec<&str> = latest.state.outbox.receivers().map(|(name, _)| name).collect();
        return Err(Failure::new(format!("nothing waits for `{name}`"))
            .help(format!("something waits for: {}", known.join(", ")))
            .into());
    }
    let (mut record, seen) = log.read(&args.receiver).await?;
    let events = waiting.iter().map(|n| n.event.as_str());
    let dropped = record.give_up(events);
    if log.replace(&args.receiver, &record, seen).await?.is_none() {
        return Err(Failure::new("another process sends to this receiver just now")
            .help("do it again when it is done")
            .into());
    }
    print(&format!("{dropped} notices for {name} are given up; nobody gets them\n"))?;
    Ok(ExitStatus::Clean)
}
