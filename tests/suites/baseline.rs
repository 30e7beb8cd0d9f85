//! What `mimawari baseline check` reports, in every form: the program itself on folders of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use mimawari_drift::lint::rules;
use mimawari_drift::state::{RuleUse, State};
use serde_json::Value;
use tempfile::TempDir;

const NOW: &str = "2026-11-24T12:00:00Z";

const CONFIG: &str = r#"version = 1

[scope]
allow = ["192.0.2.0/24", "2001:db8:10::/120"]
deny = ["192.0.2.255"]
authorised_by = "SEC-1042"

[scan]
ports = "22,80,443,8000-8999"

[http]
vhosts = "vhosts.csv"
"#;

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn check(dir: &Path, args: &[&str]) -> Ran {
    let out = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"))
        .current_dir(dir)
        .env_clear()
        .args(["baseline", "check"])
        .args(args)
        .output()
        .expect("running the program");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { status: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr) }
}

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// A repository with a configuration, a state, and the files of an example.
fn repository(example: &str, codeowners: bool) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join(".git")).expect("a folder");
    write(dir.path(), "patrol.toml", CONFIG);
    write(dir.path(), "vhosts.csv", "192.0.2.80,shop.example.jp\n192.0.2.80,blog.example.jp\n");
    if codeowners {
        write(dir.path(), "CODEOWNERS", "* @corp/hosting\n");
    }
    for (name, text) in rules::split_example_files(example) {
        let place = match name.as_str() {
            "CODEOWNERS" => name,
            _ if name.starts_with("base/") => name,
            _ => format!("baseline/{name}"),
        };
        write(dir.path(), &place, text);
    }
    let at = |t: &str| t.parse().expect("an instant");
    let used = |since, last_seen: Option<&str>, unseen_runs| RuleUse {
        since: at(since),
        last_seen: last_seen.map(at),
        unseen_runs,
    };
    let state = State {
        last_run: Some("20261124T060000Z-0001".to_owned()),
        rules: [
            ("old-sftp", used("2026-01-01T00:00:00Z", Some("2026-08-01T00:00:00Z"), 40)),
            ("never-seen", used("2026-11-01T00:00:00Z", None, 12)),
            ("live-sftp", used("2026-01-01T00:00:00Z", Some("2026-11-23T00:00:00Z"), 0)),
        ]
        .map(|(id, u)| (id.to_owned(), u))
        .into(),
        ..State::default()
    };
    // In the form that a single file once had, which is still read.
    let text = serde_json::to_string(&state).expect("JSON");
    write(dir.path(), "state/state.json", &text);
    dir
}

const ALL: &[&str] = &["-c", "patrol.toml", "--state", "state", "--now", NOW];

/// With everything that the example can be held against.
fn check_all(dir: &TempDir, more: &[&str]) -> Ran {
    let base: &[&str] = if dir.path().join("base").exists() { &["--base", "base"] } else { &[] };
    check(dir.path(), &[ALL, base, more].concat())
}

/// As many rules as the example of `not-compared` stands for.
fn tangle() -> String {
    let mut text = "version = 1\nowner = \"@corp/hosting\"\n".to_owned();
    for i in 0..6000 {
        let (a, b) = (i / 256, i % 256);
        let _ = writeln!(
            text,
            "[[allow]]\nid = \"r{i}\"\nhosts = [\"10.0.{a}.{b}-10.9.{a}.{b}\"]\nports = [\"tcp/{}\"]\nreason = \"Server number {i} of many\"",
            1024 + i
        );
    }
    text
}

