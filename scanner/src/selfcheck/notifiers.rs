//! Whether everybody who is to be notified can be: the secrets are there. Nothing is sent or shown.

use anyhow::Result;
use mimawari_notify::NotifierConfig;

use super::line::CheckFinding;

/// Judges. The error names variables and never what they hold.
#[must_use]
pub fn judge(all: &[NotifierConfig], ready: Result<()>) -> CheckFinding {
    if let Err(e) = ready {
        return CheckFinding::of_error(&e);
    }
    let names: Vec<String> = all.iter().map(|n| format!("{} ({})", n.name, n.kind.word)).collect();
    CheckFinding::ok(format!(
        "{}: what they need is there; `mimawari notify --test` sends",
        names.join(", ")
    ))
}
