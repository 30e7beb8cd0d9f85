//! Messages that point at the line: what is wrong, where, and how to mend it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A text and the name under which the user knows it (a path, `--targets`, `<stdin>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// A named text.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into() }
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

    /// The line of a byte offset, counted from 1.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        1 + self.text.as_bytes()[..end].iter().filter(|b| **b == b'\n').count()
    }
}

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Something to know; the run goes on.
    Warning,
    /// The input is refused.
    Error,
}

/// One message about one place of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub gravity: Gravity,
    /// What is wrong, in one line without a full stop.
    pub title: String,
    /// Where: the text.
    pub source: Source,
    /// Where: the bytes of it.
    pub span: Range<usize>,
    /// A word under the place, if the title is not enough.
    pub label: Option<String>,
    /// How to mend it, as an imperative without a full stop.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span` of `source`.
    #[must_use]
    pub fn error(title: impl Into<String>, source: &Source, span: Range<usize>) -> Self {
        Self {
            gravity: Gravity::Error,
            title: title.into(),
            source: source.clone(),
            span,
            label: None,
            help: None,
        }
    }

    /// A warning at `span` of `source`.
    #[must_use]
    pub fn warning(title: impl Into<String>, source: &Source, span: Range<usize>) -> Self {
        Self { gravity: Gravity::Warning, ..Self::error(title, source, span) }
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

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.line(self.span.start)
    }

    /// The message with the line it is about, in colour or not.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let text = self.source.text();
        let end = self.span.end.min(text.len());
        let start = self.span.start.min(end);
        let mut annotation = AnnotationKind::Primary.span(start..end);
        if let Some(label) = &self.label {
            annotation = annotation.label(label.as_str());
        }
        let level = match self.gravity {
            Gravity::Error => Level::ERROR,
            Gravity::Warning => Level::WARNING,
        };
        let mut report: Vec<Group<'_>> = vec![
            level.primary_title(self.title.as_str()).element(
                Snippet::source(text).path(self.source.name()).annotation(annotation),
            ),
        ];
        if let Some(help) = &self.help {
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
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
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

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(d: Diagnostic) -> Self {
        Self(vec![d])
    }
}
