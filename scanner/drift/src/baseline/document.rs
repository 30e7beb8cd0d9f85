//! The one reader of baseline files: text in, files and rules with their places out.
//!
//! It reads part by part, so that one mistake does not hide the others, and a rule that has one is
//! kept as far as it can be understood. The patrol, the lint and the edits all work on what it reads.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_targets::diagnostic::{DiagnosticList, TextSource};
use mimawari_targets::{
    AddrError, AddrRange, AddrSet, PortSet, Protocol, build_mistake_diagnostic,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{FieldDamage, FieldReader, describe_value_type, read_string_list};
use super::mistakes::{ReadErrors, sanitise_excerpt};
use super::words::{
    compute_day_end, find_name_problem, find_path_problem, find_vantage_problem, parse_port,
};
use super::{MAX_REQUIRED, RuleExpect, VERSION, contradictions};
use crate::lint_rules::{LintRule, reading as rule};
use crate::reason;

/// Mistakes of one file that are reported before the rest of it is left alone.
pub(super) const MOST: usize = 1000;

/// Keys of a file.
pub(super) const FILE_KEYS: &[&str] = &["version", "owner", "groups", "allow", "allow_http"];
/// Keys of `[[allow]]`.
pub(super) const ALLOW_KEYS: &[&str] = &[
    "id", "group", "hosts", "ports", "vantages", "expect", "at_least", "broad", "reason", "expires",
];
/// Keys of `[[allow_http]]`.
pub(super) const HTTP_KEYS: &[&str] =
    &["id", "group", "hosts", "checks", "paths", "names", "vantages", "reason", "expires"];

/// Baseline files as they are written: every part that can be understood, with its place, and what
/// is wrong with the others.
#[derive(Debug, Clone)]
pub struct RuleDocument {
    pub(crate) files: Vec<DocumentFile>,
    pub(crate) entries: Vec<RuleEntry>,
    pub(crate) mistakes: ReadErrors,
}

impl RuleDocument {
    /// Reads files, given as (name, text). The order in which they come does not matter.
    #[must_use]
    pub fn read(files: &[(String, String)]) -> Self {
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort();
        let mut reader = DocumentReader::default();
        for (name, text) in sorted {
            reader.file(TextSource::new(name.as_str(), text.as_str()));
        }
        let DocumentReader { files, entries, mut mistakes, .. } = reader;
        contradictions::report(&mut mistakes, &files, &entries);
        Self { files, entries, mistakes }
    }

    /// Reads one file by itself; rules of other files are not asked for.
    pub(crate) fn of(source: &TextSource) -> Self {
        let mut reader = DocumentReader::default();
        reader.file(source.clone());
        Self { files: reader.files, entries: reader.entries, mistakes: reader.mistakes }
    }

    /// The messages of the rules of the lint that `keep` names.
    pub(crate) fn messages(self, keep: impl Fn(&LintRule) -> bool) -> DiagnosticList {
        self.mistakes.only(keep).into_diagnostics(&self.files)
    }
}

/// A file, as far as it could be read.
#[derive(Debug, Clone)]
pub(crate) struct DocumentFile {
    /// Its text.
    pub source: TextSource,
    /// Who answers for it.
    pub owner: Option<Spanned<String>>,
    /// Its groups, with the place of each item.
    pub groups: HashMap<String, GroupTable>,
    /// Whether it is no TOML.
    pub broken: bool,
    /// Whether it is no TOML outside its rules, so that what is missing may only not have been seen.
    damaged_outside: bool,
}

/// A group.
#[derive(Debug, Clone)]
pub(crate) struct GroupTable {
    pub items: Vec<(Range<usize>, AddrRange)>,
    /// `None`: an item is wrong.
    pub set: Option<Arc<AddrSet>>,
}

/// A rule of a file, as far as it could be read.
#[derive(Debug, Clone)]
pub(crate) struct RuleEntry {
    /// Number of its file.
    pub file: usize,
    /// Its header.
    pub span: Range<usize>,
    /// Behind its last value.
    pub end: usize,
    pub id: Option<Spanned<String>>,
    pub group: Option<Spanned<String>>,
    pub hosts: Vec<(Range<usize>, AddrRange)>,
    /// `None`: something about them is wrong.
    pub addrs: Option<Arc<AddrSet>>,
    pub reason: Option<Spanned<String>>,
    pub expires: Option<Spanned<TextEnd>>,
    /// From where it is seen; empty for everywhere.
    pub vantages: Vec<Spanned<String>>,
    pub what: RuleKind,
}

/// When a rule ends.
#[derive(Debug, Clone)]
pub(crate) struct TextEnd {
    /// As written.
    pub text: String,
    pub at: Timestamp,
}

/// What a rule is about.
#[derive(Debug, Clone)]
pub(crate) enum RuleKind {
    Ports(PortList),
    Http(ContentMatch),
}

/// Contents of a rule.
#[derive(Debug, Clone)]
pub(crate) struct ContentMatch {
    pub checks: Vec<Spanned<String>>,
    pub paths: Vec<Spanned<String>>,
    /// Sites, in lower case; empty for all.
    pub names: Vec<Spanned<String>>,
}

/// Ports of a rule.
#[derive(Debug, Clone)]
pub(crate) struct PortList {
    /// The whole list.
    pub span: Range<usize>,
    pub items: Vec<(Range<usize>, Protocol, (u16, u16))>,
    pub tcp: PortSet,
    pub udp: PortSet,
    pub expect: RuleExpect,
    /// With `must`: on how many addresses; absent for all.
    pub at_least: Option<u64>,
    pub broad: bool,
}

impl RuleEntry {
    pub fn id(&self) -> Option<&str> {
        self.id.as_ref().map(|i| i.get_ref().as_str())
    }

    /// Whether it holds at this instant.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires.as_ref().is_none_or(|e| now < e.get_ref().at)
    }

    /// The ports of a rule about ports.
    pub fn ports(&self) -> Option<&PortList> {
        match &self.what {
            RuleKind::Ports(p) => Some(p),
            RuleKind::Http(_) => None,
        }
    }

    /// The place of its addresses.
    pub fn addrs_span(&self) -> Range<usize> {
        let hosts = self.hosts.first().zip(self.hosts.last()).map(|(a, b)| a.0.start..b.0.end);
        hosts.or(self.group.as_ref().map(Spanned::span)).unwrap_or(self.span.clone())
    }
}

