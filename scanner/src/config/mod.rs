//! `patrol.toml`: read, checked, and turned into what the commands need.
//!
//! [`file`] is the text as it is written; this module is what it means. A mistake is reported with
//! the line it stands on, and all mistakes of a file are reported at once.

mod deny;
pub mod fetched;
mod file;
pub mod notify;
pub mod rounds;
pub mod shard;
mod source;

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use mimawari_base::duration;
use mimawari_base::failure::Failure;
use mimawari_base::source_path::SourcePath;
use mimawari_base::uplink::Uplink;
use mimawari_store::{LocationError, StoreLocation};
use mimawari_targets::diagnostic::{Diagnostic, DiagnosticList, TextSource};
use mimawari_targets::list::{self, TargetList};
use mimawari_targets::{
    AddrRange, AddrSet, PlanShard, Port, PortSet, Scope, SpecialKind, build_mistake_diagnostic,
    find_special_addresses, parse_missing_key,
};
use toml::Spanned;

use crate::cli::{HttpArgs, RunSelection, ScanMethod, ScanTuning};

/// Packets per second, where the file says nothing. Moderate: a /24 with a hundred ports takes two
/// seconds, and no target notices.
pub const DEFAULT_RATE: u32 = 20_000;
/// The bound of a rate that is found by itself.
pub const AUTO_RATE: u32 = 10_000_000;
/// Packets per second to one address, where the file says nothing: what a busy web server gets in
/// new connections without noticing.
pub const DEFAULT_RATE_PER_HOST: u32 = 1_000;
/// Packets per second to a /24 or /64, where the file says nothing.
pub const DEFAULT_RATE_PER_NETWORK: u32 = 10_000;
/// The promised recall, where the file says nothing.
pub const DEFAULT_RECALL: f64 = 0.9999;

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// What may be scanned.
    pub scope: Scope,
    /// The sweep.
    pub scan: ScanConfig,
    /// The content checks.
    pub http: HttpConfig,
    /// The folder of the baseline.
    pub baseline_dir: SourcePath,
    /// Where the baseline is published; it is then read from there, and not from the folder.
    pub baseline_url: Option<StoreLocation>,
    /// Where the state is kept.
    pub state: StoreLocation,
    /// The folder under which run folders are made.
    pub runs_dir: PathBuf,
    /// Where rounds of one or many tasks are kept, if anywhere.
    pub rounds: Option<rounds::RoundsConfig>,
    /// Who is notified.
    pub notify: Vec<mimawari_notify::NotifierConfig>,
    /// From where this installation looks; part of every finding's identity.
    pub vantage: String,
    /// Things to know that do not stop the run.
    pub warnings: Vec<String>,
}

/// How to sweep.
#[derive(Debug, Clone)]
pub struct ScanConfig {
    /// What to scan; `None` is the whole scope.
    pub targets: Option<TargetList>,
    /// Ports.
    pub ports: PortSet,
    /// Packets per second, a ceiling.
    pub rate: u32,
    /// Whether the rate is to be found by itself, below `rate`.
    pub rate_auto: bool,
    /// Packets per second to one address; 0: no ceiling.
    pub rate_per_host: u32,
    /// Packets per second to a /24 or /64; 0: no ceiling.
    pub rate_per_network: u32,
    /// The promise.
    pub recall: f64,
    /// SYN or connect.
    pub method: ScanMethod,
    /// Interface to send from; `None` lets the routes decide.
    pub interface: Option<String>,
    /// Addresses to send from, at most one a family.
    pub sources: Vec<IpAddr>,
    /// First of the source ports; `None` lets each run choose.
    pub source_port: Option<u16>,
    /// Known-open endpoints.
    pub canaries: Vec<SocketAddr>,
    /// Which part of the plan.
    pub shard: PlanShard,
    /// Over how many runs the plan is walked, one part each; `None` walks it whole.
    pub rotate: Option<u32>,
    /// Which part, where it is not left to the state.
    pub part: Option<PlanShard>,
    /// Coverage older than this is stale, and the verdict then incomplete.
    pub max_age: Option<Duration>,
    /// A run that is not done after this time is stopped, and incomplete.
    pub deadline: Option<Duration>,
    /// Name servers instead of the system's.
    pub nameservers: Vec<SocketAddr>,
}

