//! The impact for a terminal.

use std::collections::HashMap;
use std::fmt::Write as _;

use mimawari_drift::impact::{CellSets, RuleImpact};
use mimawari_drift::verdict::Finding;

use super::{
    describe_change_kind, describe_expectation_change, describe_group, describe_impact,
    explain_silencing, format_amount, format_frequent_names, format_rule_change,
    format_rule_counts, format_severity_counts, select_caution, split,
};
use crate::clean::{clean, pad, truncate_to_columns};
use crate::words::{self, NAME, SENTENCE};

/// Rows of each list.
const MAX_ROWS: usize = 15;
/// Sentences on why a run is incomplete.
const MAX_WHY: usize = 5;

/// The impact as text for a terminal of `columns` columns (60 to 200 are used; 0 means unknown, 100),
/// without any escape sequence.
#[must_use]
pub fn render_text(impact: &RuleImpact, columns: usize) -> String {
    let columns = if columns == 0 { 100 } else { columns.clamp(60, 200) };
    let mut page = TerminalPage { out: String::new(), columns };
    page.all(impact);
    page.out
}

struct TerminalPage {
    out: String,
    columns: usize,
}

impl TerminalPage {
    fn line(&mut self, s: &str) {
        self.out.push_str(truncate_to_columns(s, self.columns).trim_end());
        self.out.push('\n');
    }

    fn title(&mut self, s: &str) {
        self.out.push('\n');
        self.line(s);
    }

    fn more(&mut self, n: usize, noun: &str) {
        if n > 0 {
            let n = words::format_plural(n as u64, &format!("more {noun}"));
            self.line(&format!("  … {n}; --format json has all"));
        }
    }

    fn all(&mut self, i: &RuleImpact) {
        self.line(&format!("This change of the baseline {}.", describe_impact(i)));
        for (what, list) in [
            ("Silenced", format_severity_counts(i.silenced.iter().map(|s| &s.finding.severity))),
            ("Re-opened", format_severity_counts(i.reopened.iter().map(|r| &r.finding.severity))),
            ("Left", format_severity_counts(i.left.iter().map(|l| &l.severity))),
        ] {
            if let Some(list) = list {
                self.line(&format!("  {:<10} {list}", format!("{what}:")));
            }
        }
        if let Some(c) = select_caution(i) {
            self.line(c);
            for why in i.incomplete_because.iter().take(MAX_WHY) {
                self.line(&format!("  {}", clean(why, SENTENCE)));
            }
            self.more(i.incomplete_because.len().saturating_sub(MAX_WHY), "reason");
        }
        self.radius(i);
        self.expectations(i);
        let by: HashMap<&str, String> = i
            .silenced
            .iter()
            .map(|s| (s.finding.id.as_str(), explain_silencing(&s.finding, s.by.as_ref())))
            .collect();
        self.findings("Would silence", i.silenced.iter().map(|s| &s.finding), &by);
        let because: HashMap<&str, String> = i
            .reopened
            .iter()
            .map(|r| {
                let id = r.was.as_ref().map_or_else(String::new, |w| format!("{}: ", w.id));
                (r.finding.id.as_str(), format!("{id}{}", r.because))
            })
            .collect();
        self.findings("Would re-open", i.reopened.iter().map(|r| &r.finding), &because);
        if !i.rules.is_empty() {
            self.title(&format!("Rules: {}", format_rule_counts(i)));
            for r in i.rules.iter().take(MAX_ROWS) {
                self.line(&format!(
                    "  {:<8} {} ({}): {}",
                    describe_change_kind(r.what),
                    clean(&r.rule.id, NAME),
                    clean(&r.rule.place, NAME),
                    format_rule_change(r)
                ));
            }
            self.more(i.rules.len().saturating_sub(MAX_ROWS), "rule");
        }
        let at = i.run_at.map_or_else(String::new, |t| format!(" of {}", words::format_minute(t)));
        self.title(&format!(
            "Run {}{at}, judged twice for {}. No packet was sent.",
            clean(&i.run_id, NAME),
            words::format_minute(i.judged_at)
        ));
    }

