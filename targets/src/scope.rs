//! The scope: the only maker of endpoints.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::{AddrRange, AddrSet, Cell, Port};

/// What may be scanned, and on whose word. `deny` wins over `allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    permitted: AddrSet,
    allow: AddrSet,
    deny: AddrSet,
    authorised_by: String,
}

/// An address outside the scope was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", describe(ranges))]
pub struct OutOfScope {
    /// What lies outside, as the shortest ranges. Empty when there was no target at all.
    pub ranges: Vec<AddrRange>,
}

fn describe(ranges: &[AddrRange]) -> String {
    const SHOWN: usize = 8;
    let head = match ranges.len() {
        0 => return "there is no target".to_owned(),
        1 => "this target is",
        _ => "these targets are",
    };
    let mut s = format!("{head} not in the scope: ");
    s += &ranges.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if ranges.len() > SHOWN {
        s.push_str(&format!(" and {} more", ranges.len() - SHOWN));
    }
    s
}

/// A TCP cell that the scope allows. Only a [`Scope`] or what it narrowed makes one, so whoever
/// holds an `Endpoint` may send to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    cell: Cell,
}

impl Endpoint {
    /// Private: a caller has shown that the scope allows the address.
    const fn proven(ip: IpAddr, port: Port) -> Self {
        Self { cell: Cell::tcp(ip, port) }
    }

    /// The cell, without the proof.
    #[must_use]
    pub const fn cell(self) -> Cell {
        self.cell
    }

    /// The address.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.cell.ip
    }

    /// The port.
    #[must_use]
    pub const fn port(self) -> Port {
        self.cell.port
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn socket_addr(self) -> SocketAddr {
        self.cell.socket_addr()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket_addr().fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket_addr().fmt(f)
    }
}

impl Scope {
    /// A scope of what `allow` holds less what `deny` holds.
    #[must_use]
    pub fn new(allow: AddrSet, deny: AddrSet, authorised_by: impl Into<String>) -> Self {
        Self { permitted: allow.subtract(&deny), allow, deny, authorised_by: authorised_by.into() }
    }

    /// The allowed addresses less the denied ones.
    #[must_use]
    pub const fn permitted(&self) -> &AddrSet {
        &self.permitted
    }

    /// The allow list.
    #[must_use]
    pub const fn allow(&self) -> &AddrSet {
        &self.allow
    }

    /// The deny list.
    #[must_use]
    pub const fn deny(&self) -> &AddrSet {
        &self.deny
    }

    /// Who authorised the scan; printed in every report.
    #[must_use]
    pub fn authorised_by(&self) -> &str {
        &self.authorised_by
    }

    /// Whether a packet may leave for this address.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.permitted.contains(ip)
    }

    /// The endpoint, if its address is allowed.
    ///
    /// # Errors
    /// [`OutOfScope`] naming the address.
    pub fn endpoint(&self, ip: IpAddr, port: Port) -> Result<Endpoint, OutOfScope> {
        if self.allows(ip) {
            Ok(Endpoint::proven(ip, port))
        } else {
            Err(OutOfScope { ranges: vec![AddrRange::from(ip)] })
        }
    }

    /// The targets, proven to lie in the scope. Targets may only narrow: whatever lies outside the
    /// allow list is refused. Denied addresses inside an allowed range are left out without a word,
    /// since a deny list exists to cut holes into ranges.
    ///
    /// # Errors
    /// [`OutOfScope`] naming every range outside the allow list, or the denied targets when nothing
    /// else is left.
    pub fn narrow(&self, targets: &AddrSet) -> Result<ScopedSet, OutOfScope> {
        let outside = targets.subtract(&self.allow);
        if !outside.is_empty() {
            return Err(OutOfScope { ranges: outside.ranges().collect() });
        }
        let inside = targets.intersect(&self.permitted);
        if inside.is_empty() {
            return Err(OutOfScope { ranges: targets.ranges().collect() });
        }
        Ok(ScopedSet { addrs: inside })
    }

    /// The whole scope as targets.
    #[must_use]
    pub fn whole(&self) -> ScopedSet {
        ScopedSet { addrs: self.permitted.clone() }
    }
}

/// A set of addresses that a scope allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedSet {
    addrs: AddrSet,
}

impl ScopedSet {
    /// The addresses.
    #[must_use]
    pub const fn addrs(&self) -> &AddrSet {
        &self.addrs
    }

    /// The endpoint at the n-th address.
    #[must_use]
    pub fn endpoint(&self, n: u128, port: Port) -> Option<Endpoint> {
        self.addrs.nth(n).map(|ip| Endpoint::proven(ip, port))
    }
}
