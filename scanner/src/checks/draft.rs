//! A check that is made of another program's template, and how it is written.

use std::fmt::Write as _;

use toml::{Table, Value};

/// Most bytes of a text for people.
const TEXT_LIMIT: usize = 600;

/// Most bytes of an id.
const ID_LIMIT: usize = 40;

/// A condition of a rule, as the catalogue writes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DraftCondition(Value);

impl DraftCondition {
    pub(super) fn text(name: &str, text: &str, nocase: bool) -> Self {
        let mut table = Table::new();
        table.insert(name.to_owned(), Value::String(text.to_owned()));
        if nocase {
            table.insert("nocase".to_owned(), Value::Boolean(true));
        }
        Self(Value::Table(table))
    }

    pub(super) fn code(codes: &[u16]) -> Self {
        let codes = codes.iter().map(|c| Value::Integer(i64::from(*c))).collect();
        Self::of("code", Value::Array(codes))
    }

    pub(super) fn not(self) -> Self {
        Self::of("not", self.0)
    }

    /// One of them, or all of them.
    pub(super) fn joined(mut all: Vec<Self>, any: bool) -> Self {
        if all.len() == 1
            && let Some(one) = all.pop()
        {
            return one;
        }
        let list = all.into_iter().map(|c| c.0).collect();
        Self::of(if any { "any" } else { "all" }, Value::Array(list))
    }

    fn of(name: &str, value: Value) -> Self {
        Self(Value::Table(Table::from_iter([(name.to_owned(), value)])))
    }
}

/// A check that can be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DraftCheck {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) severity: &'static str,
    pub(super) why: String,
    pub(super) remedy: String,
    pub(super) signature: String,
    /// As patterns.
    pub(super) paths: Vec<String>,
    /// Only answers of 200 and 206 are looked at.
    pub(super) content_alone: bool,
    pub(super) conditions: Vec<DraftCondition>,
}

impl DraftCheck {
    /// The check in the catalogue's form, asked for from this tier on.
    pub(super) fn written(&self, tier: u8) -> String {
        let quoted = |text: &str| Value::String(flatten_to_line(text)).to_string();
        let mut out = String::from("[[check]]\n");
        for (key, text) in [
            ("id", &*self.id),
            ("title", &*self.title),
            ("severity", self.severity),
            ("why", &*self.why),
            ("remedy", &*self.remedy),
            ("signature", &*self.signature),
        ] {
            let _ = writeln!(out, "{key} = {}", quoted(text));
        }
        let paths = self.paths.iter().map(|p| Value::String(p.clone()).to_string());
        let paths = paths.collect::<Vec<_>>().join(",\n    ");
        let _ = writeln!(out, "paths.{tier} = [\n    {paths},\n]");
        if !self.content_alone {
            out.push_str("status = \"any\"\n");
        }
        // `/` exists everywhere, and a template's words are no signature of their own.
        let only_root = self.paths.iter().all(|p| p == "/");
        out.push_str(if only_root { "canary = false\n" } else { "canary = \"strict\"\n" });
        out.push_str("[[check.rule]]\nas = \"bytes\"\nwhere = [\n");
        for condition in &self.conditions {
            let _ = writeln!(out, "    {},", condition.0);
        }
        out.push_str("]\n");
        out
    }
}

/// An id of the catalogue's form: unlike each that `is_taken`.
pub(super) fn build_unique_id(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut id = String::from("nuclei-");
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            id.push(c.to_ascii_lowercase());
        } else if !id.ends_with('-') {
            id.push('-');
        }
    }
    id.truncate(ID_LIMIT);
    let id = id.trim_end_matches('-').to_owned();
    let numbered = |n: u32| {
        let tail = format!("-{n}");
        format!("{}{tail}", &id[..id.len().min(ID_LIMIT - tail.len())])
    };
    let all = std::iter::once(id.clone()).chain((2..).map(numbered));
    all.into_iter().find(|id| !is_taken(id)).unwrap_or(id)
}

/// A text for people, in one line without control characters.
fn flatten_to_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > TEXT_LIMIT {
        let end = (0..=TEXT_LIMIT).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_free() {
        let long = "A".repeat(60);
        assert_eq!(build_unique_id("Git_Config (exposed)", |_| false), "nuclei-git-config-exposed");
        let first = build_unique_id(&long, |_| false);
        assert_eq!(first.len(), 40);
        let second = build_unique_id(&long, |id| id == first);
        assert!(second.len() == 40 && second.ends_with("-2"), "{second}");
        assert_eq!(build_unique_id("設定", |_| false), "nuclei");
    }

    #[test]
    fn texts_are_one_line() {
        assert_eq!(flatten_to_line("a\n  b\u{1b}[31mc\t"), "a b [31mc");
        assert!(flatten_to_line(&"あ".repeat(600)).len() < 700);
    }
}
