//! Whose turn it is: breadth over addresses, few connections to one address or network, and room
//! for others where somebody makes us wait.
//!
//! A *lane* is an endpoint with the virtual hosts to ask for there. A *worker* walks a few hosts of
//! one lane, one after the other; then others have their turn, so that all addresses come to their
//! ends together. A worker that has to wait (a tarpit, a `Retry-After`) gives its place away, so that
//! a slow host costs nobody's time but its own: soon to other addresses, and only after a good while
//! to another host of the same address, which may be slow because it has enough to do.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use mimawari_probes::observation::UrlScheme;
use mimawari_targets::Endpoint;

use super::link::HttpDialect;
use super::progress::ProbeProgress;
use super::target::SiteEnding;
use super::tls::TlsFallback;
use super::vhosts::HostList;
use super::{SiteTargets, WebTarget};

/// How many workers of one address may be parked at once.
const PARKED_PER_ADDRESS: usize = 8;

/// A lane of which more hosts than this have been walked gets a second worker.
const SPLIT: usize = 16;

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct TurnLimits {
    /// Active workers in all.
    pub active: usize,
    /// Active workers of one address.
    pub per_address: usize,
    /// Active workers of one /24 or /64.
    pub per_network: usize,
    /// Workers in all, parked ones too.
    pub workers: usize,
}

/// An endpoint, its hosts, and what its workers have found out about it.
#[derive(Debug)]
pub(super) struct EndpointQueue {
    /// The address and port; proof that both lie in the scope.
    pub endpoint: Endpoint,
    /// Plain or TLS.
    pub scheme: UrlScheme,
    /// Whether rows that name no scheme are asked for here.
    takes_any: bool,
    source: RefCell<LaneSource>,
    /// Why nothing more is asked here.
    pub gone: RefCell<Option<SiteEnding>>,
    /// Whether any host ever brought an answer.
    pub answered: Cell<bool>,
    /// Connections in a row that could not be made.
    pub refused: Cell<u32>,
    /// Names in a row that were given up without one answer.
    pub dead_hosts: Cell<u32>,
    /// Those among them that were waited for.
    pub late_hosts: Cell<u32>,
    /// Which version of HTTP it speaks.
    pub dialect: Cell<HttpDialect>,
    /// How to shake hands.
    pub fallback: Cell<Option<TlsFallback>>,
}

/// Where hosts come from.
#[derive(Debug)]
struct LaneSource {
    listed: VecDeque<Option<String>>,
    /// The rest, from the list of virtual hosts.
    rows: Option<HostList>,
    walked: usize,
    workers: usize,
    parked: usize,
    exhausted: bool,
}

impl EndpointQueue {
    fn new(endpoint: Endpoint, scheme: UrlScheme, takes_any: bool) -> Self {
        let source = LaneSource {
            listed: VecDeque::new(),
            rows: None,
            walked: 0,
            workers: 0,
            parked: 0,
            exhausted: false,
        };
        Self {
            endpoint,
            scheme,
            takes_any,
            source: RefCell::new(source),
            gone: RefCell::new(None),
            answered: Cell::new(false),
            refused: Cell::new(0),
            dead_hosts: Cell::new(0),
            late_hosts: Cell::new(0),
            dialect: Cell::new(HttpDialect::First),
            fallback: Cell::new(None),
        }
    }

    /// The next host to ask for; `Some(None)` is the address itself.
    ///
    /// # Errors
    /// The list was changed during the run; there are no more hosts then.
    pub(super) fn next_host(&self) -> io::Result<Option<Option<String>>> {
        let mut source = self.source.borrow_mut();
        if let Some(host) = source.listed.pop_front() {
            source.walked += 1;
            source.exhausted = source.listed.is_empty() && source.rows.is_none();
            return Ok(Some(host));
        }
        match source.rows.as_mut().and_then(Iterator::next) {
            Some(Ok(v)) => {
                source.walked += 1;
                return Ok(Some(Some(v.host)));
            }
            Some(Err(error)) => {
                (source.rows, source.exhausted) = (None, true);
                return Err(error);
            }
            None => {}
        }
        (source.rows, source.exhausted) = (None, true);
        Ok(None)
    }

    fn has_room(&self) -> bool {
        let source = self.source.borrow();
        let active = source.workers - source.parked;
        !source.exhausted && (active == 0 || source.walked > SPLIT)
    }
}

/// An address with its lanes.
#[derive(Debug)]
struct AddressQueue {
    network: IpAddr,
    lanes: Vec<Rc<EndpointQueue>>,
    /// The lane whose turn is next.
    next: usize,
    active: usize,
    parked: usize,
    queued: bool,
}

impl AddressQueue {
    fn has_room(&self, limits: &TurnLimits) -> bool {
        self.active < limits.per_address
            && self.parked < PARKED_PER_ADDRESS
            && self.lanes.iter().any(|l| l.has_room())
    }
}

/// Addresses in the order of their turns: every address has its first worker before any has its
/// second.
#[derive(Debug)]
pub(super) struct SiteQueue {
    places: Vec<AddressQueue>,
    waiting: VecDeque<usize>,
    /// Active workers of each network, and the places that wait for one of them to end.
    networks: HashMap<IpAddr, (usize, VecDeque<usize>)>,
    limits: TurnLimits,
    active: usize,
    workers: usize,
}

