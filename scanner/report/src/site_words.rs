//! What a verdict says of web sites, in the words that all renderers share.

use mimawari_drift::sites::{NoticeKind, SiteChange, SiteCounts, SiteFact, SiteNotice};
use mimawari_drift::verdict::Verdict;
use mimawari_targets::Cell;

use crate::clean::clean;
use crate::words::{self, SENTENCE, plural};

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
pub(crate) fn summary(c: &SiteCounts) -> String {
    let mut s = format!("{} seen, {} new", words::grouped(c.seen), words::grouped(c.new));
    s.push_str(&format!(", {} changed", words::grouped(c.changed)));
    if c.unsteady > 0 {
        s.push_str(&format!(
            "; {} with facts that change in every run",
            words::grouped(c.unsteady)
        ));
    }
    if c.not_seen > 0 {
        s.push_str(&format!(
            "; {} known and not seen in this run, of which nothing is said",
            words::grouped(c.not_seen)
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
pub(crate) fn certificates(c: &SiteCounts) -> String {
    let parts = [
        (c.certificates_expired, "expired"),
        (c.certificates_expiring, "expiring within 14 days"),
        (c.certificates_mismatched, "for another name"),
        (c.certificates_self_signed, "self-signed"),
    ];
    let said: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", words::grouped(*n)))
        .collect();
    said.join(", ")
}

/// How many changes of a list are not in the verdict.
pub(crate) fn beyond(total: u64, listed: usize) -> u64 {
    total.saturating_sub(listed as u64)
}

/// A fact as a person reads it.
pub(crate) const fn fact(f: SiteFact) -> &'static str {
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
pub(crate) const fn notice(k: NoticeKind) -> &'static str {
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
pub(crate) fn value(v: Option<&str>) -> String {
    v.map_or_else(|| "nothing".to_owned(), |s| format!("“{}”", clean(s, SENTENCE)))
}

/// What was, and until when it was seen so.
pub(crate) fn was(c: &SiteChange) -> String {
    format!("{} (until {})", value(c.was.as_deref()), words::minute(c.since))
}

/// A notice as a sentence.
pub(crate) fn said(n: &SiteNotice) -> String {
    let why = clean(&n.why, SENTENCE);
    match n.what {
        NoticeKind::NameElsewhere | NoticeKind::NameNowhere => why,
        kind => format!("{}: {why}", notice(kind)),
    }
}

/// The URL of a change's site, and the address that it was asked at.
pub(crate) fn change_place(c: &SiteChange) -> (String, String) {
    (words::url(Some(c.scheme), c.host.as_deref(), c.ip, Some(c.port)), at(c.ip, c.port))
}

/// The same for a notice.
pub(crate) fn notice_place(n: &SiteNotice) -> (String, String) {
    (words::url(Some(n.scheme), n.host.as_deref(), n.ip, Some(n.port)), at(n.ip, n.port))
}

fn at(ip: std::net::IpAddr, port: mimawari_targets::Port) -> String {
    Cell::tcp(ip, port).to_string()
}

/// The title of the list of changes.
pub(crate) fn title(c: &SiteCounts) -> String {
    format!("Changed sites: {} ({})", words::grouped(c.changed), plural(c.changes, "change"))
}
