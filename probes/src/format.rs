//! Versions of our own file formats.
//!
//! Every format has a major version (`version`, or `v` in lines) and a minor one (`minor`; 0 where it is
//! absent). A minor version adds fields and kinds that a reader may ignore. A major version changes what
//! is there. So a reader ignores fields that it does not know, reads every former version, and says of a
//! newer major version that it is newer, never that the file is damaged.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// What to do about a file of a newer version.
pub const NEWER_HELP: &str =
    "read it with the mimawari that wrote it, or with a newer one; the file itself is whole";

/// A document of a format of ours.
pub trait VersionedFormat: DeserializeOwned {
    /// The major version that this program writes, and the newest that it reads.
    const MAJOR: u32;

    /// The major version of this document.
    fn major(&self) -> u32;
}

/// Why a document was refused. Each is half a sentence about the document.
#[derive(Debug, Error)]
pub enum FormatFault {
    /// Of a newer major version.
    #[error(
        "was written by a newer mimawari: it is of version {found}, and this program reads version {known}"
    )]
    Newer {
        /// Its major version.
        found: u64,
        /// The newest that is read.
        known: u32,
    },
    /// Not a document of this format.
    #[error("is damaged: {0}")]
    Damaged(String),
}

impl FormatFault {
    /// Whether the document is whole, and only too new.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }
}

/// Checks a major version.
///
/// # Errors
/// [`FormatFault`] for a newer one, and for one that never was.
pub fn check_major(found: u64, known: u32) -> Result<(), FormatFault> {
    match found {
        0 => Err(FormatFault::Damaged("version 0 is not known".to_owned())),
        found if found > u64::from(known) => Err(FormatFault::Newer { found, known }),
        _ => Ok(()),
    }
}

/// Checks what our binary files begin with: six letters, the major version as one digit, a line feed.
/// `otherwise`: what to say of a file that begins with something else.
///
/// # Errors
/// [`FormatFault`] for a newer version, and for what is no such file.
pub fn check_magic(found: &[u8; 8], own: &[u8; 8], otherwise: &str) -> Result<(), FormatFault> {
    let digit = |magic: &[u8; 8]| char::from(magic[6]).to_digit(10);
    let same = found[..6] == own[..6] && found[7] == own[7];
    match (digit(found), digit(own)) {
        (Some(found), Some(known)) if same => check_major(u64::from(found), known),
        _ => Err(FormatFault::Damaged(otherwise.to_owned())),
    }
}

/// Reads a JSON document.
///
/// # Errors
/// [`FormatFault`]. A newer document may hold anything, so its version is looked at before it is called
/// damaged.
pub fn read_document<T: VersionedFormat>(bytes: &[u8]) -> Result<T, FormatFault> {
    /// What every major version has.
    #[derive(Deserialize)]
    struct FormatHead {
        #[serde(alias = "v")]
        version: u64,
    }
    match serde_json::from_slice::<T>(bytes) {
        Ok(document) => check_major(u64::from(document.major()), T::MAJOR).map(|()| document),
        Err(e) => {
            if let Ok(FormatHead { version }) = serde_json::from_slice(bytes) {
                check_major(version, T::MAJOR)?;
            }
            Err(FormatFault::Damaged(e.to_string()))
        }
    }
}

/// Numbers of 64 bits as text: JSON readers round numbers above 2^53 (RFC 7493, section 2.2). Numbers,
/// as former versions wrote them, are read as well.
pub mod text_number {
    use std::fmt;

    use serde::{Deserializer, Serializer, de};

    /// As text.
    ///
    /// # Errors
    /// The serialiser's.
    #[allow(clippy::trivially_copy_pass_by_ref)] // The signature that serde asks for.
    pub fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    /// From text or a number.
    ///
    /// # Errors
    /// What is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        struct SeedVisitor;
        impl de::Visitor<'_> for SeedVisitor {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, as text")
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<u64, E> {
                Ok(n)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        from.deserialize_any(SeedVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        version: u32,
        #[serde(with = "text_number")]
        seed: u64,
    }

    impl VersionedFormat for Note {
        const MAJOR: u32 = 1;
        fn major(&self) -> u32 {
            self.version
        }
    }

    fn read(text: &str) -> Result<Note, FormatFault> {
        read_document(text.as_bytes())
    }

    #[test]
    fn a_newer_major_version_is_never_called_damaged() {
        for newer in [r#"{"version":2,"seed":1}"#, r#"{"version":9,"grain":[]}"#, r#"{"v":2}"#] {
            assert!(read(newer).unwrap_err().is_newer(), "{newer}");
        }
        for damaged in [r#"{"version":1}"#, r#"{"version":0,"seed":1}"#, "{", ""] {
            assert!(!read(damaged).unwrap_err().is_newer(), "{damaged}");
        }
        let more = r#"{"version":1,"minor":7,"seed":"1","new":{"a":[1]}}"#;
        assert_eq!(read(more).unwrap(), Note { version: 1, seed: 1 });
    }

    #[test]
    fn a_number_of_64_bits_is_text_and_the_old_form_is_read() {
        let note = Note { version: 1, seed: u64::MAX };
        let text = serde_json::to_string(&note).unwrap();
        assert_eq!(text, r#"{"version":1,"seed":"18446744073709551615"}"#);
        assert_eq!(read(&text).unwrap(), note);
        assert_eq!(read(r#"{"version":1,"seed":18446744073709551615}"#).unwrap(), note);
        for odd in ["1.5", "-1", "\"-1\"", "\"1e3\"", "null", "1e30"] {
            assert!(read(&format!(r#"{{"version":1,"seed":{odd}}}"#)).is_err(), "{odd}");
        }
    }
}
