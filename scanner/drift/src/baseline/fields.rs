//! The keys of one table, and where a text is no TOML.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Range;

use mimawari_targets::build_mistake_diagnostic;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{DocumentReader, MOST};
use super::mistakes::sanitise_excerpt;
use crate::lint_rules::{LintRule, reading as rule};

/// Where a text is no TOML.
pub(super) struct FieldDamage<'e> {
    /// Where the rules with a mistake begin, and where their first mistake is.
    pub rules: BTreeMap<usize, usize>,
    /// Whether there is a mistake outside all rules.
    pub outside: bool,
    /// The first mistake of each rule, and of each line outside of rules: what follows a mistake is
    /// mostly its echo.
    pub reported: Vec<&'e toml::de::Error>,
}

impl<'e> FieldDamage<'e> {
    /// A rule reaches from its header to the next one.
    pub fn new(root: &DeTable<'_>, errors: &'e [toml::de::Error], text: &str) -> Self {
        let lists =
            ["allow", "allow_http"].into_iter().filter_map(|k| root.get(k)?.get_ref().as_array());
        let starts: BTreeSet<usize> =
            lists.flat_map(|l| l.iter()).map(|i| i.span().start).collect();
        let at = |e: &toml::de::Error| e.span().map_or(text.len(), |s| s.start);
        let mut sorted: Vec<_> = errors.iter().collect();
        sorted.sort_by_key(|e| at(e));
        let mut out = Self { rules: BTreeMap::new(), outside: false, reported: Vec::new() };
        let mut line_end = 0;
        for e in sorted {
            let at = at(e);
            let first = match starts.range(..=at).next_back() {
                Some(start) => match out.rules.entry(*start) {
                    btree_map::Entry::Vacant(slot) => {
                        slot.insert(at);
                        true
                    }
                    btree_map::Entry::Occupied(_) => false,
                },
                None => {
                    let first = !out.outside || at > line_end;
                    if first {
                        let rest = text.as_bytes().get(at..).unwrap_or_default();
                        let to_end = rest.iter().position(|b| *b == b'\n');
                        line_end = to_end.map_or(text.len(), |n| at + n);
                    }
                    out.outside = true;
                    first
                }
            };
            if first && out.reported.len() < MOST {
                out.reported.push(e);
            }
        }
        out
    }
}

/// The keys of one table.
pub(super) struct FieldReader<'t, 'i> {
    pub file: usize,
    pub span: Range<usize>,
    table: &'t DeTable<'i>,
    /// The rule's id, once it is known.
    pub id: Option<String>,
}

impl<'t, 'i> FieldReader<'t, 'i> {
    pub fn new(file: usize, span: Range<usize>, table: &'t DeTable<'i>) -> Self {
        Self { file, span, table, id: None }
    }

    pub fn get(&self, key: &str) -> Option<(Range<usize>, &'t Spanned<DeValue<'i>>)> {
        let (k, v) = self.table.get_key_value(key)?;
        Some((k.span(), v))
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key is there and is no list, which was reported already.
    pub fn wrong_list(&self, key: &str) -> bool {
        self.get(key).is_some_and(|(_, v)| match v.get_ref() {
            DeValue::Array(a) => !a.is_empty(),
            _ => true,
        })
    }

    pub fn report(
        &self,
        r: &mut DocumentReader,
        which: &'static LintRule,
        span: Range<usize>,
        title: impl Into<String>,
        help: impl Into<String>,
    ) {
        r.mistakes.report(which, self.file, span, self.id.as_deref(), title, help);
    }

    pub fn missing(&self, r: &mut DocumentReader, key: &str, help: &str) {
        let which = match key {
            "owner" => &rule::OWNER_MISSING,
            _ => &rule::MISSING_KEY,
        };
        self.report(r, which, self.span.clone(), format!("the key `{key}` is missing"), help);
    }

    pub fn unknown(&self, r: &mut DocumentReader, known: &[&str]) {
        let listed: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
        for key in self.table.keys().filter(|k| !known.contains(&k.get_ref().as_ref())).take(MOST) {
            // The reader's own message; a backtick would end the name in it.
            let written = sanitise_excerpt(key.get_ref()).replace('`', "'");
            let message =
                format!("unknown field `{written}`, expected one of {}", listed.join(", "));
            let m = build_mistake_diagnostic(&r.files[self.file].source, &message, key.span());
            self.report(r, &rule::UNKNOWN_KEY, key.span(), m.title, m.help.unwrap_or_default());
        }
    }

    pub fn text(&self, r: &mut DocumentReader, key: &str) -> Option<Spanned<String>> {
        let (_, v) = self.get(key)?;
        match v.get_ref() {
            DeValue::String(s) => Some(Spanned::new(v.span(), s.to_string())),
            other => {
                r.wrong(self.file, v.span(), other, "write a text in quotation marks");
                None
            }
        }
    }

    pub fn texts(
        &self,
        r: &mut DocumentReader,
        key: &str,
        whole: &mut bool,
    ) -> Vec<Spanned<String>> {
        match self.get(key) {
            Some((_, v)) => read_string_list(r, self.file, v, whole),
            None => Vec::new(),
        }
    }
}

/// A list of texts; what is none is reported, and `whole` is then false.
pub(super) fn read_string_list(
    r: &mut DocumentReader,
    file: usize,
    value: &Spanned<DeValue<'_>>,
    whole: &mut bool,
) -> Vec<Spanned<String>> {
    let DeValue::Array(list) = value.get_ref() else {
        *whole = false;
        r.wrong(file, value.span(), value.get_ref(), "write a list in [ ]");
        return Vec::new();
    };
    let mut out = Vec::with_capacity(list.len());
    for item in list.iter() {
        match item.get_ref() {
            DeValue::String(s) => out.push(Spanned::new(item.span(), s.to_string())),
            other => {
                *whole = false;
                r.wrong(file, item.span(), other, "write a text in quotation marks");
            }
        }
    }
    out
}

pub(super) fn describe_value_type(v: &DeValue<'_>) -> &'static str {
    match v {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
