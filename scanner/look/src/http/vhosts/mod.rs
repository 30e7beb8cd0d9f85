//! `vhosts.csv`: which names to ask for at which address.
//!
//! ```csv
//! ip,host,port,scheme
//! 198.51.100.7,shop.example.jp
//! 198.51.100.7,admin.example.jp,8443,https
//! ```
//!
//! The first line may name the columns. A row that cannot be used is skipped, and the run says so.
//! Names in other scripts than ASCII are asked for in their A-label form. `port` and `scheme` may be left out or left empty; lines
//! that are blank or begin with `#` are passed over. Quoting follows RFC 4180.
//!
//! The list is never held in memory. One pass checks every row and notes where the rows of each
//! address lie; they are read again, in small pieces, when the address has its turn:
//!
//! ```text
//! file ─▶ records ─▶ rows held against the scope ─▶ index (24 bytes a run of rows)
//!   └───────────────── pread ◀── hosts of one address ◀──┘
//! ```

mod hosts;
mod index;
mod numbering;
mod pass;
mod records;
mod row;

use std::net::IpAddr;

use mimawari_probes::observation::UrlScheme;
use mimawari_targets::Port;

pub use hosts::HostList;
pub use index::VhostIndex;
pub use pass::SkippedRows;

/// A virtual host, at an address in the scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualHost {
    /// Where it lives.
    pub ip: IpAddr,
    /// Its name in lower case, in A-label form.
    pub host: String,
    /// On this port alone; on every web port of the address when absent.
    pub port: Option<Port>,
    /// By this scheme alone; by whatever the port speaks when absent.
    pub scheme: Option<UrlScheme>,
}

#[cfg(test)]
mod tests;
