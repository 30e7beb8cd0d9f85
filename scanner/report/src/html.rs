//! The verdict as one HTML file.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mimawari_drift::verdict::{FindingKind, Verdict};
use sha2::{Digest as _, Sha256};

use crate::clean::clean;
use crate::same_names::list_other_names;
use crate::words::{self, NAME, SENTENCE, VerdictTone};

mod allowed_rows;
mod causes;
#[cfg(test)]
mod colours;
mod hilbert;
mod island;
mod lead;
mod map;
mod row;
mod site_rows;
#[cfg(test)]
mod tests;
mod timeline;

use allowed_rows::{AllowedRows, ServiceRows};
use causes::{CauseRow, CauseRows};
use lead::PageSummary;
use map::RangeMaps;
use row::{FindingRow, sort_for_display};
use site_rows::SiteRows;
use timeline::RunTimeline;

const CSS: &str = include_str!("../templates/report.css");
/// One script; each file of it has one subject.
const JS: &str = concat!(
    include_str!("../templates/js/base.js"),
    include_str!("../templates/js/query.js"),
    include_str!("../templates/js/table.js"),
    include_str!("../templates/js/map.js"),
    include_str!("../templates/js/sites.js"),
    include_str!("../templates/js/page.js"),
);

/// Findings that are shown without the script: the worst.
const PLAIN: usize = 500;
/// Groups that are shown without the script, and in the head of the page.
const PLAIN_GROUPS: usize = 50;
const LEAD_GROUPS: usize = 3;

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
/// nothing else. Every finding stands in the document as escaped JSON, from which the script shows
/// those that are asked for, a page at a time. Without the script the headline, the groups and the
/// worst 500 findings are shown.
///
/// A link to `#f-` and a finding's id opens that finding; one to `#q=` and a filter sets the filter.
///
/// # Panics
///
/// Never: writing into a string does not fail.
#[must_use]
pub fn html(verdict: &Verdict) -> String {
    HtmlPage::new(verdict).render().expect("a string takes all that is written to it")
}

#[derive(Template)]
#[template(path = "report.html", whitespace = "minimize")]
struct HtmlPage<'a> {
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
    lead: PageSummary,
    causes: CauseRows,
    maps: Option<RangeMaps>,
    timeline: Option<RunTimeline>,
    /// How many findings, and groups, are not shown without the script.
    beyond_plain: Option<String>,
    beyond_groups: Option<String>,
    beyond_lead: Option<String>,
    judged_at: String,
    run_id: String,
    exit: u8,
    exit_meaning: &'static str,
    incomplete: bool,
    tiles: Vec<SummaryTile>,
    coverage: String,
    segments: Vec<BarSegment>,
    recall: String,
    freshness: Option<String>,
    scale: Option<SeverityScale>,
    content: Option<String>,
    reasons: Vec<String>,
    not_covered: Vec<String>,
    total: usize,
    total_text: String,
    severities: Vec<FilterChoice>,
    states: Vec<FilterChoice>,
    kinds: Vec<FilterChoice>,
    allowed: Option<AllowedRows>,
    services: Option<ServiceRows>,
    sites: Option<SiteRows>,
    facts: Vec<(&'static str, String, bool)>,
    notes: Vec<String>,
    meanings: Vec<(&'static str, &'static str)>,
}

struct SummaryTile {
    label: &'static str,
    number: String,
    zero: bool,
}

/// A piece of the coverage bar, in units of 1/1000 of its width.
struct BarSegment {
    class: &'static str,
    label: &'static str,
    number: String,
    share: String,
    x: u64,
    width: u64,
}

/// The scale of the recall estimate; places in units of 1/1000 of its width.
struct SeverityScale {
    from: String,
    low: u64,
    width: u64,
    estimate: u64,
    promise: u64,
}

/// A choice of a filter.
pub(crate) struct FilterChoice {
    pub(crate) value: &'static str,
    pub(crate) label: &'static str,
    pub(crate) number: String,
}

