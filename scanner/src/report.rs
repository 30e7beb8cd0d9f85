//! `mimawari report`: a verdict rendered.

use std::io::{self, IsTerminal, Read as _};
use std::path::Path;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_drift::verdict::Verdict;
use mimawari_probes::format::{FormatFault, NEWER_HELP, read_document};

use crate::cli::{ReportArgs, ReportFormat};
use crate::output::{detect_terminal_width, write_out};

/// `mimawari report`
///
/// # Errors
/// An unreadable verdict or an unwritable output.
pub fn report(args: &ReportArgs) -> Result<ExitStatus> {
    let mut verdict = read_verdict(&args.verdict)?;
    if let Some(least) = args.min_severity {
        if args.format == ReportFormat::Sarif {
            return Err(Failure::new("--min-severity does not go with SARIF: alerts that it does not name would be closed")
                .help("upload all of it, and filter by severity where it is shown")
                .into());
        }
        mimawari_report::leave_out_below(&mut verdict, least);
    }
    let to_terminal = args.out == Path::new("-") && io::stdout().is_terminal();
    let text = match args.format {
        ReportFormat::Text => {
            mimawari_report::render_text(&verdict, to_terminal, detect_terminal_width())
        }
        ReportFormat::Json => mimawari_report::render_json(&verdict),
        ReportFormat::Markdown => mimawari_report::render_markdown(&verdict),
        ReportFormat::Html => mimawari_report::html(&verdict),
        ReportFormat::Sarif => render_sarif(&verdict)?,
        ReportFormat::Csv => mimawari_report::render_csv(&verdict),
    };
    write_out(&args.out, &text)?;
    Ok(ExitStatus::Clean)
}

/// Reads a `verdict.json`; `-` is stdin.
///
/// # Errors
/// A [`Failure`] naming the file.
pub fn read_verdict(path: &Path) -> Result<Verdict> {
    let name = path.display();
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    }
    .map_err(|e| {
        Failure::new(format!("cannot read the verdict {name}"))
            .help("name a verdict.json that `mimawari patrol` or `judge` wrote")
            .source(e)
    })?;
    read_document(text.as_bytes()).map_err(|fault| {
        let failure = match fault {
            FormatFault::Newer { .. } => {
                Failure::new(format!("the verdict {name} {fault}")).help(NEWER_HELP)
            }
            FormatFault::Damaged(why) => Failure::new(format!("{name} is not a verdict: {why}"))
                .help("name a verdict.json that `mimawari patrol` or `judge` wrote"),
        };
        failure.into()
    })
}

/// A verdict as SARIF.
///
/// # Errors
/// A [`Failure`] when the verdict is incomplete or suspect.
fn render_sarif(verdict: &Verdict) -> Result<String> {
    mimawari_report::render_sarif(verdict).map_err(|refused| {
        let what = if refused.suspect { "suspect" } else { "incomplete" };
        let because = refused.because.trim_end_matches('.');
        let because =
            if because.is_empty() { String::new() } else { format!(" ({because})") };
        Failure::new(format!(
            "a verdict that is {what} is not written as SARIF{because}: alerts that it does not name \
             would be closed, and it may only not have seen them"
        ))
        .help("upload the next whole run; --format json, markdown, html and csv say what was not covered")
        .into()
    })
}
