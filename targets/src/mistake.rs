//! What a TOML reader says of a text that does not have the wanted form, as a message for people.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, TextSource};

/// The message for what the reader says at a place: an unknown key with the one that was perhaps
/// meant, a missing key, a word or a kind of value that is not wanted there. Anything else, such as
/// a quotation mark that is missing, is reported in the reader's own words.
#[must_use]
pub fn build_mistake_diagnostic(
    source: &TextSource,
    message: &str,
    span: Range<usize>,
) -> Diagnostic {
    let message = message.trim().replace('\n', "; ");
    let with = |title: String| Diagnostic::error(title, source, span.clone());
    if let Some((written, known)) = parse_unknown_word(&message, "unknown field `") {
        return with(format!("unknown key `{written}`"))
            .help(suggest_known_word(written, "keys", &known));
    }
    if let Some((written, known)) = parse_unknown_word(&message, "unknown variant `") {
        return with(format!("`{written}` is not known here"))
            .help(suggest_known_word(written, "words", &known));
    }
    if let Some(key) = parse_missing_key(&message) {
        return with(format!("the key `{key}` is missing")).help(format!("add `{key} = …`"));
    }
    if message == "wanted string or table" {
        return with("this kind of value cannot stand here".to_owned())
            .help("write a word in quotation marks");
    }
    for start in ["invalid type: ", "invalid value: "] {
        if let Some((found, wanted)) =
            message.strip_prefix(start).and_then(|rest| rest.rsplit_once(", expected "))
        {
            let wanted = match wanted {
                "a sequence" => "a list in [ ]",
                "a map" => "a table",
                wanted if wanted.starts_with("struct ") => "a table",
                wanted => wanted,
            };
            return with(format!("{found} cannot stand here")).help(format!("write {wanted}"));
        }
    }
    with(message)
}

/// The key that the reader misses, if it says so.
#[must_use]
pub fn parse_missing_key(message: &str) -> Option<&str> {
    message.trim().strip_prefix("missing field `")?.split('`').next()
}

/// What was written, and what is known.
fn parse_unknown_word<'a>(message: &'a str, start: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let rest = message.strip_prefix(start)?;
    Some((rest.split('`').next()?, rest.split('`').skip(2).step_by(2).collect()))
}

fn suggest_known_word(written: &str, what: &str, known: &[&str]) -> String {
    match find_nearest_word(written, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known {what} here: {}", known.join(", ")),
    }
}

/// The known word within an edit distance of two, and of less than half of what was written.
fn find_nearest_word<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let far = 2.min(written.chars().count() / 2);
    known
        .iter()
        .map(|k| (compute_edit_distance(written, k), *k))
        .filter(|(d, _)| *d <= far)
        .min()
        .map(|(_, k)| k)
}

/// Levenshtein's distance, for words as short as keys.
fn compute_edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reader_says() {
        let source = TextSource::new("own.toml", "x");
        let explained = |message: &str| {
            let d = build_mistake_diagnostic(&source, message, 0..1);
            (d.title, d.help.unwrap_or_default())
        };
        for (message, title, help) in [
            (
                "unknown field `pats`, expected one of `id`, `paths`",
                "unknown key `pats`",
                "did you mean `paths`?",
            ),
            (
                "unknown field `zz`, expected `id` or `why`",
                "unknown key `zz`",
                "known keys here: id, why",
            ),
            (
                "unknown variant `hihg`, expected `low` or `high`",
                "`hihg` is not known here",
                "did you mean `high`?",
            ),
            ("missing field `why`", "the key `why` is missing", "add `why = …`"),
            (
                "invalid type: string \"x\", expected a sequence",
                "string \"x\" cannot stand here",
                "write a list in [ ]",
            ),
            (
                "invalid type: integer `3`, expected a string",
                "integer `3` cannot stand here",
                "write a string",
            ),
            ("key with no value, expected `=`", "key with no value, expected `=`", ""),
        ] {
            assert_eq!(explained(message), (title.to_owned(), help.to_owned()));
        }
    }
}
