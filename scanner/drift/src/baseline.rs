//! The baseline: what was agreed, as reviewed text.
//!
//! One TOML file a team. Every mistake of every file is reported at once, with its line and remedy.
//! An unreadable baseline is an error and never an empty one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Range;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use mimawari_targets::diagnostic::{Diagnostic, Diagnostics, Gravity, Source};
use mimawari_targets::{AddrRange, AddrSet, Port, PortSet, Protocol, missing, mistake};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::Spanned;

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

/// A baseline file as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineFile {
    /// Format version, 1.
    #[schemars(with = "u32")]
    version: Spanned<u32>,
    /// Who answers for the rules of this file.
    #[schemars(with = "String")]
    owner: Spanned<String>,
    /// Named address lists.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    groups: BTreeMap<String, Vec<Spanned<String>>>,
    /// Ports that may, must or must never be open.
    #[serde(default)]
    #[schemars(with = "Vec<AllowEntry>")]
    allow: Vec<Spanned<AllowEntry>>,
    /// Contents that may be readable.
    #[serde(default)]
    #[schemars(with = "Vec<AllowHttpEntry>")]
    allow_http: Vec<Spanned<AllowHttpEntry>>,
}

/// One `[[allow]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    /// Unique over all files.
    #[schemars(with = "String")]
    id: Spanned<String>,
    /// A group of this file.
    #[schemars(with = "Option<String>")]
    group: Option<Spanned<String>>,
    /// Addresses, CIDRs and ranges.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    hosts: Vec<Spanned<String>>,
    /// `tcp/443`, `tcp/8000-8100`, `udp/53`.
    #[schemars(with = "Vec<String>")]
    ports: Vec<Spanned<String>>,
    /// `may` (default), `must` or `never`.
    #[serde(default)]
    expect: Expect,
    /// Why; read by the reviewer of the pull request.
    #[schemars(with = "String")]
    reason: Spanned<String>,
    /// The last day, through 23:59:59 UTC.
    #[schemars(with = "Option<String>")]
    expires: Option<Spanned<toml::value::Datetime>>,
}

/// One `[[allow_http]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowHttpEntry {
    /// Unique over all files.
    #[schemars(with = "String")]
    id: Spanned<String>,
    /// A group of this file.
    #[schemars(with = "Option<String>")]
    group: Option<Spanned<String>>,
    /// Addresses, CIDRs and ranges.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    hosts: Vec<Spanned<String>>,
    /// Ids of checks, and `legacy-tls`.
    #[serde(default)]
    checks: Vec<String>,
    /// Paths, exactly.
    #[serde(default)]
    paths: Vec<String>,
    /// Why.
    #[schemars(with = "String")]
    reason: Spanned<String>,
    /// The last day, through 23:59:59 UTC.
    #[schemars(with = "Option<String>")]
    expires: Option<Spanned<toml::value::Datetime>>,
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
}

