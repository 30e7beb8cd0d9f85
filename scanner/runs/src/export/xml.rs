//! Text inside XML.

use std::fmt;

use mimawari_probes::http::to_printable;

/// Longest attribute value of foreign text, in characters.
const MAX: usize = 512;

/// Foreign text as the value of an attribute in double quotes: escaped, on one line, without anything
/// that XML 1.0 (section 2.2) forbids or that acts on a screen.
pub(super) struct XmlAttribute<'a>(pub(super) &'a str);

impl fmt::Display for XmlAttribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in to_printable(self.0.as_bytes(), MAX).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // No characters of XML, though they are of Unicode.
                '\u{fffe}' | '\u{ffff}' => f.write_str("\u{fffd}")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        assert_eq!(
            XmlAttribute("<a b=\"c\">&'\x1b[31m\0\r\n\u{fffe}é").to_string(),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;[31m  \u{fffd}é"
        );
    }

    proptest! {
        #[test]
        fn only_what_xml_allows(s in "\\PC{0,40}|.{0,40}|[\\x00-\\x{ffff}]{0,20}") {
            let text = XmlAttribute(&s).to_string();
            let plain = |c: char| c >= ' ' && !matches!(c, '<' | '>' | '"' | '\u{fffe}' | '\u{ffff}');
            prop_assert!(text.chars().all(plain), "{:?}", text);
        }
    }
}
