//! All rules, and what they say.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_targets::diagnostic::{Diagnostic, DiagnosticList};
use mimawari_targets::{Cell, Port, PortSet};
use sha2::{Digest, Sha256};

use super::decide::DecisionFacts;
use super::document::{ContentMatch, RuleDocument, RuleEntry, RuleKind};
use super::index::{IndexedRule, RuleIndex};
use super::words::holds_site;
use super::{BaselineRule, HttpRule, RuleExpect, RuleHead};

/// What the baseline says of a cell or a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleMatch<'a> {
    /// A live rule forbids it.
    Forbidden(&'a RuleHead),
    /// A live rule allows it.
    Allowed(&'a RuleHead),
    /// A rule would allow it, and has expired.
    Expired(&'a RuleHead),
    /// No rule matches.
    None,
}

/// All rules of all files.
#[derive(Debug, Clone)]
pub struct RuleBook {
    pub(super) rules: Vec<BaselineRule>,
    pub(super) http: Vec<HttpRule>,
    pub(super) index: RuleIndex,
    pub(super) http_index: RuleIndex,
    digest: String,
}

/// The former name of [`RuleBook`].
pub type Baseline = RuleBook;

impl RuleBook {
    /// Reads all files, given as (name, text).
    ///
    /// # Errors
    /// Every mistake of every file.
    pub fn parse(files: &[(String, String)]) -> Result<(Self, Vec<Diagnostic>), DiagnosticList> {
        let document = RuleDocument::read(files);
        Ok((Self::of(document, Self::digest_of(files))?, Vec::new()))
    }

    /// The rules of a document.
    fn of(document: RuleDocument, digest: String) -> Result<Self, DiagnosticList> {
        if document.mistakes.is_refused() {
            return Err(document.messages(|rule| rule.refused));
        }
        let starts = super::LineStarts::of(&document.files);
        let (mut rules, mut http) = (Vec::new(), Vec::new());
        for entry in document.entries {
            let file = &document.files[entry.file];
            let owner = file.owner.as_ref().map_or("", |o| o.get_ref().trim());
            let line = starts.line(entry.file, entry.span.start);
            let place = format!("{}:{line}", file.source.name());
            let Some((head, what)) = build_rule_head(entry, owner, place) else { continue };
            match what {
                RuleKind::Ports(p) => {
                    let (tcp, udp) = (p.tcp, p.udp);
                    let (expect, broad) = (p.expect, p.broad);
                    // So many as there are is each of them.
                    let at_least = p.at_least.filter(|n| u128::from(*n) < head.addrs.len());
                    rules.push(BaselineRule { head, tcp, udp, expect, at_least, broad });
                }
                RuleKind::Http(ContentMatch { checks, paths, names }) => {
                    let [checks, paths, names] = [checks, paths, names]
                        .map(|l| l.into_iter().map(toml::Spanned::into_inner).collect());
                    http.push(HttpRule { head, checks, paths, names });
                }
            }
        }
        rules.shrink_to_fit();
        http.shrink_to_fit();
        let index = RuleIndex::new(rules.iter().map(|r: &BaselineRule| IndexedRule {
            addrs: &r.head.addrs,
            id: &r.head.id,
            ports: r.each_ports(),
            things: Vec::new(),
        }));
        let http_index = RuleIndex::new(http.iter().map(|r: &HttpRule| IndexedRule {
            addrs: &r.head.addrs,
            id: &r.head.id,
            ports: Vec::new(),
            things: r.checks.iter().chain(&r.paths).map(String::as_str).collect(),
        }));
        Ok(Self { rules, http, index, http_index, digest })
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

    /// The rules about ports, numbered from 0.
    #[must_use]
    pub fn rules(&self) -> &[BaselineRule] {
        &self.rules
    }

    /// The rules about contents; their numbers go on behind those of [`Self::rules`].
    #[must_use]
    pub fn http_rules(&self) -> &[HttpRule] {
        &self.http
    }

    /// What the rules say of a cell; `each` is called with each rule that speaks of it.
    pub(super) fn port<'a>(
        &'a self,
        cell: Cell,
        facts: &DecisionFacts<'_>,
        mut each: impl FnMut(usize, &'a BaselineRule),
    ) -> RuleMatch<'a> {
        let (mut never, mut best, mut expired): (
            Option<usize>,
            Option<&BaselineRule>,
            Option<&BaselineRule>,
        ) = (None, None, None);
        for class in self.index.at(cell.ip) {
            class.at_port(cell.proto, cell.port, &mut |i| {
                let i = i as usize;
                let Some(rule) = self.rules.get(i).filter(|r| r.head.is_for(facts.vantage)) else {
                    return;
                };
                each(i, rule);
                let slot = match (rule.expect, rule.head.is_live(facts.now)) {
                    (RuleExpect::Never, true) => {
                        never = Some(never.map_or(i, |n| n.min(i)));
                        return;
                    }
                    (RuleExpect::Never, false) => return,
                    (_, true) => &mut best,
                    (_, false) => &mut expired,
                };
                if slot.is_none_or(|b| get_sort_key(&rule.head) < get_sort_key(&b.head)) {
                    *slot = Some(rule);
                }
            });
        }
        match (never.and_then(|i| self.rules.get(i)), best, expired) {
            (Some(r), ..) => RuleMatch::Forbidden(&r.head),
            (_, Some(r), _) => RuleMatch::Allowed(&r.head),
            (.., Some(r)) => RuleMatch::Expired(&r.head),
            (None, None, None) => RuleMatch::None,
        }
    }

    /// What the rules say of a content (host and path), or without one of a fact of a server.
    pub(super) fn web(
        &self,
        ip: IpAddr,
        check: &str,
        site: Option<(Option<&str>, &str)>,
        facts: &DecisionFacts<'_>,
        mut each: impl FnMut(usize),
    ) -> RuleMatch<'_> {
        let (mut best, mut expired): (Option<&HttpRule>, Option<&HttpRule>) = (None, None);
        for i in self.web_rules(ip, check, site.map(|(_, path)| path)) {
            let Some(rule) = self.http.get(i).filter(|r| r.head.is_for(facts.vantage)) else {
                continue;
            };
            if !rule.holds_site(ip, site.map(|(host, _)| host)) {
                continue;
            }
            each(self.rules.len() + i);
            let slot = if rule.head.is_live(facts.now) { &mut best } else { &mut expired };
            if slot.is_none_or(|b| get_sort_key(&rule.head) < get_sort_key(&b.head)) {
                *slot = Some(rule);
            }
        }
        match (best, expired) {
            (Some(r), _) => RuleMatch::Allowed(&r.head),
            (None, Some(r)) => RuleMatch::Expired(&r.head),
            (None, None) => RuleMatch::None,
        }
    }

    /// The rules that hold a check or a path at an address, whatever their sites.
    pub(super) fn web_rules(
        &self,
        ip: IpAddr,
        check: &str,
        path: Option<&str>,
    ) -> impl Iterator<Item = usize> + use<> {
        let mut all: Vec<u32> = Vec::new();
        for class in self.http_index.at(ip) {
            all.extend(class.of_thing(check).filter(|_| !check.starts_with('/')));
            all.extend(path.into_iter().flat_map(|p| class.of_thing(p)));
        }
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|i| i as usize)
    }

    /// What the rules say of a host that answers on everything: it is allowed by a live rule that allows
    /// all of its TCP ports.
    pub(super) fn whole_host(&self, ip: IpAddr, facts: &DecisionFacts<'_>) -> RuleMatch<'_> {
        let mut all: Vec<u32> = Vec::new();
        for class in self.index.at(ip) {
            // Whoever holds all ports holds the last one.
            let last = Port::new(u16::MAX).map(|port| Cell::tcp(ip, port));
            last.into_iter().for_each(|c| class.at_port(c.proto, c.port, &mut |i| all.push(i)));
        }
        all.sort_unstable();
        let rules = all.iter().filter_map(|i| self.rules.get(*i as usize));
        let mut found = RuleMatch::None;
        for rule in rules.filter(|r| {
            r.expect != RuleExpect::Never
                && r.tcp.len() == PortSet::all().len()
                && r.head.is_for(facts.vantage)
        }) {
            if rule.head.is_live(facts.now) {
                return RuleMatch::Allowed(&rule.head);
            }
            found = RuleMatch::Expired(&rule.head);
        }
        found
    }

    /// The rules of `must` that hold now and from this vantage point: those that require each cell, and
    /// those that require some of a pool.
    pub fn required<'a, 'v>(
        &'a self,
        vantage: &'v str,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a BaselineRule> + use<'a, 'v> {
        let holds = move |h: &RuleHead| h.is_live(now) && h.is_for(vantage);
        self.rules.iter().filter(move |r| r.expect == RuleExpect::Must && holds(&r.head))
    }

    /// What every rule has, by its id.
    #[must_use]
    pub fn heads(&self) -> HashMap<&str, &RuleHead> {
        let ports = self.rules.iter().map(|r| &r.head);
        let all = ports.chain(self.http.iter().map(|r| &r.head));
        all.map(|head| (head.id.as_str(), head)).collect()
    }

    /// Whether a rule with this id exists, live or not.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.rules.iter().any(|r| r.head.id == id) || self.http.iter().any(|r| r.head.id == id)
    }

    /// The rule nearest to an address: of those that hold its address, the narrowest.
    #[must_use]
    pub fn nearest(&self, ip: IpAddr) -> Option<&BaselineRule> {
        // Rules of a class are for as many addresses, and sorted by id.
        let first = self.index.at(ip).into_iter().filter_map(|c| c.rules.first());
        first.filter_map(|i| self.rules.get(*i as usize)).min_by_key(|r| get_sort_key(&r.head))
    }
}

impl HttpRule {
    /// Whether the rule is for a site. A fact of a server (`None`) is of all its sites, so that a rule
    /// for some of them does not speak of it.
    pub(super) fn holds_site(&self, ip: IpAddr, host: Option<Option<&str>>) -> bool {
        self.names.is_empty()
            || host.is_some_and(|host| self.names.iter().any(|n| holds_site(n, ip, host)))
    }
}

/// Narrower first, then by id.
pub(super) fn get_sort_key(head: &RuleHead) -> (u128, &str) {
    (head.addrs.len(), head.id.as_str())
}

/// What every rule has; `None` if something is missing, which was refused before.
fn build_rule_head(entry: RuleEntry, owner: &str, place: String) -> Option<(RuleHead, RuleKind)> {
    let head = RuleHead {
        id: entry.id?.into_inner(),
        owner: owner.to_owned(),
        addrs: entry.addrs?,
        vantages: entry.vantages.into_iter().map(toml::Spanned::into_inner).collect(),
        reason: entry.reason?.into_inner().trim().to_owned(),
        ends: entry.expires.map(|e| e.into_inner().at),
        place,
    };
    Some((head, entry.what))
}
