//! Runs that were made once, on loopback, and a folder to judge them in.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mimawari-under-test");

/// How many runs there are, each with a finding of its own.
pub const RUNS: usize = 8;

/// The address that run `n` scanned and found open.
pub fn address(n: usize) -> String {
    Ipv4Addr::new(127, 83, 7, n as u8 + 1).to_string()
}

/// The folder with the runs `0`, `1`, …
pub fn runs() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        // Several suites make them; each has a folder of its own.
        let dir =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(concat!(env!("CARGO_CRATE_NAME"), "-runs"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder");
        fs::write(dir.join("patrol.toml"), config("state", 1)).expect("a file");
        // One port that is free on all of them.
        let listeners: Vec<TcpListener> = std::iter::from_fn(|| {
            let ip = |n: usize| address(n).parse::<IpAddr>().expect("an address");
            let first = TcpListener::bind((ip(0), 0)).expect("a port");
            let port = first.local_addr().expect("its address").port();
            let rest: Result<Vec<_>, _> =
                (1..RUNS).map(|n| TcpListener::bind((ip(n), port))).collect();
            Some(rest.map(|mut rest| {
                rest.insert(0, first);
                rest
            }))
        })
        .take(50)
        .find_map(Result::ok)
        .expect("a port that is free everywhere");
        let port = listeners[0].local_addr().expect("its address").port().to_string();
        for listener in listeners {
            std::thread::spawn(move || for _ in listener.incoming() {});
        }
        let scans: Vec<Child> = (0..RUNS)
            .map(|n| {
                let out = n.to_string();
                let args = ["scan", "--targets", &address(n), "--ports", &port, "--out", &out];
                program(&dir, &args).stdout(Stdio::null()).spawn().expect("a scan")
            })
            .collect();
        for mut scan in scans {
            assert!(scan.wait().expect("its end").success(), "a scan failed");
        }
        dir
    })
}

/// A configuration for all of the runs.
fn config(url: &str, runs: usize) -> String {
    assert!(runs <= RUNS);
    format!(
        "version = 1\n[scope]\nallow = [\"127.83.7.0/24\"]\nauthorised_by = \"TEST-1\"\n[scan]\n\
         method = \"connect\"\n[http]\nenabled = false\n[state]\nurl = \"{url}\"\n"
    )
}

pub fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(dir).env_clear().args(args).stdin(Stdio::null());
    command
}

/// A folder to judge in.
pub struct Desk {
    pub dir: TempDir,
    /// What the program finds in its environment.
    pub env: Vec<(String, String)>,
}

impl Desk {
    pub fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().expect("a folder"), env: Vec::new() };
        desk.write("patrol.toml", &config("state", RUNS));
        desk.write("baseline/b.toml", "version = 1\nowner = \"@test/team\"\n");
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn start(&self, args: &[&str]) -> Child {
        program(self.dir.path(), args)
            .envs(self.env.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting the program")
    }

    /// Runs it, and gives status, stdout and stderr.
    pub fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        read_output(self.start(args).wait_with_output().expect("its output"))
    }

    /// Starts judging run `n`; the verdict goes to `n.json`.
    pub fn judge(&self, n: usize) -> Child {
        let run = runs().join(n.to_string()).display().to_string();
        self.start(&["judge", "--run", &run, "--save-state", "--out", &format!("{n}.json")])
    }

    /// The addresses that a verdict names.
    pub fn verdict(&self, n: usize) -> Vec<String> {
        let verdict: Value = serde_json::from_str(&self.read(&format!("{n}.json"))).expect("JSON");
        let findings = verdict["findings"].as_array().expect("findings");
        let mut ips: Vec<String> =
            findings.iter().map(|f| f["ip"].as_str().expect("an address").to_owned()).collect();
        ips.sort();
        ips
    }

    /// The keys of the changes in a verdict.
    pub fn changes(&self, n: usize) -> Vec<String> {
        let verdict: Value = serde_json::from_str(&self.read(&format!("{n}.json"))).expect("JSON");
        let changes = verdict["changes"].as_array().into_iter().flatten();
        changes.map(|c| c["key"].as_str().expect("a key").to_owned()).collect()
    }

    /// The JSON of `state show`.
    pub fn shown(&self) -> Value {
        let (status, out, err) = self.run(&["state", "show", "--json"]);
        assert_eq!(status, Some(0), "{err}");
        serde_json::from_str(&out).expect("JSON")
    }
}

pub fn read_output(output: Output) -> (Option<i32>, String, String) {
    let text = |b| String::from_utf8(b).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}
