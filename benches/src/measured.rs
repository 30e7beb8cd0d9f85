//! A child process with an account of its own.
//!
//! `RUSAGE_CHILDREN` adds up all children and keeps the highest memory of them. So each measured
//! program is the only child of a small process: this very binary, called again with [`WORD`].

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mimawari_tests::lab::Namespace;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// First argument of the binary when it is to measure a program.
pub const WORD: &str = "__measure";

/// What a program took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Cost {
    /// From start to end.
    pub wall_s: f64,
    /// User and system time of all its threads.
    pub cpu_s: f64,
    /// Highest resident memory, packet rings included.
    pub peak_kib: i64,
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
}

/// Runs a program in a namespace, with its output in `out` and `err`.
///
/// # Errors
/// When it cannot be started, or does not end in time; then it has been killed.
pub fn run(
    namespace: &Namespace,
    program: &[OsString],
    folder: &Path,
    limit: Duration,
) -> Result<Cost> {
    let account = folder.join("account.json");
    let open = |name| File::create(folder.join(name)).with_context(|| format!("creating {name}"));
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command
        .arg(WORD)
        .arg(&account)
        .arg(limit.as_secs().to_string())
        .args(program)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(open("stdout")?)
        .stderr(open("stderr")?);
    let mut child = namespace.run(|| command.spawn()).context("starting the measuring process")?;
    let status = child.wait().context("waiting for the measuring process")?;
    let text = std::fs::read_to_string(&account).unwrap_or_default();
    if !status.success() || text.is_empty() {
        let err = std::fs::read_to_string(folder.join("stderr")).unwrap_or_default();
        bail!("{} did not run: {}", program[0].display(), last_line(&err));
    }
    serde_json::from_str(&text).context("reading the account")
}

/// The last line that says something.
#[must_use]
pub fn last_line(text: &str) -> &str {
    // Progress on one line is overwritten by carriage returns.
    text.split(['\n', '\r'])
        .rev()
        .find(|l| !l.trim().is_empty())
        .unwrap_or("it said nothing")
        .trim()
}

/// The measuring process; `None` when the arguments do not ask for it.
#[must_use]
pub fn main_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != WORD {
        return None;
    }
    let result = (|| {
        let account = arguments.next().context("no account named")?;
        let limit = arguments.next().and_then(|l| l.to_str()?.parse().ok()).context("no limit")?;
        let program: Vec<OsString> = arguments.collect();
        let cost = measure(&program, Duration::from_secs(limit))?;
        std::fs::write(account, serde_json::to_vec(&cost)?).context("writing the account")
    })();
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    })
}

fn measure(program: &[OsString], limit: Duration) -> Result<Cost> {
    let (name, arguments) = program.split_first().context("no program named")?;
    let begun = Instant::now();
    let mut child = Command::new(name)
        .args(arguments)
        .spawn()
        .with_context(|| format!("starting {}", name.display()))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let (done, ended) = mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        let late = ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            // It has not been waited for yet, so the id is still its own.
            let _ = kill(pid, Signal::SIGKILL);
        }
        late
    });
    let status = child.wait()?;
    let wall_s = begun.elapsed().as_secs_f64();
    drop(done);
    if guard.join().unwrap_or(false) {
        bail!("{} was killed after {} s", name.display(), limit.as_secs());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(Cost {
        wall_s,
        cpu_s: seconds(usage.user_time()) + seconds(usage.system_time()),
        peak_kib: usage.max_rss(),
        status: status.code(),
    })
}
