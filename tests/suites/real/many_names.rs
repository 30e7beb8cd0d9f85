//! Thousands of names on three hundred addresses behind real nginx, whose default site says
//! nothing (`return 444`): each name is requested, in little memory, and the run shows how far it is.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Instant;

use mimawari_tests::lab::Namespace;

use super::daemon::{Daemon, nginx};
use super::*;

const MEASURE: &str = env!("CARGO_BIN_EXE_measure-memory");

const ADDRESSES: usize = 300;
/// One name in so many is served, with a published file.
const SERVED_EACH: usize = 100;
const PORT: u16 = 8080;
/// Most memory of the whole run, MiB.
const MEMORY: u64 = 128;

/// `MIMAWARI_NAMES` many; a hundred thousand take minutes, which is for `.ci/full`.
fn count_names() -> usize {
    std::env::var("MIMAWARI_NAMES").map_or(3_000, |n| n.parse().expect("a number of names"))
}

pub fn each_is_requested() {
    let names = count_names();
    let served_names = names.div_ceil(SERVED_EACH);
    let namespace = Namespace::new();
    let dir = folder();
    let d = dir.path();
    let servers = format!(
        "log_format names '$host $request_uri'; access_log {}/names.log names buffer=64k;\n\
         server {{ listen {PORT} default_server reuseport backlog=4096; return 444; }}\n\
         server {{ listen {PORT}; server_name ~^served;\n\
         location = /.git/config {{ return 200 \"[core]\\n\\trepositoryformatversion = 0\\n\"; }}\n\
         location = / {{ return 200 \"<title>x</title>\"; }}\n\
         location / {{ return 404; }} }}\n",
        d.display()
    );
    let text = nginx(d, &servers).replace("access_log off;", "").replace("512", "8192");
    let file = conf(d, "nginx.conf", &text);
    let running = Daemon::within(
        &namespace,
        Command::new("nginx").args(["-c", &file, "-e", "stderr"]),
        &[&format!("127.0.0.1:{PORT}")],
    );
    let mut rows = String::new();
    for n in 0..names {
        let (address, served) = (n % ADDRESSES, n % SERVED_EACH == 0);
        let name = if served { "served" } else { "stale" };
        let _ =
            writeln!(rows, "127.7.{}.{},{name}{n}.example.test", address / 250, address % 250 + 1);
    }
    fs::write(d.join("vhosts.csv"), rows).expect("a list");
    let ranges = "[\"127.7.0.1-127.7.0.250\", \"127.7.1.1-127.7.1.50\"]";
    fs::write(
        d.join("patrol.toml"),
        format!(
            "version = 1\n[scope]\nallow = {ranges}\nauthorised_by = \"TEST-1\"\n[scan]\nmethod = \"connect\"\n\
             ports = \"{PORT}\"\n[http]\nvhosts = \"vhosts.csv\"\nrate_per_site = 0\nrate_per_address = 0\n\
             rate_per_network = 0\n"
        ),
    )
    .expect("configuration");
    let begun = Instant::now();
    let out = namespace.run(|| {
        Command::new(MEASURE)
            .arg(d.join("memory"))
            .args([BINARY, "scan", "--out", "run"])
            .current_dir(d)
            .output()
            .expect("the program")
    });
    let (stderr, took) = (String::from_utf8_lossy(&out.stderr), begun.elapsed());
    // The stale names are not covered.
    assert_eq!(out.status.code(), Some(3), "{stderr}");
    drop(running);
    let log = fs::read_to_string(d.join("names.log")).expect("nginx's log");
    let asked: HashSet<&str> = log.lines().filter_map(|l| l.split(' ').next()).collect();
    let asked = asked.iter().filter(|h| h.ends_with(".example.test")).count();
    assert_eq!(asked, names, "each name is requested");
    let records = fs::read_to_string(d.join("run/observations.ndjson")).expect("observations");
    let found = records.lines().filter(|l| l.contains("\"outcome\":\"exposed\"")).count();
    assert_eq!(found, served_names, "each served name's file is found");
    let logged = stderr.lines().filter(|l| l.contains("check=\"git-config\"")).count();
    assert_eq!(logged, served_names, "and is logged when it comes");
    let peak = fs::read_to_string(d.join("memory")).expect("a figure");
    let peak = peak.trim().parse::<u64>().expect("KiB") / 1024;
    println!(
        "{names} names on {ADDRESSES} addresses: {took:.1?}, {peak} MiB, {} requests",
        log.lines().count()
    );
    assert!(peak <= MEMORY, "{peak} MiB");
    // Without a terminal there is a line for every ten seconds.
    let lines = stderr.lines().filter(|l| l.contains("finished=") && l.contains("requests="));
    assert!(lines.count() as u64 >= took.as_secs() / 20, "{stderr}");
}
