//! A run folder out of another scanner's file. Reads files; sends nothing.
//!
//! The file is read twice: once for what it says of the whole scan (ports, times), once for its cells.
//! What it does not tell is `not_probed`, so that the judge resolves nothing by it.

mod cells;
#[cfg(test)]
mod kept;
mod lines;
mod masscan;
mod nmap;
mod run;
mod seen;
mod zmap;

pub use run::render_summary;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_probes::observation::CellState;
use mimawari_targets::list::TargetList;
use mimawari_targets::{CellPlan, Port, PortSet, Scope, ScopedSet};
use sha2::{Digest, Sha256};

use crate::RunMeta;
use crate::meta::compute_order_seed;
use seen::{CellSink, ImportedFacts, SeenCells};

/// A form that other scanners write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What is imported: the file, and what the run is to be of.
#[derive(Debug)]
pub struct ImportJob<'a> {
    /// The other scanner's file; `-` is stdin.
    pub file: &'a Path,
    /// Its form.
    pub format: ImportFormat,
    /// What may be seen; everything else is left out.
    pub scope: &'a Scope,
    /// The addresses that were scanned; without them the whole scope.
    pub targets: Option<&'a TargetList>,
    /// The ports that were scanned, if they are named.
    pub ports: Option<PortSet>,
    /// The ports that were scanned, where neither they are named nor the file says it.
    pub default_ports: &'a PortSet,
    /// Endpoints that are known to be open.
    pub canaries: &'a [SocketAddr],
    /// From where it was seen.
    pub vantage: &'a str,
    /// The recall that the configuration asks for.
    pub recall: f64,
    /// The clock.
    pub now: Timestamp,
}

/// Makes the run folder `out`.
///
/// # Errors
/// A file that cannot be read or is not of its format, with the line; a plan that cannot be made; a
/// run folder that cannot be written.
pub fn import(job: &ImportJob<'_>, out: &Path) -> Result<RunMeta> {
    let named = job.ports.clone();
    let mut source = ImportSource::open(job.file, job.format, named.as_ref())?;
    let addrs = select_addresses(job)?;

    let mut survey =
        ImportSummary { addrs: &addrs, ports: vec![false; 1 << 16], first: None, last: None };
    let told = source.read(&mut survey)?;
    let (first, last) = (survey.first, survey.last);
    let ports = select_ports(named, &told, survey, job.default_ports);
    let seed = compute_order_seed(addrs.addrs(), &ports);
    let plan = CellPlan::new(addrs, ports, seed)
        .map_err(|e| Failure::new(e.to_string()).help(e.help()))?;

    let changed = source.changed.unwrap_or(job.now);
    let ended = told.ended.or(last).unwrap_or(changed).min(job.now);
    let started = told.started.or(first).unwrap_or(changed).min(ended);
    let facts = run::ImportFacts {
        job,
        plan,
        started,
        ended,
        tail: source.digest()?,
        file: job
            .file
            .file_name()
            .map_or_else(|| source.name.clone(), |n| n.to_string_lossy().into()),
    };
    let mut importer = run::RunImporter::create(out, facts, &told)?;
    source.read(&mut importer)?;
    importer.finish(told)
}

/// The addresses of the plan: those named, else those configured. Names are not looked up: that would
/// send packets, and what they point at today is not what was scanned then.
fn select_addresses(job: &ImportJob<'_>) -> Result<ScopedSet> {
    let Some(targets) = job.targets else { return Ok(job.scope.whole()) };
    if let Some(name) = targets.names().first() {
        return Err(Failure::new(format!(
            "the target {name} is a name, and an import looks no names up"
        ))
        .help("name the addresses that were scanned with --targets")
        .into());
    }
    Ok(job.scope.narrow(targets.addrs()).map_err(|e| {
        Failure::new(e.to_string())
            .help("targets may only narrow the scope; extend `allow` under [scope] if these addresses are yours")
    })?)
}

