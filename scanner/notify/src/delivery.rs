//! From a verdict to the receivers: what it has to say is written into the outbox of the state, and
//! after the state was saved everything that waits is sent.
//!
//! Sending changes neither the verdict nor the exit status. Notifiers work apart from each other, and
//! each has a minute. What could not be delivered waits in the outbox for the next run.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use mimawari_drift::outbox::{Outbox, PendingNotice};
use mimawari_drift::pending::PendingView;
use mimawari_drift::verdict::Verdict;
use mimawari_report::notify::{DeliveryFigures, NoticeDelay, compute_event_id};
use tokio::time::Instant;

use crate::client::SendError;
use crate::ledger::DeliveryLog;
use crate::letter::UndeliveredMessage;
use crate::notifier::{DeliveryContext, MessagePart, Notice};
use crate::queue::{DeliveryQueue, NoticeSender, QueueOutcome, TimedWait, deliver_queue};
use crate::ready::{Notifiers, ReadyNotifier};

/// What became of a notifier's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyOutcome {
    /// Kind of the notifier.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The end.
    pub end: DeliveryEnd,
    /// Notices that wait.
    pub left: usize,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// There was nothing to say.
    Quiet,
    /// So many notices were delivered, and none is left.
    Sent(usize),
    /// Something is left.
    Failed(SendError),
}

/// What is to be delivered, and to whom.
#[derive(Debug, Clone, Default)]
pub struct DeliveryOrder {
    /// What waits.
    pub view: PendingView,
    /// The events that this run wrote down.
    pub fresh: Vec<String>,
    /// Names this process.
    pub holder: String,
}

impl Notifiers {
    /// Writes into an outbox what a verdict has to say, and returns the event.
    pub fn queue_notices(&self, v: &Verdict, now: Timestamp, outbox: &mut Outbox) -> String {
        let event = compute_event_id(v);
        for n in self.all.iter().filter(|n| !n.kind.delivery.is_figure) {
            if n.sender.is_due(v, &n.selection) {
                let changes = n.selection.changes(v);
                let changes = changes.iter().map(|c| (c.change, c.finding));
                outbox.push(&n.name, PendingNotice::new(event.clone(), now, v, changes));
            }
        }
        event
    }

    /// The names of the notifiers whose notices wait where they cannot be delivered at once.
    pub fn receivers(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter(|n| !n.kind.delivery.is_figure).map(|n| n.name.as_str())
    }

    /// Sends what waits, and the figures of `current`, the newest verdict. Never an error: what fails is
    /// logged, waits, and is in the outcomes.
    pub async fn deliver(
        &self,
        order: &DeliveryOrder,
        current: Option<&Verdict>,
        log: &impl DeliveryLog,
    ) -> Vec<NotifyOutcome> {
        let (figures, messages): (Vec<_>, Vec<_>) =
            self.all.iter().partition(|n| n.kind.delivery.is_figure);
        let sent =
            join_all(messages.iter().map(|n| self.deliver_one(n, order, current, log))).await;
        let now = (self.world.now)();
        let oldest = sent.iter().filter_map(|q| q.oldest.filter(|_| q.left > 0)).min();
        let known = DeliveryFigures {
            failures: sent.iter().filter(|q| q.stopped.is_some()).count() as u64,
            pending: sent.iter().map(|q| q.left as u64).sum(),
            oldest_seconds: oldest.map_or(0, |at| now.duration_since(at).as_secs().max(0)),
            set_aside: sent.iter().map(|q| q.set_aside.len() as u64).sum(),
        };
        let mut out: Vec<NotifyOutcome> = messages
            .iter()
            .zip(sent)
            .map(|(n, q)| {
                self.log_outcome(n, &q, now);
                let left = q.left;
                let end = match q.stopped {
                    Some(fault) => DeliveryEnd::Failed(fault),
                    None if q.delivered == 0 => DeliveryEnd::Quiet,
                    None => DeliveryEnd::Sent(q.delivered),
                };
                NotifyOutcome { kind: n.kind.word, name: n.name.clone(), end, left }
            })
            .collect();
        if let Some(v) = current {
            let written = figures.into_iter().map(|n| self.write_figures(n, v, known));
            out.extend(join_all(written).await);
        }
        out
    }

    async fn deliver_one(
        &self,
        n: &ReadyNotifier,
        order: &DeliveryOrder,
        current: Option<&Verdict>,
        log: &impl DeliveryLog,
    ) -> QueueOutcome {
        let queue = DeliveryQueue {
            receiver: &n.name,
            semantics: n.kind.delivery,
            notices: order.view.outbox.pending(&n.name),
            fresh: &order.fresh,
            holder: &order.holder,
        };
        let sender = ReadySender {
            notifiers: self,
            n,
            view: &order.view,
            current,
            deadline: Instant::now() + self.policy.total,
        };
        deliver_queue(queue, log, &sender, &TimedWait, self.world.now).await
    }

