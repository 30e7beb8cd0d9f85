//! AWS Security Hub: signed calls to a receiver that checks the signature, and to moto's server.
//!
//! `.ci/python/install` installs moto; its part is left out and counted as ignored unless
//! `MIMAWARI_LAB=full`, and fails where it cannot be had.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use mimawari_tests::fake::{CannedReply, Received, Receiver};
use mimawari_tests::suite::Selection;
use ring::{digest, hmac};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_mimawari-under-test");
/// As in the documentation of AWS, and no key of anybody.
const KEY_ID: &str = "AKIDEXAMPLE";
const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let full = selection.mode.is_full();
    let trial = |name: &str, case: fn(), ready: bool| {
        Trial::test(format!("security_hub::{name}"), move || {
            case();
            Ok(())
        })
        .with_ignored_flag(!ready)
    };
    vec![
        trial("calls_are_signed_and_refusals_are_kept", signed, true),
        trial("a_variable_may_name_a_secret_of_secrets_manager", secrets, full),
        trial("moto_takes_what_is_sent_and_keeps_one_finding_by_its_id", moto, full),
    ]
}

fn folder(endpoint: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!(
        "version = 1\n[scope]\nallow = [\"198.51.100.0/24\"]\nauthorised_by = \"T\"\n[[notify]]\nkind = \"security-hub\"\n\
         account = \"123456789012\"\nregion = \"ap-northeast-1\"\nendpoint = \"{endpoint}\"\n"
    );
    fs::write(dir.path().join("patrol.toml"), text).expect("configuration");
    dir
}

fn mimawari(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    mimawari_with(dir, args, &[])
}

fn mimawari_with(dir: &Path, args: &[&str], more: &[(&str, &str)]) -> (Option<i32>, String) {
    let out = Command::new(BINARY)
        .current_dir(dir)
        .env_clear()
        // The chain ends at the environment and asks nobody else.
        .envs([("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", KEY)])
        .envs([("AWS_SESSION_TOKEN", "not-a-real-session-token"), ("MIMAWARI_LOG", "trace")])
        .envs(more.iter().copied())
        .args(args)
        .output()
        .expect("the program");
    let stderr = String::from_utf8_lossy(&out.stderr);
    let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
    for secret in [KEY, "not-a-real-session-token"] {
        assert!(!stderr.contains(secret) && !stdout.contains(secret), "{stderr}{stdout}");
    }
    (out.status.code(), format!("{stdout}{}", if out.status.success() { "" } else { &stderr }))
}

/// A letter with these findings, as a run would have left it.
fn letter(dir: &Path, batches: &Value) {
    let letter = json!({"version": 1, "kind": "security-hub", "notifier": "security-hub", "event": "e",
        "at": "2026-08-01T00:00:00Z", "why": "x", "doubtful": false, "payload": batches});
    fs::create_dir_all(dir.join("run/undelivered")).expect("a folder");
    fs::write(dir.join("run/undelivered/security-hub-security-hub.json"), letter.to_string())
        .expect("a letter");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Signature Version 4 over what came, from its documentation
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>).
fn signature_holds(r: &Received) -> bool {
    let auth = r.header("authorization");
    let field = |name: &str| {
        let rest = auth.split_once(&format!("{name}="))?.1;
        Some(rest.split(',').next()?.trim().to_owned())
    };
    let (Some(credential), Some(names), Some(signature)) =
        (field("Credential"), field("SignedHeaders"), field("Signature"))
    else {
        return false;
    };
    let scope = "/ap-northeast-1/securityhub/aws4_request";
    let date = r.header("x-amz-date");
    let day = &date[..8];
    let must = ["host", "x-amz-date", "x-amz-security-token"];
    if credential != format!("{KEY_ID}/{day}{scope}")
        || !must.iter().all(|m| names.split(';').any(|n| n == *m))
    {
        return false;
    }
    let headers: String = names.split(';').map(|n| format!("{n}:{}\n", r.header(n))).collect();
    let sha = |b: &[u8]| hex(digest::digest(&digest::SHA256, b).as_ref());
    let canonical = format!("{}\n{}\n\n{headers}\n{names}\n{}", r.method, r.target, sha(&r.body));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{day}{scope}\n{}", sha(canonical.as_bytes()));
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let mut key = mac(format!("AWS4{KEY}").as_bytes(), day);
    for part in ["ap-northeast-1", "securityhub", "aws4_request"] {
        key = mac(&key, part);
    }
    hex(&mac(&key, &to_sign)) == signature
}

