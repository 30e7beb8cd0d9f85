//! The findings as SARIF 2.1.0 (OASIS), for services that keep alerts.

use std::collections::BTreeMap;

use mimawari_drift::verdict::{Finding, FindingKind, FindingState, Verdict};
use mimawari_probes::observation::Severity;
use serde_json::{Value, json};

use crate::clean::clean;
use crate::sarif_log::SarifLog;
use crate::words::{self, NAME, SENTENCE};

/// Why a verdict is not written as SARIF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SarifRefused {
    /// Whether it is suspect; else it is incomplete.
    pub suspect: bool,
    /// The first reason that the verdict gives, clean.
    pub because: String,
}

/// The findings that count, and those that left the scope, as one SARIF run.
///
/// A service that keeps alerts closes those that a later file does not name. A finding is therefore
/// left out only if it was seen to be settled, or a rule allows it.
///
/// # Errors
/// [`SarifRefused`] for an incomplete or suspect verdict: what such a run did not see would be closed
/// as if it were gone.
pub fn render_sarif(verdict: &Verdict) -> Result<String, SarifRefused> {
    if verdict.incomplete || verdict.suspect {
        let first = verdict.incomplete_because.first();
        return Err(SarifRefused {
            suspect: verdict.suspect,
            because: first.map_or_else(String::new, |s| clean(s, SENTENCE)),
        });
    }
    let listed: Vec<&Finding> = verdict
        .findings
        .iter()
        .filter(|f| f.state.is_drift() || f.state == FindingState::OutOfScope)
        .collect();
    let mut worst: BTreeMap<String, &Finding> = BTreeMap::new();
    for f in &listed {
        let of_rule = worst.entry(build_rule_id(f)).or_insert(f);
        if f.severity > of_rule.severity {
            *of_rule = f;
        }
    }
    let rules: Vec<Value> = worst.iter().map(|(id, f)| build_rule(id, f)).collect();
    let index: BTreeMap<&str, usize> =
        worst.keys().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let results: Vec<Value> = listed
        .iter()
        .map(|f| {
            let id = build_rule_id(f);
            let at = index.get(id.as_str()).copied().unwrap_or_default();
            build_result(f, &id, at)
        })
        .collect();
    let run = json!({
        // Alerts of one vantage point must not be closed by the file of another.
        "automationDetails": {
            "id": format!("mimawari/{}/{}", encode_segment(&verdict.run.vantage), encode_segment(&verdict.run_id)),
        },
        "invocations": [build_invocation(verdict)],
        "properties": {
            "cellsPlanned": verdict.coverage.cells_planned,
            "cellsCovered": verdict.coverage.cells_covered,
            "authorisedBy": clean(&verdict.run.authorised_by, NAME),
            "baselineDigest": clean(&verdict.baseline_digest, NAME),
        },
    });
    let run = run.as_object().cloned().unwrap_or_default();
    Ok(SarifLog { tool: "mimawari", rules, results, run }.write())
}

fn build_invocation(v: &Verdict) -> Value {
    let mut all = json!({ "executionSuccessful": true });
    for (key, at) in [("startTimeUtc", v.run.started_at), ("endTimeUtc", v.run.ended_at)] {
        if let Some(at) = at {
            // SARIF 2.1.0, section 3.9: RFC 3339 with `T` and `Z`.
            all[key] = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        }
    }
    all
}

/// The kind, and for content the check: what a reader would mute as one.
fn build_rule_id(f: &Finding) -> String {
    match &f.check {
        Some(check) if f.kind.is_content() => {
            format!("{}/{}", f.kind.as_str(), encode_segment(check))
        }
        _ => f.kind.as_str().to_owned(),
    }
}

fn build_rule(id: &str, worst: &Finding) -> Value {
    let (why, remedy) = explain_kind(worst.kind);
    let title = worst.title.as_deref().map(|t| clean(t, SENTENCE)).filter(|t| !t.is_empty());
    let remedy = worst
        .remedy
        .as_deref()
        .map(|r| clean(r, SENTENCE))
        .filter(|r| !r.is_empty())
        .unwrap_or_else(|| remedy.to_owned());
    let short = title.unwrap_or_else(|| to_sentence_case(words::describe_kind(worst.kind)));
    json!({
        "id": id,
        "name": format_rule_name(id),
        "shortDescription": { "text": escape_message(&short) },
        "fullDescription": { "text": why },
        "help": { "text": escape_message(&format!("{why} {remedy}")) },
        "defaultConfiguration": { "level": to_sarif_level(worst.severity) },
        "properties": {
            "tags": ["security", "exposure"],
            "precision": "very-high",
            // Of the worst finding of this rule in this file.
            "security-severity": score_severity(worst.severity),
        },
    })
}

