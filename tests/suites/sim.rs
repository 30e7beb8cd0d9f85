//! The real sweep on a simulated network.
//!
//! What holds in every run (each step reported exactly once and rightly, nothing sent outside the
//! walk, to an answered cell, too soon or above the ceiling, no spinning and no hanging) is checked
//! by the simulation itself in each of these tests; see `sim::check`.

use std::time::Duration;

use mimawari_engine::{SweepConfig, SweepEngine, SweepEvent, SweepSummary};
use mimawari_probes::gap::Gap;
use mimawari_probes::observation::CellState;
use mimawari_report::describe_gap;
use mimawari_targets::PlanShard;
use mimawari_tests::sim::{Bursts, Driver, Loss, Mix, Network, Policer, Report, Rng, World};

/// Names the seed when a run panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

/// The sentences of a summary, one a line.
fn sentences(summary: &SweepSummary) -> String {
    let sentence = |gap: &Gap| describe_gap(&gap.clone().noted());
    summary.gaps.iter().map(sentence).collect::<Vec<_>>().join("\n")
}

fn quick() -> SweepConfig {
    SweepConfig { rate: 20_000, ..SweepConfig::default() }
}

/// A world, a network, a configuration and a driver drawn from a seed.
fn anything(seed: u64) -> (SweepConfig, Network, Driver) {
    let mut rng = Rng::new(seed);
    let pick = |rng: &mut Rng, from: &[u64]| from[rng.below(from.len() as u64) as usize];
    let mix = [Mix::HOSTING, Mix::ODD, Mix::ODD, Mix::DARK][rng.below(4) as usize];
    let (hosts, ports) = (1 + rng.below(60) as u32, 1 + rng.below(12) as u16);
    let world = World::new(rng.bits(), hosts, ports, mix);
    let cells = u64::from(hosts) * u64::from(ports);
    let min_attempts = 1 + rng.below(3) as u8;
    let config = SweepConfig {
        rate: pick(&mut rng, &[1, 7, 100, 1000, 20_000, 1_000_000]) as u32,
        recall: [0.0, 0.9, 0.99, 0.9999, 1.0][rng.below(5) as usize],
        min_attempts,
        max_attempts: min_attempts + rng.below(7) as u8,
        spacing: Duration::from_millis(1000 + rng.below(1500)),
        // Down to a few cells, but not to so many chunks that late answers outlive them all.
        chunk_cells: 1 + (cells / (1 + rng.below(12))) as u32,
        burst: pick(&mut rng, &[0, 0, 1, 5, 300]) as u32,
        ..SweepConfig::default()
    };
    let even = |rng: &mut Rng| Loss::Even(rng.below(30) as f64 / 100.0);
    let mut network = Network::new(world, rng.bits()).losing(even(&mut rng), even(&mut rng));
    if rng.chance(0.2) {
        let bursts = Bursts { begin: 0.01, end: 0.1, loss: 0.9 };
        network = network.losing(Loss::Bursts(bursts), Loss::Bursts(bursts));
    }
    if rng.chance(0.2) {
        network = network.policed(Policer { rate: 500.0, burst: 50.0 });
    }
    if rng.chance(0.2) {
        network = network.with_limited_resets(Policer { rate: 2.0, burst: 3.0 });
    }
    let likely = cells as f64 / f64::from(config.rate) * 2.0 + 5.0;
    let at = |rng: &mut Rng| Duration::from_millis(rng.below((likely * 1000.0) as u64));
    let driver = Driver {
        stop_at: rng.chance(0.4).then(|| at(&mut rng)),
        late: [0.0, 0.01, 0.5][rng.below(3) as usize],
        lateness: Duration::from_millis(1 + rng.below(4000)),
        failing: [0.0, 0.0, 0.01, 0.4][rng.below(4) as usize],
        slow_to_fail: Duration::from_millis(pick(&mut rng, &[0, 0, 100, 3000])),
        never_sent: pick(&mut rng, &[0, 0, 50, 1000]),
        unreachable: pick(&mut rng, &[0, 200]),
        broken: rng.chance(0.1).then(|| {
            let from = at(&mut rng);
            (from, from + Duration::from_secs(5))
        }),
        ring_drops: pick(&mut rng, &[0, 0, 3]),
        forged: pick(&mut rng, &[0, 20]),
        seed: rng.bits(),
        shard: rng
            .chance(0.3)
            .then(|| {
                let count = 1 + rng.below(5) as u32;
                PlanShard::new(1 + rng.below(u64::from(count)) as u32, count)
            })
            .flatten(),
    };
    (config, network, driver)
}

