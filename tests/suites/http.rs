//! The path prober and the service reader against real sockets that misbehave in every known way.

#[path = "http/asking.rs"]
mod asking;
#[path = "http/second_version.rs"]
mod second_version;
#[path = "http/standing.rs"]
mod standing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mimawari_look::http::{HttpConfig, VhostIndex, WebTarget};
use mimawari_look::service::{Confirmation, ServiceConfig, confirm};
use mimawari_probes::http::Catalogue;
use mimawari_probes::observation::{ContentOutcome, HttpObservation, UrlScheme};
use mimawari_targets::{AddrRange, AddrSet, Endpoint, Port, Scope};
use mimawari_tests::fake::{
    Answer, Body, FakeServer, FakeSite, Fallback, Form, Protocol, gzip_bomb,
};
use mimawari_tests::looking;
use proptest::prelude::*;
use tokio::sync::watch;

/// A secret that stands in every planted file. No output may hold it.
const SECRET: &str = "hunter2-Zq8vWm";

/// Nobody waits for this long; a test that gets here fails by its own assertion.
const LONG: Duration = Duration::from_secs(60);

fn scope() -> Scope {
    let loopback = "127.0.0.0/8".parse::<AddrRange>().unwrap();
    Scope::new(AddrSet::from_ranges([loopback]), AddrSet::default(), "the test suite")
}

fn endpoint(address: SocketAddr) -> Endpoint {
    scope().endpoint(address.ip(), Port::new(address.port()).unwrap()).unwrap()
}

fn target(server: &FakeServer, scheme: UrlScheme, host: Option<&str>) -> WebTarget {
    WebTarget { endpoint: endpoint(server.address()), scheme, host: host.map(str::to_owned) }
}

fn config() -> HttpConfig {
    HttpConfig {
        connect_timeout: LONG,
        head_timeout: LONG,
        body_timeout: LONG,
        per_target_time: LONG,
        evidence_key: [7; 32],
        salt: 0x5eed,
        ..HttpConfig::default()
    }
}

/// The paths of the targets.
fn look_at(targets: Vec<WebTarget>, config: HttpConfig) -> Vec<HttpObservation> {
    looking::look_at(targets, config).paths
}

/// The paths of the plan, each once.
fn planned(tier: u8) -> BTreeSet<String> {
    Catalogue::builtin().plan(tier).fixed().iter().map(|p| p.path.to_string()).collect()
}

/// Every planned path has one observation for this target, no more, no less.
fn assert_complete(observations: &[HttpObservation], targets: usize) {
    let mut seen: BTreeMap<(IpAddr, Port, UrlScheme, Option<String>), Vec<String>> =
        BTreeMap::new();
    for o in observations {
        seen.entry((o.ip, o.port, o.scheme, o.host.clone())).or_default().push(o.path.clone());
    }
    assert_eq!(seen.len(), targets);
    let plan: Vec<String> = planned(1).into_iter().collect();
    for (target, mut paths) in seen {
        paths.sort();
        assert_eq!(paths, plan, "{target:?}");
    }
}

fn exposed(observations: &[HttpObservation]) -> BTreeSet<&str> {
    observations
        .iter()
        .filter(|o| o.outcome == ContentOutcome::Exposed)
        .map(|o| o.path.as_str())
        .collect()
}

fn by_path(observations: &[HttpObservation]) -> HashMap<&str, &HttpObservation> {
    observations.iter().map(|o| (o.path.as_str(), o)).collect()
}

fn outcomes(observations: &[HttpObservation]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for o in observations {
        *counts.entry(format!("{:?}", o.outcome)).or_default() += 1;
    }
    counts
}

/// No secret in any serialized record.
fn assert_no_secret(observations: &[HttpObservation]) {
    for o in observations {
        let line = serde_json::to_string(o).unwrap();
        for piece in [SECRET, &SECRET[..7]] {
            assert!(!line.contains(piece), "{line}");
        }
    }
}

fn php() -> Vec<u8> {
    format!("<?php\n$user = 'shop';\n$password = '{SECRET}';\nreturn $password;\n").into_bytes()
}

