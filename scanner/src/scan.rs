//! The scan: sweep, confirm, look. It observes and never judges.
//!
//! ```text
//! plan ─▶ sweep (its own thread) ─▶ open cells ─▶ confirm (tokio) ─▶ web endpoints ─▶ look (tokio)
//!              └────────── run folder: every record is written when it is seen ──────────┘
//! ```

mod confirm;
mod ends;
mod look;
mod named;
mod odd;
mod resume;

pub(crate) use look::read_vhosts;
pub use look::{load_catalogue, read_evidence_key, read_sites};

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_base::signals::StopSignal;
use mimawari_base::sockets;
use mimawari_base::uplink::{PacketGate, Uplink};
use mimawari_engine::{SweepCheckpoint, SweepConfig, SweepEngine, SweepEvent, SweepSummary};
use mimawari_net::budget::PacketBudget;
use mimawari_net::connect;
use mimawari_net::packet::{self, PacketConfig, PacketError, PacketSweep, SocketOpener};
use mimawari_probes::gap::{CoverageGap, Gap, GapEffect, NamedSample};
use mimawari_probes::observation::{CellState, Observation, TcpObservation};
use mimawari_report::describe_gap;
use mimawari_runs::RunFolder;
use mimawari_runs::checkpoint::CheckpointWriter;
use mimawari_runs::meta::{
    self, CanaryFacts, HttpTotals, PlanFacts, RunMeta, RunStatus, ScopeFacts, compute_order_seed,
    run_id,
};
use mimawari_targets::dns;
use mimawari_targets::{AddrSet, CellPlan, Endpoint, PlanOrder, PlanShard, Port, Scope};
use tokio::sync::mpsc;

use crate::cli::{RunSelection, ScanMethod};
use crate::config::Config;
use crate::context::Context;
use crate::logging::ProgressView;

use confirm::{OpenedPort, ServiceLook, WaitingPorts};
use ends::SitePorts;

/// A canary is asked this often before it counts as silent.
const CANARY_TRIES: usize = 3;
/// How long all canaries together are asked by a run that was stopped: whoever stopped it waits.
const STOPPED: Duration = Duration::from_secs(5);

/// Random numbers of a run, drawn once from the system.
#[derive(Debug, Clone, Copy)]
pub struct RandomSeeds {
    /// Key of the cookie.
    pub cookie: [u8; 16],
    /// Key of the evidence digests.
    pub evidence: [u8; 32],
    /// Salt of canary names.
    pub salt: u64,
    /// Tail of the run id.
    pub id: u16,
}

impl RandomSeeds {
    /// Draws from the system.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn draw() -> Result<Self> {
        let mut b = [0u8; 58];
        getrandom::fill(&mut b).map_err(|e| Failure::new(format!("no randomness: {e}")))?;
        let mut at = 0;
        let mut take = |n: usize| {
            at += n;
            &b[at - n..at]
        };
        let u64_of = |s: &[u8]| s.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let salt = u64_of(take(8));
        let id = u64_of(take(2)) as u16;
        let mut cookie = [0; 16];
        cookie.copy_from_slice(take(16));
        let mut evidence = [0; 32];
        evidence.copy_from_slice(take(32));
        Ok(Self { cookie, evidence, salt, id })
    }
}

/// What is to be scanned, settled before anything is sent.
#[derive(Debug)]
pub struct PreparedScan {
    /// This shard's cells.
    pub walk: PlanOrder,
    /// What the names of targets resolved to, and those that will not be scanned.
    pub gaps: Vec<CoverageGap>,
}

impl PreparedScan {
    /// Logs the targets that will not be scanned.
    pub fn log_refused(&self) {
        for gap in self.gaps.iter().filter(|g| g.effect != GapEffect::Noted) {
            tracing::warn!("{}", mimawari_report::describe_gap(gap));
        }
    }
}

