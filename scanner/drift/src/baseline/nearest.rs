//! The rules that come nearest to what no rule allows, and why they miss it.
//!
//! Bounded work for each question, whatever the number of rules: the rules that hold the address, and
//! a few neighbouring pieces of the address space on both sides.

use std::cmp::Ordering;
use std::net::IpAddr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use mimawari_targets::{Port, PortSet, Protocol};

use super::index::Index;
use super::{Baseline, Expect, Head, HttpRule, Rule};
use crate::verdict::NearestRule;

/// Neighbouring pieces that are looked at on each side.
const MAX_PIECES: usize = 32;
/// Rules of neighbouring pieces that are looked at on each side.
const MAX_LOOKS: usize = 256;
/// A rule that ends this near is more telling than one for the address itself and another port.
const CLOSE: u128 = 8;
/// Rules farther away than this explain nothing: a /16, and a /64.
const FAR: [u128; 2] = [1 << 16, 1 << 64];
/// Items of a list of ports, checks or paths that are told.
const MAX_ITEMS: usize = 6;
/// Longest name that is taken over, in characters.
const MAX_NAME: usize = 64;

/// In what a rule misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Miss {
    /// It does not miss: it forbids.
    Forbids,
    /// Address and port, but it has expired.
    Expired,
    /// Address and number of the port, but of the other protocol.
    OtherProtocol,
    /// Port, but its addresses lie so far below or above.
    Away { distance: u128, above: bool },
    /// Address, but not the port, check or path.
    OtherThing,
}

impl Miss {
    /// The lower, the nearer; then by distance.
    const fn rank(self) -> (u8, u128) {
        match self {
            Self::Forbids => (0, 0),
            Self::Expired => (1, 0),
            Self::OtherProtocol => (2, 0),
            Self::Away { distance, .. } if distance <= CLOSE => (3, distance),
            Self::OtherThing => (4, 0),
            Self::Away { distance, .. } => (5, distance),
        }
    }
}

/// A rule and in what it misses.
type Near<'a, R> = (Miss, &'a R);

impl Baseline {
    /// The rule nearest to allowing a cell, and why it does not. A live `never` rule that holds the
    /// cell comes first. `None` where no rule is near, and for what is allowed.
    ///
    /// Takes O(log n) in the number of rules, and O(m) in those that hold the address.
    #[must_use]
    pub fn nearest_rule(
        &self,
        ip: IpAddr,
        proto: Protocol,
        port: Port,
        now: Timestamp,
    ) -> Option<NearestRule> {
        let all = self.near_ports(ip, proto, port, now);
        let best = all.into_iter().min_by(|a, b| order(a, b, |r| &r.head))?;
        Some(best.1.told(best.0, ip, proto, port))
    }

    /// The `max` nearest rules, best first; see [`nearest_rule`](Self::nearest_rule).
    #[must_use]
    pub fn nearest_rules(
        &self,
        ip: IpAddr,
        proto: Protocol,
        port: Port,
        now: Timestamp,
        max: usize,
    ) -> Vec<NearestRule> {
        let mut all = self.near_ports(ip, proto, port, now);
        all.sort_by(|a, b| order(a, b, |r| &r.head));
        all.into_iter().take(max).map(|(miss, r)| r.told(miss, ip, proto, port)).collect()
    }

    /// The `max` rules nearest to allowing a content, best first; `path` is absent for a check that
    /// is about a server.
    #[must_use]
    pub fn nearest_contents(
        &self,
        ip: IpAddr,
        check: &str,
        path: Option<&str>,
        now: Timestamp,
        max: usize,
    ) -> Vec<NearestRule> {
        let fits = |r: &HttpRule| {
            r.checks.iter().any(|c| c == check)
                || path.is_some_and(|path| r.paths.iter().any(|p| p == path))
        };
        let mut all = Vec::new();
        for rule in self.http_index.at(ip).iter().filter_map(|i| self.http.get(*i as usize)) {
            match (fits(rule), rule.head.is_live(now)) {
                (true, true) => return Vec::new(),
                (true, false) => all.push((Miss::Expired, rule)),
                (false, true) => all.push((Miss::OtherThing, rule)),
                (false, false) => {}
            }
        }
        all.extend(beside(&self.http_index, &self.http, ip, |r| r.head.is_live(now) && fits(r)));
        all.sort_by(|a, b| order(a, b, |r| &r.head));
        all.into_iter().take(max).map(|(miss, r)| r.told(miss, ip, check, path)).collect()
    }

