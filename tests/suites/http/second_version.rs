//! Servers that speak HTTP/2 and nothing else: plain, and inside TLS.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::*;

/// What a server wants of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    Tls,
    /// A connection without it is closed after the handshake, as gRPC's servers do.
    Agreement,
}

/// Runs in a thread for the rest of the test.
fn start(wants: Wants) -> SocketAddr {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(tls_config());
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if wants == Wants::Nothing {
                        return serve(tcp).await;
                    }
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let agreed = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                    if agreed || wants == Wants::Tls {
                        serve(tls).await;
                    }
                });
            }
        });
    });
    address.recv().unwrap()
}

fn tls_config() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) {
    let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
        let (status, body) = match request.uri().path() {
            "/" => (200, Bytes::from_static(b"<title>home</title>")),
            "/.env" => (200, Bytes::from(dotenv())),
            _ => (404, Bytes::from_static(b"<html>missing</html>")),
        };
        let response = hyper::Response::builder().status(status).body(Full::new(body)).unwrap();
        Ok::<_, Infallible>(response)
    });
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

#[test]
fn a_server_of_http2_alone_is_found_and_probed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (wants, scheme) in [
        (Wants::Nothing, UrlScheme::Http),
        (Wants::Tls, UrlScheme::Https),
        (Wants::Agreement, UrlScheme::Https),
    ] {
        let at = endpoint(start(wants));
        let seen = runtime.block_on(confirm(at, &ServiceConfig::default()));
        assert_eq!(seen.web, Some(scheme), "{wants:?}: {seen:?}");
        let seen = look_at(vec![WebTarget { endpoint: at, scheme, host: None }], config());
        assert_complete(&seen, 1);
        assert_eq!(exposed(&seen), BTreeSet::from(["/.env"]), "{wants:?}: {:?}", outcomes(&seen));
    }
}
