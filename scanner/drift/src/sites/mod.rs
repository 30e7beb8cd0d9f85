//! The inventory of web sites: what each showed when it was last seen, and what of that changed.
//!
//! A site is a virtual host at an address, port and scheme. Nothing of this is a finding, an identity
//! or a reason for an exit status. A site that a run did not see is neither changed nor gone: what
//! is known of it stays. A fact that changes in every run (a title with a clock in it) is reported
//! twice and then kept quiet until it holds still.

mod reported;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::observation::{DnsPointing, UrlScheme, WebObservation};
use mimawari_targets::Port;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use reported::{
    EXPIRES_SOON, NoticeKind, SiteChange, SiteCounts, SiteNotice, collect_site_notices,
};

/// Changes and notices that a verdict lists; all are counted.
pub const MAX_LISTED: usize = 1_000;
/// Sites that a state remembers; beyond, those seen longest ago go first.
pub const MAX_SITES: usize = 250_000;

/// A fact that changed in so many runs in a row is unsteady, and steady again after as many in which
/// it did not.
const RUNS: u8 = 3;
/// Longest text kept of one fact, in characters.
const MAX_TEXT: usize = 300;
/// Names of a certificate and paths that are kept.
const MAX_NAMES: usize = 32;
const MAX_PRESENT: usize = 200;

/// A fact of a site, the most important first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SiteFact {
    /// Text of `<title>`.
    Title,
    /// The certificate, by its SHA-256.
    Certificate,
    /// The picture, by its SHA-256.
    Favicon,
    /// Paths that exist and are no finding.
    Present,
    /// Where `/` redirects to.
    Redirect,
    /// Status of `/`.
    Status,
    /// TLS version.
    Tls,
    /// Where the name points.
    Dns,
    /// `Server` header.
    Server,
}

impl SiteFact {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Title,
        Self::Certificate,
        Self::Favicon,
        Self::Present,
        Self::Redirect,
        Self::Status,
        Self::Tls,
        Self::Dns,
        Self::Server,
    ];

    /// The word as in `verdict.json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Certificate => "certificate",
            Self::Favicon => "favicon",
            Self::Present => "present",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Tls => "tls",
            Self::Dns => "dns",
            Self::Server => "server",
        }
    }

    /// Whether nothing seen means that nobody could look: a picture may be missing because its answer
    /// was lost. Then nothing seen is no change, and the first value is learnt and not changed.
    const fn may_be_unknown(self) -> bool {
        matches!(self, Self::Certificate | Self::Favicon | Self::Tls | Self::Dns)
    }
}

/// A site: where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SiteKey {
    /// From where it was seen.
    pub vantage: String,
    /// Address.
    pub ip: IpAddr,
    /// Port.
    pub port: Port,
    /// `http` or `https`.
    pub scheme: UrlScheme,
    /// The virtual host; absent when the address itself was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// A site and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// Where it is.
    pub key: SiteKey,
    /// When first seen.
    pub first_seen: Timestamp,
    /// When last seen.
    pub last_seen: Timestamp,
    /// What it showed then.
    pub facts: SiteFacts,
    /// How steady its facts are; one that never changed has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trails: BTreeMap<SiteFact, FactHistory>,
}

/// What a site showed when it was last seen. Texts are bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFacts {
    /// Status of `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `Server` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Text of `<title>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where `/` redirects to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// SHA-256 of `/favicon.ico`, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub favicon_sha256: Option<String>,
    /// The leaf certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<SiteCertificate>,
    /// TLS version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Whether it speaks no TLS that a current client offers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
    /// Where the name points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsPointing>,
    /// Paths that exist and are no finding.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub present: BTreeSet<PresentSite>,
}

/// A leaf certificate, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCertificate {
    /// SHA-256, hex.
    pub sha256: String,
    /// The first names it is for.
    pub names: Vec<String>,
    /// End of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// A path that exists and is no finding, such as a script that was executed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PresentSite {
    /// Path and query, as sent.
    pub path: String,
    /// The check that was true of it.
    pub check: String,
}

