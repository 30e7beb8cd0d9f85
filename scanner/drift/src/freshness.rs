//! How old the coverage is: when each part of a plan was last covered completely.
//!
//! A plan that is too large for one run is walked in parts, one a run. What a run does not cover is
//! then no gap as long as another run has covered it lately enough: within the age that the
//! configuration allows, or, where it names none, within one rotation (every part had its turn).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mimawari_probes::gap::Gap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Plans whose ages are remembered; a scan of a few targets by hand must not wipe out those of the
/// whole.
const MAX_PLANS: usize = 16;
/// A part that failed this often in a row waits for the others, so that one that can never be
/// covered does not starve them.
const MAX_FAILURES: u32 = 2;

/// Ages of the plans that were run, by the plan's digest.
pub type FreshPlans = BTreeMap<String, PartAges>;

/// When the parts of one plan were last covered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartAges {
    /// Runs of this plan until now.
    pub turns: u64,
    /// When the last of them began.
    pub last_run: Option<Timestamp>,
    /// The parts that were run, counted from 1.
    pub parts: BTreeMap<u32, PartAge>,
}

impl PartAges {
    /// Forgets times after `now`: of a clock that was wrong, which would else let a part rest until
    /// the right one gets there.
    pub(crate) fn forget_after(&mut self, now: Timestamp) {
        let right = |t: &Timestamp| *t <= now;
        self.last_run = self.last_run.filter(right);
        for part in self.parts.values_mut() {
            part.covered = part.covered.filter(right);
            part.tried = part.tried.filter(right);
        }
    }
}

/// One part's age.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartAge {
    /// When the last run that covered it completely began; absent if none has.
    pub covered: Option<Timestamp>,
    /// Which run of the plan that was.
    pub turn: u64,
    /// When it was last tried.
    pub tried: Option<Timestamp>,
    /// Runs since then that did not cover it completely.
    pub failures: u32,
}

/// What a run was of its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPart<'a> {
    /// Digest of the plan: addresses, ports, seed, vantage and number of parts.
    pub plan: &'a str,
    /// The part that was walked, counted from 1.
    pub part: u32,
    /// How many parts there are; 1 when a run walks the whole plan.
    pub parts: u32,
    /// When it began.
    pub began: Timestamp,
    /// Whether every cell of the part was covered.
    pub complete: bool,
    /// The age from which on coverage is stale.
    pub max_age: Option<SignedDuration>,
}

/// How fresh the coverage of a plan is, for the report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartFreshness {
    /// The part that this run walked, counted from 1.
    pub part: u32,
    /// How many parts the plan has.
    pub parts: u32,
    /// Parts that were never covered completely.
    pub never_covered: u32,
    /// When the part covered longest ago was last covered; absent if none ever was.
    #[schemars(with = "Option<String>")]
    pub oldest: Option<Timestamp>,
    /// Age of that in seconds, when it was judged.
    pub oldest_age_seconds: Option<u64>,
    /// Parts older than the age allowed, never covered ones among them; 0 if no age is configured.
    pub stale: u32,
    /// The age allowed, in seconds.
    pub max_age_seconds: Option<u64>,
}

/// The part whose turn it is: never covered before covered, then the one covered longest ago, then
/// the lowest. One that failed twice in a row waits as if it had been covered when last tried.
#[must_use]
pub fn select_next_part(ages: Option<&PartAges>, parts: u32) -> u32 {
    let none = PartAge::default();
    let age = |p: u32| ages.and_then(|a| a.parts.get(&p)).unwrap_or(&none);
    (1..=parts.max(1))
        .min_by_key(|p| {
            let a = age(*p);
            (if a.failures >= MAX_FAILURES { a.tried.max(a.covered) } else { a.covered }, *p)
        })
        .unwrap_or(1)
}

/// Writes a run into the ages. A run judged again changes nothing.
pub fn record_part(plans: &mut FreshPlans, turn: &RotationPart<'_>, believed: bool) {
    let ages = plans.entry(turn.plan.to_owned()).or_default();
    let again = ages.last_run.is_some_and(|t| turn.began <= t);
    if !again {
        ages.turns += 1;
        ages.last_run = Some(turn.began);
    }
    let turns = ages.turns;
    let part = ages.parts.entry(turn.part).or_default();
    if turn.complete && believed {
        if part.covered.is_none_or(|t| t < turn.began) {
            part.covered = Some(turn.began);
            part.turn = turns;
            part.failures = 0;
        }
    } else if part.tried.is_none_or(|t| t < turn.began) {
        part.failures = part.failures.saturating_add(1);
    }
    part.tried = part.tried.max(Some(turn.began));
    while plans.len() > MAX_PLANS {
        let oldest = plans
            .iter()
            .filter(|(digest, _)| *digest != turn.plan)
            .min_by_key(|(_, a)| a.last_run)
            .map(|(digest, _)| digest.clone());
        let Some(oldest) = oldest else { return };
        plans.remove(&oldest);
    }
}

/// Whether what is known of a part is still good; `seen` is when the cell in question was itself
/// last seen.
#[must_use]
pub fn is_fresh(
    ages: Option<&PartAges>,
    part: u32,
    seen: Timestamp,
    turn: &RotationPart<'_>,
    now: Timestamp,
) -> bool {
    let covered = ages.and_then(|a| Some((a, a.parts.get(&part)?)));
    let covered = covered.and_then(|(a, p)| Some((a, p, p.covered?)));
    match turn.max_age {
        Some(max) => {
            let last = covered.map_or(seen, |(_, _, t)| t.max(seen));
            now.duration_since(last) <= max
        }
        None => {
            covered.is_some_and(|(a, p, _)| a.turns - p.turn.min(a.turns) <= u64::from(turn.parts))
        }
    }
}

