//! What is allowed, and ports with another service than before, in the HTML page.

use mimawari_drift::verdict::{AllowedSubject, ServiceChange, Verdict};

use crate::allowed_words;
use crate::clean::clean;
use crate::words::{self, NAME, SENTENCE};

/// Rows of either table.
const MAX_ROWS: usize = 500;

/// The section about what is allowed.
pub(crate) struct AllowedRows {
    pub(crate) summary: String,
    pub(crate) rows: Vec<AllowedRow>,
    /// How many have no row.
    pub(crate) beyond: Option<String>,
}

/// Something that is allowed.
pub(crate) struct AllowedRow {
    pub(crate) severity: &'static str,
    pub(crate) place: String,
    pub(crate) what: String,
    pub(crate) rule: String,
    pub(crate) owner: String,
    pub(crate) reason: String,
    pub(crate) last_seen: String,
}

impl AllowedRows {
    /// `None` where nothing is allowed.
    pub(crate) fn new(v: &Verdict) -> Option<Self> {
        if v.allowed_counts.total() == 0 {
            return None;
        }
        let rows: Vec<AllowedRow> = v.allowed.iter().take(MAX_ROWS).map(AllowedRow::new).collect();
        let beyond = allowed_words::count_hidden(v, rows.len());
        let beyond = (beyond > 0).then(|| words::group_digits(beyond));
        Some(Self { summary: allowed_words::format_counts(v), rows, beyond })
    }
}

impl AllowedRow {
    fn new(a: &AllowedSubject) -> Self {
        Self {
            severity: a.severity.as_str(),
            place: allowed_words::format_location(a),
            what: allowed_words::describe_subject(a),
            rule: clean(&a.rule, NAME),
            owner: clean(&a.owner, NAME),
            reason: clean(&a.reason, SENTENCE),
            last_seen: a.last_seen.strftime("%Y-%m-%d %H:%M").to_string(),
        }
    }
}

/// The section about ports with another service than before.
pub(crate) struct ServiceRows {
    pub(crate) rows: Vec<ServiceRow>,
    /// How many have no row.
    pub(crate) beyond: Option<String>,
}

/// A port with another service than before.
pub(crate) struct ServiceRow {
    pub(crate) place: String,
    pub(crate) was: String,
    pub(crate) now: String,
    /// The rule that allows the port; empty if none does.
    pub(crate) rule: String,
    pub(crate) since: String,
    pub(crate) at: String,
}

impl ServiceRows {
    /// `None` where no service changed.
    pub(crate) fn new(v: &Verdict) -> Option<Self> {
        let all = &v.service_changes;
        let rows = all.iter().take(MAX_ROWS).map(ServiceRow::new).collect();
        let beyond = all.len().saturating_sub(MAX_ROWS) as u64;
        let beyond = (beyond > 0).then(|| words::group_digits(beyond));
        (!all.is_empty()).then_some(Self { rows, beyond })
    }
}

impl ServiceRow {
    fn new(c: &ServiceChange) -> Self {
        let time = |t: jiff::Timestamp| t.strftime("%Y-%m-%d %H:%M").to_string();
        Self {
            place: words::format_address(c.ip, Some(c.port), c.proto),
            was: clean(&c.was, NAME),
            now: clean(&c.now, NAME),
            rule: c.allowed_by.as_deref().map_or_else(String::new, |r| clean(r, NAME)),
            since: time(c.since),
            at: time(c.at),
        }
    }
}
