//! Where a redirect leads. Nothing is asked here; text in, a place out.

use std::net::IpAddr;

use mimawari_probes::observation::UrlScheme;

/// Longest path that is followed, bytes.
const PATH_LIMIT: usize = 2048;

/// A site, as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RedirectOrigin {
    /// `http` or `https`.
    pub scheme: UrlScheme,
    /// In lower case; an address without its brackets.
    pub host: String,
    /// The scheme's own when the URL names none.
    pub port: u16,
}

impl RedirectOrigin {
    /// The site of a name, or of an address itself.
    pub(super) fn of(scheme: UrlScheme, host: Option<&str>, ip: IpAddr, port: u16) -> Self {
        let host = host.map_or_else(|| ip.to_string(), str::to_ascii_lowercase);
        Self { scheme, host, port }
    }

    /// Without user info, path and query: those may hold secrets.
    pub(super) fn shown(&self) -> String {
        let host: String = self.host.chars().take(100).collect();
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let scheme = self.scheme.as_str();
        if self.port == self.scheme.default_port() {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}:{}", self.port)
        }
    }
}

/// Where a redirect leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RedirectTarget {
    /// To this path of the same site.
    Path(String),
    /// To another site.
    Site(RedirectOrigin),
    /// To no place that could be asked.
    Nowhere,
}

/// Where a `Location` leads from `path` of `site` (RFC 9110, section 10.2.2).
pub(super) fn resolve_redirect(
    location: &[u8],
    site: &RedirectOrigin,
    path: &str,
) -> RedirectTarget {
    let location = location.trim_ascii();
    let location = location.split(|b| *b == b'#').next().unwrap_or_default();
    let location = encode_location(location);
    let (origin, rest) = match split(&location, site.scheme) {
        SplitUrl::Absolute { origin, rest } => (origin, rest),
        SplitUrl::Relative => (site.clone(), location.as_str()),
        SplitUrl::Foreign => return RedirectTarget::Nowhere,
    };
    if origin != *site {
        return RedirectTarget::Site(origin);
    }
    let (rest, query) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
    let base = path.split('?').next().unwrap_or(path);
    let joined = if rest.is_empty() {
        // An absolute URL without a path is the root; a query alone is one of this path.
        if location.starts_with('?') { base.to_owned() } else { "/".to_owned() }
    } else if rest.starts_with('/') {
        rest.to_owned()
    } else {
        let folder = base.rfind('/').map_or("/", |at| &base[..=at]);
        format!("{folder}{rest}")
    };
    let path = format!("{}{query}", remove_dot_segments(&joined));
    if path.len() > PATH_LIMIT { RedirectTarget::Nowhere } else { RedirectTarget::Path(path) }
}

enum SplitUrl<'a> {
    Absolute {
        origin: RedirectOrigin,
        rest: &'a str,
    },
    Relative,
    /// Another scheme than HTTP's, or an authority that is none.
    Foreign,
}

fn split(location: &str, own: UrlScheme) -> SplitUrl<'_> {
    let end = location.find([':', '/', '?']);
    let scheme = match end.map(|at| (&location[..at], &location[at..])) {
        Some((scheme, rest)) if rest.starts_with(':') => {
            if scheme.eq_ignore_ascii_case("http") {
                UrlScheme::Http
            } else if scheme.eq_ignore_ascii_case("https") {
                UrlScheme::Https
            } else {
                return SplitUrl::Foreign;
            }
        }
        _ => own,
    };
    let rest = match end.map(|at| &location[at..]) {
        Some(rest) if rest.starts_with(':') => rest[1..].strip_prefix("//"),
        _ => match location.strip_prefix("//") {
            Some(rest) => Some(rest),
            None => return SplitUrl::Relative,
        },
    };
    let Some(rest) = rest else { return SplitUrl::Foreign };
    let (authority, rest) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, port)) => (host, port),
            None => return SplitUrl::Foreign,
        },
        None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
    };
    let port = match port.strip_prefix(':').unwrap_or_default() {
        "" => Some(scheme.default_port()),
        port => port.parse().ok(),
    };
    let Some(port) = port.filter(|_| !host.is_empty()) else { return SplitUrl::Foreign };
    let host = host.strip_suffix('.').unwrap_or(host);
    let host =
        host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string());
    SplitUrl::Absolute { origin: RedirectOrigin { scheme, host, port }, rest }
}

