//! Sites beside their files: where their names point, how they bear being asked, what they show.

use std::net::SocketAddr;

use mimawari_tests::fake::{Answer, FakeDns, FakeSite, Fallback, Zone};
use serde_json::Value;

use super::desk::{Desk, Patrol};

fn rows(address: SocketAddr, hosts: &[&str]) -> String {
    hosts.iter().map(|h| format!("{},{h},{},http\n", address.ip(), address.port())).collect()
}

#[test]
fn names_that_no_longer_point_here_are_reported() {
    let server = FakeSite::new().start().expect("a site");
    let address = server.address();
    let dns = FakeDns::start([
        ("here.example.test", Zone::Addresses(vec![address.ip()])),
        ("gone.example.test", Zone::Addresses(vec!["203.0.113.9".parse().expect("an address")])),
        ("broken.example.test", Zone::Code(2)),
    ])
    .expect("a name server");
    let scan = format!("nameservers = [\"{}\"]", dns.address());
    let hosts =
        ["here.example.test", "gone.example.test", "absent.example.test", "broken.example.test"];
    let desk = Desk::new(&[address], &scan, "vhosts = \"vhosts.csv\"\ndns = true");
    desk.write("vhosts.csv", rows(address, &hosts));
    let patrol = desk.patrol("r1", &[]);
    assert_eq!(patrol.ran.status, Some(0), "{}{}", patrol.ran.stdout, patrol.ran.stderr);
    let mut seen: Vec<String> = patrol
        .of_kind("web")
        .map(|o| format!("{} {}", text(&o["host"]), text(&o["dns"])))
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "- -",
            "absent.example.test nowhere",
            "broken.example.test unknown",
            "gone.example.test elsewhere",
            "here.example.test here",
        ]
    );
    // Whatever DNS says: they were asked where the list has them, and nowhere else.
    for host in hosts {
        let field = format!("{host}:{}", address.port());
        assert!(server.requests().iter().any(|s| s.host.as_deref() == Some(&field)), "{host}");
    }
    let notices = patrol.verdict["site_notices"].as_array().expect("notices").clone();
    let mut notices: Vec<String> =
        notices.iter().map(|n| format!("{} {}", text(&n["host"]), text(&n["what"]))).collect();
    notices.sort();
    assert_eq!(notices, ["absent.example.test name-nowhere", "gone.example.test name-elsewhere"]);
    for name in ["gone.example.test", "absent.example.test"] {
        assert!(patrol.ran.stdout.contains(name), "{}", patrol.ran.stdout);
        for form in ["markdown", "html"] {
            let ran = desk.run(&["report", "--verdict", "r1/verdict.json", "--format", form]);
            assert!(ran.stdout.contains(name), "{form}");
        }
    }
    assert!(!patrol.ran.stdout.contains("here.example.test"), "{}", patrol.ran.stdout);
}

