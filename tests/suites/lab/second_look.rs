//! What a second look that fails says, and what it does not.

use super::*;

pub const CASES: Cases = &[
    ("second_look::a_connection_without_an_answer_leaves_the_port_open", unanswered),
    ("second_look::a_refusal_each_time_is_a_refusal", refused),
    ("second_look::a_port_that_answers_later_is_confirmed", later),
    ("second_look::no_success_of_many_makes_the_run_incomplete", banned),
    ("second_look::few_file_descriptors_lose_no_port_and_no_site", few_descriptors),
    ("second_look::interface_holds_for_connections", interface),
];

/// How the second looks of a run ended, `ip port end`, the last record of each port.
fn ends(c: &Case, run: &str) -> Vec<String> {
    let mut last = std::collections::BTreeMap::new();
    for o in c.observations(run) {
        if o["kind"] == "tcp" && o["state"] == "open" {
            let key = format!("{} {}", o["ip"].as_str().expect("ip"), o["port"]);
            last.insert(key, o["second_look"].as_str().unwrap_or("none").to_owned());
        }
    }
    last.into_iter().map(|(key, end)| format!("{key} {end}")).collect()
}

/// SYNs of the kernel have options that ours have not, or lengths: here by their window. What is
/// done to them leaves the sweep alone.
fn against_connections(what: &str) -> String {
    format!(
        "table ip looks {{ chain pre {{ type filter hook prerouting priority -300; \
         iifname \"v1\" tcp flags & (syn | ack) == syn tcp dport 2021 tcp option timestamp exists {what}\n}}\n}}\n"
    )
}

fn unanswered(c: &Case) {
    let _one = Server::banner(&c.lab, "198.19.0.10:2021", b"220 hello\r\n");
    let _two = Server::banner(&c.lab, "198.19.0.11:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    nft(&c.lab, &against_connections("drop"));
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"22,2021\"\nmethod = \"syn\"", "");
    c.mimawari("scan").args(["--out", "r"]).run().expect(3);
    assert_eq!(ends(c, "r"), ["198.19.0.10 2021 timed_out", "198.19.0.11 22 confirmed"]);
    assert_eq!(c.confirmed("r"), ["198.19.0.11 22"]);
    let gaps = c.json("r/run.json")["not_covered"].to_string();
    assert!(gaps.contains("1 open ports did not answer") && gaps.contains(":2021"), "{gaps}");
}

fn refused(c: &Case) {
    let _one = Server::banner(&c.lab, "198.19.0.10:2021", b"220 hello\r\n");
    let _two = Server::banner(&c.lab, "198.19.0.11:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    let reject = against_connections("reject with tcp reset")
        .replace("prerouting priority -300", "input priority 0");
    nft(&c.lab, &reject);
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"22,2021\"\nmethod = \"syn\"", "");
    c.mimawari("scan").args(["--out", "r"]).run().expect(0);
    assert_eq!(ends(c, "r"), ["198.19.0.10 2021 refused", "198.19.0.11 22 confirmed"]);
}

/// Few connections a second are let through: what is turned away at first is asked again.
fn later(c: &Case) {
    let _many = Server::banner(&c.lab, "0.0.0.0:2021", b"220 hello\r\n");
    nft(&c.lab, &against_connections("limit rate over 2/second burst 4 packets drop"));
    c.config("targets = [\"198.19.0.1-198.19.0.8\"]\nports = \"2021\"\nmethod = \"syn\"", "");
    c.mimawari("scan").args(["--out", "r"]).run().expect(0);
    assert_eq!(c.confirmed("r").len(), 8, "{:?}", ends(c, "r"));
}

fn banned(c: &Case) {
    let _many = Server::banner(&c.lab, "0.0.0.0:2021", b"220 hello\r\n");
    nft(&c.lab, &against_connections("drop"));
    c.config(
        "targets = [\"198.19.0.1-198.19.0.8\"]\nports = \"2021\"\nmethod = \"syn\"",
        "[http]\nenabled = false",
    );
    c.mimawari("scan").args(["--out", "r"]).run().expect(3);
    let gaps = c.json("r/run.json")["not_covered"].to_string();
    assert!(gaps.contains("None of 8 open ports accepted a second connection"), "{gaps}");
}

fn few_descriptors(c: &Case) {
    let _many = Server::banner(&c.lab, "0.0.0.0:2021", b"220 hello\r\n");
    c.config("targets = [\"198.19.0.0/25\"]\nports = \"2021\"", "");
    for method in ["syn", "connect"] {
        // The hard limit, too, so that it cannot be raised.
        c.lab
            .program("/bin/sh")
            .dir(c.dir.path())
            .args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", BINARY, "scan"])
            .args(["--out", method, "--method", method])
            .run()
            .expect(0);
        assert_eq!(c.confirmed(method).len(), 128, "{method}");
    }
}

/// Bound to an interface that does not lead there, no connection is made by another one.
fn interface(c: &Case) {
    let _one = Server::banner(&c.lab, "198.19.0.10:2021", b"220 hello\r\n");
    c.config("targets = [\"198.19.0.10\"]\nports = \"2021\"\nmethod = \"connect\"", "");
    let scan = |out: &str, interface: &str| {
        c.mimawari("scan").args(["--out", out, "--interface", interface]).run()
    };
    let _ = scan("r1", "v0").expect(0);
    assert_eq!(c.confirmed("r1"), ["198.19.0.10 2021"]);
    let _ = scan("r2", "lo");
    assert!(c.confirmed("r2").is_empty());
}
