//! Telling people and systems what changed, after the state was saved.
//!
//! What is told is decided by the judge, how it looks by the report crate; here it is sent. Sending
//! changes neither the verdict nor the exit status. Every notifier works apart from the others and has
//! a minute; what it cannot send in that time is a warning and a dead letter ([`letter`]). An event is
//! claimed before it is sent ([`ledger`]), so that of two processes one tells it.

mod aws;
pub mod client;
mod github;
mod hub;
pub mod ledger;
pub mod letter;
mod message;
mod notifier;
mod retry;
mod secret;
pub mod signature;
mod vault;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderName, HeaderValue, Method, header};
use mimawari_drift::verdict::Verdict;
use mimawari_report::notify::webhook::WebhookPost;
use mimawari_report::notify::{ChangeSelection, event_id};
use ring::hmac;
use serde_json::Value;
use tokio::time::Instant;

use client::{ClientContext, HttpSender, NotifyRequest, RetryPolicy, SendError};
use github::GithubNotifier;
use hub::HubNotifier;
use ledger::NotifyLog;
pub use ledger::StateLedger;
use letter::UndeliveredMessage;
use message::OutgoingMessage;
use mimawari_base::failure::{Failure, FailureKind};
pub use notifier::{NotifierConfig, NotifierKind};
pub use secret::SecretText;

/// Most bytes of an answer: a list of issues, and everything else.
const LIST_LIMIT: usize = 16 << 20;
const ANSWER_LIMIT: usize = 256 << 10;

/// The notifiers of a configuration, with their secrets, ready to send.
#[derive(Debug)]
pub struct Notifiers {
    all: Vec<ReadyNotifier>,
    /// How patient sending is.
    pub policy: RetryPolicy,
    world: ClientContext,
    /// Of all notifiers: no text that any of them shows may hold one.
    secrets: Vec<SecretText>,
}

/// A notifier with what it needs.
#[derive(Debug)]
struct ReadyNotifier {
    name: String,
    kind: &'static str,
    selection: ChangeSelection,
    how: DeliveryMode,
    client: Option<reqwest::Client>,
}

#[derive(Debug)]
enum DeliveryMode {
    Slack { url: SecretText },
    Webhook { url: SecretText, key: hmac::Key },
    Github(GithubNotifier),
    SecurityHub(HubNotifier),
    Events { file: Option<PathBuf> },
    Emf { file: Option<PathBuf>, namespace: String },
    Prometheus { file: PathBuf },
}

/// What became of a notifier's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyOutcome {
    /// Kind of the notifier.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The end.
    pub end: DeliveryEnd,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// There was nothing to tell.
    Quiet,
    /// It was sent.
    Sent,
    /// Another process has told it.
    ToldBefore,
    /// It was not sent, or not all of it.
    Failed(SendError),
}

