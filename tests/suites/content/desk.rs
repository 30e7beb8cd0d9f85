//! A folder with a configuration, and the program at work in it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mimawari-under-test");

/// Lifts what keeps real sites from being asked too fast.
pub const FAST: &str = "rate_per_site = 0\nrate_per_address = 0\nrate_per_network = 0\n";

pub struct Desk {
    dir: TempDir,
}

/// What the program did.
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What a patrol left behind.
pub struct Patrol {
    pub ran: Ran,
    pub verdict: Value,
    pub observations: Vec<Value>,
}

impl Desk {
    /// A configuration that knows these endpoints alone, whose ports are allowed to be open.
    pub fn new(endpoints: &[SocketAddr], scan: &str, http: &str) -> Self {
        let desk = Self { dir: tempfile::tempdir().expect("a folder") };
        let mut ips: Vec<String> = endpoints.iter().map(|e| e.ip().to_string()).collect();
        let mut ports: Vec<String> = endpoints.iter().map(|e| e.port().to_string()).collect();
        for list in [&mut ips, &mut ports] {
            list.sort();
            list.dedup();
        }
        let tcp: Vec<String> = ports.iter().map(|p| format!("tcp/{p}")).collect();
        desk.write(
            "patrol.toml",
            format!(
                "version = 1\n[scope]\nallow = {ips:?}\nauthorised_by = \"TEST-1\"\n[scan]\n\
                 method = \"connect\"\nports = \"{}\"\nrate = 100000\nrate_per_host = 0\n\
                 rate_per_network = 0\n{scan}\n[http]\n{FAST}{http}\n",
                ports.join(",")
            ),
        );
        desk.write(
            "baseline/web.toml",
            format!(
                "version = 1\nowner = \"@test/team\"\n[[allow]]\nid = \"web\"\nhosts = {ips:?}\n\
                 ports = {tcp:?}\nreason = \"x\"\n"
            ),
        );
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, content).expect("a file");
    }

    /// Adds lines to a file.
    pub fn append(&self, name: &str, text: &str) {
        let before = fs::read_to_string(self.path(name)).expect("a file");
        self.write(name, before + text);
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[])
    }

    pub fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(PROGRAM);
        command.env_clear().envs(environment.iter().copied()).current_dir(self.dir.path());
        Ran::of(command.args(args).output().expect("running"))
    }

    /// A patrol into a folder of this name.
    pub fn patrol(&self, out: &str, args: &[&str]) -> Patrol {
        self.patrol_with(out, args, &[])
    }

    pub fn patrol_with(&self, out: &str, args: &[&str], environment: &[(&str, &str)]) -> Patrol {
        let ran = self.run_with(&[&["patrol", "--out", out], args].concat(), environment);
        let read = |name: &str| {
            fs::read_to_string(self.path(out).join(name))
                .unwrap_or_else(|e| panic!("{name}: {e}\n{}", ran.stderr))
        };
        let json = |name| serde_json::from_str::<Value>(&read(name)).expect("JSON");
        let observations = read("observations.ndjson");
        let observations = observations.lines().map(|l| serde_json::from_str(l).expect("JSON"));
        let (observations, verdict) = (observations.collect(), json("verdict.json"));
        Patrol { ran, verdict, observations }
    }
}

impl Ran {
    fn of(out: Output) -> Self {
        Self {
            status: out.status.code(),
            stdout: String::from_utf8(out.stdout).expect("UTF-8"),
            stderr: String::from_utf8(out.stderr).expect("UTF-8"),
        }
    }
}

impl Patrol {
    /// Path checks that ended so, as `host path check`, sorted.
    pub fn paths(&self, outcome: &str) -> Vec<String> {
        let word = |o: &Value, key: &str| o[key].as_str().unwrap_or("-").to_owned();
        let mut all: Vec<String> = self
            .of_kind("http")
            .filter(|o| o["outcome"] == outcome)
            .map(|o| format!("{} {} {}", word(o, "host"), word(o, "path"), word(o, "check")))
            .collect();
        all.sort();
        all
    }

    /// Observations of one kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.observations.iter().filter(move |o| o["kind"] == kind)
    }

    /// Findings as `kind place state`, sorted.
    pub fn findings(&self) -> Vec<String> {
        let word = |f: &Value, key: &str| f[key].as_str().unwrap_or("-").to_owned();
        let mut all: Vec<String> = self.verdict["findings"]
            .as_array()
            .expect("findings")
            .iter()
            .map(|f| {
                let place = [word(f, "host"), word(f, "path"), word(f, "check")].join(" ");
                format!("{} {place} {}", word(f, "kind"), word(f, "state"))
            })
            .collect();
        all.sort();
        all
    }
}

/// Every file below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}
