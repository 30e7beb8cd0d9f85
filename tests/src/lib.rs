//! The test kit, and the suites that use it.
//!
//! * [`lab`]: a data centre in network namespaces, for the real program on a real kernel.
//! * [`engine`]: a Docker engine in a namespace, and images made of this machine's files.
//! * [`sim`]: a simulated network with a virtual clock, for the engine alone.
//! * [`moto`]: S3 on loopback.
//! * [`fake`]: web and TLS servers on loopback that behave well, badly or with malice.
//! * [`suite`]: suites that build their cases when they start.
//!
//! The suites are in `suites/`, a file or folder a subject. A few binaries hold them all, since each binary is linked
//! with the whole program:
//!
//! * `pure`: no process, no socket, no namespace.
//! * `program`: the program, and its parts that use sockets, on loopback.
//! * `labs`: network namespaces, one case at a time.
//! * `servers`: other people's servers, S3, browsers and container engines.
//! * `scale`: one process, whose memory is measured.

pub mod engine;
pub mod fake;
pub mod lab;
pub mod looking;
pub mod moto;
pub mod sim;
pub mod suite;
