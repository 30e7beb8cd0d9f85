//! `notify status`: what waits for whom, since when, and why.

use std::fmt::Write as _;

use jiff::Timestamp;
use mimawari_base::duration;
use mimawari_drift::outbox::{Outbox, PendingNotice};
use serde::Serialize;

use crate::ledger::{DeliveryLog, QueueRecord};
use crate::notifier::NotifierConfig;

/// What waits for one receiver.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiverStatus {
    /// Its name.
    pub name: String,
    /// Its kind; none if the configuration does not have it.
    pub kind: Option<&'static str>,
    /// What happens when an answer is lost.
    pub when_in_doubt: Option<&'static str>,
    /// Notices that wait.
    pub pending: usize,
    /// When the oldest of them was written down.
    pub oldest: Option<Timestamp>,
    /// Its age.
    pub oldest_seconds: Option<i64>,
    /// The runs that they are about, the oldest first; ten at most.
    pub runs: Vec<String>,
    /// Failed attempts of the oldest one.
    pub failures: u32,
    /// Whether it may have arrived all the same.
    pub may_have_arrived: bool,
    /// Why the last attempt failed.
    pub why: Option<String>,
    /// When that was.
    pub failed_at: Option<Timestamp>,
    /// No attempt before this time.
    pub not_before: Option<Timestamp>,
    /// When something was last delivered.
    pub delivered_at: Option<Timestamp>,
    /// Events that the receiver refused, and that were set aside.
    pub set_aside: Vec<String>,
}

/// Reads what is on record of every receiver that is configured, or for which something waits.
///
/// # Errors
/// An I/O error when a record cannot be read.
pub async fn read_status(
    configured: &[NotifierConfig],
    outbox: &Outbox,
    log: &impl DeliveryLog,
    now: Timestamp,
) -> std::io::Result<Vec<ReceiverStatus>> {
    let configured: Vec<&NotifierConfig> =
        configured.iter().filter(|n| !n.kind.delivery.is_figure).collect();
    let mut names: Vec<&str> = configured.iter().map(|n| n.name.as_str()).collect();
    let others = outbox.receivers().map(|(name, _)| name);
    names.extend(others.filter(|o| !configured.iter().any(|n| n.name == *o)));
    let mut all = Vec::new();
    for name in names {
        let (record, _) = log.read(name).await?;
        let kind = configured.iter().find(|n| n.name == name).map(|n| n.kind);
        let open: Vec<&PendingNotice> =
            outbox.pending(name).iter().filter(|n| !record.is_delivered(&n.event)).collect();
        let mut status = build_receiver_status(name, &open, record, now);
        status.kind = kind.map(|k| k.word);
        status.when_in_doubt = kind.map(|k| k.delivery.when_in_doubt);
        all.push(status);
    }
    Ok(all)
}

fn build_receiver_status(
    name: &str,
    open: &[&PendingNotice],
    record: QueueRecord,
    now: Timestamp,
) -> ReceiverStatus {
    let oldest = open.iter().map(|n| n.queued_at).min();
    let waits = !open.is_empty();
    ReceiverStatus {
        name: name.to_owned(),
        kind: None,
        when_in_doubt: None,
        pending: open.len(),
        oldest,
        oldest_seconds: oldest.map(|at| now.duration_since(at).as_secs().max(0)),
        runs: open.iter().take(10).map(|n| n.head.run_id.clone()).collect(),
        failures: if waits { record.failures } else { 0 },
        may_have_arrived: waits && record.doubtful > 0,
        why: record.why.filter(|_| waits),
        failed_at: record.failed_at.filter(|_| waits),
        not_before: record.not_before.filter(|_| waits),
        delivered_at: record.delivered_at,
        set_aside: record.set_aside,
    }
}

/// The status for people.
#[must_use]
pub fn render_status(all: &[ReceiverStatus]) -> String {
    let mut out = String::new();
    for s in all {
        let kind = s.kind.map_or_else(
            || "not in this configuration".to_owned(),
            |k| if k == s.name { "its kind".to_owned() } else { k.to_owned() },
        );
        let kind = if kind == "its kind" { String::new() } else { format!(" ({kind})") };
        let _ = write!(out, "{}{kind}: ", s.name);
        if s.pending == 0 {
            let last = s.delivered_at.map_or_else(
                || "nothing was delivered yet".to_owned(),
                |at| format!("last delivered {at:.0}"),
            );
            let _ = writeln!(out, "nothing waits; {last}");
        } else {
            let age = duration::format_duration(s.oldest_seconds.unwrap_or(0) as f64);
            let word = if s.pending == 1 { "notice waits" } else { "notices wait" };
            let _ = writeln!(out, "{} {word}, the oldest for {age}", s.pending);
            let _ = writeln!(out, "  runs {}", s.runs.join(", "));
            if let Some(why) = &s.why {
                let at = s.failed_at.map_or_else(String::new, |at| format!(" at {at:.0}"));
                let _ = writeln!(out, "  {} failed attempts, the last{at}: {why}", s.failures);
            }
            if s.may_have_arrived {
                let _ = writeln!(
                    out,
                    "  the oldest may have arrived: {}",
                    s.when_in_doubt.unwrap_or("it is sent again")
                );
            }
            if let Some(at) = s.not_before {
                let _ = writeln!(out, "  not sent before {at:.0}");
            }
        }
        for event in &s.set_aside {
            let _ = writeln!(
                out,
                "  refused by the receiver and set aside: notified/{}/refused/{event}.json",
                s.name
            );
        }
    }
    if all.is_empty() {
        out.push_str("no notifier is configured\n");
    }
    out
}
