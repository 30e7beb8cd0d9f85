//! The table of everything that the lint reports: a row has a stable id, a page, a bad and a good
//! example. The examples are the fixtures of the tests as well, so each page is true.

pub mod policy;
pub mod reading;
pub mod upkeep;

use std::fmt::Write as _;

use mimawari_targets::diagnostic::DiagnosticLevel;

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub struct LintRule {
    /// Stable: scripts, annotations and code scanning name it.
    pub id: &'static str,
    /// Error or warning.
    pub gravity: DiagnosticLevel,
    /// Whether a patrol refuses the baseline for it, too.
    pub refused: bool,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// Why it is reported and what to do.
    pub page: &'static str,
    /// A baseline for which it is reported; see [`split_example_files`].
    pub bad: &'static str,
    /// The same, corrected.
    pub good: &'static str,
}

/// Defines rows, and the list of them.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident: $gravity:ident, $refused:literal, $id:literal, $title:literal, $page:literal, $bad:literal, $good:literal;)*) => {
        $($(#[$doc])* pub static $name: super::LintRule = super::LintRule {
            id: $id,
            gravity: mimawari_targets::diagnostic::DiagnosticLevel::$gravity,
            refused: $refused,
            title: $title,
            page: $page,
            bad: $bad,
            good: $good,
        };)*
        /// The rows of this module.
        pub static ROWS: &[&super::LintRule] = &[$(&$name),*];
    };
}
use rows;

/// Every row, errors of the text first.
pub fn list_lint_rules() -> impl Iterator<Item = &'static LintRule> {
    [reading::ROWS, policy::ROWS, upkeep::ROWS].into_iter().flatten().copied()
}

/// The row with an id.
#[must_use]
pub fn get(id: &str) -> Option<&'static LintRule> {
    list_lint_rules().find(|r| r.id == id)
}

impl LintRule {
    /// `error` or `warning`.
    #[must_use]
    pub const fn level(&self) -> &'static str {
        match self.gravity {
            DiagnosticLevel::Error => "error",
            DiagnosticLevel::Warning => "warning",
        }
    }

    /// What a patrol does with such a baseline.
    #[must_use]
    pub const fn effect(&self) -> &'static str {
        if self.refused {
            "A patrol refuses the whole baseline: what it cannot read it does not guess."
        } else {
            "A patrol goes on: this is reported by `baseline check` alone."
        }
    }

    /// The whole page.
    #[must_use]
    pub fn explained(&self) -> String {
        let mut out = format!(
            "{} ({}): {}\n\n{}\n{}\n",
            self.id,
            self.level(),
            self.title,
            self.page,
            self.effect()
        );
        for (name, example) in [("Reported", self.bad), ("Corrected", self.good)] {
            let _ = write!(out, "\n{name}:\n\n");
            for line in example.trim_end().lines() {
                let _ = writeln!(out, "{}", format!("    {line}").trim_end());
            }
        }
        out
    }
}

/// All rows, one a line, sorted as in the table.
#[must_use]
pub fn render_rule_table() -> String {
    let width = list_lint_rules().map(|r| r.id.len()).max().unwrap_or_default();
    let mut out = String::new();
    for r in list_lint_rules() {
        let _ = writeln!(out, "  {:width$}  {:7}  {}", r.id, r.level(), r.title);
    }
    out
}

/// The files of an example. A line `# --- NAME` begins a file of this name; without one it is
/// `team.toml`. A TOML file that begins with a table gets the two lines that each file needs.
#[must_use]
pub fn split_example_files(example: &str) -> Vec<(String, String)> {
    let mut out = vec![("team.toml".to_owned(), String::new())];
    for line in example.lines() {
        if let Some(name) = line.strip_prefix("# --- ") {
            out.push((name.to_owned(), String::new()));
        } else if let Some((_, text)) = out.last_mut() {
            let _ = writeln!(text, "{line}");
        }
    }
    out.retain(|(_, text)| !text.trim().is_empty());
    for (name, text) in &mut out {
        if name.ends_with(".toml") && text.starts_with('[') {
            text.insert_str(0, "version = 1\nowner = \"@corp/hosting\"\n\n");
        }
    }
    out
}
