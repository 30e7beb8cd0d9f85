//! The state between runs, under two patrols at once, kills, and damage.

#[path = "state/ack.rs"]
mod ack;
#[path = "state/desk.rs"]
mod desk;
#[path = "state/publish.rs"]
mod publish;

use std::fs;
use std::time::{Duration, Instant};

use desk::{Desk, RUNS, address, read_output};
use serde_json::Value;

fn generation(desk: &Desk, n: usize) -> (Value, Value) {
    let text = desk.read(&format!("state/generations/{n:014}.json"));
    let mut lines = text.lines().map(|l| serde_json::from_str(l).expect("JSON"));
    (lines.next().expect("a header"), lines.next().expect("a state"))
}

/// The addresses that a generation knows, and that its chain is unbroken.
fn known(desk: &Desk, newest: usize) -> Vec<String> {
    use sha2::{Digest, Sha256};
    let mut before: Option<String> = None;
    for n in 1..=newest {
        let (header, _) = generation(desk, n);
        assert_eq!(header["number"], n);
        assert_eq!(header["parent"]["digest"].as_str().map(str::to_owned), before);
        let text = desk.read(&format!("state/generations/{n:014}.json"));
        let line = text.lines().next().expect("a header");
        before = Some(Sha256::digest(line).iter().map(|b| format!("{b:02x}")).collect());
    }
    let names = fs::read_dir(desk.path("state/generations")).expect("the folder").count();
    assert_eq!(names, newest, "something else lies beside the generations");
    let (_, state) = generation(desk, newest);
    let findings = state["findings"].as_object().expect("findings").values();
    let ip = |f: &Value| f["finding"]["ip"].as_str().expect("an address").to_owned();
    let mut ips: Vec<String> = findings.map(ip).collect();
    ips.sort();
    ips
}

#[test]
fn two_at_once_a_hundred_times_lose_nothing() {
    desk::runs();
    let mut conflicts = 0;
    for round in 0..100 {
        let desk = Desk::new();
        let pair = [round % RUNS, (round + 1) % RUNS];
        let both: Vec<_> = pair.iter().map(|n| desk.judge(*n)).collect();
        for child in both {
            let (status, _, err) = read_output(child.wait_with_output().expect("its output"));
            assert_eq!(status, Some(1), "round {round}: {err}");
            conflicts += usize::from(err.contains("another run saved the state first"));
        }
        let mut expected: Vec<String> = pair.iter().map(|n| address(*n)).collect();
        expected.sort();
        assert_eq!(known(&desk, 2), expected, "round {round}");
        // The second one judged on the state that the first one saved, and reported that.
        let changes = pair.map(|n| desk.verdict(n));
        let second = changes.iter().filter(|t| **t == expected).count();
        let first = changes.iter().zip(pair).filter(|(t, n)| **t == [address(*n)]).count();
        assert_eq!((first, second), (1, 1), "round {round}: {changes:?}");
        // Each finding was notified once, by the patrol that found it.
        let mut keys: Vec<String> = pair.iter().flat_map(|n| desk.changes(*n)).collect();
        keys.sort();
        assert_eq!(keys.len(), 2, "round {round}: {keys:?}");
        assert_ne!(keys[0], keys[1], "round {round}: notified twice");
    }
    assert!(conflicts > 0, "no two of them ever met, so that this proves nothing");
}

