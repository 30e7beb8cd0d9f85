//! Who owns which connection, and whose turn it is.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use mimawari_probes::observation::Scheme;

use super::WebTarget;
use super::connection::Route;

/// How many lanes of one address may be in work at once.
const PER_ADDRESS: usize = 2;

/// A plain port with more virtual hosts than this gets a second connection.
const SPLIT: usize = 16;

/// The targets that share a connection: over plain HTTP all virtual hosts of a port, over TLS one
/// name, because the handshake belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    /// The connection.
    pub route: Route,
    /// Whom to ask for, one after the other; `None` is the address itself.
    pub hosts: Vec<Option<String>>,
}

/// Lanes in the order of their turns: every address has its first lane before any has its second.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    waiting: BTreeMap<IpAddr, VecDeque<Lane>>,
    busy: HashMap<IpAddr, usize>,
    turns: VecDeque<IpAddr>,
}

impl Lanes {
    /// The lanes of these targets; a target that is listed twice is taken once.
    pub(super) fn new(targets: Vec<WebTarget>) -> Self {
        let mut seen = HashSet::new();
        let mut place: HashMap<Route, usize> = HashMap::new();
        let mut lanes: Vec<Lane> = Vec::new();
        for target in targets {
            if !seen.insert(target.clone()) {
                continue;
            }
            let sni = target.host.clone().filter(|_| target.scheme == Scheme::Https);
            let route = Route { endpoint: target.endpoint, scheme: target.scheme, sni };
            let index = *place.entry(route.clone()).or_insert_with(|| {
                lanes.push(Lane { route, hosts: Vec::new() });
                lanes.len() - 1
            });
            lanes[index].hosts.push(target.host);
        }
        let mut all = Self::default();
        for mut lane in lanes {
            let queue = all.waiting.entry(lane.route.endpoint.ip()).or_default();
            if lane.hosts.len() > SPLIT {
                let hosts = lane.hosts.split_off(lane.hosts.len() / 2);
                queue.push_back(Lane { route: lane.route.clone(), hosts });
            }
            queue.push_back(lane);
        }
        all.turns = all.waiting.keys().copied().collect();
        all
    }

    /// The next lane whose address has room. Its address must be given back with
    /// [`Self::release`].
    pub(super) fn take(&mut self) -> Option<Lane> {
        let ip = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&ip)?;
        let lane = queue.pop_front()?;
        let more = !queue.is_empty();
        let busy = self.busy.entry(ip).or_default();
        *busy += 1;
        if !more {
            self.waiting.remove(&ip);
        } else if *busy < PER_ADDRESS {
            self.turns.push_back(ip);
        }
        Some(lane)
    }

    /// A lane of this address is done.
    pub(super) fn release(&mut self, ip: IpAddr) {
        if let Some(busy) = self.busy.get_mut(&ip) {
            // At the bound the address has no turn queued; now it has room for one.
            if *busy == PER_ADDRESS && self.waiting.contains_key(&ip) {
                self.turns.push_back(ip);
            }
            *busy -= 1;
            if *busy == 0 {
                self.busy.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mimawari_targets::{AddrRange, AddrSet, Port, Scope};

    use super::*;

    fn target(ip: &str, port: u16, scheme: Scheme, host: Option<&str>) -> WebTarget {
        let allow = AddrSet::from_ranges(["198.51.100.0/24".parse::<AddrRange>().unwrap()]);
        let scope = Scope::new(allow, AddrSet::default(), "test");
        let endpoint = scope.endpoint(ip.parse().unwrap(), Port::new(port).unwrap()).unwrap();
        WebTarget { endpoint, scheme, host: host.map(str::to_owned) }
    }

    #[test]
    fn plain_hosts_share_a_lane_and_tls_names_do_not() {
        let (a, b) = (Some("a.example"), Some("b.example"));
        let mut lanes = Lanes::new(vec![
            target("198.51.100.7", 80, Scheme::Http, None),
            target("198.51.100.7", 80, Scheme::Http, a),
            target("198.51.100.7", 80, Scheme::Http, a),
            target("198.51.100.7", 443, Scheme::Https, a),
            target("198.51.100.7", 443, Scheme::Https, b),
        ]);
        let first = lanes.take().unwrap();
        assert_eq!(first.hosts, [None, a.map(str::to_owned)]);
        assert_eq!(first.route.sni, None);
        let second = lanes.take().unwrap();
        assert_eq!(second.route.sni.as_deref(), a);
        // Two are in work; the third has to wait for one of them.
        assert_eq!(lanes.take(), None);
        lanes.release(second.route.endpoint.ip());
        assert_eq!(lanes.take().unwrap().route.sni.as_deref(), b);
        assert_eq!(lanes.take(), None);
    }

    #[test]
    fn a_crowded_port_gets_two_lanes() {
        let hosts: Vec<String> = (0..40).map(|i| format!("h{i}.example")).collect();
        let targets = hosts.iter().map(|h| target("198.51.100.7", 80, Scheme::Http, Some(h)));
        let mut lanes = Lanes::new(targets.collect());
        let (a, b) = (lanes.take().unwrap(), lanes.take().unwrap());
        assert_eq!(lanes.take(), None);
        let mut all: Vec<String> = a.hosts.into_iter().chain(b.hosts).flatten().collect();
        all.sort_by_key(|h| hosts.iter().position(|x| x == h));
        assert_eq!(all, hosts);
    }

    #[test]
    fn breadth_over_addresses_and_nothing_lost() {
        let mut targets = Vec::new();
        for port in 8000..8010 {
            for last in 1..=5 {
                let ip = format!("198.51.100.{last}");
                targets.push(target(&ip, port, Scheme::Http, None));
            }
        }
        let mut lanes = Lanes::new(targets);
        let mut busy: VecDeque<IpAddr> = VecDeque::new();
        let mut order = Vec::new();
        loop {
            while let Some(lane) = lanes.take() {
                let ip = lane.route.endpoint.ip();
                busy.push_back(ip);
                order.push(ip);
                assert!(busy.iter().filter(|b| **b == ip).count() <= PER_ADDRESS);
            }
            let Some(ip) = busy.pop_front() else { break };
            lanes.release(ip);
        }
        assert_eq!(order.len(), 50);
        let first: HashSet<_> = order[..5].iter().collect();
        assert_eq!(first.len(), 5, "each address once before any twice: {order:?}");
    }
}
