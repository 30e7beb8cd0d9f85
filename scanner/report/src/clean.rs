//! Foreign text made fit for a screen: nothing that acts, hides or reorders, and a known width.

use std::borrow::Cow;

pub(crate) use mimawari_targets::text::is_hostile;
use unicode_width::UnicodeWidthChar;

/// What stands where something was taken out.
const REMOVED: char = '\u{FFFD}';

/// How many characters of no width may follow each other: enough for written languages, too few
/// to pile marks over the neighbouring lines.
const MAX_MARKS: usize = 2;

/// Foreign text on one line, at most `max_chars` characters long.
///
/// White space becomes a space, each run of hostile characters becomes one `�`, and marks beyond
/// the second on one letter are dropped. What was cut off ends in `…`.
pub(crate) fn clean(s: &str, max_chars: usize) -> String {
    let mut out = String::with_capacity(s.len().min(max_chars.saturating_mul(4)));
    let (mut chars, mut marks) = (0usize, 0usize);
    let mut last = ' ';
    for c in s.chars() {
        let c = match c {
            ' ' | '\t' | '\n' | '\r' => ' ',
            c if is_hostile(c) => REMOVED,
            c => c,
        };
        // One space or replacement for a run of them; none at the start of the line.
        if (c == ' ' || c == REMOVED) && c == last {
            continue;
        }
        last = c;
        if c.width().unwrap_or(0) == 0 {
            marks += 1;
            if marks > MAX_MARKS {
                continue;
            }
        } else {
            marks = 0;
        }
        if chars == max_chars {
            out.pop();
            out.push('…');
            return out;
        }
        out.push(c);
        chars += 1;
    }
    out.truncate(out.trim_end().len());
    out
}

/// Columns that clean text takes on a terminal (UAX #11), never an underestimate.
pub(crate) fn measure_width(s: &str) -> usize {
    s.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Clean text cut to at most `columns`, with `…` where it was cut.
pub(crate) fn truncate_to_columns(s: &str, columns: usize) -> Cow<'_, str> {
    if measure_width(s) <= columns {
        return Cow::Borrowed(s);
    }
    let room = columns.saturating_sub(1);
    let (mut used, mut end) = (0, 0);
    for (at, c) in s.char_indices() {
        let w = c.width().unwrap_or(0);
        if used + w > room {
            break;
        }
        used += w;
        end = at + c.len_utf8();
    }
    if columns == 0 { Cow::Borrowed("") } else { Cow::Owned(format!("{}…", &s[..end])) }
}

/// Clean text cut or filled with spaces to exactly `columns`.
pub(crate) fn pad(s: &str, columns: usize) -> String {
    let mut out = truncate_to_columns(s, columns).into_owned();
    out.extend(std::iter::repeat_n(' ', columns - measure_width(&out)));
    out
}

/// Clean text broken at spaces into lines of at most `columns`; the last of `max_lines` is cut.
/// A word that is longer than a line is broken where the line ends.
pub(crate) fn wrap(s: &str, columns: usize, max_lines: usize) -> Vec<String> {
    // The widest character takes three columns; less room than that would never end.
    let columns = columns.max(4);
    let mut lines = Vec::new();
    let mut rest = s.trim_start();
    while !rest.is_empty() && lines.len() < max_lines {
        if measure_width(rest) <= columns || lines.len() + 1 == max_lines {
            lines.push(truncate_to_columns(rest, columns).into_owned());
            break;
        }
        let (mut used, mut end, mut space) = (0, 0, None);
        for (at, c) in rest.char_indices() {
            let w = c.width().unwrap_or(0);
            if used + w > columns {
                if c == ' ' {
                    space = Some(at);
                }
                break;
            }
            if c == ' ' {
                space = Some(at);
            }
            used += w;
            end = at + c.len_utf8();
        }
        let cut = space.filter(|at| *at > 0).unwrap_or(end);
        lines.push(rest[..cut].trim_end().to_owned());
        rest = rest[cut..].trim_start();
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_or_hides_is_marked_and_what_is_written_stays() {
        assert_eq!(clean("\x1b[31mred\x1b[0m", 99), "�[31mred�[0m");
        assert_eq!(clean("user\u{202E}gpj.exe", 99), "user�gpj.exe");
        assert_eq!(clean("a\u{200B}\u{200D}\u{2066}b", 99), "a�b");
        assert_eq!(clean("\u{9b}31m\u{7f}", 99), "�31m�");
        assert_eq!(clean("  two\r\n\tlines  ", 99), "two lines");
        assert_eq!(clean("管理画面 · Gestión é e\u{301}", 99), "管理画面 · Gestión é e\u{301}");
    }

    #[test]
    fn marks_cannot_be_piled_up() {
        let pile = format!("a{}b", "\u{301}".repeat(1000));
        assert_eq!(clean(&pile, 99), "a\u{301}\u{301}b");
    }

    #[test]
    fn wide_characters_are_cut_on_whole_characters() {
        assert_eq!(truncate_to_columns("管理画面", 8), "管理画面");
        assert_eq!(truncate_to_columns("管理画面", 7), "管理画…");
        assert_eq!(truncate_to_columns("管理画面", 6), "管理…");
        assert_eq!(truncate_to_columns("ab", 0), "");
        assert_eq!(pad("管理画面", 6), "管理… ");
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_where_the_line_ends() {
        assert_eq!(wrap("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij k", 4, 9), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("one two three four", 7, 2), ["one two", "three …"]);
        assert_eq!(wrap("", 7, 2), [""; 0]);
    }

    proptest! {
        #[test]
        fn clean_text_is_one_line_bounded_and_stable(s in ".{0,60}", max in 1usize..40) {
            let c = clean(&s, max);
            prop_assert!(!c.chars().any(is_hostile));
            prop_assert!(c.chars().count() <= max);
            prop_assert_eq!(clean(&c, max), c);
        }

        #[test]
        fn fitted_padded_and_wrapped_text_keeps_its_columns(s in ".{0,60}", columns in 4usize..40) {
            let c = clean(&s, 200);
            prop_assert!(measure_width(&truncate_to_columns(&c, columns)) <= columns);
            prop_assert_eq!(measure_width(&pad(&c, columns)), columns);
            for line in wrap(&c, columns, 50) {
                prop_assert!(measure_width(&line) <= columns);
            }
        }
    }
}
