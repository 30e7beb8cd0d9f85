//! Facts that want a program of their own.

use std::ops::Range;

use memchr::memmem;

use super::super::catalogue::format::Shape;
use super::super::gate::{Content, find, find_ignoring_case, is_placeholder};
use super::json::Json;
use super::{Seen, line_of, lines};

/// Whether the body is of this shape.
pub(super) fn is(shape: Shape, text: &[u8], content: &Content<'_>, seen: &mut Seen) -> bool {
    match shape {
        Shape::Dotenv => dotenv(text, seen),
        Shape::PhpSource => at(php(text, 512), seen),
        Shape::PhpCopy => at(php(text, 1024), seen),
        Shape::PhpPassword => php_password(text, seen),
        Shape::PrivateKey => private_key(text, content, false, seen).is_some(),
        Shape::SshKey => private_key(text, content, true, seen).is_some(),
        Shape::EncryptedKey => private_key(text, content, true, seen) == Some(true),
        Shape::TransferAccount => transfer_account(&content.text, content, seen),
        Shape::Table => table(text, content),
        Shape::Empty => content.bytes.is_empty() && !content.truncated,
    }
}

fn at(found: Option<(usize, &[u8])>, seen: &mut Seen) -> bool {
    if let Some((line, constant)) = found {
        seen.at(line, Some(constant));
    }
    found.is_some()
}

fn is_identifier(name: &[u8]) -> bool {
    name.len() <= 64
        && name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && name.iter().all(|b| is_word(*b))
}

const fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// `user` and `secret` of `scheme://user:secret@host`, RFC 3986 section 3.2.1.
fn userinfo(url: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = &url[find(url, b"://")? + 3..];
    let end = rest
        .iter()
        .position(|b| matches!(b, b'/' | b'?' | b'#' | b' ' | b'\t' | b'"' | b'\''))
        .unwrap_or(rest.len());
    let authority = &rest[..end];
    let at = authority.iter().rposition(|b| *b == b'@')?;
    let (user, secret) = split_at_byte(&authority[..at], b':')?;
    (!secret.is_empty() && at + 1 < authority.len()).then_some((user, secret))
}

// PHP

/// A line that names a password, and the value that it gives.
fn php_password(text: &[u8], seen: &mut Seen) -> bool {
    const TOKENS: [&[u8]; 4] = [b"password", b"passwd", b"db_pass", b"dbpass"];
    let mut named = false;
    for (number, line) in lines(text) {
        let Some(at) = TOKENS.iter().find_map(|t| find_ignoring_case(line, t)) else {
            continue;
        };
        named = true;
        if let Some(value) = quoted_value(&line[at..]) {
            seen.secret(Some(number), value);
        }
    }
    named
}

/// The quoted value behind the next `=`, `=>` or `,` of a PHP line.
fn quoted_value(rest: &[u8]) -> Option<&[u8]> {
    let at = rest.iter().position(|b| matches!(b, b'=' | b','))?;
    let value = rest[at + 1..].trim_ascii_start();
    let value = value.strip_prefix(b">").unwrap_or(value).trim_ascii_start();
    let quote = *value.first().filter(|b| matches!(b, b'\'' | b'"'))?;
    Some(split_at_byte(&value[1..], quote)?.0)
}

/// An opening tag at the beginning of one of the first lines, with nothing but text before it,
/// and a statement behind it. Within JSON, HTML or a quotation it is a page about PHP.
fn php(text: &[u8], within: usize) -> Option<(usize, &'static [u8])> {
    let window = &text[..text.len().min(within + 5)];
    let mut at = 0;
    loop {
        let next = at + window[at..].iter().position(|b| *b == b'<')?;
        let rest = &window[next..];
        let tag = if rest.get(..5).is_some_and(|t| t.eq_ignore_ascii_case(b"<?php")) {
            // `<?phpx` is none.
            text.get(next + 5).is_none_or(u8::is_ascii_whitespace).then_some(5)
        } else {
            rest.starts_with(b"<?=").then_some(3)
        };
        if let Some(length) = tag {
            let before = &text[..next];
            let line = before.rsplit(|b| *b == b'\n').next().unwrap_or(before);
            if !line.trim_ascii().is_empty() || find(before, b"```").is_some() {
                return None;
            }
            let constant: &'static [u8] = if length == 5 { b"<?php" } else { b"<?=" };
            return has_statement(&text[next + length..]).then(|| (line_of(text, next), constant));
        }
        if matches!(rest.get(1), Some(b'a'..=b'z' | b'A'..=b'Z' | b'!' | b'/')) {
            return None;
        }
        at = next + 1;
    }
}

