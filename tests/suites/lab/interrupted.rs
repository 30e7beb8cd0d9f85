//! Signals in the middle of a sweep, and a disk that fills up.

use super::*;

pub const CASES: Cases = &[
    ("interrupted::a_deadline_ends_a_run_and_is_said", deadline),
    ("interrupted::sigterm_writes_everything_and_resolves_nothing", |c| {
        stopped(c, Signal::SIGTERM)
    }),
    ("interrupted::sigint_writes_everything_and_resolves_nothing", |c| stopped(c, Signal::SIGINT)),
    ("interrupted::sigkill_leaves_every_line_readable", killed),
    ("interrupted::a_killed_scan_is_gone_on_with_and_misses_nothing", |c| {
        resumed(c, Signal::SIGKILL)
    }),
    ("interrupted::a_stopped_scan_is_gone_on_with_and_misses_nothing", |c| {
        resumed(c, Signal::SIGTERM)
    }),
    ("interrupted::only_the_same_job_is_gone_on_with", other_job),
    ("interrupted::a_full_disk_keeps_what_was_written", full_disk),
    ("interrupted::a_full_disk_under_the_state_leaves_the_generation_before", full_state),
];

/// A finding, then a longer sweep in whose middle a signal comes.
fn stopped(c: &Case, signal: Signal) {
    let redis = Server::banner(&c.lab, "198.19.3.11:6379", b"-DENIED\r\n");
    c.config("targets = [\"198.19.0.0/22\"]\nports = \"22,6379\"", "");
    c.baseline("");
    c.patrol("r1", &["--targets", "198.19.3.8/29"]).expect(1);
    drop(redis);
    let _many = Server::banner(&c.lab, "0.0.0.0:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    let mut running = c.mimawari("patrol").args(["--out", "r2", "--rate", "200"]).start();
    let seen = c.path("r2/observations.ndjson");
    running.wait_until(&seen, |text| text.lines().count() > 20);
    running.signal(signal);
    let out = running.wait().expect(1);
    let verdict = c.json("r2/verdict.json");
    assert_eq!(verdict["incomplete"], true, "{}", out.stdout);
    assert!(
        findings(&verdict).contains(&"unexpected-open 198.19.3.11:6379 unverified".to_owned())
            || findings(&verdict).contains(&"unexpected-open 198.19.3.11:6379 resolved".to_owned())
                && !not_probed(c, "198.19.3.11", 6379),
        "{:?}",
        findings(&verdict)
    );
    let run = c.json("r2/run.json");
    assert_eq!(run["status"], "stopped");
    let sweep = &run["sweep"];
    let count = |key: &str| sweep[key].as_u64().expect("a number");
    assert!(count("not_probed") > 0 && count("open") > 0);
    assert_eq!(
        count("open")
            + count("closed")
            + count("silent")
            + count("prohibited")
            + count("not_probed"),
        // Four times 256 addresses less the eight denied ones, two ports each.
        (1024 - 8) * 2
    );
    c.observations("r2");
    // A scan alone, with nothing to judge, says 3.
    let mut running = c.mimawari("scan").args(["--out", "r3", "--rate", "200"]).start();
    running.wait_until(&c.path("r3/observations.ndjson"), |text| text.lines().count() > 20);
    running.signal(signal);
    let _ = running.wait().expect(3);
}

/// Whether a run's coverage says that a cell was not probed.
fn not_probed(c: &Case, ip: &str, port: u16) -> bool {
    let run = mimawari_runs::LoadedRun::open(&c.path("r2")).expect("the run");
    run.cell(ip.parse().expect("ip"), mimawari_targets::Port::new(port).expect("port"))
        == mimawari_probes::observation::CellState::NotProbed
}

fn killed(c: &Case) {
    let _many = Server::banner(&c.lab, "0.0.0.0:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.0/22\"]\nports = \"22,6379\"", "");
    c.baseline("");
    let mut running = c.mimawari("scan").args(["--out", "r1", "--rate", "200"]).start();
    running.wait_until(&c.path("r1/observations.ndjson"), |text| text.lines().count() > 20);
    running.signal(Signal::SIGKILL);
    let out = running.wait();
    assert_eq!(out.status, None);
    assert!(c.observations("r1").len() > 20);
    // What is there can be judged; what is not there is named.
    let out = c.mimawari("judge").args(["--run", "r1", "--out", "v.json"]).run().expect(1);
    let verdict = c.json("v.json");
    assert_eq!(verdict["incomplete"], true, "{}", out.stdout);
    assert!(verdict["findings"].as_array().is_some_and(|f| f.len() > 5));
}

/// Interrupted again and again; in the end it is the run that it would have been.
fn resumed(c: &Case, signal: Signal) {
    let _many = Server::banner(&c.lab, "0.0.0.0:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.0/22\"]\nports = \"22,6379\"\nmethod = \"syn\"", "");
    let seen = c.path("r1/observations.ndjson");
    let mut lines = 0;
    for round in 0..4 {
        let folder = if round == 0 { ["--out", "r1"] } else { ["--resume", "r1"] };
        let mut running = c.mimawari("scan").args(folder).args(["--rate", "400"]).start();
        // New lines, and a checkpoint that has seen some of them.
        running.wait_until(&seen, |text| text.lines().count() > lines + 150);
        running.wait_until_exists(&c.path("r1/checkpoint.bin"));
        running.signal(signal);
        let _ = running.wait();
        lines = c.observations("r1").len();
    }
    let before = fs::read_to_string(&seen).expect("observations");
    c.mimawari("scan").args(["--resume", "r1", "--rate", "2000"]).run().expect(0);
    let run = c.json("r1/run.json");
    assert_eq!(run["status"], "complete");
    assert_eq!(run["resumed_at"].as_array().map(Vec::len), Some(4));
    let sweep = &run["sweep"];
    assert_eq!(
        (&sweep["open"], &sweep["closed"], &sweep["not_probed"]),
        (&1016.into(), &1016.into(), &0.into())
    );
    assert_eq!(c.confirmed("r1").len(), 1016);
    let after = fs::read_to_string(&seen).expect("observations");
    assert!(after.starts_with(&before), "what was written is never taken back");
    assert!(!c.path("r1/checkpoint.bin").exists());
    let loaded = mimawari_runs::LoadedRun::open(&c.path("r1")).expect("the run");
    assert_eq!(loaded.counts, [0, 0, 0, 1016, 1016]);
    let out = c.mimawari("scan").args(["--resume", "r1"]).run().expect(2);
    assert!(out.stderr.contains("is complete"), "{}", out.stderr);
}

fn other_job(c: &Case) {
    let _many = Server::banner(&c.lab, "0.0.0.0:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.0/24\"]\nports = \"22\"\nmethod = \"syn\"", "");
    let mut running = c.mimawari("scan").args(["--out", "r1", "--rate", "20"]).start();
    running.wait_until(&c.path("r1/observations.ndjson"), |text| text.lines().count() > 5);
    let busy = c.mimawari("scan").args(["--resume", "r1"]).run().expect(2);
    assert!(busy.stderr.contains("another process is writing"), "{}", busy.stderr);
    running.signal(Signal::SIGKILL);
    let _ = running.wait();
    for (args, what) in [
        (["--ports", "22-23"], "ports were 22, now 22-23"),
        (["--targets", "198.19.0.0/25"], "addresses were"),
        (["--shard", "1/2"], "shard was 1/1, now 1/2"),
    ] {
        let out = c.mimawari("scan").args(["--resume", "r1"]).args(args).run().expect(2);
        assert!(out.stderr.contains(what) && out.stderr.contains("help:"), "{}", out.stderr);
    }
    // A checkpoint that was damaged is said to be, and not believed.
    fs::write(c.path("r1/checkpoint.bin"), b"MMWCKP1\nrubbish").expect("damage");
    let out = c.mimawari("scan").args(["--resume", "r1"]).run().expect(2);
    assert!(out.stderr.contains("cannot be gone on with"), "{}", out.stderr);
}

fn full_disk(c: &Case) {
    use nix::mount::{MsFlags, mount, umount};
    let disk = c.path("disk");
    fs::create_dir(&disk).expect("a folder");
    mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
        .expect("a small disk");
    let _many = Server::banner(&c.lab, "0.0.0.0:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.0/22\"]\nports = \"22\"", "");
    c.baseline("");
    let out = c.mimawari("patrol").args(["--out", "disk/r1", "--rate", "2000"]).run();
    let kept = c.observations("disk/r1").len();
    umount(&disk).expect("umount");
    let out = out.expect(2);
    assert!(out.stderr.contains("No space left") && out.stderr.contains("help:"), "{}", out.stderr);
    assert!(kept > 50, "{kept} lines kept");
    assert!(
        !c.path("state/generations").exists(),
        "a state was written of a run that was not kept"
    );
}

fn full_state(c: &Case) {
    use nix::mount::{MsFlags, mount, umount};
    let disk = c.path("state");
    fs::create_dir(&disk).expect("a folder");
    mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
        .expect("a small disk");
    let _redis = Server::banner(&c.lab, "198.19.0.10:6379", b"-DENIED\r\n");
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"6379\"", "");
    c.baseline("");
    c.patrol("r1", &[]).expect(1);
    let full = c.path("state/filler");
    let filled = fs::write(&full, vec![0; 1 << 20]);
    assert!(filled.is_err(), "the disk is not small");
    // A patrol fails before it sends a packet, and a judgement when it saves.
    let refused = c.patrol("r2", &[]);
    c.mimawari("scan").args(["--out", "r3"]).run().expect(0);
    let judge = || c.mimawari("judge").args(["--run", "r3", "--save-state", "--out", "v"]).run();
    let out = judge();
    let shown = c.mimawari("state").args(["show", "--json"]).run();
    // With room again the run that was kept is judged, and saved.
    fs::remove_file(&full).expect("removed");
    let judged = judge();
    let after = c.mimawari("state").args(["show", "--json"]).run();
    let names = fs::read_dir(c.path("state/generations")).expect("the folder").count();
    umount(&disk).expect("umount");
    assert!(!c.path("r2").exists(), "a scan was begun whose result could not be saved");
    for out in [refused, out] {
        let err = out.expect(2).stderr;
        assert!(err.contains("No space left") && err.contains("help: nothing that was"), "{err}");
    }
    assert!(shown.expect(0).stdout.contains("\"generation\": 1"));
    judged.expect(1);
    assert!(after.expect(0).stdout.contains("\"generation\": 2"));
    assert_eq!(names, 2, "a half-written file was left behind");
}

fn deadline(c: &Case) {
    let _ssh = Server::banner(&c.lab, "198.19.0.10:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    // Three minutes' work in two seconds.
    c.config("targets = [\"198.19.0.0/26\"]\nports = \"1-300\"\nrate = 100\ndeadline = \"2s\"", "");
    let out = c.mimawari("scan").args(["--out", "r"]).run().expect(3);
    assert!(out.stderr.contains("the deadline is reached"), "{}", out.stderr);
    let run = c.json("r/run.json");
    assert_eq!(run["status"], "stopped");
    assert_eq!(run["not_covered"][0], "The deadline of 2 s was reached before the end of the run.");
    assert!(run["sweep"]["not_probed"].as_u64() > Some(18_000), "{run}");
    // With more time it is gone on with.
    c.config("targets = [\"198.19.0.0/26\"]\nports = \"1-300\"\nrate = 20000\nrate_per_host = 0\nrate_per_network = 0\ndeadline = \"10m\"", "");
    c.mimawari("scan").args(["--resume", "r"]).run().expect(0);
    assert_eq!(c.json("r/run.json")["sweep"]["not_probed"], 0);
    assert_eq!(c.confirmed("r"), ["198.19.0.10 22"]);
}
