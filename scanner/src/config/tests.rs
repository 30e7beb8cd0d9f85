use std::sync::Arc;

use super::*;

const BASE: &str = r#"version = 1
[scope]
allow = ["198.51.100.0/24", "2001:db8:10::/120"]
deny = ["198.51.100.1"]
authorised_by = "SEC-1042"
"#;

fn errors(text: &str) -> String {
    format!("{:#}", Config::parse("patrol.toml", text, Path::new(".")).unwrap_err())
}

#[test]
fn the_example_of_the_contract_is_read() {
    let text = r#"
version = 1

[scope]
allow = ["198.51.100.0/24", "2001:db8:10::/120"]
deny  = ["198.51.100.1"]
authorised_by = "SEC-1042"

[scan]
targets   = ["198.51.100.0/24"]
ports     = "22,80,443,8000-8100"
rate      = 20000
recall    = 0.9999
method    = "auto"
interface = "auto"
canaries  = ["198.51.100.10:443"]

[http]
ports  = "open"
tier   = 1
vhosts = "vhosts.csv"

[baseline]
dir = "baseline"

[state]
url = "state"

[[notify]]
kind = "slack"
webhook_env = "SLACK_WEBHOOK_URL"
"#;
    let c = Config::parse("patrol.toml", text, Path::new("/etc/mimawari")).unwrap();
    assert_eq!(c.scan.ports.len(), 104);
    assert_eq!(c.scope.permitted().len(), 255 + 256);
    assert_eq!(c.scan.interface, None);
    assert_eq!(&*c.baseline_dir, Path::new("/etc/mimawari/baseline"));
    assert_eq!(c.http.vhosts.as_deref(), Some(Path::new("/etc/mimawari/vhosts.csv")));
    assert!(!c.http.dns, "a million names are two million questions");
    assert_eq!((c.notify.len(), c.notify[0].kind.word), (1, "slack"));
}

#[test]
fn virtual_hosts_may_come_from_stdin_and_be_looked_up() {
    let text = format!("{BASE}[http]\nvhosts = \"-\"\ndns = true\n");
    let c = Config::parse("patrol.toml", &text, Path::new("/etc/mimawari")).unwrap();
    assert_eq!(c.http.vhosts.as_deref(), Some(Path::new("-")));
    assert!(c.http.dns);
}

#[test]
fn an_unknown_key_points_at_its_line() {
    insta::assert_snapshot!(errors(&format!("{BASE}[scan]\nrates = 5\n")));
}

#[test]
fn a_missing_scope_is_refused() {
    insta::assert_snapshot!(errors("version = 1\n"));
}

