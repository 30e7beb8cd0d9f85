//! The store on a folder and in memory.

use super::*;

fn state(run: &str) -> State {
    State { last_run: Some(run.to_owned()), ..State::default() }
}

fn meta(run: &str) -> GenerationMeta {
    let at = "2026-11-24T08:00:00Z".parse().unwrap();
    GenerationMeta { at, run: Some(run.to_owned()), origin: GenerationOrigin::Judged, by: None }
}

/// A store on a folder and one in memory; the folder goes with the first value.
fn stores() -> (tempfile::TempDir, [StateStore; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let folder = StateStore::open(&StoreLocation::Folder(dir.path().join("state"))).unwrap();
    (dir, [folder, StateStore::over(ObjectFolder::in_memory())])
}

async fn commit(store: &StateStore, run: &str) -> CommitOutcome {
    let parent = store.latest().await.unwrap();
    let mut random = RandomSource::draw().unwrap();
    store.commit(&parent, &state(run), &meta(run), &mut random).await.unwrap()
}

async fn with_generations(store: &StateStore, count: u64) {
    for n in 1..=count {
        let done = commit(store, &format!("r{n}")).await;
        assert!(matches!(done, CommitOutcome::Done(link) if link.number == n));
    }
}

async fn put(store: &StateStore, name: &str, text: &str) {
    store.objects.overwrite(name, Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
}

async fn text(store: &StateStore, number: u64) -> Bytes {
    store.objects.get(&object(number)).await.unwrap().unwrap().0
}

async fn refusal(store: &StateStore) -> String {
    mimawari_base::failure::render(&store.latest().await.expect_err("it was taken for good"))
}

#[tokio::test]
async fn generations_follow_one_another() {
    let (_dir, stores) = stores();
    for store in stores {
        let nothing = store.latest().await.unwrap();
        assert_eq!((nothing.number, &nothing.state), (0, &State::default()));
        with_generations(&store, 3).await;
        let latest = store.latest().await.unwrap();
        assert_eq!((latest.number, latest.state.last_run.as_deref()), (3, Some("r3")));
        let parent = latest.header.unwrap().parent.unwrap();
        assert_eq!(parent.digest, store.load(2).await.unwrap().digest);
        // Old ones are what they were.
        assert_eq!(store.load(1).await.unwrap().state, state("r1"));
    }
}

#[tokio::test]
async fn two_writers_upon_one_parent_are_a_conflict_and_settling_loses_nothing() {
    let (_dir, stores) = stores();
    for store in stores {
        with_generations(&store, 1).await;
        let parent = store.latest().await.unwrap();
        let mut random = RandomSource::seeded(1);
        let first = store.commit(&parent, &state("a"), &meta("a"), &mut random).await.unwrap();
        assert!(matches!(first, CommitOutcome::Done(ChainLink { number: 2, .. })));
        let second = store.commit(&parent, &state("b"), &meta("b"), &mut random).await.unwrap();
        assert_eq!(second, CommitOutcome::Conflict(2));
        // The same bytes of another writer are a conflict, too: only one of them may save.
        let same = store.commit(&parent, &state("a"), &meta("a"), &mut random).await.unwrap();
        assert_eq!(same, CommitOutcome::Conflict(2));
        // Somebody gets ahead twice; the third attempt is made upon what they wrote.
        let mut seen = Vec::new();
        let rivals = store.clone();
        let settled = store.settle(&mut random, |previous| {
            seen.push(previous.number);
            let run = format!("{}+x", previous.state.last_run.as_deref().unwrap_or_default());
            if seen.len() < 3 {
                let (rivals, previous) = (rivals.clone(), previous.clone());
                let rival = move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let (state, meta) = (state("rival"), meta("rival"));
                    let mut random = RandomSource::seeded(7);
                    let done = rivals.commit(&previous, &state, &meta, &mut random);
                    assert!(matches!(runtime.block_on(done).unwrap(), CommitOutcome::Done(_)));
                };
                std::thread::spawn(rival).join().unwrap();
            }
            Ok((run.clone(), state(&run), meta(&run)))
        });
        let (saved, link) = settled.await.unwrap();
        assert_eq!((seen.as_slice(), link.number, saved.as_str()), (&[2, 3, 4][..], 5, "rival+x"));
        assert_eq!(store.latest().await.unwrap().state.last_run.unwrap(), "rival+x");
    }
}

#[tokio::test]
async fn an_attempt_that_fails_writes_no_state() {
    let store = StateStore::over(ObjectFolder::in_memory());
    with_generations(&store, 1).await;
    let mut random = RandomSource::seeded(1);
    let failed = store.settle(&mut random, |_| {
        Err::<((), State, GenerationMeta), _>(Failure::new("cannot write the report").into())
    });
    assert_eq!(failed.await.unwrap_err().to_string(), "cannot write the report");
    assert_eq!(store.latest().await.unwrap().number, 1);
}

#[tokio::test]
async fn whatever_the_hint_says_the_newest_is_found_or_the_loss_is_told() {
    let (_dir, stores) = stores();
    for store in stores {
        with_generations(&store, 12).await;
        for hint in 1..=12 {
            put(&store, HINT, &format!("{{\"number\":{hint}}}")).await;
            assert_eq!(store.latest().await.unwrap().number, 12, "hint {hint}");
        }
        for rubbish in
            ["", "12", "{\"number\":0}", "{\"number\":-1}", "{\"number\":99999999999999}", "\u{0}"]
        {
            put(&store, HINT, rubbish).await;
            assert_eq!(store.latest().await.unwrap().number, 12, "{rubbish:?}");
        }
        store.objects.delete(HINT).await.unwrap();
        assert_eq!(store.latest().await.unwrap().number, 12);
        put(&store, HINT, "{\"number\":13}").await;
        assert!(refusal(&store).await.contains("generation 13 of the state is missing"));
        // A hole somewhere below the hint hides nothing above it.
        put(&store, HINT, "{\"number\":5}").await;
        store.objects.delete(&object(5)).await.unwrap();
        assert_eq!(store.latest().await.unwrap().number, 12);
    }
}

/// Breaks a store of three generations, and returns what it then says.
async fn broken(store: &StateStore, how: &str) -> String {
    with_generations(store, 3).await;
    match how {
        "newest missing" => store.objects.delete(&object(3)).await.unwrap(),
        "all missing" => {
            for n in 1..=3 {
                store.objects.delete(&object(n)).await.unwrap();
            }
        }
        "parent missing" => store.objects.delete(&object(2)).await.unwrap(),
        "newest cut off" => {
            let whole = text(store, 3).await;
            put(store, &object(3), std::str::from_utf8(&whole[..whole.len() - 9]).unwrap()).await;
        }
        "newest empty" => put(store, &object(3), "").await,
        "newest changed" => {
            let whole = String::from_utf8(text(store, 3).await.to_vec()).unwrap();
            put(store, &object(3), &whole.replace("\"last_run\":\"r3\"", "\"last_run\":\"r4\""))
                .await;
        }
        "newest is another" => {
            let other = String::from_utf8(text(store, 2).await.to_vec()).unwrap();
            put(store, &object(3), &other).await;
        }
        "newest of the future" => put(store, &object(3), "{\"version\":2}\n{}\n").await,
        "parent changed" => {
            let whole = String::from_utf8(text(store, 2).await.to_vec()).unwrap();
            put(store, &object(2), &whole.replacen("\"run\":\"r2\"", "\"run\":\"r9\"", 1)).await;
        }
        other => panic!("{other}"),
    }
    refusal(store).await
}

const WAYS: [&str; 9] = [
    "newest missing",
    "all missing",
    "parent missing",
    "newest cut off",
    "newest empty",
    "newest changed",
    "newest is another",
    "newest of the future",
    "parent changed",
];

#[tokio::test]
async fn what_is_broken_is_told_with_number_file_and_remedy() {
    let mut all = String::new();
    for how in WAYS {
        let store = StateStore::over(ObjectFolder::in_memory());
        let said = broken(&store, how).await;
        all.push_str(&format!("{how}:\n{said}\n\n"));
    }
    insta::assert_snapshot!("broken", all);
}

#[tokio::test]
async fn from_whatever_is_broken_a_rollback_leads_on() {
    for how in WAYS {
        let (_dir, stores) = stores();
        for store in stores {
            broken(&store, how).await;
            let at = meta("").at;
            let back = store.rollback(1, at, &mut RandomSource::seeded(1)).await;
            if how == "all missing" {
                assert!(
                    back.unwrap_err().to_string().contains("generation 1 of the state is missing")
                );
                continue;
            }
            let back = back.unwrap();
            assert_eq!(back.number, 4, "{how}");
            let latest = store.latest().await.unwrap();
            assert_eq!((latest.number, &latest.state), (4, &state("r1")), "{how}");
            let next = commit(&store, "r5").await;
            assert!(matches!(next, CommitOutcome::Done(link) if link.number == 5), "{how}");
            store.latest().await.unwrap();
            let history = store.history(2).await.unwrap();
            assert!(history[0].wrong.is_none(), "{how}: {history:?}");
        }
    }
}

#[tokio::test]
async fn a_state_of_the_former_form_becomes_generation_1_and_stays() {
    let (_dir, stores) = stores();
    for store in stores {
        let former = serde_json::to_string_pretty(&state("old")).unwrap();
        put(&store, FORMER, &former).await;
        let latest = store.latest().await.unwrap();
        assert_eq!((latest.number, &latest.state), (0, &state("old")));
        commit(&store, "new").await;
        assert_eq!(store.load(1).await.unwrap().state, state("old"));
        assert_eq!(
            store.load(1).await.unwrap().header.unwrap().origin,
            GenerationOrigin::TakenOver
        );
        let latest = store.latest().await.unwrap();
        assert_eq!((latest.number, &latest.state), (2, &state("new")));
        assert_eq!(store.objects.get(FORMER).await.unwrap().unwrap().0, former);
        // Once: it is not looked at again.
        put(&store, FORMER, "rubbish").await;
        assert_eq!(store.latest().await.unwrap().number, 2);
    }
}

#[tokio::test]
async fn a_former_state_that_cannot_be_understood_is_never_empty() {
    let store = StateStore::over(ObjectFolder::in_memory());
    put(&store, FORMER, "{\"version\":1,").await;
    insta::assert_snapshot!("former", refusal(&store).await);
}

#[tokio::test]
async fn the_history_tells_what_is_wrong() {
    let store = StateStore::over(ObjectFolder::in_memory());
    assert_eq!(store.history(5).await.unwrap(), []);
    with_generations(&store, 6).await;
    let numbers = |h: &[HistoryEntry]| h.iter().map(|e| e.number).collect::<Vec<_>>();
    let history = store.history(3).await.unwrap();
    assert_eq!(numbers(&history), [6, 5, 4]);
    assert!(history.iter().all(|e| e.wrong.is_none()));
    store.objects.delete(&object(4)).await.unwrap();
    put(&store, &object(2), "rubbish").await;
    let history = store.history(20).await.unwrap();
    assert_eq!(numbers(&history), [6, 5, 3, 2, 1]);
    let wrong: Vec<_> = history.iter().map(|e| e.wrong.as_deref().unwrap_or("-")).collect();
    insta::assert_snapshot!("history", wrong.join("\n"));
}

#[tokio::test]
async fn an_absent_folder_is_looked_at_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let place = StoreLocation::Folder(dir.path().join("state"));
    assert_eq!(StateStore::look(&place).unwrap().latest().await.unwrap().number, 0);
    assert!(!dir.path().join("state").exists());
}

