//! The pass over the list, and the index that it leaves.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use mimawari_targets::diagnostic::{Diagnostic, Diagnostics, Source};
use mimawari_targets::{AddrSet, Scope};

use super::hosts::Hosts;
use super::records::{RECORD_LIMIT, RecordError, Records};
use super::row::{self, Mistake};
use crate::failure::Failure;

/// How many messages are given before the rest is only counted.
const SHOWN: usize = 20;

/// Numbers below are places in the scope; the others are given to addresses as they come.
const FIRST_GIVEN: u32 = 1 << 31;

/// Rows of one address that follow each other in the list; remarks may lie between. 24 bytes, so
/// that a list in any order has an index of at most 24 bytes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The number of the address.
    id: u32,
    /// How many rows.
    pub rows: u32,
    /// Where the first begins, bytes from the start of the list.
    pub offset: u64,
    /// From there to the end of the last, bytes.
    pub length: u32,
    /// The line of the first row.
    pub line: u32,
}

/// Numbers for addresses: their places in the scope as far as 31 bits go, which takes no memory;
/// beyond, as in an IPv6 network, a table.
#[derive(Debug)]
struct Numbering {
    permitted: AddrSet,
    numbers: HashMap<IpAddr, u32>,
    given: Vec<IpAddr>,
}

impl Numbering {
    fn find(&self, ip: IpAddr) -> Option<u32> {
        let place = self.permitted.index_of(ip)?;
        match u32::try_from(place) {
            Ok(place) if place < FIRST_GIVEN => Some(place),
            _ => self.numbers.get(&ip).copied(),
        }
    }

    /// The number of an address in the scope, a new one if need be; `None` when none are left.
    fn of(&mut self, ip: IpAddr) -> Option<u32> {
        if let Some(id) = self.find(ip) {
            return Some(id);
        }
        let id = FIRST_GIVEN.checked_add(u32::try_from(self.given.len()).ok()?)?;
        self.given.push(ip);
        self.numbers.insert(ip, id);
        Some(id)
    }

    fn address(&self, id: u32) -> Option<IpAddr> {
        match id.checked_sub(FIRST_GIVEN) {
            None => self.permitted.nth(u128::from(id)),
            Some(place) => self.given.get(place as usize).copied(),
        }
    }
}

/// What tells that a file is another than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        Ok(Self { length: facts.len(), modified: facts.modified().ok() })
    }
}

/// A list of virtual hosts, checked and indexed. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct VhostIndex {
    list: Arc<List>,
}

/// What the readers of a list share.
#[derive(Debug)]
pub(super) struct List {
    name: String,
    pub file: File,
    stamp: Stamp,
    pub scope: Scope,
    numbering: Numbering,
    /// In the order of the addresses' numbers, those of one address in the order of the list.
    pub runs: Vec<Run>,
    rows: u64,
}

impl List {
    /// The error of a list that is another than the one that was checked.
    pub fn changed(&self, line: u64) -> io::Error {
        io::Error::other(format!(
            "{}:{line}: the list of virtual hosts changed during the run",
            self.name
        ))
    }

    /// Whether the list is, as far as the file system tells, the one that was checked.
    pub fn is_unchanged(&self) -> bool {
        Stamp::of(&self.file).is_ok_and(|now| now == self.stamp)
    }
}

