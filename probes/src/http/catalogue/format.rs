//! The catalogue's files: reading, and everything that can be wrong with them.
//!
//! The build script reads this file, too, so that a mistake in a file that comes with the product
//! stops the build. It knows no answer and no target.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use mimawari_targets::diagnostic::{Diagnostic, DiagnosticList, TextSource};
use mimawari_targets::{build_mistake_diagnostic, parse_missing_key};
use regex::bytes::{Regex, RegexBuilder};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::Severity;
use super::paths::PathTemplate;

/// Most memory of one compiled expression, bytes.
const REGEX_LIMIT: usize = 1 << 20;

/// Most bytes that an expression looks at as a whole.
pub const WHOLE_LIMIT: usize = 4096;

/// What a condition may ask for; exactly one of them.
pub const CONDITIONS: [&str; 20] = [
    "starts", "has", "hex", "line", "lines", "whole", "find", "key", "root", "title", "entry",
    "location", "header", "code", "shape", "over", "unpacked", "any", "all", "not",
];

/// A file of checks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    version: Spanned<u32>,
    #[serde(default)]
    check: Vec<RawCheck>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    id: Spanned<String>,
    title: Spanned<String>,
    severity: Severity,
    why: Spanned<String>,
    remedy: Spanned<String>,
    signature: Spanned<String>,
    paths: Spanned<BTreeMap<Spanned<String>, Vec<Spanned<String>>>>,
    #[serde(default)]
    status: AnswerSpec,
    #[serde(default)]
    canary: Controls,
    rule: Spanned<Vec<RawRule>>,
    #[serde(default)]
    hit: Vec<Spanned<RawFixture>>,
    #[serde(default)]
    miss: Vec<Spanned<RawFixture>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    severity: Option<Severity>,
    label: Option<String>,
    #[serde(default)]
    real: bool,
    #[serde(rename = "as")]
    reading: FormatReading,
    #[serde(rename = "where")]
    conditions: Spanned<Vec<Spanned<RawCondition>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    starts: Option<String>,
    has: Option<String>,
    hex: Option<String>,
    at: Option<usize>,
    line: Option<String>,
    lines: Option<String>,
    whole: Option<String>,
    find: Option<String>,
    min: Option<usize>,
    within: Option<usize>,
    outside: Option<Vec<String>>,
    nocase: Option<bool>,
    key: Option<String>,
    value: Option<String>,
    base64: Option<bool>,
    root: Option<String>,
    title: Option<String>,
    entry: Option<String>,
    location: Option<String>,
    header: Option<String>,
    code: Option<Vec<u16>>,
    shape: Option<String>,
    over: Option<u64>,
    unpacked: Option<Vec<Spanned<RawCondition>>>,
    any: Option<Vec<Spanned<RawCondition>>>,
    all: Option<Vec<Spanned<RawCondition>>>,
    not: Option<Box<Spanned<RawCondition>>>,
}

#[derive(Debug)]
enum RawFixture {
    Text(String),
    Made(FixtureSource),
}

impl<'de> Deserialize<'de> for RawFixture {
    /// By hand: of an untagged enumeration no message would name the wrong key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FixtureVisitor;

        impl<'de> Visitor<'de> for FixtureVisitor {
            type Value = RawFixture;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a body as text, or a table such as { hex = \"1f 8b\" }")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawFixture, E> {
                Ok(RawFixture::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawFixture, A::Error> {
                FixtureSource::deserialize(MapAccessDeserializer::new(map)).map(RawFixture::Made)
            }
        }

        deserializer.deserialize_any(FixtureVisitor)
    }
}

/// A fixture that is not plain text, or of which more is known.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FixtureSource {
    text: Option<String>,
    hex: Option<String>,
    at: Option<usize>,
    gzip: Option<bool>,
    zip: Option<String>,
    utf16: Option<bool>,
    repeat: Option<usize>,
    severity: Option<Severity>,
    label: Option<String>,
    status: Option<u16>,
    location: Option<String>,
    headers: Option<Vec<String>>,
    total: Option<u64>,
    path: Option<String>,
}

