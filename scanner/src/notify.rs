//! `mimawari notify`: a test message, and another try for what could not be sent.

use anyhow::Result;
use mimawari_base::failure::ExitStatus;
use mimawari_notify::Notifiers;
use mimawari_notify::client::ClientContext;

use crate::cli::NotifyArgs;
use crate::config::Config;
use crate::context::Context;
use crate::output::print;

/// `mimawari notify`
///
/// # Errors
/// A configuration or a letter that cannot be read; a missing environment variable.
pub async fn notify(args: &NotifyArgs, context: &Context) -> Result<ExitStatus> {
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