impl ScanConfig {
    /// How connections leave: as the packets of the sweep do.
    #[must_use]
    pub fn uplink(&self) -> Uplink {
        Uplink::by(self.interface.as_deref()).from_addresses(&self.sources)
    }
}

/// How to look for published files.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Whether to look at all.
    pub enabled: bool,
    /// The ports to look at; `None` is every open port that talks HTTP(S).
    pub ports: Option<PortSet>,
    /// Cost tier, 1 to 3.
    pub tier: u8,
    /// The list of virtual hosts; `-` is stdin.
    pub vhosts: Option<SourcePath>,
    /// Whether DNS is asked where the virtual hosts' names point. Off unless asked for: a list of a
    /// million names makes two million questions to the name server.
    pub dns: bool,
    /// Files of checks, beside those that come with the program.
    pub checks: Vec<SourcePath>,
    /// Manifests of document roots.
    pub manifests: Vec<SourcePath>,
    /// The file with the key of the evidence digests; a key of each run's own without one.
    pub evidence_key: Option<SourcePath>,
    /// Most paths that one site is asked for.
    pub paths_per_site: usize,
    /// Requests a second to one site; 0: no ceiling.
    pub rate_per_site: u32,
    /// Requests a second to one address; 0: no ceiling.
    pub rate_per_address: u32,
    /// Requests a second to one /24 or /64; 0: no ceiling.
    pub rate_per_network: u32,
    /// How many web endpoints are probed in parallel.
    pub concurrency: usize,
    /// User-Agent header.
    pub user_agent: String,
}

