//! A place where things are kept, tried for real: what is there can be read; what is created once is
//! refused the second time; it can be listed and deleted.

use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use mimawari_store::{ObjectFolder, StateStore, StoreLocation, WriteOutcome};

use super::line::CheckFinding;

/// What is kept at a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// The state.
    State,
    /// Rounds of several tasks. What a shard saves there nobody deletes but the bucket itself, so a
    /// task need not be allowed to.
    Rounds,
}

impl StoreKind {
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
pub struct StoreTrial {
    /// The number of the newest state, where the location holds the state.
    pub generation: Option<Result<u64>>,
    /// The first creation.
    pub first: Result<WriteOutcome>,
    /// The second one of the same name.
    pub second: Option<Result<WriteOutcome>>,
    /// When the store says that it was written, and what our clock said then.
    pub times: Option<Result<Option<(Timestamp, Timestamp)>>>,
    /// The deletion.
    pub deleted: Option<Result<()>>,
}

/// Tries a location. `name` is new in every trial.
pub async fn check_store_location(
    at: &StoreLocation,
    kept: StoreKind,
    name: &str,
    now: fn() -> Timestamp,
) -> StoreTrial {
    let folder = kept.folder();
    let generation = if kept == StoreKind::State { Some(read(at).await) } else { None };
    let was_there = matches!(at, StoreLocation::Folder(dir) if dir.exists());
    let objects = match ObjectFolder::open(at) {
        Ok(objects) => objects,
        Err(e) => {
            return StoreTrial {
                generation,
                first: Err(e),
                second: None,
                times: None,
                deleted: None,
            };
        }
    };
    let object = format!("{folder}/{name}");
    let body = || Bytes::from_static(b"mimawari selfcheck\n");
    let asked = now();
    let first = objects.create(&object, body()).await;
    let answered = now();
    let (mut second, mut times, mut deleted) = (None, None, None);
    if matches!(first, Ok(WriteOutcome::Done)) {
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
    if let StoreLocation::Folder(dir) = at {
        // Only what is empty goes.
        for folder in Path::new(folder).ancestors().filter(|f| !f.as_os_str().is_empty()) {
            let _ = std::fs::remove_dir(dir.join(folder));
        }
        if !was_there {
            let _ = std::fs::remove_dir(dir);
        }
    }
    StoreTrial { generation, first, second, times, deleted }
}

async fn read(at: &StoreLocation) -> Result<u64> {
    Ok(StateStore::look(at)?.latest().await?.number)
}

impl StoreTrial {
    /// What the store's clock said, where it is not our own.
    #[must_use]
    pub fn clock(&self, at: &StoreLocation) -> Option<(Timestamp, Timestamp)> {
        match (at, &self.times) {
            (StoreLocation::S3(_), Some(Ok(times))) => *times,
            _ => None,
        }
    }
}

/// Judges.
#[must_use]
pub fn judge(at: &StoreLocation, kept: StoreKind, trial: &StoreTrial) -> CheckFinding {
    let state = match &trial.generation {
        Some(Err(e)) => return CheckFinding::of_error(e),
        Some(Ok(0)) => ", no state yet".to_owned(),
        Some(Ok(n)) => format!(", state of generation {n}"),
        None => String::new(),
    };
    match &trial.first {
        Err(e) => return CheckFinding::of_error(e),
        Ok(WriteOutcome::Conflict) => {
            return CheckFinding::fail(
                format!("{at} says that a new name is there already"),
                "the store does not do conditional writes right: use S3, or a folder",
            );
        }
        Ok(WriteOutcome::Done) => {}
    }
    match &trial.second {
        Some(Ok(WriteOutcome::Conflict)) => {}
        Some(Err(e)) => return CheckFinding::of_error(e),
        Some(Ok(WriteOutcome::Done)) | None => {
            return CheckFinding::fail(
                format!("{at} took a second object of the same name, where only one may be"),
                "two runs at once would overwrite each other: use a store that keeps If-None-Match (S3 \
                 does), or a folder",
            );
        }
    }
    match &trial.times {
        Some(Err(e)) => return CheckFinding::of_error(e),
        Some(Ok(None)) => {
            return CheckFinding::fail(
                format!("{at} does not list what was just written"),
                "use a store that lists what is there at once, as S3 does",
            );
        }
        Some(Ok(Some(_))) | None => {}
    }
    if let Some(Err(e)) = &trial.deleted {
        let behind = format!("{at}/{}", kept.folder());
        if kept == StoreKind::Rounds {
            return CheckFinding::ok(format!(
                "{at}: created once, refused twice, listed; may not be deleted, so it stays in {behind}"
            ));
        }
        let CheckFinding { what, remedy, .. } = CheckFinding::of_error(e);
        return CheckFinding::warn(
            format!("{what}; left behind under {behind}"),
            remedy.unwrap_or_default(),
        );
    }
    CheckFinding::ok(format!("{at}: read{state}, created once, refused twice, listed, deleted"))
}

#[cfg(test)]
mod tests {
    use mimawari_base::failure::Failure;

    use super::super::line::LineMark;
    use super::*;

    fn trial() -> StoreTrial {
        StoreTrial {
            generation: Some(Ok(3)),
            first: Ok(WriteOutcome::Done),
            second: Some(Ok(WriteOutcome::Conflict)),
            times: Some(Ok(Some((Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)))),
            deleted: Some(Ok(())),
        }
    }

    fn e<T>() -> Result<T> {
        Err(Failure::new("cannot write x: HTTP status 403").help("see the role").into())
    }

    #[test]
    fn each_thing_that_may_go_wrong_is_seen() {
        let at = StoreLocation::Folder("/s".into());
        let mark = |t: &StoreTrial| judge(&at, StoreKind::State, t).mark;
        assert_eq!(mark(&trial()), LineMark::Ok);
        assert!(judge(&at, StoreKind::State, &trial()).what.contains("state of generation 3"));
        assert_eq!(mark(&StoreTrial { generation: Some(e()), ..trial() }), LineMark::Fail);
        assert_eq!(mark(&StoreTrial { first: e(), ..trial() }), LineMark::Fail);
        assert_eq!(
            mark(&StoreTrial { first: Ok(WriteOutcome::Conflict), ..trial() }),
            LineMark::Fail
        );
        let lax = judge(
            &at,
            StoreKind::State,
            &StoreTrial { second: Some(Ok(WriteOutcome::Done)), ..trial() },
        );
        assert_eq!(lax.mark, LineMark::Fail);
        assert!(lax.remedy.unwrap().contains("If-None-Match"));
        assert_eq!(mark(&StoreTrial { second: Some(e()), ..trial() }), LineMark::Fail);
        assert_eq!(mark(&StoreTrial { times: Some(e()), ..trial() }), LineMark::Fail);
        assert_eq!(mark(&StoreTrial { times: Some(Ok(None)), ..trial() }), LineMark::Fail);
        let left = StoreTrial { deleted: Some(e()), generation: None, ..trial() };
        let left = judge(&at, StoreKind::Rounds, &left);
        assert!(left.mark == LineMark::Ok && left.what.contains("selfcheck/shards"), "{left:?}");
        let left = judge(&at, StoreKind::State, &StoreTrial { deleted: Some(e()), ..trial() });
        assert_eq!((left.mark, left.remedy.as_deref()), (LineMark::Warn, Some("see the role")));
    }

    #[tokio::test]
    async fn a_folder_is_tried_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        for at in [dir.path().to_owned(), dir.path().join("not/yet")] {
            let at = StoreLocation::Folder(at);
            let trial = check_store_location(&at, StoreKind::State, "abc", Timestamp::now).await;
            let found = judge(&at, StoreKind::State, &trial);
            assert_eq!(found.mark, LineMark::Ok, "{found:?}");
            assert_eq!(trial.clock(&at), None);
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert!(left.len() <= 1 && !dir.path().join("not/yet").exists(), "{left:?}");
    }
}
