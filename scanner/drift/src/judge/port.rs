//! Open ports.

use std::net::IpAddr;

use mimawari_probes::observation::{Severity, TcpObservation};
use mimawari_targets::{Port, Protocol};

use super::{Identity, Judge};
use crate::baseline::Match;
use crate::ports::is_sensitive;
use crate::state::Allowed;
use crate::verdict::{Cause, FindingKind, FindingState};

impl Judge<'_> {
    pub(super) fn open_cells(&mut self) {
        let cells: Vec<_> = self.open.iter().map(|(k, o)| (*k, *o)).collect();
        for ((ip, port), o) in cells {
            if !self.run.coverage.in_scope(ip) {
                continue;
            }
            // Of a host that answers on everything only what is allowed is told one by one.
            let allowed = || self.baseline.port(ip, Protocol::Tcp, port, self.now);
            if self.suspect_hosts.contains(&ip) && !matches!(allowed(), Match::Allowed(_)) {
                continue;
            }
            self.open_cell(ip, port, o);
        }
    }

    pub(super) fn open_cell(&mut self, ip: IpAddr, port: Port, o: &TcpObservation) {
        let vantage = self.run.vantage;
        let identity =
            |kind| Identity { kind, vantage, ip, port: Some(port), host: None, path: None };
        let plain = identity(FindingKind::UnexpectedOpen);
        let id = plain.id();
        let forbidden = identity(FindingKind::ForbiddenOpen);
        let forbidden_id = forbidden.id();
        let active = |s: &Self, id: &str| {
            s.next.findings.get(id).is_some_and(|t| {
                matches!(
                    t.finding.state,
                    FindingState::Open
                        | FindingState::Unverified
                        | FindingState::Resolving
                        | FindingState::OutOfScope
                )
            })
        };
        let verdict = self.baseline.port(ip, Protocol::Tcp, port, self.now);
        if let Match::Allowed(head) = verdict {
            self.allowed_count += 1;
            self.allow(&id, head, Allowed::cell(ip, port, o.at));
            for id in [&id, &forbidden_id] {
                if active(self, id) {
                    self.now_allowed(id, head);
                }
            }
            return;
        }
        // An open finding keeps its identity when a `never` rule comes or goes: one alarm, not two.
        let known = active(self, &id) || active(self, &forbidden_id);
        if !o.confirmed && !known && !self.previous.allowed.contains_key(&id) {
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
                    self.unmatched(&id, &format!("tcp/{port} on {ip} is open"), ip, verdict);
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
