//! Every TLS server that exists: `openssl s_server` in the forms of twenty years, and servers that
//! refuse a name, stall, or trickle.
//!
//! Most cases need the `openssl` command. Without it they are left out and counted as ignored,
//! unless `MIMAWARI_LAB=full`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use mimawari_look::http::connection::{HttpConnection, HttpTimeouts, SiteRoute};
use mimawari_look::http::stream::{Uplink, dial};
use mimawari_look::http::tls::{
    RefusalKind, TlsFallback, TlsLimits, TlsRefusal, TlsSession, run_handshake,
};
use mimawari_look::http::{HttpConfig, WebTarget};
use mimawari_look::service::{Confirmation, ServiceConfig, confirm};
use mimawari_probes::observation::{ContentOutcome, HttpObservation, TlsFacts, UrlScheme};
use mimawari_targets::{AddrRange, AddrSet, Endpoint, Port, Scope};
use mimawari_tests::fake::{FakeSite, Openssl, Protocol};
use mimawari_tests::looking;
use mimawari_tests::suite::Selection;
use rcgen::{CertificateParams, DnType, KeyPair, SignatureAlgorithm};
use rustls::server::Acceptor;

#[allow(dead_code, reason = "another suite uses the rest of it")]
#[path = "content/desk.rs"]
mod desk;
#[path = "tls/patrol.rs"]
mod patrol;

