//! What goes to the canaries: connections, a few SYNs, and the ramp. How much is said before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use mimawari_net::packet::{
    BurstOutcome, CanaryBurst, PacketConfig, PacketSweep, count_burst_ports,
};
use mimawari_targets::{AddrRange, AddrSet, CellPlan, Endpoint, PlanShard, Port, PortSet};

use super::canaries::{self, CanaryOutcome, MOST, SYNS};
use super::line::{CheckFinding, LineMark};
use super::ramp::{self, RampResult, RampStep};
use super::{LONG, ReportBuilder, has_smtp_port, mail};
use crate::cli::selfcheck::SelfcheckArgs;
use crate::config::{AUTO_RATE, Config, DEFAULT_RATE};

/// Packets of the ramp, at most.
const BUDGET: u32 = 40_000;
/// SYNs a second to the canaries before the ramp.
const GENTLE: u32 = 30;
/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// The ramp's limit of time; each step takes a second and the patience.
const RAMP: Duration = Duration::from_secs(30);

/// What became of the packets.
pub struct PacketOutcome {
    /// The highest rate without added loss, if that was measured.
    pub rate: Option<u32>,
}

/// The lines of canaries, port 25 and ramp.
pub async fn check(
    desk: &mut ReportBuilder,
    config: &Arc<Config>,
    args: &SelfcheckArgs,
    raw: bool,
) -> Result<PacketOutcome> {
    let mail_planned = has_smtp_port(config);
    if args.no_packets {
        let left_out = CheckFinding::skip("left out by --no-packets");
        desk.report("canary", &left_out)?;
        desk.report("port 25", &mail::judge(mail_planned, None))?;
        desk.report("ramp", &left_out)?;
        return Ok(PacketOutcome { rate: None });
    }
    let endpoints: Vec<Endpoint> = config
        .scan
        .canaries
        .iter()
        .filter_map(|c| config.scope.endpoint(c.ip(), Port::new(c.port())?).ok())
        .take(MOST)
        .collect();
    if endpoints.is_empty() {
        desk.report("canary", &canaries::warn_without_canaries())?;
        desk.report("port 25", &mail::judge(mail_planned, Some(&[])))?;
        desk.report("ramp", &CheckFinding::skip("no canary to measure with"))?;
        return Ok(PacketOutcome { rate: None });
    }
    let steps = plan_ramp_steps(config, args, &endpoints);
    desk.report("packets", &announce(&endpoints, raw, &steps))?;
    let (working, sweep) = ask(desk, config, &endpoints, raw).await?;
    let on_25: Vec<bool> =
        endpoints.iter().filter(|e| e.port().get() == 25).map(|e| working.contains(e)).collect();
    desk.report("port 25", &mail::judge(mail_planned, Some(&on_25)))?;
    let (found, rate) = match sweep {
        None => (CheckFinding::skip("no raw SYNs can be sent"), None),
        Some(_) if working.is_empty() => (CheckFinding::skip("no canary answers"), None),
        // What answers not shares no ceiling.
        Some(sweep) => {
            let steps = self::plan_ramp_steps(config, args, &working);
            run_ramp(desk, config, args, sweep, working, steps).await
        }
    };
    desk.report("ramp", &found)?;
    Ok(PacketOutcome { rate })
}

/// The rate that a scan would go at, where it is not to be found by itself.
fn select_configured_rate(config: &Config) -> u32 {
    if config.scan.rate_auto {
        config.scan.rate.min(AUTO_RATE).min(DEFAULT_RATE)
    } else {
        config.scan.rate
    }
}

fn select_top_rate(config: &Config, args: &SelfcheckArgs, endpoints: &[Endpoint]) -> u32 {
    let addresses: Vec<SocketAddr> = endpoints.iter().map(|e| e.socket_addr()).collect();
    let scan = &config.scan;
    args.ramp_rate.unwrap_or_else(|| {
        let rate = select_configured_rate(config).min(200_000);
        ramp::compute_rate_ceiling(rate, scan.rate_per_host, scan.rate_per_network, &addresses)
    })
}

fn plan_ramp_steps(config: &Config, args: &SelfcheckArgs, endpoints: &[Endpoint]) -> Vec<RampStep> {
    let count = u32::try_from(endpoints.len()).unwrap_or(1);
    let room = count_burst_ports().saturating_sub(SYNS).saturating_mul(count);
    ramp::build_ramp_steps(select_top_rate(config, args, endpoints), BUDGET.min(room))
}

fn announce(endpoints: &[Endpoint], raw: bool, steps: &[RampStep]) -> CheckFinding {
    let count = u32::try_from(endpoints.len()).unwrap_or(1);
    let to: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    let to = to.join(", ");
    if !raw {
        return CheckFinding::ok(format!("connections follow, to {to} alone"));
    }
    let all = SYNS * count + ramp::count_packets(steps);
    let top = steps.iter().map(|s| s.rate).max().unwrap_or(0);
    CheckFinding::ok(format!(
        "at most {all} SYN packets and a connection each follow, to {to} alone, at {top} packets/s at \
         most; --no-packets leaves them out"
    ))
}

