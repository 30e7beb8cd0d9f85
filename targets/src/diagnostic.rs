//! Messages that point at the line: what is wrong, where, and how to mend it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::text::{clean, clean_in_place};

/// How many bytes of a text are shown before and after the start of the place. Lines are shorter,
/// unless somebody wants to fill a terminal or a log.
const SHOWN: usize = 4096;

/// A text and the name under which the user knows it (a path, `--targets`, `<stdin>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSource {
    name: Arc<str>,
    text: Arc<str>,
    /// The number of the text's first line.
    first_line: usize,
}

impl TextSource {
    /// A named text.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self::at_line(name, text, 1)
    }

    /// A piece of a text that is too long to be held whole; the piece begins on `first_line`,
    /// counted from 1.
    #[must_use]
    pub fn at_line(
        name: impl Into<Arc<str>>,
        text: impl Into<Arc<str>>,
        first_line: usize,
    ) -> Self {
        Self { name: name.into(), text: text.into(), first_line }
    }

    /// A named text from raw bytes.
    ///
    /// # Errors
    /// A message that shows the first line that is not UTF-8.
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: Vec<u8>) -> Result<Self, DiagnosticList> {
        let name = name.into();
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            let source = Self::new(name, "");
            return Err(Diagnostic::error("this text is UTF-16", &source, 0..0)
                .help("save it as UTF-8")
                .into());
        }
        String::from_utf8(bytes).map(|text| Self::new(Arc::clone(&name), text)).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            // Up to the end of the bad line, so that the line number and the place are true.
            let end = e.as_bytes()[at..].iter().position(|b| *b == b'\n').map_or(SHOWN, |n| n);
            let end = (at + end.min(SHOWN)).min(e.as_bytes().len());
            let source = Self::new(name, String::from_utf8_lossy(&e.as_bytes()[..end]));
            Diagnostic::error("this line is not UTF-8", &source, at..at + 1)
                .help("save the text as UTF-8")
                .into()
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of a byte offset; that of the whole text's first line is 1.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        self.first_line + self.text.as_bytes()[..end].iter().filter(|b| **b == b'\n').count()
    }

    /// The lines of a span as a text of their own, the number of the first, and the span in it.
    /// Bounded, whatever the length of the text or of its lines.
    fn window(&self, span: &Range<usize>) -> (String, usize, Range<usize>) {
        let text = &*self.text;
        let end = find_char_boundary(text, span.end);
        let start = find_char_boundary(text, span.start.min(end));
        let from = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let from = find_char_boundary(text, from.max(start.saturating_sub(SHOWN)));
        let to = text[end..].find('\n').map_or(text.len(), |n| end + n);
        let to = find_char_boundary(text, to.min(start + SHOWN)).max(start);
        (clean_in_place(&text[from..to]), self.line(from), start - from..end.min(to) - from)
    }
}

/// The last place at or before `at` where a character begins, or the end of the text.
fn find_char_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiagnosticLevel {
    /// Something to know; the run goes on.
    Warning,
    /// The input is refused.
    Error,
}

/// One message about one place of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub gravity: DiagnosticLevel,
    /// What is wrong, in one line without a full stop.
    pub title: String,
    /// Where: the text.
    pub source: TextSource,
    /// Where: the bytes of it.
    pub span: Range<usize>,
    /// A word under the place, if the title is not enough.
    pub label: Option<String>,
    /// How to mend it, as an imperative without a full stop.
    pub help: Option<String>,
    /// The name of this kind of message, for those who look it up.
    pub code: Option<&'static str>,
}

impl Diagnostic {
    /// An error at `span` of `source`.
    #[must_use]
    pub fn error(title: impl Into<String>, source: &TextSource, span: Range<usize>) -> Self {
        Self {
            gravity: DiagnosticLevel::Error,
            title: title.into(),
            source: source.clone(),
            span,
            label: None,
            help: None,
            code: None,
        }
    }

    /// A warning at `span` of `source`.
    #[must_use]
    pub fn warning(title: impl Into<String>, source: &TextSource, span: Range<usize>) -> Self {
        Self { gravity: DiagnosticLevel::Warning, ..Self::error(title, source, span) }
    }

    /// With a word under the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With the name of this kind of message.
    #[must_use]
    pub const fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.line(self.span.start)
    }

    /// The message with the line it is about, in colour or not. Control characters of the text, of
    /// its name and of the message do not reach the screen, and a very long line is cut.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let (text, line, span) = self.source.window(&self.span);
        let (title, name) = (clean(&self.title, false), clean(self.source.name(), false));
        let help = self.help.as_deref().map(|h| clean(h, true));
        let mut annotation = AnnotationKind::Primary.span(span);
        if let Some(label) = &self.label {
            annotation = annotation.label(clean(label, true));
        }
        let level = match self.gravity {
            DiagnosticLevel::Error => Level::ERROR,
            DiagnosticLevel::Warning => Level::WARNING,
        };
        let mut heading = level.primary_title(title.as_str());
        if let Some(code) = self.code {
            heading = heading.id(code);
        }
        let mut report: Vec<Group<'_>> = vec![
            heading.element(
                Snippet::source(text.as_str())
                    .line_start(line)
                    .path(name.as_str())
                    .annotation(annotation),
            ),
        ];
        if let Some(help) = &help {
            report.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&report).to_string()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// One or more messages; at least one of them is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiagnosticList(pub Vec<Diagnostic>);

impl fmt::Display for DiagnosticList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            d.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for DiagnosticList {}

impl From<Diagnostic> for DiagnosticList {
    fn from(d: Diagnostic) -> Self {
        Self(vec![d])
    }
}