/// Which answers a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerSpec {
    /// 200, or 206 to our range.
    #[default]
    Content,
    /// 3xx. Never followed.
    Redirect,
    /// Whatever the status: pages of debuggers come with 404 and 500.
    Any,
}

/// What answers of paths that cannot exist refute a hit. Written as `canary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Controls {
    /// `true`: the hit's own body, what varies in it aside.
    #[default]
    Page,
    /// `"strict"`: anything of which the check is true. For what is no signature of its own.
    Signature,
    /// `false`: none is asked for.
    None,
    /// `"everywhere"`: the check is about every path of the site, and true only if every path has
    /// the body of another hit at its path.
    Everywhere,
}

impl<'de> Deserialize<'de> for Controls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ControlsVisitor;

        impl Visitor<'_> for ControlsVisitor {
            type Value = Controls;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, \"strict\" or \"everywhere\"")
            }

            fn visit_bool<E>(self, asked: bool) -> Result<Controls, E> {
                Ok(if asked { Controls::Page } else { Controls::None })
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Controls, E> {
                match text {
                    "strict" => Ok(Controls::Signature),
                    "everywhere" => Ok(Controls::Everywhere),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(ControlsVisitor)
    }
}

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatReading {
    /// Text that begins neither as HTML nor as JSON does.
    Text,
    /// A page: anything but JSON.
    Page,
    /// As it is.
    Bytes,
    /// JSON, with comments and trailing commas; a cut one as far as it goes.
    Json,
    /// XML.
    Xml,
}

/// One check, as it was written.
#[derive(Debug, Clone)]
pub struct CheckSource {
    /// Where its id stands in its file, bytes.
    pub place: Range<usize>,
    /// A stable, lower-case name.
    pub id: String,
    /// What is exposed, in a line.
    pub title: String,
    /// How bad a hit is, unless the rule says otherwise.
    pub severity: Severity,
    /// What it means for the customer.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
    /// The fact about the bytes, in words.
    pub signature: String,
    /// Paths by tier: 1 hourly, 2 daily, 3 weekly.
    pub paths: Vec<(u8, PathTemplate)>,
    /// The patterns as they were written, by tier.
    pub patterns: Vec<(u8, String)>,
    /// Which answers it looks at.
    pub status: AnswerSpec,
    /// What paths that cannot exist must not have.
    pub controls: Controls,
    /// The first one that is true decides.
    pub rules: Vec<CheckRule>,
    /// Bodies of which it is true.
    pub hits: Vec<CheckFixture>,
    /// Bodies that come near.
    pub misses: Vec<CheckFixture>,
}

/// What makes a check true.
#[derive(Debug, Clone)]
pub struct CheckRule {
    /// Instead of the check's.
    pub severity: Option<Severity>,
    /// For the evidence.
    pub label: Option<String>,
    /// Not true where every secret asks to be replaced; otherwise that is a template.
    pub real: bool,
    /// How the body is read.
    pub reading: FormatReading,
    /// All must hold.
    pub tests: Vec<FixtureTest>,
}

/// One condition.
#[derive(Debug, Clone)]
pub enum FixtureTest {
    /// These bytes at this offset; for text, behind white space at its beginning.
    At {
        /// Offset, bytes.
        at: usize,
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether they may be shown.
        shown: bool,
    },
    /// These bytes somewhere.
    Has {
        /// The bytes.
        bytes: Vec<u8>,
        /// ASCII letters of either case are the same.
        nocase: bool,
        /// Among the first so many bytes.
        within: usize,
    },
    /// At least `min` whole lines match, white space around them aside.
    Line {
        /// For a whole line.
        regex: Regex,
        /// How many lines.
        min: usize,
        /// Among the first so many bytes.
        within: usize,
    },
    /// Every line that is neither blank nor a `#` comment matches; at least `min` of them.
    Lines {
        /// For a whole line.
        regex: Regex,
        /// How many lines.
        min: usize,
    },
    /// The whole of it, white space around it aside, at most [`WHOLE_LIMIT`] bytes.
    Whole(Regex),
    /// Somewhere.
    Find {
        /// For any part.
        regex: Regex,
        /// Among the first so many bytes.
        within: usize,
        /// Not within these HTML elements.
        outside: Vec<String>,
    },
    /// A JSON value at a pointer; `*` is any one step, `**` any number of them.
    Key {
        /// Steps of the pointer (RFC 6901), unescaped.
        steps: Vec<String>,
        /// For the value as text; without one, any.
        value: Option<Regex>,
        /// The text is base64, and what it stands for is meant.
        base64: bool,
    },
    /// The name of the XML root element.
    Root(String),
    /// Text of `<title>`.
    Title(Regex),
    /// The name of the first entry of a ZIP archive.
    Entry(Regex),
    /// `Location`.
    Location(Regex),
    /// A header field as `Name: value`, the name in title case.
    Header(Regex),
    /// The status is one of these; 206 to our range counts as 200.
    Code(Vec<u16>),
    /// One of the facts that want a program of their own.
    Shape(BinaryShape),
    /// The whole resource is longer than so many bytes.
    Over(u64),
    /// What a gzip file or the first entry of a ZIP archive holds.
    Unpacked(Vec<FixtureTest>),
    /// One of them.
    Any(Vec<FixtureTest>),
    /// All of them.
    All(Vec<FixtureTest>),
    /// Not this one.
    Not(Box<FixtureTest>),
}

/// Facts that want a program of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryShape {
    /// `NAME=value` lines, one of them a secret.
    Dotenv,
    /// A raw opening tag of PHP with code behind it, outside of elements that quote code.
    PhpSource,
    /// A PHP line that names a password and gives a value.
    PhpPassword,
    /// A private key in PEM (RFC 7468), PKCS#8, RSA, EC or DSA.
    PrivateKey,
    /// The same, or an OpenSSH key.
    SshKey,
    /// One of the two, under a passphrase.
    EncryptedKey,
    /// A JSON object with a host and a way in.
    TransferAccount,
    /// At least three lines with the same number of the same delimiter.
    Table,
    /// Names with passwords, as people write them down.
    AccountList,
    /// Mail addresses of two people at least, those of offices aside.
    People,
    /// Not one byte.
    Empty,
}

