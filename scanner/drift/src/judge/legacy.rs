//! Servers that speak legacy TLS alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mimawari_probes::observation::{Scheme, Severity, TlsFacts, WebObservation};
use mimawari_targets::{Cell, Port};

use super::{Identity, Judge};
use crate::baseline::Match;
use crate::state::{Allowed, AllowedWhat};
use crate::subject::{ServerFact, Subject};
use crate::verdict::{Cause, FindingKind};

/// The name by which `[[allow_http]]` allows it.
pub(super) const CHECK: &str = "legacy-tls";
const TITLE: &str = "TLS that no current client accepts";
const REMEDY: &str = "Enable TLS 1.2 and TLS 1.3 with AEAD suites and ephemeral keys (ECDHE), and \
                      disable TLS 1.1 and older (RFC 8996, RFC 9325).";

impl Judge<'_> {
    /// One finding for each endpoint at which a server, for some name, agrees to nothing that a
    /// current client offers.
    pub(super) fn legacy_tls(&mut self) {
        let mut seen: BTreeMap<(IpAddr, Port), (&WebObservation, &TlsFacts)> = BTreeMap::new();
        for w in self.web.values() {
            if let Some(tls) = w.tls.as_ref().filter(|t| t.legacy)
                && self.run.coverage.in_scope(w.ip)
            {
                seen.entry((w.ip, w.port)).or_insert((w, tls));
            }
        }
        for ((ip, port), (w, tls)) in seen {
            let identity = Identity {
                kind: FindingKind::LegacyTls,
                vantage: self.run.vantage,
                ip,
                port: Some(port),
                host: None,
                path: None,
            };
            let id = identity.id();
            let subject = Subject::Server(Cell::tcp(ip, port), ServerFact::LegacyTls);
            let found = self.match_seen(&subject, CHECK, w.at);
            if let Match::Allowed(head) = found {
                self.allowed_count += 1;
                let what = AllowedWhat {
                    host: None,
                    path: None,
                    check: Some(CHECK.to_owned()),
                    severity: Some(Severity::Medium),
                };
                let cell = Allowed::cell(ip, port, w.at);
                let thing = Allowed { what: Some(Box::new(what)), ..cell };
                self.allow(id, head, thing);
                if self.is_to_be_allowed(&id) {
                    self.now_allowed(&id, head);
                }
                continue;
            }
            if self.gone_since(&id, w.at) {
                continue;
            }
            let endpoint = SocketAddr::new(ip, port.get());
            let cipher = tls.cipher.as_deref().unwrap_or("an unknown cipher suite");
            // A suite may be legacy where the version is not.
            let than = if tls.version == "TLSv1.2" { "better" } else { "newer" };
            let asked = w.host.as_ref().map_or_else(String::new, |h| format!(" for {h}"));
            let what = format!(
                "{endpoint} accepts nothing {than} than {} with {cipher}{asked}",
                tls.version
            );
            let (cause, why): (Cause, String) = self.unmatched(id, &what, ip, found);
            let service = format!("{}: {} {cipher}", w.scheme.as_str(), tls.version);
            self.seen(&identity, cause, Severity::Medium, w.at, why, Some(service));
            if let Some(t) = self.next.findings.get_mut(id.as_str()) {
                t.finding.title = Some(TITLE.to_owned());
                t.finding.remedy = Some(REMEDY.to_owned());
            }
        }
    }

    /// Whether this run saw a handshake at the endpoint, none of them legacy, and nothing is left of
    /// what earlier runs saw there for other names.
    pub(super) fn is_current_tls(&self, ip: IpAddr, port: Port) -> bool {
        let mut handshakes = self
            .web
            .range((ip, port, Scheme::Http, None)..)
            .take_while(|((i, p, ..), _)| (*i, *p) == (ip, port))
            .filter_map(|(_, w)| w.tls.as_ref())
            .peekable();
        handshakes.peek().is_some()
            && !handshakes.any(|t| t.legacy)
            && !self.legacy_sites.contains(&(ip, port))
    }
}
