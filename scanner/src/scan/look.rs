//! Looking for published files on every web endpoint: what is needed for it, and what becomes of
//! the observations.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufReader, Read as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mimawari_base::failure::Failure;
use mimawari_base::sockets;
use mimawari_base::source_path::SourcePath;
use mimawari_base::uplink::Uplink;
use mimawari_drift::verdict::FindingState;
use mimawari_look::http::{
    self, KnownPaths, ProbeProgress, SiteTargets, SkippedRows, VhostIndex, VirtualHost, WebTarget,
};
use mimawari_probes::gap::{Gap, ManifestIdle, NamedSample, VhostIdle};
use mimawari_probes::http::Catalogue;
use mimawari_probes::http::manifest::Manifest;
use mimawari_probes::observation::{
    ContentOutcome, HttpObservation, Observation, Severity, WebObservation,
};
use mimawari_runs::meta::RunMeta;
use mimawari_targets::diagnostic::TextSource;
use mimawari_targets::dns::SystemResolver;
use mimawari_targets::text::to_printable;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::confirm::ConfirmedPort;
use super::named::{IdleSite, find_idle_sites, find_named_ports};
use super::{Context, RandomSeeds, SharedState};
use crate::config::Config;
use crate::logging::{ContentProgress, ContentView};

/// How many virtual hosts or sites are named in a note.
const SHOWN: usize = 5;

/// How long one site may take, by tier: a slow site needs a fifth of a second for an answer, and
/// there are about 60, 350 and 1,500 paths.
const TIME_PER_SITE: [Duration; 3] =
    [Duration::from_secs(300), Duration::from_secs(600), Duration::from_secs(1800)];

/// So many published files are logged one by one.
const FOUND_LOGGED: u64 = 1_000;

/// Longest address of a published file in the log, characters.
const URL_LIMIT: usize = 512;

/// Batches of observations that may wait to be written.
const WAITING: usize = 64;

/// How much of a key file is read, bytes.
const KEY_LIMIT: u64 = 64 << 10;

/// What is looked for.
#[derive(Debug, Clone)]
pub(super) struct CheckSources {
    catalogue: Arc<Catalogue>,
    manifests: Vec<Arc<Manifest>>,
    evidence_key: Option<[u8; 32]>,
}

/// Reads the user's own checks, the manifests and the evidence key: what is wrong with them stops a
/// run before a packet is sent.
pub(super) fn read_checks(config: &Config) -> Result<CheckSources> {
    let catalogue = load_catalogue(&config.http.checks)?;
    let mut manifests = Vec::new();
    for path in &config.http.manifests {
        let file = std::fs::File::open(path).map_err(|e| {
            Failure::new(format!("cannot read the manifest {}", path.display()))
                .help("make it on the web host with `mimawari manifest DOCROOT --host NAME --out FILE`")
                .source(e)
        })?;
        manifests
            .push(Arc::new(Manifest::read(&path.display().to_string(), BufReader::new(file))?));
    }
    let evidence_key = config.http.evidence_key.as_ref().map(read_evidence_key).transpose()?;
    Ok(CheckSources { catalogue: Arc::new(catalogue), manifests, evidence_key })
}

/// The checks that come with the program, and those of the user's files.
///
/// # Errors
/// A file that cannot be read; every mistake of the first file that has one.
pub fn load_catalogue(files: &[SourcePath]) -> Result<Catalogue> {
    let mut catalogue = Catalogue::builtin();
    for path in files {
        let bytes = std::fs::read(path).map_err(|e| {
            Failure::new(format!("cannot read the checks {}", path.display()))
                .help("name a file of the form that `mimawari checks --help` shows")
                .source(e)
        })?;
        catalogue.add(&TextSource::from_bytes(path.display().to_string(), bytes)?)?;
    }
    Ok(catalogue)
}

