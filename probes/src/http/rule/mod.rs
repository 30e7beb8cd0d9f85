//! Whether a check is true of an answer. Matching is on bytes, in linear time.

mod accounts;
mod dotenv;
mod json;
mod php;
mod shapes;
mod unpack;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use memchr::memmem;
use regex::bytes::{Captures, Regex};

pub(super) use self::accounts::contains_personal_emails;
use self::json::JsonScanner;
use self::shapes::parse_userinfo;
use super::catalogue::format::{
    AnswerSpec, CheckRule, CheckSource, FixtureTest, FormatReading, WHOLE_LIMIT,
};
use super::check::HeaderFields;
use super::gate::{GateStatus, PageContent, find_ignoring_case, is_html, is_placeholder};
use crate::observation::Severity;

/// Whether a text is a list of accounts, with at least one password of its own.
pub(super) fn is_account_list(text: &[u8]) -> bool {
    let mut seen = MatchInput::default();
    accounts::is_list(text, &mut seen) && seen.secrets > 0
}

/// The group of an expression that holds a secret's value.
const SECRET: &str = "secret";

/// The group of an expression whose first characters may be shown.
const SHOWN: &str = "shown";

/// Most matches of one expression whose secrets are looked at: each is a search of its own.
const FOUND_LIMIT: usize = 64;

/// A check is true of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RuleHit {
    /// Counted from 1.
    pub(super) line: Option<u32>,
    /// The beginning of a name or a constant, never of a secret's value; cut further before it is
    /// shown.
    pub(super) masked: Option<Vec<u8>>,
    /// Instead of the check's.
    pub(super) severity: Option<Severity>,
    /// Such as `template`.
    pub(super) label: Option<String>,
    /// The bytes are those of a known file.
    pub(super) certain: bool,
}

/// The first rule of the check that is true of the answer.
pub(super) fn evaluate(spec: &CheckSource, content: &PageContent<'_>) -> Option<RuleHit> {
    let fits = match spec.status {
        AnswerSpec::Content => content.status == GateStatus::Content,
        AnswerSpec::Redirect => content.status == GateStatus::Redirect,
        AnswerSpec::Any => true,
    };
    if !fits {
        return None;
    }
    spec.rules.iter().find_map(|rule| evaluate_rule(rule, spec.severity, content))
}

fn evaluate_rule(rule: &CheckRule, usual: Severity, content: &PageContent<'_>) -> Option<RuleHit> {
    let json;
    let raw = rule.reading == FormatReading::Bytes;
    let mut view = BodyView { text: &content.text, raw, json: None, content };
    match rule.reading {
        FormatReading::Bytes => view.text = content.bytes,
        FormatReading::Page if is_likely_json(&content.text) => return None,
        FormatReading::Page => {}
        FormatReading::Text => {
            view.text = content.plain().filter(|text| !is_likely_json(text))?;
        }
        FormatReading::Xml => {
            // Everything that is known of the root element is known by its name.
            if is_likely_json(&content.text) {
                return None;
            }
        }
        FormatReading::Json => {
            json = JsonScanner::read(&content.text, content.truncated)?;
            view.json = Some(&json);
        }
    }
    let mut seen = MatchInput::default();
    if !rule.tests.iter().all(|test| view.is(test, &mut seen)) {
        return None;
    }
    // Nothing but values that ask to be replaced.
    let template = seen.placeholders > 0 && seen.secrets == 0;
    if template && rule.real {
        return None;
    }
    Some(RuleHit {
        line: seen.secret_line.or(seen.line).and_then(|l| u32::try_from(l).ok()),
        masked: seen.mask,
        severity: if template { Some(usual.min(Severity::Low)) } else { rule.severity },
        label: if template { Some("template".to_owned()) } else { rule.label.clone() },
        certain: false,
    })
}

/// What the conditions of a rule came across.
#[derive(Debug, Clone, Default)]
struct MatchInput {
    /// Of the first condition that has one.
    line: Option<usize>,
    /// Of the first secret that is no placeholder.
    secret_line: Option<usize>,
    mask: Option<Vec<u8>>,
    /// Secrets with a value of their own.
    secrets: usize,
    placeholders: usize,
}

impl MatchInput {
    fn at(&mut self, line: usize, mask: Option<&[u8]>) {
        self.line.get_or_insert(line);
        if self.mask.is_none() {
            self.mask = mask.filter(|m| !m.is_empty()).map(|m| m[..m.len().min(4)].to_vec());
        }
    }

    /// Takes over what a trial has seen.
    fn take(&mut self, trial: Self) {
        self.line = self.line.or(trial.line);
        self.secret_line = self.secret_line.or(trial.secret_line);
        self.secrets += trial.secrets;
        self.placeholders += trial.placeholders;
    }

