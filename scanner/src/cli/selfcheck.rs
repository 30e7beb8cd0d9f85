//! Arguments of `selfcheck`.

use clap::Args;

use super::ConfigFile;

/// Arguments of `selfcheck`.
#[derive(Debug, Args)]
#[command(after_help = "\
One line a check: ok, warn, fail or skip, its name, and what was found; for what is not well, what to
do about it. The last line is the verdict. Exit status 0 when nothing failed, else 2.

Packets go to the canaries of the configuration alone: first a few to each, then a short ramp of
rates that measures what the way to them loses. How many at most is said before. The ramp keeps to
rate_per_host and rate_per_network, unless --ramp-rate names a rate that the canaries can bear.

Examples:
  mimawari selfcheck -c patrol.toml
  mimawari selfcheck -c patrol.toml --no-packets
  mimawari selfcheck -c patrol.toml --ramp-rate 20000
  mimawari selfcheck -c patrol.toml --json")]
pub struct SelfcheckArgs {
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// Print one JSON document at the end, instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Send nothing to the canaries, and ask no gateway.
    #[arg(long)]
    pub no_packets: bool,
    /// Measure up to so many packets per second, past the ceilings of hosts and networks.
    #[arg(long, value_name = "N", conflicts_with = "no_packets",
          value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub ramp_rate: Option<u32>,
}