    fn radius(&mut self, i: &RuleImpact) {
        if i.newly_allowed.cells > 0 {
            self.title("Newly allowed cells (addresses × ports)");
            let mut s = format!("  {}", pad("rule", 22));
            for head in ["cells", "seen open", "closed", "silent", "never observed"] {
                let _ = write!(s, "{head:>15}");
            }
            self.out.push_str(&s);
            self.out.push('\n');
            let mut row = |name: &str, c: CellSets| {
                let mut s = format!("  {}", pad(&clean(name, NAME), 22));
                for n in [
                    format_amount(c.cells),
                    words::group_digits(c.open),
                    words::group_digits(c.closed + c.prohibited),
                    words::group_digits(c.silent),
                    format_amount(c.never_observed),
                ] {
                    let _ = write!(s, "{n:>15}");
                }
                self.out.push_str(&s);
                self.out.push('\n');
            };
            for r in i.newly_allowed_by.iter().take(MAX_ROWS) {
                row(&r.rule.id, r.cells);
            }
            row("all together", i.newly_allowed);
            self.more(i.newly_allowed_by.len().saturating_sub(MAX_ROWS), "rule");
        }
        if !i.contents_allowed_by.is_empty() {
            self.title("Newly allowed contents (addresses × checks and paths)");
            for r in i.contents_allowed_by.iter().take(MAX_ROWS) {
                self.line(&format!(
                    "  {}{:>15}  at {}, {} silenced",
                    pad(&clean(&r.rule.id, NAME), 22),
                    format_amount(r.places),
                    words::format_plural(r.sites, "known site"),
                    words::format_plural(r.silences, "finding")
                ));
            }
            self.more(i.contents_allowed_by.len().saturating_sub(MAX_ROWS), "rule");
        }
    }

    fn expectations(&mut self, i: &RuleImpact) {
        let all: Vec<_> = i.rules.iter().filter(|r| r.is_of_expectation()).collect();
        let forbidden = i.left.iter().filter(|l| l.newly_forbidden).count();
        if all.is_empty() && forbidden == 0 && i.pending.is_empty() {
            return;
        }
        self.title("Must and never");
        for r in all.iter().take(MAX_ROWS) {
            self.line(&format!(
                "  {} ({}) {}",
                clean(&r.rule.id, NAME),
                clean(&r.rule.place, NAME),
                describe_expectation_change(r)
            ));
        }
        self.more(all.len().saturating_sub(MAX_ROWS), "rule");
        if forbidden > 0 {
            let n = words::format_plural(forbidden as u64, "finding");
            self.line(&format!("  open already, and forbidden from then on: {n}"));
        }
        for f in i.pending.iter().take(MAX_ROWS) {
            self.line(&format!(
                "  {} is newly required and was not open: drift after one more run that covers it",
                words::format_endpoint(f)
            ));
        }
        self.more(i.pending.len().saturating_sub(MAX_ROWS), "cell");
    }

    fn findings<'a>(
        &mut self,
        title: &str,
        all: impl Iterator<Item = &'a Finding>,
        notes: &HashMap<&str, String>,
    ) {
        let (groups, single) = split(all);
        let n = single.len() + groups.iter().map(|g| g.findings.len()).sum::<usize>();
        if n == 0 {
            return;
        }
        self.title(&format!("{title}: {}", words::format_plural(n as u64, "finding")));
        for g in groups.iter().take(MAX_ROWS) {
            let of = g.findings.iter().filter_map(|f| notes.get(f.id.as_str()));
            self.line(&format!(
                "  {:<8} {:>6} × {} in {} ({})",
                g.severity.as_str(),
                words::group_digits(g.findings.len() as u64),
                describe_group(g),
                g.prefix,
                format_frequent_names(of.map(String::as_str))
            ));
        }
        self.more(groups.len().saturating_sub(MAX_ROWS), "group");
        for f in single.iter().take(MAX_ROWS) {
            self.line(&format!(
                "  {:<8} {}  {} ({})",
                f.severity.as_str(),
                words::format_location(f),
                words::describe_finding(f),
                notes.get(f.id.as_str()).map_or_else(String::new, |n| clean(n, NAME))
            ));
        }
        self.more(single.len().saturating_sub(MAX_ROWS), "single finding");
    }
}
