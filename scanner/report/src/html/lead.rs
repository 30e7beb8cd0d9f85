//! The head of the page: what is new, since when, and how far the run is to be believed.

use mimawari_drift::verdict::{Finding, Verdict};

use crate::clean::clean;
use crate::words::{self, SENTENCE, format_plural, group_digits};

/// The three answers, each in a few words and a sentence.
pub(crate) struct PageSummary {
    pub(crate) new: LeadAnswer,
    pub(crate) since: LeadAnswer,
    pub(crate) sure: LeadAnswer,
    /// Whether the run is to be believed: `yes`, `partly` or `no`.
    pub(crate) believed: &'static str,
}

/// One of them.
pub(crate) struct LeadAnswer {
    pub(crate) short: String,
    pub(crate) long: Vec<String>,
}

impl PageSummary {
    pub(crate) fn new(v: &Verdict) -> Self {
        let drift: Vec<&Finding> = v.findings.iter().filter(|f| f.state.is_drift()).collect();
        let (believed, sure) = build_trust_answer(v);
        Self {
            new: describe_new_findings(v, &drift),
            since: build_since_answer(v, &drift),
            sure,
            believed,
        }
    }
}

fn describe_new_findings(v: &Verdict, drift: &[&Finding]) -> LeadAnswer {
    let new: Vec<&&Finding> = drift.iter().filter(|f| f.new).collect();
    let back = drift.iter().filter(|f| !f.new && f.reopened > 0).count() as u64;
    let mut long = Vec::new();
    let by_severity: Vec<String> = words::SEVERITIES
        .iter()
        .map(|s| (new.iter().filter(|f| f.severity == *s).count() as u64, s.as_str()))
        .filter(|(n, _)| *n > 0)
        .map(|(n, s)| format!("{} {s}", group_digits(n)))
        .collect();
    if !by_severity.is_empty() {
        long.push(format!("{}.", by_severity.join(", ")));
    }
    let old = drift.len() as u64 - new.len() as u64;
    if old > 0 {
        let were = if old == 1 { "was" } else { "were" };
        long.push(format!("{} {were} known before.", format_plural(old, "finding")));
    }
    if back > 0 {
        long.push(format!("{} came back after being resolved.", group_digits(back)));
    }
    let quiet = drift.iter().filter(|f| f.acknowledged.is_some()).count() as u64;
    if quiet > 0 {
        long.push(format!("{} acknowledged for a time.", group_digits(quiet)));
    }
    let partly = v.suspect || v.incomplete || v.exit == 3;
    let short = match (new.len() as u64, partly) {
        (0, true) => "Nothing new in what was seen".to_owned(),
        (0, false) => "Nothing new".to_owned(),
        (n, _) => format_plural(n, "new finding"),
    };
    LeadAnswer { short, long }
}

fn build_since_answer(v: &Verdict, drift: &[&Finding]) -> LeadAnswer {
    let newest = drift.iter().filter(|f| f.new).map(|f| f.first_seen).min();
    let oldest = drift.iter().map(|f| f.first_seen).min();
    // The last entry is this run.
    let before = v.timeline.iter().rev().nth(1);
    let mut long = Vec::new();
    let short = match (newest, oldest) {
        (Some(t), _) => words::format_minute(t),
        (None, Some(t)) => format!("Oldest: {}", words::format_day(t)),
        (None, None) => "Nothing counts".to_owned(),
    };
    if newest.is_some() {
        long.push("When the first of the new ones was first seen.".to_owned());
    }
    if let Some(t) = oldest.filter(|t| newest.is_none_or(|n| *t < n)) {
        let days = v.judged_at.duration_since(t).as_hours().max(0) / 24;
        let age = format_plural(u64::try_from(days).unwrap_or(0), "day");
        long.push(format!(
            "The oldest that counts is known since {} ({age}).",
            words::format_day(t)
        ));
    }
    if let Some(b) = before {
        let doubt = if b.suspect { "; it was suspect" } else { "" };
        long.push(format!("The run before this one was at {}{doubt}.", words::format_minute(b.at)));
    }
    LeadAnswer { short, long }
}

fn build_trust_answer(v: &Verdict) -> (&'static str, LeadAnswer) {
    let first = v.incomplete_because.first().map(|s| clean(s, SENTENCE));
    let mut long = Vec::new();
    let (believed, short) = if v.suspect {
        ("no", "Do not believe this run")
    } else if v.incomplete || v.exit == 3 {
        ("partly", "Only in what was covered")
    } else {
        ("yes", "The run is to be believed")
    };
    if believed != "yes" {
        long.extend(first);
        long.push(match believed {
            "no" => "It is suspect, so nothing was resolved by it.".to_owned(),
            _ => "What was not covered is unknown, not fine.".to_owned(),
        });
    }
    long.push(format!("Covered: {}.", words::format_cell_coverage(v)));
    long.push(format!("Recall: {}.", words::format_recall(&v.coverage)));
    if v.run.canaries_total > 0 {
        long.push(format!("{} answered.", words::format_canaries(v)));
    }
    (believed, LeadAnswer { short: short.to_owned(), long })
}
