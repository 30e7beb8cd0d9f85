//! One HTTP/1.1 connection to one endpoint, with a bound on everything.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_RANGE, COOKIE, HOST, HeaderMap,
    HeaderName, HeaderValue, LOCATION, RANGE, RETRY_AFTER, SERVER, SET_COOKIE, USER_AGENT,
};
use http::{Method, Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use mimawari_base::uplink::Uplink;
use mimawari_probes::http::HeaderFields;
use mimawari_probes::http::raw::RawHead;
use mimawari_probes::observation::{TlsFacts, UrlScheme};
use mimawari_targets::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::stream::{HttpStream, dial};
use super::tls::{self, TlsFallback, describe_tls_error};

/// How much of a body is read, bytes. What lies behind is never asked for, and a server that sends
/// it anyway is cut off.
pub const BODY_LIMIT: usize = 64 * 1024;

/// The `Range` that asks for no more than [`BODY_LIMIT`].
const BODY_RANGE: &str = "bytes=0-65535";

/// Most cookies that are sent back to the site that set them, bytes.
const COOKIE_LIMIT: usize = 4 * 1024;

/// Largest head that is read, bytes.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;

/// hyper's own buffer: a whole head, and some body behind it.
const BUFFER_LIMIT: usize = HEAD_LIMIT + 32 * 1024;

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpTimeouts {
    /// TCP connection, and again for the TLS handshake with all its attempts.
    pub connect: Duration,
    /// From the request to the end of the response head.
    pub head: Duration,
    /// From the head to the end of the body.
    pub body: Duration,
}

/// Where and how to connect: what one connection belongs to.
#[derive(Debug, Clone)]
pub struct SiteRoute {
    /// The address and port; proof that both lie in the scope.
    pub endpoint: Endpoint,
    /// Plain or TLS.
    pub scheme: UrlScheme,
    /// Server name for TLS; none for an address and for plain HTTP.
    pub sni: Option<String>,
    /// How connections leave.
    pub uplink: Uplink,
}

/// A response, read within the limits.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body as it came, at most [`BODY_LIMIT`] bytes.
    pub body: Vec<u8>,
    /// Whether the resource goes on behind what was read.
    pub truncated: bool,
    /// Why the body ended before the end that was announced.
    pub cut_short: Option<ResponseError>,
    /// Length of the whole resource, bytes, where `Content-Range` says it.
    pub total: Option<u64>,
    /// The head was not valid HTTP/1 and was read by force.
    pub malformed: bool,
}

/// Nothing of the content: it may be somebody's secret, and logs are read by many.
impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Answer");
        out.field("status", &self.status).field("length", &self.body.len());
        out.field("truncated", &self.truncated).finish_non_exhaustive()
    }
}

impl HeaderFields for HttpAnswer {
    fn each(&self, see: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in &self.headers {
            see(name.as_str(), value.as_bytes());
        }
    }
}

impl HttpAnswer {
    /// A field's value, where it is UTF-8.
    #[must_use]
    pub fn text(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| std::str::from_utf8(v.as_bytes()).ok())
    }

    /// The values of `Content-Encoding`, in the order in which they were applied.
    #[must_use]
    pub fn codings(&self) -> Option<Cow<'_, [u8]>> {
        let mut all = self.headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
        let first = all.next()?;
        Some(match all.next() {
            None => Cow::Borrowed(first),
            Some(second) => {
                let mut joined = [first, b",", second].concat();
                for value in all {
                    joined.push(b',');
                    joined.extend_from_slice(value);
                }
                Cow::Owned(joined)
            }
        })
    }

    /// A field's value.
    #[must_use]
    pub fn bytes(&self, name: HeaderName) -> Option<&[u8]> {
        self.headers.get(name).map(HeaderValue::as_bytes)
    }
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ResponseError {
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
    /// No TLS handshake in time.
    Late,
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

impl ResponseError {
    /// Whether nothing came in time, so that asking the next name would cost as much again.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.kind, FaultKind::Timeout | FaultKind::Late)
    }

    pub(super) fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

/// What is asked of one site: the fields of its requests, made once.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    fields: HeaderMap,
}

