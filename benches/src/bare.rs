//! The floor of an HTTP client in Rust: one hyper connection on one thread that asks for one path
//! after the other and keeps nothing.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// First argument of the binary when it is to be the floor.
pub const WORD: &str = "__bare";

/// The floor itself; `None` when the arguments do not ask for it.
#[must_use]
pub fn main_if_asked() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (word, rest) = arguments.split_first()?;
    if word != WORD {
        return None;
    }
    Some(match run(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    })
}

fn run(arguments: &[String]) -> Result<()> {
    let (port, words, certificate) = match arguments {
        [port, words] => (port, words, None),
        [port, words, certificate] => (port, words, Some(certificate)),
        _ => anyhow::bail!("{WORD} PORT WORDS [CERTIFICATE]"),
    };
    let port: u16 = port.parse()?;
    let words = std::fs::read_to_string(words).context("reading the words")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        tcp.set_nodelay(true)?;
        match certificate {
            None => ask(tcp, &words).await,
            Some(file) => {
                let connector = connector(Path::new(file))?;
                let name = ServerName::try_from("localhost")?;
                ask(connector.connect(name, tcp).await?, &words).await
            }
        }
    })
}

/// Trusts this one certificate.
fn connector(certificate: &Path) -> Result<tokio_rustls::TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(certificate)?))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

async fn ask<S>(stream: S, words: &str) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    for word in words.lines() {
        let request = Request::get(format!("/{word}"))
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, "floor")
            .body(Empty::<Bytes>::new())?;
        let mut body = sender.send_request(request).await?.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        sender.ready().await?;
    }
    Ok(())
}
