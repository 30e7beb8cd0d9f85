//! `openssl s_server`: TLS as old servers speak it, which no Rust stack would agree to any more.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

/// Switches the distribution's own limits off, so that the arguments alone decide.
const CONFIG: &str = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = old\n\
    [old]\nMinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0\n\
    [req]\ndistinguished_name = dn\n[dn]\n";

/// Nobody waits for this long; a machine that gets here is broken.
const LONG: Duration = Duration::from_secs(60);

/// A folder with keys, certificates and documents, and the program to make and serve them.
#[derive(Debug)]
pub struct Openssl {
    folder: tempfile::TempDir,
}

impl Openssl {
    /// # Errors
    /// When the program is not there: the suite shows nothing then, and must not look green.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("openssl.cnf"), CONFIG)?;
        fs::create_dir(folder.path().join("www"))?;
        let this = Self { folder };
        this.run(&["version"]).context("`openssl` is needed: apt-get install openssl")?;
        Ok(this)
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file under the document root. `path` is relative.
    ///
    /// # Errors
    /// What the file system says.
    pub fn plant(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path("www").join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, content)
    }

    /// Runs it in the folder to its end.
    ///
    /// # Errors
    /// When it cannot be started or fails.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let done = self.command(arguments).current_dir(self.folder.path()).output()?;
        if !done.status.success() {
            let stderr = String::from_utf8_lossy(&done.stderr);
            bail!("openssl {} failed: {stderr}", arguments.join(" "));
        }
        Ok(())
    }

    /// Serves the document root on a loopback port that the kernel chooses, with `cert.pem` and
    /// `key.pem` under this name.
    ///
    /// # Errors
    /// When it does not come to accept connections.
    pub fn serve(&self, certificate: &str, arguments: &[&str]) -> Result<OpensslServer> {
        let path = |end| self.path(&format!("{certificate}.{end}.pem")).display().to_string();
        let (cert, key) = (path("cert"), path("key"));
        let mut all = vec!["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert", &cert];
        all.extend(["-key", &key]);
        all.extend(arguments);
        let errors = tempfile::NamedTempFile::new_in(self.folder.path())?;
        let child = self
            .command(&all)
            .current_dir(self.path("www"))
            .stdout(Stdio::piped())
            .stderr(errors.reopen()?)
            .spawn()
            .context("`openssl` is needed: apt-get install openssl")?;
        let mut child = Guard(child);
        let stdout = child.0.stdout.take().context("no stdout")?;
        let (tx, rx) = mpsc::channel();
        // Reads on to the end: a full pipe would stop the server.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(at) = line.strip_prefix("ACCEPT ") {
                    let _ = tx.send(at.trim().parse::<SocketAddr>());
                }
            }
        });
        match rx.recv_timeout(LONG) {
            Ok(Ok(address)) => Ok(OpensslServer { _child: child, address }),
            other => {
                // Ends the process before its words are read.
                drop(child);
                let words = fs::read_to_string(errors.path()).unwrap_or_default();
                Err(anyhow!("openssl {} does not serve ({other:?}): {words}", all.join(" ")))
            }
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command.args(arguments).env("OPENSSL_CONF", self.path("openssl.cnf")).stdin(Stdio::null());
        command
    }
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct OpensslServer {
    _child: Guard,
    address: SocketAddr,
}

impl OpensslServer {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Debug)]
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
