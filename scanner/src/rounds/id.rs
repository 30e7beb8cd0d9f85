//! The name of a round, which is also a folder's and part of every object's name.

use std::fmt;
use std::str::FromStr;

use mimawari_base::failure::Failure;

/// Longest id, characters.
const LONGEST: usize = 80;

/// The id of a round: 1 to 80 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundId(String);

impl RoundId {
    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RoundId {
    type Err = Failure;

    /// Colons are taken for hyphens, so that an instant (RFC 3339) may be part of an id.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let help = "use 1 to 80 letters, digits, dots, hyphens and underscores, such as \
                    hourly-2026-11-24T15:00:00Z";
        if text.is_empty() {
            return Err(Failure::new("the round has no id").help(help));
        }
        let id = text.replace(':', "-");
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        // A leading dot would hide the folder, and `..` would leave it.
        if id.len() > LONGEST || !id.chars().all(fits) || id.starts_with('.') {
            let shown: String = text.chars().take(LONGEST).collect();
            return Err(Failure::new(format!("`{}` is no id of a round", shown.escape_default()))
                .help(help));
        }
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_may_be_part_of_it() {
        let id: RoundId = "hourly-2026-11-24T15:00:00Z".parse().unwrap();
        assert_eq!(id.as_str(), "hourly-2026-11-24T15-00-00Z");
        assert!("a".repeat(80).parse::<RoundId>().is_ok());
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let long = "a".repeat(81);
        for text in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "a b",
            "a%2fb",
            "a\0",
            "a\u{1b}[2J",
            "é",
            "a+b",
            ".hidden",
            "a#1",
            &long,
        ] {
            let e = text.parse::<RoundId>().unwrap_err().to_string();
            assert!(!e.contains('\u{1b}'), "{e}");
        }
    }
}
