//! The verdict as one HTML file.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mimawari_drift::verdict::{Finding, FindingState, Verdict};
use sha2::{Digest as _, Sha256};

use crate::clean::clean;
use crate::site_rows::Sites;
use crate::words::{self, NAME, SENTENCE, Tone};

const CSS: &str = include_str!("../templates/report.css");
const JS: &str = include_str!("../templates/report.js");

/// Sentences of a list.
const MAX_SENTENCES: usize = 200;
/// Longest list of targets or ports, in characters.
const MAX_LIST: usize = 20_000;
/// Units of the coverage bar and of the recall scale.
const BAR: u64 = 1000;
/// Least width of a segment of the coverage bar: a few open cells among millions stay visible.
const MIN_SEGMENT: u64 = 6;

/// The verdict as a self-contained HTML page: no request leaves it, and nothing of what the hosts
/// said can act in it.
///
/// The content security policy allows the page's own style sheet and script by their hash and
/// nothing else. All data stands in the document as escaped text; the script only reads it. Without
/// the script every finding is shown.
///
/// # Panics
///
/// Never: writing into a string does not fail.
#[must_use]
pub fn html(verdict: &Verdict) -> String {
    Page::new(verdict).render().expect("a string takes all that is written to it")
}

#[derive(Template)]
#[template(path = "report.html", whitespace = "minimize")]
struct Page<'a> {
    verdict: &'a Verdict,
    css: &'static str,
    css_hash: String,
    js: &'static str,
    js_hash: String,
    tone: &'static str,
    word: &'static str,
    rest: String,
    breakdown: Option<String>,
    caution: Option<&'static str>,
    judged_at: String,
    run_id: String,
    exit: u8,
    exit_meaning: &'static str,
    incomplete: bool,
    tiles: Vec<Tile>,
    coverage: String,
    segments: Vec<Segment>,
    recall: String,
    freshness: Option<String>,
    scale: Option<Scale>,
    content: Option<String>,
    reasons: Vec<String>,
    not_covered: Vec<String>,
    total: usize,
    total_text: String,
    severities: Vec<Choice>,
    states: Vec<Choice>,
    kinds: Vec<Choice>,
    sites: Option<Sites>,
    facts: Vec<(&'static str, String, bool)>,
    notes: Vec<String>,
    meanings: Vec<(&'static str, &'static str)>,
}

struct Tile {
    label: &'static str,
    number: String,
    zero: bool,
}

/// A piece of the coverage bar, in units of 1/1000 of its width.
struct Segment {
    class: &'static str,
    label: &'static str,
    number: String,
    share: String,
    x: u64,
    width: u64,
}

/// The scale of the recall estimate; places in units of 1/1000 of its width.
struct Scale {
    from: String,
    low: u64,
    width: u64,
    estimate: u64,
    promise: u64,
}

/// A choice of a filter.
pub(crate) struct Choice {
    pub(crate) value: &'static str,
    pub(crate) label: &'static str,
    pub(crate) number: String,
}

