//! The queue of one receiver: what waits is sent in order, and put on record.
//!
//! The steps are: take the lease, note what is on its way, send, note that it arrived. A process that is
//! killed between sending and noting leaves its message on record as on its way. The next process sends
//! the same message again, with the same ids: that is the one copy too many that can occur, and only
//! where the receiver does not know ids. Nothing is ever dropped, so each message arrives at least once.

use std::future::Future;
use std::io;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mimawari_drift::outbox::PendingNotice;
use mimawari_report::notify::NoticeDelay;

use crate::client::SendError;
use crate::ledger::{DeliveryLog, LEASE, QueueLease, QueueRecord, SeenRecord};
use crate::notifier::DeliverySemantics;

/// As many notices are sent one by one; more are merged, where people read them.
const ONE_BY_ONE: usize = 3;
/// A message that the receiver itself refuses so often is set aside, so that it does not hold up the
/// others for ever.
const MOST_REFUSALS: u32 = 3;
/// A receiver may ask for a longer wait; it is asked again after this time.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);
/// A message that may have arrived twice already is sent again after this time, doubled each time.
const DOUBT_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// What waits for one receiver.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryQueue<'a> {
    /// Its name.
    pub receiver: &'a str,
    /// How messages reach it.
    pub semantics: DeliverySemantics,
    /// What waits, the oldest first.
    pub notices: &'a [PendingNotice],
    /// The events that this run wrote down: they are not late.
    pub fresh: &'a [String],
    /// Names this process.
    pub holder: &'a str,
}

/// What became of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOutcome {
    /// Notices that were delivered.
    pub delivered: usize,
    /// Notices that wait.
    pub left: usize,
    /// When the oldest of these was written down.
    pub oldest: Option<Timestamp>,
    /// Events that were set aside.
    pub set_aside: Vec<String>,
    /// Why the rest waits.
    pub stopped: Option<SendError>,
}

/// Sends the message of a notice.
pub trait NoticeSender: Sync {
    /// Sends what is not in `arrived` yet, and adds the parts that arrive.
    fn send(
        &self,
        notice: &PendingNotice,
        delay: Option<&NoticeDelay>,
        arrived: &mut Vec<String>,
    ) -> impl Future<Output = Result<(), SendError>> + Send;

    /// The message as it is kept if the receiver refuses it.
    fn letter(&self, notice: &PendingNotice, why: &SendError) -> Vec<u8>;
}

/// A lease that is held, with the record as this process last wrote it.
struct HeldQueue<'a, L> {
    log: &'a L,
    receiver: &'a str,
    holder: &'a str,
    record: QueueRecord,
    seen: SeenRecord,
}

impl<L: DeliveryLog> HeldQueue<'_, L> {
    /// Writes the record; `false` if somebody else did.
    async fn save(&mut self, lease_until: Option<Timestamp>) -> io::Result<bool> {
        let holder = self.holder.to_owned();
        self.record.lease = lease_until.map(|until| QueueLease { holder, until });
        let seen = std::mem::take(&mut self.seen);
        if let Some(seen) = self.log.replace(self.receiver, &self.record, seen).await? {
            self.seen = seen;
            return Ok(true);
        }
        // The answer to an earlier write may have been lost; what is there is then our own.
        let (there, seen) = self.log.read(self.receiver).await?;
        self.seen = seen;
        Ok(there == self.record)
    }
}

/// Waits for a while, until another process is done.
pub trait PoliteWait: Sync {
    /// Waits; `false` if it was long enough.
    fn wait(&self, tries: u32) -> impl Future<Output = bool> + Send;
}

/// Waits by the clock of the runtime.
#[derive(Debug, Clone, Copy)]
pub struct TimedWait;

impl PoliteWait for TimedWait {
    async fn wait(&self, tries: u32) -> bool {
        // Twenty seconds in all.
        const TRIES: u32 = 45;
        tokio::time::sleep(
            Duration::from_millis(5 << tries.min(7)).min(Duration::from_millis(500)),
        )
        .await;
        tries < TRIES
    }
}

