//! Servers that speak legacy TLS alone.

use std::collections::BTreeMap;

use mimawari_probes::observation::{Severity, TlsFacts, UrlScheme, WebObservation};
use mimawari_targets::Cell;

use super::{LifeDecision, RunJudge, Sighting};
use crate::baseline::RuleMatch;
use crate::state::AllowedPort;
use crate::subject::{ServerFact, Subject};

const TITLE: &str = "TLS that no current client accepts";
const REMEDY: &str = "Enable TLS 1.2 and TLS 1.3 with AEAD suites and ephemeral keys (ECDHE), and \
                      disable TLS 1.1 and older (RFC 8996, RFC 9325).";

impl RunJudge<'_> {
    /// One finding for each endpoint at which a server, for some name, agrees to nothing that a
    /// current client offers.
    pub(super) fn legacy_tls(&mut self) {
        let mut seen: BTreeMap<Cell, (&WebObservation, &TlsFacts)> = BTreeMap::new();
        for w in self.web.values() {
            if let Some(tls) = w.tls.as_ref().filter(|t| t.legacy)
                && self.run.coverage.in_scope(w.ip)
            {
                seen.entry(Cell::tcp(w.ip, w.port)).or_insert((w, tls));
            }
        }
        for (cell, (w, tls)) in seen {
            let fact = ServerFact::LegacyTls;
            let subject = Subject::Server(cell, fact);
            let id = subject.id(self.run.vantage);
            let found = self.match_seen(&subject, None, w.at);
            if let RuleMatch::Allowed(head) = found {
                self.allowed_count += 1;
                let thing = AllowedPort::new(subject, self.rule(&head.id), w.at);
                self.allow(id, thing.with_detail(Some(fact.as_str()), Severity::Medium));
                if self.is_to_be_allowed(&id) {
                    self.apply(&id, Sighting::Elsewhere, &LifeDecision::Allowed(head));
                }
                continue;
            }
            if self.gone_since(&id, w.at) {
                continue;
            }
            let cipher = tls.cipher.as_deref().unwrap_or("an unknown cipher suite");
            // A suite may be legacy where the version is not.
            let than = if tls.version == "TLSv1.2" { "better" } else { "newer" };
            let asked = w.host.as_ref().map_or_else(String::new, |h| format!(" for {h}"));
            let what =
                format!("{cell} accepts nothing {than} than {} with {cipher}{asked}", tls.version);
            let reason = self.reason(&subject, &what, Severity::Medium, found);
            let service = format!("{}: {} {cipher}", w.scheme.as_str(), tls.version);
            let sighting = Sighting::There { at: w.at, confirmed: true, service: Some(service) };
            let id = self.seen(&subject, subject.kind(), reason, sighting);
            if let Some(t) = self.next.findings.get_mut(&id) {
                t.finding.title = Some(TITLE.to_owned());
                t.finding.remedy = Some(REMEDY.to_owned());
            }
        }
    }

    /// Whether this run saw a handshake at the endpoint, none of them legacy, and nothing is left of
    /// what earlier runs saw there for other names.
    pub(super) fn is_current_tls(&self, cell: Cell) -> bool {
        let mut handshakes = self
            .web
            .range((cell, UrlScheme::Http, None)..)
            .take_while(|((at, ..), _)| *at == cell)
            .filter_map(|(_, w)| w.tls.as_ref())
            .peekable();
        handshakes.peek().is_some()
            && !handshakes.any(|t| t.legacy)
            && !self.legacy_sites.contains(&cell)
    }
}
