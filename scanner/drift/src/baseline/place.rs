//! Lines and columns of byte offsets, without counting a file from its start for each.

use super::document::DocumentFile;

/// A line and a column, both counted from 1; a column is a Unicode character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextLocation {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// Where the lines of each file begin.
pub(crate) struct LineStarts(Vec<Vec<usize>>);

impl LineStarts {
    pub fn of(files: &[DocumentFile]) -> Self {
        let starts = |f: &DocumentFile| {
            let ends = f.source.text().bytes().enumerate().filter(|(_, b)| *b == b'\n');
            std::iter::once(0).chain(ends.map(|(i, _)| i + 1)).collect()
        };
        Self(files.iter().map(starts).collect())
    }

    /// The line of an offset, counted from 1.
    pub fn line(&self, file: usize, at: usize) -> usize {
        self.0.get(file).map_or(1, |starts| starts.partition_point(|s| *s <= at).max(1))
    }

    /// Where a line begins; behind the last line, the end of the text.
    pub fn start(&self, file: usize, line: usize, text: &str) -> usize {
        self.0.get(file).and_then(|s| s.get(line - 1)).copied().unwrap_or(text.len())
    }
}

/// Counts columns. In a line as long as a file it goes on from the place before, if it can.
#[derive(Default)]
pub(super) struct SpanFinder {
    last: Option<(usize, usize, usize, usize)>,
}

impl SpanFinder {
    pub fn find(
        &mut self,
        file: usize,
        text: &str,
        starts: &LineStarts,
        at: usize,
    ) -> TextLocation {
        let at = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let line = starts.line(file, at);
        let (from, column) = match self.last {
            Some((f, l, from, column)) if (f, l) == (file, line) && from <= at => (from, column),
            _ => (starts.start(file, line, text), 1),
        };
        let column = column + text[from..at].chars().count();
        self.last = Some((file, line, at, column));
        TextLocation { line, column }
    }
}
