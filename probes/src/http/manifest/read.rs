//! Reading a manifest. It comes from another machine, so every byte of it is hostile.

use std::collections::HashSet;
use std::io::{BufRead, Read as _};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_targets::diagnostic::{Diagnostic, DiagnosticList, TextSource};
use serde::Deserialize;
use thiserror::Error;

use super::format::{ManifestHeader, VERSION};
use super::path::{is_url_path, unhex};
use super::{ENTRY_LIMIT, FileClass, ManifestEntry, NAMED_LIMIT, PATH_LIMIT};
use crate::format::{NEWER_HELP, check_major};
use crate::observation::Severity;

/// Longest header or end, bytes: tens of thousands of hosts, or a thousand unreadable paths.
const LONG_LINE: usize = 16 << 20;

/// Longest line of a file, bytes. The longest path has three times [`PATH_LIMIT`].
const LINE: usize = 64 << 10;

/// Longest reason, bytes.
const WHAT_LIMIT: usize = 64;

/// Most lines of an entry.
const LINES_LIMIT: usize = 32;

/// A manifest, without the files that may be read by everyone.
#[derive(Debug, Clone)]
pub struct Manifest {
    header: ManifestHeader,
    entries: Vec<ManifestEntry>,
    files: u64,
    unreadable: Vec<String>,
    unreadable_total: u64,
}

impl Manifest {
    /// Reads a manifest. `name` is what the user knows the file by. Only files to be executed or
    /// denied are kept, at most [`ENTRY_LIMIT`].
    ///
    /// # Errors
    /// A message that points at the first line that cannot be used: another version, a path that is
    /// none, a path named twice, and a manifest without its end.
    pub fn read(name: &str, reader: impl BufRead) -> Result<Self, DiagnosticList> {
        ManifestReader { name, reader, buffer: Vec::new(), number: 0 }
            .read()
            .map_err(|d| (*d).into())
    }

    /// The files to be executed or denied, in the manifest's order; no path twice.
    #[must_use]
    pub fn entries(&self) -> &[ManifestEntry] {
        &self.entries
    }

    /// The host names, in lower case.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.header.hosts
    }

    /// The addresses; empty when the hosts' own will do.
    #[must_use]
    pub fn ips(&self) -> &[IpAddr] {
        &self.header.ips
    }

    /// When the document root was read.
    #[must_use]
    pub fn made_at(&self) -> Timestamp {
        self.header.made_at
    }

    /// How many files the document root had, public ones included.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files
    }

    /// How many places of the document root could not be read: files that this manifest does not
    /// know.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable_total
    }

    /// URL paths of unreadable places, at most a thousand.
    #[must_use]
    pub fn unreadable_paths(&self) -> &[String] {
        &self.unreadable
    }

    /// Whether these are the files of this virtual host at this address: the only place to which
    /// the names of the files may be sent.
    ///
    /// `host` is the name that is asked for, without port, in A-label form; letters of either case
    /// are the same (RFC 4343). Nothing stands for the address itself, which a manifest without
    /// hosts is about.
    #[must_use]
    pub fn concerns(&self, host: Option<&str>, ip: IpAddr) -> bool {
        let ips = &self.header.ips;
        let here = ips.contains(&ip.to_canonical());
        match host {
            Some(host) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                (ips.is_empty() || here)
                    && self.header.hosts.iter().any(|h| h.eq_ignore_ascii_case(host))
            }
            None => here && self.header.hosts.is_empty(),
        }
    }
}

/// Why a text is no host name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// Not in the form that is sent.
    #[error("host `{0}` is not in ASCII; write the A-label form, such as xn--eckwd4c7c.example.jp")]
    NotAscii(String),
    /// An address is given as such.
    #[error("host `{0}` is an address; give it as one")]
    Address(String),
    /// Anything else.
    #[error("`{0}` is not a host name; write it without port and path, such as shop.example.jp")]
    Syntax(String),
}

/// A host name in the form in which it is compared: lower case, without a dot at its end. The
/// syntax is that of RFC 1123, section 2.1, and underscores, which real servers have.
///
/// # Errors
/// What is wrong with it.
pub fn parse_host_name(text: &str) -> Result<String, HostError> {
    let shown = || text.chars().take(80).collect::<String>();
    if !text.is_ascii() {
        return Err(HostError::NotAscii(shown()));
    }
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(HostError::Address(shown()));
    }
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let number = host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if host.len() > 253 || number || !host.split('.').all(label) {
        return Err(HostError::Syntax(shown()));
    }
    Ok(host)
}

/// A line behind the header, of either kind.
#[derive(Deserialize)]
struct ManifestRow {
    kind: Option<String>,
    path: Option<String>,
    length: Option<u64>,
    sha256: Option<String>,
    class: Option<FileClass>,
    severity: Option<Severity>,
    what: Option<String>,
    #[serde(default)]
    lines: Vec<String>,
    files: Option<u64>,
    #[serde(default)]
    unreadable: Vec<String>,
    unreadable_total: Option<u64>,
}

