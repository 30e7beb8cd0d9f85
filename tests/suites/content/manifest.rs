//! A manifest from a document root to the verdict.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use mimawari_tests::fake::{Answer, FakeServer, FakeSite, Fallback};
use serde_json::Value;

use super::desk::{Desk, files};

const A: &str = "a.example.test";
const B: &str = "b.example.test";

/// What lies in the document root; all of it is visibly no secret of anybody's.
const FILES: [(&str, &str); 8] = [
    ("index.html", "<!doctype html><title>Shop</title><p>welcome</p>\n"),
    ("password.php", "<?php\n$user = 'visibly-fake';\n$password = 'visibly-fake';\nreturn 1;\n"),
    ("intern/k7x.php", "<?php\nrequire 'x.php';\n$a = visibly_fake(1);\n$b = visibly_fake(2);\n"),
    ("intern/one.php", "<?php include 'visibly/fake/path.php'; run_it('visibly-fake'); ?>"),
    ("intern/empty.php", ""),
    (".k7xrc", "visibly_fake_setting = 1\nvisibly_fake_setting_two = 2\n"),
    (
        "intern/パスワード.php",
        "<?php\n$geheim = 'visibly-fake-2';\n$also = 'visibly-fake-3';\nend();\n",
    ),
    ("intern/menu.html", "<p>menu of today</p>\n"),
];

const ENCODED: &str = "/intern/%E3%83%91%E3%82%B9%E3%83%AF%E3%83%BC%E3%83%89.php";

/// What must not be readable, as requests name it.
const SECRET: [&str; 5] =
    ["/.k7xrc", "/intern/k7x.php", "/intern/one.php", ENCODED, "/password.php"];

fn encoded(name: &str) -> String {
    let mut out = String::from("/");
    for b in name.bytes() {
        if b.is_ascii_graphic() { out.push(char::from(b)) } else { out += &format!("%{b:02X}") }
    }
    out
}

/// The site `a` hands its files out as they are, or runs and denies them; `b` always does the latter.
fn site(a_leaks: bool) -> FakeSite {
    let mut site = FakeSite::new().fallback(Fallback::NotFound);
    for (name, content) in FILES {
        let path = encoded(name);
        let proper = if name.ends_with(".php") {
            Answer::ok("<!doctype html><p>what the script made of it</p>")
        } else if name.starts_with('.') {
            Answer::status(403)
        } else {
            Answer::ok(content)
        };
        let text = Answer::ok(content).header("Content-Type", "text/plain");
        site = site.vhost(A, &path, if a_leaks { text } else { proper.clone() });
        site = site.vhost(B, &path, proper);
    }
    site
}

fn at(address: SocketAddr, own: &str) -> Desk {
    let desk = Desk::new(&[address], "", &format!("vhosts = \"vhosts.csv\"\n{own}"));
    let row = |host: &str| format!("{},{host},{},http\n", address.ip(), address.port());
    desk.write("vhosts.csv", row(A) + &row(B));
    for (name, content) in FILES {
        desk.write(&format!("docroot/{name}"), content);
    }
    let made = desk.run(&["manifest", "docroot", "--host", A, "--out", "a.ndjson"]);
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    desk
}

/// That no path that only the manifest knows was asked of another host.
fn names_stay_at_home(server: &FakeServer) {
    let asked = server.requests();
    for path in SECRET {
        let hosts: BTreeSet<_> = asked
            .iter()
            .filter(|s| s.path == path && path != "/password.php")
            .filter_map(|s| s.host.clone())
            .collect();
        let home = format!("{A}:{}", server.address().port());
        assert!(hosts.iter().all(|h| *h == home), "{path}: {hosts:?}");
    }
    let public = ["/intern/empty.php", "/intern/menu.html", "/index.html"];
    let asked: Vec<_> = asked.iter().filter(|s| public.contains(&s.path.as_str())).collect();
    assert!(asked.is_empty(), "what may be read, or proves nothing, is not asked for: {asked:?}");
}

fn found(path: &str, state: &str) -> String {
    format!("exposed-content {A} {path} manifest {state}")
}

fn all(state: &str) -> Vec<String> {
    let mut all: Vec<String> = SECRET.iter().map(|p| found(p, state)).collect();
    all.sort();
    all
}

/// Asks for two of the manifest's paths, and is true of neither.
const OWN: &str = r#"version = 1
[[check]]
id = "own-guess"
title = "A guess"
severity = "low"
why = "It is a test."
remedy = "None is needed."
signature = "a line that is not there"
paths.1 = ["/intern/k7x.php", "/password.php"]
[[check.rule]]
as = "text"
where = [{ line = 'this line is not there' }]
"#;