#[test]
fn the_program_reports_every_rule_and_is_silent_about_what_is_fixed() {
    let mut output = String::new();
    for rule in rules::list_lint_rules() {
        let dir = repository(rule.bad, rule.id != "no-codeowners");
        if rule.id == "not-compared" {
            write(dir.path(), "baseline/team.toml", tangle());
        }
        let ran = check_all(&dir, &[]);
        let errors = rule.level() == "error" || rule.id == "not-compared";
        assert_eq!(ran.status, Some(if errors { 2 } else { 0 }), "{}\n{}", rule.id, ran.stdout);
        assert_eq!(ran.stderr, "", "{}", rule.id);
        let head = format!("{}[{}]: ", rule.level(), rule.id);
        assert!(ran.stdout.contains(&head), "{head}{}", ran.stdout);
        let shown = match rule.id {
            "not-compared" => {
                let from = ran.stdout.find(&head).expect("the message");
                ran.stdout[from..].split("\n\n").next().expect("one").to_owned()
            }
            _ => ran.stdout.clone(),
        };
        let _ = writeln!(output, "=== {}\n{shown}\n", rule.id);
        assert_eq!(check_all(&dir, &["--strict"]).status, Some(2), "{}", rule.id);

        let ran = check_all(&repository(rule.good, true), &["--strict"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{}\n{}", rule.id, ran.stdout);
        assert!(ran.stdout.starts_with("nothing to report: "), "{}", ran.stdout);
    }
    insta::assert_snapshot!("every_rule", output);
}

#[test]
fn help_and_pages() {
    let dir = tempfile::tempdir().expect("a folder");
    insta::assert_snapshot!("help", check(dir.path(), &["--help"]).stdout);
    let list = check(dir.path(), &["--explain"]);
    assert_eq!((list.status, list.stderr.as_str()), (Some(0), ""));
    let mut pages = list.stdout;
    for rule in rules::list_lint_rules() {
        assert!(pages.contains(rule.id), "{}", rule.id);
        let page = check(dir.path(), &["--explain", rule.id]);
        assert_eq!(page.status, Some(0));
        let _ = write!(pages, "\n=== \n{}", page.stdout);
    }
    insta::assert_snapshot!("pages", pages);
}

/// Two files with something of everything.
const MIXED: &str = r#"# --- net.toml
[[allow]]
id = "all-https"
hosts = ["192.0.2.0/26"]
ports = ["tcp/443"]
reason = "Load balancers of the network team"
# --- team.toml
[groups]
"日本" = ["192.0.2.64/26", "192.0.2.5/26"]

[[allow]]
id = "shop"
hosts = ["192.0.2.60-192.0.2.70"]
ports = [
    "tcp/443",
    "tcp/22",
]
reason = "100 %, of them: all"
expires = 2026-11-30

[[allow]]
id = "mail"
hosts = ["192.0.2.25"]
ports = ["tcp/25", "udp/53"]
expect = "must"
reason = "todo"
"#;

#[test]
fn every_form_reports_the_same() {
    let dir = repository(MIXED, true);
    for (form, name) in [("text", "mixed_text"), ("github", "mixed_github")] {
        let ran = check_all(&dir, &["--format", form]);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(2), ""), "{form}");
        insta::assert_snapshot!(name, ran.stdout);
    }
    let json = check_all(&dir, &["--format", "json"]);
    insta::assert_snapshot!("mixed_json", json.stdout);
    let list: Vec<Value> = serde_json::from_str(&json.stdout).expect("an array");
    let sarif = check_all(&dir, &["--format", "sarif"]);
    let mut log: Value = serde_json::from_str(&sarif.stdout).expect("an object");
    let results = log["runs"][0]["results"].as_array().expect("results").clone();
    assert_eq!(results.len(), list.len());
    let driver = &mut log["runs"][0]["tool"]["driver"];
    let listed = driver["rules"].as_array().expect("rules").clone();
    assert_eq!(listed.len(), rules::list_lint_rules().count());
    for (result, l) in results.iter().zip(&list) {
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["region"]["startLine"], l["line"]);
        assert_eq!(place["region"]["endColumn"], l["end"]["column"]);
        assert_eq!((&result["ruleId"], &result["level"]), (&l["rule"], &l["level"]));
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("a number")).expect("one");
        assert_eq!(listed[index]["id"], l["rule"]);
    }
    // The pages have a snapshot of their own.
    driver["rules"] = Value::Array(vec![listed[0].clone()]);
    insta::assert_snapshot!("mixed_sarif", serde_json::to_string_pretty(&log).expect("JSON"));
}

#[test]
fn strict_makes_errors_of_warnings_in_every_form() {
    let expired = rules::get("expired").expect("a row");
    let dir = repository(expired.bad, true);
    for (form, warning, error) in [
        ("text", "warning[expired]", "error[expired]"),
        ("json", "\"level\": \"warning\"", "\"level\": \"error\""),
        (
            "sarif",
            "\"level\": \"warning\",\n          \"locations\"",
            "\"level\": \"error\",\n          \"locations\"",
        ),
        ("github", "::warning file", "::error file"),
    ] {
        let lax = check_all(&dir, &["--format", form]);
        assert_eq!(lax.status, Some(0));
        assert!(lax.stdout.contains(warning), "{}", lax.stdout);
        let strict = check_all(&dir, &["--format", form, "--strict"]);
        assert_eq!(strict.status, Some(2));
        assert!(strict.stdout.contains(error) && !strict.stdout.contains(warning), "{form}");
    }
}

