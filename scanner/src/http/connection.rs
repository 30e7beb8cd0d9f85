//! One HTTP/1.1 connection to one endpoint, with a bound on everything.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_RANGE, HOST, HeaderMap, HeaderValue, LOCATION, RANGE,
    USER_AGENT,
};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use mimawari_probes::observation::{Scheme, TlsFacts};
use mimawari_targets::Endpoint;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::stream::{Stream, dial};
use super::tls::{self, Rung, words};

/// How much of a body is read, bytes. What lies behind is never asked for, and a server that sends
/// it anyway is cut off.
pub const BODY_LIMIT: usize = 64 * 1024;

/// The `Range` that asks for no more than [`BODY_LIMIT`].
const BODY_RANGE: &str = "bytes=0-65535";

/// Largest head that is read, bytes.
const HEAD_LIMIT: usize = 64 * 1024;

/// Most header fields of one head. Servers send a few dozen.
const HEADER_LIMIT: usize = 256;

/// hyper's own buffer: a whole head, and some body behind it.
const BUFFER_LIMIT: usize = HEAD_LIMIT + 32 * 1024;

/// How long the finished connection task may take to say why it ended.
const EPITAPH_WAIT: Duration = Duration::from_secs(1);

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connection, and again for the TLS handshake with all its attempts.
    pub connect: Duration,
    /// From the request to the end of the response head.
    pub head: Duration,
    /// From the head to the end of the body.
    pub body: Duration,
}

/// Where and how to connect: what one connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The address and port; proof that both lie in the scope.
    pub endpoint: Endpoint,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Server name for TLS; none for an address and for plain HTTP.
    pub sni: Option<String>,
}

/// A response, read within the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// `Location`, where it is text.
    pub location: Option<String>,
    /// Header fields with lower-case names.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body as it came, at most [`BODY_LIMIT`] bytes.
    pub body: Vec<u8>,
    /// Whether the resource goes on behind what was read.
    pub truncated: bool,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// In words, without anything that the server sent.
    pub reason: String,
}

/// Kinds of failure, as far as they call for different reactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No TCP connection.
    Connect,
    /// No TLS handshake.
    Tls,
    /// The handshake was refused because nothing is served under this name, or without one.
    NoSite,
    /// Connected, and no complete answer in time.
    Timeout,
    /// The connection ended before the answer did.
    Lost,
    /// What came is not HTTP/1.
    Malformed,
    /// The request itself cannot be put into HTTP.
    Request,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

/// An open connection. Dropping it closes the socket.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    // A set of one: dropping it aborts the task, which a bare join handle would not do.
    driver: JoinSet<hyper::Result<()>>,
    tls: Option<TlsFacts>,
    rung: Option<Rung>,
    responses: u32,
    spent: bool,
}

impl Connection {
    /// Connects, and for HTTPS shakes hands. `hint` is the [`Self::rung`] of an earlier connection
    /// on the same route, which saves the attempts that failed then.
    ///
    /// # Errors
    /// [`FaultKind::Connect`], [`FaultKind::Tls`] or [`FaultKind::NoSite`]. A hint had better be
    /// forgotten after it.
    pub async fn open(
        route: &Route,
        timeouts: &Timeouts,
        hint: Option<Rung>,
    ) -> Result<Self, Fault> {
        let tcp = dial(route.endpoint, timeouts.connect).await.map_err(|e| {
            Fault::new(FaultKind::Connect, format!("cannot connect: {}", words(&e)))
        })?;
        let (mut facts, mut rung) = (None, None);
        let stream = match route.scheme {
            Scheme::Http => Stream::Plain(tcp),
            Scheme::Https => {
                let limits = tls::Limits { connect: timeouts.connect, handshake: timeouts.connect };
                let sni = route.sni.as_deref();
                let session = tls::handshake(tcp, route.endpoint, sni, &limits, hint).await?;
                (facts, rung) = (Some(session.facts), Some(session.rung));
                session.stream
            }
        };
        // Lenient where a browser is: the point is to see what a sloppy server gives away. HTTP/0.9
        // stays off, because with it every answer of every protocol would be a body.
        let (sender, connection) = Builder::new()
            .http09_responses(false)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .max_headers(HEADER_LIMIT)
            .max_header_size(HEAD_LIMIT)
            .max_buf_size(BUFFER_LIMIT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Fault::new(FaultKind::Lost, e.to_string()))?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self { sender, driver, tls: facts, rung, responses: 0, spent: false })
    }

    /// What the handshake showed; none for plain HTTP.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// Which way of shaking hands it took; none for plain HTTP.
    #[must_use]
    pub const fn rung(&self) -> Option<Rung> {
        self.rung
    }

    /// Whether another request may be tried on it. A server that has closed in the meantime is
    /// noticed here or by the request.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.spent && !self.sender.is_closed()
    }

    /// How many heads it has brought.
    #[must_use]
    pub const fn responses(&self) -> u32 {
        self.responses
    }

    /// One GET. `host` is the value of the `Host` field.
    ///
    /// # Errors
    /// Any [`Fault`] but a connect one; the connection is of no more use then.
    pub async fn get(
        &mut self,
        path: &str,
        host: &str,
        user_agent: &str,
        timeouts: &Timeouts,
    ) -> Result<Answer, Fault> {
        let request = request(path, host, user_agent)?;
        let answer = self.exchange(request, timeouts).await;
        if answer.is_err() {
            self.spent = true;
        }
        answer
    }

    async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
        timeouts: &Timeouts,
    ) -> Result<Answer, Fault> {
        let late = || {
            let reason = format!("no response head within {:?}", timeouts.head);
            Fault::new(FaultKind::Timeout, reason)
        };
        let deadline = Instant::now() + timeouts.head;
        let ready = timeout_at(deadline, self.sender.ready()).await.map_err(|_| late())?;
        if let Err(error) = ready {
            return Err(self.explain(&error).await);
        }
        let sent = timeout_at(deadline, self.sender.send_request(request));
        let response = match sent.await.map_err(|_| late())? {
            Ok(response) => response,
            Err(error) => return Err(self.explain(&error).await),
        };
        self.responses = self.responses.saturating_add(1);

        let (parts, body) = response.into_parts();
        let read = timeout(timeouts.body, read(body, BODY_LIMIT)).await;
        let (body, cut) = read
            .map_err(|_| {
                let reason = format!("the body did not end within {:?}", timeouts.body);
                Fault::new(FaultKind::Timeout, reason)
            })?
            .map_err(|e| fault(&e, self.responses))?;
        // Draining the rest would cost more than a new connection does.
        self.spent = cut;
        let truncated = cut
            || (parts.status == StatusCode::PARTIAL_CONTENT
                && resource_length(&parts.headers).is_none_or(|n| n > body.len() as u64));
        Ok(Answer {
            status: parts.status.as_u16(),
            location: text(parts.headers.get(LOCATION)),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body,
            truncated,
        })
    }

    /// The fault behind an error. When hyper only says that its connection task is gone, the task
    /// itself knows why.
    async fn explain(&mut self, error: &hyper::Error) -> Fault {
        if error.is_canceled() || error.is_closed() {
            let epitaph = timeout(EPITAPH_WAIT, self.driver.join_next()).await;
            if let Ok(Some(Ok(Err(cause)))) = epitaph {
                return fault(&cause, self.responses);
            }
        }
        fault(error, self.responses)
    }
}

