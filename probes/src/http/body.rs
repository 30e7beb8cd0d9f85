//! Inflating, with a bound.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

/// Most bytes that come out of an encoded body.
pub const INFLATED_LIMIT: usize = 256 << 10;

/// The body without its encoding, the value of `Content-Encoding` (RFC 9110, section 8.4).
///
/// We ask for none, yet some servers encode all the same. At most [`INFLATED_LIMIT`] bytes come
/// out. A body that was cut off gives what can be had of it; one that is not encoded as its header
/// says, or encoded in a way that is not known here, is returned as it is.
#[must_use]
pub fn decode<'a>(encoding: Option<&[u8]>, body: &'a [u8]) -> Cow<'a, [u8]> {
    let encoding = encoding.unwrap_or_default().trim_ascii();
    let is = |name: &str| encoding.eq_ignore_ascii_case(name.as_bytes());
    let inflated = if is("gzip") || is("x-gzip") {
        gunzip(body, INFLATED_LIMIT)
    } else if is("deflate") {
        // Properly in the zlib format; some servers send the bare stream.
        Some(read(ZlibDecoder::new(body), INFLATED_LIMIT))
            .filter(|b| !b.is_empty())
            .or_else(|| Some(read(DeflateDecoder::new(body), INFLATED_LIMIT)))
    } else {
        None
    };
    match inflated {
        Some(bytes) if !bytes.is_empty() => Cow::Owned(bytes),
        _ => Cow::Borrowed(body),
    }
}

/// The first `limit` bytes in a gzip file (RFC 1952), or what can be had of them; nothing if it is
/// no gzip file.
pub(super) fn gunzip(body: &[u8], limit: usize) -> Option<Vec<u8>> {
    body.starts_with(&[0x1f, 0x8b, 8]).then(|| read(GzDecoder::new(body), limit))
}

pub(super) fn read(mut from: impl Read, limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut buffer = [0; 8 << 10];
    while out.len() < limit {
        let room = buffer.len().min(limit - out.len());
        match from.read(&mut buffer[..room]) {
            Ok(n) if n > 0 => out.extend_from_slice(&buffer[..n]),
            // The end, or an error: what came before it stays.
            _ => break,
        }
    }
    out
}
