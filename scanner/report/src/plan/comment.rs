//! The comment on a pull request.

use std::collections::HashMap;
use std::fmt::Write as _;

use mimawari_drift::impact::{CellSets, RuleImpact};
use mimawari_drift::verdict::Finding;

use super::{
    describe_change_kind, describe_expectation_change, describe_group, describe_impact,
    explain_silencing, format_amount, format_frequent_names, format_rule_change,
    format_rule_counts, format_severity_counts, select_caution, split,
};
use crate::markdown::{MAX_CHARS, escape_prose, format_code_span};
use crate::words::{self, NAME, SENTENCE};

/// The first line: by it a workflow finds its comment again and replaces it.
pub const MARKER: &str = "<!-- mimawari-plan -->";

/// Kept free for what closes the text.
const FOOT: usize = 2_500;
/// Rows of the table of what is newly allowed, of groups, of single findings and of rules.
const MAX_RADIUS: usize = 25;
const MAX_GROUPS: usize = 15;
const MAX_SINGLE: usize = 15;
const MAX_RULES: usize = 100;
/// Rows of one folded table.
const MAX_FOLDED: usize = 250;
/// Sentences on why a run is incomplete.
const MAX_WHY: usize = 5;

/// The impact as GitHub Flavored Markdown, under [`MARKDOWN_MAX_CHARS`](crate::MARKDOWN_MAX_CHARS)
/// characters however much there is to report; what finds no room is counted.
///
/// Foreign text is inert, as in [`render_markdown`](crate::render_markdown()).
#[must_use]
pub fn render_markdown(impact: &RuleImpact) -> String {
    let i = impact;
    let mut page = CommentPage { out: String::new(), chars: 0 };
    page.head(i);
    page.radius(i);
    page.expectations(i);
    let by: HashMap<&str, String> = i
        .silenced
        .iter()
        .map(|s| (s.finding.id.as_str(), explain_silencing(&s.finding, s.by.as_ref())))
        .collect();
    let because: HashMap<&str, String> = i
        .reopened
        .iter()
        .map(|r| {
            let why = match &r.was {
                Some(was) => format!("{}: {}", was.id, r.because),
                None => r.because.clone(),
            };
            (r.finding.id.as_str(), why)
        })
        .collect();
    // What is folded comes after everything that is not, so that nothing of that is lost for it.
    let silenced: Vec<&Finding> = i.silenced.iter().map(|s| &s.finding).collect();
    let reopened: Vec<&Finding> = i.reopened.iter().map(|r| &r.finding).collect();
    page.findings("Would silence", "Allowed by", &silenced, &by);
    page.findings("Would re-open", "Because", &reopened, &because);
    page.rules(i);
    // Half of what is left to the first, so that the second has room as well.
    let room = (MAX_CHARS - FOOT).saturating_sub(page.chars);
    let half = if reopened.is_empty() { room } else { room / 2 };
    page.folded("All that would be silenced", "Allowed by", &silenced, &by, half);
    let room = (MAX_CHARS - FOOT).saturating_sub(page.chars);
    page.folded("All that would be re-opened", "Because", &reopened, &because, room);
    page.foot(i);
    page.out
}

struct CommentPage {
    out: String,
    /// Length of `out` in characters.
    chars: usize,
}

impl CommentPage {
    fn add(&mut self, s: &str) {
        self.out.push_str(s);
        self.chars += s.chars().count();
    }

    /// Adds a table of which as many rows are shown as `rows` and `budget` characters allow; returns
    /// how many were.
    fn table(
        &mut self,
        head: &str,
        all: impl Iterator<Item = String>,
        rows: usize,
        budget: usize,
    ) -> usize {
        let end = self.chars.saturating_add(budget).min(MAX_CHARS - FOOT);
        let mut shown = 0;
        for row in all.take(rows) {
            let head = if shown == 0 { head } else { "" };
            if self.chars + head.chars().count() + row.chars().count() > end {
                break;
            }
            self.add(head);
            self.add(&row);
            shown += 1;
        }
        if shown > 0 {
            self.add("\n");
        }
        shown
    }

    fn head(&mut self, i: &RuleImpact) {
        self.add(&format!("{MARKER}\n## This change of the baseline {}\n\n", describe_impact(i)));
        for (what, list) in [
            ("Silenced", format_severity_counts(i.silenced.iter().map(|s| &s.finding.severity))),
            ("Re-opened", format_severity_counts(i.reopened.iter().map(|r| &r.finding.severity))),
            ("Left", format_severity_counts(i.left.iter().map(|l| &l.severity))),
        ] {
            if let Some(list) = list {
                self.add(&format!("- {what}: {list}\n"));
            }
        }
        let rules = format_rule_counts(i);
        if !rules.is_empty() {
            self.add(&format!("- Rules: {rules}\n"));
        }
        self.add("\n");
        if let Some(c) = select_caution(i) {
            self.add(&format!("**{c}**\n\n"));
            for why in i.incomplete_because.iter().take(MAX_WHY) {
                self.add(&format!("- {}\n", escape_prose(why, SENTENCE)));
            }
            if i.incomplete_because.len() > MAX_WHY {
                self.add(&format!("- and {} more\n", i.incomplete_because.len() - MAX_WHY));
            }
            self.add("\n");
        }
    }

