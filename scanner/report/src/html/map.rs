//! The maps of the ranges, as inline SVG with a list that says the same.

use std::net::IpAddr;

use mimawari_drift::verdict::{MAP_CELLS, MapMark, RangeMap, Verdict};

use crate::clean::clean;
use crate::html::hilbert;
use crate::words::{self, NAME, group_digits};

/// Maps that are drawn.
const MAX_MAPS: usize = 64;
/// Cells that the list under a map names.
const MAX_ROWS: usize = 128;
/// Units of the drawing that one cell takes.
const CELL: u32 = 10;

/// The section of the maps.
pub(crate) struct RangeMaps {
    pub(crate) maps: Vec<HtmlMap>,
    /// How many are left out.
    pub(crate) beyond: Option<String>,
}

/// One range.
pub(crate) struct HtmlMap {
    pub(crate) range: String,
    /// Side of the drawing, in units.
    pub(crate) size: u32,
    /// Which of the hatchings: in a map of many small cells a fine one would look like a colour.
    pub(crate) hatch: &'static str,
    /// Where the sixteen squares meet, as a path; empty for a map of few cells.
    pub(crate) lines: String,
    /// What each cell stands for: `one address`, `a /30`.
    pub(crate) cell: String,
    /// The map in a sentence.
    pub(crate) summary: String,
    pub(crate) allowed: String,
    pub(crate) unexpected: String,
    pub(crate) missing: String,
    pub(crate) unverified: String,
    pub(crate) rows: Vec<MapRow>,
    pub(crate) beyond: Option<String>,
    /// For the script: the number of cells, and of each that is not empty its index and four numbers.
    pub(crate) cells: u32,
    pub(crate) marks: Vec<[u32; 5]>,
}

/// A cell that is not empty, in words.
pub(crate) struct MapRow {
    pub(crate) cidr: String,
    pub(crate) numbers: [String; 4],
}

impl RangeMaps {
    /// `None` where there is no map.
    pub(crate) fn new(v: &Verdict) -> Option<Self> {
        let all: Vec<&RangeMap> = v.maps.iter().collect();
        let maps: Vec<HtmlMap> =
            all.iter().filter_map(|m| HtmlMap::new(m)).take(MAX_MAPS).collect();
        let beyond = all.len() - maps.len();
        (!all.is_empty()).then(|| Self {
            maps,
            beyond: (beyond > 0).then(|| words::format_plural(beyond as u64, "more range")),
        })
    }
}

impl HtmlMap {
    /// `None` for what is no CIDR or no square.
    fn new(m: &RangeMap) -> Option<Self> {
        let range = MapCidr::parse(&m.range)?;
        let side = m.cells.isqrt();
        if side * side != m.cells || !side.is_power_of_two() || m.cells > MAP_CELLS {
            return None;
        }
        let marks: Vec<&MapMark> = m.marks.iter().filter(|k| k.index < m.cells).collect();
        let path = |number: fn(&MapMark) -> u32, inset: u32| {
            let width = CELL - 2 * inset;
            marks
                .iter()
                .filter(|k| number(k) > 0)
                .map(|k| {
                    let (x, y) = hilbert::compute_curve_position(side, k.index);
                    let (x, y) = (x * CELL + inset, y * CELL + inset);
                    format!("M{x} {y}h{width}v{width}h-{width}z")
                })
                .collect::<String>()
        };
        let size = side * CELL;
        let lines = (1..4)
            .filter(|_| side >= 8)
            .map(|i| i * size / 4)
            .map(|at| format!("M{at} 0v{size}M0 {at}h{size}"))
            .collect();
        let mut order = marks.clone();
        order
            .sort_by_key(|k| (std::cmp::Reverse((k.unexpected, k.missing, k.unverified)), k.index));
        let rows = order.iter().take(MAX_ROWS).map(|k| MapRow {
            cidr: range.cell(m.cells, k.index),
            numbers: [k.unexpected, k.missing, k.unverified, k.allowed]
                .map(|n| group_digits(n.into())),
        });
        let beyond = marks.len().saturating_sub(MAX_ROWS);
        let sum =
            |number: fn(&MapMark) -> u32| marks.iter().map(|k| u64::from(number(k))).sum::<u64>();
        Some(Self {
            summary: format!(
                "{} unexpected, {} missing, {} unverified, {} allowed",
                group_digits(sum(|k| k.unexpected)),
                group_digits(sum(|k| k.missing)),
                group_digits(sum(|k| k.unverified)),
                group_digits(sum(|k| k.allowed)),
            ),
            cell: match range.cell(m.cells, 0).split_once('/') {
                Some((_, prefix)) => format!("a /{prefix}"),
                None => "one address".to_owned(),
            },
            allowed: path(|k| k.allowed, 3),
            unexpected: path(|k| k.unexpected, 1),
            missing: path(|k| k.missing, 2),
            unverified: path(|k| k.unverified, 1),
            rows: rows.collect(),
            beyond: (beyond > 0).then(|| words::format_plural(beyond as u64, "more cell")),
            marks: marks
                .iter()
                .map(|k| [k.index, k.unexpected, k.missing, k.unverified, k.allowed])
                .collect(),
            range: clean(&m.range, NAME),
            size,
            hatch: if side > 16 { "-wide" } else { "" },
            lines,
            cells: m.cells,
        })
    }
}

