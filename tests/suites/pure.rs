//! What needs no process, no socket and no namespace.

mod fuzz;
mod laws;
mod sim;
mod verdict;
