//! `mimawari selfcheck` in a lab of namespaces with no way out: what works is said, and what was broken
//! on purpose is found and reported with its own remedy. Every frame is captured; none may leave the canaries.
//!
//! `MIMAWARI_LAB=skip` leaves it out and counts every case as ignored.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use mimawari_tests::lab::{Capture, Lab, Output, Program, Server, nft};
use mimawari_tests::suite::{LabMode, Selection};
use nix::mount::{MsFlags, mount};
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_mimawari-under-test");
/// The canaries; nobody else may hear of us.
const CANARIES: [&str; 3] = ["198.19.0.10:443", "198.19.0.11:22", "[2001:db8:19::10]:443"];
/// Visibly no secret, and searched for in everything that is printed.
const SECRET: &str = "https://hooks.example/services/FAKE/not-a-secret-0123456789";

type Case = (&'static str, fn(&Desk));

const CASES: &[Case] = &[
    ("selfcheck::everything_is_well", well),
    ("selfcheck::a_bounding_set_without_the_capability", bounding),
    ("selfcheck::no_new_privs_voids_the_file_s_capability", no_new_privs),
    ("selfcheck::without_packets_none_leaves", no_packets),
    ("selfcheck::a_silent_canary_and_a_closed_one", canaries),
    ("selfcheck::loss_is_measured", loss),
    ("selfcheck::a_policer_is_found", policer),
    ("selfcheck::the_ramp_keeps_to_the_ceilings", ceilings),
    ("selfcheck::a_folder_that_is_read_only", read_only),
    ("selfcheck::a_baseline_that_is_wrong", baseline),
    ("selfcheck::a_store_that_never_answers", hung_store),
    ("selfcheck::a_configuration_that_is_wrong", configuration),
    ("selfcheck::secrets_are_looked_for_and_not_shown", secrets),
];

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let trial = |(name, case): &Case| {
        let case = *case;
        let run = move || {
            Desk::run(case);
            Ok(())
        };
        Trial::test(*name, run).with_ignored_flag(selection.mode == LabMode::Skip)
    };
    CASES.iter().map(trial).collect()
}

/// A lab with canaries, and a folder with a configuration.
struct Desk {
    lab: Lab,
    dir: TempDir,
    servers: Vec<Server>,
}

impl Desk {
    /// Runs a case under capture.
    fn run(case: fn(&Self)) {
        let lab = Lab::new();
        let servers = CANARIES.iter().map(|at| Server::banner(&lab, at, b"hello\r\n")).collect();
        let desk = Self { lab, dir: tempfile::tempdir().expect("a folder"), servers };
        fs::set_permissions(desk.dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let capture = Capture::start(&desk.lab);
        case(&desk);
        let seen = capture.stop();
        assert_eq!(seen.lost, 0, "the capture lost frames, so it proves nothing");
        let canaries: Vec<IpAddr> = desk.servers.iter().map(|s| s.at().ip()).collect();
        let others: Vec<_> = seen
            .destinations
            .keys()
            .filter(|ip| !canaries.contains(ip) && !is_link_upkeep(**ip))
            .collect();
        assert!(others.is_empty(), "frames left for others than the canaries: {others:?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes configuration and baseline; `scan` and `rest` are lines of TOML.
    fn config(&self, scan: &str, rest: &str) {
        let text = format!(
            "version = 1\n[scope]\nallow = [\"198.19.0.0/24\", \"2001:db8:19::/112\"]\n\
             authorised_by = \"TEST-1\"\n[scan]\nmethod = \"syn\"\nports = \"22,443\"\n{scan}\n{rest}\n"
        );
        fs::write(self.path("patrol.toml"), text).expect("the configuration");
        fs::create_dir_all(self.path("baseline")).expect("a folder");
        fs::write(self.path("baseline/b.toml"), "version = 1\nowner = \"@test/team\"\n")
            .expect("the baseline");
    }

    fn selfcheck(&self) -> Program<'_> {
        self.lab.program(BINARY).dir(self.dir.path()).arg("selfcheck")
    }

    /// The command, of a copy of the program that has the file capability, as a user who has none. These
    /// flags of `setpriv` hold for root, those for the user.
    fn as_nobody(&self, root: &[&str], user: &[&str]) -> Output {
        let copy = self.path("mimawari");
        fs::copy(BINARY, &copy).expect("a copy");
        let set = Command::new("setcap").arg("cap_net_raw=ep").arg(&copy).status();
        assert!(set.expect("setcap: install libcap2-bin").success());
        self.lab
            .program("/usr/bin/setpriv")
            .dir(self.dir.path())
            .args(["--reuid", "65532", "--regid", "65532", "--clear-groups"])
            .args(root)
            // The capabilities of root are gone only with the next program.
            .arg("/usr/bin/setpriv")
            .args(user)
            .arg(&copy)
            .arg("selfcheck")
            .run()
    }
}

/// What a kernel sends on its own to keep a link going, and what asks the gateway.
fn is_link_upkeep(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast(),
        IpAddr::V6(ip) => {
            ip.is_multicast() || ip.is_unicast_link_local() || ip == mimawari_tests::lab::CENTRE_V6
        }
    }
}

/// The line of a check, with its remedy.
#[track_caller]
fn line(out: &Output, mark: &str, name: &str) -> String {
    let start = format!("{mark:<4}  {name:<10}  ");
    let mut lines = out.stdout.lines();
    let Some(first) = lines.find(|l| l.starts_with(&start)) else {
        panic!("no line `{start}` in:\n{}\n{}", out.stdout, out.stderr);
    };
    let remedy = lines.next().filter(|l| l.starts_with("     ")).unwrap_or_default();
    format!("{first}\n{remedy}")
}

fn two_canaries() -> &'static str {
    "canaries = [\"198.19.0.10:443\", \"198.19.0.11:22\"]"
}

