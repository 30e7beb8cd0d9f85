//! Web sites in the HTML page.

use mimawari_drift::sites::{SiteChange, SiteFact, SiteNotice};
use mimawari_drift::verdict::Verdict;

use super::FilterChoice;
use crate::clean::clean;
use crate::site_words;
use crate::words::{self, SENTENCE};

/// The section about sites.
pub(crate) struct SiteRows {
    pub(crate) summary: String,
    pub(crate) certificates: Option<String>,
    pub(crate) names: Option<String>,
    pub(crate) kinds: Vec<FilterChoice>,
    pub(crate) rows: Vec<SiteRow>,
    /// How many rows there are, and how many more the verdict counts and does not list.
    pub(crate) total: String,
    pub(crate) beyond: Option<String>,
}

/// A row of the table of sites: a change or a notice.
pub(crate) struct SiteRow {
    pub(crate) key: &'static str,
    pub(crate) what: &'static str,
    pub(crate) url: String,
    pub(crate) at: String,
    /// Before and now, of a change.
    pub(crate) change: Option<(String, String)>,
    pub(crate) why: String,
    pub(crate) seen: String,
}

impl SiteRows {
    /// `None` where there is nothing to say.
    pub(crate) fn new(v: &Verdict) -> Option<Self> {
        if !site_words::is_any(v) {
            return None;
        }
        let c = &v.sites;
        let rows: Vec<SiteRow> = v
            .site_changes
            .iter()
            .map(SiteRow::change)
            .chain(v.site_notices.iter().map(SiteRow::notice))
            .collect();
        let choice = |value: &'static str, label: &'static str| {
            let n = rows.iter().filter(|r| r.key == value).count() as u64;
            (n > 0).then(|| FilterChoice { value, label, number: words::group_digits(n) })
        };
        let changes = SiteFact::ALL
            .into_iter()
            .filter_map(|f| choice(f.as_str(), site_words::describe_fact(f)));
        let notices = site_words::NOTICES
            .into_iter()
            .filter_map(|k| choice(k.as_str(), site_words::describe_notice_kind(k)));
        let kinds = changes.chain(notices).collect();
        let all =
            site_words::GROUPS.iter().map(|(_, kinds)| site_words::count(c, kinds)).sum::<u64>();
        let beyond = site_words::count_unlisted(all.saturating_add(c.changes), rows.len());
        let certificates = site_words::format_certificate_counts(c);
        Some(Self {
            summary: site_words::format_site_counts(c),
            certificates: (!certificates.is_empty()).then_some(certificates),
            names: (c.names_gone > 0).then(|| words::group_digits(c.names_gone)),
            kinds,
            total: words::format_plural(rows.len() as u64, "row"),
            rows,
            beyond: (beyond > 0).then(|| words::group_digits(beyond)),
        })
    }
}

impl SiteRow {
    fn change(c: &SiteChange) -> Self {
        let (url, at) = site_words::locate_change(c);
        let side = |v: Option<&str>| v.map_or_else(|| "nothing".to_owned(), |s| clean(s, SENTENCE));
        Self {
            key: c.what.as_str(),
            what: site_words::describe_fact(c.what),
            url,
            at,
            change: Some((side(c.was.as_deref()), side(c.now.as_deref()))),
            why: format!("Seen so until {}.", words::format_minute(c.since)),
            seen: c.at.strftime("%Y-%m-%d %H:%M").to_string(),
        }
    }

    fn notice(n: &SiteNotice) -> Self {
        let (url, at) = site_words::locate_notice(n);
        Self {
            key: n.what.as_str(),
            what: site_words::describe_notice_kind(n.what),
            url,
            at,
            change: None,
            why: clean(&n.why, SENTENCE),
            seen: n.at.strftime("%Y-%m-%d %H:%M").to_string(),
        }
    }
}