/// A case, its name, and whether it needs the `openssl` command.
type Case = (&'static str, fn(), bool);

const CASES: &[Case] = &[
    ("legacy_tls_is_a_finding_of_its_own", patrol::legacy_tls_is_a_finding_of_its_own, true),
    ("old_versions", old_versions, true),
    ("old_ciphers", old_ciphers, true),
    ("old_certificates", old_certificates, true),
    ("what_is_current", what_is_current, true),
    ("a_name_that_is_not_served", a_name_that_is_not_served, true),
    ("a_server_that_cannot_bear_a_name", a_server_that_cannot_bear_a_name, false),
    ("the_prober_remembers_the_way", the_prober_remembers_the_way, true),
    ("the_fallback_chain_is_short", the_fallback_chain_is_short, false),
    (
        "a_handshake_that_stalls_costs_one_connection",
        a_handshake_that_stalls_costs_one_connection,
        false,
    ),
    ("the_limit_is_for_the_whole_fallback_chain", the_limit_is_for_the_whole_fallback_chain, false),
    (
        "the_service_reader_stays_within_three_connections",
        the_service_reader_stays_within_three_connections,
        false,
    ),
];

pub fn trials(selection: &Selection) -> Vec<Trial> {
    // Where everything is to be run, the cases themselves say what they miss.
    let able = selection.mode.is_full() || Openssl::new().is_ok();
    let named = |name: &str| format!("tls::{name}");
    let left_out = CASES
        .iter()
        .filter(|(name, _, needs)| *needs && !able && selection.runs(&named(name)))
        .count();
    if left_out > 0 {
        eprintln!(
            "left out, for they need the command openssl: {left_out} cases, counted as ignored"
        );
    }
    let trial = |(name, case, needs): &Case| {
        let case = *case;
        let run = move || {
            case();
            Ok(())
        };
        Trial::test(named(name), run).with_ignored_flag(*needs && !able)
    };
    CASES.iter().map(trial).collect()
}

/// Nobody waits for this long; a test that gets here fails by its own assertion.
const LONG: Duration = Duration::from_secs(60);

/// Stands in the planted file, and is visibly no secret of anybody's.
const PHP: &[u8] = b"<?php\n$user = 'shop';\n$password = 'hunter2-not-real';\nreturn $password;\n";

const HOST: &str = "old.example.jp";

fn endpoint(address: SocketAddr) -> Endpoint {
    let loopback = "127.0.0.0/8".parse::<AddrRange>().unwrap();
    let scope = Scope::new(AddrSet::from_ranges([loopback]), AddrSet::default(), "the test suite");
    scope.endpoint(address.ip(), Port::new(address.port()).unwrap()).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Everything that the prober says of one name there.
fn look_at(address: SocketAddr, host: Option<&str>) -> Vec<HttpObservation> {
    let config = HttpConfig {
        connect_timeout: LONG,
        head_timeout: LONG,
        body_timeout: LONG,
        per_target_time: LONG,
        evidence_key: [7; 32],
        salt: 0x5eed,
        ..HttpConfig::default()
    };
    let host = host.map(str::to_owned);
    let target = WebTarget { endpoint: endpoint(address), scheme: UrlScheme::Https, host };
    looking::look_at(vec![target], config).paths
}

/// What the prober's own connection says of the handshake.
fn facts(address: SocketAddr, host: Option<&str>) -> TlsFacts {
    let sni = host.map(str::to_owned);
    let route = SiteRoute {
        endpoint: endpoint(address),
        scheme: UrlScheme::Https,
        sni,
        uplink: Uplink::default(),
    };
    let timeouts = HttpTimeouts { connect: LONG, head: LONG, body: LONG };
    run(async {
        let connection = HttpConnection::open(&route, &timeouts, None).await.unwrap();
        connection.tls().unwrap().clone()
    })
}

fn confirmed(address: SocketAddr) -> Confirmation {
    let config = ServiceConfig {
        connect_timeout: LONG,
        // s_server never speaks first.
        banner_wait: Duration::from_millis(20),
        answer_timeout: LONG,
        ..ServiceConfig::default()
    };
    run(confirm(endpoint(address), &config))
}

fn shake(
    address: SocketAddr,
    sni: Option<&str>,
    limit: Duration,
    hint: Option<TlsFallback>,
) -> Result<TlsSession, TlsRefusal> {
    let limits = TlsLimits { connect: LONG, handshake: limit };
    run(async {
        let uplink = Uplink::default();
        let tcp = dial(endpoint(address), LONG, &uplink).await.unwrap();
        run_handshake(tcp, endpoint(address), &uplink, sni, &limits, hint).await
    })
}

/// The planted file is found, and nothing else is: s_server says 200 to everything.
fn assert_found(observations: &[HttpObservation], what: &str) {
    let found: BTreeSet<&str> = observations
        .iter()
        .filter(|o| o.outcome == ContentOutcome::Exposed)
        .map(|o| o.path.as_str())
        .collect();
    let reasons: BTreeSet<_> = observations.iter().map(|o| (o.outcome, &o.reason)).collect();
    assert_eq!(found, BTreeSet::from(["/password.php"]), "{what}: {reasons:?}");
}

/// Makes `<name>.cert.pem` and `<name>.key.pem` by openssl; `how` names the key, and the digest.
fn make_by_openssl(openssl: &Openssl, name: &str, how: &[&str]) {
    let (key, cert) = (format!("{name}.key.pem"), format!("{name}.cert.pem"));
    let (subject, alternative) = (format!("/CN={HOST}"), format!("subjectAltName=DNS:{HOST}"));
    let all = [&["req", "-x509", "-nodes", "-days", "2", "-newkey"], how].concat();
    let more = ["-keyout", &key, "-out", &cert, "-subj", &subject, "-addext", &alternative];
    openssl.run(&[&all[..], &more[..]].concat()).unwrap();
}

/// The same by rcgen.
fn make(openssl: &Openssl, name: &str, algorithm: &'static SignatureAlgorithm, until: i32) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, HOST);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let cert = params.self_signed(&key).unwrap();
    std::fs::write(openssl.path(&format!("{name}.cert.pem")), cert.pem()).unwrap();
    std::fs::write(openssl.path(&format!("{name}.key.pem")), key.serialize_pem()).unwrap();
}

fn kit() -> Openssl {
    let openssl = Openssl::new().unwrap();
    openssl.plant("password.php", PHP).unwrap();
    openssl
}

/// One row of the matrix: a certificate, how it is served, and what must be seen.
struct Row {
    certificate: &'static str,
    arguments: &'static [&'static str],
    version: &'static str,
    /// Where the arguments leave a choice, it is open.
    cipher: Option<&'static str>,
    legacy: bool,
}

const fn row(
    certificate: &'static str,
    arguments: &'static [&'static str],
    version: &'static str,
    cipher: Option<&'static str>,
    legacy: bool,
) -> Row {
    Row { certificate, arguments, version, cipher, legacy }
}

