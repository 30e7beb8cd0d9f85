//! `vhosts.csv`: which names to ask for at which address.
//!
//! ```csv
//! ip,host,port,scheme
//! 198.51.100.7,shop.example.jp
//! 198.51.100.7,admin.example.jp,8443,https
//! ```
//!
//! The first line may name the columns. `port` and `scheme` may be left out or left empty; lines
//! that are blank or begin with `#` are passed over. Quoting follows RFC 4180.

use std::collections::HashSet;
use std::io::Read;
use std::net::IpAddr;
use std::ops::Range;

use csv::{ByteRecord, ReaderBuilder, Trim};
use mimawari_probes::observation::Scheme;
use mimawari_targets::diagnostic::{Diagnostic, Diagnostics, Source};
use mimawari_targets::{Port, Scope};

/// Largest file that is read, bytes: about a million lines.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// How many messages are given before the rest is only counted.
const SHOWN: usize = 20;

/// A virtual host, at an address in the scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vhost {
    /// Where it lives.
    pub ip: IpAddr,
    /// Its name in lower case, in A-label form.
    pub host: String,
    /// On this port alone; on every web port of the address when absent.
    pub port: Option<Port>,
    /// By this scheme alone; by whatever the port speaks when absent.
    pub scheme: Option<Scheme>,
}

/// Reads a list of virtual hosts. `name` is what the user knows the file by. A line that repeats
/// an earlier one is taken once.
///
/// # Errors
/// A message for each line that cannot be used, an address outside the scope among them.
pub fn read_vhosts(
    name: &str,
    reader: impl Read,
    scope: &Scope,
) -> Result<Vec<Vhost>, Diagnostics> {
    let text = read_text(name, reader)?;
    // Spreadsheets write a byte order mark and line ends of their own; messages show neither.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
    let source = Source::new(name, text.replace('\r', "\n"));
    let text = source.text();

    let mut csv = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let mut row = ByteRecord::new();
    let (mut found, mut seen, mut errors) = (Vec::new(), HashSet::new(), Vec::new());
    let mut refused = 0usize;
    let mut first = true;
    loop {
        let from = usize::try_from(csv.position().byte()).unwrap_or(usize::MAX);
        match csv.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                let span = line_at(text, from);
                errors.push(
                    Diagnostic::error(format!("this line is not CSV: {error}"), &source, span)
                        .help("write ip,host or ip,host,port,scheme"),
                );
                break;
            }
        }
        let line = Line { source: &source, span: line_at(text, from), row: &row };
        let header = std::mem::take(&mut first) && line.is_header();
        if header || line.is_blank() {
            continue;
        }
        match line.vhost(scope) {
            Ok(vhost) => {
                if seen.insert(vhost.clone()) {
                    found.push(vhost);
                }
            }
            Err(diagnostic) if errors.len() < SHOWN => errors.push(*diagnostic),
            Err(_) => refused += 1,
        }
    }
    if errors.is_empty() {
        return Ok(found);
    }
    if refused > 0
        && let Some(last) = errors.last_mut()
    {
        last.help = Some(format!(
            "{}; {refused} more lines of this file are refused as well",
            last.help.as_deref().unwrap_or("mend this line")
        ));
    }
    Err(Diagnostics(errors))
}

fn read_text(name: &str, reader: impl Read) -> Result<String, Diagnostics> {
    let refuse = |title: String, help: &str| {
        Diagnostics::from(Diagnostic::error(title, &Source::new(name, ""), 0..0).help(help))
    };
    let mut bytes = Vec::new();
    reader.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(|e| {
        refuse(format!("cannot read the list of virtual hosts: {e}"), "check the path and its mode")
    })?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(refuse(
            format!("the list of virtual hosts is over {} MiB", FILE_LIMIT >> 20),
            "split the list, or give each shard its own",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (valid, bytes) = (error.utf8_error().valid_up_to(), error.into_bytes());
        let line = 1 + bytes[..valid].iter().filter(|b| **b == b'\n').count();
        refuse(
            format!("line {line} is not UTF-8"),
            "save the file as UTF-8, and write host names as A-labels (`xn--…`)",
        )
    })
}

/// The bytes of the line on which the record behind `from` begins. The CSV reader reports the end
/// of the record before, so line ends, blank lines and comments may still lie in between.
fn line_at(text: &str, from: usize) -> Range<usize> {
    let mut start = from.min(text.len());
    loop {
        let rest = &text[start..];
        let end = rest.find('\n').unwrap_or(rest.len());
        let line = &rest[..end];
        if end < rest.len() && (line.is_empty() || line.starts_with('#')) {
            start += end + 1;
        } else {
            return start..start + end;
        }
    }
}

struct Line<'a> {
    source: &'a Source,
    span: Range<usize>,
    row: &'a ByteRecord,
}

