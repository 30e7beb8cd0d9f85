//! What makes a check true of an answer. Matching is on bytes and in one pass or a few.

use serde_json::Value;

use super::body::gunzip;
use super::gate::{Content, find, find_ignoring_case, is_html, is_placeholder};
use crate::observation::Severity;

/// A check's condition.
pub(super) type Matcher = fn(&Content<'_>) -> Option<Hit>;

/// A check is true of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hit {
    /// Counted from 1.
    pub(super) line: Option<u32>,
    /// The beginning of a name or a constant, never of a value; cut further before it is shown.
    pub(super) masked: Option<Vec<u8>>,
    /// Instead of the check's.
    pub(super) severity: Option<Severity>,
    pub(super) label: Option<&'static str>,
}

impl Hit {
    fn at(line: usize, constant: &[u8]) -> Self {
        Self {
            line: u32::try_from(line).ok(),
            masked: Some(constant[..constant.len().min(4)].to_vec()),
            ..Self::default()
        }
    }

    fn binary(constant: &str) -> Self {
        Self {
            masked: Some(constant.as_bytes()[..constant.len().min(4)].to_vec()),
            ..Self::default()
        }
    }

    fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Nothing but values that ask to be replaced.
    fn template(mut self) -> Self {
        self.severity = Some(Severity::Low);
        self.label = Some("template");
        self
    }

    fn template_if(self, template: bool) -> Self {
        if template { self.template() } else { self }
    }
}

/// Lines with their numbers, without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|b| *b == b'\n')
        .map(|l| l.strip_suffix(b"\r").unwrap_or(l))
        .enumerate()
        .map(|(i, l)| (i + 1, l))
}

fn line_of(text: &[u8], at: usize) -> usize {
    text[..at].iter().filter(|b| **b == b'\n').count() + 1
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

/// Whether it begins as JSON does: an answer of an interface, which may quote anything.
fn is_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}

/// The text, for checks that look for a page.
fn page<'a>(content: &'a Content<'_>) -> Option<&'a [u8]> {
    (!is_json(&content.text)).then_some(&*content.text)
}

// PHP

pub(super) fn php_source(content: &Content<'_>) -> Option<Hit> {
    php(content.plain()?, 512)
}

pub(super) fn php_backup(content: &Content<'_>) -> Option<Hit> {
    let text = content.plain()?;
    let hit = php(text, 1024)?;
    const TOKENS: [&[u8]; 4] = [b"password", b"passwd", b"db_pass", b"dbpass"];
    let (mut named, mut values, mut real) = (false, 0, 0);
    for (_, line) in lines(text) {
        let Some(at) = TOKENS.iter().find_map(|t| find_ignoring_case(line, t)) else {
            continue;
        };
        named = true;
        if let Some(value) = quoted_value(&line[at..]) {
            values += 1;
            real += usize::from(!is_placeholder(value));
        }
    }
    Some(match (named, values, real) {
        (false, ..) => hit,
        (true, 1.., 0) => hit.template(),
        _ => hit.severity(Severity::Critical),
    })
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
fn php(text: &[u8], within: usize) -> Option<Hit> {
    if is_json(text) {
        return None;
    }
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
            let constant: &[u8] = if length == 5 { b"<?php" } else { b"<?=" };
            return has_statement(&text[next + length..])
                .then(|| Hit::at(line_of(text, next), constant));
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

pub(super) fn vim_swap(content: &Content<'_>) -> Option<Hit> {
    content.bytes.starts_with(b"b0VIM ").then(|| Hit::binary("b0VIM"))
}

pub(super) fn phpinfo(content: &Content<'_>) -> Option<Hit> {
    let text = page(content)?;
    let at = find(text, b"phpinfo()</title>")?;
    find(text, b"PHP Version")?;
    Some(Hit::at(line_of(text, at), b"phpinfo"))
}

// Environment and credential files

pub(super) fn dotenv(content: &Content<'_>) -> Option<Hit> {
    let text = content.plain()?;
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
        let secret = is_secret_name(name).then_some(value).or(url.map(|u| u.1));
        if let Some(secret) = secret {
            let template = match url {
                Some((_, secret)) => is_placeholder(secret),
                None => is_placeholder(without_comment(secret)),
            };
            // The first value that is not a template's is the one worth a look.
            if first.is_none() || (!template && !real) {
                first = Some((number, name));
            }
            real |= !template;
        }
    }
    let (number, name) = first.filter(|_| pairs >= 2)?;
    let mut hit = Hit::at(number, name);
    // A line of base64 may look like a name with nothing behind it.
    if !name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_') {
        hit.masked = None;
    }
    Some(hit.template_if(!real))
}

