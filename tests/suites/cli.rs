//! What a user reads: help, errors and the results of commands that send nothing.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
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
    {
        use std::io::Write;
        let mut pipe = child.stdin.take().expect("stdin");
        // A program that refuses its arguments never reads.
        let _ = pipe.write_all(stdin.as_bytes());
    }
    let out = child.wait_with_output().expect("its output");
    Ran {
        status: out.status.code(),
        stdout: String::from_utf8(out.stdout).expect("UTF-8"),
        stderr: String::from_utf8(out.stderr).expect("UTF-8"),
    }
}

fn folder(config: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("patrol.toml"), config).expect("configuration");
    dir
}

const CONFIG: &str = r#"version = 1

[scope]
allow = ["198.51.100.0/28", "2001:db8:10::/126"]
deny = ["198.51.100.1"]
authorised_by = "SEC-1042"

[scan]
ports = "22,80,8000-8002"
"#;

#[test]
fn help() {
    let dir = folder("");
    insta::assert_snapshot!("help", mimawari(dir.path(), &["--help"], "").stdout);
    for command in
        ["patrol", "scan", "merge", "judge", "report", "export", "import", "manifest", "demo"]
    {
        insta::assert_snapshot!(
            format!("help_{command}"),
            mimawari(dir.path(), &[command, "--help"], "").stdout
        );
    }
    for args in [
        &["state"][..],
        &["state", "show"],
        &["state", "history"],
        &["state", "rollback"],
        &["baseline"],
        &["baseline", "publish"],
        &["round"],
        &["round", "plan"],
        &["round", "scan"],
        &["round", "reduce"],
        &["round", "run"],
        &["round", "show"],
    ] {
        insta::assert_snapshot!(
            format!("help_{}", args.join("_")),
            mimawari(dir.path(), &[args, &["--help"]].concat(), "").stdout
        );
    }
    let checks = [&["checks", "--help"][..], &["checks", "list", "--help"]];
    let digest = &["checks", "digest", "--help"][..];
    let all = checks.into_iter().chain([digest]).map(|args| mimawari(dir.path(), args, "").stdout);
    insta::assert_snapshot!("help_checks", all.collect::<String>());
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let dir = folder(CONFIG);
    for args in [&["frobnicate"][..], &["scan", "--rate", "fast"], &["judge"], &[]] {
        let ran = mimawari(dir.path(), args, "");
        assert_eq!(ran.status, Some(2), "{args:?}\n{}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    assert_eq!(mimawari(dir.path(), &["--version"], "").status, Some(0));
}

#[track_caller]
fn refused(config: &str, args: &[&str], stdin: &str) -> String {
    let dir = folder(config);
    let ran = mimawari(dir.path(), args, stdin);
    assert_eq!(ran.status, Some(2), "{}{}", ran.stdout, ran.stderr);
    ran.stderr
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    insta::assert_snapshot!(
        "no_configuration",
        refused(CONFIG, &["scan", "-c", "absent.toml"], "")
    );
    insta::assert_snapshot!("unknown_key", refused(&format!("{CONFIG}rat = 5\n"), &["scan"], ""));
    insta::assert_snapshot!(
        "host_bits",
        refused(&CONFIG.replace("100.0/28", "100.5/28"), &["scan"], "")
    );
    insta::assert_snapshot!(
        "outside",
        refused(CONFIG, &["scan", "--targets", "198.51.100.0/24"], "")
    );
    let both = format!("{CONFIG}[http]\nvhosts = \"-\"\n");
    assert!(
        refused(&both, &["scan", "--targets", "-"], "198.51.100.2\n")
            .contains("both --targets and [http] vhosts read stdin")
    );
    insta::assert_snapshot!(
        "bad_target_on_stdin",
        refused(
            CONFIG,
            &["scan", "--targets", "-"],
            "198.51.100.2\n# a comment\n198.51.100.9-198.51.100.3\n"
        )
    );
    insta::assert_snapshot!("bad_shard", refused(CONFIG, &["scan", "--shard", "0/3"], ""));
    insta::assert_snapshot!("bad_ports", refused(CONFIG, &["scan", "--ports", "80,99999"], ""));
    insta::assert_snapshot!("bad_rate", refused(CONFIG, &["scan", "--rate", "0"], ""));
    insta::assert_snapshot!("bad_recall", refused(CONFIG, &["scan", "--recall", "1"], ""));
    insta::assert_snapshot!(
        "no_run",
        refused(CONFIG, &["judge", "--run", "nowhere", "--baseline", "."], "")
    );
    insta::assert_snapshot!("no_verdict", refused(CONFIG, &["report", "--verdict", "-"], "{}"));
    insta::assert_snapshot!("no_check", refused(CONFIG, &["checks", "show", "nonesuch"], ""));
    insta::assert_snapshot!("no_baseline", refused(CONFIG, &["baseline", "check", "nowhere"], ""));
}

#[test]
fn a_manifest_is_refused_with_the_place_and_the_remedy() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("docroot")).expect("a folder");
    let refused = |args: &[&str]| {
        let ran = mimawari(dir.path(), &[&["manifest"], args].concat(), "");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.contains("help:") || ran.stderr.contains("Usage:"), "{}", ran.stderr);
        ran.stderr
    };
    let all = [
        refused(&["absent", "--host", "a.example"]),
        refused(&["docroot", "--host", "ショップ.example"]),
        refused(&["docroot", "--host", "198.51.100.7"]),
        refused(&["docroot", "--ip", "a.example"]),
        refused(&["docroot", "--host", "a.example", "--prefix", "/a"]),
        refused(&["docroot", "--host", "a.example", "--out", "docroot/m.ndjson"]),
        refused(&["docroot", "--host", "a.example", "--out", "absent/m.ndjson"]),
    ];
    insta::assert_snapshot!("manifest_refusals", all.concat());
    refused(&["docroot"]);
}