#[test]
fn eight_at_once_lose_nothing() {
    desk::runs();
    let desk = Desk::new();
    let all: Vec<_> = (0..RUNS).map(|n| desk.judge(n)).collect();
    for child in all {
        let (status, _, err) = read_output(child.wait_with_output().expect("its output"));
        assert_eq!(status, Some(1), "{err}");
    }
    let expected: Vec<String> = (0..RUNS).map(address).collect();
    assert_eq!(known(&desk, RUNS), expected);
    let (status, out, err) = desk.run(&["state", "history", "-n", "3"]);
    assert_eq!((status, out.lines().count()), (Some(0), 3), "{out}{err}");
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_generation_or_the_new_one() {
    desk::runs();
    let desk = Desk::new();
    let started = Instant::now();
    assert_eq!(desk.judge(0).wait().expect("its end").code(), Some(1));
    let usual = started.elapsed().max(Duration::from_millis(5));
    let (mut newest, mut killed, mut saved) = (1, 0, 0);
    for round in 0..80u32 {
        let mut child = desk.judge(round as usize % RUNS);
        // Spread over the whole time that it takes, and a little more.
        std::thread::sleep(usual * (round * 37 % 80) / 64);
        let _ = child.kill();
        let code = child.wait().expect("its end").code();
        killed += usize::from(code.is_none());
        let generation = desk.shown()["generation"].as_u64().expect("a number");
        assert!(
            generation == newest || generation == newest + 1,
            "round {round}: {newest} became {generation}"
        );
        assert!(code.is_none() || generation == newest + 1, "round {round}: it said that it saved");
        saved += usize::from(generation > newest);
        newest = generation;
    }
    assert!(killed > 0 && saved > 0 && saved < 80, "{killed} killed, {saved} saved");
    // What the killed ones left behind is in nobody's way.
    assert_eq!(desk.judge(1).wait().expect("its end").code(), Some(1));
    assert_eq!(desk.shown()["generation"], newest + 1);
}

#[test]
fn patrols_scan_judge_and_save_side_by_side() {
    desk::runs();
    let desk = Desk::new();
    let port = runs_port();
    let start = |n: usize| {
        let out = format!("p{n}");
        desk.start(&["patrol", "--targets", &address(n), "--ports", &port, "--out", &out])
    };
    let both = [start(0), start(1)];
    for child in both {
        let (status, _, err) = read_output(child.wait_with_output().expect("its output"));
        assert_eq!(status, Some(1), "{err}");
    }
    assert_eq!(known(&desk, 2), [address(0), address(1)]);
    // The reports are those of the verdict that was saved.
    for n in 0..2 {
        let verdict: Value =
            serde_json::from_str(&desk.read(&format!("p{n}/verdict.json"))).expect("JSON");
        let findings = verdict["findings"].as_array().expect("findings").len();
        let report = desk.read(&format!("p{n}/report.md"));
        let named = (0..2).filter(|m| report.contains(&address(*m))).count();
        assert_eq!(named, findings, "{report}");
    }
}

/// The port that is open on the runs' addresses.
fn runs_port() -> String {
    let text = fs::read_to_string(desk::runs().join("0/run.json")).expect("run.json");
    let run: Value = serde_json::from_str(&text).expect("JSON");
    run["plan"]["ports"].as_str().expect("ports").to_owned()
}

/// A name of this machine's folder, as it is for everybody.
fn plain(desk: &Desk, text: &str) -> String {
    text.replace(&desk.dir.path().display().to_string(), "DIR").replace("./state", "state")
}

/// Breaks the newest of three generations, or what it hangs on.
type Damage = fn(&Desk);

fn refused(desk: &Desk, args: &[&str]) -> String {
    let (status, out, err) = desk.run(args);
    assert_eq!((status, out.as_str()), (Some(2), ""), "{args:?}: {err}");
    plain(desk, &err)
}

#[test]
fn damage_is_an_error_with_a_remedy_that_works() {
    desk::runs();
    let newest = "state/generations/00000000000003.json";
    let damage: [(&str, Damage); 4] = [
        ("cut off", |d| {
            let whole = d.read("state/generations/00000000000003.json");
            d.write("state/generations/00000000000003.json", &whole[..whole.len() / 2]);
        }),
        ("rubbish", |d| d.write("state/generations/00000000000003.json", "\u{1b}[2Jrubbish")),
        ("missing", |d| {
            fs::remove_file(d.path("state/generations/00000000000003.json")).expect("removed");
        }),
        ("its parent changed", |d| {
            let text = d.read("state/generations/00000000000002.json");
            d.write(
                "state/generations/00000000000002.json",
                &text.replacen("run\":\"", "run\":\"x", 1),
            );
        }),
    ];
    let mut all = String::new();
    for (how, damage) in damage {
        let desk = Desk::new();
        for n in 0..3 {
            assert_eq!(desk.judge(n).wait().expect("its end").code(), Some(1));
        }
        assert!(desk.path(newest).exists());
        damage(&desk);
        let run = desk::runs().join("3").display().to_string();
        // Every reader gets the error, and a patrol gets it before it sends a packet.
        let shown = refused(&desk, &["state", "show"]);
        assert_eq!(refused(&desk, &["judge", "--run", &run]), shown);
        assert_eq!(refused(&desk, &["judge", "--run", &run, "--save-state"]), shown);
        assert_eq!(refused(&desk, &["patrol", "--targets", &address(0), "--ports", "9"]), shown);
        assert!(!desk.path("runs").exists(), "a scan was begun");
        let (status, history, _) = desk.run(&["state", "history"]);
        assert_eq!(status, Some(2), "{history}");
        assert!(!history.contains('\u{1b}'), "{history:?}");
        let wrong: Vec<&str> = history
            .lines()
            .map(|l| l.split_once("allowed").map_or(l, |(_, wrong)| wrong).trim())
            .collect();
        all.push_str(&format!("{how}:\n{shown}history:\n{}\n\n", wrong.join("\n")));
        let (status, out, err) = desk.run(&["state", "rollback", "--to", "1"]);
        assert_eq!(status, Some(0), "{err}");
        all.push_str(&format!("{out}\n"));
        assert_eq!(desk.judge(4).wait().expect("its end").code(), Some(1));
        assert_eq!(desk.verdict(4), [address(0), address(4)]);
        assert!(desk.path("state/generations/00000000000002.json").exists(), "it was deleted");
    }
    insta::assert_snapshot!("state_damage", all);
}

#[test]
fn an_empty_state_is_shown_as_such_and_made_by_no_reader() {
    let desk = Desk::new();
    let (status, out, _) = desk.run(&["state", "show"]);
    assert_eq!(
        (status, plain(&desk, &out)),
        (
            Some(0),
            "state      state\ngeneration none yet: nothing has been saved here\n".to_owned()
        )
    );
    let (status, out, _) = desk.run(&["state", "history"]);
    assert_eq!((status, out.as_str()), (Some(0), "no generation has been saved yet\n"));
    assert!(!desk.path("state").exists());
    let missing = refused(&desk, &["state", "rollback", "--to", "7"]);
    insta::assert_snapshot!("state_rollback_to_nothing", missing);
}

#[test]
fn what_is_known_is_shown() {
    desk::runs();
    let desk = Desk::new();
    for n in 0..2 {
        assert_eq!(desk.judge(n).wait().expect("its end").code(), Some(1));
    }
    let shown = desk.shown();
    assert_eq!(shown["generation"], 2);
    // The runs were made side by side: the second says nothing of what the first saw after it began.
    let of = |state: &str| shown["findings"][state].as_u64().unwrap_or(0);
    assert_eq!(of("open") + of("unverified"), 2);
    let (_, text, _) = desk.run(&["state", "show"]);
    let text = plain(&desk, &text);
    assert!(
        text.contains("findings   1 open, 1 unverified\n") || text.contains("findings   2 open\n"),
        "{text}"
    );
    assert!(text.starts_with("state      state\ngeneration 2, 20"), "{text}");
}

#[test]
fn a_state_of_the_former_form_is_taken_over_once_and_kept() {
    desk::runs();
    let desk = Desk::new();
    assert_eq!(desk.judge(0).wait().expect("its end").code(), Some(1));
    let (_, former) = generation(&desk, 1);
    fs::remove_dir_all(desk.path("state")).expect("removed");
    desk.write("state/state.json", &former.to_string());
    let (_, text, _) = desk.run(&["state", "show"]);
    assert!(text.contains("state.json of the former form will be taken over"), "{text}");
    assert_eq!(desk.judge(1).wait().expect("its end").code(), Some(1));
    assert_eq!(known(&desk, 2), [address(0), address(1)]);
    assert_eq!(desk.read("state/state.json"), former.to_string());
    let (_, text, _) = desk.run(&["state", "history"]);
    assert!(text.contains("taken over from state.json"), "{text}");
}

#[test]
fn a_state_that_cannot_be_written_is_reported() {
    let desk = Desk::new();
    desk.write("state", "a file where a folder should be");
    let run = desk::runs().join("0").display().to_string();
    insta::assert_snapshot!(
        "state_not_a_folder",
        refused(&desk, &["judge", "--run", &run, "--save-state"])
    );
}

#[test]
fn a_place_for_the_state_that_cannot_be_meant_is_refused_with_its_line() {
    let desk = Desk::new();
    let mut all = String::new();
    for (url, more) in [
        ("gs://bucket/x", ""),
        ("s3://B", ""),
        ("s3://key:not-a-secret@bucket/x", ""),
        ("state", "region = \"eu-central-1\""),
        ("s3://bucket/a//b", ""),
        ("s3://bucket", "endpoint = \"127.0.0.1:5000\""),
    ] {
        let scope = "[scope]\nallow = [\"127.83.7.0/24\"]\nauthorised_by = \"TEST-1\"\n";
        let text = format!("version = 1\n{scope}[state]\nurl = \"{url}\"\n{more}\n");
        desk.write("patrol.toml", &text);
        all.push_str(&refused(&desk, &["state", "show"]));
        all.push('\n');
    }
    assert!(!all.contains("not-a-secret"), "{all}");
    insta::assert_snapshot!("state_places", all);
}
