//! moto's server, which speaks S3 on loopback. `.ci/python/install` installs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

/// Its command.
#[must_use]
pub fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/bin/moto_server")
}

/// moto's server; it ends when this is dropped.
#[derive(Debug)]
pub struct Moto {
    child: Mutex<Child>,
    /// Where it listens.
    pub at: SocketAddr,
    /// Its lines on stderr: a line a request.
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Moto {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Moto {
    /// Starts it on loopback, in the namespace of this thread.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let program = program();
        let mut child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; run .ci/python/install", program.display()));
        let (sender, address) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, at)) = line.split_once("Running on http://") {
                    let _ = sender.send(at.trim().to_owned());
                }
                kept.lock().expect("the log").push(line);
            }
        });
        let at = address.recv().unwrap_or_else(|_| panic!("moto ended: {:?}", log.lock()));
        let at = at.parse().expect("address:port");
        Self { child: Mutex::new(child), at, log }
    }

    /// One request, and its answer. moto wants a signature and does not check it.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask(&self, method: &str, path: &str) -> String {
        String::from_utf8(self.send(method, path, b"")).expect("text")
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.at).expect("moto");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: AWS AKIDNOTASECRET:x\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.at,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        answer
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When it is not made.
    pub fn make(&self, bucket: &str) {
        let answer = self.ask("PUT", &format!("/{bucket}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The text of an object.
    ///
    /// # Panics
    /// When it is not there.
    pub fn object(&self, bucket: &str, name: &str) -> String {
        let answer = self.ask("GET", &format!("/{bucket}/{name}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    /// The bytes of an object.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn bytes(&self, bucket: &str, name: &str) -> Vec<u8> {
        let answer = self.send("GET", &format!("/{bucket}/{name}"), b"");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{name}");
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a body");
        answer[end + 4..].to_vec()
    }

    /// Writes an object.
    ///
    /// # Panics
    /// When it is not written.
    pub fn put(&self, bucket: &str, name: &str, bytes: &[u8]) {
        let answer = self.send("PUT", &format!("/{bucket}/{name}"), bytes);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{name}");
    }

    /// The requests to a bucket so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn requests(&self, bucket: &str) -> Vec<String> {
        let log = self.log.lock().expect("the log");
        log.iter().filter(|l| l.contains(&format!("/{bucket}"))).cloned().collect()
    }
}
