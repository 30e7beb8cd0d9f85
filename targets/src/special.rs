//! Addresses at which nobody's host is: they are scanned on an explicit word only.

use crate::{AddrRange, AddrSet};

/// A kind of such addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecialKind {
    /// 169.254.169.254 and its kin: the service that hands out credentials of the machine that asks.
    Metadata,
    /// Valid on one link only (RFC 3927; RFC 4291, section 2.5.6).
    LinkLocal,
    /// Groups of hosts (RFC 5771, RFC 4291).
    Multicast,
    /// The limited broadcast address and the reserved block that it is in (RFC 1112, RFC 919).
    Broadcast,
    /// "This network" (RFC 791, section 3.2) and the unspecified IPv6 address.
    Unspecified,
}

/// Each kind with its ranges; what is named first wins.
const KINDS: [(SpecialKind, &str, &[&str]); 5] = [
    (
        SpecialKind::Metadata,
        "metadata",
        &["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"],
    ),
    (SpecialKind::LinkLocal, "link-local", &["169.254.0.0/16", "fe80::/10"]),
    (SpecialKind::Multicast, "multicast", &["224.0.0.0/4", "ff00::/8"]),
    (SpecialKind::Broadcast, "broadcast", &["240.0.0.0/4"]),
    (SpecialKind::Unspecified, "unspecified", &["0.0.0.0/8", "::"]),
];

impl SpecialKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, word, _)| word)
    }

    /// The kind with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        KINDS.iter().find(|(_, w, _)| *w == word).map(|(kind, ..)| *kind)
    }

    /// All words, for a message.
    #[must_use]
    pub fn words() -> Vec<&'static str> {
        KINDS.iter().map(|(_, word, _)| *word).collect()
    }
}

/// The special addresses of a set, by kind.
#[must_use]
pub fn find_special_addresses(set: &AddrSet) -> Vec<(SpecialKind, AddrSet)> {
    let mut left = set.clone();
    let mut found = Vec::new();
    for (kind, _, ranges) in KINDS {
        let ranges = ranges.iter().filter_map(|r| r.parse::<AddrRange>().ok());
        let of_kind = left.intersect(&AddrSet::from_ranges(ranges));
        if !of_kind.is_empty() {
            left = left.subtract(&of_kind);
            found.push((kind, of_kind));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(ranges: &[&str]) -> Vec<(SpecialKind, u128)> {
        let set = AddrSet::from_ranges(ranges.iter().map(|r| r.parse::<AddrRange>().unwrap()));
        find_special_addresses(&set).into_iter().map(|(kind, set)| (kind, set.len())).collect()
    }

    #[test]
    fn every_kind_is_found_and_ordinary_addresses_are_none() {
        use SpecialKind::{Broadcast, LinkLocal, Metadata, Multicast, Unspecified};
        assert!(
            kinds(&["198.51.100.0/24", "10.0.0.0/8", "127.0.0.0/8", "2001:db8::/64"]).is_empty()
        );
        assert_eq!(kinds(&["169.254.0.0/16"]), [(Metadata, 3), (LinkLocal, 65_533)]);
        assert_eq!(kinds(&["fe80::2"]), [(LinkLocal, 1)]);
        assert_eq!(kinds(&["224.0.0.1", "255.255.255.255"]), [(Multicast, 1), (Broadcast, 1)]);
        assert_eq!(kinds(&["0.0.0.0/7"]), [(Unspecified, 1 << 24)]);
    }

    #[test]
    fn words_and_kinds_agree() {
        for word in SpecialKind::words() {
            assert_eq!(SpecialKind::from_word(word).map(SpecialKind::as_str), Some(word));
        }
    }

    #[test]
    fn every_range_of_the_table_is_one() {
        for (kind, _, ranges) in KINDS {
            for range in ranges {
                assert!(range.parse::<AddrRange>().is_ok(), "{kind:?} {range}");
            }
        }
    }
}