/// The key in a file: whatever stands in its first 64 KiB, white space around it aside.
///
/// # Errors
/// A file that cannot be read, or holds fewer than 16 bytes.
pub fn read_evidence_key(path: &SourcePath) -> Result<[u8; 32]> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(KEY_LIMIT).read_to_end(&mut bytes)).map_err(
        |e| {
            Failure::new(format!("cannot read the evidence key in `{}`", path.display()))
                .help("make one with `openssl rand -hex 32 > FILE`")
                .source(e)
        },
    )?;
    let key = bytes.trim_ascii();
    if key.len() < 16 {
        return Err(Failure::new(format!("the evidence key in `{}` is too short", path.display()))
            .help("it needs 16 bytes at least; make one with `openssl rand -hex 32 > FILE`")
            .into());
    }
    Ok(Sha256::digest(key).into())
}

/// Indexes the list of virtual hosts.
pub(crate) fn read_vhosts(config: &Config) -> Result<Option<VhostIndex>> {
    let Some(path) = config.http.vhosts.as_ref().filter(|_| config.http.enabled) else {
        return Ok(None);
    };
    let vhosts = VhostIndex::open(path, &config.scope, &std::env::temp_dir())?;
    for row in &vhosts.skipped().shown {
        tracing::warn!("a row of the list of virtual hosts is skipped: {row}");
    }
    Ok(Some(vhosts))
}

/// Reads the list of virtual hosts as a run would: how many rows it has, and which cannot be used.
///
/// # Errors
/// A list that cannot be read.
pub fn read_sites(config: &Config) -> Result<(u64, SkippedRows)> {
    let vhosts = read_vhosts(config)?;
    Ok(vhosts.map_or_else(Default::default, |v| (v.rows(), v.skipped().clone())))
}

/// What was found before, from this vantage: it is asked for with patience. A state that cannot be
/// read is reported by whoever needs it.
async fn load_known_paths(config: &Config) -> KnownPaths {
    let mut known = KnownPaths::default();
    let state = match mimawari_store::StateStore::look(&config.state) {
        Ok(store) => store.latest().await,
        Err(e) => Err(e),
    };
    let state = match state {
        Ok(latest) => latest.state,
        Err(e) => {
            tracing::debug!("the state is not used for the look: {e}");
            return known;
        }
    };
    for tracked in state.findings.values() {
        let f = &tracked.finding;
        let active = !matches!(f.state, FindingState::Resolved | FindingState::OutOfScope);
        if active
            && f.kind.is_content()
            && f.vantage == config.vantage
            && let (Some(port), Some(path)) = (f.port, &f.path)
        {
            known.add(f.ip, port, f.host.as_deref(), path);
        }
    }
    known
}

/// The look, ready to run.
pub(super) struct ContentLook<'a> {
    pub config: &'a Config,
    pub context: &'a Context,
    pub seeds: RandomSeeds,
    pub vhosts: Option<VhostIndex>,
    pub checks: CheckSources,
    /// Set where DNS is to be asked about the virtual hosts.
    pub resolver: Option<SystemResolver>,
    pub shared: Arc<SharedState>,
    /// How connections leave.
    pub uplink: Uplink,
}