impl Config {
    /// Logs what is worth a warning in it.
    pub fn log_warnings(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Reads and checks a configuration file; one on S3 (`s3://bucket/folder/patrol.toml`) is
    /// fetched first, with all of its folder.
    ///
    /// # Errors
    /// A [`Failure`] when the file cannot be read, [`DiagnosticList`] when it is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        if let Some(url) = fetched::parse_s3_url(path) {
            let (folder, file) = fetched::fetch(url, &fetched::StoreReach::from_environment())?;
            return Self::read_copy(&folder, &file);
        }
        let text = std::fs::read_to_string(path).map_err(|e| {
            Failure::new(format!("cannot read the configuration {}", path.display()))
                .help("name the file with -c FILE; `mimawari demo` writes a working example")
                .source(e)
        })?;
        let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&path.display().to_string(), &text, base)
    }

    /// Checks a configuration text; relative paths in it start at `base`.
    ///
    /// # Errors
    /// [`DiagnosticList`] with every mistake.
    pub fn parse(name: &str, text: &str, base: &Path) -> Result<Self> {
        Self::parse_and_check(&TextSource::new(name, text), &base.into(), false)
    }

    /// Reads a configuration that lies in a copy. What it writes cannot lie there, too.
    fn read_copy(folder: &SourcePath, file: &str) -> Result<Self> {
        let path = folder.join(file);
        let bytes = std::fs::read(&path)
            .map_err(|e| Failure::new(format!("cannot read the copy of {path}")).source(e))?;
        Self::parse_and_check(&TextSource::from_bytes(path.to_string(), bytes)?, folder, true)
    }

    fn parse_and_check(source: &TextSource, base: &SourcePath, is_copy: bool) -> Result<Self> {
        let file: file::ConfigDocument =
            toml::from_str(source.text()).map_err(|e| describe_syntax_error(source, &e))?;
        let mut check =
            CheckConfig { source, errors: Vec::new(), warnings: Vec::new(), base, is_copy };
        let config = check.config(file, base);
        match config {
            Some(config) if check.errors.is_empty() => Ok(config),
            _ => Err(DiagnosticList(check.errors).into()),
        }
    }

    /// Takes what the command line says of the look.
    pub fn apply_http_args(&mut self, looking: &HttpArgs) {
        if let Some(tier) = looking.tier {
            self.http.tier = tier;
        }
        if !looking.manifest.is_empty() {
            self.http.manifests = looking.manifest.iter().map(SourcePath::from).collect();
        }
        if let Some(key) = &looking.evidence_key {
            self.http.evidence_key = Some(key.into());
        }
    }

    /// Lays flags (and environment variables, which clap hands over as flags) over the file.
    ///
    /// # Errors
    /// A [`Failure`] naming the flag.
    pub fn apply(&mut self, selection: &RunSelection, tuning: Option<&ScanTuning>) -> Result<()> {
        if selection.targets.iter().any(|t| t == "-")
            && self.http.vhosts.as_deref() == Some(Path::new("-"))
        {
            return Err(Failure::new("both --targets and [http] vhosts read stdin")
                .help("give one of them as a file")
                .into());
        }
        if !selection.targets.is_empty() {
            self.scan.targets = Some(read_targets(&selection.targets)?);
        }
        if let Some(shard) = &selection.shard {
            self.scan.shard = shard
                .parse()
                .map_err(|e: mimawari_targets::ShardError| Failure::new(format!("--shard: {e}")))?;
        } else if self.scan.shard == PlanShard::WHOLE
            && let Some(shard) = shard::from_environment(|name| std::env::var(name).ok())?
        {
            self.scan.shard = shard;
        }
        if let Some(part) = &selection.part {
            let part = parse_part(part, self.scan.rotate)
                .map_err(|e| Failure::new(format!("--part: {e}")).help(PART_HELP))?;
            self.scan.part = Some(part);
        }
        let shards = self.scan.shard.count();
        if shards > 1 && self.scan.rotate.is_some() && self.scan.part.is_none() {
            return Err(Failure::new(format!(
                "shard {} of a rotation without a part: each shard would choose by its own state",
                self.scan.shard
            ))
            .help("name the part of this round for all shards with --part K/N or MIMAWARI_PART")
            .into());
        }
        tuning.map_or(Ok(()), |t| self.tune(t))
    }

    /// Takes what the command line says of the sweep.
    ///
    /// # Errors
    /// A [`Failure`] naming the flag.
    pub fn tune(&mut self, t: &ScanTuning) -> Result<()> {
        if let Some(ports) = &t.ports {
            self.scan.ports = ports
                .parse()
                .map_err(|e: mimawari_targets::PortError| Failure::new(format!("--ports: {e}")))?;
        }
        if let Some(rate) = &t.rate {
            (self.scan.rate, self.scan.rate_auto) =
                parse_rate(rate).map_err(|e| Failure::new(format!("--rate: {e}")))?;
        }
        if let Some(recall) = t.recall {
            self.scan.recall =
                check_recall(recall).map_err(|e| Failure::new(format!("--recall: {e}")))?;
        }
        if let Some(method) = t.method {
            self.scan.method = method;
        }
        if let Some(interface) = &t.interface {
            self.scan.interface = (interface != "auto").then(|| interface.clone());
        }
        Ok(())
    }
}

