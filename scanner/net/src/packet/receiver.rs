//! The receiving thread: ring, parser, cookie, channel.
//!
//! Everything here is hostile until its cookie has been verified. When the channel is full the thread
//! waits: the ring then fills, and what it loses is counted by the kernel and told to the engine.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use mimawari_engine::{ProbeAnswer, ProbeReply};
use mimawari_probes::cookie::Cookie;
use mimawari_probes::wire::{self, ParsedFrame};
use mimawari_targets::Port;

use super::link::ReceiveSetup;
use super::privilege;
use super::sending::SentBatch;

/// What the thread has to tell.
pub(super) enum ReceiverMessage {
    /// Verified answers.
    Answers(Vec<ProbeAnswer>),
    /// Somebody says what its Ethernet address is. Not verified: whoever did not ask, ignores it.
    Neighbour { link: usize, ip: IpAddr, mac: [u8; 6] },
    /// The ring lost frames.
    Lost(u64),
    /// Everything that arrived in this thread's ring before this time has been told.
    Heard { number: usize, until: Duration },
    /// A batch is back from its sending thread.
    Sent(SentBatch),
    /// Receiving on the link does not work; the thread goes on trying.
    Trouble { link: usize, error: io::Error },
}

/// Answers handed over at once.
const BATCH: usize = 512;
/// How many messages the channel holds.
pub(super) const CHANNEL: usize = 64;
/// The longest wait for frames; how late the thread may notice the end.
const WAIT: Duration = Duration::from_millis(100);
/// How often the kernel's counters are read.
const COUNT: Duration = Duration::from_millis(250);
/// How often the driver is told up to when everything has been heard.
const HEARD: Duration = Duration::from_millis(50);
/// A frame may lie this long in a block that the kernel has not handed over yet.
const UNSEEN: Duration = Duration::from_millis(25);

/// Answers a second that one receiving thread is good for, with room.
const A_THREAD: u32 = 300_000;

/// How many receiving threads of a link suit a rate on this machine. Parsing costs a small part of what
/// sending does, so a second one is worth it only where senders do not need its core.
#[must_use]
pub fn select_receiver_count(rate: u32) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    compute_receiver_count(rate, cores)
}

fn compute_receiver_count(rate: u32, cores: usize) -> usize {
    let wanted = usize::try_from(rate.div_ceil(A_THREAD)).unwrap_or(usize::MAX);
    wanted.clamp(1, (cores / 4).max(1))
}

/// What the thread knows.
pub(super) struct PacketReceiver<'a> {
    /// Which of the receiving threads it is.
    pub(super) number: usize,
    pub(super) link: usize,
    pub(super) receiving: &'a mut ReceiveSetup,
    pub(super) cookie: &'a Cookie,
    pub(super) first_port: u16,
    pub(super) ports: u8,
    pub(super) out: SyncSender<ReceiverMessage>,
    pub(super) done: &'a AtomicBool,
    /// When the run began.
    pub(super) begun: Instant,
}

/// The other side has gone: nothing more is to be done.
struct ChannelClosed;

