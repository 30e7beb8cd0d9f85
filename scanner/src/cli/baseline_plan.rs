//! Arguments of `baseline plan` and `baseline explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ConfigFile;
use mimawari_probes::observation::Severity;

/// Arguments of `baseline plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0, whatever it would do; 1 only with --fail-on-silenced; 2 on errors."
)]
pub struct BaselinePlanArgs {
    /// The baseline folder before the change.
    #[arg(long, value_name = "DIR")]
    pub base: PathBuf,
    /// The baseline folder after it.
    #[arg(long, value_name = "DIR")]
    pub head: PathBuf,
    /// The run folder to judge twice. Repeatable, for the shards of one plan.
    #[arg(long, value_name = "RUN", required = true)]
    pub run: Vec<PathBuf>,
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// `markdown` is a comment for a pull request; its first line is a marker, so that it can be
    /// replaced instead of being written anew.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    /// The output file; - is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
    /// The instant to judge for, RFC 3339; the default is now.
    #[arg(long, value_name = "INSTANT")]
    pub now: Option<String>,
    /// Exit with 1 if a finding of at least this severity would be silenced.
    #[arg(long, value_name = "SEVERITY", value_enum)]
    pub fail_on_silenced: Option<AtLeast>,
}

/// Form of `baseline plan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For a terminal.
    Text,
    /// For programs; everything.
    Json,
    /// For a pull request, under 60,000 characters.
    Markdown,
}

/// A severity, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // They say themselves.
pub enum AtLeast {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl From<AtLeast> for Severity {
    fn from(s: AtLeast) -> Self {
        match s {
            AtLeast::Info => Self::Info,
            AtLeast::Low => Self::Low,
            AtLeast::Medium => Self::Medium,
            AtLeast::High => Self::High,
            AtLeast::Critical => Self::Critical,
        }
    }
}

/// Arguments of `baseline explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "No packet is sent and no name is resolved: what is not known is reported as not known."
)]
pub struct BaselineExplainArgs {
    /// What is to be explained.
    #[arg(
        help = "IP:PORT, [IPv6]:PORT (with /udp behind it for UDP), a URL, or the id of a finding",
        value_name = "WHAT"
    )]
    pub what: String,
    /// The baseline folder; the default is that of the configuration.
    #[arg(value_name = "DIR", env = "MIMAWARI_BASELINE")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    /// By which configuration.
    pub from: ConfigFile,
    /// The run folder to judge by; the default is the newest one in the folder of runs. Repeatable,
    /// for the shards of one plan.
    #[arg(long, value_name = "RUN")]
    pub run: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The instant to judge for, RFC 3339; the default is now.
    #[arg(long, value_name = "INSTANT")]
    pub now: Option<String>,
}
