//! A configuration on S3: with the files beside it, and the messages when it cannot be read.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::desk::{Desk, read_output};
use super::{Case, Moto, Places, SECRET, TOKEN, refusing};

pub(super) const CASES: &[Case] = &[
    ("aws::config_brings_its_folder", whole),
    ("aws::config_errors_name_their_objects", mistakes),
    ("aws::config_that_cannot_be_read_is_reported_without_secrets", refused),
];

fn put(moto: &Moto, bucket: &str, name: &str, text: &str) {
    moto.put(bucket, name, text.as_bytes());
}

/// A desk whose configuration is in the bucket, and the number of a port that is open on 127.83.8.1.
fn desk(moto: &Moto, bucket: &str) -> (Desk, u16, TcpListener) {
    let mut desk = moto.desk(bucket);
    let open = TcpListener::bind("127.83.8.1:0").expect("a port");
    let port = open.local_addr().expect("its address").port();
    put(moto, bucket, "config/patrol.toml", &text(moto, bucket, ""));
    put(moto, bucket, "config/baseline/b.toml", "version = 1\nowner = \"@test/team\"\n");
    put(moto, bucket, "config/sites/vhosts.csv", "ip,host\n127.83.8.1,www.example.net\n");
    // The markers that S3's console makes.
    for marker in ["config/", "config/baseline/"] {
        put(moto, bucket, marker, "");
    }
    for (name, value) in [
        ("MIMAWARI_CONFIG", format!("s3://{bucket}/config/patrol.toml")),
        ("MIMAWARI_CONFIG_ENDPOINT", format!("http://{}", moto.at)),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("MIMAWARI_WORK", desk.path("work").display().to_string()),
        ("MIMAWARI_PORTS", port.to_string()),
    ] {
        desk.env.push((name.to_owned(), value));
    }
    (desk, port, open)
}

fn text(moto: &Moto, bucket: &str, more: &str) -> String {
    format!(
        "version = 1\n[scope]\nallow = [\"127.83.8.0/30\"]\nauthorised_by = \"TEST-1\"\n[scan]\n\
         method = \"connect\"\n[http]\nvhosts = \"sites/vhosts.csv\"\n[state]\n\
         url = \"s3://{bucket}/team/state\"\nregion = \"us-east-1\"\nendpoint = \"http://{}\"\n{more}",
        moto.at
    )
}

/// What is left under MIMAWARI_WORK of copies.
fn copies(desk: &Desk) -> Vec<String> {
    let entries = std::fs::read_dir(desk.path("work")).into_iter().flatten().flatten();
    let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("config-")).collect()
}

/// A site with a page at `/` and nothing else: one that answers nobody would not be covered.
fn respond(mut stream: TcpStream) {
    let mut request = [0; 4096];
    let length = stream.read(&mut request).unwrap_or(0);
    let response = if request[..length].starts_with(b"GET / ") {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    } else {
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    };
    // Who went away early needs no answer.
    let _ = stream.write_all(response.as_bytes());
}

fn whole(moto: &Moto, bucket: &str) {
    let (mut desk, port, open) = desk(moto, bucket);
    std::thread::spawn(move || open.incoming().flatten().for_each(respond));
    let (status, out, err) = desk.run(&["patrol"]);
    assert_eq!(status, Some(1), "{out}{err}");
    assert!(err.contains("configuration fetched") && err.contains("objects=3"), "{err}");
    assert!(out.contains(&format!("127.83.8.1:{port}")), "{out}");
    assert_eq!(copies(&desk), Vec::<String>::new());
    // The run is where MIMAWARI_WORK says, the state in its bucket, and nothing names the copy.
    let runs: Vec<_> = std::fs::read_dir(desk.path("work/runs")).expect("runs").flatten().collect();
    assert_eq!(runs.len(), 1);
    for name in ["run.json", "verdict.json", "report.md", "observations.ndjson"] {
        let file = runs[0].path().join(name);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!text.contains("work/config-") && !text.contains(SECRET), "{name}: {text}");
    }
    let run = std::fs::read_to_string(runs[0].path().join("run.json")).expect("run.json");
    assert!(run.contains("\"targets\""), "{run}");
    assert_eq!(moto.known(bucket, 1).len(), 1);
    // Allowed by a baseline that lies beside it, and read anew by every run.
    let rule = format!(
        "version = 1\nowner = \"@test/team\"\n[[allow]]\nid = \"r\"\nhosts = [\"127.83.8.1\"]\n\
         ports = [\"tcp/{port}\"]\nreason = \"A lab\"\n"
    );
    put(moto, bucket, "config/baseline/b.toml", &rule);
    let (status, out, err) = desk.run(&["patrol"]);
    assert_eq!(status, Some(0), "{out}{err}");
    // Commands that only read have it, too; by flag, and without MIMAWARI_WORK.
    let url = format!("s3://{bucket}/config/patrol.toml");
    desk.env.retain(|(name, _)| name != "MIMAWARI_CONFIG" && name != "MIMAWARI_WORK");
    for args in [
        &["state", "show", "-c", &url][..],
        &["scan", "--dry-run", "-c", &url],
        &["baseline", "check", "-c", &url],
        &["baseline", "propose", "-c", &url, "--run", &runs[0].path().display().to_string()],
        &["judge", "-c", &url, "--run", &runs[0].path().display().to_string(), "--out", "v.json"],
    ] {
        let (status, out, err) = desk.run(args);
        assert_eq!(status, Some(0), "{args:?}: {out}{err}");
    }
}

