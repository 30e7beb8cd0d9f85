//! A sweep that is killed and resumed, and ceilings for hosts: against a network that answers all.

#![allow(clippy::unwrap_used)] // the set-up

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use mimawari_engine::{
    ProbeAnswer, ProbeReply, SweepCheckpoint, SweepConfig, SweepEngine, SweepEvent, SynProbe,
};
use mimawari_probes::observation::CellState;
use mimawari_probes::wire::SynAckSigns;
use mimawari_targets::{AddrRange, AddrSet, CellPlan, PlanOrder, PlanShard, Scope};
use proptest::prelude::*;

fn walk(ports: &str) -> PlanOrder {
    let range: AddrRange = "192.0.2.0/26".parse().unwrap();
    let scope = Scope::new(AddrSet::from_ranges([range]), AddrSet::default(), "test");
    CellPlan::new(scope.whole(), ports.parse().unwrap(), 11).unwrap().walk(PlanShard::WHOLE)
}

/// The truth: every third cell is silent, every seventh of the others open.
fn reply(step: u64) -> Option<ProbeReply> {
    match step {
        s if s % 3 == 0 => None,
        s if s % 7 == 0 => Some(ProbeReply::SynAck),
        _ => Some(ProbeReply::Rst),
    }
}

/// States that were reported, by step, and how often.
type Reported = BTreeMap<u64, (CellState, u32)>;

/// One process: sweeps until it is done or until `end`, and returns when it was. Answers take
/// `delay`; those under way at the end are lost.
struct Process<'a> {
    sweep: SweepEngine,
    delay: Duration,
    sent: &'a mut Vec<(Duration, SynProbe)>,
    reported: &'a mut Reported,
    open: &'a mut BTreeMap<u64, u32>,
}

