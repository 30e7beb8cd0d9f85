//! `mimawari manifest` on real document roots.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mimawari_probes::http::manifest::{FileClass, FileProof, Manifest};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mimawari-under-test");
const PHP: &str = "<?php\n$fake_user = 'visibly-fake';\n$fake_pass = 'visibly-fake';\n$fake = 1;\n";

struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("docroot")).expect("a document root");
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("docroot")
    }

    fn put(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, content).expect("a file");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_clear().current_dir(self.dir.path());
        command.args(["manifest", "docroot", "--host", "shop.example.jp"]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Made {
        Made::of(self.command(args).output().expect("running"))
    }

    /// The same, and what its memory came to, KiB.
    fn run_measured(&self) -> (Made, u64) {
        let (inner, peak) = (self.command(&[]), self.dir.path().join("peak"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_measure-memory"));
        command.env_clear().current_dir(self.dir.path());
        command.arg(&peak).arg(inner.get_program()).args(inner.get_args());
        let made = Made::of(command.output().expect("running"));
        let text = fs::read_to_string(peak).expect("what it came to");
        (made, text.parse().expect("a number"))
    }
}

struct Made {
    status: Option<i32>,
    text: String,
    stderr: String,
    /// By path: class and reason.
    files: BTreeMap<String, (String, String)>,
}

impl Made {
    fn of(out: Output) -> Self {
        let text = String::from_utf8(out.stdout).expect("UTF-8");
        let stderr = String::from_utf8(out.stderr).expect("UTF-8");
        let mut files = BTreeMap::new();
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).expect("JSON");
            let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            if row["path"].is_string() {
                let twice = files.insert(word("path"), (word("class"), word("what")));
                assert!(twice.is_none(), "{line}");
            }
        }
        Self { status: out.status.code(), text, stderr, files }
    }

    fn manifest(&self) -> Manifest {
        Manifest::read("made", self.text.as_bytes()).unwrap_or_else(|e| panic!("{e}"))
    }

    fn paths(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }
}

#[test]
fn a_site_is_written_and_read_back() {
    let site = Site::new();
    site.put("index.html", "<p>hello</p>");
    site.put("conn.php", PHP);
    site.put("empty.php", "");
    site.put(".env", "A=visibly-fake-value\n");
    site.put(".git/config", "[core]\n\trepositoryformatversion = 0\n");
    site.put(".well-known/security.txt", "Contact: mailto:x@example.jp\n");
    site.put("sub/dir/plain.php", "no tag");
    site.put("shop.tar.gz", b"\x1f\x8b\x08");
    let made = site.run(&["--ip", "198.51.100.7", "--prefix", "/s/"]);
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    let word = |class: &str, what: &str| (class.to_owned(), what.to_owned());
    let expected = BTreeMap::from([
        ("/s/.env".to_owned(), word("deny", "dotenv")),
        ("/s/.git/config".to_owned(), word("deny", "vcs")),
        ("/s/.well-known/security.txt".to_owned(), word("public", "public")),
        ("/s/conn.php".to_owned(), word("execute", "php")),
        ("/s/empty.php".to_owned(), word("public", "empty")),
        ("/s/index.html".to_owned(), word("public", "public")),
        ("/s/shop.tar.gz".to_owned(), word("deny", "site-copy")),
        ("/s/sub/dir/plain.php".to_owned(), word("public", "public")),
    ]);
    assert_eq!(made.files, expected);
    for words in ["files=8", "execute=1", "deny=3", "public=4", "empty=1", "folders=5"] {
        assert!(made.stderr.contains(words), "{words}: {}", made.stderr);
    }
    assert!(!made.text.contains("visibly"), "no content goes into a manifest");
    let manifest = made.manifest();
    assert_eq!((manifest.files(), manifest.unreadable()), (8, 0));
    assert!(
        manifest.concerns(Some("shop.example.jp"), "198.51.100.7".parse().expect("an address"))
    );
    let conn = manifest.entries().iter().find(|e| &*e.path == "/s/conn.php").expect("it is listed");
    assert_eq!(conn.class, FileClass::Execute);
    assert_eq!(conn.proven(PHP.as_bytes(), false), Some(FileProof::SameBytes));
    assert_eq!(conn.proven(PHP.replace('\n', "\r\n").as_bytes(), false), Some(FileProof::Lines(3)));
    // The order is the same each time.
    let body = |m: &Made| m.text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(body(&made), body(&site.run(&["--ip", "198.51.100.7", "--prefix", "/s/"])));
}

