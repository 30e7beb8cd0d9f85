//! GitHub issues: one for each group of findings, found again, kept up to date, closed when all of it
//! is settled.
//!
//! A group's prefix, size and times change as findings come and go, so none of them is its name. An
//! issue is known by what a group has in common: what and whose, or which host, or which network. An
//! open issue takes every finding that fits its name, the oldest issue first; only what is left is
//! grouped anew. So a group does not change its issue because another one grew.
//!
//! The name is a digest in a comment at the end of the body, with the ids of the findings. Text of
//! hosts is escaped and cannot write such a comment.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use mimawari_drift::verdict::{Finding, FindingState, Verdict};
use sha2::{Digest as _, Sha256};

use super::ChangeSelection;
use crate::clean::clean;
use crate::groups::{self, SharedTrait, group_findings};
use crate::markdown::{escape_prose, format_code_span as format_elapsed};
use crate::words::{self, NAME, SENTENCE, format_plural, group_digits};

/// Longest body, characters; GitHub takes 65,536.
pub const MAX_BODY: usize = 60_000;
/// Findings that a body lists.
const MAX_ROWS: usize = 100;
/// Characters that the table may take.
const TABLE: usize = 36_000;
/// Ids that a body remembers.
const MAX_IDS: usize = 1_000;

/// Foreign text in a code span, which cannot be taken for a mark either.
fn format_issue_code(s: &str, max_chars: usize) -> String {
    format_elapsed(s, max_chars).replace("<!", "<\u{2009}!")
}

const MARK: &str = "<!-- mimawari key=";
const REST: &str = "rest000000000000";

/// An issue that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingIssue {
    /// Its number.
    pub number: u64,
    /// Whether it is open.
    pub open: bool,
    /// Its title.
    pub title: String,
    /// Its body.
    pub body: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssueAction {
    /// A new issue.
    Create {
        /// Its title.
        title: String,
        /// Its body.
        body: String,
    },
    /// An issue in place.
    Update {
        /// Which.
        number: u64,
        /// Its title.
        title: String,
        /// Its body.
        body: String,
        /// Whether it is to be open; `None` leaves that as it is.
        open: Option<bool>,
    },
}

/// Whether the issues have to be looked at: something changed, or the weekly summary is due.
#[must_use]
pub fn is_due(v: &Verdict, selection: &ChangeSelection) -> bool {
    !selection.changes(v).is_empty() || v.digest_due
}

