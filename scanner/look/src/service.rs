//! What speaks on an open port: a full connection, and as few bytes as can show it.
//!
//! The kernel's own `connect()` confirms that the port is open. Then the server may speak first;
//! if it does not, it gets a TLS ClientHello, a second one in the old way where the first is refused,
//! or one HTTP GET, and nothing else ever. A name is given only for bytes that prove it.

use std::io;
use std::time::Duration;

use mimawari_base::sockets;
use mimawari_base::uplink::Uplink;
use mimawari_probes::http::raw::{RawHead, extract_title};
use mimawari_probes::http::{redact_text, redact_title};
use mimawari_probes::observation::{HttpFacts, SecondLook, ServiceFacts, UrlScheme};
use mimawari_targets::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::stream::{HttpStream, dial};
use crate::http::tls::{self, RefusalKind};

/// Longest banner, server field and title in an observation, characters.
const TEXT_LIMIT: usize = 256;

/// How much of a first word is read, bytes.
const BANNER_LIMIT: usize = 1024;

/// How much of an HTTP answer is read for its status, server and title, bytes.
const PAGE_LIMIT: usize = 32 * 1024;

/// Where TLS is tried without waiting for a banner: nothing that speaks first lives here.
const TLS_PORTS: [u16; 9] = [443, 2083, 2087, 4443, 6443, 8006, 8443, 9443, 10443];

/// Where plain HTTP is tried before TLS, after a short wait for a banner. A TLS server on one of
/// these is still found: it answers with 400, a redirect to https, an alert, or silence. Redis and
/// memcached are here because a ClientHello leaves them waiting for the end of a line.
const PLAIN_PORTS: [u16; 24] = [
    80, 81, 82, 88, 591, 3000, 3128, 5000, 5601, 5984, 6379, 8000, 8008, 8080, 8081, 8086, 8088,
    8161, 8500, 8888, 9000, 9090, 9200, 11211,
];

/// Where nothing is sent: these print whatever they get.
const PRINTER_PORTS: [u16; 9] = [515, 9100, 9101, 9102, 9103, 9104, 9105, 9106, 9107];

/// How long each step may take, and who asks.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// For the TCP connection.
    pub connect_timeout: Duration,
    /// For a server that speaks first; a quarter of it where HTTP is expected.
    pub banner_wait: Duration,
    /// For the TLS handshake with all its attempts, and again for the HTTP answer.
    pub answer_timeout: Duration,
    /// `User-Agent` of the one request.
    pub user_agent: String,
    /// How connections leave.
    pub uplink: Uplink,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            banner_wait: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(3),
            user_agent: concat!("mimawari/", env!("CARGO_PKG_VERSION")).to_owned(),
            uplink: Uplink::default(),
        }
    }
}

/// What a second, full connection showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// The connection was accepted.
    pub accepted: bool,
    /// The connection was refused with RST.
    pub refused: bool,
    /// What speaks there, whenever the connection was accepted.
    pub service: Option<ServiceFacts>,
    /// Set where it speaks HTTP or HTTPS, or speaks TLS and wants to know a site's name first.
    pub web: Option<UrlScheme>,
    /// The connection was accepted and not one byte came back, asked or not: an idle service, a
    /// tarpit, or a way that carries no full-sized packets (RFC 2923, section 2.1).
    pub mute: bool,
    /// What came proves another protocol than HTTP, or nothing may be sent there. Where neither this
    /// nor [`Self::web`] is set, a site may be served under a name.
    pub foreign: bool,
    /// Why a connection failed other than by a refusal of the first: the first itself, or where that
    /// was accepted, one that was to name the service, which is then not known to be no web site.
    pub failure: Option<SecondLook>,
}

impl Confirmation {
    /// How the second look ended.
    #[must_use]
    pub fn end(&self) -> SecondLook {
        match self.failure {
            _ if self.accepted => SecondLook::Confirmed,
            _ if self.refused => SecondLook::Refused,
            failure => failure.unwrap_or(SecondLook::NotMade),
        }
    }
}

/// What a connection that failed says about an open port.
fn classify_connect_error(error: &io::Error) -> SecondLook {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => SecondLook::Refused,
        _ if sockets::is_local_error(error) => SecondLook::OwnError,
        io::ErrorKind::TimedOut => SecondLook::TimedOut,
        io::ErrorKind::HostUnreachable => SecondLook::Unreachable,
        _ => SecondLook::Other,
    }
}

