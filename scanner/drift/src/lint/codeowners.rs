//! CODEOWNERS, in GitHub's syntax: who owns which path.
//!
//! The patterns are those of gitignore(5) with GitHub's exceptions: `!`, `[ ]` and `\#` are not
//! known, paths are compared with their case, the last line that matches wins, and a line without owners
//! takes them away. A line that GitHub does not understand is skipped, as GitHub does.
//! Source: GitHub Docs, "About code owners".

/// Longest pattern that is looked at; a path in git has 4,096 bytes at most.
const LONGEST: usize = 4096;

/// A CODEOWNERS file.
#[derive(Debug, Clone, Default)]
pub struct CodeOwners {
    name: String,
    lines: Vec<OwnerLine>,
}

/// One line that names a pattern.
#[derive(Debug, Clone)]
struct OwnerLine {
    number: usize,
    /// Parts of the pattern; `None` is `**`, any number of parts.
    parts: Vec<Option<String>>,
    /// It ends in a slash: what lies in a folder of this name, and not a file.
    folder: bool,
    owners: Vec<String>,
}

/// Who owns a path, and by which line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedPath<'a> {
    /// The owners as written; none where the line names none.
    pub owners: &'a [String],
    /// The line, counted from 1.
    pub line: usize,
}

impl CodeOwners {
    /// Reads the text of a file that is shown as `name`. Nothing in it is an error.
    #[must_use]
    pub fn parse(name: &str, text: &str) -> Self {
        let lines = text.lines().zip(1..).filter_map(|(l, number)| parse_owner_line(l, number));
        Self { name: name.to_owned(), lines: lines.collect() }
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who owns a path, which is relative to the repository's top and has `/` between its parts.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<OwnedPath<'_>> {
        let path: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let line = self.lines.iter().rev().find(|l| l.holds(&path))?;
        Some(OwnedPath { owners: &line.owners, line: line.number })
    }
}

fn parse_owner_line(text: &str, number: usize) -> Option<OwnerLine> {
    let mut words = split_words(text);
    if words.is_empty() {
        return None;
    }
    let pattern = words.remove(0);
    if pattern.len() > LONGEST || pattern.starts_with('!') || pattern.contains(['[', ']']) {
        return None;
    }
    let folder = pattern.ends_with('/');
    let inner = pattern.trim_end_matches('/');
    // A slash in front or in the middle ties the pattern to the top.
    let tied = inner.contains('/');
    let mut parts: Vec<Option<String>> = Vec::new();
    if !tied {
        parts.push(None);
    }
    for part in inner.split('/').filter(|p| !p.is_empty()) {
        parts.push((part != "**").then(|| part.to_owned()));
    }
    // `/` alone names nothing.
    if parts.iter().all(Option::is_none) && inner.is_empty() {
        return None;
    }
    Some(OwnerLine { number, parts, folder, owners: words })
}

/// The words of a line up to a comment. A backslash takes a space into a word.
fn split_words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' if word.is_empty() => break,
            '\\' => word.extend(chars.next()),
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

impl OwnerLine {
    fn holds(&self, path: &[&str]) -> bool {
        // `reached[i]`: the parts so far can stand for the first i parts of the path.
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            let mut next = vec![false; path.len() + 1];
            for i in 0..=path.len() {
                match part {
                    None => next[i] = reached[i] || (i > 0 && next[i - 1]),
                    Some(glob) => {
                        next[i] = i > 0 && reached[i - 1] && matches(glob, path[i - 1]);
                    }
                }
            }
            reached = next;
        }
        let whole = reached[path.len()] && !self.folder;
        // A folder stands for all that lies in it; `*` at the end, for files alone.
        let last = self.parts.last().and_then(Option::as_deref);
        let only_files = last == Some("*") && !self.folder;
        whole || (!only_files && reached[..path.len()].iter().skip(1).any(|r| *r))
    }
}

/// `*` stands for any characters, `?` for one. Goes back to the last `*` alone, so the time is
/// bounded by the product of the lengths.
fn matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                back = Some((g + 1, t));
                g += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match back {
                Some((after, from)) => {
                    g = after;
                    t = from + 1;
                    back = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pattern: &str, path: &str) -> bool {
        CodeOwners::parse("CODEOWNERS", &format!("{pattern} @o")).of(path).is_some()
    }

    #[test]
    fn patterns_match_as_github_says() {
        for (pattern, path, expected) in [
            ("*", "baseline/a.toml", true),
            ("*.toml", "baseline/a.toml", true),
            ("*.toml", "a.toml", true),
            ("*.toml", "a.tom", false),
            ("/baseline/", "baseline/a.toml", true),
            ("/baseline/", "x/baseline/a.toml", false),
            ("baseline/", "x/baseline/a.toml", true),
            ("baseline/", "baseline", false),
            ("/baseline", "baseline/deep/a.toml", true),
            ("baseline/*", "baseline/a.toml", true),
            ("baseline/*", "baseline/deep/a.toml", false),
            ("baseline/*", "x/baseline/a.toml", false),
            ("baseline/**", "baseline/deep/a.toml", true),
            ("**/baseline", "x/y/baseline/a.toml", true),
            ("**/baseline/*.toml", "x/y/baseline/a.toml", true),
            ("baseline/**/a.toml", "baseline/x/y/a.toml", true),
            ("baseline/**/a.toml", "baseline/a.toml", true),
            ("baseline/a?.toml", "baseline/ab.toml", true),
            ("Baseline/", "baseline/a.toml", false),
            ("baseline/my\\ team.toml", "baseline/my team.toml", true),
            ("!baseline/", "baseline/a.toml", false),
            ("baseline/[ab].toml", "baseline/a.toml", false),
            ("/", "baseline/a.toml", false),
            ("# baseline/", "baseline/a.toml", false),
        ] {
            assert_eq!(holds(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_line_wins_and_may_take_owners_away() {
        let file = CodeOwners::parse(
            "CODEOWNERS",
            "* @corp/all\n\nbaseline/ @corp/net ops@corp.example # both\nbaseline/open.toml\n",
        );
        let owned = file.of("baseline/a.toml").expect("an owner");
        assert_eq!(
            (owned.line, owned.owners.join(" ").as_str()),
            (3, "@corp/net ops@corp.example")
        );
        let none = file.of("baseline/open.toml").expect("a line");
        assert_eq!((none.line, none.owners.len()), (4, 0));
        assert_eq!(file.of("README.md").map(|o| o.line), Some(1));
    }

    #[test]
    fn a_pattern_of_stars_ends() {
        let stars = "*a".repeat(1000) + "b";
        assert!(!holds(&stars, &"a".repeat(2000)));
    }
}
