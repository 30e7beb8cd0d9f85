//! What reviewers want of a baseline: whether each rule says why, for how long, and for whom.
//!
//! What makes a file unreadable for a patrol is an error here as well ([`LintRule::refused`]);
//! everything else is told by `baseline check` alone: a patrol must not go blind because a reason
//! is too short. Unlike the patrol's reader this one goes on after a mistake.
//!
//! * `read`, `fields`: the files, part by part.
//! * `policy`: what each rule must have.
//! * `cells`: rules that share cells.
//! * `scanned`: what the scan profiles cover.
//! * `upkeep`: what time and use say of the rules.
//! * [`codeowners`]: who owns which file.
//! * [`rules`]: the table of everything that is told, with its pages.

mod cells;
pub mod codeowners;
mod fields;
mod place;
mod policy;
mod read;
pub(crate) mod reason;
pub mod rules;
mod scanned;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::Timestamp;
use mimawari_probes::http::printable;
use mimawari_targets::diagnostic::{Diagnostic, Gravity, Source};
use mimawari_targets::{AddrSet, PortSet, Scope};

use self::codeowners::CodeOwners;
pub use self::place::Place;
use self::read::{Entry, File, Reader};
pub use self::rules::LintRule;
use crate::state::RuleUse;

/// Cells (addresses × ports) that a rule may allow without `broad = true`, where nothing else is
/// said: a /24 with 16 ports.
pub const BUDGET: u128 = 4096;

/// What the baseline is held against. What is `None` is not asked about.
#[derive(Clone, Copy)]
pub struct LintContext<'a> {
    /// The time.
    pub now: Timestamp,
    /// What may be scanned at all.
    pub scope: Option<&'a Scope>,
    /// What is scanned. Empty: not known.
    pub profiles: &'a [Profile],
    /// Who owns the files.
    pub owners: Owners<'a>,
    /// Ids that `checks` may name.
    pub checks: Option<&'a BTreeSet<String>>,
    /// What the state knows of the rules.
    pub usage: Option<&'a BTreeMap<String, RuleUse>>,
    /// The files before a change.
    pub base: Option<&'a [(String, String)]>,
    /// Cells that a rule may allow without `broad = true`.
    pub budget: u128,
    /// What `baseline fmt` makes of a text.
    pub formatted: Option<&'a dyn Fn(&str) -> String>,
}

impl LintContext<'_> {
    /// Nothing to hold the files against but the time.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self {
            now,
            scope: None,
            profiles: &[],
            owners: Owners::Unasked,
            checks: None,
            usage: None,
            base: None,
            budget: BUDGET,
            formatted: None,
        }
    }
}

/// What one configuration scans.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Addresses.
    pub targets: AddrSet,
    /// TCP ports.
    pub ports: PortSet,
}

/// Who owns the files.
#[derive(Debug, Clone, Copy)]
pub enum Owners<'a> {
    /// Nobody looked.
    Unasked,
    /// There is no CODEOWNERS file.
    Absent,
    /// As a CODEOWNERS file has it.
    File {
        /// The file.
        owners: &'a CodeOwners,
        /// The baseline folder, relative to the top of the repository, with `/` between its parts.
        folder: &'a str,
    },
}

/// One thing that is wrong with a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// Which of the things that can be.
    pub rule: &'static LintRule,
    /// The message, with its place and remedy.
    pub diagnostic: Diagnostic,
    /// Where it begins.
    pub start: Place,
    /// Behind its last character.
    pub end: Place,
    /// The rule of the baseline that it is about, made safe to show.
    pub rule_id: Option<String>,
}