/// Probes every canary; reports a line each. Returns those that work, and the sweep for more.
async fn ask(
    desk: &mut ReportBuilder,
    config: &Arc<Config>,
    endpoints: &[Endpoint],
    raw: bool,
) -> Result<(Vec<Endpoint>, Option<PacketSweep>)> {
    let all = endpoints.to_vec();
    let uplink = config.scan.uplink();
    let connections = desk
        .timed_async(LONG, move || async move {
            join_all(all.into_iter().map(|to| canaries::connect(to, &uplink))).await
        })
        .await;
    let syns = if raw { Some(ask_by_syns(desk, config, endpoints).await) } else { None };
    let (sweep, tallies, trouble) = match syns {
        None => (None, None, None),
        Some(Ok((sweep, outcome))) => (Some(sweep), Some(outcome), None),
        Some(Err(instead)) => (None, None, Some(instead)),
    };
    let mut working = Vec::new();
    for (i, endpoint) in endpoints.iter().enumerate() {
        let connection = match &connections {
            Ok(all) => all.get(i).cloned().unwrap_or(CanaryOutcome::Silent),
            Err(_) => CanaryOutcome::Silent,
        };
        let tally = tallies.as_ref().and_then(|o: &BurstOutcome| o.tallies.get(i));
        let found = canaries::judge(endpoint.socket_addr(), &connection, tally);
        if found.mark == LineMark::Ok {
            working.push(*endpoint);
        }
        desk.report("canary", &found)?;
    }
    if let Some(trouble) = trouble {
        desk.report("canary", &trouble)?;
    }
    Ok((working, sweep))
}

/// Opens a sweep of the canaries and sends a few SYNs to each.
async fn ask_by_syns(
    desk: &ReportBuilder,
    config: &Arc<Config>,
    endpoints: &[Endpoint],
) -> Result<(PacketSweep, BurstOutcome), CheckFinding> {
    let (config, endpoints) = (Arc::clone(config), endpoints.to_vec());
    let packets = SYNS * u32::try_from(endpoints.len()).unwrap_or(1);
    desk.timed(LONG, move || {
        let mut sweep = open(&config, &endpoints)?;
        let burst = CanaryBurst { endpoints, rate: GENTLE, packets, from: 0, patience: PATIENCE };
        let outcome =
            sweep.burst(&burst, &AtomicBool::new(false)).map_err(|e| to_failed_finding(&e))?;
        Ok((sweep, outcome))
    })
    .await?
}

fn to_failed_finding(e: &mimawari_net::packet::PacketError) -> CheckFinding {
    CheckFinding::fail(e.to_string(), e.help())
}

fn open(config: &Config, endpoints: &[Endpoint]) -> Result<PacketSweep, CheckFinding> {
    let odd = |e: String| CheckFinding::fail(e, "correct `canaries` under [scan]");
    let set = AddrSet::from_ranges(endpoints.iter().map(|e| AddrRange::from(e.ip())));
    let set = config.scope.narrow(&set).map_err(|e| odd(e.to_string()))?;
    let ports = endpoints.iter().map(|e| (e.port().get(), e.port().get()));
    let plan =
        CellPlan::new(set, PortSet::from_ranges(ports), 0).map_err(|e| odd(e.to_string()))?;
    let mut key = [0; 16];
    let seed = getrandom::fill(&mut key).and_then(|()| getrandom::u64());
    let seed = seed.map_err(|e| {
        CheckFinding::fail(
            format!("the system has no randomness: {e}"),
            "see that /dev/urandom is there",
        )
    })?;
    let packet_config = PacketConfig {
        interface: config.scan.interface.clone(),
        sources: config.scan.sources.clone(),
        attempts: 1,
        key,
        seed,
        ..PacketConfig::default()
    };
    let scope = Arc::new(config.scope.clone());
    PacketSweep::open(&plan.walk(PlanShard::WHOLE), scope, &packet_config)
        .map_err(|e| to_failed_finding(&e))
}

async fn run_ramp(
    desk: &ReportBuilder,
    config: &Arc<Config>,
    args: &SelfcheckArgs,
    mut sweep: PacketSweep,
    endpoints: Vec<Endpoint>,
    steps: Vec<RampStep>,
) -> (CheckFinding, Option<u32>) {
    let (asked, top) = (select_configured_rate(config), select_top_rate(config, args, &endpoints));
    let stop = desk.stop.clone();
    let made = desk
        .timed(RAMP, move || {
            let count = u32::try_from(endpoints.len()).unwrap_or(1);
            let mut from = SYNS * count;
            let mut made = Vec::new();
            for step in steps {
                let burst = CanaryBurst {
                    endpoints: endpoints.clone(),
                    rate: step.rate,
                    packets: step.packets,
                    from,
                    patience: PATIENCE,
                };
                let outcome =
                    sweep.burst(&burst, stop.flag()).map_err(|e| to_failed_finding(&e))?;
                from += step.packets;
                made.push(measure_step(step, &outcome));
            }
            Ok::<_, CheckFinding>(made)
        })
        .await;
    match made {
        Err(instead) | Ok(Err(instead)) => (instead, None),
        Ok(Ok(made)) => ramp::judge(&made, asked, top < asked),
    }
}

fn measure_step(step: RampStep, o: &BurstOutcome) -> RampResult {
    let sent = o.sent();
    // The last packet of n leaves after n - 1 intervals.
    let reached = if o.seconds > 0.0 { f64::from(sent) / o.seconds } else { f64::from(step.rate) };
    RampResult {
        rate: step.rate,
        reached,
        sent,
        answered: o.answered(),
        failed: o.failed,
        ring_drops: o.ring_drops,
    }
}