/// A range that is a prefix.
struct MapCidr {
    first: IpAddr,
    prefix: u32,
}

impl MapCidr {
    fn parse(s: &str) -> Option<Self> {
        let (ip, prefix) = s.split_once('/').map_or((s, None), |(ip, p)| (ip, Some(p)));
        let first: IpAddr = ip.parse().ok()?;
        let max = if first.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(max), |p| p.parse().ok())?;
        (prefix <= max).then_some(Self { first, prefix })
    }

    /// The CIDR of a cell of so many; one address stands without its prefix.
    fn cell(&self, cells: u32, index: u32) -> String {
        let depth = cells.ilog2();
        let (max, bits) = match self.first {
            IpAddr::V4(ip) => (32, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (128, ip.to_bits()),
        };
        let prefix = (self.prefix + depth).min(max);
        // A range of fewer addresses than cells has several cells for each.
        let index = u128::from(index) >> (self.prefix + depth - prefix);
        let bits = bits | index.checked_shl(max - prefix).unwrap_or(0);
        let ip = match self.first {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into()),
            IpAddr::V6(_) => IpAddr::V6(bits.into()),
        };
        if prefix == max { ip.to_string() } else { format!("{ip}/{prefix}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn cells_have_the_prefix_that_they_hold() {
        let cell = |range: &str, cells, i| MapCidr::parse(range).expect(range).cell(cells, i);
        assert_eq!(cell("198.51.100.0/24", 256, 7), "198.51.100.7");
        assert_eq!(cell("198.51.100.0/24", 64, 63), "198.51.100.252/30");
        assert_eq!(cell("198.18.0.0/15", 4_096, 4_095), "198.19.255.224/27");
        assert_eq!(cell("0.0.0.0/0", 4, 3), "192.0.0.0/2");
        assert_eq!(cell("0.0.0.0/0", 1, 0), "0.0.0.0/0");
        assert_eq!(cell("192.0.2.9/32", 1, 0), "192.0.2.9");
        assert_eq!(cell("192.0.2.8/31", 4, 3), "192.0.2.9");
        assert_eq!(cell("2001:db8:10::/120", 256, 255), "2001:db8:10::ff");
        assert_eq!(cell("2001:db8::/32", 4_096, 1), "2001:db8:10::/44");
        assert_eq!(cell("::/0", 1, 0), "::/0");
    }

    #[test]
    fn what_is_no_range_or_no_square_is_counted_and_not_drawn() {
        for (range, cells) in [
            ("x", 4),
            ("192.0.2.0/33", 4),
            ("192.0.2.0/24", 8),
            ("192.0.2.0/24", 0),
            ("::/0", 16_384),
        ] {
            let m = RangeMap { range: range.to_owned(), cells, marks: vec![] };
            let v = Verdict { maps: vec![m], ..samples::clean() };
            let maps = RangeMaps::new(&v).expect("a section");
            assert!(maps.maps.is_empty(), "{range} {cells}");
            assert_eq!(maps.beyond.as_deref(), Some("1 more range"));
        }
        assert!(RangeMaps::new(&samples::clean()).is_none());
    }

    #[test]
    fn each_kind_of_mark_has_its_own_path_and_its_row() {
        let mark = |index, unexpected, missing, unverified, allowed| MapMark {
            index,
            allowed,
            unexpected,
            missing,
            unverified,
        };
        let marks = vec![
            mark(0, 0, 0, 0, 5),
            mark(1, 2, 0, 1, 0),
            mark(2, 0, 1, 0, 0),
            mark(9, 9, 9, 9, 9),
        ];
        let m = HtmlMap::new(&RangeMap { range: "192.0.2.0/30".to_owned(), cells: 4, marks })
            .expect("map");
        assert_eq!(m.allowed, "M3 3h4v4h-4z");
        assert_eq!(m.unexpected, "M1 11h8v8h-8z");
        assert_eq!(m.missing, "M12 12h6v6h-6z");
        assert_eq!(m.unverified, m.unexpected);
        assert_eq!(m.summary, "2 unexpected, 1 missing, 1 unverified, 5 allowed");
        let rows: Vec<&str> = m.rows.iter().map(|r| r.cidr.as_str()).collect();
        assert_eq!(rows, ["192.0.2.1", "192.0.2.2", "192.0.2.0"]);
        assert_eq!((m.cell.as_str(), m.marks.len()), ("one address", 3));
    }
}