fn git_config() -> Vec<u8> {
    b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n".to_vec()
}

fn dotenv() -> Vec<u8> {
    format!("APP_NAME=shop\nAPP_ENV=production\nDB_PASSWORD={SECRET}\nAPP_KEY=base64:{SECRET}\n")
        .into_bytes()
}

fn planted(form: Form) -> FakeSite {
    FakeSite::new()
        .route("/password.php", Answer::ok(php()).form(form))
        .route("/.git/config", Answer::ok(git_config()).form(form))
        .route("/.env", Answer::ok(dotenv()).form(form))
}

const PLANTED: [&str; 3] = ["/.env", "/.git/config", "/password.php"];

#[test]
fn planted_files_are_found_in_every_form() {
    for form in Form::ALL {
        for tls in [false, true] {
            let site = planted(form);
            let site = if tls { site.tls(&[]).without_close_notify() } else { site };
            let server = site.start().unwrap();
            let scheme = if tls { UrlScheme::Https } else { UrlScheme::Http };
            let seen = look_at(vec![target(&server, scheme, None)], config());
            assert_complete(&seen, 1);
            assert_eq!(exposed(&seen), BTreeSet::from(PLANTED), "{form:?} tls {tls}");
            let others = seen.iter().filter(|o| !PLANTED.contains(&o.path.as_str()));
            for o in others {
                assert_eq!(o.outcome, ContentOutcome::Absent, "{form:?} tls {tls}: {o:?}");
            }
            assert_no_secret(&seen);
        }
    }
}

#[test]
fn one_connection_is_kept_for_all_paths() {
    let server = planted(Form::Typed).start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert_complete(&seen, 1);
    assert_eq!(server.connections(), 1);
    for request in server.requests() {
        assert_eq!(request.method, "GET");
        assert_eq!(request.header("range"), Some("bytes=0-65535"));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert!(request.header("user-agent").is_some_and(|a| a.starts_with("mimawari/")));
        assert_eq!(request.host.as_deref(), Some(server.address().to_string().as_str()));
    }
}

#[test]
fn catch_all_sites_give_no_finding() {
    let html = |text: &str| Answer::ok(text.as_bytes()).header("Content-Type", "text/html");
    let kinds = vec![
        (".php".to_owned(), Answer::ok(php())),
        (
            ".sql".to_owned(),
            Answer::ok(&b"CREATE TABLE a (b int);\nINSERT INTO a VALUES (1);\n"[..]),
        ),
        ("config".to_owned(), Answer::ok(git_config())),
        (".env".to_owned(), Answer::ok(dotenv())),
    ];
    let sites = [
        ("spa", Fallback::Always(html("<!doctype html><div id=app></div>"))),
        ("source to everything", Fallback::Always(Answer::ok(php()))),
        ("environment to everything", Fallback::Always(Answer::ok(dotenv()))),
        ("git to everything", Fallback::Always(Answer::ok(git_config()))),
        ("reflected", Fallback::Reflect),
        ("varying", Fallback::Varying),
        ("redirect loop", Fallback::RedirectLoop),
        ("redirect home", Fallback::Always(Answer::redirect("/"))),
        ("by extension", Fallback::ByExtension(kinds)),
        ("blocked as 200", Fallback::Always(html("<html><h1>Access denied</h1></html>"))),
        ("forbidden", Fallback::Always(Answer::status(403))),
        (
            "server error with source",
            Fallback::Always(Answer::status(500).body(Body::Bytes(php()))),
        ),
    ];
    for (name, fallback) in sites {
        let server = FakeSite::new().fallback(fallback).start().unwrap();
        // The pauses before a site that fails would be most of the suite's time; what is found is judged here.
        let config = HttpConfig { longest_pause: Duration::from_millis(1), ..config() };
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config);
        assert_complete(&seen, 1);
        // Source of PHP at every path is one finding of the site.
        let expected = match name {
            "source to everything" => BTreeSet::from(["/index.php"]),
            _ => BTreeSet::new(),
        };
        assert_eq!(exposed(&seen), expected, "{name}: {:?}", outcomes(&seen));
        assert_no_secret(&seen);
        match name {
            "source to everything" => {
                assert_eq!(by_path(&seen)["/password.php"].outcome, ContentOutcome::CatchAll);
            }
            // Who refuses everything may refuse us alone.
            "forbidden" => assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Error)),
            _ => {}
        }
    }
}