    fn near_ports(
        &self,
        ip: IpAddr,
        proto: Protocol,
        port: Port,
        now: Timestamp,
    ) -> Vec<Near<'_, Rule>> {
        let mut all = Vec::new();
        let mut allowed = false;
        for rule in self.index.at(ip).iter().filter_map(|i| self.rules.get(*i as usize)) {
            let (live, fits) = (rule.head.is_live(now), rule.ports(proto).contains(port));
            let miss = match (rule.expect, fits, live) {
                (Expect::Never, true, true) => return vec![(Miss::Forbids, rule)],
                (Expect::Never, ..) | (_, false, false) => continue,
                (_, true, true) => {
                    allowed = true;
                    continue;
                }
                (_, true, false) => Miss::Expired,
                (_, false, true) if rule.ports(other(proto)).contains(port) => Miss::OtherProtocol,
                (_, false, true) => Miss::OtherThing,
            };
            all.push((miss, rule));
        }
        if allowed {
            return Vec::new();
        }
        all.extend(beside(&self.index, &self.rules, ip, |r| {
            r.expect != Expect::Never && r.head.is_live(now) && r.ports(proto).contains(port)
        }));
        all
    }
}

/// The nearest rule on each side that would fit, if only the address were another.
fn beside<'a, R: HasHead>(
    index: &Index,
    rules: &'a [R],
    ip: IpAddr,
    fits: impl Fn(&R) -> bool,
) -> Vec<Near<'a, R>> {
    let far = FAR[usize::from(ip.is_ipv6())];
    let mut out: Vec<Near<'a, R>> = Vec::new();
    for above in [false, true] {
        let mut looks = MAX_LOOKS;
        for (distance, list) in index.beside(ip, above).take(MAX_PIECES) {
            if distance > far || looks == 0 {
                break;
            }
            let list = &list[..list.len().min(looks)];
            looks -= list.len();
            let best = list
                .iter()
                .filter_map(|i| rules.get(*i as usize))
                .filter(|r| fits(r))
                .map(|r| (Miss::Away { distance, above }, r))
                .min_by(|a, b| order(a, b, HasHead::head));
            // A rule of several ranges may lie on both sides; it is told for the nearer one.
            match best {
                Some(near) if out.iter().any(|o| o.1.head().id == near.1.head().id) => {
                    if out.iter().all(|o| near.0.rank() < o.0.rank()) {
                        out = vec![near];
                    }
                    break;
                }
                Some(near) => {
                    out.push(near);
                    break;
                }
                None => {}
            }
        }
    }
    out
}

trait HasHead {
    fn head(&self) -> &Head;
}

impl HasHead for Rule {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl HasHead for HttpRule {
    fn head(&self) -> &Head {
        &self.head
    }
}

/// Nearer first; then the rule for fewer addresses, then by id.
fn order<R>(a: &Near<'_, R>, b: &Near<'_, R>, head: impl Fn(&R) -> &Head) -> Ordering {
    a.0.rank().cmp(&b.0.rank()).then_with(|| super::key(head(a.1)).cmp(&super::key(head(b.1))))
}

impl Rule {
    fn told(&self, miss: Miss, ip: IpAddr, proto: Protocol, port: Port) -> NearestRule {
        let missed = match miss {
            Miss::Forbids => format!("forbids {proto}/{port} there, whatever other rules say"),
            Miss::Expired => expired(&self.head),
            Miss::OtherProtocol => {
                let says = says(self.expect);
                format!("{says} {}/{port}, not {proto}/{port}", other(proto))
            }
            Miss::OtherThing => {
                let says = says(self.expect);
                let ports = self.ports(proto);
                if ports.is_empty() {
                    let of = other(proto);
                    let list = port_list(self.ports(of));
                    format!("{says} {of}/{list}, not {proto}/{port}")
                } else {
                    format!("{says} {proto}/{}, not {port}", port_list(ports))
                }
            }
            Miss::Away { distance, above } => away(&self.head, ip, distance, above),
        };
        near(&self.head, missed)
    }
}

impl HttpRule {
    fn told(&self, miss: Miss, ip: IpAddr, check: &str, path: Option<&str>) -> NearestRule {
        let missed = match miss {
            Miss::Expired => expired(&self.head),
            Miss::Away { distance, above } => away(&self.head, ip, distance, above),
            _ => {
                let mut says = Vec::new();
                if !self.checks.is_empty() {
                    says.push(format!("the check {}", list(&self.checks)));
                }
                if !self.paths.is_empty() {
                    says.push(format!("the path {}", list(&self.paths)));
                }
                // A rule of paths alone misses by the path; every other one by the check.
                let not = match path {
                    Some(path) if self.checks.is_empty() => name(path),
                    _ => name(check),
                };
                format!("allows {}, not {not}", says.join(" and "))
            }
        };
        near(&self.head, missed)
    }
}

fn near(head: &Head, missed: String) -> NearestRule {
    NearestRule {
        id: head.id.clone(),
        place: head.place.clone(),
        owner: head.owner.clone(),
        missed,
    }
}

const fn other(proto: Protocol) -> Protocol {
    match proto {
        Protocol::Tcp => Protocol::Udp,
        Protocol::Udp => Protocol::Tcp,
    }
}

const fn says(expect: Expect) -> &'static str {
    match expect {
        Expect::Must => "requires",
        _ => "allows",
    }
}