    fn radius(&mut self, i: &RuleImpact) {
        if i.newly_allowed.cells > 0 {
            let head = "### Newly allowed\n\nCells are addresses × ports.\n\n| Rule | Owner | Cells | Seen open | Covered and closed | Covered and silent | Never observed |\n|---|---|--:|--:|--:|--:|--:|\n";
            let total =
                format!("| **all together** | | {} |\n", format_cell_counts(i.newly_allowed));
            let each = i.newly_allowed_by.iter().map(|r| {
                format!(
                    "| {} | {} | {} |\n",
                    format_code_span(&r.rule.id, NAME),
                    format_code_span(&r.rule.owner, NAME),
                    format_cell_counts(r.cells)
                )
            });
            let n = self.table(head, std::iter::once(total).chain(each), MAX_RADIUS + 1, 9_000);
            self.more(i.newly_allowed_by.len().saturating_sub(n.saturating_sub(1)), "rule");
        }
        if !i.contents_allowed_by.is_empty() {
            let head = "### Contents newly allowed\n\nPlaces are addresses × checks and paths.\n\n| Rule | Owner | Places | Sites opened | Findings silenced |\n|---|---|--:|--:|--:|\n";
            let rows = i.contents_allowed_by.iter().map(|r| {
                format!(
                    "| {} | {} | {} | {} | {} |\n",
                    format_code_span(&r.rule.id, NAME),
                    format_code_span(&r.rule.owner, NAME),
                    format_amount(r.places),
                    words::group_digits(r.sites),
                    words::group_digits(r.silences)
                )
            });
            let n = self.table(head, rows, MAX_RADIUS, 5_000);
            self.more(i.contents_allowed_by.len() - n, "rule");
        }
    }

    fn more(&mut self, n: usize, noun: &str) {
        if n > 0 {
            self.add(&format!(
                "{} in `--format json`.\n\n",
                words::format_plural(n as u64, &format!("more {noun}"))
            ));
        }
    }

    fn expectations(&mut self, i: &RuleImpact) {
        let all: Vec<_> = i.rules.iter().filter(|r| r.is_of_expectation()).collect();
        let forbidden = i.left.iter().filter(|l| l.newly_forbidden).count();
        if all.is_empty() && forbidden == 0 && i.pending.is_empty() {
            return;
        }
        let rows = all.iter().map(|r| {
            format!(
                "- {} ({}) {}\n",
                format_code_span(&r.rule.id, NAME),
                format_code_span(&r.rule.place, NAME),
                describe_expectation_change(r)
            )
        });
        let n = self.table("### Must and never\n\n", rows, MAX_RADIUS, 4_000);
        if n == 0 {
            self.add("### Must and never\n\n");
        }
        self.more(all.len() - n, "rule");
        if forbidden > 0 {
            let n = words::format_plural(forbidden as u64, "finding");
            self.add(&format!("Open already, and forbidden from then on: {n}.\n\n"));
        }
        if !i.pending.is_empty() {
            let n = words::format_plural(i.pending.len() as u64, "cell");
            let shown: Vec<String> = i
                .pending
                .iter()
                .take(5)
                .map(|f| format_code_span(&words::format_endpoint(f), NAME))
                .collect();
            self.add(&format!(
                "{n} newly required and not open in this run: {}{}. One more run that covers it makes it drift.\n\n",
                shown.join(", "),
                if i.pending.len() > 5 { ", …" } else { "" }
            ));
        }
    }

