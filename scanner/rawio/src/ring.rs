//! Receiving: a TPACKET_V3 ring, or plain `recv` where the kernel refuses one.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, SockFilter, Socket, Type};

use crate::block;
use crate::device::InterfaceFacts;
use crate::filter::BpfInstruction;
use crate::mapping::RingMapping;
use crate::socket::{bind_link, get_option, set_option};

const ETH_P_ALL: u16 = 3;
/// `PACKET_IGNORE_OUTGOING` (Linux 4.20); newer than some versions of libc.
pub(crate) const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
/// A group does not inherit that from its sockets and has to be told (Linux 5.11; older ones take no notice).
const PACKET_FANOUT_FLAG_IGNORE_OUTGOING: u32 = 0x4000;

/// Frames go to the ring of a group by the hash of their addresses and ports; to another one when that
/// one is full. The kernel finds a number for the group that nobody uses (packet(7)).
const FANOUT: u32 = libc::PACKET_FANOUT_HASH
    | libc::PACKET_FANOUT_FLAG_ROLLOVER
    | libc::PACKET_FANOUT_FLAG_UNIQUEID
    | PACKET_FANOUT_FLAG_IGNORE_OUTGOING;

/// The size of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingConfig {
    /// Bytes of a block; a power of two and a multiple of the page size.
    pub block_size: u32,
    /// Number of blocks.
    pub blocks: u32,
    /// After how long a block that is not full is handed over.
    pub retire: Duration,
}

impl Default for RingConfig {
    /// 8 MiB: a tenth of a second of answers at a million a second.
    fn default() -> Self {
        Self { block_size: 1 << 18, blocks: 32, retire: Duration::from_millis(4) }
    }
}

/// What a ring counted since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingStatistics {
    /// Frames that passed the filter, lost ones included.
    pub packets: u64,
    /// Frames that found no room.
    pub drops: u64,
}

/// Frames of one interface that pass a filter.
#[derive(Debug)]
pub struct ReceiveRing {
    socket: Socket,
    /// The ring, or why the kernel refused it.
    mapping: Result<RingMapping, io::Error>,
    next: usize,
    /// For `recv`.
    buffer: Vec<u8>,
}

