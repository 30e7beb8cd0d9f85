//! A baseline in a folder: its files read and parsed.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_base::source_path::SourcePath;
use mimawari_drift::baseline::Baseline;

/// Folders below a baseline folder, at most. More of them are a link that leads back.
const MOST_LEVELS: usize = 16;

/// The files of a baseline folder.
#[derive(Debug, Default)]
pub struct RuleFiles {
    /// Every `.toml` file, in sub-folders as well, sorted.
    pub paths: Vec<PathBuf>,
    /// Files of editors and file managers, which are not read.
    pub skipped: Vec<PathBuf>,
}

impl RuleFiles {
    /// Lists a folder.
    ///
    /// # Errors
    /// What the system says, with the path. A folder that cannot be listed is never an empty one.
    pub fn list(dir: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let mut out = Self::default();
        out.add(dir, 0)?;
        out.paths.sort();
        out.skipped.sort();
        Ok(out)
    }

    fn add(&mut self, dir: &Path, level: usize) -> Result<(), (PathBuf, io::Error)> {
        let failed = |e: io::Error| (dir.to_owned(), e);
        if level > MOST_LEVELS {
            return Err(failed(io::Error::other("its folders are too deep, or a link leads back")));
        }
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if is_left_behind(&name) {
                self.skipped.push(path);
            } else if is_toml(&name) {
                // One that is no file is refused when it is read.
                self.paths.push(path);
            } else if !name.starts_with('.') && path.is_dir() {
                self.add(&path, level + 1)?;
            }
        }
        Ok(())
    }

    /// Names what is skipped in the log.
    pub fn note_skipped(&self) {
        for path in &self.skipped {
            tracing::info!("{}: a file of an editor, which is not read", path.display());
        }
    }
}

fn is_toml(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"))
}

/// What editors (`.#x.toml`, `#x.toml#`, `x.toml~`) and macOS (`._x.toml`) leave beside a file.
fn is_left_behind(name: &str) -> bool {
    let of = name.strip_prefix(".#").or(name.strip_prefix("._")).or(name.strip_suffix('~'));
    let of = of.or(name.strip_prefix('#').and_then(|n| n.strip_suffix('#')));
    of.is_some_and(is_toml)
}

/// A baseline file as the people who edit it call it: `baseline/hosting.toml`, wherever the run is.
fn format_baseline_path(dir: &Path, path: &Path) -> String {
    let below = path.strip_prefix(dir).unwrap_or(path);
    let parts: Vec<_> = below.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    let name = parts.join("/");
    match dir.file_name() {
        Some(folder) => format!("{}/{name}", folder.to_string_lossy()),
        None => name,
    }
}

/// Reads and parses every `*.toml` of a baseline folder.
///
/// # Errors
/// As [`read_baseline_files`] and [`parse_baseline`].
pub fn read_baseline(dir: &SourcePath) -> Result<Baseline> {
    parse_baseline(&read_baseline_files(dir)?)
}

/// The names and texts of every `*.toml` of a baseline folder and its sub-folders.
///
/// # Errors
/// A [`Failure`] when the folder or a file cannot be read or holds no baseline: an unreadable
/// baseline is never an empty one.
pub fn read_baseline_files(dir: &SourcePath) -> Result<Vec<(String, String)>> {
    let failed = |path: &Path, e: std::io::Error| {
        let named = match path.strip_prefix(dir) {
            Ok(below) if below.as_os_str().is_empty() => dir.clone(),
            Ok(below) => dir.join(below),
            Err(_) => path.into(),
        };
        Failure::new(format!("cannot read the baseline {named}"))
            .help("name the folder as `dir` under [baseline]; an unreadable baseline is never taken for an empty one")
            .source(e)
    };
    let files = RuleFiles::list(dir).map_err(|(path, e)| failed(&path, e))?;
    files.note_skipped();
    let paths = files.paths;
    if paths.is_empty() {
        return Err(Failure::new(format!("the baseline {} holds no .toml file", dir.display()))
            .help("write one with `version = 1` and `owner = \"…\"`; with no rule in it, everything open is drift")
            .into());
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|e| failed(&path, e))?;
        files.push((format_baseline_path(dir, &path), text));
    }
    Ok(files)
}

/// Parses a baseline's files; what is only worth a warning is logged.
///
/// # Errors
/// Diagnostics when a file is wrong.
pub fn parse_baseline(files: &[(String, String)]) -> Result<Baseline> {
    let (baseline, warnings) = Baseline::parse(files)?;
    for w in warnings {
        tracing::warn!("{w}");
    }
    Ok(baseline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_folders_are_read_and_editors_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join("baseline").join(name);
        std::fs::create_dir_all(at("team/deep")).unwrap();
        std::fs::create_dir_all(at(".git")).unwrap();
        for name in [
            "a.toml",
            "B.TOML",
            "team/c.toml",
            "team/deep/d.Toml",
            ".hidden.toml",
            ".git/e.toml",
            ".#a.toml",
            "._a.toml",
            "a.toml~",
            "#a.toml#",
            "README.md",
            "a.toml.orig",
        ] {
            std::fs::write(at(name), "version = 1\nowner = \"x\"\n").unwrap();
        }
        let files = read_baseline_files(&at("").into()).unwrap();
        let names: Vec<&str> = files.iter().map(|f| f.0.as_str()).collect();
        let read = [".hidden.toml", "B.TOML", "a.toml", "team/c.toml", "team/deep/d.Toml"];
        assert_eq!(names, read.map(|n| format!("baseline/{n}")));
        let skipped = RuleFiles::list(&at("")).unwrap().skipped;
        assert_eq!(skipped, ["#a.toml#", ".#a.toml", "._a.toml", "a.toml~"].map(at));
    }

    #[test]
    fn a_link_that_leads_back_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), "").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        assert!(RuleFiles::list(dir.path()).is_err());
    }
}
