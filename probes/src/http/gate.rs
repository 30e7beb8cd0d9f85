//! What is done to every answer before a matcher sees it.

use std::borrow::Cow;

use memchr::memmem;

use super::check::{HeaderFields, HttpResponse};

/// How an answer's status is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GateStatus {
    /// The content itself: 200 and its kin, or 206 to our range.
    Content,
    /// 401, 403, 407, and every other refusal that is about the resource. That something is missing
    /// is never said so.
    Protected,
    /// 3xx.
    Redirect,
    /// 404, 410, and whatever else says that there is nothing.
    Other,
    /// The server could not or would not answer now, or not this request: 416, 421, 426 and 431 are
    /// about the way of asking.
    Failed,
}

pub(super) const fn classify_status(code: u16) -> GateStatus {
    match code {
        200 | 201 | 203 | 206 => GateStatus::Content,
        300..=399 => GateStatus::Redirect,
        404 | 410 | 200..=299 => GateStatus::Other,
        0..=199 | 408 | 416 | 421 | 425 | 426 | 429 | 431 | 500.. => GateStatus::Failed,
        400..=499 => GateStatus::Protected,
    }
}

/// Whether the server puts the answer off: no word about the resource.
pub(super) const fn is_postponed(code: u16) -> bool {
    matches!(code, 0..=199 | 408 | 425 | 429 | 503)
}

/// An answer's body as matchers see it. Never shown, so it has no `Debug`.
pub(super) struct PageContent<'a> {
    /// As read.
    pub(super) bytes: &'a [u8],
    /// Without byte order mark, as a superset of ASCII, and without the requested path.
    pub(super) text: Cow<'a, [u8]>,
    /// Whether there is more of it that was not read.
    pub(super) truncated: bool,
    /// Length of the whole resource, where the server says it.
    pub(super) total: Option<u64>,
    /// How its status is read.
    pub(super) status: GateStatus,
    /// `Location`.
    pub(super) location: Option<&'a str>,
    /// The header.
    pub(super) fields: &'a dyn HeaderFields,
    code: u16,
}

impl<'a> PageContent<'a> {
    pub(super) fn new(response: &HttpResponse<'a>, path: &str) -> Self {
        let text = remove_reflected_path(normalise_encoding(response.body), path);
        Self {
            bytes: response.body,
            text,
            truncated: response.truncated,
            total: response.total,
            status: classify_status(response.status),
            location: response.location,
            fields: response.fields,
            code: response.status,
        }
    }

    /// The same with another reading of the status. Its bytes count then, and no length.
    pub(super) fn as_if_content(&self) -> PageContent<'_> {
        let text = Cow::Borrowed(&*self.text);
        PageContent { text, status: GateStatus::Content, total: None, ..*self }
    }

    /// The status code; 206 is the answer to our own range.
    pub(super) const fn code(&self) -> u16 {
        if self.code == 206 { 200 } else { self.code }
    }

    /// The text, unless it begins as an HTML page does.
    pub(super) fn plain(&self) -> Option<&[u8]> {
        (!is_html(&self.text)).then_some(&*self.text)
    }
}

/// Whether it begins like an HTML page. Shells of single-page applications need not begin with
/// `<html`.
pub(super) fn is_html(text: &[u8]) -> bool {
    const STARTS: [&[u8]; 6] = [b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<!--"];
    let text = text.trim_ascii_start();
    STARTS.iter().any(|s| text.get(..s.len()).is_some_and(|t| t.eq_ignore_ascii_case(s)))
}

/// UTF-16 becomes UTF-8, and a byte order mark is taken off. Without a mark, bytes stay as they
/// are: Shift_JIS and EUC-JP hold the ASCII that matchers look for as it is.
fn normalise_encoding(bytes: &[u8]) -> Cow<'_, [u8]> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => return Cow::Borrowed(rest),
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return Cow::Borrowed(bytes),
    };
    let units = bytes[2..].chunks_exact(2).map(|p| unit([p[0], p[1]]));
    let text: String =
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Cow::Owned(text.into_bytes())
}

/// Takes out the requested path, in the forms in which pages repeat it: what the question holds
/// proves nothing about the answer.
fn remove_reflected_path<'a>(text: Cow<'a, [u8]>, path: &str) -> Cow<'a, [u8]> {
    let decoded = decode_percent(path.as_bytes());
    // Every form holds the last segment's longest run of letters and digits as it is, so that
    // nearly all answers are done with one search.
    let name = path.rsplit('/').find(|s| !s.is_empty()).unwrap_or_default();
    let run = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let run = name.split(run).max_by_key(|r| r.len()).unwrap_or_default();
    if !name.contains('%') && !run.is_empty() && memmem::find(&text, run.as_bytes()).is_none() {
        return text;
    }
    let readable = String::from_utf8_lossy(&decoded).into_owned();
    let mut forms = vec![
        path.replace('/', "\\/"),
        path.replace('/', "\\u002f"),
        path.replace('/', "\\u002F"),
        path.replace('/', "%2F"),
        path.replace('/', "%2f"),
        path.replace('/', "&#x2F;"),
        path.replace('/', "&#47;"),
        readable
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;"),
        readable,
        path.to_owned(),
    ];
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
    // `/` alone stands everywhere and betrays nothing.
    forms.retain(|f| f.len() > 2);
    forms.iter().fold(text, |text, form| remove_all(text, form.as_bytes()))
}

fn remove_all<'a>(text: Cow<'a, [u8]>, part: &[u8]) -> Cow<'a, [u8]> {
    if find(&text, part).is_none() {
        return text;
    }
    Cow::Owned(replace_all(&text, part, b""))
}

/// The text with another part in the place of each `part`, which is not empty.
pub(super) fn replace_all(text: &[u8], part: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find(rest, part) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(other);
        rest = &rest[at + part.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn decode_percent(path: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match (byte, digit(path.get(at + 1)), digit(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Where `part` begins in `text`. Parts are a few dozen bytes at most.
pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return None;
    }
    memmem::find(text, part)
}

/// As [`find`], ASCII letters of either case being the same.
pub(super) fn find_ignoring_case(text: &[u8], part: &[u8]) -> Option<usize> {
    let first = part.first()?;
    let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    memchr::memchr2_iter(lower, upper, text)
        .find(|at| text.get(*at..at + part.len()).is_some_and(|t| t.eq_ignore_ascii_case(part)))
}

/// Whether a secret's value is obviously none: empty, or a word that asks to be replaced.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    let value = value.trim_ascii().to_ascii_lowercase();
    let value = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""))
        .or_else(|| value.strip_prefix(b"'").and_then(|v| v.strip_suffix(b"'")))
        .unwrap_or(&value)
        .trim_ascii();
    const WORDS: [&[u8]; 14] = [
        b"",
        // "Nothing" in YAML.
        b"~",
        b"changeme",
        b"change_me",
        b"change-me",
        b"changethis",
        b"changethissecret",
        b"example",
        b"password_here",
        b"null",
        b"nil",
        b"none",
        b"todo",
        b"...",
    ];
    let between = |open: &[u8], close: &[u8]| value.starts_with(open) && value.ends_with(close);
    WORDS.contains(&value)
        || value.starts_with(b"your_")
        || value.starts_with(b"your-")
        || value.starts_with(b"example_")
        || value.starts_with(b"example-")
        || value.ends_with(b"example")
        || between(b"${", b"}")
        || between(b"{{", b"}}")
        || between(b"<", b">")
        || between(b"%env(", b")%")
        || (value.len() >= 3 && value.iter().all(|b| *b == b'x'))
        || (value.len() >= 3 && value.iter().all(|b| *b == b'*'))
}
