//! The one capability that a packet sweep needs, and giving it up again (capabilities(7)).

use caps::{CapSet, Capability};
use socket2::{Domain, Socket, Type};

/// Whether this thread may open packet sockets here. The proof is a socket: in a container the
/// capability may belong to another user namespace than the network does.
#[must_use]
pub fn have_net_raw() -> bool {
    // Protocol 0: such a socket receives nothing.
    raise_net_raw() && Socket::new(Domain::PACKET, Type::RAW, None).is_ok()
}

/// Makes the capability effective for the calling thread, if it is permitted and not yet effective
/// (`setcap cap_net_raw=p`). Returns whether it is effective.
pub(super) fn raise_net_raw() -> bool {
    let capability = Capability::CAP_NET_RAW;
    let has = |set| caps::has_cap(None, set, capability).unwrap_or(false);
    has(CapSet::Effective)
        || (has(CapSet::Permitted) && caps::raise(None, CapSet::Effective, capability).is_ok())
}

/// Why this process has no CAP_NET_RAW, as far as the kernel says; each has its own remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingCapability {
    /// Whoever started it took the capability away: no program can have it here (the bounding set).
    TakenAway,
    /// Whoever started it set `no_new_privs`: what files grant does not count.
    NoNewPrivileges,
    /// It is there, and packet sockets are refused all the same: by a seccomp filter, or because the
    /// network belongs to another user namespace.
    Refused,
    /// Nobody gave it.
    NotGranted,
}

impl MissingCapability {
    /// Of this thread.
    #[must_use]
    pub fn find() -> Self {
        Self::read(&std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
    }

    /// From the text of `/proc/PID/status` (proc_pid_status(5)).
    fn read(status: &str) -> Self {
        let value = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
            line.map(str::trim)
        };
        let set = |key: &str| {
            let bits = value(key).and_then(|v| u64::from_str_radix(v, 16).ok());
            bits.map(|bits| bits & Capability::CAP_NET_RAW.bitmask() != 0)
        };
        if set("CapPrm") == Some(true) {
            Self::Refused
        } else if set("CapBnd") == Some(false) {
            Self::TakenAway
        } else if value("NoNewPrivs") == Some("1") {
            Self::NoNewPrivileges
        } else {
            Self::NotGranted
        }
    }

    /// The reason in a few words; `None` where there is nothing to say.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::TakenAway => Some("taken away by what started the program"),
            Self::NoNewPrivileges => Some("no-new-privileges voids the file's capability"),
            Self::Refused => Some("it is there, and packet sockets are refused all the same"),
            Self::NotGranted => None,
        }
    }

    /// What to do about it, as an imperative sentence without a full stop.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::TakenAway => {
                "leave NET_RAW to the container: drop the other capabilities by name instead of ALL \
                 (ECS, Docker), or add NET_RAW after dropping ALL (Docker, Kubernetes); or set \
                 `method = \"connect\"` under [scan]: full connections need no privilege"
            }
            Self::NoNewPrivileges => {
                "start the program without no-new-privileges (Docker: `--security-opt \
                 no-new-privileges`, Kubernetes: `allowPrivilegeEscalation: false`, systemd: \
                 `NoNewPrivileges=`), which voids the file's capability; or set `method = \
                 \"connect\"` under [scan]: full connections need no privilege"
            }
            Self::Refused => {
                "allow `socket(AF_PACKET)` in the container's seccomp profile, and do not run in a \
                 user namespace that does not own the network; or set `method = \"connect\"` under \
                 [scan]: full connections need no privilege"
            }
            Self::NotGranted => {
                "run `setcap cap_net_raw=ep` on the program, or set `method = \"connect\"` under \
                 [scan]: full connections need no privilege"
            }
        }
    }
}

/// Gives up all capabilities of the calling thread but the one that raw sockets need.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn keep_net_raw() -> Result<(), caps::errors::CapsError> {
    let net_raw = Capability::CAP_NET_RAW;
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    for set in [CapSet::Effective, CapSet::Permitted] {
        let mut kept = caps::read(None, set)?;
        kept.retain(|c| *c == net_raw);
        caps::set(None, set, &kept)?;
    }
    Ok(())
}

/// Gives up all capabilities of the calling thread and of what it starts from now on. Sockets that
/// are open stay usable. Other threads keep theirs: capabilities belong to threads.
///
/// # Errors
/// When the kernel refuses.
pub fn drop_all() -> Result<(), caps::errors::CapsError> {
    for set in [CapSet::Ambient, CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_why_the_capability_is_missing() {
        let status = |bounding: &str, no_new: u8| {
            format!(
                "Name:\tmimawari\nCapPrm:\t0000000000000000\nCapBnd:\t{bounding}\nNoNewPrivs:\t{no_new}\n"
            )
        };
        assert_eq!(
            MissingCapability::read(&status("0000000000000000", 0)),
            MissingCapability::TakenAway
        );
        assert_eq!(
            MissingCapability::read(&status("00000000a80405fb", 1)),
            MissingCapability::TakenAway
        );
        assert_eq!(
            MissingCapability::read(&status("00000000a80425fb", 1)),
            MissingCapability::NoNewPrivileges
        );
        assert_eq!(
            MissingCapability::read(&status("0000000000002000", 0)),
            MissingCapability::NotGranted
        );
        assert_eq!(
            MissingCapability::read("CapPrm:\t0000000000002000\n"),
            MissingCapability::Refused
        );
        assert_eq!(MissingCapability::read(""), MissingCapability::NotGranted);
    }

    #[test]
    fn what_is_dropped_is_gone_for_this_thread_alone() {
        let before = have_net_raw();
        std::thread::spawn(|| {
            drop_all().unwrap();
            assert!(!have_net_raw());
            for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
                assert!(caps::read(None, set).unwrap().is_empty());
            }
        })
        .join()
        .unwrap();
        assert_eq!(have_net_raw(), before);
    }
}
