//! Sending batches.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::batch::{CAPACITY, SendBatch};
use crate::device::{InterfaceFacts, LinkKind};
use crate::socket::{bind_link, link_address, set_option};

/// An Ethernet header.
const ETHERNET: usize = 14;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// What became of a batch: the first `sent` frames left; if that is not all, `error` says why the
/// one behind them did not.
#[derive(Debug)]
pub struct SendOutcome {
    /// Frames that left.
    pub sent: usize,
    /// Why it stopped there.
    pub error: Option<io::Error>,
}

/// Sends frames without waiting for room: a full queue is an error for the caller to pace by.
#[derive(Debug)]
pub struct FrameSender {
    way: SendMode,
    calls: SendCalls,
}

#[derive(Debug)]
enum SendMode {
    Packet { socket: Socket, index: u32, kind: LinkKind },
    RawIp { v4: Socket, v6: Option<Socket> },
}

impl FrameSender {
    /// Sends whole frames on an interface, past its queueing discipline where the kernel allows it.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW; any other error of the system.
    pub fn packet(device: &InterfaceFacts) -> io::Result<Self> {
        // Protocol 0: this socket receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        // Without it frames go through the queueing discipline: slower, and no worse.
        let _ = set_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1i32);
        // Bound, no frame needs an address. Protocol 0 again, so that the kernel goes on receiving
        // nothing and reads each frame's protocol from its Ethernet header.
        bind_link(&socket, device.index, 0)?;
        Ok(Self {
            way: SendMode::Packet { socket, index: device.index, kind: device.kind },
            calls: SendCalls::new(),
        })
    }

    /// Sends IP packets, header included, along the kernel's routes: the way onto `lo`.
    ///
    /// # Errors
    /// As [`packet`](Self::packet). A machine without IPv6 gets a sender for IPv4 alone.
    pub fn raw_ip() -> io::Result<Self> {
        let raw = |domain| Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)));
        let v4 = raw(Domain::IPV4)?;
        set_option(&v4, libc::IPPROTO_IP, libc::IP_HDRINCL, &1i32)?;
        let v6 = match raw(Domain::IPV6) {
            Ok(v6) => {
                set_option(&v6, libc::IPPROTO_IPV6, libc::IPV6_HDRINCL, &1i32)?;
                Some(v6)
            }
            Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(e) => return Err(e),
        };
        Ok(Self { way: SendMode::RawIp { v4, v6 }, calls: SendCalls::new() })
    }

    /// Sends a batch, in order, up to the first frame that the system refuses.
    pub fn send(&mut self, batch: &SendBatch) -> SendOutcome {
        self.send_from(batch, 0)
    }

    /// Sends the frames of a batch from `first` on, in order, up to the first that the system refuses.
    /// `sent` counts from `first`: to go on later, add it; to leave the refused frame out, add one more.
    pub fn send_from(&mut self, batch: &SendBatch, first: usize) -> SendOutcome {
        self.send_some(batch, first, usize::MAX)
    }

    /// As [`send_from`](Self::send_from), and no more than `most` frames.
    pub fn send_some(&mut self, batch: &SendBatch, first: usize, most: usize) -> SendOutcome {
        let mut next = first;
        let end = first.saturating_add(most).min(batch.len());
        let error = loop {
            if next >= end {
                break None;
            }
            // Frames of one socket go in one call; a change of socket begins another.
            let result = self
                .way
                .run(batch, next, end - next, &mut self.calls.addresses)
                .and_then(|(fd, n)| self.calls.send(fd, batch, next, n));
            match result {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                // Stopped short of the run: the next call names the error, or goes on.
                Ok(done) => next += done,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Some(e),
            }
        };
        SendOutcome { sent: next.saturating_sub(first), error }
    }
}

