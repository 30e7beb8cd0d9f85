//! Which commit brought a line, by git if there is one.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use jiff::Timestamp;
use mimawari_drift::explain::RuleCommit;

/// How long git may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How much of its answer is read: one line has some hundred bytes.
const MAX_ANSWER: u64 = 64 << 10;
/// Longest author or summary, in characters.
const MAX_TEXT: usize = 200;

/// The commit that brought line `line` of `file` in `dir`; or why that is not known, as half a
/// sentence.
pub(super) fn blame(dir: &Path, file: &str, line: usize) -> Result<RuleCommit, String> {
    blame_with("git", LIMIT, dir, file, line)
}

fn blame_with(
    program: &str,
    limit: Duration,
    dir: &Path,
    file: &str,
    line: usize,
) -> Result<RuleCommit, String> {
    let mut command = Command::new(program);
    // Nothing that a repository's configuration names is run, and no lock is taken.
    command.args(["-c", "core.fsmonitor=false", "--no-pager", "-C"]).arg(dir);
    command.args([
        "blame",
        "--porcelain",
        "--no-textconv",
        "-L",
        &format!("{line},{line}"),
        "--",
        file,
    ]);
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    // Where another git called us, as in a hook, it is its repository that these name.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err("there is no git".to_owned());
        }
        Err(e) => return Err(format!("git cannot be started: {e}")),
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (sender, output) = mpsc::channel();
    // Both end with git's own end of the pipes, at the latest when it is killed.
    std::thread::spawn(move || {
        let mut text = [Vec::new(), Vec::new()];
        if let Some(out) = out {
            let _ = out.take(MAX_ANSWER).read_to_end(&mut text[0]);
        }
        if let Some(err) = err {
            let _ = err.take(MAX_ANSWER).read_to_end(&mut text[1]);
        }
        let _ = sender.send(text);
    });
    let Ok([out, err]) = output.recv_timeout(limit) else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("git did not answer within {} s", limit.as_secs()));
    };
    // It has closed its output, or wrote more than is read: either way there is nothing to wait for.
    let _ = child.kill();
    let _ = child.wait();
    read(&String::from_utf8_lossy(&out))
        .ok_or_else(|| explain_error(&String::from_utf8_lossy(&err)))
}

/// What git says, in our words where it is one of the usual things.
fn explain_error(err: &str) -> String {
    if err.contains("not a git repository") {
        return "the baseline is in no git repository".to_owned();
    }
    if err.contains("no such path") || err.contains("no such ref") {
        return "the file is not committed".to_owned();
    }
    let line = err.lines().next().unwrap_or_default().trim_start_matches("fatal: ");
    if line.is_empty() {
        "git gave no answer".to_owned()
    } else {
        format!("git says: {}", cut(line))
    }
}

/// Reads the porcelain form: the commit's id, then a field a line.
fn read(text: &str) -> Option<RuleCommit> {
    let mut lines = text.lines();
    let id = lines.next()?.split(' ').next()?;
    if id.len() < 40 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let fields: Vec<(&str, &str)> =
        lines.take_while(|l| !l.starts_with('\t')).filter_map(|l| l.split_once(' ')).collect();
    let field = |name: &str| fields.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let at = field("author-time").and_then(|s| s.parse().ok());
    let at = at.and_then(|s| Timestamp::from_second(s).ok());
    if id.bytes().all(|b| b == b'0') {
        return Some(RuleCommit {
            id: "0".repeat(12),
            author: "nobody".to_owned(),
            at: None,
            summary: "not committed yet".to_owned(),
        });
    }
    Some(RuleCommit {
        id: id.to_owned(),
        author: cut(field("author")?),
        at,
        summary: cut(field("summary").unwrap_or_default()),
    })
}

fn cut(s: &str) -> String {
    s.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_porcelain_form_is_read() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let text = format!(
            "{id} 3 4 1\nauthor A. Person\nauthor-mail <a@example.jp>\nauthor-time 1790000000\nsummary Allow the edge\nfilename t.toml\n\t[[allow]]\nauthor Somebody else\n"
        );
        let commit = read(&text).unwrap();
        assert_eq!((commit.id.as_str(), commit.author.as_str()), (id, "A. Person"));
        assert_eq!(commit.summary, "Allow the edge");
        assert_eq!(commit.at.unwrap().as_second(), 1_790_000_000);
        let new = read(&text.replace(id, &"0".repeat(40))).unwrap();
        assert_eq!(new.summary, "not committed yet");
        for bad in ["", "fatal: x", "0123 1 1", &text.replace("author A", "x A")[..60]] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn without_git_it_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let none = blame_with("no-such-program-here", LIMIT, dir.path(), "t.toml", 1);
        assert_eq!(none, Err("there is no git".to_owned()));
    }

    #[test]
    fn what_git_says_is_put_into_words() {
        assert_eq!(
            explain_error("fatal: not a git repository (or any"),
            "the baseline is in no git repository"
        );
        assert_eq!(explain_error("fatal: no such path 'x' in HEAD"), "the file is not committed");
        assert_eq!(explain_error("fatal: bad\nmore"), "git says: bad");
        assert_eq!(explain_error(""), "git gave no answer");
    }

    /// A program that never answers is ended.
    #[test]
    fn git_has_a_limit_of_time() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let slow = dir.path().join("slow");
        std::fs::write(&slow, "#!/bin/sh\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).unwrap();
        let slow = slow.to_str().unwrap();
        let said = blame_with(slow, Duration::from_millis(50), dir.path(), "t.toml", 1);
        assert_eq!(said, Err("git did not answer within 0 s".to_owned()));
    }
}
