//! The first fallback: rustls, TLS 1.3 and 1.2 with forward secrecy and authenticated ciphers alone.

use std::sync::{Arc, OnceLock};

use mimawari_probes::observation::TlsFacts;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{TlsAttempt, TlsRefusal};
use crate::http::stream::HttpStream;

pub(super) async fn shake(
    tcp: TcpStream,
    asked: &TlsAttempt,
    second_version: bool,
) -> Result<(HttpStream, TlsFacts), TlsRefusal> {
    let named = asked.name.is_some();
    // For an address, rustls sends no name.
    let name = asked.name.clone().unwrap_or_else(|| ServerName::IpAddress(asked.ip.into()));
    let shaken = build_connector(second_version).connect(name, tcp).await;
    let stream = shaken.map_err(|e| TlsRefusal::modern(&e, named))?;
    let facts = collect_rustls_facts(stream.get_ref().1, asked);
    Ok((HttpStream::Tls(Box::new(stream)), facts))
}

fn collect_rustls_facts(session: &ClientConnection, asked: &TlsAttempt) -> TlsFacts {
    let version = session.protocol_version().and_then(|v| v.as_str());
    let version = version.map_or_else(|| "unknown".to_owned(), |v| v.replace("TLSv1_", "TLSv1."));
    // Registered without the version that rustls puts in (RFC 8446, appendix B.4).
    let cipher = session.negotiated_cipher_suite().and_then(|s| s.suite().as_str());
    let cipher = cipher.map(|c| c.replace("TLS13_", "TLS_"));
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    super::build_tls_facts(&version, cipher.as_deref(), leaf.map(AsRef::as_ref), asked)
}

/// A connector that completes the handshake with whatever certificate is there; see the module
/// above for the reason.
fn build_connector(second_version: bool) -> TlsConnector {
    static FIRST: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    static SECOND: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let made = if second_version { &SECOND } else { &FIRST };
    let config = made.get_or_init(|| {
        let mut config = build_client_config();
        if second_version {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Arc::new(config)
    });
    TlsConnector::from(Arc::clone(config))
}

fn build_client_config() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the ring provider speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(UnverifiedCertificates { schemes }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// Takes every certificate and signature; see the module above for the reason.
#[derive(Debug)]
struct UnverifiedCertificates {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for UnverifiedCertificates {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
