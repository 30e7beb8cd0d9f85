//! The commands around the baseline: files in, text out. What they say is decided in the pure
//! crate.

pub mod check;
