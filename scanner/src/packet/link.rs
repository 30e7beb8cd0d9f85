//! One interface, ready to send and to receive.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mimawari_engine::Probe;
use mimawari_probes::wire::{self, LinkHeader, SynTemplate};
use mimawari_rawio::filter;
use mimawari_rawio::{Batch, Device, LinkKind, Ring, RingConfig, Sender};

use super::error::PacketError;
use super::frame;
use super::source::{OwnAddress, SourcePorts, address_on};

/// The sending half.
pub(super) struct Link {
    pub(super) device: Device,
    sender: Sender,
    /// Our Ethernet address; `None`: frames begin with the IP header.
    mac: Option<[u8; 6]>,
    batch: Batch,
    spare: Batch,
    /// What is in the batch, in its order.
    probes: Vec<Probe>,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// The receiving half; goes to a thread of its own while the sweep runs.
pub(super) struct Receiving {
    pub(super) name: String,
    pub(super) kind: wire::Link,
    pub(super) ring: Ring,
}

/// One way out: an interface, a source address and whom to hand the frames to.
pub(super) struct Path {
    /// Index of the link.
    pub(super) link: usize,
    pub(super) source: IpAddr,
    pub(super) next: Next,
    pub(super) template: SynTemplate,
}

/// Whom frames of a path are handed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nobody in particular: there is no Ethernet header.
    Direct,
    /// A router with this Ethernet address.
    Gateway([u8; 6]),
    /// The destination itself.
    OnLink,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    pub(super) sent: u64,
    /// What did not leave.
    pub(super) failed: Vec<Probe>,
    /// Why; the last one.
    pub(super) error: Option<io::Error>,
}

impl Link {
    /// Opens both halves. `own`: the addresses of this machine.
    pub(super) fn open(
        device: Device,
        own: &[OwnAddress],
        ports: &SourcePorts,
        ring: RingConfig,
    ) -> Result<(Self, Receiving), PacketError> {
        let name = device.name.clone();
        let sender = if device.loopback {
            // From a packet socket the kernel takes 127.0.0.0/8 for martians; a raw IP socket is
            // routed as everything else.
            Sender::raw_ip()
        } else {
            Sender::packet(&device)
        };
        let sender = sender
            .map_err(|e| PacketError::io(format!("opening a socket to send on {name}"), e))?;
        let mac = match (device.loopback, device.kind) {
            (false, LinkKind::Ethernet) => Some(device.mac.unwrap_or_default()),
            _ => None,
        };
        let kind = match device.kind {
            LinkKind::Ethernet => wire::Link::Ethernet,
            LinkKind::None => wire::Link::None,
        };
        let program = filter::replies(device.kind, ports.first(), ports.last());
        let ring = Ring::open(&device, &program, ring)
            .map_err(|e| PacketError::io(format!("opening a receive ring on {name}"), e))?;
        let address = |v4| address_on(device.index, v4, own);
        let (v4, v6) = (address(true), address(false));
        let link = Self {
            v4: v4.and_then(|a| if let IpAddr::V4(a) = a { Some(a) } else { None }),
            v6: v6.and_then(|a| if let IpAddr::V6(a) = a { Some(a) } else { None }),
            device,
            sender,
            mac,
            batch: Batch::new(),
            spare: Batch::new(),
            probes: Vec::new(),
        };
        Ok((link, Receiving { name, kind, ring }))
    }

    /// Whether frames have an Ethernet header.
    pub(super) const fn is_ethernet(&self) -> bool {
        self.mac.is_some()
    }

    /// The link header of frames from here.
    pub(super) fn header(&self) -> LinkHeader {
        match self.mac {
            Some(source) => LinkHeader::Ethernet { source, destination: [0; 6] },
            None => LinkHeader::None,
        }
    }

    /// Adds a frame to the batch; `false`: it is full and must be flushed first.
    pub(super) fn push(&mut self, frame: &[u8], probe: Probe) -> bool {
        let pushed = self.batch.push(frame);
        if pushed {
            self.probes.push(probe);
        }
        pushed
    }

