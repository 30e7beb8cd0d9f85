//! The rules that come nearest to what no rule allows, and why they miss it.
//!
//! Bounded work for each question, whatever the number of rules: those that hold the address, and a few
//! that begin or end near it.

use std::cmp::Ordering;
use std::net::IpAddr;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use mimawari_targets::{Cell, PortSet};

use super::DecisionFacts;
use super::book::get_sort_key;
use super::index::RuleIndex;
use super::{BaselineRule, HttpRule, RuleBook, RuleExpect, RuleHead};
use crate::verdict::NearestRule;

/// Neighbouring rules that are looked at on each side.
const MAX_LOOKS: usize = 256;
/// A rule that ends this near explains more than one for the address itself and another port.
const CLOSE: u128 = 8;
/// Rules farther away than this explain nothing: a /16, and a /64.
const FAR: [u128; 2] = [1 << 16, 1 << 64];
/// Items of a list of ports, checks or paths that are shown.
const MAX_ITEMS: usize = 6;
/// Longest name that is taken over, in characters.
const MAX_NAME: usize = 64;

/// In what a rule misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RuleMiss {
    /// It does not miss: it forbids.
    Forbids,
    /// Address and port, but it has expired.
    Expired,
    /// Address and port, but it is for another vantage point.
    OtherVantage,
    /// Address and check or path, but it is for other sites.
    OtherSite,
    /// Address and number of the port, but of the other protocol.
    OtherProtocol,
    /// Port, but its addresses lie so far below or above.
    Away { distance: u128, above: bool },
    /// Address, but not the port, check or path.
    OtherThing,
}

impl RuleMiss {
    /// The lower, the nearer; then by distance.
    const fn rank(self) -> (u8, u128) {
        match self {
            Self::Forbids => (0, 0),
            Self::Expired => (1, 0),
            Self::OtherVantage | Self::OtherSite => (2, 0),
            Self::OtherProtocol => (3, 0),
            Self::Away { distance, .. } if distance <= CLOSE => (4, distance),
            Self::OtherThing => (5, 0),
            Self::Away { distance, .. } => (6, distance),
        }
    }
}

/// A rule and in what it misses.
type RankedMiss<'a, R> = (RuleMiss, &'a R);

impl RuleBook {
    /// The `max` rules nearest to allowing a cell, best first.
    ///
    /// Takes O(log n) in the number of rules, and O(m) in the sets of addresses that hold the address.
    pub(super) fn nearest_rules(
        &self,
        cell: Cell,
        facts: &DecisionFacts<'_>,
        max: usize,
    ) -> Vec<NearestRule> {
        let mut all = self.near_ports(cell, facts, max);
        all.sort_by(|a, b| compare_misses(a, b, |r| &r.head));
        all.into_iter().take(max).map(|(miss, r)| r.near(miss, cell)).collect()
    }

    /// The `max` rules nearest to allowing a content (host and path), or without one a fact of a server;
    /// best first.
    pub(super) fn nearest_contents(
        &self,
        ip: IpAddr,
        check: &str,
        site: Option<(Option<&str>, &str)>,
        facts: &DecisionFacts<'_>,
        max: usize,
    ) -> Vec<NearestRule> {
        let path = site.map(|(_, path)| path);
        let holds_thing = |r: &HttpRule| {
            r.checks.iter().any(|c| c == check)
                || path.is_some_and(|path| r.paths.iter().any(|p| p == path))
        };
        let holds_site = |r: &HttpRule| r.holds_site(ip, site.map(|(host, _)| host));
        let mut all = Vec::new();
        for rule in self.web_rules(ip, check, path).filter_map(|i| self.http.get(i)) {
            let miss = match (rule.head.is_live(facts.now), holds_site(rule)) {
                (true, true) if rule.head.is_for(facts.vantage) => return Vec::new(),
                (true, true) => RuleMiss::OtherVantage,
                (true, false) => RuleMiss::OtherSite,
                (false, true) => RuleMiss::Expired,
                (false, false) => continue,
            };
            all.push((miss, rule));
        }
        for class in self.http_index.at(ip) {
            let rules = class.rules.iter().filter_map(|i| self.http.get(*i as usize));
            let others = rules.filter(|r| r.head.is_live(facts.now) && !holds_thing(r));
            all.extend(others.take(max).map(|r| (RuleMiss::OtherThing, r)));
        }
        all.extend(find_adjacent_rules(&self.http_index, &self.http, ip, |r| {
            r.head.is_live(facts.now)
                && r.head.is_for(facts.vantage)
                && holds_thing(r)
                && holds_site(r)
        }));
        all.sort_by(|a, b| compare_misses(a, b, |r| &r.head));
        all.into_iter().take(max).map(|(miss, r)| r.near(miss, ip, check, site)).collect()
    }

