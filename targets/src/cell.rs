//! A cell: what one probe is about.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Port, Protocol};

/// Address × protocol × port. An [`crate::Endpoint`] is a cell with the scope's proof.
///
/// As text `192.0.2.1:22`, `[2001:db8::1]:53/udp`: TCP is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// Address.
    pub ip: IpAddr,
    /// Protocol.
    pub proto: Protocol,
    /// Port.
    pub port: Port,
}

impl Cell {
    /// A cell.
    #[must_use]
    pub const fn new(ip: IpAddr, proto: Protocol, port: Port) -> Self {
        Self { ip, proto, port }
    }

    /// A TCP cell.
    #[must_use]
    pub const fn tcp(ip: IpAddr, port: Port) -> Self {
        Self::new(ip, Protocol::Tcp, port)
    }

    /// Address and port as the standard library's type.
    #[must_use]
    pub const fn socket_addr(self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.get())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.proto {
            proto if proto.is_default() => write!(f, "{}", self.socket_addr()),
            proto => write!(f, "{}/{proto}", self.socket_addr()),
        }
    }
}

/// A text that names no cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write ADDRESS:PORT, such as 192.0.2.1:22 or [2001:db8::1]:53/udp")]
pub struct CellError;

impl FromStr for Cell {
    type Err = CellError;

    /// Takes `/tcp` as well.
    fn from_str(s: &str) -> Result<Self, CellError> {
        let (at, proto) = match s.rsplit_once('/') {
            None => (s, Protocol::default()),
            Some((at, proto)) => (at, proto.parse().map_err(|_| CellError)?),
        };
        let at: SocketAddr = at.parse().map_err(|_| CellError)?;
        Ok(Self::new(at.ip(), proto, Port::new(at.port()).ok_or(CellError)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_read_back_from_its_text() {
        for text in
            ["192.0.2.1:22", "192.0.2.1:53/udp", "[2001:db8::1]:443", "[2001:db8::1]:53/udp"]
        {
            let cell: Cell = text.parse().expect(text);
            assert_eq!(cell.to_string(), text);
        }
        let long: Cell = "192.0.2.1:22/tcp".parse().expect("a cell");
        assert_eq!(long.to_string(), "192.0.2.1:22");
        for text in ["", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:22/sctp", "host:22", "::1:22"] {
            assert_eq!(text.parse::<Cell>(), Err(CellError), "{text}");
        }
    }

    #[test]
    fn cells_are_ordered_by_address_then_protocol_then_port() {
        let mut cells: Vec<Cell> =
            ["192.0.2.2:1", "192.0.2.1:9/udp", "192.0.2.1:80", "192.0.2.1:22", "[::1]:1"]
                .iter()
                .map(|t| t.parse().expect("a cell"))
                .collect();
        cells.sort_unstable();
        let text: Vec<String> = cells.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            ["192.0.2.1:22", "192.0.2.1:80", "192.0.2.1:9/udp", "192.0.2.2:1", "[::1]:1"]
        );
    }
}
