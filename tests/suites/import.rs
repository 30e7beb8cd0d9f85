//! Scans that other scanners made, judged like our own; and runs that other tools read. The files under
//! `import/` are real output of nmap 7.93, masscan 1.3.2 and ZMap 2.1.1, made on a lab's own network.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = "version = 1\n[scope]\nallow = [\"198.19.0.0/28\", \"2001:db8:1::/126\"]\nauthorised_by = \"TEST-1\"\n\
                      [scan]\nports = \"22,80,6379\"\n";

fn fixture(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/import");
    dir.join(name).display().to_string()
}

/// A folder with a configuration and a baseline that allows nothing.
fn folder(config: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("patrol.toml"), config).expect("configuration");
    fs::create_dir(dir.path().join("baseline")).expect("a folder");
    fs::write(dir.path().join("baseline/b.toml"), "version = 1\nowner = \"@t/t\"\n")
        .expect("baseline");
    dir
}

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(dir: &Path, args: &[&str]) -> Ran {
    let out = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"))
        .current_dir(dir)
        .env_clear()
        .args(args)
        .output()
        .expect("starting the program");
    Ran {
        status: out.status.code(),
        stdout: String::from_utf8(out.stdout).expect("UTF-8"),
        stderr: String::from_utf8(out.stderr).expect("UTF-8"),
    }
}

