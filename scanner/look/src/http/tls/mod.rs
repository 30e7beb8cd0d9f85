//! TLS towards servers that are looked at, never trusted.
//!
//! [`run_handshake`] is the one entry, and follows a fallback chain: rustls first, which speaks what a
//! current client speaks; then a vendored OpenSSL for the versions, ciphers and signatures that
//! rustls has left behind; then the same without a server name. A neglected host is exactly the one
//! that is worth a look, so it must not be passed over because nobody should talk to it any more.
//!
//! Verification is off on every fallback. The question is what an address serves, and an expired,
//! self-signed or misnamed certificate changes nothing about a secret that lies open behind it;
//! refusing the handshake would hide exactly the neglected hosts. Nothing confidential is ever sent
//! over these connections, so there is nothing that a man in the middle could gain by it. Calls to
//! APIs and notifiers must not use this module.
//!
//! At first no ALPN is offered: a server then speaks HTTP/1.1, and one that knows only other protocols
//! cannot answer with an alert instead of a page. HTTP/2 is offered where nothing else is left. Sessions are never resumed, since the certificate is part
//! of what is observed.

pub mod certificate;
mod legacy;
mod modern;
mod refusal;

use std::net::IpAddr;
use std::time::Duration;

use mimawari_base::uplink::Uplink;
use mimawari_probes::observation::TlsFacts;
use mimawari_targets::Endpoint;
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::stream::{HttpStream, dial_admitted};

pub use refusal::{RefusalKind, TlsRefusal};
pub(crate) use refusal::{describe_tls_error, is_tls_error};

/// How long a handshake may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsLimits {
    /// For each new TCP connection, and no longer than what is left of `handshake`.
    pub connect: Duration,
    /// For the whole chain, all fallbacks together.
    pub handshake: Duration,
}

/// Which way of shaking hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFallback {
    /// rustls: TLS 1.3 and 1.2, with the server name where there is one.
    Modern,
    /// OpenSSL: TLS 1.0 and up with every cipher, with the server name where there is one.
    Legacy,
    /// As [`Self::Legacy`], without the server name: for servers that fail with one.
    Nameless,
    /// As [`Self::Modern`], offering HTTP/2 alone (RFC 7301): for servers that demand it.
    SecondVersion,
}

impl TlsFallback {
    /// What is left to try. Without a name, the last fallback is the one before it.
    const fn next(self, named: bool) -> Option<Self> {
        match self {
            Self::Modern => Some(Self::Legacy),
            Self::Legacy if named => Some(Self::Nameless),
            Self::Legacy | Self::Nameless | Self::SecondVersion => None,
        }
    }
}

/// A handshake that came about.
#[derive(Debug)]
pub struct TlsSession {
    /// The stream inside.
    pub stream: HttpStream,
    /// What the handshake showed.
    pub facts: TlsFacts,
    /// Which fallback it took; the hint for the next connection to the same endpoint and name.
    pub fallback: TlsFallback,
}

