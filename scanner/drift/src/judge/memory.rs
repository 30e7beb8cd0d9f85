//! The memory of what is there and allowed.

use std::sync::Arc;

use mimawari_probes::observation::{CellState, ContentOutcome};

use super::content::{is_inventory, is_relevant_to_check};
use super::port::classify_port_severity;
use super::{LifeDecision, RunJudge, Sighting};
use crate::baseline::{RuleHead, RuleMatch};
use crate::id::FindingId;
use crate::state::{AllowedPort, ServiceName, TrackedFinding};
use crate::subject::Subject;
use crate::verdict::Finding;

impl RunJudge<'_> {
    /// Whether what is allowed under this id was seen from the vantage of this run, which knows nothing
    /// of what is seen from another one.
    pub(super) fn is_seen_from_here(&self, id: &FindingId, a: &AllowedPort) -> bool {
        a.subject.id(self.run.vantage) == *id
    }

    /// Whether a rule that allows it is news for a finding.
    pub(super) fn is_to_be_allowed(&self, id: &str) -> bool {
        let news = |t: &TrackedFinding| t.is_active() || t.is_restless();
        self.next.findings.get(id).is_some_and(news)
    }

    /// Remembers what is there and allowed.
    pub(super) fn allow(&mut self, id: FindingId, mut thing: AllowedPort) {
        let at = thing.last_seen;
        let cell = thing.subject.cell();
        if cell.is_none_or(|cell| self.with_findings.contains(&cell))
            && let Some(before) = self.next.findings.get(id.as_str())
        {
            thing.first_seen = at.min(before.finding.first_seen);
        }
        let Some(a) = self.next.allowed.get_mut(&id) else {
            thing.is_here = true;
            self.next.allowed.insert(id, thing);
            return;
        };
        a.rule = thing.rule;
        a.last_seen = a.last_seen.max(at);
        a.missed = false;
        a.is_here = true;
        if !thing.service.is_unknown() {
            a.service = thing.service;
        }
    }

    /// A rule's id, shared by all that it allows.
    pub(super) fn rule(&mut self, id: &str) -> Arc<str> {
        if let Some(known) = self.rules.get(id) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = id.into();
        self.rules.insert(id.to_owned(), Arc::clone(&shared));
        shared
    }

    /// A finding that a live rule allows now, looked at or not: what it was found for is remembered.
    pub(super) fn allow_unseen(&mut self, id: &str, f: &Finding, head: &RuleHead) {
        self.apply(id, Sighting::Elsewhere, &LifeDecision::Allowed(head));
        let subject = f.subject();
        // What a `never` rule forbade is remembered as the plain port that it is.
        let remembered = subject.id(&f.vantage);
        let mut thing = AllowedPort::new(subject, self.rule(&head.id), f.last_seen);
        if matches!(thing.subject, Subject::Content(_) | Subject::Server(..)) {
            let check = thing.subject.check().or(f.check.as_deref());
            thing = thing.clone().with_detail(check, f.severity);
        }
        thing.first_seen = f.first_seen;
        thing.is_here = f.vantage == self.run.vantage;
        let service = f.service.as_deref().and_then(|s| s.split(':').next());
        thing.service = service.map(ServiceName::new).unwrap_or_default();
        self.next.allowed.insert(remembered, thing);
    }

    /// What was allowed before and was not seen in this run: if its rule is gone, that is not
    /// forgotten only because nobody looked.
    pub(super) fn allowed_before(&mut self) {
        let before: Vec<(FindingId, AllowedPort)> = self
            .next
            .allowed
            .iter()
            .filter(|(id, a)| !a.is_here && !self.done.contains(id.as_str()))
            .filter(|(id, a)| self.is_seen_from_here(id, a))
            .map(|(id, a)| (*id, a.clone()))
            .collect();
        for (id, a) in before {
            let ip = a.subject.ip();
            if self.is_gone_from_memory(&a) || !self.run.coverage.in_scope(ip) {
                self.next.allowed.remove(&id);
                continue;
            }
            // A ban is over by the next run, or it is none.
            if self.refused_hosts.contains(&ip)
                && let Some(entry) = self.next.allowed.get_mut(&id)
            {
                entry.missed = true;
            }
            let found = self.match_subject(&a.subject, a.check());
            if let RuleMatch::Allowed(head) = found {
                let rule = self.rule(&head.id);
                if let Some(entry) = self.next.allowed.get_mut(&id) {
                    entry.rule = rule;
                    entry.is_here = true;
                }
                continue;
            }
            // Reported as one, with its host.
            if self.suspect_hosts.contains(&ip) && matches!(a.subject, Subject::Port(_)) {
                self.next.allowed.remove(&id);
                continue;
            }
            self.reopen_unseen(&a, found);
        }
    }

    /// No live rule allows it any more, and this run did not see it.
    fn reopen_unseen(&mut self, a: &AllowedPort, found: RuleMatch<'_>) {
        let what = match &a.subject {
            Subject::Server(cell, _) => format!("{cell} spoke legacy TLS alone when last seen"),
            Subject::Content(place) => format!(
                "{} of {} was readable when last seen",
                place.path,
                place.host.clone().unwrap_or_else(|| place.cell.ip.to_string())
            ),
            Subject::Port(cell) => {
                format!("{}/{} on {} was open when last seen", cell.proto, cell.port, cell.ip)
            }
            Subject::Host(ip) => format!("{ip} answered on everything when last seen"),
            // What is required is never remembered as allowed.
            Subject::Pool(_) => format!("{} was open when last seen", a.subject),
        };
        let severity = a.severity().or_else(|| a.subject.port().map(classify_port_severity));
        let severity = severity.unwrap_or(super::host::SEVERITY);
        let mut reason = self.reason(&a.subject, &what, severity, found);
        reason.why.push_str("; this run did not cover it");
        let sighting = Sighting::Remembered(a.last_seen);
        let id = self.seen(&a.subject, a.subject.kind(), reason, sighting);
        if let (Some(t), Subject::Content(_)) = (self.next.findings.get_mut(&id), &a.subject) {
            t.finding.check = a.check().map(str::to_owned);
        }
    }

    /// Whether this run shows that an allowed thing is not there any more.
    fn is_gone_from_memory(&self, a: &AllowedPort) -> bool {
        let ip = a.subject.ip();
        if self.suspect_hosts.contains(&ip) || self.seen_since(a.last_seen) {
            return false;
        }
        let Some(cell) = a.subject.cell() else {
            // A whole host: its end is looked at only where it answered on everything before.
            return !self.suspect() && self.is_plain_host(ip);
        };
        let known_missing = self.gone_alone && self.missed_again.contains(&cell);
        if self.suspect() && !known_missing {
            return false;
        }
        if self.refused_hosts.contains(&ip) && (self.again || !a.missed) {
            return false;
        }
        let state = self.answer(cell.ip, cell.port);
        match (&a.subject, state) {
            (Subject::Server(..), CellState::Open) => self.is_current_tls(cell),
            (Subject::Content(place), CellState::Open) => self
                .http
                .get(&(cell, place.host.as_deref(), place.path.as_str()))
                .filter(|h| is_relevant_to_check(h, a.check()))
                .is_some_and(|h| {
                    matches!(h.outcome, ContentOutcome::Absent | ContentOutcome::Protected)
                        || is_inventory(h)
                }),
            (Subject::Content(_), s) => s == CellState::Closed,
            (_, s) => s.is_covered() && s != CellState::Open,
        }
    }
}
