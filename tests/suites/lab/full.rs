//! The whole lab: 65,536 addresses × 10 ports, known truth, 1 % loss. Needs nftables.
//!
//! `MIMAWARI_LAB_RUNS` and `MIMAWARI_LAB_KILLS` say how often; a build has time for two and for 25.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use mimawari_tests::lab::{Policer, Truth};
use nix::sys::resource::{UsageWho, getrusage};

use super::*;

pub const CASES: Cases = &[
    ("full::recall_of_65536_hosts_with_one_percent_loss", recall),
    ("full::a_policed_path_is_found_and_nothing_is_missed", policed),
    ("full::kills_lose_nothing", kills),
    ("full::a_device_without_a_link_header_v4", |c| point_to_point(c, "198.19.64.0/28")),
    ("full::a_device_without_a_link_header_v6", |c| point_to_point(c, "2001:db8:19::4000/124")),
];

const PORTS: [u16; 10] = [22, 25, 80, 443, 3306, 3389, 5432, 6379, 8080, 9200];
const OPEN: usize = 4000;

fn read_number(variable: &str, usual: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else { return usual };
    text.parse()
        .ok()
        .filter(|n| *n > 0)
        .unwrap_or_else(|| panic!("{variable}={text}: not a number"))
}

fn recall(c: &Case) {
    // The denied block is never open, so that it cannot count as missed.
    let scope = scope();
    let mut truth = Truth::spread(65_536, &PORTS, OPEN, |ip| scope.allows(ip.into()));
    truth.loss_permille = 10;
    truth.install(&c.lab);
    let _servers: Vec<Server> = PORTS
        .iter()
        .map(|p| Server::banner(&c.lab, &format!("0.0.0.0:{p}"), b"220 ready\r\n"))
        .collect();
    // Default settings but for the targets and ports.
    let ports = PORTS.map(|p| p.to_string()).join(",");
    c.config(
        &format!("targets = [\"198.19.0.0/16\"]\nports = \"{ports}\"\nmethod = \"syn\""),
        "[http]\nenabled = false",
    );
    let expected: BTreeSet<String> = truth.open.iter().map(|(ip, p)| format!("{ip} {p}")).collect();
    let mut recalls = Vec::new();
    let runs = read_number("MIMAWARI_LAB_RUNS", 2);
    for i in 0..runs {
        let out = format!("r{i}");
        let begun = std::time::Instant::now();
        let output = c.mimawari("scan").args(["--out", &out]).run();
        // The highest of all children that have been waited for: this program's, and nft's.
        let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("its usage").max_rss();
        let seen: BTreeSet<String> = c
            .observations(&out)
            .iter()
            .filter(|o| o["state"] == "open")
            .map(|o| format!("{} {}", o["ip"].as_str().expect("ip"), o["port"]))
            .collect();
        let wrong: Vec<_> = seen.difference(&expected).collect();
        assert!(wrong.is_empty(), "open that is not: {wrong:?}");
        let found = seen.len() as f64 / expected.len() as f64;
        let run = c.json(&format!("{out}/run.json"));
        println!(
            "run {i}: recall {found:.5}, estimate {}, attempts {}, sent {}, lost {}, {:.1} s, peak {peak} KiB, exit {:?}",
            run["sweep"]["recall_estimate"],
            run["sweep"]["attempts"],
            run["sweep"]["sent"],
            run["sweep"]["receive_lost"],
            begun.elapsed().as_secs_f64(),
            output.status
        );
        assert!(found >= 0.999, "recall {found}\n{}", output.stderr);
        // Pages of code count too, and without optimisation there are several times as many.
        let most = if cfg!(debug_assertions) { 192 } else { 128 };
        assert!(peak < most * 1024, "{peak} KiB");
        let confirmed = c.confirmed(&out).len();
        assert!(confirmed >= seen.len() * 995 / 1000, "{confirmed} of {} confirmed", seen.len());
        recalls.push(found);
    }
    recalls.sort_by(f64::total_cmp);
    assert!(recalls[recalls.len() / 2] >= 0.9999, "median recall {recalls:?}");
}

