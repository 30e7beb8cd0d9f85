//! What the benchmarks of whole runs share; the hot path's own are in `benches/`.
//!
//! Every program here builds its own lab in network namespaces that have no way out.
//!
//! | file | what |
//! |---|---|
//! | `measured.rs` | a child process with its own account of CPU time and memory |
//! | `stage.rs` | the lab, its ground truth, listeners, busy neighbours |
//! | `tools.rs` | the scanners: command lines, versions, and what they found |
//! | `floor.rs` | two bare senders and a ring: what the kernel allows |
//! | `web.rs` | nginx in a namespace, counting what it is asked |
//! | `probers.rs` | the path probers: command lines, versions, and whether a run is to be believed |
//! | `crowd.rs` | ten thousand virtual hosts in a process, some of them tarpits |
//! | `bare.rs` | one hyper connection on one thread: what the library allows |
//! | `table.rs` | Markdown |

// What these programs are for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

pub mod bare;
pub mod crowd;
pub mod floor;
pub mod measured;
pub mod probers;
pub mod stage;
pub mod table;
pub mod tools;
pub mod web;
