//! Where something is kept: a folder, or a bucket with a prefix.

use std::fmt;
use std::path::{Path, PathBuf};

use object_store::path::Path as Key;

/// A folder, or a prefix of an S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A folder of this machine.
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    S3(BucketOptions),
}

/// A prefix of an S3 bucket, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketOptions {
    /// The bucket's name.
    pub name: String,
    /// What the names of all objects begin with, without slashes around it; may be empty.
    pub prefix: String,
    /// The region, where the environment does not name it (`AWS_REGION`).
    pub region: Option<String>,
    /// Another endpoint than AWS's own, for emulators. Only one that is named here may be `http://`.
    pub endpoint: Option<String>,
}

/// Why a location was refused. No text holds what was written, since that may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Neither a path nor `s3://`.
    #[error("only a folder or s3://bucket/prefix can be named here")]
    Scheme,
    /// Something before an `@`.
    #[error("a location holds no credentials; they come from the environment")]
    Credentials,
    /// Not 3 to 63 letters, digits, dots and hyphens.
    #[error("the bucket's name is 3 to 63 small letters, digits, dots and hyphens")]
    Bucket,
    /// Empty segments, `..` and so on.
    #[error("the prefix holds an empty segment, `.`, `..` or a control character")]
    Prefix,
    /// A region or an endpoint of a folder.
    #[error("a folder has no region and no endpoint")]
    Folder,
    /// Not a plain `http(s)://` URL.
    #[error("the endpoint is not http(s)://host[:port]")]
    Endpoint,
    /// A region with other characters than AWS's have.
    #[error("the region is small letters, digits and hyphens, such as eu-central-1")]
    Region,
}

impl StoreLocation {
    /// Reads a location; a relative folder starts at `base`.
    ///
    /// # Errors
    /// [`LocationError`].
    pub fn parse(
        text: &str,
        region: Option<&str>,
        endpoint: Option<&str>,
        base: &Path,
    ) -> Result<Self, LocationError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            if region.is_some() || endpoint.is_some() {
                return Err(LocationError::Folder);
            }
            return Ok(Self::Folder(base.join(text)));
        };
        if rest.contains('@') || endpoint.is_some_and(|e| e.contains('@')) {
            return Err(LocationError::Credentials);
        }
        if scheme != "s3" {
            return Err(LocationError::Scheme);
        }
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(3..=63).contains(&name.len()) || !name.chars().all(|c| allowed(c) || c == '.') {
            return Err(LocationError::Bucket);
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.chars().any(char::is_control) || Key::parse(prefix).is_err() {
            return Err(LocationError::Prefix);
        }
        if let Some(region) = region
            && (region.is_empty() || !region.chars().all(allowed))
        {
            return Err(LocationError::Region);
        }
        if let Some(endpoint) = endpoint {
            let host =
                endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
            let fits = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
            if !host.is_some_and(|h| !h.is_empty() && h.trim_end_matches('/').chars().all(fits)) {
                return Err(LocationError::Endpoint);
            }
        }
        Ok(Self::S3(BucketOptions {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            region: region.map(str::to_owned),
            endpoint: endpoint.map(|e| e.trim_end_matches('/').to_owned()),
        }))
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => write!(f, "{}", dir.display()),
            Self::S3(b) if b.prefix.is_empty() => write!(f, "s3://{}", b.name),
            Self::S3(b) => write!(f, "s3://{}/{}", b.name, b.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreLocation, LocationError> {
        StoreLocation::parse(text, None, None, Path::new("/etc/mimawari"))
    }

    #[test]
    fn folders_and_buckets_are_told_apart() {
        assert_eq!(parse("state").unwrap().to_string(), "/etc/mimawari/state");
        assert_eq!(parse("/var/state").unwrap().to_string(), "/var/state");
        let s3 = parse("s3://corp-scan/mimawari/state/").unwrap();
        assert_eq!(s3.to_string(), "s3://corp-scan/mimawari/state");
        assert_eq!(parse("s3://corp-scan").unwrap().to_string(), "s3://corp-scan");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_not_repeated() {
        for (text, why) in [
            ("gs://bucket/x", LocationError::Scheme),
            ("https://bucket.example/x", LocationError::Scheme),
            ("s3://KEY:not-a-secret@bucket/x", LocationError::Credentials),
            ("s3://B/x", LocationError::Bucket),
            ("s3:///x", LocationError::Bucket),
            ("s3://bucket/a//b", LocationError::Prefix),
            ("s3://bucket/../b", LocationError::Prefix),
            ("s3://bucket/a\u{1b}[2J", LocationError::Prefix),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
            assert!(!why.to_string().contains("not-a-secret"));
        }
        let with =
            |region, endpoint| StoreLocation::parse("s3://bucket", region, endpoint, Path::new(""));
        assert_eq!(with(Some("eu central"), None), Err(LocationError::Region));
        assert_eq!(with(None, Some("ftp://x")), Err(LocationError::Endpoint));
        assert_eq!(with(None, Some("http://x/path")), Err(LocationError::Endpoint));
        assert_eq!(with(None, Some("http://a:b@x")), Err(LocationError::Credentials));
        assert!(with(Some("eu-central-1"), Some("http://127.0.0.1:5000")).is_ok());
        let folder = StoreLocation::parse("state", Some("eu-central-1"), None, Path::new(""));
        assert_eq!(folder, Err(LocationError::Folder));
    }
}
