//! The state between runs: what was already known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_probes::format::{FormatFault, VersionedFormat, read_document};
use mimawari_probes::observation::{ContentOutcome, HttpObservation, Severity};
use mimawari_targets::{Cell, Port, Protocol};
use serde::{Deserialize, Serialize};

use crate::freshness::FreshPlans;
use crate::id_map::IdMap;
use crate::outbox::Outbox;
use crate::sites::SiteRecord;
use crate::subject::{ServerFact, Subject};
use crate::verdict::{Acknowledgement, Finding, FindingState, RunSummary};

/// Major version of the state.
pub const VERSION: u32 = 1;
/// Minor version: 1 has `vantages`, `acknowledged_rules`, a finding's `pool` and an allowed port's `service`.
pub const MINOR: u32 = 1;
/// Minor version of a state with an outbox. Without one it is lower, so that an older
/// program finds what it knows.
pub const OUTBOX_MINOR: u32 = 2;

/// Everything that a later verdict needs of the earlier ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// Minor version of what is in it; absent in version 1.0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minor: u32,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
    /// The run that changed it.
    pub last_run: Option<String>,
    /// Every finding there ever was, by id; settled ones too, so that one that comes back is known.
    pub findings: BTreeMap<String, TrackedFinding>,
    /// What was seen and is allowed, by the id that it would have as a finding.
    pub allowed: IdMap<AllowedPort>,
    /// When the parts of each plan were last covered; a state from before there were any has none.
    #[serde(default, skip_serializing_if = "FreshPlans::is_empty")]
    pub plans: FreshPlans,
    /// The inventory of web sites, sorted; a state from before there was one has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteRecord>,
    /// Who knows of which finding, by its id; those whose time is over are forgotten.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub acknowledged: BTreeMap<String, Acknowledgement>,
    /// Work that is planned at what a rule speaks of, by the rule's id: its findings count as
    /// acknowledged, also those that are not there yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub acknowledged_rules: BTreeMap<String, Acknowledgement>,
    /// What was looked at from each vantage, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vantages: BTreeMap<String, VantageRecord>,
    /// What is known of the baseline's rules, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, RuleUse>,
    /// The last runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<RunSummary>,
    /// When the last weekly summary was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_at: Option<Timestamp>,
    /// What receivers have not taken yet; absent before version 1.1.
    #[serde(default, skip_serializing_if = "Outbox::is_empty")]
    pub outbox: Outbox,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Whether a rule is still needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleUse {
    /// When the rule was first judged by.
    pub since: Timestamp,
    /// When something that it allows or requires was last seen.
    pub last_seen: Option<Timestamp>,
    /// Runs since then that covered all of its cells and saw nothing of it.
    pub unseen_runs: u32,
}

/// What was last notified of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifiedRecord {
    /// Where it stood.
    pub what: NotifiedState,
    /// When.
    pub at: Timestamp,
    /// How bad it was.
    pub severity: Severity,
    /// Whether it was notified that it comes and goes.
    #[serde(default)]
    pub flapping: bool,
    /// How often something was notified.
    pub count: u64,
}

/// The state of a finding, as far as it is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifiedState {
    /// It counts.
    Drift,
    /// It was seen to be gone.
    Resolved,
    /// A rule allows it.
    Allowed,
    /// Nobody looks any more.
    OutOfScope,
    /// Nothing requires it any more.
    NotRequired,
}

/// What is known of a vantage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VantageRecord {
    /// When its last run began.
    pub last_run: Timestamp,
    /// Where its runs looked, so that what is looked at for the first time can be named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked_at: Vec<LookedArea>,
}

/// A plan that was covered: its addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedArea {
    /// The addresses, as ranges.
    pub addresses: Vec<String>,
    /// The ports, as a list.
    pub ports: String,
}

/// A finding and what is counted for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackedFinding {
    /// As last reported.
    pub finding: Finding,
    /// Covered runs in a row that found it silent.
    pub silent_runs: u32,
    /// Covered runs in a row that found a required cell not open.
    pub missed_runs: u32,
    /// Covered runs since it was first seen.
    pub covered_runs: u64,
    /// The covered runs, by that count, in which it changed between there and gone.
    pub changes: Vec<u64>,
    /// Whether the last look that covered it found it gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Whether silence resolved it, which proves less than a refusal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_silence: bool,
    /// When the run began that resolved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<Timestamp>,
    /// Whether it was gone in a run that was not believed because too much was gone at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
    /// Of a host that answers on everything, the ports that were probed when it last did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// What was last notified of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "told")]
    pub notified: Option<NotifiedRecord>,
}

