//! Publishing, in memory and on a folder.

use super::git::CommitOrder;
use super::publish::{PublishOutcome, PublishRequest, publish};
use super::*;
use crate::{RandomSource, StoreLocation};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccccccccccc";

fn files(reason: &str) -> Vec<(String, String)> {
    let rule = format!(
        "[[allow]]\nid = \"r\"\nhosts = [\"192.0.2.1\"]\nports = [\"tcp/80\"]\nreason = \"{reason}\"\n"
    );
    let text = format!("version = 1\nowner = \"@t/t\"\n{rule}");
    vec![("baseline/b.toml".to_owned(), text)]
}

fn commit(id: &str, hour: i64) -> GitCommit {
    let time = Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap();
    GitCommit { id: id.to_owned(), time, dirty: false }
}

/// History: A, then B; C is on another branch.
fn order(this: &str, other: &str) -> CommitOrder {
    match (this, other) {
        (A, B) => CommitOrder::Before,
        (B, A) => CommitOrder::After,
        _ => CommitOrder::Unknown,
    }
}

async fn put(
    objects: &ObjectFolder,
    reason: &str,
    commit: Option<GitCommit>,
    force_back: bool,
) -> Result<PublishOutcome> {
    let files = files(reason);
    let now = "2026-11-24T08:00:00Z".parse().unwrap();
    let ask = PublishRequest { files: &files, commit, now, force_back };
    publish(objects, &ask, order, &mut RandomSource::seeded(1)).await
}

fn published(outcome: Result<PublishOutcome>) -> BaselinePointer {
    match outcome.unwrap() {
        PublishOutcome::Published(p) => p,
        PublishOutcome::Unchanged(p) => panic!("unchanged: {p:?}"),
    }
}

#[tokio::test]
async fn the_pointer_goes_forward_and_what_it_names_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let folder = ObjectFolder::open(&StoreLocation::Folder(dir.path().to_owned())).unwrap();
    for objects in [folder, ObjectFolder::in_memory()] {
        let first = published(put(&objects, "one", Some(commit(A, 1)), false).await);
        assert_eq!((first.sequence, first.back, &first.replaced), (1, false, &None));
        let again = put(&objects, "one", Some(commit(A, 1)), false).await.unwrap();
        assert_eq!(again, PublishOutcome::Unchanged(first.clone()));
        // A descendant goes forward, whatever its clock says.
        let second = published(put(&objects, "two", Some(commit(B, 0)), false).await);
        assert_eq!((second.sequence, &second.replaced), (2, &Some(first.digest.clone())));
        let read = read(&objects).await.unwrap();
        assert_eq!(read.baseline.digest(), second.digest);
        assert_eq!(read.baseline.digest(), Baseline::parse(&files("two")).unwrap().0.digest());
        assert_eq!(read.pointer.as_ref(), Some(&second));
        // The former one stays where it is.
        assert!(objects.get(&object(&first.digest)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_step_back_is_refused_or_recorded() {
    let objects = ObjectFolder::in_memory();
    published(put(&objects, "two", Some(commit(B, 5)), false).await);
    let mut all = String::new();
    for commit in [Some(commit(A, 9)), Some(commit(C, 4)), None] {
        let e = put(&objects, "one", commit, false).await.unwrap_err();
        all.push_str(&format!("{}\n\n", mimawari_base::failure::render(&e)));
    }
    insta::assert_snapshot!("step_back", all);
    assert_eq!(pointer(&objects).await.unwrap().unwrap().0.sequence, 1);
    let back = published(put(&objects, "one", Some(commit(A, 1)), true).await);
    assert_eq!((back.sequence, back.back), (2, true));
    // Another branch that is newer goes forward, and a commit that was dirty is published again.
    let other = published(put(&objects, "three", Some(commit(C, 6)), false).await);
    assert_eq!((other.sequence, other.back), (3, false));
    published(put(&objects, "four", Some(commit(C, 6)), false).await);
}

#[tokio::test]
async fn a_flag_alone_makes_no_step_back() {
    let objects = ObjectFolder::in_memory();
    published(put(&objects, "one", Some(commit(A, 1)), true).await);
    let next = published(put(&objects, "two", Some(commit(B, 2)), true).await);
    assert!(!next.back, "B comes after A");
}

#[tokio::test]
async fn what_is_damaged_is_never_an_empty_baseline() {
    let mut all = String::new();
    let objects = ObjectFolder::in_memory();
    let refusal = async |objects: &ObjectFolder| {
        format!("{}\n\n", mimawari_base::failure::render(&read(objects).await.unwrap_err()))
    };
    all.push_str(&refusal(&objects).await);
    let p = published(put(&objects, "one", None, false).await);
    let name = object(&p.digest);
    let (good, _) = objects.get(&name).await.unwrap().unwrap();
    let other = String::from_utf8(good.to_vec()).unwrap().replace("tcp/80", "tcp/1-65535");
    for text in [other.as_str(), "{", ""] {
        objects.overwrite(&name, text.to_owned().into()).await.unwrap();
        all.push_str(&refusal(&objects).await);
    }
    // It is not published over, either.
    put(&objects, "two", None, false).await.unwrap();
    let e = put(&objects, "one", None, false).await.unwrap_err();
    all.push_str(&format!("{}\n\n", mimawari_base::failure::render(&e)));
    objects.delete(&object(&pointer(&objects).await.unwrap().unwrap().0.digest)).await.unwrap();
    all.push_str(&refusal(&objects).await);
    // The remedy that it names is one.
    put(&objects, "two", None, false).await.unwrap();
    read(&objects).await.unwrap();
    for text in ["{", "{\"version\":2}"] {
        objects.overwrite(POINTER, text.into()).await.unwrap();
        all.push_str(&refusal(&objects).await);
    }
    for (key, value) in [("version", "2"), ("digest", "\"../x\""), ("commit", "\"--help\"")] {
        let mut forged = serde_json::to_value(&p).unwrap();
        forged[key] = serde_json::from_str(value).unwrap();
        objects.overwrite(POINTER, forged.to_string().into()).await.unwrap();
        all.push_str(&refusal(&objects).await);
    }
    insta::assert_snapshot!("damaged", all);
}
