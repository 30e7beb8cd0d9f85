//! The image at work.

use super::site::{REDIS, SECRET, WEB};
use super::*;

const PATROL: [&str; 5] =
    ["patrol", "-c", "/etc/mimawari/patrol.toml", "--out", "/var/lib/mimawari/run"];
/// How long an end may take that was asked for: far below Docker's and Fargate's times to stop, and
/// long enough for a machine at its limits.
const SOON: Duration = Duration::from_secs(15);

/// CAP_NET_RAW as a bit (capabilities(7)).
const NET_RAW: u64 = 1 << 13;

pub fn patrol(site: &Site) {
    let targets = "targets = [\"198.19.40.8/29\"]\nports = \"22,80,6379,8443\"\nmethod = \"auto\"\n\
                   canaries = [\"198.19.40.10:8443\"]";
    let desk = site.desk("patrol", targets);
    let out = desk.program(&[], &PATROL).expect(1);
    let verdict = desk.json("run/verdict.json");
    assert_eq!(verdict["run"]["method"], "syn", "{}", out.all());
    assert_eq!(verdict["incomplete"], false, "{}", out.all());
    let mut found: Vec<String> = verdict["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|f| {
            let text = |k: &str| f[k].as_str().unwrap_or_default().to_owned();
            format!(
                "{} {}:{}{} {}",
                text("kind"),
                text("ip"),
                f["port"],
                text("path"),
                text("state")
            )
        })
        .collect();
    found.sort();
    let wanted = [
        format!("exposed-content {WEB}:80/.git/HEAD open"),
        format!("exposed-content {WEB}:80/.git/config open"),
        format!("unexpected-open {REDIS}:6379 open"),
    ];
    assert_eq!(found, wanted, "{}", out.all());
    assert!(!out.all().contains(SECRET), "{}", out.all());
    // The next run knows what this one knew: the state is in the volume.
    let out = desk.program(&[], &["state", "show", "-c", "/etc/mimawari/patrol.toml"]).expect(0);
    assert!(out.stdout.contains("3 open"), "{}", out.all());
}

/// A sweep that lasts.
fn lasting<'a>(site: &'a Site, name: &str) -> site::Desk<'a> {
    let targets = format!("targets = [\"{WEB}\", \"{REDIS}\"]");
    site.desk(name, &format!("{targets}\nports = \"1-2000,6379\"\nmethod = \"syn\"\nrate = 300"))
}