fn expired(head: &Head) -> String {
    // The end is the instant after the last day.
    let last = head.ends.and_then(|end| end.checked_sub(SignedDuration::from_secs(1)).ok());
    match last {
        Some(t) => format!("expired on {}", t.to_zoned(TimeZone::UTC).date()),
        None => "has expired".to_owned(),
    }
}

fn away(head: &Head, ip: IpAddr, distance: u128, above: bool) -> String {
    let edge = match ip {
        IpAddr::V4(a) => {
            let d = u32::try_from(distance).unwrap_or(u32::MAX);
            let x = a.to_bits();
            IpAddr::V4(if above { x.saturating_add(d) } else { x.saturating_sub(d) }.into())
        }
        IpAddr::V6(a) => {
            let (x, d) = (a.to_bits(), distance);
            IpAddr::V6(if above { x.saturating_add(d) } else { x.saturating_sub(d) }.into())
        }
    };
    let count =
        if distance == 1 { "1 address".to_owned() } else { format!("{distance} addresses") };
    match (head.addrs.len() == 1, above) {
        (true, true) => format!("is for {edge} alone, {count} above"),
        (true, false) => format!("is for {edge} alone, {count} below"),
        (false, true) => format!("begins at {edge}, {count} above"),
        (false, false) => format!("ends at {edge}, {count} below"),
    }
}

fn port_list(ports: &PortSet) -> String {
    let ranges = ports.ranges();
    let shown = ranges
        .iter()
        .take(MAX_ITEMS)
        .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    and_more(shown.collect(), ranges.len())
}

fn list(names: &[String]) -> String {
    and_more(names.iter().take(MAX_ITEMS).map(|n| name(n)).collect(), names.len())
}

fn and_more(shown: Vec<String>, of: usize) -> String {
    let more = of - shown.len();
    let mut out = shown.join(", ");
    if more > 0 {
        out.push_str(&format!(" and {more} more"));
    }
    out
}

