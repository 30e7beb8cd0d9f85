//! scanner/engine
