//! A reader that knows the line and lets nothing grow without end.

use std::io::{self, BufRead, Read};

/// Counts lines, and stops a single item (a tag of XML, a line, an object of JSON) that is longer
/// than any that a scanner writes: whoever reads it whole would hold all of it in memory.
#[derive(Debug)]
pub(super) struct LineReader<R> {
    inner: R,
    line: u64,
    item: u64,
    limit: u64,
}

impl<R: BufRead> LineReader<R> {
    pub(super) const fn new(inner: R, limit: u64) -> Self {
        Self { inner, line: 1, item: 0, limit }
    }

    /// The line that is being read, from 1.
    pub(super) const fn line(&self) -> u64 {
        self.line
    }

    /// A new item begins here.
    pub(super) const fn next_item(&mut self) {
        self.item = 0;
    }
}

impl<R: BufRead> Read for LineReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = {
            let mut from = self.fill_buf()?;
            from.read(buf)?
        };
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for LineReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.item > self.limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("one item is longer than {} bytes", self.limit),
            ));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if amount == 0 {
            return;
        }
        if let Ok(bytes) = self.inner.fill_buf() {
            let used = bytes.get(..amount).unwrap_or(bytes);
            self.line += count_newlines(used);
        }
        self.item += amount as u64;
        self.inner.consume(amount);
    }
}

fn count_newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_a_long_item_is_refused() {
        let mut r = LineReader::new(&b"a\nb\nccccccccccccccccccccccc\n"[..], 8);
        let mut line = Vec::new();
        for n in 1..=2 {
            assert_eq!(r.line(), n);
            r.next_item();
            line.clear();
            r.read_until(b'\n', &mut line).unwrap();
        }
        r.next_item();
        line.clear();
        let mut small = std::io::BufReader::with_capacity(4, r);
        assert!(small.read_until(b'\n', &mut line).is_err());
    }
}
