//! The baseline: what was agreed, as reviewed text.
//!
//! One TOML file a team. Every mistake of every file is reported at once, with its line and remedy.
//! An unreadable baseline is an error and never an empty one.

mod file;
mod index;
mod nearest;
mod read;

use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_targets::diagnostic::{Diagnostic, Diagnostics, Gravity};
use mimawari_targets::{AddrSet, Port, PortSet, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::file::{AllowEntry, AllowHttpEntry, BaselineFile};
use self::index::Index;
use self::read::Reader;
pub(crate) use self::read::{last_day, parse_port};

/// Version of the baseline format.
pub const VERSION: u32 = 1;
/// A `must` rule may require no more cells than this: each is looked up in every run.
pub const MAX_REQUIRED: u128 = 65_536;

/// Whether a rule's cells may, must or must never be open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
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
pub struct Head {
    /// Unique over all files.
    pub id: String,
    /// Who answers for it.
    pub owner: String,
    /// Where it holds.
    pub addrs: AddrSet,
    /// Why.
    pub reason: String,
    /// The instant from which it no longer holds.
    pub ends: Option<Timestamp>,
    /// `file:line`.
    pub place: String,
}

impl Head {
    /// Whether the rule holds at this instant.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|end| now < end)
    }
}

/// A rule about ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What every rule has.
    pub head: Head,
    /// TCP ports.
    pub tcp: PortSet,
    /// UDP ports.
    pub udp: PortSet,
    /// May, must or never.
    pub expect: Expect,
    /// Whether it says that it is meant to allow as much as it does.
    pub broad: bool,
}

impl Rule {
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
    pub head: Head,
    /// Ids of checks.
    pub checks: Vec<String>,
    /// Paths, exactly.
    pub paths: Vec<String>,
}

impl HttpRule {
    fn speaks_of(&self, check: &str, path: Option<&str>) -> bool {
        self.checks.iter().any(|c| c == check)
            || path.is_some_and(|path| self.paths.iter().any(|p| p == path))
    }
}

