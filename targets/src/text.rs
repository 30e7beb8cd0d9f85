//! Foreign text made safe to show.

/// How many characters of a refused item are shown.
const SHOWN: usize = 80;

/// Whether a character may change what a terminal shows beyond its own cell: control characters of
/// C0 and C1, line and paragraph separators, and the directional formatting characters
/// (Unicode Standard Annex 9).
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text without unsafe characters, cut to a length that fits a message.
pub(crate) fn shown(s: &str) -> String {
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
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            _ if !is_unsafe(c) => c,
            _ => match c.len_utf8() {
                1 => '?',
                2 => '\u{00b7}',
                _ => char::REPLACEMENT_CHARACTER,
            },
        })
        .collect()
}

fn replace(c: char) -> char {
    if is_unsafe(c) { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_cleans() {
        assert_eq!(shown("a\u{1b}[31mb\u{202e}\u{9b}"), "a\u{fffd}[31mb\u{fffd}\u{fffd}");
        let long = "é".repeat(SHOWN + 1);
        assert_eq!(shown(&long).chars().count(), SHOWN + 1);
        assert!(shown(&long).ends_with('…'));
        assert_eq!(shown(&"x".repeat(SHOWN)), "x".repeat(SHOWN));
    }

    #[test]
    fn in_place_keeps_every_offset() {
        for c in ('\0'..=char::MAX).filter(|c| is_unsafe(*c)) {
            let s = format!("a{c}b");
            assert_eq!(clean_in_place(&s).len(), s.len(), "{c:?}");
        }
    }
}