/// Settles the plan: resolves names, narrows to the scope, numbers the cells.
///
/// # Errors
/// When a target lies outside the scope, or nothing is left.
pub async fn prepare(config: &Config) -> Result<PreparedScan> {
    let mut gaps = Vec::new();
    let addrs = match &config.scan.targets {
        None => config.scope.whole(),
        Some(targets) => {
            let mut addrs = targets.addrs().clone();
            if !targets.names().is_empty() {
                let resolution = resolve(config, targets).await?;
                let mut found = Vec::new();
                for (name, ip) in &resolution.inside {
                    found.push((*ip).into());
                    gaps.push(
                        Gap::NameResolved { name: name.to_string(), ip: ip.to_string() }.noted(),
                    );
                }
                for (name, ip) in &resolution.outside {
                    let (name, ip) = (name.to_string(), ip.to_string());
                    gaps.push(Gap::NameOutsideScope { name, ip }.not_covered());
                }
                for (name, why) in &resolution.failed {
                    let partly = resolution.inside.iter().any(|(n, _)| n == name);
                    let (name, reason) = (name.to_string(), why.to_string());
                    gaps.push(Gap::NameUnresolved { name, reason, partly }.not_covered());
                }
                addrs = addrs.union(&AddrSet::from_ranges(found));
            }
            if addrs.is_empty() {
                let why: Vec<String> = gaps.iter().map(describe_gap).collect();
                return Err(Failure::new(format!("no target is left: {}", why.join(" ")))
                    .help("correct the names, or extend `allow` under [scope] if these addresses are yours")
                    .into());
            }
            config.scope.narrow(&addrs).map_err(|e| {
                Failure::new(e.to_string())
                    .help("targets may only narrow the scope; extend `allow` under [scope] if these addresses are yours")
            })?
        }
    };
    let seed = compute_order_seed(addrs.addrs(), &config.scan.ports);
    let plan = CellPlan::new(addrs, config.scan.ports.clone(), seed)
        .map_err(|e| describe_plan_error(&e, config))?;
    let part = choose_part(config, &plan).await?;
    Ok(PreparedScan { walk: plan.walk_part(part, config.scan.shard), gaps })
}

/// The part of the plan whose turn it is: the one that was asked for, else by the state.
async fn choose_part(config: &Config, plan: &CellPlan) -> Result<PlanShard> {
    let (Some(parts), None) = (config.scan.rotate, config.scan.part) else {
        return Ok(config.scan.part.unwrap_or(PlanShard::WHOLE));
    };
    let state = mimawari_store::StateStore::look(&config.state)?.latest().await?.state;
    let digest = PlanFacts::of(plan).digest(parts, &config.vantage);
    let next = mimawari_drift::freshness::select_next_part(state.plans.get(&digest), parts);
    Ok(PlanShard::new(next, parts).unwrap_or(PlanShard::WHOLE))
}

/// A plan that cannot be made, with how long it would have taken.
fn describe_plan_error(e: &mimawari_targets::PlanError, config: &Config) -> Failure {
    let time = e.seconds_at(config.scan.rate).map_or_else(String::new, |seconds| {
        format!(
            ": one packet to each of {} ports would take {} at {} packets per second",
            config.scan.ports.len(),
            mimawari_base::duration::format_duration(seconds),
            config.scan.rate
        )
    });
    Failure::new(format!("{e}{time}")).help(e.help())
}

async fn resolve(
    config: &Config,
    targets: &mimawari_targets::list::TargetList,
) -> Result<dns::NameResolution> {
    Ok(dns::resolve_names(targets.names(), &build_resolver(config)?, &config.scope).await)
}

/// The configured name servers, or the system's.
pub(crate) fn build_resolver(config: &Config) -> Result<dns::SystemResolver> {
    let resolver = if config.scan.nameservers.is_empty() {
        dns::SystemResolver::from_system()
    } else {
        dns::SystemResolver::with_nameservers(&config.scan.nameservers)
    };
    Ok(resolver.map_err(|e| {
        Failure::new("cannot set up name resolution")
            .help("name a server under [scan]: `nameservers = [\"192.0.2.53\"]`")
            .source(e)
    })?)
}