impl Notifiers {
    /// Makes ready what the configuration names, by the environment of this process. A variable may
    /// name a secret of AWS Secrets Manager instead of holding it.
    ///
    /// # Errors
    /// As [`Self::ready`]; a secret that cannot be had.
    pub async fn from_environment(
        notifiers: &[NotifierConfig],
        world: ClientContext,
    ) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        let held = vault::environment(notifiers, variable, &world).await?;
        Self::ready(notifiers, |name| held.get(name).cloned(), world)
    }

    /// Makes ready what the configuration names. Nothing is sent yet.
    ///
    /// # Errors
    /// A [`Failure`] that names the variable that is missing or holds no URL or key, never what it
    /// holds.
    pub fn ready(
        notifiers: &[NotifierConfig],
        environment: impl Fn(&str) -> Option<String>,
        world: ClientContext,
    ) -> Result<Self, Failure> {
        let mut clients: [Option<reqwest::Client>; 2] = [None, None];
        let mut all = Vec::new();
        let mut known: Vec<SecretText> = Vec::new();
        for n in notifiers {
            let secret = |name: &str| {
                let text = environment(name).filter(|t| !t.trim().is_empty());
                text.map(|t| SecretText::new(t.trim())).ok_or_else(|| {
                    Failure::new(format!(
                        "the environment variable {name} of the notifier `{}` is not set",
                        n.name
                    ))
                    .kind(FailureKind::SecretMissing)
                    .help(
                        "set it where mimawari runs, or take the [[notify]] out; nothing was sent",
                    )
                })
            };
            let url = |name: &str| {
                let url = secret(name)?;
                check_url(url.reveal()).map_err(|e| {
                    Failure::new(format!("the environment variable {name}: {e}"))
                        .help("set it to the https URL of the webhook")
                })?;
                Ok::<_, Failure>(url)
            };
            let (how, target, secrets) = match n.kind.clone() {
                NotifierKind::Slack { webhook_env } => {
                    let url = url(&webhook_env)?;
                    (DeliveryMode::Slack { url: url.clone() }, Some(url.clone()), parts(&url))
                }
                NotifierKind::Webhook { url_env, secret_env } => {
                    let (url, secret) = (url(&url_env)?, secret(&secret_env)?);
                    let key = signature::key(&secret).map_err(|e| {
                        Failure::new(format!("the environment variable {secret_env} holds no key: {e}"))
                            .help("use 24 random bytes or more, such as of `openssl rand -base64 32` after `whsec_`")
                    })?;
                    let mut secrets = parts(&url);
                    // Also without `whsec_`, in case somebody shows it so.
                    secrets.push(SecretText::new(secret.reveal().trim_start_matches("whsec_")));
                    (DeliveryMode::Webhook { url: url.clone(), key }, Some(url), secrets)
                }
                NotifierKind::Github { repo, token_env, api_url, labels, max_new } => {
                    let token = secret(&token_env)?;
                    let target = SecretText::new(api_url.clone());
                    let github = GithubNotifier {
                        api: api_url,
                        repo,
                        token: token.clone(),
                        labels,
                        max_new,
                    };
                    (DeliveryMode::Github(github), Some(target), vec![token])
                }
                NotifierKind::SecurityHub { account, endpoint } => {
                    let hub = HubNotifier::new(account, endpoint);
                    let target = SecretText::new(hub.endpoint.clone());
                    let names = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
                    let secrets = names.iter().filter_map(|n| environment(n)).map(SecretText::new);
                    (DeliveryMode::SecurityHub(hub), Some(target), secrets.collect())
                }
                NotifierKind::Events { file } => (DeliveryMode::Events { file }, None, Vec::new()),
                NotifierKind::Emf { file, namespace } => {
                    (DeliveryMode::Emf { file, namespace }, None, Vec::new())
                }
                NotifierKind::Prometheus { file } => {
                    (DeliveryMode::Prometheus { file }, None, Vec::new())
                }
            };
            let client = match target {
                None => None,
                Some(url) => {
                    let loopback = is_loopback(url.reveal());
                    let slot = &mut clients[usize::from(loopback)];
                    if slot.is_none() {
                        *slot = Some(client::client(loopback)?);
                    }
                    slot.clone()
                }
            };
            all.push(ReadyNotifier {
                name: n.name.clone(),
                kind: n.kind.as_str(),
                selection: n.selection.clone(),
                how,
                client,
            });
            known.extend(secrets);
        }
        // The longest first: a part of a URL must not break the whole of it.
        known.sort_by_key(|s| std::cmp::Reverse(s.reveal().len()));
        Ok(Self { all, policy: RetryPolicy::default(), world, secrets: known })
    }

    /// Tells what a verdict has to tell. `run` is the folder for dead letters. Never an error: what
    /// fails is logged, kept and in the outcomes.
    pub async fn deliver(
        &self,
        v: &Verdict,
        run: &Path,
        ledger: &impl NotifyLog,
    ) -> Vec<NotifyOutcome> {
        let is_metric = |n: &&ReadyNotifier| {
            matches!(n.how, DeliveryMode::Emf { .. } | DeliveryMode::Prometheus { .. })
        };
        let (metrics, others): (Vec<_>, Vec<_>) = self.all.iter().partition(is_metric);
        let one = async |n: &ReadyNotifier, failures| {
            let end = self.one(n, v, run, ledger, failures).await;
            NotifyOutcome { kind: n.kind, name: n.name.clone(), end }
        };
        let mut out = join_all(others.into_iter().map(|n| one(n, 0))).await;
        // Metrics go last, since they count what failed.
        let failed = |o: &&NotifyOutcome| matches!(o.end, DeliveryEnd::Failed(_));
        let failures = out.iter().filter(failed).count() as u64;
        out.extend(join_all(metrics.into_iter().map(|n| one(n, failures))).await);
        for o in &out {
            match &o.end {
                DeliveryEnd::Sent => tracing::info!(notifier = o.name, "told"),
                DeliveryEnd::ToldBefore => tracing::info!(notifier = o.name, "told before"),
                DeliveryEnd::Quiet | DeliveryEnd::Failed(_) => {}
            }
        }
        out
    }

    async fn one(
        &self,
        n: &ReadyNotifier,
        v: &Verdict,
        run: &Path,
        ledger: &impl NotifyLog,
        failures: u64,
    ) -> DeliveryEnd {
        let event = event_id(v);
        // A figure that is written twice is no message that is told twice.
        let claims = !matches!(n.how, DeliveryMode::Emf { .. } | DeliveryMode::Prometheus { .. });
        if claims {
            self.warn_of_lost(n, ledger).await;
        }
        let message = match OutgoingMessage::of(n, v, failures) {
            Ok(Some(message)) => message,
            Ok(None) => return DeliveryEnd::Quiet,
            Err(fault) => return self.failed(n, &event, run, fault, Value::Null),
        };
        if claims {
            match self.claim(n, &event, ledger).await {
                Ok(true) => {}
                Ok(false) => return DeliveryEnd::ToldBefore,
                Err(fault) => return self.failed(n, &event, run, fault, message.payload()),
            }
        }
        // The deadline is inside, too; this one is for what does not look at it.
        let all = self.policy.total + Duration::from_secs(5);
        let sent = tokio::time::timeout(all, self.send(n, &message, Some(v))).await;
        let sent = sent.unwrap_or_else(|_| {
            let why = format!("not done after {} s", all.as_secs());
            Err((SendError { why, doubtful: true }, message.payload()))
        });
        if claims {
            let how = if sent.is_ok() { "sent" } else { "failed" };
            let end = ledger.end(&n.name, &event, how, (self.world.now)());
            if !matches!(tokio::time::timeout(self.policy.timeout, end).await, Ok(Ok(()))) {
                tracing::warn!(notifier = n.name, "the end of a claim could not be written");
            }
        }
        match sent {
            Ok(()) => DeliveryEnd::Sent,
            Err((fault, left)) => self.failed(n, &event, run, fault, left),
        }
    }

    async fn claim(
        &self,
        n: &ReadyNotifier,
        event: &str,
        ledger: &impl NotifyLog,
    ) -> Result<bool, SendError> {
        let work = ledger.claim(&n.name, event, (self.world.now)());
        match tokio::time::timeout(self.policy.timeout, work).await {
            Ok(Ok(claimed)) => Ok(claimed),
            Ok(Err(e)) => Err(SendError::certain(format!("the event cannot be claimed: {e}"))),
            Err(_) => Err(SendError::certain("the event could not be claimed in time")),
        }
    }

    /// Warns of what a process claimed and did not end, on quiet runs, too.
    async fn warn_of_lost(&self, n: &ReadyNotifier, ledger: &impl NotifyLog) {
        let work = ledger.unfinished(&n.name, (self.world.now)());
        match tokio::time::timeout(self.policy.timeout, work).await {
            Ok(Ok(lost)) => {
                for event in lost {
                    tracing::warn!(
                        notifier = n.name,
                        event,
                        "a process ended while it told this; it may not have been told, and is not told again"
                    );
                }
            }
            Ok(Err(e)) => tracing::warn!(notifier = n.name, "cannot read the claims: {e}"),
            Err(_) => tracing::warn!(notifier = n.name, "cannot read the claims in time"),
        }
    }

    /// A failure is a warning and a dead letter.
    fn failed(
        &self,
        n: &ReadyNotifier,
        event: &str,
        run: &Path,
        fault: SendError,
        left: Value,
    ) -> DeliveryEnd {
        let letter =
            UndeliveredMessage::new(n.kind, &n.name, event, (self.world.now)(), &fault, left);
        match letter.write(run) {
            Ok(path) => tracing::warn!(
                notifier = n.name,
                letter = %path.display(),
                "not told: {fault}; send it with `mimawari notify --retry {}`",
                run.display()
            ),
            Err(e) => tracing::warn!(
                notifier = n.name,
                "not told: {fault}; and no dead letter can be written: {e}"
            ),
        }
        DeliveryEnd::Failed(fault)
    }

    /// Sends a message; on failure also what is left to send.
    async fn send(
        &self,
        n: &ReadyNotifier,
        message: &OutgoingMessage,
        v: Option<&Verdict>,
    ) -> Result<(), (SendError, Value)> {
        let sent = self.try_to_send(n, message, v).await;
        sent.map_err(|(fault, left)| (fault.shown(&self.secrets), left))
    }

    async fn try_to_send(
        &self,
        n: &ReadyNotifier,
        message: &OutgoingMessage,
        v: Option<&Verdict>,
    ) -> Result<(), (SendError, Value)> {
        let whole = |fault: SendError| (fault, message.payload());
        let by_file = |e: io::Error| whole(SendError::certain(format!("cannot be written: {e}")));
        match (&n.how, message) {
            (DeliveryMode::Prometheus { file }, OutgoingMessage::Text(text)) => {
                return mimawari_base::files::write_atomically(file, text.as_bytes())
                    .map_err(by_file);
            }
            (
                DeliveryMode::Events { file } | DeliveryMode::Emf { file, .. },
                OutgoingMessage::Text(text),
            ) => {
                return append(file.as_deref(), text).map_err(by_file);
            }
            _ => {}
        }
        let Some(client) = &n.client else {
            return Err(whole(SendError::certain("this is no message of its kind")));
        };
        let limit =
            if matches!(n.how, DeliveryMode::Github(_)) { LIST_LIMIT } else { ANSWER_LIMIT };
        let to = HttpSender {
            client,
            policy: self.policy,
            world: &self.world,
            deadline: Instant::now() + self.policy.total,
            secrets: &self.secrets,
            limit,
        };
        match (&n.how, message) {
            (DeliveryMode::Slack { url }, OutgoingMessage::Body(body)) => {
                let bytes = Bytes::from(body.to_string());
                to.send(false, || Ok(post(url, bytes.clone()))).await.map(drop).map_err(whole)
            }
            (DeliveryMode::Webhook { url, key }, OutgoingMessage::Posts(posts)) => {
                for (i, p) in posts.iter().enumerate() {
                    if let Err(fault) = self.hook(&to, url, key, p).await {
                        return Err((fault, OutgoingMessage::Posts(posts[i..].to_vec()).payload()));
                    }
                }
                Ok(())
            }
            (DeliveryMode::Github(github), OutgoingMessage::Issues) => {
                let done = match v {
                    Some(v) => github.bring_in_line(&to, v, &n.selection).await,
                    None => github.test(&to).await,
                };
                done.map_err(whole)
            }
            (DeliveryMode::SecurityHub(hub), OutgoingMessage::Batches(batches)) => {
                hub.import(&to, batches).await.map_err(|(fault, left)| (fault, left.into()))
            }
            _ => Err(whole(SendError::certain("this is no message of its kind"))),
        }
    }

    async fn hook(
        &self,
        to: &HttpSender<'_>,
        url: &SecretText,
        key: &hmac::Key,
        p: &WebhookPost,
    ) -> Result<(), SendError> {
        let bytes = Bytes::from(p.body.to_string());
        // The receiver knows a message by its id, so that it may come twice.
        let make = || {
            let at = (self.world.now)();
            let mut request = post(url, bytes.clone());
            let values = [
                ("webhook-id", p.id.clone()),
                ("webhook-timestamp", at.as_second().to_string()),
                ("webhook-signature", signature::sign(key, &p.id, at, &bytes)),
            ];
            for (name, value) in values {
                let value = HeaderValue::from_str(&value)
                    .map_err(|_| SendError::certain("its id cannot stand in a header"))?;
                request.headers.push((HeaderName::from_static(name), value));
            }
            Ok(request)
        };
        to.send(true, make).await.map(drop)
    }
}