fn build_result(f: &Finding, rule: &str, index: usize) -> Value {
    let mut properties = json!({
        "id": clean(&f.id, NAME),
        "state": f.state.as_str(),
        "severity": f.severity.as_str(),
        "security-severity": score_severity(f.severity),
        "ip": f.ip,
        "proto": f.proto.to_string(),
        "firstSeen": f.first_seen,
        "lastSeen": f.last_seen,
        "new": f.new,
        "flapping": f.flapping,
    });
    if let Some(port) = f.port {
        properties["port"] = port.get().into();
    }
    if let Some(pool) = &f.pool {
        properties["pool"] = words::format_pool_ranges(pool).into();
    }
    for (key, text) in [("owner", &f.owner), ("service", &f.service), ("host", &f.host)] {
        if let Some(text) = text {
            properties[key] = clean(text, NAME).into();
        }
    }
    if let Some(e) = &f.evidence {
        properties["evidence"] = words::describe_evidence(e).into();
    }
    let message = format!("{}: {}", words::format_location(f), clean(&f.why, SENTENCE));
    json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": to_sarif_level(f.severity),
        "message": { "text": escape_message(&message) },
        "locations": [{
            // No file of a repository; services ask for a relative reference and a line all the same.
            "physicalLocation": {
                "artifactLocation": { "uri": build_reference(f) },
                "region": { "startLine": f.evidence.as_ref().and_then(|e| e.line).unwrap_or(1).max(1) },
            },
            "logicalLocations": [{
                "fullyQualifiedName": words::format_location(f),
                "kind": "resource",
            }],
        }],
        "partialFingerprints": {
            "mimawariFinding/v1": clean(&f.id, NAME),
            // The only one that GitHub holds results together by; it would hash a file's line.
            "primaryLocationLineHash": format!("{}:1", clean(&f.id, NAME)),
        },
        "properties": properties,
    })
}

const fn to_sarif_level(s: Severity) -> &'static str {
    match s {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// A figure in the middle of the band that code scanning services give the word: critical from 9.0,
/// high from 7.0, medium from 4.0, low above 0.
const fn score_severity(s: Severity) -> &'static str {
    match s {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::Info => "0.0",
    }
}

/// Why a kind of finding matters, and what to do about it.
const fn explain_kind(kind: FindingKind) -> (&'static str, &'static str) {
    match kind {
        FindingKind::UnexpectedOpen => (
            "A port accepts connections, and no rule of the baseline allows it.",
            "Close the port, or have a rule for it reviewed and merged into the baseline.",
        ),
        FindingKind::MissingRequired => (
            "A rule of the baseline requires a port to be open, and it was not in two covered runs.",
            "Bring the service back, or have the rule changed.",
        ),
        FindingKind::ExposedContent => (
            "A web site serves content that should not be readable.",
            "Deny the path in the server, and change every secret that the content holds.",
        ),
        FindingKind::ForbiddenOpen => (
            "A port accepts connections, and a rule of the baseline says that it never may.",
            "Close the port.",
        ),
        FindingKind::SuspectHost => (
            "A host answers as open on most of its ports: a middlebox or a tarpit, whose single ports \
             say nothing.",
            "Find out what answers for the host, and scan from a place where nothing does.",
        ),
        FindingKind::LegacyTls => (
            "A server agrees to no version or cipher of TLS that a current client offers.",
            "Enable TLS 1.2 and TLS 1.3.",
        ),
    }
}

/// `exposed-content/php-source` as `ExposedContentPhpSource`.
fn format_rule_name(id: &str) -> String {
    let mut out = String::new();
    for word in id.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut chars = word.chars();
        out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(chars.as_str());
    }
    out
}

fn to_sentence_case(words: &str) -> String {
    let mut chars = words.chars();
    let first: String = chars.next().map(|c| c.to_ascii_uppercase()).into_iter().collect();
    format!("{first}{}", chars.as_str())
}

/// Text as a plain message: braces are placeholders (section 3.11.5) and `[text](target)` is a link
/// (section 3.11.6), and foreign text must be neither.
fn escape_message(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}").replace("](", "] (")
}