    /// Groups, and then single findings; what is in neither stands in the folded table.
    fn findings(
        &mut self,
        title: &str,
        last: &str,
        all: &[&Finding],
        notes: &HashMap<&str, String>,
    ) {
        if all.is_empty() {
            return;
        }
        self.add(&format!(
            "### {title}: {}\n\n",
            words::format_plural(all.len() as u64, "finding")
        ));
        let (groups, single) = split(all.iter().copied());
        let head = format!(
            "| Findings | Severity | Where | What | Owner | {last} |\n|--:|---|---|---|---|---|\n"
        );
        let rows = groups.iter().map(|g| {
            let of = g.findings.iter().filter_map(|f| notes.get(f.id.as_str()));
            format!(
                "| {} | {} | {} | {} | {} | {} |\n",
                words::group_digits(g.findings.len() as u64),
                g.severity.as_str(),
                format_code_span(&g.prefix.to_string(), NAME),
                format_code_span(&describe_group(g), SENTENCE),
                format_code_span(
                    &format_frequent_names(g.owners.iter().map(|(o, _)| o.as_str())),
                    NAME
                ),
                format_code_span(&format_frequent_names(of.map(String::as_str)), NAME),
            )
        });
        let n = self.table(&head, rows, MAX_GROUPS, 8_000);
        let (hidden, rest) = (groups.len() - n, groups.iter().skip(n));
        if hidden > 0 {
            let findings: usize = rest.map(|g| g.findings.len()).sum();
            self.add(&format!(
                "{} with {} among all below.\n\n",
                words::format_plural(hidden as u64, "more group"),
                words::format_plural(findings as u64, "finding")
            ));
        }
        let rows = single.iter().map(|f| render_row(f, notes));
        let n = self.table(&render_table_head(last), rows, MAX_SINGLE, 7_000);
        if single.len() > n {
            let n = words::format_plural((single.len() - n) as u64, "more single finding");
            self.add(&format!("{n} among all below.\n\n"));
        }
    }

    fn folded(
        &mut self,
        title: &str,
        last: &str,
        all: &[&Finding],
        notes: &HashMap<&str, String>,
        budget: usize,
    ) {
        let (groups, single) = split(all.iter().copied());
        // Everything is shown above.
        if groups.is_empty() && single.len() <= MAX_SINGLE {
            return;
        }
        let count = words::group_digits(all.len() as u64);
        let open =
            format!("<details><summary>{title}: {count}</summary>\n\n{}", render_table_head(last));
        let n = self.table(
            &open,
            all.iter().map(|f| render_row(f, notes)),
            MAX_FOLDED,
            budget.saturating_sub(200),
        );
        if n > 0 {
            self.more(all.len() - n, "finding");
            self.add("</details>\n\n");
        } else {
            self.more(all.len(), "finding");
        }
    }

    fn rules(&mut self, i: &RuleImpact) {
        if i.rules.is_empty() {
            return;
        }
        let head = format!(
            "<details><summary>Rules: {}</summary>\n\n| | Rule | At | Owner | |\n|---|---|---|---|---|\n",
            format_rule_counts(i)
        );
        let rows = i.rules.iter().map(|r| {
            format!(
                "| {} | {} | {} | {} | {} |\n",
                describe_change_kind(r.what),
                format_code_span(&r.rule.id, NAME),
                format_code_span(&r.rule.place, NAME),
                format_code_span(&r.rule.owner, NAME),
                escape_prose(&format_rule_change(r), SENTENCE)
            )
        });
        let n = self.table(&head, rows, MAX_RULES, 10_000);
        if n > 0 {
            self.more(i.rules.len() - n, "rule");
            self.add("</details>\n\n");
        } else {
            self.more(i.rules.len(), "rule");
        }
    }

    fn foot(&mut self, i: &RuleImpact) {
        let mut s = format!("Run {}", format_code_span(&i.run_id, NAME));
        if let Some(at) = i.run_at {
            let _ = write!(s, " of {}", words::format_minute(at));
        }
        let short = |d: &str| format_code_span(&d.chars().take(12).collect::<String>(), 12);
        let _ = writeln!(
            s,
            ", judged twice for {}: with the baseline {} and with {}. No packet was sent.",
            words::format_minute(i.judged_at),
            short(&i.base_digest),
            short(&i.head_digest)
        );
        self.add(&s);
    }
}

fn format_cell_counts(c: CellSets) -> String {
    format!(
        "{} | {} | {} | {} | {}",
        format_amount(c.cells),
        words::group_digits(c.open),
        words::group_digits(c.closed + c.prohibited),
        words::group_digits(c.silent),
        format_amount(c.never_observed)
    )
}

fn render_table_head(last: &str) -> String {
    format!(
        "| Severity | Where | What | Owner | {last} | First seen | Id |\n|---|---|---|---|---|---|---|\n"
    )
}

fn render_row(f: &Finding, notes: &HashMap<&str, String>) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        f.severity.as_str(),
        format_code_span(&words::format_location(f), NAME),
        format_code_span(&words::describe_finding(f), NAME),
        f.owner.as_deref().map_or_else(String::new, |o| format_code_span(o, NAME)),
        notes.get(f.id.as_str()).map_or_else(String::new, |n| format_code_span(n, NAME)),
        words::format_day(f.first_seen),
        format_code_span(&f.id, 64),
    )
}
