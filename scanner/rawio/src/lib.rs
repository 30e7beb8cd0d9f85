//! AF_PACKET sending and receiving; the only `unsafe` code of the workspace.
//!
//! | file | what |
//! |---|---|
//! | `device.rs` | what an interface is: index, link header, addresses, state (ioctl) |
//! | `counters.rs` | what the driver counts (ethtool) |
//! | `batch.rs` | frames waiting to be sent; safe |
//! | `sender.rs` | `sendmmsg` on a packet socket or on raw IP sockets |
//! | `ring.rs` | the receive ring: set-up, waiting, blocks handed back |
//! | `mapping.rs` | the `mmap` behind it |
//! | `block.rs` | walking a block of the ring; safe, over any bytes |
//! | `filter.rs` | the classic BPF program in front of the ring; safe |
//! | `socket.rs` | `setsockopt` and `bind` for what `socket2` does not know |
//!
//! Only CAP_NET_RAW is used. Nothing here knows TCP states, scopes or plans.

mod batch;
mod block;
mod counters;
mod device;
mod features;
pub mod filter;
mod mapping;
mod ring;
mod sender;
mod socket;

pub use batch::SendBatch;
pub use device::{InterfaceFacts, LinkKind};
pub use features::{KernelFeatures, probe_features};
pub use ring::{ReceiveRing, RingConfig, RingStatistics};
pub use sender::{FrameSender, SendOutcome};