    /// Candidates, among them the `max` nearest.
    fn near_ports(
        &self,
        cell: Cell,
        facts: &DecisionFacts<'_>,
        max: usize,
    ) -> Vec<RankedMiss<'_, BaselineRule>> {
        let Cell { ip, proto, port } = cell;
        let mut all = Vec::new();
        let (mut allowed, mut forbids): (bool, Option<u32>) = (false, None);
        let classes = self.index.at(ip);
        let is_for = |r: &BaselineRule| r.head.is_for(facts.vantage);
        for class in &classes {
            class.at_port(proto, port, &mut |i| {
                let Some(rule) = self.rules.get(i as usize) else { return };
                match (rule.expect, rule.head.is_live(facts.now)) {
                    (RuleExpect::Never, true) if is_for(rule) => {
                        forbids = Some(forbids.map_or(i, |n| n.min(i)));
                    }
                    (RuleExpect::Never, _) => {}
                    (_, true) if is_for(rule) => allowed = true,
                    (_, true) => all.push((RuleMiss::OtherVantage, rule)),
                    (_, false) => all.push((RuleMiss::Expired, rule)),
                }
            });
        }
        if let Some(rule) = forbids.and_then(|i| self.rules.get(i as usize)) {
            return vec![(RuleMiss::Forbids, rule)];
        }
        if allowed {
            return Vec::new();
        }
        let may = |r: &BaselineRule| r.expect != RuleExpect::Never && r.head.is_live(facts.now);
        for class in classes {
            class.at_port(proto.other(), port, &mut |i| {
                let rule = self.rules.get(i as usize);
                let rule = rule.filter(|r| may(r) && !r.ports(proto).contains(port));
                all.extend(rule.map(|r| (RuleMiss::OtherProtocol, r)));
            });
            // They are sorted by what decides between them, so that the first ones are enough.
            let rules = class.rules.iter().filter_map(|i| self.rules.get(*i as usize));
            let others = rules.filter(|r| {
                let holds = |proto| r.ports(proto).contains(port);
                may(r) && !holds(proto) && !holds(proto.other())
            });
            all.extend(others.take(max).map(|r| (RuleMiss::OtherThing, r)));
        }
        all.extend(find_adjacent_rules(&self.index, &self.rules, ip, |r| {
            may(r) && is_for(r) && r.ports(proto).contains(port)
        }));
        all
    }
}

/// The nearest rule on each side that would fit, if only the address were another.
fn find_adjacent_rules<'a, R: HasHead>(
    index: &RuleIndex,
    rules: &'a [R],
    ip: IpAddr,
    fits: impl Fn(&R) -> bool,
) -> Vec<RankedMiss<'a, R>> {
    let far = FAR[usize::from(ip.is_ipv6())];
    let mut out: Vec<RankedMiss<'a, R>> = Vec::new();
    for above in [false, true] {
        let mut looks = MAX_LOOKS;
        let mut best: Option<RankedMiss<'a, R>> = None;
        for (distance, class) in index.beside(ip, above) {
            // Rules that begin or end at the same address are compared with each other.
            let farther = best.is_some_and(|(miss, _)| miss.rank().1 < distance);
            if distance > far || looks == 0 || farther {
                break;
            }
            let list = &class.rules[..class.rules.len().min(looks)];
            looks -= list.len();
            let near = list
                .iter()
                .filter_map(|i| rules.get(*i as usize))
                // Of a rule of several ranges another one may hold the address itself.
                .filter(|r| fits(r) && !r.head().addrs.contains(ip))
                .map(|r| (RuleMiss::Away { distance, above }, r));
            best = best.into_iter().chain(near).min_by(|a, b| compare_misses(a, b, HasHead::head));
        }
        // A rule of several ranges may lie on both sides; it is reported for the nearer one.
        let Some(near) = best else { continue };
        if !out.iter().any(|o| o.1.head().id == near.1.head().id) {
            out.push(near);
        } else if out.iter().all(|o| near.0.rank() < o.0.rank()) {
            out = vec![near];
        }
    }
    out
}

trait HasHead {
    fn head(&self) -> &RuleHead;
}

impl HasHead for BaselineRule {
    fn head(&self) -> &RuleHead {
        &self.head
    }
}

impl HasHead for HttpRule {
    fn head(&self) -> &RuleHead {
        &self.head
    }
}

/// Nearer first; then the rule for fewer addresses, then by id.
fn compare_misses<R>(
    a: &RankedMiss<'_, R>,
    b: &RankedMiss<'_, R>,
    head: impl Fn(&R) -> &RuleHead,
) -> Ordering {
    a.0.rank().cmp(&b.0.rank()).then_with(|| get_sort_key(head(a.1)).cmp(&get_sort_key(head(b.1))))
}

