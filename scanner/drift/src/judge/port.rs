//! Open ports.

use std::net::IpAddr;

use mimawari_probes::observation::{Severity, TcpObservation};
use mimawari_targets::{Port, Protocol};

use super::{Identity, Judge};
use crate::baseline::Match;
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
        self.port_rules_seen(ip, port, o.at);
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
        // An older run that is judged late brings nothing back that a newer one saw closed.
        let closed_since = |id: &str| {
            self.next.findings.get(id).is_some_and(|t| {
                let later = t.resolved_by.is_some_and(|r| r > o.at && r <= self.now);
                t.finding.state == FindingState::Resolved && later
            })
        };
        if closed_since(&id) || closed_since(&forbidden_id) {
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
    const HIGH: &[u16] = &[
        22, 23, 111, 135, 139, 389, 445, 512, 513, 514, 623, 873, 1433, 1521, 2049, 2375, 2376,
        2379, 2380, 3306, 3389, 5432, 5601, 5672, 5900, 5984, 5985, 5986, 6379, 6443, 8006, 8086,
        9042, 9092, 9200, 9300, 10000, 10250, 11211, 15672, 27017, 50000,
    ];
    if HIGH.contains(&port.get()) { Severity::High } else { Severity::Medium }
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