/// The ports of the plan: those named; else what the file says was scanned; else those configured,
/// and those that the file names, since they were scanned for certain.
fn select_ports(
    named: Option<PortSet>,
    told: &ImportedFacts,
    survey: ImportSummary<'_>,
    default: &PortSet,
) -> PortSet {
    if let Some(ports) = named {
        return ports;
    }
    let base = told.services.as_ref().unwrap_or(default);
    let seen = (0..=u16::MAX).zip(survey.ports).filter(|(_, seen)| *seen).map(|(p, _)| (p, p));
    PortSet::from_ranges(base.ranges().iter().copied().chain(seen))
}

/// The file.
struct ImportSource {
    file: File,
    name: String,
    format: ImportFormat,
    /// The one port that ZMap scanned, if it was named.
    only: Option<Port>,
    /// When the file was last written.
    changed: Option<Timestamp>,
}

impl ImportSource {
    fn open(path: &Path, format: ImportFormat, ports: Option<&PortSet>) -> Result<Self> {
        let failed = |e: io::Error| {
            Failure::new(format!("cannot read {}", path.display()))
                .help("name a file that nmap, masscan or zmap wrote; - is stdin")
                .source(e)
        };
        let stdin = path == Path::new("-");
        let file = if stdin {
            copy_stdin_to_file().map_err(failed)?
        } else {
            File::open(path).map_err(failed)?
        };
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            // It is read twice.
            return Err(Failure::new(format!("{} is no file", path.display()))
                .help("name a file, or - for stdin")
                .into());
        }
        let changed = meta.modified().ok().and_then(|t| Timestamp::try_from(t).ok());
        Ok(Self {
            file,
            name: if stdin { "<stdin>".to_owned() } else { path.display().to_string() },
            format,
            only: ports.filter(|p| p.len() == 1).and_then(|p| p.nth(0)),
            changed: changed.filter(|_| !stdin),
        })
    }

    fn rewind(&mut self) -> Result<()> {
        self.file
            .rewind()
            .map_err(|e| Failure::new(format!("cannot read {}", self.name)).source(e).into())
    }

    fn read(&mut self, sink: &mut dyn CellSink) -> Result<ImportedFacts> {
        self.rewind()?;
        let input = BufReader::with_capacity(1 << 17, &self.file);
        match self.format {
            ImportFormat::NmapXml => nmap::read(input, &self.name, sink),
            ImportFormat::MasscanJson => masscan::read_json(input, &self.name, sink),
            ImportFormat::MasscanList => masscan::list(input, &self.name, sink),
            ImportFormat::ZmapCsv => zmap::read(input, &self.name, self.only, sink),
        }
    }

    /// Two bytes that tell this file from others of the same second: the same file always makes the
    /// same run.
    fn digest(&mut self) -> Result<u16> {
        self.rewind()?;
        let mut hash = Sha256::new();
        io::copy(&mut self.file, &mut hash)
            .map_err(|e| Failure::new(format!("cannot read {}", self.name)).source(e))?;
        Ok(hash.finalize().iter().take(2).fold(0, |n, b| n << 8 | u16::from(*b)))
    }
}

/// Standard input in a file, to be read twice.
fn copy_stdin_to_file() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut io::stdin().lock().by_ref(), &mut file)?;
    Ok(file)
}

/// What the first reading looks for.
struct ImportSummary<'a> {
    addrs: &'a ScopedSet,
    /// Whether a port was named, by number.
    ports: Vec<bool>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl CellSink for ImportSummary<'_> {
    fn port(&mut self, s: SeenCells) -> Result<()> {
        if let Some(at) = s.at {
            self.first = Some(self.first.map_or(at, |t| t.min(at)));
            self.last = Some(self.last.map_or(at, |t| t.max(at)));
        }
        // Ports of addresses that are not imported say nothing of the plan.
        if self.addrs.addrs().contains(s.ip)
            && let Some(seen) = self.ports.get_mut(usize::from(s.port.get()))
        {
            *seen = true;
        }
        Ok(())
    }

    fn ports(&mut self, _: IpAddr, _: &PortSet, _: CellState) -> Result<()> {
        Ok(())
    }
}
