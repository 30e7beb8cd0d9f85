//! The servers: an accepting thread, a thread for each connection, and a record of it all.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::answer::{Answer, Body, Form, gzip};
use super::tls;

/// Send buffer of each connection, bytes: what the kernel holds counts as sent, so it is kept small
/// for the sake of the figures.
const SEND_BUFFER: usize = 64 * 1024;

/// Longest request head, bytes.
const REQUEST_LIMIT: usize = 64 * 1024;

/// The page for what is not there.
const NOT_FOUND: &str = "<html><title>404 Not Found</title><h1>Not Found</h1></html>";

/// What a path that has no route gets.
#[derive(Debug, Clone, Default)]
pub enum Fallback {
    /// 404 with a short page; at `/` a page with the name that was asked for.
    #[default]
    NotFound,
    /// 302 to the same path below this folder; in there, 404.
    Below(String),
    /// 302 to the same path with a query; with it, 404.
    Session(String),
    /// Closes the connection without an answer, as nginx does with `return 444`.
    Hangup,
    /// This answer, whatever was asked: a catch-all site.
    Always(Answer),
    /// 200 and a page with the path that was asked in it, in text, attribute and script.
    Reflect,
    /// 200 and another page each time.
    Varying,
    /// 302 to the same path with one more segment, for ever.
    RedirectLoop,
    /// 200, and whatever a file with this extension usually holds: a text that looks right for
    /// every name.
    ByExtension(Vec<(String, Answer)>),
}

/// What the port speaks.
#[derive(Debug, Clone, Default)]
pub enum Protocol {
    /// HTTP/1.
    #[default]
    Http,
    /// Accepts, reads, and never says a word.
    HalfOpen,
    /// Accepts and closes.
    Closing,
    /// Speaks first, then reads and says nothing more.
    Banner(Vec<u8>),
    /// Answers the first bytes it gets with these and closes.
    Garbage(Vec<u8>),
    /// Answers a request with the bare bytes of a body, and closes (HTTP/0.9).
    Http09(Vec<u8>),
}

/// A site in the making.
#[derive(Debug, Clone, Default)]
pub struct FakeSite {
    routes: HashMap<(Option<String>, String), Answer>,
    fallback: Fallback,
    fallbacks: HashMap<String, Fallback>,
    protocol: Protocol,
    tls: Option<Vec<String>>,
    strict_names: bool,
    close_notify: bool,
    requests_per_connection: Option<usize>,
    reset_after: Option<usize>,
    reset_paths: Vec<String>,
    failing: Option<Failing>,
    plain_on_tls: Option<Answer>,
    range_status: Option<u16>,
    keeps_first_host: bool,
    cookie: Option<String>,
    every_other: Vec<String>,
}

/// Some requests fail, by chance that a seed decides.
#[derive(Debug, Clone, Copy)]
struct Failing {
    seed: u64,
    /// In a thousand.
    share: u64,
}

impl Failing {
    /// What becomes of the n-th request of a connection.
    fn of(self, connection: usize, n: usize) -> Option<u64> {
        let mut hash = siphasher::sip::SipHasher13::new_with_keys(self.seed, 0);
        hash.write_usize(connection);
        hash.write_usize(n);
        let hash = hash.finish();
        (hash % 1000 < self.share).then_some(hash / 1000)
    }
}

