//! The canonical form of a baseline file.

use std::fmt::Write as _;

use mimawari_targets::diagnostic::{Diagnostic, DiagnosticList, TextSource};

use super::comments::find_comments;
use super::layout::{
    ElementKind, FileLayout, LayoutElement, LayoutEntry, LayoutNotes, LayoutSection, LineContent,
};
use super::words::quote_key;

/// Columns that a list may fill before it is written one item a line.
const WIDTH: usize = 100;
/// The order of keys; others come behind, as they were written.
const KEYS: &[&str] = &[
    "version", "owner", "id", "group", "hosts", "ports", "checks", "paths", "names", "vantages",
    "expect", "at_least", "broad", "reason", "expires",
];

/// The canonical form of a baseline file: groups, then rules in the order that people chose, since what
/// stands together belongs together; keys in one order; addresses and ports sorted as numbers and each
/// once; one empty line between tables. Every comment stays with what it stands at. Formatting twice
/// gives what formatting once gives, and the rules mean the same.
///
/// # Errors
/// What keeps the text from being read, with the line. Rules that `baseline check` refuses for
/// other reasons (an empty reason, an unknown group) are formatted.
pub fn format(text: &str) -> Result<String, DiagnosticList> {
    format_named("baseline", text)
}

/// [`format()`], with the name of the file for messages.
///
/// # Errors
/// See [`format()`].
pub fn format_named(name: &str, text: &str) -> Result<String, DiagnosticList> {
    let source = TextSource::new(name, text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut layout = FileLayout::read(&source)?;
    for section in &mut layout.sections {
        for entry in &mut section.entries {
            if let LineContent::List(items) = &mut entry.content {
                sort(items, &mut layout.notes);
            }
        }
        let place = |e: &LayoutEntry| KEYS.iter().position(|k| *k == e.key).unwrap_or(KEYS.len());
        if section.kind != ElementKind::Groups {
            section.entries.sort_by_key(place);
        }
    }
    let mut sections: Vec<&LayoutSection> = layout.sections.iter().collect();
    // Rules of both kinds stay among each other, where they were written so.
    sections.sort_by_key(|s| (rank_kind(s.kind), s.start));
    let mut out = String::with_capacity(text.len() + 256);
    push_lines(&mut out, &layout.head);
    for section in sections {
        if section.kind == ElementKind::Top {
            if !layout.head.is_empty() {
                out.push('\n');
            }
        } else {
            out.push('\n');
        }
        print(&mut out, section, &layout.notes);
    }
    if !layout.end.is_empty() {
        out.push('\n');
        push_lines(&mut out, &layout.end);
    }
    if collect_comment_texts(source.text()) != collect_comment_texts(&out) {
        // No form is known that leads here; a lost comment would be worse than an unsorted file.
        return Err(Diagnostic::error("a comment of this file cannot be kept", &source, 0..0)
            .help("write each rule as a table of its own, with its comment above it")
            .into());
    }
    Ok(out)
}

fn collect_comment_texts(text: &str) -> Vec<&str> {
    let mut all: Vec<&str> = find_comments(text).into_iter().map(|c| c.text).collect();
    all.sort_unstable();
    all
}

const fn rank_kind(kind: ElementKind) -> u8 {
    match kind {
        ElementKind::Top => 0,
        ElementKind::Groups => 1,
        ElementKind::Allow | ElementKind::AllowHttp => 2,
    }
}

/// Sorts a list and drops what is there twice; the comments of both stay.
fn sort(items: &mut Vec<LayoutElement>, notes: &mut [LayoutNotes]) {
    items.sort_by(|a, b| a.order.cmp(&b.order));
    items.dedup_by(|later, first| {
        let same = later.order == first.order;
        if same {
            let moved = std::mem::take(&mut notes[later.slot]);
            notes[first.slot].above.extend(moved.above);
            notes[first.slot].behind.extend(moved.behind);
        }
        same
    });
}

fn push_lines(out: &mut String, lines: &[String]) {
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
}

fn print(out: &mut String, section: &LayoutSection, notes: &[LayoutNotes]) {
    let own = &notes[section.slot];
    if section.kind != ElementKind::Top {
        push_lines(out, &own.above);
        // One comment fits behind the header; more of them can come from an inline table.
        let behind: Vec<&String> = own.behind.iter().chain(&own.open).collect();
        for extra in behind.iter().skip(1) {
            let _ = writeln!(out, "{extra}");
        }
        out.push_str(match section.kind {
            ElementKind::Groups => "[groups]",
            ElementKind::AllowHttp => "[[allow_http]]",
            _ => "[[allow]]",
        });
        if let Some(behind) = behind.first() {
            let _ = write!(out, " {behind}");
        }
        out.push('\n');
    }
    for entry in &section.entries {
        print_entry(out, entry, notes);
    }
    push_lines(out, &own.below);
}

fn print_entry(out: &mut String, entry: &LayoutEntry, notes: &[LayoutNotes]) {
    let own = &notes[entry.slot];
    for line in own.above.iter().chain(own.behind.iter().skip(1)) {
        if !line.is_empty() {
            let _ = writeln!(out, "{line}");
        }
    }
    let _ = write!(out, "{} = ", quote_key(&entry.key));
    match &entry.content {
        LineContent::Scalar(text) => out.push_str(text),
        LineContent::List(items) => print_list(out, &entry.key, items, own, notes),
    }
    if let Some(behind) = own.behind.first() {
        let _ = write!(out, " {behind}");
    }
    out.push('\n');
}

fn print_list(
    out: &mut String,
    name: &str,
    items: &[LayoutElement],
    own: &LayoutNotes,
    notes: &[LayoutNotes],
) {
    let bare =
        |e: &LayoutElement| notes[e.slot].above.is_empty() && notes[e.slot].behind.is_empty();
    if own.open.is_empty() && own.below.is_empty() && items.iter().all(bare) {
        let texts: Vec<&str> = items.iter().map(|i| i.text.as_str()).collect();
        let one = std::format!("[{}]", texts.join(", "));
        if quote_key(name).chars().count() + 3 + one.chars().count() <= WIDTH || items.is_empty() {
            out.push_str(&one);
            return;
        }
    }
    out.push('[');
    if let Some(open) = own.open.first() {
        let _ = write!(out, " {open}");
    }
    out.push('\n');
    let indented = |out: &mut String, lines: &[String]| {
        for line in lines.iter().filter(|l| !l.is_empty()) {
            let _ = writeln!(out, "    {line}");
        }
    };
    indented(out, own.open.get(1..).unwrap_or_default());
    for item in items {
        let of = &notes[item.slot];
        indented(out, &of.above);
        indented(out, of.behind.get(1..).unwrap_or_default());
        let _ = write!(out, "    {},", item.text);
        if let Some(behind) = of.behind.first() {
            let _ = write!(out, " {behind}");
        }
        out.push('\n');
    }
    indented(out, &own.below);
    out.push(']');
}

#[cfg(test)]
#[path = "format_tests.rs"]
pub(in crate::edit) mod tests;
