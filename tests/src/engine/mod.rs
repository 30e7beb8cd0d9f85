//! A Docker engine of the tests' own, for what only a container shows: file capabilities, process 1,
//! a read-only root.
//!
//! It runs in the caller's network namespace, which must have no way out; its bridges, firewall
//! chains and mounts stay in the namespaces that [`crate::lab::enter`] made. Images are made of this
//! machine's own files ([`Image`]), so nothing is pulled.

mod image;

pub use image::Image;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The client that belongs to the engine; another may be first in PATH.
const CLIENT: &str = "/usr/bin/docker";
/// How long the engine may take to start: a limit for a machine at its limits.
const READY: Duration = Duration::from_secs(90);
/// How long it may take to end.
const END: Duration = Duration::from_secs(30);

/// A running engine; its containers, its processes and its files end with it.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    /// Its data, its socket, its log.
    dir: tempfile::TempDir,
}

/// How a command of the client ended.
#[derive(Debug)]
pub struct Said {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Asserts the exit status, showing everything if it is another.
    ///
    /// # Panics
    /// If the status is another one.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Both outputs.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Engine {
    /// Starts one in the calling thread's network namespace. The thread must outlive it: the kernel
    /// ends the engine when its starter dies, so that even a killed test leaves none behind.
    ///
    /// # Panics
    /// When it does not start; the message says what to install, or shows its log.
    #[must_use]
    pub fn start() -> Self {
        assert!(
            nix::unistd::getuid().is_root(),
            "a Docker engine needs root: run the suite as root"
        );
        let dir = tempfile::Builder::new().prefix("engine-").tempdir().expect("a folder");
        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
        let at = |name: &str| dir.path().join(name);
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "dockerd"])
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("socket").display()))
            // There is no systemd that could make control groups.
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("setpriv: {e}; install util-linux and docker.io"));
        let mut engine = Self { child, dir };
        let end = Instant::now() + READY;
        while engine.docker(["info", "--format", "{{.ID}}"]).status != 0 {
            let ended = engine.child.try_wait().expect("its status");
            assert!(
                ended.is_none() && Instant::now() < end,
                "the engine did not start ({ended:?}); it needs the package docker.io\n{}",
                engine.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        engine
    }

    /// What the engine logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// For `DOCKER_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("socket").display())
    }

    /// A command that talks to this engine, and to nothing else that the environment may name.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for key in ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_BUILDKIT", "DOCKER_CONFIG"] {
            command.env_remove(key);
        }
        command.env("DOCKER_HOST", self.host()).env("DOCKER", CLIENT).stdin(Stdio::null());
        command.env("PATH", path());
        command
    }

    /// Runs the client to its end.
    ///
    /// # Panics
    /// When there is no client.
    #[must_use]
    pub fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        said(self.command(CLIENT).args(args))
    }

    /// Runs the client to its end, which must be a good one, and returns what it printed, without
    /// the last end of line.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ask<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.docker(args).expect(0).stdout.trim_end().to_owned()
    }

    /// Starts a container in the background. `args` are those of `docker run` without `--detach`.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Container<'_> {
        let mut command = self.command(CLIENT);
        let id = said(command.args(["run", "--detach"]).args(args)).expect(0).stdout;
        Container { engine: self, id: id.trim().to_owned() }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Their shims would outlive the engine.
        let all = self.docker(["ps", "--all", "--quiet", "--no-trunc"]).stdout;
        if !all.trim().is_empty() {
            let _ = self
                .docker(["rm", "--force", "--volumes"].into_iter().chain(all.split_whitespace()));
        }
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let end = Instant::now() + END;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        unmount_below(self.dir.path());
    }
}

/// Takes away what is still mounted there, the deepest first, so that the files can be removed.
fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut below: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|l| Some(PathBuf::from(l.split(' ').nth(1)?)))
        .filter(|p| p.starts_with(dir))
        .collect();
    below.sort_by_key(|p| std::cmp::Reverse(p.components().count()));
    for path in below {
        let _ = nix::mount::umount2(&path, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// With the folders of the system's own programs, which an ordinary PATH leaves out.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin:/usr/bin:/bin", std::env::var("PATH").unwrap_or_default())
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started.
pub fn said(command: &mut Command) -> Said {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; the full suite needs it installed"));
    Said {
        status: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// A container that was started in the background; removed when dropped.
#[derive(Debug)]
pub struct Container<'a> {
    engine: &'a Engine,
    /// Its id.
    pub id: String,
}

impl Container<'_> {
    /// Its process on this machine; `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let pid = self.inspect("{{.State.Pid}}").parse().ok()?;
        (pid > 0).then_some(pid)
    }

    /// A field of `docker inspect`.
    #[must_use]
    pub fn inspect(&self, format: &str) -> String {
        self.engine.ask(["inspect", "--format", format, &self.id])
    }

    /// What it printed, both outputs.
    #[must_use]
    pub fn logs(&self) -> String {
        self.engine.docker(["logs", &self.id]).all()
    }

    /// Waits for its end and returns its exit status.
    #[must_use]
    pub fn wait(&self) -> i32 {
        self.engine.ask(["wait", &self.id]).parse().expect("a status")
    }

    /// Waits until its output holds `text`.
    ///
    /// # Panics
    /// When it ends before that.
    pub fn wait_for(&self, text: &str) {
        loop {
            let running = self.pid().is_some();
            let logs = self.logs();
            if logs.contains(text) {
                return;
            }
            assert!(running, "the container ended before it printed {text:?}:\n{logs}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.engine.docker(["rm", "--force", "--volumes", &self.id]);
    }
}
