//! Where the comments of a TOML text are.

/// A comment: from its `#` to the end of the line, without white space at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommentText<'a> {
    /// The byte at which it begins.
    pub(super) at: usize,
    /// `# text`
    pub(super) text: &'a str,
}

/// The comments of a text that is known to be TOML, in order. A `#` in a string begins none.
pub(super) fn find_comments(text: &str) -> Vec<CommentText<'_>> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'#' => {
                let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
                out.push(CommentText { at, text: text[at..end].trim_end() });
                at = end;
            }
            quote @ (b'"' | b'\'') => at = skip_string(bytes, at, quote),
            _ => at += 1,
        }
    }
    out
}

/// The byte behind a string that begins at `at`.
fn skip_string(bytes: &[u8], at: usize, quote: u8) -> usize {
    let escapes = quote == b'"';
    let three = [quote; 3];
    let long = bytes[at..].starts_with(&three);
    let mut at = at + if long { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            _ if long && bytes[at..].starts_with(&three) => {
                // Up to two quotation marks may stand before the closing ones.
                let marks = bytes[at..].iter().take(5).take_while(|b| **b == quote).count();
                return at + marks;
            }
            b if !long && (b == quote || b == b'\n') => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_hold_no_comment() {
        let text = "# one\na = \"# \\\" # no\" # two  \nb = '# \\' # three\nc = \"\"\"\n# \"no\\\"\"\"\"\"\" #four\r\nd = '''# no''''' # five\ne = '' # six\nf = \"\" # seven";
        let found: Vec<&str> = find_comments(text).into_iter().map(|c| c.text).collect();
        assert_eq!(found, ["# one", "# two", "# three", "#four", "# five", "# six", "# seven"]);
        assert!(text.parse::<toml::Table>().is_ok());
    }
}
