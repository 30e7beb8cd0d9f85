//! Taking content codings off, with a bound.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Deref;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

/// Most bytes that come out of an encoded body.
pub const INFLATED_LIMIT: usize = 256 << 10;

/// Most codings that are taken off one body. Servers and a proxy in front of them make two.
const CODINGS_LIMIT: usize = 4;

/// The largest window of a Zstandard frame, bytes (RFC 8878, section 3.1.1.1.2, asks readers to
/// take no less).
const WINDOW_LIMIT: usize = 8 << 20;

/// Buffer between the body and the Brotli decoder, bytes.
const BROTLI_BUFFER: usize = 4 << 10;

/// A body without its codings, as far as they are known.
pub struct DecodedBody<'a> {
    bytes: Cow<'a, [u8]>,
    unreadable: bool,
}

impl DecodedBody<'_> {
    /// Whether a coding is not known here, or the body is not coded as its head says. The bytes are
    /// the ones that came, then: they may prove something, their lack proves nothing.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        self.unreadable
    }
}

impl Deref for DecodedBody<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body without its codings, the values of `Content-Encoding` (RFC 9110, section 8.4).
///
/// We ask for none, yet some servers encode all the same. At most [`INFLATED_LIMIT`] bytes come
/// out of each. A body that was cut off gives what can be had of it; one that is not coded as its
/// head says, or in a way that is not known here, is returned as it is and called unreadable.
#[must_use]
pub fn decode<'a>(encoding: Option<&[u8]>, body: &'a [u8]) -> DecodedBody<'a> {
    let mut decoded = DecodedBody { bytes: Cow::Borrowed(body), unreadable: false };
    let Some(encoding) = encoding.filter(|_| !body.is_empty()) else {
        return decoded;
    };
    // The last one was applied last (RFC 9110, section 8.4).
    let names = encoding.rsplit(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|n| !n.is_empty());
    for (n, name) in names.enumerate() {
        match BodyCoding::named(name) {
            Some(BodyCoding::Identity) => {}
            Some(coding) if n < CODINGS_LIMIT => match coding.take_off(&decoded.bytes) {
                Some(bytes) => decoded.bytes = Cow::Owned(bytes),
                // Named and not applied: a proxy took it off and left the name.
                None => decoded.unreadable |= !is_text(&decoded.bytes),
            },
            _ => {
                decoded.unreadable |= !is_text(&decoded.bytes);
                break;
            }
        }
    }
    decoded
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyCoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstandard,
}

impl BodyCoding {
    fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("deflate") => Some(Self::Deflate),
            () if is("br") => Some(Self::Brotli),
            () if is("zstd") => Some(Self::Zstandard),
            () if is("identity") || is("none") => Some(Self::Identity),
            () => None,
        }
    }

    /// The bytes without it; none when they are not coded so.
    fn take_off(self, body: &[u8]) -> Option<Vec<u8>> {
        let bytes = match self {
            Self::Identity => return None,
            Self::Gzip => gunzip(body, INFLATED_LIMIT)?,
            // Properly in the zlib format; some servers send the bare stream.
            Self::Deflate => {
                let bytes = read(ZlibDecoder::new(body), INFLATED_LIMIT);
                if bytes.is_empty() {
                    read(DeflateDecoder::new(body), INFLATED_LIMIT)
                } else {
                    bytes
                }
            }
            Self::Brotli => {
                let brotli = brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER);
                read(brotli, INFLATED_LIMIT)
            }
            Self::Zstandard => {
                let zstd = StreamingDecoder::new_with_max_window_size(body, WINDOW_LIMIT as u64);
                read(zstd.ok()?, INFLATED_LIMIT)
            }
        };
        (!bytes.is_empty()).then_some(bytes)
    }
}

/// Whether it begins as a text does, so that it can be read as it is.
fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(512)];
    let control = |b: &u8| matches!(b, 0..=8 | 14..=26 | 28..=31 | 127);
    !start.iter().any(control) && start.iter().filter(|b| !b.is_ascii()).count() * 4 <= start.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `DB_PASSWORD=not-a-real-secret-1` and a line feed, in an uncompressed meta-block (RFC 7932,
    /// section 9.2).
    fn brotli(text: &[u8]) -> Vec<u8> {
        // WBITS 16 is one bit; ISLAST 0, MNIBBLES 4, MLEN - 1 in 16 bits, ISUNCOMPRESSED 1.
        let head = u32::try_from(text.len() - 1).unwrap() << 4 | 1 << 20;
        let mut out = head.to_le_bytes()[..3].to_vec();
        out.extend_from_slice(text);
        // The last meta-block, empty.
        out.push(3);
        out
    }

    /// One raw block in one frame (RFC 8878, section 3.1.1).
    fn zstandard(text: &[u8]) -> Vec<u8> {
        let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, u8::try_from(text.len()).unwrap()];
        let block = u32::try_from(text.len()).unwrap() << 3 | 1;
        out.extend_from_slice(&block.to_le_bytes()[..3]);
        out.extend_from_slice(text);
        out
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    #[test]
    fn codings_are_taken_off_in_their_order() {
        let text = b"DB_PASSWORD=not-a-real-secret-1\n";
        let twice = gzip(&gzip(text));
        for (name, body) in [
            ("br", brotli(text)),
            ("zstd", zstandard(text)),
            ("gzip, gzip", twice.clone()),
            ("GZIP,identity , x-gzip", twice),
            ("br, gzip", gzip(&brotli(text))),
            // A proxy took it off, or never put it on.
            ("gzip", text.to_vec()),
            ("utf-8", text.to_vec()),
        ] {
            let decoded = decode(Some(name.as_bytes()), &body);
            assert_eq!(&*decoded, text, "{name}");
            assert!(!decoded.is_unreadable(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_so() {
        let noise = [0x9c, 0, 1, 0xfe, 0x1f, 7, 0x80];
        for name in ["compress", "dcb", "gzip", "zstd", "gzip, unknown", "a, b, c, d, e, f"] {
            let decoded = decode(Some(name.as_bytes()), &noise);
            assert!(decoded.is_unreadable(), "{name}");
            assert_eq!(&*decoded, noise, "{name}");
        }
        assert!(!decode(None, &noise).is_unreadable());
        assert!(!decode(Some(b"compress"), b"").is_unreadable());
    }

    #[test]
    fn a_frame_with_a_huge_window_is_refused() {
        // Window descriptor 0xa8: 2 GiB.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 0x09, 0, 0, 0x41];
        assert!(decode(Some(b"zstd"), &frame).is_unreadable());
    }
}
