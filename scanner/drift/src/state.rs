//! The state between runs: what was already known.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_probes::format::{FormatFault, VersionedFormat, read_document};
use mimawari_probes::observation::{HttpObservation, Outcome, Severity};
use mimawari_targets::Port;
use serde::{Deserialize, Serialize};

use crate::freshness::Plans;
use crate::id::FindingId;
use crate::sites::Site;
use crate::verdict::{Acknowledgement, Finding, FindingKind, FindingState, RunSummary};

/// Major version of the state. Its minor version is 0, which is not written.
pub const VERSION: u32 = 1;

/// Everything that a later verdict needs of the earlier ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
    /// The run that changed it.
    pub last_run: Option<String>,
    /// Every finding there ever was, by id; settled ones too, so that one that comes back is known.
    pub findings: BTreeMap<String, Tracked>,
    /// What was seen and is allowed, by the id that it would have as a finding.
    pub allowed: BTreeMap<FindingId, Allowed>,
    /// When the parts of each plan were last covered; a state from before there were any has none.
    #[serde(default, skip_serializing_if = "Plans::is_empty")]
    pub plans: Plans,
    /// The inventory of web sites, sorted; a state from before there was one has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<Site>,
    /// Who knows of which finding, by its id; those whose time is over are forgotten.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub acknowledged: BTreeMap<String, Acknowledgement>,
    /// What is known of the baseline's rules, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, RuleUse>,
    /// The last runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<RunSummary>,
    /// When the last weekly summary was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_at: Option<Timestamp>,
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

/// What was last told of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Where it stood.
    pub what: Standing,
    /// When.
    pub at: Timestamp,
    /// How bad it was.
    pub severity: Severity,
    /// Whether it was told that it comes and goes.
    #[serde(default)]
    pub flapping: bool,
    /// How often something was told.
    pub count: u64,
}

/// Where a finding stands, as far as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It counts.
    Drift,
    /// It was seen to be gone.
    Resolved,
    /// A rule allows it.
    Allowed,
    /// Nobody looks any more.
    OutOfScope,
}

/// A finding and what is counted for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
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
    /// What was last told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

impl Tracked {
    /// It is settled by other than being seen: what it did before must not make it flap later.
    pub(crate) fn comes_to_rest(&mut self) {
        self.changes.clear();
        self.gone = false;
        self.missed = false;
        self.finding.flapping = false;
    }
}

/// A cell, content or property of a server that was there and allowed. There may be a million, so it
/// is held tightly; as text it is flat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "AllowedText", into = "AllowedText")]
pub struct Allowed {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    pub port: Port,
    /// What it is besides a cell.
    pub what: Option<Box<AllowedWhat>>,
    /// The rule that allowed it last.
    pub rule: Arc<str>,
    /// When first seen.
    pub first_seen: Timestamp,
    /// When last seen.
    pub last_seen: Timestamp,
    /// Whether it was gone in a run that was not believed because too much was gone at once.
    pub missed: bool,
    /// Whether the run that is being judged saw it; not part of the state.
    pub(crate) seen: bool,
}

/// A content, or what is no single path, at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedWhat {
    /// Virtual host, for content.
    pub host: Option<String>,
    /// Path, for content.
    pub path: Option<String>,
    /// Check.
    pub check: Option<String>,
    /// Severity it would have as a finding.
    pub severity: Option<Severity>,
}

#[derive(Serialize, Deserialize)]
struct AllowedText {
    ip: IpAddr,
    port: Port,
    host: Option<String>,
    path: Option<String>,
    check: Option<String>,
    severity: Option<Severity>,
    rule: String,
    first_seen: Timestamp,
    last_seen: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    missed: bool,
}

impl From<AllowedText> for Allowed {
    fn from(t: AllowedText) -> Self {
        let AllowedText { host, path, check, severity, .. } = t;
        let some = host.is_some() || path.is_some() || check.is_some() || severity.is_some();
        Self {
            ip: t.ip,
            port: t.port,
            what: some.then(|| Box::new(AllowedWhat { host, path, check, severity })),
            rule: t.rule.into(),
            first_seen: t.first_seen,
            last_seen: t.last_seen,
            missed: t.missed,
            seen: false,
        }
    }
}