    fn secret(&mut self, line: Option<usize>, value: &[u8]) {
        if is_placeholder(value) {
            self.placeholders += 1;
        } else {
            self.secrets += 1;
            self.secret_line = self.secret_line.or(line);
        }
    }
}

/// An answer's body, as a rule reads it.
struct BodyView<'a> {
    text: &'a [u8],
    /// As it was served, so that its lines mean nothing.
    raw: bool,
    json: Option<&'a JsonScanner<'a>>,
    content: &'a PageContent<'a>,
}

impl BodyView<'_> {
    fn is(&self, test: &FixtureTest, seen: &mut MatchInput) -> bool {
        match test {
            FixtureTest::At { at, bytes, shown } => {
                let text = if *at == 0 && self.json.is_none() && !self.raw {
                    self.text.trim_ascii_start()
                } else {
                    self.text
                };
                let there = text.get(*at..).is_some_and(|t| t.starts_with(bytes));
                if there {
                    let mask = shown.then_some(&bytes[..]);
                    if seen.mask.is_none() {
                        seen.mask = mask.map(|m| m[..m.len().min(4)].to_vec());
                    }
                    if !self.raw {
                        seen.line.get_or_insert(compute_line_number(
                            self.text,
                            self.text.len() - text.len(),
                        ));
                    }
                }
                there
            }
            FixtureTest::Has { bytes, nocase, within } => {
                let text = &self.text[..self.text.len().min(*within)];
                let at = if *nocase {
                    find_ignoring_case(text, bytes)
                } else {
                    memmem::find(text, bytes)
                };
                if let Some(at) = at {
                    seen.at(compute_line_number(text, at), Some(bytes));
                }
                at.is_some()
            }
            FixtureTest::Line { regex, min, within } => self.line(regex, *min, *within, seen),
            FixtureTest::Lines { regex, min } => self.lines(regex, *min, seen),
            FixtureTest::Whole(regex) => {
                let text = self.text.trim_ascii();
                !self.content.truncated
                    && text.len() <= WHOLE_LIMIT
                    && self.found(regex, text, Some(1), seen)
            }
            FixtureTest::Find { regex, within, outside } => {
                let text = &self.text[..self.text.len().min(*within)];
                // Elements are taken out one after the other; lines and offsets stay.
                let text = outside
                    .iter()
                    .fold(Cow::Borrowed(text), |text, name| blank_elements(text, name.as_bytes()));
                let Some(found) = regex.find(&text) else { return false };
                let line = compute_line_number(&text, found.start());
                if !regex.capture_names().flatten().any(|n| n == SECRET) {
                    return self.found(regex, &text, Some(line), seen);
                }
                // Of secrets every one counts: the first may be an example.
                for captures in regex.captures_iter(&text).take(FOUND_LIMIT) {
                    let line = captures.get(0).map(|m| compute_line_number(&text, m.start()));
                    self.captured(&captures, line, seen);
                }
                true
            }
            FixtureTest::Key { steps, value, base64 } => {
                self.key(steps, value.as_ref(), *base64, seen)
            }
            FixtureTest::Root(name) => {
                let Some(root) = shapes::find_root_element(self.text) else { return false };
                let rest = &self.text[root..];
                let there = rest
                    .get(1..)
                    .and_then(|r| r.strip_prefix(name.as_bytes()))
                    .is_some_and(|after| {
                        after.first().is_some_and(|b| {
                            b.is_ascii_whitespace()
                                || matches!(b, b'>' | b'/')
                                || b.is_ascii_digit()
                        })
                    });
                if there {
                    seen.at(
                        compute_line_number(self.text, root),
                        Some(&rest[..rest.len().min(name.len() + 1)]),
                    );
                }
                there
            }
            FixtureTest::Title(regex) => {
                let Some(title) = shapes::find_title(self.text) else { return false };
                let line = compute_line_number(self.text, title.start);
                let there = regex.is_match(self.text[title].trim_ascii());
                if there {
                    seen.at(line, Some(b"<title>"));
                }
                there
            }
            FixtureTest::Entry(regex) => {
                let entry = unpack::read_first_entry(self.text);
                let there = entry.is_some_and(|e| regex.is_match(e.name));
                if there && seen.mask.is_none() {
                    seen.mask = Some(b"PK".to_vec());
                }
                there
            }
            FixtureTest::Location(regex) => {
                self.content.location.is_some_and(|l| regex.is_match(l.as_bytes()))
            }
            FixtureTest::Header(regex) => has_field(self.content.fields, regex),
            FixtureTest::Code(codes) => codes.contains(&self.content.code()),
            FixtureTest::Shape(shape) => shapes::is(*shape, self.text, self.content, seen),
            FixtureTest::Over(length) => self.content.total.is_some_and(|total| total > *length),
            FixtureTest::Unpacked(tests) => {
                let Some(inner) = unpack::decompress_archive(self.text) else { return false };
                // An error page may be compressed as well.
                if inner.is_empty() || is_html(&inner) {
                    return false;
                }
                let view = BodyView { text: &inner, raw: true, json: None, content: self.content };
                // Lines of what is packed are no lines of what was served.
                let mut inside = MatchInput::default();
                let there = tests.iter().all(|t| view.is(t, &mut inside));
                if there {
                    seen.secrets += inside.secrets;
                    seen.placeholders += inside.placeholders;
                }
                there
            }
            FixtureTest::Any(tests) => self.any(tests, seen),
            FixtureTest::All(tests) => tests.iter().all(|t| self.is(t, seen)),
            FixtureTest::Not(test) => !self.is(test, &mut MatchInput::default()),
        }
    }

    /// The first that is true, but rather one with a secret than one with a placeholder: in a file
    /// of several accounts the first may be an example.
    fn any(&self, tests: &[FixtureTest], seen: &mut MatchInput) -> bool {
        let mut template = None;
        for test in tests {
            let mut trial = seen.clone();
            if !self.is(test, &mut trial) {
                continue;
            }
            if trial.placeholders == seen.placeholders || trial.secrets > seen.secrets {
                *seen = trial;
                return true;
            }
            template.get_or_insert(trial);
        }
        let there = template.is_some();
        if let Some(trial) = template {
            *seen = trial;
        }
        there
    }

    /// A match and what its groups hold.
    fn found(
        &self,
        regex: &Regex,
        text: &[u8],
        line: Option<usize>,
        seen: &mut MatchInput,
    ) -> bool {
        let Some(captures) = regex.captures(text) else { return false };
        self.captured(&captures, line, seen);
        true
    }

    fn captured(&self, captures: &Captures<'_>, line: Option<usize>, seen: &mut MatchInput) {
        if let Some(secret) = captures.name(SECRET) {
            seen.secret(line, secret.as_bytes());
        }
        let shown = captures.name(SHOWN).map(|m| m.as_bytes());
        if let Some(line) = line {
            seen.at(line, shown);
        }
    }

    fn line(&self, regex: &Regex, min: usize, within: usize, seen: &mut MatchInput) -> bool {
        let text = &self.text[..self.text.len().min(within)];
        let has_secret = regex.capture_names().flatten().any(|n| n == SECRET);
        let mut count = 0;
        let mut first = None;
        for (number, line) in enumerate_lines(text) {
            let line = line.trim_ascii();
            if !regex.is_match(line) {
                continue;
            }
            count += 1;
            first.get_or_insert(number);
            if has_secret || count == 1 {
                self.found(regex, line, Some(number), seen);
            }
            // Of secrets every one counts: the first may be an example.
            if count >= min && !has_secret {
                break;
            }
        }
        count >= min
    }

    fn lines(&self, regex: &Regex, min: usize, seen: &mut MatchInput) -> bool {
        let mut count = 0;
        let mut rest = enumerate_lines(self.text).peekable();
        while let Some((number, line)) = rest.next() {
            let line = line.trim_ascii();
            // What was cut off in the middle proves nothing.
            if line.is_empty()
                || line.starts_with(b"#")
                || (self.content.truncated && rest.peek().is_none())
            {
                continue;
            }
            if !regex.is_match(line) {
                return false;
            }
            count += 1;
            self.found(regex, line, Some(number), seen);
        }
        count >= min
    }

    fn key(
        &self,
        steps: &[String],
        value: Option<&Regex>,
        base64: bool,
        seen: &mut MatchInput,
    ) -> bool {
        let Some(json) = self.json else { return false };
        let mut there = false;
        for node in json.at(steps) {
            let line = Some(compute_line_number(self.text, json.offset(node)));
            let matches = match (value, json.text(node)) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(regex), Some(text)) if base64 => {
                    let text = text.trim_ascii();
                    STANDARD
                        .decode(text)
                        .or_else(|_| STANDARD_NO_PAD.decode(text))
                        .is_ok_and(|plain| self.found(regex, &plain, line, seen))
                }
                (Some(regex), Some(text)) => self.found(regex, &text, line, seen),
            };
            if matches {
                there = true;
                // The key's name is the catalogue's own, unless it stands for any.
                let name = steps.last().filter(|s| !s.contains('*')).map(|s| s.as_bytes());
                if let Some(line) = line {
                    seen.at(line, name);
                }
                let has_secret =
                    value.is_some_and(|r| r.capture_names().flatten().any(|n| n == SECRET));
                if !has_secret {
                    break;
                }
            }
        }
        there
    }
}

