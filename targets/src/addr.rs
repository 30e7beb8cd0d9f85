//! Addresses: ranges, sets, and their text form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::to_message_text;

/// An inclusive range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddrRange {
    first: IpAddr,
    last: IpAddr,
}

/// Why a target's text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// Not an address, a CIDR or a range.
    #[error("`{0}` is not an address, a CIDR block or a range")]
    Syntax(String),
    /// The prefix length is missing, not a number, or too long for the family.
    #[error("`{text}`: the prefix length must be a number from 0 to {max}")]
    PrefixLength {
        /// As written.
        text: String,
        /// 32 or 128.
        max: u8,
    },
    /// A netmask behind the slash instead of a prefix length.
    #[error("`{text}` has a dotted netmask")]
    DottedMask {
        /// As written.
        text: String,
        /// The block that was perhaps meant; `None` when the mask is not contiguous.
        block: Option<String>,
    },
    /// Decimal numbers with leading zeros, which some programs read as octal.
    #[error("`{text}` has a number with leading zeros")]
    LeadingZeros {
        /// As written.
        text: String,
        /// The same without them.
        plain: String,
    },
    /// An IPv6 zone (RFC 4007, section 11).
    #[error("`{text}` has an IPv6 zone")]
    Zone {
        /// As written.
        text: String,
    },
    /// `*` for a part of an address.
    #[error("`{text}` has a wildcard")]
    Wildcard {
        /// As written.
        text: String,
        /// The block that was perhaps meant.
        block: Option<String>,
    },
    /// `a.b.c.d-e`: the end of the range is not a whole address.
    #[error("range `{text}` does not end in a whole address")]
    ShortRange {
        /// As written.
        text: String,
        /// The range that was perhaps meant.
        range: String,
    },
    /// An address with a port or in brackets.
    #[error("`{text}` has {}", if *port { "a port" } else { "brackets" })]
    Port {
        /// As written.
        text: String,
        /// The address alone.
        address: String,
        /// Whether there was a port, not brackets alone.
        port: bool,
    },
    /// Bits are set behind the prefix.
    #[error("`{text}` has host bits set")]
    HostBits {
        /// As written.
        text: String,
        /// The block that was perhaps meant.
        network: String,
    },
    /// The end of a range lies before its start.
    #[error("range `{text}` is inverted")]
    Inverted {
        /// As written.
        text: String,
    },
    /// The two ends of a range are of different families.
    #[error("range `{0}` mixes IPv4 and IPv6")]
    MixedFamilies(String),
    /// `::ffff:a.b.c.d`: an IPv4 address in IPv6 clothes.
    #[error("`{text}` is an IPv4-mapped IPv6 address")]
    Mapped {
        /// As written.
        text: String,
        /// The IPv4 address in it.
        v4: Ipv4Addr,
    },
    /// Two items of one list share addresses.
    #[error("`{second}` overlaps `{first}`")]
    Overlap {
        /// The earlier item.
        first: String,
        /// The later item.
        second: String,
    },
}

impl AddrError {
    /// What the user can do about it, as an imperative sentence without a full stop.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Syntax(_) => {
                "write 198.51.100.0/24, 198.51.100.10-198.51.100.20, 198.51.100.7 or 2001:db8::/120"
                    .to_owned()
            }
            Self::PrefixLength { text, max } => {
                let head = text.split('/').next().unwrap_or_default();
                format!("write a prefix length of at most {max}, such as `{head}/{max}`")
            }
            Self::DottedMask { block, .. } => match block {
                Some(block) => format!("write `{block}`"),
                None => "write a prefix length, such as /24; this mask is not one block".to_owned(),
            },
            Self::LeadingZeros { plain, .. } => format!("write `{plain}`"),
            Self::Zone { .. } => {
                "leave the zone out; an address of one link only cannot be a target".to_owned()
            }
            Self::Wildcard { block, .. } => match block {
                Some(block) => format!("write `{block}`"),
                None => "write a CIDR block or a range".to_owned(),
            },
            Self::ShortRange { range, .. } => format!("write `{range}`"),
            Self::Port { address, port: false, .. } => format!("write `{address}`"),
            Self::Port { address, .. } => {
                format!("write `{address}`; ports are chosen apart from addresses")
            }
            Self::HostBits { text, network } => {
                let head = text.split('/').next().unwrap_or_default();
                format!("write `{network}` for the block, or `{head}` for the one address")
            }
            Self::Inverted { text } => {
                let mut ends = text.splitn(2, '-').map(str::trim);
                let (a, b) = (ends.next().unwrap_or_default(), ends.next().unwrap_or_default());
                format!("write `{b}-{a}`")
            }
            Self::MixedFamilies(_) => "write one range for each family".to_owned(),
            Self::Mapped { v4, .. } => format!("write the IPv4 address itself, `{v4}`"),
            Self::Overlap { .. } => "list each address once; remove one of the two".to_owned(),
        }
    }
}