/// Figures and places of this machine, masked.
fn masked(text: &str, dir: &Path) -> String {
    let text = text.replace(&dir.display().to_string(), "DIR");
    let mut out = String::new();
    for l in text.lines() {
        // What differs from machine to machine has its own tests.
        let whole = ["identity", "capability", "kernel", "limits", "roots", "clock", "ring"];
        match whole.iter().find(|n| l.get(6..).is_some_and(|r| r.starts_with(**n))) {
            Some(name) => out.push_str(&format!("….   {name}  …")),
            None => {
                let mut last = ' ';
                for c in l.chars() {
                    let c = if c.is_ascii_digit() { '#' } else { c };
                    if !(c == '#' && last == '#') {
                        out.push(c);
                    }
                    last = c;
                }
            }
        }
        out.push('\n');
    }
    out
}

fn well(d: &Desk) {
    let canaries = CANARIES.map(|c| format!("{c:?}")).join(", ");
    d.config(&format!("canaries = [{canaries}]\nrate = 4000"), "");
    let out = d.selfcheck().run().expect(0);
    let end = out.stdout.lines().last().unwrap_or_default();
    assert!(end.starts_with("ready: SYN sweep at up to ~"), "{}", out.stdout);
    assert!(line(&out, "ok", "route").contains("via 198.18.0.2"));
    assert!(line(&out, "ok", "ring").contains("TPACKET_V3 on v0, 8 MiB, fanout"));
    // The state's folder was made for the check, and is gone again.
    assert!(!d.path("state").exists());
    // The ramp's own figures depend on how busy the machine is.
    let until = out.stdout.split("\nport 25").next().unwrap_or_default();
    let text: String = until
        .lines()
        .take_while(|l| !l.get(6..).is_some_and(|r| r.starts_with("ramp")))
        .map(|l| format!("{l}\n"))
        .collect();
    insta::assert_snapshot!("selfcheck_well", masked(&text, d.dir.path()));
    let json = d.selfcheck().arg("--json").run().expect(0);
    let document: Value = serde_json::from_str(&json.stdout).expect("one document");
    assert_eq!((&document["version"], &document["ok"]), (&1.into(), &true.into()));
    let names: Vec<&str> = document["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .map(|c| c["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        names,
        [
            "config",
            "identity",
            "capability",
            "sockets",
            "ring",
            "kernel",
            "route",
            "counters",
            "limits",
            "clock",
            "resolver",
            "roots",
            "store",
            "baseline",
            "notifiers",
            "packets",
            "canary",
            "canary",
            "canary",
            "port 25",
            "ramp"
        ]
    );
}

fn bounding(d: &Desk) {
    d.config(two_canaries(), "");
    let out = d.selfcheck().without_net_raw().run().expect(2);
    let text = line(&out, "fail", "capability");
    assert!(text.contains("bounding set") && text.contains("never ALL"), "{text}");
    line(&out, "skip", "sockets");
    line(&out, "ok", "canary");
    assert!(out.stdout.ends_with("failed\n"), "{}", out.stdout);
}