/// The targets named on the command line: ranges, names, `@FILE`, `-`.
pub(crate) fn read_targets(items: &[String]) -> Result<TargetList> {
    let mut all: Option<TargetList> = None;
    let mut add = |t: TargetList| match &mut all {
        Some(a) => a.extend(t),
        None => all = Some(t),
    };
    let mut plain = Vec::new();
    for item in items {
        if item == "-" {
            let text = std::io::read_to_string(std::io::stdin())
                .map_err(|e| Failure::new("cannot read targets from stdin").source(e))?;
            add(list::parse_text("<stdin>", &text)?);
        } else if let Some(path) = item.strip_prefix('@') {
            add(read_target_file(Path::new(path))?);
        } else if item.parse::<AddrRange>().is_err() && Path::new(item).is_file() {
            add(read_target_file(Path::new(item))?);
        } else {
            plain.push(item.clone());
        }
    }
    if !plain.is_empty() {
        add(list::parse_items("--targets", &plain)?);
    }
    all.ok_or_else(|| Failure::new("--targets names nothing").into())
}

fn read_target_file(path: &Path) -> Result<TargetList> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Failure::new(format!("cannot read the target list {}", path.display()))
            .help("write one CIDR, range, address or host name on each line")
            .source(e)
    })?;
    Ok(list::parse_text(&path.display().to_string(), &text)?)
}

/// A number of packets per second, or `auto`.
fn parse_rate(text: &str) -> Result<(u32, bool), String> {
    if text == "auto" {
        return Ok((AUTO_RATE, true));
    }
    let rate = text.parse().map_err(|_| {
        let shown: String = text.chars().take(20).collect();
        format!("`{}` is no rate; write packets per second, or `auto`", shown.escape_default())
    })?;
    Ok((check_rate(rate)?, false))
}

const LOCATION_HELP: &str = "write a path, such as `url = \"state\"`, or `url = \"s3://bucket/prefix\"` \
     with `region` and, for an emulator, `endpoint`";

const COPY_URL_HELP: &str =
    "write `url = \"s3://bucket/prefix\"`, or a folder that begins with `/`";
const COPY_DIR_HELP: &str = "write a folder that begins with `/`, or leave it out";

const PART_HELP: &str = "write k/n with k from 1 to n, such as 3/24";

/// The number of parts of `1/24`.
fn parse_rotate(text: &str) -> Option<u32> {
    let part: PlanShard = text.parse().ok()?;
    (part.index() == 1 && part.count() <= MAX_PARTS).then_some(part.count())
}

/// Parts whose ages the state keeps; a run every hour walks so many in a year and more.
pub(crate) const MAX_PARTS: u32 = 10_000;

fn parse_part(text: &str, rotate: Option<u32>) -> Result<PlanShard, String> {
    let part = text.parse::<PlanShard>().ok().filter(|p| p.count() <= MAX_PARTS);
    let part = part.ok_or_else(|| format!("`{}` is no part of a plan", text.escape_debug()))?;
    match rotate {
        Some(n) if n != part.count() => {
            Err(format!("part {part}, and the configuration rotates over {n} parts"))
        }
        _ => Ok(part),
    }
}

pub(crate) fn check_rate(rate: i64) -> Result<u32, String> {
    u32::try_from(rate)
        .ok()
        .filter(|r| (1..=20_000_000).contains(r))
        .ok_or_else(|| format!("{rate} packets per second is out of range; use 1 to 20000000"))
}

pub(crate) fn check_recall(recall: f64) -> Result<f64, String> {
    if (0.9..=0.999_999).contains(&recall) {
        Ok(recall)
    } else {
        Err(format!("{recall} is out of range; promise 0.9 to 0.999999"))
    }
}

/// A TOML error as a message with the line.
fn describe_syntax_error(source: &TextSource, e: &toml::de::Error) -> DiagnosticList {
    let d = build_mistake_diagnostic(source, e.message(), e.span().unwrap_or(0..0));
    match parse_missing_key(e.message()) {
        Some("scope") => d.help("add a [scope] with `allow` and `authorised_by`: no packet leaves for an address outside it"),
        Some("url") => d.help("name where rounds are kept, such as `url = \"s3://bucket/rounds\"`, or a folder"),
        Some("authorised_by") => d.help("name who authorised the scan, such as `authorised_by = \"SEC-1042\"`"),
        _ => d,
    }
    .into()
}