fn finding(n: u32) -> Value {
    json!({"SchemaVersion": "2018-10-08", "Id": format!("ap-northeast-1/123456789012/mimawari/{n}"),
        "ProductArn": "arn:aws:securityhub:ap-northeast-1:123456789012:product/123456789012/default",
        "GeneratorId": "mimawari/unexpected-open", "AwsAccountId": "123456789012",
        "Types": ["Software and Configuration Checks"], "CreatedAt": "2026-07-20T01:00:00Z",
        "UpdatedAt": "2026-08-01T01:00:00Z", "Severity": {"Label": "HIGH"}, "Title": "t",
        "Description": "d", "Resources": [{"Type": "Other", "Id": "198.51.100.1:22"}],
        "RecordState": "ACTIVE"})
}

fn signed() {
    let receiver = Receiver::start(|r| {
        if r.method != "POST" || r.target != "/findings/import" || !signature_holds(r) {
            return CannedReply::status(403, "{\"Message\":\"signature\"}");
        }
        let body = r.json();
        let findings = body["Findings"].as_array().cloned().unwrap_or_default();
        if findings.is_empty() || findings.len() > 100 {
            return CannedReply::status(400, "{\"Code\":\"InvalidInput\"}");
        }
        let failed: Vec<Value> = findings
            .iter()
            .filter(|f| f["Id"].as_str().is_some_and(|i| i.ends_with("/13")))
            .map(|f| json!({"Id": f["Id"], "ErrorCode": "InvalidInput", "ErrorMessage": "no such thing\u{1b}[2J"}))
            .collect();
        let answer = json!({"FailedCount": failed.len(), "SuccessCount": findings.len() - failed.len(),
            "FailedFindings": failed});
        CannedReply::status(200, &answer.to_string())
    })
    .expect("a receiver");
    let dir = folder(&format!("http://{}", receiver.address()));
    let (status, text) = mimawari(dir.path(), &["notify", "--test"]);
    assert_eq!((status, text.as_str()), (Some(0), "security-hub security-hub: sent\n"), "{text}");
    assert_eq!(receiver.seen()[0].json()["Findings"][0]["RecordState"], "ARCHIVED");
    // One of twenty is refused: it is reported, and it alone is kept.
    let batches: Vec<Value> = (0..2)
        .map(|b| json!({"Findings": (b * 10..b * 10 + 10).map(finding).collect::<Vec<_>>()}))
        .collect();
    letter(dir.path(), &batches.into());
    let (status, text) = mimawari(dir.path(), &["notify", "--retry", "run"]);
    assert_eq!(status, Some(2));
    assert!(text.contains("1 findings were refused: InvalidInput no such thing"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let path = dir.path().join("run/undelivered/security-hub-security-hub.json");
    let left: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("a letter")).expect("JSON");
    let ids = left["payload"].to_string().matches("mimawari/13\"").count();
    assert_eq!((ids, left["payload"][0]["Findings"].as_array().expect("findings").len()), (1, 1));
}

/// A server of moto; its process ends with it.
struct Moto {
    child: Child,
    port: u16,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    fn start() -> Self {
        let bin = mimawari_tests::moto::program();
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("it").port()
        };
        let child = Command::new(bin)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server; run .ci/python/install");
        let moto = Self { child, port };
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "moto does not listen");
            std::thread::sleep(Duration::from_millis(100));
        }
        moto
    }

    /// A request of the REST API of Security Hub.
    fn ask(&self, path: &str, body: &Value) -> Value {
        self.call("securityhub", path, "", body)
    }

    fn call(&self, service: &str, path: &str, target: &str, body: &Value) -> Value {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port))
            .expect("moto_server; run .ci/python/install");
        let body = body.to_string();
        let auth = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260801/ap-northeast-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: {service}.ap-northeast-1.amazonaws.com\r\nx-amz-target: {target}\r\nauthorization: {auth}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        serde_json::from_str(body).unwrap_or_default()
    }
}

