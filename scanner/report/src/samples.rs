//! Verdicts to render in tests.

use jiff::Timestamp;
use mimawari_drift::sites::{NoticeKind, SiteChange, SiteCounts, SiteFact, SiteNotice};
use mimawari_drift::subject::Subject;
use mimawari_drift::verdict::{
    AllowedCounts, AllowedSubject, Finding, FindingCause, FindingCounts, FindingKind, FindingState,
    MINOR, RunFacts, ServiceChange, VERSION, Verdict, VerdictCoverage,
};
use mimawari_probes::observation::{CanaryResult, HttpEvidence, Severity, UrlScheme};
use mimawari_targets::{Port, Protocol};

// Named by its path, as a suite names this file by its path, too.
#[path = "samples/page.rs"]
mod page;
pub(crate) use page::{generate_findings, with_history, with_maps};

fn at(s: &str) -> Timestamp {
    s.parse().unwrap()
}

/// An open port that no rule allows.
pub(crate) fn port(ip: &str, port: u16) -> Finding {
    // Any stable function of the place does for an id.
    let id =
        ip.bytes().fold(u64::from(port), |h, b| h.wrapping_mul(0x100_0000_01b3) ^ u64::from(b));
    Finding {
        id: format!("{id:016x}"),
        kind: FindingKind::UnexpectedOpen,
        vantage: "outside".to_owned(),
        proto: Protocol::Tcp,
        ip: ip.parse().unwrap(),
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
        severity: Severity::High,
        first_seen: at("2026-07-20T01:00:00Z"),
        last_seen: at("2026-08-01T01:00:41Z"),
        new: false,
        reopened: 0,
        flapping: false,
        unconfirmed: false,
        owner: None,
        allowed_by: None,
        rule: None,
        nearest: None,
        acknowledged: None,
        why: "Open, and no rule of the baseline allows it.".to_owned(),
        service: None,
        evidence: None,
    }
}

/// Content that should not be readable.
pub(crate) fn content(ip: &str, at_port: u16, host: &str, path: &str) -> Finding {
    Finding {
        kind: FindingKind::ExposedContent,
        host: Some(host.to_owned()),
        path: Some(path.to_owned()),
        check: Some("php-source".to_owned()),
        pool: None,
        scheme: Some(UrlScheme::Http),
        title: Some("Source of a PHP file".to_owned()),
        remedy: Some(
            "Let the server run PHP for this path or deny it, and change every password in the file."
                .to_owned(),
        ),
        severity: Severity::Critical,
        why: "PHP source is served as text; it holds a password.".to_owned(),
        service: Some("http nginx/1.24.0 · Shop".to_owned()),
        evidence: Some(HttpEvidence {
            status: 200,
            line: Some(1),
            length: 812,
            digest: "9f86d081884c7d659a2feaa0c55ad015".to_owned(),
            masked: Some("hu…".to_owned()),
            label: None,
            signature: Some("begins with a PHP opening tag".to_owned()),
            repeated: true,
            sightings: None,
            canaries: ["/kqzjwtexhmpa.php", "/vbnsyrcdloiu/password.php"]
                .map(|path| CanaryResult { path: path.to_owned(), status: 404 })
                .to_vec(),
        }),
        ..port(ip, at_port)
    }
}