fn name(s: &str) -> String {
    match s.char_indices().nth(MAX_NAME) {
        Some((at, _)) => format!("{}…", &s[..at]),
        None => s.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn baseline(rules: &str) -> Baseline {
        let text = format!("version = 1\nowner = \"@t/t\"\n{rules}");
        Baseline::parse(&[("b/t.toml".to_owned(), text)]).unwrap().0
    }

    fn rule(id: &str, hosts: &str, ports: &str, more: &str) -> String {
        format!(
            "[[allow]]\nid = \"{id}\"\nhosts = [{hosts}]\nports = [{ports}]\nreason = \"x\"\n{more}\n"
        )
    }

    fn now() -> Timestamp {
        "2027-01-02T00:00:00Z".parse().unwrap()
    }

    fn missed(b: &Baseline, ip: &str, proto: Protocol, port: u16) -> Vec<String> {
        let (ip, port) = (ip.parse().unwrap(), Port::new(port).unwrap());
        let all = b.nearest_rules(ip, proto, port, now(), 3);
        assert_eq!(b.nearest_rule(ip, proto, port, now()), all.first().cloned());
        all.into_iter().map(|n| format!("{}: {}", n.id, n.missed)).collect()
    }

    #[test]
    fn each_way_to_miss_is_told_and_the_nearest_first() {
        let b = baseline(
            &[
                rule("edge", "\"198.51.100.0/26\"", "\"tcp/80\", \"tcp/443\", \"udp/53\"", ""),
                rule("cache", "\"198.51.100.60-198.51.100.63\"", "\"tcp/6379\"", ""),
                rule("alone", "\"198.51.100.71\"", "\"tcp/6379\"", ""),
                rule("old", "\"198.51.100.9\"", "\"tcp/22\"", "expires = 2026-12-31"),
                rule("no", "\"198.51.100.200\"", "\"tcp/23\"", "expect = \"never\""),
                rule("dns", "\"2001:db8::/120\"", "\"udp/53\"", "expect = \"must\""),
            ]
            .concat(),
        );
        assert_eq!(
            missed(&b, "198.51.100.67", Protocol::Tcp, 6379),
            [
                "alone: is for 198.51.100.71 alone, 4 addresses above",
                "cache: ends at 198.51.100.63, 4 addresses below",
            ]
        );
        assert_eq!(
            missed(&b, "198.51.100.3", Protocol::Tcp, 6379),
            [
                "edge: allows tcp/80, 443, not 6379",
                "cache: begins at 198.51.100.60, 57 addresses above",
            ]
        );
        assert_eq!(
            missed(&b, "198.51.100.3", Protocol::Tcp, 53),
            ["edge: allows udp/53, not tcp/53",]
        );
        assert_eq!(
            missed(&b, "198.51.100.9", Protocol::Tcp, 22),
            ["old: expired on 2026-12-31", "edge: allows tcp/80, 443, not 22",]
        );
        assert_eq!(
            missed(&b, "198.51.100.200", Protocol::Tcp, 23),
            ["no: forbids tcp/23 there, whatever other rules say",]
        );
        assert_eq!(
            missed(&b, "2001:db8::100", Protocol::Udp, 53),
            ["dns: ends at 2001:db8::ff, 1 address below",]
        );
        assert_eq!(
            missed(&b, "2001:db8::1", Protocol::Tcp, 22),
            ["dns: requires udp/53, not tcp/22",]
        );
        for (ip, port) in [("198.51.100.3", 80), ("203.0.113.1", 22), ("255.255.255.255", 80)] {
            assert_eq!(missed(&b, ip, Protocol::Tcp, port), [""; 0], "{ip}");
        }
    }

    #[test]
    fn a_content_is_missed_by_check_path_and_address() {
        let http = |id: &str, hosts: &str, what: &str| {
            format!("[[allow_http]]\nid = \"{id}\"\nhosts = [{hosts}]\n{what}\nreason = \"x\"\n")
        };
        let b = baseline(
            &[
                http("status", "\"192.0.2.0/28\"", "checks = [\"server-status\"]"),
                http("health", "\"192.0.2.0/28\"", "paths = [\"/healthz\"]"),
                http("git", "\"192.0.2.32/28\"", "checks = [\"git-config\"]"),
                http("old", "\"192.0.2.1\"", "checks = [\"git-config\"]\nexpires = 2026-12-01"),
            ]
            .concat(),
        );
        let near = |ip: &str, check: &str, path: Option<&str>| -> Vec<String> {
            let all = b.nearest_contents(ip.parse().unwrap(), check, path, now(), 3);
            all.into_iter().map(|n| format!("{}: {}", n.id, n.missed)).collect()
        };
        assert_eq!(
            near("192.0.2.1", "git-config", Some("/.git/config")),
            [
                "old: expired on 2026-12-01",
                "health: allows the path /healthz, not /.git/config",
                "status: allows the check server-status, not git-config",
            ]
        );
        assert_eq!(
            near("192.0.2.17", "git-config", Some("/.git/config")),
            ["git: begins at 192.0.2.32, 15 addresses above",]
        );
        assert_eq!(near("192.0.2.1", "x", Some("/healthz")), [""; 0]);
        assert_eq!(near("192.0.2.1", "legacy-tls", None).len(), 2);
    }

    proptest! {
        /// Held against a look at every rule and every address around.
        #[test]
        fn the_nearest_on_each_side_is_found(
            rules in prop::collection::vec((0u8..60, 0u8..12, 0usize..3), 1..12), at in 0u8..90, p in 0usize..3
        ) {
            const PORTS: [u16; 3] = [22, 80, 443];
            let text: String = rules.iter().enumerate().map(|(i, (a, n, p))| {
                rule(&format!("r{i}"), &format!("\"10.0.0.{a}-10.0.0.{}\"", a + n), &format!("\"tcp/{}\"", PORTS[*p]), "")
            }).collect();
            let b = baseline(&text);
            let ip = IpAddr::from([10, 0, 0, at]);
            let port = Port::new(PORTS[p]).unwrap();
            let found = b.near_ports(ip, Protocol::Tcp, port, now());
            let of = |d: i32| rules.iter().any(|(a, n, q)| {
                let x = i32::from(at) + d;
                *q == p && (i32::from(*a)..=i32::from(*a + *n)).contains(&x)
            });
            if of(0) {
                prop_assert!(found.is_empty());
            } else {
                let expected = [(1..200).find(|d| of(-d)), (1..200).find(|d| of(*d))];
                let side = |above: bool| found.iter().find_map(|(m, _)| match m {
                    Miss::Away { distance, above: a } if *a == above => i32::try_from(*distance).ok(),
                    _ => None,
                });
                prop_assert_eq!([side(false), side(true)], expected);
                let here = rules.iter().filter(|(a, n, _)| (*a..=*a + *n).contains(&at)).count();
                let told = found.iter().filter(|(m, _)| *m == Miss::OtherThing).count();
                prop_assert_eq!(told, here);
            }
        }
    }
}
