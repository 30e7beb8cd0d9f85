//! Edits of baseline files: text in, text out, and every comment kept.
//!
//! * [`format()`]: the canonical form.
//! * [`NewRule`], [`append`]: adds rules; no line that was there changes.
//! * [`remove`]: takes rules out, with the comments that stand directly above them.
//! * [`propose`]: rules for findings, never for a cell that is not one.
//! * [`acceptance`]: the one rule for one finding.

pub mod acceptance;
mod comments;
mod format;
mod layout;
pub mod propose;
mod remove;
mod rule;
mod words;

pub use format::{format, format_named};
pub use remove::remove;
pub use rule::{AppendError, NewRule, RuleContent, append, render_new_file};
pub use words::sanitise_text;
