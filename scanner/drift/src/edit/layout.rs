//! A baseline file as a list of statements, each with its comments.
//!
//! Comments are given to statements by where they stand, so that no form that TOML allows (dotted
//! keys, tables in arrays, comments inside lists) can lose one:
//!
//! * on the line of a statement, behind it;
//! * on lines of their own, to the statement below; but directly below a table's last line, with
//!   white space before the next table, to the table above;
//! * at the head, set off by an empty line, to the file; at the end, to the file's end.

use std::borrow::Cow;
use std::ops::Range;

use mimawari_targets::diagnostic::{DiagnosticList, TextSource};
use mimawari_targets::{AddrRange, Protocol};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::comments::{CommentText, find_comments};
use super::words::quote_basic_string;
use crate::baseline::{RuleDocument, parse_port};
use crate::lint_rules::LintRule;

/// The comments of one statement.
#[derive(Debug, Clone, Default)]
pub(super) struct LayoutNotes {
    /// On lines of their own above; an empty line stays as "".
    pub(super) above: Vec<String>,
    /// On the same line.
    pub(super) behind: Vec<String>,
    /// Behind the opening bracket of its list.
    pub(super) open: Vec<String>,
    /// Below the last item of its list, or the last line of its table.
    pub(super) below: Vec<String>,
}

/// By what items of a list are sorted and distinguished.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RuleOrder {
    /// Family, first and last address.
    Addr(bool, u128, u128),
    /// Protocol, first and last port.
    Port(Protocol, u16, u16),
    /// Text.
    Text(String),
}

/// An item of a list.
#[derive(Debug, Clone)]
pub(super) struct LayoutElement {
    pub(super) order: RuleOrder,
    pub(super) text: String,
    pub(super) slot: usize,
}

/// What a key stands for.
#[derive(Debug, Clone)]
pub(super) enum LineContent {
    /// As it is to be written.
    Scalar(String),
    List(Vec<LayoutElement>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct LayoutEntry {
    pub(super) key: String,
    pub(super) slot: usize,
    pub(super) content: LineContent,
}

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementKind {
    Top,
    Groups,
    Allow,
    AllowHttp,
}

/// A table with its keys.
#[derive(Debug, Clone)]
pub(super) struct LayoutSection {
    pub(super) kind: ElementKind,
    pub(super) slot: usize,
    /// Where it begins in the text.
    pub(super) start: usize,
    pub(super) entries: Vec<LayoutEntry>,
}

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct FileLayout {
    /// The first is the top.
    pub(super) sections: Vec<LayoutSection>,
    pub(super) notes: Vec<LayoutNotes>,
    /// The file's own comments, above and below everything.
    pub(super) head: Vec<String>,
    pub(super) end: Vec<String>,
}

/// Something that a comment can stand at.
struct CommentAnchor {
    span: Range<usize>,
    slot: usize,
    /// The section that it is in, and whether it opens it.
    section: usize,
    opens: bool,
}

/// Brackets that may hold comments.
struct LayoutContainer {
    span: Range<usize>,
    slot: usize,
    parent: Option<usize>,
    /// `allow = [ … ]`
    of_rules: bool,
    anchors: Vec<CommentAnchor>,
}

/// Whether a mistake is one of the text and not of what the rules say.
fn keeps_from_reading(rule: &LintRule) -> bool {
    let of_text = [
        "syntax",
        "unknown-key",
        "unknown-version",
        "missing-key",
        "wrong-value",
        "bad-address",
        "host-bits",
        "mapped-address",
        "bad-port",
    ];
    of_text.contains(&rule.id)
}

struct LayoutBuilder<'a> {
    text: &'a str,
    layout: FileLayout,
    statements: Vec<CommentAnchor>,
    containers: Vec<LayoutContainer>,
}

/// A key with its value.
type LayoutField<'t, 'i> = (&'t Spanned<Cow<'i, str>>, &'t Spanned<DeValue<'i>>);

impl FileLayout {
    /// Reads a file.
    ///
    /// # Errors
    /// Not TOML, not a baseline, or an address or port that cannot be read; with the line.
    pub(super) fn read(source: &TextSource) -> Result<Self, DiagnosticList> {
        let wrong = RuleDocument::of(source).messages(keeps_from_reading);
        if !wrong.0.is_empty() {
            return Err(wrong);
        }
        let text = source.text();
        let (root, _) = DeTable::parse_recoverable(text);
        let mut builder = LayoutBuilder {
            text,
            layout: Self::default(),
            statements: Vec::new(),
            containers: Vec::new(),
        };
        builder.section(ElementKind::Top, 0);
        builder.top(root.get_ref());
        builder.attach();
        Ok(builder.layout)
    }
}

impl LayoutBuilder<'_> {
    fn slot(&mut self) -> usize {
        self.layout.notes.push(LayoutNotes::default());
        self.layout.notes.len() - 1
    }