#[test]
fn a_scope_without_a_word_is_refused() {
    insta::assert_snapshot!(errors("version = 1\n[scope]\nallow = [\"198.51.100.0/24\"]\n"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    insta::assert_snapshot!(errors(
        r#"version = 2
[scope]
allow = ["198.51.100.7/24", "192.0.2.9-192.0.2.1"]
authorised_by = " "
[scan]
ports = "80,80-90"
rate = 0
recall = 1.5
canaries = ["203.0.113.1"]
[http]
tier = 4
"#
    ));
}

#[test]
fn targets_and_canaries_outside_the_scope_are_refused() {
    insta::assert_snapshot!(errors(&format!(
        "{BASE}[scan]\ntargets = [\"198.51.100.0/25\", \"203.0.113.0/24\"]\ncanaries = [\"198.51.100.1:443\"]\n"
    )));
}

#[test]
fn overlapping_ranges_are_refused() {
    insta::assert_snapshot!(errors(
        "version = 1\n[scope]\nallow = [\"198.51.100.0/24\", \"198.51.100.128/25\"]\nauthorised_by = \"x\"\n"
    ));
}

/// As a configuration that was fetched from S3.
fn fetched(more: &str) -> Result<Config> {
    let source = TextSource::new("s3://bucket/config/patrol.toml", format!("{BASE}{more}"));
    let folder = SourcePath::from_copy(
        "/work/config-1".into(),
        "s3://bucket/config".to_owned(),
        Arc::new(()),
    );
    Config::parse_and_check(&source, &folder, true)
}

#[test]
fn what_a_fetched_configuration_writes_does_not_lie_in_the_copy() {
    let state = "[state]\nurl = \"s3://bucket/state\"\n";
    let config = fetched(&format!("{state}[output]\ndir = \"/var/runs\"\n")).unwrap();
    assert_eq!(config.runs_dir, Path::new("/var/runs"));
    assert_eq!(&*config.baseline_dir, Path::new("/work/config-1/baseline"));
    // What is read from the copy is named as the object.
    let error = mimawari_store::baseline::read_baseline(&config.baseline_dir).unwrap_err();
    let message = mimawari_base::failure::render(&error);
    assert!(message.contains("the baseline s3://bucket/config/baseline"), "{message}");
    assert!(!message.contains("config-1"), "{message}");
    assert!(!fetched(state).unwrap().runs_dir.starts_with("/work/config-1"));
    let absolute = fetched("[state]\nurl = \"/var/state\"\n").unwrap();
    assert_eq!(absolute.state, StoreLocation::Folder("/var/state".into()));
    for (more, line) in [
        ("", ": `state` is relative"),
        ("[state]\nurl = \"here\"\n", ":7"),
        ("[state]\nurl = \"/s\"\n[output]\ndir = \"runs\"\n", ":9"),
        ("[state]\nurl = \"/s\"\n[[notify]]\nkind = \"prometheus\"\nfile = \"m.prom\"\n", ":10"),
    ] {
        let message = format!("{:#}", fetched(more).unwrap_err());
        assert!(message.contains("would be lost"), "{message}");
        assert!(message.contains("s3://bucket/config/patrol.toml"), "{message}");
        assert!(message.contains(line) && !message.contains("config-1"), "{message}");
        // The same beside a file is what it always was.
        assert!(Config::parse("patrol.toml", &format!("{BASE}{more}"), Path::new(".")).is_ok());
    }
}

#[test]
fn rounds_are_read_and_their_errors_reported() {
    let c = Config::parse("patrol.toml", BASE, Path::new("/etc/mimawari")).unwrap();
    assert_eq!(c.rounds, None);
    let text = format!("{BASE}[rounds]\nurl = \"s3://corp/rounds\"\nregion = \"eu-central-1\"\n");
    let c = Config::parse("patrol.toml", &text, Path::new("/etc/mimawari")).unwrap();
    let rounds = c.rounds.unwrap();
    assert_eq!((rounds.url.to_string().as_str(), rounds.shards), ("s3://corp/rounds", 1));
    assert_eq!(rounds.save_every.as_secs(), 60);
    insta::assert_snapshot!(errors(&format!(
        "{BASE}[rounds]\nurl = \"gs://x/y\"\nshards = 20000\nsave_every = \"soon\"\n"
    )));
}

#[test]
fn deny_lists_come_from_files_and_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let list = "# opted out\n198.51.100.9\n198.51.100.8/31\n";
    std::fs::write(folder.path().join("optout.txt"), list).unwrap();
    let text = |deny: &str| {
        format!(
            "version = 1\n[scope]\nallow = [\"198.51.100.0/24\"]\ndeny = [{deny}]\nauthorised_by = \"x\"\n"
        )
    };
    let read = |deny: &str| {
        let source = TextSource::new("patrol.toml", text(deny));
        Config::parse_and_check(&source, &SourcePath::from(folder.path()), false)
    };
    let config = read("\"198.51.100.1\", \"@optout.txt\", \"198.51.100.8\"").unwrap();
    for (ip, allowed) in [(1, false), (8, false), (9, false), (10, true)] {
        assert_eq!(config.scope.allows([198, 51, 100, ip].into()), allowed, "{ip}");
    }
    assert!(config.warnings[0].contains("merged"), "{:?}", config.warnings);
    // A list that cannot be read is no empty list.
    assert!(format!("{:#}", read("\"@missing.txt\"").unwrap_err()).contains("missing.txt"));
    std::fs::write(folder.path().join("name.txt"), "www.example.jp\n").unwrap();
    assert!(format!("{:#}", read("\"@name.txt\"").unwrap_err()).contains("is a name"));
}

#[test]
fn sources_are_one_of_each_family() {
    let source = |list: &str| {
        Config::parse_and_check(
            &TextSource::new("patrol.toml", format!("{BASE}[scan]\nsource = [{list}]\n")),
            &SourcePath::from(Path::new(".")),
            false,
        )
    };
    let both = source("\"192.0.2.7\", \"2001:db8::7\"").unwrap();
    assert_eq!(both.scan.sources.len(), 2);
    for wrong in ["\"192.0.2.7\", \"192.0.2.8\"", "\"0.0.0.0\"", "\"eth0\""] {
        assert!(source(wrong).is_err(), "{wrong}");
    }
}
