//! Small numbers for the addresses of a list.

use std::collections::HashMap;
use std::net::IpAddr;

use mimawari_targets::AddrSet;

/// Numbers below are places in the scope; the others are given to addresses as they come.
const FIRST_GIVEN: u32 = 1 << 31;

/// Numbers for addresses: their places in the scope as far as 31 bits go, which takes no memory;
/// beyond, as in an IPv6 network, a table.
#[derive(Debug)]
pub(super) struct SiteNumbering {
    permitted: AddrSet,
    numbers: HashMap<IpAddr, u32>,
    given: Vec<IpAddr>,
}

impl SiteNumbering {
    pub fn new(permitted: AddrSet) -> Self {
        Self { permitted, numbers: HashMap::new(), given: Vec::new() }
    }

    pub fn find(&self, ip: IpAddr) -> Option<u32> {
        let place = self.permitted.index_of(ip)?;
        match u32::try_from(place) {
            Ok(place) if place < FIRST_GIVEN => Some(place),
            _ => self.numbers.get(&ip).copied(),
        }
    }

    /// The number of an address in the scope, a new one if need be; `None` when none are left.
    pub fn of(&mut self, ip: IpAddr) -> Option<u32> {
        if let Some(id) = self.find(ip) {
            return Some(id);
        }
        let id = FIRST_GIVEN.checked_add(u32::try_from(self.given.len()).ok()?)?;
        self.given.push(ip);
        self.numbers.insert(ip, id);
        Some(id)
    }

    pub fn address(&self, id: u32) -> Option<IpAddr> {
        match id.checked_sub(FIRST_GIVEN) {
            None => self.permitted.nth(u128::from(id)),
            Some(place) => self.given.get(place as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_beyond_31_bits_are_numbered_as_they_come() {
        let set =
            AddrSet::from_ranges(["198.51.100.0/24", "2001:db8::/64"].map(|r| r.parse().unwrap()));
        let mut numbering = SiteNumbering::new(set);
        let cases = [
            ("198.51.100.9", 9),
            ("2001:db8::ffff:0:1", FIRST_GIVEN),
            ("2001:db8::5", 261),
            ("2001:db8::ffff:0:2", FIRST_GIVEN + 1),
            ("2001:db8::ffff:0:1", FIRST_GIVEN),
        ];
        for (ip, id) in cases {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(numbering.of(ip), Some(id));
            assert_eq!((numbering.find(ip), numbering.address(id)), (Some(id), Some(ip)));
        }
        assert_eq!(numbering.find("2001:db8::ffff:0:3".parse().unwrap()), None);
        assert_eq!(numbering.of("203.0.113.1".parse().unwrap()), Some(FIRST_GIVEN + 2));
    }
}
