//! What this run did not see: gone, silent, or not looked at.

use jiff::SignedDuration;
use mimawari_probes::observation::{CellState, ContentOutcome};

use super::content::{is_inventory, is_relevant_to_check};
use super::{LifeDecision, RunJudge, Sighting};
use crate::baseline::RuleMatch;
use crate::subject::Subject;
use crate::verdict::{Finding, FindingState};

/// A vantage from which nothing was seen for so long is not looked from any more: the scope of the
/// others speaks for its findings as well.
const VANTAGE_ENDS_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

impl RunJudge<'_> {
    /// Every finding that nothing above has dealt with. What another vantage found stays as it is,
    /// since from here it may be closed at all times; a merged rule and the end of the scope are no
    /// observations, and settle it too.
    pub(super) fn the_rest(&mut self) {
        let mut ids = Vec::new();
        for (id, t) in &mut self.next.findings {
            if t.finding.vantage != self.run.vantage {
                t.finding.new = false;
            }
            if !self.done.contains(id) {
                ids.push(id.clone());
            }
        }
        for id in ids {
            let Some(f) = self.next.findings.get(&id).map(|t| t.finding.clone()) else { continue };
            if f.vantage != self.run.vantage {
                self.seen_from_elsewhere(&id, &f);
                continue;
            }
            match f.state {
                FindingState::Resolved => self.still_resolved(&id, &f),
                FindingState::Allowed | FindingState::NotRequired => {
                    self.apply(&id, Sighting::Elsewhere, &LifeDecision::None);
                }
                // Not that an open port is: to be closed is no end of it.
                _ if f.kind.is_requirement() => self.no_longer_required(&id, &f),
                _ if !self.is_in_scope(&f) => {
                    let why = "its address left the scope; nobody looks at it any more, and it was \
                               not seen to be closed";
                    self.apply(&id, Sighting::OutOfScope(why), &LifeDecision::None);
                }
                _ => self.not_seen(&id, &f),
            }
        }
    }

    /// A finding of another vantage. Only what needs no look settles it.
    fn seen_from_elsewhere(&mut self, id: &str, f: &Finding) {
        let drift = f.state.is_drift() || f.state == FindingState::MissingPending;
        if !drift && f.state != FindingState::OutOfScope {
            return;
        }
        if f.kind.is_requirement() {
            if !self.is_required(&f.subject(), &f.vantage) {
                self.no_longer_required(id, f);
            }
        } else if let RuleMatch::Allowed(head) = self.match_finding(f) {
            return self.allow_unseen(id, f, head);
        }
        let last = self.next.vantages.get(&f.vantage).map_or(f.last_seen, |v| v.last_run);
        let ended = self.now.duration_since(last) > VANTAGE_ENDS_AFTER;
        if drift && ended && !self.is_in_scope(f) {
            let why = "its address left the scope, and no run looks from its vantage any more";
            self.apply(id, Sighting::OutOfScope(why), &LifeDecision::None);
        }
    }

    /// An open finding that was not seen in this run.
    fn not_seen(&mut self, id: &str, f: &Finding) {
        let subject = f.subject();
        // A rule that was merged settles it, looked at or not.
        if let RuleMatch::Allowed(head) = self.match_finding(f) {
            return self.allow_unseen(id, f, head);
        }
        let host = self.suspect_hosts.contains(&f.ip) && matches!(subject, Subject::Port(_));
        let sighting = if self.seen_since(f.last_seen) {
            Sighting::Elsewhere
        } else if host {
            Sighting::Unknown("its host answers on everything, so that nothing is known of it")
        } else {
            self.what_is_known(f, &subject)
        };
        self.apply(id, sighting, &LifeDecision::None);
    }

    /// What this run knows of something that it did not see.
    fn what_is_known(&self, f: &Finding, subject: &Subject) -> Sighting {
        let Some(at) = subject.cell() else {
            return self.no_longer_suspect(f.ip, self.looks_where_it_answered(f));
        };
        let state = self.cell(at.ip, at.port);
        if matches!(subject, Subject::Server(..)) {
            if self.is_current_tls(at) {
                return Sighting::Gone("it accepts current TLS");
            }
            if state == CellState::Open {
                return Sighting::Unknown(
                    "this run did not learn for all its names what it accepts",
                );
            }
        }
        if let Subject::Content(place) = subject {
            let seen = self.http.get(&(at, place.host.as_deref(), place.path.as_str()));
            if seen.is_some_and(|h| !is_relevant_to_check(h, f.check.as_deref())) {
                return Sighting::Unknown("this run looked at the path without its manifest");
            }
            if seen.is_some_and(|h| is_inventory(h)) {
                return Sighting::Gone("the path is there, and shows nothing that it should not");
            }
            match seen.map(|h| h.outcome) {
                Some(ContentOutcome::Absent) => {
                    return Sighting::Gone("the path no longer shows it");
                }
                Some(ContentOutcome::Protected) => {
                    return Sighting::Gone("the path is protected now");
                }
                // The site says the same to everything: the file may be behind that, or not.
                Some(ContentOutcome::CatchAll) => {
                    return Sighting::Unknown("the site now answers everything alike");
                }
                Some(_) => return Sighting::Unknown("the check got no usable answer"),
                None => {}
            }
            if state == CellState::Open {
                return Sighting::Unknown("this run did not look at the path");
            }
        }
        match state {
            CellState::Closed => Sighting::Gone("the port was seen closed"),
            CellState::Silent | CellState::Prohibited if self.refused_hosts.contains(&f.ip) => {
                Sighting::Silent(
                    "all open ports of the host refused at once, which a ban does, too,",
                )
            }
            CellState::Silent | CellState::Prohibited => Sighting::Silent("the port was silent"),
            CellState::Open => Sighting::Unknown("the port was open, and not confirmed"),
            CellState::NotProbed if self.fresh_elsewhere(at.ip, at.port, f.last_seen) => {
                Sighting::Elsewhere
            }
            CellState::NotProbed => Sighting::Unknown("this run did not cover it"),
        }
    }

    /// A run that covers it and still does not find it lets it come to rest. So does whatever ends the
    /// looking, or whoever was notified of it would never hear the end.
    fn still_resolved(&mut self, id: &str, f: &Finding) {
        let restless = self.next.findings.get(id).is_some_and(|t| t.is_restless());
        let subject = f.subject();
        if restless && self.is_reported_as_another(f, &subject) {
            return self.apply(id, Sighting::Replaced, &LifeDecision::None);
        }
        if restless && !self.is_in_scope(f) {
            let why = "its address left the scope before its end was sure";
            return self.apply(id, Sighting::OutOfScope(why), &LifeDecision::None);
        }
        if f.kind.is_requirement() {
            return self.apply(id, Sighting::Elsewhere, &LifeDecision::NotRequired);
        }
        // A whole host is dear to look at.
        if restless || f.port.is_some() {
            let sighting = self.what_is_known(f, &subject);
            self.apply(id, sighting, &LifeDecision::None);
        }
    }

    /// Whether a port is reported as the other of its two kinds, which a `never` rule makes of it.
    fn is_reported_as_another(&self, f: &Finding, subject: &Subject) -> bool {
        let other = f.kind.counterpart();
        other.is_some_and(|kind| self.is_active(&subject.id_as(kind, self.run.vantage)))
    }
}