impl BinaryShape {
    /// All, with the names by which files know them.
    pub const ALL: [(&'static str, Self); 12] = [
        ("dotenv", Self::Dotenv),
        ("php-source", Self::PhpSource),
        // Its former name for copies.
        ("php-copy", Self::PhpSource),
        ("php-password", Self::PhpPassword),
        ("private-key", Self::PrivateKey),
        ("ssh-key", Self::SshKey),
        ("encrypted-key", Self::EncryptedKey),
        ("transfer-account", Self::TransferAccount),
        ("table", Self::Table),
        ("account-list", Self::AccountList),
        ("people", Self::People),
        ("empty", Self::Empty),
    ];
}

/// A body with what is known of it.
#[derive(Debug, Clone)]
pub struct CheckFixture {
    /// Where it stands in its file, bytes.
    pub place: Range<usize>,
    /// The body as served.
    pub text: Vec<u8>,
    /// Compressed as a gzip file.
    pub gzip: bool,
    /// In a ZIP archive, under this name.
    pub zip: Option<String>,
    /// As UTF-16 with a byte order mark.
    pub utf16: bool,
    /// The severity that a hit must have; otherwise the check's.
    pub severity: Option<Severity>,
    /// The label that a hit must have.
    pub label: Option<String>,
    /// Status; otherwise 200, or 302 for a check of redirects.
    pub status: Option<u16>,
    /// `Location`.
    pub location: Option<String>,
    /// Header fields as `Name: value`.
    pub headers: Vec<String>,
    /// Length of the whole resource.
    pub total: Option<u64>,
    /// The path that it is served at; otherwise the check's first.
    pub path: Option<String>,
}

/// Reads a file. `strict` demands fixtures.
///
/// # Errors
/// Every mistake, with its line and a remedy.
pub fn read(source: &TextSource, strict: bool) -> Result<Vec<CheckSource>, DiagnosticList> {
    let file: CatalogueFile = toml::from_str(source.text()).map_err(|e| {
        let d = build_mistake_diagnostic(source, e.message(), e.span().unwrap_or(0..0));
        match parse_missing_key(e.message()) {
            Some("version") => d.help("write `version = 1` at the top of the file"),
            Some("paths") => d.help("write paths by tier, such as paths.1 = [\"/.env\"]"),
            Some("rule") => d.help("write one [[check.rule]] at least"),
            Some("as") => d.help("say how the body is read, such as as = \"text\""),
            Some("where") => {
                d.help("write one condition at least, such as { line = '\\[core\\]' }")
            }
            Some("severity") => d.help("write info, low, medium, high or critical"),
            Some("why" | "remedy" | "title" | "signature") => {
                d.help("write `title`, `why`, `remedy` and `signature` for the person who mends it")
            }
            _ if d.help.is_none() => d.help("`mimawari checks --help` shows the form of a check"),
            _ => d,
        }
    })?;
    let mut reader = CatalogueReader { source, errors: Vec::new() };
    if *file.version.get_ref() != 1 {
        reader.error(
            file.version.span(),
            "this version of the form is not known",
            "write `version = 1`, or use a newer mimawari",
        );
    }
    let mut ids = BTreeSet::new();
    let mut specs = Vec::new();
    for raw in file.check {
        let at = raw.id.span();
        if !ids.insert(raw.id.get_ref().clone()) {
            let title =
                format!("the id `{}` is taken by another check of this file", raw.id.get_ref());
            reader.error(at, title, "give every check an id of its own");
        }
        specs.push(reader.check(raw, strict));
    }
    if reader.errors.is_empty() { Ok(specs) } else { Err(DiagnosticList(reader.errors)) }
}

struct CatalogueReader<'a> {
    source: &'a TextSource,
    errors: Vec<Diagnostic>,
}

