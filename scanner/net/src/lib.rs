//! The drivers of a sweep: [`packet`] sends SYNs as raw frames and reads what comes back, [`connect`]
//! makes full connections where packets may not be sent. Both run under the engine, which decides what
//! is sent and when, and give it what they see; neither knows a configuration or a run folder.

pub mod budget;
pub mod connect;
pub mod packet;
