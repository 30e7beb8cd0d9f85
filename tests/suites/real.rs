//! Against real servers from the distribution's packages, with nmap as a second opinion.
//!
//! Needs nginx, OpenSSH, Redis and nmap; they run inside a network namespace. Left out and counted
//! as ignored unless `MIMAWARI_LAB=full`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Trial};
use mimawari_tests::lab::{Capture, Lab, enter};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_mimawari-under-test");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let full = std::env::var("MIMAWARI_LAB").is_ok_and(|p| p == "full");
    if full
        && !arguments.list
        && let Err(e) = enter()
    {
        eprintln!("the lab cannot be built: {e}");
        return ExitCode::FAILURE;
    }
    let trials = vec![
        Trial::test("real::nmap_and_mimawari_see_the_same_and_planted_files_are_found", || {
            same_as_nmap();
            Ok(())
        })
        .with_ignored_flag(!full),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Ends the server that it started.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        use nix::sys::signal::{Signal, kill};
        let _ = kill(nix::unistd::Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Starts a server in the data centre and waits until each address accepts.
fn start(lab: &Lab, command: &mut Command, ready: &[&str]) -> Daemon {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = lab.centre.run(|| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}; the full suite needs it installed"))
    });
    lab.centre.run(|| {
        for at in ready {
            let at: SocketAddr = at.parse().expect("address:port");
            while TcpStream::connect(at).is_err() {
                assert!(child.try_wait().expect("its status").is_none(), "{program} ended at once");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    });
    // What it prints must be read, or it may block.
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).for_each(drop)
        });
    }
    Daemon(child)
}

/// The fake secrets that are planted; none may be in any output.
const SECRETS: &[&str] = &["FAKE-real-hunter2", "FAKE-real-dotenv", "FAKE-real-dump"];

fn document_root(root: &Path) {
    let put = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a planted file");
    };
    put("index.html", b"<html><title>Shop</title></html>\n");
    put("password.php", b"<?php\n$user = 'x';\n$password = 'FAKE-real-hunter2';\n");
    put(".env", b"APP_NAME=x\nDB_PASSWORD=FAKE-real-dotenv\nAPP_KEY=FAKE-real-dotenv\n");
    put(".git/config", b"[core]\n\trepositoryformatversion = 0\n\tbare = false\n");
    put(".git/HEAD", b"ref: refs/heads/main\n");
    put("wp-config.php.bak", b"<?php\ndefine('DB_NAME', 'x');\ndefine('DB_PASSWORD', 'FAKE-real-hunter2');\n$table_prefix = 'wp_';\n");
    put("dump.sql", b"-- MySQL dump 10.13\nCREATE TABLE `a` (x int);\nINSERT INTO `a` VALUES ('FAKE-real-dump');\n");
    put(".htpasswd", b"admin:$apr1$FAKEsalt$FAKEFAKEFAKEFAKEFAKE1.\n");
    put(".DS_Store", b"\x00\x00\x00\x01Bud1\x00\x00\x10\x00");
    put("backup/a.txt", b"x\n");
    let key = [
        "-----BEGIN RSA PRIVATE ",
        "KEY-----\nRkFLRS1ub3QtYS1rZXk=\n-----END RSA PRIVATE ",
        "KEY-----\n",
    ]
    .concat();
    put("server.key", key.as_bytes());
    let mut zip = b"PK\x03\x04\x14\x00\x00\x00\x00\x00".to_vec();
    zip.extend([0; 16]);
    zip.extend(9u16.to_le_bytes());
    zip.extend([0, 0]);
    zip.extend(b"index.phpxxxx");
    put("backup.zip", &zip);
    let mut tar = vec![0u8; 1024];
    tar[..9].copy_from_slice(b"index.php");
    tar[257..262].copy_from_slice(b"ustar");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&tar).expect("gzip");
    put("backup.tar.gz", &gz.finish().expect("gzip"));
}