#[test]
fn links_are_followed_where_one_owner_made_them_and_end() {
    let site = Site::new();
    fs::write(site.dir.path().join("secret.txt"), "visibly-fake, outside").expect("a file");
    fs::create_dir(site.dir.path().join("outside")).expect("a folder");
    fs::write(site.dir.path().join("outside/x.php"), PHP).expect("a file");
    site.put("real/deep/a.php", PHP);
    let link = |to: &str, name: &str| symlink(to, site.root().join(name)).expect("a link");
    link("real", "alias");
    link("real/deep/a.php", "b.php");
    symlink(site.root().join("real/deep"), site.root().join("absolute")).expect("a link");
    link("../secret.txt", "out.txt");
    link("../outside", "out");
    link("out/x.php", "through-out.php");
    link("/dev/zero", "zero.php");
    link("nowhere", "dead");
    link("circle", "circle");
    link(".", "self");
    link("..", "real/up");
    link("/", "all");
    let made = site.run(&[]);
    // What lies behind a link out of the root may change while the root does not.
    assert_eq!(made.status, Some(3), "{}", made.stderr);
    for path in [
        "/real/deep/a.php",
        "/alias/deep/a.php",
        "/b.php",
        "/absolute/a.php",
        "/out/x.php",
        "/through-out.php",
    ] {
        assert_eq!(made.files.get(path).map(|f| f.1.as_str()), Some("php"), "{path}");
    }
    assert!(made.files.contains_key("/out.txt"), "{:?}", made.paths());
    for path in ["/out.txt", "/out", "/through-out.php"] {
        let words = format!("{path} is a link out of the document root; followed, for one owner");
        assert!(made.stderr.contains(&words), "{words}: {}", made.stderr);
    }
    // The system's own folders, and one around the document root.
    for path in ["/zero.php", "/all"] {
        let words = format!("{path} is a link out of the document root; not followed");
        assert!(made.stderr.contains(&words), "{words}: {}", made.stderr);
    }
    assert!(made.stderr.contains("dead_links=1"), "{}", made.stderr);
    assert!(made.files.len() < 40, "{:?}", made.paths());
    assert_eq!(made.manifest().unreadable(), 0);
}

#[test]
fn folders_that_link_to_each_other_do_not_multiply() {
    let site = Site::new();
    for i in 0..12 {
        site.put(format!("d{i}/f.php"), PHP);
        for j in 0..12 {
            symlink(format!("../d{j}"), site.root().join(format!("d{i}/l{j}"))).expect("a link");
        }
    }
    let made = site.run(&[]);
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    // Each folder at its own place, and a few more ways to it.
    assert!((12..=12 * 5).contains(&made.files.len()), "{}", made.files.len());
    for i in 0..12 {
        assert!(made.files.contains_key(&format!("/d{i}/f.php")), "{i}");
    }
}

#[test]
fn what_is_no_file_is_never_opened() {
    let site = Site::new();
    site.put("a.php", PHP);
    // Opening one to read would wait for a writer for ever.
    mkfifo(&site.root().join("fifo.php"), Mode::S_IRWXU).expect("a FIFO");
    symlink("fifo.php", site.root().join("link-to-fifo.php")).expect("a link");
    let _socket = UnixListener::bind(site.root().join("socket.php")).expect("a socket");
    let made = site.run(&[]);
    assert_eq!((made.status, made.paths()), (Some(0), vec!["/a.php"]), "{}", made.stderr);
    assert!(made.stderr.contains("special=3"), "{}", made.stderr);
}

#[test]
fn names_that_are_not_text() {
    let site = Site::new();
    // A Japanese word in Shift_JIS, which is not UTF-8, and characters that would end a line.
    let names: [&[u8]; 4] = [b"\x83p\x83X.php", b"a\nb.php", b"esc\x1b[31m.php", b"q?u#o%2e\".php"];
    for name in names {
        site.put(OsStr::from_bytes(name), PHP);
    }
    site.put(OsStr::from_bytes(b"\x93\xfa\x96{/x.php"), PHP);
    let made = site.run(&[]);
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    let expected = [
        "/%83p%83X.php",
        "/%93%FA%96%7B/x.php",
        "/a%0Ab.php",
        "/esc%1B%5B31m.php",
        "/q%3Fu%23o%252e%22.php",
    ];
    assert_eq!(made.paths(), expected);
    assert_eq!(made.manifest().entries().len(), 5);
}

#[test]
fn a_huge_file_costs_its_first_64_kib() {
    let site = Site::new();
    let file = File::create(site.root().join("dump.sql")).expect("a file");
    // So large that whoever read it would not end today; some file systems hold less in one file.
    if file.set_len(8 << 40).is_err() {
        file.set_len(10 << 30).expect("a sparse file");
    }
    let length = file.metadata().expect("its length").len();
    let made = site.run(&[]);
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    let manifest = made.manifest();
    let entry = &manifest.entries()[0];
    assert_eq!((entry.length, entry.class), (length, FileClass::Deny));
    assert_eq!(entry.proven(&[0; 64 << 10], true), Some(FileProof::SameBytes));
}

#[test]
fn a_hundred_thousand_files_in_one_folder() {
    let site = Site::new();
    for i in 0..100_000 {
        let path = site.root().join(format!("a-name-of-ordinary-length-{i:06}.php"));
        if i % 1000 == 0 {
            fs::write(path, PHP).expect("a file");
        } else {
            File::create(path).expect("a file");
        }
    }
    let (made, peak) = site.run_measured();
    assert_eq!((made.status, made.files.len()), (Some(0), 100_000), "{}", made.stderr);
    let manifest = made.manifest();
    assert_eq!((manifest.files(), manifest.entries().len()), (100_000, 100));
    assert!(peak < 96 << 10, "{peak} KiB");
}

