//! The verdict for a pull request or a ticket.

use std::fmt::Write as _;

use mimawari_drift::verdict::{Finding, FindingState, Verdict};

use crate::allowed_words;
use crate::clean::clean;
use crate::same_names::{self, NamedRow};
use crate::site_words;
use crate::words::{self, NAME, SENTENCE};

/// Longest text that [`render_markdown`] returns, in characters. Common hosts of pull requests take 65,536.
pub const MAX_CHARS: usize = 60_000;

/// What is kept free for the lines after the tables.
const RESERVE: usize = 4_000;
/// What is kept free for evidence, where there is any, and for web sites.
const EVIDENCE: usize = 12_000;
const SITES: usize = 8_000;
/// Rows of one table.
const MAX_ROWS: usize = 200;
/// Changes of sites, and notices of one kind.
const MAX_SITES: usize = 50;
/// Allowed things that are shown one by one.
const MAX_ALLOWED: usize = 50;
/// Sentences of a list.
const MAX_SENTENCES: usize = 20;
/// Longest list of targets or ports, in characters.
const MAX_LIST: usize = 1_000;

/// The verdict as GitHub Flavored Markdown, at most [`MAX_CHARS`] characters.
///
/// Text from the network or from a configuration stands in code spans, or has its punctuation
/// escaped: it can neither format, link, embed, mention a person nor refer to an issue. Outside code
/// spans `@` and `#` are written in their full-width forms, because the hosts of pull requests look
/// for mentions and references when the escapes are gone.
#[must_use]
pub fn render_markdown(verdict: &Verdict) -> String {
    let v = verdict;
    let is_hit = |f: &&Finding| f.evidence.is_some() || f.remedy.is_some();
    let kept = [v.findings.iter().any(|f| is_hit(&f)), site_words::is_any(v)];
    let budget =
        MAX_CHARS - RESERVE - if kept[0] { EVIDENCE } else { 0 } - if kept[1] { SITES } else { 0 };
    let mut page = MarkdownPage { out: String::new(), chars: 0, budget };
    let h = words::build_headline(v);
    page.add(&format!("## {}: {}\n\n", h.word, escape_prose(&h.rest, SENTENCE)));
    if let Some(s) = words::format_state_counts(v) {
        page.add(&format!("{s}\n\n"));
    }
    if let Some(c) = h.caution {
        page.add(&format!("**{c}**\n\n"));
    }
    page.how_sure(v);

    let mut hidden = 0;
    hidden += page.table("Open and not agreed", v, &[FindingState::Open]);
    hidden += page.table(
        "Required and not open",
        v,
        &[FindingState::Missing, FindingState::MissingUnverified, FindingState::MissingPending],
    );
    hidden += page.table(
        "Not seen to be gone, still counted",
        v,
        &[FindingState::Unverified, FindingState::Resolving],
    );
    hidden += page.table("Resolved", v, &[FindingState::Resolved]);
    hidden += page.table("Now allowed by the baseline", v, &[FindingState::Allowed]);
    hidden += page.table("Left the scope, not resolved", v, &[FindingState::OutOfScope]);
    hidden +=
        page.table("No longer required, not seen open again", v, &[FindingState::NotRequired]);
    page.services(v);
    if hidden > 0 {
        let of = words::format_plural(v.findings.len() as u64, "finding");
        page.add(&format!(
            "**{} more of {of} in `verdict.json`.**\n\n",
            words::group_digits(hidden)
        ));
    }
    page.budget = MAX_CHARS - RESERVE - if kept[1] { SITES } else { 0 };
    page.allowed(v);
    page.evidence(v);
    page.budget = MAX_CHARS - RESERVE;
    page.sites(v);
    page.foot(v);
    page.out
}

struct MarkdownPage {
    out: String,
    /// Length of `out` in characters.
    chars: usize,
    /// How long it may become for now.
    budget: usize,
}

impl MarkdownPage {
    fn add(&mut self, s: &str) {
        self.out.push_str(s);
        self.chars += s.chars().count();
    }

