//! What cannot be done is said before anything is sent, with the remedy and the right status.

use super::*;

pub const CASES: Cases = &[
    ("refused::without_the_capability_auto_connects_and_says_so", unprivileged_auto),
    ("refused::without_the_capability_syn_is_an_error", unprivileged_syn),
    ("refused::a_missing_interface", interface),
    ("refused::a_scope_without_a_route", route),
    ("refused::a_source_port_in_use", source_port),
    ("refused::an_unreadable_baseline", baseline),
    ("refused::targets_outside_the_scope", outside),
    ("refused::a_run_folder_in_use", folder),
];

#[track_caller]
fn says(out: &Output, words: &[&str]) {
    for w in words {
        assert!(out.stderr.contains(w), "`{w}` is not in:\n{}", out.stderr);
    }
}

fn unprivileged_auto(c: &Case) {
    let _ssh = Server::banner(&c.lab, "198.19.0.10:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"22\"", "");
    let out = c.mimawari("scan").args(["--out", "r"]).without_net_raw().run().expect(0);
    says(&out, &["CAP_NET_RAW"]);
    assert_eq!(c.json("r/run.json")["method"], "connect");
    assert_eq!(c.confirmed("r"), ["198.19.0.10 22"]);
}

fn unprivileged_syn(c: &Case) {
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"22\"", "");
    let out = c
        .mimawari("scan")
        .args(["--out", "r", "--method", "syn"])
        .without_net_raw()
        .run()
        .expect(2);
    says(&out, &["CAP_NET_RAW", "help:", "leave NET_RAW to the container", "connect"]);
    assert!(!c.path("r").exists());
}

fn interface(c: &Case) {
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"22\"\nmethod = \"syn\"", "");
    let out = c.mimawari("scan").args(["--out", "r", "--interface", "eth7"]).run().expect(2);
    says(&out, &["eth7", "help:", "v0"]);
}

fn route(c: &Case) {
    let text = "version = 1\n[scope]\nallow = [\"203.0.113.0/28\"]\nauthorised_by = \"TEST-1\"\n[scan]\nports = \"22\"\nmethod = \"syn\"\n";
    fs::write(c.path("patrol.toml"), text).expect("configuration");
    let out = c.mimawari("scan").args(["--out", "r"]).run().expect(2);
    says(&out, &["route", "203.0.113.", "help:"]);
    // With full connections the system says it cell by cell: nothing is covered.
    let out = c.mimawari("scan").args(["--out", "r2", "--method", "connect"]).run().expect(3);
    assert!(out.stdout.contains("not probed"), "{}", out.stdout);
    assert_eq!(c.json("r2/run.json")["sweep"]["not_probed"], 16);
}

fn source_port(c: &Case) {
    let taken =
        c.lab.scanner.run(|| std::net::TcpListener::bind("198.18.0.1:61000").expect("bind"));
    c.config(
        "targets = [\"198.19.0.0/28\"]\nports = \"22\"\nmethod = \"syn\"\nsource_port = 61000",
        "",
    );
    let out = c.mimawari("scan").args(["--out", "r"]).run().expect(2);
    says(&out, &["61000", "in use", "help:"]);
    drop(taken);
}

fn baseline(c: &Case) {
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"22\"", "");
    let out = c.patrol("r", &[]).expect(2);
    says(&out, &["cannot read the baseline", "help:"]);
    c.baseline("[[allow]]\nid = \"x\"\nhosts = [\"198.19.0.9/28\"]\nports = [\"tcp/22\"]\nreason = \"r\"\n");
    let out = c.patrol("r", &[]).expect(2);
    says(&out, &["host bits", "test.toml:5", "help"]);
    assert!(!c.path("r").exists(), "something was scanned under an unreadable baseline");
}

fn outside(c: &Case) {
    c.config("ports = \"22\"", "");
    let out = c.mimawari("scan").args(["--out", "r", "--targets", "198.18.0.0/24"]).run().expect(2);
    says(&out, &["198.18.0.0/24", "not in the scope", "help:"]);
}

fn folder(c: &Case) {
    c.config("targets = [\"198.19.0.0/31\"]\nports = \"22\"", "");
    let _ = c.mimawari("scan").args(["--out", "r"]).run().expect(0);
    let out = c.mimawari("scan").args(["--out", "r"]).run().expect(2);
    says(&out, &["already holds a run", "help:"]);
}
