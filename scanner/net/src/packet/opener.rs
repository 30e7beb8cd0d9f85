//! The one thread that may open raw sockets.
//!
//! Capabilities belong to threads (capabilities(7)), and a thread passes its own on to those that it
//! starts. So the program gives up all of them before it starts any thread, but for one thread that
//! opens sockets and does nothing else. Whatever parses bytes of the network runs in others.

use std::io;
use std::sync::mpsc;

use super::privilege;

type OpeningJob = Box<dyn FnOnce() + Send>;

/// Opens sockets: on the thread that kept the capability, or else on the calling one.
#[derive(Debug, Clone, Default)]
pub struct SocketOpener(Option<mpsc::Sender<OpeningJob>>);

impl SocketOpener {
    /// Starts the thread, and takes all capabilities from the calling one, which must be the first of
    /// the process. No thread can gain any by starting a program, either (`no_new_privs`).
    ///
    /// # Errors
    /// When no thread can be started, or the kernel refuses.
    pub fn confine() -> io::Result<Self> {
        let (jobs, todo) = mpsc::channel::<OpeningJob>();
        let confined = nix::sys::prctl::set_no_new_privs().map_err(io::Error::from);
        std::thread::Builder::new().name("sockets".to_owned()).spawn(move || {
            if let Err(e) = privilege::keep_net_raw() {
                tracing::debug!(error = %e, "the thread that opens sockets keeps its capabilities");
            }
            // Ends when nobody can ask any more.
            for job in todo {
                job();
            }
        })?;
        privilege::drop_all().map_err(io::Error::other)?;
        confined?;
        Ok(Self(Some(jobs)))
    }

    /// Runs something that opens raw sockets, and waits for it.
    ///
    /// # Errors
    /// When it panicked.
    pub fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let Some(jobs) = &self.0 else { return Ok(f()) };
        let ended = || io::Error::other("the thread that opens sockets has ended");
        let (done, result) = mpsc::sync_channel(1);
        let job = Box::new(move || drop(done.send(f())));
        jobs.send(job).map_err(|_| ended())?;
        result.recv().map_err(|_| ended())
    }
}

#[cfg(test)]
mod tests {
    use caps::{CapSet, Capability};

    use super::*;

    #[test]
    fn only_the_opener_keeps_the_capability() {
        let had = privilege::have_net_raw();
        std::thread::spawn(move || {
            let opener = SocketOpener::confine().unwrap();
            assert_eq!(opener.run(privilege::have_net_raw).unwrap(), had);
            assert!(!privilege::have_net_raw());
            // Nor do threads that are started later.
            let later = std::thread::spawn(|| caps::read(None, CapSet::Permitted).unwrap());
            assert!(later.join().unwrap().is_empty());
            let kept = opener.run(|| caps::read(None, CapSet::Permitted).unwrap()).unwrap();
            assert!(kept.iter().all(|c| *c == Capability::CAP_NET_RAW), "{kept:?}");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn without_confinement_it_runs_here() {
        let here = std::thread::current().id();
        assert_eq!(SocketOpener::default().run(|| std::thread::current().id()).unwrap(), here);
    }
}
