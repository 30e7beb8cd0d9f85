use mimawari_probes::observation::Severity;
use mimawari_targets::{Cell, Port};
use proptest::prelude::*;

use super::*;
use crate::edit::{append, format, render_new_file};
use crate::subject::Subject;
use crate::verdict::FindingCause;

const NOW: &str = "2026-11-24T06:00:00Z";

pub(in crate::edit) fn finding(ip: &str, port: u16) -> Finding {
    let ip: IpAddr = ip.parse().unwrap();
    Finding {
        id: format!(
            "{port:04x}{:012x}",
            match ip {
                IpAddr::V4(a) => u128::from(a.to_bits()),
                IpAddr::V6(a) => a.to_bits() & 0xffff_ffff,
            }
        ),
        kind: FindingKind::UnexpectedOpen,
        vantage: "default".to_owned(),
        proto: Protocol::Tcp,
        ip,
        port: Port::new(port),
        pool: None,
        scheme: None,
        host: None,
        path: None,
        check: None,
        title: None,
        remedy: None,
        state: FindingState::Open,
        cause: FindingCause::Unmatched,
        severity: Severity::Medium,
        first_seen: "2026-11-01T00:00:00Z".parse().unwrap(),
        last_seen: NOW.parse().unwrap(),
        new: false,
        reopened: 0,
        flapping: false,
        unconfirmed: false,
        owner: Some("@t/t".to_owned()),
        allowed_by: None,
        rule: None,
        nearest: None,
        acknowledged: None,
        why: String::new(),
        service: Some("redis\n[[allow]]\u{1b}[31m".to_owned()),
        evidence: None,
    }
}

pub(in crate::edit) fn content(ip: &str, host: &str, path: &str) -> Finding {
    Finding {
        id: format!("c0ffee{:x}{:x}", path.len(), host.len()),
        kind: FindingKind::ExposedContent,
        host: Some(host.to_owned()),
        path: Some(path.to_owned()),
        check: Some("php-source".to_owned()),
        pool: None,
        scheme: Some(mimawari_probes::observation::UrlScheme::Http),
        severity: Severity::Critical,
        ..finding(ip, 80)
    }
}

fn request() -> ProposalRequest<'static> {
    ProposalRequest { only: None, expires: Date::constant(2027, 2, 22), now: NOW.parse().unwrap() }
}

fn rules(findings: &[Finding]) -> Vec<NewRule> {
    let out = propose(findings, &[], &request());
    out.proposals.into_iter().flat_map(|p| p.rules).collect()
}

/// The file that a person made of a proposal.
fn filled(owner: &str, rules: &[NewRule]) -> Baseline {
    let text =
        render_new_file(owner, rules).replace("reason = \"\"", "reason = \"Partner access\"");
    assert_eq!(format(&text).unwrap(), text);
    Baseline::parse(&[("f.toml".to_owned(), text)]).unwrap_or_else(|e| panic!("{e}")).0
}

#[test]
fn a_full_rectangle_is_one_rule() {
    let mut all = Vec::new();
    for host in 0..64 {
        for port in [80, 443, 8000, 8001] {
            all.push(finding(&format!("192.0.2.{host}"), port));
        }
    }
    let made = rules(&all);
    insta::assert_snapshot!(render_new_file("@t/t", &made));
    // One cell less, and it is not covered.
    all.retain(|f| !(f.ip.to_string() == "192.0.2.7" && f.port == Port::new(443)));
    assert!(rules(&all).len() <= 3);
}

#[test]
fn parts_that_share_nothing_are_gathered_each_in_its_way() {
    let mut all = Vec::new();
    // Three services on overlapping hosts: by port. Three hosts with overlapping ports: by host.
    for (n, port) in [(5, 80), (6, 443), (7, 8443)] {
        all.extend((0..n).map(|host| finding(&format!("192.0.2.{host}"), port)));
    }
    for (host, ports) in [(100, 1..=5), (101, 2..=6), (102, 3..=9)] {
        all.extend(ports.map(|p| finding(&format!("192.0.2.{host}"), p)));
    }
    assert_eq!(rules(&all).len(), 6);
}