/// Something that was there and is allowed. There may be a million, so it is kept small; as text it is
/// flat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "AllowedText", into = "AllowedText")]
pub struct AllowedPort {
    /// What it is.
    pub subject: Subject,
    /// What is known of a content, or of a fact of a server.
    pub detail: Option<Box<AllowedDetail>>,
    /// The service that last answered at a port.
    pub service: ServiceName,
    /// The rule that allowed it last.
    pub rule: Arc<str>,
    /// When first seen.
    pub first_seen: Timestamp,
    /// When last seen.
    pub last_seen: Timestamp,
    /// Whether it was gone in a run that was not believed because too much was gone at once.
    pub missed: bool,
    /// Whether it is known to be there from the vantage of the run that is being judged; not part of the
    /// state.
    pub(crate) is_here: bool,
}

/// What is known of an allowed content, or of an allowed fact of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedDetail {
    /// Check.
    pub check: Option<String>,
    /// Severity it would have as a finding.
    pub severity: Option<Severity>,
}

/// The short name of a service, kept in place: a state has a million.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceName([u8; 15]);

impl ServiceName {
    /// The name, cut to fifteen letters; what is unknown has none.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut out = [0; 15];
        if name.is_ascii() && name != "unknown" {
            for (to, from) in out.iter_mut().zip(name.bytes()) {
                *to = from;
            }
        }
        Self(out)
    }

    /// The name; empty if it is not known.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        // Only ASCII is ever put in.
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }

    /// Whether it is not known.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.0[0] == 0
    }
}

impl std::fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Unknown fields are ignored.
#[derive(Serialize, Deserialize)]
struct AllowedText {
    ip: IpAddr,
    /// Absent for TCP.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    proto: Protocol,
    /// Absent for a whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    host: Option<String>,
    path: Option<String>,
    check: Option<String>,
    severity: Option<Severity>,
    rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    first_seen: Timestamp,
    last_seen: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    missed: bool,
}

impl From<AllowedText> for AllowedPort {
    fn from(t: AllowedText) -> Self {
        let legacy = t.check.as_deref() == Some(ServerFact::LegacyTls.as_str());
        let subject = match (t.port.map(|port| Cell::new(t.ip, t.proto, port)), &t.path) {
            (None, _) => Subject::Host(t.ip),
            (Some(cell), Some(path)) => Subject::content(cell, t.host.as_deref(), path),
            (Some(cell), None) if legacy => Subject::Server(cell, ServerFact::LegacyTls),
            (Some(cell), None) => Subject::Port(cell),
        };
        let (check, severity) = (t.check, t.severity);
        let some = check.is_some() || severity.is_some();
        Self {
            subject,
            detail: some.then(|| Box::new(AllowedDetail { check, severity })),
            service: t.service.as_deref().map(ServiceName::new).unwrap_or_default(),
            rule: t.rule.into(),
            first_seen: t.first_seen,
            last_seen: t.last_seen,
            missed: t.missed,
            is_here: false,
        }
    }
}

impl From<AllowedPort> for AllowedText {
    fn from(a: AllowedPort) -> Self {
        let service = (!a.service.is_unknown()).then(|| a.service.as_str().to_owned());
        let (check, severity) = a.detail.map_or((None, None), |d| (d.check, d.severity));
        Self {
            ip: a.subject.ip(),
            proto: a.subject.proto(),
            port: a.subject.port(),
            host: a.subject.host().map(str::to_owned),
            path: a.subject.path().map(str::to_owned),
            check,
            severity,
            rule: a.rule.as_ref().to_owned(),
            service,
            first_seen: a.first_seen,
            last_seen: a.last_seen,
            missed: a.missed,
        }
    }
}

impl AllowedPort {
    /// A thing that a rule, by its id, allows and that was seen at this time.
    #[must_use]
    pub fn new(subject: Subject, rule: Arc<str>, at: Timestamp) -> Self {
        let (first_seen, last_seen) = (at, at);
        Self {
            subject,
            detail: None,
            service: ServiceName::default(),
            rule,
            first_seen,
            last_seen,
            missed: false,
            is_here: false,
        }
    }

    /// The same with what is known of a content, or of a fact of a server.
    #[must_use]
    pub fn with_detail(mut self, check: Option<&str>, severity: Severity) -> Self {
        let (check, severity) = (check.map(str::to_owned), Some(severity));
        self.detail = Some(Box::new(AllowedDetail { check, severity }));
        self
    }

    /// Check, for a content and for a fact of a server.
    #[must_use]
    pub fn check(&self) -> Option<&str> {
        self.detail.as_ref()?.check.as_deref()
    }

    /// Severity it would have as a finding; absent for a port.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.detail.as_ref()?.severity
    }
}

impl VersionedFormat for State {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            minor: 0,
            updated_at: None,
            last_run: None,
            findings: BTreeMap::new(),
            allowed: IdMap::default(),
            plans: FreshPlans::new(),
            sites: Vec::new(),
            acknowledged: BTreeMap::new(),
            acknowledged_rules: BTreeMap::new(),
            vantages: BTreeMap::new(),
            rules: BTreeMap::new(),
            timeline: Vec::new(),
            digest_at: None,
            outbox: Outbox::default(),
        }
    }
}

