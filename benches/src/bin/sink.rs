//! Sending alone: the scanner's threads and a bare loop into a link that swallows everything.
//!
//! Nothing leaves the machine: the lab is made of network namespaces without a way out.

// What these programs are for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use mimawari_benches::stage::{self, received};
use mimawari_benches::table;
use mimawari_probes::wire::{LinkHeader, SynTemplate};
use mimawari_rawio::{FrameSender, InterfaceFacts, SendBatch};
use mimawari_tests::lab::{Lab, SCANNER_V4, host, nft};
use nix::sys::signal::Signal;

/// Sends into a sink by turns and prints packets per second and their ratio.
#[derive(Debug, Parser)]
#[command(name = "sink")]
struct Arguments {
    /// How often each.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// The scanner of this workspace [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    mimawari: Option<PathBuf>,
}

/// What the slow start takes, and then some.
const START: Duration = Duration::from_secs(3);
/// How long is counted.
const COUNTED: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    stage::in_namespaces(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let binary = match &arguments.mimawari {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("mimawari"),
    };
    let lab = Lab::new();
    // Whatever is no ARP ends at the far end's first hook, and no answer comes back.
    nft(
        &lab,
        "table netdev sink { chain in { type filter hook ingress device \"v1\" priority -500; \
         ether type arp accept\ndrop\n}\n}\n",
    );
    let (mut scanner, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.repeat {
        one.push(bare(&lab, 1)?);
        scanner.push(sweep(&lab, &binary)?);
        two.push(bare(&lab, 2)?);
    }
    let median = |values: &[f64]| table::median(values).unwrap_or_default();
    let best = median(&one).max(median(&two));
    let row = |name: &str, rates: &[f64]| {
        let rate = median(rates);
        vec![name.to_owned(), format!("{:.0}", rate / 1e3), format!("{:.2}", rate / best)]
    };
    println!("{}; medians of {}.\n", table::machine(), arguments.repeat);
    let rows = [
        row("mimawari, unlimited", &scanner),
        row("bare sendmmsg, constant frame, 1 thread", &one),
        row("bare sendmmsg, constant frame, 2 threads", &two),
    ];
    print!("{}", table::markdown(&["sender", "kpps", "of the best bare loop"], &rows));
    Ok(())
}

/// Packets per second that arrive between the slow start and the end of the count.
fn counted(lab: &Lab) -> Result<f64> {
    std::thread::sleep(START);
    let (begun, before) = (Instant::now(), received(lab)?);
    std::thread::sleep(COUNTED);
    let packets = received(lab)? - before;
    Ok(packets as f64 / begun.elapsed().as_secs_f64())
}

/// A sweep that is stopped after the count.
fn sweep(lab: &Lab, binary: &Path) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("patrol.toml"),
        "version = 1\n[scope]\nallow = [\"198.19.0.0/16\"]\nauthorised_by = \"BENCH\"\n[scan]\n\
         ports = \"1-1000\"\nmethod = \"syn\"\nrate = 10000000\nrate_per_host = 0\n\
         rate_per_network = 0\n[http]\nenabled = false\n",
    )?;
    let running = lab
        .program(&binary.display().to_string())
        .dir(folder.path())
        .args(["scan", "-c", "patrol.toml", "-q", "--out", "r"])
        .start();
    let rate = counted(lab)?;
    running.signal(Signal::SIGTERM);
    let _ = running.wait();
    Ok(rate)
}

/// The same frame again and again.
fn bare(lab: &Lab, threads: usize) -> Result<f64> {
    let (source, senders) = lab.scanner.run(|| -> Result<_> {
        let device = InterfaceFacts::by_name("v0").context("the link")?;
        let senders =
            (0..threads).map(|_| FrameSender::packet(&device)).collect::<Result<Vec<_>, _>>();
        Ok((device.mac.context("its address")?, senders?))
    })?;
    let gateway = lab.centre.run(|| InterfaceFacts::by_name("v1")).context("the far end")?;
    let header = LinkHeader::Ethernet { source, destination: gateway.mac.context("its address")? };
    let mut template = SynTemplate::new(header, SCANNER_V4.into());
    let mut batch = SendBatch::new();
    while batch.push(template.frame(host(1).into(), None, 61_000, 80, 1)) {}
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for mut sender in senders {
            let (batch, done) = (&batch, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    if sender.send(batch).error.is_some() {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                }
            });
        }
        let rate = counted(lab);
        done.store(true, Ordering::Relaxed);
        rate
    })
}
