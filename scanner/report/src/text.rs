//! The summary for a terminal: what a person takes in within ten seconds.

use std::fmt::Write as _;

use mimawari_drift::verdict::{Finding, FindingState, Verdict};
use mimawari_probes::observation::Severity;

use crate::allowed_words;
use crate::clean::{clean, measure_width, pad, truncate_to_columns, wrap};
use crate::same_names::{self, NamedRow};
use crate::site_words;
use crate::words::{self, NAME, SENTENCE, VerdictTone};

/// Rows of findings over all sections.
const MAX_ROWS: usize = 20;
/// Rows that a list of what still counts keeps, however long the ones before it are.
const KEPT_ROWS: usize = 3;
/// Rows that a list of what is settled keeps.
const KEPT_SETTLED: usize = 1;
/// Least room for a reason beside its finding, in columns; with less it goes below.
const MIN_WHY: usize = 30;
/// Sentences of a list (reasons, what was not covered, notes).
const MAX_SENTENCES: usize = 5;
/// Lines of a sentence.
const MAX_LINES: usize = 3;
/// Findings whose evidence is shown in full; of the others it is one line.
const MAX_FULL: usize = 5;
/// Width of the labels of evidence.
const EVIDENCE: usize = 9;
/// Changes of sites, and notices of one kind.
const MAX_CHANGES: usize = 6;
const MAX_NOTICES: usize = 3;
/// Allowed things that are shown one by one.
const MAX_ALLOWED: usize = 10;
/// Width of the labels under "How sure".
const LABEL: usize = 10;

/// The verdict as text for a terminal of `columns` columns (40 to 160 are used; 0 means unknown, 80).
///
/// With `colour` false there is no escape sequence in it, whatever the verdict holds; with `colour`
/// true the only ones are our own SGR sequences (ECMA-48, section 8.3.117).
#[must_use]
pub fn render_text(verdict: &Verdict, colour: bool, columns: usize) -> String {
    let columns = if columns == 0 { 80 } else { columns.clamp(40, 160) };
    let mut page = TextPage { out: String::new(), colour, columns, full: 0, remedies: Vec::new() };
    page.head(verdict);
    page.how_sure(verdict);
    page.findings(verdict);
    page.services(verdict);
    page.allowed(verdict);
    page.sites(verdict);
    page.foot(verdict);
    page.out
}

/// How a piece of text is set.
#[derive(Clone, Copy)]
enum TextStyle {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
    Magenta,
}

impl TextStyle {
    /// Parameters of the SGR sequence.
    const fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Green => "1;32",
            Self::Yellow => "1;33",
            Self::Red => "1;31",
            Self::Magenta => "1;35",
        }
    }

    const fn of(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::Magenta,
            Severity::High => Self::Red,
            Severity::Medium => Self::Yellow,
            Severity::Low | Severity::Info => Self::Bold,
        }
    }
}

struct TextPage {
    out: String,
    colour: bool,
    columns: usize,
    /// Findings whose evidence was shown in full.
    full: usize,
    /// What to do, as already shown.
    remedies: Vec<String>,
}

/// A list below the table: title, and the states that belong to it.
const LISTS: [(&str, &[FindingState]); 6] = [
    (
        "Required and not open",
        &[FindingState::Missing, FindingState::MissingUnverified, FindingState::MissingPending],
    ),
    ("Not seen to be gone, still counted", &[FindingState::Unverified, FindingState::Resolving]),
    ("Resolved", &[FindingState::Resolved]),
    ("Now allowed by the baseline", &[FindingState::Allowed]),
    ("Left the scope, not resolved", &[FindingState::OutOfScope]),
    ("No longer required, not seen open again", &[FindingState::NotRequired]),
];

impl TextPage {
    /// Adds text, coloured if colour is wanted.
    fn ink(&mut self, ink: TextStyle, s: &str) {
        if self.colour && !matches!(ink, TextStyle::Plain) && !s.is_empty() {
            let _ = write!(self.out, "\x1b[{}m{s}\x1b[0m", ink.sgr());
        } else {
            self.out.push_str(s);
        }
    }

    fn line(&mut self, ink: TextStyle, s: &str) {
        self.ink(ink, s);
        self.out.push('\n');
    }

    /// Adds a sentence, broken into lines, each after `indent` spaces; the first after `first`.
    fn sentence(&mut self, ink: TextStyle, first: &str, indent: usize, s: &str) {
        let room = self.columns.saturating_sub(indent);
        for (i, l) in wrap(s, room, MAX_LINES).iter().enumerate() {
            let lead = if i == 0 { pad(first, indent) } else { " ".repeat(indent) };
            self.out.push_str(&lead);
            self.line(ink, l);
        }
    }

