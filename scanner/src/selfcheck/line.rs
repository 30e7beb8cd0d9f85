//! What a check found, and how it is shown.

use mimawari_base::failure::{FailureKind, find_failure_kind};
use mimawari_probes::http::to_printable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the JSON document.
pub const VERSION: u32 = 1;
/// Longest text of a line; what a system or a server says may be longer.
const LONGEST: usize = 1_000;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LineMark {
    /// It works.
    Ok,
    /// It works, and something about it should be known.
    Warn,
    /// It does not work, and a scan from here would not, or not be complete.
    Fail,
    /// It was not checked; the text says why.
    Skip,
}

impl LineMark {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFinding {
    /// How it ended.
    pub mark: LineMark,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The kind of the error that it was made of.
    pub failure: Option<FailureKind>,
}

impl CheckFinding {
    /// It works.
    #[must_use]
    pub fn ok(what: impl Into<String>) -> Self {
        Self { mark: LineMark::Ok, what: what.into(), remedy: None, failure: None }
    }

    /// It works with a reservation.
    #[must_use]
    pub fn warn(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { mark: LineMark::Warn, what: what.into(), remedy: Some(remedy.into()), failure: None }
    }

    /// It does not work.
    #[must_use]
    pub fn fail(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { mark: LineMark::Fail, what: what.into(), remedy: Some(remedy.into()), failure: None }
    }

    /// It was not checked.
    #[must_use]
    pub fn skip(why: impl Into<String>) -> Self {
        Self { mark: LineMark::Skip, what: why.into(), remedy: None, failure: None }
    }

    /// An error of a command as what a check found.
    #[must_use]
    pub fn of_error(error: &anyhow::Error) -> Self {
        let text = mimawari_base::failure::render(error);
        let text = text.trim_start_matches("error: ");
        let (what, remedy) = text.split_once("\nhelp: ").unwrap_or((text, ""));
        let remedy = if remedy.is_empty() { "fix what the message names" } else { remedy };
        let found = Self::fail(join_lines(what), join_lines(remedy));
        Self { failure: find_failure_kind(error), ..found }
    }
}

/// Lines joined into one.
#[must_use]
pub fn join_lines(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A check as it stands in the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckLine {
    /// Its name; several canaries have the same.
    pub name: String,
    /// How it ended.
    pub status: LineMark,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl CheckLine {
    /// What a check of this name found. No control character passes.
    #[must_use]
    pub fn new(name: &str, found: &CheckFinding) -> Self {
        let clean = |text: &str| to_printable(join_lines(text).as_bytes(), LONGEST);
        Self {
            name: name.to_owned(),
            status: found.mark,
            what: clean(&found.what),
            remedy: found.remedy.as_deref().map(clean),
        }
    }

    /// The line, and that of the remedy.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{:<4}  {:<10}  {}\n", self.status.as_str(), self.name, self.what);
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("      {:<10}  → {remedy}\n", ""));
        }
        text
    }
}

/// What `selfcheck --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelfcheckReport {
    /// Version of the form, 1.
    pub version: u32,
    /// Whether nothing failed.
    pub ok: bool,
    /// In the order in which they were made.
    pub checks: Vec<CheckLine>,
}

/// What the last line says of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepResult {
    /// Without raw packets.
    Connect,
    /// At this rate; whether it was measured.
    Syn(u32, bool),
}

/// The last line.
#[must_use]
pub fn render_verdict(checks: &[CheckLine], sweep: SweepResult) -> String {
    let made = checks.iter().filter(|c| c.status != LineMark::Skip).count();
    let failed = checks.iter().filter(|c| c.status == LineMark::Fail).count();
    if failed > 0 {
        return format!("not ready: {failed} of {made} failed\n");
    }
    match sweep {
        SweepResult::Connect => "ready: full connections, no SYN sweep\n".to_owned(),
        SweepResult::Syn(rate, true) => format!("ready: SYN sweep at up to ~{rate} packets/s\n"),
        SweepResult::Syn(rate, false) => {
            format!("ready: SYN sweep at up to {rate} packets/s as configured, not measured\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_no_control_character_and_has_one_line() {
        let found = CheckFinding::fail("two\nlines \x1b[31mred", "do\tthis");
        let text = CheckLine::new("store", &found).text();
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.starts_with("fail  store       two lines "), "{text:?}");
        assert!(text.ends_with("      → do this\n") || text.contains("→ do this\n"), "{text:?}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn the_verdict_counts_what_was_looked_at() {
        let check = |mark| CheckLine {
            name: "x".to_owned(),
            status: mark,
            what: String::new(),
            remedy: None,
        };
        let mut checks = vec![check(LineMark::Ok), check(LineMark::Skip), check(LineMark::Warn)];
        assert_eq!(
            render_verdict(&checks, SweepResult::Syn(2000, true)),
            "ready: SYN sweep at up to ~2000 packets/s\n"
        );
        checks.push(check(LineMark::Fail));
        assert_eq!(render_verdict(&checks, SweepResult::Connect), "not ready: 1 of 3 failed\n");
    }
}
