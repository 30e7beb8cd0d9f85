//! Paths that drop what exceeds a rate: how much of them is used, and whether the promise is kept.
//!
//! A policer counts tokens in a bucket. With a bucket of a few packets it drops most of what leaves back
//! to back, whatever the average rate is; so it is the burst that must become small before the rate is.

use std::time::Duration;

use mimawari_engine::SweepConfig;
use mimawari_tests::sim::{Driver, Loss, Mix, Network, Policer, Report, Traffic, World};

/// Everything but a fifth answers, as in the benchmarks.
const MIX: Mix = Mix { open: 10, closed: 790, prohibited: 0, odd: 0, latest: Duration::ZERO };

/// A sweep that takes about so many seconds at the capacity.
struct Path {
    seed: u64,
    capacity: u32,
    bucket: u32,
    loss: f64,
    seconds: u32,
}

impl Path {
    fn network(&self) -> Network {
        let cells = self.capacity * self.seconds * 2 / 3;
        let ports = 100;
        let world = World::new(self.seed, cells.div_ceil(ports), ports as u16, MIX);
        Network::new(world, self.seed)
            .losing(Loss::Even(self.loss), Loss::Even(0.0))
            .policed(Policer { rate: f64::from(self.capacity), burst: f64::from(self.bucket) })
    }

    /// `None`: the rate is to be found from below.
    fn run(&self, asked: Option<u32>, change: impl Fn(Network) -> Network) -> Report {
        let config = SweepConfig {
            rate: asked.unwrap_or(10_000_000),
            auto: asked.is_none(),
            ..SweepConfig::default()
        };
        Driver::default().run(config, change(self.network()))
    }

    /// The share of the capacity that was used over the whole sweep.
    fn used(&self, report: &Report) -> f64 {
        let through = (report.summary.sent - report.policed) as f64;
        through / (f64::from(self.capacity) * report.time.as_secs_f64() - report.others as f64)
    }

    fn line(&self, report: &Report) -> String {
        let Report { summary, policed, .. } = report;
        format!(
            "{:>7} {:>5} {:>5.3} seed {:<3} used {:.3} recall {:.5} kept {} sent/cell {:.3} policed {:.3} \
             attempts {} {:.1?} rate {} said {:?}",
            self.capacity,
            self.bucket,
            self.loss,
            self.seed,
            self.used(report),
            report.recall(),
            summary.promise_kept,
            summary.sent as f64 / summary.cells as f64,
            *policed as f64 / summary.sent as f64,
            summary.attempts,
            report.time,
            summary.rate,
            summary.path_capacity,
        )
    }
}

/// What several runs came to: no false word about the promise, and hardly an open port missed.
#[derive(Default)]
struct Runs {
    used: Vec<f64>,
    there: u64,
    found: u64,
}

impl Runs {
    fn add(&mut self, used: f64, path: &Path, report: &Report) {
        eprintln!("{}", path.line(report));
        assert!(report.summary.promise_kept, "{}", path.line(report));
        self.used.push(used);
        self.there += report.open_there;
        self.found += report.open_found;
    }

    /// At least so much of the capacity was used on average.
    fn check(&self, least: f64) {
        let missed = self.there - self.found;
        let expected = self.there as f64 * 1e-4;
        assert!((missed as f64) <= expected + 3.0 * expected.sqrt() + 1.0, "{missed} missed");
        let mean = self.used.iter().sum::<f64>() / self.used.len() as f64;
        assert!(mean >= least, "{mean} of the capacity used, {:?}", self.used);
    }
}

#[test]
fn the_capacity_is_used_whatever_the_bucket() {
    for capacity in [5_000, 10_000] {
        let mut runs = Runs::default();
        for bucket in [5, 50, 1_000] {
            for loss in [0.0, 0.01] {
                // A bound that is not reached and no bound at all take turns.
                let asked = if bucket == 50 { None } else { Some(capacity * 10) };
                let path = Path { seed: 1, capacity, bucket, loss, seconds: 30 };
                let report = path.run(asked, |n| n);
                runs.add(path.used(&report), &path, &report);
            }
        }
        runs.check(0.8);
    }
}

#[test]
fn a_bucket_of_two_packets_is_no_trap() {
    let mut runs = Runs::default();
    for seed in 0..4 {
        let path = Path { seed, capacity: 5_000, bucket: 2, loss: 0.0, seconds: 30 };
        let report = path.run(Some(50_000), |n| n);
        runs.add(path.used(&report), &path, &report);
    }
    runs.check(0.7);
}

#[test]
fn a_capacity_that_halves_is_followed() {
    let mut runs = Runs::default();
    for seed in 0..4 {
        let path = Path { seed, capacity: 8_000, bucket: 5, loss: 0.0, seconds: 40 };
        let at = Duration::from_secs(3 + 8 * seed);
        let report = path.run(Some(80_000), |n| n.with_share_from(at, 0.5));
        let there = (at + (report.time.saturating_sub(at)) / 2).as_secs_f64();
        let used = path.used(&report) * report.time.as_secs_f64() / there;
        runs.add(used, &path, &report);
    }
    runs.check(0.8);
}

#[test]
fn traffic_of_others_that_comes_and_goes_costs_no_port() {
    let mut runs = Runs::default();
    for seed in 0..4 {
        let path = Path { seed, capacity: 8_000, bucket: 20, loss: 0.0, seconds: 40 };
        let times = (Duration::from_secs(1 + 2 * seed), Duration::from_secs(7 - 2 * seed));
        let traffic = Traffic { rate: 5_000.0, times };
        let report = path.run(Some(80_000), |n| n.shared_with(traffic));
        runs.add(path.used(&report), &path, &report);
    }
    // The others leave for a few seconds at a time, and what they leave is found by and by.
    runs.check(0.5);
}
