//! Arguments of `selfcheck`.

use clap::Args;

use super::ConfigFile;

/// Arguments of `selfcheck`.
#[derive(Debug, Args)]
#[command(after_help = "\
One line a check: ok, warn, fail or skip, the name, what was found, and how to fix it. The last line
is the verdict. Exit status 0 if nothing failed, else 2.

Packets go to the canaries of the configuration alone: first a few to each, then a short ramp of
rates that measures the loss on the path to them. The largest number of packets is printed before.
The ramp keeps to rate_per_host and rate_per_network, unless --ramp-rate names a rate that the
canaries can take.

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
