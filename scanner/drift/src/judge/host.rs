//! Hosts that answer on everything.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::observation::{CellState, HostObservation, HostSign, Severity};
use mimawari_targets::PortSet;

use super::{LifeDecision, RunJudge, Sighting};
use crate::baseline::RuleMatch;
use crate::state::AllowedPort;
use crate::subject::Subject;
use crate::verdict::Finding;

/// How bad a host is that answers on everything.
pub(super) const SEVERITY: Severity = Severity::Medium;

/// A host that is open on more than half of its probed ports answers on everything; with fewer
/// probed ports than this, half of them is no proof.
const MIN_PORTS: u32 = 10;
/// So many random ports that accept connections prove it, however few ports are planned. One may be a
/// service that happens to live there.
const MIN_ACCEPTED: u32 = 2;
/// So many random ports that do not accept connections prove the contrary.
const MIN_REFUSED: u32 = 3;

/// What a host does on random ports outside the plan. Shards that ask the same host add up.
#[derive(Debug, Default)]
pub(super) struct RandomPorts {
    asked: u32,
    accepted: u32,
    signs: Vec<HostSign>,
}

impl RandomPorts {
    pub(super) fn add(&mut self, seen: &HostObservation) {
        self.asked = self.asked.saturating_add(seen.asked);
        self.accepted = self.accepted.saturating_add(seen.accepted);
        self.signs.extend(&seen.signs);
        self.signs.sort_unstable();
        self.signs.dedup();
    }

    const fn accept(&self) -> bool {
        self.accepted >= MIN_ACCEPTED
    }

    const fn refuse(&self) -> bool {
        self.accepted == 0 && self.asked >= MIN_REFUSED
    }

    /// Half a sentence about it.
    fn words(&self) -> String {
        let mut text = format!(
            "; of {} random ports outside the plan {} accepted a connection",
            self.asked, self.accepted
        );
        let odd: Vec<&str> = self
            .signs
            .iter()
            .filter(|s| **s != HostSign::MostPortsOpen)
            .map(|s| s.words())
            .collect();
        if !odd.is_empty() {
            text.push_str(&format!(" ({})", odd.join(", ")));
        }
        text
    }
}

/// Open ports of a host.
#[derive(Debug, Default)]
struct OpenPort {
    /// That a live rule allows: somebody said that they are meant to be open, so they prove nothing.
    allowed: u32,
    /// All others.
    other: u32,
    at: Timestamp,
}