#[tokio::test]
async fn no_number_is_too_large_and_no_text_reaches_the_screen_as_it_is() {
    let store = StateStore::over(ObjectFolder::in_memory());
    // A forged chain of one, at the end of all numbers.
    let last = generation::MAX_NUMBER;
    let forged = |number: u64, parent: u64, state: &str| {
        let content = generation::compute_sha256(state.as_bytes());
        format!(
            "{{\"version\":1,\"number\":{number},\"parent\":{{\"number\":{parent},\"digest\":\"x\"}},\"content\":\"{content}\",\"length\":{},\"at\":\"2026-11-24T08:00:00Z\",\"run\":null,\"origin\":\"judged\",\"counts\":{{}},\"allowed\":0,\"writer\":\"\"}}\n{state}\n",
            state.len()
        )
    };
    let empty = serde_json::to_string(&State::default()).unwrap();
    put(&store, &object(last), &forged(last, u64::MAX, &empty)).await;
    assert!(refusal(&store).await.contains("out of the chain"));
    let parent = store.load(last).await.unwrap();
    let mut random = RandomSource::seeded(1);
    let e = store.commit(&parent, &state("x"), &meta("x"), &mut random).await.unwrap_err();
    insta::assert_snapshot!("last_number", mimawari_base::failure::render(&e));
    let evil = "{\"version\":1,\"findings\":\"\u{9b}2J\\u001b[2J\"}";
    put(&store, &object(last), &forged(last, 1, evil)).await;
    let said = refusal(&store).await;
    assert!(said.contains("2J") && !said.contains(['\u{1b}', '\u{9b}']), "{said:?}");
    store.objects.delete(&object(last)).await.unwrap();
    put(&store, FORMER, evil).await;
    let said = refusal(&store).await;
    assert!(said.contains("2J") && !said.contains(['\u{1b}', '\u{9b}']), "{said:?}");
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let (dir, [folder, memory]) = stores();
    for store in [&folder, &memory] {
        store.check().await.unwrap();
        assert_eq!(store.latest().await.unwrap().number, 0);
        assert!(store.objects.get(PROBE).await.unwrap().is_none());
        with_generations(store, 2).await;
        store.check().await.unwrap();
        assert_eq!(store.latest().await.unwrap().number, 2);
    }
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    std::fs::write(dir.path().join("state"), "no folder any more").unwrap();
    folder.check().await.unwrap_err();
}