/// What may not stand in a request's path is encoded, as browsers do.
fn encode_location(location: &[u8]) -> String {
    let mut out = String::with_capacity(location.len());
    for byte in location.iter().take(PATH_LIMIT * 2) {
        match byte {
            b'\t' | b'\r' | b'\n' => {}
            b'!' | b'#'..=b';' | b'=' | b'?'..=b'[' | b']' | b'_' | b'a'..=b'z' | b'~' => {
                out.push(char::from(*byte));
            }
            byte => {
                out.push('%');
                out.extend(
                    char::from_digit(u32::from(byte >> 4), 16).map(|c| c.to_ascii_uppercase()),
                );
                out.extend(
                    char::from_digit(u32::from(byte & 15), 16).map(|c| c.to_ascii_uppercase()),
                );
            }
        }
    }
    out
}

/// Takes `.` and `..` out (RFC 3986, section 5.2.4).
fn remove_dot_segments(path: &str) -> String {
    if !path.contains("/.") {
        return path.to_owned();
    }
    let mut out: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {
                if last {
                    out.push("");
                }
            }
            ".." => {
                out.pop();
                if last {
                    out.push("");
                }
            }
            segment => out.push(segment),
        }
    }
    format!("/{}", out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let ip = "198.51.100.7".parse().unwrap();
        let shop = RedirectOrigin::of(UrlScheme::Http, Some("Shop.example.jp"), ip, 8080);
        let to = |location: &str| resolve_redirect(location.as_bytes(), &shop, "/a/b.php?x=1");
        let path = |p: &str| RedirectTarget::Path(p.to_owned());
        for (location, wanted) in [
            ("/public/.env", "/public/.env"),
            ("http://shop.example.jp:8080/site/.env", "/site/.env"),
            ("HTTP://user:pw@SHOP.example.jp.:8080/x#frag", "/x"),
            ("//shop.example.jp:8080/x?y=1", "/x?y=1"),
            ("http://shop.example.jp:8080", "/"),
            ("http://shop.example.jp:8080?sid=1", "/?sid=1"),
            ("?sid=1", "/a/b.php?sid=1"),
            ("c.php", "/a/c.php"),
            ("../c.php", "/c.php"),
            ("/x/./y/../z/..", "/x/"),
            ("/a b/\u{e9}\"", "/a%20b/%C3%A9%22"),
            ("", "/"),
        ] {
            assert_eq!(to(location), path(wanted), "{location}");
        }
        for (location, shown) in [
            ("https://shop.example.jp:8080/a", "https://shop.example.jp:8080"),
            ("https://shop.example.jp/cb?access_token=abc", "https://shop.example.jp"),
            ("http://shop.example.jp/", "http://shop.example.jp"),
            ("https://admin:secret@[2001:DB8::1]:444/", "https://[2001:db8::1]:444"),
            ("//www.example.jp/", "http://www.example.jp"),
        ] {
            let RedirectTarget::Site(origin) = to(location) else { panic!("{location}") };
            assert_eq!(origin.shown(), shown);
        }
        for location in [
            "mailto:a@b",
            "javascript:alert(1)",
            "http:///x",
            "http://[::1",
            "https:x",
            "http://a:99999/",
        ] {
            assert_eq!(to(location), RedirectTarget::Nowhere, "{location}");
        }
        assert_eq!(to(&format!("/{}", "a".repeat(4000))), RedirectTarget::Nowhere);
        // The address itself.
        let bare = RedirectOrigin::of(UrlScheme::Https, None, ip, 443);
        assert_eq!(resolve_redirect(b"https://198.51.100.7/x", &bare, "/"), path("/x"));
    }
}