/// Killed and gone on with at random points; each run ends with what an undisturbed one has.
fn kills(c: &Case) {
    let most = read_number("MIMAWARI_LAB_KILLS", 25);
    let scope = scope();
    let truth = Truth::spread(4096, &PORTS, 300, |ip| scope.allows(ip.into()));
    truth.install(&c.lab);
    let _servers: Vec<Server> = PORTS
        .iter()
        .map(|p| Server::banner(&c.lab, &format!("0.0.0.0:{p}"), b"220 ready\r\n"))
        .collect();
    let ports = PORTS.map(|p| p.to_string()).join(",");
    c.config(
        &format!(
            "targets = [\"198.19.0.0/20\"]\nports = \"{ports}\"\nmethod = \"syn\"\nrate = 8000\nrate_per_network = 0"
        ),
        "[http]\nenabled = false",
    );
    let open: BTreeSet<String> = truth.open.iter().map(|(ip, p)| format!("{ip} {p}")).collect();
    let result = |out: &str| {
        let sweep = c.json(&format!("{out}/run.json"))["sweep"].clone();
        let seen: BTreeSet<String> = c
            .observations(out)
            .iter()
            .filter(|o| o["state"] == "open")
            .map(|o| format!("{} {}", o["ip"].as_str().expect("ip"), o["port"]))
            .collect();
        let counts = ["open", "closed", "silent", "prohibited", "not_probed"]
            .map(|key| sweep[key].as_u64().expect("a count"));
        (seen, counts, sweep["sent"].as_u64().expect("a count"))
    };
    c.mimawari("scan").args(["--out", "whole"]).run().expect(0);
    let whole = result("whole");
    assert_eq!((&whole.0, whole.1[4]), (&open, 0));
    // A multiplicative generator (Lehmer) is random enough for this, and the same each time.
    let mut state = 48_271u64;
    let mut random = |below: u64| {
        state = state * 48_271 % 2_147_483_647;
        state % below
    };
    let (mut kills, mut runs, mut doubled) = (0, 0, 0);
    while kills < most {
        runs += 1;
        let out = format!("k{runs}");
        let (run, saved) = (c.path(&out).join("run.json"), c.path(&out).join("checkpoint.bin"));
        let changed = || fs::metadata(&saved).and_then(|m| m.modified()).ok();
        let mut running = c.mimawari("scan").args(["--out", &out]).start();
        let before = kills;
        loop {
            // Between the first file and the fifth checkpoint from here on.
            let mut alive = running.reaches(|| run.exists());
            for _ in 0..random(5) {
                let last = changed();
                alive = alive && running.reaches(|| changed() != last);
            }
            if !alive || kills == most {
                break;
            }
            running.signal(if random(4) == 0 { Signal::SIGTERM } else { Signal::SIGKILL });
            let ended = running.wait();
            if ended.status == Some(0) {
                // It was faster than the signal.
                running = c.mimawari("report").start();
                break;
            }
            kills += 1;
            running = c.mimawari("scan").args(["--resume", &out]).start();
        }
        let _ = running.wait();
        let (seen, counts, sent) = result(&out);
        assert_eq!((&seen, counts), (&whole.0, whole.1), "run {runs}");
        doubled += sent.saturating_sub(whole.2);
        println!("run {runs}: {} kills, {sent} probes instead of {}", kills - before, whole.2);
    }
    let each = doubled as f64 / most as f64;
    println!("{most} kills in {runs} runs; by their own count {each:.0} probes more for each");
    assert!(each < 8000.0, "more than a second of probes doubled by each");
}

/// The way to the hosts carries a tenth of what is asked for. Nothing is tuned, and the run says so.
fn policed(c: &Case) {
    const OPEN: usize = 200;
    let ports = [22, 80, 443, 3306, 8080];
    let scope = scope();
    let mut truth = Truth::spread(4096, &ports, OPEN, |ip| scope.allows(ip.into()));
    truth.policer = Some(Policer { rate: 5_000, burst: 100 });
    truth.install(&c.lab);
    let _servers: Vec<Server> = ports
        .iter()
        .map(|p| Server::banner(&c.lab, &format!("0.0.0.0:{p}"), b"220 ready\r\n"))
        .collect();
    c.config(
        "targets = [\"198.19.0.0/20\"]\nports = \"22,80,443,3306,8080\"\nmethod = \"syn\"\nrate = 50000\nrate_per_network = 0",
        "[http]\nenabled = false",
    );
    c.mimawari("scan").args(["--out", "r"]).run().expect(0);
    let run = c.json("r/run.json");
    let sweep = &run["sweep"];
    let count = |key: &str| sweep[key].as_u64().expect("a number");
    assert!(count("open") <= OPEN as u64, "{sweep}");
    // 51 of 256 hosts are silent but for their open ports; all other cells answer.
    let silent = |ip: &Ipv4Addr| ip.octets()[3] < 51;
    let open_on_silent = truth.open.iter().filter(|(ip, _)| silent(ip)).count() as u64;
    let answering = (4096 - 8 - 16 * 51) * 5 + open_on_silent;
    let answered = count("open") + count("closed");
    assert!(answered <= answering && answered >= answering * 999 / 1000, "{answering}: {sweep}");
    let capacity = sweep["path_capacity"].as_u64().expect("what the path carries");
    assert!((2_000..8_000).contains(&capacity), "{capacity}");
    assert!(run["notes"].to_string().contains("the path carried"), "{}", run["notes"]);
}

/// Through tun: frames begin with the IP header, and the checksum must be right, since a packet with
/// a wrong one is not answered.
fn point_to_point(c: &Case, targets: &str) {
    let tun = mimawari_tests::lab::Tun::open(&c.lab, 2121);
    // The lab's scope ends before these IPv6 addresses.
    let text = "version = 1\n[scope]\nallow = [\"198.19.64.0/24\", \"2001:db8:19::4000/120\"]\nauthorised_by = \"TEST-1\"\n[http]\nenabled = false\n";
    fs::write(c.path("patrol.toml"), text).expect("configuration");
    c.mimawari("scan")
        .args(["--out", "r", "--method", "syn", "--targets", targets, "--ports", "2120-2122"])
        .run()
        .expect(0);
    assert_eq!(c.confirmed("r").len(), 16);
    let sweep = &c.json("r/run.json")["sweep"];
    assert_eq!((&sweep["open"], &sweep["closed"]), (&16.into(), &32.into()));
    let range: AddrRange = targets.parse().expect("a range");
    let outside: Vec<IpAddr> = tun
        .destinations()
        .into_iter()
        .filter(|ip| !range.contains(*ip) && !is_link_upkeep(*ip))
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
}
