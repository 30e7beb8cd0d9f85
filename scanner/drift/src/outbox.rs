//! What receivers have not taken yet.
//!
//! The outbox is part of the state. What a judgement has to say is written in the same generation as
//! the judgement, so a run that is killed between saving and sending loses no message: the next one
//! delivers it. A notice leaves the outbox when its delivery is on record.
//!
//! **Overflow.** A receiver that takes nothing for a long time has at most [`MOST_PENDING`] notices
//! waiting. When there would be more, the older half, without the oldest one (which may be on its way),
//! is merged into one notice. Of each finding it keeps the first alarm that was not delivered and where
//! the finding stands now, so nothing is lost that a person has to know.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use mimawari_probes::observation::Severity;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::verdict::{ChangeKind, Finding, FindingChange, FindingState, Verdict};

/// Notices that wait for one receiver, at most.
pub const MOST_PENDING: usize = 100;
/// Reasons and service changes that a notice keeps.
const MOST_REASONS: usize = 10;
const MOST_SERVICES: usize = 200;

/// What receivers have not taken yet, by the notifier's name; the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outbox(BTreeMap<String, Vec<PendingNotice>>);

/// What one judgement has to say to one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingNotice {
    /// The id by which a receiver may know it.
    pub event: String,
    /// When it was written down, by the clock of the run.
    pub queued_at: Timestamp,
    /// The verdict without its findings and changes.
    pub head: Box<Verdict>,
    /// What happened, in order.
    pub changes: Vec<PendingChange>,
    /// The events of the notices that were merged into this one, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
    /// How many of the merged runs were incomplete or suspect.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub doubted: u32,
}

/// A change that was not delivered. The rest of the finding is in the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingChange {
    /// As in [`FindingChange`].
    pub key: String,
    /// The finding's id.
    pub finding: String,
    /// What happened.
    pub what: ChangeKind,
    /// Where the finding stood then.
    pub state: FindingState,
    /// How bad it was then.
    pub severity: Severity,
    /// The finding itself, where the state no longer has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<Finding>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl PendingNotice {
    /// What a verdict has to say: these changes of it.
    #[must_use]
    pub fn new<'a>(
        event: String,
        queued_at: Timestamp,
        v: &Verdict,
        changes: impl Iterator<Item = (&'a FindingChange, &'a Finding)>,
    ) -> Self {
        let changes = changes
            .map(|(c, f)| PendingChange {
                key: c.key.clone(),
                finding: c.finding.clone(),
                what: c.what,
                state: f.state,
                severity: f.severity,
                kept: None,
            })
            .collect();
        Self {
            event,
            queued_at,
            head: Box::new(trim_verdict(v)),
            changes,
            merged: Vec::new(),
            doubted: 0,
        }
    }

    /// How many notices it is made of.
    #[must_use]
    pub fn notices(&self) -> usize {
        self.merged.len().max(1)
    }

    /// Merges notices, the oldest first; one alone stays as it is.
    #[must_use]
    pub fn merge(notices: &[&Self]) -> Option<Self> {
        let (newest, older) = notices.split_last()?;
        let mut all = (*newest).clone();
        if older.is_empty() {
            return Some(all);
        }
        let is_doubted = |n: &Self| n.head.suspect || n.head.incomplete;
        let doubted = |n: &&Self| n.doubted + u32::from(n.merged.is_empty() && is_doubted(n));
        all.doubted = notices.iter().map(doubted).sum();
        all.queued_at = notices.iter().map(|n| n.queued_at).min().unwrap_or(all.queued_at);
        all.head.digest_due = notices.iter().any(|n| n.head.digest_due);
        all.head.service_changes =
            notices.iter().flat_map(|n| n.head.service_changes.iter().cloned()).collect();
        let services = &mut all.head.service_changes;
        services.drain(..services.len().saturating_sub(MOST_SERVICES));
        all.changes = merge_changes(notices.iter().flat_map(|n| &n.changes));
        all.merged = notices.iter().flat_map(|n| n.events()).map(str::to_owned).collect();
        let mut hash = Sha256::new();
        for event in &all.merged {
            hash.update(event.as_bytes());
            hash.update([0]);
        }
        let digest = mimawari_targets::hex::encode(&hash.finalize()[..8]);
        all.event = format!("merged-{}-{digest}", all.merged.len());
        Some(all)
    }

    /// The events that it is made of.
    fn events(&self) -> impl Iterator<Item = &str> {
        let own = self.merged.is_empty().then_some(self.event.as_str());
        own.into_iter().chain(self.merged.iter().map(String::as_str))
    }
}