/// How steady a fact is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactHistory {
    /// Runs in a row in which it changed.
    pub changed: u8,
    /// Runs in a row in which it did not, counted while it is unsteady.
    pub same: u8,
    /// Whether it is kept quiet.
    pub unsteady: bool,
    /// What was last reported of it, while it is kept quiet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "told")]
    pub reported: Option<String>,
}

/// A change before it has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactChange {
    /// Which fact.
    pub what: SiteFact,
    /// Before.
    pub was: Option<String>,
    /// Now.
    pub now: Option<String>,
    /// A new certificate for the same names by the same issuer: the least important of all changes.
    pub routine: bool,
}

impl SiteFacts {
    /// What is known after a site has been seen: what could not be looked at stays as it was.
    #[must_use]
    pub fn after(&self, seen: &WebObservation, present: BTreeSet<PresentSite>) -> Self {
        let tls = seen.tls.as_ref();
        Self {
            status: seen.status,
            server: seen.server.as_deref().map(cut),
            title: seen.title.as_deref().map(cut),
            location: seen.location.as_deref().map(cut),
            favicon_sha256: seen.favicon_sha256.as_deref().map(cut).or(self.favicon_sha256.clone()),
            certificate: SiteCertificate::of(seen).or_else(|| self.certificate.clone()),
            tls: tls.map(|t| cut(&t.version)).or_else(|| self.tls.clone()),
            legacy: tls.map_or(self.legacy, |t| t.legacy),
            dns: seen.dns.filter(|d| *d != DnsPointing::Unknown).or(self.dns),
            present: present.into_iter().take(MAX_PRESENT).collect(),
        }
    }

    /// Whether a fact is another one here.
    fn differs(&self, other: &Self, fact: SiteFact) -> bool {
        match fact {
            SiteFact::Title => self.title != other.title,
            SiteFact::Certificate => {
                let sha256 = |f: &Self| f.certificate.as_ref().map(|c| c.sha256.clone());
                sha256(self) != sha256(other)
            }
            SiteFact::Favicon => self.favicon_sha256 != other.favicon_sha256,
            SiteFact::Present => self.present != other.present,
            SiteFact::Redirect => self.location != other.location,
            SiteFact::Status => self.status != other.status,
            SiteFact::Tls => self.tls != other.tls,
            SiteFact::Dns => self.dns != other.dns,
            SiteFact::Server => self.server != other.server,
        }
    }

    /// A fact in words; `None` for nothing.
    fn shown(&self, fact: SiteFact) -> Option<String> {
        match fact {
            SiteFact::Title => self.title.clone(),
            SiteFact::Certificate => self.certificate.as_ref().map(SiteCertificate::shown),
            SiteFact::Favicon => self.favicon_sha256.as_deref().map(|s| format!("SHA-256 {s}")),
            SiteFact::Present => format_present_files(self.present.iter()),
            SiteFact::Redirect => self.location.clone(),
            SiteFact::Status => self.status.map(|s| s.to_string()),
            SiteFact::Tls => self.tls.clone(),
            SiteFact::Dns => self.dns.map(|d| describe_dns_pointing(d).to_owned()),
            SiteFact::Server => self.server.clone(),
        }
    }
}

impl SiteCertificate {
    fn of(seen: &WebObservation) -> Option<Self> {
        let tls = seen.tls.as_ref()?;
        let facts = tls.certificate.as_ref();
        Some(Self {
            sha256: cut(tls.certificate_sha256.as_deref()?),
            names: facts
                .map(|c| c.names.iter().take(MAX_NAMES).map(|n| cut(n)).collect())
                .unwrap_or_default(),
            not_after: facts.and_then(|c| c.not_after),
            issuer: facts.and_then(|c| c.issuer.as_deref()).map(cut),
        })
    }

    fn shown(&self) -> String {
        let mut s = String::new();
        if let Some(first) = self.names.first() {
            s.push_str(&format!("for {first}"));
            if self.names.len() > 1 {
                s.push_str(&format!(" and {} more", self.names.len() - 1));
            }
            s.push_str(", ");
        }
        if let Some(issuer) = &self.issuer {
            s.push_str(&format!("by {issuer}, "));
        }
        if let Some(end) = self.not_after {
            s.push_str(&format!("until {}, ", end.strftime("%Y-%m-%d")));
        }
        let digest: String = self.sha256.chars().take(16).collect();
        s.push_str(&format!("SHA-256 {digest}…"));
        s
    }

