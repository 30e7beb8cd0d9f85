//! The run folder: what one scan saw, and exactly what it did not see.
//!
//! | file | what it is |
//! |---|---|
//! | `run.json` | who, when, scope, plan, method, figures; written at the start and replaced at the end |
//! | `observations.ndjson` | one record a line, written as it is seen |
//! | `coverage.bin` | the final state of every cell, in frames; see [`coverage`] |
//! | `checkpoint.bin` | where the sweep was, until it is complete; see [`checkpoint`] |
//!
//! All of them can be read after SIGKILL: what was not written is simply not covered.
//! Shards are joined by [`merge`], folders are judged by [`judge`], and exchanged with other scanners by
//! [`import`] and [`export`].

pub mod checkpoint;
pub mod coverage;
pub mod export;
mod folder;
pub mod gaps;
pub mod import;
pub mod judge;
pub mod merge;
pub mod meta;
mod observations;

pub use folder::{LoadedRun, RunFolder, read_meta, read_state};
pub use judge::Runs;
pub use meta::{RunMeta, RunStatus};
