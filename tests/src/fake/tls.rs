//! Self-signed certificates, one for each name, chosen by SNI.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A server configuration with a certificate for each name and one for everybody else.
pub(super) fn server_config(names: &[String]) -> io::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut by_name = HashMap::new();
    for name in names {
        by_name.insert(name.clone(), certify(name)?);
    }
    let resolver = BySni { by_name, other: certify("localhost")? };
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    Ok(Arc::new(config))
}

fn certify(name: &str) -> io::Result<Arc<CertifiedKey>> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).map_err(io::Error::other)?;
    let key =
        PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
    let key = ring::sign::any_supported_type(&key).map_err(io::Error::other)?;
    let chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

#[derive(Debug)]
struct BySni {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    other: Arc<CertifiedKey>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|n| self.by_name.get(n));
        Some(Arc::clone(named.unwrap_or(&self.other)))
    }
}