fn same_as_nmap() {
    let lab = Lab::new();
    let dir = tempfile::tempdir().expect("a folder");
    let d = dir.path();
    // nginx's workers are of another user.
    open_to_all(d);
    document_root(&d.join("www"));
    fs::create_dir_all(d.join("spa")).expect("a folder");
    fs::write(d.join("spa/index.html"), "<!doctype html><title>App</title><div id=app></div>\n")
        .expect("spa");
    let shown = d.display().to_string();
    let cert = rcgen::generate_simple_self_signed(vec!["shop.example.jp".to_owned()])
        .expect("a certificate");
    fs::write(d.join("tls.crt"), cert.cert.pem()).expect("certificate");
    fs::write(d.join("tls.key"), cert.signing_key.serialize_pem()).expect("key");
    let conf = format!(
        "daemon off; pid {shown}/nginx.pid; error_log stderr crit; worker_processes 1;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {shown}/t1; proxy_temp_path {shown}/t2; fastcgi_temp_path {shown}/t3; uwsgi_temp_path {shown}/t4; scgi_temp_path {shown}/t5;\n\
           server {{ listen 198.19.0.10:80; listen 198.19.0.10:443 ssl; ssl_certificate {shown}/tls.crt; ssl_certificate_key {shown}/tls.key;\n\
             root {shown}/www; location /backup/ {{ autoindex on; }} }}\n\
           server {{ listen 198.19.0.11:80; root {shown}/spa; location / {{ try_files $uri /index.html; }} }} }}\n"
    );
    fs::write(d.join("nginx.conf"), conf).expect("nginx.conf");
    let _nginx = start(
        &lab,
        Command::new("nginx").args(["-c", &format!("{shown}/nginx.conf"), "-e", "stderr"]),
        &["198.19.0.10:80", "198.19.0.10:443", "198.19.0.11:80"],
    );
    let keygen = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &format!("{shown}/hostkey")])
        .status();
    assert!(keygen.expect("ssh-keygen").success());
    let _ = fs::create_dir_all("/run/sshd");
    let _sshd = start(
        &lab,
        Command::new("/usr/sbin/sshd").args([
            "-D",
            "-e",
            "-f",
            "/dev/null",
            "-h",
            &format!("{shown}/hostkey"),
            "-o",
            "ListenAddress=198.19.0.12:22",
            "-o",
            &format!("PidFile={shown}/sshd.pid"),
        ]),
        &["198.19.0.12:22"],
    );
    let _redis = start(
        &lab,
        Command::new("redis-server").args([
            "--bind",
            "198.19.0.13",
            "--port",
            "6379",
            "--save",
            "",
            "--protected-mode",
            "no",
            "--dir",
            &shown,
        ]),
        &["198.19.0.13:6379"],
    );

    let ports = "1-1024,6379,8080";
    fs::write(
        d.join("patrol.toml"),
        format!("version = 1\n[scope]\nallow = [\"198.19.0.8/29\"]\nauthorised_by = \"TEST-1\"\n[scan]\nports = \"{ports}\"\nmethod = \"syn\"\n[http]\ntier = 3\n"),
    )
    .expect("configuration");
    fs::create_dir_all(d.join("baseline")).expect("a folder");
    fs::write(d.join("baseline/b.toml"), "version = 1\nowner = \"@test/team\"\n")
        .expect("baseline");
    let capture = Capture::start(&lab);
    let out = lab.program(BINARY).dir(d).args(["patrol", "--out", "run"]).run();
    let seen = capture.stop();
    assert_eq!(seen.lost, 0, "the capture lost frames, so it proves nothing");
    for ip in seen.destinations.keys().filter(|ip| ip.is_ipv4() && !ip.is_multicast()) {
        let n = ip.to_string();
        let last: u8 = n.rsplit('.').next().and_then(|o| o.parse().ok()).expect("an octet");
        assert!(n.starts_with("198.19.0.") && (8..16).contains(&last), "a frame left for {n}");
    }
    let printed = format!("{}{}", out.stdout, out.stderr);
    out.expect(1);
    let nmap = lab.scanner.run(|| {
        Command::new("nmap")
            .args(["-sS", "-Pn", "-n", "-T4", "-p", ports, "-oG", "-", "198.19.0.8/29"])
            .output()
            .expect("nmap; the full suite needs it installed")
    });
    let theirs = parse_nmap(&String::from_utf8_lossy(&nmap.stdout));
    let records: Vec<Value> = fs::read_to_string(d.join("run/observations.ndjson"))
        .expect("observations")
        .lines()
        .map(|l| serde_json::from_str(l).expect("a record"))
        .collect();
    let ours: BTreeSet<(String, u64)> = records
        .iter()
        .filter(|o| o["kind"] == "tcp" && o["state"] == "open" && o["confirmed"] == true)
        .map(|o| (o["ip"].as_str().expect("ip").to_owned(), o["port"].as_u64().expect("port")))
        .collect();
    assert_eq!(ours, theirs, "ours and nmap's");
    assert_eq!(ours.len(), 5);
    let service = |port: u64| {
        let o = records
            .iter()
            .rfind(|o| o["kind"] == "tcp" && o["port"] == port && o["confirmed"] == true);
        o.map(|o| o["service"]["name"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    assert_eq!(
        (service(22), service(443), service(80)),
        ("ssh".into(), "https".into(), "http".into())
    );

    let exposed: BTreeSet<(String, u64, String)> = records
        .iter()
        .filter(|o| o["kind"] == "http" && o["outcome"] == "exposed")
        .map(|o| {
            let text = |k: &str| o[k].as_str().unwrap_or_default().to_owned();
            (text("ip"), o["port"].as_u64().unwrap_or_default(), text("path"))
        })
        .collect();
    let planted = [
        "/password.php",
        "/.env",
        "/.git/config",
        "/.git/HEAD",
        "/wp-config.php.bak",
        "/dump.sql",
        "/.htpasswd",
        "/.DS_Store",
        "/backup/",
        "/server.key",
        "/backup.zip",
        "/backup.tar.gz",
    ];
    let mut expected = BTreeSet::new();
    for path in planted {
        for port in [80, 443] {
            expected.insert(("198.19.0.10".to_owned(), port, path.to_owned()));
        }
    }
    assert_eq!(exposed, expected, "found and planted");

    let mut all = printed;
    for entry in fs::read_dir(d.join("run")).expect("the run folder") {
        all.push_str(&String::from_utf8_lossy(
            &fs::read(entry.expect("an entry").path()).expect("a file"),
        ));
    }
    for secret in SECRETS {
        assert!(!all.contains(secret), "{secret} stands in an output");
    }
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("permissions");
}

/// `Host: 198.19.0.10 () Ports: 80/open/tcp//http///, …`
fn parse_nmap(text: &str) -> BTreeSet<(String, u64)> {
    let mut open = BTreeSet::new();
    for line in text.lines().filter(|l| l.contains("Ports: ")) {
        let host = line.split_whitespace().nth(1).expect("a host").to_owned();
        let ports = line.split("Ports: ").nth(1).expect("ports");
        for p in ports.split(',').map(str::trim).filter(|p| p.contains("/open/")) {
            open.insert((
                host.clone(),
                p.split('/').next().expect("a number").parse().expect("a port"),
            ));
        }
    }
    open
}
