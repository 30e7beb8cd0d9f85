//! Who the process is, and where it can write.

use std::path::{Path, PathBuf};

use super::line::CheckFinding;

/// Less room than this is little for a run folder.
const LITTLE: u64 = 256 << 20;

/// What was found.
#[derive(Debug, Clone)]
pub struct RunIdentity {
    /// Effective user.
    pub uid: u32,
    /// Process number.
    pub pid: u32,
    /// Whether the root file system is mounted read-only.
    pub read_only_root: Option<bool>,
    /// Where run folders are made under way: MIMAWARI_WORK, else the system's temporary folder.
    pub work: FolderIdentity,
    /// Whether MIMAWARI_WORK is set.
    pub work_is_set: bool,
    /// `[output] dir`.
    pub output: Option<FolderIdentity>,
}

/// A folder that was tried.
#[derive(Debug, Clone)]
pub struct FolderIdentity {
    /// Which.
    pub path: PathBuf,
    /// Why nothing can be written there, if so.
    pub refused: Option<String>,
    /// Free bytes.
    pub free: Option<u64>,
}

impl FolderIdentity {
    /// Tries a folder by a file without a name; one that is not there, by the next above it that is.
    #[must_use]
    pub fn try_at(path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let there = absolute.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
        let refused = tempfile::tempfile_in(there).err().map(|e| e.to_string());
        let free = rustix::fs::statvfs(there).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize));
        Self { path: path.to_owned(), refused, free }
    }
}

/// Looks.
#[must_use]
pub fn look(uid: u32, output: Option<&Path>) -> RunIdentity {
    let set = std::env::var_os("MIMAWARI_WORK").filter(|w| !w.is_empty());
    let work = set.as_ref().map_or_else(std::env::temp_dir, PathBuf::from);
    let flags = rustix::fs::statvfs("/").ok().map(|s| s.f_flag);
    RunIdentity {
        uid,
        pid: std::process::id(),
        read_only_root: flags.map(|f| f.contains(rustix::fs::StatVfsMountFlags::RDONLY)),
        work: FolderIdentity::try_at(&work),
        work_is_set: set.is_some(),
        output: output.map(FolderIdentity::try_at),
    }
}

/// Judges.
#[must_use]
pub fn judge(i: &RunIdentity) -> CheckFinding {
    let pid = if i.pid == 1 { ", PID 1 (signals are handled)" } else { "" };
    let root = match i.read_only_root {
        Some(true) => ", read-only root",
        Some(false) => ", writable root",
        None => "",
    };
    let who = format!("uid {}{pid}{root}", i.uid);
    let work = i.work.path.display();
    if let Some(why) = &i.work.refused {
        let remedy = if i.work_is_set {
            format!(
                "make {work} writable for uid {}, or name another folder by MIMAWARI_WORK",
                i.uid
            )
        } else {
            "set MIMAWARI_WORK to a folder that can be written, such as a mounted volume".to_owned()
        };
        return CheckFinding::fail(
            format!("{who}; nothing can be written to {work}: {why}"),
            remedy,
        );
    }
    let room = |f: &FolderIdentity| {
        f.free.map_or_else(
            || "unknown room".to_owned(),
            |b| format!("{} free", super::limits::format_bytes(b)),
        )
    };
    let what = format!("{who}; work in {work}, {}", room(&i.work));
    if let Some(out) = &i.output
        && let Some(why) = &out.refused
    {
        let what =
            format!("{what}; run folders cannot be written to {}: {why}", out.path.display());
        let remedy = "name a folder that can be written as `dir` under [output], or with --out";
        // Rounds make their run folders in the scratch folder.
        return if i.work_is_set {
            CheckFinding::warn(what, remedy)
        } else {
            CheckFinding::fail(what, remedy)
        };
    }
    let little = |f: &&FolderIdentity| f.free.is_some_and(|b| b < LITTLE);
    if let Some(f) = [Some(&i.work), i.output.as_ref()].into_iter().flatten().find(little) {
        let what = format!("{what}; {} has {}", f.path.display(), room(f));
        return CheckFinding::warn(
            what,
            "give it 256 MiB or more: a run folder of a large sweep takes that",
        );
    }
    CheckFinding::ok(what)
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    fn folder(refused: Option<&str>, free: u64) -> FolderIdentity {
        let refused = refused.map(str::to_owned);
        FolderIdentity { path: "/w".into(), refused, free: Some(free) }
    }

    fn identity() -> RunIdentity {
        RunIdentity {
            uid: 65532,
            pid: 1,
            read_only_root: Some(true),
            work: folder(None, 1 << 30),
            work_is_set: true,
            output: Some(folder(None, 1 << 30)),
        }
    }

    #[test]
    fn the_usual_is_well() {
        let found = judge(&identity());
        assert_eq!(found.mark, LineMark::Ok);
        assert!(found.what.contains("uid 65532, PID 1"), "{}", found.what);
        assert!(found.what.contains("read-only root"), "{}", found.what);
    }

    #[test]
    fn folders_that_cannot_be_written_name_the_variable() {
        let refused = RunIdentity { work: folder(Some("EROFS"), 0), ..identity() };
        assert_eq!(judge(&refused).mark, LineMark::Fail);
        let unset = RunIdentity { work_is_set: false, ..refused };
        assert!(judge(&unset).remedy.unwrap().contains("MIMAWARI_WORK"));
        let out = RunIdentity { output: Some(folder(Some("EROFS"), 0)), ..identity() };
        assert_eq!(judge(&out).mark, LineMark::Warn);
        assert_eq!(judge(&RunIdentity { work_is_set: false, ..out }).mark, LineMark::Fail);
    }

    #[test]
    fn little_room_is_a_warning() {
        let little = RunIdentity { work: folder(None, 1 << 20), ..identity() };
        assert_eq!(judge(&little).mark, LineMark::Warn);
    }
}
