//! The commands that write baseline text: the program itself, on files, with every message.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use mimawari_drift::baseline::Baseline;
use mimawari_drift::judge::{CoverageView, RunInput, judge};
use mimawari_drift::state::{RuleUse, State};
use mimawari_drift::verdict::{FindingKind, RunFacts, Verdict, VerdictCoverage};
use mimawari_probes::observation::{
    CellState, ContentOutcome, HttpObservation, Observation, ServiceFacts, Severity,
    TcpObservation, TlsFacts, UrlScheme, WebObservation,
};
use mimawari_targets::{AddrSet, Port, PortSet, Scope};
use tempfile::TempDir;

const NOW: &str = "2026-11-24T06:00:00Z";

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Everything a user meets.
    fn all(&self) -> String {
        let status = self.status.expect("an exit status");
        format!("exit {status}\n--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}

fn mimawari(dir: &Path, args: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"))
        .current_dir(dir)
        .env_clear()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting the program");
    // A program that refuses its arguments never reads.
    let _ = child.stdin.take().expect("stdin").write_all(stdin.as_bytes());
    let out = child.wait_with_output().expect("its output");
    Ran {
        status: out.status.code(),
        stdout: String::from_utf8(out.stdout).expect("UTF-8"),
        stderr: String::from_utf8(out.stderr).expect("UTF-8"),
    }
}

/// `mimawari baseline …`
fn baseline(dir: &Path, args: &[&str]) -> Ran {
    mimawari(dir, &[&["baseline"], args].concat(), "")
}

/// With the clock of the fixtures.
fn at_now(dir: &Path, args: &[&str]) -> Ran {
    baseline(dir, &[args, &["--now", NOW]].concat())
}

const HOSTING: &str = r#"# The hosting team's rules.

version = 1
owner = "@corp/hosting"

[groups]
edge = ["192.0.2.0/30"]

# the edge
[[allow]]
id = "edge-https"
group = "edge"
ports = ["tcp/443"]
reason = "Public shared-hosting edge"
"#;

const DATA: &str = r#"version = 1
owner = "@corp/data"

# moved to the cloud in spring
[[allow]]
id = "old-db" # the one of 2019
hosts = ["192.0.2.130"]
ports = ["tcp/5432"]
reason = "Partner access until the move"
expires = 2026-09-01

# never again
[[allow]]
id = "no-telnet"
hosts = ["192.0.2.192/26"]
ports = ["tcp/23"]
expect = "never"
reason = "Clear text"
"#;

/// A folder with a baseline of two files.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("baseline")).expect("a folder");
    write(dir.path(), "baseline/hosting.toml", HOSTING);
    write(dir.path(), "baseline/data.toml", DATA);
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("writing a file");
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What one run saw: all of it is covered.
struct World(Vec<Observation>);

impl CoverageView for World {
    fn cell(&self, ip: IpAddr, port: Port) -> CellState {
        let open = self.0.iter().any(|o| match o {
            Observation::Tcp(t) => t.ip == ip && t.port == port,
            _ => false,
        });
        if open { CellState::Open } else { CellState::Closed }
    }

    fn in_scope(&self, _ip: IpAddr) -> bool {
        true
    }

    fn part_of(&self, _ip: IpAddr, _port: Port) -> Option<u32> {
        None
    }
}

fn ip(s: &str) -> IpAddr {
    s.parse().expect("an address")
}

fn port(n: u16) -> Port {
    Port::new(n).expect("a port")
}

impl World {
    fn open(&mut self, host: &str, n: u16, banner: Option<&str>) {
        self.0.push(Observation::Tcp(TcpObservation {
            ip: ip(host),
            port: port(n),
            state: CellState::Open,
            at: NOW.parse().expect("an instant"),
            attempt: 1,
            ttl: None,
            confirmed: true,
            second_look: None,
            service: banner.map(|b| {
                Box::new({
                    serde_json::from_value::<ServiceFacts>(
                        serde_json::json!({ "name": "redis", "banner": b }),
                    )
                    .expect("a service")
                })
            }),
        }));
    }

    fn exposed(&mut self, host: &str, name: &str, path: &str) {
        self.0.push(Observation::Http(Box::new(HttpObservation {
            title: None,
            remedy: None,
            ip: ip(host),
            port: port(80),
            scheme: UrlScheme::Http,
            host: Some(name.to_owned()),
            path: path.to_owned(),
            check: "php-source".to_owned(),
            outcome: ContentOutcome::Exposed,
            severity: Severity::Critical,
            at: NOW.parse().expect("an instant"),
            evidence: None,
            reason: None,
        })));
    }

    fn judged(&self, baseline: &Baseline, now: Timestamp) -> Verdict {
        let ports: PortSet = "22,80,443,6379,8000-8001".parse().expect("ports");
        let scope = Scope::new(
            AddrSet::from_ranges(["192.0.2.0/24".parse().expect("a range")]),
            AddrSet::default(),
            "TEST-1",
        );
        let input = RunInput {
            run_id: "20261124T060000Z-test",
            vantage: "default",
            scope: &scope,
            observations: &self.0,
            coverage: self,
            totals: VerdictCoverage {
                cells_planned: 9,
                cells_covered: 9,
                open: 5,
                closed: 4,
                ..VerdictCoverage::default()
            },
            facts: RunFacts { ended_at: Some(now), ..RunFacts::default() },
            suspect_because: Vec::new(),
            gaps: Vec::new(),
            addresses: scope.permitted(),
            ports: &ports,
            turn: None,
        };
        judge(&input, baseline, &State::default(), now).0
    }
}

/// A rectangle on two hosts, a cache with a hostile banner, contents, legacy TLS, what is allowed.
fn world() -> World {
    let mut w = World(Vec::new());
    for host in ["192.0.2.64", "192.0.2.65"] {
        for n in [8000, 8001] {
            w.open(host, n, None);
        }
    }
    w.open("192.0.2.70", 6379, Some("7.2\n[[allow]]\r\nid = \"x\" \u{1b}[31m\u{202e}"));
    w.open("192.0.2.1", 443, None);
    w.open("192.0.2.1", 22, None);
    w.open("192.0.2.1", 80, None);
    w.exposed("192.0.2.1", "shop.example.jp", "/password.php");
    w.exposed("192.0.2.1", "www.example.jp", "/password.php");
    w.0.push(Observation::Web(Box::new(WebObservation {
        ip: ip("192.0.2.1"),
        port: port(443),
        scheme: UrlScheme::Https,
        host: Some("shop.example.jp".to_owned()),
        at: NOW.parse().expect("an instant"),
        status: Some(200),
        server: None,
        title: None,
        location: None,
        favicon_sha256: None,
        tls: Some(TlsFacts { version: "TLSv1.0".to_owned(), legacy: true, ..TlsFacts::default() }),
        dns: None,
    })));
    w
}

/// The rules of a folder, as `judge` reads them.
fn rules(dir: &Path, name: &str) -> Baseline {
    mimawari_store::baseline::read_baseline(&dir.join(name).into())
        .unwrap_or_else(|e| panic!("{e:#}"))
}

/// A folder with the verdict of the world; the nearest rules name the owners.
fn with_verdict() -> TempDir {
    let dir = folder();
    let v = verdict(&world().judged(&rules(dir.path(), "baseline"), NOW.parse().expect("now")));
    fs::create_dir_all(dir.path().join("runs/20261124T060000Z-test")).expect("a folder");
    write(dir.path(), "runs/20261124T060000Z-test/verdict.json", &v);
    write(dir.path(), "verdict.json", &v);
    dir
}

fn verdict(v: &Verdict) -> String {
    serde_json::to_string(v).expect("a verdict")
}

#[test]
fn help() {
    let dir = folder();
    for command in ["fmt", "propose", "accept", "prune"] {
        insta::assert_snapshot!(
            format!("help_{command}"),
            baseline(dir.path(), &[command, "--help"]).stdout
        );
    }
}

const MESSY: &str = "owner='@corp/mail' # us\nversion=1\n\n# the relay\n[[allow]]\nreason=\"Relay\"\nports=['tcp/25', # in\n'tcp/587','udp/53']\nhosts=['192.0.2.100','192.0.2.9']\nid='relay'\n";

#[test]
fn fmt_writes_the_canonical_form_once() {
    let dir = folder();
    write(dir.path(), "baseline/mail.toml", MESSY);
    write(dir.path(), "baseline/README", "not = = toml");
    let mut out = Vec::new();
    for args in [&["fmt", "--check"][..], &["fmt"], &["fmt"], &["fmt", "--check"]] {
        out.push(baseline(dir.path(), args).all());
    }
    insta::assert_snapshot!("fmt", out.join("\n"));
    insta::assert_snapshot!("fmt_mail", read(dir.path(), "baseline/mail.toml"));
    assert_eq!(read(dir.path(), "baseline/hosting.toml"), HOSTING);
    assert_eq!(read(dir.path(), "baseline/data.toml"), DATA);
}

#[test]
fn fmt_check_writes_nothing() {
    let dir = folder();
    write(dir.path(), "baseline/mail.toml", MESSY);
    let ran = baseline(dir.path(), &["fmt", "--check", "baseline/mail.toml", "baseline"]);
    assert_eq!(ran.status, Some(2), "{}", ran.all());
    assert!(ran.stderr.contains("1 of 3 files is not in canonical form"), "{}", ran.stderr);
    assert_eq!(read(dir.path(), "baseline/mail.toml"), MESSY);
}

#[cfg(unix)]
#[test]
fn fmt_keeps_mode_and_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = folder();
    write(dir.path(), "mail", MESSY);
    fs::set_permissions(dir.path().join("mail"), fs::Permissions::from_mode(0o640)).expect("mode");
    symlink("../mail", dir.path().join("baseline/mail.toml")).expect("a link");
    assert_eq!(baseline(dir.path(), &["fmt"]).status, Some(0));
    assert!(fs::symlink_metadata(dir.path().join("baseline/mail.toml")).expect("it").is_symlink());
    let mode = fs::metadata(dir.path().join("mail")).expect("it").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(read(dir.path(), "mail").starts_with("version = 1\n"));
}

#[test]
fn fmt_leaves_what_it_cannot_read() {
    let dir = folder();
    write(dir.path(), "baseline/mail.toml", MESSY);
    write(dir.path(), "baseline/a.toml", "version = 1\nowner = \"x\"\n[[allow]\n");
    write(
        dir.path(),
        "baseline/b.toml",
        "version = 1\nowner = \"x\"\n[groups]\ng = [\n  \"192.0.2.7/24\",\n]\n",
    );
    fs::write(dir.path().join("baseline/c.toml"), b"version = 1\n# \xff\n").expect("a file");
    let ran = baseline(dir.path(), &["fmt"]);
    insta::assert_snapshot!("fmt_errors", ran.all());
    assert_eq!(read(dir.path(), "baseline/mail.toml"), MESSY, "none is written");
    insta::assert_snapshot!("fmt_nowhere", baseline(dir.path(), &["fmt", "nowhere"]).all());
}

#[test]
fn propose_prints_rules_for_what_is_open() {
    let dir = with_verdict();
    insta::assert_snapshot!(
        "propose",
        at_now(dir.path(), &["propose", "--verdict", "verdict.json"]).all()
    );
    let only = ["propose", "--verdict", "verdict.json", "--only", "6379", "--expires-days", "30"];
    insta::assert_snapshot!("propose_only", at_now(dir.path(), &only).all());
    let none = ["propose", "--verdict", "verdict.json", "--only", "9"];
    insta::assert_snapshot!("propose_none", at_now(dir.path(), &none).all());
    let quiet = at_now(dir.path(), &["propose", "--verdict", "verdict.json", "--quiet"]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn propose_never_proposes_exposed_content() {
    let dir = with_verdict();
    let ran = at_now(dir.path(), &["propose", "--verdict", "verdict.json"]);
    assert!(
        ran.stdout.contains("[[allow]]") && !ran.stdout.contains("allow_http"),
        "{}",
        ran.all()
    );
    assert!(ran.stderr.contains("`baseline accept`"), "{}", ran.all());
}

#[test]
fn propose_errors() {
    let dir = with_verdict();
    let d = dir.path();
    let with = ["propose", "--verdict", "verdict.json"];
    let refused = |args: &[&str]| {
        let ran = baseline(d, args);
        assert_eq!(ran.status, Some(2), "{}", ran.all());
        assert_eq!(ran.stdout, "");
        ran.stderr
    };
    let mut all = vec![
        refused(&["propose"]),
        refused(&["propose", "--verdict", "nowhere.json"]),
        refused(&["propose", "--run", "nowhere"]),
        refused(&[&with[..], &["--only", "http"]].concat()),
        refused(&[&with[..], &["--expires-days", "0"]].concat()),
        refused(&[&with[..], &["--now", "tomorrow"]].concat()),
        refused(&[&with[..], &["--baseline", "nowhere"]].concat()),
        refused(&[&with[..], &["--out", "verdict.json"]].concat()),
    ];
    write(d, "baseline/x.toml", "version = 1\n");
    all.push(refused(&with));
    insta::assert_snapshot!("propose_errors", all.join("\n"));
}

#[test]
fn propose_adds_to_files_and_overwrites_none() {
    let dir = with_verdict();
    let d = dir.path();
    // Of another owner, and it bears the name that the new file would have.
    write(d, "baseline/unowned.toml", "version = 1\nowner = \"@corp/other\"\n");
    let ran = at_now(d, &["propose", "--verdict", "verdict.json", "--out", "baseline"]);
    insta::assert_snapshot!("propose_out", ran.all());
    assert_eq!(read(d, "baseline/unowned.toml"), "version = 1\nowner = \"@corp/other\"\n");
    assert_eq!(read(d, "baseline/data.toml"), DATA);
    let check = baseline(d, &["check"]);
    assert_eq!(check.status, Some(2), "a person has to write the reasons\n{}", check.all());
    assert!(check.stdout.contains("`reason` is empty"), "{}", check.all());
    // And again: the reasons are still to be written, and nothing is added twice.
    let before = read(d, "baseline/hosting.toml");
    let again = at_now(d, &["propose", "--verdict", "verdict.json", "--out", "baseline"]);
    assert_eq!(again.status, Some(2), "{}", again.all());
    assert_eq!(read(d, "baseline/hosting.toml"), before);
}

#[test]
fn propose_fill_check_judge() {
    let dir = with_verdict();
    let d = dir.path();
    let now: Timestamp = NOW.parse().expect("now");
    let world = world();
    let before = world.judged(&rules(d, "baseline"), now);
    let only = ["propose", "--verdict", "verdict.json", "--only", "80,6379,8000-8001"];
    assert_eq!(at_now(d, &[&only[..], &["--out", "baseline"]].concat()).status, Some(0));
    for entry in fs::read_dir(d.join("baseline")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a file");
        let text = text.replace("reason = \"\"", "reason = \"Partner access, NET-7\"");
        fs::write(&path, text.replace("owner = \"\"", "owner = \"@corp/net\"")).expect("writing");
    }
    assert_eq!(baseline(d, &["check"]).status, Some(0));
    let fmt = baseline(d, &["fmt", "--check"]);
    assert_eq!(fmt.status, Some(0), "a canonical file stays one\n{}", fmt.all());
    let after = world.judged(&rules(d, "baseline"), now);
    let ids = |v: &Verdict| -> BTreeSet<(String, u16)> {
        let counts = v.findings.iter().filter(|f| f.state.is_drift());
        counts.map(|f| (f.id.clone(), f.port.map_or(0, Port::get))).collect()
    };
    let (before, after) = (ids(&before), ids(&after));
    let gone: BTreeSet<u16> = before.difference(&after).map(|(_, p)| *p).collect();
    assert_eq!(gone, BTreeSet::from([80, 6379, 8000, 8001]));
    let stay: Vec<u16> = after.iter().map(|(_, p)| *p).collect();
    assert!(after.is_subset(&before));
    assert_eq!(stay.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([22, 80, 443]));
}

#[test]
fn propose_judges_a_run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    let open = listener.local_addr().expect("it").port();
    let dir = tempfile::tempdir().expect("a folder");
    let d = dir.path();
    write(
        d,
        "patrol.toml",
        &format!(
            "version = 1\n[scope]\nallow = [\"127.0.0.1\"]\nauthorised_by = \"TEST-1\"\n[scan]\nports = \"{open}\"\nmethod = \"connect\"\n"
        ),
    );
    fs::create_dir(d.join("baseline")).expect("a folder");
    write(d, "baseline/t.toml", "version = 1\nowner = \"@t/t\"\n");
    let scanned = mimawari(d, &["scan", "--out", "run"], "");
    assert_eq!(scanned.status, Some(0), "{}", scanned.all());
    let ran = at_now(d, &["propose", "--run", "run"]);
    assert_eq!(ran.status, Some(0), "{}", ran.all());
    assert!(ran.stdout.contains(&format!("id = \"tcp-{open}-127.0.0.1\"")), "{}", ran.stdout);
    assert!(ran.stdout.contains("reason = \"\"\nexpires = 2027-02-22\n"), "{}", ran.stdout);
    write(d, "baseline/p.toml", &ran.stdout.replace("\"\"", "\"Partner, NET-7\""));
    let judged = mimawari(d, &["judge", "--run", "run", "--out", "v.json", "--now", NOW], "");
    assert_eq!(judged.status, Some(0), "{}", judged.all());
    drop(listener);
}

const SAID: &[&str] = &["--reason", "Partner VPN, NET-7", "--expires", "2027-03-31"];

#[test]
fn accept_adds_one_rule_and_changes_no_line() {
    let dir = with_verdict();
    let d = dir.path();
    let cache = at_now(d, &[&["accept", "192.0.2.70:6379", "--file", "data.toml"], SAID].concat());
    insta::assert_snapshot!("accept", cache.all());
    let url = ["accept", "http://shop.example.jp/password.php", "--file", "baseline/data.toml"];
    let url = at_now(d, &[&url[..], &["--reason", "Read by the monitoring"]].concat());
    insta::assert_snapshot!("accept_url", url.all());
    let must = ["accept", "192.0.2.1:22", "--expect", "must", "--id", "bastion"];
    let must = at_now(d, &[&must[..], SAID].concat());
    insta::assert_snapshot!("accept_must", must.all());
    for (name, old) in [("baseline/data.toml", DATA), ("baseline/hosting.toml", HOSTING)] {
        let text = read(d, name);
        let mut new = text.lines();
        for line in old.lines() {
            assert!(new.any(|n| n == line), "{name}: `{line}` is gone or has moved\n{text}");
        }
    }
    let v = world().judged(&rules(d, "baseline"), NOW.parse().expect("now"));
    let open: BTreeSet<u16> = v
        .findings
        .iter()
        .filter(|f| f.state.is_drift())
        .filter_map(|f| f.port)
        .map(Port::get)
        .collect();
    assert_eq!(open, BTreeSet::from([80, 443, 8000, 8001]), "443: legacy TLS");
    let contents = v.findings.iter().filter(|f| f.kind == FindingKind::ExposedContent);
    assert_eq!(contents.count(), 1, "the same path of the other site is not accepted");
    // What is accepted is no finding of the next verdict any more; of this one it still is.
    let again = at_now(d, &[&["accept", "192.0.2.70:6379", "--file", "data.toml"], SAID].concat());
    assert_eq!(again.status, Some(2), "{}", again.all());
    insta::assert_snapshot!("accept_again", again.stderr);
}

#[test]
fn accept_errors() {
    let dir = with_verdict();
    let d = dir.path();
    let v: Verdict = serde_json::from_str(&read(d, "verdict.json")).expect("it");
    let tls = v.findings.iter().find(|f| f.kind == FindingKind::LegacyTls).expect("legacy TLS");
    assert!(at_now(d, &[&["accept", &tls.id[..8]], SAID].concat()).stdout.contains("legacy-tls"));
    write(d, "baseline/hosting.toml", HOSTING);
    let refused = |args: &[&str]| {
        let ran = at_now(d, args);
        assert_eq!(ran.status, Some(2), "{args:?} {}", ran.all());
        assert_eq!(ran.stdout, "");
        ran.stderr
    };
    let said = |finding: &'static str, more: &[&'static str]| {
        refused(&[&["accept", finding], SAID, more].concat())
    };
    let mut all = vec![
        refused(&["accept", "192.0.2.1:22"]),
        refused(&["accept", "192.0.2.1:22", "--reason", "todo", "--expires", "2027-01-01"]),
        refused(&["accept", "192.0.2.1:22", "--reason", "", "--expires", "2027-01-01"]),
        refused(&["accept", "192.0.2.1:22", "--reason", "Partner VPN"]),
        refused(&["accept", "192.0.2.1:22", "--reason", "Partner VPN", "--expires", "2026-11-23"]),
        refused(&["accept", "192.0.2.1:22", "--reason", "Partner VPN", "--expires", "tomorrow"]),
        refused(&["accept", "192.0.2.1:22", "--reason", "Partner VPN", "--expires", "2027-02-30"]),
        said("192.0.2.1:22", &["--id", "no-telnet"]),
        said("192.0.2.1:22", &["--file", "mail.toml"]),
        said("192.0.2.1:22", &["--expect", "never"]),
        said("192.0.2.70:6379", &[]),
        said("192.0.2.1:23", &[]),
        said("abc", &[]),
        said("redis", &[]),
        said("http://192.0.2.1/password.php", &["--expect", "must"]),
        said("192.0.2.1:22", &["--verdict", "patrol.toml"]),
        said("192.0.2.1:22", &["nowhere"]),
    ];
    write(d, "baseline/more.toml", "version = 1\nowner = \"@corp/hosting\"\n");
    // Two files of one owner: the one of the nearest rule, where one is near.
    let nearest = at_now(d, &[&["accept", "192.0.2.1:22"], SAID].concat());
    assert_eq!(nearest.status, Some(0), "{}", nearest.all());
    write(d, "baseline/hosting.toml", HOSTING);
    let mut alone = v.clone();
    alone.findings.iter_mut().for_each(|f| f.nearest = None);
    write(d, "alone.json", &verdict(&alone));
    all.push(said("192.0.2.1:22", &["--verdict", "alone.json"]));
    fs::remove_dir_all(d.join("runs")).expect("removing the runs");
    all.push(said("192.0.2.1:22", &[]));
    // Two findings at one port, neither of which is the port itself.
    let two: Vec<_> =
        v.findings.iter().filter(|f| f.kind == FindingKind::ExposedContent).cloned().collect();
    assert_eq!(two.len(), 2);
    write(d, "two.json", &verdict(&Verdict { findings: two, ..v.clone() }));
    all.push(said("192.0.2.1:80", &["--verdict", "two.json"]));
    write(
        d,
        "baseline/hosting.toml",
        "version = 1\nowner = \"@corp/hosting\"\nallow = [{ id = \"x\", hosts = [\"192.0.2.200\"], ports = [\"tcp/80\"], reason = \"Edge of the hall\" }]\n",
    );
    all.push(said("192.0.2.1:22", &["--verdict", "verdict.json", "--file", "hosting.toml"]));
    write(d, "baseline/hosting.toml", "version = 1\n");
    all.push(said("192.0.2.1:22", &["--verdict", "verdict.json"]));
    insta::assert_snapshot!("accept_errors", all.join("\n"));
    assert_eq!(read(d, "baseline/data.toml"), DATA);
}

#[test]
fn accept_reads_a_verdict_from_stdin() {
    let dir = with_verdict();
    let v = read(dir.path(), "verdict.json");
    let args = ["baseline", "accept", "192.0.2.1:22", "--verdict", "-", "--now", NOW];
    let ran = mimawari(dir.path(), &[&args[..], SAID].concat(), &v);
    assert_eq!(ran.status, Some(0), "{}", ran.all());
}

/// A state that knows when rules were last of use.
fn state(dir: &Path, rules: &[(&str, u32)]) {
    fs::create_dir_all(dir.join("state")).expect("a folder");
    let use_of = |unseen_runs| RuleUse {
        since: "2026-01-01T00:00:00Z".parse().expect("an instant"),
        last_seen: Some("2026-10-01T00:00:00Z".parse().expect("an instant")),
        unseen_runs,
    };
    let rules: BTreeMap<_, _> =
        rules.iter().map(|(id, n)| ((*id).to_owned(), use_of(*n))).collect();
    let state = State { rules, ..State::default() };
    write(dir, "state/state.json", &serde_json::to_string(&state).expect("a state"));
}

#[test]
fn prune_proposes_and_removes() {
    let dir = folder();
    let d = dir.path();
    state(d, &[("edge-https", 12), ("no-telnet", 99)]);
    let mut out = Vec::new();
    for args in [
        &["prune"][..],
        &["prune", "--state", "state"],
        &["prune", "--state", "state", "--write"],
        &["prune", "--state", "state", "--write"],
    ] {
        out.push(at_now(d, args).all());
        if !args.contains(&"--write") {
            assert_eq!(read(d, "baseline/data.toml"), DATA);
            assert_eq!(read(d, "baseline/hosting.toml"), HOSTING);
        }
    }
    insta::assert_snapshot!("prune", out.join("\n"));
    let data = read(d, "baseline/data.toml");
    assert!(data.contains("# never again\n[[allow]]\nid = \"no-telnet\""), "{data}");
    assert!(!data.contains("spring") && !data.contains("2019"), "{data}");
    assert_eq!(baseline(d, &["fmt", "--check"]).status, Some(0), "it stays in canonical form");
}

#[test]
fn prune_errors() {
    let dir = folder();
    let d = dir.path();
    let mut all = Vec::new();
    let mut refused = |args: &[&str]| {
        let ran = at_now(d, args);
        assert_eq!(ran.status, Some(2), "{}", ran.all());
        all.push(ran.stderr);
    };
    refused(&["prune", "nowhere"]);
    refused(&["prune", "--state", "nowhere"]);
    state(d, &[]);
    write(d, "state/state.json", "{}");
    refused(&["prune", "--state", "state"]);
    fs::create_dir(d.join("empty")).expect("a folder");
    refused(&["prune", "empty"]);
    write(
        d,
        "baseline/hosting.toml",
        "version = 1\nowner = \"@corp/hosting\"\nallow = [{ id = \"x\", hosts = [\"192.0.2.200\"], ports = [\"tcp/80\"], reason = \"r r\", expires = 2026-01-01 }]\n",
    );
    refused(&["prune", "--write"]);
    assert_eq!(read(d, "baseline/data.toml"), DATA, "nothing is written");
    insta::assert_snapshot!("prune_errors", all.join("\n"));
}
