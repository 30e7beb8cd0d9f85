//! What an interface is, asked by ioctl: /sys would show the namespace that mounted it.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

/// What stands before the IP header on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// An Ethernet II header; loopback has one too.
    Ethernet,
    /// Nothing: tun, WireGuard, tunnels.
    None,
}

/// An interface as it was when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Index in this namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// What stands before the IP header.
    pub kind: LinkKind,
    /// Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Whether it is loopback.
    pub loopback: bool,
    /// Whether it is administratively up.
    pub up: bool,
}

impl InterfaceFacts {
    /// The interface with this name.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Unsupported` when its link header is of another kind; any
    /// other error of the system.
    pub fn by_name(name: &str) -> io::Result<Self> {
        let query = DeviceQuery::new(name)?;
        let index = query.ask(libc::SIOCGIFINDEX, |r| {
            // SAFETY: after a successful SIOCGIFINDEX the kernel has written this member.
            unsafe { r.ifr_ifru.ifru_ifindex }
        })?;
        let (family, address) = query.ask(libc::SIOCGIFHWADDR, |r| {
            // SAFETY: after a successful SIOCGIFHWADDR the kernel has written this member.
            let a = unsafe { r.ifr_ifru.ifru_hwaddr };
            (a.sa_family, a.sa_data)
        })?;
        let mtu = query.ask(libc::SIOCGIFMTU, |r| {
            // SAFETY: after a successful SIOCGIFMTU the kernel has written this member.
            unsafe { r.ifr_ifru.ifru_mtu }
        })?;
        let flags = query.ask(libc::SIOCGIFFLAGS, |r| {
            // SAFETY: after a successful SIOCGIFFLAGS the kernel has written this member.
            libc::c_int::from(unsafe { r.ifr_ifru.ifru_flags })
        })?;
        let (kind, has_mac) = match family {
            libc::ARPHRD_ETHER => (LinkKind::Ethernet, true),
            libc::ARPHRD_LOOPBACK => (LinkKind::Ethernet, false),
            libc::ARPHRD_NONE
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_PPP
            | libc::ARPHRD_RAWHDLC
            | ARPHRD_RAWIP => (LinkKind::None, false),
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("{name} is of hardware type {family}, which is not known here"),
                ));
            }
        };
        let mac = has_mac.then(|| std::array::from_fn(|i| address[i] as u8));
        Ok(Self {
            index: index as u32,
            name: name.to_owned(),
            kind,
            mac,
            mtu: u32::try_from(mtu).unwrap_or(0),
            loopback: flags & libc::IFF_LOOPBACK != 0,
            up: flags & libc::IFF_UP != 0,
        })
    }

    /// The interface with this index.
    ///
    /// # Errors
    /// As [`by_name`](Self::by_name).
    pub fn by_index(index: u32) -> io::Result<Self> {
        let mut name = [0u8; libc::IF_NAMESIZE];
        // SAFETY: `if_indextoname` writes at most IF_NAMESIZE bytes with the terminating NUL into the
        // buffer, which is that long. The standard library has no such function.
        let r = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
        if r.is_null() {
            let e = io::Error::last_os_error();
            return Err(if e.raw_os_error() == Some(libc::ENXIO) {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("no interface has the index {index}"),
                )
            } else {
                e
            });
        }
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        Self::by_name(&String::from_utf8_lossy(&name[..end]))
    }
}

/// Raw IP without a header (`linux/if_arp.h`); newer than some versions of libc.
const ARPHRD_RAWIP: u16 = 519;

/// Questions about one interface.
pub(crate) struct DeviceQuery {
    pub(crate) socket: Socket,
    pub(crate) request: libc::ifreq,
}

impl DeviceQuery {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        if name.is_empty() || name.len() >= libc::IF_NAMESIZE || name.bytes().any(|b| b == 0) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("`{}` is no interface's name", name.escape_default()),
            ));
        }
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        // SAFETY: `ifreq` is a C struct of integers and unions of them, for which all zeros is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        Ok(Self { socket, request })
    }

    fn ask<T>(&self, what: libc::Ioctl, read: impl FnOnce(&libc::ifreq) -> T) -> io::Result<T> {
        let mut request = self.request;
        // SAFETY: these ioctls read the name of an `ifreq` and write its union; the pointer is to a
        // whole one on our stack, and the kernel keeps none of it. There is no safe call for them.
        let r = unsafe { libc::ioctl(self.socket.as_raw_fd(), what, &raw mut request) };
        if r >= 0 {
            return Ok(read(&request));
        }
        let e = io::Error::last_os_error();
        Err(if e.raw_os_error() == Some(libc::ENODEV) {
            io::Error::new(io::ErrorKind::NotFound, "there is no such interface")
        } else {
            e
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known() {
        let lo = InterfaceFacts::by_name("lo").unwrap();
        assert!(lo.loopback && lo.kind == LinkKind::Ethernet && lo.mac.is_none() && lo.mtu > 0);
        assert_eq!(InterfaceFacts::by_index(lo.index).unwrap(), lo);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for name in ["", "nonesuch0", "a-name-that-is-far-too-long", "a\0b"] {
            assert_eq!(
                InterfaceFacts::by_name(name).unwrap_err().kind(),
                io::ErrorKind::NotFound,
                "{name:?}"
            );
        }
        assert_eq!(
            InterfaceFacts::by_index(u32::MAX >> 1).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