/// The contents that a state knows of: findings, what was allowed, and inventory.
#[derive(Debug, Clone, Default)]
pub struct KnownContents(BTreeMap<(IpAddr, Port), HostsByPath>);

type HostsByPath = BTreeMap<String, Vec<Option<String>>>;

impl KnownContents {
    fn add(&mut self, ip: IpAddr, port: Port, host: Option<&str>, path: &str) {
        let paths = self.0.entry((ip, port)).or_default();
        paths.entry(path.to_owned()).or_default().push(host.map(str::to_owned));
    }

    /// Whether the outcome of this check can change a verdict: something is exposed, or was. All
    /// others, which are nearly all, need not be kept.
    #[must_use]
    pub fn needs(&self, h: &HttpObservation) -> bool {
        let hosts = || self.0.get(&(h.ip, h.port))?.get(h.path.as_str());
        h.outcome == ContentOutcome::Exposed || hosts().is_some_and(|hosts| hosts.contains(&h.host))
    }
}

/// Why a text names no one finding that is drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AckTarget {
    /// No finding is called so.
    None,
    /// It is settled.
    Settled(FindingState),
    /// Several are; the first few of their ids.
    Several(Vec<String>),
}

/// What the end of a vantage settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetiredVantage {
    /// Findings that nobody looks at any more.
    pub findings: u64,
    /// Allowed things that are forgotten.
    pub allowed: u64,
}

/// Digits of an id below which a beginning of it names nothing.
const MIN_DIGITS: usize = 6;

impl State {
    /// The finding that is drift and that a text names: by its id, at least six digits that it begins
    /// with, or address and port.
    ///
    /// # Errors
    /// [`AckTarget`] when there is none, or more than one.
    pub fn find_drift(&self, text: &str) -> Result<&Finding, AckTarget> {
        const SHOWN: usize = 5;
        let place: Option<Cell> = text.parse().ok();
        let digits = text.to_ascii_lowercase();
        let is_meant = |f: &Finding| match place {
            Some(at) => f.subject().cell() == Some(at),
            None => digits.len() >= MIN_DIGITS && f.id.starts_with(&digits),
        };
        let meant: Vec<&Finding> =
            self.findings.values().map(|t| &t.finding).filter(|f| is_meant(f)).collect();
        let drift: Vec<&Finding> = meant.iter().copied().filter(|f| f.state.is_drift()).collect();
        match (&drift[..], &meant[..]) {
            ([one], _) => Ok(one),
            ([], []) => Err(AckTarget::None),
            ([], [first, ..]) => Err(AckTarget::Settled(first.state)),
            (several, _) => {
                Err(AckTarget::Several(several.iter().take(SHOWN).map(|f| f.id.clone()).collect()))
            }
        }
    }

    /// All findings that are drift and that a text names: as [`Self::find_drift`], or by an address.
    #[must_use]
    pub fn find_all_drift(&self, text: &str) -> Vec<&Finding> {
        let ip: Option<IpAddr> = text.parse().ok();
        let cell: Option<Cell> = text.parse().ok();
        let digits = text.to_ascii_lowercase();
        let is_meant = |f: &&Finding| match (ip, cell) {
            // A pool is of no one host.
            (Some(ip), _) => f.ip == ip && f.pool.is_none(),
            (_, Some(cell)) => f.subject().cell() == Some(cell),
            _ => digits.len() >= MIN_DIGITS && f.id.starts_with(&digits),
        };
        let drift = self.findings.values().map(|t| &t.finding).filter(|f| f.state.is_drift());
        drift.filter(is_meant).collect()
    }

    /// The vantages from which something is known.
    #[must_use]
    pub fn known_vantages(&self) -> BTreeSet<&str> {
        let findings = self.findings.values().map(|t| t.finding.vantage.as_str());
        findings.chain(self.vantages.keys().map(String::as_str)).collect()
    }

    /// The contents that it knows of.
    #[must_use]
    pub fn known_contents(&self) -> KnownContents {
        let mut known = KnownContents::default();
        let findings = self.findings.values().map(|t| &t.finding);
        for f in findings {
            if let (Some(port), Some(path)) = (f.port, &f.path) {
                known.add(f.ip, port, f.host.as_deref(), path);
            }
        }
        for a in self.allowed.values() {
            if let Subject::Content(place) = &a.subject {
                known.add(place.cell.ip, place.cell.port, place.host.as_deref(), &place.path);
            }
        }
        for site in &self.sites {
            let key = &site.key;
            for present in &site.facts.present {
                known.add(key.ip, key.port, key.host.as_deref(), &present.path);
            }
        }
        known
    }

    /// Reads a state. It is never taken for empty.
    ///
    /// # Errors
    /// [`FormatFault`]: a newer state is not called damaged.
    pub fn parse(text: &str) -> Result<Self, FormatFault> {
        read_document(text.as_bytes())
    }
}
