//! A `[[notify]]` table, read key by key, with every mistake at its line.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use mimawari_targets::diagnostic::{Diagnostic, TextSource};
use toml::{Spanned, Value};

use crate::client::check_url;

/// Reads one table, key by key. A mistake is kept, and the reading goes on.
pub struct TableReader<'a> {
    pub(crate) source: &'a TextSource,
    pub(crate) base: &'a Path,
    pub(crate) is_copy: bool,
    pub(crate) word: String,
    pub(crate) place: Range<usize>,
    pub(crate) values: BTreeMap<String, Spanned<Value>>,
    pub(crate) errors: &'a mut Vec<Diagnostic>,
}

impl TableReader<'_> {
    /// The place of a key's value.
    #[must_use]
    pub fn span(&self, key: &str) -> Option<Range<usize>> {
        self.values.get(key).map(Spanned::span)
    }

    /// The place of the table's `kind`.
    #[must_use]
    pub fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    /// Keeps a mistake.
    pub fn error(&mut self, span: Range<usize>, title: impl Into<String>, help: impl Into<String>) {
        self.errors.push(Diagnostic::error(title, self.source, span).help(help));
    }

    fn wrong_type(&mut self, key: &str, span: Range<usize>, wanted: &str) {
        self.error(span, format!("`{key}` is no {wanted}"), format!("write a {wanted}"));
    }

    /// The text of a key.
    pub fn text(&mut self, key: &str) -> Option<Spanned<String>> {
        let value = self.values.get(key)?;
        let span = value.span();
        match value.get_ref() {
            Value::String(text) => Some(Spanned::new(span, text.clone())),
            _ => {
                self.wrong_type(key, span, "text");
                None
            }
        }
    }

    /// The texts of a key; none where it is left out.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.values.get(key) else { return Vec::new() };
        let span = value.span();
        let all = value.get_ref().as_array().and_then(|all| {
            all.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        all.unwrap_or_else(|| {
            self.wrong_type(key, span, "list of texts");
            Vec::new()
        })
    }

    /// The number of a key.
    pub fn number(&mut self, key: &str, range: RangeInclusive<i64>, default: i64) -> i64 {
        let Some(value) = self.values.get(key) else { return default };
        let span = value.span();
        match value.get_ref() {
            Value::Integer(n) if range.contains(n) => *n,
            _ => {
                let title = format!("`{key}` is out of its bounds");
                self.error(span, title, format!("write {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    /// Whether a key is true; false where it is left out.
    pub fn flag(&mut self, key: &str) -> bool {
        let Some(value) = self.values.get(key) else { return false };
        let span = value.span();
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(key, span, "`true` or `false`");
            false
        })
    }

    /// One of several words.
    pub fn choice(&mut self, key: &str, words: &[&'static str]) -> Option<&'static str> {
        let value = self.text(key)?;
        let found = words.iter().find(|w| **w == value.get_ref());
        if found.is_none() {
            let title = format!("`{key}` is `{}`", value.get_ref().escape_debug());
            self.error(value.span(), title, format!("write one of {}", words.join(", ")));
        }
        found.copied()
    }

    /// A value that must be there.
    pub fn needed<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && self.span(key).is_none() {
            let title = format!("a notifier of kind `{}` needs `{key}`", self.word);
            self.error(self.place.clone(), title, "add the key to this [[notify]]");
        }
        value
    }

    /// A text that must be there.
    pub fn needed_text(&mut self, key: &str) -> Option<Spanned<String>> {
        let value = self.text(key);
        self.needed(key, value)
    }

    /// The name of an environment variable that must be there. Whoever writes the secret itself gets an
    /// error that does not show the line.
    pub fn variable(&mut self, key: &str) -> Option<String> {
        let value = self.needed_text(key)?;
        self.check_variable(key, value)
    }

    /// The name of an environment variable, where there is one.
    pub fn optional_variable(&mut self, key: &str) -> Option<String> {
        let value = self.text(key)?;
        self.check_variable(key, value)
    }

    fn check_variable(&mut self, key: &str, value: Spanned<String>) -> Option<String> {
        let name = value.get_ref();
        let is_name = name.len() <= 100
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            let title = format!("`{key}` is not the name of an environment variable");
            let help = "write the variable's name, such as SLACK_WEBHOOK_URL; a secret does not belong in this file";
            self.error(self.place.clone(), title, help);
            return None;
        }
        Some(value.into_inner())
    }

    /// A URL that may be sent to, without a slash at its end.
    pub fn url(&mut self, key: &str) -> Option<String> {
        let url = self.text(key)?;
        if let Err(e) = check_url(url.get_ref()) {
            self.error(url.span(), e, "write an https URL; http is for loopback addresses alone");
            return None;
        }
        Some(url.into_inner().trim_end_matches('/').to_owned())
    }

    /// A file that is written.
    pub fn file(&mut self, key: &str) -> Option<PathBuf> {
        let file = self.text(key)?;
        if self.is_copy && !Path::new(file.get_ref()).is_absolute() {
            let title = format!(
                "`{}` is relative, and a configuration on S3 is read from a copy that is removed: what is kept there would be lost",
                file.get_ref().escape_debug()
            );
            let help = "write a file that begins with `/`, or leave `file` out for stdout";
            self.error(file.span(), title, help);
        }
        Some(self.base.join(file.get_ref()))
    }
}