    fn log_outcome(&self, n: &ReadyNotifier, q: &QueueOutcome, now: Timestamp) {
        let notifier = n.name.as_str();
        if q.delivered > 0 {
            tracing::info!(notifier, notices = q.delivered, "notified");
        }
        for event in &q.set_aside {
            tracing::error!(
                notifier,
                event,
                "the receiver refuses this message; it is kept beside the state in notified/{notifier}/refused"
            );
        }
        let Some(fault) = &q.stopped else { return };
        let age = q.oldest.map_or(0, |at| now.duration_since(at).as_secs().max(0));
        tracing::warn!(
            notifier,
            pending = q.left,
            "not notified: {fault}; it waits in the outbox{}, and the next run sends it",
            if age > 60 {
                format!(
                    " (the oldest for {})",
                    mimawari_base::duration::format_duration(age as f64)
                )
            } else {
                String::new()
            }
        );
    }

    async fn write_figures(
        &self,
        n: &ReadyNotifier,
        v: &Verdict,
        figures: DeliveryFigures,
    ) -> NotifyOutcome {
        let event = compute_event_id(v);
        let notice =
            Notice { event: &event, verdict: v, selection: &n.selection, delay: None, figures };
        let sent = async {
            for part in n.sender.render(&notice)? {
                self.send_part(n, &part, Some(v), Instant::now() + self.policy.total).await?;
            }
            Ok(())
        };
        let end = match sent.await {
            Ok(()) => DeliveryEnd::Sent(1),
            Err(fault) => {
                tracing::warn!(notifier = n.name, "the figures are not written: {fault}");
                DeliveryEnd::Failed(fault)
            }
        };
        NotifyOutcome { kind: n.kind.word, name: n.name.clone(), end, left: 0 }
    }

    /// Sends one part of a message.
    pub(crate) async fn send_part(
        &self,
        n: &ReadyNotifier,
        part: &MessagePart,
        current: Option<&Verdict>,
        deadline: Instant,
    ) -> Result<(), SendError> {
        let context = DeliveryContext {
            policy: self.policy,
            world: &self.world,
            deadline,
            secrets: &self.secrets,
            current,
            selection: &n.selection,
        };
        // The deadline is inside, too; this one is for what does not look at it.
        let most = deadline.saturating_duration_since(Instant::now()) + Duration::from_secs(5);
        let sent = tokio::time::timeout(most, n.sender.deliver(part, &context)).await;
        let sent = sent.unwrap_or_else(|_| {
            let why = format!("not done after {} s", most.as_secs());
            Err(SendError { doubtful: true, ..SendError::certain(why) })
        });
        sent.map_err(|fault| fault.shown(&self.secrets))
    }
}

/// Renders and sends for one notifier.
struct ReadySender<'a> {
    notifiers: &'a Notifiers,
    n: &'a ReadyNotifier,
    view: &'a PendingView,
    current: Option<&'a Verdict>,
    deadline: Instant,
}

impl ReadySender<'_> {
    fn parts(
        &self,
        notice: &PendingNotice,
        delay: Option<&NoticeDelay>,
    ) -> Result<Vec<MessagePart>, SendError> {
        let verdict = self.view.verdict(notice);
        let rendered = self.n.sender.render(&Notice {
            event: &notice.event,
            verdict: &verdict,
            selection: &self.n.selection,
            delay,
            figures: DeliveryFigures::default(),
        });
        rendered.map_err(|fault| fault.shown(&self.notifiers.secrets))
    }
}

impl NoticeSender for ReadySender<'_> {
    async fn send(
        &self,
        notice: &PendingNotice,
        delay: Option<&NoticeDelay>,
        arrived: &mut Vec<String>,
    ) -> Result<(), SendError> {
        let made;
        let current = match self.current {
            Some(current) => current,
            None => {
                made = self.view.current(notice);
                &made
            }
        };
        for part in self.parts(notice, delay)? {
            if arrived.contains(&part.id) {
                continue;
            }
            self.notifiers.send_part(self.n, &part, Some(current), self.deadline).await?;
            arrived.push(part.id);
        }
        Ok(())
    }

    fn letter(&self, notice: &PendingNotice, why: &SendError) -> Vec<u8> {
        let at = (self.notifiers.world.now)();
        let parts = self.parts(notice, None).unwrap_or_default();
        let payload = UndeliveredMessage::payload_of(&parts);
        let (kind, name) = (self.n.kind.word, self.n.name.as_str());
        let letter = UndeliveredMessage::new(kind, name, &notice.event, at, why, payload);
        serde_json::to_vec_pretty(&letter).unwrap_or_default()
    }
}
