//! Records of a CSV file out of a stream, with their places, in bounded memory.

use std::io::{self, Read};

/// Longest record, bytes without its line end.
pub(super) const RECORD_LIMIT: usize = 64 * 1024;

/// The buffer of one that reads a whole file, bytes.
const BUFFER: usize = 64 * 1024;

/// A record: a line, or several where a quote holds a line break (RFC 4180, section 2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CsvRecord<'a> {
    /// Where it begins, bytes from the start of the file.
    pub offset: u64,
    /// Behind its line end.
    pub end: u64,
    /// The number of its first line, counted from 1.
    pub line: u64,
    /// Its bytes, without the line end.
    pub bytes: &'a [u8],
}

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum RecordError {
    /// The stream cannot be read.
    Io(io::Error),
    /// The record that begins on this line is over [`RECORD_LIMIT`].
    TooLong {
        /// Its first line.
        line: u64,
        /// How it begins.
        start: Vec<u8>,
    },
}

/// Splits a stream into records. Lines end with LF, CR or CR LF; a byte order mark at the start of
/// the file is passed over. Blank lines and remarks are records, too.
#[derive(Debug)]
pub(super) struct CsvRecords<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What is read and not yet given out: `buffer[start..filled]`.
    start: usize,
    filled: usize,
    /// The place of `buffer[start]` in the file.
    offset: u64,
    /// The line that begins at `start`.
    line: u64,
    ended: bool,
}

impl<R: Read> CsvRecords<R> {
    /// From the start of a file.
    pub fn new(reader: R) -> Self {
        Self::at(reader, 0, 1, BUFFER)
    }

    /// From the middle of a file. The buffer begins with `capacity` bytes and grows with the
    /// records.
    pub fn at(reader: R, offset: u64, line: u64, capacity: usize) -> Self {
        let buffer = vec![0; capacity.clamp(16, BUFFER)];
        Self { reader, buffer, start: 0, filled: 0, offset, line, ended: false }
    }

    /// Goes on in another place, with the same buffer.
    pub fn restart(&mut self, reader: R, offset: u64, line: u64) {
        (self.reader, self.offset, self.line) = (reader, offset, line);
        (self.start, self.filled, self.ended) = (0, 0, false);
    }

    /// The stream.
    pub fn into_reader(self) -> R {
        self.reader
    }

    /// The next record, or `None` at the end of the stream.
    pub fn next(&mut self) -> Result<Option<CsvRecord<'_>>, RecordError> {
        if self.offset == 0 {
            self.pass_mark()?;
        }
        let line = self.line;
        let (mut quotes, mut fed, mut searched) = (QuoteState::default(), 0, 0);
        let (length, with_end) = loop {
            let seen = &self.buffer[self.start..self.filled];
            let found = find_end(&seen[searched..], self.ended);
            // Without a line end: the rest of the file, if there is nothing more to come.
            let (length, with_end) = match found {
                Some((at, end)) => (searched + at, searched + at + end),
                None if self.ended && seen.is_empty() => return Ok(None),
                None if self.ended => (seen.len(), seen.len()),
                None => {
                    // A CR that is the last byte is looked at again.
                    searched = seen.len().saturating_sub(1).max(searched);
                    if seen.len() > RECORD_LIMIT + 1 {
                        return Err(self.too_long(line));
                    }
                    self.fill()?;
                    continue;
                }
            };
            if length > RECORD_LIMIT {
                return Err(self.too_long(line));
            }
            self.line += u64::from(found.is_some());
            let open = !seen.starts_with(b"#") && quotes.open_after(&seen[fed..with_end]);
            if !open || found.is_none() {
                break (length, with_end);
            }
            (fed, searched) = (with_end, with_end);
        };
        let (from, offset) = (self.start, self.offset);
        self.start += with_end;
        self.offset += with_end as u64;
        let bytes = &self.buffer[from..from + length];
        Ok(Some(CsvRecord { offset, end: self.offset, line, bytes }))
    }

    /// Spreadsheets write a byte order mark.
    fn pass_mark(&mut self) -> Result<(), RecordError> {
        while self.filled - self.start < 3 && !self.ended {
            self.fill()?;
        }
        if self.buffer[self.start..self.filled].starts_with("\u{feff}".as_bytes()) {
            (self.start, self.offset) = (self.start + 3, self.offset + 3);
        }
        Ok(())
    }

    /// Reads more behind what is there.
    fn fill(&mut self) -> Result<(), RecordError> {
        if self.filled == self.buffer.len() {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        match self.reader.read(&mut self.buffer[self.filled..]) {
            Ok(0) => self.ended = true,
            Ok(n) => self.filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(RecordError::Io(e)),
        }
        Ok(())
    }

    fn too_long(&self, line: u64) -> RecordError {
        let seen = &self.buffer[self.start..self.filled];
        RecordError::TooLong { line, start: seen[..seen.len().min(60)].to_vec() }
    }
}

