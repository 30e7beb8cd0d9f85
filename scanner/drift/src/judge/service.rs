//! Ports that another service answers at than before.

use mimawari_probes::observation::TcpObservation;
use mimawari_targets::Cell;

use super::RunJudge;
use crate::baseline::RuleMatch;
use crate::id::FindingId;
use crate::state::ServiceName;
use crate::verdict::ServiceChange;

/// Changes that are listed.
const MAX_LISTED: usize = 1_000;

impl RunJudge<'_> {
    /// Compares the service at an open port with the one that answered before.
    pub(super) fn note_service(
        &mut self,
        cell: Cell,
        plain_id: FindingId,
        o: &TcpObservation,
        found: RuleMatch<'_>,
    ) {
        let Some(seen) = o.service.as_ref().map(|s| ServiceName::new(&s.name)) else { return };
        if seen.is_unknown() || self.service_changes.len() >= MAX_LISTED {
            return;
        }
        let Some((was, since)) = self.service_before(cell, plain_id) else { return };
        if is_another(was.as_str(), seen.as_str()) && since < o.at {
            let allowed_by = match found {
                RuleMatch::Allowed(head) => Some(head.id.clone()),
                _ => None,
            };
            self.service_changes.push(ServiceChange {
                ip: cell.ip,
                proto: cell.proto,
                port: cell.port,
                was: was.as_str().to_owned(),
                now: seen.as_str().to_owned(),
                since,
                at: o.at,
                allowed_by,
            });
        }
    }

    fn service_before(
        &self,
        cell: Cell,
        plain_id: FindingId,
    ) -> Option<(ServiceName, jiff::Timestamp)> {
        if let Some(a) = self.next.allowed.get(&plain_id) {
            return (!a.service.is_unknown()).then_some((a.service, a.last_seen));
        }
        if !self.with_findings.contains(&cell) {
            return None;
        }
        let forbidden = self.forbidden_id(&crate::subject::Subject::Port(cell));
        let known = [plain_id, forbidden];
        let findings = known.iter().filter_map(|id| self.next.findings.get(id.as_str()));
        let f = findings.map(|t| &t.finding).max_by_key(|f| f.last_seen)?;
        // As it is written for people: the name, then what it says of itself.
        let name = f.service.as_deref()?.split(':').next()?;
        let name = ServiceName::new(name);
        (!name.is_unknown()).then_some((name, f.last_seen))
    }
}

/// Whether two names are two services. Less may be learnt of the same one in some runs: TLS without
/// what is inside it.
fn is_another(was: &str, now: &str) -> bool {
    let bare = |name: &str| name == "tls";
    was != now && !bare(was) && !bare(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knowing_less_is_no_change() {
        for (was, now, another) in [
            ("http", "ssh", true),
            ("http", "https", true),
            ("https", "https", false),
            ("https", "tls", false),
            ("tls", "smtps", false),
        ] {
            assert_eq!(is_another(was, now), another, "{was} {now}");
        }
    }
}
