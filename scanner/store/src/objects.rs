//! Objects in a folder, in memory or on S3: read, create, replace on a condition, list.
//!
//! What the library says of a failure is never passed on as it is: it may hold the URL of a request
//! for credentials, or a server's answer. [`explain`] passes on status, S3's error code and what the
//! system says, and nothing else.

mod tree;

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mimawari_base::failure::{Failure, FailureKind};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode,
    PutOptions, PutPayload, RetryConfig, UpdateVersion,
};

use super::location::{BucketOptions, StoreLocation};

/// No object of ours is larger; a larger one is not read.
pub const MAX_OBJECT: u64 = 1 << 30;

/// The objects of one location.
#[derive(Clone)]
pub struct ObjectFolder {
    inner: Arc<dyn ObjectStore>,
    prefix: Key,
    shown: String,
    /// The folder, where it is one: it has no conditional replacement of its own.
    folder: Option<PathBuf>,
}

impl fmt::Debug for ObjectFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("at", &self.shown).finish_non_exhaustive()
    }
}

/// How an object was when it was read, to replace just that.
pub type SeenObjects = UpdateVersion;

/// What became of a write on a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is there.
    Done,
    /// Somebody else was first; nothing was written.
    Conflict,
}

/// An object of a bounded size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchedObject {
    /// There is none.
    Absent,
    /// It has so many bytes, which is more than was asked for; it was not read.
    TooLarge(u64),
    /// Its bytes.
    Is(Bytes),
}

/// Files from this size on are sent in parts of it, so that memory does not grow with them.
const PART: usize = 16 << 20;

impl ObjectFolder {
    /// Opens a location, making a folder if needed.
    ///
    /// # Errors
    /// A [`Failure`] when the folder cannot be made or the bucket's settings do not fit.
    pub fn open(location: &StoreLocation) -> Result<Self> {
        let shown = location.to_string();
        match location {
            StoreLocation::Folder(dir) => {
                std::fs::create_dir_all(dir).map_err(|e| cannot_open(&shown, &e))?;
                Self::of_folder(dir, shown)
            }
            StoreLocation::S3(bucket) => {
                let inner = build_s3_client(bucket, &shown)?;
                let prefix = Key::parse(&bucket.prefix).unwrap_or_default();
                Ok(Self { inner: Arc::new(inner), prefix, shown, folder: None })
            }
        }
    }

    /// Opens a location for reading: a folder that is not there has nothing in it, and is not made.
    ///
    /// # Errors
    /// As [`ObjectFolder::open`].
    pub fn look(location: &StoreLocation) -> Result<Self> {
        match location {
            StoreLocation::Folder(dir) if !dir.exists() => {
                Ok(Self { shown: location.to_string(), ..Self::in_memory() })
            }
            _ => Self::open(location),
        }
    }

    fn of_folder(dir: &Path, shown: String) -> Result<Self> {
        // What is written must outlive a power cut, since nothing else knows it.
        let inner = LocalFileSystem::new_with_prefix(dir)
            .map_err(|e| Failure::new(format!("cannot open the folder {shown}: {}", explain(&e))))?
            .with_fsync(true);
        let folder = Some(dir.to_owned());
        Ok(Self { inner: Arc::new(inner), prefix: Key::default(), shown, folder })
    }

