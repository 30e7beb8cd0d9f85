//! The command line: a contract that others script against.

pub mod ack;
pub mod baseline;
mod baseline_edit;
pub mod baseline_plan;
mod check_file;
mod exchange;
mod generate;
pub mod notify;
pub mod publish;
pub mod round;
pub mod selfcheck;
pub mod state;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mimawari_probes::observation::Severity;

pub use self::baseline::{BaselineCheckArgs, BaselineCommand};
pub use self::baseline_edit::{
    BaselineAcceptArgs, BaselineFmtArgs, BaselineProposeArgs, BaselinePruneArgs, ExpectArg,
};
pub use generate::{CompletionsArgs, ManArgs};
pub use notify::NotifyArgs;

pub use exchange::{ExportArgs, ExportFormat, ImportArgs, ImportFormat};

/// Scan your own address ranges from outside, and report what differs from the baseline.
#[derive(Debug, Parser)]
#[command(
    name = "mimawari",
    bin_name = "mimawari",
    version,
    long_version = generate::LONG_VERSION.as_str(),
    about,
    disable_help_subcommand = true,
    after_help = "\
Exit status:
  0  clean, and everything planned was covered
  1  drift: something is open or readable that the baseline does not allow
  2  usage, configuration, baseline or runtime error
  3  incomplete: something planned was not covered; no drift in what was

Examples:
  mimawari demo                                 see it work, on loopback
  mimawari scan -c patrol.toml --dry-run        what would be probed, in order; sends nothing
  mimawari patrol -c patrol.toml                scan, judge and report
  mimawari patrol -c s3://bucket/config/patrol.toml
  mimawari patrol -c patrol.toml --targets 198.51.100.64/26
  mimawari judge -c patrol.toml --run runs/R    judge an old run again; sends nothing"
)]
pub struct Cli {
    #[command(subcommand)]
    /// What to do.
    pub command: Command,
    #[command(flatten)]
    /// What every command takes.
    pub common: CommonArgs,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct CommonArgs {
    // Their order is said, since it would else be that of their definition, which counts commands too:
    // they stand last, however many there are.
    /// How log lines on stderr are written.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "MIMAWARI_LOG_FORMAT",
        display_order = 901
    )]
    pub log_format: LogFormat,
    /// Exit 0 on drift and on incomplete runs; errors still exit 2.
    #[arg(long, global = true, env = "MIMAWARI_EXIT_ZERO", display_order = 902)]
    pub exit_zero: bool,
    /// No progress and no notes on stderr; errors and warnings only.
    #[arg(short, long, global = true, display_order = 903)]
    pub quiet: bool,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log pipelines.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Scan, judge and report: what the scheduled task runs.
    Patrol(PatrolArgs),
    /// Scan and write a run folder. Judges nothing.
    Scan(ScanArgs),
    /// One round over one or many tasks that share a bucket or a folder.
    #[command(subcommand)]
    Round(round::RoundCommand),
    /// Merge the runs of a plan's shards into one run folder. Sends no packet.
    Merge(MergeArgs),
    /// Compare runs with the baseline and the state. Sends no packet.
    Judge(JudgeArgs),
    /// Render a verdict.
    Report(ReportArgs),
    /// Write a run in the format of another scanner.
    Export(ExportArgs),
    /// Make a run folder from another scanner's output. Sends no packet.
    Import(ImportArgs),
    /// The baseline: what is allowed to be open.
    #[command(subcommand)]
    Baseline(BaselineCommand),
    /// Acknowledge a finding: no notification until the given time.
    Ack(ack::AckArgs),
    /// The state: what is known from earlier runs.
    #[command(subcommand)]
    State(state::StateCommand),
    /// The content checks: what the path prober searches for.
    #[command(subcommand, after_help = "Use --help for the form of a file of checks of your own.", after_long_help = check_file::FORM)]
    Checks(ChecksCommand),
    /// On a web host: list the files of a document root for the path prober. Sends no packet.
    Manifest(ManifestArgs),
    /// Check this installation: what works, what does not, and how to fix it.
    Selfcheck(selfcheck::SelfcheckArgs),
    /// Send a test message, or send undelivered messages again.
    Notify(NotifyArgs),
    /// Scan, judge and report on a small data centre in this process, on loopback addresses.
    Demo(DemoArgs),
    /// Print the completion script for a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages.
    #[command(hide = true)]
    Man(ManArgs),
    /// Print the JSON Schema of a file format.
    #[command(hide = true)]
    Schema(SchemaArgs),
}

/// The configuration that a command goes by.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "patrol.toml",
        env = "MIMAWARI_CONFIG"
    )]
    pub config: PathBuf,
}

