//! What the commands know besides the configuration.

use jiff::Timestamp;
use mimawari_base::signals::StopSignal;
use mimawari_net::packet::SocketOpener;

use crate::cli::LogFormat;

/// What the commands know besides the configuration.
#[derive(Debug, Clone)]
pub struct Context {
    /// Asks the run to end.
    pub stop: StopSignal,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// How to log.
    pub log_format: LogFormat,
    /// Whether to keep quiet.
    pub quiet: bool,
    /// Opens raw sockets.
    pub opener: SocketOpener,
}