/// Connects to the endpoint and names what answers. At most three connections, each with a bound on
/// time and bytes: one for HTTP, and one for each way of shaking hands without a name. One more
/// where the server closes at a request, which may be one that speaks HTTP/2 alone.
pub async fn confirm(endpoint: Endpoint, config: &ServiceConfig) -> Confirmation {
    let stream = match dial(endpoint, config.connect_timeout, &config.uplink).await {
        Ok(stream) => HttpStream::Plain(stream),
        Err(error) => {
            let end = classify_connect_error(&error);
            let refused = end == SecondLook::Refused;
            let failure = (!refused).then_some(end);
            return Confirmation { refused, failure, ..Confirmation::default() };
        }
    };
    let IdentifiedService { service, web, mute, failure } =
        identify(stream, endpoint, config).await;
    let is_known = !matches!(service.name.as_str(), "unknown" | "tls") || service.banner.is_some();
    let foreign = web.is_none() && (is_known || PRINTER_PORTS.contains(&endpoint.port().get()));
    Confirmation {
        accepted: true,
        refused: false,
        service: Some(service),
        web,
        mute,
        foreign,
        failure,
    }
}

/// By which scheme an endpoint answers for a name, where it says nothing without one.
pub async fn detect_scheme(
    endpoint: Endpoint,
    name: &str,
    config: &ServiceConfig,
) -> Option<UrlScheme> {
    if PLAIN_PORTS.contains(&endpoint.port().get()) {
        match probe_plain_scheme(endpoint, name, config).await {
            Some(scheme) => Some(scheme),
            None => probe_tls_scheme(endpoint, name, config).await,
        }
    } else {
        match probe_tls_scheme(endpoint, name, config).await {
            Some(scheme) => Some(scheme),
            None => probe_plain_scheme(endpoint, name, config).await,
        }
    }
}

/// The scheme to ask by when no name had an answer.
#[must_use]
pub fn select_default_scheme(endpoint: Endpoint) -> UrlScheme {
    if TLS_PORTS.contains(&endpoint.port().get()) { UrlScheme::Https } else { UrlScheme::Http }
}

async fn probe_plain_scheme(
    endpoint: Endpoint,
    name: &str,
    config: &ServiceConfig,
) -> Option<UrlScheme> {
    let mut stream =
        HttpStream::Plain(dial(endpoint, config.connect_timeout, &config.uplink).await.ok()?);
    let answer = ask_http(&mut stream, name, config).await?;
    RawHead::parse(&answer).map(|_| UrlScheme::Http)
}

async fn probe_tls_scheme(
    endpoint: Endpoint,
    name: &str,
    config: &ServiceConfig,
) -> Option<UrlScheme> {
    let tcp = dial(endpoint, config.connect_timeout, &config.uplink).await.ok()?;
    let limits =
        tls::TlsLimits { connect: config.connect_timeout, handshake: config.answer_timeout };
    match tls::run_handshake(tcp, endpoint, &config.uplink, Some(name), &limits, None).await {
        Ok(_) => Some(UrlScheme::Https),
        Err(refusal) => refusal.spoke_tls.then_some(UrlScheme::Https),
    }
}

struct IdentifiedService {
    service: ServiceFacts,
    web: Option<UrlScheme>,
    mute: bool,
    failure: Option<SecondLook>,
}

impl IdentifiedService {
    const fn new(service: ServiceFacts, web: Option<UrlScheme>) -> Self {
        Self { service, web, mute: false, failure: None }
    }

    /// Something was said that names nothing.
    fn unknown() -> Self {
        Self::new(ServiceFacts { name: "unknown".to_owned(), ..ServiceFacts::default() }, None)
    }

    /// Nothing was said.
    fn mute() -> Self {
        Self { mute: true, ..Self::unknown() }
    }

    /// A connection that was to name it failed.
    fn cut_short(failure: SecondLook) -> Self {
        Self { failure: Some(failure), ..Self::unknown() }
    }
}

