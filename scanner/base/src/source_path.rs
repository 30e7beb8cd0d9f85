//! A file to read, and the name that people know it by.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file or folder to read. Where it is a copy of something else, messages name the original, and the copy stays
/// for as long as a path to it is held.
#[derive(Clone)]
pub struct SourcePath {
    path: PathBuf,
    original: Option<OriginalName>,
}

#[derive(Clone)]
struct OriginalName {
    name: String,
    /// What removes the copy when nobody needs it any more.
    _copy: Arc<dyn Any + Send + Sync>,
}

impl SourcePath {
    /// A path into a copy. `name` is the original's; `copy` removes the copy when it is dropped.
    #[must_use]
    pub fn from_copy(path: PathBuf, name: String, copy: Arc<dyn Any + Send + Sync>) -> Self {
        Self { path, original: Some(OriginalName { name, _copy: copy }) }
    }

    /// What lies below this folder; an absolute `below` is itself.
    #[must_use]
    pub fn join(&self, below: impl AsRef<Path>) -> Self {
        let below = below.as_ref();
        let path = self.path.join(below);
        let original = self.original.as_ref().filter(|_| !below.is_absolute()).map(|o| {
            let name = format!("{}/{}", o.name.trim_end_matches('/'), below.display());
            OriginalName { name, _copy: Arc::clone(&o._copy) }
        });
        Self { path, original }
    }

    /// The name for messages: the original's where this is a copy.
    #[must_use]
    pub fn display(&self) -> impl fmt::Display + '_ {
        self
    }
}

impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.original {
            Some(original) => f.write_str(&original.name),
            None => self.path.display().fmt(f),
        }
    }
}

impl fmt::Debug for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.path, f)
    }
}

/// Two paths are equal if they open the same file.
impl PartialEq for SourcePath {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for SourcePath {}

impl Deref for SourcePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for SourcePath {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl From<PathBuf> for SourcePath {
    fn from(path: PathBuf) -> Self {
        Self { path, original: None }
    }
}

impl From<&PathBuf> for SourcePath {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Path> for SourcePath {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&str> for SourcePath {
    fn from(path: &str) -> Self {
        Path::new(path).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_name_of_the_original_and_stays_while_it_is_held() {
        let copy: Arc<dyn Any + Send + Sync> = Arc::new(());
        let folder = SourcePath::from_copy(
            "/tmp/config-1".into(),
            "s3://bucket/config".to_owned(),
            Arc::clone(&copy),
        );
        let file = folder.join("baseline").join("a.toml");
        assert_eq!(file.to_string(), "s3://bucket/config/baseline/a.toml");
        assert_eq!(&*file, Path::new("/tmp/config-1/baseline/a.toml"));
        drop(folder);
        assert_eq!(Arc::strong_count(&copy), 2);
        // What does not lie in the copy keeps its own name, and holds nothing.
        let other = file.join("/etc/checks.toml");
        assert_eq!(other.to_string(), "/etc/checks.toml");
        drop(file);
        assert_eq!((Arc::strong_count(&copy), other.is_absolute()), (1, true));
    }

    #[test]
    fn a_plain_path_is_shown_as_it_was_written() {
        let file = SourcePath::from("etc").join("hosts.csv");
        assert_eq!(file.display().to_string(), "etc/hosts.csv");
    }
}
