//! A notice as plain text: for mail, and for chats that take no markup of ours.

use std::fmt::Write as _;

use mimawari_drift::verdict::Verdict;

use super::{
    ChangeSelection, NoticeDelay, NotifiedChanges, RunDoubt, count_by_kind, describe_change_kind,
    select_run_doubt,
};
use crate::clean::clean;
use crate::words::{self, NAME, SENTENCE, format_plural, group_digits};

/// Changes that are listed.
const MOST_LISTED: usize = 100;

/// What a notice says, in a line.
#[must_use]
pub fn format_headline(v: &Verdict, selection: &ChangeSelection) -> String {
    let changes = selection.changes(v);
    let mut parts: Vec<String> = count_by_kind(&changes)
        .into_iter()
        .map(|(kind, n)| format!("{} {}", group_digits(n as u64), describe_change_kind(kind)))
        .collect();
    match select_run_doubt(v) {
        Some(RunDoubt::Suspect) => parts.insert(0, "the run is not to be believed".to_owned()),
        Some(RunDoubt::Incomplete) => parts.push("the run is incomplete".to_owned()),
        _ => {}
    }
    if !v.service_changes.is_empty() {
        let n = v.service_changes.len() as u64;
        parts.push(format!("{} with another service", format_plural(n, "port")));
    }
    if v.digest_due {
        let open = v.findings.iter().filter(|f| f.state.is_drift()).count();
        parts.push(format!("weekly summary: {}", format_plural(open as u64, "finding")));
    }
    format!("mimawari: {}", parts.join(", "))
}

/// The notice, line by line.
#[must_use]
pub fn render_text(
    v: &Verdict,
    selection: &ChangeSelection,
    delay: Option<&NoticeDelay>,
) -> String {
    let mut out = format!("{}\n\n", format_headline(v, selection));
    if let Some(delay) = delay {
        let _ = writeln!(out, "{}\n", delay.sentence());
    }
    match RunDoubt::of(v) {
        RunDoubt::Suspect => {
            out.push_str(
                "The run is suspect: it is not to be believed, and nothing was resolved by it.\n",
            );
        }
        RunDoubt::Incomplete => {
            out.push_str("The run is incomplete: nothing is known of what it did not cover.\n");
        }
        RunDoubt::None => {}
    }
    for reason in v.incomplete_because.iter().take(5) {
        let _ = writeln!(out, "- {}", clean(reason, SENTENCE));
    }
    let coverage = clean(&words::format_cell_coverage(v), SENTENCE);
    let _ = writeln!(
        out,
        "Coverage {coverage}; recall {}.\n",
        clean(&words::format_recall(&v.coverage), SENTENCE)
    );
    let mut changes = selection.changes(v);
    changes.sort_by(|a, b| {
        let alarm = |c: &NotifiedChanges<'_>| !c.change.what.is_alarm();
        (alarm(a), b.finding.severity).cmp(&(alarm(b), a.finding.severity))
    });
    for c in changes.iter().take(MOST_LISTED) {
        out.push_str(&format_change_details(c));
    }
    if changes.len() > MOST_LISTED {
        let _ = writeln!(out, "and {} more", group_digits((changes.len() - MOST_LISTED) as u64));
    }
    for c in v.service_changes.iter().take(20) {
        let _ = writeln!(
            out,
            "- another service: {}",
            clean(&words::describe_service_change(c), SENTENCE)
        );
    }
    if let Some(url) = selection.report(v) {
        let _ = writeln!(out, "\nReport: {}", clean(&url, 500));
    }
    let _ = writeln!(out, "Run {} from {}", clean(&v.run_id, NAME), clean(&v.run.vantage, NAME));
    out
}

fn format_change_details(c: &NotifiedChanges<'_>) -> String {
    let f = c.finding;
    let mut s = format!("- {}\n", format_change(c));
    if let (Some(n), true) = (&f.nearest, c.change.what.is_alarm()) {
        let _ = writeln!(
            s,
            "  nearest rule {} at {}: {}",
            clean(&n.id, NAME),
            clean(&n.place, NAME),
            clean(&n.missed, SENTENCE)
        );
    }
    s
}

/// A change in a line: what happened to what, where, and whose it is.
#[must_use]
pub fn format_change(c: &NotifiedChanges<'_>) -> String {
    let f = c.finding;
    let owner = f.owner.as_deref().map_or_else(|| "no owner".to_owned(), |o| clean(o, NAME));
    let service =
        f.service.as_deref().map_or_else(String::new, |s| format!(" ({})", clean(s, NAME)));
    format!(
        "{} [{}] {} {}{service}, {owner}, since {}",
        describe_change_kind(c.change.what),
        f.severity.as_str(),
        clean(&words::describe_finding(f), NAME),
        clean(&words::format_location(f), NAME),
        words::format_minute(f.first_seen)
    )
}

/// A text that is not trusted, on one line of at most so many characters.
#[must_use]
pub fn to_single_line(text: &str, most: usize) -> String {
    clean(text, most)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{five_causes, hostile, three};
    use super::*;

    #[test]
    fn three_findings() {
        let selection = ChangeSelection {
            report_url: Some("https://reports.example.jp/{run_id}/report.html".to_owned()),
            ..ChangeSelection::default()
        };
        insta::assert_snapshot!(render_text(&three(), &selection, None));
    }

    #[test]
    fn long_and_hostile_text_is_bounded_and_inert() {
        let long = render_text(&five_causes(), &ChangeSelection::default(), None);
        assert!(long.lines().count() < 320 && long.contains("and 2,900 more"), "{long}");
        let text = render_text(&hostile(), &ChangeSelection::default(), None);
        assert!(!text.chars().any(|c| c != '\n' && crate::clean::is_hostile(c)), "{text:?}");
    }
}