    fn section(&mut self, kind: ElementKind, start: usize) -> usize {
        let slot = self.slot();
        self.layout.sections.push(LayoutSection { kind, slot, start, entries: Vec::new() });
        self.layout.sections.len() - 1
    }

    /// A place for the comments of a statement of the file itself.
    fn statement(&mut self, span: Range<usize>, slot: usize, section: usize, opens: bool) {
        self.statements.push(CommentAnchor { span, slot, section, opens });
    }

    fn top(&mut self, table: &DeTable<'_>) {
        for (key, value) in sort_fields(table) {
            let kind = match key.get_ref().as_ref() {
                "groups" => ElementKind::Groups,
                "allow" => ElementKind::Allow,
                "allow_http" => ElementKind::AllowHttp,
                _ => ElementKind::Top,
            };
            match (kind, value.get_ref()) {
                (ElementKind::Groups, DeValue::Table(groups)) => {
                    let span = value.span();
                    let section = self.section(kind, span.start);
                    let slot = self.layout.sections[section].slot;
                    match self.text.as_bytes().get(span.start) {
                        Some(b'{') => {
                            self.statement(key.span().start..span.end, slot, section, true);
                            self.inline(section, kind, (span, groups), None);
                            continue;
                        }
                        Some(b'[') => self.statement(span, slot, section, true),
                        // Dotted keys have no line of their own.
                        _ => {}
                    }
                    for (key, value) in sort_fields(groups) {
                        self.entry(section, kind, (key, value), None);
                    }
                }
                (ElementKind::Allow | ElementKind::AllowHttp, DeValue::Array(rules)) => {
                    let first = rules.iter().next().map(|r| r.span().start);
                    let header = first.and_then(|at| self.text.as_bytes().get(at));
                    if header != Some(&b'[') {
                        self.rules_in_an_array(kind, key, value.span(), rules);
                        continue;
                    }
                    for rule in rules.iter() {
                        let DeValue::Table(table) = rule.get_ref() else { continue };
                        let section = self.section(kind, rule.span().start);
                        let slot = self.layout.sections[section].slot;
                        self.statement(rule.span(), slot, section, true);
                        for (key, value) in sort_fields(table) {
                            self.entry(section, kind, (key, value), None);
                        }
                    }
                }
                _ => self.entry(0, ElementKind::Top, (key, value), None),
            }
        }
    }

    /// `allow = [{ … }, { … }]`
    fn rules_in_an_array(
        &mut self,
        kind: ElementKind,
        key: &Spanned<Cow<'_, str>>,
        span: Range<usize>,
        rules: &DeArray<'_>,
    ) {
        let statement = self.slot();
        self.statement(key.span().start..span.end, statement, 0, false);
        let container = self.containers.len();
        self.containers.push(LayoutContainer {
            span,
            slot: statement,
            parent: None,
            of_rules: true,
            anchors: Vec::new(),
        });
        for rule in rules.iter() {
            let DeValue::Table(table) = rule.get_ref() else { continue };
            let section = self.section(kind, rule.span().start);
            let slot = self.layout.sections[section].slot;
            let span = rule.span();
            self.containers[container].anchors.push(CommentAnchor {
                span: span.clone(),
                slot,
                section,
                opens: true,
            });
            self.inline(section, kind, (span, table), Some(container));
        }
    }

