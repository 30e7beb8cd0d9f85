//! What `socket2` does not know of packet sockets.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Sets a socket option whose value is a plain C struct or integer.
pub(crate) fn set_option<T: Copy>(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `setsockopt` reads `size_of::<T>()` bytes from the pointer, which is a live reference
    // to exactly that many; it keeps none of it. The descriptor is open as long as `socket` lives.
    // No safe wrapper knows the options of AF_PACKET.
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

/// Reads a socket option into a value of the same size as the kernel's.
pub(crate) fn get_option<T: Copy + Default>(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `getsockopt` writes at most `length` bytes, the size of `value`, which is an integer or
    // a C struct of integers, so any bytes are a valid value of it.
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
