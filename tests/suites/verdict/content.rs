//! Contents and legacy TLS: what resolves them, and what does not.

use super::*;

const WEB: &str = "[[allow]]\nid = \"web\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/80\", \"tcp/443\"]\nreason = \"x\"\n";
const LEGACY: &str = "[[allow_http]]\nid = \"old\"\nhosts = [\"192.0.2.70\"]\nchecks = [\"legacy-tls\"]\nreason = \"x\"\n";

#[test]
fn contents_are_resolved_only_by_an_answer_that_says_so() {
    use ContentOutcome::{
        Absent, CatchAll, Error, Exposed, Malformed, Protected, Skipped, Unstable,
    };
    for (outcome, expected) in [
        (Absent, FindingState::Resolved),
        (Protected, FindingState::Resolved),
        (CatchAll, FindingState::Unverified),
        (Error, FindingState::Unverified),
        (Malformed, FindingState::Unverified),
        (Skipped, FindingState::Unverified),
        (Unstable, FindingState::Unverified),
    ] {
        let allow = "[[allow]]\nid = \"web\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/80\"]\nreason = \"x\"\n";
        let mut s = Story::new(allow);
        let v = s.run(Run::new().content(Exposed));
        assert_eq!((one(&v, ExposedContent).state, v.exit), (FindingState::Open, 1));
        let v = s.run(Run::new().cell(HOST, 80, Open));
        assert_eq!(one(&v, ExposedContent).state, FindingState::Unverified, "not looked at");
        let v = s.run(Run::new().content(outcome));
        assert_eq!(one(&v, ExposedContent).state, expected, "{outcome:?}");
    }
}

#[test]
fn an_allowed_content_is_no_finding() {
    let rules = "[[allow]]\nid = \"web\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/80\"]\nreason = \"x\"\n[[allow_http]]\nid = \"h\"\nhosts = [\"192.0.2.70\"]\nchecks = [\"php-source\"]\nreason = \"x\"\n";
    let v = Story::new(rules).run(Run::new().content(ContentOutcome::Exposed));
    assert!(v.findings.is_empty() && v.exit == 0);
}

/// A path that is no longer asked for, for whatever reason, proves nothing: a lower tier, a narrower
/// list of virtual hosts, a check that left the catalogue, a manifest that is no longer given.
#[test]
fn a_path_that_is_no_longer_asked_for_is_unverified() {
    let others: [fn(Run) -> Run; 5] = [
        |r| r.cell(HOST, 80, Open),
        // Another path of the same site.
        |r| r.http(ContentOutcome::Absent, |h| h.path = "/other.php".to_owned()),
        // Another virtual host, and the address itself.
        |r| r.http(ContentOutcome::Absent, |h| h.host = Some("other.example.jp".to_owned())),
        |r| r.http(ContentOutcome::Absent, |h| h.host = None),
        // Another port.
        |r| r.cell(HOST, 80, Open).http(ContentOutcome::Absent, |h| h.port = port(443)),
    ];
    for (n, other) in others.into_iter().enumerate() {
        for check in ["php-source", "manifest"] {
            let mut s = Story::new(WEB);
            s.run(Run::new().http(ContentOutcome::Exposed, |h| h.check = check.to_owned()));
            for _ in 0..3 {
                let v = s.run(other(Run::new()));
                let f = one(&v, ExposedContent);
                assert_eq!((f.state, v.exit), (FindingState::Unverified, 1), "{n}: {}", f.why);
            }
            let v = s.run(Run::new().http(ContentOutcome::Absent, |h| h.check = check.to_owned()));
            assert_eq!((one(&v, ExposedContent).state, v.exit), (FindingState::Resolved, 0));
        }
    }
}

#[test]
fn a_suspect_run_resolves_no_content() {
    let mut s = Story::new(WEB);
    s.run(Run::new().content(ContentOutcome::Exposed));
    let mut run = Run::new().content(ContentOutcome::Absent);
    run.canaries = (0, 1);
    assert_eq!(one(&s.run(run), ExposedContent).state, FindingState::Unverified);
}