/// Where the configuration is, and what narrows it.
#[derive(Debug, Args)]
pub struct RunSelection {
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// Narrow the targets: CIDR, first-last, address, host name, @FILE or - for stdin. Repeatable.
    #[arg(long, value_name = "T", value_delimiter = ',', env = "MIMAWARI_TARGETS")]
    pub targets: Vec<String>,
    /// The shard of the plan: i/n, counted from 1 [default: from MIMAWARI_SHARDS and
    /// `AWS_BATCH_JOB_ARRAY_INDEX`, `AWS_BATCH_JOB_ID` or `JOB_COMPLETION_INDEX`].
    #[arg(long, value_name = "I/N", env = "MIMAWARI_SHARD")]
    pub shard: Option<String>,
    /// The part of a plan that is scanned over n runs: k/n [default: with `rotate`, the part
    /// covered longest ago]. Name it if the part is divided into shards: all need the same part.
    #[arg(long, value_name = "K/N", env = "MIMAWARI_PART")]
    pub part: Option<String>,
    /// The run folder to write; it must not hold a run yet [default: runs/RUN_ID].
    #[arg(long, value_name = "DIR", env = "MIMAWARI_OUT")]
    pub out: Option<PathBuf>,
    /// Continue a run that was stopped or killed; same scope, targets and ports.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
}

/// What changes the sweep.
#[derive(Debug, Args)]
pub struct ScanTuning {
    /// Ports: 22,80,8000-8100, top100, top1000 or all.
    #[arg(long, value_name = "P", env = "MIMAWARI_PORTS")]
    pub ports: Option<String>,
    /// Packets per second, a ceiling; or auto: as fast as the path carries without loss.
    #[arg(long, value_name = "N", env = "MIMAWARI_RATE")]
    pub rate: Option<String>,
    /// The promised share of the open ports that is found: 0.9 to 0.999999.
    #[arg(long, value_name = "R", env = "MIMAWARI_RECALL")]
    pub recall: Option<f64>,
    /// How to sweep.
    #[arg(long, value_enum, env = "MIMAWARI_METHOD")]
    pub method: Option<ScanMethod>,
    /// The network interface to send from, or auto.
    #[arg(long, value_name = "NAME", env = "MIMAWARI_INTERFACE")]
    pub interface: Option<String>,
}

/// What changes the look for published files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Content")]
pub struct HttpArgs {
    /// Which checks: 1 (hourly), 2 (daily) or 3 (weekly, with every product of names and endings).
    #[arg(long, value_name = "N", env = "MIMAWARI_TIER", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub tier: Option<u8>,
    /// A manifest of a document root, as `mimawari manifest` writes it: its hosts are asked for the
    /// files that must not be readable there. Repeatable.
    #[arg(long, value_name = "FILE", env = "MIMAWARI_MANIFEST", value_delimiter = ',')]
    pub manifest: Vec<PathBuf>,
    /// A file with the key of the evidence digests, so that the owner of a file can compare with
    /// `mimawari checks digest` [default: a new key in every run].
    #[arg(long, value_name = "FILE", env = "MIMAWARI_EVIDENCE_KEY")]
    pub evidence_key: Option<PathBuf>,
}

/// How to sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanMethod {
    /// SYN where CAP_NET_RAW allows it, else connect; the run names the method.
    Auto,
    /// Raw SYN packets; needs CAP_NET_RAW.
    Syn,
    /// Full connections; needs no privilege.
    Connect,
}

/// Arguments of `patrol`.
#[derive(Debug, Args)]
#[command(after_help = "\
The run folder then holds run.json, observations.ndjson, coverage.bin, verdict.json, report.md and
report.html; the summary goes to stdout.

Examples:
  mimawari patrol -c patrol.toml
  mimawari patrol -c patrol.toml --targets 198.51.100.64/26 --out /tmp/subnet")]
pub struct PatrolArgs {
    #[command(flatten)]
    /// From which severity on drift is exit status 1.
    pub failing: FailOn,
    #[command(flatten)]
    /// Which part.
    pub selection: RunSelection,
    #[command(flatten)]
    /// How.
    pub tuning: ScanTuning,
    #[command(flatten)]
    /// For what.
    pub looking: HttpArgs,
}

/// Arguments of `scan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mimawari scan -c patrol.toml --ports 1-1024 --rate 5000 --out run1
  mimawari scan -c patrol.toml --dry-run | head
  mimawari scan -c patrol.toml --ports all --plan --window 2h
  grep -v staging hosts.txt | mimawari scan -c patrol.toml --targets -
  mimawari scan -c patrol.toml --resume run1    after SIGTERM, SIGKILL or power loss")]
