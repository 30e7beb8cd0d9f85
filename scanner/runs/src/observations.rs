//! `observations.ndjson`: one record a line, whole lines only.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom, Write};
use std::path::Path;

use mimawari_probes::format::{FormatFault, check_major};
use mimawari_probes::observation::{KINDS, Observation, ObservationRecord, VERSION};
use serde::{Deserialize, Serialize};

/// Bytes of a line, at most; a certificate with its names has some thousands.
const LONGEST: u64 = 16 << 20;

/// Appends records.
#[derive(Debug)]
pub(super) struct ObservationWriter {
    file: File,
    /// Where the last whole line ends.
    end: u64,
}

/// A [`Record`] of somebody else's observation.
#[derive(Serialize)]
struct RecordLine<'a> {
    v: u32,
    #[serde(flatten)]
    observation: &'a Observation,
}

impl ObservationWriter {
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
            serde_json::to_writer(&mut lines, &RecordLine { v: VERSION, observation: o })?;
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

/// How a file ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReadEnd {
    /// Whether the last line had no end, and was left out.
    pub cut_off: bool,
    /// Records of kinds that this version does not know, which were left out.
    pub unknown: u64,
}

/// What every record has, of whatever version and kind.
#[derive(Deserialize)]
struct RecordHead {
    v: u64,
    kind: Option<String>,
}

/// Reads a file, record by record.
///
/// # Errors
/// An I/O error; `InvalidData` naming the first line in the middle that is not a record, or with a
/// [`FormatFault`] when it is a record of a newer version.
pub(super) fn read(path: &Path, mut take: impl FnMut(Observation)) -> io::Result<ReadEnd> {
    let mut end = ReadEnd::default();
    let invalid = |fault: FormatFault| io::Error::new(io::ErrorKind::InvalidData, fault);
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
            end.cut_off = true;
            break;
        }
        match serde_json::from_slice::<ObservationRecord>(&line) {
            Ok(record) => {
                check_major(u64::from(record.v), VERSION).map_err(invalid)?;
                take(record.observation);
            }
            Err(e) => {
                let head: Option<RecordHead> = serde_json::from_slice(&line).ok();
                if let Some(head) = &head {
                    check_major(head.v, VERSION).map_err(invalid)?;
                }
                let kind = head.and_then(|head| head.kind);
                if kind.is_none_or(|kind| KINDS.contains(&kind.as_str())) {
                    let why = format!("line {number}: {e}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                end.unknown += 1;
            }
        }
    }
    Ok(end)
}
