//! A simulated network under a virtual clock, driving the real [`SweepEngine`](mimawari_engine::SweepEngine).
//!
//! * [`World`]: who listens where, and how oddly it behaves, from a seed.
//! * [`Network`]: delay, loss in both directions, policers, limited RSTs.
//! * [`Driver`]: the loop around the sweep. Time jumps to the next thing that happens, so a scan
//!   of minutes takes milliseconds; no test waits on a real clock.
//! * [`Report`]: what happened, with everything that must always hold already checked.
//!
//! All randomness comes from [`Rng`], so a seed that fails fails again.

mod check;
mod drive;
mod network;
mod rng;
mod world;

pub use check::Report;
pub use drive::Driver;
pub use network::{Bursts, Loss, Network, Policer, Traffic};
pub use rng::Rng;
pub use world::{Behaviour, Mix, World};
