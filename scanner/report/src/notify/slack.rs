//! One message for a Slack incoming webhook, in Block Kit.
//!
//! Slack takes 50 blocks, 150 characters in a header and 3,000 in a section's text, and shortens
//! messages of more than 40,000 characters
//! (<https://docs.slack.dev/reference/block-kit/blocks>); ours stay under [`MAX_BLOCKS`] and
//! [`MAX_CHARS`], since nobody reads more. `&`, `<` and `>` are the only characters that Slack's own
//! markup is made of, so a text without them can neither mention nor link
//! (<https://docs.slack.dev/messaging/formatting-message-text>). `verbatim` keeps Slack from looking
//! for links and names in what is left.

use std::collections::BTreeMap;

use mimawari_drift::verdict::{ChangeKind, Finding, FindingState, Verdict};
use serde_json::{Value, json};

use super::plain::format_headline;
use super::{
    ChangeSelection, NoticeDelay, NotifiedChanges, RunDoubt, describe_change_kind, select_run_doubt,
};
use crate::clean::clean;
use crate::groups::{FindingGroup, SharedTrait, group_findings};
use crate::words::{self, format_plural, group_digits};

/// Most blocks of a message.
pub const MAX_BLOCKS: usize = 45;
/// Most characters of a message, all its texts together.
pub const MAX_CHARS: usize = 12_000;

/// Groups that are shown, of new and of still open findings.
const MAX_GROUPS: usize = 10;
const MAX_STILL: usize = 5;
/// Single findings that are shown.
const MAX_WORST: usize = 5;
/// Longest foreign text.
const FOREIGN: usize = 120;
/// What is kept free for the lines at the end.
const RESERVE: usize = 1_500;

const ALARMS: [ChangeKind; 4] =
    [ChangeKind::Opened, ChangeKind::Reopened, ChangeKind::Worse, ChangeKind::Flapping];

/// The message, or `None` if there is nothing to say: a quiet run.
#[must_use]
pub fn build_message(
    v: &Verdict,
    selection: &ChangeSelection,
    delay: Option<&NoticeDelay>,
) -> Option<Value> {
    let changes = selection.changes(v);
    let doubt = select_run_doubt(v);
    if changes.is_empty() && doubt.is_none() && !v.digest_due && v.service_changes.is_empty() {
        return None;
    }
    let alarms: Vec<&Finding> =
        changes.iter().filter(|t| t.is(&ALARMS)).map(|t| t.finding).collect();
    let mut m = SlackMessage { blocks: Vec::new(), chars: 0 };
    let headline = format_headline(v, selection);
    m.header(&headline);
    if let Some(delay) = delay {
        m.context(&format!(":hourglass_flowing_sand: {}", escape(&delay.sentence())));
    }
    m.section(&format_confidence(v));
    if !alarms.is_empty() {
        // A handful is shown one by one; more than that by what explains them.
        if alarms.len() > MAX_WORST {
            m.groups(&group_findings(alarms.iter().copied()), MAX_GROUPS);
        }
        m.worst(&alarms);
    }
    let still = changes.iter().filter(|t| t.is(&[ChangeKind::Reminder])).map(|t| t.finding);
    let still: Vec<FindingGroup<'_>> = group_findings(still);
    if !still.is_empty() {
        m.section("*Still open, and nobody has acknowledged it*");
        m.groups(&still, MAX_STILL);
    }
    if v.digest_due {
        m.digest(v, selection);
    }
    if let Some(text) = format_service_changes(v) {
        m.section(&text);
    }
    if let Some(line) = format_settled_changes(&changes) {
        m.context(&line);
    }
    let run = format_code_span(&v.run_id);
    m.context(&match selection.report(v) {
        Some(url) => format!("<{}|Report of the run> {run}", link(&url)),
        None => format!("Run {run}"),
    });
    Some(json!({
        "text": escape(&headline),
        "blocks": m.blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    }))
}

