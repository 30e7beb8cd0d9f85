//! A finding as the page shows it, whether as plain HTML or by the script.

use mimawari_drift::verdict::{Finding, FindingState};

use crate::clean::clean;
use crate::words::{self, NAME, SENTENCE};

/// A row of the table of findings.
pub(crate) struct FindingRow<'a> {
    pub(crate) finding: &'a Finding,
    /// What the finding is called in a link, behind `f-`.
    pub(crate) id: String,
    pub(crate) severity: &'static str,
    pub(crate) state: &'static str,
    pub(crate) marks: Vec<String>,
    pub(crate) endpoint: String,
    pub(crate) resource: Option<String>,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) service: String,
    pub(crate) last_seen: String,
    pub(crate) owner: String,
    /// Everything else, but when it was seen.
    pub(crate) details: Vec<(&'static str, String)>,
    /// When it was seen.
    pub(crate) seen: [(&'static str, String); 2],
}

impl<'a> FindingRow<'a> {
    /// The `n`-th finding of the verdict; `others` are the other names that its file is found under.
    pub(crate) fn new(n: usize, f: &'a Finding, others: Option<&String>) -> Self {
        Self {
            id: build_anchor(&f.id, n),
            severity: f.severity.as_str(),
            state: words::describe_state(f.state),
            marks: collect_marks(f),
            endpoint: words::format_endpoint(f),
            resource: words::format_resource(f),
            what: words::describe_finding(f),
            why: clean(&f.why, SENTENCE),
            service: f.service.as_deref().map_or_else(String::new, |s| clean(s, NAME)),
            last_seen: f.last_seen.strftime("%Y-%m-%d %H:%M").to_string(),
            owner: f.owner.as_deref().map_or_else(String::new, |s| clean(s, NAME)),
            details: collect_details(f, others),
            seen: [
                ("First seen", words::format_second(f.first_seen)),
                ("Last seen", words::format_second(f.last_seen)),
            ],
            finding: f,
        }
    }

    pub(crate) fn settled(&self) -> bool {
        is_settled(self.finding)
    }

    /// Pieces of the sentence; true for what it quotes.
    pub(crate) fn pieces(&self) -> Vec<(bool, String)> {
        split_quoted(&self.why)
    }
}

/// The findings in the order of the page: what counts before what may come to count before what is
/// settled; worst first, new before old, then by address. With each its place in the verdict.
pub(crate) fn sort_for_display(findings: &[Finding]) -> Vec<(usize, &Finding)> {
    let mut order: Vec<(usize, &Finding)> = findings.iter().enumerate().collect();
    order.sort_by_key(|(_, f)| {
        (rank_state(f), std::cmp::Reverse(f.severity), !f.new, f.ip, f.port, &f.host, &f.path)
    });
    order
}

fn collect_marks(f: &Finding) -> Vec<String> {
    let mut m = words::collect_marks(f);
    if f.acknowledged.is_some() {
        m.push("acknowledged".to_owned());
    }
    m
}

fn collect_details(f: &Finding, others: Option<&String>) -> Vec<(&'static str, String)> {
    let mut d = Vec::with_capacity(12);
    if let Some(title) = &f.title {
        d.push(("Title", clean(title, SENTENCE)));
    }
    if let Some(asked) = words::format_request(f) {
        d.push(("Asked", format!("{asked}, {}", words::RANGE)));
    }
    if let Some(e) = &f.evidence {
        d.push(("Answer", words::describe_evidence(e)));
        if let Some(certain) = words::explain_certainty(e) {
            d.push(("Certain", certain));
        }
        if !e.digest.is_empty() {
            d.push(("Digest (keyed)", clean(&e.digest, NAME)));
        }
    }
    if let Some(others) = others {
        d.push(("Same file under", others.clone()));
    }
    if let Some(remedy) = &f.remedy {
        d.push(("Remedy", clean(remedy, SENTENCE)));
    }
    // What made it a finding says nothing of one that is settled.
    if rank_state(f) < 2 {
        d.push(("Cause", words::describe_cause(f.cause).to_owned()));
    }
    if let Some(n) = &f.nearest {
        let name = |s: &str| clean(s, NAME);
        let missed = clean(&n.missed, SENTENCE);
        let (id, place, owner) = (name(&n.id), name(&n.place), name(&n.owner));
        d.push(("Nearest rule", format!("{id} at {place}, of {owner}: {missed}")));
    }
    if let Some(a) = &f.acknowledged {
        d.push((
            "Acknowledged",
            format!(
                "until {} by {} on {}: {}",
                words::format_minute(a.until),
                clean(&a.by, NAME),
                words::format_day(a.at),
                clean(&a.reason, SENTENCE)
            ),
        ));
    }
    if let Some(owner) = &f.owner {
        d.push(("Owner", clean(owner, NAME)));
    }
    if let Some(rule) = &f.allowed_by {
        d.push(("Allowed by rule", clean(rule, NAME)));
    }
    if !f.vantage.is_empty() {
        d.push(("Seen from", clean(&f.vantage, NAME)));
    }
    d
}

/// 0 for a finding that counts, 1 for one that may come to count, 2 for one that is settled.
fn rank_state(f: &Finding) -> u8 {
    match f.state {
        s if s.is_drift() => 0,
        FindingState::MissingPending => 1,
        _ => 2,
    }
}

/// Whether it neither counts nor may come to count.
pub(crate) fn is_settled(f: &Finding) -> bool {
    rank_state(f) == 2
}

/// A sentence in pieces, where pairs of back-ticks quote a name.
pub(crate) fn split_quoted(s: &str) -> Vec<(bool, String)> {
    if !s.matches('`').count().is_multiple_of(2) {
        return vec![(false, s.to_owned())];
    }
    s.split('`').enumerate().map(|(i, piece)| (i % 2 == 1, piece.to_owned())).collect()
}

/// The id of a finding as part of an element's id. An id is hex; whatever is not falls back to the
/// finding's number, so that no finding can take the place of another element of the page.
pub(crate) fn build_anchor(id: &str, n: usize) -> String {
    if (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        id.to_owned()
    } else {
        format!("row-{n}")
    }
}