impl SendMode {
    /// How many of `most` frames from `first` on go out by one socket, and which; fills in their
    /// addresses.
    fn run(
        &self,
        batch: &SendBatch,
        first: usize,
        most: usize,
        addresses: &mut [LinkAddress],
    ) -> io::Result<(RawFd, usize)> {
        let mut fd = None;
        let mut n = 0;
        for (frame, slot) in batch.from(first).take(most).zip(addresses) {
            match self.address(frame) {
                Ok((to, address)) if *fd.get_or_insert(to) == to => {
                    *slot = address;
                    n += 1;
                }
                Err(e) if n == 0 => return Err(e),
                // Another socket's frame, or one that cannot go at all: those before it go first, so
                // that an error is told of the frame that it is about.
                Ok(_) | Err(_) => break,
            }
        }
        fd.map(|fd| (fd, n)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn address(&self, frame: &[u8]) -> io::Result<(RawFd, LinkAddress)> {
        let bad = || io::Error::new(io::ErrorKind::InvalidInput, "the frame is no IP packet");
        match self {
            Self::Packet { socket, kind: LinkKind::Ethernet, .. } => {
                if frame.len() < ETHERNET {
                    return Err(bad());
                }
                Ok((socket.as_raw_fd(), LinkAddress::None))
            }
            // No header to read the protocol from.
            Self::Packet { socket, index, kind: LinkKind::None } => {
                let protocol = match frame.first().map(|b| b >> 4) {
                    Some(4) => ETH_P_IP,
                    Some(6) => ETH_P_IPV6,
                    _ => return Err(bad()),
                };
                Ok((socket.as_raw_fd(), LinkAddress::Link(link_address(*index, protocol))))
            }
            Self::RawIp { v4, v6 } => match (frame.first().map(|b| b >> 4), v6) {
                (Some(4), _) => {
                    let d: [u8; 4] =
                        frame.get(16..20).and_then(|b| b.try_into().ok()).ok_or_else(bad)?;
                    let sin = libc::sockaddr_in {
                        sin_family: libc::AF_INET as u16,
                        sin_port: 0,
                        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(d) },
                        sin_zero: [0; 8],
                    };
                    Ok((v4.as_raw_fd(), LinkAddress::V4(sin)))
                }
                (Some(6), Some(v6)) => {
                    let d: [u8; 16] =
                        frame.get(24..40).and_then(|b| b.try_into().ok()).ok_or_else(bad)?;
                    let sin6 = libc::sockaddr_in6 {
                        sin6_family: libc::AF_INET6 as u16,
                        sin6_port: 0,
                        sin6_flowinfo: 0,
                        sin6_addr: libc::in6_addr { s6_addr: d },
                        sin6_scope_id: 0,
                    };
                    Ok((v6.as_raw_fd(), LinkAddress::V6(sin6)))
                }
                (Some(6), None) => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
                _ => Err(bad()),
            },
        }
    }
}

/// Where a frame is sent, as the kernel wants it.
#[derive(Clone, Copy)]
enum LinkAddress {
    None,
    Link(libc::sockaddr_ll),
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl LinkAddress {
    fn raw(&self) -> (*const libc::c_void, usize) {
        match self {
            Self::None => (std::ptr::null(), 0),
            Self::Link(a) => (std::ptr::from_ref(a).cast(), size_of::<libc::sockaddr_ll>()),
            Self::V4(a) => (std::ptr::from_ref(a).cast(), size_of::<libc::sockaddr_in>()),
            Self::V6(a) => (std::ptr::from_ref(a).cast(), size_of::<libc::sockaddr_in6>()),
        }
    }
}

/// What `sendmmsg` is given, allocated once.
struct SendCalls {
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
    addresses: Vec<LinkAddress>,
}

// SAFETY: the pointers in the vectors and messages are written anew before each use and read only by
// the kernel during that call; between calls nobody follows them, so no thread depends on them.
unsafe impl Send for SendCalls {}

impl std::fmt::Debug for SendCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl SendCalls {
    fn new() -> Self {
        // SAFETY: `iovec` and `mmsghdr` are C structs of integers and pointers, for which all zeros
        // (null pointers, zero lengths) is valid.
        let (vector, message): (libc::iovec, libc::mmsghdr) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            vectors: vec![vector; CAPACITY],
            messages: vec![message; CAPACITY],
            addresses: vec![LinkAddress::None; CAPACITY],
        }
    }

    /// Sends `n` frames from `first` on, each to its address; returns how many left.
    fn send(&mut self, fd: RawFd, batch: &SendBatch, first: usize, n: usize) -> io::Result<usize> {
        let mut filled = 0;
        for (((frame, address), vector), message) in batch
            .from(first)
            .take(n)
            .zip(&self.addresses)
            .zip(&mut self.vectors)
            .zip(&mut self.messages)
        {
            let (name, length) = address.raw();
            vector.iov_base = frame.as_ptr().cast_mut().cast();
            vector.iov_len = frame.len();
            message.msg_hdr.msg_name = name.cast_mut();
            message.msg_hdr.msg_namelen = length as libc::socklen_t;
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            filled += 1;
        }
        // SAFETY: the first `filled` messages, counted while they were written, point to vectors,
        // frames and addresses that live until the call returns; the kernel reads them, writes only
        // `msg_len`, and keeps none. There is no safe wrapper that takes an address for each message
        // without allocating. The flags are `c_int` with glibc and `c_uint` with musl, hence `as _`.
        let r = unsafe {
            libc::sendmmsg(fd, self.messages.as_mut_ptr(), filled, libc::MSG_DONTWAIT as _)
        };
        usize::try_from(r).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_and_batches_move_to_other_threads() {
        fn movable<T: Send>() {}
        movable::<FrameSender>();
        movable::<SendBatch>();
    }
}
