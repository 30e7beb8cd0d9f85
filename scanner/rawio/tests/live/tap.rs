//! A device whose cable ends in the test: what is sent on it is read here, what is written here
//! arrives on it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use mimawari_rawio::InterfaceFacts;

/// A TAP (Ethernet) or TUN (bare IP) device; gone when dropped.
pub struct Tap {
    file: File,
    name: String,
}

impl Tap {
    /// An Ethernet device, up.
    pub fn ethernet(name: &str) -> Self {
        Self::new(name, libc::IFF_TAP | libc::IFF_NO_PI)
    }

    /// A device without Ethernet header, up. On its cable every packet has four bytes in front, the
    /// last two of which are what the kernel thinks it is (its EtherType).
    pub fn bare(name: &str) -> Self {
        Self::new(name, libc::IFF_TUN)
    }

    fn new(name: &str, flags: libc::c_int) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .unwrap_or_else(|e| {
                panic!(
                    "/dev/net/tun: {e}. Remedy: load the module tun, or hand the device into the \
                     container; MIMAWARI_LAB=skip leaves these tests out"
                )
            });
        let mut request = request(name);
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request, "TUNSETIFF");
        set_up(name, true);
        Self { file, name: name.to_owned() }
    }

    pub fn device(&self) -> InterfaceFacts {
        InterfaceFacts::by_name(&self.name).unwrap()
    }

    /// A frame arrives.
    pub fn write(&mut self, frame: &[u8]) {
        assert_eq!(self.file.write(frame).unwrap(), frame.len());
    }

    /// Everything that was sent. The kernel puts it there before the sending call returns.
    pub fn read(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.file.read(&mut buffer) {
                Ok(n) => all.push(buffer[..n].to_vec()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return all,
                Err(e) => panic!("{e}"),
            }
        }
    }
}

/// Takes an interface up or down.
pub fn set_up(name: &str, up: bool) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let mut request = request(name);
    ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request, "SIOCGIFFLAGS");
    // SAFETY: after a successful SIOCGIFFLAGS the kernel has written this member.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let bit = libc::IFF_UP as libc::c_short;
    request.ifr_ifru.ifru_flags = if up { flags | bit } else { flags & !bit };
    ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &mut request, "SIOCSIFFLAGS");
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: `ifreq` is a C struct of integers and unions of them, for which all zeros is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(name.len() < request.ifr_name.len());
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn ioctl(fd: libc::c_int, what: libc::Ioctl, request: &mut libc::ifreq, name: &str) {
    // SAFETY: the calls of this file read and write one `ifreq`, which is borrowed for the call.
    let r = unsafe { libc::ioctl(fd, what, std::ptr::from_mut(request)) };
    assert!(r >= 0, "{name}: {}", std::io::Error::last_os_error());
}
