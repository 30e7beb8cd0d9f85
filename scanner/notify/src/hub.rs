//! `BatchImportFindings` of AWS Security Hub, signed with Signature Version 4.

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use mimawari_report::notify::security_hub::HubAccount;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use serde::Deserialize;
use serde_json::{Value, json};

use super::aws;
use super::client::{HttpSender, NotifyRequest, SendError};
use super::secret::SecretText;

/// A Security Hub.
#[derive(Debug)]
pub struct HubNotifier {
    /// Whose.
    pub account: HubAccount,
    /// URL of the service, without a slash at its end.
    pub endpoint: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImportResult {
    failed_count: u64,
    failed_findings: Vec<FailedImport>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FailedImport {
    id: String,
    error_code: String,
    error_message: String,
}

impl HubNotifier {
    /// The service of a region.
    #[must_use]
    pub fn new(account: HubAccount, endpoint: Option<String>) -> Self {
        let domain = match account.partition() {
            "aws-cn" => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        let endpoint =
            endpoint.unwrap_or_else(|| format!("https://securityhub.{}.{domain}", account.region));
        Self { account, endpoint }
    }

    /// Imports batches.
    ///
    /// # Errors
    /// A [`Fault`], with the batches that were not taken: those not sent, and of the others the
    /// findings that the service refused.
    pub async fn import(
        &self,
        to: &HttpSender<'_>,
        batches: &[Value],
    ) -> Result<(), (SendError, Vec<Value>)> {
        let all = || batches.to_vec();
        let credential = match aws::credential(&self.account.region, to.deadline).await {
            Ok(credential) => credential,
            Err(fault) => return Err((fault, all())),
        };
        let mut refused = Vec::new();
        let mut why = None;
        for (n, batch) in batches.iter().enumerate() {
            let body = Bytes::from(batch.to_string());
            let sent = to.send(true, || self.request(&credential, body.clone())).await;
            let answer = match sent {
                Ok(answer) => answer,
                Err(fault) => {
                    refused.extend_from_slice(&batches[n..]);
                    return Err((fault, refused));
                }
            };
            let imported: ImportResult = serde_json::from_slice(&answer.body).unwrap_or_default();
            if imported.failed_count == 0 && imported.failed_findings.is_empty() {
                continue;
            }
            let first = imported.failed_findings.first();
            why = Some(SendError::certain(format!(
                "{} findings were refused: {} {}",
                imported.failed_count.max(imported.failed_findings.len() as u64),
                first.map_or("", |f| f.error_code.as_str()),
                first.map_or("", |f| f.error_message.as_str()),
            )));
            let failed: Vec<&Value> = batch["Findings"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|f| imported.failed_findings.iter().any(|x| f["Id"] == x.id.as_str()))
                .collect();
            if !failed.is_empty() {
                refused.push(json!({"Findings": failed}));
            }
        }
        match why {
            None => Ok(()),
            Some(fault) => {
                let why = mimawari_probes::http::printable(fault.why.as_bytes(), 500);
                Err((SendError { why, ..fault }, refused))
            }
        }
    }

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
