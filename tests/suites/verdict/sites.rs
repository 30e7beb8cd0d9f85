//! The inventory of web sites: what is a change, and what is not.

use mimawari_drift::sites::{
    MAX_LISTED, MAX_SITES, NoticeKind, SiteFact, SiteFacts, SiteKey, SiteRecord,
};
use mimawari_probes::observation::{CertificateFacts, DnsPointing};

use super::*;

const WEB: &str = "[[allow]]\nid = \"web\"\nhosts = [\"192.0.2.70\"]\nports = [\"tcp/80\", \"tcp/443\"]\nreason = \"x\"\n";

fn titled(title: &str) -> Run {
    Run::new().web(|w| w.title = Some(title.to_owned()))
}

/// The changes, as `what: was → now`.
fn changes(v: &Verdict) -> Vec<String> {
    assert_eq!(v.sites.changes, v.site_changes.len() as u64);
    assert_eq!((v.exit, v.findings.len()), (0, 0), "inventory is no drift");
    let dash = |s: &Option<String>| s.clone().unwrap_or_else(|| "–".to_owned());
    v.site_changes
        .iter()
        .map(|c| format!("{}: {} → {}", c.what.as_str(), dash(&c.was), dash(&c.now)))
        .collect()
}

#[test]
fn a_first_sighting_is_new_and_a_second_one_is_nothing() {
    let mut s = Story::new(WEB);
    let v = s.run(titled("Shop"));
    assert_eq!((v.sites.seen, v.sites.new, changes(&v).len()), (1, 1, 0));
    let v = s.run(titled("Shop"));
    assert_eq!((v.sites.seen, v.sites.new, changes(&v).len()), (1, 0, 0));
}

#[test]
fn a_changed_site_is_reported_once_with_both_values_and_the_time() {
    let mut s = Story::new(WEB);
    s.run(titled("Shop"));
    let before = s.now;
    let v = s.run(Run::new().web(|w| {
        w.title = Some("Owned".to_owned());
        w.status = Some(302);
        w.server = None;
        w.location = Some("https://evil.example/".to_owned());
    }));
    assert_eq!(
        changes(&v),
        [
            "title: Shop → Owned",
            "redirect: – → https://evil.example/",
            "status: 200 → 302",
            "server: nginx → –"
        ]
    );
    assert_eq!((v.sites.changed, v.sites.changes), (1, 4));
    let c = &v.site_changes[0];
    assert_eq!((c.since, c.at, c.host.as_deref()), (before, s.now, Some("shop.example.jp")));
    let v = s.run(Run::new().web(|w| {
        w.title = Some("Owned".to_owned());
        w.status = Some(302);
        w.server = None;
        w.location = Some("https://evil.example/".to_owned());
    }));
    assert!(changes(&v).is_empty(), "reported once");
}

#[test]
fn a_site_that_was_not_seen_is_neither_gone_nor_changed() {
    for blind in [Run::new(), Run::new().web(|w| w.status = None)] {
        let mut s = Story::new(WEB);
        s.run(titled("Shop"));
        let known = s.state.sites.clone();
        let v = s.run(blind);
        assert_eq!((changes(&v).len(), v.sites.seen, v.sites.not_seen), (0, 0, 1));
        assert_eq!(s.state.sites, known);
        assert_eq!(changes(&s.run(titled("Shop"))).len(), 0);
        assert_eq!(changes(&s.run(titled("Else"))), ["title: Shop → Else"]);
    }
}

/// A favicon, a handshake or an answer of DNS may be missing because it was lost.
#[test]
fn what_could_not_be_looked_at_is_learnt_and_not_changed() {
    let full = |favicon: &str, cert: &str, dns: DnsPointing| {
        let (favicon, cert) = (favicon.to_owned(), cert.to_owned());
        Run::new().web(move |w| {
            w.favicon_sha256 = Some(favicon);
            w.dns = Some(dns);
            w.tls = Some(TlsFacts {
                version: "TLSv1.3".to_owned(),
                certificate_sha256: Some(cert),
                ..TlsFacts::default()
            });
        })
    };
    let bare = || {
        Run::new().web(|w| {
            w.tls = None;
            w.dns = Some(DnsPointing::Unknown);
        })
    };
    let mut s = Story::new(WEB);
    s.run(bare());
    assert_eq!(changes(&s.run(full("aa", "bb", DnsPointing::Here))).len(), 0, "learnt");
    assert_eq!(changes(&s.run(bare())).len(), 0, "lost");
    let v = s.run(full("cc", "dd", DnsPointing::Elsewhere));
    assert_eq!(
        changes(&v),
        [
            "certificate: SHA-256 bb… → SHA-256 dd…",
            "favicon: SHA-256 aa → SHA-256 cc",
            "dns: points here → points at addresses outside the scope",
        ]
    );
}

