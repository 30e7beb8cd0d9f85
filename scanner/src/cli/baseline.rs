//! Arguments of `baseline`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use mimawari_drift::lint::rules;

use super::baseline_edit::{
    BaselineAcceptArgs, BaselineFmtArgs, BaselineProposeArgs, BaselinePruneArgs,
};
use super::baseline_plan::{BaselineExplainArgs, BaselinePlanArgs};
use super::publish::PublishArgs;

/// What to do with the baseline.
#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// Read the baseline and say what is wrong with it, with file, line and remedy.
    Check(BaselineCheckArgs),
    /// Write files in canonical form; comments stay.
    Fmt(BaselineFmtArgs),
    /// Propose rules for what is open; a person adds the reasons.
    Propose(BaselineProposeArgs),
    /// Allow one finding by one new rule.
    Accept(BaselineAcceptArgs),
    /// Find rules that are no longer needed, and remove them.
    Prune(BaselinePruneArgs),
    /// Show what a change of the baseline would silence, re-open and leave, by judging a run twice.
    Plan(BaselinePlanArgs),
    /// Explain how a port, a content or a finding is judged: rule, commit, history, nearest rules.
    Explain(BaselineExplainArgs),
    /// Publish the baseline to the place where scans read it; forward only.
    Publish(PublishArgs),
}

/// Arguments of `baseline check`.
#[derive(Debug, Args)]
#[command(
    after_help = "\
Exit status: 0 nothing, or warnings alone; 2 errors, or warnings with --strict.

Use --help for a list of all rules; --explain ID explains one.",
    after_long_help = render_check_help()
)]
pub struct BaselineCheckArgs {
    /// The baseline folder [default: that of the first -c, or `baseline`].
    #[arg(value_name = "DIR", env = "MIMAWARI_BASELINE")]
    pub dir: Option<PathBuf>,
    /// A configuration that scans for this baseline: its scope, targets and ports are compared
    /// with the rules. Repeatable, for several scan profiles.
    #[arg(
        short,
        long = "config",
        value_name = "FILE",
        env = "MIMAWARI_CONFIG",
        value_delimiter = ','
    )]
    pub configs: Vec<PathBuf>,
    /// The state's folder: shows which rules match nothing that was seen.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The baseline before the change: shows which rules are renewed without a new reason.
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// The CODEOWNERS file [default: in .github, at the top, or in docs of the git repository;
    /// without one, of the folders above DIR].
    #[arg(long, value_name = "FILE")]
    pub codeowners: Option<PathBuf>,
    /// A file of checks of your own, as `[http] checks` names it. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub checks: Vec<PathBuf>,
    /// The format.
    #[arg(long, value_enum, default_value = "text")]
    pub format: LintFormat,
    /// Warnings are errors.
    #[arg(long)]
    pub strict: bool,
    /// Use this instant as the current time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
    /// Explain the rule with this id, with a bad and a good example; without an id, list all.
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "")]
    pub explain: Option<String>,
}

/// The form in which `baseline check` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For the terminal.
    Text,
    /// An array of objects.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands of GitHub Actions: annotations in the pull request.
    Github,
}

fn render_check_help() -> String {
    format!(
        "\
Rules (--explain ID explains one):
{}
A patrol refuses a baseline that it cannot read; everything else is reported here alone.

Exit status: 0 nothing, or warnings alone; 2 errors, or warnings with --strict.

Examples:
  mimawari baseline check
  mimawari baseline check -c hourly.toml -c weekly.toml --strict
  mimawari baseline check --format github --base ../main/baseline
  mimawari baseline check --format sarif > baseline.sarif
  mimawari baseline check --explain expires-missing",
        rules::render_rule_table()
    )
}
