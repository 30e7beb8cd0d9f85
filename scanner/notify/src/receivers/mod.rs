//! One file a kind of receiver: its keys, its settings, its rendering and its sending.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use crate::client::SendError;
use crate::notifier::NotifierKind;

mod email;
mod emf;
mod events;
mod github;
mod opsgenie;
mod otlp;
mod pagerduty;
mod prometheus;
mod security_hub;
mod slack;
mod syslog;
mod teams;
pub mod webhook;

/// Every kind of receiver.
pub static KINDS: [&NotifierKind; 14] = [
    &slack::KIND,
    &github::KIND,
    &webhook::KIND,
    &security_hub::KIND,
    &events::KIND,
    &emf::KIND,
    &prometheus::KIND,
    &email::KIND,
    &teams::KIND,
    &pagerduty::KIND,
    &opsgenie::KIND,
    &syslog::KIND,
    &otlp::LOGS,
    &otlp::METRICS,
];

/// Lines onto the end of a file, or to stdout, in one write. A reader of stdout that has gone away is
/// no error.
fn append(file: Option<&Path>, text: &str) -> Result<(), SendError> {
    append_lines(file, text).map_err(|e| SendError::certain(format!("cannot be written: {e}")))
}

fn append_lines(file: Option<&Path>, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let Some(path) = file else {
        let mut out = io::stdout().lock();
        return match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
            _ => Ok(()),
        };
    };
    // A FIFO that nobody reads must not hold the run up.
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
    file.write_all(text.as_bytes())
}
