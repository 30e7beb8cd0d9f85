//! `mimawari baseline fmt`

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_drift::edit::format_named;
use mimawari_targets::diagnostic::DiagnosticList;

use super::diff::render_diff;
use super::files::{self, TextFile};
use crate::cli::BaselineFmtArgs;
use crate::output::print;

/// `mimawari baseline fmt`
///
/// # Errors
/// What keeps files from being read, with the lines; then none is written. With `--check`, that a
/// file is not in canonical form.
pub fn run_fmt_command(args: &BaselineFmtArgs) -> Result<ExitStatus> {
    let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
    for path in &args.paths {
        paths.extend(files::list(path)?);
    }
    let mut wrong = Vec::new();
    let mut changed = Vec::new();
    for path in &paths {
        let file = match TextFile::read(path) {
            Ok(file) => file,
            Err(e) => match e.downcast::<DiagnosticList>() {
                Ok(DiagnosticList(d)) => {
                    wrong.extend(d);
                    continue;
                }
                Err(e) => return Err(e),
            },
        };
        match format_named(&file.name, &file.text) {
            Ok(text) if text != file.text => changed.push((file, text)),
            Ok(_) => {}
            Err(DiagnosticList(d)) => wrong.extend(d),
        }
    }
    if !wrong.is_empty() {
        return Err(DiagnosticList(wrong).into());
    }
    let mut out = String::new();
    if args.check {
        for (file, text) in &changed {
            out.push_str(&render_diff(&file.name, &file.text, text));
        }
        print(&out)?;
        if changed.is_empty() {
            return Ok(ExitStatus::Clean);
        }
        let are = if changed.len() == 1 { "is" } else { "are" };
        let failure = Failure::new(format!(
            "{} of {} {are} not in canonical form",
            changed.len(),
            count(paths.len())
        ));
        return Err(failure
            .help("run `mimawari baseline fmt`, and look at what it changed")
            .into());
    }
    for (file, text) in &changed {
        file.write(text)?;
        let _ = writeln!(out, "{}: written in canonical form", file.name);
    }
    let _ = match (changed.len(), paths.len()) {
        (0, n) => writeln!(out, "{}: nothing to change", count(n)),
        (c, n) if c < n => writeln!(out, "{} more: nothing to change", count(n - c)),
        _ => Ok(()),
    };
    print(&out)?;
    Ok(ExitStatus::Clean)
}

fn count(n: usize) -> String {
    if n == 1 { "1 file".to_owned() } else { format!("{n} files") }
}
