//! Whether an answer gives a file away.

use memchr::memmem;
use sha2::{Digest, Sha256};

use super::lines::{hash_line, split_trimmed_lines};
use super::{FileClass, LineDigest, ManifestEntry, PREFIX};

/// Fewest bytes of a file that are a proof when they are served. Shorter ones (`1`, `ok`, `null`)
/// are said by programs too.
const FEWEST: u64 = 8;

/// Fewest bytes of a file with a tag of a language, which no running program leaves in: `<?=$a`.
const FEWEST_CODE: u64 = 5;

/// How many lines prove a file, if it has that many.
const LINES_NEEDED: usize = 3;

/// How an answer gives a file away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileProof {
    /// The body is the file; or, of code that must run, the file stands whole at its beginning or
    /// at its end.
    SameBytes,
    /// So many characteristic lines of the file stand in the body.
    Lines(u32),
}

impl ManifestEntry {
    /// The proof that `body` gives this file away, if it is one. `body` is the content without
    /// `Content-Encoding`; `truncated` says that there is more of it which was not read.
    ///
    /// An empty file or body proves nothing, nor does a file that is public.
    #[must_use]
    pub fn proven(&self, body: &[u8], truncated: bool) -> Option<FileProof> {
        if self.length == 0 || body.is_empty() || self.class == FileClass::Public {
            return None;
        }
        // What was run has no tag left. This also spares most answers the digests below.
        let code = self.class == FileClass::Execute;
        let tagged = code && self.has_tag(body);
        let fewest = if tagged { FEWEST_CODE } else { FEWEST };
        if self.length >= fewest && self.is_whole(body, truncated) {
            return Some(FileProof::SameBytes);
        }
        if code && !tagged {
            return None;
        }
        if code && self.length >= FEWEST_CODE && self.is_framed(body, truncated) {
            return Some(FileProof::SameBytes);
        }
        let found = self.lines_in(body);
        (found > 0 && found >= self.lines.len().min(LINES_NEEDED))
            .then(|| FileProof::Lines(u32::try_from(found).unwrap_or(u32::MAX)))
    }

    fn is_whole(&self, body: &[u8], truncated: bool) -> bool {
        if self.length >= PREFIX as u64 {
            return body.get(..PREFIX).is_some_and(|b| self.is_prefix(b));
        }
        !truncated && body.len() as u64 == self.length && self.is_prefix(body)
    }

    /// Whether all of a file of less than [`PREFIX`] bytes stands before or after something else,
    /// such as what a proxy or a hosting company adds to every page.
    fn is_framed(&self, body: &[u8], truncated: bool) -> bool {
        let Ok(length) = usize::try_from(self.length) else { return false };
        if length >= PREFIX || body.len() <= length {
            return false;
        }
        self.is_prefix(&body[..length])
            || !truncated && self.is_prefix(&body[body.len() - length..])
    }

    fn is_prefix(&self, bytes: &[u8]) -> bool {
        Sha256::digest(bytes).as_slice() == self.prefix_sha256
    }

    /// Whether the body holds the tag that makes a file of this kind code.
    fn has_tag(&self, body: &[u8]) -> bool {
        let php = || memmem::find(body, b"<?").is_some();
        let asp = || memmem::find(body, b"<%").is_some();
        let script =
            || memmem::find_iter(body, b"#!").any(|at| at == 0 || !is_visible(body[at - 1]));
        match &*self.what {
            "php" | "php-include" | "php-in-html" => php(),
            "asp" => asp(),
            "cgi" | "script" => script(),
            _ => php() || asp() || script(),
        }
    }

    /// How many of the entry's lines stand in the body.
    fn lines_in(&self, body: &[u8]) -> usize {
        if self.lines.is_empty() {
            return 0;
        }
        let mut wanted: Vec<LineDigest> = self.lines.to_vec();
        let all = wanted.len();
        for line in split_trimmed_lines(body) {
            let line = hash_line(line);
            if let Some(at) = wanted.iter().position(|w| *w == line) {
                wanted.swap_remove(at);
                if wanted.is_empty() {
                    break;
                }
            }
        }
        all - wanted.len()
    }
}

/// Anything that stands on the line before a `#!`, the last byte of a byte order mark aside.
const fn is_visible(b: u8) -> bool {
    !b.is_ascii_whitespace() && b != 0xbf
}