fn base() -> Verdict {
    Verdict {
        version: VERSION,
        minor: MINOR,
        run_id: "20260801T010000Z-7f3a".to_owned(),
        judged_at: at("2026-08-01T01:01:12Z"),
        exit: 0,
        incomplete: false,
        incomplete_because: vec![],
        suspect: false,
        coverage: VerdictCoverage {
            cells_planned: 655_360,
            cells_covered: 655_360,
            open: 412,
            closed: 511_240,
            prohibited: 2_048,
            silent: 141_660,
            not_probed: 0,
            recall_estimate: Some(0.999_961_2),
            recall_interval: Some((0.999_921, 0.999_988)),
            recall_promised: 0.9999,
            checks_planned: 4_120,
            checks_covered: 4_120,
            not_covered: vec![],
            gaps: vec![],
            freshness: None,
        },
        counts: FindingCounts { allowed: 409, ..FindingCounts::default() },
        run: RunFacts {
            started_at: Some(at("2026-08-01T01:00:00Z")),
            ended_at: Some(at("2026-08-01T01:01:11Z")),
            method: "syn".to_owned(),
            targets: vec!["198.51.100.0/24".to_owned(), "2001:db8:10::/120".to_owned()],
            ports: "22,80,443,8000-8100".to_owned(),
            addresses: 512,
            authorised_by: "SEC-1042".to_owned(),
            scope_digest: "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"
                .to_owned(),
            vantage: "outside".to_owned(),
            rate_asked: 20_000,
            rate_reached: 19_871.4,
            packets_sent: 1_402_311,
            canaries_answered: 2,
            canaries_total: 2,
            ..RunFacts::default()
        },
        baseline_digest: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
            .to_owned(),
        findings: vec![],
        changes: vec![],
        digest_due: false,
        timeline: vec![],
        service_changes: vec![],
        allowed: vec![],
        allowed_counts: AllowedCounts::default(),
        maps: vec![],
        sites: SiteCounts::default(),
        site_changes: vec![],
        site_notices: vec![],
        same_files: vec![],
    }
}

/// A change of a site.
pub(crate) fn change(
    host: &str,
    what: SiteFact,
    was: Option<&str>,
    now: Option<&str>,
) -> SiteChange {
    SiteChange {
        ip: "198.51.100.7".parse().unwrap(),
        port: Port::new(443).unwrap(),
        scheme: UrlScheme::Https,
        host: Some(host.to_owned()),
        at: at("2026-08-01T01:00:50Z"),
        what,
        was: was.map(str::to_owned),
        now: now.map(str::to_owned),
        since: at("2026-08-01T00:00:48Z"),
    }
}

/// A notice about a site.
pub(crate) fn notice(host: &str, what: NoticeKind, why: &str) -> SiteNotice {
    SiteNotice {
        what,
        ip: "198.51.100.7".parse().unwrap(),
        port: Port::new(443).unwrap(),
        scheme: UrlScheme::Https,
        host: Some(host.to_owned()),
        at: at("2026-08-01T01:00:50Z"),
        why: why.to_owned(),
    }
}

/// Something of everything that can be said of sites.
fn with_sites(v: &mut Verdict) {
    v.sites = SiteCounts {
        seen: 118,
        new: 2,
        changed: 3,
        not_seen: 4,
        unsteady: 1,
        changes: 5,
        certificates_expired: 1,
        certificates_expiring: 1,
        certificates_mismatched: 0,
        certificates_self_signed: 1,
        names_gone: 2,
    };
    let cert = |end: &str, digest: &str| {
        Some(format!(
            "for shop.example.jp and 1 more, by Test CA R3, until {end}, SHA-256 {digest}…"
        ))
    };
    v.site_changes = vec![
        change("blog.example.jp", SiteFact::Title, Some("Our blog"), Some("0wned by nobody")),
        change("blog.example.jp", SiteFact::Favicon, Some("SHA-256 5f1d…"), Some("SHA-256 c0de…")),
        change("api.example.jp", SiteFact::Redirect, None, Some("https://login.example.net/")),
        change("api.example.jp", SiteFact::Status, Some("200"), Some("302")),
        change(
            "shop.example.jp",
            SiteFact::Certificate,
            cert("2026-08-20", "0a1b2c3d4e5f6071").as_deref(),
            cert("2026-10-29", "99aabbccddeeff00").as_deref(),
        ),
    ];
    v.site_notices = vec![
        notice("old.example.jp", NoticeKind::CertificateExpired, "it ended 2026-07-30 12:00 UTC"),
        notice(
            "api.example.jp",
            NoticeKind::CertificateExpiring,
            "it ends 2026-08-09 12:00 UTC, in 8 days",
        ),
        notice(
            "intra.example.jp",
            NoticeKind::CertificateSelfSigned,
            "issuer and subject are the same",
        ),
        notice(
            "old.example.jp",
            NoticeKind::NameElsewhere,
            "points at addresses outside the scope",
        ),
        notice("gone.example.jp", NoticeKind::NameNowhere, "has no address"),
    ];
}