#[track_caller]
fn import(dir: &Path, format: &str, file: &str, out: &str, more: &[&str], status: i32) -> String {
    let args = [&["import", "--format", format, file, "--out", out], more].concat();
    let ran = run(dir, &args);
    assert_eq!(ran.status, Some(status), "{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn verdict(dir: &Path, run_dir: &str) -> Value {
    let ran = run(dir, &["judge", "--run", run_dir, "--save-state"]);
    assert!(matches!(ran.status, Some(0 | 1 | 3)), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).expect("a verdict")
}

/// The state of each finding, by `address port`.
fn states(verdict: &Value) -> BTreeMap<String, String> {
    let findings = verdict["findings"].as_array().expect("findings");
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    findings
        .iter()
        .map(|f| (format!("{} {}", text(&f["ip"]), f["port"]), text(&f["state"])))
        .collect()
}

/// Says of these that they were open, as another scanner would.
fn open_before(dir: &Path, places: &[(&str, u16)]) {
    let lines: String =
        places.iter().map(|(ip, port)| format!("open tcp {port} {ip} 1795500000\n")).collect();
    let list = dir.join("before.list");
    fs::write(&list, format!("#masscan\n{lines}# end\n")).expect("a list");
    import(dir, "masscan-list", &list.display().to_string(), "before", &[], 3);
    let v = verdict(dir, "before");
    assert_eq!(
        v["counts"]["open"],
        places.len(),
        "an answer that nobody confirmed is reported, too"
    );
}

fn observations(dir: &Path, run_dir: &str) -> Vec<Value> {
    let text = fs::read_to_string(dir.join(run_dir).join("observations.ndjson")).expect("records");
    text.lines().map(|l| serde_json::from_str(l).expect("a record")).collect()
}

fn meta(dir: &Path, run_dir: &str) -> Value {
    let text = fs::read_to_string(dir.join(run_dir).join("run.json")).expect("run.json");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn an_imported_nmap_run_resolves_only_what_nmap_saw_closed() {
    let dir = folder(CONFIG);
    let d = dir.path();
    open_before(
        d,
        &[
            ("198.19.0.5", 22), // open still
            ("198.19.0.5", 23), // closed, among the ports that nmap counts
            ("198.19.0.5", 26), // silent
            ("198.19.0.5", 81), // not among nmap's ports
            ("198.19.0.9", 22), // not in nmap's file
            ("2001:db8:1::2", 22),
        ],
    );
    let printed = import(d, "nmap-xml", &fixture("nmap-syn.xml"), "run", &[], 3);
    insta::assert_snapshot!("import_nmap", printed.replace(&fixture(""), ""));
    let v = verdict(d, "run");
    let expected = [
        ("198.19.0.5 22", "open"),
        ("198.19.0.5 23", "resolved"),
        ("198.19.0.5 26", "resolving"),
        ("198.19.0.5 80", "open"),
        ("198.19.0.5 81", "unverified"),
        ("198.19.0.5 8443", "open"),
        ("198.19.0.6 6379", "open"),
        ("198.19.0.9 22", "unverified"),
        ("2001:db8:1::2 22", "unverified"),
    ];
    assert_eq!(states(&v), expected.map(|(k, s)| (k.to_owned(), s.to_owned())).into());
    assert_eq!(v["incomplete"], true, "half of the scope is not in the file");
    assert_eq!(v["suspect"], false);
}

#[test]
fn every_cell_is_what_nmap_says_and_no_more() {
    let dir = folder(CONFIG);
    let d = dir.path();
    // All that was scanned: then it is a whole run, and a clean exit.
    import(d, "nmap-xml", &fixture("nmap-syn.xml"), "run", &["--targets", "198.19.0.0/29"], 0);
    let m = meta(d, "run");
    assert_eq!(m["plan"]["ports"], "20-60,80,6379,8443");
    let sweep = &m["sweep"];
    let count = |k: &str| sweep[k].as_u64().expect("a number");
    assert_eq!(
        (count("cells"), count("open"), count("prohibited"), count("silent"), count("not_probed")),
        (8 * 44, 4, 7, 9, 0)
    );
    assert_eq!(count("closed"), 8 * 44 - 4 - 8 - 8);
    assert_eq!(m["started_at"], "2026-11-24T12:12:24Z");
    assert_eq!((&m["status"], &m["method"]), (&"complete".into(), &"nmap syn".into()));
    assert!(m["notes"].to_string().contains("4 of 4 answers"), "{}", m["notes"]);

    // A host that is down is not known to be closed.
    import(d, "nmap-xml", &fixture("nmap-down.xml"), "down", &["--targets", "198.19.0.8/30"], 3);
    let m = meta(d, "down");
    assert_eq!((&m["sweep"]["closed"], &m["sweep"]["not_probed"]), (&9.into(), &3.into()));

    // A connect scan confirms by itself, and a version scan says what speaks there.
    import(d, "nmap-xml", &fixture("nmap-v6.xml"), "v6", &["--targets", "2001:db8:1::2"], 0);
    assert!(!meta(d, "v6")["notes"].to_string().contains("SYN-ACK"));
    let o = &observations(d, "v6")[0];
    assert_eq!((&o["ip"], &o["port"]), (&"2001:db8:1::2".into(), &443.into()));
    assert_eq!(o.get("service"), None, "the number of a port is no service");
    // The kernel hides ICMP codes from a connect scan: nmap says host-unreach, which is not known.
    import(d, "nmap-xml", &fixture("nmap-version.xml"), "sv", &["--targets", "198.19.0.5"], 3);
    assert_eq!(observations(d, "sv")[0]["service"]["name"], "ssh");
    assert_eq!(meta(d, "sv")["sweep"]["not_probed"], 1);
}

#[test]
fn an_nmap_file_without_its_end_is_an_incomplete_run() {
    let dir = folder(CONFIG);
    let d = dir.path();
    let whole = fs::read_to_string(fixture("nmap-syn.xml")).expect("the fixture");
    let cut = whole.find("<runstats>").expect("its end");
    fs::write(d.join("cut.xml"), &whole[..cut]).expect("a file");
    let targets = &["--targets", "198.19.0.0/29"];
    let printed = import(d, "nmap-xml", "cut.xml", "run", targets, 3);
    assert!(printed.contains("has no <finished>"), "{printed}");
    let v = verdict(d, "run");
    assert_eq!((&v["incomplete"], &v["counts"]["open"]), (&true.into(), &4.into()));
    // Cut in the middle of a host: what stands before it is known, and the rest is not.
    let cut = whole.find("addr=\"198.19.0.6\"").expect("a host");
    fs::write(d.join("half.xml"), &whole[..cut]).expect("a file");
    import(d, "nmap-xml", "half.xml", "half", targets, 3);
    assert_eq!(meta(d, "half")["sweep"]["not_probed"], 2 * 44);
}

#[test]
fn by_masscan_and_zmap_nothing_is_resolved_that_they_do_not_name() {
    for (format, file, more, open) in [
        ("masscan-json", "masscan.json", &[][..], 4),
        ("masscan-json", "masscan.ndjson", &[], 4),
        ("masscan-list", "masscan.list", &[], 4),
        ("nmap-xml", "masscan.xml", &[], 4),
        ("zmap-csv", "zmap-fields.csv", &[], 1),
    ] {
        let dir = folder(CONFIG);
        let d = dir.path();
        let before = [("198.19.0.5", 80), ("198.19.0.9", 22), ("198.19.0.10", 6379)];
        open_before(d, &before);
        let printed = import(d, format, &fixture(file), "run", more, 3);
        assert!(printed.contains("lists what answered and nothing else"), "{printed}");
        let v = verdict(d, "run");
        assert_eq!(v["counts"]["resolved"], 0, "{file}");
        assert_eq!(v["counts"]["unverified"], 2, "{file}");
        assert_eq!(v["counts"]["open"], open, "{file}");
        assert_eq!(v["incomplete"], true, "{file}");
        let why = v["coverage"]["not_covered"].to_string();
        assert!(why.contains("nothing is resolved by their absence"), "{why}");
    }
}

#[test]
fn what_they_do_name_closed_is_closed() {
    let dir = folder(CONFIG);
    let d = dir.path();
    open_before(d, &[("198.19.0.5", 81), ("198.19.0.6", 80), ("198.19.0.5", 22)]);
    import(d, "masscan-list", &fixture("masscan-closed.list"), "m", &[], 3);
    let s = states(&verdict(d, "m"));
    assert_eq!(
        (s["198.19.0.5 81"].as_str(), s["198.19.0.6 80"].as_str()),
        ("resolved", "unverified")
    );
    import(d, "zmap-csv", &fixture("zmap-fields.csv"), "z", &[], 3);
    assert_eq!(states(&verdict(d, "z"))["198.19.0.6 80"], "resolved");
}

#[test]
fn nothing_outside_the_scope_is_imported_and_it_is_said() {
    let dir = folder(&CONFIG.replace("198.19.0.0/28", "198.19.0.6"));
    let d = dir.path();
    let printed = import(d, "masscan-json", &fixture("masscan.json"), "run", &[], 3);
    assert!(
        printed.contains("3 ports were not imported: they are outside the scope (198.19.0.5)"),
        "{printed}"
    );
    let all = observations(d, "run");
    assert!(all.len() == 1 && all[0]["ip"] == "198.19.0.6", "{all:?}");
    // Nor what is not of the plan that was named.
    let printed =
        import(d, "masscan-json", &fixture("masscan.json"), "none", &["--ports", "80"], 3);
    assert!(printed.contains("1 port was not imported: their addresses or ports"), "{printed}");
    assert_eq!(meta(d, "none")["plan"]["ports"], "80");
}

#[test]
fn the_same_file_makes_the_same_run() {
    let dir = folder(CONFIG);
    let d = dir.path();
    for out in ["a", "b"] {
        import(d, "nmap-xml", &fixture("nmap-syn.xml"), out, &[], 3);
    }
    for file in ["run.json", "observations.ndjson", "coverage.bin"] {
        let read = |out: &str| fs::read(d.join(out).join(file)).expect("a file");
        assert_eq!(read("a"), read("b"), "{file}");
    }
}

#[test]
fn refusals_name_the_place_and_the_remedy() {
    let dir = folder(CONFIG);
    let d = dir.path();
    fs::write(
        d.join("bad.list"),
        "#masscan\nopen tcp 22 198.19.0.5 1\nopen tcp 77777 198.19.0.5 1\n",
    )
    .expect("a file");
    fs::write(
        d.join("ack.xml"),
        "<nmaprun scanner=\"nmap\">\n<scaninfo type=\"ack\" protocol=\"tcp\" services=\"1\"/>",
    )
    .expect("a file");
    fs::write(d.join("z.csv"), "saddr\n198.19.0.5\n").expect("a file");
    let refused = |args: &[&str]| {
        let ran = run(d, &[&["import", "--out", "run", "--format"], args].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{args:?} {}", ran.stderr);
        assert!(!d.join("run").exists(), "{args:?} left a run behind");
        ran.stderr
    };
    let plain: PathBuf = fixture("zmap.csv").into();
    fs::copy(plain, d.join("plain.csv")).expect("a copy");
    let all = [
        refused(&["nmap-xml", "absent.xml"]),
        refused(&["nmap-xml", "bad.list"]),
        refused(&["masscan-list", "bad.list"]),
        refused(&["nmap-xml", "ack.xml"]),
        refused(&["zmap-csv", "plain.csv", "--ports", "80"]),
        refused(&["zmap-csv", "z.csv"]),
        refused(&["masscan-list", "bad.list", "--targets", "203.0.113.0/24"]),
        refused(&["masscan-list", "bad.list", "--targets", "www.example.jp"]),
        refused(&["masscan-list", "bad.list", "--ports", "0"]),
    ];
    insta::assert_snapshot!("import_refusals", all.join("\n"));
    let none = run(d, &["export", "nowhere", "--format", "nmap-xml"]);
    assert_eq!(none.status, Some(2));
    insta::assert_snapshot!("export_refusal", none.stderr);
}

#[test]
fn a_verdict_that_could_not_see_is_not_written_as_sarif() {
    let dir = folder(CONFIG);
    let d = dir.path();
    import(d, "masscan-json", &fixture("masscan.json"), "run", &[], 3);
    let judged = run(d, &["judge", "--run", "run", "--out", "v.json"]);
    assert_eq!(judged.status, Some(1));
    let report = |format: &str| run(d, &["report", "--verdict", "v.json", "--format", format]);
    let sarif = report("sarif");
    assert_eq!((sarif.status, sarif.stdout.as_str()), (Some(2), ""));
    insta::assert_snapshot!("sarif_refused", sarif.stderr);
    assert_eq!(report("csv").stdout.lines().count(), 5);

    import(d, "nmap-xml", &fixture("nmap-syn.xml"), "whole", &["--targets", "198.19.0.0/29"], 0);
    assert_eq!(run(d, &["judge", "--run", "whole", "--out", "v.json"]).status, Some(1));
    let sarif: Value = serde_json::from_str(&report("sarif").stdout).expect("SARIF");
    assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(4));
}

#[test]
fn an_export_imported_again_has_every_cell_as_it_was() {
    let dir = folder(CONFIG);
    let d = dir.path();
    for (file, out) in [("nmap-syn.xml", "a"), ("nmap-down.xml", "b"), ("nmap-v6.xml", "c")] {
        import(d, "nmap-xml", &fixture(file), out, &[], 3);
        let xml = format!("{out}.xml");
        let ran = run(d, &["export", out, "--format", "nmap-xml", "--out", &xml]);
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        let again = format!("{out}{out}");
        import(d, "nmap-xml", &xml, &again, &[], 3);
        for file in ["observations.ndjson", "coverage.bin"] {
            let read = |out: &str| fs::read_to_string(d.join(out).join(file));
            if file == "coverage.bin" {
                let read = |out: &str| fs::read(d.join(out).join(file)).expect("a file");
                assert!(read(out) == read(&again), "{out}");
            } else {
                let places = |text: String| -> Vec<String> {
                    let records = text.lines().map(|l| serde_json::from_str(l).expect("a record"));
                    let mut all: Vec<String> = records
                        .filter(|o: &Value| o["state"] == "open")
                        .map(|o| format!("{} {} {}", o["ip"], o["port"], o["ttl"]))
                        .collect();
                    all.sort();
                    all
                };
                let (one, two) = (read(out).expect("records"), read(&again).expect("records"));
                assert_eq!(places(one), places(two), "{out}");
            }
        }
    }
}
