//! The test kit, and the suites that use it.
//!
//! * [`lab`]: a data centre in network namespaces, for the real program on a real kernel.
//! * [`sim`]: a simulated network with a virtual clock, for the engine alone.
//! * [`moto`]: S3 on loopback.
//! * [`fake`]: web and TLS servers on loopback that behave well, badly or with malice.
//!
//! The suites are in `suites/`, one binary each.

pub mod fake;
pub mod lab;
pub mod looking;
pub mod moto;
pub mod sim;