impl CatalogueReader<'_> {
    fn error(&mut self, span: Range<usize>, title: impl Into<String>, help: &str) {
        self.errors.push(Diagnostic::error(title, self.source, span).help(help));
    }

    fn check(&mut self, raw: RawCheck, strict: bool) -> CheckSource {
        let id = raw.id.get_ref().clone();
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=40).contains(&id.len()) || !id.bytes().all(word) {
            let help = "write lower-case letters, digits and hyphens, such as git-config";
            self.error(raw.id.span(), format!("`{}` is not an id", id.escape_default()), help);
        }
        for (what, text) in [
            ("title", &raw.title),
            ("why", &raw.why),
            ("remedy", &raw.remedy),
            ("signature", &raw.signature),
        ] {
            let t = text.get_ref();
            if t.trim().is_empty() || t.len() > 1000 || t.chars().any(char::is_control) {
                let title = format!("`{what}` must be one line of text");
                self.error(text.span(), title, "write a sentence for the person who mends it");
            }
        }
        let (mut paths, mut patterns) = (Vec::new(), Vec::new());
        let span = raw.paths.span();
        for (named, list) in raw.paths.into_inner() {
            let Ok(tier @ 1..=3) = named.get_ref().parse::<u8>() else {
                let title = format!("`{}` is not a tier", named.get_ref().escape_debug());
                let help = "write paths.1 (asked hourly), paths.2 (daily) or paths.3 (weekly)";
                self.error(named.span(), title, help);
                continue;
            };
            for pattern in list {
                match PathTemplate::expand(pattern.get_ref()) {
                    Ok(all) => paths.extend(all.into_iter().map(|t| (tier, t))),
                    Err((title, help)) => self.error(pattern.span(), title, help),
                }
                patterns.push((tier, pattern.into_inner()));
            }
        }
        if patterns.is_empty() {
            self.error(
                span,
                "this check has no path",
                "write paths by tier, such as paths.1 = [\"/.env\"]",
            );
        }
        if raw.rule.get_ref().is_empty() {
            self.error(
                raw.rule.span(),
                "this check has no rule",
                "write one [[check.rule]] at least",
            );
        }
        let rules = raw.rule.into_inner().into_iter().map(|r| self.rule(r, raw.status)).collect();
        if strict && (raw.hit.is_empty() || raw.miss.is_empty()) {
            let help =
                "write `hit` and `miss`: bodies of which it is true, and bodies that come near";
            self.error(raw.id.span(), format!("the check `{id}` has no fixtures"), help);
        }
        CheckSource {
            place: raw.id.span(),
            id,
            title: raw.title.into_inner(),
            severity: raw.severity,
            why: raw.why.into_inner(),
            remedy: raw.remedy.into_inner(),
            signature: raw.signature.into_inner(),
            paths,
            patterns,
            status: raw.status,
            controls: raw.canary,
            rules,
            hits: raw.hit.into_iter().filter_map(|f| self.fixture(f)).collect(),
            misses: raw.miss.into_iter().filter_map(|f| self.fixture(f)).collect(),
        }
    }

    fn rule(&mut self, raw: RawRule, status: AnswerSpec) -> CheckRule {
        if raw.conditions.get_ref().is_empty() {
            let help = "write one condition at least, such as { line = '\\[core\\]' }";
            self.error(raw.conditions.span(), "this rule has no condition", help);
        }
        let at = raw.conditions.span();
        let tests = self.tests(raw.conditions.into_inner(), raw.reading);
        let about_redirects = tests.iter().any(|t| matches!(t, FixtureTest::Location(_)));
        if about_redirects != (status == AnswerSpec::Redirect) && !tests.is_empty() {
            let help = "`location` and `status = \"redirect\"` go together";
            self.error(at, "a check of redirects looks at `location`, and no other does", help);
        }
        CheckRule {
            severity: raw.severity,
            label: raw.label,
            real: raw.real,
            reading: raw.reading,
            tests,
        }
    }

    fn tests(
        &mut self,
        raw: Vec<Spanned<RawCondition>>,
        reading: FormatReading,
    ) -> Vec<FixtureTest> {
        raw.into_iter().filter_map(|c| self.test(c, reading)).collect()
    }

    fn test(&mut self, raw: Spanned<RawCondition>, reading: FormatReading) -> Option<FixtureTest> {
        let span = raw.span();
        let c = raw.into_inner();
        let there = [
            c.starts.is_some(),
            c.has.is_some(),
            c.hex.is_some(),
            c.line.is_some(),
            c.lines.is_some(),
            c.whole.is_some(),
            c.find.is_some(),
            c.key.is_some(),
            c.root.is_some(),
            c.title.is_some(),
            c.entry.is_some(),
            c.location.is_some(),
            c.header.is_some(),
            c.code.is_some(),
            c.shape.is_some(),
            c.over.is_some(),
            c.unpacked.is_some(),
            c.any.is_some(),
            c.all.is_some(),
            c.not.is_some(),
        ];
        let names: Vec<&str> =
            CONDITIONS.into_iter().zip(there).filter(|(_, there)| *there).map(|(n, _)| n).collect();
        let [kind] = names[..] else {
            let help = format!("write exactly one of {}", CONDITIONS.join(", "));
            let title = match names.len() {
                0 => "this condition asks for nothing".to_owned(),
                _ => format!("this condition asks for {} at once", names.join(" and ")),
            };
            self.error(span, title, &help);
            return None;
        };
        let takes = |option: &str| match option {
            "at" => kind == "hex" || kind == "starts",
            "min" => matches!(kind, "line" | "lines"),
            "within" => matches!(kind, "line" | "find" | "has"),
            "outside" => kind == "find",
            "nocase" => matches!(
                kind,
                "has" | "line" | "lines" | "whole" | "find" | "title" | "key" | "entry" | "header"
            ),
            "value" | "base64" => kind == "key",
            _ => true,
        };
        for (option, there) in [
            ("at", c.at.is_some()),
            ("min", c.min.is_some()),
            ("within", c.within.is_some()),
            ("outside", c.outside.is_some()),
            ("nocase", c.nocase.is_some()),
            ("value", c.value.is_some()),
            ("base64", c.base64.is_some()),
        ] {
            if there && !takes(option) {
                self.error(span.clone(), format!("`{kind}` takes no `{option}`"), "take it away");
                return None;
            }
        }
        let suits = match kind {
            "key" => reading == FormatReading::Json,
            "root" => reading == FormatReading::Xml,
            "title" => matches!(reading, FormatReading::Page | FormatReading::Xml),
            "entry" | "unpacked" => reading == FormatReading::Bytes,
            "line" | "lines" | "whole" => reading != FormatReading::Json,
            _ => true,
        };
        if !suits {
            let help = match kind {
                "key" => "`key` is for as = \"json\"",
                "root" => "`root` is for as = \"xml\"",
                "title" => "`title` is for as = \"page\" and \"xml\"",
                "entry" | "unpacked" => "`entry` and `unpacked` are for as = \"bytes\"",
                _ => "of as = \"json\" ask for a `key`, or read it as \"text\" or \"page\"",
            };
            let title = format!("`{kind}` does not fit the way in which the body is read");
            self.error(span, title, help);
            return None;
        }
        let nocase = c.nocase.unwrap_or(false);
        let within = c.within.unwrap_or(usize::MAX);
        let min = c.min.unwrap_or(1).max(1);
        let literal = |text: String| text.into_bytes();
        Some(match kind {
            "starts" => FixtureTest::At {
                at: c.at.unwrap_or(0),
                bytes: self.filled(&span, literal(c.starts?))?,
                shown: true,
            },
            "hex" => {
                let Some(bytes) = unhex(&c.hex?).filter(|b| !b.is_empty()) else {
                    self.error(
                        span,
                        "this is not hexadecimal",
                        "write pairs of digits, such as 1f 8b",
                    );
                    return None;
                };
                FixtureTest::At { at: c.at.unwrap_or(0), bytes, shown: false }
            }
            "has" => {
                FixtureTest::Has { bytes: self.filled(&span, literal(c.has?))?, nocase, within }
            }
            "line" => {
                FixtureTest::Line { regex: self.regex(&span, &c.line?, nocase, true)?, min, within }
            }
            "lines" => {
                FixtureTest::Lines { regex: self.regex(&span, &c.lines?, nocase, true)?, min }
            }
            "whole" => FixtureTest::Whole(self.regex(&span, &c.whole?, nocase, true)?),
            "find" => {
                let outside = c.outside.unwrap_or_default();
                let is_name =
                    |n: &String| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric());
                if !outside.iter().all(is_name) {
                    let help = "write names of HTML elements, such as [\"form\", \"script\"]";
                    self.error(span, "`outside` names elements", help);
                    return None;
                }
                FixtureTest::Find {
                    regex: self.regex(&span, &c.find?, nocase, false)?,
                    within,
                    outside,
                }
            }
            "title" => FixtureTest::Title(self.regex(&span, &c.title?, nocase, true)?),
            "entry" => FixtureTest::Entry(self.regex(&span, &c.entry?, nocase, true)?),
            "location" => FixtureTest::Location(self.regex(&span, &c.location?, false, true)?),
            "header" => FixtureTest::Header(self.regex(&span, &c.header?, nocase, false)?),
            "code" => {
                let codes = c.code?;
                if codes.is_empty() || codes.iter().any(|c| !(100..=599).contains(c)) {
                    let help = "write status codes, such as code = [200, 404]";
                    self.error(span, "`code` is a list of status codes", help);
                    return None;
                }
                FixtureTest::Code(codes)
            }
            "key" => {
                let pointer = c.key?;
                let Some(steps) = pointer.strip_prefix('/') else {
                    let help = "write a JSON pointer, such as /type, /*/auth or /**/password";
                    self.error(span, format!("`{pointer}` is not a pointer"), help);
                    return None;
                };
                let steps =
                    steps.split('/').map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
                let value = match c.value {
                    Some(value) => Some(self.regex(&span, &value, nocase, true)?),
                    None => None,
                };
                FixtureTest::Key { steps, value, base64: c.base64.unwrap_or(false) }
            }
            "root" => FixtureTest::Root(c.root?),
            "shape" => {
                let name = c.shape?;
                let Some((_, shape)) = BinaryShape::ALL.iter().find(|(n, _)| *n == name) else {
                    let all: Vec<&str> = BinaryShape::ALL.iter().map(|(n, _)| *n).collect();
                    let help = format!("write one of {}", all.join(", "));
                    self.error(span, format!("no shape has the name `{name}`"), &help);
                    return None;
                };
                FixtureTest::Shape(*shape)
            }
            "over" => FixtureTest::Over(c.over?),
            "unpacked" => FixtureTest::Unpacked(self.tests(c.unpacked?, FormatReading::Bytes)),
            "any" => FixtureTest::Any(self.some(&span, c.any?, reading)?),
            "all" => FixtureTest::All(self.some(&span, c.all?, reading)?),
            _ => FixtureTest::Not(Box::new(self.test(*c.not?, reading)?)),
        })
    }

    fn some(
        &mut self,
        span: &Range<usize>,
        raw: Vec<Spanned<RawCondition>>,
        reading: FormatReading,
    ) -> Option<Vec<FixtureTest>> {
        if raw.is_empty() {
            self.error(span.clone(), "this list of conditions is empty", "write one at least");
            return None;
        }
        Some(self.tests(raw, reading))
    }

    fn filled(&mut self, span: &Range<usize>, bytes: Vec<u8>) -> Option<Vec<u8>> {
        if bytes.is_empty() {
            self.error(span.clone(), "an empty text is everywhere", "write what must be there");
            return None;
        }
        Some(bytes)
    }

    fn regex(
        &mut self,
        span: &Range<usize>,
        text: &str,
        nocase: bool,
        whole: bool,
    ) -> Option<Regex> {
        let pattern = if whole { format!("^(?:{text})$") } else { text.to_owned() };
        let built = RegexBuilder::new(&pattern)
            .unicode(false)
            .case_insensitive(nocase)
            .size_limit(REGEX_LIMIT)
            .dfa_size_limit(REGEX_LIMIT)
            .build();
        match built {
            Ok(regex) if !whole && regex.is_match(b"") => {
                let help = "write an expression that needs at least one byte";
                self.error(span.clone(), "this expression is true of an empty answer", help);
                None
            }
            Ok(regex) => Some(regex),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                let last = last.strip_prefix("error: ").unwrap_or(last);
                let title = format!("this expression is not understood: {last}");
                self.error(
                    span.clone(),
                    title,
                    "write it in the syntax of the Rust crate regex, for bytes",
                );
                None
            }
        }
    }

    fn fixture(&mut self, raw: Spanned<RawFixture>) -> Option<CheckFixture> {
        let span = raw.span();
        let place = span.clone();
        let made = match raw.into_inner() {
            RawFixture::Text(text) => {
                FixtureSource { text: Some(text), ..FixtureSource::default() }
            }
            RawFixture::Made(made) => made,
        };
        let mut body = vec![0; made.at.unwrap_or(0).min(1 << 20)];
        if let Some(hex) = &made.hex {
            let Some(bytes) = unhex(hex) else {
                self.error(span, "this is not hexadecimal", "write pairs of digits, such as 1f 8b");
                return None;
            };
            body.extend(bytes);
        }
        body.extend(made.text.unwrap_or_default().into_bytes());
        let body = body.repeat(made.repeat.unwrap_or(1).min(1 << 16));
        Some(CheckFixture {
            place,
            text: body,
            gzip: made.gzip.unwrap_or(false),
            zip: made.zip,
            utf16: made.utf16.unwrap_or(false),
            severity: made.severity,
            label: made.label,
            status: made.status,
            location: made.location,
            headers: made.headers.unwrap_or_default(),
            total: made.total,
            path: made.path,
        })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
