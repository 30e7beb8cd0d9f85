//! The connect method: the same sweep with full connections, for when raw sockets are not allowed.
//!
//! The engine decides what is asked when; this driver asks by `connect()` and reports what came. An
//! attempt that is neither accepted nor refused within the spacing is a silent one. The kernel
//! cannot distinguish an ICMP "prohibited" from a dead host, so both are silent here.

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mimawari_base::signals::StopSignal;
use mimawari_base::sockets;
use mimawari_base::uplink::Uplink;
use mimawari_engine::{ProbeAnswer, ProbeReply, SweepEngine, SweepEvent, SynProbe};
use mimawari_probes::wire::SynAckSigns;
use mimawari_targets::Scope;
use tokio::task::JoinSet;

use crate::budget::PacketBudget;

/// What the driver counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ConnectStatistics {
    /// Connections begun.
    pub sent: u64,
    /// Connections that the system refused to begin.
    pub failures: u64,
    /// Probes dropped because their address was not in the scope; anything but 0 is a defect.
    pub refused_by_scope: u64,
    /// How long it took.
    pub seconds: f64,
}

/// How one connection ended.
enum ConnectOutcome {
    Answered(ProbeReply),
    Silent,
    /// Our own system could not do it.
    Failed(io::Error),
}

/// How long a sweep stands still before it looks whether it may go on.
const HELD: Duration = Duration::from_millis(10);

/// How the connections of a sweep are made.
#[derive(Debug)]
pub struct ConnectSetup<'a> {
    /// What may be connected to.
    pub scope: &'a Scope,
    /// Sockets in use at once, at most.
    pub at_once: usize,
    /// By which interface and from which address.
    pub uplink: &'a Uplink,
    /// What other parts of the run send meanwhile.
    pub beside: &'a PacketBudget,
    /// How long one connection may take, at most the engine's spacing.
    pub patience: Duration,
}

/// Runs a sweep to its end.
///
/// # Errors
/// When `on_event` breaks, with what it broke with already handled by the caller; otherwise never:
/// failures of single connections are the sweep's business.
pub async fn run(
    sweep: &mut SweepEngine,
    setup: &ConnectSetup<'_>,
    stop: &StopSignal,
    mut on_event: impl FnMut(SweepEvent) -> ControlFlow<()>,
    mut on_tick: impl FnMut(Duration, &SweepEngine),
) -> ConnectStatistics {
    let &ConnectSetup { scope, mut at_once, uplink, beside, patience } = setup;
    let begun = Instant::now();
    let mut statistics = ConnectStatistics::default();
    let mut tasks: JoinSet<(SynProbe, ConnectOutcome)> = JoinSet::new();
    let mut stop_watch = stop.watch();
    let mut stopped = false;
    let mut held: Option<SynProbe> = None;
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        let now = begun.elapsed();
        if stop.is_stopped() && !stopped {
            stopped = true;
            sweep.stop(now);
            if let Some(probe) = held.take() {
                sweep.send_failed(now, probe);
            }
        }
        let packets = beside.take();
        if packets > 0 {
            sweep.sent_beside(now, packets);
        }
        let standing = beside.is_held() && !stopped;
        while tasks.len() < at_once && !standing {
            let Some(probe) = held.take().or_else(|| sweep.poll_transmit(now)) else { break };
            if !scope.allows(probe.endpoint.ip()) {
                statistics.refused_by_scope += 1;
                sweep.send_failed(now, probe);
                continue;
            }
            statistics.sent += 1;
            let uplink = uplink.clone();
            tasks.spawn(async move { (probe, ask(probe, patience, &uplink).await) });
        }
        while let Some(event) = sweep.poll_event() {
            if on_event(event).is_break() && !stopped {
                stopped = true;
                sweep.stop(now);
            }
        }
        if sweep.is_done() {
            break;
        }
        let wake = match sweep.poll_timeout() {
            // No free socket: the next answer or time-out is what there is to wait for.
            _ if tasks.len() >= at_once => None,
            Some(_) if standing => Some(Instant::now() + HELD),
            Some(at) => Some(begun + at),
            None => None,
        };
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = tasks.join_next() => {
                let now = begun.elapsed();
                let Ok((probe, outcome)) = done else { continue };
                match outcome {
                    ConnectOutcome::Answered(reply) => sweep.handle(now, ProbeAnswer {
                        ip: probe.endpoint.ip(),
                        port: probe.endpoint.port(),
                        attempt: probe.attempt,
                        reply,
                        ttl: None,
                        signs: SynAckSigns::default(),
                    }),
                    ConnectOutcome::Silent => {}
                    ConnectOutcome::Failed(e) => {
                        if sockets::is_exhaustion(&e) {
                            // As many as there are now is what this machine has room for.
                            at_once = at_once.min(tasks.len().max(1));
                        }
                        tracing::debug!(endpoint = %probe.endpoint, error = %e, "cannot connect");
                        statistics.failures += 1;
                        statistics.sent -= 1;
                        sweep.send_failed(now, probe);
                    }
                }
            }
            () = sleep => {}
            _ = stop_watch.changed(), if !stopped => {}
            _ = ticks.tick() => on_tick(begun.elapsed(), sweep),
        }
    }
    statistics.seconds = begun.elapsed().as_secs_f64();
    statistics
}

async fn ask(probe: SynProbe, patience: Duration, uplink: &Uplink) -> ConnectOutcome {
    let address = probe.endpoint.socket_addr();
    let socket = match uplink.socket_to(address) {
        Ok(socket) => socket,
        Err(e) => return ConnectOutcome::Failed(e),
    };
    match tokio::time::timeout(patience, socket.connect(address)).await {
        Err(_) => ConnectOutcome::Silent,
        Ok(Ok(stream)) => {
            // Linux may connect a socket on loopback to itself when the ephemeral port it picks is
            // the one asked for (RFC 9293, section 3.5, simultaneous open). Nobody listens there.
            if stream.local_addr().ok() == stream.peer_addr().ok() {
                return ConnectOutcome::Answered(ProbeReply::Rst);
            }
            ConnectOutcome::Answered(ProbeReply::SynAck)
        }
        Ok(Err(e)) => classify(e),
    }
}

fn classify(e: io::Error) -> ConnectOutcome {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => ConnectOutcome::Answered(ProbeReply::Rst),
        // Accepted, and reset before we looked: somebody listens.
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            ConnectOutcome::Answered(ProbeReply::SynAck)
        }
        // Ours, and nothing of theirs: the attempt was not made.
        _ if sockets::is_local_error(&e) => ConnectOutcome::Failed(e),
        // No ARP answer, or an ICMP error of whatever code.
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => ConnectOutcome::Silent,
        _ => ConnectOutcome::Failed(e),
    }
}
