//! A crowd of virtual hosts in one small process, some of them tarpits.
//!
//! Every answer takes a while, so that a run is not bound by the processor alone. A tarpit accepts
//! the request and sends one byte of a head a second, for ever. It answers `/` like the others:
//! a host that does not even say that it speaks HTTP is never looked at.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mimawari_tests::lab::Namespace;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// First argument of the binary when it is to be the server.
pub const WORD: &str = "__crowd";
/// Where it listens, on every address of the loopback.
pub const PORT: u16 = 8080;
/// Number of addresses that the hosts are spread over.
pub const ADDRESSES: u32 = 200;
/// Just these addresses.
pub const SCOPE: &str = "\"127.1.0.0/25\", \"127.1.0.128/26\", \"127.1.0.192/29\"";
/// One in so many is a tarpit.
pub const TARPITS: u32 = 20;

/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(2);
/// How long a tarpit takes for a byte.
const DRIP: Duration = Duration::from_secs(1);
const ANSWER: &[u8] = b"HTTP/1.1 404 Not Found\r\nServer: crowd\r\nContent-Type: text/html\r\n\
    Content-Length: 49\r\n\r\n<html><title>404</title><h1>Not Found</h1></html>";
/// Longest head of a request; nobody sends a longer one here.
const HEAD: usize = 8 << 10;

/// Who is a tarpit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tarpits {
    /// Nobody.
    None,
    /// One host in twenty, among healthy ones on the same address.
    Hosts,
    /// Every host of one address in twenty.
    Addresses,
}

/// The n-th address.
#[must_use]
pub const fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + n)
}

/// The lines of `vhosts.csv`.
#[must_use]
pub fn vhosts(hosts: u32, tarpits: Tarpits) -> String {
    use std::fmt::Write as _;
    let mut text = "ip,host,port,scheme\n".to_owned();
    for n in 0..hosts {
        let at = n % ADDRESSES;
        let bad = match tarpits {
            Tarpits::None => false,
            // Not by the remainder that chooses the address, or they would all be on a few.
            Tarpits::Hosts => (n / ADDRESSES + at).is_multiple_of(TARPITS),
            Tarpits::Addresses => at.is_multiple_of(TARPITS),
        };
        let kind = if bad { BAD } else { "h" };
        let _ = writeln!(text, "{},{kind}{n}.example.jp,{PORT},http", address(at));
    }
    text
}

/// How a tarpit's name begins.
const BAD: &str = "tarpit";

/// The server as a process.
#[derive(Debug)]
pub struct Crowd(Child);

impl Crowd {
    /// Starts it in a namespace and waits until it accepts.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let program = std::env::current_exe()?;
        let child = namespace
            .run(|| Command::new(program).arg(WORD).stdin(Stdio::null()).spawn())
            .context("starting the server")?;
        let mut crowd = Self(child);
        let begun = Instant::now();
        while namespace.run(|| std::net::TcpStream::connect((address(0), PORT))).is_err() {
            if let Some(status) = crowd.0.try_wait()? {
                bail!("the server ended at once: {status}");
            }
            if begun.elapsed() > Duration::from_secs(10) {
                bail!("the server does not answer");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server itself; `None` when the arguments do not ask for it.
#[must_use]
pub fn main_if_asked() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != WORD {
        return None;
    }
    let serve = || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))?;
            accept(socket.listen(4096)?).await
        })
    };
    Some(match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    })
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that has gone is no matter.
        tokio::spawn(async move { converse(stream).await });
    }
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if !matches!(stream.local_addr()?.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
        return Ok(());
    }
    let mut head = Vec::with_capacity(1024);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > HEAD || stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        if is_stuck(&head) {
            for byte in ANSWER.iter().cycle() {
                tokio::time::sleep(DRIP).await;
                stream.write_all(std::slice::from_ref(byte)).await?;
            }
        }
        tokio::time::sleep(LATENCY).await;
        stream.write_all(ANSWER).await?;
    }
}

/// Whether a tarpit is asked for anything but its front page.
fn is_stuck(head: &[u8]) -> bool {
    let host = head.split(|b| *b == b'\n').find_map(|l| {
        let (name, value) = l.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"host:").then(|| value.trim_ascii())
    });
    !head.starts_with(b"GET / ") && host.is_some_and(|h| h.starts_with(BAD.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_is_a_tarpit() {
        let bad = |tarpits| {
            let text = vhosts(10_000, tarpits);
            let bad: Vec<&str> = text.lines().filter(|l| l.contains(BAD)).collect();
            let addresses: std::collections::BTreeSet<_> =
                bad.iter().filter_map(|l| l.split_once(',')).map(|(ip, _)| ip).collect();
            (bad.len(), addresses.len())
        };
        assert_eq!(bad(Tarpits::None), (0, 0));
        assert_eq!(bad(Tarpits::Hosts), (500, 200));
        assert_eq!(bad(Tarpits::Addresses), (500, 10));
    }

    #[test]
    fn the_answer_has_its_length() {
        // A byte too many would cost the client its connection each time.
        let text = std::str::from_utf8(ANSWER).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn a_tarpit_still_shows_its_front_page() {
        assert!(is_stuck(b"GET /.env HTTP/1.1\r\nHost: tarpit7.example.jp:8080\r\n\r\n"));
        assert!(!is_stuck(b"GET / HTTP/1.1\r\nhost: tarpit7.example.jp\r\n\r\n"));
        assert!(!is_stuck(b"GET /.env HTTP/1.1\r\nhost: h7.example.jp\r\n\r\n"));
    }
}
