//! A fast site that is one function of what is asked, under any name: for suites of many thousand
//! requests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The name without the port.
    pub host: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// How many requests for this name came before.
    pub n: usize,
}

impl Ask<'_> {
    /// The last segment, without the query.
    #[must_use]
    pub fn name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        path.rsplit('/').next().unwrap_or_default()
    }

    /// What stands behind the last dot of the name.
    #[must_use]
    pub fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, e)| e)
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The connection is cut instead.
    pub cut: bool,
}

impl Reply {
    /// This status with this body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    /// 200 and a page.
    #[must_use]
    pub fn page(text: impl Into<Vec<u8>>) -> Self {
        Self::new(200, text).field("content-type", "text/html")
    }

    /// 404 and a page.
    #[must_use]
    pub fn missing() -> Self {
        Self::new(404, "<html><title>Not Found</title></html>")
    }

    /// With a header field, whose name is in lower case.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

/// One function of what is asked.
#[derive(Clone)]
pub struct Behaviour(Arc<dyn Fn(Ask<'_>) -> Reply + Send + Sync>);

impl Behaviour {
    /// From a function.
    #[must_use]
    pub fn new(f: impl Fn(Ask<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self, ask: Ask<'_>) -> Reply {
        (self.0)(ask)
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Behaviour")
    }
}

/// A running site; dropping it ends it.
#[derive(Debug)]
pub struct Swarm {
    address: SocketAddr,
    requests: Arc<Counter>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Swarm {
    /// Listens on a port of its own on loopback.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn start(behaviour: Behaviour) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let requests = Arc::new(Counter::default());
        let counter = Arc::clone(&requests);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket");
                loop {
                    tokio::select! {
                        _ = stopped.changed() => break,
                        Ok((stream, _)) = listener.accept() => {
                            let (behaviour, counter) = (behaviour.clone(), Arc::clone(&counter));
                            tokio::spawn(async move {
                                let service = service_fn(move |r| serve(r, behaviour.clone(), Arc::clone(&counter)));
                                // A client that goes away is no error here, and a cut is meant.
                                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                            });
                        }
                    }
                }
            });
        });
        Self { address, requests, stop, thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has had.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.sum()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many requests each name has had.
#[derive(Debug, Default)]
struct Counter(Mutex<HashMap<String, usize>>);

impl Counter {
    /// How many there were before this one.
    fn count(&self, host: &str) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n = all.entry(host.to_owned()).or_default();
        *n += 1;
        *n - 1
    }

    fn sum(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

/// Ends a connection without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn serve(
    request: Request<Incoming>,
    behaviour: Behaviour,
    counter: Arc<Counter>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let host = request.headers().get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let n = counter.count(host);
    let reply = behaviour.answer(Ask { host, path, n });
    if reply.cut {
        return Err(Cut);
    }
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    for (name, value) in reply.fields {
        let value = HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("x"));
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    Ok(response)
}