/// What turns the issues that are there into those that should be; at most `max_new` are created, and
/// what found no place is named in one more.
#[must_use]
pub fn plan_issue_actions(
    v: &Verdict,
    selection: &ChangeSelection,
    max_new: usize,
    existing: &[ExistingIssue],
) -> Vec<IssueAction> {
    let known = collect_known_issues(existing);
    let unsettled: HashSet<&str> = v
        .findings
        .iter()
        .filter(|f| !matches!(f.state, FindingState::Resolved | FindingState::Allowed))
        .map(|f| f.id.as_str())
        .collect();
    let mut left: Vec<&Finding> =
        v.findings.iter().filter(|f| f.state.is_drift() && selection.takes(f)).collect();
    let mut wanted: Vec<(String, Option<&KnownIssue<'_>>, Vec<&Finding>)> = Vec::new();
    for k in known.iter().filter(|k| k.issue.open && k.key != REST) {
        let (own, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|f| compute_group_keys(f).contains(&k.key));
        left = rest;
        wanted.push((k.key.clone(), Some(k), own));
    }
    // Two groups of different times may have one name, and are one issue.
    let mut fresh: Vec<(String, Vec<&Finding>)> = Vec::new();
    let mut at: HashMap<String, usize> = HashMap::new();
    for g in group_findings(left.iter().copied()) {
        let Some(first) = g.findings.first() else { continue };
        let [what, host, network] = compute_group_keys(first);
        let key = match g.by {
            SharedTrait::What => what,
            SharedTrait::Host => host,
            SharedTrait::Network => network,
        };
        let i = *at.entry(key.clone()).or_insert_with(|| {
            fresh.push((key, Vec::new()));
            fresh.len() - 1
        });
        fresh[i].1.extend(g.findings);
    }
    let mut rest = Vec::new();
    let mut created = 0;
    for (key, findings) in fresh {
        let closed = known.iter().find(|k| k.key == key);
        if closed.is_none() {
            if created == max_new {
                rest.push(findings);
                continue;
            }
            created += 1;
        }
        wanted.push((key, closed, findings));
    }
    let mut out: Vec<IssueAction> = Vec::new();
    for (key, issue, findings) in wanted {
        out.extend(match issue {
            Some(k) if findings.is_empty() => close(v, k, &unsettled),
            Some(k) => {
                let also = k.ids.iter().filter(|id| unsettled.contains(id.as_str())).cloned();
                update(
                    k,
                    format_issue_title(&findings),
                    render_issue_body(v, selection, &key, &findings, also.collect()),
                )
            }
            None => Some(IssueAction::Create {
                title: format_issue_title(&findings),
                body: render_issue_body(v, selection, &key, &findings, Vec::new()),
            }),
        });
    }
    out.extend(plan_overflow_issue(&rest, known.iter().find(|k| k.key == REST)));
    out.extend(close_duplicates(existing, &known));
    out
}

/// Closes issues that another process made for the same group at the same time: the oldest stays.
fn close_duplicates(existing: &[ExistingIssue], known: &[KnownIssue<'_>]) -> Vec<IssueAction> {
    let mut out = Vec::new();
    for issue in existing.iter().filter(|e| e.open) {
        let Some(mark) = mark(issue) else { continue };
        let kept = known.iter().find(|k| k.key == mark.key && k.issue.open);
        if let Some(kept) = kept.filter(|k| k.issue.number != issue.number) {
            out.push(IssueAction::Update {
                number: issue.number,
                title: issue.title.clone(),
                // Without a mark it is not taken for the issue of the group again.
                body: format!("The same as #{}, where it goes on.\n", kept.issue.number),
                open: Some(false),
            });
        }
    }
    out
}

/// An issue of ours.
struct KnownIssue<'a> {
    issue: &'a ExistingIssue,
    key: String,
    ids: Vec<String>,
    /// Whether it had more findings than it remembers.
    more: bool,
}

/// The issues with a mark, one for each name: the open one, or the oldest. Oldest first.
fn collect_known_issues(existing: &[ExistingIssue]) -> Vec<KnownIssue<'_>> {
    let mut by_key: BTreeMap<String, KnownIssue<'_>> = BTreeMap::new();
    let mut sorted: Vec<&ExistingIssue> = existing.iter().collect();
    sorted.sort_by_key(|e| (!e.open, e.number));
    for issue in sorted {
        let Some(k) = mark(issue) else { continue };
        by_key.entry(k.key.clone()).or_insert(k);
    }
    let mut all: Vec<KnownIssue<'_>> = by_key.into_values().collect();
    all.sort_by_key(|k| k.issue.number);
    all
}

fn mark(issue: &ExistingIssue) -> Option<KnownIssue<'_>> {
    let (_, mark) = issue.body.rsplit_once(MARK)?;
    let (mark, _) = mark.split_once("-->")?;
    let mut words = mark.split_whitespace();
    let key = words.next().filter(|k| k.len() == 16)?.to_owned();
    let mut ids = Vec::new();
    let mut more = false;
    for w in words {
        if let Some(list) = w.strip_prefix("ids=") {
            ids = list.split(',').filter(|i| is_id(i)).map(str::to_owned).collect();
        }
        more |= w == "more=1";
    }
    Some(KnownIssue { issue, key, ids, more })
}

