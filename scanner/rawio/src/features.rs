//! What the kernel offers packet sockets on an interface: tried, not guessed from its version.

use std::io;

use socket2::{Domain, Socket, Type};

use crate::device::InterfaceFacts;
use crate::filter;
use crate::ring::{PACKET_IGNORE_OUTGOING, ReceiveRing, RingConfig};
use crate::socket::set_option;

/// What worked. The reason stands where something did not.
#[derive(Debug)]
pub struct KernelFeatures {
    /// The mapped TPACKET_V3 ring, its size in bytes.
    pub ring: Result<u64, io::Error>,
    /// Several rings share an interface's frames (PACKET_FANOUT).
    pub fanout: bool,
    /// Frames of our own are not received again (`PACKET_IGNORE_OUTGOING`, Linux 4.20).
    pub ignore_outgoing: Result<(), io::Error>,
    /// Frames go past the queueing discipline (PACKET_QDISC_BYPASS).
    pub qdisc_bypass: Result<(), io::Error>,
}

/// Tries everything on an interface. Nothing is sent, and the filter lets next to nothing in.
///
/// # Errors
/// When no packet socket can be had at all: `PermissionDenied` without CAP_NET_RAW; any other error
/// of the system.
pub fn probe_features(device: &InterfaceFacts, config: RingConfig) -> io::Result<KernelFeatures> {
    // Replies to one port, which nobody asked from.
    let program = filter::build_reply_filter(device.kind, 1, 1);
    let ring = ReceiveRing::open(device, &program, config)?;
    let size = u64::from(config.block_size) * u64::from(config.blocks);
    let ring = match ring.into_refusal() {
        None => Ok(size),
        Some(e) => Err(e),
    };
    let fanout = ReceiveRing::open_group(device, &program, config, 2).is_ok_and(|g| g.len() == 2);
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    Ok(KernelFeatures {
        ring,
        fanout,
        ignore_outgoing: set_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32),
        qdisc_bypass: set_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1i32),
    })
}
