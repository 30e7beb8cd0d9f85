//! What was agreed, what was seen, and what differs.
//!
//! Pure: no file, socket, clock or random number. The same inputs give the same bytes.

pub mod verdict;
