//! What a fake site answers: status, headers, body, and how the body is put on the wire.

use std::io::Write as _;
use std::time::Duration;

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress, Status};

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    pub(super) form: Form,
}

/// A body.
#[derive(Debug, Clone)]
pub enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes over and over, chunked, until the client goes away.
    Endless(Vec<u8>),
    /// These bytes, one at a time with a pause before each, and never all of them: the announced
    /// length is one more.
    Drip {
        /// What is sent.
        bytes: Vec<u8>,
        /// The pause.
        pause: Duration,
    },
    /// These bytes without a length, and the connection stays open.
    Unended(Vec<u8>),
    /// These bytes, then the connection ends although more were announced.
    Cut(Vec<u8>),
}

/// The six ways in which real servers deliver one and the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// A fitting `Content-Type` and a length.
    #[default]
    Typed,
    /// No `Content-Type`.
    Untyped,
    /// `text/html`, whatever it is.
    Html,
    /// Compressed although identity was asked for.
    Gzip,
    /// Chunked, without a length.
    Chunked,
    /// HTTP/1.0: neither length nor chunks, the close ends the body.
    Http10Close,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Typed, Self::Untyped, Self::Html, Self::Gzip, Self::Chunked, Self::Http10Close];
}

impl Answer {
    /// 200 with this body.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).body(Body::Bytes(body.into()))
    }

    /// This status with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Bytes(Vec::new()), form: Form::Typed }
    }

    /// 302 to this place.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::status(302).header("Location", location)
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// With one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Delivered in this form.
    #[must_use]
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }
}

/// These bytes as a gzip stream (RFC 1952).
///
/// # Panics
/// Never: writing to memory does not fail.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// A gzip stream that inflates to `mebibytes` MiB of zeros. A full flush makes every compressed
/// mebibyte alike (RFC 1951, section 3.2.4: the window starts anew), so one is made and repeated.
///
/// # Panics
/// Never: the buffer holds what a mebibyte of zeros comes to.
#[must_use]
pub fn gzip_bomb(mebibytes: usize) -> Vec<u8> {
    let zeros = vec![0u8; 1 << 20];
    let mut block = Vec::with_capacity(64 * 1024);
    let mut deflate = Compress::new(Compression::best(), false);
    let status =
        deflate.compress_vec(&zeros, &mut block, FlushCompress::Full).expect("zeros compress");
    assert_eq!(status, Status::Ok);
    assert_eq!(deflate.total_in(), zeros.len() as u64);
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for _ in 0..mebibytes {
        bomb.extend_from_slice(&block);
    }
    // The last block, empty; the checksum behind it is wrong, but nobody should ever get there.
    bomb.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bomb
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::DeflateDecoder;

    use super::*;

    #[test]
    fn the_bomb_inflates() {
        let bomb = gzip_bomb(3);
        let mut out = Vec::new();
        DeflateDecoder::new(&bomb[10..bomb.len() - 8]).read_to_end(&mut out).unwrap();
        assert_eq!(out.len(), 3 << 20);
        assert!(out.iter().all(|b| *b == 0));
        assert!(bomb.len() < 16 * 1024, "{}", bomb.len());
    }
}
