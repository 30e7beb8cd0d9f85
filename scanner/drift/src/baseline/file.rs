//! A baseline file as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::Expect;

/// A baseline file as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineFile {
    /// Format version, 1.
    #[schemars(with = "u32")]
    pub(super) version: Spanned<u32>,
    /// Who answers for the rules of this file.
    #[schemars(with = "String")]
    pub(super) owner: Spanned<String>,
    /// Named address lists.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub(super) groups: BTreeMap<String, Vec<Spanned<String>>>,
    /// Ports that may, must or must never be open.
    #[serde(default)]
    #[schemars(with = "Vec<AllowEntry>")]
    pub(super) allow: Vec<Spanned<AllowEntry>>,
    /// Contents that may be readable.
    #[serde(default)]
    #[schemars(with = "Vec<AllowHttpEntry>")]
    pub(super) allow_http: Vec<Spanned<AllowHttpEntry>>,
}

/// One `[[allow]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    /// Unique over all files.
    #[schemars(with = "String")]
    pub(super) id: Spanned<String>,
    /// A group of this file.
    #[schemars(with = "Option<String>")]
    pub(super) group: Option<Spanned<String>>,
    /// Addresses, CIDRs and ranges.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) hosts: Vec<Spanned<String>>,
    /// `tcp/443`, `tcp/8000-8100`, `udp/53`.
    #[schemars(with = "Vec<String>")]
    pub(super) ports: Vec<Spanned<String>>,
    /// `may` (default), `must` or `never`.
    #[serde(default)]
    pub(super) expect: Expect,
    /// Says that the rule is meant to allow as much as it does: many addresses times many ports.
    #[serde(default)]
    pub(super) broad: bool,
    /// Why; read by the reviewer of the pull request.
    #[schemars(with = "String")]
    pub(super) reason: Spanned<String>,
    /// The last day, through 23:59:59 UTC.
    #[schemars(with = "Option<String>")]
    pub(super) expires: Option<Spanned<toml::value::Datetime>>,
}

/// One `[[allow_http]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowHttpEntry {
    /// Unique over all files.
    #[schemars(with = "String")]
    pub(super) id: Spanned<String>,
    /// A group of this file.
    #[schemars(with = "Option<String>")]
    pub(super) group: Option<Spanned<String>>,
    /// Addresses, CIDRs and ranges.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) hosts: Vec<Spanned<String>>,
    /// Ids of checks, and `legacy-tls`.
    #[serde(default)]
    pub(super) checks: Vec<String>,
    /// Paths, exactly.
    #[serde(default)]
    pub(super) paths: Vec<String>,
    /// Why.
    #[schemars(with = "String")]
    pub(super) reason: Spanned<String>,
    /// The last day, through 23:59:59 UTC.
    #[schemars(with = "Option<String>")]
    pub(super) expires: Option<Spanned<toml::value::Datetime>>,
}