/// `$name =`, `define(`, `return`, `require…` or `include…`.
fn has_statement(code: &[u8]) -> bool {
    let assigns = code.contains(&b'=');
    let mut at = 0;
    while at < code.len() {
        let dollar = code[at] == b'$';
        let start = at + usize::from(dollar);
        let length = code[start..].iter().take_while(|b| is_word(**b)).count();
        if length == 0 {
            at = start.max(at + 1);
            continue;
        }
        let word = &code[start..start + length];
        // White space in code is short; the bound keeps all this in one pass.
        let behind = &code[start + length..];
        let behind = behind[..behind.len().min(64)].trim_ascii_start();
        let known = if dollar {
            behind.starts_with(b"=") || (behind.starts_with(b"[") && assigns)
        } else {
            const WORDS: [&[u8]; 5] =
                [b"return", b"require", b"require_once", b"include", b"include_once"];
            (word.eq_ignore_ascii_case(b"define") && behind.starts_with(b"("))
                || WORDS.iter().any(|w| word.eq_ignore_ascii_case(w))
        };
        if known {
            return true;
        }
        at = start + length;
    }
    false
}

// Environment files

/// At least two `NAME=value` lines, one of them with a secret's name or a URL with a password.
fn dotenv(text: &[u8], seen: &mut Seen) -> bool {
    let (mut pairs, mut first, mut real) = (0, None, false);
    for (number, line) in lines(text) {
        let line = line.strip_prefix(b"export ").unwrap_or(line);
        let Some((name, value)) = split_at_byte(line, b'=') else {
            continue;
        };
        if !is_identifier(name) {
            continue;
        }
        pairs += 1;
        let url = userinfo(value);
        let secret = match url {
            Some((_, secret)) => secret,
            None if is_secret_name(name) => without_comment(value),
            None => continue,
        };
        seen.secret(Some(number), secret);
        // The first value that is not a template's is the one worth a look.
        let template = is_placeholder(secret);
        if first.is_none() || (!template && !real) {
            first = Some((number, name));
        }
        real |= !template;
    }
    let Some((number, name)) = first.filter(|_| pairs >= 2) else {
        return false;
    };
    // A line of base64 may look like a name with nothing behind it.
    let plain = name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_');
    seen.at(number, plain.then_some(name));
    true
}

fn is_secret_name(name: &[u8]) -> bool {
    const PARTS: [&[u8]; 5] = [b"PASS", b"SECRET", b"KEY", b"TOKEN", b"DSN"];
    PARTS.iter().any(|p| find_ignoring_case(name, p).is_some())
}

fn without_comment(value: &[u8]) -> &[u8] {
    &value[..find(value, b" #").unwrap_or(value.len())]
}

// Accounts in JSON

/// An object with a host and a password, passphrase or key.
fn transfer_account(text: &[u8], content: &Content<'_>, seen: &mut Seen) -> bool {
    const SECRETS: [&[u8]; 8] = [
        b"password",
        b"pass",
        b"passphrase",
        b"privateKeyPath",
        b"privatekey",
        b"keyPath",
        b"keyfile",
        b"ssh_key_file",
    ];
    let Some(json) = Json::read(text, content.truncated) else {
        return false;
    };
    // `false` and `null` say that there is none, `true` that it is asked for.
    let filled = |node: &usize| {
        json.text(*node).is_some_and(|t| {
            let text = t.trim_ascii();
            !matches!(text, b"" | b"true" | b"false" | b"null")
        })
    };
    let hosts: Vec<usize> =
        json.nodes().filter(|n| json.name(*n) == b"host").filter(filled).collect();
    let mut there = false;
    for node in json.nodes().filter(|n| SECRETS.contains(&json.name(*n))).filter(filled) {
        let Some(host) = hosts.iter().find(|h| json.parent(**h) == json.parent(node)) else {
            continue;
        };
        there = true;
        seen.secret(None, &json.text(node).unwrap_or_default());
        seen.at(line_of(text, json.offset(*host)), Some(b"\"host\""));
    }
    there
}