impl RequestTemplate {
    /// Requests with this `Host` and `User-Agent`.
    ///
    /// # Errors
    /// [`FaultKind::Request`] when one of the two cannot be put into a field.
    pub fn new(host: &str, user_agent: &str) -> Result<Self, ResponseError> {
        let value = |text: &str, what: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| ResponseError::new(FaultKind::Request, format!("not a valid {what}")))
        };
        let mut fields = HeaderMap::with_capacity(8);
        fields.insert(HOST, value(host, "Host")?);
        fields.insert(USER_AGENT, value(user_agent, "User-Agent")?);
        fields.insert(ACCEPT, HeaderValue::from_static("*/*"));
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        fields.insert(RANGE, HeaderValue::from_static(BODY_RANGE));
        Ok(Self { fields })
    }

    /// Asks for whole resources from now on: the server refuses a `Range` that is longer than the
    /// resource.
    pub fn drop_range(&mut self) {
        self.fields.remove(RANGE);
    }

    /// Whether requests ask for a `Range`.
    #[must_use]
    pub fn has_range(&self) -> bool {
        self.fields.contains_key(RANGE)
    }

    /// The same template without a `Range`.
    #[must_use]
    pub fn without_range(&self) -> Self {
        let mut other = self.clone();
        other.drop_range();
        other
    }

    /// Sends back the cookies that this answer sets. Whether there are any that were not sent
    /// before.
    pub fn take_cookies(&mut self, answer: &HttpAnswer) -> bool {
        let before = self.fields.get(COOKIE).map(HeaderValue::as_bytes).unwrap_or_default();
        let mut cookies = before.to_vec();
        for set in answer.headers.get_all(SET_COOKIE) {
            let pair = set.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            let known = cookies.split(|b| *b == b';').any(|c| c.trim_ascii() == pair);
            if !pair.contains(&b'=') || known || cookies.len() + pair.len() > COOKIE_LIMIT {
                continue;
            }
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(pair);
        }
        if cookies == before {
            return false;
        }
        let Ok(value) = HeaderValue::from_bytes(&cookies) else { return false };
        self.fields.insert(COOKIE, value);
        true
    }

    pub(super) fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, ResponseError> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = parse_origin_form(path)?;
        *request.headers_mut() = self.fields.clone();
        Ok(request)
    }

    /// The same request as bytes, for one connection of its own.
    fn bytes(&self, path: &str) -> Result<Vec<u8>, ResponseError> {
        let mut bytes = format!("GET {} HTTP/1.1\r\n", parse_origin_form(path)?).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"connection: close\r\n\r\n");
        Ok(bytes)
    }
}

/// Only the origin form may go out (RFC 9112, section 3.2.1): `Uri` takes others, too.
fn parse_origin_form(path: &str) -> Result<Uri, ResponseError> {
    Some(path)
        .filter(|p| p.starts_with('/'))
        .and_then(|p| p.parse::<Uri>().ok())
        .filter(|u| u.authority().is_none())
        .ok_or_else(|| ResponseError::new(FaultKind::Request, "not a valid request path"))
}

type ConnectionDriver = hyper::client::conn::http1::Connection<TokioIo<HttpStream>, Empty<Bytes>>;

/// An open connection. Dropping it closes the socket.
///
/// hyper's half that does the reading and writing is driven by whoever waits for an answer, in the
/// same task: handing each request to another task and back would cost more than the request.
#[derive(Debug)]
pub struct HttpConnection {
    sender: SendRequest<Empty<Bytes>>,
    driver: Option<Box<ConnectionDriver>>,
    /// How the driver ended, until somebody asks.
    close_reason: Option<hyper::Error>,
    /// One timer for everything; moving it ahead costs next to nothing.
    alarm: Pin<Box<Sleep>>,
    tls: Option<TlsFacts>,
    fallback: Option<TlsFallback>,
    responses: u32,
    spent: bool,
}

impl HttpConnection {
    /// Connects, and for HTTPS shakes hands. `hint` is the [`Self::fallback`] of an earlier connection
    /// on the same route, which saves the attempts that failed then.
    ///
    /// # Errors
    /// [`FaultKind::Connect`], [`FaultKind::Tls`] or [`FaultKind::NoSite`]. A hint had better be
    /// forgotten after it.
    pub async fn open(
        route: &SiteRoute,
        timeouts: &HttpTimeouts,
        hint: Option<TlsFallback>,
    ) -> Result<Self, ResponseError> {
        let (stream, tls, fallback) = open_stream(route, timeouts, hint).await?;
        // Lenient where a browser is: the point is to see what a sloppy server gives away. HTTP/0.9
        // stays off, because with it every answer of every protocol would be a body.
        let (sender, connection) = Builder::new()
            .http09_responses(false)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .max_header_size(HEAD_LIMIT)
            .max_buf_size(BUFFER_LIMIT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| ResponseError::new(FaultKind::Lost, e.to_string()))?;
        Ok(Self {
            sender,
            driver: Some(Box::new(connection)),
            close_reason: None,
            alarm: Box::pin(sleep_until(Instant::now() + timeouts.head)),
            tls,
            fallback,
            responses: 0,
            spent: false,
        })
    }