/// Whether any header field matches, written as `Name: value` with the name in title case.
fn has_field(fields: &dyn HeaderFields, regex: &Regex) -> bool {
    let mut there = false;
    let mut line = Vec::new();
    fields.each(&mut |name, value| {
        if there {
            return;
        }
        line.clear();
        let mut begins = true;
        for byte in name.bytes() {
            line.push(if begins { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() });
            begins = byte == b'-';
        }
        line.extend_from_slice(b": ");
        line.extend_from_slice(value);
        there = regex.is_match(&line);
    });
    there
}

/// Lines with their numbers, without their ends.
fn enumerate_lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|b| *b == b'\n')
        .map(|l| l.strip_suffix(b"\r").unwrap_or(l))
        .enumerate()
        .map(|(i, l)| (i + 1, l))
}

fn compute_line_number(text: &[u8], at: usize) -> usize {
    memchr::memchr_iter(b'\n', &text[..at]).count() + 1
}

/// NUL instead of every byte of the elements with this name, line ends aside. One that is not closed
/// goes on to the end.
fn blank_elements<'a>(text: Cow<'a, [u8]>, name: &[u8]) -> Cow<'a, [u8]> {
    let (open, close) = ([b"<", name].concat(), [b"</", name].concat());
    let is_tag = |rest: &[u8], tag: &[u8]| {
        rest.get(tag.len()).is_none_or(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'))
    };
    let next = |text: &[u8], from: usize, tag: &[u8]| {
        let mut at = from;
        loop {
            at += find_ignoring_case(text.get(at..)?, tag)?;
            if is_tag(&text[at..], tag) {
                return Some(at);
            }
            at += 1;
        }
    };
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(start) = next(&text, at, &open) {
        let end = next(&text, start, &close)
            .and_then(|c| Some(c + memchr::memchr(b'>', &text[c..])? + 1))
            .unwrap_or(text.len());
        spans.push(start..end);
        at = end;
    }
    if spans.is_empty() {
        return text;
    }
    let mut text = text.into_owned();
    for span in spans {
        text[span].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = 0);
    }
    Cow::Owned(text)
}

