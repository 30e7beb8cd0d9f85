//! Arguments of `ack`.

use clap::Args;

use super::ConfigFile;

/// Arguments of `ack`.
#[derive(Debug, Args)]
#[command(after_help = "\
An acknowledged finding stays drift: reports list it, and the exit status is 1. It is not notified
again until the end, unless it gets worse or comes back after it was gone. What may stay open for
good belongs in the baseline, where a reviewer sees it.

Examples:
  mimawari ack 3f2a90c1 --until 2026-12-01 --reason SEC-77
  mimawari ack 198.51.100.7:6379 --until 2026-11-30T18:00:00Z --reason 'moved on Monday'
  mimawari ack --all-of 3f2a90c1 198.51.100.8 --until 2026-11-30 --reason SEC-78
  mimawari ack --rule edge-https --until 2026-11-30T18:00:00Z --reason 'planned work'
  mimawari ack 3f2a90c1 --end")]
pub struct AckArgs {
    /// The finding: its id, the first digits of it (at least 6), or ADDRESS:PORT.
    #[arg(value_name = "FINDING", required_unless_present_any = ["all_of", "rule"])]
    pub finding: Option<String>,
    /// All findings of these: ids, ADDRESS:PORT, or ADDRESS for all of a host.
    #[arg(long, value_name = "FINDING", num_args = 1.., conflicts_with = "finding")]
    pub all_of: Vec<String>,
    /// All present and future findings about what a rule of the baseline requires, forbids or
    /// allowed before: for planned work.
    #[arg(long, value_name = "ID", conflicts_with_all = ["finding", "all_of"])]
    pub rule: Option<String>,
    /// The end: a day, through 23:59:59 UTC, or an instant (RFC 3339).
    #[arg(long, value_name = "TIME", required_unless_present = "end")]
    pub until: Option<String>,
    /// Why, or the ticket.
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    pub reason: Option<String>,
    /// Who says so.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    pub by: String,
    /// Take an acknowledgement back.
    #[arg(long, conflicts_with_all = ["until", "reason"])]
    pub end: bool,
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
}