/// The figures for the report.
#[must_use]
pub fn compute_freshness(
    ages: Option<&PartAges>,
    turn: &RotationPart<'_>,
    now: Timestamp,
) -> PartFreshness {
    let parts = turn.parts.max(1);
    let covered: Vec<Timestamp> = ages
        .into_iter()
        .flat_map(|a| a.parts.range(1..=parts))
        .filter_map(|(_, p)| p.covered)
        .collect();
    let age = |t: Timestamp| now.duration_since(t);
    let never_covered = parts - covered.len() as u32;
    let old = |max: SignedDuration| covered.iter().filter(|t| age(**t) > max).count() as u32;
    let seconds = |d: SignedDuration| u64::try_from(d.as_secs()).unwrap_or(0);
    let oldest = covered.iter().min().copied();
    PartFreshness {
        part: turn.part,
        parts,
        never_covered,
        oldest,
        oldest_age_seconds: oldest.map(|t| seconds(age(t))),
        stale: turn.max_age.map_or(0, |max| old(max) + never_covered),
        max_age_seconds: turn.max_age.map(seconds),
    }
}

impl PartFreshness {
    /// Why the run is incomplete on account of age; `None` when nothing is stale.
    #[must_use]
    pub fn gap(&self) -> Option<Gap> {
        let max_age_seconds = self.max_age_seconds?;
        (self.stale > 0).then(|| Gap::PartsStale {
            stale: u64::from(self.stale),
            of: u64::from(self.parts),
            never: u64::from(self.never_covered),
            max_age_seconds,
            oldest_seconds: self.oldest_age_seconds,
        })
    }

    /// One line for a report.
    #[must_use]
    pub fn sentence(&self) -> String {
        let oldest = match self.oldest_age_seconds {
            Some(age) => format!("oldest coverage {} old", format_age(age)),
            None => "nothing covered completely yet".to_owned(),
        };
        let never = match self.never_covered {
            0 => String::new(),
            n => format!(", {n} never covered"),
        };
        format!("part {} of {}; {oldest}{never}", self.part, self.parts)
    }
}

/// Seconds in the two largest units.
#[must_use]
pub fn format_age(s: u64) -> String {
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..172_800 if s % 3_600 < 60 => format!("{} h", s / 3_600),
        3_600..172_800 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3_600).expect("an instant")
    }

    fn turn(part: u32, hour: i64, complete: bool) -> RotationPart<'static> {
        RotationPart { plan: "p", part, parts: 3, began: at(hour), complete, max_age: None }
    }

    #[test]
    fn each_part_has_its_turn_and_a_failing_one_does_not_starve_the_others() {
        let mut plans = FreshPlans::new();
        let mut walked = Vec::new();
        for hour in 1..=9 {
            let part = select_next_part(plans.get("p"), 3);
            walked.push(part);
            record_part(&mut plans, &turn(part, hour, part != 2), true);
        }
        assert_eq!(walked, [1, 2, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(plans["p"].parts[&2].covered, None, "incomplete is not covered");
    }

    #[test]
    fn a_run_judged_again_changes_nothing_and_one_not_believed_covers_nothing() {
        let mut plans = FreshPlans::new();
        record_part(&mut plans, &turn(1, 1, true), true);
        record_part(&mut plans, &turn(2, 2, true), false);
        let before = plans.clone();
        record_part(&mut plans, &turn(1, 1, true), true);
        record_part(&mut plans, &turn(2, 2, true), false);
        assert_eq!(plans, before);
        assert_eq!(select_next_part(plans.get("p"), 3), 2);
    }

    #[test]
    fn without_an_age_a_part_is_fresh_for_one_rotation() {
        let mut plans = FreshPlans::new();
        record_part(&mut plans, &turn(1, 1, true), true);
        for (hour, fresh) in [(2, true), (3, true), (4, true), (5, false)] {
            let t = turn(2, hour, true);
            record_part(&mut plans, &t, true);
            assert_eq!(is_fresh(plans.get("p"), 1, at(1), &t, at(hour)), fresh, "{hour}");
        }
        assert!(!is_fresh(plans.get("p"), 3, at(5), &turn(2, 5, true), at(5)), "never covered");
    }

    #[test]
    fn an_age_turns_into_a_gap() {
        let mut plans = FreshPlans::new();
        record_part(&mut plans, &turn(1, 0, true), true);
        record_part(&mut plans, &turn(2, 20, true), true);
        let t = RotationPart { max_age: Some(SignedDuration::from_hours(24)), ..turn(2, 20, true) };
        let f = compute_freshness(plans.get("p"), &t, at(25));
        let stale = Gap::PartsStale {
            stale: 2,
            of: 3,
            never: 1,
            max_age_seconds: 24 * 3_600,
            oldest_seconds: Some(25 * 3_600),
        };
        assert_eq!(f.gap(), Some(stale));
        assert_eq!(f.sentence(), "part 2 of 3; oldest coverage 25 h old, 1 never covered");
        assert!(is_fresh(plans.get("p"), 1, at(2), &t, at(25)), "the cell itself was seen later");
        assert!(!is_fresh(plans.get("p"), 1, at(0), &t, at(25)));
    }

    #[test]
    fn a_plan_by_hand_does_not_wipe_out_the_whole_and_plans_are_bounded() {
        let mut plans = FreshPlans::new();
        for hour in 0..100 {
            let digest = format!("{hour}");
            record_part(
                &mut plans,
                &RotationPart { plan: &digest, ..turn(1, 2 * hour, true) },
                true,
            );
            record_part(&mut plans, &turn(1, 2 * hour + 1, true), true);
        }
        assert_eq!(plans.len(), MAX_PLANS);
        assert_eq!(plans["p"].turns, 100);
    }
}