#[test]
fn a_deep_tree_ends() {
    let site = Site::new();
    let mut deep = site.root();
    for _ in 0..300 {
        deep.push("d");
        if fs::create_dir(&deep).is_err() {
            break;
        }
    }
    site.put("a.php", PHP);
    let made = site.run(&[]);
    // Not all was read, and the manifest says so.
    assert_eq!((made.status, made.paths()), (Some(3), vec!["/a.php"]), "{}", made.stderr);
    assert_eq!(made.manifest().unreadable(), 1);
}

/// Runs the program as somebody who is not root, so that modes mean something.
fn as_nobody(site: &Site, args: &[&str]) -> Output {
    let open =
        |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755)).expect("mode");
    open(site.dir.path());
    open(&site.root());
    if !nix::unistd::geteuid().is_root() {
        return site.command(args).output().expect("running");
    }
    // Where the program was built may be closed to others.
    let program = site.dir.path().join("mimawari");
    fs::copy(PROGRAM, &program).expect("a copy of the program");
    open(&program);
    let mut command = Command::new(&program);
    command.env_clear().current_dir(site.dir.path()).uid(65534).gid(65534);
    command.args(["manifest", "docroot", "--host", "shop.example.jp"]).args(args);
    command.output().expect("running as another user")
}

#[test]
fn what_cannot_be_read_is_named_and_makes_it_incomplete() {
    let site = Site::new();
    site.put("a.php", PHP);
    site.put("closed.php", PHP);
    site.put("locked/b.php", PHP);
    site.put("no-entry/c.php", PHP);
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(site.root().join(name), Permissions::from_mode(mode)).expect("mode");
    };
    mode("a.php", 0o644);
    mode("closed.php", 0);
    mode("locked", 0);
    // Its names can be listed, and none of them opened.
    mode("no-entry", 0o444);
    let made = Made::of(as_nobody(&site, &[]));
    for name in ["locked", "no-entry"] {
        mode(name, 0o755);
    }
    assert_eq!((made.status, made.paths()), (Some(3), vec!["/a.php"]), "{}", made.stderr);
    let manifest = made.manifest();
    assert_eq!(manifest.unreadable(), 3);
    assert_eq!(manifest.unreadable_paths(), ["/closed.php", "/locked/", "/no-entry/c.php"]);
    for path in manifest.unreadable_paths() {
        assert!(made.stderr.contains(&format!("cannot read {path}: ")), "{}", made.stderr);
    }
    assert!(made.stderr.contains("incomplete: 3 places"), "{}", made.stderr);
}

#[test]
fn a_file_is_private_whole_and_outside_of_the_document_root() {
    let site = Site::new();
    site.put("a.php", PHP);
    let out = site.dir.path().join("m.ndjson");
    fs::write(&out, "old").expect("an old file");
    fs::set_permissions(&out, Permissions::from_mode(0o666)).expect("mode");
    let made = site.run(&["--out", "m.ndjson"]);
    assert_eq!((made.status, made.text.as_str()), (Some(0), ""), "{}", made.stderr);
    assert_eq!(fs::metadata(&out).expect("it").permissions().mode() & 0o777, 0o600);
    let text = fs::read(&out).expect("the manifest");
    assert_eq!(Manifest::read("m", &text[..]).expect("whole").files(), 1);
    // Nothing else is left in the folder.
    let mut names: Vec<_> = fs::read_dir(site.dir.path())
        .expect("it")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["docroot", "m.ndjson"]);
    // By whatever way it is named.
    symlink("docroot", site.dir.path().join("link")).expect("a link");
    for inside in ["docroot/m.ndjson", "link/m.ndjson", "docroot/../docroot/m.ndjson"] {
        let made = site.run(&["--out", inside]);
        assert_eq!(made.status, Some(2), "{inside}");
        assert!(made.stderr.contains("would publish the manifest"), "{}", made.stderr);
    }
    assert_eq!(fs::read_dir(site.root()).expect("it").count(), 1);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let site = Site::new();
    for i in 0..3000 {
        site.put(format!("{i}.php"), PHP);
    }
    let mut child = site
        .command(&["--quiet"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starting");
    drop(child.stdout.take());
    let out = child.wait_with_output().expect("its end");
    assert_eq!((out.status.code(), out.stderr.len()), (Some(0), 0));
}

#[test]
fn no_network_is_used() {
    // The environment names an address where something listens; nobody connects.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.set_nonblocking(true).expect("nonblocking");
    let site = Site::new();
    site.put("a.php", PHP);
    assert_eq!(site.run(&["--ip", "127.0.0.1"]).status, Some(0));
    let accepted = listener.accept().map(|_| ()).map_err(|e| e.kind());
    assert_eq!(accepted, Err(std::io::ErrorKind::WouldBlock));
}