    fn how_sure(&mut self, v: &Verdict) {
        let mut s = String::from("**How sure**\n\n");
        let _ = writeln!(s, "- Coverage: {}", words::format_cell_coverage(v));
        if let Some(c) = words::format_check_coverage(&v.coverage) {
            let _ = writeln!(s, "- Content: {c}");
        }
        let _ = writeln!(s, "- Recall: {}", words::format_recall(&v.coverage));
        if let Some(f) = &v.coverage.freshness {
            let _ = writeln!(s, "- Freshness: {}", f.sentence());
        }
        let _ = writeln!(s, "- Method: {}", escape_prose(&words::describe_method(v), SENTENCE));
        s.push('\n');
        self.add(&s);
        self.sentences("Incomplete, because", &v.incomplete_because);
        self.sentences("Not covered", &v.coverage.not_covered);
    }

    fn sentences(&mut self, title: &str, list: &[String]) {
        if list.is_empty() {
            return;
        }
        let mut s = format!("**{title}**\n\n");
        let mut written = 0;
        for l in list.iter().take(MAX_SENTENCES) {
            let l = escape_prose(l, SENTENCE);
            // Reasons may take a third of the text and no more: the findings need the room.
            if self.chars + s.len() + l.len() > MAX_CHARS / 3 {
                break;
            }
            let _ = writeln!(s, "- {l}");
            written += 1;
        }
        if list.len() > written {
            let _ = writeln!(s, "- and {} more", list.len() - written);
        }
        s.push('\n');
        self.add(&s);
    }

    /// A table of the findings in these states; returns how many found no room.
    fn table(&mut self, title: &str, v: &Verdict, states: &[FindingState]) -> u64 {
        let mut list: Vec<&Finding> =
            v.findings.iter().filter(|f| states.contains(&f.state)).collect();
        if list.is_empty() {
            return 0;
        }
        list.sort_by_key(|f| (std::cmp::Reverse(f.severity), !f.new));
        let head = format!(
            "### {title}: {}\n\n| Severity | State | Where | What | Why | Service | Owner | First seen | Id |\n|---|---|---|---|---|---|---|---|---|\n",
            words::group_digits(list.len() as u64)
        );
        let budget = self.budget;
        let mut rows = 0;
        let named = same_names::build_named_rows(&list, &v.same_files);
        for f in named.iter().take(MAX_ROWS) {
            let r = render_row(f);
            let head = if rows == 0 { head.as_str() } else { "" };
            if self.chars + head.chars().count() + r.chars().count() > budget {
                break;
            }
            self.add(head);
            self.add(&r);
            rows += 1;
        }
        let hidden = (named.len() - rows) as u64;
        if rows > 0 {
            self.add("\n");
            if hidden > 0 {
                self.add(&format!("{} more in `verdict.json`.\n\n", words::group_digits(hidden)));
            }
        }
        hidden
    }

    /// Adds items of a list as long as there is room; returns how many found it.
    fn items(&mut self, head: &str, items: impl Iterator<Item = String>) -> usize {
        let mut written = 0;
        for item in items {
            let head = if written == 0 { head } else { "" };
            if self.chars + head.chars().count() + item.chars().count() > self.budget {
                break;
            }
            self.add(head);
            self.add(&item);
            written += 1;
        }
        if written > 0 {
            self.add("\n");
        }
        written
    }

    /// What was asked and answered, why that is certain, and what to do, for what counts.
    fn evidence(&mut self, v: &Verdict) {
        let mut list: Vec<&Finding> = v
            .findings
            .iter()
            .filter(|f| f.state.is_drift() && (f.evidence.is_some() || f.remedy.is_some()))
            .collect();
        list.sort_by_key(|f| (std::cmp::Reverse(f.severity), !f.new));
        let head = format!("### Evidence: {}\n\n", words::group_digits(list.len() as u64));
        let rows = same_names::build_named_rows(&list, &v.same_files);
        let written =
            self.items(&head, rows.iter().take(MAX_ROWS).map(|r| render_evidence(r.finding)));
        if written < rows.len() {
            let n = words::group_digits((rows.len() - written) as u64);
            self.add(&format!("Evidence of {n} more in `verdict.json`.\n\n"));
        }
    }

    /// Web sites: what changed of them, and what somebody should look after.
    fn services(&mut self, v: &Verdict) {
        const SHOWN: usize = 10;
        let all = &v.service_changes;
        if all.is_empty() {
            return;
        }
        self.add("### Another service than before\n\n");
        for c in all.iter().take(SHOWN) {
            self.add(&format!(
                "- {}\n",
                format_code_span(&words::describe_service_change(c), SENTENCE)
            ));
        }
        if all.len() > SHOWN {
            let n = words::group_digits((all.len() - SHOWN) as u64);
            self.add(&format!("- {n} more; see `verdict.json`.\n"));
        }
        self.add("\n");
    }

