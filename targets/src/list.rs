//! Target lists as people write them: address ranges and host names, one an item.
//!
//! An item is an address, a CIDR block, a range `first-last`, or a host name. What is wrong in a
//! list is reported all at once (the first [`MAX_ERRORS`], and how many more there are), each with
//! its line and its remedy.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::diagnostic::{Diagnostic, DiagnosticList, TextSource};
use crate::text::to_message_text;
use crate::{AddrError, AddrRange, AddrSet};

/// How many mistakes of one list are shown; the rest is counted.
pub const MAX_ERRORS: usize = 50;

/// The longest list, in bytes: room for over a million items.
pub const MAX_BYTES: usize = 64 << 20;

/// A host name: labels of letters, digits and inner hyphens (RFC 1035 section 2.3.1, with the
/// leading digit that RFC 1123 section 2.1 allows), at most 253 characters, in lower case and
/// without the root's dot.
///
/// Underscores are refused: names that have them are records of services and policies
/// (RFC 8552), and no host answers to them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Box<str>);

/// Why a host name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character, or a label without one.
    #[error("host name `{0}` has an empty label")]
    EmptyLabel(String),
    /// Over 63 characters between two dots (RFC 1035, section 2.3.4).
    #[error("host name `{0}` has a label of more than 63 characters")]
    LabelTooLong(String),
    /// Over 253 characters, which do not fit the 255 octets of the wire (RFC 1035, section 2.3.4).
    #[error("host name `{0}` has more than 253 characters")]
    TooLong(String),
    /// A character that no host name has.
    #[error("host name `{name}` has the character `{character}`")]
    Character {
        /// As written.
        name: String,
        /// The first such character.
        character: char,
    },
    /// A hyphen at an end of a label.
    #[error("host name `{0}` has a label that begins or ends with a hyphen")]
    Hyphen(String),
    /// The last label is a number, so that some programs would take the name for an address
    /// (RFC 1123, section 2.1).
    #[error("`{0}` is neither an address nor a host name: its last label is a number")]
    Numeric(String),
}

impl NameError {
    /// What the user can do about it, as an imperative sentence without a full stop.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Character { character: '_', .. } => {
                "write the name of the host itself, or its address; host names have no underscore"
            }
            Self::Character { character: '*', .. } => {
                "list each host by name; a wildcard cannot be looked up"
            }
            Self::Character { character, .. }
                if !character.is_ascii() && character.is_alphabetic() =>
            {
                "write the name in its ASCII form, which begins with xn--"
            }
            Self::Numeric(_) => "write the address in full, such as 198.51.100.7, or a host name",
            _ => "write a host name such as www.example.jp",
        }
    }
}

impl HostName {
    /// The name in lower case, without the root's dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name as DNS holds it: with underscores, too, which no name of a host has but real servers
    /// answer to (RFC 8552).
    ///
    /// # Errors
    /// As for [`str::parse`], underscores apart.
    pub fn with_underscores(s: &str) -> Result<Self, NameError> {
        Self::checked(s, true)
    }

    fn checked(s: &str, underscores: bool) -> Result<Self, NameError> {
        let name = s.strip_suffix('.').unwrap_or(s);
        if name.len() > 253 {
            return Err(NameError::TooLong(to_message_text(s)));
        }
        if let Some(character) = name.chars().find(|c| {
            !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.') || (underscores && *c == '_'))
        }) {
            let character = if crate::text::is_hostile(character) {
                char::REPLACEMENT_CHARACTER
            } else {
                character
            };
            return Err(NameError::Character { name: to_message_text(s), character });
        }
        let mut last = "";
        for label in name.split('.') {
            if label.is_empty() {
                return Err(NameError::EmptyLabel(to_message_text(s)));
            }
            if label.len() > 63 {
                return Err(NameError::LabelTooLong(to_message_text(s)));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(NameError::Hyphen(to_message_text(s)));
            }
            last = label;
        }
        // inet_aton(3) and its heirs also take hexadecimal numbers.
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        if last.bytes().all(|b| b.is_ascii_digit())
            || hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(NameError::Numeric(to_message_text(s)));
        }
        Ok(Self(name.to_ascii_lowercase().into_boxed_str()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::checked(s, false)
    }
}

/// What a list names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetList {
    addrs: AddrSet,
    names: Vec<HostName>,
}

