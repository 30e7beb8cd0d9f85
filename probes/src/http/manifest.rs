//! Placeholder until the real one is merged.
use crate::observation::Severity;
/// A file.
#[derive(Debug)]
pub struct Entry {
    /// Path.
    pub path: String,
    /// Severity.
    pub severity: Severity,
}
/// Proof.
#[derive(Debug)]
pub struct Proof;
impl Proof {
    /// Words.
    pub fn words(&self) -> String { String::new() }
}
impl Entry {
    /// Title.
    pub fn title(&self) -> &str { "" }
    /// Remedy.
    pub fn remedy(&self) -> &str { "" }
    /// Proof.
    pub fn proven(&self, _body: &[u8], _truncated: bool) -> Option<Proof> { None }
}

/// Manifest.
#[derive(Debug)]
pub struct Manifest;
impl Manifest {
    /// Concerns.
    pub fn concerns(&self, _host: Option<&str>, _ip: std::net::IpAddr) -> bool { false }
    /// Entries.
    pub fn entries(&self) -> &[std::sync::Arc<Entry>] { &[] }
}
