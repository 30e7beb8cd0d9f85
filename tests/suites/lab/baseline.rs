//! From what is seen to what is said: patrols over time.

use super::*;

pub const CASES: Cases = &[
    ("patrol::clean_then_drift_then_resolved", life),
    ("patrol::a_narrower_run_resolves_nothing", narrower),
    ("patrol::fewer_ports_resolve_nothing", fewer_ports),
    ("patrol::an_unplugged_data_centre_resolves_nothing", unplugged),
    ("patrol::published_files_are_found_and_the_secret_is_not_shown", published),
    ("patrol::virtual_hosts_are_asked_by_name", virtual_hosts),
    ("patrol::a_silent_canary_makes_the_run_incomplete", canary),
];

const RULE: &str = "[[allow]]\nid = \"ssh\"\nhosts = [\"198.19.0.10\"]\nports = [\"tcp/22\"]\nreason = \"Bastion\"\n";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n";

fn life(c: &Case) {
    let _ssh = Server::banner(&c.lab, "198.19.0.10:22", SSH);
    c.config("targets = [\"198.19.0.0/27\"]\nports = \"22,6379\"", "");
    c.baseline(RULE);
    c.patrol("r1", &[]).expect(0);
    let redis = Server::banner(&c.lab, "198.19.0.11:6379", b"-DENIED\r\n");
    let out = c.patrol("r2", &[]).expect(1);
    assert!(out.stdout.contains("198.19.0.11"), "{}", out.stdout);
    assert_eq!(findings(&c.json("r2/verdict.json")), ["unexpected-open 198.19.0.11:6379 open"]);
    drop(redis);
    c.patrol("r3", &[]).expect(0);
    assert_eq!(findings(&c.json("r3/verdict.json")), ["unexpected-open 198.19.0.11:6379 resolved"]);
    // It comes back: the same finding, not a new one.
    let first = c.json("r2/verdict.json")["findings"][0].clone();
    let _redis = Server::banner(&c.lab, "198.19.0.11:6379", b"-DENIED\r\n");
    c.patrol("r4", &[]).expect(1);
    let again = &c.json("r4/verdict.json")["findings"][0];
    assert_eq!((&again["id"], &again["first_seen"]), (&first["id"], &first["first_seen"]));
    assert_eq!(again["reopened"], 1);
    for file in ["report.md", "report.html"] {
        let text = fs::read_to_string(c.path("r4").join(file)).expect(file);
        assert!(text.contains("198.19.0.11") && text.contains("TEST-1"), "{file}");
    }
}

/// A finding at 198.19.0.11:6379, then the service is gone.
fn one_finding_then_gone(c: &Case) {
    let redis = Server::banner(&c.lab, "198.19.0.11:6379", b"-DENIED\r\n");
    c.config("targets = [\"198.19.0.0/27\"]\nports = \"22,6379\"", "");
    c.baseline(RULE);
    c.patrol("r1", &[]).expect(1);
    drop(redis);
}

fn stays_unverified(c: &Case, run: &str) {
    assert_eq!(
        findings(&c.json(&format!("{run}/verdict.json"))),
        ["unexpected-open 198.19.0.11:6379 unverified"]
    );
}

fn narrower(c: &Case) {
    one_finding_then_gone(c);
    c.patrol("r2", &["--targets", "198.19.0.16/28"]).expect(1);
    stays_unverified(c, "r2");
}

fn fewer_ports(c: &Case) {
    one_finding_then_gone(c);
    c.patrol("r2", &["--ports", "22"]).expect(1);
    stays_unverified(c, "r2");
}

