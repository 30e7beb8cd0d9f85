//! The content checks: what they find, what they must not find, and what they never tell.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use mimawari_probes::http::format::Controls;
use mimawari_probes::http::{
    Catalogue, Check, CheckFailure, ContentProbe, DayName, FinishedCheck, HttpResponse,
    INFLATED_LIMIT, NameLists, PathCheck, PathPlan, decode, to_printable,
};
use mimawari_probes::observation::{ContentOutcome, Severity};
use proptest::prelude::*;

const KEY: [u8; 32] = [9; 32];
const TODAY: DayName = DayName { year: 2026, month: 11, day: 24 };
const HOST: NameLists<'_> = NameLists { host: Some("www.shop.example.jp"), today: TODAY };
const SECRET: &str = "Zq7vKp2xWm9tRb4n";

/// One answer of a made-up site; nothing is a lost connection.
type Reply = Option<(u16, Vec<u8>)>;

fn ok(body: impl Into<Vec<u8>>) -> Reply {
    Some((200, body.into()))
}

fn not_found() -> Reply {
    Some((404, b"<html>not found</html>".to_vec()))
}

/// Runs a path to its end; with the paths that were asked for.
fn run(plan: &PathPlan, mut site: impl FnMut(&str) -> Reply) -> (FinishedCheck, Vec<String>) {
    let mut check = PathCheck::new(plan, 77, &KEY);
    let mut asked = Vec::new();
    while let Some(path) = check.next_request().map(str::to_owned) {
        assert!(asked.len() < 12, "too many requests: {asked:?}");
        match site(&path) {
            Some((status, body)) => check.response(&HttpResponse {
                fields: &(),
                status,
                location: None,
                body: &body,
                truncated: body.len() >= 64 << 10,
                total: None,
                flaw: None,
            }),
            None => check.failure(CheckFailure {
                outcome: ContentOutcome::Error,
                reason: "connection lost".to_owned(),
            }),
        }
        asked.push(path);
    }
    (check.finish().expect("a result"), asked)
}

/// One path served with this body, everything else not found.
fn only(plan: &PathPlan, body: &[u8]) -> FinishedCheck {
    let at = plan.path.to_string();
    run(plan, |p| if p == at { ok(body) } else { not_found() }).0
}

/// One path of this check, held against nothing else.
fn plan_of(catalogue: &Catalogue, id: &str) -> PathPlan {
    let check = catalogue.get(id).unwrap_or_else(|| panic!("no check {id}"));
    paths_of(check).swap_remove(0)
}

/// The paths of a check on some host.
fn paths_of(check: &Check) -> Vec<PathPlan> {
    let names = NameLists { host: Some("www.shop.example.jp"), today: TODAY };
    let probes: Arc<[ContentProbe]> = [ContentProbe::Check(Arc::new(check.clone()))].into();
    let paths = check.paths.iter().flat_map(|(_, template)| template.on(names));
    paths.map(|path| PathPlan { path: path.into(), probes: Arc::clone(&probes) }).collect()
}

/// The checks that are about the content of a file, with a body of which each is true.
fn with_bodies(catalogue: &Catalogue) -> Vec<(&Check, Vec<u8>)> {
    let plain = |c: &&Check| {
        matches!(c.controls, Controls::Page | Controls::Signature)
            && c.hits.iter().any(|h| h.status(c) == 200)
    };
    let body = |c: &Check| c.hits.iter().find(|h| h.status(c) == 200).expect("one of them").body();
    catalogue.all().filter(plain).map(|c| (c, body(c))).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(bytes).expect("gzip");
    gz.finish().expect("gzip")
}

fn pem(kind: &str, inner: &str) -> String {
    // In pieces, so that nobody's search for keys finds this file.
    let dashes = "-".repeat(5);
    format!(
        "{dashes}BEGIN {kind}PRIVATE KEY{dashes}\n{inner}\n{dashes}END {kind}PRIVATE KEY{dashes}\n"
    )
}

fn tar() -> Vec<u8> {
    let mut tar = vec![0; 1024];
    tar[..9].copy_from_slice(b"index.php");
    tar[257..262].copy_from_slice(b"ustar");
    tar
}

fn zip(name: &[u8]) -> Vec<u8> {
    let mut zip = b"PK\x03\x04\x14\0\0\0\0\0".to_vec();
    zip.extend([0; 16]);
    zip.extend((name.len() as u16).to_le_bytes());
    zip.extend([0, 0]);
    zip.extend(name);
    zip.extend(b"data");
    zip
}

