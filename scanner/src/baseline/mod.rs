//! The commands around the baseline: files in, text out. What they say is decided in the pure crate.
//! Nothing is written before every file has been understood.

mod accept;
mod blame;
pub mod check;
mod diff;
pub mod explain;
mod files;
mod fmt;
pub mod plan;
mod propose;
mod prune;

pub use accept::accept;
pub use fmt::run_fmt_command;
pub use propose::propose;
pub use prune::prune;

use anyhow::Result;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use mimawari_base::failure::Failure;

use crate::context::Context;

/// `--now`, or the clock.
fn resolve_now(given: Option<&str>, context: &Context) -> Result<Timestamp> {
    let Some(text) = given else { return Ok((context.now)()) };
    text.parse().map_err(|e: jiff::Error| {
        Failure::new(format!("--now: `{}` is not an instant", sanitise_foreign_text(text)))
            .help("write RFC 3339, such as 2027-01-01T00:00:00Z")
            .source(e)
            .into()
    })
}

/// The day, UTC.
fn to_utc_date(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

/// Foreign text in a message.
fn sanitise_foreign_text(text: &str) -> String {
    mimawari_drift::edit::sanitise_text(text, 80)
}

/// A note beside the result, on stderr.
fn note(context: &Context, text: &str) {
    if !context.quiet {
        crate::stderr::write(format!("note: {text}\n").as_bytes());
    }
}