#[test]
fn without_the_key_no_name_server_is_asked() {
    let server = FakeSite::new().start().expect("a site");
    let dns = FakeDns::start([]).expect("a name server");
    let scan = format!("nameservers = [\"{}\"]", dns.address());
    let desk = Desk::new(&[server.address()], &scan, "vhosts = \"vhosts.csv\"");
    desk.write("vhosts.csv", rows(server.address(), &["a.example.test"]));
    let patrol = desk.patrol("r1", &[]);
    assert_eq!(patrol.ran.status, Some(0), "{}", patrol.ran.stderr);
    assert!(dns.asked().is_empty(), "{:?}", dns.asked());
    assert!(patrol.of_kind("web").all(|o| o["dns"].is_null()));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

/// One that wants to be left alone is left alone, and its neighbours at the same address are not
/// kept waiting by it.
#[test]
fn a_site_that_asks_for_time_slows_nobody_else() {
    let cases = [(429, Some("1")), (503, Some("1")), (503, None), (429, Some("3600"))];
    // They wait for most of their time.
    std::thread::scope(|scope| {
        for (status, retry) in cases {
            scope.spawn(move || slows_nobody_else(status, retry));
        }
    });
}

fn slows_nobody_else(status: u16, retry: Option<&str>) {
    let mut later = Answer::status(status);
    if let Some(retry) = retry {
        later = later.header("Retry-After", retry);
    }
    let server = FakeSite::new()
        .vhost_fallback("busy.example.test", Fallback::Always(later))
        .start()
        .expect("a site");
    let address = server.address();
    let desk = Desk::new(&[address], "", "vhosts = \"vhosts.csv\"");
    let hosts = ["busy.example.test", "one.example.test", "two.example.test"];
    desk.write("vhosts.csv", rows(address, &hosts));
    let patrol = desk.patrol("r1", &[]);
    let case = format!("{status} {retry:?}");
    assert_eq!(patrol.ran.status, Some(3), "{case} {}", patrol.ran.stdout);
    let of = |outcome: &str, host: &str| {
        let all = patrol.paths(outcome);
        all.iter().filter(|p| p.starts_with(&format!("{host} "))).count()
    };
    let all = of("absent", "one.example.test");
    assert!(all > 0, "{case}");
    assert_eq!(of("absent", "two.example.test"), all, "{case}");
    assert_eq!(of("absent", "busy.example.test"), 0, "{case}");
    // Nothing is said of the one that was not looked at, but that it was not.
    assert_eq!(of("error", "busy.example.test"), all, "{case}");
    assert!(patrol.ran.stdout.contains("busy.example.test"), "{case} {}", patrol.ran.stdout);
    let asked = server.requests();
    let host = |name: &str| format!("{name}:{}", address.port());
    let busy = |s: &&mimawari_tests::fake::Seen| s.host == Some(host("busy.example.test"));
    assert!(asked.iter().filter(busy).count() < 40, "{case}");
    if retry == Some("1") {
        // The others were done while it rested.
        let last = asked.iter().rposition(|s| s.host == Some(host("two.example.test")));
        let before = asked[..last.expect("a request")].iter().filter(busy).count();
        assert!(before < 6, "{case}: {before} requests");
    }
}

fn home(title: &str) -> FakeSite {
    let page = format!("<!doctype html><title>{title}</title><p>hello</p>");
    FakeSite::new().route("/", Answer::ok(page).header("Server", "fake/1"))
}

#[test]
fn a_changed_title_is_a_change_and_no_drift() {
    let server = home("Shop").start().expect("a site");
    let address = server.address();
    let desk = Desk::new(&[address], "", "vhosts = \"vhosts.csv\"");
    desk.write("vhosts.csv", rows(address, &["shop.example.test"]));
    let changes = |p: &Patrol| p.verdict["site_changes"].as_array().cloned().unwrap_or_default();
    let patrol = desk.patrol("r1", &[]);
    assert_eq!(patrol.ran.status, Some(0), "{}", patrol.ran.stdout);
    assert_eq!(changes(&patrol), [Value::Null; 0], "the first look is no change");
    assert_eq!(changes(&desk.patrol("r2", &[])), [Value::Null; 0]);
    drop(server);
    let server = home("Hacked by nobody").start_on(address).expect("a site");
    let patrol = desk.patrol("r3", &[]);
    assert_eq!(patrol.ran.status, Some(0), "{}", patrol.ran.stdout);
    let changed: Vec<String> = changes(&patrol)
        .iter()
        .map(|c| {
            let [host, what, was, now] = ["host", "what", "was", "now"].map(|k| text(&c[k]));
            format!("{host} {what}: {was} -> {now}")
        })
        .collect();
    let expected =
        ["-", "shop.example.test"].map(|h| format!("{h} title: Shop -> Hacked by nobody"));
    assert_eq!(changed, expected);
    assert!(patrol.ran.stdout.contains("Hacked by nobody"), "{}", patrol.ran.stdout);
    drop(server);
    // Nobody there: not seen, and no change.
    let patrol = desk.patrol("r4", &[]);
    assert_eq!(changes(&patrol), [Value::Null; 0], "{}", patrol.ran.stdout);
}

/// Most of its planned ports are open, so that it might answer on everything; it does not.
#[test]
fn each_of_many_web_ports_of_one_host_is_asked() {
    let sites: Vec<_> = (0..100)
        .map(|_| FakeSite::new().route("/.git/config", Answer::ok(GIT)).start().expect("a site"))
        .collect();
    let addresses: Vec<SocketAddr> = sites.iter().map(|s| s.address()).collect();
    let desk = Desk::new(&addresses, "", "");
    let patrol = desk.patrol("r1", &[]);
    assert_eq!(patrol.ran.status, Some(1), "{}", patrol.ran.stdout);
    let exposed = patrol.of_kind("http").filter(|o| o["outcome"] == "exposed");
    let ports: std::collections::BTreeSet<u64> =
        exposed.filter_map(|o| o["port"].as_u64()).collect();
    let all = addresses.iter().map(|a| u64::from(a.port())).collect();
    assert_eq!(ports, all, "{}", patrol.ran.stdout);
}

const GIT: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n";