impl From<AddrSet> for TargetList {
    /// Addresses and no names.
    fn from(addrs: AddrSet) -> Self {
        Self { addrs, names: Vec::new() }
    }
}

impl TargetList {
    /// The addresses.
    #[must_use]
    pub const fn addrs(&self) -> &AddrSet {
        &self.addrs
    }

    /// The host names in the order of the list, none twice. They are not resolved.
    #[must_use]
    pub fn names(&self) -> &[HostName] {
        &self.names
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addrs.is_empty() && self.names.is_empty()
    }

    /// Adds what another list names. Two lists may name the same address.
    pub fn extend(&mut self, other: Self) {
        self.addrs = self.addrs.union(&other.addrs);
        let known: HashSet<HostName> = self.names.iter().cloned().collect();
        self.names.extend(other.names.into_iter().filter(|n| !known.contains(n)));
    }
}

/// Why an item was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A bad address, block or range.
    #[error(transparent)]
    Address(#[from] AddrError),
    /// A bad host name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nothing between two quotes.
    #[error("a target is empty")]
    Empty,
    /// Items separated by commas or spaces.
    #[error("`{0}` is more than one target")]
    Several(String),
    /// A URL.
    #[error("`{0}` is a URL")]
    Url(String),
    /// A host name with a port.
    #[error("`{text}` has a port")]
    Port {
        /// As written.
        text: String,
        /// The name alone.
        name: HostName,
    },
}

impl TargetError {
    /// What the user can do about it, as an imperative sentence without a full stop.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Address(e) => e.help(),
            Self::Name(e) => e.help().to_owned(),
            Self::Empty => "write an address, a CIDR block, a range or a host name".to_owned(),
            Self::Several(_) => "write each target as an item or a line of its own".to_owned(),
            Self::Url(_) => "write the host alone, without scheme and path".to_owned(),
            Self::Port { name, .. } => format!("write `{name}`; ports are chosen apart from names"),
        }
    }
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TargetItem {
    Range(AddrRange),
    Name(HostName),
}

/// Reads one item. What cannot be a name (it has a colon, a slash or a percent sign, or no letter)
/// is meant as an address, so that the message speaks of what the author had in mind.
fn parse_item(text: &str) -> Result<TargetItem, TargetError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TargetError::Empty);
    }
    let error = match AddrRange::from_str(text) {
        Ok(range) => return Ok(TargetItem::Range(range)),
        Err(e) => e,
    };
    // Only plain bad syntax leaves open what was meant.
    if !matches!(error, AddrError::Syntax(_) | AddrError::Wildcard { block: None, .. }) {
        return Err(error.into());
    }
    if text.contains("://") {
        return Err(TargetError::Url(to_message_text(text)));
    }
    if text.contains(|c: char| c == ',' || c == ';' || c.is_whitespace()) {
        return Err(TargetError::Several(to_message_text(text)));
    }
    if let Some((name, port)) = text.split_once(':')
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
        && let Ok(name) = name.parse()
    {
        return Err(TargetError::Port { text: to_message_text(text), name });
    }
    if text.contains([':', '/', '%']) || !text.contains(char::is_alphabetic) {
        return Err(error.into());
    }
    Ok(TargetItem::Name(text.parse()?))
}

/// Reads a list: one item a line; blank lines, `#` comments, a byte order mark and CR LF line ends
/// are tolerated. O(n log n).
///
/// # Errors
/// Every bad line, every overlap within the list, and a list without any target.
pub fn parse_text(name: &str, text: &str) -> Result<TargetList, DiagnosticList> {
    let source = TextSource::new(name, text);
    parse_lines(&source)?.finish()
}

