//! The demonstration's data centre: listeners on loopback addresses inside this process.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use mimawari_base::failure::Failure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What listens at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DemoService {
    /// A shop whose server hands PHP files out as text.
    Shop,
    /// A single-page application that answers everything with its shell.
    CatchAll,
    /// A status page over TLS.
    Status,
    /// Greets like OpenSSH.
    Ssh,
    /// Answers like a cache without a password.
    Cache,
    /// Greets like a VPN portal's TCP side.
    Vpn,
}

/// A host of the data centre and the last octet of its address.
struct DemoHost {
    name: &'static str,
    octet: u8,
    services: &'static [(u16, DemoService)],
}

const HOSTS: &[DemoHost] = &[
    DemoHost { name: "shop", octet: 10, services: &[(8080, DemoService::Shop)] },
    DemoHost { name: "spa", octet: 11, services: &[(8080, DemoService::CatchAll)] },
    DemoHost { name: "status", octet: 12, services: &[(8443, DemoService::Status)] },
    DemoHost { name: "cache", octet: 20, services: &[(6379, DemoService::Cache)] },
    DemoHost { name: "bastion", octet: 30, services: &[(2222, DemoService::Ssh)] },
    DemoHost { name: "partner", octet: 31, services: &[(1194, DemoService::Vpn)] },
    DemoHost { name: "old", octet: 40, services: &[(8080, DemoService::CatchAll)] },
];

/// The mail host, which is not there.
pub(super) const MAIL_OCTET: u8 = 25;
/// The ports of the plan. The mail host's is among them.
pub(super) const PORTS: &[u16] = &[1194, 2222, 2525, 6379, 8080, 8443];
/// Offsets that are tried when a program of the machine holds one of the ports on every address.
const OFFSETS: &[u16] = &[0, 10_000, 20_000, 30_000];

/// The data centre, as long as this lives.
#[derive(Debug)]
pub(super) struct DemoCentre {
    net: [u8; 3],
    offset: u16,
    listeners: Vec<(&'static str, SocketAddr, JoinHandle<()>)>,
}

impl DemoCentre {
    /// Opens all listeners on addresses of 127.0.0.0/8 that `seed` chooses.
    pub(super) async fn open(seed: u64) -> Result<Self> {
        // Loopback reaches all of 127/8; the second octet keeps two demonstrations apart.
        let net = [127, 64 + (seed % 128) as u8, (seed >> 8) as u8];
        let tls = build_tls_acceptor()?;
        let mut last = None;
        for offset in OFFSETS {
            match Self::listen(net, *offset, &tls).await {
                Ok(listeners) => return Ok(Self { net, offset: *offset, listeners }),
                Err((at, e)) => last = Some((at, e)),
            }
        }
        let (at, e) = last.unwrap_or_else(|| {
            (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), io::ErrorKind::NotFound.into())
        });
        Err(Failure::new(format!("cannot listen on {at} for the demonstration"))
            .help("another program holds this port on every address; stop it, or run the demonstration elsewhere")
            .source(e)
            .into())
    }

    async fn listen(
        net: [u8; 3],
        offset: u16,
        tls: &TlsAcceptor,
    ) -> Result<Vec<(&'static str, SocketAddr, JoinHandle<()>)>, (SocketAddr, io::Error)> {
        let mut bound = Vec::new();
        for host in HOSTS {
            for (port, service) in host.services {
                let ip = Ipv4Addr::new(net[0], net[1], net[2], host.octet);
                let at = SocketAddr::from((ip, port + offset));
                let listener = TcpListener::bind(at).await.map_err(|e| (at, e))?;
                bound.push((host.name, at, listener, *service));
            }
        }
        Ok(bound
            .into_iter()
            .map(|(name, at, listener, service)| {
                (name, at, tokio::spawn(accept(listener, service, tls.clone())))
            })
            .collect())
    }

    /// The address of a host by its last octet.
    pub(super) fn ip(&self, octet: u8) -> IpAddr {
        Ipv4Addr::new(self.net[0], self.net[1], self.net[2], octet).into()
    }

    /// The address of a host by its name.
    pub(super) fn host(&self, name: &str) -> IpAddr {
        let octet = HOSTS.iter().find(|h| h.name == name).map_or(MAIL_OCTET, |h| h.octet);
        self.ip(octet)
    }

