//! The counters that a driver keeps of an interface (`ethtool -S`), which need no capability.
//!
//! Commands and layouts are those of `linux/ethtool.h`.

use std::io;
use std::os::fd::AsRawFd;

use crate::device::{DeviceQuery, InterfaceFacts};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETH_SS_STATS: u32 = 1;
/// Bytes of a name.
const ETH_GSTRING_LEN: usize = 32;
/// No driver has more; one that says so is not believed.
const MOST: u32 = 4096;

impl InterfaceFacts {
    /// The driver's counters by name, in the driver's order; empty where the driver keeps none.
    ///
    /// # Errors
    /// `NotFound` when the interface is gone, `InvalidData` when the driver names more than 4,096;
    /// any other error of the system.
    pub fn counters(&self) -> io::Result<Vec<(String, u64)>> {
        let query = DeviceQuery::new(&self.name)?;
        let count = match query.count() {
            Ok(count) => count,
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => 0,
            Err(e) => return Err(e),
        };
        if count == 0 {
            return Ok(Vec::new());
        }
        let room = ReplyBuffer::new(count)?;
        let names = query.ethtool(&room, [ETHTOOL_GSTRINGS, ETH_SS_STATS, count])?;
        let values = query.ethtool(&room, [ETHTOOL_GSTATS, count, 0])?;
        // `ethtool_gstrings` has three words before its data, `ethtool_stats` two.
        let named = read_u32(&names, 2).min(count);
        let counted = read_u32(&values, 1).min(count);
        let names = to_byte_iter(&names).skip(12).collect::<Vec<u8>>();
        Ok(names
            .chunks_exact(ETH_GSTRING_LEN)
            .zip(values.iter().skip(1))
            .take(named.min(counted) as usize)
            .map(|(name, value)| (decode_counter_name(name), *value))
            .collect())
    }
}

/// A driver's text is shown to people: printable ASCII, up to the first NUL.
fn decode_counter_name(name: &[u8]) -> String {
    name.iter()
        .take_while(|b| **b != 0)
        .map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '?' })
        .collect()
}

fn read_u32(words: &[u64], index: usize) -> u32 {
    let mut b = to_byte_iter(words).skip(index * 4).take(4);
    u32::from_ne_bytes(std::array::from_fn(|_| b.next().unwrap_or(0)))
}

fn to_byte_iter(words: &[u64]) -> impl Iterator<Item = u8> + '_ {
    words.iter().flat_map(|w| w.to_ne_bytes())
}

/// How long the replies to questions about a number of counters can be.
struct ReplyBuffer(usize);

impl ReplyBuffer {
    /// The kernel writes as many as the driver has at that moment, whatever was asked for. The
    /// number changes only when an administrator changes the interface's queues; there is room for
    /// twice as many and 1,024 more.
    fn new(count: u32) -> io::Result<Self> {
        if count > MOST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the driver claims to keep {count} counters"),
            ));
        }
        let counters = 2 * count as usize + 1024;
        Ok(Self(2 + counters * ETH_GSTRING_LEN / size_of::<u64>()))
    }
}

impl DeviceQuery {
    /// How many counters there are.
    fn count(&self) -> io::Result<u32> {
        // `ethtool_sset_info`: command, reserved, a mask of sets, then one number a set.
        let words = self.ethtool(&ReplyBuffer(16), [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_STATS])?;
        // The mask that comes back says which sets there are.
        Ok(if read_u32(&words, 2) == 1 << ETH_SS_STATS { read_u32(&words, 4) } else { 0 })
    }

    /// Asks ethtool; the reply in 64-bit words, as aligned as any of its structures need be.
    fn ethtool(&self, room: &ReplyBuffer, head: [u32; 3]) -> io::Result<Vec<u64>> {
        let mut words = vec![0u64; room.0];
        let head: Vec<u8> = head.iter().flat_map(|w| w.to_ne_bytes()).chain([0; 4]).collect();
        for (word, bytes) in words.iter_mut().zip(head.chunks_exact(8)) {
            *word = u64::from_ne_bytes(std::array::from_fn(|i| bytes[i]));
        }
        let mut request = self.request;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: SIOCETHTOOL reads the name of the `ifreq` and reads and writes the structure that
        // its data member points to: `words`, which lives through the call and is longer than any
        // reply to the three commands asked here (see `Room`). The kernel keeps no pointer. There is
        // no safe call for it.
        let r = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if r < 0 { Err(io::Error::last_os_error()) } else { Ok(words) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_without_counters_has_none() {
        assert_eq!(InterfaceFacts::by_name("lo").unwrap().counters().unwrap(), []);
    }

    #[test]
    fn an_absurd_number_is_not_believed() {
        assert!(ReplyBuffer::new(MOST).is_ok());
        assert_eq!(
            ReplyBuffer::new(MOST + 1).err().map(|e| e.kind()),
            Some(io::ErrorKind::InvalidData)
        );
    }

    #[test]
    fn names_are_printable() {
        assert_eq!(decode_counter_name(b"rx_packets\0junk"), "rx_packets");
        assert_eq!(decode_counter_name(b"a\x1b[31m\xff"), "a?[31m?");
        assert_eq!(read_u32(&[u64::from_ne_bytes([1, 0, 0, 0, 2, 0, 0, 0])], 1), 2);
    }
}
