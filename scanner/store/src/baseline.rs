//! A baseline in a folder: its files read and parsed.

use std::path::Path;

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_drift::baseline::Baseline;

/// A baseline file as the people who edit it call it: `baseline/hosting.toml`, wherever the run is.
fn shown(dir: &Path, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match dir.file_name() {
        Some(folder) => format!("{}/{name}", folder.to_string_lossy()),
        None => name.into_owned(),
    }
}

/// Reads and parses every `*.toml` of a baseline folder.
///
/// # Errors
/// As [`baseline_files`] and [`parse_baseline`].
pub fn read_baseline(dir: &Path) -> Result<Baseline> {
    parse_baseline(&baseline_files(dir)?)
}

/// The names and texts of every `*.toml` of a baseline folder.
///
/// # Errors
/// A [`Failure`] when the folder or a file cannot be read or holds no baseline: an unreadable
/// baseline is never an empty one.
pub fn baseline_files(dir: &Path) -> Result<Vec<(String, String)>> {
    let failed = |path: &Path, e: std::io::Error| {
        Failure::new(format!("cannot read the baseline {}", path.display()))
            .help("name the folder as `dir` under [baseline]; an unreadable baseline is never taken for an empty one")
            .source(e)
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| failed(dir, e))? {
        let path = entry.map_err(|e| failed(dir, e))?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(Failure::new(format!("the baseline {} holds no .toml file", dir.display()))
            .help("write one with `version = 1` and `owner = \"…\"`; with no rule in it, everything open is drift")
            .into());
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|e| failed(&path, e))?;
        files.push((shown(dir, &path), text));
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
