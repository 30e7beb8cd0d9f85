//! The program itself: what is missing, what is tested, what is sent again, and that no output holds
//! a secret, however much is logged.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mimawari_tests::fake::{CannedReply, Receiver};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;

use super::{KEY, SLACK_PATH, TOKEN, holds_no_secret};

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn mimawari(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let out = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"))
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().copied())
        .args(args)
        .output()
        .expect("the program");
    let text = |b: Vec<u8>| String::from_utf8(b).expect("UTF-8");
    let ran = Ran { status: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr) };
    holds_no_secret(&ran.stdout);
    holds_no_secret(&ran.stderr);
    ran
}

fn folder(tables: &str, scan: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!(
        "version = 1\n[scope]\nallow = [\"127.0.0.1\"]\nauthorised_by = \"TEST-1\"\n[scan]\n{scan}\n[http]\nenabled = false\n{tables}"
    );
    fs::write(dir.path().join("patrol.toml"), text).expect("configuration");
    fs::create_dir(dir.path().join("baseline")).expect("a baseline");
    fs::write(
        dir.path().join("baseline/a.toml"),
        "version = 1\nowner = \"@t/t\"\n[[allow]]\nid = \"x\"\nhosts = [\"127.0.0.1\"]\nports = [\"tcp/9\"]\nreason = \"none\"\n",
    )
    .expect("a rule");
    dir
}

const SLACK: &str = "[[notify]]\nkind = \"slack\"\nname = \"ops\"\nwebhook_env = \"SLACK_URL\"\n";

#[test]
fn what_is_missing_is_reported_before_a_packet_is_sent() {
    let dir = folder(SLACK, "ports = \"1\"\nmethod = \"connect\"");
    for (env, word) in [
        (vec![], "SLACK_URL of the notifier `ops` is not set"),
        (vec![("SLACK_URL", "http://192.0.2.1/not-a-real-slack-secret")], "is not https"),
        (vec![("SLACK_URL", "not-a-real-slack-secret")], "is no URL"),
        (
            vec![("SLACK_URL", "https://u:not-a-real-slack-secret@h.example/")],
            "a user or a password",
        ),
    ] {
        let ran = mimawari(dir.path(), &["patrol"], &env);
        assert_eq!(ran.status, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
        assert!(!dir.path().join("runs").exists(), "a run was begun");
    }
}

#[test]
fn a_test_message_goes_to_each_and_nothing_is_leaked_by_any_log() {
    let receiver = Receiver::start(|r| match r.target.as_str() {
        t if t.starts_with("/api/") && r.method == "POST" => {
            CannedReply::status(201, "{\"number\":1}")
        }
        "/hook" => CannedReply::status(500, &format!("{SLACK_PATH} {TOKEN}")),
        _ => CannedReply::status(200, "ok"),
    })
    .expect("a receiver");
    let at = receiver.address();
    let tables = format!(
        "{SLACK}[[notify]]\nkind = \"github\"\nrepo = \"corp/exposure\"\ntoken_env = \"TOKEN\"\napi_url = \"http://{at}/api\"\n\
         [[notify]]\nkind = \"webhook\"\nurl_env = \"HOOK\"\nsecret_env = \"KEY\"\n\
         [[notify]]\nkind = \"events\"\n[[notify]]\nkind = \"prometheus\"\nfile = \"m.prom\"\n"
    );
    let dir = folder(&tables, "");
    let ran = mimawari(
        dir.path(),
        &["notify", "--test", "--log-format", "json"],
        &[
            ("SLACK_URL", &format!("http://{at}{SLACK_PATH}")),
            ("TOKEN", TOKEN),
            ("HOOK", &format!("http://{at}/hook")),
            ("KEY", KEY),
            ("MIMAWARI_LOG", "trace"),
        ],
    );
    // The webhook's receiver fails, and says back what is secret elsewhere; it may know no such thing.
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(ran.status, Some(2), "{}", ran.stdout);
    assert!(lines.contains(&"slack ops: sent"), "{}", ran.stdout);
    assert!(lines.contains(&"github github: sent"), "{}", ran.stdout);
    assert!(ran.stdout.contains("webhook webhook: NOT sent: the answer was 500"), "{}", ran.stdout);
    assert!(lines.contains(&"prometheus prometheus: not tested: it writes figures alone"));
    let event = lines.iter().find(|l| l.starts_with('{')).expect("an event");
    assert_eq!(serde_json::from_str::<Value>(event).expect("JSON")["event"], "test");
    assert!(!dir.path().join("m.prom").exists());
}

#[test]
fn a_letter_is_sent_once_when_the_receiver_is_back() {
    let receiver = Receiver::start(|_| CannedReply::status(200, "ok")).expect("a receiver");
    let dir = folder(SLACK, "");
    let letter = |doubtful: bool| {
        fs::create_dir_all(dir.path().join("run/undelivered")).expect("a folder");
        let text = format!(
            r#"{{"version":1,"kind":"slack","notifier":"ops","event":"e","at":"2026-08-01T00:00:00Z","why":"x","doubtful":{doubtful},"payload":{{"text":"hello"}}}}"#
        );
        fs::write(dir.path().join("run/undelivered/slack-ops.json"), text).expect("a letter");
    };
    let url = format!("http://{}{SLACK_PATH}", receiver.address());
    let env = [("SLACK_URL", url.as_str())];
    let retry = |more: &[&str]| {
        let args: Vec<&str> = ["notify", "--retry", "run"].iter().chain(more).copied().collect();
        mimawari(dir.path(), &args, &env)
    };
    letter(false);
    let ran = retry(&[]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), "slack-ops.json: sent\n"));
    assert_eq!(receiver.seen()[0].json()["text"], "hello");
    assert_eq!(retry(&[]).stdout, "run: nothing is left to send\n");
    letter(true);
    let ran = retry(&[]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.stdout.contains("it may have arrived"), "{}", ran.stdout);
    assert_eq!(receiver.seen().len(), 1);
    assert_eq!(retry(&["--doubtful"]).status, Some(0));
    assert_eq!(receiver.seen().len(), 2);
}

