//! The form of a baseline file, for its JSON Schema. [`RuleDocument`](super::RuleDocument) reads it.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::RuleExpect;

/// A baseline file as it is written.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the schema is made of it")]
pub struct BaselineFile {
    /// Format version, 1.
    version: u32,
    /// Who answers for the rules of this file.
    owner: String,
    /// Named address lists.
    #[schemars(default)]
    groups: BTreeMap<String, Vec<String>>,
    /// Ports that may, must or must never be open.
    #[schemars(default)]
    allow: Vec<AllowEntry>,
    /// Contents that may be readable.
    #[schemars(default)]
    allow_http: Vec<AllowHttpEntry>,
}

/// One `[[allow]]`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the schema is made of it")]
pub struct AllowEntry {
    /// Unique over all files.
    id: String,
    /// A group of this file.
    group: Option<String>,
    /// Addresses, CIDRs and ranges.
    #[schemars(default)]
    hosts: Vec<String>,
    /// `tcp/443`, `tcp/8000-8100`, `udp/53`.
    ports: Vec<String>,
    /// The `vantage` of the configurations that see it; absent for all.
    #[schemars(default)]
    vantages: Vec<String>,
    /// `may` (default), `must` or `never`.
    #[schemars(default)]
    expect: RuleExpect,
    /// With `must`: on how many of the addresses each port must be open, for a service that moves among
    /// them; absent for all.
    at_least: Option<std::num::NonZeroU64>,
    /// Says that the rule is meant to allow as much as it does: many addresses times many ports.
    #[schemars(default)]
    broad: bool,
    /// Why; read by the reviewer of the pull request.
    reason: String,
    /// The last day, through 23:59:59 UTC.
    expires: Option<String>,
}

/// One `[[allow_http]]`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the schema is made of it")]
pub struct AllowHttpEntry {
    /// Unique over all files.
    id: String,
    /// A group of this file.
    group: Option<String>,
    /// Addresses, CIDRs and ranges.
    #[schemars(default)]
    hosts: Vec<String>,
    /// Ids of checks, and `legacy-tls`.
    #[schemars(default)]
    checks: Vec<String>,
    /// Paths, exactly.
    #[schemars(default)]
    paths: Vec<String>,
    /// Sites: `shop.example.jp`, `*.example.jp` for all below it, or the address for requests without
    /// a name; absent for every site of the addresses.
    #[schemars(default)]
    names: Vec<String>,
    /// The `vantage` of the configurations that see it; absent for all.
    #[schemars(default)]
    vantages: Vec<String>,
    /// Why.
    reason: String,
    /// The last day, through 23:59:59 UTC.
    expires: Option<String>,
}
