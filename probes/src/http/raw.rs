//! Answers that a strict reader refuses, read as far as a browser of old would.
//!
//! Total on any bytes. HTTP/0.9 is never guessed: an answer without a status line is none.

use std::borrow::Cow;

use memchr::memmem;

/// A status line and header fields (RFC 9112, section 2), read as far as they are there.
#[derive(Clone, Copy)]
pub struct RawHead<'a> {
    /// Status code, 0 to 999.
    pub status: u16,
    fields: &'a [u8],
    ended: bool,
    /// Everything behind the head.
    pub rest: &'a [u8],
}

/// The versions that a status line may name. Some servers write HTTP/2 into a head of HTTP/1. The
/// longer of two that begin alike stands first.
const VERSIONS: [&str; 4] = ["1.0", "1.1", "2.0", "2"];

impl<'a> RawHead<'a> {
    /// Reads the beginning of an answer; nothing if it does not begin with one of `VERSIONS` and a
    /// status code.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"HTTP/")?;
        let rest = VERSIONS.iter().find_map(|v| rest.strip_prefix(v.as_bytes()))?;
        let blank = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let rest = rest.get(blank..).filter(|_| (1..=8).contains(&blank))?;
        let digits = rest.get(..3).filter(|d| d.iter().all(u8::is_ascii_digit))?;
        let status = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
        if rest.get(3).is_some_and(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')) {
            return None;
        }
        let crlf = memmem::find(rest, b"\r\n\r\n").map(|p| (p, p + 4));
        let bare = memmem::find(rest, b"\n\n").map(|p| (p, p + 2));
        let end = match (crlf, bare) {
            (Some(crlf), Some(bare)) => Some(crlf.min(bare)),
            (crlf, bare) => crlf.or(bare),
        };
        let (head, body) = end.unwrap_or((rest.len(), rest.len()));
        Some(Self { status, fields: &rest[..head], ended: end.is_some(), rest: &rest[body..] })
    }

    /// Whether the blank line behind the fields has come.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// The first field of this name, in whatever case, without the white space around it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.split(|b| *b == b'\n').skip(1).find_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (key, value) = (&line[..colon], &line[colon + 1..]);
            key.trim_ascii().eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }

    /// The body, out of its chunks if the head says that it came in such (RFC 9112, section 7.1).
    /// A chunk whose length cannot be read ends it; what came before stays.
    #[must_use]
    pub fn body(&self) -> Cow<'a, [u8]> {
        let chunked = self
            .field("transfer-encoding")
            .is_some_and(|v| v.to_ascii_lowercase().ends_with(b"chunked"));
        if !chunked {
            return Cow::Borrowed(self.rest);
        }
        let (mut out, mut rest) = (Vec::new(), self.rest);
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let digits = rest[..end].split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            let length =
                std::str::from_utf8(digits).ok().and_then(|d| usize::from_str_radix(d, 16).ok());
            let Some(length) = length.filter(|l| *l > 0) else { break };
            rest = &rest[end + 1..];
            let there = length.min(rest.len());
            out.extend_from_slice(&rest[..there]);
            rest = &rest[there..];
            let blank = rest.iter().take(2).take_while(|b| matches!(b, b'\r' | b'\n')).count();
            rest = &rest[blank..];
        }
        // Chunks in name only: the bytes are what they are.
        if out.is_empty() { Cow::Borrowed(self.rest) } else { Cow::Owned(out) }
    }
}

/// The text of `<title>`, without the white space around it.
#[must_use]
pub fn extract_title(body: &[u8]) -> Option<&[u8]> {
    let open = super::gate::find_ignoring_case(body, b"<title")?;
    let start = open + memchr::memchr(b'>', &body[open..])? + 1;
    let length = super::gate::find_ignoring_case(&body[start..], b"</title")?;
    Some(body[start..start + length].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head = RawHead::parse(
            b"HTTP/1.1 200\nSERVER : x\r\nbad line\r\nContent-Length: -5\r\n\r\nbody",
        )
        .unwrap();
        assert_eq!((head.status, head.rest), (200, &b"body"[..]));
        assert_eq!(head.field("server"), Some(&b"x"[..]));
        assert_eq!(head.field("content-length"), Some(&b"-5"[..]));
        assert_eq!(&*head.body(), b"body");
        // A head that was cut off, and one with bare line feeds.
        assert_eq!(RawHead::parse(b"HTTP/1.0 403 ").unwrap().status, 403);
        assert_eq!(RawHead::parse(b"HTTP/1.0 204\nServer: x\n\ny").unwrap().rest, b"y");
        assert_eq!(RawHead::parse(b"HTTP/2 200 OK\r\n\r\ny").unwrap().rest, b"y");
        assert_eq!(RawHead::parse(b"HTTP/2.0 404\r\n\r\n").unwrap().status, 404);
        for none in [
            &b""[..],
            b"<html>",
            b"HTTP/3 200 OK\r\n\r\n",
            b"HTTP/1.2 200 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 -20\r\n\r\n",
            b"HTTP/1.1200",
        ] {
            assert!(RawHead::parse(none).is_none(), "{}", none.escape_ascii());
        }
    }

    #[test]
    fn chunks() {
        let body = |bytes: &'static [u8]| RawHead::parse(bytes).unwrap().body().into_owned();
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
        let with = |rest: &[u8]| body([&head[..], rest].concat().leak());
        assert_eq!(with(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"), b"abcde");
        assert_eq!(with(b"3\r\nabc\r\nzz\r\nde"), b"abc");
        assert_eq!(with(b"ffffffff\r\nabc"), b"abc");
        assert_eq!(with(b"no chunks"), b"no chunks");
    }
}