impl Process<'_> {
    /// The last checkpoint that was made, with the states that were reported before it.
    fn run(&mut self, end: Duration) -> Option<(SweepCheckpoint, Reported)> {
        let mut now = Duration::ZERO;
        let mut under_way: VecDeque<(Duration, ProbeAnswer)> = VecDeque::new();
        let mut saved = None;
        let mut next_save = Duration::ZERO;
        loop {
            while under_way.front().is_some_and(|(at, _)| *at <= now) {
                let (at, answer) = under_way.pop_front().unwrap();
                self.sweep.handle(at, answer);
            }
            while let Some(probe) = self.sweep.poll_transmit(now) {
                self.sent.push((now, probe));
                if let Some(reply) = reply(probe.step) {
                    let answer = ProbeAnswer {
                        ip: probe.endpoint.ip(),
                        port: probe.endpoint.port(),
                        attempt: probe.attempt,
                        reply,
                        ttl: None,
                        signs: SynAckSigns::default(),
                    };
                    under_way.push_back((now + self.delay, answer));
                }
            }
            while let Some(event) = self.sweep.poll_event() {
                match event {
                    SweepEvent::Chunk(chunk) => {
                        for (step, state) in (chunk.first_step..).zip(chunk.states) {
                            self.reported.entry(step).or_insert((state, 0)).1 += 1;
                        }
                    }
                    SweepEvent::Open { endpoint, .. } => {
                        let walk = self.sweep.walk();
                        let step = walk.step_of(endpoint.ip(), endpoint.port()).unwrap();
                        *self.open.entry(step).or_default() += 1;
                    }
                    SweepEvent::Amended { step, .. } => {
                        panic!("step {step} was changed afterwards")
                    }
                    SweepEvent::Prohibited { .. } => unreachable!(),
                }
            }
            if self.sweep.is_done() {
                return None;
            }
            if now >= next_save {
                next_save = now + Duration::from_millis(450);
                saved = self.sweep.checkpoint().map(|c| (c, self.reported.clone()));
            }
            if now >= end {
                return saved;
            }
            let next = self.sweep.poll_timeout().unwrap_or(Duration::MAX);
            let next = next.min(under_way.front().map_or(Duration::MAX, |(at, _)| *at));
            now = next.max(now + Duration::from_nanos(1)).min(next_save).min(end);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn killed_anywhere_and_resumed_it_is_the_run_that_it_would_have_been(
        chunk_cells in 50u32..2000,
        rate in prop_oneof![Just(100u32), Just(1000), Just(20_000)],
        per_host in prop_oneof![Just(0u32), Just(20), Just(500)],
        kills in prop::collection::vec(1u64..4000, 0..6),
        delay in 0u64..390,
    ) {
        let config = SweepConfig { chunk_cells, rate, per_host, ..SweepConfig::default() };
        let walk = walk("1-20");
        let (mut sent, mut open) = (Vec::new(), BTreeMap::new());
        let mut reported: Reported = BTreeMap::new();
        let mut point: Option<SweepCheckpoint> = None;
        let mut ends: Vec<Duration> = kills.iter().map(|ms| Duration::from_millis(*ms)).collect();
        ends.push(Duration::MAX);
        let mut done = false;
        for end in ends {
            let sweep = match &point {
                None => SweepEngine::new(walk.clone(), config.clone()),
                Some(point) => SweepEngine::resume(walk.clone(), config.clone(), point).unwrap(),
            };
            let before = reported.clone();
            let mut process = Process {
                sweep,
                delay: Duration::from_millis(delay),
                sent: &mut sent,
                reported: &mut reported,
                open: &mut open,
            };
            match process.run(end) {
                Some((saved, at_that_time)) => {
                    point = Some(saved);
                    reported = at_that_time;
                }
                None if end == Duration::MAX || reported.len() as u64 == walk.len() => {
                    done = true;
                    break;
                }
                // Killed before its first checkpoint: the one before still holds.
                None => reported = before,
            }
        }
        prop_assert!(done);
        for step in 0..walk.len() {
            let expected = reply(step).map_or(CellState::Silent, ProbeReply::state);
            prop_assert_eq!(reported.get(&step), Some(&(expected, 1)), "step {}", step);
            prop_assert_eq!(open.contains_key(&step), expected == CellState::Open);
        }
    }

    #[test]
    fn no_host_gets_more_than_its_ceiling(
        // The second: the rate is low for a while, and the first probes of a host wait for it.
        (per_host, rate) in prop_oneof![4 => (1u32..60, 50u32..5000), 1 => Just((1, 896))],
    ) {
        let config = SweepConfig { rate, per_host, ..SweepConfig::default() };
        let (mut sent, mut reported, mut open) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut process = Process {
            sweep: SweepEngine::new(walk("1-12"), config),
            delay: Duration::from_millis(20),
            sent: &mut sent,
            reported: &mut reported,
            open: &mut open,
        };
        prop_assert!(process.run(Duration::MAX).is_none());
        prop_assert_eq!(reported.len(), 64 * 12);
        let mut by_host: BTreeMap<IpAddr, Vec<Duration>> = BTreeMap::new();
        for (at, probe) in &sent {
            by_host.entry(probe.endpoint.ip()).or_default().push(*at);
        }
        for times in by_host.values() {
            for (i, from) in times.iter().enumerate() {
                for (j, to) in times.iter().enumerate().skip(i) {
                    // 50 ms worth at once, and one more at each end.
                    let seconds = (*to - *from).as_secs_f64() + 0.05;
                    prop_assert!((j - i + 1) as f64 <= seconds * f64::from(per_host) + 2.0);
                }
            }
        }
    }
}

/// A ceiling for hosts that is slower than the one for networks does not excuse the network.
#[test]
fn no_network_gets_more_than_its_ceiling() {
    for (per_host, per_network, rate) in [(1, 20, 896), (2, 100, 300), (5, 60, 1000), (0, 30, 896)]
    {
        let config = SweepConfig { rate, per_host, per_network, ..SweepConfig::default() };
        let (mut sent, mut reported, mut open) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut process = Process {
            sweep: SweepEngine::new(walk("1-12"), config),
            delay: Duration::from_millis(20),
            sent: &mut sent,
            reported: &mut reported,
            open: &mut open,
        };
        assert!(process.run(Duration::MAX).is_none());
        let times: Vec<f64> = sent.iter().map(|(at, _)| at.as_secs_f64()).collect();
        for (i, from) in times.iter().enumerate() {
            for (j, to) in times.iter().enumerate().skip(i) {
                // 50 ms worth at once, what may be late, and one more at each end.
                let most = (to - from + 0.06) * f64::from(per_network) + 3.0;
                assert!((j - i + 1) as f64 <= most, "{per_host} {per_network} {rate}: {i} to {j}");
            }
        }
    }
}

#[test]
fn a_checkpoint_of_another_walk_is_refused() {
    let mut sweep = SweepEngine::new(walk("1-20"), SweepConfig::default());
    let _ = sweep.poll_transmit(Duration::ZERO);
    let point = sweep.checkpoint().unwrap();
    assert!(SweepEngine::resume(walk("1-21"), SweepConfig::default(), &point).is_err());
    let mut damaged = point.clone();
    damaged.chunks[0].cells.pop();
    assert!(SweepEngine::resume(walk("1-20"), SweepConfig::default(), &damaged).is_err());
    assert!(SweepEngine::resume(walk("1-20"), SweepConfig::default(), &point).is_ok());
}