#[test]
fn paths_that_exist_are_inventory() {
    let executed = |outcome, path: &str| {
        let path = path.to_owned();
        move |r: Run| {
            r.http(outcome, |h| {
                h.port = port(443);
                h.scheme = UrlScheme::Https;
                h.check = "php-executed".to_owned();
                h.severity = Severity::Info;
                h.path = path;
            })
        }
    };
    use ContentOutcome::{Absent, CatchAll, Error, Exposed};
    let mut s = Story::new(WEB);
    let v = s.run(executed(Exposed, "/a.php")(titled("Shop")));
    assert_eq!((changes(&v).len(), v.counts.new), (0, 0));
    let v = s.run(executed(Exposed, "/b.php")(titled("Shop")));
    assert_eq!(changes(&v), ["present: – → /b.php (php-executed)"], "the other was not asked for");
    for unknown in [Error, CatchAll] {
        assert_eq!(changes(&s.run(executed(unknown, "/a.php")(titled("Shop")))).len(), 0);
    }
    let v = s.run(executed(Absent, "/a.php")(titled("Shop")));
    assert_eq!(changes(&v), ["present: /a.php (php-executed) → –"]);
}

#[test]
fn a_fact_that_changes_every_run_is_kept_quiet_until_it_holds_still() {
    let mut s = Story::new(WEB);
    s.run(titled("visit 0"));
    assert_eq!(changes(&s.run(titled("visit 1"))).len(), 1);
    assert_eq!(changes(&s.run(titled("visit 2"))).len(), 1);
    for n in 3..9 {
        let v = s.run(Run::new().web(|w| {
            w.title = Some(format!("visit {n}"));
            w.server = Some(if n < 6 { "nginx" } else { "Apache" }.to_owned());
        }));
        let other = changes(&v);
        assert_eq!(other.len(), usize::from(n == 6), "{n}: {other:?}");
        assert_eq!(v.sites.unsteady, 1);
    }
    // It is stable: its value is compared with the one that was reported last.
    let still = || {
        Run::new().web(|w| {
            w.title = Some("Owned".to_owned());
            w.server = Some("Apache".to_owned());
        })
    };
    for _ in 0..3 {
        assert_eq!(changes(&s.run(still())).len(), 0);
    }
    assert_eq!(changes(&s.run(still())), ["title: visit 2 → Owned"]);
    assert_eq!(s.run(still()).sites.unsteady, 0);
    assert_eq!(changes(&s.run(titled("Shop"))).len(), 2, "title and server speak again");
}

/// Two changes and a quiet run are no flapping.
#[test]
fn only_three_changes_in_a_row_are_unsteady() {
    let mut s = Story::new(WEB);
    s.run(titled("0"));
    for n in 1..10 {
        assert_eq!(changes(&s.run(titled(&n.to_string()))).len(), 1);
        assert_eq!(changes(&s.run(titled(&n.to_string()))).len(), 0);
    }
}

#[test]
fn a_run_that_is_not_believed_changes_no_site() {
    let mut s = Story::new(WEB);
    s.run(titled("Shop"));
    let known = s.state.sites.clone();
    let mut run = titled("Portal");
    run.canaries = (0, 1);
    let v = s.run(run);
    assert_eq!((v.sites.seen, v.site_changes.len(), v.site_notices.len()), (0, 0, 0));
    assert_eq!(s.state.sites, known);
}

#[test]
fn the_same_run_judged_again_changes_nothing() {
    let run = titled("Shop");
    let b = baseline(WEB);
    let now = "2026-11-01T00:00:00Z".parse().expect("an instant");
    let (_, state) = judged(&run, &b, &State::default(), now);
    let (v, again) = judged(&run, &b, &state, now);
    assert_eq!(state.sites, again.sites);
    assert_eq!((v.sites.new, v.sites.seen), (0, 1));
}

