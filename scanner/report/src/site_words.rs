//! What a verdict says of web sites, in the words that all renderers share.

use mimawari_drift::sites::{NoticeKind, SiteChange, SiteCounts, SiteFact, SiteNotice};
use mimawari_drift::verdict::Verdict;
use mimawari_targets::Cell;

use crate::clean::clean;
use crate::words::{self, SENTENCE, format_plural};

/// The kinds of notices in the order of the type.
pub(crate) const NOTICES: [NoticeKind; 6] = [
    NoticeKind::CertificateExpired,
    NoticeKind::CertificateExpiring,
    NoticeKind::CertificateMismatch,
    NoticeKind::CertificateSelfSigned,
    NoticeKind::NameElsewhere,
    NoticeKind::NameNowhere,
];

/// Notices together, with a title: names, then certificates.
pub(crate) const GROUPS: [(&str, &[NoticeKind]); 2] = [
    ("Names that no longer point here", &[NoticeKind::NameElsewhere, NoticeKind::NameNowhere]),
    (
        "Certificates to look after",
        &[
            NoticeKind::CertificateExpired,
            NoticeKind::CertificateExpiring,
            NoticeKind::CertificateMismatch,
            NoticeKind::CertificateSelfSigned,
        ],
    ),
];

/// Whether there is anything to say of sites.
pub(crate) fn is_any(v: &Verdict) -> bool {
    v.sites != SiteCounts::default() || !v.site_changes.is_empty() || !v.site_notices.is_empty()
}

/// The sites in one line.
pub(crate) fn format_site_counts(c: &SiteCounts) -> String {
    let mut s = format!("{} seen, {} new", words::group_digits(c.seen), words::group_digits(c.new));
    s.push_str(&format!(", {} changed", words::group_digits(c.changed)));
    if c.unsteady > 0 {
        s.push_str(&format!(
            "; {} with facts that change in every run",
            words::group_digits(c.unsteady)
        ));
    }
    if c.not_seen > 0 {
        s.push_str(&format!(
            "; {} known and not seen in this run, of which nothing is said",
            words::group_digits(c.not_seen)
        ));
    }
    s
}

/// How many notices of these kinds there are in all.
pub(crate) fn count(c: &SiteCounts, kinds: &[NoticeKind]) -> u64 {
    if kinds.contains(&NoticeKind::NameElsewhere) {
        return c.names_gone;
    }
    c.certificates_expired
        + c.certificates_expiring
        + c.certificates_mismatched
        + c.certificates_self_signed
}

/// The notices about certificates by kind: `1 expired, 2 expiring`.
pub(crate) fn format_certificate_counts(c: &SiteCounts) -> String {
    let parts = [
        (c.certificates_expired, "expired"),
        (c.certificates_expiring, "expiring within 14 days"),
        (c.certificates_mismatched, "for another name"),
        (c.certificates_self_signed, "self-signed"),
    ];
    let said: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", words::group_digits(*n)))
        .collect();
    said.join(", ")
}

/// How many changes of a list are not in the verdict.
pub(crate) fn count_unlisted(total: u64, listed: usize) -> u64 {
    total.saturating_sub(listed as u64)
}

/// A fact as a person reads it.
pub(crate) const fn describe_fact(f: SiteFact) -> &'static str {
    match f {
        SiteFact::Title => "title",
        SiteFact::Certificate => "certificate",
        SiteFact::Favicon => "favicon",
        SiteFact::Present => "files present",
        SiteFact::Redirect => "redirect",
        SiteFact::Status => "status",
        SiteFact::Tls => "TLS version",
        SiteFact::Dns => "DNS",
        SiteFact::Server => "server",
    }
}

/// A notice's kind as a person reads it.
pub(crate) const fn describe_notice_kind(k: NoticeKind) -> &'static str {
    match k {
        NoticeKind::CertificateExpired => "certificate expired",
        NoticeKind::CertificateExpiring => "certificate expires soon",
        NoticeKind::CertificateMismatch => "certificate for another name",
        NoticeKind::CertificateSelfSigned => "self-signed certificate",
        NoticeKind::NameElsewhere => "name points elsewhere",
        NoticeKind::NameNowhere => "name has no address",
    }
}

/// A value before or after a change.
pub(crate) fn format_value(v: Option<&str>) -> String {
    v.map_or_else(|| "nothing".to_owned(), |s| format!("“{}”", clean(s, SENTENCE)))
}

/// What was, and until when it was seen so.
pub(crate) fn format_previous_value(c: &SiteChange) -> String {
    format!("{} (until {})", format_value(c.was.as_deref()), words::format_minute(c.since))
}

/// A notice as a sentence.
pub(crate) fn format_notice(n: &SiteNotice) -> String {
    let why = clean(&n.why, SENTENCE);
    match n.what {
        NoticeKind::NameElsewhere | NoticeKind::NameNowhere => why,
        kind => format!("{}: {why}", describe_notice_kind(kind)),
    }
}

/// The URL of a change's site, and the address that it was asked at.
pub(crate) fn locate_change(c: &SiteChange) -> (String, String) {
    (
        words::format_url(Some(c.scheme), c.host.as_deref(), c.ip, Some(c.port)),
        format_endpoint(c.ip, c.port),
    )
}

/// The same for a notice.
pub(crate) fn locate_notice(n: &SiteNotice) -> (String, String) {
    (
        words::format_url(Some(n.scheme), n.host.as_deref(), n.ip, Some(n.port)),
        format_endpoint(n.ip, n.port),
    )
}

fn format_endpoint(ip: std::net::IpAddr, port: mimawari_targets::Port) -> String {
    Cell::tcp(ip, port).to_string()
}

/// The title of the list of changes.
pub(crate) fn format_title(c: &SiteCounts) -> String {
    format!(
        "Changed sites: {} ({})",
        words::group_digits(c.changed),
        format_plural(c.changes, "change")
    )
}
