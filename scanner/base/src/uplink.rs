//! How connections to targets leave: by which interface, from which address, and how fast.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;

/// Decides when packets to an address may leave, together with all others of the run.
pub trait PacketGate: std::fmt::Debug + Send + Sync {
    /// Counts so many packets to an address and returns how long they have to wait.
    fn reserve(&self, ip: IpAddr, packets: u32) -> Duration;
}

/// Packets that a connection costs at least: SYN, ACK, a request or an alert, and the FIN.
const CONNECTION: u32 = 4;
/// Packets that a request on an open connection costs: itself, and the ACK of its answer.
const REQUEST: u32 = 2;

/// The way of all connections of a run. It is passed to whoever makes them, so that none of them can
/// leave by another interface than the packets of the sweep.
#[derive(Debug, Clone, Default)]
pub struct Uplink {
    interface: Option<Arc<str>>,
    sources: Arc<[IpAddr]>,
    gate: Option<Arc<dyn PacketGate>>,
}

impl Uplink {
    /// Connections leave by this interface (`SO_BINDTODEVICE`); `None`: as the routes say.
    #[must_use]
    pub fn by(interface: Option<&str>) -> Self {
        Self { interface: interface.map(Arc::from), ..Self::default() }
    }

    /// Connections come from these addresses, one a family; a family without one is left to the
    /// kernel.
    #[must_use]
    pub fn from_addresses(mut self, sources: &[IpAddr]) -> Self {
        self.sources = Arc::from(sources);
        self
    }

    /// Connections and requests wait until the gate lets them pass.
    #[must_use]
    pub fn behind(mut self, gate: Arc<dyn PacketGate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// A TCP socket for a connection to an address.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn socket_to(&self, address: SocketAddr) -> io::Result<TcpSocket> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(interface) = self.interface.as_deref() {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if let Some(source) = self.sources.iter().find(|s| s.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(*source, 0))?;
        }
        Ok(socket)
    }

    /// Waits until a connection to an address may be made.
    pub async fn admit_connection(&self, ip: IpAddr) {
        let pause = self.gate.as_ref().map(|gate| gate.reserve(ip, CONNECTION));
        if let Some(pause) = pause.filter(|pause| !pause.is_zero()) {
            tokio::time::sleep(pause).await;
        }
    }

    /// Counts a request to an address and returns how long it has to wait.
    #[must_use]
    pub fn reserve_request(&self, ip: IpAddr) -> Duration {
        self.gate.as_ref().map_or(Duration::ZERO, |gate| gate.reserve(ip, REQUEST))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct CountingGate(Mutex<Vec<(IpAddr, u32)>>);

    impl PacketGate for CountingGate {
        fn reserve(&self, ip: IpAddr, packets: u32) -> Duration {
            self.0.lock().unwrap().push((ip, packets));
            Duration::ZERO
        }
    }

    #[tokio::test]
    async fn whatever_leaves_is_counted() {
        let gate = Arc::new(CountingGate::default());
        let uplink = Uplink::default().behind(gate.clone());
        let ip = IpAddr::from([127, 0, 0, 1]);
        uplink.clone().admit_connection(ip).await;
        assert_eq!(uplink.reserve_request(ip), Duration::ZERO);
        assert_eq!(*gate.0.lock().unwrap(), [(ip, CONNECTION), (ip, REQUEST)]);
    }

    #[tokio::test]
    async fn the_source_is_bound_for_its_own_family() {
        let here = IpAddr::from([127, 0, 0, 9]);
        let uplink = Uplink::default().from_addresses(&[here]);
        let v4 = uplink.socket_to(SocketAddr::from(([127, 0, 0, 1], 80))).unwrap();
        assert_eq!(v4.local_addr().unwrap().ip(), here);
        if let Ok(v6) = uplink.socket_to(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 80))) {
            assert!(v6.local_addr().unwrap().ip().is_unspecified());
        }
    }
}
