//! What one request costs the client: mimawari's path prober beside others, on one server.
//!
//! Nothing leaves the machine: server and clients share the loopback of a namespace of their own.

// What these programs are for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use mimawari_benches::probers::{Paths, Prober, Shape, Task};
use mimawari_benches::web::{self, PAGE, Site};
use mimawari_benches::{bare, measured, stage, table};

/// Runs path probers on one server and prints CPU time for each request that the server counted.
#[derive(Debug, Parser)]
#[command(name = "prober")]
struct Arguments {
    /// Number of paths.
    #[arg(long, default_value_t = 20_000)]
    paths: usize,
    /// Which, in this order.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "mimawari,bare,wrk,ffuf,gobuster,feroxbuster"
    )]
    tools: Vec<Prober>,
    /// Which rounds.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "plain,tls,plain-mixed,tls-mixed"
    )]
    rounds: Vec<Round>,
    /// How often; the tools take turns, so that noise meets all of them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// How mimawari comes to its paths.
    #[arg(long, value_enum, default_value = "checks")]
    shape: Shape,
    /// Where server and client run.
    #[arg(long, value_enum, default_value = "free")]
    cores: Cores,
    /// The scanner of this workspace [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mimawari: Option<PathBuf>,
    /// feroxbuster.
    #[arg(long, value_name = "PATH", default_value = "feroxbuster")]
    feroxbuster: PathBuf,
    /// Seconds after which a tool is killed.
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// Write the tables to this file too.
    #[arg(long, value_name = "FILE")]
    md: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Round {
    /// Plain HTTP, every path answers 404.
    Plain,
    /// The same over TLS.
    Tls,
    /// Plain HTTP, every twentieth path answers with a page.
    PlainMixed,
    /// The same over TLS.
    TlsMixed,
}

/// Which cores server and client get. On a virtual machine, a wake-up across cores costs as much
/// as a request does, and it is charged to whoever sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cores {
    /// As the kernel likes.
    Free,
    /// The first for both: no wake-up goes across.
    Shared,
    /// The first for the server, the second for the client: every wake-up does.
    Apart,
}

impl Cores {
    const fn server(self) -> Option<usize> {
        match self {
            Self::Free => None,
            Self::Shared | Self::Apart => Some(0),
        }
    }

    const fn client(self) -> Option<usize> {
        match self {
            Self::Free => None,
            Self::Shared => Some(0),
            Self::Apart => Some(1),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Free => "Server and client run where the kernel likes.\n",
            Self::Shared => "Server and client share one core, so that no wake-up goes across.\n",
            Self::Apart => "The server has one core and the client the other.\n",
        }
    }
}

impl Round {
    const fn tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsMixed)
    }

    const fn mixed(self) -> bool {
        matches!(self, Self::PlainMixed | Self::TlsMixed)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Plain => "Plain, all 404",
            Self::Tls => "TLS, all 404",
            Self::PlainMixed => "Plain, 5 % pages of 4 KiB",
            Self::TlsMixed => "TLS, 5 % pages of 4 KiB",
        }
    }
}

fn main() -> ExitCode {
    // This program is also its own helpers, each a process with an account of its own.
    if let Some(code) = measured::main_if_asked().or_else(bare::main_if_asked) {
        return code;
    }
    let arguments = Arguments::parse();
    stage::in_namespaces(|| run(&arguments))
}

/// One run of one tool.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// CPU time of the client for a request, µs.
    each_us: f64,
    /// Requests that the server saw.
    requests: u64,
    /// Connections accepted for a thousand requests.
    connections: f64,
    /// Seconds.
    wall_s: f64,
    peak_mib: f64,
}

