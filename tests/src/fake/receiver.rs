//! A receiver of messages: one thread a connection, one request a connection, an answer that the test
//! computes, and a record of what came.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest body that is taken, bytes.
const LIMIT: usize = 32 << 20;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
    /// When its head had come.
    pub at: Instant,
}

impl Received {
    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header, empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What the receiver answers.
#[derive(Debug, Clone)]
pub enum CannedReply {
    /// Status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Nothing: the connection is held open until the receiver ends.
    Silence,
    /// The connection is closed after the request was read.
    Hangup,
    /// 200 and a body without end.
    Endless,
}

impl CannedReply {
    /// A status with a body.
    #[must_use]
    pub fn status(status: u16, body: &str) -> Self {
        Self::Answer(status, Vec::new(), body.as_bytes().to_vec())
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Self::Answer(_, headers, _) = &mut self {
            headers.push((name, value.to_string()));
        }
        self
    }
}

type Handler = dyn FnMut(&Received) -> CannedReply + Send;

struct Shared {
    handler: Mutex<Box<Handler>>,
    seen: Mutex<Vec<Received>>,
    stop: AtomicBool,
    ended: (Mutex<bool>, Condvar),
    tls: Option<Arc<ServerConfig>>,
}

/// A running receiver; dropping it ends it.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start(
        handler: impl FnMut(&Received) -> CannedReply + Send + 'static,
    ) -> io::Result<Self> {
        Self::begin(handler, None)
    }

    /// The same over TLS.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start_tls(
        config: Arc<ServerConfig>,
        handler: impl FnMut(&Received) -> CannedReply + Send + 'static,
    ) -> io::Result<Self> {
        Self::begin(handler, Some(config))
    }

    fn begin(
        handler: impl FnMut(&Received) -> CannedReply + Send + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Mutex::new(Box::new(handler)),
            seen: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
            ended: (Mutex::new(false), Condvar::new()),
            tls,
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut workers = Vec::new();
            for stream in listener.incoming() {
                if own.stop.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&own);
                workers.push(std::thread::spawn(move || {
                    let _ = serve(stream, &shared);
                }));
            }
            for w in workers {
                let _ = w.join();
            }
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Received> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        *self.shared.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.ended.1.notify_all();
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    match &shared.tls {
        None => talk(stream, shared),
        Some(config) => {
            let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            talk(StreamOwned::new(connection, stream), shared)
        }
    }
}

fn talk(stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; usize::min(length, LIMIT)];
    reader.read_exact(&mut body)?;
    let request = Received {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body,
        at: Instant::now(),
    };
    shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    let reply = {
        let mut handler = shared.handler.lock().unwrap_or_else(PoisonError::into_inner);
        (*handler)(&request)
    };
    let stream = reader.get_mut();
    match reply {
        CannedReply::Answer(status, headers, body) => {
            let mut head = format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n",
                body.len()
            );
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
            stream.flush()
        }
        CannedReply::Hangup => Ok(()),
        CannedReply::Silence => {
            let (ended, changed) = &shared.ended;
            let guard = ended.lock().unwrap_or_else(PoisonError::into_inner);
            drop(changed.wait_while(guard, |ended| !*ended));
            Ok(())
        }
        CannedReply::Endless => {
            stream.write_all(b"HTTP/1.1 200 x\r\nconnection: close\r\n\r\n")?;
            let chunk = [b'a'; 16_384];
            while !shared.stop.load(Ordering::SeqCst) {
                stream.write_all(&chunk)?;
            }
            Ok(())
        }
    }
}