#[test]
fn a_path_whose_check_has_another_name_is_the_same_finding() {
    let mut s = Story::new(WEB);
    let v = s.run(Run::new().content(ContentOutcome::Exposed));
    let first = one(&v, ExposedContent).clone();
    let renamed = |o| Run::new().http(o, |h| h.check = "php-code".to_owned());
    let v = s.run(renamed(ContentOutcome::Exposed));
    let f = one(&v, ExposedContent);
    assert_eq!((&f.id, f.first_seen, f.new), (&first.id, first.first_seen, false));
    assert_eq!(f.check.as_deref(), Some("php-code"));
    assert_eq!(
        one(&s.run(renamed(ContentOutcome::Absent)), ExposedContent).state,
        FindingState::Resolved
    );
}

/// A file of a manifest needs no signature, so that a check of the catalogue which is not true of
/// the same path proves nothing about it.
#[test]
fn what_a_manifest_found_is_ended_by_a_manifest_alone() {
    use ContentOutcome::{Absent, Exposed, Protected};
    let by = |o, check: &str| Run::new().http(o, |h| h.check = check.to_owned());
    for (found, looked, expected) in [
        ("manifest", "php-source", FindingState::Unverified),
        ("manifest", "manifest", FindingState::Resolved),
        ("php-source", "manifest", FindingState::Resolved),
        ("php-source", "php-copy", FindingState::Resolved),
    ] {
        for outcome in [Absent, Protected] {
            let mut s = Story::new(WEB);
            s.run(by(Exposed, found));
            let v = s.run(by(outcome, looked));
            let f = one(&v, ExposedContent);
            assert_eq!(f.state, expected, "{found}, {looked}, {outcome:?}: {}", f.why);
        }
        let mut s = Story::new(WEB);
        s.run(by(Exposed, found));
        // A script that was run, as another check sees it.
        let v = s.run(Run::new().http(Exposed, |h| {
            h.check = looked.to_owned();
            h.severity = Severity::Info;
        }));
        assert_eq!(one(&v, ExposedContent).state, expected, "{found}, {looked}");
    }
    // What both see is the check's from then on.
    let mut s = Story::new(WEB);
    s.run(by(Exposed, "manifest"));
    let v = s.run(by(Exposed, "php-source"));
    assert_eq!(one(&v, ExposedContent).check.as_deref(), Some("php-source"));
    assert_eq!(one(&s.run(by(Absent, "php-source")), ExposedContent).state, FindingState::Resolved);
}

/// What was allowed is not forgotten by a look that says nothing about it.
#[test]
fn an_allowed_file_of_a_manifest_is_remembered() {
    let rules = format!(
        "{WEB}[[allow_http]]\nid = \"m\"\nhosts = [\"192.0.2.70\"]\nchecks = [\"manifest\"]\nreason = \"x\"\n"
    );
    for (looked, exit) in [("php-source", 1), ("manifest", 0)] {
        let mut s = Story::new(&rules);
        s.run(Run::new().http(ContentOutcome::Exposed, |h| h.check = "manifest".to_owned()));
        s.run(Run::new().http(ContentOutcome::Absent, |h| h.check = looked.to_owned()));
        s.rules(WEB);
        assert_eq!(s.run(Run::new()).exit, exit, "{looked}");
    }
}

#[test]
fn of_two_schemes_on_one_port_the_worse_news_counts() {
    use ContentOutcome::{Absent, Error, Exposed};
    for (http, https, expected) in [
        (Exposed, Absent, FindingState::Open),
        (Absent, Exposed, FindingState::Open),
        (Error, Absent, FindingState::Unverified),
        (Absent, Error, FindingState::Unverified),
        (Absent, Absent, FindingState::Resolved),
    ] {
        let mut s = Story::new(WEB);
        s.run(Run::new().content(Exposed));
        let run = Run::new().content(http).http(https, |h| h.scheme = UrlScheme::Https);
        assert_eq!(one(&s.run(run), ExposedContent).state, expected, "{http:?} {https:?}");
    }
}

