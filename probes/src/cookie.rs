//! The cookie: what makes an answer ours without remembering the question.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// A keyed function from a connection's four values to a TCP sequence number.
///
/// SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), cut to 32 bits. The
/// key is new for every run, so an answer that carries the right number was made by somebody who saw
/// our SYN.
#[derive(Clone)]
pub struct Cookie {
    hasher: SipHasher24,
}

impl std::fmt::Debug for Cookie {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie")
    }
}

impl Cookie {
    /// A cookie under a key.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self { hasher: SipHasher24::new_with_key(&key) }
    }

    /// The sequence number of a SYN from `source` to `destination`, ports included.
    #[must_use]
    #[inline]
    pub fn sequence(
        &self,
        source: IpAddr,
        source_port: u16,
        destination: IpAddr,
        destination_port: u16,
    ) -> u32 {
        let mut h = self.hasher;
        for ip in [source, destination] {
            match ip {
                IpAddr::V4(ip) => h.write(&ip.octets()),
                IpAddr::V6(ip) => h.write(&ip.octets()),
            }
        }
        h.write_u32(u32::from(source_port) << 16 | u32::from(destination_port));
        h.finish() as u32
    }
}