impl Rule {
    fn ports(&self, proto: Protocol) -> &PortSet {
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
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
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
        let matching = self
            .index
            .at(ip)
            .iter()
            .filter_map(|i| self.rules.get(*i as usize))
            .filter(|r| r.ports(proto).contains(port));
        let (mut best, mut expired): (Option<&Rule>, Option<&Rule>) = (None, None);
        for rule in matching {
            let live = rule.head.is_live(now);
            match rule.expect {
                Expect::Never if live => return Match::Forbidden(&rule.head),
                Expect::Never => {}
                _ => {
                    let slot = if live { &mut best } else { &mut expired };
                    if slot.is_none_or(|b| key(&rule.head) < key(&b.head)) {
                        *slot = Some(rule);
                    }
                }
            }
        }
        match (best, expired) {
            (Some(r), _) => Match::Allowed(&r.head),
            (None, Some(r)) => Match::Expired(&r.head),
            (None, None) => Match::None,
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
            let by_check = rule.checks.iter().any(|c| c == check);
            if !by_check && !path.is_some_and(|path| rule.paths.iter().any(|p| p == path)) {
                continue;
            }
            if rule.head.is_live(now) {
                return Match::Allowed(&rule.head);
            }
            found = Match::Expired(&rule.head);
        }
        found
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

/// Which rules hold an address: the address space cut at every rule's ends, a list for each piece.
#[derive(Debug, Clone, Default)]
struct Index {
    v4: Pieces,
    v6: Pieces,
}

#[derive(Debug, Clone, Default)]
struct Pieces {
    starts: Vec<u128>,
    lists: Vec<Vec<u32>>,
}

impl Pieces {
    fn new(ranges: &[(u128, u128, u32)]) -> Self {
        // Opened at its first address, closed behind its last one.
        let mut events: Vec<(u128, bool, u32)> = Vec::with_capacity(ranges.len() * 2);
        for (a, b, i) in ranges {
            events.push((*a, true, *i));
            if let Some(behind) = b.checked_add(1) {
                events.push((behind, false, *i));
            }
        }
        events.sort_unstable();
        let mut out = Self::default();
        let mut live: BTreeMap<u32, u32> = BTreeMap::new();
        let mut at = 0;
        while at < events.len() {
            let start = events[at].0;
            while at < events.len() && events[at].0 == start {
                let (_, opens, i) = events[at];
                let n = live.entry(i).or_default();
                if opens {
                    *n += 1;
                } else {
                    *n = n.saturating_sub(1);
                    if *n == 0 {
                        live.remove(&i);
                    }
                }
                at += 1;
            }
            out.starts.push(start);
            out.lists.push(live.keys().copied().collect());
        }
        out
    }

    fn at(&self, x: u128) -> &[u32] {
        let i = self.starts.partition_point(|s| *s <= x);
        i.checked_sub(1).and_then(|i| self.lists.get(i)).map_or(&[], Vec::as_slice)
    }
}

impl Index {
    fn new<'a>(sets: impl Iterator<Item = &'a AddrSet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (i, set) in (0u32..).zip(sets) {
            for r in set.ranges() {
                match (r.first(), r.last()) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        v4.push((u128::from(a.to_bits()), u128::from(b.to_bits()), i));
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => v6.push((a.to_bits(), b.to_bits(), i)),
                    _ => {}
                }
            }
        }
        Self { v4: Pieces::new(&v4), v6: Pieces::new(&v6) }
    }

    fn at(&self, ip: IpAddr) -> &[u32] {
        match ip {
            IpAddr::V4(a) => self.v4.at(u128::from(a.to_bits())),
            IpAddr::V6(a) => self.v6.at(a.to_bits()),
        }
    }
}

/// Reads files one after the other and collects what is wrong with them.
#[derive(Default)]
struct Reader {
    rules: Vec<(Rule, Source, Range<usize>)>,
    http: Vec<HttpRule>,
    ids: HashMap<String, String>,
    messages: Vec<Diagnostic>,
}

impl Reader {
    fn error(
        &mut self,
        source: &Source,
        span: Range<usize>,
        title: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.messages.push(Diagnostic::error(title, source, span).help(help));
    }

