//! What git says of the baseline's folder.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;

/// The commit that a folder is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCommit {
    /// Its id, hex.
    pub id: String,
    /// Its committer's time.
    pub time: Timestamp,
    /// Whether the folder holds changes that were not committed.
    pub dirty: bool,
}

/// How one commit lies to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOrder {
    /// It is an ancestor.
    Before,
    /// It is a descendant.
    After,
    /// Neither, or this clone does not know both.
    Unknown,
}

/// Runs git in the folder; stdout when it succeeds, and its status.
fn run_git(dir: &Path, args: &[&str]) -> Option<(i32, String)> {
    let out = Command::new("git")
        // A repository may name programs for git to start; none of them is needed.
        .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C"])
        .arg(dir)
        .args(args)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some((out.status.code()?, String::from_utf8(out.stdout).ok()?))
}

/// The commit that the folder is at; `None` without git, outside a repository, and where git does
/// not know the folder's files.
pub fn commit(dir: &Path) -> Option<GitCommit> {
    let succeeded =
        |args: &[&str]| run_git(dir, args).filter(|(status, _)| *status == 0).map(|o| o.1);
    let tracked = succeeded(&["ls-files", "--", "."])?;
    if tracked.is_empty() {
        return None;
    }
    let shown = succeeded(&["show", "-s", "--no-show-signature", "--format=%H %ct", "HEAD"])?;
    let (id, time) = shown.trim().split_once(' ')?;
    let time = Timestamp::from_second(time.parse().ok()?).ok()?;
    let changes = succeeded(&["status", "--porcelain", "--", "."])?;
    Some(GitCommit { id: id.to_owned(), time, dirty: !changes.is_empty() })
}

/// How the commit `this` lies to `other`. Both are hex.
pub fn compare_commits(dir: &Path, this: &str, other: &str) -> CommitOrder {
    let is_ancestor = |a: &str, b: &str| {
        run_git(dir, &["merge-base", "--is-ancestor", a, b]).is_some_and(|(status, _)| status == 0)
    };
    match () {
        () if is_ancestor(this, other) => CommitOrder::Before,
        () if is_ancestor(other, this) => CommitOrder::After,
        () => CommitOrder::Unknown,
    }
}