/// A relative reference (RFC 3986, section 4.2) that names the place of a finding.
fn build_reference(f: &Finding) -> String {
    let first = f.scheme.map_or_else(|| f.proto.to_string(), |s| s.as_str().to_owned());
    let mut out = format!("{first}/{}", encode_segment(&f.ip.to_string()));
    if let Some(port) = f.port {
        out.push_str(&format!("/{port}"));
    }
    if let Some(host) = &f.host {
        out.push('/');
        out.push_str(&encode_segment(host));
    }
    if let Some(path) = &f.path {
        for part in path.split('/').filter(|p| !p.is_empty()) {
            out.push('/');
            out.push_str(&encode_segment(part));
        }
    }
    out
}

/// One segment of a path: everything but unreserved characters and the colon is percent-encoded, and
/// dot segments, which readers take away, too.
fn encode_segment(text: &str) -> String {
    use std::fmt::Write as _;
    let dots = matches!(text, "." | "..");
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'.' if dots => out.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                out.push(char::from(b));
            }
            _ => {
                let _ = write!(out, "%{b:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clean::is_hostile;
    use crate::samples;

    fn read(v: &Verdict) -> Value {
        serde_json::from_str(&render_sarif(v).unwrap()).unwrap()
    }

    /// The hostile sample, of a run that was whole.
    fn hostile() -> Verdict {
        Verdict { incomplete: false, incomplete_because: vec![], ..samples::hostile() }
    }

    #[test]
    fn the_form_is_kept() {
        let mut v = samples::drift();
        v.incomplete = false;
        v.findings.retain(|f| !f.kind.is_requirement());
        insta::assert_snapshot!("sarif_drift", render_sarif(&v).unwrap());
    }

    #[test]
    fn what_was_not_seen_is_never_left_out() {
        let refused = render_sarif(&samples::incomplete()).unwrap_err();
        assert!(!refused.suspect && refused.because.starts_with("Stopped by SIGTERM"));
        assert!(render_sarif(&samples::suspect()).unwrap_err().suspect);
        // Suspect alone is enough.
        let doubtful = Verdict { suspect: true, ..samples::clean() };
        assert!(render_sarif(&doubtful).is_err());
    }

    #[test]
    fn a_finding_is_left_out_only_if_it_is_settled() {
        let v = Verdict { incomplete: false, ..samples::drift() };
        let log = read(&v);
        let listed: BTreeSet<&str> = log["runs"][0]["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["partialFingerprints"]["mimawariFinding/v1"].as_str().unwrap())
            .collect();
        for f in &v.findings {
            let settled = matches!(
                f.state,
                FindingState::Resolved | FindingState::Allowed | FindingState::MissingPending
            );
            assert_eq!(listed.contains(f.id.as_str()), !settled, "{:?}", f.state);
        }
        assert!(v.findings.iter().any(|f| f.state == FindingState::Unverified));
    }

    #[test]
    fn rules_and_results_belong_together() {
        let log = read(&hostile());
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let ids: BTreeSet<&str> = rules.iter().map(|r| r["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), rules.len());
        for r in run["results"].as_array().unwrap() {
            let at = usize::try_from(r["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[at]["id"], r["ruleId"]);
        }
        for rule in rules {
            assert!(!rule["help"]["text"].as_str().unwrap().is_empty());
        }
    }

    #[test]
    fn foreign_text_neither_acts_nor_links() {
        let text = render_sarif(&hostile()).unwrap();
        assert!(!text.chars().any(|c| c != '\n' && is_hostile(c)));
        let log: Value = serde_json::from_str(&text).unwrap();
        for r in log["runs"][0]["results"].as_array().unwrap() {
            assert!(!r["message"]["text"].as_str().unwrap().contains("]("));
            let uri =
                r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
            assert!(uri.is_ascii() && !uri.contains([' ', '<', '"', '\\']), "{uri}");
            assert!(!uri.split(['/']).any(|s| matches!(s, "" | "." | "..")), "{uri}");
        }
        assert_eq!(escape_message("{0} [x](y)"), "{{0}} [x] (y)");
        assert_eq!(encode_segment(".."), "%2E%2E");
        assert_eq!(encode_segment("a b/ä"), "a%20b%2F%C3%A4");
    }

    #[test]
    fn severities_fall_into_the_bands_of_code_scanning() {
        for (s, low, high) in [
            (Severity::Critical, 9.0, 10.0),
            (Severity::High, 7.0, 8.9),
            (Severity::Medium, 4.0, 6.9),
            (Severity::Low, 0.1, 3.9),
        ] {
            let n: f64 = score_severity(s).parse().unwrap();
            assert!((low..=high).contains(&n), "{s:?}");
        }
    }
}
