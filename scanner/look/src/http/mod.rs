//! The path prober: published files on every web endpoint.
//!
//! The checks themselves are in `mimawari_probes::http`, without a socket. Here are the
//! connections: host-major, so that one keep-alive connection owns an (address, port, scheme, SNI)
//! and walks its paths, breadth over addresses, and a bound on everything that a hostile server
//! could stretch.
//!
//! ```text
//! targets ─▶ lanes (one an endpoint) ─▶ turns over addresses ─▶ workers ─▶ observations
//! ```
//!
//! Every (target, path) ends in exactly one observation, whatever happens: a server that cannot be
//! reached brings `error`, never `absent`, and a stop brings `skipped`.
//!
//! All of it runs in one thread of its own. A request costs a few microseconds, so that one thread
//! asks more than any fleet should be asked; handing requests from thread to thread would cost more
//! than the requests.

pub mod connection;
mod directory;
mod fetch;
mod known;
mod link;
pub mod pointing;
mod progress;
mod redirect;
mod second;
mod standing;
pub mod stream;
mod target;
mod tempo;
pub mod tls;
mod turns;
mod vhosts;
mod walk;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mimawari_base::uplink::Uplink;
use mimawari_probes::gap::{Gap, NamedSample};
use mimawari_probes::http::manifest::Manifest;
use mimawari_probes::http::{Catalogue, RequestPlan};
use mimawari_probes::observation::{Observation, UrlScheme};
use mimawari_targets::Endpoint;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

pub use known::KnownPaths;
pub use progress::{ProbeCounts, ProbeProgress};
pub use vhosts::{HostList, SkippedRows, VhostIndex, VirtualHost};

use connection::HttpTimeouts;
use directory::SiteDirectory;
use tempo::RequestCeiling;
use turns::{SiteQueue, TurnLimits, WorkPermit};

/// After so many observations they are handed on together.
const BATCH: usize = 128;

/// What has been seen is handed on after this time at the latest.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// For each active worker, so many may be parked.
const PARKED_SHARE: usize = 15;

/// So many default sites that lead elsewhere are named.
const MOVED_SHOWN: usize = 5;

/// Most workers, parked ones too: each is a socket and some 20 KiB.
const WORKERS_LIMIT: usize = 2048;

/// Something to look at: an endpoint, what it speaks, and the name to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebTarget {
    /// The address and port; proof that both lie in the scope.
    pub endpoint: Endpoint,
    /// Plain or TLS.
    pub scheme: UrlScheme,
    /// The virtual host, for `Host` and SNI; the address itself when absent.
    pub host: Option<String>,
}

/// A port that is not known to speak HTTP, and not proven to speak anything else: its default site
/// may say nothing. The names of the list are asked there, and the bare address is not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedPort {
    /// The address and port; proof that both lie in the scope.
    pub endpoint: Endpoint,
    /// How to ask.
    pub scheme: UrlScheme,
    /// Whether rows that name no scheme are asked so.
    pub takes_any: bool,
}

/// Everything to look at.
#[derive(Debug, Default)]
pub struct SiteTargets {
    /// Targets one by one.
    pub listed: Vec<WebTarget>,
    /// Ports that are asked for the names of the list alone.
    pub named: Vec<NamedPort>,
    /// The virtual hosts of their addresses, read when their turn comes: whatever it names for an
    /// address is asked for on every listed endpoint of it.
    pub vhosts: Option<VhostIndex>,
}

impl From<Vec<WebTarget>> for SiteTargets {
    fn from(listed: Vec<WebTarget>) -> Self {
        Self { listed, ..Self::default() }
    }
}