    /// What the handshake showed; none for plain HTTP.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// Which way of shaking hands it took; none for plain HTTP.
    #[must_use]
    pub const fn fallback(&self) -> Option<TlsFallback> {
        self.fallback
    }

    /// Whether another request may be tried on it. A server that has closed in the meantime is
    /// noticed here or by the request.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.spent && self.driver.is_some() && !self.sender.is_closed()
    }

    /// How many heads it has brought.
    #[must_use]
    pub const fn responses(&self) -> u32 {
        self.responses
    }

    /// One GET.
    ///
    /// # Errors
    /// Any [`ResponseError`] but a connect one; the connection is of no more use then.
    pub async fn get(
        &mut self,
        path: &str,
        template: &RequestTemplate,
        timeouts: &HttpTimeouts,
    ) -> Result<HttpAnswer, ResponseError> {
        let request = template.request(path)?;
        // A future that is dropped half-way leaves an answer behind that nobody reads.
        self.spent = true;
        let (answer, cut) = self.exchange(request, timeouts).await?;
        // Draining the rest of a body would cost more than a new connection does.
        self.spent = cut;
        Ok(answer)
    }

    async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
        timeouts: &HttpTimeouts,
    ) -> Result<(HttpAnswer, bool), ResponseError> {
        self.alarm.as_mut().reset(Instant::now() + timeouts.head);
        let head = pin!(self.sender.send_request(request));
        let waiting = WaitingRequest {
            driver: &mut self.driver,
            close_reason: &mut self.close_reason,
            alarm: &mut self.alarm,
        };
        let response = match waiting.until(head).await {
            Some(Ok(response)) => response,
            Some(Err(error)) => return Err(self.explain(&error)),
            None => {
                let reason = format!("no response head within {:?}", timeouts.head);
                return Err(ResponseError::new(FaultKind::Timeout, reason));
            }
        };
        self.responses = self.responses.saturating_add(1);

        let (parts, mut body) = response.into_parts();
        self.alarm.as_mut().reset(Instant::now() + timeouts.body);
        let mut bytes = Vec::new();
        let read = {
            let read = pin!(read(&mut body, &mut bytes, BODY_LIMIT));
            let waiting = WaitingRequest {
                driver: &mut self.driver,
                close_reason: &mut self.close_reason,
                alarm: &mut self.alarm,
            };
            waiting.until(read).await
        };
        let mut cut_short = None;
        let cut = match read {
            Some(Ok(cut)) => cut,
            Some(Err(error)) => {
                cut_short = Some(classify_hyper_error(&error, self.responses));
                true
            }
            None => {
                let reason = format!("the body did not end within {:?}", timeouts.body);
                cut_short = Some(ResponseError::new(FaultKind::Timeout, reason));
                true
            }
        };
        // Bytes that came are an answer; none are not.
        if let Some(fault) = cut_short.take_if(|_| bytes.is_empty()) {
            return Err(fault);
        }
        // Known now, and not only when the next request fails.
        let last = closes(parts.version, &parts.headers);
        let total = parse_total_length(&parts.headers);
        let truncated = cut
            || (parts.status == StatusCode::PARTIAL_CONTENT
                && total.is_none_or(|n| n > bytes.len() as u64));
        let answer = HttpAnswer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: bytes,
            truncated,
            cut_short,
            total,
            malformed: false,
        };
        Ok((answer, cut || last))
    }

    /// The fault behind an error. When hyper only says that its other half is gone, that half knows
    /// why.
    fn explain(&mut self, error: &hyper::Error) -> ResponseError {
        if !error.is_canceled() && !error.is_closed() {
            return classify_hyper_error(error, self.responses);
        }
        let inside = error.source().and_then(|e| e.downcast_ref::<hyper::Error>());
        let cause = self.close_reason.take();
        classify_hyper_error(inside.or(cause.as_ref()).unwrap_or(error), self.responses)
    }
}

