//! `[[notify]]` tables: read by the row of their kind, with every mistake at its line.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mimawari_probes::observation::Severity;
use mimawari_report::notify::ChangeSelection;
use mimawari_targets::diagnostic::{Diagnostic, TextSource};
use toml::{Spanned, Value};

use crate::client::check_url;
use crate::notifier::{NotifierConfig, NotifierKey, NotifierKind};

/// A table as it is written.
pub type NotifyTable = Spanned<BTreeMap<String, Spanned<Value>>>;

/// The keys that every kind has.
pub const COMMON_KEYS: [NotifierKey; 6] = [
    NotifierKey {
        name: "kind",
        kind: "text",
        default: "required",
        meaning: "The kind of receiver; each has its keys below.",
    },
    NotifierKey { name: "name", kind: "text", default: "its kind", meaning: "Its name, unique." },
    NotifierKey {
        name: "min_severity",
        kind: "text",
        default: "all",
        meaning: "The least severity that is notified: `info`, `low`, `medium`, `high` or `critical`.",
    },
    NotifierKey {
        name: "owners",
        kind: "list of texts",
        default: "all",
        meaning: "Findings of these owners alone.",
    },
    NotifierKey {
        name: "rest",
        kind: "true or false",
        default: "false",
        meaning: "With `owners`: also findings without an owner, and those of owners that no notifier names. Where no notifier has it and none is without `owners`, these go to all notifiers.",
    },
    NotifierKey {
        name: "report_url",
        kind: "text",
        default: "–",
        meaning: "Where the report is; `{run_id}` is replaced.",
    },
];

/// The notifiers of a configuration, and what is worth a warning.
#[derive(Debug, Default)]
pub struct ReadNotifiers {
    /// The notifiers.
    pub all: Vec<NotifierConfig>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Reads one table, key by key. A mistake is kept, and the reading goes on.
pub struct TableReader<'a> {
    source: &'a TextSource,
    base: &'a Path,
    is_copy: bool,
    word: String,
    place: Range<usize>,
    values: BTreeMap<String, Spanned<Value>>,
    errors: &'a mut Vec<Diagnostic>,
}

/// Where a configuration stands: its text, the folder that relative paths start at, and whether that
/// folder is a copy that is removed.
#[derive(Debug, Clone, Copy)]
pub struct TableOrigin<'a> {
    /// The text.
    pub source: &'a TextSource,
    /// The folder.
    pub base: &'a Path,
    /// Whether it is a copy.
    pub is_copy: bool,
}