#[test]
fn a_whole_64_is_refused_with_advice() {
    insta::assert_snapshot!(
        "a_64",
        refused(&CONFIG.replace("10::/126", "10::/64"), &["scan", "--dry-run"], "")
    );
}

#[test]
fn a_scope_may_hold_a_64_when_the_targets_are_single_addresses() {
    let dir = folder(&CONFIG.replace("10::/126", "10::/64"));
    let targets = "2001:db8:10::1,2001:db8:10:0:8000::/112";
    let ran = mimawari(dir.path(), &["scan", "--plan", "--json", "--targets", targets], "");
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(plan["addresses_v6"], 65_537);
    assert_eq!(plan["cells"], 65_537 * 5);
}

#[test]
fn a_plan_sends_nothing_and_writes_nothing() {
    let dir = folder(CONFIG);
    let ran = mimawari(dir.path(), &["scan", "--plan"], "");
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("plan", ran.stdout);
    assert_eq!(fs::read_dir(dir.path()).expect("the folder").count(), 1, "only patrol.toml");
    for args in [
        &["scan", "--plan", "--dry-run"][..],
        &["scan", "--json"],
        &["scan", "--plan", "--window", "1 hour"],
        &["scan", "--plan", "--assume-loss", "1.5"],
        &["scan", "--plan", "--vcpu-hour", "NaN"],
    ] {
        let ran = mimawari(dir.path(), args, "");
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
    }
}

#[test]
fn a_dry_run_prints_each_cell_once_in_a_stable_order_and_needs_no_privilege() {
    let dir = folder(CONFIG);
    let run = |args: &[&str]| {
        let ran = mimawari(dir.path(), &[&["scan", "--dry-run"], args].concat(), "");
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
        ran.stdout
    };
    let whole = run(&[]);
    let cells: HashSet<&str> = whole.lines().collect();
    assert_eq!(whole.lines().count(), cells.len(), "a cell was doubled");
    let mut expected = HashSet::new();
    for port in [22, 80, 8000, 8001, 8002] {
        for n in (0..16).filter(|n| *n != 1) {
            expected.insert(format!("198.51.100.{n},{port}"));
        }
        for n in ["", "1", "2", "3"] {
            expected.insert(format!("2001:db8:10::{n},{port}"));
        }
    }
    assert_eq!(cells, expected.iter().map(String::as_str).collect());
    assert_eq!(whole, run(&[]), "the order moved");
    let mut sorted: Vec<&str> = whole.lines().collect();
    sorted.sort_unstable();
    assert_ne!(sorted, whole.lines().collect::<Vec<_>>(), "this is no permutation");
    for n in [1, 2, 3, 7, 200] {
        let mut union: Vec<String> = Vec::new();
        for i in 1..=n {
            union.extend(run(&["--shard", &format!("{i}/{n}")]).lines().map(str::to_owned));
        }
        union.sort_unstable();
        assert_eq!(union, sorted, "{n} shards");
    }
    let narrowed = run(&["--targets", "198.51.100.0-198.51.100.3", "--ports", "443"]);
    assert_eq!(narrowed.lines().collect::<HashSet<_>>().len(), 3, "the denied one stays out");
}

#[test]
fn flag_over_environment_over_file() {
    let dir = folder(CONFIG);
    let count = |envs: &[(&str, &str)], args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"))
            .current_dir(dir.path())
            .env_clear()
            .envs(envs.iter().copied())
            .args(["scan", "--dry-run"])
            .args(args)
            .output()
            .expect("running");
        String::from_utf8_lossy(&out.stdout).lines().count()
    };
    assert_eq!(count(&[], &[]), 19 * 5);
    assert_eq!(count(&[("MIMAWARI_PORTS", "1-2")], &[]), 19 * 2);
    assert_eq!(count(&[("MIMAWARI_PORTS", "1-2")], &["--ports", "7"]), 19);
    assert_eq!(count(&[("MIMAWARI_TARGETS", "198.51.100.2,198.51.100.3")], &[]), 2 * 5);
}

