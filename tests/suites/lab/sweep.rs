//! What a sweep sees: every state of a cell, both families, both methods.

use super::*;

pub const CASES: Cases = &[
    ("sweep::syn_finds_exactly_what_is_open_v4", |c| open_v4(c, "syn")),
    ("sweep::connect_finds_exactly_what_is_open_v4", |c| open_v4(c, "connect")),
    ("sweep::syn_finds_exactly_what_is_open_v6", |c| open_v6(c, "syn")),
    ("sweep::connect_finds_exactly_what_is_open_v6", |c| open_v6(c, "connect")),
    ("sweep::every_state_of_a_cell_is_distinguished", states),
    ("sweep::own_loopback_addresses_work", loopback),
    ("sweep::shards_together_are_the_whole", shards),
    ("sweep::services_are_read", services),
    ("sweep::a_driver_s_counters_are_read_without_a_capability", counters),
];

fn open_v4(c: &Case, method: &str) {
    let _a = Server::banner(&c.lab, "198.19.0.10:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    let _b = Server::web(&c.lab, "198.19.0.20:80", &[("/", b"hello")]);
    // Listens on all addresses, the denied ones among them: those must stay out.
    let _c = Server::banner(&c.lab, "0.0.0.0:2121", b"220 ready\r\n");
    c.config("targets = [\"198.19.0.0/24\"]\nports = \"22,80,2121\"", "[http]\nenabled = false");
    let out = c.mimawari("scan").args(["--out", "r", "--method", method]).run().expect(0);
    let mut expected: Vec<String> = (0..=255)
        .filter(|n| !(200..208).contains(n))
        .map(|n| format!("198.19.0.{n} 2121"))
        .collect();
    expected.extend(["198.19.0.10 22".to_owned(), "198.19.0.20 80".to_owned()]);
    expected.sort();
    assert_eq!(c.confirmed("r"), expected, "{}", out.stderr);
    let run = c.json("r/run.json");
    assert_eq!(run["method"], method);
    assert_eq!(run["sweep"]["cells"], 248 * 3);
    assert_eq!(run["sweep"]["open"], 250);
    assert_eq!(run["sweep"]["closed"], 248 * 3 - 250);
    assert_eq!(run["frames_refused"], 0);
}

fn open_v6(c: &Case, method: &str) {
    let _a = Server::banner(&c.lab, "[2001:db8:19::10]:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    let _b = Server::web(&c.lab, "[2001:db8:19::20]:8080", &[("/", b"hello")]);
    c.config("targets = [\"2001:db8:19::/120\"]\nports = \"22,8080\"", "[http]\nenabled = false");
    c.mimawari("scan").args(["--out", "r", "--method", method]).run().expect(0);
    assert_eq!(c.confirmed("r"), ["2001:db8:19::10 22", "2001:db8:19::20 8080"]);
    assert_eq!(c.json("r/run.json")["sweep"]["closed"], 512 - 2);
}

fn states(c: &Case) {
    c.lab.behave("198.19.0.64/30", Behaviour::Silent);
    c.lab.behave("198.19.0.80/32", Behaviour::Prohibited);
    let _a = Server::banner(&c.lab, "198.19.0.70:25", b"220 mail ready\r\n");
    c.config("targets = [\"198.19.0.64/27\"]\nports = \"25,26\"", "");
    c.mimawari("scan").args(["--out", "r", "--method", "syn"]).run().expect(0);
    let sweep = &c.json("r/run.json")["sweep"];
    assert_eq!(
        (
            &sweep["open"],
            &sweep["silent"],
            &sweep["prohibited"],
            &sweep["closed"],
            &sweep["not_probed"]
        ),
        (&1.into(), &8.into(), &2.into(), &(64 - 11).into(), &0.into())
    );
}

fn loopback(c: &Case) {
    // The program and the listener share a namespace here: what `lo` needs is another way out than
    // what a link needs.
    let listener =
        c.lab.scanner.run(|| std::net::TcpListener::bind("127.0.0.5:4022").expect("bind"));
    let text = "version = 1\n[scope]\nallow = [\"127.0.0.0/28\", \"::1\"]\nauthorised_by = \"TEST-1\"\n[scan]\nports = \"4020-4025\"\n";
    fs::write(c.path("patrol.toml"), text).expect("configuration");
    c.mimawari("scan").args(["--out", "r", "--method", "syn"]).run().expect(0);
    assert_eq!(c.confirmed("r"), ["127.0.0.5 4022"]);
    let sweep = &c.json("r/run.json")["sweep"];
    assert_eq!((&sweep["open"], &sweep["closed"]), (&1.into(), &(17 * 6 - 1).into()));
    drop(listener);
}

fn shards(c: &Case) {
    let _a = Server::banner(&c.lab, "0.0.0.0:2121", b"220 ready\r\n");
    c.config("targets = [\"198.19.1.0/26\"]\nports = \"2120-2122\"", "");
    let mut union = Vec::new();
    for i in 1..=3 {
        let (out, shard) = (format!("r{i}"), format!("{i}/3"));
        c.mimawari("scan").args(["--out", &out, "--shard", &shard]).run().expect(0);
        union.extend(c.confirmed(&out));
    }
    union.sort();
    let mut expected: Vec<String> = (0..64).map(|n| format!("198.19.1.{n} 2121")).collect();
    expected.sort();
    assert_eq!(union, expected);
}

fn services(c: &Case) {
    let _a = Server::banner(&c.lab, "198.19.0.10:22", b"SSH-2.0-OpenSSH_9.2\x1b[31m\r\n");
    let _b = Server::web(&c.lab, "198.19.0.10:80", &[("/", b"<title>Shop</title>")]);
    c.config("targets = [\"198.19.0.10\"]\nports = \"22,80\"", "[http]\nenabled = false");
    c.mimawari("scan").args(["--out", "r"]).run().expect(0);
    let all = c.observations("r");
    let service = |port: u64| {
        all.iter().rfind(|o| o["port"] == port).map(|o| o["service"].clone()).unwrap_or_default()
    };
    assert_eq!(service(22)["name"], "ssh");
    let banner = service(22)["banner"].as_str().unwrap_or_default().to_owned();
    assert!(banner.starts_with("SSH-2.0-OpenSSH_9.2") && !banner.contains('\x1b'), "{banner:?}");
    assert_eq!(service(80)["name"], "http");
    assert_eq!(service(80)["http"]["title"], "Shop");
}

/// veth keeps the index of its peer among its counters.
fn counters(c: &Case) {
    let counters = c.lab.scanner.run(|| {
        mimawari_rawio::InterfaceFacts::by_name("v0")
            .expect("the link")
            .counters()
            .expect("its counters")
    });
    let of = |name: &str| counters.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
    let peer =
        c.lab.centre.run(|| mimawari_rawio::InterfaceFacts::by_name("v1").expect("its peer").index);
    assert_eq!(of("peer_ifindex"), Some(u64::from(peer)), "{counters:?}");
    assert!(counters.iter().all(|(name, _)| !name.is_empty() && name.is_ascii()), "{counters:?}");
}
