//! A data centre in network namespaces.
//!
//! ```text
//! scanner namespace                          data-centre namespace
//!   v0 198.18.0.1/16, 2001:db8:18::1/64 ───── v1 198.18.0.2/16, 2001:db8:18::2/64
//!   routes: 198.19.0.0/16, 2001:db8:19::/64     local routes: one kernel answers for all of them
//!           via v1
//! ```
//!
//! Neither namespace holds a physical interface or a default route, so no packet can get out; that
//! is true before anything is sent. The harness itself runs in a user and network namespace of its
//! own ([`enter`]), so the lab needs no privilege where user namespaces are allowed.

mod capture;
mod link;
mod namespace;
mod process;
mod server;
mod truth;
mod tun;

pub use capture::Capture;
pub use namespace::{Namespace, enter};
pub use process::{Output, Program, Running};
pub use server::Server;
pub use truth::{Policer, Truth, host, nft};
pub use tun::Tun;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The scanner's end.
pub const SCANNER_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The data centre's end, and the gateway to it.
pub const CENTRE_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The scanner's end.
pub const SCANNER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, 0, 1);
/// The data centre's end.
pub const CENTRE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, 0, 2);

/// What the data centre does with packets to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Its kernel answers: SYN-ACK where somebody listens, RST elsewhere.
    Answers,
    /// Dropped without a word.
    Silent,
    /// Answered with ICMP "administratively prohibited".
    Prohibited,
}

/// A pair of namespaces joined by a veth link.
#[derive(Debug)]
pub struct Lab {
    /// Where the program runs.
    pub scanner: Namespace,
    /// Where the servers run.
    pub centre: Namespace,
}

impl Lab {
    /// A new pair. 198.19.0.0/16 and 2001:db8:19::/64 are routed to the data centre, which answers
    /// for all of them.
    ///
    /// # Panics
    /// When the namespaces cannot be made: a lab that is not there must fail its tests.
    #[must_use]
    pub fn new() -> Self {
        let (scanner, centre) = (Namespace::new(), Namespace::new());
        link::join(&scanner, &centre);
        let lab = Self { scanner, centre };
        lab.behave("198.19.0.0/16", Behaviour::Answers);
        lab.behave("2001:db8:19::/64", Behaviour::Answers);
        lab
    }

    /// Gives a prefix, the longer before the shorter, a behaviour.
    pub fn behave(&self, prefix: &str, behaviour: Behaviour) {
        let (net, len) = prefix.split_once('/').expect("a prefix");
        let ip: IpAddr = net.parse().expect("an address");
        let len: u8 = len.parse().expect("a length");
        self.centre.run(|| link::behave(ip, len, behaviour));
    }

    /// Takes the link down on the data centre's side: the cable is out.
    pub fn unplug(&self) {
        self.centre.run(|| link::set_up("v1", false));
    }

    /// Puts it back; routes that went with it are made again.
    pub fn plug(&self) {
        self.centre.run(|| link::set_up("v1", true));
    }

    /// The program, to be run in the scanner's namespace.
    #[must_use]
    pub fn program(&self, binary: &str) -> Program<'_> {
        Program::new(self, binary)
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}