/// Waits for an answer, and does the reading and writing meanwhile.
struct WaitingRequest<'a> {
    driver: &'a mut Option<Box<ConnectionDriver>>,
    close_reason: &'a mut Option<hyper::Error>,
    alarm: &'a mut Pin<Box<Sleep>>,
}

impl WaitingRequest<'_> {
    /// What the future comes to; nothing if the alarm goes off before.
    async fn until<F: Future>(self, mut future: Pin<&mut F>) -> Option<F::Output> {
        let Self { driver, close_reason, alarm } = self;
        poll_fn(|cx| {
            // The future says what it wants, the driver fetches it, the future takes it.
            for _ in 0..2 {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Some(output));
                }
                let Some(running) = driver else { break };
                if let Poll::Ready(end) = Pin::new(&mut **running).poll(cx) {
                    *close_reason = end.err();
                    *driver = None;
                }
            }
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            alarm.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}

/// Connects, and for HTTPS shakes hands.
pub(super) async fn open_stream(
    route: &SiteRoute,
    timeouts: &HttpTimeouts,
    hint: Option<TlsFallback>,
) -> Result<(HttpStream, Option<TlsFacts>, Option<TlsFallback>), ResponseError> {
    let tcp = dial(route.endpoint, timeouts.connect, &route.uplink).await.map_err(|e| {
        ResponseError::new(
            FaultKind::Connect,
            format!("cannot connect: {}", describe_tls_error(&e)),
        )
    })?;
    if route.scheme == UrlScheme::Http {
        return Ok((HttpStream::Plain(tcp), None, None));
    }
    let limits = tls::TlsLimits { connect: timeouts.connect, handshake: timeouts.connect };
    let session =
        tls::run_handshake(tcp, route.endpoint, &route.uplink, route.sni.as_deref(), &limits, hint)
            .await?;
    Ok((session.stream, Some(session.facts), Some(session.fallback)))
}

/// One GET over a connection of its own, for a server whose answers a strict reader refuses.
///
/// # Errors
/// [`FaultKind::Malformed`] when not even a status line can be made out; otherwise as
/// [`HttpConnection::open`] and [`HttpConnection::get`].
pub async fn get_by_force(
    route: &SiteRoute,
    path: &str,
    template: &RequestTemplate,
    timeouts: &HttpTimeouts,
    hint: Option<TlsFallback>,
) -> Result<HttpAnswer, ResponseError> {
    const PREFIX: &[u8] = b"HTTP/";
    let request = template.bytes(path)?;
    let (mut stream, ..) = open_stream(route, timeouts, hint).await?;
    let mut bytes = Vec::new();
    let talk = async {
        // A server that resets after its answer may fail our write; the answer still counts.
        let _ = stream.write_all(&request).await;
        let _ = stream.flush().await;
        let mut chunk = vec![0; 16 * 1024];
        while bytes.len() < HEAD_LIMIT + BODY_LIMIT {
            match stream.read(&mut chunk).await {
                Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
                _ => break,
            }
            // Whoever says something else will say nothing better later.
            let start = &bytes[..bytes.len().min(PREFIX.len())];
            if !PREFIX.starts_with(start) || is_whole(&bytes) {
                break;
            }
        }
    };
    // What has come until then is the answer: nothing says where it ends.
    let _ = timeout(timeouts.head, talk).await;
    let Some(head) = RawHead::parse(&bytes) else {
        return Err(ResponseError::new(FaultKind::Malformed, "the answer is not HTTP/1"));
    };
    let mut headers = HeaderMap::new();
    for name in [LOCATION, CONTENT_ENCODING, CONTENT_RANGE, SERVER, RETRY_AFTER, SET_COOKIE] {
        if let Some(value) = head.field(name.as_str()).and_then(|v| HeaderValue::from_bytes(v).ok())
        {
            headers.insert(name, value);
        }
    }
    let total = parse_total_length(&headers);
    let mut body = head.body().into_owned();
    let truncated = body.len() > BODY_LIMIT || bytes.len() >= HEAD_LIMIT + BODY_LIMIT;
    body.truncate(BODY_LIMIT);
    Ok(HttpAnswer {
        status: head.status,
        headers,
        body,
        truncated,
        cut_short: None,
        total,
        malformed: true,
    })
}