fn run(a: &Arguments) -> Result<()> {
    let absolute = |p: &Path| {
        // A bare name is looked for on the PATH; a path is, after we change folders, still the same.
        if p.components().count() > 1 { std::path::absolute(p) } else { Ok(p.to_owned()) }
    };
    let beside = std::env::current_exe()?.with_file_name("mimawari");
    let paths = Paths {
        mimawari: absolute(a.mimawari.as_deref().unwrap_or(&beside))?,
        feroxbuster: absolute(&a.feroxbuster)?,
    };
    let site = Site::start(a.cores.server())?;
    let mut text = format!("{} paths, one list for all.\n{}", a.paths, table::machine());
    let _ = match a.repeat {
        1 => writeln!(text, "; one run each."),
        n => writeln!(text, "; the medians of {n} runs, the tools taking turns."),
    };
    text += a.cores.words();
    for round in &a.rounds {
        let words = words(a.paths, round.mixed());
        let task = Task { tls: round.tls(), words: &words, mixed: round.mixed(), shape: a.shape };
        let rows = rows(a, &paths, &site, &task);
        let _ = write!(text, "\n{}:\n\n{}", round.title(), table::markdown(&HEAD, &rows));
    }
    println!("{text}");
    if let Some(path) = &a.md {
        std::fs::write(path, &text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Names that no catalogue holds; every twentieth answers with a page if that is wanted.
fn words(paths: usize, mixed: bool) -> Vec<String> {
    (0..paths)
        .map(|n| {
            // The first is wrk's, and must not be there.
            if mixed && n % 20 == 10 {
                format!("{PAGE}{n:05}.html")
            } else {
                format!("w{n:05}.bak")
            }
        })
        .collect()
}

const HEAD: [&str; 8] = [
    "tool",
    "settings",
    "µs a request",
    "of bare hyper",
    "requests",
    "connections in 1000",
    "wall s",
    "peak MiB",
];

/// The table's rows, one a tool.
fn rows(a: &Arguments, paths: &Paths, site: &Site, task: &Task<'_>) -> Vec<Vec<String>> {
    let mut runs: Vec<Result<Vec<Measured>>> = a.tools.iter().map(|_| Ok(Vec::new())).collect();
    for i in 1..=a.repeat {
        for (tool, runs) in a.tools.iter().zip(&mut runs) {
            let Ok(done) = runs else { continue };
            match one(*tool, a, paths, site, task) {
                Ok(m) => {
                    eprintln!("{}, run {i} of {}: {:.1} µs", tool.name(), a.repeat, m.each_us);
                    done.push(m);
                }
                Err(e) => {
                    eprintln!("{}, run {i} of {}: {e:#}", tool.name(), a.repeat);
                    *runs = Err(e);
                }
            }
        }
    }
    let runs: Vec<_> = runs.into_iter().map(|r| r.map(middle)).collect();
    let floor = a.tools.iter().zip(&runs).find(|(t, _)| **t == Prober::Bare);
    let floor = floor.and_then(|(_, r)| r.as_ref().ok().copied().flatten()).map(|m| m.each_us);
    let row = |tool: &Prober, run: &Result<Option<Measured>>| {
        let mut row = vec![tool.version(paths).unwrap_or_else(|_| tool.name().to_owned())];
        match run {
            Ok(Some(m)) => row.extend([
                tool.settings().to_owned(),
                format!("{:.1}", m.each_us),
                floor.map_or_else(|| "–".to_owned(), |f| format!("{:.2}", m.each_us / f)),
                m.requests.to_string(),
                format!("{:.1}", m.connections),
                format!("{:.2}", m.wall_s),
                format!("{:.0}", m.peak_mib),
            ]),
            Ok(None) => {}
            Err(e) => row.push(format!("{e:#}")),
        }
        row.resize(HEAD.len(), "–".to_owned());
        row
    };
    a.tools.iter().zip(&runs).map(|(t, r)| row(t, r)).collect()
}

/// The run in the middle by CPU time a request.
fn middle(mut runs: Vec<Measured>) -> Option<Measured> {
    runs.sort_by(|a, b| a.each_us.total_cmp(&b.each_us));
    runs.get(runs.len().checked_sub(1)? / 2).copied()
}

fn one(
    tool: Prober,
    a: &Arguments,
    paths: &Paths,
    site: &Site,
    task: &Task<'_>,
) -> Result<Measured> {
    tool.version(paths)?;
    let scratch = tempfile::tempdir().context("a folder for its output")?;
    let folder = scratch.path();
    let mut line = a.cores.client().map(web::pinned).unwrap_or_default();
    line.extend(tool.command(paths, site, task, folder)?);
    let before = site.counts()?;
    let cost = measured::run(&site.namespace, &line, folder, Duration::from_secs(a.limit))?;
    let after = site.counts()?;
    let (requests, accepted) = (after.requests - before.requests, after.accepted - before.accepted);
    if let Err(e) = tool.believe(task, folder, requests) {
        let text = std::fs::read_to_string(folder.join("stderr")).unwrap_or_default();
        bail!("{e:#}; status {:?}: {}", cost.status, measured::last_line(&text));
    }
    Ok(Measured {
        each_us: cost.cpu_s * 1e6 / requests as f64,
        requests,
        connections: accepted as f64 * 1000.0 / requests as f64,
        wall_s: cost.wall_s,
        peak_mib: cost.peak_kib as f64 / 1024.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_in_twenty_is_a_page() {
        let words = words(200, true);
        assert_eq!(words.iter().filter(|w| w.starts_with(PAGE)).count(), 10);
        assert!(!words[0].starts_with(PAGE), "wrk asks for it when all are 404");
        let distinct: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
    }
}
