//! Which library makes the cryptography of the connections that are trusted.

/// Installs `ring` for `reqwest`, which is built without a provider of its own. Whoever builds a client,
/// also through `object_store`, calls this first; more than once does no harm.
pub fn provide() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