async fn identify(
    mut stream: HttpStream,
    endpoint: Endpoint,
    config: &ServiceConfig,
) -> IdentifiedService {
    let port = endpoint.port().get();
    let plain_first = PLAIN_PORTS.contains(&port);
    if !TLS_PORTS.contains(&port) {
        let wait = if plain_first { config.banner_wait / 4 } else { config.banner_wait };
        match read_greeting(&mut stream, wait).await {
            // Servers of HTTP/2 alone may send their settings at once.
            ServiceWord::Spoke(bytes) => {
                if is_settings(&bytes)
                    && let Ok(fresh) = dial(endpoint, config.connect_timeout, &config.uplink).await
                    && has_http2(HttpStream::Plain(fresh), config).await
                {
                    return build_http_service(HttpFacts::default());
                }
                // A server with no room for one more says so at once.
                return match read_reply(&bytes) {
                    ServiceReply::Http { facts, .. } => build_http_service(facts),
                    _ => IdentifiedService::new(identify_greeting(&bytes), None),
                };
            }
            // Closed without a word, as a TCP wrapper does: a request would show no more.
            ServiceWord::Closed => return IdentifiedService::mute(),
            ServiceWord::Quiet => {}
        }
    }
    if PRINTER_PORTS.contains(&port) {
        return IdentifiedService::unknown();
    }
    if plain_first {
        let plain = ask_http(&mut stream, &endpoint.socket_addr().to_string(), config).await;
        let reply = plain.as_deref().map(read_reply);
        if let Some(bytes) = plain.as_deref()
            && (bytes.is_empty() || is_settings(bytes))
            && let Ok(fresh) = dial(endpoint, config.connect_timeout, &config.uplink).await
            && has_http2(HttpStream::Plain(fresh), config).await
        {
            return build_http_service(HttpFacts::default());
        }
        // What is certain needs no second look; a 400 or a hint towards https may be a TLS port.
        match &reply {
            Some(ServiceReply::Http { facts, to_https }) if facts.status != 400 && !to_https => {
                return build_http_service(facts.clone());
            }
            Some(ServiceReply::Other(service)) => {
                return IdentifiedService::new((**service).clone(), None);
            }
            _ => {}
        }
        drop(stream);
        let tls = identify_over_tls(None, endpoint, config).await;
        return match (tls, reply) {
            (Ok(Some(found)), _) => found,
            (_, Some(ServiceReply::Http { facts, .. })) => build_http_service(facts),
            (Err(failure), _) => IdentifiedService::cut_short(failure),
            (_, Some(_)) if plain.as_ref().is_some_and(|p| !p.is_empty()) => {
                IdentifiedService::unknown()
            }
            _ => IdentifiedService::mute(),
        };
    }
    match identify_over_tls(Some(stream), endpoint, config).await {
        Ok(Some(found)) => return found,
        Ok(None) => {}
        Err(failure) => return IdentifiedService::cut_short(failure),
    }
    let fresh = match dial(endpoint, config.connect_timeout, &config.uplink).await {
        Ok(fresh) => fresh,
        Err(error) => return IdentifiedService::cut_short(classify_connect_error(&error)),
    };
    let mut fresh = HttpStream::Plain(fresh);
    let answer = ask_http(&mut fresh, &endpoint.socket_addr().to_string(), config).await;
    match answer.as_deref().map(read_reply) {
        Some(ServiceReply::Http { facts, .. }) => build_http_service(facts),
        Some(ServiceReply::Other(service)) => IdentifiedService::new(*service, None),
        Some(_) if answer.as_ref().is_some_and(|a| !a.is_empty()) => IdentifiedService::unknown(),
        _ => IdentifiedService::mute(),
    }
}

fn build_http_service(facts: HttpFacts) -> IdentifiedService {
    let service =
        ServiceFacts { name: "http".to_owned(), http: Some(facts), ..ServiceFacts::default() };
    IdentifiedService::new(service, Some(UrlScheme::Http))
}

/// What a server says without being asked.
enum ServiceWord {
    Spoke(Vec<u8>),
    Closed,
    Quiet,
}

async fn read_greeting(stream: &mut HttpStream, wait: Duration) -> ServiceWord {
    let mut buffer = vec![0; BANNER_LIMIT];
    match timeout(wait, stream.read(&mut buffer)).await {
        Err(_) => ServiceWord::Quiet,
        Ok(Ok(n)) if n > 0 => {
            buffer.truncate(n);
            ServiceWord::Spoke(buffer)
        }
        Ok(_) => ServiceWord::Closed,
    }
}