#[test]
fn what_a_reader_needs_is_taken_over() {
    let v = Story::new(WEB).run(Run::new().http(ContentOutcome::Exposed, |h| {
        h.title = Some("PHP source".to_owned());
        h.remedy = Some("Let PHP run it.".to_owned());
    }));
    let f = one(&v, ExposedContent);
    assert_eq!(f.title.as_deref(), Some("PHP source"));
    assert_eq!(f.remedy.as_deref(), Some("Let PHP run it."));
    assert_eq!(f.scheme, Some(UrlScheme::Http));
}

/// A path that exists and shows nothing that it should not is inventory, whatever it was before.
#[test]
fn inventory_is_no_finding_and_ends_one() {
    let executed = || {
        Run::new().http(ContentOutcome::Exposed, |h| {
            h.check = "php-executed".to_owned();
            h.severity = Severity::Info;
        })
    };
    let v = Story::new(WEB).run(executed());
    assert!(v.findings.is_empty() && v.exit == 0, "{:?}", v.findings);
    let mut s = Story::new(WEB);
    s.run(Run::new().content(ContentOutcome::Exposed));
    let v = s.run(executed());
    assert_eq!((one(&v, ExposedContent).state, v.exit), (FindingState::Resolved, 0));
    let v = s.run(Run::new().content(ContentOutcome::Exposed));
    assert_eq!((one(&v, ExposedContent).reopened, v.exit), (1, 1));
}

// Legacy TLS.

fn old() -> Run {
    Run::new().web(legacy)
}

fn legacy(w: &mut WebObservation) {
    w.tls = Some(TlsFacts {
        version: "TLSv1.0".to_owned(),
        cipher: Some("TLS_RSA_WITH_AES_128_CBC_SHA".to_owned()),
        legacy: true,
        ..TlsFacts::default()
    });
}

#[test]
fn legacy_tls_is_one_finding_for_an_endpoint() {
    let v = Story::new(WEB).run(old().web(|w| {
        w.host = Some("other.example.jp".to_owned());
        legacy(w);
    }));
    let f = one(&v, LegacyTls);
    assert_eq!((f.state, f.severity, v.exit), (FindingState::Open, Severity::Medium, 1));
    assert_eq!((f.port, &f.host, &f.path), (Some(port(443)), &None, &None));
    for part in ["192.0.2.70:443 accepts nothing newer than TLSv1.0", "TLS_RSA_WITH_AES_128"] {
        assert!(f.why.contains(part), "{}", f.why);
    }
    assert!(f.remedy.is_some() && f.title.is_some());
}

#[test]
fn legacy_tls_is_resolved_by_a_better_handshake_or_a_closed_port() {
    for (run, expected) in [
        (Run::new().web(|_| ()), FindingState::Resolved),
        // No handshake, no look, and nothing known of the port.
        (Run::new().web(|w| w.tls = None), FindingState::Unverified),
        (Run::new().cell(HOST, 443, Open), FindingState::Unverified),
        (Run::new(), FindingState::Unverified),
        // Another name's handshake proves nothing for this one.
        (Run::new().web(|w| w.host = None), FindingState::Unverified),
        // Another port's neither.
        (Run::new().cell(HOST, 443, Open).web(|w| w.port = port(80)), FindingState::Unverified),
        (Run::new().cell(HOST, 443, Closed), FindingState::Resolved),
        (Run::new().cell(HOST, 443, Silent), FindingState::Resolving),
        (old(), FindingState::Open),
    ] {
        let mut s = Story::new(WEB);
        s.run(old());
        let v = s.run(run.clone());
        assert_eq!(one(&v, LegacyTls).state, expected, "{:?}", run.web);
        let mut s = Story::new(WEB);
        s.run(old());
        let mut suspect = run;
        suspect.canaries = (0, 1);
        let state = one(&s.run(suspect), LegacyTls).state;
        assert!(matches!(state, FindingState::Open | FindingState::Unverified), "{state:?}");
    }
}

#[test]
fn a_legacy_handshake_without_an_answer_is_remembered_for_its_name() {
    let mut s = Story::new(WEB);
    s.run(Run::new().web(|w| {
        legacy(w);
        w.status = None;
    }));
    let v = s.run(Run::new().web(|w| w.host = None));
    assert_eq!(one(&v, LegacyTls).state, FindingState::Unverified);
    let v = s.run(Run::new().web(|_| ()));
    assert_eq!(one(&v, LegacyTls).state, FindingState::Resolved);
    assert_eq!((v.sites.new, v.site_changes.len()), (1, 0), "its first answer");
}