/// Reached by the prober and by the service reader, with and without a name, with the same facts.
fn reach(openssl: &Openssl, row: &Row) {
    let what = format!("{} {}", row.certificate, row.arguments.join(" "));
    let server = openssl.serve(row.certificate, row.arguments).unwrap();
    let check = |facts: &TlsFacts, named: bool| {
        assert_eq!(facts.version, row.version, "{what}");
        if let Some(cipher) = row.cipher {
            assert_eq!(facts.cipher.as_deref(), Some(cipher), "{what}");
        }
        assert!(facts.cipher.as_ref().is_some_and(|c| c.starts_with("TLS_")), "{what}: {facts:?}");
        assert_eq!(facts.legacy, row.legacy, "{what}: {facts:?}");
        assert_eq!(facts.certificate_sha256.as_ref().map(String::len), Some(64), "{what}");
        let certificate = facts.certificate.as_ref().unwrap();
        assert_eq!(certificate.names, [HOST], "{what}");
        assert_eq!(certificate.issuer.as_deref(), Some(HOST), "{what}");
        assert!(certificate.self_signed, "{what}");
        assert_eq!(certificate.mismatch, !named, "{what}");
        let expired = certificate.not_after.unwrap() < jiff::Timestamp::now();
        assert_eq!(expired, row.certificate == "expired", "{what}");
    };
    check(&facts(server.address(), Some(HOST)), true);
    check(&facts(server.address(), None), false);
    let confirmation = confirmed(server.address());
    assert_eq!(confirmation.web, Some(UrlScheme::Https), "{what}: {confirmation:?}");
    let service = confirmation.service.unwrap();
    assert_eq!(service.name, "https", "{what}");
    assert_eq!(service.http.map(|h| h.status), Some(200), "{what}");
    check(&service.tls.unwrap(), false);
    assert_found(&look_at(server.address(), Some(HOST)), &what);
}

fn old_versions() {
    let openssl = kit();
    make_by_openssl(&openssl, "rsa", &["rsa:2048"]);
    for row in [
        row("rsa", &["-tls1"], "TLSv1.0", None, true),
        row("rsa", &["-tls1_1"], "TLSv1.1", None, true),
        // A cipher of its own time, and without a server's choice.
        row(
            "rsa",
            &["-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"],
            "TLSv1.0",
            Some("TLS_RSA_WITH_AES_128_CBC_SHA"),
            true,
        ),
    ] {
        reach(&openssl, &row);
    }
}

fn old_ciphers() {
    let openssl = kit();
    make_by_openssl(&openssl, "rsa", &["rsa:2048"]);
    openssl.run(&["dhparam", "-dsaparam", "-out", "dh.pem", "1024"]).unwrap();
    for row in [
        row(
            "rsa",
            &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
            "TLSv1.2",
            Some("TLS_RSA_WITH_AES_128_CBC_SHA"),
            true,
        ),
        row(
            "rsa",
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"],
            "TLSv1.2",
            Some("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
            true,
        ),
        row(
            "rsa",
            &["-tls1_2", "-cipher", "DHE-RSA-AES128-SHA:@SECLEVEL=0", "-dhparam", "../dh.pem"],
            "TLSv1.2",
            Some("TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
            true,
        ),
        row(
            "rsa",
            &["-tls1_2", "-cipher", "AES256-GCM-SHA384:@SECLEVEL=0"],
            "TLSv1.2",
            Some("TLS_RSA_WITH_AES_256_GCM_SHA384"),
            true,
        ),
    ] {
        reach(&openssl, &row);
    }
}

fn old_certificates() {
    let openssl = kit();
    make_by_openssl(&openssl, "short", &["rsa:1024"]);
    make_by_openssl(&openssl, "sha1", &["rsa:1024", "-sha1"]);
    make(&openssl, "expired", &rcgen::PKCS_ECDSA_P256_SHA256, 2015);
    // None of them is a reason to leave the modern stack: a client of today shakes hands with these
    // before it complains.
    for row in [
        row("short", &["-cipher", "ALL:@SECLEVEL=0"], "TLSv1.3", None, false),
        row("sha1", &["-tls1_2", "-cipher", "ALL:@SECLEVEL=0"], "TLSv1.2", None, false),
        row("expired", &[], "TLSv1.3", None, false),
        // Signs with SHA-1 as well, since TLS 1.0 knows nothing else.
        row("sha1", &["-tls1", "-cipher", "ALL:@SECLEVEL=0"], "TLSv1.0", None, true),
        row("expired", &["-tls1_1"], "TLSv1.1", None, true),
    ] {
        reach(&openssl, &row);
    }
}

fn what_is_current() {
    let openssl = kit();
    make(&openssl, "p256", &rcgen::PKCS_ECDSA_P256_SHA256, 2099);
    make(&openssl, "p384", &rcgen::PKCS_ECDSA_P384_SHA384, 2099);
    make_by_openssl(&openssl, "ed25519", &["ed25519"]);
    for row in [
        row(
            "p256",
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
            "TLSv1.3",
            Some("TLS_AES_128_GCM_SHA256"),
            false,
        ),
        row(
            "p384",
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
            "TLSv1.2",
            Some("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
            false,
        ),
        row("ed25519", &["-tls1_2"], "TLSv1.2", None, false),
        // Beyond rustls, and nothing old about it.
        row("p256", &["-tls1_3", "-groups", "P-521"], "TLSv1.3", None, false),
        row(
            "p256",
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM"],
            "TLSv1.2",
            Some("TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
            false,
        ),
    ] {
        reach(&openssl, &row);
    }
}

/// A server that insists on its name: the name is served, and any other has no site there.
fn a_name_that_is_not_served() {
    let openssl = kit();
    make_by_openssl(&openssl, "rsa", &["rsa:2048"]);
    for version in ["-tls1_3", "-tls1_2", "-tls1"] {
        let second = ["-cert2", "../rsa.cert.pem", "-key2", "../rsa.key.pem"];
        let arguments = [version, "-servername", HOST, "-servername_fatal"];
        let server = openssl.serve("rsa", &[&arguments[..], &second[..]].concat()).unwrap();
        assert_found(&look_at(server.address(), Some(HOST)), version);
        let other = look_at(server.address(), Some("other.example.jp"));
        for o in &other {
            assert_eq!(o.outcome, ContentOutcome::Absent, "{version}: {o:?}");
            let reason = o.reason.as_deref().unwrap();
            assert!(reason.starts_with("no site under this name"), "{version}: {reason}");
        }
        assert!(!other.is_empty());
        let refused = shake(server.address(), Some("other.example.jp"), LONG, None).unwrap_err();
        assert_eq!(refused.kind, RefusalKind::NoSite, "{version}");
        assert!(refused.spoke_tls);
    }
}

/// A loopback server whose connections are counted; `serve` gets each with its number, from 0.
fn counted(
    serve: impl Fn(usize, TcpStream) + Clone + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let (number, serve) = (counter.fetch_add(1, Ordering::SeqCst), serve.clone());
            std::thread::spawn(move || serve(number, stream));
        }
    });
    (address, count)
}

/// A fatal TLS alert.
const HANDSHAKE_FAILURE: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 40];

