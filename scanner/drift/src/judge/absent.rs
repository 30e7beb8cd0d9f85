//! What this run did not see: gone, silent, or not looked at.

use std::net::SocketAddr;

use mimawari_probes::observation::{CellState, Outcome, Severity};

use super::content::{is_inventory, speaks_of};
use super::port::port_severity;
use super::{Evidence, Identity, Judge, RUNS_TO_SETTLE, legacy};
use crate::baseline::Match;
use crate::explain::subject_of;
use crate::id::FindingId;
use crate::state::{Allowed, AllowedWhat};
use crate::verdict::{Cause, Finding, FindingKind, FindingState};

impl Judge<'_> {
    /// What was allowed before and was not seen in this run: if its rule is gone, that is not
    /// forgotten only because nobody looked.
    pub(super) fn allowed_before(&mut self) {
        let before: Vec<(FindingId, Allowed)> = self
            .next
            .allowed
            .iter()
            .filter(|(id, a)| !a.seen && !self.done.contains(id.as_str()))
            .filter(|(id, a)| self.is_seen_from_here(id, a))
            .map(|(id, a)| (*id, a.clone()))
            .collect();
        self.next.allowed.values_mut().for_each(|a| a.seen = false);
        for (id, a) in before {
            let state = self.cell(a.ip, a.port);
            let gone = match (a.path(), state) {
                _ if self.suspect() || self.suspect_hosts.contains(&a.ip) => false,
                _ if self.seen_since(a.last_seen) => false,
                (None, CellState::Open) if a.kind() == FindingKind::LegacyTls => {
                    self.is_current_tls(a.ip, a.port)
                }
                (None, s) => s.is_covered() && s != CellState::Open,
                (Some(path), CellState::Open) => self
                    .http
                    .get(&(a.ip, a.port, a.host(), path))
                    .filter(|h| speaks_of(h, a.check()))
                    .is_some_and(|h| {
                        matches!(h.outcome, Outcome::Absent | Outcome::Protected) || is_inventory(h)
                    }),
                (Some(_), s) => s == CellState::Closed,
            };
            if gone || !self.run.coverage.in_scope(a.ip) {
                self.next.allowed.remove(&id);
                continue;
            }
            let found = self.match_subject(&subject_of(&a), a.check());
            if let Match::Allowed(head) = found {
                let rule = self.rule(&head.id);
                if let Some(entry) = self.next.allowed.get_mut(&id) {
                    entry.rule = rule;
                }
                continue;
            }
            // Told as one, with its host.
            if self.suspect_hosts.contains(&a.ip) && a.kind() == FindingKind::UnexpectedOpen {
                self.next.allowed.remove(&id);
                continue;
            }
            let identity = self.identity_of(&a);
            let what = match (a.kind(), a.path()) {
                (FindingKind::LegacyTls, _) => {
                    format!(
                        "{} spoke legacy TLS alone when last seen",
                        SocketAddr::new(a.ip, a.port.get())
                    )
                }
                (_, Some(path)) => format!(
                    "{path} of {} was readable when last seen",
                    a.host().map_or_else(|| a.ip.to_string(), str::to_owned)
                ),
                (_, None) => format!("tcp/{} on {} was open when last seen", a.port, a.ip),
            };
            let (cause, severity, why) = match found {
                Match::Forbidden(head) => (
                    Cause::Forbidden,
                    Severity::High,
                    format!("{what}, and the rule `{}` at {} forbids it", head.id, head.place),
                ),
                _ => {
                    let (cause, why) = self.unmatched(id, &what, a.ip, found);
                    (cause, a.severity().unwrap_or_else(|| port_severity(a.port)), why)
                }
            };
            self.seen(&identity, cause, severity, a.last_seen, why, None);
            if let Some(t) = self.next.findings.get_mut(id.as_str()) {
                // Nobody looked: it is drift, and not seen with own eyes.
                if !self.again {
                    t.covered_runs = t.covered_runs.saturating_sub(1);
                }
                t.finding.state = FindingState::Unverified;
                if a.path().is_some() {
                    t.finding.check = a.check().map(str::to_owned);
                }
                t.finding.why.push_str("; this run did not cover it");
            }
        }
    }

    /// Every finding that nothing above has dealt with. What another vantage found stays as it is:
    /// from here it may be closed at all times.
    pub(super) fn the_rest(&mut self) {
        let mut ids = Vec::new();
        for (id, t) in &mut self.next.findings {
            if t.finding.vantage != self.run.vantage {
                t.finding.new = false;
            } else if !self.done.contains(id) {
                ids.push(id.clone());
            }
        }
        for id in ids {
            let Some(f) = self.next.findings.get(&id).map(|t| t.finding.clone()) else { continue };
            match f.state {
                FindingState::Resolved => self.still_resolved(&id, &f),
                FindingState::Allowed => self.was_allowed(&id, &f),
                // Not that an open port is: to be closed is no end of it.
                _ if f.kind == FindingKind::MissingRequired => {
                    self.no_longer_required(&id, &f);
                }
                _ if !self.run.coverage.in_scope(f.ip) => {
                    let fresh = f.state != FindingState::OutOfScope;
                    self.left_the_scope(&id, "its address left the scope; nobody looks at it any more, and it was not seen to be closed");
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
        let found = self.match_subject(&f.subject(), f.check.as_deref());
        if let Match::Allowed(head) = found {
            let head = head.clone();
            self.now_allowed(id, &head);
            let rule = self.rule(&head.id);
            // What a `never` rule forbade is remembered as the plain port that it is.
            let (ip, port, vantage) = (f.ip, f.port, self.run.vantage);
            let kind = FindingKind::UnexpectedOpen;
            let plain = Identity { kind, vantage, ip, port, host: None, path: None };
            let remembered = match f.kind {
                FindingKind::ForbiddenOpen => Ok(plain.id()),
                _ => id.parse::<FindingId>(),
            };
            if let (Some(port), Ok(id)) = (f.port, remembered) {
                let legacy = f.kind == FindingKind::LegacyTls;
                let what = AllowedWhat {
                    host: f.host.clone(),
                    path: f.path.clone(),
                    check: if legacy { Some(legacy::CHECK.to_owned()) } else { f.check.clone() },
                    severity: Some(f.severity),
                };
                let what = (legacy || f.path.is_some()).then(|| Box::new(what));
                let (first_seen, last_seen) = (f.first_seen, f.last_seen);
                let cell = Allowed::cell(f.ip, port, last_seen);
                self.next.allowed.insert(id, Allowed { what, rule, first_seen, ..cell });
            }
            return;
        }
        let is_port = f.path.is_none() && f.kind != FindingKind::LegacyTls;
        let evidence = if self.seen_since(f.last_seen) {
            Evidence::Elsewhere
        } else if self.suspect_hosts.contains(&f.ip) && is_port {
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
            return self.no_longer_suspect(f);
        };
        let cell = self.cell(f.ip, port);
        if f.kind == FindingKind::LegacyTls {
            if self.is_current_tls(f.ip, port) {
                return Evidence::Gone("it accepts current TLS");
            }
            if cell == CellState::Open {
                return Evidence::Unknown(
                    "this run did not learn for all its names what it accepts",
                );
            }
        }
        if let Some(path) = &f.path {
            let seen = self.http.get(&(f.ip, port, f.host.as_deref(), path.as_str()));
            if seen.is_some_and(|h| !speaks_of(h, f.check.as_deref())) {
                return Evidence::Unknown("this run looked at the path without its manifest");
            }
            if seen.is_some_and(|h| is_inventory(h)) {
                return Evidence::Gone("the path is there, and shows nothing that it should not");
            }
            match seen.map(|h| h.outcome) {
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

    /// Covered, and no answer. A run that is judged again is no second witness.
    pub(super) fn silent(&mut self, id: &str) {
        let again = self.again;
        let Some(t) = self.next.findings.get_mut(id) else { return };
        if !again {
            t.silent_runs += 1;
        }
        let n = t.silent_runs.max(1);
        let host = t.finding.port.is_none();
        let what = if host { "most of its ports were" } else { "the port was" };
        if n >= RUNS_TO_SETTLE {
            self.resolve(id, &format!("{what} silent in two covered runs"));
            if let Some(t) = self.next.findings.get_mut(id) {
                t.by_silence = true;
            }
        } else {
            self.is_gone(id);
            self.set(
                id,
                FindingState::Resolving,
                format!("{what} silent in this run; one more covered run decides"),
            );
        }
    }

    pub(super) fn resolve(&mut self, id: &str, why: &str) {
        self.is_gone(id);
        let began = self.run.facts.started_at;
        if let Some(t) = self.next.findings.get_mut(id) {
            t.silent_runs = 0;
            t.missed = false;
            t.by_silence = false;
            t.resolved_by = began;
        }
        self.set(id, FindingState::Resolved, why.to_owned());
        self.settled.insert(id.to_owned());
    }

    /// Counts a covered run that did not find it.
    fn is_gone(&mut self, id: &str) {
        let again = self.again;
        if let Some(t) = self.next.findings.get_mut(id) {
            if !again {
                t.covered_runs += 1;
            }
            if !std::mem::replace(&mut t.gone, true) && !again {
                t.changes.push(t.covered_runs);
            }
        }
    }

    /// A run that covers it and still does not find it lets it come to rest. So does whatever ends the
    /// looking, or whoever was told of it would never hear the end.
    fn still_resolved(&mut self, id: &str, f: &Finding) {
        let restless = self.is_restless(id);
        if restless && self.is_told_as_another(f) {
            if let Some(t) = self.next.findings.get_mut(id) {
                t.comes_to_rest();
                t.by_silence = false;
            }
            return;
        }
        if restless && !self.run.coverage.in_scope(f.ip) {
            self.left_the_scope(id, "its address left the scope before its end was sure");
            self.settled.insert(id.to_owned());
            return;
        }
        if f.kind == FindingKind::MissingRequired {
            if restless {
                self.no_longer_required(id, f);
            }
            return;
        }
        // A whole host is dear to look at.
        let worth_it = restless || f.port.is_some();
        if self.again || self.suspect() || !worth_it {
            return;
        }
        let gone = matches!(self.what_is_known(f), Evidence::Gone(_) | Evidence::Silent);
        if gone {
            let began = self.run.facts.started_at;
            if let Some(t) = self.next.findings.get_mut(id) {
                t.resolved_by = t.resolved_by.max(began);
            }
        }
        if restless && gone {
            self.is_gone(id);
        }
    }

    /// Whether a port is told as the other of its two kinds, which a `never` rule makes of it.
    fn is_told_as_another(&self, f: &Finding) -> bool {
        let kind = match f.kind {
            FindingKind::UnexpectedOpen => FindingKind::ForbiddenOpen,
            FindingKind::ForbiddenOpen => FindingKind::UnexpectedOpen,
            _ => return false,
        };
        let vantage = self.run.vantage;
        let (ip, port) = (f.ip, f.port);
        let id = Identity { kind, vantage, ip, port, host: None, path: None }.id();
        self.is_active(&id)
    }
}