#[test]
fn virtual_hosts_are_asked_by_their_names() {
    for tls in [false, true] {
        let (a, b) = ("shop.example.test", "blog.example.test");
        let site = FakeSite::new().vhost(a, "/password.php", Answer::ok(php())).vhost(
            b,
            "/.git/config",
            Answer::ok(git_config()),
        );
        let site = if tls { site.tls(&[a, b]) } else { site };
        let server = site.start().unwrap();
        let scheme = if tls { UrlScheme::Https } else { UrlScheme::Http };
        let targets = [None, Some(a), Some(b)].map(|h| target(&server, scheme, h)).to_vec();
        let seen = look_at(targets, config());
        assert_complete(&seen, 3);
        let of = |host: Option<&str>| {
            let of: Vec<_> = seen.iter().filter(|o| o.host.as_deref() == host).cloned().collect();
            exposed(&of).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of(Some(a)), ["/password.php"]);
        assert_eq!(of(Some(b)), ["/.git/config"]);
        assert_eq!(of(None), [""; 0]);
        let port = server.address().port();
        for request in server.requests() {
            let host = request.host.unwrap();
            let (name, asked) = host.rsplit_once(':').unwrap();
            assert_eq!(asked, port.to_string());
            // SNI is the name that Host asks for; never an address (RFC 6066, section 3).
            let sni = (tls && name != "127.0.0.1").then(|| name.to_owned());
            assert_eq!(request.sni, sni, "{host}");
        }
        // Plain hosts share a connection, TLS names have one each.
        assert_eq!(server.connections(), if tls { 3 } else { 1 });
    }
}

#[test]
fn connections_that_end_early_are_replaced() {
    let sites = [
        ("closes after 3", planted(Form::Typed).requests_per_connection(3)),
        ("closes after 1", planted(Form::Typed).requests_per_connection(1)),
        ("resets after 4", planted(Form::Typed).reset_after(4)),
        ("resets after 2 over TLS", planted(Form::Typed).reset_after(2).tls(&[])),
    ];
    for (name, site) in sites {
        let server = site.start().unwrap();
        let scheme = if name.ends_with("TLS") { UrlScheme::Https } else { UrlScheme::Http };
        let seen = look_at(vec![target(&server, scheme, None)], config());
        assert_complete(&seen, 1);
        assert_eq!(exposed(&seen), BTreeSet::from(PLANTED), "{name}: {:?}", outcomes(&seen));
        assert!(seen.iter().all(|o| o.outcome.is_covered()), "{name}: {:?}", outcomes(&seen));
        assert!(server.connections() > 1, "{name}");
    }
}

#[test]
fn a_filter_that_cuts_one_path_costs_that_path_alone() {
    let server = planted(Form::Typed).reset_on("/.env").start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert_complete(&seen, 1);
    let env = by_path(&seen)["/.env"];
    assert_eq!(env.outcome, ContentOutcome::Error);
    assert!(env.reason.is_some());
    assert_eq!(outcomes(&seen)["Error"], 1);
    let tries = server.requests().iter().filter(|r| r.path == "/.env").count();
    assert_eq!(tries, 6, "three times, and once more so at the end");
    assert_eq!(exposed(&seen), BTreeSet::from(["/.git/config", "/password.php"]));
}

#[test]
fn a_body_cut_short_is_no_answer() {
    let cut = Answer::status(200).body(Body::Cut(b"nothing of interest".to_vec()));
    let server = FakeSite::new().route("/.env", cut).start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert_complete(&seen, 1);
    assert_eq!(by_path(&seen)["/.env"].outcome, ContentOutcome::Error);
    assert_eq!(outcomes(&seen)["Error"], 1);
}

