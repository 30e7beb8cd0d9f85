//! How evenly the scanner sends, as the other end of the link sees it.
//!
//! Nothing leaves the machine: the lab is made of network namespaces without a way out.

// What these programs are for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use mimawari_benches::{measured, stage, table};
use mimawari_tests::lab::{Lab, Truth};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Sweeps at several rates and prints the rate reached, the fullest millisecond and the CPU time.
#[derive(Debug, Parser)]
#[command(name = "pacing")]
struct Arguments {
    /// Packets per second.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000,100000")]
    rates: Vec<u32>,
    /// The scanner of this workspace [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mimawari: Option<PathBuf>,
}

/// What the slow start takes, and then some: not looked at.
const START: u64 = 1_500_000_000;
/// A pause longer than this ends the first pass.
const PAUSE: u64 = 200_000_000;
const MILLISECOND: u64 = 1_000_000;

fn main() -> ExitCode {
    if let Some(code) = measured::main_if_asked() {
        return code;
    }
    stage::in_namespaces(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let binary = match &arguments.mimawari {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("mimawari"),
    };
    let mut rows = Vec::new();
    for rate in &arguments.rates {
        rows.push(one(&binary, *rate).with_context(|| format!("at {rate} packets per second"))?);
    }
    let heads = [
        "rate",
        "reached",
        "error",
        "packets a ms",
        "fullest ms",
        "ms above twice",
        "CPU of a core",
    ];
    println!("{}; one run each.\n", table::machine());
    print!("{}", table::markdown(&heads, &rows));
    Ok(())
}

/// One sweep of about six seconds at this rate.
fn one(binary: &Path, rate: u32) -> Result<Vec<String>> {
    let lab = Lab::new();
    // Everything answers RST: an open port would add connections to what is counted.
    Truth::spread(1, &[1], 0, |_| true).install(&lab);
    let folder = tempfile::tempdir()?;
    // Many addresses, so that none gets more than its own ceiling.
    let ports = (rate / 1000).clamp(5, 40);
    let hosts = (rate * 7 / ports).next_power_of_two().clamp(64, 1 << 15);
    let text = format!(
        "version = 1\n[scope]\nallow = [\"198.19.0.0/16\"]\nauthorised_by = \"BENCH\"\n[scan]\n\
         targets = [\"198.19.0.0/{}\"]\nports = \"3000-{}\"\nmethod = \"syn\"\nrate = {rate}\n\
         rate_per_network = 0\n[http]\nenabled = false\n",
        32 - hosts.trailing_zeros(),
        2999 + ports
    );
    std::fs::write(folder.path().join("patrol.toml"), text)?;
    let capture = folder.path().join("syns.pcap");
    let watch = Watch::start(&lab, &capture)?;
    let line: Vec<_> = [binary.as_os_str()]
        .into_iter()
        .chain(["scan", "-c", "patrol.toml", "-q", "--out", "r"].map(std::ffi::OsStr::new))
        .map(ToOwned::to_owned)
        .collect();
    let cost = measured::run(&lab.scanner, &line, folder.path(), Duration::from_secs(120))?;
    ensure!(cost.status == Some(0), "the scan ended with {:?}", cost.status);
    watch.stop()?;
    let times = times(&std::fs::read(&capture)?)?;
    let steady = steady(&times)?;
    let seconds = (steady[steady.len() - 1] - steady[0]) as f64 / 1e9;
    let reached = (steady.len() - 1) as f64 / seconds;
    let mut per_ms: HashMap<u64, u32> = HashMap::new();
    for t in steady {
        *per_ms.entry((t - steady[0]) / MILLISECOND).or_default() += 1;
    }
    let share = f64::from(rate) / 1000.0;
    let above = per_ms.values().filter(|n| f64::from(**n) > (2.0 * share).max(1.0)).count();
    Ok(vec![
        rate.to_string(),
        format!("{reached:.1}"),
        format!("{:+.2} %", (reached / f64::from(rate) - 1.0) * 100.0),
        format!("{share}"),
        per_ms.values().max().copied().unwrap_or(0).to_string(),
        format!("{above} of {}", per_ms.len()),
        format!("{:.1} %", cost.cpu_s / cost.wall_s * 100.0),
    ])
}

/// The part of the first pass at full rate.
fn steady(times: &[u64]) -> Result<&[u64]> {
    let first = *times.first().context("nothing arrived")?;
    let from = times.partition_point(|t| t - first < START);
    let rest = &times[from..];
    let end = rest.windows(2).position(|w| w[1] - w[0] > PAUSE).map_or(rest.len(), |n| n + 1);
    ensure!(end > 1, "too few packets at full rate");
    Ok(&rest[..end])
}

/// When each packet of a capture file came, nanoseconds, sorted. Little-endian, nanosecond format.
fn times(pcap: &[u8]) -> Result<Vec<u64>> {
    ensure!(pcap.starts_with(&0xa1b2_3c4d_u32.to_le_bytes()), "not a capture in nanoseconds");
    let word = |at: usize| {
        let bytes = pcap.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let (mut at, mut times) = (24, Vec::new());
    while let (Some(s), Some(ns), Some(n)) = (word(at), word(at + 4), word(at + 8)) {
        times.push(u64::from(s) * 1_000_000_000 + u64::from(ns));
        at += 16 + n as usize;
    }
    times.sort_unstable();
    Ok(times)
}

/// tcpdump at the far end of the link.
struct Watch {
    tcpdump: Child,
    said: BufReader<std::process::ChildStderr>,
}

impl Watch {
    /// Returns when it listens.
    fn start(lab: &Lab, to: &Path) -> Result<Self> {
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", "v1", "-n", "-Z", "root", "-B", "65536", "-s", "60"])
            .args(["--time-stamp-precision=nano", "-w"])
            .arg(to)
            .arg("tcp[13] == 2")
            .stderr(Stdio::piped());
        let mut tcpdump = lab.centre.run(|| command.spawn()).context("tcpdump: install it")?;
        let mut said = BufReader::new(tcpdump.stderr.take().context("its stderr")?);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "tcpdump ended");
        }
        Ok(Self { tcpdump, said })
    }

    /// Ends it, and makes sure that it lost nothing.
    fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.tcpdump.id().cast_signed()), Signal::SIGINT)?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.said, &mut text)?;
        self.tcpdump.wait()?;
        ensure!(text.contains("\n0 packets dropped by kernel"), "tcpdump lost packets: {text}");
        Ok(())
    }
}