fn certified(days: i64, mismatch: bool, self_signed: bool) -> Run {
    Run::new().web(move |w| {
        let first: Timestamp = "2026-11-01T01:00:00Z".parse().expect("an instant");
        w.tls = Some(TlsFacts {
            version: "TLSv1.3".to_owned(),
            certificate_sha256: Some("ab".to_owned()),
            certificate: Some(CertificateFacts {
                names: vec!["example.jp".to_owned()],
                names_total: 1,
                issuer: Some("Test CA".to_owned()),
                not_before: None,
                not_after: first.checked_add(SignedDuration::from_hours(24 * days)).ok(),
                self_signed,
                mismatch,
            }),
            ..TlsFacts::default()
        });
    })
}

#[test]
fn certificates_that_somebody_should_look_after_are_notices_and_no_findings() {
    use NoticeKind::*;
    for (run, expected) in [
        (certified(60, false, false), vec![]),
        (certified(15, false, false), vec![]),
        (certified(14, false, false), vec![CertificateExpiring]),
        (certified(0, false, false), vec![CertificateExpiring]),
        (certified(-1, false, false), vec![CertificateExpired]),
        (certified(60, true, true), vec![CertificateMismatch, CertificateSelfSigned]),
        (Run::new().web(|w| w.dns = Some(DnsPointing::Elsewhere)), vec![NameElsewhere]),
        (Run::new().web(|w| w.dns = Some(DnsPointing::Nowhere)), vec![NameNowhere]),
        (Run::new().web(|w| w.dns = Some(DnsPointing::Ours)), vec![]),
    ] {
        let v = Story::new(WEB).run(run);
        let kinds: Vec<_> = v.site_notices.iter().map(|n| n.what).collect();
        assert_eq!(kinds, expected);
        assert!(changes(&v).is_empty());
        let c = &v.sites;
        let counted = c.certificates_expired
            + c.certificates_expiring
            + c.certificates_mismatched
            + c.certificates_self_signed
            + c.names_gone;
        assert_eq!(counted, kinds.len() as u64);
    }
    // Nobody asks for an address and means the certificate to be for it.
    let mut run = certified(60, true, false);
    run.web[0].host = None;
    assert!(Story::new(WEB).run(run).site_notices.is_empty());
}

#[test]
fn a_renewed_certificate_comes_after_more_important_changes() {
    let mut s = Story::new(WEB);
    let run = |days: i64, digest: &str, title: &str| {
        let mut r = certified(days, false, false);
        r.web[0].title = Some(title.to_owned());
        r.web[0].tls.as_mut().expect("TLS").certificate_sha256 = Some(digest.to_owned());
        let mut other = r.web[0].clone();
        other.host = Some("a.example.jp".to_owned());
        other.title = Some("A".to_owned());
        r.web.push(other);
        r
    };
    s.run(run(30, "aa", "Shop"));
    let v = s.run(run(90, "bb", "Owned"));
    let kinds: Vec<_> = v.site_changes.iter().map(|c| c.what).collect();
    assert_eq!(kinds, [SiteFact::Title, SiteFact::Certificate, SiteFact::Certificate]);
    let v = s.run(run(20, "cc", "Other"));
    assert_eq!(v.site_changes[1].what, SiteFact::Certificate, "an older one is no renewal");
}

#[test]
fn lists_are_bounded_and_counts_are_not() {
    let many = |title: &str| {
        let mut run = Run::new();
        for n in 0..1_500 {
            run = run.web(|w| {
                w.host = Some(format!("{n}.example.jp"));
                w.title = Some(title.to_owned());
                w.dns = Some(DnsPointing::Nowhere);
            });
        }
        run
    };
    let mut s = Story::new(WEB);
    s.run(many("a"));
    let v = s.run(many("b"));
    assert_eq!((v.site_changes.len(), v.sites.changes), (MAX_LISTED, 1_500));
    assert_eq!((v.site_notices.len(), v.sites.names_gone), (MAX_LISTED, 1_500));
    assert_eq!(v.sites.changed, 1_500);
}

#[test]
fn what_is_kept_of_a_site_is_bounded() {
    let long = "管".repeat(1_000_000);
    let mut s = Story::new(WEB);
    for n in 0..2 {
        let v = s.run(Run::new().web(|w| {
            w.title = Some(format!("{n}{long}"));
            w.server = Some(long.clone());
            w.location = Some(long.clone());
            w.favicon_sha256 = Some(long.clone());
            w.tls = Some(TlsFacts {
                version: long.clone(),
                certificate_sha256: Some(long.clone()),
                certificate: Some(CertificateFacts {
                    names: vec![long.clone(); 100],
                    names_total: 100,
                    issuer: Some(long.clone()),
                    not_before: None,
                    not_after: None,
                    self_signed: false,
                    mismatch: true,
                }),
                ..TlsFacts::default()
            });
        }));
        assert!(serde_json::to_string(&v.site_changes).expect("JSON").len() < 10_000);
        assert!(serde_json::to_string(&v.site_notices).expect("JSON").len() < 10_000);
    }
    assert!(serde_json::to_string(&s.state).expect("JSON").len() < 60_000);
}