impl BaselineRule {
    fn near(&self, miss: RuleMiss, cell: Cell) -> NearestRule {
        let Cell { ip, proto, port } = cell;
        let missed = match miss {
            RuleMiss::OtherVantage => describe_vantage_mismatch(&self.head),
            RuleMiss::Forbids => format!("forbids {proto}/{port} there, whatever other rules say"),
            RuleMiss::Expired => describe_expiry(&self.head),
            RuleMiss::OtherProtocol => {
                let says = describe_expectation(self.expect);
                format!("{says} {}/{port}, not {proto}/{port}", proto.other())
            }
            RuleMiss::OtherThing | RuleMiss::OtherSite => {
                let says = describe_expectation(self.expect);
                let ports = self.ports(proto);
                if ports.is_empty() {
                    let of = proto.other();
                    let list = format_port_ranges(self.ports(of));
                    format!("{says} {of}/{list}, not {proto}/{port}")
                } else {
                    format!("{says} {proto}/{}, not {port}", format_port_ranges(ports))
                }
            }
            RuleMiss::Away { distance, above } => {
                describe_distance(&self.head, ip, distance, above)
            }
        };
        build_nearest_rule(&self.head, missed)
    }
}

impl HttpRule {
    fn near(
        &self,
        miss: RuleMiss,
        ip: IpAddr,
        check: &str,
        site: Option<(Option<&str>, &str)>,
    ) -> NearestRule {
        let missed = match miss {
            RuleMiss::OtherVantage => describe_vantage_mismatch(&self.head),
            RuleMiss::OtherSite => {
                let site = match site {
                    Some((Some(host), _)) => format!("for {}", quote_name(host)),
                    Some((None, _)) => format!("for {ip} itself"),
                    None => "for the whole server".to_owned(),
                };
                format!("is for {} alone, not {site}", list(&self.names))
            }
            RuleMiss::Expired => describe_expiry(&self.head),
            RuleMiss::Away { distance, above } => {
                describe_distance(&self.head, ip, distance, above)
            }
            _ => {
                let mut says = Vec::new();
                if !self.checks.is_empty() {
                    says.push(format!("the check {}", list(&self.checks)));
                }
                if !self.paths.is_empty() {
                    says.push(format!("the path {}", list(&self.paths)));
                }
                // A rule of paths alone misses by the path; every other one by the check.
                let not = match site {
                    Some((_, path)) if self.checks.is_empty() => quote_name(path),
                    _ => quote_name(check),
                };
                format!("allows {}, not {not}", says.join(" and "))
            }
        };
        build_nearest_rule(&self.head, missed)
    }
}

fn describe_vantage_mismatch(head: &RuleHead) -> String {
    format!("is for the vantage {} alone", list(&head.vantages))
}

fn build_nearest_rule(head: &RuleHead, missed: String) -> NearestRule {
    NearestRule {
        id: head.id.clone(),
        place: head.place.clone(),
        owner: head.owner.clone(),
        missed,
    }
}

const fn describe_expectation(expect: RuleExpect) -> &'static str {
    match expect {
        RuleExpect::Must => "requires",
        _ => "allows",
    }
}

fn describe_expiry(head: &RuleHead) -> String {
    // The end is the instant after the last day.
    let last = head.ends.and_then(|end| end.checked_sub(SignedDuration::from_secs(1)).ok());
    match last {
        Some(t) => format!("expired on {}", t.to_zoned(TimeZone::UTC).date()),
        None => "has expired".to_owned(),
    }
}