/// A worker's place. Every ticket must come back by [`Turns::release`].
#[derive(Debug)]
pub(super) struct WorkPermit {
    place: usize,
    /// What to walk.
    pub lane: Rc<EndpointQueue>,
}

impl SiteQueue {
    /// The lanes of these targets; a target that is listed twice is taken once.
    pub(super) fn new(targets: SiteTargets, limits: TurnLimits, progress: &ProbeProgress) -> Self {
        let mut lanes: BTreeMap<IpAddr, Vec<EndpointQueue>> = BTreeMap::new();
        let mut seen: HashSet<WebTarget> = HashSet::new();
        for target in targets.listed {
            if !seen.insert(target.clone()) {
                continue;
            }
            let of = lanes.entry(target.endpoint.ip()).or_default();
            let found =
                of.iter().position(|l| l.endpoint == target.endpoint && l.scheme == target.scheme);
            let index = found.unwrap_or_else(|| {
                of.push(EndpointQueue::new(target.endpoint, target.scheme, true));
                of.len() - 1
            });
            of[index].source.borrow_mut().listed.push_back(target.host);
            progress.plan(1);
        }
        drop(seen);
        for port in targets.named {
            let of = lanes.entry(port.endpoint.ip()).or_default();
            if !of.iter().any(|l| l.endpoint == port.endpoint && l.scheme == port.scheme) {
                of.push(EndpointQueue::new(port.endpoint, port.scheme, port.takes_any));
            }
        }
        if let Some(vhosts) = &targets.vhosts {
            for (ip, lanes) in &lanes {
                if vhosts.count(*ip) > 0 {
                    for lane in lanes {
                        let rows = || {
                            let (port, scheme) = (lane.endpoint.port(), lane.scheme);
                            vhosts.hosts(*ip).only(port, scheme, lane.takes_any)
                        };
                        // An error is reported by whoever probes the address.
                        progress.plan(rows().map_while(Result::ok).count() as u64);
                        lane.source.borrow_mut().rows = Some(rows());
                    }
                }
            }
        }
        let places: Vec<AddressQueue> = lanes
            .into_iter()
            .map(|(ip, lanes)| AddressQueue {
                network: to_network_address(ip),
                lanes: lanes.into_iter().map(Rc::new).collect(),
                next: 0,
                active: 0,
                parked: 0,
                queued: true,
            })
            .collect();
        let waiting = (0..places.len()).collect();
        Self { places, waiting, networks: HashMap::new(), limits, active: 0, workers: 0 }
    }

    /// The next worker, if there is room for one.
    pub(super) fn take(&mut self) -> Option<WorkPermit> {
        while self.active < self.limits.active && self.workers < self.limits.workers {
            let index = self.waiting.pop_front()?;
            let place = &mut self.places[index];
            place.queued = false;
            if !place.has_room(&self.limits) {
                continue;
            }
            let (busy, blocked) = self.networks.entry(place.network).or_default();
            if *busy >= self.limits.per_network {
                place.queued = true;
                blocked.push_back(index);
                continue;
            }
            let count = place.lanes.len();
            let turn = (0..count)
                .map(|n| (place.next + n) % count)
                .find(|n| place.lanes[*n].has_room())?;
            place.next = (turn + 1) % count;
            let lane = Rc::clone(&place.lanes[turn]);
            lane.source.borrow_mut().workers += 1;
            *busy += 1;
            place.active += 1;
            self.active += 1;
            self.workers += 1;
            self.queue(index);
            return Some(WorkPermit { place: index, lane });
        }
        None
    }

    /// The worker waits: another address may have its place.
    pub(super) fn lend(&mut self, ticket: &WorkPermit) {
        self.leave(ticket.place);
    }

    /// The worker, whose place is lent, waits for long: another host of its address may go on.
    pub(super) fn park(&mut self, ticket: &WorkPermit) {
        let place = &mut self.places[ticket.place];
        place.active -= 1;
        place.parked += 1;
        ticket.lane.source.borrow_mut().parked += 1;
        self.queue(ticket.place);
    }

    /// The worker goes on. It does not wait for a place, so that for a moment there may be more
    /// than the bound; new ones have to wait the longer.
    pub(super) fn resume(&mut self, ticket: &WorkPermit, was_parked: bool) {
        let place = &mut self.places[ticket.place];
        if was_parked {
            place.parked -= 1;
            place.active += 1;
            ticket.lane.source.borrow_mut().parked -= 1;
        }
        self.networks.entry(place.network).or_default().0 += 1;
        self.active += 1;
    }

    /// The worker is done.
    pub(super) fn release(&mut self, ticket: &WorkPermit) {
        ticket.lane.source.borrow_mut().workers -= 1;
        self.workers -= 1;
        self.places[ticket.place].active -= 1;
        self.leave(ticket.place);
        self.queue(ticket.place);
    }

