//! The kinds of findings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of drift.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Open, and no live rule allows it.
    UnexpectedOpen,
    /// A `must` rule's cell is not open.
    MissingRequired,
    /// Content that should not be readable.
    ExposedContent,
    /// Open against a `never` rule.
    ForbiddenOpen,
    /// A host that answers on everything.
    SuspectHost,
    /// A server that agrees to no TLS that a current client offers.
    LegacyTls,
}

impl FindingKind {
    /// All of them, in the order of the type.
    pub const ALL: [Self; 6] = [
        Self::UnexpectedOpen,
        Self::MissingRequired,
        Self::ExposedContent,
        Self::ForbiddenOpen,
        Self::SuspectHost,
        Self::LegacyTls,
    ];

    /// Whether it is about an open port that should not be open. A `never` rule makes one of the two kinds
    /// of the other.
    #[must_use]
    pub const fn is_port(self) -> bool {
        matches!(self, Self::UnexpectedOpen | Self::ForbiddenOpen)
    }

    /// The same port under a `never` rule, or without one; `None` for what is no port.
    #[must_use]
    pub const fn counterpart(self) -> Option<Self> {
        match self {
            Self::UnexpectedOpen => Some(Self::ForbiddenOpen),
            Self::ForbiddenOpen => Some(Self::UnexpectedOpen),
            _ => None,
        }
    }

    /// Whether it is about something that must be there, and is not. To be gone is no end of it.
    #[must_use]
    pub const fn is_requirement(self) -> bool {
        matches!(self, Self::MissingRequired)
    }

    /// Whether it is about a content of a site.
    #[must_use]
    pub const fn is_content(self) -> bool {
        matches!(self, Self::ExposedContent)
    }

    /// The word as in `verdict.json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnexpectedOpen => "unexpected-open",
            Self::MissingRequired => "missing-required",
            Self::ExposedContent => "exposed-content",
            Self::ForbiddenOpen => "forbidden-open",
            Self::SuspectHost => "suspect-host",
            Self::LegacyTls => "legacy-tls",
        }
    }
}
