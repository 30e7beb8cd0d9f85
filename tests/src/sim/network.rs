//! What happens between the scanner and the hosts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use mimawari_engine::{ProbeAnswer, ProbeReply, SynProbe};
use mimawari_probes::wire::SynAckSigns;

use super::{Rng, World};

/// Bursty loss: the two-state chain of E. N. Gilbert ("Capacity of a burst-noise channel", 1960)
/// and E. O. Elliott (1963), stepped once a packet.
#[derive(Debug, Clone, Copy)]
pub struct Bursts {
    /// Probability of going from good to bad.
    pub begin: f64,
    /// Probability of going back.
    pub end: f64,
    /// Loss while bad; while good there is none.
    pub loss: f64,
}

/// How one direction loses packets.
#[derive(Debug, Clone, Copy)]
pub enum Loss {
    /// Each packet alike, with this probability.
    Even(f64),
    /// In bursts.
    Bursts(Bursts),
}

/// Drops what exceeds a rate.
#[derive(Debug, Clone, Copy)]
pub struct Policer {
    /// Packets per second.
    pub rate: f64,
    /// Packets at once.
    pub burst: f64,
}

/// Other people's packets through the same policer.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Packets per second while it flows.
    pub rate: f64,
    /// How long it flows each time, and how long it does not.
    pub times: (Duration, Duration),
}

#[derive(Debug)]
struct TrafficFlow {
    traffic: Traffic,
    /// When its next packet comes.
    next: Duration,
}

impl TrafficFlow {
    /// Its next packet, if it has come by now.
    fn arrive(&mut self, now: Duration) -> Option<Duration> {
        let (on, off) = self.traffic.times;
        let round = on + off;
        while self.next <= now {
            let at = self.next;
            let phase = Duration::from_nanos((at.as_nanos() % round.as_nanos()) as u64);
            if phase < on {
                self.next = at + Duration::from_secs_f64(1.0 / self.traffic.rate);
                return Some(at);
            }
            self.next = at + (round - phase);
        }
        None
    }
}

#[derive(Debug)]
struct Direction {
    loss: Loss,
    bad: bool,
    rng: Rng,
}

