//! What a change of the baseline would do: one run, judged under two baselines with the same state at
//! the same instant, and compared.
//!
//! So it is exactly what a patrol would say after the merge, and not an estimate of it. To that comes
//! what the verdict cannot show: the cells that are newly allowed and where nothing is open today.

mod cells;
mod cover;
mod rules;
mod sums;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use mimawari_probes::observation::Severity;
use mimawari_targets::{AddrRange, AddrSet, Cell};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::cells::{CellSets, NewlyAllowed, RuleCells};
pub(crate) use self::rules::format_last_day;
pub use self::rules::{
    FieldChange, RuleChange, RuleChangeKind, RuleRef, compare_rules, format_expectation,
};
use crate::baseline::{Baseline, DecisionFacts, HttpRule, RuleHead, RuleMatch};
use crate::state::State;
use crate::subject::Subject;
use crate::verdict::{Finding, FindingKind, FindingState, Verdict};

/// Version of the format.
pub const VERSION: u32 = 1;

/// One of the two judgements.
#[derive(Debug, Clone, Copy)]
pub struct ImpactSide<'a> {
    /// The rules.
    pub baseline: &'a Baseline,
    /// The verdict under them.
    pub verdict: &'a Verdict,
    /// The state after it.
    pub state: &'a State,
}

/// What a change of the baseline would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleImpact {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// Id of the run that was judged twice.
    pub run_id: String,
    /// The instant that it was judged for.
    #[schemars(with = "String")]
    pub judged_at: Timestamp,
    /// When the run began.
    #[schemars(with = "Option<String>")]
    pub run_at: Option<Timestamp>,
    /// Digest of the rules before, hex.
    pub base_digest: String,
    /// Digest of the rules after, hex.
    pub head_digest: String,
    /// Whether the run is not to be believed.
    pub suspect: bool,
    /// Why the run is not whole, one sentence each; empty if it is.
    pub incomplete_because: Vec<String>,
    /// Rules that differ.
    pub rules: Vec<RuleChange>,
    /// What is newly allowed, all rules together.
    pub newly_allowed: CellSets,
    /// What is newly allowed, rule by rule; a cell of two rules stands with both.
    pub newly_allowed_by: Vec<RuleCells>,
    /// Contents that are newly allowed, rule by rule.
    pub contents_allowed_by: Vec<RuleContents>,
    /// Drift under base, and none under head; the worst first.
    pub silenced: Vec<SilencedFinding>,
    /// No drift under base, and drift under head; the worst first.
    pub reopened: Vec<ReopenedFinding>,
    /// Drift under both; the worst first.
    pub left: Vec<RemainingFinding>,
    /// Newly required and not open in this run: drift after one more run that covers it.
    pub pending: Vec<Finding>,
}

/// What a rule about contents newly allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleContents {
    /// The rule, as head has it.
    pub rule: RuleRef,
    /// Addresses × checks and paths, without those that base allowed. In JSON no more than 2^53 − 1.
    #[serde(serialize_with = "cells::serialize_bounded")]
    #[schemars(with = "u64")]
    pub places: u128,
    /// Known sites at which it allows what base did not.
    #[serde(default)]
    pub sites: u64,
    /// Findings that it would silence.
    pub silences: u64,
}

/// A finding that would be silenced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SilencedFinding {
    /// As it stands under base.
    pub finding: Finding,
    /// The rule of head that allows it; absent where a rule that required or forbade it went.
    pub by: Option<RuleRef>,
}

/// A finding that would be opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReopenedFinding {
    /// As it stands under head.
    pub finding: Finding,
    /// The rule of base that allowed it.
    pub was: Option<RuleRef>,
    /// What became of that rule, as half a sentence.
    pub because: String,
}

/// A finding that stays drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemainingFinding {
    /// Its id under head.
    pub id: String,
    /// Its severity under head.
    pub severity: Severity,
    /// Whether a rule of head forbids it that was not in base.
    pub newly_forbidden: bool,
}

/// What is the same thing under both baselines: a subject and whether it is missing. A `never` rule
/// changes a finding's kind, not what is open.
type ImpactKey = (bool, Subject);

fn build_impact_key(f: &Finding) -> ImpactKey {
    (f.kind.is_requirement(), f.subject())
}

fn index_drift(v: &Verdict) -> BTreeMap<ImpactKey, &Finding> {
    v.findings.iter().filter(|f| f.state.is_drift()).map(|f| (build_impact_key(f), f)).collect()
}

