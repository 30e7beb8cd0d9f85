//! The verdict: what one run means, compared with the baseline and the state before it.

use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::format::VersionedFormat;
use mimawari_probes::gap::CoverageGap;
use mimawari_probes::observation::{HttpEvidence, Severity, UrlScheme};
use mimawari_targets::{AddrSet, Cell, Port, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::freshness::PartFreshness;
pub use crate::kind::FindingKind;
use crate::sites::{SiteChange, SiteCounts, SiteNotice};
use crate::subject::{PoolPlace, ServerFact, Subject};

/// Major version of `verdict.json`.
pub const VERSION: u32 = 1;
/// Minor version: 1 has `coverage.gaps`; 2 has `allowed`, `allowed_counts` and the `pool` of a finding; 3 has
/// `same_files`.
pub const MINOR: u32 = 3;

/// The verdict, `verdict.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Major version of the format, [`VERSION`].
    pub version: u32,
    /// Minor version of the format, [`MINOR`]; absent in version 1.0.
    #[serde(default)]
    pub minor: u32,
    /// Id of the judged run; several runs joined by `+`.
    pub run_id: String,
    /// When it was judged.
    #[schemars(with = "String")]
    pub judged_at: Timestamp,
    /// 0 clean and covered, 1 drift, 3 incomplete or to be decided without drift in what was covered.
    pub exit: u8,
    /// Whether something planned was not covered, or the run is suspect.
    pub incomplete: bool,
    /// Why it is incomplete, one sentence each; empty when it is not.
    pub incomplete_because: Vec<String>,
    /// Whether a run-level guard found the run not to be believed; then nothing is resolved but what the
    /// run before it missed, too.
    pub suspect: bool,
    /// What was covered, and how sure.
    pub coverage: VerdictCoverage,
    /// Findings by state.
    pub counts: FindingCounts,
    /// What a reader wants to know of the run.
    pub run: RunFacts,
    /// Digest of the baseline that was used, hex.
    pub baseline_digest: String,
    /// Every finding that is not settled, and those that this run settled; sorted by severity, then id.
    pub findings: Vec<Finding>,
    /// What changed of the findings in this run and is to be notified; sorted as the findings are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FindingChange>,
    /// Whether the weekly summary is due.
    #[serde(default)]
    pub digest_due: bool,
    /// The last runs, this one last; at most [`MAX_TIMELINE`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<RunSummary>,
    /// Where in each range something is: a picture of it in a few thousand cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<RangeMap>,
    /// Ports that another service answers at than before; at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_changes: Vec<ServiceChange>,
    /// What is there from this vantage and allowed, contents first, then by severity; at most
    /// [`MAX_ALLOWED`] of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<AllowedSubject>,
    /// How much is there from this vantage and allowed.
    #[serde(default)]
    pub allowed_counts: AllowedCounts,
    /// Web sites by what is to be reported of them. Inventory: none of it is drift.
    #[serde(default)]
    pub sites: SiteCounts,
    /// What changed of web sites, the most important first; at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_changes: Vec<SiteChange>,
    /// Certificates and names that somebody should look after; at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_notices: Vec<SiteNotice>,
    /// Findings that are one file under several names of an address; at most 1,000 such files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_files: Vec<SameFile>,
}

impl VersionedFormat for Verdict {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

/// Allowed things that a verdict lists; all are counted.
pub const MAX_ALLOWED: usize = 1_000;

/// Something that is there and that a live rule allows. Whoever allowed it did so once; the list keeps
/// it in sight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedSubject {
    /// The id that it would have as a finding.
    pub id: String,
    /// What it is: `192.0.2.1:22`, `192.0.2.1:80 shop.example.jp/.env`, `192.0.2.1:443 legacy-tls`, or
    /// an address for a whole host.
    #[schemars(with = "String")]
    pub subject: Subject,
    /// The kind of finding that it would be.
    pub kind: FindingKind,
    /// The severity that it would have as a finding.
    pub severity: Severity,
    /// The check that found a content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// The service that last answered at a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Id of the rule that allows it.
    pub rule: String,
    /// Who answers for the rule.
    pub owner: String,
    /// Why, as the rule says.
    pub reason: String,
    /// When first seen.
    #[schemars(with = "String")]
    pub first_seen: Timestamp,
    /// When last seen.
    #[schemars(with = "String")]
    pub last_seen: Timestamp,
}

/// How much is there and allowed, by what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedCounts {
    /// Contents.
    pub contents: u64,
    /// Facts of servers.
    pub servers: u64,
    /// Whole hosts.
    pub hosts: u64,
    /// Ports.
    pub ports: u64,
}

