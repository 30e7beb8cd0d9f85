//! Strings, keys and comments as TOML.

use std::fmt::Write as _;

use mimawari_probes::http::to_printable;

/// A basic string (TOML 1.0, "String"), on one line whatever it holds.
pub(super) fn quote_basic_string(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A key: bare where it can be.
pub(super) fn quote_key(s: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !s.is_empty() && s.chars().all(bare) { s.to_owned() } else { quote_basic_string(s) }
}

/// Foreign text as it may stand in a comment or on a screen: one line, at most `max` characters,
/// no control character, nothing that turns the direction of writing.
#[must_use]
pub fn sanitise_text(s: &str, max: usize) -> String {
    to_printable(s.as_bytes(), max).trim().to_owned()
}

/// Letters and digits of a text in lower case, anything else as single hyphens.
pub(super) fn to_slug(s: &str, max: usize) -> String {
    let mut out = String::new();
    for c in s.chars().take(256) {
        if out.len() >= max {
            break;
        }
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_as_they_were() {
        for s in ["", "a", "\"\\", "a\nb\r\tc", "\u{7f}\u{0}\u{85}\u{2028}", "é見", "'''", "#"] {
            let text = format!("{} = {}", quote_key(s), quote_basic_string(s));
            let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(table.get(s).and_then(toml::Value::as_str), Some(s), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
    }

    #[test]
    fn slugs() {
        assert_eq!(to_slug("@Corp/Web hosting!", 40), "corp-web-hosting");
        assert_eq!(to_slug("/../é", 40), "");
        assert_eq!(to_slug("abc/def", 4), "abc");
    }
}