impl From<Allowed> for AllowedText {
    fn from(a: Allowed) -> Self {
        let what = a.what.map(|w| *w);
        let (host, path, check, severity) =
            what.map_or((None, None, None, None), |w| (w.host, w.path, w.check, w.severity));
        Self {
            ip: a.ip,
            port: a.port,
            host,
            path,
            check,
            severity,
            rule: a.rule.as_ref().to_owned(),
            first_seen: a.first_seen,
            last_seen: a.last_seen,
            missed: a.missed,
        }
    }
}

impl Allowed {
    /// A cell seen at this time.
    #[must_use]
    pub fn cell(ip: IpAddr, port: Port, at: Timestamp) -> Self {
        let (first_seen, last_seen) = (at, at);
        Self {
            ip,
            port,
            what: None,
            rule: "".into(),
            first_seen,
            last_seen,
            missed: false,
            seen: false,
        }
    }

    /// Virtual host, for content.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.what.as_ref()?.host.as_deref()
    }

    /// Path, for content.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.what.as_ref()?.path.as_deref()
    }

    /// Check, for content and for what is no single path.
    #[must_use]
    pub fn check(&self) -> Option<&str> {
        self.what.as_ref()?.check.as_deref()
    }

    /// Severity it would have as a finding; absent for a cell.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.what.as_ref()?.severity
    }

    /// What it would be as a finding.
    #[must_use]
    pub fn kind(&self) -> FindingKind {
        match (self.path(), self.check()) {
            (Some(_), _) => FindingKind::ExposedContent,
            // The only check without a path.
            (None, Some(_)) => FindingKind::LegacyTls,
            (None, None) => FindingKind::UnexpectedOpen,
        }
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
            updated_at: None,
            last_run: None,
            findings: BTreeMap::new(),
            allowed: BTreeMap::new(),
            plans: Plans::new(),
            sites: Vec::new(),
            acknowledged: BTreeMap::new(),
            rules: BTreeMap::new(),
            timeline: Vec::new(),
            digest_at: None,
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
        h.outcome == Outcome::Exposed || hosts().is_some_and(|hosts| hosts.contains(&h.host))
    }
}

/// Why a text names no one finding that is drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// No finding is called so.
    None,
    /// It is settled.
    Settled(FindingState),
    /// Several are; the first few of their ids.
    Several(Vec<String>),
}

/// Digits of an id below which a beginning of it names nothing.
const MIN_DIGITS: usize = 6;

impl State {
    /// The finding that is drift and that a text names: by its id, at least six digits that it begins
    /// with, or address and port.
    ///
    /// # Errors
    /// [`NotFound`] when there is none, or more than one.
    pub fn find_drift(&self, text: &str) -> Result<&Finding, NotFound> {
        const SHOWN: usize = 5;
        let place: Option<SocketAddr> = text.parse().ok();
        let digits = text.to_ascii_lowercase();
        let is_meant = |f: &Finding| match place {
            Some(at) => f.ip == at.ip() && f.port.is_some_and(|p| p.get() == at.port()),
            None => digits.len() >= MIN_DIGITS && f.id.starts_with(&digits),
        };
        let meant: Vec<&Finding> =
            self.findings.values().map(|t| &t.finding).filter(|f| is_meant(f)).collect();
        let drift: Vec<&Finding> = meant.iter().copied().filter(|f| f.state.is_drift()).collect();
        match (&drift[..], &meant[..]) {
            ([one], _) => Ok(one),
            ([], []) => Err(NotFound::None),
            ([], [first, ..]) => Err(NotFound::Settled(first.state)),
            (several, _) => {
                Err(NotFound::Several(several.iter().take(SHOWN).map(|f| f.id.clone()).collect()))
            }
        }
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
            if let Some(path) = a.path() {
                known.add(a.ip, a.port, a.host(), path);
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