    fn file(&mut self, name: &str, text: &str) {
        let source = Source::new(name, text);
        let file: BaselineFile = match toml::from_str(text) {
            Ok(file) => file,
            Err(e) => return self.syntax(&source, &e),
        };
        if *file.version.get_ref() != VERSION {
            let title = format!("version {} is not known", file.version.get_ref());
            self.error(
                &source,
                file.version.span(),
                title,
                "write `version = 1`, or use a newer mimawari",
            );
        }
        let owner = file.owner.get_ref().trim().to_owned();
        if owner.is_empty() {
            self.error(
                &source,
                file.owner.span(),
                "`owner` is empty",
                "name who answers for these rules, such as `owner = \"@corp/hosting\"`",
            );
        }
        let mut groups = HashMap::new();
        for (group, items) in &file.groups {
            let set = self.addrs(&source, items);
            groups.insert(group.as_str(), set);
        }
        for entry in &file.allow {
            let (span, e) = (entry.span(), entry.get_ref());
            let mut ports = [Vec::new(), Vec::new()];
            if e.ports.is_empty() {
                self.error(
                    &source,
                    span.clone(),
                    "the rule names no port",
                    "add `ports = [\"tcp/443\"]`",
                );
            }
            for p in &e.ports {
                match parse_port(p.get_ref()) {
                    Ok((Protocol::Tcp, r)) => ports[0].push(r),
                    Ok((Protocol::Udp, r)) => ports[1].push(r),
                    Err(why) => self.error(
                        &source,
                        p.span(),
                        why,
                        "write `tcp/443`, `tcp/8000-8100` or `udp/53`",
                    ),
                }
            }
            let head = self.head(
                &source,
                &span,
                &e.id,
                &owner,
                (&e.group, &e.hosts, &groups),
                &e.reason,
                e.expires.as_ref(),
            );
            let Some(head) = head else { continue };
            let [tcp, udp] = ports.map(PortSet::from_ranges);
            let cells = head.addrs.len().saturating_mul(u128::from(tcp.len() + udp.len()));
            if e.expect == Expect::Must && cells > MAX_REQUIRED {
                self.error(
                    &source,
                    span.clone(),
                    format!("the rule requires {cells} open cells, more than {MAX_REQUIRED}"),
                    "require only what an alarm should be raised for, cell by cell",
                );
            }
            self.rules.push((Rule { head, tcp, udp, expect: e.expect }, source.clone(), span));
        }
        for entry in &file.allow_http {
            let (span, e) = (entry.span(), entry.get_ref());
            if e.checks.is_empty() && e.paths.is_empty() {
                self.error(
                    &source,
                    span.clone(),
                    "the rule names neither checks nor paths",
                    "add `checks = [\"server-status\"]` or `paths = [\"/healthz\"]`",
                );
            }
            let head = self.head(
                &source,
                &span,
                &e.id,
                &owner,
                (&e.group, &e.hosts, &groups),
                &e.reason,
                e.expires.as_ref(),
            );
            let Some(head) = head else { continue };
            self.http.push(HttpRule { head, checks: e.checks.clone(), paths: e.paths.clone() });
        }
    }

    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn head(
        &mut self,
        source: &Source,
        span: &Range<usize>,
        id: &Spanned<String>,
        owner: &str,
        (group, hosts, groups): (
            &Option<Spanned<String>>,
            &[Spanned<String>],
            &HashMap<&str, Option<AddrSet>>,
        ),
        reason: &Spanned<String>,
        expires: Option<&Spanned<toml::value::Datetime>>,
    ) -> Option<Head> {
        let place = format!("{}:{}", source.name(), source.line(span.start));
        if id.get_ref().trim().is_empty() {
            self.error(source, id.span(), "`id` is empty", "give the rule a short name of its own");
        } else if let Some(first) = self.ids.insert(id.get_ref().clone(), place.clone()) {
            let title = format!("the id `{}` is used twice; first at {first}", id.get_ref());
            self.error(source, id.span(), title, "give each rule an id of its own");
        }
        if reason.get_ref().trim().is_empty() {
            self.error(
                source,
                reason.span(),
                "`reason` is empty",
                "say why this may be open, for the person who reviews it",
            );
        }
        let mut addrs = self.addrs(source, hosts);
        match group {
            Some(g) => match groups.get(g.get_ref().as_str()) {
                Some(Some(set)) => addrs = addrs.map(|a| a.union(set)),
                // Its addresses were reported already.
                Some(None) => addrs = None,
                None => {
                    let mut known: Vec<&str> = groups.keys().copied().collect();
                    known.sort_unstable();
                    let help = if known.is_empty() {
                        "define it under [groups] of this file".to_owned()
                    } else {
                        format!("groups of this file: {}", known.join(", "))
                    };
                    self.error(
                        source,
                        g.span(),
                        format!("the group `{}` is not defined", g.get_ref()),
                        help,
                    );
                    addrs = None;
                }
            },
            None if hosts.is_empty() => {
                self.error(
                    source,
                    span.clone(),
                    "the rule names neither `group` nor `hosts`",
                    "add `hosts = [\"192.0.2.70\"]`, or a group of this file",
                );
                addrs = None;
            }
            None => {}
        }
        let ends = match expires {
            None => None,
            Some(e) => match last_day(e.get_ref()) {
                Some(end) => Some(end),
                None => {
                    self.error(source, e.span(), format!("`{}` is not a day", e.get_ref()), "write a date without a time, such as `expires = 2026-12-31`; it holds through 23:59:59 UTC");
                    return None;
                }
            },
        };
        Some(Head {
            id: id.get_ref().clone(),
            owner: owner.to_owned(),
            addrs: addrs?,
            reason: reason.get_ref().trim().to_owned(),
            ends,
            place,
        })
    }