/// Compares two judgements of one run; `newly` knows what the run covered, and `vantage` from where it
/// looked.
#[must_use]
pub fn compare(
    base: ImpactSide<'_>,
    head: ImpactSide<'_>,
    newly: NewlyAllowed,
    vantage: &str,
) -> RuleImpact {
    let (before, after) = (index_drift(base.verdict), index_drift(head.verdict));
    let now = head.verdict.judged_at;
    let (base_rules, head_rules) = (base.baseline.heads(), head.baseline.heads());
    let mut silenced = Vec::new();
    let mut left = Vec::new();
    for (k, f) in &before {
        match after.get(k) {
            Some(same) => left.push(RemainingFinding {
                id: same.id.clone(),
                severity: same.severity,
                newly_forbidden: is_forbidden(same) && !is_forbidden(f),
            }),
            None => silenced.push(SilencedFinding {
                finding: (*f).clone(),
                by: find_allowing_rule(&head, f)
                    .and_then(|id| head_rules.get(id))
                    .map(|h| RuleRef::of(h)),
            }),
        }
    }
    let mut reopened: Vec<ReopenedFinding> = Vec::new();
    for (_, f) in after.iter().filter(|(k, _)| !before.contains_key(*k)) {
        let id = find_allowing_rule(&base, f);
        let was = id.and_then(|id| base_rules.get(id));
        reopened.push(ReopenedFinding {
            finding: (*f).clone(),
            was: was.map(|h| RuleRef::of(h)),
            because: explain_reopening(f, id, &head_rules, now),
        });
    }
    let worst = |a: &Finding, b: &Finding| {
        b.severity.cmp(&a.severity).then_with(|| (a.ip, a.port, &a.id).cmp(&(b.ip, b.port, &b.id)))
    };
    silenced.sort_by(|a, b| worst(&a.finding, &b.finding));
    reopened.sort_by(|a, b| worst(&a.finding, &b.finding));
    left.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    let is_pending = |f: &&Finding| f.state == FindingState::MissingPending;
    let known: BTreeSet<&str> =
        base.verdict.findings.iter().filter(is_pending).map(|f| f.id.as_str()).collect();
    let pending = head.verdict.findings.iter().filter(is_pending);
    let pending = pending.filter(|f| !known.contains(f.id.as_str())).cloned().collect();
    RuleImpact {
        version: VERSION,
        run_id: head.verdict.run_id.clone(),
        judged_at: now,
        run_at: head.verdict.run.started_at,
        base_digest: base.verdict.baseline_digest.clone(),
        head_digest: head.verdict.baseline_digest.clone(),
        suspect: head.verdict.suspect,
        incomplete_because: head.verdict.incomplete_because.clone(),
        rules: compare_rules(base.baseline, head.baseline),
        newly_allowed: newly.total(),
        newly_allowed_by: newly.into_rules(),
        contents_allowed_by: collect_allowed_contents(&base, &head, &silenced, vantage, now),
        silenced,
        reopened,
        left,
        pending,
    }
}

impl RuleImpact {
    /// Whether it would silence a finding of at least this severity.
    #[must_use]
    pub fn silences(&self, at_least: Severity) -> bool {
        self.silenced.iter().any(|s| s.finding.severity >= at_least)
    }
}

fn is_forbidden(f: &Finding) -> bool {
    f.kind == FindingKind::ForbiddenOpen || f.cause == crate::verdict::FindingCause::Forbidden
}

/// The rule that allows a thing under one of the two, by what that judgement wrote down.
fn find_allowing_rule<'a>(side: &ImpactSide<'a>, f: &Finding) -> Option<&'a str> {
    let state = side.state;
    let known = f.id.parse().ok().and_then(|id: crate::id::FindingId| state.allowed.get(&id));
    if let Some(a) = known {
        return Some(&a.rule);
    }
    if let Some(id) = state.findings.get(&f.id).and_then(|t| t.finding.allowed_by.as_deref()) {
        return Some(id);
    }
    // Allowed things are remembered by the identity that they have without a `never` rule; a host that
    // answers on everything is not remembered at all.
    if !matches!(f.kind, FindingKind::ForbiddenOpen | FindingKind::SuspectHost) {
        return None;
    }
    let facts = DecisionFacts { check: "", vantage: &f.vantage, now: side.verdict.judged_at };
    match side.baseline.decide(&f.subject(), &facts).says {
        RuleMatch::Allowed(head) => Some(&head.id),
        _ => None,
    }
}

