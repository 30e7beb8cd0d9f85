//! A short ramp of rates to known-open endpoints: what does a rate lose?
//!
//! Each step sends so many SYNs that its loss can be distinguished from that of the first, slowest step. Loss
//! that is there at every rate is the path's; what a step loses beyond that is the rate's doing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::line::CheckFinding;

/// Rate of the first step, packets per second.
const SLOWEST: u32 = 500;
const STEPS: i32 = 5;
/// Packets of a step, at most: a second, and no more than these.
const MOST_A_STEP: u32 = 10_000;
/// A step with fewer packets shows nothing.
const FEWEST: u32 = 50;
/// Loss of the slowest step from which on it is reported.
const LOSSY: f64 = 0.01;
/// 99 % of a normal distribution lies within so many standard deviations.
const Z: f64 = 2.576;
/// A step that came to less of its rate was held up by this machine.
const REACHED: f64 = 0.8;

/// A step to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RampStep {
    /// Packets per second.
    pub rate: u32,
    /// Packets.
    pub packets: u32,
}

/// A step that was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RampResult {
    /// What was asked for, packets per second.
    pub rate: u32,
    /// What was reached.
    pub reached: f64,
    /// Packets that left.
    pub sent: u32,
    /// Of these, answered.
    pub answered: u32,
    /// Packets that the system refused.
    pub failed: u32,
    /// Answers that the ring lost.
    pub ring_drops: u64,
}

/// The highest rate that keeps to the ceilings, when the endpoints are asked in turn; 0: no ceiling.
#[must_use]
pub fn compute_rate_ceiling(
    rate: u32,
    per_host: u32,
    per_network: u32,
    endpoints: &[SocketAddr],
) -> u32 {
    let busiest = |key: fn(IpAddr) -> IpAddr| {
        let mut counts: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for e in endpoints {
            *counts.entry(key(e.ip())).or_default() += 1;
        }
        counts.into_values().max().unwrap_or(1)
    };
    let all = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
    let bound = |ceiling: u32, busiest: u32| match ceiling {
        0 => u32::MAX,
        c => (u64::from(c) * u64::from(all) / u64::from(busiest)).try_into().unwrap_or(u32::MAX),
    };
    rate.min(bound(per_host, busiest(|ip| ip))).min(bound(per_network, busiest(to_network_address)))
}

/// The /24 or /64 of an address.
fn to_network_address(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & !0xff).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// The steps up to a rate, growing by the same factor; a second each at most, `budget` packets in all
/// at most.
#[must_use]
pub fn build_ramp_steps(top: u32, budget: u32) -> Vec<RampStep> {
    let slowest = SLOWEST.min(top).max(1);
    let factor = (f64::from(top.max(1)) / f64::from(slowest)).powf(1.0 / f64::from(STEPS - 1));
    let mut rates: Vec<u32> = (0..STEPS)
        .map(|i| (f64::from(slowest) * factor.powi(i)).round() as u32)
        .map(|r| r.clamp(1, top.max(1)))
        .collect();
    rates.dedup();
    let wanted: Vec<u32> = rates.iter().map(|r| (*r).min(MOST_A_STEP)).collect();
    let all: u32 = wanted.iter().sum();
    let share = f64::from(budget.min(all)) / f64::from(all.max(1));
    rates
        .into_iter()
        .zip(wanted)
        .map(|(rate, n)| RampStep { rate, packets: (f64::from(n) * share) as u32 })
        .collect()
}

/// Packets of all steps.
#[must_use]
pub fn count_packets(steps: &[RampStep]) -> u32 {
    steps.iter().map(|s| s.packets).sum()
}

/// The share of packets lost: what was seen, and the interval that holds the true share in 99 of 100
/// cases (Wilson score interval; E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).
#[must_use]
pub fn estimate_loss(sent: u32, answered: u32) -> (f64, f64, f64) {
    if sent == 0 {
        return (0.0, 0.0, 1.0);
    }
    let n = f64::from(sent);
    let p = 1.0 - f64::from(answered.min(sent)) / n;
    let z2 = Z * Z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    (p, (middle - half).max(0.0), (middle + half).min(1.0))
}