/// Names a service by a ClientHello and, inside TLS, by its first word or an HTTP answer. `None`
/// when the peer does not speak TLS.
///
/// # Errors
/// Why no connection could be made.
async fn identify_over_tls(
    stream: Option<HttpStream>,
    endpoint: Endpoint,
    config: &ServiceConfig,
) -> Result<Option<IdentifiedService>, SecondLook> {
    let tcp = match stream {
        Some(HttpStream::Plain(tcp)) => tcp,
        _ => dial(endpoint, config.connect_timeout, &config.uplink)
            .await
            .map_err(|e| classify_connect_error(&e))?,
    };
    let limits =
        tls::TlsLimits { connect: config.connect_timeout, handshake: config.answer_timeout };
    let session = match tls::run_handshake(tcp, endpoint, &config.uplink, None, &limits, None).await
    {
        Ok(session) => session,
        Err(refusal) => {
            let web_port = TLS_PORTS.contains(&endpoint.port().get());
            let web = match refusal.kind {
                // Sites by name alone: whoever knows a name will be served.
                RefusalKind::NoSite => true,
                // TLS all the same, and on a web port most likely a site that cannot be talked to
                // (one that wants a client's certificate, say). Looking there ends in `error`,
                // which is the truth; leaving it out would pass over it in silence.
                _ if refusal.spoke_tls => web_port,
                _ => return Ok(None),
            };
            let service = ServiceFacts { name: "tls".to_owned(), ..ServiceFacts::default() };
            return Ok(Some(IdentifiedService::new(service, web.then_some(UrlScheme::Https))));
        }
    };
    let (mut stream, facts) = (session.stream, session.facts);
    let mut word = ServiceWord::Quiet;
    if !TLS_PORTS.contains(&endpoint.port().get()) {
        word = read_greeting(&mut stream, config.banner_wait / 4).await;
    }
    let inner = match word {
        ServiceWord::Spoke(bytes) => {
            if is_settings(&bytes) && has_http2_over_tls(endpoint, config, &limits).await {
                ServiceReply::Http { facts: HttpFacts::default(), to_https: false }
            } else {
                ServiceReply::Other(Box::new(identify_greeting(&bytes)))
            }
        }
        // Who closes at once where no protocol was agreed on may speak HTTP/2 alone, as gRPC does.
        ServiceWord::Closed if has_http2_over_tls(endpoint, config, &limits).await => {
            ServiceReply::Http { facts: HttpFacts::default(), to_https: false }
        }
        ServiceWord::Closed => ServiceReply::Unclear,
        ServiceWord::Quiet => {
            let answer = ask_http(&mut stream, &endpoint.socket_addr().to_string(), config).await;
            // Whoever closes at a request of HTTP/1 may speak HTTP/2 alone.
            let unclear = answer.as_ref().is_some_and(|a| a.is_empty() || is_settings(a));
            if unclear && has_http2_over_tls(endpoint, config, &limits).await {
                ServiceReply::Http { facts: HttpFacts::default(), to_https: false }
            } else {
                answer.map_or(ServiceReply::Unclear, |bytes| read_reply(&bytes))
            }
        }
    };
    let tls = Some(facts);
    Ok(Some(match inner {
        ServiceReply::Http { facts, .. } => {
            let service = ServiceFacts {
                name: "https".to_owned(),
                tls,
                http: Some(facts),
                ..ServiceFacts::default()
            };
            IdentifiedService::new(service, Some(UrlScheme::Https))
        }
        ServiceReply::Other(inner) => {
            // These have names of their own inside TLS; the others are `tls` with a banner.
            let name = match inner.name.as_str() {
                "smtp" => "smtps",
                "imap" => "imaps",
                "pop3" => "pop3s",
                "ftp" => "ftps",
                _ => "tls",
            };
            IdentifiedService::new(ServiceFacts { name: name.to_owned(), tls, ..*inner }, None)
        }
        ServiceReply::Unclear => IdentifiedService::new(
            ServiceFacts { name: "tls".to_owned(), tls, ..ServiceFacts::default() },
            None,
        ),
    }))
}

/// Whether the server speaks HTTP/2 inside TLS: by prior knowledge, or once it was offered.
async fn has_http2_over_tls(
    endpoint: Endpoint,
    config: &ServiceConfig,
    limits: &tls::TlsLimits,
) -> bool {
    for hint in [None, Some(tls::TlsFallback::SecondVersion)] {
        let Ok(tcp) = dial(endpoint, config.connect_timeout, &config.uplink).await else {
            return false;
        };
        let Ok(session) =
            tls::run_handshake(tcp, endpoint, &config.uplink, None, limits, hint).await
        else {
            continue;
        };
        if has_http2(session.stream, config).await {
            return true;
        }
    }
    false
}

