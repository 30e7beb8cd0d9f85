//! What may be scanned, and in which order.
//!
//! * [`Port`], [`PortSet`]: which ports.
//! * [`Cell`]: address × protocol × port, what one probe is about.
//! * [`AddrRange`], [`AddrSet`]: which addresses, as disjoint ranges with n-th element, subtraction
//!   and length together.
//! * [`Scope`]: the one place where an [`Endpoint`] can be made. An `Endpoint` in hand is proof that
//!   its address is allowed.
//! * [`ProbeOrder`]: the keyed permutation of the cells (address × port).
//! * [`list`]: target lists, as people write them, and host names.
//! * [`text`]: foreign text made safe to show; [`hex`].
//! * [`CellPlan`], [`PlanShard`], [`PlanOrder`]: the cells of a job, and one shard's walk over them.
//!
//! Nothing here sends a packet, reads a clock or draws a random number; the optional `dns` module
//! is the one place that touches the network, through the resolver it is given.

mod addr;
mod cell;
pub mod diagnostic;
#[cfg(feature = "dns")]
pub mod dns;
pub mod hex;
pub mod list;
mod mistake;
mod order;
mod plan;
mod port;
mod scope;
mod special;
pub mod text;

pub use addr::{AddrError, AddrRange, AddrSet};
pub use cell::{Cell, CellError};
pub use mistake::{build_mistake_diagnostic, parse_missing_key};
pub use order::ProbeOrder;
pub use plan::{CellPlan, PlanError, PlanOrder, PlanShard, ShardError};
pub use port::{Port, PortError, PortSet, Protocol};
pub use scope::{Endpoint, OutOfScope, Scope, ScopedSet};
pub use special::{SpecialKind, find_special_addresses};
