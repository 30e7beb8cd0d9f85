//! Fake servers on loopback: real sockets, real TLS, and every bad habit that a web server can have.
//!
//! ```no_run
//! use mimawari_tests::fake::{Answer, FakeSite, Form};
//!
//! let server = FakeSite::new()
//!     .route("/password.php", Answer::ok("<?php $password = 'x';").form(Form::Chunked))
//!     .start()
//!     .unwrap();
//! println!("{}", server.address());
//! // … look at it …
//! assert_eq!(server.requests()[0].path, "/password.php");
//! ```
//!
//! The servers are threads over blocking sockets, so that any suite can use them, with or without a
//! runtime. What they were asked and how much they managed to send is on record; dropping the
//! handle closes every socket and joins every thread.

mod answer;
mod dns;
mod receiver;
mod s_server;
mod server;
mod swarm;
mod tls;

pub use answer::{Answer, Body, Form, gzip, gzip_bomb};
pub use dns::{FakeDns, Zone};
pub use receiver::{CannedReply, Received, Receiver};
pub use s_server::{Openssl, OpensslServer};
pub use server::{FakeServer, FakeSite, Fallback, Protocol, Seen};
pub use swarm::{Ask, Behaviour, Reply, Swarm};