impl AllowedCounts {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.contents + self.servers + self.hosts + self.ports
    }
}

/// A change that is to be notified, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingChange {
    /// Which notification of which finding: its id and a count. Two runs never have one key.
    pub key: String,
    /// The finding's id.
    pub finding: String,
    /// What happened.
    pub what: ChangeKind,
}

/// What happened to a finding.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Drift that was not notified yet.
    Opened,
    /// Drift again, after it had been resolved, allowed or out of scope.
    Reopened,
    /// Still drift, and worse: of a higher severity than was notified.
    Worse,
    /// Still drift, and nobody has acknowledged it: sent once a day, and when an acknowledgement ends.
    Reminder,
    /// It comes and goes; while it does, it is only reminded of once a day.
    Flapping,
    /// It was seen to be gone.
    Resolved,
    /// A rule allows it now.
    Allowed,
    /// Its address left the scope, or its vantage was retired; it was not seen to be gone.
    OutOfScope,
    /// No live rule requires it any more; it was not seen open again.
    NotRequired,
}

impl ChangeKind {
    /// The word as in `verdict.json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reopened => "reopened",
            Self::Worse => "worse",
            Self::Reminder => "reminder",
            Self::Flapping => "flapping",
            Self::Resolved => "resolved",
            Self::Allowed => "allowed",
            Self::OutOfScope => "out_of_scope",
            Self::NotRequired => "not_required",
        }
    }

    /// Whether it asks somebody to act.
    #[must_use]
    pub const fn is_alarm(self) -> bool {
        matches!(
            self,
            Self::Opened | Self::Reopened | Self::Worse | Self::Reminder | Self::Flapping
        )
    }
}

/// Runs that the timeline holds.
pub const MAX_TIMELINE: usize = 200;

/// One run in the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Id of the run.
    pub run_id: String,
    /// From where it was seen.
    pub vantage: String,
    /// When it began, or was judged if that is not known.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The verdict's exit status.
    pub exit: u8,
    /// Whether the run was not to be believed.
    pub suspect: bool,
    /// Whether something planned was not covered.
    #[serde(default)]
    pub incomplete: bool,
    /// Cells planned.
    pub cells_planned: u64,
    /// Cells covered.
    pub cells_covered: u64,
    /// Expected share of the open cells that were found.
    pub recall_estimate: Option<f64>,
    /// Findings by state.
    pub counts: FindingCounts,
}

/// Cells of a map; a range of fewer addresses has one for each.
pub const MAP_CELLS: u32 = 4_096;

/// What is where in one range of the targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RangeMap {
    /// The CIDR that is drawn; the targets may leave parts of it out.
    pub range: String,
    /// Number of cells, a power of four, at most [`MAP_CELLS`]; cell `i` of `n` holds the `i`-th n-th of
    /// the CIDR's addresses.
    pub cells: u32,
    /// The cells that are not empty, by index.
    pub marks: Vec<MapMark>,
}

/// What is in one cell of a map: numbers of ports and contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MapMark {
    /// Which cell.
    pub index: u32,
    /// Open and allowed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub allowed: u32,
    /// Drift that is open or resolving.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unexpected: u32,
    /// Required and not open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u32,
    /// Drift that this run did not cover.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unverified: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What was covered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictCoverage {
    /// Cells of the plan.
    pub cells_planned: u64,
    /// Cells with a final state other than `not_probed`.
    pub cells_covered: u64,
    /// Cells by final state: open.
    pub open: u64,
    /// RST.
    pub closed: u64,
    /// ICMP.
    pub prohibited: u64,
    /// No answer to any attempt.
    pub silent: u64,
    /// Never sent, send failed, or interrupted.
    pub not_probed: u64,
    /// Expected share of the open cells that were found, 0–1; absent when nothing answered.
    pub recall_estimate: Option<f64>,
    /// 95 % interval of that estimate.
    pub recall_interval: Option<(f64, f64)>,
    /// The promise it is compared with.
    pub recall_promised: f64,
    /// Content checks planned: (target, path) pairs.
    pub checks_planned: u64,
    /// Content checks that ended in an outcome that can be believed.
    pub checks_covered: u64,
    /// What was not covered, by reason; each a sentence a person can act on.
    pub not_covered: Vec<String>,
    /// What was not covered, what is doubtful and what is noted, by kind; the lists of sentences are
    /// made of it. A verdict of a version before 1.1 has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<CoverageGap>,
    /// How old the coverage is; absent unless the plan is walked in parts or an age is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<PartFreshness>,
}

