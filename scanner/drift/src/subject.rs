//! What is judged: a port, a content at a site, a fact of a server, a whole host, or a port on a pool
//! of addresses.
//!
//! One type for all of them, with its id, order and text. Everything that names something judged
//! (findings, the memory of allowed things, questions, acknowledgements, run folders) names a
//! [`Subject`]. A new thing to judge is a new variant here, and the compiler lists what has to know it.

use std::cmp::Ordering;
use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;
use std::str::FromStr;

use mimawari_targets::{AddrRange, AddrSet, Cell, Port, Protocol};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::FindingId;
use crate::kind::FindingKind;

/// What is judged.
///
/// As text: `192.0.2.1:22`, `192.0.2.1:80 shop.example.jp/.env` (`192.0.2.1:80 /.env` at the address
/// itself), `192.0.2.1:443 legacy-tls`, `192.0.2.1`, `192.0.2.0/28,192.0.2.64 tcp/443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Subject {
    /// A port.
    Port(Cell),
    /// A content at a site.
    Content(Box<ContentPlace>),
    /// A fact of the server at a cell.
    Server(Cell, ServerFact),
    /// A host as a whole, over TCP.
    Host(IpAddr),
    /// A port on a pool of addresses: a service that moves among them.
    Pool(Box<PoolPlace>),
}

/// A port on a pool of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolPlace {
    first: IpAddr,
    /// Ranges in order, joined by commas: as they are compared, hashed and written.
    addresses: String,
    proto: Protocol,
    port: Port,
}

impl PoolPlace {
    /// A port on these addresses; `None` if there are none.
    #[must_use]
    pub fn new(addresses: &AddrSet, proto: Protocol, port: Port) -> Option<Self> {
        let first = addresses.nth(0)?;
        let ranges: Vec<String> = addresses.ranges().map(|r| r.to_string()).collect();
        Some(Self { first, addresses: ranges.join(","), proto, port })
    }

    /// The addresses, as ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = &str> {
        self.addresses.split(',')
    }

    /// The addresses. Only ranges are ever put in.
    #[must_use]
    pub fn addresses(&self) -> AddrSet {
        AddrSet::from_ranges(self.ranges().filter_map(|r| r.parse::<AddrRange>().ok()))
    }
}

/// Where a content is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentPlace {
    /// The server's cell.
    pub cell: Cell,
    /// The virtual host; `None` when the address itself was asked for.
    pub host: Option<String>,
    /// The path, with its leading slash.
    pub path: String,
}

/// What is true of a server as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerFact {
    /// It agrees to no TLS that a current client offers.
    LegacyTls,
}

impl ServerFact {
    /// The name by which `[[allow_http]]` allows it, among its `checks`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LegacyTls => "legacy-tls",
        }
    }
}

/// What subjects are ordered by: address, port, kind, name and path.
type SubjectKey<'a> = (IpAddr, Option<(Protocol, Port)>, u8, Option<&'a str>, Option<&'a str>);

impl Subject {
    /// A TCP port.
    #[must_use]
    pub const fn tcp(ip: IpAddr, port: Port) -> Self {
        Self::Port(Cell::tcp(ip, port))
    }

    /// A content.
    #[must_use]
    pub fn content(cell: Cell, host: Option<&str>, path: &str) -> Self {
        let (host, path) = (host.map(str::to_owned), path.to_owned());
        Self::Content(Box::new(ContentPlace { cell, host, path }))
    }

