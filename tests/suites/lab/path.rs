//! The way to the targets: what has none, by which address packets leave, how many a second, and what a policer
//! lets through.

use mimawari_tests::lab::{Policer, Truth, host};

use super::*;

pub const CASES: Cases = &[
    ("path::a_policer_with_a_small_bucket_hides_nothing", policer),
    ("path::without_ipv6_the_ipv4_targets_are_scanned", without_ipv6),
    ("path::the_source_is_chosen_and_must_be_ours", source),
    ("path::second_looks_count_toward_the_rate", second_looks),
    ("path::one_thread_holds_the_capability", capability),
];

fn policer(c: &Case) {
    let ports: Vec<u16> = (2001..=2020).collect();
    let truth = Truth {
        policer: Some(Policer { rate: 5_000, burst: 5 }),
        ..Truth::spread(1 << 11, &ports, 400, |_| true)
    };
    truth.install(&c.lab);
    let _servers: Vec<Server> = ports
        .iter()
        .map(|p| Server::banner(&c.lab, &format!("0.0.0.0:{p}"), b"220 x\r\n"))
        .collect();
    c.config(
        "targets = [\"198.19.0.0/21\"]\nports = \"2001-2020\"\nrate = 50000\nrate_per_host = 0\n\
         rate_per_network = 0",
        "[http]\nenabled = false",
    );
    // The policer drops second looks, too: a port whose second look fails is open all the same.
    let _ = c.mimawari("scan").args(["--out", "r"]).run();
    let run = c.json("r/run.json");
    assert_eq!(run["sweep"]["promise_kept"], true, "{run:#}");
    let scope = scope();
    let there = truth.open.iter().filter(|(ip, _)| scope.allows((*ip).into())).count();
    assert_eq!(run["sweep"]["open"], there, "{run:#}");
}

fn without_ipv6(c: &Case) {
    let _ssh = Server::banner(&c.lab, "198.19.0.10:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.lab.scanner.sysctl("ipv6/conf/v0/disable_ipv6", "1");
    // Far more of the targets have no way than have one.
    c.config(
        "targets = [\"198.19.0.0/28\", \"2001:db8:19::/120\"]\nports = \"22,23\"\nmethod = \"syn\"",
        "",
    );
    let out = c.mimawari("scan").args(["--out", "r"]).run().expect(3);
    assert_eq!(c.confirmed("r"), ["198.19.0.10 22"]);
    let run = c.json("r/run.json");
    assert_eq!(run["sweep"]["not_probed"], 512, "{run:#}");
    assert_eq!(run["sweep"]["send_failures"], 0, "what has no way is not tried: {run:#}");
    assert!(out.stdout.contains("2001:db8:19::"), "{}", out.stdout);
}

fn source(c: &Case) {
    let _ssh = Server::banner(&c.lab, "198.19.0.10:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    let scan = "targets = [\"198.19.0.0/28\"]\nports = \"22\"\nmethod = \"syn\"\nsource = ";
    c.config(&format!("{scan}[\"198.18.0.77\"]"), "");
    let out = c.mimawari("scan").args(["--out", "r"]).run().expect(2);
    assert!(out.stderr.contains("198.18.0.77 is no address of this machine"), "{}", out.stderr);
    assert!(!c.path("r").exists());
    c.config(&format!("{scan}[\"198.18.0.1\"]"), "");
    let _ = c.mimawari("scan").args(["--out", "r"]).run().expect(0);
    assert_eq!(c.confirmed("r"), ["198.19.0.10 22"]);
}

fn second_looks(c: &Case) {
    let hosts: Vec<_> = (1..=12).map(host).collect();
    let _servers: Vec<Server> = hosts
        .iter()
        .map(|ip| Server::banner(&c.lab, &format!("{ip}:22"), b"SSH-2.0-OpenSSH_9.2\r\n"))
        .collect();
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"22\"\nrate = 20", "");
    let begun = std::time::Instant::now();
    let _ = c.mimawari("scan").args(["--out", "r"]).run().expect(0);
    assert_eq!(c.confirmed("r").len(), 12);
    // 16 probes, and 12 connections of four packets and more.
    let seconds = begun.elapsed().as_secs_f64();
    assert!(seconds > 60.0 / 20.0, "{seconds} s for at least 64 packets at 20 a second");
}

fn capability(c: &Case) {
    let _ssh = Server::banner(&c.lab, "198.19.0.10:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.0/24\"]\nports = \"22,23\"\nmethod = \"syn\"\nrate = 50", "");
    let mut running = c.mimawari("scan").args(["--out", "r"]).start();
    // The second look has been made: everything that parses what others send is running.
    running.wait_until(&c.path("r/observations.ndjson"), |text| text.contains("OpenSSH"));
    let threads = running.threads();
    running.signal(Signal::SIGTERM);
    let _ = running.wait();
    let field = |status: &str, key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        line.map(|l| l.trim().to_owned()).expect("a field")
    };
    assert!(threads.len() > 4, "{threads:?}");
    for status in &threads {
        let name = field(status, "Name");
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            let bits = u64::from_str_radix(&field(status, set), 16).expect("a set");
            let net_raw = 1 << 13;
            assert!(bits == 0 || name == "sockets" && bits == net_raw, "{name} {set} {bits:x}");
        }
        assert_eq!(field(status, "NoNewPrivs"), "1", "{name}");
    }
}
