//! Wire formats: SYN packets out, answers in.
//!
//! | module | what |
//! |---|---|
//! | [`syn`](SynTemplate) | a SYN frame, patched for each probe |
//! | [`parse`](parse()) | frames from the network; total on any bytes |
//! | [`classify`](classify()) | whether a parsed frame answers one of our probes |
//! | neighbour | ARP requests and neighbour solicitations |

mod checksum;
mod classify;
mod neighbour;
mod parse;
mod syn;

pub use classify::{ClassifiedFrame, SynAckSigns, WireReply, classify};
pub use neighbour::{build_arp_request, build_neighbour_solicitation};
pub use parse::{
    ArpReply, IcmpError, LinkKind, NeighbourAdvertisement, ParsedFrame, TcpFlags, TcpReply, parse,
};
pub use syn::{LinkHeader, SynTemplate};

/// EtherType of IPv4 (RFC 894).
const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP (RFC 826).
const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6 (RFC 2464).
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Length of an Ethernet header without a VLAN tag.
const ETHERNET: usize = 14;
/// Length of an IPv4 header without options (RFC 791).
const IPV4: usize = 20;
/// Length of an IPv6 header (RFC 8200).
const IPV6: usize = 40;
/// IP protocol numbers (IANA).
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