    /// Whether nothing waits to be flushed.
    pub(super) fn is_empty(&self) -> bool {
        self.probes.is_empty()
    }

    /// Sends the batch. A frame that the system refuses for its own sake does not keep back those
    /// behind it; a full queue or a dead interface does.
    pub(super) fn flush(&mut self) -> Flushed {
        let mut flushed = Flushed::default();
        while !self.probes.is_empty() {
            let outcome = self.sender.send(&self.batch);
            let sent = outcome.sent.min(self.probes.len());
            flushed.sent += sent as u64;
            self.probes.drain(..sent);
            let refused = outcome.error.is_some();
            let rest_too = match &outcome.error {
                Some(e) => concerns_all(e),
                // Nothing went out and nothing is said to be wrong: do not try for ever.
                None => sent == 0,
            };
            flushed.error = outcome.error.or(flushed.error);
            if self.probes.is_empty() || rest_too {
                break;
            }
            let mut skip = sent;
            if refused {
                flushed.failed.push(self.probes.remove(0));
                skip += 1;
            }
            self.spare.clear();
            for frame in self.batch.iter().skip(skip) {
                self.spare.push(frame);
            }
            std::mem::swap(&mut self.batch, &mut self.spare);
        }
        flushed.failed.append(&mut self.probes);
        self.batch.clear();
        flushed
    }

    /// Asks who has an address (ARP request, neighbour solicitation), if `permitted` says that the
    /// finished frame may ask for the address that stands in it.
    pub(super) fn solicit(
        &mut self,
        ip: IpAddr,
        permitted: impl FnOnce(IpAddr) -> bool,
    ) -> Result<Solicited, io::Error> {
        let Some(mac) = self.mac else { return Ok(Solicited::NoAddress) };
        let frame = match (ip, self.v4, self.v6) {
            (IpAddr::V4(ip), Some(own), _) => wire::arp_request(mac, own, ip).to_vec(),
            (IpAddr::V6(ip), _, Some(own)) => wire::neighbour_solicitation(mac, own, ip).to_vec(),
            _ => return Ok(Solicited::NoAddress),
        };
        let asked = match ip {
            IpAddr::V4(_) => frame::destination(&frame, true),
            IpAddr::V6(_) => frame::solicited(&frame),
        };
        if !asked.is_some_and(permitted) {
            return Ok(Solicited::Refused);
        }
        self.spare.clear();
        self.spare.push(&frame);
        let outcome = self.sender.send(&self.spare);
        match outcome.error {
            Some(e) if outcome.sent == 0 => Err(e),
            _ => Ok(Solicited::Sent),
        }
    }
}

/// What became of a solicitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Solicited {
    /// It left.
    Sent,
    /// It asks for an address that nobody may ask for.
    Refused,
    /// The interface has no address to ask from.
    NoAddress,
}

/// Whether an error of a send says something of the interface, not of the one frame.
fn concerns_all(e: &io::Error) -> bool {
    use nix::errno::Errno;
    let full = matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
    full || e.raw_os_error().map(Errno::from_raw).is_some_and(|errno| {
        matches!(
            errno,
            Errno::ENOBUFS
                | Errno::ENOMEM
                | Errno::ENETDOWN
                | Errno::ENXIO
                | Errno::ENODEV
                | Errno::EBADF
        )
    })
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_refused_frame_does_not_hold_up_the_others() {
        let concerns = |e: Errno| concerns_all(&io::Error::from_raw_os_error(e as i32));
        assert!(concerns(Errno::ENOBUFS));
        assert!(concerns(Errno::EAGAIN));
        assert!(concerns(Errno::ENETDOWN));
        assert!(concerns(Errno::ENXIO));
        assert!(!concerns(Errno::EPERM));
        assert!(!concerns(Errno::EMSGSIZE));
        assert!(!concerns(Errno::EACCES));
    }
}
