//! One row: bytes in, a virtual host or a mistake out.

use std::borrow::Cow;
use std::net::IpAddr;

use csv::{ByteRecord, ReaderBuilder, Trim};
use mimawari_probes::observation::UrlScheme;
use mimawari_targets::diagnostic::{Diagnostic, TextSource};
use mimawari_targets::{Port, Scope};

use super::VirtualHost;
use super::records::CsvRecord;

/// How many characters of a refused field are repeated in a title.
const SHOWN: usize = 80;

/// One field more than a row may have.
const FIELDS: usize = 5;

/// Why a row is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RowError {
    /// The field, counted from 0; the whole row when absent.
    field: Option<usize>,
    title: String,
    label: Option<&'static str>,
    help: &'static str,
}

impl RowError {
    fn new(field: usize, title: impl Into<String>, help: &'static str) -> Self {
        Self { field: Some(field), title: title.into(), label: None, help }
    }

    /// The message, with the line that it is about.
    pub fn diagnostic(&self, name: &str, line: u64, bytes: &[u8]) -> Diagnostic {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
        let fields = RowFields::of(&text);
        let mut span = None;
        if let Some(field) = self.field {
            let mut at = 0;
            for n in 0..=field {
                let field = fields.get(n);
                span = text[at..].find(field).map(|p| at + p..at + p + field.len());
                at = span.as_ref().map_or(at, |s| s.end);
            }
        }
        // An empty field shows nothing: the line is better.
        let span = span.filter(|s| !s.is_empty()).unwrap_or(0..text.len());
        let source =
            TextSource::at_line(name, text.as_str(), usize::try_from(line).unwrap_or(usize::MAX));
        let mut diagnostic = Diagnostic::error(self.title.clone(), &source, span).help(self.help);
        diagnostic.label = self.label.map(str::to_owned);
        diagnostic
    }
}

/// The fields of a row, without the blanks around them.
struct RowFields<'a> {
    /// The first ones.
    list: [Cow<'a, str>; FIELDS],
    count: usize,
    blank: bool,
}

impl<'a> RowFields<'a> {
    fn of(text: &'a str) -> Self {
        let mut fields = Self { list: Default::default(), count: 0, blank: true };
        if !text.contains('"') {
            for field in text.split(',') {
                fields.add(Cow::Borrowed(field.trim_ascii()));
            }
            return fields;
        }
        let mut csv = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(text.as_bytes());
        let mut row = ByteRecord::new();
        // Reading memory does not fail, and rows may have any number of fields.
        if csv.read_byte_record(&mut row).is_ok() {
            for field in &row {
                fields.add(Cow::Owned(String::from_utf8_lossy(field).into_owned()));
            }
        }
        fields
    }

    fn add(&mut self, field: Cow<'a, str>) {
        self.blank &= field.is_empty();
        if let Some(place) = self.list.get_mut(self.count) {
            *place = field;
        }
        self.count += 1;
    }

    fn get(&self, i: usize) -> &str {
        self.list.get(i).map_or("", |f| f)
    }
}

/// Whether a record names the columns.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        let fields = RowFields::of(text);
        let named =
            fields.get(0).eq_ignore_ascii_case("ip") && fields.get(1).eq_ignore_ascii_case("host");
        // In the words of another language: no address, and no digit that could be meant as one.
        let foreign = fields.count >= 2
            && !text.contains(|c: char| c.is_numeric())
            && fields.get(0).contains(|c: char| !c.is_ascii());
        named || foreign
    })
}

