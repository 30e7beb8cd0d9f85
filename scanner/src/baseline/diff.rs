//! What an edit changes, for people.

use std::time::Duration;

use mimawari_targets::text::is_hostile;
use similar::TextDiff;

/// A unified diff; nothing of it can move a terminal's cursor or turn its direction of writing.
/// Empty when the texts are the same.
pub(super) fn render_diff(name: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    // Texts that have little in common are shown less well after this time, and not later.
    let diff = TextDiff::configure().timeout(Duration::from_secs(2)).diff_lines(old, new);
    let shown: String = diff.unified_diff().context_radius(3).header(name, name).to_string();
    clean(&shown)
}

fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\r')
        .map(|c| match c {
            '\n' | '\t' => c,
            c if is_hostile(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_changes_is_shown_and_nothing_of_it_acts() {
        let old = "a\nb\nc\nd\ne\nf\ng\n";
        let new = old.replace("g", "g \u{1b}[31m\t\u{202e}\u{9b}é");
        let diff = super::render_diff("x.toml", old, &new);
        assert_eq!(
            diff,
            "--- x.toml\n+++ x.toml\n@@ -4,4 +4,4 @@\n d\n e\n f\n-g\n+g \u{fffd}[31m\t\u{fffd}\u{fffd}é\n"
        );
        assert_eq!(super::render_diff("x", old, old), "");
    }
}
