//! What lies under a prefix, and copies of it as files.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _};
use mimawari_base::failure::Failure;
use object_store::path::Path as Key;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _};

use super::{ObjectFolder, attach_failure_kind, cannot_open, explain, is_absent};

const READ_REMEDY: &str = "see that bucket, region and endpoint are right, and that the role may do s3:GetObject and \
     s3:ListBucket there";

impl ObjectFolder {
    /// The names (relative to the location) and sizes of all objects under it, in order; `most` and
    /// one more at most, so that a caller sees that there are too many.
    ///
    /// # Errors
    /// A [`Failure`] when they cannot be listed, or one's name has an empty segment, `.`, `..` or a
    /// control character.
    pub async fn tree(&self, most: usize) -> Result<Vec<(String, u64)>> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let listed = self.inner.list(prefix).take(most.saturating_add(1)).try_collect::<Vec<_>>();
        let listed = listed.await.map_err(|e| self.cannot_copy("", &e))?;
        let mut found: Vec<(String, u64)> = listed
            .into_iter()
            .filter_map(|meta| {
                let parts: Vec<_> = meta.location.prefix_match(&self.prefix)?.collect();
                let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
                Some((parts.join("/"), meta.size))
            })
            // The marker of the folder itself, which some tools make.
            .filter(|(name, _)| !name.is_empty())
            .collect();
        found.sort();
        Ok(found)
    }

    /// Copies an object into a file that is not there yet, readable by its owner alone; gives its
    /// bytes. `None`: there is no such object. A body of more than `most` bytes is an error.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read or written, or is too large.
    pub async fn copy_to(&self, name: &str, file: &Path, most: u64) -> Result<Option<u64>> {
        let prefix = self.prefix.as_ref();
        let key = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let key = Key::parse(key).map_err(|e| self.cannot_copy(name, &e.into()))?;
        let got = match self.inner.get(&key).await {
            Ok(got) => got,
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(self.cannot_copy(name, &e)),
        };
        let too_large = || {
            Failure::new(format!("{} has more than {most} bytes left to it", self.shown(name)))
                .help("keep only what the configuration needs in its folder")
        };
        if got.meta.size > most {
            return Err(too_large().into());
        }
        let cannot_write = |e: &std::io::Error| cannot_open(&file.display().to_string(), e);
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .map_err(|e| cannot_write(&e))?;
        let mut body = got.into_stream();
        let mut bytes = 0_u64;
        while let Some(part) = body.try_next().await.map_err(|e| self.cannot_copy(name, &e))? {
            bytes = bytes.saturating_add(part.len() as u64);
            // What a server says of the length need not be true.
            if bytes > most {
                return Err(too_large().into());
            }
            out.write_all(&part).map_err(|e| cannot_write(&e))?;
        }
        Ok(Some(bytes))
    }

    fn cannot_copy(&self, name: &str, e: &Error) -> anyhow::Error {
        let shown = self.shown(name);
        if let Error::InvalidPath { .. } = e {
            return Failure::new(format!(
                "{shown} holds an object whose name has an empty segment, `.`, `..` or a control character"
            ))
            .help("remove it; see who can write there")
            .into();
        }
        attach_failure_kind(Failure::new(format!("cannot read {shown}: {}", explain(e))), e)
            .help(READ_REMEDY)
            .into()
    }
}