fn is_secret_name(name: &[u8]) -> bool {
    const PARTS: [&[u8]; 5] = [b"PASS", b"SECRET", b"KEY", b"TOKEN", b"DSN"];
    PARTS.iter().any(|p| find_ignoring_case(name, p).is_some())
}

fn without_comment(value: &[u8]) -> &[u8] {
    &value[..find(value, b" #").unwrap_or(value.len())]
}

pub(super) fn aws_credentials(content: &Content<'_>) -> Option<Hit> {
    let text = content.plain()?;
    let mut section = false;
    for (number, line) in lines(text) {
        let line = line.trim_ascii();
        section |= line.len() > 2 && line.starts_with(b"[") && line.ends_with(b"]");
        let Some((name, value)) = split_at_byte(line, b'=') else {
            continue;
        };
        let value = value.trim_ascii();
        if section
            && name.trim_ascii().eq_ignore_ascii_case(b"aws_access_key_id")
            && value.len() == 20
            && (value.starts_with(b"AKIA") || value.starts_with(b"ASIA"))
            && value.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        {
            let template = value.ends_with(b"EXAMPLE");
            return Some(Hit::at(number, b"aws_access_key_id").template_if(template));
        }
    }
    None
}

pub(super) fn htpasswd(content: &Content<'_>) -> Option<Hit> {
    let text = content.plain()?;
    let last = lines(text).count();
    let mut first = None;
    for (number, line) in lines(text) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if !is_password_line(line) {
            if content.truncated && number == last {
                break;
            }
            return None;
        }
        first.get_or_insert(number);
    }
    Some(Hit { line: u32::try_from(first?).ok(), ..Hit::default() })
}

fn is_password_line(line: &[u8]) -> bool {
    let Some((user, hash)) = split_at_byte(line, b':') else {
        return false;
    };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    const PREFIXES: [&[u8]; 8] =
        [b"$apr1$", b"$2a$", b"$2b$", b"$2y$", b"{SHA}", b"$1$", b"$5$", b"$6$"];
    let rest = PREFIXES.iter().find_map(|p| hash.strip_prefix(*p));
    !user.is_empty()
        && user.len() <= 255
        && !user.iter().any(|b| b.is_ascii_control())
        && match rest {
            Some(rest) => {
                rest.len() >= 13 && rest.iter().all(|b| plain(b) || matches!(b, b'$' | b'=' | b'+'))
            }
            None => hash.len() == 13 && hash.iter().all(plain),
        }
}

pub(super) fn sftp_json(content: &Content<'_>) -> Option<Hit> {
    let text = content.plain()?;
    let value: Value = serde_json::from_slice(&strict_json(text)).ok()?;
    let real = transfer_account(&value)?;
    let at = find(text, b"\"host\"").unwrap_or(0);
    Some(Hit::at(line_of(text, at), b"\"host\"").template_if(!real))
}

/// Whether the account's secret is more than a template; nothing if there is no account.
/// The parser's own limit bounds the depth.
fn transfer_account(value: &Value) -> Option<bool> {
    const SECRETS: [&str; 8] = [
        "password",
        "pass",
        "passphrase",
        "privateKeyPath",
        "privatekey",
        "keyPath",
        "keyfile",
        "ssh_key_file",
    ];
    let text = |v: Option<&Value>| {
        let text = v.and_then(Value::as_str).filter(|t| !t.is_empty());
        text.map(str::to_owned)
    };
    match value {
        Value::Object(map) => {
            if text(map.get("host")).is_some() {
                let mut secrets = SECRETS.iter().filter_map(|s| text(map.get(*s))).peekable();
                if secrets.peek().is_some() {
                    return Some(secrets.any(|s| !is_placeholder(s.as_bytes())));
                }
            }
            map.values().filter_map(transfer_account).max()
        }
        Value::Array(list) => list.iter().filter_map(transfer_account).max(),
        _ => None,
    }
}

