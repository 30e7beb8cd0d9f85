//! Receiving: a TPACKET_V3 ring, or plain `recv` where the kernel refuses one.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::block;
use crate::device::Device;
use crate::filter::Instruction;
use crate::mapping::Mapping;
use crate::socket::{bind_link, get_option, set_option};

const ETH_P_ALL: u16 = 3;
/// `PACKET_IGNORE_OUTGOING` (Linux 4.20); newer than some versions of libc.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

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
pub struct Ring {
    socket: Socket,
    mapping: Option<Mapping>,
    next: usize,
    /// For `recv`.
    buffer: Vec<u8>,
}

impl Ring {
    /// Opens a ring on an interface. An empty filter passes everything.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW; any other error of the system.
    pub fn open(device: &Device, filter: &[Instruction], config: RingConfig) -> io::Result<Self> {
        // Protocol 0: nothing is received until everything is set up, so nothing foreign is queued.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        if !filter.is_empty() {
            attach(&socket, filter)?;
        }
        // On `lo` every packet would be seen twice. An older kernel does not know it; then it is.
        let _ = set_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32);
        let mapping = map(&socket, config).ok();
        if mapping.is_none() {
            // As much room as may be had without further privilege.
            let _ = socket.set_recv_buffer_size(8 << 20);
        }
        bind_link(&socket, device.index, ETH_P_ALL)?;
        Ok(Self { socket, mapping, next: 0, buffer: vec![0; 1 << 16] })
    }

    /// Whether there is a ring; if not, frames are copied one by one.
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        self.mapping.is_some()
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
        let mut n = 0;
        let Some(mapping) = &mut self.mapping else {
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
            return Ok(n);
        };
        for _ in 0..mapping.blocks() {
            let Some(bytes) = mapping.filled(self.next) else { break };
            n += block::walk(bytes, f);
            mapping.release(self.next);
            self.next = (self.next + 1) % mapping.blocks();
        }
        Ok(n)
    }

    /// What was counted since the last call; asking resets the kernel's counters.
    ///
    /// # Errors
    /// Any error of the system.
    pub fn statistics(&mut self) -> io::Result<RingStatistics> {
        // A ring of version 3 writes a third counter behind the two.
        let s: [u32; 3] = get_option(&self.socket, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(RingStatistics { packets: u64::from(s[0]), drops: u64::from(s[1]) })
    }
}

fn map(socket: &Socket, config: RingConfig) -> io::Result<Mapping> {
    const FRAME: u32 = 2048;
    if !config.block_size.is_power_of_two() || config.block_size < 4096 || config.blocks == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    set_option(
        socket,
        libc::SOL_PACKET,
        libc::PACKET_VERSION,
        &(libc::tpacket_versions::TPACKET_V3 as libc::c_int),
    )?;
    let request = libc::tpacket_req3 {
        tp_block_size: config.block_size,
        tp_block_nr: config.blocks,
        tp_frame_size: FRAME,
        tp_frame_nr: config.block_size / FRAME * config.blocks,
        tp_retire_blk_tov: u32::try_from(config.retire.as_millis()).unwrap_or(u32::MAX).max(1),
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
    let mapped = Mapping::of_ring(socket, config.block_size as usize, config.blocks as usize);
    if mapped.is_err() {
        // Without the ring the socket must queue again.
        let none = libc::tpacket_req3 {
            tp_block_size: 0,
            tp_block_nr: 0,
            tp_frame_size: 0,
            tp_frame_nr: 0,
            ..request
        };
        let _ = set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &none);
    }
    mapped
}

fn attach(socket: &Socket, filter: &[Instruction]) -> io::Result<()> {
    let program: Vec<libc::sock_filter> = filter
        .iter()
        .map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k })
        .collect();
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // The kernel copies and checks the program within the call; `program`'s vector lives that long.
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
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
