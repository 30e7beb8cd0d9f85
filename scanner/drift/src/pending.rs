//! An outbox with as much of the state as is needed to say what is in it.

use std::collections::BTreeMap;

use crate::outbox::{Outbox, PendingNotice};
use crate::state::{State, TrackedFinding};
use crate::verdict::{Finding, FindingChange, FindingState, RunSummary, Verdict};

/// An outbox with what is needed to say what is in it; smaller than the state.
#[derive(Debug, Clone, Default)]
pub struct PendingView {
    /// What waits.
    pub outbox: Outbox,
    findings: BTreeMap<String, Finding>,
    timeline: Vec<RunSummary>,
}

impl PendingView {
    /// The view of a state. `whole` takes every finding that is not settled, and not only those that
    /// something waits about.
    #[must_use]
    pub fn of(state: &State, whole: bool) -> Self {
        let notices = || state.outbox.receivers().flat_map(|(_, all)| all);
        let whole = whole || notices().any(|n| n.head.digest_due);
        let mut findings: BTreeMap<String, Finding> = BTreeMap::new();
        for id in notices().flat_map(|n| &n.changes).map(|c| &c.finding) {
            if let Some(t) = state.findings.get(id) {
                findings.insert(id.clone(), t.finding.clone());
            }
        }
        if whole {
            let unsettled = |t: &TrackedFinding| {
                !matches!(t.finding.state, FindingState::Resolved | FindingState::Allowed)
            };
            let all = state.findings.iter().filter(|(_, t)| unsettled(t));
            findings.extend(all.map(|(id, t)| (id.clone(), t.finding.clone())));
        }
        let timeline = if state.outbox.is_empty() { Vec::new() } else { state.timeline.clone() };
        Self { outbox: state.outbox.clone(), findings, timeline }
    }

    /// The verdict that a notice speaks of: its changes with their findings as they stood then, and
    /// where a summary is due everything that counts.
    #[must_use]
    pub fn verdict(&self, notice: &PendingNotice) -> Verdict {
        let mut v = (*notice.head).clone();
        let mut findings: BTreeMap<&str, Finding> = BTreeMap::new();
        if v.digest_due {
            let drift = self.findings.iter().filter(|(_, f)| f.state.is_drift());
            findings.extend(drift.map(|(id, f)| (id.as_str(), f.clone())));
        }
        for c in &notice.changes {
            let known = c.kept.as_deref().or_else(|| self.findings.get(&c.finding));
            let Some(known) = known else { continue };
            let (state, severity) = (c.state, c.severity);
            findings.insert(&c.finding, Finding { state, severity, ..known.clone() });
        }
        v.changes = notice
            .changes
            .iter()
            .map(|c| FindingChange { key: c.key.clone(), finding: c.finding.clone(), what: c.what })
            .collect();
        v.findings = findings.into_values().collect();
        v.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        v.timeline = self.timeline_of(&v.run_id);
        v
    }

    /// The newest run with every finding that is not settled, for receivers that are brought in line
    /// with all of it.
    #[must_use]
    pub fn current(&self, notice: &PendingNotice) -> Verdict {
        let mut v = (*notice.head).clone();
        v.findings = self.findings.values().cloned().collect();
        v.timeline = self.timeline.clone();
        v
    }

    fn timeline_of(&self, run: &str) -> Vec<RunSummary> {
        let end = self.timeline.iter().position(|r| r.run_id == run).map_or(0, |i| i + 1);
        self.timeline[..end].to_vec()
    }
}