#[test]
fn the_inventory_is_bounded_and_forgets_what_was_seen_longest_ago() {
    let mut s = Story::new(WEB);
    let seen = |n: usize| Timestamp::from_second(n as i64).expect("an instant");
    let key = |n: usize| SiteKey {
        vantage: "default".to_owned(),
        ip: ip(HOST),
        port: port(80),
        scheme: UrlScheme::Http,
        host: Some(format!("{n:06}")),
    };
    s.state.sites =
        (0..MAX_SITES).map(|n| SiteRecord::first(key(n), SiteFacts::default(), seen(n))).collect();
    let v = s.run(titled("Shop"));
    assert_eq!(s.state.sites.len(), MAX_SITES);
    assert!(s.state.sites.iter().all(|site| site.key != key(0)), "the oldest is forgotten");
    assert!(s.state.sites.iter().any(|site| site.key.port == port(443)));
    assert!(s.state.sites.is_sorted_by(|a, b| a.key < b.key));
    let gap = Gap::SitesForgotten { room: MAX_SITES as u64, forgotten: 1 };
    assert!(v.coverage.gaps.contains(&gap.noted()), "{:?}", v.coverage.gaps);
}

/// States and verdicts from before there was an inventory are read as they were written.
#[test]
fn what_was_written_without_an_inventory_is_read() {
    let mut s = Story::new("");
    let v = s.run(Run::new().content(ContentOutcome::Exposed));
    let mut text = serde_json::to_value(&v).expect("JSON");
    let finding = text["findings"][0].as_object_mut().expect("a finding");
    for key in ["scheme", "title", "remedy"] {
        finding.remove(key);
    }
    let verdict = text.as_object_mut().expect("a verdict");
    for key in ["sites", "site_changes", "site_notices"] {
        verdict.remove(key);
    }
    let read: Verdict = serde_json::from_value(text).expect("an old verdict");
    assert_eq!((read.sites, read.findings[0].scheme), (v.sites, None));
    let text = serde_json::to_string(&s.state).expect("JSON");
    assert!(!text.contains("\"sites\""), "nothing is written where there is nothing");
    assert_eq!(State::parse(&text).expect("a state"), s.state);
}

// What a change of the baseline opens.

#[test]
fn a_path_rule_counts_each_known_site_that_it_opens() {
    use mimawari_drift::impact::{ImpactSide, NewlyAllowed, compare};
    let sites = ["shop.example.jp", "blog.example.jp", "wiki.example.jp"];
    let run =
        sites.iter().fold(Run::new(), |run, name| run.web(|w| w.host = Some((*name).to_owned())));
    let rule = |names: &str| {
        format!(
            "[[allow_http]]\nid = \"h\"\nhosts = [\"192.0.2.70\"]\npaths = [\"/status\"]\n{names}reason = \"x\"\n"
        )
    };
    let opened = |before: &str, after: &str| {
        let mut s = Story::new("");
        s.run(run.clone());
        let (base, head) = (baseline(before), baseline(after));
        let (one, two) =
            (judged(&run, &base, &s.state, s.now), judged(&run, &head, &s.state, s.now));
        let newly = NewlyAllowed::between(&base, &head, "default", s.now);
        let impact = compare(
            ImpactSide { baseline: &base, verdict: &one.0, state: &one.1 },
            ImpactSide { baseline: &head, verdict: &two.0, state: &two.1 },
            newly,
            "default",
        );
        impact.contents_allowed_by.iter().map(|c| c.sites).collect::<Vec<_>>()
    };
    let shop = "names = [\"shop.example.jp\"]\n";
    assert_eq!(opened("", &rule("")), [3], "every site of the address");
    assert_eq!(opened("", &rule(shop)), [1]);
    assert_eq!(opened(&rule(shop), &rule("")), [2], "what was allowed before is not opened");
    assert_eq!(opened(&rule(""), &rule(shop)), [0u64; 0]);
}
