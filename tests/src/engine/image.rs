//! Images made of this machine's own programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Engine, said};

/// An image that holds some of this machine's programs with the libraries that they ask for, and
/// files of its own; no package manager, nothing pulled.
#[derive(Debug, Default)]
pub struct Image {
    programs: Vec<PathBuf>,
    files: Vec<(PathBuf, Vec<u8>)>,
    scripts: Vec<(PathBuf, String)>,
}

impl Image {
    /// An empty one, but for root and nobody in `/etc/passwd` and an empty `/tmp`.
    #[must_use]
    pub fn new() -> Self {
        let passwd = "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/\nnobody:x:65534:65534::/:/\n";
        Self::default()
            .file("/etc/passwd", passwd)
            .file("/etc/group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n")
            .file("/tmp/.keep", "")
    }

    /// With a program, at its own path and under `/bin`.
    ///
    /// # Panics
    /// When it is not installed.
    #[must_use]
    pub fn program(mut self, name: &str) -> Self {
        let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        let found = folders.iter().map(|f| Path::new(f).join(name)).find(|p| p.exists());
        self.programs
            .push(found.unwrap_or_else(|| {
                panic!("there is no {name}; the full suite needs it installed")
            }));
        self
    }

    /// With a file.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((PathBuf::from(path), content.into()));
        self
    }

    /// With a file that may be run.
    #[must_use]
    pub fn script(mut self, path: &str, content: &str) -> Self {
        self.scripts.push((PathBuf::from(path), content.to_owned()));
        self
    }

    /// Gives it to an engine under a name.
    ///
    /// # Panics
    /// When a program cannot be read, or the engine refuses.
    pub fn import(&self, engine: &Engine, name: &str) {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |path: &Path| {
            let to = dir.path().join(path.strip_prefix("/").expect("an absolute path"));
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            to
        };
        for program in &self.programs {
            let short = Path::new("/bin").join(program.file_name().expect("a name"));
            for to in BTreeSet::from([program.clone(), short]) {
                fs::copy(program, put(&to)).expect("a program");
            }
            for library in libraries(program) {
                fs::copy(&library, put(&library)).expect("a library");
            }
        }
        for (path, content) in &self.files {
            fs::write(put(path), content).expect("a file");
        }
        for (path, content) in &self.scripts {
            let to = put(path);
            fs::write(&to, content).expect("a script");
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("permissions");
        }
        let mut tar = Command::new("tar")
            .args(["--owner=0", "--group=0", "-c", "-C"])
            .arg(dir.path())
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar");
        let mut import = engine.command(super::CLIENT);
        import.args(["import", "-", name]).stdin(tar.stdout.take().expect("its output"));
        said(&mut import).expect(0);
        assert!(tar.wait().expect("tar").success(), "tar failed");
    }
}

/// The files that a program is linked with, its loader too.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let out = said(Command::new("ldd").arg(program)).stdout;
    let paths = out.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(|p| PathBuf::from(p.trim_end_matches(':'))).collect()
}
