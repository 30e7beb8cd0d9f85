//! `patrol.toml` as it is written.

use serde::Deserialize;
use toml::Spanned;

use crate::cli::Method;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub version: Spanned<u32>,
    pub vantage: Option<String>,
    pub scope: Scope,
    #[serde(default)]
    pub scan: Scan,
    #[serde(default)]
    pub http: Http,
    #[serde(default)]
    pub baseline: Baseline,
    #[serde(default)]
    pub state: State,
    #[serde(default)]
    pub output: Output,
    pub rounds: Option<Rounds>,
    #[serde(default)]
    pub notify: Vec<super::notify::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope {
    pub allow: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub deny: Vec<Spanned<String>>,
    pub authorised_by: Spanned<String>,
    #[serde(default)]
    pub special: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scan {
    pub targets: Option<Vec<Spanned<String>>>,
    pub ports: Option<Spanned<String>>,
    pub rate: Option<Spanned<Rate>>,
    pub rate_per_host: Option<Spanned<i64>>,
    pub rate_per_network: Option<Spanned<i64>>,
    pub recall: Option<Spanned<f64>>,
    pub method: Option<Method>,
    pub interface: Option<String>,
    pub source_port: Option<Spanned<u16>>,
    #[serde(default)]
    pub canaries: Vec<Spanned<String>>,
    pub shard: Option<Spanned<String>>,
    pub rotate: Option<Spanned<String>>,
    pub part: Option<Spanned<String>>,
    pub max_age: Option<Spanned<String>>,
    pub deadline: Option<Spanned<String>>,
    #[serde(default)]
    pub nameservers: Vec<Spanned<String>>,
}

/// A number, or `auto`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Rate {
    Number(i64),
    Word(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub enabled: Option<bool>,
    pub ports: Option<Spanned<String>>,
    pub tier: Option<Spanned<u8>>,
    pub vhosts: Option<String>,
    pub dns: Option<bool>,
    pub checks: Option<Vec<String>>,
    pub manifests: Option<Vec<String>>,
    pub evidence_key: Option<String>,
    pub concurrency: Option<usize>,
    pub paths_per_site: Option<usize>,
    pub rate_per_site: Option<u32>,
    pub rate_per_address: Option<u32>,
    pub rate_per_network: Option<u32>,
    pub user_agent: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    pub dir: Option<String>,
    pub url: Option<Spanned<String>>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub url: Option<Spanned<String>>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rounds {
    pub url: Spanned<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub shards: Option<Spanned<i64>>,
    pub save_every: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    pub dir: Option<Spanned<String>>,
}
