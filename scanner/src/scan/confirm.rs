//! The second look: a full connection to what the sweep saw open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use mimawari_look::service::{self, ServiceConfig};
use mimawari_probes::gap::{Gap, NamedSample};
use mimawari_probes::observation::{CellState, Observation, Scheme, TcpObservation};
use mimawari_probes::wire::SynAckSigns;
use mimawari_targets::{Endpoint, PortSet, Scope};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::{Shared, odd};

/// How many connections confirm open ports at once.
const CONFIRM_AT_ONCE: usize = 256;
/// No more than this many open ports of one host are confirmed one by one once most of its probed
/// ports are open: such a host answers on everything, and more of the same proves nothing.
const CONFIRM_PER_ODD_HOST: u32 = 64;
/// No more than this many odd hosts are asked on random ports; the others are counted.
const ODD_HOSTS: usize = 16_384;
/// How many ports or hosts a gap names.
const SHOWN: usize = 5;
/// Where a listener that says nothing is most likely a site that could not be looked at.
const SITES: [u16; 4] = [80, 443, 8080, 8443];

/// A cell that was seen open.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub endpoint: Endpoint,
    pub attempt: u8,
    pub ttl: Option<u8>,
    pub signs: SynAckSigns,
    pub at: Timestamp,
}

/// What the second look came to.
#[derive(Default)]
pub(super) struct Confirmed {
    pub accepted: BTreeSet<SocketAddr>,
    pub web: Vec<(Endpoint, Scheme)>,
    /// Accepted a connection, and neither spoke HTTP nor proved another protocol: sites may be
    /// served there by name.
    pub unproven: Vec<Unproven>,
    pub gaps: Vec<Gap>,
}

/// A port that nothing is proven of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unproven {
    pub endpoint: Endpoint,
    /// It speaks TLS.
    pub tls: bool,
}

/// What the second look needs to know.
pub(super) struct Look {
    pub shared: Arc<Shared>,
    pub scope: Arc<Scope>,
    /// The ports of the plan.
    pub ports: PortSet,
    /// How many of a host's ports this run probes.
    pub share: u32,
    /// Random number of the run.
    pub salt: u64,
    pub now: fn() -> Timestamp,
}

/// What is gathered while connections come and go.
#[derive(Default)]
struct Gathered {
    confirmed: Confirmed,
    hosts: BTreeMap<IpAddr, odd::Facts>,
    mute_sites: BTreeSet<SocketAddr>,
}

impl Look {
    /// Connects to each open cell and reads its service; then asks the odd hosts.
    pub(super) async fn confirm_all(
        self,
        mut opened: mpsc::UnboundedReceiver<Opened>,
    ) -> Confirmed {
        let gathered = Arc::new(Mutex::new(Gathered::default()));
        let gate = Arc::new(Semaphore::new(CONFIRM_AT_ONCE));
        let mut tasks = JoinSet::new();
        let mut left_out: BTreeMap<IpAddr, u32> = BTreeMap::new();
        let mut stopped = 0u64;
        while let Some(o) = opened.recv().await {
            let seen = {
                let mut gathered = lock(&gathered);
                let host = gathered.hosts.entry(o.endpoint.ip()).or_default();
                host.open(o.signs);
                host.open
            };
            if seen > CONFIRM_PER_ODD_HOST && seen > self.share / 2 {
                *left_out.entry(o.endpoint.ip()).or_default() += 1;
                continue;
            }
            if self.shared.stop.is_stopped() {
                // The end is near, and a second look is the next run's business.
                stopped += 1;
                continue;
            }
            let Ok(permit) = Arc::clone(&gate).acquire_owned().await else { break };
            while tasks.try_join_next().is_some() {}
            let (shared, gathered) = (Arc::clone(&self.shared), Arc::clone(&gathered));
            let now = self.now;
            tasks.spawn(async move {
                confirm_one(&o, &shared, &gathered, now).await;
                drop(permit);
            });
        }
        while tasks.join_next().await.is_some() {}
        let hosts = std::mem::take(&mut lock(&gathered).hosts);
        let odd = self.ask_odd_hosts(&hosts, &gate).await;
        let Gathered { mut confirmed, mute_sites, .. } = std::mem::take(&mut *lock(&gathered));
        confirmed.web.sort();
        if stopped > 0 {
            confirmed.gaps.push(Gap::ConfirmationStopped { ports: stopped });
        }
        if !left_out.is_empty() {
            confirmed.gaps.push(Gap::ConfirmationLeftOut {
                ports: left_out.values().map(|n| u64::from(*n)).sum::<u64>(),
                hosts: left_out.len() as u64,
                named: NamedSample::take(left_out.keys(), SHOWN),
            });
        }
        if !mute_sites.is_empty() {
            confirmed.gaps.push(Gap::WebPortsMute {
                ports: mute_sites.len() as u64,
                named: NamedSample::take(&mute_sites, SHOWN),
            });
        }
        confirmed.gaps.extend(odd);
        confirmed
    }

    /// Asks hosts that look odd on random ports, and returns what came of it.
    async fn ask_odd_hosts(
        &self,
        hosts: &BTreeMap<IpAddr, odd::Facts>,
        gate: &Arc<Semaphore>,
    ) -> Option<Gap> {
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
            let endpoints: Vec<Endpoint> = odd::random_ports(self.salt, *ip, &self.ports)
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
            tasks.spawn(async move {
                let seen = odd::ask(endpoints, ip, signs, now).await;
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
            return None;
        }
        Some(Gap::OddHosts {
            asked,
            accepting: accepting.len() as u64,
            left_out,
            named: NamedSample::take(&accepting, SHOWN),
        })
    }
}

/// An address, and whether it accepted any random port.
type HostRecord = (IpAddr, bool);

async fn confirm_one(
    o: &Opened,
    shared: &Shared,
    gathered: &Mutex<Gathered>,
    now: fn() -> Timestamp,
) {
    let confirmation = service::confirm(o.endpoint, &ServiceConfig::default()).await;
    let tls = confirmation.service.as_ref().is_some_and(|s| s.name == "tls");
    let _ = shared.write(|f| {
        f.observe(&[Observation::Tcp(TcpObservation {
            ip: o.endpoint.ip(),
            port: o.endpoint.port(),
            state: CellState::Open,
            at: o.at.max(now()),
            attempt: o.attempt,
            ttl: o.ttl,
            confirmed: confirmation.accepted,
            service: confirmation.service.map(Box::new),
        })])
    });
    let mut gathered = lock(gathered);
    let address = o.endpoint.socket_addr();
    if confirmation.accepted {
        gathered.confirmed.accepted.insert(address);
    }
    if confirmation.mute && SITES.contains(&address.port()) {
        gathered.mute_sites.insert(address);
    }
    if let Some(scheme) = confirmation.web {
        gathered.confirmed.web.push((o.endpoint, scheme));
    } else if confirmation.accepted && !confirmation.foreign {
        gathered.confirmed.unproven.push(Unproven { endpoint: o.endpoint, tls });
    }
    let host = gathered.hosts.entry(address.ip()).or_default();
    host.refused += u32::from(confirmation.refused);
    host.mute += u32::from(confirmation.mute);
}

fn lock(gathered: &Mutex<Gathered>) -> std::sync::MutexGuard<'_, Gathered> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}
