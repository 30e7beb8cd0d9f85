//! The loop around the sweep.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mimawari_engine::{ProbeAnswer, ProbeReply, SweepConfig, SweepEngine, SynProbe};
use mimawari_probes::wire::SynAckSigns;
use mimawari_targets::{PlanOrder, PlanShard};

use super::check::Books;
use super::rng::mix;
use super::{Network, Report, Rng};

/// How the driver behaves. The default is a perfect one.
#[derive(Debug, Clone, Default)]
pub struct Driver {
    /// When it stops the sweep.
    pub stop_at: Option<Duration>,
    /// Probability that it wakes late, by up to `lateness`.
    pub late: f64,
    /// See `late`.
    pub lateness: Duration,
    /// Probability that a send fails.
    pub failing: f64,
    /// How long after the send a failure may be reported.
    pub slow_to_fail: Duration,
    /// Hosts to which every send fails, in thousandths.
    pub never_sent: u64,
    /// Hosts that do not answer ARP, in thousandths: reported as unreachable.
    pub unreachable: u64,
    /// Between these times every send fails.
    pub broken: Option<(Duration, Duration)>,
    /// Frames that the ring loses a second.
    pub ring_drops: u64,
    /// Forged answers a second: impossible attempts, cells not yet sent, foreign addresses.
    pub forged: u64,
    /// Seed of all of this.
    pub seed: u64,
    /// Which shard.
    pub shard: Option<PlanShard>,
}

impl Driver {
    /// Runs a sweep to its end.
    ///
    /// # Panics
    /// When anything that must hold does not: see [`Report`].
    #[must_use]
    pub fn run(&self, config: SweepConfig, mut network: Network) -> Report {
        let walk = network.world().shard(self.shard.unwrap_or(PlanShard::WHOLE));
        let mut sweep = SweepEngine::new(walk.clone(), config.clone());
        let mut books = Books::new(walk.clone(), config);
        let mut rng = Rng::new(self.seed);
        let mut now = Duration::ZERO;
        let mut second = 0;
        let mut stopped = false;
        let mut handed = HashSet::new();
        let mut failures = BTreeMap::new();
        loop {
            while let Some((at, answer)) = network.arrive(now) {
                books.delivered(answer);
                sweep.handle(at, answer);
            }
            if self.stop_at.is_some_and(|at| now >= at) && !stopped {
                stopped = true;
                sweep.stop(now);
                books.stopped();
            }
            if now.as_secs() > second {
                second = now.as_secs();
                sweep.receive_lost(now, self.ring_drops);
                for answer in self.forge(&mut rng, &walk, &handed) {
                    books.delivered(answer);
                    sweep.handle(now, answer);
                }
            }
            for probe in due(&mut failures, now) {
                books.failed(probe);
                sweep.send_failed(now, probe);
            }
            loop {
                let failed =
                    self.transmit(&mut rng, now, &mut sweep, &mut network, &mut books, &mut handed);
                if failed.is_empty() {
                    break;
                }
                for probe in failed {
                    if self.slow_to_fail.is_zero() {
                        books.failed(probe);
                        sweep.send_failed(now, probe);
                    } else {
                        let after = u64::try_from(self.slow_to_fail.as_micros()).expect("short");
                        let at = now + Duration::from_micros(1 + rng.below(after));
                        failures.entry(at).or_insert_with(Vec::new).push(probe);
                    }
                }
            }
            while let Some(event) = sweep.poll_event() {
                books.event(&event);
            }
            let failure = failures.keys().next().copied();
            if sweep.is_done() && failure.is_none() {
                break;
            }
            let timeout = sweep.poll_timeout();
            assert!(timeout.is_some() || sweep.is_done(), "not done, and nothing to wait for");
            assert!(timeout.is_none_or(|at| at > now), "the driver would spin at {now:?}");
            let mut next = timeout.or(failure).expect("one of both");
            if rng.chance(self.late) {
                let micros = u64::try_from(self.lateness.as_micros()).expect("short");
                next += Duration::from_micros(rng.below(micros));
            }
            for other in [failure, network.next_arrival(), self.stop_at.filter(|_| !stopped)] {
                next = other.map_or(next, |at| next.min(at)).max(now);
            }
            now = next;
            assert!(now < Duration::from_secs(1_000_000), "no end");
        }
        books.close(&sweep, &network, now)
    }

    fn transmit(
        &self,
        rng: &mut Rng,
        now: Duration,
        sweep: &mut SweepEngine,
        network: &mut Network,
        books: &mut Books,
        handed: &mut HashSet<u64>,
    ) -> Vec<SynProbe> {
        let mut failed = Vec::new();
        while let Some(probe) = sweep.poll_transmit(now) {
            books.handed(now, probe);
            if self.forged > 0 {
                handed.insert(probe.step);
            }
            let host = self.host(probe);
            if self.broken.is_some_and(|(from, to)| (from..to).contains(&now))
                || host < self.never_sent
                || rng.chance(self.failing)
            {
                failed.push(probe);
                // As a real driver does: send a batch, then report what did not go.
                if failed.len() == 16 {
                    break;
                }
            } else if (self.never_sent..self.never_sent + self.unreachable).contains(&host) {
                sweep.unreachable(now, probe);
            } else {
                network.send(now, probe);
            }
        }
        failed
    }

    /// Answers that nobody can have sent, with a cookie that happens to be right.
    fn forge(&self, rng: &mut Rng, walk: &PlanOrder, handed: &HashSet<u64>) -> Vec<ProbeAnswer> {
        let mut answers = Vec::new();
        for _ in 0..self.forged {
            let step = rng.below(walk.len());
            let Some(endpoint) = walk.endpoint(step) else {
                continue;
            };
            let mut answer = ProbeAnswer {
                ip: endpoint.ip(),
                port: endpoint.port(),
                attempt: if rng.chance(0.5) { 0 } else { 200 },
                reply: ProbeReply::SynAck,
                ttl: None,
                signs: SynAckSigns::default(),
            };
            match rng.below(3) {
                // Never sent so far, whatever attempt it names.
                0 if !handed.contains(&step) => answer.attempt = 1,
                // Not of this walk.
                1 => answer.ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
                _ => {}
            }
            answers.push(answer);
        }
        answers
    }

    fn host(&self, probe: SynProbe) -> u64 {
        let bits = match probe.endpoint.ip() {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        mix(self.seed ^ mix((bits >> 64) as u64 ^ bits as u64)) % 1000
    }
}

/// Takes out what is due by `now`.
fn due(failures: &mut BTreeMap<Duration, Vec<SynProbe>>, now: Duration) -> Vec<SynProbe> {
    let later = failures.split_off(&(now + Duration::from_nanos(1)));
    std::mem::replace(failures, later).into_values().flatten().collect()
}
