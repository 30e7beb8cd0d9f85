//! Where a manifest goes: a file of its owner's, or stdout.

use std::fs::File;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use tempfile::NamedTempFile;

/// An output that is a whole manifest or nothing.
pub(super) enum OutputTarget<'a> {
    /// Until it is finished, a temporary file beside its place. Both have mode 0600: the file holds
    /// names and digests of what nobody may read.
    File {
        file: BufWriter<NamedTempFile>,
        path: PathBuf,
        folder: PathBuf,
    },
    Stdout(BufWriter<StdoutLock<'a>>),
}

impl OutputTarget<'_> {
    /// Opens `path`, or stdout for `-`.
    pub(super) fn open(path: &Path, root: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(BufWriter::with_capacity(64 << 10, io::stdout().lock())));
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let inside = folder.canonicalize().is_ok_and(|f| f.starts_with(root));
        if inside {
            return Err(Failure::new(format!(
                "{} lies in the document root, so the server would publish the manifest",
                path.display()
            ))
            .help("choose a place outside of it with --out FILE")
            .into());
        }
        let file = tempfile::Builder::new()
            .prefix(".tmp-")
            .tempfile_in(folder)
            // Without the temporary file's own name, which means nothing to the user.
            .map_err(|e| describe_write_failure(path, e.kind().into()))?;
        Ok(Self::File {
            file: BufWriter::with_capacity(64 << 10, file),
            path: path.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// Writes a line.
    pub(super) fn write(&mut self, line: &str) -> Result<()> {
        match self {
            Self::File { file, path, .. } => {
                file.write_all(line.as_bytes()).map_err(|e| describe_write_failure(path, e))?;
            }
            Self::Stdout(out) => out.write_all(line.as_bytes()).map_err(describe_stdout_failure)?,
        }
        Ok(())
    }

    /// Makes the file visible under its name.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::File { file, path, folder } => {
                let finish = || -> io::Result<()> {
                    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                    file.as_file().sync_all()?;
                    file.persist(&path).map_err(|e| e.error)?;
                    File::open(&folder)?.sync_all()
                };
                finish().map_err(|e| describe_write_failure(&path, e))?;
            }
            Self::Stdout(mut out) => out.flush().map_err(describe_stdout_failure)?,
        }
        Ok(())
    }
}

fn describe_write_failure(path: &Path, e: io::Error) -> Failure {
    Failure::new(format!("cannot write {}", path.display()))
        .help("choose another file with --out FILE")
        .source(e)
}

fn describe_stdout_failure(e: io::Error) -> Failure {
    Failure::new("cannot write to stdout").source(e)
}
