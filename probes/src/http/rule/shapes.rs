//! Facts that want a program of their own.

use std::collections::HashSet;
use std::ops::Range;

use memchr::memmem;

use super::super::catalogue::format::BinaryShape;
use super::super::gate::{PageContent, find, find_ignoring_case};
use super::json::JsonScanner;
use super::{MatchInput, accounts, compute_line_number, dotenv, enumerate_lines, php};

/// Whether the body is of this shape.
pub(super) fn is(
    shape: BinaryShape,
    text: &[u8],
    content: &PageContent<'_>,
    seen: &mut MatchInput,
) -> bool {
    match shape {
        BinaryShape::Dotenv => dotenv::is_environment(text, seen),
        BinaryShape::PhpSource => php::is_source(text, seen),
        BinaryShape::PhpPassword => php::contains_password_line(text, seen),
        BinaryShape::AccountList => accounts::is_list(text, seen),
        BinaryShape::People => accounts::contains_personal_emails(text),
        BinaryShape::PrivateKey => detect_private_key(text, content, false, seen).is_some(),
        BinaryShape::SshKey => detect_private_key(text, content, true, seen).is_some(),
        BinaryShape::EncryptedKey => detect_private_key(text, content, true, seen) == Some(true),
        BinaryShape::TransferAccount => transfer_account(&content.text, content, seen),
        BinaryShape::Table => is_delimited_table(text, content),
        BinaryShape::Empty => content.bytes.is_empty() && !content.truncated,
    }
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// `user` and `secret` of `scheme://user:secret@host`, RFC 3986 section 3.2.1.
pub(super) fn parse_userinfo(url: &[u8]) -> Option<(&[u8], &[u8])> {
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

// Accounts in JSON

/// A host and a password, passphrase or key in one object, or one of them around the other: editors
/// keep what several profiles have in common beside them.
fn transfer_account(text: &[u8], content: &PageContent<'_>, seen: &mut MatchInput) -> bool {
    const SECRETS: [&[u8]; 9] = [
        b"password",
        b"pass",
        b"passphrase",
        b"privateKeyPath",
        b"privatekey",
        b"privateKey",
        b"keyPath",
        b"keyfile",
        b"ssh_key_file",
    ];
    const HOSTS: [&[u8]; 5] = [b"host", b"hostname", b"server", b"remoteHost", b"remote_host"];
    let Some(json) = JsonScanner::read(text, content.truncated) else {
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
        json.nodes().filter(|n| HOSTS.contains(&json.name(*n))).filter(filled).collect();
    // The objects that have a host, and those around and below them that lead to a profile.
    let near: HashSet<usize> = hosts.iter().map(|h| json.parent(*h)).collect();
    let around: HashSet<usize> = near
        .iter()
        .flat_map(|object| [json.parent(*object), json.parent(json.parent(*object))])
        .collect();
    let has_host = |object: usize| {
        let outer = json.parent(object);
        near.contains(&object)
            || around.contains(&object)
            || near.contains(&outer)
            || near.contains(&json.parent(outer))
    };
    let Some(host) = hosts.first() else { return false };
    let mut there = false;
    for node in json.nodes().filter(|n| SECRETS.contains(&json.name(*n))).filter(filled) {
        if has_host(json.parent(node)) {
            there = true;
            seen.secret(None, &json.text(node).unwrap_or_default());
            seen.at(compute_line_number(text, json.offset(*host)), Some(b"\"host\""));
        }
    }
    there
}

// Keys

/// A private key; whether it is encrypted. RFC 7468: a line of its own, base64, and the end line
/// unless it was not read any more.
fn detect_private_key(
    text: &[u8],
    content: &PageContent<'_>,
    openssh: bool,
    seen: &mut MatchInput,
) -> Option<bool> {
    /// `openssh-key-v1` and the length of the cipher's name, in base64.
    const OPENSSH: &[u8] = b"b3BlbnNzaC1rZXktdjEAAAAA";
    /// The cipher's name `none`.
    const NO_CIPHER: &[u8] = b"BG5vbmU";
    const KINDS: [&[u8]; 6] = [b"", b"RSA ", b"EC ", b"DSA ", b"ENCRYPTED ", b"OPENSSH "];
    let kinds = &KINDS[..if openssh { 6 } else { 5 }];
    let mut open: Option<(usize, &[u8])> = None;
    let (mut base64, mut encrypted) = (false, false);
    for (number, line) in enumerate_lines(text) {
        let line = line.trim_ascii_end();
        if let Some(kind) = parse_key_marker(line, b"-----BEGIN ") {
            open = kinds.contains(&kind).then_some((number, kind));
            (base64, encrypted) = (false, kind == b"ENCRYPTED ");
            continue;
        }
        let Some((start, kind)) = open else { continue };
        if parse_key_marker(line, b"-----END ") == Some(kind) {
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
fn parse_key_marker<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(b"PRIVATE KEY-----")
}

const fn is_base64(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(*b, b'+' | b'/' | b'=')
}

// Tables, pages, XML

/// At least three lines with the same number of the same delimiter, and hardly any other.
fn is_delimited_table(text: &[u8], content: &PageContent<'_>) -> bool {
    [b',', b'\t', b';'].into_iter().any(|delimiter| {
        let mut rest = enumerate_lines(text).map(|(_, l)| l).peekable();
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
pub(super) fn find_title(text: &[u8]) -> Option<Range<usize>> {
    let at = find_ignoring_case(text, b"<title")?;
    let open = at + memchr::memchr(b'>', &text[at..])? + 1;
    Some(open..open + memchr::memchr(b'<', &text[open..])?)
}

/// Where the root element begins: behind declaration, comments and document type.
pub(super) fn find_root_element(text: &[u8]) -> Option<usize> {
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