    /// Adds a bounded list of foreign sentences.
    fn sentences(&mut self, lead: &str, list: &[String]) {
        for s in list.iter().take(MAX_SENTENCES) {
            self.sentence(TextStyle::Plain, lead, lead.len(), &clean(s, SENTENCE));
        }
        if list.len() > MAX_SENTENCES {
            let more = format!("{:1$}and {2} more", "", lead.len(), list.len() - MAX_SENTENCES);
            self.line(TextStyle::Dim, &more);
        }
    }

    fn head(&mut self, v: &Verdict) {
        let h = words::build_headline(v);
        let ink = match h.tone {
            VerdictTone::Clean => TextStyle::Green,
            VerdictTone::Drift => TextStyle::Red,
            VerdictTone::Incomplete => TextStyle::Yellow,
            VerdictTone::Suspect => TextStyle::Magenta,
        };
        let title = format!("{}: {}", h.word, h.rest);
        for l in wrap(&title, self.columns, MAX_LINES) {
            self.line(ink, &l);
        }
        if let Some(s) = words::format_state_counts(v) {
            self.sentence(TextStyle::Plain, "", 0, &s);
        }
        if let Some(c) = h.caution {
            self.sentence(TextStyle::Bold, "", 0, c);
        }
        let mut run = format!(
            "Run {}, judged {}",
            clean_or_dash(&v.run_id),
            words::format_minute(v.judged_at)
        );
        if !v.run.authorised_by.is_empty() {
            let _ = write!(run, ", authorised by {}", clean(&v.run.authorised_by, NAME));
        }
        self.sentence(TextStyle::Dim, "", 0, &run);
        self.out.push('\n');
    }

    fn how_sure(&mut self, v: &Verdict) {
        self.line(TextStyle::Bold, "How sure");
        let mut fact = |label: &str, value: &str| {
            self.sentence(TextStyle::Plain, &format!("  {label}"), 2 + LABEL, value);
        };
        fact("coverage", &words::format_cell_coverage(v));
        if let Some(c) = words::format_check_coverage(&v.coverage) {
            fact("content", &c);
        }
        fact("recall", &words::format_recall(&v.coverage));
        if let Some(f) = &v.coverage.freshness {
            fact("freshness", &f.sentence());
        }
        fact("method", &words::describe_method(v));
        // A single reason of an incomplete run is the headline already.
        let in_headline = words::build_headline(v).tone == VerdictTone::Incomplete;
        if v.incomplete_because.len() > usize::from(in_headline) {
            self.line(TextStyle::Plain, "  incomplete, because");
            self.sentences("    - ", &v.incomplete_because);
        }
        if !v.coverage.not_covered.is_empty() {
            self.line(TextStyle::Plain, "  not covered");
            self.sentences("    - ", &v.coverage.not_covered);
        }
        if !v.run.notes.is_empty() {
            self.line(TextStyle::Plain, "  notes");
            self.sentences("    - ", &v.run.notes);
        }
        self.out.push('\n');
    }

    fn findings(&mut self, v: &Verdict) {
        let open = select(v, &[FindingState::Open]);
        let lists = LISTS.map(|(title, states)| (title, select(v, states)));
        let keeps = |l: &[&Finding]| {
            let counts = l.iter().any(|f| f.state.is_drift());
            l.len().min(if counts { KEPT_ROWS } else { KEPT_SETTLED })
        };
        let kept: usize = lists.iter().map(|(_, l)| keeps(l)).sum();
        let rows = same_names::build_named_rows(&open, &v.same_files);
        let shown = rows.len().min(MAX_ROWS.saturating_sub(kept));
        self.table(&open, &rows, shown);
        let mut spare = MAX_ROWS.saturating_sub(shown + kept);
        for (title, list) in &lists {
            if list.is_empty() {
                continue;
            }
            let base = keeps(list);
            let extra = (list.len() - base).min(spare);
            spare -= extra;
            self.list(title, list, base + extra);
        }
    }