/// Without the comments and the commas before a closing bracket that editors allow.
fn strict_json(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest[0] == b'"' {
            let mut end = 1;
            while end < rest.len() && rest[end] != b'"' {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            let end = (end + 1).min(rest.len());
            out.extend_from_slice(&rest[..end]);
            at += end;
        } else if rest.starts_with(b"//") {
            at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            at += find(&rest[2..], b"*/").map_or(rest.len(), |e| e + 4);
        } else {
            if matches!(rest[0], b'}' | b']') && out.trim_ascii_end().ends_with(b",") {
                let end = out.trim_ascii_end().len();
                out.truncate(end - 1);
            }
            out.push(rest[0]);
            at += 1;
        }
    }
    out
}

pub(super) fn filezilla(content: &Content<'_>) -> Option<Hit> {
    let text = &content.text[..];
    let mut rest = text.trim_ascii_start();
    // The prologue: declaration, comments, document type.
    loop {
        let end = if rest.starts_with(b"<?") {
            find(rest, b"?>")? + 2
        } else if rest.starts_with(b"<!--") {
            find(rest, b"-->")? + 3
        } else {
            break;
        };
        rest = rest[end..].trim_ascii_start();
    }
    let after = rest.strip_prefix(b"<FileZilla")?.first()?;
    if !(after.is_ascii_whitespace() || *after == b'>' || after.is_ascii_digit()) {
        return None;
    }
    let hit = Hit::at(line_of(text, text.len() - rest.len()), b"<FileZilla");
    Some(match find(rest, b"<Pass") {
        Some(_) => hit,
        None => hit.severity(Severity::High),
    })
}

// Version control

pub(super) fn git_config(content: &Content<'_>) -> Option<Hit> {
    let text = content.plain()?;
    let (mut core, mut version, mut credential) = (None, false, false);
    for (number, line) in lines(text) {
        let line = line.trim_ascii();
        if line == b"[core]" {
            core.get_or_insert(number);
        }
        if let Some((name, value)) = split_at_byte(line, b'=') {
            let name = name.trim_ascii();
            version |= name.eq_ignore_ascii_case(b"repositoryformatversion");
            credential |= (name.eq_ignore_ascii_case(b"url")
                || name.eq_ignore_ascii_case(b"pushurl"))
                && userinfo(value).is_some_and(|(_, secret)| !is_placeholder(secret));
        }
    }
    let hit = Hit::at(core.filter(|_| version)?, b"[core]");
    Some(if credential { hit.severity(Severity::Critical) } else { hit })
}

pub(super) fn git_head(content: &Content<'_>) -> Option<Hit> {
    let text = content.text.trim_ascii();
    if text.len() > 1024 || content.truncated {
        return None;
    }
    if let Some(name) = text.strip_prefix(b"ref:") {
        let name = name.trim_ascii_start().strip_prefix(b"refs/")?;
        let printable = |b: &u8| b.is_ascii_graphic() || *b >= 0x80;
        return (!name.is_empty() && name.iter().all(printable)).then(|| Hit::at(1, b"ref:"));
    }
    let id = matches!(text.len(), 40 | 64) && text.iter().all(u8::is_ascii_hexdigit);
    id.then(|| Hit { line: Some(1), ..Hit::default() })
}

