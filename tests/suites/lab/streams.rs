//! Where the program writes: stderr that fails, the umask, a terminal that hangs up.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

pub const CASES: Cases = &[
    ("streams::a_stderr_that_cannot_be_written_ends_no_run", full_stderr),
    ("streams::the_umask_is_honoured", umask),
    ("streams::a_hangup_stops_in_good_order", hangup),
];

fn by_shell<'a>(c: &'a Case, script: &str) -> Program<'a> {
    c.lab.program("/bin/sh").dir(c.dir.path()).args(["-c", script, BINARY])
}

fn agreed(c: &Case) -> Server {
    let server = Server::banner(&c.lab, "198.19.0.10:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.0/28\"]\nports = \"22\"", "");
    c.baseline(
        "[[allow]]\nid = \"ssh\"\nhosts = [\"198.19.0.10\"]\nports = [\"tcp/22\"]\nreason = \"Agreed for this test\"",
    );
    server
}

fn full_stderr(c: &Case) {
    let _ssh = agreed(c);
    for (run, script) in [
        ("full", "exec \"$0\" patrol --out full 2>/dev/full"),
        (
            "gone",
            "{ \"$0\" patrol --out gone 2>&3; echo $? >status; } 3>&1 >/dev/null | true; exit $(cat status)",
        ),
        ("closed", "exec \"$0\" patrol --out closed 2>&-"),
    ] {
        let _ = by_shell(c, script).run().expect(0);
        assert_eq!(c.json(&format!("{run}/verdict.json"))["exit"], 0, "{run}");
    }
}

fn umask(c: &Case) {
    let _ssh = agreed(c);
    for (run, mask, mode) in [("private", "077", 0o600), ("shared", "022", 0o644)] {
        let script = format!("umask {mask}; exec \"$0\" patrol --out {run}");
        let _ = by_shell(c, &script).run().expect(0);
        for entry in fs::read_dir(c.path(run)).expect("the run") {
            let entry = entry.expect("a file");
            let is = entry.metadata().expect("facts").permissions().mode() & 0o777;
            assert!(is & !mode == 0, "{run}: {:?} has mode {is:o}", entry.file_name());
        }
        let verdict = fs::metadata(c.path(run).join("verdict.json")).expect("facts");
        assert_eq!(verdict.permissions().mode() & 0o777, mode, "{run}");
    }
}

fn hangup(c: &Case) {
    let _many = Server::banner(&c.lab, "0.0.0.0:22", b"SSH-2.0-OpenSSH_9.2\r\n");
    c.config("targets = [\"198.19.0.0/22\"]\nports = \"22,6379\"\nmethod = \"syn\"", "");
    c.baseline("");
    let mut running = c.mimawari("patrol").args(["--out", "r"]).start();
    running.wait_until(&c.path("r/observations.ndjson"), |text| text.lines().count() > 5);
    running.signal(Signal::SIGHUP);
    let _ = running.wait().expect(1);
    assert_eq!(c.json("r/run.json")["status"], "stopped");
    assert!(c.path("r/verdict.json").exists());
}