#[test]
fn the_catalogue_is_listed_and_shown() {
    let dir = folder("");
    let list = mimawari(dir.path(), &["checks", "list"], "");
    assert_eq!(list.status, Some(0));
    assert!(list.stdout.lines().count() >= 13, "{}", list.stdout);
    insta::assert_snapshot!(
        "show_git_config",
        mimawari(dir.path(), &["checks", "show", "git-config"], "").stdout
    );
}

/// A name server on loopback: `inside.example` and `outside.example` have an IPv4 address, nothing
/// else exists.
fn name_server() -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let at = socket.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut q = [0u8; 512];
        while let Ok((n, from)) = socket.recv_from(&mut q) {
            // The question: labels, then type and class (RFC 1035, section 4.1.2).
            let Some(end) = q[12..n].iter().position(|b| *b == 0).map(|i| 12 + i) else { continue };
            let question = &q[12..end + 5];
            let name = q[13..end].to_ascii_lowercase();
            let ip: Option<[u8; 4]> = match () {
                () if name.starts_with(b"inside") => Some([198, 51, 100, 5]),
                () if name.starts_with(b"outside") => Some([203, 0, 113, 9]),
                () => None,
            };
            let wants_a = q[end + 2] == 1;
            let code = if ip.is_some() { 0 } else { 3 };
            let answers = u8::from(ip.is_some() && wants_a);
            let mut a = vec![q[0], q[1], 0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0];
            a.extend(question);
            if let (Some(ip), true) = (ip, wants_a) {
                a.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                a.extend(ip);
            }
            let _ = socket.send_to(&a, from);
        }
    });
    at
}

#[test]
fn names_are_resolved_and_what_lies_outside_the_scope_is_refused_and_named() {
    let dir = folder(&format!("{CONFIG}nameservers = [\"{}\"]\n", name_server()));
    let run = |targets: &str| {
        mimawari(dir.path(), &["scan", "--dry-run", "--ports", "80", "--targets", targets], "")
    };
    let ran = run("inside.example,outside.example,nowhere.example,198.51.100.7");
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let mut cells: Vec<&str> = ran.stdout.lines().collect();
    cells.sort_unstable();
    assert_eq!(cells, ["198.51.100.5,80", "198.51.100.7,80"]);
    for words in [
        "outside.example resolves to 203.0.113.9, which is not in the scope",
        "nowhere.example could not be resolved",
    ] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let ran = run("outside.example");
    assert_eq!(ran.status, Some(2), "{}", ran.stdout);
    assert!(ran.stderr.contains("203.0.113.9") && ran.stderr.contains("help:"), "{}", ran.stderr);
}

#[test]
fn every_mistake_of_a_baseline_is_reported_with_its_line_and_remedy() {
    let dir = folder(CONFIG);
    fs::create_dir(dir.path().join("baseline")).expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(dir.path().join("baseline").join(name), text).expect("a baseline file");
    };
    write(
        "a.toml",
        r#"version = 2
owner = " "

[groups]
edge = ["192.0.2.5/26"]

[[allow]]
id = "one"
hosts = ["192.0.2.70", "::ffff:192.0.2.1"]
ports = ["tcp/0", "80", "sctp/80", "tcp/90-80"]
reason = ""
expires = 2026-12-31T00:00:00Z

[[allow]]
id = "two"
group = "egde"
ports = []
reason = "x"

[[allow]]
id = "two"
ports = ["tcp/1"]
reason = "x"

[[allow_http]]
id = "three"
hosts = ["192.0.2.9-192.0.2.1"]
reason = "x"
"#,
    );
    write(
        "b.toml",
        r#"version = 1
owner = "@t/t"

[[allow]]
id = "never"
hosts = ["192.0.2.0/24"]
ports = ["tcp/23"]
expect = "never"
reason = "x"

[[allow]]
id = "may"
hosts = ["192.0.2.1"]
ports = ["tcp/20-30"]
reason = "x"

[[allow]]
id = "must"
hosts = ["198.51.0.0/16"]
ports = ["tcp/1-2"]
expect = "must"
reason = "x"
"#,
    );
    write(
        "c.toml",
        "version = 1\nowner = \"@t/t\"\n[[allow]]\nid = \"x\"\nhost = [\"192.0.2.1\"]\n",
    );
    let ran = mimawari(dir.path(), &["judge", "--run", "nowhere"], "");
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    insta::assert_snapshot!("baseline_mistakes", ran.stderr);
}

/// A crash leaves no image of the memory: bodies and tokens are in it.
#[test]
fn no_core_dump_is_ever_written() {
    let dir = folder(CONFIG);
    let fifo = dir.path().join("verdict.json");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"))
        .current_dir(dir.path())
        .env_clear()
        .args(["report", "--verdict", "verdict.json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starting the program");
    // Opened once the program has come to reading it.
    let writer = fs::OpenOptions::new().write(true).open(&fifo).expect("a reader");
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("its limits");
    drop(writer);
    child.wait().expect("its end");
    let line = limits.lines().find(|l| l.starts_with("Max core file size")).expect("the limit");
    let values: Vec<&str> = line.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{line}");
}