impl ContentLook<'_> {
    /// Looks at every web endpoint and virtual host, and writes what is seen.
    pub(super) async fn run(self, confirmed: &ConfirmedPort, meta: &mut RunMeta) -> Result<()> {
        let config = &self.config.http;
        if !config.enabled {
            meta.gaps.push(Gap::ContentChecksOff.noted());
            return Ok(());
        }
        let listed: Vec<WebTarget> = confirmed
            .web
            .iter()
            .filter(|(endpoint, _)| {
                config.ports.as_ref().is_none_or(|p| p.contains(endpoint.port()))
            })
            .map(|(endpoint, scheme)| WebTarget {
                endpoint: *endpoint,
                scheme: *scheme,
                host: None,
            })
            .collect();
        let mut targets =
            SiteTargets { listed, vhosts: self.vhosts.clone(), ..SiteTargets::default() };
        if let Some(vhosts) = &self.vhosts {
            let unproven = confirmed.list_unproven();
            let (ports, stop) = (config.ports.as_ref(), &self.context.stop);
            targets.named = find_named_ports(&unproven, vhosts, ports, &self.uplink, stop).await;
            note_skipped(vhosts, meta);
            note_idle(self.idle(vhosts, &targets, meta), meta);
        }
        self.note_manifests(&targets.listed, meta);
        if targets.listed.is_empty() && targets.named.is_empty() && self.resolver.is_none() {
            return Ok(());
        }
        let http_config = Arc::new(http::HttpConfig {
            catalogue: Arc::clone(&self.checks.catalogue),
            tier: config.tier,
            known: Arc::new(load_known_paths(self.config).await),
            manifests: self.checks.manifests.clone(),
            paths_per_target: config.paths_per_site,
            // A site has two connections at most, and one more while another is being closed.
            targets_at_once: config.concurrency.min(sockets::determine_socket_budget() / 3).max(1),
            per_target_time: TIME_PER_SITE[usize::from(config.tier.clamp(1, 3)) - 1],
            rate_per_site: config.rate_per_site,
            rate_per_address: config.rate_per_address,
            rate_per_network: config.rate_per_network,
            uplink: self.uplink.clone(),
            user_agent: config.user_agent.clone(),
            evidence_key: self.checks.evidence_key.unwrap_or(self.seeds.evidence),
            salt: self.seeds.salt,
            now: self.context.now,
            ..http::HttpConfig::default()
        });
        tracing::info!(
            endpoints = targets.listed.len() + targets.named.len(),
            listed = self.vhosts.as_ref().map_or(0, VhostIndex::rows),
            "looking for published files"
        );
        let (tx, rx) = mpsc::channel(WAITING);
        let unseen = self.vhosts.as_ref().map(|v| {
            let idle = self.idle(v, &targets, meta);
            idle.map(|(v, _)| (v.host, v.ip))
        });
        let mut tally = ContentTally::default();
        let view = ContentView::new(self.context.log_format, self.context.quiet);
        let progress = Arc::clone(&http_config.progress);
        let mut showing = JoinSet::new();
        showing.spawn(show_progress(view, progress, Arc::clone(&tally.found)));
        let looking = tokio::spawn(http::look(targets, http_config, self.context.stop.watch(), tx));
        match &self.resolver {
            None => self.write(rx, meta, &mut tally).await,
            Some(resolver) => {
                let unseen = unseen.into_iter().flatten();
                self.write_with_names(rx, unseen, resolver, meta, &mut tally).await;
            }
        }
        showing.shutdown().await;
        let looked = looking.await.context("the path prober ended early")?.map_err(|e| {
            Failure::new("cannot start the path prober")
                .help("raise the limit of threads")
                .source(e)
        })?;
        meta.http.targets = looked.targets;
        meta.gaps.extend(looked.problems.into_iter().map(Gap::not_covered));
        if looked.moved > 0 {
            let (sites, named) = (looked.moved, looked.moved_first);
            meta.gaps.push(Gap::SitesMoved { sites, named }.noted());
        }
        let missing = meta.http.checks_planned - meta.http.checks_covered;
        if missing > 0 {
            let sites = tally.failed.iter().map(|(site, n)| format!("{site} ({n})"));
            let named = NamedSample::take(sites, SHOWN);
            let (checks, of) = (missing, meta.http.checks_planned);
            meta.gaps.push(Gap::ChecksUnanswered { checks, of, named }.not_covered());
        }
        Ok(())
    }

    fn idle(
        &self,
        vhosts: &VhostIndex,
        targets: &SiteTargets,
        meta: &RunMeta,
    ) -> impl Iterator<Item = (VirtualHost, IdleSite)> + use<> {
        let (plan, ports) = (&meta.plan.addresses, &meta.plan.ports);
        find_idle_sites(vhosts, targets, plan, ports, self.config.http.ports.as_ref())
    }

    /// Writes the observations as they come.
    async fn write(
        &self,
        mut rx: mpsc::Receiver<Vec<Observation>>,
        meta: &mut RunMeta,
        tally: &mut ContentTally,
    ) {
        while let Some(batch) = rx.recv().await {
            tally.count(&batch, meta);
            let _ = self.shared.write(|f| f.observe(&batch));
        }
    }

    /// The same, and each site's record waits for what DNS says of its name. Names that were not probed
    /// are resolved last.
    async fn write_with_names(
        &self,
        mut rx: mpsc::Receiver<Vec<Observation>>,
        mut unseen: impl Iterator<Item = (String, IpAddr)>,
        resolver: &SystemResolver,
        meta: &mut RunMeta,
        tally: &mut ContentTally,
    ) {
        let (ask, names) = mpsc::channel(WAITING);
        let (out, mut answers) = mpsc::channel(WAITING);
        let at_once = mimawari_targets::dns::NAMES_AT_ONCE;
        let checking =
            http::pointing::check_names(names, resolver, &self.config.scope, at_once, out);
        let working = async {
            let (mut ask, mut open, mut answering) = (Some(ask), true, true);
            let mut waiting: HashMap<(String, IpAddr), Vec<Box<WebObservation>>> = HashMap::new();
            let mut to_ask: VecDeque<(String, IpAddr)> = VecDeque::new();
            while open || (answering && !self.context.stop.is_stopped()) {
                if !open && to_ask.is_empty() {
                    match unseen.next() {
                        Some(name) => to_ask.push_back(name),
                        // The check comes to its end, and with it its answers.
                        None => ask = None,
                    }
                }
                tokio::select! {
                    batch = rx.recv(), if open => {
                        let Some(batch) = batch else { open = false; continue };
                        tally.count(&batch, meta);
                        let mut rest = Vec::with_capacity(batch.len());
                        for o in batch {
                            match o {
                                Observation::Web(web) if answering && web.host.is_some() => {
                                    let key = (web.host.clone().unwrap_or_default(), web.ip);
                                    let of = waiting.entry(key.clone()).or_default();
                                    if of.is_empty() {
                                        to_ask.push_back(key);
                                    }
                                    of.push(web);
                                }
                                o => rest.push(o),
                            }
                        }
                        let _ = self.shared.write(|f| f.observe(&rest));
                    }
                    permit = reserve_slot(ask.as_ref()), if !to_ask.is_empty() => {
                        if let (Some(permit), Some(key)) = (permit, to_ask.pop_front()) {
                            permit.send(key);
                        }
                    }
                    answer = answers.recv(), if answering => {
                        let Some((name, ip, pointing)) = answer else {
                            // At its end, or given up: what waits goes without.
                            answering = false;
                            to_ask.clear();
                            continue;
                        };
                        let sites = waiting.remove(&(name, ip)).unwrap_or_default();
                        let sites: Vec<Observation> = sites
                            .into_iter()
                            .map(|web| Box::new(WebObservation { dns: Some(pointing), ..*web }))
                            .map(Observation::Web)
                            .collect();
                        let _ = self.shared.write(|f| f.observe(&sites));
                    }
                }
            }
            let left: Vec<Observation> =
                waiting.into_values().flatten().map(Observation::Web).collect();
            let _ = self.shared.write(|f| f.observe(&left));
            // Whoever still asks ends when nobody listens.
            drop(answers);
        };
        let (summary, ()) = tokio::join!(checking, working);
        meta.gaps.extend(summary.gaps().into_iter().map(Gap::noted));
    }

    /// Notes manifests that no request was made for, and how old they are.
    fn note_manifests(&self, listed: &[WebTarget], meta: &mut RunMeta) {
        for manifest in &self.checks.manifests {
            let hosts = manifest.hosts();
            let named = hosts.first().map_or_else(
                || manifest.ips().first().map(ToString::to_string).unwrap_or_default(),
                Clone::clone,
            );
            if manifest.unreadable() > 0 {
                let (site, files) = (named.clone(), manifest.unreadable());
                meta.gaps.push(Gap::ManifestUnreadable { site, files }.not_covered());
            }
            let by_address = hosts.is_empty()
                && !listed.iter().any(|t| manifest.concerns(None, t.endpoint.ip()));
            let by_name = !hosts.is_empty() && self.vhosts.is_none();
            if by_address || by_name {
                let reason =
                    if by_name { ManifestIdle::NotListed } else { ManifestIdle::NoOpenPort };
                meta.gaps.push(Gap::ManifestNotAsked { site: named, reason }.not_covered());
            }
        }
    }
}

