//! Renderers of a verdict: terminal text, Markdown, HTML, JSON, SARIF and CSV.
//!
//! A renderer decides nothing: it says what the verdict says. Each one is a pure function of the
//! [`Verdict`](mimawari_drift::verdict::Verdict): no file, process, socket or clock, so the same
//! verdict gives the same bytes.
//!
//! * [`render_text`] for a terminal: what to know in ten seconds.
//! * [`render_markdown`] for a pull request or a ticket, bounded in length.
//! * [`html`] for a browser: one file, no network, every finding.
//! * [`render_json`] for programs: the verdict itself.
//! * [`plan`]: what a change of the baseline would do, as text, JSON and a comment.
//! * [`groups`]: which few causes explain many findings; several renderers show them.
//! * [`render_sarif`] for services that keep alerts; not of a run that could not see.
//! * [`render_csv`] for spreadsheets: one line a finding.
//!
//! Banners, titles and paths come from hosts that nobody vouches for. The records are cleaned where
//! they are written; every renderer cleans them again for the medium it writes to, because a verdict
//! may have been made elsewhere.

mod allowed_words;
mod clean;
mod csv;
mod filter;
mod gap_text;
pub mod groups;
mod html;
mod json;
mod markdown;
pub mod notify;
pub mod plan;
mod same_names;
mod sarif;
mod sarif_log;
mod site_words;
mod text;
mod words;

#[cfg(test)]
mod samples;

pub use csv::render_csv;
pub use filter::leave_out_below;
pub use gap_text::{describe_gap, describe_gaps, describe_verdict};
pub use html::html;
pub use json::render_json;
pub use markdown::{MAX_CHARS as MARKDOWN_MAX_CHARS, render_markdown};
pub use sarif::{SarifRefused, render_sarif};
pub use sarif_log::SarifLog;
pub use text::render_text;
