//! The pass over a list: every row is checked, and its place noted.

use std::io::Read;
use std::net::IpAddr;

use mimawari_targets::Scope;
use mimawari_targets::diagnostic::{Diagnostic, DiagnosticList, TextSource};

use super::numbering::SiteNumbering;
use super::records::{CsvRecords, RECORD_LIMIT, RecordError};
use super::row;

/// How many skipped rows are shown before the rest is only counted.
const SHOWN: usize = 20;

/// Rows of one address that follow each other in the list; remarks may lie between. 24 bytes, so
/// that a list in any order has an index of at most 24 bytes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostRun {
    /// The number of the address.
    pub id: u32,
    /// How many rows.
    pub rows: u32,
    /// Where the first begins, bytes from the start of the list.
    pub offset: u64,
    /// From there to the end of the last, bytes.
    pub length: u32,
    /// The line of the first row.
    pub line: u32,
}

/// The pass over a list.
pub(super) struct ListPass<'a> {
    pub name: &'a str,
    pub scope: &'a Scope,
    pub numbering: SiteNumbering,
    pub runs: Vec<HostRun>,
    pub rows: u64,
    errors: Vec<Diagnostic>,
    pub skipped: SkippedRows,
    /// The row before was skipped: a run does not go over it.
    broken: bool,
}

/// Rows that cannot be used. The others are.
#[derive(Debug, Clone, Default)]
pub struct SkippedRows {
    /// How many.
    pub rows: u64,
    /// What is wrong with the first of them.
    pub shown: Vec<Diagnostic>,
}

impl<'a> ListPass<'a> {
    pub fn new(name: &'a str, scope: &'a Scope) -> Self {
        Self {
            name,
            scope,
            numbering: SiteNumbering::new(scope.permitted().clone()),
            runs: Vec::new(),
            rows: 0,
            errors: Vec::new(),
            skipped: SkippedRows::default(),
            broken: false,
        }
    }

    pub fn read(&mut self, reader: impl Read) -> Result<(), DiagnosticList> {
        let mut records = CsvRecords::new(reader);
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
                return Err(
                    build_list_diagnostic(self.name, title, "save the file as UTF-8").into()
                );
            }
            match row::parse(&record, self.scope) {
                Ok(None) => continue,
                Ok(Some(vhost)) => {
                    if self.add(vhost.ip, record.offset, record.end, record.line).is_none() {
                        let title = "the list of virtual hosts has too many lines".to_owned();
                        return Err(build_list_diagnostic(
                            self.name,
                            title,
                            "give each shard its own list",
                        )
                        .into());
                    }
                }
                Err(_) if first && row::is_header(record.bytes) => {}
                Err(mistake) => {
                    self.broken = true;
                    self.skipped.rows += 1;
                    if self.skipped.shown.len() < SHOWN {
                        let shown = mistake.diagnostic(self.name, record.line, record.bytes);
                        self.skipped.shown.push(shown);
                    }
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
        let broken = std::mem::take(&mut self.broken);
        if let Some(run) = self.runs.last_mut()
            && !broken
            && run.id == id
            && let Ok(length) = u32::try_from(end - run.offset)
        {
            // A row has four bytes and more, so rows are fewer than bytes.
            (run.rows, run.length) = (run.rows + 1, length);
            return Some(());
        }
        let length = u32::try_from(end - offset).ok()?;
        let line = u32::try_from(line).ok()?;
        self.runs.push(HostRun { id, rows: 1, offset, length, line });
        Some(())
    }

    fn unreadable(&self, e: RecordError) -> Diagnostic {
        match e {
            RecordError::Io(e) => build_list_diagnostic(
                self.name,
                format!("cannot read the list of virtual hosts: {e}"),
                "check the path and its mode",
            ),
            RecordError::TooLong { line, start } => {
                let line = usize::try_from(line).unwrap_or(usize::MAX);
                let text = format!("{}…", String::from_utf8_lossy(&start));
                let source = TextSource::at_line(self.name, text, line);
                let title = format!("line {line} is over {} KiB", RECORD_LIMIT >> 10);
                Diagnostic::error(title, &source, 0..0)
                    .help("write one virtual host on each line, and close every quote")
            }
        }
    }

    fn verdict(&mut self) -> Result<(), DiagnosticList> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(DiagnosticList(std::mem::take(&mut self.errors)))
    }
}

/// A message about the list as a whole.
pub(super) fn build_list_diagnostic(name: &str, title: String, help: &str) -> Diagnostic {
    Diagnostic::error(title, &TextSource::new(name, ""), 0..0).help(help)
}

#[cfg(test)]
mod tests {
    use mimawari_targets::AddrSet;

    use super::*;

    #[test]
    fn a_run_has_24_bytes() {
        assert_eq!(size_of::<HostRun>(), 24);
    }

    #[test]
    fn runs_join_rows_that_follow_each_other() {
        let scope = Scope::new(
            AddrSet::from_ranges(["198.51.100.0/24".parse().unwrap()]),
            AddrSet::default(),
            "test",
        );
        let mut pass = ListPass::new("v.csv", &scope);
        let text = "ip,host\n198.51.100.2,a.example\n# remark\n198.51.100.2,b.example\n\
            198.51.100.1,c.example\n198.51.100.2,d.example\n";
        pass.read(text.as_bytes()).unwrap();
        let run = |id, rows, offset, length, line| HostRun { id, rows, offset, length, line };
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
