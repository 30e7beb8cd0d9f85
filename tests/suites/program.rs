//! The program, and those of its parts that use sockets, on loopback.

mod baseline;
mod baseline_edit;
mod baseline_plan;
mod cli;
mod content;
mod false_alarms;
mod formats;
mod http;
mod import;
mod manifest;
mod notify;
mod recall;
mod state;
mod vhosts;