/// How to look.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// What to look for.
    pub catalogue: Arc<Catalogue>,
    /// Checks up to this tier are made.
    pub tier: u8,
    /// What was found before.
    pub known: Arc<KnownPaths>,
    /// What lies in document roots; each is looked for on its own hosts alone.
    pub manifests: Vec<Arc<Manifest>>,
    /// Most paths of one target; what is beyond is skipped.
    pub paths_per_target: usize,
    /// How many workers are active at once.
    pub targets_at_once: usize,
    /// How many workers are active at once at one address.
    pub per_address: usize,
    /// How many workers are active at once in one /24 or /64.
    pub per_network: usize,
    /// Requests a second to one site; 0: no ceiling.
    pub rate_per_site: u32,
    /// Requests a second to one address; 0: no ceiling.
    pub rate_per_address: u32,
    /// Requests a second to one /24 or /64; 0: no ceiling.
    pub rate_per_network: u32,
    /// For the TCP connection, and again for the TLS handshake.
    pub connect_timeout: Duration,
    /// From a request to the end of the response head.
    pub head_timeout: Duration,
    /// From the head to the end of the body.
    pub body_timeout: Duration,
    /// For all paths of one target together; what is left then is skipped.
    pub per_target_time: Duration,
    /// The longest pause before a site that fails with every answer; shorter ones come before.
    pub longest_pause: Duration,
    /// A worker that waits longer for an answer makes room for one at another address, and after
    /// six times as long for one at its own; at once where it is the site that wants to rest.
    pub patience: Duration,
    /// How connections leave.
    pub uplink: Uplink,
    /// `User-Agent`. It should say who asks, and where to complain.
    pub user_agent: String,
    /// Key of the evidence digests. The default, all zeros, is for tests alone.
    pub evidence_key: [u8; 32],
    /// Makes the canaries' names; a random number for each run.
    pub salt: u64,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Counts sites and requests.
    pub progress: Arc<ProbeProgress>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            catalogue: Arc::new(Catalogue::builtin()),
            tier: 1,
            known: Arc::default(),
            manifests: Vec::new(),
            paths_per_target: 20_000,
            targets_at_once: 64,
            per_address: 2,
            per_network: 64,
            rate_per_site: 0,
            rate_per_address: 0,
            rate_per_network: 0,
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            per_target_time: Duration::from_secs(300),
            longest_pause: Duration::from_millis(500),
            patience: Duration::from_millis(250),
            uplink: Uplink::default(),
            user_agent: concat!("mimawari/", env!("CARGO_PKG_VERSION")).to_owned(),
            evidence_key: [0; 32],
            salt: 0,
            now: Timestamp::now,
            progress: Arc::default(),
        }
    }
}

impl HttpConfig {
    const fn timeouts(&self) -> HttpTimeouts {
        HttpTimeouts {
            connect: self.connect_timeout,
            head: self.head_timeout,
            body: self.body_timeout,
        }
    }
}

/// What a look came to, beside its observations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeSummary {
    /// Targets that were looked at, or tried.
    pub targets: u64,
    /// What kept it from looking at something.
    pub problems: Vec<Gap>,
    /// Default sites that send every path to another site, which no list names: how many.
    pub moved: u64,
    /// The first of them, and where they lead.
    pub moved_first: NamedSample,
}

impl ProbeSummary {
    fn moved(&mut self, from: &str, to: &str) {
        self.moved += 1;
        if self.moved_first.first.len() < MOVED_SHOWN {
            self.moved_first.first.push(format!("{from} to {to}"));
        } else {
            self.moved_first.more = true;
        }
    }

    /// Adds what kept it from looking, once.
    pub(crate) fn add(&mut self, gap: Gap) {
        if !self.problems.contains(&gap) {
            self.problems.push(gap);
        }
    }
}

/// Looks at all targets. Sends exactly one HTTP observation for each (target, path) and one web
/// observation for each target, many at a time; a target that is listed twice is looked at once.
/// When `stop` turns true, what is not finished is reported as `skipped`. When nobody receives any
/// more, it ends early.
///
/// # Errors
/// When no thread can be started.
///
/// # Panics
/// When a worker panics: losing its observations without a word would be worse.
pub async fn look(
    targets: impl Into<SiteTargets>,
    config: Arc<HttpConfig>,
    stop: watch::Receiver<bool>,
    out: mpsc::Sender<Vec<Observation>>,
) -> std::io::Result<ProbeSummary> {
    let targets = targets.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, looked) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("look".to_owned()).spawn(move || {
        let looked = LocalSet::new().block_on(&runtime, look_here(targets, config, stop, out));
        let _ = done.send(looked);
    })?;
    match looked.await {
        Ok(looked) => Ok(looked),
        // The other end is dropped by a panic alone.
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Ok(ProbeSummary::default()),
        },
    }
}

