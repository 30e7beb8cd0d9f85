//! What we say and how an answer is read.
//!
//! Sans-IO: bytes in, facts out. No socket, clock or random number in here; keys and times are
//! arguments. Every parser takes hostile bytes and is total.

pub mod cookie;
pub mod format;
pub mod gap;
pub mod http;
pub mod observation;
pub mod wire;