/// Prints `ip,port` lines in probing order. Sends nothing.
///
/// # Errors
/// When stdout cannot be written; a closed pipe is a quiet end.
pub fn dry_run(walk: &PlanOrder, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::with_capacity(1 << 16, out);
    for endpoint in walk.iter() {
        writeln!(out, "{},{}", endpoint.ip(), endpoint.port())?;
    }
    out.flush()
}

/// Which method a run uses, and why.
fn choose_method(config: &Config, opener: &SocketOpener) -> Result<(ScanMethod, Option<String>)> {
    match config.scan.method {
        ScanMethod::Connect => Ok((ScanMethod::Connect, None)),
        ScanMethod::Syn => Ok((ScanMethod::Syn, None)),
        ScanMethod::Auto if opener.run(packet::have_net_raw)? => Ok((ScanMethod::Syn, None)),
        ScanMethod::Auto => {
            let why = opener
                .run(packet::MissingCapability::find)?
                .reason()
                .map(|r| format!(" ({r})"))
                .unwrap_or_default();
            Ok((
                ScanMethod::Connect,
                Some(format!(
                    "no CAP_NET_RAW{why}: full connections instead of SYN packets, slower and with \
                     the same results"
                )),
            ))
        }
    }
}

/// Everything the parts of a run share.
struct SharedState {
    folder: Mutex<RunFolder>,
    /// The first error in writing; the run then stops.
    broken: Mutex<Option<anyhow::Error>>,
    stop: StopSignal,
}

impl SharedState {
    /// Writes through the folder; on failure keeps the error and stops the run.
    fn write(&self, f: impl FnOnce(&mut RunFolder) -> Result<()>) -> ControlFlow<()> {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_some() {
            return ControlFlow::Break(());
        }
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        match f(&mut folder) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                tracing::error!("{}", mimawari_base::failure::render(&e));
                *broken = Some(e);
                self.stop.stop();
                ControlFlow::Break(())
            }
        }
    }
}

