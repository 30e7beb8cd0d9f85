//! The data that the script reads: every finding, in columns, as JSON that cannot end its element.
//!
//! A hundred thousand findings share few sentences, so each text stands once and is named by its number.
//! Addresses and ids stand as text: whoever searches the file with other tools finds them.

use std::collections::HashMap;

use mimawari_drift::verdict::{Finding, FindingKind, Verdict};
use serde::Serialize;

use crate::html::causes::CauseRows;
use crate::html::map::RangeMaps;
use crate::html::row::{FindingRow, is_settled, sort_for_display};
use crate::same_names::list_other_names;
use crate::words;

/// Bits of the column `flags`.
const NEW: u8 = 1;
const ACKNOWLEDGED: u8 = 2;
const FLAPPING: u8 = 4;
const REOPENED: u8 = 8;
const DRIFT: u8 = 16;
const SETTLED: u8 = 32;

#[derive(Serialize)]
struct EmbeddedData {
    /// Texts; number 0 is the empty one.
    text: Vec<String>,
    severities: Vec<&'static str>,
    /// Key and label.
    states: Vec<(&'static str, &'static str)>,
    kinds: Vec<(&'static str, &'static str)>,
    groups: Vec<GroupData>,
    /// How many of the groups explain drift.
    explained: usize,
    maps: Vec<MapData>,
    findings: DataColumns,
}

#[derive(Serialize)]
struct GroupData {
    title: String,
    place: String,
    owner: String,
    tag: &'static str,
    since: String,
    new: u64,
    count: usize,
}

#[derive(Serialize)]
struct MapData {
    range: String,
    cells: u32,
    /// Index, unexpected, missing, unverified, allowed.
    marks: Vec<[u32; 5]>,
}

/// The findings in the order of the page: the n-th of each column belongs to the n-th of them.
#[derive(Serialize, Default)]
struct DataColumns {
    id: Vec<String>,
    ip: Vec<String>,
    /// 0 for a whole host.
    port: Vec<u16>,
    severity: Vec<u8>,
    state: Vec<u8>,
    kind: Vec<u8>,
    flags: Vec<u8>,
    group: Vec<u32>,
    /// Seconds since 1970.
    first: Vec<i64>,
    last: Vec<i64>,
    /// What follows are numbers of texts.
    proto: Vec<u32>,
    resource: Vec<u32>,
    what: Vec<u32>,
    why: Vec<u32>,
    service: Vec<u32>,
    owner: Vec<u32>,
    marks: Vec<Vec<u32>>,
    /// Label, text, label, text …
    details: Vec<Vec<u32>>,
}

/// Each text once.
struct TextTable {
    list: Vec<String>,
    number: HashMap<String, u32>,
}

impl TextTable {
    fn new() -> Self {
        Self { list: vec![String::new()], number: HashMap::from([(String::new(), 0)]) }
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(n) = self.number.get(text) {
            return *n;
        }
        let n = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(text.to_owned());
        self.number.insert(text.to_owned(), n);
        n
    }
}

/// The island's text, fit to stand in a `script` element.
///
/// # Panics
///
/// Never: the structure has no key and no number that JSON does not know.
pub(crate) fn render_embedded_data(
    v: &Verdict,
    causes: &CauseRows,
    maps: Option<&RangeMaps>,
) -> String {
    let mut texts = TextTable::new();
    let mut columns = DataColumns::default();
    let names = list_other_names(v);
    for (n, f) in sort_for_display(&v.findings) {
        let row = FindingRow::new(n, f, names.get(f.id.as_str()));
        columns.push(&row, causes.of[n], &mut texts);
    }
    let island = EmbeddedData {
        text: texts.list,
        severities: words::SEVERITIES.iter().map(|s| s.as_str()).collect(),
        states: words::STATES.iter().map(|s| (s.as_str(), words::describe_state(*s))).collect(),
        kinds: FindingKind::ALL.iter().map(|k| (k.as_str(), words::describe_kind(*k))).collect(),
        groups: causes
            .list
            .iter()
            .map(|c| GroupData {
                title: c.title.clone(),
                place: c.place.clone(),
                owner: c.owner.clone(),
                tag: c.tag,
                since: c.since.clone(),
                new: c.new,
                count: c.count,
            })
            .collect(),
        explained: causes.explained,
        maps: maps
            .into_iter()
            .flat_map(|m| &m.maps)
            .map(|m| MapData { range: m.range.clone(), cells: m.cells, marks: m.marks.clone() })
            .collect(),
        findings: columns,
    };
    escape_for_html(&serde_json::to_string(&island).expect("plain columns are JSON"))
}

/// JSON without the characters that mean something to an HTML parser, or end a line for a script.
/// Outside of its strings JSON has none of them, so the escapes are valid wherever they stand.
pub(crate) fn escape_for_html(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 64);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

impl DataColumns {
    fn push(&mut self, row: &FindingRow<'_>, group: u32, texts: &mut TextTable) {
        let f = row.finding;
        self.id.push(row.id.clone());
        self.ip.push(f.ip.to_string());
        self.port.push(f.port.map_or(0, |p| p.get()));
        self.severity.push(find_position(&words::SEVERITIES, &f.severity));
        self.state.push(find_position(&words::STATES, &f.state));
        self.kind.push(find_position(&FindingKind::ALL, &f.kind));
        self.flags.push(encode_flags(f));
        self.group.push(group);
        self.first.push(f.first_seen.as_second());
        self.last.push(f.last_seen.as_second());
        self.proto.push(texts.number(&f.proto.to_string()));
        self.resource.push(texts.number(row.resource.as_deref().unwrap_or_default()));
        self.what.push(texts.number(&row.what));
        self.why.push(texts.number(&row.why));
        self.service.push(texts.number(&row.service));
        self.owner.push(texts.number(&row.owner));
        self.marks.push(row.marks.iter().map(|m| texts.number(m)).collect());
        let details = row.details.iter();
        self.details.push(details.flat_map(|(l, t)| [texts.number(l), texts.number(t)]).collect());
    }
}

fn find_position<T: PartialEq>(list: &[T], one: &T) -> u8 {
    list.iter().position(|x| x == one).and_then(|n| u8::try_from(n).ok()).unwrap_or(u8::MAX)
}

fn encode_flags(f: &Finding) -> u8 {
    [
        (f.new, NEW),
        (f.acknowledged.is_some(), ACKNOWLEDGED),
        (f.flapping, FLAPPING),
        (f.reopened > 0, REOPENED),
        (f.state.is_drift(), DRIFT),
        (is_settled(f), SETTLED),
    ]
    .iter()
    .filter(|(is, _)| *is)
    .fold(0, |all, (_, bit)| all | bit)
}