pub struct ScanArgs {
    #[command(flatten)]
    /// Which part.
    pub selection: RunSelection,
    #[command(flatten)]
    /// How.
    pub tuning: ScanTuning,
    /// Print `ip,port` lines in probing order and send nothing.
    #[arg(long, conflicts_with = "plan")]
    pub dry_run: bool,
    #[command(flatten)]
    /// For what.
    pub looking: HttpArgs,
    #[command(flatten)]
    /// What it would take.
    pub plan: PlanArgs,
}

/// What `scan --plan` is to assume.
#[derive(Debug, Args)]
#[command(next_help_heading = "Plan")]
pub struct PlanArgs {
    /// Print what the scan would take (packets, time, memory, price by number of shards) and send
    /// nothing. The rate `auto` is taken for 20,000 packets per second.
    #[arg(long)]
    pub plan: bool,
    /// Print the plan as JSON.
    #[arg(long, requires = "plan")]
    pub json: bool,
    /// Time that a run may take; shards are added until it fits.
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "plan")]
    pub window: String,
    /// Share of cells that never answer, 0 to 1 [default: 0.8].
    #[arg(long, value_name = "SHARE", requires = "plan")]
    pub assume_silent: Option<f64>,
    /// Share of attempts whose probe or answer is lost, 0 to 0.99 [default: 0.02].
    #[arg(long, value_name = "SHARE", requires = "plan")]
    pub assume_loss: Option<f64>,
    /// The processor architecture of the list price.
    #[arg(long, value_enum, default_value = "x86", requires = "plan")]
    pub architecture: CpuArchitecture,
    /// Your price of a vCPU-hour in US dollars, instead of the list price.
    #[arg(long, value_name = "USD", requires = "plan")]
    pub vcpu_hour: Option<f64>,
    /// Your price of a GB-hour in US dollars, instead of the list price.
    #[arg(long, value_name = "USD", requires = "plan")]
    pub gb_hour: Option<f64>,
}

/// A processor architecture of Fargate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CpuArchitecture {
    /// Linux on x86-64.
    X86,
    /// Linux on ARM64.
    Arm,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
#[command(after_help = "\
The runs must be shards of one plan under one scope. If a shard is missing, the output names it, its
cells are not covered, and the exit status is 3.

Examples:
  mimawari merge shard-1 shard-2 shard-3 --out whole
  mimawari judge -c patrol.toml --run whole")]