#[tokio::test]
async fn pruning_leaves_the_newest_one_a_day_and_no_unfinished_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = StateStore::open(&StoreLocation::Folder(dir.path().to_owned())).unwrap();
    let folder = dir.path().join(FOLDER);
    std::fs::create_dir(&folder).unwrap();
    let now = std::time::SystemTime::now();
    let made = |name: String, hours_ago: u64| {
        let file = std::fs::File::create(folder.join(name)).unwrap();
        file.set_modified(now - Duration::from_secs(3600 * hours_ago)).unwrap();
    };
    for n in 1..=1240 {
        made(generation::format_generation_name(n), 1240 - n);
    }
    made(format!("{}#1", generation::format_generation_name(7)), 999);
    made(format!("{}#1", generation::format_generation_name(1241)), 0);
    made("notes.txt".to_owned(), 999);
    store.prune(Timestamp::try_from(now).unwrap()).await.unwrap();
    let numbers = store.numbers(None).await.unwrap();
    assert_eq!(numbers.iter().filter(|n| **n > 240).count(), 1000, "one of the newest is gone");
    // 240 hours touch 10 or 11 days, the last of which may end among the newest.
    let old = numbers.len() - 1000;
    assert!((9..=11).contains(&old), "{old}");
    let mut rest: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| generation::parse_generation_number(n).is_none())
        .collect();
    rest.sort();
    assert_eq!(
        rest,
        [format!("{}#1", generation::format_generation_name(1241)), "notes.txt".to_owned()]
    );
}
