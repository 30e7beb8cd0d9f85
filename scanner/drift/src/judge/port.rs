//! Open ports.

use mimawari_probes::observation::{Severity, TcpObservation};
use mimawari_targets::Port;

use super::{Identity, Judge};
use crate::baseline::Match;
use crate::ports::is_sensitive;
use crate::state::Allowed;
use crate::verdict::{Cause, FindingKind, FindingState};

impl Judge<'_> {
    pub(super) fn open_cells(&mut self) {
        for i in 0..self.open.len() {
            let (o, found) = (self.open[i], self.found[i]);
            let ip = o.ip;
            if !self.run.coverage.in_scope(ip) {
                continue;
            }
            // Of a host that answers on everything only what is allowed is told one by one.
            if self.suspect_hosts.contains(&ip) && !matches!(found, Match::Allowed(_)) {
                continue;
            }
            self.open_cell(o, found);
        }
    }

    pub(super) fn is_active(&self, id: &str) -> bool {
        self.next.findings.get(id).is_some_and(|t| {
            matches!(
                t.finding.state,
                FindingState::Open
                    | FindingState::Unverified
                    | FindingState::Resolving
                    | FindingState::OutOfScope
            )
        })
    }

    fn open_cell(&mut self, o: &TcpObservation, verdict: Match<'_>) {
        let (ip, port) = (o.ip, o.port);
        let vantage = self.run.vantage;
        let identity =
            |kind| Identity { kind, vantage, ip, port: Some(port), host: None, path: None };
        let plain = identity(FindingKind::UnexpectedOpen);
        let plain_id = plain.id();
        let known_place = self.with_findings.contains(&(ip, port));
        if let Match::Allowed(head) = verdict {
            self.allowed_count += 1;
            self.allow(plain_id, head, Allowed::cell(ip, port, o.at));
            // Nearly all cells never were a finding.
            if known_place {
                for id in [plain_id, identity(FindingKind::ForbiddenOpen).id()] {
                    if self.is_active(&id) || self.is_restless(&id) {
                        self.now_allowed(&id, head);
                    }
                }
            }
            return;
        }
        let forbidden = identity(FindingKind::ForbiddenOpen);
        let (id, forbidden_id) = (plain_id.to_string(), forbidden.id().to_string());
        let active = |s: &Self, id: &str| s.is_active(id);
        if self.gone_since(&id, o.at) || self.gone_since(&forbidden_id, o.at) {
            return;
        }
        // An open finding keeps its identity when a `never` rule comes or goes: one alarm, not two.
        let known = active(self, &id) || active(self, &forbidden_id);
        if !o.confirmed && !known && !self.next.allowed.contains_key(&plain_id) {
            self.unconfirmed += 1;
            return;
        }
        let (cause, severity, why) = match verdict {
            Match::Forbidden(head) => (
                Cause::Forbidden,
                Severity::High,
                format!(
                    "tcp/{port} on {ip} is open, and the rule `{}` at {} forbids it",
                    head.id, head.place
                ),
            ),
            _ => {
                let (cause, why) =
                    self.unmatched(plain_id, &format!("tcp/{port} on {ip} is open"), ip, verdict);
                (cause, port_severity(port), why)
            }
        };
        let which =
            if active(self, &id) || (cause != Cause::Forbidden && !active(self, &forbidden_id)) {
                plain
            } else {
                forbidden
            };
        self.seen(&which, cause, severity, o.at, why, service_of(o));
    }
}

/// How bad an unexpected open port is: data and administration ports first.
pub(super) fn port_severity(port: Port) -> Severity {
    if is_sensitive(port) { Severity::High } else { Severity::Medium }
}

fn service_of(o: &TcpObservation) -> Option<String> {
    let s = o.service.as_ref()?;
    let more = s
        .banner
        .clone()
        .or_else(|| s.http.as_ref().and_then(|h| h.title.clone().or_else(|| h.server.clone())));
    Some(match more {
        Some(more) => format!("{}: {more}", s.name),
        None => s.name.clone(),
    })
}