#[test]
fn nobody_there_is_error_and_never_absent() {
    let server = FakeSite::new().start().unwrap();
    let gone = target(&server, UrlScheme::Http, None);
    drop(server);
    let seen = look_at(vec![gone], config());
    assert_complete(&seen, 1);
    for o in &seen {
        assert_eq!(o.outcome, ContentOutcome::Error, "{o:?}");
        assert!(o.reason.as_deref().is_some_and(|r| r.contains("refused")), "{o:?}");
    }
}

#[test]
fn half_open_servers_end_by_the_head_timeout() {
    let server = FakeSite::speaking(Protocol::HalfOpen).start().unwrap();
    let quick = HttpConfig { head_timeout: Duration::from_millis(100), ..config() };
    let hosts = [None, Some("a.example.test"), Some("b.example.test")];
    let seen = look_at(hosts.map(|h| target(&server, UrlScheme::Http, h)).to_vec(), quick);
    assert_complete(&seen, 3);
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Error), "{:?}", outcomes(&seen));
    // Given up after three paths, for each name: the bare address proves nothing about the names.
    assert_eq!(server.connections(), 9);
}

#[test]
fn endless_bodies_are_cut_off() {
    for body in [php(), vec![b'x'; 4096]] {
        let endless = Answer::status(200).body(Body::Endless(body));
        let site = FakeSite::new().route("/password.php", endless.clone());
        let server = site.route("/.git/config", endless).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
        assert_complete(&seen, 1);
        assert!(seen.iter().all(|o| o.outcome.is_covered()), "{:?}", outcomes(&seen));
        // 64 KiB read, and what two kernel buffers hold, for each of at most three requests.
        let sent = server.bytes_sent();
        assert!(sent < 4 << 20, "{sent} bytes");
        assert_no_secret(&seen);
    }
}

#[test]
fn a_body_byte_by_byte_ends_by_the_body_timeout() {
    let drip = Body::Drip { bytes: vec![b'a'; 100_000], pause: Duration::from_millis(50) };
    let server = FakeSite::new().route("/.env", Answer::status(200).body(drip)).start().unwrap();
    let quick = HttpConfig { body_timeout: Duration::from_millis(300), ..config() };
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], quick);
    assert_complete(&seen, 1);
    let slow = by_path(&seen)["/.env"];
    assert_eq!(slow.outcome, ContentOutcome::Error);
    assert!(slow.reason.as_deref().is_some_and(|r| r.contains("body")), "{slow:?}");
    assert_eq!(outcomes(&seen)["Error"], 1, "the others are not held up");
    assert!(server.bytes_sent() < 100_000);
}

#[test]
fn the_time_of_a_target_is_bounded() {
    let drip = Body::Drip { bytes: vec![b'a'; 100_000], pause: Duration::from_millis(50) };
    let slow = Fallback::Always(Answer::status(200).body(drip));
    let site = ["/", "/favicon.ico"]
        .into_iter()
        .fold(FakeSite::new(), |site, path| site.route(path, Answer::status(404)));
    let server = site.fallback(slow).start().unwrap();
    let quick = HttpConfig { per_target_time: Duration::from_millis(300), ..config() };
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], quick);
    assert_complete(&seen, 1);
    assert_eq!(seen[0].outcome, ContentOutcome::Error);
    assert!(
        seen[1..].iter().all(|o| o.outcome == ContentOutcome::Skipped),
        "{:?}",
        outcomes(&seen)
    );
    assert!(seen.iter().all(|o| o.reason.is_some()));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn ten_thousand_header_fields_are_read_by_force() {
    let mut many = Answer::ok(php());
    for i in 0..10_000 {
        many = many.header(&format!("X-{i}"), "y");
    }
    // Bytes prove what is there, whatever stands before them; what is not there they do not prove.
    let server =
        FakeSite::new().route("/password.php", many.clone()).route("/.env", many).start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert_complete(&seen, 1);
    assert_eq!(exposed(&seen), BTreeSet::from(["/password.php"]));
    assert_eq!(by_path(&seen)["/.env"].outcome, ContentOutcome::Malformed);
    assert_eq!(outcomes(&seen)["Malformed"], 1);
    assert_no_secret(&seen);
}

