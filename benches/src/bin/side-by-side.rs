//! mimawari and other scanners on the same lab, one after the other, as a Markdown table.
//!
//! Nothing leaves the machine: the lab is made of network namespaces without a way out.

// What these programs are for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use mimawari_benches::stage::{self, Busy, Stage};
use mimawari_benches::tools::{Paths, Tool};
use mimawari_benches::{floor, measured, table};
use mimawari_tests::lab::{Policer, Truth, enter};

/// Runs scanners on a lab of known truth and prints what each took and found.
#[derive(Debug, Parser)]
#[command(name = "side-by-side")]
struct Arguments {
    /// Number of addresses, a power of two.
    #[arg(long, default_value_t = 65_536, value_parser = hosts)]
    hosts: u32,
    /// Number of ports.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    ports: u16,
    /// Number of open cells.
    #[arg(long, default_value_t = 4000)]
    open: usize,
    /// Share of the packets towards the hosts that is lost: 10‰ or 1%.
    #[arg(long, default_value = "10‰", value_parser = permille)]
    loss: u32,
    /// A policer on the way to the hosts: packets per second, or RATE:BURST.
    #[arg(long, value_parser = policer)]
    policer: Option<Policer>,
    /// Which, in this order.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "mimawari,zmap,zmap-p2,masscan,nmap,floor"
    )]
    tools: Vec<Tool>,
    /// Rates to ask for, TOOL=RATE; a tool named twice runs at each.
    #[arg(long, value_delimiter = ',', value_name = "TOOL=RATE", value_parser = tool_rate)]
    rates: Vec<(Tool, String)>,
    /// How often.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Keep every core busy with another process meanwhile.
    #[arg(long)]
    busy: bool,
    /// Write the table to this file too.
    #[arg(long, value_name = "FILE")]
    md: Option<PathBuf>,
    /// The scanner of this workspace [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mimawari: Option<PathBuf>,
    /// More arguments for `mimawari scan`.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    mimawari_arg: Vec<String>,
    /// ZMap 4 or newer.
    #[arg(long, value_name = "PATH", default_value = "zmap")]
    zmap: PathBuf,
    /// masscan.
    #[arg(long, value_name = "PATH", default_value = "masscan")]
    masscan: PathBuf,
    /// nmap.
    #[arg(long, value_name = "PATH", default_value = "nmap")]
    nmap: PathBuf,
    /// Seconds after which a tool is killed.
    #[arg(long, default_value_t = 900)]
    limit: u64,
    /// Keep what the tools wrote, in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn hosts(text: &str) -> Result<u32, String> {
    let n: u32 = text.parse().map_err(|e| format!("{e}"))?;
    (n.is_power_of_two() && (16..=65_536).contains(&n))
        .then_some(n)
        .ok_or_else(|| "a power of two from 16 to 65536".to_owned())
}

fn permille(text: &str) -> Result<u32, String> {
    let (number, factor) = match (text.strip_suffix('‰'), text.strip_suffix('%')) {
        (Some(n), _) => (n, 1.0),
        (_, Some(n)) => (n, 10.0),
        _ => (text, 1.0),
    };
    let n: f64 = number.trim().parse().map_err(|e| format!("{e}"))?;
    let n = n * factor;
    if n.fract() == 0.0 && (0.0..=1000.0).contains(&n) {
        Ok(n as u32)
    } else {
        Err("whole thousandths, such as 10‰ or 1%".to_owned())
    }
}

fn policer(text: &str) -> Result<Policer, String> {
    let (rate, burst) = text.split_once(':').unwrap_or((text, "5"));
    Ok(Policer {
        rate: rate.parse().map_err(|e| format!("{e}"))?,
        burst: burst.parse().map_err(|e| format!("{e}"))?,
    })
}

fn tool_rate(text: &str) -> Result<(Tool, String), String> {
    let (tool, rate) = text.split_once('=').ok_or("TOOL=RATE")?;
    Ok((clap::ValueEnum::from_str(tool, true)?, rate.to_owned()))
}

