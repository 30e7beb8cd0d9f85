//! Whether the clock can be trusted: findings are dated by it, and S3 refuses requests whose time is
//! more than 15 minutes off.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::line::CheckFinding;

/// 2026-01-01 in seconds since 1970: no program of this version ran before.
const EARLIEST: i64 = 1_767_225_600;
/// More is a warning.
const NOTICEABLE: f64 = 30.0;
/// More is wrong.
const WRONG: f64 = 300.0;
/// The clock was set meanwhile.
const STEP: f64 = 2.0;

/// What was found.
#[derive(Debug, Clone, Copy)]
pub struct ClockFacts {
    /// What it says.
    pub now: Timestamp,
    /// When the store says that something was written, and what our clock said then.
    pub store: Option<(Timestamp, Timestamp)>,
    /// The newest time of the configuration's files.
    pub newest_file: Option<Timestamp>,
    /// How long the check has run, by this clock (signed seconds) and by the monotonic one.
    pub passed: (f64, Duration),
}

/// The newest time among a file and the entries of a folder.
#[must_use]
pub fn find_newest_time(file: &Path, folder: Option<&Path>) -> Option<Timestamp> {
    let entries = folder.and_then(|f| std::fs::read_dir(f).ok()).into_iter().flatten();
    let entries = entries.take(1_000).filter_map(|e| Some(e.ok()?.path()));
    std::iter::once(file.to_owned())
        .chain(entries)
        .filter_map(|p| Timestamp::try_from(std::fs::metadata(p).ok()?.modified().ok()?).ok())
        .max()
}

/// Seconds from `a` to `b`.
#[must_use]
pub fn compute_seconds_between(a: Timestamp, b: Timestamp) -> f64 {
    (b.as_millisecond() - a.as_millisecond()) as f64 / 1000.0
}

/// Judges.
#[must_use]
pub fn judge(c: &ClockFacts) -> CheckFinding {
    const SET: &str = "set the clock (NTP, or the time service of the cloud): findings are dated by it, \
                       and S3 refuses requests that are 15 minutes off";
    let now = c.now.strftime("%Y-%m-%dT%H:%M:%SZ");
    if c.now.as_second() < EARLIEST {
        return CheckFinding::fail(format!("{now} is before this program was made"), SET);
    }
    let stepped = (c.passed.0 - c.passed.1.as_secs_f64()).abs();
    if stepped > STEP {
        return CheckFinding::warn(
            format!("{now}; the clock jumped by {stepped:.0} s during this check"),
            "see what sets it; a scan's times may be wrong",
        );
    }
    if let Some((store, ours)) = c.store {
        let off = compute_seconds_between(store, ours);
        let what = format!(
            "{now}, {:.0} s {} the store",
            off.abs(),
            if off < 0.0 { "behind" } else { "ahead of" }
        );
        return match off.abs() {
            off if off > WRONG => CheckFinding::fail(what, SET),
            off if off > NOTICEABLE => CheckFinding::warn(what, SET),
            _ => CheckFinding::ok(format!("{now}, as the store has it; goes evenly")),
        };
    }
    if let Some(file) = c.newest_file
        && compute_seconds_between(c.now, file) > NOTICEABLE
    {
        return CheckFinding::warn(
            format!(
                "{now}, and a file of the configuration is {:.0} s newer",
                compute_seconds_between(c.now, file)
            ),
            SET,
        );
    }
    CheckFinding::ok(format!("{now}, not before the configuration's files; goes evenly"))
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn clock() -> ClockFacts {
        ClockFacts {
            now: at("2026-11-24T12:00:00Z"),
            store: None,
            newest_file: Some(at("2026-11-24T11:00:00Z")),
            passed: (1.0, Duration::from_secs(1)),
        }
    }

    #[test]
    fn each_source_of_time_counts() {
        assert_eq!(judge(&clock()).mark, LineMark::Ok);
        assert_eq!(
            judge(&ClockFacts { now: at("2001-01-01T00:00:00Z"), ..clock() }).mark,
            LineMark::Fail
        );
        let ahead = Some(at("2026-11-24T13:00:00Z"));
        assert_eq!(judge(&ClockFacts { newest_file: ahead, ..clock() }).mark, LineMark::Warn);
        let store = |s: &str| ClockFacts { store: Some((at(s), clock().now)), ..clock() };
        assert_eq!(judge(&store("2026-11-24T12:00:01Z")).mark, LineMark::Ok);
        let behind = judge(&store("2026-11-24T12:01:00Z"));
        assert_eq!(behind.mark, LineMark::Warn);
        assert!(behind.what.contains("60 s behind"), "{}", behind.what);
        assert_eq!(judge(&store("2026-11-24T11:40:00Z")).mark, LineMark::Fail);
        let stepped = ClockFacts { passed: (100.0, Duration::from_secs(1)), ..clock() };
        assert_eq!(judge(&stepped).mark, LineMark::Warn);
    }
}
