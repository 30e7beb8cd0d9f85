//! One web server on the loopback of a namespace of its own, counting what it is asked.
//!
//! The server's count is what a client's CPU time is divided by: what a client claims to have
//! asked may leave out its calibration, or count what it never sent.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mimawari_tests::lab::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Port of plain HTTP.
pub const PLAIN: u16 = 8080;
/// Port of HTTPS.
pub const TLS: u16 = 8443;
/// Port of the counters.
const STATUS: u16 = 8081;

/// Beginning of the paths that answer with [`PAGE_LENGTH`] bytes of HTML.
pub const PAGE: &str = "page-";
/// Length of that page, bytes.
pub const PAGE_LENGTH: usize = 4096;

/// What the server has seen since it started, the questions for these figures left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Requests.
    pub requests: u64,
}

/// nginx: two workers, no log, connections that are kept for a million requests.
#[derive(Debug)]
pub struct Site {
    /// Where it runs; clients must run here, too.
    pub namespace: Namespace,
    folder: tempfile::TempDir,
    daemon: Child,
    /// How often the counters were asked for.
    asked: std::cell::Cell<u64>,
}

impl Site {
    /// Starts it, on one core if that is named, and waits until it answers.
    ///
    /// # Errors
    /// When nginx is not there or does not start; it wants to be started by root.
    pub fn start(core: Option<usize>) -> Result<Self> {
        let namespace = Namespace::new();
        let folder = tempfile::tempdir().context("a folder for nginx")?;
        let dir = folder.path();
        std::fs::create_dir(dir.join("www"))?;
        std::fs::write(dir.join("www/page.html"), page())?;
        let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .context("a certificate")?;
        std::fs::write(dir.join("tls.der"), certificate.cert.der())?;
        std::fs::write(dir.join("tls.crt"), certificate.cert.pem())?;
        std::fs::write(dir.join("tls.key"), certificate.signing_key.serialize_pem())?;
        std::fs::write(dir.join("nginx.conf"), configuration(dir))?;
        let mut line = core.map(pinned).unwrap_or_default();
        line.push("nginx".into());
        let daemon = namespace
            .run(|| {
                Command::new(&line[0])
                    .args(&line[1..])
                    .arg("-p")
                    .arg(dir)
                    .arg("-c")
                    .arg(dir.join("nginx.conf"))
                    .args(["-e", "stderr"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .spawn()
            })
            .context("starting nginx")?;
        let mut site = Self { namespace, folder, daemon, asked: std::cell::Cell::new(0) };
        let begun = Instant::now();
        while site.counts().is_err() {
            if let Some(status) = site.daemon.try_wait()? {
                bail!("nginx ended at once: {status}");
            }
            if begun.elapsed() > Duration::from_secs(10) {
                bail!("nginx does not answer");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(site)
    }

    /// The counters of `stub_status`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn counts(&self) -> Result<Counts> {
        let text = self.namespace.run(|| -> std::io::Result<String> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, STATUS))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })?;
        self.asked.set(self.asked.get() + 1);
        let all = counters(&text).context("no counters in the answer of stub_status")?;
        Ok(Counts {
            accepted: all.accepted - self.asked.get(),
            requests: all.requests - self.asked.get(),
        })
    }

    /// The server's certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.der")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.daemon.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.daemon.wait();
    }
}

/// The beginning of a command line that keeps a program on one core.
#[must_use]
pub fn pinned(core: usize) -> Vec<OsString> {
    ["taskset", "-c", &core.to_string()].map(OsString::from).to_vec()
}

/// The third line: accepted, handled, requests.
fn counters(text: &str) -> Option<Counts> {
    let line = text.lines().skip_while(|l| !l.starts_with("server accepts")).nth(1)?;
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    let accepted = numbers.next()?.ok()?;
    Some(Counts { accepted, requests: numbers.nth(1)?.ok()? })
}

fn configuration(dir: &Path) -> String {
    let d = dir.display();
    let mut text = format!(
        "user root; daemon off; pid {d}/nginx.pid; error_log stderr crit; worker_processes 2;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000; keepalive_timeout 600s; default_type text/html;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "{kind}_temp_path {d}/{kind};");
    }
    let _ = writeln!(
        text,
        "server {{ listen 127.0.0.1:{PLAIN} backlog=4096; listen 127.0.0.1:{TLS} ssl backlog=4096;\n\
         ssl_certificate {d}/tls.crt; ssl_certificate_key {d}/tls.key; root {d}/www;\n\
         location /{PAGE} {{ try_files /page.html =404; }} }}\n\
         server {{ listen 127.0.0.1:{STATUS}; location / {{ stub_status; }} }} }}"
    );
    text
}

/// A page as a site's own, without anything that a check looks for.
fn page() -> String {
    let mut text = "<!doctype html><html><head><title>Shop</title></head><body>\n".to_owned();
    while text.len() < PAGE_LENGTH {
        text.push_str("<p>The quick brown fox jumps over the lazy dog.</p>\n");
    }
    text.truncate(PAGE_LENGTH);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_read() {
        let text = "HTTP/1.1 200 OK\r\n\r\nActive connections: 1 \nserver accepts handled requests\n 7 7 42 \n";
        assert_eq!(counters(text), Some(Counts { accepted: 7, requests: 42 }));
        assert_eq!(counters("HTTP/1.1 404 Not Found\r\n"), None);
    }

    #[test]
    fn the_page_has_its_length() {
        assert_eq!(page().len(), PAGE_LENGTH);
    }
}
