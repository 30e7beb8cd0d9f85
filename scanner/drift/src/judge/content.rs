//! Published files.

use mimawari_probes::observation::{ContentOutcome, HttpObservation, Severity};

use mimawari_targets::Cell;

use super::{LifeDecision, RunJudge, Sighting};
use crate::baseline::RuleMatch;
use crate::state::AllowedPort;
use crate::subject::Subject;

/// Whether a path exists and is no finding: inventory, such as a script that was executed.
pub(super) fn is_inventory(h: &HttpObservation) -> bool {
    h.outcome == ContentOutcome::Exposed && h.severity == Severity::Info
}

/// The id of what is known by the owner's own list of files, not by a signature.
const MANIFEST: &str = "manifest";

/// Whether an observation of a path says anything about what `check` found there. A check of the
/// catalogue that is not true of an answer says nothing about a file that has no signature; a file
/// of a manifest is held against the answer together with every check of its path.
pub(super) fn is_relevant_to_check(h: &HttpObservation, check: Option<&str>) -> bool {
    check != Some(MANIFEST) || h.check == MANIFEST
}

/// How bad the news is that an observation brings: readable, not known, not readable.
pub(super) fn rank_observation(h: &HttpObservation) -> u8 {
    match h.outcome {
        ContentOutcome::Exposed if !is_inventory(h) => 3,
        ContentOutcome::CatchAll => 2,
        outcome if !outcome.is_covered() => 2,
        ContentOutcome::Exposed => 1,
        _ => 0,
    }
}

impl RunJudge<'_> {
    pub(super) fn contents(&mut self) {
        let exposed: Vec<&HttpObservation> = self
            .http
            .values()
            .copied()
            .filter(|h| h.outcome == ContentOutcome::Exposed && !is_inventory(h))
            .collect();
        for h in exposed {
            if !self.run.coverage.in_scope(h.ip) {
                continue;
            }
            let subject = Subject::content(Cell::tcp(h.ip, h.port), h.host.as_deref(), &h.path);
            let id = subject.id(self.run.vantage);
            let found = self.match_seen(&subject, Some(&h.check), h.at);
            if let RuleMatch::Allowed(head) = found {
                self.allowed_count += 1;
                let thing = AllowedPort::new(subject, self.rule(&head.id), h.at);
                self.allow(id, thing.with_detail(Some(&h.check), h.severity));
                if self.is_to_be_allowed(&id) {
                    self.apply(&id, Sighting::Elsewhere, &LifeDecision::Allowed(head));
                }
                continue;
            }
            if self.gone_since(&id, h.at) {
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
            let reason = self.reason(&subject, &what, h.severity, found);
            let sighting = Sighting::There { at: h.at, confirmed: true, service: None };
            let id = self.seen(&subject, subject.kind(), reason, sighting);
            if let Some(t) = self.next.findings.get_mut(&id) {
                let f = &mut t.finding;
                f.scheme = Some(h.scheme);
                f.check = Some(h.check.clone());
                f.title.clone_from(&h.title);
                f.remedy.clone_from(&h.remedy);
                f.evidence.clone_from(&h.evidence);
            }
        }
    }
}