pub struct MergeArgs {
    /// The shards' run folders.
    #[arg(value_name = "RUN_DIR", required = true)]
    pub runs: Vec<PathBuf>,
    /// The run folder to write; it must not hold a run yet.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Arguments of `judge`.
#[derive(Debug, Args)]
#[command(after_help = "\
The state is read and not written, so a replay changes nothing. --save-state saves the new state.

Examples:
  mimawari judge -c patrol.toml --run runs/20261123T060000Z-7f3a
  mimawari judge -c patrol.toml --run R --baseline ../pull-request/baseline
  mimawari judge -c patrol.toml --run latest --save-state
  mimawari judge -c patrol.toml --run R --now 2027-01-01T00:00:00Z")]
pub struct JudgeArgs {
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// A run folder, repeatable: the shards of one plan, together. Or latest: the newest complete
    /// run of the configured folder of runs.
    #[arg(long, value_name = "DIR", required = true)]
    pub run: Vec<PathBuf>,
    /// The baseline folder, instead of the configured one.
    #[arg(long, value_name = "DIR", env = "MIMAWARI_BASELINE")]
    pub baseline: Option<PathBuf>,
    /// Use this instant as the current time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
    /// The file for the verdict; - is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
    /// Write the new state.
    #[arg(long)]
    pub save_state: bool,
    #[command(flatten)]
    /// From which severity on drift is exit status 1.
    pub failing: FailOn,
}

/// From which severity on drift is exit status 1.
#[derive(Debug, Clone, Copy, Args)]
pub struct FailOn {
    /// Exit with status 1 only for drift of this severity or a higher one: info, low, medium, high or
    /// critical. The verdict stays as it is; without such drift the status is 3 if something planned was
    /// not covered, else 0.
    #[arg(long, value_name = "SEVERITY", env = "MIMAWARI_FAIL_ON", value_parser = parse_severity)]
    pub fail_on: Option<Severity>,
}

fn parse_severity(word: &str) -> Result<Severity, String> {
    Severity::parse(word).ok_or_else(|| "write info, low, medium, high or critical".to_owned())
}

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mimawari report --verdict runs/R/verdict.json
  mimawari report --verdict runs/R/verdict.json --format html --out report.html")]
pub struct ReportArgs {
    /// The verdict; - is stdin.
    #[arg(long, value_name = "FILE")]
    pub verdict: PathBuf,
    /// The format.
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
    /// The output file; - is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
    /// Leave out findings below this severity: info, low, medium, high or critical. The report says how
    /// many these are.
    #[arg(long, value_name = "SEVERITY", value_parser = parse_severity)]
    pub min_severity: Option<Severity>,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For the terminal.
    Text,
    /// The verdict itself.
    Json,
    /// For a ticket or a pull request.
    Markdown,
    /// One self-contained page.
    Html,
    /// SARIF 2.1.0 of what counts; refused of a run that is incomplete or suspect.
    Sarif,
    /// One line a finding, for spreadsheets.
    Csv,
}

/// What to show of the content checks.
#[derive(Debug, Subcommand)]
pub enum ChecksCommand {
    /// One line a check, with the number of its paths in each tier.
    List {
        #[command(flatten)]
        /// Whose.
        own: OwnChecks,
    },
    /// One check in full.
    Show {
        /// The check's id.
        id: String,
        #[command(flatten)]
        /// Whose.
        own: OwnChecks,
    },
    /// A file of checks of your own out of nuclei templates.
    Import(ImportChecksArgs),
    /// The digest of a file as in evidence, to find out which file was served.
    Digest {
        /// The file with the key that the run was given by --evidence-key.
        #[arg(long, value_name = "FILE")]
        evidence_key: PathBuf,
        /// The files; only their first 64 KiB count, as with what is read from a server.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Arguments of `checks import`.
#[derive(Debug, Args)]
#[command(after_help = "\
A template becomes a check where it is a plain GET with the matchers word, regex, binary and status.
Whatever else it asks for is named with the reason, it is not imported, and the exit status is 3.
A matcher proves less than a signature of the catalogue, so that a check of a template is not true
of a site where it is true of a path that cannot exist, too.

Examples:
  mimawari checks import nuclei-templates/http/exposures --out nuclei.toml
  mimawari checks list --checks nuclei.toml
  mimawari checks import my-template.yaml --tier 1")]
pub struct ImportChecksArgs {
    /// nuclei templates, or folders of them.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// The file of checks; - is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
    /// How often their paths are requested: 1 hourly, 2 daily, 3 weekly.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub tier: u8,
}

/// Checks beside those that come with the program.
#[derive(Debug, Args)]
pub struct OwnChecks {
    /// A file of checks of your own, as `[http] checks` names it; an error in it is reported with its
    /// line. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub checks: Vec<PathBuf>,
}

/// Arguments of `manifest`.
#[derive(Debug, Args)]
#[command(after_help = "\
The manifest names every file with its length, the SHA-256 of its first 64 KiB and its class: what
the server must execute, must deny, or may serve. The path prober asks the site for the first two,
and proves by bytes what is readable that must not be. Names are sent to the hosts named here only.

No file is read beyond 64 KiB, and no network is used. It runs as any user who may read the files;
what cannot be read is named, and the exit status is 3. Links are followed inside DOCROOT only.

A manifest holds the names of hidden files, and digests by which guesses of short secrets can be
tried. It is as confidential as the files: --out writes it with mode 0600, and never into DOCROOT.

Examples:
  mimawari manifest /var/www/shop --host shop.example.jp,www.shop.example.jp --out shop.ndjson
  mimawari manifest /var/www/html --ip 198.51.100.7 --out default-site.ndjson
  mimawari manifest /srv/wiki --host www.example.jp --prefix /wiki/ --out wiki.ndjson
  ssh web1 mimawari manifest /var/www/shop --host shop.example.jp > shop.ndjson")]
pub struct ManifestArgs {
    /// The folder that the web server publishes.
    #[arg(value_name = "DOCROOT")]
    pub docroot: PathBuf,
    /// The site's host names, in A-label form. Repeatable.
    #[arg(long, value_name = "NAME", value_delimiter = ',', required_unless_present = "ip")]
    pub host: Vec<String>,
    /// The site's addresses: the hosts are asked there only; without --host, the site that answers
    /// to the address itself. Repeatable.
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub ip: Vec<String>,
    /// The URL path under which DOCROOT is published.
    #[arg(long, value_name = "/PATH/", default_value = "/")]
    pub prefix: String,
    /// The file for the manifest; - is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demonstration writes its files.
    #[arg(long, value_name = "DIR", default_value = "mimawari-demo")]
    pub out: PathBuf,
    /// How to sweep.
    #[arg(long, value_enum, default_value = "auto")]
    pub method: ScanMethod,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which format.
    #[arg(value_enum)]
    pub format: SchemaFormat,
}

/// A file format with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormat {
    /// `verdict.json`
    Verdict,
    /// A line of `observations.ndjson`
    Observation,
    /// A baseline file
    Baseline,
    /// `run.json`
    Run,
    /// `result.json` of a round
    Round,
    /// A line of a manifest
    Manifest,
    /// What `selfcheck --json` prints
    Selfcheck,
}
