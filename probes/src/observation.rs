//! The observation record: the spine of the product.
//!
//! One record is one line of `observations.ndjson`. Whatever text came from the network stands in
//! these records already cleaned of control characters and cut to a bounded length.

use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_targets::Port;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format version, the `v` of each line.
pub const VERSION: u32 = 1;

/// One line of `observations.ndjson`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObservationRecord {
    /// Format version, [`VERSION`].
    pub v: u32,
    /// What was seen.
    #[serde(flatten)]
    pub observation: Observation,
}

impl From<Observation> for ObservationRecord {
    fn from(observation: Observation) -> Self {
        Self { v: VERSION, observation }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Observation {
    /// A TCP cell that is open or was refused by policy. Closed and silent cells stand in the
    /// coverage alone. A later record of the same cell replaces an earlier one.
    Tcp(TcpObservation),
    /// The outcome of one content check on one path.
    Http(Box<HttpObservation>),
    /// What a host that looked odd does on ports that nobody planned.
    Host(HostObservation),
    /// What a web endpoint or virtual host shows of itself: inventory.
    Web(Box<WebObservation>),
}

/// The kinds of [`Observation`], as in `kind`. A record of another kind is of a later version.
pub const KINDS: [&str; 4] = ["tcp", "http", "host", "web"];

/// State of a cell (address × protocol × port) at the end of a run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum CellState {
    /// Never sent, or the send failed, or not all attempts were made: nothing is known.
    NotProbed = 0,
    /// All attempts were sent, none was answered.
    Silent = 1,
    /// An ICMP error says that policy forbids it (RFC 792 code 13, RFC 4443 code 1, and alike).
    Prohibited = 2,
    /// Answered with RST.
    Closed = 3,
    /// Answered with SYN-ACK, or accepted a connection.
    Open = 4,
}

impl CellState {
    /// Whether the run may be believed about this cell: everything but [`Self::NotProbed`].
    #[must_use]
    pub const fn is_covered(self) -> bool {
        !matches!(self, Self::NotProbed)
    }

    /// The state with this number, for compact storage.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::NotProbed,
            1 => Self::Silent,
            2 => Self::Prohibited,
            3 => Self::Closed,
            4 => Self::Open,
            _ => return None,
        })
    }
}

/// A TCP cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TcpObservation {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    #[schemars(with = "u16")]
    pub port: Port,
    /// `open` or `prohibited`.
    pub state: CellState,
    /// When the answer came.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Which attempt was answered, counted from 1.
    pub attempt: u8,
    /// IP time-to-live or hop limit of the answer; absent with the connect method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Whether a second, full connection was accepted in the same run.
    pub confirmed: bool,
    /// How the second, full connection ended. Absent: none has ended yet, or the record is of a
    /// program that did not say; [`Self::second_look`] reads both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_look: Option<SecondLook>,
    /// What speaks there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<ServiceFacts>>,
}

impl TcpObservation {
    /// How the second look ended, also where the record does not say.
    #[must_use]
    pub fn second_look(&self) -> SecondLook {
        match self.second_look {
            Some(end) => end,
            None if self.confirmed => SecondLook::Confirmed,
            None => SecondLook::NotMade,
        }
    }
}

/// How the second look at an open cell, a full connection of the kernel, ended. Only
/// [`Self::Refused`] speaks against the port; every other failure leaves it open, with less
/// certainty.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SecondLook {
    /// The connection was accepted.
    Confirmed,
    /// The host refused it, each time it was asked.
    Refused,
    /// Nothing came back in time: a limit on connections, a ban, loss.
    TimedOut,
    /// The network said that the host cannot be reached.
    Unreachable,
    /// Our own system could not make the connection: file descriptors, memory, ports, routes.
    OwnError,
    /// It was not made, or its end is not known: the run was stopped or killed, or the host answers
    /// on everything.
    NotMade,
    /// A reason of a newer program.
    #[serde(other)]
    Other,
}

impl SecondLook {
    /// Whether it neither confirmed nor refuted: the port counts as open, unconfirmed.
    #[must_use]
    pub const fn is_unconfirmed(self) -> bool {
        !matches!(self, Self::Confirmed | Self::Refused)
    }

