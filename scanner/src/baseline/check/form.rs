//! The forms for programs: JSON, SARIF 2.1.0, workflow commands of GitHub Actions.

use std::fmt::Write as _;

use anyhow::Result;
use mimawari_drift::lint::{Lint, rules};
use mimawari_report::SarifLog;
use mimawari_targets::text::{escape_json, to_printable};
use serde_json::{Value, json};

/// An array with one object for each message.
pub(super) fn render_json(all: &[Lint], level: impl Fn(&Lint) -> &'static str) -> Result<String> {
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
    to_json_text(&Value::Array(list))
}

/// SARIF 2.1.0: one run, with every rule of the lint.
pub(super) fn render_sarif(all: &[Lint], level: impl Fn(&Lint) -> &'static str) -> String {
    let rules: Vec<Value> = rules::list_lint_rules()
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
    let index = |l: &Lint| rules::list_lint_rules().position(|r| r.id == l.rule.id);
    let results: Vec<Value> = all
        .iter()
        .map(|l| {
            json!({
                "ruleId": l.rule.id,
                "ruleIndex": index(l),
                "level": level(l),
                "message": { "text": format_message(l) },
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {
                            "uri": encode_uri_path(l.diagnostic.source.name()),
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
    SarifLog { tool: "mimawari baseline check", rules, results, ..SarifLog::default() }.write()
}

/// One workflow command a line ("Workflow commands for GitHub Actions", GitHub Docs). GitHub shows
/// ten of each level a step; the log has all.
pub(super) fn render_github(all: &[Lint], level: impl Fn(&Lint) -> &'static str) -> String {
    let mut out = String::new();
    for l in all {
        let (start, end) = (l.start, l.end);
        let _ = write!(
            out,
            "::{} file={},line={},endLine={}",
            level(l),
            escape_property(l.diagnostic.source.name()),
            start.line,
            end.line
        );
        // Columns are for annotations of one line.
        if start.line == end.line && start != end {
            let _ = write!(out, ",col={},endColumn={}", start.column, end.column);
        }
        let _ = writeln!(
            out,
            ",title={}::{}",
            escape_property(l.rule.id),
            escape_data(&format_message(l))
        );
    }
    out
}

fn format_message(l: &Lint) -> String {
    match &l.diagnostic.help {
        Some(help) => format!("{}\nhelp: {help}", l.diagnostic.title),
        None => l.diagnostic.title.clone(),
    }
}

/// As the toolkit of GitHub Actions escapes messages; of other control characters none is left.
fn escape_data(s: &str) -> String {
    let lines: Vec<String> = s.lines().map(|l| to_printable(l.as_bytes(), usize::MAX)).collect();
    lines.join("\n").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As it escapes properties.
fn escape_property(s: &str) -> String {
    escape_data(&s.replace(['\n', '\r'], " ")).replace(':', "%3A").replace(',', "%2C")
}

/// A relative reference (RFC 3986, section 4.2): what may not stand in a part of a path is escaped.
fn encode_uri_path(path: &str) -> String {
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

fn to_json_text(value: &Value) -> Result<String> {
    Ok(escape_json(&serde_json::to_string_pretty(value)?) + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_a_workflow_command() {
        assert_eq!(escape_data("100 %\r\n::error::x\u{1b}[31m"), "100 %25%0A::error::x[31m");
        assert_eq!(escape_property("a:b,c%\n::x"), "a%3Ab%2Cc%25 %3A%3Ax");
    }

    #[test]
    fn a_uri_is_escaped() {
        assert_eq!(encode_uri_path("baseline/my team%.toml"), "baseline/my%20team%25.toml");
        assert_eq!(encode_uri_path("基/a:b.toml"), "%E5%9F%BA/a%3Ab.toml");
    }
}
