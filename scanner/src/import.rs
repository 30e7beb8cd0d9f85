//! `mimawari import`: a run folder out of another scanner's file. Reads files; sends nothing.

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_runs::import::{ImportFormat, ImportJob, import, render_summary};
use mimawari_targets::{PortError, PortSet};

use crate::cli::{self, ImportArgs};
use crate::config::{Config, read_targets};
use crate::context::Context;
use crate::output::print;

/// `mimawari import`
///
/// # Errors
/// As [`import`], and for the configuration.
pub fn run(args: &ImportArgs, context: &Context) -> Result<ExitStatus> {
    let mut config = Config::read(&args.from.config)?;
    if !args.targets.is_empty() {
        config.scan.targets = Some(read_targets(&args.targets)?);
    }
    let ports: Option<PortSet> = args
        .ports
        .as_deref()
        .map(|p| p.parse().map_err(|e: PortError| Failure::new(format!("--ports: {e}"))))
        .transpose()?;
    let job = ImportJob {
        file: &args.file,
        format: args.format.into(),
        scope: &config.scope,
        targets: config.scan.targets.as_ref(),
        ports,
        default_ports: &config.scan.ports,
        canaries: &config.scan.canaries,
        vantage: &config.vantage,
        recall: config.scan.recall,
        now: (context.now)(),
    };
    let meta = import(&job, &args.out)?;
    print(&render_summary(&meta, &args.out))?;
    Ok(if meta.is_whole() { ExitStatus::Clean } else { ExitStatus::Incomplete })
}

impl From<cli::ImportFormat> for ImportFormat {
    fn from(format: cli::ImportFormat) -> Self {
        match format {
            cli::ImportFormat::NmapXml => Self::NmapXml,
            cli::ImportFormat::MasscanJson => Self::MasscanJson,
            cli::ImportFormat::MasscanList => Self::MasscanList,
            cli::ImportFormat::ZmapCsv => Self::ZmapCsv,
        }
    }
}
