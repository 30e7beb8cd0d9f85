//! Arguments of `state`.

use clap::{Args, Subcommand};

use super::ConfigFile;

/// What to do with the state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Show findings by state, the last run, age, generation and digest.
    Show(StateShowArgs),
    /// List the newest generations, a line each, and what is wrong with them.
    History(StateHistoryArgs),
    /// Bring an earlier generation back, as a new one. Nothing is deleted.
    Rollback(StateRollbackArgs),
    /// Settle the findings of a vantage that is no longer used.
    RetireVantage(StateRetireVantageArgs),
}

/// Arguments of `state retire-vantage`.
#[derive(Debug, Args)]
#[command(after_help = "\
If a vantage was renamed or removed, its findings stay open for ever, since no run scans from there.
This command makes them out of scope, and the next run that is judged notifies that.

Example:
  mimawari state retire-vantage -c patrol.toml office")]
pub struct StateRetireVantageArgs {
    /// The vantage, as written in the findings.
    #[arg(value_name = "VANTAGE")]
    pub vantage: String,
    /// Who says so.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    pub by: String,
    /// Retire it even if it is the vantage of this configuration.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    /// Whose.
    pub which: ConfigFile,
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
    /// The number of generations.
    #[arg(short = 'n', value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub number: u16,
}

/// Arguments of `state rollback`.
#[derive(Debug, Args)]
#[command(after_help = "\
The next run finds again what was found since then, and notifies it again.

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
