//! How a site is asked: ranges, redirects, cookies, bodies without an end, several servers behind one
//! address.

use std::sync::Arc;

use mimawari_look::http::KnownPaths;
use mimawari_probes::observation::Sightings;

use super::*;

fn at_root(seen: &[HttpObservation], path: &str) -> (ContentOutcome, Option<String>) {
    let o = by_path(seen)[path];
    (o.outcome, o.reason.clone())
}

#[test]
fn a_range_that_is_refused_is_dropped_for_the_site() {
    for status in [400, 416, 500, 501] {
        let server = planted(Form::Typed).refuses_ranges(status).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
        assert_complete(&seen, 1);
        assert_eq!(exposed(&seen), BTreeSet::from(PLANTED), "{status}: {:?}", outcomes(&seen));
        let ranged = server.requests().iter().filter(|r| r.header("range").is_some()).count();
        assert!(ranged <= 3, "{status}: {ranged} requests with a range");
    }
}

#[test]
fn a_site_that_answers_400_to_a_path_is_not_asked_twice_for_ever() {
    let refusing = Fallback::Always(Answer::status(400));
    let home = Answer::ok(&b"<title>home</title>"[..]);
    let server = FakeSite::new().fallback(refusing).route("/", home).start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert_complete(&seen, 1);
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Protected), "{:?}", outcomes(&seen));
    let twice = server.requests().iter().filter(|r| r.header("range").is_none()).count();
    assert_eq!(twice, 3);
}

#[test]
fn redirects_within_the_site_are_followed_once() {
    let file = |site: FakeSite, path: &str| site.route(path, Answer::ok(dotenv()));
    let sites = [
        (
            "below a folder",
            file(FakeSite::new(), "/public/.env"),
            Fallback::Below("/public".into()),
        ),
        ("a session", file(FakeSite::new(), "/.env?sid=1"), Fallback::Session("?sid=1".into())),
        ("a cookie", file(FakeSite::new(), "/.env").cookie_wall("seen=1"), Fallback::NotFound),
    ];
    for (name, site, fallback) in sites {
        let server = site.fallback(fallback).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
        assert_complete(&seen, 1);
        assert_eq!(exposed(&seen), BTreeSet::from(["/.env"]), "{name}: {:?}", outcomes(&seen));
        let others = seen.iter().filter(|o| o.path != "/.env");
        for o in others {
            assert_eq!(o.outcome, ContentOutcome::Absent, "{name}: {o:?}");
        }
        assert_no_secret(&seen);
    }
}

#[test]
fn a_redirect_is_never_followed_off_the_site() {
    let trap = planted(Form::Typed).start().unwrap();
    for to in [
        format!("http://{}/.env", trap.address()),
        format!("http://other.example.test:{}/.env", trap.address().port()),
        format!("//{}/.env", trap.address()),
    ] {
        let away = Fallback::Always(Answer::redirect(&to));
        let home = Answer::ok(&b"<title>home</title>"[..]);
        let server = FakeSite::new().fallback(away).route("/", home).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
        assert_complete(&seen, 1);
        assert!(
            seen.iter().all(|o| o.outcome == ContentOutcome::Absent),
            "{to}: {:?}",
            outcomes(&seen)
        );
    }
    assert_eq!(trap.connections(), 0);
}

#[test]
fn bytes_that_came_count_and_what_is_missing_is_not_covered() {
    let mut sql = b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n".to_vec();
    for _ in 0..40 {
        sql.extend_from_slice(format!("INSERT INTO `u` VALUES (1,'{SECRET}');\n").as_bytes());
    }
    let drip = Body::Drip { bytes: [&sql[..], &[b'x'; 9000]].concat(), pause: Duration::ZERO };
    let server = FakeSite::new()
        .route("/.env", Answer::status(200).body(Body::Cut(dotenv())))
        .route("/password.php", Answer::status(200).body(Body::Unended(php())))
        .route("/backup.sql", Answer::status(200).body(drip))
        .route("/.git/config", Answer::status(200).body(Body::Cut(b"nothing".to_vec())))
        .start()
        .unwrap();
    let quick = HttpConfig { body_timeout: Duration::from_millis(400), ..config() };
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], quick);
    assert_complete(&seen, 1);
    let found = exposed(&seen);
    for path in ["/.env", "/password.php", "/backup.sql"] {
        assert!(found.contains(path), "{path}: {:?}", at_root(&seen, path));
    }
    let (outcome, reason) = at_root(&seen, "/.git/config");
    assert_eq!(outcome, ContentOutcome::Error);
    assert!(reason.is_some_and(|r| r.contains("body")));
    assert_no_secret(&seen);
}