/// Reads files one after the other.
#[derive(Default)]
pub(super) struct DocumentReader {
    pub files: Vec<DocumentFile>,
    entries: Vec<RuleEntry>,
    /// Where each id was first used.
    ids: HashMap<String, (usize, Range<usize>)>,
    pub(super) mistakes: ReadErrors,
}

impl DocumentReader {
    fn file(&mut self, source: TextSource) {
        let number = self.files.len();
        let kept = source.clone();
        let text = kept.text();
        let (root, errors) = DeTable::parse_recoverable(text);
        let (mut looked, mut refused) = (self.mistakes.len(), 0);
        let root = root.into_inner();
        let damage = FieldDamage::new(&root, &errors, text);
        let (broken, damaged_outside) = (!errors.is_empty(), damage.outside);
        self.files.push(DocumentFile {
            source,
            owner: None,
            groups: HashMap::new(),
            broken,
            damaged_outside,
        });
        for e in &damage.reported {
            let span = e.span().unwrap_or(0..0);
            let m = build_mistake_diagnostic(&self.files[number].source, e.message(), span.clone());
            let help = m.help.unwrap_or_else(|| "mend this line, and check again".to_owned());
            self.mistakes.report(
                &rule::SYNTAX,
                number,
                span,
                None,
                sanitise_excerpt(&m.title),
                help,
            );
        }
        let fields = FieldReader::new(number, 0..0, &root);
        if !damaged_outside {
            fields.unknown(self, FILE_KEYS);
        }
        self.version(&fields);
        let owner = fields.text(self, "owner");
        match &owner {
            None if !fields.has("owner") && !self.files[number].damaged_outside => {
                fields.missing(
                    self,
                    "owner",
                    "name who answers for these rules, such as `owner = \"@corp/hosting\"`",
                );
            }
            Some(o) if o.get_ref().trim().is_empty() => self.mistakes.report(
                &rule::OWNER_MISSING,
                number,
                o.span(),
                None,
                "`owner` is empty",
                "name who answers for these rules, such as `owner = \"@corp/hosting\"`",
            ),
            _ => {}
        }
        self.files[number].owner = owner.filter(|o| !o.get_ref().trim().is_empty());
        if let Some((_, v)) = fields.get("groups") {
            self.groups(number, v);
        }
        for (key, is_http) in [("allow", false), ("allow_http", true)] {
            let Some((_, list)) = fields.get(key) else { continue };
            let DeValue::Array(list) = list.get_ref() else {
                let help = format!("write [[{key}]] over each rule");
                self.wrong(number, list.span(), list.get_ref(), &help);
                continue;
            };
            for item in list.iter() {
                // What is only worth a remark never keeps a patrol from reading the rest.
                refused += self.mistakes.refused_since(looked);
                looked = self.mistakes.len();
                if refused > MOST {
                    let title = format!(
                        "more than {MOST} mistakes; the rest of this file was not looked at"
                    );
                    let help = "mend these first";
                    self.mistakes.report(&rule::SYNTAX, number, item.span(), None, title, help);
                    return;
                }
                match item.get_ref() {
                    DeValue::Table(t) => {
                        let damaged = damage.rules.get(&item.span().start);
                        self.entry(number, item.span(), t, is_http, damaged.copied());
                    }
                    other => self.wrong(number, item.span(), other, "write a table"),
                }
            }
        }
    }