fn describe_distance(head: &RuleHead, ip: IpAddr, distance: u128, above: bool) -> String {
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

fn format_port_ranges(ports: &PortSet) -> String {
    let ranges = ports.ranges();
    let shown = ranges
        .iter()
        .take(MAX_ITEMS)
        .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    join_with_remainder(shown.collect(), ranges.len())
}

fn list(names: &[String]) -> String {
    join_with_remainder(names.iter().take(MAX_ITEMS).map(|n| quote_name(n)).collect(), names.len())
}

fn join_with_remainder(shown: Vec<String>, of: usize) -> String {
    let more = of - shown.len();
    let mut out = shown.join(", ");
    if more > 0 {
        out.push_str(&format!(" and {more} more"));
    }
    out
}

fn quote_name(s: &str) -> String {
    match s.char_indices().nth(MAX_NAME) {
        Some((at, _)) => format!("{}…", &s[..at]),
        None => s.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use mimawari_targets::Port;
    use proptest::prelude::*;

    use super::*;
    use crate::subject::{ServerFact, Subject};

    fn baseline(rules: &str) -> RuleBook {
        let text = format!("version = 1\nowner = \"@t/t\"\n{rules}");
        RuleBook::parse(&[("b/t.toml".to_owned(), text)]).unwrap().0
    }

    fn rule(id: &str, hosts: &str, ports: &str, more: &str) -> String {
        format!(
            "[[allow]]\nid = \"{id}\"\nhosts = [{hosts}]\nports = [{ports}]\nreason = \"x\"\n{more}\n"
        )
    }

    fn now() -> Timestamp {
        "2027-01-02T00:00:00Z".parse().unwrap()
    }

    fn facts(check: &str) -> DecisionFacts<'_> {
        DecisionFacts { check, vantage: "default", now: now() }
    }

    fn missed(b: &RuleBook, cell: &str) -> Vec<String> {
        let cell: Cell = cell.parse().unwrap();
        let all = b.nearest_to(&Subject::Port(cell), &facts(""), 3);
        assert_eq!(b.nearest_to(&Subject::Port(cell), &facts(""), 1).first(), all.first());
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
            missed(&b, "198.51.100.67:6379"),
            [
                "alone: is for 198.51.100.71 alone, 4 addresses above",
                "cache: ends at 198.51.100.63, 4 addresses below",
            ]
        );
        assert_eq!(
            missed(&b, "198.51.100.3:6379"),
            [
                "edge: allows tcp/80, 443, not 6379",
                "cache: begins at 198.51.100.60, 57 addresses above",
            ]
        );
        assert_eq!(missed(&b, "198.51.100.3:53"), ["edge: allows udp/53, not tcp/53",]);
        assert_eq!(
            missed(&b, "198.51.100.9:22"),
            ["old: expired on 2026-12-31", "edge: allows tcp/80, 443, not 22",]
        );
        assert_eq!(
            missed(&b, "198.51.100.200:23"),
            ["no: forbids tcp/23 there, whatever other rules say",]
        );
        assert_eq!(
            missed(&b, "[2001:db8::100]:53/udp"),
            ["dns: ends at 2001:db8::ff, 1 address below",]
        );
        assert_eq!(missed(&b, "[2001:db8::1]:22"), ["dns: requires udp/53, not tcp/22",]);
        for cell in ["198.51.100.3:80", "203.0.113.1:22", "255.255.255.255:80"] {
            assert_eq!(missed(&b, cell), [""; 0], "{cell}");
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
            let cell = Cell::tcp(ip.parse().unwrap(), Port::new(80).unwrap());
            let subject = match path {
                Some(path) => Subject::content(cell, Some("a.example.jp"), path),
                None => Subject::Server(cell, ServerFact::LegacyTls),
            };
            let all = b.nearest_to(&subject, &facts(check), 3);
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

    #[test]
    fn sites_and_vantages_are_named_where_they_miss() {
        let b = baseline(
            &[
                rule("office", "\"192.0.2.1\"", "\"tcp/22\"", "vantages = [\"office\"]"),
                "[[allow_http]]\nid = \"shop\"\nhosts = [\"192.0.2.1\"]\npaths = [\"/.env\"]\nnames = [\"shop.example.jp\"]\nreason = \"x\"\n".to_owned(),
            ]
            .concat(),
        );
        assert_eq!(missed(&b, "192.0.2.1:22"), ["office: is for the vantage office alone"]);
        let cell = Cell::tcp("192.0.2.1".parse().unwrap(), Port::new(80).unwrap());
        for (host, expected) in [
            (Some("shop.example.jp"), None),
            (
                Some("other.example.jp"),
                Some("is for shop.example.jp alone, not for other.example.jp"),
            ),
            (None, Some("is for shop.example.jp alone, not for 192.0.2.1 itself")),
        ] {
            let all = b.nearest_to(&Subject::content(cell, host, "/.env"), &facts("dotenv"), 1);
            assert_eq!(all.first().map(|n| n.missed.as_str()), expected, "{host:?}");
        }
    }

    proptest! {
        /// Compared with a look at every rule and every address around.
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
            let found = b.near_ports(Cell::tcp(ip, port), &facts(""), usize::MAX);
            let of = |d: i32| rules.iter().any(|(a, n, q)| {
                let x = i32::from(at) + d;
                *q == p && (i32::from(*a)..=i32::from(*a + *n)).contains(&x)
            });
            if of(0) {
                prop_assert!(found.is_empty());
            } else {
                let expected = [(1..200).find(|d| of(-d)), (1..200).find(|d| of(*d))];
                let side = |above: bool| found.iter().find_map(|(m, _)| match m {
                    RuleMiss::Away { distance, above: a } if *a == above => i32::try_from(*distance).ok(),
                    _ => None,
                });
                prop_assert_eq!([side(false), side(true)], expected);
                let here = rules.iter().filter(|(a, n, _)| (*a..=*a + *n).contains(&at)).count();
                let others = found.iter().filter(|(m, _)| *m == RuleMiss::OtherThing).count();
                prop_assert_eq!(others, here);
            }
        }
    }
}
