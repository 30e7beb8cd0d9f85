//! What can go wrong before and during a packet sweep, and the remedy for each.

use std::io;
use std::net::IpAddr;

use super::MissingCapability;

/// Why packets cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// Raw sockets are not allowed.
    #[error("no permission to send raw packets: {operation} needs CAP_NET_RAW")]
    MissingCapability {
        /// What was tried.
        operation: String,
        /// Why there is none.
        lack: MissingCapability,
    },
    /// The interface does not exist.
    #[error("there is no interface `{name}`")]
    NoInterface {
        /// As asked for.
        name: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// The interface exists and is down.
    #[error("interface {name} is down")]
    InterfaceDown {
        /// Its name.
        name: String,
    },
    /// The interface is of a kind that cannot be used, or has just gone.
    #[error("interface {name} cannot be used: {source}")]
    Interface {
        /// Its name.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// No target has a route.
    #[error("no route to {ranges}{}", format_interface_suffix(interface.as_deref()))]
    NoRoute {
        /// The targets without one, shortened.
        ranges: String,
        /// The interface that the configuration restricts to.
        interface: Option<String>,
    },
    /// The router that all targets lie behind does not answer ARP or neighbour solicitations.
    #[error("the gateway {gateway} does not answer on {interface}")]
    GatewaySilent {
        /// Its address.
        gateway: IpAddr,
        /// The interface.
        interface: String,
    },
    /// There is no source address of the targets' family.
    #[error("interface {interface} has no {} address to send from", if *v4 { "IPv4" } else { "IPv6" })]
    NoSource {
        /// The interface.
        interface: String,
        /// The family that is missing.
        v4: bool,
    },
    /// The configuration names a source address that this machine does not have.
    #[error("{source_address} is no address of this machine")]
    ForeignSource {
        /// The address.
        source_address: IpAddr,
    },
    /// A source port that the configuration names is taken.
    #[error("source port {port} is in use (ports {first} to {last} are needed, one an attempt)")]
    PortInUse {
        /// The port.
        port: u16,
        /// First of the block.
        first: u16,
        /// Last of the block.
        last: u16,
    },
    /// The block that the configuration names does not exist.
    #[error("source ports {first} and the {} after it are not all between 1 and 65535", width - 1)]
    PortRange {
        /// First of the block.
        first: u16,
        /// How many.
        width: u8,
    },
    /// The kernel cannot be asked for routes and interfaces.
    #[error("{operation}: {source}; routes and interfaces are read by AF_NETLINK sockets")]
    Netlink {
        /// What was tried.
        operation: String,
        /// Why not.
        source: io::Error,
    },
    /// Everything else that the system refuses.
    #[error("{operation}: {source}")]
    Io {
        /// What was tried, on what.
        operation: String,
        /// Why not.
        source: io::Error,
    },
}

fn format_interface_suffix(interface: Option<&str>) -> String {
    interface.map(|i| format!(" by interface {i}")).unwrap_or_default()
}

impl PacketError {
    /// An I/O error, or [`Self::MissingCapability`] when that is what it is.
    pub(super) fn io(operation: impl Into<String>, source: io::Error) -> Self {
        let operation = operation.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => {
                Self::MissingCapability { operation, lack: MissingCapability::find() }
            }
            _ => Self::Io { operation, source },
        }
    }

    /// An error in asking the kernel.
    pub(super) fn netlink(operation: impl Into<String>, source: io::Error) -> Self {
        Self::Netlink { operation: operation.into(), source }
    }

    /// Whether this place does not allow packets at all, so that full connections are the way: a
    /// capability or a kind of socket that is refused, not a route or an interface that is missing.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::MissingCapability { .. } | Self::Netlink { .. } => true,
            Self::Io { source, .. } => matches!(
                source.raw_os_error().map(nix::errno::Errno::from_raw),
                Some(
                    nix::errno::Errno::EAFNOSUPPORT
                        | nix::errno::Errno::EPROTONOSUPPORT
                        | nix::errno::Errno::ESOCKTNOSUPPORT
                        | nix::errno::Errno::ENOSYS
                )
            ),
            _ => false,
        }
    }

    /// What the user can do about it, as an imperative sentence without a full stop.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::MissingCapability { lack, .. } => lack.help().to_owned(),
            Self::NoInterface { existing, .. } => format!(
                "set `interface` under [scan] to \"auto\" or to one of: {}",
                existing.join(", ")
            ),
            Self::InterfaceDown { name } => {
                format!("bring it up (`ip link set {name} up`), or choose another interface")
            }
            Self::Interface { .. } => {
                "choose another interface, or set `method = \"connect\"` under [scan]".to_owned()
            }
            Self::NoRoute { interface: Some(_), .. } => {
                "set `interface` under [scan] to \"auto\", or add a route by this interface"
                    .to_owned()
            }
            Self::NoRoute { interface: None, .. } => {
                "add a route (`ip route add`), or scan from a machine that has one".to_owned()
            }
            Self::GatewaySilent { gateway, interface } => format!(
                "look whether {gateway} is up and on the same link (`ip neighbour show dev \
                 {interface}`), and correct the route if it is not"
            ),
            Self::NoSource { interface, v4 } => format!(
                "add an address (`ip {} address add … dev {interface}`), or leave these targets out",
                if *v4 { "-4" } else { "-6" }
            ),
            Self::ForeignSource { .. } => {
                "name an address that `ip address` shows in `source` under \
                 [scan], or leave the key out"
                    .to_owned()
            }
            Self::PortInUse { .. } => {
                "end the program that holds it (`ss -tanp`), choose another `source_port` under \
                 [scan], or leave the key out for a free block"
                    .to_owned()
            }
            Self::PortRange { width, .. } => format!(
                "choose a `source_port` from 1 to {}, or leave the key out",
                u16::MAX - u16::from(*width - 1)
            ),
            Self::Netlink { .. } => "allow AF_NETLINK sockets (systemd: add AF_NETLINK to \
                 RestrictAddressFamilies), or set `method = \"connect\"` under [scan]"
                .to_owned(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::OutOfMemory => {
                    "free some memory, or lift the limit on locked memory".to_owned()
                }
                io::ErrorKind::PermissionDenied => {
                    "choose a `source_port` above 1023 under [scan], or leave the key out"
                        .to_owned()
                }
                io::ErrorKind::NetworkDown => "bring the interface up and run again".to_owned(),
                _ => "set `method = \"connect\"` under [scan] if raw packets do not work here"
                    .to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_and_how_to_mend_it() {
        let errors = [
            PacketError::MissingCapability {
                operation: "opening a packet socket on eth0".into(),
                lack: MissingCapability::NotGranted,
            },
            PacketError::NoInterface {
                name: "eth9".into(),
                existing: vec!["lo".into(), "eth0".into()],
            },
            PacketError::NoRoute { ranges: "198.51.100.0/24".into(), interface: None },
            PacketError::NoRoute {
                ranges: "198.51.100.0/24".into(),
                interface: Some("wg0".into()),
            },
            PacketError::PortInUse { port: 61_003, first: 61_000, last: 61_007 },
            PacketError::PortRange { first: 65_530, width: 8 },
        ];
        let text: Vec<String> = errors.iter().map(|e| format!("{e}\n  {}", e.help())).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        no permission to send raw packets: opening a packet socket on eth0 needs CAP_NET_RAW
          run `setcap cap_net_raw=ep` on the program, or set `method = "connect"` under [scan]: full connections need no privilege
        there is no interface `eth9`
          set `interface` under [scan] to "auto" or to one of: lo, eth0
        no route to 198.51.100.0/24
          add a route (`ip route add`), or scan from a machine that has one
        no route to 198.51.100.0/24 by interface wg0
          set `interface` under [scan] to "auto", or add a route by this interface
        source port 61003 is in use (ports 61000 to 61007 are needed, one an attempt)
          end the program that holds it (`ss -tanp`), choose another `source_port` under [scan], or leave the key out for a free block
        source ports 65530 and the 7 after it are not all between 1 and 65535
          choose a `source_port` from 1 to 65528, or leave the key out
        "#);
    }
}
