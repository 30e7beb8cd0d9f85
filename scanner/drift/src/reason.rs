//! Reasons that say nothing.

/// Words that stand where somebody did not want to write a reason.
const STOCK: &[&str] = &[
    "todo",
    "tbd",
    "tba",
    "test",
    "tests",
    "testing",
    "tmp",
    "temp",
    "temporary",
    "temporarily",
    "fixme",
    "xxx",
    "wip",
    "na",
    "none",
    "null",
    "nil",
    "foo",
    "bar",
    "baz",
    "dummy",
    "placeholder",
    "asdf",
    "qwerty",
    "abc",
    "unknown",
    "misc",
    "various",
    "other",
    "reason",
    "needed",
    "required",
    "necessary",
    "ok",
    "okay",
    "yes",
    "legacy",
    "default",
    "ditto",
    "later",
    "because",
    "why",
    "example",
    "lorem",
    "ipsum",
    "fix",
    "new",
    "approved",
    "仮",
    "暫定",
    "一時的",
    "テスト",
    "未定",
    "検証",
    "検証用",
    "なし",
    "不明",
    "同上",
    "必要",
];

/// Words that add nothing to those.
const FILLER: &[&str] = &[
    "a", "an", "the", "this", "is", "it", "be", "to", "for", "of", "in", "as", "above", "see",
    "just", "only", "please", "me", "us", "rule", "entry", "port", "ports", "host", "hosts",
    "access", "allow", "allowed", "allows", "open", "opened", "n", "s", "do", "not", "now",
];

/// Why a reason is none; it is not empty.
pub(crate) fn detect_boilerplate(reason: &str, id: &str) -> Option<&'static str> {
    // A reason of many words is read by people, and not by this.
    let reason: String = reason.chars().take(200).collect();
    let words = |s: &str| -> Vec<String> {
        let parts = s.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
        parts.map(str::to_lowercase).collect()
    };
    let (said, named) = (words(&reason), words(id));
    let together = said.concat();
    let letters = together.chars().count();
    if letters < if together.is_ascii() { 4 } else { 2 } {
        return Some("is too short to say anything");
    }
    let first = together.chars().next();
    if together.chars().all(|c| Some(c) == first) || together.starts_with("asdf") {
        return Some("is no sentence");
    }
    if !named.is_empty() && said.iter().all(|w| named.contains(w) || FILLER.contains(&w.as_str())) {
        return Some("repeats the id");
    }
    let stock = |w: &String| STOCK.contains(&w.as_str());
    let empty = |w: &String| stock(w) || FILLER.contains(&w.as_str());
    if stock(&together) || said.iter().all(empty) {
        return Some("could stand at any rule");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::detect_boilerplate;

    #[test]
    fn what_says_nothing() {
        for reason in [
            "todo",
            "TODO!",
            "test",
            "Test test",
            "n/a",
            "N.A.",
            "temporary",
            "fixme",
            "asdf",
            "asdfghjkl",
            "aaaaaa",
            "-",
            "...",
            "x",
            "web https",
            "Web-HTTPS",
            "the web https rule",
            "temporary test access",
            "see above",
            "needed for test",
            "テスト",
            "仮",
            "一時的",
        ] {
            assert!(detect_boilerplate(reason, "web-https").is_some(), "{reason}");
        }
    }

    #[test]
    fn what_says_something() {
        for reason in [
            "Public shared-hosting edge",
            "SEC-1042",
            "Bastion; losing it is an incident",
            "Test stand of the payment team, until the audit",
            "Public web sites",
            "顧客向け公開サイト",
            "監視",
            "VPN of partner",
        ] {
            assert_eq!(detect_boilerplate(reason, "web-https"), None, "{reason}");
        }
    }
}