impl Line<'_> {
    fn field(&self, i: usize) -> &str {
        self.row.get(i).and_then(|f| std::str::from_utf8(f).ok()).unwrap_or_default()
    }

    fn is_header(&self) -> bool {
        self.field(0).eq_ignore_ascii_case("ip") && self.field(1).eq_ignore_ascii_case("host")
    }

    fn is_blank(&self) -> bool {
        self.row.iter().all(<[u8]>::is_empty)
    }

    /// An error at the i-th field, or at the whole line when the field is not found in it.
    fn error(&self, i: usize, title: impl Into<String>) -> Diagnostic {
        let line = &self.source.text()[self.span.clone()];
        let mut at = 0;
        let mut span = None;
        for n in 0..=i {
            let field = self.field(n);
            span = line[at..].find(field).map(|p| at + p..at + p + field.len());
            at = span.as_ref().map_or(at, |s| s.end);
        }
        let span = span
            .filter(|s| !s.is_empty())
            .map_or(self.span.clone(), |s| self.span.start + s.start..self.span.start + s.end);
        Diagnostic::error(title, self.source, span)
    }

    fn vhost(&self, scope: &Scope) -> Result<Vhost, Box<Diagnostic>> {
        if self.row.len() < 2 {
            return Err(Box::new(
                self.error(0, "this line has no host").help("write ip,host or ip,host,port,scheme"),
            ));
        }
        if self.row.len() > 4 {
            return Err(Box::new(
                self.error(4, "this line has more than four fields")
                    .help("write ip,host,port,scheme"),
            ));
        }
        let ip: IpAddr = self.field(0).parse().map_err(|_| {
            self.error(0, format!("`{}` is not an address", self.field(0)))
                .help("write one IPv4 or IPv6 address first, such as 198.51.100.7")
        })?;
        if !scope.allows(ip) {
            return Err(Box::new(
                self.error(0, format!("{ip} is not in the scope"))
                    .label("no request may leave for this address")
                    .help("remove the line, or add the address to [scope] allow"),
            ));
        }
        let host = self.host()?;
        let port = match self.field(2) {
            "" => None,
            text => Some(text.parse::<Port>().map_err(|_| {
                self.error(2, format!("`{text}` is not a port"))
                    .help("write a number from 1 to 65535, or leave the field empty")
            })?),
        };
        let scheme = match self.field(3).to_ascii_lowercase().as_str() {
            "" => None,
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            text => {
                return Err(Box::new(
                    self.error(3, format!("`{text}` is not a scheme"))
                        .help("write http or https, or leave the field empty"),
                ));
            }
        };
        Ok(Vhost { ip, host, port, scheme })
    }

    fn host(&self) -> Result<String, Box<Diagnostic>> {
        let text = self.field(1);
        let refuse = |title: String, help: &str| Err(Box::new(self.error(1, title).help(help)));
        if !text.is_ascii() {
            return refuse(
                format!("host `{text}` is not in ASCII"),
                "write the A-label form, such as xn--eckwd4c7c.example.jp",
            );
        }
        if text.contains("://") || text.contains('/') {
            return refuse(
                format!("`{text}` is a URL"),
                "write the host alone; port and scheme have their own fields",
            );
        }
        if text.starts_with("*.") {
            return refuse(
                format!("`{text}` is a wildcard"),
                "name each virtual host; a wildcard cannot be asked for",
            );
        }
        if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return refuse(
                format!("host `{text}` is an address"),
                "remove the line; the address itself is always asked",
            );
        }
        if let Some((_, port)) = text.rsplit_once(':')
            && port.bytes().all(|b| b.is_ascii_digit())
        {
            return refuse(
                format!("host `{text}` holds a port"),
                "write the port in the third field",
            );
        }
        let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if !is_host_name(&host) {
            return refuse(
                format!("`{}` is not a host name", text.escape_default()),
                "write labels of letters, digits and hyphens joined by dots, such as shop.example.jp",
            );
        }
        Ok(host)
    }
}