    fn addrs(&mut self, source: &Source, items: &[Spanned<String>]) -> Option<AddrSet> {
        let mut ranges = Vec::with_capacity(items.len());
        let mut whole = true;
        for item in items {
            match item.get_ref().parse::<AddrRange>() {
                Ok(r) => ranges.push(r),
                Err(e) => {
                    whole = false;
                    let help = e.help();
                    self.error(source, item.span(), e.to_string(), help);
                }
            }
        }
        whole.then(|| AddrSet::from_ranges(ranges))
    }

    /// `never` against `may` or `must` on one cell.
    fn contradictions(&mut self) {
        let mut found = Vec::new();
        for (never, source, span) in self.rules.iter().filter(|(r, ..)| r.expect == Expect::Never) {
            for (other, ..) in self.rules.iter().filter(|(r, ..)| r.expect != Expect::Never) {
                let shared = |a: &PortSet, b: &PortSet| {
                    let b = b.ranges();
                    a.ranges().iter().any(|(x, y)| {
                        let next = b.partition_point(|(_, end)| end < x);
                        b.get(next).is_some_and(|(start, _)| start <= y)
                    })
                };
                if (shared(&never.tcp, &other.tcp) || shared(&never.udp, &other.udp))
                    && !never.head.addrs.intersect(&other.head.addrs).is_empty()
                {
                    found.push(
                        Diagnostic::error(
                            format!(
                                "`{}` forbids what `{}` at {} allows",
                                never.head.id, other.head.id, other.head.place
                            ),
                            source,
                            span.clone(),
                        )
                        .help("remove one of the two, or take the shared cells out of one"),
                    );
                }
            }
        }
        self.messages.extend(found);
    }

    fn syntax(&mut self, source: &Source, e: &toml::de::Error) {
        let d = mistake(source, e.message(), e.span().unwrap_or(0..0));
        self.messages.push(match missing(e.message()) {
            Some("owner") => {
                d.help("name who answers for these rules, such as `owner = \"@corp/hosting\"`")
            }
            Some("reason") => d.help("say why this may be open, for the person who reviews it"),
            _ => d,
        });
    }
}

/// The instant after the last second of a day, UTC.
fn last_day(d: &toml::value::Datetime) -> Option<Timestamp> {
    let (Some(date), None, None) = (d.date, d.time, d.offset) else { return None };
    let date = Date::new(
        i16::try_from(date.year).ok()?,
        i8::try_from(date.month).ok()?,
        i8::try_from(date.day).ok()?,
    )
    .ok()?;
    let next = date.checked_add(1.day()).ok()?;
    Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn parse_port(text: &str) -> Result<(Protocol, (u16, u16)), String> {
    let (proto, ports) =
        text.split_once('/').ok_or_else(|| format!("`{text}` is not a protocol and a port"))?;
    let proto = match proto {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(format!("`{proto}` is not a protocol; tcp and udp are")),
    };
    let one = |s: &str| s.parse::<Port>().map(Port::get).map_err(|e| e.to_string());
    let range = match ports.split_once('-') {
        None => {
            let p = one(ports)?;
            (p, p)
        }
        Some((a, b)) => (one(a)?, one(b)?),
    };
    if range.0 > range.1 {
        return Err(format!("port range `{ports}` is inverted; write `{}-{}`", range.1, range.0));
    }
    Ok((proto, range))
}