/// A URL that is a secret, and those of its parts that are enough to use it.
fn parts(url: &SecretText) -> Vec<SecretText> {
    let mut all = vec![url.clone()];
    if let Ok(parsed) = url.reveal().parse::<reqwest::Url>() {
        all.push(SecretText::new(parsed.path()));
        all.extend(parsed.query().map(SecretText::new));
        // A word such as `hook` is none.
        let long = |s: &&str| s.len() >= 12;
        all.extend(parsed.path().split('/').filter(long).map(SecretText::new));
    }
    all
}

fn post(url: &SecretText, body: Bytes) -> NotifyRequest {
    NotifyRequest {
        method: Method::POST,
        url: url.clone(),
        headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
    }
}

/// Lines onto the end of a file, or to stdout, in one write. A reader of stdout that has gone away is
/// no error.
fn append(file: Option<&Path>, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let Some(path) = file else {
        let mut out = io::stdout().lock();
        return match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
            _ => Ok(()),
        };
    };
    // A FIFO that nobody reads must not hold the run up.
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
    file.write_all(text.as_bytes())
}

/// Whether a URL may be sent to: https, or http to a loopback address.
///
/// # Errors
/// What is wrong with it, without the URL.
pub fn check_url(url: &str) -> Result<(), String> {
    let url: reqwest::Url = url.parse().map_err(|_| "it is no URL".to_owned())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds a user or a password".to_owned());
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(()),
        "http" if is_loopback(url.as_str()) => Ok(()),
        "http" => {
            Err("the URL is not https, so that everybody on the way could read it".to_owned())
        }
        _ => Err("the URL is not https".to_owned()),
    }
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<reqwest::Url>() else { return false };
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