impl Direction {
    fn loses(&mut self) -> bool {
        match self.loss {
            Loss::Even(p) => self.rng.chance(p),
            Loss::Bursts(b) => {
                let flip = if self.bad { b.end } else { b.begin };
                self.bad ^= self.rng.chance(flip);
                self.bad && self.rng.chance(b.loss)
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn take(&mut self, now: Duration, limit: Policer) -> bool {
        let earned = now.saturating_sub(self.at).as_secs_f64() * limit.rate;
        self.tokens = (self.tokens + earned).min(limit.burst);
        self.at = now;
        let conforms = self.tokens >= 1.0;
        if conforms {
            self.tokens -= 1.0;
        }
        conforms
    }
}

/// The network: takes probes, gives answers when their time has come.
#[derive(Debug)]
pub struct Network {
    world: World,
    there: Direction,
    back: Direction,
    delays: Rng,
    policer: Option<(Policer, Bucket)>,
    /// From when on the policer lets this share of its rate through.
    shares: Vec<(Duration, f64)>,
    traffic: Option<TrafficFlow>,
    /// Probes that the policer dropped.
    policed: u64,
    /// Packets of others that it let through.
    others: u64,
    resets: Option<(Policer, HashMap<IpAddr, Bucket>)>,
    outages: Vec<(Duration, Duration)>,
    table: Option<(usize, usize)>,
    on_the_way: BinaryHeap<Reverse<(Duration, u64, QueuedReply)>>,
    numbered: u64,
}

/// A reply under way, comparable so that it can be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct QueuedReply {
    ip: IpAddr,
    port: mimawari_targets::Port,
    attempt: u8,
    reply: u8,
}

const REPLIES: [ProbeReply; 3] = [ProbeReply::SynAck, ProbeReply::Rst, ProbeReply::Prohibited];

impl Network {
    /// A network without loss; round trips take 5 to 45 ms, so that answers overtake each other.
    #[must_use]
    pub fn new(world: World, seed: u64) -> Self {
        let rng = Rng::new(seed);
        let direction =
            |purpose| Direction { loss: Loss::Even(0.0), bad: false, rng: rng.fork(purpose) };
        Self {
            world,
            there: direction(1),
            back: direction(2),
            delays: rng.fork(3),
            policer: None,
            shares: Vec::new(),
            traffic: None,
            policed: 0,
            others: 0,
            resets: None,
            outages: Vec::new(),
            table: None,
            on_the_way: BinaryHeap::new(),
            numbered: 0,
        }
    }

    /// Loss towards the hosts and back.
    #[must_use]
    pub fn losing(mut self, there: Loss, back: Loss) -> Self {
        self.there.loss = there;
        self.back.loss = back;
        self
    }

    /// A policer on the way to the hosts.
    #[must_use]
    pub fn policed(mut self, policer: Policer) -> Self {
        let bucket = Bucket { tokens: policer.burst, at: Duration::ZERO };
        self.policer = Some((policer, bucket));
        self
    }

    /// From a moment on the policer lets only a share of its rate through.
    #[must_use]
    pub fn with_share_from(mut self, at: Duration, share: f64) -> Self {
        self.shares.push((at, share));
        self
    }

    /// Others send through the policer, too.
    #[must_use]
    pub const fn shared_with(mut self, traffic: Traffic) -> Self {
        self.traffic = Some(TrafficFlow { traffic, next: Duration::ZERO });
        self
    }

    /// Probes that the policer has dropped so far.
    #[must_use]
    pub const fn policed_probes(&self) -> u64 {
        self.policed
    }

    /// Packets of others that the policer has let through so far.
    #[must_use]
    pub const fn others_packets(&self) -> u64 {
        self.others
    }

    /// Whether the policer lets a probe through.
    fn conforms(&mut self, now: Duration) -> bool {
        let Some((policer, bucket)) = &mut self.policer else { return true };
        let share = |at: Duration| {
            self.shares.iter().rev().find(|(from, _)| at >= *from).map_or(1.0, |(_, share)| *share)
        };
        if let Some(flow) = &mut self.traffic {
            while let Some(at) = flow.arrive(now) {
                let limit = Policer { rate: policer.rate * share(at), ..*policer };
                self.others += u64::from(bucket.take(at, limit));
            }
        }
        let conforms = bucket.take(now, Policer { rate: policer.rate * share(now), ..*policer });
        self.policed += u64::from(!conforms);
        conforms
    }

    /// Hosts that limit how many RSTs they send.
    #[must_use]
    pub fn with_limited_resets(mut self, limit: Policer) -> Self {
        self.resets = Some((limit, HashMap::new()));
        self
    }

    /// A time in which nothing gets through.
    #[must_use]
    pub fn out(mut self, from: Duration, to: Duration) -> Self {
        self.outages.push((from, to));
        self
    }

    /// A table of connections on the way: after so many probes only every n-th finds an entry.
    #[must_use]
    pub const fn with_full_table(mut self, entries: usize, every: usize) -> Self {
        self.table = Some((entries, every));
        self
    }

    /// The world behind it.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// A probe leaves.
    pub fn send(&mut self, now: Duration, probe: SynProbe) {
        if !self.conforms(now) {
            return;
        }
        if self.outages.iter().any(|(from, to)| (*from..*to).contains(&now)) {
            return;
        }
        if let Some((entries, every)) = &mut self.table {
            if *entries == 0 {
                if self.delays.below(*every as u64) > 0 {
                    return;
                }
            } else {
                *entries -= 1;
            }
        }
        if self.there.loses() {
            return;
        }
        let (ip, port) = (probe.endpoint.ip(), probe.endpoint.port());
        for (after, reply) in self.world.behaviour(ip, port).replies().into_iter().flatten() {
            if reply == ProbeReply::Rst
                && let Some((limit, hosts)) = &mut self.resets
            {
                let full = Bucket { tokens: limit.burst, at: now };
                if !hosts.entry(ip).or_insert(full).take(now, *limit) {
                    continue;
                }
            }
            if !self.back.loses() {
                let trip = Duration::from_micros(5000 + self.delays.below(40_000));
                self.post(now + after + trip, ip, port, probe.attempt, reply);
            }
        }
    }

    fn post(
        &mut self,
        at: Duration,
        ip: IpAddr,
        port: mimawari_targets::Port,
        attempt: u8,
        reply: ProbeReply,
    ) {
        let reply = match reply {
            ProbeReply::SynAck => 0,
            ProbeReply::Rst => 1,
            ProbeReply::Prohibited => 2,
        };
        self.numbered += 1;
        let queued = QueuedReply { ip, port, attempt, reply };
        self.on_the_way.push(Reverse((at, self.numbered, queued)));
    }

    /// When the next answer arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Duration> {
        self.on_the_way.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next answer that has arrived by `now`, and when.
    pub fn arrive(&mut self, now: Duration) -> Option<(Duration, ProbeAnswer)> {
        if self.next_arrival()? > now {
            return None;
        }
        let Reverse((at, _, QueuedReply { ip, port, attempt, reply })) = self.on_the_way.pop()?;
        let reply = REPLIES[usize::from(reply)];
        Some((
            at,
            ProbeAnswer { ip, port, attempt, reply, ttl: Some(57), signs: SynAckSigns::default() },
        ))
    }
}