/// What the baseline says of a cell or a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match<'a> {
    /// A live rule forbids it.
    Forbidden(&'a Head),
    /// A live rule allows it.
    Allowed(&'a Head),
    /// A rule would allow it, and has expired.
    Expired(&'a Head),
    /// No rule matches.
    None,
}

/// All rules of all files.
#[derive(Debug, Clone)]
pub struct Baseline {
    rules: Vec<Rule>,
    http: Vec<HttpRule>,
    index: Index,
    http_index: Index,
    digest: String,
}

impl Baseline {
    /// Reads all files, given as (name, text).
    ///
    /// # Errors
    /// Every mistake of every file.
    pub fn parse(files: &[(String, String)]) -> Result<(Self, Vec<Diagnostic>), Diagnostics> {
        let mut reader = Reader::default();
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort();
        for (name, text) in sorted {
            reader.file(name, text);
        }
        reader.contradictions();
        let (errors, warnings): (Vec<_>, Vec<_>) =
            reader.messages.into_iter().partition(|d| d.gravity == Gravity::Error);
        if !errors.is_empty() {
            return Err(Diagnostics(errors));
        }
        let rules: Vec<Rule> = reader.rules.into_iter().map(|(r, ..)| r).collect();
        let index = Index::new(rules.iter().map(|r| &r.head.addrs));
        let http_index = Index::new(reader.http.iter().map(|r| &r.head.addrs));
        let digest = Self::digest_of(files);
        Ok((Self { rules, http: reader.http, index, http_index, digest }, warnings))
    }

    /// The digest that these files' baseline has, without reading them.
    #[must_use]
    pub fn digest_of(files: &[(String, String)]) -> String {
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort();
        let mut hash = Sha256::new();
        for (name, text) in sorted {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        mimawari_targets::hex::encode(&hash.finalize())
    }

    /// Number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len() + self.http.len()
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// SHA-256 over the files' names and texts, hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the rules say of a cell. `never` wins; among what allows, the rule for the fewest
    /// addresses, then the first by id.
    #[must_use]
    pub fn port(&self, ip: IpAddr, proto: Protocol, port: Port, now: Timestamp) -> Match<'_> {
        self.port_with(ip, proto, port, now, |_| ())
    }

    /// As [`Self::port`], and tells the number of each rule that speaks of the cell, live or not,
    /// whatever it expects.
    pub fn port_with(
        &self,
        ip: IpAddr,
        proto: Protocol,
        port: Port,
        now: Timestamp,
        mut each: impl FnMut(usize),
    ) -> Match<'_> {
        let (mut never, mut best, mut expired): (Option<&Rule>, Option<&Rule>, Option<&Rule>) =
            (None, None, None);
        for i in self.index.at(ip).iter().map(|i| *i as usize) {
            let Some(rule) = self.rules.get(i).filter(|r| r.ports(proto).contains(port)) else {
                continue;
            };
            each(i);
            let slot = match (rule.expect, rule.head.is_live(now)) {
                (Expect::Never, true) => {
                    never = never.or(Some(rule));
                    continue;
                }
                (Expect::Never, false) => continue,
                (_, true) => &mut best,
                (_, false) => &mut expired,
            };
            if slot.is_none_or(|b| key(&rule.head) < key(&b.head)) {
                *slot = Some(rule);
            }
        }
        match (never, best, expired) {
            (Some(r), ..) => Match::Forbidden(&r.head),
            (_, Some(r), _) => Match::Allowed(&r.head),
            (.., Some(r)) => Match::Expired(&r.head),
            (None, None, None) => Match::None,
        }
    }

    /// What the rules say of a content.
    #[must_use]
    pub fn content(&self, ip: IpAddr, check: &str, path: &str, now: Timestamp) -> Match<'_> {
        self.web(ip, check, Some(path), now)
    }

    /// What the rules say of a check that is about a server and not about a path.
    #[must_use]
    pub fn check(&self, ip: IpAddr, check: &str, now: Timestamp) -> Match<'_> {
        self.web(ip, check, None, now)
    }

    fn web(&self, ip: IpAddr, check: &str, path: Option<&str>, now: Timestamp) -> Match<'_> {
        let mut found = Match::None;
        for rule in self.http_index.at(ip).iter().filter_map(|i| self.http.get(*i as usize)) {
            if !rule.speaks_of(check, path) {
                continue;
            }
            if rule.head.is_live(now) {
                return Match::Allowed(&rule.head);
            }
            found = Match::Expired(&rule.head);
        }
        found
    }

    /// What the rules say of a host that answers on everything: it is allowed by a live rule that allows
    /// all of its TCP ports.
    #[must_use]
    pub fn whole_host(&self, ip: IpAddr, now: Timestamp) -> Match<'_> {
        let whole = |r: &&Rule| r.expect != Expect::Never && r.tcp.len() == PortSet::all().len();
        let rules = self.index.at(ip).iter().filter_map(|i| self.rules.get(*i as usize));
        let mut found = Match::None;
        for rule in rules.filter(whole) {
            if rule.head.is_live(now) {
                return Match::Allowed(&rule.head);
            }
            found = Match::Expired(&rule.head);
        }
        found
    }

    /// The rules about ports, numbered from 0.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules about contents; their numbers go on behind those of [`Self::rules`].
    #[must_use]
    pub fn http_rules(&self) -> &[HttpRule] {
        &self.http
    }

    /// The numbers of all rules that speak of a content, or without a path of a property of a server.
    pub fn matching_web<'a>(
        &'a self,
        ip: IpAddr,
        check: &'a str,
        path: Option<&'a str>,
    ) -> impl Iterator<Item = usize> + 'a {
        let at = self.http_index.at(ip).iter().map(|i| *i as usize);
        at.filter(move |i| self.http.get(*i).is_some_and(|r| r.speaks_of(check, path)))
            .map(|i| i + self.rules.len())
    }

    /// The rules of `must`, live ones.
    pub fn required(&self, now: Timestamp) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |r| r.expect == Expect::Must && r.head.is_live(now))
    }

    /// Whether a rule with this id exists, live or not.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.rules.iter().any(|r| r.head.id == id) || self.http.iter().any(|r| r.head.id == id)
    }

    /// The rule nearest to an address: of those that hold its address, the narrowest.
    #[must_use]
    pub fn nearest(&self, ip: IpAddr) -> Option<&Rule> {
        self.index
            .at(ip)
            .iter()
            .filter_map(|i| self.rules.get(*i as usize))
            .min_by_key(|r| key(&r.head))
    }
}

fn key(head: &Head) -> (u128, &str) {
    (head.addrs.len(), head.id.as_str())
}
