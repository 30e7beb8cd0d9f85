//! `BatchImportFindings` of AWS Security Hub, signed with Signature Version 4.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_report::notify::security_hub::{self, HubAccount};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{NotifyRequest, SendError};
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::table::TableReader;
use crate::{ANSWER_LIMIT, aws};

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "security-hub",
    keys: &[
        NotifierKey {
            name: "account",
            kind: "text",
            default: "required",
            meaning: "The account, 12 digits.",
        },
        NotifierKey { name: "region", kind: "text", default: "required", meaning: "The region." },
        NotifierKey {
            name: "endpoint",
            kind: "text",
            default: "AWS's own",
            meaning: "Another endpoint.",
        },
    ],
    delivery: DeliverySemantics {
        knows_ids: true,
        merges: false,
        is_figure: false,
        when_in_doubt: "it is imported again under the same `Id`, which changes nothing",
    },
    read: |table| read(table),
};

#[derive(Debug)]
struct HubSettings {
    account: HubAccount,
    endpoint: Option<String>,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let (id, region) = (table.needed_text("account"), table.needed_text("region"));
    let endpoint = table.url("endpoint");
    let (id, region) = (id?, region?);
    let mut ok = true;
    if id.get_ref().len() != 12 || !id.get_ref().bytes().all(|b| b.is_ascii_digit()) {
        let title = format!("`{}` is no AWS account", id.get_ref().escape_debug());
        table.error(id.span(), title, "write its twelve digits in quotes");
        ok = false;
    }
    let r = region.get_ref();
    if r.is_empty()
        || r.len() > 30
        || !r.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        let title = format!("`{}` is no AWS region", r.escape_debug());
        table.error(region.span(), title, "write such as `ap-northeast-1`");
        ok = false;
    }
    let account = HubAccount { id: id.into_inner(), region: region.into_inner() };
    ok.then(|| Arc::new(HubSettings { account, endpoint }) as Arc<dyn NotifierSettings>)
}

impl NotifierSettings for HubSettings {
    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        let domain = match self.account.partition() {
            "aws-cn" => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        let own = || format!("https://securityhub.{}.{domain}", self.account.region);
        let endpoint = self.endpoint.clone().unwrap_or_else(own);
        for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            secrets.optional(name);
        }
        let client = secrets.client(&endpoint)?;
        Ok(Box::new(HubNotifier { account: self.account.clone(), endpoint, client }))
    }
}

/// A Security Hub.
#[derive(Debug)]
struct HubNotifier {
    account: HubAccount,
    /// URL of the service, without a slash at its end.
    endpoint: String,
    client: reqwest::Client,
}

/// An answer of the service. What it does not say was not imported.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImportResult {
    success_count: u64,
    failed_count: u64,
    #[serde(default)]
    failed_findings: Vec<FailedImport>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FailedImport {
    id: String,
    error_code: String,
    error_message: String,
}

impl Notifier for HubNotifier {
    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let batches = security_hub::build_batches(n.verdict, n.selection, &self.account)
            .map_err(SendError::refused)?;
        let part = |(i, batch)| MessagePart::new(format!("{}-{}", n.event, i + 1), batch);
        Ok(batches.into_iter().enumerate().map(part).collect())
    }

    fn render_test(&self, at: Timestamp) -> Option<MessagePart> {
        Some(MessagePart::new("test", security_hub::build_test_finding(&self.account, at)))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let credential = aws::fetch_credential(&self.account.region, context.deadline).await?;
            let body = Bytes::from(part.body.to_string());
            let to = context.http(&self.client, ANSWER_LIMIT);
            let answer = to.send(true, || self.request(&credential, body.clone())).await?;
            judge_answer(&part.body, &answer.body)
        })
    }
}

/// Whether an answer accounts for every finding of a batch.
fn judge_answer(batch: &Value, answer: &[u8]) -> Result<(), SendError> {
    let sent = batch["Findings"].as_array().map_or(&[][..], Vec::as_slice);
    let Ok(imported) = serde_json::from_slice::<ImportResult>(answer) else {
        return Err(SendError::in_doubt("the answer does not say what was imported"));
    };
    let failed = imported.failed_findings.as_slice();
    if let (Some(first), true) = (failed.first(), imported.failed_count > 0) {
        let is_ours = sent.iter().any(|f| f["Id"] == first.id.as_str());
        return Err(SendError::refused(format!(
            "{} of {} findings were refused: {}{} {}",
            imported.failed_count,
            sent.len(),
            if is_ours { "" } else { "(of another id) " },
            first.error_code,
            first.error_message,
        )));
    }
    if imported.failed_count > 0 || imported.success_count != sent.len() as u64 {
        return Err(SendError::in_doubt(format!(
            "the answer accounts for {} of {} findings",
            imported.success_count,
            sent.len()
        )));
    }
    Ok(())
}

impl HubNotifier {
    fn request(&self, credential: &AwsCredential, body: Bytes) -> Result<NotifyRequest, SendError> {
        let url = format!("{}/findings/import", self.endpoint);
        let failed = |e: &dyn std::fmt::Display| SendError::certain(format!("cannot sign: {e}"));
        let mut request = http::Request::builder()
            .method(Method::POST)
            .uri(&url)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(HttpRequestBody::from(body.clone()))
            .map_err(|e| failed(&e))?;
        AwsAuthorizer::new(credential, "securityhub", &self.account.region)
            .try_authorize(&mut request, None)
            .map_err(|e| failed(&e))?;
        let mut headers = Vec::new();
        for (name, value) in request.headers() {
            headers.push((name.clone(), value.clone()));
        }
        Ok(NotifyRequest { method: Method::POST, url: SecretText::new(url), headers, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_an_answer_that_accounts_for_every_finding_counts() {
        let batch = json!({"Findings": [{"Id": "a"}, {"Id": "b"}]});
        let judge = |answer: &str| judge_answer(&batch, answer.as_bytes());
        assert_eq!(judge(r#"{"SuccessCount":2,"FailedCount":0,"FailedFindings":[]}"#), Ok(()));
        for other in [
            "",
            "<html>ok</html>",
            "{}",
            r#"{"FailedCount":0}"#,
            r#"{"SuccessCount":1,"FailedCount":0}"#,
        ] {
            assert!(judge(other).unwrap_err().doubtful, "{other}");
        }
        let refused = judge(
            r#"{"SuccessCount":1,"FailedCount":1,"FailedFindings":[{"Id":"b","ErrorCode":"InvalidInput","ErrorMessage":"x"}]}"#,
        )
        .unwrap_err();
        assert!(
            refused.refused && refused.why.contains("1 of 2 findings were refused: InvalidInput")
        );
    }
}