/// Where a scan writes.
#[derive(Debug, Clone, Copy)]
pub enum FolderChoice<'a> {
    /// A new run; `None`: a folder of its own among the runs.
    New(Option<&'a Path>),
    /// The folder of a run that did not come to its end.
    Resume(&'a Path),
}

impl<'a> FolderChoice<'a> {
    /// The one that the command line names.
    #[must_use]
    pub fn of(selection: &'a RunSelection) -> Self {
        match &selection.resume {
            Some(dir) => Self::Resume(dir),
            None => Self::New(selection.out.as_deref()),
        }
    }
}

/// What a scan left behind.
#[derive(Debug)]
pub struct ScanOutcome {
    /// The run folder.
    pub dir: PathBuf,
    /// `run.json`.
    pub meta: RunMeta,
    /// Whether everything planned was covered and the promise kept.
    pub complete: bool,
}

/// Runs a scan into a run folder.
///
/// # Errors
/// Configuration and system errors before the sweep; an error in writing after what was seen until
/// then has been kept.
pub async fn scan(
    config: &Config,
    context: &Context,
    seeds: RandomSeeds,
    folder: FolderChoice<'_>,
) -> Result<ScanOutcome> {
    let started_at = (context.now)();
    let mut config = config.clone();
    if let FolderChoice::Resume(dir) = folder
        && config.scan.part.is_none()
    {
        config.scan.part = resume::read_shard(dir)?;
    }
    let config = &config;
    let PreparedScan { walk, mut gaps } = prepare(config).await?;
    let before = match folder {
        FolderChoice::New(_) => None,
        FolderChoice::Resume(dir) => Some(resume::read(dir, config, &walk)?),
    };
    let (before, walk, left) = match before {
        None => (None, walk, AddrSet::default()),
        Some(resume::EarlierRun { meta, walk: old, left }) => {
            (Some(meta), old.unwrap_or(walk), left)
        }
    };
    if !left.is_empty() {
        let named = NamedSample::take(left.ranges(), ends::SHOWN);
        gaps.push(Gap::AddressesLeftScope { named }.noted());
    }
    let vhosts = look::read_vhosts(config)?;
    let checks = look::read_checks(config)?;
    let names =
        if vhosts.is_some() && config.http.dns { Some(build_resolver(config)?) } else { None };
    let scope = Arc::new(config.scope.clone());
    let (method, why) = choose_method(config, &context.opener)?;
    if let Some(why) = why {
        tracing::warn!("{why}");
        gaps.push(Gap::ConnectMethod { reason: why }.noted());
    }
    // Second looks and requests leave by the interface of the sweep.
    let budget = Arc::new(PacketBudget::new(
        config.scan.rate,
        config.scan.rate_per_host,
        config.scan.rate_per_network,
    ));
    // The sweep is charged with what leaves by the gate; its own connections do not pass it.
    let direct = config.scan.uplink();
    let uplink = direct.clone().behind(Arc::clone(&budget) as Arc<dyn PacketGate>);
    // Sockets first: nothing is left behind when they cannot be had.
    let packets = match method {
        ScanMethod::Syn => match open_packets(config, &walk, &scope, seeds, &context.opener) {
            Ok(packets) => Some(packets),
            Err(e) if config.scan.method == ScanMethod::Auto && e.is_refusal() => {
                let why = format!("{e}: full connections instead of SYN packets");
                tracing::warn!("{why}");
                gaps.push(Gap::ConnectMethod { reason: why }.noted());
                None
            }
            Err(e) => return Err(Failure::new(e.to_string()).help(e.help()).into()),
        },
        _ => None,
    };
    let run_id = before.as_ref().map_or_else(|| run_id(started_at, seeds.id), |b| b.run_id.clone());
    let dir = match folder {
        FolderChoice::New(None) => config.runs_dir.join(&run_id),
        FolderChoice::New(Some(dir)) | FolderChoice::Resume(dir) => dir.to_owned(),
    };
    let mut resumed_at = before.as_ref().map_or_else(Vec::new, |b| b.resumed_at.clone());
    resumed_at.extend(before.is_some().then_some(started_at));
    let mut meta = RunMeta {
        version: meta::VERSION,
        minor: meta::MINOR,
        run_id,
        status: RunStatus::Running,
        started_at: before.as_ref().map_or(started_at, |b| b.started_at),
        ended_at: None,
        resumed_at,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        vantage: config.vantage.clone(),
        scope: ScopeFacts::of(&config.scope),
        plan: PlanFacts::of(walk.plan()),
        shard: walk.shard(),
        part: Some(walk.part()).filter(|p| *p != PlanShard::WHOLE),
        method: if packets.is_some() { "syn" } else { "connect" }.to_owned(),
        rate_asked: config.scan.rate,
        rate_reached: 0.0,
        recall_promised: config.scan.recall,
        frames_refused: 0,
        sweep: None,
        canaries: Vec::new(),
        http: HttpTotals { tier: config.http.tier, ..HttpTotals::default() },
        merged: Vec::new(),
        gaps,
    };
    let (folder, point, seen) = match folder {
        FolderChoice::New(_) => (RunFolder::create(&dir, &meta)?, None, Vec::new()),
        FolderChoice::Resume(_) => {
            let (folder, saved, seen) = RunFolder::resume(&dir)?;
            let point = saved.map(|s| s.sweep);
            meta.gaps.push(resume::build_resume_gap(point.as_ref(), walk.len(), started_at));
            folder.describe(&meta)?;
            (folder, point, seen)
        }
    };
    let checkpoints = folder.checkpointer()?;
    tracing::info!(
        run = meta.run_id,
        cells = walk.len(),
        addresses = walk.plan().addrs().addrs().len() as u64,
        ports = walk.plan().ports().len(),
        method = meta.method,
        rate = config.scan.rate,
        "scan begins"
    );
    let shared = Arc::new(SharedState {
        folder: Mutex::new(folder),
        broken: Mutex::new(None),
        stop: context.stop.clone(),
    });
    let (open_tx, open_rx) = mpsc::unbounded_channel();
    let waiting = Arc::new(WaitingPorts::new(Arc::clone(&budget)));
    let sockets = SocketShares::of(sockets::determine_socket_budget(), packets.is_none());
    let look_again = ServiceLook {
        shared: Arc::clone(&shared),
        scope: Arc::clone(&scope),
        ports: walk.plan().ports().clone(),
        // Parts and shards hold about their share of each host's ports.
        share: walk.plan().ports().len().div_ceil(walk.part().count() * walk.shard().count()),
        salt: seeds.salt,
        at_once: sockets.confirming,
        sites: config.http.enabled.then(|| match &config.http.ports {
            None => SitePorts::Open,
            Some(ports) => SitePorts::Listed(ports.clone()),
        }),
        now: context.now,
        uplink: uplink.clone(),
        waiting: Arc::clone(&waiting),
    };
    let confirming = tokio::spawn(look_again.confirm_all(open_rx));
    // What was seen before the end of the former process is confirmed again: its sites are looked
    // at in this one.
    let seen: Vec<OpenedPort> =
        seen.into_iter().filter_map(|t| resume::read_opened_port(config, &t)).collect();
    for opened in &seen {
        waiting.enter();
        let _ = open_tx.send(opened.clone());
    }
    let deadline = ScanDeadline::start(config.scan.deadline, &context.stop);
    let job = SweepPlan {
        walk,
        point,
        packets,
        checkpoints,
        connections: sockets.sweeping,
        uplink: direct,
        budget,
        left,
    };
    let mut swept = sweep(config, context, job, &scope, &shared, (open_tx, waiting)).await;
    if let Ok(swept) = &mut swept {
        swept.open.extend(seen.iter().map(|o| o.endpoint.socket_addr()));
    }
    let confirmed = confirming.await.context("the confirming task ended early")?;
    let swept = match swept {
        Ok(swept) => swept,
        Err(e) => {
            meta.status = RunStatus::Failed;
            meta.ended_at = Some((context.now)());
            meta.gaps.push(Gap::SweepFailed { reason: e.to_string() }.not_covered());
            let _ = shared.write(|f| f.finish(&meta));
            return Err(e);
        }
    };
    swept.describe(&mut meta);
    meta.gaps.extend(confirmed.gaps.iter().cloned());
    let looking = look::ContentLook {
        config,
        context,
        seeds,
        vhosts,
        checks,
        resolver: names,
        shared: Arc::clone(&shared),
        uplink: uplink.clone(),
    };
    looking.run(&confirmed, &mut meta).await?;
    let was_probed = |step| mimawari_runs::read_state(&dir, step) != CellState::NotProbed;
    let asked = CanaryContext { config, context, uplink: &uplink };
    probe_canaries(asked, &mut meta, &swept.open, &confirmed.accepted, was_probed).await;
    meta.ended_at = Some((context.now)());
    meta.status = if context.stop.is_stopped() { RunStatus::Stopped } else { RunStatus::Complete };
    if meta.status == RunStatus::Stopped {
        meta.gaps.insert(0, deadline.gap().unwrap_or(Gap::Stopped).not_covered());
    }
    let broken = shared.broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(e) = broken {
        meta.status = RunStatus::Failed;
        meta.gaps.insert(0, Gap::WriteFailed { reason: e.to_string() }.not_covered());
        // The disk may have room for the smaller file, or for the end of this one.
        let mut folder = shared.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = folder.finish(&meta);
        return Err(e);
    }
    shared.folder.lock().unwrap_or_else(PoisonError::into_inner).finish(&meta)?;
    let complete = meta.is_whole();
    Ok(ScanOutcome { dir, meta, complete })
}

/// Stops a run that takes too long, as SIGTERM would.
struct ScanDeadline {
    after: Duration,
    passed: Arc<AtomicBool>,
    timer: Option<tokio::task::JoinHandle<()>>,
}

impl ScanDeadline {
    fn start(after: Option<Duration>, stop: &StopSignal) -> Self {
        let passed = Arc::new(AtomicBool::new(false));
        let timer = after.map(|after| {
            let (passed, stop) = (Arc::clone(&passed), stop.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                // Whoever was stopped before was not stopped by this.
                if !stop.is_stopped() {
                    tracing::warn!("the deadline is reached: stopping, and writing everything");
                    passed.store(true, Ordering::Relaxed);
                    stop.stop();
                }
            })
        });
        Self { after: after.unwrap_or_default(), passed, timer }
    }

    /// The gap, if it was this that stopped the run.
    fn gap(&self) -> Option<Gap> {
        let passed = self.passed.load(Ordering::Relaxed);
        passed.then_some(Gap::DeadlineReached { seconds: self.after.as_secs_f64() })
    }
}