    /// One active worker less, in all and in its network.
    fn leave(&mut self, index: usize) {
        let place = &self.places[index];
        self.active -= 1;
        if let Some((busy, blocked)) = self.networks.get_mut(&place.network) {
            *busy -= 1;
            if let Some(next) = blocked.pop_front() {
                self.waiting.push_front(next);
            } else if *busy == 0 {
                self.networks.remove(&place.network);
            }
        }
    }

    fn queue(&mut self, index: usize) {
        let place = &mut self.places[index];
        if !place.queued && place.has_room(&self.limits) {
            place.queued = true;
            self.waiting.push_back(index);
        }
    }
}

/// The /24 or /64 around an address, by its first address.
pub(super) fn to_network_address(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & 0xffff_ff00).into()),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use mimawari_targets::{AddrRange, AddrSet, Port, Scope};

    use super::*;

    const LIMITS: TurnLimits =
        TurnLimits { active: 64, per_address: 2, per_network: 64, workers: 256 };

    fn target(ip: &str, port: u16, scheme: UrlScheme, host: Option<&str>) -> WebTarget {
        let allow = AddrSet::from_ranges(["198.51.100.0/24".parse::<AddrRange>().unwrap()]);
        let scope = Scope::new(allow, AddrSet::default(), "test");
        let endpoint = scope.endpoint(ip.parse().unwrap(), Port::new(port).unwrap()).unwrap();
        WebTarget { endpoint, scheme, host: host.map(str::to_owned) }
    }

    fn hosts(lane: &EndpointQueue) -> Vec<Option<String>> {
        std::iter::from_fn(|| lane.next_host().unwrap()).collect()
    }

    #[test]
    fn hosts_of_an_endpoint_share_a_lane() {
        let (a, b) = (Some("a.example"), Some("b.example"));
        let mut turns = SiteQueue::new(
            vec![
                target("198.51.100.7", 80, UrlScheme::Http, None),
                target("198.51.100.7", 80, UrlScheme::Http, a),
                target("198.51.100.7", 80, UrlScheme::Http, a),
                target("198.51.100.7", 443, UrlScheme::Https, b),
                target("198.51.100.7", 8080, UrlScheme::Http, None),
            ]
            .into(),
            LIMITS,
            &ProbeProgress::default(),
        );
        let first = turns.take().unwrap();
        let second = turns.take().unwrap();
        assert_eq!(hosts(&first.lane), [None, a.map(str::to_owned)]);
        assert_eq!(hosts(&second.lane), [b.map(str::to_owned)]);
        // Two are active; the third has to wait for one of them.
        assert!(turns.take().is_none());
        turns.release(&second);
        assert_eq!(turns.take().unwrap().lane.endpoint.port().get(), 8080);
        assert!(turns.take().is_none());
    }

    #[test]
    fn who_waits_gives_way() {
        let names: Vec<String> = (0..40).map(|i| format!("h{i}.example")).collect();
        let targets = names.iter().map(|h| target("198.51.100.7", 80, UrlScheme::Http, Some(h)));
        let mut turns =
            SiteQueue::new(targets.collect::<Vec<_>>().into(), LIMITS, &ProbeProgress::default());
        let first = turns.take().unwrap();
        assert!(turns.take().is_none(), "one connection is enough for a few hosts");
        first.lane.next_host().unwrap();
        turns.lend(&first);
        assert!(turns.take().is_none(), "a slow address gets no more to do");
        turns.park(&first);
        let second = turns.take().expect("the parked worker's place is free");
        assert!(turns.take().is_none());
        turns.resume(&first, true);
        // A long lane gets a second worker.
        for _ in 0..SPLIT + 1 {
            second.lane.next_host().unwrap();
        }
        turns.release(&first);
        assert!(turns.take().is_some());
        assert!(turns.take().is_none(), "no more than two");
    }

    #[test]
    fn breadth_over_addresses_and_nothing_lost() {
        let mut targets = Vec::new();
        for port in 8000..8010 {
            for last in 1..=5 {
                targets.push(target(&format!("198.51.100.{last}"), port, UrlScheme::Http, None));
            }
        }
        let limits = TurnLimits { per_network: 7, ..LIMITS };
        let mut turns = SiteQueue::new(targets.into(), limits, &ProbeProgress::default());
        let (mut busy, mut order) = (VecDeque::new(), Vec::new());
        let mut seen = HashSet::new();
        loop {
            while let Some(ticket) = turns.take() {
                order.push(ticket.lane.endpoint.ip());
                for _ in hosts(&ticket.lane) {
                    assert!(seen.insert(ticket.lane.endpoint));
                }
                busy.push_back(ticket);
                assert!(busy.len() <= 7, "the network's bound");
                for t in &busy {
                    let same = |b: &&WorkPermit| b.place == t.place;
                    assert!(busy.iter().filter(same).count() <= LIMITS.per_address);
                }
            }
            let Some(ticket) = busy.pop_front() else { break };
            turns.release(&ticket);
        }
        assert_eq!(seen.len(), 50);
        let first: HashSet<_> = order[..5].iter().collect();
        assert_eq!(first.len(), 5, "each address once before any twice: {order:?}");
    }
}