// Keys

/// A private key; whether it is encrypted. RFC 7468: a line of its own, base64, and the end line
/// unless it was not read any more.
fn private_key(text: &[u8], content: &Content<'_>, openssh: bool, seen: &mut Seen) -> Option<bool> {
    /// `openssh-key-v1` and the length of the cipher's name, in base64.
    const OPENSSH: &[u8] = b"b3BlbnNzaC1rZXktdjEAAAAA";
    /// The cipher's name `none`.
    const NO_CIPHER: &[u8] = b"BG5vbmU";
    const KINDS: [&[u8]; 6] = [b"", b"RSA ", b"EC ", b"DSA ", b"ENCRYPTED ", b"OPENSSH "];
    let kinds = &KINDS[..if openssh { 6 } else { 5 }];
    let mut open: Option<(usize, &[u8])> = None;
    let (mut base64, mut encrypted) = (false, false);
    for (number, line) in lines(text) {
        let line = line.trim_ascii_end();
        if let Some(kind) = marker(line, b"-----BEGIN ") {
            open = kinds.contains(&kind).then_some((number, kind));
            (base64, encrypted) = (false, kind == b"ENCRYPTED ");
            continue;
        }
        let Some((start, kind)) = open else { continue };
        if marker(line, b"-----END ") == Some(kind) {
            if base64 {
                seen.at(start, Some(b"-----BEGIN"));
                return Some(encrypted);
            }
            open = None;
        } else if line.starts_with(b"Proc-Type:") {
            encrypted |= find(line, b"ENCRYPTED").is_some();
        } else if line.len() >= 16 && line.iter().all(is_base64) {
            encrypted |=
                !base64 && line.strip_prefix(OPENSSH).is_some_and(|l| !l.starts_with(NO_CIPHER));
            base64 = true;
        }
    }
    let (start, _) = open.filter(|_| base64 && content.truncated)?;
    seen.at(start, Some(b"-----BEGIN"));
    Some(encrypted)
}

/// The kind in `-----BEGIN kind PRIVATE KEY-----`, with its space.
fn marker<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(b"PRIVATE KEY-----")
}

const fn is_base64(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(*b, b'+' | b'/' | b'=')
}

// Tables, pages, XML

/// At least three lines with the same number of the same delimiter, and hardly any other.
fn table(text: &[u8], content: &Content<'_>) -> bool {
    [b',', b'\t', b';'].into_iter().any(|delimiter| {
        let mut rest = lines(text).map(|(_, l)| l).peekable();
        let (mut columns, mut rows, mut others) = (0, 0u32, 0u32);
        while let Some(line) = rest.next() {
            if line.trim_ascii().is_empty() || (content.truncated && rest.peek().is_none()) {
                continue;
            }
            let count = memchr::memchr_iter(delimiter, line).count();
            if columns == 0 {
                columns = count;
            }
            if count == columns && count > 0 { rows += 1 } else { others += 1 }
        }
        // Quoted fields may hold a delimiter or a line end now and then.
        rows >= 3 && others <= rows / 4
    })
}

/// The text of `<title>`.
pub(super) fn title(text: &[u8]) -> Option<Range<usize>> {
    let at = find_ignoring_case(text, b"<title")?;
    let open = at + memchr::memchr(b'>', &text[at..])? + 1;
    Some(open..open + memchr::memchr(b'<', &text[open..])?)
}

/// Where the root element begins: behind declaration, comments and document type.
pub(super) fn root(text: &[u8]) -> Option<usize> {
    let mut rest = text.trim_ascii_start();
    loop {
        let end = if rest.starts_with(b"<?") {
            memmem::find(rest, b"?>")? + 2
        } else if rest.starts_with(b"<!--") {
            memmem::find(rest, b"-->")? + 3
        } else if rest.get(..9).is_some_and(|d| d.eq_ignore_ascii_case(b"<!doctype")) {
            memchr::memchr(b'>', rest)? + 1
        } else {
            break;
        };
        rest = rest[end..].trim_ascii_start();
    }
    (rest.first() == Some(&b'<')).then_some(text.len() - rest.len())
}