    fn version(&mut self, fields: &FieldReader<'_, '_>) {
        let number = fields.file;
        let help = "write `version = 1`, or use a newer mimawari";
        let Some((_, v)) = fields.get("version") else {
            if !self.files[number].damaged_outside {
                fields.missing(self, "version", "add `version = 1` as the first line");
            }
            return;
        };
        match v.get_ref() {
            DeValue::Integer(i) if u32::from_str_radix(i.as_str(), i.radix()) == Ok(VERSION) => {}
            DeValue::Integer(i) => self.mistakes.report(
                &rule::UNKNOWN_VERSION,
                number,
                v.span(),
                None,
                format!("version {} is not known", sanitise_excerpt(i.as_str())),
                help,
            ),
            other => self.wrong(number, v.span(), other, help),
        }
    }

    fn groups(&mut self, number: usize, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = value.get_ref() else {
            let help = "write [groups] over lines such as `edge = [\"192.0.2.0/26\"]`";
            return self.wrong(number, value.span(), value.get_ref(), help);
        };
        for (key, value) in table {
            let mut whole = !self.files[number].damaged_outside;
            if !whole {
                let group = GroupTable { items: Vec::new(), set: None };
                self.files[number].groups.insert(key.get_ref().to_string(), group);
                continue;
            }
            let texts = read_string_list(self, number, value, &mut whole);
            let items = self.addrs(number, &texts, None, &mut whole);
            let set = whole.then(|| Arc::new(AddrSet::from_ranges(items.iter().map(|i| i.1))));
            self.files[number].groups.insert(key.get_ref().to_string(), GroupTable { items, set });
        }
    }

    /// A kind of value that cannot stand there.
    pub fn wrong(&mut self, file: usize, span: Range<usize>, found: &DeValue<'_>, help: &str) {
        let title = format!("this is {}, and cannot stand here", describe_value_type(found));
        self.mistakes.report(&rule::WRONG_VALUE, file, span, None, title, help);
    }