pub(super) fn git_credentials(content: &Content<'_>) -> Option<Hit> {
    let text = content.plain()?;
    let (mut first, mut real) = (None, false);
    for (number, line) in lines(text) {
        let line = line.trim_ascii();
        if !(line.starts_with(b"http://") || line.starts_with(b"https://"))
            || !line.iter().all(u8::is_ascii_graphic)
        {
            continue;
        }
        if let Some((user, secret)) = userinfo(line).filter(|(user, _)| !user.is_empty()) {
            first.get_or_insert(number);
            real |= !is_placeholder(secret) && !is_placeholder(user);
        }
    }
    Some(Hit::at(first?, b"http").template_if(!real))
}

pub(super) fn svn_wcdb(content: &Content<'_>) -> Option<Hit> {
    content.bytes.starts_with(b"SQLite format 3\0").then(|| Hit::binary("SQLite"))
}

pub(super) fn svn_entries(content: &Content<'_>) -> Option<Hit> {
    let text = content.plain()?;
    let (number, rest) = split_at_byte(text, b'\n')?;
    let number = number.strip_suffix(b"\r").unwrap_or(number);
    if !matches!(number.len(), 1..=3) || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut behind = lines(rest).map(|(_, l)| l);
    let old = behind.next() == Some(b"") && behind.next() == Some(b"dir");
    (rest.trim_ascii().is_empty() || old).then(|| Hit { line: Some(1), ..Hit::default() })
}

// Keys

pub(super) fn pem_key(content: &Content<'_>) -> Option<Hit> {
    private_key(content, &[b"", b"RSA ", b"EC ", b"DSA ", b"ENCRYPTED "])
}

pub(super) fn ssh_key(content: &Content<'_>) -> Option<Hit> {
    private_key(content, &[b"", b"RSA ", b"EC ", b"DSA ", b"ENCRYPTED ", b"OPENSSH "])
}

/// RFC 7468: a line of its own, base64, and the end line unless it was not read any more.
fn private_key(content: &Content<'_>, kinds: &[&[u8]]) -> Option<Hit> {
    /// `openssh-key-v1` and the length of the cipher's name, in base64.
    const OPENSSH: &[u8] = b"b3BlbnNzaC1rZXktdjEAAAAA";
    /// The cipher's name `none`.
    const NO_CIPHER: &[u8] = b"BG5vbmU";
    let text = content.plain()?;
    let mut open: Option<(usize, &[u8])> = None;
    let (mut base64, mut encrypted) = (false, false);
    let end = |start: usize, encrypted: bool| {
        let hit = Hit::at(start, b"-----BEGIN");
        if encrypted { hit.severity(Severity::Medium) } else { hit }
    };
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
                return Some(end(start, encrypted));
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
    open.filter(|_| base64 && content.truncated).map(|(start, _)| end(start, encrypted))
}

/// The kind in `-----BEGIN kind PRIVATE KEY-----`, with its space.
fn marker<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(b"PRIVATE KEY-----")
}

const fn is_base64(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(*b, b'+' | b'/' | b'=')
}

// Dumps and archives

pub(super) fn sql_dump(content: &Content<'_>) -> Option<Hit> {
    sql(content.plain()?)
}

/// A banner of a dump tool, or two statements at the beginning of lines.
fn sql(text: &[u8]) -> Option<Hit> {
    const BANNERS: [&[u8]; 7] = [
        b"-- MySQL dump",
        b"-- MariaDB dump",
        b"-- phpMyAdmin SQL Dump",
        b"-- PostgreSQL database dump",
        b"-- Adminer ",
        b"PRAGMA foreign_keys=OFF;",
        b"/*M!999999",
    ];
    const STATEMENTS: [&[u8]; 3] = [b"CREATE TABLE ", b"INSERT INTO ", b"DROP TABLE IF EXISTS "];
    let mut first: Option<(usize, &[u8])> = None;
    let starts = |line: &[u8], with: &[u8]| {
        line.get(..with.len()).is_some_and(|l| l.eq_ignore_ascii_case(with))
    };
    for (number, line) in lines(text) {
        if let Some(banner) = BANNERS.iter().find(|b| line.starts_with(b)) {
            return Some(Hit::at(number, banner));
        }
        let copy = starts(line, b"COPY ") && find_ignoring_case(line, b" FROM stdin").is_some();
        let statement = STATEMENTS.iter().find(|s| starts(line, s)).copied();
        if let Some(constant) = statement.or(copy.then_some(&b"COPY "[..])) {
            match first {
                Some((number, constant)) => return Some(Hit::at(number, constant)),
                None => first = Some((number, constant)),
            }
        }
    }
    None
}

