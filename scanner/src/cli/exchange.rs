//! Arguments of `export` and `import`: exchange with other scanners.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Open ports are named one by one, with service and banner. Closed (reset) and filtered ports
(no-response, admin-prohibited) of a host are named too if they are few, else counted, with their
numbers. What was not probed is left out, and a run that is not whole ends with exit=\"error\".

Examples:
  mimawari export runs/20261123T060000Z-7f3a --format nmap-xml --out run.xml
  mimawari export shard-1 shard-2 shard-3 --format nmap-xml | xmllint --dtdvalid nmap.dtd --noout -")]
pub struct ExportArgs {
    /// A run folder; or those of the shards of one plan, together.
    #[arg(value_name = "RUN_DIR", required = true)]
    pub runs: Vec<PathBuf>,
    /// In which form.
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// Where it goes; - is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

/// A form that a run is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// As `nmap -oX` writes it.
    NmapXml,
}