/// Collects the mistakes of one file.
struct CheckConfig<'a> {
    source: &'a TextSource,
    errors: Vec<Diagnostic>,
    /// Things to know that are no mistakes.
    warnings: Vec<String>,
    /// Where relative paths begin.
    base: &'a SourcePath,
    /// Whether relative paths lead into a copy that is removed at the end.
    is_copy: bool,
}

impl CheckConfig<'_> {
    fn error(&mut self, span: Range<usize>, title: impl Into<String>, help: impl Into<String>) {
        self.errors.push(Diagnostic::error(title, self.source, span).help(help));
    }

    fn config(&mut self, file: file::ConfigDocument, base: &SourcePath) -> Option<Config> {
        if *file.version.get_ref() != 1 {
            self.error(
                file.version.span(),
                format!("version {} is not known", file.version.get_ref()),
                "write `version = 1`, or use a newer mimawari",
            );
        }
        let scope = self.scope(&file.scope);
        let scan = self.scan(file.scan, scope.as_ref());
        let http = self.http(file.http, base);
        let notify = self.notifiers(file.notify, base);
        let rounds = file.rounds.as_ref().and_then(|r| self.rounds(r, base));
        let state = file.state;
        let state = self.location(
            state.url.as_ref(),
            "state",
            (state.region.as_deref(), state.endpoint.as_deref()),
            base,
        );
        let b = &file.baseline;
        let reach = (b.region.as_deref(), b.endpoint.as_deref());
        let baseline_url = b.url.as_ref().and_then(|u| self.location(Some(u), "", reach, base));
        if let Some(url) = b.url.as_ref().filter(|_| b.dir.is_some()) {
            self.error(
                url.span(),
                "both `dir` and `url` name the baseline",
                "keep `url` where it is published to, or `dir` where its files are",
            );
        }
        Some(Config {
            scope: scope?,
            scan: scan?,
            http: http?,
            baseline_dir: base.join(file.baseline.dir.as_deref().unwrap_or("baseline")),
            baseline_url,
            state: state?,
            runs_dir: self.runs_dir(file.output.dir.as_ref(), base)?,
            rounds,
            notify: notify.all,
            vantage: file.vantage.unwrap_or_else(|| "default".to_owned()),
            warnings: {
                let mut all = std::mem::take(&mut self.warnings);
                all.extend(notify.warnings);
                all
            },
        })
    }

    /// A folder or a bucket; `default` where the file names none.
    fn location(
        &mut self,
        url: Option<&Spanned<String>>,
        default: &str,
        (region, endpoint): (Option<&str>, Option<&str>),
        base: &Path,
    ) -> Option<StoreLocation> {
        let text = url.map_or(default, |u| u.get_ref().as_str());
        match StoreLocation::parse(text, region, endpoint, base) {
            Ok(StoreLocation::Folder(_)) if self.is_copy && !Path::new(text).is_absolute() => {
                self.refuse_relative_path(url.map_or(0..0, Spanned::span), text, COPY_URL_HELP);
                None
            }
            Ok(location) => Some(location),
            Err(e) => {
                // A line that holds a secret is not shown.
                let hide = e == LocationError::Credentials;
                let span = url.map(Spanned::span).filter(|_| !hide).unwrap_or(0..0);
                self.error(span, e.to_string(), LOCATION_HELP);
                None
            }
        }
    }

    /// The folder of runs; of a configuration that is a copy, one that outlives it.
    fn runs_dir(&mut self, dir: Option<&Spanned<String>>, base: &Path) -> Option<PathBuf> {
        match dir {
            Some(dir) if self.is_copy && !Path::new(dir.get_ref()).is_absolute() => {
                self.refuse_relative_path(dir.span(), dir.get_ref(), COPY_DIR_HELP);
                None
            }
            Some(dir) => Some(base.join(dir.get_ref())),
            None if self.is_copy => {
                let work = fetched::StoreReach::from_environment().work;
                Some(work.unwrap_or_default().join("runs"))
            }
            None => Some(base.join("runs")),
        }
    }

    /// Refuses a relative path of something that is written.
    fn refuse_relative_path(&mut self, span: Range<usize>, path: &str, help: &str) {
        self.error(
            span,
            format!(
                "`{}` is relative, and a configuration on S3 is read from a copy that is removed: what is kept there would be lost",
                path.escape_debug()
            ),
            help,
        );
    }

    fn ranges(&mut self, items: &[Spanned<String>]) -> Option<AddrSet> {
        let items: Vec<_> = items.iter().map(|i| (i.span(), i.get_ref().clone())).collect();
        match list::parse_spanned(self.source, &items) {
            Ok(targets) if targets.names().is_empty() => Some(targets.addrs().clone()),
            Ok(targets) => {
                let name = targets.names()[0].to_string();
                let span = items.iter().find(|(_, t)| *t == name).map_or(0..0, |(s, _)| s.clone());
                self.error(
                    span,
                    format!("`{name}` is a name; a scope is made of addresses"),
                    "write its address range: a name may point elsewhere tomorrow",
                );
                None
            }
            Err(DiagnosticList(list)) => {
                self.errors.extend(list);
                None
            }
        }
    }

    fn scope(&mut self, s: &file::ScopeSection) -> Option<Scope> {
        if s.authorised_by.get_ref().trim().is_empty() {
            self.error(
                s.authorised_by.span(),
                "`authorised_by` is empty",
                "name who authorised the scan, such as `authorised_by = \"SEC-1042\"`",
            );
        }
        let allow = self.ranges(s.allow.get_ref());
        let deny = deny::read(self, &s.deny);
        let scope = Scope::new(allow?, deny?, s.authorised_by.get_ref().trim());
        if scope.permitted().is_empty() {
            self.error(
                s.allow.span(),
                "the scope is empty",
                "allow at least one range that `deny` does not cover",
            );
            return None;
        }
        self.special(s, &scope);
        Some(scope)
    }

    /// Addresses at which nobody's host is are in a scope only where their kind is named.
    fn special(&mut self, s: &file::ScopeSection, scope: &Scope) {
        let mut named = Vec::new();
        for word in &s.special {
            match SpecialKind::from_word(word.get_ref()) {
                Some(kind) => named.push(kind),
                None => self.error(
                    word.span(),
                    format!("`{}` is no kind of special addresses", word.get_ref().escape_debug()),
                    format!("the kinds are: {}", SpecialKind::words().join(", ")),
                ),
            }
        }
        for (kind, set) in find_special_addresses(scope.permitted()) {
            let v6_link =
                kind == SpecialKind::LinkLocal && set.ranges().any(|r| r.first().is_ipv6());
            if named.contains(&kind) && !v6_link {
                continue;
            }
            let mut ranges: Vec<String> = set.ranges().take(4).map(|r| r.to_string()).collect();
            if set.ranges().count() > ranges.len() {
                ranges.push("…".to_owned());
            }
            let help = if v6_link {
                "take them out (`deny` wins): an address of one link only cannot be a target"
                    .to_owned()
            } else {
                format!(
                    "take them out (`deny` wins), or say that you mean them: `special = [\"{}\"]` under \
                     [scope]",
                    kind.as_str()
                )
            };
            self.error(
                s.allow.span(),
                format!("the scope holds {} addresses: {}", kind.as_str(), ranges.join(", ")),
                &help,
            );
        }
    }

    fn scan(&mut self, s: file::ScanSection, scope: Option<&Scope>) -> Option<ScanConfig> {
        let ports = match &s.ports {
            None => {
                PortSet::from_ranges("top100".parse::<PortSet>().ok()?.ranges().iter().copied())
            }
            Some(p) => match p.get_ref().parse() {
                Ok(set) => set,
                Err(e) => {
                    self.errors.push(Diagnostic::error(format!("{e}"), self.source, p.span()));
                    PortSet::default()
                }
            },
        };
        let (rate, rate_auto) = match &s.rate {
            None => (DEFAULT_RATE, false),
            Some(r) => {
                let checked = match r.get_ref() {
                    file::RateSetting::Number(n) => check_rate(*n).map(|n| (n, false)),
                    file::RateSetting::Word(word) => parse_rate(word),
                };
                checked.unwrap_or_else(|e| {
                    let help = "write a number such as `rate = 20000`, or `rate = \"auto\"`";
                    self.error(r.span(), e, help);
                    (DEFAULT_RATE, false)
                })
            }
        };
        let mut ceiling = |given: &Option<Spanned<i64>>, usual: u32| match given {
            None => usual,
            Some(n) if *n.get_ref() == 0 => 0,
            Some(n) => check_rate(*n.get_ref()).unwrap_or_else(|e| {
                self.error(n.span(), e, "write packets per second, or 0 for no ceiling");
                usual
            }),
        };
        let rate_per_host = ceiling(&s.rate_per_host, DEFAULT_RATE_PER_HOST);
        let rate_per_network = ceiling(&s.rate_per_network, DEFAULT_RATE_PER_NETWORK);
        let recall = match &s.recall {
            None => DEFAULT_RECALL,
            Some(r) => check_recall(*r.get_ref()).unwrap_or_else(|e| {
                self.error(r.span(), e, "write a share such as `recall = 0.9999`");
                DEFAULT_RECALL
            }),
        };
        let shard = match &s.shard {
            None => PlanShard::WHOLE,
            Some(t) => t.get_ref().parse().unwrap_or_else(|e: mimawari_targets::ShardError| {
                self.error(t.span(), e.to_string(), "write `shard = \"1/1\"` or leave it out");
                PlanShard::WHOLE
            }),
        };
        let rotate = s.rotate.as_ref().and_then(|t| {
            let parts = parse_rotate(t.get_ref());
            if parts.is_none() {
                let title = format!("`{}` is no rotation", t.get_ref().escape_debug());
                let help =
                    "write `rotate = \"1/24\"`: each run walks one of 24 parts, 10000 at most";
                self.error(t.span(), title, help);
            }
            parts
        });
        let part = s.part.as_ref().and_then(|t| {
            parse_part(t.get_ref(), rotate).map_err(|e| self.error(t.span(), e, PART_HELP)).ok()
        });
        let mut time = |t: &Option<Spanned<String>>| {
            let t = t.as_ref()?;
            duration::parse(t.get_ref()).map_err(|e| self.error(t.span(), e, duration::HELP)).ok()
        };
        let (max_age, deadline) = (time(&s.max_age), time(&s.deadline));
        let mut canaries = Vec::new();
        for c in &s.canaries {
            match c.get_ref().parse::<SocketAddr>() {
                Ok(a) if Port::new(a.port()).is_none() => {
                    self.error(c.span(), "a canary needs a port", "write `\"198.51.100.10:443\"`");
                }
                Ok(a) if scope.is_some_and(|s| !s.allows(a.ip())) => self.error(
                    c.span(),
                    format!("the canary {a} is not in the scope"),
                    "choose a known-open port of your own, inside `allow` and outside `deny`",
                ),
                Ok(a) => canaries.push(a),
                Err(_) => self.error(
                    c.span(),
                    format!("`{}` is not address:port", c.get_ref()),
                    "write `\"198.51.100.10:443\"` or `\"[2001:db8::1]:443\"`",
                ),
            }
        }
        let mut nameservers = Vec::new();
        for n in &s.nameservers {
            let text = n.get_ref();
            match text
                .parse::<SocketAddr>()
                .or_else(|_| text.parse::<std::net::IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
            {
                Ok(a) => nameservers.push(a),
                Err(_) => self.error(
                    n.span(),
                    format!("`{text}` is not a name server's address"),
                    "write `\"192.0.2.53\"` or `\"192.0.2.53:53\"`",
                ),
            }
        }
        let sources = source::parse(self, &s.source);
        if let Some(p) = &s.source_port
            && !(1024..=65_520).contains(p.get_ref())
        {
            self.error(
                p.span(),
                format!("source port {} is out of range", p.get_ref()),
                "choose 1024 to 65520, outside the system's ephemeral range, or leave it out",
            );
        }
        let targets = match &s.targets {
            None => None,
            Some(items) => {
                let items: Vec<_> = items.iter().map(|i| (i.span(), i.get_ref().clone())).collect();
                match list::parse_spanned(self.source, &items) {
                    Ok(t) => {
                        if let Some(scope) = scope {
                            self.check_targets_in_scope(&items, scope);
                        }
                        Some(t)
                    }
                    Err(DiagnosticList(list)) => {
                        self.errors.extend(list);
                        None
                    }
                }
            }
        };
        Some(ScanConfig {
            targets,
            ports,
            rate,
            rate_auto,
            rate_per_host,
            rate_per_network,
            recall,
            method: s.method.unwrap_or(ScanMethod::Auto),
            interface: s.interface.filter(|i| i != "auto"),
            sources,
            source_port: s.source_port.map(Spanned::into_inner),
            canaries,
            shard,
            rotate,
            part,
            max_age,
            deadline,
            nameservers,
        })
    }

    fn check_targets_in_scope(&mut self, items: &[(Range<usize>, String)], scope: &Scope) {
        for (span, text) in items {
            let Ok(range) = text.parse::<AddrRange>() else { continue };
            let set = AddrSet::from_ranges([range]);
            if let Err(e) = scope.narrow(&set) {
                self.error(span.clone(), e.to_string(), "targets may only narrow the scope");
            }
        }
    }

    fn http(&mut self, h: file::HttpSection, base: &SourcePath) -> Option<HttpConfig> {
        let tier = h.tier.as_ref().map_or(1, |t| *t.get_ref());
        if let Some(t) = &h.tier
            && !(1..=3).contains(t.get_ref())
        {
            self.error(t.span(), format!("tier {} is not known", t.get_ref()), "write 1, 2 or 3");
        }
        let ports = match &h.ports {
            Some(p) if p.get_ref() != "open" => match p.get_ref().parse() {
                Ok(set) => Some(set),
                Err(e) => {
                    self.error(p.span(), format!("{e}"), "or write `ports = \"open\"`");
                    None
                }
            },
            _ => None,
        };
        Some(HttpConfig {
            enabled: h.enabled.unwrap_or(true),
            ports,
            tier,
            vhosts: h.vhosts.map(|v| if v == "-" { "-".into() } else { base.join(v) }),
            dns: h.dns.unwrap_or(false),
            checks: h.checks.unwrap_or_default().iter().map(|p| base.join(p)).collect(),
            manifests: h.manifests.unwrap_or_default().iter().map(|p| base.join(p)).collect(),
            evidence_key: h.evidence_key.map(|p| base.join(p)),
            paths_per_site: h.paths_per_site.unwrap_or(20_000).max(1),
            rate_per_site: h.rate_per_site.unwrap_or(100),
            rate_per_address: h.rate_per_address.unwrap_or(200),
            rate_per_network: h.rate_per_network.unwrap_or(2_000),
            concurrency: h.concurrency.unwrap_or(64).clamp(1, 4096),
            user_agent: h.user_agent.unwrap_or_else(|| {
                concat!("mimawari/", env!("CARGO_PKG_VERSION"), " (authorised exposure check)")
                    .to_owned()
            }),
        })
    }
}

#[cfg(test)]
mod tests;
