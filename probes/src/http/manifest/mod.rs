//! Manifests: what lies in a document root, named by the host that has it, and the proof that one of
//! its files is readable that must not be.
//!
//! A manifest is NDJSON: a header, a line a file, and an end, without which it is refused as cut
//! short.
//!
//! ```json
//! {"v":1,"kind":"manifest","hosts":["shop.example.jp"],"ips":[],"prefix":"/","made_at":"2026-11-24T06:00:00Z","program":"0.1.0"}
//! {"path":"/conn.php","length":312,"sha256":"…","class":"execute","severity":"critical","what":"php","lines":["9f…"]}
//! {"kind":"end","files":1,"unreadable":[],"unreadable_total":0}
//! ```
//!
//! * [`ManifestEntry::of`] makes an entry of a file's name and its first [`PREFIX`] bytes. The rules by
//!   which it is to be executed, to be denied or public are a table; see `rules.rs`.
//! * [`Manifest::read`] reads the file; [`Manifest::concerns`] says to which host its names may be
//!   sent.
//! * [`ManifestEntry::proven`] is true of an answer that gives the file away.
//!
//! The digests of a manifest are not keyed: whoever has it can separate guesses of a short line from
//! the line. It is as confidential as the files.

mod format;
mod lines;
mod path;
mod proof;
mod read;
mod rules;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::observation::Severity;

pub use format::{ManifestHeader, ManifestLine};
pub use path::{encode_segment, is_url_path};
pub use proof::FileProof;
pub use read::{HostError, Manifest, parse_host_name};

/// How much of a file is looked at, bytes.
pub const PREFIX: usize = 64 << 10;

/// Most files to be executed or denied in one manifest.
pub const ENTRY_LIMIT: usize = 1_000_000;

/// Most unreadable places that a manifest names; more are counted.
pub const NAMED_LIMIT: usize = 1000;

/// Longest path of a file below the document root, bytes before percent-encoding. No server opens
/// a longer one (`PATH_MAX` of Linux).
pub const PATH_LIMIT: usize = 4096;

/// What a server has to do with a file.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum FileClass {
    /// Run it; its source must not be readable.
    Execute,
    /// Keep it to itself.
    Deny,
    /// Serve it.
    Public,
}

/// The digest of a line: the first 8 bytes of its SHA-256, without white space at its ends.
pub type LineDigest = [u8; 8];

/// One file of a document root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The URL's path, percent-encoded, from `/` on.
    pub path: Box<str>,
    /// The file's length in bytes.
    pub length: u64,
    /// SHA-256 of the file's first [`PREFIX`] bytes.
    pub prefix_sha256: [u8; 32],
    /// What the server has to do with it.
    pub class: FileClass,
    /// Why, in a word, such as `php`.
    pub what: Arc<str>,
    /// How bad it is when its content is readable.
    pub severity: Severity,
    /// Digests of characteristic lines, at most 32, none twice.
    pub lines: Box<[LineDigest]>,
}

impl ManifestEntry {
    /// The entry of a file.
    ///
    /// `url` is its percent-encoded URL path; `name` its raw path below the document root, without
    /// a slash at its beginning; `prefix` what was read of it, at most [`PREFIX`] bytes, and all of
    /// it if there is less; `hosts` the names of its site, by which copies of the site are known.
    #[must_use]
    pub fn of(url: &str, name: &[u8], length: u64, prefix: &[u8], hosts: &[String]) -> Self {
        let prefix = &prefix[..prefix.len().min(PREFIX)];
        let verdict = rules::classify(name, prefix, hosts);
        let whole = length <= prefix.len() as u64;
        Self {
            path: url.into(),
            length,
            prefix_sha256: Sha256::digest(prefix).into(),
            class: verdict.class,
            what: verdict.what.into(),
            severity: verdict.severity,
            lines: lines::pick(prefix, whole, verdict.lines).into(),
        }
    }
}