#[test]
fn certificates_are_verified() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let receiver = Receiver::start_tls(Arc::new(config), |_| CannedReply::status(200, "ok"))
        .expect("a receiver");
    let dir = folder(SLACK, "");
    let url = format!("https://{}{SLACK_PATH}", receiver.address());
    // A stranger's certificate beside it, so that there are roots.
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).expect("another");
    for (pem, status) in [(other.cert.pem(), 2), (made.cert.pem(), 0)] {
        let path = dir.path().join("roots.pem");
        fs::write(&path, pem).expect("roots");
        let roots = path.display().to_string();
        let env = [("SLACK_URL", url.as_str()), ("SSL_CERT_FILE", roots.as_str())];
        let ran = mimawari(dir.path(), &["notify", "--test"], &env);
        assert_eq!(ran.status, Some(status), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout.contains("certificate"), status == 2, "{}", ran.stdout);
    }
    assert_eq!(receiver.seen().len(), 1);
}

#[test]
fn a_patrol_notifies_after_the_state_was_saved_and_its_exit_status_is_its_own() {
    let open = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = open.local_addr().expect("it").port();
    let dir = folder(
        "[[notify]]\nkind = \"events\"\n[[notify]]\nkind = \"prometheus\"\nfile = \"no-such-folder/m.prom\"\n",
        &format!("ports = \"{port}\"\nmethod = \"connect\""),
    );
    // A process that died between its claim and the message.
    let claims = dir.path().join("state/notified/events");
    fs::create_dir_all(&claims).expect("claims");
    fs::write(claims.join("lost-run.claim"), "2026-01-01T00:00:00Z\n").expect("a claim");
    let ran = mimawari(dir.path(), &["patrol", "--out", "run"], &[]);
    assert_eq!(ran.status, Some(1), "drift, whatever became of the notifiers: {}", ran.stderr);
    // Stdout is for the events alone.
    let events: Vec<Value> = ran
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect();
    assert_eq!(events.last().expect("the run's event")["event"], "run");
    assert!(ran.stderr.contains("lost-run"), "{}", ran.stderr);
    assert!(dir.path().join("run/undelivered/prometheus-prometheus.json").exists());
    assert!(fs::read_dir(dir.path().join("state")).expect("it").count() > 1, "the state is saved");
    let ran = mimawari(dir.path(), &["patrol", "--out", "run2"], &[]);
    assert!(!ran.stderr.contains("lost-run"), "notified once: {}", ran.stderr);
}

#[test]
fn the_rules_for_wazuh_are_well_formed_and_in_the_range_for_users() {
    use quick_xml::events::Event;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/wazuh/mimawari_rules.xml");
    let text = fs::read_to_string(path).expect("the rules");
    let mut reader = quick_xml::Reader::from_str(&text);
    let (mut ids, mut depth) = (Vec::new(), 0);
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(e) => {
                depth += 1;
                if e.name().as_ref() == "rule" {
                    let attribute = e.try_get_attribute("id").expect("attributes").expect("an id");
                    let id = attribute.value.to_string();
                    ids.push(id.parse::<u32>().expect("a number"));
                }
            }
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    assert!(ids.len() > 8, "{ids:?}");
    assert!(ids.iter().all(|id| (100_000..=120_000).contains(id)), "{ids:?}");
    let mut unique = ids.clone();
    unique.dedup();
    assert_eq!(ids, unique);
    // Each rule builds on one that stands above it.
    for parent in text.split("<if_sid>").skip(1) {
        let parent: u32 = parent.split('<').next().expect("an id").parse().expect("a number");
        assert!(ids.contains(&parent), "{parent}");
    }
}
