//! `observations.ndjson`: one record a line, whole lines only.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom, Write};
use std::path::Path;

use mimawari_probes::observation::{Observation, Record, VERSION};
use serde::Serialize;

/// Bytes of a line, at most; a certificate with its names has some thousands.
const LONGEST: u64 = 16 << 20;

/// Appends records.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    /// Where the last whole line ends.
    end: u64,
}

/// A [`Record`] of somebody else's observation.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    observation: &'a Observation,
}

impl Writer {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create_new(path)?, end: 0 })
    }

    /// Goes on behind the last whole line of a file.
    pub(super) fn append(mut file: File) -> io::Result<Self> {
        let mut end = file.metadata()?.len();
        let mut block = vec![0; 1 << 16];
        // From the end back to the last line end.
        while end > 0 {
            let from = end.saturating_sub(block.len() as u64);
            let part = &mut block[..usize::try_from(end - from).unwrap_or(0)];
            file.seek(SeekFrom::Start(from))?;
            file.read_exact(part)?;
            match part.iter().rposition(|b| *b == b'\n') {
                Some(n) => {
                    end = from + n as u64 + 1;
                    break;
                }
                None => end = from,
            }
        }
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { file, end })
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Writes the records as whole lines, in one call of the system: not buffered here, so that
    /// SIGKILL loses none of them.
    pub(super) fn write(&mut self, observations: &[Observation]) -> io::Result<()> {
        let mut lines = Vec::new();
        for o in observations {
            serde_json::to_writer(&mut lines, &Line { v: VERSION, observation: o })?;
            lines.push(b'\n');
        }
        if let Err(e) = self.file.write_all(&lines) {
            // A full disk leaves half a line behind; take it back.
            let _ = self.file.set_len(self.end);
            let _ = self.file.seek(SeekFrom::Start(self.end));
            return Err(e);
        }
        self.end += lines.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads a file, record by record; a last line without its end is left out, and then this is true.
///
/// # Errors
/// An I/O error, or `InvalidData` naming the first line in the middle that is not a record.
pub(super) fn read(path: &Path, mut take: impl FnMut(Observation)) -> io::Result<bool> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        if reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() as u64 == LONGEST && line.last() != Some(&b'\n') {
            let why = format!("line {number}: longer than {LONGEST} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if line.last() != Some(&b'\n') {
            return Ok(true);
        }
        let record: Record = serde_json::from_slice(&line).map_err(|e| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {e}"))
        })?;
        if record.v != VERSION {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("line {number}: version {} is not known", record.v),
            ));
        }
        take(record.observation);
    }
    Ok(false)
}