impl ReceiveRing {
    /// Opens a ring on an interface. An empty filter passes everything.
    ///
    /// # Errors
    /// `InvalidInput` for sizes that no ring can have or a program that the kernel does not take;
    /// `PermissionDenied` without CAP_NET_RAW; any other error of the system.
    pub fn open(
        device: &InterfaceFacts,
        filter: &[BpfInstruction],
        config: RingConfig,
    ) -> io::Result<Self> {
        let request = build_ring_request(config)?;
        // Protocol 0: nothing is received until everything is set up, so nothing foreign is queued.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        if !filter.is_empty() {
            attach(&socket, filter)?;
        }
        // On `lo` every packet would be seen twice. An older kernel does not know it; then it is.
        let _ = set_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32);
        let mapping = map(&socket, &request);
        if mapping.is_err() {
            // As much room as may be had without further privilege.
            let _ = socket.set_recv_buffer_size(8 << 20);
        }
        bind_link(&socket, device.index, ETH_P_ALL)?;
        Ok(Self { socket, mapping, next: 0, buffer: vec![0; 1 << 16] })
    }

    /// Opens rings on one interface that share its frames: each frame comes in exactly one of them, once
    /// all are open. Fewer than `n` where the kernel does not share, at least one.
    ///
    /// # Errors
    /// As [`ReceiveRing::open`].
    pub fn open_group(
        device: &InterfaceFacts,
        filter: &[BpfInstruction],
        config: RingConfig,
        n: usize,
    ) -> io::Result<Vec<Self>> {
        let first = Self::open(device, filter, config)?;
        let mut rings = vec![first];
        let shared = n > 1 && join(&rings[0].socket, (FANOUT << 16).cast_signed()).is_ok();
        if shared {
            // Number, type and flags of the group, for the others to join it.
            let group = get_option(&rings[0].socket, libc::SOL_PACKET, libc::PACKET_FANOUT, 0i32)?;
            while rings.len() < n {
                let ring = Self::open(device, filter, config)?;
                if join(&ring.socket, group).is_err() {
                    break;
                }
                rings.push(ring);
            }
        }
        Ok(rings)
    }

    /// Whether there is a ring; if not, frames are copied one by one.
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        self.mapping.is_ok()
    }

    /// Why there is no ring, if there is none.
    #[must_use]
    pub const fn refusal(&self) -> Option<&io::Error> {
        match &self.mapping {
            Ok(_) => None,
            Err(e) => Some(e),
        }
    }

    /// Why there is no ring, if there is none, when it is no longer needed.
    #[must_use]
    pub fn into_refusal(self) -> Option<io::Error> {
        self.mapping.err()
    }

    /// Waits at most `timeout` for frames, hands all that are there to `f`, from the link header on,
    /// and returns their number.
    ///
    /// # Errors
    /// `NetworkDown` when the interface went down; any other error of the system.
    pub fn receive(&mut self, timeout: Duration, f: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let n = self.drain(f)?;
        if n > 0 {
            return Ok(n);
        }
        if wait(&self.socket, timeout)? {
            // A ring reports an error of its interface by waking up with nothing to read.
            if let Some(e) = self.socket.take_error()? {
                return Err(e);
            }
        }
        self.drain(f)
    }

    fn drain(&mut self, f: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        if let Ok(mapping) = &mut self.mapping {
            return Ok(drain_blocks(mapping, &mut self.next, f));
        }
        let mut n = 0;
        // Bounded, so that a flood cannot keep the caller from its other work.
        while n < 4096 {
            match (&self.socket).read(&mut self.buffer) {
                Ok(length) => {
                    f(&self.buffer[..length]);
                    n += 1;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(n)
    }

    /// What was counted since the last call; asking resets the kernel's counters.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn statistics(&mut self) -> io::Result<RingStatistics> {
        // A ring of version 3 writes a third counter behind the two.
        let s = get_option(&self.socket, libc::SOL_PACKET, libc::PACKET_STATISTICS, [0u32; 3])?;
        Ok(RingStatistics { packets: u64::from(s[0]), drops: u64::from(s[1]) })
    }
}

/// Hands over the frames of all blocks that are ours, in order, at most once around the ring so that
/// a flood cannot keep the caller from its other work. `next` is the block that is filled next.
fn drain_blocks(mapping: &mut RingMapping, next: &mut usize, f: &mut dyn FnMut(&[u8])) -> usize {
    let mut n = 0;
    for _ in 0..mapping.blocks() {
        let Some(bytes) = mapping.filled(*next) else { break };
        n += block::walk(bytes, f);
        mapping.release(*next);
        *next = (*next + 1) % mapping.blocks();
    }
    n
}

/// The kernel's request for a ring, or `InvalidInput` for one that cannot be.
fn build_ring_request(config: RingConfig) -> io::Result<libc::tpacket_req3> {
    /// The kernel checks that frames fill the blocks; TPACKET_V3 then packs them as they come.
    const FRAME: u32 = 2048;
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    if !config.block_size.is_power_of_two() || config.block_size < 4096 {
        return Err(invalid("a ring's block size must be a power of two and at least 4096"));
    }
    let frames = (config.block_size / FRAME).checked_mul(config.blocks).filter(|n| *n > 0);
    let frames = frames.ok_or_else(|| invalid("a ring cannot have that many blocks"))?;
    Ok(libc::tpacket_req3 {
        tp_block_size: config.block_size,
        tp_block_nr: config.blocks,
        tp_frame_size: FRAME,
        tp_frame_nr: frames,
        tp_retire_blk_tov: u32::try_from(config.retire.as_millis()).unwrap_or(u32::MAX).max(1),
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    })
}

fn map(socket: &Socket, request: &libc::tpacket_req3) -> io::Result<RingMapping> {
    set_option(
        socket,
        libc::SOL_PACKET,
        libc::PACKET_VERSION,
        &(libc::tpacket_versions::TPACKET_V3 as libc::c_int),
    )?;
    set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, request)?;
    let mapped =
        RingMapping::of_ring(socket, request.tp_block_size as usize, request.tp_block_nr as usize);
    if mapped.is_err() {
        // Without the ring the socket must queue again.
        let none = libc::tpacket_req3 {
            tp_block_size: 0,
            tp_block_nr: 0,
            tp_frame_size: 0,
            tp_frame_nr: 0,
            ..*request
        };
        let _ = set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &none);
    }
    mapped
}

fn join(socket: &Socket, group: libc::c_int) -> io::Result<()> {
    set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &group)
}

fn attach(socket: &Socket, filter: &[BpfInstruction]) -> io::Result<()> {
    // The kernel counts instructions in 16 bits; more would be cut without a word.
    u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program: Vec<SockFilter> =
        filter.iter().map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k)).collect();
    socket.attach_filter(&program)
}

