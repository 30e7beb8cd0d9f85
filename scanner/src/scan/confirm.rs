//! The second look: a full connection to what the sweep saw open.
//!
//! A connection that fails is not a refutation: the port stays open, unconfirmed. What failed is
//! asked again later, one connection a host at a time, since limits on connections and short queues
//! are the usual reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mimawari_base::uplink::Uplink;
use mimawari_look::service::{self, ServiceConfig};
use mimawari_net::budget::PacketBudget;
use mimawari_probes::gap::{CoverageGap, Gap, NamedSample};
use mimawari_probes::observation::{CellState, Observation, SecondLook, TcpObservation, UrlScheme};
use mimawari_probes::wire::SynAckSigns;
use mimawari_targets::{Endpoint, PortSet, Scope};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ends::{LookEnds, LookedSite, SHOWN, SitePorts};
use super::{SharedState, odd};

/// How many connections confirm open ports at once, where the limit of file descriptors allows it.
pub(super) const CONFIRM_AT_ONCE: usize = 256;
/// After this many open ports of one host, once most of its probed ports are open, the others have to
/// wait: the host may answer on everything, and that is found out first.
const CONFIRM_PER_ODD_HOST: u32 = 64;
/// No more than this many odd hosts are asked on random ports; the others are counted.
const ODD_HOSTS: usize = 16_384;

/// Pauses before the ports whose connection failed are asked again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// How long ports are asked again at most, each time.
const AGAIN: Duration = Duration::from_secs(60);
/// How many hosts are asked again at once.
const HOSTS_AGAIN: usize = 64;
/// So many ports of one host are asked again in vain, and so many of all hosts together: then the
/// others would be, too.
const IN_VAIN: (u32, u32) = (3, 64);
/// How many ports of one host, and of all hosts together, are kept to be confirmed when the others
/// are done.
const LEFT_OUT_KEPT: (usize, usize) = (1024, 65_536);
/// How many of those are confirmed at once, and how long at most.
const LEFT_OUT_AT_ONCE: usize = 32;
const LEFT_OUT_TIME: Duration = Duration::from_secs(120);
/// How many ports are asked again.
const MOST_AGAIN: usize = 16_384;

/// A cell that was seen open.
#[derive(Debug, Clone)]
pub(super) struct OpenedPort {
    pub endpoint: Endpoint,
    pub attempt: u8,
    pub ttl: Option<u8>,
    pub signs: SynAckSigns,
    pub at: Timestamp,
}

/// What the second look came to.
#[derive(Default)]
pub(super) struct ConfirmedPort {
    pub accepted: BTreeSet<SocketAddr>,
    pub web: Vec<(Endpoint, UrlScheme)>,
    /// Accepted a connection, and neither spoke HTTP nor proved another protocol: sites may be
    /// served there by name.
    pub unproven: Vec<UnprovenPort>,
    pub gaps: Vec<CoverageGap>,
}

impl ConfirmedPort {
    /// Those of the unproven ports that were not named as a site in the end, each once.
    pub(super) fn list_unproven(&self) -> Vec<UnprovenPort> {
        let web: BTreeSet<SocketAddr> = self.web.iter().map(|(e, _)| e.socket_addr()).collect();
        let all = self.unproven.iter().map(|u| (u.endpoint.socket_addr(), *u));
        let each: BTreeMap<SocketAddr, UnprovenPort> = all.collect();
        each.into_iter().filter(|(a, _)| !web.contains(a)).map(|(_, u)| u).collect()
    }
}

/// A port that nothing is proven of.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnprovenPort {
    pub endpoint: Endpoint,
    /// It speaks TLS.
    pub tls: bool,
}

/// How many open ports wait for their second look. The sweep stands still while they are too many: a
/// range that answers on every port would fill the memory.
#[derive(Debug)]
pub(super) struct WaitingPorts {
    waiting: AtomicUsize,
    budget: Arc<PacketBudget>,
}

/// From so many waiting ports on the sweep stands still, and down to how many.
const WAITING: (usize, usize) = (16_384, 8_192);

impl WaitingPorts {
    pub(super) fn new(budget: Arc<PacketBudget>) -> Self {
        Self { waiting: AtomicUsize::new(0), budget }
    }

    /// One more waits.
    pub(super) fn enter(&self) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) + 1 >= WAITING.0 {
            self.budget.hold(true);
        }
    }

    fn leave(&self) {
        if self.waiting.fetch_sub(1, Ordering::Relaxed) - 1 <= WAITING.1 {
            self.budget.hold(false);
        }
    }
}

