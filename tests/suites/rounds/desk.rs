//! A configuration, a place for rounds, and servers on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mimawari_tests::moto::Moto;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mimawari-under-test");

/// Where rounds are kept.
pub enum Place {
    Folder,
    Bucket(Arc<Moto>, String),
}

/// A folder to work in, with a /24 of its own on loopback.
pub struct Desk {
    pub dir: TempDir,
    pub place: Place,
    net: u8,
}

/// A port that is open, and how often somebody came.
pub struct Server {
    pub at: SocketAddr,
    pub visits: Arc<AtomicUsize>,
    gone: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).expect("a port that is free");
        let visits = Arc::new(AtomicUsize::new(0));
        let gone = Arc::new(AtomicBool::new(false));
        let (counted, ended) = (Arc::clone(&visits), Arc::clone(&gone));
        let thread = std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
            }
        });
        Self { at, visits, gone, thread: Some(thread) }
    }
}

impl Drop for Server {
    /// The port is closed when this returns.
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(self.at);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: Output) -> Self {
        let text = |b| String::from_utf8(b).expect("UTF-8");
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}\n{}", self.out, self.err);
        self
    }
}

/// The first of 8 ports that are planned everywhere.
pub const PORT: u16 = 18_080;
pub const PORTS: &str = "18080-18087";

impl Desk {
    /// `net`: which /24, since several cases run at once. A plan's order depends on it.
    pub fn new(place: Place, net: u8) -> Self {
        let desk = Self { dir: tempfile::tempdir().expect("a folder"), place, net };
        desk.write("baseline/b.toml", "version = 1\nowner = \"@test/team\"\n");
        desk.configure(20_000, "");
        desk
    }

    /// Writes the configuration: 256 addresses, 8 ports.
    pub fn configure(&self, rate: u32, more: &str) {
        let rounds = match &self.place {
            Place::Folder => "url = \"store\"\n".to_owned(),
            Place::Bucket(moto, bucket) => format!(
                "url = \"s3://{bucket}/team/rounds\"\nregion = \"us-east-1\"\nendpoint = \"http://{}\"\n",
                moto.at
            ),
        };
        let text = format!(
            "version = 1\n[scope]\nallow = [\"127.86.{}.0/24\"]\nauthorised_by = \"TEST-1\"\n\
             [scan]\nmethod = \"connect\"\nports = \"{PORTS}\"\nrate = {rate}\nrate_per_host = 0\n\
             rate_per_network = 0\n[http]\nenabled = false\n[rounds]\n{rounds}save_every = \"1s\"\n{more}",
            self.net
        );
        self.write("patrol.toml", &text);
    }

    pub fn address(&self, n: u8) -> IpAddr {
        IpAddr::from(Ipv4Addr::new(127, 86, self.net, n))
    }

    /// Opens a port: address number `n`, the `port`-th of the planned ones.
    pub fn server(&self, n: u8, port: u16) -> Server {
        Server::start(SocketAddr::new(self.address(n), PORT + port))
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

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", "AKIDNOTASECRET")
            .env("AWS_SECRET_ACCESS_KEY", "not-a-secret-key")
            .env("MIMAWARI_WORK", self.path("work"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        Said::of(self.command(args).output().expect("its output"))
    }

    /// `round STEP --round ID …`
    pub fn round(&self, step: &str, id: &str, more: &[&str]) -> Said {
        self.run(&[&["round", step, "--round", id], more].concat())
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().expect("starting the program")
    }

    /// Scans all shards, side by side.
    #[track_caller]
    pub fn scan_all(&self, id: &str, shards: impl IntoIterator<Item = u32>, of: u32) {
        let start = |i| {
            let shard = format!("{i}/{of}");
            self.start(&["round", "scan", "--round", id, "--shard", &shard])
        };
        let all: Vec<Child> = shards.into_iter().map(start).collect();
        for child in all {
            Said::of(child.wait_with_output().expect("its output")).expect(0);
        }
    }

    /// The names of the round's objects, sorted.
    pub fn objects(&self, id: &str) -> Vec<String> {
        let mut names = match &self.place {
            Place::Folder => {
                let mut names = Vec::new();
                let base = self.path("store").join(id);
                walk(&base, &base, &mut names);
                names
            }
            Place::Bucket(moto, bucket) => {
                let prefix = format!("team/rounds/{id}/");
                let list = moto.ask("GET", &format!("/{bucket}?list-type=2&prefix={prefix}"));
                let keys = list.split("<Key>").skip(1).filter_map(|k| k.split("</Key>").next());
                keys.filter_map(|k| Some(k.strip_prefix(&prefix)?.to_owned())).collect()
            }
        };
        names.sort();
        names
    }

    pub fn object(&self, id: &str, name: &str) -> Vec<u8> {
        match &self.place {
            Place::Folder => fs::read(self.path("store").join(id).join(name))
                .unwrap_or_else(|e| panic!("{name}: {e}")),
            Place::Bucket(moto, bucket) => moto.bytes(bucket, &format!("team/rounds/{id}/{name}")),
        }
    }

    pub fn json(&self, id: &str, name: &str) -> Value {
        serde_json::from_slice(&self.object(id, name)).expect("JSON")
    }

    pub fn put(&self, id: &str, name: &str, bytes: &[u8]) {
        match &self.place {
            Place::Folder => {
                let path = self.path("store").join(id).join(name);
                fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
                fs::write(path, bytes).expect("a file");
            }
            Place::Bucket(moto, bucket) => {
                moto.put(bucket, &format!("team/rounds/{id}/{name}"), bytes);
            }
        }
    }

    /// Waits until an attempt at shard `i` has saved something: the newest save.
    pub fn saved(&self, id: &str, i: u32) -> String {
        let begun = Instant::now();
        loop {
            let folder = format!("shards/{i:05}/");
            let is = |n: &&String| n.starts_with(&folder) && n.contains("/save-");
            if let Some(name) = self.objects(id).iter().rfind(is) {
                return name.clone();
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "nothing is saved");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The findings of a verdict: what, where, state.
    pub fn findings(verdict: &Value) -> BTreeMap<String, String> {
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let all = verdict["findings"].as_array().into_iter().flatten();
        all.map(|f| {
            (format!("{} {}:{}", text(&f["id"]), text(&f["ip"]), f["port"]), text(&f["state"]))
        })
        .collect()
    }
}

fn walk(base: &Path, dir: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(base, &path, names);
        } else if !path.to_string_lossy().contains('#') {
            let name = path.strip_prefix(base).expect("below it");
            names.push(name.to_string_lossy().into_owned());
        }
    }
}

pub fn signal(child: &Child, signal: Signal) {
    kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).expect("a signal");
}

/// The lines that a program writes to stderr, as they come.
pub fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}
