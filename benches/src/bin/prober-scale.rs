//! Many virtual hosts, with tarpits among them and without: what memory and time they cost.
//!
//! Nothing leaves the machine: server and client share the loopback of a namespace of their own.

// What these programs are for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use mimawari_benches::crowd::{self, Crowd, PORT, SCOPE, Tarpits};
use mimawari_benches::probers::own_checks;
use mimawari_benches::{measured, stage, table};
use mimawari_tests::lab::Namespace;
use serde_json::Value;

/// Looks at a crowd of virtual hosts and prints peak memory and wall time.
#[derive(Debug, Parser)]
#[command(name = "prober-scale")]
struct Arguments {
    /// Number of virtual hosts, a multiple of 200.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(200..))]
    hosts: u32,
    /// Number of paths that are asked for beside the catalogue's first tier, as a user's own check.
    #[arg(long, default_value_t = 43)]
    own_paths: usize,
    /// Where the tarpits are, one run each.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "none,hosts,addresses")]
    tarpits: Vec<Tarpits>,
    /// Without the ceilings for a site and for an address, which otherwise set the pace.
    #[arg(long)]
    unpaced: bool,
    /// How often.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// The scanner of this workspace [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mimawari: Option<PathBuf>,
    /// Seconds after which a run is killed.
    #[arg(long, default_value_t = 1800)]
    limit: u64,
    /// Write the table to this file too.
    #[arg(long, value_name = "FILE")]
    md: Option<PathBuf>,
}

fn main() -> ExitCode {
    // This program is also its own helpers, each a process with an account of its own.
    if let Some(code) = measured::main_if_asked().or_else(crowd::main_if_asked) {
        return code;
    }
    let arguments = Arguments::parse();
    stage::in_namespaces(|| run(&arguments))
}

/// One run.
#[derive(Debug, Clone)]
struct Measured {
    cost: measured::Cost,
    targets: u64,
    planned: u64,
    covered: u64,
}

const HEAD: [&str; 8] = [
    "tarpits",
    "wall s",
    "of the run without",
    "peak MiB",
    "CPU s",
    "targets",
    "paths each",
    "not covered",
];

fn run(a: &Arguments) -> Result<()> {
    let beside = std::env::current_exe()?.with_file_name("mimawari");
    let mimawari = std::path::absolute(a.mimawari.as_deref().unwrap_or(&beside))?;
    let namespace = Namespace::new();
    let _crowd = Crowd::start(&namespace)?;
    let mut runs: Vec<Vec<Measured>> = vec![Vec::new(); a.tarpits.len()];
    for i in 1..=a.repeat {
        for (tarpits, done) in a.tarpits.iter().zip(&mut runs) {
            let m = one(a, &mimawari, &namespace, *tarpits)?;
            eprintln!(
                "{tarpits:?}, run {i} of {}: {:.1} s, {} MiB",
                a.repeat,
                m.cost.wall_s,
                m.cost.peak_kib / 1024
            );
            done.push(m);
        }
    }
    let middle: Vec<Measured> = runs.into_iter().filter_map(middle).collect();
    let without = a.tarpits.iter().position(|t| *t == Tarpits::None);
    let without = without.and_then(|i| middle.get(i)).map(|m| m.cost.wall_s);
    let rows: Vec<Vec<String>> =
        a.tarpits.iter().zip(&middle).map(|(t, m)| row(*t, m, without)).collect();
    let mut text = format!(
        "{} virtual hosts on {} addresses, answers after 2 ms, one in {} a tarpit of one byte a second, {}.\n{}",
        a.hosts,
        crowd::ADDRESSES,
        crowd::TARPITS,
        if a.unpaced { "no ceilings" } else { "the usual ceilings for a site and an address" },
        table::machine()
    );
    text += &match a.repeat {
        1 => "; one run each.\n\n".to_owned(),
        n => format!("; the medians of {n} runs, taking turns.\n\n"),
    };
    text += &table::markdown(&HEAD, &rows);
    println!("{text}");
    if let Some(path) = &a.md {
        std::fs::write(path, &text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn row(tarpits: Tarpits, m: &Measured, without: Option<f64>) -> Vec<String> {
    let kind = match tarpits {
        Tarpits::None => "none",
        Tarpits::Hosts => "5 % of the hosts",
        Tarpits::Addresses => "5 % of the addresses",
    };
    vec![
        kind.to_owned(),
        format!("{:.1}", m.cost.wall_s),
        without.map_or_else(|| "–".to_owned(), |w| format!("{:.2}", m.cost.wall_s / w)),
        format!("{:.0}", m.cost.peak_kib as f64 / 1024.0),
        format!("{:.1}", m.cost.cpu_s),
        m.targets.to_string(),
        (m.planned / m.targets.max(1)).to_string(),
        (m.planned - m.covered).to_string(),
    ]
}

/// The run in the middle by wall time.
fn middle(mut runs: Vec<Measured>) -> Option<Measured> {
    runs.sort_by(|a, b| a.cost.wall_s.total_cmp(&b.cost.wall_s));
    let i = runs.len().checked_sub(1)? / 2;
    Some(runs.swap_remove(i))
}

fn one(
    a: &Arguments,
    mimawari: &std::path::Path,
    namespace: &Namespace,
    tarpits: Tarpits,
) -> Result<Measured> {
    let scratch = tempfile::tempdir().context("a folder for its output")?;
    let folder = scratch.path();
    let mut text = format!(
        "version = 1\n[scope]\nallow = [{SCOPE}]\nauthorised_by = \"BENCH\"\n\
         [scan]\nports = \"{PORT}\"\nmethod = \"connect\"\n[http]\ntier = 1\nvhosts = \"vhosts.csv\"\n\
         rate_per_network = 0\n"
    );
    if a.unpaced {
        text += "rate_per_site = 0\nrate_per_address = 0\n";
    }
    if a.own_paths > 0 {
        text += "checks = [\"many.toml\"]\n";
        let words: Vec<String> = (0..a.own_paths).map(|n| format!("w{n}.bak")).collect();
        std::fs::write(folder.join("many.toml"), own_checks(&words))?;
    }
    std::fs::write(folder.join("patrol.toml"), text)?;
    std::fs::write(folder.join("vhosts.csv"), crowd::vhosts(a.hosts, tarpits))?;
    let mut line = vec![mimawari.as_os_str().to_owned()];
    line.extend(["scan", "-c", "patrol.toml", "--out", "run", "--quiet"].map(Into::into));
    let cost = measured::run(namespace, &line, folder, Duration::from_secs(a.limit))?;
    let read = || -> Result<Value> {
        Ok(serde_json::from_str(&std::fs::read_to_string(folder.join("run/run.json"))?)?)
    };
    let Ok(run) = read() else {
        let text = std::fs::read_to_string(folder.join("stderr")).unwrap_or_default();
        bail!("no run; status {:?}: {}", cost.status, measured::last_line(&text));
    };
    let number = |key: &str| run["http"][key].as_u64().unwrap_or(0);
    let (targets, planned, covered) =
        (number("targets"), number("checks_planned"), number("checks_covered"));
    if targets < u64::from(a.hosts) {
        bail!("it looked at {targets} targets of {}", a.hosts);
    }
    Ok(Measured { cost, targets, planned, covered })
}