/// What the second look needs to know.
pub(super) struct ServiceLook {
    pub shared: Arc<SharedState>,
    pub scope: Arc<Scope>,
    /// The ports of the plan.
    pub ports: PortSet,
    /// How many of a host's ports this run probes.
    pub share: u32,
    /// Random number of the run.
    pub salt: u64,
    /// How many connections at once.
    pub at_once: usize,
    /// The open ports that are probed for web sites; `None`: no port is.
    pub sites: Option<SitePorts>,
    pub now: fn() -> Timestamp,
    /// How connections leave.
    pub uplink: Uplink,
    /// Open ports that wait for their second look.
    pub waiting: Arc<WaitingPorts>,
}

/// What is gathered while connections come and go.
#[derive(Default)]
struct ConfirmationSummary {
    confirmed: ConfirmedPort,
    hosts: BTreeMap<IpAddr, odd::OddFacts>,
    ends: LookEnds,
    /// To be asked again later.
    again: Vec<OpenedPort>,
}

impl ConfirmationSummary {
    /// What is known of each host by now.
    fn odd_facts(&self) -> BTreeMap<IpAddr, odd::OddFacts> {
        let mut hosts = self.hosts.clone();
        // What is settled has been counted.
        for (address, looked) in self.ends.all().filter(|(_, looked)| !looked.is_settled()) {
            let host = hosts.entry(address.ip()).or_default();
            host.look(looked.end == SecondLook::Refused, looked.mute);
        }
        hosts
    }
}

impl ServiceLook {
    /// Connects to each open cell and reads its service; then asks the odd hosts.
    pub(super) async fn confirm_all(
        self,
        mut opened: mpsc::UnboundedReceiver<OpenedPort>,
    ) -> ConfirmedPort {
        let gathered = Arc::new(Mutex::new(ConfirmationSummary::default()));
        // A host that looks odd is asked several connections in one go.
        let gate = Arc::new(Semaphore::new(self.at_once.max(odd::ASKED)));
        let mut tasks = JoinSet::new();
        let mut left_out = LeftOutPorts::default();
        let mut stopped = 0u64;
        while let Some(o) = opened.recv().await {
            self.waiting.leave();
            let enough = {
                let mut gathered = lock_summary(&gathered);
                let host = gathered.hosts.entry(o.endpoint.ip()).or_default();
                host.open(o.signs);
                host.answers_nothing()
                    || host.open > CONFIRM_PER_ODD_HOST && host.open > self.share / 2
            };
            if enough {
                left_out.add(o);
                continue;
            }
            if self.shared.stop.is_stopped() {
                // The end is near, and a second look is the next run's business.
                stopped += 1;
                lock_summary(&gathered).ends.note_not_made(o.endpoint.socket_addr());
                continue;
            }
            let Ok(permit) = Arc::clone(&gate).acquire_owned().await else { break };
            while tasks.try_join_next().is_some() {}
            let (shared, gathered) = (Arc::clone(&self.shared), Arc::clone(&gathered));
            let (now, uplink) = (self.now, self.uplink.clone());
            tasks.spawn(async move {
                confirm_one(&o, &shared, &gathered, uplink, now).await;
                drop(permit);
            });
        }
        while tasks.join_next().await.is_some() {}
        lock_summary(&gathered).ends.first_looks_are_over();
        for pause in PAUSES {
            self.ask_again(pause, &gathered).await;
        }
        let hosts = lock_summary(&gathered).odd_facts();
        let (odd, answers_everywhere) = self.ask_odd_hosts(&hosts, &gate).await;
        let (needless, unasked) =
            self.confirm_left_out(left_out, &answers_everywhere, &gathered).await;
        self.ask_again(PAUSES[0], &gathered).await;
        let ConfirmationSummary { mut confirmed, ends, .. } =
            std::mem::take(&mut *lock_summary(&gathered));
        confirmed.web.sort();
        // Whoever was named as a site in the end is one, whatever failed before.
        let is_site = |address: &SocketAddr| {
            confirmed.web.binary_search_by_key(address, |(e, _)| e.socket_addr()).is_ok()
        };
        let skipped =
            |address: &SocketAddr| answers_everywhere.contains(&address.ip()) || is_site(address);
        confirmed.gaps = ends.gaps(self.sites.as_ref(), skipped);
        if stopped > 0 {
            confirmed.gaps.push(Gap::ConfirmationStopped { ports: stopped }.noted());
        }
        confirmed.gaps.extend(needless.map(Gap::noted));
        confirmed.gaps.extend(unasked.map(Gap::not_covered));
        confirmed.gaps.extend(odd.map(Gap::noted));
        confirmed
    }

