//! A network namespace of our own, so that no frame can get out.

use std::fs;

use nix::sched::{CloneFlags, unshare};

/// Puts the calling process, which must still have one thread, into a network namespace of its own,
/// and into a user namespace if it is not root.
pub fn enter() -> Result<(), String> {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    let mut flags = CloneFlags::CLONE_NEWNET;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|e| {
        format!(
            "no network namespace may be made ({e}). Remedy: run the tests as root, or allow user \
             namespaces (sysctl kernel.unprivileged_userns_clone=1, and no seccomp or AppArmor \
             profile against them); MIMAWARI_LAB=skip leaves these tests out and counts them"
        )
    })?;
    if !uid.is_root() {
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("0 {uid} 1")),
            ("gid_map", format!("0 {gid} 1")),
        ] {
            fs::write(format!("/proc/self/{file}"), text).map_err(|e| format!("{file}: {e}"))?;
        }
    }
    // Devices made later say nothing of their own accord. A kernel without IPv6 is silent anyhow.
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    Ok(())
}