#[test]
fn whatever_the_network_does_the_books_are_right() {
    let runs = 3000;
    let begun = std::time::Instant::now();
    let (mut sent, mut time) = (0, Duration::ZERO);
    for seed in 0..runs {
        let _named = Seed(seed);
        let (config, network, driver) = anything(seed);
        let report = driver.run(config, network);
        assert_eq!(report.false_open, 0);
        sent += report.summary.sent;
        time += report.time;
    }
    eprintln!("{runs} runs, {sent} probes, {time:?} of virtual time in {:?}", begun.elapsed());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..30 {
        let run = || {
            let (config, network, driver) = anything(seed);
            let report = driver.run(config, network);
            (report.summary, report.time)
        };
        assert_eq!(run(), run());
    }
}

/// Runs of 64 hosts × 250 ports (1,600 open cells on average) with the given loss each way.
fn lossy(runs: u64, loss: f64) -> Vec<Report> {
    (0..runs)
        .map(|seed| {
            let _named = Seed(seed);
            let world = World::new(seed, 64, 250, Mix::HOSTING);
            let network =
                Network::new(world, seed ^ 0xabcd).losing(Loss::Even(loss), Loss::Even(loss));
            Driver::default().run(quick(), network)
        })
        .collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

#[test]
fn the_promised_recall_is_kept_at_any_loss() {
    for loss in [0.0, 0.005, 0.01, 0.05, 0.1] {
        let reports = lossy(50, loss);
        let recalls = || reports.iter().map(Report::recall);
        let (there, found) =
            reports.iter().fold((0, 0), |(t, f), r| (t + r.open_there, f + r.open_found));
        assert!(there > 50_000, "too few open cells to say anything: {there}");
        eprintln!("{loss}: {} of {there} open cells missed", there - found);
        // The promise is about the expected share. Of 80,000 cells 8 may be missing on average;
        // with seeds fixed this is no matter of luck, and 16 is not 8 by chance.
        assert!(there - found <= 16, "{loss}: {} of {there} missed", there - found);
        let mut sorted: Vec<f64> = recalls().collect();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted[sorted.len() / 2] >= 0.9999, "{loss}: median {}", sorted[25]);
        assert!(sorted[0] >= 0.998, "{loss}: worst {}", sorted[0]);
        assert!(reports.iter().all(|r| r.false_open == 0));
        let kept = reports.iter().filter(|r| r.summary.promise_kept).count();
        assert!(kept == reports.len(), "{loss}: the promise was kept in {kept} by its own word");

        // And what it says of itself is right.
        let truth = 1.0 - (1.0 - loss) * (1.0 - loss);
        let said = mean(reports.iter().map(|r| r.summary.loss_estimate.unwrap()));
        assert!((said - truth).abs() < 0.005, "loss {said} instead of {truth}");
        let said = mean(reports.iter().map(|r| r.summary.recall_estimate.unwrap()));
        let truth = mean(reports.iter().map(Report::recall));
        assert!((said - truth).abs() < 0.0005, "recall {said} instead of {truth}");
    }
}

