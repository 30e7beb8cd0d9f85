//! Arguments of `export` and `import`: exchange with other scanners.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ConfigFile;

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Open ports are listed one by one, with service and banner. Closed (reset) and filtered ports
(no-response, admin-prohibited) of a host are listed if they are few, and else counted, with their
numbers. Ports that were not probed are left out. A run that is not whole ends with exit=\"error\".

Examples:
  mimawari export runs/20261123T060000Z-7f3a --format nmap-xml --out run.xml
  mimawari export shard-1 shard-2 shard-3 --format nmap-xml | xmllint --dtdvalid nmap.dtd --noout -")]
pub struct ExportArgs {
    /// A run folder; or those of the shards of one plan, together.
    #[arg(value_name = "RUN_DIR", required = true)]
    pub runs: Vec<PathBuf>,
    /// The format.
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// The output file; - is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

/// A form that a run is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// As `nmap -oX` writes it.
    NmapXml,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
A port that the file does not mention is not covered. masscan and ZMap list only what answered, so
they resolve nothing, and the exit status is 3. nmap also lists closed and filtered ports. Hosts
that nmap reports as down are not covered; scan with -Pn to cover them.

The plan is that of the configuration; for nmap, with the ports that the file lists as scanned. An
address outside the scope is not imported. A port that one SYN-ACK showed open is imported as open,
not confirmed, and the run counts such ports.

Formats:
  nmap-xml      nmap -sS or -sT, with -oX; also masscan -oX
  masscan-json  masscan -oJ or -oD
  masscan-list  masscan -oL
  zmap-csv      ZMap's CSV, such as -f saddr,sport,classification,success, with the fields' names
                on its first line

Examples:
  nmap -sS -Pn -p 1-1024 -oX scan.xml 198.51.100.0/24
  mimawari import --format nmap-xml scan.xml -c patrol.toml --out run1
  mimawari import --format zmap-csv zmap.csv --ports 443 -c patrol.toml --out run2
  mimawari judge -c patrol.toml --run run1")]
pub struct ImportArgs {
    /// The other scanner's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The format of the file.
    #[arg(long, value_enum)]
    pub format: ImportFormat,
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// The run folder to write; it must not hold a run yet.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Which ports were scanned [default: from the file, else the configured ones and those
    /// that the file names].
    #[arg(long, value_name = "P")]
    pub ports: Option<String>,
    /// Which addresses were scanned: CIDR, first-last, address or @FILE. Repeatable [default: the
    /// configured ones].
    #[arg(long, value_name = "T", value_delimiter = ',')]
    pub targets: Vec<String>,
}

/// A form that other scanners write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// nmap's, by -oX.
    NmapXml,
    /// masscan's, by -oJ or -oD.
    MasscanJson,
    /// masscan's, by -oL.
    MasscanList,
    /// ZMap's.
    ZmapCsv,
}