/// A port that answers as SSH now, and was a web server.
pub(crate) fn another_service() -> ServiceChange {
    ServiceChange {
        ip: "198.51.100.9".parse().unwrap(),
        proto: Protocol::Tcp,
        port: Port::new(8080).unwrap(),
        was: "http".to_owned(),
        now: "ssh".to_owned(),
        since: at("2026-07-31T01:00:00Z"),
        at: at("2026-08-01T01:00:41Z"),
        allowed_by: Some("edge-web".to_owned()),
    }
}

/// Something that is there and allowed.
fn allowed(subject: &str, severity: Severity, check: Option<&str>, reason: &str) -> AllowedSubject {
    let subject: Subject = subject.parse().unwrap();
    AllowedSubject {
        id: subject.id("outside").to_string(),
        kind: subject.kind(),
        severity,
        check: check.map(str::to_owned),
        service: check.is_none().then(|| "ssh".to_owned()),
        rule: "edge-rule".to_owned(),
        owner: "@corp/hosting".to_owned(),
        reason: reason.to_owned(),
        first_seen: at("2026-06-01T01:00:00Z"),
        last_seen: at("2026-08-01T01:00:41Z"),
        subject,
    }
}

fn some_allowed(v: &mut Verdict) {
    let monitoring = "Read by the monitoring";
    v.allowed = vec![
        allowed(
            "198.51.100.7:80 shop.example.jp/.env",
            Severity::Critical,
            Some("dotenv"),
            "From the import of the first run",
        ),
        allowed(
            "198.51.100.8:443 /server-status",
            Severity::Medium,
            Some("server-status"),
            monitoring,
        ),
        allowed(
            "198.51.100.61:443 legacy-tls",
            Severity::Medium,
            Some("legacy-tls"),
            "Old printers",
        ),
        allowed("198.51.100.70:22", Severity::High, None, "Bastion"),
        allowed("198.51.100.7:443", Severity::Medium, None, "Public web sites"),
    ];
    v.allowed_counts = AllowedCounts { contents: 2, servers: 1, hosts: 0, ports: 402 };
}

/// Nothing differs, everything was covered.
pub(crate) fn clean() -> Verdict {
    base()
}

