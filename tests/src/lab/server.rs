//! Small servers in the data centre, on blocking sockets and threads.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::Lab;

/// What a server does with a connection.
#[derive(Debug, Clone)]
enum Manner {
    /// Says this at once.
    Banner(&'static [u8]),
    /// Serves these paths, and 404 else.
    Web(Arc<HashMap<String, Vec<u8>>>),
}

/// A listener in the data centre; it ends with the process, or when dropped.
#[derive(Debug)]
pub struct Server {
    at: SocketAddr,
    listener: TcpListener,
}

impl Server {
    /// Greets every connection. An unspecified address listens on every address of the family.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn banner(lab: &Lab, at: &str, banner: &'static [u8]) -> Self {
        Self::start(lab, at, Manner::Banner(banner))
    }

    /// A web server with these files.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn web(lab: &Lab, at: &str, files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(p, b)| ((*p).to_owned(), b.to_vec())).collect();
        Self::start(lab, at, Manner::Web(Arc::new(files)))
    }

    /// Where it listens.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    fn start(lab: &Lab, at: &str, manner: Manner) -> Self {
        let at: SocketAddr = at.parse().expect("address:port");
        let listener = lab.centre.run(|| {
            use socket2::{Domain, Socket, Type};
            let socket =
                Socket::new(Domain::for_address(at), Type::STREAM, None).expect("a socket");
            if at.is_ipv6() {
                socket.set_only_v6(true).expect("IPV6_V6ONLY");
                // A local route makes a prefix answer; IPv6 binds only to what an interface holds.
                socket.set_freebind_v6(true).expect("IPV6_FREEBIND");
            }
            socket.set_reuse_address(true).expect("SO_REUSEADDR");
            socket.bind(&at.into()).unwrap_or_else(|e| panic!("bind {at}: {e}"));
            socket.listen(65_535).expect("listen");
            TcpListener::from(socket)
        });
        let accepting = listener.try_clone().expect("a second handle");
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let manner = manner.clone();
                std::thread::spawn(move || {
                    let _ = serve(stream, &manner);
                });
            }
        });
        Self { at, listener }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the listening at once, also for the thread that waits in accept.
        let _ = socket2::SockRef::from(&self.listener).shutdown(std::net::Shutdown::Both);
    }
}

fn serve(mut stream: TcpStream, manner: &Manner) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    match manner {
        Manner::Banner(banner) => {
            stream.write_all(banner)?;
            let mut rest = [0; 256];
            while stream.read(&mut rest)? > 0 {}
            Ok(())
        }
        Manner::Web(files) => {
            let mut head = Vec::new();
            let mut buffer = [0; 2048];
            loop {
                let end = loop {
                    if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                        break at + 4;
                    }
                    let n = stream.read(&mut buffer)?;
                    if n == 0 {
                        return Ok(());
                    }
                    head.extend_from_slice(&buffer[..n]);
                };
                let request = String::from_utf8_lossy(&head[..end]).into_owned();
                head.drain(..end);
                let path = request.split_whitespace().nth(1).unwrap_or("/");
                let (status, body) = match files.get(path) {
                    Some(body) => ("200 OK", body.as_slice()),
                    None => ("404 Not Found", b"no such page".as_slice()),
                };
                let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all(text.as_bytes())?;
                stream.write_all(body)?;
            }
        }
    }
}