    /// A few words for a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Confirmed => "a second connection was accepted",
            Self::Refused => "a second connection was refused",
            Self::TimedOut => "a second connection had no answer",
            Self::Unreachable => "the host could not be reached for a second connection",
            Self::OwnError => "the scanner's own system could not make a second connection",
            Self::NotMade => "no second connection was made",
            Self::Other => "a second connection failed",
        }
    }
}

/// What a host that looked odd does on random high ports outside the plan. Where those accept
/// connections, open ports say nothing: something answers for the host on all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostObservation {
    /// Address.
    pub ip: IpAddr,
    /// When it was asked.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// How many random ports were asked for a full connection.
    pub asked: u32,
    /// How many of them accepted it.
    pub accepted: u32,
    /// What had looked odd, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signs: Vec<HostSign>,
}

/// What looks odd about a host.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HostSign {
    /// Open on more than half of its planned ports.
    MostPortsOpen,
    /// SYN-ACKs with window 0.
    ZeroWindow,
    /// SYN-ACKs without any option.
    NoOptions,
    /// Answered a SYN with SYN-ACK, and refused the connection after that.
    RefusedAfterSynAck,
    /// Accepted connections on several ports and never sent a byte.
    Mute,
}

impl HostSign {
    /// A few words for a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::MostPortsOpen => "most planned ports open",
            Self::ZeroWindow => "SYN-ACKs with window 0",
            Self::NoOptions => "SYN-ACKs without options",
            Self::RefusedAfterSynAck => "connections refused after SYN-ACK",
            Self::Mute => "connections accepted and nothing said",
        }
    }
}

/// What speaks on an open port. Evidence, never identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceFacts {
    /// A short name such as `ssh`, `http`, `https`, `tls`, `redis`; `unknown` when nothing fits.
    pub name: String,
    /// The first line that the server sent on its own, printable and at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banner: Option<String>,
    /// TLS facts, if it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts>,
    /// HTTP facts, if it speaks HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpFacts>,
}

/// Facts of a TLS handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TlsFacts {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// The cipher suite, by its registered name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// The server agrees to nothing that a current client offers: TLS 1.1 and older, or only CBC
    /// with static RSA, DHE and alike.
    #[serde(default, skip_serializing_if = "is_false")]
    pub legacy: bool,
    /// SHA-256 of the leaf certificate, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// What the leaf certificate says; absent when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFacts>,
}

/// What a certificate says. Nothing of it is verified; all text is printable and bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateFacts {
    /// DNS names and addresses of the subject alternative name, or the common name without one;
    /// sorted, at most 32.
    pub names: Vec<String>,
    /// How many names there are in all.
    pub names_total: u32,
    /// Common name or organisation of the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Begin of its validity.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// End of its validity.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Issuer and subject are the same.
    pub self_signed: bool,
    /// It is not for the name, or without one the address, that was asked for (RFC 9525).
    pub mismatch: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_false(b: &bool) -> bool {
    !*b
}

/// Facts of a first HTTP answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpFacts {
    /// Status code.
    pub status: u16,
    /// `Server` header, printable and bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Text of `<title>`, printable and bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// URL scheme of a web endpoint.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum UrlScheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl UrlScheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL leaves out.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// How a content check on one path ended. Exactly one for each (target, path).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ContentOutcome {
    /// The bytes that make the check true are being served, and no canary matches. The evidence says
    /// whether they were seen again, and which canaries were asked.
    Exposed,
    /// Answered, and the check is not true of the answer.
    Absent,
    /// Refused, by a site that answers other paths: 401, 403 and their kin.
    Protected,
    /// The check is true of a path that cannot exist, too: the site says the same to everything.
    CatchAll,
    /// True once, not true again; of inventory alone.
    Unstable,
    /// Not readable as HTTP.
    Malformed,
    /// No answer: connection lost, time out, TLS failure.
    Error,
    /// Never asked: stopped, over a ceiling.
    Skipped,
}