/// One GET of `/`, and what comes back: up to the end of the title, of the page, of the limit, or
/// of the time. `None` when nothing comes back, and the connection stays open.
async fn ask_http(stream: &mut HttpStream, host: &str, config: &ServiceConfig) -> Option<Vec<u8>> {
    let agent: String = config.user_agent.chars().filter(|c| !c.is_control()).collect();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\
         Accept-Encoding: identity\r\nConnection: close\r\n\r\n",
        host
    );
    let deadline = Instant::now() + config.answer_timeout;
    let write = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await
    };
    // A server that resets after its answer may fail our write; the answer still counts.
    let _ = timeout_at(deadline, write).await.ok()?;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 4096];
    let mut closed = false;
    while bytes.len() < PAGE_LIMIT {
        match timeout_at(deadline, stream.read(&mut chunk)).await {
            Ok(Ok(n)) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            Ok(_) => {
                closed = true;
                break;
            }
            Err(_) => break,
        }
        if is_enough(&bytes) {
            break;
        }
    }
    bytes.truncate(PAGE_LIMIT);
    (closed || !bytes.is_empty()).then_some(bytes)
}

/// Whether bytes begin with the frame that every HTTP/2 server sends first (RFC 9113, section 3.4).
fn is_settings(bytes: &[u8]) -> bool {
    let Some([high, middle, low, kind, flags, stream @ ..]) = bytes.get(..9) else {
        return false;
    };
    let length = u32::from_be_bytes([0, *high, *middle, *low]);
    *kind == 4 && *flags == 0 && stream == [0; 4] && length.is_multiple_of(6) && length <= 6 * 64
}

/// Whether the server answers the preface of HTTP/2, which nothing else does.
async fn has_http2(mut stream: HttpStream, config: &ServiceConfig) -> bool {
    let talk = async {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.ok()?;
        stream.flush().await.ok()?;
        let mut bytes = [0; 9];
        stream.read_exact(&mut bytes).await.ok()?;
        Some(is_settings(&bytes))
    };
    timeout(config.answer_timeout, talk).await.ok().flatten().unwrap_or(false)
}

/// Whether more bytes cannot show more: not HTTP and a line is there, or the title is complete.
fn is_enough(bytes: &[u8]) -> bool {
    if !bytes.starts_with(&b"HTTP/"[..bytes.len().min(5)]) {
        return bytes.contains(&b'\n');
    }
    find_ignoring_case(bytes, b"</title").is_some()
}

/// An answer to the GET.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ServiceReply {
    Http {
        facts: HttpFacts,
        to_https: bool,
    },
    /// Another protocol that is known by these bytes.
    Other(Box<ServiceFacts>),
    /// Bytes that show nothing: a TLS alert among them.
    Unclear,
}

/// Reads an answer to the GET. Total on any bytes.
fn read_reply(bytes: &[u8]) -> ServiceReply {
    let Some(head) = RawHead::parse(bytes) else {
        return read_foreign_reply(bytes);
    };
    // MongoDB dresses its complaint up as HTTP, but no page will ever come from it.
    if find_ignoring_case(head.rest, b"access MongoDB over HTTP").is_some() {
        return ServiceReply::Other(Box::new(build_service_facts("mongodb", Some(head.rest))));
    }
    let to_https = (300..400).contains(&head.status)
        && head.field("location").is_some_and(|l| find_ignoring_case(l, b"https://") == Some(0));
    let facts = HttpFacts {
        status: head.status,
        server: head.field("server").and_then(|b| redact_text(b, TEXT_LIMIT)),
        title: extract_title(head.rest).and_then(|b| redact_title(b, TEXT_LIMIT)),
    };
    ServiceReply::Http { facts, to_https }
}

fn read_foreign_reply(bytes: &[u8]) -> ServiceReply {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // The wording of Redis and its kin to a command line `GET / HTTP/1.1` (RESP errors).
    let redis =
        [&b"-ERR wrong number of arguments for 'get' command"[..], b"-NOAUTH ", b"-DENIED "];
    if redis.iter().any(|r| line.starts_with(r)) {
        return ServiceReply::Other(Box::new(build_service_facts("redis", Some(line))));
    }
    if line == b"ERROR" {
        return ServiceReply::Other(Box::new(build_service_facts("memcached", Some(line))));
    }
    match name_first_word(bytes) {
        "unknown" => ServiceReply::Unclear,
        name => ServiceReply::Other(Box::new(build_service_facts(
            name,
            Some(extract_banner_line(bytes)),
        ))),
    }
}

