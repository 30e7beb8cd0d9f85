//! A sample of the silent cells first: cheap where nothing is lost, and not deceived by an outage.

#![allow(clippy::unwrap_used)] // the set-up

use std::time::Duration;

use mimawari_engine::{
    ProbeAnswer, ProbeReply, SweepConfig, SweepEngine, SweepEvent, SweepSummary,
};
use mimawari_probes::wire::SynAckSigns;
use mimawari_targets::{AddrRange, AddrSet, CellPlan, PlanShard, Scope};

/// Sweeps 409,600 cells of which 60 % are silent; `lost` decides which (step, attempt) get through to
/// no answer. Returns the account and the cells that were missed.
fn sweep(lost: impl Fn(u64, u8) -> bool) -> (SweepSummary, u64) {
    let range: AddrRange = "198.18.0.0/19".parse().unwrap();
    let scope = Scope::new(AddrSet::from_ranges([range]), AddrSet::default(), "test");
    let plan = CellPlan::new(scope.whole(), "1-50".parse().unwrap(), 3).unwrap();
    let config = SweepConfig { rate: 1_000_000, ..SweepConfig::default() };
    let mut sweep = SweepEngine::new(plan.walk(PlanShard::WHOLE), config);
    // Which cells are silent has nothing to do with the order.
    let answers = |step: u64| step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xff < 102;
    let mut now = Duration::ZERO;
    let mut there = 0;
    for step in 0..sweep.walk().len() {
        there += u64::from(answers(step));
    }
    while !sweep.is_done() {
        while let Some(probe) = sweep.poll_transmit(now) {
            if answers(probe.step) && !lost(probe.step, probe.attempt) {
                let (ip, port) = (probe.endpoint.ip(), probe.endpoint.port());
                let attempt = probe.attempt;
                sweep.handle(
                    now,
                    ProbeAnswer {
                        ip,
                        port,
                        attempt,
                        reply: ProbeReply::Rst,
                        ttl: None,
                        signs: SynAckSigns::default(),
                    },
                );
            }
        }
        while let Some(event) = sweep.poll_event() {
            assert!(!matches!(event, SweepEvent::Amended { .. }));
        }
        now = sweep.poll_timeout().unwrap_or(now).max(now + Duration::from_nanos(1));
    }
    let summary = sweep.summary();
    let missed = there - summary.closed;
    (summary, missed)
}

#[test]
fn without_loss_a_sample_is_all_that_is_asked_again() {
    let (summary, missed) = sweep(|_, _| false);
    assert_eq!(missed, 0);
    assert!(summary.promise_kept, "{:?}", summary.gaps);
    assert_eq!(summary.attempts, 2);
    let (cells, silent) = (summary.cells as f64, summary.silent as f64);
    let sent = summary.sent as f64;
    assert!((cells + silent / 3.0..cells + silent / 1.9).contains(&sent), "{summary:?}");
    assert!(summary.recall_interval.unwrap().0 > 0.9998, "{summary:?}");
    assert!(sent < cells + silent * 0.6, "{summary:?}");
}

#[test]
fn an_outage_in_any_part_of_a_pass_is_noticed() {
    for part in [0..2000, 90_000..92_000, 407_800..409_600] {
        let (summary, missed) = sweep(|step, attempt| attempt == 1 && part.contains(&step));
        assert_eq!(missed, 0, "{part:?} {summary:?}");
        assert!(summary.promise_kept, "{:?}", summary.gaps);
    }
}

#[test]
fn a_loss_above_the_promise_is_asked_for_in_full() {
    // One in 500: the sample shows it, and all silent cells are asked again.
    let mix = |step: u64, attempt: u8| {
        (step ^ u64::from(attempt) << 40).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 33
    };
    let (summary, missed) = sweep(|step, attempt| mix(step, attempt) % 500 == 0);
    assert!(summary.sent > summary.cells + summary.silent, "{summary:?}");
    assert!(missed <= 3 && summary.promise_kept, "{missed} {summary:?}");
    assert!((0.001..0.003).contains(&summary.loss_estimate.unwrap()), "{summary:?}");
}
