//! State and baseline on S3, against moto's server on loopback, in a namespace with no way out.
//!
//! Needs moto's server, which `.ci/python/install` installs. Left out and counted as ignored
//! unless `MIMAWARI_LAB=full`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;

use libtest_mimic::Trial;
use mimawari_tests::moto::Moto;
use mimawari_tests::suite::Selection;
use serde_json::Value;

#[path = "aws/config.rs"]
mod config;
#[path = "state/desk.rs"]
#[allow(dead_code, reason = "the suite `state` uses the rest")]
mod desk;

use desk::{Desk, RUNS, address, read_output};

/// A case and its name.
type Case = (&'static str, fn(&Moto, &str));

const CASES: &[Case] = &[
    ("aws::two_at_once_lose_nothing", two_at_once),
    ("aws::eight_at_once_lose_nothing", eight_at_once),
    ("aws::a_look_does_not_list_all_generations", short_lists),
    ("aws::a_generation_that_is_gone_is_an_error_and_a_rollback_leads_on", gone),
    ("aws::the_baseline_is_published_read_and_never_moved_back_unasked", published),
    ("aws::publications_at_once_take_their_turns", publications_at_once),
    ("aws::a_lost_answer_is_no_conflict_with_oneself", lost_answer),
    ("aws::failures_are_reported_without_secrets", no_secret),
];

/// Visibly no secret, and searched for in everything that is printed.
const SECRET: &str = "not-a-secret-key-0123456789";
const TOKEN: &str = "not-a-secret-token-0123456789";

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let full = selection.mode.is_full();
    let cases = || CASES.iter().chain(config::CASES);
    let needed = full && cases().any(|(name, _)| selection.runs(name));
    let moto = needed.then(|| Arc::new(Moto::start()));
    let trial = |(name, case): &Case| {
        let (case, moto) = (*case, moto.clone());
        let bucket = name.trim_start_matches("aws::").replace('_', "-");
        let run = move || {
            let moto = moto.ok_or("there is no server")?;
            moto.make(&bucket[..bucket.len().min(60)]);
            case(&moto, &bucket[..bucket.len().min(60)]);
            Ok(())
        };
        Trial::test(*name, run).with_ignored_flag(!full)
    };
    cases().map(trial).collect()
}

/// What this suite asks of moto.
trait Places {
    /// A folder whose state is in the bucket.
    fn desk(&self, bucket: &str) -> Desk;
    /// The addresses that a generation in the bucket knows.
    fn known(&self, bucket: &str, number: usize) -> Vec<String>;
}

impl Places for Moto {
    fn desk(&self, bucket: &str) -> Desk {
        let mut desk = Desk::new();
        let s3 = format!(
            "url = \"s3://{bucket}/team/state\"\nregion = \"us-east-1\"\nendpoint = \"http://{}\"\n",
            self.at
        );
        let config = desk.read("patrol.toml");
        desk.write("patrol.toml", &config.replace("url = \"state\"\n", &s3));
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "AKIDNOTASECRET"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", TOKEN),
        ] {
            desk.env.push((name.to_owned(), value.to_owned()));
        }
        desk
    }

    fn known(&self, bucket: &str, number: usize) -> Vec<String> {
        let text = self.object(bucket, &format!("team/state/generations/{number:014}.json"));
        let state: Value =
            serde_json::from_str(text.lines().nth(1).expect("a state")).expect("JSON");
        let findings = state["findings"].as_object().expect("findings").values();
        let ip = |f: &Value| f["finding"]["ip"].as_str().expect("an address").to_owned();
        let mut ips: Vec<String> = findings.map(ip).collect();
        ips.sort();
        ips
    }
}

/// Judges these runs at once; how many of them met another one.
fn at_once(desk: &Desk, runs: &[usize]) -> usize {
    let all: Vec<Child> = runs.iter().map(|n| desk.judge(*n)).collect();
    let mut conflicts = 0;
    for child in all {
        let (status, _, err) = read_output(child.wait_with_output().expect("its output"));
        assert_eq!(status, Some(1), "{err}");
        conflicts += usize::from(err.contains("another run saved the state first"));
    }
    conflicts
}

fn two_at_once(moto: &Moto, bucket: &str) {
    desk::runs();
    let mut conflicts = 0;
    for round in 0..20 {
        let bucket = format!("{bucket}-{round}");
        moto.make(&bucket);
        let desk = moto.desk(&bucket);
        let pair = [round % RUNS, (round + 1) % RUNS];
        conflicts += at_once(&desk, &pair);
        let mut expected = pair.map(address);
        expected.sort();
        assert_eq!(moto.known(&bucket, 2), expected);
        assert_eq!(desk.shown()["generation"], 2);
    }
    assert!(conflicts > 0, "no two of them ever met, so that this proves nothing");
}

