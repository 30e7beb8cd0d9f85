//! Runs in the forms of other tools.

mod cells;
mod nmap;
mod xml;

pub use nmap::write as write_nmap_xml;