fn unplugged(c: &Case) {
    one_finding_then_gone(c);
    c.lab.unplug();
    let out = c.patrol("r2", &["--method", "syn"]);
    // No carrier, no gateway, no answer: whatever way the system says it, nothing is resolved.
    assert!(matches!(out.status, Some(1 | 2)), "{:?}\n{}", out.status, out.stderr);
    if out.status == Some(1) {
        stays_unverified(c, "r2");
        assert_eq!(c.json("r2/verdict.json")["incomplete"], true);
    }
    let shown = c.mimawari("state").args(["show", "--json"]).run().expect(0).stdout;
    let holds = shown.contains("\"open\": 1") || shown.contains("\"unverified\": 1");
    assert!(holds && !shown.contains("resolved"), "{shown}");
    // With a link that is up and a centre that has gone silent.
    c.lab.plug();
    c.lab.behave("198.19.0.0/24", Behaviour::Silent);
    c.patrol("r3", &["--method", "syn"]).expect(1);
    stays_unverified(c, "r3");
    assert_eq!(c.json("r3/verdict.json")["suspect"], true);
}

fn published(c: &Case) {
    let secret = "FAKE-lab-not-a-secret";
    let source = format!("<?php\n$user = 'x';\n$password = '{secret}';\n");
    let _shop = Server::web(
        &c.lab,
        "198.19.0.12:80",
        &[("/", b"hello"), ("/password.php", source.as_bytes())],
    );
    c.config("targets = [\"198.19.0.8/29\"]\nports = \"80,81\"", "");
    c.baseline(
        "[[allow]]\nid = \"web\"\nhosts = [\"198.19.0.12\"]\nports = [\"tcp/80\"]\nreason = \"Web\"\n",
    );
    let out = c.patrol("r1", &[]).expect(1);
    assert_eq!(
        findings(&c.json("r1/verdict.json")),
        ["exposed-content 198.19.0.12:80/password.php open"]
    );
    let mut all = out.stdout + &out.stderr;
    for entry in fs::read_dir(c.path("r1")).expect("the run folder") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        all.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(!all.contains(secret), "the secret itself stands in an output");
    // Put away, it is resolved by an answer that says so.
    let _gone = ();
    drop(_shop);
    let _shop = Server::web(&c.lab, "198.19.0.12:80", &[("/", b"hello")]);
    c.patrol("r2", &[]).expect(0);
    assert_eq!(
        findings(&c.json("r2/verdict.json")),
        ["exposed-content 198.19.0.12:80/password.php resolved"]
    );
}

fn virtual_hosts(c: &Case) {
    let _web = Server::web(&c.lab, "198.19.0.12:80", &[("/", b"hello")]);
    c.config("targets = [\"198.19.0.8/29\"]\nports = \"80\"", "[http]\nvhosts = \"vhosts.csv\"");
    c.baseline(
        "[[allow]]\nid = \"web\"\nhosts = [\"198.19.0.12\"]\nports = [\"tcp/80\"]\nreason = \"Web\"\n",
    );
    fs::write(
        c.path("vhosts.csv"),
        "ip,host\n198.19.0.12,shop.example.jp\n198.19.0.12,blog.example.jp\n",
    )
    .expect("vhosts");
    c.patrol("r1", &[]).expect(0);
    assert_eq!(c.json("r1/run.json")["http"]["targets"], 3);
    // A row outside the scope is skipped and named; the others are requested.
    fs::write(c.path("vhosts.csv"), "198.19.0.12,shop.example.jp\n203.0.113.9,elsewhere.example\n")
        .expect("vhosts");
    let out = c.patrol("r2", &[]).expect(3);
    assert!(
        out.stderr.contains("203.0.113.9") && out.stderr.contains("vhosts.csv"),
        "{}",
        out.stderr
    );
    assert!(out.stdout.contains("203.0.113.9 is not in the scope"), "{}", out.stdout);
    assert_eq!(c.json("r2/run.json")["http"]["targets"], 2);
}

fn canary(c: &Case) {
    let ssh = Server::banner(&c.lab, "198.19.0.10:22", SSH);
    c.config("targets = [\"198.19.0.0/27\"]\nports = \"22\"\ncanaries = [\"198.19.0.10:22\"]", "");
    c.baseline(RULE);
    c.patrol("r1", &[]).expect(0);
    drop(ssh);
    let out = c.patrol("r2", &[]).expect(3);
    assert!(out.stdout.to_lowercase().contains("canar"), "{}", out.stdout);
}
