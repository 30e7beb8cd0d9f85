//! The verdict as JSON.

use mimawari_drift::verdict::Verdict;
use mimawari_targets::text::escape_json;

/// The verdict as `verdict.json`: indented, fields in the order of the type, a newline at the end.
///
/// Characters that act on a screen are written as `\u` escapes (RFC 8259, section 7), so that the file
/// can be looked at in a terminal and still parses to the same text.
///
/// # Panics
///
/// Never: a verdict holds no map and nothing else whose serialisation can fail.
#[must_use]
pub fn render_json(verdict: &Verdict) -> String {
    to_json_text(verdict)
}

/// Any of our formats in the same form.
pub(crate) fn to_json_text(value: &impl serde::Serialize) -> String {
    escape_with_newline(
        &serde_json::to_string_pretty(value).expect("our formats have no failing field"),
    )
}

/// JSON text with what acts on a screen escaped, and a newline at the end.
pub(crate) fn escape_with_newline(plain: &str) -> String {
    let mut out = escape_json(plain);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::is_hostile;
    use crate::samples;

    #[test]
    fn what_was_written_reads_back_the_same() {
        for v in samples::all() {
            let s = render_json(&v);
            let back: Verdict = serde_json::from_str(&s).unwrap();
            assert_eq!(back, v);
            assert!(s.ends_with("}\n"));
            assert_eq!(render_json(&back), s);
        }
    }

    #[test]
    fn hostile_text_is_escaped_and_not_lost() {
        let v = samples::hostile();
        let s = render_json(&v);
        assert!(!s.chars().any(|c| c != '\n' && is_hostile(c)));
        assert!(s.contains("\\u202e") && s.contains("\\u001b") && s.contains("\\udb40"));
    }
}
