//! The forms for programs: JSON, SARIF 2.1.0, workflow commands of GitHub Actions.

use std::fmt::Write as _;

use anyhow::Result;
use mimawari_drift::lint::{Lint, rules};
use mimawari_probes::http::printable;
use serde_json::{Value, json};

/// An array with one object for each message.
pub(super) fn json(all: &[Lint], level: impl Fn(&Lint) -> &'static str) -> Result<String> {
    let list: Vec<Value> = all
        .iter()
        .map(|l| {
            json!({
                "rule": l.rule.id,
                "level": level(l),
                "file": l.diagnostic.source.name(),
                "line": l.start.line,
                "column": l.start.column,
                "end": { "line": l.end.line, "column": l.end.column },
                "id": l.rule_id,
                "message": l.diagnostic.title,
                "help": l.diagnostic.help,
            })
        })
        .collect();
    written(&Value::Array(list))
}

/// SARIF 2.1.0 (OASIS standard of 27 March 2020): one run, with every rule that can be told.
pub(super) fn sarif(all: &[Lint], level: impl Fn(&Lint) -> &'static str) -> Result<String> {
    let rules: Vec<Value> = rules::all()
        .map(|r| {
            json!({
                "id": r.id,
                "shortDescription": { "text": r.title },
                "fullDescription": { "text": r.page.replace('\n', " ") },
                "help": { "text": r.explained() },
                "defaultConfiguration": { "level": r.level() },
            })
        })
        .collect();
    let index = |l: &Lint| rules::all().position(|r| r.id == l.rule.id);
    let results: Vec<Value> = all
        .iter()
        .map(|l| {
            json!({
                "ruleId": l.rule.id,
                "ruleIndex": index(l),
                "level": level(l),
                "message": { "text": message(l) },
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {
                            "uri": uri(l.diagnostic.source.name()),
                            "uriBaseId": "%SRCROOT%",
                        },
                        "region": {
                            "startLine": l.start.line,
                            "startColumn": l.start.column,
                            "endLine": l.end.line,
                            "endColumn": l.end.column,
                        },
                    },
                }],
            })
        })
        .collect();
    written(&json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mimawari baseline check",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

/// One workflow command a line ("Workflow commands for GitHub Actions", GitHub Docs). GitHub shows
/// ten of each level a step; the log has all.
pub(super) fn github(all: &[Lint], level: impl Fn(&Lint) -> &'static str) -> String {
    let mut out = String::new();
    for l in all {
        let (start, end) = (l.start, l.end);
        let _ = write!(
            out,
            "::{} file={},line={},endLine={}",
            level(l),
            property(l.diagnostic.source.name()),
            start.line,
            end.line
        );
        // Columns are for annotations of one line.
        if start.line == end.line && start != end {
            let _ = write!(out, ",col={},endColumn={}", start.column, end.column);
        }
        let _ = writeln!(out, ",title={}::{}", property(l.rule.id), data(&message(l)));
    }
    out
}

fn message(l: &Lint) -> String {
    match &l.diagnostic.help {
        Some(help) => format!("{}\nhelp: {help}", l.diagnostic.title),
        None => l.diagnostic.title.clone(),
    }
}

/// As the toolkit of GitHub Actions escapes messages; of other control characters none is left.
fn data(s: &str) -> String {
    let lines: Vec<String> = s.lines().map(|l| printable(l.as_bytes(), usize::MAX)).collect();
    lines.join("\n").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As it escapes properties.
fn property(s: &str) -> String {
    data(&s.replace(['\n', '\r'], " ")).replace(':', "%3A").replace(',', "%2C")
}

/// A relative reference (RFC 3986, section 4.2): what may not stand in a part of a path is escaped.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// JSON in which every character that a terminal may obey is escaped.
fn written(value: &Value) -> Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        let mut bytes = [0; 4];
        let seen = c.is_ascii_graphic()
            || matches!(c, ' ' | '\n')
            || printable(c.encode_utf8(&mut bytes).as_bytes(), 1).starts_with(c);
        if seen {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push('\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_a_workflow_command() {
        assert_eq!(data("100 %\r\n::error::x\u{1b}[31m"), "100 %25%0A::error::x[31m");
        assert_eq!(property("a:b,c%\n::x"), "a%3Ab%2Cc%25 %3A%3Ax");
    }

    #[test]
    fn a_uri_is_escaped() {
        assert_eq!(uri("baseline/my team%.toml"), "baseline/my%20team%25.toml");
        assert_eq!(uri("基/a:b.toml"), "%E5%9F%BA/a%3Ab.toml");
    }

    #[test]
    fn json_is_inert() {
        let text = written(&json!(["\u{1b}[31m", "\u{9b}", "\u{202e}", "日本", "\u{e0001}"]))
            .expect("JSON");
        assert!(
            text.chars().all(|c| c == '\n' || !printable(c.to_string().as_bytes(), 1).is_empty())
        );
        assert!(text.contains("日本"));
        let back: Vec<String> = serde_json::from_str(&text).expect("JSON");
        assert_eq!(back[2], "\u{202e}");
        assert_eq!(back[4], "\u{e0001}");
    }
}
