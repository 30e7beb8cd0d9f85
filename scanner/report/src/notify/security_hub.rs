//! Findings in the AWS Security Finding Format, for `BatchImportFindings`.
//!
//! <https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format-syntax.html>.
//! The limits are checked here, since the service refuses a finding late and an emulator not at all.
//! `Workflow` and `Note` belong to the people who work in Security Hub, and are never sent.

use mimawari_drift::verdict::{Finding, FindingKind, FindingState, Verdict};
use mimawari_probes::observation::Severity;
use serde_json::{Map, Value, json};

use super::ChangeSelection;
use crate::clean::clean;
use crate::words;

/// Findings of one call.
pub const MAX_BATCH: usize = 100;
/// Bytes of one finding.
pub const MAX_FINDING: usize = 240 * 1024;

/// Whose Security Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAccount {
    /// Twelve digits.
    pub id: String,
    /// Such as `ap-northeast-1`.
    pub region: String,
}

impl HubAccount {
    /// `aws`, `aws-cn` or `aws-us-gov`.
    #[must_use]
    pub fn partition(&self) -> &'static str {
        if self.region.starts_with("cn-") {
            "aws-cn"
        } else if self.region.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        }
    }

    /// The default product of an account: what its own integrations import under.
    #[must_use]
    pub fn product_arn(&self) -> String {
        let Self { id, region } = self;
        format!("arn:{}:securityhub:{region}:{id}:product/{id}/default", self.partition())
    }
}

/// The bodies of the calls: what changed; everything that counts when the weekly summary is due,
/// since Security Hub forgets after 90 days what is not imported again. What left the scope was not seen
/// to be gone, and stays as it is.
///
/// # Errors
/// What is wrong with a finding; never with those that a judge makes.
pub fn build_batches(
    v: &Verdict,
    selection: &ChangeSelection,
    account: &HubAccount,
) -> Result<Vec<Value>, String> {
    let changes = selection.changes(v);
    let mut all: Vec<&Finding> = changes.iter().map(|t| t.finding).collect();
    if v.digest_due {
        all.extend(v.findings.iter().filter(|f| f.state.is_drift() && selection.takes(f)));
    }
    all.retain(|f| f.state != FindingState::OutOfScope);
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all.dedup_by(|a, b| a.id == b.id);
    let all: Vec<Value> = all.iter().map(|f| build_finding(v, f, account, selection)).collect();
    for f in &all {
        validate(f)?;
    }
    Ok(all.chunks(MAX_BATCH).map(|c| json!({"Findings": c})).collect())
}

/// A call that says that it is a test: archived from the start.
#[must_use]
pub fn build_test_finding(account: &HubAccount, at: jiff::Timestamp) -> Value {
    json!({"Findings": [{
        "SchemaVersion": "2018-10-08",
        "Id": format!("{}/{}/mimawari/test", account.region, account.id),
        "ProductArn": account.product_arn(),
        "GeneratorId": "mimawari/test",
        "AwsAccountId": account.id,
        "Types": ["Software and Configuration Checks"],
        "CreatedAt": at,
        "UpdatedAt": at,
        "Severity": {"Label": "INFORMATIONAL"},
        "Title": "Test message of mimawari",
        "Description": "Nothing was scanned and nothing found.",
        "Resources": [{"Type": "Other", "Id": "mimawari-test"}],
        "RecordState": "ARCHIVED",
    }]})
}

