//! What every crate of the program stands on: errors with a remedy and exit statuses ([`failure`]),
//! lengths of time ([`duration`]), the request to stop ([`signals`]), files that are replaced as a
//! whole ([`files`]), files that may be copies ([`source_path`]), the limits of this machine's own
//! sockets ([`sockets`]), the way of connections ([`uplink`]), the provider of the cryptography
//! ([`crypto`]), and no image of the memory on a disk ([`core_dump`]).

pub mod core_dump;
pub mod crypto;
pub mod duration;
pub mod failure;
pub mod files;
pub mod signals;
pub mod sockets;
pub mod source_path;
pub mod uplink;
