//! The virtual hosts of one address, read from the list in small pieces.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::net::IpAddr;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use mimawari_probes::observation::UrlScheme;
use mimawari_targets::Port;

use super::index::SiteList;
use super::records::{CsvRecords, RecordError};
use super::{VirtualHost, row};

/// What a reader's buffer begins with, bytes. Thousands of readers may be at work at once.
const BUFFER: u32 = 8 * 1024;

/// The virtual hosts of one address, in the order of the list.
///
/// Rows are parsed and held against the scope again, since the file may have been changed after it
/// was checked. Then there is one error that says so, and nothing after it: never a host that the
/// list does not name for this address, or an address that the scope does not hold.
///
/// A row that repeats an earlier one is left out. Rows are remembered by keyed hashes of 64 bits,
/// 8 bytes each: a million different rows of one address have two with the same hash in one list
/// of some thirty million.
///
/// Reading blocks, for a few KiB of a local file at a time.
#[derive(Debug)]
pub struct HostList {
    list: Arc<SiteList>,
    ip: IpAddr,
    /// The runs that are not begun.
    runs: Range<usize>,
    /// The run that is being read, and how many of its rows are to come.
    reading: Option<(CsvRecords<HostPiece>, u32)>,
    seen: HashSet<u64>,
    hashes: RandomState,
    /// Whether an address has more than one row, so that rows can repeat.
    many: bool,
    /// Rows for another port or scheme are left out.
    only: Option<OnlyHosts>,
}

/// Which rows are wanted.
#[derive(Debug, Clone, Copy)]
struct OnlyHosts {
    port: Port,
    scheme: UrlScheme,
    /// Rows that name no scheme as well.
    takes_any: bool,
}

/// Bytes of the list, read without moving the file's position, which all readers share.
#[derive(Debug)]
struct HostPiece {
    list: Arc<SiteList>,
    at: u64,
    end: u64,
    line: u64,
}

impl Read for HostPiece {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = out.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        let n = self.list.file.read_at(&mut out[..length], self.at)?;
        // After reading: whatever was changed before the read is noticed.
        if n == 0 || !self.list.is_unchanged() {
            return Err(self.list.changed(self.line));
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl HostList {
    pub(super) fn new(list: Arc<SiteList>, ip: IpAddr, runs: Range<usize>) -> Self {
        let many = list.runs[runs.clone()].iter().map(|run| u64::from(run.rows)).sum::<u64>() > 1;
        Self {
            list,
            ip,
            runs,
            reading: None,
            seen: HashSet::new(),
            hashes: RandomState::new(),
            many,
            only: None,
        }
    }

    /// The names alone that are served on this port by this scheme, each once. `takes_any`: by rows
    /// that name no scheme as well.
    #[must_use]
    pub fn only(mut self, port: Port, scheme: UrlScheme, takes_any: bool) -> Self {
        self.only = Some(OnlyHosts { port, scheme, takes_any });
        self
    }

    /// Begins the next run, if there is one.
    fn begin(&mut self, buffer: Option<CsvRecords<HostPiece>>) -> bool {
        let Some(run) = self.runs.next().map(|i| self.list.runs[i]) else { return false };
        let (line, end) = (u64::from(run.line), run.offset + u64::from(run.length));
        let piece = HostPiece { list: Arc::clone(&self.list), at: run.offset, end, line };
        let records = match buffer {
            Some(mut records) => {
                records.restart(piece, run.offset, line);
                records
            }
            None => CsvRecords::at(piece, run.offset, line, run.length.min(BUFFER) as usize),
        };
        self.reading = Some((records, run.rows));
        true
    }

    /// The next row, repeated ones included.
    fn row(&mut self) -> io::Result<Option<VirtualHost>> {
        loop {
            match self.reading.take() {
                Some((mut records, left)) if left > 0 => {
                    let record = match records.next() {
                        Ok(Some(record)) => record,
                        Err(RecordError::Io(e)) => return Err(e),
                        Err(RecordError::TooLong { line, .. }) => {
                            return Err(self.list.changed(line));
                        }
                        Ok(None) => return Err(self.list.changed(records.into_reader().line)),
                    };
                    match row::parse(&record, &self.list.scope) {
                        Ok(None) => self.reading = Some((records, left)),
                        Ok(Some(vhost)) if vhost.ip == self.ip => {
                            self.reading = Some((records, left - 1));
                            return Ok(Some(vhost));
                        }
                        _ => return Err(self.list.changed(record.line)),
                    }
                }
                finished => {
                    if !self.begin(finished.map(|(records, _)| records)) {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

impl Iterator for HostList {
    type Item = io::Result<VirtualHost>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.row() {
                Ok(None) => return None,
                Ok(Some(vhost)) => {
                    let hash = match self.only {
                        None => self.hashes.hash_one((&vhost.host, vhost.port, vhost.scheme)),
                        Some(only) => {
                            let fits = vhost.port.is_none_or(|p| p == only.port)
                                && vhost.scheme.map_or(only.takes_any, |s| s == only.scheme);
                            if !fits {
                                continue;
                            }
                            self.hashes.hash_one(&vhost.host)
                        }
                    };
                    if !self.many || self.seen.insert(hash) {
                        return Some(Ok(vhost));
                    }
                }
                Err(e) => {
                    self.runs = 0..0;
                    self.reading = None;
                    return Some(Err(e));
                }
            }
        }
    }
}

impl std::iter::FusedIterator for HostList {}