/// A message that says that it is a test.
#[must_use]
pub fn build_test_message() -> Value {
    let text = "Test message of mimawari: nothing was scanned and nothing found.";
    json!({
        "text": text,
        "blocks": [{"type": "section", "text": build_mrkdwn(text)}],
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn format_confidence(v: &Verdict) -> String {
    // A late message holds the findings that changed alone, so the counts are the run's own.
    let c = &v.counts;
    let all = [
        (c.open, "open"),
        (c.missing, "missing"),
        (c.unverified, "unverified"),
        (c.resolving, "resolving"),
    ];
    let parts: Vec<String> = all
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{} {word}", group_digits(*n)))
        .collect();
    let mut s = match all.iter().map(|(n, _)| n).sum::<u64>() {
        0 => "*No finding counts*".to_owned(),
        n => format!("*{} in all*: {}", format_plural(n, "finding"), parts.join(", ")),
    };
    s.push_str(&format!(
        "\n*How sure*: coverage {}; recall {}",
        escape(&words::format_cell_coverage(v)),
        escape(&words::format_recall(&v.coverage))
    ));
    match RunDoubt::of(v) {
        RunDoubt::Suspect => {
            s.push_str("\n:warning: *The run is suspect*: it is not to be believed, and nothing was resolved by it.");
        }
        RunDoubt::Incomplete => {
            s.push_str(
                "\n:warning: *The run is incomplete*: nothing is known of what it did not cover.",
            );
        }
        RunDoubt::None => {}
    }
    for reason in v.incomplete_because.iter().take(3) {
        s.push_str(&format!("\n• {}", format_code_span(reason)));
    }
    s
}

/// Ports that another service answers at than before.
fn format_service_changes(v: &Verdict) -> Option<String> {
    const SHOWN: usize = 5;
    let all = &v.service_changes;
    let lines: Vec<String> = all
        .iter()
        .take(SHOWN)
        .map(|c| format_code_span(&words::describe_service_change(c)))
        .collect();
    let more = match all.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!("\nand {} more", group_digits(n as u64)),
    };
    let head = "*Another service than before*";
    (!lines.is_empty()).then(|| format!("{head}\n• {}{more}", lines.join("\n• ")))
}

/// What is settled, in a line.
fn format_settled_changes(changes: &[NotifiedChanges<'_>]) -> Option<String> {
    let mut parts = Vec::new();
    for kind in
        [ChangeKind::Resolved, ChangeKind::Allowed, ChangeKind::OutOfScope, ChangeKind::NotRequired]
    {
        let of: Vec<&Finding> =
            changes.iter().filter(|t| t.is(&[kind])).map(|t| t.finding).collect();
        if of.is_empty() {
            continue;
        }
        let mut s = format!("*{} {}*: ", group_digits(of.len() as u64), describe_change_kind(kind));
        let names: Vec<String> =
            of.iter().take(3).map(|f| format_code_span(&words::format_location(f))).collect();
        s.push_str(&names.join(", "));
        if of.len() > 3 {
            s.push_str(&format!(" and {} more", group_digits(of.len() as u64 - 3)));
        }
        parts.push(s);
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

struct SlackMessage {
    blocks: Vec<Value>,
    chars: usize,
}

impl SlackMessage {
    /// Whether so much more finds room, and leaves what is kept free.
    fn has_room(&self, text: &str) -> bool {
        self.blocks.len() + 6 < MAX_BLOCKS
            && self.chars + text.chars().count() + RESERVE < MAX_CHARS
    }

    fn header(&mut self, text: &str) {
        let text: String = clean(text, 149);
        self.chars += text.chars().count();
        self.blocks.push(json!({
            "type": "header",
            "text": {"type": "plain_text", "text": text, "emoji": false},
        }));
    }

    fn section(&mut self, text: &str) {
        // What is said first has the room; the lines at the end have theirs.
        let text = cut(text, 2_900.min(MAX_CHARS.saturating_sub(self.chars + RESERVE)));
        self.chars += text.chars().count();
        self.blocks.push(json!({"type": "section", "text": build_mrkdwn(&text)}));
    }

    fn context(&mut self, text: &str) {
        let text = cut(text, 700);
        self.chars += text.chars().count();
        self.blocks.push(json!({"type": "context", "elements": [build_mrkdwn(&text)]}));
    }

    fn groups(&mut self, all: &[FindingGroup<'_>], most: usize) {
        let mut shown = 0;
        for g in all.iter().take(most) {
            let text = build_group_block(g);
            if !self.has_room(&text) {
                break;
            }
            self.section(&text);
            shown += 1;
        }
        let rest: usize = all.iter().skip(shown).map(|g| g.findings.len()).sum();
        if rest > 0 {
            let n = (all.len() - shown) as u64;
            self.section(&format!(
                "and {} more in {}",
                format_plural(rest as u64, "finding"),
                format_plural(n, "smaller group")
            ));
        }
    }

    fn worst(&mut self, alarms: &[&Finding]) {
        let mut alarms = alarms.to_vec();
        alarms.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        let mut text = match alarms.len() {
            n if n > MAX_WORST => "*The worst of them*".to_owned(),
            _ => "*What it is*".to_owned(),
        };
        for f in alarms.iter().take(MAX_WORST) {
            let line = format_finding(f);
            if !self.has_room(&format!("{text}{line}")) {
                break;
            }
            text.push_str(&line);
        }
        self.section(&text);
    }

    fn digest(&mut self, v: &Verdict, selection: &ChangeSelection) {
        let open: Vec<&Finding> =
            v.findings.iter().filter(|f| f.state.is_drift() && selection.takes(f)).collect();
        let mut s = format!("*This week*: {} open", format_plural(open.len() as u64, "finding"));
        let acknowledged = open.iter().filter(|f| f.acknowledged.is_some()).count();
        if acknowledged > 0 {
            s.push_str(&format!(", {} acknowledged", group_digits(acknowledged as u64)));
        }
        let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
        for f in &open {
            *owners.entry(f.owner.as_deref().unwrap_or("nobody")).or_default() += 1;
        }
        let mut owners: Vec<_> = owners.into_iter().collect();
        owners.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let shown: Vec<String> = owners
            .iter()
            .take(5)
            .map(|(o, n)| format!("{} {}", format_code_span(o), group_digits(*n as u64)))
            .collect();
        if !shown.is_empty() {
            s.push_str(&format!("\nBy owner: {}", shown.join(", ")));
        }
        let unverified = |f: &&&Finding| {
            matches!(f.state, FindingState::Unverified | FindingState::MissingUnverified)
        };
        if let Some(oldest) = open.iter().filter(unverified).min_by_key(|f| f.last_seen) {
            s.push_str(&format!(
                "\nLongest unverified: {}, last seen {}",
                format_code_span(&words::format_location(oldest)),
                words::format_minute(oldest.last_seen)
            ));
        }
        let week = v.judged_at - jiff::SignedDuration::from_hours(7 * 24);
        let runs: Vec<_> = v.timeline.iter().filter(|r| r.at >= week).collect();
        let bad = runs.iter().filter(|r| r.suspect || r.exit == 3).count();
        if !runs.is_empty() {
            s.push_str(&format!(
                "\n{}, {} incomplete or suspect",
                format_plural(runs.len() as u64, "run"),
                group_digits(bad as u64)
            ));
        }
        self.section(&s);
        self.groups(&group_findings(open), MAX_STILL);
    }
}

/// A group: how many of what, where, whose, since when.
fn build_group_block(g: &FindingGroup<'_>) -> String {
    let what: Vec<String> = g
        .what
        .iter()
        .take(3)
        .map(|(w, n)| {
            if g.what.len() == 1 {
                format_code_span(w)
            } else {
                format!("{} ×{n}", format_code_span(w))
            }
        })
        .collect();
    let mut s = format!("*{}* ", group_digits(g.findings.len() as u64));
    s.push_str(&what.join(", "));
    if g.what.len() > 3 {
        s.push_str(&format!(" and {} more kinds", group_digits(g.what.len() as u64 - 3)));
    }
    let by = match g.by {
        SharedTrait::What => format!(
            "on {}",
            if g.addresses == 1 {
                "1 address".to_owned()
            } else {
                format!("{} addresses", group_digits(g.addresses as u64))
            }
        ),
        SharedTrait::Host => "on one host".to_owned(),
        SharedTrait::Network => "in one network".to_owned(),
    };
    s.push_str(&format!(" {by}, {}", format_code_span(&g.prefix.to_string())));
    let owner = match g.owners.as_slice() {
        [] => "no owner".to_owned(),
        [(one, _)] => format_code_span(one),
        [(one, _), ..] => format!("{} and others", format_code_span(one)),
    };
    s.push_str(&format!(
        "\n{} · {owner} · since {}",
        g.severity.as_str(),
        words::format_minute(g.first_seen)
    ));
    s
}

/// A finding with the rule that came nearest.
fn format_finding(f: &Finding) -> String {
    let mut s = format!(
        "\n• *{}* {} {}",
        f.severity.as_str(),
        format_code_span(&words::describe_finding(f)),
        format_code_span(&words::format_location(f))
    );
    if let Some(service) = &f.service {
        s.push_str(&format!(" {}", format_code_span(service)));
    }
    let owner = f.owner.as_deref().map_or_else(|| "no owner".to_owned(), format_code_span);
    s.push_str(&format!("\n    {owner} · since {}", words::format_minute(f.first_seen)));
    match &f.nearest {
        Some(n) => s.push_str(&format!(
            "\n    nearest rule {} at {}: {}",
            format_code_span(&n.id),
            format_code_span(&n.place),
            format_code_span(&n.missed)
        )),
        None => s.push_str("\n    no rule comes near"),
    }
    s
}

fn build_mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// Our own words: only what Slack's markup is made of has to be replaced.
fn escape(s: &str) -> String {
    s.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Foreign text in a code span: it cannot format, link or mention.
fn format_code_span(s: &str) -> String {
    let s = clean(s, FOREIGN).replace('`', "'").replace('@', "＠").replace("://", "[:]//");
    let s = s.trim();
    if s.is_empty() { "–".to_owned() } else { format!("`{}`", escape(s)) }
}

/// A URL of the configuration inside `<…|…>`.
fn link(url: &str) -> String {
    escape(&clean(url, 500)).replace('|', "%7C").replace(' ', "%20")
}

/// At most so many characters, never in the middle of an entity or a code span: cut at a line.
fn cut(s: &str, most: usize) -> String {
    if s.chars().count() <= most {
        return s.to_owned();
    }
    let mut out = String::new();
    for line in s.split_inclusive('\n') {
        if out.chars().count() + line.chars().count() > most {
            break;
        }
        out.push_str(line);
    }
    out.truncate(out.trim_end().len());
    if out.is_empty() { "…".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all_notified, five_causes, hostile, three};
    use super::*;
    use crate::samples;

    fn selection() -> ChangeSelection {
        ChangeSelection {
            report_url: Some("https://reports.example.jp/{run_id}/report.html".to_owned()),
            ..ChangeSelection::default()
        }
    }

    /// All texts, and that Slack's limits and ours are kept.
    fn texts(m: &Value) -> Vec<String> {
        let blocks = m["blocks"].as_array().unwrap();
        assert!(blocks.len() <= MAX_BLOCKS, "{}", blocks.len());
        let mut all = Vec::new();
        for b in blocks {
            let text = match b["type"].as_str().unwrap() {
                "context" => b["elements"][0]["text"].as_str().unwrap(),
                _ => b["text"]["text"].as_str().unwrap(),
            };
            let limit = if b["type"] == "header" { 150 } else { 3_000 };
            assert!((1..=limit).contains(&text.chars().count()), "{text}");
            all.push(text.to_owned());
        }
        let n: usize = all.iter().map(|t| t.chars().count()).sum();
        assert!(n <= MAX_CHARS, "{n}");
        all
    }

    fn shown(v: &Verdict) -> String {
        let m = build_message(v, &selection(), None).unwrap();
        texts(&m);
        serde_json::to_string_pretty(&m).unwrap()
    }

    #[test]
    fn three_findings() {
        insta::assert_snapshot!(shown(&three()));
    }

    #[test]
    fn three_thousand_are_one_message_whose_groups_explain_them() {
        let v = five_causes();
        assert_eq!(v.changes.len(), 3_000);
        let m = build_message(&v, &selection(), None).unwrap();
        let mut explained: usize = 0;
        for t in texts(&m) {
            if let Some((n, _)) = t.strip_prefix('*').and_then(|t| t.split_once("* `")) {
                explained += n.replace(',', "").parse().unwrap_or(0);
            }
        }
        assert!(explained * 10 >= 3_000 * 8, "{explained}");
        insta::assert_snapshot!(shown(&v));
    }

    #[test]
    fn nothing_on_a_quiet_run() {
        assert_eq!(build_message(&samples::clean(), &selection(), None), None);
        // Drift that was notified before is quiet, too.
        assert_eq!(build_message(&samples::drift(), &selection(), None), None);
    }

    #[test]
    fn digest() {
        let mut v = samples::drift();
        v.digest_due = true;
        insta::assert_snapshot!(shown(&v));
    }

    #[test]
    fn what_is_settled_is_a_line() {
        let mut v = samples::drift();
        let settled = [FindingState::Resolved, FindingState::Allowed, FindingState::OutOfScope];
        let kinds = [ChangeKind::Resolved, ChangeKind::Allowed, ChangeKind::OutOfScope];
        for (state, what) in settled.into_iter().zip(kinds) {
            let f = v.findings.iter().find(|f| f.state == state).unwrap();
            v.changes.push(mimawari_drift::verdict::FindingChange {
                key: format!("{}-2", f.id),
                finding: f.id.clone(),
                what,
            });
        }
        insta::assert_snapshot!(shown(&v));
    }

    #[test]
    fn flapping_and_reminders() {
        let mut v = all_notified(samples::drift(), ChangeKind::Reminder);
        v.changes[0].what = ChangeKind::Flapping;
        insta::assert_snapshot!(shown(&v));
    }

    #[test]
    fn a_run_that_is_not_believed_says_so() {
        insta::assert_snapshot!(shown(&samples::suspect()));
        insta::assert_snapshot!(shown(&samples::incomplete()));
    }

    #[test]
    fn hostile_text_is_inert() {
        let m = build_message(&hostile(), &selection(), None).unwrap();
        let texts = texts(&m);
        for t in &texts {
            let outside: String = t.split('`').step_by(2).collect();
            assert_eq!(t.matches('`').count() % 2, 0, "{t}");
            for bad in ["@", "://evil", "<!", "<@", "<#"] {
                assert!(!t.contains(bad), "{bad}: {t}");
            }
            // Our own link is all that stands between angle brackets.
            for part in outside.split('<').skip(1) {
                assert!(part.starts_with("https://reports.example.jp/"), "{t}");
            }
            assert!(!t.chars().any(|c| c != '\n' && crate::clean::is_hostile(c)), "{t}");
        }
        insta::assert_snapshot!(serde_json::to_string_pretty(&m).unwrap());
    }

    #[test]
    fn the_longest_of_everything_finds_room() {
        let mut v = all_notified(samples::many(20_000), ChangeKind::Opened);
        let long = "&<>".repeat(10_000);
        v.incomplete = true;
        v.suspect = true;
        v.digest_due = true;
        v.incomplete_because = vec![long.clone(); 50];
        v.run_id = long.clone();
        for (n, f) in v.findings.iter_mut().enumerate() {
            f.owner = Some(format!("{n}{long}"));
            f.service = Some(long.clone());
            f.nearest = Some(mimawari_drift::verdict::NearestRule {
                id: long.clone(),
                place: long.clone(),
                owner: long.clone(),
                missed: long.clone(),
            });
            if n % 3 == 0 {
                f.check = Some(long.clone());
            }
        }
        for (n, c) in v.changes.iter_mut().enumerate() {
            c.what = if n % 2 == 0 { ChangeKind::Reminder } else { ChangeKind::Opened };
        }
        let m = build_message(&v, &selection(), None).unwrap();
        texts(&m);
    }
}
