//! What this run did not see: gone, silent, or not looked at.

use mimawari_probes::observation::{CellState, Outcome, Severity};
use mimawari_targets::Protocol;

use super::port::port_severity;
use super::{Evidence, Identity, Judge, RUNS_TO_SETTLE};
use crate::baseline::Match;
use crate::state::Allowed;
use crate::verdict::{Cause, Finding, FindingKind, FindingState};

impl Judge<'_> {
    /// What was allowed before and was not seen in this run: if its rule is gone, that is not
    /// forgotten only because nobody looked.
    pub(super) fn allowed_before(&mut self) {
        let before: Vec<(String, Allowed)> = self
            .previous
            .allowed
            .iter()
            .filter(|(id, _)| !self.allowed_seen.contains(*id) && !self.done.contains(*id))
            .map(|(id, a)| (id.clone(), a.clone()))
            .collect();
        for (id, a) in before {
            let state = self.cell(a.ip, a.port);
            let gone = match (&a.path, state) {
                _ if self.suspect() || self.suspect_hosts.contains(&a.ip) => false,
                (None, s) => s.is_covered() && s != CellState::Open,
                (Some(path), CellState::Open) => self
                    .http
                    .get(&(a.ip, a.port, a.host.as_deref(), path.as_str()))
                    .is_some_and(|h| matches!(h.outcome, Outcome::Absent | Outcome::Protected)),
                (Some(_), s) => s == CellState::Closed,
            };
            if gone || !self.run.coverage.in_scope(a.ip) {
                self.next.allowed.remove(&id);
                continue;
            }
            let found = match &a.path {
                None => self.baseline.port(a.ip, Protocol::Tcp, a.port, self.now),
                Some(path) => self.baseline.content(
                    a.ip,
                    a.check.as_deref().unwrap_or_default(),
                    path,
                    self.now,
                ),
            };
            if let Match::Allowed(head) = found {
                if let Some(entry) = self.next.allowed.get_mut(&id) {
                    entry.rule.clone_from(&head.id);
                }
                continue;
            }
            let identity = Identity {
                kind: if a.path.is_some() {
                    FindingKind::ExposedContent
                } else {
                    FindingKind::UnexpectedOpen
                },
                vantage: self.run.vantage,
                ip: a.ip,
                port: Some(a.port),
                host: a.host.as_deref(),
                path: a.path.as_deref(),
            };
            let what = format!("tcp/{} on {} was open when last seen", a.port, a.ip);
            let (cause, severity, why) = match found {
                Match::Forbidden(head) => (
                    Cause::Forbidden,
                    Severity::High,
                    format!("{what}, and the rule `{}` at {} forbids it", head.id, head.place),
                ),
                _ => {
                    let (cause, why) = self.unmatched(&id, &what, a.ip, found);
                    (cause, a.severity.unwrap_or_else(|| port_severity(a.port)), why)
                }
            };
            self.seen(&identity, cause, severity, a.last_seen, why, None);
            if let Some(t) = self.next.findings.get_mut(&id) {
                // Nobody looked: it is drift, and not seen with own eyes.
                t.covered_runs = t.covered_runs.saturating_sub(1);
                t.finding.state = FindingState::Unverified;
                t.finding.check = a.check;
                t.finding.why.push_str("; this run did not cover it");
            }
        }
    }

    /// Every finding that nothing above has dealt with.
    pub(super) fn the_rest(&mut self) {
        let ids: Vec<String> =
            self.next.findings.keys().filter(|id| !self.done.contains(*id)).cloned().collect();
        for id in ids {
            let Some(f) = self.next.findings.get(&id).map(|t| t.finding.clone()) else { continue };
            match f.state {
                FindingState::Resolved => {}
                FindingState::Allowed => self.was_allowed(&id, &f),
                FindingState::MissingPending
                | FindingState::Missing
                | FindingState::MissingUnverified => {
                    self.no_longer_required(&id, &f);
                }
                _ if !self.run.coverage.in_scope(f.ip) => {
                    let fresh = f.state != FindingState::OutOfScope;
                    self.set(&id, FindingState::OutOfScope, "its address left the scope; nobody looks at it any more, and it was not seen to be closed".to_owned());
                    if fresh {
                        self.settled.insert(id.clone());
                    }
                }
                _ => self.not_seen(&id, &f),
            }
        }
    }

    /// An allowed finding is settled; what it was found for is in the memory of allowed things.
    pub(super) fn was_allowed(&mut self, id: &str, _f: &Finding) {
        if let Some(t) = self.next.findings.get_mut(id) {
            t.finding.new = false;
        }
    }

    /// An open finding that was not seen in this run.
    pub(super) fn not_seen(&mut self, id: &str, f: &Finding) {
        // A rule that was merged settles it, looked at or not.
        let found = match (f.kind, f.port, &f.path) {
            (FindingKind::ExposedContent, _, Some(path)) => {
                self.baseline.content(f.ip, f.check.as_deref().unwrap_or_default(), path, self.now)
            }
            (FindingKind::SuspectHost, ..) | (_, None, _) => Match::None,
            (_, Some(port), _) => self.baseline.port(f.ip, Protocol::Tcp, port, self.now),
        };
        if let Match::Allowed(head) = found {
            let head = head.clone();
            self.now_allowed(id, &head);
            if let Some(port) = f.port {
                self.next.allowed.insert(
                    id.to_owned(),
                    Allowed {
                        ip: f.ip,
                        port,
                        host: f.host.clone(),
                        path: f.path.clone(),
                        check: f.check.clone(),
                        severity: f.path.is_some().then_some(f.severity),
                        rule: head.id.clone(),
                        first_seen: f.first_seen,
                        last_seen: f.last_seen,
                    },
                );
            }
            return;
        }
        let evidence = if self.suspect_hosts.contains(&f.ip) && f.path.is_none() {
            Evidence::Unknown("its host answers on everything, so that nothing is known of it")
        } else {
            self.what_is_known(f)
        };
        let believed = !self.suspect() && !self.suspect_hosts.contains(&f.ip);
        match evidence {
            Evidence::Gone(why) if believed => self.resolve(id, why),
            Evidence::Silent if believed => self.silent(id),
            Evidence::Gone(_) | Evidence::Silent => {
                let why = if self.suspect() {
                    "it was not seen, and this run is not to be believed"
                } else {
                    "its host answers on everything, so that nothing is known of it"
                };
                self.set(id, FindingState::Unverified, why.to_owned());
            }
            Evidence::Unknown(why) => self.set(id, FindingState::Unverified, why.to_owned()),
            // As it stands: another run's part, covered lately enough.
            Evidence::Elsewhere => {
                if let Some(t) = self.next.findings.get_mut(id) {
                    t.finding.new = false;
                }
            }
        }
    }

    pub(super) fn what_is_known(&self, f: &Finding) -> Evidence {
        let Some(port) = f.port else {
            return self.no_longer_suspect(f.ip);
        };
        let cell = self.cell(f.ip, port);
        if let Some(path) = &f.path {
            let outcome =
                self.http.get(&(f.ip, port, f.host.as_deref(), path.as_str())).map(|h| h.outcome);
            match outcome {
                Some(Outcome::Absent) => return Evidence::Gone("the path no longer shows it"),
                Some(Outcome::Protected) => return Evidence::Gone("the path is protected now"),
                // The site says the same to everything: the file may be behind that, or not.
                Some(Outcome::CatchAll) => {
                    return Evidence::Unknown("the site now answers everything alike");
                }
                Some(_) => return Evidence::Unknown("the check got no usable answer"),
                None => {}
            }
            if cell == CellState::Open {
                return Evidence::Unknown("this run did not look at the path");
            }
        }
        match cell {
            CellState::Closed => Evidence::Gone("the port was seen closed"),
            CellState::Silent | CellState::Prohibited => Evidence::Silent,
            CellState::Open => Evidence::Unknown("the port was open, and not confirmed"),
            CellState::NotProbed if self.fresh_elsewhere(f.ip, port, f.last_seen) => {
                Evidence::Elsewhere
            }
            CellState::NotProbed => Evidence::Unknown("this run did not cover it"),
        }
    }

    pub(super) fn silent(&mut self, id: &str) {
        let Some(t) = self.next.findings.get_mut(id) else { return };
        t.silent_runs += 1;
        t.covered_runs += 1;
        let n = t.silent_runs;
        let host = t.finding.port.is_none();
        let what = if host { "most of its ports were" } else { "the port was" };
        if n >= RUNS_TO_SETTLE {
            t.covered_runs -= 1;
            self.resolve(id, &format!("{what} silent in two covered runs"));
        } else {
            self.set(
                id,
                FindingState::Resolving,
                format!("{what} silent in this run; one more covered run decides"),
            );
        }
    }

    pub(super) fn resolve(&mut self, id: &str, why: &str) {
        if let Some(t) = self.next.findings.get_mut(id) {
            t.covered_runs += 1;
            t.changes.push(t.covered_runs);
            t.silent_runs = 0;
        }
        self.set(id, FindingState::Resolved, why.to_owned());
        self.settled.insert(id.to_owned());
    }
}
