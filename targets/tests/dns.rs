//! Names to addresses: against a small DNS server on the loopback interface, and with an injected
//! resolver where time or failure must be exact.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions, too

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use insta::assert_snapshot;
use mimawari_targets::dns::{
    AddressFamily, NameResolution, NameResolver, ResolveError, SystemResolver, resolve_names,
};
use mimawari_targets::list::HostName;
use mimawari_targets::{AddrRange, AddrSet, Scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

fn set(items: &[&str]) -> AddrSet {
    AddrSet::from_ranges(items.iter().map(|i| i.parse::<AddrRange>().unwrap()))
}

fn scope() -> Scope {
    Scope::new(set(&["198.51.100.0/24", "2001:db8::/120"]), set(&["198.51.100.66"]), "test")
}

fn names(list: &[&str]) -> Vec<HostName> {
    list.iter().map(|n| n.parse().unwrap()).collect()
}

fn show(r: &NameResolution) -> String {
    let mut lines = Vec::new();
    lines.extend(r.inside.iter().map(|(n, ip)| format!("inside  {n} {ip}")));
    lines.extend(r.outside.iter().map(|(n, ip)| format!("outside {n} {ip}")));
    lines.extend(r.failed.iter().map(|(n, why)| format!("failed  {n}: {why}")));
    lines.join("\n")
}

// ---------------------------------------------------------------------------------------------
// A DNS server (RFC 1035, section 4): one question in, one answer out.

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// What the server says to a question.
#[derive(Clone)]
enum Reply {
    /// Records: type and data, all owned by the name that was asked.
    Records(Vec<(u16, Vec<u8>)>),
    /// A response code without records.
    Code(u8),
    /// Truncated over UDP; the records over TCP.
    Large(Vec<(u16, Vec<u8>)>),
}

fn a(ip: &str) -> (u16, Vec<u8>) {
    (A, ip.parse::<Ipv4Addr>().unwrap().octets().into())
}

fn aaaa(ip: &str) -> (u16, Vec<u8>) {
    (AAAA, ip.parse::<Ipv6Addr>().unwrap().octets().into())
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

struct Server {
    addr: SocketAddr,
    /// Every question: name and type.
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    /// How many came over TCP.
    over_tcp: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

type Zone = HashMap<(&'static str, u16), Reply>;

/// The answer to a query, or `None` if it is not one.
fn answer(
    query: &[u8],
    zone: &Zone,
    asked: &Mutex<Vec<(String, u16)>>,
    tcp: bool,
) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + len)?).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    let question = query.get(12..at + 4)?;
    let name = labels.join(".");
    asked.lock().unwrap().push((name.clone(), kind));
    let known = zone.iter().find(|((n, k), _)| *n == name && *k == kind).map(|(_, r)| r.clone());
    let (code, truncated, records) = match known {
        Some(Reply::Records(r)) => (0, false, r),
        Some(Reply::Large(r)) if tcp => (0, false, r),
        Some(Reply::Large(_)) => (0, true, Vec::new()),
        Some(Reply::Code(c)) => (c, false, Vec::new()),
        None if zone.keys().any(|(n, _)| *n == name) => (0, false, Vec::new()),
        None => (3, false, Vec::new()),
    };
    let mut out = query.get(..2)?.to_vec();
    // QR, RD, and TC if need be; RA and the code.
    out.extend([0x81 | if truncated { 0x02 } else { 0 }, 0x80 | code]);
    out.extend([0, 1]);
    out.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(question);
    for (kind, data) in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend(data);
    }
    Some(out)
}

impl Server {
    async fn start(zone: Zone) -> Self {
        let zone = Arc::new(zone);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let over_tcp = Arc::new(AtomicUsize::new(0));
        // The same port for both; another test may hold the TCP one, so try again.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let addr = udp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        {
            let (zone, asked) = (Arc::clone(&zone), Arc::clone(&asked));
            tasks.spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok((n, from)) = udp.recv_from(&mut buffer).await {
                    if let Some(reply) = answer(&buffer[..n], &zone, &asked, false) {
                        let _ = udp.send_to(&reply, from).await;
                    }
                }
            });
        }
        {
            let (asked, over_tcp) = (Arc::clone(&asked), Arc::clone(&over_tcp));
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((mut stream, _)) = tcp.accept().await {
                    let (zone, asked) = (Arc::clone(&zone), Arc::clone(&asked));
                    let over_tcp = Arc::clone(&over_tcp);
                    connections.spawn(async move {
                        while let Ok(len) = stream.read_u16().await {
                            let mut query = vec![0; usize::from(len)];
                            if stream.read_exact(&mut query).await.is_err() {
                                break;
                            }
                            over_tcp.fetch_add(1, Ordering::SeqCst);
                            let Some(reply) = answer(&query, &zone, &asked, true) else {
                                break;
                            };
                            let len = u16::try_from(reply.len()).unwrap();
                            let framed = [len.to_be_bytes().as_slice(), &reply].concat();
                            if stream.write_all(&framed).await.is_err() {
                                break;
                            }
                        }
                    });
                }
            });
        }
        Self { addr, asked, over_tcp, _tasks: tasks }
    }

    fn resolver(&self) -> SystemResolver {
        SystemResolver::with_nameservers(&[self.addr]).unwrap()
    }
}