/// One finding in every state, and something of sites.
pub(crate) fn drift() -> Verdict {
    let mut v = base();
    v.exit = 1;
    v.run.notes =
        vec!["3 hosts answered with RST to everything after the first minute.".to_owned()];
    v.counts = FindingCounts {
        open: 5,
        unverified: 1,
        resolving: 1,
        resolved: 1,
        allowed: 402,
        missing: 1,
        out_of_scope: 1,
        unconfirmed: 2,
        undecided: 1,
        new: 2,
        acknowledged: 0,
        flapping: 0,
    };
    some_allowed(&mut v);
    let mut shop = content("198.51.100.7", 80, "shop.example.jp", "/password.php");
    shop.new = true;
    shop.owner = Some("@corp/hosting".to_owned());
    let forbidden = Finding {
        kind: FindingKind::ForbiddenOpen,
        cause: FindingCause::Forbidden,
        severity: Severity::Critical,
        reopened: 1,
        why: "Rule `no-telnet` forbids this port on every host.".to_owned(),
        service: Some("telnet BusyBox login:".to_owned()),
        ..port("198.51.100.23", 23)
    };
    let redis =
        Finding { new: true, service: Some("redis".to_owned()), ..port("2001:db8:10::7", 6379) };
    let expired = Finding {
        cause: FindingCause::Expired,
        severity: Severity::Medium,
        flapping: true,
        why: "Rule `vendor-access` allowed it until 2026-07-31.".to_owned(),
        service: Some("ssh SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3".to_owned()),
        owner: Some("@corp/infra".to_owned()),
        ..port("198.51.100.40", 22)
    };
    let legacy = Finding {
        kind: FindingKind::LegacyTls,
        severity: Severity::Medium,
        title: Some("TLS that no current client accepts".to_owned()),
        remedy: Some("Enable TLS 1.2 and TLS 1.3.".to_owned()),
        why: "198.51.100.60:443 accepts nothing newer than TLSv1.0 with \
              TLS_RSA_WITH_AES_128_CBC_SHA, and no rule of the baseline allows it."
            .to_owned(),
        ..port("198.51.100.60", 443)
    };
    let missing = Finding {
        kind: FindingKind::MissingRequired,
        state: FindingState::Missing,
        cause: FindingCause::Required,
        why: "Rule `bastion-ssh` requires it; not open in two covered runs.".to_owned(),
        ..port("192.0.2.70", 22)
    };
    let unverified = Finding {
        state: FindingState::Unverified,
        last_seen: at("2026-07-31T01:00:00Z"),
        why: "This run did not probe it.".to_owned(),
        ..port("198.51.100.90", 3306)
    };
    let resolving = Finding {
        state: FindingState::Resolving,
        severity: Severity::Low,
        why: "Silent in one covered run; a second one will settle it.".to_owned(),
        ..port("198.51.100.91", 8080)
    };
    let pending = Finding {
        kind: FindingKind::MissingRequired,
        state: FindingState::MissingPending,
        cause: FindingCause::Required,
        severity: Severity::Medium,
        why: "Rule `edge-https` requires it; not open in one covered run.".to_owned(),
        ..port("192.0.2.5", 443)
    };
    let resolved = Finding {
        state: FindingState::Resolved,
        why: "Covered, and answered with RST.".to_owned(),
        ..port("198.51.100.12", 5900)
    };
    let allowed = Finding {
        state: FindingState::Allowed,
        severity: Severity::Low,
        allowed_by: Some("edge-https".to_owned()),
        why: "Rule `edge-https` allows it now.".to_owned(),
        ..port("192.0.2.9", 443)
    };
    let left = Finding {
        state: FindingState::OutOfScope,
        why: "Its address is no longer in the scope.".to_owned(),
        ..port("203.0.113.4", 9200)
    };
    v.findings = vec![
        forbidden, shop, left, missing, redis, resolved, unverified, expired, legacy, pending,
        allowed, resolving,
    ];
    with_sites(&mut v);
    v
}

/// Stopped half-way, with nothing found.
pub(crate) fn incomplete() -> Verdict {
    let mut v = base();
    v.exit = 3;
    v.incomplete = true;
    v.incomplete_because = vec![
        "Stopped by SIGTERM after 41 s.".to_owned(),
        "Recall estimate is under the promise.".to_owned(),
    ];
    v.coverage = VerdictCoverage {
        cells_covered: 382_117,
        open: 230,
        closed: 300_000,
        prohibited: 2_048,
        silent: 79_839,
        not_probed: 273_243,
        recall_estimate: Some(0.9987),
        recall_interval: Some((0.9971, 0.9995)),
        checks_covered: 2_004,
        not_covered: vec![
            "273,243 cells were not probed: the sweep was stopped; run it again.".to_owned(),
            "2,116 content checks were skipped: stopped before their turn.".to_owned(),
        ],
        ..v.coverage
    };
    v
}

/// A run that is not to be believed.
pub(crate) fn suspect() -> Verdict {
    let mut v = base();
    v.exit = 3;
    v.incomplete = true;
    v.suspect = true;
    v.incomplete_because = vec!["None of the 2 canaries answered.".to_owned()];
    v.coverage = VerdictCoverage {
        open: 0,
        closed: 0,
        prohibited: 0,
        silent: 655_360,
        recall_estimate: None,
        recall_interval: None,
        checks_planned: 0,
        checks_covered: 0,
        ..v.coverage
    };
    v.run.canaries_answered = 0;
    v.run.receive_drops = 12;
    v.run.send_failures = 1;
    v
}

