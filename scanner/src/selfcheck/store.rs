//! A place where things are kept, tried for real: what is there can be read; what is created once is
//! refused the second time; it can be listed and deleted.

use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use mimawari_store::{Location, Objects, Store, Written};

use super::line::Found;

/// What is kept at a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The state.
    State,
    /// Rounds of several tasks. What a shard saves there nobody deletes but the bucket itself, so a
    /// task need not be allowed to.
    Rounds,
}

impl Kept {
    /// Folder of the object that is made and deleted again: where the tasks may write.
    const fn folder(self) -> &'static str {
        match self {
            Self::State => "selfcheck",
            Self::Rounds => "selfcheck/shards",
        }
    }
}

/// What became of the trial.
#[derive(Debug)]
pub struct Trial {
    /// The number of the newest state, where the location holds the state.
    pub generation: Option<Result<u64>>,
    /// The first creation.
    pub first: Result<Written>,
    /// The second one of the same name.
    pub second: Option<Result<Written>>,
    /// When the store says that it was written, and what our clock said then.
    pub times: Option<Result<Option<(Timestamp, Timestamp)>>>,
    /// The deletion.
    pub deleted: Option<Result<()>>,
}

/// Tries a location. `name` is new in every trial.
pub async fn attempt(at: &Location, kept: Kept, name: &str, now: fn() -> Timestamp) -> Trial {
    let folder = kept.folder();
    let generation = if kept == Kept::State { Some(read(at).await) } else { None };
    let was_there = matches!(at, Location::Folder(dir) if dir.exists());
    let objects = match Objects::open(at) {
        Ok(objects) => objects,
        Err(e) => {
            return Trial { generation, first: Err(e), second: None, times: None, deleted: None };
        }
    };
    let object = format!("{folder}/{name}");
    let body = || Bytes::from_static(b"mimawari selfcheck\n");
    let asked = now();
    let first = objects.create(&object, body()).await;
    let answered = now();
    let (mut second, mut times, mut deleted) = (None, None, None);
    if matches!(first, Ok(Written::Done)) {
        second = Some(objects.create(&object, body()).await);
        let ours = asked + answered.duration_since(asked) / 2;
        times = Some(
            objects
                .list(folder, None)
                .await
                .map(|found| found.into_iter().find(|(n, _)| n == name).map(|(_, at)| (at, ours))),
        );
        deleted = Some(objects.delete(&object).await);
    }
    if let Location::Folder(dir) = at {
        // Only what is empty goes.
        for folder in Path::new(folder).ancestors().filter(|f| !f.as_os_str().is_empty()) {
            let _ = std::fs::remove_dir(dir.join(folder));
        }
        if !was_there {
            let _ = std::fs::remove_dir(dir);
        }
    }
    Trial { generation, first, second, times, deleted }
}

async fn read(at: &Location) -> Result<u64> {
    Ok(Store::look(at)?.latest().await?.number)
}

impl Trial {
    /// What the store's clock said, where it is not our own.
    #[must_use]
    pub fn clock(&self, at: &Location) -> Option<(Timestamp, Timestamp)> {
        match (at, &self.times) {
            (Location::S3(_), Some(Ok(times))) => *times,
            _ => None,
        }
    }
}