#[test]
fn a_gzip_bomb_is_inflated_no_further_than_the_cap() {
    // Ten GiB of zeros behind some hundred KiB a second of wire; only 64 KiB of it are taken.
    let bomb = Answer::ok(gzip_bomb(10 * 1024)).header("Content-Encoding", "gzip");
    let server = FakeSite::new().route("/.env", bomb).start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert_complete(&seen, 1);
    assert_eq!(exposed(&seen), BTreeSet::new());
    assert!(server.bytes_sent() < 4 << 20, "{} bytes", server.bytes_sent());
}

#[test]
fn what_is_not_http_is_malformed() {
    let ports = [
        ("banner", Protocol::Banner(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec())),
        ("garbage", Protocol::Garbage(vec![0x15, 3, 1, 0, 2, 2, 70])),
        ("http/0.9", Protocol::Http09(php())),
        ("git over nothing", Protocol::Http09(git_config())),
    ];
    for (name, protocol) in ports {
        let server = FakeSite::speaking(protocol).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
        assert_complete(&seen, 1);
        assert!(
            seen.iter().all(|o| o.outcome == ContentOutcome::Malformed),
            "{name}: {:?} {:?}",
            outcomes(&seen),
            seen[0]
        );
        assert!(server.connections() <= 9, "{name}: given up early");
    }
}

#[test]
fn tls_that_fails_is_error() {
    let server = FakeSite::new().start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Https, None)], config());
    assert_complete(&seen, 1);
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Error), "{:?}", outcomes(&seen));
    assert_eq!(server.connections(), 3);
}

#[test]
fn a_server_that_wants_a_name_is_looked_at_by_name() {
    let name = "shop.example.test";
    let server = planted(Form::Typed).tls(&[name]).strict_names().start().unwrap();
    let found = confirm_with(&server, &service_config());
    assert_eq!(found.web, Some(UrlScheme::Https), "{found:?}");
    let hosts = [None, Some("other.example.test"), Some(name)];
    let seen = look_at(hosts.map(|h| target(&server, UrlScheme::Https, h)).to_vec(), config());
    assert_complete(&seen, 3);
    let (named, others): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|o| o.host.as_deref() == Some(name));
    assert_eq!(exposed(&named), BTreeSet::from(PLANTED));
    for o in others {
        assert_eq!(o.outcome, ContentOutcome::Absent);
        assert!(o.reason.is_some_and(|r| r.contains("no site")), "says why");
    }
    // One for the reader, one for the site, one for each refusal: no retries of what is certain.
    assert_eq!(server.connections(), 4);
}

#[test]
fn a_handshake_that_hangs_is_error() {
    let server = FakeSite::speaking(Protocol::HalfOpen).start().unwrap();
    let quick = HttpConfig { connect_timeout: Duration::from_millis(150), ..config() };
    let seen = look_at(vec![target(&server, UrlScheme::Https, None)], quick);
    assert_complete(&seen, 1);
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Error), "{:?}", outcomes(&seen));
    assert!(seen[0].reason.as_deref().is_some_and(|r| r.contains("TLS handshake")), "{seen:?}");
    assert_eq!(server.connections(), 3);
}

#[test]
fn a_stop_skips_the_rest() {
    let server = FakeSite::speaking(Protocol::HalfOpen).start().unwrap();
    let (stop, watch) = watch::channel(false);
    let targets = vec![target(&server, UrlScheme::Http, None)];
    let looking = std::thread::spawn(move || looking::look_until(targets, config(), watch).paths);
    // The one request in flight would be waited for for a minute.
    while server.connections() == 0 {
        std::thread::yield_now();
    }
    stop.send(true).unwrap();
    let seen = looking.join().unwrap();
    assert_complete(&seen, 1);
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Skipped), "{:?}", outcomes(&seen));
}

