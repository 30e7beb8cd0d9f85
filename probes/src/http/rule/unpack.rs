//! The beginning of what a compressed file holds.

use std::io::Read as _;

use flate2::read::DeflateDecoder;

use super::super::body::{self, gunzip};

/// As much as is read of a file that is not compressed.
const ENOUGH: usize = 64 << 10;

/// The first entry of a ZIP archive (APPNOTE.TXT, section 4.3.7).
pub(super) struct ArchiveEntry<'a> {
    /// Its name; names may be Shift_JIS.
    pub(super) name: &'a [u8],
    method: u16,
    data: &'a [u8],
}

/// The first entry of a ZIP archive, if its name is one.
pub(super) fn read_first_entry(bytes: &[u8]) -> Option<ArchiveEntry<'_>> {
    let header = bytes.strip_prefix(b"PK\x03\x04")?;
    let u16_at =
        |at: usize| header.get(at..at + 2).map(|b| usize::from(b[0]) | usize::from(b[1]) << 8);
    // Offsets 8, 26 and 28 of the local file header; the name begins at 30.
    let (method, name, extra) = (u16_at(4)?, u16_at(22)?, u16_at(24)?);
    let name = header.get(26..26 + name)?;
    let data = header.get(26 + name.len() + extra..).unwrap_or_default();
    let printable = name.iter().all(|b| *b >= 0x20 && *b != 0x7f);
    (!name.is_empty() && printable).then_some(ArchiveEntry {
        name,
        method: u16::try_from(method).ok()?,
        data,
    })
}

/// The first 64 KiB in a gzip file or in the first entry of a ZIP archive.
pub(super) fn decompress_archive(bytes: &[u8]) -> Option<Vec<u8>> {
    if let Some(plain) = gunzip(bytes, ENOUGH) {
        return Some(plain);
    }
    let entry = read_first_entry(bytes)?;
    match entry.method {
        0 => Some(entry.data[..entry.data.len().min(ENOUGH)].to_vec()),
        8 => Some(body::read(DeflateDecoder::new(entry.data).take(ENOUGH as u64), ENOUGH)),
        _ => None,
    }
}