/// A body that each check is about, with the severity it must have.
fn positives() -> Vec<(&'static str, Severity, Vec<u8>)> {
    use Severity::{Critical, High, Low, Medium};
    let s = SECRET;
    let text = |id, severity, text: String| (id, severity, text.into_bytes());
    let dump = format!(
        "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\nINSERT INTO `a` VALUES ('{s}');\n"
    );
    vec![
        text("php-source", Critical, format!("<?php\n$user = 'x';\n$password = '{s}';\n")),
        text("php-source", Critical, format!("\u{feff}<?PHP define('K', '{s}');")),
        text("php-source", Critical, format!("#!/usr/bin/php\n\n<?=require '{s}'?>")),
        text("php-backup", Critical, format!("<?php\ndefine('DB_PASSWORD', '{s}');\n")),
        text("php-backup", High, "<?php\n$colour = 'blue';\n".to_owned()),
        text("php-backup", Low, "<?php\ndefine('DB_PASSWORD', 'password_here');\n".to_owned()),
        text("vim-swap", High, format!("b0VIM 8.2\0\0{s}")),
        text("dotenv", Critical, format!("APP_NAME=x\r\nexport DB_PASSWORD={s}\r\n")),
        text("dotenv", Critical, format!("APP_NAME=x\nDATABASE_URL=mysql://u:{s}@db/x\n")),
        text("dotenv", Low, "APP_NAME=x\nDB_PASSWORD=changeme\nAPP_KEY=${KEY}\n".to_owned()),
        text("git-config", High, "[core]\n\trepositoryformatversion = 0\n".to_owned()),
        text(
            "git-config",
            Critical,
            format!("[core]\n repositoryformatversion = 0\n[remote \"o\"]\n url = https://u:{s}@h/r\n"),
        ),
        text("git-head", High, "ref: refs/heads/main\n".to_owned()),
        text("git-head", High, "0123456789abcdef0123456789abcdef01234567\n".to_owned()),
        text("git-credentials", Critical, format!("https://u:{s}@code.example\n")),
        text("sql-dump", Critical, dump.clone()),
        text("sql-dump", Critical, format!("CREATE TABLE a (b int);\ninsert into a values ('{s}');\n")),
        ("sql-gz", Critical, gzip(dump.as_bytes())),
        ("sql-gz", High, gzip(b"PGDMP\x01")),
        text("sql-gz", Critical, dump),
        text("pem-key", Critical, pem("RSA ", "RkFLRS1ub3QtYS1rZXk=")),
        text("pem-key", Medium, pem("ENCRYPTED ", "RkFLRS1ub3QtYS1rZXk=")),
        text("ssh-key", Critical, pem("OPENSSH ", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAA=")),
        text("ssh-key", Medium, pem("OPENSSH ", "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ng==")),
        text("htpasswd", High, "admin:$apr1$FAKEsalt$FAKEFAKEFAKEFAKEFAKE1.\n".to_owned()),
        text("htpasswd", High, "# staff\na:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=\nb:abJnggxhB/yWI\n".to_owned()),
        text(
            "phpinfo",
            Medium,
            format!("<!DOCTYPE html><title>PHP 8.3 - phpinfo()</title><h1 class=\"p\">PHP Version 8</h1>{s}"),
        ),
        text(
            "server-status",
            Medium,
            "<html><head>\n<title>Apache Status</title><dt>Server Version: Apache</dt>".to_owned(),
        ),
        text("server-status", Medium, "Total Accesses: 3\nTotal kBytes: 4\nBusyWorkers: 1\nIdleWorkers: 1\nScoreboard: _W\n".to_owned()),
        ("ds-store", Medium, b"\0\0\0\x01Bud1\0\0\x10\0".to_vec()),
        text(
            "sftp-json",
            Critical,
            format!("{{ // mine\n \"host\": \"h\", /* x */ \"password\": \"{s}\",\n}}"),
        ),
        text("sftp-json", Low, "[{\"host\":\"h\",\"password\":\"your_password\"}]".to_owned()),
        text(
            "filezilla",
            Critical,
            format!("<?xml version=\"1.0\"?>\n<FileZilla3 v=\"1\"><Pass>{s}</Pass></FileZilla3>"),
        ),
        text("filezilla", High, "<FileZilla3><Host>h</Host></FileZilla3>".to_owned()),
        text(
            "aws-credentials",
            Critical,
            format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {s}\n", "AKIA".to_owned() + "FAKEFAKEFAKEFAKE"),
        ),
        text(
            "dir-listing",
            Medium,
            "<html>\n<head><title>Index of /backup/</title></head><h1>Index of /backup/</h1><a href=\"../\">../</a>".to_owned(),
        ),
        text(
            "dir-listing",
            Medium,
            "<title>Index of /real</title><a href=\"?C=N;O=D\">Name</a><a href=\"/\">Parent Directory</a>".to_owned(),
        ),
        // Apache httpd without FancyIndexing, and Python's http.server.
        text(
            "dir-listing",
            Medium,
            "<html>\n <head>\n  <title>Index of /backup</title>\n </head>\n <body>\n<h1>Index of /backup</h1>\n<ul><li><a href=\"/\"> Parent Directory</a></li>\n<li><a href=\"a.txt\"> a.txt</a></li>\n</ul>\n</body></html>\n".to_owned(),
        ),
        text(
            "dir-listing",
            Medium,
            "<!DOCTYPE HTML>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Directory listing for /backup/</title>\n</head>\n<body>\n<h1>Directory listing for /backup/</h1>\n<hr>\n<ul>\n<li><a href=\"a.txt\">a.txt</a></li>\n</ul>\n<hr>\n</body>\n</html>\n".to_owned(),
        ),
        ("zip", High, zip(b"index.php")),
        ("zip", High, zip(&[0x83, 0x65, 0x83, 0x58, b'/'])),
        ("tar-gz", High, gzip(&tar())),
        ("tar-gz", High, tar()),
        ("svn-wcdb", High, b"SQLite format 3\0\x10\0".to_vec()),
        text("svn-entries", High, "12\n".to_owned()),
        text("svn-entries", High, "8\n\ndir\n42\nhttp://svn/x\n".to_owned()),
    ]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[test]
fn each_check_finds_what_it_is_about() {
    let catalogue = Catalogue::builtin();
    for (id, severity, body) in positives() {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let plan = plan_of(&catalogue, id);
        let found = only(&plan, &body);
        assert_eq!(found.outcome, ContentOutcome::Exposed, "{id}: {shown}");
        assert_eq!((found.check.as_str(), found.severity), (id, severity), "{shown}");
        let evidence = found.evidence.expect("evidence");
        assert_eq!((evidence.status, evidence.length), (200, body.len() as u64));
        assert_eq!(evidence.digest.len(), 32);
        let template = evidence.label.as_deref() == Some("template");
        assert_eq!(template, severity == Severity::Low, "{shown}");
    }
}

#[test]
fn every_path_of_a_check_finds_it() {
    let catalogue = Catalogue::builtin();
    let all = with_bodies(&catalogue);
    assert!(all.len() >= 90, "{}", all.len());
    for (check, body) in all {
        for plan in paths_of(check) {
            let found = only(&plan, &body);
            assert_eq!(found.outcome, ContentOutcome::Exposed, "{}", plan.path);
            assert!(found.title.is_some() && found.remedy.is_some());
            let evidence = found.evidence.unwrap();
            assert!(evidence.repeated && evidence.signature.is_some());
            assert_eq!(evidence.canaries.len(), 2);
            assert!(evidence.canaries.iter().all(|c| c.status == 404));
            // The status of an answer to our range.
            let at = plan.path.to_string();
            let found =
                run(&plan, |p| if p == at { Some((206, body.clone())) } else { not_found() });
            assert_eq!(found.0.outcome, ContentOutcome::Exposed, "{}", plan.path);
            assert_eq!(found.1.len(), 4);
        }
    }
}

#[test]
fn the_worst_of_several_checks_counts() {
    let catalogue = Catalogue::builtin();
    let adminer = catalogue.get("adminer").unwrap();
    let body = adminer.hits[0].body();
    // A script that is run is worth a note; that it is a database's front door is worth more.
    let plan = catalogue.plan(3);
    let plan = plan.on(HOST, &[]);
    let path = plan.iter().find(|p| &*p.path == "/db.php").unwrap();
    assert!(path.probes.iter().any(|p| p.id() == "php-executed"));
    assert_eq!(only(path, &body).check, "adminer");
}

#[test]
fn text_in_utf_16_is_read() {
    let catalogue = Catalogue::builtin();
    let plan = plan_of(&catalogue, "dotenv");
    let text = "APP_NAME=x\nDB_PASSWORD=Zq7vKp2xWm9tRb4n\n";
    let bytes = |mark: [u8; 2], unit: fn(u16) -> [u8; 2]| {
        let units = text.encode_utf16().flat_map(unit);
        mark.into_iter().chain(units).collect::<Vec<u8>>()
    };
    for body in [bytes([0xff, 0xfe], u16::to_le_bytes), bytes([0xfe, 0xff], u16::to_be_bytes)] {
        let found = only(&plan, &body);
        assert_eq!(found.outcome, ContentOutcome::Exposed);
        let evidence = found.evidence.unwrap();
        assert_eq!((evidence.line, evidence.masked.as_deref()), (Some(2), Some("DB_P…")));
    }
}

#[test]
fn pages_about_a_file_are_not_the_file() {
    let catalogue = Catalogue::builtin();
    for (id, _, body) in positives() {
        let quoted = String::from_utf8_lossy(&body).into_owned();
        let mut misses = vec![
            format!("<!doctype html><title>Blog</title><pre>\n{}\n</pre>", escaped(&quoted)),
            format!("\n <script>var x = `\n{}\n`</script>", escaped(&quoted)),
            serde_json::to_string(&serde_json::json!({ "results": [{ "text": quoted }] })).unwrap(),
            format!("<html><head></head><body>{}</body></html>", escaped(&quoted).repeat(20)),
            format!("<html>{}", escaped(&quoted.chars().take(12).collect::<String>()).repeat(6000)),
            String::new(),
            "\n".to_owned(),
            "ok".to_owned(),
        ];
        // Rows that are about text refuse unescaped quotations in a page as well.
        if !["phpinfo", "server-status", "dir-listing"].contains(&id) {
            misses.push(format!("<!-- x -->\n<pre>\n{quoted}\n</pre>"));
            misses.push(format!("<HTML><pre>\n{quoted}\n</pre>"));
        }
        for miss in misses {
            // Paths that a page repeats are no help either.
            let found = only(&plan_of(&catalogue, id), miss.as_bytes());
            assert_eq!(found.outcome, ContentOutcome::Absent, "{id}: {miss:.300}");
            assert_eq!(found.evidence, None);
        }
    }
}

#[test]
fn near_misses() {
    let catalogue = Catalogue::builtin();
    let dashes = "-".repeat(5);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("php-source", b"<?php".to_vec()),
        ("php-source", b"<?phpx $a = 1;".to_vec()),
        ("php-source", b"<?xml version='1.0'?><a/>".to_vec()),
        ("php-source", b"Write `<?php $a = 1;` at the top.".to_vec()),
        ("php-source", b"```php\n<?php\n$a = 1;\n```".to_vec()),
        ("php-source", b"<pre>\n<?php $a = 1;".to_vec()),
        ("dotenv", b"DB_PASSWORD=one-line\nand words beside it\n".to_vec()),
        ("dotenv", b"A=1\nB=2\n".to_vec()),
        ("dotenv", b"the key = x\nthe pass = y\n".to_vec()),
        ("git-config", b"[core]\n".to_vec()),
        ("git-config", b"; [core] repositoryformatversion = 0".to_vec()),
        ("git-head", b"ref: heads/main".to_vec()),
        ("git-head", b"ref: refs/heads/main\nand more".to_vec()),
        ("git-head", b"0123456789abcdef".to_vec()),
        ("git-credentials", b"https://code.example/\n".to_vec()),
        ("git-credentials", b"see https://u:p@code.example\n".to_vec()),
        ("sql-dump", b"CREATE TABLE a (b int);\n".to_vec()),
        ("sql-dump", b"use CREATE TABLE a\nor INSERT INTO b\n".to_vec()),
        ("sql-gz", gzip(b"<!doctype html><title>404</title>")),
        ("sql-gz", b"\x1f\x8b\x08".to_vec()),
        (
            "pem-key",
            format!("{dashes}BEGIN CERTIFICATE{dashes}\nRkFLRS1ub3QtYS1rZXk=\n").into_bytes(),
        ),
        ("pem-key", pem("RSA ", "...").into_bytes()),
        (
            "pem-key",
            format!("{dashes}BEGIN PRIVATE KEY{dashes}\nRkFLRS1ub3QtYS1rZXk=\n").into_bytes(),
        ),
        ("htpasswd", b"name: value\n".to_vec()),
        ("htpasswd", b"a:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=\nand some words\n".to_vec()),
        ("sftp-json", b"{\"host\":\"h\",\"password\":\"\"}".to_vec()),
        ("sftp-json", b"{\"q\":\"\\\"host\\\" \\\"password\\\"\"}".to_vec()),
        ("filezilla", b"<?xml version=\"1.0\"?><rss><FileZilla3/></rss>".to_vec()),
        ("aws-credentials", b"[default]\naws_access_key_id = none\n".to_vec()),
        ("dir-listing", b"<title>Index of words, explained</title><a href=\"../\">up</a>".to_vec()),
        ("dir-listing", b"<title>Index of /backup/</title>".to_vec()),
        ("zip", b"PK\x03\x04".to_vec()),
        ("zip", zip(b"")),
        ("zip", zip(b"a\x1b[2J")),
        ("tar-gz", gzip(&[0; 1024])),
        ("svn-entries", b"12".to_vec()),
        ("svn-entries", b"12\nmore\n".to_vec()),
    ];
    for (id, body) in cases {
        let found = only(&plan_of(&catalogue, id), &body);
        assert_eq!(
            found.outcome,
            ContentOutcome::Absent,
            "{id}: {:?}",
            String::from_utf8_lossy(&body)
        );
    }
}

#[test]
fn a_key_whose_end_was_not_read_counts() {
    let catalogue = Catalogue::builtin();
    let line = format!("{}\n", "A".repeat(64));
    let key = pem("", &line.repeat(1100));
    let cut = &key.as_bytes()[..64 << 10];
    assert_eq!(only(&plan_of(&catalogue, "pem-key"), cut).outcome, ContentOutcome::Exposed);
}

/// A site's answer to every path, by path and number of the request.
type Behaviour = Box<dyn Fn(&str, usize) -> Reply>;

fn catch_alls() -> Vec<(String, Behaviour)> {
    let mut all: Vec<(String, Behaviour)> = Vec::new();
    let mut add = |name: &str, f: Behaviour| all.push((name.to_owned(), f));
    let everything = |body: Vec<u8>| -> Behaviour { Box::new(move |_, _| ok(body.clone())) };
    let ending = |p: &str| p.rsplit(['/', '.']).next().unwrap_or("").to_owned();
    add("shell", everything(b"<!doctype html><div id=app></div>".to_vec()));
    add("empty", everything(Vec::new()));
    add("ok", everything(b"ok\n".to_vec()));
    add("redirect", Box::new(|_, _| Some((302, Vec::new()))));
    add("firewall", everything(b"<html>Request blocked. Incident 12345</html>".to_vec()));
    add("parked", everything(b"<html><title>This domain is for sale</title></html>".to_vec()));
    add("teapot with source", Box::new(|_, _| Some((418, b"<?php $a = 1;".to_vec()))));
    add("forbidden with source", Box::new(|_, _| Some((403, b"<?php $a = 1;".to_vec()))));
    add("server error with source", Box::new(|_, _| Some((500, b"<?php $a = 1;".to_vec()))));
    add("too many requests", Box::new(|_, _| Some((429, b"<?php $a = 1;".to_vec()))));
    add("nobody", Box::new(|_, _| None));
    add("reflects in a page", Box::new(|p, _| ok(format!("<html><meta content='{p}'></html>"))));
    add("reflects in text", Box::new(|p, _| ok(format!("no file {p} here\n"))));
    add(
        "reflects in JSON",
        Box::new(|p, _| ok(format!("{{\"path\":\"{}\"}}", p.replace('/', "\\/")))),
    );
    add("other words of one length", Box::new(|p, n| ok(format!("{:08}", p.len() * 7919 + n))));
    // Every fixture, to everything and in the ways in which servers choose an answer.
    for (i, (id, _, body)) in positives().into_iter().enumerate() {
        let named = |how: &str| format!("{id} {i} {how}");
        let b = body.clone();
        add(&named("to everything"), Box::new(move |_, _| ok(b.clone())));
        let b = body.clone();
        add(&named("with the path"), Box::new(move |p, _| ok([&b[..], p.as_bytes()].concat())));
        let b = body.clone();
        add(
            &named("with a number"),
            Box::new(move |_, n| ok([&b[..], n.to_string().as_bytes()].concat())),
        );
        let b = body.clone();
        add(
            &named("by ending"),
            Box::new(move |p, _| if ending(p).len() > 1 { ok(b.clone()) } else { not_found() }),
        );
        let b = body.clone();
        add(
            &named("every second time"),
            Box::new(move |_, n| if n % 2 == 0 { ok(b.clone()) } else { not_found() }),
        );
        let b = body.clone();
        add(&named("once"), Box::new(move |_, n| if n == 0 { ok(b.clone()) } else { not_found() }));
        let b = body.clone();
        add(
            &named("and then nothing"),
            Box::new(move |_, n| if n < 2 { ok(b.clone()) } else { None }),
        );
        let b = body.clone();
        add(
            &named("and then overload"),
            Box::new(move |_, n| if n < 3 { ok(b.clone()) } else { Some((503, Vec::new())) }),
        );
        let b = body;
        add(
            &named("and then nothing at the last canary"),
            Box::new(move |_, n| match n {
                0 | 1 => ok(b.clone()),
                2 => not_found(),
                _ => None,
            }),
        );
    }
    all
}

#[test]
fn catch_all_sites_are_never_exposed() {
    let catalogue = Catalogue::builtin();
    let behaviours = catch_alls();
    assert!(behaviours.len() >= 15);
    let mut everywhere = BTreeSet::new();
    for (name, site) in &behaviours {
        for plan in catalogue.plan(3).on(HOST, &[]).iter() {
            let mut n = 0;
            let (found, _) = run(plan, |p| {
                n += 1;
                site(p, n - 1)
            });
            // Source of PHP at every path is one finding of the site, whatever its paths are.
            if found.check == "php-everywhere" {
                assert!(&*plan.path == "/index.php" && name.starts_with("php-"), "{name}");
                everywhere.insert(name);
                continue;
            }
            // Seen once is seen, and the finding says how often.
            if name.ends_with(" once") && found.outcome == ContentOutcome::Exposed {
                let sightings = found.evidence.as_ref().and_then(|e| e.sightings);
                assert!(sightings.is_some_and(|s| s.seen == 1 && s.asked > 1), "{sightings:?}");
                continue;
            }
            if name.contains(" and then ") && found.outcome == ContentOutcome::Exposed {
                let reason = found.reason.unwrap_or_default();
                assert!(reason.starts_with("not compared with a control"), "{reason}");
                continue;
            }
            assert_ne!(
                found.outcome,
                ContentOutcome::Exposed,
                "{name} at {}: {} {:?}",
                plan.path,
                found.check,
                found.reason
            );
        }
    }
    assert!(everywhere.iter().any(|n| *n == "php-source 0 to everything"), "{everywhere:?}");
}

#[test]
fn rules_by_ending_and_by_name_are_told_from_files() {
    let catalogue = Catalogue::builtin();
    for (check, body) in with_bodies(&catalogue) {
        for plan in paths_of(check).into_iter().filter(|p| &*p.path != "/") {
            let bare = |p: &str| p.split('?').next().unwrap().trim_end_matches('/').to_owned();
            let name = bare(&plan.path).rsplit('/').next().unwrap().to_owned();
            let by_name = run(&plan, |p| match bare(p).ends_with(&name) {
                true => ok(body.clone()),
                false => not_found(),
            });
            assert_eq!(by_name.0.outcome, ContentOutcome::CatchAll, "{}", plan.path);
            let folder = bare(&plan.path).rsplit_once('/').unwrap().0.to_owned();
            let in_folder =
                run(&plan, |p| match bare(p).rsplit_once('/').unwrap().0.starts_with(&folder) {
                    true => ok(body.clone()),
                    false => not_found(),
                });
            assert_eq!(in_folder.0.outcome, ContentOutcome::CatchAll, "{}", plan.path);
            assert!(in_folder.0.evidence.is_some() && in_folder.0.reason.is_some());
        }
    }
}

/// A site of scripts whose handler is missing, with a front controller for every other path.
fn without_handler(path: &str) -> Reply {
    match path.rsplit('/').next().unwrap_or_default() {
        "password.php" if path == "/password.php" => {
            ok(format!("<?php\n$user = 'root';\n$password = '{SECRET}';\n"))
        }
        "config.php" if path == "/config.php" => ok("<?php\nreturn ['db' => ['host' => 'x']];\n"),
        _ => ok("<?php\ndefine('WP_USE_THEMES', true);\nrequire 'wp-blog-header.php';\n"),
    }
}

#[test]
fn a_different_body_is_a_different_file() {
    let catalogue = Catalogue::builtin();
    let plan = catalogue.plan(1);
    let mut found: Vec<(String, String, Severity)> = Vec::new();
    for plan in plan.on(HOST, &[]).iter() {
        let (finished, _) = run(plan, without_handler);
        if finished.outcome == ContentOutcome::Exposed {
            found.push((plan.path.to_string(), finished.check, finished.severity));
        }
    }
    found.sort();
    let expected = [
        ("/config.php", "php-source"),
        ("/index.php", "php-everywhere"),
        ("/password.php", "php-source"),
    ];
    let expected = expected.map(|(p, c)| (p.to_owned(), c.to_owned(), Severity::Critical));
    assert_eq!(found, expected);
}

/// Pages of one form, each with something new in it, are one page.
#[test]
fn what_varies_in_a_page_is_no_difference() {
    let catalogue = Catalogue::builtin();
    let plan = plan_of(&catalogue, "php-source");
    let mut n = 0;
    let (found, asked) = run(&plan, |path| {
        n += 1;
        let name = path.trim_matches('/').replace('/', " of ");
        ok(format!("<?php\n// {name}, id x{n}y, {n}\nrequire 'a.php';\n"))
    });
    assert_eq!((found.outcome, asked.len()), (ContentOutcome::CatchAll, 4));
    // The same pages, and one file among them.
    let mut n = 0;
    let (found, _) = run(&plan, |path| {
        n += 1;
        let other = format!("<?php\n// id x{n}y\nrequire 'a.php';\n");
        ok(if path == &*plan.path { format!("<?php\n$password = '{SECRET}';\n") } else { other })
    });
    assert_eq!(found.outcome, ContentOutcome::Exposed);
}

/// A site that strips the first folder of a path gives a file below every folder.
#[test]
fn an_alias_is_no_catch_all() {
    let catalogue = Catalogue::builtin();
    for (file, body) in [
        ("/password.php", "<?php\n$password = 'Zq7vKp2xWm9tRb4n';\n"),
        ("/.env", "A=1\nDB_PASSWORD=Zq7vKp2xWm9tRb4n\n"),
        ("/htpasswd", "admin:$apr1$FAKEsalt$FAKEFAKEFAKEFAKEFAKE1.\n"),
    ] {
        let plan = catalogue.plan(1);
        let plan = plan.on(HOST, &[]);
        let plan = plan.iter().find(|p| &*p.path == file).expect("a planned path");
        let strips = |path: &str| {
            let name = path.rfind('/').map_or(path, |at| &path[at..]);
            if name == file { ok(body) } else { ok("<?php\nrequire 'index.php';\n") }
        };
        let (found, asked) = run(plan, strips);
        assert_eq!(found.outcome, ContentOutcome::Exposed, "{file}");
        assert!(asked.len() <= 8, "{asked:?}");
        let canaries = found.evidence.expect("evidence").canaries;
        assert!(canaries.len() >= 3, "{canaries:?}");
        // A rule by a part of the name is a catch-all all the same.
        let end = &file[1..];
        for by_name in [
            &(|path: &str| if path.ends_with(end) { ok(body) } else { not_found() })
                as &dyn Fn(&str) -> Reply,
            &|path: &str| {
                let name = path.rsplit('/').next().unwrap_or_default();
                if name.starts_with(end) { ok(body) } else { not_found() }
            },
        ] {
            assert_eq!(run(plan, by_name).0.outcome, ContentOutcome::CatchAll, "{file}");
        }
    }
}

/// The same in a folder: a file that lies there alone is real, and that of the root is found there.
#[test]
fn an_alias_in_a_folder_is_no_catch_all() {
    let catalogue = Catalogue::builtin();
    let plan = catalogue.plan(3);
    let plan = plan.on(HOST, &[]);
    let file = plan.iter().find(|p| &*p.path == "/api/.env").expect("a planned path");
    let body = "A=1\nDB_PASSWORD=Zq7vKp2xWm9tRb4n\n";
    let below_folders = |path: &str| {
        if path.matches('/').count() == 2 && path.ends_with("/.env") {
            ok(body)
        } else {
            not_found()
        }
    };
    let everywhere = |path: &str| if path.ends_with("/.env") { ok(body) } else { not_found() };
    assert_eq!(run(file, below_folders).0.outcome, ContentOutcome::Exposed);
    assert_eq!(run(file, everywhere).0.outcome, ContentOutcome::CatchAll, "it lies in the root");
}

#[test]
fn statuses_and_failures() {
    let catalogue = Catalogue::builtin();
    let plan = plan_of(&catalogue, "php-source");
    for (status, outcome) in [
        (200, ContentOutcome::Absent),
        (204, ContentOutcome::Absent),
        (301, ContentOutcome::Absent),
        (302, ContentOutcome::Absent),
        (401, ContentOutcome::Protected),
        (403, ContentOutcome::Protected),
        (404, ContentOutcome::Absent),
        (405, ContentOutcome::Protected),
        (410, ContentOutcome::Absent),
        (416, ContentOutcome::Error),
        (429, ContentOutcome::Error),
        (500, ContentOutcome::Error),
        (503, ContentOutcome::Error),
    ] {
        let (found, asked) = run(&plan, |_| Some((status, b"nothing".to_vec())));
        assert_eq!((found.outcome, asked.len()), (outcome, 1), "{status}");
        assert_eq!(found.reason.is_some(), outcome == ContentOutcome::Error);
        assert_eq!(found.check, "php-source");
    }
    let at = plan.path.to_string();
    let (found, _) = run(&plan, |p| if p == at { ok("<?php $a = 1;") } else { None });
    // Seen is seen, though no control could be asked.
    assert_eq!(found.outcome, ContentOutcome::Exposed);
    assert_eq!(found.reason.as_deref(), Some("not compared with a control: connection lost"));
    for (given, outcome) in [
        (ContentOutcome::Malformed, ContentOutcome::Malformed),
        (ContentOutcome::Skipped, ContentOutcome::Skipped),
        (ContentOutcome::Exposed, ContentOutcome::Error),
    ] {
        let mut check = PathCheck::new(&plan, 1, &KEY);
        assert!(check.finish().is_none());
        let reason = "\u{1b}[31mred\u{202e}".to_owned();
        check.failure(CheckFailure { outcome: given, reason });
        let found = check.finish().unwrap();
        assert_eq!((found.outcome, found.reason.as_deref()), (outcome, Some("[31mred")));
        assert_eq!(check.next_request(), None);
    }
}

#[test]
fn canaries_differ_by_salt_and_are_no_planned_path() {
    let catalogue = Catalogue::builtin();
    let plans = catalogue.plan(3);
    let plans = plans.on(HOST, &[]);
    for (check, body) in with_bodies(&catalogue) {
        let plan = &paths_of(check)[0];
        let (_, asked) =
            run(plan, |p| if p == &*plan.path { ok(body.clone()) } else { not_found() });
        assert_eq!(asked[..2], [plan.path.to_string(), plan.path.to_string()]);
        for canary in &asked[2..] {
            assert!(canary.starts_with('/') && plans.iter().all(|p| *p.path != **canary));
            assert!(canary.bytes().all(|b| b.is_ascii_graphic()));
        }
        let mut other = PathCheck::new(plan, 78, &KEY);
        for status in [200, 200] {
            other.response(&HttpResponse {
                fields: &(),
                status,
                location: None,
                body: &body,
                truncated: false,
                total: None,
                flaw: None,
            });
        }
        assert_ne!(other.next_request(), Some(asked[2].as_str()));
    }
}

#[test]
fn nothing_secret_is_told() {
    let catalogue = Catalogue::builtin();
    for (id, _, body) in positives() {
        let plan = plan_of(&catalogue, id);
        for found in [only(&plan, &body), run(&plan, |_| ok(body.clone())).0] {
            let told = format!("{found:?}\n{}", serde_json::to_string(&found).unwrap());
            for piece in SECRET.as_bytes().windows(4) {
                let piece = std::str::from_utf8(piece).unwrap();
                assert!(!told.contains(piece), "{id}: {told}");
            }
            let masked = found.evidence.and_then(|e| e.masked).unwrap_or_default();
            assert!(masked.chars().count() <= 5, "{masked}");
        }
    }
}

#[test]
fn the_digest_is_keyed() {
    let catalogue = Catalogue::builtin();
    let plan = plan_of(&catalogue, "git-head");
    let body = b"ref: refs/heads/main\n";
    let digest = |key: [u8; 32]| {
        let mut check = PathCheck::new(&plan, 1, &key);
        for (status, body) in [(200, &body[..]), (200, body), (404, b""), (404, b"")] {
            check.response(&HttpResponse {
                fields: &(),
                status,
                location: None,
                body,
                truncated: false,
                total: None,
                flaw: None,
            });
        }
        check.finish().unwrap().evidence.unwrap().digest
    };
    assert_eq!(digest([1; 32]), digest([1; 32]));
    assert_ne!(digest([1; 32]), digest([2; 32]));
}

#[test]
fn encodings_are_taken_off_within_bounds() {
    let text = b"APP_NAME=x\nDB_PASSWORD=y\n";
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(text).unwrap();
    let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    bare.write_all(text).unwrap();
    for (name, body) in [
        ("gzip", gzip(text)),
        ("X-GZip", gzip(text)),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
        ("identity", text.to_vec()),
        ("br", text.to_vec()),
        ("gzip", text.to_vec()),
    ] {
        assert_eq!(&*decode(Some(name.as_bytes()), &body), text, "{name}");
    }
    assert_eq!(&*decode(None, &gzip(text)), &gzip(text)[..]);
    let bomb = gzip(&vec![0; 64 << 20]);
    assert_eq!(decode(Some(b"gzip"), &bomb).len(), INFLATED_LIMIT);
    // Cut off in the middle: what can be had.
    let part = decode(Some(b"gzip"), &bomb[..bomb.len() / 2]).len();
    assert!((1..=INFLATED_LIMIT).contains(&part));
    let catalogue = Catalogue::builtin();
    for id in ["sql-gz", "tar-gz"] {
        let found = only(&plan_of(&catalogue, id), &bomb);
        assert_ne!(found.outcome, ContentOutcome::Error);
    }
}

#[test]
fn text_for_screens_is_clean() {
    assert_eq!(to_printable(b"a\x1b[31mb\x07\x9bc\r\nd", 99), "a[31mb\u{fffd}c  d");
    assert_eq!(to_printable("見\u{202e}回\u{200b}り\u{feff}".as_bytes(), 99), "見回り");
    assert_eq!(to_printable("見回り".as_bytes(), 2), "見回");
    assert_eq!(to_printable(&[0xff; 9], 3).chars().count(), 3);
    assert_eq!(to_printable(b"", 3), "");
}

#[test]
fn the_catalogue() {
    let catalogue = Catalogue::builtin();
    let mut table = String::new();
    for c in catalogue.all() {
        table.push_str(&format!("{} {} {}\n", c.id, c.severity.as_str(), c.tier()));
        assert_eq!(catalogue.get(&c.id).map(|c| &c.title), Some(&c.title));
        assert!(c.hits.len() >= 2 && c.misses.len() >= 3, "{}", c.id);
    }
    insta::assert_snapshot!(table);
    let mut before = 0;
    for (tier, most) in [(1, 60), (2, 440), (3, 2400)] {
        let plan = catalogue.plan(tier);
        let plan = plan.on(HOST, &[]);
        let mut paths: Vec<_> = plan.iter().map(|p| p.path.clone()).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), plan.len(), "each path once");
        assert!((before..=most).contains(&plan.len()), "tier {tier}: {}", plan.len());
        assert!(plan.iter().all(|p| p.path.starts_with('/') && !p.probes.is_empty()));
        before = plan.len();
    }
    assert!(catalogue.plan(0).fixed().is_empty() && catalogue.get("none").is_none());
}