struct ManifestReader<'a, R> {
    name: &'a str,
    reader: R,
    buffer: Vec<u8>,
    /// Of the line in the buffer; the first is 1.
    number: usize,
}

type RefusedEntry<T> = Result<T, Box<Diagnostic>>;

impl<R: BufRead> ManifestReader<'_, R> {
    fn read(mut self) -> RefusedEntry<Manifest> {
        let header = self.header()?;
        let (mut entries, mut numbers) = (Vec::new(), Vec::new());
        let mut reasons: HashSet<Arc<str>> = HashSet::new();
        let mut files = 0;
        while self.next(LONG_LINE)? {
            let row: ManifestRow = self.parse()?;
            if row.kind.is_some() {
                let manifest = self.end(row, header, entries, files)?;
                self.refuse_twice(&manifest, &numbers)?;
                return Ok(manifest);
            }
            if self.buffer.len() > LINE {
                return Err(self.refuse(format!("this line is over {} KiB", LINE >> 10), REMAKE));
            }
            files += 1;
            let entry = self.entry(row, &header.prefix, &mut reasons)?;
            if entry.class == FileClass::Public {
                continue;
            }
            if entries.len() == ENTRY_LIMIT {
                return Err(self.refuse(
                    format!("this manifest has over {ENTRY_LIMIT} files to be executed or denied"),
                    "make a manifest for each folder, with --prefix",
                ));
            }
            entries.push(entry);
            numbers.push(self.number);
        }
        Err(self.refuse(
            "this manifest was cut short: its last line is missing",
            "copy the file again, or make it anew with `mimawari manifest`",
        ))
    }

    /// Reads the next line that is not blank.
    fn next(&mut self, limit: usize) -> RefusedEntry<bool> {
        loop {
            self.buffer.clear();
            let mut part = self.reader.by_ref().take(limit as u64 + 1);
            let read = part.read_until(b'\n', &mut self.buffer);
            if read.as_ref().is_ok_and(|n| *n == 0) {
                return Ok(false);
            }
            self.number += 1;
            if let Err(e) = read {
                return Err(self.refuse(format!("cannot read on: {e}"), "check the file's mode"));
            }
            if self.buffer.len() > limit {
                return Err(self.refuse(format!("this line is over {} KiB", limit >> 10), REMAKE));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn parse<T: for<'d> Deserialize<'d>>(&self) -> RefusedEntry<T> {
        let text = self.buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.buffer);
        serde_json::from_slice(text).map_err(|e| {
            if e.is_eof() {
                return self.refuse("this line was cut short", "copy the file again");
            }
            let what = e.to_string();
            // The place is shown as the line; serde_json counts lines of this line alone.
            let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(w, _)| w);
            let what: String = what.chars().take(200).collect();
            self.refuse(format!("this is no line of a manifest: {what}"), REMAKE)
        })
    }

    fn header(&mut self) -> RefusedEntry<ManifestHeader> {
        /// What there must be before anything else is understood.
        #[derive(Deserialize)]
        struct EntryKind {
            v: Option<u64>,
            kind: Option<String>,
        }
        if !self.next(LONG_LINE)? {
            return Err(
                self.refuse("this manifest is empty", "name a file that `mimawari manifest` wrote")
            );
        }
        let other =
            |_| self.refuse("this is no manifest", "name a file that `mimawari manifest` wrote");
        let kind: EntryKind = self.parse().map_err(other)?;
        if kind.kind.as_deref() != Some("manifest") {
            return Err(other(Box::new(self.diagnostic(""))));
        }
        let Some(version) = kind.v else {
            return Err(self.refuse("this manifest has no version", REMAKE));
        };
        if let Err(fault) = check_major(version, VERSION) {
            let help = if fault.is_newer() { NEWER_HELP } else { REMAKE };
            return Err(self.refuse(format!("this manifest {fault}"), help));
        }
        let mut header: ManifestHeader = self.parse()?;
        for host in &mut header.hosts {
            *host = parse_host_name(host).map_err(|e| self.refuse(e.to_string(), REMAKE))?;
        }
        for ip in &mut header.ips {
            *ip = ip.to_canonical();
        }
        if header.hosts.is_empty() && header.ips.is_empty() {
            return Err(self.refuse(
                "this manifest has neither hosts nor addresses, so its names may be sent nowhere",
                "make it with --host or --ip",
            ));
        }
        if !header.prefix.ends_with('/') || !is_url_path(&header.prefix) {
            return Err(
                self.refuse("the prefix is no folder of a URL", "write one such as / or /shop/")
            );
        }
        Ok(header)
    }

    fn entry(
        &self,
        row: ManifestRow,
        prefix: &str,
        reasons: &mut HashSet<Arc<str>>,
    ) -> RefusedEntry<ManifestEntry> {
        let missing = |key: &str| self.refuse(format!("this line has no `{key}`"), REMAKE);
        let path = row.path.ok_or_else(|| missing("path"))?;
        if !path.starts_with('/') {
            return Err(self.refuse("this path does not begin with `/`", REMAKE));
        }
        if path.len() > 3 * PATH_LIMIT + prefix.len() || !is_url_path(&path) || path.ends_with('/')
        {
            return Err(self.refuse("this path is no percent-encoded path of a file", REMAKE));
        }
        if !path.starts_with(prefix) {
            return Err(
                self.refuse(format!("this path does not lie below the prefix {prefix}"), REMAKE)
            );
        }
        let hash = row.sha256.ok_or_else(|| missing("sha256"))?;
        let hash = unhex(&hash)
            .ok_or_else(|| self.refuse("`sha256` is not 64 hexadecimal digits", REMAKE))?;
        let what = row.what.unwrap_or_default();
        if what.len() > WHAT_LIMIT {
            return Err(self.refuse(format!("`what` is over {WHAT_LIMIT} bytes"), REMAKE));
        }
        let what = match reasons.get(what.as_str()) {
            Some(known) => Arc::clone(known),
            None => {
                let what: Arc<str> = what.into();
                reasons.insert(Arc::clone(&what));
                what
            }
        };
        if row.lines.len() > LINES_LIMIT {
            return Err(self.refuse(format!("`lines` has over {LINES_LIMIT} digests"), REMAKE));
        }
        let mut lines = Vec::with_capacity(row.lines.len());
        for line in &row.lines {
            let line = unhex(line).ok_or_else(|| {
                self.refuse("a digest of `lines` is not 16 hexadecimal digits", REMAKE)
            })?;
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Ok(ManifestEntry {
            path: path.into(),
            length: row.length.ok_or_else(|| missing("length"))?,
            prefix_sha256: hash,
            class: row.class.ok_or_else(|| missing("class"))?,
            what,
            severity: row.severity.unwrap_or(Severity::High),
            lines: lines.into(),
        })
    }

    fn end(
        &mut self,
        row: ManifestRow,
        header: ManifestHeader,
        entries: Vec<ManifestEntry>,
        files: u64,
    ) -> RefusedEntry<Manifest> {
        if row.kind.as_deref() != Some("end") {
            return Err(self.refuse(
                "only the first line may begin a manifest, and only the last may end it",
                "give each manifest by a --manifest of its own",
            ));
        }
        if row.files != Some(files) {
            return Err(self.refuse(
                format!("{files} files are in this manifest, and its end says another number"),
                "copy the file again, or make it anew with `mimawari manifest`",
            ));
        }
        if row.unreadable.len() > NAMED_LIMIT || !row.unreadable.iter().all(|p| is_url_path(p)) {
            return Err(self.refuse("`unreadable` does not name paths, a thousand at most", REMAKE));
        }
        let named = row.unreadable.len() as u64;
        let manifest = Manifest {
            header,
            entries,
            files,
            unreadable_total: row.unreadable_total.unwrap_or(named).max(named),
            unreadable: row.unreadable,
        };
        if self.next(LONG_LINE)? {
            return Err(self.refuse(
                "something stands behind the end of this manifest",
                "give each manifest by a --manifest of its own",
            ));
        }
        Ok(manifest)
    }

    /// By sorting, which takes less memory than a set of the paths.
    fn refuse_twice(&self, manifest: &Manifest, numbers: &[usize]) -> RefusedEntry<()> {
        let path = |i: &u32| &*manifest.entries[*i as usize].path;
        let mut order: Vec<u32> = (0u32..).take(manifest.entries.len()).collect();
        order.sort_unstable_by(|a, b| path(a).cmp(path(b)).then(a.cmp(b)));
        let twice = order.windows(2).find(|w| path(&w[0]) == path(&w[1]));
        twice.map_or(Ok(()), |w| {
            let (first, second) = (numbers[w[0] as usize], numbers[w[1] as usize]);
            let text = path(&w[1]);
            let source = TextSource::at_line(self.name, text, second);
            let title = format!("this path is on line {first} already");
            Err(Box::new(Diagnostic::error(title, &source, 0..text.len()).help(REMAKE)))
        })
    }

    fn diagnostic(&self, title: impl Into<String>) -> Diagnostic {
        let text = String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(512)]);
        // A digest separates guesses of a short secret from the secret; none goes to a screen or a log.
        let digests = ["\"sha256\"", "\"lines\""].iter().filter_map(|k| text.find(k)).min();
        let text = text[..digests.unwrap_or(text.len())].trim_end_matches(['\n', '\r']);
        let source = TextSource::at_line(self.name, text, self.number.max(1));
        Diagnostic::error(title, &source, 0..text.len().min(80))
    }

    fn refuse(&self, title: impl Into<String>, help: &str) -> Box<Diagnostic> {
        Box::new(self.diagnostic(title).help(help))
    }
}

const REMAKE: &str = "make the manifest anew with `mimawari manifest`, or take the line out";
