//! Who is notified, of what, and how.

use std::path::PathBuf;

use mimawari_report::notify::ChangeSelection;
use mimawari_report::notify::security_hub::HubAccount;

/// A notifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifierConfig {
    /// Its name, unique: letters, digits, `-` and `_`. It names claims and dead letters.
    pub name: String,
    /// Of what it is told.
    pub selection: ChangeSelection,
    /// How.
    pub kind: NotifierKind,
}

/// How somebody is told. Secrets are named by the environment variable that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifierKind {
    /// A Slack incoming webhook.
    Slack {
        /// Holds the URL.
        webhook_env: String,
    },
    /// Issues of a GitHub repository.
    Github {
        /// `owner/name`
        repo: String,
        /// Holds the token.
        token_env: String,
        /// Base URL of the REST API.
        api_url: String,
        /// Labels besides `mimawari`, by which issues are found again.
        labels: Vec<String>,
        /// Most new issues of a run.
        max_new: usize,
    },
    /// A signed POST.
    Webhook {
        /// Holds the URL.
        url_env: String,
        /// Holds the key.
        secret_env: String,
    },
    /// AWS Security Hub.
    SecurityHub {
        /// Whose.
        account: HubAccount,
        /// Instead of the region's own.
        endpoint: Option<String>,
    },
    /// A JSON line a change.
    Events {
        /// Appended to; stdout without one.
        file: Option<PathBuf>,
    },
    /// A line of CloudWatch's Embedded Metric Format.
    Emf {
        /// Appended to; stdout without one.
        file: Option<PathBuf>,
        /// Namespace of the metrics.
        namespace: String,
    },
    /// A text file for the node exporter.
    Prometheus {
        /// Replaced whole.
        file: PathBuf,
    },
}

impl NotifierKind {
    /// The word as it is configured.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Slack { .. } => "slack",
            Self::Github { .. } => "github",
            Self::Webhook { .. } => "webhook",
            Self::SecurityHub { .. } => "security-hub",
            Self::Events { .. } => "events",
            Self::Emf { .. } => "emf",
            Self::Prometheus { .. } => "prometheus",
        }
    }

    /// Whether stdout is for its lines.
    #[must_use]
    pub const fn writes_stdout(&self) -> bool {
        matches!(self, Self::Events { file: None } | Self::Emf { file: None, .. })
    }
}