#[test]
fn legacy_tls_is_allowed_by_its_name_alone() {
    let rules = format!("{WEB}{LEGACY}");
    let v = Story::new(&rules).run(old());
    assert!(v.findings.is_empty() && v.exit == 0, "{:?}", v.findings);
    let path = LEGACY.replace("checks = [\"legacy-tls\"]", "paths = [\"/\", \"/legacy-tls\"]");
    assert_eq!(Story::new(&format!("{WEB}{path}")).run(old()).exit, 1);
    // Merged, looked at or not; and taken back, looked at or not.
    for look in [old, Run::new] {
        let mut s = Story::new(WEB);
        let id = one(&s.run(old()), LegacyTls).id.clone();
        s.rules(&rules);
        let v = s.run(look());
        assert_eq!((one(&v, LegacyTls).state, v.exit), (FindingState::Allowed, 0));
        assert_eq!(s.run(look()).exit, 0);
        s.rules(WEB);
        let v = s.run(look());
        let f = one(&v, LegacyTls);
        assert_eq!((&f.id, f.cause, v.exit), (&id, FindingCause::Removed, 1), "{}", f.why);
    }
    // Allowed, mended, and then the rule goes: nothing is left.
    let mut s = Story::new(&rules);
    s.run(old());
    s.run(Run::new().web(|_| ()));
    s.rules(WEB);
    assert_eq!(s.run(Run::new()).exit, 0);
}

/// Another site of the address may publish another customer's secret at the same path.
#[test]
fn a_content_that_is_allowed_at_one_site_is_drift_at_another() {
    let rule = |names: &str| {
        format!(
            "[[allow]]\nid = \"web\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/80\"]\nreason = \"x\"\n[[allow_http]]\nid = \"h\"\nhosts = [\"192.0.2.70\"]\npaths = [\"/.env\"]\n{names}reason = \"x\"\n"
        )
    };
    let at = |host: Option<&'static str>| {
        Run::new().http(ContentOutcome::Exposed, move |h| {
            h.path = "/.env".to_owned();
            h.host = host.map(str::to_owned);
        })
    };
    for (names, host, allowed) in [
        ("", Some("shop.example.jp"), true),
        ("", None, true),
        ("names = [\"shop.example.jp\"]\n", Some("shop.example.jp"), true),
        ("names = [\"shop.example.jp\"]\n", Some("bank.example.jp"), false),
        ("names = [\"shop.example.jp\"]\n", None, false),
        ("names = [\"*.example.jp\"]\n", Some("bank.example.jp"), true),
        ("names = [\"*.example.jp\"]\n", Some("example.jp"), false),
        ("names = [\"192.0.2.70\"]\n", None, true),
        ("names = [\"192.0.2.70\"]\n", Some("shop.example.jp"), false),
    ] {
        let v = Story::new(&rule(names)).run(at(host));
        assert_eq!(v.exit == 0, allowed, "{names}{host:?}");
    }
}

/// "Open from the office" says nothing of the Internet.
#[test]
fn what_is_allowed_from_one_vantage_is_drift_from_another() {
    for (expect, from, exit) in [
        ("may", "default", 1),
        ("may", "office", 0),
        ("never", "default", 1),
        ("never", "office", 1),
    ] {
        let rule = format!("{RULE}vantages = [\"office\"]\nexpect = \"{expect}\"\n");
        let v = Story::new(&rule).run(Run::new().redis(Open).from(from));
        assert_eq!(v.exit, exit, "{expect} from {from}");
    }
    // What is required from the office is not missing outside.
    let rule = format!("{MUST}vantages = [\"office\"]\n");
    for (from, missing) in [("default", 0), ("office", 1)] {
        let mut s = Story::new(&rule);
        s.run(Run::new().cell(HOST, 22, Closed).from(from));
        let v = s.run(Run::new().cell(HOST, 22, Closed).from(from));
        assert_eq!(v.findings.len(), missing, "from {from}");
    }
}
