//! Reads a list of virtual hosts in a process of its own, and prints what that took. The scope is
//! 127.0.0.0/8.
//!
//! `read-vhosts FILE` prints the rows, the hosts, the addresses, by how many KiB the peak of the
//! memory (`VmHWM`, proc_pid_status(5)) grew, and the milliseconds of the pass and of reading.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use mimawari_look::http::VhostIndex;
use mimawari_targets::{AddrSet, Scope};

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).context("usage: read-vhosts FILE")?;
    let scope =
        Scope::new(AddrSet::from_ranges(["127.0.0.0/8".parse()?]), AddrSet::default(), "test");
    let before = peak()?;
    let start = Instant::now();
    let index = VhostIndex::open(&PathBuf::from(path).into(), &scope, &std::env::temp_dir())?;
    let pass = start.elapsed().as_millis();
    let (mut hosts, mut addresses) = (0, 0);
    for ip in index.addresses() {
        addresses += 1;
        for host in index.hosts(ip) {
            host?;
            hosts += 1;
        }
    }
    let reading = start.elapsed().as_millis() - pass;
    let grown = peak()? - before;
    println!("{} {hosts} {addresses} {grown} {pass} {reading}", index.rows());
    Ok(())
}

/// The largest resident set so far, KiB.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