/// Reads the tables of a configuration by the rows `kinds`.
pub fn read_notifiers(
    kinds: &[&'static NotifierKind],
    tables: Vec<NotifyTable>,
    origin: TableOrigin<'_>,
    errors: &mut Vec<Diagnostic>,
) -> ReadNotifiers {
    let mut names = HashSet::new();
    let mut all: Vec<NotifierConfig> = Vec::new();
    for table in tables {
        let place = table.span();
        let mut reader = TableReader {
            source: origin.source,
            base: origin.base,
            is_copy: origin.is_copy,
            word: String::new(),
            place,
            values: table.into_inner(),
            errors: &mut *errors,
        };
        let named = reader.span("name");
        let Some(n) = reader.read_notifier(kinds) else { continue };
        if !names.insert(n.name.clone()) {
            let title = format!("two notifiers have the name `{}`", n.name);
            let help = "give each a `name` of its own: it names its queue";
            let place = named.unwrap_or_else(|| reader.place.clone());
            reader.error(place, title, help);
        }
        all.push(n);
    }
    let warnings = route_the_rest(&mut all);
    ReadNotifiers { all, warnings }
}

/// Sees that a finding that no notifier names the owner of reaches somebody.
fn route_the_rest(all: &mut [NotifierConfig]) -> Vec<String> {
    let named: Arc<BTreeSet<String>> =
        Arc::new(all.iter().flat_map(|n| n.selection.owners.iter().cloned()).collect());
    let messages = || all.iter().filter(|n| !n.kind.delivery.is_figure);
    let takes_rest = messages().any(|n| n.selection.owners.is_empty() || n.selection.takes_rest);
    let any = messages().next().is_some();
    for n in all.iter_mut() {
        n.selection.named_owners = Arc::clone(&named);
        n.selection.takes_rest |= !takes_rest;
    }
    if any && !takes_rest {
        return vec![
            "every notifier has `owners` and none has `rest = true`: findings of other owners, and those \
             without one, go to all notifiers"
                .to_owned(),
        ];
    }
    Vec::new()
}

impl TableReader<'_> {
    fn read_notifier(&mut self, kinds: &[&'static NotifierKind]) -> Option<NotifierConfig> {
        let Some(word) = self.text("kind") else {
            let known: Vec<&str> = kinds.iter().map(|k| k.word).collect();
            let place = self.place.clone();
            self.error(
                place,
                "a notifier has no `kind`",
                format!("write one of {}", known.join(", ")),
            );
            return None;
        };
        self.place = word.span();
        self.word = word.into_inner();
        let Some(kind) = kinds.iter().find(|k| k.word == self.word) else {
            let known: Vec<&str> = kinds.iter().map(|k| k.word).collect();
            let title = format!("`{}` is no kind of notifier", self.word.escape_debug());
            self.error(self.place.clone(), title, format!("write one of {}", known.join(", ")));
            return None;
        };
        self.check_keys(kind);
        let selection = self.selection();
        let name = self.text("name");
        let span = name.as_ref().map_or_else(|| self.place.clone(), Spanned::span);
        let name = name.map_or_else(|| self.word.clone(), Spanned::into_inner);
        let usable = (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !usable {
            let help = "write letters, digits, `-` and `_`, 40 at most: it names files";
            self.error(span, format!("`{}` cannot be a name", name.escape_debug()), help);
        }
        let settings = (kind.read)(self)?;
        Some(NotifierConfig { name, kind, selection, settings })
    }

    fn check_keys(&mut self, kind: &NotifierKind) {
        let is_known =
            |key: &str| COMMON_KEYS.iter().chain(kind.keys).any(|known| known.name == key);
        let own: Vec<&str> = kind.keys.iter().map(|k| k.name).collect();
        let unknown: Vec<(String, Range<usize>)> = self
            .values
            .iter()
            .filter(|(key, _)| !is_known(key))
            .map(|(key, value)| (key.clone(), value.span()))
            .collect();
        for (key, span) in unknown {
            let title =
                format!("`{}` is no key of a notifier of kind `{}`", key.escape_debug(), self.word);
            // What stands there may be a secret, so the line of the kind is shown.
            let place = if crate::KINDS.iter().any(|k| k.keys.iter().any(|k| k.name == key)) {
                span
            } else {
                self.place.clone()
            };
            self.error(place, title, format!("its own keys are {}", own.join(", ")));
        }
    }

    fn selection(&mut self) -> ChangeSelection {
        let min_severity = self.text("min_severity").and_then(|s| {
            let found = Severity::parse(s.get_ref());
            if found.is_none() {
                let title = format!("`{}` is no severity", s.get_ref().escape_debug());
                self.error(s.span(), title, "write info, low, medium, high or critical");
            }
            found
        });
        let report_url = self.text("report_url");
        if let Some(url) = &report_url
            && !["https://", "http://", "s3://"].iter().any(|p| url.get_ref().starts_with(p))
        {
            let title = format!("`{}` is no URL", url.get_ref().escape_debug());
            let help = "write such as `https://reports.example.jp/{run_id}/report.html`";
            self.error(url.span(), title, help);
        }
        let owners = self.texts("owners");
        let takes_rest = self.flag("rest");
        if let (Some(span), true) = (self.span("rest"), owners.is_empty()) {
            let help = "leave `rest` out, or add `owners`";
            self.error(span, "`rest` without `owners` says nothing: it gets everything", help);
        }
        ChangeSelection {
            min_severity,
            owners,
            takes_rest,
            named_owners: Arc::default(),
            report_url: report_url.map(Spanned::into_inner),
        }
    }

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
