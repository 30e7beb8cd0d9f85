//! Arguments of `round`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ConfigFile, ScanTuning};

/// One step of a round.
#[derive(Debug, Subcommand)]
pub enum RoundCommand {
    /// Write the plan of the round, for all of its tasks. Sends no packet.
    Plan(RoundPlanArgs),
    /// Scan one shard of the round, or continue it where another task stopped.
    Scan(RoundScanArgs),
    /// Merge what the shards handed in, judge it, report. Sends no packet to a target.
    Reduce(RoundReduceArgs),
    /// Plan, scan and reduce in this one process.
    Run(RoundRunArgs),
    /// Show what a round holds and what is missing.
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
    /// A token of the caller: the same token may plan the round again, another is refused [default:
    /// made from the arguments, so that the same command may be repeated].
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
    /// The promised share of the open ports that is found: 0.9 to 0.999999.
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
The plan is written once, to ID/plan.json, and holds for all tasks of the round. The same claim may
plan again and changes nothing (exit 0). Another claim is refused (exit 2), and so is a target
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
    /// The number of shards [default: `shards` under `[rounds]`].
    #[arg(long, value_name = "N", env = "MIMAWARI_SHARDS")]
    pub shards: Option<String>,
}

/// Arguments of `round scan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Results are saved to ID/shards/ every `save_every` and at the end. On SIGTERM the task saves and
exits 3. The same command continues from there on any machine, also after SIGKILL.

Examples:
  mimawari round scan -c patrol.toml --round hourly-2026-11-24T15:00:00Z --shard 2/4
  AWS_BATCH_JOB_ARRAY_INDEX=1 mimawari round scan -c patrol.toml --round R")]
pub struct RoundScanArgs {
    #[command(flatten)]
    /// Which round.
    pub which: RoundSelector,
    /// The shard: i/n, counted from 1 [default: from `AWS_BATCH_JOB_ARRAY_INDEX`,
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
If a shard is missing, the output names it, nothing in it is resolved, and the exit status is 3 (or
1). If it arrives later, run reduce again to add it. Nothing is notified twice.

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
On SIGTERM the task saves and exits 3. The same command continues on any machine, also after
SIGKILL. If the round is done already, the exit status is that of the round.

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
