//! What is told to whom: a verdict as the messages of Slack, GitHub, a webhook, Security Hub, and as
//! events and metrics.
//!
//! Every function here is pure and bounded; sending is the program's part. A message is made of the
//! verdict's `changes`, each of which the judge lets be told once. Text that comes from hosts is
//! cleaned for its medium: it can neither format, link nor mention anybody.

pub mod events;
pub mod github;
pub mod metrics;
pub mod security_hub;
pub mod slack;
pub mod webhook;

use std::collections::HashMap;

use jiff::Timestamp;
use mimawari_drift::verdict::{
    ChangeKind, Finding, FindingChange, RunSummary, ServiceChange, Verdict,
};
use mimawari_probes::observation::Severity;
use sha2::{Digest as _, Sha256};

/// Which findings a notifier is told of, and where it points to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSelection {
    /// The least severity that is told; `None` tells all.
    pub min_severity: Option<Severity>,
    /// Owners whose findings are told; empty tells all.
    pub owners: Vec<String>,
    /// URL of a run's report; `{run_id}` stands for the run.
    pub report_url: Option<String>,
}

impl ChangeSelection {
    /// Whether a finding is told.
    #[must_use]
    pub fn takes(&self, f: &Finding) -> bool {
        self.min_severity.is_none_or(|least| f.severity >= least)
            && (self.owners.is_empty()
                || f.owner.as_ref().is_some_and(|o| self.owners.iter().any(|w| w == o)))
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
        Some(url.replace("{run_id}", &percent_encoded(&v.run_id)))
    }

    /// What of a verdict's changes is to be told here.
    #[must_use]
    pub fn told<'a>(&self, v: &'a Verdict) -> Vec<NotifiedChanges<'a>> {
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

/// What a notifier would tell of a verdict, as an id: the run, and 16 hex digits of the SHA-256 of
/// the changes' keys. Judging a run again under a merged baseline tells other changes, so it is
/// another event; telling the same ones twice is the same.
#[must_use]
pub fn event_id(v: &Verdict) -> String {
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
pub fn doubt_to_tell(v: &Verdict) -> Option<RunDoubt> {
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
    // every run; they are told along with the changes.
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

/// The text that keeps every byte of it inside one segment of a URL (RFC 3986, section 2.3).
fn percent_encoded(s: &str) -> String {
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
fn counted(told: &[NotifiedChanges<'_>]) -> Vec<(ChangeKind, usize)> {
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
    .map(|k| (k, told.iter().filter(|t| t.change.what == k).count()))
    .filter(|(_, n)| *n > 0)
    .collect()
}

/// A kind of change as a person reads it, after a number.
const fn said(kind: ChangeKind) -> &'static str {
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

    /// Every drift of the verdict, told as this.
    pub(crate) fn all_told(mut v: Verdict, what: ChangeKind) -> Verdict {
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
        all_told(v, ChangeKind::Opened)
    }

    pub(crate) fn three() -> Verdict {
        use mimawari_drift::verdict::NearestRule;
        let mut v = all_told(samples::drift(), ChangeKind::Opened);
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
        all_told(v, ChangeKind::Opened)
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
    fn a_gap_is_told_when_it_comes_and_once_a_day_after() {
        let mut v = samples::incomplete();
        let mut said = Vec::new();
        v.timeline = vec![run(0, false)];
        for hour in 1..60 {
            v.timeline.push(run(hour, true));
            if doubt_to_tell(&v).is_some() {
                said.push(hour);
            }
        }
        assert_eq!(said, [1, 25, 49]);
        // Worse is told at once.
        v.suspect = true;
        v.timeline.push(RunSummary { suspect: true, ..run(60, true) });
        assert_eq!(doubt_to_tell(&v), Some(RunDoubt::Suspect));
        assert_eq!(doubt_to_tell(&samples::clean()), None);
    }

    #[test]
    fn events_differ_by_what_they_tell() {
        let v = three();
        let mut again = v.clone();
        again.judged_at += jiff::SignedDuration::from_hours(1);
        assert_eq!(event_id(&v), event_id(&again));
        again.changes.pop();
        assert_ne!(event_id(&v), event_id(&again));
        let id = event_id(&hostile());
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{id}");
    }

    #[test]
    fn a_selection_takes_by_severity_and_owner() {
        let v = three();
        let all = ChangeSelection::default().told(&v).len();
        let some = ChangeSelection {
            min_severity: Some(Severity::Critical),
            ..ChangeSelection::default()
        };
        let one = ChangeSelection {
            owners: vec!["@corp/hosting".to_owned()],
            ..ChangeSelection::default()
        };
        assert_eq!((all, some.told(&v).len()), (3, 2));
        assert!(one.told(&v).iter().all(|t| t.finding.owner.as_deref() == Some("@corp/hosting")));
        let url =
            ChangeSelection { report_url: Some("https://r.example/{run_id}/".to_owned()), ..one };
        assert_eq!(url.report(&v).unwrap(), "https://r.example/20260801T010000Z-7f3a/");
    }
}