    /// The open findings, grouped by severity, two or three lines each.
    fn table(&mut self, open: &[&Finding], named: &[NamedRow<'_>], shown: usize) {
        if open.is_empty() {
            return;
        }
        self.line(
            TextStyle::Bold,
            &format!("Open and not agreed: {}", words::group_digits(open.len() as u64)),
        );
        let rows: Vec<(String, String, String)> = named[..shown]
            .iter()
            .map(|row| {
                let f = row.finding;
                let mut state = vec![words::describe_state(f.state).to_owned()];
                state.extend(words::collect_marks(f));
                (state.join(", "), words::describe_finding(f), words::format_location(f))
            })
            .collect();
        let state_width = rows.iter().map(|r| measure_width(&r.0)).max().unwrap_or(0).min(24);
        let what_width = rows.iter().map(|r| measure_width(&r.1)).max().unwrap_or(0).min(36);
        for severity in words::SEVERITIES {
            let of_severity = open.iter().filter(|f| f.severity == severity).count();
            if of_severity == 0 {
                continue;
            }
            let label = severity.as_str().to_uppercase();
            self.out.push_str("  ");
            self.ink(TextStyle::of(severity), &label);
            let _ = writeln!(self.out, " {}", words::group_digits(of_severity as u64));
            for (row, (state, what, place)) in named.iter().zip(&rows) {
                if row.finding.severity == severity {
                    self.row(row, [state, what, place], state_width, what_width);
                }
            }
        }
        self.more(named.len() - shown);
        self.out.push('\n');
    }

    fn row(&mut self, row: &NamedRow<'_>, cells: [&str; 3], state_width: usize, what_width: usize) {
        let f = row.finding;
        let [state, what, place] = cells;
        let lead = format!("  {}  {}", pad(state, state_width), pad(what, what_width));
        let room = self.columns.saturating_sub(measure_width(&lead) + 2);
        if measure_width(place) <= room {
            self.out.push_str(&lead);
            self.out.push_str("  ");
            self.line(TextStyle::Bold, place);
        } else {
            // Where it is matters more than the columns: it gets a line, or as many as it takes.
            let lead = format!("  {state}  {what}");
            let lead = truncate_to_columns(&lead, self.columns).into_owned();
            self.line(TextStyle::Plain, &lead);
            self.sentence(TextStyle::Bold, "", 6, place);
        }
        let mut why = clean(&f.why, SENTENCE);
        if !why.is_empty() && !why.ends_with(['.', '…']) {
            why.push('.');
        }
        if !f.new {
            let _ = write!(why, " Since {}.", words::format_day(f.first_seen));
        }
        if let Some(service) = &f.service {
            let _ = write!(why, " [{}]", clean(service, NAME));
        }
        if let Some(others) = row.others() {
            self.sentence(TextStyle::Plain, "", 6, &others);
        }
        for l in wrap(&why, self.columns.saturating_sub(6), 2) {
            self.out.push_str("      ");
            self.line(TextStyle::Dim, &l);
        }
        self.evidence(f);
    }

    /// What was asked and answered, why that is certain, and what to do: in full for the first
    /// findings of high severity, in a line for the rest.
    fn evidence(&mut self, f: &Finding) {
        let answer = f.evidence.as_ref().map(words::describe_evidence);
        if f.severity < Severity::High || self.full >= MAX_FULL {
            if let Some(answer) = answer {
                self.sentence(TextStyle::Dim, "", 6, &answer);
            }
            return;
        }
        let title = f.title.as_deref().map(|t| clean(t, SENTENCE));
        let asked = words::format_request(f).map(|a| format!("{a}, {}", words::RANGE));
        let certain = f.evidence.as_ref().and_then(words::explain_certainty);
        let mut remedy = f.remedy.as_deref().map(|r| clean(r, SENTENCE));
        if let Some(text) = &mut remedy {
            if self.remedies.contains(text) {
                "as above".clone_into(text);
            } else {
                self.remedies.push(text.clone());
            }
        }
        let rows = [
            ("what", title),
            ("asked", asked),
            ("answer", answer),
            ("certain", certain),
            ("remedy", remedy),
        ];
        self.full += usize::from(rows.iter().any(|(_, text)| text.is_some()));
        for (label, text) in rows {
            let Some(text) = text else { continue };
            self.sentence(TextStyle::Dim, &format!("      {label}"), 6 + EVIDENCE, &text);
        }
    }

    /// Findings in other states, one line each where the terminal has room for it.
    fn list(&mut self, title: &str, list: &[&Finding], shown: usize) {
        self.line(TextStyle::Bold, &format!("{title}: {}", words::group_digits(list.len() as u64)));
        // Where the title stands for one state, the state needs no column.
        let named = !list.iter().any(|f| f.state.is_drift());
        let rows: Vec<(String, &str)> = list[..shown]
            .iter()
            .map(|f| {
                (words::format_location(f), if named { "" } else { words::describe_state(f.state) })
            })
            .collect();
        let state_width = rows.iter().map(|r| r.1.len() + 2).max().unwrap_or(2);
        let room = self.columns.saturating_sub(14 + state_width);
        let place_width = rows.iter().map(|r| measure_width(&r.0)).max().unwrap_or(0).min(room / 2);
        for (f, (place, state)) in list.iter().zip(&rows) {
            let why = clean(&f.why, SENTENCE);
            self.out.push_str("  ");
            self.ink(TextStyle::of(f.severity), &pad(f.severity.as_str(), 8));
            if measure_width(place) <= place_width && room - place_width >= MIN_WHY {
                let state = if named { String::new() } else { pad(state, state_width) };
                let _ = write!(self.out, "  {}  {state}", pad(place, place_width));
                self.line(TextStyle::Dim, &truncate_to_columns(&why, room - place_width));
            } else {
                // Where it is, is never cut for the sake of a column.
                for (i, l) in wrap(place, self.columns - 12, MAX_LINES).iter().enumerate() {
                    self.out.push_str(&" ".repeat(if i == 0 { 2 } else { 12 }));
                    self.line(TextStyle::Plain, l);
                }
                let why = if named { why } else { format!("{state}: {why}") };
                self.sentence(TextStyle::Dim, "", 6, &why);
            }
        }
        self.more(list.len() - shown);
        self.out.push('\n');
    }

    fn more(&mut self, n: usize) {
        if n > 0 {
            let s = format!("  and {} more in verdict.json", words::group_digits(n as u64));
            self.line(TextStyle::Bold, &s);
        }
    }

    /// Web sites: what changed of them, and what somebody should look after. None of it is drift.
    fn sites(&mut self, v: &Verdict) {
        if !site_words::is_any(v) {
            return;
        }
        let c = &v.sites;
        self.line(TextStyle::Bold, "Web sites (inventory, no drift)");
        self.sentence(TextStyle::Plain, "", 2, &site_words::format_site_counts(c));
        if !v.site_changes.is_empty() {
            self.line(TextStyle::Plain, &format!("  {}", site_words::format_title(c)));
            for change in v.site_changes.iter().take(MAX_CHANGES) {
                let (url, at) = site_words::locate_change(change);
                self.site(&format!("{}: {url} at {at}", site_words::describe_fact(change.what)));
                let now = site_words::format_value(change.now.as_deref());
                for (label, text) in
                    [("was", site_words::format_previous_value(change)), ("is", now)]
                {
                    self.sentence(TextStyle::Dim, &format!("        {label}"), 12, &text);
                }
            }
            self.more_sites(c.changes, v.site_changes.len().min(MAX_CHANGES));
        }
        for (title, kinds) in site_words::GROUPS {
            let list: Vec<_> = v.site_notices.iter().filter(|n| kinds.contains(&n.what)).collect();
            if list.is_empty() {
                continue;
            }
            let n = site_words::count(c, kinds);
            self.line(TextStyle::Plain, &format!("  {title}: {}", words::group_digits(n)));
            for notice in list.iter().take(MAX_NOTICES) {
                let (url, at) = site_words::locate_notice(notice);
                self.site(&format!("{url} at {at}"));
                self.sentence(TextStyle::Dim, "", 8, &site_words::format_notice(notice));
            }
            self.more_sites(n, list.len().min(MAX_NOTICES));
        }
        self.out.push('\n');
    }

    fn site(&mut self, s: &str) {
        for (i, l) in wrap(s, self.columns - 8, MAX_LINES).iter().enumerate() {
            self.out.push_str(if i == 0 { "    - " } else { "        " });
            self.line(TextStyle::Plain, l);
        }
    }

    fn more_sites(&mut self, total: u64, shown: usize) {
        let n = site_words::count_unlisted(total, shown);
        if n > 0 {
            self.line(TextStyle::Dim, &format!("      and {} more", words::group_digits(n)));
        }
    }

    fn services(&mut self, v: &Verdict) {
        let n = v.service_changes.len();
        if n == 0 {
            return;
        }
        let title = format!("Another service than before: {}", words::group_digits(n as u64));
        self.line(TextStyle::Bold, &title);
        for c in v.service_changes.iter().take(MAX_CHANGES) {
            self.sentence(TextStyle::Plain, "  ", 2, &words::describe_service_change(c));
        }
        self.more(n.saturating_sub(MAX_CHANGES));
        self.out.push('\n');
    }

    /// What is there and allowed: the worst one by one, the rest counted.
    fn allowed(&mut self, v: &Verdict) {
        if v.allowed_counts.total() == 0 {
            return;
        }
        let title = format!("Allowed by the baseline: {}", allowed_words::format_counts(v));
        self.sentence(TextStyle::Bold, "", 0, &title);
        let shown: Vec<_> = allowed_words::select_important(v).take(MAX_ALLOWED).collect();
        for a in &shown {
            self.out.push_str("  ");
            self.ink(TextStyle::of(a.severity), &pad(a.severity.as_str(), 8));
            let line = format!(
                "{} ({})",
                allowed_words::format_location(a),
                allowed_words::describe_subject(a)
            );
            for (i, l) in wrap(&line, self.columns - 12, MAX_LINES).iter().enumerate() {
                self.out.push_str(&" ".repeat(if i == 0 { 2 } else { 12 }));
                self.line(TextStyle::Plain, l);
            }
            let why = format!("by {}", allowed_words::format_allowing_rule(a));
            self.sentence(TextStyle::Dim, "", 12, &why);
        }
        let more = allowed_words::count_hidden(v, shown.len());
        if more > 0 && !shown.is_empty() {
            self.line(TextStyle::Dim, &format!("  and {} more", words::group_digits(more)));
        }
        self.out.push('\n');
    }

    fn foot(&mut self, v: &Verdict) {
        let c = &v.counts;
        let mut also = Vec::new();
        // Verdicts of former versions count them and do not list them.
        if c.allowed > 0 && v.allowed_counts.total() == 0 {
            also.push(format!("{} allowed by the baseline", words::group_digits(c.allowed)));
        }
        if c.unconfirmed > 0 {
            also.push(format!(
                "{} dropped, as a second look refuted them",
                words::group_digits(c.unconfirmed)
            ));
        }
        if !also.is_empty() {
            self.sentence(
                TextStyle::Plain,
                "",
                0,
                &format!("Also seen open: {}.", also.join("; ")),
            );
        }
        let exit = format!("Exit status {}: {}.", v.exit, words::describe_exit_status(v.exit));
        self.sentence(TextStyle::Plain, "", 0, &exit);
    }
}

/// The findings in these states, worst first, new ones before old ones.
fn select<'a>(v: &'a Verdict, states: &[FindingState]) -> Vec<&'a Finding> {
    let mut l: Vec<&Finding> = v.findings.iter().filter(|f| states.contains(&f.state)).collect();
    l.sort_by_key(|f| (std::cmp::Reverse(f.severity), !f.new));
    l
}

