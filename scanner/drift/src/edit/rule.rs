//! New rules, and how they come into a file.

use std::fmt::Write as _;

use jiff::civil::Date;
use mimawari_targets::diagnostic::TextSource;
use mimawari_targets::{AddrRange, PortSet};

use super::comments::find_comments;
use super::format::format;
use super::layout::FileLayout;
use super::words::{quote_basic_string, sanitise_text};
use crate::baseline::RuleExpect;

/// What a new rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleContent {
    /// `[[allow]]`: TCP and UDP ports.
    Ports {
        /// TCP ports.
        tcp: PortSet,
        /// UDP ports.
        udp: PortSet,
        /// `may` is not written, being the default.
        expect: RuleExpect,
    },
    /// `[[allow]]`: every TCP port, as a host has it that answers on everything.
    Host,
    /// `[[allow_http]]`: paths, exactly, of these sites.
    Paths {
        /// The paths.
        paths: Vec<String>,
        /// The sites; empty for all.
        names: Vec<String>,
    },
    /// `[[allow_http]]`: ids of checks.
    Checks(Vec<String>),
}

/// A rule that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    /// Lines above it; made inert, and without the `#`.
    pub comments: Vec<String>,
    /// Unique over all files.
    pub id: String,
    /// Where it holds.
    pub hosts: Vec<AddrRange>,
    /// What it allows.
    pub content: RuleContent,
    /// Why; empty if a person has yet to write it.
    pub reason: String,
    /// The last day.
    pub expires: Option<Date>,
}

/// Characters of a line of comment.
const COMMENT: usize = 160;

impl NewRule {
    /// The rule as it stands in a file, without an empty line before or after.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for line in &self.comments {
            let _ = writeln!(out, "# {}", sanitise_text(line, COMMENT));
        }
        let list = |items: Vec<String>| {
            let one = std::format!("[{}]", items.join(", "));
            if one.len() <= 88 {
                return one;
            }
            std::format!("[\n    {},\n]", items.join(",\n    "))
        };
        let strings = |all: &[String]| list(all.iter().map(|s| quote_basic_string(s)).collect());
        let hosts = list(self.hosts.iter().map(|r| quote_basic_string(&r.to_string())).collect());
        let head = match &self.content {
            RuleContent::Ports { .. } | RuleContent::Host => "[[allow]]",
            RuleContent::Paths { .. } | RuleContent::Checks(_) => "[[allow_http]]",
        };
        let _ = writeln!(out, "{head}\nid = {}\nhosts = {hosts}", quote_basic_string(&self.id));
        match &self.content {
            RuleContent::Ports { tcp, udp, expect } => {
                let mut ports = Vec::new();
                for (proto, set) in [("tcp", tcp), ("udp", udp)] {
                    ports.extend(set.ranges().iter().map(|(a, b)| {
                        if a == b {
                            std::format!("\"{proto}/{a}\"")
                        } else {
                            std::format!("\"{proto}/{a}-{b}\"")
                        }
                    }));
                }
                let _ = writeln!(out, "ports = {}", list(ports));
                match expect {
                    RuleExpect::May => {}
                    RuleExpect::Must => out.push_str("expect = \"must\"\n"),
                    RuleExpect::Never => out.push_str("expect = \"never\"\n"),
                }
            }
            RuleContent::Host => out.push_str("ports = [\"tcp/1-65535\"]\nbroad = true\n"),
            RuleContent::Paths { paths, names } => {
                let _ = writeln!(out, "paths = {}", strings(paths));
                if !names.is_empty() {
                    let _ = writeln!(out, "names = {}", strings(names));
                }
            }
            RuleContent::Checks(checks) => {
                let _ = writeln!(out, "checks = {}", strings(checks));
            }
        }
        let _ = writeln!(out, "reason = {}", quote_basic_string(&self.reason));
        if let Some(day) = self.expires {
            let _ = writeln!(out, "expires = {day}");
        }
        out
    }
}

/// Why rules cannot be added to a text.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The file has its rules in an array, behind which no table of the same name can come.
    #[error("its rules are written as `allow = [ … ]`, to which no [[allow]] can be added")]
    Inline,
}

/// A file with these rules and no others.
#[must_use]
pub fn render_new_file(owner: &str, rules: &[NewRule]) -> String {
    let mut out = std::format!("version = 1\nowner = {}\n", quote_basic_string(owner));
    for rule in rules {
        out.push('\n');
        out.push_str(&rule.render());
    }
    format(&out).unwrap_or(out)
}

