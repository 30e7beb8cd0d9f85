//! Open ports.

use mimawari_probes::observation::{SecondLook, Severity, TcpObservation};
use mimawari_targets::{Cell, Port};

use super::{LifeDecision, RunJudge, Sighting};
use crate::baseline::RuleMatch;
use crate::id::FindingId;
use crate::ports::is_sensitive;
use crate::state::{AllowedPort, ServiceName, TrackedFinding};
use crate::subject::Subject;
use crate::verdict::{FindingCause, FindingKind};

impl RunJudge<'_> {
    pub(super) fn open_cells(&mut self) {
        let id = |o: &TcpObservation| Subject::tcp(o.ip, o.port).id(self.run.vantage);
        let mut order: Vec<(FindingId, u32)> = self.open.iter().map(|o| id(o)).zip(0..).collect();
        // What is known is held in the order of the ids: a million look-ups in another order take longer
        // than everything else.
        order.sort_unstable();
        for (id, i) in order {
            let (o, found) = (self.open[i as usize], self.found[i as usize]);
            let ip = o.ip;
            if !self.run.coverage.in_scope(ip) {
                continue;
            }
            // Of a host that answers on everything only what is allowed is reported one by one.
            if self.suspect_hosts.contains(&ip) && !matches!(found, RuleMatch::Allowed(_)) {
                continue;
            }
            self.open_cell(id, o, found);
        }
    }

    pub(super) fn is_active(&self, id: &str) -> bool {
        self.next.findings.get(id).is_some_and(TrackedFinding::is_active)
    }

    fn open_cell(&mut self, plain_id: FindingId, o: &TcpObservation, verdict: RuleMatch<'_>) {
        let cell = Cell::tcp(o.ip, o.port);
        let subject = Subject::Port(cell);
        let known_place = self.with_findings.contains(&cell);
        self.note_service(cell, plain_id, o, verdict);
        if let RuleMatch::Allowed(head) = verdict {
            self.allowed_count += 1;
            let mut thing = AllowedPort::new(subject.clone(), self.rule(&head.id), o.at);
            thing.service =
                o.service.as_ref().map(|s| ServiceName::new(&s.name)).unwrap_or_default();
            self.allow(plain_id, thing);
            // Nearly all cells never were a finding.
            if known_place {
                for id in [plain_id, self.forbidden_id(&subject)] {
                    self.apply(&id, Sighting::Elsewhere, &LifeDecision::Allowed(head));
                }
            }
            return;
        }
        let forbidden_id = self.forbidden_id(&subject);
        if self.gone_since(&plain_id, o.at) || self.gone_since(&forbidden_id, o.at) {
            return;
        }
        // An open finding keeps its identity when a `never` rule comes or goes: one alarm, not two.
        let known = self.is_active(&plain_id) || self.is_active(&forbidden_id);
        let end = o.second_look();
        if end == SecondLook::Refused && !known && !self.next.allowed.contains_key(&plain_id) {
            self.unconfirmed += 1;
            return;
        }
        let what = format!("{}/{} on {} is open", cell.proto, cell.port, cell.ip);
        let mut reason = self.reason(&subject, &what, classify_port_severity(cell.port), verdict);
        if end.is_unconfirmed() && !known {
            reason.why.push_str(&format!("; it is not confirmed: {}", end.words()));
        }
        let forbidden = reason.cause == FindingCause::Forbidden;
        let plain = self.is_active(&plain_id) || (!forbidden && !self.is_active(&forbidden_id));
        let kind = if plain { FindingKind::UnexpectedOpen } else { FindingKind::ForbiddenOpen };
        let confirmed = end == SecondLook::Confirmed;
        // A look that learnt nothing does not take back what an earlier one learnt.
        let learnt = o.service.as_ref().is_some_and(|s| s.name != "unknown");
        let service = if known && !learnt { None } else { describe_service(o) };
        let sighting = Sighting::There { at: o.at, confirmed, service };
        self.seen(&subject, kind, reason, sighting);
    }

    /// The id that a port has while a `never` rule forbids it.
    pub(super) fn forbidden_id(&self, port: &Subject) -> FindingId {
        port.id_as(FindingKind::ForbiddenOpen, self.run.vantage)
    }
}

/// How bad an unexpected open port is: data and administration ports first.
pub(super) fn classify_port_severity(port: Port) -> Severity {
    if is_sensitive(port) { Severity::High } else { Severity::Medium }
}

fn describe_service(o: &TcpObservation) -> Option<String> {
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