fn build_finding(
    v: &Verdict,
    f: &Finding,
    account: &HubAccount,
    selection: &ChangeSelection,
) -> Value {
    let settled = matches!(f.state, FindingState::Resolved | FindingState::Allowed);
    let types = json!([match f.kind {
        FindingKind::ExposedContent => "Effects/Data Exposure",
        FindingKind::LegacyTls => "Software and Configuration Checks/Vulnerabilities",
        _ => "Software and Configuration Checks/AWS Security Best Practices/Network Reachability",
    }]);
    let severity = json!({"Label": to_severity_label(f.severity), "Original": f.severity.as_str()});
    // Times that go backwards would be refused; a clock that did is no reason to lose a finding.
    let updated = v.judged_at.max(f.first_seen).max(f.last_seen);
    let title = match &f.title {
        Some(t) => format!("{t} at {}", words::format_location(f)),
        None => format!("{} at {}", words::describe_finding(f), words::format_location(f)),
    };
    let mut fields: Map<String, Value> = Map::new();
    let mut field = |name: &str, text: Option<String>| {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            fields.insert(format!("mimawari/{name}"), clean(&text, 500).into());
        }
    };
    field("finding", Some(f.id.clone()));
    field("state", Some(f.state.as_str().to_owned()));
    field("run", Some(v.run_id.clone()));
    field("vantage", Some(f.vantage.clone()));
    field("owner", f.owner.clone());
    field("service", f.service.clone());
    field("rule", f.allowed_by.clone());
    field("nearest-rule", f.nearest.as_ref().map(|n| format!("{} {}", n.id, n.place)));
    field("nearest-missed", f.nearest.as_ref().map(|n| n.missed.clone()));
    let generator = match &f.check {
        Some(check) => format!("mimawari/{}/{}", f.kind.as_str(), clean(check, 256)),
        None => format!("mimawari/{}", f.kind.as_str()),
    };
    let mut value = json!({
        "SchemaVersion": "2018-10-08",
        "Id": format!("{}/{}/mimawari/{}", account.region, account.id, clean(&f.id, 64)),
        "ProductArn": account.product_arn(),
        "GeneratorId": generator,
        "AwsAccountId": account.id,
        "Types": types,
        "FirstObservedAt": f.first_seen,
        "LastObservedAt": f.last_seen.max(f.first_seen),
        "CreatedAt": f.first_seen,
        "UpdatedAt": updated,
        "Severity": severity,
        "Title": clean(&title, 250),
        "Description": replace_empty(clean(&f.why, 1_000)),
        "ProductFields": fields,
        "Resources": [{
            "Type": "Other",
            "Id": clean(&words::format_location(f), 500),
        }],
        "RecordState": if settled { "ARCHIVED" } else { "ACTIVE" },
        "FindingProviderFields": {"Severity": severity, "Types": types},
    });
    if let Some(remedy) = &f.remedy {
        value["Remediation"] =
            json!({"Recommendation": {"Text": replace_empty(clean(remedy, 500))}});
    }
    if let Some(url) = selection.report(v) {
        value["SourceUrl"] = url.into();
    }
    value
}

/// A text that must not be empty.
fn replace_empty(s: String) -> String {
    if s.is_empty() { "–".to_owned() } else { s }
}

const fn to_severity_label(s: Severity) -> &'static str {
    match s {
        Severity::Info => "INFORMATIONAL",
        Severity::Low => "LOW",
        Severity::Medium => "MEDIUM",
        Severity::High => "HIGH",
        Severity::Critical => "CRITICAL",
    }
}