    /// Whether the other one is what a renewal brings.
    fn renews(&self, other: &Self) -> bool {
        self.names == other.names
            && self.issuer.is_some()
            && self.issuer == other.issuer
            && self.not_after > other.not_after
    }
}

impl SiteRecord {
    /// A site seen for the first time.
    #[must_use]
    pub fn first(key: SiteKey, facts: SiteFacts, at: Timestamp) -> Self {
        Self { key, first_seen: at, last_seen: at, facts, trails: BTreeMap::new() }
    }

    /// Takes what a run saw of it, and returns what is to be reported.
    pub fn see(&mut self, facts: SiteFacts, at: Timestamp) -> Vec<FactChange> {
        let mut changes = Vec::new();
        for what in SiteFact::ALL {
            let was = self.facts.shown(what);
            let learnt = was.is_none() && what.may_be_unknown();
            let changed = !learnt && self.facts.differs(&facts, what);
            let mut trail = self.trails.remove(&what).unwrap_or_default();
            let reported = trail.step(changed, &was, &facts.shown(what));
            if let Some((was, now)) = reported {
                let routine = what == SiteFact::Certificate
                    && facts
                        .certificate
                        .as_ref()
                        .zip(self.facts.certificate.as_ref())
                        .is_some_and(|(now, was)| now.renews(was));
                let (was, now) = if what == SiteFact::Present && changed {
                    // Of a list only what came and went.
                    let only = |a: &SiteFacts, b: &SiteFacts| {
                        format_present_files(a.present.difference(&b.present))
                    };
                    (only(&self.facts, &facts), only(&facts, &self.facts))
                } else {
                    (was, now)
                };
                changes.push(FactChange { what, was, now, routine });
            }
            if trail != FactHistory::default() {
                self.trails.insert(what, trail);
            }
        }
        self.facts = facts;
        // A clock that went back does not make it seen less lately.
        self.last_seen = self.last_seen.max(at);
        changes
    }

    /// Whether a fact of it is kept quiet.
    #[must_use]
    pub fn is_unsteady(&self) -> bool {
        self.trails.values().any(|t| t.unsteady)
    }
}

impl FactHistory {
    /// One more run. Returns before and now, if that is to be reported.
    fn step(
        &mut self,
        changed: bool,
        was: &Option<String>,
        now: &Option<String>,
    ) -> Option<(Option<String>, Option<String>)> {
        if changed {
            self.same = 0;
            self.changed = self.changed.saturating_add(1).min(RUNS);
            if !self.unsteady && self.changed >= RUNS {
                self.unsteady = true;
                self.reported.clone_from(was);
            }
            return (!self.unsteady).then(|| (was.clone(), now.clone()));
        }
        self.changed = 0;
        if !self.unsteady {
            return None;
        }
        self.same += 1;
        if self.same < RUNS {
            return None;
        }
        // It holds still. Where it came to rest is news, if it was not reported.
        let reported = self.reported.take();
        *self = Self::default();
        (reported != *now).then(|| (reported, now.clone()))
    }
}

/// Where a name points, in words.
const fn describe_dns_pointing(d: DnsPointing) -> &'static str {
    match d {
        DnsPointing::Here => "points here",
        DnsPointing::Ours => "points at other addresses of the scope",
        DnsPointing::Elsewhere => "points at addresses outside the scope",
        DnsPointing::Nowhere => "has no address",
        DnsPointing::Unknown => "unknown",
    }
}

fn format_present_files<'a>(present: impl Iterator<Item = &'a PresentSite>) -> Option<String> {
    let all: Vec<String> =
        present.map(|p| format!("{} ({})", cut(&p.path), cut(&p.check))).collect();
    let mut s = all.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > 5 {
        s.push_str(&format!(" and {} more", all.len() - 5));
    }
    (!all.is_empty()).then_some(s)
}

/// At most [`MAX_TEXT`] characters.
fn cut(s: &str) -> String {
    s.chars().take(MAX_TEXT).collect()
}
