//! Names of files as paths of URLs.

/// Appends a file's name to a URL path as one segment: RFC 3986, section 3.3, from the raw bytes
/// of the name, whatever their character set. A semicolon is encoded too, since Java servers cut
/// the segment there.
pub fn encode_segment(out: &mut String, name: &[u8]) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    for b in name {
        if is_pchar(*b) && *b != b';' {
            out.push(char::from(*b));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(b >> 4)]));
            out.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
}

/// Whether a text is an absolute path that can be sent as it is and that names one file: RFC 3986,
/// section 3.3, without `.` and `..`, empty segments, and encoded slashes or NUL, which no file has
/// in its name.
#[must_use]
pub fn is_url_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else { return false };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if (segment.is_empty() && !last) || !is_segment(segment.as_bytes()) {
            return false;
        }
    }
    true
}

fn is_segment(mut s: &[u8]) -> bool {
    let (mut length, mut dots) = (0, 0);
    while let Some((first, rest)) = s.split_first() {
        let byte = match (*first, rest) {
            (b'%', [high, low, ..]) => match (parse_hex_digit(*high), parse_hex_digit(*low)) {
                (Some(h), Some(l)) => {
                    s = &rest[2..];
                    h << 4 | l
                }
                _ => return false,
            },
            (b, _) if is_pchar(b) => {
                s = rest;
                b
            }
            _ => return false,
        };
        if matches!(byte, 0 | b'/') {
            return false;
        }
        length += 1;
        dots += usize::from(byte == b'.');
    }
    !(dots == length && matches!(dots, 1 | 2))
}

const fn is_pchar(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'-' | b'.' | b'_' | b'~' // unreserved
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' // sub-delims
            | b':' | b'@'
        )
}

pub(super) const fn parse_hex_digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// The bytes of a hexadecimal text, if it has exactly `N` of them.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = parse_hex_digit(pair[0])? << 4 | parse_hex_digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(name: &[u8]) -> String {
        let mut out = String::from("/");
        encode_segment(&mut out, name);
        out
    }

    #[test]
    fn names_of_every_kind() {
        for (name, path) in [
            (&b"conn.php"[..], "/conn.php"),
            (b"a b?c#d%e.php", "/a%20b%3Fc%23d%25e.php"),
            // The same name in Shift_JIS and in UTF-8.
            (b"\x83p\x83X\x83\x8f\x81[\x83h.txt", "/%83p%83X%83%8F%81[%83h.txt"),
            ("パス.txt".as_bytes(), "/%E3%83%91%E3%82%B9.txt"),
            (b"line\nfeed\x1b", "/line%0Afeed%1B"),
            (b"a;jsessionid=1", "/a%3Bjsessionid=1"),
            (b"~it's(1)+2,$&!*:@", "/~it's(1)+2,$&!*:@"),
            (b"...", "/..."),
        ] {
            // A bracket is no pchar.
            let path = path.replace('[', "%5B");
            assert_eq!(encode(name), path);
            assert!(is_url_path(&path), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_of_a_file() {
        for bad in [
            "",
            "a",
            "http://x/a",
            "//a",
            "/a//b",
            "/a b",
            "/a?b",
            "/a#b",
            "/%",
            "/%2",
            "/%zz",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/a",
            "/%2E/a",
            "/a%2Fb",
            "/a%2f",
            "/a%00",
            "/a\nb",
            "/パス",
            "/a\\b",
        ] {
            assert!(!is_url_path(bad), "{bad:?}");
        }
        for good in ["/", "/a/", "/...", "/.a", "/a..", "/%2e%2e%2e"] {
            assert!(is_url_path(good), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_of_a_file_has_a_path_that_says_it(
            name in proptest::collection::vec(any::<u8>().prop_filter("no name", |b| *b != 0 && *b != b'/'), 1..40)
        ) {
            prop_assume!(name != b"." && name != b"..");
            let path = encode(&name);
            prop_assert!(is_url_path(&path));
            let mut decoded = Vec::new();
            let mut rest = &path.as_bytes()[1..];
            while let Some((b, more)) = rest.split_first() {
                if *b == b'%' {
                    decoded.push(unhex::<1>(std::str::from_utf8(&more[..2]).unwrap()).unwrap()[0]);
                    rest = &more[2..];
                } else {
                    decoded.push(*b);
                    rest = more;
                }
            }
            prop_assert_eq!(decoded, name);
        }

        #[test]
        fn hexadecimal_both_ways(bytes in any::<[u8; 8]>()) {
            prop_assert_eq!(unhex::<8>(&mimawari_targets::hex::encode(&bytes)), Some(bytes));
        }
    }
}