    /// Its address; of a pool the first one.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        match self {
            Self::Port(cell) | Self::Server(cell, _) => cell.ip,
            Self::Content(place) => place.cell.ip,
            Self::Host(ip) => *ip,
            Self::Pool(pool) => pool.first,
        }
    }

    /// The cell that it is at; `None` for a whole host and for a pool, which have many.
    #[must_use]
    pub const fn cell(&self) -> Option<Cell> {
        match self {
            Self::Port(cell) | Self::Server(cell, _) => Some(*cell),
            Self::Content(place) => Some(place.cell),
            Self::Host(_) | Self::Pool(_) => None,
        }
    }

    /// Protocol and port that it is at; `None` for a whole host.
    #[must_use]
    pub fn service_port(&self) -> Option<(Protocol, Port)> {
        match self {
            Self::Pool(pool) => Some((pool.proto, pool.port)),
            _ => self.cell().map(|c| (c.proto, c.port)),
        }
    }

    /// The port that it is at; `None` for a whole host.
    #[must_use]
    pub fn port(&self) -> Option<Port> {
        self.service_port().map(|(_, port)| port)
    }

    /// The protocol. A whole host is one over TCP.
    #[must_use]
    pub fn proto(&self) -> Protocol {
        self.service_port().map_or_else(Protocol::default, |(proto, _)| proto)
    }

    /// The pool of addresses that it is on.
    #[must_use]
    pub fn pool(&self) -> Option<&PoolPlace> {
        match self {
            Self::Pool(pool) => Some(pool),
            _ => None,
        }
    }

    /// The virtual host, for a content.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Content(place) => place.host.as_deref(),
            _ => None,
        }
    }

    /// The path, for a content.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Content(place) => Some(&place.path),
            _ => None,
        }
    }

    /// The name of the check that it is known by, for a fact of a server.
    #[must_use]
    pub const fn check(&self) -> Option<&'static str> {
        match self {
            Self::Server(_, fact) => Some(fact.as_str()),
            _ => None,
        }
    }

    /// The kind of finding that it is when it is there and no rule speaks of it.
    #[must_use]
    pub const fn kind(&self) -> FindingKind {
        match self {
            Self::Port(_) => FindingKind::UnexpectedOpen,
            Self::Content(_) => FindingKind::ExposedContent,
            Self::Server(_, ServerFact::LegacyTls) => FindingKind::LegacyTls,
            Self::Host(_) => FindingKind::SuspectHost,
            // It is only ever missing.
            Self::Pool(_) => FindingKind::MissingRequired,
        }
    }

    /// The id that it has as [`Self::kind`].
    #[must_use]
    pub fn id(&self, vantage: &str) -> FindingId {
        self.id_as(self.kind(), vantage)
    }

    /// The id that it has as a finding of a kind: the first 16 hex digits of the SHA-256 of
    /// `kind|vantage|ip|proto|port[|host|path]`, each part preceded by its length, so that no two
    /// identities share a text. For a pool `ip` is its ranges. Never a banner, a run, a rule or a
    /// severity.
    #[must_use]
    pub fn id_as(&self, kind: FindingKind, vantage: &str) -> FindingId {
        let mut text = Vec::with_capacity(128);
        let mut part = |write: &dyn Fn(&mut Vec<u8>)| {
            let at = text.len();
            text.extend([0; 8]);
            write(&mut text);
            let length = (text.len() - at - 8) as u64;
            text[at..at + 8].copy_from_slice(&length.to_le_bytes());
        };
        part(&|out| out.extend(kind.as_str().bytes()));
        part(&|out| out.extend(vantage.bytes()));
        // Writing into memory cannot fail.
        part(&|out| match self {
            Self::Pool(pool) => out.extend(pool.addresses.bytes()),
            _ => drop(write!(out, "{}", self.ip())),
        });
        part(&|out| drop(write!(out, "{}", self.proto())));
        part(&|out| {
            drop(match self.port() {
                Some(port) => write!(out, "{port}"),
                None => write!(out, "*"),
            });
        });
        if let Some(path) = self.path() {
            part(&|out| out.extend(self.host().unwrap_or("-").bytes()));
            part(&|out| out.extend(path.bytes()));
        }
        FindingId::of(&Sha256::digest(&text))
    }

    /// By place: a host before its ports, a port before what is at it.
    fn key(&self) -> SubjectKey<'_> {
        let rank = match self {
            Self::Host(_) => 0,
            Self::Port(_) => 1,
            Self::Server(..) => 2,
            Self::Content(_) => 3,
            Self::Pool(_) => 4,
        };
        let name = match self {
            Self::Pool(pool) => Some(pool.addresses.as_str()),
            _ => self.host().or(self.check()),
        };
        (self.ip(), self.service_port(), rank, name, self.path())
    }
}

impl Ord for Subject {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Subject {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(cell) => cell.fmt(f),
            Self::Content(place) => {
                let host = place.host.as_deref().unwrap_or_default();
                write!(f, "{} {host}{}", place.cell, place.path)
            }
            Self::Server(cell, fact) => write!(f, "{cell} {}", fact.as_str()),
            Self::Host(ip) => ip.fmt(f),
            Self::Pool(pool) => write!(f, "{} {}/{}", pool.addresses, pool.proto, pool.port),
        }
    }
}