    /// Objects in memory, for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        let inner = Arc::new(InMemory::new());
        Self { inner, prefix: Key::default(), shown: "memory".to_owned(), folder: None }
    }

    /// The folder, where it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Where an object is, for people.
    #[must_use]
    pub fn shown(&self, name: &str) -> String {
        if name.is_empty() { self.shown.clone() } else { format!("{}/{name}", self.shown) }
    }

    fn key(&self, name: &str) -> Key {
        name.split('/').fold(self.prefix.clone(), |key, part| key.join(part))
    }

    /// An object, and how it was; `None` if there is none.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read, or is too large.
    pub async fn get(&self, name: &str) -> Result<Option<(Bytes, SeenObjects)>> {
        let got = match self.inner.get(&self.key(name)).await {
            Ok(got) => got,
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(self.cannot_read(name, &e)),
        };
        if got.meta.size > MAX_OBJECT {
            let size = got.meta.size;
            return Err(Failure::new(format!("{} has {size} bytes", self.shown(name)))
                .help("nothing that mimawari writes there is larger than 1 GiB; look what it is")
                .into());
        }
        let seen = SeenObjects { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
        let bytes = got.bytes().await.map_err(|e| self.cannot_read(name, &e))?;
        Ok(Some((bytes, seen)))
    }

    /// An object of at most `most` bytes.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read.
    pub async fn get_within(&self, name: &str, most: u64) -> Result<FetchedObject> {
        let got = match self.inner.get(&self.key(name)).await {
            Ok(got) => got,
            Err(e) if is_absent(&e) => return Ok(FetchedObject::Absent),
            Err(e) => return Err(self.cannot_read(name, &e)),
        };
        if got.meta.size > most {
            return Ok(FetchedObject::TooLarge(got.meta.size));
        }
        Ok(FetchedObject::Is(got.bytes().await.map_err(|e| self.cannot_read(name, &e))?))
    }

    /// The first bytes of an object, `most` at most; `None` if there is none.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read.
    pub async fn beginning(&self, name: &str, most: u64) -> Result<Option<Bytes>> {
        let range = Some(GetRange::Bounded(0..most));
        let options = GetOptions { range, ..GetOptions::default() };
        let got = match self.inner.get_opts(&self.key(name), options).await {
            Ok(got) => got.bytes().await,
            Err(e) => Err(e),
        };
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if is_absent(&e) => Ok(None),
            // An empty object has no range; some emulators know none at all.
            Err(_) => Ok(self.get(name).await?.map(|(b, _)| b.slice(..b.len().min(most as usize)))),
        }
    }

    /// Writes an object that is not there yet.
    ///
    /// # Errors
    /// A [`Failure`]; it is then not known whether the object is there.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<WriteOutcome> {
        self.put(name, bytes, PutMode::Create).await
    }

    /// Writes an object, whatever was there.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn overwrite(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.put(name, bytes, PutMode::Overwrite).await.map(drop)
    }

    /// Writes a file as an object, whatever was there. A large one goes in parts.
    ///
    /// # Errors
    /// A [`Failure`]; the object is then as it was.
    pub async fn overwrite_from(&self, name: &str, path: &Path) -> Result<()> {
        let lost = |e: std::io::Error| {
            Failure::new(format!("cannot read {}", path.display()))
                .help("see that nobody else changes it, and do it again")
                .source(e)
        };
        let mut file = File::open(path).map_err(lost)?;
        let mut part = read_part(&mut file).map_err(lost)?;
        if part.len() < PART {
            return self.overwrite(name, part.into()).await;
        }
        let failed = |e: Error| self.cannot_write(name, &e);
        let mut upload = self.inner.put_multipart(&self.key(name)).await.map_err(failed)?;
        while !part.is_empty() {
            if let Err(e) = upload.put_part(PutPayload::from(part)).await {
                // What was sent so far is in nobody's way, but somebody pays for it.
                let _ = upload.abort().await;
                return Err(failed(e));
            }
            part = read_part(&mut file).map_err(lost)?;
        }
        upload.complete().await.map(drop).map_err(failed)
    }

    /// The names of the folders in a folder, sorted.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = self.key(folder);
        let found = self.inner.list_with_delimiter(Some(&prefix)).await;
        let found = found.map_err(|e| self.cannot_read(folder, &e))?.common_prefixes;
        let mut names: Vec<String> =
            found.iter().filter_map(|p| Some(p.filename()?.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Replaces an object if it still is as it was seen; creates it if none was.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn replace(
        &self,
        name: &str,
        bytes: Bytes,
        seen: Option<SeenObjects>,
    ) -> Result<WriteOutcome> {
        Ok(self.replace_seen(name, bytes, seen).await?.0)
    }

    /// As [`Self::replace`], and how the object is afterwards, to replace just that.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn replace_seen(
        &self,
        name: &str,
        bytes: Bytes,
        seen: Option<SeenObjects>,
    ) -> Result<(WriteOutcome, Option<SeenObjects>)> {
        let Some(seen) = seen else { return self.put_seen(name, bytes, PutMode::Create).await };
        let Some(folder) = &self.folder else {
            return self.put_seen(name, bytes, PutMode::Update(seen)).await;
        };
        // A folder has no conditional replacement: a lock stands in for it. It ends with the
        // process, whatever ends that.
        let path = folder.join(format!("{name}.lock"));
        let failed = |e: std::io::Error| cannot_open(&path.display().to_string(), &e);
        let lock = File::create(&path).map_err(failed)?;
        // The thread is not held up: who has the lock may need it to go on.
        while let Err(e) = lock.try_lock() {
            match e {
                std::fs::TryLockError::WouldBlock => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                std::fs::TryLockError::Error(e) => return Err(failed(e).into()),
            }
        }
        let now = self.get(name).await?.map(|(_, seen)| seen);
        if now.and_then(|n| n.e_tag) != seen.e_tag {
            return Ok((WriteOutcome::Conflict, None));
        }
        let written = self.put_seen(name, bytes, PutMode::Overwrite).await?;
        drop(lock);
        Ok(written)
    }

    async fn put(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<WriteOutcome> {
        Ok(self.put_seen(name, bytes, mode).await?.0)
    }

    async fn put_seen(
        &self,
        name: &str,
        bytes: Bytes,
        mode: PutMode,
    ) -> Result<(WriteOutcome, Option<SeenObjects>)> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.inner.put_opts(&self.key(name), PutPayload::from(bytes), options).await {
            Ok(put) => Ok((
                WriteOutcome::Done,
                Some(SeenObjects { e_tag: put.e_tag, version: put.version }),
            )),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                Ok((WriteOutcome::Conflict, None))
            }
            Err(e) => Err(self.cannot_write(name, &e)),
        }
    }

    /// The names (without `folder/`) and times of the objects in a folder, after the name `after`.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn list(
        &self,
        folder: &str,
        after: Option<&str>,
    ) -> Result<Vec<(String, Timestamp)>> {
        let prefix = self.key(folder);
        let stream = match after {
            Some(after) => self.inner.list_with_offset(Some(&prefix), &prefix.clone().join(after)),
            None => self.inner.list(Some(&prefix)),
        };
        let found: Vec<_> = stream.try_collect().await.map_err(|e| self.cannot_read(folder, &e))?;
        let name = |m: object_store::ObjectMeta| {
            let at = m.last_modified.timestamp();
            let at = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
            Some((m.location.filename()?.to_owned(), at))
        };
        Ok(found.into_iter().filter_map(name).collect())
    }

    /// Deletes an object; one that is not there is no error.
    ///
    /// # Errors
    /// A [`Failure`].
    pub async fn delete(&self, name: &str) -> Result<()> {
        match self.inner.delete(&self.key(name)).await {
            Err(e) if !is_absent(&e) => Err(self.cannot_write(name, &e)),
            _ => Ok(()),
        }
    }

    fn cannot_read(&self, name: &str, e: &Error) -> anyhow::Error {
        attach_failure_kind(
            Failure::new(format!("cannot read {}: {}", self.shown(name), explain(e))),
            e,
        )
        .help(self.remedy(e))
        .into()
    }

    fn cannot_write(&self, name: &str, e: &Error) -> anyhow::Error {
        attach_failure_kind(
            Failure::new(format!("cannot write {}: {}", self.shown(name), explain(e))),
            e,
        )
        .help(self.remedy(e))
        .into()
    }

    fn remedy(&self, e: &Error) -> &'static str {
        match (&self.folder, find_system_error(e).map(std::io::Error::kind)) {
            (_, Some(std::io::ErrorKind::StorageFull)) => {
                "nothing that was there before is changed; free some space and do it again"
            }
            (Some(_), _) => {
                "nothing that was there before is changed; mend the folder and do it again"
            }
            (None, _) => S3_REMEDY,
        }
    }
}

