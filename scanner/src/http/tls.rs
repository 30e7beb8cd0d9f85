//! TLS towards servers that are looked at, never trusted.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

/// A connector that completes the handshake with whatever certificate is there.
///
/// Verification is off on purpose. The question is what an address serves, and an expired,
/// self-signed or misnamed certificate changes nothing about a secret that lies open behind it;
/// refusing the handshake would hide exactly the neglected hosts. Nothing confidential is ever sent
/// over these connections, so there is nothing that a man in the middle could gain by it. Calls to
/// APIs and notifiers must not use this connector.
///
/// TLS 1.2 and 1.3. No ALPN is offered: a server then speaks HTTP/1.1, and one that knows only
/// other protocols cannot answer with an alert instead of a page. Sessions are never resumed, since
/// the certificate is part of what is observed.
#[must_use]
pub fn connector() -> TlsConnector {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    TlsConnector::from(Arc::clone(CONFIG.get_or_init(|| Arc::new(config()))))
}

fn config() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the ring provider speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified { schemes }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// The name for the handshake: the virtual host as SNI (RFC 6066, section 3), or the address, for
/// which no SNI is sent.
#[must_use]
pub fn server_name(host: Option<&str>, ip: IpAddr) -> ServerName<'static> {
    host.and_then(|h| ServerName::try_from(h.to_owned()).ok())
        .filter(|n| matches!(n, ServerName::DnsName(_)))
        .unwrap_or_else(|| ServerName::IpAddress(ip.into()))
}

/// Takes every certificate and signature; see [`connector`] for the reason.
#[derive(Debug)]
struct Unverified {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Unverified {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sni_is_sent_for_names_alone() {
        let ip: IpAddr = "198.51.100.7".parse().unwrap();
        assert!(matches!(server_name(Some("shop.example.jp"), ip), ServerName::DnsName(_)));
        assert!(matches!(server_name(None, ip), ServerName::IpAddress(_)));
        // A literal address is no host name (RFC 6066, section 3), nor is nonsense.
        assert!(matches!(server_name(Some("198.51.100.9"), ip), ServerName::IpAddress(_)));
        assert!(matches!(server_name(Some("a b"), ip), ServerName::IpAddress(_)));
    }
}
