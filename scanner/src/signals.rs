//! SIGTERM and SIGINT: stop sending, wait for late answers, write everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Tells every part of a run to come to its end.
#[derive(Debug, Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    watch: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
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

    /// Listens to SIGTERM and SIGINT from now on. A second signal ends the process at once: the
    /// files are readable then, too.
    ///
    /// # Errors
    /// When a handler cannot be set.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let stop = self.clone();
        tokio::spawn(async move {
            let mut asked = false;
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
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
