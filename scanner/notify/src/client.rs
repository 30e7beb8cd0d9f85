//! The HTTP client of the notifiers: certificates verified, redirects not followed, every wait and
//! every body bounded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_probes::http::to_printable;
use reqwest::redirect;
use tokio::time::Instant;

use super::secret::SecretText;

/// How patient sending is.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Times that a request is tried.
    pub attempts: u32,
    /// First wait between two tries; it doubles with each.
    pub base: Duration,
    /// Longest wait, a server's `Retry-After` included.
    pub longest_wait: Duration,
    /// Time for one try.
    pub timeout: Duration,
    /// Time for everything that a notifier does.
    pub total: Duration,
    /// Pause between two writes to GitHub, which asks for a second
    /// (<https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api>).
    pub pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            total: Duration::from_secs(60),
            pause: Duration::from_secs(1),
        }
    }
}

/// A receiver that asks for a longer wait is asked again after this time.
const LONGEST_ASKED: Duration = Duration::from_secs(86_400);

/// What is taken from the world: the clock and chance.
#[derive(Clone)]
pub struct ClientContext {
    /// The clock.
    pub now: fn() -> Timestamp,
    /// A random number.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl ClientContext {
    /// The system's.
    #[must_use]
    pub fn of(now: fn() -> Timestamp) -> Self {
        // Without chance every waiter comes back at once; that is all that is lost.
        Self { now, random: Arc::new(|| getrandom::u64().unwrap_or(1 << 63)) }
    }
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

/// A request. No `Debug`: its URL and headers may be secrets.
pub struct NotifyRequest {
    /// Method.
    pub method: Method,
    /// URL.
    pub url: SecretText,
    /// Headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body.
    pub body: Bytes,
}

/// An answer that is no failure.
#[derive(Debug)]
pub struct NotifyResponse {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, as far as it was read.
    pub body: Bytes,
}

/// Why something was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    /// For a person; without secrets and without control characters.
    pub why: String,
    /// Whether it may have arrived all the same.
    pub doubtful: bool,
    /// Whether the receiver refuses this very message, whenever it is sent.
    pub refused: bool,
    /// How long the receiver asks to wait, if that is longer than a run waits.
    pub retry_after: Option<Duration>,
}

impl SendError {
    /// It certainly was not accepted.
    #[must_use]
    pub fn certain(why: impl Into<String>) -> Self {
        Self { why: why.into(), doubtful: false, refused: false, retry_after: None }
    }

    /// It may have been accepted.
    #[must_use]
    pub fn in_doubt(why: impl Into<String>) -> Self {
        Self { doubtful: true, ..Self::certain(why) }
    }

    /// The receiver refuses this very message.
    #[must_use]
    pub fn refused(why: impl Into<String>) -> Self {
        Self { refused: true, ..Self::certain(why) }
    }