/// The text with the rules added. Lines that were there stay as they are and where they are: a
/// file in canonical form stays in it, every other gets the rules behind its last one, before the
/// comments that end the file.
///
/// # Errors
/// [`AppendError::Inline`].
pub fn append(text: &str, rules: &[NewRule]) -> Result<String, AppendError> {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (before, after) = text.split_at(find_trailing_comments(text));
    let mut out = before.to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push_str(end);
    }
    for rule in rules {
        if !(out.is_empty() || out.ends_with(&std::format!("\n{end}"))) {
            out.push_str(end);
        }
        for line in rule.render().lines() {
            out.push_str(line);
            out.push_str(end);
        }
    }
    if !after.is_empty() {
        out.push_str(end);
        out.push_str(after);
    }
    let Ok(formatted) = format(&out) else {
        return if format(text).is_ok() { Err(AppendError::Inline) } else { Ok(out) };
    };
    let canonical = format(text).is_ok_and(|f| f == text);
    Ok(if canonical && is_pure_addition(text, &formatted) { formatted } else { out })
}

/// Where the comments begin that stand at the file's end and at no rule; the text's end if there
/// are none.
fn find_trailing_comments(text: &str) -> usize {
    let Ok(layout) = FileLayout::read(&TextSource::new("", text)) else { return text.len() };
    let n = layout.end.iter().filter(|l| !l.is_empty()).count();
    let all = find_comments(text);
    let first = all.len().checked_sub(n).and_then(|i| all.get(i));
    let Some(at) = first.map(|c| text[..c.at].rfind('\n').map_or(0, |n| n + 1)) else {
        return text.len();
    };
    let only = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text[at..].lines().all(only) { at } else { text.len() }
}

/// Whether every line of the old text is in the new one, in the same order.
fn is_pure_addition(old: &str, new: &str) -> bool {
    let mut new = new.lines();
    old.lines().all(|line| new.any(|n| n == line))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::format::tests::{file, meaning};
    use super::super::remove;
    use super::*;

    fn rule(id: &str, host: &str) -> NewRule {
        NewRule {
            comments: vec!["seen\u{1b}[31m: \nid = \"x\"\r# \u{202e}".to_owned()],
            id: id.to_owned(),
            hosts: vec![host.parse().unwrap()],
            content: RuleContent::Ports {
                tcp: "22,8000-8001".parse().unwrap(),
                udp: PortSet::default(),
                expect: RuleExpect::May,
            },
            reason: "a \"quoted\" reason\nof two lines".to_owned(),
            expires: Some(Date::constant(2027, 1, 31)),
        }
    }

    #[test]
    fn a_file_in_canonical_form_stays_in_it() {
        let text = render_new_file("@t/t", &[rule("a", "192.0.2.1"), rule("c", "192.0.2.200")]);
        let new = append(&text, &[rule("b", "192.0.2.9")]).unwrap();
        assert!(is_pure_addition(&text, &new), "{new}");
        assert_eq!(format(&new).unwrap(), new);
        let order: Vec<&str> = new.lines().filter(|l| l.starts_with("id")).collect();
        assert_eq!(order, ["id = \"a\"", "id = \"c\"", "id = \"b\""]);
    }

    #[test]
    fn any_other_file_gets_them_at_its_end() {
        let text = "version=1\r\nowner='x'   # us\r\n# below";
        let new = append(text, &[rule("b", "192.0.2.9")]).unwrap();
        assert!(new.starts_with(&std::format!("{text}\r\n\r\n# seen")), "{new}");
        assert!(!new.replace("\r\n", "").contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{new}");
        assert!(format(&new).is_ok());
    }

    #[test]
    fn rules_in_an_array_are_told_of() {
        let text = "version = 1\nowner = 'x'\nallow = []\n";
        assert!(append(text, &[rule("b", "192.0.2.9")]).is_err());
    }

    proptest! {
        #[test]
        fn adding_and_removing_a_rule_changes_nothing_else(text in file(), canonical: bool) {
            prop_assume!(meaning(&text).is_some());
            let text = if canonical { format(&text).unwrap() } else { text };
            let old = meaning(&text).unwrap();
            let new = NewRule { comments: Vec::new(), ..rule("new", "192.0.2.5") };
            let with = append(&text, &[new]).unwrap();
            prop_assert!(is_pure_addition(&text, &with), "{text}\n{with}");
            let mut all = meaning(&with).unwrap();
            prop_assert_eq!(all.len(), old.len() + 1);
            all.retain(|r| !r.starts_with("new "));
            prop_assert_eq!(&all, &old);
            if canonical {
                prop_assert_eq!(format(&with).unwrap(), with.clone());
            }
            let without = remove(&with, &BTreeSet::from(["new"])).unwrap();
            prop_assert_eq!(meaning(&without).unwrap(), old);
            // Empty lines apart, and comments at the end that came to stand above the new rule.
            let full = |s: &str| s.lines().filter(|l| !l.is_empty()).count();
            prop_assert!(full(&without) <= full(&text));
            if canonical {
                prop_assert_eq!(full(&without), full(&text), "{}\n{}", text, with);
            }
        }
    }
}
