//! Who is notified of what: a verdict as the messages of Slack, GitHub, a webhook, Security Hub, and as
//! events and metrics.
//!
//! Every function here is pure and bounded; sending is another crate's part. A message is made of the
//! verdict's `changes`, each of which the judge lets be notified once. Text that comes from hosts is
//! cleaned for its medium: it can neither format, link nor mention anybody.

pub mod events;
pub mod github;
pub mod metrics;
pub mod plain;
pub mod security_hub;
pub mod slack;
pub mod webhook;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mimawari_drift::verdict::{
    ChangeKind, Finding, FindingChange, RunSummary, ServiceChange, Verdict,
};
use mimawari_probes::observation::Severity;
use sha2::{Digest as _, Sha256};

use crate::words;

/// Which changes a notifier gets, and where it points to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSelection {
    /// The least severity; `None` takes all.
    pub min_severity: Option<Severity>,
    /// Owners whose findings it gets; empty takes all.
    pub owners: Vec<String>,
    /// Whether it also gets the findings of nobody, and of owners that no notifier names.
    pub takes_rest: bool,
    /// Every owner that a notifier of this configuration names.
    pub named_owners: Arc<BTreeSet<String>>,
    /// URL of a run's report; `{run_id}` stands for the run.
    pub report_url: Option<String>,
}

impl ChangeSelection {
    /// Whether it gets a finding.
    #[must_use]
    pub fn takes(&self, f: &Finding) -> bool {
        let is_severe = self.min_severity.is_none_or(|least| f.severity >= least);
        let is_own = || f.owner.as_ref().is_some_and(|o| self.owners.contains(o));
        let is_rest = || f.owner.as_ref().is_none_or(|o| !self.named_owners.contains(o));
        is_severe && (self.owners.is_empty() || is_own() || self.takes_rest && is_rest())
    }

    /// The ports with another service than before that are notified. They have neither severity nor owner:
    /// whoever selects by these gets none.
    #[must_use]
    pub fn services<'a>(&self, v: &'a Verdict) -> &'a [ServiceChange] {
        if self.min_severity.is_none() && self.owners.is_empty() { &v.service_changes } else { &[] }
    }

    /// The URL of this run's report.
    #[must_use]
    pub fn report(&self, v: &Verdict) -> Option<String> {
        let url = self.report_url.as_ref()?;
        Some(url.replace("{run_id}", &encode_url_segment(&v.run_id)))
    }

    /// The changes of a verdict that it gets, with their findings.
    #[must_use]
    pub fn changes<'a>(&self, v: &'a Verdict) -> Vec<NotifiedChanges<'a>> {
        let by_id: HashMap<&str, &Finding> =
            v.findings.iter().map(|f| (f.id.as_str(), f)).collect();
        v.changes
            .iter()
            .filter_map(|change| {
                let finding = *by_id.get(change.finding.as_str())?;
                self.takes(finding).then_some(NotifiedChanges { change, finding })
            })
            .collect()
    }
}

/// A change and its finding.
#[derive(Debug, Clone, Copy)]
pub struct NotifiedChanges<'a> {
    /// What happened.
    pub change: &'a FindingChange,
    /// To what.
    pub finding: &'a Finding,
}

impl NotifiedChanges<'_> {
    /// Whether this is one of these.
    #[must_use]
    pub fn is(&self, kinds: &[ChangeKind]) -> bool {
        kinds.contains(&self.change.what)
    }
}

/// Why a message comes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeDelay {
    /// When the oldest of it was found.
    pub since: Timestamp,
    /// How long ago that is.
    pub age: SignedDuration,
    /// How many runs it speaks of.
    pub runs: usize,
    /// How many of these were incomplete or suspect.
    pub doubted_runs: usize,
    /// Whether it may have arrived before: an answer was lost.
    pub may_have_arrived: bool,
}