    fn addrs(
        &mut self,
        file: usize,
        items: &[Spanned<String>],
        id: Option<&str>,
        whole: &mut bool,
    ) -> Vec<(Range<usize>, AddrRange)> {
        let mut ranges = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().parse::<AddrRange>() {
                Ok(r) => ranges.push((item.span(), r)),
                Err(e) => {
                    *whole = false;
                    let which = match e {
                        AddrError::HostBits { .. } => &rule::HOST_BITS,
                        AddrError::Mapped { .. } => &rule::MAPPED_ADDRESS,
                        _ => &rule::BAD_ADDRESS,
                    };
                    self.mistakes.report(which, file, item.span(), id, e.to_string(), e.help());
                }
            }
        }
        ranges
    }

    /// A rule. `damaged`: where it ceases to be TOML; what it seems to say from there on is not what
    /// it says, and what it seems not to say, it may.
    fn entry(
        &mut self,
        file: usize,
        span: Range<usize>,
        table: &DeTable<'_>,
        is_http: bool,
        damaged: Option<usize>,
    ) {
        let before = self.mistakes.len();
        let header = span.start;
        let mut fields = FieldReader::new(file, span.clone(), table);
        let id = fields.text(self, "id");
        fields.id = id.as_ref().map(|i| i.get_ref().clone());
        fields.unknown(self, if is_http { HTTP_KEYS } else { ALLOW_KEYS });
        self.id(&fields, id.as_ref());
        let reason = self.reason(&fields);
        let expires = self.expires(&fields);
        let group = fields.text(self, "group");
        let mut whole = true;
        let hosts = fields.texts(self, "hosts", &mut whole);
        let named = !hosts.is_empty();
        let hosts = self.addrs(file, &hosts, fields.id.as_deref(), &mut whole);
        let own = AddrSet::from_ranges(hosts.iter().map(|h| h.1));
        let addrs = self.all_addrs(&fields, group.as_ref(), own, named).filter(|_| whole);
        let mut whole = true;
        let vantages = fields.texts(self, "vantages", &mut whole);
        self.each(&fields, &vantages, find_vantage_problem, &rule::BAD_VANTAGE);
        self.not_empty(&fields, "vantages", &rule::BAD_VANTAGE);
        let what = if is_http {
            RuleKind::Http(self.contents(&fields))
        } else {
            RuleKind::Ports(self.ports(&mut fields, addrs.as_deref()))
        };
        if let Some(at) = damaged {
            return self.mistakes.retain_between(before, header + 1..at);
        }
        let end = table.values().map(|v| v.span().end).fold(span.end, usize::max);
        let entry =
            RuleEntry { file, span, end, id, group, hosts, addrs, reason, expires, vantages, what };
        self.entries.push(entry);
    }

    /// Reports each text that `mistake` finds fault with: what is wrong, and how to mend it.
    fn each(
        &mut self,
        fields: &FieldReader<'_, '_>,
        texts: &[Spanned<String>],
        mistake: impl Fn(&str) -> Option<(&'static str, &'static str)>,
        which: &'static LintRule,
    ) {
        for text in texts {
            if let Some((what, help)) = mistake(text.get_ref()) {
                let title = format!("`{}` {what}", sanitise_excerpt(text.get_ref()));
                fields.report(self, which, text.span(), title, help);
            }
        }
    }

    fn not_empty(&mut self, fields: &FieldReader<'_, '_>, key: &str, which: &'static LintRule) {
        if let Some((_, v)) = fields.get(key)
            && v.get_ref().as_array().is_some_and(|a| a.is_empty())
        {
            let help = "name at least one, or leave the key out for all";
            fields.report(self, which, v.span(), format!("`{key}` is empty"), help);
        }
    }

    fn contents(&mut self, fields: &FieldReader<'_, '_>) -> ContentMatch {
        let mut whole = true;
        let checks = fields.texts(self, "checks", &mut whole);
        let paths = fields.texts(self, "paths", &mut whole);
        if checks.is_empty() && paths.is_empty() && whole {
            fields.report(
                self,
                &rule::EMPTY_RULE,
                fields.span.clone(),
                "the rule names neither checks nor paths",
                "add `checks = [\"server-status\"]` or `paths = [\"/healthz\"]`",
            );
        }
        self.each(fields, &paths, find_path_problem, &rule::BAD_PATH);
        let names = fields.texts(self, "names", &mut whole);
        self.each(fields, &names, find_name_problem, &rule::BAD_NAME);
        // An empty list would be read as every site by one reader and as none by another one.
        self.not_empty(fields, "names", &rule::BAD_NAME);
        let lower = |n: Spanned<String>| Spanned::new(n.span(), n.get_ref().to_ascii_lowercase());
        ContentMatch { checks, paths, names: names.into_iter().map(lower).collect() }
    }

    fn id(&mut self, fields: &FieldReader<'_, '_>, id: Option<&Spanned<String>>) {
        let file = fields.file;
        let Some(id) = id else {
            if !fields.has("id") {
                fields.missing(
                    self,
                    "id",
                    "give the rule a short name of its own: `id = \"edge-https\"`",
                );
            }
            return;
        };
        if id.get_ref().trim().is_empty() {
            let help = "give the rule a short name of its own";
            return fields.report(self, &rule::EMPTY_ID, id.span(), "`id` is empty", help);
        }
        if let Some((of, at)) = self.ids.get(id.get_ref()) {
            let place = self.place(*of, at.start);
            let title = format!(
                "the id `{}` is used twice; first at {place}",
                sanitise_excerpt(id.get_ref())
            );
            let help = "give each rule an id of its own";
            return fields.report(self, &rule::DUPLICATE_ID, id.span(), title, help);
        }
        self.ids.insert(id.get_ref().clone(), (file, id.span()));
    }

    /// `file:line`; counts lines, and is therefore for messages alone.
    fn place(&self, file: usize, at: usize) -> String {
        let source = &self.files[file].source;
        format!("{}:{}", sanitise_excerpt(source.name()), source.line(at))
    }

    fn reason(&mut self, fields: &FieldReader<'_, '_>) -> Option<Spanned<String>> {
        const HELP: &str = "say why this may be open, for the person who reviews it";
        let Some(text) = fields.text(self, "reason") else {
            if !fields.has("reason") {
                fields.missing(self, "reason", HELP);
            }
            return None;
        };
        let said = text.get_ref().trim();
        if said.is_empty() {
            fields.report(self, &rule::EMPTY_REASON, text.span(), "`reason` is empty", HELP);
        } else if let Some(why) =
            reason::detect_boilerplate(said, fields.id.as_deref().unwrap_or_default())
        {
            let title = format!("the reason `{}` {why}", sanitise_excerpt(said));
            fields.report(self, &rule::BOILERPLATE_REASON, text.span(), title, HELP);
        }
        Some(text)
    }

    fn expires(&mut self, fields: &FieldReader<'_, '_>) -> Option<Spanned<TextEnd>> {
        let (_, value) = fields.get("expires")?;
        let end = match value.get_ref() {
            DeValue::Datetime(d) => {
                compute_day_end(d).map(|at| TextEnd { text: d.to_string(), at })
            }
            _ => None,
        };
        if end.is_none() {
            let text = match value.get_ref() {
                DeValue::Datetime(d) => format!("`{d}`"),
                DeValue::String(s) => format!("`\"{}\"`", sanitise_excerpt(s)),
                other => describe_value_type(other).to_owned(),
            };
            fields.report(
                self,
                &rule::BAD_DATE,
                value.span(),
                format!("{text} is not a day"),
                "write a date without a time and without quotation marks, such as `expires = 2026-12-31`; it holds through 23:59:59 UTC",
            );
        }
        Some(Spanned::new(value.span(), end?))
    }

    /// The addresses of hosts and group together; `None` if they are not known.
    fn all_addrs(
        &mut self,
        fields: &FieldReader<'_, '_>,
        group: Option<&Spanned<String>>,
        own: AddrSet,
        named: bool,
    ) -> Option<Arc<AddrSet>> {
        let file = fields.file;
        let Some(g) = group else {
            if !named && !fields.has("group") && !fields.wrong_list("hosts") {
                fields.report(
                    self,
                    &rule::EMPTY_RULE,
                    fields.span.clone(),
                    "the rule names neither `group` nor `hosts`",
                    "add `hosts = [\"192.0.2.70\"]`, or a group of this file",
                );
            }
            return named.then(|| Arc::new(own));
        };
        if let Some(found) = self.files[file].groups.get(g.get_ref()) {
            let set = found.set.clone()?;
            return Some(if own.is_empty() { set } else { Arc::new(set.union(&own)) });
        }
        if self.files[file].damaged_outside {
            return None;
        }
        let mut known: Vec<&str> = self.files[file].groups.keys().map(String::as_str).collect();
        known.sort_unstable();
        let help = match known.len() {
            0 => "define it under [groups] of this file".to_owned(),
            n => {
                let more = if n > 20 { ", …" } else { "" };
                let known: Vec<String> =
                    known.iter().take(20).map(|k| sanitise_excerpt(k)).collect();
                format!("groups of this file: {}{more}", known.join(", "))
            }
        };
        let title = format!("the group `{}` is not defined", sanitise_excerpt(g.get_ref()));
        fields.report(self, &rule::UNKNOWN_GROUP, g.span(), title, help);
        None
    }

    fn ports(&mut self, fields: &mut FieldReader<'_, '_>, addrs: Option<&AddrSet>) -> PortList {
        let mut whole = true;
        let texts = fields.texts(self, "ports", &mut whole);
        let span = fields.get("ports").map_or(fields.span.clone(), |(_, v)| v.span());
        if texts.is_empty() && whole {
            let help = "add `ports = [\"tcp/443\"]`";
            fields.report(
                self,
                &rule::EMPTY_RULE,
                fields.span.clone(),
                "the rule names no port",
                help,
            );
        }
        let mut items = Vec::with_capacity(texts.len());
        for t in &texts {
            match parse_port(t.get_ref()) {
                Ok((proto, range)) => items.push((t.span(), proto, range)),
                Err(why) => {
                    let help = "write `tcp/443`, `tcp/8000-8100` or `udp/53`";
                    fields.report(self, &rule::BAD_PORT, t.span(), sanitise_excerpt(&why), help);
                }
            }
        }
        let of = |proto| PortSet::from_ranges(items.iter().filter(|i| i.1 == proto).map(|i| i.2));
        let [tcp, udp] = Protocol::ALL.map(of);
        let expect = match fields.text(self, "expect") {
            None => RuleExpect::May,
            Some(word) => match word.get_ref().as_str() {
                "may" => RuleExpect::May,
                "must" => RuleExpect::Must,
                "never" => RuleExpect::Never,
                other => {
                    let title = format!("`{}` is not known here", sanitise_excerpt(other));
                    let help = "write `may`, `must` or `never`";
                    fields.report(self, &rule::WRONG_VALUE, word.span(), title, help);
                    RuleExpect::May
                }
            },
        };
        let at_least = self.at_least(fields, expect, addrs);
        let broad = match fields.get("broad") {
            None => false,
            Some((_, v)) => match v.get_ref() {
                DeValue::Boolean(b) => *b,
                other => {
                    self.wrong(fields.file, v.span(), other, "write true or false");
                    false
                }
            },
        };
        let cells = addrs.map_or(0, AddrSet::len).saturating_mul(u128::from(tcp.len() + udp.len()));
        if expect == RuleExpect::Must && cells > MAX_REQUIRED {
            let title = format!("the rule requires {cells} open cells, more than {MAX_REQUIRED}");
            let help = "require only what an alarm should be raised for, cell by cell";
            fields.report(self, &rule::MUST_TOO_BROAD, fields.span.clone(), title, help);
        }
        PortList { span, items, tcp, udp, expect, at_least, broad }
    }

    /// On how many of the addresses each port must be open. More than there are would be an alarm for
    /// ever, and none would require nothing.
    fn at_least(
        &mut self,
        fields: &FieldReader<'_, '_>,
        expect: RuleExpect,
        addrs: Option<&AddrSet>,
    ) -> Option<u64> {
        let (_, value) = fields.get("at_least")?;
        let number = match value.get_ref() {
            DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok(),
            _ => None,
        };
        let most = addrs.map(AddrSet::len);
        let (title, help) = match number.filter(|n| *n > 0) {
            None => (
                "`at_least` is not a number above 0".to_owned(),
                "write on how many of the addresses each port must be open, such as `at_least = 1`",
            ),
            Some(_) if expect != RuleExpect::Must => (
                "`at_least` says how many must be open, and this rule requires none".to_owned(),
                "add `expect = \"must\"`, or remove `at_least`",
            ),
            Some(n) if most.is_some_and(|most| u128::from(n) > most) => (
                format!(
                    "`at_least` is {n}, and the rule has {} addresses",
                    most.unwrap_or_default()
                ),
                "require no more than there are; without `at_least` all of them are required",
            ),
            Some(n) => return Some(n),
        };
        fields.report(self, &rule::BAD_AT_LEAST, value.span(), title, help);
        None
    }
}