fn clean_or_dash(s: &str) -> String {
    words::replace_empty(&clean(s, NAME)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::is_hostile;
    use crate::samples;

    #[test]
    fn clean_run() {
        insta::assert_snapshot!(render_text(&samples::clean(), false, 100));
    }

    #[test]
    fn drift() {
        insta::assert_snapshot!(render_text(&samples::drift(), false, 100));
    }

    #[test]
    fn drift_on_a_narrow_terminal() {
        insta::assert_snapshot!(render_text(&samples::drift(), false, 60));
    }

    #[test]
    fn incomplete() {
        insta::assert_snapshot!(render_text(&samples::incomplete(), false, 100));
    }

    #[test]
    fn suspect() {
        insta::assert_snapshot!(render_text(&samples::suspect(), false, 100));
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        insta::assert_snapshot!(render_text(&samples::many(20_000), false, 100));
    }

    /// Every line fits, and nothing of it acts on the terminal.
    #[test]
    fn hostile_text_is_inert_at_every_width() {
        for v in [samples::hostile(), samples::drift(), samples::many(100)] {
            for columns in [0, 1, 40, 41, 79, 80, 120, 500] {
                let s = render_text(&v, false, columns);
                let most = if columns == 0 { 80 } else { columns.clamp(40, 160) };
                assert!(!s.chars().any(|c| c != '\n' && is_hostile(c)), "{s}");
                for l in s.lines() {
                    assert!(measure_width(l) <= most, "{} > {most}: {l}", measure_width(l));
                }
            }
        }
    }

    /// With colour, taking our own sequences out gives the text without colour.
    #[test]
    fn colour_adds_nothing_but_our_own_sequences() {
        for v in samples::all() {
            let plain = render_text(&v, false, 100);
            let coloured = render_text(&v, true, 100);
            let mut bare = coloured.replace("\x1b[0m", "");
            for sgr in ["1", "2", "1;31", "1;32", "1;33", "1;35"] {
                bare = bare.replace(&format!("\x1b[{sgr}m"), "");
            }
            assert_eq!(bare, plain);
            assert_ne!(coloured, plain);
        }
    }

    /// What a run did not cover is never called closed, fixed or resolved.
    #[test]
    fn what_was_not_covered_is_not_called_gone() {
        for v in [samples::incomplete(), samples::suspect()] {
            let s = render_text(&v, false, 100).to_lowercase();
            for word in ["closed", "fixed", "clean:", "resolved:"] {
                assert!(!s.contains(word), "{word}: {s}");
            }
        }
    }
}
