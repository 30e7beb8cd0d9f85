//! The one rule for one finding.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use mimawari_probes::observation::{Severity, UrlScheme};
use mimawari_targets::{AddrRange, PortSet, Protocol};

use super::rule::{NewRule, RuleContent};
use super::words::{sanitise_text, to_slug};
use crate::baseline::{Baseline, DecisionFacts, RuleExpect, RuleMatch};
use crate::reason::detect_boilerplate;
use crate::subject::Subject;
use crate::verdict::{Finding, FindingKind, FindingState};

/// An id may be cut to so many digits.
pub const PREFIX: usize = 6;

/// Why a finding was not found.
#[derive(Debug, Clone, PartialEq)]
pub enum FindingLookup<'a> {
    /// Neither an id nor `IP:PORT` nor a URL.
    Form,
    /// Too few digits of an id.
    Short,
    /// None of the findings is it.
    None,
    /// More than one is.
    Many(Vec<&'a Finding>),
}

/// The finding that is meant: by its id or a prefix of it, `IP:PORT`, `[IPv6]:PORT`, or the URL of
/// a content. Of several the ones that count come first, and of those at one port the port itself.
///
/// # Errors
/// [`FindingLookup`].
pub fn find<'a>(findings: &'a [Finding], wanted: &str) -> Result<&'a Finding, FindingLookup<'a>> {
    let wanted = wanted.trim();
    let mut found: Vec<&Finding> = if let Some(url) = FindingUrl::parse(wanted) {
        findings.iter().filter(|f| url.is_of(f)).collect()
    } else if let Ok(addr) = wanted.parse::<SocketAddr>() {
        let at = |f: &&Finding| f.ip == addr.ip() && f.port.is_some_and(|p| p.get() == addr.port());
        findings.iter().filter(at).collect()
    } else if !wanted.is_empty() && wanted.chars().all(|c| c.is_ascii_hexdigit()) {
        if wanted.len() < PREFIX {
            return Err(FindingLookup::Short);
        }
        let wanted = wanted.to_ascii_lowercase();
        findings.iter().filter(|f| f.id.starts_with(&wanted)).collect()
    } else {
        return Err(FindingLookup::Form);
    };
    let narrow = |found: &mut Vec<&'a Finding>, keep: &dyn Fn(&Finding) -> bool| {
        if found.len() > 1 && found.iter().any(|f| keep(f)) {
            found.retain(|f| keep(f));
        }
    };
    narrow(&mut found, &|f| f.state.is_drift());
    narrow(&mut found, &|f| f.path.is_none() && f.check.is_none());
    match found.as_slice() {
        [] => Err(FindingLookup::None),
        [one] => Ok(one),
        _ => Err(FindingLookup::Many(found)),
    }
}

/// `scheme://host[:port]/path`, as far as findings are distinguished by it.
struct FindingUrl<'a> {
    scheme: UrlScheme,
    host: &'a str,
    port: u16,
    path: &'a str,
}

impl<'a> FindingUrl<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, usual) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (UrlScheme::Http, 80),
            "https" => (UrlScheme::Https, 443),
            _ => return None,
        };
        let cut = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, usual),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self { scheme, host, port, path: if path.is_empty() { "/" } else { path } })
    }

    fn is_of(&self, f: &Finding) -> bool {
        let host = match &f.host {
            Some(host) => host.eq_ignore_ascii_case(self.host),
            None => false,
        };
        f.path.as_deref() == Some(self.path)
            && f.port.is_some_and(|p| p.get() == self.port)
            && f.scheme.is_none_or(|s| s == self.scheme)
            && (host || self.host.parse::<IpAddr>().is_ok_and(|ip| ip == f.ip))
    }
}

/// What a person says of a finding that is to be allowed.
#[derive(Debug, Clone)]
pub struct AcceptedRule<'a> {
    /// Why.
    pub reason: &'a str,
    /// The last day.
    pub expires: Option<Date>,
    /// May or must.
    pub expect: RuleExpect,
    /// The rule's id, if not made from port and address.
    pub id: Option<&'a str>,
}

