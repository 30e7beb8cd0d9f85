//! The verdict as JSON.

use std::fmt::Write as _;

use mimawari_drift::verdict::Verdict;

use crate::clean::is_hostile;

/// The verdict as `verdict.json`: indented, fields in the order of the type, a newline at the end.
///
/// Characters that act on a screen are written as `\u` escapes (RFC 8259, section 7), so that the file
/// can be looked at in a terminal and still parses to the same text.
///
/// # Panics
///
/// Never: a verdict holds no map and nothing else whose serialisation can fail.
#[must_use]
pub fn json(verdict: &Verdict) -> String {
    of(verdict)
}

/// Any of our formats in the same form.
pub(crate) fn of(value: &impl serde::Serialize) -> String {
    escaped(&serde_json::to_string_pretty(value).expect("our formats have no failing field"))
}

/// JSON text with what acts on a screen escaped, and a newline at the end.
pub(crate) fn escaped(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len() + 1);
    let mut units = [0u16; 2];
    for c in plain.chars() {
        // The serialiser has escaped what is below U+0020; a line break here is its own indentation.
        // Everything else that is hostile can only stand inside a string, where an escape is the same.
        if c != '\n' && is_hostile(c) {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn what_was_written_reads_back_the_same() {
        for v in samples::all() {
            let s = json(&v);
            let back: Verdict = serde_json::from_str(&s).unwrap();
            assert_eq!(back, v);
            assert!(s.ends_with("}\n"));
            assert_eq!(json(&back), s);
        }
    }

    #[test]
    fn hostile_text_is_escaped_and_not_lost() {
        let v = samples::hostile();
        let s = json(&v);
        assert!(!s.chars().any(|c| c != '\n' && is_hostile(c)));
        assert!(s.contains("\\u202e") && s.contains("\\u001b") && s.contains("\\udb40"));
    }
}
