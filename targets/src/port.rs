//! Ports, port sets and their text form.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Transport protocol of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port number, 1–65535. Port 0 is reserved (RFC 6335, section 6) and cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port, or `None` for 0.
    #[must_use]
    pub const fn new(port: u16) -> Option<Self> {
        match NonZeroU16::new(port) {
            Some(p) => Some(Self(p)),
            None => None,
        }
    }

    /// The number, 1–65535.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Port {
    type Err = PortError;

    fn from_str(s: &str) -> Result<Self, PortError> {
        // `u16::from_str` takes a leading plus sign; a port list does not.
        if s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PortError::NotAPort(s.to_owned()));
        }
        s.parse::<u16>()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| PortError::OutOfRange(s.to_owned()))
    }
}

/// Why a port list was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// An item is neither a number nor a range nor a known list name.
    #[error("`{0}` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all")]
    NotAPort(String),
    /// A number outside 1–65535.
    #[error("port `{0}` is out of range; ports go from 1 to 65535")]
    OutOfRange(String),
    /// A range whose end is below its start.
    #[error("port range `{first}-{last}` is inverted; write `{last}-{first}`")]
    Inverted {
        /// As written, first.
        first: u16,
        /// As written, last.
        last: u16,
    },
    /// Two items share a port.
    #[error("`{second}` overlaps `{first}`; list each port once")]
    Overlap {
        /// The earlier item.
        first: String,
        /// The later item.
        second: String,
    },
    /// Nothing in the list.
    #[error("the port list is empty; name at least one port, such as 22,80,443")]
    Empty,
}

/// A set of ports as sorted, disjoint, non-adjacent inclusive ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortSet {
    ranges: Vec<(u16, u16)>,
    /// `before[i]` = number of ports in the ranges before the i-th.
    before: Vec<u32>,
    len: u32,
}

impl PortSet {
    /// The set of the given inclusive ranges; overlapping and adjacent ones are joined.
    /// Port 0 is left out.
    #[must_use]
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut r: Vec<(u16, u16)> =
            ranges.into_iter().map(|(a, b)| (a.max(1), b)).filter(|(a, b)| a <= b).collect();
        r.sort_unstable();
        let mut out: Vec<(u16, u16)> = Vec::with_capacity(r.len());
        for (a, b) in r {
            match out.last_mut() {
                Some(last) if u32::from(a) <= u32::from(last.1) + 1 => last.1 = last.1.max(b),
                _ => out.push((a, b)),
            }
        }
        let mut before = Vec::with_capacity(out.len());
        let mut len = 0u32;
        for (a, b) in &out {
            before.push(len);
            len += u32::from(b - a) + 1;
        }
        Self { ranges: out, before, len }
    }

    /// Every port, 1–65535.
    #[must_use]
    pub fn all() -> Self {
        Self::from_ranges([(1, u16::MAX)])
    }

    /// How many ports.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The ranges, sorted and disjoint, both ends included.
    #[must_use]
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }

    /// The n-th port in numeric order, counted from 0.
    #[must_use]
    pub fn nth(&self, n: u32) -> Option<Port> {
        if n >= self.len {
            return None;
        }
        let i = self.before.partition_point(|b| *b <= n) - 1;
        let offset = u16::try_from(n - self.before[i]).ok()?;
        Port::new(self.ranges[i].0 + offset)
    }

    /// The place of a port in numeric order, counted from 0.
    #[must_use]
    pub fn index_of(&self, port: Port) -> Option<u32> {
        let p = port.get();
        let i = self.ranges.partition_point(|(a, _)| *a <= p).checked_sub(1)?;
        let (a, b) = self.ranges[i];
        (p <= b).then(|| self.before[i] + u32::from(p - a))
    }

    /// Whether the port is in the set.
    #[must_use]
    pub fn contains(&self, port: Port) -> bool {
        self.index_of(port).is_some()
    }

    /// The ports in numeric order.
    pub fn iter(&self) -> impl Iterator<Item = Port> + '_ {
        self.ranges.iter().flat_map(|(a, b)| (*a..=*b).filter_map(Port::new))
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (a, b)) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if a == b { write!(f, "{a}")? } else { write!(f, "{a}-{b}")? }
        }
        Ok(())
    }
}

impl FromStr for PortSet {
    type Err = PortError;

    /// `22,80,443,8000-8100`, or a named list on its own or among others: `top100`, `top1000`, `all`.
    fn from_str(s: &str) -> Result<Self, PortError> {
        let mut seen: Vec<(u16, u16, String)> = Vec::new();
        let mut named: Vec<(u16, u16)> = Vec::new();
        for item in s.split(',').map(str::trim) {
            if item.is_empty() {
                if s.trim().is_empty() {
                    return Err(PortError::Empty);
                }
                return Err(PortError::NotAPort(item.to_owned()));
            }
            match item {
                "all" => named.push((1, u16::MAX)),
                "top100" => named.extend(TOP_100.iter().map(|p| (*p, *p))),
                "top1000" => named.extend(top_1000()),
                _ => {
                    let (a, b) = match item.split_once('-') {
                        Some((a, b)) => {
                            let (a, b) =
                                (Port::from_str(a.trim())?.get(), Port::from_str(b.trim())?.get());
                            if a > b {
                                return Err(PortError::Inverted { first: a, last: b });
                            }
                            (a, b)
                        }
                        None => {
                            let p = Port::from_str(item)?.get();
                            (p, p)
                        }
                    };
                    if let Some((.., first)) = seen.iter().find(|(x, y, _)| a <= *y && *x <= b) {
                        return Err(PortError::Overlap {
                            first: first.clone(),
                            second: item.to_owned(),
                        });
                    }
                    seen.push((a, b, item.to_owned()));
                }
            }
        }
        Ok(Self::from_ranges(seen.into_iter().map(|(a, b, _)| (a, b)).chain(named)))
    }
}

impl Serialize for PortSet {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = String::deserialize(d)?;
        s.parse().map_err(serde::de::Error::custom)
    }
}

/// The hundred TCP ports that a hosting company most often finds open by accident: remote access,
/// mail, web and its side doors, databases, caches, queues, orchestrators, panels.
const TOP_100: [u16; 100] = [
    20, 21, 22, 23, 25, 53, 79, 80, 81, 82, 88, 110, 111, 113, 119, 135, 139, 143, 179, 199, 389,
    443, 445, 465, 502, 512, 513, 514, 515, 548, 554, 587, 623, 631, 636, 873, 990, 993, 995, 1080,
    1099, 1433, 1521, 1723, 1883, 2049, 2082, 2083, 2086, 2087, 2181, 2222, 2375, 2376, 2379, 2380,
    3000, 3128, 3268, 3306, 3389, 4369, 4443, 5000, 5060, 5432, 5601, 5672, 5900, 5984, 5985, 6379,
    6443, 7001, 8000, 8006, 8008, 8080, 8081, 8086, 8088, 8161, 8443, 8500, 8888, 9000, 9042, 9090,
    9092, 9100, 9200, 9300, 9418, 10000, 10250, 11211, 15672, 25565, 27017, 50000,
];

/// `top1000`: the system ports that carry TCP services, the hundred, and the ranges in which
/// panels, alternates and clustered services are found.
fn top_1000() -> Vec<(u16, u16)> {
    // Exactly 1,000 ports; a test counts them.
    const RANGES: &[(u16, u16)] = &[(1, 600)];
    RANGES.iter().copied().collect()
}
