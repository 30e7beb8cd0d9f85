//! The sending threads: batches of finished frames in, what became of them out.
//!
//! Nearly all the time of a probe is spent in the kernel, so frames are built by the thread that
//! drives the engine and sent by as many threads as it takes. Each thread owns a socket and two
//! batches, one being filled while the other is sent; batches go round and are never allocated
//! again. Whoever has no batch left waits: that is all the back-pressure there is.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender};

use mimawari_engine::{FrameSpacing, SynProbe};

use super::frame::FrameReach;
use super::privilege;
use super::receiver::ReceiverMessage;
use super::spacing::FrameClock;
use super::transmit::{CheckedBatch, NotPushed, Transmitter};

/// Batches of one thread.
pub(super) const FRAME_BATCHES: usize = 2;
/// Sending threads of one link, at most: a veth or virtio queue has no use for more.
const MOST: usize = 8;
/// Packets a second that one thread is good for.
const A_THREAD: u32 = 150_000;

/// How many sending threads suit a rate on this machine. Quotas of a container count, since
/// threads beyond them would only take time from each other.
#[must_use]
pub fn select_sender_count(rate: u32) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = usize::try_from(rate.div_ceil(A_THREAD)).unwrap_or(MOST);
    wanted.clamp(1, cores.min(MOST))
}

/// Finished frames and the probes they are for, in the same order.
#[derive(Debug)]
pub(super) struct FrameBatch {
    pub(super) lane: usize,
    pub(super) batch: CheckedBatch,
    pub(super) probes: Vec<SynProbe>,
    /// How many frames may leave back to back, and how fast; `None`: all at once.
    pub(super) spacing: Option<FrameSpacing>,
}

impl FrameBatch {
    pub(super) fn new(lane: usize, batch: CheckedBatch) -> Self {
        Self { lane, batch, probes: Vec::new(), spacing: None }
    }

    /// Adds the frame of a probe, if that is where it goes and it may.
    pub(super) fn push(&mut self, frame: &[u8], probe: SynProbe) -> Result<(), NotPushed> {
        self.batch.push(frame, FrameReach::Host(probe.endpoint.ip()))?;
        self.probes.push(probe);
        Ok(())
    }
}

/// What became of a batch. Its probes are those that did not leave.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) link: usize,
    pub(super) filled: FrameBatch,
    pub(super) sent: u64,
    /// Why the others did not leave; the last reason.
    pub(super) error: Option<io::Error>,
}

/// Sends batches until there are no more to come.
pub(super) fn run(
    link: usize,
    sender: &mut Transmitter,
    filled_batches: &Receiver<FrameBatch>,
    out: &SyncSender<ReceiverMessage>,
) {
    // The socket is open already.
    if let Err(e) = privilege::drop_all() {
        tracing::debug!(error = %e, "the sending thread keeps its capabilities");
    }
    let mut clock = FrameClock::new();
    while let Ok(filled) = filled_batches.recv() {
        if out.send(ReceiverMessage::Sent(send(link, sender, &mut clock, filled))).is_err() {
            return;
        }
    }
}

/// Sends one batch. A frame that the system refuses for its own sake does not keep back those
/// behind it; a full queue or a dead interface does.
fn send(
    link: usize,
    sender: &mut Transmitter,
    clock: &mut FrameClock,
    mut filled: FrameBatch,
) -> SentBatch {
    let (mut total, mut error) = (0, None);
    let mut failed = Vec::new();
    let mut next = 0;
    while next < filled.probes.len() {
        let left = filled.probes.len() - next;
        let admitted = filled.spacing.map_or(left, |spacing| clock.admit(spacing, left));
        let outcome = sender.send_some(&filled.batch, next, admitted);
        next = (next + outcome.sent).min(filled.probes.len());
        total += outcome.sent as u64;
        let rest_too = match &outcome.error {
            Some(e) => is_interface_error(e),
            // Nothing went out and nothing is said to be wrong: do not try for ever.
            None => outcome.sent == 0,
        };
        let refused = outcome.error.is_some();
        error = outcome.error.or(error);
        if rest_too {
            break;
        }
        if refused && let Some(probe) = filled.probes.get(next) {
            failed.push(*probe);
            next += 1;
        }
    }
    filled.probes.drain(..next);
    filled.probes.append(&mut failed);
    filled.batch.clear();
    SentBatch { link, filled, sent: total, error }
}

/// Whether an error of a send says something of the interface, not of the one frame.
fn is_interface_error(e: &io::Error) -> bool {
    use nix::errno::Errno;
    let full = matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
    full || e.raw_os_error().map(Errno::from_raw).is_some_and(|errno| {
        matches!(
            errno,
            Errno::ENOBUFS
                | Errno::ENOMEM
                | Errno::ENETDOWN
                | Errno::ENXIO
                | Errno::ENODEV
                | Errno::EBADF
        )
    })
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_refused_frame_does_not_hold_up_the_others() {
        let concerns = |e: Errno| is_interface_error(&io::Error::from_raw_os_error(e as i32));
        assert!(concerns(Errno::ENOBUFS));
        assert!(concerns(Errno::EAGAIN));
        assert!(concerns(Errno::ENETDOWN));
        assert!(concerns(Errno::ENXIO));
        assert!(!concerns(Errno::EPERM));
        assert!(!concerns(Errno::EMSGSIZE));
        assert!(!concerns(Errno::EACCES));
    }

    #[test]
    fn slow_sweeps_have_one_thread_and_fast_ones_no_more_than_cores() {
        assert_eq!(select_sender_count(1), 1);
        assert_eq!(select_sender_count(20_000), 1);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        assert_eq!(select_sender_count(u32::MAX), cores.min(MOST));
    }
}
