//! SIGTERM, SIGINT and SIGHUP: stop sending, wait for late answers, write everything.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Asks every part of a run to end.
#[derive(Debug, Clone)]
pub struct StopSignal {
    flag: Arc<AtomicBool>,
    watch: watch::Sender<bool>,
}

impl Default for StopSignal {
    fn default() -> Self {
        Self::new()
    }
}

impl StopSignal {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self { flag: Arc::new(AtomicBool::new(false)), watch: watch::Sender::new(false) }
    }

    /// Asks.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.watch.send_replace(true);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// For packet loops.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    /// For tasks.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.watch.subscribe()
    }

    /// Listens to SIGTERM, SIGINT and SIGHUP from now on. A second signal ends the process at once:
    /// the files are readable then, too. SIGHUP stays ignored where `nohup` had it ignored.
    ///
    /// # Errors
    /// When a handler cannot be set.
    pub fn stop_on_signals(&self) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        take_over();
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut hangup =
            if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let stop = self.clone();
        tokio::spawn(async move {
            let mut asked = false;
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                    () = wait_for_signal(hangup.as_mut()) => {}
                }
                if asked {
                    std::process::exit(3);
                }
                asked = true;
                tracing::warn!(
                    "stopping: no more probes; waiting for late answers, then writing everything"
                );
                stop.stop();
            }
        });
        Ok(())
    }
}

async fn wait_for_signal(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether SIGHUP was ignored when the program began, as `nohup` does it.
fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|text| is_signal_ignored(&text, 1))
}

/// Whether a signal is ignored, by the text of `/proc/PID/status`.
fn is_signal_ignored(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// Whether the command listens to signals itself.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The command listens to signals itself from now on: [`handle_init_signals`] leaves them to it.
pub fn take_over() {
    TAKEN.store(true, Ordering::Relaxed);
}

/// As process 1 of a container, makes SIGTERM and SIGINT end the program, with 128 and the signal's
/// number for its exit status, until a command [takes them over](take_over). Any other process ends
/// by itself; for process 1 the kernel leaves out the default (pid_namespaces(7)), and a container
/// would be killed only after its time to stop is over.
///
/// # Errors
/// When no handler can be set.
pub fn handle_init_signals() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    if std::process::id() != 1 {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // Handlers are there when this function returns.
    let (mut term, mut int) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                let status = tokio::select! {
                    _ = term.recv() => 128 + 15,
                    _ = int.recv() => 128 + 2,
                };
                if !TAKEN.load(Ordering::Relaxed) {
                    std::process::exit(status);
                }
            }
        });
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_signal_ignored;

    #[test]
    fn an_ignored_signal_is_read_from_the_status() {
        let status = "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert!(is_signal_ignored(status, 1) && is_signal_ignored(status, 13));
        assert!(!is_signal_ignored(status, 2) && !is_signal_ignored(status, 15));
        assert!(!is_signal_ignored("", 1));
    }
}