fn find_ignoring_case(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w.eq_ignore_ascii_case(needle))
}

/// A service that spoke before it was asked.
fn identify_greeting(bytes: &[u8]) -> ServiceFacts {
    build_service_facts(name_first_word(bytes), Some(extract_banner_line(bytes)))
}

fn build_service_facts(name: &str, banner: Option<&[u8]>) -> ServiceFacts {
    let banner = banner.and_then(|b| redact_text(b, TEXT_LIMIT));
    ServiceFacts { name: name.to_owned(), banner, ..ServiceFacts::default() }
}

/// The line that goes on record. A MySQL greeting is binary; its version text is what counts.
fn extract_banner_line(bytes: &[u8]) -> &[u8] {
    if let Some(version) = parse_mysql_version(bytes) {
        return version;
    }
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The protocol of a server's first bytes, `unknown` unless they prove it. Total on any bytes.
fn name_first_word(bytes: &[u8]) -> &'static str {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let says = |word: &[u8]| find_ignoring_case(bytes, word).is_some();
    if line.starts_with(b"SSH-") {
        "ssh" // RFC 4253, section 4.2
    } else if line.starts_with(b"220") {
        // SMTP (RFC 5321) and FTP (RFC 959) greet with the same code; their words differ.
        if says(b"smtp") || says(b"postfix") || says(b"exim") {
            "smtp"
        } else if says(b"ftp") {
            "ftp"
        } else {
            "unknown"
        }
    } else if line.starts_with(b"+OK") {
        "pop3" // RFC 1939, section 4
    } else if line.starts_with(b"* OK") || line.starts_with(b"* PREAUTH") {
        "imap" // RFC 9051, section 7.1
    } else if line.starts_with(b"RFB 00") {
        "vnc" // RFC 6143, section 7.1.1
    } else if line.starts_with(b"@RSYNCD:") {
        "rsync"
    } else if line.starts_with(b"-DENIED Redis") || line.starts_with(b"-NOAUTH ") {
        "redis"
    } else if parse_mysql_version(bytes).is_some() || is_mysql_refusal(bytes) {
        "mysql"
    } else if matches!(bytes, [0xff, 0xfb..=0xfe, ..]) {
        "telnet" // RFC 854: IAC and a negotiation
    } else {
        "unknown"
    }
}

/// The version in a MySQL greeting: three bytes of length, packet 0, protocol 10, text, NUL.
fn parse_mysql_version(bytes: &[u8]) -> Option<&[u8]> {
    let [a, b, 0, 0, 10, rest @ ..] = bytes else {
        return None;
    };
    let length = usize::from(u16::from_le_bytes([*a, *b]));
    let end = rest.iter().position(|b| *b == 0)?;
    let version = &rest[..end];
    let plausible = (20..1024).contains(&length)
        && (3..100).contains(&version.len())
        && version.iter().all(|b| b.is_ascii_graphic());
    plausible.then_some(version)
}