impl Drop for ScanDeadline {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
}

fn open_packets(
    config: &Config,
    walk: &PlanOrder,
    scope: &Arc<Scope>,
    seeds: RandomSeeds,
    opener: &SocketOpener,
) -> Result<PacketSweep, PacketError> {
    let packet_config = PacketConfig {
        interface: config.scan.interface.clone(),
        sources: config.scan.sources.clone(),
        first_source_port: config.scan.source_port,
        key: seeds.cookie,
        seed: seeds.salt,
        receivers: packet::select_receiver_count(config.scan.rate),
        senders: packet::select_sender_count(config.scan.rate),
        // Questions to neighbours count toward the rate, and never fill all of it for long.
        solicitations: config.scan.rate.clamp(1, packet::neighbour::RATE),
        ..PacketConfig::default()
    };
    let (walk, scope) = (walk.clone(), Arc::clone(scope));
    opener
        .run(move || PacketSweep::open(&walk, scope, &packet_config))
        .map_err(|source| PacketError::Io { operation: "opening sockets".to_owned(), source })?
}

/// What the sweep came to.
struct SweepOutcome {
    summary: SweepSummary,
    rate_reached: f64,
    frames_refused: u64,
    open: BTreeSet<SocketAddr>,
    /// States of cells that are not covered, by port, for a sentence.
    walk_len: u64,
    gaps: Vec<Gap>,
}