pub fn stopped(site: &Site) {
    let desk = lasting(site, "stopped");
    let running = desk.start(&["--stop-timeout=120"], &PATROL);
    let seen = desk.path("run/observations.ndjson");
    while !fs::read_to_string(&seen).is_ok_and(|text| text.contains("\"port\":6379")) {
        assert!(running.pid().is_some(), "it ended: {}", running.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = running.pid().expect("it runs");
    for status in threads(pid) {
        let set = |key: &str| {
            let hex = status.lines().find_map(|l| l.strip_prefix(key)).expect(key).trim();
            u64::from_str_radix(hex, 16).expect("a set")
        };
        assert_eq!(set("CapEff:") & !NET_RAW, 0, "{status}");
        assert_eq!(set("CapPrm:") & !NET_RAW, 0, "{status}");
        assert_eq!(set("CapInh:") | set("CapAmb:"), 0, "{status}");
        assert_eq!(set("CapBnd:"), NET_RAW, "{status}");
        assert!(status.contains("Uid:\t65532\t65532\t65532\t65532"), "{status}");
    }
    let asked = Instant::now();
    site.engine.ask(["stop", "--time", "120", &running.id]);
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    // What was open and not agreed is drift, whatever else was not seen.
    assert_eq!(running.wait(), 1, "{}", running.logs());
    assert_eq!(desk.json("run/run.json")["status"], "stopped");
    let verdict = desk.json("run/verdict.json");
    assert_eq!(verdict["incomplete"], true);
    assert!(verdict["coverage"]["not_probed"].as_u64().is_some_and(|n| n > 0));
    // Another container reads it.
    let report = ["report", "--verdict", "/var/lib/mimawari/run/verdict.json", "--format", "text"];
    let out = desk.program(&[], &report);
    assert!(out.status != 2 && out.stdout.contains(REDIS), "{}", out.all());

    // A scan alone judges nothing, and says 3.
    let scan = ["scan", "-c", "/etc/mimawari/patrol.toml", "--out", "/var/lib/mimawari/scan"];
    let running = desk.start(&[], &scan);
    let seen = desk.path("scan/observations.ndjson");
    while !fs::read_to_string(&seen).is_ok_and(|text| text.contains("\"open\"")) {
        assert!(running.pid().is_some(), "it ended: {}", running.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
    site.engine.ask(["stop", "--time", "120", &running.id]);
    assert_eq!(running.wait(), 3, "{}", running.logs());
}

/// The status of every thread of a process.
fn threads(pid: i32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let status = |t: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(t.expect("a thread").path().join("status")).ok()
    };
    let all: Vec<String> = tasks.filter_map(status).collect();
    assert!(all.len() > 2, "{all:?}");
    all
}

pub fn short_command(site: &Site) {
    // It waits for a verdict on its standard input, which stays open.
    let desk = site.desk("short", "");
    let running = desk.start(&["--interactive"], &["report", "--verdict", "-", "--format", "text"]);
    let catches = || {
        let pid = running.pid().expect("it runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).map(str::trim);
        let caught = caught.and_then(|c| u64::from_str_radix(c, 16).ok()).unwrap_or_default();
        caught & 1 << (15 - 1) != 0
    };
    while !catches() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let asked = Instant::now();
    site.engine.ask(["stop", "--time", "120", &running.id]);
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_eq!(running.wait(), 128 + 15, "{}", running.logs());
}

pub fn incapable(site: &Site) {
    let syn = "targets = [\"198.19.40.8/29\"]\nports = \"80\"\nmethod = \"syn\"";
    let desk = site.desk("incapable", syn);
    let out = desk.program(&["--cap-drop=NET_RAW"], &PATROL).expect(2);
    assert!(out.stderr.contains("needs CAP_NET_RAW"), "{}", out.all());
    assert!(out.stderr.contains("help: leave NET_RAW to the container"), "{}", out.all());
    let out = desk.program(&["--cap-drop=ALL"], &PATROL).expect(2);
    assert!(out.stderr.contains("help: leave NET_RAW to the container"), "{}", out.all());
    let out = desk.program(&["--security-opt=no-new-privileges"], &PATROL).expect(2);
    assert!(
        out.stderr.contains("help: start the program without no-new-privileges"),
        "{}",
        out.all()
    );
    // ALL dropped and the one added again is as good as the thirteen dropped by name.
    let desk = site.desk("added", &syn.replace("80", "81"));
    let _ = desk.program(&["--cap-drop=ALL", "--cap-add=NET_RAW"], &PATROL).expect(0);
    // Left to itself it makes full connections, and says so.
    let desk = site.desk("left", &syn.replace("syn", "auto"));
    let out = desk.program(&["--cap-drop=ALL"], &PATROL).expect(1);
    assert!(out.stderr.contains("no CAP_NET_RAW (taken away"), "{}", out.all());
    assert_eq!(desk.json("run/verdict.json")["run"]["method"], "connect");
}

pub fn verified(site: &Site) {
    let desk = site.desk("verified", "");
    let test = ["notify", "-c", "/etc/mimawari/patrol.toml", "--test"];
    // The name comes from the network's own DNS, the certificate from a root of the image.
    let _ = desk.program(&[], &test).expect(0);
    // With this machine's roots alone the same server is not believed.
    let out = desk.program(
        &["--volume=/etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro"],
        &test,
    );
    assert_ne!(out.status, 0, "{}", out.all());
    assert!(!out.all().contains("not-a-real-secret"), "{}", out.all());
}
