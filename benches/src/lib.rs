//! Nothing but a place for the benchmarks of `benches/`: the work that is done for each packet.
//!
//! `cargo bench -p mimawari-benches` measures, `cargo test -p mimawari-benches --benches` runs each
//! once.
