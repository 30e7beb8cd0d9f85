//! Exit statuses, and errors that say what is wrong and how to fix it.

use std::fmt;
use std::process::ExitCode;

/// Exit status of the program. Where several apply, 2 wins over 1, 1 over 3, 3 over 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Clean, and everything planned was covered.
    Clean = 0,
    /// Drift.
    Drift = 1,
    /// Usage, configuration, baseline or runtime error.
    Error = 2,
    /// Something planned was not covered, and no drift in what was.
    Incomplete = 3,
    /// The task was stopped by a signal, and must be started again: 3 as well, and never turned into 0,
    /// since nobody would start it again then.
    Interrupted,
}

impl ExitStatus {
    /// The status that a verdict's `exit` stands for.
    #[must_use]
    pub const fn from_verdict(exit: u8) -> Self {
        match exit {
            0 => Self::Clean,
            1 => Self::Drift,
            3 => Self::Incomplete,
            _ => Self::Error,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(s: ExitStatus) -> Self {
        Self::from(match s {
            ExitStatus::Interrupted => ExitStatus::Incomplete as u8,
            other => other as u8,
        })
    }
}

/// What kind of failure it is, where something depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A store refused the access (HTTP status 403).
    AccessDenied,
    /// A secret is not in the environment.
    SecretMissing,
}

/// The kind of an error, if it or a cause of it has one.
#[must_use]
pub fn find_failure_kind(error: &anyhow::Error) -> Option<FailureKind> {
    error.chain().find_map(|e| e.downcast_ref::<Failure>().and_then(|f| f.kind))
}

/// An error with a remedy. The message is one line without a full stop; so is the remedy.
#[derive(Debug)]
pub struct Failure {
    message: String,
    help: Option<String>,
    kind: Option<FailureKind>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// An error without a remedy yet.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, kind: None, source: None }
    }

    /// With a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Of this kind.
    #[must_use]
    pub const fn kind(mut self, kind: FailureKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// With the error behind it.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The remedy.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// The whole error as the user sees it: the chain on the first line, the remedy on the next.
#[must_use]
pub fn render(error: &anyhow::Error) -> String {
    use mimawari_targets::diagnostic::DiagnosticList;
    // A message that points at a line renders itself; the chain would bury it.
    if let Some(d) = error.downcast_ref::<DiagnosticList>() {
        return d.to_string();
    }
    let mut last = sanitise_message(&error.to_string());
    let mut out = format!("error: {last}");
    for cause in error.chain().skip(1) {
        let text = sanitise_message(&cause.to_string());
        // Many errors repeat their source in their own text.
        if !last.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        last = text;
    }
    let help = error.chain().find_map(|e| e.downcast_ref::<Failure>().and_then(Failure::remedy));
    if let Some(help) = help {
        out.push_str("\nhelp: ");
        out.push_str(help);
    }
    out
}

/// No more characters than this of one message.
const LONGEST: usize = 4096;

/// A message without anything that a terminal obeys: readers of broken files quote from them. Lines
/// stay lines.
fn sanitise_message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (n, c) in text.chars().enumerate() {
        if n == LONGEST {
            out.push('…');
            break;
        }
        match c {
            '\n' | '\t' => out.push(c),
            // Overrides of the direction of text show one thing and mean another.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// The whole error on one line, for a log.
#[must_use]
pub fn render_line(error: &anyhow::Error) -> String {
    render(error).trim_start_matches("error: ").replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_quotes_from_a_broken_file_moves_no_terminal() {
        let error = std::io::Error::other("unknown variant `\u{1b}[31mred\u{202e}\u{9b}2J`");
        let failure = Failure::new("the run is damaged").help("begin a new one").source(error);
        let shown = render(&failure.into());
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(
            !shown.contains('\u{202e}') && shown.contains("help: begin a new one"),
            "{shown:?}"
        );
    }
}