/// What the service demands of a finding and an emulator does not: enums, lengths, counts, times.
///
/// # Errors
/// What is wrong, as half a sentence.
pub fn validate(f: &Value) -> Result<(), String> {
    let text = |name: &str, most: usize| -> Result<&str, String> {
        let s = f[name].as_str().ok_or_else(|| format!("{name} is missing"))?;
        match s.chars().count() {
            0 => Err(format!("{name} is empty")),
            n if n > most => Err(format!("{name} has {n} characters of {most}")),
            _ => Ok(s),
        }
    };
    let one_of = |name: &str, s: &str, list: &[&str]| {
        if list.contains(&s) { Ok(()) } else { Err(format!("{name} is `{s}`")) }
    };
    one_of("SchemaVersion", text("SchemaVersion", 10)?, &["2018-10-08"])?;
    text("Id", 512)?;
    text("ProductArn", 2_048)?;
    text("GeneratorId", 512)?;
    text("Title", 256)?;
    text("Description", 1_024)?;
    let account = text("AwsAccountId", 12)?;
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("AwsAccountId is `{account}`"));
    }
    one_of("RecordState", text("RecordState", 8)?, &["ACTIVE", "ARCHIVED"])?;
    let severity = f["Severity"]["Label"].as_str().unwrap_or_default();
    one_of("Severity", severity, &["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"])?;
    let time = |name: &str| -> Result<jiff::Timestamp, String> {
        let s = text(name, 64)?;
        if !s.ends_with('Z') {
            return Err(format!("{name} is not in UTC"));
        }
        s.parse().map_err(|_| format!("{name} is no instant"))
    };
    if time("CreatedAt")? > time("UpdatedAt")? {
        return Err("UpdatedAt is before CreatedAt".to_owned());
    }
    let types = f["Types"].as_array().map_or(0, Vec::len);
    if !(1..=50).contains(&types) {
        return Err(format!("{types} Types of 1 to 50"));
    }
    const NAMESPACES: [&str; 5] = [
        "Software and Configuration Checks",
        "TTPs",
        "Effects",
        "Unusual Behaviors",
        "Sensitive Data Identifications",
    ];
    for t in f["Types"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        one_of("Types", t.split('/').next().unwrap_or_default(), &NAMESPACES)?;
        if t.split('/').count() > 3 {
            return Err(format!("the type `{t}` has more than three parts"));
        }
    }
    let resources = f["Resources"].as_array().map_or(&[][..], Vec::as_slice);
    if !(1..=32).contains(&resources.len()) {
        return Err(format!("{} Resources of 1 to 32", resources.len()));
    }
    for r in resources {
        let n = r["Id"].as_str().map_or(0, |s| s.chars().count());
        if !(1..=512).contains(&n) || r["Type"].as_str().is_none_or(str::is_empty) {
            return Err("a resource without Type or with an Id that is not of 1 to 512".to_owned());
        }
    }
    let fields = f["ProductFields"].as_object();
    if fields.is_some_and(|m| m.len() > 50) {
        return Err("more than 50 ProductFields".to_owned());
    }
    for (k, value) in fields.into_iter().flatten() {
        let n = value.as_str().map_or(0, |s| s.chars().count());
        if k.len() > 128 || !(1..=2_048).contains(&n) {
            return Err(format!("the product field {k} is out of bounds"));
        }
    }
    let remedy = f["Remediation"]["Recommendation"]["Text"].as_str().unwrap_or_default();
    if remedy.chars().count() > 512 {
        return Err("the recommendation has more than 512 characters".to_owned());
    }
    for name in ["Workflow", "WorkflowState", "Note", "UserDefinedFields"] {
        if !f[name].is_null() {
            return Err(format!("{name} belongs to people"));
        }
    }
    match f.to_string().len() {
        n if n > MAX_FINDING => Err(format!("{n} bytes of {MAX_FINDING}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all_notified, five_causes, hostile, three};
    use super::*;
    use crate::samples;
    use mimawari_drift::verdict::{ChangeKind, FindingChange};

    fn account() -> HubAccount {
        HubAccount { id: "123456789012".to_owned(), region: "ap-northeast-1".to_owned() }
    }

    fn of(v: &Verdict) -> Vec<Value> {
        build_batches(v, &ChangeSelection::default(), &account()).unwrap()
    }

    #[test]
    fn three_findings() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&of(&three())).unwrap());
    }

    #[test]
    fn three_thousand_go_a_hundred_at_a_time() {
        let all = of(&five_causes());
        assert_eq!(all.len(), 30);
        let mut ids: Vec<String> = all
            .iter()
            .flat_map(|b| b["Findings"].as_array().unwrap())
            .map(|f| f["Id"].to_string())
            .collect();
        assert!(all.iter().all(|b| b["Findings"].as_array().unwrap().len() <= MAX_BATCH));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3_000);
    }

    #[test]
    fn only_what_is_settled_is_archived() {
        let mut v = samples::drift();
        v.changes = v
            .findings
            .iter()
            .map(|f| FindingChange {
                key: f.id.clone(),
                finding: f.id.clone(),
                what: ChangeKind::Worse,
            })
            .collect();
        let all = of(&v);
        let mut archived = 0;
        for f in all.iter().flat_map(|b| b["Findings"].as_array().unwrap()) {
            let state = f["ProductFields"]["mimawari/state"].as_str().unwrap();
            let settled = ["resolved", "allowed"].contains(&state);
            assert_eq!(f["RecordState"] == "ARCHIVED", settled, "{state}");
            archived += usize::from(settled);
            assert_ne!(state, "out_of_scope");
        }
        assert_eq!(archived, 2);
    }

    #[test]
    fn the_weekly_summary_imports_everything_again() {
        let mut v = samples::drift();
        assert!(of(&v).is_empty());
        v.digest_due = true;
        let n: usize = of(&v).iter().map(|b| b["Findings"].as_array().unwrap().len()).sum();
        assert_eq!(n, v.findings.iter().filter(|f| f.state.is_drift()).count());
    }

    #[test]
    fn hostile_and_long_text_passes_the_strict_layer() {
        of(&hostile());
        let mut v = all_notified(samples::many(200), ChangeKind::Opened);
        for f in &mut v.findings {
            let long = "長い".repeat(50_000);
            (f.why, f.title, f.remedy) = (long.clone(), Some(long.clone()), Some(long.clone()));
            (f.host, f.path, f.check) =
                (Some(long.clone()), Some(long.clone()), Some(long.clone()));
            (f.owner, f.service) = (Some(long.clone()), Some(long));
        }
        assert_eq!(of(&v).len(), v.changes.len().div_ceil(100));
        for f in build_test_finding(&account(), v.judged_at)["Findings"].as_array().unwrap() {
            validate(f).unwrap();
        }
    }

    #[test]
    fn the_strict_layer_refuses_what_the_service_would() {
        let good = of(&three())[0]["Findings"][0].clone();
        validate(&good).unwrap();
        for (name, bad) in [
            ("AwsAccountId", json!("12345678901")),
            ("Severity", json!({"Label": "BAD"})),
            ("RecordState", json!("GONE")),
            ("Title", json!("x".repeat(257))),
            ("Description", json!("")),
            ("UpdatedAt", json!("2001-01-01T00:00:00Z")),
            ("CreatedAt", json!("2026-08-01T10:00:00+09:00")),
            ("Types", json!([])),
            ("Types", json!(["Nonsense/x"])),
            ("Resources", json!([])),
            ("Workflow", json!({"Status": "NEW"})),
        ] {
            let mut f = good.clone();
            f[name] = bad;
            validate(&f).expect_err(name);
        }
    }
}