/// Servers that refuse whatever name they hear are reached without one, and the way is remembered.
fn a_server_that_cannot_bear_a_name() {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let (address, count) = counted(move |_, mut stream| {
        let mut acceptor = Acceptor::default();
        let accepted = loop {
            acceptor.read_tls(&mut stream).unwrap();
            if let Some(accepted) = acceptor.accept().unwrap() {
                break accepted;
            }
        };
        if accepted.client_hello().server_name().is_some() {
            let _ = stream.write_all(&HANDSHAKE_FAILURE);
            return;
        }
        let mut session = accepted.into_connection(Arc::clone(&config)).unwrap();
        while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
        let _ = stream.read(&mut [0; 64]);
    });
    let session = shake(address, Some(HOST), LONG, None).unwrap();
    assert_eq!((session.fallback, count.load(Ordering::SeqCst)), (TlsFallback::Nameless, 3));
    // Nothing is old about it.
    assert!(!session.facts.legacy);
    assert_eq!(session.facts.version, "TLSv1.3");
    // The name was asked for, if not in the hello.
    assert!(!session.facts.certificate.unwrap().mismatch);

    let again = shake(address, Some(HOST), LONG, Some(session.fallback)).unwrap();
    assert_eq!((again.fallback, count.load(Ordering::SeqCst)), (TlsFallback::Nameless, 4));
    let nameless = shake(address, None, LONG, None).unwrap();
    assert_eq!((nameless.fallback, count.load(Ordering::SeqCst)), (TlsFallback::Modern, 5));
}

/// The prober falls back once: a server that closes after every page is refused no second time.
fn the_prober_remembers_the_way() {
    let openssl = kit();
    make_by_openssl(&openssl, "rsa", &["rsa:2048"]);
    let server = openssl.serve("rsa", &["-tls1"]).unwrap();
    let behind = server.address();
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refused);
    // A wire with an ear: what the server says first is an alert or a handshake.
    let (address, connections) = counted(move |_, mut client| {
        let mut server = TcpStream::connect(behind).unwrap();
        let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut up_from, &mut up_to);
            let _ = up_to.shutdown(Shutdown::Write);
        });
        let mut first = [0];
        if server.read_exact(&mut first).is_ok() {
            counter.fetch_add(usize::from(first[0] == HANDSHAKE_FAILURE[0]), Ordering::SeqCst);
            let _ = client.write_all(&first);
            let _ = std::io::copy(&mut server, &mut client);
        }
        let _ = client.shutdown(Shutdown::Both);
    });
    let seen = look_at(address, Some(HOST));
    assert_found(&seen, "behind the wire");
    assert!(connections.load(Ordering::SeqCst) > seen.len());
    assert_eq!(refused.load(Ordering::SeqCst), 1);
}

