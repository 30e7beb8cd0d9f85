//! Sites that answer everything: none of them may be an alarm.
//!
//! Every behaviour is one function of what is asked. All of them meet all checks at all paths of all
//! tiers without a socket; over sockets they meet fifty virtual hosts each, at the paths of the first
//! tier, and with `MIMAWARI_LAB=full` at those of the second, in which every check has some.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mimawari_look::http::{HttpConfig, WebTarget};
use mimawari_probes::http::{
    Catalogue, CheckFailure, DayName, HttpResponse, NameLists, PathCheck, PathPlan, decode,
};
use mimawari_probes::observation::{ContentOutcome, Severity, UrlScheme};
use mimawari_targets::{AddrRange, AddrSet, Endpoint, Port, Scope};
use mimawari_tests::fake::{Ask, Behaviour, Reply, Swarm, gzip};
use mimawari_tests::looking::look_at;
use sha2::{Digest, Sha256};

const TODAY: DayName = DayName { year: 2026, month: 11, day: 24 };
const PHP: &str = "<?php\n$user = 'shop';\n$password = 'not-a-real-secret-1';\n";
const SQL: &str = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\nCREATE TABLE `a` (b int);\n\
    INSERT INTO `a` VALUES (1);\n";
const ENV: &str = "APP_NAME=shop\nAPP_ENV=production\nDB_PASSWORD=not-a-real-secret-2\n";
const GIT: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n";

/// A file that looks right for a name.
fn plausible(ask: &Ask<'_>) -> Vec<u8> {
    let key = "-".repeat(5);
    match (ask.name(), ask.extension()) {
        (n, _) if n.ends_with("config") => GIT.into(),
        ("HEAD", _) => "ref: refs/heads/main\n".into(),
        (n, _) if n.starts_with(".env") => ENV.into(),
        (n, _) if n.contains("htpasswd") => "admin:$apr1$notrealx$notarealhashnotarealhas\n".into(),
        (_, "php" | "bak" | "old" | "orig" | "save" | "txt" | "inc") => PHP.into(),
        (_, "sql") => SQL.into(),
        (_, "gz" | "tgz") => gzip(SQL.as_bytes()),
        (_, "key" | "pem") => format!(
            "{key}BEGIN PRIVATE KEY{key}\nbm90IGEgcmVhbCBrZXkgYXQgYWxsLCBqdXN0IHRleHQ=\n{key}END PRIVATE KEY{key}\n"
        )
        .into(),
        (_, "json") => r#"{"host":"h.example","password":"not-a-real-secret-3"}"#.into(),
        (_, "xml") => "<?xml version=\"1.0\"?><FileZilla3><Pass>x</Pass></FileZilla3>".into(),
        (_, "zip") => b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.phpxxxx".to_vec(),
        (_, "csv") => "id,mail\n1,a@none.invalid\n2,b@none.invalid\n3,c@none.invalid\n".into(),
        (_, "log") => "127.0.0.1 - - [24/Nov/2026:00:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n".repeat(3).into(),
        (n, _) if n.starts_with('.') => ENV.into(),
        _ => "<html><title>Index of /</title><a href=\"../\">Parent Directory</a></html>".into(),
    }
}

fn random(n: usize, path: &str) -> Vec<u8> {
    let seed = Sha256::digest(format!("{n}{path}"));
    (0..40u8).flat_map(|i| Sha256::digest([&seed[..], &[i]].concat()).to_vec()).collect()
}

