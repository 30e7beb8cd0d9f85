//! The sweep, sans-IO: which cell is probed when, how often, and what is known at the end.
//!
//! A [`SweepEngine`] walks one [`PlanOrder`](mimawari_targets::PlanOrder). The caller (a *driver*) owns sockets,
//! threads and the clock, and moves three kinds of things:
//!
//! ```text
//!              poll_transmit(now) ──▶ Probe ──▶ the wire
//!   driver     handle(now, Answer) ◀────────── the wire
//!              poll_event()       ──▶ Event ──▶ observations, coverage
//!              poll_timeout()     ──▶ when to call poll_transmit next
//! ```
//!
//! `now` is the time since the sweep began, from a monotonic clock. Nothing here reads a clock,
//! opens a socket, starts a thread or draws a random number, so a run can be replayed exactly.
//!
//! * [`SweepEngine`]: chunks of the walk, passes over the silent cells of a chunk, coverage.
//! * [`PacketPacer`]: the ceiling of the sending rate; below it, the rate that the path carries, and
//!   ceilings for single hosts and networks.
//! * [`SweepCheckpoint`]: a sweep set down, to be taken up by another process.
//! * [`estimate`]: how much was missed, measured from the answers themselves.
//!
//! A driver's loop:
//!
//! 1. Call [`SweepEngine::poll_transmit`] until it returns `None` or the batch is full; send; report
//!    what could not be sent with [`SweepEngine::send_failed`].
//! 2. Give every verified answer to [`SweepEngine::handle`].
//! 3. Drain [`SweepEngine::poll_event`].
//! 4. Stop when [`SweepEngine::is_done`]. Else wait for answers until [`SweepEngine::poll_timeout`].

mod backoff;
mod ceiling;
mod checkpoint;
mod chunk;
pub mod estimate;
pub mod outage;
mod pacing;
mod rate;
mod spacing;
mod sweep;
mod types;

pub use ceiling::HostCeilings;
pub use checkpoint::{CheckpointError, ChunkPoint, SweepCheckpoint};
pub use pacing::PacketPacer;
pub use spacing::FrameSpacing;
pub use sweep::SweepEngine;
pub use types::{
    ChunkResult, ProbeAnswer, ProbeReply, SweepConfig, SweepEvent, SweepProgress, SweepSummary,
    SynProbe,
};