impl PacketReceiver<'_> {
    /// Receives until `done` or until nobody takes the answers.
    pub(super) fn run(mut self) {
        // This thread reads what strangers send, and its socket is open already.
        if let Err(e) = privilege::drop_all() {
            tracing::debug!(error = %e, "the receiving thread keeps its capabilities");
        }
        let mut counted = Instant::now();
        let mut told = Instant::now();
        let mut failing = false;
        let mut wait = Duration::ZERO;
        while !self.done.load(Ordering::Acquire) {
            let before = Instant::now();
            match self.receive(wait) {
                Ok(Ok(frames)) => {
                    failing = false;
                    // Nothing was there: the ring is empty, and the next look may take its time.
                    wait = if frames == 0 { WAIT } else { Duration::ZERO };
                    if frames > 0 {
                        continue;
                    }
                }
                Ok(Err(ChannelClosed)) => return,
                Err(error) => {
                    if !failing {
                        failing = true;
                        let message = ReceiverMessage::Trouble { link: self.link, error };
                        if self.out.send(message).is_err() {
                            return;
                        }
                    }
                    // An interface that is down fails at once, again and again. It has nothing to
                    // tell either, so what was heard is all there is to hear.
                    std::thread::sleep(WAIT);
                }
            }
            if told.elapsed() >= HEARD {
                told = Instant::now();
                let until = before.saturating_duration_since(self.begun).saturating_sub(UNSEEN);
                if self.out.send(ReceiverMessage::Heard { number: self.number, until }).is_err() {
                    return;
                }
            }
            if counted.elapsed() >= COUNT {
                counted = Instant::now();
                if self.count().is_err() {
                    return;
                }
            }
        }
        let _ = self.count();
    }

    fn receive(&mut self, wait: Duration) -> io::Result<Result<usize, ChannelClosed>> {
        let mut answers = Vec::new();
        let mut gone = false;
        let (kind, cookie, out, link) = (self.receiving.kind, self.cookie, &self.out, self.link);
        let (first_port, ports) = (self.first_port, self.ports);
        let result = self.receiving.ring.receive(wait, &mut |frame| {
            if gone {
                return;
            }
            match read(kind, cookie, first_port, ports, frame) {
                Some(ReceiverEvent::Answer(answer)) => {
                    answers.push(answer);
                    if answers.len() >= BATCH {
                        gone |= out
                            .send(ReceiverMessage::Answers(std::mem::take(&mut answers)))
                            .is_err();
                    }
                }
                Some(ReceiverEvent::Neighbour(ip, mac)) => {
                    gone |= out.send(ReceiverMessage::Neighbour { link, ip, mac }).is_err();
                }
                None => {}
            }
        });
        if !gone && !answers.is_empty() {
            gone = out.send(ReceiverMessage::Answers(answers)).is_err();
        }
        result.map(|frames| if gone { Err(ChannelClosed) } else { Ok(frames) })
    }

    fn count(&mut self) -> Result<(), ChannelClosed> {
        match self.receiving.ring.statistics() {
            Ok(s) if s.drops > 0 => {
                self.out.send(ReceiverMessage::Lost(s.drops)).map_err(|_| ChannelClosed)
            }
            _ => Ok(()),
        }
    }
}

/// What a frame turned out to be.
pub(super) enum ReceiverEvent {
    Answer(ProbeAnswer),
    Neighbour(IpAddr, [u8; 6]),
}

/// Reads a frame; `None`: nothing of ours.
pub(super) fn read(
    kind: wire::LinkKind,
    cookie: &Cookie,
    first_port: u16,
    ports: u8,
    frame: &[u8],
) -> Option<ReceiverEvent> {
    let parsed = wire::parse(kind, frame)?;
    match &parsed {
        ParsedFrame::Arp(reply) => {
            return Some(ReceiverEvent::Neighbour(reply.ip.into(), reply.mac));
        }
        ParsedFrame::Neighbour(n) => return Some(ReceiverEvent::Neighbour(n.ip.into(), n.mac)),
        ParsedFrame::Tcp(_) | ParsedFrame::IcmpError(_) => {}
    }
    let c = wire::classify(cookie, &parsed, first_port, ports)?;
    Some(ReceiverEvent::Answer(ProbeAnswer {
        ip: c.ip,
        port: Port::new(c.port)?,
        attempt: c.attempt,
        reply: match c.reply {
            wire::WireReply::SynAck => ProbeReply::SynAck,
            wire::WireReply::Rst => ProbeReply::Rst,
            wire::WireReply::Prohibited => ProbeReply::Prohibited,
        },
        ttl: c.ttl,
        signs: c.signs,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_receiver_will_do_but_for_fast_sweeps_on_large_machines() {
        assert_eq!(compute_receiver_count(u32::MAX, 1), 1);
        assert_eq!(compute_receiver_count(u32::MAX, 7), 1);
        assert_eq!(compute_receiver_count(300_000, 64), 1);
        assert_eq!(compute_receiver_count(300_001, 64), 2);
        assert_eq!(compute_receiver_count(u32::MAX, 16), 4);
    }
}