fn zone(entries: Vec<(&'static str, u16, Reply)>) -> Zone {
    entries.into_iter().map(|(n, k, r)| ((n, k), r)).collect()
}

#[tokio::test]
async fn names_are_sorted_into_inside_outside_and_failed() {
    let records = |r: Vec<(u16, Vec<u8>)>| Reply::Records(r);
    let server = Server::start(zone(vec![
        ("both.example", A, records(vec![a("198.51.100.7"), a("198.51.100.5")])),
        ("both.example", AAAA, records(vec![aaaa("2001:db8::7")])),
        ("only4.example", A, records(vec![a("198.51.100.8")])),
        ("only6.example", AAAA, records(vec![aaaa("2001:db8::9")])),
        ("elsewhere.example", A, records(vec![a("203.0.113.1")])),
        ("half.example", A, records(vec![a("198.51.100.10"), a("192.0.2.1")])),
        ("denied.example", A, records(vec![a("198.51.100.66")])),
        ("mapped.example", AAAA, records(vec![aaaa("::ffff:198.51.100.7")])),
        ("empty.example", A, records(vec![])),
        ("broken.example", A, Reply::Code(2)),
        ("broken.example", AAAA, Reply::Code(2)),
        ("lame.example", A, records(vec![a("198.51.100.11")])),
        ("lame.example", AAAA, Reply::Code(5)),
        ("alias.example", A, records(vec![(CNAME, wire_name("only4.example"))])),
    ]))
    .await;
    let list = names(&[
        "both.example",
        "only4.example",
        "only6.example",
        "elsewhere.example",
        "half.example",
        "denied.example",
        "mapped.example",
        "empty.example",
        "broken.example",
        "lame.example",
        "alias.example",
        "missing.example",
    ]);
    let resolution = resolve_names(&list, &server.resolver(), &scope()).await;
    assert_snapshot!(show(&resolution), @"
inside  both.example 198.51.100.5
inside  both.example 198.51.100.7
inside  both.example 2001:db8::7
inside  only4.example 198.51.100.8
inside  only6.example 2001:db8::9
inside  half.example 198.51.100.10
inside  lame.example 198.51.100.11
inside  alias.example 198.51.100.8
outside elsewhere.example 203.0.113.1
outside half.example 192.0.2.1
outside denied.example 198.51.100.66
outside mapped.example ::ffff:198.51.100.7
failed  empty.example: it has no address
failed  broken.example: the name server says: Server Failure
failed  lame.example: AAAA: the name server says: Query Refused
failed  missing.example: no such name
");
}

#[tokio::test]
async fn a_long_answer_is_fetched_over_tcp() {
    let many: Vec<(u16, Vec<u8>)> = (1..=60).map(|i| a(&format!("198.51.100.{i}"))).collect();
    let server = Server::start(zone(vec![("big.example", A, Reply::Large(many))])).await;
    let resolution = resolve_names(&names(&["big.example"]), &server.resolver(), &scope()).await;
    assert_eq!((resolution.inside.len(), resolution.failed.len()), (60, 0), "{resolution:?}");
    assert!(server.over_tcp.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn a_thousand_names_are_resolved_and_none_is_busy() {
    let mut entries = Vec::new();
    let mut list = Vec::new();
    for i in 0..1000u32 {
        let name: &'static str = Box::leak(format!("h{i}.example").into_boxed_str());
        entries.push((name, A, Reply::Records(vec![a(&format!("198.51.100.{}", i % 60))])));
        list.push(name.parse().unwrap());
    }
    let server = Server::start(zone(entries)).await;
    let resolution = resolve_names(&list, &server.resolver(), &scope()).await;
    assert_eq!(resolution.failed, vec![]);
    let resolved: Vec<&HostName> = resolution.inside.iter().map(|(n, _)| n).collect();
    assert!(resolved.into_iter().eq(&list), "in the order of the list");
}

#[tokio::test]
async fn many_long_answers_are_fetched_over_tcp() {
    let mut entries = Vec::new();
    let mut list = Vec::new();
    for i in 0..300u32 {
        let name: &'static str = Box::leak(format!("l{i}.example").into_boxed_str());
        entries.push((name, A, Reply::Large(vec![a("198.51.100.1")])));
        entries.push((name, AAAA, Reply::Large(vec![aaaa("2001:db8::1")])));
        list.push(name.parse().unwrap());
    }
    let server = Server::start(zone(entries)).await;
    let resolution = resolve_names(&list, &server.resolver(), &scope()).await;
    assert_eq!(resolution.failed, vec![]);
    assert_eq!(resolution.inside.len(), 600);
}

#[tokio::test]
async fn names_are_absolute_and_both_families_are_asked_for() {
    let server =
        Server::start(zone(vec![("db", A, Reply::Records(vec![a("198.51.100.1")]))])).await;
    let resolution = resolve_names(&names(&["db", "Other."]), &server.resolver(), &scope()).await;
    assert_eq!(resolution.inside.len(), 1);
    let mut asked = server.asked.lock().unwrap().clone();
    asked.sort();
    asked.dedup();
    let expected = [("db", A), ("db", AAAA), ("other", A), ("other", AAAA)];
    assert_eq!(asked, expected.map(|(n, k)| (n.to_owned(), k)));
}

#[tokio::test]
async fn no_name_server_is_an_error_and_no_name_is_none() {
    assert!(matches!(SystemResolver::with_nameservers(&[]), Err(ResolveError::Configuration(_))));
    let server = Server::start(Zone::new()).await;
    let nothing = resolve_names(&[], &server.resolver(), &scope()).await;
    assert_eq!(nothing, NameResolution::default());
    assert!(server.asked.lock().unwrap().is_empty());
}

// ---------------------------------------------------------------------------------------------
// An injected resolver.

/// Answers by the first label; counts what is under way.
#[derive(Default)]
struct Fake {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl NameResolver for Fake {
    fn lookup<'a>(
        &'a self,
        name: &'a HostName,
        family: AddressFamily,
    ) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let v4 = IpAddr::from([198, 51, 100, 1]);
            let v6: IpAddr = "2001:db8::1".parse().unwrap();
            let answer = match (name.as_str().split('.').next().unwrap(), family) {
                ("hangs", _) => std::future::pending().await,
                ("hangs6", AddressFamily::V6) => std::future::pending().await,
                ("flood", AddressFamily::V4) => {
                    Ok((0..100_000u32).map(|i| IpAddr::from(i.to_be_bytes())).collect())
                }
                ("liar", AddressFamily::V4) => Ok(vec![v6]),
                ("twice", AddressFamily::V4) => Ok(vec![v4, v4]),
                (_, AddressFamily::V4) => Ok(vec![v4]),
                (_, AddressFamily::V6) => Ok(vec![]),
            };
            self.now.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    }
}

#[tokio::test(start_paused = true)]
async fn one_hanging_or_lying_name_does_not_harm_the_others() {
    let list = names(&["a.x", "hangs.x", "hangs6.x", "flood.x", "liar.x", "twice.x"]);
    let resolution = resolve_names(&list, &Fake::default(), &scope()).await;
    assert_snapshot!(show(&resolution), @"
inside  a.x 198.51.100.1
inside  hangs6.x 198.51.100.1
inside  twice.x 198.51.100.1
failed  hangs.x: no answer from the name server in time
failed  hangs6.x: AAAA: no answer from the name server in time
failed  flood.x: A: more than 256 addresses
failed  liar.x: it has no address
");
}

#[tokio::test]
async fn no_more_names_are_under_way_than_allowed() {
    let list: Vec<HostName> = (0..1000).map(|i| format!("n{i}.x").parse().unwrap()).collect();
    let fake = Fake::default();
    let resolution = resolve_names(&list, &fake, &scope()).await;
    assert_eq!(resolution.inside.len(), 1000);
    let most = fake.most.load(Ordering::SeqCst);
    assert!((2..=64).contains(&most), "{most}");
}
