//! The lines by which a file is known again when its bytes were changed on the way: other line
//! ends, another character set, something put in front or behind.
//!
//! A line must never stand in what the file's program prints. So in PHP only lines count that begin
//! as code: what stands outside of `<?php … ?>`, or inside a string that goes over several lines,
//! may be printed as it is.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::LineDigest;

/// Most lines of a file.
const MOST: usize = 32;

/// Fewest bytes of a line of PHP.
const SHORTEST_CODE: usize = 8;

/// Fewest bytes of a line of anything else.
const SHORTEST_TEXT: usize = 12;

/// Fewest bytes of each line where there are fewer than three.
const SHORTEST_ALONE: usize = 16;

/// How lines are picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineProof {
    /// Not at all: its lines may stand elsewhere rightfully.
    None,
    /// Lines of code between the tags of PHP.
    Php,
    /// Lines of code between `<%` and `%>`.
    Asp,
    /// Lines of a script that look like statements.
    Script,
    /// Every line that is not a comment or a bracket, unless the whole is a page.
    Text,
    /// As a file is that this one is a copy of, or as it would be elsewhere.
    Inner,
}

/// Lines without their ends and the white space around them, long enough to count. A byte order
/// mark is taken off; any of the usual line ends will do.
pub(super) fn split_trimmed_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    strip_bom(text)
        .split(|b| matches!(b, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii)
        .filter(|l| l.len() >= SHORTEST_CODE)
}

pub(super) fn strip_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The digest of a trimmed line.
pub(super) fn hash_line(line: &[u8]) -> LineDigest {
    let mut out = LineDigest::default();
    out.copy_from_slice(&Sha256::digest(line)[..8]);
    out
}

/// The digests of characteristic lines of a file's beginning, spread over it; `whole` says that
/// there is no more of the file.
pub(super) fn pick(prefix: &[u8], whole: bool, how: LineProof) -> Vec<LineDigest> {
    let mut text = strip_bom(prefix);
    if text.contains(&0) {
        return Vec::new();
    }
    if !whole {
        // The last line is cut.
        let end = text.iter().rposition(|b| matches!(b, b'\n' | b'\r')).unwrap_or(0);
        text = &text[..end];
    }
    let lines = match how {
        LineProof::None | LineProof::Inner => return Vec::new(),
        LineProof::Php => collect_php_lines(text),
        LineProof::Asp => collect_asp_lines(text),
        LineProof::Script => split_trimmed_lines(text).filter(|l| is_statement(l)).collect(),
        LineProof::Text if is_page(text) => return Vec::new(),
        LineProof::Text => split_trimmed_lines(text).filter(|l| is_text(l)).collect(),
    };
    let mut seen = HashSet::new();
    let distinct: Vec<&[u8]> = lines.into_iter().filter(|l| seen.insert(*l)).collect();
    // A line of ASCII is the same in every character set; the others only count where there is
    // nothing else.
    let ascii: Vec<&[u8]> = distinct.iter().copied().filter(|l| l.is_ascii()).collect();
    let enough = |lines: &[&[u8]]| match lines.len() {
        0 => false,
        1 | 2 => lines.iter().all(|l| l.len() >= SHORTEST_ALONE),
        _ => true,
    };
    let chosen = if enough(&ascii) {
        ascii
    } else if enough(&distinct) {
        distinct
    } else {
        return Vec::new();
    };
    spread(&chosen).map(hash_line).collect()
}