const S3_REMEDY: &str = "nothing that was there before is changed; see that bucket, region and endpoint are right, and \
     that the role may do s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there";

fn cannot_open(shown: &str, e: &std::io::Error) -> Failure {
    Failure::new(format!("cannot open {shown}: {e}"))
        .help("make it writable, or name another folder as `url`")
}

fn cannot_reach(shown: &str, e: &Error) -> Failure {
    attach_failure_kind(Failure::new(format!("cannot reach {shown}: {}", explain(e))), e)
        .help(S3_REMEDY)
}

/// The client of a bucket. Credentials come from the environment, in the order of AWS's own tools:
/// keys, web identity, the task's role, the machine's role.
fn build_s3_client(
    bucket: &BucketOptions,
    shown: &str,
) -> Result<object_store::aws::AmazonS3, Failure> {
    mimawari_base::crypto::provide();
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&bucket.name)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_virtual_hosted_style_request(false)
        .with_retry(RetryConfig {
            max_retries: 6,
            retry_timeout: Duration::from_secs(60),
            ..RetryConfig::default()
        });
    if let Some(region) = &bucket.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    let elsewhere = if bucket.endpoint.is_some() {
        None
    } else {
        let keys = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
        keys.iter().find_map(|key| builder.get_config_value(key))
    };
    if elsewhere.is_some_and(|endpoint: String| endpoint.starts_with("http://")) {
        return Err(Failure::new(format!(
            "cannot reach {shown}: the environment's endpoint is http://, which is not asked unless \
             the configuration names it"
        ))
        .help("name it as `endpoint` beside `url`, or, for a configuration that is on S3, as MIMAWARI_CONFIG_ENDPOINT; or unset AWS_ENDPOINT_URL"));
    }
    let is_http = bucket.endpoint.as_ref().is_some_and(|e| e.starts_with("http://"));
    let options = ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout(Duration::from_secs(120))
        .with_allow_http(is_http);
    builder.with_client_options(options).build().map_err(|e| cannot_reach(shown, &e))
}

