//! The files of a baseline as they lie on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_base::files::write_atomically;
use mimawari_drift::baseline::Baseline;
use mimawari_store::baseline::RuleFiles;
use mimawari_targets::diagnostic::TextSource;

/// A file and its text.
#[derive(Debug, Clone)]
pub(super) struct TextFile {
    pub(super) path: PathBuf,
    /// As messages call it.
    pub(super) name: String,
    pub(super) text: String,
}

impl TextFile {
    /// Reads one file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|e| describe_read_failure(path, e))?;
        let text = TextSource::from_bytes(name.as_str(), bytes)?.text().to_owned();
        Ok(Self { path: path.to_owned(), name, text })
    }

    /// Whose rules are in it.
    pub(super) fn owner(&self) -> Option<String> {
        let table: toml::Table = self.text.parse().ok()?;
        Some(table.get("owner")?.as_str()?.trim().to_owned())
    }

    /// Replaces the file by another text, whole or not at all. Its mode stays, and so does a
    /// symbolic link that leads to it.
    pub(super) fn write(&self, text: &str) -> Result<()> {
        let failed = |e: io::Error| {
            Failure::new(format!("cannot write {}", self.name))
                .help("the file is as it was; make the folder writable and try again")
                .source(e)
        };
        let path = fs::canonicalize(&self.path).map_err(failed)?;
        if fs::read(&path).map_err(failed)? != self.text.as_bytes() {
            return Err(Failure::new(format!("{} was changed meanwhile", self.name))
                .help("the file is left as it is; try again")
                .into());
        }
        let mode = fs::metadata(&path).map_err(failed)?.permissions();
        write_atomically(&path, text.as_bytes()).map_err(failed)?;
        fs::set_permissions(&path, mode).map_err(failed)?;
        Ok(())
    }
}

fn describe_read_failure(path: &Path, e: io::Error) -> Failure {
    Failure::new(format!("cannot read the baseline {}", path.display()))
        .help("name the baseline folder or a file of it")
        .source(e)
}

/// The `*.toml` files of a folder and its sub-folders, by name; of a file, that file.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>> {
    if !fs::metadata(path).map_err(|e| describe_read_failure(path, e))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let files = RuleFiles::list(path).map_err(|(path, e)| describe_read_failure(&path, e))?;
    files.note_skipped();
    Ok(files.paths)
}

/// Every file of a baseline folder; at least one.
pub(super) fn read_folder(dir: &Path) -> Result<Vec<TextFile>> {
    let paths = list(dir)?;
    if paths.is_empty() {
        return Err(Failure::new(format!("the baseline {} holds no .toml file", dir.display()))
            .help("write one with `version = 1` and `owner = \"…\"`")
            .into());
    }
    paths.iter().map(|p| TextFile::read(p)).collect()
}

/// The baseline that files make.
pub(super) fn parse(files: &[TextFile]) -> Result<Baseline> {
    let files: Vec<(String, String)> =
        files.iter().map(|f| (f.name.clone(), f.text.clone())).collect();
    Ok(Baseline::parse(&files)?.0)
}

/// The baseline that files make when one of them has another text.
pub(super) fn parse_with(files: &[TextFile], changed: &TextFile, text: &str) -> Result<Baseline> {
    let mut files = files.to_vec();
    for f in files.iter_mut().filter(|f| f.path == changed.path) {
        text.clone_into(&mut f.text);
    }
    parse(&files)
}