impl SweepOutcome {
    fn describe(&self, meta: &mut RunMeta) {
        let s = &self.summary;
        meta.rate_reached = (self.rate_reached * 10.0).round() / 10.0;
        meta.frames_refused = self.frames_refused;
        meta.gaps.extend(s.gaps.iter().cloned().map(Gap::noted));
        // Targets without a way are named where the uncovered cells are.
        meta.gaps.extend(self.gaps.iter().cloned().map(|gap| match gap {
            Gap::NoRoute { .. } | Gap::PathUnusable { .. } => gap.not_covered(),
            gap => gap.noted(),
        }));
        let missing = s.not_probed.saturating_sub(s.excluded);
        if missing > 0 {
            let (cells, of) = (missing, self.walk_len);
            meta.gaps.push(Gap::CellsNotProbed { cells, of }.not_covered());
        }
        if !s.promise_kept {
            let (promised, estimate) = (meta.recall_promised, s.recall_estimate);
            meta.gaps.push(Gap::RecallNotReached { promised, estimate }.not_covered());
        }
        meta.sweep = Some(s.clone());
    }
}

/// What is to be swept, and from where on.
struct SweepPlan {
    walk: PlanOrder,
    /// Where another process was.
    point: Option<SweepCheckpoint>,
    /// SYN packets; `None`: full connections.
    packets: Option<PacketSweep>,
    checkpoints: CheckpointWriter,
    /// How many connections the connect method makes at once.
    connections: usize,
    /// How connections leave.
    uplink: Uplink,
    /// What leaves beside the sweep.
    budget: Arc<PacketBudget>,
    /// Addresses of the walk that left the scope.
    left: AddrSet,
}

/// What each part of a run may open at once, of the sockets that the limits of this machine allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SocketShares {
    sweeping: usize,
    confirming: usize,
}

impl SocketShares {
    /// Shares of a budget; the sweep needs sockets where it makes full connections.
    fn of(budget: usize, connects: bool) -> Self {
        // A second look has more than one socket at times, while one is being closed.
        let most = confirm::CONFIRM_AT_ONCE;
        let confirming = if connects { budget / 4 } else { budget / 2 }.clamp(1, most);
        Self { sweeping: budget.saturating_sub(2 * confirming).max(1), confirming }
    }
}

/// How often a checkpoint is made. With what is repeated for the sake of answers under way, no more
/// than a second of probes is doubled by a resumption.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(450);