/// Shakes hands over `tcp`, a fresh connection to `endpoint`. `sni` is the virtual host; an address
/// or nonsense is not sent as a name (RFC 6066, section 3).
///
/// A failed handshake uses its connection up, so the next fallback dials `endpoint` again: at most three
/// connections with a name, two without. Only a failure that another fallback could fix leads to it; a
/// timeout, an unknown name and a peer that does not speak TLS end the chain. With a `hint` the
/// chain begins at that fallback; after a refusal the caller had better forget it.
///
/// # Errors
/// [`TlsRefusal`]: why the handshake failed, and whether it was TLS at all.
pub async fn run_handshake(
    tcp: TcpStream,
    endpoint: Endpoint,
    uplink: &Uplink,
    sni: Option<&str>,
    limits: &TlsLimits,
    hint: Option<TlsFallback>,
) -> Result<TlsSession, TlsRefusal> {
    let mut deadline = Instant::now() + limits.handshake;
    let asked = TlsAttempt { name: sni.and_then(to_server_name), ip: endpoint.ip() };
    let (mut tcp, mut fallback) = (tcp, hint.unwrap_or(TlsFallback::Modern));
    let mut first: Option<TlsRefusal> = None;
    loop {
        let shaken = timeout_at(deadline, shake(fallback, tcp, &asked)).await;
        let refusal = match shaken {
            Ok(Ok((stream, facts))) => return Ok(TlsSession { stream, facts, fallback }),
            Ok(Err(refusal)) => refusal,
            Err(_) => TlsRefusal::late(limits.handshake),
        };
        let next = if refusal.wants_protocol() && fallback == TlsFallback::Modern {
            Some(TlsFallback::SecondVersion)
        } else {
            fallback.next(asked.name.is_some()).filter(|_| refusal.is_fixable())
        };
        let refusal = match first.clone() {
            Some(first) => first.then(refusal),
            None => refusal,
        };
        let Some(next) = next else {
            return Err(refusal);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = Instant::now();
        uplink.admit_connection(endpoint.ip()).await;
        deadline += asked.elapsed();
        // The peer was there a moment ago: what it said then is a better reason than why it does
        // not take another connection.
        let Ok(fresh) = dial_admitted(endpoint, limits.connect.min(left), uplink).await else {
            return Err(refusal);
        };
        (tcp, fallback) = (fresh, next);
        let spoke_tls = refusal.spoke_tls;
        first.get_or_insert(refusal).spoke_tls = spoke_tls;
    }
}

/// What the handshake asks for.
#[derive(Debug)]
struct TlsAttempt {
    name: Option<ServerName<'static>>,
    ip: IpAddr,
}

impl TlsAttempt {
    fn name(&self) -> Option<&str> {
        match &self.name {
            Some(ServerName::DnsName(name)) => Some(name.as_ref()),
            _ => None,
        }
    }
}

/// The virtual host as a server name, if it is one.
fn to_server_name(host: &str) -> Option<ServerName<'static>> {
    // With the final dot it is no server name (RFC 6066, section 3).
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok().filter(|n| matches!(n, ServerName::DnsName(_)))
}

async fn shake(
    fallback: TlsFallback,
    tcp: TcpStream,
    asked: &TlsAttempt,
) -> Result<(HttpStream, TlsFacts), TlsRefusal> {
    match fallback {
        TlsFallback::Modern => modern::shake(tcp, asked, false).await,
        TlsFallback::SecondVersion => modern::shake(tcp, asked, true).await,
        TlsFallback::Legacy => legacy::shake(tcp, asked, asked.name()).await,
        TlsFallback::Nameless => legacy::shake(tcp, asked, None).await,
    }
}

/// The facts that both stacks report in the same words.
fn build_tls_facts(
    version: &str,
    cipher: Option<&str>,
    leaf: Option<&[u8]>,
    asked: &TlsAttempt,
) -> TlsFacts {
    TlsFacts {
        version: version.to_owned(),
        cipher: cipher.map(str::to_owned),
        legacy: false,
        certificate_sha256: leaf.map(|leaf| mimawari_targets::hex::encode(&Sha256::digest(leaf))),
        certificate: leaf.and_then(|leaf| certificate::read(leaf, asked.name(), asked.ip)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_a_name() {
        let name =
            |host| TlsAttempt { name: to_server_name(host), ip: IpAddr::from([198, 51, 100, 7]) };
        assert_eq!(name("shop.example.jp").name(), Some("shop.example.jp"));
        assert_eq!(name("shop.example.jp.").name(), Some("shop.example.jp"));
        // A literal address is no host name (RFC 6066, section 3), nor is nonsense.
        for host in ["198.51.100.9", "2001:db8::1", "a b", "", ".", "..", "a\0b"] {
            assert_eq!(name(host).name(), None, "{host:?}");
        }
    }

    #[test]
    fn the_chain_ends() {
        let walk = |named| {
            std::iter::successors(Some(TlsFallback::Modern), |r| r.next(named)).collect::<Vec<_>>()
        };
        assert_eq!(walk(true), [TlsFallback::Modern, TlsFallback::Legacy, TlsFallback::Nameless]);
        assert_eq!(walk(false), [TlsFallback::Modern, TlsFallback::Legacy]);
    }
}
