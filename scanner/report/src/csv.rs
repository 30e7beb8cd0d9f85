//! The findings as CSV, for spreadsheets and data bases.

use mimawari_drift::verdict::{Finding, Verdict};

use crate::clean::clean;
use crate::words::{self, SENTENCE};

/// Longest cell, in characters: longer than any path that a check asks for.
const CELL: usize = 2_048;

const HEADER: [&str; 25] = [
    "id",
    "state",
    "severity",
    "kind",
    "cause",
    "new",
    "flapping",
    "reopened",
    "vantage",
    "proto",
    "ip",
    "port",
    "scheme",
    "host",
    "path",
    "check",
    "title",
    "owner",
    "allowed_by",
    "first_seen",
    "last_seen",
    "service",
    "why",
    "remedy",
    "pool",
];

/// One line a finding, in the verdict's order, below a header (RFC 4180): comma, CRLF, UTF-8 without
/// a byte order mark. An absent value is an empty cell.
///
/// All findings of the verdict are there, settled ones too; the column `state` distinguishes them. A
/// cell that a spreadsheet would take for a formula begins with an apostrophe, which spreadsheets take for
/// "this is text".
#[must_use]
pub fn render_csv(verdict: &Verdict) -> String {
    let mut out = HEADER.join(",");
    out.push_str("\r\n");
    for f in &verdict.findings {
        for (i, value) in build_row(f).iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            push_cell(&mut out, value);
        }
        out.push_str("\r\n");
    }
    out
}

fn build_row(f: &Finding) -> [String; HEADER.len()] {
    let text = |s: &Option<String>| s.clone().unwrap_or_default();
    [
        f.id.clone(),
        f.state.as_str().to_owned(),
        f.severity.as_str().to_owned(),
        f.kind.as_str().to_owned(),
        format_cause(f),
        f.new.to_string(),
        f.flapping.to_string(),
        f.reopened.to_string(),
        f.vantage.clone(),
        f.proto.to_string(),
        f.ip.to_string(),
        f.port.map(|p| p.to_string()).unwrap_or_default(),
        f.scheme.map(|s| s.as_str().to_owned()).unwrap_or_default(),
        text(&f.host),
        text(&f.path),
        text(&f.check),
        text(&f.title),
        text(&f.owner),
        text(&f.allowed_by),
        f.first_seen.to_string(),
        f.last_seen.to_string(),
        text(&f.service),
        clean(&f.why, SENTENCE),
        text(&f.remedy),
        f.pool
            .as_ref()
            .map(|p| {
                format!("{}: {}", words::format_pool_requirement(p), words::format_pool_ranges(p))
            })
            .unwrap_or_default(),
    ]
}

/// The cause, as in `verdict.json`.
fn format_cause(f: &Finding) -> String {
    use mimawari_drift::verdict::FindingCause;
    match f.cause {
        FindingCause::Unmatched => "unmatched",
        FindingCause::FirstLook => "first_look",
        FindingCause::Expired => "expired",
        FindingCause::Removed => "removed",
        FindingCause::Forbidden => "forbidden",
        FindingCause::Required => "required",
    }
    .to_owned()
}

/// Whether a spreadsheet reads a cell that begins so as a formula. Full-width forms count: some
/// programs fold them.
const fn begins_formula(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '＝' | '＋' | '－' | '＠')
}

fn push_cell(out: &mut String, value: &str) {
    let value = clean(value, CELL);
    let mut cell = String::with_capacity(value.len() + 1);
    // Where the semicolon is the separator of lists, a cell may begin behind each one.
    let mut at_begin = true;
    for c in value.chars() {
        if at_begin && begins_formula(c) {
            cell.push('\'');
        }
        at_begin = c == ';' || (at_begin && matches!(c, ' ' | '"'));
        if c == '"' {
            cell.push('"');
        }
        cell.push(c);
    }
    if cell.contains([',', '"', ';', ' ']) {
        out.push('"');
        out.push_str(&cell);
        out.push('"');
    } else {
        out.push_str(&cell);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clean::is_hostile;
    use crate::samples;

    /// A reader by the grammar of RFC 4180.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
        let mut chars = text.chars().peekable();
        let mut quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    cell.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut cell)),
                '\r' if !quoted => {
                    assert_eq!(chars.next(), Some('\n'));
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                c => cell.push(c),
            }
        }
        assert!(cell.is_empty() && row.is_empty() && !quoted);
        rows
    }

    #[test]
    fn every_finding_is_a_line_of_all_columns() {
        for v in samples::all() {
            let rows = parse(&render_csv(&v));
            assert_eq!(rows.len(), v.findings.len() + 1);
            assert!(rows.iter().all(|r| r.len() == HEADER.len()));
        }
        insta::assert_snapshot!("csv_drift", render_csv(&samples::drift()).replace("\r\n", "\n"));
    }

    #[test]
    fn nothing_is_a_formula_and_nothing_acts() {
        let mut v = samples::hostile();
        let f = v.findings[0].clone();
        for evil in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            " =1",
            "\"=1",
            "a;=1",
            "a; -1",
            "＝1",
            "=HYPERLINK(\"https://evil.example\",\"x\")",
        ] {
            v.findings.push(Finding { service: Some(evil.to_owned()), ..f.clone() });
        }
        let text = render_csv(&v);
        assert!(!text.chars().any(|c| !matches!(c, '\r' | '\n') && is_hostile(c)));
        for cell in parse(&text).into_iter().flatten() {
            for part in cell.split(';') {
                let first = part.trim_start_matches([' ', '"']).chars().next();
                assert!(!first.is_some_and(begins_formula), "{cell:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_cell_reads_back(value in ".{0,40}") {
            let mut text = String::new();
            push_cell(&mut text, &value);
            let rows = parse(&format!("{text}\r\n"));
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!(rows[0].len(), 1);
            prop_assert_eq!(rows[0][0].replace('\'', ""), clean(&value, CELL).replace('\'', ""));
        }
    }
}