/// What became of the rule that allowed a finding.
fn explain_reopening(
    f: &Finding,
    rule: Option<&str>,
    head: &HashMap<&str, &RuleHead>,
    now: Timestamp,
) -> String {
    if f.kind.is_requirement() {
        return "a rule requires it, and it is not open".to_owned();
    }
    if is_forbidden(f) {
        return "a rule forbids it".to_owned();
    }
    let Some(id) = rule else { return "no rule allows it any more".to_owned() };
    match head.get(id) {
        None => "the rule was removed".to_owned(),
        Some(h) if !h.is_live(now) => match h.ends {
            Some(end) => format!("the rule ends earlier, on {}", format_last_day(end)),
            None => "the rule does not hold any more".to_owned(),
        },
        Some(h) if !h.addrs.contains(f.ip) => "the rule no longer holds its address".to_owned(),
        Some(_) => match f.subject() {
            Subject::Content(_) | Subject::Server(..) => {
                "the rule no longer holds its check or path".to_owned()
            }
            Subject::Port(_) | Subject::Host(_) | Subject::Pool(_) => {
                "the rule no longer holds its port".to_owned()
            }
        },
    }
}

/// What a rule about contents allows, and where: a check (true) or path, of a site or of all.
type ImpactItem<'a> = (bool, &'a str, Option<&'a str>);

/// The items of a rule, each once.
fn collect_rule_items(r: &HttpRule) -> BTreeSet<ImpactItem<'_>> {
    let checks = r.checks.iter().map(|c| (true, c.as_str()));
    let things = checks.chain(r.paths.iter().map(|p| (false, p.as_str())));
    let names = || r.names.iter().map(|n| Some(n.as_str()));
    let all = || r.names.is_empty().then_some(None);
    things.flat_map(|(is_check, t)| names().chain(all()).map(move |n| (is_check, t, n))).collect()
}

/// What the rules about contents newly allow: addresses × checks and paths (× sites, where they are
/// named), and the known sites among it.
fn collect_allowed_contents(
    base: &ImpactSide<'_>,
    head: &ImpactSide<'_>,
    silenced: &[SilencedFinding],
    vantage: &str,
    now: Timestamp,
) -> Vec<RuleContents> {
    let holds = |r: &&HttpRule| r.head.is_live(now) && r.head.is_for(vantage);
    let mut ranges: BTreeMap<ImpactItem<'_>, Vec<AddrRange>> = BTreeMap::new();
    for rule in base.baseline.http_rules().iter().filter(holds) {
        for item in collect_rule_items(rule) {
            ranges.entry(item).or_default().extend(rule.head.addrs.ranges());
        }
    }
    let before: BTreeMap<ImpactItem<'_>, AddrSet> =
        ranges.into_iter().map(|(item, r)| (item, AddrSet::from_ranges(r))).collect();
    let mut open: BTreeMap<&str, u64> = BTreeMap::new();
    for rule in silenced.iter().filter_map(|s| s.by.as_ref()) {
        *open.entry(&rule.id).or_default() += 1;
    }
    let mut out = Vec::new();
    for rule in head.baseline.http_rules().iter().filter(holds) {
        let mut n = 0u128;
        for (is_check, thing, name) in collect_rule_items(rule) {
            let mut new = AddrSet::clone(&rule.head.addrs);
            // A rule for all sites allowed each of them.
            for known in [Some((is_check, thing, name)), name.map(|_| (is_check, thing, None))] {
                if let Some(known) = known.and_then(|k| before.get(&k)) {
                    new = new.subtract(known);
                }
            }
            n = n.saturating_add(new.len());
        }
        if n > 0 {
            out.push(RuleContents {
                rule: RuleRef::of(&rule.head),
                places: n,
                sites: count_opened_sites(base, head, rule, vantage, now),
                silences: open.get(rule.head.id.as_str()).copied().unwrap_or_default(),
            });
        }
    }
    out.sort_by(|a, b| b.places.cmp(&a.places).then_with(|| a.rule.id.cmp(&b.rule.id)));
    out
}

/// The sites of the inventory at which a rule allows what no rule of base did.
fn count_opened_sites(
    base: &ImpactSide<'_>,
    head: &ImpactSide<'_>,
    rule: &HttpRule,
    vantage: &str,
    now: Timestamp,
) -> u64 {
    let of = head.state.sites.iter().map(|s| &s.key).filter(|k| k.vantage == vantage);
    let here = of.filter(|k| rule.head.addrs.contains(k.ip));
    let opened = here.filter(|k| {
        let cell = Cell::tcp(k.ip, k.port);
        let allowed = |side: &ImpactSide<'_>, check: &str, path: &str| {
            let subject = Subject::content(cell, k.host.as_deref(), path);
            let facts = DecisionFacts { check, vantage, now };
            matches!(side.baseline.decide(&subject, &facts).says, RuleMatch::Allowed(_))
        };
        let checks = rule.checks.iter().map(|c| (c.as_str(), ""));
        let mut things = checks.chain(rule.paths.iter().map(|p| ("", p.as_str())));
        things.any(|(check, path)| allowed(head, check, path) && !allowed(base, check, path))
    });
    opened.count() as u64
}
