//! Namespaces: the harness's own, and one network namespace for each end of a link.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sched::{CloneFlags, setns, unshare};

/// Puts the calling process, which must still have one thread, into a user, mount and network
/// namespace of its own. As root the user namespace is left out.
///
/// # Errors
/// A sentence with the remedy, when the system does not allow it.
pub fn enter() -> Result<(), String> {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|e| {
        format!(
            "cannot make namespaces ({e}): run the tests as root, allow unprivileged user namespaces \
             (sysctl kernel.unprivileged_userns_clone=1), or set MIMAWARI_LAB=skip to leave the lab out"
        )
    })?;
    if !uid.is_root() {
        let write = |path: &str, text: String| {
            fs::write(path, text).map_err(|e| format!("cannot write {path}: {e}"))
        };
        write("/proc/self/setgroups", "deny".to_owned())?;
        write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    // Mounts that tests make (a small disk) must not show outside.
    nix::mount::mount(
        None::<&str>,
        "/",
        None::<&str>,
        nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(|e| format!("cannot make the mounts private: {e}"))
}

/// A network namespace. It lives as long as this, its processes and its sockets.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// A new, empty one with its loopback up.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        // A namespace is entered thread by thread; this thread makes it and ends.
        let file = std::thread::scope(|s| {
            s.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
                super::link::set_up("lo", true);
                File::open("/proc/thread-self/ns/net").expect("its file")
            })
            .join()
            .expect("the thread that makes a namespace")
        });
        Self { file }
    }

    /// Runs something inside, on a thread of its own.
    ///
    /// # Panics
    /// When the namespace cannot be entered, or when `f` panics.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|s| {
            let inside = s.spawn(|| {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).expect("entering a namespace");
                f()
            });
            match inside.join() {
                Ok(r) => r,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// The file descriptor, for moving links.
    #[must_use]
    pub fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Sets a `net.*` setting of this namespace, such as `ipv4/ip_forward`.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.run(|| {
            fs::write(format!("/proc/sys/net/{name}"), value)
                .unwrap_or_else(|e| panic!("net/{name} = {value}: {e}"));
        });
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}
