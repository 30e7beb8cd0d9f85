//! `[[notify]]` tables: read by the row of their kind, and who gets what no notifier names.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use mimawari_probes::observation::Severity;
use mimawari_report::notify::ChangeSelection;
use mimawari_targets::diagnostic::{Diagnostic, TextSource};
use toml::{Spanned, Value};

use crate::notifier::{NotifierConfig, NotifierKey, NotifierKind};
use crate::table::TableReader;

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
        let Some(n) = read_notifier(&mut reader, kinds) else { continue };
        if !names.insert(n.name.clone()) {
            let title = format!("two notifiers have the name `{}`", n.name);
            let help = "give each a `name` of its own: it names its queue";
            let place = named.unwrap_or_else(|| reader.place.clone());
            reader.error(place, title, help);
        }
        all.push(n);
    }
    let warnings = assign_remaining_findings(&mut all);
    ReadNotifiers { all, warnings }
}

/// Sees that a finding that no notifier names the owner of reaches somebody.
fn assign_remaining_findings(all: &mut [NotifierConfig]) -> Vec<String> {
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

fn read_notifier(
    table: &mut TableReader<'_>,
    kinds: &[&'static NotifierKind],
) -> Option<NotifierConfig> {
    let Some(word) = table.text("kind") else {
        let known: Vec<&str> = kinds.iter().map(|k| k.word).collect();
        let place = table.place.clone();
        table.error(
            place,
            "a notifier has no `kind`",
            format!("write one of {}", known.join(", ")),
        );
        return None;
    };
    table.place = word.span();
    table.word = word.into_inner();
    let Some(kind) = kinds.iter().find(|k| k.word == table.word) else {
        let known: Vec<&str> = kinds.iter().map(|k| k.word).collect();
        let title = format!("`{}` is no kind of notifier", table.word.escape_debug());
        table.error(table.place.clone(), title, format!("write one of {}", known.join(", ")));
        return None;
    };
    check_keys(table, kind);
    let selection = read_selection(table);
    let name = table.text("name");
    let span = name.as_ref().map_or_else(|| table.place.clone(), Spanned::span);
    let name = name.map_or_else(|| table.word.clone(), Spanned::into_inner);
    let usable = (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !usable {
        let help = "write letters, digits, `-` and `_`, 40 at most: it names files";
        table.error(span, format!("`{}` cannot be a name", name.escape_debug()), help);
    }
    let settings = (kind.read)(table)?;
    Some(NotifierConfig { name, kind, selection, settings })
}

fn check_keys(table: &mut TableReader<'_>, kind: &NotifierKind) {
    let is_known = |key: &str| COMMON_KEYS.iter().chain(kind.keys).any(|known| known.name == key);
    let own: Vec<&str> = kind.keys.iter().map(|k| k.name).collect();
    let unknown: Vec<(String, Range<usize>)> = table
        .values
        .iter()
        .filter(|(key, _)| !is_known(key))
        .map(|(key, value)| (key.clone(), value.span()))
        .collect();
    for (key, span) in unknown {
        let title =
            format!("`{}` is no key of a notifier of kind `{}`", key.escape_debug(), table.word);
        // What stands there may be a secret, so the line of the kind is shown.
        let place = if crate::KINDS.iter().any(|k| k.keys.iter().any(|k| k.name == key)) {
            span
        } else {
            table.place.clone()
        };
        table.error(place, title, format!("its own keys are {}", own.join(", ")));
    }
}

fn read_selection(table: &mut TableReader<'_>) -> ChangeSelection {
    let min_severity = table.text("min_severity").and_then(|s| {
        let found = Severity::parse(s.get_ref());
        if found.is_none() {
            let title = format!("`{}` is no severity", s.get_ref().escape_debug());
            table.error(s.span(), title, "write info, low, medium, high or critical");
        }
        found
    });
    let report_url = table.text("report_url");
    if let Some(url) = &report_url
        && !["https://", "http://", "s3://"].iter().any(|p| url.get_ref().starts_with(p))
    {
        let title = format!("`{}` is no URL", url.get_ref().escape_debug());
        let help = "write such as `https://reports.example.jp/{run_id}/report.html`";
        table.error(url.span(), title, help);
    }
    let owners = table.texts("owners");
    let takes_rest = table.flag("rest");
    if let (Some(span), true) = (table.span("rest"), owners.is_empty()) {
        let help = "leave `rest` out, or add `owners`";
        table.error(span, "`rest` without `owners` says nothing: it gets everything", help);
    }
    ChangeSelection {
        min_severity,
        owners,
        takes_rest,
        named_owners: Arc::default(),
        report_url: report_url.map(Spanned::into_inner),
    }
}
