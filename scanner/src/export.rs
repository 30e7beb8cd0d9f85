//! `mimawari export`: a run in the forms of other tools. Reads run folders; sends nothing.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_base::files::create_temporary_file;
use mimawari_drift::state::State;
use mimawari_runs::export::write_nmap_xml;
use mimawari_runs::{Runs, read_meta};

use crate::cli::{ExportArgs, ExportFormat};

/// `mimawari export`
///
/// # Errors
/// Runs that cannot be read or do not belong together; an output that cannot be written.
pub fn export(args: &ExportArgs) -> Result<ExitStatus> {
    let Some(first) = args.runs.first() else {
        return Err(Failure::new("no run is named").help("name a run folder").into());
    };
    // The scope of the run itself: it exports what it was allowed to see then.
    let scope = read_meta(first)?.scope.to_scope();
    let runs = Runs::open(&args.runs, &scope, &State::default())?;
    let written = match args.format {
        ExportFormat::NmapXml => write(&args.out, |out| write_nmap_xml(&runs, out)),
    };
    written.map_err(|e| {
        Failure::new(format!("cannot export to {}", args.out.display()))
            .help("choose another file with --out FILE")
            .source(e)
    })?;
    Ok(ExitStatus::Clean)
}

/// Streams into a file that takes its place when it is whole, or to stdout. A reader that has gone
/// away is no error.
fn write(path: &Path, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if path == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        return match render(&mut out).and_then(|()| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        };
    }
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = create_temporary_file(dir)?;
    let mut out = BufWriter::new(file);
    render(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    File::open(dir)?.sync_all()
}
