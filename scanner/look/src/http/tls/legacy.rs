//! The lower fallbacks: a vendored OpenSSL that agrees to everything from TLS 1.0 on.

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

use super::{TlsAttempt, TlsRefusal};
use crate::http::stream::HttpStream;

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
    asked: &TlsAttempt,
    name: Option<&str>,
) -> Result<(HttpStream, TlsFacts), TlsRefusal> {
    // The machine's fault, not the server's: no other fallback mends it.
    let broken =
        |e: &ErrorStack| TlsRefusal::failed(&format!("cannot set up OpenSSL: {e}"), false, false);
    let mut stream = prepare(tcp, name).map_err(|e| broken(&e))?;
    let shaken = stream.as_mut().connect().await;
    shaken.map_err(|e| TlsRefusal::legacy(&e, name.is_some()))?;
    let facts = collect_openssl_facts(stream.ssl(), asked);
    Ok((HttpStream::Legacy(stream), facts))
}

fn prepare(
    tcp: TcpStream,
    name: Option<&str>,
) -> Result<Pin<Box<SslStream<TcpStream>>>, ErrorStack> {
    let mut ssl = Ssl::new(get_ssl_context()?)?;
    if let Some(name) = name {
        ssl.set_hostname(name)?;
    }
    SslStream::new(ssl, tcp).map(Box::pin)
}

fn get_ssl_context() -> Result<&'static SslContext, ErrorStack> {
    static CONTEXT: OnceLock<Result<(SslContext, Option<Provider>), ErrorStack>> = OnceLock::new();
    CONTEXT.get_or_init(build).as_ref().map(|(context, _)| context).map_err(Clone::clone)
}

fn build() -> Result<(SslContext, Option<Provider>), ErrorStack> {
    // First of all, and not by the provider's loading: this way OpenSSL does not clean up at exit,
    // which would be under the feet of threads that still use it.
    openssl::init();
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

fn collect_openssl_facts(ssl: &SslRef, asked: &TlsAttempt) -> TlsFacts {
    let version = ssl.version2();
    let words = match version {
        Some(SslVersion::TLS1) => "TLSv1.0",
        _ => ssl.version_str(),
    };
    let cipher = ssl.current_cipher();
    let cipher = cipher.map(|c| c.standard_name().unwrap_or_else(|| c.name()));
    let leaf = ssl.peer_certificate().and_then(|c| c.to_der().ok());
    let legacy = is_legacy(version, cipher.unwrap_or_default());
    TlsFacts { legacy, ..super::build_tls_facts(words, cipher, leaf.as_deref(), asked) }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::Rsa;
    use openssl::x509::X509;

    use super::*;

    fn certificate() -> (X509, PKey<Private>) {
        let key = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha1()).unwrap();
        (builder.build(), key)
    }

    /// What the distribution's own `openssl` was built without, so that no suite can serve it.
    #[test]
    fn the_oldest_ciphers_are_in_this_build() {
        let cases = [
            ("RC4-MD5", "TLS_RSA_WITH_RC4_128_MD5"),
            ("RC4-SHA", "TLS_RSA_WITH_RC4_128_SHA"),
            ("DES-CBC3-SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
            ("ECDHE-RSA-RC4-SHA", "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
            ("ADH-AES128-SHA", "TLS_DH_anon_WITH_AES_128_CBC_SHA"),
        ];
        for (cipher, registered) in cases {
            for version in [SslVersion::TLS1, SslVersion::TLS1_2] {
                let (facts, certified) = serve(cipher, version);
                assert_eq!(facts.cipher.as_deref(), Some(registered));
                assert!(facts.legacy, "{facts:?}");
                assert_eq!(facts.certificate_sha256.is_some(), certified, "{facts:?}");
            }
        }
    }

    /// The facts of a handshake with a server that knows this cipher and version alone, and whether
    /// the cipher is one with a certificate.
    fn serve(cipher: &str, version: SslVersion) -> (TlsFacts, bool) {
        // Loads the provider for the server in this process as well.
        get_ssl_context().unwrap();
        let (certificate, key) = certificate();
        let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
        builder.set_security_level(0);
        builder.set_cipher_list(&format!("{cipher}:@SECLEVEL=0")).unwrap();
        builder.set_min_proto_version(Some(version)).unwrap();
        builder.set_max_proto_version(Some(version)).unwrap();
        builder.set_certificate(&certificate).unwrap();
        builder.set_private_key(&key).unwrap();
        builder.set_tmp_dh(&openssl::dh::Dh::get_2048_256().unwrap()).unwrap();
        let server = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            Ssl::new(&server).unwrap().accept(stream).unwrap()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shaken = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let asked = TlsAttempt { name: None, ip: address.ip() };
            shake(tcp, &asked, Some("old.example.jp")).await
        });
        let (_stream, facts) = shaken.unwrap();
        serving.join().unwrap();
        (facts, !cipher.starts_with("ADH"))
    }

    #[test]
    fn what_counts_as_legacy() {
        let of = |version, cipher: &str| is_legacy(Some(version), cipher);
        for cipher in ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"]
        {
            assert!(!of(SslVersion::TLS1_2, cipher), "{cipher}");
        }
        for cipher in [
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
            "TLS_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
            "",
        ] {
            assert!(of(SslVersion::TLS1_2, cipher), "{cipher}");
        }
        assert!(!of(SslVersion::TLS1_3, "TLS_AES_128_GCM_SHA256"));
        assert!(of(SslVersion::TLS1_1, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"));
        assert!(is_legacy(None, ""));
    }
}
