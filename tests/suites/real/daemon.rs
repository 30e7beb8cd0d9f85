//! Servers as child processes in the data centre.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use mimawari_tests::lab::Namespace;

use super::*;

/// Ends the server that it started.
pub struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        use nix::sys::signal::{Signal, kill};
        let _ = kill(nix::unistd::Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Starts a server in the data centre and waits until each address accepts.
pub fn start(lab: &Lab, command: &mut Command, ready: &[&str]) -> Daemon {
    Daemon::within(&lab.centre, command, ready)
}

impl Daemon {
    /// The same in any namespace.
    pub fn within(namespace: &Namespace, command: &mut Command, ready: &[&str]) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = namespace.run(|| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap_or_else(|e| panic!("{program}: {e}; the full suite needs it installed"))
        });
        namespace.run(|| {
            for at in ready {
                let at: SocketAddr = at.parse().expect("address:port");
                while TcpStream::connect(at).is_err() {
                    assert!(
                        child.try_wait().expect("its status").is_none(),
                        "{program} ended at once"
                    );
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        // What it prints must be read, or it may block.
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                BufReader::new(out).lines().map_while(Result::ok).for_each(drop)
            });
        }
        Self(child)
    }
}

/// Writes a configuration file and returns its path.
pub fn conf(d: &Path, name: &str, text: &str) -> String {
    let path = d.join(name);
    fs::write(&path, text).expect("a configuration");
    path.display().to_string()
}

/// What nginx needs around its `server` blocks to run from a folder.
pub fn nginx(d: &Path, servers: &str) -> String {
    let d = d.display();
    let mut text = format!(
        "daemon off; pid {d}/nginx.pid; error_log stderr crit; worker_processes 1;\n\
         events {{ worker_connections 512; }}\nhttp {{ access_log off;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        text += &format!("{kind}_temp_path {d}/{kind};\n");
    }
    text + servers + "}\n"
}

/// A key and a self-signed certificate: `tls.key` and `tls.crt`.
pub fn certificate(d: &Path) {
    let cert = rcgen::generate_simple_self_signed(vec!["shop.example.jp".to_owned()])
        .expect("a certificate");
    fs::write(d.join("tls.crt"), cert.cert.pem()).expect("certificate");
    fs::write(d.join("tls.key"), cert.signing_key.serialize_pem()).expect("key");
}