/// The URL of a webhook stands in Secrets Manager, whole or as one text of a JSON object.
fn secrets() {
    let moto = Moto::start();
    let receiver = Receiver::start(|_| CannedReply::status(200, "ok")).expect("a receiver");
    let url = format!("http://{}/services/TFAKE/BFAKE/not-a-real-slack-secret", receiver.address());
    let store = |name: &str, text: &str| {
        let made = moto.call(
            "secretsmanager",
            "/",
            "secretsmanager.CreateSecret",
            &json!({"Name": name, "SecretString": text}),
        );
        made["ARN"].as_str().expect("an ARN").to_owned()
    };
    let whole = store("mimawari/slack", &url);
    let part = store("mimawari/all", &json!({"slack": url, "other": 1}).to_string());
    let dir = tempfile::tempdir().expect("a folder");
    let text = "version = 1\n[scope]\nallow = [\"198.51.100.0/24\"]\nauthorised_by = \"T\"\n[[notify]]\nkind = \"slack\"\nwebhook_env = \"HOOK\"\n";
    fs::write(dir.path().join("patrol.toml"), text).expect("configuration");
    let endpoint = format!("http://127.0.0.1:{}", moto.port);
    let test = |value: &str| {
        let more = [("HOOK", value), ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.as_str())];
        let (status, text) = mimawari_with(dir.path(), &["notify", "--test"], &more);
        assert!(!text.contains("not-a-real-slack-secret"), "{text}");
        (status, text)
    };
    for value in [whole.clone(), format!("{part}:slack::")] {
        let (status, text) = test(&value);
        assert_eq!((status, text.as_str()), (Some(0), "slack slack: sent\n"), "{value}");
    }
    assert_eq!(receiver.seen().len(), 2);
    assert!(receiver.seen().iter().all(|r| r.target.ends_with("not-a-real-slack-secret")));
    for (value, why) in [
        (format!("{part}:nothing::"), "the secret has no text of that JSON key"),
        (format!("{part}:other::"), "the secret has no text of that JSON key"),
        (format!("{whole}:slack::"), "a JSON key is named, and the secret is not JSON"),
        (whole.replace("mimawari/slack", "mimawari/none"), "ResourceNotFoundException"),
    ] {
        let (status, text) = test(&value);
        assert_eq!(status, Some(2), "{value}: {text}");
        assert!(text.contains("the environment variable HOOK names cannot be had"), "{text}");
        assert!(text.contains(why), "{why}: {text}");
    }
    assert_eq!(receiver.seen().len(), 2, "nothing is sent by half");
}

fn moto() {
    let moto = Moto::start();
    moto.ask("/accounts", &json!({"EnableDefaultStandards": false}));
    let dir = folder(&format!("http://127.0.0.1:{}", moto.port));
    for round in 0..2 {
        let mut batches: Vec<Value> = (0..2)
            .map(|b| json!({"Findings": (b * 100..b * 100 + 100).map(finding).collect::<Vec<_>>()}))
            .collect();
        batches[0]["Findings"][0]["RecordState"] = json!(["ACTIVE", "ARCHIVED"][round]);
        batches[0]["Findings"][0]["UpdatedAt"] = json!(format!("2026-08-0{}T01:00:00Z", round + 2));
        letter(dir.path(), &batches.into());
        let (status, text) = mimawari(dir.path(), &["notify", "--retry", "run"]);
        assert_eq!(status, Some(0), "{text}");
    }
    let mut all: Vec<Value> = Vec::new();
    let mut ask = json!({"MaxResults": 100});
    loop {
        let page = moto.ask("/findings", &ask);
        all.extend(page["Findings"].as_array().expect("findings").iter().cloned());
        match page["NextToken"].as_str() {
            Some(token) => ask["NextToken"] = token.into(),
            None => break,
        }
    }
    assert_eq!(all.len(), 200, "an id is one finding, however often it is sent");
    let first = all.iter().find(|f| f["Id"].as_str().is_some_and(|i| i.ends_with("mimawari/0")));
    assert_eq!(first.expect("the first")["RecordState"], "ARCHIVED");
}