/// Waits until the socket is readable or has an error; `false` when the time is over.
fn wait(socket: &Socket, timeout: Duration) -> io::Result<bool> {
    let mut fd = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up, so that a short wait is none that spins.
    let ms = timeout.as_micros().div_ceil(1000);
    let ms = libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX);
    // SAFETY: `poll` reads and writes one `pollfd` on our stack for the time of the call. The standard
    // library cannot wait for a descriptor.
    let r = unsafe { libc::poll(&raw mut fd, 1, ms) };
    match r {
        0 => Ok(false),
        1.. => Ok(true),
        _ => match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::Interrupted => Ok(false),
            e => Err(e),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: usize = 4096;

    /// What the kernel would do: fills the blocks in turn, and loses what finds the next one taken.
    fn fill(mapping: &mut RingMapping, at: &mut usize, frames: &[Vec<u8>]) -> bool {
        if mapping.filled(*at).is_some() {
            return false;
        }
        let mut bytes = block::build(frames);
        bytes[8..12].copy_from_slice(&libc::TP_STATUS_USER.to_ne_bytes());
        mapping.fill(*at, &bytes);
        *at = (*at + 1) % mapping.blocks();
        true
    }

    proptest! {
        #[test]
        fn every_frame_comes_once_and_in_order(
            blocks in 1usize..6,
            // Blocks that are filled between two looks.
            turns in proptest::collection::vec(proptest::collection::vec(1usize..20, 0..8), 1..12),
        ) {
            let mut mapping = RingMapping::anonymous(BLOCK, blocks).unwrap();
            let (mut kernel, mut next, mut number) = (0, 0, 0u32);
            let (mut sent, mut seen) = (Vec::new(), Vec::new());
            for turn in turns {
                for frames in turn {
                    let frames: Vec<Vec<u8>> = (0..frames)
                        .map(|_| {
                            number += 1;
                            number.to_be_bytes().repeat(1 + number as usize % 20)
                        })
                        .collect();
                    if fill(&mut mapping, &mut kernel, &frames) {
                        sent.extend(frames);
                    }
                }
                let before = seen.len();
                let n = drain_blocks(&mut mapping, &mut next, &mut |f| seen.push(f.to_vec()));
                prop_assert_eq!(n, seen.len() - before);
                prop_assert_eq!(&seen, &sent);
                // All were handed back: there is nothing more, and room for a whole round.
                prop_assert_eq!(drain_blocks(&mut mapping, &mut next, &mut |_| ()), 0);
            }
        }

        #[test]
        fn a_hostile_block_does_not_stop_the_ring(
            junk in proptest::collection::vec(any::<u8>(), BLOCK),
            head in proptest::collection::vec(0u32..5000, 3),
        ) {
            let mut mapping = RingMapping::anonymous(BLOCK, 2).unwrap();
            let mut junk = junk;
            for (at, x) in [12, 16, 4].into_iter().zip(head) {
                junk[at..at + 4].copy_from_slice(&x.to_ne_bytes());
            }
            junk[8..12].copy_from_slice(&libc::TP_STATUS_USER.to_ne_bytes());
            mapping.fill(0, &junk);
            let (mut kernel, mut next) = (1, 0);
            prop_assert!(fill(&mut mapping, &mut kernel, &[vec![9; 60]]));
            let mut last = Vec::new();
            drain_blocks(&mut mapping, &mut next, &mut |f| last = f.to_vec());
            prop_assert_eq!(last, vec![9; 60]);
            prop_assert!(mapping.filled(0).is_none() && mapping.filled(1).is_none());
        }
    }

    #[test]
    fn impossible_sizes_are_refused_before_anything_is_opened() {
        let lo = InterfaceFacts::by_name("lo").unwrap();
        for (block_size, blocks) in
            [(0, 1), (2048, 1), (4097, 1), (1 << 18, 0), (1 << 31, 1 << 12), (1 << 18, u32::MAX)]
        {
            let config = RingConfig { block_size, blocks, ..RingConfig::default() };
            let e = ReceiveRing::open(&lo, &[], config).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::InvalidInput, "{config:?}");
        }
    }

    #[test]
    fn the_default_ring_is_of_the_size_that_it_says() {
        let r = build_ring_request(RingConfig::default()).unwrap();
        assert_eq!(r.tp_block_size * r.tp_block_nr, 8 << 20);
        assert_eq!(r.tp_frame_nr * r.tp_frame_size, r.tp_block_size * r.tp_block_nr);
        let long = RingConfig { retire: Duration::MAX, ..RingConfig::default() };
        assert_eq!(build_ring_request(long).unwrap().tp_retire_blk_tov, u32::MAX);
    }
}
