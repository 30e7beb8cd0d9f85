//! Arguments of the commands that write baseline text.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `baseline fmt`.
#[derive(Debug, Args)]
#[command(after_help = "\
Groups come first, then the rules in the order in which they are written; keys in one order;
addresses and ports as numbers, each once. Comments stay with what they stand at:
above, behind, inside lists, at the file's head and end. What the rules say does not change. If one
file cannot be read, none is written.

Examples:
  mimawari baseline fmt                        every file of ./baseline
  mimawari baseline fmt baseline/hosting.toml
  mimawari baseline fmt --check                in CI: a diff and exit 2 if something would change")]
pub struct BaselineFmtArgs {
    /// The baseline folder, or files.
    #[arg(value_name = "DIR|FILE", default_value = "baseline", env = "MIMAWARI_BASELINE")]
    pub paths: Vec<PathBuf>,
    /// Write nothing; print what would change, and exit 2 if something would.
    #[arg(long)]
    pub check: bool,
}

/// Arguments of `baseline propose`.
#[derive(Debug, Args)]
#[command(after_help = "\
Rules are made for ports that are open and confirmed in this verdict, and for nothing else: no cell
(address and port) that is not a finding is ever covered. Exposed content, hosts that answer on
everything and legacy TLS get no rule: `baseline accept` allows them one by one. The reason is left
empty, so that `baseline check` fails until a person has written it.

Examples:
  mimawari baseline propose --verdict runs/R/verdict.json
  mimawari baseline propose --run runs/R -c patrol.toml --out baseline
  mimawari baseline propose --verdict V --only 80,443 --expires-days 30")]
pub struct BaselineProposeArgs {
    /// The verdict; - is stdin.
    #[arg(long, value_name = "FILE", required_unless_present = "run", conflicts_with = "run")]
    pub verdict: Option<PathBuf>,
    /// A run folder, judged now with the configured baseline and state. Repeatable: the shards of
    /// one plan, together.
    #[arg(long, value_name = "DIR")]
    pub run: Vec<PathBuf>,
    /// The configuration file, for --run.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "patrol.toml",
        env = "MIMAWARI_CONFIG"
    )]
    pub config: PathBuf,
    /// The baseline that is there: its ids are not used again, and what it allows needs no rule
    /// [default: the configured one with --run, else ./baseline if there is one].
    #[arg(long, value_name = "DIR", env = "MIMAWARI_BASELINE")]
    pub baseline: Option<PathBuf>,
    /// Write a file for each owner into this folder. A file of the owner that is there gets the rules
    /// added; none is overwritten [default: to stdout].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only findings at these ports.
    #[arg(long, value_name = "PORTS")]
    pub only: Option<String>,
    /// The rules hold for so many days from today.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub expires_days: u16,
    /// Use this instant as the current time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
}

/// Arguments of `baseline accept`.
#[derive(Debug, Args)]
#[command(after_help = "\
One rule is added, for exactly this finding: its address and its port, or its path and its site. No
other line of the file changes. A content is allowed at every port of its address. The edit is
printed as a diff; commit it, and let it be reviewed.

Examples:
  mimawari baseline accept 3f9a01 --reason \"Partner VPN, NET-7\" --expires 2027-03-31
  mimawari baseline accept 198.51.100.7:6379 --reason \"Cache, moves in January\" --expires 2027-01-31
  mimawari baseline accept https://shop.example.jp/status --reason \"Read by the monitoring\"")]
pub struct BaselineAcceptArgs {
    /// The finding: its id or the first six digits or more, IP:PORT, or the URL of a content.
    #[arg(value_name = "FINDING")]
    pub finding: String,
    /// The baseline folder.
    #[arg(value_name = "DIR", default_value = "baseline", env = "MIMAWARI_BASELINE")]
    pub dir: PathBuf,
    /// Why it may be open, for the person who reviews it.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The last day, YYYY-MM-DD; needed at ports of administration and data.
    #[arg(long, value_name = "DATE")]
    pub expires: Option<String>,
    /// The verdict; - is stdin [default: that of the newest run in ./runs].
    #[arg(long, value_name = "FILE")]
    pub verdict: Option<PathBuf>,
    /// The file that gets the rule [default: the one of the finding's owner].
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The rule's id [default: made from port and address].
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Whether the port may or must be open from now on.
    #[arg(long, value_enum, default_value = "may")]
    pub expect: ExpectArg,
    /// Use this instant as the current time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
}

/// Whether a port may or must be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExpectArg {
    /// May be open.
    May,
    /// Must be open; if it is not, that is drift as well.
    Must,
}

/// Arguments of `baseline prune`.
#[derive(Debug, Args)]
#[command(after_help = "\
A rule is no longer needed if it expired more than 30 days ago, or if nothing that it allows was
seen for 30 days, in 10 runs that covered all of it. Rules with `must` or `never` stay even if
nothing was seen. A rule is removed with the comments directly above it; all other comments stay.

Examples:
  mimawari baseline prune --state state
  mimawari baseline prune --state state --write")]
pub struct BaselinePruneArgs {
    /// The baseline folder.
    #[arg(value_name = "DIR", default_value = "baseline", env = "MIMAWARI_BASELINE")]
    pub dir: PathBuf,
    /// The state folder, which knows what was seen [default: only expired rules are found].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Remove them; without it nothing is written.
    #[arg(long)]
    pub write: bool,
    /// Use this instant as the current time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
}
