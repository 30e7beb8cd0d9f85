use super::super::propose::tests::{content, finding};
use super::*;

const TODAY: Date = Date::constant(2026, 11, 24);
const NOW: Timestamp = Timestamp::constant(1_795_500_000, 0); // 2026-11-24

fn baseline() -> Baseline {
    let text = "version = 1\nowner = \"@t/t\"\n[[allow]]\nid = \"tcp-22-192.0.2.1\"\nhosts = [\"192.0.2.9\"]\nports = [\"tcp/22\"]\nreason = \"x\"\n[[allow]]\nid = \"n\"\nhosts = [\"192.0.2.1\"]\nports = [\"tcp/23\"]\nexpect = \"never\"\nreason = \"x\"\n";
    Baseline::parse(&[("b.toml".to_owned(), text.to_owned())]).unwrap().0
}

fn said(reason: &str) -> AcceptedRule<'_> {
    AcceptedRule { reason, expires: Some(TODAY), expect: RuleExpect::May, id: None }
}

#[test]
fn findings_are_found_by_id_port_and_url() {
    let mut gone = finding("192.0.2.1", 80);
    (gone.kind, gone.state) = (FindingKind::ForbiddenOpen, FindingState::Resolved);
    gone.id = "ffffffffffffffff".to_owned();
    let all = [
        finding("192.0.2.1", 22),
        finding("2001:db8::1", 22),
        finding("192.0.2.1", 80),
        gone,
        content("192.0.2.1", "a.example.jp", "/x?y=http://z/"),
        content("192.0.2.2", "a.example.jp", "/x?y=http://z/"),
        content("192.0.2.2", "bb.example.jp", "/"),
    ];
    let at = |wanted: &str| find(&all, wanted).map(|f| all.iter().position(|g| g == f).unwrap());
    assert_eq!(at("192.0.2.1:22"), Ok(0));
    assert_eq!(at("[2001:DB8::1]:22"), Ok(1));
    assert_eq!(at("192.0.2.1:80"), Ok(2), "the port itself, and what counts");
    assert_eq!(at(&all[0].id), Ok(0));
    assert_eq!(at(&all[0].id[..14].to_uppercase()), Ok(0));
    assert_eq!(at("FFFFFF"), Ok(3));
    assert_eq!(at("http://192.0.2.1/x?y=http://z/"), Ok(4));
    assert_eq!(at("HTTP://BB.example.jp:80"), Ok(6));
    assert_eq!(at("192.0.2.2:80").unwrap_err(), FindingLookup::Many(vec![&all[5], &all[6]]));
    assert_eq!(
        at("http://a.example.jp/x?y=http://z/").unwrap_err(),
        FindingLookup::Many(vec![&all[4], &all[5]])
    );
    for none in ["192.0.2.1:23", "https://bb.example.jp:80/", "http://c/", "abcdef01", "http://"] {
        assert_eq!(at(none).unwrap_err(), FindingLookup::None, "{none}");
    }
    assert_eq!(at("fffff").unwrap_err(), FindingLookup::Short);
    for form in ["", "192.0.2.1", "ftp://x/", "redis", "192.0.2.1:99999"] {
        assert_eq!(at(form).unwrap_err(), FindingLookup::Form, "{form}");
    }
}

#[test]
fn the_rule_is_for_exactly_the_finding() {
    let b = baseline();
    let rule = |f: &Finding| accept(f, &said("Partner VPN"), &b, NOW).unwrap();
    let ssh = rule(&finding("192.0.2.1", 22));
    insta::assert_snapshot!(
        [ssh.render(), rule(&content("2001:db8::1", "a", "/a b\"")).render()].join("\n")
    );
    let mut tls = finding("192.0.2.1", 443);
    (tls.kind, tls.check) = (FindingKind::LegacyTls, Some("legacy-tls".to_owned()));
    assert_eq!(rule(&tls).content, RuleContent::Checks(vec!["legacy-tls".to_owned()]));
    let mut udp = finding("192.0.2.1", 53);
    udp.proto = Protocol::Udp;
    assert!(rule(&udp).render().contains("ports = [\"udp/53\"]"));
}

#[test]
fn refusals() {
    let b = baseline();
    let plain = finding("192.0.2.1", 22);
    let high = Finding { severity: Severity::High, ..plain.clone() };
    let of = |kind| {
        // A whole host has no port.
        let port = plain.port.filter(|_| kind != FindingKind::SuspectHost);
        Finding { kind, port, ..plain.clone() }
    };
    let is = |state| Finding { state, allowed_by: Some("r".to_owned()), ..plain.clone() };
    let good = said("Partner VPN");
    let there = finding("192.0.2.9", 22);
    let mut forbidden = plain.clone();
    forbidden.port = mimawari_targets::Port::new(23);
    let past = AcceptedRule { expires: Some(Date::constant(2026, 11, 23)), ..good.clone() };
    let endless = AcceptedRule { expires: None, ..good.clone() };
    let must = AcceptedRule { expect: RuleExpect::Must, ..good.clone() };
    let id = |id| AcceptedRule { id: Some(id), ..good.clone() };
    let all = [
        accept(&plain, &said(""), &b, NOW),
        accept(&plain, &said("T.B.D.\u{1b}"), &b, NOW),
        accept(&plain, &past, &b, NOW),
        accept(&high, &endless, &b, NOW),
        accept(&content("192.0.2.1", "a", "/"), &must, &b, NOW),
        accept(&plain, &id("tcp-22-192.0.2.1"), &b, NOW),
        accept(&plain, &id(" "), &b, NOW),
        accept(&of(FindingKind::SuspectHost), &endless, &b, NOW),
        accept(&of(FindingKind::MissingRequired), &good, &b, NOW),
        accept(&of(FindingKind::ForbiddenOpen), &good, &b, NOW),
        accept(&is(FindingState::Allowed), &good, &b, NOW),
        accept(&is(FindingState::Resolved), &good, &b, NOW),
        accept(&is(FindingState::OutOfScope), &good, &b, NOW),
        accept(&there, &good, &b, NOW),
        accept(&forbidden, &good, &b, NOW),
    ];
    let all: Vec<String> = all
        .into_iter()
        .map(|r| r.map_err(|e| format!("{}\n  {}", e.what, e.help)).unwrap_err())
        .collect();
    insta::assert_snapshot!(all.join("\n"));
    assert!(accept(&plain, &endless, &b, NOW).is_ok());
    let host = accept(&of(FindingKind::SuspectHost), &good, &b, NOW).unwrap();
    assert_eq!(host.content, RuleContent::Host);
    assert!(accept(&high, &must, &b, NOW).is_ok());
}