fn no_new_privs(d: &Desk) {
    d.config(two_canaries(), "[state]\nurl = \"/tmp/mimawari-selfcheck-nobody\"");
    let out = d.as_nobody(&["--inh-caps=-all"], &["--no-new-privs"]);
    let text = line(&out, "fail", "capability");
    assert!(text.contains("no_new_privs makes that void"), "{text}");
    assert!(text.contains("allowPrivilegeEscalation"), "{text}");
    assert_eq!(out.status, Some(2));
    // Without that it works, and has nothing else.
    let out = d.as_nobody(&["--bounding-set", "-all,+net_raw"], &["--inh-caps=-all"]);
    let text = line(&out, "ok", "capability");
    assert!(text.contains("NET_RAW is effective, and nothing else"), "{text}");
    assert!(line(&out, "ok", "canary").contains("3 of 3 SYNs"), "{}", out.stdout);
}

fn no_packets(d: &Desk) {
    d.config(two_canaries(), "");
    let capture = Capture::start(&d.lab);
    let out = d.selfcheck().arg("--no-packets").run().expect(0);
    let seen = capture.stop();
    assert!(seen.destinations.keys().all(|ip| is_link_upkeep(*ip)), "{:?}", seen.destinations);
    assert_eq!(seen.other, 0, "somebody was asked by ARP");
    line(&out, "skip", "canary");
    line(&out, "skip", "ramp");
    assert!(out.stdout.ends_with("not measured\n"), "{}", out.stdout);
}

fn canaries(d: &Desk) {
    d.config("canaries = [\"198.19.0.10:443\", \"198.19.0.11:2222\"]", "");
    nft(
        &d.lab,
        "table ip lab {\nchain pre { type filter hook prerouting priority -300; policy accept;\n\
         ip daddr 198.19.0.10 drop\n}\n}\n",
    );
    let out = d.selfcheck().run().expect(2);
    assert!(
        line(&out, "fail", "canary").contains("198.19.0.10:443 does not answer"),
        "{}",
        out.stdout
    );
    assert!(out.stdout.contains("198.19.0.11:2222 is closed: it answered RST"), "{}", out.stdout);
    assert!(line(&out, "skip", "ramp").contains("no canary answers"));
}

/// The loss and its interval of each step, in percent.
fn measured(ramp: &str) -> Vec<(u32, f64, f64, f64)> {
    let steps = ramp.lines().next().and_then(|l| l.split("interval: ").nth(1)).expect("steps");
    steps
        .split(';')
        .filter(|s| s.contains(" % ("))
        .map(|s| {
            let number = |text: &str| {
                text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect::<String>()
            };
            let (rate, rest) = s.trim().split_once("/s ").expect("a rate");
            let (loss, rest) = rest.split_once(" % (").expect("a loss");
            let (low, high) = rest.split_once(" to ").expect("an interval");
            let f = |t: &str| number(t).trim_end_matches('.').parse::<f64>().expect("a number");
            (rate.parse().expect("a rate"), f(loss), f(low), f(high))
        })
        .collect()
}

fn loss(d: &Desk) {
    d.config(&format!("{}\nrate = 1000", two_canaries()), "");
    // Every twentieth SYN: exactly 5 %.
    nft(
        &d.lab,
        "table ip lab {\nchain pre { type filter hook prerouting priority -300; policy accept;\n\
         tcp flags & (syn|ack) == syn numgen inc mod 20 == 7 drop\n}\n}\n",
    );
    let out = d.selfcheck().run();
    let ramp = line(&out, "warn", "ramp");
    for (rate, loss, low, high) in measured(&ramp) {
        assert!(low <= 5.0 && 5.0 <= high, "{rate}: {ramp}");
        assert!((4.0..6.0).contains(&loss), "{rate}: {ramp}");
    }
    assert!(ramp.contains("are lost at any rate"), "{ramp}");
}