pub(super) fn sql_gz(content: &Content<'_>) -> Option<Hit> {
    /// As much as is read of a dump that is not compressed.
    const ENOUGH: usize = 64 << 10;
    let Some(inflated) = gunzip(content.bytes, ENOUGH) else {
        // Some servers call the compression an encoding, which is off by now.
        return sql_dump(content);
    };
    // An error page may be compressed as well.
    if inflated.is_empty() || is_html(&inflated) {
        return None;
    }
    let severity = match sql(&inflated) {
        Some(_) => Severity::Critical,
        None => Severity::High,
    };
    Some(Hit::default().severity(severity))
}

pub(super) fn zip(content: &Content<'_>) -> Option<Hit> {
    let header = content.bytes.strip_prefix(b"PK\x03\x04")?;
    // Offsets 26 and 30 of the local file header.
    let length = u16::from_le_bytes([*header.get(22)?, *header.get(23)?]);
    let name = header.get(26..26 + usize::from(length))?;
    // Names may be Shift_JIS.
    let printable = name.iter().all(|b| *b >= 0x20 && *b != 0x7f);
    (!name.is_empty() && printable).then(|| Hit::binary("PK"))
}

pub(super) fn tar_gz(content: &Content<'_>) -> Option<Hit> {
    let ustar = |b: &[u8]| b.get(257..262) == Some(b"ustar");
    // Or not compressed any more, as with `sql_gz`.
    let found = match gunzip(content.bytes, 512) {
        Some(inflated) => ustar(&inflated),
        None => ustar(content.bytes),
    };
    found.then(|| Hit::binary("ustar"))
}

pub(super) fn ds_store(content: &Content<'_>) -> Option<Hit> {
    content.bytes.starts_with(b"\x00\x00\x00\x01Bud1").then(|| Hit::binary("Bud1"))
}

// Pages of the server

pub(super) fn server_status(content: &Content<'_>) -> Option<Hit> {
    let text = page(content)?;
    if let Some(at) = find(text, b"<title>Apache Status</title>") {
        find(text, b"Server Version")?;
        return Some(Hit::at(line_of(text, at), b"<title>"));
    }
    let plain = content.plain()?;
    let line = |name: &[u8]| lines(plain).find(|(_, l)| l.starts_with(name));
    let (number, _) = line(b"Total Accesses:")?;
    line(b"Scoreboard:")?;
    Some(Hit::at(number, b"Total Accesses:"))
}

pub(super) fn dir_listing(content: &Content<'_>) -> Option<Hit> {
    let text = page(content)?;
    let at = find_ignoring_case(text, b"<title>")?;
    let title = &text[at + 7..];
    let title = &title[..find(title, b"<")?];
    const STARTS: [&[u8]; 2] = [b"Index of ", b"Directory listing for "];
    let folder = STARTS.iter().find_map(|s| title.strip_prefix(*s))?.trim_ascii();
    // The requested path is taken out by now. Any other words make it a page about listings.
    let is_folder = folder.is_empty()
        || (folder.starts_with(b"/") && !folder.iter().any(u8::is_ascii_whitespace));
    // Apache's plain form has a blank before the words; Python's has no such link, but always this
    // rule before its list.
    const LINKS: [&[u8]; 6] = [
        b"href=\"../\"",
        b"href=\"?C=N",
        b"\">Parent Directory</a>",
        b"\"> Parent Directory</a>",
        b"[To Parent Directory]",
        b"</h1>\n<hr>\n<ul>\n",
    ];
    let linked = LINKS.iter().any(|l| find_ignoring_case(text, l).is_some());
    (is_folder && linked).then(|| Hit::at(line_of(text, at), b"<title>"))
}