/// The next [`PART`] bytes of a file; fewer only at its end.
fn read_part(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut part = Vec::new();
    std::io::Read::take(file, PART as u64).read_to_end(&mut part)?;
    Ok(part)
}

const fn is_absent(e: &Error) -> bool {
    matches!(e, Error::NotFound { .. })
}

fn iterate_error_chain<'a>(
    e: &'a Error,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(e as &'a (dyn std::error::Error + 'static)), |e| e.source())
}

/// What the system said, if it was the system.
fn find_system_error(e: &Error) -> Option<&std::io::Error> {
    iterate_error_chain(e).filter_map(|e| e.downcast_ref::<std::io::Error>()).last()
}

/// The word that follows on `before` in what the library says: it keeps the status of an answer in its
/// text alone.
fn extract_word_after(e: &Error, before: &str, fits: fn(char) -> bool) -> Option<String> {
    let said = iterate_error_chain(e).map(ToString::to_string).collect::<String>();
    let (_, after) = said.split_once(before)?;
    let word: String = after.chars().take_while(|c| fits(*c)).take(64).collect();
    (!word.is_empty()).then_some(word)
}

/// The HTTP status of an answer, if there was one.
fn extract_http_status(e: &Error) -> Option<String> {
    extract_word_after(e, "status code: ", |c| c.is_ascii_digit())
}

/// The failure with its kind, where it has one.
fn attach_failure_kind(failure: Failure, e: &Error) -> Failure {
    if extract_http_status(e).as_deref() == Some("403") {
        failure.kind(FailureKind::AccessDenied)
    } else {
        failure
    }
}

