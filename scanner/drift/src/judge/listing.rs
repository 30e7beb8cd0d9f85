//! What is there and allowed, in a list of bounded length: whoever turned a published secret into a rule
//! is shown it in every report.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use mimawari_probes::observation::Severity;

use super::port::classify_port_severity;
use super::{RunJudge, host};
use crate::id::FindingId;
use crate::state::AllowedPort;
use crate::subject::Subject;
use crate::verdict::{AllowedCounts, AllowedSubject, MAX_ALLOWED};

/// Contents first, then facts of servers, whole hosts and ports; of each the worst first.
type AllowedRank<'a> = (u8, Reverse<Severity>, &'a Subject);

impl RunJudge<'_> {
    /// What is there from this vantage and allowed: the worst of it, and how much there is. Of a
    /// million ports no more is held than what is listed.
    pub(super) fn list_allowed(&mut self) -> (Vec<AllowedSubject>, AllowedCounts) {
        let mut counts = AllowedCounts::default();
        // The last one on top: what is worse takes its place.
        let mut worst: BinaryHeap<AllowedRank<'_>> = BinaryHeap::new();
        for a in self.next.allowed.values().filter(|a| a.is_here) {
            let (kind, count) = match a.subject {
                Subject::Content(_) => (0, &mut counts.contents),
                Subject::Server(..) => (1, &mut counts.servers),
                Subject::Host(_) => (2, &mut counts.hosts),
                Subject::Port(_) | Subject::Pool(_) => (3, &mut counts.ports),
            };
            *count += 1;
            let rank = (kind, Reverse(compute_severity(a)), &a.subject);
            if worst.len() < MAX_ALLOWED {
                worst.push(rank);
            } else if worst.peek().is_some_and(|last| rank < *last) {
                worst.pop();
                worst.push(rank);
            }
        }
        let listed = worst.into_sorted_vec().into_iter().filter_map(|(.., subject)| {
            let id = subject.id(self.run.vantage);
            Some(self.listed_as(id, self.next.allowed.get(&id)?))
        });
        let listed = listed.collect();
        self.next.allowed.values_mut().for_each(|a| a.is_here = false);
        (listed, counts)
    }

    fn listed_as(&self, id: FindingId, a: &AllowedPort) -> AllowedSubject {
        let head = self.heads.get(a.rule.as_ref());
        let text = |text: Option<&String>| text.cloned().unwrap_or_default();
        AllowedSubject {
            id: id.to_string(),
            kind: a.subject.kind(),
            severity: compute_severity(a),
            check: a.check().map(str::to_owned),
            service: (!a.service.is_unknown()).then(|| a.service.as_str().to_owned()),
            rule: a.rule.as_ref().to_owned(),
            owner: text(head.map(|h| &h.owner)),
            reason: text(head.map(|h| &h.reason)),
            first_seen: a.first_seen,
            last_seen: a.last_seen,
            subject: a.subject.clone(),
        }
    }
}

/// The severity that it would have as a finding.
fn compute_severity(a: &AllowedPort) -> Severity {
    let of_port = || a.subject.port().map(classify_port_severity);
    a.severity().or_else(of_port).unwrap_or(host::SEVERITY)
}
