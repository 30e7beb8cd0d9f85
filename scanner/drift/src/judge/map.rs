//! Where in each range something is, for a picture.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::RunJudge;
use crate::verdict::{FindingState, MAP_CELLS, MapMark, RangeMap};

/// Ranges that are drawn: those with most in them.
const MAX_MAPS: usize = 64;
/// Addresses of a range, as a power of two, beyond which only the part with something in it is drawn.
const MAX_BITS: u32 = 24;

/// What is at one address.
#[derive(Clone, Copy)]
enum MapCell {
    Allowed,
    Unexpected,
    Missing,
    Unverified,
}

impl RunJudge<'_> {
    /// The maps of the plan's ranges, in order of address.
    pub(super) fn maps(&self) -> Vec<RangeMap> {
        let mut squares: Vec<MapSquare> = Vec::new();
        for range in self.run.addresses.ranges() {
            if squares.last().is_some_and(|s| s.holds(range.last())) {
                continue;
            }
            let square = MapSquare::around(range.first(), range.last());
            if square.bits <= MAX_BITS {
                squares.push(square);
                continue;
            }
            let mut inside: Option<(IpAddr, IpAddr)> = None;
            self.each_point(&mut |ip, _| {
                if range.contains(ip) {
                    inside = Some(inside.map_or((ip, ip), |(a, b)| (a.min(ip), b.max(ip))));
                }
            });
            squares.extend(inside.map(|(first, last)| MapSquare::around(first, last)));
        }
        squares.sort_by_key(|s| s.address(0));
        let mut drawn: Vec<MapBuilder> = squares.into_iter().map(MapBuilder::new).collect();
        self.each_point(&mut |ip, what| {
            let behind = drawn.partition_point(|d| d.square.address(0) <= ip);
            if let Some(d) = behind.checked_sub(1).and_then(|i| drawn.get_mut(i)) {
                d.add(ip, what);
            }
        });
        drawn.sort_by_key(|d| std::cmp::Reverse(d.points));
        drawn.truncate(MAX_MAPS);
        drawn.sort_by_key(|d| d.square.address(0));
        drawn.into_iter().map(MapBuilder::done).collect()
    }

    /// Everything that is drawn. There may be a million, so they are not collected.
    fn each_point(&self, f: &mut dyn FnMut(IpAddr, MapCell)) {
        self.next.allowed.values().for_each(|a| f(a.subject.ip(), MapCell::Allowed));
        // A pool is at no one address.
        for t in self.next.findings.values().filter(|t| t.finding.pool.is_none()) {
            let what = match t.finding.state {
                FindingState::Open | FindingState::Resolving => MapCell::Unexpected,
                FindingState::Missing => MapCell::Missing,
                FindingState::Unverified | FindingState::MissingUnverified => MapCell::Unverified,
                _ => continue,
            };
            f(t.finding.ip, what);
        }
    }
}

/// A map that is being drawn.
struct MapBuilder {
    square: MapSquare,
    points: usize,
    marks: BTreeMap<u32, MapMark>,
}

impl MapBuilder {
    const fn new(square: MapSquare) -> Self {
        Self { square, points: 0, marks: BTreeMap::new() }
    }

    fn add(&mut self, ip: IpAddr, what: MapCell) {
        if !self.square.holds(ip) {
            return;
        }
        self.points += 1;
        let n = to_address_number(ip) - self.square.base;
        let shift = self.square.bits - self.square.cell_bits();
        let index = n.checked_shr(shift).unwrap_or(0) as u32;
        let mark =
            self.marks.entry(index).or_insert_with(|| MapMark { index, ..MapMark::default() });
        *match what {
            MapCell::Allowed => &mut mark.allowed,
            MapCell::Unexpected => &mut mark.unexpected,
            MapCell::Missing => &mut mark.missing,
            MapCell::Unverified => &mut mark.unverified,
        } += 1;
    }

    fn done(self) -> RangeMap {
        let length = if self.square.v4 { 32 } else { 128 } - self.square.bits;
        RangeMap {
            range: format!("{}/{length}", self.square.address(0)),
            cells: 1 << self.square.cell_bits(),
            marks: self.marks.into_values().collect(),
        }
    }
}

/// A CIDR whose addresses fill a square of cells: an even number of host bits.
#[derive(Clone, Copy)]
struct MapSquare {
    v4: bool,
    base: u128,
    bits: u32,
}

fn to_address_number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

impl MapSquare {
    /// The smallest one that holds both, of one family.
    fn around(first: IpAddr, last: IpAddr) -> Self {
        let (a, b) = (to_address_number(first), to_address_number(last));
        let bits = (u128::BITS - (a ^ b).leading_zeros()).next_multiple_of(2);
        let base = a & !Self { v4: true, base: 0, bits }.last();
        Self { v4: first.is_ipv4(), base, bits }
    }

    /// The last address, counted from the first.
    const fn last(self) -> u128 {
        if self.bits >= u128::BITS { u128::MAX } else { (1 << self.bits) - 1 }
    }

    fn holds(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.v4
            && to_address_number(ip).checked_sub(self.base).is_some_and(|n| n <= self.last())
    }

    fn address(self, n: u128) -> IpAddr {
        let x = self.base | n;
        if self.v4 { IpAddr::V4((x as u32).into()) } else { IpAddr::V6(x.into()) }
    }

    /// Of the number of cells, the binary logarithm.
    fn cell_bits(self) -> u32 {
        self.bits.min(MAP_CELLS.ilog2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(square: MapSquare, points: &[(IpAddr, MapCell)]) -> RangeMap {
        let mut d = MapBuilder::new(square);
        points.iter().for_each(|(ip, what)| d.add(*ip, *what));
        d.done()
    }

    fn ip(s: &str) -> IpAddr {
        s.parse().expect("an address")
    }

    #[test]
    fn a_small_range_has_a_cell_for_each_address_and_a_large_one_shares_them() {
        let points = [
            (ip("198.51.100.64"), MapCell::Allowed),
            (ip("198.51.100.127"), MapCell::Unexpected),
            (ip("198.51.100.127"), MapCell::Unexpected),
        ];
        let m = draw(MapSquare::around(ip("198.51.100.64"), ip("198.51.100.127")), &points);
        assert_eq!((m.range.as_str(), m.cells), ("198.51.100.64/26", 64));
        assert_eq!(
            m.marks.iter().map(|m| (m.index, m.unexpected)).collect::<Vec<_>>(),
            [(0, 0), (63, 2)]
        );
        // An odd number of bits takes the next larger square.
        let m = draw(MapSquare::around(ip("198.51.100.0"), ip("198.51.100.127")), &points[..1]);
        assert_eq!((m.range.as_str(), m.cells, m.marks[0].index), ("198.51.100.0/24", 256, 64));
        let m = draw(
            MapSquare::around(ip("198.18.0.0"), ip("198.19.255.255")),
            &[(ip("198.19.0.0"), MapCell::Missing)],
        );
        assert_eq!((m.range.as_str(), m.cells, m.marks[0].index), ("198.16.0.0/14", 4096, 3072));
        let one = draw(MapSquare::around(ip("192.0.2.1"), ip("192.0.2.1")), &[]);
        assert_eq!((one.range.as_str(), one.cells), ("192.0.2.1/32", 1));
        let all = MapSquare::around(ip("::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!(draw(all, &[(ip("ffff::"), MapCell::Allowed)]).range, "::/0");
    }
}