/// What is wrong with the files, given as (name, text): sorted by file and place. The same files
/// under the same context give the same list, in whatever order they come.
#[must_use]
pub fn lint(files: &[(String, String)], context: &LintContext<'_>) -> Vec<Lint> {
    let mut lints = Lints::default();
    let mut sorted: Vec<_> = files.iter().collect();
    sorted.sort();
    let mut reader = Reader::new(&mut lints);
    for (name, text) in sorted {
        reader.file(name, text);
    }
    let (files, entries) = (reader.files, reader.entries);
    policy::files(&mut lints, &files, context);
    for e in &entries {
        policy::entry(&mut lints, e, context);
    }
    scanned::scope(&mut lints, &files, &entries, context);
    scanned::required(&mut lints, &entries, context);
    upkeep::entries(&mut lints, &files, &entries, context);
    let places = place::Starts::of(&files);
    cells::shared(&mut lints, &files, &places, &entries, context.now);
    lints.finish(&files, &places)
}

/// The files of a baseline as they were, for comparison: what is wrong with them is not told.
fn before(files: &[(String, String)]) -> (Vec<File>, Vec<Entry>) {
    let mut unheard = Lints::default();
    let mut reader = Reader::new(&mut unheard);
    for (name, text) in files {
        reader.file(name, text);
    }
    (reader.files, reader.entries)
}

/// A lint without its lines.
struct Found {
    rule: &'static LintRule,
    file: usize,
    span: Range<usize>,
    id: Option<String>,
    title: String,
    help: String,
}

/// What was found so far.
#[derive(Default)]
struct Lints(Vec<Found>);

impl Lints {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn tell(
        &mut self,
        rule: &'static LintRule,
        file: usize,
        span: Range<usize>,
        id: Option<&str>,
        title: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (title, help) = (title.into(), help.into());
        self.0.push(Found { rule, file, span, id: id.map(shown), title, help });
    }

    /// Keeps of what was told from the `from`-th on only what is about these bytes.
    fn retain_between(&mut self, from: usize, bytes: Range<usize>) {
        let late = self.0.split_off(from);
        self.0.extend(late.into_iter().filter(|f| bytes.contains(&f.span.start)));
    }

    /// With the lines.
    fn finish(mut self, files: &[File], places: &place::Starts) -> Vec<Lint> {
        // Stable: of what is at one place, what was found first comes first.
        self.0.sort_by_key(|f| (f.file, f.span.start, f.span.end));
        let mut finder = place::Finder::default();
        let mut out = Vec::with_capacity(self.0.len());
        for f in self.0 {
            let source: &Source = &files[f.file].source;
            let at = |i| finder.find(f.file, source.text(), places, i);
            let [start, end] = [f.span.start, f.span.end.max(f.span.start)].map(at);
            let (source, span) = piece(source, f.file, (start.line, end.line), f.span, places);
            let d = match f.rule.gravity {
                Gravity::Error => Diagnostic::error(f.title, &source, span),
                Gravity::Warning => Diagnostic::warning(f.title, &source, span),
            };
            let d = d.code(f.rule.id);
            let diagnostic = if f.help.is_empty() { d } else { d.help(f.help) };
            out.push(Lint { rule: f.rule, diagnostic, start, end, rule_id: f.id });
        }
        out
    }
}

/// The lines of a message alone, so that to show it nobody counts the lines of a long file again.
fn piece(
    source: &Source,
    file: usize,
    (first, last): (usize, usize),
    span: Range<usize>,
    places: &place::Starts,
) -> (Source, Range<usize>) {
    /// Longer lines are shown out of the whole text, which needs no copy.
    const LONGEST: usize = 4096;
    let text = source.text();
    let (from, to) = (places.start(file, first, text), places.start(file, last + 1, text));
    if to - from > LONGEST || span.start < from || span.end > to {
        return (source.clone(), span);
    }
    let lines = Source::at_line(source.name(), &text[from..to], first);
    (lines, span.start - from..span.end - from)
}

/// How many characters of what a file holds are shown in a message.
const SHOWN: usize = 80;

/// Text of a file, safe to show: short, and without control and invisible characters.
fn shown(s: &str) -> String {
    let mut out = printable(s.as_bytes(), SHOWN + 1);
    if let Some((at, _)) = out.char_indices().nth(SHOWN) {
        out.truncate(at);
        out.push('…');
    }
    out
}