/// Of each finding its first alarm and its last change, in the order of the last ones.
fn merge_changes<'a>(changes: impl Iterator<Item = &'a PendingChange>) -> Vec<PendingChange> {
    let mut order: Vec<(usize, PendingChange, Option<PendingChange>)> = Vec::new();
    let mut at: HashMap<&str, usize> = HashMap::new();
    for (n, c) in changes.enumerate() {
        let Some(&i) = at.get(c.finding.as_str()) else {
            at.insert(&c.finding, order.len());
            order.push((n, c.clone(), None));
            continue;
        };
        let (last_at, last, alarm) = &mut order[i];
        if last.what.is_alarm() && alarm.is_none() {
            *alarm = Some(last.clone());
        }
        (*last_at, *last) = (n, c.clone());
    }
    order.sort_by_key(|(n, ..)| *n);
    let mut all = Vec::with_capacity(order.len());
    for (_, mut last, alarm) in order {
        match alarm {
            // An alarm that nobody received stays what it was, with what is known now.
            Some(alarm) if last.what.is_alarm() => {
                last.what = match alarm.what {
                    ChangeKind::Reminder => last.what,
                    what => what,
                };
                all.push(last);
            }
            // What came before a reminder was delivered.
            Some(alarm) if alarm.what != ChangeKind::Reminder => all.extend([alarm, last]),
            Some(_) => all.push(last),
            None => all.push(last),
        }
    }
    all
}

/// A verdict without what the state holds as well.
fn trim_verdict(v: &Verdict) -> Verdict {
    let mut head = Verdict {
        findings: Vec::new(),
        changes: Vec::new(),
        timeline: Vec::new(),
        maps: Vec::new(),
        site_changes: Vec::new(),
        site_notices: Vec::new(),
        ..v.clone()
    };
    head.service_changes.truncate(MOST_SERVICES);
    head.incomplete_because.truncate(MOST_REASONS);
    head.coverage.gaps = Vec::new();
    head.coverage.not_covered = Vec::new();
    head.run.notes = Vec::new();
    head.run.targets.truncate(MOST_REASONS);
    head
}

impl Outbox {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The receivers for which something waits.
    pub fn receivers(&self) -> impl Iterator<Item = (&str, &[PendingNotice])> {
        self.0.iter().map(|(name, all)| (name.as_str(), all.as_slice()))
    }

    /// What waits for a receiver, the oldest first.
    #[must_use]
    pub fn pending(&self, receiver: &str) -> &[PendingNotice] {
        self.0.get(receiver).map_or(&[], Vec::as_slice)
    }

    /// Adds a notice; one that waits already is not added again.
    pub fn push(&mut self, receiver: &str, notice: PendingNotice) {
        let all = self.0.entry(receiver.to_owned()).or_default();
        if all.iter().any(|n| n.event == notice.event || n.merged.contains(&notice.event)) {
            return;
        }
        all.push(notice);
        if all.len() > MOST_PENDING {
            let older: Vec<PendingNotice> = all.drain(1..=MOST_PENDING / 2).collect();
            let merged = PendingNotice::merge(&older.iter().collect::<Vec<_>>());
            all.splice(1..1, merged);
        }
    }

    /// Removes what was delivered: `is_delivered(receiver, event)`.
    pub fn remove_delivered(&mut self, is_delivered: impl Fn(&str, &str) -> bool) {
        self.0.retain(|receiver, all| {
            all.retain(|n| !is_delivered(receiver, &n.event));
            !all.is_empty()
        });
    }

    /// Removes everything that waits for a receiver, and says how much that was.
    pub fn remove_receiver(&mut self, receiver: &str) -> usize {
        self.0.remove(receiver).map_or(0, |all| all.len())
    }

    /// Keeps a copy of the findings that a judgement took out of the state: those that `removed` has.
    pub fn keep_findings(&mut self, removed: impl Fn(&str) -> Option<Finding>) {
        for change in self.0.values_mut().flatten().flat_map(|n| &mut n.changes) {
            if change.kept.is_none() {
                change.kept = removed(&change.finding).map(Box::new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(finding: &str, what: ChangeKind, n: u32) -> PendingChange {
        let state = if what.is_alarm() { FindingState::Open } else { FindingState::Resolved };
        PendingChange {
            key: format!("{finding}.{n}"),
            finding: finding.to_owned(),
            what,
            state,
            severity: Severity::High,
            kept: None,
        }
    }

    fn merged(changes: &[(&str, ChangeKind)]) -> Vec<(String, ChangeKind)> {
        let all: Vec<PendingChange> =
            changes.iter().zip(0..).map(|((f, what), n)| change(f, *what, n)).collect();
        merge_changes(all.iter()).into_iter().map(|c| (c.key, c.what)).collect()
    }

    #[test]
    fn a_merge_keeps_the_first_alarm_and_where_it_ended() {
        use ChangeKind as C;
        let key = |s: &str, what| (s.to_owned(), what);
        // It came and went: both are said, in order.
        assert_eq!(
            merged(&[("a", C::Opened), ("b", C::Opened), ("a", C::Resolved)]),
            [key("b.1", C::Opened), key("a.0", C::Opened), key("a.2", C::Resolved)]
        );
        // Nobody received the first alarm, so a reminder would remind of nothing.
        assert_eq!(
            merged(&[("a", C::Opened), ("a", C::Reminder), ("a", C::Worse)]),
            [key("a.2", C::Opened)]
        );
        // The alarm before these was delivered.
        assert_eq!(merged(&[("a", C::Reminder), ("a", C::Worse)]), [key("a.1", C::Worse)]);
        assert_eq!(merged(&[("a", C::Reminder), ("a", C::Allowed)]), [key("a.1", C::Allowed)]);
        assert_eq!(merged(&[("a", C::Resolved), ("a", C::Reopened)]), [key("a.1", C::Reopened)]);
    }
}