/// Judges, and returns the highest rate that lost no more than the slowest. `capped`: the ceilings, not
/// the configured rate, ended the ramp.
#[must_use]
pub fn judge(made: &[RampResult], configured: u32, capped: bool) -> (CheckFinding, Option<u32>) {
    let Some(first) = made.first().filter(|m| m.sent >= FEWEST) else {
        return (CheckFinding::skip("too few packets left to measure anything"), None);
    };
    if first.answered == 0 {
        let what = format!("none of {} SYNs was answered, at {} packets/s", first.sent, first.rate);
        let remedy = "see the canaries' lines; a SYN flood protection before them may be at work";
        return (CheckFinding::fail(what, remedy), None);
    }
    let (_, _, usual) = estimate_loss(first.sent, first.answered);
    let mut best = 0;
    let mut held_up = None;
    for m in made.iter().filter(|m| m.sent > 0) {
        let (_, low, _) = estimate_loss(m.sent, m.answered);
        if low > usual || m.ring_drops > 0 {
            break;
        }
        if m.reached < f64::from(m.rate) * REACHED || m.failed > 0 {
            best = best.max(m.reached as u32);
            held_up = Some(m.rate);
            break;
        }
        best = m.rate;
    }
    let shown: Vec<String> = made.iter().map(describe_result).collect();
    let what = format!("loss with its 99 % interval: {}", shown.join("; "));
    let top = made.last().map_or(0, |m| m.rate);
    // The first step is its own measure.
    let best = best.max(if best == 0 { first.rate.min(first.reached as u32) } else { 0 });
    let (lost, low, _) = estimate_loss(first.sent, first.answered);
    let found = if let Some(rate) = held_up {
        CheckFinding::warn(
            format!("{what}. This machine did not reach {rate} packets/s"),
            format!("give it more CPU, or set `rate = {best}` under [scan]"),
        )
    } else if best < top {
        CheckFinding::warn(
            format!("{what}. No added loss up to {best} packets/s"),
            format!(
                "set `rate = {best}` under [scan], or `rate = \"auto\"`; more tasks scan faster, larger ones \
                 hardly"
            ),
        )
    } else if low > LOSSY {
        CheckFinding::warn(
            format!("{what}. {:.1} % are lost at any rate", lost * 100.0),
            "the path loses packets, whatever the rate; the sweep asks again until `recall` is kept, \
             which takes longer",
        )
    } else if capped && best < configured {
        CheckFinding::ok(format!(
            "{what}. Measured up to {best} packets/s, as the ceilings of the canaries allow; more \
             canaries, or --ramp-rate, measure up to {configured}"
        ))
    } else {
        CheckFinding::ok(format!("{what}. No added loss up to {best} packets/s"))
    };
    (found, Some(best))
}

