//! `docs/configuration.md` from the structures that `patrol.toml` is read into: their fields, types and comments.

use std::fmt::Write as _;
use std::fs;

use super::root;

/// Sections in the order of the document: heading, file of the structure, its name.
const SECTIONS: [(&str, &str, &str); 8] = [
    ("Top level", "scanner/src/config/file.rs", "ConfigDocument"),
    ("`[scope]`", "scanner/src/config/file.rs", "ScopeSection"),
    ("`[scan]`", "scanner/src/config/file.rs", "ScanSection"),
    ("`[http]`", "scanner/src/config/file.rs", "HttpSection"),
    ("`[baseline]`", "scanner/src/config/file.rs", "BaselineSection"),
    ("`[state]`", "scanner/src/config/file.rs", "StateSection"),
    ("`[rounds]`", "scanner/src/config/file.rs", "RoundsSection"),
    ("`[output]`", "scanner/src/config/file.rs", "OutputSection"),
];

/// One field of a structure.
struct KeyField {
    name: String,
    kind: String,
    comment: String,
    has_default: bool,
}

/// The comment of a structure and its fields.
fn read_structure(source: &str, name: &str) -> (String, Vec<KeyField>) {
    let head = format!("pub(super) struct {name} {{\n");
    let (before, after) = source.split_once(&head).unwrap_or_else(|| panic!("no {name}"));
    let (body, _) = after.split_once("\n}\n").expect("its end");
    let comment: Vec<&str> = before
        .lines()
        .rev()
        .take_while(|l| l.starts_with("#[") || l.starts_with("///"))
        .filter_map(|l| l.strip_prefix("/// "))
        .collect();
    let comment = comment.into_iter().rev().collect::<Vec<_>>().join(" ");
    let (mut fields, mut comments, mut has_default) = (Vec::new(), Vec::new(), false);
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            comments.push(text);
        } else if line.starts_with("#[serde(default") {
            has_default = true;
        } else if let Some((name, kind)) =
            line.strip_suffix(',').and_then(|l| l.trim_start_matches("pub ").split_once(": "))
        {
            fields.push(KeyField {
                name: name.to_owned(),
                kind: kind.to_owned(),
                comment: std::mem::take(&mut comments).join(" "),
                has_default: std::mem::take(&mut has_default),
            });
        }
    }
    (comment, fields)
}

/// What a Rust type is in TOML; `None` for a section of its own.
fn toml_kind(kind: &str) -> Option<&'static str> {
    let inner = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>');
    if let Some(kind) = inner("Option<").or_else(|| inner("Spanned<")) {
        return toml_kind(kind);
    }
    match kind {
        "String" | "ScanMethod" => Some("text"),
        "bool" => Some("true or false"),
        "f64" | "u8" | "u16" | "u32" | "i64" | "usize" => Some("number"),
        "RateSetting" => Some("number or text"),
        _ if kind.starts_with("Vec<mimawari_notify::") => None,
        _ if kind.starts_with("Vec<") => Some("list of texts"),
        _ => None,
    }
}

fn document() -> String {
    let mut text = String::from(
        "# Every key of `patrol.toml`\n\n\
         Generated from the structures that the file is read into: `just schemas` writes it. An unknown key is an error. A \
         flag wins over the environment (`MIMAWARI_*`), and the environment over the file; `mimawari scan --help` names both. \
         Only `version` and `[scope]` are required.\n",
    );
    for (heading, file, name) in SECTIONS {
        let source = fs::read_to_string(root().join(file)).expect(file);
        let (comment, fields) = read_structure(&source, name);
        write!(text, "\n## {heading}\n\n").expect("a string");
        if !comment.is_empty() {
            writeln!(text, "{comment}\n").expect("a string");
        }
        text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        for field in fields {
            let Some(kind) = toml_kind(&field.kind) else { continue };
            assert!(
                !field.comment.is_empty(),
                "{file}: `{}` of `{name}` has no comment",
                field.name
            );
            let (meaning, default) = match field.comment.split_once(" Default: ") {
                Some((meaning, default)) => (meaning, default.trim_end_matches('.')),
                None if field.has_default || field.kind.starts_with("Option<") => {
                    (field.comment.as_str(), "–")
                }
                None => (field.comment.as_str(), "required"),
            };
            writeln!(text, "| `{}` | {kind} | {default} | {meaning} |", field.name)
                .expect("a string");
        }
    }
    text.push_str(
        "\n## `[[notify]]`\n\nWho is notified. A table for each receiver; its kind says which keys it may have.\n",
    );
    notifier_keys(&mut text, &mimawari_notify::configured::COMMON_KEYS);
    for kind in mimawari_notify::KINDS {
        write!(text, "\n### `kind = \"{}\"`\n", kind.word).expect("a string");
        notifier_keys(&mut text, kind.keys);
        if !kind.delivery.is_figure {
            let doubt = kind.delivery.when_in_doubt;
            write!(text, "\nIf an answer is lost, {doubt}.\n").expect("a string");
        }
    }
    text
}

/// A table of a notifier's keys.
fn notifier_keys(text: &mut String, keys: &[mimawari_notify::notifier::NotifierKey]) {
    text.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
    for k in keys {
        writeln!(text, "| `{}` | {} | {} | {} |", k.name, k.kind, k.default, k.meaning)
            .expect("a string");
    }
}

#[test]
fn the_reference_of_the_configuration_is_the_generated_one() {
    // To renew: MIMAWARI_BLESS=1 cargo test -p mimawari-tests --test pure laws::
    let path = root().join("docs/configuration.md");
    let generated = document();
    if std::env::var_os("MIMAWARI_BLESS").is_some() {
        fs::write(&path, &generated).expect("writing the reference");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/configuration.md is stale: MIMAWARI_BLESS=1 cargo test -p mimawari-tests --test pure laws::"
    );
}

/// A section that the table above forgets would be in no document.
#[test]
fn every_section_of_the_configuration_is_in_the_reference() {
    let source = fs::read_to_string(root().join("scanner/src/config/file.rs")).expect("it");
    let (_, fields) = read_structure(&source, "ConfigDocument");
    let sections = fields.iter().filter(|f| toml_kind(&f.kind).is_none());
    for field in sections.filter(|f| f.name != "notify") {
        let named = [format!("`[{}]`", field.name), format!("`[[{}]]`", field.name)];
        assert!(
            SECTIONS.iter().any(|(heading, ..)| named.iter().any(|n| n == heading)),
            "{named:?}"
        );
    }
}
