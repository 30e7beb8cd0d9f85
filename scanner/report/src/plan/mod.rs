//! What a change of the baseline would do, for a terminal, for programs, and as a comment on the pull
//! request.

mod comment;
mod explain;
mod terminal;

use std::collections::BTreeMap;

use mimawari_drift::baseline::RuleExpect;
use mimawari_drift::explain::RuleExplanation;
use mimawari_drift::impact::{
    FieldChange, RuleChange, RuleChangeKind, RuleImpact, RuleRef, format_expectation,
};
use mimawari_drift::verdict::Finding;
use mimawari_probes::observation::Severity;

pub use self::comment::{MARKER, render_markdown};
pub use self::explain::render_explanation;
pub use self::terminal::render_text;
use crate::clean::clean;
use crate::groups::{FindingGroup, SharedTrait, group_findings};
use crate::words::{self, NAME, SENTENCE};

/// So many findings are shown one by one, whatever they have in common.
const FEW: usize = 12;
/// Findings with one cause are shown together from this number on; those that have no more in common
/// than their network, from a larger one.
const MIN_GROUP: usize = 3;
const MIN_NETWORK: usize = 10;

/// The impact as JSON, indented, with a newline at the end.
#[must_use]
pub fn render_json(impact: &RuleImpact) -> String {
    crate::json::to_json_text(impact)
}

/// The explanations as JSON, indented, with a newline at the end.
#[must_use]
pub fn render_explanation_json(explanation: &RuleExplanation) -> String {
    crate::json::to_json_text(explanation)
}

/// The change in one sentence.
fn describe_impact(i: &RuleImpact) -> String {
    let [silenced, reopened, left] = [i.silenced.len(), i.reopened.len(), i.left.len()];
    match (silenced, reopened) {
        (0, 0) if i.rules.is_empty() => "changes no rule".to_owned(),
        (0, 0) => format!(
            "would silence nothing and re-open nothing; {} as it is",
            words::format_plural(left as u64, "finding")
        ),
        _ => format!(
            "would silence {}, re-open {}, and leave {}",
            words::format_plural(silenced as u64, "finding"),
            words::group_digits(reopened as u64),
            words::group_digits(left as u64)
        ),
    }
}

/// `3 critical, 9 high`; `None` for no finding.
fn format_severity_counts<'a>(findings: impl Iterator<Item = &'a Severity>) -> Option<String> {
    let mut counts: BTreeMap<Severity, u64> = BTreeMap::new();
    findings.for_each(|s| *counts.entry(*s).or_default() += 1);
    let parts: Vec<String> = counts
        .iter()
        .rev()
        .map(|(s, n)| format!("{} {}", words::group_digits(*n), s.as_str()))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What keeps the comparison from being the whole truth.
fn select_caution(i: &RuleImpact) -> Option<&'static str> {
    if i.suspect {
        Some("The run is not to be believed; judge the change by another one.")
    } else if !i.incomplete_because.is_empty() {
        Some("The run is incomplete: what it did not cover is not known to be closed.")
    } else {
        None
    }
}

/// A number of cells: powers of two beyond a million as such, everything else in full as long as a
/// person can read it.
fn format_amount(n: u128) -> String {
    const READABLE: u128 = 1_000_000_000_000;
    if n > 1_000_000 && n.is_power_of_two() {
        return format!("2^{}", n.ilog2());
    }
    if n <= READABLE {
        return words::group_digits(u64::try_from(n).unwrap_or(u64::MAX));
    }
    let floor = n.ilog2();
    if n == u128::MAX {
        return "2^128".to_owned();
    }
    // Rounded by the next binary digit: from 1.5 × 2^n on it is nearer to 2^(n + 1).
    let up = u32::from(n >> (floor - 1) & 1 == 1);
    format!("about 2^{}", floor + up)
}

/// Findings with one cause, those that explain most first; then the single ones.
fn split<'a>(
    findings: impl Iterator<Item = &'a Finding>,
) -> (Vec<FindingGroup<'a>>, Vec<&'a Finding>) {
    let all = group_findings(findings);
    let few = all.iter().map(|g| g.findings.len()).sum::<usize>() <= FEW;
    let (many, few): (Vec<_>, Vec<_>) = all.into_iter().partition(|g| {
        let least = if g.by == SharedTrait::Network { MIN_NETWORK } else { MIN_GROUP };
        !few && g.findings.len() >= least
    });
    let mut single: Vec<&Finding> = few.into_iter().flat_map(|g| g.findings).collect();
    single.sort_by(|a, b| {
        (b.severity.cmp(&a.severity))
            .then_with(|| (a.ip, a.port, &a.id).cmp(&(b.ip, b.port, &b.id)))
    });
    (many, single)
}

