//! Whether everybody who is to be told can be: the secrets are there. Nothing is sent, nothing shown.

use anyhow::Result;
use mimawari_notify::{Kind, Notifier};

use super::line::Found;

/// Whether a kind speaks TLS to somebody.
#[must_use]
pub const fn uses_tls(kind: &Kind) -> bool {
    match kind {
        Kind::Slack { .. }
        | Kind::Github { .. }
        | Kind::Webhook { .. }
        | Kind::SecurityHub { .. } => true,
        Kind::Events { .. } | Kind::Emf { .. } | Kind::Prometheus { .. } => false,
    }
}

/// Judges. The error names variables and never what they hold.
#[must_use]
pub fn judge(all: &[Notifier], ready: Result<()>) -> Found {
    if let Err(e) = ready {
        return Found::of_error(&e);
    }
    let names: Vec<String> =
        all.iter().map(|n| format!("{} ({})", n.name, n.kind.as_str())).collect();
    Found::ok(format!(
        "{}: what they need is there; `mimawari notify --test` sends",
        names.join(", ")
    ))
}
