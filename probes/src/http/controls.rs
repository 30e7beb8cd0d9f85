//! Controls: paths that cannot exist, and what their answers say of a hit.
//!
//! A control refutes a hit only if the hit's body *is* the page that the site gives for such paths.
//! Another body with the same signature is another file: where the handler of PHP is missing, a
//! front controller gives its own source for every name, and beside it that of each script.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

/// A path that cannot exist, by how it is made of the hit's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlRequest {
    /// Another name with the same ending in the same folder: meets rules by ending. The second of
    /// them shows what varies.
    Stem(u8),
    /// The same name in another folder: meets rules by name.
    Folder(u8),
    /// The same name in the root of the site, for a hit in a folder: what a site that strips folders
    /// answers everywhere lies there.
    Root,
    /// A longer name that ends with the hit's: meets rules by the end of a name.
    Longer,
    /// A longer name that begins with the hit's: meets rules by the beginning of a name.
    Extended,
    /// A name without an ending: meets nothing but a rule for every path.
    Bare,
    /// The same below a folder.
    Deep,
}

impl ControlRequest {
    /// The control's path. The words in it come from the salt.
    pub(super) fn path(self, hit: &str, salt: u64) -> String {
        let word = |n: u8| generate_random_word(hit, salt, n);
        let (path, query) = hit.find('?').map_or((hit, ""), |at| hit.split_at(at));
        let (path, end) = path.strip_suffix('/').map_or((path, ""), |path| (path, "/"));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        // A name that begins with a dot keeps it: some rules are about just that.
        let dot = if name.starts_with('.') { "." } else { "" };
        match self {
            Self::Stem(n) if !dot.is_empty() => {
                format!("{folder}/.{}{name}{end}{query}", word(n * 2))
            }
            Self::Stem(n) => {
                let ending = name.find('.').filter(|_| end.is_empty());
                let ending = ending.map_or("", |at| &name[at..]);
                format!("{folder}/{}{ending}{end}{query}", word(n * 2))
            }
            Self::Folder(n) => format!("/{}/{name}{end}{query}", word(n * 2 + 1)),
            Self::Root => format!("/{name}{end}{query}"),
            Self::Longer => format!("{folder}/{dot}{}{name}{end}{query}", word(4)),
            Self::Extended => format!("{folder}/{name}{}{end}{query}", word(5)),
            Self::Bare => format!("/{}", word(6)),
            Self::Deep => format!("/{}/{}", word(7), word(8)),
        }
    }
}

/// Twelve letters that nobody can know before the run.
fn generate_random_word(hit: &str, salt: u64, n: u8) -> String {
    let digest = Sha256::new().chain_update(salt.to_be_bytes()).chain_update([n]);
    let digest = digest.chain_update(hit).finalize();
    digest[..12].iter().map(|b| char::from(b'a' + b % 26)).collect()
}

/// Whether a path lies in the root of the site. A site that strips folders answers for such a path
/// below every folder, and the file is real.
pub(super) fn is_in_root(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.rfind('/') == Some(0)
}

/// Whether one of the hit's two bodies is the page of which two controls brought `a` and `b`. All
/// of them come without the path that was asked for. What varies between `a` and `b` may vary in
/// the hit as well, and so may numbers and the words of the hit's path.
pub(super) fn is_same_page(path: &str, hits: &[Vec<u8>], a: &[u8], b: &[u8]) -> bool {
    if hits.iter().any(|hit| hit == a || hit == b) {
        return true;
    }
    let common: HashSet<&[u8]> = split_tokens(b).collect();
    let words: Vec<&[u8]> = split_tokens(path.as_bytes()).filter(|w| is_word(w[0])).collect();
    let named = |token: &[u8]| words.iter().any(|w| w.eq_ignore_ascii_case(token));
    let common: HashSet<&[u8]> =
        split_tokens(a).filter(|t| common.contains(t) && !named(t)).collect();
    let page = mask_variable_tokens(a, &common);
    // A site that invents a page of another form each time: nothing distinguishes the hit from its pages.
    page != mask_variable_tokens(b, &common)
        || hits.iter().any(|hit| mask_variable_tokens(hit, &common) == page)
}

/// Words, and every byte between them.
fn split_tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let length = rest.iter().take_while(|b| is_word(**b)).count();
        let (token, behind) = rest.split_at_checked(length.max(1))?;
        rest = behind;
        Some(token)
    })
}

const fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80
}