    /// `{ key = value, … }`
    fn inline(
        &mut self,
        section: usize,
        kind: ElementKind,
        (span, table): (Range<usize>, &DeTable<'_>),
        parent: Option<usize>,
    ) {
        let container = self.containers.len();
        let slot = self.layout.sections[section].slot;
        self.containers.push(LayoutContainer {
            span,
            slot,
            parent,
            of_rules: false,
            anchors: Vec::new(),
        });
        for (key, value) in sort_fields(table) {
            self.entry(section, kind, (key, value), Some(container));
        }
    }

    /// `key = value`, in the container or as a statement of the file.
    fn entry(
        &mut self,
        section: usize,
        kind: ElementKind,
        (key, value): LayoutField<'_, '_>,
        parent: Option<usize>,
    ) {
        let slot = self.slot();
        let span = value.span();
        let anchor =
            CommentAnchor { span: key.span().start..span.end, slot, section, opens: false };
        match parent {
            Some(c) => self.containers[c].anchors.push(anchor),
            None => self.statements.push(anchor),
        }
        let name = key.get_ref().as_ref();
        let written = self.text.get(span.clone()).unwrap_or_default();
        let content = match value.get_ref() {
            DeValue::Array(items) => {
                let container = self.containers.len();
                self.containers.push(LayoutContainer {
                    span,
                    slot,
                    parent,
                    of_rules: false,
                    anchors: Vec::new(),
                });
                LineContent::List(self.items(section, kind, name, items, container))
            }
            DeValue::String(s) => {
                // How a long reason is broken into lines is its author's.
                let long = written.starts_with("\"\"\"") || written.starts_with("'''");
                LineContent::Scalar(if long { written.to_owned() } else { quote_basic_string(s) })
            }
            _ => LineContent::Scalar(written.to_owned()),
        };
        let entry = LayoutEntry { key: name.to_owned(), slot, content };
        self.layout.sections[section].entries.push(entry);
    }

    fn items(
        &mut self,
        section: usize,
        kind: ElementKind,
        key: &str,
        items: &DeArray<'_>,
        container: usize,
    ) -> Vec<LayoutElement> {
        let mut out = Vec::with_capacity(items.len());
        for item in items.iter() {
            let DeValue::String(written) = item.get_ref() else { continue };
            let read = match (kind, key) {
                (ElementKind::Groups, _) | (_, "hosts") => parse_address_item(written),
                (_, "ports") => parse_port_item(written),
                _ => None,
            };
            // What cannot be read was refused before; as a text it would be lost by nobody.
            let text = || (RuleOrder::Text(written.to_string()), quote_basic_string(written));
            let (order, text) = read.unwrap_or_else(text);
            let slot = self.slot();
            let anchor = CommentAnchor { span: item.span(), slot, section, opens: false };
            self.containers[container].anchors.push(anchor);
            out.push(LayoutElement { order, text, slot });
        }
        out
    }

    /// Gives every comment to what it stands at.
    fn attach(&mut self) {
        self.statements.sort_by_key(|a| a.span.start);
        self.containers.sort_by_key(|c| c.span.start);
        // Parents are before their children in both orders, since brackets nest.
        let mut open: Vec<usize> = Vec::new();
        for i in 0..self.containers.len() {
            let start = self.containers[i].span.start;
            while open.last().is_some_and(|o| self.containers[*o].span.end <= start) {
                open.pop();
            }
            self.containers[i].parent = open.last().copied();
            open.push(i);
        }
        let mut between: Vec<CommentText<'_>> = Vec::new();
        let mut last = None;
        for comment in find_comments(self.text) {
            if let Some(container) = self.container_of(comment.at) {
                self.inside(container, &comment);
                continue;
            }
            let next = self.statements.partition_point(|a| a.span.start <= comment.at);
            let prev = next.checked_sub(1);
            if last != prev {
                self.between(last, &std::mem::take(&mut between));
                last = prev;
            }
            match prev {
                Some(p) if self.same_line(self.statements[p].span.end, comment.at) => {
                    let slot = self.statements[p].slot;
                    self.layout.notes[slot].behind.push(comment.text.to_owned());
                }
                _ => between.push(comment),
            }
        }
        self.between(last, &between);
        self.arrays_of_rules();
    }

    fn same_line(&self, from: usize, to: usize) -> bool {
        !self.text.get(from..to).unwrap_or_default().contains('\n')
    }

    /// The innermost brackets around a place.
    fn container_of(&self, at: usize) -> Option<usize> {
        let mut i = self.containers.partition_point(|c| c.span.start <= at).checked_sub(1)?;
        while self.containers[i].span.end <= at {
            i = self.containers[i].parent?;
        }
        Some(i)
    }

    fn inside(&mut self, container: usize, comment: &CommentText<'_>) {
        let c = &self.containers[container];
        let next = c.anchors.partition_point(|a| a.span.start <= comment.at);
        let prev = next.checked_sub(1).map(|p| &c.anchors[p]);
        let behind = prev.filter(|p| self.same_line(p.span.end, comment.at)).map(|p| p.slot);
        let opening = prev.is_none() && self.same_line(c.span.start, comment.at);
        let (slot, below) = (c.slot, c.anchors.get(next).map(|a| a.slot));
        let notes = &mut self.layout.notes;
        let to = match (behind, below) {
            (Some(slot), _) => &mut notes[slot].behind,
            (None, _) if opening => &mut notes[slot].open,
            (None, Some(slot)) => &mut notes[slot].above,
            (None, None) => &mut notes[slot].below,
        };
        to.push(comment.text.to_owned());
    }

    /// Comments on lines of their own, between the statement `prev` and the one after it.
    fn between(&mut self, prev: Option<usize>, comments: &[CommentText<'_>]) {
        let Some(first) = comments.first() else { return };
        let mut at = first.at;
        let mut blocks: Vec<Vec<String>> = Vec::new();
        for c in comments {
            let lines = self.text[at..c.at].bytes().filter(|b| *b == b'\n').count();
            if lines > 1 || blocks.is_empty() {
                blocks.push(Vec::new());
            }
            at = c.at;
            if let Some(block) = blocks.last_mut() {
                block.push(c.text.to_owned());
            }
        }
        let newlines = |range: Range<usize>| {
            self.text.get(range).unwrap_or_default().bytes().filter(|b| *b == b'\n').count()
        };
        let before = prev.map(|p| &self.statements[p]);
        let next = self.statements.get(prev.map_or(0, |p| p + 1));
        let touches_prev = before.is_some_and(|p| newlines(p.span.end..first.at) == 1);
        let touches_next = next.is_some_and(|n| newlines(at..n.span.start) == 1);
        let (prev_section, next_slot) = (before.map(|p| p.section), next.map(|n| n.slot));
        if let (Some(p), Some(n)) = (before, next)
            && p.section == n.section
            && !n.opens
        {
            self.layout.notes[n.slot].above.extend(blocks.into_iter().flatten());
            return;
        }
        if touches_prev
            && (blocks.len() > 1 || !touches_next)
            && let Some(section) = prev_section
        {
            let slot = self.layout.sections[section].slot;
            self.layout.notes[slot].below.extend(blocks.remove(0));
        }
        let first_is_version = next.is_some_and(|n| {
            self.layout.sections[0].entries.iter().any(|e| e.slot == n.slot && e.key == "version")
        });
        let Some(slot) = next_slot else {
            return join(&mut self.layout.end, blocks);
        };
        let attached = if touches_next { blocks.pop() } else { None };
        if prev.is_none() {
            join(&mut self.layout.head, blocks);
            let Some(mut attached) = attached else { return };
            if !first_is_version {
                // A directive for editors is about the file, whatever key it stands above.
                let n = attached.iter().take_while(|l| l.starts_with("#:")).count();
                join(&mut self.layout.head, vec![attached.drain(..n).collect()]);
            }
            self.layout.notes[slot].above.extend(attached);
            return;
        }
        let above = &mut self.layout.notes[slot].above;
        for block in blocks {
            above.extend(block);
            above.push(String::new());
        }
        above.extend(attached.unwrap_or_default());
    }

    /// What stands at an array of rules goes to its first and its last rule.
    fn arrays_of_rules(&mut self) {
        for c in &self.containers {
            if !c.of_rules {
                continue;
            }
            let mut notes = std::mem::take(&mut self.layout.notes[c.slot]);
            let (Some(first), Some(last)) = (c.anchors.first(), c.anchors.last()) else {
                let own = [notes.above, notes.behind, notes.open, notes.below];
                let lines: Vec<String> =
                    own.into_iter().flatten().filter(|l| !l.is_empty()).collect();
                join(&mut self.layout.end, vec![lines]);
                continue;
            };
            notes.above.append(&mut notes.behind);
            notes.above.append(&mut notes.open);
            let above = &mut self.layout.notes[first.slot].above;
            above.splice(0..0, notes.above);
            self.layout.notes[last.slot].below.append(&mut notes.below);
        }
    }
}

/// Adds blocks with an empty line between them.
fn join(to: &mut Vec<String>, blocks: Vec<Vec<String>>) {
    for block in blocks.into_iter().filter(|b| !b.is_empty()) {
        if !to.is_empty() {
            to.push(String::new());
        }
        to.extend(block);
    }
}

/// The keys of a table in the order in which they are written.
fn sort_fields<'t, 'i>(table: &'t DeTable<'i>) -> Vec<LayoutField<'t, 'i>> {
    let mut fields: Vec<LayoutField<'t, 'i>> = table.iter().collect();
    fields.sort_by_key(|(key, _)| key.span().start);
    fields
}

/// By what an item is sorted, and how it is written.
type ReadLayout = Option<(RuleOrder, String)>;

fn parse_address_item(written: &str) -> ReadLayout {
    let range: AddrRange = written.parse().ok()?;
    Some((compute_address_order(&range), quote_basic_string(&range.to_string())))
}

/// Numerically, IPv4 first; of two that begin alike the larger one first.
pub(super) fn compute_address_order(range: &AddrRange) -> RuleOrder {
    let bits = |ip| match ip {
        std::net::IpAddr::V4(a) => u128::from(a.to_bits()),
        std::net::IpAddr::V6(a) => a.to_bits(),
    };
    RuleOrder::Addr(range.first().is_ipv6(), bits(range.first()), u128::MAX - bits(range.last()))
}

fn parse_port_item(written: &str) -> ReadLayout {
    let (proto, (first, last)) = parse_port(written).ok()?;
    let text = if first == last {
        format!("\"{proto}/{first}\"")
    } else {
        format!("\"{proto}/{first}-{last}\"")
    };
    Some((RuleOrder::Port(proto, first, last), text))
}
