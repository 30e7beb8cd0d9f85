//! `mimawari checks`: what the path prober looks for.

mod draft;
mod import;
mod nuclei;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_look::http::connection::BODY_LIMIT;
use mimawari_probes::http::{Catalogue, Check};

use crate::cli::ChecksCommand;
use crate::output::print;
use crate::scan;

/// The catalogue with the files that the command line names.
fn load_own_catalogue(files: &[PathBuf]) -> Result<Catalogue> {
    scan::load_catalogue(&files.iter().map(Into::into).collect::<Vec<_>>())
}

/// `mimawari checks`
///
/// # Errors
/// An unknown id; a file of checks or a key that cannot be read.
pub fn run_checks_command(command: &ChecksCommand) -> Result<ExitStatus> {
    use std::fmt::Write as _;
    let mut out = String::new();
    match command {
        ChecksCommand::List { own } => out = check_list(&load_own_catalogue(&own.checks)?),
        ChecksCommand::Show { id, own } => {
            let catalogue = load_own_catalogue(&own.checks)?;
            let Some(check) = catalogue.get(id) else {
                let mut failure = Failure::new(format!("no check has the id `{id}`"));
                failure = failure.help("`mimawari checks list` names them all");
                return Err(failure.into());
            };
            out = check_in_full(check);
        }
        ChecksCommand::Import(args) => return import::import(args),
        ChecksCommand::Digest { evidence_key, files } => {
            let key = scan::read_evidence_key(&evidence_key.into())?;
            for file in files {
                let digest = compute_file_digest(&key, file)?;
                let _ = writeln!(out, "{digest}  {}", file.display());
            }
        }
    }
    print(&out)?;
    Ok(ExitStatus::Clean)
}

/// A line a check, under the columns' names.
fn check_list(catalogue: &Catalogue) -> String {
    use std::fmt::Write as _;
    let width = catalogue.all().map(|c| c.id.len()).max().unwrap_or_default().max(2);
    let mut out = format!("{:width$}  severity  tier 1  tier 2  tier 3  title\n", "id");
    for c in catalogue.all() {
        let _ = write!(out, "{:width$}  {:<8}", c.id, c.severity.as_str());
        for tier in 1..=3 {
            let _ = match c.paths_in(tier) {
                0 => write!(out, "  {:>6}", "-"),
                n => write!(out, "  {n:>6}"),
            };
        }
        let _ = writeln!(out, "  {}", c.title);
    }
    out
}

/// Everything about a check that a reader of its findings may ask.
fn check_in_full(c: &Check) -> String {
    use std::fmt::Write as _;
    let mut out = format!("{}: {}\n\n", c.id, c.title);
    for (name, text) in [
        ("Severity", c.severity.as_str()),
        ("Why", c.why.as_str()),
        ("Remedy", c.remedy.as_str()),
        ("Signature", c.signature.as_str()),
    ] {
        let _ = writeln!(out, "{:<11}{text}", format!("{name}:"));
    }
    for (tier, when) in [(1, "hourly"), (2, "daily"), (3, "weekly")] {
        let patterns = c.patterns.iter().filter(|(of, _)| *of == tier);
        let mut patterns = patterns.map(|(_, pattern)| pattern).peekable();
        if patterns.peek().is_none() {
            continue;
        }
        let paths = match c.paths_in(tier) {
            1 => "1 path".to_owned(),
            n => format!("{n} paths"),
        };
        let _ = writeln!(out, "\nTier {tier}, {when}: {paths}");
        for pattern in patterns {
            let _ = writeln!(out, "  {pattern}");
        }
    }
    out
}

/// As the evidence of a hit on this file has it.
fn compute_file_digest(key: &[u8; 32], path: &Path) -> Result<String> {
    let mut body = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(BODY_LIMIT as u64).read_to_end(&mut body))
        .map_err(|e| {
            Failure::new(format!("cannot read the file `{}`", path.display()))
                .help("name the file that may have been served, as it lies on the web host")
                .source(e)
        })?;
    Ok(mimawari_probes::http::hash_with_key(key, &body))
}
