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
