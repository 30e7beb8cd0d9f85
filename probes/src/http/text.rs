//! Clean text for screens.

/// Text of hostile bytes, safe to print: at most `max` characters, without control characters,
/// terminal escapes, bidirectional overrides and characters that cannot be seen.
///
/// Line ends and tabs become spaces; bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn printable(bytes: &[u8], max: usize) -> String {
    // Lazily: the rest of a long input is never looked at.
    bytes
        .utf8_chunks()
        .flat_map(|chunk| {
            let broken = (!chunk.invalid().is_empty()).then_some('\u{fffd}');
            chunk.valid().chars().chain(broken)
        })
        .filter_map(clean)
        .take(max)
        .collect()
}

fn clean(c: char) -> Option<char> {
    match c {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() || is_format(c) => None,
        c => Some(c),
    }
}

/// The characters of the Unicode category Cf, and the private use areas: both change how a line
/// looks without being text themselves.
const fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}