/// Sends what waits.
pub async fn deliver_queue<L: DeliveryLog>(
    queue: DeliveryQueue<'_>,
    log: &L,
    sender: &impl NoticeSender,
    pause: &impl PoliteWait,
    now: impl Fn() -> Timestamp,
) -> QueueOutcome {
    let mut out = QueueOutcome {
        delivered: 0,
        left: queue.notices.len(),
        oldest: queue.notices.iter().map(|n| n.queued_at).min(),
        set_aside: Vec::new(),
        stopped: None,
    };
    if queue.notices.is_empty() {
        return out;
    }
    let not_noted =
        |e: io::Error| SendError::certain(format!("the deliveries cannot be noted: {e}"));
    let mut held = match take(queue, log, pause, &now).await {
        Ok(held) => held,
        Err(stopped) => {
            out.stopped = Some(stopped);
            return out;
        }
    };
    let mut noted = false;
    loop {
        let open: Vec<&PendingNotice> =
            queue.notices.iter().filter(|n| !held.record.is_delivered(&n.event)).collect();
        out.left = open.len();
        out.oldest = open.iter().map(|n| n.queued_at).min();
        let batch = select_next_batch(&open, &held.record, queue.semantics);
        let Some(message) = PendingNotice::merge(&batch) else { break };
        if let Some(until) =
            held.record.not_before.filter(|t| *t > now() && *t <= now() + LONGEST_WAIT)
        {
            let why = held.record.why.clone().unwrap_or_default();
            out.stopped = Some(SendError::certain(format!("not before {until:.0}: {why}")));
            break;
        }
        let events: Vec<String> = batch.iter().map(|n| n.event.clone()).collect();
        if held.record.sending != events {
            held.record.arrived.clear();
        }
        held.record.sending = events;
        match held.save(Some(now() + LEASE)).await {
            Ok(true) => noted = true,
            // Of two that took the lease at once one has it; the other waits.
            Ok(false) if !noted => match take(queue, log, pause, &now).await {
                Ok(again) => {
                    held = again;
                    continue;
                }
                Err(stopped) => {
                    out.stopped = Some(stopped);
                    return out;
                }
            },
            Ok(false) => {
                out.stopped = Some(SendError::certain("another process took over"));
                return out;
            }
            Err(e) => {
                out.stopped = Some(not_noted(e));
                return out;
            }
        }
        let is_late =
            batch.len() > 1 || held.record.failures > 0 || !queue.fresh.contains(&message.event);
        let delay = is_late.then(|| compute_delay(&message, &held.record, now()));
        let mut arrived = held.record.arrived.clone();
        let sent = sender.send(&message, delay.as_ref(), &mut arrived).await;
        match sent {
            Ok(()) => {
                out.delivered += batch.len();
                held.record.note_end();
                held.record.delivered_at = Some(now());
            }
            Err(fault) => {
                held.record.arrived = arrived;
                note_failure(&mut held.record, &fault, queue.semantics, now());
                let is_refused = held.record.refusals >= MOST_REFUSALS && batch.len() == 1;
                if !is_refused {
                    out.stopped = Some(fault);
                    break;
                }
                let letter = sender.letter(&message, &fault);
                if let Err(e) = log.keep_refused(queue.receiver, &message.event, letter).await {
                    out.stopped = Some(not_noted(e));
                    break;
                }
                held.record.note_set_aside(&message.event);
                held.record.note_end();
                out.set_aside.push(message.event.clone());
            }
        }
    }
    if noted {
        // Without this note what arrived is on record as on its way, and is sent once more.
        match held.save(None).await {
            Ok(true) => {}
            Ok(false) => {
                out.stopped.get_or_insert(SendError::certain("another process took over"));
            }
            Err(e) => {
                out.stopped.get_or_insert(not_noted(e));
            }
        }
    }
    out
}

/// Takes the lease.
async fn take<'a, L: DeliveryLog>(
    queue: DeliveryQueue<'a>,
    log: &'a L,
    pause: &impl PoliteWait,
    now: &impl Fn() -> Timestamp,
) -> Result<HeldQueue<'a, L>, SendError> {
    let mut tries = 0;
    loop {
        let read = log.read(queue.receiver).await;
        let (record, seen) = read.map_err(|e| {
            SendError::certain(format!("the deliveries on record cannot be read: {e}"))
        })?;
        if queue.notices.iter().all(|n| record.is_delivered(&n.event)) || !record.is_held(now()) {
            let was_left = record.lease.is_some() && !record.sending.is_empty();
            let (receiver, holder) = (queue.receiver, queue.holder);
            let mut held = HeldQueue { log, receiver, holder, record, seen };
            if was_left && !queue.notices.iter().all(|n| held.record.is_delivered(&n.event)) {
                // A process was killed while it sent.
                held.record.doubtful += 1;
                held.record.failures += 1;
                held.record.why = Some("a process ended while it sent this".to_owned());
            }
            return Ok(held);
        }
        tries += 1;
        if !pause.wait(tries).await {
            return Err(SendError::certain("another process sends to this receiver just now"));
        }
    }
}

/// The notices of the next message.
fn select_next_batch<'a>(
    open: &[&'a PendingNotice],
    record: &QueueRecord,
    semantics: DeliverySemantics,
) -> Vec<&'a PendingNotice> {
    // What may have arrived is sent again as it was, so that the receiver can know it again.
    let same: Vec<&PendingNotice> =
        open.iter().copied().filter(|n| record.sending.contains(&n.event)).collect();
    if (record.doubtful > 0 || !record.arrived.is_empty()) && !same.is_empty() {
        return same;
    }
    let one_by_one = open.len() <= ONE_BY_ONE || !semantics.merges || record.refusals > 0;
    let most = if one_by_one { 1 } else { open.len() };
    open.iter().copied().take(most).collect()
}

fn compute_delay(message: &PendingNotice, record: &QueueRecord, now: Timestamp) -> NoticeDelay {
    NoticeDelay {
        since: message.queued_at,
        age: now.duration_since(message.queued_at).max(SignedDuration::ZERO),
        runs: message.notices(),
        doubted_runs: message.doubted as usize,
        may_have_arrived: record.doubtful > 0,
    }
}

fn note_failure(
    record: &mut QueueRecord,
    fault: &SendError,
    semantics: DeliverySemantics,
    now: Timestamp,
) {
    record.failures += 1;
    record.doubtful += u32::from(fault.doubtful);
    record.refusals = if fault.refused { record.refusals + 1 } else { 0 };
    record.why = Some(fault.why.clone());
    record.failed_at = Some(now);
    let asked = fault.retry_after.map(|d| SignedDuration::try_from(d).unwrap_or(LONGEST_WAIT));
    // Each copy of what may have arrived disturbs people; they come ever more rarely.
    let doubt = (fault.doubtful && !semantics.knows_ids && record.doubtful > 1)
        .then(|| DOUBT_WAIT * (1 << (record.doubtful - 2).min(5)));
    record.not_before =
        asked.max(doubt).map(|wait| now.checked_add(wait.min(LONGEST_WAIT)).unwrap_or(now));
}
