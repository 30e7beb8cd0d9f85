//! What of a server's own words may be kept: titles, `Location`, `Server`, banners.
//!
//! They are inventory and come out in reports when they change, so they must hold no secret. What
//! looks like one is replaced by `…`: tokens, values behind a key that names a secret, user info and the query
//! of a URL. Too much is taken out rather than too little.

use std::borrow::Cow;

use mimawari_targets::text::to_printable;

/// What stands for something that was taken out.
const MARK: char = '…';

/// A run of letters and digits of this length, with both in it, is a token.
const TOKEN: usize = 12;

/// A run of digits alone, or of letters in mixed case, of this length is one as well.
const LONG_TOKEN: usize = 20;

/// So many characters behind the limit are looked at with the others.
const CUT: usize = 256;

/// Keys whose values are secrets; the end of a longer key counts.
const KEYS: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "pass",
    "pwd",
    "pw",
    "secret",
    "token",
    "key",
    "apikey",
    "auth",
    "authorization",
    "session",
    "sessid",
    "sid",
    "credential",
    "パスワード",
];

/// Words behind which a secret stands without a sign between them.
const WORDS: [&str; 7] =
    ["password", "passwd", "passphrase", "pwd", "token", "secret", "パスワード"];

/// A banner or a field: printable, cut to `limit` characters, and without what looks like a secret.
/// None when nothing is left.
#[must_use]
pub fn redact_text(bytes: &[u8], limit: usize) -> Option<String> {
    // A secret that is cut in two would not be seen as one.
    let text = to_printable(bytes, limit.saturating_add(CUT));
    let mut out = String::with_capacity(text.len());
    let mut expected = false;
    for piece in text.split_inclusive([' ', '\u{3000}']) {
        let word = piece.trim_end_matches([' ', '\u{3000}']);
        out.push_str(&redact_word(word, expected));
        out.push_str(&piece[word.len()..]);
        if !word.is_empty() {
            expected = announces_secret(word);
        }
    }
    let out: String = out.chars().take(limit).collect();
    Some(out).filter(|t| !t.trim().is_empty())
}

/// The text of a `<title>`, as [`redact_text`]; none when it is the source of one.
#[must_use]
pub fn redact_title(bytes: &[u8], limit: usize) -> Option<String> {
    let is_source = ["<?", "<%", "{{", "{%", "${"]
        .iter()
        .any(|mark| memchr::memmem::find(bytes, mark.as_bytes()).is_some());
    if is_source { None } else { redact_text(bytes, limit) }
}

/// A `Location`: the site and the path, as [`redact_text`], without user info, query and fragment.
#[must_use]
pub fn redact_location(bytes: &[u8], limit: usize) -> Option<String> {
    let text = to_printable(bytes, usize::MAX);
    redact_text(redact_url(text.trim()).as_bytes(), limit)
}

/// A URL without user info, and with a mark in place of query and fragment.
fn redact_url(url: &str) -> String {
    let (url, tail) = url.find(['?', '#']).map_or((url, ""), |at| url.split_at(at));
    let start = url.find("//").map_or(0, |at| at + 2);
    let (scheme, rest) = url.split_at(start);
    let end = if start == 0 { 0 } else { rest.find(['/', '\\']).unwrap_or(rest.len()) };
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let mut out = format!("{scheme}{host}{path}");
    if let Some(mark) = tail.chars().next() {
        out.push(mark);
        if tail.len() > 1 && tail != "?…" {
            out.push(MARK);
        } else {
            out.push_str(&tail[1..]);
        }
    }
    out
}

fn redact_word(word: &str, expected: bool) -> Cow<'_, str> {
    if word.contains("//") {
        let url = redact_url(word);
        return Cow::Owned(redact_tokens(&url).into_owned());
    }
    if expected && is_value(word) {
        return Cow::Owned(MARK.to_string());
    }
    let Some((at, sign)) = word.char_indices().find(|(_, c)| matches!(c, '=' | ':' | '：')) else {
        return redact_tokens(word);
    };
    let (key, value) = (&word[..at], &word[at + sign.len_utf8()..]);
    if is_secret_key(key) && !value.is_empty() {
        return Cow::Owned(format!("{key}{sign}{MARK}"));
    }
    redact_tokens(word)
}

fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase();
    let key = key.trim_end_matches(['"', '\'', ']', ')']);
    KEYS.iter().any(|k| key.ends_with(k))
}