#[test]
fn a_clean_baseline_is_reported_clean_in_every_form() {
    let dir = repository(rules::get("expired").expect("a row").good, true);
    let printed = |form| check_all(&dir, &["--format", form]).stdout;
    insta::assert_snapshot!("clean_text", printed("text"));
    assert_eq!((printed("json").as_str(), printed("github").as_str()), ("[]\n", ""));
    let log: Value = serde_json::from_str(&printed("sarif")).expect("JSON");
    assert_eq!(log["runs"][0]["results"], Value::Array(Vec::new()));
}

#[test]
fn hostile_content_is_inert_in_every_form() {
    let evil = "\u{9b}31m\u{202e}\u{7f}";
    let long = "x".repeat(300_000);
    let text = format!(
        "version = 1\nowner = \"@corp/hosting\"\n\"\\u001b]0;{evil}\" = 1\n\n[[allow]]\nid = \"\\u001b[31m{evil}\\n::error::pwned\"\nhosts = [\"\\u001b[2J{evil}\", \"{long}\"]\nports = [\"tcp/\\u001b[0m\", \"{long}\"]\ngroup = \"\\r\\n::warning::{evil}\"\nreason = \"{evil}\"\n\n[[allow_http]]\nid = \"{long}\"\nhosts = [\"192.0.2.1\"]\nchecks = [\"\\u001b[1m{evil}`\", \"{long}\"]\nreason = \"todo\"\n"
    );
    let dir = repository("", true);
    write(dir.path(), "baseline/a\u{9b}\u{202e}b.toml", text);
    write(dir.path(), "CODEOWNERS", "* @\u{1b}[31m\u{202e}x\n");
    for form in ["text", "json", "sarif", "github"] {
        let ran = check_all(&dir, &["--format", form]);
        assert_eq!(ran.status, Some(2), "{}", ran.stderr);
        let bad = ran.stdout.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        });
        assert_eq!(bad, None, "{form}");
        assert!(ran.stdout.len() < 200_000, "{form}: {} bytes", ran.stdout.len());
        if form == "github" {
            for line in ran.stdout.lines() {
                assert!(line.starts_with("::error file="), "{line}");
                assert_eq!(line.matches("::").count(), 2 + line.matches("%0A::").count(), "{line}");
            }
        }
    }
}