/// Findings by state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingCounts {
    /// Findings in state `open`.
    pub open: u64,
    /// Findings in state `unverified`.
    pub unverified: u64,
    /// Findings in state `resolving` (silent once).
    pub resolving: u64,
    /// Findings that this run resolved.
    pub resolved: u64,
    /// Observed open cells and contents that a live rule allows.
    pub allowed: u64,
    /// Required cells that are gone.
    pub missing: u64,
    /// Findings that left the scope in this run.
    pub out_of_scope: u64,
    /// Open answers that a second look in the same run refuted; dropped.
    pub unconfirmed: u64,
    /// Required cells that this run missed for the first time; the next covered run decides.
    #[serde(default)]
    pub undecided: u64,
    /// Findings first seen in this run.
    pub new: u64,
    /// Findings that are drift and that somebody has acknowledged for a time.
    #[serde(default)]
    pub acknowledged: u64,
    /// Findings that come and go.
    #[serde(default)]
    pub flapping: u64,
}

/// What a reader wants to know of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunFacts {
    /// When it began.
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
    /// `syn` or `connect`.
    pub method: String,
    /// The targets, as ranges.
    pub targets: Vec<String>,
    /// The ports, as a list.
    pub ports: String,
    /// Number of addresses.
    pub addresses: u64,
    /// Who authorised the scan, from the scope.
    pub authorised_by: String,
    /// SHA-256 of the scope, hex.
    pub scope_digest: String,
    /// From where it was seen.
    pub vantage: String,
    /// Packets per second: the ceiling.
    pub rate_asked: u32,
    /// Packets per second: reached.
    pub rate_reached: f64,
    /// Probes sent.
    pub packets_sent: u64,
    /// Sends that the system refused.
    pub send_failures: u64,
    /// Answers lost between the kernel and us.
    pub receive_drops: u64,
    /// Canaries that answered, of how many.
    pub canaries_answered: u32,
    /// Canaries configured.
    pub canaries_total: u32,
    /// Notes of the run worth a reader's time, one sentence each.
    pub notes: Vec<String>,
}

/// Where a finding stands in its life.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// Seen open and confirmed, and not agreed.
    Open,
    /// Was open; this run did not cover it. Still counts.
    Unverified,
    /// Was open; covered and silent once. Still counts.
    Resolving,
    /// Covered and closed, or silent in two covered runs.
    Resolved,
    /// A live rule allows it.
    Allowed,
    /// Its address left the scope.
    OutOfScope,
    /// A required cell, covered and not open once: to be decided by the next covered run.
    MissingPending,
    /// A required cell, covered and not open in two runs.
    Missing,
    /// Was missing; this run did not cover it. Still counts.
    MissingUnverified,
    /// Was missing, and no live rule requires it any more. It was not seen open again.
    NotRequired,
}

impl FindingState {
    /// The word as in `verdict.json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Unverified => "unverified",
            Self::Resolving => "resolving",
            Self::Resolved => "resolved",
            Self::Allowed => "allowed",
            Self::OutOfScope => "out_of_scope",
            Self::MissingPending => "missing_pending",
            Self::Missing => "missing",
            Self::MissingUnverified => "missing_unverified",
            Self::NotRequired => "not_required",
        }
    }

    /// Whether a finding in this state is drift (exit status 1).
    #[must_use]
    pub const fn is_drift(self) -> bool {
        matches!(
            self,
            Self::Open
                | Self::Unverified
                | Self::Resolving
                | Self::Missing
                | Self::MissingUnverified
        )
    }
}

/// Why a finding is a finding.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FindingCause {
    /// No rule has ever matched.
    Unmatched,
    /// No rule has ever matched, and no run of this state has looked at this port before: it may have
    /// been open for long.
    FirstLook,
    /// The rule that allowed it has expired.
    Expired,
    /// The rule that allowed it is gone from the baseline.
    Removed,
    /// A `never` rule forbids it.
    Forbidden,
    /// A `must` rule requires it.
    Required,
}