/// A row of the table of findings.
struct Row {
    id: String,
    severity: &'static str,
    state_key: &'static str,
    state: &'static str,
    marks: Vec<String>,
    kind_key: &'static str,
    endpoint: String,
    resource: Option<String>,
    what: String,
    /// Pieces of the sentence; true for what it quotes.
    why: Vec<(bool, String)>,
    service: String,
    last_seen: String,
    details: Vec<(&'static str, String)>,
}

impl<'a> Page<'a> {
    fn new(v: &'a Verdict) -> Self {
        let h = words::headline(v);
        let total = v.findings.len();
        let number = |n: usize| words::grouped(n as u64);
        let choices = |value: &'static str, label: &'static str, n: usize| {
            (n > 0).then(|| Choice { value, label, number: number(n) })
        };
        Self {
            verdict: v,
            css: CSS,
            css_hash: hash(CSS),
            js: JS,
            js_hash: hash(JS),
            tone: match h.tone {
                Tone::Clean => "clean",
                Tone::Drift => "drift",
                Tone::Incomplete => "incomplete",
                Tone::Suspect => "suspect",
            },
            word: h.word,
            rest: h.rest,
            breakdown: words::breakdown(v),
            caution: h.caution,
            judged_at: words::second(v.judged_at),
            run_id: clean(&v.run_id, NAME),
            exit: v.exit,
            exit_meaning: words::exit_meaning(v.exit),
            incomplete: v.incomplete || v.suspect || v.exit == 3,
            tiles: tiles(v),
            coverage: words::coverage(v),
            segments: segments(v),
            recall: words::recall(&v.coverage),
            freshness: v.coverage.freshness.as_ref().map(|f| f.sentence()),
            scale: Scale::new(v),
            content: words::content(&v.coverage),
            reasons: sentences(&v.incomplete_because),
            not_covered: sentences(&v.coverage.not_covered),
            total,
            total_text: words::plural(total as u64, "finding"),
            severities: words::SEVERITIES
                .iter()
                .filter_map(|s| {
                    let n = v.findings.iter().filter(|f| f.severity == *s).count();
                    choices(s.as_str(), s.as_str(), n)
                })
                .collect(),
            states: words::STATES
                .iter()
                .filter_map(|s| {
                    let n = v.findings.iter().filter(|f| f.state == *s).count();
                    choices(s.as_str(), words::state(*s), n)
                })
                .collect(),
            kinds: words::KINDS
                .iter()
                .filter_map(|k| {
                    let n = v.findings.iter().filter(|f| f.kind == *k).count();
                    choices(k.as_str(), words::kind(*k), n)
                })
                .collect(),
            sites: Sites::new(v),
            facts: facts(v),
            notes: sentences(&v.run.notes),
            meanings: words::STATES
                .iter()
                .map(|s| (words::state(*s), words::state_meaning(*s)))
                .collect(),
        }
    }

