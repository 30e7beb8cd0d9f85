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
use mimawari_targets::{AddrSet, PortSet, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::book::{Baseline, RuleBook, RuleMatch};
pub use self::decide::{Decision, DecisionFacts};
pub use self::document::RuleDocument;
pub(crate) use self::document::{DocumentFile, PortList, RuleEntry, RuleKind};
pub use self::file::{AllowEntry, AllowHttpEntry, BaselineFile};
pub(crate) use self::index::{join, point};
pub use self::mistakes::Lint;
pub(crate) use self::mistakes::{ReadErrors, shown};
pub(crate) use self::place::LineStarts;
pub use self::place::TextLocation;
pub(crate) use self::words::parse_port;

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