/// Foreign text that tries to act, in every field that holds text.
pub(crate) fn hostile() -> Verdict {
    let evil = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "</script><svg onload=alert(1)>",
        "javascript:alert(1)",
        "\x1b]0;pwned\x07\x1b[31mred\u{9b}2J",
        "user\u{202E}gpj.exe\u{2066}\u{200B}\u{E0041}",
        "|cell|`code`| @everyone fixes #1 [x](http://evil.example) ![i](https://evil.example/p) <!-- -->",
        "line\r\n## heading\n- item\n\n```",
        "管理画面".repeat(200).leak(),
    ];
    let all = evil.join(" ");
    let mut v = drift();
    v.incomplete = true;
    v.incomplete_because = vec![all.clone()];
    v.run_id = all.clone();
    v.baseline_digest = all.clone();
    v.coverage.not_covered = vec![all.clone()];
    v.run = RunFacts {
        method: all.clone(),
        targets: vec![all.clone()],
        ports: all.clone(),
        authorised_by: all.clone(),
        scope_digest: all.clone(),
        vantage: all.clone(),
        notes: vec![all.clone()],
        ..v.run
    };
    v.findings = evil
        .iter()
        .zip(1u16..)
        .map(|(e, n)| Finding {
            id: (*e).to_owned(),
            vantage: (*e).to_owned(),
            check: Some((*e).to_owned()),
            title: Some((*e).to_owned()),
            remedy: Some((*e).to_owned()),
            owner: Some((*e).to_owned()),
            allowed_by: Some((*e).to_owned()),
            why: (*e).to_owned(),
            service: Some((*e).to_owned()),
            evidence: Some(HttpEvidence {
                status: 200,
                line: Some(1),
                length: 1,
                digest: (*e).to_owned(),
                masked: Some((*e).to_owned()),
                label: Some((*e).to_owned()),
                signature: Some((*e).to_owned()),
                repeated: true,
                sightings: None,
                canaries: vec![CanaryResult { path: (*e).to_owned(), status: 404 }],
            }),
            ..content("198.51.100.7", n, e, e)
        })
        .collect();
    v.allowed = evil
        .iter()
        .map(|e| {
            let place = format!("198.51.100.7:80 shop.example.jp/{e}");
            let a = allowed(&place, Severity::Critical, Some(e), e);
            AllowedSubject {
                rule: (*e).to_owned(),
                owner: (*e).to_owned(),
                id: (*e).to_owned(),
                ..a
            }
        })
        .collect();
    v.site_changes = evil.iter().map(|e| change(e, SiteFact::Title, Some(e), Some(e))).collect();
    v.site_notices = evil.iter().map(|e| notice(e, NoticeKind::CertificateExpired, e)).collect();
    v
}

/// As many findings as asked for, in a mix of kinds, states and severities.
pub(crate) fn many(n: u32) -> Verdict {
    let mut v = drift();
    let pool = v.findings.clone();
    v.findings = (0..n)
        .map(|i| {
            let mut f = pool[i as usize % pool.len()].clone();
            f.id = format!("{:016x}", u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            f.ip = std::net::Ipv4Addr::from(0xc612_0000 + i).into();
            f
        })
        .collect();
    v.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    let n = (n as usize).min(1_000);
    v.site_changes = v.site_changes.iter().cycle().take(n).cloned().collect();
    v.site_notices = v.site_notices.iter().cycle().take(n).cloned().collect();
    v.sites.changes = 4 * n as u64;
    v.sites.names_gone = 4 * n as u64;
    v
}

/// All but the large one.
pub(crate) fn all() -> Vec<Verdict> {
    vec![clean(), drift(), incomplete(), suspect(), hostile()]
}