impl RunJudge<'_> {
    /// How many of a host's ports this run should have covered: of a plan in parts, about its share.
    fn planned_ports(&self) -> u32 {
        self.run.ports.len().div_ceil(self.parts())
    }

    /// Ports of a host that this run covered.
    fn covered_ports(&self, ip: IpAddr) -> u32 {
        self.run.ports.iter().filter(|p| self.cell(ip, *p).is_covered()).count() as u32
    }

    /// Hosts that answer on everything.
    pub(super) fn suspect_hosts(&mut self) {
        let mut per_host: BTreeMap<IpAddr, OpenPort> = BTreeMap::new();
        for (o, found) in self.open.iter().zip(&self.found) {
            let host = per_host.entry(o.ip).or_default();
            match found {
                RuleMatch::Allowed(_) => host.allowed += 1,
                _ => host.other += 1,
            }
            host.at = host.at.max(o.at);
        }
        for (ip, open) in per_host {
            if self.run.coverage.in_scope(ip)
                && let Some(why) = self.why_suspect(ip, &open)
            {
                self.suspect_hosts.insert(ip);
                let subject = Subject::Host(ip);
                let id = subject.id(self.run.vantage);
                let found = self.match_subject(&subject, None);
                match found {
                    RuleMatch::Allowed(head) => {
                        self.allowed_count += 1;
                        let thing = AllowedPort::new(subject, self.rule(&head.id), open.at);
                        self.allow(id, thing.with_detail(None, SEVERITY));
                        if self.is_to_be_allowed(&id) {
                            self.apply(&id, Sighting::Elsewhere, &LifeDecision::Allowed(head));
                        }
                    }
                    _ if self.gone_since(&id, open.at) => {}
                    _ => {
                        let reason = self.reason(&subject, &why, SEVERITY, found);
                        let at = open.at;
                        let sighting = Sighting::There { at, confirmed: true, service: None };
                        let id = self.seen(&subject, subject.kind(), reason, sighting);
                        if let Some(t) = self.next.findings.get_mut(&id) {
                            t.ports = Some(self.run.ports.to_string());
                        }
                    }
                }
            }
        }
    }

    /// Whether this run shows that a host does not answer on everything.
    pub(super) fn is_plain_host(&self, ip: IpAddr) -> bool {
        self.hosts.get(&ip).is_some_and(RandomPorts::refuse)
            || matches!(self.no_longer_suspect(ip, true), Sighting::Gone(_))
    }

    /// Why a host's single ports say nothing, if so.
    fn why_suspect(&self, ip: IpAddr, open: &OpenPort) -> Option<String> {
        let random = self.hosts.get(&ip);
        let n = open.allowed + open.other;
        let proven = random.is_some_and(RandomPorts::accept);
        if !proven {
            let many = |probed: u32| {
                let unplanned = probed.saturating_sub(open.allowed);
                unplanned >= MIN_PORTS && open.other > unplanned / 2
            };
            if !many(self.planned_ports()) || self.parts() > 1 && !many(self.covered_ports(ip)) {
                return None;
            }
        }
        let probed = self.covered_ports(ip).max(n);
        let mut why = format!("{ip} answers as open on {n} of {probed} probed ports");
        if let Some(random) = random {
            why.push_str(&random.words());
        }
        why.push_str(match random {
            Some(random) if random.refuse() => {
                ": so many services in one place, or something that answers for the planned ports \
                 alone; reported as one"
            }
            _ => ": a middlebox or a tarpit, whose single ports say nothing",
        });
        Some(why)
    }

    /// Whether the plan holds most of the ports that were probed when the host answered on everything.
    pub(super) fn looks_where_it_answered(&self, f: &Finding) -> bool {
        let before = self.next.findings.get(&f.id).and_then(|t| t.ports.as_ref());
        let before = before.and_then(|text| text.parse::<PortSet>().ok());
        before.is_none_or(|ports| {
            let both = ports.iter().filter(|p| self.run.ports.contains(*p)).count();
            both as u64 * 2 > u64::from(ports.len())
        })
    }

    /// What is known of a host that answered on everything once, and now does not.
    /// `same_ports` says whether this run looks at the ports on which it answered.
    pub(super) fn no_longer_suspect(&self, ip: IpAddr, same_ports: bool) -> Sighting {
        let (mut open, mut closed, mut covered) = (0u32, 0u32, 0u32);
        for port in self.run.ports.iter() {
            let state = self.cell(ip, port);
            covered += u32::from(state.is_covered());
            closed += u32::from(state == CellState::Closed);
            open += u32::from(state == CellState::Open);
        }
        if u64::from(covered) * 2 <= u64::from(self.planned_ports()) {
            return if self.parts() > 1 && self.freshness.as_ref().is_some_and(|f| f.stale == 0) {
                Sighting::Elsewhere
            } else {
                Sighting::Unknown("this run did not cover enough of the host")
            };
        }
        let random = self.hosts.get(&ip);
        if random.is_some_and(|r| r.accepted > 0) {
            return Sighting::Unknown("it still accepts a connection on a random port");
        }
        if random.is_some_and(RandomPorts::refuse) {
            return Sighting::Gone("it no longer accepts connections on random ports");
        }
        if !same_ports {
            return Sighting::Unknown(
                "this run looks at other ports than those on which it answered",
            );
        }
        // Ports that refuse prove that nothing answers for all of them; silence proves less.
        if closed > covered / 2 {
            Sighting::Gone("it no longer answers on most of its ports")
        } else if open > covered / 2 {
            Sighting::Unknown("most of its few probed ports are open, and nothing says more")
        } else {
            Sighting::Silent("most of its ports were silent")
        }
    }
}
