//! Where in each range something is, for a picture.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mimawari_targets::AddrRange;

use super::Judge;
use crate::verdict::{FindingState, MAP_CELLS, MapMark, RangeMap};

/// Ranges that are drawn: those with most in them.
const MAX_MAPS: usize = 64;
/// Addresses of a range, as a power of two, beyond which only the part with something in it is drawn.
const MAX_BITS: u32 = 24;

/// What is at one address.
#[derive(Clone, Copy)]
enum What {
    Allowed,
    Unexpected,
    Missing,
    Unverified,
}

impl Judge<'_> {
    /// The maps of the plan's ranges, in order of address.
    pub(super) fn maps(&self) -> Vec<RangeMap> {
        let mut points: Vec<(IpAddr, What)> = Vec::new();
        points.extend(self.next.allowed.values().map(|a| (a.ip, What::Allowed)));
        points.extend(self.next.findings.values().filter_map(|t| {
            let what = match t.finding.state {
                FindingState::Open | FindingState::Resolving => What::Unexpected,
                FindingState::Missing => What::Missing,
                FindingState::Unverified | FindingState::MissingUnverified => What::Unverified,
                _ => return None,
            };
            Some((t.finding.ip, what))
        }));
        points.sort_by_key(|(ip, _)| *ip);
        let mut maps: Vec<(usize, RangeMap)> = Vec::new();
        let mut drawn: Option<Square> = None;
        for range in self.run.addresses.ranges() {
            if drawn.is_some_and(|d| d.holds(range.last())) {
                continue;
            }
            let within = |low, high| {
                let from = points.partition_point(|(ip, _)| *ip < low);
                let to = points.partition_point(|(ip, _)| *ip <= high);
                &points[from..to.max(from)]
            };
            let mut square = Square::around(range.first(), range.last());
            if square.bits > MAX_BITS {
                let inside = within(range.first(), range.last());
                let (Some((first, _)), Some((last, _))) = (inside.first(), inside.last()) else {
                    continue;
                };
                square = Square::around(*first, *last);
            }
            let inside = within(square.address(0), square.address(square.last()));
            maps.push((inside.len(), square.draw(inside)));
            drawn = Some(square);
        }
        maps.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        maps.truncate(MAX_MAPS);
        let mut maps: Vec<RangeMap> = maps.into_iter().map(|(_, m)| m).collect();
        maps.sort_by_key(|m| m.range.parse::<AddrRange>().map(|r| r.first()).ok());
        maps
    }
}

/// A CIDR whose addresses fill a square of cells: an even number of host bits.
#[derive(Clone, Copy)]
struct Square {
    v4: bool,
    base: u128,
    bits: u32,
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

impl Square {
    /// The smallest one that holds both, of one family.
    fn around(first: IpAddr, last: IpAddr) -> Self {
        let (a, b) = (number(first), number(last));
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
            && number(ip).checked_sub(self.base).is_some_and(|n| n <= self.last())
    }

    fn address(self, n: u128) -> IpAddr {
        let x = self.base | n;
        if self.v4 { IpAddr::V4((x as u32).into()) } else { IpAddr::V6(x.into()) }
    }

    fn draw(self, points: &[(IpAddr, What)]) -> RangeMap {
        let cell_bits = self.bits.min(MAP_CELLS.ilog2());
        let mut marks: BTreeMap<u32, MapMark> = BTreeMap::new();
        for (ip, what) in points {
            let n = number(*ip) - self.base;
            let index = n.checked_shr(self.bits - cell_bits).unwrap_or(0) as u32;
            let mark =
                marks.entry(index).or_insert_with(|| MapMark { index, ..MapMark::default() });
            *match what {
                What::Allowed => &mut mark.allowed,
                What::Unexpected => &mut mark.unexpected,
                What::Missing => &mut mark.missing,
                What::Unverified => &mut mark.unverified,
            } += 1;
        }
        let length = if self.v4 { 32 } else { 128 } - self.bits;
        RangeMap {
            range: format!("{}/{length}", self.address(0)),
            cells: 1 << cell_bits,
            marks: marks.into_values().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> IpAddr {
        s.parse().expect("an address")
    }

    #[test]
    fn a_small_range_has_a_cell_for_each_address_and_a_large_one_shares_them() {
        let points = [
            (ip("198.51.100.64"), What::Allowed),
            (ip("198.51.100.127"), What::Unexpected),
            (ip("198.51.100.127"), What::Unexpected),
        ];
        let m = Square::around(ip("198.51.100.64"), ip("198.51.100.127")).draw(&points);
        assert_eq!((m.range.as_str(), m.cells), ("198.51.100.64/26", 64));
        assert_eq!(
            m.marks.iter().map(|m| (m.index, m.unexpected)).collect::<Vec<_>>(),
            [(0, 0), (63, 2)]
        );
        // An odd number of bits takes the next larger square.
        let m = Square::around(ip("198.51.100.0"), ip("198.51.100.127")).draw(&points[..1]);
        assert_eq!((m.range.as_str(), m.cells, m.marks[0].index), ("198.51.100.0/24", 256, 64));
        let m = Square::around(ip("198.18.0.0"), ip("198.19.255.255"))
            .draw(&[(ip("198.19.0.0"), What::Missing)]);
        assert_eq!((m.range.as_str(), m.cells, m.marks[0].index), ("198.16.0.0/14", 4096, 3072));
        let one = Square::around(ip("192.0.2.1"), ip("192.0.2.1")).draw(&[]);
        assert_eq!((one.range.as_str(), one.cells), ("192.0.2.1/32", 1));
        let all = Square::around(ip("::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!(all.draw(&[(ip("ffff::"), What::Allowed)]).range, "::/0");
    }
}