/// Why a finding is not accepted: what is wrong, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptRefusal {
    /// In one line without a full stop.
    pub what: String,
    /// As an imperative without a full stop.
    pub help: String,
}

fn refuse<T>(what: impl Into<String>, help: impl Into<String>) -> Result<T, AcceptRefusal> {
    Err(AcceptRefusal { what: what.into(), help: help.into() })
}

/// The rule that allows exactly this finding.
///
/// # Errors
/// A [`AcceptRefusal`]: the finding cannot be allowed by a rule, or what is said of it is not enough.
pub fn accept(
    f: &Finding,
    said: &AcceptedRule<'_>,
    baseline: &Baseline,
    now: Timestamp,
) -> Result<NewRule, AcceptRefusal> {
    let today = now.to_zoned(TimeZone::UTC).date();
    may_be_accepted(f)?;
    check_still_undecided(f, baseline, now)?;
    if said.reason.trim().is_empty() {
        return refuse(
            "--reason is empty",
            "say why this may be open, for the person who reviews it",
        );
    }
    if detect_boilerplate(said.reason, said.id.unwrap_or_default()).is_some() {
        return refuse(
            format!("--reason: `{}` is no reason", sanitise_text(said.reason, 60)),
            "say why this may be open, for the person who reviews it, such as `Partner VPN, ticket NET-7`",
        );
    }
    match said.expires {
        Some(day) if day < today => {
            return refuse(
                format!("--expires: {day} is over"),
                format!("name a day from {today} on; the rule holds through it"),
            );
        }
        // The judge calls exactly the ports of administration and data high.
        None if f.kind.is_port() && f.severity >= Severity::High => {
            return refuse(
                format!(
                    "{}/{} is a port of administration or data, and the rule would have no end",
                    f.proto,
                    f.port.map_or(0, mimawari_targets::Port::get)
                ),
                "add --expires YYYY-MM-DD, so that somebody looks at it again",
            );
        }
        _ => {}
    }
    let subject = f.subject();
    if subject.kind() != f.kind {
        return refuse("the finding names no port and no path", "write the rule by hand");
    }
    let content = match subject {
        Subject::Content(place) => {
            // Another site of the address may publish another customer's secret at this path.
            let site = f.host.as_ref().map_or_else(|| f.ip.to_string(), |h| h.to_ascii_lowercase());
            RuleContent::Paths { paths: vec![place.path], names: vec![site] }
        }
        Subject::Server(_, fact) => RuleContent::Checks(vec![fact.as_str().to_owned()]),
        Subject::Port(cell) => {
            let port = cell.port.get();
            let [tcp, udp] = Protocol::ALL
                .map(|proto| PortSet::from_ranges((proto == cell.proto).then_some((port, port))));
            RuleContent::Ports { tcp, udp, expect: said.expect }
        }
        Subject::Host(_) => {
            if said.expires.is_none() {
                return refuse(
                    "the rule would allow all ports of the host, and would have no end",
                    "add --expires YYYY-MM-DD, so that somebody looks at it again",
                );
            }
            RuleContent::Host
        }
        Subject::Pool(_) => {
            return refuse("it is a requirement for a pool", "change the rule by hand");
        }
    };
    if said.expect != RuleExpect::May && !matches!(content, RuleContent::Ports { .. }) {
        return refuse("--expect: a content may be readable, and never must", "leave --expect out");
    }
    let host = AddrRange::from(f.ip);
    let id = match said.id {
        Some(id) if id.trim().is_empty() => {
            return refuse("--id is empty", "leave it out, and one is made");
        }
        Some(id) if baseline.has(id) => {
            return refuse(
                format!("the id `{}` is used already", sanitise_text(id, 60)),
                "choose another with --id, or leave it out, and one is made",
            );
        }
        Some(id) => id.to_owned(),
        None => choose_unique_id(&build_rule_id(&content, &[host]), |id| baseline.has(id)),
    };
    Ok(NewRule {
        comments: Vec::new(),
        id,
        hosts: vec![host],
        content,
        reason: said.reason.trim().to_owned(),
        expires: said.expires,
    })
}