impl VhostIndex {
    /// Reads the list through once, checks every row, and notes where the rows of each address lie.
    /// `-` is stdin. What cannot be read twice (stdin, a pipe) is copied into a file in `spool_dir`
    /// that has no name and goes with the index. The list may have any size, its lines 64 KiB.
    ///
    /// # Errors
    /// A [`Failure`] when the list cannot be opened. [`Diagnostics`] when it cannot be read or
    /// copied, when a row cannot be used, an address outside the scope among the reasons, or when
    /// the list changed meanwhile.
    pub fn open(path: &Path, scope: &Scope, spool_dir: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::spool("<stdin>", io::stdin().lock(), scope, spool_dir)?);
        }
        let name = path.display().to_string();
        let unreadable = |e: io::Error| {
            Failure::new(format!("cannot read the list of virtual hosts {name}"))
                .help("write lines of `ip,host[,port[,scheme]]`, or remove `vhosts` under [http]")
                .source(e)
        };
        let file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Ok(Self::spool(&name, file, scope, spool_dir)?);
        }
        let before = Stamp::of(&file).map_err(unreadable)?;
        let mut pass = Pass::new(&name, scope);
        pass.read(&file)?;
        if Stamp::of(&file).map_err(unreadable)? != before {
            return Err(Diagnostics::from(told(
                &name,
                "the list of virtual hosts changed while it was read".to_owned(),
                "write a new list under another name, and rename it when it is complete",
            ))
            .into());
        }
        Ok(pass.index(file, before))
    }

    /// Reads a list that can be read only once, and keeps a copy in `spool_dir` that has no name.
    /// `name` is what the user knows it by.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn spool(
        name: &str,
        reader: impl Read,
        scope: &Scope,
        spool_dir: &Path,
    ) -> Result<Self, Diagnostics> {
        let no_copy = |e: io::Error| {
            let folder = spool_dir.display();
            Diagnostics::from(told(
                name,
                format!("cannot keep a copy of the list of virtual hosts in {folder}: {e}"),
                "make room there, or give the list as a file",
            ))
        };
        let mut copy = tempfile::tempfile_in(spool_dir).map_err(no_copy)?;
        let mut pass = Pass::new(name, scope);
        let mut tee = Tee { reader, copy: &mut copy, broken: None };
        let read = pass.read(&mut tee);
        if let Some(e) = tee.broken {
            return Err(no_copy(e));
        }
        read?;
        let stamp = Stamp::of(&copy).map_err(no_copy)?;
        Ok(pass.index(copy, stamp))
    }

    /// How many rows the list has, repeated ones included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.list.rows
    }

    /// The addresses that have rows, each once; the order depends on the list and the scope alone.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let mut rest = self.list.runs.as_slice();
        std::iter::from_fn(move || {
            let id = rest.first()?.id;
            rest = &rest[rest.partition_point(|run| run.id == id)..];
            self.list.numbering.address(id)
        })
    }

    /// How many rows the address has, repeated ones included. Reads nothing.
    #[must_use]
    pub fn count(&self, ip: IpAddr) -> u64 {
        self.list.runs[self.runs_of(ip)].iter().map(|run| u64::from(run.rows)).sum()
    }

    /// The virtual hosts of the address in the order of the list, read from the file as they are
    /// asked for. Any number of readers may be at work at once.
    #[must_use]
    pub fn hosts(&self, ip: IpAddr) -> Hosts {
        Hosts::new(Arc::clone(&self.list), ip, self.runs_of(ip))
    }

    fn runs_of(&self, ip: IpAddr) -> std::ops::Range<usize> {
        let runs = &self.list.runs;
        let Some(id) = self.list.numbering.find(ip) else { return 0..0 };
        let start = runs.partition_point(|run| run.id < id);
        start..start + runs[start..].partition_point(|run| run.id == id)
    }
}

/// A message about the list as a whole.
fn told(name: &str, title: String, help: &str) -> Diagnostic {
    Diagnostic::error(title, &Source::new(name, ""), 0..0).help(help)
}

/// Reads and keeps what was read.
struct Tee<'a, R> {
    reader: R,
    copy: &'a mut File,
    broken: Option<io::Error>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(out)?;
        if let Err(e) = self.copy.write_all(&out[..n]) {
            self.broken = Some(e);
            return Err(io::Error::other("the copy cannot be written"));
        }
        Ok(n)
    }
}

/// The pass over a list.
struct Pass<'a> {
    name: &'a str,
    scope: &'a Scope,
    numbering: Numbering,
    runs: Vec<Run>,
    rows: u64,
    errors: Vec<Diagnostic>,
    /// Rows refused beyond the messages.
    refused: u64,
}

impl<'a> Pass<'a> {
    fn new(name: &'a str, scope: &'a Scope) -> Self {
        let permitted = scope.permitted().clone();
        Self {
            name,
            scope,
            numbering: Numbering { permitted, numbers: HashMap::new(), given: Vec::new() },
            runs: Vec::new(),
            rows: 0,
            errors: Vec::new(),
            refused: 0,
        }
    }

