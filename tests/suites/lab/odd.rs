//! Hosts that answer for what is not there.

use super::*;

pub const CASES: Cases = &[
    ("odd::a_host_that_accepts_everything_is_one_finding", accepts_everything),
    ("odd::a_site_that_says_nothing_is_open_and_said", mute_site),
    ("odd::twenty_rescans_of_half_open_hosts_miss_nothing", rescans),
];

/// One listener behind all ports of an address, as a tarpit or a SYN proxy has it.
fn tarpit(c: &Case, ip: &str) -> Server {
    let at = format!("{ip}:7777");
    let server = Server::banner(&c.lab, &at, b"");
    let rules = format!(
        "table ip odd {{ chain pre {{ type nat hook prerouting priority dstnat; \
         iifname \"v1\" ip daddr {ip} meta l4proto tcp dnat to {at}\n}}\n}}\n"
    );
    nft(&c.lab, &rules);
    server
}

/// With four planned ports no share of them proves anything: the random ones do.
fn accepts_everything(c: &Case) {
    let tarpit = tarpit(c, "198.19.0.40");
    let _ssh = Server::banner(&c.lab, "198.19.0.41:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.32/27\"]\nports = \"22,80,443,6379\"", "");
    c.baseline("");
    c.patrol("r1", &[]).expect(1);
    assert_eq!(
        findings(&c.json("r1/verdict.json")),
        ["suspect-host 198.19.0.40:null open", "unexpected-open 198.19.0.41:22 open"]
    );
    let hosts: Vec<Value> =
        c.observations("r1").into_iter().filter(|o| o["kind"] == "host").collect();
    assert_eq!(hosts.len(), 1, "only the odd one is asked: {hosts:?}");
    assert_eq!((&hosts[0]["asked"], &hosts[0]["accepted"]), (&4.into(), &4.into()));
    // Judged again from the files alone, it is the same.
    let verdict = c.json("r1/verdict.json");
    let why = verdict["findings"].as_array().expect("findings").iter().find_map(|f| {
        (f["kind"] == "suspect-host").then(|| f["why"].as_str().expect("why").to_owned())
    });
    let why = why.expect("the finding");
    assert!(why.contains("of 4 random ports outside the plan 4 accepted a connection"), "{why}");
    // Without the tarpit the host refuses, and the finding is resolved.
    nft(&c.lab, "delete table ip odd\n");
    drop(tarpit);
    c.patrol("r2", &[]).expect(1);
    assert_eq!(
        findings(&c.json("r2/verdict.json")),
        ["suspect-host 198.19.0.40:null resolved", "unexpected-open 198.19.0.41:22 open"]
    );
}

/// What a path that loses full-sized packets looks like from here: the connection stands, and no byte
/// comes. The port is open, and that nothing was looked at is said.
fn mute_site(c: &Case) {
    let _site = Server::banner(&c.lab, "198.19.0.42:443", b"");
    c.config("targets = [\"198.19.0.32/27\"]\nports = \"443\"", "");
    c.baseline("");
    c.patrol("r1", &[]).expect(1);
    assert_eq!(findings(&c.json("r1/verdict.json")), ["unexpected-open 198.19.0.42:443 open"]);
    assert_eq!(c.json("r1/verdict.json")["incomplete"], true);
    let gaps = c.json("r1/run.json")["not_covered"].to_string();
    assert!(gaps.contains("1 web ports accepted a connection and sent nothing"), "{gaps}");
    assert!(gaps.contains("198.19.0.42:443"), "{gaps}");
}

/// Hosts that never hear that a connection is not wanted keep it half open for a minute. A SYN for one
/// of those they answer with a challenge ACK (RFC 5961, section 4.2), or by nothing at all, which
/// shows nothing. So each run asks from other ports.
fn rescans(c: &Case) {
    let _ssh = Server::banner(&c.lab, "198.19.0.43:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    nft(
        &c.lab,
        "table ip half { chain pre { type filter hook prerouting priority -300; \
         iifname \"v1\" tcp flags & rst == rst drop\n}\n}\n",
    );
    c.config("targets = [\"198.19.0.43\"]\nports = \"22\"\nmethod = \"syn\"", "");
    let scan = |out: &str, more: &[&str]| {
        c.mimawari("scan").args(["--out", out]).args(more).run().expect(0);
        let sweep = c.json(&format!("{out}/run.json"))["sweep"].clone();
        (sweep["open"].as_u64(), sweep["answers_by_attempt"][0].as_u64())
    };
    for n in 0..20 {
        assert_eq!(scan(&format!("r{n}"), &[]), (Some(1), Some(1)), "run {n}");
    }
    // From the same ports again the first attempt is not answered: the lab does what it is to do.
    c.config(
        "targets = [\"198.19.0.43\"]\nports = \"22\"\nmethod = \"syn\"\nsource_port = 9000",
        "",
    );
    assert_eq!(scan("same1", &[]), (Some(1), Some(1)));
    assert_eq!(scan("same2", &[]), (Some(1), Some(0)));
}