/// Where a line ends, and how long its end is. A CR at the end of what is known may be half of one.
fn find_end(bytes: &[u8], all: bool) -> Option<(usize, usize)> {
    let at = bytes.iter().position(|b| matches!(b, b'\n' | b'\r'))?;
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Some((at, 2)),
        (b'\r', None) if !all => None,
        _ => Some((at, 1)),
    }
}

/// Follows the quotes of a record: one counts at the start of a field alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum QuoteState {
    #[default]
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote in a quoted field: the end, or half of a doubled one.
    Closing,
}

impl QuoteState {
    /// Whether a quote is open after these bytes.
    fn open_after(&mut self, bytes: &[u8]) -> bool {
        if *self == Self::FieldStart && !bytes.contains(&b'"') {
            return false;
        }
        for b in bytes {
            *self = match (*self, b) {
                (Self::FieldStart | Self::Closing, b'"') => Self::Quoted,
                (Self::Quoted, b'"') => Self::Closing,
                (Self::Quoted, _) => Self::Quoted,
                (_, b',') => Self::FieldStart,
                _ => Self::Plain,
            };
        }
        *self == Self::Quoted
    }
}

impl From<io::Error> for RecordError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives as many bytes at a time as it is asked for.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(out.len());
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn all(text: &[u8], at_a_time: usize) -> Vec<(u64, u64, u64, Vec<u8>)> {
        let mut records = CsvRecords::at(Drops(text, at_a_time), 0, 1, 16);
        let mut found = Vec::new();
        while let Some(r) = records.next().unwrap() {
            found.push((r.offset, r.end, r.line, r.bytes.to_vec()));
        }
        found
    }

    #[test]
    fn records_know_their_places_however_the_bytes_come() {
        let text = b"\xef\xbb\xbfa,b\r\n\r\n#\"x\nc,\"d\r\ne\",f\rg\"\nh,\"\"\"\",i\n\"j";
        let expected: Vec<(u64, u64, u64, Vec<u8>)> = vec![
            (3, 8, 1, b"a,b".to_vec()),
            (8, 10, 2, b"".to_vec()),
            (10, 14, 3, b"#\"x".to_vec()),
            (14, 25, 4, b"c,\"d\r\ne\",f".to_vec()),
            (25, 28, 6, b"g\"".to_vec()),
            (28, 37, 7, b"h,\"\"\"\",i".to_vec()),
            (37, 39, 8, b"\"j".to_vec()),
        ];
        for at_a_time in [1, 2, 3, 5, 100] {
            assert_eq!(all(text, at_a_time), expected, "{at_a_time}");
        }
        assert_eq!(all(b"", 1), []);
        assert_eq!(all(b"\xef\xbb\xbf", 1), []);
        assert_eq!(all(b"\xef\xbb", 1), [(0, 2, 1, b"\xef\xbb".to_vec())]);
    }

    #[test]
    fn a_record_may_have_the_limit_and_no_byte_more() {
        let fits = [b"x\n".as_slice(), &vec![b'a'; RECORD_LIMIT], b"\r\n"].concat();
        let over = [b"x\n".as_slice(), &vec![b'a'; RECORD_LIMIT + 1], b"\r\n"].concat();
        // Line breaks do not help a record whose quote is left open.
        let quoted = [b"x\n\"".as_slice(), &b"a\n".repeat(RECORD_LIMIT)].concat();
        assert_eq!(all(&fits, 4096)[1].3.len(), RECORD_LIMIT);
        for text in [&over, &quoted] {
            let mut records = CsvRecords::at(Drops(text, 4096), 0, 1, 16);
            assert!(records.next().unwrap().is_some());
            assert!(matches!(records.next(), Err(RecordError::TooLong { line: 2, .. })));
            assert!(records.buffer.len() <= 4 * RECORD_LIMIT, "{}", records.buffer.len());
        }
    }
}