/// The virtual host that a record names, or `None` when it is blank or a remark.
///
/// # Errors
/// What is wrong with it, an address outside the scope among the rest.
pub(super) fn parse(
    record: &CsvRecord<'_>,
    scope: &Scope,
) -> Result<Option<VirtualHost>, RowError> {
    let bytes = record.bytes;
    if bytes.starts_with(b"#") {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| RowError {
        field: None,
        title: format!("line {} is not UTF-8", record.line),
        label: None,
        help: "save the file as UTF-8, and write host names as A-labels (`xn--…`)",
    })?;
    let text = if text.contains(['\r', '\n']) {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    };
    let fields = RowFields::of(&text);
    if fields.blank {
        Ok(None)
    } else {
        parse_virtual_host(&fields, text.contains('\n'), scope).map(Some)
    }
}

fn parse_virtual_host(
    fields: &RowFields<'_>,
    broken: bool,
    scope: &Scope,
) -> Result<VirtualHost, RowError> {
    if fields.count < 2 {
        let help = "write ip,host or ip,host,port,scheme";
        return Err(RowError::new(0, "this line has no host", help));
    }
    if fields.count >= FIELDS {
        return Err(RowError::new(
            4,
            "this line has more than four fields",
            "write ip,host,port,scheme",
        ));
    }
    let ip: IpAddr = fields.get(0).parse().map_err(|_| {
        RowError::new(
            0,
            format!("`{}` is not an address", truncate_field(fields.get(0))),
            "write one IPv4 or IPv6 address first, such as 198.51.100.7",
        )
    })?;
    if !scope.allows(ip) {
        return Err(RowError {
            label: Some("no request may leave for this address"),
            ..RowError::new(
                0,
                format!("{ip} is not in the scope"),
                "remove the line, or add the address to [scope] allow",
            )
        });
    }
    let host = parse_host(fields.get(1))?;
    if broken {
        return Err(RowError {
            field: None,
            ..RowError::new(0, "a field holds a line break", "close each quote on its own line")
        });
    }
    let port = match fields.get(2) {
        "" => None,
        text => Some(text.parse::<Port>().map_err(|_| {
            RowError::new(
                2,
                format!("`{}` is not a port", truncate_field(text)),
                "write a number from 1 to 65535, or leave the field empty",
            )
        })?),
    };
    let scheme = match fields.get(3) {
        "" => None,
        text if text.eq_ignore_ascii_case("http") => Some(UrlScheme::Http),
        text if text.eq_ignore_ascii_case("https") => Some(UrlScheme::Https),
        text => {
            return Err(RowError::new(
                3,
                format!("`{}` is not a scheme", truncate_field(text)),
                "write http or https, or leave the field empty",
            ));
        }
    };
    Ok(VirtualHost { ip, host, port, scheme })
}

fn parse_host(text: &str) -> Result<String, RowError> {
    let refuse = |title: String, help| Err(RowError::new(1, title, help));
    let ascii;
    let text = if text.is_ascii() {
        text
    } else {
        let Ok(converted) = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::URL)
        else {
            return refuse(
                format!("host `{}` has no A-label form", truncate_field(text)),
                "correct the name, or write its A-label form, such as xn--eckwd4c7c.example.jp",
            );
        };
        ascii = converted.into_owned();
        &ascii
    };
    if text.contains('/') {
        return refuse(
            format!("`{}` is a URL", truncate_field(text)),
            "write the host alone; port and scheme have their own fields",
        );
    }
    if text.starts_with("*.") {
        return refuse(
            format!("`{}` is a wildcard", truncate_field(text)),
            "name each virtual host; a wildcard cannot be asked for",
        );
    }
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return refuse(
            format!("host `{}` is an address", truncate_field(text)),
            "remove the line; the address itself is always asked",
        );
    }
    if let Some((_, port)) = text.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return refuse(
            format!("host `{}` holds a port", truncate_field(text)),
            "write the port in the third field",
        );
    }
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if !is_host_name(&host) {
        return refuse(
            format!("`{}` is not a host name", truncate_field(text).escape_default()),
            "write labels of letters, digits and hyphens joined by dots, such as shop.example.jp",
        );
    }
    Ok(host)
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

/// A field, cut to a length that fits a title.
fn truncate_field(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
