//! The baseline: it can be read, and how old it is.

use anyhow::Result;
use jiff::Timestamp;
use mimawari_store::published::BaselinePointer;

use super::line::CheckFinding;

/// A publication older than this is a warning.
const OLD_DAYS: f64 = 180.0;

/// What reading came to.
#[derive(Debug)]
pub struct BaselineCheck {
    /// Where it is.
    pub place: String,
    /// Number of rules.
    pub rules: usize,
    /// Its digest.
    pub digest: String,
    /// The publication, where it is published.
    pub pointer: Option<BaselinePointer>,
}

/// Judges.
#[must_use]
pub fn judge(read: &Result<BaselineCheck>, now: Timestamp) -> CheckFinding {
    let b = match read {
        Ok(b) => b,
        Err(e) => return CheckFinding::of_error(e),
    };
    let digest = b.digest.get(..12).unwrap_or(&b.digest);
    let rules = if b.rules == 1 { "1 rule".to_owned() } else { format!("{} rules", b.rules) };
    let what = format!("{}: {rules}, digest {digest}", b.place);
    let Some(pointer) = &b.pointer else { return CheckFinding::ok(what) };
    let days = super::clock::compute_seconds_between(pointer.published_at, now) / 86_400.0;
    let what = format!("{what}, {}, {days:.0} days old", pointer.words());
    if days > OLD_DAYS {
        return CheckFinding::warn(
            what,
            "see whether the publishing workflow still runs; `mimawari baseline publish` publishes anew",
        );
    }
    if pointer.dirty {
        return CheckFinding::warn(
            what + ", of files that were not committed",
            "publish from a clean checkout",
        );
    }
    CheckFinding::ok(what)
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    #[test]
    fn age_and_origin_are_reported() {
        let now: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let pointer = |at: &str, dirty| BaselinePointer {
            version: 1,
            digest: "ab".repeat(32),
            sequence: 7,
            published_at: at.parse().unwrap(),
            commit: None,
            commit_time: None,
            dirty,
            back: false,
            replaced: None,
        };
        let read = |pointer| {
            Ok(BaselineCheck { place: "b".into(), rules: 2, digest: "ab".repeat(32), pointer })
        };
        assert_eq!(judge(&read(None), now).what, "b: 2 rules, digest abababababab");
        let fresh = judge(&read(Some(pointer("2026-11-20T00:00:00Z", false))), now);
        assert_eq!(fresh.mark, LineMark::Ok);
        assert!(
            fresh.what.ends_with("publication 7 of the baseline, 4 days old"),
            "{}",
            fresh.what
        );
        assert_eq!(
            judge(&read(Some(pointer("2025-11-20T00:00:00Z", false))), now).mark,
            LineMark::Warn
        );
        assert_eq!(
            judge(&read(Some(pointer("2026-11-20T00:00:00Z", true))), now).mark,
            LineMark::Warn
        );
        assert_eq!(judge(&Err(anyhow::anyhow!("x")), now).mark, LineMark::Fail);
    }
}
