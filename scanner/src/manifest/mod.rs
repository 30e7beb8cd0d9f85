//! `mimawari manifest`: what lies in a document root, for `patrol --manifest`.
//!
//! Runs on the web host. Opens no socket and needs no privilege but to read the files; of each file
//! the first 64 KiB are read. The format and the rules are in [`mimawari_probes::http::manifest`].

mod output;
mod walk;

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use mimawari_probes::http::manifest::{
    ENTRY_LIMIT, FileClass, ManifestEntry, ManifestHeader, ManifestLine, NAMED_LIMIT, is_url_path,
    parse_host_name,
};

use crate::cli::ManifestArgs;
use crate::context::Context;
use crate::logging::CountView;
use mimawari_base::failure::{ExitStatus, Failure};
use output::OutputTarget;
pub use walk::{FileVisitor, SkippedEntry, WalkSummary, walk};

/// How many places that were left out are named one by one.
const NAMED: u64 = 20;

/// `mimawari manifest`
///
/// # Errors
/// As `make`; when a handler of signals cannot be set.
pub async fn run_manifest_command(args: &ManifestArgs, context: &Context) -> Result<ExitStatus> {
    stop_on_signals(context)?;
    make(args, context)
}

/// Makes the manifest of a document root.
///
/// # Errors
/// A [`Failure`] when the arguments name nothing that can be read or written. What cannot be read
/// below the document root is logged and makes the manifest incomplete.
fn make(args: &ManifestArgs, context: &Context) -> Result<ExitStatus> {
    let header = build_header(args, context)?;
    let root = resolve_document_root(&args.docroot)?;
    let mut output = OutputTarget::open(&args.out, &root)?;
    let hosts = header.hosts.clone();
    let prefix = header.prefix.clone();
    let mut writer = ManifestWriter {
        output: &mut output,
        context,
        view: CountView::new("reading", context.log_format, context.quiet),
        began: Instant::now(),
        counts: WalkCounts::default(),
        unreadable: Vec::new(),
    };
    writer.write_line(&ManifestLine::Header(Cow::Owned(header)))?;
    let walked = walk(&root, &prefix, &hosts, &mut writer);
    let ManifestWriter { counts, unreadable, view, .. } = writer;
    drop(view);
    let walked = match walked {
        Ok(walked) => walked,
        Err(e) if is_broken_pipe(&e) => return Ok(ExitStatus::Clean),
        Err(e) => return Err(e),
    };
    if context.stop.is_stopped() {
        tracing::warn!("stopped: the manifest is not complete, and no file was written");
        return Ok(ExitStatus::Incomplete);
    }
    let end = ManifestLine::end(counts.files, &unreadable, counts.unreadable).to_text()?;
    match output.write(&end).and_then(|()| output.finish()) {
        Err(e) if is_broken_pipe(&e) => return Ok(ExitStatus::Clean),
        other => other?,
    }
    counts.log(&walked);
    let whole = counts.unreadable + counts.outside + counts.leading_out == 0;
    Ok(if whole { ExitStatus::Clean } else { ExitStatus::Incomplete })
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    // `| head` closes the pipe; that is no error.
    e.chain().any(|c| {
        c.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn build_header(args: &ManifestArgs, context: &Context) -> Result<ManifestHeader> {
    let mut hosts = Vec::new();
    for text in &args.host {
        let host = parse_host_name(text).map_err(|e| {
            Failure::new(format!("--host: {e}"))
                .help("write the name under which the site is asked for; an address goes to --ip")
        })?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let mut ips: Vec<IpAddr> = Vec::new();
    for text in &args.ip {
        let ip: IpAddr = text.parse().map_err(|_| {
            Failure::new(format!("--ip: `{}` is not an address", text.escape_default()))
                .help("write one IPv4 or IPv6 address, such as 198.51.100.7")
        })?;
        if !ips.contains(&ip.to_canonical()) {
            ips.push(ip.to_canonical());
        }
    }
    if !args.prefix.ends_with('/') || !is_url_path(&args.prefix) {
        let shown = args.prefix.escape_default();
        return Err(Failure::new(format!("--prefix: `{shown}` is no folder of a URL"))
            .help("begin and end it with `/` and percent-encode it, such as /shop/ or /%E5%BA%97/")
            .into());
    }
    let version = env!("CARGO_PKG_VERSION");
    Ok(ManifestHeader::new(hosts, ips, args.prefix.clone(), (context.now)(), version))
}

fn resolve_document_root(docroot: &Path) -> Result<PathBuf> {
    let failed = |e: io::Error| {
        Failure::new(format!("cannot read the document root {}", docroot.display()))
            .help(
                "name the folder that the web server publishes, and run as a user who may read it",
            )
            .source(e)
    };
    let root = docroot.canonicalize().map_err(failed)?;
    if !root.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()).into());
    }
    Ok(root)
}

#[derive(Debug, Default)]
struct WalkCounts {
    files: u64,
    execute: u64,
    deny: u64,
    public: u64,
    empty: u64,
    bytes: u64,
    unreadable: u64,
    outside: u64,
    leading_out: u64,
}

impl WalkCounts {
    fn log(&self, walked: &WalkSummary) {
        tracing::info!(
            files = self.files,
            execute = self.execute,
            deny = self.deny,
            public = self.public,
            empty = self.empty,
            bytes = self.bytes,
            folders = walked.folders,
            special = walked.special,
            dead_links = walked.dead_links,
            loops = walked.loops,
            "manifest made"
        );
        let more = |all: u64| all.saturating_sub(NAMED);
        if more(self.unreadable) > 0 {
            tracing::warn!("{} more places could not be read", more(self.unreadable));
        }
        if more(self.outside) > 0 {
            tracing::warn!("{} more links lead out of the document root", more(self.outside));
        }
        if self.leading_out > 0 {
            tracing::warn!(
                "{} links lead out of the document root; what they lead to now is in the manifest. \
                 It may change while the document root does not, so make the manifest again after \
                 each deployment",
                self.leading_out
            );
        }
        if self.outside > 0 {
            tracing::warn!(
                "incomplete: {} links lead out of the document root and were not followed: what \
                 they lead to belongs to another owner or to the system, and is not looked for",
                self.outside
            );
        }
        if self.unreadable > 0 {
            tracing::warn!(
                "incomplete: {} places could not be read, and their files are not looked for",
                self.unreadable
            );
        }
    }
}

/// Writes the lines as the files come.
struct ManifestWriter<'a, 'o> {
    output: &'a mut OutputTarget<'o>,
    context: &'a Context,
    view: CountView,
    began: Instant,
    counts: WalkCounts,
    unreadable: Vec<String>,
}

impl ManifestWriter<'_, '_> {
    fn write_line(&mut self, line: &ManifestLine<'_>) -> Result<()> {
        self.output.write(&line.to_text()?)
    }
}

impl FileVisitor for ManifestWriter<'_, '_> {
    fn goes_on(&mut self) -> bool {
        self.view.show(self.began.elapsed(), self.counts.files, "files");
        !self.context.stop.is_stopped()
    }

    fn add_file(&mut self, entry: &ManifestEntry) -> Result<()> {
        let c = &mut self.counts;
        c.files += 1;
        c.bytes = c.bytes.saturating_add(entry.length);
        c.empty += u64::from(entry.length == 0);
        match entry.class {
            FileClass::Execute => c.execute += 1,
            FileClass::Deny => c.deny += 1,
            FileClass::Public => c.public += 1,
        }
        if c.execute + c.deny > ENTRY_LIMIT as u64 {
            return Err(Failure::new(format!(
                "over {ENTRY_LIMIT} files of this document root are to be executed or denied"
            ))
            .help("make a manifest of each folder, with --prefix")
            .into());
        }
        self.write_line(&ManifestLine::file(entry))
    }

    fn note_link_out(&mut self, url: &str) {
        self.counts.leading_out += 1;
        if self.counts.leading_out <= NAMED {
            tracing::warn!("{url} is a link out of the document root; followed, for one owner");
        }
    }

    fn note_skipped(&mut self, url: &str, why: SkippedEntry) {
        match why {
            SkippedEntry::Unreadable(e) => {
                self.counts.unreadable += 1;
                if self.unreadable.len() < NAMED_LIMIT {
                    self.unreadable.push(url.to_owned());
                }
                if self.counts.unreadable <= NAMED {
                    tracing::warn!("cannot read {url}: {e}");
                }
            }
            SkippedEntry::Outside => {
                self.counts.outside += 1;
                if self.counts.outside <= NAMED {
                    tracing::warn!("{url} is a link out of the document root; not followed");
                }
            }
        }
    }
}

/// Stops at SIGTERM and SIGINT, so that no half of a file is left; a second one ends at once. To be
/// called inside a tokio runtime.
///
/// # Errors
/// When a handler cannot be set.
fn stop_on_signals(context: &Context) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    mimawari_base::signals::take_over();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let stop = context.stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if stop.is_stopped() {
                std::process::exit(3);
            }
            stop.stop();
        }
    });
    Ok(())
}