/// Judges.
#[must_use]
pub fn judge(at: &Location, kept: Kept, trial: &Trial) -> Found {
    let state = match &trial.generation {
        Some(Err(e)) => return Found::of_error(e),
        Some(Ok(0)) => ", no state yet".to_owned(),
        Some(Ok(n)) => format!(", state of generation {n}"),
        None => String::new(),
    };
    match &trial.first {
        Err(e) => return Found::of_error(e),
        Ok(Written::Conflict) => {
            return Found::fail(
                format!("{at} says that a new name is there already"),
                "the store does not do conditional writes right: use S3, or a folder",
            );
        }
        Ok(Written::Done) => {}
    }
    match &trial.second {
        Some(Ok(Written::Conflict)) => {}
        Some(Err(e)) => return Found::of_error(e),
        Some(Ok(Written::Done)) | None => {
            return Found::fail(
                format!("{at} took a second object of the same name, where only one may be"),
                "two runs at once would overwrite each other: use a store that keeps If-None-Match (S3 \
                 does), or a folder",
            );
        }
    }
    match &trial.times {
        Some(Err(e)) => return Found::of_error(e),
        Some(Ok(None)) => {
            return Found::fail(
                format!("{at} does not list what was just written"),
                "use a store that lists what is there at once, as S3 does",
            );
        }
        Some(Ok(Some(_))) | None => {}
    }
    if let Some(Err(e)) = &trial.deleted {
        let behind = format!("{at}/{}", kept.folder());
        if kept == Kept::Rounds {
            return Found::ok(format!(
                "{at}: created once, refused twice, listed; may not be deleted, so it stays in {behind}"
            ));
        }
        let Found { what, remedy, .. } = Found::of_error(e);
        return Found::warn(
            format!("{what}; left behind under {behind}"),
            remedy.unwrap_or_default(),
        );
    }
    Found::ok(format!("{at}: read{state}, created once, refused twice, listed, deleted"))
}

#[cfg(test)]
mod tests {
    use mimawari_base::failure::Failure;

    use super::super::line::Mark;
    use super::*;

    fn trial() -> Trial {
        Trial {
            generation: Some(Ok(3)),
            first: Ok(Written::Done),
            second: Some(Ok(Written::Conflict)),
            times: Some(Ok(Some((Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)))),
            deleted: Some(Ok(())),
        }
    }

    fn e<T>() -> Result<T> {
        Err(Failure::new("cannot write x: HTTP status 403").help("see the role").into())
    }

    #[test]
    fn each_thing_that_may_go_wrong_is_seen() {
        let at = Location::Folder("/s".into());
        let mark = |t: &Trial| judge(&at, Kept::State, t).mark;
        assert_eq!(mark(&trial()), Mark::Ok);
        assert!(judge(&at, Kept::State, &trial()).what.contains("state of generation 3"));
        assert_eq!(mark(&Trial { generation: Some(e()), ..trial() }), Mark::Fail);
        assert_eq!(mark(&Trial { first: e(), ..trial() }), Mark::Fail);
        assert_eq!(mark(&Trial { first: Ok(Written::Conflict), ..trial() }), Mark::Fail);
        let lax = judge(&at, Kept::State, &Trial { second: Some(Ok(Written::Done)), ..trial() });
        assert_eq!(lax.mark, Mark::Fail);
        assert!(lax.remedy.unwrap().contains("If-None-Match"));
        assert_eq!(mark(&Trial { second: Some(e()), ..trial() }), Mark::Fail);
        assert_eq!(mark(&Trial { times: Some(e()), ..trial() }), Mark::Fail);
        assert_eq!(mark(&Trial { times: Some(Ok(None)), ..trial() }), Mark::Fail);
        let left = Trial { deleted: Some(e()), generation: None, ..trial() };
        let left = judge(&at, Kept::Rounds, &left);
        assert!(left.mark == Mark::Ok && left.what.contains("selfcheck/shards"), "{left:?}");
        let left = judge(&at, Kept::State, &Trial { deleted: Some(e()), ..trial() });
        assert_eq!((left.mark, left.remedy.as_deref()), (Mark::Warn, Some("see the role")));
    }

    #[tokio::test]
    async fn a_folder_is_tried_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        for at in [dir.path().to_owned(), dir.path().join("not/yet")] {
            let at = Location::Folder(at);
            let trial = attempt(&at, Kept::State, "abc", Timestamp::now).await;
            let found = judge(&at, Kept::State, &trial);
            assert_eq!(found.mark, Mark::Ok, "{found:?}");
            assert_eq!(trial.clock(&at), None);
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert!(left.len() <= 1 && !dir.path().join("not/yet").exists(), "{left:?}");
    }
}