impl AddrRange {
    /// The range, or `None` when the families differ or the end lies before the start.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// The lowest address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether the address lies in the range.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && self.first <= ip && ip <= self.last
    }
}

impl From<IpAddr> for AddrRange {
    fn from(ip: IpAddr) -> Self {
        Self { first: ip, last: ip }
    }
}

impl fmt::Display for AddrRange {
    /// The shortest form that parses back: one address, a CIDR block, or `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        let (bits, a, b) = match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (32, u128::from(a.to_bits()), u128::from(b.to_bits()))
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => (128, a.to_bits(), b.to_bits()),
            _ => return write!(f, "{}-{}", self.first, self.last),
        };
        let span = a ^ b;
        let host = 128 - span.leading_zeros();
        let mask = if host == 128 { u128::MAX } else { (1u128 << host) - 1 };
        if span == mask && a & mask == 0 {
            write!(f, "{}/{}", self.first, bits - host)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for AddrRange {
    type Err = AddrError;

    /// An address, a CIDR block or `first-last`. Strict: whatever two programs could read in two
    /// ways is refused with the form that was perhaps meant.
    fn from_str(s: &str) -> Result<Self, AddrError> {
        let s = s.trim();
        if let Some((net, len)) = s.split_once('/') {
            let ip = parse_ip(net, s)?;
            let max: u8 = if ip.is_ipv4() { 32 } else { 128 };
            let prefix = parse_prefix(ip, len, max, s)?;
            let block = ipnetwork::IpNetwork::new(ip, prefix)
                .map_err(|_| AddrError::PrefixLength { text: to_message_text(s), max })?;
            if block.network() != ip {
                return Err(AddrError::HostBits {
                    text: to_message_text(s),
                    network: format!("{}/{prefix}", block.network()),
                });
            }
            // `IpNetwork::broadcast` is the last address of the block in both families.
            return Ok(Self { first: ip, last: block.broadcast() });
        }
        if let Some((a, b)) = s.split_once('-') {
            let (a, b) = (parse_ip(a.trim(), s)?, parse_ip(b.trim(), s)?);
            if a.is_ipv4() != b.is_ipv4() {
                return Err(AddrError::MixedFamilies(to_message_text(s)));
            }
            return Self::new(a, b).ok_or_else(|| AddrError::Inverted { text: to_message_text(s) });
        }
        parse_ip(s, s).map(Self::from)
    }
}

/// The longest text of an address; longer ones are not looked into.
const LONGEST: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

/// One address, as a part of the item `whole`.
fn parse_ip(s: &str, whole: &str) -> Result<IpAddr, AddrError> {
    let ip: IpAddr = s.parse().map_err(|_| explain(s, whole))?;
    match ip {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => Err(AddrError::Mapped { text: to_message_text(s), v4 }),
            None => Ok(ip),
        },
        IpAddr::V4(_) => Ok(ip),
    }
}

/// The prefix length behind the slash of `whole`.
fn parse_prefix(ip: IpAddr, len: &str, max: u8, whole: &str) -> Result<u8, AddrError> {
    let wrong = || AddrError::PrefixLength { text: to_message_text(whole), max };
    if let (IpAddr::V4(_), Ok(mask)) = (ip, len.parse::<Ipv4Addr>()) {
        // Access lists write the host part (0.0.0.255), everything else the network part.
        let block = [mask.to_bits(), !mask.to_bits()]
            .into_iter()
            .find(|m| m.leading_ones() + m.trailing_zeros() == 32 && m.leading_ones() % 32 != 0)
            .and_then(|m| {
                let block = ipnetwork::IpNetwork::new(ip, u8::try_from(m.leading_ones()).ok()?);
                block.ok().map(|b| format!("{}/{}", b.network(), b.prefix()))
            });
        return Err(AddrError::DottedMask { text: to_message_text(whole), block });
    }
    if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let prefix = len.parse::<u8>().ok().filter(|p| *p <= max).ok_or_else(wrong)?;
    if len.len() > 1 && len.starts_with('0') {
        let plain = format!("{ip}/{prefix}");
        return Err(AddrError::LeadingZeros { text: to_message_text(whole), plain });
    }
    Ok(prefix)
}