/// Whether it begins as JSON does: an answer of an interface, which may quote anything. The
/// section of a configuration file and the date of a log begin with a bracket, too, and source
/// and tables with a quotation mark.
fn is_likely_json(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    match text.first() {
        Some(b'{') => true,
        Some(b'"') => is_json_string(&text[1..]),
        Some(b'[') => {
            let inside = text[1..].trim_ascii_start();
            match inside.first() {
                Some(b'{' | b'[' | b'"' | b']') => true,
                Some(b'0'..=b'9' | b'-') => is_json_number(inside),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether nothing stands behind the string that begins before `text`.
fn is_json_string(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return text[at + 1..].trim_ascii_start().is_empty(),
            // A line end within a string must be escaped.
            0..=0x1f => return false,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    true
}

/// Whether a comma or the closing bracket follows the number: `[1, 2]`, and not `[24-Nov-2026]`.
fn is_json_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let digits = |t: &[u8]| t.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(text);
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = &fraction[digits(fraction)..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            _ => exponent,
        };
        rest = &exponent[digits(exponent)..];
    }
    whole > 0 && matches!(rest.trim_ascii_start().first(), None | Some(b',' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_of_json() {
        for text in [
            "{",
            "{\"a\":1}",
            " [{",
            "[[",
            "[\"a\"]",
            "[]",
            "[1]",
            "[ 1, 2]",
            "[-1.5e+3]",
            "[2",
            "\"a\"",
            "\"a\\\"b\" \n",
            "\"cut",
        ] {
            assert!(is_likely_json(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "[core]\n",
            "[24-Nov-2026 09:00:50 UTC] PHP Warning:  a",
            "[2026-11-24 09:00:50] production.ERROR: a",
            "[1a]",
            "[-]",
            "\"\"\"\nDjango settings\n\"\"\"\n",
            "\"name\",\"mail\"\n",
            "\"a\nb\"",
        ] {
            assert!(!is_likely_json(text.as_bytes()), "{text}");
        }
    }

    fn outside(text: &str, names: &[&str]) -> String {
        let text = names
            .iter()
            .fold(Cow::Borrowed(text.as_bytes()), |t, n| blank_elements(t, n.as_bytes()));
        String::from_utf8(text.into_owned()).unwrap().replace('\0', ".")
    }

    #[test]
    fn elements_are_taken_out() {
        assert_eq!(outside("a<form x>b\nc</form >d", &["form"]), "a.........\n.........d");
        assert_eq!(outside("<FORM>b</Form>c<form>d", &["form"]), "..............c.......");
        assert_eq!(outside("<format>a</format>", &["form"]), "<format>a</format>");
        assert_eq!(outside("<form>a</forms>b", &["form"]), ".".repeat(16));
        assert_eq!(outside("<p>a</p><b>c</b>", &["p", "b"]), ".".repeat(16));
        assert_eq!(outside("a</form>b", &["form"]), "a</form>b");
    }
}