#[test]
fn an_unknown_coding_is_not_read_as_nothing() {
    let odd = Answer::ok(&[0x9c, 0, 1, 0xfe, 7][..]).header("Content-Encoding", "dcz");
    let plain = Answer::ok(dotenv()).header("Content-Encoding", "utf-8");
    let site = FakeSite::new().route("/.git/config", odd).route("/.env", plain);
    let server = site.start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert_eq!(exposed(&seen), BTreeSet::from(["/.env"]));
    let (outcome, reason) = at_root(&seen, "/.git/config");
    assert_eq!(outcome, ContentOutcome::Error);
    assert!(reason.is_some_and(|r| r.contains("coding")));
}

#[test]
fn a_file_counts_whatever_the_status() {
    for status in [200, 201, 203, 302, 403, 404, 500] {
        let body = |bytes: Vec<u8>| Answer::status(status).body(Body::Bytes(bytes));
        let server = FakeSite::new()
            .route("/.env", body(dotenv()))
            .route("/password.php", body(php()))
            .start()
            .unwrap();
        let quick = HttpConfig { longest_pause: Duration::from_millis(1), ..config() };
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], quick);
        assert_eq!(exposed(&seen), BTreeSet::from(["/.env", "/password.php"]), "{status}");
    }
}

#[test]
fn what_one_of_two_servers_hands_out_is_reported_with_how_often() {
    let server = planted(Form::Typed).every_other(&["/.env"]).start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    let env = by_path(&seen)["/.env"];
    assert_eq!(env.outcome, ContentOutcome::Exposed, "{env:?}");
    let evidence = env.evidence.as_ref().unwrap();
    assert_eq!(evidence.sightings, Some(Sightings { seen: 2, asked: 3 }));
    assert!(evidence.repeated && evidence.canaries.len() == 2);
    assert!(by_path(&seen)["/password.php"].evidence.as_ref().unwrap().sightings.is_none());
}

#[test]
fn what_was_found_before_is_asked_for_until_it_is_sure_to_be_gone() {
    let server = FakeSite::new().start().unwrap();
    let address = server.address();
    let mut known = KnownPaths::default();
    known.add(address.ip(), Port::new(address.port()).unwrap(), None, "/.env");
    let config = HttpConfig { known: Arc::new(known), ..config() };
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config);
    assert_eq!(at_root(&seen, "/.env"), (ContentOutcome::Absent, None));
    let asked: Vec<usize> =
        server.requests().iter().filter(|r| r.path == "/.env").map(|r| r.connection).collect();
    assert_eq!(asked.len(), 9);
    let connections: BTreeSet<usize> = asked.iter().copied().collect();
    assert_eq!(connections.len(), 9, "each on a connection of its own: {asked:?}");
    // Nobody else is asked more often for that.
    let password = server.requests().iter().filter(|r| r.path == "/password.php").count();
    assert_eq!(password, 1);
}

#[test]
fn a_front_that_keeps_the_first_host_is_noticed() {
    let (a, b, c) = ("a.example.test", "b.example.test", "c.example.test");
    let site = FakeSite::new().vhost(b, "/.env", Answer::ok(dotenv())).keeps_first_host();
    let server = site.start().unwrap();
    let targets = [None, Some(a), Some(b), Some(c)].map(|h| target(&server, UrlScheme::Http, h));
    let seen = look_at(targets.to_vec(), config());
    let found: Vec<_> = seen
        .iter()
        .filter(|o| o.outcome == ContentOutcome::Exposed)
        .map(|o| (o.host.as_deref(), o.path.as_str()))
        .collect();
    assert_eq!(found, [(Some(b), "/.env")]);
}