/// Why `part` of the item `whole` is no address.
fn explain(part: &str, whole: &str) -> AddrError {
    let text = to_message_text(whole);
    let syntax = AddrError::Syntax(text.clone());
    if part.len() > 2 * LONGEST || !part.is_ascii() {
        return syntax;
    }
    if part.split('%').next().is_some_and(|p| p != part && p.parse::<Ipv6Addr>().is_ok()) {
        return AddrError::Zone { text };
    }
    if part.contains('*') {
        return AddrError::Wildcard { text, block: convert_wildcard_block(part) };
    }
    if let Some(escape_message) = strip_leading_zeros(part) {
        return AddrError::LeadingZeros {
            text,
            plain: to_message_text(&whole.replacen(part, &escape_message, 1)),
        };
    }
    if let Some((first, last)) = whole.split_once('-')
        && let Ok(IpAddr::V4(a)) = first.trim().parse()
        && let Ok(end) = last.trim().parse::<u8>()
    {
        let [x, y, z, _] = a.octets();
        return AddrError::ShortRange { text, range: format!("{a}-{x}.{y}.{z}.{end}") };
    }
    if let Ok(socket) = part.parse::<std::net::SocketAddr>() {
        return AddrError::Port { text, address: socket.ip().to_string(), port: true };
    }
    if let Some(ip) = part.strip_prefix('[').and_then(|p| p.strip_suffix(']'))
        && let Ok(ip) = ip.parse::<Ipv6Addr>()
    {
        return AddrError::Port { text, address: ip.to_string(), port: false };
    }
    syntax
}

/// `198.51.100.*` as `198.51.100.0/24`, if the stars stand at the end.
fn convert_wildcard_block(s: &str) -> Option<String> {
    let parts: Vec<&str> = s.split('.').collect();
    let fixed = parts.iter().position(|p| *p == "*")?;
    if parts.len() != 4 || fixed == 0 || parts[fixed..].iter().any(|p| *p != "*") {
        return None;
    }
    let mut octets = [0u8; 4];
    for (octet, part) in octets.iter_mut().zip(&parts[..fixed]) {
        *octet = part.parse().ok()?;
    }
    Some(format!("{}/{}", Ipv4Addr::from(octets), fixed * 8))
}

/// `198.051.100.007` as `198.51.100.7`; `None` unless leading zeros are all that is wrong.
fn strip_leading_zeros(s: &str) -> Option<String> {
    let plain: Vec<&str> = s
        .split('.')
        .map(|p| match p.trim_start_matches('0') {
            "" => "0",
            rest => rest,
        })
        .collect();
    let plain = plain.join(".");
    (plain != s && plain.parse::<Ipv4Addr>().is_ok()).then_some(plain)
}

/// A set of addresses of both families: sorted, disjoint, non-adjacent ranges, IPv4 first.
///
/// IPv4-mapped IPv6 addresses (`::ffff:0:0/96`, RFC 4291 section 2.5.5.2) are in no set, not even in
/// `::/0`: the kernel sends IPv4 packets for them, past whatever was said about IPv4 addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddrSet {
    v4: AddressRanges,
    v6: AddressRanges,
}

/// The bounds of `::ffff:0:0/96`.
const MAPPED_FIRST: u128 = 0xffff_0000_0000;
const MAPPED_LAST: u128 = 0xffff_ffff_ffff;

/// Disjoint ranges over `u128` with the running count, for O(log n) look-up both ways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct AddressRanges {
    ranges: Vec<(u128, u128)>,
    /// Number of addresses in the ranges before. No set holds the mapped block, so the sum of all
    /// ranges is below 2^128 and nothing wraps.
    before: Vec<u128>,
    len: u128,
}

impl AddressRanges {
    fn new(mut r: Vec<(u128, u128)>) -> Self {
        r.sort_unstable();
        let mut out: Vec<(u128, u128)> = Vec::with_capacity(r.len());
        for (a, b) in r {
            match out.last_mut() {
                Some(last) if a <= last.1.saturating_add(1) => last.1 = last.1.max(b),
                _ => out.push((a, b)),
            }
        }
        let mut before = Vec::with_capacity(out.len());
        let mut len = 0u128;
        for (a, b) in &out {
            before.push(len);
            len += b - a + 1;
        }
        Self { ranges: out, before, len }
    }

    fn index_of(&self, x: u128) -> Option<u128> {
        let i = self.ranges.partition_point(|(a, _)| *a <= x).checked_sub(1)?;
        let (a, b) = self.ranges[i];
        (x <= b).then(|| self.before[i] + (x - a))
    }

    fn nth(&self, n: u128) -> Option<u128> {
        if n >= self.len {
            return None;
        }
        let i = self.before.partition_point(|b| *b <= n) - 1;
        Some(self.ranges[i].0 + (n - self.before[i]))
    }

