//! Takes rules out of a file.

use std::collections::BTreeSet;
use std::ops::Range;

use mimawari_targets::diagnostic::TextSource;

use crate::baseline::RuleDocument;

/// The text without the rules of these ids: their tables, and the comments that stand directly
/// above them. Everything else stays byte for byte, but for the empty lines that were between.
/// `None` when one of them is not a table of its own (`[[allow]]` or `[[allow_http]]`) in this text.
#[must_use]
pub fn remove(text: &str, ids: &BTreeSet<&str>) -> Option<String> {
    let document = RuleDocument::of(&TextSource::new("", text));
    let mut found = BTreeSet::new();
    let mut cuts: Vec<Range<usize>> = Vec::new();
    for rule in &document.entries {
        let Some(id) = rule.id().and_then(|id| ids.get(id)) else { continue };
        if text.as_bytes().get(rule.span.start) != Some(&b'[') {
            return None;
        }
        found.insert(*id);
        cuts.push(find_comment_start(text, rule.span.start)..find_line_end(text, rule.end));
    }
    if found.len() != ids.len() {
        return None;
    }
    cuts.sort_by_key(|c| c.start);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for cut in cuts {
        let cut_start = cut.start.max(at);
        out.push_str(text.get(at..cut_start)?);
        at = cut.end.max(at);
        // The empty lines before the table stay, those behind it go; at the end all go.
        let rest = text.get(at..)?;
        let lines = rest.split_inclusive('\n').take_while(|l| l.trim().is_empty());
        let blank: usize = lines.map(str::len).sum();
        let empty_before = out.is_empty() || out.ends_with("\n\n") || out.ends_with("\n\r\n");
        if empty_before || blank == rest.len() {
            at += blank;
        }
    }
    out.push_str(text.get(at..)?);
    if at >= text.len() {
        let trimmed = out.trim_end_matches(['\n', '\r', ' ', '\t']).len();
        let end = if out[trimmed..].starts_with('\r') { "\r\n" } else { "\n" };
        out.truncate(trimmed);
        out.push_str(end);
    }
    Some(out)
}

/// The start of the comment lines that stand directly above the line of `at`.
fn find_comment_start(text: &str, at: usize) -> usize {
    let mut start = text[..at].rfind('\n').map_or(0, |n| n + 1);
    while start > 0 {
        let before = text[..start - 1].rfind('\n').map_or(0, |n| n + 1);
        if !text[before..start].trim_start().starts_with('#') {
            break;
        }
        start = before;
    }
    start
}

fn find_line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |n| at + n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# head
version = 1
owner = \"x\"

# section

# about a
# more
[[allow]] # header
id = \"a\"
hosts = [\"192.0.2.1\"] # one
ports = [
  \"tcp/22\", # ssh
]
reason = \"\"\"
# not a comment
\"\"\"
# below a

# about b
[[allow]]
id = \"b\"
hosts = [\"192.0.2.2\"]
ports = [\"tcp/22\"]
reason = \"r\"

[[allow_http]]
id = \"c\"
hosts = [\"192.0.2.2\"]
paths = [\"/x\"]
reason = \"r\" # behind

# end
";

    fn without(ids: &[&str]) -> Option<String> {
        remove(TEXT, &ids.iter().copied().collect())
    }

    #[test]
    fn a_rule_goes_with_the_comments_directly_above() {
        let a = TEXT.split_once("# about a\n").unwrap();
        let b = a.1.split_once("\"\"\"\n# below").unwrap().1;
        assert_eq!(without(&["a"]).unwrap(), format!("{}# below{b}", a.0));
        let (before, rest) = TEXT.split_once("# about b\n").unwrap();
        let rest = rest.split_once("[[allow_http]]").unwrap().1;
        assert_eq!(without(&["b"]).unwrap(), format!("{before}[[allow_http]]{rest}"));
    }

    #[test]
    fn all_rules_can_go() {
        let end = "# head\nversion = 1\nowner = \"x\"\n\n# section\n\n# below a\n\n# end\n";
        assert_eq!(without(&["a", "b", "c"]).unwrap(), end);
        assert_eq!(without(&["a", "nonesuch"]), None);
        assert_eq!(remove("allow = [{ id = 'a' }]", &BTreeSet::from(["a"])), None);
    }
}