/// Whether an answer has come as far as its head promises. A server that does not say how far, or
/// not in a way that can be read, says so by closing.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(head) = RawHead::parse(bytes).filter(|h| h.is_ended()) else {
        return false;
    };
    if head.field("transfer-encoding").is_some() {
        return head.rest.ends_with(b"0\r\n\r\n");
    }
    let length = head.field("content-length").and_then(|v| std::str::from_utf8(v).ok());
    length.and_then(|v| v.parse::<usize>().ok()).is_some_and(|n| head.rest.len() >= n)
}

/// Reads at most `limit` bytes; the flag says that more came or was announced. What came before an
/// error stays in `bytes`.
pub(super) async fn read(
    body: &mut Incoming,
    bytes: &mut Vec<u8>,
    limit: usize,
) -> hyper::Result<bool> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let room = limit - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok(true);
        }
        // Known to be more: no need to wait for it.
        if bytes.len() == limit && body.size_hint().lower() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the server closes after this answer (RFC 9112, section 9.3).
fn closes(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        let all = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
        all.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(word))
    };
    match version {
        Version::HTTP_11 => says("close"),
        _ => !says("keep-alive"),
    }
}

/// The whole length that `Content-Range: bytes a-b/n` names (RFC 9110, section 14.4).
pub(super) fn parse_total_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    value.rsplit_once('/')?.1.trim().parse().ok()
}

fn classify_hyper_error(error: &hyper::Error, responses: u32) -> ResponseError {
    if error.is_parse_too_large() {
        let reason =
            format!("the response head is over {} KiB or has too many fields", HEAD_LIMIT / 1024);
        return ResponseError::new(FaultKind::Malformed, reason);
    }
    if error.is_parse() {
        return ResponseError::new(FaultKind::Malformed, "the answer is not HTTP/1");
    }
    if error.is_incomplete_message() {
        return ResponseError::new(
            FaultKind::Lost,
            "the connection was closed before the answer ended",
        );
    }
    if let Some(io) = error.source().and_then(|e| e.downcast_ref::<io::Error>()) {
        let is_tls = tls::is_tls_error(io);
        return match io.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if !is_tls => {
                ResponseError::new(FaultKind::Malformed, "the body's framing is broken")
            }
            _ => ResponseError::new(
                FaultKind::Lost,
                format!("connection lost: {}", describe_tls_error(io)),
            ),
        };
    }
    let gone = error.is_canceled() || error.is_closed();
    if responses == 0 && !gone {
        // Bytes before any request: a protocol in which the server speaks first.
        return ResponseError::new(FaultKind::Malformed, "the server spoke before it was asked");
    }
    ResponseError::new(FaultKind::Lost, "the connection was closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_origin_form_leaves() {
        for path in ["/", "/.env", "/%23config.php%23", "/server-status?auto"] {
            let template = RequestTemplate::new("shop.example.jp", "mimawari/0").unwrap();
            let r = template.request(path).unwrap();
            assert_eq!(r.uri().to_string(), path);
            assert_eq!(r.headers()["range"], BODY_RANGE);
            assert_eq!(r.headers()["accept-encoding"], "identity");
            assert_eq!(r.headers()["host"], "shop.example.jp");
        }
        for path in ["http://192.0.2.1/", "192.0.2.1:80", "*", "", "/a b", "/a\r\nX: y", "//[", ""]
        {
            match RequestTemplate::new("h", "a").unwrap().request(path) {
                Err(f) => assert_eq!(f.kind, FaultKind::Request, "{path:?}"),
                Ok(r) => assert!(r.uri().authority().is_none(), "{path:?}"),
            }
        }
        assert!(RequestTemplate::new("a\r\nb", "a").is_err());
        assert!(RequestTemplate::new("a", "a\nb").is_err());
    }

    #[test]
    fn length_of_a_range() {
        let of = |v: &str| {
            let mut h = HeaderMap::new();
            h.insert(CONTENT_RANGE, HeaderValue::from_str(v).unwrap());
            parse_total_length(&h)
        };
        assert_eq!(of("bytes 0-65535/70000"), Some(70000));
        assert_eq!(of("bytes 0-9/*"), None);
        assert_eq!(of("nonsense"), None);
    }
}
