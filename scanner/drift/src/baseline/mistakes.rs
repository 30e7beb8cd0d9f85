//! What is wrong with a baseline, collected while it is read.

use std::ops::Range;

use mimawari_probes::http::to_printable;
use mimawari_targets::diagnostic::{Diagnostic, DiagnosticLevel, DiagnosticList, TextSource};

use super::document::DocumentFile;
use super::place::{LineStarts, SpanFinder, TextLocation};
use crate::lint_rules::LintRule;

/// One thing that is wrong with a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// Which of the things that can be.
    pub rule: &'static LintRule,
    /// The message, with its place and remedy.
    pub diagnostic: Diagnostic,
    /// Where it begins.
    pub start: TextLocation,
    /// Behind its last character.
    pub end: TextLocation,
    /// The rule of the baseline that it is about, made safe to show.
    pub rule_id: Option<String>,
}

/// A mistake without its lines.
#[derive(Debug, Clone)]
struct ReadError {
    rule: &'static LintRule,
    file: usize,
    span: Range<usize>,
    id: Option<String>,
    title: String,
    help: String,
}

/// The mistakes that were found so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadErrors(Vec<ReadError>);

impl ReadErrors {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Mistakes from the `from`-th on for which a patrol refuses the files.
    pub(super) fn refused_since(&self, from: usize) -> usize {
        self.0.iter().skip(from).filter(|m| m.rule.refused).count()
    }

    pub(crate) fn report(
        &mut self,
        rule: &'static LintRule,
        file: usize,
        span: Range<usize>,
        id: Option<&str>,
        title: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (title, help) = (title.into(), help.into());
        self.0.push(ReadError { rule, file, span, id: id.map(sanitise_excerpt), title, help });
    }

    /// Keeps of what was found from the `from`-th on only what is about these bytes.
    pub(super) fn retain_between(&mut self, from: usize, bytes: Range<usize>) {
        let late = self.0.split_off(from);
        self.0.extend(late.into_iter().filter(|f| bytes.contains(&f.span.start)));
    }

    /// Whether a patrol refuses the files for one of them.
    pub(super) fn is_refused(&self) -> bool {
        self.0.iter().any(|m| m.rule.refused)
    }

    /// The mistakes of some rules alone.
    pub(super) fn only(mut self, keep: impl Fn(&LintRule) -> bool) -> Self {
        self.0.retain(|m| keep(m.rule));
        self
    }

    /// As error messages.
    pub(super) fn into_diagnostics(self, files: &[DocumentFile]) -> DiagnosticList {
        let lints = self.finish(files, &LineStarts::of(files));
        DiagnosticList(lints.into_iter().map(|l| l.diagnostic).collect())
    }

    /// With the lines.
    pub(crate) fn finish(mut self, files: &[DocumentFile], places: &LineStarts) -> Vec<Lint> {
        // Stable: of what is at one place, what was found first comes first.
        self.0.sort_by_key(|f| (f.file, f.span.start, f.span.end));
        let mut finder = SpanFinder::default();
        let mut out = Vec::with_capacity(self.0.len());
        for f in self.0 {
            let source: &TextSource = &files[f.file].source;
            let at = |i| finder.find(f.file, source.text(), places, i);
            let [start, end] = [f.span.start, f.span.end.max(f.span.start)].map(at);
            let (source, span) =
                extract_message_lines(source, f.file, (start.line, end.line), f.span, places);
            let d = match f.rule.gravity {
                DiagnosticLevel::Error => Diagnostic::error(f.title, &source, span),
                DiagnosticLevel::Warning => Diagnostic::warning(f.title, &source, span),
            };
            let d = d.code(f.rule.id);
            let diagnostic = if f.help.is_empty() { d } else { d.help(f.help) };
            out.push(Lint { rule: f.rule, diagnostic, start, end, rule_id: f.id });
        }
        out
    }
}

/// The lines of a message alone, so that to show it nobody counts the lines of a long file again.
fn extract_message_lines(
    source: &TextSource,
    file: usize,
    (first, last): (usize, usize),
    span: Range<usize>,
    places: &LineStarts,
) -> (TextSource, Range<usize>) {
    /// Longer lines are shown out of the whole text, which needs no copy.
    const LONGEST: usize = 4096;
    let text = source.text();
    let (from, to) = (places.start(file, first, text), places.start(file, last + 1, text));
    if to - from > LONGEST || span.start < from || span.end > to {
        return (source.clone(), span);
    }
    let lines = TextSource::at_line(source.name(), &text[from..to], first);
    (lines, span.start - from..span.end - from)
}

/// How many characters of what a file holds are shown in a message.
const SHOWN: usize = 80;

/// Text of a file, safe to show: short, and without control and invisible characters.
pub(crate) fn sanitise_excerpt(s: &str) -> String {
    let mut out = to_printable(s.as_bytes(), SHOWN + 1);
    if let Some((at, _)) = out.char_indices().nth(SHOWN) {
        out.truncate(at);
        out.push('…');
    }
    out
}