/// At most [`MOST`] of the lines, from the first to the last in even steps.
fn spread<'a, 'b>(lines: &'b [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> + 'b {
    let count = lines.len().min(MOST);
    let step = move |i: usize| if count > 1 { i * (lines.len() - 1) / (count - 1) } else { 0 };
    (0..count).map(move |i| lines[step(i)])
}

fn is_comment(line: &[u8]) -> bool {
    const MARKS: [&[u8]; 8] = [b"#", b";", b"//", b"/*", b"*", b"--", b"<!--", b"%"];
    MARKS.iter().any(|m| line.starts_with(m))
        || line.get(..4).is_some_and(|l| l.eq_ignore_ascii_case(b"rem "))
}

fn is_text(line: &[u8]) -> bool {
    // A PEM boundary begins like a comment of SQL.
    let comment = is_comment(line) && !line.starts_with(b"-----BEGIN ");
    line.len() >= SHORTEST_TEXT
        && !comment
        && !line.starts_with(b"<?xml")
        && !line.starts_with(b"<!")
        && line.iter().any(|b| b.is_ascii_alphanumeric() || !b.is_ascii())
}

/// Whether a line of a script may count. What a script prints from a here document is mostly
/// markup; the tag that [`Entry::proven`](super::Entry::proven) asks for does the rest.
fn is_statement(line: &[u8]) -> bool {
    line.len() >= SHORTEST_TEXT
        && !is_comment(line)
        && line[0] != b'<'
        && line.iter().any(|b| matches!(b, b'$' | b';' | b'(' | b'=' | b'{'))
}

/// Whether it is a page of HTML, whose lines stand in other pages too.
fn is_page(text: &[u8]) -> bool {
    let head = text[..text.len().min(2048)].to_ascii_lowercase();
    [&b"<!doctype html"[..], b"<html", b"<head>", b"<body", b"<div", b"<script"]
        .iter()
        .any(|mark| memchr::memmem::find(&head, mark).is_some())
}

/// Lines that hold `<%` or begin behind one.
fn collect_asp_lines(text: &[u8]) -> Vec<&[u8]> {
    let mut code = false;
    let mut found = Vec::new();
    for line in text.split(|b| matches!(b, b'\n' | b'\r')) {
        let began = code;
        let mut opens = false;
        let mut rest = line;
        while let Some(at) = memchr::memmem::find(rest, if code { b"%>" } else { b"<%" }) {
            opens |= !code;
            code = !code;
            rest = &rest[at + 2..];
        }
        let line = line.trim_ascii();
        if line.len() >= SHORTEST_TEXT && (opens || began && is_statement(line)) {
            found.push(line);
        }
    }
    found
}

/// Where a scanner of PHP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinePosition<'a> {
    Page,
    Code,
    /// In a string that ends with this byte.
    Quoted(u8),
    LineComment,
    BlockComment,
    /// In a here document that ends with this label.
    Here(&'a [u8]),
}

/// Lines that begin as code and hold `$` or `define(`, and lines with an opening tag.
fn collect_php_lines(text: &[u8]) -> Vec<&[u8]> {
    let mut at = LinePosition::Page;
    let mut found = Vec::new();
    for line in text.split(|b| matches!(b, b'\n' | b'\r')) {
        let began = at;
        let opens;
        (at, opens) = scan_php_line(line, at);
        let line = line.trim_ascii();
        let code = began == LinePosition::Code
            && (line.contains(&b'$') || memchr::memmem::find(line, b"define(").is_some());
        if line.len() >= SHORTEST_CODE && (opens || code) {
            found.push(line);
        }
    }
    found
}

/// Where one line leads, and whether it holds an opening tag.
fn scan_php_line<'a>(line: &'a [u8], mut at: LinePosition<'a>) -> (LinePosition<'a>, bool) {
    let mut opens = false;
    if let LinePosition::Here(label) = at {
        // The closing label may be indented, and code may follow it (PHP 7.3).
        match line.trim_ascii_start().strip_prefix(label) {
            Some(rest) if !rest.first().is_some_and(|b| is_word(*b)) => {
                return scan_php_line(rest, LinePosition::Code);
            }
            _ => return (at, false),
        }
    }
    let mut rest = line;
    while let Some((first, more)) = rest.split_first() {
        let mut skip = 1;
        match (at, *first) {
            (LinePosition::Page, b'<') => {
                if let Some(length) = measure_opening_tag(rest) {
                    opens = true;
                    at = LinePosition::Code;
                    skip = length;
                }
            }
            (LinePosition::Code | LinePosition::LineComment, b'?')
                if more.first() == Some(&b'>') =>
            {
                at = LinePosition::Page;
                skip = 2;
            }
            (LinePosition::Code, b'\'' | b'"' | b'`') => at = LinePosition::Quoted(*first),
            (LinePosition::Code, b'#') if more.first() != Some(&b'[') => {
                at = LinePosition::LineComment
            }
            (LinePosition::Code, b'/') if more.first() == Some(&b'/') => {
                at = LinePosition::LineComment
            }
            (LinePosition::Code, b'/') if more.first() == Some(&b'*') => {
                at = LinePosition::BlockComment;
                skip = 2;
            }
            (LinePosition::Code, b'<') => {
                if let Some(label) = parse_heredoc_label(rest) {
                    return (LinePosition::Here(label), opens);
                }
            }
            (LinePosition::Quoted(_), b'\\') => skip = 2,
            (LinePosition::Quoted(end), b) if b == end => at = LinePosition::Code,
            (LinePosition::BlockComment, b'*') if more.first() == Some(&b'/') => {
                at = LinePosition::Code;
                skip = 2;
            }
            _ => {}
        }
        rest = rest.get(skip..).unwrap_or_default();
    }
    if at == LinePosition::LineComment {
        at = LinePosition::Code;
    }
    (at, opens)
}

/// The length of an opening tag of PHP at the beginning of a text: `<?php`, `<?=`, or the short
/// form, which is `<?` and white space.
pub(super) fn measure_opening_tag(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"<?")?;
    let space = |b: Option<&u8>| b.is_none_or(u8::is_ascii_whitespace);
    if rest.get(..3).is_some_and(|w| w.eq_ignore_ascii_case(b"php")) && space(rest.get(3)) {
        return Some(5);
    }
    if rest.first() == Some(&b'=') {
        return Some(3);
    }
    space(rest.first()).then_some(2)
}

/// The label of a here document that begins a text: `<<<A`, `<<<"A"`, `<<<'A'`.
fn parse_heredoc_label(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"<<<")?.trim_ascii_start();
    let quote = rest.first().filter(|b| matches!(b, b'\'' | b'"'));
    let rest = if quote.is_some() { &rest[1..] } else { rest };
    let length = rest.iter().take_while(|b| is_word(**b)).count();
    let label = &rest[..length];
    let tail = &rest[length..];
    let tail = match quote {
        Some(q) => tail.strip_prefix(std::slice::from_ref(q))?,
        None => tail,
    };
    (label.first().is_some_and(|b| !b.is_ascii_digit()) && tail.trim_ascii().is_empty())
        .then_some(label)
}

const fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}