/// The tokens with one mark for numbers and for what is not common. A name of several
/// words (`wp-config.php`) is one mark, as a control's single word is.
fn mask_variable_tokens<'a>(text: &'a [u8], common: &HashSet<&[u8]>) -> Vec<&'a [u8]> {
    const VARIES: &[u8] = b"";
    let mut out: Vec<&[u8]> = Vec::new();
    for token in split_tokens(text) {
        let number = token.iter().all(u8::is_ascii_digit);
        if common.contains(token) && !number {
            out.push(token);
        } else {
            if let [.., before, joint] = out[..]
                && before == VARIES
                && matches!(joint, b"." | b"-" | b"_" | b"/" | b"%")
            {
                out.truncate(out.len() - 2);
            } else if out.last() == Some(&VARIES) {
                out.pop();
            }
            out.push(VARIES);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let path = |control: ControlRequest, hit: &str| control.path(hit, 7);
        let words = |hit: &str, n: u8| generate_random_word(hit, 7, n);
        for (hit, stem, folder) in [
            ("/password.php", "/0.php", "/1/password.php"),
            ("/a/wp-config.php.bak", "/a/0.php.bak", "/1/wp-config.php.bak"),
            ("/.env", "/.0.env", "/1/.env"),
            ("/.git/HEAD", "/.git/0", "/1/HEAD"),
            ("/backup/", "/0/", "/1/backup/"),
            ("/server-status?auto", "/0?auto", "/1/server-status?auto"),
            ("/", "/0/", "/1//"),
        ] {
            assert_eq!(path(ControlRequest::Stem(0), hit), stem.replace('0', &words(hit, 0)));
            assert_eq!(path(ControlRequest::Folder(0), hit), folder.replace('1', &words(hit, 1)));
            assert_ne!(path(ControlRequest::Stem(1), hit), path(ControlRequest::Stem(0), hit));
            assert_ne!(path(ControlRequest::Folder(1), hit), path(ControlRequest::Folder(0), hit));
        }
        let (longer, extended) = (words("/.env", 4), words("/.env", 5));
        assert_eq!(path(ControlRequest::Root, "/a/b.php?c"), "/b.php?c");
        assert_eq!(path(ControlRequest::Root, "/a/b/"), "/b/");
        assert_eq!(path(ControlRequest::Longer, "/.env"), format!("/.{longer}.env"));
        assert_eq!(path(ControlRequest::Extended, "/.env"), format!("/.env{extended}"));
        let (longer, extended) = (words("/a/b/", 4), words("/a/b/", 5));
        assert_eq!(path(ControlRequest::Longer, "/a/b/"), format!("/a/{longer}b/"));
        assert_eq!(path(ControlRequest::Extended, "/a/b/"), format!("/a/b{extended}/"));
    }

    #[test]
    fn roots() {
        for path in ["/a", "/a/", "/a?b=/c", "/.env"] {
            assert!(is_in_root(path), "{path}");
        }
        for path in ["/a/b", "/a/b/", "/.git/HEAD?x"] {
            assert!(!is_in_root(path), "{path}");
        }
    }

    #[test]
    fn pages() {
        let same = |hit: &str, a: &str, b: &str| {
            is_same_page("/.env", &[hit.as_bytes().to_vec()], a.as_bytes(), b.as_bytes())
        };
        assert!(same("<p>gone</p>", "<p>gone</p>", "<p>gone</p>"));
        // The name, of however many words, a time, a nonce.
        assert!(same("no wp-config.php, 10:02", "no qwerty, 10:03", "no zxcvbn, 10:03"));
        assert!(same("<i n='a1'>x</i>", "<i n='b2'>x</i>", "<i n='c3'>x</i>"));
        assert!(same("NAME=.ENV\nA=1", "NAME=.QWERTY.ENV\nA=1", "NAME=.ZXCVBN.ENV\nA=1"));
        // Pages without anything in common.
        assert!(same("a b c", "d, e", "f: g h"));
        // Another file with the same signature.
        let index = "<?php\nrequire 'wp-blog-header.php';\n";
        assert!(!same("<?php\n$password = 'x';\n", index, index));
        assert!(!same(
            "<?php\n$password = 'x'; // qq1\n",
            "<?php\nrequire 'a.php'; // ww2\n",
            "<?php\nrequire 'a.php'; // ee3\n"
        ));
        // More of it.
        assert!(!same(
            "<?php\n$a = 'k1'; $b = 'k2';\n",
            "<?php\n$a = 'k3';\n",
            "<?php\n$a = 'k4';\n"
        ));
    }
}
