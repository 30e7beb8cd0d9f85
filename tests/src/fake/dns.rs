//! A name server on the loopback interface (RFC 1035, section 4): one question in, one answer out,
//! over UDP alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What the server says of a name.
#[derive(Debug, Clone)]
pub enum Zone {
    /// These addresses; none of a family is an empty answer.
    Addresses(Vec<IpAddr>),
    /// An alias, given without the addresses of what it stands for.
    Alias(String),
    /// This response code (RFC 1035, section 4.1.1), such as 2 for SERVFAIL.
    Code(u8),
    /// No answer at all.
    Silence,
}

/// A running server; it ends when it is dropped. Names that it does not know do not exist.
#[derive(Debug)]
pub struct FakeDns {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<(String, u16), u32>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeDns {
    /// Starts a server for these names, written in lower case.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start<'a>(names: impl IntoIterator<Item = (&'a str, Zone)>) -> std::io::Result<Self> {
        let names: BTreeMap<String, Zone> =
            names.into_iter().map(|(n, z)| (n.to_owned(), z)).collect();
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let (address, asked, ended) =
            (socket.local_addr()?, Arc::default(), Arc::new(AtomicBool::new(false)));
        let (seen, over) = (Arc::clone(&asked), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            loop {
                let received = socket.recv_from(&mut query);
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let Ok((n, from)) = received else { continue };
                if let Some(reply) = answer(&query[..n], &names, &seen) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Ok(Self { address, asked, ended, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often each name and type (1: A, 28: AAAA) was asked for.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<(String, u16), u32> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // A datagram of its own, so that it looks up.
        let woken = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(&[], self.address));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn answer(
    query: &[u8],
    names: &BTreeMap<String, Zone>,
    asked: &Mutex<BTreeMap<(String, u16), u32>>,
) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    let name = labels.join(".");
    let zone = names.get(&name);
    *asked.lock().unwrap_or_else(PoisonError::into_inner).entry((name, kind)).or_default() += 1;
    let mut records: Vec<(u16, Vec<u8>)> = Vec::new();
    let code = match zone {
        None => 3,
        Some(Zone::Silence) => return None,
        Some(Zone::Code(code)) => *code,
        Some(Zone::Alias(to)) => {
            let mut wire = Vec::new();
            for label in to.split('.') {
                wire.push(u8::try_from(label.len()).ok()?);
                wire.extend(label.as_bytes());
            }
            wire.push(0);
            records.push((5, wire));
            0
        }
        Some(Zone::Addresses(addresses)) => {
            for ip in addresses {
                match ip {
                    IpAddr::V4(a) if kind == 1 => records.push((1, a.octets().into())),
                    IpAddr::V6(a) if kind == 28 => records.push((28, a.octets().into())),
                    _ => {}
                }
            }
            0
        }
    };
    // QR and RD; RA and the code; one question, the records.
    let mut out = query.get(..2)?.to_vec();
    out.extend([0x81, 0x80 | code, 0, 1]);
    out.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(query.get(12..at + 4)?);
    for (kind, data) in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend(data);
    }
    Some(out)
}
