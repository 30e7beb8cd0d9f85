//! Published files.

use mimawari_probes::observation::{HttpObservation, Outcome};

use super::{Identity, Judge};
use crate::baseline::Match;
use crate::verdict::FindingKind;

impl Judge<'_> {
    pub(super) fn contents(&mut self) {
        let exposed: Vec<&HttpObservation> =
            self.http.values().copied().filter(|h| h.outcome == Outcome::Exposed).collect();
        for h in exposed {
            if !self.run.coverage.in_scope(h.ip) {
                continue;
            }
            let identity = Identity {
                kind: FindingKind::ExposedContent,
                vantage: self.run.vantage,
                ip: h.ip,
                port: Some(h.port),
                host: h.host.as_deref(),
                path: Some(&h.path),
            };
            let id = identity.id();
            let found = self.baseline.content(h.ip, &h.check, &h.path, self.now);
            if let Match::Allowed(head) = found {
                self.allowed_count += 1;
                self.allow(&id, head, h.ip, h.port, Some(h), h.at);
                if self.next.findings.get(&id).is_some_and(|t| t.finding.state.is_drift()) {
                    self.now_allowed(&id, head);
                }
                continue;
            }
            let host = h.host.clone().unwrap_or_else(|| h.ip.to_string());
            let what = format!(
                "{}://{host}{}{} is readable by everyone ({})",
                h.scheme.as_str(),
                if h.port.get() == h.scheme.default_port() {
                    String::new()
                } else {
                    format!(":{}", h.port)
                },
                h.path,
                h.check
            );
            let (cause, why) = self.unmatched(&id, &what, h.ip, found);
            self.seen(&identity, cause, h.severity, h.at, why, None);
            if let Some(t) = self.next.findings.get_mut(&id) {
                t.finding.check = Some(h.check.clone());
                t.finding.evidence.clone_from(&h.evidence);
            }
        }
    }
}