fn policer(d: &Desk) {
    let ceilings = "rate_per_host = 0\nrate_per_network = 0\nrate = 8000";
    d.config(&format!("{}\n{ceilings}", two_canaries()), "");
    nft(
        &d.lab,
        "table ip lab {\nchain pre { type filter hook prerouting priority -300; policy accept;\n\
         tcp flags & (syn|ack) == syn limit rate over 3000/second burst 200 packets drop\n}\n}\n",
    );
    let out = d.selfcheck().run();
    let ramp = line(&out, "warn", "ramp");
    let steps = measured(&ramp);
    let last = steps.last().expect("steps");
    assert!(last.0 == 8000 && last.2 > 20.0, "{ramp}");
    let end = out.stdout.lines().last().unwrap_or_default();
    let rate: u32 = end
        .split('~')
        .nth(1)
        .and_then(|r| r.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{}", out.stdout));
    assert!((500..=3000).contains(&rate), "{}", out.stdout);
}

fn ceilings(d: &Desk) {
    d.config(&format!("{}\nrate = 20000\nrate_per_host = 300", two_canaries()), "");
    let out = d.selfcheck().run();
    let said = line(&out, "ok", "packets");
    assert!(said.contains("at 600 packets/s at most"), "{said}");
    let most: u64 = said
        .split("at most ")
        .nth(1)
        .and_then(|r| r.split(' ').next()?.parse().ok())
        .expect("a number");
    assert!((1000..4000).contains(&most), "{said}");
}

fn read_only(d: &Desk) {
    let work = d.path("work");
    fs::create_dir(&work).expect("a folder");
    let (path, none) = (Some(&work), None::<&str>);
    mount(Some("tmpfs"), &work, Some("tmpfs"), MsFlags::MS_RDONLY, none).expect("a mount");
    d.config("", &format!("[state]\nurl = \"{0}/state\"", work.display()));
    let out = d
        .selfcheck()
        .arg("--no-packets")
        .env("MIMAWARI_WORK", &path.expect("a path").display().to_string())
        .run();
    nix::mount::umount(&work).expect("unmounting");
    let out = out.expect(2);
    let text = line(&out, "fail", "identity");
    assert!(text.contains("Read-only file system") && text.contains("MIMAWARI_WORK"), "{text}");
    let text = line(&out, "fail", "store");
    assert!(text.contains("Read-only file system") && text.contains("→"), "{text}");
}

fn baseline(d: &Desk) {
    d.config("", "");
    fs::write(
        d.path("baseline/b.toml"),
        "version = 1\nowner = \"@t/t\"\n[[allow]]\nid = \"x\"\n\x1b[31m",
    )
    .expect("a file");
    let out = d.selfcheck().arg("--no-packets").run().expect(2);
    let text = line(&out, "fail", "baseline");
    assert!(text.contains("b.toml"), "{text}");
    assert!(!out.stdout.contains('\x1b'), "{:?}", out.stdout);
    fs::remove_dir_all(d.path("baseline")).expect("removing");
    let out = d.selfcheck().arg("--no-packets").run().expect(2);
    assert!(line(&out, "fail", "baseline").contains("cannot read the baseline"));
}

fn hung_store(d: &Desk) {
    // Accepts by its backlog, and never answers.
    let listener = d.lab.scanner.run(|| TcpListener::bind("127.0.0.1:0").expect("a listener"));
    let at = listener.local_addr().expect("its address");
    d.config(
        "",
        &format!("[state]\nurl = \"s3://bucket/state\"\nregion = \"eu-west-1\"\nendpoint = \"http://{at}\""),
    );
    let begun = Instant::now();
    let out = d
        .selfcheck()
        .arg("--no-packets")
        .env("AWS_ACCESS_KEY_ID", "FAKE")
        .env("AWS_SECRET_ACCESS_KEY", "not-a-secret-0123456789")
        .run()
        .expect(2);
    // The limit, and room for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(line(&out, "fail", "store").contains("no end within 20 seconds"), "{}", out.stdout);
    line(&out, "ok", "baseline");
    assert!(!(out.stdout + &out.stderr).contains("not-a-secret"));
}

fn configuration(d: &Desk) {
    d.config("rate = \"fast\"", "");
    let out = d.selfcheck().run().expect(2);
    let text = line(&out, "fail", "config");
    assert!(text.contains("patrol.toml") && text.contains("fast"), "{text}");
    // What needs no configuration is looked at all the same.
    line(&out, "ok", "capability");
    line(&out, "skip", "route");
}

fn secrets(d: &Desk) {
    d.config("", "[[notify]]\nkind = \"slack\"\nwebhook_env = \"HOOK\"");
    let out = d.selfcheck().arg("--no-packets").run().expect(2);
    let text = line(&out, "fail", "notifiers");
    assert!(text.contains("HOOK") && text.contains("→"), "{text}");
    let out = d.selfcheck().arg("--no-packets").env("HOOK", SECRET).run();
    assert!(line(&out, "ok", "notifiers").contains("slack"), "{}", out.stdout);
    assert!(!(out.stdout + &out.stderr).contains("not-a-secret"));
}