/// A dead end costs three connections with a name and two without; what is no TLS costs one.
fn the_fallback_chain_is_short() {
    let (address, count) = counted(|_, mut stream| {
        let _ = stream.read(&mut [0; 16]);
        let _ = stream.write_all(&HANDSHAKE_FAILURE);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let refused = shake(address, Some(HOST), LONG, None).unwrap_err();
    assert_eq!(refused.reason, "TLS handshake failed: alert HandshakeFailure");
    assert!(refused.spoke_tls);
    assert_eq!(count.swap(0, Ordering::SeqCst), 3);
    assert_eq!(shake(address, None, LONG, None).unwrap_err(), refused);
    assert_eq!(count.load(Ordering::SeqCst), 2);

    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-x\r\n", b"\r\n\r\n\0\0\0\0"]
    {
        let (address, count) = counted(|_, mut stream| {
            let _ = stream.read(&mut [0; 2048]);
            let _ = stream.write_all(answer);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let refused = shake(address, Some(HOST), LONG, None).unwrap_err();
        assert!(!refused.spoke_tls, "{refused:?}");
        assert_eq!(count.load(Ordering::SeqCst), 1, "{}", answer.escape_ascii());
    }
}

/// A record that announces 16 KiB and brings a byte at a time.
fn trickle(mut stream: TcpStream) {
    let bytes = [0x16, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc, 3, 3].into_iter();
    for byte in bytes.chain(std::iter::repeat(0)) {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One that never answers, and one that trickles: a timeout is never tried again.
fn a_handshake_that_stalls_costs_one_connection() {
    let limit = Duration::from_millis(300);
    let silent = counted(|_, mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let slow = counted(|_, stream| trickle(stream));
    for (address, count) in [silent, slow] {
        for hint in [None, Some(TlsFallback::Legacy), Some(TlsFallback::Nameless)] {
            count.store(0, Ordering::SeqCst);
            let refused = shake(address, Some(HOST), limit, hint).unwrap_err();
            assert_eq!(refused.kind, RefusalKind::Late, "{hint:?}: {refused:?}");
            assert!(!refused.spoke_tls && refused.reason.contains("300ms"), "{refused:?}");
            assert_eq!(count.load(Ordering::SeqCst), 1, "{hint:?}");
        }
    }
}

/// One that takes its time for an alert and trickles on the next connection: the limit is for all
/// handshakes together.
fn the_limit_is_for_the_whole_fallback_chain() {
    let (limit, most) = (Duration::from_secs(2), Duration::from_millis(1700));
    let (address, count) = counted(move |number, mut stream| {
        if number == 0 {
            std::thread::sleep(most);
            let _ = stream.read(&mut [0; 16]);
            let _ = stream.write_all(&HANDSHAKE_FAILURE);
            let _ = stream.read_to_end(&mut Vec::new());
        } else {
            trickle(stream);
        }
    });
    let begin = Instant::now();
    let refused = shake(address, Some(HOST), limit, None).unwrap_err();
    assert_eq!((refused.kind, count.load(Ordering::SeqCst)), (RefusalKind::Late, 2));
    // That it is TLS is known from the first.
    assert!(refused.spoke_tls);
    assert!(begin.elapsed() < most + limit, "{:?}", begin.elapsed());
}

/// A port that closes at the first bytes may be a TLS server that cannot read the hello; finding out
/// costs one more connection, and no more than three in all.
fn the_service_reader_stays_within_three_connections() {
    let (address, count) = counted(|_, mut stream| drop(stream.read(&mut [0; 1])));
    let confirmation = confirmed(address);
    assert!(confirmation.accepted && confirmation.web.is_none(), "{confirmation:?}");
    assert_eq!(confirmation.service.unwrap().tls, None);
    assert_eq!(count.load(Ordering::SeqCst), 3);

    let server = FakeSite::speaking(Protocol::Closing).start().unwrap();
    assert!(confirmed(server.address()).mute);
    assert_eq!(server.connections(), 1);
}