/// A text that names no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is neither ADDRESS:PORT, ADDRESS, RANGES PROTOCOL/PORT, nor the first with a content or a fact"
)]
pub struct SubjectError;

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(s: &str) -> Result<Self, SubjectError> {
        let Some((cell, what)) = s.split_once(' ') else {
            let host = || s.parse().map(Self::Host);
            return s.parse().map(Self::Port).or_else(|_| host()).map_err(|_| SubjectError);
        };
        let Ok(cell) = cell.parse::<Cell>() else {
            return parse_pool(cell, what).map(|p| Self::Pool(Box::new(p))).ok_or(SubjectError);
        };
        match what.find('/') {
            Some(0) => Ok(Self::content(cell, None, what)),
            Some(at) => Ok(Self::content(cell, Some(&what[..at]), &what[at..])),
            None if what == ServerFact::LegacyTls.as_str() => {
                Ok(Self::Server(cell, ServerFact::LegacyTls))
            }
            None => Err(SubjectError),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;

    fn try_from(s: String) -> Result<Self, SubjectError> {
        s.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

fn parse_pool(ranges: &str, port: &str) -> Option<PoolPlace> {
    let (proto, port) = port.split_once('/')?;
    let ranges: Result<Vec<AddrRange>, _> = ranges.split(',').map(str::parse).collect();
    let port = Port::new(port.parse().ok()?)?;
    PoolPlace::new(&AddrSet::from_ranges(ranges.ok()?), proto.parse().ok()?, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 8] = [
        "192.0.2.1",
        "192.0.2.1:22",
        "192.0.2.1:443",
        "192.0.2.1:443 legacy-tls",
        "192.0.2.1:443 /.env",
        "192.0.2.1:443 shop.example.jp/a b?c=/d",
        "192.0.2.1:53/udp",
        "[2001:db8::1]:8443 www.example.jp/",
    ];

    #[test]
    fn a_subject_is_read_back_from_its_text_and_sorted_by_place() {
        let subjects: Vec<Subject> = TEXTS.iter().map(|t| t.parse().expect(t)).collect();
        for (text, subject) in TEXTS.iter().zip(&subjects) {
            assert_eq!(subject.to_string(), *text);
        }
        assert!(subjects.is_sorted_by(|a, b| a < b), "{subjects:?}");
        for text in ["", "x", "192.0.2.1:0", "192.0.2.1 /", "192.0.2.1:22 x", "192.0.2.1:22 "] {
            assert_eq!(text.parse::<Subject>(), Err(SubjectError), "{text}");
        }
    }

    #[test]
    fn ids_never_change() {
        use FindingKind::*;
        for (kind, vantage, subject, id) in [
            (UnexpectedOpen, "default", "192.0.2.70:6379", "66e074cc1b67a1c3"),
            (ForbiddenOpen, "default", "192.0.2.70:6379", "eb52e957d1133ef9"),
            (MissingRequired, "office", "[2001:db8::1]:22", "8e67c7f3b5051898"),
            (LegacyTls, "default", "192.0.2.70:443 legacy-tls", "0d47b0fd58836c12"),
            (SuspectHost, "default", "192.0.2.70", "a9fec6b40a5075fa"),
            (
                ExposedContent,
                "default",
                "192.0.2.70:80 shop.example.jp/password.php",
                "88a08e26f6dfc1d8",
            ),
            (ExposedContent, "default", "[2001:db8::1]:8443 /.env", "b67a3a5e68848423"),
        ] {
            let subject: Subject = subject.parse().expect(subject);
            assert_eq!(subject.id_as(kind, vantage).as_str(), id, "{kind:?} {subject}");
        }
        let udp: Subject = "192.0.2.70:6379/udp".parse().expect("a subject");
        assert_ne!(udp.id("default").as_str(), "66e074cc1b67a1c3");
    }

    #[test]
    fn a_subject_is_small_since_a_state_has_a_million() {
        assert!(size_of::<Subject>() <= 32, "{}", size_of::<Subject>());
    }
}