impl NoticeDelay {
    /// What a person has to know of it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut s = match self.runs {
            0 | 1 => {
                format!(
                    "Late: of {}, {} ago.",
                    words::format_minute(self.since),
                    format_rough_age(self.age)
                )
            }
            n => format!(
                "Late: {} since {}, {} ago, in one message.",
                words::format_plural(n as u64, "run"),
                words::format_minute(self.since),
                format_rough_age(self.age)
            ),
        };
        if self.runs > 1 && self.doubted_runs > 0 {
            s.push_str(&format!(" {} of them incomplete or suspect.", self.doubted_runs));
        }
        s.push_str(if self.may_have_arrived {
            " It may have arrived before: the answer was lost."
        } else {
            " It could not be delivered before."
        });
        s
    }
}

/// An age in its largest unit.
fn format_rough_age(age: SignedDuration) -> String {
    let minutes = u64::try_from(age.as_mins()).unwrap_or(0);
    match minutes {
        0..=119 => words::format_plural(minutes, "minute"),
        120..=2879 => words::format_plural(minutes / 60, "hour"),
        _ => words::format_plural(minutes / 1440, "day"),
    }
}

/// What became of the notifications of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryFigures {
    /// Notifiers that could not deliver.
    pub failures: u64,
    /// Notices that wait.
    pub pending: u64,
    /// Seconds that the oldest one has waited; 0 without one.
    pub oldest_seconds: i64,
    /// Messages that a receiver refused, and that were set aside.
    pub set_aside: u64,
}

/// What a notifier would say of a verdict, as an id: the run, and 16 hex digits of the SHA-256 of
/// the changes' keys. Judging a run again under a merged baseline gives other changes, so it is
/// another event; the same changes are the same event.
#[must_use]
pub fn compute_event_id(v: &Verdict) -> String {
    let mut hash = Sha256::new();
    for part in v.changes.iter().map(|c| c.key.as_str()) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update([u8::from(v.digest_due), u8::from(v.suspect), u8::from(v.incomplete)]);
    let run: String = v
        .run_id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .take(64)
        .collect();
    let digest = hash.finalize();
    format!("{run}-{}", mimawari_targets::hex::encode(&digest[..8]))
}

/// What is wrong with a run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunDoubt {
    /// Nothing.
    None,
    /// Something planned was not covered.
    Incomplete,
    /// It is not to be believed.
    Suspect,
}

impl RunDoubt {
    /// Of a verdict.
    #[must_use]
    pub const fn of(v: &Verdict) -> Self {
        if v.suspect {
            Self::Suspect
        } else if v.incomplete {
            Self::Incomplete
        } else {
            Self::None
        }
    }

    fn of_run(r: &RunSummary) -> Self {
        if r.suspect {
            Self::Suspect
        } else if r.incomplete
            || r.exit == 3 && r.counts.undecided == 0
            || r.cells_covered < r.cells_planned
        {
            Self::Incomplete
        } else {
            Self::None
        }
    }
}

/// What is to be said of the run as a whole, if a message is to be sent for its sake: when it became
/// incomplete or suspect, and once a day while it stays so.
#[must_use]
pub fn select_run_doubt(v: &Verdict) -> Option<RunDoubt> {
    const DAY: i64 = 86_400;
    let now = RunDoubt::of(v);
    if now == RunDoubt::None {
        return None;
    }
    let (this, before) = match v.timeline.split_last() {
        None => return Some(now),
        Some(split) => split,
    };
    // Gaps that the timeline does not show, in a run that found drift, would look like a change in
    // every run; they are said along with the changes.
    if RunDoubt::of_run(this) == RunDoubt::None {
        return before.is_empty().then_some(now);
    }
    let Some(last) = before.last() else { return Some(now) };
    if RunDoubt::of_run(last) < now {
        return Some(now);
    }
    let began = before.iter().rev().take_while(|r| RunDoubt::of_run(r) != RunDoubt::None).last();
    let day = |at: Timestamp| began.map_or(0, |b| (at.as_second() - b.at.as_second()) / DAY);
    (day(this.at) > day(last.at)).then_some(now)
}

/// Whether the run before was incomplete or suspect, and this one is not.
#[must_use]
pub fn has_run_recovered(v: &Verdict) -> bool {
    let before = v.timeline.iter().rev().find(|r| r.run_id != v.run_id);
    RunDoubt::of(v) == RunDoubt::None
        && before.is_some_and(|r| RunDoubt::of_run(r) != RunDoubt::None)
}

