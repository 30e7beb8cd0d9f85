//! Arguments of `round`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ConfigFile, ScanTuning};

/// One step of a round.
#[derive(Debug, Subcommand)]
pub enum RoundCommand {
    /// Fix what this round covers, for all of its tasks. Sends no packet.
    Plan(RoundPlanArgs),
    /// Scan one shard of the round, or go on with it where another task was stopped.
    Scan(RoundScanArgs),
    /// Merge what the shards handed in, judge it, report. Sends no packet to a target.
    Reduce(RoundReduceArgs),
    /// Plan, scan and reduce in this one process.
    Run(RoundRunArgs),
    /// What there is of a round, and what is missing.
    Show(RoundShowArgs),
}

/// Which round.
#[derive(Debug, Args)]
pub struct RoundSelector {
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// The round: 1 to 80 letters, digits, dots, hyphens, underscores; colons become hyphens.
    #[arg(long, value_name = "ID", env = "MIMAWARI_ROUND")]
    pub round: String,
}

/// What the round covers. Empty environment variables count as unset.
#[derive(Debug, Args)]
pub struct RoundArgs {
    /// Who plans: the same token plans the same round again, another is refused [default: made of
    /// what is asked for, so that the same command may be repeated].
    #[arg(long, value_name = "TOKEN", env = "MIMAWARI_CLAIM")]
    pub claim: Option<String>,
    /// Narrow the targets: CIDR, first-last, address, host name, @FILE or - for stdin. Repeatable.
    #[arg(long, value_name = "T", value_delimiter = ',', env = "MIMAWARI_TARGETS")]
    pub targets: Vec<String>,
    /// Ports: 22,80,8000-8100, top100, top1000 or all.
    #[arg(long, value_name = "P", env = "MIMAWARI_PORTS")]
    pub ports: Option<String>,
    /// Packets per second of each task, a ceiling; or auto.
    #[arg(long, value_name = "N", env = "MIMAWARI_RATE")]
    pub rate: Option<String>,
    /// The promise: which share of the open ports is found. 0.9 to 0.999999.
    #[arg(long, value_name = "R", env = "MIMAWARI_RECALL")]
    pub recall: Option<String>,
    /// Which content checks: 1 (hourly), 2 (daily) or 3 (weekly).
    #[arg(long, value_name = "N", env = "MIMAWARI_TIER")]
    pub tier: Option<String>,
}

impl RoundArgs {
    /// What there is of it for the sweep, as `scan` takes it; the recall is read by the caller.
    #[must_use]
    pub fn tuning(&self, recall: Option<f64>) -> ScanTuning {
        let ports = self.ports.clone().filter(|p| !p.is_empty());
        let rate = self.rate.clone().filter(|r| !r.is_empty());
        ScanTuning { ports, rate, recall, method: None, interface: None }
    }
}

/// Where a task writes what is not yet saved.
#[derive(Debug, Args)]
pub struct RoundWork {
    /// A folder for what is in work [default: a temporary folder].
    #[arg(long, value_name = "DIR", env = "MIMAWARI_WORK")]
    pub work: Option<PathBuf>,
}

/// Arguments of `round plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
The plan is written once, to ID/plan.json, and holds for all tasks of the round. Planned again with
the same claim it is left as it is (exit 0); another claim is refused (exit 2), as is a target
outside the scope.

Examples:
  mimawari round plan -c patrol.toml --round hourly-2026-11-24T15:00:00Z --shards 4
  mimawari round plan -c patrol.toml --round now-1 --targets 198.51.100.64/26 --claim alice")]
pub struct RoundPlanArgs {
    #[command(flatten)]
    /// Which round.
    pub which: RoundSelector,
    #[command(flatten)]
    /// What it covers.
    pub asking: RoundArgs,
    /// Into how many shards it is divided [default: `shards` under `[rounds]`].
    #[arg(long, value_name = "N", env = "MIMAWARI_SHARDS")]
    pub shards: Option<String>,
}

/// Arguments of `round scan`.
#[derive(Debug, Args)]
#[command(after_help = "\
What is seen is saved to ID/shards/ every `save_every`, and at the end. Stopped by SIGTERM it saves
and exits 3; the same command, on any machine, goes on from there, also after SIGKILL.

Examples:
  mimawari round scan -c patrol.toml --round hourly-2026-11-24T15:00:00Z --shard 2/4
  AWS_BATCH_JOB_ARRAY_INDEX=1 mimawari round scan -c patrol.toml --round R")]
pub struct RoundScanArgs {
    #[command(flatten)]
    /// Which round.
    pub which: RoundSelector,
    /// Which shard: i/n, counted from 1 [default: from `AWS_BATCH_JOB_ARRAY_INDEX`,
    /// `AWS_BATCH_JOB_ID` or `JOB_COMPLETION_INDEX`].
    #[arg(long, value_name = "I/N", env = "MIMAWARI_SHARD")]
    pub shard: Option<String>,
    #[command(flatten)]
    /// Where it works.
    pub work: RoundWork,
}

/// Arguments of `round reduce`.
#[derive(Debug, Args)]
#[command(after_help = "\
A missing shard is named, nothing in it is resolved, and the exit status is 3 (or 1). When it arrives
later, run reduce again to add it. Nothing is notified twice.

Example:
  mimawari round reduce -c patrol.toml --round hourly-2026-11-24T15:00:00Z")]
pub struct RoundReduceArgs {
    #[command(flatten)]
    /// Which round.
    pub which: RoundSelector,
    #[command(flatten)]
    /// Where it works.
    pub work: RoundWork,
}

/// Arguments of `round run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Stopped by SIGTERM it saves and exits 3; the same command goes on, on any machine, also after
SIGKILL. A round that is done says so and exits as it did.

Example:
  mimawari round run -c patrol.toml --round nightly-2026-11-24")]
pub struct RoundRunArgs {
    #[command(flatten)]
    /// Which round.
    pub which: RoundSelector,
    #[command(flatten)]
    /// What it covers.
    pub asking: RoundArgs,
    #[command(flatten)]
    /// Where it works.
    pub work: RoundWork,
}

/// Arguments of `round show`.
#[derive(Debug, Args)]
pub struct RoundShowArgs {
    #[command(flatten)]
    /// Which round.
    pub which: RoundSelector,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