/// Bytes that are near to what the matchers look for.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<Vec<u8>> = positives().into_iter().map(|p| p.2).collect();
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        (prop::sample::select(known), any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(b, from, to)| {
                let (from, to) = (from.index(b.len()), to.index(b.len()) + 1);
                b[from.min(to)..to].to_vec()
            }),
        prop::sample::select(vec![
            &b"\xff\xfe"[..],
            b"\xfe\xff",
            b"\xef\xbb\xbf",
            b"<",
            b"<?php",
            b"$a",
            b"{",
            b"\"",
            b"\\",
            b"/*",
            b"//",
            b"=",
            b":",
            b"@",
            b"://",
            b"\n",
            b"\0",
            b"\x1b[2J",
            b"<title>",
            b"[",
            b"%",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn hostile_answers_end_in_a_result(
        answers in prop::collection::vec((prop::sample::select(vec![200u16, 206, 200, 404, 503, 0, 65535]), hostile()), 1..6),
        salt in any::<u64>(),
        truncated in any::<bool>(),
    ) {
        let catalogue = Catalogue::builtin();
        for plan in catalogue.plan(3).on(HOST, &[]).iter() {
            let mut check = PathCheck::new(plan, salt, &KEY);
            let mut asked = 0;
            while check.next_request().is_some() {
                let (status, body) = &answers[asked % answers.len()];
                check.response(&HttpResponse { fields: &(), status: *status, location: None, body, truncated, total: None, flaw: None });
                asked += 1;
                prop_assert!(asked <= 12);
            }
            let found = check.finish().unwrap();
            let told = serde_json::to_string(&found).unwrap();
            prop_assert!(!told.contains("\\u00"), "{}", told);
            prop_assert!(!told.contains(&SECRET[..5]), "{}", told);
        }
    }

    #[test]
    fn a_random_secret_is_never_told(secret in "[a-zA-Z0-9+/]{12,40}") {
        let catalogue = Catalogue::builtin();
        for (id, _, body) in positives() {
            let text = String::from_utf8_lossy(&body).replace(SECRET, &secret);
            if !text.contains(&secret) { continue; }
            let found = only(&plan_of(&catalogue, id), text.as_bytes());
            let told = format!("{found:?}{}", serde_json::to_string(&found).unwrap());
            for piece in secret.as_bytes().windows(7) {
                prop_assert!(!told.contains(std::str::from_utf8(piece).unwrap()), "{}", told);
            }
        }
    }

    #[test]
    fn decoding_is_bounded(body in hostile(), name in prop::sample::select(vec!["gzip", "deflate", "x", ""])) {
        prop_assert!(decode(Some(name.as_bytes()), &body).len() <= INFLATED_LIMIT.max(body.len()));
    }

    #[test]
    fn printable_text_is_printable(bytes in hostile(), max in 0usize..80) {
        let text = to_printable(&bytes, max);
        prop_assert!(text.chars().count() <= max);
        let unclean = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        prop_assert!(!text.chars().any(unclean), "{:?}", text);
    }
}
