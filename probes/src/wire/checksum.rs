//! The Internet checksum (RFC 1071).

/// The one's complement sum of big-endian words; an odd last byte is padded with zero.
pub(super) fn sum_bytes(bytes: &[u8]) -> u32 {
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    total
}

/// The sum of a 32-bit number's two words.
#[inline]
pub(super) const fn sum_halves(n: u32) -> u32 {
    (n >> 16) + (n & 0xffff)
}

/// Folds a sum and complements it: the checksum field.
#[inline]
pub(super) const fn finish(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}