    /// What is there and allowed: the worst one by one, the rest counted.
    fn allowed(&mut self, v: &Verdict) {
        if v.allowed_counts.total() == 0 {
            return;
        }
        let head = format!("### Allowed by the baseline: {}\n\n", allowed_words::format_counts(v));
        let items = allowed_words::select_important(v).take(MAX_ALLOWED).map(|a| {
            format!(
                "- {}: {} ({}), by {}\n",
                a.severity.as_str(),
                format_code_span(&allowed_words::format_location(a), 2 * NAME + 64),
                format_code_span(&allowed_words::describe_subject(a), NAME),
                format_code_span(
                    &allowed_words::format_allowing_rule(a).replace('`', ""),
                    SENTENCE
                )
            )
        });
        // Half of what is left: the evidence of what is not allowed needs the rest.
        let all = self.budget;
        self.budget = self.chars + all.saturating_sub(self.chars) / 2;
        let shown = self.items(&head, items);
        self.budget = all;
        if shown == 0 {
            self.add(&head);
            return;
        }
        let more = allowed_words::count_hidden(v, shown);
        if more > 0 {
            self.add(&format!("{} more; see `verdict.json`.\n\n", words::group_digits(more)));
        }
    }

    fn sites(&mut self, v: &Verdict) {
        if !site_words::is_any(v) {
            return;
        }
        let c = &v.sites;
        self.add(&format!(
            "### Web sites (inventory, no drift)\n\n{}\n\n",
            site_words::format_site_counts(c)
        ));
        let mut list = |title: String, total: u64, items: Vec<String>| {
            if items.is_empty() {
                return;
            }
            let head = format!("**{title}**\n\n");
            // Half of what is left, so that no list takes the room of the next.
            let all = self.budget;
            self.budget = self.chars + all.saturating_sub(self.chars) / 2;
            let n = self.items(&head, items.into_iter());
            self.budget = all;
            let more = site_words::count_unlisted(total, n);
            if more > 0 {
                self.add(&format!("{} more; see `verdict.json`.\n\n", words::group_digits(more)));
            }
        };
        let changes = v.site_changes.iter().take(MAX_SITES).map(|change| {
            let (url, at) = site_words::locate_change(change);
            let side = |v: Option<&str>| {
                v.map_or_else(|| "nothing".to_owned(), |s| format_code_span(s, SENTENCE))
            };
            format!(
                "- {} of {} at {}: was {} (until {}), is {}\n",
                site_words::describe_fact(change.what),
                format_code_span(&url, NAME + 64),
                format_code_span(&at, NAME),
                side(change.was.as_deref()),
                words::format_minute(change.since),
                side(change.now.as_deref())
            )
        });
        list(site_words::format_title(c), c.changes, changes.collect());
        for (title, kinds) in site_words::GROUPS {
            let n = site_words::count(c, kinds);
            let notices = v.site_notices.iter().filter(|n| kinds.contains(&n.what)).take(MAX_SITES);
            let items = notices.map(|notice| {
                let (url, at) = site_words::locate_notice(notice);
                format!(
                    "- {} at {}: {}\n",
                    format_code_span(&url, NAME + 64),
                    format_code_span(&at, NAME),
                    escape_prose(&site_words::format_notice(notice), SENTENCE)
                )
            });
            list(format!("{title}: {}", words::group_digits(n)), n, items.collect());
        }
    }

    fn foot(&mut self, v: &Verdict) {
        let mut s = format!(
            "Run {}, judged {}",
            format_code_span(&v.run_id, NAME),
            words::format_minute(v.judged_at)
        );
        if !v.run.authorised_by.is_empty() {
            let _ = write!(s, ", authorised by {}", format_code_span(&v.run.authorised_by, NAME));
        }
        s.push_str(". ");
        if !v.run.targets.is_empty() {
            let _ = write!(
                s,
                "Targets {}, ports {}. ",
                format_code_span(&v.run.targets.join(" "), MAX_LIST),
                format_code_span(&v.run.ports, MAX_LIST)
            );
        }
        let _ = writeln!(
            s,
            "{} allowed by the baseline. Exit status {}: {}.",
            words::group_digits(v.counts.allowed),
            v.exit,
            words::describe_exit_status(v.exit)
        );
        self.add(&s);
    }
}