/// Runs the sweep and writes what it finds. Packet loops have a thread of their own, so that the
/// confirming connections are never late because of them.
async fn sweep(
    config: &Config,
    context: &Context,
    job: SweepPlan,
    scope: &Arc<Scope>,
    shared: &Arc<SharedState>,
    (opened, waiting): (mpsc::UnboundedSender<OpenedPort>, Arc<WaitingPorts>),
) -> Result<SweepOutcome> {
    let SweepPlan { walk, point, packets, checkpoints, connections, uplink, budget, left } = job;
    let walk_len = walk.len();
    let mut view = ProgressView::new(walk_len, context.log_format, context.quiet);
    let sweep_config = SweepConfig {
        rate: config.scan.rate,
        auto: config.scan.rate_auto,
        per_host: config.scan.rate_per_host,
        per_network: config.scan.rate_per_network,
        recall: config.scan.recall,
        ..SweepConfig::default()
    };
    let spacing = sweep_config.spacing;
    let mut engine = match &point {
        None => SweepEngine::new(walk, sweep_config),
        Some(point) => SweepEngine::resume(walk, sweep_config, point).map_err(|e| {
            Failure::new(format!("cannot go on with the run: {e}"))
                .help("run the scan again into another folder")
        })?,
    };
    engine.exclude(left);
    let sent_before = engine.progress().sent;
    let recorder = SweepRecorder {
        shared: Arc::clone(shared),
        opened,
        waiting,
        canaries: config.scan.canaries.iter().copied().collect(),
        now: context.now,
    };
    let mut open = BTreeSet::new();
    let saving = Arc::clone(shared);
    let mut saved_at = Duration::ZERO;
    let mut on_tick = move |at: Duration, sweep: &SweepEngine| {
        view.show(at, &sweep.progress());
        if at >= saved_at + CHECKPOINT_EVERY
            && let Some(point) = sweep.checkpoint()
        {
            saved_at = at;
            let folder = saving.folder.lock().unwrap_or_else(PoisonError::into_inner);
            checkpoints.offer(folder.save(point));
        }
    };
    let on_event =
        move |event: SweepEvent, open: &mut BTreeSet<SocketAddr>| recorder.record(event, open);
    let (summary, seconds, refused, gaps) = match packets {
        Some(mut packets) => {
            packets.share_budget(budget);
            let stop = context.stop.clone();
            let handle = std::thread::Builder::new()
                .name("sweep".to_owned())
                .spawn(move || {
                    let begun = Instant::now();
                    let result = packets.run(
                        &mut engine,
                        stop.flag(),
                        &mut |event| on_event(event, &mut open),
                        &mut |sweep| on_tick(begun.elapsed(), sweep),
                    );
                    (result, engine.summary(), open)
                })
                .context("cannot start the sweep's thread")?;
            let (result, summary, seen) = tokio::task::spawn_blocking(move || handle.join())
                .await
                .context("waiting for the sweep")?
                .map_err(|_| Failure::new("the sweep ended by a defect of this program"))?;
            open = seen;
            let s = result.map_err(|e| Failure::new(e.to_string()).help(e.help()))?;
            (summary, s.seconds, s.frames_refused_by_scope, s.gaps)
        }
        None => {
            let setup = connect::ConnectSetup {
                scope,
                at_once: connections,
                uplink: &uplink,
                beside: &budget,
                patience: spacing,
            };
            let s = connect::run(
                &mut engine,
                &setup,
                &context.stop,
                |event| on_event(event, &mut open),
                on_tick,
            )
            .await;
            (engine.summary(), s.seconds, s.refused_by_scope, Vec::new())
        }
    };
    let sent = summary.sent.saturating_sub(sent_before);
    let rate_reached = if seconds > 0.0 { sent as f64 / seconds } else { 0.0 };
    Ok(SweepOutcome { summary, rate_reached, frames_refused: refused, open, walk_len, gaps })
}

/// Writes what the sweep finds, and hands open ports over to their second look.
struct SweepRecorder {
    shared: Arc<SharedState>,
    opened: mpsc::UnboundedSender<OpenedPort>,
    waiting: Arc<WaitingPorts>,
    canaries: BTreeSet<SocketAddr>,
    now: fn() -> Timestamp,
}

