//! What a verdict says of sites.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use mimawari_probes::observation::{DnsPointing, UrlScheme, WebObservation};
use mimawari_targets::Port;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SiteFact, cut, describe_dns_pointing};

/// A certificate that ends within this time is reported.
pub const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// A change of a site, as listed in a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteChange {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    #[schemars(with = "u16")]
    pub port: Port,
    /// `http` or `https`.
    pub scheme: UrlScheme,
    /// The virtual host; absent when the address itself was asked for.
    pub host: Option<String>,
    /// When the change was seen.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Which fact.
    pub what: SiteFact,
    /// Before, for people; absent for nothing.
    pub was: Option<String>,
    /// Now, for people; absent for nothing.
    pub now: Option<String>,
    /// When the site was last seen before: it changed between then and `at`.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// What a site's owner may want to know although it is neither drift nor a change.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// The certificate's time is over.
    CertificateExpired,
    /// It ends within 14 days.
    CertificateExpiring,
    /// It is not for the name that was asked for.
    CertificateMismatch,
    /// Issuer and subject are the same.
    CertificateSelfSigned,
    /// The name points at addresses outside the scope alone.
    NameElsewhere,
    /// The name does not exist, or has no address.
    NameNowhere,
}

impl NoticeKind {
    /// The word as in `verdict.json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateExpiring => "certificate-expiring",
            Self::CertificateMismatch => "certificate-mismatch",
            Self::CertificateSelfSigned => "certificate-self-signed",
            Self::NameElsewhere => "name-elsewhere",
            Self::NameNowhere => "name-nowhere",
        }
    }
}

/// A notice about a site, as listed in a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteNotice {
    /// Which.
    pub what: NoticeKind,
    /// Address.
    pub ip: IpAddr,
    /// Port.
    #[schemars(with = "u16")]
    pub port: Port,
    /// `http` or `https`.
    pub scheme: UrlScheme,
    /// The virtual host; absent when the address itself was asked for.
    pub host: Option<String>,
    /// When it was seen.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// One sentence about it.
    pub why: String,
}

/// Sites by what is to be reported of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteCounts {
    /// Sites that this run saw.
    pub seen: u64,
    /// Of those, seen for the first time.
    pub new: u64,
    /// Of those, with a change that is reported.
    pub changed: u64,
    /// Known ones in the scope that this run did not see. Nothing is said of them.
    pub not_seen: u64,
    /// Sites seen with a fact that changes so often that it is kept quiet.
    pub unsteady: u64,
    /// Changes, those beyond the list too.
    pub changes: u64,
    /// Certificates that have expired, by site.
    pub certificates_expired: u64,
    /// Certificates that expire within 14 days, by site.
    pub certificates_expiring: u64,
    /// Certificates for other names, by site.
    pub certificates_mismatched: u64,
    /// Self-signed certificates, by site.
    pub certificates_self_signed: u64,
    /// Names that point elsewhere or nowhere.
    pub names_gone: u64,
}

impl SiteCounts {
    /// Counts a notice.
    pub const fn add(&mut self, kind: NoticeKind) {
        let n = match kind {
            NoticeKind::CertificateExpired => &mut self.certificates_expired,
            NoticeKind::CertificateExpiring => &mut self.certificates_expiring,
            NoticeKind::CertificateMismatch => &mut self.certificates_mismatched,
            NoticeKind::CertificateSelfSigned => &mut self.certificates_self_signed,
            NoticeKind::NameElsewhere | NoticeKind::NameNowhere => &mut self.names_gone,
        };
        *n += 1;
    }
}

/// Notices about a site that was looked at, with or without an answer to `/`.
#[must_use]
pub fn collect_site_notices(seen: &WebObservation, now: Timestamp) -> Vec<(NoticeKind, String)> {
    let mut out = Vec::new();
    let certificate = seen.tls.as_ref().and_then(|t| t.certificate.as_ref());
    if let Some(c) = certificate {
        if let Some(end) = c.not_after {
            let left = end.duration_since(now);
            let day = end.strftime("%Y-%m-%d %H:%M UTC");
            if left.is_negative() {
                out.push((NoticeKind::CertificateExpired, format!("it ended {day}")));
            } else if left <= EXPIRES_SOON {
                let days = left.as_hours() / 24;
                let s = if days == 1 { "" } else { "s" };
                out.push((
                    NoticeKind::CertificateExpiring,
                    format!("it ends {day}, in {days} day{s}"),
                ));
            }
        }
        // Nobody asks for an address and means the certificate to be for it.
        if let (true, Some(_)) = (c.mismatch, &seen.host) {
            let names = match c.names.first() {
                Some(first) if c.names_total > 1 => {
                    format!("{} and {} more", cut(first), c.names_total - 1)
                }
                Some(first) => cut(first),
                None => "no name at all".to_owned(),
            };
            out.push((NoticeKind::CertificateMismatch, format!("it is for {names}")));
        }
        if c.self_signed {
            let why = "issuer and subject are the same".to_owned();
            out.push((NoticeKind::CertificateSelfSigned, why));
        }
    }
    match seen.dns {
        Some(d @ DnsPointing::Elsewhere) => {
            out.push((NoticeKind::NameElsewhere, describe_dns_pointing(d).to_owned()));
        }
        Some(d @ DnsPointing::Nowhere) => {
            out.push((NoticeKind::NameNowhere, describe_dns_pointing(d).to_owned()))
        }
        _ => {}
    }
    out
}