/// What all workers share.
struct SharedWork {
    config: Arc<HttpConfig>,
    plan: RequestPlan,
    stop: watch::Receiver<bool>,
    turns: RefCell<SiteQueue>,
    directory: SiteDirectory,
    /// Somebody left a place.
    changed: Notify,
    addresses: RefCell<RequestCeiling>,
    networks: RefCell<RequestCeiling>,
    pending: RefCell<Vec<Observation>>,
    out: mpsc::Sender<Vec<Observation>>,
    looked: RefCell<ProbeSummary>,
}

/// The receiver of the observations is gone.
#[derive(Debug)]
struct NoReply;

impl SharedWork {
    async fn emit(&self, observation: Observation) -> Result<(), NoReply> {
        let full = {
            let mut pending = self.pending.borrow_mut();
            pending.push(observation);
            pending.len() >= BATCH
        };
        if full { self.flush().await } else { Ok(()) }
    }

    async fn flush(&self) -> Result<(), NoReply> {
        let batch = self.pending.take();
        if batch.is_empty() {
            return Ok(());
        }
        self.out.send(batch).await.map_err(|_| NoReply)
    }

    fn lend(&self, ticket: &WorkPermit) {
        self.turns.borrow_mut().lend(ticket);
        self.changed.notify_one();
    }

    fn park(&self, ticket: &WorkPermit) {
        self.turns.borrow_mut().park(ticket);
        self.changed.notify_one();
    }

    fn resume(&self, ticket: &WorkPermit, was_parked: bool) {
        self.turns.borrow_mut().resume(ticket, was_parked);
    }
}

async fn look_here(
    targets: SiteTargets,
    config: Arc<HttpConfig>,
    stop: watch::Receiver<bool>,
    out: mpsc::Sender<Vec<Observation>>,
) -> ProbeSummary {
    let active = config.targets_at_once.max(1);
    let limits = TurnLimits {
        active,
        per_address: config.per_address.max(1),
        per_network: config.per_network.max(1),
        workers: active.saturating_mul(PARKED_SHARE + 1).min(WORKERS_LIMIT.max(active)),
    };
    let shared = Rc::new(SharedWork {
        plan: config.catalogue.plan(config.tier),
        directory: SiteDirectory::of(&targets),
        turns: RefCell::new(SiteQueue::new(targets, limits, &config.progress)),
        changed: Notify::new(),
        addresses: RefCell::new(RequestCeiling::new(config.rate_per_address)),
        networks: RefCell::new(RequestCeiling::new(config.rate_per_network)),
        pending: RefCell::default(),
        looked: RefCell::default(),
        config,
        stop,
        out,
    });
    let mut running = JoinSet::new();
    let mut flush = tokio::time::interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        while let Some(ticket) = { shared.turns.borrow_mut().take() } {
            let shared = Rc::clone(&shared);
            running.spawn_local(async move {
                // An error is the receiver's going away: there is nobody left who receives.
                let _ = walk::walk(&shared, &ticket).await;
                ticket
            });
        }
        tokio::select! {
            ended = running.join_next() => match ended {
                None => break,
                Some(Ok(ticket)) => shared.turns.borrow_mut().release(&ticket),
                Some(Err(error)) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            },
            () = shared.changed.notified() => {}
            _ = flush.tick() => {
                if shared.flush().await.is_err() {
                    break;
                }
            }
        }
        if shared.out.is_closed() {
            break;
        }
    }
    let _ = shared.flush().await;
    shared.looked.take()
}
