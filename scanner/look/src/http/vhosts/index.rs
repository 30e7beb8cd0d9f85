//! The index of a list: where the rows of each address lie.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_base::source_path::SourcePath;
use mimawari_targets::Scope;
use mimawari_targets::diagnostic::DiagnosticList;

use super::hosts::HostList;
use super::numbering::SiteNumbering;
use super::pass::{HostRun, ListPass, SkippedRows, build_list_diagnostic};

/// What shows that a file is another than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl FileStamp {
    fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        Ok(Self { length: facts.len(), modified: facts.modified().ok() })
    }
}

/// A list of virtual hosts, checked and indexed. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct VhostIndex {
    list: Arc<SiteList>,
}

/// What the readers of a list share.
#[derive(Debug)]
pub(super) struct SiteList {
    name: String,
    pub file: File,
    stamp: FileStamp,
    pub scope: Scope,
    numbering: SiteNumbering,
    /// In the order of the addresses' numbers, those of one address in the order of the list.
    pub runs: Vec<HostRun>,
    rows: u64,
    skipped: SkippedRows,
}

impl SiteList {
    /// The error of a list that is another than the one that was checked.
    pub fn changed(&self, line: u64) -> io::Error {
        io::Error::other(format!(
            "{}:{line}: the list of virtual hosts changed during the run",
            self.name
        ))
    }

    /// Whether the list is, as far as the file system shows, the one that was checked.
    pub fn is_unchanged(&self) -> bool {
        FileStamp::of(&self.file).is_ok_and(|now| now == self.stamp)
    }
}

impl VhostIndex {
    /// Reads the list through once, checks every row, and notes where the rows of each address lie.
    /// `-` is stdin. What cannot be read twice (stdin, a pipe) is copied into a file in `spool_dir`
    /// that has no name and goes with the index. The list may have any size, its lines 64 KiB.
    ///
    /// # Errors
    /// A [`Failure`] when the list cannot be opened. [`DiagnosticList`] when it cannot be read or
    /// copied, or when it changed meanwhile. A row that cannot be used, an address outside the scope
    /// among the reasons, is [skipped](Self::skipped).
    pub fn open(path: &SourcePath, scope: &Scope, spool_dir: &Path) -> Result<Self> {
        if &**path == Path::new("-") {
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
        let before = FileStamp::of(&file).map_err(unreadable)?;
        let mut pass = ListPass::new(&name, scope);
        pass.read(&file)?;
        if FileStamp::of(&file).map_err(unreadable)? != before {
            return Err(DiagnosticList::from(build_list_diagnostic(
                &name,
                "the list of virtual hosts changed while it was read".to_owned(),
                "write a new list under another name, and rename it when it is complete",
            ))
            .into());
        }
        Ok(Self::of(pass, file, before))
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
    ) -> Result<Self, DiagnosticList> {
        let no_copy = |e: io::Error| {
            let folder = spool_dir.display();
            DiagnosticList::from(build_list_diagnostic(
                name,
                format!("cannot keep a copy of the list of virtual hosts in {folder}: {e}"),
                "make room there, or give the list as a file",
            ))
        };
        let mut copy = tempfile::tempfile_in(spool_dir).map_err(no_copy)?;
        let mut pass = ListPass::new(name, scope);
        let mut tee = CountingReader { reader, copy: &mut copy, broken: None };
        let read = pass.read(&mut tee);
        if let Some(e) = tee.broken {
            return Err(no_copy(e));
        }
        read?;
        let stamp = FileStamp::of(&copy).map_err(no_copy)?;
        Ok(Self::of(pass, copy, stamp))
    }

    /// How many rows the list has, repeated ones included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.list.rows
    }

    /// The rows that cannot be used: nothing is asked for them.
    #[must_use]
    pub fn skipped(&self) -> &SkippedRows {
        &self.list.skipped
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
    pub fn hosts(&self, ip: IpAddr) -> HostList {
        HostList::new(Arc::clone(&self.list), ip, self.runs_of(ip))
    }

    /// What a pass over `file` found.
    fn of(pass: ListPass<'_>, file: File, stamp: FileStamp) -> Self {
        let mut runs = pass.runs;
        // A list in the order of its addresses is in order already, which the sort sees at once.
        runs.sort_unstable_by_key(|run| (run.id, run.offset));
        runs.shrink_to_fit();
        let list = SiteList {
            name: pass.name.to_owned(),
            file,
            stamp,
            scope: pass.scope.clone(),
            numbering: pass.numbering,
            runs,
            rows: pass.rows,
            skipped: pass.skipped,
        };
        Self { list: Arc::new(list) }
    }

    fn runs_of(&self, ip: IpAddr) -> std::ops::Range<usize> {
        let runs = &self.list.runs;
        let Some(id) = self.list.numbering.find(ip) else { return 0..0 };
        let start = runs.partition_point(|run| run.id < id);
        start..start + runs[start..].partition_point(|run| run.id == id)
    }
}

/// Reads and keeps what was read.
struct CountingReader<'a, R> {
    reader: R,
    copy: &'a mut File,
    broken: Option<io::Error>,
}

impl<R: Read> Read for CountingReader<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(out)?;
        if let Err(e) = self.copy.write_all(&out[..n]) {
            self.broken = Some(e);
            return Err(io::Error::other("the copy cannot be written"));
        }
        Ok(n)
    }
}
