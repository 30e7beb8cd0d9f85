//! How much of a policed path the scanner uses, and what it finds there.
//!
//! Nothing leaves the machine: the lab is made of network namespaces without a way out.

// What these programs are for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use mimawari_benches::stage::{self, Stage};
use mimawari_benches::tools::{Paths, Tool};
use mimawari_benches::{measured, table};
use mimawari_tests::lab::{Lab, Policer, Truth};

/// Sweeps through token buckets and prints the share of their rate that was used.
#[derive(Debug, Parser)]
#[command(name = "policer")]
struct Arguments {
    /// Packets per second that pass.
    #[arg(long, value_delimiter = ',', default_value = "5000,50000,200000")]
    capacities: Vec<u32>,
    /// Packets that pass at once.
    #[arg(long, value_delimiter = ',', default_value = "5,50,1000")]
    buckets: Vec<u32>,
    /// Packets towards the hosts that are lost, in thousandths.
    #[arg(long, value_delimiter = ',', default_value = "0,10")]
    losses: Vec<u32>,
    /// The tools.
    #[arg(long, value_delimiter = ',', default_value = "mimawari")]
    tools: Vec<Tool>,
    /// How long a sweep takes at the full capacity, about.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// The scanner of this workspace [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mimawari: Option<PathBuf>,
    /// ZMap 4 or newer.
    #[arg(long, default_value = "zmap", value_name = "PATH")]
    zmap: PathBuf,
    /// masscan.
    #[arg(long, default_value = "masscan", value_name = "PATH")]
    masscan: PathBuf,
}

/// Open cells of each sweep.
const OPEN: usize = 4000;
/// Packets for a cell, about: a fifth of the cells is silent.
const PACKETS_A_CELL: u32 = 3;

fn main() -> ExitCode {
    if let Some(code) = measured::main_if_asked() {
        return code;
    }
    stage::in_namespaces(|| run(&Arguments::parse()))
}

fn run(a: &Arguments) -> Result<()> {
    let paths = Paths {
        mimawari: match &a.mimawari {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("mimawari"),
        },
        zmap: a.zmap.clone(),
        masscan: a.masscan.clone(),
        nmap: "nmap".into(),
    };
    let mut rows = Vec::new();
    for capacity in &a.capacities {
        for bucket in &a.buckets {
            for loss in &a.losses {
                let path = PolicedPath { capacity: *capacity, bucket: *bucket, loss: *loss };
                for tool in &a.tools {
                    let asked = [(capacity * 10).to_string(), "auto".to_owned()];
                    let both = if *tool == Tool::Mimawari { 2 } else { 1 };
                    for rate in asked.iter().take(both) {
                        let row = path
                            .measure(*tool, rate, &paths, a.seconds)
                            .with_context(|| format!("{} at {rate}, {path:?}", tool.name()))?;
                        eprintln!("{}", row.join(" | "));
                        rows.push(row);
                    }
                }
            }
        }
    }
    println!("{}; one run each.\n", table::machine());
    let heads = [
        "tool",
        "capacity",
        "bucket",
        "loss",
        "asked",
        "used",
        "recall",
        "promise",
        "wall s",
        "packets",
        "CPU µs a packet",
    ];
    print!("{}", table::markdown(&heads, &rows));
    Ok(())
}

/// The way to the hosts.
#[derive(Debug, Clone, Copy)]
struct PolicedPath {
    capacity: u32,
    bucket: u32,
    loss: u32,
}

impl PolicedPath {
    fn measure(self, tool: Tool, rate: &str, paths: &Paths, seconds: u32) -> Result<Vec<String>> {
        let Self { capacity, bucket, loss } = self;
        // 2/3 of the packets are first attempts.
        let cells = (capacity * seconds / PACKETS_A_CELL * 2).max(1 << 16);
        let ports = u16::try_from(cells.div_ceil(1 << 16).clamp(4, 60))?;
        let hosts = (cells / u32::from(ports)).next_power_of_two().clamp(256, 1 << 16);
        let open = OPEN.min((hosts * u32::from(ports) / 8) as usize);
        let stage = Stage::build(hosts, ports, |all| Truth {
            loss_permille: loss,
            policer: Some(Policer { rate: capacity, burst: bucket }),
            ..Truth::spread(hosts, all, open, |_| true)
        })?;
        let before = stage.received()?;
        let folder = tempfile::tempdir()?;
        let limit = Duration::from_secs(u64::from(seconds) * 20 + 60);
        let extra = ["--quiet".to_owned()];
        let extra = if tool == Tool::Mimawari { &extra[..] } else { &[] };
        let line = tool.command(paths, &stage, rate, folder.path(), extra)?;
        let cost = measured::run(&stage.lab.scanner, &line, folder.path(), limit)?;
        let packets = stage.received()? - before;
        let dropped = dropped(&stage.lab)?;
        let found = tool.found(folder.path())?;
        let there: BTreeSet<_> = stage.open_in(hosts).collect();
        ensure!(!there.is_empty(), "nothing is open");
        let recall = there.intersection(&found.open).count() as f64 / there.len() as f64;
        let through = packets.saturating_sub(dropped) as f64;
        let promise = match tool {
            Tool::Mimawari if cost.status == Some(0) => "kept",
            Tool::Mimawari => "not kept",
            _ => "–",
        };
        Ok(vec![
            tool.name().to_owned(),
            capacity.to_string(),
            bucket.to_string(),
            format!("{} %", f64::from(loss) / 10.0),
            rate.to_owned(),
            format!("{:.2}", through / (f64::from(capacity) * cost.wall_s)),
            format!("{recall:.5}"),
            promise.to_owned(),
            format!("{:.1}", cost.wall_s),
            packets.to_string(),
            format!("{:.1}", cost.cpu_s * 1e6 / packets.max(1) as f64),
        ])
    }
}

/// Packets that the policer has dropped.
fn dropped(lab: &Lab) -> Result<u64> {
    let mut command = Command::new("nft");
    command.args(["list", "counter", "ip", "lab", "policed"]);
    let output = lab.centre.run(|| command.output()).context("running nft")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().skip_while(|w| *w != "packets");
    words.nth(1).and_then(|n| n.parse().ok()).with_context(|| format!("no counter in: {text}"))
}