    /// The network as CIDR.
    pub(super) fn network(&self) -> String {
        format!("{}.{}.{}.0/26", self.net[0], self.net[1], self.net[2])
    }

    /// A port as it is on this machine.
    pub(super) const fn port(&self, port: u16) -> u16 {
        port + self.offset
    }

    /// What [`take_down`](Self::take_down) takes down.
    pub(super) fn describe_take_down(&self) -> String {
        format!("{}:{} (old)", self.host("old"), self.port(8080))
    }

    /// Closes the old web server; returns when nobody listens there any more.
    pub(super) async fn take_down(&mut self) {
        for (_, _, task) in self.listeners.iter_mut().filter(|(name, ..)| *name == "old") {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for DemoCentre {
    fn drop(&mut self) {
        for (_, _, task) in &self.listeners {
            task.abort();
        }
    }
}

fn build_tls_acceptor() -> Result<TlsAcceptor> {
    let cert = rcgen::generate_simple_self_signed(vec!["status.demo.example".to_owned()])
        .map_err(|e| Failure::new("cannot make a certificate for the demonstration").source(e))?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(cert.signing_key.serialize_der())
        .map_err(|e| Failure::new(format!("cannot make a key for the demonstration: {e}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(vec![cert.cert.der().clone()], key))
        .map_err(|e| Failure::new("cannot set up TLS for the demonstration").source(e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, service: DemoService, tls: TlsAcceptor) {
    // Connections belong to the set, so that they end with the listener.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        connections.spawn(async move {
            let _ =
                tokio::time::timeout(Duration::from_secs(30), serve(stream, service, tls)).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, service: DemoService, tls: TlsAcceptor) -> io::Result<()> {
    match service {
        DemoService::Ssh => {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n").await?;
            let mut buffer = [0; 256];
            let _ = stream.read(&mut buffer).await?;
        }
        DemoService::Vpn => {
            stream.write_all(b"220 partner-vpn ready\r\n").await?;
            let mut buffer = [0; 256];
            let _ = stream.read(&mut buffer).await?;
        }
        DemoService::Cache => {
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await? > 0 {
                stream.write_all(b"-ERR wrong number of arguments for 'get' command\r\n").await?;
            }
        }
        DemoService::Status => serve_http(tls.accept(stream).await?, service).await?,
        DemoService::Shop | DemoService::CatchAll => serve_http(stream, service).await?,
    }
    Ok(())
}

/// A web server small enough to read: request head in, answer out, connection kept.
async fn serve_http<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut stream: S,
    service: DemoService,
) -> io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let end = loop {
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let n = stream.read(&mut buffer).await?;
            if n == 0 || head.len() > 16_384 {
                return Ok(());
            }
            head.extend_from_slice(&buffer[..n]);
        };
        let line = String::from_utf8_lossy(&head[..end]).into_owned();
        head.drain(..end);
        let path = line.split_whitespace().nth(1).unwrap_or("/");
        let (status, kind, body) = select_response(service, path);
        let text = format!(
            "HTTP/1.1 {status}\r\nServer: demo\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(text.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
    }
}

fn select_response(service: DemoService, path: &str) -> (&'static str, &'static str, String) {
    let page = |title: &str, text: &str| {
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><title>{title}</title></head><body><p>{text}</p></body></html>\n"
        )
    };
    match (service, path) {
        (DemoService::Shop, "/") => ("200 OK", "text/html", page("Demo shop", "Nothing is sold here.")),
        // The PHP handler is missing on this host: the source goes out as text.
        (DemoService::Shop, "/password.php") => (
            "200 OK",
            "text/plain",
            "<?php\n// staff area\n$user = 'demo';\n$password = 'FAKE-demo-not-a-secret';\nrequire 'area.php';\n"
                .to_owned(),
        ),
        (DemoService::Status, "/") => ("200 OK", "text/html", page("Status", "All systems normal.")),
        (DemoService::CatchAll, _) => (
            "200 OK",
            "text/html",
            page("Application", &format!("Loading {} …", path.replace(['<', '>', '&', '"'], ""))),
        ),
        _ => ("404 Not Found", "text/html", page("Not found", "No such page.")),
    }
}