#[test]
fn only_confirmed_findings_are_proposed_and_the_rest_is_told() {
    let mut all = vec![
        finding("192.0.2.1", 6379),
        content("192.0.2.1", "a.example.jp", "/x\"\n.php"),
        content("192.0.2.1", "bb.example.jp", "/x\"\n.php"),
    ];
    let other = |kind, state| Finding { kind, state, ..finding("192.0.2.2", 443) };
    all[2].state = FindingState::Unverified;
    for (kind, state) in [
        (FindingKind::LegacyTls, FindingState::Open),
        (FindingKind::SuspectHost, FindingState::Open),
        (FindingKind::ForbiddenOpen, FindingState::Open),
        (FindingKind::MissingRequired, FindingState::Missing),
        (FindingKind::UnexpectedOpen, FindingState::Unverified),
        (FindingKind::UnexpectedOpen, FindingState::Resolved),
        (FindingKind::UnexpectedOpen, FindingState::Allowed),
    ] {
        all.push(other(kind, state));
    }
    let out = propose(&all, &[], &request());
    assert_eq!(out.findings, 1);
    insta::assert_debug_snapshot!(out.left);
    insta::assert_snapshot!("owner", render_new_file("@t/t", &out.proposals[0].rules));
}

#[test]
fn ids_are_unique_against_what_is_there() {
    let first = rules(&[finding("192.0.2.1", 6379)]);
    assert_eq!(first[0].id, "tcp-6379-192.0.2.1");
    let there = filled(
        "@t/t",
        &[NewRule { hosts: vec!["192.0.2.9".parse().unwrap()], ..first[0].clone() }],
    );
    let mut two = vec![finding("192.0.2.1", 6379), finding("192.0.2.9", 6379)];
    two[0].owner = None;
    let out = propose(&two, std::slice::from_ref(&there), &request());
    assert_eq!(out.proposals.len(), 1, "the other is allowed by now");
    assert_eq!((&out.proposals[0].owner, out.findings), (&None, 1));
    assert_eq!(out.proposals[0].rules[0].id, "tcp-6379-192.0.2.1-2");
}

#[test]
fn files_are_named_from_their_owner() {
    assert_eq!(build_file_name(Some("@corp/hosting")), "corp-hosting.toml");
    assert_eq!(build_file_name(Some("../../etc/passwd")), "etc-passwd.toml");
    assert_eq!(build_file_name(Some("見回り")), "unowned.toml");
    assert_eq!(build_file_name(None), "unowned.toml");
}

#[test]
fn blocks_of_the_whole_space() {
    let all: AddrRange = "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
    let blocks: Vec<String> = split_into_cidrs(&all).iter().map(ToString::to_string).collect();
    assert_eq!(blocks, ["::/1", "8000::/1"]);
}

proptest! {
    #[test]
    fn proposed_cells_are_exactly_the_findings(
        cells in prop::collection::btree_set((0u8..20, 0u16..6, 0u8..2, any::<bool>()), 1..80),
        paths in prop::collection::btree_set((0u8..6, 0u8..4), 0..12),
    ) {
        let ip = |n: u8, v6: bool| if v6 { format!("2001:db8::{n:x}") } else { format!("192.0.2.{n}") };
        let mut all: Vec<Finding> = Vec::new();
        for (host, port, proto, v6) in &cells {
            let mut f = finding(&ip(*host, *v6), 8000 + port);
            if *proto == 1 {
                f.proto = Protocol::Udp;
            }
            all.push(f);
        }
        all.extend(paths.iter().map(|(h, p)| content(&ip(*h, false), "x.example.jp", &format!("/p{p}"))));
        let made = rules(&all);
        let b = filled("@t/t", &made);
        let now = NOW.parse().unwrap();
        let facts = DecisionFacts { check: "php-source", vantage: "default", now };
        for host in 0..22 {
            for v6 in [false, true] {
                let at: IpAddr = ip(host, v6).parse().unwrap();
                for port in 0..8 {
                    for (n, proto) in [(0, Protocol::Tcp), (1, Protocol::Udp)] {
                        let cell = Cell::new(at, proto, Port::new(8000 + port).unwrap());
                        let m = b.decide(&Subject::Port(cell), &facts).says;
                        let allowed = matches!(m, RuleMatch::Allowed(_));
                        prop_assert_eq!(allowed, cells.contains(&(host, port, n, v6)));
                    }
                }
                for p in 0..5 {
                    let cell = Cell::tcp(at, Port::new(80).unwrap());
                    let content = Subject::content(cell, Some("x.example.jp"), &format!("/p{p}"));
                    prop_assert_eq!(b.decide(&content, &facts).says, RuleMatch::None);
                }
            }
        }
        // Never more rules than addresses, or than ports.
        let hosts: BTreeSet<_> = cells.iter().map(|(h, _, _, v6)| (h, v6)).collect();
        let ports: BTreeSet<_> = cells.iter().map(|(_, p, proto, _)| (p, proto)).collect();
        let of_ports = made.iter().filter(|r| matches!(r.content, RuleContent::Ports { .. })).count();
        prop_assert!(of_ports <= hosts.len().min(ports.len()));
        // And into a file that is there.
        let there = "version = 1\nowner = \"@t/t\"\n";
        prop_assert_eq!(append(there, &made).unwrap(), render_new_file("@t/t", &made));
    }
}