/// As [`parse_text`], for lists that grow by themselves, such as those of opt-outs: what is in it more
/// than once is merged, and counted.
///
/// # Errors
/// Every bad line, and a list without any target.
pub fn parse_merged(name: &str, text: &str) -> Result<(TargetList, usize), DiagnosticList> {
    let source = TextSource::new(name, text);
    let mut list = parse_lines(&source)?;
    let overlaps = list.overlaps().len();
    let ranges = std::mem::take(&mut list.ranges);
    let addrs = AddrSet::from_ranges(ranges.into_iter().map(|(r, _)| r));
    let names = list.finish()?.names;
    Ok((TargetList { addrs, names }, overlaps))
}

fn parse_lines(source: &TextSource) -> Result<TargetCollector<'_>, DiagnosticList> {
    check_length(source)?;
    let text = source.text();
    let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut list = TargetCollector::new(source);
    for line in text[at..].split('\n') {
        let item = line.split('#').next().unwrap_or_default();
        let trimmed = item.trim();
        if !trimmed.is_empty() {
            let start = at + (item.len() - item.trim_start().len());
            list.add(start..start + trimmed.len(), trimmed);
        }
        at += line.len() + 1;
    }
    if list.is_empty() {
        return Err(Diagnostic::error("the list names no target", source, 0..0)
            .help("write one CIDR block, range, address or host name on each line")
            .into());
    }
    Ok(list)
}

/// Reads the items of a command line; `name` is the flag.
///
/// # Errors
/// Every bad item, and every overlap within the items.
pub fn parse_items(name: &str, items: &[String]) -> Result<TargetList, DiagnosticList> {
    // A text of its own for the items, so that a message can show them.
    let source = TextSource::new(name, items.join("\n"));
    check_length(&source)?;
    let mut list = TargetCollector::new(&source);
    let mut at = 0;
    for item in items {
        list.add(at..at + item.len(), item);
        at += item.len() + 1;
    }
    list.finish()
}

/// Reads items that stand in a larger text (an array of strings of a TOML file), each with the
/// bytes of `source` that it comes from.
///
/// # Errors
/// Every bad item, and every overlap within the items.
pub fn parse_spanned(
    source: &TextSource,
    items: &[(Range<usize>, String)],
) -> Result<TargetList, DiagnosticList> {
    let mut list = TargetCollector::new(source);
    for (span, text) in items {
        list.add(span.clone(), text);
    }
    list.finish()
}

fn check_length(source: &TextSource) -> Result<(), DiagnosticList> {
    if source.text().len() <= MAX_BYTES {
        return Ok(());
    }
    Err(Diagnostic::error(
        format!("the list is longer than {} MiB", MAX_BYTES >> 20),
        &TextSource::new(source.name(), ""),
        0..0,
    )
    .help("write ranges and CIDR blocks instead of single addresses")
    .into())
}

/// Collects the items and the mistakes of one source.
struct TargetCollector<'a> {
    source: &'a TextSource,
    ranges: Vec<(AddrRange, Range<usize>)>,
    names: Vec<(HostName, Range<usize>)>,
    /// The first mistakes in the order of the list.
    errors: Vec<(Range<usize>, TargetError)>,
    /// How many there are in all.
    error_count: usize,
}

/// Two items that name the same thing, by where they stand.
struct TargetClash {
    at: Range<usize>,
    earlier: Range<usize>,
    title: String,
}

impl<'a> TargetCollector<'a> {
    fn new(source: &'a TextSource) -> Self {
        Self { source, ranges: Vec::new(), names: Vec::new(), errors: Vec::new(), error_count: 0 }
    }

    fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.names.is_empty() && self.error_count == 0
    }

    fn add(&mut self, span: Range<usize>, text: &str) {
        match parse_item(text) {
            Ok(TargetItem::Range(range)) => self.ranges.push((range, span)),
            Ok(TargetItem::Name(name)) => self.names.push((name, span)),
            Err(e) => {
                self.error_count += 1;
                // One more than is shown: the place of "and so many more".
                if self.errors.len() <= MAX_ERRORS {
                    self.errors.push((span, e));
                }
            }
        }
    }

    fn finish(mut self) -> Result<TargetList, DiagnosticList> {
        let mut clashes = Vec::new();
        let overlaps = self.overlaps();
        let twice = self.twice();
        let total = self.error_count + overlaps.len() + twice.len();
        if total == 0 {
            let addrs = AddrSet::from_ranges(self.ranges.into_iter().map(|(r, _)| r));
            return Ok(TargetList {
                addrs,
                names: self.names.into_iter().map(|(n, _)| n).collect(),
            });
        }
        for (later, earlier) in select_first_pairs(overlaps, |(l, _)| self.ranges[*l].1.start) {
            let ((a, earlier), (b, at)) = (&self.ranges[earlier], &self.ranges[later]);
            let title = if a == b {
                format!("`{b}` is listed twice")
            } else {
                AddrError::Overlap { first: a.to_string(), second: b.to_string() }.to_string()
            };
            clashes.push(TargetClash { at: at.clone(), earlier: earlier.clone(), title });
        }
        for (later, earlier) in select_first_pairs(twice, |(l, _)| self.names[*l].1.start) {
            let ((_, earlier), (name, at)) = (&self.names[earlier], &self.names[later]);
            let title = format!("`{name}` is listed twice");
            clashes.push(TargetClash { at: at.clone(), earlier: earlier.clone(), title });
        }
        let source = self.source;
        let mut found: Vec<Diagnostic> = clashes
            .into_iter()
            .map(|c| {
                Diagnostic::error(c.title, source, c.at)
                    .label(format!("the first is on line {}", source.line(c.earlier.start)))
                    .help("list each target once; remove one of the two")
            })
            .collect();
        found.extend(
            self.errors
                .drain(..)
                .map(|(span, e)| Diagnostic::error(e.to_string(), source, span).help(e.help())),
        );
        found.sort_by_key(|d| d.span.start);
        if total > MAX_ERRORS {
            let next = found[MAX_ERRORS].span.clone();
            found.truncate(MAX_ERRORS);
            let more = total - MAX_ERRORS;
            found.push(
                Diagnostic::error(format!("and {more} more mistakes in this list"), source, next)
                    .label("the next one"),
            );
        }
        Err(DiagnosticList(found))
    }

    /// The pairs (later, earlier) of overlapping ranges, at most one for each range: sorted by
    /// address, a range overlaps some range before it exactly when it starts before the furthest
    /// end seen so far.
    fn overlaps(&self) -> Vec<(usize, usize)> {
        let mut order: Vec<usize> = (0..self.ranges.len()).collect();
        order.sort_unstable_by_key(|i| (self.ranges[*i].0, *i));
        let mut found = Vec::new();
        let mut furthest: Option<usize> = None;
        for i in order {
            let range = &self.ranges[i].0;
            match furthest {
                Some(f) if self.ranges[f].0.contains(range.first()) => {
                    found.push((i.max(f), i.min(f)));
                    if range.last() > self.ranges[f].0.last() {
                        furthest = Some(i);
                    }
                }
                _ => furthest = Some(i),
            }
        }
        found
    }

    /// The pairs (later, earlier) of equal names.
    fn twice(&self) -> Vec<(usize, usize)> {
        let mut first: HashMap<&HostName, usize> = HashMap::with_capacity(self.names.len());
        let mut found = Vec::new();
        for (i, (name, _)) in self.names.iter().enumerate() {
            match first.get(name) {
                Some(earlier) => found.push((i, *earlier)),
                None => {
                    first.insert(name, i);
                }
            }
        }
        found
    }
}

/// The first [`MAX_ERRORS`] + 1 pairs by place.
fn select_first_pairs(
    mut pairs: Vec<(usize, usize)>,
    place: impl Fn(&(usize, usize)) -> usize,
) -> Vec<(usize, usize)> {
    pairs.sort_unstable_by_key(|p| (place(p), *p));
    pairs.truncate(MAX_ERRORS + 1);
    pairs
}