/// The evidence of one finding, as an item of a list.
fn render_evidence(f: &Finding) -> String {
    let mut s = format!("- {} ", format_code_span(&words::format_location(f), 2 * NAME + 64));
    s.push_str(&match &f.title {
        Some(title) => escape_prose(title, SENTENCE),
        None => escape_prose(&words::describe_finding(f), SENTENCE),
    });
    s.push('\n');
    let mut line = |label: &str, text: &str| {
        let _ = writeln!(s, "  - {label}: {text}");
    };
    if let Some(asked) = words::format_request(f) {
        line(
            "asked",
            &format!(
                "{} with {}",
                format_code_span(&asked, 2 * NAME + 128),
                format_code_span(words::RANGE, NAME)
            ),
        );
    }
    if let Some(e) = &f.evidence {
        line("answer", &escape_prose(&words::describe_evidence(e), SENTENCE));
        if let Some(certain) = words::explain_certainty(e) {
            line("certain", &escape_prose(&certain, SENTENCE));
        }
    }
    if let Some(remedy) = &f.remedy {
        line("remedy", &escape_prose(remedy, SENTENCE));
    }
    s
}

fn render_row(row: &NamedRow<'_>) -> String {
    let f = row.finding;
    let mut state = vec![words::describe_state(f.state).to_owned()];
    state.extend(words::collect_marks(f));
    let what = match &f.check {
        Some(check) => {
            format!("{}: {}", words::describe_kind(f.kind), format_code_span(check, NAME))
        }
        None => words::describe_kind(f.kind).to_owned(),
    };
    let mut why = escape_prose(&f.why, SENTENCE);
    if let Some(others) = row.others() {
        let _ = write!(why, " {}", escape_prose(&format!("Also {others}."), SENTENCE));
    }
    if let Some(e) = &f.evidence {
        let _ = write!(why, " ({})", escape_prose(&words::describe_evidence(e), SENTENCE));
    }
    format!(
        "| {} | {} | {} | {what} | {why} | {} | {} | {} | {} |\n",
        f.severity.as_str(),
        state.join(", "),
        format_code_span(&words::format_location(f), 2 * NAME + 64),
        f.service.as_deref().map_or_else(String::new, |s| format_code_span(s, NAME)),
        f.owner.as_deref().map_or_else(String::new, |s| format_code_span(s, NAME)),
        words::format_day(f.first_seen),
        format_code_span(&f.id, 64),
    )
}

