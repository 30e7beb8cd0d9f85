//! Whether every notifier can send: its secrets are there. Nothing is sent, and no secret is shown.

use anyhow::Result;
use mimawari_notify::{NotifierConfig, NotifierKind};

use super::line::CheckFinding;

/// Whether a kind speaks TLS to somebody.
#[must_use]
pub const fn uses_tls(kind: &NotifierKind) -> bool {
    match kind {
        NotifierKind::Slack { .. }
        | NotifierKind::Github { .. }
        | NotifierKind::Webhook { .. }
        | NotifierKind::SecurityHub { .. } => true,
        NotifierKind::Events { .. }
        | NotifierKind::Emf { .. }
        | NotifierKind::Prometheus { .. } => false,
    }
}

/// Judges. The error names variables and never what they hold.
#[must_use]
pub fn judge(all: &[NotifierConfig], ready: Result<()>) -> CheckFinding {
    if let Err(e) = ready {
        return CheckFinding::of_error(&e);
    }
    let names: Vec<String> =
        all.iter().map(|n| format!("{} ({})", n.name, n.kind.as_str())).collect();
    CheckFinding::ok(format!(
        "{}: what they need is there; `mimawari notify --test` sends",
        names.join(", ")
    ))
}
