//! Foreign text made safe to show.

/// How many characters of a refused item are shown.
const SHOWN: usize = 80;

/// Whether a character acts on a screen instead of standing on it, or cannot be seen: control characters
/// (C0, DEL, C1), line and paragraph separators, bidirectional controls (Unicode Standard Annex 9),
/// other format characters (category Cf), fillers, variation selectors, and the private use areas.
///
/// This is the one list; everything that shows foreign text goes by it.
#[must_use]
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}'                   // soft hyphen
            | '\u{034f}'                 // combining grapheme joiner
            | '\u{0600}'..='\u{0605}'    // Arabic number signs
            | '\u{061c}'                 // Arabic letter mark
            | '\u{06dd}' | '\u{070f}'    // end of ayah, Syriac abbreviation mark
            | '\u{0890}'..='\u{0891}' | '\u{08e2}'
            | '\u{115f}' | '\u{1160}'    // Hangul fillers
            | '\u{17b4}' | '\u{17b5}'    // Khmer inherent vowels
            | '\u{180b}'..='\u{180f}'    // Mongolian selectors and vowel separator
            | '\u{200b}'..='\u{200f}'    // zero width, marks of direction
            | '\u{2028}'..='\u{202e}'    // separators, embeddings, overrides
            | '\u{2060}'..='\u{206f}'    // word joiner, isolates, deprecated format characters
            | '\u{3164}'                 // Hangul filler
            | '\u{e000}'..='\u{f8ff}'    // private use
            | '\u{fe00}'..='\u{fe0f}'    // variation selectors
            | '\u{feff}'                 // byte order mark
            | '\u{ffa0}'                 // half-width Hangul filler
            | '\u{fff0}'..='\u{fffb}'    // interlinear annotation
            | '\u{110bd}' | '\u{110cd}'  // Kaithi number signs
            | '\u{13430}'..='\u{1343f}'  // hieroglyph format controls
            | '\u{1bca0}'..='\u{1bca3}'  // shorthand format controls
            | '\u{1d173}'..='\u{1d17a}'  // musical format controls
            | '\u{e0000}'..='\u{10ffff}' // tags, selectors, private use
        )
}

/// Text of hostile bytes, safe to print: at most `max` characters, none of them
/// [unsafe](is_hostile).
///
/// Line ends and tabs become spaces; bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn to_printable(bytes: &[u8], max: usize) -> String {
    // Lazily: the rest of a long input is never looked at.
    bytes
        .utf8_chunks()
        .flat_map(|chunk| {
            let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            chunk.valid().chars().chain(broken)
        })
        .filter_map(|c| match c {
            '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
            c => (!is_hostile(c)).then_some(c),
        })
        .take(max)
        .collect()
}

/// JSON text in which what is [unsafe](is_hostile) is written as `\u` escapes (RFC 8259, section 7), so
/// that it can be looked at in a terminal and still parses to the same text.
#[must_use]
pub fn escape_json(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len() + 1);
    let mut units = [0u16; 2];
    for c in plain.chars() {
        // The serialiser has escaped what is below U+0020; a line break here is its own indentation.
        // Everything else that is unsafe can only stand inside a string, where an escape is the same.
        if c != '\n' && is_hostile(c) {
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The text without unsafe characters, cut to a length that fits a message.
#[must_use]
pub fn to_message_text(s: &str) -> String {
    let mut out: String = s.chars().take(SHOWN).map(replace).collect();
    if s.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// The text without unsafe characters; line feeds stay if `lines`.
pub(crate) fn clean(s: &str, lines: bool) -> String {
    s.chars().map(|c| if lines && c == '\n' { c } else { replace(c) }).collect()
}

/// The text without unsafe characters, every character at the byte where it was, so that spans
/// into it stay true. Tabs and line ends stay.
pub(crate) fn clean_in_place(s: &str) -> String {
    s.chars()
        .flat_map(|c| match c {
            '\t' | '\n' | '\r' => [Some(c), None],
            _ if !is_hostile(c) => [Some(c), None],
            _ => match c.len_utf8() {
                1 => [Some('?'), None],
                2 => [Some('\u{00b7}'), None],
                3 => [Some(char::REPLACEMENT_CHARACTER), None],
                // There is no replacement character of four bytes.
                _ => [Some('?'), Some(char::REPLACEMENT_CHARACTER)],
            },
        })
        .flatten()
        .collect()
}

fn replace(c: char) -> char {
    if is_hostile(c) { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_cleans() {
        assert_eq!(to_message_text("a\u{1b}[31mb\u{202e}\u{9b}"), "a\u{fffd}[31mb\u{fffd}\u{fffd}");
        let long = "é".repeat(SHOWN + 1);
        assert_eq!(to_message_text(&long).chars().count(), SHOWN + 1);
        assert!(to_message_text(&long).ends_with('…'));
        assert_eq!(to_message_text(&"x".repeat(SHOWN)), "x".repeat(SHOWN));
    }

    #[test]
    fn what_is_printable_holds_nothing_unsafe_and_the_rest_stays() {
        let all: String = ('\0'..=char::MAX).collect();
        let shown = to_printable(all.as_bytes(), usize::MAX);
        assert!(!shown.chars().any(is_hostile));
        assert_eq!(to_printable("a\u{1b}[31m\n\u{202e}日本".as_bytes(), 7), "a[31m 日");
        assert_eq!(to_printable(b"a\xffb", 9), "a\u{fffd}b");
    }

    #[test]
    fn escaped_json_means_the_same_and_acts_on_nothing() {
        let text = escape_json("[\n  \"\u{202e}\u{9b}\u{e0001}é\"\n]");
        assert_eq!(text, "[\n  \"\\u202e\\u009b\\udb40\\udc01é\"\n]");
    }

    #[test]
    fn in_place_keeps_every_offset() {
        for c in ('\0'..=char::MAX).filter(|c| is_hostile(*c)) {
            let s = format!("a{c}b");
            assert_eq!(clean_in_place(&s).len(), s.len(), "{c:?}");
        }
    }
}
