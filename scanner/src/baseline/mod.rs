//! The commands around the baseline: files in, text out. What they say is decided in the pure crate.

mod blame;
pub mod check;
pub mod explain;
pub mod plan;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_probes::http::printable;

use crate::failure::Failure;
use crate::scan::Context;

/// The instant that was asked for, or now.
fn instant(text: Option<&str>, context: &Context) -> Result<Timestamp> {
    let Some(text) = text else { return Ok((context.now)()) };
    text.parse().map_err(|e: jiff::Error| {
        Failure::new(format!("--now: `{}` is not an instant", printable(text.as_bytes(), 60)))
            .help("write RFC 3339, such as 2027-01-01T00:00:00Z")
            .source(e)
            .into()
    })
}