#[test]
fn known_and_unknown_files_are_proven_and_names_stay_at_home() {
    let server = site(true).start().expect("a site");
    let address = server.address();
    let desk = at(address, "");
    let patrol = desk.patrol("r1", &["--manifest", "a.ndjson"]);
    assert_eq!(patrol.ran.status, Some(1), "{}{}", patrol.ran.stdout, patrol.ran.stderr);
    let exposed: BTreeSet<String> = patrol.paths("exposed").into_iter().collect();
    assert_eq!(exposed, SECRET.iter().map(|p| format!("{A} {p} manifest")).collect());
    assert_eq!(patrol.findings(), all("open"));
    names_stay_at_home(&server);
    assert!(server.requests().iter().any(|s| s.path == ENCODED));
    // The reports have nothing of their content, and say why the finding is certain.
    for file in files(&desk.path("r1")) {
        let text = fs::read(&file).expect("a file");
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("visibly"), "{}", file.display());
    }
    for o in patrol.of_kind("http").filter(|o| o["outcome"] == "exposed") {
        let label = o["evidence"]["label"].as_str().unwrap_or_default();
        assert!(label.ends_with(", same bytes"), "{o}");
        assert_eq!(o["evidence"]["canaries"].as_array().map(Vec::len), Some(2), "{o}");
        assert!(o["title"].is_string() && o["remedy"].is_string(), "{o}");
    }

    // Mended, and looked at again.
    drop(server);
    let server = site(false).start_on(address).expect("a site");
    let patrol = desk.patrol("r2", &["--manifest", "a.ndjson"]);
    assert_eq!(patrol.ran.status, Some(0), "{}{}", patrol.ran.stdout, patrol.ran.stderr);
    assert_eq!(patrol.findings(), all("resolved"));
    names_stay_at_home(&server);
}

#[test]
fn a_patrol_without_the_manifest_ends_nothing_that_it_found() {
    let server = site(true).start().expect("a site");
    let address = server.address();
    let desk = at(address, "checks = [\"own.toml\"]");
    desk.write("own.toml", OWN);
    desk.write("key", "visibly fake, and long enough\n");
    let patrol = desk.patrol("r1", &["--manifest", "a.ndjson"]);
    assert_eq!(patrol.findings(), all("open"), "{}", patrol.ran.stderr);
    drop(server);
    let server = site(false).start_on(address).expect("a site");
    // Two of the paths are asked for, by a check that is not true of them.
    let patrol = desk.patrol("r2", &[]);
    let absent = patrol.paths("absent");
    for path in ["/intern/k7x.php", "/password.php"] {
        assert!(absent.iter().any(|a| a.starts_with(&format!("{A} {path} "))), "{absent:?}");
    }
    assert_eq!((patrol.findings(), patrol.ran.status), (all("unverified"), Some(1)));
    assert!(!server.requests().iter().any(|s| s.path == ENCODED), "nobody sent it that name");
    let patrol = desk.patrol("r3", &["--manifest", "a.ndjson"]);
    assert_eq!((patrol.findings(), patrol.ran.status), (all("resolved"), Some(0)));
}

#[test]
fn a_digest_shows_its_owner_which_file_was_served() {
    let server = site(true).start().expect("a site");
    let desk = at(server.address(), "manifests = [\"a.ndjson\"]\nevidence_key = \"key\"");
    desk.write("key", "visibly fake, and long enough\n");
    desk.write("other-key", "visibly fake, and long enough, too\n");
    let patrol = desk.patrol("r1", &[]);
    let served = patrol
        .of_kind("http")
        .find(|o| o["path"] == "/intern/k7x.php" && o["outcome"] == "exposed")
        .map(|o| o["evidence"]["digest"].as_str().unwrap_or_default().to_owned())
        .expect("a finding");
    let digest = |key: &str, file: &str| {
        let ran = desk.run(&["checks", "digest", "--evidence-key", key, file]);
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        ran.stdout
    };
    let file = "docroot/intern/k7x.php";
    assert_eq!(digest("key", file), format!("{served}  {file}\n"));
    assert_ne!(digest("other-key", file), digest("key", file));
    assert!(!digest("key", "docroot/password.php").contains(&served));
    // Without a key of the user's, each run has one of its own.
    let digests = |patrol: &super::desk::Patrol| -> BTreeSet<String> {
        let of = |o: &Value| o["evidence"]["digest"].as_str().map(str::to_owned);
        patrol.of_kind("http").filter_map(of).collect()
    };
    let without = at(server.address(), "manifests = [\"a.ndjson\"]");
    let (one, two) = (digests(&without.patrol("r1", &[])), digests(&without.patrol("r2", &[])));
    assert_eq!((one.len(), two.len()), (SECRET.len(), SECRET.len()));
    assert!(one.is_disjoint(&two) && one.is_disjoint(&digests(&patrol)));
}

#[test]
fn a_key_that_is_none_is_refused_before_a_packet_is_sent() {
    let server = site(true).start().expect("a site");
    let desk = at(server.address(), "");
    desk.write("short", "0123456789\n");
    desk.write("blank", " ".repeat(64));
    let refused = |args: &[&str]| {
        let ran = desk.run(args);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        ran.stderr
    };
    let all = [
        refused(&["patrol", "--evidence-key", "short"]),
        refused(&["patrol", "--evidence-key", "blank"]),
        refused(&["patrol", "--evidence-key", "absent"]),
        refused(&["checks", "digest", "--evidence-key", "short", "docroot/index.html"]),
        refused(&["checks", "digest", "--evidence-key", "docroot/password.php", "absent"]),
        refused(&["patrol", "--manifest", "absent"]),
        refused(&["patrol", "--manifest", "vhosts.csv"]),
    ];
    let port = server.address().port().to_string();
    insta::assert_snapshot!("refusals", all.concat().replace(&port, "[port]"));
    assert_eq!(server.connections(), 0);
}
