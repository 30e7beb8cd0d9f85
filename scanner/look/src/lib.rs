//! The look at what is open. [`service`] confirms a port by a full connection and reads what it speaks;
//! [`http`] asks web sites for files that were never meant to be published, over TLS of all ages. The
//! checks themselves are in `mimawari_probes::http`, without a socket.

pub mod http;
pub mod service;
