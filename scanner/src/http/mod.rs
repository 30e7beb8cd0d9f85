//! The path prober: published files on every web endpoint.
//!
//! The checks themselves are in `mimawari_probes::http`, without a socket. Here are the
//! connections: host-major, so that one keep-alive connection owns an (address, port, scheme, SNI)
//! and walks its paths, breadth over addresses, and a bound on everything that a hostile server
//! could stretch.
//!
//! ```text
//! targets ─▶ lanes (one a connection) ─▶ turns over addresses ─▶ look ─▶ observations
//! ```
//!
//! Every (target, path) ends in exactly one observation, whatever happens: a server that cannot be
//! reached brings `error`, never `absent`, and a stop brings `skipped`.

pub mod connection;
mod lanes;
pub mod pointing;
pub mod stream;
pub mod tls;
mod vhosts;
mod walk;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mimawari_probes::http::Catalogue;
use mimawari_probes::observation::{HttpObservation, Scheme};
use mimawari_targets::Endpoint;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use vhosts::{Hosts, Vhost, VhostIndex};

use connection::Timeouts;
use lanes::Lanes;

/// Something to look at: an endpoint, what it speaks, and the name to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebTarget {
    /// The address and port; proof that both lie in the scope.
    pub endpoint: Endpoint,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// The virtual host, for `Host` and SNI; the address itself when absent.
    pub host: Option<String>,
}

/// How to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Checks up to this tier are made.
    pub tier: u8,
    /// How many connections are in use at once; at most two of them to one address.
    pub targets_at_once: usize,
    /// For the TCP connection, and again for the TLS handshake.
    pub connect_timeout: Duration,
    /// From a request to the end of the response head.
    pub head_timeout: Duration,
    /// From the head to the end of the body.
    pub body_timeout: Duration,
    /// For all paths of one target together; what is left then is skipped.
    pub per_target_time: Duration,
    /// `User-Agent`. It should say who asks, and where to complain.
    pub user_agent: String,
    /// Key of the evidence digests. The default, all zeros, is for tests alone.
    pub evidence_key: [u8; 32],
    /// Makes the canaries' names; a random number for each run.
    pub salt: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            tier: 1,
            targets_at_once: 64,
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            per_target_time: Duration::from_secs(300),
            user_agent: concat!("mimawari/", env!("CARGO_PKG_VERSION")).to_owned(),
            evidence_key: [0; 32],
            salt: 0,
        }
    }
}

impl HttpConfig {
    const fn timeouts(&self) -> Timeouts {
        Timeouts { connect: self.connect_timeout, head: self.head_timeout, body: self.body_timeout }
    }
}

/// Looks at all targets. Sends exactly one observation for each (target, path); a target that is
/// listed twice is looked at once. When `stop` turns true, what is not finished is reported as
/// `skipped`. When nobody receives any more, it ends early.
///
/// # Panics
/// When a lane panics: losing its observations without a word would be worse.
pub async fn look(
    targets: Vec<WebTarget>,
    config: Arc<HttpConfig>,
    stop: watch::Receiver<bool>,
    out: mpsc::Sender<HttpObservation>,
) {
    let catalogue = Arc::new(Catalogue::builtin());
    let mut lanes = Lanes::new(targets);
    let at_once = config.targets_at_once.max(1);
    let mut running: JoinSet<IpAddr> = JoinSet::new();
    loop {
        while running.len() < at_once
            && let Some(lane) = lanes.take()
        {
            let ip = lane.route.endpoint.ip();
            let (config, catalogue) = (Arc::clone(&config), Arc::clone(&catalogue));
            let (stop, out) = (stop.clone(), out.clone());
            running.spawn(async move {
                // An error is the receiver's going away: there is nobody left to tell.
                let _ = walk::walk(lane, &config, &catalogue, stop, &out).await;
                ip
            });
        }
        match running.join_next().await {
            None => break,
            Some(Ok(ip)) => lanes.release(ip),
            Some(Err(error)) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        if out.is_closed() {
            break;
        }
    }
}