impl ContentOutcome {
    /// Whether the run may be believed about this path.
    #[must_use]
    pub const fn is_covered(self) -> bool {
        matches!(self, Self::Exposed | Self::Absent | Self::Protected | Self::CatchAll)
    }
}

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Inventory only.
    Info,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The severity that a lower-case word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// The lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The outcome of one content check on one path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpObservation {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    #[schemars(with = "u16")]
    pub port: Port,
    /// `http` or `https`.
    pub scheme: UrlScheme,
    /// The virtual host asked for; absent when the address itself was the Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path and query, as sent.
    pub path: String,
    /// The check's id.
    pub check: String,
    /// How it ended.
    pub outcome: ContentOutcome,
    /// The check's severity, as the evidence has it.
    pub severity: Severity,
    /// When it ended.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// What was seen, without the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<HttpEvidence>,
    /// Why it ended so, for `error`, `malformed`, `skipped`, `unstable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is exposed, in a line; for `exposed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What to do about it; for `exposed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What a web endpoint or virtual host shows of itself. Inventory: a change of it is told as a
/// change of the site, and none of it is ever part of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebObservation {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    #[schemars(with = "u16")]
    pub port: Port,
    /// `http` or `https`.
    pub scheme: UrlScheme,
    /// The virtual host asked for; absent when the address itself was the Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// When it was seen.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Status of `/`; absent without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `Server` header, printable and bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Text of `<title>`, printable and bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where `/` redirects to, printable and bounded. Never followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// SHA-256 of the first 64 KiB of `/favicon.ico`, lower-case hex; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub favicon_sha256: Option<String>,
    /// Facts of the handshake, for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts>,
    /// Whether the name still points at this address; absent when nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsPointing>,
}

/// Where a virtual host's name points, by DNS.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DnsPointing {
    /// At this address, perhaps among others.
    Here,
    /// At other addresses in the scope, perhaps among others.
    Ours,
    /// At addresses outside the scope alone: the name no longer points at us.
    Elsewhere,
    /// The name does not exist, or has no address.
    Nowhere,
    /// The question had no answer.
    Unknown,
}

/// Evidence of a hit. Never holds the secret itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpEvidence {
    /// HTTP status.
    pub status: u16,
    /// Line of the match in the body, counted from 1; absent for binary content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Length of the body that was read, in bytes.
    pub length: u64,
    /// Keyed digest of the body that was read, hex.
    pub digest: String,
    /// At most four characters of the matched line, then `…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<String>,
    /// A label such as `template` that tempers the severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The fact about the bytes that makes it certain, in words of the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Whether a second answer had the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub repeated: bool,
    /// How often it was seen, where not every answer had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sightings: Option<Sightings>,
    /// Paths that cannot exist, which were asked for and did not have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<CanaryResult>,
}

/// How many answers to the same request had what was found: one of several servers behind an
/// address may publish it, or the site may have refused to answer after the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sightings {
    /// With it.
    pub seen: u32,
    /// In all.
    pub asked: u32,
}

/// A path that cannot exist, asked for to tell a finding from a site that says the same to
/// everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryResult {
    /// Path and query, as sent.
    pub path: String,
    /// HTTP status of the answer.
    pub status: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(end: &str) -> SecondLook {
        let line = format!(
            r#"{{"ip":"192.0.2.1","port":22,"state":"open","at":"2026-01-01T00:00:00Z","attempt":1{end}}}"#
        );
        serde_json::from_str::<TcpObservation>(&line).unwrap().second_look()
    }

    #[test]
    fn only_a_refusal_speaks_against_a_port() {
        for (end, expected, unconfirmed) in [
            (r#","confirmed":true"#, SecondLook::Confirmed, false),
            (r#","confirmed":false"#, SecondLook::NotMade, true),
            (r#","confirmed":false,"second_look":"refused""#, SecondLook::Refused, false),
            (r#","confirmed":false,"second_look":"timed_out""#, SecondLook::TimedOut, true),
            (r#","confirmed":false,"second_look":"own_error""#, SecondLook::OwnError, true),
            (r#","confirmed":false,"second_look":"eaten_by_a_bear""#, SecondLook::Other, true),
        ] {
            assert_eq!((read(end), read(end).is_unconfirmed()), (expected, unconfirmed), "{end}");
        }
    }
}