/// The syntax of RFC 1123, section 2.1, and the lengths of RFC 1035, section 2.3.4. Underscores are
/// let through: real servers have them in names.
fn is_host_name(host: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253
        && host.split('.').all(label)
        // A last label of digits is an address gone wrong (RFC 1123, section 2.1).
        && !host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use mimawari_targets::{AddrRange, AddrSet};

    use super::*;

    fn scope() -> Scope {
        let set =
            |t: &[&str]| AddrSet::from_ranges(t.iter().map(|s| s.parse::<AddrRange>().unwrap()));
        let (allow, deny) = (["198.51.100.0/24", "2001:db8::/64"], ["198.51.100.1"]);
        Scope::new(set(&allow), set(&deny), "test")
    }

    fn read(text: &str) -> Result<Vec<Vhost>, Diagnostics> {
        read_vhosts("vhosts.csv", text.as_bytes(), &scope())
    }

    fn refusal(text: &str) -> Diagnostic {
        let mut all = read(text).expect_err("is refused").0;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn all_forms_of_a_line() {
        let text = "\u{feff}ip,host,port,scheme\r\n\
            198.51.100.7,Shop.Example.JP.\r\n\
            \r\n\
            # a remark, with a comma\r\n\
            \"198.51.100.7\",\"admin.example.jp\", 8443 ,HTTPS\r\n\
            2001:db8::7,xn--eckwd4c7c.example.jp,,http\r\n\
            198.51.100.8,a_b.example.jp,8080,\r\n\
            198.51.100.7,shop.example.jp\r\n";
        let v = |ip: &str, host: &str, port, scheme| Vhost {
            ip: ip.parse().unwrap(),
            host: host.to_owned(),
            port: Port::new(port),
            scheme,
        };
        assert_eq!(
            read(text).unwrap(),
            [
                v("198.51.100.7", "shop.example.jp", 0, None),
                v("198.51.100.7", "admin.example.jp", 8443, Some(Scheme::Https)),
                v("2001:db8::7", "xn--eckwd4c7c.example.jp", 0, Some(Scheme::Http)),
                v("198.51.100.8", "a_b.example.jp", 8080, None),
            ]
        );
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("\u{feff}").unwrap(), []);
        assert_eq!(read("ip,host\n").unwrap(), []);
        // Without a header, and without a line end.
        assert_eq!(read("198.51.100.7,a.example").unwrap().len(), 1);
    }

    #[test]
    fn refusals_point_at_the_line() {
        let out = refusal("ip,host\r\n198.51.100.7,a.example\r\n\r\n203.0.113.9,b.example\r\n");
        assert_eq!(out.line(), 4);
        insta::assert_snapshot!(out, @r"
        error: 203.0.113.9 is not in the scope
         --> vhosts.csv:4:1
          |
        4 | 203.0.113.9,b.example
          | ^^^^^^^^^^^ no request may leave for this address
          |
        help: remove the line, or add the address to [scope] allow
        ");
        // Denied inside the allowed block.
        assert_eq!(refusal("198.51.100.1,a.example").title, "198.51.100.1 is not in the scope");
        insta::assert_snapshot!(refusal("# x\n198.51.100.7,ショップ.example.jp,80"), @r"
        error: host `ショップ.example.jp` is not in ASCII
         --> vhosts.csv:2:14
          |
        2 | 198.51.100.7,ショップ.example.jp,80
          |              ^^^^^^^^^^^^^^^^^^^
          |
        help: write the A-label form, such as xn--eckwd4c7c.example.jp
        ");
    }

    #[test]
    fn each_mistake_has_its_own_words() {
        let cases = [
            ("198.51.100.7", "this line has no host"),
            ("198.51.100.7,", "`` is not a host name"),
            ("198.51.100.7,a.example,80,http,x", "this line has more than four fields"),
            ("shop,a.example", "`shop` is not an address"),
            ("198.51.100.0/24,a.example", "`198.51.100.0/24` is not an address"),
            ("198.51.100.7,a.example,0", "`0` is not a port"),
            ("198.51.100.7,a.example,http", "`http` is not a port"),
            ("198.51.100.7,a.example,,ftp", "`ftp` is not a scheme"),
            ("198.51.100.7,*.example", "`*.example` is a wildcard"),
            ("198.51.100.7,http://a.example/", "`http://a.example/` is a URL"),
            ("198.51.100.7,a.example:8080", "host `a.example:8080` holds a port"),
            ("198.51.100.7,198.51.100.7", "host `198.51.100.7` is an address"),
            ("198.51.100.7,[2001:db8::1]", "host `[2001:db8::1]` is an address"),
            ("198.51.100.7,-a.example", "`-a.example` is not a host name"),
            ("198.51.100.7,a..example", "`a..example` is not a host name"),
            ("198.51.100.7,a b.example", "`a b.example` is not a host name"),
            ("198.51.100.7,1.2.3", "`1.2.3` is not a host name"),
            ("198.51.100.7,\"a\r\nX: y\"", "`a\\nX: y` is not a host name"),
        ];
        for (text, title) in cases {
            assert_eq!(refusal(text).title, title, "{text}");
            assert!(refusal(text).help.is_some(), "{text}");
        }
    }

    #[test]
    fn all_mistakes_are_named_up_to_a_bound() {
        let many = "203.0.113.9,a.example\n".repeat(50);
        let all = read(&many).unwrap_err().0;
        assert_eq!(all.len(), SHOWN);
        assert!(all.last().unwrap().help.as_ref().unwrap().contains("30 more lines"));
    }

    #[test]
    fn not_utf8() {
        let all =
            read_vhosts("v.csv", &b"198.51.100.7,a.example\n198.51.100.7,\x83\x56\n"[..], &scope())
                .unwrap_err();
        assert_eq!(all.0[0].title, "line 2 is not UTF-8");
    }
}