/// The text that keeps every byte of it inside one segment of a URL (RFC 3986, section 2.3).
#[must_use]
pub fn encode_url_segment(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for b in s.bytes().take(256) {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// How many of the changes are of each kind, in the kinds' order, those that are not there left out.
fn count_by_kind(changes: &[NotifiedChanges<'_>]) -> Vec<(ChangeKind, usize)> {
    use ChangeKind as K;
    [
        K::Opened,
        K::Reopened,
        K::Worse,
        K::Flapping,
        K::Reminder,
        K::Resolved,
        K::Allowed,
        K::OutOfScope,
        K::NotRequired,
    ]
    .into_iter()
    .map(|k| (k, changes.iter().filter(|t| t.change.what == k).count()))
    .filter(|(_, n)| *n > 0)
    .collect()
}

/// A kind of change as a person reads it, after a number.
const fn describe_change_kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Opened => "new",
        ChangeKind::Reopened => "back again",
        ChangeKind::Worse => "worse",
        ChangeKind::Flapping => "flapping",
        ChangeKind::Reminder => "still open",
        ChangeKind::Resolved => "resolved",
        ChangeKind::Allowed => "now allowed",
        ChangeKind::OutOfScope => "out of scope",
        ChangeKind::NotRequired => "no longer required",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::samples;

    /// Every drift of the verdict, notified as this.
    pub(crate) fn all_notified(mut v: Verdict, what: ChangeKind) -> Verdict {
        v.changes = v
            .findings
            .iter()
            .filter(|f| f.state.is_drift())
            .map(|f| FindingChange { key: format!("{}-1", f.id), finding: f.id.clone(), what })
            .collect();
        v
    }

    /// Three thousand findings that five causes explain, and a little noise.
    pub(crate) fn five_causes() -> Verdict {
        let mut v = samples::clean();
        v.exit = 1;
        let mut add = |ip: String, port: u16, owner: &str, minute: i64| {
            let mut f = samples::port(&ip, port);
            f.id = format!("{:016x}", v.findings.len() as u64 + 1);
            f.owner = Some(owner.to_owned());
            f.new = true;
            f.first_seen = Timestamp::from_second(1_780_000_000 + minute * 60).unwrap();
            v.findings.push(f);
        };
        for n in 0..600u32 {
            add(format!("198.18.{}.{}", n / 250, n % 250), 6379, "@corp/a", i64::from(n % 7));
            add(format!("198.18.{}.{}", n / 250, n % 250), 9200, "@corp/a", 3);
            add(format!("198.18.90.{}", n % 250), (2000 + n % 40) as u16, "@corp/b", 5);
            add("198.18.200.9".to_owned(), (20_000 + n) as u16, "@corp/c", 4);
            if n < 550 {
                add(format!("198.19.{}.{}", n / 250, n % 250), 6379, "@corp/a", 900);
            } else {
                add(
                    format!("198.19.{n}.7").replace(&n.to_string(), &(n % 200).to_string()),
                    30_000 + n as u16,
                    "@corp/z",
                    i64::from(n) * 100,
                );
            }
        }
        v.counts.open = v.findings.len() as u64;
        v.counts.new = v.counts.open;
        all_notified(v, ChangeKind::Opened)
    }

    pub(crate) fn three() -> Verdict {
        use mimawari_drift::verdict::NearestRule;
        let mut v = all_notified(samples::drift(), ChangeKind::Opened);
        v.changes.truncate(3);
        for f in &mut v.findings {
            f.nearest = Some(NearestRule {
                id: "edge-https".to_owned(),
                place: "baseline/hosting.toml:7".to_owned(),
                owner: "@corp/hosting".to_owned(),
                missed: "it allows tcp/80 and tcp/443 only".to_owned(),
            });
        }
        v
    }

    pub(crate) fn hostile() -> Verdict {
        use mimawari_drift::verdict::NearestRule;
        let mut v = samples::hostile();
        for (n, f) in v.findings.iter_mut().enumerate() {
            let evil = format!("<!channel> <@U024BE7LH> @here {} https://evil.example", f.why);
            f.nearest = Some(NearestRule {
                id: evil.clone(),
                place: evil.clone(),
                owner: evil.clone(),
                missed: evil.clone(),
            });
            f.owner = Some(evil);
            f.id = format!("{n:016x}");
        }
        all_notified(v, ChangeKind::Opened)
    }

    fn run(at: i64, bad: bool) -> RunSummary {
        RunSummary {
            run_id: "r".to_owned(),
            vantage: "outside".to_owned(),
            at: Timestamp::from_second(1_780_000_000 + at * 3600).unwrap(),
            exit: if bad { 3 } else { 0 },
            suspect: false,
            incomplete: bad,
            cells_planned: 10,
            cells_covered: if bad { 4 } else { 10 },
            recall_estimate: None,
            counts: mimawari_drift::verdict::FindingCounts::default(),
        }
    }

    #[test]
    fn a_gap_is_said_when_it_comes_and_once_a_day_after() {
        let mut v = samples::incomplete();
        let mut said = Vec::new();
        v.timeline = vec![run(0, false)];
        for hour in 1..60 {
            v.timeline.push(run(hour, true));
            if select_run_doubt(&v).is_some() {
                said.push(hour);
            }
        }
        assert_eq!(said, [1, 25, 49]);
        // Worse is said at once.
        v.suspect = true;
        v.timeline.push(RunSummary { suspect: true, ..run(60, true) });
        assert_eq!(select_run_doubt(&v), Some(RunDoubt::Suspect));
        assert_eq!(select_run_doubt(&samples::clean()), None);
    }

    #[test]
    fn a_late_message_says_how_late_it_is() {
        let mut delay = NoticeDelay {
            since: "2026-08-01T01:02:03Z".parse().unwrap(),
            age: SignedDuration::from_hours(3),
            runs: 1,
            doubted_runs: 0,
            may_have_arrived: false,
        };
        assert_eq!(
            delay.sentence(),
            "Late: of 2026-08-01 01:02 UTC, 3 hours ago. It could not be delivered before."
        );
        (delay.runs, delay.doubted_runs, delay.may_have_arrived) = (4, 2, true);
        assert_eq!(
            delay.sentence(),
            "Late: 4 runs since 2026-08-01 01:02 UTC, 3 hours ago, in one message. 2 of them incomplete or \
             suspect. It may have arrived before: the answer was lost."
        );
    }

    #[test]
    fn events_differ_by_what_they_say() {
        let v = three();
        let mut again = v.clone();
        again.judged_at += jiff::SignedDuration::from_hours(1);
        assert_eq!(compute_event_id(&v), compute_event_id(&again));
        again.changes.pop();
        assert_ne!(compute_event_id(&v), compute_event_id(&again));
        let id = compute_event_id(&hostile());
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{id}");
    }

    #[test]
    fn a_selection_takes_by_severity_and_owner() {
        let v = three();
        let all = ChangeSelection::default().changes(&v).len();
        let some = ChangeSelection {
            min_severity: Some(Severity::Critical),
            ..ChangeSelection::default()
        };
        let one = ChangeSelection {
            owners: vec!["@corp/hosting".to_owned()],
            ..ChangeSelection::default()
        };
        assert_eq!((all, some.changes(&v).len()), (3, 2));
        assert!(
            one.changes(&v).iter().all(|t| t.finding.owner.as_deref() == Some("@corp/hosting"))
        );
        // Whoever takes the rest gets what no other one names.
        let rest = ChangeSelection {
            owners: vec!["@corp/other".to_owned()],
            takes_rest: true,
            named_owners: Arc::new(BTreeSet::from([
                "@corp/other".to_owned(),
                "@corp/hosting".to_owned(),
            ])),
            ..ChangeSelection::default()
        };
        assert_eq!(one.changes(&v).len() + rest.changes(&v).len(), 3);
        let url =
            ChangeSelection { report_url: Some("https://r.example/{run_id}/".to_owned()), ..one };
        assert_eq!(url.report(&v).unwrap(), "https://r.example/20260801T010000Z-7f3a/");
    }
}
