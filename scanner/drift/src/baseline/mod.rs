//! The baseline: what was agreed, as reviewed text.
//!
//! One TOML file a team. Every mistake of every file is reported at once, with its line and remedy.
//! An unreadable baseline is an error and never an empty one.
//!
//! * `document`: [`RuleDocument`], the one reader; `fields`, `words`, `mistakes`, `place` are its parts.
//! * `book`: [`RuleBook`], the rules and what they say; `index`, `intervals` find them.
//! * `decide`: which rule speaks of a subject, the one place that asks.
//! * `nearest`: the rules that come nearest to what none allows.
//! * `contradictions`: rules that forbid what others allow.
//! * `file`: the form of a file, for its schema.

mod book;
mod contradictions;
mod decide;
mod document;
mod fields;
mod file;
pub(crate) mod index;
mod intervals;
mod mistakes;
mod nearest;
mod place;
mod port_count;
mod words;

use std::sync::Arc;

use jiff::Timestamp;
use mimawari_targets::{AddrSet, Port, PortSet, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::book::{Baseline, RuleBook, RuleMatch};
pub use self::decide::{Decision, DecisionFacts};
pub use self::document::RuleDocument;
pub(crate) use self::document::{ContentMatch, DocumentFile, PortList, RuleEntry, RuleKind};
pub use self::file::{AllowEntry, AllowHttpEntry, BaselineFile};
pub(crate) use self::index::{encode_point, join};
pub use self::mistakes::Lint;
pub(crate) use self::mistakes::{ReadErrors, sanitise_excerpt};
pub(crate) use self::place::LineStarts;
pub use self::place::TextLocation;
pub(crate) use self::words::parse_port;
use crate::subject::{PoolPlace, Subject};

/// Version of the baseline format.
pub const VERSION: u32 = 1;
/// A `must` rule may require no more cells than this: each is looked up in every run.
pub const MAX_REQUIRED: u128 = 65_536;

/// Whether a rule's cells may, must or must never be open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleExpect {
    /// May be open.
    #[default]
    May,
    /// Must be open; if not, that is drift as well.
    Must,
    /// Must never be open, whatever other rules say.
    Never,
}
/// What every rule has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleHead {
    /// Unique over all files.
    pub id: String,
    /// Who answers for it.
    pub owner: String,
    /// Where it holds; rules of one group share the set.
    pub addrs: Arc<AddrSet>,
    /// The `vantage` from which it is seen; empty for all.
    pub vantages: Vec<String>,
    /// Why.
    pub reason: String,
    /// The instant from which it no longer holds.
    pub ends: Option<Timestamp>,
    /// `file:line`.
    pub place: String,
}

impl RuleHead {
    /// Whether the rule holds at this instant.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|end| now < end)
    }

    /// Whether the rule speaks of what is seen from this vantage point.
    #[must_use]
    pub fn is_for(&self, vantage: &str) -> bool {
        self.vantages.is_empty() || self.vantages.iter().any(|v| v == vantage)
    }
}

/// A rule about ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineRule {
    /// What every rule has.
    pub head: RuleHead,
    /// TCP ports.
    pub tcp: PortSet,
    /// UDP ports.
    pub udp: PortSet,
    /// May, must or never.
    pub expect: RuleExpect,
    /// With `must`: on how many of the addresses each port must be open; `None` for all of them.
    pub at_least: Option<u64>,
    /// Whether it says that it is meant to allow as much as it does.
    pub broad: bool,
}

impl BaselineRule {
    pub(crate) fn ports(&self, proto: Protocol) -> &PortSet {
        match proto {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        }
    }

    /// The ports by protocol.
    pub(crate) fn each_ports(&self) -> Vec<(Protocol, &PortSet)> {
        Protocol::ALL.map(|proto| (proto, self.ports(proto))).to_vec()
    }

    /// Whether every cell of the rule must be open, one by one.
    #[must_use]
    pub const fn requires_each_cell(&self) -> bool {
        matches!((self.expect, self.at_least), (RuleExpect::Must, None))
    }

    /// The pools on which so many addresses must be open, one a port; none unless `at_least` says so.
    /// UDP is not scanned.
    pub fn required_pools(&self) -> impl Iterator<Item = (Subject, RequiredPool<'_>)> {
        let at_least = self.at_least.filter(|_| self.expect == RuleExpect::Must);
        at_least.into_iter().flat_map(move |at_least| {
            self.tcp.iter().filter_map(move |port| {
                let place = PoolPlace::new(&self.head.addrs, Protocol::Tcp, port)?;
                let pool = RequiredPool { head: &self.head, port, at_least };
                Some((Subject::Pool(Box::new(place)), pool))
            })
        })
    }
}

/// What a rule requires of a pool of addresses.
#[derive(Debug, Clone, Copy)]
pub struct RequiredPool<'a> {
    /// The rule, which has the addresses.
    pub head: &'a RuleHead,
    /// The TCP port.
    pub port: Port,
    /// On how many addresses it must be open.
    pub at_least: u64,
}

/// A rule about contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// What every rule has.
    pub head: RuleHead,
    /// Ids of checks.
    pub checks: Vec<String>,
    /// Paths, exactly.
    pub paths: Vec<String>,
    /// Names of sites; empty for all.
    pub names: Vec<String>,
}