#[test]
fn stopped_before_it_began() {
    let server = planted(Form::Typed).start().unwrap();
    let (_stop, watch) = watch::channel(true);
    let seen =
        looking::look_until(vec![target(&server, UrlScheme::Http, None)], config(), watch).paths;
    assert_complete(&seen, 1);
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Skipped));
    assert_eq!(server.connections(), 0);
}

#[test]
fn many_targets_are_all_looked_at() {
    let servers: Vec<FakeServer> = (0..12).map(|_| planted(Form::Typed).start().unwrap()).collect();
    let mut targets = Vec::new();
    for server in &servers {
        targets.push(target(server, UrlScheme::Http, None));
        targets.push(target(server, UrlScheme::Http, Some("a.example.test")));
        // Twice the same is once.
        targets.push(target(server, UrlScheme::Http, None));
    }
    let seen = look_at(targets, HttpConfig { targets_at_once: 5, ..config() });
    assert_complete(&seen, 24);
    assert_eq!(seen.iter().filter(|o| o.outcome == ContentOutcome::Exposed).count(), 24 * 3);
}

#[test]
fn nothing_outside_the_scope_can_be_named() {
    // An `Endpoint` has no public constructor but the scope's, and everything that dials takes one:
    // an address outside cannot even be written down as a target.
    let outside: IpAddr = "203.0.113.9".parse().unwrap();
    assert!(scope().endpoint(outside, Port::new(80).unwrap()).is_err());
    let list = "127.0.0.1,shop.example.test\n203.0.113.9,evil.example.test\n";
    let index = VhostIndex::spool("vhosts.csv", list.as_bytes(), &scope(), &std::env::temp_dir());
    let index = index.unwrap();
    assert_eq!(index.addresses().collect::<Vec<_>>(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    let skipped = index.skipped();
    assert_eq!((skipped.rows, skipped.shown.len()), (1, 1));
    assert_eq!(skipped.shown[0].line(), 2);
    assert!(skipped.shown[0].title.contains("203.0.113.9 is not in the scope"));
    assert!(skipped.shown[0].help.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a server answers, every path ends in one observation and none is a finding.
    #[test]
    fn hostile_answers_neither_panic_nor_hang(
        head in prop::sample::select(vec![
            "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 206 X\r\nContent-Range: bytes 0-9/*\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n\u{1f}",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [head.as_bytes(), &rest].concat();
        let server = FakeSite::speaking(Protocol::Garbage(bytes)).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
        assert_complete(&seen, 1);
        prop_assert_eq!(exposed(&seen), BTreeSet::new());
        let found = confirm_with(&server, &service_config());
        prop_assert!(found.accepted && found.service.is_some());
    }

    /// Any list is read or refused, and every refusal can be shown.
    #[test]
    fn hostile_lists_are_read_or_refused(
        lines in prop::collection::vec("(127\\.0\\.0\\.[1-9]|\\PC{0,9}),[a-z\".,\u{feff}#ß\r-]{0,12}", 0..8),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        for list in [lines.join("\n").into_bytes(), bytes] {
            match VhostIndex::spool("vhosts.csv", &list[..], &scope(), &std::env::temp_dir()) {
                Ok(index) => {
                    let mut rows = 0;
                    for ip in index.addresses() {
                        prop_assert!(scope().allows(ip));
                        rows += index.count(ip);
                        prop_assert!(index.hosts(ip).all(|v| v.is_ok_and(|v| v.ip == ip)));
                    }
                    prop_assert_eq!(rows, index.rows());
                }
                Err(refused) => {
                    prop_assert!(!refused.0.is_empty());
                    prop_assert!(refused.to_string().contains("vhosts.csv"));
                }
            }
        }
    }
}

fn confirm_with(server: &FakeServer, config: &ServiceConfig) -> Confirmation {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(confirm(endpoint(server.address()), config))
}

fn service_config() -> ServiceConfig {
    ServiceConfig {
        connect_timeout: LONG,
        // No more than a delay: a banner that comes later is read all the same.
        banner_wait: Duration::from_millis(40),
        answer_timeout: LONG,
        user_agent: "mimawari/test".to_owned(),
        ..ServiceConfig::default()
    }
}

#[test]
fn services_are_named_by_their_bytes() {
    let page = Answer::ok(&b"<html><title>Shop &amp; more\x1b[31m</title>"[..])
        .header("Server", "Fake/1.0 \u{7}");
    let web = || FakeSite::new().fallback(Fallback::Always(page.clone()));
    let bad = Answer::status(400).header("Server", "nginx");
    let cases = [
        ("ssh", FakeSite::speaking(Protocol::Banner(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())), None),
        ("smtp", FakeSite::speaking(Protocol::Banner(b"220 mx ESMTP\r\n".to_vec())), None),
        (
            "smtps",
            FakeSite::speaking(Protocol::Banner(b"220 mx ESMTP\r\n".to_vec())).tls(&[]),
            None,
        ),
        ("http", web(), Some(UrlScheme::Http)),
        ("https", web().tls(&[]), Some(UrlScheme::Https)),
        ("https", web().tls(&[]).plain_on_tls(bad), Some(UrlScheme::Https)),
        ("tls", FakeSite::speaking(Protocol::Closing).tls(&[]), None),
        ("unknown", FakeSite::speaking(Protocol::Closing), None),
        (
            "redis",
            FakeSite::speaking(Protocol::Garbage(
                b"-ERR wrong number of arguments for 'get' command\r\n".to_vec(),
            )),
            None,
        ),
        ("unknown", FakeSite::speaking(Protocol::Garbage(b"?\n".to_vec())), None),
        ("unknown", FakeSite::speaking(Protocol::Http09(php())), None),
    ];
    for (name, site, web) in cases {
        let server = site.clone().start().unwrap();
        let found = confirm_with(&server, &service_config());
        assert!(found.accepted && !found.refused);
        assert_eq!(found.web, web, "{name}: {found:?}");
        let service = found.service.unwrap();
        assert_eq!(service.name, name, "{service:?}");
        assert_eq!(service.tls.is_some(), name.ends_with('s') && name != "redis" || name == "tls");
        if let Some(tls) = &service.tls {
            assert_eq!(tls.version, "TLSv1.3");
            assert_eq!(tls.certificate_sha256.as_ref().map(String::len), Some(64));
        }
        if let Some(http) = &service.http {
            assert_eq!(http.status, 200);
            let (title, server) = (http.title.as_deref(), http.server.as_deref());
            assert!(title.is_some_and(|t| t.starts_with("Shop")), "{title:?}");
            let clean = |s: &str| !s.chars().any(char::is_control);
            assert!(title.is_some_and(clean) && server.is_some_and(clean), "{http:?}");
        }
        for request in server.requests() {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/"));
        }
        assert!(server.connections() <= 3, "{name}");
    }
}

#[test]
fn a_silent_server_ends_by_its_timeouts() {
    let server = FakeSite::speaking(Protocol::HalfOpen).start().unwrap();
    let quick = ServiceConfig {
        banner_wait: Duration::from_millis(50),
        answer_timeout: Duration::from_millis(100),
        ..service_config()
    };
    let found = confirm_with(&server, &quick);
    assert!(found.accepted);
    assert_eq!(found.service.unwrap().name, "unknown");
    assert_eq!(found.web, None);
}

#[test]
fn endless_pages_do_not_hold_the_service_reader() {
    let endless = Answer::status(200).body(Body::Endless(vec![b'x'; 4096]));
    let server = FakeSite::new().fallback(Fallback::Always(endless)).start().unwrap();
    let found = confirm_with(&server, &ServiceConfig { answer_timeout: LONG, ..service_config() });
    assert_eq!(found.web, Some(UrlScheme::Http));
    assert!(server.bytes_sent() < 4 << 20);
}

#[test]
fn a_closed_port_is_refused() {
    let server = FakeSite::new().start().unwrap();
    let address = server.address();
    drop(server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(confirm(endpoint(address), &service_config()));
    assert_eq!(found, Confirmation { refused: true, ..Confirmation::default() });
}
