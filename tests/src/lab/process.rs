//! Running the program in the lab.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Lab;

/// The program with its arguments, to be run in the scanner's namespace.
pub struct Program<'a> {
    lab: &'a Lab,
    command: Command,
    without_net_raw: bool,
}

/// How a program ended.
#[derive(Debug)]
pub struct Output {
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Asserts the exit status, showing everything if it is another.
    ///
    /// # Panics
    /// If the status is another one.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

impl<'a> Program<'a> {
    pub(super) fn new(lab: &'a Lab, binary: &str) -> Self {
        let mut command = Command::new(binary);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { lab, command, without_net_raw: false }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// In this folder.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// With this variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// Without CAP_NET_RAW, as an ordinary user would run it.
    #[must_use]
    pub fn without_net_raw(mut self) -> Self {
        self.without_net_raw = true;
        self
    }

    /// Begins.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut self) -> Running {
        let drop = self.without_net_raw;
        let child = self.lab.scanner.run(|| {
            if drop {
                // What is not in the bounding set cannot be had again by exec, not even by root.
                // It is this thread's alone, and the thread ends here.
                caps::drop(None, caps::CapSet::Bounding, caps::Capability::CAP_NET_RAW)
                    .expect("dropping a capability");
            }
            self.command.spawn().expect("starting the program")
        });
        Running { child }
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(self) -> Output {
        self.start().wait()
    }
}

/// A running program; killed when dropped.
pub struct Running {
    child: Child,
}

impl Running {
    /// Sends a signal.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a signal");
    }

    /// What the kernel says of each of its threads (`/proc/PID/task/TID/status`).
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn threads(&self) -> Vec<String> {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        // A thread may end meanwhile.
        tasks.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("status")).ok()).collect()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When its output cannot be read.
    #[must_use]
    pub fn wait(mut self) -> Output {
        // Both pipes are read at once, so that a full one never blocks the program.
        let (mut out, mut err) = (self.child.stdout.take(), self.child.stderr.take());
        let read = |pipe: &mut dyn Read| {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).expect("its output");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = std::thread::scope(|s| {
            let err = s.spawn(|| err.as_mut().map(|e| read(e)).unwrap_or_default());
            let out = out.as_mut().map(|o| read(o)).unwrap_or_default();
            (out, err.join().expect("reading stderr"))
        });
        let status = self.child.wait().expect("its status");
        Output { status: status.code(), stdout, stderr }
    }

    /// Waits until the file holds something that `f` finds true.
    ///
    /// # Panics
    /// When the program ends before that.
    pub fn wait_until(&mut self, path: &Path, f: impl Fn(&str) -> bool) {
        self.wait_for(path, |path| std::fs::read_to_string(path).is_ok_and(|text| f(&text)));
    }

    /// Waits until the file is there.
    ///
    /// # Panics
    /// When the program ends before that.
    pub fn wait_until_exists(&mut self, path: &Path) {
        self.wait_for(path, Path::exists);
    }

    fn wait_for(&mut self, path: &Path, f: impl Fn(&Path) -> bool) {
        assert!(
            self.reaches(|| f(path)),
            "the program ended before {} was as expected",
            path.display()
        );
    }

    /// Waits until something is true; `false` when the program ends before that.
    ///
    /// # Panics
    /// When its status cannot be read.
    pub fn reaches(&mut self, f: impl Fn() -> bool) -> bool {
        while !f() {
            if self.child.try_wait().expect("its status").is_some() {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
