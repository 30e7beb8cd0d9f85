//! What needs no process, no socket and no namespace.

mod fuzz;
mod laws;
mod names;
mod outbox;
mod policed;
mod sim;
mod verdict;
