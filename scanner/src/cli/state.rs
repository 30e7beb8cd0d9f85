//! Arguments of `state`.

use clap::{Args, Subcommand};

use super::ConfigFile;

/// What to do with the state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// What is known: findings by state, last run, age, generation and digest.
    Show(StateShowArgs),
    /// The newest generations, a line each, and what is wrong with them.
    History(StateHistoryArgs),
    /// Bring an earlier generation back, as a new one. Nothing is deleted.
    Rollback(StateRollbackArgs),
}

/// Arguments of `state show`.
#[derive(Debug, Args)]
pub struct StateShowArgs {
    #[command(flatten)]
    /// Whose.
    pub which: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `state history`.
#[derive(Debug, Args)]
pub struct StateHistoryArgs {
    #[command(flatten)]
    /// Whose.
    pub which: ConfigFile,
    /// How many.
    #[arg(short = 'n', value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub number: u16,
}

/// Arguments of `state rollback`.
#[derive(Debug, Args)]
#[command(after_help = "\
What was found since then is found again by the next run, and notified again.

Example:
  mimawari state history -c patrol.toml
  mimawari state rollback -c patrol.toml --to 41")]
pub struct StateRollbackArgs {
    #[command(flatten)]
    /// Whose.
    pub which: ConfigFile,
    /// The number of the generation to go on from.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=99_999_999_999_998))]
    pub to: u64,
}