/// Foreign text as prose. What Markdown or HTML could read is escaped (CommonMark 0.31, section 2.4).
pub(crate) fn escape_prose(s: &str, max_chars: usize) -> String {
    let s = clean(s, max_chars);
    let mut out = String::with_capacity(s.len() + 16);
    let digits = s.bytes().take_while(u8::is_ascii_digit).count();
    for (at, c) in s.char_indices() {
        let rest = &s[at + c.len_utf8()..];
        match c {
            '@' => out.push('＠'),
            '#' => out.push('＃'),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // `GH-1` refers to an issue like `#1` does; a hyphen that does not break is not read so.
            '-' if ends_with(&out, "gh") && rest.starts_with(|c: char| c.is_ascii_digit()) => {
                out.push('\u{2011}');
            }
            c if "\\`*_{}[]|~!$".contains(c)
                // An address is linked without brackets, with its scheme or from `www.` on.
                || (c == ':' && rest.starts_with('/'))
                || (c == '.' && ends_with(&out, "www"))
                // What would begin a list or underline a heading at the start of a line.
                || (at == 0 && "-+=".contains(c))
                || (at == digits && at > 0 && ".)".contains(c)) =>
            {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn ends_with(s: &str, lower: &str) -> bool {
    s.len()
        .checked_sub(lower.len())
        .and_then(|at| s.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(lower))
}

/// Foreign text as a code span. Back-ticks become apostrophes and pipes broken bars, as neither can
/// stand inside a span inside a table in a way that every reader of Markdown takes alike.
pub(crate) fn format_code_span(s: &str, max_chars: usize) -> String {
    let s = clean(s, max_chars).replace('`', "'").replace('|', "¦");
    if s.is_empty() { "–".to_owned() } else { format!("`{s}`") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::is_hostile;
    use crate::samples;

    #[test]
    fn clean_run() {
        insta::assert_snapshot!(render_markdown(&samples::clean()));
    }

    #[test]
    fn drift() {
        insta::assert_snapshot!(render_markdown(&samples::drift()));
    }

    #[test]
    fn incomplete() {
        insta::assert_snapshot!(render_markdown(&samples::incomplete()));
    }

    #[test]
    fn a_long_list_is_bounded_and_counted() {
        let v = samples::many(20_000);
        let s = render_markdown(&v);
        assert!(s.chars().count() <= MAX_CHARS);
        // Each finding has a row or stands in the count of those that have none.
        let rows =
            s.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| Severity")).count();
        let more =
            format!("**{} more of 20,000 findings in", words::group_digits(20_000 - rows as u64));
        assert!(s.contains(&more), "{rows} rows, no line {more}");
        assert!(rows > 20);
    }

    /// Rows of the greatest length that the fields allow, and every list full of what escapes widely.
    #[test]
    fn the_bound_holds_for_the_longest_fields() {
        let mut v = samples::many(2_000);
        let long = "&".repeat(100_000);
        v.incomplete_because = vec![long.clone(); 100];
        v.coverage.not_covered = vec![long.clone(); 100];
        v.run.targets = vec![long.clone(); 100];
        v.run.ports = long.clone();
        v.run_id = long.clone();
        v.run.authorised_by = long.clone();
        v.run.method = long.clone();
        for f in &mut v.findings {
            f.why = long.clone();
            f.service = Some(long.clone());
        }
        let s = render_markdown(&v);
        let n = s.chars().count();
        assert!(n <= MAX_CHARS, "{n}");
        assert!(s.contains("more of 2,000 findings in"));
        assert!(s.ends_with("Exit status 1: drift.\n"));
    }

    #[test]
    fn prose_is_escaped() {
        for (from, to) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("@everyone fixes #1, GH-2", "＠everyone fixes ＃1, GH\u{2011}2"),
            ("[x](https://evil.example)", r"\[x\](https\://evil.example)"),
            ("see Www.evil.example", r"see Www\.evil.example"),
            ("a|b `c` *d* _e_ ~f~ $g$", r"a\|b \`c\` \*d\* \_e\_ \~f\~ \$g\$"),
            (r"a\|b", r"a\\\|b"),
            ("- item", r"\- item"),
            ("12. item", r"12\. item"),
            ("12 of 13. Then", "12 of 13. Then"),
            ("===", r"\==="),
            ("a\n# b", "a ＃ b"),
        ] {
            assert_eq!(escape_prose(from, 99), to);
        }
    }

    #[test]
    fn code_cannot_be_left() {
        assert_eq!(format_code_span("a`b|c\\|d\n``", 99), "`a'b¦c\\¦d ''`");
        assert_eq!(format_code_span("", 99), "–");
    }

    /// Tables keep their nine cells, back-ticks come in pairs, and nothing stands outside of them
    /// that could act.
    #[test]
    fn hostile_text_is_inert() {
        let s = render_markdown(&samples::hostile());
        assert!(!s.chars().any(|c| c != '\n' && is_hostile(c)));
        let mut rows = 0;
        for l in s.lines() {
            let (outside, pipes) = outside_of_spans(l);
            if l.starts_with("| ") {
                rows += 1;
                assert_eq!(pipes, 10, "{l}");
            }
            for bad in ["<", "@", "#1", "://"] {
                assert!(!outside.contains(bad), "{bad}: {outside}");
            }
        }
        assert_eq!(rows, 10);
    }

    /// What stands outside of the code spans of a line, without what is escaped, and how many
    /// pipes are among it.
    fn outside_of_spans(line: &str) -> (String, usize) {
        let (mut out, mut pipes, mut in_span) = (String::new(), 0, false);
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' if !in_span => drop(chars.next()),
                '`' => in_span = !in_span,
                '|' => {
                    assert!(!in_span, "a pipe in a span: {line}");
                    pipes += 1;
                }
                c if !in_span => out.push(c),
                _ => {}
            }
        }
        assert!(!in_span, "a span that does not end: {line}");
        (out, pipes)
    }
}