fn mistakes(moto: &Moto, bucket: &str) {
    let (desk, _, open) = desk(moto, bucket);
    // What has no mistake is patrolled, and a site that says nothing is waited for.
    std::thread::spawn(move || open.incoming().flatten().for_each(respond));
    let mut all = String::new();
    for (name, wrong) in [
        ("config/patrol.toml", text(moto, bucket, "[output]\ndir = \"runs\"\n")),
        ("config/patrol.toml", "version = 1\nscope = 3\n".to_owned()),
        ("config/patrol.toml", text(moto, bucket, "")),
        ("config/sites/vhosts.csv", "ip,host\nnonsense,www.example.net\n".to_owned()),
        ("config/sites/vhosts.csv", "ip,host\n127.83.8.1,www.example.net\n".to_owned()),
        ("config/baseline/b.toml", "version = 1\nowner = 3\n".to_owned()),
        ("config/baseline/b.toml", "version = 1\nowner = \"@test/team\"\n".to_owned()),
    ] {
        put(moto, bucket, name, &wrong);
        let (status, _, err) = desk.run(&["patrol"]);
        let lines: Vec<&str> = err.lines().filter(|l| !l.contains(" INFO ")).collect();
        assert!(status == Some(2) || lines.is_empty() || status == Some(1), "{status:?} {err}");
        assert!(!err.contains(&desk.path("work/config-").display().to_string()), "{err}");
        assert_eq!(copies(&desk), Vec::<String>::new());
        if status == Some(2) {
            all.push_str(&lines.join("\n"));
            all.push('\n');
        }
    }
    let all = all.replace(&moto.at.to_string(), "MOTO").replace(bucket, "BUCKET");
    insta::assert_snapshot!("aws_config_mistakes", all);
}

fn refused(moto: &Moto, bucket: &str) {
    let (mut desk, _, _open) = desk(moto, bucket);
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    put(moto, bucket, "odd/patrol.toml", &text(moto, bucket, ""));
    put(moto, bucket, "odd/a//b.toml", "x");
    put(moto, bucket, "up/patrol.toml", &text(moto, bucket, ""));
    put(moto, bucket, "up/%2E%2E/%2E%2E/etc/passwd", "x");
    put(moto, bucket, "both/patrol.toml", &text(moto, bucket, ""));
    put(moto, bucket, "both/baseline", "x");
    put(moto, bucket, "both/baseline/b.toml", "x");
    put(moto, bucket, "many/patrol.toml", &text(moto, bucket, ""));
    for n in 0..2_001 {
        put(moto, bucket, &format!("many/{n}"), "");
    }
    let here = format!("http://{}", moto.at);
    let mut all = String::new();
    for (url, endpoint) in [
        (format!("s3://{bucket}/config/absent.toml"), here.clone()),
        (format!("s3://{bucket}/nothing/patrol.toml"), here.clone()),
        ("s3://no-such-bucket/config/patrol.toml".to_owned(), here.clone()),
        (format!("s3://{bucket}/config/"), here.clone()),
        (format!("s3://{TOKEN}:{SECRET}@{bucket}/patrol.toml"), here.clone()),
        (format!("s3://{bucket}/odd/patrol.toml"), here.clone()),
        (format!("s3://{bucket}/up/patrol.toml"), here.clone()),
        (format!("s3://{bucket}/both/patrol.toml"), here.clone()),
        (format!("s3://{bucket}/many/patrol.toml"), here.clone()),
        (format!("s3://{bucket}/config/patrol.toml"), format!("http://{}", refusing())),
        (format!("s3://{bucket}/config/patrol.toml"), format!("http://{nobody}")),
        // An http endpoint of the environment is not asked.
        (format!("s3://{bucket}/config/patrol.toml"), String::new()),
    ] {
        desk.env
            .retain(|(name, _)| !name.starts_with("MIMAWARI_CONFIG") && name != "AWS_ENDPOINT_URL");
        desk.env.push(("MIMAWARI_CONFIG".to_owned(), url));
        if endpoint.is_empty() {
            desk.env.push(("AWS_ENDPOINT_URL".to_owned(), here.clone()));
        }
        desk.env.push(("MIMAWARI_CONFIG_ENDPOINT".to_owned(), endpoint));
        let (status, out, err) = desk.run(&["patrol"]);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{err}");
        all.push_str(&err);
        assert_eq!(copies(&desk), Vec::<String>::new(), "{err}");
        assert!(!format!("{out}{err}{all}").contains(SECRET), "{err}");
        if desk.env.iter().any(|(_, v)| *v == here) {
            continue;
        }
        // At their most talkative the logs hold none, either.
        let mut loud = super::desk::program(desk.dir.path(), &["patrol"]);
        let loud = loud.envs(desk.env.iter().cloned()).env("MIMAWARI_LOG", "trace");
        let (_, out, err) = read_output(loud.output().expect("its output"));
        for word in [SECRET, TOKEN] {
            assert!(!format!("{out}{err}{all}").contains(word), "{word} in {err}");
        }
    }
    let lines: Vec<&str> = all.lines().filter(|l| !l.contains(" INFO ")).collect();
    insta::assert_snapshot!("aws_config_refusals", lines.join("\n").replace(bucket, "BUCKET"));
}