impl SweepRecorder {
    /// Takes an event; `open`: the canaries that were seen open.
    fn record(&self, event: SweepEvent, open: &mut BTreeSet<SocketAddr>) -> ControlFlow<()> {
        let Self { shared, opened, waiting, canaries, now } = self;
        let line = |endpoint: Endpoint, state, attempt, ttl, at| {
            Observation::Tcp(TcpObservation {
                ip: endpoint.ip(),
                port: endpoint.port(),
                state,
                at,
                attempt,
                ttl,
                confirmed: false,
                second_look: None,
                service: None,
            })
        };
        match event {
            SweepEvent::Open { endpoint, attempt, ttl, signs } => {
                let at = now();
                if canaries.contains(&endpoint.socket_addr()) {
                    open.insert(endpoint.socket_addr());
                }
                // Written at once, unconfirmed: what was seen survives SIGKILL.
                let flow = shared
                    .write(|f| f.observe(&[line(endpoint, CellState::Open, attempt, ttl, at)]));
                waiting.enter();
                let _ = opened.send(OpenedPort { endpoint, attempt, ttl, signs, at });
                flow
            }
            SweepEvent::Prohibited { endpoint, attempt, ttl } => shared.write(|f| {
                f.observe(&[line(endpoint, CellState::Prohibited, attempt, ttl, now())])
            }),
            SweepEvent::Chunk(chunk) => shared.write(|f| f.cover(&chunk)),
            SweepEvent::Amended { step, state } => shared.write(|f| f.amend(step, state)),
        }
    }
}

/// By which way canaries are asked.
#[derive(Clone, Copy)]
struct CanaryContext<'a> {
    config: &'a Config,
    context: &'a Context,
    uplink: &'a Uplink,
}

/// Asks the canaries. One that the sweep should have seen must have been seen by the sweep: the
/// canary tests the method, not the host.
async fn probe_canaries(
    asked: CanaryContext<'_>,
    meta: &mut RunMeta,
    swept_open: &BTreeSet<SocketAddr>,
    accepted: &BTreeSet<SocketAddr>,
    was_probed: impl Fn(u64) -> bool,
) {
    let CanaryContext { config, context, .. } = asked;
    let walk = meta.walk().ok();
    let until = tokio::time::Instant::now() + STOPPED;
    for canary in &config.scan.canaries {
        let Some(port) = Port::new(canary.port()) else { continue };
        let step = walk.as_ref().and_then(|w| w.step_of(canary.ip(), port));
        // A sweep that was stopped may not have come to it.
        let swept = step.is_some_and(|step| !context.stop.is_stopped() || was_probed(step));
        let answered = if swept || swept_open.contains(canary) {
            swept_open.contains(canary)
        } else {
            accepted.contains(canary) || ask_canary(asked, *canary, until).await
        };
        if !answered {
            meta.gaps.push(Gap::CanarySilent { canary: canary.to_string() }.not_covered());
        }
        meta.canaries.push(CanaryFacts { endpoint: canary.to_string(), answered });
    }
}

async fn ask_canary(
    asked: CanaryContext<'_>,
    canary: SocketAddr,
    until: tokio::time::Instant,
) -> bool {
    let CanaryContext { config, context, uplink } = asked;
    let Some(endpoint) =
        Port::new(canary.port()).and_then(|p| config.scope.endpoint(canary.ip(), p).ok())
    else {
        return false;
    };
    for n in 0..CANARY_TRIES {
        let stopped = context.stop.is_stopped();
        // What a stopped run saw is judged as well, so that it is asked once even then.
        if stopped && n > 0 {
            return false;
        }
        let mut limit = Duration::from_secs(3);
        if stopped {
            limit = until.saturating_duration_since(tokio::time::Instant::now()).min(limit);
        }
        let address = endpoint.socket_addr();
        let Ok(socket) = uplink.socket_to(address) else { continue };
        if matches!(tokio::time::timeout(limit, socket.connect(address)).await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}