    fn read(&mut self, reader: impl Read) -> Result<(), Diagnostics> {
        let mut records = Records::new(reader);
        let mut first = true;
        loop {
            let record = match records.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(e) => {
                    self.errors.push(self.unreadable(e));
                    break;
                }
            };
            if first && matches!(record.bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
                let title = "this text is UTF-16".to_owned();
                return Err(told(self.name, title, "save the file as UTF-8").into());
            }
            match row::parse(&record, self.scope) {
                Ok(None) => continue,
                Ok(Some(vhost)) => {
                    if self.add(vhost.ip, record.offset, record.end, record.line).is_none() {
                        let title = "the list of virtual hosts has too many lines".to_owned();
                        return Err(told(self.name, title, "give each shard its own list").into());
                    }
                }
                Err(_) if first && row::is_header(record.bytes) => {}
                Err(mistake) => {
                    let (line, bytes) = (record.line, record.bytes);
                    refuse(&mut self.errors, &mut self.refused, self.name, &mistake, line, bytes);
                }
            }
            first = false;
        }
        self.verdict()
    }

    /// Notes a row. `None` when a number does not fit.
    fn add(&mut self, ip: IpAddr, offset: u64, end: u64, line: u64) -> Option<()> {
        let id = self.numbering.of(ip)?;
        self.rows += 1;
        if let Some(run) = self.runs.last_mut()
            && run.id == id
            && let Ok(length) = u32::try_from(end - run.offset)
        {
            // A row has four bytes and more, so rows are fewer than bytes.
            (run.rows, run.length) = (run.rows + 1, length);
            return Some(());
        }
        let length = u32::try_from(end - offset).ok()?;
        let line = u32::try_from(line).ok()?;
        self.runs.push(Run { id, rows: 1, offset, length, line });
        Some(())
    }

    fn unreadable(&self, e: RecordError) -> Diagnostic {
        match e {
            RecordError::Io(e) => told(
                self.name,
                format!("cannot read the list of virtual hosts: {e}"),
                "check the path and its mode",
            ),
            RecordError::TooLong { line, start } => {
                let line = usize::try_from(line).unwrap_or(usize::MAX);
                let text = format!("{}…", String::from_utf8_lossy(&start));
                let source = Source::at_line(self.name, text, line);
                let title = format!("line {line} is over {} KiB", RECORD_LIMIT >> 10);
                Diagnostic::error(title, &source, 0..0)
                    .help("write one virtual host on each line, and close every quote")
            }
        }
    }

    fn verdict(&mut self) -> Result<(), Diagnostics> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let refused = self.refused;
        if refused > 0
            && let Some(last) = self.errors.get_mut(SHOWN - 1)
        {
            last.help = Some(format!(
                "{}; {refused} more lines of this file are refused as well",
                last.help.as_deref().unwrap_or("mend this line")
            ));
        }
        Err(Diagnostics(std::mem::take(&mut self.errors)))
    }

    fn index(mut self, file: File, stamp: Stamp) -> VhostIndex {
        // A list in the order of its addresses is in order already, which the sort sees at once.
        self.runs.sort_unstable_by_key(|run| (run.id, run.offset));
        self.runs.shrink_to_fit();
        let list = List {
            name: self.name.to_owned(),
            file,
            stamp,
            scope: self.scope.clone(),
            numbering: self.numbering,
            runs: self.runs,
            rows: self.rows,
        };
        VhostIndex { list: Arc::new(list) }
    }
}

/// Tells of a row, or counts it when enough was told.
fn refuse(
    errors: &mut Vec<Diagnostic>,
    refused: &mut u64,
    name: &str,
    mistake: &Mistake,
    line: u64,
    bytes: &[u8],
) {
    if errors.len() < SHOWN {
        errors.push(mistake.diagnostic(name, line, bytes));
    } else {
        *refused += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_24_bytes() {
        assert_eq!(size_of::<Run>(), 24);
    }

    #[test]
    fn addresses_beyond_31_bits_are_numbered_as_they_come() {
        let set =
            AddrSet::from_ranges(["198.51.100.0/24", "2001:db8::/64"].map(|r| r.parse().unwrap()));
        let mut numbering =
            Numbering { permitted: set, numbers: HashMap::new(), given: Vec::new() };
        let cases = [
            ("198.51.100.9", 9),
            ("2001:db8::ffff:0:1", FIRST_GIVEN),
            ("2001:db8::5", 261),
            ("2001:db8::ffff:0:2", FIRST_GIVEN + 1),
            ("2001:db8::ffff:0:1", FIRST_GIVEN),
        ];
        for (ip, id) in cases {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(numbering.of(ip), Some(id));
            assert_eq!((numbering.find(ip), numbering.address(id)), (Some(id), Some(ip)));
        }
        assert_eq!(numbering.find("2001:db8::ffff:0:3".parse().unwrap()), None);
        assert_eq!(numbering.of("203.0.113.1".parse().unwrap()), Some(FIRST_GIVEN + 2));
    }

    #[test]
    fn runs_join_rows_that_follow_each_other() {
        let scope = Scope::new(
            AddrSet::from_ranges(["198.51.100.0/24".parse().unwrap()]),
            AddrSet::default(),
            "test",
        );
        let mut pass = Pass::new("v.csv", &scope);
        let text = "ip,host\n198.51.100.2,a.example\n# remark\n198.51.100.2,b.example\n\
            198.51.100.1,c.example\n198.51.100.2,d.example\n";
        pass.read(text.as_bytes()).unwrap();
        let run = |id, rows, offset, length, line| Run { id, rows, offset, length, line };
        assert_eq!(pass.runs, [run(2, 2, 8, 55, 2), run(1, 1, 63, 23, 5), run(2, 1, 86, 23, 6)]);
        assert_eq!(pass.rows, 4);
        // Four gigabytes of one address are two runs.
        let ip = "198.51.100.9".parse().unwrap();
        pass.add(ip, 200, 220, 9).unwrap();
        pass.add(ip, 220, 200 + u64::from(u32::MAX), 10).unwrap();
        pass.add(ip, 200 + u64::from(u32::MAX), 230 + u64::from(u32::MAX), 11).unwrap();
        let lengths: Vec<u32> = pass.runs[3..].iter().map(|r| r.length).collect();
        assert_eq!(lengths, [u32::MAX, 30]);
    }
}