fn describe_result(m: &RampResult) -> String {
    let (p, low, high) = estimate_loss(m.sent, m.answered);
    let mut text =
        format!("{}/s {:.1} % ({:.1} to {:.1})", m.rate, p * 100.0, low * 100.0, high * 100.0);
    if m.ring_drops > 0 {
        text.push_str(&format!(", {} dropped here", m.ring_drops));
    }
    if m.failed > 0 {
        text.push_str(&format!(", {} not sent", m.failed));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    fn made(rate: u32, sent: u32, answered: u32) -> RampResult {
        RampResult { rate, reached: f64::from(rate), sent, answered, failed: 0, ring_drops: 0 }
    }

    #[test]
    fn steps_grow_to_the_top_within_the_budget() {
        let all = build_ramp_steps(20_000, u32::MAX);
        let rates: Vec<u32> = all.iter().map(|s| s.rate).collect();
        assert_eq!(rates, [500, 1257, 3162, 7953, 20_000]);
        assert!(all.iter().all(|s| s.packets <= s.rate && s.packets <= MOST_A_STEP));
        assert!(count_packets(&build_ramp_steps(20_000, 1_000)) <= 1_000);
        assert_eq!(build_ramp_steps(500, 9_999), [RampStep { rate: 500, packets: 500 }]);
        assert_eq!(build_ramp_steps(1, 9_999).len(), 1);
        assert!(build_ramp_steps(0, 0).iter().all(|s| s.packets == 0));
    }

    #[test]
    fn ceilings_are_those_of_the_busiest_host_and_network() {
        let at = |s: &str| s.parse::<SocketAddr>().unwrap();
        let two = [at("198.51.100.1:80"), at("198.51.100.2:80")];
        assert_eq!(compute_rate_ceiling(20_000, 1_000, 10_000, &two), 2_000);
        assert_eq!(compute_rate_ceiling(20_000, 0, 10_000, &two), 10_000);
        assert_eq!(compute_rate_ceiling(20_000, 0, 0, &two), 20_000);
        let same = [at("198.51.100.1:80"), at("198.51.100.1:443"), at("192.0.2.1:22")];
        assert_eq!(compute_rate_ceiling(20_000, 1_000, 0, &same), 1_500);
        assert_eq!(compute_rate_ceiling(300, 1_000, 0, &same), 300);
    }

    #[test]
    fn intervals_hold_what_they_should() {
        let (p, low, high) = estimate_loss(1_000, 950);
        assert!((p - 0.05).abs() < 1e-9 && low > 0.03 && low < 0.05 && high > 0.05 && high < 0.08);
        assert_eq!(estimate_loss(0, 0), (0.0, 0.0, 1.0));
        let (p, low, high) = estimate_loss(100, 100);
        assert!(p == 0.0 && low == 0.0 && high > 0.0 && high < 0.1);
        assert!(estimate_loss(10, 20).0 == 0.0);
    }

    #[test]
    fn the_highest_rate_without_added_loss_is_found() {
        let clean = [made(500, 500, 500), made(1000, 1000, 999), made(2000, 2000, 1999)];
        let (found, best) = judge(&clean, 2000, false);
        assert_eq!((found.mark, best), (LineMark::Ok, Some(2000)));
        let policed = [made(500, 500, 500), made(2000, 2000, 1995), made(4000, 4000, 2500)];
        let (found, best) = judge(&policed, 4000, false);
        assert_eq!((found.mark, best), (LineMark::Warn, Some(2000)));
        assert!(found.remedy.unwrap().contains("rate = 2000"));
        // Loss at any rate is no reason to go slower.
        let lossy = [made(500, 500, 475), made(1000, 1000, 950), made(2000, 2000, 1900)];
        let (found, best) = judge(&lossy, 2000, false);
        assert_eq!((found.mark, best), (LineMark::Warn, Some(2000)));
        assert!(found.what.contains("5.0 % are lost at any rate"), "{}", found.what);
    }

    #[test]
    fn our_own_losses_end_the_ramp() {
        let dropped = RampResult { ring_drops: 3, ..made(1000, 1000, 998) };
        assert_eq!(judge(&[made(500, 500, 500), dropped], 1000, false).1, Some(500));
        let slow = RampResult { reached: 600.0, ..made(1000, 1000, 1000) };
        let (found, best) = judge(&[made(500, 500, 500), slow], 1000, false);
        assert_eq!((found.mark, best), (LineMark::Warn, Some(600)));
        assert_eq!(judge(&[made(500, 500, 0)], 500, false).0.mark, LineMark::Fail);
        assert_eq!(judge(&[], 500, false).1, None);
        let (capped, _) = judge(&[made(500, 500, 500), made(1000, 1000, 1000)], 20_000, true);
        assert!(capped.what.contains("--ramp-rate"), "{}", capped.what);
    }
}