    /// The rows of the table: what counts before what may come to count before what is settled; worst
    /// first, new before old.
    fn rows(&self) -> impl Iterator<Item = Row> {
        let mut order: Vec<(usize, &Finding)> = self.verdict.findings.iter().enumerate().collect();
        order.sort_by_key(|(_, f)| (standing(f), std::cmp::Reverse(f.severity), !f.new));
        order.into_iter().map(|(n, f)| Row::new(n, f))
    }
}

impl Row {
    fn new(n: usize, f: &Finding) -> Self {
        let mut details = Vec::with_capacity(14);
        if let Some(title) = &f.title {
            details.push(("Title", clean(title, SENTENCE)));
        }
        if let Some(asked) = words::asked(f) {
            details.push(("Asked", format!("{asked}, {}", words::RANGE)));
        }
        if let Some(e) = &f.evidence {
            details.push(("Answer", words::evidence(e)));
            if let Some(certain) = words::certain(e) {
                details.push(("Certain", certain));
            }
            if !e.digest.is_empty() {
                details.push(("Digest (keyed)", clean(&e.digest, NAME)));
            }
        }
        if let Some(remedy) = &f.remedy {
            details.push(("Remedy", clean(remedy, SENTENCE)));
        }
        // What made it a finding says nothing of one that is settled.
        if standing(f) < 2 {
            details.push(("Cause", words::cause(f.cause).to_owned()));
        }
        if let Some(owner) = &f.owner {
            details.push(("Owner", clean(owner, NAME)));
        }
        if let Some(rule) = &f.allowed_by {
            details.push(("Allowed by rule", clean(rule, NAME)));
        }
        details.push(("First seen", words::second(f.first_seen)));
        details.push(("Last seen", words::second(f.last_seen)));
        if !f.vantage.is_empty() {
            details.push(("Seen from", clean(&f.vantage, NAME)));
        }
        let id = clean(&f.id, 64);
        details.push(("Id", id));
        Self {
            id: anchor(&f.id, n),
            severity: f.severity.as_str(),
            state_key: f.state.as_str(),
            state: words::state(f.state),
            marks: words::marks(f),
            kind_key: f.kind.as_str(),
            endpoint: words::endpoint(f),
            resource: words::resource(f),
            what: words::what(f),
            why: quoted(&clean(&f.why, SENTENCE)),
            service: f.service.as_deref().map_or_else(String::new, |s| clean(s, NAME)),
            last_seen: f.last_seen.strftime("%Y-%m-%d %H:%M").to_string(),
            details,
        }
    }
}

/// 0 for a finding that counts, 1 for one that may come to count, 2 for one that is settled.
fn standing(f: &Finding) -> u8 {
    match f.state {
        s if s.is_drift() => 0,
        FindingState::MissingPending => 1,
        _ => 2,
    }
}

/// A sentence in pieces, where pairs of back-ticks quote a name.
fn quoted(s: &str) -> Vec<(bool, String)> {
    if !s.matches('`').count().is_multiple_of(2) {
        return vec![(false, s.to_owned())];
    }
    s.split('`').enumerate().map(|(i, piece)| (i % 2 == 1, piece.to_owned())).collect()
}

/// The id of a finding as an element's id. An id is hex; whatever is not falls back to the row's
/// number, so that no finding can take the place of another element of the page.
fn anchor(id: &str, row: usize) -> String {
    if (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        id.to_owned()
    } else {
        format!("row-{row}")
    }
}

fn hash(content: &str) -> String {
    STANDARD.encode(Sha256::digest(content.as_bytes()))
}

fn sentences(list: &[String]) -> Vec<String> {
    let mut out: Vec<String> =
        list.iter().take(MAX_SENTENCES).map(|s| clean(s, SENTENCE)).collect();
    if list.len() > MAX_SENTENCES {
        out.push(format!(
            "and {} more, in verdict.json",
            words::grouped((list.len() - MAX_SENTENCES) as u64)
        ));
    }
    out
}

fn tiles(v: &Verdict) -> Vec<Tile> {
    let c = &v.counts;
    [
        ("New in this run", c.new),
        ("Open", c.open),
        ("Missing", c.missing),
        ("Unverified", c.unverified),
        ("Resolving", c.resolving),
        ("Resolved", c.resolved),
        ("Allowed", c.allowed),
    ]
    .into_iter()
    .map(|(label, n)| Tile { label, number: words::grouped(n), zero: n == 0 })
    .collect()
}

fn segments(v: &Verdict) -> Vec<Segment> {
    let c = &v.coverage;
    let parts = [
        ("open", "open", c.open),
        ("closed", "closed (RST)", c.closed),
        ("prohibited", "prohibited (ICMP)", c.prohibited),
        ("silent", "silent (no answer)", c.silent),
        ("unprobed", "not probed", c.not_probed),
    ];
    let sum: u128 = parts.iter().map(|p| u128::from(p.2)).sum();
    let present = parts.iter().filter(|p| p.2 > 0).count() as u64;
    // Each present part gets the least width; the rest is shared by size.
    let room = BAR - present * MIN_SEGMENT;
    let mut x = 0;
    parts
        .into_iter()
        .map(|(class, label, n)| {
            let share = u128::from(n) * u128::from(room) / sum.max(1);
            let width = if n > 0 { MIN_SEGMENT + u64::try_from(share).unwrap_or(0) } else { 0 };
            let segment = Segment {
                class,
                label,
                number: words::grouped(n),
                share: if n > 0 { words::percent(n, sum) } else { String::new() },
                x,
                width,
            };
            x += width;
            segment
        })
        .collect()
}

impl Scale {
    fn new(v: &Verdict) -> Option<Self> {
        let c = &v.coverage;
        let in_range = |x: &f64| (0.0..=1.0).contains(x);
        let estimate = c.recall_estimate.filter(in_range)?;
        let (low, high) = words::interval(c).filter(|(a, b)| in_range(a) && in_range(b))?;
        let promised = Some(c.recall_promised).filter(in_range)?;
        let least = low.min(promised).min(estimate);
        // A quarter more than needed on the left, so that the marks do not stand on the edge.
        let from = (1.0 - (1.0 - least) * 1.25 - 1e-9).max(0.0);
        let place =
            |x: f64| (((x - from) / (1.0 - from)).clamp(0.0, 1.0) * (BAR - 8) as f64) as u64;
        Some(Self {
            from: words::floor(from, 5),
            low: place(low),
            width: (place(high) - place(low)).max(3),
            estimate: place(estimate),
            promise: place(promised),
        })
    }
}

fn facts(v: &Verdict) -> Vec<(&'static str, String, bool)> {
    let r = &v.run;
    let text = |s: &str, max: usize| words::or_dash(&clean(s, max)).to_owned();
    let mut f = vec![
        ("When", words::when(v), false),
        ("Method", text(&r.method, NAME), false),
        ("Seen from", text(&r.vantage, NAME), false),
        ("Authorised by", text(&r.authorised_by, NAME), false),
        ("Targets", text(&r.targets.join(", "), MAX_LIST), true),
        ("Ports", text(&r.ports, MAX_LIST), true),
        ("Addresses", words::grouped(r.addresses), false),
        ("Rate", words::rate(v), false),
        ("Packets", words::packets(v), false),
        ("Answers lost", words::grouped(r.receive_drops), false),
    ];
    if r.canaries_total > 0 {
        f.push(("Canaries", format!("{} answered", words::canaries(v)), false));
    } else {
        f.push(("Canaries", "none configured".to_owned(), false));
    }
    f.push(("Not confirmed", words::unconfirmed(v), false));
    if v.counts.out_of_scope > 0 {
        f.push(("Left the scope", words::plural(v.counts.out_of_scope, "finding"), false));
    }
    f.push(("Scope SHA-256", text(&r.scope_digest, NAME), true));
    f.push(("Baseline SHA-256", text(&v.baseline_digest, NAME), true));
    f
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::clean::is_hostile;
    use crate::samples;

    /// A start tag with its attributes.
    struct Tag {
        name: String,
        attributes: BTreeMap<String, String>,
    }

    /// The start tags of a page, without what stands inside of style and script. Every `<` counts: text
    /// that had one which is not escaped would show up as a tag.
    fn tags(page: &str) -> Vec<Tag> {
        let mut out = Vec::new();
        let mut rest = page;
        while let Some(at) = rest.find('<') {
            rest = &rest[at + 1..];
            let mut quoted = false;
            let end = rest
                .find(|c| {
                    quoted ^= c == '"';
                    c == '>' && !quoted
                })
                .expect("a tag ends");
            let (tag, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if tag.starts_with('/') || tag.starts_with('!') {
                continue;
            }
            let (name, mut list) = tag.split_once(' ').unwrap_or((tag, ""));
            let mut attributes = BTreeMap::new();
            list = list.trim_end_matches('/').trim();
            while !list.is_empty() {
                let end = list.find([' ', '=']).unwrap_or(list.len());
                let (key, after) = list.split_at(end);
                let mut value = "";
                list = after;
                if let Some(v) = list.strip_prefix("=\"") {
                    let end = v.find('"').expect("a value ends");
                    value = &v[..end];
                    list = &v[end + 1..];
                }
                list = list.trim_start();
                assert!(attributes.insert(key.to_owned(), value.to_owned()).is_none(), "{tag}");
            }
            let name = name.to_owned();
            if name == "script" || name == "style" {
                rest = &rest[rest.find(&format!("</{name}>")).expect("it ends")..];
            }
            out.push(Tag { name, attributes });
        }
        out
    }

    fn between<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
        let at = page.find(start).expect(start) + start.len();
        &page[at..at + page[at..].find(end).expect(end)]
    }

    #[test]
    fn the_policy_allows_what_is_in_the_page_and_nothing_else() {
        for v in samples::all() {
            let page = html(&v);
            let policy = between(&page, "http-equiv=\"Content-Security-Policy\" content=\"", "\"");
            let style = hash(between(&page, "<style>", "</style>"));
            let script = hash(between(&page, "<script>", "</script>"));
            assert_eq!(
                policy,
                format!(
                    "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
                )
            );
            assert_eq!(page.matches("<script").count(), 1);
            assert_eq!(page.matches("<style").count(), 1);
            // The policy counts only for what comes after it.
            assert!(page.find("Content-Security-Policy") < page.find("<style"));
        }
    }

    /// Style and script do not reach out, and do not end their element early.
    #[test]
    fn style_and_script_stand_alone() {
        for s in [CSS, JS] {
            for bad in ["</", "<!--", "://", "url(", "@import", "fetch", "innerHTML", "eval", "\r"]
            {
                assert!(!s.contains(bad), "{bad}");
            }
        }
    }

    #[test]
    fn hostile_text_is_inert() {
        let page = html(&samples::hostile());
        assert!(!page.chars().any(|c| c != '\n' && is_hostile(c)));
        let known: BTreeSet<String> =
            tags(&html(&samples::drift())).into_iter().map(|t| t.name).collect();
        let list = tags(&page);
        assert!(list.len() > 200);
        for t in &list {
            assert!(known.contains(&t.name), "{}", t.name);
            for (key, value) in &t.attributes {
                assert!(!key.starts_with("on") && key != "src" && key != "style", "{key}={value}");
                assert!(key != "href" || value.starts_with('#'), "{key}={value}");
            }
        }
        // It is shown, though, as text.
        assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
        assert!(page.contains("管理画面"));
        assert!(page.contains("user�gpj.exe"));
    }

    #[test]
    fn no_sample_has_a_tag_or_an_attribute_that_loads_or_runs() {
        let keys: BTreeSet<String> = samples::all()
            .iter()
            .flat_map(|v| tags(&html(v)))
            .flat_map(|t| t.attributes.into_keys())
            .collect();
        for bad in ["src", "srcset", "style", "action", "formaction", "ping", "xlink:href"] {
            assert!(!keys.contains(bad), "{bad}");
        }
        assert!(!keys.iter().any(|k| k.starts_with("on")));
    }

    #[test]
    fn ids_are_unique_and_every_link_has_its_target() {
        for v in samples::all() {
            let list = tags(&html(&v));
            let mut ids = BTreeSet::new();
            for id in list.iter().filter_map(|t| t.attributes.get("id")) {
                assert!(ids.insert(id.as_str()), "{id} twice");
            }
            for href in list.iter().filter_map(|t| t.attributes.get("href")) {
                assert!(ids.contains(&href[1..]), "{href}");
            }
        }
    }

    #[test]
    fn an_id_that_is_not_hex_takes_no_name_of_the_page() {
        assert_eq!(anchor("ba6d29dea5095a80", 7), "ba6d29dea5095a80");
        for bad in ["", "mw-filter", "\"><b>", "findings", &"a".repeat(65)] {
            assert_eq!(anchor(bad, 7), "row-7");
        }
        let v = samples::hostile();
        let page = html(&v);
        for n in 0..v.findings.len() {
            assert!(page.contains(&format!("<tr role=\"row\" id=\"row-{n}\"")));
        }
    }

    /// Without the script nothing is hidden but the filter, which would do nothing.
    #[test]
    fn every_finding_has_a_row_that_is_shown() {
        let v = samples::drift();
        let list = tags(&html(&v));
        let rows: Vec<&Tag> =
            list.iter().filter(|t| t.name == "tr" && t.attributes.contains_key("id")).collect();
        assert_eq!(rows.len(), v.findings.len());
        for f in &v.findings {
            let row = rows.iter().find(|r| r.attributes["id"] == f.id).expect("its row");
            assert_eq!(row.attributes["data-v"], f.severity.as_str());
            assert_eq!(row.attributes["data-s"], f.state.as_str());
            assert_eq!(row.attributes["data-k"], f.kind.as_str());
        }
        let hidden: Vec<&str> = list
            .iter()
            .filter(|t| t.attributes.contains_key("hidden"))
            .map(|t| t.attributes["id"].as_str())
            .collect();
        assert_eq!(hidden, ["mw-filter", "mw-none", "mw-site-filter", "mw-site-none"]);
    }

    #[test]
    fn names_in_a_sentence_are_set_as_code() {
        let page = html(&samples::drift());
        assert!(
            page.contains("<p>Rule <code>no-telnet</code> forbids this port on every host.</p>")
        );
        assert_eq!(quoted("a `b"), [(false, "a `b".to_owned())]);
        assert_eq!(quoted(""), [(false, String::new())]);
    }

    #[test]
    fn what_counts_stands_before_what_is_settled() {
        let v = samples::drift();
        let page = Page::new(&v);
        let states: Vec<&str> = page.rows().map(|r| r.state).collect();
        assert_eq!(
            states,
            [
                "open",
                "open",
                "open",
                "missing",
                "unverified",
                "open",
                "open",
                "resolving",
                "missing once",
                "out of scope",
                "resolved",
                "allowed"
            ]
        );
    }

    #[test]
    fn a_reader_who_does_not_see_the_page_can_use_it() {
        let list = tags(&html(&samples::drift()));
        let has = |name: &str, key: &str, value: &str| {
            list.iter().any(|t| t.name == name && t.attributes.get(key).is_some_and(|v| v == value))
        };
        assert!(has("html", "lang", "en"));
        assert!(has("p", "aria-live", "polite"));
        assert!(has("a", "class", "skip"));
        assert!(list.iter().any(|t| t.name == "caption"));
        let scoped = |s: &str| {
            list.iter().filter(|t| t.attributes.get("scope").is_some_and(|v| v == s)).count()
        };
        let v = samples::drift();
        let rows = v.findings.len() + v.site_changes.len() + v.site_notices.len();
        assert_eq!((scoped("col"), scoped("row")), (6 + 4, rows));
        // Each field of the filter stands inside of its label.
        let fields = list.iter().filter(|t| t.name == "input" || t.name == "select").count();
        assert_eq!(list.iter().filter(|t| t.name == "label").count(), fields);
    }

    #[test]
    fn the_page_says_how_sure_it_is_and_who_authorised_it() {
        let page = html(&samples::incomplete());
        for part in [
            "<title>INCOMPLETE: Stopped by SIGTERM after 41 s (and 1 more reason) – mimawari</title>",
            "No drift in what was covered; nothing is known of the rest.",
            "58.30 % of 655,360 cells; 273,243 not probed",
            "0.99870 (95 % interval 0.99710 to 0.99950); UNDER the promise of 0.9999",
            "2,116 content checks were skipped: stopped before their turn.",
            "SEC-1042",
            "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
            "19,871 of at most 20,000 packets/s",
            "1,402,311 sent, 0 failed sends",
            "2 of 2 canaries answered",
            "None in what was covered. Nothing is known of the rest.",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("Nothing: all that was planned was covered."));
        assert!(html(&samples::clean()).contains("None: what was seen is what was agreed."));
    }

    #[test]
    fn a_hit_is_told_with_question_answer_proof_and_remedy() {
        let page = html(&samples::drift());
        for part in [
            "<dt>Asked<dd><bdi>GET http://shop.example.jp/password.php at 198.51.100.7:80, Range: bytes=0-65535</bdi>",
            "<dt>Answer<dd><bdi>HTTP 200, line 1, 812 bytes, begins “hu…”</bdi>",
            "<dt>Certain<dd><bdi>signature: begins with a PHP opening tag; a second answer had it too; 2 paths that cannot exist did not (404, 404)</bdi>",
            "<dt>Remedy<dd><bdi>Let the server run PHP for this path or deny it",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn what_changed_of_sites_has_rows_and_what_is_quiet_has_none() {
        let v = samples::drift();
        let page = html(&v);
        let rows = page.matches("<tr role=\"row\" data-k=").count();
        assert_eq!(rows, v.site_changes.len() + v.site_notices.len());
        for part in
            ["Our blog", "0wned by nobody", "https://blog.example.jp", "points at addresses"]
        {
            assert!(page.contains(part), "{part}");
        }
        assert!(!html(&samples::clean()).contains("id=\"mw-site"));
    }

    #[test]
    fn evidence_shows_a_mask_and_never_more() {
        let mut v = samples::drift();
        for f in &mut v.findings {
            if let Some(e) = &mut f.evidence {
                e.masked = Some("hunter2-and-more".to_owned());
            }
        }
        let page = html(&v);
        assert!(page.contains("begins “hunt…”"));
        assert!(!page.contains("hunte"));
    }

    #[test]
    fn the_coverage_bar_is_filled_and_never_too_long() {
        for v in samples::all() {
            let s = segments(&v);
            let end = s.last().map_or(0, |s| s.x + s.width);
            assert!((BAR - 5..=BAR).contains(&end), "{end}");
            // 412 cells of 655,360 are still to be seen.
            assert!(s.iter().all(|s| (s.number == "0") == (s.width == 0)));
        }
        let mut v = samples::clean();
        v.coverage.closed = u64::MAX;
        v.coverage.silent = u64::MAX;
        assert!(segments(&v).last().is_some_and(|s| s.x + s.width <= BAR));
    }

    #[test]
    fn the_recall_scale_keeps_its_order_and_its_bounds() {
        let v = samples::incomplete();
        let s = Scale::new(&v).expect("a scale");
        assert!(s.low < s.estimate && s.estimate < s.low + s.width && s.estimate < s.promise);
        let mut v = v;
        for (estimate, interval, promised) in [
            (Some(1.0), Some((1.0, 1.0)), 1.0),
            (Some(0.0), Some((0.0, 1.0)), 0.0),
            (Some(f64::NAN), Some((f64::NAN, f64::NAN)), f64::NAN),
            (None, None, 0.9999),
        ] {
            v.coverage.recall_estimate = estimate;
            v.coverage.recall_interval = interval;
            v.coverage.recall_promised = promised;
            if let Some(s) = Scale::new(&v) {
                assert!(s.low + s.width <= BAR && s.estimate < BAR && s.promise < BAR);
            }
        }
    }

    /// A page for twenty thousand findings is complete and can be mailed: under 800 bytes a finding, and
    /// under 600 a row of the sites, of which there are at most two thousand.
    #[test]
    fn a_large_verdict_gives_a_page_of_bearable_size() {
        let n = 20_000;
        let page = html(&samples::many(n));
        assert_eq!(page.matches("<tr role=\"row\" id=").count(), n as usize);
        assert_eq!(page.matches("<tr role=\"row\" data-k=").count(), 2_000);
        assert!(page.len() < 800 * n as usize + 600 * 2_000, "{}", page.len());
    }

    /// Text against its ground, WCAG 2.2 criterion 1.4.3: 4.5 to 1, in light and in dark.
    #[test]
    fn colours_have_contrast() {
        let (light, dark) = CSS.split_once("@media (prefers-color-scheme: dark)").expect("both");
        let dark = dark.split_once("\n}\n").expect("its end").0;
        for theme in [light, dark] {
            let colours: BTreeMap<&str, f64> = theme
                .lines()
                .filter_map(|l| l.trim().strip_prefix("--")?.strip_suffix(';')?.split_once(": "))
                .map(|(name, value)| (name, luminance(value)))
                .collect();
            let mut pairs: Vec<(String, String)> = Vec::new();
            for text in ["ink", "muted", "link"] {
                for ground in ["page", "card", "sunk", "target"] {
                    pairs.push((text.to_owned(), ground.to_owned()));
                }
            }
            for name in colours.keys().filter_map(|n| n.strip_suffix("-fg")) {
                pairs.push((format!("{name}-fg"), format!("{name}-bg")));
            }
            assert_eq!(pairs.len(), 12 + 10);
            for (text, ground) in pairs {
                let (a, b) = (colours[text.as_str()], colours[ground.as_str()]);
                let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(ratio >= 4.5, "{text} on {ground}: {ratio:.2}");
            }
        }
    }

    /// Relative luminance of `#rrggbb`, as WCAG 2.2 defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |i: usize| {
            let c = f64::from(u8::from_str_radix(&colour[i..i + 2], 16).unwrap()) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }
}