#[test]
fn what_cannot_be_asked_is_said_once() {
    // The time of a log line is not for a snapshot.
    let notes = |ran: Ran| -> String {
        let lines = ran.stderr.lines().map(|l| l.split_once("Z ").map_or(l, |(_, rest)| rest));
        lines.map(|l| format!("{}\n", l.trim())).collect()
    };
    let dir = repository(rules::get("outside-scope").expect("a row").bad, true);
    let ran = check(dir.path(), &["--now", NOW]);
    assert_eq!(ran.status, Some(0), "{}", ran.stdout);
    insta::assert_snapshot!("without_configuration", notes(ran));
    assert_eq!(check(dir.path(), &["--now", NOW, "-q"]).stderr, "");

    let dir = repository(rules::get("must-not-scanned").expect("a row").bad, true);
    let names = CONFIG
        .replace("ports =", "targets = [\"mail.example.jp\"]\nports =")
        .replace("22,", "22,25,");
    write(dir.path(), "names.toml", names);
    let ran = check(dir.path(), &["--now", NOW, "-c", "names.toml", "--state", "nowhere"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stdout);
    insta::assert_snapshot!("names_and_no_state", notes(ran));
}

#[test]
fn profiles_are_taken_together() {
    let must = rules::get("must-not-scanned").expect("a row").bad;
    let dir = repository(must, true);
    write(dir.path(), "mail.toml", CONFIG.replace("22,80,443,8000-8999", "25"));
    assert_eq!(check_all(&dir, &[]).status, Some(2));
    assert_eq!(check_all(&dir, &["-c", "mail.toml"]).status, Some(0));
    // It covers the port, and not the address.
    let elsewhere = CONFIG.replace(
        "ports = \"22,80,443,8000-8999\"",
        "targets = [\"192.0.2.64/26\"]\nports = \"25\"",
    );
    write(dir.path(), "mail.toml", elsewhere);
    assert_eq!(check_all(&dir, &["-c", "mail.toml"]).status, Some(2));
}

#[test]
fn a_path_for_every_site_is_warned_of_where_sites_are_known() {
    let example = rules::get("all-sites").expect("a row").bad;
    let dir = repository(example, true);
    let warned = |dir: &TempDir, args: &[&str]| {
        let ran = check(dir.path(), args);
        assert_eq!(ran.status, Some(0), "{}{}", ran.stdout, ran.stderr);
        (ran.stdout.contains("[all-sites]"), ran)
    };
    let (found, ran) = warned(&dir, &["-c", "patrol.toml", "--now", NOW]);
    assert!(found, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("192.0.2.80 has 2: blog.example.jp, shop.example.jp"),
        "{}",
        ran.stdout
    );
    // Without a configuration and a state nobody knows of sites.
    assert!(!warned(&dir, &["--now", NOW]).0);
    // One site, under several ports, schemes and letter cases, is one.
    write(
        dir.path(),
        "vhosts.csv",
        "192.0.2.80,shop.example.jp,80,http\n192.0.2.80,SHOP.example.jp,443,https\n192.0.2.81,other.example.jp\n",
    );
    assert!(!warned(&dir, &["-c", "patrol.toml", "--now", NOW]).0);
    // A list that is not there is said, and nothing else is held up.
    fs::remove_file(dir.path().join("vhosts.csv")).expect("a file");
    let (found, ran) = warned(&dir, &["-c", "patrol.toml", "--now", NOW]);
    assert!(
        !found && ran.stderr.contains("several of its sites are not reported"),
        "{}",
        ran.stderr
    );
    // A rule that has ended opens nothing.
    let text = fs::read_to_string(dir.path().join("baseline/team.toml")).expect("a file");
    write(dir.path(), "vhosts.csv", "192.0.2.80,a.example\n192.0.2.80,b.example\n");
    write(dir.path(), "baseline/team.toml", format!("{text}expires = 2026-11-01\n"));
    assert!(!warned(&dir, &["-c", "patrol.toml", "--now", NOW]).0);
}

#[test]
fn names_are_those_of_the_repository() {
    let dir = repository(rules::get("expired").expect("a row").bad, true);
    let file = |at: &Path, args: &[&str]| {
        let ran = check(at, &[args, &["--format", "json", "--now", NOW]].concat());
        let list: Vec<Value> = serde_json::from_str(&ran.stdout).expect("JSON");
        list.iter().map(|l| l["file"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(file(dir.path(), &[]), ["baseline/team.toml"]);
    assert_eq!(file(&dir.path().join("baseline"), &["."]), ["baseline/team.toml"]);
    let full = dir.path().join("baseline");
    assert_eq!(file(&full, &[full.to_str().expect("UTF-8")]), ["baseline/team.toml"]);
    fs::remove_dir(dir.path().join(".git")).expect("removing");
    assert_eq!(file(&full, &["."]), ["team.toml"]);
    // By the configuration's own folder.
    assert_eq!(file(dir.path(), &["-c", "patrol.toml"]), ["baseline/team.toml"]);
}

#[test]
fn codeowners_are_found_where_github_looks() {
    let ok = rules::get("expired").expect("a row").good;
    for (place, status) in
        [("CODEOWNERS", 2), (".github/CODEOWNERS", 2), ("docs/CODEOWNERS", 2), ("x/CODEOWNERS", 0)]
    {
        let dir = repository(ok, false);
        write(dir.path(), place, "/baseline/ @corp/network\n");
        assert_eq!(check_all(&dir, &[]).status, Some(status), "{place}");
        assert_eq!(check_all(&dir, &["--codeowners", place]).status, Some(2), "{place}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_with_a_remedy() {
    let dir = repository(rules::get("expired").expect("a row").good, true);
    write(dir.path(), "empty/readme.md", "");
    let mut all = String::new();
    for args in [
        &["nowhere"][..],
        &["empty"],
        &["--now", "today"],
        &["--explain", "expired-missing"],
        &["--explain", "\u{1b}[31mnonesuch"],
        &["--base", "nowhere"],
        &["--codeowners", "nowhere"],
        &["-c", "nowhere.toml"],
        &["--checks", "nowhere.toml"],
    ] {
        let ran = check(dir.path(), args);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        let said: Vec<&str> = ran.stderr.lines().filter(|l| !l.contains(" INFO ")).collect();
        assert!(said.iter().any(|l| l.starts_with("help: ")), "{args:?}");
        let _ = writeln!(all, "=== {:?}\n{}", args, said.join("\n"));
    }
    insta::assert_snapshot!("refusals", all);

    write(dir.path(), "baseline/bytes.toml", b"version = 1\nowner = \"\xff\"\n");
    write(dir.path(), "baseline/long.toml", " ".repeat((4 << 20) + 1));
    write(
        dir.path(),
        "baseline/wide.toml",
        "version = 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
    );
    let ran = check_all(&dir, &[]);
    assert_eq!(ran.status, Some(2));
    insta::assert_snapshot!("no_text", ran.stdout);
}
