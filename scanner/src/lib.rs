//! mimawari