type FailedSites = BTreeMap<String, u64>;

/// What came of the checks so far.
#[derive(Default)]
struct ContentTally {
    /// The sites without an answer, and how often.
    failed: FailedSites,
    /// Published files, for whoever shows the progress.
    found: Arc<AtomicU64>,
}

impl ContentTally {
    /// Counts, and logs what was found as it comes.
    fn count(&mut self, batch: &[Observation], meta: &mut RunMeta) {
        for o in batch {
            let Observation::Http(h) = o else { continue };
            meta.http.checks_planned += 1;
            if h.outcome.is_covered() {
                meta.http.checks_covered += 1;
            } else if self.failed.len() < 10_000 {
                *self.failed.entry(format_site(h)).or_default() += 1;
            }
            if h.outcome == ContentOutcome::Exposed && h.severity != Severity::Info {
                self.log(h);
            }
        }
    }

    fn log(&self, h: &HttpObservation) {
        let found = self.found.fetch_add(1, Ordering::Relaxed) + 1;
        if found > FOUND_LOGGED {
            return;
        }
        let url = format!("{}{}", format_site(h), h.path);
        let url = to_printable(url.as_bytes(), URL_LIMIT);
        tracing::info!(check = h.check, severity = h.severity.as_str(), ip = %h.ip, url, "found");
        if found == FOUND_LOGGED {
            tracing::info!("found {found} so far; the others are in the run folder alone");
        }
    }
}

