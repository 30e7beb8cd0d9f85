//! A configuration on S3: the folder of the object is copied into a fresh folder first, so that what
//! lies beside the configuration (hosts, checks, manifests, the baseline) is found as everywhere.
//!
//! The copy is removed with the last path into it. Messages name the objects, never the copies.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _};
use mimawari_base::failure::Failure;
use mimawari_base::source_path::SourcePath;
use mimawari_store::{ObjectFolder, StoreLocation};

/// Objects in the folder of a configuration, at most.
pub const MAX_OBJECTS: usize = 2_000;
/// Bytes of all of them together, at most: a list of ten million virtual hosts is smaller.
pub const MAX_BYTES: u64 = 1 << 30;
/// Copied at once.
const AT_ONCE: usize = 16;
/// Segments of a name, at most.
const MAX_DEPTH: usize = 16;

const URL_HELP: &str = "write s3://bucket/folder/patrol.toml";

/// Whether a configuration is to be fetched, and from where.
#[must_use]
pub fn parse_s3_url(config: &Path) -> Option<&str> {
    config.to_str().filter(|text| text.starts_with("s3://"))
}

/// How the bucket is reached, and where the copy is made.
#[derive(Debug, Default)]
pub struct StoreReach {
    /// Instead of AWS's own; the only one that may be `http://`.
    pub endpoint: Option<String>,
    /// The folder under which the copy is made; the system's for temporary files without one.
    pub work: Option<PathBuf>,
}

impl StoreReach {
    /// As `MIMAWARI_CONFIG_ENDPOINT` and `MIMAWARI_WORK` say.
    #[must_use]
    pub fn from_environment() -> Self {
        let given = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        Self {
            endpoint: given("MIMAWARI_CONFIG_ENDPOINT").and_then(|e| e.into_string().ok()),
            work: given("MIMAWARI_WORK").map(PathBuf::from),
        }
    }
}

/// Copies the folder of `s3://bucket/folder/file`; gives the folder and the name of the file in it. The copy is
/// removed with the last path into it.
///
/// # Errors
/// A [`Failure`] when the URL is none, the object is not there, the store cannot be read, or there
/// is more in the folder than a configuration needs.
pub fn fetch(url: &str, reach: &StoreReach) -> Result<(SourcePath, String)> {
    let wrong = |e: &dyn std::fmt::Display| {
        Failure::new(format!("the configuration cannot be fetched: {e}")).help(URL_HELP)
    };
    StoreLocation::parse(url, None, reach.endpoint.as_deref(), Path::new(""))
        .map_err(|e| wrong(&e))?;
    let (folder, file) = url.rsplit_once('/').unwrap_or((url, ""));
    if file.is_empty() || folder.ends_with('/') {
        return Err(wrong(&"only a bucket or a folder is named, and no file").into());
    }
    let location = StoreLocation::parse(folder, None, reach.endpoint.as_deref(), Path::new(""))
        .map_err(|e| wrong(&e))?;
    let work = reach.work.clone().unwrap_or_else(std::env::temp_dir);
    let mode = std::fs::Permissions::from_mode(0o700);
    let dir = std::fs::create_dir_all(&work)
        .and_then(|()| {
            tempfile::Builder::new().prefix("config-").permissions(mode).tempdir_in(&work)
        })
        .map_err(|e| {
            Failure::new(format!(
                "cannot make a folder for the configuration in {}",
                work.display()
            ))
            .help("name a folder that can be written as MIMAWARI_WORK")
            .source(e)
        })?;
    // The caller may be inside a runtime, where none can be started; and configurations are read by
    // code that does not wait for anything else.
    let count = std::thread::scope(|scope| {
        let copying = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(download_objects(&ObjectFolder::open(&location)?, file, dir.path()))
        });
        copying.join().unwrap_or_else(|_| Err(wrong(&"the program made a mistake").into()))
    })?;
    tracing::info!(config = url, objects = count, "configuration fetched");
    let path = dir.path().to_owned();
    Ok((SourcePath::from_copy(path, folder.to_owned(), Arc::new(dir)), file.to_owned()))
}

/// Copies all objects of a location into a folder; gives their number. `file` must be among them.
async fn download_objects(objects: &ObjectFolder, file: &str, dir: &Path) -> Result<usize> {
    let found = objects.tree(MAX_OBJECTS).await?;
    let names = check(&found).map_err(|why| {
        Failure::new(format!("the folder {} {why}", objects.shown(""))).help(
            "keep the configuration and what it needs in a folder of its own, and nothing else",
        )
    })?;
    if !names.iter().any(|(name, _)| name == file) {
        return Err(Failure::new(format!("there is no configuration {}", objects.shown(file)))
            .help("put it there, or name another with -c or MIMAWARI_CONFIG")
            .into());
    }
    let folders: BTreeSet<&Path> =
        names.iter().filter_map(|(n, _)| Path::new(n).parent()).collect();
    for folder in folders {
        let folder = dir.join(folder);
        std::fs::create_dir_all(&folder).map_err(|e| {
            Failure::new(format!("cannot make the folder {}", folder.display())).source(e)
        })?;
    }
    // A store may list one size and send a body of another: each copy must have the listed size.
    let copies = names.iter().map(|(name, size)| async move {
        match objects.copy_to(name, &dir.join(name), *size).await? {
            Some(bytes) if bytes == *size => Ok(()),
            _ => Err(Failure::new(format!("{} changed while it was read", objects.shown(name)))
                .help("do it again")
                .into()),
        }
    });
    futures_util::stream::iter(copies)
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await
        .map(|all: Vec<()>| all.len())
}

