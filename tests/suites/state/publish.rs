//! The delivery of the baseline to a folder, and the newest run judged by it.

use std::process::Command;

use serde_json::Value;

use super::{Desk, address, desk, refused, runs_port};

fn git(desk: &Desk, args: &[&str], time: &str) -> String {
    let out = Command::new("git")
        .current_dir(desk.dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", time)
        .env("GIT_COMMITTER_DATE", time)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.invalid"])
        .args(args)
        .output()
        .expect("git");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("UTF-8").trim().to_owned()
}

const RULE: &str = "[[allow]]\nid = \"r\"\nhosts = [\"127.83.7.0/24\"]\nports = [\"tcp/1-65535\"]\nreason = \"A lab\"\n";

/// A folder whose baseline has two commits: nothing allowed, then everything.
fn desk_with_commits() -> (Desk, [String; 2]) {
    let mut desk = Desk::new();
    // The program calls git by its name.
    desk.env.push(("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()));
    git(&desk, &["init", "-q", "-b", "main"], "2026-11-01T00:00:00Z");
    let commit = |hour: u32| {
        let time = format!("2026-11-01T{hour:02}:00:00Z");
        git(&desk, &["add", "baseline"], &time);
        git(&desk, &["commit", "-q", "-m", "x"], &time);
        git(&desk, &["rev-parse", "HEAD"], &time)
    };
    let first = commit(1);
    let text = desk.read("baseline/b.toml");
    desk.write("baseline/b.toml", &format!("{text}{RULE}"));
    let second = commit(2);
    (desk, [first, second])
}

fn publish(desk: &Desk, more: &[&str]) -> (Option<i32>, String, String) {
    desk.run(&[&["baseline", "publish", "--to", "published"], more].concat())
}

fn pointer(desk: &Desk) -> Value {
    serde_json::from_str(&desk.read("published/current.json")).expect("JSON")
}

#[test]
fn a_merge_is_published_and_judged_at_once_and_never_goes_back_unasked() {
    desk::runs();
    let (desk, [first, second]) = desk_with_commits();
    git(&desk, &["checkout", "-q", &first], "2026-11-01T03:00:00Z");
    let (status, out, err) = publish(&desk, &[]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with("published publication 1 of the baseline (commit "), "{out}");
    let config = desk.read("patrol.toml");
    desk.write("patrol.toml", &format!("{config}[baseline]\nurl = \"published\"\n"));
    // A patrol under the first; the merge; the last run judged again, and no packet sent.
    let port = runs_port();
    let (status, _, err) = desk.run(&["patrol", "--targets", &address(2), "--ports", &port]);
    assert_eq!(status, Some(1), "{err}");
    git(&desk, &["checkout", "-q", &second], "2026-11-01T03:00:00Z");
    let (status, _, err) = publish(&desk, &[]);
    assert_eq!(status, Some(0), "{err}");
    let judge = ["judge", "--run", "latest", "--save-state", "--out", "v.json"];
    let (status, out, err) = desk.run(&judge);
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(err.contains("sequence=2") && err.contains(&second), "{err}");
    let verdict: Value = serde_json::from_str(&desk.read("v.json")).expect("JSON");
    assert_eq!(verdict["baseline_digest"], pointer(&desk)["digest"]);
    let notes = verdict["run"]["notes"].to_string();
    assert!(notes.contains("Judged by publication 2 of the baseline (commit "), "{notes}");
    // Again: nothing to do. Back: only when asked, and recorded.
    let (status, out, _) = publish(&desk, &[]);
    assert_eq!(status, Some(0));
    assert!(out.starts_with("nothing to do: publication 2"), "{out}");
    git(&desk, &["checkout", "-q", &first], "2026-11-01T03:00:00Z");
    let (status, out, err) = publish(&desk, &[]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.contains("is an ancestor of it\nhelp: ") && err.contains("--force-back"), "{err}");
    assert_eq!(pointer(&desk)["commit"], Value::from(second));
    let (status, out, err) = publish(&desk, &["--force-back"]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with("went back: publication 3"), "{out}");
    let now = pointer(&desk);
    assert_eq!(
        (&now["back"], &now["sequence"], &now["commit"]),
        (&true.into(), &3.into(), &Value::from(first))
    );
    assert_eq!(desk.run(&judge).0, Some(1), "what was allowed is open again");
}

#[test]
fn changes_that_are_not_committed_are_reported() {
    let (desk, _) = desk_with_commits();
    let text = desk.read("baseline/b.toml");
    desk.write("baseline/b.toml", &format!("{text}# a remark\n"));
    let (status, _, err) = publish(&desk, &[]);
    assert_eq!(status, Some(0), "{err}");
    assert!(err.contains("holds changes that are not committed"), "{err}");
    assert_eq!(pointer(&desk)["dirty"], true);
}

#[test]
fn many_at_once_publish_each_in_its_turn() {
    let desk = Desk::new();
    let mut all = Vec::new();
    for n in 0..8 {
        let dir = format!("b{n}/baseline");
        desk.write(&format!("{dir}/b.toml"), &format!("version = 1\nowner = \"@t/{n}\"\n"));
        all.push(desk.start(&["baseline", "publish", "--to", "published", &dir]));
    }
    for child in all {
        let (status, _, err) = desk::read_output(child.wait_with_output().expect("its output"));
        assert_eq!(status, Some(0), "{err}");
    }
    assert_eq!(pointer(&desk)["sequence"], 8);
    let kept = std::fs::read_dir(desk.path("published/baselines")).expect("the folder").count();
    assert_eq!(kept, 8);
}

#[test]
fn what_cannot_be_published_or_read_is_reported_with_a_remedy() {
    desk::runs();
    let desk = Desk::new();
    let mut all = String::new();
    let mut add = |text: String| all.push_str(&format!("{text}\n"));
    let to = |to: &'static str| ["baseline", "publish", "--to", to];
    add(refused(&desk, &to("ftp://x")));
    add(refused(&desk, &to("s3://key:not-a-secret@bucket")));
    add(refused(&desk, &["baseline", "publish", "--to", "p", "nowhere"]));
    desk.write("wrong/b.toml", "version = 1\nowner = \"@t/t\"\nrules = 5\n");
    add(refused(&desk, &["baseline", "publish", "--to", "p", "wrong"]));
    assert!(!desk.path("p").exists(), "something was published");
    let config = desk.read("patrol.toml");
    desk.write("patrol.toml", &format!("{config}[baseline]\nurl = \"published\"\n"));
    let run = desk::runs().join("0").display().to_string();
    add(refused(&desk, &["judge", "--run", &run]));
    add(refused(&desk, &["patrol", "--targets", &address(0), "--ports", "9"]));
    desk.write("patrol.toml", &format!("{config}[baseline]\ndir = \"x\"\nurl = \"published\"\n"));
    add(refused(&desk, &["judge", "--run", &run]));
    assert!(!all.contains("not-a-secret"), "{all}");
    insta::assert_snapshot!("publish_refusals", all);
}

#[test]
fn the_newest_complete_run_is_found_and_no_other() {
    desk::runs();
    let desk = Desk::new();
    let mut all = refused(&desk, &["judge", "--run", "latest"]);
    std::fs::create_dir(desk.path("runs")).expect("a folder");
    all.push_str(&refused(&desk, &["judge", "--run", "latest"]));
    all.push_str(&refused(&desk, &["judge", "--run", "latest", "--run", "runs"]));
    for n in 0..4 {
        for name in ["run.json", "observations.ndjson", "coverage.bin"] {
            let text = std::fs::read(desk::runs().join(n.to_string()).join(name)).expect("a file");
            std::fs::create_dir_all(desk.path(&format!("runs/{n}"))).expect("a folder");
            std::fs::write(desk.path(&format!("runs/{n}/{name}")), text).expect("a file");
        }
        let name = format!("runs/{n}/run.json");
        let mut run: Value = serde_json::from_str(&desk.read(&name)).expect("JSON");
        run["started_at"] = format!("2026-11-2{n}T00:00:00Z").into();
        // The newest is not complete, and the next one is a shard.
        if n == 3 {
            run["status"] = "stopped".into();
        }
        if n == 2 {
            run["shard"] = "1/2".into();
        }
        desk.write(&name, &run.to_string());
    }
    desk.write("runs/9/run.json", "rubbish");
    let (status, _, err) = desk.run(&["judge", "--run", "latest", "--out", "1.json"]);
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("runs/1") && err.contains("runs/9/run.json is damaged"), "{err}");
    assert_eq!(desk.verdict(1), [address(1)]);
    std::fs::remove_dir_all(desk.path("runs/0")).expect("removed");
    std::fs::remove_dir_all(desk.path("runs/1")).expect("removed");
    std::fs::remove_dir_all(desk.path("runs/9")).expect("removed");
    all.push_str(&refused(&desk, &["judge", "--run", "latest"]));
    insta::assert_snapshot!("latest_refusals", all);
}
