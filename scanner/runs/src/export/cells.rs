//! The cells of runs, address by address.
//!
//! Coverage is stored in probing order, which goes over all addresses at random. Looking cells up one
//! by one would unpack a frame for each. So a window of addresses is filled by one pass over the whole
//! coverage, in its own order; most runs fit into one window. Memory is that of a window, whatever
//! the size of the plan.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use mimawari_probes::observation::{CellState, Observation, TcpObservation};
use mimawari_targets::Port;

use crate::LoadedRun;
use crate::judge::Runs;

/// Cells of a window: 64 MiB.
const WINDOW: u64 = 1 << 26;
/// Steps that are read at once.
const STEPS: u64 = 1 << 18;

/// What is known of one address.
pub(super) struct HostCells<'a> {
    pub(super) ip: IpAddr,
    /// One state a port, in the order of the plan's ports.
    pub(super) states: &'a [CellState],
    /// The records of its open and prohibited cells.
    pub(super) seen: &'a BTreeMap<(IpAddr, Port), &'a TcpObservation>,
}

/// Calls `take` with every planned address of which something is known, in order.
///
/// # Errors
/// A coverage that cannot be read, and whatever `take` returns.
pub(super) fn visit_hosts(
    runs: &Runs,
    window: Option<u64>,
    mut take: impl FnMut(&HostCells<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let plan = runs.plan();
    let (addrs, ports) = (plan.addrs().addrs(), plan.ports());
    let width = u64::from(ports.len()).max(1);
    let per_window = (window.unwrap_or(WINDOW) / width).max(1);
    let total = u64::try_from(addrs.len()).unwrap_or(u64::MAX);
    let mut first = 0;
    while first < total {
        let count = per_window.min(total - first);
        let size = usize::try_from(count * width).map_err(io::Error::other)?;
        let mut states = vec![CellState::NotProbed; size];
        let place = |ip: IpAddr, port: Port| -> Option<usize> {
            let row = u64::try_from(addrs.index_of(ip)?).ok()?.checked_sub(first)?;
            let column = u64::from(ports.index_of(port)?);
            (row < count).then(|| usize::try_from(row * width + column).ok()).flatten()
        };
        for run in runs.loaded() {
            scatter(run, &mut states, place)?;
        }
        // As the judge has it: a record proves that a cell is open, and open without one is unknown.
        for state in states.iter_mut().filter(|s| **s == CellState::Open) {
            *state = CellState::NotProbed;
        }
        let mut seen = BTreeMap::new();
        for o in runs.loaded().iter().flat_map(|r| &r.observations) {
            let Observation::Tcp(t) = o else { continue };
            if let Some(state) = place(t.ip, t.port).and_then(|i| states.get_mut(i)) {
                if t.state == CellState::Open {
                    *state = CellState::Open;
                }
                seen.insert((t.ip, t.port), t);
            }
        }
        for (row, states) in (first..).zip(states.chunks(usize::try_from(width).unwrap_or(1))) {
            if states.iter().all(|s| *s == CellState::NotProbed) {
                continue;
            }
            if let Some(ip) = addrs.nth(u128::from(row)) {
                take(&HostCells { ip, states, seen: &seen })?;
            }
        }
        first += count;
    }
    Ok(())
}

/// Puts a run's states into their places.
fn scatter(
    run: &LoadedRun,
    into: &mut [CellState],
    place: impl Fn(IpAddr, Port) -> Option<usize>,
) -> io::Result<()> {
    let walk = run.walk();
    let mut block = Vec::new();
    let mut begin = 0;
    while begin < walk.len() {
        let steps = STEPS.min(walk.len() - begin);
        block.clear();
        block.resize(usize::try_from(steps).map_err(io::Error::other)?, CellState::NotProbed);
        run.states(begin, &mut block)?;
        for (step, state) in (begin..).zip(&block) {
            if *state == CellState::NotProbed {
                continue;
            }
            let Some(at) = walk.endpoint(step).and_then(|e| place(e.ip(), e.port())) else {
                continue;
            };
            if let Some(to) = into.get_mut(at) {
                *to = (*to).max(*state);
            }
        }
        begin += steps;
    }
    Ok(())
}