fn eight_at_once(moto: &Moto, bucket: &str) {
    desk::runs();
    let desk = moto.desk(bucket);
    at_once(&desk, &[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(moto.known(bucket, RUNS), [0, 1, 2, 3, 4, 5, 6, 7].map(address));
    let (status, out, err) = desk.run(&["state", "history"]);
    assert_eq!((status, out.lines().count()), (Some(0), RUNS), "{out}{err}");
}

fn short_lists(moto: &Moto, bucket: &str) {
    desk::runs();
    let desk = moto.desk(bucket);
    for n in 0..6 {
        assert_eq!(desk.judge(n).wait().expect("its end").code(), Some(1));
    }
    let before = moto.requests(bucket).len();
    desk.shown();
    // The line of a request is written after its answer: ask once more, so that all are there.
    moto.object(bucket, "team/state/latest");
    let requests = moto.requests(bucket).split_off(before);
    let lists: Vec<&String> = requests.iter().filter(|l| l.contains("list-type=2")).collect();
    assert_eq!(lists.len(), 1, "{requests:#?}");
    assert!(
        lists[0].contains("start-after") && lists[0].contains("00000000000005.json"),
        "{lists:?}"
    );
    assert!(requests.len() <= 5, "{requests:#?}");
}

fn gone(moto: &Moto, bucket: &str) {
    desk::runs();
    let desk = moto.desk(bucket);
    for n in 0..3 {
        assert_eq!(desk.judge(n).wait().expect("its end").code(), Some(1));
    }
    moto.ask("DELETE", &format!("/{bucket}/team/state/generations/00000000000003.json"));
    let (status, _, err) = desk.run(&["state", "show"]);
    assert_eq!(status, Some(2), "{err}");
    insta::assert_snapshot!("aws_gone", err.replace(bucket, "BUCKET"));
    let (status, _, err) = desk.run(&["state", "rollback", "--to", "2"]);
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(desk.judge(4).wait().expect("its end").code(), Some(1));
    assert_eq!(moto.known(bucket, 5), [address(0), address(1), address(4)]);
}

/// `baseline publish` of a folder to the bucket.
fn publish(moto: &Moto, bucket: &str, dir: &str) -> Vec<String> {
    let endpoint = format!("http://{}", moto.at);
    let to = format!("s3://{bucket}/baseline");
    ["baseline", "publish", "--to", &to, "--region", "us-east-1", "--endpoint", &endpoint, dir]
        .map(str::to_owned)
        .to_vec()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn published(moto: &Moto, bucket: &str) {
    desk::runs();
    let mut desk = moto.desk(bucket);
    desk.env.push(("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()));
    let git = |args: &[&str], day: u32| {
        let time = format!("2026-11-{day:02}T00:00:00Z");
        let out = Command::new("git")
            .current_dir(desk.dir.path())
            .env("GIT_AUTHOR_DATE", &time)
            .env("GIT_COMMITTER_DATE", &time)
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.invalid"])
            .args(args)
            .output()
            .expect("git");
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    git(&["init", "-q", "-b", "main"], 1);
    git(&["add", "baseline"], 1);
    git(&["commit", "-q", "-m", "one"], 1);
    let args = publish(moto, bucket, "baseline");
    let (status, out, err) = desk.run(&strs(&args));
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with("published publication 1"), "{out}");
    let text = desk.read("baseline/b.toml");
    let rule = "[[allow]]\nid = \"r\"\nhosts = [\"127.83.7.0/24\"]\nports = [\"tcp/1-65535\"]\nreason = \"A lab\"\n";
    desk.write("baseline/b.toml", &format!("{text}{rule}"));
    git(&["commit", "-q", "-a", "-m", "two"], 2);
    let (status, out, err) = desk.run(&strs(&args));
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with("published publication 2"), "{out}");
    let config = desk.read("patrol.toml");
    let url = format!(
        "[baseline]\nurl = \"s3://{bucket}/baseline\"\nregion = \"us-east-1\"\nendpoint = \"http://{}\"\n",
        moto.at
    );
    desk.write("patrol.toml", &format!("{config}{url}"));
    let run = desk::runs().join("0").display().to_string();
    let judge = ["judge", "--run", &run, "--out", "v.json"];
    let (status, out, err) = desk.run(&judge);
    assert_eq!(status, Some(0), "{out}{err}");
    git(&["checkout", "-q", "HEAD~1"], 3);
    let (status, out, err) = desk.run(&strs(&args));
    assert_eq!((status, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("is an ancestor of it"), "{err}");
    assert_eq!(desk.run(&judge).0, Some(0), "the pointer moved");
    let forced = [strs(&args), vec!["--force-back"]].concat();
    let (status, out, err) = desk.run(&forced);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with("went back: publication 3"), "{out}");
    assert_eq!(desk.run(&judge).0, Some(1));
    let pointer: Value =
        serde_json::from_str(&moto.object(bucket, "baseline/current.json")).expect("JSON");
    let verdict: Value = serde_json::from_str(&desk.read("v.json")).expect("JSON");
    assert_eq!(pointer["digest"], verdict["baseline_digest"]);
    // What somebody put in its place is not judged by.
    let digest = pointer["digest"].as_str().expect("a digest");
    moto.ask("PUT", &format!("/{bucket}/baseline/baselines/{digest}.json"));
    let (status, _, err) = desk.run(&judge);
    assert_eq!(status, Some(2));
    assert!(err.contains("is not what its digest says\nhelp: "), "{err}");
}

fn publications_at_once(moto: &Moto, bucket: &str) {
    let desk = moto.desk(bucket);
    let mut all = Vec::new();
    for n in 0..6 {
        let dir = format!("b{n}/baseline");
        desk.write(&format!("{dir}/b.toml"), &format!("version = 1\nowner = \"@t/{n}\"\n"));
        all.push(desk.start(&strs(&publish(moto, bucket, &dir))));
    }
    for child in all {
        let (status, _, err) = read_output(child.wait_with_output().expect("its output"));
        assert_eq!(status, Some(0), "{err}");
    }
    let pointer: Value =
        serde_json::from_str(&moto.object(bucket, "baseline/current.json")).expect("JSON");
    assert_eq!(pointer["sequence"], 6);
}

/// Passes requests on to moto, one a connection, and keeps the answer to the first that makes a
/// generation.
fn losing(moto: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut lost = false;
        for mut client in listener.incoming().flatten() {
            // The signed Host is this one's; moto checks no signature.
            let (mut request, mut part) = (Vec::new(), [0; 65536]);
            let whole = loop {
                let n = client.read(&mut part).unwrap_or(0);
                request.extend_from_slice(&part[..n]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let length = text
                    .to_ascii_lowercase()
                    .lines()
                    .find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
                match body {
                    Some(body) if body >= length.unwrap_or(0) => break text,
                    _ if n == 0 => break text,
                    _ => {}
                }
            };
            let mut server = TcpStream::connect(moto).expect("moto");
            let closing = whole.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            server.write_all(closing.as_bytes()).expect("a request");
            let mut answer = Vec::new();
            let _ = server.read_to_end(&mut answer);
            if !lost && whole.starts_with("PUT ") && whole.contains("/generations/") {
                lost = true;
                continue;
            }
            let _ = client.write_all(&answer);
        }
    });
    at
}

fn lost_answer(moto: &Moto, bucket: &str) {
    desk::runs();
    let desk = moto.desk(bucket);
    let config = desk.read("patrol.toml");
    desk.write("patrol.toml", &config.replace(&moto.at.to_string(), &losing(moto.at).to_string()));
    let child = desk.judge(0);
    let (status, _, err) = read_output(child.wait_with_output().expect("its output"));
    assert_eq!(status, Some(1), "{err}");
    assert!(!err.contains("another run saved"), "{err}");
    assert!(err.contains("generation=1"), "{err}");
    assert_eq!(moto.known(bucket, 1), [address(0)]);
    // The second request for it is what met our own object.
    let is_put = |l: &&String| l.contains("PUT") && l.contains("generations/00000000000001.json");
    assert_eq!(moto.requests(bucket).iter().filter(is_put).count(), 2);
}

/// A server that refuses everything, and repeats what it was sent.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let n = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..n]).into_owned();
            let body = format!(
                "<Error><Code>AccessDenied</Code><Message>{SECRET} {head}</Message></Error>"
            );
            let _ = write!(
                stream,
                "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    at
}

fn no_secret(moto: &Moto, bucket: &str) {
    desk::runs();
    let mut desk = moto.desk(bucket);
    let mut all = String::new();
    let config = desk.read("patrol.toml");
    let here = format!("http://{}", moto.at);
    // A port where nobody listens.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let run = desk::runs().join("0").display().to_string();
    let judge = ["judge", "--run", run.as_str(), "--save-state", "--out", "v.json"];
    for config in [
        config.replace(&format!("s3://{bucket}"), "s3://no-such-bucket"),
        config.replace(&here, &format!("http://{}", refusing())),
        config.replace(&here, &format!("http://{nobody}")),
        config.clone(),
        // An http endpoint of the environment is none of the configuration's.
        config.replace(&format!("endpoint = \"{here}\"\n"), ""),
    ] {
        desk.write("patrol.toml", &config);
        desk.env.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
        if !config.contains("endpoint") {
            desk.env.push(("AWS_ENDPOINT_URL".to_owned(), here.clone()));
        }
        let (_, _, err) = desk.run(&judge);
        all.push_str(&err.replace(&run, "RUN"));
        // At their most talkative the logs hold none, either.
        desk.env.push(("MIMAWARI_LOG".to_owned(), "trace".to_owned()));
        let (_, out, err) = desk.run(&judge);
        desk.env.retain(|(name, _)| name != "MIMAWARI_LOG");
        for word in [SECRET, TOKEN] {
            assert!(!format!("{out}{err}{all}").contains(word), "{word} in {err}");
        }
    }
    let lines: Vec<&str> =
        all.lines().filter(|l| l.starts_with("error:") || l.starts_with("help:")).collect();
    insta::assert_snapshot!("aws_refusals", lines.join("\n").replace(bucket, "BUCKET"));
    for entry in fs::read_dir(desk.dir.path()).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let text = fs::read_to_string(&path).expect("a file");
            assert!(!text.contains(SECRET) && !text.contains(TOKEN), "{}", path.display());
        }
    }
}
