//! Files that are copies of something else go by the name of the original.

use std::borrow::Cow;
use std::sync::Mutex;

/// The copies that there were, and what they are copies of. It is known to the whole process, since a
/// message about a file is made where nobody knows where the file came from, and shown when the copy
/// is gone.
static COPIES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// From now on the folder `copy` goes by the name `original`.
pub fn name_copy(copy: String, original: String) {
    if let Ok(mut copies) = COPIES.lock() {
        copies.push((copy, original));
    }
}

/// Removes the copies that are still there, at the end of the process: a thread that nobody waits for
/// may be the last user of one, and it has no end of its own.
pub fn remove_copies() {
    for (copy, _) in COPIES.lock().iter().flat_map(|copies| copies.iter()) {
        let _ = std::fs::remove_dir_all(copy);
    }
}

/// A text with the names of the originals instead of those of their copies.
#[must_use]
pub fn restore_names(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    if let Ok(copies) = COPIES.lock() {
        for (copy, original) in copies.iter() {
            if text.contains(copy.as_str()) {
                text = Cow::Owned(text.replace(copy.as_str(), original));
            }
        }
    }
    text
}