fn request(path: &str, host: &str, user_agent: &str) -> Result<Request<Empty<Bytes>>, Fault> {
    let refuse = |what: &str| Fault::new(FaultKind::Request, format!("not a valid {what}"));
    // `Uri` takes an authority or an absolute form, too; only the origin form may go out here.
    let uri = Some(path)
        .filter(|p| p.starts_with('/'))
        .and_then(|p| p.parse::<Uri>().ok())
        .filter(|u| u.authority().is_none())
        .ok_or_else(|| refuse("request path"))?;
    let host = HeaderValue::from_str(host).map_err(|_| refuse("Host"))?;
    let agent = HeaderValue::from_str(user_agent).map_err(|_| refuse("User-Agent"))?;
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, agent);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(RANGE, HeaderValue::from_static(BODY_RANGE));
    Ok(request)
}

/// Reads at most `limit` bytes; the flag says that more came or was announced.
async fn read(mut body: Incoming, limit: usize) -> hyper::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let room = limit - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((bytes, true));
        }
        // Known to be more: no need to wait for it.
        if bytes.len() == limit && body.size_hint().lower() > 0 {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

/// The whole length that `Content-Range: bytes a-b/n` names (RFC 9110, section 14.4).
fn resource_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    value.rsplit_once('/')?.1.trim().parse().ok()
}

fn text(value: Option<&HeaderValue>) -> Option<String> {
    value.and_then(|v| std::str::from_utf8(v.as_bytes()).ok()).map(str::to_owned)
}

fn fault(error: &hyper::Error, responses: u32) -> Fault {
    if error.is_parse_too_large() {
        let reason =
            format!("the response head is over {} KiB or {HEADER_LIMIT} fields", HEAD_LIMIT / 1024);
        return Fault::new(FaultKind::Malformed, reason);
    }
    if error.is_parse() {
        return Fault::new(FaultKind::Malformed, "the answer is not HTTP/1");
    }
    if error.is_incomplete_message() {
        return Fault::new(FaultKind::Lost, "the connection was closed before the answer ended");
    }
    if let Some(io) = error.source().and_then(|e| e.downcast_ref::<io::Error>()) {
        let is_tls = tls::is_tls_error(io);
        return match io.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if !is_tls => {
                Fault::new(FaultKind::Malformed, "the body's framing is broken")
            }
            _ => Fault::new(FaultKind::Lost, format!("connection lost: {}", words(io))),
        };
    }
    let gone = error.is_canceled() || error.is_closed();
    if responses == 0 && !gone {
        // Bytes before any request: a protocol in which the server speaks first.
        return Fault::new(FaultKind::Malformed, "the server spoke before it was asked");
    }
    Fault::new(FaultKind::Lost, "the connection was closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_origin_form_leaves() {
        for path in ["/", "/.env", "/%23config.php%23", "/server-status?auto"] {
            let r = request(path, "shop.example.jp", "mimawari/0").unwrap();
            assert_eq!(r.uri().to_string(), path);
            assert_eq!(r.headers()["range"], BODY_RANGE);
            assert_eq!(r.headers()["accept-encoding"], "identity");
            assert_eq!(r.headers()["host"], "shop.example.jp");
        }
        for path in ["http://192.0.2.1/", "192.0.2.1:80", "*", "", "/a b", "/a\r\nX: y", "//[", ""]
        {
            match request(path, "h", "a") {
                Err(f) => assert_eq!(f.kind, FaultKind::Request, "{path:?}"),
                Ok(r) => assert!(r.uri().authority().is_none(), "{path:?}"),
            }
        }
        assert!(request("/", "a\r\nb", "a").is_err());
        assert!(request("/", "a", "a\nb").is_err());
    }

    #[test]
    fn length_of_a_range() {
        let of = |v: &str| {
            let mut h = HeaderMap::new();
            h.insert(CONTENT_RANGE, HeaderValue::from_str(v).unwrap());
            resource_length(&h)
        };
        assert_eq!(of("bytes 0-65535/70000"), Some(70000));
        assert_eq!(of("bytes 0-9/*"), None);
        assert_eq!(of("nonsense"), None);
    }
}
