//! A server that has been forgotten for a decade: TLS 1.0 and 1.1 alone, beside a modern one.

use super::daemon::{certificate, nginx};
use super::*;

const IP: &str = "198.19.0.25";
const OLD: u16 = 443;
const MODERN: u16 = 8443;

pub fn both() {
    let lab = Lab::new();
    let dir = folder();
    let d = dir.path();
    planted::document_root(&d.join("www"));
    certificate(d);
    let shown = d.display();
    let server = |port: u16, settings: &str| {
        format!(
            "server {{ listen {IP}:{port} ssl; ssl_certificate {shown}/tls.crt; ssl_certificate_key {shown}/tls.key;\n\
             {settings} root {shown}/www; location /backup/ {{ autoindex on; }} }}\n"
        )
    };
    let servers = server(OLD, "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;")
        + &server(MODERN, "ssl_protocols TLSv1.2 TLSv1.3;");
    let mut command = Command::new("nginx");
    // A distribution's own minimum would forbid what is tested.
    command.env("OPENSSL_CONF", "/dev/null");
    let file = conf(d, "nginx.conf", &nginx(d, &servers));
    let ready = [format!("{IP}:{OLD}"), format!("{IP}:{MODERN}")];
    let _nginx = start(
        &lab,
        command.args(["-c", &file, "-e", "stderr"]),
        &[ready[0].as_str(), ready[1].as_str()],
    );
    // Were the old port's settings ignored, everything below would prove nothing.
    assert!(speaks(&lab, OLD, "-tls1") && !speaks(&lab, OLD, "-tls1_2"), "the old port is old");
    assert!(speaks(&lab, MODERN, "-tls1_2"), "the modern port is modern");

    let run = patrol(&lab, d, "198.19.0.24/29", &format!("ports = \"{OLD},{MODERN}\""));
    let mut expected = BTreeSet::new();
    for path in planted::AS_THEY_ARE.iter().chain(&[planted::LISTED]) {
        for port in [OLD, MODERN] {
            expected.insert((IP.to_owned(), u64::from(port), (*path).to_owned()));
        }
    }
    assert_eq!(run.ended("exposed"), expected, "found and planted");
    run.leaks_nothing(&lab, d);
}

/// Whether OpenSSL's own client comes to a handshake with this version.
fn speaks(lab: &Lab, port: u16, version: &str) -> bool {
    lab.scanner.run(|| {
        Command::new("openssl")
            .args(["s_client", "-connect", &format!("{IP}:{port}"), version])
            .args(["-cipher", "ALL:@SECLEVEL=0"])
            .env("OPENSSL_CONF", "/dev/null")
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl; the full suite needs it installed")
            .status
            .success()
    })
}
