//! nginx, OpenSSH and Redis beside nothing else: nmap must see the same.

use super::daemon::{certificate, nginx};
use super::*;

pub fn same_as_nmap() {
    let lab = Lab::new();
    let dir = folder();
    let d = dir.path();
    planted::document_root(&d.join("www"));
    fs::create_dir_all(d.join("spa")).expect("a folder");
    fs::write(d.join("spa/index.html"), "<!doctype html><title>App</title><div id=app></div>\n")
        .expect("spa");
    let shown = d.display().to_string();
    certificate(d);
    let servers = format!(
        "server {{ listen 198.19.0.10:80; listen 198.19.0.10:443 ssl; ssl_certificate {shown}/tls.crt; ssl_certificate_key {shown}/tls.key;\n\
           root {shown}/www; location /backup/ {{ autoindex on; }} }}\n\
         server {{ listen 198.19.0.11:80; root {shown}/spa; location / {{ try_files $uri /index.html; }} }}\n"
    );
    let _nginx = start(
        &lab,
        Command::new("nginx").args([
            "-c",
            &conf(d, "nginx.conf", &nginx(d, &servers)),
            "-e",
            "stderr",
        ]),
        &["198.19.0.10:80", "198.19.0.10:443", "198.19.0.11:80"],
    );
    let _others = others(&lab, &shown);

    let ports = "1-1024,6379,8080";
    let run = patrol(&lab, d, "198.19.0.8/29", &format!("ports = \"{ports}\""));
    let nmap = lab.scanner.run(|| {
        Command::new("nmap")
            .args(["-sS", "-Pn", "-n", "-T4", "-p", ports, "-oG", "-", "198.19.0.8/29"])
            .output()
            .expect("nmap; the full suite needs it installed")
    });
    let theirs = parse_nmap(&String::from_utf8_lossy(&nmap.stdout));
    let ours: BTreeSet<(String, u64)> = run
        .records
        .iter()
        .filter(|o| o["kind"] == "tcp" && o["state"] == "open" && o["confirmed"] == true)
        .map(|o| (o["ip"].as_str().expect("ip").to_owned(), o["port"].as_u64().expect("port")))
        .collect();
    assert_eq!(ours, theirs, "ours and nmap's");
    assert_eq!(ours.len(), 5);
    let service = |port: u64| {
        let o = run
            .records
            .iter()
            .rfind(|o| o["kind"] == "tcp" && o["port"] == port && o["confirmed"] == true);
        o.map(|o| o["service"]["name"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    assert_eq!(
        (service(22), service(443), service(80)),
        ("ssh".into(), "https".into(), "http".into())
    );

    let mut expected = BTreeSet::new();
    for path in planted::AS_THEY_ARE.iter().chain(&[planted::LISTED]) {
        for port in [80, 443] {
            expected.insert(("198.19.0.10".to_owned(), port, (*path).to_owned()));
        }
    }
    assert_eq!(run.ended("exposed"), expected, "found and planted");
    run.leaks_nothing(&lab, d);
}

/// The servers that have no pages.
fn others(lab: &Lab, folder: &str) -> [Daemon; 2] {
    let keygen = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &format!("{folder}/hostkey")])
        .status();
    assert!(keygen.expect("ssh-keygen").success());
    let _ = fs::create_dir_all("/run/sshd");
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f", "/dev/null", "-h", &format!("{folder}/hostkey")]);
    sshd.args(["-o", "ListenAddress=198.19.0.12:22", "-o", &format!("PidFile={folder}/sshd.pid")]);
    let mut redis = Command::new("redis-server");
    redis.args(["--bind", "198.19.0.13", "--port", "6379", "--save", ""]);
    redis.args(["--protected-mode", "no", "--dir", folder]);
    [start(lab, &mut sshd, &["198.19.0.12:22"]), start(lab, &mut redis, &["198.19.0.13:6379"])]
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