    /// The same, fit to be shown.
    #[must_use]
    pub fn shown(self, secrets: &[SecretText]) -> Self {
        Self { why: to_printable(hide(secrets, &self.why).as_bytes(), 500), ..self }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Sends requests until a deadline.
pub struct HttpSender<'a> {
    /// The client.
    pub client: &'a reqwest::Client,
    /// How patient.
    pub policy: RetryPolicy,
    /// Clock and chance.
    pub world: &'a ClientContext,
    /// No try and no wait goes on beyond it.
    pub deadline: Instant,
    /// What an answer must not show.
    pub secrets: &'a [SecretText],
    /// Most bytes of an answer.
    pub limit: usize,
}

/// What became of one try.
enum SendAttempt {
    Done(NotifyResponse),
    /// To be tried again, after this time if the server named one.
    Again(SendError, Option<Duration>),
    Never(SendError),
}

impl HttpSender<'_> {
    /// Sends a request, which is made anew for each try: it may bear the time. What may have arrived
    /// is sent again only if that does no harm (`harmless`): the receiver knows it by an id, or it
    /// changes nothing.
    ///
    /// # Errors
    /// A [`SendError`] after the last try, or where another one would be of no use.
    pub async fn send(
        &self,
        harmless: bool,
        make: impl Fn() -> Result<NotifyRequest, SendError>,
    ) -> Result<NotifyResponse, SendError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let (fault, asked) = match self.once(make()?, harmless).await {
                SendAttempt::Done(answer) => return Ok(answer),
                SendAttempt::Never(fault) => return Err(fault),
                SendAttempt::Again(fault, asked) => (fault, asked),
            };
            if tried >= self.policy.attempts {
                return Err(fault);
            }
            let wait = asked.unwrap_or_else(|| self.back_off(tried));
            if wait > self.policy.longest_wait || Instant::now() + wait > self.deadline {
                let why = format!("{}; a wait of {} s is too long", fault.why, wait.as_secs());
                return Err(SendError { why, retry_after: asked, ..fault });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// The wait after so many tries: doubling, and half of it by chance, so that many who failed
    /// together do not come back together.
    fn back_off(&self, tried: u32) -> Duration {
        let full = self.policy.base.saturating_mul(1 << (tried - 1).min(16));
        let full = full.min(self.policy.longest_wait);
        let share = ((self.world.random)() >> 11) as f64 / (1u64 << 53) as f64;
        full.mul_f64(0.5 + share / 2.0)
    }

    async fn once(&self, request: NotifyRequest, harmless: bool) -> SendAttempt {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return SendAttempt::Never(SendError::certain("there was no time left for it"));
        }
        let mut builder = self
            .client
            .request(request.method, request.url.reveal())
            .timeout(self.policy.timeout.min(left));
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let mut response = match builder.body(request.body).send().await {
            Ok(response) => response,
            Err(e) => {
                let unsent = e.is_connect() || e.is_builder();
                let why = explain(e);
                let fault = if unsent { SendError::certain(why) } else { SendError::in_doubt(why) };
                return if unsent || harmless {
                    SendAttempt::Again(fault, None)
                } else {
                    SendAttempt::Never(fault)
                };
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > self.limit => {
                    body.extend_from_slice(&chunk[..self.limit - body.len()]);
                    break;
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // The status has come; for a message that is all there is to know.
                Err(_) => break,
            }
        }
        self.judged(status, headers, body.freeze(), harmless)
    }

    fn judged(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        harmless: bool,
    ) -> SendAttempt {
        if status.is_success() {
            return SendAttempt::Done(NotifyResponse { status, headers, body });
        }
        // Hidden first and cut after, so that no piece of a secret is left at the cut.
        let said = String::from_utf8_lossy(&body[..body.len().min(65_536)]);
        let said = to_printable(hide(self.secrets, &said).as_bytes(), 200);
        let why = match said.trim() {
            "" => format!("the answer was {}", status.as_u16()),
            said => format!("the answer was {}: {said}", status.as_u16()),
        };
        let asked = self.asked_to_wait(status, &headers);
        match status.as_u16() {
            408 | 429 | 500 | 503 => SendAttempt::Again(SendError::certain(why), asked),
            // GitHub's limits; without a time it is a refusal.
            403 if asked.is_some() => SendAttempt::Again(SendError::certain(why), asked),
            // A gateway does not know what became of it.
            502 | 504 | 520..=599 => {
                let fault = SendError::in_doubt(why);
                if harmless { SendAttempt::Again(fault, asked) } else { SendAttempt::Never(fault) }
            }
            400 | 413 | 422 => SendAttempt::Never(SendError::refused(why)),
            _ => SendAttempt::Never(SendError::certain(why)),
        }
    }

    /// How long the server asks to wait: `Retry-After` (RFC 9110, section 10.2.3), or GitHub's time of
    /// the next allowance.
    fn asked_to_wait(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let until = |at: Timestamp| {
            let left = at.duration_since((self.world.now)());
            Duration::try_from(left).unwrap_or_default()
        };
        if let Some(after) = text("retry-after") {
            let asked = match after.parse::<u64>() {
                Ok(s) => Some(Duration::from_secs(s)),
                Err(_) => jiff::fmt::rfc2822::parse(after).ok().map(|t| until(t.timestamp())),
            };
            return asked.map(|wait| wait.min(LONGEST_ASKED));
        }
        if matches!(status.as_u16(), 403 | 429) && text("x-ratelimit-remaining") == Some("0") {
            let reset = text("x-ratelimit-reset")?.parse().ok()?;
            return Timestamp::from_second(reset).ok().map(until);
        }
        None
    }
}

fn hide(secrets: &[SecretText], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |t, s| s.hide_in(&t))
}

/// An error with its causes, and without the URL.
fn explain(e: reqwest::Error) -> String {
    use std::error::Error as _;
    let what = if e.is_timeout() {
        "no answer in time"
    } else if e.is_connect() {
        "no connection"
    } else {
        "the request failed"
    };
    let e = e.without_url();
    let mut cause = e.source();
    let mut last = None;
    while let Some(c) = cause {
        last = Some(c.to_string());
        cause = c.source();
    }
    match last {
        Some(last) => format!("{what}: {last}"),
        None => what.to_owned(),
    }
}

/// The client; `loopback` for one that never uses a proxy.
///
/// # Errors
/// A [`Failure`] where the system has no root certificates.
pub fn build_client(loopback: bool) -> Result<reqwest::Client, Failure> {
    mimawari_base::crypto::provide();
    let mut builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .referer(false)
        .user_agent(concat!("mimawari/", env!("CARGO_PKG_VERSION")));
    if loopback {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|e| {
        Failure::new("cannot make a client for HTTPS")
            .help("install root certificates, such as the package ca-certificates, or name them in SSL_CERT_FILE")
            .source(explain(e))
    })
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

/// Whether a URL is of a loopback address.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<reqwest::Url>() else { return false };
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A POST of JSON.
pub(crate) fn build_post(url: &SecretText, body: Bytes) -> NotifyRequest {
    NotifyRequest {
        method: Method::POST,
        url: url.clone(),
        headers: vec![(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
    }
}
