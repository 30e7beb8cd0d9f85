//! Results: to stdout, or into the file that was named.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_base::files::write_atomically;
use mimawari_base::signals::StopSignal;
use mimawari_drift::verdict::Verdict;
use mimawari_probes::observation::Severity;

/// Results to stdout; a reader that has gone away is no error.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to stdout").source(e).into())
        }
        _ => Ok(()),
    }
}

/// How long a run that was stopped waits for whoever reads its stdout.
const READER: Duration = Duration::from_secs(2);

/// As [`print`], for the end of a run: a run that was stopped does not wait for a reader that does
/// not read. Everything is in its folder by then.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_result(text: &str, stop: &StopSignal) -> Result<()> {
    let (done, printed) = std::sync::mpsc::channel();
    let text = text.to_owned();
    std::thread::spawn(move || done.send(print(&text)));
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    loop {
        match printed.recv_timeout(step) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if stop.is_stopped() => waited += step,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if waited >= READER {
            tracing::warn!("stdout is not being read: the summary was not printed");
            return Ok(());
        }
    }
}

/// Writes a result to a file, or to stdout for `-`.
pub(crate) fn write_out(path: &Path, text: &str) -> Result<()> {
    if path == Path::new("-") {
        return print(text);
    }
    write_atomically(path, text.as_bytes()).map_err(|e| {
        Failure::new(format!("cannot write {}", path.display()))
            .help("choose another file with --out FILE")
            .source(e)
            .into()
    })
}

/// The summary for the terminal or the pipe behind stdout.
#[must_use]
pub fn render_summary(verdict: &Verdict) -> String {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    mimawari_report::render_text(verdict, colour, detect_terminal_width())
}

/// Columns of the terminal.
pub(crate) fn detect_terminal_width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).unwrap_or(100)
}

/// The exit status of a verdict. `fail_on` is the least severity of drift that counts for it.
#[must_use]
pub(crate) fn compute_exit_status(verdict: &Verdict, fail_on: Option<Severity>) -> ExitStatus {
    let Some(least) = fail_on.filter(|_| verdict.exit == 1) else {
        return ExitStatus::from_verdict(verdict.exit);
    };
    let counts = verdict.findings.iter().any(|f| f.state.is_drift() && f.severity >= least);
    if counts {
        ExitStatus::Drift
    } else if verdict.incomplete || verdict.counts.undecided > 0 {
        ExitStatus::Incomplete
    } else {
        ExitStatus::Clean
    }
}