/// The behaviours, each with the reason why it is here.
fn behaviours() -> Vec<(&'static str, Behaviour)> {
    let shell = "<!doctype html><html><head><title>App</title></head><body><div id=app></div></body></html>";
    let mut all: Vec<(&'static str, Behaviour)> = Vec::new();
    let mut add = |name, f: fn(Ask<'_>) -> Reply| all.push((name, Behaviour::new(f)));
    // Single-page applications route in the browser.
    add("shell", |_| {
        Reply::page("<!doctype html><html><title>App</title><div id=app></div></html>")
    });
    // Frameworks print the path for the browser's router.
    add("path in a meta element", |a| {
        Reply::page(format!("<html><meta name=path content='{}'></html>", a.path))
    });
    add("path in hydration data", |a| {
        let path = a.path.replace('/', "\\u002F");
        Reply::page(format!(
            "<!doctype html><script>self.__data={{\"route\":\"{path}\",\"ok\":1}}</script>"
        ))
    });
    add("path as plain text", |a| Reply::new(200, format!("You asked for {}\n", a.path)));
    add("path decoded", |a| Reply::new(200, a.path.replace("%23", "#")));
    // A development server guesses a type for every name, and some answer with a body to match.
    add("by extension", |a| Reply::new(200, plausible(&a)));
    add("by extension below a folder", |a| {
        if a.path.matches('/').count() > 1 {
            Reply::new(200, plausible(&a))
        } else {
            Reply::missing()
        }
    });
    // Behind a proxy that strips the folder.
    add("by name in every folder", |a| {
        Reply::new(
            200,
            plausible(&Ask {
                path: a.path.rsplit_once('/').map_or("/", |p| &a.path[p.0.len()..]),
                ..a
            }),
        )
    });
    add("redirect home", |_| Reply::new(302, "").field("location", "/"));
    add("redirect to a login", |a| {
        Reply::new(302, "").field("location", format!("/login?back={}", a.path))
    });
    add("redirect to https", |a| {
        Reply::new(301, "").field("location", format!("https://none.invalid{}", a.path))
    });
    add("random bodies", |a| Reply::new(200, random(a.n, a.path)));
    add("same length, other words", |a| Reply::page(format!("<html>{:040}</html>", a.n)));
    // Error pages that show code.
    add("error page with PHP", |a| {
        Reply::page(format!("<html><h1>Error</h1><pre>{PHP}</pre>{}</html>", a.path))
    });
    add("error page with SQL", |_| Reply::page(format!("<html>Query failed:\n{SQL}</html>")));
    add("plain error with PHP", |_| Reply::new(200, format!("Fatal error in:\n{PHP}")));
    add("plain error that is PHP", |_| Reply::new(200, PHP));
    add("everything is SQL", |_| Reply::new(200, SQL));
    add("everything is an environment file", |_| Reply::new(200, ENV));
    // Rewrites by prefix.
    add("dot paths get one body", |a| {
        if a.name().starts_with('.') { Reply::new(200, ENV) } else { Reply::missing() }
    });
    add("admin paths get one body", |a| {
        if a.path.starts_with("/admin") { Reply::new(200, PHP) } else { Reply::missing() }
    });
    add("dot paths get the git configuration", |a| {
        if a.path.contains("/.") { Reply::new(200, GIT) } else { Reply::missing() }
    });
    // Filters.
    add("blocked as 200", |_| {
        Reply::page("<html><h1>Request blocked</h1><p>Incident 12345</p></html>")
    });
    add("dot paths blocked as 200", |a| {
        if a.path.contains("/.") { Reply::page("<html>Forbidden</html>") } else { Reply::missing() }
    });
    add("rate limiter", |a| match a.n % 9 {
        7 => Reply::new(429, "slow down").field("retry-after", "0"),
        8 => Reply::page("<html>Too many requests</html>"),
        _ => Reply::missing(),
    });
    add("parked domain", |a| {
        Reply::page(format!("<html><title>{} is for sale</title></html>", a.host))
    });
    add("captive portal", |a| {
        Reply::page(format!(
            "<html><form action=/login><input name=back value='{}'></form></html>",
            a.path
        ))
    });
    // Wildcards of pages that are findings elsewhere.
    add("phpinfo everywhere", |_| {
        Reply::page(
            "<html><title>PHP 8.2.7 - phpinfo()</title><h1 class=\"p\">PHP Version 8.2.7</h1></html>",
        )
    });
    add("listing everywhere", |a| {
        Reply::page(format!(
            "<html><title>Index of {0}</title><h1>Index of {0}</h1><a href=\"../\">../</a></html>",
            a.path
        ))
    });
    add("server status everywhere", |_| {
        Reply::page("<html><title>Apache Status</title><dt>Server Version: Apache/2.4</dt></html>")
    });
    add("empty", |_| Reply::new(200, ""));
    add("ok", |_| Reply::new(200, "OK"));
    add("one gzip file", |_| Reply::new(200, gzip(SQL.as_bytes())));
    add("one zip file", |a| Reply::new(200, plausible(&Ask { path: "/a.zip", ..a })));
    add("an interface's error", |a| {
        Reply::new(
            404 - 204 * u16::from(a.n > usize::MAX / 2),
            format!("{{\"error\":\"not found\",\"path\":\"{}\"}}", a.path),
        )
    });
    add("an interface's answer", |a| {
        Reply::new(200, format!("{{\"path\":\"{}\",\"type\":\"service_account\"}}", a.path))
    });
    // True once and not again.
    add("source every second time", |a| {
        if a.n % 2 == 0 { Reply::new(200, PHP) } else { Reply::page("<html>fine</html>") }
    });
    add("missing once, then a page", |a| {
        if a.n % 2 == 0 { Reply::missing() } else { Reply::page("<html>welcome</html>") }
    });
    add("forbidden", |_| Reply::new(403, PHP));
    add("server error with source", |_| Reply::new(500, PHP));
    // Pages that vary: a number, a time, a nonce, the name in another form.
    add("source with a nonce", |a| Reply::new(200, format!("<?php\n// id n{}x\n$a = 1;\n", a.n)));
    add("dump with a time", |a| Reply::new(200, format!("-- at 10:{:02}\n{SQL}", a.n % 60)));
    add("environment with the name in capitals", |a| {
        Reply::new(200, format!("NAME={}\n{ENV}", a.name().to_ascii_uppercase()))
    });
    add("environment with the length of the name", |a| {
        Reply::new(200, format!("LENGTH={}\n{ENV}", a.name().len()))
    });
    add("phpinfo with the request", |a| {
        Reply::page(format!(
            "<html><title>PHP 8.2.7 - phpinfo()</title><h1 class=\"p\">PHP Version 8.2.7</h1>\
             <td>REQUEST_URI</td><td>{}</td><td>REMOTE_PORT</td><td>{}</td></html>",
            a.path,
            40_000 + a.n
        ))
    });
    add("status with counters", |a| {
        Reply::page(format!(
            "<html><title>Apache Status</title><dt>Server Version: Apache/2.4</dt>\
             <dt>Total accesses: {}</dt></html>",
            a.n
        ))
    });
    add("list of accounts for every text", |a| match a.extension() {
        "txt" => Reply::new(200, "ID: admin\nPW: not-a-real-secret-9\n"),
        _ => Reply::missing(),
    });
    add("help about passwords", |_| {
        Reply::new(200, "ユーザー名：半角英数字\nパスワード：8文字以上の英数字\n")
    });
    add("article about PHP", |_| {
        Reply::page("<html><p>A script begins with <?php and a blank.</p><pre><?php $a = 1;</pre>")
    });
    add("front end's variables", |_| {
        Reply::new(200, "VITE_API_URL=https://a.example\nVITE_MAPS_KEY=AIzaNotARealKey\n")
    });
    add("counts", |_| Reply::new(200, "total:12345\nonline:678\nadmins:999\n"));
    add("addresses of offices", |_| {
        Reply::new(200, "name,mail\ninfo,info@example.jp\nsales,sales@example.jp\nx,\n")
    });
    add("bucket everywhere", |_| {
        Reply::new(
            200,
            "<?xml version=\"1.0\"?><ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        )
    });
    add("caddy's listing everywhere", |a| {
        Reply::page(format!(
            "<html><title>{}</title><div id=\"summary\"></div>\
             <a href=\"?sort=name&order=asc\">Name</a></html>",
            a.name()
        ))
    });
    add("source map everywhere", |a| {
        Reply::new(
            200,
            format!(
                "{{\"version\":3,\"file\":\"{}\",\"sources\":[\"a\"],\"mappings\":\"A\"}}",
                a.name()
            ),
        )
    });
    add("names below a dot folder", |a| {
        if a.path.starts_with("/.git") {
            Reply::new(200, "ref: refs/heads/main\n")
        } else {
            Reply::missing()
        }
    });
    more_behaviours(&mut all);
    all.push(("upper and lower case alike", {
        let shell = shell.to_owned();
        Behaviour::new(move |a| {
            if a.path.eq_ignore_ascii_case("/index.php") {
                Reply::missing()
            } else {
                Reply::page(shell.clone())
            }
        })
    }));
    all
}

fn run(
    plan: &PathPlan,
    behaviour: &Behaviour,
    n: &AtomicUsize,
) -> (ContentOutcome, Severity, String) {
    let key = [9; 32];
    let mut check = PathCheck::new(plan, 77, &key);
    while let Some(path) = check.next_request().map(str::to_owned) {
        let n = n.fetch_add(1, Ordering::Relaxed);
        let reply = behaviour.answer(Ask { host: "shop.example.jp", path: &path, n });
        if reply.cut {
            let reason = "cut".to_owned();
            check.failure(CheckFailure { outcome: ContentOutcome::Error, reason });
            continue;
        }
        let field = |name| reply.fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        let body = decode(field("content-encoding").map(str::as_bytes), &reply.body);
        check.response(&HttpResponse {
            fields: &(),
            status: reply.status,
            location: field("location"),
            body: &body,
            truncated: false,
            total: None,
            flaw: None,
        });
    }
    let found = check.finish().unwrap();
    (found.outcome, found.severity, found.check)
}

/// Pages of error, of sign-in and of interfaces; and each body that is a finding at one path, at all.
fn more_behaviours(all: &mut Vec<(&'static str, Behaviour)>) {
    let mut add = |name, f: fn(Ask<'_>) -> Reply| all.push((name, Behaviour::new(f)));
    add("not found as 200, in Japanese", |_| {
        Reply::page(
            "<html><title>ページが見つかりません</title><p>パスワード：お忘れの方</p></html>",
        )
    });
    add("not found as 200, in Shift_JIS", |_| {
        Reply::new(
            200,
            b"\x83y\x81[\x83W\x82\xaa\x8c\xa9\x82\xc2\x82\xa9\x82\xe8\x82\xdc\x82\xb9\x82\xf1\r\n"
                .to_vec(),
        )
    });
    add("sign-in with a token", |a| {
        Reply::page(format!(
            "<html><form action=/login><input type=hidden name=csrf_token value=t{}>\
             <input name=user><input type=password name=password></form></html>",
            a.n
        ))
    });
    add("search for the path", |a| {
        Reply::page(format!("<html><form><input name=s value=\"{}\"></form></html>", a.name()))
    });
    add("maintenance as 200", |_| Reply::page("<html><h1>メンテナンス中</h1></html>"));
    add("access denied of a bucket", |_| {
        Reply::new(
            200,
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Key>x</Key></Error>",
        )
    });
    add("an interface that refuses a client", |a| {
        Reply::new(
            200,
            format!(
                "{{\"error\":\"invalid_client\",\"client_secret\":\"missing\",\"id\":{}}}",
                a.n
            ),
        )
    });
    add("an interface's list", |a| {
        Reply::new(
            200,
            format!("[{{\"name\":\"{}\",\"type\":\"page\",\"password\":null}}]", a.name()),
        )
    });
    add("an interface's description", |_| {
        Reply::new(
            200,
            "{\"openapi\":\"3.0.0\",\"paths\":{\"/login\":{\"post\":{\"password\":\"string\"}}}}",
        )
    });
    add("a certificate for everything", |_| {
        let dashes = "-".repeat(5);
        Reply::new(
            200,
            format!("{dashes}BEGIN CERTIFICATE{dashes}\nAAAA\n{dashes}END CERTIFICATE{dashes}\n"),
        )
    });
    add("memo for every text", |a| match a.extension() {
        "txt" => Reply::new(200, "root password: NotReal7f3a9c\n"),
        _ => Reply::missing(),
    });
    add("memo with a number", |a| {
        Reply::new(200, format!("ticket {}\nID:admin PW:NotReal7f3a9c\n", a.n))
    });
    add("variables of a C shell", |_| {
        Reply::new(200, "setenv DB_PASSWORD not-a-real-secret-4\nsetenv A b\n")
    });
    add("variables on one line", |_| Reply::new(200, "A=1 DB_PASSWORD=not-a-real-secret-5\n"));
    add("another secret each time", |a| {
        Reply::new(200, format!("A=1\nDB_PASSWORD=not-a-real-secret-{}\n", a.n))
    });
    add("environment with status 404", |_| Reply::new(404, ENV));
    add("environment with status 401", |_| Reply::new(401, ENV));
    add("source with a redirect", |_| Reply::new(302, PHP).field("location", "/"));
    add("dump of the path", |a| Reply::new(200, format!("-- dump of {}\n{SQL}", a.path)));
    add("accounts of a database", |_| {
        Reply::new(200, "CREATE USER 'a'@'%' IDENTIFIED BY 'not-a-real-secret-6';\n")
    });
    add("one statement with a number", |a| {
        Reply::new(200, format!("insert into log (id, path) values ('{}', 'x');\n", a.n))
    });
    add("parts of a repository", |a| {
        if a.path.contains("/.") {
            Reply::new(200, "[submodule \"a\"]\n\tpath = a\n\turl = https://git.example/a\n")
        } else {
            Reply::missing()
        }
    });
    add("references everywhere", |_| {
        Reply::new(200, "0123456789abcdef0123456789abcdef01234567 refs/heads/main\n")
    });
    add("folder as JSON everywhere", |a| {
        Reply::new(
            200,
            format!(
                "[{{\"name\":\"f{}\",\"type\":\"file\",\"mtime\":\"Tue, 01 Dec 2026 10:00:00 GMT\"}}]",
                a.n
            ),
        )
    });
    add("listing of Tomcat everywhere", |a| {
        Reply::page(format!(
            "<html><title>Directory Listing For [{}]</title><th>Filename</th><th>Last Modified</th>\
             </html>",
            a.path
        ))
    });
    add("listing of Jetty everywhere", |a| {
        Reply::page(format!(
            "<html><title>Directory: {0}</title><h1>Directory: {0}</h1><table class=\"listing\">",
            a.path
        ))
    });
    add("settings of a site manager", |_| {
        Reply::new(200, "<?xml version=\"1.0\"?><site><remoteinfo host=\"h\" pw=\"00\" /></site>")
    });
    add("account of a task runner", |_| {
        Reply::new(200, "{\"live\":{\"username\":\"u\",\"password\":\"not-a-real-secret-7\"}}")
    });
    add("tokens of a cloud", |a| {
        Reply::new(
            200,
            format!(
                "{{\"client_secret\":\"not-a-real-8\",\"refresh_token\":\"not-a-real-9-{}\"}}",
                a.n
            ),
        )
    });
    add("article about an environment file", |_| {
        Reply::page(format!("<html><p>Never serve this:</p><pre>{ENV}</pre></html>"))
    });
    add("article with a tag in its title", |_| {
        Reply::page("<html><title>What the tag <?php does</title><p>It begins a script.</p></html>")
    });
    add("text with words of many checks", |_| {
        Reply::new(
            200,
            "[core] repositoryformatversion, CREATE TABLE, BEGIN PRIVATE KEY, Index of /, phpinfo(),\n\
             DB_PASSWORD, root:x:0:0, AWSAccessKeyId, gitdir: and setenv are words.\n",
        )
    });
    add("a page that grows", |a| Reply::page(format!("<html>{}</html>", "x".repeat(a.n % 977))));
    add("cut connections among pages", |a| Reply {
        cut: a.n % 5 == 4,
        ..Reply::page("<html>x</html>")
    });
    add("source in a fence", |_| Reply::new(200, format!("# Readme\n```php\n{PHP}```\n")));
}

#[test]
fn every_behaviour_meets_every_check() {
    let catalogue = Catalogue::builtin();
    let behaviours = behaviours();
    assert!(behaviours.len() >= 92 && catalogue.all().count() >= 107);
    let plan = catalogue.plan(3);
    let names = NameLists { host: Some("www.shop.example.jp"), today: TODAY };
    let plan = plan.on(names, &[]);
    assert!(plan.len() > 1000);
    let mut alarms = BTreeMap::new();
    for (name, behaviour) in &behaviours {
        let n = AtomicUsize::new(0);
        for path in plan.iter() {
            let (outcome, severity, check) = run(path, behaviour, &n);
            if outcome == ContentOutcome::Exposed {
                alarms.insert((*name, path.path.to_string()), (severity, check));
            }
        }
    }
    // Source of PHP at every path is the one finding that a site's answer to everything can be.
    for name in ["plain error that is PHP", "source with a nonce"] {
        let found = alarms.remove(&(name, "/index.php".to_owned()));
        assert_eq!(found, Some((Severity::Critical, "php-everywhere".to_owned())), "{name}");
    }
    assert!(alarms.is_empty(), "{} alarms: {alarms:#?}", alarms.len());
}

fn endpoint(address: SocketAddr) -> Endpoint {
    let loopback = "127.0.0.0/8".parse::<AddrRange>().unwrap();
    let scope = Scope::new(AddrSet::from_ranges([loopback]), AddrSet::default(), "the test suite");
    scope.endpoint(address.ip(), Port::new(address.port()).unwrap()).unwrap()
}

#[test]
fn fifty_virtual_hosts_of_every_behaviour() {
    const HOSTS: usize = 50;
    let catalogue = Arc::new(Catalogue::builtin());
    let swarms: Vec<(&str, Swarm)> =
        behaviours().into_iter().map(|(name, b)| (name, Swarm::start(b))).collect();
    let mut targets = Vec::new();
    for (_, swarm) in &swarms {
        for n in 0..HOSTS {
            let host = Some(format!("h{n}.example.jp"));
            targets.push(WebTarget {
                endpoint: endpoint(swarm.address()),
                scheme: UrlScheme::Http,
                host,
            });
        }
    }
    // Every check has its main paths in the second tier.
    let full = std::env::var("MIMAWARI_LAB").is_ok_and(|v| v == "full");
    let tier = if full { 2 } else { 1 };
    let names = NameLists { host: Some("h0.example.jp"), today: TODAY };
    let planned = catalogue.plan(tier).on(names, &[]).len();
    let count = targets.len();
    let config = HttpConfig {
        catalogue,
        tier,
        // All ports are one address here; two at once would make it a walk, and so would pauses.
        per_address: 64,
        longest_pause: Duration::from_millis(1),
        evidence_key: [7; 32],
        salt: 0x5eed,
        head_timeout: Duration::from_secs(60),
        ..HttpConfig::default()
    };
    let seen = look_at(targets, config);
    assert_eq!(seen.paths.len(), count * planned, "one for each (target, path)");
    assert_eq!(seen.sites.len(), count, "one for each target");
    let alarm = seen
        .paths
        .iter()
        .find(|o| o.outcome == ContentOutcome::Exposed && o.check != "php-everywhere");
    if let Some(o) = alarm {
        let name = swarms.iter().find(|(_, s)| s.address().port() == o.port.get()).map(|(n, _)| n);
        panic!("an alarm at {name:?}: {o:?}");
    }
    let requests: usize = swarms.iter().map(|(_, s)| s.requests()).sum();
    assert!(requests > count * planned, "{requests}");
}
