//! The verdict: what one run, held against the baseline and the state before it, means.

use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::observation::{Evidence, Scheme, Severity};
use mimawari_targets::{Port, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::freshness::Freshness;
use crate::sites::{SiteChange, SiteCounts, SiteNotice};

/// Version of `verdict.json`.
pub const VERSION: u32 = 1;

/// The verdict, `verdict.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// Id of the judged run; several runs joined by `+`.
    pub run_id: String,
    /// When it was judged.
    #[schemars(with = "String")]
    pub judged_at: Timestamp,
    /// 0 clean and covered, 1 drift, 3 incomplete without drift in what was covered.
    pub exit: u8,
    /// Whether something planned was not covered, or the run is suspect.
    pub incomplete: bool,
    /// Why it is incomplete, one sentence each; empty when it is not.
    pub incomplete_because: Vec<String>,
    /// Whether a run-level guard found the run not to be believed; then nothing is resolved.
    pub suspect: bool,
    /// What was covered, and how sure.
    pub coverage: Coverage,
    /// Findings by state.
    pub counts: Counts,
    /// What a reader wants to know of the run.
    pub run: RunFacts,
    /// Digest of the baseline that was used, hex.
    pub baseline_digest: String,
    /// Every finding that is not settled, and those that this run settled; sorted by severity, then id.
    pub findings: Vec<Finding>,
    /// Web sites by what is to be told of them. Inventory: none of it is drift.
    #[serde(default)]
    pub sites: SiteCounts,
    /// What changed of web sites, the most telling first; at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_changes: Vec<SiteChange>,
    /// Certificates and names that somebody should look after; at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_notices: Vec<SiteNotice>,
}

/// What was covered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
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
    /// The promise it is held against.
    pub recall_promised: f64,
    /// Content checks planned: (target, path) pairs.
    pub checks_planned: u64,
    /// Content checks that ended in an outcome that can be believed.
    pub checks_covered: u64,
    /// What was not covered, by reason; each a sentence a person can act on.
    pub not_covered: Vec<String>,
    /// How old the coverage is; absent unless the plan is walked in parts or an age is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
}

/// Findings by state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counts {
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
    /// Findings that left the scope.
    pub out_of_scope: u64,
    /// Open answers that a second look in the same run did not confirm; dropped.
    pub unconfirmed: u64,
    /// Findings first seen in this run.
    pub new: u64,
}

/// What a reader wants to know of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

/// What kind of drift.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Open, and no live rule allows it.
    UnexpectedOpen,
    /// A `must` rule's cell is not open.
    MissingRequired,
    /// Content that should not be readable.
    ExposedContent,
    /// Open against a `never` rule.
    ForbiddenOpen,
    /// A host that answers on everything.
    SuspectHost,
    /// A server that agrees to no TLS that a current client offers.
    LegacyTls,
}

impl FindingKind {
    /// The word as in `verdict.json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnexpectedOpen => "unexpected-open",
            Self::MissingRequired => "missing-required",
            Self::ExposedContent => "exposed-content",
            Self::ForbiddenOpen => "forbidden-open",
            Self::SuspectHost => "suspect-host",
            Self::LegacyTls => "legacy-tls",
        }
    }
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
    /// A required cell, covered and not open once. Does not count yet.
    MissingPending,
    /// A required cell, covered and not open in two runs.
    Missing,
    /// Was missing; this run did not cover it. Still counts.
    MissingUnverified,
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
pub enum Cause {
    /// No rule has ever matched.
    Unmatched,
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
#[serde(deny_unknown_fields)]
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
    /// `http` or `https`, for content. Not part of the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
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
    pub cause: Cause,
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
    /// Owner, from the rule or group nearest to it.
    pub owner: Option<String>,
    /// Id of the rule that allows it.
    pub allowed_by: Option<String>,
    /// One sentence that explains the state to a person.
    pub why: String,
    /// Service name and banner or title, printable, for people.
    pub service: Option<String>,
    /// Evidence of content.
    pub evidence: Option<Evidence>,
}