/// One request as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which connection, counted from 0.
    pub connection: usize,
    /// The SNI of that connection.
    pub sni: Option<String>,
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The `Host` field.
    pub host: Option<String>,
    /// All fields with lower-case names, in order.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// The first field of this lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl FakeSite {
    /// A plain HTTP site without a page.
    #[must_use]
    pub fn new() -> Self {
        Self { close_notify: true, ..Self::default() }
    }

    /// A port that speaks something else.
    #[must_use]
    pub fn speaking(protocol: Protocol) -> Self {
        Self { protocol, ..Self::new() }
    }

    /// Serves an answer at a path, under any Host.
    #[must_use]
    pub fn route(mut self, path: &str, answer: Answer) -> Self {
        self.routes.insert((None, path.to_owned()), answer);
        self
    }

    /// Serves an answer at a path of one virtual host; it wins over [`Self::route`].
    #[must_use]
    pub fn vhost(mut self, host: &str, path: &str, answer: Answer) -> Self {
        self.routes.insert((Some(host.to_owned()), path.to_owned()), answer);
        self
    }

    /// What every other path gets.
    #[must_use]
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// What every other path of one virtual host gets.
    #[must_use]
    pub fn vhost_fallback(mut self, host: &str, fallback: Fallback) -> Self {
        self.fallbacks.insert(host.to_owned(), fallback);
        self
    }

    /// So many requests in a thousand fail in one way or another: 500, 502, 503, a body cut short,
    /// a reset, a connection that ends without a word.
    #[must_use]
    pub fn failing(mut self, seed: u64, share: u64) -> Self {
        self.failing = Some(Failing { seed, share });
        self
    }

    /// Over TLS, with a self-signed certificate for each of these names and for everybody else.
    #[must_use]
    pub fn tls(mut self, names: &[&str]) -> Self {
        self.tls = Some(names.iter().map(|n| (*n).to_owned()).collect());
        self
    }

    /// Ends every handshake that asks for no name, or another one, with `unrecognized_name`.
    #[must_use]
    pub fn strict_names(mut self) -> Self {
        self.strict_names = true;
        self
    }

    /// Closes TLS connections without `close_notify`, as old servers do.
    #[must_use]
    pub fn without_close_notify(mut self) -> Self {
        self.close_notify = false;
        self
    }

    /// What plain HTTP gets on a TLS port; without it, the handshake fails with an alert.
    #[must_use]
    pub fn plain_on_tls(mut self, answer: Answer) -> Self {
        self.plain_on_tls = Some(answer);
        self
    }

    /// Closes each connection in order after that many answers, without announcing it.
    #[must_use]
    pub fn requests_per_connection(mut self, n: usize) -> Self {
        self.requests_per_connection = Some(n);
        self
    }

    /// Resets each connection instead of the answer after `n` answers.
    #[must_use]
    pub fn reset_after(mut self, n: usize) -> Self {
        self.reset_after = Some(n);
        self
    }

    /// Resets the connection whenever this path is asked, as a filter in front of a site does.
    #[must_use]
    pub fn reset_on(mut self, path: &str) -> Self {
        self.reset_paths.push(path.to_owned());
        self
    }

    /// Answers every request that asks for a `Range` with this status.
    #[must_use]
    pub fn refuses_ranges(mut self, status: u16) -> Self {
        self.range_status = Some(status);
        self
    }

    /// Takes every request of a connection for one of its first `Host`, as a front that picks the
    /// site once.
    #[must_use]
    pub fn keeps_first_host(mut self) -> Self {
        self.keeps_first_host = true;
        self
    }

    /// Redirects everything to itself until this cookie comes back.
    #[must_use]
    pub fn cookie_wall(mut self, cookie: &str) -> Self {
        self.cookie = Some(cookie.to_owned());
        self
    }

    /// Of these paths every other request finds nothing, as with one of two servers behind one
    /// address.
    #[must_use]
    pub fn every_other(mut self, paths: &[&str]) -> Self {
        self.every_other = paths.iter().map(|p| (*p).to_owned()).collect();
        self
    }

    /// Starts on 127.0.0.1 and a free port.
    ///
    /// # Errors
    /// When the address cannot be bound or a certificate cannot be made.
    pub fn start(self) -> io::Result<FakeServer> {
        self.start_on(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
    }

    /// Starts on this address.
    ///
    /// # Errors
    /// When it is no loopback address, cannot be bound, or a certificate cannot be made.
    pub fn start_on(self, address: SocketAddr) -> io::Result<FakeServer> {
        if !address.ip().is_loopback() {
            return Err(io::Error::other(format!("{address} is no loopback address")));
        }
        self.serve(TcpListener::bind(address)?)
    }

    /// Serves from a listener that the caller has made, in a namespace of its own for instance.
    ///
    /// # Errors
    /// When a certificate or a thread cannot be made.
    pub fn serve(self, listener: TcpListener) -> io::Result<FakeServer> {
        let address = listener.local_addr()?;
        let tls = self.tls.as_deref().map(tls::server_config).transpose()?;
        let shared = Arc::new(Shared {
            site: self,
            tls,
            stopping: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
            log: Mutex::default(),
            changed: Condvar::new(),
            sockets: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("fake-accept".to_owned())
            .spawn(move || accept(&accepting, &listener))?;
        Ok(FakeServer { address, shared, thread: Some(thread) })
    }
}

/// A running server. Dropping it closes every socket and joins every thread.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.shared.log).clone()
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many bytes it managed to hand to the kernel, TLS records not counted.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Waits until that many requests have arrived; false when `limit` passes before.
    #[must_use]
    pub fn wait_for_requests(&self, n: usize, limit: Duration) -> bool {
        let log = lock(&self.shared.log);
        let waited = self.shared.changed.wait_timeout_while(log, limit, |log| log.len() < n);
        waited.is_ok_and(|(log, _)| log.len() >= n)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        {
            // Under the lock that paused bodies wait with, so that none of them misses it.
            let _log = lock(&self.shared.log);
            self.shared.stopping.store(true, Ordering::SeqCst);
            self.shared.changed.notify_all();
        }
        for socket in lock(&self.shared.sockets).values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // The accepting thread wakes up by one more connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
    site: FakeSite,
    tls: Option<Arc<ServerConfig>>,
    stopping: AtomicBool,
    sent: AtomicU64,
    accepted: AtomicUsize,
    log: Mutex<Vec<Seen>>,
    changed: Condvar,
    /// A second handle of each open connection, to shut it down from outside.
    sockets: Mutex<HashMap<usize, TcpStream>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking test must not turn into a second panic here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let Ok(handle) = stream.try_clone() else {
            continue;
        };
        lock(&shared.sockets).insert(number, handle);
        // Stopping may have begun in between, and not have seen this socket.
        if shared.stopping.load(Ordering::SeqCst) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let mine = Arc::clone(shared);
        let spawned =
            std::thread::Builder::new().name("fake-connection".to_owned()).spawn(move || {
                // An error is the client going away, which is its good right.
                let _ = converse(&mine, stream, number);
                lock(&mine.sockets).remove(&number);
            });
        threads.retain(|t| !t.is_finished());
        threads.extend(spawned);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn converse(shared: &Shared, stream: TcpStream, number: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(&stream);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let control = stream.try_clone()?;
    if let (Some(_), Some(answer)) = (&shared.tls, &shared.site.plain_on_tls) {
        // 22: a TLS record with a handshake in it (RFC 8446, section 5.1).
        let mut first = [0];
        if stream.peek(&mut first)? == 1 && first != [22] {
            let mut wire = Wire { io: Io::Plain(stream), shared, control };
            shared.note(read_request(&mut wire, number, None)?);
            wire.send(answer)?;
            wire.close();
            return Ok(());
        }
    }
    let (mut wire, sni) = match &shared.tls {
        None => (Wire { io: Io::Plain(stream), shared, control }, None),
        Some(config) => {
            let mut stream = stream;
            let Some(mut session) = shared.hello(config, &mut stream)? else {
                return Ok(());
            };
            while session.is_handshaking() {
                session.complete_io(&mut stream)?;
            }
            let sni = session.server_name().map(ToString::to_string);
            let tls = Box::new(StreamOwned::new(session, stream));
            (Wire { io: Io::Tls(tls), shared, control }, sni)
        }
    };
    let done = match &shared.site.protocol {
        Protocol::Http => serve_http(shared, &mut wire, number, sni.as_deref()),
        Protocol::HalfOpen => wire.drain(),
        Protocol::Closing => Ok(()),
        Protocol::Banner(bytes) => wire.write_all(bytes).and_then(|()| wire.drain()),
        Protocol::Garbage(bytes) => {
            let mut some = [0; 4096];
            wire.read(&mut some).and_then(|_| wire.write_all(bytes))
        }
        Protocol::Http09(bytes) => {
            let seen = read_request(&mut wire, number, sni.as_deref())?;
            shared.note(seen);
            wire.write_all(bytes)
        }
    };
    if done.is_ok() {
        wire.close();
    }
    done
}

fn serve_http(
    shared: &Shared,
    wire: &mut Wire<'_>,
    number: usize,
    sni: Option<&str>,
) -> io::Result<()> {
    let site = &shared.site;
    let mut first_host = None;
    for served in 0.. {
        let Some(seen) = read_request(wire, number, sni)? else {
            return Ok(());
        };
        let (mut host, path) = (seen.host.clone(), seen.path.clone());
        if site.keeps_first_host {
            host = first_host.get_or_insert(host).clone();
        }
        let ranged = seen.header("range").is_some();
        let walled = site.cookie.as_ref().filter(|c| {
            !seen.header("cookie").is_some_and(|sent| sent.split("; ").any(|s| s == c.as_str()))
        });
        let special = if let Some(status) = site.range_status.filter(|_| ranged) {
            Some(Answer::status(status))
        } else {
            walled.map(|c| Answer::redirect(&path).header("Set-Cookie", &format!("{c}; Path=/")))
        };
        let missing = site.every_other.contains(&path)
            && lock(&shared.log).iter().filter(|s| s.path == path).count() % 2 == 1;
        shared.note(Some(seen));
        if missing {
            if !wire.send(&Answer::status(404))? {
                break;
            }
            continue;
        }
        if site.reset_after.is_some_and(|n| served >= n) || site.reset_paths.contains(&path) {
            return wire.reset();
        }
        let answer = match site.failing.and_then(|f| f.of(number, served)).map(|kind| kind % 6) {
            None if special.is_some() => special.unwrap_or_else(|| Answer::status(500)),
            None => match site.answer(host.as_deref(), &path, served) {
                Some(answer) => answer,
                None => return Ok(()),
            },
            Some(0) => Answer::status(500),
            Some(1) => Answer::status(502),
            Some(2) => Answer::status(503).header("Retry-After", "0"),
            Some(3) => Answer::status(200).body(Body::Cut(b"<html>".to_vec())),
            Some(4) => return wire.reset(),
            Some(_) => return Ok(()),
        };
        let keep = wire.send(&answer)?;
        if !keep || site.requests_per_connection.is_some_and(|n| served + 1 >= n) {
            break;
        }
    }
    Ok(())
}

impl FakeSite {
    /// None for a connection that is closed without an answer.
    fn answer(&self, host: Option<&str>, path: &str, served: usize) -> Option<Answer> {
        // A Host field may carry the port.
        let name = host.map(|h| h.rsplit_once(':').map_or(h, |(name, _)| name).to_owned());
        let routed = self
            .routes
            .get(&(name.clone(), path.to_owned()))
            .or_else(|| self.routes.get(&(None, path.to_owned())));
        if let Some(answer) = routed {
            return Some(answer.clone());
        }
        let not_found = || Answer::status(404).body(Body::Bytes(NOT_FOUND.into()));
        let html = |page: String| Answer::ok(page).header("Content-Type", "text/html");
        let fallback = name.as_ref().and_then(|n| self.fallbacks.get(n)).unwrap_or(&self.fallback);
        Some(match fallback {
            Fallback::Hangup => return None,
            Fallback::NotFound if path == "/" => {
                html(format!("<!doctype html><title>{}</title>", name.unwrap_or_default()))
            }
            Fallback::NotFound => not_found().header("Content-Type", "text/html"),
            Fallback::Below(folder) if path.starts_with(&format!("{folder}/")) => not_found(),
            Fallback::Below(folder) => Answer::redirect(&format!("{folder}{path}")),
            Fallback::Session(query) if path.ends_with(query.as_str()) => not_found(),
            Fallback::Session(query) => Answer::redirect(&format!("{path}{query}")),
            Fallback::Always(answer) => answer.clone(),
            Fallback::Reflect => html(format!(
                "<!doctype html><meta name=\"path\" content=\"{path}\"><p>{path}</p>\
                 <script>window.route = \"{path}\";</script>"
            )),
            Fallback::Varying => html(format!(
                "<!doctype html><p>{}</p>",
                format!("visit {served} of {path} ").repeat(1 + path.len() % 7)
            )),
            Fallback::RedirectLoop => Answer::redirect(&format!("{path}/again")),
            Fallback::ByExtension(kinds) => kinds
                .iter()
                .find(|(extension, _)| path.ends_with(extension.as_str()))
                .map_or_else(|| html("<!doctype html><p>home</p>".to_owned()), |(_, a)| a.clone()),
        })
    }
}

impl Shared {
    /// Reads the ClientHello; `None` when its name is refused.
    fn hello(
        &self,
        config: &Arc<ServerConfig>,
        stream: &mut TcpStream,
    ) -> io::Result<Option<ServerConnection>> {
        let mut acceptor = Acceptor::default();
        let accepted = loop {
            if acceptor.read_tls(stream)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => break accepted,
                Ok(None) => {}
                Err((error, mut alert)) => {
                    alert.write_all(stream)?;
                    return Err(io::Error::other(error));
                }
            }
        };
        let hello = accepted.client_hello();
        let known = |name| self.site.tls.iter().flatten().any(|n| n == name);
        if self.site.strict_names && !hello.server_name().is_some_and(known) {
            // Fatal, unrecognized_name (RFC 8446, section 6): what nginx says, not what rustls would.
            stream.write_all(&[21, 3, 3, 0, 2, 2, 112])?;
            stream.shutdown(Shutdown::Write)?;
            return Ok(None);
        }
        accepted
            .into_connection(Arc::clone(config))
            .map(Some)
            .map_err(|(error, _)| io::Error::other(error))
    }

    fn note(&self, seen: Option<Seen>) {
        lock(&self.log).extend(seen);
        self.changed.notify_all();
    }

    /// Waits, and is woken when the server stops; false then.
    fn pause(&self, time: Duration) -> bool {
        let stopping = |_: &mut Vec<Seen>| !self.stopping.load(Ordering::SeqCst);
        let _ = self.changed.wait_timeout_while(lock(&self.log), time, stopping);
        !self.stopping.load(Ordering::SeqCst)
    }
}

/// A request head; `None` at the end of the connection.
fn read_request(
    wire: &mut Wire<'_>,
    connection: usize,
    sni: Option<&str>,
) -> io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        // One at a time: nothing behind the head may be taken.
        if wire.read(&mut byte)? == 0 {
            return Ok(None);
        }
        bytes.push(byte[0]);
        if !bytes[0].is_ascii_alphabetic() {
            // A ClientHello, say: real servers answer at once and hang up.
            wire.send(&Answer::status(400))?;
            return Ok(None);
        }
        if bytes.len() > REQUEST_LIMIT {
            return Err(io::Error::other("the request head is too long"));
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let path = first.next().unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let host = headers.iter().find(|(n, _)| n == "host").map(|(_, v)| v.clone());
    Ok(Some(Seen { connection, sni: sni.map(str::to_owned), method, path, host, headers }))
}

enum Io {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

struct Wire<'a> {
    io: Io,
    shared: &'a Shared,
    control: TcpStream,
}

impl Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.io {
            Io::Plain(s) => s.read(buffer),
            Io::Tls(s) => s.read(buffer),
        }
    }

    /// Everything, in pieces, so that the record knows how far it got.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(16 * 1024) {
            match &mut self.io {
                Io::Plain(s) => s.write_all(piece)?,
                Io::Tls(s) => s.write_all(piece).and_then(|()| s.flush())?,
            }
            self.shared.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Reads until the client is gone.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        // Closing with a linger of zero sends RST. Every handle of the socket has to go for that.
        socket2::SockRef::from(&self.control).set_linger(Some(Duration::ZERO))?;
        Err(io::ErrorKind::ConnectionReset.into())
    }

    fn close(&mut self) {
        if let Io::Tls(s) = &mut self.io
            && self.shared.site.close_notify
        {
            s.conn.send_close_notify();
            let _ = s.flush();
        }
        let _ = self.control.shutdown(Shutdown::Write);
        // Reading to the end lets what was sent arrive: closing over unread bytes would reset.
        let _ = self.drain();
    }

    /// Sends an answer; false when the connection must not be used again.
    fn send(&mut self, answer: &Answer) -> io::Result<bool> {
        let version = if answer.form == Form::Http10Close { "HTTP/1.0" } else { "HTTP/1.1" };
        let mut head = format!("{version} {} Fake\r\n", answer.status);
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let named = |n: &str| answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(n));
        if !named("content-type") {
            match answer.form {
                Form::Untyped => {}
                Form::Html => head.push_str("Content-Type: text/html; charset=utf-8\r\n"),
                _ => head.push_str("Content-Type: application/octet-stream\r\n"),
            }
        }
        match &answer.body {
            Body::Bytes(bytes) => {
                let packed;
                let bytes = if answer.form == Form::Gzip {
                    head.push_str("Content-Encoding: gzip\r\n");
                    packed = gzip(bytes);
                    &packed
                } else {
                    bytes
                };
                match answer.form {
                    Form::Chunked => {
                        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
                        self.write_all(head.as_bytes())?;
                        // Odd pieces, so that a signature lies across the seams.
                        for piece in bytes.chunks(7) {
                            self.chunk(piece)?;
                        }
                        self.write_all(b"0\r\n\r\n")?;
                    }
                    Form::Http10Close => {
                        head.push_str("\r\n");
                        self.write_all(head.as_bytes())?;
                        self.write_all(bytes)?;
                        return Ok(false);
                    }
                    _ => {
                        head.push_str(&format!("Content-Length: {}\r\n\r\n", bytes.len()));
                        self.write_all(head.as_bytes())?;
                        self.write_all(bytes)?;
                    }
                }
                Ok(true)
            }
            Body::Endless(bytes) => {
                head.push_str("Transfer-Encoding: chunked\r\n\r\n");
                self.write_all(head.as_bytes())?;
                while !self.shared.stopping.load(Ordering::SeqCst) {
                    self.chunk(bytes)?;
                }
                Ok(false)
            }
            Body::Drip { bytes, pause } => {
                head.push_str(&format!("Content-Length: {}\r\n\r\n", bytes.len() + 1));
                self.write_all(head.as_bytes())?;
                for byte in bytes {
                    if !self.shared.pause(*pause) {
                        return Ok(false);
                    }
                    self.write_all(&[*byte])?;
                }
                self.drain().map(|()| false)
            }
            Body::Unended(bytes) => {
                head.push_str("\r\n");
                self.write_all(head.as_bytes())?;
                self.write_all(bytes)?;
                self.drain().map(|()| false)
            }
            Body::Cut(bytes) => {
                head.push_str(&format!("Content-Length: {}\r\n\r\n", bytes.len() + 1000));
                self.write_all(head.as_bytes())?;
                self.write_all(bytes)?;
                Ok(false)
            }
        }
    }

    fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut piece = format!("{:x}\r\n", bytes.len()).into_bytes();
        piece.extend_from_slice(bytes);
        piece.extend_from_slice(b"\r\n");
        self.write_all(&piece)
    }
}
