//! What `socket2` does not know of packet sockets.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Values of socket options that the kernel may read and write byte by byte.
///
/// # Safety
/// The type holds integers only: no padding, no pointer, and every bit pattern is a value.
pub(crate) unsafe trait PlainSocket: Copy {}

// SAFETY: an integer.
unsafe impl PlainSocket for libc::c_int {}
// SAFETY: seven `unsigned int` in a row (`linux/if_packet.h`).
unsafe impl PlainSocket for libc::tpacket_req3 {}
// SAFETY: integers in a row.
unsafe impl PlainSocket for [u32; 3] {}

/// Sets a socket option.
pub(crate) fn set_option<T: PlainSocket>(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `setsockopt` reads `size_of::<T>()` bytes from the pointer, which is a live reference
    // to exactly that many, all initialised and none a pointer, since `T` is `Plain`; it keeps none
    // of it. The descriptor is open as long as `socket` lives. No safe wrapper knows the options of
    // AF_PACKET.
    let r = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads a socket option over `value`; what the kernel has no bytes for stays as it was.
pub(crate) fn get_option<T: PlainSocket>(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    mut value: T,
) -> io::Result<T> {
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `getsockopt` writes at most `length` bytes, the size of `value`; whatever it writes is
    // a value, since `T` is `Plain`. No safe wrapper knows the options of AF_PACKET.
    let r = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_mut(&mut value).cast(),
            &raw mut length,
        )
    };
    if r == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// The link-layer address of an interface, to bind or send to. `protocol` in host order.
pub(crate) const fn link_address(index: u32, protocol: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        // Whole frames carry their own addresses; the kernel looks at the length alone.
        sll_halen: 6,
        sll_addr: [0; 8],
    }
}

/// Binds a packet socket to an interface.
pub(crate) fn bind_link(socket: &Socket, index: u32, protocol: u16) -> io::Result<()> {
    let address = link_address(index, protocol);
    // SAFETY: `bind` reads the given number of bytes of the address, which is a whole `sockaddr_ll`
    // on our stack; it keeps none of it. `socket2` cannot build one without unsafe code either.
    let r = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
