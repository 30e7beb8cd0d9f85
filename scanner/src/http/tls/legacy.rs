//! The lower rungs: a vendored OpenSSL that agrees to everything from TLS 1.0 on.

use std::pin::Pin;
use std::sync::OnceLock;

use mimawari_probes::observation::TlsFacts;
use openssl::error::ErrorStack;
use openssl::provider::Provider;
use openssl::ssl::{
    Ssl, SslContext, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode, SslVerifyMode,
    SslVersion,
};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::{Asked, Refusal};
use crate::http::stream::Stream;

/// Everything that encrypts, in OpenSSL's own order: forward secrecy and AEAD first, RC4 and
/// anonymous suites last. Suites without encryption stay out, which no site is served by.
const CIPHERS: &str = "ALL:@SECLEVEL=0";

/// The groups of all ages. Not the post-quantum ones that OpenSSL puts first: their key share makes
/// a hello of two segments, which is what old servers and the boxes in front of them break on.
/// A `?` passes over a group that this build does not have.
const GROUPS: &str = "P-256:P-384:P-521:X25519:?X448:?brainpoolP256r1:?brainpoolP384r1:\
    ?brainpoolP512r1:?secp256k1:?P-224:?P-192:?sect283k1:?sect283r1:?sect409k1:?sect409r1:\
    ?sect571k1:?sect571r1:?ffdhe2048";

/// Shakes hands; `name` is sent as the server name.
pub(super) async fn shake(
    tcp: TcpStream,
    asked: &Asked,
    name: Option<&str>,
) -> Result<(Stream, TlsFacts), Refusal> {
    // The machine's fault, not the server's: no other rung mends it.
    let broken =
        |e: &ErrorStack| Refusal::failed(&format!("cannot set up OpenSSL: {e}"), false, false);
    let mut stream = prepare(tcp, name).map_err(|e| broken(&e))?;
    let shaken = stream.as_mut().connect().await;
    shaken.map_err(|e| Refusal::legacy(&e, name.is_some()))?;
    let facts = facts(stream.ssl(), asked);
    Ok((Stream::Legacy(stream), facts))
}

fn prepare(
    tcp: TcpStream,
    name: Option<&str>,
) -> Result<Pin<Box<SslStream<TcpStream>>>, ErrorStack> {
    let mut ssl = Ssl::new(context()?)?;
    if let Some(name) = name {
        ssl.set_hostname(name)?;
    }
    SslStream::new(ssl, tcp).map(Box::pin)
}

fn context() -> Result<&'static SslContext, ErrorStack> {
    static CONTEXT: OnceLock<Result<(SslContext, Option<Provider>), ErrorStack>> = OnceLock::new();
    CONTEXT.get_or_init(build).as_ref().map(|(context, _)| context).map_err(Clone::clone)
}

fn build() -> Result<(SslContext, Option<Provider>), ErrorStack> {
    // RC4 is in the provider of old algorithms. Without it only RC4 is missing.
    let provider = Provider::try_load(None, "legacy", true).ok();
    let mut builder = SslContext::builder(SslMethod::tls_client())?;
    builder.set_security_level(0);
    builder.set_min_proto_version(Some(SslVersion::TLS1))?;
    builder.set_max_proto_version(None)?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_groups_list(GROUPS)?;
    // The workarounds that OpenSSL has collected, servers without secure renegotiation (RFC 5746),
    // and those that close without `close_notify`.
    builder.set_options(
        SslOptions::ALL
            | LEGACY_SERVER_CONNECT
            | SslOptions::ALLOW_UNSAFE_LEGACY_RENEGOTIATION
            | SslOptions::IGNORE_UNEXPECTED_EOF
            | SslOptions::NO_TICKET,
    );
    // What a configuration file of the system may have switched off.
    builder.clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1);
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    Ok((builder.build(), provider))
}

/// `SSL_OP_LEGACY_SERVER_CONNECT`, which the bindings have no name for.
const LEGACY_SERVER_CONNECT: SslOptions = SslOptions::from_bits_retain(1 << 2);

fn facts(ssl: &SslRef, asked: &Asked) -> TlsFacts {
    let version = ssl.version2();
    let words = match version {
        Some(SslVersion::TLS1) => "TLSv1.0",
        _ => ssl.version_str(),
    };
    let cipher = ssl.current_cipher();
    let cipher = cipher.map(|c| c.standard_name().unwrap_or_else(|| c.name()));
    let leaf = ssl.peer_certificate().and_then(|c| c.to_der().ok());
    let legacy = is_legacy(version, cipher.unwrap_or_default());
    TlsFacts { legacy, ..super::facts(words, cipher, leaf.as_deref(), asked) }
}

/// Whether a current client would have none of it. Reaching a server this way is not enough: one
/// that refuses every server name, or wants a group that rustls lacks, may be up to date otherwise.
fn is_legacy(version: Option<SslVersion>, cipher: &str) -> bool {
    match version {
        Some(SslVersion::TLS1_3) => false,
        Some(SslVersion::TLS1_2) => {
            let secret = cipher.starts_with("TLS_ECDHE_");
            let authenticated = ["_GCM_", "_CHACHA20_", "_CCM"].iter().any(|m| cipher.contains(m));
            !(secret && authenticated)
        }
        _ => true,
    }
}