/// What may be said of an error: no URL, no header, no answer's text.
fn explain(e: &Error) -> String {
    if let Some(status) = extract_http_status(e) {
        let code = extract_word_after(e, "<Code>", |c| c.is_ascii_alphanumeric());
        return match code {
            Some(code) => format!("HTTP status {status}, {code}"),
            None => format!("HTTP status {status}"),
        };
    }
    if let Some(e) = find_system_error(e).filter(|e| e.raw_os_error().is_some()) {
        return e.to_string();
    }
    match iterate_error_chain(e).find_map(|e| e.downcast_ref::<HttpError>()).map(HttpError::kind) {
        Some(HttpErrorKind::Connect) => "no connection could be made".to_owned(),
        Some(HttpErrorKind::Timeout) => "no answer came in time".to_owned(),
        Some(_) => "the connection broke off, or the answer makes no sense".to_owned(),
        None => match e {
            Error::NotFound { .. } => "it is not there".to_owned(),
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                "access is denied".to_owned()
            }
            _ => "the store's settings or credentials do not fit".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_sent_whole_whatever_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ObjectFolder::open(&StoreLocation::Folder(dir.path().join("store"))).unwrap();
        for length in [0, 1, PART - 1, PART, PART + 1, 2 * PART + 7] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let path = dir.path().join("file");
            std::fs::write(&path, &bytes).unwrap();
            for objects in [&folder, &ObjectFolder::in_memory()] {
                objects.overwrite_from("a/b", &path).await.unwrap();
                let most = length as u64;
                assert_eq!(
                    objects.get_within("a/b", most).await.unwrap(),
                    FetchedObject::Is(bytes.clone().into())
                );
                if length > 0 {
                    let got = objects.get_within("a/b", most - 1).await.unwrap();
                    assert_eq!(got, FetchedObject::TooLarge(most));
                }
                assert_eq!(objects.folders("").await.unwrap(), ["a"]);
            }
        }
    }

    #[test]
    fn what_a_server_answers_is_not_repeated() {
        let e = Error::Generic {
            store: "S3",
            source: "Error performing GET http://x/?WebIdentityToken=not-a-secret in 1s - Server \
                     returned non-2xx status code: 403 Forbidden: <Error><Code>AccessDenied</Code>\
                     <Message>not-a-secret</Message></Error>"
                .into(),
        };
        assert_eq!(explain(&e), "HTTP status 403, AccessDenied");
        let failure = anyhow::Error::from(cannot_reach("s3://b", &e));
        assert_eq!(
            mimawari_base::failure::find_failure_kind(&failure),
            Some(FailureKind::AccessDenied)
        );
        let e = Error::Generic { store: "S3", source: "token not-a-secret".into() };
        assert!(!explain(&e).contains("not-a-secret"));
        assert_eq!(
            mimawari_base::failure::find_failure_kind(&cannot_reach("s3://b", &e).into()),
            None
        );
    }

    #[tokio::test]
    async fn a_replacement_needs_what_was_seen_on_a_folder_as_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ObjectFolder::open(&StoreLocation::Folder(dir.path().to_owned())).unwrap();
        for objects in [folder, ObjectFolder::in_memory()] {
            let put = |text: &'static str, seen| {
                objects.replace("current.json", Bytes::from_static(text.as_bytes()), seen)
            };
            assert_eq!(put("one", None).await.unwrap(), WriteOutcome::Done);
            assert_eq!(put("two", None).await.unwrap(), WriteOutcome::Conflict);
            let (_, first) = objects.get("current.json").await.unwrap().unwrap();
            assert_eq!(put("three!", Some(first.clone())).await.unwrap(), WriteOutcome::Done);
            assert_eq!(put("four", Some(first)).await.unwrap(), WriteOutcome::Conflict);
            let (text, _) = objects.get("current.json").await.unwrap().unwrap();
            assert_eq!(text, "three!");
            assert_eq!(objects.beginning("current.json", 3).await.unwrap().unwrap(), "thr");
            assert_eq!(objects.beginning("current.json", 99).await.unwrap().unwrap(), "three!");
            assert!(objects.beginning("absent", 3).await.unwrap().is_none());
        }
    }
}