fn format_site(h: &HttpObservation) -> String {
    let host = h.host.clone().unwrap_or_else(|| h.ip.to_string());
    format!("{}://{host}:{}", h.scheme.as_str(), h.port)
}

/// Shows how the probing goes, until it is dropped.
async fn show_progress(mut view: ContentView, progress: Arc<ProbeProgress>, found: Arc<AtomicU64>) {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(view.every());
    loop {
        ticks.tick().await;
        let found = found.load(Ordering::Relaxed);
        view.show(began.elapsed(), &ContentProgress { counts: progress.counts(), found });
    }
}

/// A place among the questions.
async fn reserve_slot(
    ask: Option<&mpsc::Sender<(String, IpAddr)>>,
) -> Option<mpsc::Permit<'_, (String, IpAddr)>> {
    match ask {
        Some(ask) => ask.reserve().await.ok(),
        None => None,
    }
}

fn note_skipped(vhosts: &VhostIndex, meta: &mut RunMeta) {
    let skipped = vhosts.skipped();
    if skipped.rows > 0 {
        let shown = skipped.shown.iter().take(SHOWN);
        let first: Vec<String> = shown.map(|d| format!("line {}: {}", d.line(), d.title)).collect();
        let more = skipped.rows > first.len() as u64;
        let named = NamedSample { first, more };
        meta.gaps.push(Gap::VhostRowsSkipped { rows: skipped.rows, named }.not_covered());
    }
}

/// Names the rows that were not asked for. Where nothing is open that they could be served on, they
/// are not served; everywhere else nobody knows.
fn note_idle(idle: impl Iterator<Item = (VirtualHost, IdleSite)>, meta: &mut RunMeta) {
    let mut all: BTreeMap<Option<VhostIdle>, (u64, NamedSample)> = BTreeMap::new();
    for (v, why) in idle {
        let port = v.port.map(|p| format!(":{p}")).unwrap_or_default();
        let why = match why {
            IdleSite::NothingOpen | IdleSite::LeftOut => None,
            IdleSite::PortNotPlanned => Some(VhostIdle::PortNotPlanned),
            IdleSite::OtherScheme => Some(VhostIdle::OtherScheme),
        };
        let (count, named) = all.entry(why).or_default();
        *count += 1;
        if named.first.len() < SHOWN {
            named.first.push(format!("{}{port}", v.host));
        } else {
            named.more = true;
        }
    }
    for (why, (hosts, named)) in all {
        meta.gaps.push(match why {
            None => Gap::VhostsWithoutPort { hosts, named }.noted(),
            Some(reason) => Gap::VhostsNotAsked { hosts, reason, named }.not_covered(),
        });
    }
}