/// One finding. Identity is `kind | vantage | ip | proto | port [| host | path]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// First 16 hex digits of the SHA-256 of the identity.
    pub id: String,
    /// What kind.
    pub kind: FindingKind,
    /// From where it was seen.
    pub vantage: String,
    /// Protocol.
    #[schemars(with = "String")]
    pub proto: Protocol,
    /// Address.
    pub ip: IpAddr,
    /// Port; absent for a whole host.
    #[schemars(with = "Option<u16>")]
    pub port: Option<Port>,
    /// The addresses of which some must be open at the port; absent for all other findings. `ip` is the
    /// first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Box<FindingPool>>,
    /// `http` or `https`, for content. Not part of the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<UrlScheme>,
    /// Virtual host, for content.
    pub host: Option<String>,
    /// Path, for content.
    pub path: Option<String>,
    /// Check, for content.
    pub check: Option<String>,
    /// What is exposed, in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Where it stands.
    pub state: FindingState,
    /// Why it is one.
    pub cause: FindingCause,
    /// How bad.
    pub severity: Severity,
    /// When first seen.
    #[schemars(with = "String")]
    pub first_seen: Timestamp,
    /// When last seen with own eyes.
    #[schemars(with = "String")]
    pub last_seen: Timestamp,
    /// Whether this run saw it for the first time.
    pub new: bool,
    /// How often it came back after being resolved.
    pub reopened: u32,
    /// Whether it changes so often that it is kept quiet.
    pub flapping: bool,
    /// Whether it answered as open, and no second look in the same run could confirm or refute that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconfirmed: bool,
    /// Owner, from the rule or group nearest to it.
    pub owner: Option<String>,
    /// Id of the rule that allows it.
    pub allowed_by: Option<String>,
    /// Id of the rule that requires or forbids it, or allowed it until it expired or was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The rule nearest to it, and why that does not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<NearestRule>,
    /// Who knows of it, and until when it is quiet for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// One sentence that explains the state to a person.
    pub why: String,
    /// Service name and banner or title, printable, for people.
    pub service: Option<String>,
    /// Evidence of content.
    pub evidence: Option<HttpEvidence>,
}

/// Findings that are one file: the same bytes at the same path of one port, under several names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SameFile {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    #[schemars(with = "u16")]
    pub port: Port,
    /// Path.
    pub path: String,
    /// Check.
    pub check: String,
    /// Keyed digest of the file, as in the evidence of its findings.
    pub digest: String,
    /// Ids of the findings, two at least, in the order of the verdict.
    pub findings: Vec<String>,
    /// Their virtual hosts in the same order; `null` is the site without a name.
    pub hosts: Vec<Option<String>>,
}

impl Finding {
    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let Some(port) = self.port else { return Subject::Host(self.ip) };
        let place = |p: &FindingPool| PoolPlace::new(&p.addresses, self.proto, port);
        if let Some(pool) = self.pool.as_deref().and_then(place) {
            return Subject::Pool(Box::new(pool));
        }
        let cell = Cell::new(self.ip, self.proto, port);
        match (self.kind, &self.path) {
            (FindingKind::LegacyTls, _) => Subject::Server(cell, ServerFact::LegacyTls),
            (_, Some(path)) => Subject::content(cell, self.host.as_deref(), path),
            (_, None) => Subject::Port(cell),
        }
    }

    /// The cell that it is at; `None` for a whole host and for a pool.
    #[must_use]
    pub fn cell(&self) -> Option<Cell> {
        let port = self.port.filter(|_| self.pool.is_none())?;
        Some(Cell::new(self.ip, self.proto, port))
    }
}

/// A pool of addresses on some of which a port must be open, and how many of them it was open on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingPool {
    /// The addresses, as ranges.
    #[schemars(with = "Vec<String>")]
    pub addresses: AddrSet,
    /// On how many of them the port must be open.
    pub at_least: u64,
    /// On how many of them it was open.
    pub open: u64,
    /// Of how many of them nothing is known.
    pub unknown: u64,
}

/// The rule that comes nearest to allowing a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NearestRule {
    /// The rule's id.
    pub id: String,
    /// `file:line`.
    pub place: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it does not match, as half a sentence.
    pub missed: String,
}

/// A port that another service answers at than before. It is no drift by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceChange {
    /// Address.
    pub ip: IpAddr,
    /// Protocol.
    #[schemars(with = "String")]
    pub proto: Protocol,
    /// Port.
    #[schemars(with = "u16")]
    pub port: Port,
    /// The service that answered before.
    pub was: String,
    /// The service that answers now.
    pub now: String,
    /// When the earlier one was last seen: it changed between then and `at`.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// When the change was seen.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The rule that allows the port, if one does.
    pub allowed_by: Option<String>,
}

/// Somebody knows of a finding. It stays drift, and nobody is reminded of it until the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledgement {
    /// The instant from which on it is notified again.
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// When it was acknowledged.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why, or the ticket.
    pub reason: String,
}