    /// Linear: both lists are walked once, side by side.
    fn subtract(&self, other: &Self) -> Self {
        let mut out = Vec::with_capacity(self.ranges.len());
        let mut j = 0;
        for &(a, b) in &self.ranges {
            // What ends before this range ends before all later ones too.
            while other.ranges.get(j).is_some_and(|(_, y)| *y < a) {
                j += 1;
            }
            let mut start = Some(a);
            while let (Some(s), Some(&(x, y))) = (start, other.ranges.get(j)) {
                if x > b {
                    break;
                }
                if x > s {
                    out.push((s, x - 1));
                }
                if y >= b {
                    // It may reach into the next range as well: stay on it.
                    start = None;
                } else {
                    start = Some(y + 1);
                    j += 1;
                }
            }
            if let Some(s) = start {
                out.push((s, b));
            }
        }
        Self::new(out)
    }

    fn intersect(&self, other: &Self) -> Self {
        let mut out = Vec::new();
        let (mut i, mut j) = (0, 0);
        while let (Some(&(a, b)), Some(&(x, y))) = (self.ranges.get(i), other.ranges.get(j)) {
            let (lo, hi) = (a.max(x), b.min(y));
            if lo <= hi {
                out.push((lo, hi));
            }
            if b <= y { i += 1 } else { j += 1 }
        }
        Self::new(out)
    }
}

impl AddrSet {
    /// The union of the ranges, less the IPv4-mapped addresses.
    #[must_use]
    pub fn from_ranges(ranges: impl IntoIterator<Item = AddrRange>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for r in ranges {
            match (r.first, r.last) {
                (IpAddr::V4(a), IpAddr::V4(b)) => {
                    v4.push((u128::from(a.to_bits()), u128::from(b.to_bits())));
                }
                (IpAddr::V6(a), IpAddr::V6(b)) => {
                    // At most two pieces: below and above the mapped block.
                    let (a, b) = (a.to_bits(), b.to_bits());
                    if a < MAPPED_FIRST {
                        v6.push((a, b.min(MAPPED_FIRST - 1)));
                    }
                    if b > MAPPED_LAST {
                        v6.push((a.max(MAPPED_LAST + 1), b));
                    }
                }
                _ => {}
            }
        }
        Self { v4: AddressRanges::new(v4), v6: AddressRanges::new(v6) }
    }

    /// How many addresses; saturates at `u128::MAX`, which only every address of both families
    /// together exceeds.
    #[must_use]
    pub fn len(&self) -> u128 {
        self.v4.len.saturating_add(self.v6.len)
    }

    /// How many IPv6 addresses.
    #[must_use]
    pub fn len_v6(&self) -> u128 {
        self.v6.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the address is in the set.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.index_of(ip).is_some()
    }

    /// The place of an address in the order IPv4 before IPv6, low before high; counted from 0.
    #[must_use]
    pub fn index_of(&self, ip: IpAddr) -> Option<u128> {
        match ip {
            IpAddr::V4(a) => self.v4.index_of(u128::from(a.to_bits())),
            IpAddr::V6(a) => self.v6.index_of(a.to_bits()).map(|i| i.saturating_add(self.v4.len)),
        }
    }

    /// The n-th address in that order.
    #[must_use]
    pub fn nth(&self, n: u128) -> Option<IpAddr> {
        if n < self.v4.len {
            let bits = u32::try_from(self.v4.nth(n)?).ok()?;
            return Some(IpAddr::V4(Ipv4Addr::from_bits(bits)));
        }
        Some(IpAddr::V6(Ipv6Addr::from_bits(self.v6.nth(n - self.v4.len)?)))
    }

    /// The addresses of this set that are not in the other.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        Self { v4: self.v4.subtract(&other.v4), v6: self.v6.subtract(&other.v6) }
    }

    /// The addresses that are in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self { v4: self.v4.intersect(&other.v4), v6: self.v6.intersect(&other.v6) }
    }

    /// The addresses that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges().chain(other.ranges()))
    }

    /// The ranges in order, disjoint and not adjacent.
    pub fn ranges(&self) -> impl Iterator<Item = AddrRange> + '_ {
        let v4 = self.v4.ranges.iter().filter_map(|(a, b)| {
            Some(AddrRange {
                first: IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(*a).ok()?)),
                last: IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(*b).ok()?)),
            })
        });
        let v6 = self.v6.ranges.iter().map(|(a, b)| AddrRange {
            first: IpAddr::V6(Ipv6Addr::from_bits(*a)),
            last: IpAddr::V6(Ipv6Addr::from_bits(*b)),
        });
        v4.chain(v6)
    }

    /// The addresses in order.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        (0..self.len()).map_while(|i| self.nth(i))
    }
}

impl Serialize for AddrSet {
    /// A list of texts, each the shortest form of a range.
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.ranges().map(|r| r.to_string()))
    }
}

impl<'de> Deserialize<'de> for AddrSet {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let items = Vec::<String>::deserialize(d)?;
        let mut ranges = Vec::with_capacity(items.len());
        for item in items {
            ranges.push(item.parse::<AddrRange>().map_err(serde::de::Error::custom)?);
        }
        Ok(Self::from_ranges(ranges))
    }
}
