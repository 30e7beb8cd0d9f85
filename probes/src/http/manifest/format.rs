//! The lines of a manifest as they are written.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_targets::hex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FileClass, ManifestEntry};
use crate::observation::Severity;

/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// The first line of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestHeader {
    /// The version of the format: 1.
    pub v: u32,
    /// `manifest`.
    pub kind: String,
    /// Whose files they are: host names in lower case, in A-label form. Their paths are asked of no
    /// other host. Without any, they are the files of the addresses themselves.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// At these addresses only; at whichever the hosts have when empty.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub ips: Vec<IpAddr>,
    /// The URL path of the document root; begins and ends with `/`.
    pub prefix: String,
    /// When the document root was read.
    #[schemars(with = "String")]
    pub made_at: Timestamp,
    /// The version of the program that wrote it.
    pub program: String,
}

impl ManifestHeader {
    /// A header of this version.
    #[must_use]
    pub fn new(
        hosts: Vec<String>,
        ips: Vec<IpAddr>,
        prefix: String,
        made_at: Timestamp,
        program: &str,
    ) -> Self {
        let kind = "manifest".to_owned();
        Self { v: VERSION, kind, hosts, ips, prefix, made_at, program: program.to_owned() }
    }
}

/// A line of a manifest.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ManifestLine<'a> {
    /// The first line.
    Header(Cow<'a, ManifestHeader>),
    /// One file.
    File {
        /// The URL path, percent-encoded.
        path: &'a str,
        /// Bytes.
        length: u64,
        /// SHA-256 of the first 64 KiB, in hexadecimal.
        sha256: String,
        /// What the server has to do with it.
        class: FileClass,
        /// How bad it is when its content is readable; not for public files.
        #[serde(skip_serializing_if = "Option::is_none")]
        severity: Option<Severity>,
        /// Why it is of its class, in a word.
        what: &'a str,
        /// The first 8 bytes, in hexadecimal, of the SHA-256 of characteristic lines.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        lines: Vec<String>,
    },
    /// The last line.
    End {
        /// `end`.
        kind: &'static str,
        /// How many files were named.
        files: u64,
        /// URL paths of what could not be read, at most a thousand.
        unreadable: &'a [String],
        /// How many places could not be read.
        unreadable_total: u64,
    },
}

impl<'a> ManifestLine<'a> {
    /// The line of a file.
    #[must_use]
    pub fn file(entry: &'a ManifestEntry) -> Self {
        Self::File {
            path: &entry.path,
            length: entry.length,
            sha256: hex::encode(&entry.prefix_sha256),
            class: entry.class,
            severity: (entry.class != FileClass::Public).then_some(entry.severity),
            what: &entry.what,
            lines: entry.lines.iter().map(|l| hex::encode(l)).collect(),
        }
    }

    /// The last line.
    #[must_use]
    pub fn end(files: u64, unreadable: &'a [String], unreadable_total: u64) -> Self {
        Self::End { kind: "end", files, unreadable, unreadable_total }
    }

    /// The line, with its line feed.
    ///
    /// # Errors
    /// Never in practice: a line holds nothing that JSON cannot.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }
}