/// What a group has in common: `tcp/6379 on 600 addresses`.
fn describe_group(g: &FindingGroup<'_>) -> String {
    const SHOWN: usize = 4;
    let n = g.what.len();
    let mut list: Vec<String> = g.what.iter().take(SHOWN).map(|(w, _)| clean(w, NAME)).collect();
    if n > SHOWN {
        list.push(format!("{} more", n - SHOWN));
    }
    let list = list.join(", ");
    match g.by {
        SharedTrait::Host => list,
        _ if g.addresses == 1 => list,
        _ => format!("{list} on {}", format_address_count(g.addresses)),
    }
}

fn format_address_count(n: usize) -> String {
    if n == 1 {
        "1 address".to_owned()
    } else {
        format!("{} addresses", words::group_digits(n as u64))
    }
}

/// Names with how often they occur, the most frequent first: `a, b and 3 more`.
fn format_frequent_names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    all.for_each(|n| *counts.entry(n).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let shown: Vec<String> = counts.iter().take(2).map(|(n, _)| clean(n, 80)).collect();
    let more = counts.len() - shown.len();
    let shown = shown.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

const fn describe_change_kind(c: RuleChangeKind) -> &'static str {
    match c {
        RuleChangeKind::Added => "added",
        RuleChangeKind::Removed => "removed",
        RuleChangeKind::Changed => "changed",
        RuleChangeKind::Renewed => "renewed",
    }
}

/// `2 added, 1 removed`.
fn format_rule_counts(i: &RuleImpact) -> String {
    let mut counts: BTreeMap<RuleChangeKind, u64> = BTreeMap::new();
    i.rules.iter().for_each(|r| *counts.entry(r.what).or_default() += 1);
    let parts: Vec<String> = counts
        .iter()
        .map(|(w, n)| format!("{} {}", words::group_digits(*n), describe_change_kind(*w)))
        .collect();
    parts.join(", ")
}

/// What a field was and is: `ports: without tcp/80, with tcp/22`.
fn format_field_change(f: &FieldChange) -> String {
    let list = matches!(f.field.as_str(), "addresses" | "ports" | "checks" | "paths");
    let (was, now) =
        (f.was.as_ref().map(|s| clean(s, SENTENCE)), f.now.as_ref().map(|s| clean(s, SENTENCE)));
    match (was, now, list) {
        (Some(was), Some(now), true) => format!("{}: without {was}, with {now}", f.field),
        (Some(was), None, true) => format!("{}: without {was}", f.field),
        (None, Some(now), true) => format!("{}: with {now}", f.field),
        (Some(was), Some(now), false) => format!("{}: {was} → {now}", f.field),
        (Some(was), None, false) => format!("{}: {was} → none", f.field),
        (None, Some(now), false) => format!("{}: none → {now}", f.field),
        (None, None, _) => f.field.clone(),
    }
}

/// What is shown of a changed rule besides its name.
fn format_rule_change(r: &RuleChange) -> String {
    match r.what {
        RuleChangeKind::Added | RuleChangeKind::Removed => {
            let mut s = String::new();
            if let Some(e) = r.expects.or(r.expected).filter(|e| *e != RuleExpect::May) {
                s.push_str(&format!("expect {}; ", format_expectation(e)));
            }
            s.push_str(&clean(&r.rule.reason, SENTENCE));
            if let Some(day) = &r.rule.expires {
                s.push_str(&format!("; expires {day}"));
            }
            s
        }
        _ => r.fields.iter().map(format_field_change).collect::<Vec<_>>().join("; "),
    }
}

/// What a change of `must` or `never` is, as half a sentence.
fn describe_expectation_change(r: &RuleChange) -> String {
    match (r.expected, r.expects) {
        (None, Some(e)) => format!("is added with expect {}", format_expectation(e)),
        (Some(e), None) => format!("is removed; it was expect {}", format_expectation(e)),
        (Some(a), Some(b)) if a != b => {
            format!("changes from expect {} to {}", format_expectation(a), format_expectation(b))
        }
        (_, Some(e)) => format!("stays expect {}, and changes", format_expectation(e)),
        (None, None) => "changes".to_owned(),
    }
}

/// The rule that allows, or what else ends a finding.
fn explain_silencing(f: &Finding, by: Option<&RuleRef>) -> String {
    match (by, f.kind) {
        (Some(r), _) => r.id.clone(),
        (None, kind) if kind.is_requirement() => "no longer required".to_owned(),
        (None, _) => "no longer drift".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_while_a_person_can_read_them() {
        for (n, shown) in [
            (0, "0"),
            (1_000_000, "1,000,000"),
            (1 << 20, "2^20"),
            (3_289_088, "3,289,088"),
            (1_000_000_000_001, "about 2^40"),
            (1 << 64, "2^64"),
            (2 << 64, "2^65"),
            (3 << 64, "about 2^66"),
            (5 << 64, "about 2^66"),
            (u128::MAX, "2^128"),
        ] {
            assert_eq!(format_amount(n), shown);
        }
    }
}