/// The verdict may be older than the baseline.
fn check_still_undecided(
    f: &Finding,
    baseline: &Baseline,
    now: Timestamp,
) -> Result<(), AcceptRefusal> {
    let check = f.check.as_deref().unwrap_or_default();
    let facts = DecisionFacts { check, vantage: &f.vantage, now };
    let of = baseline.decide(&f.subject(), &facts).says;
    match of {
        RuleMatch::Allowed(head) => refuse(
            format!(
                "the rule `{}` at {} allows it by now",
                sanitise_text(&head.id, 60),
                head.place
            ),
            "judge the run again with `mimawari judge --run`; to change the rule, edit it",
        ),
        RuleMatch::Forbidden(head) => refuse(
            format!("the rule `{}` at {} forbids it", sanitise_text(&head.id, 60), head.place),
            "close the port; or change that rule, and then judge again",
        ),
        RuleMatch::Expired(_) | RuleMatch::None => Ok(()),
    }
}

fn may_be_accepted(f: &Finding) -> Result<(), AcceptRefusal> {
    let rule = |f: &Finding| f.allowed_by.as_ref().map_or(String::new(), |r| format!("`{r}`"));
    match (f.kind, f.state) {
        (kind, _) if kind.is_requirement() => refuse(
            "it is missing, and a rule with `expect = \"must\"` requires it",
            "change that rule to `expect = \"may\"`, or remove it",
        ),
        (FindingKind::ForbiddenOpen, _) => refuse(
            "a rule with `expect = \"never\"` forbids it, and wins over every other",
            "close the port; or change that rule, and then judge again",
        ),
        (_, FindingState::Allowed) => refuse(
            format!("it is allowed already, by {}", rule(f)),
            "nothing is left to accept; to change the rule, edit it",
        ),
        (_, FindingState::Resolved) => {
            refuse("it was seen to be gone", "nothing is left to accept")
        }
        (_, FindingState::OutOfScope) => {
            refuse("its address is out of scope", "nothing is left to accept")
        }
        _ => Ok(()),
    }
}

/// An id of port (or path) and address: `tcp-6379-192.0.2.70`.
pub(super) fn build_rule_id(content: &RuleContent, hosts: &[AddrRange]) -> String {
    let what = match content {
        RuleContent::Ports { tcp, udp, .. } => {
            let (proto, set) = if tcp.is_empty() { ("udp", udp) } else { ("tcp", tcp) };
            match set.ranges().first() {
                Some((a, b)) if a == b => format!("{proto}-{a}"),
                Some((a, b)) => format!("{proto}-{a}-{b}"),
                None => proto.to_owned(),
            }
        }
        RuleContent::Host => "host".to_owned(),
        RuleContent::Paths { paths: all, .. } | RuleContent::Checks(all) => {
            let slug = to_slug(all.first().map_or("", String::as_str), 24);
            if slug.is_empty() { "http".to_owned() } else { format!("http-{slug}") }
        }
    };
    let host = hosts.first().map(ToString::to_string).unwrap_or_default();
    format!("{what}-{}", host.replace([':', '/'], "-"))
}

/// The id, or with a number behind it the first that is free.
pub(super) fn choose_unique_id(id: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(id) {
        return id.to_owned();
    }
    let numbered = (2u32..).map(|n| format!("{id}-{n}"));
    numbered.into_iter().find(|id| !taken(id)).unwrap_or_default()
}

#[cfg(test)]
#[path = "acceptance_tests.rs"]
mod tests;
