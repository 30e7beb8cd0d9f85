//! The test kit, and the suites that use it.
//!
//! * [`lab`]: a data centre in network namespaces, for the real program on a real kernel.
//! * [`engine`]: a Docker engine in a namespace, and images made of this machine's files.
//! * [`sim`]: a simulated network with a virtual clock, for the engine alone.
//! * [`moto`]: S3 on loopback.
//! * [`fake`]: web and TLS servers on loopback that behave well, badly or with malice.
//!
//! The suites are in `suites/`, one binary each.

pub mod engine;
pub mod fake;
pub mod lab;
pub mod looking;
pub mod moto;
pub mod sim;
