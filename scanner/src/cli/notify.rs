//! Arguments of `notify`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::ConfigFile;

/// Arguments of `notify`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    group(ArgGroup::new("what").required(true).args(["test", "retry"])),
    after_help = "\
`patrol`, `judge --save-state` and `round reduce` send notifications themselves. What a receiver does
not take waits in the outbox, which is part of the state, and the next of these commands delivers it.
Exit status 2 if something was not sent.

Examples:
  mimawari notify --test -c patrol.toml
  mimawari notify status -c patrol.toml
  mimawari notify send -c patrol.toml"
)]
pub struct NotifyArgs {
    /// What to do with the outbox.
    #[command(subcommand)]
    pub command: Option<NotifyCommand>,
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// Send one message, marked as a test, to each notifier.
    #[arg(long)]
    pub test: bool,
    /// Send what a version without outbox left in RUN_DIR/undelivered.
    #[arg(long, value_name = "RUN_DIR")]
    pub retry: Option<PathBuf>,
    /// With --retry: also messages that may have arrived, since the response was lost.
    #[arg(long, requires = "retry")]
    pub doubtful: bool,
}

/// What to do with the outbox.
#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// What waits for whom, since when, and why. Exit status 1 if something waits.
    Status(NotifyStatusArgs),
    /// Deliver what waits, now.
    Send(NotifySendArgs),
    /// Give up what waits for a receiver that is no longer there.
    Drop(NotifyDropArgs),
}

/// Arguments of `notify status`.
#[derive(Debug, Args)]
pub struct NotifyStatusArgs {
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `notify send`.
#[derive(Debug, Args)]
pub struct NotifySendArgs {
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
}

/// Arguments of `notify drop`.
#[derive(Debug, Args)]
#[command(after_help = "\
What is dropped is never sent. The findings themselves stay in the state and in every report.

Example:
  mimawari notify drop -c patrol.toml old-channel")]
pub struct NotifyDropArgs {
    /// The notifier's name, as `notify status` shows it.
    #[arg(value_name = "NAME")]
    pub receiver: String,
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
}
