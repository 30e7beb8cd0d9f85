//! The list of virtual hosts, as a patrol would read it.

use anyhow::Result;
use mimawari_look::http::SkippedRows;

use super::line::CheckFinding;

/// Judges what came of reading it: its rows, and those that cannot be used.
#[must_use]
pub fn judge(read: &Result<(u64, SkippedRows)>) -> CheckFinding {
    match read {
        Err(error) => CheckFinding::of_error(error),
        Ok((0, skipped)) if skipped.rows == 0 => {
            CheckFinding::warn("the list of virtual hosts is empty", "write a site a row: ip,host")
        }
        Ok((rows, skipped)) => match skipped.shown.first() {
            None => CheckFinding::ok(format!("{rows} virtual hosts are listed")),
            Some(first) => CheckFinding::warn(
                format!(
                    "{} of {} rows of the list of virtual hosts cannot be used: line {}: {}",
                    skipped.rows,
                    rows + skipped.rows,
                    first.line(),
                    first.title
                ),
                first.help.as_deref().unwrap_or("correct the rows"),
            ),
        },
    }
}