    /// Asks again what has failed so far: each host by one connection at a time.
    async fn ask_again(&self, pause: Duration, gathered: &Arc<Mutex<ConfirmationSummary>>) {
        let failed = std::mem::take(&mut lock_summary(gathered).again);
        if failed.is_empty() || self.shared.stop.is_stopped() {
            return;
        }
        let mut stopped = self.shared.stop.watch();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let mut hosts: BTreeMap<IpAddr, Vec<OpenedPort>> = BTreeMap::new();
        for o in failed {
            hosts.entry(o.endpoint.ip()).or_default().push(o);
        }
        let until = Instant::now() + AGAIN;
        let gate = Arc::new(Semaphore::new(self.at_once.clamp(1, HOSTS_AGAIN)));
        let in_vain = Arc::new(AtomicU32::new(0));
        let mut tasks = JoinSet::new();
        for (_, ports) in hosts {
            let Ok(permit) = Arc::clone(&gate).acquire_owned().await else { break };
            let (shared, gathered) = (Arc::clone(&self.shared), Arc::clone(gathered));
            let (now, in_vain) = (self.now, Arc::clone(&in_vain));
            let uplink = self.uplink.clone();
            tasks.spawn(async move {
                let mut failures = 0;
                for o in ports {
                    let over = Instant::now() >= until
                        || failures >= IN_VAIN.0
                        || in_vain.load(Ordering::Relaxed) >= IN_VAIN.1;
                    if over || shared.stop.is_stopped() {
                        break;
                    }
                    if confirm_one(&o, &shared, &gathered, uplink.clone(), now).await {
                        failures = 0;
                        in_vain.store(0, Ordering::Relaxed);
                    } else {
                        failures += 1;
                        in_vain.fetch_add(1, Ordering::Relaxed);
                    }
                }
                drop(permit);
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Confirms the ports that had to wait, where their host does not answer on everything. What is
    /// left out for good: of hosts that do, where more of the same proves nothing, and of others.
    async fn confirm_left_out(
        &self,
        left_out: LeftOutPorts,
        answers_everywhere: &BTreeSet<IpAddr>,
        gathered: &Arc<Mutex<ConfirmationSummary>>,
    ) -> (Option<Gap>, Option<Gap>) {
        let LeftOutPorts { ports, mut beyond, .. } = left_out;
        let mut needless = BTreeMap::new();
        let until = Instant::now() + LEFT_OUT_TIME;
        let gate = Arc::new(Semaphore::new(self.at_once.clamp(1, LEFT_OUT_AT_ONCE)));
        let mut tasks = JoinSet::new();
        for (ip, ports) in ports {
            if answers_everywhere.contains(&ip) {
                let more = beyond.remove(&ip).unwrap_or_default();
                needless.insert(ip, ports.len() as u64 + more);
                continue;
            }
            for o in ports {
                let permit = tokio::time::timeout_at(until, Arc::clone(&gate).acquire_owned());
                let Ok(Ok(permit)) = permit.await else {
                    *beyond.entry(ip).or_default() += 1;
                    continue;
                };
                if self.shared.stop.is_stopped() {
                    *beyond.entry(ip).or_default() += 1;
                    continue;
                }
                while tasks.try_join_next().is_some() {}
                let (shared, gathered) = (Arc::clone(&self.shared), Arc::clone(gathered));
                let (now, uplink) = (self.now, self.uplink.clone());
                tasks.spawn(async move {
                    confirm_one(&o, &shared, &gathered, uplink, now).await;
                    drop(permit);
                });
            }
        }
        while tasks.join_next().await.is_some() {}
        (build_left_out_gap(&needless), build_left_out_gap(&beyond))
    }

    /// Asks hosts that look odd on random ports. Returns what came of it, and the hosts that accept
    /// connections there.
    async fn ask_odd_hosts(
        &self,
        hosts: &BTreeMap<IpAddr, odd::OddFacts>,
        gate: &Arc<Semaphore>,
    ) -> (Option<Gap>, BTreeSet<IpAddr>) {
        let mut tasks = JoinSet::new();
        let (mut asked, mut accepting, mut left_out) = (0u64, BTreeSet::new(), 0u64);
        let mut count = |record: HostRecord| {
            asked += 1;
            if record.1 {
                accepting.insert(record.0);
            }
        };
        let mut begun = 0;
        for (ip, facts) in hosts {
            let signs = facts.signs(self.share);
            if signs.is_empty() {
                continue;
            }
            let endpoints: Vec<Endpoint> = odd::select_random_ports(self.salt, *ip, &self.ports)
                .into_iter()
                .filter_map(|port| self.scope.endpoint(*ip, port).ok())
                .collect();
            if endpoints.is_empty() {
                continue;
            }
            if self.shared.stop.is_stopped() || begun >= ODD_HOSTS {
                left_out += 1;
                continue;
            }
            let Ok(permit) = Arc::clone(gate).acquire_many_owned(endpoints.len() as u32).await
            else {
                break;
            };
            while let Some(done) = tasks.try_join_next() {
                done.into_iter().for_each(&mut count);
            }
            begun += 1;
            let (shared, now, ip) = (Arc::clone(&self.shared), self.now, *ip);
            let uplink = self.uplink.clone();
            tasks.spawn(async move {
                let seen = odd::ask(endpoints, ip, signs, &uplink, now).await;
                drop(permit);
                let any = seen.accepted > 0;
                let _ = shared.write(|f| f.observe(&[Observation::Host(seen)]));
                (ip, any)
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.into_iter().for_each(&mut count);
        }
        if asked + left_out == 0 {
            return (None, accepting);
        }
        let gap = Gap::OddHosts {
            asked,
            accepting: accepting.len() as u64,
            left_out,
            named: NamedSample::take(&accepting, SHOWN),
        };
        (Some(gap), accepting)
    }
}

/// Open ports whose turn comes when it is known whether their hosts answer on everything.
#[derive(Default)]
struct LeftOutPorts {
    ports: BTreeMap<IpAddr, Vec<OpenedPort>>,
    kept: usize,
    /// Those of each host that there is no room for.
    beyond: BTreeMap<IpAddr, u64>,
}

impl LeftOutPorts {
    fn add(&mut self, o: OpenedPort) {
        let ip = o.endpoint.ip();
        let ports = self.ports.entry(ip).or_default();
        if self.kept < LEFT_OUT_KEPT.1 && ports.len() < LEFT_OUT_KEPT.0 {
            self.kept += 1;
            ports.push(o);
        } else {
            *self.beyond.entry(ip).or_default() += 1;
        }
    }
}

fn build_left_out_gap(left_out: &BTreeMap<IpAddr, u64>) -> Option<Gap> {
    let hosts = left_out.len() as u64;
    let named = NamedSample::take(left_out.keys(), SHOWN);
    let ports = left_out.values().sum();
    (hosts > 0).then_some(Gap::ConfirmationLeftOut { ports, hosts, named })
}

/// An address, and whether it accepted any random port.
type HostRecord = (IpAddr, bool);

/// Makes one connection and writes what became of it. Whether it ended in something that need not be
/// asked again.
async fn confirm_one(
    o: &OpenedPort,
    shared: &SharedState,
    gathered: &Mutex<ConfirmationSummary>,
    uplink: Uplink,
    now: fn() -> Timestamp,
) -> bool {
    let confirmation =
        service::confirm(o.endpoint, &ServiceConfig { uplink, ..ServiceConfig::default() }).await;
    let tls = confirmation.service.as_ref().is_some_and(|s| s.name == "tls");
    let address = o.endpoint.socket_addr();
    let looked = LookedSite {
        end: confirmation.end(),
        mute: confirmation.mute,
        cut_short: confirmation.failure.filter(|_| confirmation.accepted),
    };
    let (looked, settled) = {
        let mut gathered = lock_summary(gathered);
        let looked = gathered.ends.note(address, looked);
        if looked.end == SecondLook::Confirmed {
            gathered.confirmed.accepted.insert(address);
        }
        if let Some(scheme) = confirmation.web {
            gathered.confirmed.web.push((o.endpoint, scheme));
        } else if confirmation.accepted && !confirmation.foreign {
            gathered.confirmed.unproven.push(UnprovenPort { endpoint: o.endpoint, tls });
        }
        let settled = looked.is_settled();
        // What failed is asked again, and counts when that has ended.
        if settled {
            let host = gathered.hosts.entry(address.ip()).or_default();
            host.look(looked.end == SecondLook::Refused, looked.mute);
        }
        if !settled && gathered.again.len() < MOST_AGAIN {
            gathered.again.push(o.clone());
        }
        (looked, settled)
    };
    let _ = shared.write(|f| {
        f.observe(&[Observation::Tcp(TcpObservation {
            ip: o.endpoint.ip(),
            port: o.endpoint.port(),
            state: CellState::Open,
            at: o.at.max(now()),
            attempt: o.attempt,
            ttl: o.ttl,
            confirmed: looked.end == SecondLook::Confirmed,
            second_look: Some(looked.end),
            service: confirmation.service.map(Box::new),
        })])
    });
    settled
}

fn lock_summary(
    gathered: &Mutex<ConfirmationSummary>,
) -> std::sync::MutexGuard<'_, ConfirmationSummary> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}
