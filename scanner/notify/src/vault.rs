//! Secrets out of AWS Secrets Manager, where an environment variable names one instead of holding it.
//!
//! On ECS the agent puts secrets into the environment by itself; elsewhere (Batch, Kubernetes, a host
//! of one's own) the variable may hold what ECS calls `valueFrom`:
//! `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME[:JSON-KEY:VERSION-STAGE:VERSION-ID]`.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use mimawari_base::failure::Failure;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{
    self, ClientContext, HttpSender, NotifyRequest, RetryPolicy, SendError, check_url, is_loopback,
};
use super::secret::SecretText;
use super::{ANSWER_LIMIT, NotifierConfig, aws};

/// The endpoint of all services' SDKs for this one, for emulators.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
/// For all secrets together: nothing has been sent yet, and nothing waits longer for a start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A secret's name.
#[derive(Debug, PartialEq, Eq)]
struct SecretArn {
    partition: String,
    region: String,
    /// Up to the name.
    secret: String,
    /// Which text of a JSON object.
    key: Option<String>,
    stage: Option<String>,
    version: Option<String>,
}

impl SecretArn {
    /// `None` for what is no ARN of Secrets Manager; then the text is the secret itself.
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "secretsmanager", region, _, "secret", _, more @ ..] = &parts[..]
        else {
            return None;
        };
        let more = |n: usize| more.get(n).filter(|s| !s.is_empty()).map(|s| (*s).to_owned());
        Some(Self {
            partition: (*partition).to_owned(),
            region: (*region).to_owned(),
            secret: parts[..7].join(":"),
            key: more(0),
            stage: more(1),
            version: more(2),
        })
    }

    fn endpoint(&self) -> String {
        let domain = if self.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://secretsmanager.{}.{domain}", self.region)
    }
}

/// The environment variables that the notifiers read, those that name a secret already replaced by it.
///
/// # Errors
/// A [`Failure`] that names the variable and never what it holds.
pub async fn resolve_environment(
    notifiers: &[NotifierConfig],
    variable: impl Fn(&str) -> Option<String>,
    world: &ClientContext,
) -> Result<HashMap<String, String>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = HashMap::new();
    let names = notifiers.iter().flat_map(|n| n.settings.variables());
    for name in names {
        let Some(text) = variable(name).filter(|_| !all.contains_key(name)) else { continue };
        let value = match SecretArn::parse(text.trim()) {
            None => text,
            Some(arn) => fetch(&arn, variable(ENDPOINT), world, deadline).await.map_err(|e| {
                Failure::new(format!(
                    "the secret that the environment variable {name} names cannot be had: {}",
                    mimawari_probes::http::to_printable(e.why.as_bytes(), 300)
                ))
                .help(
                    "the role needs secretsmanager:GetSecretValue for it (and kms:Decrypt for a key of \
                     one's own); nothing was sent",
                )
            })?,
        };
        all.insert(name.to_owned(), value);
    }
    // Whatever else is asked for is taken as it stands.
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        all.extend(variable(name).map(|v| (name.to_owned(), v)));
    }
    Ok(all)
}

async fn fetch(
    arn: &SecretArn,
    endpoint: Option<String>,
    world: &ClientContext,
    deadline: Instant,
) -> Result<String, SendError> {
    let endpoint = endpoint.unwrap_or_else(|| arn.endpoint());
    check_url(&endpoint).map_err(|e| SendError::certain(format!("{ENDPOINT}: {e}")))?;
    let credential = aws::fetch_credential(&arn.region, deadline).await?;
    let client = client::build_client(is_loopback(&endpoint))
        .map_err(|e| SendError::certain(format!("no client: {e}")))?;
    let to = HttpSender {
        client: &client,
        policy: RetryPolicy::default(),
        world,
        deadline,
        secrets: &[],
        limit: ANSWER_LIMIT,
    };
    let answer = to.send(true, || build_secret_request(arn, &endpoint, &credential)).await?;
    // Nothing of an answer is shown: it is the secret.
    let answer: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| SendError::certain("the answer is not JSON"))?;
    let text = answer["SecretString"]
        .as_str()
        .ok_or_else(|| SendError::certain("it is a binary secret, and a text is needed"))?;
    let Some(key) = &arn.key else { return Ok(text.to_owned()) };
    let object: Value = serde_json::from_str(text)
        .map_err(|_| SendError::certain("a JSON key is named, and the secret is not JSON"))?;
    let found = object.get(key).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| SendError::certain("the secret has no text of that JSON key"))
}

fn build_secret_request(
    arn: &SecretArn,
    endpoint: &str,
    credential: &AwsCredential,
) -> Result<NotifyRequest, SendError> {
    let failed = |e: &dyn std::fmt::Display| SendError::certain(format!("cannot sign: {e}"));
    let mut asked = json!({"SecretId": arn.secret});
    if let Some(stage) = &arn.stage {
        asked["VersionStage"] = stage.as_str().into();
    }
    if let Some(version) = &arn.version {
        asked["VersionId"] = version.as_str().into();
    }
    let body = Bytes::from(asked.to_string());
    let url = format!("{}/", endpoint.trim_end_matches('/'));
    let mut request = http::Request::builder()
        .method(Method::POST)
        .uri(&url)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"))
        .header("x-amz-target", HeaderValue::from_static("secretsmanager.GetSecretValue"))
        .body(HttpRequestBody::from(body.clone()))
        .map_err(|e| failed(&e))?;
    AwsAuthorizer::new(credential, "secretsmanager", &arn.region)
        .try_authorize(&mut request, None)
        .map_err(|e| failed(&e))?;
    let headers = request.headers().iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    Ok(NotifyRequest { method: Method::POST, url: SecretText::new(url), headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_a_secret_and_perhaps_a_part_of_it() {
        let plain =
            "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:mimawari/slack-AbCdEf";
        let arn = SecretArn::parse(plain).unwrap();
        assert_eq!((arn.secret.as_str(), &arn.key), (plain, &None));
        assert_eq!(arn.endpoint(), "https://secretsmanager.ap-northeast-1.amazonaws.com");
        let part = SecretArn::parse(&format!("{plain}:url:AWSPREVIOUS:")).unwrap();
        assert_eq!(part.secret, plain);
        assert_eq!(
            (part.key.as_deref(), part.stage.as_deref()),
            (Some("url"), Some("AWSPREVIOUS"))
        );
        assert_eq!(part.version, None);
        for other in
            ["https://hooks.example/x", "arn:aws:ssm:r:1:parameter/x", "arn:aws:secretsmanager"]
        {
            assert_eq!(SecretArn::parse(other), None, "{other}");
        }
    }
}