fn is_id(s: &str) -> bool {
    s.len() == 16 && s.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The names under which a finding may be found: what and whose, host, network.
fn compute_group_keys(f: &Finding) -> [String; 3] {
    let owner = f.owner.as_deref().unwrap_or_default();
    let network = match f.ip {
        IpAddr::V4(a) => IpAddr::from((a.to_bits() & !0xff).to_be_bytes()),
        IpAddr::V6(a) => IpAddr::from((a.to_bits() & !u128::from(u64::MAX)).to_be_bytes()),
    };
    let ip = f.ip.to_string();
    [
        hash_parts(&["what", f.kind.as_str(), &groups::format_finding_label(f), owner]),
        hash_parts(&["host", &ip]),
        hash_parts(&["network", &network.to_string()]),
    ]
}

fn hash_parts(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for p in parts {
        hash.update(p.as_bytes());
        hash.update([0]);
    }
    mimawari_targets::hex::encode(&hash.finalize()[..8])
}

fn update(k: &KnownIssue<'_>, title: String, body: String) -> Option<IssueAction> {
    let same = k.issue.title == title && k.issue.body.replace('\r', "").trim() == body.trim();
    (!same || !k.issue.open).then(|| IssueAction::Update {
        number: k.issue.number,
        title,
        body,
        open: (!k.issue.open).then_some(true),
    })
}

/// Closes an issue if nothing of it is left. Never by a run that is not believed, and never for what
/// was not seen to be gone: unverified, or out of scope.
fn close(v: &Verdict, k: &KnownIssue<'_>, unsettled: &HashSet<&str>) -> Option<IssueAction> {
    let left = k.ids.iter().any(|id| unsettled.contains(id.as_str()))
        || k.more && !unsettled.is_empty()
        || v.suspect;
    (!left).then(|| IssueAction::Update {
        number: k.issue.number,
        title: k.issue.title.clone(),
        body: format!(
            "All findings of this issue were seen to be gone, or are allowed by the baseline now.\n\n{}",
            format_mark(&k.key, &k.ids, false)
        ),
        open: Some(false),
    })
}

fn format_issue_title(findings: &[&Finding]) -> String {
    let mut what: BTreeMap<String, usize> = BTreeMap::new();
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ips: Vec<IpAddr> = findings.iter().map(|f| f.ip).collect();
    ips.sort_unstable();
    ips.dedup();
    for f in findings {
        *what.entry(groups::format_finding_label(f)).or_default() += 1;
        *owners.entry(f.owner.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let severity = findings.iter().map(|f| f.severity).max().map_or("", |s| s.as_str());
    let what = match what.iter().max_by_key(|(_, n)| **n) {
        Some((w, _)) if what.len() == 1 => clean(w, 60),
        Some((w, _)) => format!("{} and {} more kinds", clean(w, 60), what.len() - 1),
        None => String::new(),
    };
    let place = match ips.as_slice() {
        [one] => one.to_string(),
        [first, ..] => format!("{} and {} more", first, group_digits(ips.len() as u64 - 1)),
        [] => String::new(),
    };
    let mut s = format!("[{severity}] {what} at {place}");
    if let (1, Some((owner, _))) = (owners.len(), owners.iter().next())
        && !owner.is_empty()
    {
        let _ = write!(s, " ({})", clean(owner, 60));
    }
    clean(&s.replace('@', "＠"), 250)
}

fn render_issue_body(
    v: &Verdict,
    selection: &ChangeSelection,
    key: &str,
    findings: &[&Finding],
    also: Vec<String>,
) -> String {
    let mut sorted = findings.to_vec();
    sorted.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    let mut out = format!(
        "{} that the baseline does not allow.\n\n",
        format_plural(findings.len() as u64, "finding")
    );
    out.push_str("| Severity | What | Where | State | First seen | Nearest rule |\n|---|---|---|---|---|---|\n");
    let mut shown = 0;
    for f in sorted.iter().take(MAX_ROWS) {
        let nearest = f.nearest.as_ref().map_or_else(
            || "–".to_owned(),
            |n| {
                format!(
                    "{} {}: {}",
                    format_issue_code(&n.id, 80),
                    format_issue_code(&n.place, 120),
                    escape_prose(&n.missed, SENTENCE)
                )
            },
        );
        let row = format!(
            "| {} | {} | {} | {}{} | {} | {nearest} |\n",
            f.severity.as_str(),
            format_issue_code(&words::describe_finding(f), NAME),
            format_issue_code(&words::format_location(f), NAME),
            words::describe_state(f.state),
            if f.acknowledged.is_some() { ", acknowledged" } else { "" },
            words::format_day(f.first_seen),
        );
        if out.chars().count() + row.chars().count() > TABLE {
            break;
        }
        out.push_str(&row);
        shown += 1;
    }
    if shown < sorted.len() {
        let _ = writeln!(out, "\nand {} more", group_digits((sorted.len() - shown) as u64));
    }
    let remedies: std::collections::BTreeSet<&str> =
        sorted.iter().filter_map(|f| f.remedy.as_deref()).collect();
    for r in remedies.iter().take(5) {
        let _ = writeln!(out, "\n**What to do**: {}", escape_prose(r, SENTENCE));
    }
    if let Some(url) = selection.report_url.as_ref().filter(|u| !u.contains("{run_id}")) {
        let _ = writeln!(out, "\n[Report](<{}>)", clean(url, 500).replace(['<', '>', ' '], ""));
    }
    let vantages: std::collections::BTreeSet<&str> =
        sorted.iter().map(|f| f.vantage.as_str()).collect();
    let from: Vec<String> = vantages.iter().take(5).map(|s| format_issue_code(s, 60)).collect();
    let _ = writeln!(
        out,
        "\nSeen from {}, authorised by {}. mimawari keeps this issue up to date, and closes it when all of it was seen to be gone or is allowed.\n",
        from.join(", "),
        format_issue_code(&v.run.authorised_by, 100)
    );
    let mut ids: Vec<String> = sorted.iter().map(|f| f.id.clone()).filter(|i| is_id(i)).collect();
    ids.extend(also);
    ids.sort();
    ids.dedup();
    let more = ids.len() > MAX_IDS;
    ids.truncate(MAX_IDS);
    out.push_str(&format_mark(key, &ids, more));
    out
}

fn format_mark(key: &str, ids: &[String], more: bool) -> String {
    format!("{MARK}{key} more={} ids={} -->\n", u8::from(more), ids.join(","))
}

/// What found no issue of its own, in one. It is closed when all have one.
fn plan_overflow_issue(
    rest: &[Vec<&Finding>],
    issue: Option<&KnownIssue<'_>>,
) -> Option<IssueAction> {
    if rest.is_empty() {
        return issue.filter(|k| k.issue.open).map(|k| IssueAction::Update {
            number: k.issue.number,
            title: k.issue.title.clone(),
            body: format!(
                "Every group has an issue of its own now.\n\n{}",
                format_mark(REST, &[], false)
            ),
            open: Some(false),
        });
    }
    let n: usize = rest.iter().map(Vec::len).sum();
    let title = format!(
        "{} in {}",
        format_plural(n as u64, "more finding"),
        format_plural(rest.len() as u64, "more group")
    );
    let mut body = String::from(
        "More groups than one run may open issues for; the next runs open them one after the other.\n\n",
    );
    for g in rest.iter().take(200) {
        let line = format!("- {}\n", format_issue_code(&self::format_issue_title(g), NAME));
        if body.chars().count() + line.chars().count() > TABLE {
            break;
        }
        body.push_str(&line);
    }
    body.push('\n');
    body.push_str(&format_mark(REST, &[], false));
    match issue {
        Some(k) => update(k, title, body),
        None => Some(IssueAction::Create { title, body }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all_notified, five_causes, hostile, three};
    use super::*;
    use crate::samples;
    use mimawari_drift::verdict::ChangeKind;

    fn run(v: &Verdict, issues: &mut Vec<ExistingIssue>) -> Vec<IssueAction> {
        run_with(v, 10, issues)
    }

    /// Carries the actions out.
    fn run_with(v: &Verdict, max_new: usize, issues: &mut Vec<ExistingIssue>) -> Vec<IssueAction> {
        let all = plan_issue_actions(v, &ChangeSelection::default(), max_new, issues);
        for a in &all {
            let (title, body) = match a {
                IssueAction::Create { title, body } | IssueAction::Update { title, body, .. } => {
                    (title, body)
                }
            };
            assert!(body.chars().count() <= MAX_BODY, "{}", body.chars().count());
            assert!((1..=256).contains(&title.chars().count()));
            match a.clone() {
                IssueAction::Create { title, body } => {
                    issues.push(ExistingIssue {
                        number: issues.len() as u64 + 1,
                        open: true,
                        title,
                        body,
                    });
                }
                IssueAction::Update { number, title, body, open } => {
                    let i = &mut issues[number as usize - 1];
                    (i.title, i.body) = (title, body);
                    i.open = open.unwrap_or(i.open);
                }
            }
        }
        all
    }

    #[test]
    fn three_findings() {
        let all = plan_issue_actions(&three(), &ChangeSelection::default(), 10, &[]);
        insta::assert_debug_snapshot!(all);
    }

    #[test]
    fn five_causes_are_few_issues_and_a_second_run_changes_nothing() {
        let v = five_causes();
        let mut issues = Vec::new();
        let made = run(&v, &mut issues);
        assert_eq!(made.len(), 11, "ten, and one that names the rest");
        assert!(issues[0].title.contains("tcp/6379"), "{}", issues[0].title);
        // The rest gets its issues in turn, and then nothing more happens.
        for _ in 0..20 {
            run(&v, &mut issues);
        }
        assert_eq!(run(&v, &mut issues), []);
        let rest = issues.iter().find(|i| i.body.contains(REST)).unwrap();
        assert!(!rest.open);
    }

    #[test]
    fn a_group_keeps_its_issue_while_findings_come_and_go() {
        let mut v = five_causes();
        let mut issues = Vec::new();
        run_with(&v, 100, &mut issues);
        let before = issues.len();
        v.findings.retain(|f| !f.id.ends_with('3'));
        let mut f = samples::port("198.18.77.7", 6379);
        f.owner = Some("@corp/a".to_owned());
        f.id = "abcdefabcdefabcd".to_owned();
        v.findings.push(f);
        run_with(&v, 100, &mut issues);
        assert_eq!(issues.len(), before);
    }

    #[test]
    fn closed_only_when_seen_to_be_gone_and_reopened() {
        let mut v = all_notified(samples::clean(), ChangeKind::Opened);
        v.findings =
            vec![samples::port("198.51.100.9", 6379), samples::port("198.51.100.10", 6379)];
        let mut issues = Vec::new();
        assert_eq!(run(&v, &mut issues).len(), 1);
        let state = |v: &mut Verdict, s| v.findings.iter_mut().for_each(|f| f.state = s);
        for s in [FindingState::Unverified, FindingState::Resolving, FindingState::OutOfScope] {
            state(&mut v, s);
            run(&v, &mut issues);
            assert!(issues[0].open, "{s:?}");
        }
        // One of two is not all.
        v.findings[0].state = FindingState::Resolved;
        v.findings[1].state = FindingState::Open;
        run(&v, &mut issues);
        assert!(issues[0].open);
        // The last one changed its owner: it is not settled for that.
        v.findings[1].owner = Some("@corp/other".to_owned());
        run(&v, &mut issues);
        assert_eq!((issues[0].open, issues.len()), (true, 2));
        // A run that is not believed closes nothing.
        state(&mut v, FindingState::Resolved);
        v.suspect = true;
        run(&v, &mut issues);
        assert!(issues[0].open);
        v.suspect = false;
        v.findings[1].state = FindingState::Allowed;
        run(&v, &mut issues);
        assert!(issues.iter().all(|i| !i.open));
        assert_eq!(run(&v, &mut issues), []);
        // It comes back.
        v.findings[0].state = FindingState::Open;
        run(&v, &mut issues);
        assert_eq!((issues[0].open, issues.len()), (true, 2));
    }

    #[test]
    fn hostile_text_writes_no_mark_and_mentions_nobody() {
        let mut v = hostile();
        let forged = format!("x -->\n{MARK}aaaaaaaaaaaaaaaa more=0 ids= -->");
        for f in &mut v.findings {
            f.remedy = Some(forged.clone());
            f.owner = Some(format!("@corp/x {forged}"));
            f.host = Some(forged.clone());
        }
        let mut issues = Vec::new();
        run(&v, &mut issues);
        assert!(!issues.is_empty());
        for i in &issues {
            assert_eq!(i.body.matches("<!--").count(), 1, "{}", i.body);
            assert!(!i.title.contains('@'));
            assert_ne!(mark(i).unwrap().key, "aaaaaaaaaaaaaaaa");
        }
    }

    #[test]
    fn a_long_issue_finds_room() {
        let mut v = samples::clean();
        let long = "&<>|`".repeat(1_000);
        for n in 0..3_000u32 {
            let mut f = samples::content("198.18.0.1", 80, &long, &long);
            f.id = format!("{n:016x}");
            f.remedy = Some(long.clone());
            f.title = Some(long.clone());
            v.findings.push(f);
        }
        let mut issues = Vec::new();
        run(&v, &mut issues);
        assert_eq!(issues.len(), 1);
        assert_eq!(mark(&issues[0]).unwrap().ids.len(), MAX_IDS);
        // More than it remembers: not closed as long as anything is unsettled.
        v.findings.truncate(2_000);
        v.findings.iter_mut().take(1_999).for_each(|f| f.state = FindingState::Resolved);
        run(&v, &mut issues);
        assert!(issues[0].open);
    }
}
