//! `patrol.toml` as it is written.

use serde::Deserialize;
use toml::Spanned;

use crate::cli::ScanMethod;

/// `patrol.toml` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigDocument {
    /// The version of this format: 1.
    pub version: Spanned<u32>,
    /// From where this installation looks; part of the identity of every finding. Default:
    /// `default`.
    pub vantage: Option<String>,
    pub scope: ScopeSection,
    #[serde(default)]
    pub scan: ScanSection,
    #[serde(default)]
    pub http: HttpSection,
    #[serde(default)]
    pub baseline: BaselineSection,
    #[serde(default)]
    pub state: StateSection,
    #[serde(default)]
    pub output: OutputSection,
    pub rounds: Option<RoundsSection>,
    #[serde(default)]
    pub notify: Vec<mimawari_notify::configured::NotifyTable>,
}

/// What may be scanned, and who said so. Required.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopeSection {
    /// Addresses and networks that may be probed. No packet leaves for any other.
    pub allow: Spanned<Vec<Spanned<String>>>,
    /// Exceptions of `allow`, also `@FILE` with one on each line. They win.
    #[serde(default)]
    pub deny: Vec<Spanned<String>>,
    /// Who allowed the scan; in every report.
    pub authorised_by: Spanned<String>,
    /// Kinds of special addresses that are in `allow` on purpose: `link-local`, `multicast`,
    /// `broadcast`, `metadata`, `unspecified`.
    #[serde(default)]
    pub special: Vec<Spanned<String>>,
}

/// The sweep of ports.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScanSection {
    /// What to scan: addresses, networks, names, `@FILE`. Default: the whole scope.
    pub targets: Option<Vec<Spanned<String>>>,
    /// A list such as `22,80,8000-8100`, or `top100`, `top1000`, `all`. Default: `top100`.
    pub ports: Option<Spanned<String>>,
    /// Packets per second, a ceiling; `auto` finds what the path carries. Default: 20000.
    pub rate: Option<Spanned<RateSetting>>,
    /// Packets per second to one address. Default: 1000.
    pub rate_per_host: Option<Spanned<i64>>,
    /// Packets per second to one /24 or /64. Default: 10000.
    pub rate_per_network: Option<Spanned<i64>>,
    /// The share of open ports that is to be found; the engine decides how many attempts that
    /// takes. Default: 0.9999.
    pub recall: Option<Spanned<f64>>,
    /// `syn` needs CAP_NET_RAW, `connect` does not; `auto` takes the better one that works.
    /// Default: `auto`.
    pub method: Option<ScanMethod>,
    /// The interface to send from. Default: as the routes say.
    pub interface: Option<String>,
    /// Addresses of this machine to send from, at most one of IPv4 and one of IPv6. Default: as the
    /// routes say.
    #[serde(default)]
    pub source: Vec<Spanned<String>>,
    /// Where the source ports of the probes begin. Default: another place in each run.
    pub source_port: Option<Spanned<u16>>,
    /// Endpoints known to be open, `address:port`. If they do not answer, the run is not trusted.
    #[serde(default)]
    pub canaries: Vec<Spanned<String>>,
    /// The part of the plan that this run scans, `2/7`, counted from 1.
    pub shard: Option<Spanned<String>>,
    /// `1/24`: each run scans one of 24 parts, the one that was covered longest ago.
    pub rotate: Option<Spanned<String>>,
    /// The part of a rotation to scan now, such as `2/24`, instead of the next one.
    pub part: Option<Spanned<String>>,
    /// How old coverage may be, such as `24h`; older coverage is exit status 3. Default: one
    /// rotation.
    pub max_age: Option<Spanned<String>>,
    /// How long a run may take, such as `50m`. What is left is not covered, and can be resumed.
    pub deadline: Option<Spanned<String>>,
    /// Name servers, `address` or `address:port`. Default: the system's.
    #[serde(default)]
    pub nameservers: Vec<Spanned<String>>,
}

/// A number, or `auto`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RateSetting {
    Number(i64),
    Word(String),
}

/// Content probing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpSection {
    /// Whether open web ports are probed for content. Default: true.
    pub enabled: Option<bool>,
    /// `open` for every open port that speaks HTTP, or a list of ports. Default: `open`.
    pub ports: Option<Spanned<String>>,
    /// 1, 2 or 3: how many paths are requested. Default: 1.
    pub tier: Option<Spanned<u8>>,
    /// A CSV file of virtual hosts: `ip,host[,port[,scheme]]`; `-` is stdin.
    pub vhosts: Option<String>,
    /// Whether to ask DNS which of the names still point here. Default: false.
    pub dns: Option<bool>,
    /// Files with checks of your own.
    pub checks: Option<Vec<String>>,
    /// Manifests of document roots, made by `mimawari manifest`.
    pub manifests: Option<Vec<String>>,
    /// A file with the key of the digests in evidence. Default: a new key in each run.
    pub evidence_key: Option<String>,
    /// Sites that are probed at the same time. Default: 64.
    pub concurrency: Option<usize>,
    /// Paths that one site is asked for at most; others are reported as skipped. Default: 20000.
    pub paths_per_site: Option<usize>,
    /// Requests per second to one site; 0 is no ceiling. Default: 100.
    pub rate_per_site: Option<u32>,
    /// Requests per second to one address; 0 is no ceiling. Default: 200.
    pub rate_per_address: Option<u32>,
    /// Requests per second to one /24 or /64; 0 is no ceiling. Default: 2000.
    pub rate_per_network: Option<u32>,
    /// The header `User-Agent`; it should say who asks. Default: the program and its version.
    pub user_agent: Option<String>,
}

/// What is allowed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BaselineSection {
    /// The folder of the baseline. Default: `baseline`.
    pub dir: Option<String>,
    /// Instead of `dir`: where the baseline is published, a folder or `s3://bucket/prefix`.
    pub url: Option<Spanned<String>>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// Another endpoint than AWS's own, for emulators.
    pub endpoint: Option<String>,
}

/// What is known between runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateSection {
    /// Where the state is kept, a folder or `s3://bucket/prefix`. Default: `state`.
    pub url: Option<Spanned<String>>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// Another endpoint than AWS's own, for emulators.
    pub endpoint: Option<String>,
}

/// Rounds over one or many tasks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoundsSection {
    /// Where rounds are kept, a folder or `s3://bucket/prefix`.
    pub url: Spanned<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// Another endpoint than AWS's own, for emulators.
    pub endpoint: Option<String>,
    /// The number of tasks of a round. Default: 1.
    pub shards: Option<Spanned<i64>>,
    /// The time between two saves of a task. Default: `60s`.
    pub save_every: Option<Spanned<String>>,
}

/// Where runs are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputSection {
    /// The folder in which run folders are made. Default: `runs`.
    pub dir: Option<Spanned<String>>,
}