impl<'a> HtmlPage<'a> {
    fn new(v: &'a Verdict) -> Self {
        let h = words::build_headline(v);
        let total = v.findings.len();
        let number = |n: usize| words::group_digits(n as u64);
        let causes = CauseRows::new(v);
        let beyond = |all: usize, shown: usize| (all > shown).then(|| number(all - shown));
        let choices = |value: &'static str, label: &'static str, n: usize| {
            (n > 0).then(|| FilterChoice { value, label, number: number(n) })
        };
        Self {
            verdict: v,
            css: CSS,
            css_hash: hash(CSS),
            js: JS,
            js_hash: hash(JS),
            tone: match h.tone {
                VerdictTone::Clean => "clean",
                VerdictTone::Drift => "drift",
                VerdictTone::Incomplete => "incomplete",
                VerdictTone::Suspect => "suspect",
            },
            word: h.word,
            rest: h.rest,
            breakdown: words::format_state_counts(v),
            caution: h.caution,
            lead: PageSummary::new(v),
            beyond_plain: beyond(total, PLAIN),
            beyond_groups: beyond(causes.explained, PLAIN_GROUPS),
            beyond_lead: beyond(causes.explained, LEAD_GROUPS),
            causes,
            maps: RangeMaps::new(v),
            timeline: RunTimeline::new(v),
            judged_at: words::format_second(v.judged_at),
            run_id: clean(&v.run_id, NAME),
            exit: v.exit,
            exit_meaning: words::describe_exit_status(v.exit),
            incomplete: v.incomplete || v.suspect || v.exit == 3,
            tiles: tiles(v),
            coverage: words::format_cell_coverage(v),
            segments: segments(v),
            recall: words::format_recall(&v.coverage),
            freshness: v.coverage.freshness.as_ref().map(|f| f.sentence()),
            scale: SeverityScale::new(v),
            content: words::format_check_coverage(&v.coverage),
            reasons: sentences(&v.incomplete_because),
            not_covered: sentences(&v.coverage.not_covered),
            total,
            total_text: words::format_plural(total as u64, "finding"),
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
                    choices(s.as_str(), words::describe_state(*s), n)
                })
                .collect(),
            kinds: FindingKind::ALL
                .iter()
                .filter_map(|k| {
                    let n = v.findings.iter().filter(|f| f.kind == *k).count();
                    choices(k.as_str(), words::describe_kind(*k), n)
                })
                .collect(),
            allowed: AllowedRows::new(v),
            services: ServiceRows::new(v),
            sites: SiteRows::new(v),
            facts: facts(v),
            notes: sentences(&v.run.notes),
            meanings: words::STATES
                .iter()
                .map(|s| (words::describe_state(*s), words::explain_state(*s)))
                .collect(),
        }
    }

    /// The worst findings, as plain rows.
    fn plain(&self) -> impl Iterator<Item = FindingRow<'_>> {
        let names = list_other_names(self.verdict);
        let rows = sort_for_display(&self.verdict.findings).into_iter().take(PLAIN);
        rows.map(move |(n, f)| FindingRow::new(n, f, names.get(f.id.as_str())))
    }

    fn lead_groups(&self) -> &[CauseRow] {
        self.causes.first(LEAD_GROUPS)
    }

    fn plain_groups(&self) -> &[CauseRow] {
        self.causes.first(PLAIN_GROUPS)
    }

    fn island(&self) -> String {
        island::render_embedded_data(self.verdict, &self.causes, self.maps.as_ref())
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
            words::group_digits((list.len() - MAX_SENTENCES) as u64)
        ));
    }
    out
}

fn tiles(v: &Verdict) -> Vec<SummaryTile> {
    let c = &v.counts;
    [
        ("New in this run", c.new),
        ("Open", c.open),
        ("Missing", c.missing),
        ("Unverified", c.unverified),
        ("Resolving", c.resolving),
        ("Acknowledged", c.acknowledged),
        ("Flapping", c.flapping),
        ("Resolved", c.resolved),
        ("Allowed", c.allowed),
    ]
    .into_iter()
    .map(|(label, n)| SummaryTile { label, number: words::group_digits(n), zero: n == 0 })
    .collect()
}

fn segments(v: &Verdict) -> Vec<BarSegment> {
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
            let segment = BarSegment {
                class,
                label,
                number: words::group_digits(n),
                share: if n > 0 { words::format_percent(n, sum) } else { String::new() },
                x,
                width,
            };
            x += width;
            segment
        })
        .collect()
}

impl SeverityScale {
    fn new(v: &Verdict) -> Option<Self> {
        let c = &v.coverage;
        let in_range = |x: &f64| (0.0..=1.0).contains(x);
        let estimate = c.recall_estimate.filter(in_range)?;
        let (low, high) =
            words::select_finite_interval(c).filter(|(a, b)| in_range(a) && in_range(b))?;
        let promised = Some(c.recall_promised).filter(in_range)?;
        let least = low.min(promised).min(estimate);
        // A quarter more than needed on the left, so that the marks do not stand on the edge.
        let from = (1.0 - (1.0 - least) * 1.25 - 1e-9).max(0.0);
        let place =
            |x: f64| (((x - from) / (1.0 - from)).clamp(0.0, 1.0) * (BAR - 8) as f64) as u64;
        Some(Self {
            from: words::round_down(from, 5),
            low: place(low),
            width: (place(high) - place(low)).max(3),
            estimate: place(estimate),
            promise: place(promised),
        })
    }
}

fn facts(v: &Verdict) -> Vec<(&'static str, String, bool)> {
    let r = &v.run;
    let text = |s: &str, max: usize| words::replace_empty(&clean(s, max)).to_owned();
    let mut f = vec![
        ("When", words::format_run_time(v), false),
        ("Method", text(&r.method, NAME), false),
        ("Seen from", text(&r.vantage, NAME), false),
        ("Authorised by", text(&r.authorised_by, NAME), false),
        ("Targets", text(&r.targets.join(", "), MAX_LIST), true),
        ("Ports", text(&r.ports, MAX_LIST), true),
        ("Addresses", words::group_digits(r.addresses), false),
        ("Rate", words::format_rate(v), false),
        ("Packets", words::format_packets(v), false),
        ("Answers lost", words::group_digits(r.receive_drops), false),
    ];
    if r.canaries_total > 0 {
        f.push(("Canaries", format!("{} answered", words::format_canaries(v)), false));
    } else {
        f.push(("Canaries", "none configured".to_owned(), false));
    }
    f.push(("Not confirmed", words::format_unconfirmed(v), false));
    if v.counts.out_of_scope > 0 {
        f.push(("Left the scope", words::format_plural(v.counts.out_of_scope, "finding"), false));
    }
    f.push(("Scope SHA-256", text(&r.scope_digest, NAME), true));
    f.push(("Baseline SHA-256", text(&v.baseline_digest, NAME), true));
    f
}