fn main() -> ExitCode {
    // This program is also its own helpers, each a process with an account of its own.
    let helper =
        measured::main_if_asked().or_else(floor::main_if_asked).or_else(stage::busy_if_asked);
    if let Some(code) = helper {
        return code;
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("side-by-side: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// One run of one tool.
struct Measured {
    cost: measured::Cost,
    packets: u64,
    truth: usize,
    missed: usize,
    wrong: usize,
    claim: String,
}

impl Measured {
    fn recall(&self) -> f64 {
        1.0 - self.missed as f64 / self.truth.max(1) as f64
    }
}

fn run(a: &Arguments) -> Result<()> {
    let beside = std::env::current_exe()?.with_file_name("mimawari");
    let absolute = |p: &Path| {
        // A bare name is looked for on the PATH; a path is, after we change folders, still the same.
        if p.components().count() > 1 { std::path::absolute(p) } else { Ok(p.to_owned()) }
    };
    let paths = Paths {
        mimawari: absolute(a.mimawari.as_deref().unwrap_or(&beside))?,
        zmap: absolute(&a.zmap)?,
        masscan: absolute(&a.masscan)?,
        nmap: absolute(&a.nmap)?,
    };
    if a.tools.contains(&Tool::Mimawari) && !paths.mimawari.exists() {
        bail!("{} is not there: cargo build --profile dist -p mimawari", paths.mimawari.display());
    }
    enter().map_err(anyhow::Error::msg)?;
    let stage = Stage::build(a.hosts, a.ports, |ports| Truth {
        loss_permille: a.loss,
        policer: a.policer,
        ..Truth::spread(a.hosts, ports, a.open, |_| true)
    })?;
    let busy = a.busy.then(Busy::start).transpose()?;
    let mut rows = Vec::new();
    let mut claims = String::new();
    for tool in &a.tools {
        let asked: Vec<&str> =
            a.rates.iter().filter(|(t, _)| t == tool).map(|(_, r)| r.as_str()).collect();
        let rates = if asked.is_empty() { vec![tool.usual_rate()] } else { asked };
        let name = match tool.version(&paths) {
            Ok(name) => name,
            Err(e) => {
                let mut row = vec![tool.name().to_owned(), format!("{e:#}")];
                row.resize(HEAD.len(), "–".to_owned());
                rows.push(row);
                continue;
            }
        };
        for rate in rates {
            let mut settings = tool.settings(rate, &a.mimawari_arg);
            if tool.part() > 1 {
                let _ = write!(settings, " (1/{} of the addresses)", tool.part());
            }
            let mut runs = Vec::new();
            for i in 1..=a.repeat {
                eprintln!("{name}, {settings}, run {i} of {} …", a.repeat);
                match one(*tool, &paths, &stage, rate, a) {
                    Ok(m) => {
                        eprintln!("  {}", cells(&m).join(" · "));
                        if !m.claim.is_empty() {
                            let _ = writeln!(claims, "- {name}, {settings}: {}", m.claim);
                            eprintln!("  it says: {}", m.claim);
                        }
                        runs.push(m);
                    }
                    Err(e) => {
                        eprintln!("  {e:#}");
                        let mut row = vec![name.clone(), format!("{settings}: {e:#}")];
                        row.resize(HEAD.len(), "–".to_owned());
                        rows.push(row);
                        break;
                    }
                }
            }
            if let Some(m) = middle(runs) {
                let mut row = vec![name.clone(), settings.clone()];
                row.extend(cells(&m));
                rows.push(row);
            }
        }
    }
    drop(busy);
    let text = report(a, &rows, &claims);
    println!("{text}");
    if let Some(path) = &a.md {
        std::fs::write(path, &text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

const HEAD: [&str; 9] =
    ["tool", "settings", "wall s", "CPU s", "packets", "recall", "missed", "false", "peak MiB"];

fn cells(m: &Measured) -> Vec<String> {
    vec![
        format!("{:.1}", m.cost.wall_s),
        format!("{:.1}", m.cost.cpu_s),
        m.packets.to_string(),
        format!("{:.5}", m.recall()),
        format!("{} of {}", m.missed, m.truth),
        m.wrong.to_string(),
        format!("{:.0}", m.cost.peak_kib as f64 / 1024.0),
    ]
}

/// The run in the middle by what it missed, and among equals by time.
fn middle(mut runs: Vec<Measured>) -> Option<Measured> {
    runs.sort_by(|a, b| {
        (a.missed + a.wrong)
            .cmp(&(b.missed + b.wrong))
            .then(a.cost.wall_s.total_cmp(&b.cost.wall_s))
    });
    let i = runs.len() / 2;
    (!runs.is_empty()).then(|| runs.swap_remove(i))
}

fn one(tool: Tool, paths: &Paths, stage: &Stage, rate: &str, a: &Arguments) -> Result<Measured> {
    let scratch = tempfile::tempdir().context("a folder for its output")?;
    let folder = scratch.path();
    let line = tool.command(paths, stage, rate, folder, &a.mimawari_arg)?;
    let before = stage.received()?;
    let cost = measured::run(&stage.lab.scanner, &line, folder, Duration::from_secs(a.limit))?;
    let packets = stage.received()? - before;
    if let Some(keep) = &a.keep {
        keep_folder(folder, &keep.join(tool.name()))?;
    }
    let found = match tool.found(folder) {
        Ok(found) => found,
        Err(e) => {
            let text = std::fs::read_to_string(folder.join("stderr")).unwrap_or_default();
            bail!("{e:#}; status {:?}: {}", cost.status, measured::last_line(&text));
        }
    };
    let truth: std::collections::BTreeSet<_> = stage.open_in(stage.hosts / tool.part()).collect();
    Ok(Measured {
        cost,
        packets,
        truth: truth.len(),
        missed: truth.difference(&found.open).count(),
        wrong: found.open.difference(&truth).count(),
        claim: found.claim,
    })
}

/// Copies a folder of files and one level of folders.
fn keep_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            keep_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn report(a: &Arguments, rows: &[Vec<String>], claims: &str) -> String {
    let mut text = format!(
        "{} addresses × {} ports, {} open, 20 % of the hosts silent, the rest RST, {} ‰ loss towards the hosts",
        a.hosts, a.ports, a.open, a.loss
    );
    if let Some(p) = a.policer {
        let _ = write!(text, ", a policer at {} packets per second (burst {})", p.rate, p.burst);
    }
    if a.busy {
        text += ", one busy process a core";
    }
    let _ = write!(text, ".\n{}", table::machine());
    let _ = match a.repeat {
        1 => writeln!(text, "; one run each.\n"),
        n => writeln!(text, "; the median of {n} runs.\n"),
    };
    text += &table::markdown(&HEAD, rows);
    if !claims.is_empty() {
        let _ = write!(text, "\nWhat they say themselves:\n\n{claims}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_read_in_both_units() {
        assert_eq!(permille("10‰"), Ok(10));
        assert_eq!(permille("1%"), Ok(10));
        assert_eq!(permille("5"), Ok(5));
        assert!(permille("0.05%").is_err() && permille("101%").is_err());
    }

    #[test]
    fn a_rate_names_its_tool() {
        assert_eq!(tool_rate("zmap-p2=100"), Ok((Tool::ZmapP2, "100".to_owned())));
        assert!(tool_rate("100").is_err() && tool_rate("what=1").is_err());
    }
}