/// MySQL's refusal of an unlisted client: an error packet instead of the greeting.
fn is_mysql_refusal(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, 0, 0, 0xff, _, 0x04, rest @ ..] if rest.starts_with(b"Host ") || rest.starts_with(b"#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_proof() {
        let mysql = b"\x4a\x00\x00\x00\x0a8.0.36-0ubuntu0\x00\x0b\x00\x00\x00salt";
        let cases: [(&[u8], &str); 17] = [
            (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "ssh"),
            (b"220 mail.example.jp ESMTP Postfix\r\n", "smtp"),
            (b"220 (vsFTPd 3.0.3)\r\n", "ftp"),
            (b"220---------- Welcome to Pure-FTPd [TLS] ----------\r\n", "ftp"),
            (b"220 ready\r\n", "unknown"),
            (b"+OK Dovecot ready.\r\n", "pop3"),
            (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "imap"),
            (b"RFB 003.008\n", "vnc"),
            (b"@RSYNCD: 31.0\n", "rsync"),
            (b"-DENIED Redis is running in protected mode\r\n", "redis"),
            (mysql, "mysql"),
            (b"\x45\x00\x00\x00\xff\x6a\x04Host '198.51.100.1' is not allowed", "mysql"),
            (b"\xff\xfd\x18\xff\xfd\x20", "telnet"),
            (b"\x4a\x00\x00\x00\x0a", "unknown"),
            (b"HELLO", "unknown"),
            (b"", "unknown"),
            (b"\x00", "unknown"),
        ];
        for (bytes, name) in cases {
            assert_eq!(name_first_word(bytes), name, "{}", bytes.escape_ascii());
        }
        assert_eq!(identify_greeting(mysql).banner.as_deref(), Some("8.0.36-0ubuntu0"));
    }

    #[test]
    fn banners_are_clean_and_short() {
        let long = [b"SSH-2.0-\x1b[31mred\x07 ".as_slice(), &[b'x'; 2000]].concat();
        let banner = identify_greeting(&long).banner.unwrap();
        assert!(banner.chars().count() <= TEXT_LIMIT, "{}", banner.chars().count());
        assert!(!banner.chars().any(char::is_control), "{banner:?}");
    }

    #[test]
    fn replies() {
        let http = |bytes: &[u8]| match read_reply(bytes) {
            ServiceReply::Http { facts, to_https } => (facts, to_https),
            other => panic!("{other:?}"),
        };
        let (facts, to_https) = http(
            b"HTTP/1.1 200 OK\r\nSERVER : nginx/1.22.1\r\n\r\n<HTML><Title lang=ja>\n Hello \n</TITLE>",
        );
        assert_eq!((facts.status, to_https), (200, false));
        assert_eq!(facts.server.as_deref(), Some("nginx/1.22.1"));
        assert_eq!(facts.title.as_deref(), Some("Hello"));
        assert!(http(b"HTTP/1.1 301 Moved\r\nLocation: HTTPS://h.example/\r\n\r\n").1);
        assert!(!http(b"HTTP/1.1 301 Moved\r\nLocation: /https://\r\n\r\n").1);
        // A head that was cut off, and one with bare line feeds.
        assert_eq!(http(b"HTTP/1.0 403 ").0.status, 403);
        assert_eq!(http(b"HTTP/1.0 204\nServer: x\n\n").0.server.as_deref(), Some("x"));

        let other = |bytes: &[u8]| match read_reply(bytes) {
            ServiceReply::Other(service) => service.name,
            ServiceReply::Unclear => "unclear".to_owned(),
            ServiceReply::Http { .. } => "http".to_owned(),
        };
        assert_eq!(other(b"-ERR wrong number of arguments for 'get' command\r\n"), "redis");
        assert_eq!(other(b"-NOAUTH Authentication required.\r\n"), "redis");
        assert_eq!(other(b"-ERR unknown command\r\n"), "unclear");
        assert_eq!(other(b"ERROR\r\n"), "memcached");
        let mongo = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nIt looks like you are trying to access MongoDB over HTTP on the native driver port.\r\n";
        assert_eq!(other(mongo), "mongodb");
        // A TLS alert, HTTP/2, HTTP/0.9 and rubbish.
        assert_eq!(other(b"\x15\x03\x01\x00\x02\x02\x46"), "unclear");
        assert_eq!(other(b"HTTP/3 200\r\n\r\n"), "unclear");
        assert_eq!(other(b"HTTP/1.1 2000 OK\r\n\r\n"), "unclear");
        assert_eq!(other(b"HTTP/1.1 -20\r\n\r\n"), "unclear");
        assert_eq!(other(b"<html>hello</html>"), "unclear");
    }

    #[test]
    fn total_on_cut_and_mangled_bytes() {
        let samples: [&[u8]; 5] = [
            b"HTTP/1.1 302 Found\r\nLocation: https://a\r\nServer: x\r\n\r\n<title>t</title>",
            b"\x4a\x00\x00\x00\x0a8.0.36\x00salt",
            b"\x45\x00\x00\x00\xff\x6a\x04Host 'a' is not allowed",
            b"220 mail ESMTP\r\n",
            b"<title><title></title",
        ];
        for sample in samples {
            for i in 0..sample.len() {
                for byte in [0, b'\n', b':', b'>', 0xff] {
                    let mut mangled = sample.to_vec();
                    mangled[i] = byte;
                    for bytes in [&mangled[..], &mangled[..i], &mangled[i..]] {
                        let _ = (read_reply(bytes), is_enough(bytes));
                        let banner = identify_greeting(bytes).banner.unwrap_or_default();
                        assert!(!banner.chars().any(char::is_control), "{banner:?}");
                    }
                }
            }
        }
    }
}