/// The objects that are files, if they can be: few, small, with names that stay inside a folder.
fn check(found: &[(String, u64)]) -> Result<Vec<&(String, u64)>, String> {
    if found.len() > MAX_OBJECTS {
        return Err(format!("holds more than {MAX_OBJECTS} objects"));
    }
    let total = found.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
    if total > MAX_BYTES {
        return Err(format!("holds {total} bytes, and {MAX_BYTES} are the most"));
    }
    let names: BTreeSet<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let mut files = Vec::new();
    for object in found {
        let (name, size) = object;
        let segments: Vec<&str> = name.split('/').collect();
        let fits = |s: &&str| {
            !matches!(*s, "" | "." | "..") && s.len() <= 255 && !s.chars().any(char::is_control)
        };
        if segments.len() > MAX_DEPTH || !segments.iter().all(fits) {
            let shown: String = name.escape_debug().take(80).collect();
            return Err(format!("holds an object whose name cannot be a file's: `{shown}`"));
        }
        // An empty object of this name is the marker of a folder, which some tools make.
        let inside = format!("{name}/");
        let next = names.range(inside.as_str()..).next();
        if !next.is_some_and(|n| n.starts_with(&inside)) {
            files.push(object);
        } else if *size > 0 {
            let shown = name.escape_debug();
            return Err(format!("holds `{shown}` both as an object and as a folder"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn found(names: &[(&str, u64)]) -> Vec<(String, u64)> {
        names.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect()
    }

    #[test]
    fn what_is_no_url_of_a_file_is_refused_and_not_repeated() {
        let reach = StoreReach::default();
        for (url, why) in [
            ("s3://bucket", "no file"),
            ("s3://bucket/", "no file"),
            ("s3://bucket/config/", "no file"),
            ("s3://b/x", "3 to 63"),
            ("s3://KEY:not-a-secret@bucket/c/patrol.toml", "no credentials"),
            ("s3://bucket/../patrol.toml", "empty segment"),
            ("s3://bucket//patrol.toml", "no file"),
            ("s3://bucket/a//patrol.toml", "empty segment"),
        ] {
            let e = fetch(url, &reach).unwrap_err();
            let text = mimawari_base::failure::render(&e);
            assert!(text.contains(why), "{url}: {text}");
            assert!(text.contains("help: write s3://"), "{url}: {text}");
            assert!(!text.contains("not-a-secret"), "{text}");
        }
        assert_eq!(parse_s3_url(Path::new("patrol.toml")), None);
        assert_eq!(parse_s3_url(Path::new("s3://b/x")), Some("s3://b/x"));
    }

    #[test]
    fn only_what_can_be_files_is_taken() {
        let all = found(&[("baseline", 0), ("baseline/a.toml", 3), ("patrol.toml", 9)]);
        let files = check(&all).unwrap();
        assert_eq!(files, [&all[1], &all[2]]);
        let long = "a/".repeat(MAX_DEPTH) + "b";
        for (name, size, why) in [
            ("a/../b", 1, "cannot be a file's"),
            ("a/./b", 1, "cannot be a file's"),
            ("a//b", 1, "cannot be a file's"),
            ("a/\u{1b}[2J", 1, "`a/\\u{1b}[2J`"),
            (long.as_str(), 1, "cannot be a file's"),
            ("big", MAX_BYTES, "are the most"),
            ("baseline", 1, "both as an object and as a folder"),
        ] {
            let mut all = found(&[("patrol.toml", 9), ("baseline/a.toml", 3), (name, size)]);
            all.sort();
            let message = check(&all).unwrap_err();
            assert!(message.contains(why), "{name}: {message}");
        }
        let many: Vec<_> = (0..=MAX_OBJECTS).map(|n| (n.to_string(), 0)).collect();
        assert_eq!(check(&many).unwrap_err(), "holds more than 2000 objects");
    }

    #[tokio::test]
    async fn a_folder_is_copied_with_what_lies_beside() {
        let objects = ObjectFolder::in_memory();
        for (name, text) in [("patrol.toml", "a"), ("baseline/x/b.toml", "bb"), ("vhosts.csv", "")]
        {
            let _ = objects.create(name, Bytes::from_static(text.as_bytes())).await.unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(download_objects(&objects, "patrol.toml", dir.path()).await.unwrap(), 3);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((read("patrol.toml").as_str(), read("baseline/x/b.toml").as_str()), ("a", "bb"));
        assert_eq!(read("vhosts.csv"), "");
        let e = download_objects(&objects, "absent.toml", dir.path()).await.unwrap_err();
        assert!(e.to_string().contains("there is no configuration"), "{e}");
        // What is there already is never written over.
        assert!(download_objects(&objects, "patrol.toml", dir.path()).await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_is_larger_than_it_may_be_is_not_kept_whole() {
        let objects = ObjectFolder::in_memory();
        let _ = objects.create("a", Bytes::from_static(b"12345")).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let e = objects.copy_to("a", &dir.path().join("a"), 4).await.unwrap_err();
        assert!(e.to_string().contains("more than 4 bytes"), "{e}");
        assert!(!dir.path().join("a").exists());
        assert_eq!(objects.copy_to("b", &dir.path().join("b"), 4).await.unwrap(), None);
    }
}