#[test]
fn the_loss_interval_covers_the_truth_about_as_often_as_it_says() {
    // Two attempts and no more, where the interval is that of a binomial share.
    let covered = (0..200)
        .filter(|seed| {
            let world = World::new(*seed, 16, 50, Mix::HOSTING);
            let network = Network::new(world, *seed).losing(Loss::Even(0.1), Loss::Even(0.0));
            let config = SweepConfig { max_attempts: 2, ..quick() };
            let summary = Driver::default().run(config, network).summary;
            assert!(!summary.promise_kept, "two attempts cannot keep it");
            let (low, high) = summary.recall_interval.unwrap();
            // Recall of two attempts at a loss of 10 %.
            low <= 0.99 && 0.99 <= high
        })
        .count();
    assert!((176..=200).contains(&covered), "{covered} of 200 intervals hold the truth");
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn an_outage_that_ends_is_probed_again() {
    for (from, to) in [(3, 6), (5, 9), (5, 20), (0, 5)] {
        let world = World::new(11, 64, 100, Mix::HOSTING);
        let network = Network::new(world, 11).out(seconds(from), seconds(to));
        let config = SweepConfig { rate: 1000, ..quick() };
        let report = Driver::default().run(config, network);
        assert_eq!(report.recall(), 1.0, "{from} {to}: {:?}", report.summary);
        assert_eq!(report.summary.not_probed, 0, "{from} {to}");
    }
}

#[test]
fn an_outage_that_does_not_end_is_not_covered() {
    for chunk_cells in [1 << 20, 1000] {
        let world = World::new(12, 64, 100, Mix::HOSTING);
        let network = Network::new(world, 12).out(seconds(5), seconds(100_000));
        let config = SweepConfig { rate: 1000, chunk_cells, ..quick() };
        let report = Driver::default().run(config, network);
        let summary = &report.summary;
        assert!(!summary.promise_kept && summary.not_probed > 1000, "{summary:?}");
        let stretches = |g: &Gap| matches!(g, Gap::StretchesUnanswered { .. });
        assert!(summary.gaps.iter().any(stretches), "{summary:?}");
        assert!(report.recall() < 0.9);
        let low = summary.recall_interval.map(|i| i.0).unwrap();
        assert!(report.recall_of_covered() >= low, "{} {summary:?}", report.recall_of_covered());
        // Outside of the outage nothing is lost.
        assert!(report.recall_of_covered() > 0.99, "{} {summary:?}", report.recall_of_covered());
    }
}

/// Outages of any length at any time, also such as do not end, and tables that fill up.
#[test]
fn the_interval_holds_the_truth_under_outages_and_full_tables() {
    let runs = 300;
    let mut held = 0;
    for seed in 0..runs {
        let _named = Seed(seed);
        let mut rng = Rng::new(seed);
        let world = World::new(seed, 64, 60, Mix::HOSTING);
        let mut network = Network::new(world, seed);
        // Some 8 s in all.
        let from = Duration::from_millis(rng.below(8000));
        match rng.below(3) {
            0 => network = network.out(from, from + Duration::from_millis(10 + rng.below(5000))),
            1 => network = network.out(from, seconds(100_000)),
            _ => {
                let entries = 500 + rng.below(4000) as usize;
                network = network.with_full_table(entries, 20 + rng.below(1000) as usize);
            }
        }
        let config = SweepConfig { rate: 500, ..quick() };
        let report = Driver::default().run(config, network);
        // The interval is that of an expected share; what can be compared with it are whole cells.
        let there = report.open_there - report.open_not_probed;
        let missed = (there - report.open_found) as f64;
        let held_here = report.summary.recall_interval.is_none_or(|(low, high)| {
            let cells = |recall: f64| (1.0 - recall) * there as f64;
            cells(high).floor() <= missed && missed <= cells(low).ceil()
        });
        held += u64::from(held_here);
        if !held_here {
            eprintln!(
                "{seed}: {missed} of {there} not in {:?}, kept {}",
                report.summary.recall_interval, report.summary.promise_kept
            );
        }
    }
    assert!(held * 100 >= runs * 94, "{held} of {runs} intervals hold the truth");
}

#[test]
fn an_empty_range_is_not_asked_to_the_maximum() {
    let network = Network::new(World::new(1, 256, 40, Mix::DARK), 1);
    let summary = Driver::default().run(quick(), network).summary;
    assert_eq!((summary.silent, summary.attempts), (summary.cells, 3));
    assert_eq!((summary.loss_estimate, summary.recall_estimate), (None, None));
    assert!(!summary.promise_kept);
    insta::assert_snapshot!(sentences(&summary),
        @"nothing answered, so nothing can be said about loss and recall");
}

#[test]
fn where_everything_answers_one_attempt_is_enough() {
    let mix = Mix { open: 100, closed: 900, prohibited: 0, odd: 0, latest: Duration::ZERO };
    let network = Network::new(World::new(5, 100, 100, mix), 5);
    let report = Driver::default().run(quick(), network);
    let summary = report.summary;
    assert_eq!((summary.sent, summary.attempts), (summary.cells, 1));
    assert_eq!((summary.recall_estimate, summary.promise_kept), (Some(1.0), true));
    assert!(report.time < Duration::from_secs(2), "{:?}", report.time);
}

#[test]
fn silence_by_policy_does_not_look_like_loss() {
    // 2 % answer, 98 % are dropped by a filter, nothing is lost.
    let mix = Mix { open: 20, closed: 0, prohibited: 0, odd: 0, latest: Duration::ZERO };
    let network = Network::new(World::new(5, 256, 100, mix), 5);
    let summary = Driver::default().run(quick(), network).summary;
    assert_eq!((summary.loss_estimate, summary.attempts), (Some(0.0), 2), "{summary:?}");
    assert!(summary.promise_kept);
}

#[test]
fn limited_resets_neither_spoil_the_estimate_nor_the_recall() {
    let world = World::new(9, 64, 250, Mix::HOSTING);
    let network = Network::new(world, 9).with_limited_resets(Policer { rate: 10.0, burst: 20.0 });
    let report = Driver::default().run(quick(), network);
    assert_eq!(report.recall(), 1.0);
    assert!(report.summary.promise_kept, "{:?}", report.summary);
    assert!(report.summary.attempts <= 3);
    assert_eq!(report.summary.gaps[0], Gap::EstimateMethod { open_only: true });
}

#[test]
fn an_impossible_promise_is_not_kept_and_said_so() {
    let world = World::new(2, 64, 50, Mix::HOSTING);
    let network = Network::new(world, 2).losing(Loss::Even(0.7), Loss::Even(0.0));
    let summary = Driver::default().run(quick(), network).summary;
    assert_eq!(summary.attempts, 8);
    assert!(!summary.promise_kept);
    assert!(
        summary.gaps.iter().any(|g| matches!(g, Gap::ChunksBelowRecall { attempts: 8, .. })),
        "{:?}",
        summary.gaps
    );
}

#[test]
fn a_stop_at_any_time_claims_no_silence_that_was_not_earned() {
    let (mut early, mut claimed) = (0, 0);
    for seed in 0..300 {
        let _named = Seed(seed);
        let world = World::new(seed, 40, 25, Mix::ODD);
        let network = Network::new(world, seed).losing(Loss::Even(0.02), Loss::Even(0.02));
        let config = SweepConfig { rate: 500, chunk_cells: 200, ..quick() };
        let stop_at = Some(Duration::from_millis(Rng::new(seed).below(9000)));
        let report = Driver { stop_at, ..Driver::default() }.run(config, network);
        early += u64::from(report.summary.not_probed > 0);
        claimed += u64::from(report.summary.silent > 0);
        if report.summary.not_probed > 0 {
            assert!(!report.summary.promise_kept);
        }
    }
    // Neither all of it nor nothing, or else this shows nothing.
    assert!(early > 200 && claimed > 100, "{early} {claimed}");
}

#[test]
fn a_stop_keeps_what_is_already_certain_and_late_answers_still_count() {
    let network = Network::new(World::new(3, 64, 100, Mix::HOSTING), 3);
    let config = SweepConfig { rate: 2000, ..quick() };
    // One chunk of 6,400 cells: 3.2 s of sending. The stop cuts its first pass.
    let stop_at = Some(Duration::from_secs(2));
    let report = Driver { stop_at, ..Driver::default() }.run(config, network);
    let summary = report.summary;
    assert_eq!(summary.silent, 0, "no cell had all its attempts");
    assert!(summary.open > 300 && summary.closed > 1500, "{summary:?}");
    assert_eq!(report.time, Duration::from_secs(3), "one spacing after the stop");
    insta::assert_snapshot!(sentences(&summary), @r"
    the sweep was stopped before its end
    3930 cells were not probed
    ");
}

#[test]
fn the_largest_walk_stops_without_using_memory_for_what_was_never_begun() {
    let world = World::new(1, 1 << 17, u16::MAX, Mix::DARK);
    let walk = world.walk();
    let cells = walk.len();
    let mut sweep = SweepEngine::new(walk, SweepConfig::default());
    sweep.poll_transmit(Duration::ZERO).unwrap();
    sweep.stop(Duration::ZERO);
    assert_eq!(sweep.poll_timeout(), Some(Duration::from_secs(1)));
    assert_eq!(sweep.poll_transmit(Duration::from_secs(1)), None);
    assert_eq!(sweep.poll_timeout(), None);
    let mut next = 0;
    while let Some(event) = sweep.poll_event() {
        let SweepEvent::Chunk(chunk) = event else { panic!("{event:?}") };
        assert_eq!(chunk.first_step, next);
        assert!(chunk.states.iter().take(100).all(|s| *s == CellState::NotProbed));
        next += chunk.states.len() as u64;
        assert!(!sweep.is_done() || next == cells);
    }
    assert_eq!(next, cells);
    assert!(sweep.is_done());
}

#[test]
fn shards_together_are_the_whole() {
    // Nobody so late that the length of the run decides.
    let mix = Mix { latest: Duration::from_millis(500), ..Mix::ODD };
    let world = World::new(4, 50, 30, mix);
    let run = |shard| {
        let driver = Driver { shard, ..Driver::default() };
        driver.run(quick(), Network::new(world, 4)).summary
    };
    let whole = run(None);
    let parts: Vec<_> = (1..=7).map(|i| run(PlanShard::new(i, 7))).collect();
    let sum = |f: fn(&mimawari_engine::SweepSummary) -> u64| parts.iter().map(f).sum::<u64>();
    assert_eq!(
        [whole.cells, whole.open, whole.closed, whole.prohibited],
        [sum(|s| s.cells), sum(|s| s.open), sum(|s| s.closed), sum(|s| s.prohibited)]
    );
}

#[test]
fn a_ceiling_is_reached_and_not_passed() {
    // The ceiling itself is checked packet by packet in every run. Here: no time is wasted either.
    let world = World::new(6, 100, 100, Mix::DARK);
    for rate in [100, 3000, 50_000] {
        let config = SweepConfig { rate, max_attempts: 2, ..quick() };
        let report = Driver::default().run(config, Network::new(world, 6));
        let least = 20_000.0 / f64::from(rate) + 1.0;
        let most = least * 1.01 + 2.0;
        assert!((least..most).contains(&report.time.as_secs_f64()), "{rate}: {:?}", report.time);
    }
}

#[test]
fn a_chunk_that_waits_does_not_hold_up_the_next() {
    let world = World::new(6, 100, 100, Mix::DARK);
    let config = SweepConfig { rate: 2000, max_attempts: 2, chunk_cells: 1000, ..quick() };
    let report = Driver::default().run(config, Network::new(world, 6));
    // 20,000 probes in 10 s, and the waits of the last chunk; not 20 waits of a second each.
    assert!(report.time < Duration::from_secs(13), "{:?}", report.time);
}

#[test]
fn ring_drops_lower_the_rate() {
    let world = World::new(7, 64, 250, Mix::HOSTING);
    let run = |ring_drops| {
        let driver = Driver { ring_drops, ..Driver::default() };
        let config = SweepConfig { rate: 1000, max_attempts: 2, ..quick() };
        driver.run(config, Network::new(world, 7))
    };
    let (quiet, dropping) = (run(0), run(5));
    assert!(dropping.time > quiet.time * 5, "{:?} {:?}", quiet.time, dropping.time);
    assert!(dropping.summary.receive_lost > 0);
}

#[test]
fn an_interface_that_fails_for_a_while_costs_time_and_no_cell() {
    let world = World::new(8, 64, 100, Mix::HOSTING);
    let broken = Some((Duration::from_millis(100), Duration::from_secs(10)));
    let report = Driver { broken, ..Driver::default() }.run(quick(), Network::new(world, 8));
    assert_eq!((report.recall(), report.summary.not_probed), (1.0, 0));
    assert!(report.summary.send_failures > 0);
    assert!(report.summary.promise_kept);
}

#[test]
fn an_interface_that_never_works_ends_the_sweep_in_half_a_minute() {
    let world = World::new(8, 1000, 1000, Mix::HOSTING);
    let broken = Some((Duration::ZERO, Duration::MAX));
    let report = Driver { broken, ..Driver::default() }.run(quick(), Network::new(world, 8));
    assert_eq!(report.summary.not_probed, 1_000_000);
    assert_eq!((report.summary.sent, report.summary.attempts), (0, 0));
    assert!(report.time < Duration::from_secs(40), "{:?}", report.time);
    assert!(report.summary.send_failures < 10_000, "it spun: {:?}", report.summary);
    insta::assert_snapshot!(sentences(&report.summary), @r"
    every send failed for 30 s: the sweep gave up
    1000000 cells were not probed
    ");
}

#[test]
fn hosts_without_a_route_do_not_slow_down_the_others() {
    let world = World::new(8, 1000, 20, Mix::HOSTING);
    let driver = Driver { never_sent: 20, seed: 1, ..Driver::default() };
    let report = driver.run(quick(), Network::new(world, 8));
    let summary = report.summary;
    assert!((200..=800).contains(&summary.not_probed), "{summary:?}");
    assert_eq!(summary.send_failures, summary.not_probed * 10);
    assert!(!summary.promise_kept);
    assert!(report.time < Duration::from_secs(12), "{:?}", report.time);
}

/// What the sweep makes of different networks, eight runs each (some 5,000 open cells). A change of
/// behaviour shows here as a changed line. The last two rows are the known limits: a cell that
/// answered RST is not asked again, so a lost SYN-ACK that was to follow is not seen; and whoever
/// answers later than the sweep lasts is silent.
#[test]
fn table_of_networks() {
    type Make = fn(Network) -> Network;
    let soon = Mix { latest: Duration::from_secs(2), ..Mix::ODD };
    let even = |p: f64| move |n: Network| n.losing(Loss::Even(p), Loss::Even(p));
    let bursts = |n: Network| {
        let b = Bursts { begin: 0.001, end: 0.05, loss: 0.8 };
        n.losing(Loss::Bursts(b), Loss::Bursts(b))
    };
    type Change = Box<dyn Fn(Network) -> Network>;
    let rows: [(&str, Mix, Change); 12] = [
        ("no loss", Mix::HOSTING, Box::new(even(0.0))),
        ("0.5 % each way", Mix::HOSTING, Box::new(even(0.005))),
        ("2 % each way", Mix::HOSTING, Box::new(even(0.02))),
        ("5 % each way", Mix::HOSTING, Box::new(even(0.05))),
        ("20 % each way", Mix::HOSTING, Box::new(even(0.2))),
        (
            "5 % towards only",
            Mix::HOSTING,
            Box::new((|n| n.losing(Loss::Even(0.05), Loss::Even(0.0))) as Make),
        ),
        (
            "5 % back only",
            Mix::HOSTING,
            Box::new((|n| n.losing(Loss::Even(0.0), Loss::Even(0.05))) as Make),
        ),
        ("bursts, 1.6 % each way", Mix::HOSTING, Box::new(bursts)),
        (
            "policer at 3/4 of rate",
            Mix::HOSTING,
            Box::new((|n| n.policed(Policer { rate: 15_000.0, burst: 200.0 })) as Make),
        ),
        ("odd hosts, late to 2 s", soon, Box::new(even(0.0))),
        ("the same, 2 % each way", soon, Box::new(even(0.02))),
        ("odd hosts, late to 4 s", Mix::ODD, Box::new(even(0.0))),
    ];
    let mut table = format!(
        "{:<24} {:>8} {:>9} {:>9} {:>9} {:>7} {:>6} {:>9} {:>5}\n",
        "network", "recall", "worst", "said", "loss", "probes", "tries", "time", "kept"
    );
    for (name, mix, make) in rows {
        let reports: Vec<Report> = (0..8)
            .map(|seed| {
                let _named = Seed(seed);
                let world = World::new(seed, 64, 100, mix);
                Driver::default().run(quick(), make(Network::new(world, seed)))
            })
            .collect();
        let average = |f: fn(&Report) -> f64| mean(reports.iter().map(f));
        table += &format!(
            "{name:<24} {:>8.5} {:>9.5} {:>9.5} {:>8.2}% {:>7.3} {:>6} {:>8.3}s {:>3}/8\n",
            average(Report::recall),
            reports.iter().map(Report::recall).fold(1.0, f64::min),
            average(|r| r.summary.recall_estimate.unwrap()),
            average(|r| r.summary.loss_estimate.unwrap()) * 100.0,
            average(|r| r.summary.sent as f64 / r.summary.cells as f64),
            reports.iter().map(|r| r.summary.attempts).max().unwrap(),
            average(|r| r.time.as_secs_f64()),
            reports.iter().filter(|r| r.summary.promise_kept).count(),
        );
    }
    insta::assert_snapshot!(table, @r"
    network                    recall     worst      said      loss  probes  tries      time  kept
    no loss                   1.00000   1.00000   1.00000     0.00%   1.375      2    2.574s   8/8
    0.5 % each way            1.00000   1.00000   0.99999     0.93%   1.709      3    3.559s   8/8
    2 % each way              1.00000   1.00000   0.99996     3.85%   1.916      4    4.117s   8/8
    5 % each way              1.00000   1.00000   0.99997     9.50%   2.470      5    5.672s   8/8
    20 % each way             0.99962   0.99844   0.99960    35.94%   3.975      8    9.833s   0/8
    5 % towards only          0.99980   0.99843   0.99999     4.88%   2.156      4    4.818s   8/8
    5 % back only             1.00000   1.00000   0.99999     4.85%   2.203      5    4.964s   8/8
    bursts, 1.6 % each way    1.00000   1.00000   0.99998     3.38%   1.865      4    3.986s   8/8
    policer at 3/4 of rate    1.00000   1.00000   1.00000     0.15%   1.893      4    3.948s   8/8
    odd hosts, late to 2 s    1.00000   1.00000   1.00000     0.00%   1.355      2    2.566s   8/8
    the same, 2 % each way    0.99201   0.98733   0.99996     3.15%   1.712      3    3.682s   8/8
    odd hosts, late to 4 s    0.91765   0.90750   1.00000     0.00%   1.371      2    2.572s   8/8
    ");
}