/// Whether the next word is the secret: `password hunter2`, `Token: abc`.
fn announces_secret(word: &str) -> bool {
    let word = word.to_lowercase();
    match word.strip_suffix([':', '=', '：']) {
        Some(key) => is_secret_key(key),
        None => WORDS.contains(&word.trim_start_matches(['(', '[', '"', '\'', ','])),
    }
}

/// Whether a word is no ordinary one.
fn is_value(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ',', '!', '?', ')']);
    word.chars().count() >= 4 && word.chars().any(|c| !c.is_alphabetic() && c != '-' && c != '\'')
}

/// Takes out runs of letters and digits that are no words.
fn redact_tokens(word: &str) -> Cow<'_, str> {
    if word.len() < TOKEN {
        return Cow::Borrowed(word);
    }
    let mut out: Option<String> = None;
    let mut kept = 0;
    let mut at = 0;
    while at < word.len() {
        let rest = &word[at..];
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if length > 0 && is_token(&rest[..length]) {
            let out = out.get_or_insert_default();
            out.push_str(&word[kept..at]);
            out.push(MARK);
            kept = at + length;
        }
        at += length;
        at += word[at..].chars().next().map_or(0, char::len_utf8);
    }
    match out {
        None => Cow::Borrowed(word),
        Some(mut out) => {
            out.push_str(&word[kept..]);
            Cow::Owned(out)
        }
    }
}

fn is_token(run: &str) -> bool {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    let letters = run.len() - digits;
    if digits > 0 && letters > 0 {
        return run.len() >= TOKEN;
    }
    let bytes = run.as_bytes();
    let humps =
        bytes.windows(2).filter(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase()).count();
    run.len() >= LONG_TOKEN && (letters == 0 || humps >= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "FAKESECRET7f3a9c";

    #[test]
    fn secrets_are_taken_out() {
        for text in [
            "Reset link FAKESECRET7f3a9c",
            "Index of /FAKESECRET7f3a9c",
            "app token=FAKESECRET7f3a9c",
            "admin console, password FAKESECRET7f3a9c",
            "パスワード：FAKESECRET7f3a9c",
            "see https://admin:FAKESECRET7f3a9c@a.example/x?y=FAKESECRET7f3a9c#FAKESECRET7f3a9c",
            "a-FAKESECRET7f3a9c-b",
        ] {
            let out = redact_text(text.as_bytes(), 256).unwrap();
            assert!(!out.contains(SECRET) && out.contains('…'), "{out}");
        }
        for (text, out) in [
            ("220 ftp password: hunter2.", "220 ftp password: …"),
            ("login pw=abc", "login pw=…"),
            ("SESSION_TOKEN=x", "SESSION_TOKEN=…"),
        ] {
            assert_eq!(redact_text(text.as_bytes(), 256).as_deref(), Some(out));
        }
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3",
            "Apache/2.4.57 (Debian) OpenSSL/3.0.11 mod_fcgid/2.3.9",
            "5.5.5-10.11.6-MariaDB-0+deb12u1",
            "220 mx.example.jp ESMTP Postfix (Debian/GNU)",
            "-ERR wrong number of arguments for 'get' command",
            "Password reset - Shop & more",
            "Reset your password here",
            "Internationalization",
            "パスワード変更 | 株式会社例",
            "Microsoft-HTTPAPI/2.0",
            "Keyboard: the shop",
        ] {
            assert_eq!(redact_text(text.as_bytes(), 256).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_title_of_source_is_none() {
        for title in ["<?= mysql_connect('db', 'root', 'x') ?>", "{{ title }}", "<% x %>"] {
            assert_eq!(redact_title(title.as_bytes(), 256), None);
        }
        assert_eq!(redact_title(b"Shop", 256).as_deref(), Some("Shop"));
        assert_eq!(redact_title(b"  ", 256), None);
    }

    #[test]
    fn locations() {
        for (location, out) in [
            ("https://sso.example/cb?access_token=abc", "https://sso.example/cb?…"),
            ("https://admin:pw@198.51.100.7/", "https://198.51.100.7/"),
            ("/login#x", "/login#…"),
            ("//user@a.example:8443", "//a.example:8443"),
            ("/reset/FAKESECRET7f3a9c/", "/reset/…/"),
            ("/a@b", "/a@b"),
        ] {
            assert_eq!(redact_location(location.as_bytes(), 256).as_deref(), Some(out));
        }
    }
}
